//! `tidy`: checks the project's statements on itself. Each complaint names the mend; one test runs
//! all checks too.

mod commands;
mod dependencies;
mod floors;
mod items;
mod language;
mod source;
mod text;
mod versions;

use std::path::{Path, PathBuf};

use serde::Serialize;

use common::commands::Json;

use crate::{Failure, table};

/// The name of a check, and the function that returns the needed mends.
type Check = (&'static str, fn(&Path) -> Result<Vec<String>, Failure>);

const CHECKS: &[Check] = &[
    ("examples of the READMEs are compiled", text::examples),
    (
        "every library has its README, changelog, licences",
        text::files,
    ),
    ("commands in the documents exist", commands::check),
    ("files in the documents exist", text::paths),
    ("the promised Rust version is one", versions::rust),
    ("changelogs hold the version", versions::changelogs),
    ("docs.rs features exist", versions::docs_rs),
    ("every public enum has an honest unknown", items::unknowns),
    ("no error holds an address", items::addresses),
    (
        "every public type and rule of nat-summary has an example",
        items::examples,
    ),
    ("comments are in plain English", language::words),
    ("no files import each other in a circle", floors::circles),
    ("imports go down, and none is forbidden", floors::floors),
    ("dependencies are those allowed", dependencies::direct),
    ("dependencies have their reason", dependencies::reasons),
    ("dependency trees are small", dependencies::trees),
    ("no dependency wants a newer Rust", dependencies::rust),
];

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    mends: Vec<String>,
}

pub(crate) fn run(options: &Json) -> Result<bool, Failure> {
    let findings = findings(&crate::root())?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        let row = |f: &Finding| {
            let verdict = if f.mends.is_empty() {
                "tidy".to_owned()
            } else {
                format!("{} TO MEND", f.mends.len())
            };
            vec![f.check.to_owned(), verdict]
        };
        println!(
            "{}",
            table::render(
                &["check", ""],
                &findings.iter().map(row).collect::<Vec<_>>()
            )
        );
        for mend in findings.iter().flat_map(|finding| &finding.mends) {
            println!("{mend}");
        }
    }
    Ok(findings.iter().all(|finding| finding.mends.is_empty()))
}

fn findings(root: &Path) -> Result<Vec<Finding>, Failure> {
    CHECKS
        .iter()
        .map(|(check, mends)| {
            Ok(Finding {
                check,
                mends: mends(root)?,
            })
        })
        .collect()
}

fn read(root: &Path, path: impl AsRef<Path>) -> Result<String, Failure> {
    let path = root.join(path);
    std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Every file below `folder` whose name ends like that, sorted; none where there is no such folder.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_project_is_what_it_says() {
        let findings = super::findings(&crate::root()).unwrap();
        let mends: Vec<&String> = findings.iter().flat_map(|finding| &finding.mends).collect();
        assert!(mends.is_empty(), "{mends:#?}");
    }
}
