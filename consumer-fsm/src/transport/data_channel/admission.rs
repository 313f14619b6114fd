//! Pure: which packets of the peer reach SCTP.
//!
//! Whoever has come through DTLS is the peer, and the peer is a stranger: the library spins, panics
//! or grows over packets that no honest stack sends. So each is walked before, exactly as the
//! library will, and passes or is dropped and counted as a whole. What honest stacks do send passes
//! (RFC 9260, partial reliability of RFC 3758, resets of RFC 6525).
//!
//! The bounds hold against what we acknowledged: our own SACKs go by as well ([`Admission::sent`]).
//! No allocation, no lock.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU32, AtomicU64};

/// The receive window that SCTP announces (RFC 9260 section 3.3.2), which counts nothing but user
/// data.
pub(super) const WINDOW: u32 = 1 << 20;
/// Most that unread chunks may weigh, as [`LEAST_WEIGHT`] has it. An honest peer stops at the
/// window.
const MOST_HELD: u32 = 2 * WINDOW;
/// What a chunk of one byte keeps alive in the library: itself twice, and its packet.
const LEAST_WEIGHT: u32 = 512;
/// Longest packet with DATA: the library keeps all of it for one byte. Stacks of WebRTC stay below
/// 1,280 (RFC 8831 section 5).
const LONGEST_WITH_DATA: usize = 2048;
/// Farthest a DATA chunk may be beyond what we acknowledged: as many are kept aside until the gap
/// before them closes.
const FARTHEST_DATA: u32 = 4096;
/// Farthest any TSN may be from there: a SACK can name no farther one (RFC 9260 section 3.3.4), and
/// the library goes there step by step.
const FARTHEST: u32 = 0xffff;
/// Most requests to reset streams that wait for DATA, each answered anew with each chunk of it. RFC
/// 6525 has one in flight, some libraries one per stream, and all ask again.
const MOST_WAITING: u32 = 4;
/// Most streams that a FORWARD TSN skips on: each stands there once (RFC 3758 section 3.2).
const MOST_SKIPPED: usize = 64;
/// Most chunks of a packet that each get a packet for an answer.
const MOST_ANSWERS: u32 = 8;

/// The common header (RFC 9260 section 3.1).
const COMMON_HEADER: usize = 12;
/// Header of a chunk, and of a parameter (sections 3.2 and 3.2.1).
const HEADER: usize = 4;

/// What it has to remember of an association.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// The last TSN that we acknowledged, once there is one: [`KNOWN`] is set then.
    acknowledged: AtomicU64,
    /// What unread chunks weigh, never less than they do.
    held: AtomicU32,
    /// Requests that wait for DATA, at most; the last TSN that one waits for; the last one's
    /// number.
    waiting: AtomicU32,
    waits_for: AtomicU32,
    last_request: AtomicU32,
    refused: AtomicU64,
}

const KNOWN: u64 = 1 << 32;

impl Admission {
    /// Whether SCTP may have this packet of the peer.
    pub(super) fn admits(&self, packet: &[u8]) -> bool {
        let is_harmless = self.walk(packet).is_some();
        if !is_harmless {
            self.refused.fetch_add(1, Relaxed);
        }
        is_harmless
    }

    /// Packets that were not admitted.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// A packet of ours: what a SACK acknowledges, and whether it says that nothing waits to be
    /// read (RFC 9260 section 3.3.4). The library sends a SACK alone. Whether it is one.
    pub(super) fn sent(&self, packet: &[u8]) -> bool {
        let Some([kind::SACK, _, sack @ ..]) = packet.get(COMMON_HEADER..) else {
            return false;
        };
        let (Some(acknowledged), Some(window), Some(gaps)) =
            (u32_at(sack, 2), u32_at(sack, 6), u16_at(sack, 10))
        else {
            return false;
        };
        if self.ahead(acknowledged).is_some_and(|ahead| ahead > 0) {
            self.acknowledged
                .store(KNOWN | u64::from(acknowledged), Relaxed);
        }
        if window == WINDOW && gaps == 0 {
            self.held.store(0, Relaxed);
        }
        true
    }

    /// A message of this length was read: its chunks are gone.
    pub(super) fn read(&self, length: usize) {
        let weight = weight(length);
        let _ = self
            .held
            .fetch_update(Relaxed, Relaxed, |held| Some(held.saturating_sub(weight)));
    }

