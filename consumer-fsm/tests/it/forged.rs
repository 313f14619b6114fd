//! Datagrams of a stranger who can forge the peer's address and knows no secret, one class a line.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore};

type Make = fn(&mut SmallRng) -> Vec<u8>;

/// The classes.
pub(crate) const CLASSES: &[(&str, Make)] = &[
    ("alerts of 15 bytes", |rng| {
        let description = *[0, 10, 20, 40, 42, 80, 112].choose(rng).expect("some");
        record(21, 0, number(rng), &[rng.random_range(1..=2), description])
    }),
    ("alerts under keys that nobody has", |rng| {
        record(21, 1, number(rng), &random(rng, 26))
    }),
    ("fragments without end", |rng| {
        let message = rng.random_range(0..4);
        let offset = rng.random_range(0..60_000);
        let kind = *[1, 2, 11, 12, 16].choose(rng).expect("some");
        hello(rng, &fragment(kind, message, 60_000, offset, &[7]))
    }),
    ("the first of many fragments", |rng| {
        let length = rng.random_range(1000..8000);
        let (kind, message) = (
            *[1, 2, 3, 11, 12, 13, 14, 15, 16].choose(rng).expect("some"),
            rng.random_range(0..7),
        );
        let part = random(rng, 900);
        hello(rng, &fragment(kind, message, length, 0, &part))
    }),
    ("empty fragments", |rng| {
        let (kind, message) = (rng.random_range(0..25), rng.random_range(0..4));
        let length = rng.random_range(0..3000);
        hello(rng, &fragment(kind, message, length, 0, &[]))
    }),
    ("many empty fragments in one record", |rng| {
        let message = rng.random_range(0..4);
        let one = fragment(11, message, 100, 0, &[]);
        hello(rng, &one.repeat(80))
    }),
    ("messages ahead of their turn", |rng| {
        let (kind, message) = (
            *[11, 12, 13, 14, 15, 16, 20].choose(rng).expect("some"),
            rng.random_range(1..300),
        );
        let length = rng.random_range(0..300);
        let body = random(rng, length);
        hello(rng, &fragment(kind, message, length, 0, &body))
    }),
    ("records of a later epoch", |rng| {
        let kind = rng.random_range(20..27);
        let (epoch, length) = (rng.random_range(1..9), rng.random_range(0..300));
        let number = number(rng);
        record(kind, epoch, number, &random(rng, length))
    }),
    ("records of the epoch in use, with any number", |rng| {
        let number = rng.random_range(0..1 << 48);
        let length = rng.random_range(16..1200);
        record(23, 1, number, &random(rng, length))
    }),
    ("records of DTLS 1.3", |rng| {
        let length = rng.random_range(1..300);
        let mut bytes = random(rng, length);
        bytes[0] = 0x20 | (bytes[0] & 0x1f);
        bytes
    }),
    (
        "an alert in the clear behind a record that does not open",
        |rng| {
            let mut bytes = unopened(rng);
            bytes.extend(record(21, 0, number(rng), &[2, 40]));
            bytes
        },
    ),
    (
        "messages in the clear behind a record that does not open",
        |rng| {
            // none that is whole, well-formed and in its turn, and no change of the cipher before
            // a record that does not open: DTLS leaves these open
            let (kind, message) = (
                *[11, 12, 13, 15, 16, 20].choose(rng).expect("some"),
                rng.random_range(1..9),
            );
            let (length, mut bytes) = (rng.random_range(1..30), unopened(rng));
            let body = random(rng, length);
            bytes.extend(hello(rng, &fragment(kind, message, length, 0, &body)));
            bytes
        },
    ),
    ("many short records that do not open", |rng| {
        (0..50).flat_map(|_| unopened(rng)).collect()
    }),
    ("a ClientHello with a byte of extensions", |rng| {
        let mut body = client_hello_without_extensions(rng);
        body.extend([0, 1, 0]);
        hello(rng, &fragment(1, 0, body.len(), 0, &body))
    }),
    ("a ClientHello cut off", |rng| {
        let mut body = client_hello_without_extensions(rng);
        body.truncate(rng.random_range(0..body.len()));
        hello(rng, &fragment(1, 0, body.len(), 0, &body))
    }),
    ("a ClientHello that nobody can agree to", |rng| {
        let body = client_hello_without_extensions(rng);
        hello(rng, &fragment(1, 0, body.len(), 0, &body))
    }),
    ("a ServerHello of a byte", |rng| {
        hello(rng, &fragment(2, 0, 1, 0, &[0xfe]))
    }),
    ("a ServerHello that ends before its suite", |rng| {
        let body = [&[0xfe, 0xfd][..], &random(rng, 32), &[0]].concat();
        hello(rng, &fragment(2, 0, body.len(), 0, &body))
    }),
    ("a ServerKeyExchange without a body", |rng| {
        hello(rng, &fragment(12, 2, 0, 0, &[]))
    }),
    ("a ClientKeyExchange without a body", |rng| {
        hello(rng, &fragment(16, 2, 0, 0, &[]))
    }),
    ("a Certificate of nothing", |rng| {
        hello(rng, &fragment(11, 1, 3, 0, &[0, 0, 0]))
    }),
    ("changes of the cipher", |rng| {
        record(20, 0, number(rng), &[1])
    }),
    ("acknowledgements of DTLS 1.3 in the clear", |rng| {
        let numbers = random(rng, 16);
        record(26, 0, number(rng), &[&[0, 16][..], &numbers].concat())
    }),
    ("application data in the clear", |rng| {
        record(23, 0, number(rng), b"GET / HTTP/1.1")
    }),
    ("records of any type", |rng| {
        let (kind, epoch) = (rng.random(), rng.random_range(0..3));
        let length = rng.random_range(0..100);
        let number = number(rng);
        record(kind, epoch, number, &random(rng, length))
    }),
    ("a record longer than its datagram", |rng| {
        let mut bytes = record(22, 0, number(rng), &[]);
        bytes[11] = 0xff;
        bytes
    }),
    ("a thousand records", |rng| {
        record(22, 0, number(rng), &[1]).repeat(100)
    }),
    ("random bytes that look like DTLS", |rng| {
        let length = rng.random_range(1..1500);
        let mut bytes = random(rng, length);
        bytes[0] = rng.random_range(20..64);
        bytes
    }),
    ("random bytes", |rng| {
        let length = rng.random_range(1..1500);
        random(rng, length)
    }),
    ("nothing", |_| Vec::new()),
    ("60 KiB", |rng| {
        let mut bytes = random(rng, 60 * 1024);
        bytes[0] = 22;
        bytes
    }),
];

