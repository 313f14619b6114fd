//! What the peer's checks show in passing (RFC 8445 section 7): no socket, no clock, no datagram of
//! its own.
//!
//! The agent sends and receives connectivity checks anyway. A [`PeerReader`] is told of each,
//! verifies it, and keeps what it proves: the mapping that the peer's responses report, requests
//! that came in uninvited, how long a quiet gap the mapping outlived. Everything it keeps is
//! bounded. Its tables grow to what a peer really needs, which is a few entries: room for the most
//! there may be would weigh more than the agent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nat_summary::{Checks, Observation, PeerEvidence, SentBefore, TowardPeer, UnsolicitedCheck};
use ring::hmac;

use crate::common::{bump, canonical};
use crate::stun::{Header, TransactionId, authenticated, integrity_key, mapped_in};

/// Checks whose answer may still come: two rounds of 32 candidates, twice.
const MAX_ASKED: usize = 128;
/// Addresses that were sent to: a cohort of 64 servers, and 32 candidates of the peer and as many
/// learnt, once over.
const MAX_CONTACTS: usize = 192;
/// Ids of the peer's latest requests, to know a replay by.
const MAX_REQUESTS: usize = 64;
/// A datagram is read a little after it arrived, and a beat comes a little late: no more than this
/// in a process that runs.
const LAG: Duration = Duration::from_millis(250);

/// Types of Binding responses (RFC 8489 section 5).
const SUCCESS: [u8; 2] = [0x01, 0x01];
const ERROR: [u8; 2] = [0x01, 0x11];

/// Reads the connectivity checks of one base. Public for whoever drives an agent of his own, and
/// for fuzzing.
#[derive(Debug, Default)]
pub struct PeerReader {
    ours: Option<hmac::Key>,
    theirs: Option<hmac::Key>,
    /// Those without an answer yet, the oldest first.
    asked: Vec<Asked>,
    sequence: u32,
    /// Sorted.
    contacts: Vec<SocketAddr>,
    /// The ids of the latest requests, a ring.
    requests: Vec<TransactionId>,
    next_request: usize,
    evidence: PeerEvidence,
    checks: Checks,
    rebindings: u32,
    /// See [`PeerReader::distrust_port`].
    is_port_old: bool,
    /// The pair in use, once somebody asks for consent.
    pair: Option<(SocketAddr, SocketAddr)>,
    consent: Consent,
    last: Option<Instant>,
    beat: Option<Beat>,
    survived: Option<Duration>,
    dropped: PeerDropped,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    id: TransactionId,
    base: SocketAddr,
    target: SocketAddr,
    sequence: u32,
}

/// See [`PeerReader::beat`].
#[derive(Debug, Clone, Copy)]
struct Beat {
    at: Instant,
    period: Duration,
    /// And the one before was not long ago either.
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
    /// Requests whose integrity check failed, and responses of which that is true or that are none
    /// of a Binding request.
    pub unauthenticated: u32,
    /// Authenticated responses without a mapped address that can be read.
    pub unreadable: u32,
    /// Requests whose transaction was read before.
    pub replayed: u32,
    /// Responses that were overtaken by the answer to a later request.
    pub reordered: u32,
    /// Requests from where nothing had been sent to, on a port that may have sent there in an
    /// earlier life: see [`BindConfig::ports`](crate::BindConfig::ports).
    pub maybe_invited: u32,
    /// Addresses sent to beyond those remembered: from then on nothing that comes in is called
    /// uninvited.
    pub contacts: u32,
}

/// Whether the peer consents to be sent to on the pair in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Consent {
    /// How often it has.
    pub(crate) times: u32,
    /// A check of ours has left since.
    pub(crate) is_asked: bool,
}

/// The mapping toward an address of the peer changed, by the peer's word.
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
    /// How many there have been, this one included.
    pub number: u32,
    /// The verdict on the mapping before.
    pub was: TowardPeer,
    /// The verdict on the one now. Both may be [`TowardPeer::Changed`], each another mapping.
    pub is: TowardPeer,
}

