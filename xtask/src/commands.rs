//! Every command there is: its name, its arguments, and which program runs it.

/// One thing a maintainer runs.
#[derive(Debug)]
pub struct Command {
    /// As typed behind `cargo xtask`.
    pub name: &'static str,
    /// What it may be told: the grammar that [`crate::options::Options`] reads its arguments by.
    pub usage: &'static str,
    /// One line about it; empty where it is for other commands to run.
    pub help: &'static str,
    /// Which program runs it.
    pub by: Program,
}

/// Which program runs a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `xtask` itself, which knows none of the libraries.
    Dispatcher,
    /// `xtask-checks`, built with these of its features.
    Checks(&'static str),
}

const CHECKS: Program = Program::Checks("");

/// All of them, in the order in which help shows them.
pub const COMMANDS: &[Command] = &[
    command(
        "demo",
        CHECKS,
        "[--json]",
        "one consumer on real sockets, then behind simulated NATs",
    ),
    command(
        "leak",
        Program::Checks("channel,collector"),
        "[--cycles N] [--only PATH,PATH] [--list] [--self-test] [--no-stock] [--as-built] [--json]",
        "what is left per cycle, on each path of each crate; about half an hour, or less with fewer cycles",
    ),
    command("leak-path", CHECKS, "[PATH] [--cycles N]", ""),
    command(
        "channel",
        Program::Checks("channel"),
        "[--cycles N] [--json]",
        "the data channel, and webrtc's beside it: leaks, size, time",
    ),
    command(
        "bench",
        CHECKS,
        "[PART] [--save] [--compare] [--json]",
        "what it costs beside others: gather, path, peer, scale, criterion, counts; one report with plots",
    ),
    command(
        "lab",
        CHECKS,
        "[PART] [--json] [--quick] [--only NAME] [--install]",
        "the gatherer behind the NATs of the kernel; peers: two agents, each behind one",
    ),
    command(
        "slots",
        CHECKS,
        "[--quick] [--slots N] [--attempts N] [--json]",
        "thousands of slots in one process, beside stock webrtc-ice; then a day of churn",
    ),
    command(
        "interop",
        Program::Checks("channel"),
        "[--json] [--quick] [--only PEER] [--install]",
        "browsers and other stacks as peers, behind the NATs of the kernel",
    ),
    command(
        "fuzz",
        Program::Dispatcher,
        "[--seconds N] [--json]",
        "every fuzz target of every crate; needs nightly and cargo-fuzz",
    ),
    command(
        "collector",
        Program::Checks("collector"),
        "[--json]",
        "what attempts emit, and what a real collector received",
    ),
    command(
        "fleet",
        Program::Checks("collector"),
        "[--quick] [--attempts N] [--spans FILE] [--picture FILE] [--json]",
        "the questions of operators, in DuckDB, over a simulated fleet",
    ),
    command(
        "chaos",
        CHECKS,
        "[--seed S] [--minutes M] [--episode K|K..L] [--json]",
        "attempts while everything that can fail does; a seed replays them",
    ),
    command(
        "wasm",
        Program::Dispatcher,
        "[--json]",
        "the judge and the telemetry as WebAssembly, under Node",
    ),
    command(
        "package",
        Program::Dispatcher,
        "[--quick] [--json]",
        "what a release has to pass: archives, licences, each crate alone",
    ),
    command(
        "tidy",
        Program::Dispatcher,
        "[--json]",
        "what the project says of itself is so; each complaint names the mend",
    ),
    command(
        "ci",
        Program::Dispatcher,
        "[--tested] [--only STEP] [--began SECONDS] [--json]",
        "everything a change has to pass; what took how long, and what could not be checked here",
    ),
    command("help", Program::Dispatcher, "", "this list"),
];

const fn command(
    name: &'static str,
    by: Program,
    usage: &'static str,
    help: &'static str,
) -> Command {
    Command {
        name,
        usage,
        help,
        by,
    }
}

impl Command {
    /// The one of that name.
    ///
    /// # Errors
    /// That there is none, for a person.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        COMMANDS
            .iter()
            .find(|command| command.name == name)
            .ok_or_else(|| format!("no command {name:?}; `cargo xtask help` lists them"))
    }
}
