//! The observer: evidence from datagrams.

mod messages;
mod model;
mod peer;
mod stun;

use std::net::SocketAddr;
use std::time::Duration;

use nat_summary::observer::{IcmpError, MAX_PAIRS, Observer, Trust};
use nat_summary::{
    Filtering, FilteringSeen, Mapping, NatType, Outcome, PortAllocation, ServerId, TowardPeer,
};
use stun::{
    ALLOCATE, ALLOCATED, NOT_ALLOCATED, OURS, Passwords, THEIRS, check, check_answer, id, message,
    request, success, success_to, xor_mapped,
};

const BASE: &str = "192.168.1.5:50000";
const ONE: &str = "198.51.100.1:3478";
const TWO: &str = "198.51.100.2:3478";
const THREE: &str = "198.51.100.3:3478";
const PEER: &str = "192.0.2.9:40000";
const MAPPED: &str = "203.0.113.7:50000";
const OTHER: &str = "203.0.113.7:61000";

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Asks and answers within 30 ms.
fn exchange(observer: &mut Observer, now: u64, n: u8, server: &str, mapped: &str) {
    observer.sent(ms(now), at(BASE), at(server), &request(n));
    observer.received(ms(now + 30), at(BASE), at(server), &success(n, mapped));
}

fn nat_type(observer: &Observer) -> NatType {
    observer.evidence().summary().nat_type()
}

fn outcome(observer: &Observer, server: &str) -> Outcome {
    let server = ServerId::from(at(server));
    let evidence = observer.evidence();
    let found = evidence.servers().iter().find(|(id, _)| *id == server);
    found.unwrap().1
}

#[test]
fn two_servers_that_see_one_mapping_show_a_cone() {
    let mut observer = Observer::new();
    exchange(&mut observer, 0, 1, ONE, MAPPED);
    assert_eq!(nat_type(&observer), NatType::Unknown, "one server");
    exchange(&mut observer, 5, 2, TWO, MAPPED);
    assert_eq!(nat_type(&observer), NatType::Cone);
    assert_eq!(observer.evidence().locals(), [at(BASE).ip()]);
}

#[test]
fn two_servers_that_see_two_mappings_show_a_symmetric_nat() {
    let mut observer = Observer::new();
    exchange(&mut observer, 0, 1, ONE, MAPPED);
    exchange(&mut observer, 5, 2, TWO, OTHER);
    assert_eq!(nat_type(&observer), NatType::Symmetric);
}

/// webrtc 0.21 gives every request the id of zeros.
#[test]
fn one_id_for_every_server_is_kept_apart_by_the_source() {
    let mut observer = Observer::new();
    for server in [ONE, TWO, THREE] {
        observer.sent(ms(0), at(BASE), at(server), &request(0));
    }
    observer.received(ms(20), at(BASE), at(TWO), &success(0, MAPPED));
    assert_eq!(outcome(&observer, ONE), Outcome::Pending);
    assert_eq!(outcome(&observer, TWO), Outcome::Answered);
    observer.received(ms(30), at(BASE), at(ONE), &success(0, OTHER));
    assert_eq!(nat_type(&observer), NatType::Symmetric);
    assert_eq!(outcome(&observer, THREE), Outcome::Pending);
    assert_eq!(observer.counters().unknown_id, 0);
}

#[test]
fn an_answer_from_elsewhere_to_another_socket_or_to_no_request_is_no_evidence() {
    let mut observer = Observer::new();
    observer.sent(ms(0), at(BASE), at(ONE), &request(1));
    let answer = success(1, MAPPED);
    observer.received(ms(1), at(BASE), at("198.51.100.1:3479"), &answer);
    observer.received(ms(2), at(BASE), at(TWO), &answer);
    observer.received(ms(3), at("192.168.1.5:50001"), at(ONE), &answer);
    assert_eq!(observer.counters().wrong_source, 3);
    observer.received(ms(4), at(BASE), at(ONE), &success(2, MAPPED));
    assert_eq!(observer.counters().unknown_id, 1);
    assert_eq!(observer.evidence().observations().len(), 0);
    observer.received(ms(5), at(BASE), at(ONE), &answer);
    assert_eq!(observer.evidence().observations().len(), 1);
    // the second answer to one request
    observer.received(ms(6), at(BASE), at(ONE), &success(1, OTHER));
    assert_eq!(observer.counters().unknown_id, 2);
    let evidence = observer.evidence();
    assert_eq!(evidence.observations().next().unwrap().mapped, at(MAPPED));
}

