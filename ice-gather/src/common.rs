//! Small things that many files need: a lock, a counter, an instant, an address, a pause.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Pause after a socket error, so that a broken socket does not turn into a busy loop.
pub(crate) const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// As good as never, and still an instant.
const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Takes the lock, poisoned or not: no code here panics while it holds a lock, and the guarded
/// value is valid at every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one more, and stays at the greatest number.
pub(crate) fn bump(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}

/// The instant `wait` after `now`; one that is as good as never where there is no such instant.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or_else(|| now + NEVER)
}

/// The same address with an IPv4-mapped IPv6 address as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
