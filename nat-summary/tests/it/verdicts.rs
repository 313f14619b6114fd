//! Verdicts beyond the vectors: those that must stay unknown, and facts that must be counted.

use std::net::SocketAddr;

use nat_summary::{
    Candidate, Evidence, ExpectedPath, Family, Filtering, MAX_BASES, MAX_LOCALS, MAX_OBSERVATIONS,
    MAX_SERVERS, Mapping, NatType, Observation, Outcome, Outlook, Pooling, PortAllocation,
    Recorded, Rule, Scope, ServerId,
};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn observed(list: &[(&str, &str, &str)]) -> Evidence {
    let mut evidence = Evidence::new();
    for (sequence, (base, server, mapped)) in (0..).zip(list) {
        evidence.observe(Observation {
            base: at(base),
            server: at(server).into(),
            mapped: at(mapped),
            sequence,
        });
    }
    evidence
}

fn list(lines: &[&str]) -> Evidence {
    Evidence::from_candidates(lines.iter().map(|line| Candidate::parse(line).unwrap()))
}

#[test]
fn two_ports_of_one_address_never_prove_independence() {
    let evidence = observed(&[
        (
            "192.168.1.5:50000",
            "198.51.100.1:3478",
            "203.0.113.7:50000",
        ),
        (
            "192.168.1.5:50000",
            "198.51.100.1:3479",
            "203.0.113.7:50000",
        ),
        (
            "192.168.1.5:50000",
            "198.51.100.1:3480",
            "203.0.113.7:50000",
        ),
    ]);
    assert_eq!(evidence.summary().mapping(), Mapping::Unknown);
    assert_eq!(evidence.summary().rule(), Rule::TooFewServers);
}