#[test]
fn a_time_out_takes_two_copies_that_each_waited() {
    let asked = |copies: &[u64]| {
        let mut observer = Observer::new();
        for now in copies {
            observer.sent(ms(*now), at(BASE), at(ONE), &request(1));
        }
        observer
    };
    let after = |copies: &[u64], now| {
        let mut observer = asked(copies);
        observer.advance(ms(now));
        outcome(&observer, ONE)
    };
    assert_eq!(after(&[0], 60_000), Outcome::Pending, "one may get lost");
    assert_eq!(after(&[0, 500], 1_999), Outcome::Pending);
    assert_eq!(after(&[0, 500], 2_000), Outcome::TimedOut);
    assert_eq!(
        after(&[0, 1, 19], 60_000),
        Outcome::Pending,
        "a capture on three interfaces"
    );
    assert_eq!(after(&[0, 1, 500], 2_000), Outcome::TimedOut);

    let mut over = asked(&[0, 500]);
    over.advance(ms(1_000));
    over.end();
    assert_eq!(outcome(&over, ONE), Outcome::GivenUp, "cut short");
    let mut over = asked(&[0, 500]);
    over.advance(ms(2_000));
    over.end();
    assert_eq!(outcome(&over, ONE), Outcome::TimedOut);
}

fn two_silent_servers() -> Observer {
    let mut observer = Observer::new();
    for now in [0, 500] {
        for (n, server) in [(1, ONE), (2, TWO)] {
            observer.sent(ms(now), at(BASE), at(server), &request(n));
        }
    }
    observer
}

#[test]
fn udp_is_blocked_only_if_nothing_at_all_came_in() {
    let late = ms(3_000);
    let mut silent = two_silent_servers();
    silent.advance(late);
    assert_eq!(nat_type(&silent), NatType::UdpBlocked);

    type Sign = fn(&mut Observer);
    let signs: [(&str, Sign); 9] = [
        ("another id", |o| {
            o.received(ms(900), at(BASE), at(ONE), &success(9, MAPPED));
        }),
        ("another source", |o| {
            o.received(ms(900), at(BASE), at(PEER), &success(1, MAPPED));
        }),
        ("an error", |o| {
            o.received(ms(900), at(BASE), at(ONE), &message(0x0111, id(1), &[]));
        }),
        ("no mapped address", |o| {
            o.received(ms(900), at(BASE), at(ONE), &message(0x0101, id(1), &[]));
        }),
        ("broken", |o| {
            o.received(ms(900), at(BASE), at(ONE), &success(1, MAPPED)[..24]);
        }),
        ("DTLS", |o| {
            o.received(ms(900), at(BASE), at(PEER), b"\x16\xfe\xfd")
        }),
        ("a check", |o| {
            o.received(ms(900), at(BASE), at(PEER), &check(9, OURS));
        }),
        ("ICMP of the server", |o| {
            let reporter = Some(at(ONE).ip());
            o.unreachable(ms(900), at(BASE), at(ONE), IcmpError::Hard, reporter);
        }),
        ("a mapping that cannot be", |o| {
            o.received(ms(900), at(BASE), at(ONE), &success(1, "0.0.0.0:1"));
        }),
    ];
    for (name, sign) in signs {
        let mut observer = two_silent_servers();
        sign(&mut observer);
        observer.advance(late);
        assert_eq!(nat_type(&observer), NatType::Unknown, "{name}");
    }
}

#[test]
fn a_capture_of_one_direction_proves_no_silence() {
    let mut observer = two_silent_servers();
    observer.distrust_silence();
    observer.advance(ms(60_000));
    assert_eq!(outcome(&observer, ONE), Outcome::Pending);
    observer.end();
    assert_eq!(outcome(&observer, ONE), Outcome::GivenUp);
    assert_eq!(nat_type(&observer), NatType::Unknown);
}

