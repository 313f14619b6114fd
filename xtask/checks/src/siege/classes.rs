//! The classes of an attack: a line each.

use std::net::{Ipv4Addr, SocketAddrV4};

use rand::Rng;
use rand::rngs::SmallRng;
use testbed::kernel::forger::{Forged, LONGEST};

use super::forge::{
    ALLOCATE, BINDING, ENDLESS, answer, attribute, candidate, check, class,
    client_hello_without_extensions, fragment, genesis, hello, mapped, number, one_of, random,
    random_of, record, reply, sdp, stun, username, wrong_integrity, xor_address,
};
use super::hosts::THIRD_PARTY;
use super::sctp;

/// Datagrams of a stranger who can forge the peer's address and has no secret.
pub(super) struct Strange {
    pub(super) name: &'static str,
    pub(super) make: fn(&mut SmallRng) -> Forged,
}

macro_rules! strange {
    ($($name:literal, $rng:ident => $bytes:expr;)*) => {
        &[$(Strange { name: $name, make: |$rng| Forged::Udp($bytes) }),*]
    };
}

pub(super) const STRANGE: &[Strange] = strange! {
    // DTLS, in the clear
    "DTLS: alerts of 15 bytes", rng => {
        let (level, description) = (rng.random_range(1..=2), one_of(rng, &[0, 10, 20, 40, 42, 80, 112]));
        record(21, 0, number(rng), &[level, description])
    };
    "DTLS: fragments without end", rng => {
        let (message, offset) = (rng.random_range(0..4), rng.random_range(0..60_000));
        let kind = one_of(rng, &[1, 2, 11, 12, 16]);
        hello(rng, &fragment(kind, message, 60_000, offset, &[7]))
    };
    "DTLS: first fragments", rng => {
        let (length, message) = (rng.random_range(1_000..8_000), rng.random_range(0..7));
        let kind = one_of(rng, &[1, 2, 3, 11, 12, 13, 14, 15, 16]);
        let part = random(rng, 900);
        hello(rng, &fragment(kind, message, length, 0, &part))
    };
    "DTLS: empty fragments", rng => {
        let (kind, message, length) = (rng.random_range(0..25), rng.random_range(0..4), rng.random_range(0..3_000));
        hello(rng, &fragment(kind, message, length, 0, &[]))
    };
    "DTLS: 80 empty fragments in a record", rng => {
        let one = fragment(11, rng.random_range(0..4), 100, 0, &[]);
        hello(rng, &one.repeat(80))
    };
    "DTLS: fragments that overlap", rng => {
        let (offset, message) = (rng.random_range(0..300), rng.random_range(0..2));
        let (kind, part) = (one_of(rng, &[1, 2, 11]), random_of(rng, 0..300));
        hello(rng, &fragment(kind, message, 400, offset, &part))
    };
    "DTLS: messages ahead of their turn", rng => {
        let (kind, message) = (one_of(rng, &[11, 12, 13, 14, 15, 16, 20]), rng.random_range(1..300));
        let body = random_of(rng, 0..300);
        hello(rng, &fragment(kind, message, body.len(), 0, &body))
    };
    "DTLS: a ClientHello with a byte of extensions", rng => {
        let mut body = client_hello_without_extensions(rng);
        body.extend([0, 1, 0]);
        hello(rng, &fragment(1, 0, body.len(), 0, &body))
    };
    "DTLS: a ClientHello cut off", rng => {
        let mut body = client_hello_without_extensions(rng);
        body.truncate(rng.random_range(0..body.len()));
        hello(rng, &fragment(1, 0, body.len(), 0, &body))
    };
    "DTLS: a ClientHello without a common suite", rng => {
        let body = client_hello_without_extensions(rng);
        hello(rng, &fragment(1, 0, body.len(), 0, &body))
    };
    "DTLS: a ServerHello of a byte, or cut off", rng => {
        let mut body = [&[0xfe, 0xfd][..], &random(rng, 32), &[0]].concat();
        body.truncate(*[1, 35].get(rng.random_range(0..2)).unwrap_or(&1));
        hello(rng, &fragment(2, 0, body.len(), 0, &body))
    };
    "DTLS: key exchanges and certificates of nothing", rng => {
        let (kind, message) = (one_of(rng, &[11, 12, 16]), rng.random_range(1..4));
        let body = vec![0; if kind == 11 { 3 } else { 0 }];
        hello(rng, &fragment(kind, message, body.len(), 0, &body))
    };
    "DTLS: changes of the cipher", rng => record(20, 0, number(rng), &[1]);
    "DTLS: acknowledgements in the clear", rng => {
        let numbers = random(rng, 16);
        record(26, 0, number(rng), &[&[0, 16][..], &numbers].concat())
    };
    "DTLS: application data in the clear", rng => record(23, 0, number(rng), b"GET / HTTP/1.1");
    "DTLS: heartbeats and connection ids", rng => {
        let (kind, payload) = (one_of(rng, &[24, 25]), random_of(rng, 0..200));
        record(kind, rng.random_range(0..2), number(rng), &payload)
    };
    "DTLS: records of any type, epoch and version", rng => {
        let (kind, epoch, payload) = (rng.random(), rng.random_range(0..3), random_of(rng, 0..100));
        let mut bytes = record(kind, epoch, number(rng), &payload);
        bytes[1..3].copy_from_slice(&[one_of(rng, &[0xfe, 3, 0]), one_of(rng, &[0xff, 0xfd, 0xfc, 0])]);
        bytes
    };
    "DTLS: a record longer than its datagram", rng => {
        let mut bytes = record(22, 0, number(rng), &[]);
        bytes[11] = 0xff;
        bytes
    };
    "DTLS: a hundred records", rng => record(22, 0, number(rng), &[1]).repeat(100);
    // DTLS, as if under keys
    "DTLS: alerts under unknown keys", rng => {
        let epoch = rng.random_range(1..4);
        record(21, epoch, number(rng), &random(rng, 26))
    };
    "DTLS: handshakes under unknown keys", rng => {
        let body = random_of(rng, 24..300);
        record(22, rng.random_range(1..4), number(rng), &body)
    };
    "DTLS: records of a later epoch", rng => {
        let (kind, epoch) = (rng.random_range(20..27), rng.random_range(2..60_000));
        let body = random_of(rng, 0..300);
        record(kind, epoch, number(rng), &body)
    };
    "DTLS 1.2: records of the epoch in use, any number", rng => {
        let body = random_of(rng, 16..1_200);
        record(23, 1, rng.random_range(0..1 << 48), &body)
    };
    "DTLS 1.3: unified headers, any flags", rng => {
        let mut bytes = random_of(rng, 1..300);
        bytes[0] = 0x20 | (bytes[0] & 0x1f);
        bytes
    };
    "DTLS 1.3: records of the epoch in use", rng => {
        let body = random_of(rng, 17..1_200);
        // both lengths present, 16 bits of number, epoch 3 modulo 4 (RFC 9147 section 4)
        let mut bytes = vec![0b0010_1111];
        bytes.extend(random(rng, 2));
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    };
    "DTLS 1.3: many short records", rng => {
        let mut bytes = Vec::new();
        for _ in 0..50 {
            bytes.extend([0b0010_1111, rng.random(), rng.random(), 0, 17]);
            bytes.extend(random(rng, 17));
        }
        bytes
    };
    "DTLS: an alert in the clear behind a record that does not open", rng => {
        let sealed = random(rng, 24);
        let first = match rng.random() {
            true => [&[0b0010_1111, 0, number(rng) as u8, 0, 24][..], &sealed].concat(),
            false => record(23, 1, number(rng), &sealed),
        };
        let alert = record(21, 0, number(rng), &[2, 40]);
        [first, alert].concat()
    };
    "DTLS 1.2: many short records", rng => {
        (0..30).flat_map(|_| {
            let (number, sealed) = (rng.random_range(0..1 << 48), random(rng, 25));
            record(23, 1, number, &sealed)
        }).collect()
    };
    // STUN
    "STUN: requests without integrity", rng => {
        let attributes = check(rng);
        stun(rng, BINDING | class::REQUEST, &attributes)
    };
    "STUN: requests with another key", rng => {
        let mut attributes = check(rng);
        attributes.push(wrong_integrity(rng));
        attributes.push(attribute(0x8028, &random(rng, 4)));
        stun(rng, BINDING | class::REQUEST, &attributes)
    };
    "STUN: responses with unknown ids", rng => {
        let attributes = [mapped(rng), wrong_integrity(rng)];
        stun(rng, BINDING | class::SUCCESS, &attributes)
    };
    "STUN: error responses", rng => {
        let (hundreds, rest) = (rng.random_range(3..7), rng.random_range(0..100));
        let reason = random_of(rng, 0..100);
        let value = [&[0, 0, hundreds, rest][..], &reason].concat();
        let attributes = [attribute(0x0009, &value), wrong_integrity(rng)];
        stun(rng, BINDING | class::ERROR, &attributes)
    };
    "STUN: indications", rng => {
        let attributes = match rng.random() {
            true => vec![],
            false => vec![username(rng), wrong_integrity(rng)],
        };
        stun(rng, BINDING | class::INDICATION, &attributes)
    };
    "STUN: other methods", rng => {
        let class = *[class::REQUEST, class::SUCCESS, class::ERROR].get(rng.random_range(0..3)).unwrap_or(&0);
        let method = u16::from(one_of(rng, &[2, 3, 4, 6, 7, 8, 9, 10, 11]));
        let attributes = check(rng);
        stun(rng, method | class, &attributes)
    };
    "STUN: hundreds of attributes", rng => {
        let attributes: Vec<_> = (0..250).map(|_| attribute(rng.random_range(0..0x9000), &[])).collect();
        stun(rng, BINDING | class::REQUEST, &attributes)
    };
    "STUN: lengths that are not so", rng => {
        let mut bytes = stun(rng, BINDING, &[]);
        bytes.extend(random_of(rng, 0..100));
        let (length, claimed) = (rng.random::<u16>(), rng.random::<u16>());
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes.extend([0, 6]);
        bytes.extend(claimed.to_be_bytes());
        bytes
    };
    // TURN
    "TURN: ChannelData", rng => {
        let (channel, data) = (rng.random_range(0x4000_u16..0x5000), random_of(rng, 0..300));
        let length = if rng.random() { data.len() as u16 } else { rng.random() };
        [&channel.to_be_bytes()[..], &length.to_be_bytes(), &data].concat()
    };
    "TURN: Send and Data indications", rng => {
        let (peer, data) = (random(rng, 6), random_of(rng, 0..300));
        let attributes = [attribute(0x0012, &[&[0, 1][..], &peer].concat()), attribute(0x0013, &data)];
        let method = u16::from(one_of(rng, &[6, 7]));
        stun(rng, method | class::INDICATION, &attributes)
    };
    // neither
    "random bytes that look like DTLS", rng => {
        let mut bytes = random_of(rng, 1..1_472);
        bytes[0] = rng.random_range(20..64);
        bytes
    };
    "random bytes", rng => random_of(rng, 1..1_472);
    "empty datagrams", _rng => Vec::new();
    "64 KiB, in fragments of IP", rng => {
        let mut bytes = vec![rng.random(); LONGEST];
        bytes[0] = one_of(rng, &[0, 22, 23, 0x2f, 0x80]);
        bytes
    };
};

