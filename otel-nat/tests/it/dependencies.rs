//! The dependencies of the crate: few by default, and no OpenTelemetry on wasm32.

use std::collections::BTreeSet;
use std::process::Command;

fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .args([
            "--package",
            "otel-nat",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let tree = String::from_utf8(tree.stdout).unwrap();
    tree.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn by_default_the_api_comes_alone() {
    let crates = tree(&[]);
    assert!(
        crates.contains("opentelemetry") && !crates.contains("opentelemetry_sdk"),
        "{crates:?}"
    );
    for stranger in ["js-sys", "tokio", "tracing", "wasm-bindgen"] {
        assert!(
            !crates.contains(stranger),
            "{stranger}: look for a default feature that was left on"
        );
    }
}

#[test]
fn on_wasm_nothing_of_opentelemetry_comes_whatever_the_features() {
    let crates = tree(&["--all-features", "--target", "wasm32-unknown-unknown"]);
    assert_eq!(
        crates,
        ["nat-summary", "otel-nat"].map(str::to_owned).into()
    );
}

/// The output of `command`, a line of the README without its pipe.
fn printed(command: &str) -> String {
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some("cargo"));
    let run = Command::new(env!("CARGO"))
        .args(words)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn the_readme_names_our_opentelemetry_and_its_line_finds_no_second() {
    let readme = include_str!("../../README.md");
    let manifest = include_str!("../../Cargo.toml");
    let wanted = manifest
        .split("opentelemetry = { version = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    let ours = env!("CARGO_PKG_VERSION").rsplit_once('.').unwrap().0;
    assert!(
        readme.contains(&format!("| {ours} | {wanted} |")),
        "README.md: add {ours} and {wanted} to the version table"
    );
    let line = readme
        .lines()
        .find(|line| line.starts_with("cargo tree --duplicates"))
        .unwrap();
    let (command, filter) = line.split_once(" | ").unwrap();
    assert_eq!(filter, "grep '^opentelemetry'");
    let found: Vec<_> = printed(command)
        .lines()
        .filter(|line| line.starts_with("opentelemetry"))
        .map(String::from)
        .collect();
    assert_eq!(
        found,
        [] as [String; 0],
        "two versions of OpenTelemetry in this workspace"
    );
}
