//! The judge: one function per rule, its source above it.

use core::net::IpAddr;

use crate::evidence::{Endpoint, Evidence, Outcome, Seen};
use crate::summary::{BaseVerdict, Counts, Filtering, MAX_BASES, Mapping, NatSummary, NatType};

/// The rule that decided, or why nothing could be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Two ports of one server address saw different mappings.
    PortsOfOneServerDiffer,
    /// Two or more server addresses saw one and the same mapping.
    ServersAgree,
    /// Server addresses saw different mappings, and the ports of one agreed.
    ServersDifferPortsAgree,
    /// Server addresses saw different mappings; no address was asked on two ports.
    ServersDiffer,
    /// The mapped address is a local one.
    MappedIsLocal,
    /// Servers were asked, none was heard of, and at least one timed out.
    AskedNoneAnswered,
    /// A candidate list has host candidates that are not global, and nothing that came over UDP.
    NoReflexiveCandidate,
    /// Only one server address was observed, or the base is hidden: unknown.
    TooFewServers,
    /// Dependent or independent, but whether a NAT is there is unknown, for no local address is.
    LocalsUnknown,
    /// Nothing was observed, and nothing proves UDP blocked: unknown.
    NothingObserved,
}

pub(crate) fn summarize(evidence: &Evidence) -> NatSummary {
    let mut bases = [None; MAX_BASES];
    let mut count = 0_u16;
    for group in by_base(evidence.observed()) {
        if let Some(verdict) = judge_base(group, evidence.locals()) {
            count = count.saturating_add(1);
            keep(&mut bases, verdict);
        }
    }
    let speaking = bases[0];
    let servers = evidence.servers();
    let (nat_type, rule) = nat_type(evidence, speaking.as_ref());
    NatSummary {
        nat_type,
        filtering: Filtering::Unknown,
        rule,
        counts: Counts {
            asked: saturate(servers.len()),
            answered: saturate(servers.iter().filter(|(_, outcome)| *outcome == Outcome::Answered).count()),
            server_addresses: speaking.map_or(0, |base| base.server_addresses),
            observations: speaking.map_or(0, |base| base.observations),
            bases: count,
        },
        bases,
    }
}

/// Grouping (RFC 8445 section 5.1.1.1 "base"): mappings of different bases are never compared, and a base whose port is
/// hidden is comparable with nothing, itself included.
fn by_base(seen: &[Seen]) -> impl Iterator<Item = &[Seen]> {
    seen.chunk_by(|a, b| a.base == b.base && a.base.port != 0)
}

fn judge_base(seen: &[Seen], locals: &[IpAddr]) -> Option<BaseVerdict> {
    let base = seen.first()?.base;
    let (mapping, rule) = mapping(seen);
    let external = external(seen)?;
    Some(BaseVerdict {
        base: base.into(),
        external,
        mapping,
        rule,
        natted: natted(external, base.ip, locals),
        port_preserved: (base.port != 0).then(|| seen.iter().all(|s| s.mapped.port == base.port)),
        server_addresses: saturate(by_server_address(seen).count()),
        observations: saturate(seen.len()),
    })
}

fn by_server_address(seen: &[Seen]) -> impl Iterator<Item = &[Seen]> {
    seen.chunk_by(|a, b| a.server.is_same_address(&b.server))
}

/// Mapping behaviour of one base (RFC 4787 section 4.1, RFC 5780 section 4.3).
fn mapping(seen: &[Seen]) -> (Mapping, Rule) {
    let mut addresses = 0;
    let mut some_address_on_two_ports = false;
    for ports in by_server_address(seen) {
        if !all_equal(ports) {
            return (Mapping::AddressAndPortDependent, Rule::PortsOfOneServerDiffer);
        }
        addresses += 1;
        some_address_on_two_ports |= ports.len() > 1;
    }
    if addresses < 2 {
        (Mapping::Unknown, Rule::TooFewServers)
    } else if all_equal(seen) {
        (Mapping::EndpointIndependent, Rule::ServersAgree)
    } else if some_address_on_two_ports {
        (Mapping::AddressDependent, Rule::ServersDifferPortsAgree)
    } else {
        (Mapping::Dependent, Rule::ServersDiffer)
    }
}