/// ICMP errors on datagrams of the receiver's own, each type with each code (RFC 792, RFC 1812
/// section 5.2.7).
pub(super) const ICMP: Strange = Strange {
    name: "ICMP errors of every code",
    make: |rng| {
        let (kind, codes) = *[(3, 16), (4, 1), (5, 4), (11, 2), (12, 3)]
            .get(rng.random_range(0..5))
            .unwrap_or(&(3, 16));
        let code = rng.random_range(0..codes);
        // the next hop takes packets of 68 bytes to 1,500 (RFC 1191 section 4)
        let longest = rng.random_range(68_u16..1_500).to_be_bytes();
        Forged::Icmp {
            kind,
            code,
            rest: [0, 0, longest[0], longest[1]],
        }
    },
};

/// What a peer with valid keys does to the other end of its own path.
pub(super) struct Abuse {
    pub(super) name: &'static str,
    pub(super) act: Act,
}

/// One step of such an abuse, again and again.
#[derive(Clone, Copy)]
pub(super) enum Act {
    /// In place of an honest handshake: a datagram in the clear.
    Instead(fn(&mut SmallRng) -> Vec<u8>),
    /// On the open channel: a datagram in the clear.
    Clear(fn(&mut SmallRng) -> Vec<u8>),
    /// On the open channel: a record under the keys, of this type and with this content.
    Sealed(fn(&mut SmallRng) -> (u8, Vec<u8>)),
    /// On the open channel: the chunks of a packet of SCTP.
    Sctp(fn(&mut SmallRng, &mut Association) -> Vec<Vec<u8>>),
    /// On the open channel: a whole packet of SCTP.
    Packet(fn(&mut SmallRng, &mut Association) -> Vec<u8>),
}

