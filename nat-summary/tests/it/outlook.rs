//! The outlook table, against two NATs and two ICE agents that really exchange packets.

use std::net::SocketAddr;

use nat_model::{Behaviour, Dependence, FilterState, Nat, PortAssignment};
use nat_summary::{
    Candidate, Evidence, ExpectedPath, Filtering, Mapping, NatSummary, Observation, Outcome,
    Outlook, OutlookReason, Pooling, ServerId,
};

const FILTERINGS: [Filtering; 4] = [
    Filtering::Unknown,
    Filtering::EndpointIndependent,
    Filtering::AddressDependent,
    Filtering::AddressAndPortDependent,
];
const MAPPINGS: [Mapping; 5] = [
    Mapping::Unknown,
    Mapping::EndpointIndependent,
    Mapping::AddressDependent,
    Mapping::AddressAndPortDependent,
    Mapping::Dependent,
];

/// A summary with this mapping and filtering, of a host whose external address ends in `host`.
fn summary(mapping: Mapping, filtering: Filtering, host: u8) -> NatSummary {
    // server address, server port, mapped port
    let seen: &[(u8, u16, u16)] = match mapping {
        Mapping::Unknown => &[(1, 1, 1)],
        Mapping::EndpointIndependent => &[(1, 1, 1), (2, 1, 1)],
        Mapping::AddressDependent => &[(1, 1, 1), (1, 2, 1), (2, 1, 2)],
        Mapping::AddressAndPortDependent => &[(1, 1, 1), (1, 2, 2)],
        _ => &[(1, 1, 1), (2, 1, 2)],
    };
    let mut evidence = Evidence::new();
    for (sequence, (address, port, mapped)) in (0..).zip(seen) {
        evidence.observe(Observation {
            base: "192.168.1.5:50000".parse().unwrap(),
            server: ServerId::Address([198, 51, 100, *address].into(), *port),
            mapped: ([203, 0, 113, host], *mapped).into(),
            sequence,
        });
    }
    let summary = evidence.summary().with_filtering(filtering);
    assert_eq!(
        (summary.mapping(), summary.filtering()),
        (mapping, filtering)
    );
    summary
}

/// A host behind a NAT of its own, and what it knows of the other.
struct Host {
    nat: Nat,
    targets: Vec<SocketAddr>,
    connected: bool,
}

impl Host {
    fn new(address: u8, (mapping, filtering, state): (Mapping, Filtering, FilterState)) -> Self {
        let mapping = match mapping {
            Mapping::EndpointIndependent => Dependence::EndpointIndependent,
            Mapping::AddressDependent => Dependence::AddressDependent,
            _ => Dependence::AddressAndPortDependent,
        };
        let filtering = match filtering {
            Filtering::EndpointIndependent => Dependence::EndpointIndependent,
            Filtering::AddressDependent => Dependence::AddressDependent,
            _ => Dependence::AddressAndPortDependent,
        };
        let behaviour = Behaviour::new(mapping, filtering)
            .with_filter_state(state)
            .with_assignment(PortAssignment::Sequential {
                step: 1,
                traffic: 0,
            });
        Self {
            nat: Nat::new(behaviour, vec![[203, 0, 113, address].into()], 20_000),
            targets: Vec::new(),
            connected: false,
        }
    }

    fn send(&mut self, to: SocketAddr) -> SocketAddr {
        let base = ([192, 168, 1, 5], 50_000).into();
        self.nat.outward(base, to, &mut |_| 0)
    }

    fn hears(&self, at: SocketAddr, from: SocketAddr) -> bool {
        self.nat.inward(at, from).is_some()
    }
}

type Side = (Mapping, Filtering, FilterState);

/// Whether two ICE agents behind these NATs connect: both check what they know, and learn every
/// source they hear from (RFC 8445 section 7.3.1.3); a check succeeds if its answer comes from
/// where it went (section 7.2.5.2.1).
fn connects(ours: Side, theirs: Side) -> bool {
    let mut hosts = [Host::new(7, ours), Host::new(8, theirs)];
    let server = ([198, 51, 100, 1], 3478).into();
    let advertised = [hosts[0].send(server), hosts[1].send(server)];
    hosts[0].targets.push(advertised[1]);
    hosts[1].targets.push(advertised[0]);
    for turn in 0..20 {
        let (me, peer) = (turn % 2, 1 - turn % 2);
        for target in hosts[me].targets.clone() {
            let from = hosts[me].send(target);
            if !hosts[peer].hears(target, from) {
                continue;
            }
            if !hosts[peer].targets.contains(&from) {
                hosts[peer].targets.push(from);
            }
            let answered_from = hosts[peer].send(from);
            hosts[me].connected |= hosts[me].hears(from, answered_from) && answered_from == target;
        }
    }
    hosts.iter().all(|host| host.connected)
}