#[test]
fn an_icmp_error_makes_a_server_unreachable_until_it_answers() {
    let router = Some(at("192.168.1.1:1").ip());
    let after = |error, reporter| {
        let mut observer = two_silent_servers();
        observer.unreachable(ms(600), at(BASE), at(ONE), error, reporter);
        observer.advance(ms(3_000));
        observer
    };
    for error in [IcmpError::Hard, IcmpError::Soft] {
        let mut observer = after(error, router);
        assert_eq!(outcome(&observer, ONE), Outcome::Unreachable, "{error:?}");
        assert_eq!(outcome(&observer, TWO), Outcome::TimedOut);
        assert_eq!(nat_type(&observer), NatType::Unknown);
        observer.received(ms(3_100), at(BASE), at(ONE), &success(1, MAPPED));
        assert_eq!(
            outcome(&observer, ONE),
            Outcome::Answered,
            "it may be forged"
        );
    }
    let mut soft = two_silent_servers();
    soft.unreachable(ms(600), at(BASE), at(ONE), IcmpError::Soft, router);
    assert_eq!(outcome(&soft, ONE), Outcome::Pending, "it may pass");
    soft.unreachable(ms(610), at(BASE), at(ONE), IcmpError::Hard, router);
    soft.unreachable(ms(620), at(BASE), at(ONE), IcmpError::Soft, router);
    assert_eq!(outcome(&soft, ONE), Outcome::Unreachable);
    assert_eq!(soft.counters().icmp, 3);
}

#[test]
fn a_turn_server_is_a_vantage_and_messages_inside_turn_are_counted() {
    let mut observer = Observer::new();
    observer.sent(ms(0), at(BASE), at(ONE), &message(ALLOCATE, id(1), &[]));
    let unauthorized = message(NOT_ALLOCATED, id(1), &[(0x0009, &[0, 0, 4, 1])]);
    observer.received(ms(10), at(BASE), at(ONE), &unauthorized);
    assert_eq!(outcome(&observer, ONE), Outcome::Refused);
    let with_user: [(u16, &[u8]); 2] = [(0x0006, b"user"), (0x0014, b"realm")];
    observer.sent(
        ms(20),
        at(BASE),
        at(ONE),
        &message(ALLOCATE, id(2), &with_user),
    );
    let [mapped, relayed] =
        [MAPPED, "198.51.100.1:50123"].map(|address| xor_mapped(at(address), id(2)));
    let allocated = message(ALLOCATED, id(2), &[(0x0016, &relayed), (0x0020, &mapped)]);
    observer.received(ms(30), at(BASE), at(ONE), &allocated);
    assert_eq!(outcome(&observer, ONE), Outcome::Answered);
    let server = observer.servers().next().unwrap();
    assert!(server.is_turn);
    assert_eq!(
        (server.mapped, server.error_code, server.sends),
        (Some(at(MAPPED)), Some(401), 2)
    );
    exchange(&mut observer, 40, 3, TWO, MAPPED);
    assert_eq!(nat_type(&observer), NatType::Cone);

    // a check of a peer that came by way of the relay did not cross the NAT as itself
    let inner = check(7, OURS);
    let data = message(0x0017, id(4), &[(0x0013, &inner)]);
    observer.received(ms(50), at(BASE), at(ONE), &data);
    observer.sent(ms(51), at(BASE), at(ONE), &message(0x0016, id(5), &[]));
    observer.received(ms(52), at(BASE), at(ONE), b"\x40\x00\x00\x04data");
    let counters = observer.counters();
    assert_eq!((counters.relayed, counters.channel_data), (2, 1));
    assert_eq!(observer.checks(), Default::default());
}

#[test]
fn checks_are_no_evidence_of_servers_and_requests_to_servers_are_no_checks() {
    let mut observer = Observer::new();
    observer.sent(ms(0), at(BASE), at(PEER), &check(1, THEIRS));
    observer.sent(ms(1), at(BASE), at(PEER), &check(1, THEIRS));
    let answer = check_answer(1, MAPPED, THEIRS);
    observer.received(ms(20), at(BASE), at(PEER), &answer);
    assert!(observer.evidence().servers().is_empty());
    assert_eq!(observer.evidence().observations().len(), 0);
    let checks = observer.checks();
    assert_eq!((checks.sent, checks.answered), (2, 1));
    let pair = observer.pairs().next().unwrap();
    assert_eq!(
        (pair.mapped, pair.last_answer),
        (Some(at(MAPPED)), Some(ms(20)))
    );
    exchange(&mut observer, 30, 2, ONE, MAPPED);
    assert_eq!(observer.checks().sent, 2);
    let summary = observer.peer_evidence().summary(&observer.evidence());
    assert_eq!(summary.toward_peer, TowardPeer::Kept);
}

