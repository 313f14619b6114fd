//! What a maintainer runs: `cargo xtask help` lists it.
#![forbid(unsafe_code)]

mod ci;
mod fuzz;
mod package;
mod tidy;
mod wasm;

use std::ffi::OsString;
use std::process::ExitCode;

use xtask::commands::{COMMANDS, Command, Program};
use xtask::options::Options;
use xtask::{Failure, bounds, exit_code, needs, python, root, table, verdict, workspace};

fn main() -> ExitCode {
    run().unwrap_or_else(|failure| exit_code(Err(failure)))
}

fn run() -> Result<ExitCode, Failure> {
    let mut arguments = std::env::args_os().skip(1);
    let name = arguments
        .next()
        .ok_or("which command? `cargo xtask help` lists them")?;
    let name = name.to_string_lossy();
    let command = Command::named(if name == "--help" { "help" } else { &name })?;
    let arguments: Vec<OsString> = arguments.collect();
    if arguments.iter().any(|argument| argument == "--help") {
        println!(
            "cargo xtask {} {}\n{}",
            command.name, command.usage, command.help
        );
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options::read(command.usage, arguments.iter().cloned())?;
    let ended = match (command.by, command.name) {
        (Program::Checks(features), _) => return check(command, features, &options, &arguments),
        (Program::Dispatcher, "ci") => ci::run(&options),
        (Program::Dispatcher, "fuzz") => fuzz::run(&options),
        (Program::Dispatcher, "package") => package::run(&options),
        (Program::Dispatcher, "tidy") => tidy::run(&options),
        (Program::Dispatcher, "wasm") => wasm::run(&options),
        (Program::Dispatcher, _) => Ok(help()),
    };
    Ok(exit_code(ended))
}

fn help() -> bool {
    let row = |c: &Command| vec![c.name.to_owned(), c.help.to_owned(), c.usage.to_owned()];
    // one without help is for other commands to run
    let rows: Vec<_> = COMMANDS
        .iter()
        .filter(|command| !command.help.is_empty())
        .map(row)
        .collect();
    println!("{}", table::render(&["cargo xtask", "", ""], &rows));
    println!("A command exits with 1 where a bound is broken, and with 2 where it cannot run.");
    true
}

/// Builds the program of checks with what the command needs of it, and hands the command on.
fn check(
    command: &Command,
    features: &str,
    options: &Options,
    arguments: &[OsString],
) -> Result<ExitCode, Failure> {
    let features = if options.is("as-built") || options.is("self-test") {
        ""
    } else {
        features
    };
    let status = workspace::cargo()
        .args(["run", "--release", "--package", "xtask-checks"])
        .args(["--features", features, "--", command.name])
        .args(arguments)
        .status()?;
    // the program reports itself why it cannot run; cargo ends with 101 where it does not build
    Ok(match status.code() {
        Some(0) => ExitCode::SUCCESS,
        Some(1) => ExitCode::FAILURE,
        _ => ExitCode::from(2),
    })
}
