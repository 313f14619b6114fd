//! Pure: which packets of the peer reach the library of SCTP.
//!
//! DTLS proves who the peer is, and the peer is a stranger. The library bounds bytes of user data and
//! nothing else: a million chunks of one byte fit into its window, each sorted into a list of all
//! others, and each on a stream of its own if the peer likes. It looks up each TSN of a SACK as often
//! as the SACK names the TSN. And it reads on within a chunk whose length is not that of its content.
//! So each packet is walked before, and passes or is dropped and counted as a whole. Packets of
//! honest stacks pass (RFC 9260, partial reliability of RFC 3758, resets of RFC 6525).
//!
//! The bounds hold against the TSNs that were acknowledged: the SACKs of this side go by as well. No
//! allocation, apart from the list of streams.

use super::packet::{Chunk, HEADER, chunks, kind, padded, parameter, u16_at, u32_at};

/// The receive window that SCTP announces (RFC 9260 section 3.3.2), which counts nothing but user
/// data.
pub(super) const WINDOW: u32 = 1 << 20;
/// Most that unread chunks may weigh, as [`LEAST_WEIGHT`] has it. An honest peer stops at the
/// window.
const MOST_HELD: u32 = 2 * WINDOW;
/// Bytes that a chunk of one byte keeps alive in the library: itself twice, and its packet.
const LEAST_WEIGHT: u32 = 512;
/// Farthest a DATA chunk may be beyond the last acknowledged TSN: as many are kept aside, and each
/// new one is sorted in among them.
const FARTHEST_DATA: u32 = 4096;
/// Most TSNs that a SACK may name, which is as many as it can (RFC 9260 section 3.3.4).
const MOST_NAMED: u32 = 0xffff;
/// Most streams that a FORWARD TSN skips on, each of which goes through all that is kept: each
/// stands there once (RFC 3758 section 3.2), and there is one channel.
const MOST_SKIPPED: usize = 64;
/// Most streams that a request resets by name.
const MOST_RESET: usize = 64;
/// Most chunks of a packet that each get a packet for an answer.
const MOST_ANSWERS: u32 = 8;
/// Most streams that the peer may use, the channel's own among them: the library makes each as soon
/// as there is DATA for it.
pub(super) const MOST_STREAMS: usize = 17;

/// The fate of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The library may have it.
    Pass,
    Refused,
    /// The peer aborts the association (RFC 9260 section 3.3.7).
    Abort,
    /// The peer uses one stream too many.
    Streams,
}

/// The state of the rules for one association.
#[derive(Debug)]
pub(super) struct Admission {
    /// The last TSN of the peer that was acknowledged.
    acknowledged: u32,
    /// Weight of the unread chunks, never less than the true one.
    held: u32,
    streams: Vec<u16>,
    /// A reset that waits for DATA before it: up to which TSN, and of which streams; of all if none
    /// is named.
    reset: Option<(u32, Vec<u16>)>,
}

impl Admission {
    /// For a peer whose first TSN is this (RFC 9260 section 3.3.2).
    pub(super) const fn new(first: u32) -> Self {
        Self {
            acknowledged: first.wrapping_sub(1),
            held: 0,
            streams: Vec::new(),
            reset: None,
        }
    }

    /// A packet of the peer.
    pub(super) fn admits(&mut self, packet: &[u8]) -> Verdict {
        let (mut weight, mut answers) = (0, 0);
        for chunk in chunks(packet) {
            let Ok(Chunk { kind, bytes }) = chunk else {
                return Verdict::Refused;
            };
            let is_sound = match kind {
                kind::DATA => match self.data(bytes) {
                    Data::Weighs(more) => {
                        weight += more;
                        true
                    }
                    Data::Refused => false,
                    Data::OnOneMoreStream => return Verdict::Streams,
                },
                kind::SACK => sack(bytes),
                kind::FORWARD_TSN => forward_tsn(bytes),
                kind::RE_CONFIG => {
                    answers += 1;
                    self.re_config(bytes).is_some()
                }
                kind::HEARTBEAT => {
                    answers += 1;
                    heartbeat(bytes).is_some()
                }
                kind::COOKIE_ECHO => {
                    answers += 1;
                    true
                }
                kind::SHUTDOWN => bytes.len() == HEADER + 4,
                // the library takes them for as long as this whatever their length field holds,
                // and goes on within them
                kind::COOKIE_ACK | kind::SHUTDOWN_ACK | kind::SHUTDOWN_COMPLETE => {
                    bytes.len() == HEADER
                }
                kind::ABORT => return Verdict::Abort,
                // an ERROR ends nothing (RFC 9260 section 3.3.10), but the library ends over it;
                // INIT and INIT ACK are ours to answer; the library knows no others
                _ => false,
            };
            if !is_sound || answers > MOST_ANSWERS {
                return Verdict::Refused;
            }
        }
        self.held += weight;
        Verdict::Pass
    }

