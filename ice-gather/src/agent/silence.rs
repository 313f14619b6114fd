//! When a silent peer counts as disconnected, and when the path has failed. Pure but for [`now`]: time is an argument.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::IceState;

/// How long there has been no sign of life, which is a stamp that changes.
pub(super) struct Silence<S> {
    disconnected: Duration,
    longest: Duration,
    stamp: S,
    heard_at: Duration,
    looked_at: Duration,
}

impl<S: PartialEq> Silence<S> {
    /// A peer that is heard now.
    pub(super) const fn new(disconnected: Duration, failed: Duration, stamp: S, now: Duration) -> Self {
        Self { disconnected, longest: disconnected.saturating_add(failed), stamp, heard_at: now, looked_at: now }
    }

    /// What the connection has become; `None`: nothing says that it is another.
    pub(super) fn look(&mut self, stamp: S, now: Duration) -> Option<IceState> {
        let paused = now.saturating_sub(core::mem::replace(&mut self.looked_at, now));
        // whoever was suspended for so long has lost the peer's consent, whenever it was last heard
        if stamp != self.stamp && paused <= self.longest {
            (self.stamp, self.heard_at) = (stamp, now);
            return Some(IceState::Connected);
        }
        let silent = now.saturating_sub(self.heard_at);
        if silent > self.longest {
            Some(IceState::Failed)
        } else if !self.disconnected.is_zero() && silent > self.disconnected {
            Some(IceState::Disconnected)
        } else {
            None
        }
    }
}

/// A time that goes on while the host sleeps, where the system tells one cheaply (Linux), and no matter how the wall clock
/// is set.
pub(super) fn now() -> Duration {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    let monotonic = || FIRST.elapsed();
    #[cfg(target_os = "linux")]
    return nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or_else(|_| monotonic(), Duration::from);
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
    const fn heard() -> Silence<u8> {
        Silence::new(s(5), s(25), 0, s(100))
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
        assert_eq!(silence.look(1, s(105)), Some(IceState::Connected));
        for (stamp, now, expected) in looks {
            assert_eq!(silence.look(stamp, s(now)), expected, "at {now} s");
        }
    }

    #[test]
    fn a_pause_longer_than_consent_ends_the_path_even_if_the_peer_is_heard_at_once() {
        assert_eq!(heard().look(1, s(131)), Some(IceState::Failed));
        assert_eq!(heard().look(0, s(131)), Some(IceState::Failed));
        assert_eq!(heard().look(1, s(130)), Some(IceState::Connected));
    }

    #[test]
    fn without_a_time_for_it_nothing_is_called_disconnected() {
        let mut silence = Silence::new(s(0), s(30), 0, s(100));
        assert_eq!(silence.look(0, s(130)), None);
        assert_eq!(silence.look(0, s(131)), Some(IceState::Failed));
    }

    #[test]
    fn time_goes_on() {
        let began = now();
        std::thread::sleep(Duration::from_millis(20));
        assert!(now() >= began + Duration::from_millis(20));
    }
}