    /// `None` at the first chunk that is not to pass.
    fn walk(&self, packet: &[u8]) -> Option<()> {
        let mut rest = packet.get(COMMON_HEADER..)?;
        let (mut weight, mut answers) = (0, 0);
        while !rest.is_empty() {
            let length = usize::from(u16_at(rest, 2)?);
            // less than a header, or more than there is
            let chunk = rest.get(..length).filter(|chunk| chunk.len() >= HEADER)?;
            let behind = rest.get(padded(length)..).unwrap_or_default();
            match *chunk.first()? {
                kind::DATA => weight += self.data(chunk, packet.len())?,
                kind::INIT | kind::INIT_ACK => {
                    // alone in their packet (RFC 9260 section 6.10); the library reads parameters
                    // on behind the chunk
                    (rest.len() == packet.len() - COMMON_HEADER && behind.is_empty())
                        .then_some(())?;
                    self.init(chunk)?;
                }
                kind::SACK => sack(chunk)?,
                kind::FORWARD_TSN => self.forward_tsn(chunk)?,
                kind::RE_CONFIG => {
                    answers += 1;
                    self.re_config(chunk)?;
                }
                kind::HEARTBEAT => {
                    answers += 1;
                    heartbeat(chunk)?;
                }
                kind::COOKIE_ECHO => answers += 1,
                kind::SHUTDOWN => (length == HEADER + 4).then_some(())?,
                // the library takes them for as long as this whatever they say, and goes on within
                // them
                kind::COOKIE_ACK | kind::SHUTDOWN_ACK | kind::SHUTDOWN_COMPLETE => {
                    (length == HEADER).then_some(())?
                }
                // an unknown kind with this bit is to be reported (section 3.2)
                unknown if unknown & 0x40 != 0 => answers += 1,
                _ => {}
            }
            (answers <= MOST_ANSWERS).then_some(())?;
            rest = behind;
        }
        self.held.fetch_add(weight, Relaxed);
        Some(())
    }

    /// What it weighs while nobody has read it.
    fn data(&self, chunk: &[u8], packet: usize) -> Option<u32> {
        // one byte at least (RFC 9260 section 3.3.1); an empty message of WebRTC has one as well
        // (RFC 8831 section 6.6)
        let length = chunk
            .len()
            .checked_sub(HEADER + 12)
            .filter(|length| *length > 0)?;
        let ahead = self.ahead(u32_at(chunk, 4)?)?;
        if ahead <= 0 {
            // once more: acknowledged again, and not kept
            return Some(0);
        }
        let has_room = self.held.load(Relaxed) < MOST_HELD;
        let is_kept =
            has_room && ahead.unsigned_abs() <= FARTHEST_DATA && packet <= LONGEST_WITH_DATA;
        is_kept.then(|| weight(length))
    }

    /// The peer's first TSN (RFC 9260 section 3.3.2). Both sides open here, so it comes twice, and
    /// is the same (section 5.2.1).
    fn init(&self, chunk: &[u8]) -> Option<()> {
        let before_first = u32_at(chunk, 16)?.wrapping_sub(1);
        match self.acknowledged.load(Relaxed) {
            0 => self
                .acknowledged
                .store(KNOWN | u64::from(before_first), Relaxed),
            // until the handshake is done, the library begins anew with any other
            _ => (self.ahead(before_first)? <= 0).then_some(())?,
        }
        Some(())
    }

    /// RFC 3758 section 3.2. The library reads a TSN that is not there, and goes to it step by
    /// step.
    fn forward_tsn(&self, chunk: &[u8]) -> Option<()> {
        let skipped = chunk.len().checked_sub(HEADER + 4)?;
        self.ahead(u32_at(chunk, 4)?)?;
        (skipped.is_multiple_of(4) && skipped / 4 <= MOST_SKIPPED).then_some(())
    }

    /// RFC 6525 section 3.1: one parameter or two, of the kinds that come to us. The library keeps
    /// each request that waits for DATA, and answers it anew with each that arrives.
    fn re_config(&self, chunk: &[u8]) -> Option<()> {
        let mut end = HEADER;
        for _ in 0..2 {
            let parameter = parameter(chunk, padded(end))?;
            match (u16_at(parameter, 0)?, parameter.len()) {
                // outgoing SSN reset request (section 4.1)
                (13, 16..) if parameter.len().is_multiple_of(2) => self.reset(parameter)?,
                // re-configuration response (section 4.4)
                (16, 12) => {}
                _ => return None,
            }
            end = padded(end) + parameter.len();
            if padded(end) >= chunk.len() {
                break;
            }
        }
        (padded(end) == padded(chunk.len())).then_some(())
    }

