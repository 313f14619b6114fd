//! Builds each library by itself, because in a build of the workspace it also has the features that
//! other crates enable; and builds each with the Rust version that it promises.

use std::collections::BTreeMap;
use std::time::Instant;

use super::output::StepOutput;
use crate::workspace::{self, Crate};
use crate::{Failure, root};

/// With its default features. Each other one alone is a minute more, and `cargo xtask package`
/// checks them.
pub(super) fn features(output: &mut StepOutput) -> Result<bool, Failure> {
    let mut passed = true;
    for library in workspace::libraries(&root())? {
        let started = Instant::now();
        let mut clippy = workspace::cargo();
        clippy.current_dir(root()).args([
            "clippy",
            "--quiet",
            "--package",
            &library.name,
            "--",
            "-D",
            "warnings",
        ]);
        passed &= output.run(clippy)?;
        output.line(&format!(
            "{}: {:.1} s",
            library.name,
            started.elapsed().as_secs_f64()
        ));
    }
    Ok(passed)
}

/// With the Rust they promise, where that is installed, as they are by default: all features are a
/// minute more, and `cargo xtask package` builds them. Tests and tools are not built with it here;
/// nothing that they are made of may ask for more than the workspace promises.
pub(super) fn promised(output: &mut StepOutput) -> Result<bool, Failure> {
    let locked = workspace::locked(&root())?;
    let wanted = |package: &Crate| package.rust_version.as_deref().map(numbers);
    let of_all = locked
        .iter()
        .find(|package| package.name == "xtask")
        .and_then(wanted);
    let newer: Vec<&str> = locked
        .iter()
        .filter(|p| wanted(p) > of_all)
        .map(|p| p.name.as_str())
        .collect();
    output.line(&format!(
        "asking for more than the workspace promises: {newer:?}"
    ));
    let mut passed = newer.is_empty();
    let mut promises: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for library in workspace::libraries(&root())? {
        let promised = library
            .rust_version
            .ok_or("a manifest promises no rust-version")?;
        promises.entry(promised).or_default().push(library.name);
    }
    for (release, libraries) in promises {
        let names = libraries.join(", ");
        let Some(toolchain) = workspace::toolchain(&release) else {
            output.line(&format!(
                "skipped: {names} with Rust {release}, which is not here (`rustup toolchain install {release}`)"
            ));
            continue;
        };
        output.line(&format!("{names} with {toolchain}"));
        let mut check = workspace::cargo_of(&toolchain);
        check
            .current_dir(root())
            .args(["check", "--quiet", "--locked"]);
        check.args(libraries.iter().flat_map(|library| ["--package", library]));
        passed &= output.run(check)?;
    }
    Ok(passed)
}

/// A version of Rust, to compare.
fn numbers(version: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = version
        .split('.')
        .map(|number| number.parse().unwrap_or(0))
        .collect();
    numbers.resize(3, 0);
    numbers
}
