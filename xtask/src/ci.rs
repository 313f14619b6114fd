//! `ci`: everything a change has to pass, one step after the other, with the time each took.

mod beyond;

use std::process::Command;
use std::time::Instant;

use crate::{Failure, Options, bounds, lab, python, root, table, workspace};

/// A step: its name, what it does, and what to set for it.
struct Step {
    name: &'static str,
    does: Does,
    environment: &'static [(&'static str, &'static str)],
    /// Why it cannot run here, if it cannot.
    skip: fn() -> Option<String>,
}

enum Does {
    Cargo(String),
    /// Runs a program that the tests with all features have built: cargo would build it again, with the features that it
    /// has without the other crates.
    Built(&'static str, String),
    Ours(fn() -> Result<bool, Failure>),
}

const fn step(name: &'static str, does: Does) -> Step {
    Step { name, does, environment: &[], skip: || None }
}

fn cargo(name: &'static str, line: impl Into<String>) -> Step {
    step(name, Does::Cargo(line.into()))
}

fn built(name: &'static str, program: &'static str, line: impl Into<String>) -> Step {
    step(name, Does::Built(program, line.into()))
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
        step("tests, all features", Does::Ours(beyond::run)),
        Step {
            environment: &[("MACHINE_STEPS", "1000000")],
            // every `it`, and so nothing is built again; only one has such tests
            ..cargo("machine, a million steps", "test --workspace --all-features --test it steps::")
        },
        built("example, peer connections", "examples/peer_connection", ""),
        built(
            "leak, data channel and pipeline",
            "xtask",
            format!("leak --only channel,pipeline --no-stock --cycles {}", bounds::CHANNEL_CYCLES_CI),
        ),
        built("interop", "xtask", "interop --quick"),
        Step { skip: no_collector, ..built("collector", "xtask", "collector") },
        Step { skip: no_duckdb, ..built("fleet", "xtask", "fleet --quick") },
        cargo("bench, emission", "bench -q -p otel-nat"),
        cargo("bench, counts", "xtask bench counts --compare"),
        cargo("demo", "xtask demo"),
        cargo("leak", format!("xtask leak --as-built --cycles {}", bounds::LEAK_CYCLES_CI)),
        cargo("slots", "xtask slots --quick"),
        cargo("chaos", format!("xtask chaos --seed 1 --minutes {}", bounds::CHAOS_MINUTES_CI)),
        Step { skip: lab::missing, ..cargo("lab", "xtask lab --quick") },
        cargo("package", "xtask package --quick"),
        Step { skip: no_node, ..cargo("wasm", "xtask wasm") },
        Step { skip: no_fuzz, ..cargo("fuzz", format!("xtask fuzz --seconds {}", bounds::FUZZ_SECONDS)) },
        step("msrv", Does::Ours(msrv)),
    ]
}

impl Step {
    fn run(&self) -> Result<bool, Failure> {
        let mut command = match &self.does {
            Does::Ours(check) => return check(),
            Does::Cargo(line) => {
                let mut cargo = workspace::cargo();
                cargo.args(line.split_whitespace());
                cargo
            }
            Does::Built(program, line) => {
                let mut built = Command::new(workspace::build_folder(&root()).join("debug").join(program));
                built.args(line.split_whitespace());
                built
            }
        };
        Ok(command.envs(self.environment.iter().copied()).status()?.success())
    }

    fn line(&self) -> String {
        match &self.does {
            Does::Cargo(line) => format!("cargo {line}"),
            Does::Built(program, line) => format!("{program} {line}"),
            Does::Ours(_) => String::new(),
        }
    }
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

/// `--tested` says that the README's test command has passed just now: then it is not run again. `--only` runs the steps
/// with that in their name.
pub(crate) fn run(options: &Options) -> Result<bool, Failure> {
    let began = Instant::now();
    let only: Option<String> = options.value("only")?;
    let is_named = |step: &Step| only.as_deref().is_none_or(|part| step.name.contains(part));
    let mut rows = Vec::new();
    let mut passed = true;
    for step in steps().into_iter().filter(is_named) {
        println!("\n== {}: {}", step.name, step.line());
        let started = Instant::now();
        let tested = (options.is("tested") && step.name == TESTS).then(|| "it has passed just now".to_owned());
        if let Some(reason) = tested.or_else(step.skip) {
            println!("skipped: {reason}");
            rows.push(vec![step.name.into(), "-".into(), format!("skipped: {reason}")]);
            continue;
        }
        let is_good = step.run()?;
        passed &= is_good;
        rows.push(row(step.name, is_good, started));
    }
    rows.push(row("in all", passed, began));
    println!("\n{}", table::render(&["step", "s", ""], &rows));
    Ok(passed)
}

fn row(name: &str, passed: bool, started: Instant) -> Vec<String> {
    let verdict = if passed { "passed" } else { "FAILED" };
    vec![name.to_owned(), format!("{:.1}", started.elapsed().as_secs_f64()), verdict.to_owned()]
}

/// Compares the promised Rust version with those that the locked dependencies ask for.
fn msrv() -> Result<bool, Failure> {
    let output = workspace::cargo().args(["metadata", "--format-version", "1", "--locked"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let version = |package: &serde_json::Value| -> (u32, u32) {
        let mut numbers = package["rust_version"].as_str().unwrap_or("0").split('.').map(|n| n.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    };
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let ours = packages.iter().find(|p| p["name"] == "ice-gather").map(version).ok_or("ice-gather is missing")?;
    let newer: Vec<&str> = packages.iter().filter(|p| version(p) > ours).filter_map(|p| p["name"].as_str()).collect();
    println!("promised: {}.{}; asking for more: {newer:?}", ours.0, ours.1);
    println!("skipped: a build with the promised Rust itself, where only one toolchain is installed");
    Ok(newer.is_empty())
}
