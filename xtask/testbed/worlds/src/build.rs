//! Random worlds, with oddities or without.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nat_model::{Behaviour, Dependence, Pooling, PortAssignment};

use crate::gather::{DEADLINE, PACE};
use crate::nat::Nat;
use crate::network::{Base, Event, Net, Quirk, StunServer, Way, World, is_of_link};
use crate::plain::{End, Server};
use crate::random::Random;

/// No gathering has more observations than the judge keeps, but for a flood.
pub const MAX_REQUESTS: usize = 60;
/// In the order in which the judge has them.
pub const NAMES: [&str; 4] = [
    "a.example.org",
    "b.example.org",
    "e.example.org",
    "stun.example.org",
];
/// The way of IPv6.
const V6: usize = 3;

/// How likely what is rare in the field is here, in a hundred.
#[derive(Debug, Clone, Copy)]
pub struct Odds(u64);

impl Odds {
    /// Servers die, copies are lost, names do not resolve; but nobody lies, and nothing changes in
    /// the middle.
    pub const NONE: Self = Self(0);
    /// Every oddity is over-sampled.
    pub const MANY: Self = Self(1);

    fn chance(self, percent: u64, random: &mut Random) -> bool {
        random.chance(self.0 * percent)
    }
}

/// The world of a seed.
pub fn world(random: &mut Random, odds: Odds) -> World {
    let mut build = Build {
        nats: Vec::new(),
        // an address that stays one when it is read as XORed
        global: if odds.chance(50, random) {
            [80, 10, 20]
        } else {
            [203, 0, 113]
        },
        odds,
    };
    let has_v4 = !random.chance(15);
    let has_v6 = !has_v4 || random.chance(20);
    let nets = v4_nets(random, odds);
    let ways = build.ways(&nets, random);
    let is_separate = random.chance(50);
    let locals_known = random.chance(70);
    let mut world = World {
        ways,
        nats: Vec::new(),
        bases: Vec::new(),
        servers: Vec::new(),
        never_asked: Vec::new(),
        locals: Vec::new(),
        event: None,
        loss: random.one_of(&[0, 0, 10, 50]),
        wakes_late: odds.chance(5, random),
        stalls_at: None,
    };
    if has_v4 {
        build.v4_bases(&mut world, is_separate, locals_known, random);
        build.v4_servers(&mut world, random);
    }
    if has_v6 {
        build.v6_side(&mut world, random);
    }
    build.links(&mut world, random);
    if locals_known {
        let lists_links = random.chance(50);
        let sources = world.bases.iter().flat_map(|base| &base.sources);
        let mut locals: Vec<IpAddr> = sources.map(|(source, _)| source.ip()).collect();
        locals.retain(|ip| lists_links || !is_of_link(*ip));
        // a host with a translation of its own has the outer address too
        let own = world.ways[0].own.iter();
        locals.extend(own.flat_map(|nat| build.nats[*nat].pool().to_vec()));
        locals.sort_unstable();
        locals.dedup();
        world.locals = locals;
    }
    if random.chance(10) {
        let v4 = random.below(nets.len() as u64) as usize;
        for way in &mut world.ways[..V6] {
            way.open = v4;
        }
        if random.chance(70) {
            world.ways[V6].open = random.below(world.ways[V6].nets.len() as u64) as usize;
        }
    }
    name_servers(&mut world, random, odds);
    if odds.chance(1, random) {
        flood(&mut world, random);
    } else {
        let bases = world.bases.len().max(1);
        world.servers.truncate(MAX_REQUESTS / bases);
    }
    let requests = (world.bases.len() * world.servers.len()) as u64;
    let moment = |random: &mut Random| PACE * random.below(requests.max(2)) as u32;
    if odds.chance(12, random) {
        let rebinding = world.ways[0].nats.first().map(|nat| Event::Rebinding(*nat));
        let event = rebinding.filter(|_| random.chance(50));
        world.event = Some((moment(random), event.unwrap_or(Event::Roaming)));
    }
    if odds.chance(3, random) {
        world.stalls_at = Some(moment(random));
    }
    world.nats = build.nats;
    world
}

/// The networks from the host outward.
fn v4_nets(random: &mut Random, odds: Odds) -> Vec<Net> {
    use Net::{Carrier, Clat, Company, Global, Home};
    if odds.chance(5, random) {
        return vec![Clat, Global];
    }
    match random.below(100) {
        0..15 => vec![Global],
        15..55 => vec![Home, Global],
        55..70 => vec![Home, Carrier, Global],
        70..82 => vec![Home, Company, Global],
        82..88 => vec![Company, Global],
        88..95 => vec![Carrier, Global],
        _ => vec![Home, Company, Carrier, Global],
    }
}

