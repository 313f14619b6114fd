//! The one place where the tests of the rules meet the judge: plain facts go in, plain verdicts come
//! out.

use std::net::SocketAddr;

use nat_summary::{
    Address, Candidate, CandidateKind, Checks, Evidence, ExpectedPath, FailureCause, Filtering,
    FilteringSeen, Mapping, NatSummary, NatType, Observation, Outcome, Outlook, PeerEvidence,
    Pooling, PortAllocation, Scope, SentBefore, ServerId, UnsolicitedCheck,
};

use crate::plain::{
    Allocates, BaseVerdict, Checked, Door, End, Expect, Facts, Filters, Kind, List, Listed,
    ListedKind, Maps, Pools, Seen, Server, Verdict, Words,
};

/// The evidence of a gathering.
pub fn evidence(facts: &Facts) -> Evidence {
    let mut evidence = Evidence::new();
    for ip in &facts.locals {
        evidence.add_local(*ip);
    }
    for (server, end) in &facts.asked {
        evidence.record_outcome(server_id(*server), outcome(*end));
    }
    for seen in &facts.seen {
        if seen.resent {
            evidence.observe_resent(observation(seen));
        } else {
            evidence.observe(observation(seen));
        }
    }
    let closed = facts.asked.iter().filter(|(_, end)| *end == End::Closed);
    for _ in 0..closed.count() + facts.rejected as usize {
        evidence.add_sign_of_life();
    }
    evidence
}

/// Silence after one copy, or without a full wait, means nothing. An ICMP error of the server itself
/// is a sign of life beside its outcome.
fn outcome(end: End) -> Outcome {
    match end {
        End::Pending => Outcome::Pending,
        End::Brief => Outcome::GivenUp,
        End::Unresolved => Outcome::Unresolved,
        End::Unreachable | End::Closed => Outcome::Unreachable,
        End::TimedOut => Outcome::TimedOut,
        End::Refused => Outcome::Refused,
        End::Answered => Outcome::Answered,
    }
}

fn observation(seen: &Seen) -> Observation {
    Observation {
        base: seen.base,
        server: server_id(seen.server),
        mapped: seen.mapped,
        sequence: seen.sequence,
    }
}

/// The number of servers asked, where gathering is known to be complete.
fn complete(evidence: Evidence, asked: Option<u16>) -> Evidence {
    match asked {
        Some(asked) => evidence.with_complete_gathering(asked),
        None => evidence,
    }
}

fn server_id(server: Server) -> ServerId {
    match server {
        Server::At(address) => address.into(),
        Server::Named(name, port) => ServerId::named(name, port),
        Server::Unnamed => ServerId::Anonymous(0),
    }
}

/// The evidence of a candidate list.
pub fn list(list: &List) -> Evidence {
    let urls: Vec<_> = list.candidates.iter().map(url).collect();
    // a repeated line has another foundation, as in a re-INVITE
    let foundations: Vec<_> = (0..urls.len()).map(|n| n.to_string()).collect();
    let extensions = list.candidates.iter().map(|listed| {
        let session = listed.session.map(|session| format!("ufrag {session}"));
        session.unwrap_or_default()
    });
    let extensions: Vec<_> = extensions.collect();
    let numbered = list.candidates.iter().enumerate();
    let candidates = numbered.map(|(n, listed)| Candidate {
        foundation: &foundations[n],
        extensions: &extensions[n],
        ..candidate(listed, urls[n].as_deref())
    });
    let evidence = match list.door {
        Door::Values => Evidence::from_candidates(candidates),
        Door::Text => {
            // as an object of a dump, where there is a URL
            let line = |candidate: Candidate<'_>| match candidate.url {
                Some(url) => format!("{{\"candidate\":\"{candidate}\",\"url\":\"{url}\"}}\n"),
                None => format!("a={candidate}\r\n"),
            };
            Evidence::from_text(&candidates.map(line).collect::<String>())
        }
    };
    complete(evidence, list.asked)
}

fn url(listed: &Listed) -> Option<String> {
    match listed.server {
        Server::At(address) => Some(format!("stun:{address}")),
        Server::Named(name, port) => Some(format!("stun:{name}:{port}")),
        Server::Unnamed => None,
    }
}

fn candidate<'a>(listed: &Listed, url: Option<&'a str>) -> Candidate<'a> {
    let at = |address: SocketAddr| (Address::Ip(address.ip()), address.port());
    let (address, port) = listed
        .address
        .map_or((Address::Name("5f9a7c0e.local"), 50_000), at);
    let (kind, related) = match listed.kind {
        ListedKind::Host => (CandidateKind::Host, None),
        ListedKind::Reflexive(base) => (CandidateKind::ServerReflexive, Some(at(base))),
        ListedKind::Relayed => (CandidateKind::Relayed, None),
    };
    Candidate {
        kind,
        address,
        port,
        related,
        url,
        ..Candidate::default()
    }
}

/// The evidence of candidate lines, handed in as values.
pub fn lines<'a>(lines: impl IntoIterator<Item = &'a String>, asked: Option<u16>) -> Evidence {
    let candidates = lines
        .into_iter()
        .map(|line| Candidate::parse(line).expect("a line of the vectors"));
    complete(Evidence::from_candidates(candidates), asked)
}

