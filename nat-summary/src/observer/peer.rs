//! The peer's connectivity checks (RFC 8445 section 7), and the evidence of them.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use super::integrity::{Integrity, Password, Trust, Verification};
use super::message::{Class, Message, TransactionId};
use super::tables::{Entry, InPlace, Table, Tables};
use crate::evidence::{Ip, Observation, Place};
use crate::failure::Checks;
use crate::peer::{PeerEvidence, SentBefore, UnsolicitedCheck};

/// Checks whose answer may still come: two rounds of 32 candidates, twice.
const MAX_OPEN: usize = 128;
/// Most pairs of addresses kept.
pub const MAX_PAIRS: usize = 64;
/// Most addresses that are remembered as sent to: a cohort of 64 servers, and 32 candidates of the
/// peer and as many learnt, once over.
pub const MAX_DESTINATIONS: usize = 192;
/// Ids of the peer's latest checks, by which a replay is known.
const MAX_REPLAYS: usize = 64;

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
    base: Place,
    remote: Place,
    sent: u32,
    sent_since_received: u32,
    answered: u32,
    received: u32,
    /// The latest report, with the number of the check that it answers.
    mapped: Option<(Place, u32)>,
    last_answer: Option<Duration>,
    /// A check came in unsolicited.
    unsolicited: Option<SentBefore>,
}

impl Pair {
    const fn new(base: Place, remote: Place) -> Self {
        Self {
            base,
            remote,
            sent: 0,
            sent_since_received: 0,
            answered: 0,
            received: 0,
            mapped: None,
            last_answer: None,
            unsolicited: None,
        }
    }

    /// Without what the peer is known by: our own checks stay.
    const fn unheard(self) -> Self {
        Self {
            sent: self.sent,
            ..Self::new(self.base, self.remote)
        }
    }

    const fn is_heard(&self) -> bool {
        self.answered > 0 || self.received > 0
    }
}

impl Entry for Pair {
    const BLANK: Self = Self::new(Place::ANY, Place::ANY);
}

impl Entry for Place {
    const BLANK: Self = Self::ANY;
}

impl Entry for TransactionId {
    const BLANK: Self = [0; 12];
}

/// A check without an answer so far.
#[derive(Debug, Clone, Copy)]
struct OpenCheck {
    id: TransactionId,
    base: Place,
    remote: Place,
    sequence: u32,
    at: Duration,
    /// Through a relay, where checks are not counted.
    is_relayed: bool,
}

impl Entry for OpenCheck {
    const BLANK: Self = Self {
        id: [0; 12],
        base: Place::ANY,
        remote: Place::ANY,
        sequence: 0,
        at: Duration::ZERO,
        is_relayed: false,
    };
}

/// Why a check that came in, or an answer to one, does not count.
///
/// ```
/// use nat_summary::observer::{Message, Peer, Refusal, Unverified};
///
/// let answer = Message::read(b"\x01\x01\x00\x00\x21\x12\xA4\x42a random id.")?;
/// let (base, source) = ("192.168.1.5:50000".parse()?, "192.0.2.9:40000".parse()?);
/// let filed = Peer::<nat_summary::observer::InPlace>::new()
///     .answer_received(base, source, &answer, &Unverified, core::time::Duration::ZERO);
/// assert_eq!(filed, Err(Refusal::UnknownId));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
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
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongSource => "from another address than the one asked",
            Self::UnknownId => "unknown transaction",
            Self::Unauthenticated => "not signed with the password",
            Self::Unverified => "the signature could not be verified",
            Self::Replayed => "read before",
        })
    }
}

impl core::error::Error for Refusal {}

