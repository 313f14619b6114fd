//! The judge: one function per rule, its source above it.

use core::net::IpAddr;

use crate::behaviour::{Filtering, Mapping, NatType, Pooling, PortAllocation};
use crate::comparable::{
    Selection, comparable, copy, is_aside, is_contradictory, is_plain, place, place_of,
};
use crate::evidence::vantage::{Vantage, is_local, is_own, keeps_port};
use crate::evidence::{Endpoint, Evidence, Ip, MAX_OBSERVATIONS, Observation, Outcome, Seen};
use crate::primary::{group_of, keep};
use crate::rule::Rule;
use crate::scope::{Scope, untranslated};
use crate::server::ServerId;
use crate::summary::{BaseVerdict, Bases, Counts, MAX_BASES, NatSummary, UnseenWays};
use crate::tally::{Tally, contradicts_itself};

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
        let group = group_of(verdict);
        let of_group = move |seen: &&Seen| seen.group() == group;
        let mut groups = self.observed().chunk_by(Seen::same_group);
        let all = groups.find(|all| all.first().is_some_and(|seen| of_group(&seen)));
        let selection = all.and_then(|all| Selection::of(all, self));
        // each observation on a hidden base is a group of its own
        let is_hidden = verdict.base.port() == 0;
        let hidden_place = place_of(verdict.external.into(), verdict.base.ip().into(), self);
        let is_behind = move |seen: &&Seen| match selection {
            Some(_) if is_hidden => !is_aside(seen, self) && place(seen, self) == hidden_place,
            Some(selection) => selection.takes(seen, self),
            None => false,
        };
        let observed = self.observed().iter().filter(of_group);
        observed.filter(is_behind).map(Observation::from)
    }
}

