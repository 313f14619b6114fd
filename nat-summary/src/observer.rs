//! Evidence from the datagrams of any ICE stack, as its sockets send and receive them.
//!
//! An [`Observer`] is handed every datagram of a host's sockets. It reads the STUN among them and
//! keeps what they prove: which servers were asked and how that ended, the mappings they reported,
//! the peer's connectivity checks. It sends nothing and changes nothing, so it works under any stack,
//! and on a capture.
//!
//! ```
//! use core::time::Duration;
//! use nat_summary::Outcome;
//! use nat_summary::observer::Observer;
//!
//! let mut observer = Observer::new();
//! let (base, server) = ("192.168.1.5:50000".parse()?, "198.51.100.1:3478".parse()?);
//! let request = b"\x00\x01\x00\x00\x21\x12\xA4\x42a random id.";
//! let answer = b"\x01\x01\x00\x0c\x21\x12\xA4\x42a random id.\x00\x20\x00\x08\x00\x01\xe2\x42\xea\x12\xd5\x45";
//!
//! observer.sent(Duration::ZERO, base, server, request);
//! observer.received(Duration::from_millis(30), base, server, answer);
//!
//! let evidence = observer.evidence();
//! assert_eq!(evidence.servers(), [(server.into(), Outcome::Answered)]);
//! assert_eq!(evidence.summary().port_preserved(), Some(true));
//! # Ok::<(), core::net::AddrParseError>(())
//! ```
//!
//! **Time** is a `Duration` since any start, and never goes back: an earlier one counts as the latest.
//!
//! **Which answers count.** An answer counts if its transaction id, its source and its socket are those
//! of a request that was seen leaving. Everything else that comes in shows that UDP passes, no more.
//!
//! **Servers and peers** are known apart by their requests: a Binding request with a USERNAME of
//! short-term credentials is a connectivity check (RFC 8445 section 7.1.2), any other Binding request
//! and every Allocate request (RFC 8656 section 7.1) asks a server. Messages inside TURN are counted:
//! they did not cross the NAT as themselves.
//!
//! **Silence** is a time-out after two copies of a request that each waited for 1.5 s. Where some of
//! what came in is missing, call [`Observer::distrust_silence`].
//!
//! **Mappings of one time.** A NAT forgets an idle mapping. Where an answer differs from those of a
//! quarter of a minute ago, or a server reports another mapping than before, the older ones are
//! forgotten: two mappings of a cone are not compared.

mod integrity;
mod message;
mod open;
mod paths;
mod peer;
mod servers;
mod tables;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

pub use self::integrity::{Integrity, Password, Trust, Unverified, Verification};
pub use self::message::{
    Class, Header, Malformed, Message, Method, Signed, TransactionId, is_stun,
};
pub use self::paths::{MAX_PATHS, ObservedPath, Paths};
pub use self::peer::{
    Arrival, CheckAnswer, CheckedPair, MAX_DESTINATIONS, MAX_PAIRS, Peer, Refusal,
};
pub use self::servers::{AskedServer, IcmpError};
use self::servers::{Filed, Servers, Silence};
pub use self::tables::{Entry, Fixed, InPlace, Table, Tables};
use crate::evidence::{Endpoint, Evidence};
use crate::failure::Checks;
use crate::peer::PeerEvidence;
use crate::stage::{Above, Stage, StageReport};

/// Datagrams by kind, and those that were read and prove nothing, by reason.
///
/// ```
/// use nat_summary::observer::Observer;
///
/// let mut observer = Observer::new();
/// observer.received(core::time::Duration::ZERO, "192.168.1.5:50000".parse()?, "192.0.2.9:40000".parse()?, b"\x16DTLS");
/// assert_eq!(observer.counters().received_other, 1);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Counters {
    /// STUN that left.
    pub sent_stun: u32,
    /// STUN that came in.
    pub received_stun: u32,
    /// Other datagrams that left.
    pub sent_other: u32,
    /// Other datagrams that came in.
    pub received_other: u32,
    /// Of the other datagrams, those that begin like ChannelData of TURN (RFC 8656 section 12.4).
    pub channel_data: u32,
    /// Send and Data indications of TURN (RFC 8656 sections 11.1 and 11.4).
    pub relayed: u32,
    /// Datagrams that begin like STUN and are not.
    pub malformed: u32,
    /// Responses to no request that was seen leaving, or to one that was answered already.
    pub unknown_id: u32,
    /// Responses from another address than the one asked, or on another socket.
    pub wrong_source: u32,
    /// Checks and their answers without a signature, or with a wrong one.
    pub unauthenticated: u32,
    /// Checks and their answers that could not be verified, though others were.
    pub unverified: u32,
    /// Verified checks whose transaction was read before.
    pub replayed: u32,
    /// Verified checks whose source may have been sent to before.
    pub maybe_solicited: u32,
    /// ICMP errors.
    pub icmp: u32,
    /// Servers that reported another mapping than before.
    pub remapped: u32,
    /// Addresses of the peer that reported another mapping than before.
    pub rebindings: u32,
}

