//! The evidence of the peer's checks, and attackers who forge it.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use ice_gather::checks::{PeerReader, Remapped};
use ice_gather::responder::Responder;
use ice_gather::stun::{Header, TransactionId};
use ice_gather::{
    AgentConfig, Base, BindConfig, Credentials, GatherConfig, IceAgent, PeerDropped,
    RemoteCandidate, RemoteDescription, Role,
};
use nat_summary::{
    CandidateKind, Checks, MAX_OBSERVATIONS, MAX_UNSOLICITED, SentBefore, TowardPeer,
};
use proptest::prelude::*;
use stun::agent::TransactionId as StunId;
use stun::attributes::{ATTR_USERNAME, ATTR_XORMAPPED_ADDRESS, RawAttribute};
use stun::integrity::MessageIntegrity;
use stun::message::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, MessageType, Setter,
};
use stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;

use crate::gather::base;

const OURS: &str = "our-password-of-22-letters";
const THEIRS: &str = "their-password-of-22-letters";
const BASE: &str = "192.168.1.5:50000";
const PEER: &str = "192.0.2.9:4000";
const MAPPED: &str = "203.0.113.7:50000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn id(number: u32) -> TransactionId {
    let mut id = [7; 12];
    id[..4].copy_from_slice(&number.to_be_bytes());
    id
}

/// A message with these attributes, signed with `password`.
pub(crate) fn signed(
    typ: MessageType,
    id: TransactionId,
    attributes: &[&dyn Setter],
    password: &str,
) -> Vec<u8> {
    signed_behind(0, typ, id, attributes, password)
}

/// The same with these bits in its first byte.
fn signed_behind(
    bits: u8,
    typ: MessageType,
    id: TransactionId,
    attributes: &[&dyn Setter],
    password: &str,
) -> Vec<u8> {
    let mut message = Message::new();
    message.typ = typ;
    message.transaction_id = StunId(id);
    message.write_header();
    message.raw[0] |= bits;
    for attribute in attributes {
        attribute.add_to(&mut message).unwrap();
    }
    MessageIntegrity::new_short_term_integrity(password.to_owned())
        .add_to(&mut message)
        .unwrap();
    stun::fingerprint::FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

fn mapped_to(mapped: SocketAddr) -> XorMappedAddress {
    XorMappedAddress {
        ip: mapped.ip(),
        port: mapped.port(),
    }
}

fn success(number: u32, mapped: &str) -> Vec<u8> {
    signed(
        BINDING_SUCCESS,
        id(number),
        &[&mapped_to(at(mapped))],
        THEIRS,
    )
}

fn request(number: u32) -> Vec<u8> {
    signed(BINDING_REQUEST, id(number), &[], OURS)
}

/// A reader with a clock, behind one base.
struct World {
    reader: PeerReader,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let mut reader = PeerReader::new();
        reader.set_local_password(OURS);
        reader.set_remote_password(THEIRS);
        Self {
            reader,
            now: Instant::now(),
        }
    }

    /// In a process that runs: its clockwork goes on as finely as it can be told from standing
    /// still.
    fn wait(&mut self, milliseconds: u64) -> &mut Self {
        let until = self.now + Duration::from_millis(milliseconds);
        while self.now < until {
            self.now = until.min(self.now + Duration::from_millis(100));
            self.reader.heartbeat(self.now, Duration::ZERO);
        }
        self
    }

    fn check(&mut self, number: u32, target: &str) {
        let header = Header::peek(&signed(BINDING_REQUEST, id(number), &[], THEIRS)).unwrap();
        self.reader.on_sent(at(BASE), at(target), header, self.now);
    }

    fn answer(&mut self, source: &str, datagram: &[u8]) -> Option<Remapped> {
        self.reader
            .on_response(at(BASE), at(source), datagram, self.now)
    }

    fn receive(&mut self, source: &str, datagram: &[u8]) -> bool {
        self.reader
            .on_request(at(BASE), at(source), datagram, true, self.now)
    }

    fn dropped(&self) -> PeerDropped {
        self.reader.view().dropped
    }

    fn mappings(&self) -> Vec<String> {
        self.reader
            .view()
            .evidence
            .answers()
            .map(|o| o.mapped.to_string())
            .collect()
    }

    fn counts(&self) -> (u32, u32, u32) {
        let Checks {
            sent,
            answered,
            received,
            ..
        } = self.reader.view().checks;
        (sent, answered, received)
    }
}

