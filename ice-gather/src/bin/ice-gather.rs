//! `ice-gather`: asks STUN servers from one socket and says what the NAT in front of it does.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use ice_gather::{
    Base, Bind, BindConfig, Finding, GatherConfig, Gathering, Policy, Progress, ServerReport, StunServer,
    discover_filtering,
};
use lexopt::prelude::{Long, Short, Value, ValueExt};
use nat_summary::{Filtering, Mapping, NatSummary, NatType, Outcome, Rule};
use serde_json::{Value as Json, json};

const HELP: &str = "\
ice-gather [options] [stun:HOST[:PORT] ...]

Asks STUN servers from one UDP socket and says what the NAT in front of it does. Without a server it asks a short list
of public ones.

  --from-file FILE    more servers, one a line; # starts a comment
  --interface NAME    leave from the first address of this interface
  --timeout SECONDS   whatever is unanswered by then has timed out (3)
  -4, -6              IPv4 only, IPv6 only
  --all               wait for every server, not only until the verdict is clear
  --filtering         also find out how the NAT filters (RFC 5780), from extra sockets and with extra packets; works with
                      servers that have a second address
  --json              one JSON object instead of text
  --help              this text

Exit status: 0 with any verdict, 1 if no socket could be had, 2 if the arguments are wrong.
";

/// Asked where none are named. Run by different operators, so that one of them cannot decide the verdict.
const PUBLIC: [&str; 5] = [
    "stun:stun.l.google.com:19302",
    "stun:stun.cloudflare.com:3478",
    "stun:stun.nextcloud.com:443",
    "stun:stun.sipgate.net:3478",
    "stun:global.stun.twilio.com:3478",
];

struct Options {
    servers: Vec<StunServer>,
    bind: BindConfig,
    gather: GatherConfig,
    json: bool,
    filtering: bool,
}

