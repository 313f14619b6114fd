//! Whether answers that are still missing can change a verdict.

use core::net::{IpAddr, SocketAddr};

use crate::behaviour::Mapping;
use crate::classify::summarize;
use crate::evidence::{Endpoint, Evidence, Ip, MAX_OBSERVATIONS, Observation, Outcome, Seen};
use crate::scope::Scope;
use crate::server::ServerId;
use crate::summary::BaseVerdict;

/// A Binding request without an answer so far.
///
/// ```
/// use nat_summary::{Evidence, Outstanding, PendingRequest, ServerId};
///
/// let server = ServerId::named("198.51.100.1", 3478);
/// let missing = PendingRequest { base: "192.168.1.5:50000".parse()?, server };
/// assert_eq!(Evidence::new().outstanding([missing]), Outstanding::Deciding);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PendingRequest {
    /// The local socket it left from, or will leave from.
    pub base: SocketAddr,
    /// The server it is for.
    pub server: ServerId,
}

/// What the answers that are still missing can change of a verdict. A gathering ends early by it.
///
/// ```
/// use nat_summary::{Evidence, Observation, Outstanding, PendingRequest, ServerId};
///
/// let base = "192.168.1.5:50000".parse()?;
/// let server = |host: u8| ServerId::Address([198, 51, 100, host].into(), 3478);
/// let seen = |host: u8, port| Observation { base, server: server(host), mapped: ([203, 0, 113, 7], port).into(), sequence: 0 };
/// let missing = [PendingRequest { base, server: server(3) }];
///
/// let mut evidence = Evidence::new();
/// evidence.observe(seen(1, 50_000));
/// assert_eq!(evidence.outstanding(missing), Outstanding::Deciding, "one server proves nothing");
/// let mut same = evidence.clone();
/// same.observe(seen(2, 50_000));
/// assert_eq!(same.outstanding(missing), Outstanding::Confirming);
/// evidence.observe(seen(2, 50_001));
/// assert_eq!(evidence.outstanding(missing), Outstanding::Settled);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outstanding {
    /// None of the six values that go out (the type, the mapping, the filtering, whether there is a NAT,
    /// whether ports are kept, the external address): the mapping depends on the destination, it was
    /// seen from the outermost place, and its base stays the primary one whatever is answered. No NAT
    /// of RFC 4787 section 4.1 takes that back. An answer that contradicts the others still can, as one
    /// of a server that lies: then nothing is decided. And where all answers so far saw one address, most
    /// of the others may see another one, behind a NAT that draws it anew for each mapping.
    Settled,
    /// Two server addresses saw one base from the outermost place, the fewest that can prove anything.
    /// A missing answer may differ from theirs, or make another base the primary one.
    Confirming,
    /// The verdict: fewer than two server addresses were heard from the outermost place that a missing
    /// answer may come from.
    Deciding,
}

impl Evidence {
    /// What the answers that are still missing can change of [`summary`](Self::summary). A name still
    /// being looked up stands for one or more requests on each base that may ask it.
    ///
    /// A server inside a NAT answers first, and knows nothing of what lies further out. So nothing
    /// that was seen from further in than a missing answer may be seen from counts. Servers are at any
    /// place that their address does not exclude: an address of the link or the host itself is there,
    /// and a private one may be behind any of the NATs.
    ///
    /// ```
    /// use nat_summary::{Evidence, Observation, Outstanding, PendingRequest, ServerId};
    ///
    /// let base = "192.168.1.5:50000".parse()?;
    /// let mut evidence = Evidence::new();
    /// for host in [1, 2] {
    ///     let server = ServerId::Address([192, 168, 1, host].into(), 3478);
    ///     evidence.observe(Observation { base, server, mapped: base, sequence: 0 });
    /// }
    /// let outside = PendingRequest { base, server: ServerId::named("198.51.100.1", 3478) };
    /// assert_eq!(evidence.outstanding([outside]), Outstanding::Deciding);
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn outstanding(
        &self,
        missing: impl IntoIterator<Item = PendingRequest, IntoIter: Clone>,
    ) -> Outstanding {
        let missing = missing.into_iter();
        if missing.clone().next().is_none() {
            return Outstanding::Settled;
        }
        // an address at which a server was asked is no address of this host
        let mut asked = self.clone();
        for request in missing.clone() {
            asked.record_outcome(request.server, Outcome::Pending);
        }
        let outstanding = asked.outstanding_of_asked(missing);
        let set_aside = |evidence: &Self| summarize(evidence).counts().set_aside;
        match outstanding {
            Outstanding::Settled if set_aside(&asked) != set_aside(self) => Outstanding::Confirming,
            outstanding => outstanding,
        }
    }

