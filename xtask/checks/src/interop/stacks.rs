//! Programs on Rust stacks whose crates never share a tree with the libraries': they stand in a workspace apart.

use std::path::{Path, PathBuf};

use crate::{python, workspace};

/// Builds one of them, and returns where it is.
pub(super) fn build(root: &Path, package: &str) -> Result<PathBuf, String> {
    let folder = workspace::build_folder(root).join("interop/stacks");
    let mut build = workspace::cargo();
    build
        .args(["build", "--quiet", "--locked", "--package", package])
        .arg("--manifest-path")
        .arg(root.join("ice-gather/stacks/Cargo.toml"))
        .arg("--target-dir")
        .arg(&folder);
    python::succeed(&mut build, &format!("a build of {package}"))?;
    Ok(folder.join("debug").join(package))
}
