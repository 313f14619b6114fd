//! Waits that a clock can hold: whoever means "for ever" writes `Duration::MAX`, and no point in
//! time is that far away.

use std::time::Duration;

/// As good as for ever.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// `wait`, or what is as good as for ever.
pub(crate) const fn bounded(wait: Duration) -> Duration {
    if wait.as_secs() > LONGEST.as_secs() {
        LONGEST
    } else {
        wait
    }
}