    fn reset(&self, request: &[u8]) -> Option<()> {
        let (number, last) = (u32_at(request, 4)?, u32_at(request, 12)?);
        if self.ahead(last)? <= 0 {
            return Some(());
        }
        let mut waiting = self.waiting.load(Relaxed);
        if self
            .ahead(self.waits_for.load(Relaxed))
            .is_none_or(|ahead| ahead <= 0)
        {
            // all that waited were performed
            waiting = 0;
        }
        let is_known = waiting > 0 && self.last_request.load(Relaxed) == number;
        if !is_known {
            waiting += 1;
        }
        (waiting <= MOST_WAITING).then_some(())?;
        if waiting == 1 || is_after(last, self.waits_for.load(Relaxed)) {
            self.waits_for.store(last, Relaxed);
        }
        self.waiting.store(waiting, Relaxed);
        self.last_request.store(number, Relaxed);
        Some(())
    }

    /// How far a TSN is ahead of what we acknowledged (serial numbers, RFC 9260 section 1.6);
    /// `None` if that is out of reach either way, or if there is no association yet.
    fn ahead(&self, tsn: u32) -> Option<i32> {
        let acknowledged = self.acknowledged.load(Relaxed);
        if acknowledged & KNOWN == 0 {
            return None;
        }
        let ahead = tsn.wrapping_sub(acknowledged as u32) as i32;
        (ahead.unsigned_abs() <= FARTHEST).then_some(ahead)
    }
}

/// Whether an admitted packet brings what is to be acknowledged, and nothing that would be answered
/// again with it.
pub(super) fn is_to_be_acknowledged(packet: &[u8]) -> bool {
    let mut rest = packet.get(COMMON_HEADER..).unwrap_or_default();
    let mut brings = false;
    while let (Some(kind), Some(length)) = (rest.first(), u16_at(rest, 2)) {
        match *kind {
            kind::DATA | kind::FORWARD_TSN => brings = true,
            kind::SACK => {}
            _ => return false,
        }
        rest = rest
            .get(padded(usize::from(length).max(HEADER))..)
            .unwrap_or_default();
    }
    brings
}

/// Exactly as long as its lists (RFC 9260 section 3.3.4), for the library goes by these; and no TSN
/// stands there twice, for it looks at each.
fn sack(chunk: &[u8]) -> Option<()> {
    let (gaps, duplicates) = (
        usize::from(u16_at(chunk, 12)?),
        usize::from(u16_at(chunk, 14)?),
    );
    (chunk.len() == HEADER + 12 + 4 * (gaps + duplicates)).then_some(())?;
    let blocks = chunk.get(HEADER + 12..)?.chunks_exact(4).take(gaps);
    let named = blocks.map(|block| match (u16_at(block, 0), u16_at(block, 2)) {
        (Some(start), Some(end)) => (u32::from(end) + 1).saturating_sub(start.into()),
        _ => 0,
    });
    (named.fold(0, u32::saturating_add) <= FARTHEST).then_some(())
}

/// One parameter, of the one kind (RFC 9260 section 3.3.5).
fn heartbeat(chunk: &[u8]) -> Option<()> {
    let information = parameter(chunk, HEADER)?;
    (u16_at(information, 0)? == 1 && padded(HEADER + information.len()) == padded(chunk.len()))
        .then_some(())
}

/// The parameter at this place of a chunk, without its padding.
fn parameter(chunk: &[u8], at: usize) -> Option<&[u8]> {
    let length = usize::from(u16_at(chunk, at + 2)?);
    chunk
        .get(at..at + length)
        .filter(|parameter| parameter.len() >= HEADER)
}

fn weight(length: usize) -> u32 {
    u32::try_from(length).map_or(u32::MAX, |length| length.max(LEAST_WEIGHT))
}

/// Chunks and parameters begin at multiples of four (RFC 9260 section 3.2).
const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

const fn is_after(tsn: u32, other: u32) -> bool {
    tsn.wrapping_sub(other) as i32 > 0
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_be_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_be_bytes)
}

/// Kinds of chunks (RFC 9260 section 3.2; RFC 3758 section 3.2; RFC 6525 section 3.1).
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const INIT: u8 = 1;
    pub(super) const INIT_ACK: u8 = 2;
    pub(super) const SACK: u8 = 3;
    pub(super) const HEARTBEAT: u8 = 4;
    pub(super) const SHUTDOWN: u8 = 7;
    pub(super) const SHUTDOWN_ACK: u8 = 8;
    pub(super) const COOKIE_ECHO: u8 = 10;
    pub(super) const COOKIE_ACK: u8 = 11;
    pub(super) const SHUTDOWN_COMPLETE: u8 = 14;
    pub(super) const RE_CONFIG: u8 = 130;
    pub(super) const FORWARD_TSN: u8 = 192;
}

#[cfg(test)]
#[path = "admission/tests.rs"] // as the fuzz target sees it
mod tests;