/// Reads the datagrams of the sockets of one host. See the [module](self).
///
/// ```
/// use nat_summary::observer::Observer;
/// assert_eq!(Observer::new().evidence().summary().to_string(), "unknown, nothing observed");
/// ```
///
/// Its size is fixed, less than 50 KiB, and it takes nothing from the heap: keep it in a `Box`. Each table
/// holds a number of entries that no honest host needs; a flood makes a verdict more careful.
#[derive(Debug, Clone)]
pub struct Observer<I = Unverified> {
    integrity: I,
    now: Duration,
    is_over: bool,
    is_silence_doubtful: bool,
    /// Requests sent so far, of every socket and kind: a symmetric NAT makes mappings for all.
    sequence: u32,
    /// Datagrams that came in and are no answers of servers.
    signs_of_life: u32,
    servers: Servers,
    peer: Peer,
    paths: Paths,
    counters: Counters,
}

impl Default for Observer {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer {
    /// An observer without passwords: answers of a peer are matched, not verified.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_integrity(Unverified)
    }
}

impl<I: Integrity> Observer<I> {
    /// An observer that has the peer's messages verified.
    #[must_use]
    pub const fn with_integrity(integrity: I) -> Self {
        Self {
            integrity,
            now: Duration::ZERO,
            is_over: false,
            is_silence_doubtful: false,
            sequence: 0,
            signs_of_life: 0,
            servers: Servers::new(),
            peer: Peer::new(),
            paths: Paths::new(),
            counters: Counters {
                sent_stun: 0,
                received_stun: 0,
                sent_other: 0,
                received_other: 0,
                channel_data: 0,
                relayed: 0,
                malformed: 0,
                unknown_id: 0,
                wrong_source: 0,
                unauthenticated: 0,
                unverified: 0,
                replayed: 0,
                maybe_solicited: 0,
                icmp: 0,
                remapped: 0,
                rebindings: 0,
            },
        }
    }

    /// The verifier, for passwords that become known later.
    pub const fn integrity_mut(&mut self) -> &mut I {
        &mut self.integrity
    }

    /// An address of the host, beside those that its requests leave from.
    pub fn add_local(&mut self, ip: IpAddr) {
        self.servers.add_local(ip);
    }

    /// The sockets are older than this observer, or their ports were another socket's: packets may have
    /// passed before the first that is handed in. From now on no check counts as unsolicited, and no
    /// order of ports is concluded.
    pub const fn join_late(&mut self) {
        self.peer.join_late();
        self.servers.is_joined_late = true;
    }

    /// Not everything that came in is handed in, as in a capture of one direction: no silence is a
    /// time-out.
    pub const fn distrust_silence(&mut self) {
        self.is_silence_doubtful = true;
    }

    /// A datagram left from the socket at `local`. Call it once the socket took the datagram. A
    /// socket that is bound to the wildcard address may be named by the address that the datagram leaves
    /// from, where the caller knows it.
    #[inline]
    pub fn sent(&mut self, now: Duration, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) {
        self.advance(now);
        if is_stun(datagram) {
            self.stun_sent(local, remote, datagram);
        } else {
            bump(&mut self.counters.sent_other);
            self.count_channel(datagram);
            self.peer.note_other(remote);
            // most sockets have no checks, and their datagrams end here
            if self.peer.has_pairs() {
                self.watch_sent(local, remote, datagram);
            }
        }
    }

