//! The program `nat-summary` under the name that it had as an example, because scripts use it.

#[path = "../src/bin/nat-summary/main.rs"]
mod program;

fn main() -> std::process::ExitCode {
    program::main()
}