/// The answer to a check. [`Peer`] shows how it comes about.
///
/// ```
/// use nat_summary::observer::CheckAnswer;
///
/// let is_rebinding = |answer: &CheckAnswer| answer.replaced.is_some();
/// # let _ = is_rebinding;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CheckAnswer {
    /// The number of the check.
    pub sequence: u32,
    /// The time at which the check left, its first copy.
    pub asked_at: Duration,
    /// Whether it is a success response. An error response is an answer, and reports no mapping.
    pub is_success: bool,
    /// The mapped address, if it has one that can be read.
    pub mapped: Option<SocketAddr>,
    /// The answer to a later check came first.
    pub is_overtaken: bool,
    /// The mapped address of the answer before, and the number of its check, if it was another.
    pub replaced: Option<(SocketAddr, u32)>,
}

/// A check that came in and counts.
///
/// ```
/// use nat_summary::observer::{InPlace, Message, Peer, Unverified};
///
/// let mut check = b"\x00\x01\x00\x20\x21\x12\xA4\x42a random id.\x00\x06\x00\x03a:b\x00".to_vec();
/// check.extend(b"\x00\x08\x00\x14a code of 20 letters");
/// let (base, source) = ("192.168.1.5:50000".parse()?, "192.0.2.9:40000".parse()?);
/// let mut peer = Peer::<InPlace>::new();
/// let arrival = peer.check_received(base, source, &Message::read(&check)?, &Unverified).unwrap();
/// assert!(!arrival.is_maybe_solicited && peer.checks().received == 1);
/// assert_eq!(peer.evidence().unsolicited_checks().len(), 0, "it is not verified");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Arrival {
    /// Its source may have been sent to before, so it does not count as unsolicited.
    pub is_maybe_solicited: bool,
}

/// Addresses that were sent to.
#[derive(Debug, Clone)]
struct Destinations<T: Tables> {
    /// Sorted.
    known: T::Of<Place, MAX_DESTINATIONS>,
    /// Those that had no room.
    lost: u32,
    /// A bit for each address that anything but STUN was sent to, by a few bits of it.
    others: u64,
}

impl<T: Tables> Destinations<T> {
    fn add(&mut self, destination: Place) {
        if let Err(at) = self.known.entries().binary_search(&destination) {
            if self.known.entries().len() < MAX_DESTINATIONS {
                self.known.insert(at, destination);
            } else {
                self.lost = self.lost.saturating_add(1);
            }
        }
    }

