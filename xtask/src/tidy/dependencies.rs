//! The dependencies of the libraries: the allow-list, the reasons, and the number of crates.

use std::collections::BTreeSet;
use std::path::Path;

use super::read;
use crate::{Failure, bounds, workspace};

/// The dependencies of each library without its tests: those always there, and those of features.
const ALLOWED: &[(&str, &[&str], &[&str])] = &[
    (
        "consumer-fsm",
        &[
            "bytes",
            "ice-gather",
            "nat-summary",
            "otel-nat",
            "rand",
            "serde",
            "serde_json",
            "tokio",
            "tokio-util",
            "tracing",
            "uuid",
        ],
        &[
            "aes",
            "clap",
            "clap_complete",
            "clap_mangen",
            "crc",
            "dimpl",
            "form_urlencoded",
            "http-body-util",
            "hyper",
            "hyper-util",
            "rcgen",
            "ring",
            "rustls-native-certs",
            "sctp-proto",
            "subtle",
            "tokio-io-timeout",
            "tokio-rustls",
            "tracing-subscriber",
        ],
    ),
    (
        "ice-gather",
        &["if-addrs", "nat-summary", "nix", "rand", "ring", "tokio"],
        &[
            "async-trait",
            "clap",
            "clap_complete",
            "clap_mangen",
            "etherparse",
            "pcap-parser",
            "serde_json",
            "stun",
            "tokio-util",
            "turn",
            "webrtc",
            "webrtc-ice",
            "webrtc-util",
        ],
    ),
    ("nat-summary", &[], &["clap", "serde", "serde_json"]),
    (
        "otel-nat",
        &["nat-summary", "opentelemetry"],
        &[
            "opentelemetry-http",
            "opentelemetry-otlp",
            "opentelemetry_sdk",
            "tokio",
        ],
    ),
];

/// Each library has exactly the allowed dependencies, by default and with all features.
pub(super) fn direct(root: &Path) -> Result<Vec<String>, Failure> {
    let mut mends = Vec::new();
    for library in workspace::libraries(root)? {
        let Some((_, always, optional)) = ALLOWED.iter().find(|(name, ..)| *name == library.name)
        else {
            mends.push(format!(
                "xtask/src/tidy/dependencies.rs: list what {} may depend on",
                library.name
            ));
            continue;
        };
        let always: BTreeSet<&str> = always.iter().copied().collect();
        let all: BTreeSet<&str> = always.iter().chain(*optional).copied().collect();
        for (set, allowed, is) in [
            ("by default", &always, library.brings(false)),
            ("with all features", &all, library.brings(true)),
        ] {
            for name in is.difference(allowed) {
                mends.push(format!(
                    "{}/Cargo.toml: {name} is not allowed {set}: do without it, or give its reason in DEPENDENCIES.md and \
                     allow it in xtask/src/tidy/dependencies.rs",
                    library.name
                ));
            }
            for name in allowed.difference(&is) {
                mends.push(format!(
                    "xtask/src/tidy/dependencies.rs: {} does not depend on {name} {set} any more: take it out, and out of \
                     DEPENDENCIES.md",
                    library.name
                ));
            }
        }
    }
    Ok(mends)
}

/// Each dependency is named in the table of DEPENDENCIES.md.
pub(super) fn reasons(root: &Path) -> Result<Vec<String>, Failure> {
    let table = read(root, "DEPENDENCIES.md")?;
    let own: Vec<String> = workspace::libraries(root)?
        .into_iter()
        .map(|library| library.name)
        .collect();
    let mut mends = BTreeSet::new();
    for (library, always, optional) in ALLOWED {
        for name in always
            .iter()
            .chain(*optional)
            .filter(|name| !own.iter().any(|own| own == *name))
        {
            if !table.contains(&format!("`{name}`")) {
                mends.insert(format!(
                    "DEPENDENCIES.md: say why {library} depends on `{name}`"
                ));
            }
        }
    }
    Ok(mends.into_iter().collect())
}

/// Without the features that are on by default.
const BARE: &str = "without default features";
/// How the crates of the line of webrtc-ice begin. A base does without them.
const LINE: &[&str] = &["dtls", "stun", "turn", "webrtc"];

