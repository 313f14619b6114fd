//! The judge: one function per rule, its source above it.

use core::net::IpAddr;

use crate::behaviour::{Filtering, Mapping, NatType, Pooling, PortAllocation};
use crate::evidence::vantage::{Vantage, is_local, is_own};
use crate::evidence::{Endpoint, Evidence, Ip, MAX_OBSERVATIONS, Observation, Outcome, Seen};
use crate::primary::keep;
use crate::rule::Rule;
use crate::scope::Scope;
use crate::server::ServerId;
use crate::summary::{BaseVerdict, Bases, Counts, MAX_BASES, NatSummary, UnseenWays};

/// Fewest mappings of one local address that make their common external address a habit. A NAT that
/// draws it at random from a pool of two shows this by accident once in 65,536 times.
const PAIRED_MAPPINGS: usize = 17;
/// Fewest new mappings, in sending order, that show how ports are allocated.
const ALLOCATED_MAPPINGS: usize = 3;
/// Fewest silent servers that are no accident of one.
const SILENT_SERVERS: u16 = 2;
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
        let group = (base, !external.is_v4(), verdict.session);
        let describes = move |seen: &&Seen| seen.group() == group && !is_aside(seen, self);
        let is_believed = move |seen: &&Seen| !is_beyond_its_server(seen, self);
        let observed = || self.observed().iter().filter(describes);
        let all = base.port == 0 || !observed().any(|seen| is_believed(&seen));
        let of_group = move |seen: &&Seen| describes(seen) && (all || is_believed(seen));
        let outermost = if base.port == 0 {
            let port = 0;
            Some(Vantage::of(Endpoint { ip: external, port }, base, self))
        } else {
            let of_group = self.observed().iter().filter(of_group);
            of_group.map(|seen| vantage(seen, self)).min()
        };
        let is_contradictory = verdict.rule == Rule::Contradictory;
        let is_behind = move |seen: &&Seen| {
            Some(vantage(seen, self)) == outermost
                || is_contradictory
                    && outermost == Some(Vantage::Global)
                    && Scope::of(seen.mapped().ip.into()).is_global()
        };
        self.observed()
            .iter()
            .filter(of_group)
            .filter(is_behind)
            .map(Observation::from)
    }
}