#[test]
fn checks_count_as_one_way_only_to_the_address_that_the_peers_came_from() {
    let mut world = World::new();
    let since = |world: &World| world.reader.view().checks.sent_since_received;
    let elsewhere = "192.0.2.99:4242";
    let request = |n| signed(BINDING_REQUEST, id(n), &[], OURS);
    world.check(1, PEER);
    assert!(world.receive(PEER, &request(100)));
    for n in 2..9 {
        world.check(n, elsewhere);
    }
    assert_eq!(since(&world), 0, "none of them went there");
    world.check(9, PEER);
    world.check(10, PEER);
    assert_eq!(since(&world), 2);
    // the socket refused it
    world.check(13, PEER);
    let refused = Header::peek(&signed(BINDING_REQUEST, id(13), &[], THEIRS)).unwrap();
    world.reader.on_not_sent(refused);
    world.reader.on_not_sent(refused);
    assert_eq!((since(&world), world.counts().0), (2, 10));
    // each address counts by itself
    assert!(world.receive(elsewhere, &request(101)));
    world.check(11, elsewhere);
    assert_eq!(since(&world), 2);
    // more addresses than are counted
    for port in 1..50 {
        assert!(world.receive(&format!("192.0.2.98:{port}"), &request(200 + port)));
    }
    world.check(12, "192.0.2.98:49");
    assert_eq!(since(&world), 2);
}

#[test]
fn an_authenticated_answer_to_a_check_that_was_sent_reports_the_mapping_of_the_base() {
    let mut world = World::new();
    world.check(1, PEER);
    assert_eq!(world.answer(PEER, &success(1, MAPPED)), None);
    assert_eq!(
        (world.mappings(), world.counts()),
        (vec![MAPPED.to_owned()], (1, 1, 0))
    );
    world.check(2, PEER);
    let ipv6 = "[2001:db8::7]:50000";
    world.answer(PEER, &success(2, ipv6));
    assert_eq!(world.mappings().last().map(String::as_str), Some(ipv6));
    assert_eq!(world.dropped(), PeerDropped::default());
}

#[test]
fn a_replayed_answer_counts_once() {
    let mut world = World::new();
    world.check(1, PEER);
    for _ in 0..3 {
        world.answer(PEER, &success(1, MAPPED));
    }
    assert_eq!((world.counts(), world.dropped().unknown_id), ((1, 1, 0), 2));
}

#[test]
fn an_answer_to_no_check_or_from_elsewhere_is_none() {
    let mut world = World::new();
    world.answer(PEER, &success(9, MAPPED));
    assert_eq!(world.dropped().unknown_id, 1);
    world.check(1, PEER);
    for elsewhere in ["192.0.2.9:4001", "192.0.2.10:4000"] {
        world.answer(elsewhere, &success(1, MAPPED));
    }
    world.reader.on_response(
        at("192.168.1.5:50001"),
        at(PEER),
        &success(1, MAPPED),
        world.now,
    );
    assert_eq!(
        (world.dropped().wrong_source, world.mappings().len()),
        (3, 0)
    );
    world.answer(PEER, &success(1, MAPPED));
    assert_eq!(world.mappings(), [MAPPED], "the true one is still taken");
}

#[test]
fn a_spoofed_answer_proves_nothing_and_the_true_one_is_still_taken() {
    let mut world = World::new();
    world.check(1, PEER);
    let lie = "203.0.113.66:666";
    let mut tampered = success(1, MAPPED);
    tampered[27] ^= 1;
    let unsigned = {
        let mut message = Message::new();
        message.typ = BINDING_SUCCESS;
        message.transaction_id = StunId(id(1));
        message.write_header();
        mapped_to(at(lie)).add_to(&mut message).unwrap();
        message.raw
    };
    let with = |password| signed(BINDING_SUCCESS, id(1), &[&mapped_to(at(lie))], password);
    let mut longer = success(1, MAPPED);
    longer.extend_from_slice(&[0; 4]);
    let truncated = success(1, MAPPED)[..40].to_vec();
    let spoofed = [
        with("a-guess"),
        with(OURS),
        with(""),
        tampered,
        unsigned,
        longer,
        truncated,
    ];
    for datagram in &spoofed {
        assert_eq!(world.answer(PEER, datagram), None);
    }
    assert_eq!(
        (world.dropped().unauthenticated as usize, world.counts()),
        (spoofed.len(), (1, 0, 0))
    );
    world.answer(PEER, &success(1, MAPPED));
    assert_eq!(world.mappings(), [MAPPED]);
}

