//! The verdict from the peer's checks: proofs, missing proofs, and no change of the servers'
//! verdict.

use std::net::SocketAddr;

use nat_summary::{
    DecidedBy, Evidence, Filtering, FilteringSeen, MAX_UNSOLICITED, Mapping, Observation, Outcome,
    PeerEvidence, Recorded, Rule, SentBefore, TowardPeer, UnsolicitedCheck,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const BASE: &str = "192.168.1.5:50000";
const MAPPED: &str = "203.0.113.7:50000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn seen(base: &str, server: &str, mapped: &str, sequence: u32) -> Observation {
    Observation {
        base: at(base),
        server: at(server).into(),
        mapped: at(mapped),
        sequence,
    }
}

/// Servers of these addresses that all saw [`MAPPED`].
fn servers(addresses: &[&str]) -> Evidence {
    let mut evidence = Evidence::new();
    evidence.add_local(at(BASE).ip());
    for (sequence, address) in (0..).zip(addresses) {
        evidence.observe(seen(BASE, address, MAPPED, sequence));
    }
    evidence
}

const TWO: [&str; 2] = ["198.51.100.1:3478", "198.51.100.2:3478"];

fn reported(reports: &[(&str, &str)]) -> PeerEvidence {
    let mut peer = PeerEvidence::new();
    for (sequence, (target, mapped)) in (0..).zip(reports) {
        peer.observe(seen(BASE, target, mapped, sequence));
    }
    peer
}

/// Each with the peer's report there of [`MAPPED`].
fn came_in(arrivals: &[(&str, SentBefore)]) -> PeerEvidence {
    let mut peer = PeerEvidence::new();
    for (source, sent_before) in arrivals {
        peer.observe(seen(BASE, source, MAPPED, 0));
        peer.record_unsolicited(UnsolicitedCheck {
            base: at(BASE),
            source: at(source),
            sent_before: *sent_before,
        });
    }
    peer
}

#[test]
fn toward_the_peer_a_mapping_is_kept_or_changed_against_what_servers_saw() {
    let cohort = servers(&TWO);
    for (reports, expected) in [
        (&[][..], TowardPeer::Unobserved),
        (&[("192.0.2.9:4000", MAPPED)][..], TowardPeer::Kept),
        (
            &[("192.0.2.9:4000", "203.0.113.7:61000")],
            TowardPeer::Changed,
        ),
        (
            &[("192.0.2.9:4000", "203.0.113.8:50000")],
            TowardPeer::Changed,
        ),
        (
            &[
                ("192.0.2.9:4000", MAPPED),
                ("192.0.2.9:4001", "203.0.113.7:61000"),
            ],
            TowardPeer::Changed,
        ),
        // on the same link there is no NAT between
        (&[("192.168.1.9:4000", BASE)], TowardPeer::Unobserved),
        (
            &[("192.168.1.9:4000", BASE), ("192.0.2.9:4000", MAPPED)],
            TowardPeer::Kept,
        ),
        (&[("192.0.2.9:4000", "0.0.0.0:5")], TowardPeer::Unobserved),
        // the latest report of one address stands
        (
            &[
                ("192.0.2.9:4000", "203.0.113.7:61000"),
                ("192.0.2.9:4000", MAPPED),
            ],
            TowardPeer::Kept,
        ),
        (
            &[
                ("192.0.2.9:4000", MAPPED),
                ("192.0.2.9:4000", "203.0.113.7:61000"),
            ],
            TowardPeer::Changed,
        ),
    ] {
        assert_eq!(
            reported(reports).summary(&cohort).toward_peer,
            expected,
            "{reports:?}"
        );
    }
}

#[test]
fn a_mapping_that_was_advertised_to_nobody_is_neither_kept_nor_changed() {
    let peer = reported(&[("192.0.2.9:4000", MAPPED)]);
    assert_eq!(
        peer.summary(&servers(&[])).toward_peer,
        TowardPeer::Unobserved
    );
    let mut of_another_base = Evidence::new();
    of_another_base.observe(seen("192.168.1.5:50001", TWO[0], MAPPED, 0));
    assert_eq!(
        peer.summary(&of_another_base).toward_peer,
        TowardPeer::Unobserved
    );
}

