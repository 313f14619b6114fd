//! RFC 4787 NATs, one behind the other or one beside it, asked in random worlds: the verdict is
//! never wrong, and given whenever the evidence can decide it.

use std::net::{IpAddr, SocketAddr};

use nat_model::{Behaviour, Dependence, Nat, PortAssignment};
use nat_summary::{
    Address, Candidate, CandidateKind, Evidence, Mapping, NatSummary, NatType, Observation,
    Outcome, Pooling, PortAllocation, Scope,
};

const WORLDS: u64 = 100_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// How a NAT maps, in the judge's words.
const fn mapping(dependence: Dependence) -> Mapping {
    match dependence {
        Dependence::EndpointIndependent => Mapping::EndpointIndependent,
        Dependence::AddressDependent => Mapping::AddressDependent,
        Dependence::AddressAndPortDependent => Mapping::AddressAndPortDependent,
    }
}

/// One base of the host, and what it is reported as.
#[derive(Debug, Clone, Copy)]
struct Base {
    socket: SocketAddr,
    /// A wildcard socket that sends to every other address from here.
    other: Option<SocketAddr>,
    reported: SocketAddr,
}

impl Base {
    /// Where it sends to `to` from, and whether that is its other way out.
    fn way(&self, to: SocketAddr) -> (SocketAddr, bool) {
        let last = match to.ip() {
            IpAddr::V4(ip) => u16::from(ip.octets()[3]),
            IpAddr::V6(ip) => ip.segments()[7],
        };
        self.other
            .filter(|_| last % 2 == 1)
            .map_or((self.socket, false), |other| (other, true))
    }
}

#[derive(Debug)]
struct World {
    nat: Option<Nat>,
    /// Another NAT behind that, with servers between the two.
    carrier: Option<Nat>,
    /// What stands at the other way out, where it is not the same NAT.
    second: Option<Nat>,
    bases: Vec<Base>,
    servers: Vec<SocketAddr>,
    /// What was observed, in the order of sending.
    heard: Vec<(Base, SocketAddr, SocketAddr)>,
    /// Which of the requests each of them answers.
    sequences: Vec<u32>,
    asked: Vec<(SocketAddr, Outcome)>,
    locals: Vec<IpAddr>,
}