pub(crate) fn summarize(evidence: &Evidence) -> NatSummary {
    let mut bases = [const { None }; MAX_BASES];
    let (mut judged, mut set_aside) = (0_u16, 0_u16);
    for group in by_base(evidence.observed()) {
        if let Some(verdict) = judge_base(group, evidence, &mut set_aside) {
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
        set_aside,
    };
    let pooling = primary.map_or(Pooling::Unknown, |primary| pooling(primary, evidence));
    NatSummary {
        nat_type,
        filtering: Filtering::Unknown,
        pooling,
        rule,
        counts,
        unseen: unseen(evidence, &bases),
        bases: Bases(bases),
    }
}

/// The families of global local addresses in which no base was judged. A stack lists no reflexive
/// candidate that equals a host candidate (RFC 8445 section 5.1.3), so a list shows less than there is;
/// a host that hides its addresses may have any.
fn unseen(evidence: &Evidence, bases: &[Option<BaseVerdict>; MAX_BASES]) -> UnseenWays {
    let is_judged = |is_v4: bool| {
        let mut bases = bases.iter().flatten();
        bases.any(|base| base.external.is_ipv4() == is_v4)
    };
    let globals = |is_v4: bool| {
        let locals = evidence.locals().iter();
        let is_global = move |ip: &&IpAddr| ip.is_ipv4() == is_v4 && Scope::of(**ip).is_global();
        locals.filter(is_global).count()
    };
    let (v4, v6) = (globals(true), globals(false));
    let hides = evidence
        .list()
        .is_some_and(|list| usize::from(list.maybe_global_hosts) > v4 + v6);
    UnseenWays {
        v4: v4 > 0 && !is_judged(true),
        v6: (v6 > 0 || hides) && !is_judged(false),
    }
}

/// Grouping (RFC 8445 section 5.1.1.1 "base"): mappings of different bases are never compared, nor
/// are those of different families or ICE sessions, and a base whose port is hidden is comparable
/// with nothing, itself included.
fn by_base(seen: &[Seen]) -> impl Iterator<Item = &[Seen]> {
    seen.chunk_by(|a, b| a.same_group(b) && a.base().port != 0)
}

/// Judges one base, and counts the answers set aside.
fn judge_base(all: &[Seen], evidence: &Evidence, set_aside: &mut u16) -> Option<BaseVerdict> {
    let (first, places) = (all.first()?, &mut None);
    let mut seen = all;
    let mut tally = Tally::of(seen)?;
    if !is_plain(first, &tally, evidence) {
        seen = comparable(all, places, evidence, set_aside);
        tally = Tally::of(seen)?;
    }
    let base = first.base();
    // lost observations may have differed, agreed with one that differs, or been seen from further
    // out
    let is_whole = evidence.truncated().spares(first.group());
    let (mapping, rule) = match mapping(seen, &tally) {
        (_, Rule::Contradictory) => (Mapping::Unknown, Rule::Contradictory),
        _ if !is_whole => (Mapping::Unknown, Rule::Truncated),
        (Mapping::Dependent | Mapping::AddressDependent, _) if has_several_ways(seen, evidence) => {
            (Mapping::Unknown, Rule::SeveralWays)
        }
        decided => decided,
    };
    let external = external(seen, &tally)?;
    Some(BaseVerdict {
        base: base.into(),
        external: external.into(),
        mapping,
        rule,
        natted: natted_by(seen, &tally, external, evidence).filter(|natted| *natted || is_whole),
        port_preserved: (base.port != 0 && is_whole).then_some(tally.ports_kept),
        allocation: if mapping.is_dependent() {
            allocation(seen, base.port)
        } else {
            PortAllocation::Unknown
        },
        rewritten: tally.rewritten.filter(|rewritten| is_whole || *rewritten),
        server_addresses: tally.server_addresses,
        observations: saturate(seen.len()),
        session: first.session,
    })
}

/// Whether all of the base was seen from one place, and none of it by a proxy: the usual case, which
/// needs no copy. All saw one global address, and no server was asked at it.
fn is_plain(first: &Seen, tally: &Tally, evidence: &Evidence) -> bool {
    let ip = first.mapped().ip;
    tally.addresses_equal
        && tally.servers_global
        && Scope::of(ip.into()).is_global()
        && !evidence.has_asked_at(ip)
        && (tally.ports_alike || !is_local(ip, first.base().ip, evidence))
}

/// The observations of one base that may be compared (RFC 8489 section 14.2 on XOR-MAPPED-ADDRESS):
/// those that describe this host's NAT, seen from the outermost place.
///
/// A server sees from no further out than it is. An answer that would come from further out, such as
/// one whose mapped address is not masked and gets unmasked all the same, counts only where there is
/// no other.
///
/// Servers inside and outside a NAT do not see the same NATs. A local address did not cross the NAT
/// that another answer proves, and is no evidence of how that maps, except where the two contradict
/// each other: a global address of the host's own is seen from outside as well.
#[cold]
#[inline(never)]
fn comparable<'a>(
    all: &[Seen],
    places: &'a mut Option<[Seen; MAX_OBSERVATIONS]>,
    evidence: &Evidence,
    set_aside: &mut u16,
) -> &'a [Seen] {
    let places = places.insert([Seen::NOTHING; MAX_OBSERVATIONS]);
    let mut len = copy(places, all, |s| !is_aside(s, evidence));
    *set_aside = set_aside.saturating_add(saturate(all.len() - len));
    let vantage = |s: &Seen| vantage(s, evidence);
    let mut believed = [Seen::NOTHING; MAX_OBSERVATIONS];
    let kept = places.get(..len).unwrap_or(&[]);
    let believed_len = copy(&mut believed, kept, |s| !is_beyond_its_server(s, evidence));
    if believed_len > 0 {
        (*places, len) = (believed, believed_len);
    }
    let kept = places.get(..len).unwrap_or(&[]);
    let outermost = kept.iter().map(vantage).min();
    if outermost == Some(Vantage::Global) {
        let mut global = [Seen::NOTHING; MAX_OBSERVATIONS];
        let is_global = |s: &Seen| Scope::of(s.mapped().ip.into()).is_global();
        let global_len = copy(&mut global, kept, is_global);
        let is_contradictory = global
            .get(..global_len)
            .is_some_and(|global| contradicts_itself(global, Tally::of(global).as_ref()));
        if is_contradictory {
            *places = global;
            return places.get(..global_len).unwrap_or(&[]);
        }
    }
    len = {
        let mut outer = [Seen::NOTHING; MAX_OBSERVATIONS];
        let len = copy(&mut outer, kept, |s| Some(vantage(s)) == outermost);
        *places = outer;
        len
    };
    places.get(..len).unwrap_or(&[])
}

