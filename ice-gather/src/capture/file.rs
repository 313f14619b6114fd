//! The frames of a capture file, pcap or pcapng, as a stream.

use core::fmt;
use std::io::{self, Read};
use std::time::Duration;

use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

/// Room for the blocks of most captures.
const ROOM: usize = 1 << 16;
/// Longest block read. A packet has at most 256 KiB; other blocks are skipped, but whole.
const MOST_ROOM: usize = 1 << 24;
/// Most interfaces of one section that are kept.
const MAX_INTERFACES: usize = 1024;

/// Why there is nothing to read.
#[derive(Debug)]
#[non_exhaustive]
pub enum CaptureError {
    /// It is neither pcap nor pcapng.
    NotACapture,
    /// It has no bytes.
    Empty,
    /// It could not be read.
    Io(io::ErrorKind),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotACapture => f.write_str(
                "neither pcap nor pcapng: a compressed capture has to be unpacked first",
            ),
            Self::Empty => f.write_str("the capture is empty"),
            Self::Io(kind) => write!(f, "the capture could not be read: {kind}"),
        }
    }
}

impl core::error::Error for CaptureError {}

/// Why a capture was not read to its end. The packets before the damage are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// It ends in the middle of a packet.
    Cut,
    /// A block is not one of the format.
    Broken,
    /// A block is longer than any packet.
    TooLong,
    /// Reading stopped with an error of the system.
    Unreadable,
}

impl Damage {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Broken => "broken",
            Self::TooLong => "too_long",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "the capture ends in the middle of a packet",
            Self::Broken => "the capture is damaged: a block is not one of its format",
            Self::TooLong => "the capture is damaged: a block is longer than any packet",
            Self::Unreadable => "the capture could not be read any further",
        })
    }
}

/// A frame, as an interface saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// Since any start; `None` where the format has no time.
    pub(super) at: Option<Duration>,
    pub(super) link: i32,
    pub(super) bytes: &'a [u8],
    /// Not all of it was captured.
    pub(super) is_truncated: bool,
}

/// An event of a capture.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event<'a> {
    Frame(Frame<'a>),
    /// The system or the interface dropped packets.
    Dropped,
}

/// An interface of a pcapng section.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: Linktype,
    snaplen: u32,
    /// Units per second.
    resolution: u128,
    /// In seconds.
    offset: i64,
}

/// Hands every frame to `take`, and returns the damage that ended the reading, if any.
pub(super) fn read(
    reader: impl Read + Send,
    mut take: impl FnMut(Event<'_>),
) -> Result<Option<Damage>, CaptureError> {
    let mut reader = create_reader(ROOM, Whole(reader)).map_err(|error| match error {
        PcapError::Eof => CaptureError::Empty,
        PcapError::ReadError => CaptureError::Io(io::ErrorKind::Other),
        _ => CaptureError::NotACapture,
    })?;
    let mut blocks = Blocks::default();
    let mut room = ROOM;
    loop {
        let wants = match reader.next() {
            Ok((length, block)) => {
                blocks.read(&block, &mut take);
                reader.consume(length);
                continue;
            }
            Err(PcapError::Eof) => return Ok(None),
            Err(PcapError::UnexpectedEof) => return Ok(Some(Damage::Cut)),
            Err(PcapError::Incomplete(_)) => Wants::Bytes,
            Err(PcapError::BufferTooSmall) => Wants::Room,
            Err(PcapError::ReadError) => return Ok(Some(Damage::Unreadable)),
            Err(_) => return Ok(Some(Damage::Broken)),
        };
        if reader.reader_exhausted() {
            return Ok(Some(Damage::Cut));
        }
        let before = reader.data().len();
        if reader.refill().is_err() {
            return Ok(Some(Damage::Unreadable));
        }
        let is_full = reader.data().len() == before && !reader.reader_exhausted();
        if matches!(wants, Wants::Room) || is_full {
            room = room.saturating_mul(2);
            if room > MOST_ROOM {
                return Ok(Some(Damage::TooLong));
            }
            reader.grow(room);
        }
    }
}

enum Wants {
    Bytes,
    Room,
}

/// The state that later blocks refer to.
#[derive(Default)]
struct Blocks {
    interfaces: Vec<Interface>,
    legacy: Option<(Linktype, bool)>,
}

impl Blocks {
    fn read(&mut self, block: &PcapBlockOwned<'_>, take: &mut impl FnMut(Event<'_>)) {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.legacy = Some((header.network, header.is_nanosecond_precision()));
            }
            PcapBlockOwned::Legacy(packet) => {
                let (link, has_nanos) = self.legacy.unwrap_or((Linktype(-1), false));
                let nanos = u64::from(packet.ts_usec) * if has_nanos { 1 } else { 1_000 };
                let at = Duration::from_secs(packet.ts_sec.into()) + Duration::from_nanos(nanos);
                take(Event::Frame(Frame {
                    at: Some(at),
                    link: link.0,
                    bytes: packet.data,
                    is_truncated: packet.caplen < packet.origlen,
                }));
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => self.interfaces.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                if self.interfaces.len() < MAX_INTERFACES {
                    self.interfaces.push(Interface {
                        link: interface.linktype,
                        snaplen: interface.snaplen,
                        resolution: resolution(interface.if_tsresol),
                        offset: interface.if_tsoffset,
                    });
                }
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let Some(interface) = self.interfaces.get(packet.if_id as usize) else {
                    return;
                };
                let units = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                take(Event::Frame(Frame {
                    at: Some(interface.time(units)),
                    link: interface.link.0,
                    bytes: captured(packet.data, packet.caplen),
                    is_truncated: packet.caplen < packet.origlen,
                }));
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                let Some(interface) = self.interfaces.first() else {
                    return;
                };
                let is_whole = interface.snaplen == 0 || packet.origlen <= interface.snaplen;
                let caplen = if is_whole {
                    packet.origlen
                } else {
                    interface.snaplen
                };
                take(Event::Frame(Frame {
                    at: None,
                    link: interface.link.0,
                    bytes: captured(packet.data, caplen),
                    is_truncated: !is_whole,
                }));
            }
            PcapBlockOwned::NG(Block::InterfaceStatistics(statistics)) => {
                let mut drops = [statistics.isb_ifdrop(), statistics.isb_osdrop()]
                    .into_iter()
                    .flatten();
                if drops.any(|drops| !matches!(drops, Ok(0))) {
                    take(Event::Dropped);
                }
            }
            PcapBlockOwned::NG(_) => {}
        }
    }
}

impl Interface {
    fn time(self, units: u64) -> Duration {
        let nanos = u128::from(units) * 1_000_000_000 / self.resolution;
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        let offset = Duration::from_secs(self.offset.unsigned_abs());
        let at = Duration::from_nanos(nanos);
        if self.offset < 0 {
            at.saturating_sub(offset)
        } else {
            at.saturating_add(offset)
        }
    }
}

/// Units per second by `if_tsresol`: a power of ten, or of two where the highest bit is set.
const fn resolution(exponent: u8) -> u128 {
    let units = if exponent & 0x80 == 0 {
        10_u128.checked_pow(exponent as u32)
    } else {
        1_u128.checked_shl((exponent & 0x7f) as u32)
    };
    match units {
        Some(units) => units,
        None => u128::MAX,
    }
}

/// Without the padding behind a packet.
fn captured(data: &[u8], length: u32) -> &[u8] {
    data.get(..length as usize).unwrap_or(data)
}

/// Reads as much as there is room for: the format is known by its first block, and a pipe hands out a few
/// bytes at a time.
struct Whole<R>(R);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read(rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if filled > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}