#[test]
fn our_own_checks_and_answers_reflected_prove_nothing() {
    let mut world = World::new();
    // our requests are signed with the peer's password, and our answers with ours
    world.check(1, PEER);
    assert!(!world.receive(PEER, &signed(BINDING_REQUEST, id(1), &[], THEIRS)));
    world.answer(
        PEER,
        &signed(BINDING_SUCCESS, id(1), &[&mapped_to(at(PEER))], OURS),
    );
    // as a response to it, with the request's own signature
    let mut turned = signed(BINDING_REQUEST, id(1), &[], THEIRS);
    turned[0] = 1;
    world.answer(PEER, &turned);
    assert_eq!(
        (world.counts(), world.dropped().unauthenticated),
        ((1, 0, 0), 3)
    );
    assert_eq!(
        (
            world.mappings().len(),
            world.reader.view().evidence.unsolicited_checks().len()
        ),
        (0, 0)
    );
}

#[test]
fn an_address_behind_the_signature_is_not_read() {
    let mut world = World::new();
    world.check(1, PEER);
    let mut message = Message::new();
    message
        .unmarshal_binary(&signed(BINDING_SUCCESS, id(1), &[], THEIRS))
        .unwrap();
    mapped_to(at("203.0.113.66:666"))
        .add_to(&mut message)
        .unwrap();
    world.answer(PEER, &message.raw);
    assert_eq!(
        (
            world.mappings().len(),
            world.dropped().unreadable,
            world.counts()
        ),
        (0, 1, (1, 1, 0))
    );
}

#[test]
fn answers_without_a_usable_address_are_answers_and_no_more() {
    let attribute = |value: &[u8]| RawAttribute {
        typ: ATTR_XORMAPPED_ADDRESS,
        length: u16::try_from(value.len()).unwrap(),
        value: value.to_vec(),
    };
    struct Raw(RawAttribute);
    impl Setter for Raw {
        fn add_to(&self, message: &mut Message) -> Result<(), stun::Error> {
            message.add(self.0.typ, &self.0.value);
            Ok(())
        }
    }
    let mut world = World::new();
    for (number, value) in (1..).zip([
        &[][..],
        &[0, 1, 2, 3, 4],
        &[0, 3, 0, 1, 2, 3, 4, 5],
        &[0; 20],
    ]) {
        world.check(number, PEER);
        world.answer(
            PEER,
            &signed(
                BINDING_SUCCESS,
                id(number),
                &[&Raw(attribute(value))],
                THEIRS,
            ),
        );
    }
    world.check(9, PEER);
    world.answer(
        PEER,
        &signed(BINDING_ERROR, id(9), &[&mapped_to(at(MAPPED))], THEIRS),
    );
    // nothing of these is a response of the Binding method
    for class in [
        stun::message::CLASS_INDICATION,
        stun::message::CLASS_REQUEST,
    ] {
        world.check(10, PEER);
        let typ = MessageType::new(stun::message::METHOD_BINDING, class);
        world.answer(
            PEER,
            &signed(typ, id(10), &[&mapped_to(at(MAPPED))], THEIRS),
        );
    }
    assert_eq!(
        (
            world.mappings().len(),
            world.dropped().unreadable,
            world.dropped().unauthenticated
        ),
        (0, 5, 2)
    );
    assert_eq!(world.counts().1, 5);
}

#[test]
fn a_mapping_that_changes_is_reported_with_the_old_one_and_counted() {
    let mut world = World::new();
    let (moved, port) = ("203.0.113.7:61000", |r: Remapped| {
        (r.was.mapped.port(), r.is.mapped.port())
    });
    for number in 1..4 {
        world.check(number, PEER);
        assert_eq!(world.answer(PEER, &success(number, MAPPED)), None);
    }
    world.check(4, PEER);
    assert_eq!(
        world.answer(PEER, &success(4, moved)).map(port),
        Some((50_000, 61_000))
    );
    world.check(5, PEER);
    assert_eq!(
        world.answer(PEER, &success(5, MAPPED)).map(port),
        Some((61_000, 50_000))
    );
    // another address of the peer has a mapping of its own
    world.check(6, "192.0.2.10:4000");
    assert_eq!(world.answer("192.0.2.10:4000", &success(6, moved)), None);
    assert_eq!(world.reader.view().rebindings, 2);
}

