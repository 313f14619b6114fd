//! Runs every check that needs the libraries: `cargo xtask help` lists them.
#![forbid(unsafe_code)]

mod bench;
#[cfg(all(test, feature = "channel", feature = "collector"))]
mod canary;
#[cfg(feature = "channel")]
mod channel;
mod chaos;
#[cfg(feature = "collector")]
mod collector;
mod demo;
#[cfg(feature = "collector")]
mod fleet;
#[cfg(all(feature = "channel", target_os = "linux"))]
mod interop;
#[cfg(target_os = "linux")]
mod lab;
mod leak;
#[cfg(all(feature = "channel", target_os = "linux"))]
mod siege;
mod slots;
#[cfg(all(feature = "channel", target_os = "linux"))]
mod taps;

use std::process::ExitCode;

use clap::Parser;
use common::commands::{Check, Checks};
#[cfg(any(feature = "collector", all(feature = "channel", target_os = "linux")))]
use common::python;
use common::{Failure, bounds, exit_code, needs, root, table, workspace};
#[cfg(target_os = "linux")]
use testbed::kernel;
use testbed::{
    ALLOCATOR, alive, attempts, faults, front, meter, panics, peers, runtime, spans, stock,
};

fn main() -> ExitCode {
    panics::count();
    exit_code(match Checks::parse().check {
        Check::Demo(options) => demo::run(&options),
        Check::Leak(options) => leak::run(&options),
        Check::LeakPath(options) => leak::walk_one(&options),
        Check::Bench(options) => bench::run(&options),
        Check::Slots(options) => slots::run(&options),
        Check::Chaos(options) => chaos::run(&options),
        #[cfg(target_os = "linux")]
        Check::Lab(options) => lab::run(&options),
        #[cfg(feature = "channel")]
        Check::Channel(options) => channel::run(&options),
        #[cfg(all(feature = "channel", target_os = "linux"))]
        Check::Interop(options) => interop::run(&options),
        #[cfg(all(feature = "channel", target_os = "linux"))]
        Check::Taps(options) => taps::run(&options),
        #[cfg(all(feature = "channel", target_os = "linux"))]
        Check::Siege(options) => siege::run(&options),
        #[cfg(all(feature = "channel", target_os = "linux"))]
        Check::SiegeSide(options) => siege::side(&options),
        #[cfg(feature = "collector")]
        Check::Collector(options) => collector::run(&options),
        #[cfg(feature = "collector")]
        Check::Fleet(options) => fleet::run(&options),
        #[allow(
            unreachable_patterns,
            reason = "with all features on Linux, nothing is left out"
        )]
        _ => Err(
            "skipped: this program was built without it; `cargo xtask` builds it with it, on Linux"
                .into(),
        ),
    })
}
