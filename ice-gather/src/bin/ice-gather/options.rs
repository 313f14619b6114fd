//! The arguments of the program.

use std::io::Read;
use std::time::Duration;

use clap::Parser;
use ice_gather::{Bind, BindConfig, GatherConfig, Policy, StunServer};

use crate::outcome::{Problem, status};

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
/// While the program waits, a terminal shows how many servers have answered. Ctrl-C ends the wait, and prints what was heard.
#[derive(Debug, Parser)]
#[command(name = "ice-gather", version, after_help = AFTER)]
pub(crate) struct Options {
    /// STUN servers; without a server the program asks a short list of public ones
    #[arg(value_name = "stun:HOST[:PORT]", value_parser = server)]
    servers: Vec<StunServer>,
    /// A file with more servers, one a line; # starts a comment; - reads standard input
    #[arg(long, value_name = "FILE")]
    from_file: Option<String>,
    /// Send from the first address of this interface
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
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
    #[arg(long, value_name = "FILE", conflicts_with_all = ["servers", "from_file", "filtering", "watch", "exit_code"])]
    pub(crate) from_capture: Option<String>,
    /// Replace each address of a capture by another one, equal ones by equal ones; prefixes and ports stay comparable
    #[arg(long, requires = "from_capture", conflicts_with_all = ["servers", "from_file", "filtering"])]
    pub(crate) redact: bool,
    /// Keep running, ask again whenever the addresses of this machine change, and print what changed
    #[arg(long, conflicts_with = "exit_code")]
    pub(crate) watch: bool,
    /// Exit with a status for each type of NAT, as listed below
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Print one JSON object instead of text; with --watch one in a line for each change
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the manual page (`man`), or the completions of a shell
    #[cfg(feature = "manual")]
    #[arg(long, hide = true, value_name = "man|SHELL")]
    manual: Option<String>,
}

const AFTER: &str = "\
Exit status: 0 with any verdict, 1 if no socket could be opened or the capture could not be read, 2 if the arguments are
wrong, 3 if this machine has no network, 130 after Ctrl-C.
With --exit-code the type takes the place of 0: 10 open, 11 cone, 12 full cone, 13 address-restricted cone,
14 port-restricted cone, 15 symmetric, 16 UDP blocked, 17 unknown.
Colour is for terminals, and NO_COLOR switches it off.";

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
        if let Some(file) = &self.from_file {
            servers.extend(servers_of(file)?);
        }
        for server in &servers {
            if let StunServer::Address(address) = server
                && (address.is_ipv4() && self.ipv6_only || address.is_ipv6() && self.ipv4_only)
            {
                let family = self.family();
                return Err(format!(
                    "{address} cannot be asked over {family} alone: leave out -4 and -6"
                ));
            }
        }
        if servers.is_empty() {
            servers.extend(PUBLIC.iter().filter_map(|server| server.parse().ok()));
        }
        Ok(servers)
    }

    /// The families that are asked over.
    pub(crate) const fn family(&self) -> &'static str {
        match (self.ipv4_only, self.ipv6_only) {
            (true, _) => "IPv4",
            (_, true) => "IPv6",
            _ => "neither IPv4 nor IPv6",
        }
    }

    /// The sockets to ask from.
    pub(crate) fn bind(&self) -> Result<BindConfig, Problem> {
        let mut bind = match &self.interface {
            Some(name) => {
                self.find_interface(name)?;
                BindConfig::interface(name)
            }
            None => BindConfig::default(),
        };
        if self.ipv4_only {
            bind.ipv6 = Bind::Off;
        }
        if self.ipv6_only {
            bind.ipv4 = Bind::Off;
        }
        Ok(bind)
    }

    fn find_interface(&self, name: &str) -> Result<(), Problem> {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let mut names: Vec<String> = interfaces.into_iter().map(|of| of.name).collect();
        names.sort_unstable();
        names.dedup();
        if names.iter().any(|known| known == name) {
            return Ok(());
        }
        let names = names.join(", ");
        let message = format!("there is no interface {name} with an address; there are: {names}");
        Err(Problem::new(status::FAILED, message))
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

fn server(text: &str) -> Result<StunServer, String> {
    let usage = "this is no STUN server, which is written stun:HOST or stun:HOST:PORT";
    text.parse().map_err(|error| format!("{error}; {usage}"))
}

fn servers_of(file: &str) -> Result<Vec<StunServer>, String> {
    let (shown, text) = if file == "-" {
        let mut text = String::new();
        (
            "standard input",
            std::io::stdin().read_to_string(&mut text).map(|_| text),
        )
    } else {
        (file, std::fs::read_to_string(file))
    };
    let text = text.map_err(|error| format!("{shown}: {error}"))?;
    let lines = (1..).zip(text.lines());
    lines
        .map(|(number, line)| (number, line.split('#').next().unwrap_or_default().trim()))
        .filter(|(_, entry)| !entry.is_empty())
        .map(|(number, entry)| {
            server(entry).map_err(|error| format!("{shown}, line {number}: {entry}: {error}"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use nat_summary::NatType;

    #[test]
    fn each_type_has_a_status_of_its_own_that_the_help_lists() {
        let mut all: Vec<u8> = NatType::ALL.iter().map(|of| status::of_type(*of)).collect();
        for of in NatType::ALL {
            let word = of.as_str().replace('_', " ").replace("udp", "UDP");
            let listed = AFTER.replace("-restricted", " restricted");
            assert!(
                listed.contains(&format!("{} {word}", status::of_type(*of))),
                "{word}"
            );
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), NatType::ALL.len());
    }
}
