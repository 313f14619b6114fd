//! Waits that a clock can hold: `Duration::MAX` means "for ever", and no point in time is that far
//! away.

use std::time::Duration;

/// A wait without an end, for all practical purposes.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// `wait`, or the longest wait that a clock can hold.
pub(crate) const fn bounded(wait: Duration) -> Duration {
    if wait.as_secs() > LONGEST.as_secs() {
        LONGEST
    } else {
        wait
    }
}
