//! Versions of the crates and of the promised Rust, and the features that docs.rs documents.

use std::path::Path;

use super::read;
use crate::{Failure, workspace};

/// The manifest, the READMEs and CI promise the same Rust.
pub(super) fn rust(root: &Path) -> Result<Vec<String>, Failure> {
    let readme = read(root, "README.md")?;
    let ci = read(root, ".github/workflows/ci.yml")?;
    let of_workspace = read(root, "Cargo.toml")?;
    let of_workspace = of_workspace
        .split("rust-version = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let of_workspace =
        of_workspace.ok_or("Cargo.toml: promise a rust-version for the workspace")?;
    let mut mends = Vec::new();
    if !readme.contains(&format!("Rust {of_workspace} or later")) {
        mends.push(format!(
            "README.md: promise \"Rust {of_workspace} or later\""
        ));
    }
    for library in workspace::libraries(root)? {
        let name = &library.name;
        let Some(promised) = &library.rust_version else {
            mends.push(format!(
                "{name}/Cargo.toml: promise a rust-version; clippy's incompatible_msrv goes by it"
            ));
            continue;
        };
        if !read(library.folder(), "README.md")?.contains(&format!("Rust {promised} or later")) {
            mends.push(format!(
                "{name}/README.md: promise \"Rust {promised} or later\""
            ));
        }
        if promised != of_workspace && !readme.contains(&format!("`{name}` alone, {promised}")) {
            mends.push(format!("README.md: say \"`{name}` alone, {promised}\""));
        }
        if !ci.contains(&format!("+{promised} ")) {
            mends.push(format!(
                ".github/workflows/ci.yml: check with Rust {promised}, for {name}"
            ));
        }
    }
    Ok(mends)
}

/// Each changelog has a heading for the version in the manifest.
pub(super) fn changelogs(root: &Path) -> Result<Vec<String>, Failure> {
    let mut mends = Vec::new();
    for library in workspace::libraries(root)? {
        let changelog = read(library.folder(), "CHANGELOG.md")?;
        let heading = |line: &str| line.starts_with("## ") && line.contains(&library.version);
        if !changelog.lines().any(heading) {
            mends.push(format!(
                "{}/CHANGELOG.md: give {} a heading",
                library.name, library.version
            ));
        }
    }
    Ok(mends)
}

/// A library with features says which of them docs.rs documents, and they exist.
pub(super) fn docs_rs(root: &Path) -> Result<Vec<String>, Failure> {
    let mut mends = Vec::new();
    for library in workspace::libraries(root)? {
        let name = &library.name;
        let Some(settings) = library.docs_rs() else {
            if library.features.keys().any(|feature| feature != "default") {
                mends.push(format!(
                    "{name}/Cargo.toml: say in [package.metadata.docs.rs] which features are documented"
                ));
            }
            continue;
        };
        for feature in settings
            .features
            .iter()
            .filter(|feature| !library.features.contains_key(*feature))
        {
            mends.push(format!(
                "{name}/Cargo.toml: docs.rs is to document `{feature}`, which is no feature"
            ));
        }
    }
    Ok(mends)
}