/// Most servers asked to help with filtering.
const MAX_FILTERING_SERVERS: usize = 3;

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("ice-gather: {message}");
            eprintln!("ice-gather --help says what it takes");
            return ExitCode::from(2);
        }
    };
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(options))?;
        // a name still being looked up must not keep us
        runtime.shutdown_background();
        Ok(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ice-gather: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the arguments say; nothing if they ask for help.
fn options() -> Result<Option<Options>, String> {
    let mut arguments = lexopt::Parser::from_env();
    let mut options = Options {
        servers: Vec::new(),
        bind: BindConfig::default(),
        gather: GatherConfig::default(),
        json: false,
        filtering: false,
    };
    while let Some(argument) = arguments.next().map_err(|error| error.to_string())? {
        match argument {
            Short('4') => options.bind.ipv6 = Bind::Off,
            Short('6') => options.bind.ipv4 = Bind::Off,
            Long("json") => options.json = true,
            Long("filtering") => options.filtering = true,
            Long("all") => options.gather.policy = Policy::All,
            Long("help") => return Ok(None),
            Long("interface") => {
                let name = value(&mut arguments)?;
                for bind in [&mut options.bind.ipv4, &mut options.bind.ipv6] {
                    if *bind != Bind::Off {
                        *bind = Bind::Interface(name.clone());
                    }
                }
            }
            Long("timeout") => {
                let seconds: f64 = value(&mut arguments)?.parse().map_err(|_| "--timeout takes a number of seconds")?;
                options.gather.deadline = Duration::try_from_secs_f64(seconds)
                    .ok()
                    .filter(|timeout| !timeout.is_zero() && *timeout <= Duration::from_secs(3600))
                    .ok_or("--timeout takes more than zero and at most 3600 seconds")?;
            }
            Long("from-file") => {
                let path = value(&mut arguments)?;
                let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
                for (number, line) in (1..).zip(text.lines()) {
                    let entry = line.split('#').next().unwrap_or_default().trim();
                    if !entry.is_empty() {
                        let server = entry.parse().map_err(|error| format!("{path}, line {number}: {error}"))?;
                        options.servers.push(server);
                    }
                }
            }
            Value(server) => {
                let server = server.string().map_err(|error| error.to_string())?;
                options.servers.push(server.parse().map_err(|error| format!("{server}: {error}"))?);
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    if options.bind.ipv4 == Bind::Off && options.bind.ipv6 == Bind::Off {
        return Err("-4 and -6 leave nothing to ask from".into());
    }
    if options.servers.is_empty() {
        options.servers = PUBLIC.iter().filter_map(|server| server.parse().ok()).collect();
    }
    Ok(Some(options))
}

fn value(arguments: &mut lexopt::Parser) -> Result<String, String> {
    arguments.value().and_then(|value| value.string()).map_err(|error| error.to_string())
}

async fn run(options: Options) -> Result<(), ice_gather::BindError> {
    // servers on this host are reached from its loopback address only
    let loopback =
        options.servers.iter().all(|server| matches!(server, StunServer::Address(a) if a.ip().is_loopback()));
    let mut bind = options.bind;
    if loopback {
        for (bind, ip) in [
            (&mut bind.ipv4, std::net::IpAddr::from([127, 0, 0, 1])),
            (&mut bind.ipv6, [0, 0, 0, 0, 0, 0, 0, 1].into()),
        ] {
            if *bind == Bind::DefaultRoute {
                *bind = Bind::Address(ip);
            }
        }
    }
    let base = match Base::bind(bind.clone()).await {
        // no IPv6 on this host is no reason not to ask over IPv4
        Err(_) if bind.ipv4 != Bind::Off && bind.ipv6 != Bind::Off => {
            bind.ipv6 = Bind::Off;
            Base::bind(bind).await?
        }
        bound => bound?,
    };
    let live = !options.json && std::io::stderr().is_terminal();
    let gathering = base
        .gather_with(&options.servers, &options.gather, |news| {
            if let (true, Progress::Server(report)) = (live, news) {
                eprintln!("{}", line(&report));
            }
        })
        .await;
    let filtering = if options.filtering { Some(filtering(&gathering).await) } else { None };
    let summary = gathering.evidence.summary().with_filtering(filtering.unwrap_or_default());
    let text = if options.json {
        format!("{:#}\n", to_json(&gathering, &summary))
    } else {
        to_text(&gathering, &summary, filtering)
    };
    // a reader that went away wants no more
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// Asks a few of the servers that answered for help, each from a fresh socket beside the base.
async fn filtering(gathering: &Gathering) -> Filtering {
    let mut discoveries = tokio::task::JoinSet::new();
    for report in gathering.servers.iter().filter(|report| report.outcome == Outcome::Answered) {
        if let (StunServer::Address(server), Some(base)) = (&report.server, report.base)
            && discoveries.len() < MAX_FILTERING_SERVERS
            && let Ok(extra) = Base::bind(BindConfig::address(base.ip())).await
        {
            discoveries.spawn(discover_filtering(extra, *server));
        }
    }
    Finding::agree(discoveries.join_all().await)
}

fn line(report: &ServerReport) -> String {
    let round_trip = report.round_trip.map(|rtt| format!(" in {:.1} ms", millis(rtt))).unwrap_or_default();
    format!("{}: {}{round_trip}", name(&report.server), outcome(report.outcome))
}

fn name(server: &StunServer) -> String {
    match server {
        StunServer::Address(address) => address.to_string(),
        StunServer::Name(host, port) => format!("{host}:{port}"),
    }
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pending => "not waited for",
        Outcome::Unresolved => "unresolved",
        Outcome::Unreachable => "unreachable",
        Outcome::TimedOut => "timeout",
        Outcome::Refused => "refused",
        Outcome::Answered => "answered",
        _ => "unknown",
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

fn to_text(gathering: &Gathering, summary: &NatSummary, filtering: Option<Filtering>) -> String {
    let heads = ["server", "outcome", "round trip", "mapped", "sent"].map(str::to_owned);
    let dash = || "-".to_owned();
    let mut rows = vec![heads];
    for report in &gathering.servers {
        rows.push([
            name(&report.server),
            outcome(report.outcome).to_owned(),
            report.round_trip.map_or_else(dash, |rtt| format!("{:.1} ms", millis(rtt))),
            report.mapped.map_or_else(dash, |mapped| mapped.to_string()),
            report.sends.to_string(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = core::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text += &format!("\n{summary}.\n{}\n", meaning(summary));
    if let Some(filtering) = filtering {
        text += match filtering {
            Filtering::EndpointIndependent => "It lets in packets from anywhere.\n",
            Filtering::AddressDependent => "It lets in packets from addresses that were sent to before.\n",
            Filtering::AddressAndPortDependent => {
                "It lets in packets from addresses and ports that were sent to before.\n"
            }
            _ => "How it filters could not be found out.\n",
        };
    }
    text + &format!("Decided by: {}. {:.0} ms.\n", reason(summary.rule()), millis(gathering.elapsed))
}

/// What the verdict means for direct connections (RFC 5128 section 3.3).
fn meaning(summary: &NatSummary) -> &'static str {
    match (summary.nat_type(), summary.mapping()) {
        (NatType::Open, _) => "Peers can reach this host directly, as far as a firewall lets them.",
        (NatType::Cone | NatType::FullCone | NatType::AddressRestrictedCone | NatType::PortRestrictedCone, _) => {
            "Direct connections work with most peers: the address other servers see is the one peers can use."
        }
        (NatType::Symmetric, _) => {
            "Direct connections work only with peers whose NAT lets strangers in, or who have none; others need a relay."
        }
        (NatType::UdpBlocked, _) => "No direct connection over UDP: something between here and the servers drops it.",
        (_, Mapping::Unknown) => "What was seen does not say whether direct connections work.",
        _ => "The mapping is known, but not whether a NAT makes it.",
    }
}

const fn reason(rule: Rule) -> &'static str {
    match rule {
        Rule::PortsOfOneServerDiffer => "two ports of one server saw different mappings",
        Rule::ServersAgree => "servers at different addresses saw one and the same mapping",
        Rule::ServersDifferPortsAgree => "servers at different addresses saw different mappings, ports of one agreed",
        Rule::ServersDiffer => "servers at different addresses saw different mappings",
        Rule::MappedIsLocal => "the mapped address is one of this host's own",
        Rule::AskedNoneAnswered => "servers were asked, none was heard of, and at least one timed out",
        Rule::NoReflexiveCandidate => "no reflexive candidate",
        Rule::TooFewServers => "nothing: only one server address answered",
        Rule::LocalsUnknown => "nothing: no local address is known",
        Rule::NothingObserved => "nothing: there was nothing to observe",
        _ => "a rule this program does not know",
    }
}

fn to_json(gathering: &Gathering, summary: &NatSummary) -> Json {
    let counts = summary.counts();
    let servers: Vec<Json> = gathering
        .servers
        .iter()
        .map(|report| {
            json!({
                "server": name(&report.server),
                "outcome": outcome(report.outcome),
                "rtt_ms": report.round_trip.map(millis),
                "base": report.base.map(|base| base.to_string()),
                "mapped": report.mapped.map(|mapped| mapped.to_string()),
                "sent": report.sends,
            })
        })
        .collect();
    json!({
        "summary": {
            "is_natted": summary.is_natted(),
            "mapping_behavior": summary.mapping().as_legacy(),
            "filtering_behavior": summary.filtering().as_legacy(),
            "port_preservation": summary.port_preserved(),
            "nat_type": summary.nat_type().as_legacy(),
            "external_ip": summary.external_ip().map(|ip| ip.to_string()),
        },
        "evidence": {
            "asked": counts.asked,
            "answered": counts.answered,
            "server_addresses": counts.server_addresses,
            "observations": counts.observations,
            "bases": counts.bases,
            "rule": format!("{:?}", summary.rule()),
        },
        "servers": servers,
        "elapsed_ms": millis(gathering.elapsed),
    })
}
