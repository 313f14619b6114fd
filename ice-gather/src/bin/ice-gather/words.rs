//! The words of the program, for each way in.

use std::net::IpAddr;
use std::time::Duration;

use nat_summary::{NatSummary, Outcome, Rule};
use serde_json::{Value as Json, json};

pub(crate) const fn outcome(outcome: Outcome) -> &'static str {
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

pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

pub(crate) const fn reason(rule: Rule) -> &'static str {
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

/// Columns of their widest cell, two spaces apart.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = core::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// The six values that dashboards group by, under the names of this program.
pub(crate) fn summary(summary: &NatSummary, external_ip: Option<IpAddr>) -> Json {
    json!({
        "is_natted": summary.is_natted(),
        "mapping_behavior": summary.mapping().as_legacy(),
        "filtering_behavior": summary.filtering().as_legacy(),
        "port_preservation": summary.port_preserved(),
        "nat_type": summary.nat_type().as_legacy(),
        "external_ip": external_ip.map(|ip| ip.to_string()),
    })
}

/// How much evidence there was, and the rule that decided.
pub(crate) fn evidence(summary: &NatSummary) -> Json {
    let counts = summary.counts();
    json!({
        "asked": counts.asked,
        "answered": counts.answered,
        "server_addresses": counts.server_addresses,
        "observations": counts.observations,
        "bases": counts.bases,
        "rule": summary.rule().as_str(),
    })
}
