//! What was observed, and nothing else: counts and sets, no verdict.

use core::net::{IpAddr, SocketAddr};

use crate::candidate::{Candidate, CandidateKind, Transport};
use crate::scope::Scope;
use crate::summary::NatSummary;

/// Most observations kept. What is beyond is counted in [`Discarded::overflow`].
pub const MAX_OBSERVATIONS: usize = 64;
/// Most servers kept apart. What is beyond is counted in [`Discarded::overflow`].
pub const MAX_SERVERS: usize = 64;
/// Most local addresses kept. What is beyond is counted in [`Discarded::overflow`].
pub const MAX_LOCALS: usize = 16;

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerId {
    /// A server at this address and port.
    Address(IpAddr, u16),
    /// A server known by name only, such as one that never resolved: a hash of its name, and its port.
    Name(u64, u16),
    /// A server nobody named: each reflexive candidate of a bare list counts as its own.
    Anonymous(u16),
}

impl ServerId {
    /// The server `host` on `port`: by address if `host` is one, else by name. Case does not matter.
    #[must_use]
    pub fn named(host: &str, port: u16) -> Self {
        host.parse::<IpAddr>().map_or_else(
            |_| {
                // FNV-1a: a collision merges two servers, which can only make a verdict more careful
                let hash = host.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                    (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
                });
                Self::Name(hash, port)
            },
            |ip| Self::Address(ip.to_canonical(), port),
        )
    }

    /// Whether `self` and `other` are one server *address*, whatever the port.
    #[must_use]
    pub fn is_same_address(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address(a, _), Self::Address(b, _)) => a == b,
            (Self::Name(a, _), Self::Name(b, _)) => a == b,
            (Self::Anonymous(a), Self::Anonymous(b)) => a == b,
            _ => false,
        }
    }
}

impl From<SocketAddr> for ServerId {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address.ip().to_canonical(), address.port())
    }
}

/// How a request to a server ended. The order is that of strength: where a server is reported twice, the stronger stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Outcome {
    /// Asked, not ended yet.
    Pending,
    /// Its name did not resolve.
    Unresolved,
    /// It could not be reached: no route, a local error, or an ICMP message.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// It answered with an error (RFC 8489 section 6.3.4): UDP passes, the mapping stays unknown.
    Refused,
    /// It answered with a mapped address.
    Answered,
}

/// One answered Binding request: the local socket it left from, the address it was sent to and answered from, and the
/// XOR-MAPPED-ADDRESS of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observation {
    /// The local socket (RFC 8445 "base"). Port 0 where it is hidden: then it is comparable with nothing.
    pub base: SocketAddr,
    /// Who answered.
    pub server: ServerId,
    /// XOR-MAPPED-ADDRESS.
    pub mapped: SocketAddr,
    /// Place in the order of sending. If one server is asked twice from one base, the higher one stands.
    pub sequence: u32,
}

impl Observation {
    /// Whether a NAT can have mapped anything to `mapped`: not if it is unspecified, multicast, broadcast, or has port 0.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        is_possible(self.mapped.into())
    }
}

/// What became of a fact that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Admission {
    /// Kept.
    Kept,
    /// Known already, or older than what is known.
    Superseded,
    /// Dropped and counted: no mapped address can look like this.
    Impossible,
    /// Dropped and counted: there is no room left.
    Overflow,
}

/// Facts that were dropped, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Discarded {
    /// Mapped addresses that are unspecified, multicast, broadcast, or have port 0.
    pub impossible: u32,
    /// Candidates that are not UDP.
    pub not_udp: u32,
    /// Reflexive candidates whose address is a name, or that carry no base at all.
    pub unreadable: u32,
    /// Facts beyond [`MAX_OBSERVATIONS`], [`MAX_SERVERS`] or [`MAX_LOCALS`].
    pub overflow: u32,
}

/// An address and a port, in one canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { ip: address.ip().to_canonical(), port: address.port() }
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint.ip, endpoint.port)
    }
}

/// An observation as it is kept, ordered by base, then server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) base: Endpoint,
    pub(crate) server: ServerId,
    pub(crate) mapped: Endpoint,
    pub(crate) sequence: u32,
}

impl Seen {
    fn key(&self) -> (Endpoint, ServerId) {
        (self.base, self.server)
    }

    fn recency(&self) -> (u32, Endpoint) {
        (self.sequence, self.mapped)
    }
}

/// Sorted facts in a fixed number of places. Beyond them the greatest keys go, so that what is kept does not depend on
/// the order of arrival.
#[derive(Debug, Clone, Copy)]
struct Sorted<T, const N: usize> {
    items: [T; N],
    len: usize,
}

