//! Facts as they were observed: counts and sets, no verdict.

mod candidates;
mod list;
mod observation;
mod packed;
pub(crate) mod vantage;

use core::net::{IpAddr, SocketAddr};

pub(crate) use self::list::ListFacts;
pub use self::observation::Observation;
use self::observation::is_possible;
pub(crate) use self::observation::{Group, Seen};
pub(crate) use self::packed::{Endpoint, Ip, Place};
use crate::bounded::Sorted;
use crate::server::ServerId;
use crate::words::words;

/// Most observations kept. Further ones are counted in [`Discarded::overflow`]. The mapping of a
/// base that may have lost one is then unknown, because the lost one may differ.
pub const MAX_OBSERVATIONS: usize = 64;
/// Most servers kept apart. Those beyond are counted in [`Discarded::overflow`]; then UDP is not
/// called blocked, because one of them may have answered.
pub const MAX_SERVERS: usize = 64;
/// Most local addresses kept. Those beyond are counted in [`Discarded::overflow`]; then nothing is
/// called natted, because the mapped address may be one of them.
pub const MAX_LOCALS: usize = 16;

const FEW_OBSERVATIONS: usize = 8;
const FEW_SERVERS: usize = 8;
const FEW_LOCALS: usize = 4;

/// How a request to a server ended. The order is that of strength: where a server is reported
/// twice, the stronger stands.
///
/// ```
/// use nat_summary::Outcome;
/// assert!(Outcome::TimedOut < Outcome::Refused);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Outcome {
    /// Asked, and not ended yet.
    Pending,
    /// Asked, and given up before its silence means anything: see [`TimedOut`](Self::TimedOut).
    GivenUp,
    /// Its name did not resolve, or to an address at which no server can be asked.
    Unresolved,
    /// It could not be reached: no route, a local error, or an ICMP message.
    Unreachable,
    /// No answer to at least two transmissions in a full wait (RFC 8489 section 6.2.1): one copy may
    /// get lost, and a short wait is shorter than some round trips.
    TimedOut,
    /// It answered with an error (RFC 8489 section 6.3.4): UDP passes, the mapping stays unknown.
    Refused,
    /// It answered with a mapped address.
    Answered,
}

words! {
    /// Its word, as it is written down.
    Outcome {
        Pending => "pending",
        GivenUp => "given_up",
        Unresolved => "unresolved",
        Unreachable => "unreachable",
        TimedOut => "timed_out",
        Refused => "refused",
        Answered => "answered",
    }
}

/// The fate of a fact that was handed in.
///
/// ```
/// use nat_summary::{Evidence, Recorded};
///
/// let mut evidence = Evidence::new();
/// assert_eq!(evidence.add_local([192, 168, 1, 5].into()), Recorded::Kept);
/// assert_eq!(evidence.add_local([192, 168, 1, 5].into()), Recorded::Superseded);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Recorded {
    /// Kept.
    Kept,
    /// Known already, or older than the known one.
    Superseded,
    /// Dropped and counted: no mapped address can look like this.
    Impossible,
    /// Dropped and counted: there is no room left.
    Overflow,
}

/// Facts that were dropped, by reason.
///
/// ```
/// use nat_summary::{Candidate, Evidence};
///
/// let tcp = Candidate::parse("candidate:1 1 tcp 1518280447 192.168.1.5 9 typ host tcptype active")?;
/// assert_eq!(Evidence::from_candidates([tcp]).discarded().not_udp, 1);
/// # Ok::<(), nat_summary::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct Discarded {
    /// Mapped addresses that are unspecified, multicast, broadcast, or have port 0.
    pub impossible: u32,
    /// Candidates that are not UDP.
    pub not_udp: u32,
    /// Candidates that could not be read, and reflexive ones whose address is a name or that carry
    /// no base at all.
    pub unreadable: u32,
    /// Reflexive candidates of another component than the first, without a server URL: some stacks
    /// list every candidate once per component, and an answer that is repeated must not agree with
    /// itself.
    pub other_component: u32,
    /// Facts beyond [`MAX_OBSERVATIONS`], [`MAX_SERVERS`] or [`MAX_LOCALS`].
    pub overflow: u32,
}

