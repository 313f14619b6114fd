//! Verdicts beyond the vectors: what must stay unknown, what must be counted.

use std::net::SocketAddr;

use nat_summary::{
    Admission, Candidate, Evidence, MAX_BASES, MAX_OBSERVATIONS, MAX_SERVERS, Mapping, NatType, Observation, Outcome,
    Rule, ServerId,
};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn observed(list: &[(&str, &str, &str)]) -> Evidence {
    let mut evidence = Evidence::new();
    for (sequence, (base, server, mapped)) in (0..).zip(list) {
        evidence.observe(Observation { base: at(base), server: at(server).into(), mapped: at(mapped), sequence });
    }
    evidence
}

fn list(lines: &[&str]) -> Evidence {
    Evidence::from_candidates(lines.iter().map(|line| Candidate::parse(line).unwrap()))
}

#[test]
fn two_ports_of_one_address_never_prove_independence() {
    let evidence = observed(&[
        ("192.168.1.5:50000", "198.51.100.1:3478", "203.0.113.7:50000"),
        ("192.168.1.5:50000", "198.51.100.1:3479", "203.0.113.7:50000"),
        ("192.168.1.5:50000", "198.51.100.1:3480", "203.0.113.7:50000"),
    ]);
    assert_eq!(evidence.summary().mapping(), Mapping::Unknown);
    assert_eq!(evidence.summary().rule(), Rule::TooFewServers);
}

#[test]
fn an_ipv4_mapped_base_is_the_ipv4_base() {
    let evidence = observed(&[
        ("[::ffff:192.168.1.5]:50000", "198.51.100.1:3478", "203.0.113.7:50000"),
        ("192.168.1.5:50000", "[::ffff:198.51.100.2]:3478", "[::ffff:203.0.113.7]:50000"),
    ]);
    assert_eq!(evidence.summary().nat_type(), NatType::Cone);
    assert_eq!(evidence.summary().counts().bases, 1);
}

#[test]
fn the_latest_answer_of_a_server_stands_whatever_the_order() {
    let older = Observation {
        base: at("192.168.1.5:50000"),
        server: at("198.51.100.1:3478").into(),
        mapped: at("203.0.113.7:41000"),
        sequence: 3,
    };
    let newer = Observation { mapped: at("203.0.113.7:50000"), sequence: 9, ..older };
    let other = Observation { server: at("198.51.100.2:3478").into(), sequence: 4, ..newer };
    for order in [[older, newer, other], [newer, other, older], [other, older, newer]] {
        let mut evidence = Evidence::new();
        for o in order {
            evidence.observe(o);
        }
        assert_eq!(evidence.summary().mapping(), Mapping::EndpointIndependent);
    }
}

#[test]
fn impossible_mapped_addresses_are_counted_and_prove_no_blocking() {
    let base = "192.168.1.5:50000";
    let evidence = observed(&[
        (base, "198.51.100.1:3478", "0.0.0.0:50000"),
        (base, "198.51.100.2:3478", "224.0.0.1:50000"),
        (base, "198.51.100.3:3478", "255.255.255.255:50000"),
        (base, "198.51.100.4:3478", "203.0.113.7:0"),
        (base, "198.51.100.5:3478", "[ff02::1]:9"),
    ]);
    assert_eq!(evidence.discarded().impossible, 5);
    let mut evidence = evidence;
    evidence.asked(at("198.51.100.9:3478").into(), Outcome::TimedOut);
    assert_eq!(evidence.summary().nat_type(), NatType::Unknown, "five servers did answer");
    assert_eq!(evidence.summary().counts().answered, 5);
}

#[test]
fn an_error_answer_or_a_pending_one_is_not_blocked() {
    for outcome in [Outcome::Refused, Outcome::Pending] {
        let mut evidence = Evidence::new();
        evidence.asked(at("198.51.100.1:3478").into(), Outcome::TimedOut);
        evidence.asked(at("198.51.100.2:3478").into(), outcome);
        assert_eq!(evidence.summary().nat_type(), NatType::Unknown, "{outcome:?}");
    }
}

#[test]
fn a_stronger_outcome_replaces_a_weaker_one_only() {
    let server = ServerId::named("Stun.Example.org", 3478);
    assert_eq!(server, ServerId::named("stun.example.ORG", 3478));
    let mut evidence = Evidence::new();
    assert_eq!(evidence.asked(server, Outcome::TimedOut), Admission::Kept);
    assert_eq!(evidence.asked(server, Outcome::Answered), Admission::Kept);
    assert_eq!(evidence.asked(server, Outcome::Unreachable), Admission::Superseded);
    assert_eq!(evidence.servers(), [(server, Outcome::Answered)]);
}

#[test]
fn a_wildcard_base_with_only_the_other_familys_addresses_known_is_not_called_natted() {
    let mut evidence = observed(&[
        ("0.0.0.0:50000", "198.51.100.1:3478", "203.0.113.7:50000"),
        ("0.0.0.0:50000", "198.51.100.2:3478", "203.0.113.7:50000"),
    ]);
    evidence.local("2001:db8::5".parse().unwrap());
    assert_eq!(evidence.summary().is_natted(), None);
    assert_eq!(evidence.summary().nat_type(), NatType::Unknown);
    assert_eq!(evidence.summary().rule(), Rule::LocalsUnknown);
    evidence.local("192.168.1.5".parse().unwrap());
    assert_eq!(evidence.summary().nat_type(), NatType::Cone);
}

