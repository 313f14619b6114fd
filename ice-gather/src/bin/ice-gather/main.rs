//! `ice-gather`: asks STUN servers from one socket and reports what the NAT in front of it does.

mod from_capture;
#[cfg(feature = "manual")]
mod manual;
mod options;
mod timeline;
mod words;

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
use crate::words::{millis, outcome, reason, table};

/// Most servers asked to help with filtering.
const MAX_FILTERING_SERVERS: usize = 3;

fn main() -> ExitCode {
    let options = Options::from_arguments();
    if let Some(file) = &options.from_capture {
        return match from_capture::report(file, options.redact, options.json) {
            Ok(text) => {
                print(&text);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("ice-gather: {error}");
                ExitCode::FAILURE
            }
        };
    }
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
        (_, Mapping::Unknown) => "The observations do not show whether direct connections work.",
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
