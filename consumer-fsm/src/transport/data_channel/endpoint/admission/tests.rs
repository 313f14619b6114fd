//! Each rule, and the library without it: one that the library has learnt to keep shows here, and
//! goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sctp_proto::{
    Association, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Payload,
    PayloadProtocolIdentifier, TransportConfig,
};

use super::super::packet::{self, Header, Init};
use super::*;

/// TSN of the first chunk of either side.
const FIRST: u32 = 7_000;
/// Verification tag of the library's side.
const TAG: u32 = 9;
const STREAM: u16 = 1;

/// Flags of DATA: unordered, first and last fragment; and one in the middle.
const WHOLE: u8 = 0b111;
const MIDDLE: u8 = 0b100;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut chunk = packet::chunk(kind, value);
    chunk[1] = flags;
    chunk
}

fn data(flags: u8, tsn: u32, stream: u16, user: &[u8]) -> Vec<u8> {
    let head = words(&[tsn, u32::from(stream) << 16, 53]);
    chunk(kind::DATA, flags, &[&head[..], user].concat())
}

fn sack(cumulative: u32, blocks: &[(u16, u16)]) -> Vec<u8> {
    let mut value = words(&[cumulative, 1 << 20, (blocks.len() as u32) << 16]);
    for (start, end) in blocks {
        value.extend(start.to_be_bytes());
        value.extend(end.to_be_bytes());
    }
    chunk(kind::SACK, 0, &value)
}

fn forward_tsn(tsn: u32, skipped: usize) -> Vec<u8> {
    let skipped = words(&vec![u32::from(STREAM) << 16; skipped]);
    chunk(
        kind::FORWARD_TSN,
        0,
        &[&words(&[tsn])[..], &skipped].concat(),
    )
}

fn reset(number: u32, last: u32, streams: &[u16]) -> Vec<u8> {
    let streams: Vec<u8> = streams
        .iter()
        .flat_map(|stream| stream.to_be_bytes())
        .collect();
    let value = [&words(&[number, 0, last])[..], &streams].concat();
    let mut parameter = vec![0, 13];
    parameter.extend((4 + value.len() as u16).to_be_bytes());
    parameter.extend(value);
    chunk(kind::RE_CONFIG, 0, &parameter)
}

fn heartbeat() -> Vec<u8> {
    chunk(kind::HEARTBEAT, 0, &[0, 1, 0, 8, 1, 2, 3, 4])
}

fn packet(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Vec::new();
    for chunk in chunks {
        all.extend(chunk);
        all.resize(padded(all.len()), 0);
    }
    let header = Header {
        source: 5000,
        destination: 5000,
        tag: TAG,
    };
    header.packet(&all)
}

fn alone(chunk: Vec<u8>) -> Vec<u8> {
    packet(&[chunk])
}

/// The library, with nothing before it.
struct Library {
    endpoint: Endpoint,
    association: Association,
    now: Instant,
}

impl Library {
    fn new() -> Self {
        let init = |tag| Init {
            tag,
            window: WINDOW,
            outbound: u16::MAX,
            inbound: u16::MAX,
            tsn: FIRST,
            forward_tsn: true,
            re_config: true,
        };
        let mut config = ClientConfig::new();
        let transport = TransportConfig::default().with_max_receive_buffer_size(WINDOW);
        config.transport = Arc::new(transport);
        let config = config.with_snap(
            init(TAG).write(kind::INIT, None).into(),
            init(TAG + 1).write(kind::INIT, None).into(),
        );
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::new()), None);
        let (_, association) = endpoint
            .connect(config, "127.0.0.1:5000".parse().unwrap())
            .unwrap();
        Self {
            endpoint,
            association,
            now: Instant::now(),
        }
    }

    fn handle(&mut self, packet: Vec<u8>) {
        let peer = "127.0.0.1:5000".parse().unwrap();
        let event = self
            .endpoint
            .handle(self.now, peer, None, None, packet.into());
        if let Some((_, DatagramEvent::AssociationEvent(event))) = event {
            self.association.handle_event(event);
        }
        while self.association.poll().is_some() {}
    }

    /// Its packets.
    fn outgoing(&mut self) -> Vec<Bytes> {
        let mut all = Vec::new();
        while let Some(transmit) = self.association.poll_transmit(self.now) {
            let Payload::RawEncode(packets) = transmit.payload else {
                continue;
            };
            all.extend(packets);
        }
        all
    }

    /// Its last SACK: what it acknowledges, the window, and the count of gaps.
    fn sack(&mut self) -> Option<(u32, u32, u16)> {
        let packets = self.outgoing();
        let sacks = packets.iter().flat_map(|packet| chunks(packet)).flatten();
        let sack = sacks.filter(|chunk| chunk.kind == kind::SACK).last()?;
        Some((
            u32_at(sack.bytes, 4)?,
            u32_at(sack.bytes, 8)?,
            u16_at(sack.bytes, 12)?,
        ))
    }

    fn took(&mut self, packet: Vec<u8>) -> Duration {
        let started = Instant::now();
        self.handle(packet);
        started.elapsed()
    }
}

