//! What a maintainer runs: `cargo xtask help` lists it.

mod attempts;
mod bench;
mod bounds;
mod ci;
#[cfg(feature = "collector")]
mod collector;
mod demo;
mod fuzz;
#[cfg(target_os = "linux")]
mod lab;
mod leak;
mod nat_world;
mod peers;
mod python;
mod spans;
mod table;
mod tidy;
mod wasm;

use std::error::Error;
use std::process::ExitCode;

use lexopt::prelude::{Long, Value, ValueExt};

/// Counts every allocation, for `leak` and `bench`.
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

type Failure = Box<dyn Error + Send + Sync>;

const HELP: &str = "\
cargo xtask <command> [options]

  demo       one consumer on real sockets, then behind simulated NATs       [--json]
  leak       bytes, tasks and descriptors left per attempt, on each path    [--cycles N] [--json]
  bench      [gather|path|scale]: beside stock webrtc-ice; many at once     [--json]
  lab        the gatherer behind real NATs, in network namespaces           [--json] [--quick] [--only NAME] [--install]
  fuzz       every fuzz target of every crate; needs nightly and cargo-fuzz [--seconds N]
  collector  the same attempts as `demo`, over OTLP to a real collector, and what it received, attribute by attribute;
             needs python3 with pip                                         [--json]
  wasm       the judge and the telemetry as WebAssembly, under Node
  ci         everything a change has to pass
  help       this list
";

#[derive(Debug, Default)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "the lab reads some of them"))]
struct Options {
    json: bool,
    part: Option<String>,
    cycles: Option<u32>,
    seconds: Option<u64>,
    quick: bool,
    only: Option<String>,
    install: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether the command found everything in order.
fn run() -> Result<bool, Failure> {
    let mut arguments = lexopt::Parser::from_env();
    let mut command = None;
    let mut options = Options::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("json") => options.json = true,
            Long("cycles") => options.cycles = Some(arguments.value()?.parse()?),
            Long("seconds") => options.seconds = Some(arguments.value()?.parse()?),
            Long("quick") => options.quick = true,
            Long("only") => options.only = Some(arguments.value()?.string()?),
            Long("install") => options.install = true,
            Long("help") => command = Some("help".to_owned()),
            Value(value) if command.is_none() => command = Some(value.string()?),
            Value(value) if options.part.is_none() && command.as_deref() == Some("bench") => {
                options.part = Some(value.string()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    match command.as_deref() {
        Some("demo") => runtime()?.block_on(demo::run(options.json)),
        Some("leak") => runtime()?.block_on(leak::run(options.cycles.unwrap_or(bounds::LEAK_CYCLES), options.json)),
        Some("fuzz") => {
            fuzz::run(&root(), options.seconds.unwrap_or(bounds::FUZZ_SECONDS)).map(|()| true).map_err(Into::into)
        }
        #[cfg(feature = "collector")]
        Some("collector") => runtime()?.block_on(collector::run(&root(), options.json)),
        #[cfg(not(feature = "collector"))]
        Some("collector") => with_feature("collector"),
        Some("wasm") => wasm::run(&root()).map(|()| true).map_err(Into::into),
        Some("bench") => runtime()?.block_on(bench::run(options.part.as_deref(), options.json)),
        #[cfg(target_os = "linux")]
        Some("lab") if options.install => lab::install(),
        #[cfg(target_os = "linux")]
        Some("lab") => lab::run(&lab::Choice { json: options.json, quick: options.quick, only: options.only }),
        #[cfg(not(target_os = "linux"))]
        Some("lab") => Err("skipped: the lab needs Linux".into()),
        Some("ci") => ci::run(),
        Some("help") => {
            print!("{HELP}");
            Ok(true)
        }
        Some(other) => Err(format!("no command `{other}`; `cargo xtask help` lists them").into()),
        None => Err("which command? `cargo xtask help` lists them".into()),
    }
}

/// Builds this program with one of its features, and hands the command on to it.
#[cfg(not(feature = "collector"))]
fn with_feature(feature: &str) -> Result<bool, Failure> {
    let status = std::process::Command::new("cargo")
        .args(["run", "--quiet", "--release", "--package", "xtask", "--features", feature, "--"])
        .args(std::env::args_os().skip(1))
        .status()?;
    match status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(format!("{status}").into()),
    }
}

/// The workspace.
fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
