//! Facts as they are handed in and read back.

use std::net::SocketAddr;

use nat_summary::{
    Candidate, Evidence, FilteringSeen, Observation, Outcome, PeerEvidence, Recorded, SentBefore,
    ServerId, TowardPeer, UnsolicitedCheck,
};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn seen(server: &str, mapped: &str, sequence: u32) -> Observation {
    Observation {
        base: at("192.168.1.5:50000"),
        server: at(server).into(),
        mapped: at(mapped),
        sequence,
    }
}

#[test]
fn a_local_address_is_kept_once_in_its_canonical_form() {
    let mut evidence = Evidence::new();
    let add = |evidence: &mut Evidence, ip: &str| evidence.add_local(ip.parse().unwrap());
    assert_eq!(add(&mut evidence, "0.0.0.0"), Recorded::Impossible);
    assert_eq!(add(&mut evidence, "::ffff:10.0.0.1"), Recorded::Kept);
    assert_eq!(add(&mut evidence, "10.0.0.1"), Recorded::Superseded);
    assert_eq!(evidence.locals(), [at("10.0.0.1:1").ip()]);
}

#[test]
fn of_two_outcomes_of_a_server_the_stronger_stands() {
    let server = |n: u8| ServerId::Address([198, 51, 100, n].into(), 3478);
    let mut evidence = Evidence::new();
    evidence.record_outcome(server(2), Outcome::TimedOut);
    assert_eq!(
        evidence.record_outcome(server(2), Outcome::Unreachable),
        Recorded::Superseded
    );
    assert_eq!(
        evidence.record_outcome(server(1), Outcome::Refused),
        Recorded::Kept
    );
    let sorted = [
        (server(1), Outcome::Refused),
        (server(2), Outcome::TimedOut),
    ];
    assert_eq!(evidence.servers(), sorted);
}

#[test]
fn a_server_answered_though_its_mapped_address_is_impossible() {
    let mut evidence = Evidence::new();
    for impossible in ["0.0.0.0:50000", "203.0.113.7:0"] {
        let observation = seen("198.51.100.1:3478", impossible, 0);
        assert!(!observation.is_possible());
        assert_eq!(evidence.observe(observation), Recorded::Impossible);
    }
    assert!(seen("198.51.100.1:3478", "203.0.113.7:1", 0).is_possible());
    let answered = (at("198.51.100.1:3478").into(), Outcome::Answered);
    assert_eq!(evidence.servers(), [answered]);
    assert_eq!(evidence.discarded().impossible, 2);
}

#[test]
fn an_answer_with_both_addresses_shows_whether_they_were_rewritten() {
    let mut evidence = Evidence::new();
    let mapped = "203.0.113.7:50000";
    evidence.observe(seen("198.51.100.1:3478", mapped, 0));
    assert_eq!(evidence.summary().rewritten(), None);
    evidence.observe_both(seen("198.51.100.1:3478", mapped, 1), at(mapped));
    assert_eq!(evidence.summary().rewritten(), Some(false));
}

#[test]
fn a_candidate_gives_its_parts_as_far_as_they_are_shown() {
    let line = "candidate:2 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 40000";
    let candidate = Candidate::parse(line).unwrap();
    assert_eq!(candidate.socket_addr(), Some(at("203.0.113.7:50000")));
    assert_eq!(candidate.base(), Some(at("192.168.1.5:40000")));
    assert_eq!(candidate.server(), None, "a line has no server");
    let server = |url| candidate.with_url(url).server();
    assert_eq!(
        server("turns:turn.example.org?transport=tcp"),
        Some(ServerId::named("turn.example.org", 5349))
    );
    assert_eq!(server("https://example.org"), None);
    let hidden = Candidate::parse("candidate:1 1 udp 1 5f9a7c0e.local 50000 typ host").unwrap();
    assert_eq!((hidden.address.ip(), hidden.socket_addr()), (None, None));
}

#[test]
fn a_server_is_known_by_address_or_by_name_whatever_its_port() {
    let (first, second) = (
        ServerId::named("198.51.100.1", 3478),
        ServerId::named("198.51.100.1", 3479),
    );
    assert!(first != second && first.is_same_address(&second));
    let name = ServerId::named("STUN.example.org.", 3478);
    assert_eq!(name, ServerId::named("stun.example.org", 3478));
    assert!(!first.is_same_address(&name));
    assert_eq!(
        ServerId::from_url("turns:[2001:db8::5]:443?transport=tcp"),
        Some(at("[2001:db8::5]:443").into())
    );
    assert_eq!(
        ServerId::from_url("stuns:stun.example.org"),
        Some(ServerId::named("stun.example.org", 5349))
    );
    assert_eq!(ServerId::from_url("https://stun.example.org"), None);
}

#[test]
fn of_two_reports_of_a_peer_the_later_stands_and_an_impossible_one_is_counted() {
    let mut peer = PeerEvidence::new();
    let later = seen("192.0.2.9:40000", "203.0.113.7:61000", 8);
    assert_eq!(peer.observe(later), Recorded::Kept);
    let overtaken = seen("192.0.2.9:40000", "203.0.113.7:50000", 7);
    assert_eq!(peer.observe(overtaken), Recorded::Superseded);
    let impossible = seen("192.0.2.9:40001", "255.255.255.255:50000", 9);
    assert_eq!(peer.observe(impossible), Recorded::Impossible);
    assert!(peer.answers().eq([later]));
    assert_eq!((peer.impossible(), peer.overflow()), (1, 0));
    let none = PeerEvidence::new().summary(&Evidence::new());
    assert_eq!(
        (none.toward_peer, none.filtering),
        (TowardPeer::Unobserved, FilteringSeen::Unobserved)
    );
}

#[test]
fn of_two_checks_from_one_source_the_one_that_proves_more_stands() {
    let check = |source: &str, sent_before| UnsolicitedCheck {
        base: at("192.168.1.5:50000"),
        source: at(source),
        sent_before,
    };
    let (mut one, mut other) = (PeerEvidence::new(), PeerEvidence::new());
    one.record_unsolicited(check("192.0.2.9:40001", SentBefore::OtherPort));
    one.record_unsolicited(check("192.0.2.9:40000", SentBefore::OtherPort));
    other.record_unsolicited(check("192.0.2.9:40001", SentBefore::Never));
    assert_eq!(
        other.record_unsolicited(check("192.0.2.9:40001", SentBefore::OtherPort)),
        Recorded::Superseded
    );
    one.merge(&other);
    assert!(one.unsolicited_checks().eq([
        check("192.0.2.9:40000", SentBefore::OtherPort),
        check("192.0.2.9:40001", SentBefore::Never),
    ]));
}
