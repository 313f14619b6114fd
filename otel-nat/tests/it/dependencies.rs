//! What the crate brings with it: little by default, and nothing of OpenTelemetry on wasm32.

use std::collections::BTreeSet;
use std::process::Command;

fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .args(["--package", "otel-nat", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn by_default_the_api_comes_alone() {
    let crates = tree(&[]);
    assert!(crates.contains("opentelemetry") && !crates.contains("opentelemetry_sdk"), "{crates:?}");
    for stranger in ["js-sys", "tokio", "tracing", "wasm-bindgen"] {
        assert!(!crates.contains(stranger), "{stranger}: look for a default feature that was left on");
    }
}

#[test]
fn on_wasm_nothing_of_opentelemetry_comes_whatever_the_features() {
    let crates = tree(&["--all-features", "--target", "wasm32-unknown-unknown"]);
    assert_eq!(crates, ["nat-summary", "otel-nat"].map(str::to_owned).into());
}
