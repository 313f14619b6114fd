//! The tests that are there with all features alone: what the README's test command ran is not run again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::{Failure, root, workspace};

/// What cargo says of a thing it built.
#[derive(Debug, Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: workspace::Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

/// A crate's folder, what its target is and how that is called.
type Name = (PathBuf, Vec<String>, String);

/// The tests in one program.
#[derive(Debug)]
struct Suite {
    program: PathBuf,
    tests: BTreeSet<String>,
}

/// Runs every program of tests that has one which it has not with the features that are on by default, and all examples
/// in the documentation. So each test of all features runs here, or has run.
pub(super) fn run() -> Result<bool, Failure> {
    let (default, all) = (suites(&[])?, suites(&["--all-features"])?);
    let beyond = beyond(&default, &all);
    let (mut passed, mut here) = (true, 0);
    for ((folder, kind, name), suite) in &beyond {
        println!("\n{} {name} of {}", kind.join(" "), folder.display());
        passed &= test(folder, &suite.program).status()?.success();
        here += suite.tests.len();
    }
    passed &= workspace::cargo().args(["test", "--workspace", "--all-features", "--doc"]).status()?.success();
    let tests = |suites: &BTreeMap<Name, Suite>| suites.values().map(|suite| suite.tests.len()).sum::<usize>();
    println!("\nwith all features there are {} tests, without {}:", tests(&all), tests(&default));
    println!(
        "{here} in {} programs with new ones ran now, the others have their names among those without",
        beyond.len()
    );
    Ok(passed)
}

/// The programs of `all` with a test that `default` does not have.
fn beyond<'a>(default: &BTreeMap<Name, Suite>, all: &'a BTreeMap<Name, Suite>) -> BTreeMap<&'a Name, &'a Suite> {
    let is_new = |(name, suite): &(&Name, &Suite)| match default.get(*name) {
        Some(ran) => !suite.tests.is_subset(&ran.tests),
        None => !suite.tests.is_empty(),
    };
    all.iter().filter(is_new).collect()
}

/// Builds them as `cargo test --workspace` does, and asks each for its tests.
fn suites(features: &[&str]) -> Result<BTreeMap<Name, Suite>, Failure> {
    let mut build = workspace::cargo();
    build.current_dir(root()).args(["test", "--workspace", "--no-run", "--quiet"]).args(features);
    let output = build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the tests do not build".into());
    }
    let mut suites = BTreeMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        // other messages have other fields
        let Ok(Artifact { manifest_path, target, profile, executable }) = serde_json::from_str(line) else { continue };
        let (Some(folder), Some(program), true) = (manifest_path.parent(), executable, profile.test) else { continue };
        let listed = test(folder, &program).args(["--list", "--format", "terse"]).output()?;
        if !listed.status.success() {
            return Err(format!("{} does not list its tests", program.display()).into());
        }
        let tests = String::from_utf8(listed.stdout)?.lines().map(str::to_owned).collect();
        suites.insert((folder.to_owned(), target.kind, target.name), Suite { program, tests });
    }
    Ok(suites)
}

/// As cargo starts it.
fn test(folder: &Path, program: &Path) -> Command {
    let mut test = Command::new(program);
    test.current_dir(folder).env("CARGO_MANIFEST_DIR", folder);
    test
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(crate_name: &str, tests: &[&str]) -> (Name, Suite) {
        let name = (crate_name.into(), vec!["test".to_owned()], "it".to_owned());
        (name, Suite { program: PathBuf::new(), tests: tests.iter().map(|test| (*test).to_owned()).collect() })
    }

    #[test]
    fn a_program_runs_again_for_a_new_test_alone_and_one_of_another_crate_is_another() {
        let default = BTreeMap::from([suite("a", &["x: test"]), suite("b", &["x: test", "y: test"])]);
        let all = [
            suite("a", &["x: test", "new: test"]),
            suite("b", &["x: test"]),
            suite("c", &["x: test"]),
            suite("d", &[]),
        ];
        let all = BTreeMap::from(all);
        let beyond: Vec<_> = beyond(&default, &all).into_keys().map(|(folder, ..)| folder.to_str().unwrap()).collect();
        assert_eq!(beyond, ["a", "c"]);
    }
}