fn verdict(packet: &[u8]) -> Verdict {
    Admission::new(FIRST).admits(packet)
}

#[test]
fn what_honest_peers_send_passes() {
    for packet in [
        alone(data(WHOLE, FIRST, STREAM, b"x")),
        packet(&[
            sack(FIRST, &[(2, 3)]),
            data(WHOLE, FIRST, STREAM, &[1; 1200]),
        ]),
        alone(forward_tsn(FIRST + 100, 1)),
        alone(reset(FIRST, FIRST + 3, &[STREAM])),
        alone(reset(FIRST, FIRST - 1, &[])),
        alone(heartbeat()),
        packet(&[
            chunk(kind::COOKIE_ECHO, 0, &[1; 40]),
            data(WHOLE, FIRST, STREAM, b"x"),
        ]),
        packet(&[chunk(kind::COOKIE_ACK, 0, &[]), sack(FIRST, &[])]),
        alone(chunk(kind::SHUTDOWN, 0, &[0; 4])),
        alone(chunk(kind::SHUTDOWN_ACK, 0, &[])),
        alone(chunk(kind::SHUTDOWN_COMPLETE, 0, &[])),
        alone(chunk(
            kind::RE_CONFIG,
            0,
            &[&[0, 16, 0, 12][..], &words(&[1, 1])].concat(),
        )),
    ] {
        assert_eq!(verdict(&packet), Verdict::Pass, "{packet:?}");
    }
    assert_eq!(verdict(&alone(chunk(kind::ABORT, 0, &[]))), Verdict::Abort);
}

#[test]
fn data_without_data_is_kept_and_counted_for_nothing() {
    let empty = |n: u32| data(MIDDLE, FIRST + 1 + 2 * n, STREAM, &[]);
    assert_eq!(verdict(&alone(empty(0))), Verdict::Refused);
    let mut library = Library::new();
    for n in 0..1000 {
        library.handle(alone(empty(n)));
    }
    // it has them all, and its window is as wide as before
    assert_eq!(library.sack(), Some((FIRST - 1, WINDOW, 1000)));
}

#[test]
fn chunks_of_a_byte_weigh_a_byte_and_are_sorted_one_by_one() {
    let mut admission = Admission::new(FIRST);
    let mut passed = 0;
    // every second one: nothing is acknowledged, and all are kept
    let flood = (0..6_000).map(|n| data(MIDDLE, FIRST + 1 + 2 * n, STREAM, b"x"));
    let flood: Vec<Vec<u8>> = flood.collect();
    for chunk in &flood {
        passed += usize::from(admission.admits(&alone(chunk.clone())) == Verdict::Pass);
    }
    assert_eq!(passed, FARTHEST_DATA as usize / 2);
    // as many as the window has room for, if they are read never
    let mut admission = Admission::new(FIRST);
    let mut passed = 0;
    for n in 0..6_000 {
        let tsn = FIRST + n;
        passed +=
            u32::from(admission.admits(&alone(data(WHOLE, tsn, STREAM, b"x"))) == Verdict::Pass);
        admission.sent(&sack_of(tsn, WINDOW - 1 - n));
    }
    assert_eq!(passed, MOST_HELD / LEAST_WEIGHT);

    let mut library = Library::new();
    let mut times = Vec::new();
    for (n, chunk) in flood.into_iter().enumerate() {
        let took = library.took(alone(chunk));
        if !(500..5_500).contains(&n) {
            times.push(took);
        }
    }
    let first: Duration = times[..500].iter().sum();
    let last: Duration = times[500..].iter().sum();
    assert!(
        last > 3 * first,
        "each goes through all: {first:?} {last:?}"
    );
    let (_, window, _) = library.sack().unwrap();
    assert_eq!(window, WINDOW - 6_000);
}

