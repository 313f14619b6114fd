//! The judge: one function per rule, its source above it.

use core::net::IpAddr;

use crate::behaviour::{Filtering, Mapping, NatType, Pooling, PortAllocation};
use crate::evidence::vantage::{Vantage, is_own};
use crate::evidence::{Endpoint, Evidence, Ip, MAX_OBSERVATIONS, Observation, Outcome, Seen};
use crate::primary::keep;
use crate::rule::Rule;
use crate::scope::Scope;
use crate::summary::{BaseVerdict, Bases, Counts, MAX_BASES, NatSummary};

/// Fewest mappings of one local address that make their common external address a habit. A NAT that
/// draws it at random from a pool of two shows this by accident once in 65,536 times.
const PAIRED_MAPPINGS: usize = 17;
/// Fewest new mappings, in sending order, that show how ports are allocated.
const ALLOCATED_MAPPINGS: usize = 3;
/// Longest step of an allocator that counts. Three ports at random keep one step of at most this
/// about once in 30 million times.
const MAX_STEP: i64 = 64;
/// Longest step that a counting allocator with other traffic may show between two requests of one
/// gathering.
const MAX_DRIFT: i64 = 256;

impl Evidence {
    /// The verdict on the facts known so far: how the NAT maps in the terms of RFC 4787 section 4,
    /// and the type in those of RFC 3489 section 5. More facts may change it, their order never
    /// does.
    #[must_use]
    pub fn summary(&self) -> NatSummary {
        summarize(self)
    }

    /// The observations a verdict on one base rests on: those of that base and family that were
    /// seen from the outermost vantage, and so through the same NATs. A base whose port is
    /// hidden is comparable with nothing: where there are several of one address and family,
    /// each has a verdict of its own, and this gives the observations of them all.
    ///
    /// ```
    /// use nat_summary::{Candidate, Evidence, Mapping};
    ///
    /// let line = "candidate:2 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000";
    /// let evidence = Evidence::from_candidates([Candidate::parse(line)?; 2]);
    /// let verdict = *evidence.summary().primary_base().unwrap();
    /// assert_eq!(verdict.mapping, Mapping::EndpointIndependent);
    /// assert!(evidence.behind(&verdict).all(|seen| seen.mapped == "203.0.113.7:50000".parse().unwrap()));
    /// # Ok::<(), nat_summary::ParseError>(())
    /// ```
    pub fn behind(&self, verdict: &BaseVerdict) -> impl Iterator<Item = Observation> + '_ {
        let (base, external) = (Endpoint::from(verdict.base), Ip::from(verdict.external));
        let group = (base, !external.is_v4());
        let vantage = move |mapped: Ip| Vantage::of(mapped, base.ip, self);
        let is_behind = move |seen: &&Seen| {
            seen.group() == group && vantage(seen.mapped().ip) == vantage(external)
        };
        self.observed()
            .iter()
            .filter(is_behind)
            .map(Observation::from)
    }
}

pub(crate) fn summarize(evidence: &Evidence) -> NatSummary {
    let mut bases = [const { None }; MAX_BASES];
    let mut judged = 0_u16;
    let cut = evidence
        .observed()
        .last()
        .filter(|_| evidence.truncated().observations);
    for group in by_base(evidence.observed()) {
        let is_whole = !cut.is_some_and(|last| group.iter().all(|seen| seen.same_group(last)));
        if let Some(verdict) = judge_base(group, is_whole, evidence) {
            judged = judged.saturating_add(1);
            keep(&mut bases, verdict);
        }
    }
    let primary = bases[0].as_ref();
    let (nat_type, rule) = match primary {
        Some(primary) => nat_type(primary),
        None => blocked(evidence).map_or((NatType::Unknown, Rule::NothingObserved), |rule| {
            (NatType::UdpBlocked, rule)
        }),
    };
    let servers = evidence.servers();
    let counts = Counts {
        asked: saturate(servers.len()),
        answered: saturate(
            servers
                .iter()
                .filter(|(_, outcome)| *outcome == Outcome::Answered)
                .count(),
        ),
        server_addresses: primary.map_or(0, |primary| primary.server_addresses),
        observations: primary.map_or(0, |primary| primary.observations),
        bases: judged,
    };
    let pooling = primary.map_or(Pooling::Unknown, |primary| pooling(primary, evidence));
    NatSummary {
        nat_type,
        filtering: Filtering::Unknown,
        pooling,
        rule,
        counts,
        bases: Bases(bases),
    }
}