fn simulated(ours: (Mapping, Filtering), theirs: (Mapping, Filtering)) -> ExpectedPath {
    use FilterState::{OfInternalEndpoint, OfMapping};
    let ways = [
        (OfInternalEndpoint, OfInternalEndpoint),
        (OfInternalEndpoint, OfMapping),
        (OfMapping, OfInternalEndpoint),
        (OfMapping, OfMapping),
    ];
    let worked = ways.map(|(a, b)| connects((ours.0, ours.1, a), (theirs.0, theirs.1, b)));
    match worked {
        [true, true, true, true] => ExpectedPath::Direct,
        [false, false, false, false] => ExpectedPath::Relay,
        _ => ExpectedPath::Undecided,
    }
}

#[test]
fn every_known_pair_comes_out_as_the_simulation_does() {
    let known = || {
        MAPPINGS[1..4].iter().flat_map(|mapping| {
            FILTERINGS[1..]
                .iter()
                .map(move |filtering| (*mapping, *filtering))
        })
    };
    for ours in known() {
        for theirs in known() {
            let outlook =
                Outlook::between(&summary(ours.0, ours.1, 7), &summary(theirs.0, theirs.1, 8));
            assert_eq!(
                outlook.path,
                simulated(ours, theirs),
                "{ours:?} and {theirs:?}"
            );
        }
    }
}

/// One letter per pair: direct, relay, or `?`.
fn table() -> String {
    let sides = || {
        MAPPINGS
            .into_iter()
            .flat_map(|mapping| FILTERINGS.into_iter().map(move |f| (mapping, f)))
    };
    let name = |(mapping, filtering): (Mapping, Filtering)| {
        let mapping =
            ["?", "I", "A", "P", "D"][MAPPINGS.iter().position(|m| *m == mapping).unwrap()];
        let filtering =
            ["?", "i", "a", "p"][FILTERINGS.iter().position(|f| *f == filtering).unwrap()];
        format!("{mapping}{filtering}")
    };
    let mut table = format!("   {}\n", sides().map(name).collect::<Vec<_>>().join(" "));
    for ours in sides() {
        let row: Vec<_> = sides()
            .map(|theirs| {
                let (us, them) = (summary(ours.0, ours.1, 7), summary(theirs.0, theirs.1, 8));
                let outlook = Outlook::between(&us, &them);
                assert_eq!(
                    outlook,
                    Outlook::between(&them, &us),
                    "the two sides disagree"
                );
                let because = match outlook.reason {
                    OutlookReason::BothIndependent => "i",
                    OutlookReason::LetIn => "l",
                    OutlookReason::PortFiltered => "p",
                    OutlookReason::BothDependent => "d",
                    OutlookReason::MappingUnknown => "m",
                    OutlookReason::FilteringUnknown => "f",
                    OutlookReason::DetailUnknown => "x",
                    other => panic!("{other:?} is no reason here"),
                };
                let path = match outlook.path {
                    ExpectedPath::Direct => "D",
                    ExpectedPath::Relay => "R",
                    _ => "?",
                };
                format!("{path}{because}")
            })
            .collect();
        table += &format!("{} {}\n", name(ours), row.join(" "));
    }
    table
}

