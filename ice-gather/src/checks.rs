//! The peer's connectivity checks (RFC 8445 section 7), read in passing: no socket, no clock, no
//! datagram of its own.
//!
//! The agent sends and receives connectivity checks anyway. A [`PeerReader`] hands each of them to the
//! observer's [`Peer`], which verifies it and keeps what it proves: the mapping that the peer's
//! responses report, and requests that came in unsolicited. The reader adds what only an agent can
//! know: the peer's consent, and the longest quiet gap that the mapping outlived. Every table is
//! bounded, and grows to the few entries that a peer really needs, because room for the most there may
//! be would weigh more than the agent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nat_summary::observer::{
    Class, Entry, Header, Message, Method, Password, Paths, Peer, Refusal, Table, Tables,
};
use nat_summary::stage::{Above, CheckLog, StageReport};
use nat_summary::{Checks, Observation, PeerChecks, PeerEvidence, TowardPeer};

use crate::common::bump;
use crate::stun::{Passwords, is_goodbye};

/// A datagram is read a little after it arrived, and a heartbeat comes a little late: no more than
/// this in a process that runs.
const LAG: Duration = Duration::from_millis(250);

/// Reads the connectivity checks of one base. [`Base`](crate::Base) has one for its
/// [`IceAgent`](crate::IceAgent); another agent can drive one by itself.
#[derive(Debug, Default)]
pub struct PeerReader {
    passwords: Passwords,
    peer: Peer<OnHeap>,
    sequence: u32,
    /// The pair in use, once [`PeerReader::consent`] was called.
    pair: Option<(SocketAddr, SocketAddr)>,
    consent: Consent,
    /// The checks of that pair, and since when their times count.
    log: CheckLog,
    origin: Option<Instant>,
    /// All pairs, where they are followed.
    paths: Option<Box<Paths>>,
    has_left: bool,
    last: Option<Instant>,
    heartbeat: Option<Heartbeat>,
    survived: Option<Duration>,
    dropped: PeerDropped,
}

/// Tables of the observer on the heap, which grow with the number of checks that they hold.
#[derive(Debug, Clone)]
struct OnHeap;

/// One such table.
#[derive(Debug, Clone)]
struct Grown<T>(Vec<T>);

impl Tables for OnHeap {
    type Of<T: Entry, const MOST: usize> = Grown<T>;
}

impl<T> Table<T> for Grown<T> {
    const EMPTY: Self = Self(Vec::new());

    fn entries(&self) -> &[T] {
        &self.0
    }

    fn entries_mut(&mut self) -> &mut [T] {
        &mut self.0
    }

    fn insert(&mut self, at: usize, entry: T) {
        // most have one entry or two, and a vector begins with four
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(self.0.len().max(1));
        }
        self.0.insert(at.min(self.0.len()), entry);
    }

    fn remove(&mut self, at: usize) {
        if at < self.0.len() {
            self.0.remove(at);
        }
    }
}

/// See [`PeerReader::heartbeat`].
#[derive(Debug, Clone, Copy)]
struct Heartbeat {
    at: Instant,
    period: Duration,
    /// Whether it came on time after the one before.
    is_on_time: bool,
}

/// Checks that were read and prove nothing, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PeerDropped {
    /// Responses to no request that was sent, or to one that was answered already.
    pub unknown_id: u32,
    /// Responses from another address or port than the one asked, or on another base.
    pub wrong_source: u32,
    /// Requests whose integrity check failed, and responses whose integrity check failed or that
    /// answer no Binding request.
    pub unauthenticated: u32,
    /// Authenticated responses without a mapped address that can be read.
    pub unreadable: u32,
    /// Requests whose transaction was read before.
    pub replayed: u32,
    /// Responses that were overtaken by the answer to a later request.
    pub reordered: u32,
    /// Requests from addresses that this socket had not sent to, on a port from which an earlier
    /// socket may have: see [`BindConfig::ports`](crate::BindConfig::ports).
    pub maybe_solicited: u32,
    /// Addresses sent to beyond those remembered: from then on no request counts as unsolicited.
    pub destinations: u32,
}