pub(crate) fn summarize(evidence: &Evidence) -> NatSummary {
    let mut bases = [const { None }; MAX_BASES];
    let (mut best, mut judged, mut set_aside) = (None, 0_u16, 0_u16);
    for group in by_base(evidence.observed()) {
        if let Some((verdict, vantage)) = judge_base(group, evidence, &mut set_aside) {
            judged = judged.saturating_add(1);
            keep(&mut bases, &mut best, verdict, vantage);
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

/// The families of global local addresses that are no judged base and were seen as none. A stack lists
/// no reflexive candidate that equals a host candidate (RFC 8445 section 5.1.3), so a list shows less
/// than there is; a host that hides its addresses may have any.
fn unseen(evidence: &Evidence, bases: &[Option<BaseVerdict>; MAX_BASES]) -> UnseenWays {
    // the places behind the last one are empty
    let judged = || bases.iter().map_while(Option::as_ref);
    let (mut globals, mut unseen) = (0_usize, UnseenWays::default());
    for ip in evidence.locals() {
        let scope = Scope::of(*ip);
        if !scope.is_global() {
            let is_judged = || judged().any(|base| base.base.ip() == *ip);
            unseen.inside |= !scope.is_confined() && !is_judged();
            continue;
        }
        globals += 1;
        let is_seen = |base: &BaseVerdict| {
            // one behind a translator was asked from in IPv6 and seen in IPv4
            base.external == *ip || base.base.ip() == *ip && base.external.is_ipv4() == ip.is_ipv4()
        };
        if !judged().any(is_seen) {
            unseen.v4 |= ip.is_ipv4();
            unseen.v6 |= ip.is_ipv6();
        }
    }
    let hides = evidence
        .list()
        .is_some_and(|list| usize::from(list.maybe_global_hosts) > globals);
    unseen.v6 |= hides && !judged().any(|base| base.external.is_ipv6());
    unseen
}

/// Grouping (RFC 8445 section 5.1.1.1 "base"): mappings of different bases are never compared, nor
/// are those of different families or ICE sessions, and a base whose port is hidden is comparable
/// with nothing, itself included.
fn by_base(seen: &[Seen]) -> impl Iterator<Item = &[Seen]> {
    seen.chunk_by(|a, b| a.same_group(b) && a.base().port != 0)
}

/// Judges one base, by its outermost vantage, and counts the answers set aside.
fn judge_base(
    all: &[Seen],
    evidence: &Evidence,
    set_aside: &mut u16,
) -> Option<(BaseVerdict, Vantage)> {
    let (first, places) = (all.first()?, &mut None);
    let mut seen = all;
    let mut tally = Tally::of(seen)?;
    if !is_plain(first, &tally, evidence) {
        let (chosen, aside) = comparable(all, places, evidence);
        *set_aside = set_aside.saturating_add(saturate(aside));
        seen = chosen;
        tally = Tally::of(seen)?;
    }
    let base = first.base();
    // lost observations may have differed, agreed with one that differs, or been seen from further
    // out
    let is_whole = evidence.truncated().spares(first.group());
    let (mapping, rule) = match mapping(seen, &tally, evidence) {
        (_, Rule::Contradictory) => (Mapping::Unknown, Rule::Contradictory),
        _ if !is_whole => (Mapping::Unknown, Rule::Truncated),
        (decided, _) if decided.is_dependent() && rests_on_doubt(seen, all, evidence) => {
            (Mapping::Unknown, Rule::Contradictory)
        }
        decided => decided,
    };
    let external = external(seen, &tally)?;
    let verdict = BaseVerdict {
        base: base.into(),
        external: external.into(),
        mapping,
        rule,
        natted: natted_by(seen, &tally, rule, evidence).filter(|natted| *natted || is_whole),
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
    };
    Some((verdict, place(seen.first()?, evidence)))
}

/// Mapping behaviour of one base (RFC 4787 section 4.1, RFC 5780 section 4.3).
fn mapping(seen: &[Seen], tally: &Tally, evidence: &Evidence) -> (Mapping, Rule) {
    if contradicts_itself(seen, tally) {
        (Mapping::Unknown, Rule::Contradictory)
    } else if tally.ports_differ {
        (
            Mapping::AddressAndPortDependent,
            Rule::PortsOfOneServerDiffer,
        )
    } else if !tally.mappings_equal && is_one_server(seen, tally) {
        (Mapping::Unknown, Rule::TooFewServers)
    } else if !tally.mappings_equal && has_several_ways(seen, evidence) {
        (Mapping::Unknown, Rule::SeveralWays)
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

/// Whether one server address alone was asked, by way of a translator and without: two ways out, and
/// so perhaps two NATs.
#[cold]
fn is_one_server(seen: &[Seen], tally: &Tally) -> bool {
    tally.server_addresses == 1 && !tally.ports_differ && seen.iter().all(Seen::is_by_address)
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

/// Whether mappings differ by the word of doubtful servers alone.
#[cold]
#[inline(never)]
fn rests_on_doubt(seen: &[Seen], all: &[Seen], evidence: &Evidence) -> bool {
    if all.len() == evidence.observed().len() {
        return false;
    }
    // cheap, and mostly the end of it
    if !by_base(evidence.observed()).any(is_contradictory) {
        return false;
    }
    let is_trusted = |s: &Seen| !is_doubtful(s, evidence);
    if seen.iter().all(is_trusted) {
        return false;
    }
    let mut places = [Seen::NOTHING; MAX_OBSERVATIONS];
    let trusted = copy(&mut places, seen.iter().filter(|s| is_trusted(s)));
    Tally::of(trusted).is_none_or(|tally| !mapping(trusted, &tally, evidence).0.is_dependent())
}

/// Whether answers on another base of the family contradict each other, and one of them is this
/// server's, against two that agree: the server lies, or the way to it is another one. Either makes
/// mappings differ on this base as well.
fn is_doubtful(of: &Seen, evidence: &Evidence) -> bool {
    let is_other = |group: &&[Seen]| {
        let is_alike =
            |s: &Seen| s.mapped().ip.is_v4() == of.mapped().ip.is_v4() && !s.same_group(of);
        of.is_by_address() && group.first().is_some_and(is_alike)
    };
    let contradicts = |group: &[Seen]| {
        let places = &mut None;
        let (seen, _) = comparable(group, places, evidence);
        let is_shown = is_contradictory(seen) && !has_several_ways(seen, evidence);
        let agrees_against = |server: &Seen| {
            seen.iter().enumerate().any(|(at, a)| {
                let mut before = seen.iter().take(at).filter(|b| b.is_by_address());
                !a.same_mapping(server) && a.is_by_address() && before.any(|b| b.same_mapping(a))
            })
        };
        is_shown && seen.iter().any(|s| s.same_address(of) && agrees_against(s))
    };
    // answers that contradict each other do so among all of their group, too
    let mut others = by_base(evidence.observed()).filter(is_other);
    others.any(|group| is_contradictory(group) && contradicts(group))
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
    // a socket of both families reaches IPv4 directly and by way of a translator
    let hides_its_way = |s: &Seen| !s.is_by_address() && s.mapped().ip.is_v4();
    // every link has addresses of its own
    first.mapped().ip.scope().is_confined()
        || !first.base().ip.is_v4() && seen.iter().any(hides_its_way)
        || seen.iter().any(|s| s.is_sent_in_v6() != is_v6)
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

/// Natted (RFC 5780 section 4.3, first test), by all of its mapped addresses: see [`natted`]. Answers
/// that contradict each other prove no NAT where only some of them are not of the host itself.
fn natted_by(seen: &[Seen], tally: &Tally, rule: Rule, evidence: &Evidence) -> Option<bool> {
    let natted = |s: &Seen| natted(s.mapped(), s.base(), evidence);
    if tally.mappings_equal {
        return seen.first().and_then(natted);
    }
    let is_own = |s: &Seen| is_own(s.mapped(), s.base(), evidence);
    if rule == Rule::Contradictory && seen.iter().any(is_own) && !seen.iter().all(is_own) {
        return None;
    }
    seen.iter().map(natted).max().flatten()
}

/// Natted, by one mapped address: no, if it is the base's own, or of a wildcard base a local one, with
/// the base's port kept; yes, if it is another one, and the base's own address is known, or a local
/// one of its family that a packet can leave its link from; else unknown.
///
/// A socket on one local address that was seen at another one, with its port, was translated by the
/// host itself, or is on another address than was reported: unknown.
pub(crate) fn natted(mapped: Endpoint, base: Endpoint, evidence: &Evidence) -> Option<bool> {
    if is_own(mapped, base, evidence) {
        return Some(false);
    }
    if is_local(mapped.ip, base.ip, evidence) {
        return (!keeps_port(mapped, base)).then_some(true);
    }
    let is_known =
        |local: &IpAddr| local.is_ipv4() == mapped.ip.is_v4() && !Scope::of(*local).is_confined();
    // an address of the link that a wildcard base has may stand in no list
    let known = !base.ip.is_unspecified()
        || !mapped.ip.scope().is_confined() && evidence.locals().iter().any(is_known);
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
    let is_elsewhere = |s: &Seen| s.mapped().ip != external;
    if seen.iter().any(|s| is_elsewhere(s) && of_local(&s)) {
        let of_local = by_base(seen).filter(|group| group.first().is_some_and(|s| of_local(&s)));
        let mut differing = of_local
            .filter(|group| differs(group, external, evidence))
            .peekable();
        if differing.peek().is_some() {
            // where answers contradict each other, another address may be a lie
            let is_shown = primary.rule != Rule::Contradictory
                && differing.any(|group| !is_in_doubt(group, evidence));
            return if is_shown {
                Pooling::Arbitrary
            } else {
                Pooling::Unknown
            };
        }
    }
    // an observation that had no room may differ
    if seen.len() < PAIRED_MAPPINGS || evidence.truncated().observations {
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

/// Whether a base was seen at another address than `external`, from the same place, by answers that
/// its verdict may rest on.
#[cold]
fn differs(group: &[Seen], external: Ip, evidence: &Evidence) -> bool {
    let outermost = Vantage::of_scope(external.scope());
    Selection::of(group, evidence).is_some_and(|selection| {
        group.iter().any(|s| {
            s.mapped().ip != external
                && !is_local(s.mapped().ip, s.base().ip, evidence)
                && place(s, evidence) == outermost
                && selection.takes(s, evidence)
                && !is_doubtful(s, evidence)
        })
    })
}

/// Whether the observations of a base contradict each other, so that one of them may be a lie.
#[cold]
fn is_in_doubt(group: &[Seen], evidence: &Evidence) -> bool {
    let verdict = judge_base(group, evidence, &mut 0);
    verdict.is_some_and(|(verdict, _)| verdict.rule == Rule::Contradictory)
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

/// UDP blocked: servers at two or more global addresses that are not the host's own timed out, of a
/// family in which the host has an address that reaches beyond its link, and nothing was heard. One
/// silent server may be dead, local failures prove nothing, and a bare list does not show which
/// servers were asked: see [`Rule::NoReflexiveCandidate`]. Where every server is on the loopback, as
/// in a test, the loopback stands for the network.
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
    // the silence of a server further in shows nothing of a firewall further out
    let is_on_loopback = |server: &(ServerId, Outcome)| matches!(server.0, ServerId::Address(ip, _) if ip.is_loopback());
    let is_test = servers.iter().all(is_on_loopback);
    let is_outside = |ip: &IpAddr| {
        let is_global = Scope::of(untranslated(*ip)).is_global();
        is_test || is_global && !evidence.locals().contains(ip)
    };
    let is_silent = |is_v4: bool| {
        let mut silent = servers.iter().filter_map(|server| match server {
            (ServerId::Address(ip, _), Outcome::TimedOut) => {
                Some(*ip).filter(|ip| ip.is_ipv4() == is_v4 && is_outside(ip))
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
