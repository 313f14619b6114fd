//! Statements that an answer seems to prove, and does not.

use std::net::{IpAddr, SocketAddr};

use nat_summary::{
    AttemptEvidence, Candidate, Checks, Evidence, ExpectedPath, FailureCause, Mapping, NatType,
    Observation, Outcome, Outlook, PathEnd, PeerChecks, PeerEvidence, Pooling, Rule, ServerId,
};

const WILDCARD: &str = "[::]:50000";
const V6: &str = "[2001:db8::5]:50000";
const HOME: &str = "192.168.1.5:50000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Local addresses; then base, server and mapped address of each answer.
fn seen(locals: &[&str], answers: &[(&str, &str, &str)]) -> Evidence {
    let mut evidence = Evidence::new();
    for local in locals {
        evidence.add_local(local.parse::<IpAddr>().unwrap());
    }
    for (sequence, (base, server, mapped)) in (0..).zip(answers) {
        evidence.observe(Observation {
            base: at(base),
            server: at(server).into(),
            mapped: at(mapped),
            sequence,
        });
    }
    evidence
}

/// RFC 6052 section 2.1: 64:ff9b::c633:6401 is 198.51.100.1.
#[test]
fn a_server_asked_by_way_of_a_translator_and_without_is_one_server() {
    let direct = ServerId::named("198.51.100.1", 3478);
    let translated = ServerId::named("64:ff9b::c633:6401", 3478);
    assert!(direct.is_same_address(&translated) && direct != translated);
    assert!(!direct.is_same_address(&ServerId::named("64:ff9b::c633:6402", 3478)));
    for base in [WILDCARD, V6] {
        let once = (base, "198.51.100.1:3478", "203.0.113.7:50000");
        let again = (base, "[64:ff9b::c633:6401]:3478", "203.0.113.7:50000");
        let locals = ["2001:db8::5", "192.168.1.5"];
        let summary = seen(&locals, &[once, again]).summary();
        assert_eq!(summary.rule(), Rule::TooFewServers, "{base}");
        assert_eq!(summary.counts().server_addresses, 1, "{base}");
        // nor do two answers that differ prove anything
        let differ = [once, (base, again.1, "203.0.113.9:50000")];
        let summary = seen(&locals, &differ).summary();
        assert_eq!(summary.mapping(), Mapping::Unknown, "{base}");
        // two servers by way of a translator are two
        let second = (base, "[64:ff9b::c633:6402]:3478", "203.0.113.7:50000");
        let summary = seen(&locals, &[again, second]).summary();
        assert_eq!(summary.nat_type(), NatType::Cone, "{base}");
    }
    let evidence = seen(
        &[],
        &[(V6, "[64:ff9b::c633:6401]:3478", "203.0.113.7:50000")],
    );
    let kept = evidence.observations().next().unwrap();
    assert_eq!(kept.server, translated, "it comes back as it was asked");
}

#[test]
fn one_server_asked_twice_outvotes_no_other() {
    let twice = [
        (V6, "198.51.100.9:3478", "192.0.2.9:1000"),
        (V6, "[64:ff9b::c633:6409]:3478", "192.0.2.9:1000"),
    ];
    let other = (V6, "198.51.100.2:3478", "203.0.113.7:1000");
    let summary = seen(&["2001:db8::5"], &[twice[0], twice[1], other]).summary();
    assert_ne!(summary.rule(), Rule::Contradictory, "nobody agrees with it");
    assert_eq!(summary.external_ip(), Some([203, 0, 113, 7].into()));
}

/// A socket of both families reaches a name directly, or by way of a translator.
#[test]
fn a_socket_of_both_families_is_not_dependent_by_names() {
    let mut evidence = seen(&["2001:db8::5", "192.168.1.5"], &[]);
    for (name, mapped) in [
        ("a.example", "203.0.113.7:50000"),
        ("b.example", "198.51.100.150:50000"),
    ] {
        evidence.observe(Observation {
            base: at(WILDCARD),
            server: ServerId::named(name, 3478),
            mapped: at(mapped),
            sequence: 0,
        });
    }
    assert_eq!(evidence.summary().rule(), Rule::SeveralWays);
}

