//! Each library by itself, for in a build of the workspace it has the features that the others want of it and of what is
//! below both; and each with the Rust it promises.

use std::process::Command;
use std::time::Instant;

use super::said::Said;
use crate::workspace::{self, Crate};
use crate::{Failure, root};

/// With its default features, and with each other one alone.
pub(super) fn features(said: &mut Said) -> Result<bool, Failure> {
    let mut passed = true;
    for library in workspace::libraries(&root())? {
        passed &= check(&library, None, said)?;
        for feature in library.features.keys().filter(|feature| *feature != "default") {
            passed &= check(&library, Some(feature), said)?;
        }
    }
    Ok(passed)
}

fn check(library: &Crate, feature: Option<&str>, said: &mut Said) -> Result<bool, Failure> {
    let started = Instant::now();
    let mut clippy = workspace::cargo();
    clippy.current_dir(root()).args(["clippy", "--quiet", "--package", &library.name]);
    clippy.args(feature.iter().flat_map(|feature| ["--features", feature])).args(["--", "-D", "warnings"]);
    let passed = said.run(clippy)?;
    let with = feature.unwrap_or("default features");
    said.line(&format!("{} with {with}: {:.1} s", library.name, started.elapsed().as_secs_f64()));
    Ok(passed)
}

/// With the Rust it promises, where that is installed, and all its features. Tests and tools are not built with it here;
/// nothing that they are made of may ask for more than the workspace promises.
pub(super) fn promised(said: &mut Said) -> Result<bool, Failure> {
    let locked = workspace::locked(&root())?;
    let wanted = |package: &Crate| package.rust_version.as_deref().map(numbers);
    let of_all = locked.iter().find(|package| package.name == "xtask").and_then(wanted);
    let newer: Vec<&str> = locked.iter().filter(|p| wanted(p) > of_all).map(|p| p.name.as_str()).collect();
    said.line(&format!("asking for more than the workspace promises: {newer:?}"));
    let mut passed = newer.is_empty();
    for library in workspace::libraries(&root())? {
        let promised = library.rust_version.as_deref().ok_or("a manifest promises no rust-version")?;
        match workspace::toolchain(promised) {
            Some(toolchain) => passed &= build(&library, &toolchain, said)?,
            None => said.line(&format!(
                "skipped: {} with Rust {promised}, which is not here (`rustup toolchain install {promised}`)",
                library.name
            )),
        }
    }
    Ok(passed)
}

fn build(library: &Crate, toolchain: &str, said: &mut Said) -> Result<bool, Failure> {
    said.line(&format!("{} with {toolchain}", library.name));
    let mut check: Command = workspace::cargo_of(toolchain);
    check.current_dir(root()).args(["check", "--quiet", "--locked", "--all-features", "--package", &library.name]);
    said.run(check)
}

/// A version of Rust, to compare.
fn numbers(version: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = version.split('.').map(|number| number.parse().unwrap_or(0)).collect();
    numbers.resize(3, 0);
    numbers
}
