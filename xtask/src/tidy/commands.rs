//! The commands in the documents: each exists, and takes its arguments.

use std::path::{Path, PathBuf};

use super::files;
use common::commands::Usage;

use crate::Failure;
use crate::workspace::{self, Crate};

/// Subcommands of cargo itself, and of the programs that the documents say how to install.
const CARGO: [&str; 18] = [
    "add",
    "bench",
    "build",
    "check",
    "clippy",
    "deny",
    "doc",
    "fmt",
    "fuzz",
    "install",
    "metadata",
    "package",
    "publish",
    "run",
    "semver-checks",
    "test",
    "tree",
    "update",
];

pub(super) fn check(root: &Path) -> Result<Vec<String>, Failure> {
    let crates = workspace::crates(root)?;
    let mut mends = Vec::new();
    for document in documents(root, &crates) {
        let text = std::fs::read_to_string(&document)?;
        let name = document.strip_prefix(root).unwrap_or(&document).display();
        for line in command_lines(&text) {
            if let Some(complaint) = complaint(&line, &crates) {
                mends.push(format!("{name}: `{line}`: {complaint}"));
            }
        }
        if document == root.join("README.md") {
            for command in ["cargo xtask demo", "cargo test --workspace --all-features"] {
                if !text.contains(command) {
                    mends.push(format!(
                        "{name}: name `{command}`, which is how one tries it"
                    ));
                }
            }
        }
    }
    Ok(mends)
}

fn documents(root: &Path, crates: &[Crate]) -> Vec<PathBuf> {
    let mut documents = Vec::new();
    for folder in std::iter::once(root).chain(crates.iter().map(Crate::folder)) {
        let here = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        documents.extend(here.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
        documents.extend(files(&folder.join("docs"), ".md"));
    }
    documents.sort();
    documents
}

/// Every line of a code block, and every code span, that begins with cargo but for a prompt and the
/// environment.
fn command_lines(markdown: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, part) in markdown.split("```").enumerate() {
        if at % 2 == 1 {
            lines.extend(part.lines().skip(1).map(str::to_owned));
        } else {
            lines.extend(part.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    let command = |line: String| {
        let words = line
            .split_whitespace()
            .skip_while(|word| *word == "$" || word.contains('='))
            .collect::<Vec<_>>();
        (words.first() == Some(&"cargo") && words.len() > 1).then(|| words.join(" "))
    };
    lines.into_iter().filter_map(command).collect()
}

/// The complaint about a command, if there is one.
fn complaint(line: &str, crates: &[Crate]) -> Option<String> {
    let words = line
        .split_whitespace()
        .skip(1)
        .skip_while(|word| word.starts_with('+'));
    let words: Vec<&str> = words
        .take_while(|word| !matches!(*word, "#" | "<" | "|" | "&&" | "--"))
        .collect();
    let (name, told) = words.split_first()?;
    if *name == "xtask" {
        let (command, told) = told.split_first()?;
        let Some(known) = Usage::all()
            .into_iter()
            .find(|known| known.name == *command)
        else {
            return Some(format!(
                "there is no such command; `cargo xtask help` lists them, in {}",
                "xtask/common/src/commands.rs"
            ));
        };
        let unknown = |option: &&&str| {
            option.starts_with("--") && known.options.iter().all(|known| known != **option)
        };
        return told
            .iter()
            .find(unknown)
            .map(|option| format!("it takes no {option}, only {}", known.takes.join(" ")));
    }
    if !CARGO.contains(name) {
        return Some(format!(
            "cargo has no {name}; if it has, add it to CARGO in xtask/src/tidy/commands.rs"
        ));
    }
    let value = |long: &str, short: &str| {
        let at = told
            .iter()
            .position(|word| *word == long || (*word == short && !short.is_empty()))?;
        told.get(at + 1).copied()
    };
    let package = match value("--package", "-p") {
        None => return None,
        Some(package) => match crates.iter().find(|known| known.name == package) {
            None => return Some(format!("there is no crate {package} here")),
            Some(package) => package,
        },
    };
    for feature in value("--features", "")
        .into_iter()
        .flat_map(|features| features.split(','))
    {
        if !package.features.contains_key(feature) {
            return Some(format!("{} has no feature {feature}", package.name));
        }
    }
    for kind in ["example", "bench", "test", "bin"] {
        let exists = |target: &str| {
            package
                .targets
                .iter()
                .any(|t| t.name == target && t.kind.iter().any(|k| k == kind))
        };
        if let Some(target) = value(&format!("--{kind}"), "").filter(|target| !exists(target)) {
            return Some(format!("{} has no {kind} {target}", package.name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_blocks_and_spans_and_nothing_else_is() {
        let text = "Run `cargo\nxtask demo`, not cargo xtask lemo.\n```sh\n$ A=b cargo test -p x # all\ncargo\n```\n`xtask`";
        assert_eq!(
            command_lines(text),
            ["cargo xtask demo", "cargo test -p x # all"]
        );
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let crates = workspace::crates(&crate::root()).unwrap();
        for (line, expected) in [
            ("cargo xtask demo --json", None),
            ("cargo +nightly doc -p otel-nat", None),
            (
                "cargo run -p nat-summary --features serde --example summarize -- --json",
                None,
            ),
            ("cargo xtask lemo", Some("no such command")),
            ("cargo xtask demo --yaml", Some("takes no --yaml")),
            ("cargo flamegraph", Some("cargo has no flamegraph")),
            ("cargo test -p nobody", Some("no crate nobody")),
            (
                "cargo test -p otel-nat --features nothing",
                Some("no feature nothing"),
            ),
            (
                "cargo run -p nat-summary --example nothing",
                Some("no example nothing"),
            ),
        ] {
            let complaint = complaint(line, &crates);
            let as_expected = match (&complaint, expected) {
                (None, None) => true,
                (Some(complaint), Some(expected)) => complaint.contains(expected),
                _ => false,
            };
            assert!(as_expected, "{line}: {complaint:?}");
        }
    }
}
