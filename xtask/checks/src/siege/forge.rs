//! Bytes of an attacker: records of DTLS, messages of STUN, frames of TURN, as parts to build a
//! class from.

use std::net::SocketAddrV4;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore};

/// A record number that an honest peer may still use.
pub(super) fn number(rng: &mut SmallRng) -> u64 {
    rng.random_range(0..200)
}

/// Random bytes.
pub(super) fn random(rng: &mut SmallRng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// So many random bytes.
pub(super) fn random_of(rng: &mut SmallRng, length: std::ops::Range<usize>) -> Vec<u8> {
    let length = rng.random_range(length);
    random(rng, length)
}

/// One of these.
pub(super) fn one_of(rng: &mut SmallRng, choices: &[u8]) -> u8 {
    choices.choose(rng).copied().unwrap_or_default()
}

/// A record of DTLS 1.2, or one of 1.3 in the clear (RFC 6347 section 4.1).
pub(super) fn record(kind: u8, epoch: u16, number: u64, payload: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 0xfe, 0xfd];
    record.extend(epoch.to_be_bytes());
    record.extend(&number.to_be_bytes()[2..]);
    record.extend((payload.len() as u16).to_be_bytes());
    record.extend(payload);
    record
}

/// A record of handshake messages in the clear.
pub(super) fn hello(rng: &mut SmallRng, messages: &[u8]) -> Vec<u8> {
    record(22, 0, number(rng), messages)
}

/// A fragment of a handshake message (RFC 6347 section 4.2.2).
pub(super) fn fragment(
    kind: u8,
    message: u16,
    length: usize,
    offset: usize,
    bytes: &[u8],
) -> Vec<u8> {
    let u24 = |number: usize| (number as u32).to_be_bytes()[1..].to_vec();
    let mut fragment = vec![kind];
    fragment.extend(u24(length));
    fragment.extend(message.to_be_bytes());
    fragment.extend(u24(offset));
    fragment.extend(u24(bytes.len()));
    fragment.extend(bytes);
    fragment
}

/// RFC 5246 section 7.4.1.2.
pub(super) fn client_hello_without_extensions(rng: &mut SmallRng) -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend(random(rng, 32));
    body.extend([0, 0, 0, 4, 0xc0, 0x2b, 0xcc, 0xa9, 1, 0]);
    body
}

/// Classes of a STUN message, as bits of its type (RFC 8489 section 5).
pub(super) mod class {
    pub(in super::super) const REQUEST: u16 = 0;
    pub(in super::super) const INDICATION: u16 = 0x10;
    pub(in super::super) const SUCCESS: u16 = 0x100;
    pub(in super::super) const ERROR: u16 = 0x110;
}

/// The method of a connectivity check.
pub(super) const BINDING: u16 = 1;

/// A STUN message with a random transaction id (RFC 8489 section 5).
pub(super) fn stun(rng: &mut SmallRng, kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    let attributes = attributes.concat();
    let mut message = kind.to_be_bytes().to_vec();
    message.extend((attributes.len() as u16).to_be_bytes());
    message.extend([0x21, 0x12, 0xa4, 0x42]);
    message.extend(random(rng, 12));
    message.extend(attributes);
    message
}

/// An attribute, padded (RFC 8489 section 14).
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = kind.to_be_bytes().to_vec();
    attribute.extend((value.len() as u16).to_be_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// USERNAME of a check.
pub(super) fn username(rng: &mut SmallRng) -> Vec<u8> {
    let name: Vec<u8> = (0..17)
        .map(|at| match at {
            8 => b':',
            _ => rng.random_range(b'a'..=b'z'),
        })
        .collect();
    attribute(0x0006, &name)
}

/// MESSAGE-INTEGRITY with another key than the peer's: its bytes are as good as random.
pub(super) fn wrong_integrity(rng: &mut SmallRng) -> Vec<u8> {
    let hmac = random(rng, 20);
    attribute(0x0008, &hmac)
}

/// XOR-MAPPED-ADDRESS of a random address.
pub(super) fn mapped(rng: &mut SmallRng) -> Vec<u8> {
    let mut value = vec![0, 1];
    value.extend(random(rng, 6));
    attribute(0x0020, &value)
}

/// What a check has besides (RFC 8445 section 7.1).
pub(super) fn check(rng: &mut SmallRng) -> Vec<Vec<u8>> {
    let role = *[0x8029, 0x802a].choose(rng).unwrap_or(&0x8029);
    let tie_breaker = random(rng, 8);
    vec![
        username(rng),
        attribute(0x0024, &[0x6e, 0, 1, 0xff]),
        attribute(role, &tie_breaker),
        attribute(0x0025, &[]),
    ]
}

/// The method of a request for a relay (RFC 8656 section 3).
pub(super) const ALLOCATE: u16 = 3;

/// XOR-MAPPED-ADDRESS or XOR-RELAYED-ADDRESS of an IPv4 address (RFC 8489 section 14.2).
pub(super) fn xor_address(kind: u16, address: SocketAddrV4) -> Vec<u8> {
    let port = address.port() ^ 0x2112;
    let ip = u32::from(*address.ip()) ^ 0x2112_a442;
    let value = [&[0, 1][..], &port.to_be_bytes(), &ip.to_be_bytes()].concat();
    attribute(kind, &value)
}

/// A response of HTTP with this body.
pub(super) fn reply(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The head of a response of HTTP whose end is that of the connection.
pub(super) const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// A line of the stream that a listener of the signalling service reads.
pub(super) fn genesis() -> Vec<u8> {
    let payload = r#"{"PathAssertion":{"Allow":[{"Host":"*","Distance":1}],"Deny":null}}"#;
    let envelope = serde_json::json!({ "ReplyTo": "volunteer", "Type": 0, "Payload": payload });
    format!("{envelope}\n").into_bytes()
}

/// A reply to an offer.
pub(super) fn answer(sdp: &str) -> Vec<u8> {
    let payload = serde_json::json!({ "type": "answer", "sdp": sdp }).to_string();
    let envelope = serde_json::json!({ "ReplyTo": "answered", "Type": 2, "Payload": payload });
    envelope.to_string().into_bytes()
}

/// A description with these lines, of a peer that will not answer.
pub(super) fn sdp(lines: &[String]) -> String {
    let digest = vec!["AB"; 32].join(":");
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
         c=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:abcdefgh\r\na=ice-pwd:abcdefghabcdefghabcdefgh\r\n\
         a=fingerprint:sha-256 {digest}\r\na=setup:active\r\na=sctp-port:5000\r\n{}",
        lines.concat()
    )
}

/// A candidate line.
pub(super) fn candidate(number: usize, address: SocketAddrV4) -> String {
    format!(
        "a=candidate:{number} 1 udp {} {} {} typ host\r\n",
        2_130_706_431 - number,
        address.ip(),
        address.port()
    )
}