    /// Takes a SACK of this side (RFC 9260 section 3.3.4): the TSN that it acknowledges, and a full
    /// window, which means that all was read.
    pub(super) fn sent(&mut self, sack: &[u8]) {
        let (Some(acknowledged), Some(window), Some(gaps)) =
            (u32_at(sack, 4), u32_at(sack, 8), u16_at(sack, 12))
        else {
            return;
        };
        if self.ahead(acknowledged) > 0 {
            self.acknowledged = acknowledged;
        }
        if window == WINDOW && gaps == 0 {
            self.held = 0;
        }
        let is_performed = |(last, _): &(u32, _)| self.ahead(*last) <= 0;
        if self.reset.as_ref().is_some_and(is_performed) {
            self.reset = None;
        }
    }

    /// A message of so many bytes in so many chunks was read.
    pub(super) fn read(&mut self, length: usize, chunks: usize) {
        let weight = weigh(length).max(weigh(0).saturating_mul(chunks as u32));
        self.held = self.held.saturating_sub(weight);
    }

    fn data(&mut self, chunk: &[u8]) -> Data {
        let (Some(tsn), Some(stream)) = (u32_at(chunk, 4), u16_at(chunk, 8)) else {
            return Data::Refused;
        };
        // one byte at least (RFC 9260 section 3.3.1); an empty message of WebRTC has one as well
        // (RFC 8831 section 6.6)
        let length = chunk.len().saturating_sub(HEADER + 12);
        if length == 0 {
            return Data::Refused;
        }
        let ahead = self.ahead(tsn);
        if ahead <= 0 {
            // once more: acknowledged again, and not kept
            return Data::Weighs(0);
        }
        let is_reset = self.reset.as_ref().is_some_and(|(last, streams)| {
            is_after(tsn, *last) && (streams.is_empty() || streams.contains(&stream))
        });
        if self.held >= MOST_HELD || ahead.unsigned_abs() > FARTHEST_DATA || is_reset {
            return Data::Refused;
        }
        if !self.streams.contains(&stream) {
            if self.streams.len() >= MOST_STREAMS {
                return Data::OnOneMoreStream;
            }
            self.streams.push(stream);
        }
        Data::Weighs(weigh(length))
    }

    /// RFC 6525 section 3.1: one parameter or two, of the kinds that come to us.
    fn re_config(&mut self, chunk: &[u8]) -> Option<()> {
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

    /// DATA behind a reset that waits would be kept by the library, and sorted anew with each chunk.
    fn reset(&mut self, request: &[u8]) -> Option<()> {
        let last = u32_at(request, 12)?;
        let streams = request.get(16..)?;
        if streams.len() / 2 > MOST_RESET {
            return None;
        }
        if self.ahead(last) > 0 && self.reset.is_none() {
            let streams = streams
                .chunks_exact(2)
                .filter_map(|stream| u16_at(stream, 0));
            self.reset = Some((last, streams.collect()));
        }
        Some(())
    }

    /// Distance of a TSN from the last acknowledged one (serial numbers, RFC 9260 section 1.6).
    const fn ahead(&self, tsn: u32) -> i32 {
        tsn.wrapping_sub(self.acknowledged) as i32
    }
}

enum Data {
    Weighs(u32),
    Refused,
    OnOneMoreStream,
}

/// Exactly as long as its lists (RFC 9260 section 3.3.4), because the library goes by these; and no
/// TSN stands there twice, because the library looks at each.
fn sack(chunk: &[u8]) -> bool {
    let (Some(gaps), Some(duplicates)) = (u16_at(chunk, 12), u16_at(chunk, 14)) else {
        return false;
    };
    let (gaps, duplicates) = (usize::from(gaps), usize::from(duplicates));
    if chunk.len() != HEADER + 12 + 4 * (gaps + duplicates) {
        return false;
    }
    let blocks = chunk[HEADER + 12..].chunks_exact(4).take(gaps);
    let named = blocks.map(|block| match (u16_at(block, 0), u16_at(block, 2)) {
        (Some(start), Some(end)) => (u32::from(end) + 1).saturating_sub(start.into()),
        _ => 0,
    });
    named.fold(0, u32::saturating_add) <= MOST_NAMED
}

/// RFC 3758 section 3.2.
fn forward_tsn(chunk: &[u8]) -> bool {
    chunk
        .len()
        .checked_sub(HEADER + 4)
        .is_some_and(|skipped| skipped.is_multiple_of(4) && skipped / 4 <= MOST_SKIPPED)
}

/// One parameter, of the one kind (RFC 9260 section 3.3.5).
fn heartbeat(chunk: &[u8]) -> Option<()> {
    let information = parameter(chunk, HEADER)?;
    (u16_at(information, 0)? == 1 && padded(HEADER + information.len()) == padded(chunk.len()))
        .then_some(())
}

fn weigh(length: usize) -> u32 {
    u32::try_from(length).map_or(u32::MAX, |length| length.max(LEAST_WEIGHT))
}

const fn is_after(tsn: u32, other: u32) -> bool {
    tsn.wrapping_sub(other) as i32 > 0
}

#[cfg(test)]
mod tests;
