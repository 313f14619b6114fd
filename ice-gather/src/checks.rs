//! The peer's connectivity checks (RFC 8445 section 7), read in passing: no socket, no clock, no
//! datagram of its own.
//!
//! The agent sends and receives connectivity checks anyway. A [`PeerReader`] reads each of them,
//! verifies it, and keeps what it proves: the mapping that the peer's responses report, requests
//! that came in unsolicited, the longest quiet gap that the mapping outlived. Every table is bounded.
//! The tables grow to the few entries that a peer really needs, because room for the most there may
//! be would weigh more than the agent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nat_summary::{
    Checks, Observation, PeerChecks, PeerEvidence, SentBefore, TowardPeer, UnsolicitedCheck,
};
use ring::hmac;

use crate::common::{bump, canonical};
use crate::stun::{Header, TransactionId, authenticated, integrity_key, is_goodbye, mapped_in};

/// Requests whose answer may still come: two rounds of 32 candidates, twice.
const MAX_PENDING: usize = 128;
/// Addresses that were sent to: a cohort of 64 servers, and 32 candidates of the peer and as many
/// learnt, once over.
const MAX_DESTINATIONS: usize = 192;
/// Addresses of the peer from which requests came in and to which those sent are counted.
const MAX_SOURCES: usize = 8;
/// Ids of the peer's latest requests, by which a replay is known.
const MAX_REQUESTS: usize = 64;
/// A datagram is read a little after it arrived, and a heartbeat comes a little late: no more than
/// this in a process that runs.
const LAG: Duration = Duration::from_millis(250);

/// Types of Binding responses (RFC 8489 section 5).
const SUCCESS: [u8; 2] = [0x01, 0x01];
const ERROR: [u8; 2] = [0x01, 0x11];

/// Reads the connectivity checks of one base. [`Base`](crate::Base) has one for its
/// [`IceAgent`](crate::IceAgent); another agent can drive one by itself.
#[derive(Debug, Default)]
pub struct PeerReader {
    ours: Option<hmac::Key>,
    theirs: Option<hmac::Key>,
    /// Requests without an answer yet, the oldest first.
    pending: Vec<Pending>,
    sequence: u32,
    /// Addresses that were sent to, sorted.
    destinations: Vec<SocketAddr>,
    /// The ids of the latest requests, a ring.
    requests: Vec<TransactionId>,
    next_request: usize,
    /// The first addresses that requests came in from, and how many left for each since.
    sources: [Option<(SocketAddr, u32)>; MAX_SOURCES],
    evidence: PeerEvidence,
    checks: Checks,
    rebindings: u32,
    /// See [`PeerReader::distrust_port`].
    is_port_old: bool,
    /// The pair in use, once [`PeerReader::consent`] was called.
    pair: Option<(SocketAddr, SocketAddr)>,
    consent: Consent,
    last: Option<Instant>,
    heartbeat: Option<Heartbeat>,
    survived: Option<Duration>,
    dropped: PeerDropped,
}

/// A request of ours that waits for its answer.
#[derive(Debug, Clone, Copy)]
struct Pending {
    id: TransactionId,
    base: SocketAddr,
    target: SocketAddr,
    sequence: u32,
    /// Through a relay, where requests are not counted.
    is_relayed: bool,
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
pub(crate) struct RemoteKey(hmac::Key);

impl PeerReader {
    /// A reader without passwords: until it has them, it reads nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The port may have been another socket's a short while ago, and a NAT may still let in the
    /// destinations of that socket: no request counts as unsolicited.
    pub fn distrust_port(&mut self) {
        self.is_port_old = true;
    }

    /// Whether a packet of the peer came in.
    pub(crate) const fn has_heard(&self) -> bool {
        let Checks {
            answered,
            received,
            relayed,
            ..
        } = self.checks;
        answered > 0 || received > 0 || relayed > 0
    }

    pub(crate) const fn is_port_old(&self) -> bool {
        self.is_port_old
    }

    /// From now on requests that are signed with this password are for us (RFC 8445 section 7.3).
    pub fn set_local_password(&mut self, password: &str) {
        self.ours = Some(integrity_key(password));
    }

    /// From now on responses that are signed with this password are the peer's: an answer is signed
    /// with the password of the side that was asked (RFC 8489 section 9.1.4).
    pub fn set_remote_password(&mut self, password: &str) {
        self.replace_remote_password(password);
    }

    /// The same; returns the key that it replaces.
    pub(crate) fn replace_remote_password(&mut self, password: &str) -> Option<RemoteKey> {
        self.theirs.replace(integrity_key(password)).map(RemoteKey)
    }

    /// The key that was replaced is the peer's again.
    pub(crate) fn restore_remote_key(&mut self, before: Option<RemoteKey>) {
        self.theirs = before.map(|RemoteKey(key)| key);
    }