impl<T: Copy, const N: usize> Sorted<T, N> {
    const fn new(filler: T) -> Self {
        Self { items: [filler; N], len: 0 }
    }

    fn as_slice(&self) -> &[T] {
        self.items.get(..self.len).unwrap_or(&[])
    }

    /// Inserts at `at`, moving what is behind; true if something (`item` itself, perhaps) fell off the end.
    fn insert(&mut self, at: usize, item: T) -> bool {
        let full = self.len == N;
        if !full {
            self.len += 1;
        }
        if let Some(tail) = self.items.get_mut(at..self.len)
            && let Some(last) = tail.len().checked_sub(1)
        {
            tail.copy_within(..last, 1);
            tail[0] = item;
        }
        full
    }
}

/// What a bare candidate list said, besides its reflexive candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ListFacts {
    /// UDP host candidates with a known address that is not global.
    pub(crate) local_hosts: u16,
    /// UDP host candidates that are global, or hidden behind a name and so perhaps global: a stack drops a reflexive
    /// candidate equal to one of them.
    pub(crate) maybe_global_hosts: u16,
    /// Other UDP candidates that show traffic passing: peer-reflexive, relayed, or reflexive but unusable.
    pub(crate) signs_of_life: u16,
}

/// What was observed: servers asked and how each ended, observations, local addresses.
///
/// Facts come in one at a time and in any order, the size is fixed, and [`summary`](Self::summary) may be asked at any
/// moment.
#[derive(Debug, Clone)]
pub struct Evidence {
    seen: Sorted<Seen, MAX_OBSERVATIONS>,
    servers: Sorted<(ServerId, Outcome), MAX_SERVERS>,
    locals: Sorted<IpAddr, MAX_LOCALS>,
    list: Option<ListFacts>,
    discarded: Discarded,
}

impl Default for Evidence {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Evidence {
    fn eq(&self, other: &Self) -> bool {
        self.observed() == other.observed()
            && self.servers() == other.servers()
            && self.locals() == other.locals()
            && self.list == other.list
            && self.discarded == other.discarded
    }
}

impl Eq for Evidence {}

const NOWHERE: Endpoint = Endpoint { ip: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), port: 0 };

