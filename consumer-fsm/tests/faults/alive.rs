//! Heap bytes, tasks and descriptors that are alive in this process.

use std::alloc::System;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::runtime::Handle;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Longest wait for tear-downs. They go on in the background after an attempt is dropped.
const LONGEST_TEAR_DOWN: Duration = Duration::from_secs(10);

/// At one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alive {
    pub(crate) bytes: i64,
    pub(crate) tasks: usize,
    pub(crate) descriptors: usize,
}

impl Alive {
    pub(crate) fn now() -> Self {
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(usize::MAX, Iterator::count);
        Self {
            bytes: heap(),
            tasks: Handle::current().metrics().num_alive_tasks(),
            descriptors,
        }
    }

    /// Once no more than `first` is alive and nothing changes any more, or when it is time to give
    /// up.
    pub(crate) async fn settled(first: Option<Self>) -> Self {
        let until = tokio::time::Instant::now() + LONGEST_TEAR_DOWN;
        let (mut now, mut calm) = (Self::now(), 0);
        let is_back = |now: &Self| {
            first.is_none_or(|first| {
                now.tasks <= first.tasks && now.descriptors <= first.descriptors
            })
        };
        while tokio::time::Instant::now() < until && (calm < 10 || !is_back(&now)) {
            tokio::time::sleep(Duration::from_millis(3)).await;
            let next = Self::now();
            calm = if next == now { calm + 1 } else { 0 };
            now = next;
        }
        now
    }
}

/// Live heap bytes.
pub(crate) fn heap() -> i64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as i64 - stats.bytes_deallocated as i64
}