/// A SACK of this side.
fn sack_of(cumulative: u32, window: u32) -> Vec<u8> {
    chunk(kind::SACK, 0, &words(&[cumulative, window, 0]))
}

#[test]
fn what_was_read_or_given_up_makes_room() {
    let mut admission = Admission::new(FIRST);
    let fill = |admission: &mut Admission| {
        let mut tsn = admission.acknowledged;
        while admission.admits(&alone(data(WHOLE, tsn + 1, STREAM, &[1; 1000]))) == Verdict::Pass {
            tsn += 1;
            admission.sent(&sack_of(tsn, 1));
        }
        assert!(admission.held >= MOST_HELD);
    };
    fill(&mut admission);
    for _ in 0..10 {
        admission.read(1000, 1);
    }
    assert_eq!(admission.held, MOST_HELD + 1000 - MOST_HELD % 1000 - 10_000);
    fill(&mut admission);
    // a full window: all was read
    let acknowledged = admission.acknowledged;
    admission.sent(&sack_of(acknowledged, WINDOW));
    assert_eq!(admission.held, 0);
}

#[test]
fn each_stream_is_made_as_soon_as_there_is_data_for_it() {
    let mut admission = Admission::new(FIRST);
    let mut library = Library::new();
    for n in 0..1000_u16 {
        let packet = alone(data(WHOLE, FIRST + u32::from(n), n, b"x"));
        let expected = if usize::from(n) < MOST_STREAMS {
            Verdict::Pass
        } else {
            Verdict::Streams
        };
        assert_eq!(admission.admits(&packet), expected);
        library.handle(packet);
    }
    assert_eq!(library.association.stream_ids().len(), 1000);
}

#[test]
fn an_error_ends_the_library() {
    let error = alone(chunk(9, 0, &[0, 6, 0, 4]));
    assert_eq!(verdict(&error), Verdict::Refused);
    let mut library = Library::new();
    library.handle(error);
    assert!(library.association.is_closed());
}

#[test]
fn an_init_of_the_peer_breaks_the_library() {
    let init = Init {
        tag: 77,
        window: WINDOW,
        outbound: 1,
        inbound: 1,
        tsn: FIRST,
        forward_tsn: true,
        re_config: true,
    };
    let header = Header {
        source: 5000,
        destination: 5000,
        tag: 0,
    };
    let packet = header.packet(&init.write(kind::INIT, None));
    assert_eq!(verdict(&packet), Verdict::Refused);
    let mut library = Library::new();
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| library.handle(packet)));
    assert!(broken.is_err(), "it unwraps what a side that began has not");
}

#[test]
fn a_chunk_within_a_chunk_is_acted_on() {
    let hidden = chunk(kind::SHUTDOWN, 0, &[0; 4]);
    let within = |kind: u8, head: &[u8]| alone(chunk(kind, 0, &[head, &hidden].concat()));
    let response = [&[0, 16, 0, 12][..], &words(&[1, 1])].concat();
    for packet in [
        within(kind::COOKIE_ACK, &[]),
        within(kind::SACK, &words(&[FIRST - 1, 1 << 20, 0])),
        within(kind::HEARTBEAT, &[0, 1, 0, 4]),
        within(kind::RE_CONFIG, &[&response[..], &response].concat()),
    ] {
        assert_eq!(verdict(&packet), Verdict::Refused);
        let mut library = Library::new();
        library.handle(packet.clone());
        assert!(library.association.is_closing(), "{packet:?}");
    }
}