fn world(random: &mut Random) -> World {
    let v6 = random.chance(20);
    let ip = |group: u16, host: u16| -> IpAddr {
        let [a, b, c] = [[198_u8, 51, 100], [192, 168, 1], [203, 0, 113]][usize::from(group)];
        if v6 {
            [0x2001, 0xdb8, group, 0, 0, 0, 0, host].into()
        } else {
            [a, b, c, host as u8].into()
        }
    };
    let natted = random.chance(85);
    let in_carrier = natted && !v6 && random.chance(25);
    let near = natted && !v6 && random.chance(30);
    let locals_known = random.chance(70);
    let interfaces = 1 + random.below(2) as u16;
    let mut bases = Vec::new();
    for n in 0..=random.below(3) as u16 {
        // no NAT: the host itself has the outside addresses
        let group = if natted { 1 } else { 2 };
        let from = |n: u16| SocketAddr::new(ip(group, 5 + n % 2), 50_000);
        let mut socket = from(n % interfaces);
        socket.set_port(50_000 + n);
        let wildcard: IpAddr = if v6 {
            [0_u16; 8].into()
        } else {
            [0_u8; 4].into()
        };
        let reported = match random.below(10) {
            0 => SocketAddr::new(wildcard, 0),
            1 | 2 => SocketAddr::new(wildcard, socket.port()),
            _ => socket,
        };
        // that there are two ways can only be known by the addresses
        let is_wildcard = reported.ip() == wildcard && reported.port() != 0;
        let other = (is_wildcard && locals_known && random.chance(50))
            .then(|| SocketAddr::new(from(1 + n % interfaces).ip(), socket.port()));
        bases.push(Base {
            socket,
            other,
            reported,
        });
    }
    let mut servers = Vec::new();
    for host in 0..=random.below(8) as u16 {
        let address = match random.below(10) {
            0 | 1 if near => [192, 168, 1, 100 + host as u8].into(),
            2..=5 if in_carrier => [100, 64, 0, host as u8].into(),
            _ => ip(0, host),
        };
        for port in 0..=random.one_of(&[0_u16, 0, 0, 1, 1, 2]) {
            servers.push(SocketAddr::new(address, 3478 + port));
        }
    }
    let mut nat_of = |mapping: Option<Dependence>, address: &dyn Fn(u16) -> IpAddr| {
        let pool = (0..random.one_of(&[1, 1, 2, 4])).map(address).collect();
        let assignment = match random.below(3) {
            0 => PortAssignment::Preserving,
            1 => PortAssignment::Sequential {
                step: random.one_of(&[1, 1, 2, 4]),
                traffic: random.one_of(&[0, 0, 1, 3]),
            },
            _ => PortAssignment::Random,
        };
        let mapping = mapping.unwrap_or_else(|| random.one_of(&Dependence::ALL));
        // nothing is ever sent in, so how it filters makes no difference
        let behaviour = Behaviour::new(mapping, Dependence::EndpointIndependent)
            .with_assignment(assignment)
            .with_pooling(
                random.one_of(&[nat_model::Pooling::Paired, nat_model::Pooling::Arbitrary]),
            );
        Nat::new(behaviour, pool, 1024 + random.below(64_000) as u16)
    };
    let outside = |n| ip(2, 7 + n);
    let between = |n: u16| [100, 64, 3, 7 + n as u8].into();
    let nat = natted.then(|| nat_of(None, if in_carrier { &between } else { &outside }));
    let carrier = in_carrier.then(|| nat_of(None, &outside));
    let sockets = || {
        bases
            .iter()
            .flat_map(|base| [Some(base.socket), base.other])
            .flatten()
    };
    let locals: Vec<_> = if locals_known {
        sockets().map(|socket| socket.ip()).collect()
    } else {
        Vec::new()
    };
    let mut world = World {
        nat,
        carrier,
        second: None,
        bases,
        servers,
        heard: Vec::new(),
        sequences: Vec::new(),
        asked: Vec::new(),
        locals,
    };
    // as both map, so that one truth holds for the host
    let truth = world.dependence(outside(0));
    let second = natted.then(|| nat_of(Some(truth), &|n| ip(2, 107 + n)));
    world.second = second.filter(|_| random.chance(50));
    let blocked = random.chance(10);
    let loss = random.one_of(&[0, 10, 50]);
    for base in world.bases.clone() {
        for server in world.servers.clone() {
            let mapped = world.send(&base, server, random);
            let outcome = if blocked || random.chance(loss) {
                // a local failure is no time-out
                random.one_of(&[Outcome::TimedOut, Outcome::TimedOut, Outcome::Unreachable])
            } else {
                world.heard.push((base, server, mapped));
                world.sequences.push(world.asked.len() as u32);
                Outcome::Answered
            };
            world.asked.push((server, outcome));
        }
    }
    world
}

