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

/// Each fuzz target, unless one says otherwise: enough to replay the corpus and go a little beyond.
pub(crate) const FUZZ_SECONDS: u64 = 60;