impl Evidence {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        let nobody = ServerId::Anonymous(0);
        Self {
            seen: Sorted::new(Seen { base: NOWHERE, server: nobody, mapped: NOWHERE, sequence: 0 }),
            servers: Sorted::new((nobody, Outcome::Pending)),
            locals: Sorted::new(NOWHERE.ip),
            list: None,
            discarded: Discarded { impossible: 0, not_udp: 0, unreadable: 0, overflow: 0 },
        }
    }

    /// A local address: a host candidate's, or an interface's. Unspecified addresses say nothing and are ignored.
    pub fn local(&mut self, ip: IpAddr) -> Admission {
        let ip = ip.to_canonical();
        if ip.is_unspecified() {
            return Admission::Impossible;
        }
        match self.locals.as_slice().binary_search(&ip) {
            Ok(_) => Admission::Superseded,
            Err(at) => {
                let overflowed = self.locals.insert(at, ip);
                self.admission(overflowed)
            }
        }
    }

    /// A server was asked, and this is how it ended so far.
    pub fn asked(&mut self, server: ServerId, outcome: Outcome) -> Admission {
        match self.servers.as_slice().binary_search_by_key(&server, |(id, _)| *id) {
            Ok(at) => match self.servers.items.get_mut(at) {
                Some((_, known)) if *known < outcome => {
                    *known = outcome;
                    Admission::Kept
                }
                _ => Admission::Superseded,
            },
            Err(at) => {
                let overflowed = self.servers.insert(at, (server, outcome));
                self.admission(overflowed)
            }
        }
    }

    /// A server answered. Counts as [`asked`](Self::asked) with [`Outcome::Answered`], even where the mapped address is
    /// impossible and dropped.
    pub fn observe(&mut self, observation: Observation) -> Admission {
        let server = match observation.server {
            ServerId::Address(ip, port) => ServerId::Address(ip.to_canonical(), port),
            other => other,
        };
        self.asked(server, Outcome::Answered);
        let seen = Seen {
            base: observation.base.into(),
            server,
            mapped: observation.mapped.into(),
            sequence: observation.sequence,
        };
        self.see(seen)
    }

    fn see(&mut self, seen: Seen) -> Admission {
        if !is_possible(seen.mapped) {
            self.discarded.impossible = self.discarded.impossible.saturating_add(1);
            return Admission::Impossible;
        }
        match self.seen.as_slice().binary_search_by_key(&seen.key(), Seen::key) {
            Ok(at) => match self.seen.items.get_mut(at) {
                Some(known) if known.recency() < seen.recency() => {
                    *known = seen;
                    Admission::Kept
                }
                _ => Admission::Superseded,
            },
            Err(at) => {
                let overflowed = self.seen.insert(at, seen);
                self.admission(overflowed)
            }
        }
    }

    fn admission(&mut self, overflowed: bool) -> Admission {
        if overflowed {
            self.discarded.overflow = self.discarded.overflow.saturating_add(1);
            Admission::Overflow
        } else {
            Admission::Kept
        }
    }

    /// What a bare candidate list tells. It names no servers, so each reflexive candidate counts as its own server
    /// address.
    #[must_use]
    pub fn from_candidates<'a>(candidates: impl IntoIterator<Item = Candidate<'a>>) -> Self {
        let mut evidence = Self::new();
        let mut list = ListFacts::default();
        for candidate in candidates {
            evidence.list_candidate(&candidate, &mut list);
        }
        evidence.list = Some(list);
        evidence
    }

    fn list_candidate(&mut self, candidate: &Candidate<'_>, list: &mut ListFacts) {
        if candidate.transport != Transport::Udp {
            self.discarded.not_udp = self.discarded.not_udp.saturating_add(1);
            return;
        }
        match candidate.kind {
            CandidateKind::Host => {
                let hosts = match candidate.address.ip() {
                    Some(ip) if !Scope::of(ip).is_global() => &mut list.local_hosts,
                    _ => &mut list.maybe_global_hosts,
                };
                *hosts = hosts.saturating_add(1);
                if let Some(ip) = candidate.address.ip() {
                    self.local(ip);
                }
            }
            CandidateKind::ServerReflexive => {
                let (Some(mapped), Some(base)) = (candidate.socket_addr(), candidate.base()) else {
                    self.discarded.unreadable = self.discarded.unreadable.saturating_add(1);
                    list.signs_of_life = list.signs_of_life.saturating_add(1);
                    return;
                };
                if !is_possible(mapped.into()) {
                    list.signs_of_life = list.signs_of_life.saturating_add(1);
                }
                self.see_anonymously(base.into(), mapped.into());
            }
            CandidateKind::PeerReflexive | CandidateKind::Relayed | CandidateKind::Unknown => {
                list.signs_of_life = list.signs_of_life.saturating_add(1);
            }
        }
    }

    /// Numbers of anonymous servers follow the mapped address within a base, so that the order of a list never matters.
    fn see_anonymously(&mut self, base: Endpoint, mapped: Endpoint) {
        if !is_possible(mapped) {
            self.discarded.impossible = self.discarded.impossible.saturating_add(1);
            return;
        }
        let seen = self.seen.as_slice();
        let at = seen.partition_point(|s| (s.base, s.mapped) <= (base, mapped));
        let overflowed = self.seen.insert(at, Seen { base, server: ServerId::Anonymous(0), mapped, sequence: 0 });
        self.admission(overflowed);
        let len = self.seen.len;
        for (number, seen) in (0..).zip(self.seen.items.iter_mut().take(len)) {
            seen.server = ServerId::Anonymous(number);
        }
    }

    /// The verdict on what is known so far.
    #[must_use]
    pub fn summary(&self) -> NatSummary {
        crate::classify::summarize(self)
    }

    /// Every observation kept, by base, then server.
    pub fn observations(&self) -> impl ExactSizeIterator<Item = Observation> + '_ {
        self.observed().iter().map(|seen| Observation {
            base: seen.base.into(),
            server: seen.server,
            mapped: seen.mapped.into(),
            sequence: seen.sequence,
        })
    }

    /// Every server asked and how it ended, in the order of [`ServerId`].
    #[must_use]
    pub fn servers(&self) -> &[(ServerId, Outcome)] {
        self.servers.as_slice()
    }

    /// Every local address, sorted.
    #[must_use]
    pub fn locals(&self) -> &[IpAddr] {
        self.locals.as_slice()
    }

    /// What was dropped.
    #[must_use]
    pub const fn discarded(&self) -> Discarded {
        self.discarded
    }

    pub(crate) fn observed(&self) -> &[Seen] {
        self.seen.as_slice()
    }

    pub(crate) const fn list(&self) -> Option<ListFacts> {
        self.list
    }
}

/// Whether a NAT can have mapped anything to `mapped`.
fn is_possible(mapped: Endpoint) -> bool {
    let broadcast = IpAddr::V4(core::net::Ipv4Addr::BROADCAST);
    !(mapped.port == 0 || mapped.ip.is_unspecified() || mapped.ip.is_multicast() || mapped.ip == broadcast)
}
