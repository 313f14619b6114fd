//! Every cause of a failure, over every kind of host, peer and count of checks there is.

use std::net::SocketAddr;

use nat_summary::stage::StageVerdict;
use nat_summary::{
    Candidate, Checks, Evidence, ExpectedPath, FailureCause, Filtering, Mapping, NatSummary,
    NatType, Observation, Outcome, Outlook, OutlookReason, ServerId,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Nothing,
    Blocked,
    Open,
    Loopback,
    Cone,
    OneServer,
    Symmetric,
}

const HOSTS: [Host; 7] = [
    Host::Nothing,
    Host::Blocked,
    Host::Open,
    Host::Loopback,
    Host::Cone,
    Host::OneServer,
    Host::Symmetric,
];
const FILTERINGS: [Filtering; 4] = [
    Filtering::Unknown,
    Filtering::EndpointIndependent,
    Filtering::AddressDependent,
    Filtering::AddressAndPortDependent,
];

fn ours(host: Host, filtering: Filtering) -> NatSummary {
    let mut evidence = Evidence::new();
    let (base, mapped): (&str, &[u16]) = match host {
        Host::Nothing => ("192.168.1.5:50000", &[]),
        Host::Blocked => {
            evidence.add_local([192, 168, 1, 5].into());
            for n in [1, 2] {
                let server = ServerId::Address([198, 51, 100, n].into(), 3478);
                evidence.record_outcome(server, Outcome::TimedOut);
            }
            ("192.168.1.5:50000", &[])
        }
        Host::Open | Host::Loopback => ("", &[50_000, 50_000]),
        Host::Cone => ("192.168.1.5:50000", &[50_000, 50_000]),
        Host::OneServer => ("192.168.1.5:50000", &[50_000]),
        Host::Symmetric => ("192.168.1.5:50000", &[50_000, 50_001]),
    };
    for (n, port) in (1..).zip(mapped) {
        let (base, mapped): (SocketAddr, SocketAddr) = match host {
            Host::Open => (
                ([203, 0, 113, 7], 50_000).into(),
                ([203, 0, 113, 7], *port).into(),
            ),
            Host::Loopback => (
                ([127, 0, 0, 1], 50_000).into(),
                ([127, 0, 0, 1], *port).into(),
            ),
            _ => (base.parse().unwrap(), ([203, 0, 113, 7], *port).into()),
        };
        let near = [127, 0, 0, 1 + n];
        let far = [198, 51, 100, n];
        let ip = if host == Host::Loopback { near } else { far };
        let server = ServerId::Address(ip.into(), 3478);
        evidence.observe(Observation {
            base,
            server,
            mapped,
            sequence: n.into(),
        });
    }
    evidence.summary().with_filtering(filtering)
}

/// The candidates that the peer advertised.
const THEIRS: [(&str, &[&str]); 11] = [
    ("nothing", &[]),
    ("public", &["192.0.2.9 40000 typ host"]),
    ("loopback", &["127.0.0.1 40000 typ host"]),
    ("private, no server asked", &["10.0.0.9 40000 typ host"]),
    ("hidden", &["7a3b.local 40000 typ host"]),
    (
        "cone",
        &[
            "10.0.0.9 40000 typ host",
            "192.0.2.9 40000 typ srflx raddr 10.0.0.9 rport 40000",
            "192.0.2.9 40000 typ srflx raddr 10.0.0.9 rport 40000",
        ],
    ),
    (
        "symmetric",
        &[
            "10.0.0.9 40000 typ host",
            "192.0.2.9 40000 typ srflx raddr 10.0.0.9 rport 40000",
            "192.0.2.9 40001 typ srflx raddr 10.0.0.9 rport 40000",
        ],
    ),
    (
        "public, relay",
        &[
            "192.0.2.9 40000 typ host",
            "192.0.2.50 40000 typ relay raddr 192.0.2.9 rport 40000",
        ],
    ),
    (
        "symmetric, relay",
        &[
            "192.0.2.9 40000 typ srflx raddr 10.0.0.9 rport 40000",
            "192.0.2.9 40001 typ srflx raddr 10.0.0.9 rport 40000",
            "192.0.2.50 40000 typ relay raddr 192.0.2.9 rport 40001",
        ],
    ),
    (
        "behind the same NAT",
        &["203.0.113.7 40000 typ srflx raddr 192.168.1.9 rport 40000"],
    ),
    (
        "of the other family",
        &["2001:db8::9 40000 typ srflx raddr fd00::9 rport 40000"],
    ),
];

