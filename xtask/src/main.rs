//! What a maintainer runs: `cargo xtask help` lists it.

mod attempts;
mod bench;
mod bounds;
#[cfg(all(test, feature = "collector"))]
mod canary;
#[cfg(feature = "channel")]
mod channel;
mod chaos;
mod ci;
#[cfg(feature = "collector")]
mod collector;
mod demo;
mod faults;
#[cfg(feature = "collector")]
mod fleet;
mod fuzz;
#[cfg(all(feature = "channel", target_os = "linux"))]
mod interop;
#[cfg(target_os = "linux")]
mod lab;
mod leak;
mod nat_world;
mod options;
mod package;
mod panics;
mod peers;
mod python;
mod slots;
mod spans;
mod stock;
mod table;
mod tidy;
mod verdict;
mod wasm;
mod workspace;

use std::error::Error;
use std::process::ExitCode;

use options::Options;

/// Counts every allocation, for `leak` and `bench`.
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

type Failure = Box<dyn Error + Send + Sync>;

/// One thing a maintainer runs.
struct Command {
    name: &'static str,
    /// What it may be told: the grammar that [`Options`] reads its arguments by.
    usage: &'static str,
    help: &'static str,
    /// Whether it found everything in order.
    run: Run,
}

const COMMANDS: &[Command] = &[
    command(
        "demo",
        demo::run,
        "[--json]",
        "one consumer on real sockets, then behind simulated NATs",
    ),
    command(
        "leak",
        leak::run,
        "[--cycles N] [--only PATH,PATH] [--list] [--self-test] [--no-stock] [--as-built] [--json]",
        "what is left per cycle, on each path of each crate; about half an hour, or less with fewer cycles",
    ),
    command("leak-path", leak::walk_one, "[PATH] [--cycles N]", ""),
    command(
        "channel",
        channel::run,
        "[--cycles N] [--json]",
        "the data channel, and webrtc's beside it: leaks, size, time",
    ),
    command(
        "bench",
        bench::run,
        "[PART] [--save] [--compare] [--json]",
        "what it costs beside others: gather, path, peer, scale, criterion, counts; one report with plots",
    ),
    command(
        "lab",
        lab::run,
        "[PART] [--json] [--quick] [--only NAME] [--install]",
        "the gatherer behind the NATs of the kernel; peers: two agents, each behind one",
    ),
    command(
        "slots",
        slots::run,
        "[--quick] [--slots N] [--attempts N] [--json]",
        "thousands of slots in one process, beside stock webrtc-ice; then a day of churn",
    ),
    command(
        "interop",
        interop::run,
        "[--json] [--quick] [--only PEER] [--install]",
        "browsers and other stacks as peers, behind the NATs of the kernel",
    ),
    command(
        "fuzz",
        fuzz::run,
        "[--seconds N] [--json]",
        "every fuzz target of every crate; needs nightly and cargo-fuzz",
    ),
    command(
        "collector",
        collector::run,
        "[--json]",
        "what attempts emit, and what a real collector received",
    ),
    command(
        "fleet",
        fleet::run,
        "[--quick] [--attempts N] [--spans FILE] [--picture FILE] [--json]",
        "the questions of operators, in DuckDB, over a simulated fleet",
    ),
    command(
        "chaos",
        chaos::run,
        "[--seed S] [--minutes M] [--episode K|K..L] [--json]",
        "attempts while everything that can fail does; a seed replays them",
    ),
    command(
        "wasm",
        wasm::run,
        "[--json]",
        "the judge and the telemetry as WebAssembly, under Node",
    ),
    command(
        "package",
        package::run,
        "[--quick] [--json]",
        "what a release has to pass: archives, licences, each crate alone",
    ),
    command(
        "tidy",
        tidy::run,
        "[--json]",
        "what the project says of itself is so; each complaint names the mend",
    ),
    command(
        "ci",
        ci::run,
        "[--tested] [--only STEP] [--began SECONDS] [--json]",
        "everything a change has to pass; what took how long, and what could not be checked here",
    ),
    command("help", help, "", "this list"),
];

type Run = fn(&Options) -> Result<bool, Failure>;

const fn command(name: &'static str, run: Run, usage: &'static str, help: &'static str) -> Command {
    Command {
        name,
        usage,
        help,
        run,
    }
}

fn main() -> ExitCode {
    panics::count();
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, Failure> {
    let mut arguments = std::env::args_os().skip(1);
    let name = arguments
        .next()
        .ok_or("which command? `cargo xtask help` lists them")?;
    let name = if name == "--help" {
        "help".into()
    } else {
        name
    };
    let command = COMMANDS.iter().find(|command| name == command.name);
    let command =
        command.ok_or_else(|| format!("no command {name:?}; `cargo xtask help` lists them"))?;
    let arguments: Vec<_> = arguments.collect();
    if arguments.iter().any(|argument| argument == "--help") {
        println!(
            "cargo xtask {} {}\n{}",
            command.name, command.usage, command.help
        );
        return Ok(true);
    }
    (command.run)(&Options::read(command.usage, arguments.into_iter())?)
}

fn help(_: &Options) -> Result<bool, Failure> {
    let row = |c: &Command| vec![c.name.to_owned(), c.help.to_owned(), c.usage.to_owned()];
    // one without help is for other commands to run
    let rows: Vec<_> = COMMANDS
        .iter()
        .filter(|command| !command.help.is_empty())
        .map(row)
        .collect();
    println!("{}", table::render(&["cargo xtask", "", ""], &rows));
    println!("A command exits with 1 where a bound is broken, and with 2 where it cannot run.");
    Ok(true)
}

/// Commands that need a feature of this program: without it, it is built again with it.
#[cfg(not(feature = "collector"))]
mod collector {
    pub(crate) fn run(_: &crate::Options) -> Result<bool, crate::Failure> {
        crate::with_features("collector")
    }
}
#[cfg(not(feature = "collector"))]
use collector as fleet;

#[cfg(not(feature = "channel"))]
mod channel {
    pub(crate) fn run(_: &crate::Options) -> Result<bool, crate::Failure> {
        crate::with_features("channel")
    }
}

#[cfg(all(not(feature = "channel"), target_os = "linux"))]
mod interop {
    pub(crate) fn run(_: &crate::Options) -> Result<bool, crate::Failure> {
        crate::with_features("channel")
    }
}

#[cfg(not(target_os = "linux"))]
mod interop {
    pub(crate) fn run(_: &crate::Options) -> Result<bool, crate::Failure> {
        Err("skipped: the kernel's NATs need Linux".into())
    }
}

#[cfg(not(target_os = "linux"))]
mod lab {
    pub(crate) const fn has_coturn() -> bool {
        false
    }

    pub(crate) fn missing() -> Option<String> {
        Some("the lab needs Linux".into())
    }

    pub(crate) fn run(_: &crate::Options) -> Result<bool, crate::Failure> {
        Err("skipped: the lab needs Linux".into())
    }
}

/// Builds this program with these of its features, and hands the command on to it.
#[cfg(not(all(feature = "channel", feature = "collector")))]
fn with_features(features: &str) -> Result<bool, Failure> {
    let status = workspace::cargo()
        .args([
            "run",
            "--release",
            "--package",
            "xtask",
            "--features",
            features,
            "--",
        ])
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
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}