/// Grouping (RFC 8445 section 5.1.1.1 "base"): mappings of different bases are never compared, nor
/// are those of different families, and a base whose port is hidden is comparable with nothing,
/// itself included.
pub(crate) fn by_base(seen: &[Seen]) -> impl Iterator<Item = &[Seen]> {
    seen.chunk_by(|a, b| a.same_group(b) && a.base().port != 0)
}

/// Judges one base. `is_whole`: no observation of it was lost. Else only differences count, because
/// the lost ones may differ where the others agree.
fn judge_base(seen: &[Seen], is_whole: bool, evidence: &Evidence) -> Option<BaseVerdict> {
    let base = seen.first()?.base();
    let mut tally = Tally::of(seen)?;
    let (mut seen, places) = (seen, &mut None);
    if !tally.addresses_equal {
        seen = outermost(seen, places, evidence);
        tally = Tally::of(seen)?;
    }
    let (mapping, rule) = match mapping(&tally) {
        (Mapping::Dependent | Mapping::AddressDependent, _) if has_several_ways(seen, evidence) => {
            (Mapping::Unknown, Rule::SeveralWays)
        }
        (Mapping::Unknown | Mapping::EndpointIndependent, _) if !is_whole => {
            (Mapping::Unknown, Rule::Truncated)
        }
        (Mapping::AddressDependent, _) if !is_whole => (Mapping::Dependent, Rule::ServersDiffer),
        whole => whole,
    };
    let external = external(seen, &tally)?;
    Some(BaseVerdict {
        base: base.into(),
        external: external.into(),
        mapping,
        rule,
        natted: natted(external, base.ip, evidence),
        port_preserved: (base.port != 0 && (is_whole || !tally.ports_kept))
            .then_some(tally.ports_kept),
        allocation: if mapping.is_dependent() && is_whole {
            allocation(seen, base.port)
        } else {
            PortAllocation::Unknown
        },
        rewritten: tally.rewritten.filter(|rewritten| is_whole || *rewritten),
        server_addresses: tally.server_addresses,
        observations: saturate(seen.len()),
    })
}

/// The observations from the outermost vantage. Servers inside and outside a NAT do not see the same
/// NATs, so observations from different vantages are never compared. A local address did not cross
/// the NAT that another one proves.
#[cold]
#[inline(never)]
fn outermost<'a>(
    seen: &'a [Seen],
    places: &'a mut Option<[Seen; MAX_OBSERVATIONS]>,
    evidence: &Evidence,
) -> &'a [Seen] {
    let vantage = |s: &Seen| Vantage::of(s.mapped().ip, s.base().ip, evidence);
    let outermost = seen.iter().map(vantage).min();
    let places = places.insert([Seen::NOTHING; MAX_OBSERVATIONS]);
    let mut len = 0;
    for (place, s) in places
        .iter_mut()
        .zip(seen.iter().filter(|s| Some(vantage(s)) == outermost))
    {
        *place = *s;
        len += 1;
    }
    places.get(..len).unwrap_or(seen)
}