    /// The same, where each of these requests is known to have been sent.
    fn outstanding_of_asked(
        &self,
        missing: impl Iterator<Item = PendingRequest> + Clone,
    ) -> Outstanding {
        let summary = summarize(self);
        // an answer that has no room may be any
        let has_room = self.observed().len() + missing.clone().count() <= MAX_OBSERVATIONS;
        let may_be_outside = missing
            .clone()
            .any(|request| may_be_outside(request.server));
        // a server inside cannot know the global address that it reports
        let is_outermost = |verdict: &BaseVerdict| {
            let is_from_outside = || {
                verdict.external_scope().is_global() && self.behind(verdict).any(is_from_outside)
            };
            !may_be_outside || is_from_outside()
        };
        // a name may lead to any address: one more port of a server, or the address that was seen
        let is_named = missing.clone().any(|request| is_named(request.server));
        let is_settled = |primary: &BaseVerdict| {
            !is_named
                && primary.mapping.is_dependent()
                && primary.port_preserved == Some(false)
                && has_room
                && is_outermost(primary)
                && !self.kind_is_open(primary, missing.clone())
                && !self.external_is_open(primary, missing.clone())
                && self.speaks_for_good(primary, missing.clone())
        };
        if summary.primary_base().is_some_and(is_settled) {
            Outstanding::Settled
        } else if summary
            .bases()
            .any(|verdict| is_outermost(verdict) && self.is_quorum(verdict))
        {
            Outstanding::Confirming
        } else {
            Outstanding::Deciding
        }
    }

    /// Whether two server addresses are behind this verdict. Two names may be one.
    fn is_quorum(&self, verdict: &BaseVerdict) -> bool {
        let mut first = None;
        self.behind(verdict).any(|seen| match seen.server {
            ServerId::Address(..) => !first
                .get_or_insert(seen.server)
                .is_same_address(&seen.server),
            _ => false,
        })
    }

    /// Whether a missing answer may show more exactly how the mapping depends on the destination, as
    /// another port of one server address does.
    fn kind_is_open(
        &self,
        primary: &BaseVerdict,
        missing: impl Iterator<Item = PendingRequest> + Clone,
    ) -> bool {
        let of_base =
            |request: &PendingRequest| Endpoint::from(request.base) == Endpoint::from(primary.base);
        let missing = missing.filter(of_base).map(|request| request.server);
        let is_other_port =
            |a: ServerId, b: ServerId| !is_named(a) && a.is_same_address(&b) && a != b;
        // a socket of both families goes two ways to IPv4
        let base = primary.base.ip();
        let has_two_ways = base.is_unspecified() && base.is_ipv6() && primary.external.is_ipv4();
        // one more known address makes a server without one count for less, or more
        if has_two_ways || self.behind(primary).any(|seen| is_named(seen.server)) {
            return missing.clone().next().is_some();
        }
        primary.mapping == Mapping::Dependent
            && missing.clone().any(|a| {
                missing.clone().any(|b| is_other_port(a, b))
                    || self.behind(primary).any(|b| is_other_port(a, b.server))
            })
    }