#[test]
fn a_symmetric_nat_keeps_a_mapping_only_if_it_is_one_of_those_advertised() {
    let mut cohort = servers(&TWO[..1]);
    cohort.observe(seen(BASE, TWO[1], "203.0.113.7:50009", 1));
    let toward = |mapped| {
        reported(&[("192.0.2.9:4000", mapped)])
            .summary(&cohort)
            .toward_peer
    };
    assert_eq!(toward("203.0.113.7:50009"), TowardPeer::Kept);
    assert_eq!(toward("203.0.113.7:50010"), TowardPeer::Changed);
}

#[test]
fn of_a_wildcard_base_nothing_is_called_changed() {
    let mut peer = PeerEvidence::new();
    let mut cohort = servers(&TWO);
    peer.observe(seen("0.0.0.0:50000", "192.0.2.9:4000", MAPPED, 0));
    assert_eq!(peer.summary(&cohort).toward_peer, TowardPeer::Kept);
    peer.observe(seen("0.0.0.0:50000", "192.0.2.9:4000", "203.0.113.99:1", 1));
    assert_eq!(peer.summary(&cohort).toward_peer, TowardPeer::Unobserved);
    cohort.observe(seen("0.0.0.0:50000", TWO[0], "203.0.113.98:1", 9));
    assert_eq!(peer.summary(&cohort).toward_peer, TowardPeer::Unobserved);
}

#[test]
fn a_host_without_a_nat_has_no_mapping_to_keep() {
    let mut cohort = Evidence::new();
    for server in TWO {
        cohort.observe(seen(
            "198.51.100.77:50000",
            server,
            "198.51.100.77:50000",
            0,
        ));
    }
    let mut peer = PeerEvidence::new();
    peer.observe(seen(
        "198.51.100.77:50000",
        "192.0.2.9:4000",
        "198.51.100.77:50000",
        0,
    ));
    peer.observe(seen(
        "198.51.100.77:50000",
        "192.0.2.10:4000",
        "203.0.113.1:9",
        1,
    ));
    let summary = peer.summary(&cohort);
    assert_eq!(
        (summary.toward_peer, summary.decided_by),
        (TowardPeer::Unobserved, DecidedBy::Servers)
    );
}

#[test]
fn with_one_server_or_none_the_peer_is_the_second_vantage_point_and_it_is_said_so() {
    let one = servers(&TWO[..1]);
    let verdict = |cohort: &Evidence, reports: &[(&str, &str)]| {
        let summary = reported(reports).summary(cohort);
        (summary.mapping, summary.rule, summary.decided_by)
    };
    let (peer, other, moved) = ("192.0.2.9:4000", "192.0.2.10:4000", "203.0.113.7:61000");
    let undecided = (Mapping::Unknown, Rule::TooFewServers, DecidedBy::Undecided);
    assert_eq!(verdict(&one, &[]), undecided);
    let agree = (
        Mapping::EndpointIndependent,
        Rule::ServersAgree,
        DecidedBy::Peer,
    );
    assert_eq!(verdict(&one, &[(peer, MAPPED)]), agree);
    assert_eq!(
        verdict(&one, &[(peer, moved)]),
        (Mapping::Dependent, Rule::ServersDiffer, DecidedBy::Peer)
    );
    // without a server two addresses of the peer can do it, and one cannot
    assert_eq!(
        verdict(&servers(&[]), &[(peer, MAPPED)]),
        (
            Mapping::Unknown,
            Rule::NothingObserved,
            DecidedBy::Undecided
        )
    );
    assert_eq!(
        verdict(&servers(&[]), &[(peer, MAPPED), (other, MAPPED)]),
        agree
    );
    // two ports of one address never prove independence, because another host may have one of them
    assert_eq!(verdict(&one, &[("198.51.100.1:9", MAPPED)]), undecided);
    assert_eq!(
        verdict(&one, &[("198.51.100.1:9", moved)]),
        (
            Mapping::AddressAndPortDependent,
            Rule::PortsOfOneServerDiffer,
            DecidedBy::Peer
        )
    );
    // a peer's report from a server's own address and port replaces nothing
    assert_eq!(verdict(&one, &[(TWO[0], moved)]), undecided);
    // nor does it say anything of the way out by way of our own external address, or of no NAT at
    // all
    assert_eq!(verdict(&one, &[("203.0.113.7:4000", moved)]), undecided);
    assert_eq!(verdict(&one, &[("192.168.1.9:4000", BASE)]), undecided);
}