/// The traits that the observations of one base have in common, from one pass.
pub(crate) struct Tally {
    /// Those of named servers, where there are any, because an answer without a server may repeat
    /// one of theirs.
    pub(crate) server_addresses: u16,
    mappings_equal: bool,
    addresses_equal: bool,
    ports_kept: bool,
    rewritten: Option<bool>,
    /// Some server address was asked on two ports. Two of a name may be of two addresses.
    two_ports: bool,
    /// Two ports of one server address got different mappings.
    ports_differ: bool,
    /// Two ports of one server name got different mappings; the name may have had two addresses.
    ports_of_name_differ: bool,
}

impl Tally {
    pub(crate) fn of(seen: &[Seen]) -> Option<Self> {
        let mut last = seen.first()?;
        let (first, base, is_named) = (last.mapped(), last.base(), !last.is_anonymous());
        let mut tally = Self {
            server_addresses: 1,
            mappings_equal: true,
            addresses_equal: true,
            ports_kept: true,
            rewritten: None,
            two_ports: false,
            ports_differ: false,
            ports_of_name_differ: false,
        };
        for (at, s) in seen.iter().enumerate() {
            let mapped = s.mapped();
            tally.mappings_equal &= mapped == first;
            tally.addresses_equal &= mapped.ip == first.ip;
            tally.ports_kept &= mapped.port == base.port;
            tally.rewritten = tally.rewritten.max(s.rewritten);
            if at > 0 {
                if !last.same_address(s) {
                    tally.server_addresses = tally.server_addresses.saturating_add(1);
                } else {
                    tally.two_ports |= s.is_by_address();
                    let differ = !last.same_mapping(s);
                    tally.ports_differ |= differ && s.is_by_address();
                    tally.ports_of_name_differ |= differ && !s.is_by_address();
                }
            }
            last = s;
        }
        // servers without a name come last
        if is_named && last.is_anonymous() {
            let unnamed = saturate(seen.iter().filter(|s| s.is_anonymous()).count());
            tally.server_addresses = tally.server_addresses.saturating_sub(unnamed);
        }
        Some(tally)
    }
}

/// Mapping behaviour of one base (RFC 4787 section 4.1, RFC 5780 section 4.3).
fn mapping(tally: &Tally) -> (Mapping, Rule) {
    if tally.ports_differ {
        (
            Mapping::AddressAndPortDependent,
            Rule::PortsOfOneServerDiffer,
        )
    } else if !tally.mappings_equal {
        if tally.two_ports && tally.server_addresses > 1 && !tally.ports_of_name_differ {
            (Mapping::AddressDependent, Rule::ServersDifferPortsAgree)
        } else {
            (Mapping::Dependent, Rule::ServersDiffer)
        }
    } else if tally.server_addresses > 1 {
        (Mapping::EndpointIndependent, Rule::ServersAgree)
    } else {
        (Mapping::Unknown, Rule::TooFewServers)
    }
}

/// Whether requests to different addresses may have left by several ways, and so through several
/// NATs or as several hosts of one: a wildcard socket sends from any local address of the family
/// (RFC 8445 section 5.1.1.1), and an IPv6 one in both, though both lead to IPv4 where the network
/// translates (RFC 6877).
#[cold]
fn has_several_ways(seen: &[Seen], evidence: &Evidence) -> bool {
    let Some(first) = seen
        .first()
        .filter(|first| first.base().ip.is_unspecified())
    else {
        return false;
    };
    let is_v6 = first.is_sent_in_v6();
    let leaves_from =
        |local: &&IpAddr| local.is_ipv6() == is_v6 && !Scope::of(**local).is_confined();
    seen.iter().any(|s| s.is_sent_in_v6() != is_v6)
        || evidence.locals().iter().filter(leaves_from).count() > 1
        || evidence.truncated().locals
}

/// The mapped address most servers saw; tie: the one seen by the lowest server address.
fn external(seen: &[Seen], tally: &Tally) -> Option<Ip> {
    let first = seen.first()?.mapped().ip;
    if tally.addresses_equal {
        return Some(first);
    }
    let mut best = (first, 0);
    for candidate in seen.iter().map(|s| s.mapped().ip) {
        let votes = seen.iter().filter(|s| s.mapped().ip == candidate).count();
        if votes > best.1 {
            best = (candidate, votes);
        }
    }
    Some(best.0)
}

