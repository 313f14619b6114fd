//! `wasm`: builds the judge and the telemetry for `wasm32-unknown-unknown` and runs both under
//! Node.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde::Serialize;

use crate::verdict::Verdict;
use common::commands::Json;

use crate::{Failure, root, table, workspace};

const TARGET: &str = "wasm32-unknown-unknown";
/// The standard library's source in Debian, to build it from.
const DISTRIBUTION: &str = "/usr/lib/rustlib/src/rust/library";

/// Each crate's module, the script that runs it, and whether an older Rust than the promised one
/// may build it.
const MODULES: [(&str, &str, &[&str], bool); 2] = [
    (
        "nat-summary",
        "nat_summary_wasm.wasm",
        &["summarize.mjs", "--check"],
        false,
    ),
    ("otel-nat", "otel_nat_wasm.wasm", &["imports.mjs"], true),
];

/// One crate's module.
#[derive(Debug, Serialize)]
struct Row {
    package: &'static str,
    verdict: Verdict,
    /// Of one that runs.
    kb: Option<u64>,
    seconds: f64,
    /// The failure.
    detail: String,
}

/// Why it cannot run here, if it cannot.
pub(crate) fn missing() -> Option<String> {
    if !workspace::runs("node", &["--version"]) {
        Some("there is no Node to run WebAssembly with".into())
    } else if !has_target() && !Path::new(DISTRIBUTION).is_dir() {
        Some(format!(
            "the toolchain has no {TARGET}: `rustup target add {TARGET}` brings it, and in Debian the packages `rustc-web`, \
             `cargo-web`, `rust-web-src` and `lld` do"
        ))
    } else {
        None
    }
}

/// Builds with the target's own standard library if rustup has it, else with the one of the
/// distribution's `rustc-web`.
pub(crate) fn run(options: &Json) -> Result<bool, Failure> {
    if let Some(why) = missing() {
        return Err(why.into());
    }
    let root = root();
    let rows: Vec<Row> = MODULES.iter().map(|module| row(&root, *module)).collect();
    let passed = rows.iter().all(|row| row.verdict == Verdict::Passed);
    if options.json {
        println!(
            "{:#}",
            serde_json::json!({ "passed": passed, "modules": rows })
        );
    } else {
        println!("{}", render(&rows));
    }
    Ok(passed)
}

/// Builds the judge's module; where it is.
pub(crate) fn nat_summary() -> Result<std::path::PathBuf, Failure> {
    let (name, module, _, may_be_older) = MODULES[0];
    let folder = root().join(name).join("wasm");
    build(&folder, may_be_older)?;
    Ok(place(&folder, module))
}

fn place(folder: &Path, module: &str) -> std::path::PathBuf {
    folder
        .join("target")
        .join(TARGET)
        .join("release")
        .join(module)
}

fn row(
    root: &Path,
    (name, module, script, may_be_older): (&'static str, &str, &[&str], bool),
) -> Row {
    eprintln!("{name}:");
    let started = Instant::now();
    let folder = root.join(name).join("wasm");
    let module = place(&folder, module);
    let outcome = build(&folder, may_be_older).and_then(|()| under_node(&folder, &module, script));
    Row {
        package: name,
        verdict: Verdict::of(outcome.is_ok()),
        kb: outcome
            .is_ok()
            .then(|| module.metadata().ok().map(|file| file.len() / 1024))
            .flatten(),
        seconds: started.elapsed().as_secs_f64(),
        detail: outcome.err().unwrap_or_default(),
    }
}

fn build(folder: &Path, may_be_older: bool) -> Result<(), String> {
    let distribution = !has_target();
    let mut build = if distribution {
        Command::new("/usr/bin/cargo")
    } else {
        workspace::cargo()
    };
    build
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", folder.join("target"));
    build.args(["build", "--release", "--target", TARGET]);
    if distribution {
        build
            .env("RUSTC", "/usr/bin/rustc")
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Clinker=wasm-ld");
        build
            .env_remove("RUSTUP_TOOLCHAIN")
            .arg("-Zbuild-std=std,panic_abort");
        if may_be_older {
            // ignored, because the promised version is that of dependencies that this target omits
            build.arg("--ignore-rust-version");
        }
    }
    succeed(build, "the build for WebAssembly")
}

fn under_node(folder: &Path, module: &Path, script: &[&str]) -> Result<(), String> {
    let (script, more) = script.split_first().ok_or("no script")?;
    let mut node = Command::new("node");
    node.current_dir(folder).arg(script).arg(module).args(more);
    succeed(node, "the run under Node")
}

fn has_target() -> bool {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// Runs the command with its output on the standard error, because the standard output is for the
/// result.
fn succeed(mut command: Command, what: &str) -> Result<(), String> {
    match command.stdout(std::io::stderr()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what} failed: {status}")),
        Err(error) => Err(format!("{what} could not start: {error}")),
    }
}

fn render(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        vec![
            row.package.to_owned(),
            row.kb.map_or_else(|| "-".to_owned(), |kb| kb.to_string()),
            format!("{:.1}", row.seconds),
            row.verdict.word().to_owned(),
            row.detail.clone(),
        ]
    };
    table::render(
        &["module of", "KB", "s", "", ""],
        &rows.iter().map(cells).collect::<Vec<_>>(),
    )
}
