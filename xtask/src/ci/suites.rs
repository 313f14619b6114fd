//! The programs of tests and what they hold: those that are there with all features alone, for what the README's test
//! command ran is not run again; and those of a name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::said::Said;
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

/// Tests of one program.
#[derive(Debug, Clone)]
struct Suite {
    program: PathBuf,
    tests: BTreeSet<String>,
}

type Suites = BTreeMap<Name, Suite>;

impl Suite {
    /// Runs them, and no others of the program.
    fn command(&self, folder: &Path) -> Command {
        let mut command = test(folder, &self.program);
        command.arg("--exact").args(&self.tests);
        command
    }
}

/// Runs every test that has no name among those with the features that are on by default, and all examples in the
/// documentation. So each test of all features runs here, or has run.
pub(super) fn beyond(said: &mut Said) -> Result<bool, Failure> {
    let (default, all) = (suites(&[])?, suites(&["--all-features"])?);
    let new = new(&default, &all);
    let mut passed = true;
    for ((folder, kind, name), suite) in &new {
        said.line(&format!("\n{} {name} of {}", kind.join(" "), folder.display()));
        passed &= said.run(suite.command(folder))?;
    }
    let mut examples = workspace::cargo();
    examples.args(["test", "--workspace", "--all-features", "--doc"]);
    passed &= said.run(examples)?;
    let tests = |suites: &Suites| suites.values().map(|suite| suite.tests.len()).sum::<usize>();
    said.line(&format!(
        "\nwith all features there are {} tests, without {}: {} ran now, the others have their names among those without",
        tests(&all),
        tests(&default),
        tests(&new)
    ));
    Ok(passed)
}

/// Runs the tests below `module`, of all features, with this in their environment. That there are none is an error: they
/// were renamed, and nobody would run them.
pub(super) fn below(module: &str, environment: (&str, &str), said: &mut Said) -> Result<bool, Failure> {
    let (mut passed, mut found) = (true, false);
    for ((folder, ..), mut suite) in suites(&["--all-features"])? {
        suite.tests.retain(|test| test.starts_with(module));
        if !suite.tests.is_empty() {
            found = true;
            let mut command = suite.command(&folder);
            command.env(environment.0, environment.1);
            passed &= said.run(command)?;
        }
    }
    if found { Ok(passed) } else { Err(format!("there is no test below {module}").into()) }
}

/// The tests of `all` that `default` does not have.
fn new(default: &Suites, all: &Suites) -> Suites {
    let mut new = all.clone();
    new.retain(|name, suite| {
        suite.tests.retain(|test| default.get(name).is_none_or(|ran| !ran.tests.contains(test)));
        !suite.tests.is_empty()
    });
    new
}

/// Builds them all, with what they run and the examples: nothing to do, where they are as the code is.
pub(super) fn build(features: &[&str]) -> Command {
    let mut build = workspace::cargo();
    build.current_dir(root()).args(["test", "--workspace", "--no-run", "--quiet"]).args(features);
    build
}

/// Builds them as `cargo test --workspace` does, and asks each for its tests.
fn suites(features: &[&str]) -> Result<Suites, Failure> {
    let mut build = build(features);
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
        let listed = String::from_utf8(listed.stdout)?;
        let tests = listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
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
    fn a_new_test_runs_alone_and_one_of_another_crate_is_another() {
        let default = BTreeMap::from([suite("a", &["x"]), suite("b", &["x", "y"])]);
        let all = BTreeMap::from([suite("a", &["x", "new"]), suite("b", &["x"]), suite("c", &["x"]), suite("d", &[])]);
        let new = new(&default, &all);
        let new: Vec<_> = new.iter().map(|((folder, ..), suite)| (folder.to_str().unwrap(), &suite.tests)).collect();
        assert_eq!(new, [("a", &["new".to_owned()].into()), ("c", &["x".to_owned()].into())]);
    }
}
