//! Every command there is: its name, its arguments, its help. Each program reads its arguments by it.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::episodes::Episodes;

/// The maintainer's commands.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about,
    disable_help_subcommand = true,
    after_help = EXIT_CODES
)]
pub struct Cli {
    /// The one to run.
    #[command(subcommand)]
    pub command: Command,
}

/// How every command ends.
pub const EXIT_CODES: &str =
    "A command exits with 1 where a bound is broken, and with 2 where it cannot run.";

/// A command, by the program that runs it.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Needs the libraries: `xtask-checks` runs it.
    #[command(flatten)]
    Check(Check),
    /// Needs none of them: `xtask` itself runs it.
    #[command(flatten)]
    Chore(Chore),
}

/// The commands that `xtask-checks` takes.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
pub struct Checks {
    /// The one to run.
    #[command(subcommand)]
    pub check: Check,
}

/// A command that runs the libraries.
#[derive(Debug, Subcommand)]
pub enum Check {
    /// Runs one consumer on real sockets, then behind simulated NATs
    Demo(Json),
    /// Counts leftovers per cycle, on each path of each crate: half an hour, less with fewer cycles
    Leak(Leak),
    /// Walks one path of `leak` in this process
    #[command(hide = true)]
    LeakPath(LeakPath),
    /// Measures the data channel, and webrtc's beside it: leaks, size, time
    Channel(Channel),
    /// Measures every cost beside other programs; one report with plots
    Bench(Bench),
    /// Puts the gatherer behind the NATs of the kernel; peers: two agents, each behind one
    Lab(Lab),
    /// Runs thousands of slots in one process, beside stock webrtc-ice; then a day of churn
    Slots(Slots),
    /// Meets browsers and other stacks as peers, behind the NATs of the kernel
    Interop(Interop),
    /// Judges other ICE stacks behind the NATs of the kernel, from a capture on their host
    Taps(Taps),
    /// Compares emitted spans with those that a real collector received
    Collector(Json),
    /// Asks the questions of operators, in DuckDB or ClickHouse, over a simulated fleet
    Fleet(Fleet),
    /// Runs attempts while everything fails that can; a seed replays them
    Chaos(Chaos),
    /// Attacks running processes as strangers, peers and servers, and counts what an honest echo,
    /// memory and CPU suffer
    Siege(Siege),
    /// Runs one process of `siege`
    #[command(hide = true)]
    SiegeSide(SiegeSide),
}

/// A command that runs none of the libraries.
#[derive(Debug, Subcommand)]
pub enum Chore {
    /// Runs every fuzz target of every crate; needs nightly and cargo-fuzz
    Fuzz(Fuzz),
    /// Runs the judge and the telemetry as WebAssembly, under Node
    Wasm(Json),
    /// Builds the page that judges in a browser; --test drives it in headless Chromium
    Page(Page),
    /// Checks a release: archives, licences, each crate alone
    Package(Package),
    /// Checks the project's statements on itself; each complaint names the mend
    Tidy(Json),
    /// Runs every check that a change has to pass; with times, and the checks skipped here
    Ci(Ci),
    /// Prints this list
    Help,
}

impl Check {
    /// The features of `xtask-checks` that it needs.
    #[must_use]
    pub fn features(&self) -> &'static str {
        match self {
            Self::Leak(leak) if !leak.as_built && !leak.self_test => "channel,collector",
            Self::Channel(_)
            | Self::Interop(_)
            | Self::Taps(_)
            | Self::Siege(_)
            | Self::SiegeSide(_) => "channel",
            Self::Lab(lab) if matches!(lab.part, Some(LabPart::Embedded | LabPart::Censors)) => {
                "channel"
            }
            Self::Collector(_) | Self::Fleet(_) => "collector",
            _ => "",
        }
    }
}