fn theirs(candidates: &[&str]) -> Evidence {
    let lines: Vec<String> = candidates
        .iter()
        .map(|rest| format!("candidate:1 1 udp 1 {rest}"))
        .collect();
    Evidence::from_candidates(lines.iter().map(|line| Candidate::parse(line).unwrap()))
}

fn checks(sent: u32, answered: u32, received: u32, sent_since_received: u32) -> Checks {
    let mut checks = Checks::default();
    (checks.sent, checks.answered) = (sent, answered);
    (checks.received, checks.sent_since_received) = (received, sent_since_received);
    checks
}

/// The rules, in the words of the issue rather than the order of the code.
fn expected(
    host: Host,
    filtering: Filtering,
    peer: Option<&str>,
    checks: Checks,
    paired: bool,
) -> FailureCause {
    let nothing_came = checks.answered == 0 && checks.received == 0;
    let tried = nothing_came && checks.sent >= 5;
    let dependent = host == Host::Symmetric;
    let lets_in = filtering == Filtering::EndpointIndependent
        && matches!(host, Host::Open | Host::Loopback | Host::Cone);
    let is_beside = match peer {
        Some("behind the same NAT") => matches!(
            host,
            Host::Open | Host::Cone | Host::OneServer | Host::Symmetric
        ),
        Some("of the other family") => !matches!(host, Host::Nothing | Host::Blocked),
        _ => false,
    };
    let no_nat_between = matches!(
        (host, peer),
        (Host::Open, Some("public")) | (Host::Loopback, Some("loopback"))
    );
    if paired {
        FailureCause::Channel(StageVerdict::Unknown)
    } else if checks.answered == 0 && checks.received > 0 && checks.sent_since_received >= 5 {
        FailureCause::ChecksOneWay
    } else if nothing_came && host == Host::Blocked {
        FailureCause::UdpBlocked
    } else if is_beside {
        // whether anything of the peer gets to our NAT is its own question
        FailureCause::Unknown
    } else if tried && dependent && peer == Some("symmetric") {
        // the peer's is taken to filter by port, so it does not matter how ours does
        FailureCause::BothSymmetric
    } else if tried
        && peer == Some("symmetric")
        && !dependent
        && filtering == Filtering::AddressAndPortDependent
        && matches!(host, Host::Open | Host::Loopback | Host::Cone)
    {
        FailureCause::FilteredHere
    } else if tried && peer.is_some() && (lets_in || no_nat_between) {
        FailureCause::PeerSilent
    } else {
        FailureCause::Unknown
    }
}

#[test]
fn every_cause_is_named_where_it_is_proven_and_nowhere_else() {
    let counts = [0, 1, 4, 5, 100];
    let mut named = std::collections::BTreeMap::new();
    for host in HOSTS {
        for filtering in FILTERINGS {
            let ours = ours(host, filtering);
            for peer in std::iter::once(None).chain(THEIRS.iter().map(Some)) {
                let evidence = peer.map(|(_, candidates)| theirs(candidates));
                for sent in counts {
                    for (answered, received, since) in [
                        (0, 0, 0),
                        (1, 0, 0),
                        (1, 1, 9),
                        (0, 1, 0),
                        (0, 1, 4),
                        (0, 1, 5),
                        (0, 9, 99),
                    ] {
                        for paired in [false, true] {
                            let checks = checks(sent, answered, received, since);
                            let cause = FailureCause::of(&ours, evidence.as_ref(), checks, paired);
                            let name = peer.map(|(name, _)| *name);
                            assert_eq!(
                                cause,
                                expected(host, filtering, name, checks, paired),
                                "{host:?} {filtering:?} {name:?} {checks:?} {paired}"
                            );
                            *named.entry(cause).or_insert(0) += 1;
                        }
                    }
                }
            }
        }
    }
    let unproven = FailureCause::Channel(StageVerdict::Unknown);
    let of_nats = |cause: &&FailureCause| **cause == unproven || !cause.is_of_channel();
    assert_eq!(
        named.len(),
        FailureCause::ALL.iter().filter(of_nats).count(),
        "each of them somewhere: {named:?}"
    );
}

