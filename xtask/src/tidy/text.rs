//! The READMEs and the files that every library has.

use std::path::Path;

use super::read;
use crate::{Failure, bounds, workspace};

/// Where the examples of the READMEs are compiled.
const COMPILED: [&str; 4] = [
    "nat-summary/README.md",
    "otel-nat/src/lib.rs",
    "ice-gather/examples/gather.rs",
    "consumer-fsm/examples/attempt.rs",
];

/// Every `rust` block of a README is one that the tests compile.
pub(super) fn examples(root: &Path) -> Result<Vec<String>, Failure> {
    let mut compiled = String::new();
    for path in COMPILED {
        compiled += &squeezed(&read(root, path)?);
    }
    let mut mends = Vec::new();
    for readme in [
        "README.md",
        "ice-gather/README.md",
        "consumer-fsm/README.md",
    ] {
        let blocks = rust_blocks(&read(root, readme)?);
        if blocks.is_empty() {
            mends.push(format!("{readme}: show an example"));
        }
        for block in blocks
            .iter()
            .filter(|block| !compiled.contains(&squeezed(block)))
        {
            mends.push(format!(
                "{readme}: copy this from the crate's docs or example, it differs:\n{block}"
            ));
        }
    }
    Ok(mends)
}

/// The files that a published library needs.
pub(super) fn files(root: &Path) -> Result<Vec<String>, Failure> {
    let mut mends = Vec::new();
    for library in workspace::libraries(root)? {
        let name = &library.name;
        for file in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            if std::fs::read_to_string(library.folder().join(file))
                .unwrap_or_default()
                .len()
                < bounds::WRITTEN
            {
                mends.push(format!("{name}/{file}: write it"));
            }
        }
        if !read(library.folder(), "src/lib.rs")?.contains("#![forbid(unsafe_code)]") {
            mends.push(format!("{name}/src/lib.rs: forbid unsafe_code"));
        }
        if !read(library.folder(), "Cargo.toml")?.contains("[lints]\nworkspace = true") {
            mends.push(format!(
                "{name}/Cargo.toml: take the lints of the workspace"
            ));
        }
    }
    Ok(mends)
}

/// The files that the documents name exist.
pub(super) fn paths(root: &Path) -> Result<Vec<String>, Failure> {
    let mut mends = Vec::new();
    for document in ["CONTRIBUTING.md", "RELEASING.md"] {
        let text = read(root, document)?;
        let is_path = |span: &&str| {
            !span.contains(char::is_whitespace)
                && span.contains('/')
                && [".rs", ".md", ".json", ".toml", ".yml"]
                    .iter()
                    .any(|ending| span.ends_with(ending))
        };
        for path in text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(is_path)
            .filter(|path| !root.join(path).is_file())
        {
            mends.push(format!(
                "{document}: there is no {path} any more: name the file that took its place"
            ));
        }
    }
    Ok(mends)
}

/// The text of every `rust` block.
fn rust_blocks(markdown: &str) -> Vec<String> {
    markdown
        .split("```rust\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(str::to_owned)
        .collect()
}

/// Without comment marks and white space, so that a block may stand in a doc comment.
fn squeezed(text: &str) -> String {
    let bare = |line: &str| {
        line.trim_start()
            .trim_start_matches("//!")
            .split_whitespace()
            .collect::<String>()
    };
    text.lines().map(bare).collect()
}