/// The kinds of facts that had no room: the absence of one proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
pub(crate) struct Truncated {
    pub(crate) observations: bool,
    pub(crate) servers: bool,
    pub(crate) locals: bool,
    /// The lowest base that lost observations, whatever is forgotten afterwards; `None`, though some
    /// were lost: any base may have. The greatest keys go, so none before this one lost any.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) from: Option<Lost>,
}

/// A base that lost observations: its address, whether it is mapped in IPv6, and its ICE session.
pub(crate) type Lost = (SocketAddr, bool, u32);

impl Truncated {
    fn lose(&mut self, base: Option<Group>) {
        let first = !self.observations;
        self.observations = true;
        self.from = match (base, self.from.map(group)) {
            (Some(base), None) if first => Some(base),
            (Some(base), Some(from)) => Some(from.min(base)),
            _ => None,
        }
        .map(|(base, is_v6, session)| (base.into(), is_v6, session));
    }

    /// Whether no observation of this base was lost.
    pub(crate) fn spares(&self, base: Group) -> bool {
        !self.observations || self.from.is_some_and(|from| base < group(from))
    }
}

const fn bit(ip: Ip) -> u64 {
    1 << (ip.bits() % 64)
}

fn group((base, is_v6, session): Lost) -> Group {
    (base.into(), is_v6, session)
}

/// The facts of a gathering: servers asked and how each ended, observations, local addresses.
///
/// Facts come in one at a time and in any order, the size is fixed, and [`summary`](Self::summary)
/// may be asked at any moment.
///
/// All of it has to be of one time and one network. A NAT forgets a mapping that lies idle, after
/// two minutes perhaps (RFC 4787 section 4.3), and gives the same base another one; a host that
/// moves meets another NAT. Answers from before and after such a change differ though the NAT maps
/// independently of the destination, and nothing in them shows which is which. A caller that asks
/// again later begins anew, or has the older ones [forgotten](Self::forget).
///
/// ```
/// use nat_summary::{Evidence, NatType, Outcome, ServerId};
///
/// let mut evidence = Evidence::new();
/// evidence.add_local([192, 168, 1, 5].into());
/// let (first, second) = (ServerId::named("198.51.100.1", 3478), ServerId::named("198.51.100.2", 3478));
/// evidence.record_outcome(first, Outcome::TimedOut);
/// assert_eq!(evidence.summary().nat_type(), NatType::Unknown, "one server may be dead");
/// evidence.record_outcome(second, Outcome::TimedOut);
/// assert_eq!(evidence.summary().nat_type(), NatType::UdpBlocked);
/// ```
#[derive(Debug, Clone)]
pub struct Evidence {
    seen: Sorted<Seen, FEW_OBSERVATIONS, MAX_OBSERVATIONS>,
    servers: Sorted<(ServerId, Outcome), FEW_SERVERS, MAX_SERVERS>,
    locals: Sorted<IpAddr, FEW_LOCALS, MAX_LOCALS>,
    list: Option<ListFacts>,
    /// A bit for each address a server was asked at, by its last bits: most addresses can be seen not
    /// to be one of them at a glance.
    asked_bits: u64,
    signs_of_life: u32,
    truncated: Truncated,
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
            && self.signs_of_life == other.signs_of_life
            && self.truncated == other.truncated
            && self.discarded == other.discarded
    }
}

impl Eq for Evidence {}