    /// Whether `source` was sent to: `Ok` of how little, `Err` where it was, or may have been.
    fn sent_before(&self, source: Place) -> Result<SentBefore, MaySolicit> {
        let known = self.known.entries();
        if known.binary_search(&source).is_ok() {
            return Err(MaySolicit::Certain);
        }
        if self.lost > 0 || self.others & bit(source.ip()) != 0 {
            return Err(MaySolicit::Possible);
        }
        let is_known = known.iter().any(|known| known.ip() == source.ip());
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

/// The connectivity checks between a host and its peer, and the evidence of them.
///
/// An [`Observer`](super::Observer) has one. An agent that knows which datagrams are its checks hands
/// them in by itself. Every table is bounded, and lies where `T` puts it.
///
/// ```
/// use core::time::Duration;
/// use nat_summary::observer::{InPlace, Message, Peer, Unverified};
///
/// let mut peer = Peer::<InPlace>::new();
/// let (base, remote) = ("192.168.1.5:50000".parse()?, "192.0.2.9:40000".parse()?);
/// peer.note_destination(remote);
/// peer.check_sent(base, remote, *b"a random id.", 0, Duration::ZERO);
/// // signed, but not verified here
/// let mut answer = b"\x01\x01\x00\x24\x21\x12\xA4\x42a random id.\x00\x20\x00\x08\x00\x01\xe2\x42\xea\x12\xd5\x45".to_vec();
/// answer.extend(b"\x00\x08\x00\x14a code of 20 letters");
/// let answer = Message::read(&answer)?;
/// let filed = peer.answer_received(base, remote, &answer, &Unverified, Duration::ZERO);
/// assert_eq!(filed.unwrap().mapped, Some("203.0.113.7:50000".parse()?));
/// assert_eq!(peer.evidence().answers().len(), 1);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Peer<T: Tables = InPlace> {
    /// The oldest first.
    open: T::Of<OpenCheck, MAX_OPEN>,
    /// By base, then the peer's address.
    pairs: T::Of<Pair, MAX_PAIRS>,
    destinations: Destinations<T>,
    /// A ring.
    replays: T::Of<TransactionId, MAX_REPLAYS>,
    next_replay: usize,
    checks: Checks,
    trust: Trust,
    /// Packets may have passed before the first that was handed in.
    is_joined_late: bool,
    rebindings: u32,
    /// Answers and unsolicited checks that had no room, and answers that no NAT can have made.
    lost_answers: u32,
    lost_arrivals: u32,
    impossible: u32,
}

impl<T: Tables> Default for Peer<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Tables> Peer<T> {
    /// No checks yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            open: Table::EMPTY,
            pairs: Table::EMPTY,
            destinations: Destinations {
                known: Table::EMPTY,
                lost: 0,
                others: 0,
            },
            replays: Table::EMPTY,
            next_replay: 0,
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
            lost_answers: 0,
            lost_arrivals: 0,
            impossible: 0,
        }
    }

    /// Packets may have passed before the first that is handed in: from now on no check counts as
    /// unsolicited.
    pub const fn join_late(&mut self) {
        self.is_joined_late = true;
    }

    /// STUN leaves for `destination`: checks from there are not unsolicited any more.
    pub fn note_destination(&mut self, destination: SocketAddr) {
        self.destinations.add(destination.into());
    }

    /// Anything else leaves for `destination`. Its address is remembered by a few bits.
    #[inline]
    pub fn note_other(&mut self, destination: SocketAddr) {
        self.destinations.others |= bit(destination.ip().into());
    }

    /// A check leaves, or a copy of one; whether it is the first copy. `sequence` is its place in the
    /// order of sending.
    pub fn check_sent(
        &mut self,
        base: SocketAddr,
        remote: SocketAddr,
        id: TransactionId,
        sequence: u32,
        now: Duration,
    ) -> bool {
        self.checks.sent = self.checks.sent.saturating_add(1);
        let (base, remote) = (Place::from(base), Place::from(remote));
        if let Some(pair) = self.pair_mut(base, remote, false) {
            pair.sent = pair.sent.saturating_add(1);
            if pair.received > 0 {
                pair.sent_since_received = pair.sent_since_received.saturating_add(1);
                let since = pair.sent_since_received;
                self.checks.sent_since_received = self.checks.sent_since_received.max(since);
            }
        }
        self.await_answer(OpenCheck {
            id,
            base,
            remote,
            sequence,
            at: now,
            is_relayed: false,
        })
    }

    /// A check leaves through a relay: its answer can show that the peer is there, and nothing of the
    /// NAT.
    pub fn relayed_check_sent(
        &mut self,
        base: SocketAddr,
        remote: SocketAddr,
        id: TransactionId,
        now: Duration,
    ) {
        self.await_answer(OpenCheck {
            id,
            base: base.into(),
            remote: remote.into(),
            sequence: 0,
            at: now,
            is_relayed: true,
        });
    }

    /// A check did not leave after all, because the socket refused it. It counts as if it had never been
    /// sent.
    pub fn check_not_sent(&mut self, id: TransactionId) {
        let Some(at) = self.open.entries().iter().position(|open| open.id == id) else {
            return;
        };
        let Some(check) = self.take_open(at).filter(|check| !check.is_relayed) else {
            return;
        };
        self.checks.sent = self.checks.sent.saturating_sub(1);
        let at = self.find(check.base, check.remote).ok();
        if let Some(pair) = at.and_then(|at| self.pairs.entries_mut().get_mut(at)) {
            pair.sent = pair.sent.saturating_sub(1);
            pair.sent_since_received = pair.sent_since_received.saturating_sub(1);
        }
        let since = self.pairs.entries().iter().map(|p| p.sent_since_received);
        self.checks.sent_since_received = since.max().unwrap_or(0);
    }

    fn await_answer(&mut self, check: OpenCheck) -> bool {
        let key = |open: &OpenCheck| (open.id, open.base, open.remote);
        if self
            .open
            .entries()
            .iter()
            .any(|open| key(open) == key(&check))
        {
            return false;
        }
        if self.open.entries().len() >= MAX_OPEN {
            self.open.remove(0);
        }
        self.open.insert(self.open.entries().len(), check);
        true
    }

    /// Whether checks passed at all.
    #[inline]
    pub(crate) fn has_pairs(&self) -> bool {
        !self.pairs.entries().is_empty()
    }

    /// Whether checks passed between the two.
    #[must_use]
    pub fn has_pair(&self, base: SocketAddr, remote: SocketAddr) -> bool {
        self.find(base.into(), remote.into()).is_ok()
    }

    fn take_open(&mut self, at: usize) -> Option<OpenCheck> {
        let check = self.open.entries().get(at).copied()?;
        self.open.remove(at);
        Some(check)
    }

    /// The place of the open check that a response from `source` answers.
    #[inline]
    fn find_open(
        &self,
        base: SocketAddr,
        source: SocketAddr,
        id: TransactionId,
        is_relayed: bool,
    ) -> Result<usize, Refusal> {
        let mut refusal = Refusal::UnknownId;
        for (at, open) in self.open.entries().iter().enumerate() {
            if open.id == id && open.is_relayed == is_relayed {
                if (open.base, open.remote) == (base.into(), source.into()) {
                    return Ok(at);
                }
                refusal = Refusal::WrongSource;
            }
        }
        Err(refusal)
    }

    /// A Binding response came in that answers no request to a server.
    ///
    /// # Errors
    /// [`Refusal`]: it does not count. The check that it claims to answer, if there is one, stays open.
    pub fn answer_received(
        &mut self,
        base: SocketAddr,
        source: SocketAddr,
        message: &Message<'_>,
        integrity: &impl Integrity,
        now: Duration,
    ) -> Result<CheckAnswer, Refusal> {
        let at = self.find_open(base, source, message.id, false)?;
        self.verify(Password::Remote, message, integrity)?;
        let (base, source) = (Place::from(base), Place::from(source));
        let (sequence, asked_at) = self
            .take_open(at)
            .map_or((0, now), |check| (check.sequence, check.at));
        self.checks.answered = self.checks.answered.saturating_add(1);
        let is_success = message.class == Class::Success;
        let mut answer = CheckAnswer {
            sequence,
            asked_at,
            is_success,
            mapped: message.mapped.filter(|_| is_success),
            is_overtaken: false,
            replaced: None,
        };
        let report = answer.mapped.map(|mapped| Observation {
            base: base.into(),
            server: SocketAddr::from(source).into(),
            mapped,
            sequence,
        });
        let is_possible = report.is_none_or(|report| report.is_possible());
        self.impossible = self.impossible.saturating_add((!is_possible).into());
        let mapped = answer.mapped.filter(|_| is_possible).map(Place::from);
        let Some(pair) = self.pair_mut(base, source, true) else {
            self.lost_answers = self.lost_answers.saturating_add(mapped.is_some().into());
            return Ok(answer);
        };
        pair.answered = pair.answered.saturating_add(1);
        pair.last_answer = Some(now);
        if let Some(mapped) = mapped {
            match pair.mapped {
                Some((_, then)) if then > sequence => answer.is_overtaken = true,
                was => {
                    let other = was.filter(|(was, _)| *was != mapped);
                    answer.replaced = other.map(|(was, then)| (was.into(), then));
                    pair.mapped = Some((mapped, sequence));
                }
            }
        }
        self.rebindings = self
            .rebindings
            .saturating_add(answer.replaced.is_some().into());
        Ok(answer)
    }

    /// A response came in through a relay; the time at which the check left that it answers with
    /// success.
    ///
    /// # Errors
    /// [`Refusal`]: it does not count.
    pub fn relayed_answer_received(
        &mut self,
        base: SocketAddr,
        source: SocketAddr,
        message: &Message<'_>,
        integrity: &impl Integrity,
    ) -> Result<Option<Duration>, Refusal> {
        let at = self.find_open(base, source, message.id, true)?;
        self.verify(Password::Remote, message, integrity)?;
        let asked_at = self.take_open(at).map(|check| check.at);
        Ok(asked_at.filter(|_| message.class == Class::Success))
    }

    /// A check came in.
    ///
    /// # Errors
    /// [`Refusal`]: it does not count.
    pub fn check_received(
        &mut self,
        base: SocketAddr,
        source: SocketAddr,
        message: &Message<'_>,
        integrity: &impl Integrity,
    ) -> Result<Arrival, Refusal> {
        self.verify(Password::Local, message, integrity)?;
        // a signed check can be sent again by anyone, from anywhere
        if self.trust == Trust::Verified && !self.is_new(message.id) {
            return Err(Refusal::Replayed);
        }
        self.checks.received = self.checks.received.saturating_add(1);
        let (base, source) = (Place::from(base), Place::from(source));
        let solicited = match self.destinations.sent_before(source) {
            _ if self.trust != Trust::Verified => Err(MaySolicit::Certain),
            Ok(_) if self.is_joined_late => Err(MaySolicit::Possible),
            solicited => solicited,
        };
        match self.pair_mut(base, source, true) {
            Some(pair) => {
                pair.received = pair.received.saturating_add(1);
                pair.unsolicited = pair.unsolicited.max(solicited.as_ref().ok().copied());
            }
            None => {
                self.lost_arrivals = self.lost_arrivals.saturating_add(solicited.is_ok().into());
            }
        }
        Ok(Arrival {
            is_maybe_solicited: matches!(solicited, Err(MaySolicit::Possible)),
        })
    }

    /// A check came in through a relay, and so proves nothing about the NAT; whether its transaction is
    /// new.
    ///
    /// # Errors
    /// [`Refusal`]: it does not count.
    pub fn relayed_check_received(
        &mut self,
        message: &Message<'_>,
        integrity: &impl Integrity,
    ) -> Result<bool, Refusal> {
        self.verify(Password::Local, message, integrity)?;
        self.checks.relayed = self.checks.relayed.saturating_add(1);
        Ok(self.is_new(message.id))
    }

    /// Whether a message counts. The first that was verified puts an end to those that were only
    /// matched.
    fn verify(
        &mut self,
        password: Password,
        message: &Message<'_>,
        integrity: &impl Integrity,
    ) -> Result<(), Refusal> {
        let signed = message.signed().ok_or(Refusal::Unauthenticated)?;
        let username = message
            .username
            .filter(|_| matches!(password, Password::Local));
        match (self.trust, integrity.verify(password, username, &signed)) {
            (_, Verification::Forged) => return Err(Refusal::Unauthenticated),
            (Trust::Verified, Verification::Unknown) => return Err(Refusal::Unverified),
            (_, Verification::Unknown) => self.trust = Trust::Matched,
            (trust, Verification::Verified) => {
                self.trust = Trust::Verified;
                if trust == Trust::Matched {
                    self.begin_anew();
                }
            }
        }
        Ok(())
    }

    /// Forgets all but our own checks.
    fn begin_anew(&mut self) {
        self.rebindings = 0;
        self.checks = Checks {
            sent: self.checks.sent,
            ..Checks::default()
        };
        for pair in self.pairs.entries_mut() {
            *pair = pair.unheard();
        }
        (self.lost_answers, self.lost_arrivals, self.impossible) = (0, 0, 0);
    }

    /// Whether a check with this id was not read before, as far as ids are remembered.
    fn is_new(&mut self, id: TransactionId) -> bool {
        if self.replays.entries().contains(&id) {
            return false;
        }
        match self.replays.entries_mut().get_mut(self.next_replay) {
            Some(oldest) => *oldest = id,
            None => self.replays.insert(self.next_replay, id),
        }
        self.next_replay = (self.next_replay + 1) % MAX_REPLAYS;
        true
    }

    /// The evidence so far. [`trust`](Self::trust) is how far it can be trusted.
    #[must_use]
    pub fn evidence(&self) -> PeerEvidence {
        let mut evidence = PeerEvidence::new();
        for pair in self.pairs.entries() {
            if let Some((mapped, sequence)) = pair.mapped {
                evidence.observe(Observation {
                    base: pair.base.into(),
                    server: SocketAddr::from(pair.remote).into(),
                    mapped: mapped.into(),
                    sequence,
                });
            }
            if let Some(sent_before) = pair.unsolicited {
                evidence.record_unsolicited(UnsolicitedCheck {
                    base: pair.base.into(),
                    source: pair.remote.into(),
                    sent_before,
                });
            }
        }
        evidence.lose_answers(self.lost_answers, self.impossible);
        evidence.lose(self.lost_arrivals);
        evidence
    }

    /// How far the evidence and the checks can be trusted.
    #[must_use]
    pub const fn trust(&self) -> Trust {
        self.trust
    }

    /// The number of checks, as far as they are trusted.
    #[must_use]
    pub const fn checks(&self) -> Checks {
        self.checks
    }

    /// How often an address of the peer reported another mapping than before.
    #[must_use]
    pub const fn rebindings(&self) -> u32 {
        self.rebindings
    }

    /// Addresses sent to beyond [`MAX_DESTINATIONS`]: from the first on, no check counts as unsolicited.
    #[must_use]
    pub const fn lost_destinations(&self) -> u32 {
        self.destinations.lost
    }

    /// Every pair, by base, then the peer's address.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = CheckedPair> + '_ {
        self.pairs.entries().iter().map(|pair| CheckedPair {
            base: pair.base.into(),
            remote: pair.remote.into(),
            sent: pair.sent,
            answered: pair.answered,
            received: pair.received,
            mapped: pair.mapped.map(|(mapped, _)| mapped.into()),
            last_answer: pair.last_answer,
        })
    }

    fn find(&self, base: Place, remote: Place) -> Result<usize, usize> {
        let key = |pair: &Pair| (pair.base, pair.remote);
        self.pairs
            .entries()
            .binary_search_by_key(&(base, remote), key)
    }

    /// The entry of a pair, which is made where there is none; `None` if it has no room. Where there is
    /// none, a pair without a word of the peer makes room for one that the peer spoke on, and among
    /// those the greatest goes, so the evidence does not depend on the order of arrival.
    #[inline]
    fn pair_mut(&mut self, base: Place, remote: Place, is_heard: bool) -> Option<&mut Pair> {
        let at = match self.find(base, remote) {
            Ok(at) => at,
            Err(at) => self.make_pair(at, base, remote, is_heard)?,
        };
        self.pairs.entries_mut().get_mut(at)
    }

    /// Makes an entry, which belongs at `at`; returns its place.
    fn make_pair(
        &mut self,
        at: usize,
        base: Place,
        remote: Place,
        is_heard: bool,
    ) -> Option<usize> {
        let pairs = self.pairs.entries();
        if pairs.len() < MAX_PAIRS {
            self.pairs.insert(at, Pair::new(base, remote));
            return Some(at);
        }
        let silent = pairs.iter().rposition(|pair| !pair.is_heard());
        let last = pairs.last().map(|pair| (pair.base, pair.remote));
        let from = match silent {
            Some(silent) if is_heard => silent,
            None if is_heard && last > Some((base, remote)) => pairs.len() - 1,
            _ => return None,
        };
        let lost = pairs.get(from).copied().unwrap_or(Pair::BLANK);
        let count = |lost: bool, counter: &mut u32| *counter = counter.saturating_add(lost.into());
        count(lost.mapped.is_some(), &mut self.lost_answers);
        count(lost.unsolicited.is_some(), &mut self.lost_arrivals);
        self.pairs.remove(from);
        let at = if from < at { at - 1 } else { at };
        self.pairs.insert(at, Pair::new(base, remote));
        Some(at)
    }
}
