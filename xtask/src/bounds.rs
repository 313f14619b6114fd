//! Every bound a command checks, with the reason for it.

use std::time::Duration;

/// What a silent server may cost beyond three round trips: a grace period, and a scheduler's whims.
pub(crate) const SILENT_SERVER: Duration = Duration::from_millis(300);

/// The whole demonstration, once built: longer, and nobody watches it to the end.
pub(crate) const DEMO: Duration = Duration::from_secs(30);

/// Cycles of each leak path in the long form.
pub(crate) const LEAK_CYCLES: u32 = 2_000;

/// Cycles of each leak path in CI: a leak of one task or descriptor shows at once, of bytes after a few hundred.
pub(crate) const LEAK_CYCLES_CI: u32 = 300;

/// Live heap bytes per attempt. The smallest leak of a real object is a byte per attempt; below it is the jitter of
/// queues and tables that reached a new high-water mark.
pub(crate) const LEAK_BYTES: f64 = 1.0;

/// Gatherings of a lossy case that may hear fewer than two servers: of five, with four requests each and three of ten
/// packets lost each way, one in nine thousand does.
#[cfg(target_os = "linux")]
pub(crate) const LAB_STARVED: usize = 1;