/// What the peer's checks have shown so far.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerView {
    /// What they prove of the NAT: [`PeerEvidence::summary`] judges it beside the base's own
    /// evidence.
    pub evidence: PeerEvidence,
    /// How many there were.
    pub checks: Checks,
    /// How often the mapping toward an address of the peer changed.
    pub rebindings: u32,
    /// The longest time without a packet either way that the mapping outlived, shown by a check of
    /// the peer that came in after it, before anything was sent: a lower bound of its idle
    /// lifetime (RFC 4787 section 4.3). Nothing is claimed of a time in which this process may
    /// have stood still: see [`PeerReader::beat`].
    pub survived: Option<Duration>,
    /// Checks that prove nothing.
    pub dropped: PeerDropped,
}

impl PeerReader {
    /// Nothing read yet, and nobody to authenticate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The port may have been another socket's a short while ago, and a NAT may still let in whom
    /// that one sent to: what comes in is never called uninvited.
    pub fn distrust_port(&mut self) {
        self.is_port_old = true;
    }

    pub(crate) const fn is_port_old(&self) -> bool {
        self.is_port_old
    }

    /// From now on requests that carry this password are for us (RFC 8445 section 7.3).
    pub fn serve(&mut self, password: &str) {
        self.ours = Some(integrity_key(password));
    }

    /// From now on responses that carry this password are the peer's: an answer is signed with the
    /// password of the side that was asked (RFC 8489 section 9.1.4).
    pub fn expect(&mut self, password: &str) {
        self.theirs = Some(integrity_key(password));
    }

    /// The clockwork of this process is running; to be told every `period`. A process that was
    /// stopped reads late what came in time, and a gap would look longer than it was. By the
    /// beats nobody stopped it for longer than `period` without its being noticed, so that much
    /// is taken off every gap; without them none counts.
    pub fn beat(&mut self, now: Instant, period: Duration) {
        let is_on_time = self.beat.is_some_and(|before| before.is_followed_at(now));
        self.beat = Some(Beat {
            at: now,
            period,
            is_on_time,
        });
    }

    /// A packet goes out to `target`: what comes from there is no longer uninvited.
    pub fn contact(&mut self, target: SocketAddr, now: Instant) {
        self.last = Some(now);
        let Err(at) = self.contacts.binary_search(&target) else {
            return;
        };
        if self.contacts.len() < MAX_CONTACTS {
            self.contacts.insert(at, target);
        } else {
            bump(&mut self.dropped.contacts);
        }
    }

