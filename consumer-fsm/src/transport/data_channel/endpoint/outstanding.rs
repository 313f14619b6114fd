//! Pure: the chunks of this side that the peer has, and those that are lost.
//!
//! A datagram is sent once. The library holds a lost one until three acknowledgements have passed
//! it over, counts none of them while it recovers from an earlier loss, and shrinks its window each
//! time: at one loss in five it stands still for seconds. That is right for a stream. Datagrams of this
//! channel carry a protocol with a congestion control of its own, and the stacks from which the
//! library descends give up such a chunk as it leaves. So a datagram that three later ones have
//! overtaken is lost, as in QUIC (RFC 9002 section 6.1.1): a FORWARD TSN makes the peer go on without
//! it (RFC 3758 section 3.5), and the library gets a SACK that covers it. Datagrams that none overtakes,
//! because all were lost, are left to the library and its timer.

use std::collections::VecDeque;

use super::packet::{HEADER, chunk, kind, u16_at, u32_at};
use super::view::SizeCounts;

/// How many later chunks overtake one that is lost.
const OVERTAKEN: usize = 3;
/// Acknowledgements without progress until the FORWARD TSN is repeated.
const REMINDER: u32 = 4;
/// More than are ever outstanding, because the library gets a bounded number.
const MOST: usize = 4096;
/// DATA: the flag of unordered delivery, and the protocol of RFC 8832.
const UNORDERED: u8 = 4;
const DCEP: u32 = 50;

/// The chunks of this side that are not settled.
#[derive(Debug)]
pub(super) struct Outstanding {
    /// TSN of the first.
    first: u32,
    chunks: VecDeque<Sent>,
    /// The peer's cumulative TSN.
    cumulative: u32,
    /// The peer knows FORWARD TSN.
    may_lose: bool,
    /// Acknowledgements since the last FORWARD TSN.
    since: u32,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    /// Of the packet that it last left in.
    length: u16,
    /// Once it is enough.
    is_datagram: bool,
    is_settled: bool,
}

/// The consequences of an acknowledgement.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Follows {
    /// The SACK for the library, in place of the peer's.
    pub(super) sack: Option<Vec<u8>>,
    /// A FORWARD TSN for the peer.
    pub(super) forward_tsn: Option<Vec<u8>>,
}

impl Outstanding {
    pub(super) const fn new(first: u32, may_lose: bool) -> Self {
        Self {
            first,
            chunks: VecDeque::new(),
            cumulative: first.wrapping_sub(1),
            may_lose,
            since: 0,
        }
    }

    /// The first TSN that is not settled.
    pub(super) const fn first(&self) -> u32 {
        self.first
    }

    /// The chunk of this TSN, counted from the first; none if it is settled for good.
    fn place(&self, tsn: u32) -> Option<usize> {
        usize::try_from(tsn.wrapping_sub(self.first) as i32).ok()
    }

    /// A DATA chunk left in a packet of this length.
    pub(super) fn sent(&mut self, chunk: &[u8], packet: usize, repeated: &mut SizeCounts) {
        let (Some(tsn), Some(protocol)) = (u32_at(chunk, 4), u32_at(chunk, 12)) else {
            return;
        };
        let Some(place) = self.place(tsn).filter(|place| *place < MOST) else {
            return;
        };
        let length = u16::try_from(packet).unwrap_or(u16::MAX);
        if let Some(sent) = self.chunks.get_mut(place) {
            sent.length = length;
            repeated.count(length);
            return;
        }
        // those in between were given up before they left
        let gone = Sent {
            length: 0,
            is_datagram: false,
            is_settled: true,
        };
        self.chunks.resize(place, gone);
        self.chunks.push_back(Sent {
            length,
            is_datagram: chunk[1] & UNORDERED != 0 && protocol != DCEP,
            is_settled: false,
        });
    }

    /// The peer's SACK (RFC 9260 section 3.3.4), which was found sound before. `once`: unordered
    /// messages are sent once.
    pub(super) fn acknowledged(
        &mut self,
        sack: &[u8],
        once: bool,
        acknowledged: &mut SizeCounts,
        lost: &mut SizeCounts,
    ) -> Follows {
        let (Some(cumulative), Some(gaps)) = (u32_at(sack, 4), u16_at(sack, 12)) else {
            return Follows::default();
        };
        let mut last = None;
        for block in 0..usize::from(gaps) {
            let (Some(start), Some(end)) =
                (u16_at(sack, 16 + 4 * block), u16_at(sack, 18 + 4 * block))
            else {
                break;
            };
            for gap in start..=end {
                let Some(place) = self.place(cumulative.wrapping_add(gap.into())) else {
                    continue;
                };
                // beyond what was sent
                let Some(sent) = self.chunks.get_mut(place) else {
                    break;
                };
                last = last.max(Some(place));
                if !sent.is_settled {
                    sent.is_settled = true;
                    acknowledged.count(sent.length);
                }
            }
        }
        if cumulative.wrapping_sub(self.cumulative) as i32 > 0 {
            self.cumulative = cumulative;
        }
        let until_cumulative = self.place(cumulative).map_or(0, |place| place + 1);
        let until_cumulative = until_cumulative.min(self.chunks.len());
        for sent in self.chunks.iter().take(until_cumulative) {
            if !sent.is_settled {
                acknowledged.count(sent.length);
            }
        }
        self.settle(until_cumulative);
        let last = last.and_then(|last| last.checked_sub(until_cumulative));
        if once && self.may_lose {
            self.lose(last, lost);
        }
        self.follows(sack)
    }

