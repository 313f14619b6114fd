//! `ci`: everything a change has to pass, one step after the other, with the time each took.

use std::process::Command;
use std::time::Instant;

use crate::{Failure, Options, bounds, python, table};

/// A step: its name, the program with its arguments, and what to set for it.
struct Step {
    name: &'static str,
    arguments: Vec<String>,
    environment: &'static [(&'static str, &'static str)],
    /// Why it cannot run here, if it cannot.
    skip: fn() -> Option<String>,
}

fn cargo(name: &'static str, line: &str) -> Step {
    Step { name, arguments: line.split_whitespace().map(str::to_owned).collect(), environment: &[], skip: || None }
}

fn steps() -> Vec<Step> {
    vec![
        cargo("fmt", "fmt --all --check"),
        cargo("clippy", "clippy --workspace --all-targets --all-features -- -D warnings"),
        cargo("clippy, default features", "clippy --workspace -- -D warnings"),
        cargo("tidy", "xtask tidy"),
        Step {
            environment: &[("RUSTDOCFLAGS", "-D warnings")],
            ..cargo("docs", "doc --workspace --no-deps --all-features")
        },
        cargo(TESTS, "test --workspace"),
        cargo("tests, all features", "test --workspace --all-features"),
        Step {
            environment: &[("MACHINE_STEPS", "1000000")],
            ..cargo("machine, a million steps", "test -p consumer-fsm --test it steps::")
        },
        cargo("example, peer connections", "run -q -p ice-gather --features responder --example peer_connection"),
        cargo("bench, emission", "bench -q -p otel-nat"),
        cargo("bench, counts", "xtask bench counts --compare"),
        cargo("demo", "xtask demo"),
        cargo("leak", &format!("xtask leak --cycles {}", bounds::LEAK_CYCLES_CI)),
        cargo("slots", "xtask slots --quick"),
        cargo("chaos", &format!("xtask chaos --seed 1 --minutes {}", bounds::CHAOS_MINUTES_CI)),
        // with the features of the tests above, so that nothing is built again
        cargo(
            "data channel",
            &format!("run -q -p xtask --all-features -- channel --cycles {}", bounds::CHANNEL_CYCLES_CI),
        ),
        cargo("interop", "run -q -p xtask --all-features -- interop --quick"),
        Step { skip: no_collector, ..cargo("collector", "run -q -p xtask --all-features -- collector") },
        Step { skip: no_duckdb, ..cargo("fleet", "run -q -p xtask --all-features -- fleet --quick") },
        Step { skip: no_node, ..cargo("wasm", "xtask wasm") },
        Step { skip: no_fuzz, ..cargo("fuzz", &format!("xtask fuzz --seconds {}", bounds::FUZZ_SECONDS)) },
    ]
}

/// Whether a program runs at all.
fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn no_node() -> Option<String> {
    (!runs("node", &["--version"])).then(|| "there is no Node to run WebAssembly with".into())
}

fn no_collector() -> Option<String> {
    python::rotel(&crate::root()).err()
}

fn no_duckdb() -> Option<String> {
    python::with(&crate::root(), &[python::DUCKDB, python::MATPLOTLIB]).err()
}

fn no_fuzz() -> Option<String> {
    if !runs("rustup", &["run", "nightly", "rustc", "--version"]) {
        Some("there is no nightly toolchain".into())
    } else if !runs("cargo", &["fuzz", "--version"]) {
        Some("there is no cargo-fuzz; `cargo install cargo-fuzz` brings it".into())
    } else {
        None
    }
}

/// The test command of the README.
const TESTS: &str = "tests";

/// `--tested` says that the README's test command has passed just now: then it is not run again.
pub(crate) fn run(options: &Options) -> Result<bool, Failure> {
    let began = Instant::now();
    let mut rows = Vec::new();
    let mut passed = true;
    for step in steps() {
        println!("\n== {}: cargo {}", step.name, step.arguments.join(" "));
        let started = Instant::now();
        let tested = (options.is("tested") && step.name == TESTS).then(|| "it has passed just now".to_owned());
        if let Some(reason) = tested.or_else(step.skip) {
            println!("skipped: {reason}");
            rows.push(vec![step.name.into(), "-".into(), format!("skipped: {reason}")]);
            continue;
        }
        let status = Command::new("cargo").args(&step.arguments).envs(step.environment.iter().copied()).status()?;
        passed &= status.success();
        rows.push(row(step.name, status.success(), started));
    }
    println!("\n== msrv: no dependency wants a newer Rust than we promise");
    let started = Instant::now();
    let msrv = msrv()?;
    println!("{}", msrv.1);
    passed &= msrv.0;
    rows.push(row("msrv", msrv.0, started));
    println!("skipped: a build with the promised Rust itself, where only one toolchain is installed");

    rows.push(row("in all", passed, began));
    println!("\n{}", table::render(&["step", "s", ""], &rows));
    Ok(passed)
}

fn row(name: &str, passed: bool, started: Instant) -> Vec<String> {
    let verdict = if passed { "passed" } else { "FAILED" };
    vec![name.to_owned(), format!("{:.1}", started.elapsed().as_secs_f64()), verdict.to_owned()]
}

/// Compares the promised Rust version with those that the locked dependencies ask for.
fn msrv() -> Result<(bool, String), Failure> {
    let output = Command::new("cargo").args(["metadata", "--format-version", "1", "--locked"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let version = |package: &serde_json::Value| -> (u32, u32) {
        let mut numbers = package["rust_version"].as_str().unwrap_or("0").split('.').map(|n| n.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    };
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let ours = packages.iter().find(|p| p["name"] == "ice-gather").map(version).ok_or("ice-gather is missing")?;
    let newer: Vec<&str> = packages.iter().filter(|p| version(p) > ours).filter_map(|p| p["name"].as_str()).collect();
    let text = format!("promised: {}.{}; asking for more: {newer:?}", ours.0, ours.1);
    Ok((newer.is_empty(), text))
}
