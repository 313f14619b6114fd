//! The crates of this workspace, as `cargo metadata` lists them, and cargo itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::Failure;

/// The folder of builds and of other generated files.
pub fn build_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// One crate of the workspace.
#[derive(Debug, Deserialize)]
pub struct Crate {
    /// As others depend on it.
    pub name: String,
    /// Of the manifest.
    pub version: String,
    /// The promised Rust version.
    pub rust_version: Option<String>,
    /// The features and dependencies that each feature enables.
    pub features: BTreeMap<String, Vec<String>>,
    /// Of every kind.
    pub dependencies: Vec<Dependency>,
    /// The targets that it builds.
    pub targets: Vec<Target>,
    manifest_path: PathBuf,
    /// `Some(empty)`: never published.
    publish: Option<Vec<String>>,
    metadata: Option<Metadata>,
}

/// A dependency in the manifest of a crate.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// As published.
    pub name: String,
    /// `None`: a normal one; else `dev` or `build`.
    kind: Option<String>,
    optional: bool,
}

/// A library, program, example, test or bench.
#[derive(Debug, Deserialize)]
pub struct Target {
    /// As `cargo` takes it behind `--test` and the like.
    pub name: String,
    /// `lib`, `bin`, `example`, `test`, `bench`.
    pub kind: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    docs: Option<Docs>,
}

#[derive(Debug, Default, Deserialize)]
struct Docs {
    rs: Option<DocsRs>,
}

/// `package.metadata.docs.rs`: how docs.rs documents the crate.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DocsRs {
    /// All of them.
    pub all_features: bool,
    /// Without the default ones.
    pub no_default_features: bool,
    /// These.
    pub features: Vec<String>,
}

impl Crate {
    /// The folder it is in.
    pub fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
    }

    /// Whether it goes to a registry.
    pub fn is_published(&self) -> bool {
        self.publish
            .as_ref()
            .is_none_or(|registries| !registries.is_empty())
    }

    /// How docs.rs documents it, if its manifest says.
    pub fn docs_rs(&self) -> Option<DocsRs> {
        self.metadata.as_ref()?.docs.as_ref()?.rs.clone()
    }

    /// The names of the dependencies that a user of the crate builds, on any target: normal ones,
    /// and those of a build script, because it runs on the user's machine. Optional ones are
    /// included if `optional`.
    pub fn brings(&self, optional: bool) -> BTreeSet<&str> {
        let brought =
            |d: &&Dependency| d.kind.as_deref() != Some("dev") && (optional || !d.optional);
        self.dependencies
            .iter()
            .filter(brought)
            .map(|d| d.name.as_str())
            .collect()
    }
}

/// `cargo` as a person runs it, without the variables that the cargo of xtask has set, because
/// `ring` is built again whenever they differ, with every crate that depends on it.
pub fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_PKG_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// `cargo` of another toolchain: the one that runs xtask must not decide for it.
pub fn cargo_of(toolchain: &str) -> Command {
    let mut cargo = cargo();
    cargo
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .arg(format!("+{toolchain}"));
    cargo
}

/// The installed toolchains; none where there is no rustup.
pub fn toolchains() -> Vec<String> {
    let list = Command::new("rustup")
        .args(["toolchain", "list", "--quiet"])
        .output();
    let list = list
        .map(|list| String::from_utf8_lossy(&list.stdout).into_owned())
        .unwrap_or_default();
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// An installed one of this release.
pub fn toolchain(release: &str) -> Option<String> {
    toolchains()
        .into_iter()
        .find(|toolchain| is_release(toolchain, release))
}

/// Whether `toolchain` is some patch of the release: `1.89.0-x86_64-…` of `1.89`.
fn is_release(toolchain: &str, release: &str) -> bool {
    let version = toolchain.split('-').next().unwrap_or_default();
    version == release
        || version
            .strip_prefix(release)
            .is_some_and(|patch| patch.starts_with('.'))
}

/// Whether a program is there and succeeds.
pub fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Every crate of the workspace at `root`, in the order of their names.
pub fn crates(root: &Path) -> Result<Vec<Crate>, Failure> {
    metadata(root, &["--no-deps"])
}

/// Those that are published.
pub fn libraries(root: &Path) -> Result<Vec<Crate>, Failure> {
    Ok(crates(root)?
        .into_iter()
        .filter(Crate::is_published)
        .collect())
}

/// Every package that `Cargo.lock` names, the workspace's own among them.
pub fn locked(root: &Path) -> Result<Vec<Crate>, Failure> {
    metadata(root, &["--locked"])
}

fn metadata(root: &Path, more: &[&str]) -> Result<Vec<Crate>, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        packages: Vec<Crate>,
    }
    let output = cargo()
        .current_dir(root)
        .args(["metadata", "--format-version", "1"])
        .args(more)
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    let mut crates = serde_json::from_slice::<Answer>(&output.stdout)?.packages;
    crates.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(crates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolchain_is_of_a_release_whatever_its_patch() {
        assert!(is_release("1.89.0-x86_64-unknown-linux-gnu", "1.89"));
        assert!(is_release("1.85-aarch64-apple-darwin", "1.85"));
        assert!(is_release("1.85-debian", "1.85"));
        assert!(!is_release("1.8.0-x86_64-unknown-linux-gnu", "1.89"));
        assert!(!is_release("1.890.0-x86_64-unknown-linux-gnu", "1.89"));
        assert!(!is_release("stable-x86_64-unknown-linux-gnu", "1.89"));
    }
}