#[test]
fn an_answer_that_was_overtaken_changes_nothing_back() {
    let mut world = World::new();
    (1..4).for_each(|number| world.check(number, PEER));
    world.answer(PEER, &success(1, MAPPED));
    let rebound = world.answer(PEER, &success(3, "203.0.113.7:61000"));
    assert!(rebound.is_some());
    assert_eq!(world.answer(PEER, &success(2, MAPPED)), None);
    assert_eq!(world.mappings(), ["203.0.113.7:61000"]);
    assert_eq!(
        (
            world.reader.view().rebindings,
            world.dropped().reordered,
            world.counts()
        ),
        (1, 1, (3, 3, 0))
    );
}

#[test]
fn a_request_is_unsolicited_unless_its_source_was_sent_to_first() {
    let mut world = World::new();
    world
        .reader
        .on_other_sent(at("198.51.100.1:3478"), world.now);
    world.check(1, "192.0.2.20:1");
    for (number, source) in (1..).zip([
        "192.0.2.20:1",
        "192.0.2.20:2",
        PEER,
        "198.51.100.1:3478",
        "198.51.100.1:9",
    ]) {
        assert!(world.receive(source, &request(number)));
    }
    let found: Vec<_> = world
        .reader
        .view()
        .evidence
        .unsolicited_checks()
        .map(|a| (a.source.to_string(), a.sent_before))
        .collect();
    let expected = [
        (PEER, SentBefore::Never),
        ("192.0.2.20:2", SentBefore::OtherPort),
        ("198.51.100.1:9", SentBefore::OtherPort),
    ];
    assert_eq!(
        found,
        expected.map(|(source, contact)| (source.to_owned(), contact))
    );
    // once sent to, its requests are solicited
    world.check(2, "192.0.2.30:5");
    world.receive("192.0.2.30:5", &request(99));
    assert_eq!(world.reader.view().evidence.unsolicited_checks().len(), 3);
}

#[test]
fn requests_that_are_forged_or_replayed_prove_nothing() {
    let mut world = World::new();
    assert!(!world.receive(PEER, &signed(BINDING_REQUEST, id(1), &[], "a-guess")));
    assert!(!world.receive(PEER, &ice_gather::stun::write_request(id(2))));
    assert_eq!(
        (world.dropped().unauthenticated, world.counts()),
        (2, (0, 0, 0))
    );
    assert!(world.receive(PEER, &request(3)));
    // the same packet, sent again by an observer, from any address
    world.receive("192.0.2.66:6", &request(3));
    world.receive(PEER, &request(3));
    let view = world.reader.view();
    assert_eq!(
        (
            view.dropped.replayed,
            view.checks.received,
            view.evidence.unsolicited_checks().len()
        ),
        (2, 1, 1)
    );
}

#[test]
fn ten_thousand_source_ports_are_bounded_and_counted() {
    let mut world = World::new();
    for port in 1..=10_000_u16 {
        let source = format!("192.0.2.9:{port}");
        world.receive(&source, &request(u32::from(port)));
        world.check(20_000 + u32::from(port), &source);
        world.answer(&source, &success(20_000 + u32::from(port), MAPPED));
    }
    let view = world.reader.view();
    assert_eq!(world.counts(), (10_000, 10_000, 10_000));
    assert_eq!(view.evidence.answers().len(), MAX_OBSERVATIONS);
    assert!(view.evidence.unsolicited_checks().len() <= MAX_UNSOLICITED);
    assert_eq!(
        view.dropped.destinations,
        10_000 - 192,
        "counted, and from then on no request counts as unsolicited"
    );
    // the 193rd came in before there was no room to remember it
    assert_eq!(
        view.evidence.overflow() as usize,
        193 + 10_000 - MAX_UNSOLICITED - MAX_OBSERVATIONS
    );
    world.receive("192.0.2.200:1", &request(77_777));
    assert!(
        !world
            .reader
            .view()
            .evidence
            .unsolicited_checks()
            .any(|a| a.source == at("192.0.2.200:1"))
    );
}