#[test]
fn a_hidden_host_candidate_may_be_global_so_its_list_is_not_called_blocked() {
    let mdns = "candidate:1 1 udp 2113937151 5f9a7c0e-1b2d-4c3e-8f4a-000000000000.local 50000 typ host";
    let private = "candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host";
    let tcp = "candidate:3 1 tcp 1518280447 192.168.1.5 9 typ host tcptype active";
    let relay = "candidate:4 1 udp 41885439 198.51.100.9 61000 typ relay raddr 192.168.1.5 rport 50000";
    assert_eq!(list(&[mdns]).summary().nat_type(), NatType::Unknown);
    assert_eq!(list(&[tcp]).summary().nat_type(), NatType::Unknown, "only UDP counts");
    assert_eq!(list(&[private, relay]).summary().nat_type(), NatType::Unknown, "something came through");
    assert_eq!(list(&[private, tcp]).summary().nat_type(), NatType::UdpBlocked);
}

#[test]
fn a_reflexive_candidate_without_a_base_is_counted_not_compared() {
    let evidence = list(&[
        "candidate:2 1 udp 1694498815 203.0.113.7 50001 typ srflx",
        "candidate:3 1 udp 1694498815 203.0.113.7 50002 typ srflx",
    ]);
    assert_eq!(evidence.discarded().unreadable, 2);
    assert_eq!(evidence.summary().nat_type(), NatType::Unknown);
}

#[test]
fn a_flood_is_bounded_counted_and_the_same_in_any_order() {
    let observation = |n: u32| Observation {
        base: at("192.168.1.5:50000"),
        server: ServerId::Address(std::net::Ipv4Addr::from(0xC633_0000 + n).into(), 3478),
        mapped: at("203.0.113.7:50000"),
        sequence: n,
    };
    let judge = |order: &mut dyn Iterator<Item = u32>| {
        let mut evidence = Evidence::new();
        for n in order {
            evidence.observe(observation(n));
        }
        evidence
    };
    let (up, down) = (judge(&mut (0..10_000)), judge(&mut (0..10_000).rev()));
    assert_eq!(up.observations().len(), MAX_OBSERVATIONS);
    assert_eq!(up.servers().len(), MAX_SERVERS);
    assert!(up.discarded().overflow >= 10_000 - MAX_OBSERVATIONS as u32);
    assert!(up.observations().eq(down.observations()), "what is kept depends on the order");
    assert_eq!(up.summary().nat_type(), NatType::Cone);
}

#[test]
fn the_base_with_most_evidence_speaks_and_the_others_stay_readable() {
    let evidence = observed(&[
        ("10.7.0.4:51000", "198.51.100.1:3478", "198.18.0.4:61000"),
        ("192.168.1.5:50000", "198.51.100.1:3478", "203.0.113.7:50000"),
        ("192.168.1.5:50000", "198.51.100.2:3478", "203.0.113.7:50000"),
        ("[2001:db8::5]:50000", "[2001:db8:1::1]:3478", "[2001:db8::5]:50000"),
        ("[2001:db8::5]:50000", "[2001:db8:1::2]:3478", "[2001:db8::5]:50000"),
    ]);
    let summary = evidence.summary();
    let bases: Vec<_> = summary.bases().map(|b| (b.base, b.natted)).collect();
    assert_eq!(
        bases,
        [
            (at("192.168.1.5:50000"), Some(true)),
            (at("10.7.0.4:51000"), Some(true)),
            (at("[2001:db8::5]:50000"), Some(false)),
        ]
    );
    assert_eq!(summary.counts().bases, 3);
}

#[test]
fn more_bases_than_places_keep_the_speaking_one() {
    let mut evidence = Evidence::new();
    for n in 0..20_u16 {
        for server in 0..=u16::from(n == 19) {
            evidence.observe(Observation {
                base: SocketAddr::new([10, 0, 0, 1].into(), 50_000 + n),
                server: ServerId::Address([198, 51, 100, 1 + server as u8].into(), 3478),
                mapped: at("203.0.113.7:50000"),
                sequence: 0,
            });
        }
    }
    let summary = evidence.summary();
    assert_eq!(summary.speaking_base().unwrap().base.port(), 50_019);
    assert_eq!(summary.bases().count(), MAX_BASES);
    assert_eq!(summary.counts().bases, 20);
}

#[test]
fn the_line_for_a_person_holds_no_address() {
    let cone = observed(&[
        ("192.168.1.5:50000", "198.51.100.1:3478", "203.0.113.7:50000"),
        ("192.168.1.5:50000", "198.51.100.2:3478", "203.0.113.7:50000"),
    ]);
    assert_eq!(cone.summary().to_string(), "cone NAT, port kept, 2 of 2 servers answered");
    let mut blocked = Evidence::new();
    blocked.asked(at("198.51.100.1:3478").into(), Outcome::TimedOut);
    assert_eq!(blocked.summary().to_string(), "UDP blocked, 0 of 1 servers answered");
    let listed = list(&["candidate:2 1 udp 1 203.0.113.7 5000 typ srflx raddr 192.168.1.5 rport 50000"]);
    assert_eq!(listed.summary().to_string(), "NAT of unknown type, port changed, 1 reflexive candidates");
}
