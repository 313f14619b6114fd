//! The surroundings of an attempt under test: NATs, servers, peers, faulty signalling, and the meter of
//! leaks.
#![forbid(unsafe_code)]

pub mod alive;
pub mod attempts;
pub mod faults;
pub mod front;
#[cfg(target_os = "linux")]
pub mod kernel;
pub mod meter;
pub mod mute;
pub mod panics;
pub mod peers;
pub mod spans;
pub mod stock;
pub mod vnet;

use common::{Failure, bounds};

/// Counts every allocation of a program with this library in it.
#[global_allocator]
pub static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> =
    &stats_alloc::INSTRUMENTED_SYSTEM;

/// The runtime that attempts run on.
///
/// # Errors
/// If the system gives it no threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}
