//! `ice-gather`: asks STUN servers from one socket and reports what the NAT in front of it does.

#[path = "ice-gather/from_capture.rs"]
mod from_capture;
#[path = "ice-gather/words.rs"]
mod words;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use ice_gather::{
    Base, Bind, BindConfig, Finding, GatherConfig, Gathering, Policy, Progress, ServerReport,
    StunServer, discover_filtering,
};
use lexopt::prelude::{Long, Short, Value, ValueExt};
use nat_summary::{Filtering, Mapping, NatSummary, NatType, Outcome, Rule};
use serde_json::{Value as Json, json};
use words::{millis, outcome, reason, table};

const HELP: &str = "\
ice-gather [options] [stun:HOST[:PORT] ...]

ice-gather --from-capture FILE [--redact] [--json]

Asks STUN servers from one UDP socket and reports what the NAT in front of it does. Without a server it asks a short list
of public ones. With a capture it asks none, and reports what the datagrams in the capture show.

  --from-file FILE    more servers, one a line; # starts a comment
  --interface NAME    leave from the first address of this interface
  --timeout SECONDS   longest wait (3); a server that was asked twice and is silent by then has timed out
  -4, -6              IPv4 only, IPv6 only
  --all               wait for every server until the time-out, not only one second past the second answer
  --filtering         also find out how the NAT filters (RFC 5780), from extra sockets and with extra packets; works with
                      servers that have a second address
  --from-capture FILE judge the hosts of a capture, pcap or pcapng, that asked STUN or TURN servers; - reads one from a pipe, as
                      from tcpdump -w - udp
  --redact            replace every address of a capture by another one, alike for alike; prefixes stay comparable
  --json              one JSON object instead of text
  -h, --help          this text
  -V, --version       the version

While it works, a terminal shows a line per server as its answer comes. Exit status: 0 with any verdict, 1 if no socket
could be had or the capture is none, 2 if the arguments are wrong.
";

/// Asked where none are named. Run by different operators, so that one of them cannot decide the
/// verdict.
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
    capture: Option<String>,
    redact: bool,
}