/// Natted (RFC 5780 section 4.3, first test): no, if the mapped address is a local one; yes, if it
/// is not and the base's own address is known, or a local one of its family that a packet can leave
/// its link from; else unknown.
pub(crate) fn natted(external: Ip, base: Ip, evidence: &Evidence) -> Option<bool> {
    if is_own(external, base, evidence) {
        return Some(false);
    }
    let tells =
        |local: &IpAddr| local.is_ipv4() == external.is_v4() && !Scope::of(*local).is_confined();
    let known = !base.is_unspecified() || evidence.locals().iter().any(tells);
    (known && !evidence.truncated().locals).then_some(true)
}

/// Port allocation of a dependent mapping (RFC 4787 section 4.2, RFC 5128 section 3.3 on
/// prediction), from mappings in the order in which they were made.
fn allocation(seen: &[Seen], base_port: u16) -> PortAllocation {
    let mut order = [&Seen::NOTHING; MAX_OBSERVATIONS];
    let Some(order) = order.get_mut(..seen.len()) else {
        return PortAllocation::Unknown;
    };
    for (place, seen) in order.iter_mut().zip(seen) {
        *place = seen;
    }
    order.sort_unstable_by_key(|s| s.sequence);
    if order
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a.sequence == b.sequence))
    {
        return PortAllocation::Unknown;
    }
    let is_new = |(at, s): &(usize, &&Seen)| {
        let earlier = order.get(..*at).unwrap_or(&[]);
        !earlier.iter().any(|e| e.same_mapping(s))
    };
    // new mappings, each with its place in the order of sending, less the requests that are known
    // to have taken no port
    let mappings = || {
        let new = order.iter().enumerate().filter(is_new).enumerate();
        new.map(|(rank, (at, s))| (s.mapped(), i64::from(s.sequence) + rank as i64 - at as i64))
    };
    if mappings().count() < ALLOCATED_MAPPINGS {
        return PortAllocation::Unknown;
    }
    if base_port != 0 && mappings().all(|(mapped, _)| mapped.port == base_port) {
        return PortAllocation::Preserving;
    }
    // each address of a pool has its own ports
    let pairs = || mappings().zip(mappings().skip(1));
    if !pairs().all(|((a, _), (b, _))| a.ip == b.ip) {
        return PortAllocation::Unknown;
    }
    order_of(pairs().map(|((a, first), (b, second))| Step {
        moved: i64::from(b.port) - i64::from(a.port),
        sent: second - first,
    }))
}

/// From one new mapping to the next.
#[derive(Clone, Copy, PartialEq)]
struct Step {
    /// How far the port moved.
    moved: i64,
    /// How many requests were sent, the second mapping's own included.
    sent: i64,
}

/// The order in which ports follow each other, from the steps between new mappings on one address.
///
/// An allocator that counts gives away a port per request, and requests whose answers are missing
/// took ports too. So the step of the allocator is the one between two requests in a row, and it has
/// to explain every other step by the number of requests sent. Ports without an order make long
/// steps: one of them may be the end of the range where a counter begins anew, and steps that are
/// all alike are an order as well, though not one within reach.
fn order_of(steps: impl Iterator<Item = Step> + Clone) -> PortAllocation {
    if let Some(Step { moved: step, .. }) = steps.clone().find(|step| step.sent == 1) {
        let mut all = steps.clone();
        if step.abs() <= MAX_STEP && all.all(|other| other.moved == step * other.sent) {
            return i16::try_from(step).map_or(PortAllocation::Unknown, |step| {
                PortAllocation::Sequential { step }
            });
        }
    }
    let mut neighbours = steps.clone().zip(steps.clone().skip(1));
    let are_alike = neighbours.all(|(a, b)| a == b);
    if steps.filter(|step| step.moved.abs() > MAX_DRIFT).count() > 1 && !are_alike {
        PortAllocation::Random
    } else {
        PortAllocation::Unknown
    }
}

