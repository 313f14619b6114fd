use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::{Mutex, mpsc};
use webrtc_sctp::association::{Association, Config};
use webrtc_sctp::chunk::chunk_payload_data::PayloadProtocolIdentifier as Kind;
use webrtc_sctp::stream::{ReliabilityType, Stream};
use webrtc_util::Error;

use self::sctp::{FIRST, MIDDLE, WHOLE, data, forward_tsn, heartbeat, packet, reset, sack};
use super::super::again::Again;
use super::super::conn::{Between, Seam};
use super::*;

#[path = "../../../../tests/faults/sctp.rs"]
#[allow(dead_code, reason = "the faults use the rest")]
mod sctp;

const PATIENCE: Duration = Duration::from_secs(10);
/// RFC 9260 section 3.3.6.
const HEARTBEAT_ACK: u8 = 5;

/// A line between two sides that nobody encrypts, with or without the check.
struct Line {
    to: mpsc::UnboundedSender<Vec<u8>>,
    from: Mutex<mpsc::UnboundedReceiver<Vec<u8>>>,
    admission: Arc<Admission>,
    again: Again,
    is_checked: bool,
    /// One packet in so many is lost; none if it is 0.
    loses: u32,
    sent: AtomicU32,
    /// Packets that reached SCTP.
    admitted: Arc<AtomicU32>,
}

impl Line {
    /// Both ends.
    fn pair(is_checked: bool, loses: u32) -> (Self, Self) {
        let (to_one, one) = mpsc::unbounded_channel();
        let (to_other, other) = mpsc::unbounded_channel();
        let end = |to, from| Self {
            to,
            from: Mutex::new(from),
            admission: Arc::default(),
            again: Again::default(),
            is_checked,
            loses,
            sent: AtomicU32::new(0),
            admitted: Arc::default(),
        };
        (end(to_other, one), end(to_one, other))
    }
}

impl Seam for Line {
    async fn receive(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        if let Some(length) = self.again.take(buffer) {
            return Ok(length);
        }
        loop {
            let packet = self
                .from
                .lock()
                .await
                .recv()
                .await
                .ok_or(Error::ErrAlreadyClosed)?;
            if !self.is_checked || self.admission.admits(&packet) {
                self.admitted.fetch_add(1, Ordering::Relaxed);
                if self.is_checked {
                    self.again.gets(&packet);
                }
                buffer[..packet.len()].copy_from_slice(&packet);
                return Ok(packet.len());
            }
        }
    }

    async fn transmit(&self, buffer: &[u8]) -> Result<usize, Error> {
        if self.admission.sent(buffer) {
            self.again.acknowledges();
        }
        // not the handshake
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let is_lost = self.loses > 0 && number > 6 && number.is_multiple_of(self.loses);
        if !is_lost {
            let _ = self.to.send(buffer.to_vec());
        }
        Ok(buffer.len())
    }

    fn end(&self) {}
}

async fn associate(line: Line) -> (Arc<Association>, Arc<Admission>) {
    let admission = Arc::clone(&line.admission);
    let config = Config {
        net_conn: Arc::new(Between(line)),
        max_receive_buffer_size: WINDOW,
        max_message_size: 8192,
        mtu: 0,
        name: String::new(),
        remote_port: 5000,
        local_port: 5000,
    };
    (
        Arc::new(Association::client(config).await.unwrap()),
        admission,
    )
}

/// The library, and a peer who writes by hand.
struct Stranger {
    association: Arc<Association>,
    admission: Arc<Admission>,
    line: Line,
    tag: u32,
}

impl Stranger {
    async fn meet(is_checked: bool) -> Self {
        let (ours, line) = Line::pair(is_checked, 0);
        let shake = async {
            let (_, init) = line.next(sctp::INIT).await;
            let tag = u32::from_be_bytes(init[..4].try_into().unwrap());
            let _ = line
                .to
                .send(packet(tag, &[sctp::init(sctp::INIT_ACK, FIRST)]));
            line.next(sctp::COOKIE_ECHO).await;
            let _ = line
                .to
                .send(packet(tag, &[sctp::chunk(sctp::COOKIE_ACK, 0, &[])]));
            tag
        };
        let ((association, admission), tag) = tokio::join!(associate(ours), shake);
        Self {
            association,
            admission,
            line,
            tag,
        }
    }

    fn says(&self, packet: Vec<u8>) {
        let _ = self.line.to.send(packet);
    }

    /// Whether the library still answers.
    async fn is_alive(&self) -> bool {
        self.answers_within(PATIENCE).await
    }

    async fn answers_within(&self, patience: Duration) -> bool {
        self.says(packet(self.tag, &[heartbeat()]));
        tokio::time::timeout(patience, self.line.next(HEARTBEAT_ACK))
            .await
            .is_ok()
    }

