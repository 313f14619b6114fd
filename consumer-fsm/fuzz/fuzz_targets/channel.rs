//! A data channel between a stranger who forges its peer's address and a peer who has the keys.
//!
//! A valid prefix, then damage: the handshake goes as far as the input says, and each step then
//! delivers, damages, drops or invents something. Nothing panics, nothing is answered without end,
//! and a stranger alone ends nothing.

#![no_main]
#![allow(
    dead_code,
    unused_imports,
    reason = "the target has no use for all that is in the modules"
)]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;

#[path = "../../src/transport/data_channel/endpoint/mod.rs"]
mod endpoint;

/// DTLS without a channel on it: the peer, which may send anything under the keys.
#[path = "../../src/transport/data_channel/endpoint"]
mod peer {
    mod clear;
    mod crypto;
    mod der;
    pub(super) mod dtls;
    mod guard;
    pub(super) mod identity;
    pub(super) mod packet;
    pub(super) mod view;
}

use endpoint::{Channel, Endpoint, Identity, Opening, Random, State};
use peer::dtls::{Dtls, Handshake, Sink};
use peer::packet::{self, Header, Init};

/// Datagrams that one step may make this side send: an answer for each chunk that asks for one, the
/// beginning and its repetition, a message in its pieces, and no more.
const MOST_ANSWERS: usize = 64;
/// Verification tags, and the first TSN of either side.
const TAG: u32 = 7;
const PEERS_TAG: u32 = 8;
const FIRST: u32 = u32::MAX - 3;
const COOKIE: [u8; 16] = [9; 16];

struct World {
    now: Instant,
    ours: Endpoint,
    theirs: Dtls,
    to_us: Vec<Vec<u8>>,
    to_them: Vec<Vec<u8>>,
    /// The peer has sent packets of its own.
    is_peers_doing: bool,
}

/// Making one takes a while, and no step depends on its numbers.
fn identities() -> &'static (Identity, peer::identity::Identity) {
    static IDENTITIES: OnceLock<(Identity, peer::identity::Identity)> = OnceLock::new();
    IDENTITIES.get_or_init(|| {
        (
            Identity::generate().unwrap(),
            peer::identity::Identity::generate().unwrap(),
        )
    })
}

impl World {
    fn new(is_client: bool, opens: bool, is_new: bool) -> Self {
        let now = Instant::now();
        let (ours, theirs) = identities();
        let opening = Opening {
            identity: ours.clone(),
            peer: vec![theirs.digest()],
            is_dtls_client: is_client,
            newest: endpoint::DtlsVersion::Dtls13,
            channel: Channel {
                is_ours: opens,
                local_port: 5000,
                remote_port: 5000,
                max_message: 8192,
                random: Random {
                    tag: TAG,
                    tsn: FIRST,
                    cookie: COOKIE,
                },
            },
        };
        let handshake = Handshake {
            identity: theirs.clone(),
            expected: vec![ours.digest()],
            is_client: !is_client,
            newest: if is_new {
                peer::view::DtlsVersion::Dtls13
            } else {
                peer::view::DtlsVersion::Dtls12
            },
        };
        let mut world = Self {
            now,
            ours: Endpoint::new(opening, now).unwrap(),
            theirs: Dtls::new(handshake, now).unwrap(),
            to_us: Vec::new(),
            to_them: Vec::new(),
            is_peers_doing: false,
        };
        world.pass(Duration::ZERO);
        world
    }

    /// Time passes.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        if self.ours.timeout(now).is_some_and(|due| due <= now) {
            self.ours.handle_timeout(now);
        }
        let mut sink = Sink::default();
        self.theirs.handle_timeout(now, &mut sink);
        self.take(sink);
    }

    fn take(&mut self, sink: Sink) {
        self.to_us.extend(sink.datagrams);
        self.to_us.truncate(256);
        let mut answers = 0;
        while let Some(datagram) = self.ours.transmit() {
            answers += 1;
            self.to_them.push(datagram);
        }
        assert!(answers <= MOST_ANSWERS, "{answers} answers");
        self.to_them.truncate(256);
    }

    fn receive(&mut self, datagram: &[u8]) {
        self.ours.handle(datagram, self.now);
        self.take(Sink::default());
    }

    /// One datagram each way.
    fn deliver(&mut self) {
        if !self.to_us.is_empty() {
            let datagram = self.to_us.remove(0);
            self.receive(&datagram);
        }
        if !self.to_them.is_empty() {
            let datagram = self.to_them.remove(0);
            let mut sink = Sink::default();
            self.theirs.handle(&datagram, self.now, &mut sink);
            self.take(sink);
        }
    }

    fn drain(&mut self) {
        for _ in 0..64 {
            if self.to_us.is_empty() && self.to_them.is_empty() {
                return;
            }
            self.deliver();
        }
    }

    /// The peer sends this under the keys, if it has them.
    fn send(&mut self, packet: &[u8]) {
        self.is_peers_doing = true;
        let mut sink = Sink::default();
        self.theirs.send(packet, self.now, &mut sink);
        self.take(sink);
    }

    fn send_chunks(&mut self, tag: u32, chunks: &[u8]) {
        let header = Header {
            source: 5000,
            destination: 5000,
            tag,
        };
        self.send(&header.packet(chunks));
    }
}

