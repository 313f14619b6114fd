//! Pure: packets of SCTP, as far as the beginning of an association and the rules for incoming packets
//! need them (RFC 9260 section 3).

use crc::{CRC_32_ISCSI, Crc, Table};

/// The common header (section 3.1).
pub(super) const COMMON_HEADER: usize = 12;
/// Header of a chunk, and of a parameter (sections 3.2 and 3.2.1).
pub(super) const HEADER: usize = 4;

/// Kinds of chunks (RFC 9260 section 3.2; RFC 3758 section 3.2; RFC 6525 section 3.1).
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const INIT: u8 = 1;
    pub(in super::super) const INIT_ACK: u8 = 2;
    pub(in super::super) const SACK: u8 = 3;
    pub(in super::super) const HEARTBEAT: u8 = 4;
    pub(in super::super) const ABORT: u8 = 6;
    pub(in super::super) const SHUTDOWN: u8 = 7;
    pub(in super::super) const SHUTDOWN_ACK: u8 = 8;
    pub(in super::super) const COOKIE_ECHO: u8 = 10;
    pub(in super::super) const COOKIE_ACK: u8 = 11;
    pub(in super::super) const SHUTDOWN_COMPLETE: u8 = 14;
    pub(in super::super) const RE_CONFIG: u8 = 130;
    pub(in super::super) const FORWARD_TSN: u8 = 192;
}

/// Parameters of INIT and INIT ACK (RFC 9260 section 3.3.3.1; RFC 5061 section 4.2.7; RFC 3758
/// section 3.1).
const STATE_COOKIE: u16 = 7;
const SUPPORTED_EXTENSIONS: u16 = 0x8008;
const FORWARD_TSN_SUPPORTED: u16 = 0xc000;

static CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);

/// A chunk with its header, without its padding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub(super) kind: u8,
    pub(super) bytes: &'a [u8],
}

/// The chunks of a packet; an error where no chunk begins, and nothing behind.
pub(super) fn chunks(packet: &[u8]) -> impl Iterator<Item = Result<Chunk<'_>, Malformed>> {
    let mut rest = packet.get(COMMON_HEADER..).ok_or(Malformed);
    core::iter::from_fn(move || match rest {
        Ok([]) => None,
        Ok(bytes) => {
            let chunk = u16_at(bytes, 2)
                .and_then(|length| bytes.get(..usize::from(length)))
                .filter(|chunk| chunk.len() >= HEADER);
            let Some(chunk) = chunk else {
                rest = Ok(&[]);
                return Some(Err(Malformed));
            };
            rest = Ok(bytes.get(padded(chunk.len())..).unwrap_or_default());
            Some(Ok(Chunk {
                kind: chunk[0],
                bytes: chunk,
            }))
        }
        Err(malformed) => {
            rest = Ok(&[]);
            Some(Err(malformed))
        }
    })
}

/// Bytes that are no packet of SCTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The sender's ports and the receiver's tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) source: u16,
    pub(super) destination: u16,
    pub(super) tag: u32,
}

impl Header {
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        Some(Self {
            source: u16_at(packet, 0)?,
            destination: u16_at(packet, 2)?,
            tag: u32_at(packet, 4)?,
        })
    }

    /// A packet of this one chunk, signed.
    pub(super) fn packet(self, chunk: &[u8]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(COMMON_HEADER + padded(chunk.len()));
        packet.extend(self.source.to_be_bytes());
        packet.extend(self.destination.to_be_bytes());
        packet.extend(self.tag.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend(chunk);
        packet.resize(padded(packet.len()), 0);
        let sum = CRC.checksum(&packet);
        packet[8..COMMON_HEADER].copy_from_slice(&sum.to_le_bytes());
        packet
    }
}

/// A chunk of this kind.
pub(super) fn chunk(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
    let mut chunk = vec![kind, 0];
    chunk.extend(length.to_be_bytes());
    chunk.extend(value);
    chunk
}

/// The parameters that one side brings into an association (RFC 9260 section 3.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Init {
    pub(super) tag: u32,
    pub(super) window: u32,
    pub(super) outbound: u16,
    pub(super) inbound: u16,
    pub(super) tsn: u32,
    /// Partial reliability (RFC 3758).
    pub(super) forward_tsn: bool,
    /// Resets of streams (RFC 6525).
    pub(super) re_config: bool,
}

impl Init {
    /// Reads an INIT or INIT ACK, and the cookie of the latter. Parameters that have no use here
    /// are passed over.
    pub(super) fn read(chunk: &[u8]) -> Option<(Self, Option<&[u8]>)> {
        let mut init = Self {
            tag: u32_at(chunk, 4)?,
            window: u32_at(chunk, 8)?,
            outbound: u16_at(chunk, 12)?,
            inbound: u16_at(chunk, 14)?,
            tsn: u32_at(chunk, 16)?,
            forward_tsn: false,
            re_config: false,
        };
        let (mut at, mut cookie) = (20, None);
        while at < chunk.len() {
            let parameter = parameter(chunk, at)?;
            let value = &parameter[HEADER..];
            match u16_at(parameter, 0)? {
                STATE_COOKIE => cookie = Some(value),
                FORWARD_TSN_SUPPORTED => init.forward_tsn = true,
                SUPPORTED_EXTENSIONS => {
                    init.forward_tsn |= value.contains(&kind::FORWARD_TSN);
                    init.re_config |= value.contains(&kind::RE_CONFIG);
                }
                _ => {}
            }
            at += padded(parameter.len());
        }
        Some((init, cookie))
    }