/// The abuser's end of an association.
#[derive(Debug)]
pub(super) struct Association {
    /// The victim's verification tag.
    pub(super) tag: u32,
    /// The abuser's next TSN.
    pub(super) tsn: u32,
    /// The victim's TSN, the last that was seen.
    pub(super) theirs: u32,
}

impl Association {
    fn next(&mut self) -> u32 {
        self.tsn = self.tsn.wrapping_add(1);
        self.tsn.wrapping_sub(1)
    }
}

/// The stream of the channel: the consumer opens it, as the DTLS server (RFC 8832 section 6).
pub(super) const STREAM: u16 = 1;

/// DATA_CHANNEL_OPEN of a channel with a name of ten bytes (RFC 8832 section 5.1).
fn open(rng: &mut SmallRng) -> Vec<u8> {
    let mut open = vec![3, 0x81, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0];
    open.extend(random(rng, 10));
    open
}

macro_rules! abuse {
    ($($name:literal, $act:expr;)*) => { &[$(Abuse { name: $name, act: $act }),*] };
}

pub(super) const ABUSES: &[Abuse] = abuse! {
    // DTLS
    "handshake: hellos without end", Act::Instead(|rng| {
        let body = client_hello_without_extensions(rng);
        hello(rng, &fragment(1, 0, body.len(), 0, &body))
    });
    "handshake: fragments without end", Act::Instead(|rng| {
        let (message, offset) = (rng.random_range(0..4), rng.random_range(0..60_000));
        hello(rng, &fragment(1, message, 60_000, offset, &[7]))
    });
    "handshake: messages of any kind", Act::Instead(|rng| {
        let (kind, message) = (rng.random_range(0..26), rng.random_range(0..9));
        let body = random_of(rng, 0..1_000);
        hello(rng, &fragment(kind, message, body.len(), 0, &body))
    });
    "handshake: alerts and random records", Act::Instead(|rng| {
        let (kind, epoch, body) = (rng.random_range(20..27), rng.random_range(0..3), random_of(rng, 0..200));
        record(kind, epoch, number(rng), &body)
    });
    "open: hellos in the clear", Act::Clear(|rng| {
        let body = client_hello_without_extensions(rng);
        hello(rng, &fragment(1, 0, body.len(), 0, &body))
    });
    "renegotiation: hellos under the keys", Act::Sealed(|rng| {
        let body = client_hello_without_extensions(rng);
        (22, fragment(1, rng.random_range(0..9), body.len(), 0, &body))
    });
    "renegotiation: requests for a hello", Act::Sealed(|rng| (22, fragment(0, rng.random_range(0..9), 0, 0, &[])));
    "fragments without end, under the keys", Act::Sealed(|rng| {
        let (kind, message) = (one_of(rng, &[1, 2, 11, 20]), rng.random_range(0..60_000));
        (22, fragment(kind, message, 1 << 23, rng.random_range(0..1 << 22), &[7; 100]))
    });
    "random handshake messages, under the keys", Act::Sealed(|rng| (22, random_of(rng, 0..1_000)));
    "warnings, under the keys", Act::Sealed(|rng| (21, vec![1, one_of(rng, &[10, 40, 90, 100, 110])]));
    "changes of the cipher, under the keys", Act::Sealed(|_| (20, vec![1]));
    "types of record that do not exist", Act::Sealed(|rng| (one_of(rng, &[0, 19, 24, 25, 26, 27, 99, 255]), random_of(rng, 0..300)));
    "empty records", Act::Sealed(|_| (23, Vec::new()));
    // SCTP
    "SCTP: random bytes", Act::Packet(|rng, _| random_of(rng, 0..1_150));
    "SCTP: random chunks", Act::Sctp(|rng, _| {
        let (kind, flags, value) = (rng.random(), rng.random(), random_of(rng, 0..1_000));
        // an ABORT would end the path at once
        vec![sctp::chunk(if kind == 6 { 7 } else { kind }, flags, &value)]
    });
    "SCTP: chunks with another length", Act::Sctp(|rng, _| {
        let (kind, length) = (one_of(rng, &[0, 3, 4, 7, 8, 10, 11, 130, 192]), rng.random_range(0..2_000));
        vec![sctp::chunk_of(kind, 0, length, &random_of(rng, 0..300))]
    });
    "SCTP: a wrong checksum", Act::Packet(|rng, association| {
        let mut packet = sctp::packet(association.tag, &[sctp::data(sctp::WHOLE, association.tsn, STREAM, sctp::BINARY, b"x")]);
        packet[8] ^= rng.random_range(1..=255);
        packet
    });
    "SCTP: messages of a byte", Act::Sctp(|_, association| {
        (0..50).map(|_| sctp::data(sctp::WHOLE, association.next(), STREAM, sctp::BINARY, b"x")).collect()
    });
    "SCTP: a message without an end", Act::Sctp(|rng, association| {
        let begins = association.tsn == sctp::FIRST + 1;
        let flags = if begins { 0b010 } else { 0 };
        vec![sctp::data(flags, association.next(), STREAM, sctp::BINARY, &random(rng, 1_000))]
    });
    "SCTP: gaps", Act::Sctp(|rng, association| {
        association.tsn += 2;
        vec![sctp::data(sctp::WHOLE, association.tsn, STREAM, sctp::BINARY, &random(rng, 1_000))]
    });
    "SCTP: far TSNs", Act::Sctp(|rng, association| {
        let tsn = association.tsn.wrapping_add(rng.random_range(0..u32::MAX / 2));
        vec![sctp::data(sctp::WHOLE, tsn, STREAM, sctp::BINARY, &random(rng, 100))]
    });
    "SCTP: the same TSN", Act::Sctp(|rng, association| {
        vec![sctp::data(sctp::WHOLE, association.tsn, STREAM, sctp::BINARY, &random(rng, 1_000))]
    });
    "SCTP: every stream", Act::Sctp(|rng, association| {
        (0..30).map(|_| sctp::data(sctp::WHOLE, association.next(), rng.random(), sctp::BINARY, b"x")).collect()
    });
    "SCTP: channels without end", Act::Sctp(|rng, association| {
        let stream = (association.tsn as u16).wrapping_mul(2);
        vec![sctp::data(0b011, association.next(), stream, sctp::DCEP, &open(rng))]
    });
    "SCTP: resets", Act::Sctp(|rng, association| {
        let streams: Vec<u16> = (0..rng.random_range(0..100)).map(|_| rng.random_range(2..u16::MAX)).collect();
        let (number, ahead) = (association.next(), rng.random_range(0..u32::MAX / 2));
        vec![sctp::reset(number, association.tsn.wrapping_add(ahead), &streams)]
    });
    "SCTP: far FORWARD TSNs", Act::Sctp(|rng, association| {
        association.tsn = association.tsn.wrapping_add(rng.random_range(0..1 << 20));
        let streams: Vec<u16> = (0..rng.random_range(0..200)).map(|_| rng.random()).collect();
        vec![sctp::forward_tsn(association.tsn, &streams)]
    });
    "SCTP: acknowledgements of everything", Act::Sctp(|rng, association| {
        let tsn = association.theirs.wrapping_add(rng.random_range(0..1_000));
        vec![sctp::sack(tsn, &[(1, u16::MAX); 250])]
    });
    "SCTP: heartbeats", Act::Sctp(|rng, _| {
        let info = random_of(rng, 0..500);
        let value = [&[0, 1][..], &(info.len() as u16 + 4).to_be_bytes(), &info].concat();
        vec![sctp::chunk(sctp::HEARTBEAT, 0, &value)]
    });
    "SCTP: hundreds of chunks that want an answer", Act::Sctp(|_, _| {
        vec![sctp::chunk(sctp::HEARTBEAT, 0, &[0, 1, 0, 8, 1, 2, 3, 4]); 90]
    });
    "SCTP: beginnings anew", Act::Sctp(|rng, association| {
        let kind = one_of(rng, &[sctp::INIT, sctp::INIT_ACK, sctp::COOKIE_ECHO, sctp::COOKIE_ACK]);
        vec![match kind {
            sctp::INIT | sctp::INIT_ACK => sctp::init(kind, association.tsn.wrapping_add(500_000)),
            kind => sctp::chunk(kind, 0, &random_of(rng, 0..300)),
        }]
    });
    "SCTP: errors and shutdowns", Act::Sctp(|rng, _| {
        vec![sctp::chunk(one_of(rng, &[7, 8, 9, 14]), 0, &random_of(rng, 0..100))]
    });
};

