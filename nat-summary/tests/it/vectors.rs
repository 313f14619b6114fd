//! Every case of `tests/data/summary.json`, through the door its input belongs to.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use nat_worlds::door;
use nat_worlds::plain::{Door, End, Facts, Kind, List, Maps, Seen, Server, Verdict, Words};

#[derive(Deserialize)]
struct Case {
    name: String,
    candidates: Option<Vec<String>>,
    /// The number of servers that a complete gathering asked.
    asked: Option<u16>,
    evidence: Option<Parts>,
    expect: Written,
}

/// The six values as the data files write them.
#[derive(Debug, PartialEq, Deserialize)]
struct Written {
    is_natted: Option<bool>,
    mapping_behavior: String,
    filtering_behavior: String,
    port_preservation: Option<bool>,
    nat_type: String,
    external_ip: Option<IpAddr>,
}

impl From<Words> for Written {
    fn from(words: Words) -> Self {
        Self {
            is_natted: words.natted,
            mapping_behavior: words.mapping.into(),
            filtering_behavior: words.filtering.into(),
            port_preservation: words.port_kept,
            nat_type: words.kind.into(),
            external_ip: words.external,
        }
    }
}

/// A gathering as the data files write it.
#[derive(Deserialize)]
pub(crate) struct Parts {
    hosts: Vec<IpAddr>,
    servers: Vec<Asked>,
    observations: Vec<Observed>,
}

#[derive(Deserialize)]
struct Asked {
    server: String,
    outcome: String,
}

#[derive(Deserialize)]
struct Observed {
    base: SocketAddr,
    server: String,
    mapped: SocketAddr,
}

impl Parts {
    pub(crate) fn facts(&self) -> Facts {
        let asked = |asked: &Asked| (server(&asked.server), end(&asked.outcome));
        let seen = |(sequence, seen): (u32, &Observed)| Seen {
            base: seen.base,
            server: server(&seen.server),
            mapped: seen.mapped,
            sequence,
            resent: false,
        };
        Facts {
            locals: self.hosts.clone(),
            asked: self.servers.iter().map(asked).collect(),
            seen: (0..).zip(&self.observations).map(seen).collect(),
            rejected: 0,
        }
    }
}

fn end(name: &str) -> End {
    match name {
        "answered" => End::Answered,
        "timeout" => End::TimedOut,
        "unreachable" => End::Unreachable,
        "unresolved" => End::Unresolved,
        "refused" => End::Refused,
        other => panic!("no such outcome: {other}"),
    }
}

fn server(text: &str) -> Server {
    text.parse().map_or_else(
        |_| {
            let (host, port) = text.rsplit_once(':').unwrap();
            // a test's handful of names
            Server::Named(host.to_owned().leak(), port.parse().unwrap())
        },
        Server::At,
    )
}

fn reversed(facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    facts.locals.reverse();
    facts.asked.reverse();
    facts.seen.reverse();
    facts
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../data/summary.json")).unwrap()
}

pub(crate) enum Input {
    Facts(Facts),
    List(List),
}

/// Every vector through another reading than the judge's.
pub(crate) fn read_by(read: impl Fn(Input) -> Verdict) {
    for case in cases() {
        let input = match (&case.candidates, &case.evidence) {
            (Some(lines), None) => Input::List(List {
                door: Door::Values,
                candidates: lines.iter().map(|line| door::listed(line)).collect(),
                asked: case.asked,
            }),
            (_, Some(parts)) => Input::Facts(parts.facts()),
            _ => panic!("{}: one input, please", case.name),
        };
        assert_eq!(
            Written::from(words(&read(input))),
            case.expect,
            "{}",
            case.name
        );
    }
}

/// A verdict in the words that go out.
fn words(verdict: &Verdict) -> Words {
    Words {
        natted: verdict.natted(),
        mapping: match verdict.maps() {
            Maps::Unknown => "unspecified",
            Maps::Independent => "independent",
            Maps::ByAddress => "address dependent",
            Maps::ByPort | Maps::Differs => "address-port dependent",
        },
        filtering: "unspecified",
        port_kept: verdict.port_kept(),
        kind: match verdict.kind {
            Kind::Unknown => "Unknown",
            Kind::Open => "Open to the Internet",
            Kind::Cone => "Cone NAT",
            Kind::Symmetric => "Symmetric NAT",
            Kind::Blocked => "UDP blocked by firewall",
        },
        external: verdict.external(),
    }
}

#[test]
fn every_vector_is_judged_as_written_whatever_the_order() {
    let cases = cases();
    assert_eq!(cases.len(), 39, "a case was lost");
    let mut wrong = Vec::new();
    for case in &cases {
        let (forward, backward) = match (&case.candidates, &case.evidence) {
            (Some(lines), None) => (
                door::lines(lines, case.asked),
                door::lines(lines.iter().rev(), case.asked),
            ),
            (None, Some(parts)) => {
                let facts = parts.facts();
                (door::evidence(&facts), door::evidence(&reversed(&facts)))
            }
            _ => panic!("{}: one input, please", case.name),
        };
        let got = Written::from(door::words(&forward));
        assert_eq!(
            got,
            Written::from(door::words(&backward)),
            "{}: order matters",
            case.name
        );
        if got != case.expect {
            wrong.push(format!(
                "{}:\n  want {:?}\n  got  {got:?}",
                case.name, case.expect
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
