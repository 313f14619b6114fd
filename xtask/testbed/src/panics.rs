//! Counts the panics of this process, because a panic in a detached task leaves only a line on the
//! standard error.

use std::panic::{set_hook, take_hook};
use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Counts each panic from now on. Panics are still printed.
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