#[test]
fn sockets_are_bases_of_their_own_and_a_wildcard_socket_is_one_per_way() {
    let mut observer = Observer::new();
    let other = "192.168.1.5:50001";
    exchange(&mut observer, 0, 1, ONE, MAPPED);
    observer.sent(ms(5), at(other), at(TWO), &request(2));
    observer.received(ms(40), at(other), at(TWO), &success(2, OTHER));
    assert_eq!(nat_type(&observer), NatType::Unknown, "never compared");
    assert_eq!(observer.evidence().summary().counts().bases, 2);

    let mut wildcard = Observer::new();
    for (n, server, mapped) in [(1, ONE, MAPPED), (2, TWO, OTHER)] {
        let any = at("0.0.0.0:50000");
        wildcard.sent(ms(0), any, at(server), &request(n));
        wildcard.received(ms(30), any, at(server), &success(n, mapped));
    }
    wildcard.add_local([192, 168, 1, 5].into());
    wildcard.add_local([10, 0, 0, 5].into());
    assert_eq!(nat_type(&wildcard), NatType::Unknown, "perhaps two ways");
    assert!(!wildcard.evidence().locals().contains(&[0, 0, 0, 0].into()));
}

#[test]
fn an_ipv4_address_in_ipv6_form_is_the_ipv4_address() {
    let mut observer = Observer::new();
    let (base, one) = (
        at("[::ffff:192.168.1.5]:50000"),
        at("[::ffff:198.51.100.1]:3478"),
    );
    observer.sent(ms(0), base, one, &request(1));
    observer.received(ms(9), at(BASE), at(ONE), &success(1, MAPPED));
    exchange(&mut observer, 20, 2, TWO, MAPPED);
    assert_eq!(nat_type(&observer), NatType::Cone);
}

/// A NAT forgets a mapping that lies idle, and the next packet makes another.
#[test]
fn a_mapping_that_was_made_anew_is_not_compared_with_the_one_before() {
    // another server is asked later
    let mut idle = Observer::new();
    exchange(&mut idle, 0, 1, ONE, MAPPED);
    exchange(&mut idle, 60_000, 2, TWO, OTHER);
    assert_eq!(idle.evidence().summary().mapping(), Mapping::Unknown);
    assert_eq!(outcome(&idle, ONE), Outcome::Answered);
    exchange(&mut idle, 60_100, 3, THREE, OTHER);
    assert_eq!(nat_type(&idle), NatType::Cone);

    // the same mapping after a long time is no other
    let mut kept = Observer::new();
    exchange(&mut kept, 0, 1, ONE, MAPPED);
    exchange(&mut kept, 60_000, 2, TWO, MAPPED);
    assert_eq!(nat_type(&kept), NatType::Cone);

    // a keepalive meets another mapping, and an answer to an earlier request comes in after it
    let mut rebound = Observer::new();
    exchange(&mut rebound, 0, 1, ONE, MAPPED);
    rebound.sent(ms(20), at(BASE), at(TWO), &request(2));
    exchange(&mut rebound, 30_000, 3, ONE, OTHER);
    rebound.received(ms(30_100), at(BASE), at(TWO), &success(2, MAPPED));
    assert_eq!(rebound.evidence().observations().len(), 1);
    assert_eq!(outcome(&rebound, TWO), Outcome::Answered);
    assert_eq!(rebound.evidence().summary().mapping(), Mapping::Unknown);
    assert_eq!(rebound.counters().remapped, 1);

    // keepalives that meet the same mapping keep a verdict
    let mut kept = Observer::new();
    exchange(&mut kept, 0, 1, ONE, MAPPED);
    exchange(&mut kept, 5, 2, TWO, OTHER);
    for n in 1..9 {
        let now = u64::from(n) * 10_000;
        exchange(&mut kept, now, 2 * n + 1, ONE, MAPPED);
        assert_eq!(nat_type(&kept), NatType::Symmetric);
        exchange(&mut kept, now + 5, 2 * n + 2, TWO, OTHER);
        assert_eq!(nat_type(&kept), NatType::Symmetric);
    }
}