/// A candidate line as plain data.
pub fn listed(line: &str) -> Listed {
    let candidate = Candidate::parse(line).expect("a line of the vectors");
    Listed {
        kind: match (candidate.kind, candidate.base()) {
            (CandidateKind::Host, _) => ListedKind::Host,
            (CandidateKind::ServerReflexive, Some(base)) => ListedKind::Reflexive(base),
            other => panic!("no kind that the vectors have: {other:?}"),
        },
        address: candidate.socket_addr(),
        server: Server::Unnamed,
        session: None,
    }
}

/// The evidence of a text.
pub fn text(text: &str) -> Evidence {
    Evidence::from_text(text)
}

/// The order of servers that are known by name: where two tie, the judge takes the lower one.
pub fn name_order(name: &'static str) -> impl Ord {
    server_id(Server::Named(name, 0))
}

/// Forgets the observations of requests before `sequence`.
pub fn forget_before(evidence: &mut Evidence, sequence: u32) {
    evidence.forget(|observation| observation.sequence < sequence);
}

/// How far an address reaches, by name.
pub fn scope(ip: &str) -> &'static str {
    Scope::of(ip.parse().expect("an address")).as_str()
}

/// The filtering that a check of the peer proves, which came in from `source`, where nothing had
/// been sent to. `reported`: the mapping that the peer saw and reported.
pub fn filtering(
    facts: &Facts,
    base: SocketAddr,
    source: SocketAddr,
    reported: Option<SocketAddr>,
) -> FilteringSeen {
    let mut peer = PeerEvidence::new();
    peer.record_unsolicited(UnsolicitedCheck {
        base,
        source,
        sent_before: SentBefore::Never,
    });
    if let Some(mapped) = reported {
        peer.observe(Observation {
            base,
            server: source.into(),
            mapped,
            sequence: 1_000,
        });
    }
    peer.summary(&evidence(facts)).filtering
}

/// The verdict on the evidence.
pub fn verdict(evidence: &Evidence) -> Verdict {
    let summary = evidence.summary();
    Verdict {
        kind: match summary.nat_type() {
            NatType::Open => Kind::Open,
            NatType::UdpBlocked => Kind::Blocked,
            NatType::Symmetric => Kind::Symmetric,
            NatType::Unknown => Kind::Unknown,
            _ => Kind::Cone,
        },
        rule: summary.rule().as_str(),
        pools: match summary.pooling() {
            Pooling::Paired => Pools::Paired,
            Pooling::Arbitrary => Pools::Arbitrary,
            _ => Pools::Unknown,
        },
        bases: summary.bases().map(base_verdict).collect(),
    }
}

fn base_verdict(verdict: &nat_summary::BaseVerdict) -> BaseVerdict {
    BaseVerdict {
        base: verdict.base,
        external: verdict.external,
        maps: match verdict.mapping {
            Mapping::EndpointIndependent => Maps::Independent,
            Mapping::AddressDependent => Maps::ByAddress,
            Mapping::AddressAndPortDependent => Maps::ByPort,
            Mapping::Dependent => Maps::Differs,
            _ => Maps::Unknown,
        },
        rule: verdict.rule.as_str(),
        natted: verdict.natted,
        port_kept: verdict.port_preserved,
        allocates: match verdict.allocation {
            PortAllocation::Preserving => Allocates::Preserving,
            PortAllocation::Sequential { step } => Allocates::Sequential(step),
            PortAllocation::Random => Allocates::Random,
            _ => Allocates::Unknown,
        },
    }
}

/// A gathering, and the filtering of its NAT where something else has shown it.
pub type Host<'a> = (&'a Facts, Option<Filters>);

fn summary((facts, filters): Host<'_>) -> NatSummary {
    let summary = evidence(facts).summary();
    match filters {
        None => summary,
        Some(Filters::Independent) => summary.with_filtering(Filtering::EndpointIndependent),
        Some(Filters::ByAddress) => summary.with_filtering(Filtering::AddressDependent),
        Some(Filters::ByPort) => summary.with_filtering(Filtering::AddressAndPortDependent),
    }
}

/// The outlook for two hosts, and the reason.
pub fn outlook(ours: Host<'_>, theirs: Host<'_>) -> (Expect, &'static str) {
    let outlook = Outlook::between(&summary(ours), &summary(theirs));
    let expect = match outlook.path {
        ExpectedPath::Direct => Expect::Direct,
        ExpectedPath::Relay => Expect::Relay,
        _ => Expect::Undecided,
    };
    (expect, outlook.reason.as_str())
}

/// Why an attempt failed, from our gathering, the peer's candidates and the checks.
pub fn cause(ours: Host<'_>, theirs: &List, checked: Checked) -> &'static str {
    let checks = Checks {
        sent: checked.sent,
        answered: checked.answered,
        received: checked.received,
        sent_since_received: checked.sent_since_received,
        ..Checks::default()
    };
    FailureCause::of(&summary(ours), Some(&list(theirs)), checks, false).as_str()
}

/// The six values that go out, in the words in which they do.
#[must_use]
pub fn words(evidence: &Evidence) -> Words {
    let summary = evidence.summary();
    Words {
        natted: summary.is_natted(),
        mapping: summary.mapping().as_legacy(),
        filtering: summary.filtering().as_legacy(),
        port_kept: summary.port_preserved(),
        kind: summary.nat_type().as_legacy(),
        external: summary.external_ip(),
    }
}