/// A request to a hostile server.
pub(super) struct Asked {
    id: [u8; 12],
    method: u16,
    source: SocketAddrV4,
    /// The request names its user.
    is_signed: bool,
}

impl Asked {
    /// None of a datagram that is no request.
    pub(super) fn read(datagram: &[u8], source: SocketAddrV4) -> Option<Self> {
        let kind = u16::from_be_bytes(*datagram.first_chunk()?);
        let is_request = kind & 0x0110 == class::REQUEST && kind < 0x4000;
        is_request.then_some(())?;
        Some(Self {
            id: *datagram.get(8..)?.first_chunk()?,
            method: kind,
            source,
            is_signed: datagram.windows(4).any(|window| window == b"user"),
        })
    }

    /// An honest answer of a STUN server.
    pub(super) fn mapped(&self) -> Vec<u8> {
        self.success(&[xor_address(MAPPED, self.source)])
    }

    /// An error response with this ERROR-CODE.
    pub(super) fn refused(&self, code: &[u8]) -> Vec<u8> {
        self.message(class::ERROR, &[attribute(ERROR_CODE, code)])
    }

    fn success(&self, attributes: &[Vec<u8>]) -> Vec<u8> {
        self.message(class::SUCCESS, attributes)
    }

    fn message(&self, class: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
        let attributes = attributes.concat();
        let mut message = (self.method | class).to_be_bytes().to_vec();
        message.extend((attributes.len() as u16).to_be_bytes());
        message.extend([0x21, 0x12, 0xa4, 0x42]);
        message.extend(self.id);
        message.extend(attributes);
        message
    }

