//! The arguments of the program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use ice_gather::{Bind, BindConfig, GatherConfig, Policy, StunServer};

/// Asked where none are named. Run by different operators, so that one of them cannot decide the
/// verdict.
const PUBLIC: [&str; 5] = [
    "stun:stun.l.google.com:19302",
    "stun:stun.cloudflare.com:3478",
    "stun:stun.nextcloud.com:443",
    "stun:stun.sipgate.net:3478",
    "stun:global.stun.twilio.com:3478",
];

/// Asks STUN servers from one UDP socket, and reports what the NAT in front of that socket does.
///
/// While the program works, a terminal shows a line per server as its answer comes.
#[derive(Debug, Parser)]
#[command(name = "ice-gather", version, after_help = AFTER)]
pub(crate) struct Options {
    /// STUN servers; without a server the program asks a short list of public ones
    #[arg(value_name = "stun:HOST[:PORT]")]
    servers: Vec<StunServer>,
    /// A file with more servers, one a line; # starts a comment
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Send from the first address of this interface
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Longest wait; a server that was asked twice and is silent by then has timed out
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = timeout)]
    timeout: Duration,
    /// IPv4 only
    #[arg(short = '4', conflicts_with = "ipv6_only")]
    ipv4_only: bool,
    /// IPv6 only
    #[arg(short = '6')]
    ipv6_only: bool,
    /// Wait for every server until the time-out, not only one second past the second answer
    #[arg(long)]
    all: bool,
    /// Also find out how the NAT filters (RFC 5780), from extra sockets and with extra packets; works with servers that
    /// have a second address
    #[arg(long)]
    pub(crate) filtering: bool,
    /// Ask no server, and judge the hosts of a capture (pcap or pcapng) that asked STUN or TURN servers; - reads it from a
    /// pipe, as in: tcpdump -w - udp | ice-gather --from-capture -
    #[arg(long, value_name = "FILE", conflicts_with_all = ["servers", "from_file", "filtering"])]
    pub(crate) from_capture: Option<String>,
    /// Replace each address of a capture by another one, equal ones by equal ones; prefixes and ports stay comparable
    #[arg(long, requires = "from_capture", conflicts_with_all = ["servers", "from_file", "filtering"])]
    pub(crate) redact: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the manual page (`man`), or the completions of a shell
    #[cfg(feature = "manual")]
    #[arg(long, hide = true, value_name = "man|SHELL")]
    manual: Option<String>,
}

const AFTER: &str = "Exit status: 0 with any verdict, 1 if no socket could be opened or the capture could not be read, 2 if the arguments are wrong.";

impl Options {
    /// The arguments, or the end of the program with its exit status: help, version, or wrong arguments.
    pub(crate) fn from_arguments() -> Self {
        let options = Self::parse();
        #[cfg(feature = "manual")]
        if let Some(of) = &options.manual {
            crate::manual::print(&mut <Self as clap::CommandFactory>::command(), of);
        }
        options
    }

    /// The servers to ask: those named, those of the file, or the public ones.
    pub(crate) fn servers(&self) -> Result<Vec<StunServer>, String> {
        let mut servers = self.servers.clone();
        if let Some(path) = &self.from_file {
            servers.extend(servers_of(path)?);
        }
        if servers.is_empty() {
            servers.extend(PUBLIC.iter().filter_map(|server| server.parse().ok()));
        }
        Ok(servers)
    }

    /// The sockets to ask from.
    pub(crate) fn bind(&self) -> BindConfig {
        let mut bind = match &self.interface {
            Some(name) => BindConfig::interface(name),
            None => BindConfig::default(),
        };
        if self.ipv4_only {
            bind.ipv6 = Bind::Off;
        }
        if self.ipv6_only {
            bind.ipv4 = Bind::Off;
        }
        bind
    }

    /// A person can wait a second for the truth, and the slowest live server answers within that second.
    pub(crate) fn gather(&self) -> GatherConfig {
        GatherConfig::default()
            .with_policy(if self.all {
                Policy::All
            } else {
                Policy::Patient
            })
            .with_grace(Duration::from_secs(1))
            .with_deadline(self.timeout)
    }
}

fn servers_of(path: &Path) -> Result<Vec<StunServer>, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let lines = (1..).zip(text.lines());
    lines
        .map(|(number, line)| (number, line.split('#').next().unwrap_or_default().trim()))
        .filter(|(_, entry)| !entry.is_empty())
        .map(|(number, entry)| {
            entry
                .parse()
                .map_err(|error| format!("{shown}, line {number}: {error}"))
        })
        .collect()
}

fn timeout(value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok().map(Duration::try_from_secs_f64);
    seconds
        .and_then(Result::ok)
        .filter(|timeout| !timeout.is_zero() && *timeout <= Duration::from_secs(3600))
        .ok_or_else(|| "more than zero and at most 3600 seconds are needed".into())
}