    /// A datagram came in on the socket at `local`. `local` is named as in [`sent`](Self::sent).
    #[inline]
    pub fn received(
        &mut self,
        now: Duration,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
    ) {
        self.advance(now);
        if is_stun(datagram) {
            self.stun_received(local, remote, datagram);
        } else {
            bump(&mut self.counters.received_other);
            bump(&mut self.signs_of_life);
            self.count_channel(datagram);
            if self.peer.has_pairs() {
                self.watch_received(local, remote, datagram);
            }
        }
    }

    /// An ICMP error about a datagram from `local` to `remote` came back. `reporter` is the address that
    /// sent the error, if it is known: a server's own error shows that UDP gets there.
    pub fn unreachable(
        &mut self,
        now: Duration,
        local: SocketAddr,
        remote: SocketAddr,
        error: IcmpError,
        reporter: Option<IpAddr>,
    ) {
        self.advance(now);
        bump(&mut self.counters.icmp);
        if reporter.is_some_and(|ip| ip.to_canonical() == remote.ip().to_canonical()) {
            bump(&mut self.signs_of_life);
        }
        self.servers.unreachable(local.into(), remote.into(), error);
    }

    /// Nothing else passed until `now`: what waits for an answer has waited until then.
    #[inline]
    pub fn advance(&mut self, now: Duration) {
        if self.now < now {
            self.now = now;
        }
    }

    #[inline(never)]
    fn watch_sent(&mut self, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) {
        let peer = &self.peer;
        let is_checked = || peer.has_pair(local, remote);
        self.paths
            .sent(self.now, local, remote, datagram, is_checked);
    }

    #[inline(never)]
    fn watch_received(&mut self, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) {
        let peer = &self.peer;
        let is_checked = || peer.has_pair(local, remote);
        self.paths
            .received(self.now, local, remote, datagram, is_checked);
    }

    /// Nothing more will be handed in, as at the end of a capture: requests that wait are given up,
    /// unless their silence was long enough until then.
    pub const fn end(&mut self) {
        self.is_over = true;
    }