/// No idle time explains it: two uplinks, perhaps. Nothing is concluded until that is over.
#[test]
fn a_server_that_reports_two_mappings_at_once_leaves_the_base_open() {
    let mut observer = Observer::new();
    exchange(&mut observer, 0, 1, ONE, MAPPED);
    exchange(&mut observer, 100, 2, ONE, OTHER);
    exchange(&mut observer, 200, 3, TWO, OTHER);
    assert_eq!(observer.evidence().summary().mapping(), Mapping::Unknown);
    exchange(&mut observer, 20_000, 4, ONE, OTHER);
    exchange(&mut observer, 20_100, 5, TWO, OTHER);
    assert_eq!(nat_type(&observer), NatType::Cone);
}

#[test]
fn no_order_of_ports_is_concluded_from_copies_or_from_a_late_start() {
    let allocation = |copies: usize, is_late: bool| {
        let mut observer = Observer::new();
        if is_late {
            observer.join_late();
        }
        for n in 1..=4_u8 {
            let server = at(&format!("198.51.100.{n}:3478"));
            for copy in 0..copies {
                let now = ms(u64::from(n) + 300 * copy as u64);
                observer.sent(now, at(BASE), server, &request(n));
            }
        }
        for n in 1..=4_u8 {
            let server = at(&format!("198.51.100.{n}:3478"));
            let mapped = format!("203.0.113.7:{}", 40_000 + u16::from(n));
            observer.received(ms(900), at(BASE), server, &success(n, &mapped));
        }
        observer.evidence().summary().port_allocation()
    };
    assert_eq!(allocation(1, false), PortAllocation::Sequential { step: 1 });
    assert_eq!(allocation(2, false), PortAllocation::Unknown);
    assert_eq!(allocation(1, true), PortAllocation::Unknown);
}

/// Two answers of servers, and a peer whose answer shows that the NAT is between.
fn with_peer<I: nat_summary::observer::Integrity>(observer: &mut Observer<I>) {
    for (n, server) in [(1, ONE), (2, TWO)] {
        observer.sent(ms(0), at(BASE), at(server), &request(n));
        observer.received(ms(9), at(BASE), at(server), &success(n, MAPPED));
    }
}

fn answers_of_peer<I: nat_summary::observer::Integrity>(observer: &mut Observer<I>) {
    observer.sent(ms(50), at(BASE), at(PEER), &check(3, THEIRS));
    let answer = check_answer(3, MAPPED, THEIRS);
    observer.received(ms(60), at(BASE), at(PEER), &answer);
}

#[test]
fn a_verified_check_from_an_address_never_sent_to_shows_the_filtering() {
    let mut verified = Observer::with_integrity(Passwords::both());
    with_peer(&mut verified);
    verified.received(ms(40), at(BASE), at(PEER), &check(9, OURS));
    answers_of_peer(&mut verified);
    assert_eq!(verified.trust(), Trust::Verified);
    let seen = |observer: &Observer<Passwords>| {
        observer
            .peer_evidence()
            .summary(&observer.evidence())
            .filtering
    };
    assert_eq!(seen(&verified), FilteringSeen::Independent);

    // from another port of an address that was sent to
    let mut other_port = Observer::with_integrity(Passwords::both());
    with_peer(&mut other_port);
    answers_of_peer(&mut other_port);
    let moved = at("192.0.2.9:40001");
    other_port.received(ms(70), at(BASE), moved, &check(9, OURS));
    assert_eq!(seen(&other_port), FilteringSeen::AtMostAddressDependent);

    // something was sent there before: STUN, or any other datagram
    for punch in [&check(8, THEIRS)[..], b"punch"] {
        let mut solicited = Observer::with_integrity(Passwords::both());
        with_peer(&mut solicited);
        solicited.sent(ms(39), at(BASE), at(PEER), punch);
        solicited.received(ms(40), at(BASE), at(PEER), &check(9, OURS));
        answers_of_peer(&mut solicited);
        assert_eq!(seen(&solicited), FilteringSeen::Unobserved);
    }

    // packets may have passed before
    let mut late = Observer::with_integrity(Passwords::both());
    late.join_late();
    with_peer(&mut late);
    late.received(ms(40), at(BASE), at(PEER), &check(9, OURS));
    answers_of_peer(&mut late);
    assert_eq!(seen(&late), FilteringSeen::Unobserved);
    assert_eq!(late.counters().maybe_solicited, 1);

    // more destinations than are remembered
    let mut crowded = Observer::with_integrity(Passwords::both());
    with_peer(&mut crowded);
    for n in 0..200 {
        let target = SocketAddr::from(([192, 0, 2, 200], 1000 + n));
        crowded.sent(ms(10), at(BASE), target, &check(8, THEIRS));
    }
    crowded.received(ms(40), at(BASE), at(PEER), &check(9, OURS));
    answers_of_peer(&mut crowded);
    assert_eq!(seen(&crowded), FilteringSeen::Unobserved);
}