#[test]
fn a_peer_that_lies_never_overrules_the_servers() {
    let cohort = servers(&TWO);
    let before = cohort.summary();
    let mut peer = reported(&[
        ("192.0.2.9:4000", "203.0.113.7:1"),
        ("192.0.2.10:4000", "8.8.8.8:2"),
    ]);
    peer.observe(seen(BASE, TWO[0], "203.0.113.7:666", 99));
    let summary = peer.summary(&cohort);
    assert_eq!(
        (summary.mapping, summary.rule, summary.decided_by),
        (before.mapping(), before.rule(), DecidedBy::Servers)
    );
    assert_eq!(cohort.summary(), before);
}

#[test]
fn a_packet_from_where_nobody_was_sent_to_proves_the_filter_open() {
    let cohort = servers(&TWO);
    let filtering = |arrivals: &[(&str, SentBefore)]| came_in(arrivals).summary(&cohort).filtering;
    use SentBefore::{Never, OtherPort};
    assert_eq!(filtering(&[]), FilteringSeen::Unobserved);
    assert_eq!(
        filtering(&[("192.0.2.9:4000", OtherPort)]),
        FilteringSeen::AtMostAddressDependent
    );
    assert_eq!(
        filtering(&[("192.0.2.9:4000", Never)]),
        FilteringSeen::Independent
    );
    assert_eq!(
        filtering(&[("192.0.2.9:4000", OtherPort), ("192.0.2.8:1", Never)]),
        FilteringSeen::Independent
    );
    for not_through_it in [
        "192.168.1.9:4000",
        "192.168.1.5:9",
        "203.0.113.7:9",
        "203.0.113.200:9",
        "10.0.0.1:9",
    ] {
        assert_eq!(
            filtering(&[(not_through_it, Never)]),
            FilteringSeen::Unobserved,
            "{not_through_it}"
        );
    }
    assert_eq!(
        FilteringSeen::AtMostAddressDependent.proven(),
        Filtering::Unknown
    );
}

/// Spec of the filtering evidence: a packet may come by a way around the NAT, such as a tunnel.
#[test]
fn an_arrival_without_a_report_of_an_external_mapping_proves_nothing() {
    let cohort = servers(&TWO);
    let (source, arrived) = ("192.0.2.9:4000", |peer: &mut PeerEvidence| {
        peer.record_unsolicited(UnsolicitedCheck {
            base: at(BASE),
            source: at("192.0.2.9:4000"),
            sent_before: SentBefore::Never,
        });
    });
    let filtering = |reports: &[(&str, &str)]| {
        let mut peer = reported(reports);
        arrived(&mut peer);
        peer.summary(&cohort).filtering
    };
    assert_eq!(filtering(&[]), FilteringSeen::Unobserved);
    for inside in [BASE, "10.0.0.7:50000", "100.64.3.7:50000"] {
        assert_eq!(
            filtering(&[(source, inside)]),
            FilteringSeen::Unobserved,
            "{inside}"
        );
    }
    assert_eq!(
        filtering(&[("192.0.2.10:4000", MAPPED)]),
        FilteringSeen::Unobserved,
        "another place of the peer may be reached by another way"
    );
    assert_eq!(filtering(&[(source, MAPPED)]), FilteringSeen::Independent);
    assert_eq!(
        filtering(&[("192.0.2.9:4001", "203.0.113.7:61000")]),
        FilteringSeen::Independent,
        "the address decides, and a changed port crossed the NAT just as well"
    );
}

#[test]
fn where_no_server_says_that_there_is_a_nat_nothing_is_proven_of_its_filter() {
    let arrived = came_in(&[("192.0.2.9:4000", SentBefore::Never)]);
    assert_eq!(
        arrived.summary(&servers(&[])).filtering,
        FilteringSeen::Unobserved
    );
    // the peer's word does not make one
    let mut with_word = reported(&[("192.0.2.10:4000", MAPPED)]);
    with_word.merge(&arrived);
    assert_eq!(
        with_word.summary(&servers(&[])).filtering,
        FilteringSeen::Unobserved
    );
    // and a base without one proves nothing either
    let mut open = servers(&TWO);
    open.add_local(at(MAPPED).ip());
    assert_eq!(arrived.summary(&open).filtering, FilteringSeen::Unobserved);
    let global_base = UnsolicitedCheck {
        base: at("9.1.2.3:50000"),
        source: at("192.0.2.9:4000"),
        sent_before: SentBefore::Never,
    };
    let mut campus = Evidence::new();
    campus.observe(seen("9.1.2.3:50000", TWO[0], MAPPED, 0));
    let mut peer = PeerEvidence::new();
    peer.record_unsolicited(global_base);
    assert_eq!(
        peer.summary(&campus).filtering,
        FilteringSeen::Unobserved,
        "it may have come by a way without a NAT"
    );
}

