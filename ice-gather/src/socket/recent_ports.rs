//! The ports that sockets of this process had a short while ago: a NAT may still let in the
//! destinations of those sockets.
//!
//! RFC 4787 section 4.3 recommends that a NAT remembers for 5 minutes or more, so a port counts as
//! used for that long, and at most twice as long. The record has one size, holds no address, and is
//! touched as a socket is bound and as it closes.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::common::lock;

/// How long a NAT may remember.
const GENERATION: Duration = Duration::from_secs(300);
/// One bit for each port.
const NONE: [u64; 1024] = [0; 1024];

static USED: Mutex<Used> = Mutex::new(Used::new());

/// A socket on this port sends, or goes: a hole is as old as the last packet through it.
pub(crate) fn note(port: u16) {
    used().note(port, Instant::now());
}

/// Whether a socket had this port a short while ago.
pub(crate) fn is_used(port: u16) -> bool {
    used().has(port, Instant::now())
}

/// As if its socket had been bound long ago.
#[cfg(test)]
pub(crate) fn forget(port: u16) {
    let ((word, bit), mut used) = (place(port), used());
    used.recent[word] &= !bit;
    used.older[word] &= !bit;
}

fn used() -> MutexGuard<'static, Used> {
    lock(&USED)
}

/// The ports of this generation and of the one before it.
struct Used {
    since: Option<Instant>,
    recent: [u64; 1024],
    older: [u64; 1024],
}

impl Used {
    const fn new() -> Self {
        Self {
            since: None,
            recent: NONE,
            older: NONE,
        }
    }

    fn note(&mut self, port: u16, now: Instant) {
        self.age(now);
        let (word, bit) = place(port);
        self.recent[word] |= bit;
    }

    fn has(&mut self, port: u16, now: Instant) -> bool {
        self.age(now);
        let (word, bit) = place(port);
        (self.recent[word] | self.older[word]) & bit != 0
    }

    fn age(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age >= 2 * GENERATION {
            *self = Self {
                since: Some(now),
                ..Self::new()
            };
        } else if age >= GENERATION {
            self.older = core::mem::replace(&mut self.recent, NONE);
            self.since = Some(since + GENERATION);
        }
    }
}

const fn place(port: u16) -> (usize, u64) {
    (port as usize / 64, 1 << (port % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a port is used that was noted `noted` seconds after the record began, `after`
    /// seconds later.
    fn is_used(noted: u64, after: u64) -> bool {
        let start = Instant::now();
        let mut used = Used::new();
        used.note(0, start);
        used.note(65_535, start + Duration::from_secs(noted));
        let now = start + Duration::from_secs(noted + after);
        assert!(!used.has(65_534, now) && !used.has(1, now), "no other port");
        used.has(65_535, now)
    }

    #[test]
    fn a_port_counts_as_used_for_five_to_ten_minutes() {
        for noted in [0, 1, 299, 300, 301, 599, 600, 5_000] {
            for after in [0, 1, 299, 300] {
                assert!(is_used(noted, after), "{noted} {after}");
            }
            for after in [600, 601, 900, 5_000] {
                assert!(!is_used(noted, after), "{noted} {after}");
            }
        }
    }

    #[test]
    fn looks_in_between_change_nothing() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut used = Used::new();
        for minute in 0..200 {
            used.has(7, at(60 * minute));
        }
        used.note(7, at(12_000));
        for minute in 0..=5 {
            assert!(used.has(7, at(12_000 + 60 * minute)));
        }
        assert!(!used.has(7, at(12_600)));
        assert!(used.older.iter().chain(&used.recent).all(|word| *word == 0));
    }

    #[test]
    fn what_is_used_again_is_used_for_as_long_again() {
        let start = Instant::now();
        let mut used = Used::new();
        for minute in (0..60).step_by(4) {
            used.note(7, start + Duration::from_secs(60 * minute));
            assert!(used.has(7, start + Duration::from_secs(60 * (minute + 5))));
        }
    }
}