#[test]
fn a_check_that_is_not_verified_never_shows_the_filtering() {
    let mut matched = Observer::new();
    with_peer(&mut matched);
    matched.received(ms(40), at(BASE), at(PEER), &check(9, OURS));
    answers_of_peer(&mut matched);
    assert_eq!(matched.trust(), Trust::Matched);
    assert_eq!(
        (matched.checks().received, matched.checks().answered),
        (1, 1)
    );
    assert_eq!(matched.peer_evidence().unsolicited_checks().len(), 0);
    let summary = matched.peer_evidence().summary(&matched.evidence());
    assert_eq!(summary.filtering, FilteringSeen::Unobserved);
    assert_eq!(summary.filtering.proven(), Filtering::Unknown);
    assert_eq!(summary.toward_peer, TowardPeer::Kept);
}

#[test]
fn a_forged_check_or_answer_and_an_unsigned_one_are_counted_and_dropped() {
    let mut observer = Observer::with_integrity(Passwords::both());
    with_peer(&mut observer);
    observer.received(ms(40), at(BASE), at(PEER), &check(9, THEIRS));
    let unsigned = message(0x0001, id(8), &[(0x0006, b"ours:theirs")]);
    observer.received(ms(41), at(BASE), at(PEER), &unsigned);
    observer.sent(ms(50), at(BASE), at(PEER), &check(3, THEIRS));
    let forged = check_answer(3, OTHER, OURS);
    observer.received(ms(60), at(BASE), at(PEER), &forged);
    observer.received(ms(61), at(BASE), at(PEER), &success(3, OTHER));
    assert_eq!(observer.counters().unauthenticated, 4);
    assert_eq!(observer.trust(), Trust::Unobserved);
    assert_eq!(observer.peer_evidence().answers().len(), 0);
    assert_eq!(
        (observer.checks().received, observer.checks().answered),
        (0, 0)
    );
    // the check still waits for the peer's own answer
    let answer = check_answer(3, MAPPED, THEIRS);
    observer.received(ms(62), at(BASE), at(PEER), &answer);
    assert_eq!(observer.checks().answered, 1);
}

#[test]
fn a_check_that_is_sent_again_from_elsewhere_counts_once() {
    let mut observer = Observer::with_integrity(Passwords::both());
    let recorded = check(9, OURS);
    observer.sent(ms(0), at(BASE), at(PEER), &check(1, THEIRS));
    observer.received(ms(40), at(BASE), at(PEER), &recorded);
    observer.received(ms(41), at(BASE), at("198.51.100.77:9"), &recorded);
    assert_eq!(observer.counters().replayed, 1);
    assert_eq!(observer.peer_evidence().unsolicited_checks().len(), 0);
}