    /// Of a TURN server: it asks for credentials, as it should, and then answers with these.
    fn with_credentials(&self, answers: impl FnOnce() -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        match (self.is_signed, self.method) {
            (false, _) => vec![self.challenge(401, b"lab!", b"nonce567")],
            (true, ALLOCATE) => answers(),
            (true, _) => vec![self.success(&[attribute(LIFETIME, &[0, 0, 2, 0x58])])],
        }
    }

    /// An error that asks for other credentials (RFC 8489 section 9.2.4).
    fn challenge(&self, code: u16, realm: &[u8], nonce: &[u8]) -> Vec<u8> {
        let code = attribute(ERROR_CODE, &[0, 0, (code / 100) as u8, (code % 100) as u8]);
        self.message(
            class::ERROR,
            &[code, attribute(REALM, realm), attribute(NONCE, nonce)],
        )
    }

    /// An allocation with this relayed address, for this many seconds.
    fn allocation(&self, relayed: SocketAddrV4, seconds: u32) -> Vec<u8> {
        self.success(&[
            xor_address(RELAYED, relayed),
            xor_address(MAPPED, self.source),
            attribute(LIFETIME, &seconds.to_be_bytes()),
        ])
    }
}

/// XOR-MAPPED-ADDRESS, ERROR-CODE, REALM, NONCE, ALTERNATE-SERVER (RFC 8489 section 14), LIFETIME,
/// XOR-RELAYED-ADDRESS, XOR-PEER-ADDRESS, DATA (RFC 8656 section 18).
const MAPPED: u16 = 0x0020;
const ERROR_CODE: u16 = 0x0009;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const ALTERNATE: u16 = 0x8023;
const LIFETIME: u16 = 0x000d;
const RELAYED: u16 = 0x0016;
const PEER: u16 = 0x0012;
const DATA: u16 = 0x0013;
/// A relayed address that leads nowhere.
const NOWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 9);