/// Address pooling (RFC 4787 section 4.1): mappings of one local address compared across its ports.
/// A wildcard base may leave by several local addresses, and an address seen from another vantage is
/// another NAT's.
fn pooling(primary: &BaseVerdict, evidence: &Evidence) -> Pooling {
    let base = Endpoint::from(primary.base);
    let external = Ip::from(primary.external);
    if base.ip.is_unspecified() || primary.natted != Some(true) {
        return Pooling::Unknown;
    }
    let seen = evidence.observed();
    let of_local = |s: &&Seen| s.base().ip == base.ip && s.mapped().ip.is_v4() == external.is_v4();
    let vantage = |ip: Ip| Vantage::of(ip, base.ip, evidence);
    let mut all = 0;
    for s in seen.iter().filter(of_local) {
        if s.mapped().ip == external {
            all += 1;
        } else if vantage(s.mapped().ip) == vantage(external) {
            return Pooling::Arbitrary;
        }
    }
    // an observation that had no room may differ
    if all < PAIRED_MAPPINGS || evidence.truncated().observations {
        return Pooling::Unknown;
    }
    let is_new = |(at, s): &(usize, &Seen)| {
        let earlier = seen.get(..*at).unwrap_or(&[]);
        !earlier
            .iter()
            .any(|e| e.base() == s.base() && e.same_mapping(s))
    };
    let of_external = |(_, s): &(usize, &Seen)| s.base().ip == base.ip && s.mapped().ip == external;
    let mappings = seen
        .iter()
        .enumerate()
        .filter(of_external)
        .filter(is_new)
        .count();
    if mappings >= PAIRED_MAPPINGS {
        Pooling::Paired
    } else {
        Pooling::Unknown
    }
}

/// The type, in the terms of RFC 3489 section 5.
fn nat_type(base: &BaseVerdict) -> (NatType, Rule) {
    match (base.natted, base.mapping) {
        (Some(false), _) => (NatType::Open, Rule::MappedIsLocal),
        (_, Mapping::Unknown) => (NatType::Unknown, base.rule),
        (None, _) => (NatType::Unknown, Rule::LocalsUnknown),
        (Some(true), Mapping::EndpointIndependent) => (NatType::Cone, base.rule),
        (Some(true), _) => (NatType::Symmetric, base.rule),
    }
}

/// UDP blocked: at least one server was asked, none answered, and at least one request ended in a
/// time-out. Local failures alone prove nothing. A bare list does not show which servers were asked:
/// see [`Rule::NoReflexiveCandidate`].
fn blocked(evidence: &Evidence) -> Option<Rule> {
    let list = evidence.list().unwrap_or_default();
    // a server that had no room may have answered, and an impossible mapped address came in an
    // answer all the same
    if list.signs_of_life > 0 || evidence.truncated().servers || evidence.discarded().impossible > 0
    {
        return None;
    }
    if evidence.servers().is_empty() {
        let silent = list.local_hosts > 0 && list.maybe_global_hosts == 0;
        return silent.then_some(Rule::NoReflexiveCandidate);
    }
    let mut timed_out = false;
    for (_, outcome) in evidence.servers() {
        match outcome {
            // an error response crossed the firewall just as well
            Outcome::Answered | Outcome::Refused => return None,
            // it may still answer
            Outcome::Pending => return None,
            Outcome::TimedOut => timed_out = true,
            Outcome::Unreachable | Outcome::Unresolved => {}
        }
    }
    timed_out.then_some(Rule::AskedNoneAnswered)
}

pub(crate) fn saturate(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}
