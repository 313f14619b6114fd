//! Shared by the maintainer's programs: the list of commands, the bounds, and the tools they run.
//!
//! No library of the workspace is named here, so `cargo xtask help` is built in seconds.
#![forbid(unsafe_code)]

pub mod bounds;
pub mod commands;
pub mod episodes;
pub mod needs;
pub mod output;
pub mod python;
pub mod suites;
pub mod table;
pub mod verdict;
pub mod workspace;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The reason why a command cannot run, for a person.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The folder of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// How a program ends: with 1 where a bound is broken, with 2 where it cannot run.
#[must_use]
pub fn exit_code(ended: Result<bool, Failure>) -> ExitCode {
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(2)
        }
    }
}