#[test]
fn a_check_that_comes_in_after_a_quiet_gap_shows_how_long_the_mapping_lasts() {
    let mut world = World::new();
    let survived = |world: &World| world.reader.view().survived.map(|time| time.as_millis());
    world.check(1, PEER);
    world.receive(PEER, &request(1));
    assert_eq!(
        survived(&world),
        None,
        "whether there is a NAT between is not known yet"
    );
    world.answer(PEER, &success(1, MAPPED));
    world.wait(20_000).receive(PEER, &request(2));
    assert_eq!(
        survived(&world),
        Some(19_750),
        "less the time that a datagram may wait to be read"
    );
    // a mapping that was refreshed, or made anew by a packet of ours, proves nothing
    world.wait(60_000).check(3, PEER);
    world.answer(PEER, &success(3, MAPPED));
    world.receive(PEER, &request(3));
    assert_eq!(survived(&world), Some(19_750));
    world.wait(60_000);
    world
        .reader
        .on_other_sent(at("198.51.100.1:3478"), world.now);
    world.receive(PEER, &request(4));
    assert_eq!(survived(&world), Some(19_750));
    // datagrams that are not STUN refresh it as well
    world.wait(60_000);
    world
        .reader
        .on_request(at(BASE), at(PEER), &request(5), false, world.now);
    assert_eq!(survived(&world), Some(19_750));
    // nor does a stranger, a forger or a replay
    world.wait(60_000).receive("192.0.2.77:7", &request(6));
    world.wait(60_000).receive(PEER, &request(5));
    world
        .wait(60_000)
        .receive(PEER, &signed(BINDING_REQUEST, id(7), &[], "a-guess"));
    assert_eq!(survived(&world), Some(19_750));
    world.wait(30_000).receive(PEER, &request(8));
    assert_eq!(survived(&world), Some(29_750));
    world.wait(100).receive(PEER, &request(9));
    assert_eq!(survived(&world), Some(29_750), "the longest");
}

#[test]
fn a_request_that_waited_while_the_process_stood_still_shows_no_gap() {
    let survived = |world: &World| world.reader.view().survived.map(|time| time.as_millis());
    for wakes_first in [false, true] {
        let mut world = World::new();
        world.check(1, PEER);
        world.answer(PEER, &success(1, MAPPED));
        world.wait(3_000);
        // stopped for 20 s, in which a check came in
        world.now += Duration::from_secs(20);
        if wakes_first {
            world.reader.heartbeat(world.now, Duration::ZERO);
        }
        world.receive(PEER, &request(1));
        assert_eq!(survived(&world), None);
        world.wait(5_000).receive(PEER, &request(2));
        assert_eq!(
            survived(&world),
            Some(4_750),
            "and from then on it counts again"
        );
    }
}

#[test]
fn without_a_clockwork_no_gap_counts() {
    let mut world = World::new();
    world.check(1, PEER);
    world.answer(PEER, &success(1, MAPPED));
    world.now += Duration::from_secs(20);
    world.receive(PEER, &request(1));
    assert_eq!(world.reader.view().survived, None);
}

#[test]
fn whether_a_wildcard_base_crosses_a_nat_is_not_known() {
    let mut world = World::new();
    let any = at("0.0.0.0:50000");
    let header = Header::peek(&signed(BINDING_REQUEST, id(1), &[], THEIRS)).unwrap();
    world.reader.on_sent(any, at(PEER), header, world.now);
    // a neighbour, who sees the address that packets toward it have
    world
        .reader
        .on_response(any, at(PEER), &success(1, "192.168.1.5:50000"), world.now);
    world.wait(20_000);
    world
        .reader
        .on_request(any, at(PEER), &request(1), true, world.now);
    assert_eq!(world.reader.view().survived, None);
}

proptest! {
    /// Whenever checks come in and however the process is stopped, for a moment or for long.
    #[test]
    fn no_gap_is_called_longer_than_it_was(
        stops in prop::collection::vec((0..60_000_u64, 0..8_000_u64), 0..6),
        mut arrivals in prop::collection::vec(0..60_000_u64, 1..8),
        period in 200..3_000_u64,
        beats_first: bool,
    ) {
        let mut world = World::new();
        let start = world.now;
        world.check(1, PEER);
        world.answer(PEER, &success(1, MAPPED));
        arrivals.sort_unstable();
        // an event at `t` happens once the process runs again
        let runs = |mut t: u64| {
            while let Some((from, long)) = stops.iter().find(|(from, long)| (*from..from + long).contains(&t)) {
                t = from + long;
            }
            t
        };
        let mut beats = Vec::new();
        let mut next = period;
        while next < 70_000 {
            beats.push(runs(next));
            next = runs(next) + period;
        }
        let read = arrivals.iter().map(|t| (runs(*t), !beats_first, true));
        let mut events: Vec<_> = beats.into_iter().map(|t| (t, beats_first, false)).chain(read).collect();
        events.sort_by_key(|(t, first, _)| (*t, !first));
        let mut number = 1;
        for (t, _, is_check) in events {
            world.now = start + Duration::from_millis(t);
            if is_check {
                world.receive(PEER, &request(number));
                number += 1;
            } else {
                world.reader.heartbeat(world.now, Duration::from_millis(period));
            }
        }
        let ends = arrivals.iter().copied();
        let longest = ends.clone().zip([0].into_iter().chain(ends)).map(|(at, before)| at - before).max().unwrap();
        let survived = world.reader.view().survived.unwrap_or_default();
        prop_assert!(survived <= Duration::from_millis(longest), "{survived:?} of {longest} ms");
    }
}