/// What a hostile STUN or TURN server sends upon a request.
pub(super) struct HostileServer {
    pub(super) name: &'static str,
    pub(super) answer: fn(&mut SmallRng, &Asked) -> Vec<Vec<u8>>,
}

macro_rules! server {
    ($($name:literal, ($rng:pat, $asked:pat) => $answer:expr;)*) => {
        &[$(HostileServer { name: $name, answer: |$rng, $asked| $answer }),*]
    };
}

/// ALTERNATE-SERVER with the third party's address (RFC 8489 section 10).
fn alternate() -> Vec<u8> {
    let ip = THIRD_PARTY.ip().octets();
    attribute(
        ALTERNATE,
        &[&[0, 1][..], &THIRD_PARTY.port().to_be_bytes(), &ip].concat(),
    )
}

pub(super) const STUN_SERVERS: &[HostileServer] = server! {
    "an empty datagram", (_, _) => vec![Vec::new()];
    "a hundred copies of the answer", (_, asked) => vec![asked.mapped(); 100];
    "a hundred answers with other addresses", (rng, asked) => (0..100).map(|_| asked.success(&[mapped(rng)])).collect();
    "answers with other ids, then the honest one", (rng, asked) => {
        let mut answers: Vec<_> = (0..500).map(|_| {
            let mapped = mapped(rng);
            stun(rng, BINDING | class::SUCCESS, &[mapped])
        }).collect();
        answers.push(asked.mapped());
        answers
    };
    "another address each time", (rng, asked) => vec![asked.success(&[mapped(rng)])];
    "the address of a third party", (_, asked) => vec![asked.success(&[xor_address(MAPPED, THIRD_PARTY)])];
    "addresses that no host has", (rng, asked) => {
        let ip = *[[0, 0, 0, 0], [224, 0, 0, 1], [255; 4], [127, 0, 0, 1], [240, 0, 0, 1]]
            .get(rng.random_range(0..5)).unwrap_or(&[0; 4]);
        vec![asked.success(&[xor_address(MAPPED, SocketAddrV4::new(ip.into(), rng.random_range(0..2)))])]
    };
    "an address of another family", (rng, asked) => vec![asked.success(&[attribute(MAPPED, &[&[0, 2, 0x21, 0x12][..], &random(rng, 16)].concat())])];
    "two addresses in one answer", (rng, asked) => vec![asked.success(&[mapped(rng), xor_address(MAPPED, asked.source)])];
    "errors of every code", (rng, asked) => {
        let code = [0, 0, rng.random_range(0..8), rng.random()];
        vec![asked.refused(&[&code[..], &random_of(rng, 0..700)].concat())]
    };
    "go to another server", (_, asked) => vec![asked.message(class::ERROR, &[attribute(ERROR_CODE, &[0, 0, 3, 0]), alternate()])];
    "credentials wanted", (rng, asked) => vec![asked.challenge(401, &random(rng, 300), &random(rng, 300))];
    "unknown attributes that have to be understood", (rng, asked) => {
        let unknown = attribute(0x7f00, &random(rng, 8));
        vec![asked.success(&[unknown, xor_address(MAPPED, asked.source)])]
    };
    "hundreds of attributes", (_, asked) => vec![asked.success(&vec![attribute(0xc001, &[]); 300])];
    "lengths that are not so", (rng, asked) => {
        let mut answer = asked.mapped();
        let at = *[2, 3, 22, 23].get(rng.random_range(0..4)).unwrap_or(&2);
        answer[at] = rng.random();
        vec![answer]
    };
    "answers cut off", (rng, asked) => {
        let mut answer = asked.mapped();
        answer.truncate(rng.random_range(0..answer.len()));
        vec![answer]
    };
    "64 KiB", (rng, asked) => vec![asked.success(&[attribute(0xc001, &random(rng, 60_000)), xor_address(MAPPED, asked.source)])];
    "random bytes, a thousand", (rng, _) => (0..1_000).map(|_| random_of(rng, 0..1_200)).collect();
    "connectivity checks, a thousand", (rng, _) => (0..1_000).map(|_| {
        let check = check(rng);
        stun(rng, BINDING | class::REQUEST, &check)
    }).collect();
    "hellos of DTLS, a thousand", (rng, _) => (0..1_000).map(|_| {
        let body = client_hello_without_extensions(rng);
        hello(rng, &fragment(1, 0, body.len(), 0, &body))
    }).collect();
    "indications, a thousand", (rng, _) => (0..1_000).map(|_| {
        let mapped = mapped(rng);
        stun(rng, BINDING | class::INDICATION, &[mapped])
    }).collect();
};