#[test]
fn a_peer_that_was_heard_by_way_of_a_relay_is_neither_silent_nor_kept_out() {
    for host in HOSTS {
        for filtering in FILTERINGS {
            for (_, candidates) in THEIRS {
                let mut checks = checks(50, 0, 0, 0);
                checks.relayed = 1;
                let cause = FailureCause::of(
                    &ours(host, filtering),
                    Some(&theirs(candidates)),
                    checks,
                    false,
                );
                assert_eq!(cause, FailureCause::Unknown, "{host:?}");
            }
        }
    }
}

/// pion and webrtc-rs write every candidate of a description once for component 1 and once for
/// component 2.
#[test]
fn what_may_be_a_relays_takes_a_cause_away_and_a_second_component_does_not() {
    let mapped = |component, port| {
        format!(
            "candidate:2 {component} udp 1 192.0.2.9 {port} typ srflx raddr 10.0.0.9 rport 40000\n"
        )
    };
    let symmetric = mapped(1, 40_000) + &mapped(1, 40_001);
    for (more, expected) in [
        (mapped(2, 40_000), FailureCause::BothSymmetric),
        (
            "candidate:4 1 udp 1 192.0.2.9 40002 typ prflx raddr 10.0.0.9 rport 1\n".into(),
            FailureCause::BothSymmetric,
        ),
        (
            "candidate:4 1 udp 1 192.0.2.9 40002 typ later\n".into(),
            FailureCause::Unknown,
        ),
        (
            "candidate:4 1 udp 1 192.0.2.9 typ relay\n".into(),
            FailureCause::Unknown,
        ),
    ] {
        let mut theirs = theirs(&[]);
        for line in (symmetric.clone() + &more).lines() {
            match Candidate::parse(line) {
                Ok(candidate) => theirs.add_candidate(&candidate),
                Err(_) => theirs.add_unreadable(),
            };
        }
        let ours = ours(Host::Symmetric, Filtering::Unknown);
        assert_eq!(
            FailureCause::of(&ours, Some(&theirs), checks(50, 0, 0, 0), false),
            expected,
            "{more}"
        );
    }
}

#[test]
fn no_pair_of_nats_is_the_cause_where_a_host_has_a_global_address_in_front_of_none() {
    let behind = "candidate:2 1 udp 1 192.0.2.9 40000 typ srflx raddr 10.0.0.9 rport 40000
        candidate:3 1 udp 1 192.0.2.9 40001 typ srflx raddr 10.0.0.9 rport 40000";
    let global = "candidate:1 1 udp 1 192.0.2.77 40000 typ host";
    let cause = |ours: &NatSummary, theirs: &[&str]| {
        let theirs = Evidence::from_text(&theirs.join("\n"));
        FailureCause::of(ours, Some(&theirs), checks(50, 0, 0, 0), false)
    };
    let symmetric = ours(Host::Symmetric, Filtering::Unknown);
    assert_eq!(cause(&symmetric, &[behind]), FailureCause::BothSymmetric);
    assert_eq!(cause(&symmetric, &[behind, global]), FailureCause::Unknown);
    // the same address on our side, which no server saw
    let two_ways = |more: &[&str]| {
        let ours = behind.replace("192.0.2.9", "203.0.113.7") + "\n" + &more.join("\n");
        Evidence::from_text(&ours).summary()
    };
    assert_eq!(
        cause(&two_ways(&[]), &[behind]),
        FailureCause::BothSymmetric
    );
    assert_eq!(
        cause(&two_ways(&[global]), &[behind]),
        FailureCause::Unknown
    );
    let theirs = Evidence::from_text(behind).summary();
    let path = |ours: &NatSummary| Outlook::between(ours, &theirs).path;
    assert_eq!(path(&two_ways(&[])), ExpectedPath::Relay);
    assert_eq!(path(&two_ways(&[global])), ExpectedPath::Undecided);
}