#[test]
fn silence_of_servers_that_are_not_outside_blocks_nothing() {
    let timed_out = |locals: &[&str], servers: &[&str]| {
        let mut evidence = seen(locals, &[]);
        for server in servers {
            evidence.record_outcome(at(server).into(), Outcome::TimedOut);
        }
        evidence.summary().nat_type()
    };
    let outside = "198.51.100.1:3478";
    let of_host = ["192.168.1.5", "203.0.113.5", "2001:db8::5"];
    assert_eq!(
        timed_out(&of_host, &[outside, "198.51.100.2:3478"]),
        NatType::UdpBlocked
    );
    for nowhere in [
        "0.0.0.0:3478",
        "0.0.0.1:3478",
        "10.0.0.1:3478",
        "100.64.0.1:3478",
        "127.0.0.1:3478",
        "169.254.1.1:3478",
        "172.16.0.1:3478",
        "192.0.0.1:3478",
        "192.168.1.250:3478",
        "198.18.0.1:3478",
        "224.0.0.1:3478",
        "240.0.0.1:3478",
        "255.255.255.255:3478",
        // the host's own
        "192.168.1.5:3478",
        "203.0.113.5:3478",
    ] {
        assert_eq!(
            timed_out(&of_host, &[outside, nowhere]),
            NatType::Unknown,
            "{nowhere}"
        );
    }
    let outside = "[2001:db8:1::1]:3478";
    for nowhere in [
        "[::1]:3478",
        "[fe80::1]:3478",
        "[fd00::1]:3478",
        "[ff02::1]:3478",
        "[64:ff9b::c0a8:101]:3478",
        "[2001:db8::5]:3478",
    ] {
        assert_eq!(
            timed_out(&of_host, &[outside, nowhere]),
            NatType::Unknown,
            "{nowhere}"
        );
    }
    assert_eq!(
        timed_out(&of_host, &["10.0.0.1:3478", "10.0.0.2:3478"]),
        NatType::Unknown,
        "silence inside shows nothing of a firewall further out"
    );
}

#[test]
fn addresses_of_two_kinds_were_never_seen_from_one_place() {
    // of each pair, none is a mapping of the other
    let kinds = [
        [
            ("[fe80::1]:3478", "[fe80::5]:50000"),
            ("[fd00::1]:3478", "[fd00::5]:50000"),
        ],
        [
            ("169.254.1.1:3478", "169.254.7.7:50000"),
            ("192.168.1.1:3478", "192.168.1.6:50000"),
        ],
        [
            ("127.0.0.1:3478", "127.0.0.1:50000"),
            ("192.168.1.1:3478", "192.168.1.6:50000"),
        ],
        [
            ("198.18.0.1:3478", "198.18.0.5:50000"),
            ("192.168.1.1:3478", "192.168.1.6:50000"),
        ],
        [
            ("192.0.0.1:3478", "192.0.0.4:50000"),
            ("192.168.1.1:3478", "192.168.1.6:50000"),
        ],
        [
            ("100.64.0.1:3478", "100.64.0.9:50000"),
            ("192.168.1.1:3478", "192.168.1.6:50000"),
        ],
        [
            ("[fe80::1]:3478", "[fe80::5]:50000"),
            ("[fe80::2]:3478", "[fe80::6]:50000"),
        ],
    ];
    for [(first, first_saw), (second, second_saw)] in kinds {
        let base = if first.starts_with('[') {
            WILDCARD
        } else {
            "0.0.0.0:50000"
        };
        let answers = [(base, first, first_saw), (base, second, second_saw)];
        for locals in [&["2001:db8::5", "192.168.1.5"][..], &[]] {
            let summary = seen(locals, &answers).summary();
            assert_eq!(
                summary.mapping(),
                Mapping::Unknown,
                "{first_saw} {second_saw}"
            );
            assert_eq!(
                summary.nat_type(),
                NatType::Unknown,
                "{first_saw} {second_saw}"
            );
        }
    }
    // an address of the link stands in no list, and shows no NAT
    let link = seen(
        &["2001:db8::5"],
        &[(WILDCARD, "[fe80::1]:3478", "[fe80::5]:50000")],
    );
    assert_eq!(link.summary().is_natted(), None);
}