#[test]
fn without_credentials_nothing_is_read() {
    let mut world = World {
        reader: PeerReader::new(),
        now: Instant::now(),
    };
    world.check(1, PEER);
    world.answer(PEER, &success(1, MAPPED));
    assert!(!world.receive(PEER, &request(1)));
    assert_eq!(
        (world.counts(), world.dropped()),
        ((0, 0, 0), PeerDropped::default())
    );
}

#[test]
fn the_signature_is_the_one_that_the_library_makes() {
    // user name, priority and the like come in front of it, and every length of padding
    struct Software(usize);
    impl Setter for Software {
        fn add_to(&self, message: &mut Message) -> Result<(), stun::Error> {
            message.add(stun::attributes::ATTR_SOFTWARE, &vec![b'x'; self.0]);
            Ok(())
        }
    }
    for length in 0..40 {
        let mut world = World::new();
        let datagram = signed(BINDING_REQUEST, id(1), &[&Software(length)], OURS);
        assert!(world.receive(PEER, &datagram), "{length}");
        // and each of its bytes matters up to its end; the fingerprint behind it does not
        for at in 0..datagram.len() - 8 {
            let mut changed = datagram.clone();
            changed[at] ^= 0x10;
            let header_is_stun = Header::peek(&changed).is_some();
            assert!(
                !header_is_stun || !world.receive(PEER, &changed),
                "{length}: byte {at}"
            );
        }
    }
}

// on real sockets

/// A peer by hand: answers every check with `lie`, or with the truth.
pub(crate) async fn by_hand(socket: &UdpSocket, pwd: &str, lie: Option<SocketAddr>) {
    let mut buffer = [0; 1500];
    loop {
        let (length, source) = socket.recv_from(&mut buffer).await.unwrap();
        let Some(header) = Header::peek(&buffer[..length]).filter(Header::is_binding_request)
        else {
            continue;
        };
        let mapped = mapped_to(lie.unwrap_or(source));
        socket
            .send_to(&signed(BINDING_SUCCESS, header.id, &[&mapped], pwd), source)
            .await
            .unwrap();
    }
}

fn remote(pwd: &str, address: SocketAddr) -> RemoteDescription {
    RemoteDescription {
        credentials: Credentials {
            ufrag: "hand".into(),
            pwd: pwd.into(),
        },
        candidates: vec![RemoteCandidate {
            address,
            kind: CandidateKind::Host,
            priority: 1,
        }],
    }
}

#[tokio::test]
async fn a_peer_that_lies_about_our_mapping_is_quoted_and_changes_no_verdict() {
    let servers = [
        Responder::bind("127.0.0.1:0").await.unwrap(),
        Responder::bind("127.0.0.2:0").await.unwrap(),
    ];
    let base = base().await;
    base.gather(
        &[servers[0].server(), servers[1].server()],
        &GatherConfig::default(),
    )
    .await;
    let before = base.summary();
    assert_eq!(before.is_natted(), Some(false));

    let pwd = "p".repeat(32);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let answering = by_hand(&socket, &pwd, Some(at("203.0.113.66:666")));
    let connecting = agent.connect(
        remote(&pwd, socket.local_addr().unwrap()),
        Duration::from_millis(400),
    );
    tokio::select! { () = answering => {}, _ = connecting => {} }
    let view = base.peer_view();
    assert!(view.checks.answered > 0);
    assert!(
        view.evidence
            .answers()
            .all(|o| o.mapped == at("203.0.113.66:666"))
    );
    assert_eq!(
        view.evidence.summary(&base.evidence()).toward_peer,
        TowardPeer::Unobserved,
        "there is no NAT"
    );
    assert_eq!(base.summary(), before);
    agent.close().await;
}

