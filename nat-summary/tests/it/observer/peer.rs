//! The peer's checks by themselves: what has no room, and what is no mapping.

use std::net::SocketAddr;
use std::time::Duration;

use nat_summary::observer::{
    InPlace, Integrity, MAX_DESTINATIONS, MAX_PAIRS, Message, Password, Peer, Refusal, Signed,
    Verification,
};
use nat_summary::{Evidence, PeerEvidence, SentBefore, TowardPeer};

use super::stun::{OURS, THEIRS, check, check_answer};
use super::{BASE, MAPPED, OTHER, at, id};

/// Every signature is right.
struct Trusting;

impl Integrity for Trusting {
    fn verify(&self, _: Password, _: Option<&[u8]>, _: &Signed<'_>) -> Verification {
        Verification::Verified
    }
}

fn remote(n: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 1_000 + n))
}

fn answered(peer: &mut Peer, n: u8, remote: SocketAddr, sequence: u32, mapped: &str) {
    peer.check_sent(at(BASE), remote, id(n), sequence, Duration::ZERO);
    let answer = check_answer(n, mapped, THEIRS);
    let answer = Message::read(&answer).unwrap();
    let filed = peer.answer_received(at(BASE), remote, &answer, &Trusting, Duration::ZERO);
    assert_eq!(filed.unwrap().mapped, Some(at(mapped)));
}

fn toward_peer(evidence: &PeerEvidence) -> TowardPeer {
    let mut servers = Evidence::new();
    for host in [1, 2] {
        servers.observe(nat_summary::Observation {
            base: at(BASE),
            server: SocketAddr::from(([198, 51, 100, host], 3478)).into(),
            mapped: at(MAPPED),
            sequence: 0,
        });
    }
    evidence.summary(&servers).toward_peer
}

#[test]
fn pairs_without_a_word_of_the_peer_make_room_for_one_that_spoke() {
    let mut peer = Peer::<InPlace>::new();
    for n in 0..1_000 {
        peer.check_sent(at(BASE), remote(n), [0; 12], 0, Duration::ZERO);
    }
    assert_eq!(peer.pairs().len(), MAX_PAIRS);
    answered(&mut peer, 7, remote(5_000), 1_001, MAPPED);
    assert_eq!(peer.pairs().len(), MAX_PAIRS);
    let evidence = peer.evidence();
    assert_eq!((evidence.answers().len(), evidence.overflow()), (1, 0));
    assert_eq!(toward_peer(&evidence), TowardPeer::Kept);
    assert_eq!(peer.checks().sent, 1_001);
}

#[test]
fn answers_beyond_the_room_are_counted_whatever_their_order_and_nothing_is_called_kept() {
    let ports: Vec<u16> = (0..80).collect();
    let of = |ports: &mut dyn Iterator<Item = u16>| {
        let mut peer = Peer::<InPlace>::new();
        for (n, port) in (0..).zip(ports) {
            answered(&mut peer, n, remote(port), 1, MAPPED);
        }
        peer.evidence()
    };
    let upward = of(&mut ports.iter().copied());
    assert_eq!((upward.answers().len(), upward.overflow()), (MAX_PAIRS, 16));
    assert_eq!(of(&mut ports.iter().rev().copied()), upward);
    let shuffled = ports.iter().map(|port| port * 37 % 80);
    assert_eq!(of(&mut { shuffled }), upward);
    assert_eq!(toward_peer(&upward), TowardPeer::Unobserved);
}

#[test]
fn a_report_that_no_nat_can_have_made_is_no_rebinding() {
    let mut peer = Peer::<InPlace>::new();
    for (n, mapped) in [
        (1, MAPPED),
        (2, "0.0.0.0:9"),
        (3, "203.0.113.7:0"),
        (4, MAPPED),
    ] {
        answered(&mut peer, n, remote(0), n.into(), mapped);
    }
    assert_eq!(peer.rebindings(), 0);
    assert_eq!(peer.evidence().impossible(), 2);
    answered(&mut peer, 5, remote(0), 5, OTHER);
    assert_eq!(peer.rebindings(), 1);
    assert_eq!(peer.evidence().answers().next().unwrap().mapped, at(OTHER));
}

#[test]
fn a_check_that_did_not_leave_never_was() {
    let mut peer = Peer::<InPlace>::new();
    let incoming = check(1, OURS);
    let incoming = Message::read(&incoming).unwrap();
    let arrival = peer.check_received(at(BASE), remote(0), &incoming, &Trusting);
    assert!(!arrival.unwrap().is_maybe_solicited);
    peer.check_sent(at(BASE), remote(0), id(2), 1, Duration::ZERO);
    peer.check_sent(at(BASE), remote(0), id(3), 2, Duration::ZERO);
    assert_eq!(
        (peer.checks().sent, peer.checks().sent_since_received),
        (2, 2)
    );
    peer.check_not_sent(id(3));
    peer.check_not_sent(id(9));
    assert_eq!(
        (peer.checks().sent, peer.checks().sent_since_received),
        (1, 1)
    );
    let late = check_answer(3, MAPPED, THEIRS);
    let late = Message::read(&late).unwrap();
    let filed = peer.answer_received(at(BASE), remote(0), &late, &Trusting, Duration::ZERO);
    assert_eq!(filed, Err(Refusal::UnknownId));
}

#[test]
fn through_a_relay_nothing_of_the_nat_is_seen_and_a_replay_is_known_on_every_way() {
    let mut peer = Peer::<InPlace>::new();
    let incoming = check(1, OURS);
    let incoming = Message::read(&incoming).unwrap();
    assert_eq!(peer.relayed_check_received(&incoming, &Trusting), Ok(true));
    assert_eq!(peer.relayed_check_received(&incoming, &Trusting), Ok(false));
    let filed = peer.check_received(at(BASE), remote(0), &incoming, &Trusting);
    assert_eq!(filed, Err(Refusal::Replayed));
    peer.relayed_check_sent(at(BASE), remote(0), id(2), Duration::ZERO);
    let answer = check_answer(2, MAPPED, THEIRS);
    let answer = Message::read(&answer).unwrap();
    let direct = peer.answer_received(at(BASE), remote(0), &answer, &Trusting, Duration::ZERO);
    assert_eq!(direct, Err(Refusal::UnknownId));
    let relayed = peer.relayed_answer_received(at(BASE), remote(0), &answer, &Trusting);
    assert_eq!(relayed.map(|asked_at| asked_at.is_some()), Ok(true));
    let checks = peer.checks();
    assert_eq!((checks.relayed, checks.sent, checks.answered), (2, 0, 0));
    assert_eq!(peer.pairs().len(), 0);
}

#[test]
fn once_an_address_sent_to_had_no_room_no_check_is_unsolicited() {
    let arrival = |sent_to: usize| {
        let mut peer = Peer::<InPlace>::new();
        for n in 0..sent_to {
            peer.note_destination(remote(u16::try_from(n).unwrap()));
        }
        let incoming = check(1, OURS);
        let incoming = Message::read(&incoming).unwrap();
        let source = SocketAddr::from(([192, 0, 2, 77], 9));
        let arrival = peer.check_received(at(BASE), source, &incoming, &Trusting);
        let unsolicited = peer.evidence().unsolicited_checks().next();
        assert_eq!(unsolicited.is_none(), arrival.unwrap().is_maybe_solicited);
        unsolicited.map(|check| check.sent_before)
    };
    assert_eq!(arrival(MAX_DESTINATIONS), Some(SentBefore::Never));
    assert_eq!(arrival(MAX_DESTINATIONS + 1), None);
}