struct Build {
    nats: Vec<Nat>,
    /// The first bytes of the host's and the NATs' global addresses.
    global: [u8; 3],
    odds: Odds,
}

impl Build {
    fn v4(&self, net: Net, host: u8) -> IpAddr {
        let [a, b, c] = match net {
            Net::Home => [192, 168, 1],
            Net::Company => [10, 20, 3],
            Net::Carrier => [100, 64, 3],
            Net::Clat => [192, 0, 0],
            _ => self.global,
        };
        [a, b, c, host].into()
    }

    /// A NAT with these external addresses. One that overloads ports stands first: behind a pool it
    /// would join what the first one split.
    fn nat(
        &mut self,
        mapping: Option<Dependence>,
        pool: Vec<IpAddr>,
        is_first: bool,
        random: &mut Random,
    ) -> usize {
        let mapping = mapping.unwrap_or_else(|| random.one_of(&Dependence::ALL));
        let assignment = match random.below(4) {
            0 => PortAssignment::Preserving,
            1 => PortAssignment::Sequential {
                step: random.one_of(&[1, 1, 2, 4]),
                traffic: random.one_of(&[0, 0, 1, 3]),
            },
            2 if is_first && mapping == Dependence::EndpointIndependent => {
                PortAssignment::Overloading
            }
            _ => PortAssignment::Random,
        };
        let overloads = assignment == PortAssignment::Overloading;
        let pooling = if random.chance(50) || overloads {
            Pooling::Paired
        } else {
            Pooling::Arbitrary
        };
        let behaviour = Behaviour::new(mapping, mapping)
            .with_assignment(assignment)
            .with_pooling(pooling);
        let is_busy = overloads && self.odds.chance(30, random);
        let nat = Nat::new(behaviour, pool, 1024 + random.below(60_000) as u16);
        self.nats.push(nat.with_busy(if is_busy { 25 } else { 0 }));
        self.nats.len() - 1
    }

    fn pool(&self, net: Net, first: u8, random: &mut Random) -> Vec<IpAddr> {
        let len = random.one_of(&[1, 1, 2, 4]);
        (first..first + len)
            .map(|host| self.v4(net, host))
            .collect()
    }

    /// The first way, one beside it, the one after roaming, and that of IPv6.
    fn ways(&mut self, nets: &[Net], random: &mut Random) -> Vec<Way> {
        let way = |nats: Vec<usize>, nets: &[Net]| Way {
            own: None,
            nats,
            nets: nets.to_vec(),
            open: nets.len(),
        };
        let mut chains = Vec::new();
        for first in [7, 107, 57] {
            let mut nats = Vec::new();
            for (level, net) in nets.iter().enumerate().skip(1) {
                // as the first one maps, so that one truth holds for a host with two ways
                let alike = chains.first().map(|chain: &Vec<usize>| chain[level - 1]);
                let maps = alike
                    .filter(|_| first == 107)
                    .map(|nat| self.nats[nat].behaviour().mapping);
                let pool = self.pool(*net, first, random);
                nats.push(self.nat(maps, pool, level == 1, random));
            }
            chains.push(nats);
        }
        let mut ways: Vec<_> = chains.into_iter().map(|nats| way(nats, nets)).collect();
        let v6_nets = match random.below(100) {
            0..70 => vec![Net::Global6],
            70..90 => vec![Net::Local6, Net::Global6],
            _ => vec![Net::Global6],
        };
        let mut v6_nats = Vec::new();
        if v6_nets.len() > 1 {
            let pool = vec![[0x2001, 0xdb8, 2, 0, 0, 0, 0, 7].into()];
            v6_nats.push(self.nat(None, pool, true, random));
        }
        let mut v6 = way(v6_nats, &v6_nets);
        if v6_nets.len() == 1 && self.odds.chance(30, random) {
            // the translator of the network (RFC 6146)
            let pool = self.pool(Net::Global, 150, random);
            v6.nats
                .push(self.nat(Some(Dependence::EndpointIndependent), pool, true, random));
            v6.nets.push(Net::Global);
            v6.open = 2;
        }
        ways.push(v6);
        ways
    }