    async fn close(self) {
        let _ = self.association.close().await;
    }
}

impl Line {
    /// The next packet that begins with such a chunk.
    async fn next(&self, kind: u8) -> (u8, Vec<u8>) {
        loop {
            let packet = self.from.lock().await.recv().await.unwrap();
            match sctp::first(&packet) {
                Some((found, value)) if found == kind => return (found, value.to_vec()),
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_packet_is_refused_and_the_association_lives() {
    let stranger = Stranger::meet(true).await;
    for (number, (what, packet)) in sctp::hostile(stranger.tag).into_iter().enumerate() {
        stranger.says(packet);
        assert!(stranger.is_alive().await, "{what}");
        assert_eq!(stranger.admission.refused(), number as u64 + 1, "{what}");
    }
    stranger.close().await;
}

/// If one no longer does, the library was mended, and its rule may go.
#[tokio::test(flavor = "multi_thread")]
async fn the_library_alone_is_lost_over_each_of_these() {
    for what in [
        "FORWARD TSN without a TSN",
        "FORWARD TSN with half a TSN",
        "SHUTDOWN without a TSN",
        "SHUTDOWN with half a TSN",
        "INIT with another chunk behind its padding",
    ] {
        let stranger = Stranger::meet(false).await;
        assert!(stranger.is_alive().await);
        stranger.says(
            sctp::hostile(stranger.tag)
                .into_iter()
                .find(|(name, _)| *name == what)
                .unwrap()
                .1,
        );
        assert!(
            !stranger.answers_within(Duration::from_millis(300)).await,
            "{what}"
        );
        stranger.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reads_is_bounded() {
    let stranger = Stranger::meet(true).await;
    for tsn in FIRST..FIRST + 20_000 {
        stranger.says(packet(stranger.tag, &[data(MIDDLE, tsn, 5, b"x")]));
    }
    assert!(stranger.is_alive().await);
    let refused = stranger.admission.refused();
    assert_eq!(refused, 20_000 - u64::from(MOST_HELD / LEAST_WEIGHT));
    stranger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_makes_room() {
    let stranger = Stranger::meet(true).await;
    let stream = stranger
        .association
        .open_stream(5, Kind::Binary)
        .await
        .unwrap();
    let mut buffer = [0; 100];
    for tsn in FIRST..FIRST + 10_000 {
        stranger.says(packet(stranger.tag, &[data(WHOLE, tsn, 5, b"x")]));
        let (length, _) = stream.read_sctp(&mut buffer).await.unwrap();
        stranger.admission.read(length);
    }
    assert_eq!(stranger.admission.refused(), 0);
    stranger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_that_wait_are_bounded() {
    let stranger = Stranger::meet(true).await;
    for number in 0..1_000 {
        stranger.says(packet(stranger.tag, &[reset(number, FIRST + 10, 5)]));
    }
    assert!(stranger.is_alive().await);
    assert_eq!(
        stranger.admission.refused(),
        1_000 - u64::from(MOST_WAITING)
    );
    stranger.close().await;
}

/// Two honest sides: fragments, empty messages, losses, FORWARD TSN, resets.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_an_honest_side_sends_is_refused() {
    for loses in [0, 7] {
        let (one, other) = Line::pair(true, loses);
        let admitted = [Arc::clone(&one.admitted), Arc::clone(&other.admitted)];
        let ((one, at_one), (other, at_other)) = tokio::join!(associate(one), associate(other));
        let ours = one.open_stream(0, Kind::Binary).await.unwrap();
        // reliable, so that it arrives
        ours.write_sctp(&Bytes::from_static(b"open"), Kind::Dcep)
            .await
            .unwrap();
        let theirs = tokio::time::timeout(PATIENCE, other.accept_stream())
            .await
            .unwrap()
            .unwrap();
        for stream in [&ours, &theirs] {
            stream.set_reliability_params(true, ReliabilityType::Rexmit, 0);
        }
        let write = |stream: Arc<Stream>| async move {
            for round in 0..300_usize {
                let (message, kind) = match round % 6 {
                    0 => (vec![0], Kind::BinaryEmpty),
                    round => (vec![7; [1, 100, 1191, 3000, 8192][round - 1]], Kind::Binary),
                };
                stream
                    .write_sctp(&Bytes::from(message), kind)
                    .await
                    .unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let read = |stream: Arc<Stream>, admission: Arc<Admission>| async move {
            let mut buffer = vec![0; 8192];
            while let Ok(Ok((length, _))) =
                tokio::time::timeout(Duration::from_millis(1500), stream.read_sctp(&mut buffer))
                    .await
            {
                admission.read(length);
            }
        };
        tokio::join!(
            write(Arc::clone(&ours)),
            write(Arc::clone(&theirs)),
            read(Arc::clone(&ours), Arc::clone(&at_one)),
            read(Arc::clone(&theirs), Arc::clone(&at_other)),
        );
        let admitted = admitted.map(|admitted| admitted.load(Ordering::Relaxed));
        assert!(
            admitted.iter().all(|admitted| *admitted > 200),
            "{admitted:?}"
        );
        ours.shutdown(std::net::Shutdown::Both).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(
            (at_one.refused(), at_other.refused()),
            (0, 0),
            "one packet in {loses} lost"
        );
        let _ = tokio::join!(one.close(), other.close());
    }
}

/// If the library alone does that as well, it was mended, and [`Again`] may go.
#[tokio::test(start_paused = true)]
async fn each_lone_message_is_acknowledged() {
    for is_checked in [false, true] {
        let (one, other) = Line::pair(is_checked, 0);
        let ((one, _), (other, _)) = tokio::join!(associate(one), associate(other));
        let stream = one.open_stream(0, Kind::Binary).await.unwrap();
        stream.set_reliability_params(true, ReliabilityType::Rexmit, 0);
        let mut late = 0;
        for _ in 0..4 {
            stream
                .write_sctp(&Bytes::from_static(b"x"), Kind::Binary)
                .await
                .unwrap();
            // its sender asks after a second
            tokio::time::sleep(Duration::from_millis(900)).await;
            late += usize::from(stream.buffered_amount() > 0);
        }
        assert_eq!(late == 0, is_checked, "{late} of 4 late");
        let _ = tokio::join!(one.close(), other.close());
    }
}

/// What other stacks write that the library does not.
#[test]
fn packets_of_other_stacks_pass() {
    let admission = Admission::default();
    // of Chromium: FORWARD TSN, extensions, random, chunks, HMACs
    let chromium: Vec<u8> = [
        &[0x13, 0x88, 0x13, 0x88, 0, 0, 0, 0, 0x81, 0x46, 0x9d, 0xfc][..],
        &[
            1, 0, 0, 0x56, 0x55, 0xb9, 0x64, 0xa5, 0, 2, 0, 0, 4, 0, 8, 0, 0xe8, 0x6d, 0x10, 0x30,
        ][..],
        &[
            0xc0, 0, 0, 4, 0x80, 8, 0, 9, 0xc0, 0xf, 0xc1, 0x80, 0x82, 0, 0, 0, 0x80, 2, 0, 0x24,
        ][..],
        &[0x9f; 32][..],
        &[0x80, 4, 0, 6, 0, 1, 0, 0, 0x80, 3, 0, 6, 0x80, 0xc1, 0, 0][..],
    ]
    .concat();
    assert!(admission.admits(&chromium));
    let first = 0xe86d_1030_u32;
    let one = |chunk: Vec<u8>| packet(1, &[chunk]);
    let skipped = [
        first.wrapping_add(40).to_be_bytes().to_vec(),
        vec![0, 1, 0, 5, 0, 3, 0, 9],
    ]
    .concat();
    for (what, packet) in [
        (
            "a cookie with the first message",
            packet(
                1,
                &[sctp::chunk(10, 0, &[7; 301]), data(3, first, 1, b"open")],
            ),
        ),
        (
            "an acknowledgement beside data",
            packet(
                1,
                &[sack(5, &[(2, 3), (5, 9)]), data(WHOLE, first + 1, 1, b"x")],
            ),
        ),
        (
            "many small messages at once",
            packet(1, &vec![data(WHOLE, first + 2, 1, b"x"); 58]),
        ),
        (
            "streams that are skipped on",
            one(sctp::chunk(192, 0, &skipped)),
        ),
        (
            "an abort with its reason",
            one(sctp::chunk(
                6,
                0,
                &[0, 12, 0, 9, b'c', b'l', b'o', b's', b'e'],
            )),
        ),
        (
            "an error",
            one(sctp::chunk(9, 0, &[0, 6, 0, 8, 0xc1, 0, 0, 4])),
        ),
        (
            "a heartbeat whose padding counts",
            one(sctp::chunk(4, 0, &[0, 1, 0, 9, 1, 2, 3, 4, 5, 0, 0, 0])),
        ),
        (
            "an answer to a heartbeat",
            one(sctp::chunk(5, 0, &[0, 1, 0, 8, 1, 2, 3, 4])),
        ),
        ("a shutdown", one(sctp::chunk(7, 0, &[0; 4]))),
        (
            "padding",
            packet(1, &[heartbeat(), sctp::chunk(0x84, 0, &[0; 1000])]),
        ),
        ("a reset and an answer at once", {
            let mut both = reset(3, first, 1);
            both.extend([0, 0, 0, 16, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1]);
            both[3] += 14;
            one(both)
        }),
    ] {
        assert!(admission.admits(&packet), "{what}");
    }
    assert_eq!(admission.refused(), 0);
}

#[test]
fn what_comes_twice_is_answered_once() {
    let cookie = || sctp::chunk(10, 0, &[7; 301]);
    let message = || data(WHOLE, FIRST, 1, b"x");
    for (what, chunks, is_so) in [
        ("a message", vec![message()], true),
        (
            "a message behind an acknowledgement",
            vec![sack(5, &[]), message()],
            true,
        ),
        ("what is skipped", vec![forward_tsn(FIRST)], true),
        ("an acknowledgement", vec![sack(5, &[])], false),
        (
            "a message behind a cookie",
            vec![cookie(), message()],
            false,
        ),
        (
            "a message before a heartbeat",
            vec![message(), heartbeat()],
            false,
        ),
        ("nothing", vec![], false),
    ] {
        assert_eq!(is_to_be_acknowledged(&packet(1, &chunks)), is_so, "{what}");
    }
}

#[test]
fn the_bounds_move_with_what_we_acknowledge() {
    let admission = Admission::default();
    assert!(
        !admission.admits(&packet(1, &[data(WHOLE, FIRST, 0, b"x")])),
        "nothing before there is an association"
    );
    assert!(admission.admits(&packet(0, &[sctp::init(sctp::INIT, FIRST)])));
    let far = FIRST + 60_000;
    assert!(admission.admits(&packet(1, &[forward_tsn(far)])));
    assert!(!admission.admits(&packet(1, &[data(WHOLE, far + 1, 0, b"x")])));
    admission.sent(&packet(1, &[sack(far, &[])]));
    assert!(admission.admits(&packet(1, &[data(WHOLE, far + 1, 0, b"x")])));
    // and never back
    admission.sent(&packet(1, &[sack(FIRST, &[])]));
    assert!(admission.admits(&packet(1, &[data(WHOLE, far + FARTHEST_DATA, 0, b"x")])));
    assert!(!admission.admits(&packet(1, &[data(WHOLE, far + FARTHEST_DATA + 1, 0, b"x")])));
    assert!(!admission.admits(&packet(1, &[forward_tsn(far + FARTHEST + 1)])));
    // around the end of the numbers
    let admission = Admission::default();
    assert!(admission.admits(&packet(0, &[sctp::init(sctp::INIT, 0)])));
    for tsn in [u32::MAX, 0, 1] {
        assert!(admission.admits(&packet(1, &[data(WHOLE, tsn, 0, b"x")])));
    }
}

/// Chunks near what is admitted: kinds that are known, lengths and numbers around the bounds.
fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let kind = prop_oneof![
        Just(0),
        Just(3),
        Just(4),
        Just(7),
        Just(130),
        Just(192),
        Just(1),
        0..16_u8,
        any::<u8>()
    ];
    let number = prop_oneof![(FIRST - 3..FIRST + 30), any::<u32>()];
    let value = (
        number,
        proptest::collection::vec(prop_oneof![0..20_u8, any::<u8>()], 0..40),
        0..5_usize,
    );
    let value = value.prop_map(|(number, mut rest, cut)| {
        rest.splice(0..0, number.to_be_bytes());
        rest.truncate(rest.len().saturating_sub(cut));
        rest
    });
    let wrong = prop_oneof![9 => Just(0_i8), 1 => -9..9_i8];
    let any_chunk = (kind, any::<u8>(), value, wrong).prop_map(|(kind, flags, value, wrong)| {
        let length = (value.len() + 4).saturating_add_signed(wrong.into());
        sctp::chunk_of(kind, flags, length, &value)
    });
    let near = (any::<u8>(), FIRST..FIRST + 200, 0..3_u16, 0..90_usize);
    let near =
        near.prop_map(|(flags, tsn, stream, length)| data(flags, tsn, stream, &vec![1; length]));
    let near_reset = (0..9_u32, FIRST - 5..FIRST + 20, 0..3_u16)
        .prop_map(|(n, last, stream)| reset(n, last, stream));
    let near_forward = (FIRST - 5..FIRST + 300).prop_map(forward_tsn);
    let chunk = prop_oneof![3 => any_chunk, 2 => near, 1 => near_reset, 1 => near_forward];
    proptest::collection::vec(chunk, 0..6)
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20)) {
        let admission = Admission::default();
        for packet in packets {
            admission.sent(&packet);
            admission.admits(&packet);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What passes does no harm, whatever it is.
    #[test]
    fn the_library_outlives_all_that_is_admitted(packets in proptest::collection::vec(chunks(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stranger = Stranger::meet(true).await;
            for chunks in &packets {
                // those end it, rightly
                let ends = |chunk: &Vec<u8>| matches!(chunk.first(), Some(6 | 7 | 8 | 14));
                if !chunks.iter().any(ends) {
                    stranger.says(packet(stranger.tag, chunks));
                }
            }
            assert!(stranger.is_alive().await, "{packets:?}");
            stranger.close().await;
        });
    }
}