    /// This process is running; to be called every `period`.
    ///
    /// A process that was stopped reads late what came in time, and a gap would look longer than it
    /// was. While these calls come on time, the process stood still for no longer than `period`, and
    /// that much is taken off every gap. Without them no gap counts.
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
        let Err(at) = self.destinations.binary_search(&target) else {
            return;
        };
        if self.destinations.len() < MAX_DESTINATIONS {
            self.destinations.insert(at, target);
        } else {
            bump(&mut self.dropped.destinations);
        }
    }

    /// STUN of the agent goes out.
    pub fn on_sent(&mut self, base: SocketAddr, target: SocketAddr, header: Header, now: Instant) {
        self.on_other_sent(target, now);
        if !header.is_binding_request || self.ours.is_none() {
            return;
        }
        bump(&mut self.checks.sent);
        if let Some((_, sent)) = self
            .sources
            .iter_mut()
            .flatten()
            .find(|(source, _)| *source == target)
        {
            bump(sent);
            self.checks.sent_since_received = self.checks.sent_since_received.max(*sent);
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.await_answer(Pending {
            id: header.id,
            base,
            target,
            sequence: self.sequence,
            is_relayed: false,
        });
    }

    /// STUN of the agent did not leave after all, because the socket refused it: no route, for example.
    /// It counts as if it had never been sent.
    pub fn on_not_sent(&mut self, header: Header) {
        let Some(at) = self.pending.iter().position(|sent| sent.id == header.id) else {
            return;
        };
        let Pending {
            target, is_relayed, ..
        } = self.pending.remove(at);
        if is_relayed {
            return;
        }
        self.checks.sent = self.checks.sent.saturating_sub(1);
        let sources = self.sources.iter_mut().flatten();
        for (_, sent) in sources.filter(|(source, _)| *source == target) {
            *sent = sent.saturating_sub(1);
        }
        let counts = self.sources.iter().flatten().map(|(_, sent)| *sent);
        self.checks.sent_since_received = counts.max().unwrap_or(0);
    }

    /// STUN of the agent goes out through a relay, where its answer shows the peer's consent and
    /// nothing of the NAT.
    pub(crate) fn on_relayed_sent(&mut self, base: SocketAddr, target: SocketAddr, header: Header) {
        if header.is_binding_request {
            self.await_answer(Pending {
                id: header.id,
                base,
                target,
                sequence: self.sequence,
                is_relayed: true,
            });
        }
    }

    /// A request came in from here: from now on those sent to here count.
    fn note_source(&mut self, source: SocketAddr) {
        let is_here = |known: &Option<(SocketAddr, u32)>| known.is_none_or(|(at, _)| at == source);
        if let Some(place) = self.sources.iter_mut().find(|known| is_here(known)) {
            place.get_or_insert((source, 0));
        }
    }

    fn await_answer(&mut self, request: Pending) {
        self.consent.is_asked |= self.pair == Some((request.base, request.target));
        if self.pending.len() == MAX_PENDING {
            self.pending.remove(0);
        }
        self.pending.push(request);
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
        let (Some(key), Some(header)) = (&self.theirs, Header::peek(datagram)) else {
            return None;
        };
        let Some(at) = self.pending.iter().position(|sent| sent.id == header.id) else {
            bump(&mut self.dropped.unknown_id);
            return None;
        };
        let sent = self.pending[at];
        if (sent.target, sent.base) != (source, base) {
            bump(&mut self.dropped.wrong_source);
            return None;
        }
        let class = datagram
            .first_chunk::<2>()
            .filter(|class| [SUCCESS, ERROR].contains(*class));
        let Some((attributes, class)) = authenticated(datagram, key).zip(class) else {
            bump(&mut self.dropped.unauthenticated);
            return None;
        };
        let sequence = self.pending.remove(at).sequence;
        bump(&mut self.checks.answered);
        if *class == SUCCESS {
            self.note_consent(base, source);
        }
        // an error response is an answer, and reports no mapping
        let Some(mapped) = mapped_in(attributes, header.id).filter(|_| *class == SUCCESS) else {
            bump(&mut self.dropped.unreadable);
            return Some(None);
        };
        let is = Observation {
            base,
            server: source.into(),
            mapped: canonical(mapped),
            sequence,
        };
        let was = self
            .evidence
            .answers()
            .find(|known| (known.base, known.server) == (base, is.server));
        if was.is_some_and(|was| was.sequence > sequence) {
            bump(&mut self.dropped.reordered);
            return Some(None);
        }
        self.evidence.observe(is);
        let was = was.filter(|was| was.mapped != is.mapped && is.is_possible());
        Some(was.map(|was| {
            bump(&mut self.rebindings);
            Remapped { was, is }
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
        let (Some(key), Some(header)) = (&self.ours, Header::peek(datagram)) else {
            return false;
        };
        if authenticated(datagram, key).is_none() {
            bump(&mut self.dropped.unauthenticated);
            return false;
        }
        if !self.is_new(header.id) {
            bump(&mut self.dropped.replayed);
            return true;
        }
        bump(&mut self.checks.received);
        self.note_source(source);
        self.note_consent(base, source);
        match self.unsolicited(source) {
            Some(_) if self.is_port_old => bump(&mut self.dropped.maybe_solicited),
            Some(sent_before) => {
                self.evidence.record_unsolicited(UnsolicitedCheck {
                    base,
                    source,
                    sent_before,
                });
            }
            None => {}
        }
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
        let (Some(key), Some(header)) = (&self.ours, Header::peek(datagram)) else {
            return false;
        };
        if authenticated(datagram, key).is_none() {
            return false;
        }
        bump(&mut self.checks.relayed);
        if self.is_new(header.id) {
            self.note_consent(base, source);
        }
        true
    }

    /// A response came in through a relay; whether it answers a check. All it can show is the peer's
    /// consent.
    pub(crate) fn on_relayed_response(
        &mut self,
        base: SocketAddr,
        source: SocketAddr,
        datagram: &[u8],
    ) -> bool {
        let (Some(key), Some(header)) = (&self.theirs, Header::peek(datagram)) else {
            return false;
        };
        let is_answered =
            |sent: &Pending| (sent.id, sent.base, sent.target) == (header.id, base, source);
        let Some(at) = self.pending.iter().position(is_answered) else {
            return false;
        };
        let is_authentic = datagram.starts_with(&SUCCESS) && authenticated(datagram, key).is_some();
        if is_authentic {
            self.pending.remove(at);
            self.note_consent(base, source);
        }
        is_authentic
    }

    /// The peer's consent on the pair in use, counted from the first call for this pair: a message
    /// signed with its password, the least that consent to be sent to takes (RFC 7675 section 5.1).
    pub(crate) fn consent(&mut self, base: SocketAddr, target: SocketAddr) -> Consent {
        self.pair = Some((base, target));
        self.consent
    }

    fn note_consent(&mut self, base: SocketAddr, source: SocketAddr) {
        if self.pair == Some((base, source)) {
            self.consent = Consent {
                renewals: self.consent.renewals.wrapping_add(1),
                is_asked: false,
            };
        }
    }

    /// Whether a request with this id was not read before, as far as ids are remembered.
    fn is_new(&mut self, id: TransactionId) -> bool {
        if self.requests.contains(&id) {
            return false;
        }
        match self.requests.get_mut(self.next_request) {
            Some(oldest) => *oldest = id,
            None => self.requests.push(id),
        }
        self.next_request = (self.next_request + 1) % MAX_REQUESTS;
        true
    }

    /// Whether an indication is the goodbye of the peer: signed with our password.
    pub(crate) fn is_goodbye(&self, datagram: &[u8]) -> bool {
        self.ours
            .as_ref()
            .is_some_and(|key| is_goodbye(datagram, key))
    }

    /// Other STUN came in.
    pub fn on_other_received(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// The evidence so far.
    #[must_use]
    pub fn view(&self) -> PeerView {
        PeerView {
            evidence: self.evidence.clone(),
            checks: self.checks,
            rebindings: self.rebindings,
            survived: self.survived,
            dropped: self.dropped,
            held_back: 0,
        }
    }

    /// The number of rebindings so far.
    #[must_use]
    pub const fn rebindings(&self) -> u32 {
        self.rebindings
    }

    /// How a request from `source` is unsolicited; `None` if that address had been sent to, or if
    /// not all destinations are remembered.
    fn unsolicited(&self, source: SocketAddr) -> Option<SentBefore> {
        if self.dropped.destinations > 0 || self.destinations.binary_search(&source).is_ok() {
            return None;
        }
        let at = self
            .destinations
            .partition_point(|sent_to| sent_to.ip() < source.ip());
        let has_sent_to_ip = self
            .destinations
            .get(at)
            .is_some_and(|sent_to| sent_to.ip() == source.ip());
        Some(if has_sent_to_ip {
            SentBefore::OtherPort
        } else {
            SentBefore::Never
        })
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
        let mut reports = self.evidence.answers();
        reports.any(|o| o.base == base && o.server == source.into() && o.mapped.ip() != base.ip())
    }
}

impl Heartbeat {
    /// Whether `now` is no later than the next heartbeat should be.
    fn is_followed_at(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) <= self.period.saturating_add(LAG)
    }
}