    /// STUN of the agent goes out.
    pub fn on_sent(&mut self, base: SocketAddr, target: SocketAddr, header: Header, now: Instant) {
        self.contact(target, now);
        if !header.is_binding_request || self.ours.is_none() {
            return;
        }
        bump(&mut self.checks.sent);
        if self.checks.received > 0 {
            bump(&mut self.checks.sent_since_received);
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.ask(Asked {
            id: header.id,
            base,
            target,
            sequence: self.sequence,
        });
    }

    /// STUN of the agent goes out by way of a relay. Only consent to the pair in use is asked for
    /// there.
    pub(crate) fn on_relayed_sent(&mut self, base: SocketAddr, target: SocketAddr, header: Header) {
        if header.is_binding_request && self.pair == Some((base, target)) {
            self.ask(Asked {
                id: header.id,
                base,
                target,
                sequence: self.sequence,
            });
        }
    }

    fn ask(&mut self, asked: Asked) {
        self.consent.is_asked |= self.pair == Some((asked.base, asked.target));
        if self.asked.len() == MAX_ASKED {
            self.asked.remove(0);
        }
        self.asked.push(asked);
    }

    /// A response came in that answers no STUN transaction of the base itself. What it says of a
    /// mapping that said otherwise before, if it does.
    pub fn on_response(
        &mut self,
        base: SocketAddr,
        source: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Option<Remapped> {
        self.last = Some(now);
        let (Some(key), Some(header)) = (&self.theirs, Header::peek(datagram)) else {
            return None;
        };
        let Some(at) = self.asked.iter().position(|asked| asked.id == header.id) else {
            bump(&mut self.dropped.unknown_id);
            return None;
        };
        let asked = self.asked[at];
        if (asked.target, asked.base) != (source, base) {
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
        let sequence = self.asked.remove(at).sequence;
        bump(&mut self.checks.answered);
        if *class == SUCCESS {
            self.note_consent(base, source);
        }
        // an error is an answer, and says nothing of a mapping
        let Some(mapped) = mapped_in(attributes, header.id).filter(|_| *class == SUCCESS) else {
            bump(&mut self.dropped.unreadable);
            return None;
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
            return None;
        }
        self.evidence.observe(is);
        let was = was.filter(|was| was.mapped != is.mapped && is.is_possible())?;
        bump(&mut self.rebindings);
        Some(Remapped { was, is })
    }

    /// A Binding request came in; whether it is authentic. `quiet`: nothing but STUN has moved on
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
        self.note_consent(base, source);
        match self.news_of(source) {
            Some(_) if self.is_port_old => bump(&mut self.dropped.maybe_invited),
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

    /// A Binding request came in by way of a relay, and so says nothing of the NAT; whether it is
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

    /// A response came in by way of a relay. All it can show is the peer's consent.
    pub(crate) fn on_relayed_response(
        &mut self,
        base: SocketAddr,
        source: SocketAddr,
        datagram: &[u8],
    ) {
        let (Some(key), Some(header)) = (&self.theirs, Header::peek(datagram)) else {
            return;
        };
        let is_it =
            |asked: &Asked| (asked.id, asked.base, asked.target) == (header.id, base, source);
        let Some(at) = self.asked.iter().position(is_it) else {
            return;
        };
        if datagram.starts_with(&SUCCESS) && authenticated(datagram, key).is_some() {
            self.asked.remove(at);
            self.note_consent(base, source);
        }
    }

    /// What the peer has shown on the pair in use, since this was first asked about it: that it is
    /// there and knows its password, the least that consent to be sent to takes (RFC 7675
    /// section 5.1).
    pub(crate) fn consent(&mut self, base: SocketAddr, target: SocketAddr) -> Consent {
        self.pair = Some((base, target));
        self.consent
    }

    fn note_consent(&mut self, base: SocketAddr, source: SocketAddr) {
        if self.pair == Some((base, source)) {
            self.consent = Consent {
                times: self.consent.times.wrapping_add(1),
                is_asked: false,
            };
        }
    }

    /// Whether a request of this id was not read before, as far as that is remembered.
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

    /// Other STUN came in.
    pub fn touch(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// What was read so far.
    #[must_use]
    pub fn view(&self) -> PeerView {
        PeerView {
            evidence: self.evidence.clone(),
            checks: self.checks,
            rebindings: self.rebindings,
            survived: self.survived,
            dropped: self.dropped,
        }
    }

    /// How many rebindings there were.
    #[must_use]
    pub const fn rebindings(&self) -> u32 {
        self.rebindings
    }

    /// Who at `source` had not been sent to; `None` if it had, or if not all of them are
    /// remembered.
    fn news_of(&self, source: SocketAddr) -> Option<SentBefore> {
        if self.dropped.contacts > 0 || self.contacts.binary_search(&source).is_ok() {
            return None;
        }
        let at = self
            .contacts
            .partition_point(|contact| contact.ip() < source.ip());
        let knows = self
            .contacts
            .get(at)
            .is_some_and(|contact| contact.ip() == source.ip());
        Some(if knows {
            SentBefore::OtherPort
        } else {
            SentBefore::Never
        })
    }

    /// How long nothing came in for certain, by what is read `now`. If it waited to be read while
    /// the process stood still, that was since one of the last two beats, for they were on
    /// time.
    fn gap(&self, last: Instant, now: Instant) -> Option<Duration> {
        let beat = self
            .beat
            .filter(|beat| beat.is_on_time && beat.is_followed_at(now))?;
        now.saturating_duration_since(last)
            .checked_sub(beat.period.saturating_add(LAG))
    }

    /// Whether `source` itself reported that it sees `base` as something else. Which address a
    /// wildcard base has toward it is not known.
    fn crosses_nat(&self, base: SocketAddr, source: SocketAddr) -> bool {
        if base.ip().is_unspecified() {
            return false;
        }
        let mut reports = self.evidence.answers();
        reports.any(|o| o.base == base && o.server == source.into() && o.mapped.ip() != base.ip())
    }
}

impl Beat {
    /// Whether what comes now comes no later than the next beat should.
    fn is_followed_at(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) <= self.period.saturating_add(LAG)
    }
}