    /// The evidence of the servers so far.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let mut evidence = self.servers.evidence(self.silence());
        if self.signs_of_life > 0 {
            evidence.add_sign_of_life();
        }
        evidence
    }

    /// Every server asked, by base, then server; at most
    /// [`MAX_OBSERVATIONS`](crate::MAX_OBSERVATIONS).
    pub fn servers(&self) -> impl Iterator<Item = AskedServer> + '_ {
        self.servers.servers(self.silence())
    }

    /// The evidence of the peer's checks so far. [`trust`](Self::trust) is how far it can be trusted.
    #[must_use]
    pub fn peer_evidence(&self) -> PeerEvidence {
        self.peer.evidence()
    }

    /// How far the peer's evidence and checks can be trusted.
    #[must_use]
    pub const fn trust(&self) -> Trust {
        self.peer.trust()
    }

    /// The number of checks, as far as they are trusted.
    #[must_use]
    pub const fn checks(&self) -> Checks {
        self.peer.checks()
    }

    /// The pairs of addresses with checks between them, by base, then the peer's address; at most
    /// [`MAX_PAIRS`].
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = CheckedPair> + '_ {
        self.peer.pairs()
    }

    /// The pairs of addresses that carry more than checks, in the order of their beginnings; at most
    /// [`MAX_PATHS`].
    pub fn paths(&self) -> impl Iterator<Item = ObservedPath<'_>> {
        self.paths.iter()
    }

    /// How far the attempt came until now, and what stopped it, by the pair in use: see
    /// [`Paths::in_use`]. `above` holds what the layers above know, such as the role of this side in
    /// DTLS. There is no verdict where datagrams may have passed unseen.
    ///
    /// ```
    /// use nat_summary::observer::Observer;
    /// use nat_summary::stage::{Above, Stage};
    /// assert_eq!(Observer::new().stage(&Above::default()).stage, Stage::Unknown);
    /// ```
    #[must_use]
    pub fn stage(&self, above: &Above) -> StageReport {
        let Some(report) = self.paths.stage(self.now, above) else {
            return StageReport::of(if self.peer.checks().sent > 0 {
                Stage::Checks
            } else {
                Stage::Unknown
            });
        };
        if self.is_silence_doubtful || self.servers.is_joined_late {
            return report.without_verdict();
        }
        report
    }

    /// The time of the last datagram, or until which nothing passed.
    #[must_use]
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// The number of datagrams by kind, and of those that prove nothing.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        Counters {
            remapped: self.servers.remapped,
            rebindings: self.peer.rebindings(),
            ..self.counters
        }
    }

    const fn silence(&self) -> Silence {
        Silence {
            now: self.now,
            is_over: self.is_over,
            is_doubtful: self.is_silence_doubtful,
        }
    }

    #[inline]
    fn count_channel(&mut self, datagram: &[u8]) {
        if matches!(datagram, [64..=79, ..]) {
            bump(&mut self.counters.channel_data);
        }
    }

    fn stun_sent(&mut self, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) {
        bump(&mut self.counters.sent_stun);
        self.peer.note_destination(remote);
        let Ok(message) = Message::read(datagram) else {
            bump(&mut self.counters.malformed);
            return;
        };
        if message.class == Class::Request {
            self.sequence = self.sequence.saturating_add(1);
        }
        match (message.class, message.method) {
            _ if message.is_check() => {
                let (id, sequence, now) = (message.id, self.sequence, self.now);
                if self.peer.check_sent(local, remote, id, sequence, now) {
                    self.paths.check_sent(local, remote, now);
                }
            }
            (Class::Request, Method::Binding | Method::Allocate) => {
                let silence = self.silence();
                let (base, server) = (Endpoint::from(local), Endpoint::from(remote));
                self.servers
                    .ask(base, server, &message, self.sequence, silence);
            }
            (Class::Indication, Method::Send) => bump(&mut self.counters.relayed),
            _ => {}
        }
    }

    fn stun_received(&mut self, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) {
        bump(&mut self.counters.received_stun);
        let Ok(message) = Message::read(datagram) else {
            bump(&mut self.counters.malformed);
            bump(&mut self.signs_of_life);
            return;
        };
        let answers = matches!(message.method, Method::Binding | Method::Allocate);
        if message.is_response() && answers {
            self.response_received(local, remote, &message);
            return;
        }
        bump(&mut self.signs_of_life);
        if message.is_check() {
            let trust = self.peer.trust();
            let filed = self
                .peer
                .check_received(local, remote, &message, &self.integrity);
            self.keep_trusted(trust);
            match filed {
                Ok(arrival) => {
                    if !self.paths.is_empty() {
                        self.paths.heard(local, remote, self.now);
                    }
                    if arrival.is_maybe_solicited {
                        bump(&mut self.counters.maybe_solicited);
                    }
                }
                Err(refusal) => self.count(refusal),
            }
        } else if message.method == Method::Data {
            bump(&mut self.counters.relayed);
        }
    }

    fn response_received(&mut self, local: SocketAddr, remote: SocketAddr, message: &Message<'_>) {
        let (base, source) = (Endpoint::from(local), Endpoint::from(remote));
        let by_servers = self.servers.answer(base, source, message, self.now);
        if by_servers == Filed::Answer {
            return;
        }
        bump(&mut self.signs_of_life);
        let by_peer = if message.method == Method::Binding {
            let trust = self.peer.trust();
            let filed =
                self.peer
                    .answer_received(local, remote, message, &self.integrity, self.now);
            self.keep_trusted(trust);
            if let Ok(answer) = &filed {
                self.paths
                    .answered(local, remote, answer.asked_at, self.now);
            }
            filed.err()
        } else {
            Some(Refusal::UnknownId)
        };
        match (by_servers, by_peer) {
            (Filed::WrongSource, Some(Refusal::UnknownId)) => self.count(Refusal::WrongSource),
            (_, Some(refusal)) => self.count(refusal),
            (_, None) => {}
        }
    }

    /// The first message that was verified puts an end to those that were only matched.
    fn keep_trusted(&mut self, before: Trust) {
        if (before, self.peer.trust()) == (Trust::Matched, Trust::Verified) {
            self.paths.forget_checks();
        }
    }

    fn count(&mut self, refusal: Refusal) {
        bump(match refusal {
            Refusal::WrongSource => &mut self.counters.wrong_source,
            Refusal::UnknownId => &mut self.counters.unknown_id,
            Refusal::Unauthenticated => &mut self.counters.unauthenticated,
            Refusal::Unverified => &mut self.counters.unverified,
            Refusal::Replayed => &mut self.counters.replayed,
        });
    }
}

/// Counts one more, and stays at the greatest number.
#[inline]
const fn bump(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}
