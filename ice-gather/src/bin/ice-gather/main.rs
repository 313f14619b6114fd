//! `ice-gather`: asks STUN servers from one socket and reports what the NAT in front of it does.

#[cfg(feature = "manual")]
mod manual;
mod options;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use ice_gather::{
    Base, Bind, BindConfig, Finding, Gathering, Progress, ServerReport, StunServer,
    discover_filtering,
};
use nat_summary::{Filtering, Mapping, NatSummary, NatType, Outcome, Rule};
use serde_json::{Value as Json, json};

use crate::options::Options;

/// Most servers asked to help with filtering.
const MAX_FILTERING_SERVERS: usize = 3;

fn main() -> ExitCode {
    let options = Options::from_arguments();
    let servers = match options.servers() {
        Ok(servers) => servers,
        Err(message) => {
            eprintln!("ice-gather: {message}");
            return ExitCode::from(2);
        }
    };
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(run(&options, &servers))?;
        // a name still being looked up must not hold the program up
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

/// A reader that went away wants no more.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

async fn run(options: &Options, servers: &[StunServer]) -> Result<(), ice_gather::BindError> {
    // servers on this host are reached from its loopback address only
    let loopback = servers
        .iter()
        .all(|server| matches!(server, StunServer::Address(a) if a.ip().is_loopback()));
    let mut bind = options.bind();
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
    let widest = servers
        .iter()
        .map(|server| place(server).chars().count())
        .max()
        .unwrap_or(0);
    let gathering = base
        .gather_with(servers, &options.gather(), |news| {
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

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pending | Outcome::GivenUp => "not waited for",
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
            name(report),
            ending(report),
            report
                .round_trip
                .map_or_else(dash, |rtt| format!("{:.1} ms", millis(rtt))),
            report.mapped.map_or_else(dash, |mapped| mapped.to_string()),
            report.sends.to_string(),
        ]);
    }
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; 5] = core::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
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

const fn reason(rule: Rule) -> &'static str {
    match rule {
        Rule::PortsOfOneServerDiffer => {
            "Decided by: two ports of one server saw different mappings"
        }
        Rule::ServersAgree => {
            "Decided by: servers at different addresses saw one and the same mapping"
        }
        Rule::ServersDifferPortsAgree => {
            "Decided by: servers at different addresses saw different mappings, ports of one agreed"
        }
        Rule::ServersDiffer => "Decided by: servers saw different mappings",
        Rule::MappedIsLocal => "Decided by: the mapped address is one of this host's own",
        Rule::AskedNoneAnswered => {
            "Decided by: servers at two or more addresses timed out, and nothing was heard"
        }
        Rule::NoReflexiveCandidate => "Decided by: no reflexive candidate",
        Rule::TooFewServers => "Not decided: fewer than two server addresses answered",
        Rule::Truncated => "Not decided: more servers answered than can be compared",
        Rule::Contradictory => {
            "Not decided: servers at two addresses saw one mapping, and another server a different one"
        }
        Rule::SeenFromInside => "Not decided: no server saw this host from outside",
        Rule::SeveralWays => {
            "Not decided: servers saw different mappings, perhaps of different ways out of this host"
        }
        Rule::LocalsUnknown => "Not decided: not every local address is known",
        Rule::NothingObserved => "Not decided: there was nothing to observe",
        _ => "Decided by a rule this program does not know",
    }
}

fn to_json(gathering: &Gathering, summary: &NatSummary) -> Json {
    let counts = summary.counts();
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
            "rule": summary.rule().as_str(),
        },
        "servers": servers,
        "elapsed_ms": millis(gathering.elapsed),
    })
}