/// Whether the peer consents to be sent to on the pair in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Consent {
    /// How often it has been renewed.
    pub(crate) renewals: u32,
    /// Whether a check of ours has left since the last renewal.
    pub(crate) is_asked: bool,
}

/// The checks of the pair in use, for the verdict on what stopped an attempt
/// ([`nat_summary::stage::judge`]).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct PairChecks {
    /// Since when the times in the log count.
    pub origin: Instant,
    /// The checks.
    pub log: CheckLog,
    /// The peer has left, by a goodbye that it signed.
    pub has_left: bool,
}

/// A change of the mapping toward an address of the peer, as the peer reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remapped {
    /// As it was reported before.
    pub was: Observation,
    /// As it is reported now.
    pub is: Observation,
}

/// A rebinding of the mapping toward the peer, against what was advertised. It holds no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebinding {
    /// The number of rebindings so far, this one included.
    pub number: u32,
    /// The verdict on the mapping before.
    pub was: TowardPeer,
    /// The verdict on the mapping now. Both may be [`TowardPeer::Changed`], each another mapping.
    pub is: TowardPeer,
}

/// The evidence of the peer's checks so far.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerView {
    /// What the checks prove about the NAT: [`PeerEvidence::summary`] judges it beside the base's
    /// own evidence.
    pub evidence: PeerEvidence,
    /// The number of checks.
    pub checks: Checks,
    /// How often the mapping toward an address of the peer changed.
    pub rebindings: u32,
    /// The longest time without a packet either way that the mapping outlived, shown by a check of
    /// the peer that came in after it, before anything was sent: a lower bound of its idle
    /// lifetime (RFC 4787 section 4.3). A time in which this process may have stood still does not
    /// count: see [`PeerReader::heartbeat`].
    pub survived: Option<Duration>,
    /// The checks that prove nothing.
    pub dropped: PeerDropped,
    /// Packets toward addresses that never answered, and candidates, that were held back because the
    /// peer signalled too many: [`Dropped::unanswered`](crate::Dropped::unanswered) and
    /// [`Dropped::remote_candidates`](crate::Dropped::remote_candidates) together.
    pub held_back: u32,
}

impl PeerView {
    /// The part that the judge reads: see [`AttemptEvidence`](nat_summary::AttemptEvidence).
    #[must_use]
    pub const fn as_checks(&self) -> PeerChecks<'_> {
        PeerChecks {
            evidence: &self.evidence,
            checks: self.checks,
            rebindings: self.rebindings,
            survived: self.survived,
        }
    }
}

/// The key that the peer's answers are signed with.
#[cfg_attr(
    not(feature = "webrtc"),
    expect(dead_code, reason = "a peer connection alone restores it")
)]
pub(crate) struct RemoteKey(ring::hmac::Key);

impl PeerReader {
    /// A reader without passwords: until it has them, it reads nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The port may have been another socket's a short while ago, and a NAT may still let in the
    /// destinations of that socket: no request counts as unsolicited.
    pub fn distrust_port(&mut self) {
        self.peer.join_late();
    }

    /// Whether a packet of the peer came in.
    pub(crate) const fn has_heard(&self) -> bool {
        let Checks {
            answered,
            received,
            relayed,
            ..
        } = self.peer.checks();
        answered > 0 || received > 0 || relayed > 0
    }

    /// From now on requests that are signed with this password are for us (RFC 8445 section 7.3).
    pub fn set_local_password(&mut self, password: &str) {
        self.passwords.set_local(password);
    }

    /// From now on responses that are signed with this password are the peer's: an answer is signed
    /// with the password of the side that was asked (RFC 8489 section 9.1.4).
    pub fn set_remote_password(&mut self, password: &str) {
        self.replace_remote_password(password);
    }

    /// The same; returns the key that it replaces.
    pub(crate) fn replace_remote_password(&mut self, password: &str) -> Option<RemoteKey> {
        self.passwords.replace_remote(password).map(RemoteKey)
    }

    /// The key that was replaced is the peer's again.
    #[cfg(feature = "webrtc")]
    pub(crate) fn restore_remote_key(&mut self, before: Option<RemoteKey>) {
        self.passwords
            .restore_remote(before.map(|RemoteKey(key)| key));
    }