    fn v4_bases(
        &mut self,
        world: &mut World,
        is_separate: bool,
        locals_known: bool,
        random: &mut Random,
    ) {
        let net = world.ways[0].nets[0];
        let is_clat = net == Net::Clat;
        let has_nat = !world.ways[0].nats.is_empty();
        let interfaces = if is_clat { 1 } else { 1 + random.below(2) };
        let host = if is_clat { 4 } else { 200 };
        let second = usize::from(is_separate);
        let masquerades = !is_clat && self.odds.chance(6, random);
        let forks = has_nat && !masquerades && self.odds.chance(8, random);
        if masquerades {
            let pool = vec![self.v4(net, host)];
            let own = self.nat(None, pool, true, random);
            world.ways[0].own = Some(own);
        }
        if forks {
            // a router with two ways out shares the NATs before it
            let last = world.ways[0].nats.len() - 1;
            let inner = world.ways[0].nats[..last].to_vec();
            world.ways[1].nats[..last].copy_from_slice(&inner);
        }
        for n in 0..=random.below(3) as u16 {
            let port = 50_000 + n;
            let socket = |interface: u64| {
                let ip = self.v4(net, host + interface as u8);
                SocketAddr::new(ip, port)
            };
            let interface = u64::from(n) % interfaces;
            let main = (socket(interface), if interface == 1 { second } else { 0 });
            let wildcard = SocketAddr::new([0, 0, 0, 0].into(), port);
            let shown = random.below(20);
            let has_two_ways = (2..=5).contains(&shown) && locals_known && interfaces == 2;
            let sources = if masquerades {
                vec![(SocketAddr::new([172, 18, 0, 5].into(), port), 0)]
            } else if forks {
                vec![(main.0, 0), (main.0, 1)]
            } else if has_two_ways && random.chance(50) {
                vec![(socket(0), 0), (socket(1), second)]
            } else {
                vec![main]
            };
            let reported = match shown {
                0 | 1 => SocketAddr::new(wildcard.ip(), 0),
                2..=5 => wildcard,
                6 => SocketAddr::new(sources[0].0.ip(), 0),
                _ => sources[0].0,
            };
            world.bases.push(Base { sources, reported });
        }
    }

    fn v4_servers(&mut self, world: &mut World, random: &mut Random) {
        let nets: Vec<Net> = world.ways[0].nets.clone();
        let inner: Vec<Net> = nets
            .into_iter()
            .filter(|net| !net.is_global() && *net != Net::Clat)
            .collect();
        let near = random.one_of(&[0, 20, 50, 80]);
        for host in 0..=random.below(9) as u8 {
            let net = match inner.is_empty() || !random.chance(near) {
                true => Net::Global,
                false => random.one_of(&inner),
            };
            let ip = match net {
                Net::Global => [198, 51, 100, host].into(),
                Net::Home => self.v4(net, 100 + host),
                Net::Company => [10, 20, 9, host].into(),
                _ => [100, 64, 9, host].into(),
            };
            self.server(world, ip, net, random);
        }
    }

