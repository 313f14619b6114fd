//! SCTP by hand: packets that no stack would write.

/// Kinds of chunks (RFC 9260 section 3.2; RFC 3758 section 3.2; RFC 6525 section 3.1).
pub(crate) const DATA: u8 = 0;
pub(crate) const INIT: u8 = 1;
pub(crate) const INIT_ACK: u8 = 2;
pub(crate) const SACK: u8 = 3;
pub(crate) const HEARTBEAT: u8 = 4;
pub(crate) const SHUTDOWN: u8 = 7;
pub(crate) const COOKIE_ECHO: u8 = 10;
pub(crate) const COOKIE_ACK: u8 = 11;
pub(crate) const RE_CONFIG: u8 = 130;
pub(crate) const FORWARD_TSN: u8 = 192;

/// Flags of DATA: unordered, first and last fragment.
pub(crate) const WHOLE: u8 = 0b111;
/// And one of neither.
pub(crate) const MIDDLE: u8 = 0b100;

/// The peer's first TSN, in all that follows.
pub(crate) const FIRST: u32 = 7_000;

/// A packet of these chunks, with its checksum.
pub(crate) fn packet(tag: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = vec![0x13, 0x88, 0x13, 0x88];
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    for chunk in chunks {
        packet.extend(chunk);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    sign(&mut packet);
    packet
}

/// CRC32c over a packet whose checksum is zero (RFC 9260 appendix A).
pub(crate) fn sign(packet: &mut [u8]) {
    packet[8..12].fill(0);
    let mut crc = u32::MAX;
    for byte in packet.iter() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    packet[8..12].copy_from_slice(&(!crc).to_le_bytes());
}

/// A chunk that says its length.
pub(crate) fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    chunk_of(kind, flags, value.len() + 4, value)
}

