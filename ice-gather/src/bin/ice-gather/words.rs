//! The words of the program, for each way in.

use std::net::IpAddr;
use std::time::Duration;

use nat_summary::{Filtering, Mapping, NatSummary, NatType, Outcome, Rule};
use serde_json::{Value as Json, json};

use crate::ask::Asked;

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pending | Outcome::GivenUp => "not waited for",
        Outcome::Unresolved => "unresolved",
        Outcome::Unreachable => "unreachable",
        Outcome::TimedOut => "timed out",
        Outcome::Refused => "refused",
        Outcome::Answered => "answered",
        _ => "unknown",
    }
}

/// How a request ended, with the code of an error response.
pub(crate) fn ending(of: Outcome, error_code: Option<u16>) -> String {
    let ended = outcome(of);
    error_code.map_or_else(|| ended.to_owned(), |code| format!("{ended} ({code})"))
}

/// A round trip in a cell of a table.
pub(crate) fn round_trip(of: Option<Duration>) -> String {
    of.map_or_else(|| "-".to_owned(), |rtt| format!("{:.1} ms", millis(rtt)))
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

/// The part of a report that decides what it means for direct connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    nat_type: NatType,
    mapping: Mapping,
    rule: Rule,
    /// Servers that answered.
    answered: u16,
    /// The end of the request to every server, where all ended alike.
    all: Option<Outcome>,
}

impl Told {
    pub(crate) fn of(asked: &Asked) -> Self {
        let summary = &asked.summary;
        let first = asked.servers.first().map(|report| report.outcome);
        Self {
            nat_type: summary.nat_type(),
            mapping: summary.mapping(),
            rule: summary.rule(),
            answered: summary.counts().answered,
            all: first.filter(|of| asked.servers.iter().all(|report| report.outcome == *of)),
        }
    }
}

/// The meaning of the verdict for direct connections (RFC 5128 section 3.3).
pub(crate) const fn meaning(told: &Told) -> &'static str {
    match (told.nat_type, told.mapping, told.rule) {
        (NatType::Open, ..) => {
            "Peers can reach this host directly, as far as a firewall lets them."
        }
        (
            NatType::Cone
            | NatType::FullCone
            | NatType::AddressRestrictedCone
            | NatType::PortRestrictedCone,
            ..,
        ) => {
            "Direct connections work with most peers: the address other servers see is the one peers can use."
        }
        (NatType::Symmetric, ..) => {
            "Direct connections work only with peers whose NAT lets strangers in, or who have none; others need a relay."
        }
        (NatType::UdpBlocked, ..) => {
            "No direct connection over UDP is to be expected: every request was sent twice or more, and nothing came back."
        }
        _ if matches!(told.all, Some(Outcome::Unresolved)) => {
            "No server's name could be resolved: look at the network and its DNS first."
        }
        _ if matches!(told.all, Some(Outcome::Unreachable)) => {
            "No server can be reached: look at the network and its routes first."
        }
        (.., Rule::SeenFromInside) => {
            "All servers that answered are inside this network: name one outside."
        }
        (.., Rule::Contradictory) => {
            "One of the servers is wrong, or the network changed meanwhile: ask again, or name other servers."
        }
        (NatType::Unknown, Mapping::Unknown, _) if told.answered == 1 => {
            "One server cannot tell whether others are shown the same address: name a second one, on another address."
        }
        (_, Mapping::Unknown, _) => "The observations do not show whether direct connections work.",
        _ => "The mapping is known, but not whether a NAT makes it.",
    }
}

pub(crate) const fn filtering(filtering: Filtering) -> &'static str {
    match filtering {
        Filtering::EndpointIndependent => "It lets in packets from anywhere.",
        Filtering::AddressDependent => {
            "It lets in packets from addresses that were sent to before."
        }
        Filtering::AddressAndPortDependent => {
            "It lets in packets from addresses and ports that were sent to before."
        }
        _ => "How it filters could not be found out.",
    }
}

pub(crate) const fn mapping(mapping: Mapping) -> &'static str {
    match mapping {
        Mapping::EndpointIndependent => "one mapping for all destinations",
        Mapping::AddressDependent => "a mapping for each destination address",
        Mapping::AddressAndPortDependent => "a mapping for each destination address and port",
        Mapping::Unknown => "mapping not known",
        _ => "a mapping that depends on the destination",
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination, possible or not.
    fn all() -> impl Iterator<Item = Told> {
        let alls = [
            None,
            Some(Outcome::Unresolved),
            Some(Outcome::Unreachable),
            Some(Outcome::TimedOut),
        ];
        NatType::ALL.iter().flat_map(move |nat_type| {
            Mapping::ALL.iter().flat_map(move |mapping| {
                Rule::ALL.iter().flat_map(move |rule| {
                    alls.into_iter().flat_map(move |all| {
                        [0, 1, 2].map(move |answered| Told {
                            nat_type: *nat_type,
                            mapping: *mapping,
                            rule: *rule,
                            answered,
                            all,
                        })
                    })
                })
            })
        })
    }

    #[test]
    fn a_meaning_claims_no_more_than_the_type_proves() {
        for told in all() {
            let text = meaning(&told);
            let is_of = |types: &[NatType]| types.contains(&told.nat_type);
            let cones = [
                NatType::Cone,
                NatType::FullCone,
                NatType::AddressRestrictedCone,
                NatType::PortRestrictedCone,
            ];
            for (claim, proven) in [
                ("can reach this host", is_of(&[NatType::Open])),
                ("with most peers", is_of(&cones)),
                ("need a relay", is_of(&[NatType::Symmetric])),
                ("nothing came back", is_of(&[NatType::UdpBlocked])),
                ("inside this network", told.rule == Rule::SeenFromInside),
                (
                    "One of the servers is wrong",
                    told.rule == Rule::Contradictory,
                ),
                (
                    "name could be resolved",
                    told.all == Some(Outcome::Unresolved),
                ),
                ("can be reached", told.all == Some(Outcome::Unreachable)),
                // nobody sees which box drops a packet
                ("drop", false),
                ("between here", false),
                ("block", false),
            ] {
                assert!(proven || !text.contains(claim), "{told:?}: {text}");
            }
        }
    }

    #[test]
    fn each_rule_says_whether_it_decides() {
        for rule in Rule::ALL {
            let text = reason(*rule);
            let is_undecided = text.starts_with("Not decided: ");
            assert!(
                is_undecided || text.starts_with("Decided by: "),
                "{rule:?}: {text}"
            );
            assert_eq!(
                Rule::ALL
                    .iter()
                    .filter(|other| reason(**other) == text)
                    .count(),
                1,
                "{text}"
            );
        }
    }
}
