//! SCTP by hand: packets that no stack would write.

/// Kinds of chunks (RFC 9260 section 3.2; RFC 3758 section 3.2; RFC 6525 section 3.1).
pub(super) const DATA: u8 = 0;
pub(super) const INIT: u8 = 1;
pub(super) const INIT_ACK: u8 = 2;
pub(super) const SACK: u8 = 3;
pub(super) const HEARTBEAT: u8 = 4;
pub(super) const COOKIE_ECHO: u8 = 10;
pub(super) const COOKIE_ACK: u8 = 11;
pub(super) const RE_CONFIG: u8 = 130;
pub(super) const FORWARD_TSN: u8 = 192;

/// Flags of DATA: unordered, first and last fragment.
pub(super) const WHOLE: u8 = 0b111;

/// The abuser's first TSN.
pub(super) const FIRST: u32 = 7_000;
/// Payload protocol identifiers: messages of RFC 8832, binary messages (RFC 8831 section 8).
pub(super) const DCEP: u32 = 50;
pub(super) const BINARY: u32 = 53;

/// A packet of these chunks, with its checksum.
pub(super) fn packet(tag: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = vec![0x13, 0x88, 0x13, 0x88];
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    for chunk in chunks {
        packet.extend(chunk);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    // CRC32c (RFC 9260 appendix A)
    let mut crc = u32::MAX;
    for byte in &packet {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    packet[8..12].copy_from_slice(&(!crc).to_le_bytes());
    packet
}

/// A chunk that names its own length.
pub(super) fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    chunk_of(kind, flags, value.len() + 4, value)
}

/// A chunk that names this length.
pub(super) fn chunk_of(kind: u8, flags: u8, length: usize, value: &[u8]) -> Vec<u8> {
    let mut chunk = vec![kind, flags];
    chunk.extend((length as u16).to_be_bytes());
    chunk.extend(value);
    chunk
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

pub(super) fn data(flags: u8, tsn: u32, stream: u16, protocol: u32, user: &[u8]) -> Vec<u8> {
    let head = words(&[tsn, u32::from(stream) << 16, protocol]);
    chunk(DATA, flags, &[&head[..], user].concat())
}

/// An INIT or an INIT ACK, the latter with a cookie.
pub(super) fn init(kind: u8, first: u32) -> Vec<u8> {
    let mut value = words(&[1, 1 << 20, 0xffff_ffff, first]);
    // FORWARD TSN and RE-CONFIG (RFC 5061 section 4.2.7)
    value.extend([0x80, 8, 0, 6, FORWARD_TSN, RE_CONFIG, 0, 0]);
    if kind == INIT_ACK {
        value.extend([0, 7, 0, 8, 1, 2, 3, 4]);
    }
    chunk(kind, 0, &value)
}

/// Gives up all TSNs to this one, and messages of these streams.
pub(super) fn forward_tsn(tsn: u32, streams: &[u16]) -> Vec<u8> {
    let mut value = words(&[tsn]);
    for stream in streams {
        value.extend(stream.to_be_bytes());
        value.extend([0, 0]);
    }
    chunk(FORWARD_TSN, 0, &value)
}

/// A request to reset streams once everything up to `last` is there.
pub(super) fn reset(number: u32, last: u32, streams: &[u16]) -> Vec<u8> {
    let mut value = vec![0, 13];
    value.extend((16 + 2 * streams.len() as u16).to_be_bytes());
    value.extend(words(&[number, 0, last]));
    value.extend(streams.iter().flat_map(|stream| stream.to_be_bytes()));
    chunk(RE_CONFIG, 0, &value)
}

/// Acknowledges up to `tsn`, and these blocks beyond.
pub(super) fn sack(tsn: u32, blocks: &[(u16, u16)]) -> Vec<u8> {
    let mut value = words(&[tsn, 1 << 20, (blocks.len() as u32) << 16]);
    for (start, end) in blocks {
        value.extend(start.to_be_bytes());
        value.extend(end.to_be_bytes());
    }
    chunk(SACK, 0, &value)
}

/// The first chunk of a packet: its kind and its value.
pub(super) fn first(packet: &[u8]) -> Option<(u8, &[u8])> {
    let length = usize::from(u16::from_be_bytes([*packet.get(14)?, *packet.get(15)?]));
    Some((*packet.get(12)?, packet.get(16..12 + length)?))
}
