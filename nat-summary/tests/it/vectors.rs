//! Every case of `tests/data/summary.json`, through the door its input belongs to.

use std::net::{IpAddr, SocketAddr};

use nat_summary::{Candidate, Evidence, NatSummary, Observation, Outcome, ServerId};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    candidates: Option<Vec<String>>,
    evidence: Option<CaseEvidence>,
    /// The number of servers that a complete gathering asked.
    asked: Option<u16>,
    expect: Expect,
}

#[derive(Deserialize)]
struct CaseEvidence {
    hosts: Vec<IpAddr>,
    servers: Vec<CaseServer>,
    #[serde(default)]
    observations: Vec<CaseObservation>,
}

#[derive(Deserialize)]
struct CaseServer {
    server: String,
    outcome: String,
}

#[derive(Deserialize)]
struct CaseObservation {
    base: SocketAddr,
    server: String,
    mapped: SocketAddr,
}

#[derive(Deserialize, Debug, PartialEq)]
struct Expect {
    is_natted: Option<bool>,
    mapping_behavior: String,
    filtering_behavior: String,
    port_preservation: Option<bool>,
    nat_type: String,
    external_ip: Option<IpAddr>,
}

impl From<NatSummary> for Expect {
    fn from(summary: NatSummary) -> Self {
        Self {
            is_natted: summary.is_natted(),
            mapping_behavior: summary.mapping().as_legacy().into(),
            filtering_behavior: summary.filtering().as_legacy().into(),
            port_preservation: summary.port_preserved(),
            nat_type: summary.nat_type().as_legacy().into(),
            external_ip: summary.external_ip(),
        }
    }
}

fn outcome(name: &str) -> Outcome {
    match name {
        "answered" => Outcome::Answered,
        "timeout" => Outcome::TimedOut,
        "unreachable" => Outcome::Unreachable,
        "unresolved" => Outcome::Unresolved,
        "refused" => Outcome::Refused,
        other => panic!("no such outcome: {other}"),
    }
}

fn server(text: &str) -> ServerId {
    text.parse::<SocketAddr>().map_or_else(
        |_| {
            let (host, port) = text.rsplit_once(':').unwrap();
            ServerId::named(host, port.parse().unwrap())
        },
        ServerId::from,
    )
}

fn from_candidates<'a>(
    lines: impl IntoIterator<Item = &'a String>,
    asked: Option<u16>,
) -> Evidence {
    let evidence = Evidence::from_candidates(
        lines
            .into_iter()
            .map(|line| Candidate::parse(line).unwrap()),
    );
    match asked {
        Some(asked) => evidence.with_complete_gathering(asked),
        None => evidence,
    }
}

fn from_parts(parts: &CaseEvidence, reversed: bool) -> Evidence {
    type Step<'a> = Box<dyn Fn(&mut Evidence) + 'a>;
    let mut steps: Vec<Step<'_>> = Vec::new();
    for host in &parts.hosts {
        steps.push(Box::new(|e| {
            e.add_local(*host);
        }));
    }
    for asked in &parts.servers {
        steps.push(Box::new(|e| {
            e.record_outcome(server(&asked.server), outcome(&asked.outcome));
        }));
    }
    for (sequence, o) in (0..).zip(&parts.observations) {
        steps.push(Box::new(move |e| {
            e.observe(Observation {
                base: o.base,
                server: server(&o.server),
                mapped: o.mapped,
                sequence,
            });
        }));
    }
    if reversed {
        steps.reverse();
    }
    let mut evidence = Evidence::new();
    steps.iter().for_each(|step| step(&mut evidence));
    evidence
}

#[test]
fn every_vector_is_judged_as_written_whatever_the_order() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../data/summary.json")).unwrap();
    assert_eq!(cases.len(), 39, "a case was lost");
    let mut wrong = Vec::new();
    for case in &cases {
        let (forward, backward) = match (&case.candidates, &case.evidence) {
            (Some(lines), None) => (
                from_candidates(lines, case.asked),
                from_candidates(lines.iter().rev(), case.asked),
            ),
            (None, Some(parts)) => (from_parts(parts, false), from_parts(parts, true)),
            _ => panic!("{}: one input, please", case.name),
        };
        assert_eq!(
            forward.summary(),
            backward.summary(),
            "{}: order matters",
            case.name
        );
        let got = Expect::from(forward.summary());
        if got != case.expect {
            wrong.push(format!(
                "{}:\n  want {:?}\n  got  {got:?}",
                case.name, case.expect
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
