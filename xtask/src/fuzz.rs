//! `fuzz --seconds N`: runs every fuzz target of every crate, N seconds of a core each, as many at
//! once as there are cores.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde::Serialize;

use crate::verdict::Verdict;
use common::commands::Fuzz;

use crate::{Failure, bounds, root, table, workspace};

/// A target, and the `fuzz` folder it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    folder: PathBuf,
    name: String,
}

/// The result of one target.
#[derive(Debug, Serialize)]
struct Row {
    package: String,
    target: String,
    /// Of a core.
    seconds: f64,
    runs: u64,
    verdict: Verdict,
}

/// Why it cannot run here, if it cannot.
pub(crate) fn missing() -> Option<String> {
    if !workspace::runs("rustup", &["run", "nightly", "rustc", "--version"]) {
        Some("there is no nightly toolchain; `rustup toolchain install nightly` brings it".into())
    } else if !workspace::runs("cargo", &["fuzz", "--version"]) {
        Some("there is no cargo-fuzz; `cargo install cargo-fuzz` brings it".into())
    } else {
        None
    }
}

/// Builds all targets, then runs them. The output of a failure is printed in full.
pub(crate) fn run(options: &Fuzz) -> Result<bool, Failure> {
    if let Some(why) = missing() {
        return Err(why.into());
    }
    let seconds = options.seconds.unwrap_or(bounds::FUZZ_SECONDS);
    let mut all = Vec::new();
    for folder in fuzz_folders(&root().canonicalize()?)? {
        all.extend(targets(&folder)?.into_iter().map(|name| Target {
            folder: folder.clone(),
            name,
        }));
        let build = cargo_fuzz(&folder, "build")
            .stdout(std::io::stderr())
            .status()?;
        if !build.success() {
            return Err(format!("{} does not build", folder.display()).into());
        }
    }
    if all.is_empty() {
        return Err("no crate has a `fuzz` folder".into());
    }
    let cores = thread::available_parallelism()?.get();
    let found = run_all(shares(&all, cores, seconds), cores)?;
    let rows: Vec<Row> = all.iter().map(|target| row(target, &found)).collect();
    let passed = rows.iter().all(|row| row.verdict == Verdict::Passed);
    if options.json {
        println!(
            "{:#}",
            serde_json::json!({ "passed": passed, "targets": rows })
        );
    } else {
        println!("{}", render(&rows));
    }
    Ok(passed)
}

/// One target runs on each core at a time. The last targets share all cores, because a core would
/// otherwise be idle.
fn shares(all: &[Target], cores: usize, seconds: u64) -> Vec<(Target, u64)> {
    let (whole, left) = all.split_at(all.len() - all.len() % cores);
    let whole = whole.iter().map(|target| (target.clone(), seconds));
    let share = seconds.div_ceil(cores as u64);
    whole
        .chain(
            left.iter()
                .flat_map(|target| (0..cores).map(move |_| (target.clone(), share))),
        )
        .collect()
}

/// The result of one run: the number of inputs and the seconds; `None` if it failed.
type Run = Option<(u64, f64)>;

fn run_all(shares: Vec<(Target, u64)>, at_once: usize) -> Result<Vec<(Target, Run)>, Failure> {
    let waiting = Mutex::new(shares.into_iter());
    let work = || -> Result<Vec<(Target, Run)>, Failure> {
        let mut found = Vec::new();
        while let Some((target, seconds)) = {
            waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next()
        } {
            let run = run_one(&target, seconds)?;
            found.push((target, run));
        }
        Ok(found)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let ends: Result<Vec<_>, Failure> = workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| "a run ended in a panic")?)
            .collect();
        Ok(ends?.into_iter().flatten().collect())
    })
}

/// One line of all the runs of a target.
fn row(target: &Target, found: &[(Target, Run)]) -> Row {
    let runs: Vec<Run> = found
        .iter()
        .filter(|(of, _)| of == target)
        .map(|(_, run)| *run)
        .collect();
    let package = target
        .folder
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default();
    Row {
        package: package.to_string_lossy().into_owned(),
        target: target.name.clone(),
        seconds: runs.iter().flatten().map(|(_, seconds)| seconds).sum(),
        runs: runs.iter().flatten().map(|(runs, _)| runs).sum(),
        verdict: Verdict::of(runs.iter().all(Option::is_some)),
    }
}

fn render(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let (runs, seconds) = (row.runs.to_string(), format!("{:.0}", row.seconds));
        vec![
            row.package.clone(),
            row.target.clone(),
            runs,
            seconds,
            row.verdict.word().to_owned(),
        ]
    };
    table::render(
        &["crate", "target", "runs", "s", ""],
        &rows.iter().map(cells).collect::<Vec<_>>(),
    )
}