    /// Those that were overtaken are lost.
    fn lose(&mut self, last: Option<usize>, lost: &mut SizeCounts) {
        let overtaken = last.map_or(0, |last| (last + 1).saturating_sub(OVERTAKEN));
        for sent in self.chunks.iter_mut().take(overtaken) {
            if sent.is_datagram && !sent.is_settled {
                sent.is_settled = true;
                lost.count(sent.length);
            }
        }
        let settled = self
            .chunks
            .iter()
            .take_while(|sent| sent.is_settled)
            .count();
        self.settle(settled);
    }

    fn settle(&mut self, count: usize) {
        self.chunks.drain(..count);
        self.first = self.first.wrapping_add(count as u32);
    }

    /// A SACK for the library and a FORWARD TSN for the peer, if this side is ahead of the peer.
    fn follows(&mut self, sack: &[u8]) -> Follows {
        let settled = self.first.wrapping_sub(1);
        if settled.wrapping_sub(self.cumulative) as i32 <= 0 {
            self.since = 0;
            return Follows::default();
        }
        // the same window, all up to the first that is open, and the settled ones beyond
        let mut value = settled.to_be_bytes().to_vec();
        value.extend(sack.get(8..12).unwrap_or_default());
        let blocks = self.blocks();
        value.extend(
            u16::try_from(blocks.len())
                .unwrap_or_default()
                .to_be_bytes(),
        );
        value.extend([0; 2]);
        for (start, end) in blocks {
            value.extend(start.to_be_bytes());
            value.extend(end.to_be_bytes());
        }
        let forward_tsn = self.since.is_multiple_of(REMINDER).then(|| {
            // no stream is named, because unordered chunks skip no number (RFC 3758 section 3.2)
            chunk(kind::FORWARD_TSN, &settled.to_be_bytes())
        });
        self.since += 1;
        Follows {
            sack: Some(chunk(kind::SACK, &value)),
            forward_tsn,
        }
    }

    /// The settled chunks beyond the first, as gaps count.
    fn blocks(&self) -> Vec<(u16, u16)> {
        let mut blocks: Vec<(u16, u16)> = Vec::new();
        for (place, sent) in self.chunks.iter().enumerate() {
            // the first has gap 1
            let Ok(gap) = u16::try_from(place + 1) else {
                break;
            };
            match blocks.last_mut() {
                _ if !sent.is_settled => {}
                Some((_, end)) if *end + 1 == gap => *end = gap,
                _ => blocks.push((gap, gap)),
            }
        }
        blocks
    }

