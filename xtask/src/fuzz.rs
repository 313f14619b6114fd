//! `fuzz --seconds N`: runs every fuzz target of every crate, N seconds each, as many at once as there are cores.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::{Failure, Options, bounds, root, workspace};

/// A target, and the `fuzz` folder it is in.
type Target = (PathBuf, String);

/// Builds all targets, then runs them; what fails is told in full. Needs a nightly toolchain and `cargo-fuzz`.
pub(crate) fn run(options: &Options) -> Result<bool, Failure> {
    let seconds = options.value("seconds")?.unwrap_or(bounds::FUZZ_SECONDS);
    let mut all = Vec::new();
    for folder in fuzz_folders(&root().canonicalize()?)? {
        all.extend(targets(&folder)?.into_iter().map(|target| (folder.clone(), target)));
        let build = cargo_fuzz(&folder, "build").status()?;
        if !build.success() {
            return Err(format!("{} does not build", folder.display()).into());
        }
    }
    if all.is_empty() {
        return Err("no crate has a `fuzz` folder".into());
    }
    let cores = thread::available_parallelism()?.get();
    run_targets(all, cores, seconds)
}

/// Whether none found anything.
fn run_targets(all: Vec<Target>, at_once: usize, seconds: u64) -> Result<bool, Failure> {
    let waiting = Mutex::new(all.into_iter());
    let work = || -> Result<bool, Failure> {
        let mut passed = true;
        while let Some((folder, target)) = { waiting.lock().unwrap_or_else(PoisonError::into_inner).next() } {
            passed &= run_target(&folder, &target, seconds)?;
        }
        Ok(passed)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let ends: Result<Vec<bool>, Failure> =
            workers.into_iter().map(|worker| worker.join().map_err(|_| "a run ended in a panic")?).collect();
        Ok(ends?.into_iter().all(|passed| passed))
    })
}

fn fuzz_folders(root: &Path) -> Result<Vec<PathBuf>, String> {
    let crates = std::fs::read_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
    let mut folders: Vec<_> = crates.flatten().map(|entry| entry.path().join("fuzz")).collect();
    folders.retain(|folder| folder.join("Cargo.toml").is_file());
    folders.sort();
    Ok(folders)
}

fn targets(folder: &Path) -> Result<Vec<String>, String> {
    let output = cargo_fuzz(folder, "list").output().map_err(|error| format!("cargo fuzz: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo fuzz list failed (nightly and `cargo install cargo-fuzz` are needed): {said}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Whether it found nothing.
fn run_target(folder: &Path, target: &str, seconds: u64) -> Result<bool, Failure> {
    // what a run finds goes to a folder of its own: the seeds stay as they were committed
    let found = folder.join("target").join("found").join(target);
    std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    let seeds = folder.join("corpus").join(target);
    let output = cargo_fuzz(folder, "run")
        .arg(target)
        .args([&found, &seeds])
        .arg("--")
        .args([format!("-max_total_time={seconds}"), "-max_len=4200".to_owned()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        let last = said.lines().rfind(|line| line.starts_with("Done")).unwrap_or_default();
        println!("{} {target}: {last}", folder.display());
    } else {
        println!("{said}\n{target} failed: see `artifacts` in {}", folder.display());
    }
    Ok(output.status.success())
}

fn cargo_fuzz(folder: &Path, act: &str) -> Command {
    let mut command = workspace::cargo();
    // the toolchain that runs xtask must not decide for the one that fuzzes
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    if let Some(parent) = folder.parent() {
        command.current_dir(parent);
    }
    command.args(["+nightly", "fuzz", act]);
    if act != "list" {
        // what the crates have in common is built once
        command.arg("--target-dir").arg(workspace::build_folder(&root()).join("fuzz"));
    }
    command
}