/// Mapping (`I`ndependent, `A`ddress, `P`ort or otherwise `D`ependent) and filtering of both sides;
/// the path (`D`irect, `R`elay) and the first letter of the reason.
const TABLE: &str = "   ?? ?i ?a ?p I? Ii Ia Ip A? Ai Aa Ap P? Pi Pa Pp D? Di Da Dp
?? ?m ?m ?m ?m ?m Dl Dl ?m ?m ?m ?m ?m ?m ?m ?m ?m ?m ?m ?m ?m
?i ?m ?m ?m ?m ?m Dl Dl ?m ?m Dl Dl ?m ?m ?m ?m ?m ?m ?m ?m ?m
?a ?m ?m ?m ?m ?m Dl Dl ?m ?m Dl ?m ?m ?m ?m ?m ?m ?m ?m ?m ?m
?p ?m ?m ?m ?m ?m Dl Dl ?m Rp Rp Rp Rp Rp Rp Rp Rp Rp Rp Rp Rp
I? ?m ?m ?m ?m Di Di Di Di ?f ?f ?f ?f ?f ?f ?f ?f ?f ?f ?f ?f
Ii Dl Dl Dl Dl Di Di Di Di Dl Dl Dl Dl Dl Dl Dl Dl Dl Dl Dl Dl
Ia Dl Dl Dl Dl Di Di Di Di Dl Dl Dl Dl Dl Dl Dl Dl Dl Dl Dl Dl
Ip ?m ?m ?m ?m Di Di Di Di Rp Rp Rp Rp Rp Rp Rp Rp Rp Rp Rp Rp
A? ?m ?m ?m Rp ?f Dl Dl Rp Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd
Ai ?m Dl Dl Rp ?f Dl Dl Rp Rd Dl Dl Rd Rd Dl Dl Rd Rd Dl Dl Rd
Aa ?m Dl ?m Rp ?f Dl Dl Rp Rd Dl ?x Rd Rd Dl ?x Rd Rd Dl ?x Rd
Ap ?m ?m ?m Rp ?f Dl Dl Rp Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd
P? ?m ?m ?m Rp ?f Dl Dl Rp Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd
Pi ?m ?m ?m Rp ?f Dl Dl Rp Rd Dl Dl Rd Rd Rd Rd Rd Rd ?x ?x Rd
Pa ?m ?m ?m Rp ?f Dl Dl Rp Rd Dl ?x Rd Rd Rd Rd Rd Rd ?x ?x Rd
Pp ?m ?m ?m Rp ?f Dl Dl Rp Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd
D? ?m ?m ?m Rp ?f Dl Dl Rp Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd
Di ?m ?m ?m Rp ?f Dl Dl Rp Rd Dl Dl Rd Rd ?x ?x Rd Rd ?x ?x Rd
Da ?m ?m ?m Rp ?f Dl Dl Rp Rd Dl ?x Rd Rd ?x ?x Rd Rd ?x ?x Rd
Dp ?m ?m ?m Rp ?f Dl Dl Rp Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd Rd
";

#[test]
fn the_whole_table_is_as_written_and_the_same_from_both_sides() {
    let table = table();
    assert!(table == TABLE, "the outlook changed:\n{table}");
}

#[test]
fn what_is_beyond_mapping_and_filtering_is_named() {
    let cone = |host| summary(Mapping::EndpointIndependent, Filtering::Unknown, host);
    let outlook = |ours: &NatSummary, theirs: &NatSummary| {
        let outlook = Outlook::between(ours, theirs);
        assert_eq!(outlook, Outlook::between(theirs, ours));
        (outlook.path, outlook.reason)
    };
    let mut evidence = Evidence::new();
    let nothing = evidence.summary();
    evidence.add_local([192, 168, 1, 5].into());
    for n in [1, 2] {
        let server = ServerId::Address([198, 51, 100, n].into(), 3478);
        evidence.record_outcome(server, Outcome::TimedOut);
    }
    assert_eq!(
        outlook(&cone(7), &evidence.summary()),
        (ExpectedPath::Relay, OutlookReason::UdpBlocked)
    );
    assert_eq!(
        outlook(&nothing, &evidence.summary()),
        (ExpectedPath::Relay, OutlookReason::UdpBlocked)
    );
    let open = summary(
        Mapping::EndpointIndependent,
        Filtering::EndpointIndependent,
        7,
    );
    for theirs in [cone(7), open] {
        let told = outlook(&theirs, &nothing);
        assert_eq!(
            told,
            (ExpectedPath::Undecided, OutlookReason::MappingUnknown),
            "nothing shows that UDP leaves there"
        );
    }
    assert_eq!(
        outlook(&cone(7), &cone(7)),
        (ExpectedPath::Undecided, OutlookReason::SameExternalAddress)
    );
    let line = "candidate:2 1 udp 1 2001:db8::5 50000 typ srflx raddr 2001:db8::5 rport 50000";
    let open = Evidence::from_candidates([Candidate::parse(line).unwrap()]).summary();
    assert_eq!(
        outlook(&cone(7), &open),
        (ExpectedPath::Undecided, OutlookReason::FamiliesDiffer)
    );
    let line = "candidate:2 1 udp 1 203.0.113.9 50000 typ srflx raddr 203.0.113.9 rport 50000";
    let open = Evidence::from_candidates([Candidate::parse(line).unwrap()]).summary();
    assert_eq!(open.mapping(), Mapping::Unknown);
    assert_eq!(
        outlook(&cone(7), &open),
        (ExpectedPath::Direct, OutlookReason::BothIndependent),
        "nothing there that could map"
    );
}