/// A chunk that says this length.
pub(crate) fn chunk_of(kind: u8, flags: u8, length: usize, value: &[u8]) -> Vec<u8> {
    let mut chunk = vec![kind, flags];
    chunk.extend((length as u16).to_be_bytes());
    chunk.extend(value);
    chunk
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

pub(crate) fn data(flags: u8, tsn: u32, stream: u16, user: &[u8]) -> Vec<u8> {
    // a binary message (RFC 8831 section 8)
    chunk(
        DATA,
        flags,
        &[words(&[tsn, u32::from(stream) << 16, 53]), user.to_vec()].concat(),
    )
}

/// An INIT or an INIT ACK, the latter with a cookie.
pub(crate) fn init(kind: u8, first: u32) -> Vec<u8> {
    let mut value = words(&[1, 1 << 20, 0xffff_ffff, first]);
    // FORWARD TSN and RE-CONFIG (RFC 5061 section 4.2.7)
    value.extend([0x80, 8, 0, 6, FORWARD_TSN, RE_CONFIG, 0, 0]);
    if kind == INIT_ACK {
        value.extend([0, 7, 0, 8, 1, 2, 3, 4]);
    }
    chunk(kind, 0, &value)
}

pub(crate) fn forward_tsn(tsn: u32) -> Vec<u8> {
    chunk(FORWARD_TSN, 0, &words(&[tsn]))
}

/// A request to reset a stream once everything up to `last` is there.
pub(crate) fn reset(number: u32, last: u32, stream: u16) -> Vec<u8> {
    let mut value = vec![0, 13, 0, 18];
    value.extend(words(&[number, 0, last]));
    value.extend(stream.to_be_bytes());
    chunk(RE_CONFIG, 0, &value)
}

pub(crate) fn heartbeat() -> Vec<u8> {
    chunk(HEARTBEAT, 0, &[0, 1, 0, 8, 1, 2, 3, 4])
}

/// Acknowledges up to `tsn`, and these blocks beyond.
pub(crate) fn sack(tsn: u32, blocks: &[(u16, u16)]) -> Vec<u8> {
    let mut value = words(&[tsn, 1 << 20, (blocks.len() as u32) << 16]);
    value.extend(
        blocks
            .iter()
            .flat_map(|(start, end)| [start.to_be_bytes(), end.to_be_bytes()].concat()),
    );
    chunk(SACK, 0, &value)
}

/// The first chunk of a packet: its kind and its value.
pub(crate) fn first(packet: &[u8]) -> Option<(u8, &[u8])> {
    let length = usize::from(u16::from_be_bytes([*packet.get(14)?, *packet.get(15)?]));
    Some((*packet.get(12)?, packet.get(16..12 + length)?))
}

/// Packets that break, hang or mislead a library of SCTP: for an association whose next TSN is
/// [`FIRST`].
pub(crate) fn hostile(tag: u32) -> Vec<(&'static str, Vec<u8>)> {
    let alone = |chunk: Vec<u8>| packet(tag, &[chunk]);
    let hidden = forward_tsn(FIRST + 1_000_000);
    vec![
        (
            "FORWARD TSN without a TSN",
            packet(tag, &[chunk(FORWARD_TSN, 0, &[]), heartbeat()]),
        ),
        (
            "FORWARD TSN with half a TSN",
            packet(tag, &[chunk(FORWARD_TSN, 0, &[1, 2]), heartbeat()]),
        ),
        (
            "SHUTDOWN without a TSN",
            alone(chunk_of(SHUTDOWN, 0, 4, &[0; 4])),
        ),
        (
            "SHUTDOWN with half a TSN",
            alone(chunk_of(SHUTDOWN, 0, 6, &[0; 4])),
        ),
        ("INIT with another chunk behind its padding", {
            let mut padded = init(INIT, FIRST);
            padded.extend([0x80, 99, 0, 5, 1]);
            padded[3] += 5;
            packet(0, &[padded, heartbeat()])
        }),
        (
            "INIT that begins anew",
            packet(0, &[init(INIT, FIRST + 500_000)]),
        ),
        ("DATA without data", alone(data(WHOLE, FIRST, 0, &[]))),
        (
            "DATA far ahead",
            alone(data(WHOLE, FIRST + 100_000, 0, b"x")),
        ),
        (
            "DATA of a byte in a long packet",
            packet(
                tag,
                &[data(WHOLE, FIRST, 0, b"x"), chunk(0x84, 0, &[0; 1500])],
            ),
        ),
        (
            "a chunk within a COOKIE ACK",
            alone(chunk(COOKIE_ACK, 0, &hidden)),
        ),
        ("a chunk within a SHUTDOWN ACK", alone(chunk(8, 0, &hidden))),
        (
            "a chunk within a HEARTBEAT",
            alone(chunk(
                HEARTBEAT,
                0,
                &[vec![0, 1, 0, 4], hidden.clone()].concat(),
            )),
        ),
        ("a chunk within a SACK", {
            let mut longer = sack(0, &[]);
            longer.extend(&hidden);
            longer[3] += hidden.len() as u8;
            alone(longer)
        }),
        ("a chunk within a RE-CONFIG", {
            let mut longer = chunk(RE_CONFIG, 0, &[0, 16, 0, 12, 0, 0, 0, 0, 0, 0, 0, 1]);
            longer.extend([[0, 16, 0, 12].to_vec(), vec![0; 8], hidden.clone()].concat());
            longer[3] += 12 + hidden.len() as u8;
            alone(longer)
        }),
        (
            "SACK that names each TSN again and again",
            alone(sack(0, &[(1, u16::MAX); 400])),
        ),
        ("a hundred HEARTBEATs", packet(tag, &vec![heartbeat(); 100])),
        (
            "a hundred unknown chunks that want a report",
            packet(tag, &vec![chunk(0x7f, 0, &[]); 100]),
        ),
        (
            "a chunk shorter than its header",
            alone(chunk_of(HEARTBEAT, 0, 3, &[])),
        ),
        (
            "a chunk longer than the packet",
            alone(chunk_of(HEARTBEAT, 0, 999, &[0, 1, 0, 4])),
        ),
        ("half a header", vec![0x13, 0x88]),
    ]
}

/// Packets that a library has to bear, and that no honest peer sends.
pub(crate) fn strange(tag: u32) -> Vec<(&'static str, Vec<u8>)> {
    let alone = |chunk: Vec<u8>| packet(tag, &[chunk]);
    vec![
        (
            "FORWARD TSN far ahead",
            alone(forward_tsn(FIRST + 1_000_000)),
        ),
        (
            "FORWARD TSN as far as can be",
            alone(forward_tsn(FIRST.wrapping_add(i32::MAX as u32 - 9))),
        ),
        (
            "INIT ACK that begins anew",
            alone(init(INIT_ACK, FIRST.wrapping_sub(500_000))),
        ),
        (
            "reset that waits for ever",
            alone(reset(1, FIRST + 2_000_000_000, 0)),
        ),
    ]
}
