//! One attempt of the fleet: a host and a peer, each behind its NAT, asked servers, checks both
//! ways.
//!
//! What it comes to follows from the NATs and the luck of packets; the judge sees only the answers.

use std::net::{IpAddr, SocketAddr};

use nat_model::{Dependence, Nat, PortAssignment};
use nat_summary::{Candidate, CandidateKind, Evidence, Observation, Outcome, ServerId};
use otel_nat::{Checks, TowardPeer};
use rand::Rng;
use rand::seq::IndexedRandom;

use crate::front::Front;

/// Share of packets lost, each way.
const LOSS: f64 = 0.02;
/// Share of stacks that signal a candidate for each server that answered, as ours does: equal ones prove a cone, which
/// the other stacks hide because they drop equal candidates.
const SIGNALS_ALL: f64 = 0.5;
/// Requests to one server, and rounds of checks.
const TRIES: usize = 4;
const ROUNDS: usize = 6;

/// Where a host is: what stands in front of it, and the network that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) front: Front,
    pub(crate) network: Network,
}

/// The network that gives a host its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// IPv4, at home.
    V4,
    /// IPv6.
    V6,
    /// IPv4 behind a carrier's NAT, without a router in between: the address is of RFC 6598.
    Carrier,
    /// IPv4 on a host with a CLAT, in a network of IPv6 alone: the address is of RFC 7335.
    Clat,
}

const fn v4(front: Front) -> Place {
    Place {
        front,
        network: Network::V4,
    }
}

const fn of(network: Network, front: Front) -> Place {
    Place { front, network }
}

const OPEN_V6: Place = of(Network::V6, Front::Nothing);

impl Place {
    /// The places of consumers, in percent: drawn so that the published tables come out
    /// (`published`), with every front among them.
    pub(crate) const OF_CONSUMERS: [(Self, u32); 12] = [
        (v4(Front::Nothing), 5),
        (OPEN_V6, 6),
        (v4(Front::FullCone), 13),
        (v4(Front::AddressRestricted), 9),
        (v4(Front::PortRestricted), 37),
        (v4(Front::AddressDependent), 2),
        (v4(Front::Symmetric), 8),
        (of(Network::Carrier, Front::PortRestricted), 6),
        (of(Network::Carrier, Front::Symmetric), 5),
        (of(Network::Clat, Front::PortRestricted), 2),
        (v4(Front::Blocked), 6),
        (v4(Front::NoRoute), 1),
    ];
    /// The places of volunteers.
    const OF_PEERS: [(Self, u32); 4] = [
        (v4(Front::Nothing), 30),
        (v4(Front::FullCone), 10),
        (v4(Front::PortRestricted), 42),
        (v4(Front::Symmetric), 18),
    ];

    /// At home, in IPv4.
    pub(crate) const fn at_home(front: Front) -> Self {
        v4(front)
    }

    /// Whether its NAT maps independently of the endpoint; none without a NAT.
    pub(crate) fn is_independent(self) -> Option<bool> {
        let behaviour = self.front.behaviour()?;
        Some(behaviour.mapping == Dependence::EndpointIndependent)
    }

    fn of(shares: &[(Self, u32)], random: &mut impl Rng) -> Self {
        shares
            .choose_weighted(random, |(_, share)| *share)
            .map_or(v4(Front::Nothing), |(place, _)| *place)
    }

    /// As tables show it.
    pub(crate) fn name(self) -> String {
        let network = match self.network {
            Network::V4 => "",
            Network::V6 => ", IPv6",
            Network::Carrier => ", carrier",
            Network::Clat => ", CLAT",
        };
        format!("{}{network}", self.front.name())
    }
}

/// A host with one base.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) place: Place,
    base: SocketAddr,
    nat: Option<Nat>,
    /// Host and reflexive candidates, as they are signalled.
    advertised: Vec<SocketAddr>,
    /// Whether its stack signals a candidate for each server that answered, or equal ones once.
    signals_all: bool,
    /// How many servers saw the first reflexive candidate.
    seen_by: usize,
}

/// What the connectivity checks came to.
#[derive(Debug, Default)]
pub(crate) struct Punched {
    pub(crate) pair: Option<(CandidateKind, CandidateKind)>,
    pub(crate) checks: Checks,
    pub(crate) toward_peer: TowardPeer,
}

impl Host {
    pub(crate) fn consumer(random: &mut impl Rng) -> Self {
        Self::new(Place::of(&Place::OF_CONSUMERS, random), random)
    }