impl Evidence {
    /// Nothing observed yet.
    #[must_use]
    #[inline(always)]
    pub const fn new() -> Self {
        const ANY: IpAddr = IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED);
        Self {
            seen: Sorted::new(Seen::NOTHING),
            servers: Sorted::new((ServerId::Address(ANY, 0), Outcome::Pending)),
            locals: Sorted::new(ANY),
            list: None,
            asked_bits: 0,
            signs_of_life: 0,
            truncated: Truncated {
                observations: false,
                servers: false,
                locals: false,
                from: None,
            },
            discarded: Discarded {
                impossible: 0,
                not_udp: 0,
                unreadable: 0,
                other_component: 0,
                overflow: 0,
            },
        }
    }

    /// A local address: a host candidate's (RFC 8445 section 5.1.1.1), or an interface's.
    /// Unspecified addresses are ignored, because they name no host.
    pub fn add_local(&mut self, ip: IpAddr) -> Recorded {
        let ip = ip.to_canonical();
        if ip.is_unspecified() {
            return Recorded::Impossible;
        }
        match self.locals.find(|known| known.cmp(&ip)) {
            Ok(_) => Recorded::Superseded,
            Err(at) => {
                let overflowed = self.locals.insert(at, ip).is_some();
                self.truncated.locals |= overflowed;
                self.recorded(overflowed)
            }
        }
    }

    /// A server was asked, and this is how it ended so far. Of several outcomes the strongest
    /// stands. A bare time-out proves nothing: see [`Outcome::TimedOut`].
    pub fn record_outcome(&mut self, mut server: ServerId, outcome: Outcome) -> Recorded {
        if let ServerId::Address(ip @ IpAddr::V6(_), _) = &mut server {
            *ip = ip.to_canonical();
        }
        if let ServerId::Address(ip, _) = server {
            self.asked_bits |= bit(Ip::from(ip).untranslated());
        }
        match self.servers.find(|(known, _)| known.cmp(&server)) {
            Ok((_, known)) if *known < outcome => {
                *known = outcome;
                Recorded::Kept
            }
            Ok(_) => Recorded::Superseded,
            Err(at) => {
                let overflowed = self.servers.insert(at, (server, outcome)).is_some();
                self.truncated.servers |= overflowed;
                self.recorded(overflowed)
            }
        }
    }

    /// A server answered with a mapped address (RFC 8489 section 14.2). Counts as
    /// [`record_outcome`](Self::record_outcome) with [`Outcome::Answered`], even where the mapped
    /// address is impossible and dropped. An [anonymous](ServerId::Anonymous) server cannot be asked: it
    /// counts as one more that answered, each time.
    pub fn observe(&mut self, observation: Observation) -> Recorded {
        self.answered(observation, Seen::new(&observation, None))
    }

    /// A server answered with MAPPED-ADDRESS beside XOR-MAPPED-ADDRESS. They differ where something
    /// between rewrites addresses inside packets (RFC 8489 section 14.2); the verdict goes by
    /// the latter, and [`NatSummary::rewritten`](crate::NatSummary::rewritten) reports the
    /// difference.
    ///
    /// ```
    /// use nat_summary::{Evidence, Observation, ServerId};
    ///
    /// let mut evidence = Evidence::new();
    /// let observation = Observation {
    ///     base: "192.168.1.5:50000".parse()?,
    ///     server: ServerId::named("198.51.100.1", 3478),
    ///     mapped: "203.0.113.7:50000".parse()?,
    ///     sequence: 0,
    /// };
    /// evidence.observe_both(observation, "192.168.1.5:50000".parse()?);
    /// assert_eq!(evidence.summary().rewritten(), Some(true));
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    pub fn observe_both(&mut self, observation: Observation, mapped_plain: SocketAddr) -> Recorded {
        let rewritten = Endpoint::from(mapped_plain) != Endpoint::from(observation.mapped);
        self.answered(observation, Seen::new(&observation, Some(rewritten)))
    }

    /// A server answered a request that had been sent more than once. The answer shows nothing about
    /// the order in which ports are allocated, because either copy may have made the mapping.
    ///
    /// ```
    /// use nat_summary::{Evidence, Observation, PortAllocation, ServerId};
    ///
    /// let mut evidence = Evidence::new();
    /// // the first copy to the first server was lost, and the second one left last
    /// for (host, port) in [(1, 41_003), (2, 41_001), (3, 41_002)] {
    ///     let observation = Observation {
    ///         base: "192.168.1.5:50000".parse()?,
    ///         server: ServerId::Address([198, 51, 100, host].into(), 3478),
    ///         mapped: ([203, 0, 113, 7], port).into(),
    ///         sequence: host.into(),
    ///     };
    ///     if host == 1 {
    ///         evidence.observe_resent(observation);
    ///     } else {
    ///         evidence.observe(observation);
    ///     }
    /// }
    /// assert_eq!(evidence.summary().port_allocation(), PortAllocation::Unknown);
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    pub fn observe_resent(&mut self, observation: Observation) -> Recorded {
        self.answered(observation, Seen::new(&observation, None).resent(true))
    }

    /// Something came in over UDP that is no answer: an answer that had to be rejected (another
    /// transaction id or source, a broken attribute), an ICMP error which a server itself sent, or a
    /// packet of a peer. UDP is not blocked then.
    ///
    /// ```
    /// use nat_summary::{Evidence, NatType, Outcome, ServerId};
    ///
    /// let mut evidence = Evidence::new();
    /// evidence.add_local([192, 168, 1, 5].into());
    /// for host in [1, 2] {
    ///     evidence.record_outcome(ServerId::Address([198, 51, 100, host].into(), 3478), Outcome::TimedOut);
    /// }
    /// assert_eq!(evidence.summary().nat_type(), NatType::UdpBlocked);
    /// evidence.add_sign_of_life();
    /// assert_eq!(evidence.summary().nat_type(), NatType::Unknown);
    /// ```
    pub const fn add_sign_of_life(&mut self) {
        self.signs_of_life = self.signs_of_life.saturating_add(1);
    }

    #[inline]
    fn answered(&mut self, observation: Observation, seen: Seen) -> Recorded {
        if !seen.is_anonymous() {
            self.record_outcome(observation.server, Outcome::Answered);
        }
        self.see(seen)
    }

    /// So many observations had no room elsewhere, of any base, and so many more were impossible.
    pub(crate) fn lost(&mut self, overflow: u32, impossible: u32) {
        if overflow > 0 {
            self.truncated.lose(None);
        }
        let discarded = &mut self.discarded;
        discarded.overflow = discarded.overflow.saturating_add(overflow);
        discarded.impossible = discarded.impossible.saturating_add(impossible);
    }

    pub(crate) fn see(&mut self, seen: Seen) -> Recorded {
        if !is_possible(seen.mapped()) {
            self.discarded.impossible = self.discarded.impossible.saturating_add(1);
            return Recorded::Impossible;
        }
        if let Some(ip) = seen.server_ip() {
            self.asked_bits |= bit(ip);
        }
        match self.seen.find(|known| known.order(&seen)) {
            Ok(known) if known.recency() < seen.recency() => {
                *known = seen;
                Recorded::Kept
            }
            Ok(_) => Recorded::Superseded,
            Err(at) => {
                let lost = self.seen.insert(at, seen);
                if let Some(lost) = lost {
                    self.truncated.lose(Some(lost.group()));
                }
                if seen.is_anonymous() {
                    self.number_anonymous(at);
                }
                self.recorded(lost.is_some())
            }
        }
    }

    /// Anonymous servers of a group are numbered in their order, so that the order of arrival never
    /// matters: from `at` on, where one came in.
    fn number_anonymous(&mut self, at: usize) {
        let known = self.seen.as_mut_slice();
        for at in at..known.len() {
            let (before, from) = known.split_at_mut(at);
            match from.first_mut().filter(|seen| seen.is_anonymous()) {
                Some(seen) => seen.number_after(before.last()),
                None => break,
            }
        }
    }

    fn recorded(&mut self, overflowed: bool) -> Recorded {
        if overflowed {
            self.discarded.overflow = self.discarded.overflow.saturating_add(1);
            Recorded::Overflow
        } else {
            Recorded::Kept
        }
    }

    /// Takes in all of `other`, as if its facts had come here. Facts known to both count once,
    /// except those of [anonymous](ServerId::Anonymous) servers.
    ///
    /// ```
    /// use nat_summary::{Evidence, NatType, Outcome, ServerId};
    ///
    /// let (mut one, mut other) = (Evidence::new(), Evidence::new());
    /// one.record_outcome(ServerId::named("198.51.100.1", 3478), Outcome::TimedOut);
    /// other.record_outcome(ServerId::named("198.51.100.2", 3478), Outcome::Refused);
    /// one.merge(&other);
    /// assert_eq!(one.summary().nat_type(), NatType::Unknown, "an error answer crossed the firewall");
    /// ```
    pub fn merge(&mut self, other: &Self) {
        for seen in other.observed() {
            self.see(*seen);
        }
        for (server, outcome) in other.servers() {
            self.record_outcome(*server, *outcome);
        }
        for ip in other.locals() {
            self.add_local(*ip);
        }
        if let Some(theirs) = other.list {
            self.merge_list(theirs);
        }
        self.merge_signs(other.signs_of_life);
        self.merge_loss(other.truncated, other.discarded);
    }

    /// Forgets the observations that `is_outdated` accepts. Use it where some are older than a
    /// mapping may last, because an idle mapping expires and the next packet makes another one (RFC
    /// 4787 section 4.3). The outcomes of servers stay, and dropped facts stay lost.
    ///
    /// ```
    /// use nat_summary::{Evidence, NatType, Observation, Outcome, ServerId};
    ///
    /// let mut evidence = Evidence::new();
    /// let base = "192.168.1.5:50000".parse()?;
    /// let (first, second) = (ServerId::named("198.51.100.1", 3478), ServerId::named("198.51.100.2", 3478));
    /// evidence.observe(Observation { base, server: first, mapped: "203.0.113.7:50000".parse()?, sequence: 0 });
    /// // ten minutes later
    /// evidence.observe(Observation { base, server: second, mapped: "203.0.113.7:61000".parse()?, sequence: 1 });
    /// evidence.forget(|observation| observation.sequence < 1);
    /// assert_eq!(evidence.summary().nat_type(), NatType::Unknown, "one observation proves nothing");
    /// assert_eq!(evidence.servers(), [(first, Outcome::Answered), (second, Outcome::Answered)]);
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    pub fn forget(&mut self, is_outdated: impl Fn(&Observation) -> bool) {
        self.seen
            .retain(|seen| !is_outdated(&Observation::from(seen)));
    }

    pub(crate) fn merge_list(&mut self, theirs: ListFacts) {
        let list = self.list.get_or_insert_default();
        list.local_hosts = list.local_hosts.saturating_add(theirs.local_hosts);
        list.confined_hosts = list.confined_hosts.saturating_add(theirs.confined_hosts);
        list.maybe_global_hosts = list
            .maybe_global_hosts
            .saturating_add(theirs.maybe_global_hosts);
        list.signs_of_life = list.signs_of_life.saturating_add(theirs.signs_of_life);
        list.maybe_relayed = list.maybe_relayed.saturating_add(theirs.maybe_relayed);
        list.asked = list.asked.max(theirs.asked);
    }

    pub(crate) const fn merge_signs(&mut self, theirs: u32) {
        self.signs_of_life = self.signs_of_life.saturating_add(theirs);
    }

    pub(crate) fn merge_loss(&mut self, truncated: Truncated, discarded: Discarded) {
        if truncated.observations {
            self.truncated.lose(truncated.from.map(group));
        }
        self.truncated.servers |= truncated.servers;
        self.truncated.locals |= truncated.locals;
        let ours = &mut self.discarded;
        ours.impossible = ours.impossible.saturating_add(discarded.impossible);
        ours.not_udp = ours.not_udp.saturating_add(discarded.not_udp);
        ours.unreadable = ours.unreadable.saturating_add(discarded.unreadable);
        ours.other_component = ours
            .other_component
            .saturating_add(discarded.other_component);
        ours.overflow = ours.overflow.saturating_add(discarded.overflow);
    }

    /// Every observation kept, by base, then server.
    pub fn observations(&self) -> impl ExactSizeIterator<Item = Observation> + '_ {
        self.observed().iter().map(Observation::from)
    }

    /// Every server asked and how it ended, sorted.
    #[must_use]
    pub fn servers(&self) -> &[(ServerId, Outcome)] {
        self.servers.as_slice()
    }

    /// Every local address, sorted: those of host candidates (RFC 8445 section 5.1.1.1) and of
    /// [`add_local`](Self::add_local).
    #[must_use]
    pub fn locals(&self) -> &[IpAddr] {
        self.locals.as_slice()
    }

    /// The number of facts dropped, by reason.
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

    /// Packets that show UDP passing, besides answers.
    pub(crate) const fn signs_of_life(&self) -> u32 {
        self.signs_of_life
    }

    /// Whether a server was asked at this address, or at one that a translator made of it.
    pub(crate) fn has_asked_at(&self, ip: Ip) -> bool {
        if self.asked_bits & bit(ip) == 0 {
            return false;
        }
        let same = IpAddr::from(ip);
        let is_at = |(server, _): &(ServerId, Outcome)| match server {
            ServerId::Address(at @ IpAddr::V4(_), _) => *at == same,
            ServerId::Address(at @ IpAddr::V6(_), _) => Ip::from(*at).untranslated() == ip,
            _ => false,
        };
        self.observed().iter().any(|seen| seen.is_of(ip)) || self.servers().iter().any(is_at)
    }

    pub(crate) const fn truncated(&self) -> Truncated {
        self.truncated
    }
}
