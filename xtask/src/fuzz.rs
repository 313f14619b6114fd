//! `fuzz --seconds N`: runs every fuzz target of every crate, N seconds each.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Failure, Options, bounds, root};

/// Runs all targets one after the other; the first that fails ends it. Needs a nightly toolchain and `cargo-fuzz`.
pub(crate) fn run(options: &Options) -> Result<bool, Failure> {
    let seconds = options.value("seconds")?.unwrap_or(bounds::FUZZ_SECONDS);
    run_targets(&root(), seconds)?;
    Ok(true)
}

fn run_targets(root: &Path, seconds: u64) -> Result<(), String> {
    let manifests = fuzz_folders(root)?;
    if manifests.is_empty() {
        return Err("no crate has a `fuzz` folder".to_owned());
    }
    for folder in manifests {
        for target in targets(&folder)? {
            println!("{} {target}: {seconds} s", folder.display());
            run_target(&folder, &target, seconds)?;
        }
    }
    Ok(())
}

fn fuzz_folders(root: &Path) -> Result<Vec<PathBuf>, String> {
    let crates = std::fs::read_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
    let mut folders: Vec<_> = crates.flatten().map(|entry| entry.path().join("fuzz")).collect();
    folders.retain(|folder| folder.join("Cargo.toml").is_file());
    folders.sort();
    Ok(folders)
}

fn targets(folder: &Path) -> Result<Vec<String>, String> {
    let output = cargo_fuzz(folder).arg("list").output().map_err(|error| format!("cargo fuzz: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo fuzz list failed (nightly and `cargo install cargo-fuzz` are needed): {said}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn run_target(folder: &Path, target: &str, seconds: u64) -> Result<(), String> {
    // what a run finds goes to a folder of its own: the seeds stay as they were committed
    let found = folder.join("target").join("found").join(target);
    std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    let seeds = folder.join("corpus").join(target);
    let status = cargo_fuzz(folder)
        .args(["run", target])
        .args([&found, &seeds])
        .arg("--")
        .args([format!("-max_total_time={seconds}"), "-max_len=4200".to_owned()])
        .status()
        .map_err(|error| format!("cargo fuzz: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{target} failed: see `artifacts` in {}", folder.display())) }
}

fn cargo_fuzz(folder: &Path) -> Command {
    let mut command = Command::new("cargo");
    // the toolchain that runs xtask must not decide for the one that fuzzes
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    if let Some(parent) = folder.parent() {
        command.current_dir(parent);
    }
    command.args(["+nightly", "fuzz"]);
    command
}
