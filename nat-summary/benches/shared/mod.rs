//! The measured functions, and a straightforward version of the same rules on hash maps.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use nat_summary::{
    Candidate, CandidateKind, Evidence, Mapping, NatSummary, NatType, Observation, Outcome, Scope,
    ServerId,
};

const HOSTS: [&str; 2] = [
    "candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host generation 0",
    "candidate:2 1 udp 2130706431 2001:db8::5 50000 typ host generation 0",
];
pub(crate) const REFLEXIVE: &str = "a=candidate:3 1 udp 1694498815 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000 generation 0";

pub(crate) fn six_candidates() -> Vec<Candidate<'static>> {
    HOSTS
        .iter()
        .chain([&REFLEXIVE; 4])
        .map(|line| Candidate::parse(line).unwrap())
        .collect()
}

pub(crate) fn five_servers() -> Vec<Observation> {
    let observation = |n: u8| Observation {
        base: "192.168.1.5:50000".parse().unwrap(),
        server: ServerId::Address([198, 51, 100, n].into(), 3478),
        mapped: "203.0.113.7:50000".parse().unwrap(),
        sequence: n.into(),
    };
    (0..5).map(observation).collect()
}

/// The rules as one would write them first: a map of maps, filled and then asked.
#[derive(Default)]
pub(crate) struct Baseline {
    bases: HashMap<SocketAddr, HashMap<ServerId, (u32, SocketAddr)>>,
    hidden: Vec<(SocketAddr, SocketAddr)>,
    servers: HashMap<ServerId, Outcome>,
    locals: HashSet<IpAddr>,
    anonymous: u16,
    local_hosts: u32,
    other: u32,
}