/// Most servers asked to help with filtering.
const MAX_FILTERING_SERVERS: usize = 3;

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ice-gather: {message}");
            eprintln!("see ice-gather --help");
            return ExitCode::from(2);
        }
    };
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        if let Some(file) = &options.capture {
            print(&from_capture::report(file, options.redact, options.json)?);
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
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

/// A person waits a second for the truth: the slowest live server is told from a dead one by then.
fn patient() -> GatherConfig {
    GatherConfig::default()
        .with_policy(Policy::Patient)
        .with_grace(Duration::from_secs(1))
}

/// The options by the arguments; `None` if these asked for a text that was printed at once.
fn options() -> Result<Option<Options>, String> {
    let mut arguments = lexopt::Parser::from_env();
    let mut options = Options {
        servers: Vec::new(),
        bind: BindConfig::default(),
        gather: patient(),
        json: false,
        filtering: false,
        capture: None,
        redact: false,
    };
    while let Some(argument) = arguments.next().map_err(|error| error.to_string())? {
        match argument {
            Short('4') => options.bind.ipv6 = Bind::Off,
            Short('6') => options.bind.ipv4 = Bind::Off,
            Long("json") => options.json = true,
            Long("from-capture") => options.capture = Some(value(&mut arguments)?),
            Long("redact") => options.redact = true,
            Long("filtering") => options.filtering = true,
            Long("all") => options.gather.policy = Policy::All,
            Short('h') | Long("help") => {
                print(HELP);
                return Ok(None);
            }
            Short('V') | Long("version") => {
                print(concat!("ice-gather ", env!("CARGO_PKG_VERSION"), "\n"));
                return Ok(None);
            }
            Long("interface") => {
                let name = value(&mut arguments)?;
                for bind in [&mut options.bind.ipv4, &mut options.bind.ipv6] {
                    if *bind != Bind::Off {
                        *bind = Bind::Interface(name.clone());
                    }
                }
            }
            Long("timeout") => {
                let seconds: f64 = value(&mut arguments)?
                    .parse()
                    .map_err(|_| "--timeout takes a number of seconds")?;
                options.gather.deadline = Duration::try_from_secs_f64(seconds)
                    .ok()
                    .filter(|timeout| !timeout.is_zero() && *timeout <= Duration::from_secs(3600))
                    .ok_or("--timeout takes more than zero and at most 3600 seconds")?;
            }
            Long("from-file") => {
                let path = value(&mut arguments)?;
                let text =
                    std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
                for (number, line) in (1..).zip(text.lines()) {
                    let entry = line.split('#').next().unwrap_or_default().trim();
                    if !entry.is_empty() {
                        let server = entry
                            .parse()
                            .map_err(|error| format!("{path}, line {number}: {error}"))?;
                        options.servers.push(server);
                    }
                }
            }
            Value(server) => {
                let server = server.string().map_err(|error| error.to_string())?;
                options.servers.push(
                    server
                        .parse()
                        .map_err(|error| format!("{server}: {error}"))?,
                );
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    if options.capture.is_some() && !options.servers.is_empty() {
        return Err("a capture is judged as it is: no server is asked".into());
    }
    if options.redact && options.capture.is_none() {
        return Err("--redact is for captures: see --from-capture".into());
    }
    if options.bind.ipv4 == Bind::Off && options.bind.ipv6 == Bind::Off {
        return Err("-4 and -6 leave nothing to ask from".into());
    }
    if options.servers.is_empty() {
        options.servers = PUBLIC
            .iter()
            .filter_map(|server| server.parse().ok())
            .collect();
    }
    Ok(Some(options))
}

/// A reader that went away wants no more.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn value(arguments: &mut lexopt::Parser) -> Result<String, String> {
    arguments
        .value()
        .and_then(|value| value.string())
        .map_err(|error| error.to_string())
}

async fn run(options: Options) -> Result<(), ice_gather::BindError> {
    // servers on this host are reached from its loopback address only
    let loopback = options
        .servers
        .iter()
        .all(|server| matches!(server, StunServer::Address(a) if a.ip().is_loopback()));
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
    // names and addresses as given; a resolved name only gets longer
    let widest = options
        .servers
        .iter()
        .map(|server| place(server).chars().count())
        .max()
        .unwrap_or(0);
    let gathering = base
        .gather_with(&options.servers, &options.gather, |news| {
            if let (true, Progress::Server(report)) = (live, news) {
                eprintln!("{}", line(&report, widest));
            }
        })
        .await;
    if live {
        eprintln!();
    }
    let filtering = if options.filtering {
        Some(filtering(&gathering).await)
    } else {
        None
    };
    let summary = gathering
        .evidence
        .summary()
        .with_filtering(filtering.unwrap_or_default());
    let text = if options.json {
        format!("{:#}\n", to_json(&gathering, &summary))
    } else {
        to_text(&gathering, &summary, filtering)
    };
    print(&text);
    Ok(())
}

/// Asks a few of the servers that answered for help, each from a fresh socket beside the base.
async fn filtering(gathering: &Gathering) -> Filtering {
    let mut discoveries = tokio::task::JoinSet::new();
    for report in gathering
        .servers
        .iter()
        .filter(|report| report.outcome == Outcome::Answered)
    {
        if let (StunServer::Address(server), Some(base)) = (&report.server, report.base)
            && discoveries.len() < MAX_FILTERING_SERVERS
            && let Ok(extra) = Base::bind(BindConfig::address(base.ip())).await
        {
            discoveries.spawn(discover_filtering(extra, *server));
        }
    }
    Finding::agree(discoveries.join_all().await)
}

fn line(report: &ServerReport, width: usize) -> String {
    let round_trip = report
        .round_trip
        .map(|rtt| format!(" in {:.1} ms", millis(rtt)))
        .unwrap_or_default();
    format!("{:<width$}  {}{round_trip}", name(report), ending(report))
}

/// The server as it was given, and the address that its name led to.
fn name(report: &ServerReport) -> String {
    match (&report.name, &report.server) {
        (Some(name), StunServer::Address(address)) => format!("{} ({})", place(name), address.ip()),
        (_, server) => place(server),
    }
}

fn place(server: &StunServer) -> String {
    match server {
        StunServer::Address(address) => address.to_string(),
        StunServer::Name(host, port) => format!("{host}:{port}"),
    }
}

/// How it ended, with the code of an error response.
fn ending(report: &ServerReport) -> String {
    let ended = outcome(report.outcome);
    report
        .error_code
        .map_or_else(|| ended.to_owned(), |code| format!("{ended} ({code})"))
}

fn to_text(gathering: &Gathering, summary: &NatSummary, filtering: Option<Filtering>) -> String {
    let heads = ["server", "outcome", "round trip", "mapped", "sent"].map(str::to_owned);
    let dash = || "-".to_owned();
    let mut rows = vec![heads];
    for report in &gathering.servers {
        rows.push([
            name(report),
            ending(report),
            report
                .round_trip
                .map_or_else(dash, |rtt| format!("{:.1} ms", millis(rtt))),
            report.mapped.map_or_else(dash, |mapped| mapped.to_string()),
            report.sends.to_string(),
        ]);
    }
    let mut text = table(&rows);
    text += &format!(
        "\nVerdict: {}.\n{}\n",
        summary.with_address(),
        meaning(gathering, summary)
    );
    if let Some(filtering) = filtering {
        text += match filtering {
            Filtering::EndpointIndependent => "It lets in packets from anywhere.\n",
            Filtering::AddressDependent => {
                "It lets in packets from addresses that were sent to before.\n"
            }
            Filtering::AddressAndPortDependent => {
                "It lets in packets from addresses and ports that were sent to before.\n"
            }
            _ => "How it filters could not be found out.\n",
        };
    }
    let packets = gathering.packets_sent;
    let noun = if packets == 1 { "packet" } else { "packets" };
    text + &format!(
        "{}. {} ms, {packets} {noun}.\n",
        reason(summary.rule()),
        whole_millis(gathering.elapsed)
    )
}

/// Whole milliseconds, or tenths where whole ones are too coarse.
fn whole_millis(duration: Duration) -> String {
    let millis = millis(duration);
    if millis < 10.0 {
        format!("{millis:.1}")
    } else {
        format!("{millis:.0}")
    }
}

/// The meaning of the verdict for direct connections (RFC 5128 section 3.3).
fn meaning(gathering: &Gathering, summary: &NatSummary) -> &'static str {
    let all = |outcome| {
        gathering
            .servers
            .iter()
            .all(|report| report.outcome == outcome)
    };
    match (summary.nat_type(), summary.mapping()) {
        (NatType::Open, _) => "Peers can reach this host directly, as far as a firewall lets them.",
        (
            NatType::Cone
            | NatType::FullCone
            | NatType::AddressRestrictedCone
            | NatType::PortRestrictedCone,
            _,
        ) => {
            "Direct connections work with most peers: the address other servers see is the one peers can use."
        }
        (NatType::Symmetric, _) => {
            "Direct connections work only with peers whose NAT lets strangers in, or who have none; others need a relay."
        }
        (NatType::UdpBlocked, _) => {
            "No direct connection over UDP: something between here and the servers drops it."
        }
        _ if all(Outcome::Unresolved) => {
            "No server's name could be resolved: look at the network and its DNS first."
        }
        _ if all(Outcome::Unreachable) => {
            "No server can be reached: look at the network and its routes first."
        }
        _ if summary.rule() == Rule::SeenFromInside => {
            "All servers that answered are inside this network: name one outside."
        }
        _ if summary.rule() == Rule::Contradictory => {
            "One of the servers is wrong, or the network changed meanwhile: ask again, or name other servers."
        }
        (NatType::Unknown, Mapping::Unknown) if summary.counts().answered == 1 => {
            "One server cannot tell whether others are shown the same address: name a second one, on another address."
        }
        (_, Mapping::Unknown) => "What was seen does not say whether direct connections work.",
        _ => "The mapping is known, but not whether a NAT makes it.",
    }
}

fn to_json(gathering: &Gathering, summary: &NatSummary) -> Json {
    let servers: Vec<Json> = gathering
        .servers
        .iter()
        .map(|report| {
            json!({
                "server": place(&report.server),
                "outcome": outcome(report.outcome),
                "rtt_ms": report.round_trip.map(millis),
                "base": report.base.map(|base| base.to_string()),
                "mapped": report.mapped.map(|mapped| mapped.to_string()),
                "sent": report.sends,
            })
        })
        .collect();
    json!({
        "summary": words::summary(summary, summary.external_ip()),
        "evidence": words::evidence(summary),
        "servers": servers,
        "elapsed_ms": millis(gathering.elapsed),
    })
}
