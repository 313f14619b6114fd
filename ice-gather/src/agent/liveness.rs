//! When a silent peer counts as disconnected, and when the path has failed. Pure but for [`now`]:
//! time is an argument.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::checks::Consent;
use crate::event::IceState;

/// The liveness of a connected peer: how long nothing was received from it, and how long it has not
/// consented to be sent to.
///
/// The two differ because anybody can send a datagram from the peer's address, but consent is signed
/// (RFC 7675 section 5.1). So a datagram keeps the path only while no check of ours asks for
/// consent, as after a step back of the wall clock, by which the library times its checks.
pub(super) struct Liveness<S> {
    disconnected_after: Duration,
    failed_after: Duration,
    received: Last<S>,
    consent: Last<u32>,
    /// Since when a check waits for its answer.
    asked_at: Option<Duration>,
    updated_at: Duration,
}

/// The signs of life of a peer at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signs<S> {
    /// A stamp that changes with each datagram received.
    pub(super) received: S,
    pub(super) consent: Consent,
}

/// A stamp, and when it was last seen to change.
struct Last<S> {
    stamp: S,
    at: Duration,
}

impl<S: PartialEq> Last<S> {
    /// Whether the stamp is another than before.
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

impl<S: PartialEq> Liveness<S> {
    /// A peer that is received from, and consents, now. It is disconnected after the first time
    /// without a datagram, never if that is zero, and has failed after both together.
    pub(super) fn new(
        disconnected: Duration,
        failed: Duration,
        signs: Signs<S>,
        now: Duration,
    ) -> Self {
        Self {
            disconnected_after: disconnected,
            failed_after: disconnected.saturating_add(failed),
            received: Last {
                stamp: signs.received,
                at: now,
            },
            consent: Last {
                stamp: signs.consent.renewals,
                at: now,
            },
            asked_at: None,
            updated_at: now,
        }
    }

    /// The state of the connection by these signs; `None` if nothing shows that it has another.
    pub(super) fn update(&mut self, signs: Signs<S>, now: Duration) -> Option<IceState> {
        let paused = now.saturating_sub(core::mem::replace(&mut self.updated_at, now));
        self.note_consent(signs.consent, now);
        let is_received = self.received.renew(signs.received, now);
        // a process that was suspended for so long has lost the peer's consent, even if datagrams
        // of the peer wait to be read
        if paused > self.failed_after || self.has_failed(now) {
            Some(IceState::Failed)
        } else if is_received {
            Some(IceState::Connected)
        } else if self.is_disconnected(now) {
            Some(IceState::Disconnected)
        } else {
            None
        }
    }

    /// Notes a renewal of consent, and since when a check of ours waits for its answer.
    fn note_consent(&mut self, consent: Consent, now: Duration) {
        if self.consent.renew(consent.renewals, now) || !consent.is_asked {
            self.asked_at = None;
        }
        if consent.is_asked {
            self.asked_at.get_or_insert(now);
        }
    }

    /// Whether consent has expired (RFC 7675 section 5.1), and the peer is gone as far as can be
    /// seen: either nothing was received for as long, or a check of ours has waited for its answer
    /// for half as long. Half, because the first check after a long time without any may be answered
    /// at any moment.
    fn has_failed(&self, now: Duration) -> bool {
        let is_silent = self.received.is_older(self.failed_after, now);
        let is_refused = self
            .asked_at
            .is_some_and(|at| now.saturating_sub(at) > self.failed_after / 2);
        self.consent.is_older(self.failed_after, now) && (is_silent || is_refused)
    }

    fn is_disconnected(&self, now: Duration) -> bool {
        !self.disconnected_after.is_zero() && self.received.is_older(self.disconnected_after, now)
    }
}

/// A time that goes on while the host sleeps where the system has one (Linux), however the wall
/// clock is set.
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

    /// A peer that was last received from at 100 s; 5 s and 25 s, as by default.
    fn received() -> Liveness<u8> {
        Liveness::new(s(5), s(25), check(0), s(100))
    }

    const fn signs(received: u8, renewals: u32, is_asked: bool) -> Signs<u8> {
        Signs {
            received,
            consent: Consent { renewals, is_asked },
        }
    }

    /// An answer of the peer while no check of ours is on the way; or no other than that.
    const fn check(stamp: u8) -> Signs<u8> {
        signs(stamp, stamp as u32, false)
    }

    #[test]
    fn a_peer_that_falls_silent_is_disconnected_then_back_then_gone() {
        let mut liveness = received();
        let updates = [
            (1, 106, None),
            (1, 111, Some(IceState::Disconnected)),
            (2, 130, Some(IceState::Connected)),
            (2, 135, None),
            (2, 136, Some(IceState::Disconnected)),
            (2, 160, Some(IceState::Disconnected)),
            (2, 161, Some(IceState::Failed)),
        ];
        assert_eq!(liveness.update(check(1), s(105)), Some(IceState::Connected));
        for (stamp, now, expected) in updates {
            assert_eq!(
                liveness.update(check(stamp), s(now)),
                expected,
                "at {now} s"
            );
        }
    }

    #[test]
    fn a_pause_longer_than_consent_ends_the_path_even_if_the_peer_is_received_at_once() {
        for stamp in [0, 1] {
            assert_eq!(
                received().update(check(stamp), s(131)),
                Some(IceState::Failed)
            );
        }
        assert_eq!(
            received().update(check(1), s(130)),
            Some(IceState::Connected)
        );
    }

    #[test]
    fn without_a_time_for_it_nothing_is_called_disconnected() {
        let mut liveness = Liveness::new(s(0), s(30), check(0), s(100));
        assert_eq!(liveness.update(check(0), s(130)), None);
        assert_eq!(liveness.update(check(0), s(131)), Some(IceState::Failed));
    }

    #[test]
    fn a_peer_that_sends_and_answers_no_longer_is_gone() {
        let mut liveness = received();
        for second in 1..=30 {
            assert_eq!(
                liveness.update(signs(second, 0, true), s(100 + u64::from(second))),
                Some(IceState::Connected)
            );
        }
        assert_eq!(
            liveness.update(signs(31, 0, true), s(131)),
            Some(IceState::Failed)
        );
    }

    #[test]
    fn consent_without_a_datagram_from_the_pair_in_use_does_not_connect() {
        let mut liveness = received();
        for second in 1..=9 {
            let expected = (second >= 6).then_some(IceState::Disconnected);
            assert_eq!(
                liveness.update(signs(0, second, true), s(100 + u64::from(second))),
                expected
            );
        }
    }

    #[test]
    fn while_no_check_asks_for_consent_a_datagram_keeps_the_path() {
        let mut liveness = received();
        for second in 1..=100 {
            assert_eq!(
                liveness.update(signs(second, 0, false), s(100 + u64::from(second))),
                Some(IceState::Connected)
            );
        }
        for second in 101..=116 {
            assert_eq!(
                liveness.update(signs(second, 0, true), s(100 + u64::from(second))),
                Some(IceState::Connected)
            );
        }
        assert_eq!(
            liveness.update(signs(117, 0, true), s(217)),
            Some(IceState::Failed),
            "asked at last, and no answer"
        );
    }

    #[test]
    fn without_checks_and_datagrams_a_peer_is_gone_just_as_soon() {
        let mut liveness = received();
        assert_eq!(
            liveness.update(signs(0, 0, false), s(130)),
            Some(IceState::Disconnected)
        );
        assert_eq!(
            liveness.update(signs(0, 0, false), s(131)),
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