#[tokio::test]
async fn a_rebinding_is_an_event_with_the_old_and_the_new_verdict() {
    let base = base().await;
    let mut rebindings = base.rebindings();
    let pwd = "p".repeat(32);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let answering = async {
        // the truth for a while, then a lie
        let _ =
            tokio::time::timeout(Duration::from_millis(500), by_hand(&socket, &pwd, None)).await;
        by_hand(&socket, &pwd, Some(at("203.0.113.66:666"))).await;
    };
    let address = socket.local_addr().unwrap();
    let connected = async {
        let _path = agent
            .connect(remote(&pwd, address), Duration::from_secs(5))
            .await;
        rebindings.changed().await.unwrap();
        *rebindings.borrow_and_update()
    };
    let rebinding = tokio::select! {
        () = answering => None,
        rebinding = tokio::time::timeout(Duration::from_secs(9), connected) => rebinding.unwrap(),
    };
    let rebinding = rebinding.unwrap();
    assert_eq!(
        (rebinding.number, rebinding.was, rebinding.is),
        (1, TowardPeer::Unobserved, TowardPeer::Unobserved)
    );
    assert_eq!(base.peer_view().rebindings, 1);
    agent.close().await;
}

#[tokio::test]
async fn two_agents_read_each_others_checks_and_drop_none() {
    let (left, right) = (base().await, base().await);
    let mut a = IceAgent::new(&left, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let mut b = IceAgent::new(&right, Role::Controlled, AgentConfig::default())
        .await
        .unwrap();
    let describe = |base: &Base, agent: &IceAgent| RemoteDescription {
        credentials: agent.credentials().clone(),
        ..remote("x", base.local_addrs().next().unwrap())
    };
    let (to_a, to_b) = (describe(&left, &a), describe(&right, &b));
    let second = Duration::from_secs(5);
    let paths = tokio::join!(a.connect(to_b, second), b.connect(to_a, second));
    assert!(paths.0.is_ok() && paths.1.is_ok());
    for base in [&left, &right] {
        let view = base.peer_view();
        assert!(
            view.checks.sent >= view.checks.answered && view.checks.answered > 0,
            "{:?}",
            view.checks
        );
        assert!(view.checks.received > 0);
        assert_eq!((view.dropped, view.rebindings), (PeerDropped::default(), 0));
    }
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_request_that_waits_before_the_first_check_came_unsolicited() {
    let base = base().await;
    let address = base.local_addrs().next().unwrap();
    let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let pwd = "p".repeat(32);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let check = signed(BINDING_REQUEST, id(1), &[], &agent.credentials().pwd);
    socket.send_to(&check, address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    // checks go to the very address that it came from
    let _ = agent
        .connect(
            remote(&pwd, socket.local_addr().unwrap()),
            Duration::from_millis(50),
        )
        .await;
    let arrivals: Vec<_> = base.peer_view().evidence.unsolicited_checks().collect();
    assert_eq!(arrivals.len(), 1);
    assert_eq!(
        (arrivals[0].source, arrivals[0].sent_before),
        (socket.local_addr().unwrap(), SentBefore::Never)
    );
    agent.close().await;
}

/// On a base of these ports, which has sent nothing yet: how much of a check of the peer counts as
/// uninvited, and how much as perhaps invited by an earlier socket.
async fn unsolicited_on(ports: RangeInclusive<u16>) -> (usize, u32) {
    let config = BindConfig::address([127, 0, 0, 1].into()).with_ports(ports);
    let base = Base::bind(config).await.unwrap();
    let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let check = signed(BINDING_REQUEST, id(1), &[], &agent.credentials().pwd);
    socket
        .send_to(&check, base.local_addrs().next().unwrap())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let absent = remote(&"p".repeat(32), at("127.0.0.1:9"));
    let _ = agent.connect(absent, Duration::from_millis(50)).await;
    let view = base.peer_view();
    assert_eq!(view.checks.received, 1, "it is read and passed on as ever");
    agent.close().await;
    (
        view.evidence.unsolicited_checks().len(),
        view.dropped.maybe_solicited,
    )
}

#[tokio::test]
async fn on_a_port_of_few_no_request_counts_as_unsolicited() {
    assert_eq!(unsolicited_on(45_000..=45_009).await, (0, 1));
    assert_eq!(unsolicited_on(40_000..=56_382).await, (0, 1));
    assert_eq!(unsolicited_on(40_000..=56_383).await, (1, 0));
}

/// The range is none that the system draws from, so that no other test comes upon the ports.
#[tokio::test]
async fn on_a_port_that_comes_round_again_no_request_counts_as_unsolicited() {
    let ports = 10_000..=26_383;
    assert_eq!(unsolicited_on(ports.clone()).await, (1, 0));
    for port in ports.clone() {
        // a port that another program has cannot come round
        drop(Base::bind(BindConfig::address([127, 0, 0, 1].into()).with_ports(port..=port)).await);
    }
    assert_eq!(unsolicited_on(ports).await, (0, 1));
}

#[tokio::test]
async fn a_thousand_authenticated_ports_are_let_in_no_further_than_a_peer_can_have() {
    let base = base().await;
    let address = base.local_addrs().next().unwrap();
    let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let pwd = agent.credentials().pwd.clone();
    let flood = async {
        for number in 0..1_000 {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket
                .send_to(&signed(BINDING_REQUEST, id(number), &[], &pwd), address)
                .await
                .unwrap();
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let absent = at("127.0.0.1:9");
    let connecting = agent.connect(remote(&"x".repeat(32), absent), Duration::from_secs(9));
    tokio::select! { () = flood => {}, _ = connecting => {} }
    let view = base.peer_view();
    assert!(view.checks.received > 500, "{:?}", view.checks);
    assert!(base.dropped().too_many_peers > 400, "{:?}", base.dropped());
    assert!(view.evidence.unsolicited_checks().len() <= MAX_UNSOLICITED);
    assert!(view.evidence.overflow() > 0);
    agent.close().await;
}

/// The library knows STUN by its magic cookie alone, and masks out bits that no STUN has set.
#[tokio::test]
async fn checks_of_a_thousand_ports_behind_a_first_byte_that_is_not_stuns_never_reach_the_agent() {
    let base = base().await;
    let address = base.local_addrs().next().unwrap();
    let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let Credentials { ufrag, pwd } = agent.credentials().clone();
    let flood = async {
        let mut received = 0;
        // few enough at once for the usual limit of descriptors
        for round in 0..10 {
            let socket = |_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let sockets: Vec<_> = (0..100).map(socket).collect();
            for (number, socket) in (round * 100..).zip(&sockets) {
                let username = RawAttribute {
                    typ: ATTR_USERNAME,
                    value: format!("{ufrag}:hand").into_bytes(),
                    ..RawAttribute::default()
                };
                let bits = [0x80, 0x40, 0xc0, 0x04][number as usize % 4];
                let check = signed_behind(bits, BINDING_REQUEST, id(number), &[&username], &pwd);
                socket.send_to(&check, address).unwrap();
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            for socket in sockets {
                socket.set_nonblocking(true).unwrap();
                received += u32::from(socket.recv(&mut [0; 1500]).is_ok());
            }
        }
        received
    };
    let connecting = agent.connect(
        remote(&"x".repeat(32), at("127.0.0.1:9")),
        Duration::from_secs(9),
    );
    let received = tokio::select! { received = flood => received, _ = connecting => panic!("no peer is there") };
    assert_eq!(received, 0, "ports that the agent answered or checks");
    assert!(base.dropped().malformed > 900, "{:?}", base.dropped());
    agent.close().await;
}

#[tokio::test]
async fn an_agent_that_is_refused_leaves_the_limit_of_the_first_as_it_is() {
    let base = base().await;
    let address = base.local_addrs().next().unwrap();
    let config = AgentConfig::default().with_max_remote_candidates(1);
    let mut agent = IceAgent::new(&base, Role::Controlling, config)
        .await
        .unwrap();
    assert!(
        IceAgent::new(&base, Role::Controlling, AgentConfig::default())
            .await
            .is_err()
    );
    let pwd = agent.credentials().pwd.clone();
    // open all at once, so that no two have the same port
    let mut sockets = Vec::new();
    for number in 0..5 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket
            .send_to(&signed(BINDING_REQUEST, id(number), &[], &pwd), address)
            .await
            .unwrap();
        sockets.push(socket);
    }
    let _ = agent
        .connect(
            remote(&"x".repeat(32), at("127.0.0.1:9")),
            Duration::from_millis(100),
        )
        .await;
    assert_eq!(
        (
            base.peer_view().checks.received,
            base.dropped().too_many_peers
        ),
        (5, 4)
    );
    agent.close().await;
}
