//! Builds each library by itself, because in a build of the workspace it also has the features that
//! other crates enable; and builds each with the Rust version that it promises.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use crate::workspace::{self, Crate};
use crate::{Failure, root};
use common::output::StepOutput;

/// With its default features, and without them. Each other one alone is a minute more, and `cargo xtask
/// package` checks them.
pub(super) fn features(output: &mut StepOutput) -> Result<bool, Failure> {
    let mut passed = true;
    for library in workspace::libraries(&root())? {
        let started = Instant::now();
        for features in [None, Some("--no-default-features")] {
            let mut clippy = workspace::cargo();
            clippy
                .current_dir(root())
                .args(["clippy", "--quiet", "--package", &library.name])
                .args(features)
                .args(["--", "-D", "warnings"]);
            passed &= output.run(clippy)?;
        }
        output.line(&format!(
            "{}: {:.1} s",
            library.name,
            started.elapsed().as_secs_f64()
        ));
    }
    Ok(passed)
}

/// ice-gather under stacks whose crates never share a tree with those of webrtc 0.17: the workspace
/// `ice-gather/stacks`, with its examples, its tests, and the peers of `interop` and `taps`.
pub(super) fn stacks(output: &mut StepOutput) -> Result<bool, Failure> {
    let root = root();
    let manifest = root.join("ice-gather/stacks/Cargo.toml");
    let cargo = |command: &str| {
        let mut cargo = workspace::cargo();
        cargo.args([command, "--manifest-path"]).arg(&manifest);
        cargo
    };
    let target = workspace::build_folder(&root).join("interop/stacks");
    let mut passed = true;
    let mut fmt = cargo("fmt");
    fmt.args(["--all", "--check"]);
    passed &= output.run(fmt)?;
    let mut clippy = cargo("clippy");
    clippy.args([
        "--quiet",
        "--locked",
        "--workspace",
        "--all-targets",
        "--target-dir",
    ]);
    clippy.arg(&target).args(["--", "-D", "warnings"]);
    passed &= output.run(clippy)?;
    let mut test = cargo("test");
    test.args(["--quiet", "--locked", "--workspace", "--target-dir"])
        .arg(&target);
    passed &= output.run(test)?;
    let old = of_the_old_line(&root)?;
    output.line(&format!("crates of webrtc 0.17 in that tree: {old:?}"));
    Ok(passed && old.is_empty())
}

/// The crates of the line of webrtc 0.17 that stand in the tree of the other stacks.
fn of_the_old_line(root: &Path) -> Result<Vec<String>, Failure> {
    let old = |package: &Crate| {
        let of_line = ["webrtc", "stun", "turn"]
            .iter()
            .any(|name| package.name.starts_with(name));
        of_line && package.version.starts_with("0.17.")
    };
    let locked = workspace::locked(&root.join("ice-gather/stacks"))?;
    let found = locked.iter().filter(|package| old(package));
    Ok(found.map(|package| package.name.clone()).collect())
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