#[test]
fn a_sack_that_names_each_chunk_again_and_again_is_followed_each_time() {
    let again = sack(FIRST - 1, &[(1, 1000); 400]);
    let once = sack(FIRST - 1, &[(1, 1000)]);
    assert_eq!(verdict(&alone(again.clone())), Verdict::Refused);
    assert_eq!(verdict(&alone(once.clone())), Verdict::Pass);
    let library = || {
        let mut library = Library::new();
        let association = &mut library.association;
        association
            .open_stream(STREAM, PayloadProtocolIdentifier::Binary)
            .unwrap();
        // the window of the sender is small at first
        let mut sent = 0;
        while sent < 1000 {
            for _ in 0..100 {
                let mut stream = library.association.stream(STREAM).unwrap();
                stream.write(b"x").unwrap();
                sent += 1;
            }
            library.outgoing();
        }
        library
    };
    let (mut first, mut second) = (library(), library());
    let (once, again) = (first.took(alone(once)), second.took(alone(again)));
    assert!(again > 10 * once, "{once:?} {again:?}");
}

#[test]
fn a_forward_tsn_goes_through_all_that_is_kept_for_each_stream_that_it_names() {
    let many = alone(forward_tsn(FIRST + 1, 450));
    assert_eq!(verdict(&many), Verdict::Refused);
    let library = || {
        let mut library = Library::new();
        // ordered, and none is the next
        for n in 0..2000 {
            let mut chunk = data(0b011, FIRST + 2 + n, STREAM, b"x");
            chunk[10..12].copy_from_slice(&(n as u16 + 9).to_be_bytes());
            library.handle(alone(chunk));
        }
        library
    };
    let (mut first, mut second) = (library(), library());
    let one = first.took(alone(forward_tsn(FIRST + 1, 1)));
    let many = second.took(many);
    assert!(many > 4 * one, "{one:?} {many:?}");
}

#[test]
fn data_behind_a_reset_that_waits_is_sorted_anew_with_each_chunk() {
    let waits = alone(reset(FIRST, FIRST, &[STREAM]));
    let behind = |n: u32| data(MIDDLE, FIRST + 2 + 2 * n, STREAM, b"x");
    let mut admission = Admission::new(FIRST);
    assert_eq!(admission.admits(&waits), Verdict::Pass);
    assert_eq!(admission.admits(&alone(behind(0))), Verdict::Refused);
    // of another stream, or before it, or once it was performed
    let other = alone(data(WHOLE, FIRST + 2, STREAM + 2, b"x"));
    assert_eq!(admission.admits(&other), Verdict::Pass);
    let before = alone(data(WHOLE, FIRST, STREAM, b"x"));
    assert_eq!(admission.admits(&before), Verdict::Pass);
    admission.sent(&sack_of(FIRST, WINDOW));
    assert_eq!(admission.admits(&alone(behind(0))), Verdict::Pass);

    let time = |is_reset: bool| {
        let mut library = Library::new();
        if is_reset {
            library.handle(waits.clone());
        }
        (0..150)
            .map(|n| library.took(alone(behind(n))))
            .sum::<Duration>()
    };
    let (plain, waiting) = (time(false), time(true));
    assert!(waiting > 3 * plain, "{plain:?} {waiting:?}");
}

#[test]
fn as_many_answers_leave_as_chunks_ask_for_one() {
    let many = packet(&vec![heartbeat(); 100]);
    assert_eq!(verdict(&many), Verdict::Refused);
    let mut library = Library::new();
    library.handle(many);
    assert_eq!(library.outgoing().len(), 100);
}

#[test]
fn what_is_cut_off_passes_nowhere_and_no_bytes_panic() {
    let packets = [
        alone(data(WHOLE, FIRST, STREAM, b"xyz")),
        alone(sack(FIRST, &[(2, 3), (5, 9)])),
        alone(forward_tsn(FIRST + 1, 2)),
        alone(reset(FIRST, FIRST, &[1, 2])),
        alone(heartbeat()),
    ];
    for packet in packets {
        for length in 13..packet.len() {
            // but for padding
            let is_whole =
                packet.len() - length < 4 && packet[length..].iter().all(|byte| *byte == 0);
            assert!(is_whole || verdict(&packet[..length]) == Verdict::Refused);
        }
        for at in 12..packet.len() {
            for bit in 0..8 {
                let mut damaged = packet.clone();
                damaged[at] ^= 1 << bit;
                let _ = verdict(&damaged);
            }
        }
    }
}