fn copy(
    to: &mut [Seen; MAX_OBSERVATIONS],
    from: &[Seen],
    is_kept: impl Fn(&Seen) -> bool,
) -> usize {
    let mut len = 0;
    for (place, s) in to.iter_mut().zip(from.iter().filter(|s| is_kept(s))) {
        *place = *s;
        len += 1;
    }
    len
}

fn vantage(seen: &Seen, evidence: &Evidence) -> Vantage {
    Vantage::of(seen.mapped(), seen.base(), evidence)
}

/// Whether an answer does not describe this host's NAT. A proxy in front of a server is seen there in
/// place of the host, as the address of a server that was asked, or as one of the network behind it.
fn is_aside(seen: &Seen, evidence: &Evidence) -> bool {
    let (mapped, base) = (seen.mapped(), seen.base());
    let is_global = |ip: Ip| Scope::of(ip.into()).is_global();
    // a host that asks a server of its own is seen there as itself
    evidence.has_asked_at(mapped.ip) && !is_own(mapped, base, evidence)
        || seen.server_ip().is_some_and(is_global) && !is_global(mapped.ip)
}

/// Whether the mapped address would have been seen from further out than the server is.
fn is_beyond_its_server(seen: &Seen, evidence: &Evidence) -> bool {
    let place = |ip: Ip| Vantage::of_scope(Scope::of(ip.into()));
    let from = match place(seen.mapped().ip) {
        Vantage::Global => Vantage::Global,
        _ => vantage(seen, evidence),
    };
    seen.server_ip().is_some_and(|server| from < place(server))
}

/// What the observations of one base have in common, in one pass.
struct Tally {
    /// Distinct servers: addresses and names, or answers without a server where none is named: such
    /// an answer may be one of a named server, found again.
    server_addresses: u16,
    /// Those that are certainly distinct: two names may be one address, and a text repeats itself.
    certain: u16,
    mappings_equal: bool,
    addresses_equal: bool,
    /// No server is known to be inside a network.
    servers_global: bool,
    ports_kept: bool,
    /// Every port was kept, or none.
    ports_alike: bool,
    rewritten: Option<bool>,
    /// Some server address was asked on two ports. Two of a name may be of two addresses.
    two_ports: bool,
    /// Two ports of one server address got different mappings.
    ports_differ: bool,
}