impl World {
    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::new();
        for ip in &self.locals {
            evidence.add_local(*ip);
        }
        for (server, outcome) in &self.asked {
            evidence.record_outcome((*server).into(), *outcome);
        }
        for ((base, server, mapped), sequence) in self.heard.iter().zip(&self.sequences) {
            evidence.observe(Observation {
                base: base.reported,
                server: (*server).into(),
                mapped: *mapped,
                sequence: *sequence,
            });
        }
        evidence
    }

    /// The same as a list: with server URLs, or as the stacks that drop equal candidates have it.
    fn list(&self, urls: bool) -> Evidence {
        let url = |server: &SocketAddr| format!("stun:{server}");
        let urls: Vec<_> = self
            .heard
            .iter()
            .map(|(_, server, _)| urls.then(|| url(server)))
            .collect();
        let at = |address: SocketAddr| (Address::Ip(address.ip()), address.port());
        let candidate = |kind, own, base: Option<SocketAddr>| {
            let (address, port) = at(own);
            Candidate {
                kind,
                address,
                port,
                related: base.map(at),
                ..Candidate::default()
            }
        };
        let mut list: Vec<_> = self
            .sockets()
            .map(|socket| candidate(CandidateKind::Host, socket, None))
            .collect();
        for ((base, server, mapped), url) in self.heard.iter().zip(&urls) {
            let reflexive = candidate(CandidateKind::ServerReflexive, *mapped, Some(base.reported));
            // RFC 8445 section 5.1.3: redundant if address and base are another's
            let redundant = *mapped == base.way(*server).0 || list.contains(&reflexive);
            if url.is_some() || !redundant {
                list.push(Candidate {
                    url: url.as_deref(),
                    ..reflexive
                });
            }
        }
        Evidence::from_candidates(list)
    }

    fn sockets(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.bases
            .iter()
            .flat_map(|base| [Some(base.socket), base.other])
            .flatten()
    }

    fn is_own(&self, ip: IpAddr) -> bool {
        self.sockets().any(|socket| socket.ip() == ip)
    }

    /// What `to` sees of a packet.
    fn send(&mut self, base: &Base, to: SocketAddr, random: &mut Random) -> SocketAddr {
        let (socket, is_other) = base.way(to);
        let mut below = |end| random.below(end);
        let scope = Scope::of(to.ip());
        let Some(nat) = self.nat.as_mut().filter(|_| scope != Scope::Private) else {
            return socket;
        };
        if let Some(second) = self.second.as_mut().filter(|_| is_other) {
            return second.outward(socket, to, &mut below);
        }
        let mapped = nat.outward(socket, to, &mut below);
        match self
            .carrier
            .as_mut()
            .filter(|_| scope != Scope::CarrierGrade)
        {
            Some(carrier) => carrier.outward(mapped, to, &mut below),
            None => mapped,
        }
    }

    /// How the NATs map between the host and where it is seen as `external`.
    fn truth(&self, external: IpAddr) -> Mapping {
        mapping(self.dependence(external))
    }

    fn dependence(&self, external: IpAddr) -> Dependence {
        let crossed = self.crossed(external).map(|nat| nat.behaviour().mapping);
        crossed.max().unwrap_or(Dependence::EndpointIndependent)
    }

    /// The NATs between the host and where it is seen as `external`.
    fn crossed(&self, external: IpAddr) -> impl Iterator<Item = &Nat> {
        let is_between = Scope::of(external) == Scope::CarrierGrade;
        let is_own = self.is_own(external);
        self.nat
            .iter()
            .filter(move |_| !is_own)
            .chain(self.carrier.iter().filter(move |_| !is_between && !is_own))
    }

    /// From where `base` was seen, as far as the evidence can tell: none where it has its own
    /// address.
    fn vantage(&self, base: SocketAddr, mapped: IpAddr) -> Option<Scope> {
        (mapped != base.ip() && !self.locals.contains(&mapped)).then(|| Scope::of(mapped))
    }

    /// What was heard of a base from as far out as `mapped` is from.
    fn heard_beside(
        &self,
        base: SocketAddr,
        mapped: IpAddr,
    ) -> impl Iterator<Item = (SocketAddr, SocketAddr)> + '_ {
        let vantage = self.vantage(base, mapped);
        let of_base = self.heard.iter().filter(move |(b, ..)| b.reported == base);
        of_base
            .filter(move |(.., m)| self.vantage(base, m.ip()) == vantage)
            .map(|(_, server, m)| (*server, *m))
    }

    /// Everything the summary says that is not so.
    fn wrong(&self, summary: &NatSummary) -> Option<String> {
        for verdict in summary.bases() {
            let truth = self.truth(verdict.external);
            let right = match verdict.mapping {
                Mapping::Unknown => true,
                Mapping::Dependent => truth.is_dependent(),
                known => known == truth,
            };
            if !right {
                return Some(format!("mapping {:?}", verdict.mapping));
            }
            // hidden ones are told apart by what was seen
            let of_verdict = |(base, _, mapped): &&(Base, SocketAddr, SocketAddr)| {
                base.reported == verdict.base
                    && (verdict.base.port() != 0 || mapped.ip() == verdict.external)
            };
            let crossed = self
                .heard
                .iter()
                .filter(of_verdict)
                .any(|(.., mapped)| !self.is_own(mapped.ip()));
            if verdict.natted.is_some_and(|natted| natted != crossed) {
                return Some(format!("natted {:?}", verdict.natted));
            }
            let explains = |nat: &Nat| match (verdict.allocation, nat.behaviour().assignment) {
                (PortAllocation::Preserving, PortAssignment::Preserving)
                | (PortAllocation::Random, PortAssignment::Random | PortAssignment::Preserving) => {
                    true
                }
                (
                    PortAllocation::Sequential { step: seen },
                    PortAssignment::Sequential { step, traffic },
                ) => {
                    seen > 0
                        && seen as u16 % step == 0
                        && seen as u64 <= u64::from(step) * (1 + u64::from(traffic))
                }
                _ => false,
            };
            let mut nats = self.crossed(verdict.external).chain(&self.second);
            if verdict.allocation != PortAllocation::Unknown && !nats.any(explains) {
                return Some(format!("allocation {:?}", verdict.allocation));
            }
            let mut mapped = self.heard.iter().map(|(_, _, mapped)| mapped.ip());
            if !mapped.any(|ip| ip == verdict.external) {
                return Some("external address".into());
            }
        }
        let external = summary.external_ip();
        let crossed = || {
            external
                .into_iter()
                .flat_map(|external| self.crossed(external))
        };
        let draws = |nat: &Nat| {
            nat.pool().len() > 1 && nat.behaviour().pooling == nat_model::Pooling::Arbitrary
        };
        let right = match summary.pooling() {
            Pooling::Unknown => true,
            // an outer NAT that pairs shows one address as long as the inner one happened to keep
            // one
            Pooling::Paired => !crossed().last().is_some_and(draws),
            // and with a pool it shows several where the inner one drew several
            _ => crossed().any(draws) && crossed().last().is_some_and(|nat| nat.pool().len() > 1),
        };
        if !right {
            return Some(format!("pooling {:?}", summary.pooling()));
        }
        let right = match summary.nat_type() {
            NatType::Unknown => true,
            NatType::Open => external.is_some_and(|external| self.is_own(external)),
            NatType::Cone => {
                external.is_some_and(|ip| !self.is_own(ip) && !self.truth(ip).is_dependent())
            }
            NatType::Symmetric => external.is_some_and(|ip| self.truth(ip).is_dependent()),
            // where nothing came through, nobody can tell a dead network from a blocked one; nor
            // can a list tell that a server on the host's own network answered, for RFC
            // 8445 section 5.1.3 drops what it saw
            NatType::UdpBlocked => self
                .heard
                .iter()
                .all(|(.., mapped)| self.nat.is_some() && self.is_own(mapped.ip())),
            _ => false,
        };
        (!right).then(|| format!("type {:?}", summary.nat_type()))
    }

    /// What the observations of one base can decide at most, worked out from the truth.
    fn decidable(&self, base: &Base) -> Mapping {
        let reported = base.reported;
        let of_base = || {
            self.heard
                .iter()
                .filter(|(b, ..)| b.reported == reported)
                .map(|(.., mapped)| mapped.ip())
        };
        let Some(outermost) =
            of_base().min_by_key(|ip| (self.vantage(reported, *ip).is_none(), Scope::of(*ip)))
        else {
            return Mapping::Unknown;
        };
        let heard = || self.heard_beside(reported, outermost);
        let several = heard().any(|(a, _)| heard().any(|(b, _)| a.ip() != b.ip()));
        let ports =
            heard().any(|(a, _)| heard().any(|(b, _)| a.ip() == b.ip() && a.port() != b.port()));
        let agree = heard().all(|(_, a)| heard().all(|(_, b)| a == b));
        let ways =
            reported.ip().is_unspecified() && self.locals.iter().any(|ip| *ip != self.locals[0]);
        match self.truth(outermost) {
            _ if reported.port() == 0 => Mapping::Unknown,
            Mapping::AddressAndPortDependent if ports => Mapping::AddressAndPortDependent,
            // two addresses may have been asked by two ways
            _ if ways && !agree => Mapping::Unknown,
            Mapping::AddressDependent if several && ports => Mapping::AddressDependent,
            Mapping::EndpointIndependent if several => Mapping::EndpointIndependent,
            Mapping::AddressDependent | Mapping::AddressAndPortDependent if several => {
                Mapping::Dependent
            }
            _ => Mapping::Unknown,
        }
    }
}