/// Of a command without other arguments.
#[derive(Debug, Args)]
pub struct Json {
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// Of `leak`.
#[derive(Debug, Args)]
pub struct Leak {
    /// Cycles of each path
    #[arg(long, value_name = "N")]
    pub cycles: Option<u32>,
    /// The paths with one of these in their names
    #[arg(long, value_name = "PATH,PATH", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Names the paths, and walks none
    #[arg(long)]
    pub list: bool,
    /// Walks the planted leaks alone
    #[arg(long)]
    pub self_test: bool,
    /// Without stock webrtc-ice to compare with
    #[arg(long)]
    pub no_stock: bool,
    /// Walks the paths that exist without further features
    #[arg(long)]
    pub as_built: bool,
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// Of `leak-path`.
#[derive(Debug, Args)]
pub struct LeakPath {
    /// Its whole name
    pub path: String,
    /// Cycles of it
    #[arg(long, value_name = "N")]
    pub cycles: Option<u32>,
}

/// Of `channel`.
#[derive(Debug, Args)]
pub struct Channel {
    /// Cycles of each way a channel can end
    #[arg(long, value_name = "N")]
    pub cycles: Option<u32>,
    /// Measures only the memory of an open side, and its time to open
    #[arg(long)]
    pub sizes: bool,
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// Of `bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// This part alone
    pub part: Option<BenchPart>,
    /// Writes the results as the baseline
    #[arg(long)]
    pub save: bool,
    /// Fails where a count is worse than the baseline's
    #[arg(long)]
    pub compare: bool,
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// A part of `bench`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchPart {
    /// Time and packets to a verdict
    Gather,
    /// Datagrams through a base
    Path,
    /// The cost of reading the peer's checks
    Peer,
    /// Many gatherings at once
    Scale,
    /// Nanoseconds of a verdict, a line, an emission
    Criterion,
    /// Allocations, packets, sockets, instructions
    Counts,
}

impl Display for BenchPart {
    /// As it is typed.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.write_str(value.get_name()),
            None => Ok(()),
        }
    }
}

/// Of `lab`.
#[derive(Debug, Args)]
pub struct Lab {
    /// This part, and not the gatherer alone
    pub part: Option<LabPart>,
    /// Without the cases that take seconds
    #[arg(long)]
    pub quick: bool,
    /// The cases with that in their names
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
    /// Installs the programs that it runs, by apt-get, and runs nothing
    #[arg(long)]
    pub install: bool,
    /// Keeps the captures of `censors` there
    #[arg(long, value_name = "FOLDER")]
    pub keep: Option<PathBuf>,
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// A part of `lab`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LabPart {
    /// Two agents, each behind a NAT
    Peers,
    /// Two peer connections of `webrtc`, each on a base behind a NAT, and the span of one
    Embedded,
    /// The page of `cargo xtask page`, in headless Chromium
    Page,
    /// A consumer and a producer with a censor between them, and the verdict on the stage
    Censors,
}