pub(super) const TURN_SERVERS: &[HostileServer] = server! {
    "random bytes, a thousand", (rng, _) => (0..1_000).map(|_| random_of(rng, 0..1_200)).collect();
    "other credentials, always", (rng, asked) => vec![asked.challenge(401, &random(rng, 20), &random(rng, 20))];
    "another nonce, always", (rng, asked) => {
        let code = if asked.is_signed { 438 } else { 401 };
        vec![asked.challenge(code, b"lab!", &random(rng, 20))]
    };
    "a realm and a nonce of 30,000 bytes", (_, asked) => vec![asked.challenge(401, &[b'r'; 30_000], &[b'n'; 30_000])];
    "a realm that is no text", (_, asked) => vec![asked.challenge(401, &[0xff; 90], &[0xfe; 90])];
    "errors of every code", (rng, asked) => {
        let code = [0, 0, rng.random_range(0..8), rng.random()];
        let reason = random_of(rng, 0..700);
        asked.with_credentials(|| vec![asked.refused(&[&code[..], &reason].concat())])
    };
    "go to another server", (_, asked) => vec![asked.message(class::ERROR, &[attribute(ERROR_CODE, &[0, 0, 3, 0]), alternate()])];
    "an allocation without a relayed address", (_, asked) => asked.with_credentials(|| vec![asked.success(&[attribute(LIFETIME, &[0, 0, 2, 0x58])])]);
    "an allocation without a lifetime", (_, asked) => asked.with_credentials(|| vec![asked.success(&[xor_address(RELAYED, NOWHERE)])]);
    "an allocation of no time", (_, asked) => asked.with_credentials(|| vec![asked.allocation(NOWHERE, 0)]);
    "an allocation for ever", (_, asked) => asked.with_credentials(|| vec![asked.allocation(NOWHERE, u32::MAX)]);
    "the address of a third party", (_, asked) => asked.with_credentials(|| vec![asked.allocation(THIRD_PARTY, 600)]);
    "the address of the client", (_, asked) => asked.with_credentials(|| vec![asked.allocation(asked.source, 600)]);
    "addresses that no host has", (rng, asked) => {
        let ip = *[[0, 0, 0, 0], [224, 0, 0, 1], [255; 4], [127, 0, 0, 1]].get(rng.random_range(0..4)).unwrap_or(&[0; 4]);
        let relayed = SocketAddrV4::new(ip.into(), rng.random_range(0..2));
        asked.with_credentials(|| vec![asked.allocation(relayed, 600)])
    };
    "a hundred allocations", (_, asked) => asked.with_credentials(|| vec![asked.allocation(NOWHERE, 600); 100]);
    "permissions refused, allocation kept", (_, asked) => match (asked.is_signed, asked.method) {
        (true, method) if method != ALLOCATE => vec![asked.refused(&[0, 0, 4, 3])],
        _ => asked.with_credentials(|| vec![asked.allocation(NOWHERE, 600)]),
    };
    "a nonce for each request behind the allocation", (rng, asked) => match (asked.is_signed, asked.method) {
        (true, method) if method != ALLOCATE => vec![asked.challenge(438, b"lab!", &random(rng, 20))],
        _ => asked.with_credentials(|| vec![asked.allocation(NOWHERE, 600)]),
    };
    "data of any peer, a thousand", (rng, asked) => {
        let data: Vec<_> = (0..1_000).map(|_| {
            let peer = SocketAddrV4::new(Ipv4Addr::from(rng.random::<u32>()), rng.random());
            let data = attribute(DATA, &random_of(rng, 0..1_000));
            stun(rng, 0x0017, &[xor_address(PEER, peer), data])
        }).collect();
        asked.with_credentials(|| [vec![asked.allocation(NOWHERE, 600)], data].concat())
    };
    "data on channels that nothing opened, a thousand", (rng, asked) => {
        let data: Vec<_> = (0..1_000).map(|_| {
            let channel = rng.random_range(0x4000_u16..0x8000).to_be_bytes();
            let data = random_of(rng, 0..1_000);
            [&channel[..], &(data.len() as u16).to_be_bytes(), &data].concat()
        }).collect();
        asked.with_credentials(|| [vec![asked.allocation(NOWHERE, 600)], data].concat())
    };
    "answers cut off", (rng, asked) => {
        let length = rng.random_range(0..56);
        asked.with_credentials(|| {
            let mut answer = asked.allocation(NOWHERE, 600);
            answer.truncate(length);
            vec![answer]
        })
    };
};

/// The request of a consumer that a hostile signalling service answers; to those before, it is
/// honest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Listen,
    Offer,
    Ice,
}

/// A part of a reply.
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// The same bytes so many times.
    Again(Vec<u8>, u32),
    /// One byte again and again, slowly.
    Drip(u8),
    /// Nothing more, and the connection stays.
    Hold,
}

/// What a hostile signalling service replies.
pub(super) struct HostileService {
    pub(super) name: &'static str,
    pub(super) at: Step,
    pub(super) reply: fn(&mut SmallRng) -> Vec<Piece>,
}

