//! The peer's connectivity checks (RFC 8445 section 7), and the evidence of them.

use core::net::SocketAddr;
use core::time::Duration;

use super::integrity::{Integrity, Password, Trust, Verification};
use super::message::{Class, Message, TransactionId};
use super::open::Open;
use crate::bounded::Sorted;
use crate::evidence::{Endpoint, Ip, Observation};
use crate::failure::Checks;
use crate::peer::{PeerEvidence, SentBefore, UnsolicitedCheck};

/// Checks whose answer may still come.
const MAX_OPEN: usize = 64;
/// Most pairs of addresses kept.
pub const MAX_PAIRS: usize = 32;
const FEW_PAIRS: usize = 4;
/// Most addresses that are remembered as sent to: a cohort of 64 servers, and 32 candidates of the
/// peer and as many learnt.
const MAX_DESTINATIONS: usize = 128;
const FEW_DESTINATIONS: usize = 8;
/// Ids of the peer's latest checks, by which a replay is known.
const MAX_REPLAYS: usize = 64;

const ANY: Endpoint = Endpoint {
    ip: Ip::UNSPECIFIED,
    port: 0,
};

/// The checks between one base and one address of the peer.
///
/// ```
/// use nat_summary::observer::Observer;
///
/// let check = b"\x00\x01\x00\x08\x21\x12\xA4\x42a random id.\x00\x06\x00\x03a:b\x00";
/// let mut observer = Observer::new();
/// observer.sent(core::time::Duration::ZERO, "192.168.1.5:50000".parse()?, "192.0.2.9:40000".parse()?, check);
/// let pair = observer.pairs().next().expect("one pair");
/// assert_eq!((pair.sent, pair.answered), (1, 0));
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckedPair {
    /// The local socket.
    pub base: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// Checks sent, with every copy.
    pub sent: u32,
    /// Those that were answered.
    pub answered: u32,
    /// Checks that came in.
    pub received: u32,
    /// The mapped address of the last answer that had one.
    pub mapped: Option<SocketAddr>,
    /// When the last answer came in.
    pub last_answer: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    base: Endpoint,
    remote: Endpoint,
    sent: u32,
    sent_since_received: u32,
    answered: u32,
    received: u32,
    mapped: Option<(Endpoint, u32)>,
    last_answer: Option<Duration>,
}

impl Pair {
    const fn new(base: Endpoint, remote: Endpoint) -> Self {
        Self {
            base,
            remote,
            sent: 0,
            sent_since_received: 0,
            answered: 0,
            received: 0,
            mapped: None,
            last_answer: None,
        }
    }

    /// Without what the peer is known by: our own checks stay.
    const fn unheard(self) -> Self {
        Self {
            sent: self.sent,
            ..Self::new(self.base, self.remote)
        }
    }
}

/// A check without an answer so far.
#[derive(Debug, Clone, Copy)]
struct OpenCheck {
    id: TransactionId,
    base: Endpoint,
    remote: Endpoint,
    sequence: u32,
    at: Duration,
}

/// What became of a check or an answer that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filed {
    /// It counts.
    Counted,
    /// It has the id of a check to another address, or from another socket.
    WrongSource,
    /// It has the id of no check.
    UnknownId,
    /// It is not signed, or not with the password.
    Unauthenticated,
    /// It could not be verified, though others were.
    Unverified,
    /// It was read before.
    Replayed,
    /// It counts, but something may have been sent to its source before.
    MaybeSolicited,
}

/// Addresses that were sent to.
#[derive(Debug, Clone)]
struct Destinations {
    known: Sorted<Endpoint, FEW_DESTINATIONS, MAX_DESTINATIONS>,
    is_full: bool,
    /// A bit for each address that anything but STUN was sent to, by a few bits of it.
    others: u64,
}

impl Destinations {
    fn add(&mut self, destination: Endpoint) {
        if let Err(at) = self.known.find(|known| known.cmp(&destination)) {
            self.is_full |= self.known.insert(at, destination).is_some();
        }
    }

    /// Whether `source` was sent to: `Ok` of how little, `Err` where it was, or may have been.
    fn sent_before(&self, source: Endpoint) -> Result<SentBefore, MaySolicit> {
        let known = self.known.as_slice();
        if known.binary_search(&source).is_ok() {
            return Err(MaySolicit::Certain);
        }
        if self.is_full || self.others & bit(source.ip) != 0 {
            return Err(MaySolicit::Possible);
        }
        let is_known = known.iter().any(|known| known.ip == source.ip);
        Ok(if is_known {
            SentBefore::OtherPort
        } else {
            SentBefore::Never
        })
    }
}