/// A global peer that reports an address of a private network has a proxy in front of it.
#[test]
fn a_report_of_an_address_that_is_not_global_shows_no_way_through_the_nat() {
    let base = "192.168.1.5:50001";
    for inside in [BASE, "10.20.3.7:50000"] {
        let mut cohort = Evidence::new();
        cohort.add_local(at(BASE).ip());
        cohort.observe(seen(base, "192.168.1.2:3478", inside, 0));
        assert_eq!(cohort.summary().is_natted(), Some(true), "{inside}");
        let mut peer = PeerEvidence::new();
        peer.observe(seen(base, "198.51.100.1:4000", inside, 1));
        peer.record_unsolicited(UnsolicitedCheck {
            base: at(base),
            source: at("198.51.100.1:4000"),
            sent_before: SentBefore::Never,
        });
        let filtering = peer.summary(&cohort).filtering;
        assert_eq!(filtering, FilteringSeen::Unobserved, "{inside}");
    }
}

#[test]
fn a_peer_that_sees_the_base_as_it_is_did_not_come_through_the_nat() {
    let cohort = servers(&TWO);
    let mut peer = came_in(&[("192.0.2.9:4000", SentBefore::Never)]);
    peer.observe(seen(BASE, "192.0.2.9:4000", BASE, 1));
    assert_eq!(peer.summary(&cohort).filtering, FilteringSeen::Unobserved);
    peer.observe(seen(BASE, "192.0.2.9:4000", MAPPED, 2));
    assert_eq!(peer.summary(&cohort).filtering, FilteringSeen::Independent);
}

#[test]
fn a_flood_of_sources_is_bounded_counted_and_argued_from_no_further() {
    let mut peer = PeerEvidence::new();
    for port in 1..=10_000 {
        peer.record_unsolicited(UnsolicitedCheck {
            base: at(BASE),
            source: ([192, 0, 2, 9], port).into(),
            sent_before: SentBefore::OtherPort,
        });
        peer.observe(Observation {
            base: at(BASE),
            server: SocketAddr::from(([192, 0, 2, 9], port)).into(),
            mapped: at(MAPPED),
            sequence: port.into(),
        });
    }
    assert_eq!(
        (peer.unsolicited_checks().len(), peer.answers().len()),
        (MAX_UNSOLICITED, nat_summary::MAX_OBSERVATIONS)
    );
    assert_eq!(
        peer.overflow() as usize,
        20_000 - MAX_UNSOLICITED - nat_summary::MAX_OBSERVATIONS
    );
    let summary = peer.summary(&servers(&TWO));
    assert_eq!(summary.filtering, FilteringSeen::AtMostAddressDependent);
    assert_eq!(
        summary.toward_peer,
        TowardPeer::Unobserved,
        "what had no room may have seen a change"
    );
    let summary = peer.summary(&servers(&TWO[..1]));
    assert_eq!(
        (summary.mapping, summary.decided_by),
        (Mapping::Unknown, DecidedBy::Undecided),
        "or another mapping"
    );
}

#[test]
fn of_one_source_the_stronger_fact_stands() {
    let mut peer = PeerEvidence::new();
    let arrival = |sent_before| UnsolicitedCheck {
        base: at(BASE),
        source: at("192.0.2.9:4000"),
        sent_before,
    };
    assert_eq!(
        peer.record_unsolicited(arrival(SentBefore::OtherPort)),
        Recorded::Kept
    );
    assert_eq!(
        peer.record_unsolicited(arrival(SentBefore::Never)),
        Recorded::Kept
    );
    assert_eq!(
        peer.record_unsolicited(arrival(SentBefore::OtherPort)),
        Recorded::Superseded
    );
    assert_eq!(
        peer.unsolicited_checks().next().unwrap().sent_before,
        SentBefore::Never
    );
}

