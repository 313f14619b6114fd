//! `wasm`: builds the judge and the telemetry for `wasm32-unknown-unknown` and runs both under Node.

use std::path::Path;
use std::process::Command;

use crate::{Failure, Options, root, workspace};

const TARGET: &str = "wasm32-unknown-unknown";

/// Each crate's module, what runs it, and whether an older Rust than the crate promises may build it.
const MODULES: [(&str, &str, &[&str], bool); 2] = [
    ("nat-summary", "nat_summary_wasm.wasm", &["summarize.mjs", "--check"], false),
    ("otel-nat", "otel_nat_wasm.wasm", &["imports.mjs"], true),
];

/// Builds with the target's own standard library if rustup has it, else with the one of the distribution's `rustc-web`.
pub(crate) fn run(_: &Options) -> Result<bool, Failure> {
    build_and_run(&root())?;
    Ok(true)
}

fn build_and_run(root: &Path) -> Result<(), String> {
    let distribution = Path::new("/usr/lib/rustlib/src/rust/library").is_dir() && !has_target();
    for (name, module, script, may_be_older) in MODULES {
        println!("{name}:");
        let folder = root.join(name).join("wasm");
        let target_dir = folder.join("target");
        let mut build = if distribution { Command::new("/usr/bin/cargo") } else { workspace::cargo() };
        build.current_dir(&folder).env("CARGO_TARGET_DIR", &target_dir).args([
            "build",
            "--release",
            "--target",
            TARGET,
        ]);
        if distribution {
            build.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Clinker=wasm-ld");
            build.env_remove("RUSTUP_TOOLCHAIN").arg("-Zbuild-std=std,panic_abort");
            if may_be_older {
                // the promise is for what this target leaves out
                build.arg("--ignore-rust-version");
            }
        }
        succeed(build, "the build for WebAssembly")?;
        let mut node = Command::new("node");
        let (script, more) = script.split_first().ok_or("no script")?;
        node.current_dir(&folder).arg(script).arg(target_dir.join(TARGET).join("release").join(module)).args(more);
        succeed(node, "the run under Node")?;
    }
    Ok(())
}

fn has_target() -> bool {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

fn succeed(mut command: Command, what: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what} failed: {status}")),
        Err(error) => Err(format!("{what} could not start: {error}")),
    }
}
