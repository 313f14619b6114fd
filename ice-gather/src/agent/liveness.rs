//! When a silent peer counts as disconnected, and when the path has failed. Pure but for [`now`]:
//! time is an argument.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::checks::Consent;
use crate::event::IceState;

/// How long nothing was heard of the peer, and how long it has not consented to be sent to. Anybody
/// can send what looks like a sign of life; consent is signed (RFC 7675 section 5.1). Signs of life
/// hold the path only while nobody asks for consent, as after a step back of the wall clock.
pub(super) struct Silence<S> {
    disconnected: Duration,
    longest: Duration,
    heard: Last<S>,
    consent: Last<u32>,
    /// Since when a check waits for its answer.
    asked_at: Option<Duration>,
    looked_at: Duration,
}

/// A stamp, and when it was last seen to change.
struct Last<S> {
    stamp: S,
    at: Duration,
}

impl<S: PartialEq> Last<S> {
    fn renew(&mut self, stamp: S, now: Duration) -> bool {
        let is_new = stamp != self.stamp;
        if is_new {
            *self = Self { stamp, at: now };
        }
        is_new
    }

    fn is_older(&self, age: Duration, now: Duration) -> bool {
        now.saturating_sub(self.at) > age
    }
}

impl<S: PartialEq> Silence<S> {
    /// A peer that is heard, and consents, now.
    pub(super) fn new(
        disconnected: Duration,
        failed: Duration,
        (heard, consent): (S, Consent),
        now: Duration,
    ) -> Self {
        Self {
            disconnected,
            longest: disconnected.saturating_add(failed),
            heard: Last {
                stamp: heard,
                at: now,
            },
            consent: Last {
                stamp: consent.times,
                at: now,
            },
            asked_at: None,
            looked_at: now,
        }
    }

    /// What the connection has become; `None`: nothing says that it is another.
    pub(super) fn look(
        &mut self,
        (heard, consent): (S, Consent),
        now: Duration,
    ) -> Option<IceState> {
        let paused = now.saturating_sub(core::mem::replace(&mut self.looked_at, now));
        // whoever was suspended for so long has lost the peer's consent, whenever it was last heard
        if paused > self.longest {
            return Some(IceState::Failed);
        }
        if self.consent.renew(consent.times, now) || !consent.is_asked {
            self.asked_at = None;
        }
        if consent.is_asked {
            self.asked_at.get_or_insert(now);
        }
        let is_heard = self.heard.renew(heard, now);
        // the first check in a long time may be answered any moment
        let is_refused = self
            .asked_at
            .is_some_and(|at| now.saturating_sub(at) > self.longest / 2);
        if (is_refused || self.heard.is_older(self.longest, now))
            && self.consent.is_older(self.longest, now)
        {
            Some(IceState::Failed)
        } else if is_heard {
            Some(IceState::Connected)
        } else if !self.disconnected.is_zero() && self.heard.is_older(self.disconnected, now) {
            Some(IceState::Disconnected)
        } else {
            None
        }
    }
}

/// A time that goes on while the host sleeps, where the system tells one cheaply (Linux), and no
/// matter how the wall clock is set.
pub(super) fn now() -> Duration {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    let monotonic = || FIRST.elapsed();
    #[cfg(target_os = "linux")]
    return nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .map_or_else(|_| monotonic(), Duration::from);
    #[cfg(not(target_os = "linux"))]
    monotonic()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Heard at 100 s for the last time; 5 s and 25 s, as by default.
    fn heard() -> Silence<u8> {
        Silence::new(s(5), s(25), check(0), s(100))
    }

    /// A sign of life, and what it was worth.
    const fn sign(heard: u8, times: u32, is_asked: bool) -> (u8, Consent) {
        (heard, Consent { times, is_asked })
    }

    /// An answer of the peer, none of our checks being on the way; or no other than that.
    const fn check(stamp: u8) -> (u8, Consent) {
        sign(stamp, stamp as u32, false)
    }

    #[test]
    fn a_peer_that_falls_silent_is_disconnected_then_back_then_gone() {
        let mut silence = heard();
        let looks = [
            (1, 106, None),
            (1, 111, Some(IceState::Disconnected)),
            (2, 130, Some(IceState::Connected)),
            (2, 135, None),
            (2, 136, Some(IceState::Disconnected)),
            (2, 160, Some(IceState::Disconnected)),
            (2, 161, Some(IceState::Failed)),
        ];
        assert_eq!(silence.look(check(1), s(105)), Some(IceState::Connected));
        for (stamp, now, expected) in looks {
            assert_eq!(silence.look(check(stamp), s(now)), expected, "at {now} s");
        }
    }

    #[test]
    fn a_pause_longer_than_consent_ends_the_path_even_if_the_peer_is_heard_at_once() {
        assert_eq!(heard().look(check(1), s(131)), Some(IceState::Failed));
        assert_eq!(heard().look(check(0), s(131)), Some(IceState::Failed));
        assert_eq!(heard().look(check(1), s(130)), Some(IceState::Connected));
    }

    #[test]
    fn without_a_time_for_it_nothing_is_called_disconnected() {
        let mut silence = Silence::new(s(0), s(30), check(0), s(100));
        assert_eq!(silence.look(check(0), s(130)), None);
        assert_eq!(silence.look(check(0), s(131)), Some(IceState::Failed));
    }

    #[test]
    fn a_peer_that_is_heard_and_answers_no_longer_is_gone_and_one_that_only_answers_is_not_connected_by_it()
     {
        let mut silence = heard();
        for second in 1..=30 {
            assert_eq!(
                silence.look(sign(second, 0, true), s(100 + u64::from(second))),
                Some(IceState::Connected)
            );
        }
        assert_eq!(
            silence.look(sign(31, 0, true), s(131)),
            Some(IceState::Failed)
        );
        let mut silence = heard();
        for second in 1..=9 {
            let expected = if second < 6 {
                None
            } else {
                Some(IceState::Disconnected)
            };
            assert_eq!(
                silence.look(sign(0, second, true), s(100 + u64::from(second))),
                expected,
                "nor can it be"
            );
        }
    }

    #[test]
    fn where_nobody_asks_for_consent_a_sign_of_life_is_all_there_is() {
        let mut silence = heard();
        for second in 1..=100 {
            assert_eq!(
                silence.look(sign(second, 0, false), s(100 + u64::from(second))),
                Some(IceState::Connected)
            );
        }
        for second in 101..=116 {
            assert_eq!(
                silence.look(sign(second, 0, true), s(100 + u64::from(second))),
                Some(IceState::Connected)
            );
        }
        assert_eq!(
            silence.look(sign(117, 0, true), s(217)),
            Some(IceState::Failed),
            "asked at last, and no answer"
        );
        let mut silence = heard();
        assert_eq!(
            silence.look(sign(0, 0, false), s(130)),
            Some(IceState::Disconnected)
        );
        assert_eq!(
            silence.look(sign(0, 0, false), s(131)),
            Some(IceState::Failed)
        );
    }

    #[test]
    fn time_goes_on() {
        let began = now();
        std::thread::sleep(Duration::from_millis(20));
        assert!(now() >= began + Duration::from_millis(20));
    }
}