    /// A FORWARD TSN of the library (RFC 3758 section 3.2): chunks up to there that are not acknowledged
    /// were given up.
    pub(super) fn given_up(&mut self, chunk: &[u8], lost: &mut SizeCounts) {
        let until = u32_at(chunk, HEADER).and_then(|tsn| self.place(tsn));
        let count = until.map_or(0, |until| until + 1).min(self.chunks.len());
        for sent in self.chunks.iter().take(count) {
            if !sent.is_settled {
                lost.count(sent.length);
            }
        }
        self.settle(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Counts {
        acknowledged: SizeCounts,
        lost: SizeCounts,
        repeated: SizeCounts,
    }

    fn data(tsn: u32, flags: u8, protocol: u8) -> Vec<u8> {
        let head = [0, flags, 0, 17];
        [&head[..], &tsn.to_be_bytes(), &[0; 7], &[protocol, 1]].concat()
    }

    fn datagram(tsn: u32) -> Vec<u8> {
        data(tsn, 7, 53)
    }

    fn sack(cumulative: u32, gaps: &[(u16, u16)]) -> Vec<u8> {
        let mut value = cumulative.to_be_bytes().to_vec();
        value.extend([0, 1, 2, 3]);
        value.extend(u16::try_from(gaps.len()).unwrap().to_be_bytes());
        value.extend([0; 2]);
        for (start, end) in gaps {
            value.extend(start.to_be_bytes());
            value.extend(end.to_be_bytes());
        }
        chunk(kind::SACK, &value)
    }

    fn forward_tsn(tsn: u32) -> Option<Vec<u8>> {
        Some(chunk(kind::FORWARD_TSN, &tsn.to_be_bytes()))
    }

    /// So many datagrams from this TSN on.
    fn sent(first: u32, count: u32) -> (Outstanding, Counts) {
        let (mut outstanding, mut counts) = (Outstanding::new(first, true), Counts::default());
        for n in 0..count {
            let datagram = datagram(first.wrapping_add(n));
            outstanding.sent(&datagram, 100, &mut counts.repeated);
        }
        (outstanding, counts)
    }

    fn acknowledge(outstanding: &mut Outstanding, counts: &mut Counts, sack: &[u8]) -> Follows {
        outstanding.acknowledged(sack, true, &mut counts.acknowledged, &mut counts.lost)
    }

    #[test]
    fn what_arrives_in_order_is_left_to_the_library() {
        // across the end of the numbers
        let first = u32::MAX - 1;
        let (mut outstanding, mut counts) = sent(first, 4);
        for tsn in [first.wrapping_sub(1), first, 1, 1, 0] {
            let follows = acknowledge(&mut outstanding, &mut counts, &sack(tsn, &[]));
            assert_eq!(follows, Follows::default());
        }
        assert!(outstanding.chunks.is_empty());
        assert_eq!(counts.acknowledged.counts()[0], 4);
        assert_eq!(counts.lost, SizeCounts::default());
    }

    #[test]
    fn a_datagram_that_three_have_overtaken_is_lost() {
        let first = u32::MAX - 1;
        let (mut outstanding, mut counts) = sent(first, 8);
        let before = first.wrapping_sub(1);
        // the second is missing, and two have overtaken it
        let two = sack(first, &[(2, 3)]);
        assert_eq!(
            acknowledge(&mut outstanding, &mut counts, &two),
            Follows::default()
        );
        let three = sack(first, &[(2, 4)]);
        let settled = first.wrapping_add(4);
        assert_eq!(
            acknowledge(&mut outstanding, &mut counts, &three),
            Follows {
                sack: Some(sack(settled, &[])),
                forward_tsn: forward_tsn(settled),
            }
        );
        assert_eq!(counts.lost.counts()[0], 1);
        // before the peer knows: the library goes on, and the FORWARD TSN is repeated later
        let four = sack(first, &[(2, 4), (6, 6)]);
        for n in 1..=REMINDER {
            let follows = acknowledge(&mut outstanding, &mut counts, &four);
            assert_eq!(follows.sack, Some(sack(settled, &[(2, 2)])));
            assert_eq!(follows.forward_tsn.is_some(), n == REMINDER, "{n}");
        }
        // an old one
        let old = acknowledge(&mut outstanding, &mut counts, &sack(before, &[]));
        assert_eq!(old.sack, Some(sack(settled, &[(2, 2)])));
        // and now it has
        let heard = acknowledge(&mut outstanding, &mut counts, &sack(settled, &[(2, 2)]));
        assert_eq!(heard, Follows::default());
        assert_eq!(
            (counts.acknowledged.counts()[0], counts.lost.counts()[0]),
            (5, 1)
        );
    }

    #[test]
    fn what_has_to_arrive_is_never_given_up() {
        for (flags, protocol, once, may_lose) in [
            (3, 53, true, true),
            (7, 50, true, true),
            (7, 53, false, true),
            (7, 53, true, false),
        ] {
            let mut outstanding = Outstanding::new(10, may_lose);
            let mut counts = Counts::default();
            outstanding.sent(&data(10, flags, protocol), 100, &mut counts.repeated);
            for tsn in 11..20 {
                outstanding.sent(&datagram(tsn), 100, &mut counts.repeated);
            }
            let overtaken = sack(9, &[(2, 10)]);
            let follows = outstanding.acknowledged(
                &overtaken,
                once,
                &mut counts.acknowledged,
                &mut counts.lost,
            );
            assert_eq!(follows, Follows::default());
            assert_eq!(counts.lost, SizeCounts::default());
        }
    }

    #[test]
    fn what_the_library_gives_up_or_repeats_counts_by_its_length() {
        let (mut outstanding, mut counts) = sent(5, 3);
        outstanding.sent(&datagram(5), 1240, &mut counts.repeated);
        assert_eq!(*counts.repeated.counts(), [0, 0, 0, 0, 0, 1]);
        outstanding.given_up(&forward_tsn(6).unwrap(), &mut counts.lost);
        assert_eq!(*counts.lost.counts(), [1, 0, 0, 0, 0, 1]);
        assert_eq!(outstanding.chunks.len(), 1);
        outstanding.given_up(&forward_tsn(6).unwrap(), &mut counts.lost);
        assert_eq!(outstanding.chunks.len(), 1);
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_changes_nothing() {
        let (mut outstanding, mut counts) = sent(5, 0);
        for sack in [
            sack(4, &[(1, u16::MAX)]),
            sack(4_000_000, &[]),
            sack(5_u32.wrapping_sub(4_000_000), &[(9, 9)]),
        ] {
            let _ = acknowledge(&mut outstanding, &mut counts, &sack);
        }
        assert_eq!(counts.acknowledged, SizeCounts::default());
        outstanding.sent(&datagram(5), 100, &mut counts.repeated);
        assert_eq!(outstanding.chunks.len(), 1);
    }
}