impl Tally {
    pub(crate) fn of(seen: &[Seen]) -> Option<Self> {
        let mut last = seen.first()?;
        let (first, base) = (last.mapped(), last.base());
        let first_kept = first.port == base.port;
        let mut tally = Self {
            server_addresses: 1,
            certain: 1,
            mappings_equal: true,
            addresses_equal: true,
            servers_global: true,
            ports_kept: true,
            ports_alike: true,
            rewritten: None,
            two_ports: false,
            ports_differ: false,
        };
        // by address first, then by name, then without a server, those of a text last
        let is_named = !last.is_anonymous();
        let counts = |s: &Seen| {
            if is_named {
                s.is_by_address()
            } else {
                !s.is_of_text()
            }
        };
        for (at, s) in seen.iter().enumerate() {
            let mapped = s.mapped();
            let kept = mapped.port == base.port;
            tally.mappings_equal &= mapped == first;
            tally.addresses_equal &= mapped.ip == first.ip;
            tally.servers_global &= s
                .server_ip()
                .is_none_or(|server| Scope::of(server.into()).is_global());
            tally.ports_kept &= kept;
            tally.ports_alike &= kept == first_kept;
            tally.rewritten = tally.rewritten.max(s.rewritten());
            if at > 0 {
                if last.same_address(s) {
                    tally.two_ports |= s.is_by_address();
                    tally.ports_differ |= !last.same_mapping(s) && s.is_by_address();
                } else if !(is_named && s.is_anonymous()) {
                    tally.server_addresses = tally.server_addresses.saturating_add(1);
                    tally.certain = tally.certain.saturating_add(counts(s).into());
                }
            }
            last = s;
        }
        Some(tally)
    }
}

/// Mapping behaviour of one base (RFC 4787 section 4.1, RFC 5780 section 4.3).
fn mapping(seen: &[Seen], tally: &Tally) -> (Mapping, Rule) {
    if contradicts_itself(seen, Some(tally)) {
        (Mapping::Unknown, Rule::Contradictory)
    } else if tally.ports_differ {
        (
            Mapping::AddressAndPortDependent,
            Rule::PortsOfOneServerDiffer,
        )
    } else if !tally.mappings_equal {
        if tally.two_ports && tally.certain > 1 && !may_hide_a_port(seen) {
            (Mapping::AddressDependent, Rule::ServersDifferPortsAgree)
        } else {
            (Mapping::Dependent, Rule::ServersDiffer)
        }
    } else if tally.certain > 1 {
        (Mapping::EndpointIndependent, Rule::ServersAgree)
    } else {
        (Mapping::Unknown, Rule::TooFewServers)
    }
}

/// Whether two servers that are certainly at two addresses saw one mapping, and any server another.
/// RFC 4787 section 4.1 knows no NAT that does so: one server lies, or the mapping changed in the
/// middle, or two ways lead out.
fn contradicts_itself(seen: &[Seen], tally: Option<&Tally>) -> bool {
    tally.is_some_and(|tally| !tally.mappings_equal && tally.certain > 1) && two_agree(seen)
}

#[cold]
fn two_agree(seen: &[Seen]) -> bool {
    let is_named = seen.first().is_some_and(|first| !first.is_anonymous());
    let counts = |s: &&Seen| {
        if is_named {
            s.is_by_address()
        } else {
            !s.is_of_text()
        }
    };
    seen.iter().filter(counts).enumerate().any(|(at, a)| {
        let mut before = seen.iter().filter(counts).take(at);
        before.any(|b| a.same_mapping(b) && !a.same_address(b))
    })
}