    /// Whether missing answers may make another external address the one that most servers saw, where more
    /// than one was seen already. One address so far is taken for the only one.
    fn external_is_open(
        &self,
        primary: &BaseVerdict,
        missing: impl Iterator<Item = PendingRequest> + Clone,
    ) -> bool {
        let base = Endpoint::from(primary.base);
        let missing = missing.filter(|request| Endpoint::from(request.base) == base);
        let missing = missing.map(|request| request.server);
        let mut heard = [None; MAX_OBSERVATIONS];
        for (place, seen) in heard.iter_mut().zip(self.behind(primary)) {
            *place = Some((seen.mapped.ip(), seen.server));
        }
        let votes = |ip: IpAddr| {
            let of_ip = heard.iter().flatten().filter(move |(seen, _)| *seen == ip);
            of_ip.map(|(_, server)| *server)
        };
        let (certain, _) = weight(votes(primary.external));
        let (possible, _) = weight(missing.clone());
        let others = heard.iter().flatten().map(|(ip, _)| *ip);
        let mut others = others.filter(|ip| *ip != primary.external);
        // of two addresses that as many servers saw, that of the lowest one stands
        let first = heard.iter().flatten().next();
        let is_lowest = first.is_some_and(|(ip, lowest)| {
            *ip == primary.external && missing.clone().all(|other| order(*lowest) < order(other))
        });
        let outvotes = |votes: usize| votes > certain || votes == certain && !is_lowest;
        let has_pool = others.clone().next().is_some();
        has_pool && outvotes(possible)
            || others.any(|ip| outvotes(weight(votes(ip).chain(missing.clone())).0))
    }

    /// Whether no other base can become the primary one, whatever is answered: as many server addresses
    /// heard this one as any other can come to. Two families ask from two bases, and the NAT in front of
    /// one is not the other's.
    fn speaks_for_good(
        &self,
        primary: &BaseVerdict,
        missing: impl Iterator<Item = PendingRequest> + Clone,
    ) -> bool {
        // in the order of the primary base: IPv4 first
        let place = |base: Endpoint, is_v6: bool| (is_v6, base);
        let ours = place(primary.base.into(), primary.external.is_ipv6());
        let certain = (
            usize::from(primary.server_addresses),
            usize::from(primary.observations),
        );
        missing.clone().enumerate().all(|(at, request)| {
            let base = Endpoint::from(request.base);
            let of_base = |other: &PendingRequest| Endpoint::from(other.base) == base;
            // each base once
            if missing.clone().take(at).any(|other| of_base(&other)) {
                return true;
            }
            // a translator in the network makes a mapping of IPv4 of a request in IPv6
            let families: &[bool] = if base.ip.is_v4() {
                &[false]
            } else {
                &[false, true]
            };
            families.iter().all(|is_v6| {
                let theirs = place(base, *is_v6);
                let heard = self.observed().iter().filter(|seen| {
                    let (base, is_v6, _) = seen.group();
                    place(base, is_v6) == theirs
                });
                let heard = heard.map(|seen: &Seen| ServerId::from(seen.server()));
                let missing = missing.clone().filter(of_base);
                let missing = missing.map(|request| request.server);
                let most = weight(heard.chain(missing));
                theirs == ours || certain > most || certain == most && ours < theirs
            })
        })
    }
}

/// Distinct server addresses, and servers.
fn weight(servers: impl Iterator<Item = ServerId> + Clone) -> (usize, usize) {
    let is_first = |(at, server): &(usize, ServerId)| {
        let mut before = servers.clone().take(*at);
        !before.any(|other| other.is_same_address(server))
    };
    let distinct = servers.clone().enumerate().filter(is_first).count();
    (distinct, servers.clone().count())
}

/// Whether the address of a server is not known.
const fn is_named(server: ServerId) -> bool {
    !matches!(server, ServerId::Address(..))
}

/// The order in which the judge has servers: by address first, by name last.
fn order(server: ServerId) -> (bool, Ip, bool, u16) {
    match server {
        ServerId::Address(ip, port) => {
            let ip = Ip::from(ip);
            (false, ip.untranslated(), ip.is_translated(), port)
        }
        ServerId::Name(..) | ServerId::Anonymous(_) => (true, Ip::UNSPECIFIED, false, 0),
    }
}

/// Whether the server of an observation is outside, as far as its address shows.
fn is_from_outside(observation: Observation) -> bool {
    match observation.server {
        ServerId::Address(ip, _) => Ip::from(ip).untranslated().scope().is_global(),
        ServerId::Name(..) | ServerId::Anonymous(_) => true,
    }
}

/// Whether a server may be beyond a NAT, by its address.
fn may_be_outside(server: ServerId) -> bool {
    match server {
        ServerId::Address(ip, _) => !Scope::of(Ip::from(ip).into()).is_confined(),
        ServerId::Name(..) | ServerId::Anonymous(_) => true,
    }
}
