//! The programs of tests, as the README's test command builds them, and the tests below a module in
//! each.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::output::StepOutput;
use crate::{Failure, root, workspace};

/// Cargo's message on a built artifact.
#[derive(Debug, Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

/// Runs the tests below `module`, with this in their environment. Finding none is an error, because
/// renamed tests would never run again.
///
/// # Errors
/// The tests do not build, a program does not list its tests, or there is none below `module`.
pub fn below(
    module: &str,
    environment: (&str, &str),
    output: &mut StepOutput,
) -> Result<bool, Failure> {
    let (mut passed, mut found) = (true, false);
    for (folder, program) in programs()? {
        let listed = test(&folder, &program)
            .args(["--list", "--format", "terse"])
            .output()?;
        if !listed.status.success() {
            return Err(format!("{} does not list its tests", program.display()).into());
        }
        if String::from_utf8(listed.stdout)?
            .lines()
            .any(|test| test.starts_with(module))
        {
            found = true;
            let mut command = test(&folder, &program);
            command.arg(module).env(environment.0, environment.1);
            passed &= output.run(command)?;
        }
    }
    if found {
        Ok(passed)
    } else {
        Err(format!("there is no test below {module}").into())
    }
}

/// Builds all tests, with the programs that they run and the examples. Up-to-date ones are not
/// built again.
#[must_use]
pub fn build() -> Command {
    let mut build = workspace::cargo();
    build.current_dir(root()).args([
        "test",
        "--workspace",
        "--all-features",
        "--no-run",
        "--quiet",
    ]);
    build
}

/// Builds them, and says where each is, with the folder of its crate.
fn programs() -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
    let output = build()
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("the tests do not build".into());
    }
    let output = String::from_utf8(output.stdout)?;
    // other messages have other fields
    let artifacts = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let tests = artifacts.filter(|artifact| artifact.profile.test);
    let places = tests.filter_map(|artifact| {
        Some((
            artifact.manifest_path.parent()?.to_owned(),
            artifact.executable?,
        ))
    });
    Ok(places.collect())
}

/// As cargo starts it.
fn test(folder: &Path, program: &Path) -> Command {
    let mut test = Command::new(program);
    test.current_dir(folder).env("CARGO_MANIFEST_DIR", folder);
    test
}
