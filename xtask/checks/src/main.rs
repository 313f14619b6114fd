//! Runs every check that needs the libraries: `cargo xtask help` lists them.
#![forbid(unsafe_code)]

mod bench;
#[cfg(all(test, feature = "collector"))]
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
mod slots;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
use testbed::kernel;
use testbed::{
    ALLOCATOR, alive, attempts, faults, meter, panics, peers, runtime, spans, stock, vnet,
};
use xtask::commands::Command;
use xtask::options::Options;
#[cfg(feature = "collector")]
use xtask::python;
use xtask::{Failure, bounds, exit_code, needs, root, table, workspace};

fn main() -> ExitCode {
    panics::count();
    exit_code(run())
}

fn run() -> Result<bool, Failure> {
    let mut arguments = std::env::args_os().skip(1);
    let name = arguments.next().ok_or("`cargo xtask` says which command")?;
    let command = Command::named(&name.to_string_lossy())?;
    let options = Options::read(command.usage, arguments)?;
    match command.name {
        "demo" => demo::run(&options),
        "leak" => leak::run(&options),
        "leak-path" => leak::walk_one(&options),
        "bench" => bench::run(&options),
        "slots" => slots::run(&options),
        "chaos" => chaos::run(&options),
        #[cfg(target_os = "linux")]
        "lab" => lab::run(&options),
        #[cfg(feature = "channel")]
        "channel" => channel::run(&options),
        #[cfg(all(feature = "channel", target_os = "linux"))]
        "interop" => interop::run(&options),
        #[cfg(feature = "collector")]
        "collector" => collector::run(&options),
        #[cfg(feature = "collector")]
        "fleet" => fleet::run(&options),
        name => Err(format!("skipped: {name} is not in this program: it was built for another system, or without its feature").into()),
    }
}
