//! Counts the panics of this process: one in a task that nobody waits for leaves nothing behind but
//! a line on stderr.

use std::panic::{set_hook, take_hook};
use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// From now on each is counted, and told as before.
pub fn count() {
    let tell = take_hook();
    set_hook(Box::new(move |panic| {
        COUNT.fetch_add(1, Ordering::Relaxed);
        tell(panic);
    }));
}

/// How many there were, caught ones included.
pub fn so_far() -> u64 {
    COUNT.load(Ordering::Relaxed)
}