    fn v6_side(&mut self, world: &mut World, random: &mut Random) {
        let way = world.ways[V6].clone();
        let ip: IpAddr = match way.nets[0] {
            Net::Local6 => [0xfd00, 0, 0, 0, 0, 0, 0, 5].into(),
            _ => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 5].into(),
        };
        let socket = SocketAddr::new(ip, 51_000);
        let wildcard = SocketAddr::new([0_u16; 8].into(), 51_000);
        let reported = if random.chance(20) { wildcard } else { socket };
        let mut sources = vec![(socket, V6)];
        // a socket of both families
        let v4 = world.bases.first().map(|base| base.sources[0]);
        if let Some((source, of_way)) = v4.filter(|_| reported == wildcard && random.chance(50)) {
            sources.push((SocketAddr::new(source.ip(), wildcard.port()), of_way));
        }
        world.bases.push(Base { sources, reported });
        for host in 0..=random.below(4) as u16 {
            let translated = way.nets.contains(&Net::Global) && random.chance(60);
            let (net, ip): (_, [u16; 8]) = if translated {
                // a server of IPv4, which is asked directly too
                let first = random.one_of(&[0, 50]);
                let low = 0x6400 + first + host;
                (Net::Global, [0x64, 0xff9b, 0, 0, 0, 0, 0xc633, low])
            } else if way.nets[0] == Net::Local6 && random.chance(40) {
                (Net::Local6, [0xfd00, 0, 0, 0, 0, 0, 1, host])
            } else {
                (Net::Global6, [0x2001, 0xdb8, 1, 0, 0, 0, 0, host])
            };
            self.server(world, ip.into(), net, random);
        }
    }

    /// Servers on the links of sockets that send from every address.
    fn links(&mut self, world: &mut World, random: &mut Random) {
        let has_own = world.ways[0].own.is_some();
        if has_own || !random.chance(15) {
            return;
        }
        let mut families = Vec::new();
        for base in &mut world.bases {
            let (first, way) = base.sources[0];
            if base.reported.ip().is_unspecified() && base.reported.port() != 0 {
                let ip: IpAddr = match first {
                    SocketAddr::V4(_) => [169, 254, 7, 200].into(),
                    SocketAddr::V6(_) => [0xfe80, 0, 0, 0, 0, 0, 0, 5].into(),
                };
                base.sources.push((SocketAddr::new(ip, first.port()), way));
                families.push(first.is_ipv4());
            }
        }
        families.dedup();
        for is_v4 in families {
            for host in 0..=random.below(2) as u8 {
                let ip: IpAddr = if is_v4 {
                    [169, 254, 9, host].into()
                } else {
                    [0xfe80, 0, 0, 0, 0, 0, 9, host.into()].into()
                };
                self.server(world, ip, Net::Link, random);
            }
        }
    }

    /// One address with one to three ports, each with the same quirk or each with its own.
    fn server(&mut self, world: &mut World, ip: IpAddr, net: Net, random: &mut Random) {
        let round_trip = if net.is_global() {
            10 + random.below(140)
        } else {
            1 + random.below(5)
        };
        let quirk = quirk(random, self.odds);
        for port in 0..=random.one_of(&[0_u16, 0, 0, 1, 1, 2]) {
            let at = SocketAddr::new(ip, 3478 + port);
            world.servers.push(StunServer {
                at,
                net,
                reported: Server::At(at),
                // a proxy often stands in front of one port
                quirk: if port > 0 && random.chance(30) {
                    Quirk::Honest
                } else {
                    quirk
                },
                round_trip: Duration::from_millis(round_trip),
                known_at: if random.chance(3) {
                    DEADLINE - Duration::from_millis(750)
                } else {
                    Duration::ZERO
                },
            });
        }
    }
}

fn quirk(random: &mut Random, odds: Odds) -> Quirk {
    if random.chance(7) {
        return Quirk::Dead;
    }
    if !odds.chance(20, random) {
        return Quirk::Honest;
    }
    random.one_of(&[
        Quirk::Dead,
        Quirk::Refuses,
        Quirk::Lies,
        Quirk::LiesAlike,
        Quirk::LiesAboutThePort,
        Quirk::LiesImpossibly,
        Quirk::NotXored,
        Quirk::Proxied,
        Quirk::Contained,
        Quirk::Balanced,
        Quirk::Broken,
        Quirk::Closed,
    ])
}

/// Some servers are known by name only, and one name may have two addresses. Some names lead
/// nowhere.
fn name_servers(world: &mut World, random: &mut Random, odds: Odds) {
    if random.chance(10) {
        let share = random.one_of(&[30, 100]);
        for server in &mut world.servers {
            if random.chance(share) {
                let name = NAMES[random.below(NAMES.len() as u64) as usize];
                server.reported = Server::Named(name, server.at.port());
            }
        }
    }
    if random.chance(10) {
        let name = Server::Named("stun.invalid", 3478);
        world.never_asked.push((name, End::Unresolved));
    }
    if odds.chance(5, random) {
        // a gatherer that asks there all the same
        let nowhere = SocketAddr::new([0, 0, 0, 0].into(), 3478);
        world.never_asked.push((Server::At(nowhere), End::TimedOut));
    }
}

/// More servers than the judge keeps.
fn flood(world: &mut World, random: &mut Random) {
    let Some(first) = world.servers.first().cloned() else {
        return;
    };
    world.bases.truncate(1);
    for host in 0..70 {
        let ip = match first.at.ip() {
            IpAddr::V4(_) => [198, 51, 101, host as u8].into(),
            IpAddr::V6(_) => [0x2001, 0xdb8, 3, 0, 0, 0, 0, host].into(),
        };
        let at = SocketAddr::new(ip, 3478);
        let net = match ip {
            IpAddr::V4(_) => Net::Global,
            IpAddr::V6(_) => Net::Global6,
        };
        world.servers.push(StunServer {
            at,
            net,
            reported: Server::At(at),
            quirk: Quirk::Honest,
            round_trip: Duration::from_millis(10 + random.below(100)),
            known_at: Duration::ZERO,
        });
    }
}
