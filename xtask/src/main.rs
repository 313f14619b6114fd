//! The dispatcher of the maintainer's commands: `cargo xtask help` lists them.
#![forbid(unsafe_code)]

mod ci;
mod fuzz;
mod package;
mod page;
mod tidy;
mod wasm;

use std::process::ExitCode;

use clap::Parser;
use common::commands::{Check, Chore, Cli, Command, EXIT_CODES, Usage};
use common::{Failure, bounds, exit_code, needs, python, root, table, verdict, workspace};

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Check(check) => return run(&check),
        Command::Chore(chore) => match chore {
            Chore::Ci(options) => ci::run(&options),
            Chore::Fuzz(options) => fuzz::run(&options),
            Chore::Package(options) => package::run(&options),
            Chore::Page(options) => page::run(&options),
            Chore::Tidy(options) => tidy::run(&options),
            Chore::Wasm(options) => wasm::run(&options),
            Chore::Help => Ok(help()),
        },
    };
    exit_code(ended)
}

fn help() -> bool {
    let row = |usage: Usage| vec![usage.name, usage.about, usage.takes.join(" ")];
    let rows: Vec<_> = Usage::shown().into_iter().map(row).collect();
    println!("{}", table::render(&["cargo xtask", "", ""], &rows));
    println!("{EXIT_CODES}");
    true
}

/// Builds the program of checks with the features that this one needs, and hands it our arguments.
fn run(check: &Check) -> ExitCode {
    let status = workspace::cargo()
        .args(["run", "--release", "--package", "xtask-checks"])
        .args(["--features", check.features(), "--"])
        .args(std::env::args_os().skip(1))
        .status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => ExitCode::SUCCESS,
        Ok(Some(1)) => ExitCode::FAILURE,
        // the program reports itself why it cannot run; cargo ends with 101 where it does not build
        Ok(_) => ExitCode::from(2),
        Err(error) => exit_code(Err(error.into())),
    }
}