#[test]
fn a_peer_inside_the_carriers_net_and_servers_outside_do_not_see_the_same_nats() {
    let outside = servers(&TWO[..1]);
    let (peer, other) = ("100.64.0.9:4000", "100.64.0.10:4000");
    let verdict = |cohort: &Evidence, reports: &[(&str, &str)]| {
        let summary = reported(reports).summary(cohort);
        (summary.mapping, summary.decided_by, summary.toward_peer)
    };
    let undecided = (
        Mapping::Unknown,
        DecidedBy::Undecided,
        TowardPeer::Unobserved,
    );
    assert_eq!(verdict(&outside, &[(peer, "100.64.3.7:50000")]), undecided);
    assert_eq!(
        verdict(
            &outside,
            &[(peer, "100.64.3.7:50000"), (other, "100.64.3.7:50001")]
        ),
        undecided
    );
    let mut inside = Evidence::new();
    inside.observe(seen(BASE, "100.64.0.1:3478", "100.64.3.7:50000", 0));
    assert_eq!(verdict(&inside, &[("192.0.2.9:4000", MAPPED)]), undecided);
    let kept = (
        Mapping::EndpointIndependent,
        DecidedBy::Peer,
        TowardPeer::Kept,
    );
    assert_eq!(verdict(&inside, &[(peer, "100.64.3.7:50000")]), kept);
    // nor does a server of the local network make a host without a NAT of this one
    let mut with_lan = outside;
    with_lan.observe(seen(BASE, "192.168.1.2:3478", BASE, 1));
    assert_eq!(verdict(&with_lan, &[("192.0.2.9:4000", MAPPED)]), kept);
    let mut lan = Evidence::new();
    lan.observe(seen(BASE, "192.168.1.2:3478", BASE, 1));
    assert_eq!(
        verdict(&lan, &[("192.0.2.9:4000", MAPPED)]),
        undecided,
        "nothing was advertised to compare it with"
    );
}

#[test]
fn a_filter_in_front_of_another_base_says_nothing_of_the_one_that_speaks() {
    let mut cohort = servers(&TWO);
    let v6 = "[fd00::5]:50000";
    cohort.observe(seen(v6, "[2001:db8:1::1]:3478", "[2001:db8:5::5]:50000", 2));
    cohort.observe(seen("192.168.7.5:50000", TWO[0], "192.0.2.200:50000", 3));
    assert_eq!(cohort.summary().primary_base().unwrap().base, at(BASE));
    let arrived = |base: &str, source: &str| {
        let mut peer = PeerEvidence::new();
        peer.record_unsolicited(UnsolicitedCheck {
            base: at(base),
            source: at(source),
            sent_before: SentBefore::Never,
        });
        let mapped = if base == v6 {
            "[2001:db8:5::5]:50000"
        } else {
            MAPPED
        };
        peer.observe(seen(base, source, mapped, 9));
        peer.summary(&cohort).filtering
    };
    assert_eq!(
        arrived(v6, "[2001:db8:9::9]:4000"),
        FilteringSeen::Unobserved
    );
    assert_eq!(
        arrived("192.168.7.5:50000", "198.51.100.9:4000"),
        FilteringSeen::Unobserved
    );
    assert_eq!(
        arrived(BASE, "198.51.100.9:4000"),
        FilteringSeen::Independent
    );
}

#[derive(Debug, Clone)]
enum Fact {
    Answered(Observation),
    Unsolicited(UnsolicitedCheck),
}

fn peer_of<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> PeerEvidence {
    let mut peer = PeerEvidence::new();
    for fact in facts {
        match fact {
            Fact::Answered(observation) => peer.observe(*observation),
            Fact::Unsolicited(arrival) => peer.record_unsolicited(*arrival),
        };
    }
    peer
}

fn a_base() -> impl Strategy<Value = SocketAddr> {
    select(&[
        BASE,
        BASE,
        "192.168.1.5:50001",
        "0.0.0.0:50000",
        "203.0.113.7:50000",
        "[2001:db8::5]:1",
    ])
    .prop_map(at)
}

fn a_place() -> impl Strategy<Value = SocketAddr> {
    let ip = select(&[
        "192.0.2.9",
        "192.0.2.10",
        "198.51.100.1",
        "192.168.1.9",
        "203.0.113.7",
        "10.0.0.1",
        "2001:db8::9",
    ]);
    (ip, select(&[4000_u16, 4001, 3478]))
        .prop_map(|(ip, port)| SocketAddr::new(ip.parse().unwrap(), port))
}

fn a_mapped() -> impl Strategy<Value = SocketAddr> {
    select(&[
        MAPPED,
        MAPPED,
        "203.0.113.7:61000",
        "203.0.113.8:50000",
        BASE,
        "0.0.0.0:0",
        "[2001:db8::5]:1",
    ])
    .prop_map(at)
}