#[test]
fn verified_facts_replace_those_that_were_only_matched() {
    let mut observer = Observer::with_integrity(Passwords::default());
    observer.sent(ms(0), at(BASE), at(PEER), &check(1, THEIRS));
    let forged = check_answer(1, OTHER, "a stranger's");
    observer.received(ms(9), at(BASE), at(PEER), &forged);
    assert_eq!(observer.trust(), Trust::Matched);
    *observer.integrity_mut() = Passwords::both();
    answers_of_peer(&mut observer);
    assert_eq!(observer.trust(), Trust::Verified);
    let reported: Vec<SocketAddr> = observer
        .peer_evidence()
        .answers()
        .map(|answer| answer.mapped)
        .collect();
    assert_eq!(reported, [at(MAPPED)]);
    assert_eq!(observer.checks().answered, 1);
    assert_eq!(observer.checks().sent, 2, "our own are known for certain");
    assert_eq!(observer.pairs().next().unwrap().answered, 1);
    // and none is mixed in later
    *observer.integrity_mut() = Passwords::default();
    observer.received(ms(99), at(BASE), at(PEER), &check(9, OURS));
    assert_eq!(observer.counters().unverified, 1);
    assert_eq!(observer.checks().received, 0);
}

#[test]
fn a_peer_that_reports_another_mapping_is_a_rebinding_and_an_overtaken_answer_is_not() {
    let mut observer = Observer::new();
    let report = |observer: &mut Observer, n, mapped| {
        let answer = check_answer(n, mapped, THEIRS);
        observer.received(ms(u64::from(n)), at(BASE), at(PEER), &answer);
    };
    for n in 1..=3 {
        observer.sent(ms(0), at(BASE), at(PEER), &check(n, THEIRS));
    }
    report(&mut observer, 1, MAPPED);
    report(&mut observer, 3, OTHER);
    assert_eq!(observer.counters().rebindings, 1);
    report(&mut observer, 2, MAPPED);
    assert_eq!(observer.counters().rebindings, 1);
    let answer = observer.peer_evidence().answers().next().unwrap();
    assert_eq!(answer.mapped, at(OTHER));
}

#[test]
fn checks_sent_since_the_peers_came_in_are_counted_by_pair() {
    let mut observer = Observer::new();
    observer.sent(ms(0), at(BASE), at(PEER), &check(1, THEIRS));
    observer.received(ms(1), at(BASE), at(PEER), &check(9, OURS));
    for n in 2..=4 {
        observer.sent(ms(2), at(BASE), at(PEER), &check(n, THEIRS));
    }
    observer.sent(ms(3), at(BASE), at(TWO), &check(5, THEIRS));
    let checks = observer.checks();
    assert_eq!(
        (checks.sent, checks.received, checks.sent_since_received),
        (5, 1, 3)
    );
}

/// Whatever comes in, the tables keep their size, and nothing becomes more certain.
#[test]
fn a_flood_is_bounded_and_proves_nothing() {
    assert!(
        size_of::<Observer>() <= 50 * 1024,
        "{}",
        size_of::<Observer>()
    );
    let mut observer = Observer::new();
    for n in 0..2_000_u16 {
        let [high, low] = n.to_be_bytes();
        let server = SocketAddr::from(([198, 51, 100 + high, low], 3478));
        let id = [high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        observer.sent(ms(0), at(BASE), server, &message(0x0001, id, &[]));
        let peer = SocketAddr::from(([192, 0, high, low], 9));
        let mut bytes = message(0x0001, id, &[(0x0006, b"a:b")]);
        stun::sign(&mut bytes, OURS);
        observer.received(ms(1), at(BASE), peer, &bytes);
        observer.sent(ms(1), at(BASE), peer, &bytes);
        if n % 2 == 0 {
            let mapped = SocketAddr::from(([203, 0, 113, 7], 10_000 + n));
            observer.received(ms(2), at(BASE), server, &success_to(id, mapped));
        }
    }
    assert_eq!(observer.servers().count(), 64);
    assert_eq!(observer.pairs().len(), MAX_PAIRS);
    assert!(observer.evidence().observations().len() <= 64);
    assert!(observer.evidence().discarded().overflow > 0);
    assert_eq!(observer.trust(), Trust::Matched);
    assert_eq!(observer.peer_evidence().unsolicited_checks().len(), 0);
}

#[test]
fn time_never_goes_back() {
    let mut observer = two_silent_servers();
    observer.advance(ms(3_000));
    observer.advance(ms(0));
    assert_eq!(nat_type(&observer), NatType::UdpBlocked);
    exchange(&mut observer, 0, 7, ONE, MAPPED);
    assert_eq!(outcome(&observer, ONE), Outcome::Answered);
}