    /// A peer of the same family.
    pub(crate) fn peer_of(consumer: &Self, random: &mut impl Rng) -> Self {
        let place = if consumer.place.network == Network::V6 {
            OPEN_V6
        } else {
            Place::of(&Place::OF_PEERS, random)
        };
        Self::new(place, random)
    }

    pub(crate) fn new(place: Place, random: &mut impl Rng) -> Self {
        // addresses are those reserved for documentation: nobody's
        let external = IpAddr::from([203, 0, 113, random.random_range(1..255)]);
        let port = random.random_range(32_768..61_000);
        let base = match (place.network, place.front) {
            (Network::V6, _) => ([0x2001, 0xdb8, random.random(), 0, 0, 0, 0, 5], port).into(),
            (Network::Carrier, _) => ([100, 64, 1, 5], port).into(),
            (Network::Clat, _) => ([192, 0, 0, 4], port).into(),
            (Network::V4, Front::Nothing) => (external, port).into(),
            (Network::V4, _) => ([192, 168, 1, 5], port).into(),
        };
        let nat = place.front.behaviour().map(|behaviour| {
            let assignment = assignment(behaviour.mapping, random);
            let last_port = random.random_range(20_000..60_000);
            Nat::new(
                behaviour.with_assignment(assignment),
                vec![external],
                last_port,
            )
        });
        Self {
            place,
            base,
            nat,
            advertised: vec![base],
            signals_all: random.random_bool(SIGNALS_ALL),
            seen_by: 0,
        }
    }

    /// Asks a cohort of five, of which some are dead, and at least one is not.
    pub(crate) fn gather(&mut self, random: &mut impl Rng) -> Evidence {
        let mut evidence = Evidence::new();
        evidence.add_local(self.base.ip());
        let mut cohort: Vec<SocketAddr> = Vec::new();
        while cohort.len() < 5 {
            let number = random.random_range(1..=60_u16);
            let ip: IpAddr = match self.base {
                SocketAddr::V4(_) => [198, 51, 100, number as u8].into(),
                SocketAddr::V6(_) => [0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, number].into(),
            };
            // one cohort in ten has a server on two ports
            let server = match cohort.first() {
                Some(first) if cohort.len() == 1 && random.random_bool(0.1) => {
                    (first.ip(), 3_479).into()
                }
                _ => (ip, 3_478).into(),
            };
            if !cohort.contains(&server) {
                cohort.push(server);
            }
        }
        let alive = random.random_range(0..cohort.len());
        for (sequence, server) in (0..).zip(cohort.iter().copied()) {
            let is_dead = sequence as usize != alive && random.random_bool(0.15);
            let outcome = match self.place.front {
                Front::NoRoute => Outcome::Unreachable,
                Front::Blocked => Outcome::TimedOut,
                _ if is_dead && random.random_bool(0.2) => Outcome::Unreachable,
                _ if is_dead || (0..TRIES).all(|_| is_lost(random) || is_lost(random)) => {
                    Outcome::TimedOut
                }
                _ => Outcome::Answered,
            };
            if outcome == Outcome::Answered {
                let mapped = self.send(server, random);
                evidence.observe(Observation {
                    base: self.base,
                    server: server.into(),
                    mapped,
                    sequence,
                });
                if !self.advertised.contains(&mapped) {
                    self.advertised.push(mapped);
                }
                self.seen_by += usize::from(self.advertised.get(1) == Some(&mapped));
            } else {
                evidence.record_outcome(ServerId::from(server), outcome);
            }
        }
        evidence
    }

    /// The candidates, as whoever is told of them takes them for evidence.
    pub(crate) fn candidates(&self) -> Evidence {
        let base = self.base;
        let lines = self.advertised.iter().map(|address| {
            let (ip, port) = (address.ip(), address.port());
            if *address == base {
                format!("candidate:1 1 udp 2130706431 {ip} {port} typ host")
            } else {
                format!(
                    "candidate:2 1 udp 1694498815 {ip} {port} typ srflx raddr {} rport {}",
                    base.ip(),
                    base.port()
                )
            }
        });
        let mut lines: Vec<String> = lines.collect();
        if self.signals_all && self.seen_by > 1 {
            lines.extend(lines.get(1).cloned());
        }
        Evidence::from_candidates(lines.iter().filter_map(|line| Candidate::parse(line).ok()))
    }

    fn send(&mut self, to: SocketAddr, random: &mut impl Rng) -> SocketAddr {
        match &mut self.nat {
            Some(nat) => {
                let mut below = |end| random.random_range(0..end);
                nat.outward(self.base, to, &mut below)
            }
            None => self.base,
        }
    }