    /// Writes an INIT, or an INIT ACK with its cookie.
    pub(super) fn write(&self, kind: u8, cookie: Option<&[u8]>) -> Vec<u8> {
        let mut value = Vec::with_capacity(64);
        value.extend(self.tag.to_be_bytes());
        value.extend(self.window.to_be_bytes());
        value.extend(self.outbound.to_be_bytes());
        value.extend(self.inbound.to_be_bytes());
        value.extend(self.tsn.to_be_bytes());
        // a length that is no multiple of four is padded, so the longer list comes first
        let extensions: &[u8] = match (self.re_config, self.forward_tsn) {
            (true, true) => &[0x80, 8, 0, 6, kind::RE_CONFIG, kind::FORWARD_TSN, 0, 0],
            (true, false) => &[0x80, 8, 0, 5, kind::RE_CONFIG, 0, 0, 0],
            (false, _) => &[],
        };
        value.extend(extensions);
        if self.forward_tsn {
            value.extend(FORWARD_TSN_SUPPORTED.to_be_bytes());
            value.extend([0, 4]);
        }
        if let Some(cookie) = cookie {
            let length = u16::try_from(HEADER + cookie.len()).unwrap_or(u16::MAX);
            value.extend(STATE_COOKIE.to_be_bytes());
            value.extend(length.to_be_bytes());
            value.extend(cookie);
        }
        chunk(kind, &value)
    }
}

/// The parameter at this place of a chunk, without its padding.
pub(super) fn parameter(chunk: &[u8], at: usize) -> Option<&[u8]> {
    let length = usize::from(u16_at(chunk, at + 2)?);
    chunk
        .get(at..at + length)
        .filter(|parameter| parameter.len() >= HEADER)
}

/// Chunks and parameters begin at multiples of four (RFC 9260 section 3.2).
pub(super) const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_be_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INIT: Init = Init {
        tag: 7,
        window: 1 << 20,
        outbound: u16::MAX,
        inbound: 9,
        tsn: 1234,
        forward_tsn: true,
        re_config: true,
    };

    #[test]
    fn what_a_side_brings_reads_back() {
        for (forward_tsn, re_config) in [(true, true), (true, false), (false, true), (false, false)]
        {
            let init = Init {
                forward_tsn,
                re_config,
                ..INIT
            };
            assert_eq!(
                Init::read(&init.write(kind::INIT, None)),
                Some((init, None))
            );
            let cookie: &[u8] = &[1, 2, 3, 4, 5];
            assert_eq!(
                Init::read(&init.write(kind::INIT_ACK, Some(cookie))),
                Some((init, Some(cookie)))
            );
        }
        let whole = INIT.write(kind::INIT, None);
        for length in 0..20 {
            assert_eq!(Init::read(&whole[..length]), None);
        }
    }

    #[test]
    fn a_packet_carries_the_checksum_of_the_rfc() {
        let header = Header {
            source: 5000,
            destination: 5000,
            tag: 0,
        };
        let packet = header.packet(&INIT.write(kind::INIT, None));
        assert_eq!(Header::of(&packet), Some(header));
        // bit by bit (RFC 9260 appendix A)
        let mut crc = u32::MAX;
        for (at, byte) in packet.iter().enumerate() {
            crc ^= u32::from(if (8..12).contains(&at) { 0 } else { *byte });
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
            }
        }
        assert_eq!(packet[8..12], (!crc).to_le_bytes());
    }

    #[test]
    fn chunks_end_where_one_is_malformed() {
        let kinds = |packet: &[u8]| {
            chunks(packet)
                .map(|chunk| chunk.map(|chunk| chunk.kind))
                .collect::<Vec<_>>()
        };
        let header = [0; COMMON_HEADER];
        let packet = |rest: &[u8]| [&header[..], rest].concat();
        assert_eq!(kinds(&header), []);
        assert_eq!(kinds(&header[1..]), [Err(Malformed)]);
        assert_eq!(kinds(&packet(&[11, 0, 0, 4])), [Ok(11)]);
        assert_eq!(
            kinds(&packet(&[4, 0, 0, 5, 1, 0, 0, 0, 11, 0, 0, 4])),
            [Ok(4), Ok(11)]
        );
        assert_eq!(kinds(&packet(&[11, 0, 0, 3])), [Err(Malformed)]);
        assert_eq!(
            kinds(&packet(&[11, 0, 0, 4, 11, 0, 0, 9])),
            [Ok(11), Err(Malformed)]
        );
        assert_eq!(kinds(&packet(&[11, 0, 0])), [Err(Malformed)]);
    }
}