#[test]
fn an_ipv4_mapped_base_is_the_ipv4_base() {
    let evidence = observed(&[
        (
            "[::ffff:192.168.1.5]:50000",
            "198.51.100.1:3478",
            "203.0.113.7:50000",
        ),
        (
            "192.168.1.5:50000",
            "[::ffff:198.51.100.2]:3478",
            "[::ffff:203.0.113.7]:50000",
        ),
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
    let newer = Observation {
        mapped: at("203.0.113.7:50000"),
        sequence: 9,
        ..older
    };
    let other = Observation {
        server: at("198.51.100.2:3478").into(),
        sequence: 4,
        ..newer
    };
    for order in [
        [older, newer, other],
        [newer, other, older],
        [other, older, newer],
    ] {
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
    evidence.record_outcome(at("198.51.100.9:3478").into(), Outcome::TimedOut);
    assert_eq!(
        evidence.summary().nat_type(),
        NatType::Unknown,
        "five servers did answer"
    );
    assert_eq!(evidence.summary().counts().answered, 5);
}

#[test]
fn an_error_answer_or_a_pending_one_is_not_blocked() {
    for outcome in [Outcome::Refused, Outcome::Pending] {
        let mut evidence = Evidence::new();
        evidence.record_outcome(at("198.51.100.1:3478").into(), Outcome::TimedOut);
        evidence.record_outcome(at("198.51.100.2:3478").into(), outcome);
        assert_eq!(
            evidence.summary().nat_type(),
            NatType::Unknown,
            "{outcome:?}"
        );
    }
}

#[test]
fn a_stronger_outcome_replaces_a_weaker_one_only() {
    let server = ServerId::named("Stun.Example.org", 3478);
    assert_eq!(server, ServerId::named("stun.example.ORG", 3478));
    let mut evidence = Evidence::new();
    assert_eq!(
        evidence.record_outcome(server, Outcome::TimedOut),
        Recorded::Kept
    );
    assert_eq!(
        evidence.record_outcome(server, Outcome::Answered),
        Recorded::Kept
    );
    assert_eq!(
        evidence.record_outcome(server, Outcome::Unreachable),
        Recorded::Superseded
    );
    assert_eq!(evidence.servers(), [(server, Outcome::Answered)]);
}

#[test]
fn a_wildcard_base_with_only_the_other_familys_addresses_known_is_not_called_natted() {
    let mut evidence = observed(&[
        ("0.0.0.0:50000", "198.51.100.1:3478", "203.0.113.7:50000"),
        ("0.0.0.0:50000", "198.51.100.2:3478", "203.0.113.7:50000"),
    ]);
    evidence.add_local("2001:db8::5".parse().unwrap());
    assert_eq!(evidence.summary().is_natted(), None);
    assert_eq!(evidence.summary().nat_type(), NatType::Unknown);
    assert_eq!(evidence.summary().rule(), Rule::LocalsUnknown);
    evidence.add_local("192.168.1.5".parse().unwrap());
    assert_eq!(evidence.summary().nat_type(), NatType::Cone);
}

#[test]
fn a_hidden_host_candidate_may_be_global_so_its_list_is_not_called_blocked() {
    let mdns =
        "candidate:1 1 udp 2113937151 5f9a7c0e-1b2d-4c3e-8f4a-000000000000.local 50000 typ host";
    let private = "candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host";
    let tcp = "candidate:3 1 tcp 1518280447 192.168.1.5 9 typ host tcptype active";
    let relay =
        "candidate:4 1 udp 41885439 198.51.100.9 61000 typ relay raddr 192.168.1.5 rport 50000";
    let of = |lines: &[&str]| list(lines).with_complete_gathering(5).summary().nat_type();
    assert_eq!(of(&[mdns]), NatType::Unknown);
    assert_eq!(of(&[tcp]), NatType::Unknown, "only UDP counts");
    assert_eq!(
        of(&[private, relay]),
        NatType::Unknown,
        "something came through"
    );
    assert_eq!(of(&[private, tcp]), NatType::UdpBlocked);
}

#[test]
fn a_list_is_called_blocked_only_if_two_servers_were_asked_to_the_end() {
    let private = "candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host";
    assert_eq!(list(&[private]).summary().nat_type(), NatType::Unknown);
    for (asked, expected) in [
        (0, NatType::Unknown),
        (1, NatType::Unknown),
        (2, NatType::UdpBlocked),
    ] {
        let evidence = list(&[private]).with_complete_gathering(asked);
        assert_eq!(evidence.summary().nat_type(), expected, "{asked}");
        let mut heard = evidence;
        heard.add_sign_of_life();
        assert_eq!(heard.summary().nat_type(), NatType::Unknown);
    }
}

/// Servers that all timed out, and the host's addresses.
fn silent(servers: &[&str], locals: &[&str]) -> Evidence {
    let mut evidence = Evidence::new();
    for server in servers {
        let id = server
            .parse::<SocketAddr>()
            .map_or_else(|_| ServerId::named(server, 3478), ServerId::from);
        evidence.record_outcome(id, Outcome::TimedOut);
    }
    for local in locals {
        evidence.add_local(local.parse().unwrap());
    }
    evidence
}

#[test]
fn udp_is_called_blocked_only_where_two_addresses_of_a_family_that_the_host_has_were_silent() {
    let (a, b, a6, b6) = (
        "198.51.100.1:3478",
        "198.51.100.2:3478",
        "[2001:db8:1::1]:3478",
        "[2001:db8:1::2]:3478",
    );
    let (home, home6) = ("192.168.1.5", "2001:db8::5");
    for (servers, locals) in [
        (&[a, b][..], &[home][..]),
        (&[a6, b6], &[home, home6]),
        (&[a, b, "stun.example.org"], &[home]),
        (&[a, b], &["fe80::1", "127.0.0.1", home]),
        (&[a, b], &["192.0.0.4"]),
    ] {
        let summary = silent(servers, locals).summary();
        assert_eq!(
            (summary.nat_type(), summary.rule()),
            (NatType::UdpBlocked, Rule::AskedNoneAnswered),
            "{servers:?} from {locals:?}"
        );
    }
    for (servers, locals) in [
        (&[a][..], &[home][..]),
        (&[a, "198.51.100.1:3479"], &[home]),
        (&[a, a6], &[home, home6]),
        (&[a, b], &[]),
        (&[a, b], &[home6]),
        (&[a6, b6], &[home, "fe80::1"]),
        (&[a, b], &["127.0.0.1", "169.254.9.9"]),
        (&["stun.example.org", "stun.example.net"], &[home]),
        (&["0.0.0.0:3478", a], &[home]),
    ] {
        assert_eq!(
            silent(servers, locals).summary().nat_type(),
            NatType::Unknown,
            "{servers:?} from {locals:?}"
        );
    }
}

#[test]
fn whatever_was_heard_shows_that_udp_passes() {
    let servers = ["198.51.100.1:3478", "198.51.100.2:3478"];
    let blocked = || silent(&servers, &["192.168.1.5"]);
    assert_eq!(blocked().summary().nat_type(), NatType::UdpBlocked);
    let mut heard = blocked();
    heard.add_sign_of_life();
    assert_eq!(heard.summary().nat_type(), NatType::Unknown);
    let mut merged = blocked();
    merged.merge(&heard);
    assert_eq!(merged.summary().nat_type(), NatType::Unknown);
    for outcome in [Outcome::Refused, Outcome::Answered, Outcome::Pending] {
        let mut heard = blocked();
        heard.record_outcome(at("198.51.100.3:3478").into(), outcome);
        assert_eq!(heard.summary().nat_type(), NatType::Unknown, "{outcome:?}");
    }
    for outcome in [Outcome::Unreachable, Outcome::Unresolved, Outcome::GivenUp] {
        let mut one_more = blocked();
        one_more.record_outcome(at("198.51.100.3:3478").into(), outcome);
        assert_eq!(
            one_more.summary().nat_type(),
            NatType::UdpBlocked,
            "{outcome:?} takes nothing back"
        );
    }
    // a proxy did answer
    let mut set_aside = blocked();
    set_aside.observe(Observation {
        base: at("192.168.1.5:50000"),
        server: ServerId::Anonymous(0),
        mapped: at("198.51.100.1:4000"),
        sequence: 0,
    });
    let summary = set_aside.summary();
    assert_eq!(
        (summary.nat_type(), summary.counts().set_aside),
        (NatType::Unknown, 1)
    );
}

#[test]
fn a_host_candidate_that_reaches_no_further_than_its_link_tells_nothing() {
    let local = [
        "candidate:1 1 udp 1 fe80::1 50000 typ host",
        "candidate:2 1 udp 1 127.0.0.1 50000 typ host",
    ];
    assert_eq!(
        list(&local).summary().nat_type(),
        NatType::Unknown,
        "no server can be asked from there"
    );
    let answers = [
        ("[::]:50000", "[2001:db8:1::1]:3478", "[2001:db8::5]:50000"),
        ("[::]:50000", "[2001:db8:1::2]:3478", "[2001:db8::5]:50000"),
    ];
    let mut evidence = observed(&answers);
    evidence.add_local("fe80::1".parse().unwrap());
    evidence.add_local("::1".parse().unwrap());
    assert_eq!(
        evidence.summary().is_natted(),
        None,
        "the address it left from is not among them"
    );
    assert_eq!(evidence.summary().rule(), Rule::LocalsUnknown);
    evidence.add_local("2001:db8::5".parse().unwrap());
    assert_eq!(evidence.summary().nat_type(), NatType::Open);
}

/// RFC 8839 section 5.1: who hides the related address writes the unspecified one and port 9.
#[test]
fn a_base_hidden_as_port_9_of_no_address_is_comparable_with_nothing() {
    for hidden in ["0.0.0.0 rport 9", ":: rport 9", "0.0.0.0 rport 0"] {
        let line = |n: u16| {
            format!(
                "candidate:{n} 1 udp 1 203.0.113.7 {} typ srflx raddr {hidden}",
                50_000 + n
            )
        };
        let lines = [line(1), line(2)];
        let evidence =
            Evidence::from_candidates(lines.iter().map(|line| Candidate::parse(line).unwrap()));
        let summary = evidence.summary();
        assert_eq!(
            (summary.mapping(), summary.nat_type()),
            (Mapping::Unknown, NatType::Unknown),
            "{hidden}"
        );
        assert_eq!(
            (summary.port_preserved(), summary.counts().bases),
            (None, 2),
            "{hidden}"
        );
    }
    let at_nine = list(&["candidate:2 1 udp 1 203.0.113.7 9 typ srflx raddr 192.168.1.5 rport 9"]);
    assert_eq!(
        at_nine.summary().port_preserved(),
        Some(true),
        "a known address has a port 9 of its own"
    );
}

/// pion and webrtc-rs write every candidate of a description once for component 1 and once for
/// component 2.
#[test]
fn one_answer_listed_for_two_components_does_not_agree_with_itself() {
    let line = |n: u8| {
        format!("candidate:2 {n} udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000")
    };
    let lines = [line(1), line(2)];
    for order in [[0, 1], [1, 0]] {
        let evidence =
            Evidence::from_candidates(order.map(|n: usize| Candidate::parse(&lines[n]).unwrap()));
        let summary = evidence.summary();
        assert_eq!(
            (summary.mapping(), summary.rule()),
            (Mapping::Unknown, Rule::TooFewServers)
        );
        assert_eq!(evidence.discarded().other_component, 1);
    }
    let second = Evidence::from_candidates([Candidate::parse(&lines[1]).unwrap()]);
    assert_eq!(
        second.summary().nat_type(),
        NatType::Unknown,
        "it came over UDP, so nothing is blocked"
    );
}

#[test]
fn the_external_address_is_the_one_most_servers_saw() {
    let a = "192.168.1.5:50000";
    let evidence = observed(&[
        (a, "198.51.100.1:3478", "203.0.113.8:50000"),
        (a, "198.51.100.2:3478", "203.0.113.7:50000"),
        (a, "198.51.100.3:3479", "203.0.113.7:50001"),
    ]);
    assert_eq!(
        evidence.summary().external_ip(),
        Some([203, 0, 113, 7].into()),
        "two of three"
    );
    let evidence = observed(&[
        (a, "198.51.100.1:3478", "203.0.113.8:50000"),
        (a, "198.51.100.2:3478", "203.0.113.7:50000"),
        (a, "198.51.100.2:3479", "203.0.113.7:50000"),
    ]);
    assert_eq!(
        evidence.summary().external_ip(),
        Some([203, 0, 113, 8].into()),
        "two ports of one server have one vote"
    );
    let tie = observed(&[
        (a, "198.51.100.2:3478", "203.0.113.7:50000"),
        (a, "198.51.100.1:3479", "203.0.113.8:50000"),
    ]);
    assert_eq!(
        tie.summary().external_ip(),
        Some([203, 0, 113, 8].into()),
        "the lowest server's"
    );
}

#[test]
fn a_name_with_a_dot_at_its_end_is_the_same_name() {
    assert_eq!(
        ServerId::named("stun.example.org.", 3478),
        ServerId::named("stun.example.org", 3478)
    );
    assert_eq!(
        ServerId::from_url("stun:stun.example.org.:3478"),
        ServerId::from_url("stun:stun.example.org")
    );
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
    assert!(
        up.observations().eq(down.observations()),
        "what is kept depends on the order"
    );
    let summary = up.summary();
    assert_eq!(
        (summary.mapping(), summary.rule()),
        (Mapping::Unknown, Rule::Truncated),
        "one without room may differ"
    );
    assert_eq!(
        (summary.port_preserved(), summary.pooling()),
        (None, Pooling::Unknown)
    );
    assert_eq!(summary, down.summary());
}

#[test]
fn what_had_no_room_takes_no_difference_back_and_harms_no_other_base() {
    let seen = |base: u16, server: u8, mapped| Observation {
        base: ([192, 168, 1, 5], base).into(),
        server: ServerId::Address([198, 51, 100, server].into(), 3478),
        mapped: ([203, 0, 113, 7], mapped).into(),
        sequence: 0,
    };
    let mut evidence = Evidence::new();
    for server in 0..60 {
        evidence.observe(seen(50_000, server, 50_000));
    }
    // the last one goes first
    for (server, mapped) in [(1, 41_000), (2, 41_001), (3, 41_002), (9, 41_003)] {
        evidence.observe(seen(50_009, server, mapped));
    }
    let of = |evidence: &Evidence, port| {
        let summary = evidence.summary();
        let verdict = *summary.bases().find(|b| b.base.port() == port).unwrap();
        (verdict.mapping, verdict.rule)
    };
    assert_eq!(
        of(&evidence, 50_009),
        (Mapping::Dependent, Rule::ServersDiffer)
    );
    evidence.observe(seen(50_000, 60, 50_000));
    assert_eq!(
        of(&evidence, 50_009),
        (Mapping::Unknown, Rule::Truncated),
        "the one without room may have agreed with one of the others"
    );
    assert_eq!(
        of(&evidence, 50_000),
        (Mapping::EndpointIndependent, Rule::ServersAgree),
        "this base is whole"
    );
}

#[test]
fn a_base_that_lost_observations_stays_so_whatever_is_forgotten_and_comes_after() {
    let seen = |base: u16, server: u8, mapped, sequence| Observation {
        base: ([192, 168, 1, 5], base).into(),
        server: ServerId::Address([198, 51, 100, server].into(), 3478),
        mapped: ([203, 0, 113, 7], mapped).into(),
        sequence,
    };
    let mut evidence = Evidence::new();
    for server in 0..MAX_OBSERVATIONS as u8 {
        evidence.observe(seen(50_000, server, 50_000, 0));
    }
    // the one that differs has no room
    evidence.observe(seen(50_000, 200, 50_001, 0));
    evidence.forget(|o| o.server > ServerId::Address([198, 51, 100, 9].into(), 3478));
    for server in [1, 2] {
        evidence.observe(seen(50_009, server, 41_000, 1));
        evidence.observe(seen(49_999, server, 42_000, 1));
    }
    let of = |evidence: &Evidence, port| {
        let summary = evidence.summary();
        let base = summary.bases().find(|b| b.base.port() == port).copied();
        base.map(|verdict| (verdict.mapping, verdict.rule))
    };
    let crowded = Some((Mapping::Unknown, Rule::Truncated));
    let whole = Some((Mapping::EndpointIndependent, Rule::ServersAgree));
    assert_eq!(of(&evidence, 50_000), crowded);
    assert_eq!(of(&evidence, 50_009), crowded, "it may have lost some too");
    assert_eq!(of(&evidence, 49_999), whole, "what is lost comes after it");
    let mut merged = Evidence::new();
    merged.merge(&evidence);
    assert_eq!((of(&merged, 50_000), of(&merged, 49_999)), (crowded, whole));
}

#[test]
fn what_had_no_room_may_have_seen_a_nat() {
    let mut evidence = Evidence::new();
    for server in 0..=MAX_SERVERS as u8 {
        let own = at("203.0.113.7:50000");
        let translated = at("203.0.113.99:1");
        evidence.observe(Observation {
            base: own,
            server: ServerId::Address([198, 51, 100, server].into(), 3478),
            mapped: if usize::from(server) == MAX_OBSERVATIONS {
                translated
            } else {
                own
            },
            sequence: 0,
        });
        let is_lost = usize::from(server) == MAX_OBSERVATIONS;
        let expected = (!is_lost).then_some(false);
        assert_eq!(evidence.summary().is_natted(), expected, "{server}");
    }
    assert_eq!(
        (evidence.summary().nat_type(), evidence.summary().rule()),
        (NatType::Unknown, Rule::Truncated)
    );
}

#[test]
fn the_base_with_most_evidence_speaks_and_the_others_stay_readable() {
    let evidence = observed(&[
        ("10.7.0.4:51000", "198.51.100.1:3478", "192.0.2.4:61000"),
        (
            "192.168.1.5:50000",
            "198.51.100.1:3478",
            "203.0.113.7:50000",
        ),
        (
            "192.168.1.5:50000",
            "198.51.100.2:3478",
            "203.0.113.7:50000",
        ),
        (
            "[2001:db8::5]:50000",
            "[2001:db8:1::1]:3478",
            "[2001:db8::5]:50000",
        ),
        (
            "[2001:db8::5]:50000",
            "[2001:db8:1::2]:3478",
            "[2001:db8::5]:50000",
        ),
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
    assert_eq!(summary.primary_base().unwrap().base.port(), 50_019);
    assert_eq!(summary.bases().count(), MAX_BASES);
    assert_eq!(summary.counts().bases, 20);
}

#[test]
fn a_wildcard_base_of_two_families_is_compared_within_each() {
    let evidence = observed(&[
        ("[::]:50000", "198.51.100.1:3478", "203.0.113.7:50000"),
        ("[::]:50000", "198.51.100.2:3478", "203.0.113.7:50000"),
        ("[::]:50000", "[2001:db8:1::1]:3478", "[2001:db8::5]:50000"),
        ("[::]:50000", "[2001:db8:1::2]:3478", "[2001:db8::5]:50000"),
    ]);
    let summary = evidence.summary();
    let verdicts: Vec<_> = summary.bases().map(|b| (b.family(), b.mapping)).collect();
    let independent = Mapping::EndpointIndependent;
    assert_eq!(
        verdicts,
        [(Family::V4, independent), (Family::V6, independent)]
    );
}

#[test]
fn a_flood_of_servers_proves_no_blocking_and_a_flood_of_addresses_no_nat() {
    let mut evidence = Evidence::new();
    evidence.add_local([192, 168, 1, 5].into());
    for n in 0..=MAX_SERVERS as u8 {
        evidence.record_outcome(
            ServerId::Address([198, 51, 100, n].into(), 3478),
            Outcome::TimedOut,
        );
        let expected = if n == 0 || usize::from(n) == MAX_SERVERS {
            NatType::Unknown
        } else {
            NatType::UdpBlocked
        };
        assert_eq!(
            evidence.summary().nat_type(),
            expected,
            "the server without room may have answered"
        );
    }
    let mut evidence = observed(&[
        (
            "192.168.1.5:50000",
            "198.51.100.1:3478",
            "203.0.113.7:50000",
        ),
        (
            "192.168.1.5:50000",
            "198.51.100.2:3478",
            "203.0.113.7:50000",
        ),
    ]);
    for n in 0..=MAX_LOCALS as u8 {
        evidence.add_local([10, 0, 0, n].into());
    }
    assert_eq!(
        evidence.summary().is_natted(),
        None,
        "the address without room may be the mapped one"
    );
}

#[test]
fn a_server_url_tells_servers_apart_and_one_server_from_itself() {
    let base = "raddr 192.168.1.5 rport 50000";
    let line = format!("candidate:2 1 udp 1694498815 203.0.113.7 50000 typ srflx {base}");
    let candidate = Candidate::parse(&line).unwrap();
    let judge = |urls: &[&'static str]| {
        Evidence::from_candidates(urls.iter().map(|url| candidate.with_url(url)))
            .summary()
            .mapping()
    };
    assert_eq!(
        judge(&["stun:a.example.org", "stun:b.example.org"]),
        Mapping::Unknown,
        "two names may be one server"
    );
    assert_eq!(
        judge(&["stun:198.51.100.1", "stun:198.51.100.2"]),
        Mapping::EndpointIndependent
    );
    assert_eq!(
        judge(&["stun:198.51.100.1", "stun:b.example.org"]),
        Mapping::Unknown,
        "the name may be that of the address"
    );
    assert_eq!(
        judge(&["stun:a.example.org", "STUN:A.example.org:3478"]),
        Mapping::Unknown,
        "one server, told twice"
    );
    assert_eq!(
        judge(&["stun:a.example.org", "stun:a.example.org:3479"]),
        Mapping::Unknown,
        "two ports of one name"
    );
    assert_eq!(
        judge(&["stun:198.51.100.1", "turn:198.51.100.1:443?transport=udp"]),
        Mapping::Unknown
    );
    assert_eq!(
        judge(&["stun:[2001:db8::1]", "stun:198.51.100.1"]),
        Mapping::EndpointIndependent
    );
    assert_eq!(
        judge(&["http://a.example.org", "stun:"]),
        Mapping::EndpointIndependent,
        "no server URLs: each its own"
    );
}

#[test]
fn two_ports_of_one_name_that_differ_prove_dependence_but_not_on_the_port() {
    let mapped = |port| {
        format!("candidate:2 1 udp 1 203.0.113.7 {port} typ srflx raddr 192.168.1.5 rport 50000")
    };
    let (one, two) = (mapped(50_001), mapped(50_002));
    let evidence = Evidence::from_candidates([
        Candidate::parse(&one)
            .unwrap()
            .with_url("stun:a.example.org:3478"),
        Candidate::parse(&two)
            .unwrap()
            .with_url("stun:a.example.org:3479"),
    ]);
    assert_eq!(
        evidence.summary().mapping(),
        Mapping::Dependent,
        "the name may have two addresses"
    );
    assert_eq!(evidence.summary().rule(), Rule::ServersDiffer);
}

#[test]
fn an_unreadable_candidate_may_have_been_reflexive() {
    let mut evidence = list(&["candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host"])
        .with_complete_gathering(5);
    assert_eq!(evidence.summary().nat_type(), NatType::UdpBlocked);
    evidence.add_unreadable();
    assert_eq!(evidence.summary().nat_type(), NatType::Unknown);
    assert_eq!(evidence.discarded().unreadable, 1);
}

#[test]
fn an_anonymous_server_is_one_more_each_time_and_was_never_asked() {
    let mut evidence = Evidence::new();
    let observation = Observation {
        base: at("192.168.1.5:50000"),
        server: ServerId::Anonymous(0),
        mapped: at("203.0.113.7:50000"),
        sequence: 0,
    };
    evidence.observe(observation);
    evidence.observe(observation);
    assert_eq!(evidence.summary().mapping(), Mapping::EndpointIndependent);
    assert_eq!(evidence.summary().counts().asked, 0);
}

/// Mappings of one base toward servers of their own, in the order of sending.
fn made(base: &str, mapped: &[&str]) -> Evidence {
    let mut evidence = Evidence::new();
    for (sequence, mapped) in (0_u8..).zip(mapped) {
        let server = ServerId::Address([198, 51, 100, sequence].into(), 3478);
        evidence.observe(Observation {
            base: at(base),
            server,
            mapped: at(mapped),
            sequence: sequence.into(),
        });
    }
    evidence
}

fn ports(base: u16, mapped: &[u16]) -> PortAllocation {
    let mapped: Vec<String> = mapped
        .iter()
        .map(|port| format!("203.0.113.7:{port}"))
        .collect();
    let mapped: Vec<&str> = mapped.iter().map(String::as_str).collect();
    made(&format!("192.168.1.5:{base}"), &mapped)
        .summary()
        .port_allocation()
}

#[test]
fn port_allocation_follows_the_order_of_sending() {
    for (mapped, expected) in [
        (&[40_000, 40_001][..], PortAllocation::Unknown),
        (
            &[40_000, 40_001, 40_002],
            PortAllocation::Sequential { step: 1 },
        ),
        (
            &[40_004, 40_002, 40_000],
            PortAllocation::Sequential { step: -2 },
        ),
        (
            &[50_000, 50_001, 50_002],
            PortAllocation::Sequential { step: 1 },
        ),
        (&[40_000, 40_001, 40_003], PortAllocation::Unknown),
        (&[40_000, 40_100, 40_200], PortAllocation::Unknown),
        (&[65_534, 65_535, 1024], PortAllocation::Unknown),
        (&[1024, 61_000, 33_333], PortAllocation::Random),
        (&[40_000, 40_000, 40_000], PortAllocation::Unknown),
        // a NAT that maps by destination makes a mapping for each
        (&[40_000, 40_000, 40_001, 40_002], PortAllocation::Unknown),
        (
            &[0, 40_000, 40_001, 0, 40_003],
            PortAllocation::Sequential { step: 1 },
        ),
        (&[40_000, 0, 40_002, 0, 40_004], PortAllocation::Unknown),
        (&[40_000, 40_001, 0, 40_002], PortAllocation::Unknown),
    ] {
        assert_eq!(ports(50_000, mapped), expected, "{mapped:?}");
    }
    // two ports of one address share a mapping, and only the first took a port
    let by_address = observed(&[
        (HOME, "198.51.100.1:3478", "203.0.113.7:40000"),
        (HOME, "198.51.100.1:3479", "203.0.113.7:40000"),
        (HOME, "198.51.100.2:3478", "203.0.113.7:40001"),
        (HOME, "198.51.100.3:3478", "203.0.113.7:40002"),
    ]);
    assert_eq!(
        by_address.summary().port_allocation(),
        PortAllocation::Sequential { step: 1 }
    );
    let preserving = made(
        "192.168.1.5:50000",
        &[
            "203.0.113.7:50000",
            "203.0.113.8:50000",
            "203.0.113.9:50000",
        ],
    );
    assert_eq!(
        preserving.summary().port_allocation(),
        PortAllocation::Preserving
    );
    let pool = made(
        "192.168.1.5:50000",
        &[
            "203.0.113.7:50001",
            "203.0.113.8:50002",
            "203.0.113.9:50003",
        ],
    );
    assert_eq!(
        pool.summary().port_allocation(),
        PortAllocation::Unknown,
        "each address has its own ports"
    );
    let unordered = list(&[
        "candidate:1 1 udp 1 203.0.113.7 40000 typ srflx raddr 192.168.1.5 rport 50000",
        "candidate:2 1 udp 1 203.0.113.7 40001 typ srflx raddr 192.168.1.5 rport 50000",
        "candidate:3 1 udp 1 203.0.113.7 40002 typ srflx raddr 192.168.1.5 rport 50000",
    ]);
    assert_eq!(
        unordered.summary().port_allocation(),
        PortAllocation::Unknown,
        "a list has no order of sending"
    );
}

/// First copies were lost, and the second ones left in another order.
#[test]
fn a_request_that_was_sent_again_shows_nothing_of_how_ports_are_allocated() {
    // the first requests are lost on the way out, and the copies go out the other way round
    let judge = |resent: bool| {
        let mut evidence = Evidence::new();
        for (sequence, port) in [(0, 40_002), (1, 40_001), (2, 40_000)] {
            let observation = Observation {
                base: at(HOME),
                server: ServerId::Address([198, 51, 100, sequence].into(), 3478),
                mapped: ([203, 0, 113, 7], port).into(),
                sequence: sequence.into(),
            };
            if resent {
                evidence.observe_resent(observation);
            } else {
                evidence.observe(observation);
            }
        }
        (
            evidence.summary().mapping(),
            evidence.summary().port_allocation(),
        )
    };
    assert_eq!(
        judge(false),
        (Mapping::Dependent, PortAllocation::Sequential { step: -1 })
    );
    assert_eq!(judge(true), (Mapping::Dependent, PortAllocation::Unknown));
}

#[test]
fn pooling_is_arbitrary_at_the_second_address_and_paired_after_many_mappings() {
    let differ = made(
        "192.168.1.5:50000",
        &["203.0.113.7:50000", "203.0.113.8:50000"],
    );
    assert_eq!(differ.summary().pooling(), Pooling::Arbitrary);
    let wildcard = made("0.0.0.0:50000", &["203.0.113.7:50000", "203.0.113.8:50000"]);
    assert_eq!(
        wildcard.summary().pooling(),
        Pooling::Unknown,
        "it may have left by two interfaces"
    );
    let inner = observed(&[
        (HOME, "198.51.100.1:3478", "203.0.113.7:50000"),
        (HOME, "198.51.100.2:3478", "203.0.113.7:50000"),
        (HOME, "100.64.0.1:3478", "100.64.0.9:50000"),
    ]);
    assert_eq!(
        inner.summary().pooling(),
        Pooling::Unknown,
        "one server sits inside the carrier's NAT"
    );
    let liar = made(
        HOME,
        &["203.0.113.7:50000", "203.0.113.7:50000", "192.0.2.77:50000"],
    );
    assert_eq!(
        liar.summary().pooling(),
        Pooling::Unknown,
        "one of three contradicts the two others"
    );
    // a base in doubt takes nothing from one that is not
    let mut besides = differ.clone();
    besides.merge(&made(
        "192.168.1.5:50009",
        &["203.0.113.7:50009", "203.0.113.7:50009", "192.0.2.77:50009"],
    ));
    assert_eq!(besides.summary().pooling(), Pooling::Arbitrary);
    // and shows no pool to one that is not
    let mut besides = made("192.168.1.5:50000", &["203.0.113.7:50000"; 2]);
    besides.merge(&made(
        "192.168.1.5:50009",
        &["203.0.113.7:50009", "203.0.113.7:50009", "192.0.2.77:50009"],
    ));
    assert_eq!(besides.summary().pooling(), Pooling::Unknown);
    // a server at home would have seen the host from further out than it is
    let unbelieved = observed(&[
        (HOME, "198.51.100.1:3478", "203.0.113.7:50000"),
        (HOME, "192.168.1.2:3478", "192.0.2.77:50000"),
    ]);
    assert_eq!(unbelieved.summary().pooling(), Pooling::Unknown);
    let open = made(
        "203.0.113.7:50000",
        &["203.0.113.7:50000", "203.0.113.7:50000"],
    );
    assert_eq!(
        open.summary().pooling(),
        Pooling::Unknown,
        "no NAT, no pool"
    );

    let mapped: Vec<String> = (0..17)
        .map(|n| format!("203.0.113.7:{}", 40_000 + n))
        .collect();
    let mapped: Vec<&str> = mapped.iter().map(String::as_str).collect();
    assert_eq!(
        made("192.168.1.5:50000", &mapped[..16]).summary().pooling(),
        Pooling::Unknown
    );
    assert_eq!(
        made("192.168.1.5:50000", &mapped).summary().pooling(),
        Pooling::Paired
    );
    let repeated = vec!["203.0.113.7:40000"; 17];
    assert_eq!(
        made("192.168.1.5:50000", &repeated).summary().pooling(),
        Pooling::Unknown,
        "one mapping"
    );
}

#[test]
fn pooling_compares_all_ports_of_one_local_address() {
    let evidence = observed(&[
        (
            "192.168.1.5:50000",
            "198.51.100.1:3478",
            "203.0.113.7:50000",
        ),
        (
            "192.168.1.5:50001",
            "198.51.100.1:3478",
            "203.0.113.8:50001",
        ),
        (
            "192.168.2.5:50000",
            "198.51.100.1:3478",
            "203.0.113.9:50000",
        ),
    ]);
    assert_eq!(evidence.summary().pooling(), Pooling::Arbitrary);
    let evidence = observed(&[
        (
            "192.168.1.5:50000",
            "198.51.100.1:3478",
            "203.0.113.7:50000",
        ),
        ("10.7.0.4:50000", "198.51.100.1:3478", "203.0.113.9:50000"),
    ]);
    assert_eq!(
        evidence.summary().pooling(),
        Pooling::Unknown,
        "two local addresses may sit behind two NATs"
    );
}

#[test]
fn a_plain_mapped_address_that_differs_was_rewritten_on_the_way() {
    let answer = |server: &str, sequence| Observation {
        base: at("192.168.1.5:50000"),
        server: at(server).into(),
        mapped: at("203.0.113.7:50000"),
        sequence,
    };
    let mut evidence = Evidence::new();
    evidence.observe(answer("198.51.100.1:3478", 0));
    assert_eq!(evidence.summary().rewritten(), None);
    evidence.observe_both(
        answer("198.51.100.2:3478", 1),
        at("[::ffff:203.0.113.7]:50000"),
    );
    assert_eq!(evidence.summary().rewritten(), Some(false));
    evidence.observe_both(answer("198.51.100.3:3478", 2), at("192.168.1.5:50000"));
    assert_eq!(evidence.summary().rewritten(), Some(true));
    assert_eq!(
        evidence.summary().nat_type(),
        NatType::Cone,
        "the verdict goes by XOR-MAPPED-ADDRESS"
    );
}

#[test]
fn scopes_tell_a_carriers_nat_from_the_open_internet() {
    let summary =
        observed(&[("192.168.1.5:50000", "100.64.0.1:3478", "100.64.3.7:50000")]).summary();
    assert_eq!(summary.base_scope(), Some(Scope::Private));
    assert_eq!(summary.external_scope(), Some(Scope::CarrierGrade));
    let wildcard =
        observed(&[("0.0.0.0:50000", "198.51.100.1:3478", "203.0.113.7:50000")]).summary();
    assert_eq!(
        (wildcard.base_scope(), wildcard.external_scope()),
        (None, Some(Scope::Global))
    );
    let translated = observed(&[(
        "[64:ff9b::a00:5]:5",
        "198.51.100.1:3478",
        "203.0.113.7:50000",
    )])
    .summary();
    assert_eq!(
        (translated.base_scope(), translated.family()),
        (Some(Scope::Nat64), Some(Family::V4))
    );
    assert_eq!(Evidence::new().summary().external_scope(), None);
}

const HOME: &str = "192.168.1.5:50000";

fn told(evidence: &Evidence) -> (Option<bool>, Mapping, NatType) {
    let summary = evidence.summary();
    (summary.is_natted(), summary.mapping(), summary.nat_type())
}

#[test]
fn a_server_in_front_of_the_nat_takes_no_nat_away_and_is_no_evidence_of_how_it_maps() {
    let lan = (HOME, "192.168.1.2:3478", HOME);
    let one = (HOME, "198.51.100.1:3478", "203.0.113.7:50000");
    let two = (HOME, "198.51.100.2:3478", "203.0.113.7:50000");
    let other = (HOME, "198.51.100.3:3478", "203.0.113.7:50001");
    assert_eq!(
        told(&observed(&[lan, one])),
        (Some(true), Mapping::Unknown, NatType::Unknown)
    );
    assert_eq!(
        observed(&[lan, one]).summary().external_ip(),
        Some([203, 0, 113, 7].into())
    );
    assert_eq!(observed(&[lan, one]).summary().rule(), Rule::TooFewServers);
    assert_eq!(
        told(&observed(&[lan, one, two])),
        (Some(true), Mapping::EndpointIndependent, NatType::Cone)
    );
    assert_eq!(
        told(&observed(&[lan, one, other])),
        (Some(true), Mapping::Dependent, NatType::Symmetric)
    );
    // more of them than of the others
    let more = [
        lan,
        (HOME, "192.168.1.3:3478", HOME),
        (HOME, "192.168.1.4:3478", HOME),
        one,
    ];
    assert_eq!(
        told(&observed(&more)),
        (Some(true), Mapping::Unknown, NatType::Unknown)
    );
    assert_eq!(
        observed(&more).summary().counts().server_addresses,
        1,
        "of those behind the verdict"
    );
    // on the outside of a NAT that only some ways go through
    let global = "203.0.113.9:50000";
    let some = [
        (global, "198.51.100.1:3478", global),
        (global, "198.51.100.2:3478", "192.0.2.7:50000"),
    ];
    assert_eq!(
        told(&observed(&some)),
        (Some(true), Mapping::Unknown, NatType::Unknown)
    );
    assert_eq!(told(&observed(&some[..1])).2, NatType::Open);
    let summary = observed(&[lan, one]).summary();
    let evidence = observed(&[lan, one]);
    let behind: Vec<_> = evidence.behind(summary.primary_base().unwrap()).collect();
    assert_eq!(
        (summary.bases().count(), behind.len()),
        (1, 1),
        "the verdict names what it rests on"
    );
    assert_eq!(behind[0].mapped, at("203.0.113.7:50000"));
}

#[test]
fn servers_inside_and_outside_a_carriers_nat_are_never_compared() {
    let inside = (HOME, "100.64.0.1:3478", "100.64.3.7:50000");
    let inside_too = (HOME, "100.64.0.2:3478", "100.64.3.7:50000");
    let outside = (HOME, "198.51.100.1:3478", "203.0.113.40:17201");
    let outside_too = (HOME, "198.51.100.2:3478", "203.0.113.40:17201");
    let elsewhere = (HOME, "198.51.100.2:3478", "203.0.113.40:17202");
    let undecided = (Some(true), Mapping::Unknown, NatType::Unknown);
    assert_eq!(told(&observed(&[inside, outside])), undecided);
    assert_eq!(
        told(&observed(&[inside, inside_too, outside])),
        undecided,
        "the outermost speaks"
    );
    assert_eq!(
        observed(&[inside, inside_too, outside])
            .summary()
            .external_scope(),
        Some(Scope::Global)
    );
    assert_eq!(
        told(&observed(&[inside, outside, outside_too])).2,
        NatType::Cone
    );
    assert_eq!(
        told(&observed(&[inside, inside_too, outside, elsewhere])).2,
        NatType::Symmetric
    );
    assert_eq!(
        told(&observed(&[inside, inside_too])),
        (Some(true), Mapping::EndpointIndependent, NatType::Unknown),
        "the next NAT cannot be seen from there"
    );
    assert_eq!(
        observed(&[inside, inside_too]).summary().rule(),
        Rule::SeenFromInside
    );
    // whatever is further in
    let at_home = (HOME, "10.0.0.1:3478", "10.0.0.7:50000");
    assert_eq!(
        observed(&[at_home, inside]).summary().external_scope(),
        Some(Scope::CarrierGrade)
    );
    assert_eq!(told(&observed(&[at_home, inside])), undecided);
    assert_eq!(
        observed(&[at_home, inside]).summary().pooling(),
        Pooling::Unknown
    );
    // the host's own address is of the same scope as what one NAT makes of it, and not of one pool
    // with it
    let lan = (HOME, "192.168.1.2:3478", HOME);
    assert_eq!(
        observed(&[lan, at_home]).summary().pooling(),
        Pooling::Unknown
    );
}

#[test]
fn what_a_wildcard_base_of_a_host_with_several_addresses_was_seen_as_may_differ_by_the_way_it_left()
{
    let wildcard = "0.0.0.0:50000";
    let judge = |locals: &[&str], mapped: &[(&str, &str)]| {
        let list: Vec<_> = mapped
            .iter()
            .map(|(server, mapped)| (wildcard, *server, *mapped))
            .collect();
        let mut evidence = observed(&list);
        for local in locals {
            evidence.add_local(local.parse().unwrap());
        }
        (
            evidence.summary().mapping(),
            format!("{:?}", evidence.summary().rule()),
        )
    };
    let (a, b) = ("198.51.100.1:3478", "198.51.100.2:3478");
    let two = &["192.168.1.5", "10.7.0.4"][..];
    let unknown = (Mapping::Unknown, "SeveralWays".to_owned());
    let differ = [(a, "203.0.113.7:50000"), (b, "203.0.113.8:50000")];
    assert_eq!(
        judge(two, &differ),
        unknown,
        "two ways, perhaps, and two NATs"
    );
    let by_port = [(a, "203.0.113.7:50000"), (b, "203.0.113.7:50001")];
    assert_eq!(
        judge(two, &by_port),
        unknown,
        "two hosts of one NAT, for all that it can see"
    );
    let ports_agree = [
        (a, "203.0.113.7:1"),
        ("198.51.100.1:3479", "203.0.113.7:1"),
        (b, "203.0.113.8:1"),
    ];
    assert_eq!(judge(two, &ports_agree), unknown);
    // one address is reached by one way
    let ports = [
        (a, "203.0.113.7:50000"),
        ("198.51.100.1:3479", "203.0.113.7:50001"),
    ];
    assert_eq!(judge(two, &ports).0, Mapping::AddressAndPortDependent);
    assert_eq!(
        judge(two, &[(a, "203.0.113.7:1"), (b, "203.0.113.7:1")]).0,
        Mapping::EndpointIndependent
    );
    // with one address, or none that is known, there is one way as far as anybody knows
    let of_no_way = &["192.168.1.5", "169.254.9.9", "127.0.0.1", "2001:db8::5"][..];
    for locals in [&[][..], &["192.168.1.5"], of_no_way] {
        assert_eq!(judge(locals, &differ).0, Mapping::Dependent, "{locals:?}");
    }
    let crowd: Vec<String> = (0..=MAX_LOCALS).map(|n| format!("fd00::{n:x}")).collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    assert_eq!(judge(&crowd, &differ), unknown, "more had no room");
}

/// RFC 6877: IPv4 by way of a translator in the host, and IPv6 servers by way of the network's.
#[test]
fn ipv4_by_two_translators_is_two_ways() {
    let (clat, nat64) = ("198.51.100.1:3478", "[64:ff9b::c633:6402]:3478");
    let seen = |server, mapped| ("[::]:50000", server, mapped);
    let two = observed(&[
        seen(clat, "203.0.113.7:41000"),
        seen(nat64, "203.0.113.7:41001"),
    ]);
    assert_eq!(two.summary().mapping(), Mapping::Unknown);
    let one = [
        seen(nat64, "203.0.113.7:41000"),
        seen("[64:ff9b::c633:6403]:3478", "203.0.113.7:41001"),
    ];
    assert_eq!(observed(&one).summary().mapping(), Mapping::Dependent);
    let mut with_locals = observed(&one);
    for local in ["192.168.1.5", "2001:db8::5", "2001:db8::6"] {
        with_locals.add_local(local.parse().unwrap());
    }
    assert_eq!(
        with_locals.summary().mapping(),
        Mapping::Unknown,
        "they left in IPv6, and there from two addresses"
    );
}

#[test]
fn an_answer_that_says_something_impossible_did_come() {
    let mut evidence = silent(
        &["198.51.100.1:3478", "198.51.100.2:3478"],
        &["192.168.1.5"],
    );
    assert_eq!(evidence.summary().nat_type(), NatType::UdpBlocked);
    let base = at(HOME);
    evidence.observe(Observation {
        base,
        server: ServerId::Anonymous(0),
        mapped: at("0.0.0.0:1"),
        sequence: 0,
    });
    assert_eq!(evidence.summary().nat_type(), NatType::Unknown);
}

#[test]
fn two_ports_of_one_name_that_agree_are_not_two_of_one_address() {
    let mapped = |port| {
        format!("candidate:2 1 udp 1 203.0.113.7 {port} typ srflx raddr 192.168.1.5 rport 50000")
    };
    let (one, two) = (mapped(41_000), mapped(41_007));
    let judge = |names: [&'static str; 3]| {
        let lines = [&one, &one, &two].map(|line| Candidate::parse(line).unwrap());
        let candidates = lines
            .into_iter()
            .zip(names)
            .map(|(line, url)| line.with_url(url));
        Evidence::from_candidates(candidates).summary().rule()
    };
    assert_eq!(
        judge(["stun:a:3478", "stun:a:3479", "stun:b"]),
        Rule::ServersDiffer
    );
    assert_eq!(
        judge(["stun:198.51.100.1:3478", "stun:198.51.100.1:3479", "stun:b"]),
        Rule::ServersDiffer,
        "the name may be a third port of that address"
    );
    assert_eq!(
        judge([
            "stun:198.51.100.1:3478",
            "stun:198.51.100.1:3479",
            "stun:198.51.100.2"
        ]),
        Rule::ServersDifferPortsAgree
    );
}

#[test]
fn one_answer_told_with_its_server_and_without_does_not_agree_with_itself() {
    let line = |port| {
        format!("candidate:2 1 udp 1 203.0.113.7 {port} typ srflx raddr 192.168.1.5 rport 50000")
    };
    let (same, other) = (line(50_000), line(50_001));
    let mut evidence = observed(&[(HOME, "198.51.100.1:3478", "203.0.113.7:50000")]);
    evidence.add_candidate(&Candidate::parse(&same).unwrap());
    let summary = evidence.summary();
    assert_eq!(
        (summary.mapping(), summary.rule()),
        (Mapping::Unknown, Rule::TooFewServers)
    );
    assert_eq!(summary.counts().server_addresses, 1);
    evidence.add_candidate(&Candidate::parse(&other).unwrap());
    assert_eq!(
        evidence.summary().rule(),
        Rule::ServersDiffer,
        "what differs was no second telling"
    );
    let ports = observed(&[
        (HOME, "198.51.100.1:3478", "203.0.113.7:50000"),
        (HOME, "198.51.100.1:3479", "203.0.113.7:50000"),
    ]);
    let mut ports_and_one = ports;
    ports_and_one.add_candidate(&Candidate::parse(&other).unwrap());
    assert_eq!(
        ports_and_one.summary().rule(),
        Rule::ServersDiffer,
        "nobody knows whose it is"
    );
}

#[test]
fn a_host_candidate_without_an_address_is_a_hidden_one() {
    for host in ["0.0.0.0", "::"] {
        let line = format!("candidate:1 1 udp 2130706431 {host} 50000 typ host");
        assert_eq!(
            list(&[&line]).summary().nat_type(),
            NatType::Unknown,
            "{host} may be a global one"
        );
    }
}

#[test]
fn each_summary_has_its_line_and_only_the_one_that_says_so_holds_an_address() {
    let a = "192.168.1.5:50000";
    let asked = |evidence: &mut Evidence, outcome| {
        evidence.record_outcome(at("198.51.100.99:3478").into(), outcome);
    };
    let mut cone = observed(&[
        (a, "198.51.100.1:3478", "203.0.113.7:50000"),
        (a, "198.51.100.2:3478", "203.0.113.7:50000"),
        (a, "198.51.100.3:3478", "203.0.113.7:50000"),
        (a, "198.51.100.4:3478", "203.0.113.7:50000"),
    ]);
    asked(&mut cone, Outcome::TimedOut);
    let symmetric = observed(&[
        (a, "198.51.100.1:3478", "203.0.113.7:41001"),
        (a, "198.51.100.2:3478", "203.0.113.7:41002"),
    ]);
    let open = observed(&[
        (
            "203.0.113.7:50000",
            "198.51.100.1:3478",
            "203.0.113.7:50000",
        ),
        (
            "203.0.113.7:50000",
            "198.51.100.2:3478",
            "203.0.113.7:50000",
        ),
    ]);
    let nameless = observed(&[
        ("0.0.0.0:9", "198.51.100.1:3478", "203.0.113.7:9"),
        ("0.0.0.0:9", "198.51.100.2:3478", "203.0.113.7:9"),
    ]);
    let mut blocked = silent(&["198.51.100.98:3478"], &["192.168.1.5"]);
    asked(&mut blocked, Outcome::TimedOut);
    let inside = observed(&[
        (a, "100.64.0.1:3478", "100.64.0.9:50000"),
        (a, "100.64.0.2:3478", "100.64.0.9:50000"),
    ]);
    let contradictory = observed(&[
        (a, "198.51.100.1:3478", "203.0.113.7:50000"),
        (a, "198.51.100.2:3478", "203.0.113.7:50000"),
        (a, "198.51.100.3:3478", "192.0.2.77:4242"),
    ]);
    let srflx = "candidate:2 1 udp 1 203.0.113.7 5000 typ srflx raddr 192.168.1.5 rport 50000";
    let hidden = "candidate:2 1 udp 1 203.0.113.7 5000 typ srflx raddr 192.168.1.5 rport 0";
    let host = "candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host";
    // a list, and a server beside it that is none of those the list is from
    let mut mixed = list(&[srflx, srflx]);
    asked(&mut mixed, Outcome::TimedOut);
    assert_eq!(
        inside.summary().with_address().to_string(),
        "NAT of unknown type, port kept, 100.64.0.9, 2 of 2 servers agree"
    );
    let loopback = observed(&[
        ("127.0.0.1:50000", "127.0.0.2:3478", "127.0.0.1:50000"),
        ("127.0.0.1:50000", "127.0.0.3:3478", "127.0.0.1:50000"),
    ]);
    assert_eq!(
        loopback.summary().to_string(),
        "no NAT as far as seen, 2 of 2 servers agree"
    );
    let full = cone
        .summary()
        .with_filtering(Filtering::EndpointIndependent);
    let by_address = cone.summary().with_filtering(Filtering::AddressDependent);
    let by_port = cone
        .summary()
        .with_filtering(Filtering::AddressAndPortDependent);
    for (summary, line, address) in [
        (
            cone.summary(),
            "cone NAT, port kept, {}4 of 5 servers agree",
            true,
        ),
        (
            full,
            "full cone NAT, port kept, {}4 of 5 servers agree",
            true,
        ),
        (
            by_address,
            "address-restricted cone NAT, port kept, {}4 of 5 servers agree",
            true,
        ),
        (
            by_port,
            "port-restricted cone NAT, port kept, {}4 of 5 servers agree",
            true,
        ),
        (
            symmetric.summary(),
            "symmetric NAT, port changed, {}2 of 2 servers differ",
            true,
        ),
        (open.summary(), "no NAT, {}2 of 2 servers agree", true),
        (nameless.summary(), "unknown, {}2 of 2 servers agree", true),
        (
            blocked.summary(),
            "UDP blocked, {}0 of 2 servers answered",
            false,
        ),
        (
            contradictory.summary(),
            "NAT of unknown type, port changed, {}3 of 3 servers answered",
            true,
        ),
        (
            list(&[host]).summary(),
            "unknown, {}nothing observed",
            false,
        ),
        (
            list(&[host]).with_complete_gathering(5).summary(),
            "UDP blocked, {}no reflexive candidate",
            false,
        ),
        (
            list(&[srflx]).summary(),
            "NAT of unknown type, port changed, {}1 reflexive candidate",
            true,
        ),
        (
            list(&[hidden, hidden]).summary(),
            "NAT of unknown type, {}1 reflexive candidate",
            true,
        ),
        (
            list(&[srflx, srflx]).summary(),
            "cone NAT, port changed, {}2 reflexive candidates agree",
            true,
        ),
        (
            Evidence::new().summary(),
            "unknown, {}nothing observed",
            false,
        ),
        (
            mixed.summary(),
            "cone NAT, port changed, {}2 reflexive candidates agree",
            true,
        ),
    ] {
        assert!(!summary.to_string().contains("203.0.113"));
        assert_eq!(summary.to_string(), line.replace("{}", ""));
        let with = line.replace("{}", if address { "203.0.113.7, " } else { "" });
        assert_eq!(summary.with_address().to_string(), with);
    }
}

/// The cases of `docs/how-a-verdict-is-reached.md`.
#[test]
fn the_three_worked_cases_come_out_as_the_page_says() {
    let page = include_str!("../../docs/how-a-verdict-is-reached.md");
    let cone = Evidence::from_text(page).summary();
    assert_eq!(
        (cone.mapping(), cone.rule()),
        (Mapping::Unknown, Rule::TooFewServers)
    );
    assert_eq!(
        (cone.is_natted(), cone.port_preserved(), cone.counts().bases),
        (Some(true), Some(true), 3)
    );

    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.contains('→'))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let rows: Vec<_> = rows.iter().map(|row| (row[0], row[2], row[5])).collect();
    let carrier = observed(&rows).summary();
    assert_eq!(rows.len(), 3);
    assert_eq!(carrier.rule(), Rule::PortsOfOneServerDiffer);
    assert_eq!(
        (carrier.nat_type(), carrier.port_preserved()),
        (NatType::Symmetric, Some(false))
    );
    assert_eq!(
        carrier.port_allocation(),
        PortAllocation::Sequential { step: 1 }
    );
    let strict = observed(&[
        ("192.168.1.5:50000", "198.51.100.1:3478", "192.0.2.7:50000"),
        ("192.168.1.5:50000", "198.51.100.2:3478", "192.0.2.7:50000"),
    ]);
    let strict = strict
        .summary()
        .with_filtering(Filtering::AddressAndPortDependent);
    assert_eq!(
        Outlook::between(&carrier, &strict).path,
        ExpectedPath::Relay
    );

    let office = |outcomes: [Outcome; 5]| {
        let mut evidence = silent(&[], &["192.168.1.5"]);
        for (n, outcome) in (0..).zip(outcomes) {
            evidence.record_outcome(ServerId::Address([198, 51, 100, n].into(), 3478), outcome);
        }
        (evidence.summary().nat_type(), evidence.summary().rule())
    };
    use Outcome::{Refused, TimedOut, Unreachable, Unresolved};
    let blocked = office([TimedOut, TimedOut, TimedOut, Unresolved, Unreachable]);
    assert_eq!(blocked, (NatType::UdpBlocked, Rule::AskedNoneAnswered));
    assert_eq!(
        office([
            Unreachable,
            Unresolved,
            Unreachable,
            Unresolved,
            Unreachable
        ])
        .0,
        NatType::Unknown
    );
    assert_eq!(
        office([TimedOut, TimedOut, TimedOut, Unresolved, Refused]).0,
        NatType::Unknown
    );
}

#[test]
fn one_liar_among_many_decides_nothing() {
    let same = "203.0.113.7:50000";
    let lies = "192.0.2.77:4242";
    let a = |n: u8| format!("198.51.100.{n}:3478");
    let judge = |mapped: &[&str]| {
        let servers: Vec<String> = (1..).map(a).take(mapped.len()).collect();
        let list: Vec<_> = servers
            .iter()
            .zip(mapped)
            .map(|(server, mapped)| (HOME, server.as_str(), *mapped))
            .collect();
        observed(&list).summary()
    };
    for mapped in [
        &[same, same, same, same, lies][..],
        &[lies, same, same],
        &[same, lies, same],
    ] {
        let summary = judge(mapped);
        assert_eq!(
            (summary.nat_type(), summary.mapping(), summary.rule()),
            (NatType::Unknown, Mapping::Unknown, Rule::Contradictory)
        );
        assert_eq!(summary.external_ip(), Some([203, 0, 113, 7].into()));
        assert_eq!(summary.is_natted(), Some(true));
    }
    assert_eq!(
        judge(&[same, lies]).rule(),
        Rule::ServersDiffer,
        "of two, neither is known to lie"
    );
    // two ports of one address that differ are no proof either, beside two servers that agree
    let ports = observed(&[
        (HOME, "198.51.100.1:3478", same),
        (HOME, "198.51.100.1:3479", lies),
        (HOME, "198.51.100.2:3478", same),
    ]);
    assert_eq!(ports.summary().rule(), Rule::Contradictory);
}

#[test]
fn one_liar_takes_an_open_host_no_verdict_it_has_no_ground_for() {
    let own = "203.0.113.9:50000";
    let open = observed(&[
        (own, "198.51.100.1:3478", own),
        (own, "198.51.100.2:3478", own),
        (own, "198.51.100.3:3478", "192.0.2.77:4242"),
    ]);
    let summary = open.summary();
    assert_eq!(
        (summary.is_natted(), summary.mapping(), summary.rule()),
        (None, Mapping::Unknown, Rule::Contradictory)
    );
    assert_eq!(summary.external_ip(), Some(at(own).ip()));
    let verdict = summary.primary_base().unwrap();
    assert_eq!(open.behind(verdict).count(), 3);
}

#[test]
fn an_answer_that_is_not_masked_does_not_outrank_two_that_agree() {
    // a gateway that rewrites addresses inside packets puts the host's own into a plain answer
    let evidence = observed(&[
        (HOME, "198.51.100.1:3478", "203.0.113.7:50000"),
        (HOME, "198.51.100.2:3478", "203.0.113.7:50000"),
        (HOME, "198.51.100.3:3478", HOME),
    ]);
    assert_eq!(evidence.summary().nat_type(), NatType::Cone);
    assert_eq!(evidence.summary().counts().set_aside, 1);
}

#[test]
fn what_a_proxy_in_front_of_a_server_is_seen_as_is_not_the_hosts() {
    let proxy = "198.51.100.10:443";
    let itself = (HOME, proxy, "198.51.100.10:41288");
    let first = observed(&[(HOME, "198.51.100.10:3478", "203.0.113.7:50000"), itself]);
    let summary = first.summary();
    assert_eq!(
        told(&first),
        (Some(true), Mapping::Unknown, NatType::Unknown)
    );
    assert_eq!(summary.external_ip(), Some([203, 0, 113, 7].into()));
    assert_eq!(summary.counts().set_aside, 1);
    assert_eq!(first.behind(summary.primary_base().unwrap()).count(), 1);
    let second = observed(&[
        itself,
        (HOME, "198.51.100.11:3478", "203.0.113.7:50000"),
        (HOME, "198.51.100.12:3478", "203.0.113.7:50000"),
    ]);
    assert_eq!(told(&second).2, NatType::Cone);
    // known only from having been asked
    let mut of_another = observed(&[(HOME, "198.51.100.11:3478", "198.51.100.10:41288")]);
    assert_eq!(of_another.summary().is_natted(), Some(true));
    of_another.record_outcome(at(proxy).into(), Outcome::TimedOut);
    assert_eq!(of_another.summary().is_natted(), None);
    // a container's network, and the same behind a translator
    for server in ["198.51.100.10", "[64:ff9b::c633:640a]"] {
        let (one, two) = (format!("{server}:3478"), format!("{server}:3479"));
        let container = observed(&[
            (HOME, &one, "172.17.0.1:48741"),
            (HOME, &two, "172.17.0.1:33012"),
        ]);
        let summary = container.summary();
        assert_eq!(told(&container), (None, Mapping::Unknown, NatType::Unknown));
        assert_eq!(
            (summary.external_ip(), summary.counts().set_aside),
            (None, 2)
        );
    }
    // a host that asks a server of its own is seen there as itself
    let own = "203.0.113.9:50000";
    let on_host = observed(&[
        (own, "203.0.113.9:3478", own),
        (own, "198.51.100.2:3478", own),
    ]);
    assert_eq!(told(&on_host).2, NatType::Open);
}

#[test]
fn a_base_heard_inside_only_does_not_speak_over_one_heard_outside() {
    let evidence = observed(&[
        (HOME, "198.51.100.1:3478", "203.0.113.8:3326"),
        ("192.168.1.5:50001", "192.168.1.9:3478", "192.168.1.5:50001"),
        (
            "192.168.1.5:50001",
            "192.168.1.10:3478",
            "192.168.1.5:50001",
        ),
        ("192.168.1.5:50002", "100.64.0.1:3478", "100.64.0.9:50002"),
        ("192.168.1.5:50002", "100.64.0.2:3478", "100.64.0.9:50002"),
    ]);
    let summary = evidence.summary();
    assert_eq!(summary.primary_base().unwrap().base, at(HOME));
    assert_eq!(summary.nat_type(), NatType::Unknown);
}

#[test]
fn a_global_address_of_the_hosts_own_is_seen_from_outside() {
    let own = "203.0.113.9:50000";
    for (base, server, mapped, rule) in [
        (own, "198.51.100.1:3478", own, Rule::MappedIsLocal),
        (
            "127.0.0.1:50000",
            "127.0.0.2:3478",
            "127.0.0.1:50000",
            Rule::SeenFromInside,
        ),
        (HOME, "192.168.1.9:3478", HOME, Rule::SeenFromInside),
        (
            "100.64.0.5:50000",
            "100.64.0.1:3478",
            "100.64.0.5:50000",
            Rule::SeenFromInside,
        ),
        (
            "[fd00::5]:50000",
            "[fd00::9]:3478",
            "[fd00::5]:50000",
            Rule::SeenFromInside,
        ),
    ] {
        let summary = observed(&[(base, server, mapped)]).summary();
        assert_eq!((summary.is_natted(), summary.rule()), (Some(false), rule));
        let is_open = rule == Rule::MappedIsLocal;
        assert_eq!(summary.nat_type() == NatType::Open, is_open, "{base}");
    }
}

#[test]
fn a_local_address_with_another_port_was_translated() {
    let mut evidence = observed(&[(HOME, "198.51.100.1:3478", "203.0.113.7:61000")]);
    evidence.add_local([203, 0, 113, 7].into());
    assert_eq!(evidence.summary().is_natted(), Some(true));
    let mut kept = observed(&[(HOME, "198.51.100.1:3478", "203.0.113.7:50000")]);
    kept.add_local([203, 0, 113, 7].into());
    assert_eq!(
        told(&kept),
        (None, Mapping::Unknown, NatType::Unknown),
        "the host translates, or its socket is on the other address"
    );
    let wildcard = ("0.0.0.0:50000", "198.51.100.1:3478", "203.0.113.7:50000");
    let mut wildcard = observed(&[wildcard]);
    wildcard.add_local([203, 0, 113, 7].into());
    assert_eq!(wildcard.summary().nat_type(), NatType::Open);
    let mut hidden = observed(&[("0.0.0.0:0", "198.51.100.1:3478", "203.0.113.7:61000")]);
    hidden.add_local([203, 0, 113, 7].into());
    assert_eq!(
        hidden.summary().is_natted(),
        Some(false),
        "its port is not known"
    );
    // a translation of the host's own, which kept the port toward one server
    let mut mixed = observed(&[
        (HOME, "198.51.100.1:3478", "203.0.113.7:50000"),
        (HOME, "198.51.100.2:3478", "203.0.113.7:61000"),
    ]);
    mixed.add_local([203, 0, 113, 7].into());
    assert_eq!(
        told(&mixed),
        (Some(true), Mapping::Dependent, NatType::Symmetric)
    );
    // two servers that saw the host itself contradict one that says otherwise
    let mut liar = observed(&[
        (HOME, "192.168.1.2:3478", HOME),
        (HOME, "192.168.1.3:3478", HOME),
        (HOME, "192.168.1.4:3478", "192.168.1.5:6012"),
    ]);
    liar.add_local([192, 168, 1, 5].into());
    assert_eq!(liar.summary().rule(), Rule::Contradictory);
    assert_eq!(told(&liar), (None, Mapping::Unknown, NatType::Unknown));
}

#[test]
fn one_candidate_found_twice_in_a_text_is_one_measurement() {
    let line = |foundation: &str, port: u16| {
        format!(
            "a=candidate:{foundation} 1 udp 1694498815 203.0.113.5 {port} typ srflx raddr 10.0.0.4 rport 25000 generation 0\r\n"
        )
    };
    let twice = format!(
        "INVITE\n{}re-INVITE\n{}",
        line("81", 25_000),
        line("09", 25_000)
    );
    let evidence = Evidence::from_text(&twice);
    assert_eq!(
        told(&evidence),
        (Some(true), Mapping::Unknown, NatType::Unknown)
    );
    assert_eq!(evidence.observations().len(), 1);
    let mut merged = evidence.clone();
    merged.merge(&Evidence::from_text(&twice));
    assert_eq!(merged.observations().len(), 1, "from another text as well");
    let differ = line("81", 25_000) + &line("81", 25_001) + &line("09", 25_001);
    assert_eq!(
        Evidence::from_text(&differ).summary().rule(),
        Rule::ServersDiffer
    );
    // as a program's own gathering gave them, each is of a server
    let values = [line("81", 25_000), line("09", 25_000)];
    let values = values.iter().map(|line| Candidate::parse(line).unwrap());
    assert_eq!(
        Evidence::from_candidates(values).summary().nat_type(),
        NatType::Cone
    );
}

#[test]
fn candidates_of_two_sessions_on_one_socket_are_of_two_bases() {
    let line = |ufrag: &str, port: u16| {
        format!(
            "candidate:2 1 udp 1 203.0.113.7 {port} typ srflx raddr 192.168.1.5 rport 50000 generation 0 ufrag {ufrag} network-id 3"
        )
    };
    let judge = |lines: [String; 2]| {
        let candidates = lines.iter().map(|line| Candidate::parse(line).unwrap());
        let evidence = Evidence::from_candidates(candidates);
        let summary = evidence.summary();
        let behind = summary.bases().map(|base| evidence.behind(base).count());
        assert_eq!(behind.sum::<usize>(), 2);
        (summary.rule(), summary.counts().bases)
    };
    assert_eq!(
        judge([line("AbCd", 41_000), line("AbCd", 41_001)]),
        (Rule::ServersDiffer, 1)
    );
    assert_eq!(
        judge([line("AbCd", 41_000), line("EfGh", 41_001)]),
        (Rule::TooFewServers, 2)
    );
    assert_eq!(
        judge([line("AbCd", 41_000), line("EfGh", 41_000)]),
        (Rule::TooFewServers, 2)
    );
}

#[test]
fn a_phone_behind_464xlat_is_named() {
    let phone = "192.0.0.4:50000";
    let evidence = observed(&[
        (phone, "198.51.100.1:3478", "203.0.113.7:50000"),
        (phone, "198.51.100.2:3478", "203.0.113.7:50000"),
    ]);
    let summary = evidence.summary();
    assert_eq!(
        (summary.nat_type(), summary.base_scope()),
        (NatType::Cone, Some(Scope::Clat))
    );
}

/// Some answers carry an address that is not masked, and unmasking makes a random one of it.
#[test]
fn a_server_sees_from_no_further_out_than_it_is() {
    let inside = "100.64.3.7:50000";
    let random = "69.82.167.69:29010";
    let of_carrier = |mapped: [&str; 3]| {
        observed(&[
            (HOME, "100.64.0.1:3478", mapped[0]),
            (HOME, "100.64.0.2:3478", mapped[1]),
            (HOME, "100.64.0.3:3478", mapped[2]),
        ])
    };
    let evidence = of_carrier([inside, inside, random]);
    let summary = evidence.summary();
    assert_eq!(
        (summary.mapping(), summary.external_ip()),
        (Mapping::EndpointIndependent, Some(at(inside).ip()))
    );
    assert_eq!(evidence.behind(summary.primary_base().unwrap()).count(), 2);
    // unless there is no other
    let all = of_carrier([random, random, random]).summary();
    assert_eq!(all.external_ip(), Some(at(random).ip()));
    // its own network further in is no news
    let company = observed(&[(HOME, "100.64.0.1:3478", "10.0.0.7:50000")]);
    assert_eq!(company.summary().external_scope(), Some(Scope::Private));
}

#[test]
fn ipv4_comes_first_by_the_family_of_the_mapped_address() {
    let evidence = observed(&[
        ("0.0.0.0:0", "[2001:db8:1::1]:3478", "[2001:db8::5]:50000"),
        (HOME, "198.51.100.1:3478", "203.0.113.7:50000"),
    ]);
    assert_eq!(evidence.summary().family(), Some(Family::V4));
}