#[derive(Debug, PartialEq)]
pub(crate) struct BaselineVerdict {
    natted: Option<bool>,
    external: Option<IpAddr>,
    mapping: Mapping,
    port_preserved: Option<bool>,
    nat_type: NatType,
    asked: usize,
    answered: usize,
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Baseline {
    pub(crate) fn observe(&mut self, observation: Observation) {
        self.servers.insert(observation.server, Outcome::Answered);
        self.see(observation);
    }

    fn see(&mut self, observation: Observation) {
        let (base, mapped) = (canonical(observation.base), canonical(observation.mapped));
        let ip = mapped.ip();
        let broadcast = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
        if mapped.port() == 0 || ip.is_unspecified() || ip.is_multicast() || ip == broadcast {
            return;
        }
        if base.port() == 0 {
            self.hidden.push((base, mapped));
            return;
        }
        let seen = (observation.sequence, mapped);
        let place = self
            .bases
            .entry(base)
            .or_default()
            .entry(observation.server)
            .or_insert(seen);
        *place = seen.max(*place);
    }

    pub(crate) fn from_candidates(candidates: &[Candidate<'_>]) -> Self {
        let mut baseline = Self::default();
        for candidate in candidates {
            match (candidate.kind, candidate.socket_addr(), candidate.base()) {
                (CandidateKind::Host, Some(own), _) => {
                    baseline.locals.insert(own.ip().to_canonical());
                    if Scope::of(own.ip()).is_global() {
                        baseline.other += 1;
                    } else {
                        baseline.local_hosts += 1;
                    }
                }
                (CandidateKind::ServerReflexive, Some(mapped), Some(base)) => {
                    baseline.anonymous += 1;
                    let server = candidate
                        .server()
                        .unwrap_or(ServerId::Anonymous(baseline.anonymous));
                    baseline.see(Observation {
                        base,
                        server,
                        mapped,
                        sequence: 0,
                    });
                }
                _ => baseline.other += 1,
            }
        }
        baseline
    }

    pub(crate) fn judge(&self) -> BaselineVerdict {
        let mut groups: Vec<(SocketAddr, Vec<(ServerId, SocketAddr)>)> = Vec::new();
        for (base, servers) in &self.bases {
            groups.push((
                *base,
                servers
                    .iter()
                    .map(|(server, (_, mapped))| (*server, *mapped))
                    .collect(),
            ));
        }
        for (base, mapped) in &self.hidden {
            groups.push((*base, vec![(ServerId::Anonymous(0), *mapped)]));
        }
        let address = |server: &ServerId| match server {
            ServerId::Address(ip, _) => ServerId::Address(*ip, 0),
            ServerId::Name(hash, _) => ServerId::Name(*hash, 0),
            ServerId::Anonymous(n) => ServerId::Anonymous(*n),
        };
        let mut best: Option<(usize, usize, SocketAddr, BaselineVerdict)> = None;
        for (base, seen) in &groups {
            let mut by_address: HashMap<ServerId, Vec<SocketAddr>> = HashMap::new();
            for (server, mapped) in seen {
                by_address.entry(address(server)).or_default().push(*mapped);
            }
            let distinct: HashSet<SocketAddr> = seen.iter().map(|(_, mapped)| *mapped).collect();
            let ports_differ = by_address
                .values()
                .any(|m| m.iter().collect::<HashSet<_>>().len() > 1);
            let mapping = if ports_differ {
                Mapping::AddressAndPortDependent
            } else if by_address.len() < 2 {
                Mapping::Unknown
            } else if distinct.len() == 1 {
                Mapping::EndpointIndependent
            } else if by_address.values().any(|m| m.len() > 1) {
                Mapping::AddressDependent
            } else {
                Mapping::Dependent
            };
            let mut votes: HashMap<IpAddr, (usize, ServerId)> = HashMap::new();
            for (server, mapped) in by_address
                .iter()
                .flat_map(|(s, m)| m.iter().map(move |m| (s, m)))
            {
                let vote = votes.entry(mapped.ip()).or_insert((0, *server));
                *vote = (vote.0 + 1, vote.1.min(*server));
            }
            let external = votes
                .iter()
                .max_by_key(|(_, (count, lowest))| (*count, std::cmp::Reverse(*lowest)))
                .map(|(ip, _)| *ip);
            let local = external.is_some_and(|ip| ip == base.ip() || self.locals.contains(&ip));
            let family =
                |ip: &IpAddr| external.is_some_and(|external| external.is_ipv4() == ip.is_ipv4());
            let known = !base.ip().is_unspecified() || self.locals.iter().any(family);
            let natted = if local {
                Some(false)
            } else {
                known.then_some(true)
            };
            let verdict = BaselineVerdict {
                natted,
                external,
                mapping,
                port_preserved: (base.port() != 0)
                    .then(|| seen.iter().all(|(_, m)| m.port() == base.port())),
                nat_type: match (natted, mapping) {
                    (Some(false), _) => NatType::Open,
                    (_, Mapping::Unknown) | (None, _) => NatType::Unknown,
                    (_, Mapping::EndpointIndependent) => NatType::Cone,
                    _ => NatType::Symmetric,
                },
                asked: self.servers.len(),
                answered: self
                    .servers
                    .values()
                    .filter(|outcome| **outcome == Outcome::Answered)
                    .count(),
            };
            let weight =
                |(addresses, all, base, _): &(usize, usize, SocketAddr, BaselineVerdict)| {
                    (*addresses, *all, std::cmp::Reverse(*base))
                };
            let candidate = (by_address.len(), seen.len(), *base, verdict);
            if best
                .as_ref()
                .is_none_or(|best| weight(&candidate) > weight(best))
            {
                best = Some(candidate);
            }
        }
        if let Some((_, _, _, verdict)) = best {
            return verdict;
        }
        let alive =
            |o: &Outcome| matches!(o, Outcome::Answered | Outcome::Refused | Outcome::Pending);
        let blocked = if self.servers.is_empty() {
            self.local_hosts > 0 && self.other == 0
        } else {
            !self.servers.values().any(alive)
                && self.servers.values().any(|o| *o == Outcome::TimedOut)
        };
        BaselineVerdict {
            natted: None,
            external: None,
            mapping: Mapping::Unknown,
            port_preserved: None,
            nat_type: if blocked {
                NatType::UdpBlocked
            } else {
                NatType::Unknown
            },
            asked: self.servers.len(),
            answered: 0,
        }
    }
}

pub(crate) fn of_evidence(evidence: &Evidence) -> BaselineVerdict {
    let summary = evidence.summary();
    BaselineVerdict {
        natted: summary.is_natted(),
        external: summary.external_ip(),
        mapping: summary.mapping(),
        port_preserved: summary.port_preserved(),
        nat_type: summary.nat_type(),
        asked: summary.counts().asked.into(),
        answered: summary.counts().answered.into(),
    }
}

pub(crate) fn judge_servers(observations: &[Observation]) -> NatSummary {
    let mut evidence = Evidence::new();
    for observation in observations {
        evidence.observe(*observation);
    }
    evidence.summary()
}

pub(crate) fn baseline_servers(observations: &[Observation]) -> BaselineVerdict {
    let mut baseline = Baseline::default();
    for observation in observations {
        baseline.observe(*observation);
    }
    baseline.judge()
}

/// The whole way from six candidates to a verdict.
pub(crate) fn judge_candidates(candidates: &[Candidate<'static>]) -> NatSummary {
    let mut evidence = Evidence::new();
    for candidate in candidates {
        evidence.add_candidate(candidate);
    }
    evidence.summary()
}