const CONTRADICTORY: [(&str, &str, &str); 3] = [
    ("10.0.0.5:1", "198.51.100.1:1", "203.0.113.7:1"),
    ("10.0.0.5:1", "198.51.100.2:1", "203.0.113.7:1"),
    ("10.0.0.5:1", "198.51.100.3:1", "192.0.2.99:7"),
];

#[test]
fn a_server_that_stands_alone_on_one_base_makes_no_other_base_symmetric() {
    let of_second = |answers: &[(&str, &str)]| {
        let second = answers
            .iter()
            .map(|(server, mapped)| ("10.0.0.5:2", *server, *mapped));
        let all: Vec<_> = CONTRADICTORY.into_iter().chain(second).collect();
        let evidence = seen(&["10.0.0.5"], &all);
        let summary = evidence.summary();
        assert_eq!(summary.pooling(), Pooling::Unknown);
        let base = *summary.bases().find(|base| base.base.port() == 2).unwrap();
        let behind = evidence.behind(&base).count();
        assert_eq!(usize::from(base.observations), behind);
        (summary.nat_type(), base.mapping)
    };
    let (honest, liar) = (
        ("198.51.100.1:1", "203.0.113.7:2"),
        ("198.51.100.3:1", "192.0.2.99:8"),
    );
    assert_eq!(
        of_second(&[honest, liar]),
        (NatType::Unknown, Mapping::Unknown)
    );
    // on whichever port, and beside whichever other
    let on_another_port = ("198.51.100.3:2", "192.0.2.98:8");
    assert_eq!(of_second(&[liar, on_another_port]).1, Mapping::Unknown);
    let unknown = ("198.51.100.4:1", "203.0.113.7:2");
    assert_eq!(
        of_second(&[liar, unknown]),
        (NatType::Unknown, Mapping::Unknown)
    );
    // those that agree there are believed here
    let second = ("198.51.100.2:1", "203.0.113.7:3");
    assert_eq!(
        of_second(&[honest, second]),
        (NatType::Symmetric, Mapping::Dependent)
    );
}

#[test]
fn no_nat_minds_the_port_of_one_server_and_not_that_of_another() {
    let answers = [
        (HOME, "198.51.100.1:3478", "203.0.113.7:1000"),
        (HOME, "198.51.100.1:3479", "203.0.113.7:1000"),
        (HOME, "198.51.100.2:3478", "203.0.113.7:1001"),
        (HOME, "198.51.100.2:3479", "203.0.113.7:1002"),
    ];
    assert_eq!(seen(&[], &answers).summary().rule(), Rule::Contradictory);
    let of_one = [
        answers[0],
        (HOME, "198.51.100.1:3479", "203.0.113.7:1001"),
        (HOME, "198.51.100.1:3480", "203.0.113.7:1000"),
    ];
    assert_eq!(seen(&[], &of_one).summary().rule(), Rule::Contradictory);
    assert_eq!(
        seen(&[], &answers[..3]).summary().mapping(),
        Mapping::AddressDependent
    );
}

#[test]
fn an_address_of_the_host_is_none_of_a_pool() {
    let evidence = seen(
        &["203.0.113.5"],
        &[
            ("203.0.113.5:1", "198.51.100.1:1", "192.0.2.9:1"),
            ("203.0.113.5:1", "198.51.100.2:1", "192.0.2.9:1"),
            ("203.0.113.5:2", "198.51.100.3:1", "203.0.113.5:2"),
        ],
    );
    assert_eq!(evidence.summary().pooling(), Pooling::Unknown);
}

/// Answers of a NAT that maps by destination, to one base.
fn symmetric(locals: &[&str], base: &str, servers: [&str; 2], external: &str) -> Evidence {
    let mapped = [1001, 1002].map(|port| format!("{external}:{port}"));
    seen(
        locals,
        &[
            (base, servers[0], mapped[0].as_str()),
            (base, servers[1], mapped[1].as_str()),
        ],
    )
}