fn all_equal(seen: &[Seen]) -> bool {
    seen.windows(2).all(|pair| matches!(pair, [a, b] if a.mapped == b.mapped))
}

/// The mapped address most server addresses saw; tie: the one seen by the lowest of them.
fn external(seen: &[Seen]) -> Option<IpAddr> {
    let first = seen.first()?.mapped.ip;
    if seen.iter().all(|s| s.mapped.ip == first) {
        return Some(first);
    }
    let mut best = (first, 0);
    for candidate in seen.iter().map(|s| s.mapped.ip) {
        let votes = by_server_address(seen).filter(|ports| ports.iter().any(|s| s.mapped.ip == candidate)).count();
        if votes > best.1 {
            best = (candidate, votes);
        }
    }
    Some(best.0)
}

/// Natted (RFC 5780 section 4.3, first test): no, if the mapped address is a local one; yes, if it is not and a local
/// address of its family, or the base's own, is known; else unknown.
fn natted(external: IpAddr, base: IpAddr, locals: &[IpAddr]) -> Option<bool> {
    if external == base || locals.contains(&external) {
        return Some(false);
    }
    let known = !base.is_unspecified() || locals.iter().any(|ip| ip.is_ipv4() == external.is_ipv4());
    known.then_some(true)
}

/// The type, in the terms of RFC 3489 section 5.
fn nat_type(evidence: &Evidence, speaking: Option<&BaseVerdict>) -> (NatType, Rule) {
    let Some(base) = speaking else {
        return match blocked(evidence) {
            Some(rule) => (NatType::UdpBlocked, rule),
            None => (NatType::Unknown, Rule::NothingObserved),
        };
    };
    match (base.natted, base.mapping) {
        (Some(false), _) => (NatType::Open, Rule::MappedIsLocal),
        (_, Mapping::Unknown) => (NatType::Unknown, base.rule),
        (None, _) => (NatType::Unknown, Rule::LocalsUnknown),
        (Some(true), Mapping::EndpointIndependent) => (NatType::Cone, base.rule),
        (Some(true), _) => (NatType::Symmetric, base.rule),
    }
}

/// UDP blocked: at least one server was asked, none was heard of, and at least one request ended in a time-out. Local
/// failures alone prove nothing. A bare list cannot tell what was asked: see [`Rule::NoReflexiveCandidate`].
fn blocked(evidence: &Evidence) -> Option<Rule> {
    if let Some(list) = evidence.list() {
        return (list.local_hosts > 0 && list.maybe_global_hosts == 0 && list.signs_of_life == 0)
            .then_some(Rule::NoReflexiveCandidate);
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

/// Keeps the speaking base first and the others by address and port. Beyond the last place, the greatest of the others
/// goes.
fn keep(bases: &mut [Option<BaseVerdict>; MAX_BASES], verdict: BaseVerdict) {
    let [speaking, others @ ..] = bases;
    let Some(current) = speaking else {
        *speaking = Some(verdict);
        return;
    };
    // bases arrive by address and port, IPv4 first: on a tie the earlier one stays
    let weight = |v: &BaseVerdict| (v.server_addresses, v.observations);
    let other = if weight(&verdict) > weight(current) { core::mem::replace(current, verdict) } else { verdict };
    let at = others.iter().position(|o| o.is_none_or(|o| endpoint(&o) > endpoint(&other))).unwrap_or(others.len());
    if let Some(tail) = others.get_mut(at..)
        && let Some(last) = tail.len().checked_sub(1)
    {
        tail.copy_within(..last, 1);
        tail[0] = Some(other);
    }
}

fn endpoint(verdict: &BaseVerdict) -> Endpoint {
    verdict.base.into()
}

fn saturate(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}