fn number(rng: &mut SmallRng) -> u64 {
    rng.random_range(0..200)
}

fn random(rng: &mut SmallRng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// RFC 6347 section 4.1.
fn record(kind: u8, epoch: u16, number: u64, payload: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 0xfe, 0xfd];
    record.extend(epoch.to_be_bytes());
    record.extend(&number.to_be_bytes()[2..]);
    record.extend((payload.len() as u16).to_be_bytes());
    record.extend(payload);
    record
}

/// A record as short as can be, of either version's form, that opens with no key.
fn unopened(rng: &mut SmallRng) -> Vec<u8> {
    let sealed = random(rng, 24);
    if rng.random() {
        let number = rng.random();
        [&[0b0010_1111, number, number, 0, 24][..], &sealed].concat()
    } else {
        record(23, 1, number(rng), &sealed)
    }
}

fn hello(rng: &mut SmallRng, messages: &[u8]) -> Vec<u8> {
    record(22, 0, number(rng), messages)
}

/// RFC 6347 section 4.2.2.
fn fragment(kind: u8, message: u16, length: usize, offset: usize, bytes: &[u8]) -> Vec<u8> {
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
fn client_hello_without_extensions(rng: &mut SmallRng) -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend(random(rng, 32));
    body.extend([0, 0, 0, 4, 0xc0, 0x2b, 0xcc, 0xa9, 1, 0]);
    body
}
