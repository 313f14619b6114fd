//! `wasm`: builds the judge for `wasm32-unknown-unknown` and runs it under Node.

use std::path::Path;
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// Builds with the target's own standard library if rustup has it, else with the one of the distribution's `rustc-web`.
///
/// # Errors
/// What went wrong, for a person.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let folder = root.join("nat-summary").join("wasm");
    let target_dir = folder.join("target");
    let distribution = Path::new("/usr/lib/rustlib/src/rust/library").is_dir() && !has_target();
    let mut build = Command::new(if distribution { "/usr/bin/cargo" } else { "cargo" });
    build.current_dir(&folder).env("CARGO_TARGET_DIR", &target_dir).args(["build", "--release", "--target", TARGET]);
    if distribution {
        build.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Clinker=wasm-ld");
        build.env_remove("RUSTUP_TOOLCHAIN").arg("-Zbuild-std=std,panic_abort");
    }
    succeed(build, "the build for WebAssembly")?;
    let module = target_dir.join(TARGET).join("release").join("nat_summary_wasm.wasm");
    let mut node = Command::new("node");
    node.current_dir(&folder).arg("summarize.mjs").arg(module).arg("--check");
    succeed(node, "the run under Node")
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