/// The crates that each library brings, itself aside, without default features, with them and with all.
pub(super) fn trees(root: &Path) -> Result<Vec<String>, Failure> {
    let mut mends = Vec::new();
    for library in workspace::libraries(root)? {
        let Some((_, most_bare, most, most_of_all)) = bounds::TREES
            .iter()
            .find(|(name, ..)| *name == library.name)
        else {
            mends.push(format!(
                "xtask/common/src/bounds.rs: bound the dependency tree of {}",
                library.name
            ));
            continue;
        };
        let apart = bounds::APART.iter().filter(|apart| apart.0 == library.name);
        let is_apart = |feature: &str| apart.clone().any(|apart| apart.1 == feature);
        let together: Vec<&str> = library
            .features
            .keys()
            .map(String::as_str)
            .filter(|feature| !is_apart(feature))
            .collect();
        let together = together.join(",");
        let mut sets = vec![
            (BARE.to_owned(), vec!["--no-default-features"], most_bare),
            ("by default".to_owned(), vec![], most),
            (
                "with all features".to_owned(),
                vec!["--features", &together],
                most_of_all,
            ),
        ];
        for (_, feature, most) in apart.clone() {
            let alone = vec!["--no-default-features", "--features", *feature];
            sets.push((format!("with {feature} alone"), alone, most));
        }
        for (set, features, most) in sets {
            let tree = tree(root, &library.name, &features)?;
            let count = tree.len();
            if count > *most {
                mends.push(format!(
                    "{}: {count} crates {set}, {most} are allowed: find what brings them with `cargo tree -p {0} -e normal`, \
                     or raise TREES in xtask/common/src/bounds.rs and say why",
                    library.name
                ));
            }
            let of_line = |name: &str| LINE.iter().any(|start| name.starts_with(start));
            for (name, _) in tree.iter().filter(|(name, _)| of_line(name)) {
                if set == BARE && library.name == "ice-gather" {
                    mends.push(format!(
                        "ice-gather: {name} comes {set}: make it optional, below the feature `agent`"
                    ));
                }
            }
        }
    }
    Ok(mends)
}

/// No crate in the tree of a library asks for a newer Rust than the library promises.
pub(super) fn rust(root: &Path) -> Result<Vec<String>, Failure> {
    let locked = workspace::locked(root)?;
    let mut mends = Vec::new();
    for library in workspace::libraries(root)? {
        let promised = library
            .rust_version
            .as_deref()
            .map(numbers)
            .unwrap_or_default();
        for (name, version) in tree(root, &library.name, &["--all-features"])? {
            let wanted = locked
                .iter()
                .find(|package| package.name == name && package.version == version);
            let Some(wanted) = wanted.and_then(|package| package.rust_version.as_deref()) else {
                continue;
            };
            if numbers(wanted) > promised {
                mends.push(format!(
                    "Cargo.lock: {name} {version}, below {}, asks for Rust {wanted}: lock an older one with `cargo update -p \
                     {name} --precise`, or promise more",
                    library.name
                ));
            }
        }
    }
    Ok(mends)
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

/// Names and versions, the library itself aside. On one target, so that every machine counts the
/// same.
fn tree(
    root: &Path,
    library: &str,
    features: &[&str],
) -> Result<BTreeSet<(String, String)>, Failure> {
    let mut command = workspace::cargo();
    command.current_dir(root).args([
        "tree", "--locked", "-p", library, "-e", "normal", "--prefix", "none",
    ]);
    command
        .args(["--format", "{p}", "--target", "x86_64-unknown-linux-gnu"])
        .args(features);
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let named = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        let version = rest.split_whitespace().next()?;
        (name != library).then(|| (name.to_owned(), version.to_owned()))
    };
    Ok(text.lines().filter_map(named).collect())
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_of_rust_compare_by_their_numbers() {
        assert!(numbers("1.9") < numbers("1.85"));
        assert_eq!(numbers("1.85"), numbers("1.85.0"));
        assert!(numbers("1.85.1") > numbers("1.85"));
    }
}
