//! The observer that a tap and its sockets share, on the clock of their runtime.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use nat_summary::observer::Observer;
use webrtc_021::runtime::Runtime;

use crate::common::lock;
use crate::stun::Passwords;

/// The observer of the sockets of one tap.
pub(super) struct Seen {
    clock: Arc<dyn Runtime>,
    start: Instant,
    observer: Mutex<Box<Observer<Passwords>>>,
}

impl Seen {
    pub(super) fn new(clock: Arc<dyn Runtime>) -> Self {
        Self {
            start: clock.now(),
            clock,
            observer: Mutex::new(Box::new(Observer::with_integrity(Passwords::default()))),
        }
    }

    /// The observer, with the time that its requests have waited until now. What is handed in next
    /// passes now.
    pub(super) fn observer(&self) -> MutexGuard<'_, Box<Observer<Passwords>>> {
        let now = self.clock.now().saturating_duration_since(self.start);
        let mut observer = lock(&self.observer);
        observer.advance(now);
        observer
    }
}

impl Debug for Seen {
    /// Without an address.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").finish_non_exhaustive()
    }
}