/// Whether a source was sent to before.
enum MaySolicit {
    Certain,
    Possible,
}

#[inline]
const fn bit(ip: Ip) -> u64 {
    let bits = ip.bits();
    1 << ((bits ^ (bits >> 8) ^ (bits >> 64)) % 64)
}

/// The checks of all pairs, and their evidence.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    open: Open<OpenCheck, MAX_OPEN>,
    pairs: Sorted<Pair, FEW_PAIRS, MAX_PAIRS>,
    destinations: Destinations,
    replays: [TransactionId; MAX_REPLAYS],
    replays_seen: usize,
    pub(super) evidence: PeerEvidence,
    pub(super) checks: Checks,
    pub(super) trust: Trust,
    /// Packets may have passed before the first that was handed in.
    pub(super) is_joined_late: bool,
    pub(super) rebindings: u32,
}

impl Peer {
    pub(super) const fn new() -> Self {
        Self {
            open: Open::new(),
            pairs: Sorted::new(Pair::new(ANY, ANY)),
            destinations: Destinations {
                known: Sorted::new(ANY),
                is_full: false,
                others: 0,
            },
            replays: [[0; 12]; MAX_REPLAYS],
            replays_seen: 0,
            evidence: PeerEvidence::new(),
            checks: Checks {
                sent: 0,
                answered: 0,
                received: 0,
                sent_since_received: 0,
                relayed: 0,
            },
            trust: Trust::Unobserved,
            is_joined_late: false,
            rebindings: 0,
        }
    }

    /// STUN leaves for `destination`: what comes from there is not unsolicited any more.
    pub(super) fn note_destination(&mut self, destination: Endpoint) {
        self.destinations.add(destination);
    }

    /// Anything else leaves for `destination`.
    #[inline]
    pub(super) fn note_other(&mut self, destination: SocketAddr) {
        self.destinations.others |= bit(destination.ip().into());
    }

    /// A check leaves, or a copy of one; whether it is the first.
    pub(super) fn check(
        &mut self,
        base: Endpoint,
        remote: Endpoint,
        id: TransactionId,
        sequence: u32,
        now: Duration,
    ) -> bool {
        self.checks.sent = self.checks.sent.saturating_add(1);
        if let Some(pair) = self.pair_mut(base, remote) {
            pair.sent = pair.sent.saturating_add(1);
            if pair.received > 0 {
                pair.sent_since_received = pair.sent_since_received.saturating_add(1);
                let since = pair.sent_since_received;
                self.checks.sent_since_received = self.checks.sent_since_received.max(since);
            }
        }
        let check = OpenCheck {
            id,
            base,
            remote,
            sequence,
            at: now,
        };
        let is_it = |open: &OpenCheck| (open.id, open.base, open.remote) == (id, base, remote);
        let is_first = !self.open.iter().any(is_it);
        if is_first {
            self.open.push(check);
        }
        is_first
    }

    /// When the check of this transaction left, which has no answer yet.
    pub(super) fn asked_at(
        &self,
        base: Endpoint,
        remote: Endpoint,
        id: TransactionId,
    ) -> Option<Duration> {
        let is_it = |open: &&OpenCheck| (open.id, open.base, open.remote) == (id, base, remote);
        self.open.iter().find(is_it).map(|open| open.at)
    }

    /// Whether checks passed between the two.
    pub(super) fn has_pair(&self, base: Endpoint, remote: Endpoint) -> bool {
        let order = |pair: &Pair| (pair.base, pair.remote).cmp(&(base, remote));
        self.pairs.as_slice().binary_search_by(order).is_ok()
    }

    /// A response to no request of a server came in.
    pub(super) fn answer(
        &mut self,
        base: Endpoint,
        source: Endpoint,
        message: &Message<'_>,
        integrity: &impl Integrity,
        now: Duration,
    ) -> Filed {
        let is_it =
            |open: &OpenCheck| (open.id, open.base, open.remote) == (message.id, base, source);
        let Some(check) = self.open.iter().find(|open| is_it(open)).copied() else {
            return if self.open.iter().any(|open| open.id == message.id) {
                Filed::WrongSource
            } else {
                Filed::UnknownId
            };
        };
        let Some(signed) = message.signed() else {
            return Filed::Unauthenticated;
        };
        if let Some(refused) = self.refuses(integrity.verify(Password::Remote, None, &signed)) {
            return refused;
        }
        self.open.take(is_it);
        self.checks.answered = self.checks.answered.saturating_add(1);
        let mapped = message
            .mapped
            .filter(|_| message.class == Class::Success)
            .map(Endpoint::from);
        let mut is_rebound = false;
        if let Some(pair) = self.pair_mut(base, source) {
            pair.answered = pair.answered.saturating_add(1);
            pair.last_answer = Some(now);
            let is_overtaken = pair.mapped.is_some_and(|(_, then)| then > check.sequence);
            if let Some(mapped) = mapped.filter(|_| !is_overtaken) {
                is_rebound = pair.mapped.is_some_and(|(was, _)| was != mapped);
                pair.mapped = Some((mapped, check.sequence));
            }
        }
        self.rebindings = self.rebindings.saturating_add(is_rebound.into());
        if let Some(mapped) = mapped {
            self.evidence.observe(Observation {
                base: base.into(),
                server: SocketAddr::from(source).into(),
                mapped: mapped.into(),
                sequence: check.sequence,
            });
        }
        Filed::Counted
    }