#[derive(Debug, Default)]
struct Score {
    worlds: u64,
    decided: u64,
    decidable: u64,
}

impl Score {
    fn count(&mut self, decided: bool, decidable: bool) {
        self.worlds += 1;
        self.decided += u64::from(decided);
        self.decidable += u64::from(decidable);
    }
}

#[test]
fn no_verdict_is_wrong_and_none_is_missing_in_a_hundred_thousand_worlds() {
    let mut wrong = Vec::new();
    let [
        mut mapping,
        mut natted,
        mut kind,
        mut allocation,
        mut pooling,
    ] = [(); 5].map(|()| Score::default());
    for seed in 0..WORLDS {
        let world = world(&mut Random(seed));
        let summary = world.evidence().summary();
        wrong.extend(
            world
                .wrong(&summary)
                .map(|what| format!("world {seed}: {what}")),
        );
        for urls in [true, false] {
            let what = world.wrong(&world.list(urls).summary());
            wrong.extend(what.map(|what| format!("world {seed} as a list, URLs {urls}: {what}")));
        }

        for base in &world.bases {
            let Some(verdict) = summary.bases().find(|v| v.base == base.reported) else {
                continue;
            };
            let expected = world.decidable(base);
            assert_eq!(verdict.mapping, expected, "world {seed}: {world:#?}");
            mapping.count(
                verdict.mapping != Mapping::Unknown,
                expected != Mapping::Unknown,
            );
            let known = !verdict.base.ip().is_unspecified() || !world.locals.is_empty();
            natted.count(verdict.natted.is_some(), known);
            assert_eq!(verdict.natted.is_some(), known, "world {seed}: {world:#?}");
        }
        let blocked = world.heard.is_empty()
            && world
                .asked
                .iter()
                .any(|(_, outcome)| *outcome == Outcome::TimedOut);
        let speaks = summary.is_natted().is_some()
            && (summary.mapping() != Mapping::Unknown || summary.is_natted() == Some(false));
        kind.count(summary.nat_type() != NatType::Unknown, blocked || speaks);
        assert_eq!(
            summary.nat_type() != NatType::Unknown,
            blocked || speaks,
            "world {seed}: {world:#?}"
        );
        let outermost = summary
            .primary_base()
            .and_then(|base| Some((base, world.crossed(base.external).last()?)));
        if let Some((base, nat)) = outermost {
            // three ports one step apart, in one address; what traffic and chance may blur is not
            // asked for
            let orderly = matches!(
                nat.behaviour().assignment,
                PortAssignment::Sequential { traffic: 0, .. }
            );
            let new: Vec<_> = {
                let mut seen: Vec<SocketAddr> = Vec::new();
                for (b, _, mapped) in &world.heard {
                    if b.reported == base.base && !seen.contains(mapped) {
                        seen.push(*mapped);
                    }
                }
                seen
            };
            let whole = !world
                .asked
                .iter()
                .any(|(_, outcome)| *outcome != Outcome::Answered);
            let wrapped = new.windows(2).any(|pair| pair[0].port() > pair[1].port());
            let one_pool = new.iter().all(|mapped| mapped.ip() == base.external);
            let must = orderly
                && whole
                && !wrapped
                && one_pool
                && base.mapping.is_dependent()
                && new.len() > 2;
            let mut same = world.bases.iter().filter(|b| b.reported == base.base);
            let must = must
                && same.next().is_some_and(|base| base.other.is_none())
                && same.next().is_none();
            // what went to servers further in took no port of this one, and nobody knows
            let beside = world.heard_beside(base.base, base.external).count();
            let must = must
                && beside
                    == world
                        .heard
                        .iter()
                        .filter(|(b, ..)| b.reported == base.base)
                        .count();
            allocation.count(base.allocation != PortAllocation::Unknown, must);
            assert!(
                !must || base.allocation != PortAllocation::Unknown,
                "world {seed}: {world:#?}"
            );
            let differ = world.heard.iter().any(|(b, _, mapped)| {
                b.reported.ip() == base.base.ip()
                    && !b.reported.ip().is_unspecified()
                    && mapped.ip() != base.external
                    && world.vantage(b.reported, mapped.ip())
                        == world.vantage(base.base, base.external)
            });
            pooling.count(summary.pooling() != Pooling::Unknown, differ);
            assert!(
                !differ || summary.pooling() == Pooling::Arbitrary,
                "world {seed}: {world:#?}"
            );
        }
    }
    let rate = |part: u64, of: u64| 100.0 * part as f64 / of as f64;
    let wrong_rate = rate(wrong.len() as u64, 3 * WORLDS);
    println!(
        "{WORLDS} worlds, each as evidence and as two lists: {} wrong ({wrong_rate} %)",
        wrong.len()
    );
    for (what, score) in [
        ("mapping", mapping),
        ("natted", natted),
        ("type", kind),
        ("allocation", allocation),
        ("pooling", pooling),
    ] {
        let Score {
            worlds,
            decided,
            decidable,
        } = score;
        let decided_rate = rate(decided, worlds);
        println!(
            "{what}: {decided} of {worlds} decided ({decided_rate:.1} %), all of the {decidable} that can be"
        );
        assert!(decided > worlds / 100, "{what} is hardly ever decided");
    }
    assert!(
        wrong.is_empty(),
        "{} wrong: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(10)]
    );
}