/// Chunks as the input has them: kind, flags, how the length is off, and so many bytes.
fn chunks(mut bytes: &[u8]) -> Vec<u8> {
    const KINDS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 130, 192, 194];
    let mut all = Vec::new();
    while let [kind, flags, off, length, rest @ ..] = bytes {
        let (value, behind) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = behind;
        let known = KINDS.get(usize::from(*kind) % 20);
        let mut chunk = packet::chunk(*known.unwrap_or(kind), value);
        chunk[1] = *flags;
        // mostly as it should be
        if *off > 200 {
            chunk[3] = chunk[3].wrapping_add(off - 200);
        }
        all.extend(chunk);
        all.resize(packet::padded(all.len()), 0);
    }
    all
}

fn u24(length: usize) -> Vec<u8> {
    (length as u32).to_be_bytes()[1..].to_vec()
}

/// A record in the clear.
fn record(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, number];
    record.extend((payload.len() as u16).to_be_bytes());
    record.extend(payload);
    record
}

fuzz_target!(|input: &[u8]| {
    let [setting, prefix, script @ ..] = input else {
        return;
    };
    let mut world = World::new(setting & 1 != 0, setting & 2 != 0, setting & 4 != 0);
    for _ in 0..prefix % 16 {
        world.deliver();
    }
    if setting & 8 != 0 {
        world.drain();
        // an association, as an honest peer begins one
        let init = Init {
            tag: PEERS_TAG,
            window: 1 << 20,
            outbound: 100,
            inbound: 100,
            tsn: FIRST,
            forward_tsn: setting & 16 != 0,
            re_config: true,
        };
        world.send_chunks(0, &init.write(packet::kind::INIT, None));
        world.drain();
        let echo = packet::chunk(packet::kind::COOKIE_ECHO, &COOKIE);
        world.send_chunks(TAG, &echo);
        world.drain();
    }
    // each step: a byte of kind, a byte of length, and that many bytes
    let mut rest = script;
    while let [what, length, tail @ ..] = rest {
        let (bytes, behind) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = behind;
        match what % 12 {
            0 => world.deliver(),
            1 => {
                // damaged on the way
                if let Some(datagram) = world.to_us.first_mut() {
                    for pair in bytes.chunks_exact(2) {
                        let at = usize::from(pair[0]) * 5 % datagram.len().max(1);
                        if let Some(byte) = datagram.get_mut(at) {
                            *byte ^= pair[1];
                        }
                    }
                    let datagram = datagram.clone();
                    world.receive(&datagram);
                }
            }
            2 => world.receive(bytes),
            3 => world.receive(&record(*length, bytes)),
            4 => {
                // a message of the stranger's, whole or part of a longer one
                if let [kind, number, longer, body @ ..] = bytes {
                    let mut message = vec![kind % 24];
                    message.extend(u24(body.len() + usize::from(longer % 4)));
                    message.extend([0, number % 10]);
                    message.extend(u24(usize::from(longer / 200)));
                    message.extend(u24(body.len()));
                    message.extend(body);
                    world.receive(&record(*length, &message));
                }
            }
            5 => {
                world.to_us.pop();
            }
            6 => world.pass(Duration::from_millis(u64::from(*length) * 4)),
            7 => {
                let _ = world.ours.send(bytes, world.now);
                world.take(Sink::default());
            }
            8 => {
                let mut buffer = [0; 100];
                let _ = world.ours.receive(&mut buffer, world.now);
                world.take(Sink::default());
            }
            9 | 10 => {
                world.send_chunks(TAG, &chunks(bytes));
                world.drain();
            }
            _ => world.send(bytes),
        }
        let has_ended = matches!(world.ours.state(), State::Ended(_));
        assert!(
            !has_ended || world.is_peers_doing,
            "a stranger ended it: {:?}",
            world.ours.view()
        );
    }
    world.ours.close(world.now);
    world.take(Sink::default());
    assert!(matches!(world.ours.state(), State::Ended(_)));
    assert_eq!(world.ours.timeout(world.now), None);
});