fn an_observation() -> impl Strategy<Value = Observation> {
    (a_base(), a_place(), a_mapped(), 0..4_u32).prop_map(|(base, server, mapped, sequence)| {
        Observation {
            base,
            server: server.into(),
            mapped,
            sequence,
        }
    })
}

fn an_arrival() -> impl Strategy<Value = UnsolicitedCheck> {
    (
        a_base(),
        a_place(),
        select(&[SentBefore::Never, SentBefore::OtherPort]),
    )
        .prop_map(|(base, source, sent_before)| UnsolicitedCheck {
            base,
            source,
            sent_before,
        })
}

fn a_fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        an_observation().prop_map(Fact::Answered),
        an_arrival().prop_map(Fact::Unsolicited)
    ]
}

fn a_cohort() -> impl Strategy<Value = Evidence> {
    vec(an_observation(), 0..6).prop_map(|observations| {
        let mut evidence = Evidence::new();
        evidence.add_local(at(BASE).ip());
        evidence.record_outcome(at("198.51.100.200:3478").into(), Outcome::TimedOut);
        for observation in observations {
            evidence.observe(observation);
        }
        evidence
    })
}

proptest! {
    #[test]
    fn order_never_matters(facts in vec(a_fact(), 0..60), cohort in a_cohort(), seed in any::<u64>()) {
        let mut shuffled = facts.clone();
        let mut state = seed;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        let (one, other) = (peer_of(&facts), peer_of(&shuffled));
        prop_assert_eq!(one.summary(&cohort), other.summary(&cohort));
        let half = facts.len() / 2;
        let mut merged = peer_of(&facts[half..]);
        merged.merge(&peer_of(&facts[..half]));
        prop_assert_eq!(merged.summary(&cohort), one.summary(&cohort));
    }

    #[test]
    fn silence_proves_nothing(cohort in a_cohort()) {
        let summary = PeerEvidence::new().summary(&cohort);
        prop_assert_eq!((summary.toward_peer, summary.filtering), (TowardPeer::Unobserved, FilteringSeen::Unobserved));
        prop_assert_eq!(summary.mapping, cohort.summary().mapping());
        prop_assert_ne!(summary.decided_by, DecidedBy::Peer);
    }

    #[test]
    fn the_peer_never_overrules_the_servers(facts in vec(a_fact(), 0..20), cohort in a_cohort()) {
        let (before, summary) = (cohort.summary(), peer_of(&facts).summary(&cohort));
        if before.mapping() != Mapping::Unknown {
            prop_assert_eq!((summary.mapping, summary.decided_by), (before.mapping(), DecidedBy::Servers));
        }
        if summary.decided_by == DecidedBy::Peer {
            prop_assert_eq!(before.mapping(), Mapping::Unknown);
            prop_assert_ne!(summary.mapping, Mapping::Unknown);
            prop_assert_ne!(before.is_natted(), Some(false));
        }
    }

    #[test]
    fn only_arrivals_prove_a_filter_and_only_behind_a_nat_that_servers_saw(
        facts in vec(a_fact(), 0..20),
        cohort in a_cohort(),
    ) {
        let proven = peer_of(&facts).summary(&cohort).filtering;
        let speaking = cohort.summary().primary_base().copied();
        let behind = |arrival: &UnsolicitedCheck| speaking.is_some_and(|base| {
            base.natted == Some(true)
                && base.base == arrival.base
                && base.external.is_ipv4() == arrival.source.is_ipv4()
                && cohort.observations().any(|o| o.base == arrival.base && o.mapped.ip() != o.base.ip())
        });
        let proof = facts.iter().any(|fact| match fact {
            Fact::Unsolicited(arrival) => {
                behind(arrival)
                    && matches!(arrival.source.ip().to_string().as_str(), "192.0.2.9" | "192.0.2.10" | "198.51.100.1")
                    && (arrival.sent_before == SentBefore::Never || proven == FilteringSeen::AtMostAddressDependent)
            }
            Fact::Answered(_) => false,
        });
        prop_assert!(proof || proven == FilteringSeen::Unobserved);
        // without a report, a packet may have come around the NAT
        let silent: Vec<Fact> = facts.iter().filter(|fact| matches!(fact, Fact::Unsolicited(_))).cloned().collect();
        prop_assert_eq!(peer_of(&silent).summary(&cohort).filtering, FilteringSeen::Unobserved);
    }
}