fn fuzz_folders(root: &Path) -> Result<Vec<PathBuf>, String> {
    let crates = std::fs::read_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
    let mut folders: Vec<_> = crates
        .flatten()
        .map(|entry| entry.path().join("fuzz"))
        .collect();
    folders.retain(|folder| folder.join("Cargo.toml").is_file());
    folders.sort();
    Ok(folders)
}

fn targets(folder: &Path) -> Result<Vec<String>, String> {
    let output = cargo_fuzz(folder, "list")
        .output()
        .map_err(|error| format!("cargo fuzz: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "cargo fuzz list failed: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

fn run_one(target: &Target, seconds: u64) -> Result<Run, Failure> {
    let Target { folder, name } = target;
    // new inputs go to a folder of their own, because the seeds have to stay as they were committed
    let found = folder.join("target").join("found").join(name);
    std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    let output = cargo_fuzz(folder, "run")
        .arg(name)
        .arg(&found)
        .args(seeds(folder, name))
        .arg("--")
        .args([
            format!("-max_total_time={seconds}"),
            "-max_len=4200".to_owned(),
            // a target that takes milliseconds would otherwise never get beyond a few bytes
            "-len_control=0".to_owned(),
        ])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        eprintln!(
            "{said}\n{name} failed: see `artifacts` in {}",
            folder.display()
        );
        return Ok(None);
    }
    let done = said
        .lines()
        .find_map(done)
        .ok_or_else(|| format!("{name} printed no number of runs: {said}"))?;
    eprintln!("{name}: {} runs in {:.0} s", done.0, done.1);
    Ok(Some(done))
}

/// The committed inputs of a target, if it has any: a folder that is not there ends the run at once.
fn seeds(folder: &Path, name: &str) -> Option<PathBuf> {
    let seeds = folder.join("corpus").join(name);
    seeds.is_dir().then_some(seeds)
}

/// Reads `Done 123 runs in 61 second(s)`.
fn done(line: &str) -> Option<(u64, f64)> {
    let (runs, seconds) = line
        .strip_prefix("Done ")?
        .strip_suffix(" second(s)")?
        .split_once(" runs in ")?;
    Some((runs.parse().ok()?, seconds.parse().ok()?))
}

fn cargo_fuzz(folder: &Path, act: &str) -> Command {
    let mut command = workspace::cargo_of("nightly");
    if let Some(parent) = folder.parent() {
        command.current_dir(parent);
    }
    command.args(["fuzz", act]);
    if act != "list" {
        // Shared dependencies are built once and on all cores, because with one codegen unit a
        // crate waits for the others.
        command
            .arg("--target-dir")
            .arg(workspace::build_folder(&root()).join("fuzz"))
            .args(["--codegen-units", "16"]);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Target {
        Target {
            folder: "/a-crate/fuzz".into(),
            name: name.into(),
        }
    }

    #[test]
    fn cores_end_together_and_each_target_has_its_seconds() {
        let all = ["a", "b", "c", "d", "e"].map(target);
        let shared = shares(&all, 2, 60);
        assert_eq!(
            shared.iter().map(|(_, seconds)| seconds).sum::<u64>(),
            5 * 60
        );
        assert_eq!(shared[4..], [(target("e"), 30), (target("e"), 30)]);
        assert_eq!(shares(&all[..4], 2, 60).len(), 4);
        assert!(
            shares(&all, 64, 60)
                .iter()
                .all(|(_, seconds)| *seconds == 1)
        );
    }

    #[test]
    fn a_target_needs_no_committed_inputs() {
        let folder = root().join("ice-gather/fuzz");
        assert!(seeds(&folder, "checks").is_some());
        assert_eq!(seeds(&folder, "a target without any"), None);
    }

    #[test]
    fn a_target_fails_if_one_of_its_runs_did() {
        assert_eq!(done("Done 123 runs in 61 second(s)"), Some((123, 61.0)));
        let mut found = vec![
            (target("a"), Some((10, 2.0))),
            (target("a"), Some((20, 3.0))),
            (target("b"), None),
        ];
        let a = row(&target("a"), &found);
        assert_eq!(
            (a.package.as_str(), a.runs, a.seconds, a.verdict),
            ("a-crate", 30, 5.0, Verdict::Passed)
        );
        found.push((target("a"), None));
        assert_eq!(row(&target("a"), &found).verdict, Verdict::Failed);
    }
}