    /// A check came in.
    pub(super) fn check_received(
        &mut self,
        base: Endpoint,
        source: Endpoint,
        message: &Message<'_>,
        integrity: &impl Integrity,
    ) -> Filed {
        let Some(signed) = message.signed() else {
            return Filed::Unauthenticated;
        };
        let verification = integrity.verify(Password::Local, message.username, &signed);
        if let Some(refused) = self.refuses(verification) {
            return refused;
        }
        // a signed check can be sent again by anyone, from anywhere
        if self.trust == Trust::Verified && !self.is_new(message.id) {
            return Filed::Replayed;
        }
        self.checks.received = self.checks.received.saturating_add(1);
        if let Some(pair) = self.pair_mut(base, source) {
            pair.received = pair.received.saturating_add(1);
        }
        if self.trust != Trust::Verified {
            return Filed::Counted;
        }
        match self.destinations.sent_before(source) {
            Err(MaySolicit::Certain) => Filed::Counted,
            Err(MaySolicit::Possible) => Filed::MaybeSolicited,
            Ok(_) if self.is_joined_late => Filed::MaybeSolicited,
            Ok(sent_before) => {
                self.evidence.record_unsolicited(UnsolicitedCheck {
                    base: base.into(),
                    source: source.into(),
                    sent_before,
                });
                Filed::Counted
            }
        }
    }

    /// Why a message does not count; `None` if it does. The first that was verified puts an end to
    /// those that were only matched.
    fn refuses(&mut self, verification: Verification) -> Option<Filed> {
        match (self.trust, verification) {
            (_, Verification::Forged) => return Some(Filed::Unauthenticated),
            (Trust::Verified, Verification::Unknown) => return Some(Filed::Unverified),
            (_, Verification::Unknown) => self.trust = Trust::Matched,
            (trust, Verification::Verified) => {
                self.trust = Trust::Verified;
                if trust == Trust::Matched {
                    self.evidence = PeerEvidence::new();
                    self.rebindings = 0;
                    self.checks = Checks {
                        sent: self.checks.sent,
                        ..Checks::default()
                    };
                    for pair in self.pairs.as_mut_slice() {
                        *pair = pair.unheard();
                    }
                }
            }
        }
        None
    }

    /// Whether a check with this id was not read before, as far as ids are remembered.
    fn is_new(&mut self, id: TransactionId) -> bool {
        let known = self.replays_seen.min(MAX_REPLAYS);
        if self.replays.iter().take(known).any(|seen| *seen == id) {
            return false;
        }
        if let Some(place) = self.replays.get_mut(self.replays_seen % MAX_REPLAYS) {
            *place = id;
        }
        // beyond the first round the count only has to go on around the places
        self.replays_seen = match self.replays_seen + 1 {
            count if count >= 2 * MAX_REPLAYS => MAX_REPLAYS,
            count => count,
        };
        true
    }

    /// Every pair, by base, then the peer's address.
    pub(super) fn pairs(&self) -> impl ExactSizeIterator<Item = CheckedPair> + '_ {
        self.pairs.as_slice().iter().map(|pair| CheckedPair {
            base: pair.base.into(),
            remote: pair.remote.into(),
            sent: pair.sent,
            answered: pair.answered,
            received: pair.received,
            mapped: pair.mapped.map(|(mapped, _)| mapped.into()),
            last_answer: pair.last_answer,
        })
    }

    /// The entry of a pair, which is made where there is none; `None` if it has no room.
    fn pair_mut(&mut self, base: Endpoint, remote: Endpoint) -> Option<&mut Pair> {
        let order = |pair: &Pair| (pair.base, pair.remote).cmp(&(base, remote));
        if let Err(at) = self.pairs.find(order) {
            self.pairs.insert(at, Pair::new(base, remote));
        }
        self.pairs.find(order).ok()
    }
}