    fn hears(&self, at: SocketAddr, from: SocketAddr) -> bool {
        match &self.nat {
            Some(nat) => nat.inward(at, from).is_some(),
            None => at == self.base,
        }
    }

    fn kind_of(&self, seen: SocketAddr) -> CandidateKind {
        match seen {
            seen if seen == self.base => CandidateKind::Host,
            seen if self.advertised.contains(&seen) => CandidateKind::ServerReflexive,
            _ => CandidateKind::PeerReflexive,
        }
    }
}

/// Checks in both directions, until ours is answered or the rounds are over (RFC 8445 section 7). No
/// packet passes a path that is closed.
pub(crate) fn punch(
    ours: &mut Host,
    theirs: &mut Host,
    is_closed: bool,
    random: &mut impl Rng,
) -> Punched {
    let mut punched = Punched::default();
    if is_closed {
        punched.checks.sent = (ROUNDS * theirs.advertised.len()) as u32;
        return punched;
    }
    let (mut theirs_known, mut ours_known) = (theirs.advertised.clone(), ours.advertised.clone());
    for _ in 0..ROUNDS {
        for to in ours_known.clone() {
            if let Some(Check { from, .. }) = check(theirs, ours, to, random) {
                punched.checks.received += 1;
                learn(&mut theirs_known, from);
            }
        }
        for to in theirs_known.clone() {
            punched.checks.sent += 1;
            punched.checks.sent_since_received += u32::from(punched.checks.received > 0);
            let Some(Check { from, is_answered }) = check(ours, theirs, to, random) else {
                continue;
            };
            learn(&mut ours_known, from);
            if is_answered {
                punched.checks.answered += 1;
                let (local, remote) = (ours.kind_of(from), theirs.kind_of(to));
                let is_kept = local != CandidateKind::PeerReflexive;
                punched.toward_peer = if is_kept {
                    TowardPeer::Kept
                } else {
                    TowardPeer::Changed
                };
                punched.pair = Some((local, remote));
                return punched;
            }
        }
    }
    punched
}

struct Check {
    /// Where it seemed to come from.
    from: SocketAddr,
    is_answered: bool,
}

/// One Binding request to `to` and its response; `None`: it did not arrive.
fn check(
    sender: &mut Host,
    receiver: &mut Host,
    to: SocketAddr,
    random: &mut impl Rng,
) -> Option<Check> {
    let from = sender.send(to, random);
    if is_lost(random) || !receiver.hears(to, from) {
        return None;
    }
    // the response leaves the base for where the request seemed to come from
    let back = receiver.send(from, random);
    Some(Check {
        from,
        is_answered: back == to && !is_lost(random) && sender.hears(from, back),
    })
}

/// How a NAT that maps like this assigns ports: most that keep a mapping keep its port as well.
fn assignment(mapping: Dependence, random: &mut impl Rng) -> PortAssignment {
    let in_order = PortAssignment::Sequential {
        step: 1,
        traffic: 1,
    };
    match mapping {
        Dependence::EndpointIndependent if random.random_bool(0.8) => PortAssignment::Preserving,
        Dependence::EndpointIndependent => PortAssignment::Random,
        _ if random.random_bool(0.4) => in_order,
        _ => PortAssignment::Random,
    }
}

fn learn(known: &mut Vec<SocketAddr>, seen: SocketAddr) {
    if !known.contains(&seen) {
        known.push(seen);
    }
}

fn is_lost(random: &mut impl Rng) -> bool {
    random.random_bool(LOSS)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn two_hosts_meet_where_their_nats_let_them() {
        let mut random = SmallRng::seed_from_u64(1);
        for (ours, theirs, meets) in [
            (v4(Front::Nothing), v4(Front::Nothing), true),
            (v4(Front::PortRestricted), v4(Front::PortRestricted), true),
            (v4(Front::Symmetric), v4(Front::FullCone), true),
            (v4(Front::Symmetric), v4(Front::AddressRestricted), true),
            (v4(Front::Symmetric), v4(Front::PortRestricted), false),
            (v4(Front::Symmetric), v4(Front::Symmetric), false),
            (OPEN_V6, OPEN_V6, true),
        ] {
            let (mut ours, mut theirs) =
                (Host::new(ours, &mut random), Host::new(theirs, &mut random));
            ours.gather(&mut random);
            theirs.gather(&mut random);
            let punched = punch(&mut ours, &mut theirs, false, &mut random);
            assert_eq!(
                punched.pair.is_some(),
                meets,
                "{:?} and {:?}: {punched:?}",
                ours.place,
                theirs.place
            );
        }
    }
}
