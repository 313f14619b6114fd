//! The heap bytes, tasks and descriptors that are alive in this process at one moment.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::bounds;

/// How often to look while things settle.
const LOOK: Duration = Duration::from_millis(5);
/// So many looks without less than before are calm.
const CALM: u32 = 20;

/// Live heap bytes, tasks of the runtime, open descriptors, bytes of memory the system lends us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Of the heap.
    pub bytes: i64,
    /// Of the runtime that looks.
    pub tasks: i64,
    /// Of the process; 0 where the system does not list them.
    pub descriptors: i64,
    /// Bytes; 0 where the system does not report them.
    pub resident: i64,
}

impl Alive {
    /// At this moment, inside a runtime.
    pub fn now() -> Self {
        let heap = crate::ALLOCATOR.stats();
        Self {
            bytes: signed(heap.bytes_allocated) - signed(heap.bytes_deallocated),
            tasks: signed(Handle::current().metrics().num_alive_tasks()),
            descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, |fds| signed(fds.count())),
            resident: resident().unwrap_or(0),
        }
    }

    fn least(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.min(other.bytes),
            tasks: self.tasks.min(other.tasks),
            descriptors: self.descriptors.min(other.descriptors),
            resident: self.resident.min(other.resident),
        }
    }

    /// Whether there are no more tasks and descriptors than `before`.
    pub fn is_back_to(self, before: Self) -> bool {
        self.tasks <= before.tasks && self.descriptors <= before.descriptors
    }
}

/// Measures once all tear-downs have ended. It measures again and again, because tear-downs of a
/// dropped attempt go on in the background, until nothing shrinks any more and, if `before` is
/// given, no more tasks and descriptors are alive than then.
pub async fn settled(before: Option<Alive>) -> Alive {
    let mut least = Alive::now();
    let mut calm = 0;
    for _ in 0..bounds::SETTLED_LOOKS {
        tokio::time::sleep(LOOK).await;
        let next = least.least(Alive::now());
        let is_less = (next.bytes, next.tasks, next.descriptors)
            != (least.bytes, least.tasks, least.descriptors);
        calm = if is_less { 0 } else { calm + 1 };
        least = next;
        if calm >= CALM && before.is_none_or(|before| least.is_back_to(before)) {
            break;
        }
    }
    least
}

/// `VmRSS` of the process, which Linux reports in kilobytes.
fn resident() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<i64>()
        .ok()
        .map(|kilobytes| kilobytes * 1024)
}

fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