const NAT64: [&str; 2] = ["[64:ff9b::c633:6401]:3478", "[64:ff9b::c633:6402]:3478"];
const DIRECT: [&str; 2] = ["198.51.100.1:3478", "198.51.100.2:3478"];

#[test]
fn two_hosts_behind_translators_may_meet_in_ipv6() {
    let ours = symmetric(
        &["2001:db8:1::5"],
        "[2001:db8:1::5]:5",
        NAT64,
        "203.0.113.7",
    )
    .summary();
    let theirs = symmetric(&["2001:db8:2::5"], "[2001:db8:2::5]:5", NAT64, "192.0.2.7").summary();
    assert_eq!(
        Outlook::between(&ours, &theirs).path,
        ExpectedPath::Undecided
    );
    let in_v4 = symmetric(&["192.168.1.5"], HOME, DIRECT, "192.0.2.7").summary();
    assert_eq!(
        Outlook::between(&ours, &in_v4).path,
        ExpectedPath::Relay,
        "it has no IPv6"
    );
}

#[test]
fn no_nat_is_the_cause_where_a_peer_may_be_a_neighbour_or_meet_us_in_ipv6() {
    let peer = |host: &str| {
        let line = |n: u16, kind: &str| format!("candidate:{n} 1 udp 1 {kind}");
        let lines = [
            line(1, &format!("{host} 50000 typ host")),
            line(2, "192.0.2.7 41000 typ srflx raddr 192.168.9.7 rport 50000"),
            line(3, "192.0.2.7 41001 typ srflx raddr 192.168.9.7 rport 50000"),
        ];
        let parsed: Vec<_> = lines
            .iter()
            .map(|line| Candidate::parse(line).unwrap())
            .collect();
        Evidence::from_candidates(parsed)
    };
    let checks = Checks {
        sent: 9,
        ..Checks::default()
    };
    let causes = |ours: &Evidence, host: &str| {
        let (theirs, none) = (peer(host), PeerEvidence::new());
        let seen = PeerChecks {
            evidence: &none,
            checks,
            rebindings: 0,
            survived: None,
        };
        let verdict = AttemptEvidence::new(ours)
            .with_peer_checks(seen)
            .with_peer_candidates(&theirs)
            .with_path(PathEnd::NoPair)
            .verdict();
        let of_summary = FailureCause::of(&ours.summary(), Some(&theirs), checks, false);
        (verdict.peer.unwrap().cause.unwrap(), of_summary)
    };
    use FailureCause::{BothSymmetric, Unknown};
    let behind = |locals: &[&str], base: &str| symmetric(locals, base, DIRECT, "203.0.113.7");
    let plain = behind(&["192.168.1.5"], HOME);
    assert_eq!(
        causes(&plain, "192.168.9.7"),
        (BothSymmetric, BothSymmetric)
    );
    assert_eq!(causes(&plain, "192.168.1.7"), (Unknown, Unknown));
    let wildcard = behind(&["192.168.1.5"], "0.0.0.0:50000");
    assert_eq!(causes(&wildcard, "192.168.1.7"), (Unknown, Unknown));
    assert_eq!(
        causes(&wildcard, "192.168.9.7"),
        (BothSymmetric, Unknown),
        "the verdict alone does not know"
    );
    assert_eq!(
        causes(&behind(&[], "0.0.0.0:50000"), "192.168.9.7").0,
        Unknown
    );
    let by_vpn = behind(&["192.168.1.5", "10.8.0.5"], "10.8.0.5:50000");
    assert_eq!(causes(&by_vpn, "192.168.1.7"), (Unknown, Unknown));
    assert_eq!(causes(&by_vpn, "192.168.9.7"), (BothSymmetric, Unknown));
    // a name may hide an address in IPv6
    let translated = symmetric(
        &["2001:db8:1::5"],
        "[2001:db8:1::5]:5",
        NAT64,
        "203.0.113.7",
    );
    assert_eq!(causes(&translated, "a.local"), (Unknown, Unknown));
    assert_eq!(causes(&plain, "a.local"), (BothSymmetric, BothSymmetric));
}