#[test]
fn an_outlook_that_counts_on_a_cone_to_stay_one_blames_no_peer() {
    // a kernel's masquerade reads like a cone, and changes the port toward a peer whose packet came
    // in first
    let (ours, theirs) = (ours(Host::Cone, Filtering::Unknown), theirs(THEIRS[5].1));
    let outlook = Outlook::between(&ours, &theirs.summary());
    assert_eq!(
        (outlook.path, outlook.reason),
        (ExpectedPath::Direct, OutlookReason::BothIndependent)
    );
    assert_eq!(
        FailureCause::of(&ours, Some(&theirs), checks(50, 0, 0, 0), false),
        FailureCause::Unknown
    );
}

#[test]
fn a_peer_that_asked_no_server_is_not_called_blocked() {
    let theirs = theirs(THEIRS[3].1);
    assert_eq!(
        theirs.summary().nat_type(),
        NatType::Unknown,
        "a bare list does not show which servers were asked"
    );
    for host in HOSTS {
        let cause = FailureCause::of(
            &ours(host, Filtering::Unknown),
            Some(&theirs),
            checks(50, 0, 0, 0),
            false,
        );
        assert_eq!(
            cause == FailureCause::UdpBlocked,
            host == Host::Blocked,
            "{host:?}"
        );
    }
}

#[test]
fn every_cause_has_a_word_of_its_own() {
    let words: std::collections::BTreeSet<_> = FailureCause::ALL
        .iter()
        .map(|cause| cause.as_str())
        .collect();
    assert_eq!(words.len(), FailureCause::ALL.len());
    assert_eq!(FailureCause::default().to_string(), "unknown");
    assert_ne!(
        ours(Host::Symmetric, Filtering::Unknown).mapping(),
        Mapping::Unknown
    );
}

#[test]
fn no_nat_is_blamed_where_the_peer_may_be_reached_without_passing_it() {
    let symmetric = THEIRS
        .iter()
        .find(|(name, _)| *name == "symmetric")
        .unwrap()
        .1;
    let silence = checks(50, 0, 0, 0);
    for (host, filtering, blamed) in [
        (
            Host::Symmetric,
            Filtering::Unknown,
            FailureCause::BothSymmetric,
        ),
        (
            Host::Cone,
            Filtering::AddressAndPortDependent,
            FailureCause::FilteredHere,
        ),
    ] {
        let cause = |more: &str| {
            let lines: Vec<&str> = symmetric.iter().copied().chain([more]).collect();
            let ours = ours(host, filtering);
            FailureCause::of(&ours, Some(&theirs(&lines)), silence, false)
        };
        for (more, expected) in [
            ("10.0.0.10 40000 typ host", blamed),
            ("fe80::9 40000 typ host", blamed),
            ("fd00::9 40000 typ host", blamed),
            // hidden, but we have no IPv6 to meet over
            ("7a3b.local 40000 typ host", blamed),
            ("2001:db8::9 40000 typ host", FailureCause::Unknown),
            (
                "2001:db8::9 40000 typ srflx raddr fd00::9 rport 40000",
                FailureCause::Unknown,
            ),
            ("192.168.1.77 40000 typ host", FailureCause::Unknown),
        ] {
            assert_eq!(cause(more), expected, "{host:?} {more}");
        }
    }
}

#[test]
fn a_second_base_without_a_nat_shows_the_peer_silent_too() {
    let mut evidence = Evidence::new();
    let symmetric = [1, 2, 3].map(|n| {
        (
            ([192, 168, 1, 5], 50_000),
            [198, 51, 100, n],
            60_000 + u16::from(n),
        )
    });
    for (base, server, port) in symmetric {
        evidence.observe(Observation {
            base: base.into(),
            server: ServerId::Address(server.into(), 3478),
            mapped: ([203, 0, 113, 7], port).into(),
            sequence: 0,
        });
    }
    let open: SocketAddr = "[2001:db8:1::5]:50000".parse().unwrap();
    for n in [1_u16, 2] {
        evidence.observe(Observation {
            base: open,
            server: ServerId::Address([0x2001, 0xdb8, 9, 0, 0, 0, 0, n].into(), 3478),
            mapped: open,
            sequence: 0,
        });
    }
    let theirs = theirs(&["2001:db8:2::9 40000 typ host"]);
    let cause = FailureCause::of(
        &evidence.summary(),
        Some(&theirs),
        checks(50, 0, 0, 0),
        false,
    );
    assert_eq!(cause, FailureCause::PeerSilent);
}
