//! One attempt of the fleet: a host and a peer, each behind its NAT, asked servers, checks both
//! ways.
//!
//! What it comes to follows from the NATs and the luck of packets; the judge sees only the answers.

use std::net::{IpAddr, SocketAddr};

use nat_summary::{Candidate, CandidateKind, Evidence, NatType, Observation, Outcome, ServerId};
use otel_nat::{Checks, TowardPeer};
use rand::Rng;
use rand::seq::IndexedRandom;

use super::nat::{By, Nat, Ports};

/// Share of packets lost, each way.
const LOSS: f64 = 0.02;
/// Requests to one server, and rounds of checks.
const TRIES: usize = 4;
const ROUNDS: usize = 6;

/// What stands in front of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    OpenV6,
    FullCone,
    AddressRestricted,
    PortRestricted,
    AddressDependent,
    Symmetric,
    Blocked,
    NoRoute,
}

impl Kind {
    /// What consumers sit behind, in percent. Nobody's field data: plausible numbers, all kinds
    /// among them.
    pub(crate) const OF_CONSUMERS: [(Self, u32); 9] = [
        (Self::Open, 6),
        (Self::OpenV6, 6),
        (Self::FullCone, 14),
        (Self::AddressRestricted, 9),
        (Self::PortRestricted, 38),
        (Self::AddressDependent, 3),
        (Self::Symmetric, 17),
        (Self::Blocked, 6),
        (Self::NoRoute, 1),
    ];
    /// And volunteers.
    const OF_PEERS: [(Self, u32); 4] = [
        (Self::Open, 40),
        (Self::FullCone, 20),
        (Self::PortRestricted, 32),
        (Self::Symmetric, 8),
    ];

    pub(crate) fn of(shares: &[(Self, u32)], random: &mut impl Rng) -> Self {
        shares
            .choose_weighted(random, |(_, share)| *share)
            .map_or(Self::Open, |(kind, _)| *kind)
    }

    /// The verdict that is not wrong, besides `Unknown`.
    pub(crate) const fn truth(self) -> NatType {
        match self {
            Self::Open | Self::OpenV6 => NatType::Open,
            Self::FullCone | Self::AddressRestricted | Self::PortRestricted => NatType::Cone,
            Self::AddressDependent | Self::Symmetric => NatType::Symmetric,
            Self::Blocked => NatType::UdpBlocked,
            Self::NoRoute => NatType::Unknown,
        }
    }
}

/// A host with one base.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) kind: Kind,
    base: SocketAddr,
    nat: Option<Nat>,
    /// Host and reflexive candidates, as the other side is told.
    advertised: Vec<SocketAddr>,
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
        Self::new(Kind::of(&Kind::OF_CONSUMERS, random), random)
    }

    /// A peer of the same family.
    pub(crate) fn peer_of(consumer: &Self, random: &mut impl Rng) -> Self {
        let kind = if consumer.base.is_ipv6() {
            Kind::OpenV6
        } else {
            Kind::of(&Kind::OF_PEERS, random)
        };
        Self::new(kind, random)
    }

    fn new(kind: Kind, random: &mut impl Rng) -> Self {
        // addresses are those reserved for documentation: nobody's
        let external = [203, 0, 113, random.random_range(1..255)].into();
        let port = random.random_range(32_768..61_000);
        let private = || SocketAddr::from(([192, 168, 1, 5], port));
        let (base, nat) = match kind {
            Kind::Open => ((external, port).into(), None),
            Kind::OpenV6 => (
                ([0x2001, 0xdb8, random.random(), 0, 0, 0, 0, 5], port).into(),
                None,
            ),
            Kind::Blocked | Kind::NoRoute => (private(), None),
            Kind::FullCone | Kind::AddressRestricted | Kind::PortRestricted => {
                let filtering = match kind {
                    Kind::FullCone => By::Endpoint,
                    Kind::AddressRestricted => By::Address,
                    _ => By::AddressAndPort,
                };
                let ports = if random.random_bool(0.8) {
                    Ports::Kept
                } else {
                    Ports::Random
                };
                (
                    private(),
                    Some(Nat::new(By::Endpoint, filtering, ports, external, random)),
                )
            }
            Kind::AddressDependent | Kind::Symmetric => {
                let mapping = if kind == Kind::Symmetric {
                    By::AddressAndPort
                } else {
                    By::Address
                };
                let ports = if random.random_bool(0.4) {
                    Ports::InOrder
                } else {
                    Ports::Random
                };
                (
                    private(),
                    Some(Nat::new(
                        mapping,
                        By::AddressAndPort,
                        ports,
                        external,
                        random,
                    )),
                )
            }
        };
        Self {
            kind,
            base,
            nat,
            advertised: vec![base],
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
            let outcome = match self.kind {
                Kind::NoRoute => Outcome::Unreachable,
                Kind::Blocked => Outcome::TimedOut,
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
        let lines: Vec<String> = lines.collect();
        Evidence::from_candidates(lines.iter().filter_map(|line| Candidate::parse(line).ok()))
    }

    fn send(&mut self, to: SocketAddr, random: &mut impl Rng) -> SocketAddr {
        match &mut self.nat {
            Some(nat) => nat.outward(self.base, to, random),
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

/// Checks in both directions, until ours is answered or the rounds are over (RFC 8445 section 7).
pub(crate) fn punch(ours: &mut Host, theirs: &mut Host, random: &mut impl Rng) -> Punched {
    let mut punched = Punched::default();
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
            (Kind::Open, Kind::Open, true),
            (Kind::PortRestricted, Kind::PortRestricted, true),
            (Kind::Symmetric, Kind::FullCone, true),
            (Kind::Symmetric, Kind::AddressRestricted, true),
            (Kind::Symmetric, Kind::PortRestricted, false),
            (Kind::Symmetric, Kind::Symmetric, false),
            (Kind::OpenV6, Kind::OpenV6, true),
        ] {
            let (mut ours, mut theirs) =
                (Host::new(ours, &mut random), Host::new(theirs, &mut random));
            ours.gather(&mut random);
            theirs.gather(&mut random);
            let punched = punch(&mut ours, &mut theirs, &mut random);
            assert_eq!(
                punched.pair.is_some(),
                meets,
                "{:?} and {:?}: {punched:?}",
                ours.kind,
                theirs.kind
            );
        }
    }
}