/// Of `slots`.
#[derive(Debug, Args)]
pub struct Slots {
    /// Few slots and few attempts
    #[arg(long)]
    pub quick: bool,
    /// Slots at once
    #[arg(long, value_name = "N")]
    pub slots: Option<usize>,
    /// Attempts of the churn
    #[arg(long, value_name = "N")]
    pub attempts: Option<u32>,
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// Of `interop`.
#[derive(Debug, Args)]
pub struct Interop {
    /// Behind one NAT alone, and on an open host with the peers that refuse its candidates
    #[arg(long)]
    pub quick: bool,
    /// The peers with that in their names
    #[arg(long, value_name = "PEER")]
    pub only: Option<String>,
    /// Installs the peers first
    #[arg(long)]
    pub install: bool,
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// Of `taps`.
#[derive(Debug, Args)]
pub struct Taps {
    /// Behind two NATs alone
    #[arg(long)]
    pub quick: bool,
    /// The stacks with that in their names
    #[arg(long, value_name = "STACK")]
    pub only: Option<String>,
    /// Installs the stacks first
    #[arg(long)]
    pub install: bool,
    /// Keeps the captures there
    #[arg(long, value_name = "FOLDER")]
    pub keep: Option<PathBuf>,
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// Of `fleet`.
#[derive(Debug, Args)]
pub struct Fleet {
    /// Few attempts
    #[arg(long)]
    pub quick: bool,
    /// Number of attempts
    #[arg(long, value_name = "N")]
    pub attempts: Option<u64>,
    /// Asks in this engine too, and compares
    #[arg(long, value_name = "ENGINE", default_value = "duckdb")]
    pub engine: Engine,
    /// Keeps the spans there
    #[arg(long, value_name = "FILE")]
    pub spans: Option<PathBuf>,
    /// Draws the picture there
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// Where the attempts of a fleet are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// OTLP/JSON lines, read by DuckDB
    #[value(name = "duckdb")]
    DuckDb,
    /// ClickHouse, filled by a collector
    #[value(name = "clickhouse")]
    ClickHouse,
}

/// Of `chaos`.
#[derive(Debug, Args)]
pub struct Chaos {
    /// Decides everything that goes wrong
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Length of the run
    #[arg(long, value_name = "M")]
    pub minutes: Option<f64>,
    /// Replays one episode, or a batch
    #[arg(long, value_name = "K|K..L")]
    pub episode: Option<Episodes>,
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// Of `siege`.
#[derive(Debug, Args)]
pub struct Siege {
    /// Few datagrams of each class
    #[arg(long)]
    pub quick: bool,
    /// Length of the run, about
    #[arg(long, value_name = "N")]
    pub minutes: Option<f64>,
    /// The classes, or the stands, with that in their names
    #[arg(long, value_name = "CLASS")]
    pub only: Option<String>,
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// Of `siege-side`.
#[derive(Debug, Args)]
pub struct SiegeSide {
    /// As the siege writes them
    pub orders: String,
}

/// Of `fuzz`.
#[derive(Debug, Args)]
pub struct Fuzz {
    /// Of a core, for each target
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// Of `page`.
#[derive(Debug, Args)]
pub struct Page {
    /// Drives the page in headless Chromium
    #[arg(long)]
    pub test: bool,
    /// The result of the test as JSON, and nothing else on the standard output
    #[arg(long, requires = "test")]
    pub json: bool,
}

/// Of `package`.
#[derive(Debug, Args)]
pub struct Package {
    /// Builds none of them
    #[arg(long)]
    pub quick: bool,
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// Of `ci`.
#[derive(Debug, Args)]
pub struct Ci {
    /// The README's test command has passed just now
    #[arg(long)]
    pub tested: bool,
    /// The steps with that in their names
    #[arg(long, value_name = "STEP")]
    pub only: Option<String>,
    /// Start of the whole run, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    pub began: Option<u64>,
    /// The result as JSON, and nothing else on the standard output
    #[arg(long)]
    pub json: bool,
}

/// A command as documents and the list show it.
#[derive(Debug)]
pub struct Usage {
    /// As typed behind `cargo xtask`.
    pub name: String,
    /// One line about it.
    pub about: String,
    /// Its arguments: `[PART]`, `[--flag]`, `[--option VALUE]`.
    pub takes: Vec<String>,
    /// Options, with their dashes.
    pub options: Vec<String>,
    is_hidden: bool,
}

impl Usage {
    /// Of every command, in the order of this file.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let of = |command: &clap::Command| {
            let arguments = || command.get_arguments().filter(|a| a.get_id() != "help");
            Self {
                name: command.get_name().to_owned(),
                about: command
                    .get_about()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                takes: arguments().map(shown).collect(),
                options: arguments()
                    .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
                    .collect(),
                is_hidden: command.is_hide_set(),
            }
        };
        Cli::command().get_subcommands().map(of).collect()
    }

    /// Of those that a person runs.
    #[must_use]
    pub fn shown() -> Vec<Self> {
        let mut shown = Self::all();
        shown.retain(|usage| !usage.is_hidden);
        shown
    }
}

fn shown(argument: &clap::Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default().join(" ");
    match argument.get_long() {
        None => format!("[{values}]"),
        Some(long) if argument.get_action().takes_values() => format!("[--{long} {values}]"),
        Some(long) => format!("[--{long}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, clap::Error> {
        let words = ["cargo xtask"].into_iter().chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.command)
    }

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
        Checks::command().debug_assert();
    }

    #[test]
    fn a_command_takes_what_its_usage_names_and_nothing_else() {
        let Ok(Command::Check(Check::Bench(bench))) = read("bench path --compare") else {
            panic!("it is a command");
        };
        assert_eq!(
            (bench.part, bench.compare, bench.save, bench.json),
            (Some(BenchPart::Path), true, false, false)
        );
        let Ok(Command::Check(Check::Leak(leak))) = read("leak --cycles 30 --only a,b") else {
            panic!("it is a command");
        };
        assert_eq!((leak.cycles, leak.only.len()), (Some(30), 2));
        for wrong in [
            "",
            "lemo",
            "demo --jsn",
            "demo part",
            "leak --cycle 3",
            "leak --cycles few",
            "leak --cycles",
            "bench speed",
            "chaos --episode 7..7",
        ] {
            assert_eq!(read(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn the_list_names_every_command_that_a_person_runs_with_what_it_takes() {
        let shown = Usage::shown();
        let names: Vec<_> = shown.iter().map(|usage| usage.name.as_str()).collect();
        assert!(names.contains(&"demo") && names.contains(&"ci"));
        assert!(!names.contains(&"leak-path"));
        let bench = shown.iter().find(|usage| usage.name == "bench");
        assert_eq!(
            bench.map(|usage| usage.takes.join(" ")).as_deref(),
            Some("[PART] [--save] [--compare] [--json]")
        );
    }
}