/// Whether a server without a known address saw a mapping that no known address saw: it may be
/// another port of one of those, and then the port matters.
#[cold]
fn may_hide_a_port(seen: &[Seen]) -> bool {
    let known = || seen.iter().filter(|s| s.is_by_address());
    seen.iter()
        .filter(|s| !s.is_by_address())
        .any(|s| !known().any(|k| k.same_mapping(s)))
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

/// The mapped address most server addresses saw; tie: the one seen by the lowest of them.
fn external(seen: &[Seen], tally: &Tally) -> Option<Ip> {
    let first = seen.first()?.mapped().ip;
    if tally.addresses_equal {
        return Some(first);
    }
    let mut best = (first, 0);
    for candidate in seen.iter().map(|s| s.mapped().ip) {
        let votes = votes(seen, candidate);
        if votes > best.1 {
            best = (candidate, votes);
        }
    }
    Some(best.0)
}

/// How many servers saw `ip`. Two ports of one count once; they follow each other.
fn votes(seen: &[Seen], ip: Ip) -> usize {
    let mut of_ip = seen.iter().filter(|s| s.mapped().ip == ip);
    let Some(mut last) = of_ip.next() else {
        return 0;
    };
    let mut votes = 1;
    for s in of_ip {
        votes += usize::from(!last.same_address(s));
        last = s;
    }
    votes
}

/// Natted (RFC 5780 section 4.3, first test): no, if every mapped address is a local one with the
/// base's port kept; else as [`natted`] has it.
fn natted_by(seen: &[Seen], tally: &Tally, external: Ip, evidence: &Evidence) -> Option<bool> {
    let is_own = |s: &Seen| vantage(s, evidence) == Vantage::Own;
    let first = seen.first()?;
    if tally.addresses_equal && tally.ports_alike {
        return natted(first.mapped(), first.base(), evidence);
    }
    // one answer among those that contradict each other proves no NAT where most saw the host itself
    let of_external = |s: &&Seen| s.mapped().ip == external;
    if seen.iter().filter(of_external).any(is_own) {
        return seen.iter().all(is_own).then_some(false);
    }
    let translated = seen.iter().find(|s| !is_own(s)).unwrap_or(first);
    natted(translated.mapped(), translated.base(), evidence)
}

/// Natted, by one mapped address: no, if it is a local one with the base's port kept; yes, if it is
/// not, and the base's own address is known, or a local one of its family that a packet can leave
/// its link from; else unknown.
pub(crate) fn natted(mapped: Endpoint, base: Endpoint, evidence: &Evidence) -> Option<bool> {
    if is_own(mapped, base, evidence) {
        return Some(false);
    }
    if is_local(mapped.ip, base.ip, evidence) {
        return Some(true);
    }
    let is_known =
        |local: &IpAddr| local.is_ipv4() == mapped.ip.is_v4() && !Scope::of(*local).is_confined();
    let known = !base.ip.is_unspecified() || evidence.locals().iter().any(is_known);
    (known && !evidence.truncated().locals).then_some(true)
}

/// Port allocation of a dependent mapping (RFC 4787 section 4.2, RFC 5128 section 3.3 on
/// prediction), from mappings in the order in which they were made.
fn allocation(seen: &[Seen], base_port: u16) -> PortAllocation {
    // which copy of a request made the mapping is unknown once there were two
    let sent_once = || seen.iter().filter(|s| !s.is_resent());
    let mut order = [&Seen::NOTHING; MAX_OBSERVATIONS];
    let Some(order) = order.get_mut(..sent_once().count()) else {
        return PortAllocation::Unknown;
    };
    for (place, seen) in order.iter_mut().zip(sent_once()) {
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
    let of_external = |s: &&Seen| of_local(s) && s.mapped().ip == external;
    let others_differ = || {
        let outermost = Vantage::of_scope(Scope::of(external.into()));
        let compared = |s: &Seen| vantage(s, evidence) == outermost && !is_aside(s, evidence);
        by_base(seen).any(|group| {
            let first = group.first().filter(of_local);
            first.is_some()
                && group
                    .iter()
                    .any(|s| s.mapped().ip != external && compared(s))
                && !is_in_doubt(group, evidence)
        })
    };
    if seen
        .iter()
        .filter(of_local)
        .any(|s| s.mapped().ip != external)
        && others_differ()
    {
        return Pooling::Arbitrary;
    }
    // an observation that had no room may differ
    let all = seen.iter().filter(of_external).count();
    if all < PAIRED_MAPPINGS || evidence.truncated().observations {
        return Pooling::Unknown;
    }
    let is_new = |(at, s): &(usize, &Seen)| {
        let earlier = seen.get(..*at).unwrap_or(&[]);
        !earlier
            .iter()
            .any(|e| e.base() == s.base() && e.same_mapping(s))
    };
    let mappings = seen
        .iter()
        .enumerate()
        .filter(|(_, s)| of_external(s))
        .filter(is_new)
        .count();
    if mappings >= PAIRED_MAPPINGS {
        Pooling::Paired
    } else {
        Pooling::Unknown
    }
}

/// Whether the observations of a base contradict each other, so that one of them may be a lie.
#[cold]
fn is_in_doubt(group: &[Seen], evidence: &Evidence) -> bool {
    let verdict = judge_base(group, evidence, &mut 0);
    verdict.is_some_and(|verdict| verdict.rule == Rule::Contradictory)
}

/// The type, in the terms of RFC 3489 section 5. From inside a carrier's or a company's network, the
/// next NAT cannot be seen: no NAT so far, or one mapping so far, is not the whole way. Mappings that
/// differ stay different: no outer NAT joins what an inner one splits.
fn nat_type(base: &BaseVerdict) -> (NatType, Rule) {
    let is_outside = base.external_scope().is_global();
    match (base.natted, base.mapping) {
        (Some(false), _) if is_outside => (NatType::Open, Rule::MappedIsLocal),
        (Some(false), _) => (NatType::Unknown, Rule::SeenFromInside),
        (_, Mapping::Unknown) => (NatType::Unknown, base.rule),
        (None, _) => (NatType::Unknown, Rule::LocalsUnknown),
        (Some(true), Mapping::EndpointIndependent) if is_outside => (NatType::Cone, base.rule),
        (Some(true), Mapping::EndpointIndependent) => (NatType::Unknown, Rule::SeenFromInside),
        (Some(true), _) => (NatType::Symmetric, base.rule),
    }
}

/// UDP blocked: servers at two or more addresses timed out, of a family in which the host has an
/// address that reaches beyond its link, and nothing was heard. One silent server may be dead, local
/// failures prove nothing, and a bare list does not show which servers were asked: see
/// [`Rule::NoReflexiveCandidate`].
fn blocked(evidence: &Evidence) -> Option<Rule> {
    let list = evidence.list().unwrap_or_default();
    // servers without room may have answered, and an impossible mapped address came in an answer all
    // the same
    let is_heard = list.signs_of_life > 0
        || evidence.signs_of_life() > 0
        || evidence.truncated().servers
        || evidence.discarded().impossible > 0
        || !evidence.observed().is_empty();
    if is_heard {
        return None;
    }
    let servers = evidence.servers();
    if servers.is_empty() {
        let silent =
            list.asked >= SILENT_SERVERS && list.local_hosts > 0 && list.maybe_global_hosts == 0;
        return silent.then_some(Rule::NoReflexiveCandidate);
    }
    // an error response crossed the firewall just as well, and a pending request may be answered yet
    let proves_nothing = |(_, outcome): &(ServerId, Outcome)| {
        matches!(
            outcome,
            Outcome::Answered | Outcome::Refused | Outcome::Pending
        )
    };
    if servers.iter().any(proves_nothing) {
        return None;
    }
    // a stack lists no reflexive candidate that equals a host candidate, so the answer may be hidden
    if list.maybe_global_hosts > 0 {
        return None;
    }
    let is_silent = |is_v4: bool| {
        let mut silent = servers.iter().filter_map(|server| match server {
            (ServerId::Address(ip, _), Outcome::TimedOut) => {
                Some(*ip).filter(|ip| ip.is_ipv4() == is_v4 && Ip::from(*ip).is_unicast())
            }
            _ => None,
        });
        let first = silent.next();
        let has_a_way =
            |local: &IpAddr| local.is_ipv4() == is_v4 && !Scope::of(*local).is_confined();
        silent.any(|ip| Some(ip) != first) && evidence.locals().iter().any(has_a_way)
    };
    (is_silent(true) || is_silent(false)).then_some(Rule::AskedNoneAnswered)
}

fn saturate(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}