    /// Reports that this process is running. Call it every `period`, because no quiet gap is
    /// measured without these calls.
    ///
    /// A stopped process reads datagrams late, so a gap would look longer than it was. While these
    /// calls come on time, the process stood still for at most `period`. Every gap is shortened by
    /// that time, because a reported gap must be a lower bound.
    pub fn heartbeat(&mut self, now: Instant, period: Duration) {
        let is_on_time = self
            .heartbeat
            .is_some_and(|before| before.is_followed_at(now));
        self.heartbeat = Some(Heartbeat {
            at: now,
            period,
            is_on_time,
        });
    }

    /// A packet goes out to `target`: requests from there are no longer unsolicited.
    pub fn on_other_sent(&mut self, target: SocketAddr, now: Instant) {
        self.last = Some(now);
        self.peer.note_destination(target);
    }

    /// STUN of the agent goes out.
    pub fn on_sent(&mut self, base: SocketAddr, target: SocketAddr, header: Header, now: Instant) {
        self.on_other_sent(target, now);
        if !header.is_binding_request() || !self.passwords.knows(Password::Local) {
            return;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let since = self.since_origin(now);
        self.peer
            .check_sent(base, target, header.id, self.sequence, since);
        self.note_asked(base, target, since);
    }

    /// STUN of the agent did not leave after all, because the socket refused it: no route, for example.
    /// It counts as if it had never been sent.
    pub fn on_not_sent(&mut self, header: Header) {
        self.peer.check_not_sent(header.id);
    }

    /// STUN of the agent goes out through a relay, where its answer shows the peer's consent and
    /// nothing of the NAT.
    pub(crate) fn on_relayed_sent(
        &mut self,
        base: SocketAddr,
        target: SocketAddr,
        header: Header,
        now: Instant,
    ) {
        if header.is_binding_request() {
            let since = self.since_origin(now);
            self.peer.relayed_check_sent(base, target, header.id, since);
            self.note_asked(base, target, since);
        }
    }

    fn note_asked(&mut self, base: SocketAddr, target: SocketAddr, sent: Duration) {
        if let Some(paths) = &mut self.paths {
            paths.check_sent(base, target, sent);
        }
        if self.pair == Some((base, target)) {
            self.consent.is_asked = true;
            self.log.sent(sent);
        }
    }

    /// A response came in that answers no STUN transaction of the base itself. Returns the change if
    /// it reports another mapping than before.
    pub fn on_response(
        &mut self,
        base: SocketAddr,
        source: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Option<Remapped> {
        self.read_response(base, source, datagram, now).flatten()
    }

    /// As [`on_response`](Self::on_response); `None` if the response answers no check.
    pub(crate) fn read_response(
        &mut self,
        base: SocketAddr,
        source: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Option<Option<Remapped>> {
        self.last = Some(now);
        if !self.passwords.knows(Password::Remote) {
            return None;
        }
        let Some(message) = read(datagram).filter(is_binding_response) else {
            bump(&mut self.dropped.unauthenticated);
            return None;
        };
        let now = self.since_origin(now);
        let filed = self
            .peer
            .answer_received(base, source, &message, &self.passwords, now);
        let answer = match filed {
            Ok(answer) => answer,
            Err(refusal) => {
                self.count(refusal);
                return None;
            }
        };
        if answer.is_success {
            self.note_answer(base, source, answer.asked_at, now);
        }
        let Some(mapped) = answer.mapped else {
            bump(&mut self.dropped.unreadable);
            return Some(None);
        };
        if answer.is_overtaken {
            bump(&mut self.dropped.reordered);
        }
        let report = |mapped, sequence| Observation {
            base,
            server: source.into(),
            mapped,
            sequence,
        };
        Some(answer.replaced.map(|(was, then)| Remapped {
            was: report(was, then),
            is: report(mapped, answer.sequence),
        }))
    }

    /// A Binding request came in; whether it is authentic. `quiet` if nothing but STUN has moved on
    /// the base since the last call of any kind.
    pub fn on_request(
        &mut self,
        base: SocketAddr,
        source: SocketAddr,
        datagram: &[u8],
        quiet: bool,
        now: Instant,
    ) -> bool {
        let last = self.last.replace(now).filter(|_| quiet);
        if !self.passwords.knows(Password::Local) {
            return false;
        }
        let Some(message) = read(datagram).filter(is_binding_request) else {
            bump(&mut self.dropped.unauthenticated);
            return false;
        };
        let filed = self
            .peer
            .check_received(base, source, &message, &self.passwords);
        match filed {
            Ok(arrival) if arrival.is_maybe_solicited => bump(&mut self.dropped.maybe_solicited),
            Ok(_) => {}
            Err(refusal) => {
                self.count(refusal);
                return refusal == Refusal::Replayed;
            }
        }
        self.note_request(base, source, now);
        if let Some(gap) = last.and_then(|last| self.gap(last, now))
            && self.crosses_nat(base, source)
        {
            self.survived = self.survived.max(Some(gap));
        }
        true
    }

    /// A Binding request came in through a relay, and so proves nothing about the NAT; whether it is
    /// authentic.
    pub fn on_relayed_request(
        &mut self,
        base: SocketAddr,
        source: SocketAddr,
        datagram: &[u8],
    ) -> bool {
        let Some(message) = read(datagram).filter(is_binding_request) else {
            return false;
        };
        if !self.passwords.knows(Password::Local) {
            return false;
        }
        let filed = self.peer.relayed_check_received(&message, &self.passwords);
        if filed == Ok(true) {
            self.note_consent(base, source);
        }
        filed.is_ok()
    }

    /// A response came in through a relay; whether it answers a check. All it can show is the peer's
    /// consent.
    pub(crate) fn on_relayed_response(
        &mut self,
        base: SocketAddr,
        source: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> bool {
        let Some(message) = read(datagram).filter(is_binding_response) else {
            return false;
        };
        if !self.passwords.knows(Password::Remote) {
            return false;
        }
        let now = self.since_origin(now);
        let filed = self
            .peer
            .relayed_answer_received(base, source, &message, &self.passwords);
        let Ok(Some(asked_at)) = filed else {
            return false;
        };
        self.note_answer(base, source, asked_at, now);
        true
    }

    fn count(&mut self, refusal: Refusal) {
        let dropped = &mut self.dropped;
        bump(match refusal {
            Refusal::WrongSource => &mut dropped.wrong_source,
            Refusal::UnknownId => &mut dropped.unknown_id,
            Refusal::Replayed => &mut dropped.replayed,
            _ => &mut dropped.unauthenticated,
        });
    }

    /// The peer's consent on the pair in use, counted from the first call for this pair: a message
    /// signed with its password, the least that consent to be sent to takes (RFC 7675 section 5.1).
    pub(crate) fn consent(&mut self, base: SocketAddr, target: SocketAddr) -> Consent {
        if self.pair != Some((base, target)) {
            self.log = CheckLog::new();
        }
        self.pair = Some((base, target));
        self.consent
    }

    /// From now on every pair that works is followed, for [`stage`](Self::stage). Hand in each datagram
    /// beside STUN: [`on_datagram_sent`](Self::on_datagram_sent),
    /// [`on_datagram_received`](Self::on_datagram_received).
    pub fn follow_paths(&mut self) {
        self.paths.get_or_insert_default();
    }

    /// A datagram that is not STUN left.
    pub fn on_datagram_sent(
        &mut self,
        base: SocketAddr,
        target: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) {
        let now = self.since_origin(now);
        if let Some(paths) = &mut self.paths {
            let is_checked = || self.peer.has_pair(base, target);
            paths.sent(now, base, target, datagram, is_checked);
        }
    }

    /// A datagram that is not STUN came in. That of an address without checks counts for nothing.
    pub fn on_datagram_received(
        &mut self,
        base: SocketAddr,
        source: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) {
        let now = self.since_origin(now);
        if let Some(paths) = &mut self.paths {
            let is_checked = || self.peer.has_pair(base, source);
            paths.received(now, base, source, datagram, is_checked);
        }
    }

    /// How far the pair in use came until `now`, and what stopped it; `None` before a pair worked, and
    /// where pairs are not followed.
    #[must_use]
    pub fn stage(&self, now: Instant, above: &Above) -> Option<StageReport> {
        let now = now.saturating_duration_since(self.origin?);
        self.paths.as_ref()?.stage(now, above)
    }

    /// The checks of the pair in use so far; none before the first check of any pair.
    pub(crate) fn pair_checks(&self) -> Option<PairChecks> {
        Some(PairChecks {
            origin: self.origin?,
            log: self.log,
            has_left: self.has_left,
        })
    }

    fn since_origin(&mut self, now: Instant) -> Duration {
        let origin = *self.origin.get_or_insert(now);
        now.saturating_duration_since(origin)
    }

    /// A check of ours was answered.
    fn note_answer(&mut self, base: SocketAddr, source: SocketAddr, sent: Duration, now: Duration) {
        if let Some(paths) = &mut self.paths {
            paths.answered(base, source, sent, now);
        }
        if self.pair == Some((base, source)) {
            self.log.answered(sent, now);
        }
        self.note_consent(base, source);
    }

    /// A check of the peer came in.
    fn note_request(&mut self, base: SocketAddr, source: SocketAddr, now: Instant) {
        let now = self.since_origin(now);
        if let Some(paths) = &mut self.paths {
            paths.heard(base, source, now);
        }
        if self.pair == Some((base, source)) {
            self.log.heard(now);
        }
        self.note_consent(base, source);
    }

    fn note_consent(&mut self, base: SocketAddr, source: SocketAddr) {
        if self.pair == Some((base, source)) {
            self.consent = Consent {
                renewals: self.consent.renewals.wrapping_add(1),
                is_asked: false,
            };
        }
    }

    /// Whether an indication is the goodbye of the peer: signed with our password.
    pub(crate) fn is_goodbye(&self, datagram: &[u8]) -> bool {
        is_goodbye(datagram, &self.passwords)
    }

    /// The goodbye of the peer came in.
    pub(crate) const fn note_left(&mut self) {
        self.has_left = true;
    }

    /// Other STUN came in.
    pub fn on_other_received(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// The evidence so far.
    #[must_use]
    pub fn view(&self) -> PeerView {
        PeerView {
            evidence: self.peer.evidence(),
            checks: self.peer.checks(),
            rebindings: self.peer.rebindings(),
            survived: self.survived,
            dropped: PeerDropped {
                destinations: self.peer.lost_destinations(),
                ..self.dropped
            },
            held_back: 0,
        }
    }

    /// The number of rebindings so far.
    #[must_use]
    pub const fn rebindings(&self) -> u32 {
        self.peer.rebindings()
    }

    /// How long nothing came in for certain, if a request is read `now`. A request that waited to be
    /// read while the process stood still came since one of the last two heartbeats, because both
    /// were on time.
    fn gap(&self, last: Instant, now: Instant) -> Option<Duration> {
        let beat = self
            .heartbeat
            .filter(|beat| beat.is_on_time && beat.is_followed_at(now))?;
        now.saturating_duration_since(last)
            .checked_sub(beat.period.saturating_add(LAG))
    }

    /// Whether `source` itself reported `base` under another address. The address of a wildcard base
    /// toward it is not known.
    fn crosses_nat(&self, base: SocketAddr, source: SocketAddr) -> bool {
        if base.ip().is_unspecified() {
            return false;
        }
        let mut pairs = self.peer.pairs();
        pairs.any(|pair| {
            let is_other = |mapped: SocketAddr| mapped.ip() != base.ip();
            (pair.base, pair.remote) == (base, source) && pair.mapped.is_some_and(is_other)
        })
    }
}

impl Heartbeat {
    /// Whether `now` is no later than the next heartbeat should be.
    fn is_followed_at(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) <= self.period.saturating_add(LAG)
    }
}

fn read(datagram: &[u8]) -> Option<Message<'_>> {
    Message::read(datagram).ok()
}

fn is_binding_request(message: &Message<'_>) -> bool {
    (message.class, message.method) == (Class::Request, Method::Binding)
}

fn is_binding_response(message: &Message<'_>) -> bool {
    message.is_response() && message.method == Method::Binding
}