#[test]
fn a_side_that_turns_up_with_another_address_passes_no_filter_by_address() {
    let by_address = summary(Mapping::EndpointIndependent, Filtering::AddressDependent, 7);
    let mut evidence = Evidence::new();
    for n in 0..3 {
        evidence.observe(Observation {
            base: "192.168.1.5:50000".parse().unwrap(),
            server: ServerId::Address([198, 51, 100, n].into(), 3478),
            mapped: ([192, 0, 2, n], 50_000).into(),
            sequence: n.into(),
        });
    }
    let arbitrary = evidence.summary();
    assert_eq!(arbitrary.pooling(), Pooling::Arbitrary);
    assert_eq!(
        Outlook::between(&by_address, &arbitrary).path,
        ExpectedPath::Undecided
    );
    let dependent = summary(Mapping::Dependent, Filtering::Unknown, 8);
    assert_eq!(
        Outlook::between(&by_address, &dependent).path,
        ExpectedPath::Direct
    );
}

/// A summary of these observations (base, server, mapped) and local addresses.
fn host(seen: &[(&str, &str, &str)], locals: &[&str]) -> NatSummary {
    let mut evidence = Evidence::new();
    for ip in locals {
        evidence.add_local(ip.parse().unwrap());
    }
    for (sequence, (base, server, mapped)) in (0..).zip(seen) {
        evidence.observe(Observation {
            base: base.parse().unwrap(),
            server: server.parse::<SocketAddr>().unwrap().into(),
            mapped: mapped.parse().unwrap(),
            sequence,
        });
    }
    evidence.summary()
}

/// A symmetric NAT in IPv4, by three servers, so that this base is the primary one.
fn symmetric_v4(external: &str) -> Vec<(&'static str, &'static str, String)> {
    [
        ("198.51.100.1:3478", 1),
        ("198.51.100.2:3478", 2),
        ("198.51.100.3:3478", 3),
    ]
    .map(|(server, port)| ("192.168.1.5:50000", server, format!("{external}:{port}")))
    .into()
}

fn with_v6(external: &str, v6: Option<&'static str>, locals: &[&str]) -> NatSummary {
    let mut seen = symmetric_v4(external);
    for server in ["[2001:db8:9::1]:3478", "[2001:db8:9::2]:3478"] {
        seen.extend(v6.map(|base| (base, server, base.to_owned())));
    }
    let seen: Vec<_> = seen.iter().map(|(b, s, m)| (*b, *s, m.as_str())).collect();
    host(&seen, locals)
}

#[test]
fn two_hosts_that_are_open_over_ipv6_need_no_relay_whatever_their_ipv4_nats_do() {
    let (one, two) = (Some("[2001:db8:1::5]:50000"), Some("[2001:db8:2::5]:50000"));
    let (ours, theirs) = (
        with_v6("203.0.113.7", one, &[]),
        with_v6("203.0.113.8", two, &[]),
    );
    assert_eq!(ours.mapping(), Mapping::Dependent, "the primary base");
    let outlook = |a: &NatSummary, b: &NatSummary| {
        let outlook = Outlook::between(a, b);
        assert_eq!(outlook, Outlook::between(b, a));
        (outlook.path, outlook.reason)
    };
    let direct = (ExpectedPath::Direct, OutlookReason::BothIndependent);
    let relay = (ExpectedPath::Relay, OutlookReason::BothDependent);
    let open = (ExpectedPath::Undecided, OutlookReason::MappingUnknown);
    assert_eq!(outlook(&ours, &theirs), direct);
    // a global address of which no server reports is a way as well, though nothing shows that it works
    let unseen = with_v6("203.0.113.8", None, &["192.168.1.5", "2001:db8:2::5"]);
    assert_eq!(outlook(&ours, &unseen), open);
    assert_eq!(
        outlook(&unseen, &with_v6("203.0.113.7", None, &["2001:db8:1::5"])),
        open
    );
    // one side alone cannot use it, and an address of its own network leads nowhere
    for locals in [&["192.168.1.5"][..], &["fd00::5"], &["fe80::5"]] {
        let only_v4 = with_v6("203.0.113.8", None, locals);
        assert_eq!(outlook(&ours, &only_v4), relay, "{locals:?}");
    }
}

#[test]
fn hosts_that_were_seen_from_inside_a_network_are_not_expected_to_meet_directly() {
    let inside = |external: &str| {
        let mapped = format!("{external}:50000");
        host(
            &[
                ("192.168.1.5:50000", "10.0.0.1:3478", &mapped),
                ("192.168.1.5:50000", "10.0.0.2:3478", &mapped),
            ],
            &[],
        )
    };
    let outside = summary(
        Mapping::EndpointIndependent,
        Filtering::EndpointIndependent,
        7,
    );
    for theirs in [inside("10.9.9.9"), outside] {
        assert_eq!(
            Outlook::between(&inside("10.8.8.8"), &theirs).path,
            ExpectedPath::Undecided
        );
    }
}