macro_rules! service {
    ($($name:literal, $at:ident, $rng:pat => [$($piece:expr),*];)*) => {
        &[$(HostileService { name: $name, at: Step::$at, reply: |$rng| vec![$($piece),*] }),*]
    };
}

/// Pieces of 64 KiB of a reply that goes on until its reader ends it: 256 MiB.
const MANY: u32 = 4_096;

fn text(text: &str) -> Piece {
    Piece::Bytes(text.as_bytes().to_vec())
}

pub(super) const SERVICES: &[HostileService] = service! {
    "the connection closed at once", Listen, _ => [text("")];
    "random bytes", Listen, rng => [Piece::Bytes(random(rng, 65_536))];
    "nothing, and the connection stays", Listen, _ => [Piece::Hold];
    "a status line, slowly", Listen, _ => [text("HTTP/1.1 200 "), Piece::Drip(b'O')];
    "a header without end", Listen, _ => [text("HTTP/1.1 200 OK\r\nX: "), Piece::Again(vec![b'x'; 65_536], MANY)];
    "headers without end", Listen, _ => [text("HTTP/1.1 200 OK\r\n"), Piece::Again(b"X-Y: z\r\n".repeat(8_192), MANY)];
    "informational responses without end", Listen, _ => [Piece::Again(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(2_500), MANY)];
    "a redirect to a third party", Listen, _ => [text("HTTP/1.1 302 Found\r\nLocation: http://10.1.0.1:7/\r\nContent-Length: 0\r\n\r\n")];
    "statuses of any number", Listen, rng => [text(&format!("HTTP/1.1 {} X\r\nContent-Length: 0\r\n\r\n", rng.random_range(100..1_000)))];
    "two lengths", Listen, _ => [text("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 900\r\n\r\nhello")];
    "a length of 2 to the 64th", Listen, _ => [text("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n"), Piece::Hold];
    "a chunk of 2 to the 60th", Listen, _ => [text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\n"), Piece::Again(vec![b'x'; 65_536], MANY)];
    "a line without end", Listen, _ => [Piece::Bytes(ENDLESS.to_vec()), Piece::Again(vec![b'x'; 65_536], MANY)];
    "lines of nothing without end", Listen, _ => [Piece::Bytes(ENDLESS.to_vec()), Piece::Again(vec![b'\n'; 65_536], MANY)];
    "volunteers without end", Listen, _ => [Piece::Bytes(ENDLESS.to_vec()), Piece::Again(genesis().repeat(500), MANY)];
    "volunteers with ids of 200,000 bytes", Listen, _ => [Piece::Bytes(ENDLESS.to_vec()), Piece::Again(
        format!("{{\"ReplyTo\":\"{}\",\"Type\":0,\"Payload\":\"{{}}\"}}\n", "x".repeat(200_000)).into_bytes(), 1_000)];
    "brackets, 200,000 deep", Listen, _ => [Piece::Bytes(reply(format!("{}\n", "[".repeat(200_000)).as_bytes())), Piece::Hold];
    "a reply without end", Offer, _ => [Piece::Bytes(ENDLESS.to_vec()), Piece::Again(vec![b' '; 65_536], MANY)];
    "a reply, slowly", Offer, _ => [Piece::Bytes(ENDLESS.to_vec()), Piece::Drip(b' ')];
    "brackets in reply, 200,000 deep", Offer, _ => [Piece::Bytes(reply("[".repeat(200_000).as_bytes()))];
    "an answer of the wrong kind", Offer, _ => [Piece::Bytes(reply(&genesis()))];
    "an answer without a description", Offer, _ => [Piece::Bytes(reply(&answer("v=0")))];
    "an answer of 5,000 lines", Offer, _ => [Piece::Bytes(reply(&answer(&sdp(&vec!["a=x:y\r\n".into(); 5_000]))))];
    "an answer of 1,000 candidates at a third party", Offer, _ => [Piece::Bytes(reply(&answer(&sdp(
        &(0..1_000).map(|number| candidate(number, THIRD_PARTY)).collect::<Vec<_>>()))))];
    "an answer of 60 candidates at one host", Offer, _ => [Piece::Bytes(reply(&answer(&sdp(
        &(0..60).map(|number| candidate(number, SocketAddrV4::new(*THIRD_PARTY.ip(), 7 + number as u16))).collect::<Vec<_>>()))))];
    "an answer whose peer is the service", Offer, _ => [Piece::Bytes(reply(&answer(&sdp(&[candidate(1, SocketAddrV4::new(*THIRD_PARTY.ip(), 9_001))]))))];
    "a reply without end to the candidates", Ice, _ => [Piece::Bytes(ENDLESS.to_vec()), Piece::Again(vec![b' '; 65_536], MANY)];
    "nothing in reply to the candidates", Ice, _ => [Piece::Hold];
    "any status in reply to the candidates", Ice, rng => [text(&format!("HTTP/1.1 {} X\r\nContent-Length: 0\r\n\r\n", rng.random_range(200..600)))];
};
