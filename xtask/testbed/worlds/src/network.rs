//! A host, the ways its packets take, the NATs on them, and the servers at every level.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::nat::Nat;
use crate::plain::Server;
use crate::random::Random;

/// The network that a server stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Net {
    /// 192.168.1.0/24, the first of most hosts.
    Home,
    /// Private addresses of a company.
    Company,
    /// Shared addresses of a carrier (RFC 6598).
    Carrier,
    /// Between the host and its own translator (RFC 7335).
    Clat,
    /// Global IPv4.
    Global,
    /// IPv6 unique local.
    Local6,
    /// Global IPv6.
    Global6,
    /// The link of the host, with its own addresses (RFC 3927, RFC 4291).
    Link,
}

impl Net {
    /// Whether it is the outside.
    pub fn is_global(self) -> bool {
        matches!(self, Self::Global | Self::Global6)
    }
}

/// From the host outward: the networks, and between two of them a NAT each.
#[derive(Debug, Clone)]
pub struct Way {
    /// The translation that the host itself makes, before its first network.
    pub own: Option<usize>,
    /// Where it stands.
    pub nets: Vec<Net>,
    /// The NATs, each before the network of the same place and one.
    pub nats: Vec<usize>,
    /// Packets reach this many of the networks; a firewall drops them before the next one.
    pub open: usize,
}

impl Way {
    /// The NATs between the host and `net`, the innermost first.
    pub fn crossed(&self, net: Net) -> Option<impl Iterator<Item = usize> + '_> {
        let is_near = (net == Net::Link).then_some(0);
        let level = is_near.or_else(|| self.nets.iter().position(|n| *n == net))?;
        Some(self.own.iter().chain(&self.nats[..level]).copied())
    }

    /// The NATs between the host and the outermost network.
    pub fn all(&self) -> impl Iterator<Item = usize> + '_ {
        self.own.iter().chain(&self.nats).copied()
    }

    /// Whether a firewall lets packets out to `net`.
    pub fn is_open_to(&self, net: Net) -> bool {
        net == Net::Link || self.nets[..self.open].contains(&net)
    }

    /// The network where it ends.
    pub fn outermost(&self) -> Net {
        *self.nets.last().expect("a way has a network")
    }
}

/// One socket of the host.
#[derive(Debug, Clone)]
pub struct Base {
    /// The source of its packets and their way: one, or two by the parity of the destination. Of
    /// several kinds of address, packets leave from the kind of their destination.
    pub sources: Vec<(SocketAddr, usize)>,
    /// As the evidence has it: the socket, a wildcard, or hidden.
    pub reported: SocketAddr,
}

/// What a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quirk {
    /// The address that it sees.
    Honest,
    /// Never answers.
    Dead,
    /// An error response.
    Refuses,
    /// Another random address each time.
    Lies,
    /// The same wrong address as every other server of this quirk.
    LiesAlike,
    /// The right address and a wrong port.
    LiesAboutThePort,
    /// An address that no packet comes from.
    LiesImpossibly,
    /// The plain address where the XORed one belongs.
    NotXored,
    /// A proxy in front of it, with the server's own address.
    Proxied,
    /// A proxy in front of it, with an address of a container network.
    Contained,
    /// A proxy in front of it, with a global address that no server is asked at.
    Balanced,
    /// From another source, or with another id, cookie or padding.
    Broken,
    /// An ICMP error: the port is closed.
    Closed,
}

/// A STUN server: one address and one port.
#[derive(Debug, Clone)]
pub struct StunServer {
    /// Where it is asked.
    pub at: SocketAddr,
    /// Where it stands.
    pub net: Net,
    /// As the evidence has it.
    pub reported: Server,
    /// What it does.
    pub quirk: Quirk,
    /// How long an answer takes.
    pub round_trip: Duration,
    /// When it can be asked: names resolve late.
    pub known_at: Duration,
}

/// What happens in the middle of the gathering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// This NAT starts again.
    Rebinding(usize),
    /// Packets take the third way instead of the first.
    Roaming,
}

/// A host and the networks around it.
#[derive(Debug, Clone)]
pub struct World {
    /// Every NAT there is.
    pub nats: Vec<Nat>,
    /// The first way, one beside it, the one after roaming, and that of IPv6.
    pub ways: Vec<Way>,
    /// The sockets of the host.
    pub bases: Vec<Base>,
    /// The servers that the host knows.
    pub servers: Vec<StunServer>,
    /// Names that did not resolve, and addresses of a sink-hole.
    pub never_asked: Vec<(Server, crate::plain::End)>,
    /// Those that the evidence has.
    pub locals: Vec<IpAddr>,
    /// What happens in the middle, and when.
    pub event: Option<(Duration, Event)>,
    /// In a hundred copies.
    pub loss: u64,
    /// The network wakes up late: of each base the last request loses no copy, the one before loses
    /// its first copy, and so on.
    pub wakes_late: bool,
    /// The host sends nothing from here on.
    pub stalls_at: Option<Duration>,
}

/// Whether an address is valid on one link (RFC 3927, RFC 4291).
#[must_use]
pub fn is_of_link(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// The IPv4 address inside one that a translator made (RFC 6052); else the address itself.
#[must_use]
pub fn untranslated(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = v6.octets();
            [a, b, c, d].into()
        }
        _ => ip,
    }
}

/// The way after roaming.
pub const ROAMED: usize = 2;

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// A mapped address.
    Mapped(SocketAddr),
    /// An error response.
    Refused,
    /// Came in, and had to be rejected.
    Rejected,
    /// An ICMP error of the server.
    Closed,
    /// An ICMP error of a router.
    Unreachable,
}

/// How an observed address came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// By these NATs, each with its generation.
    Path {
        /// The NATs, the innermost first.
        nats: Vec<(usize, u32)>,
        /// The port was taken toward this destination alone.
        is_collision: bool,
    },
    /// Not by the NATs in front of the host.
    Foreign,
}

/// What one copy of a request meets.
#[derive(Debug, Clone)]
pub struct Passage {
    /// What comes back.
    pub reply: Reply,
    /// How the address in it came about.
    pub origin: Origin,
    /// When it comes back.
    pub arrives: Duration,
}

/// Where a copy is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nowhere.
    None,
    /// Before it reaches a NAT.
    Inside,
    /// Beyond the NATs, or on the way back.
    Outside,
}

impl World {
    /// Where packets of `base` to `to` leave from, and their way.
    pub fn source(&self, base: usize, to: IpAddr, at: Duration) -> (SocketAddr, usize) {
        let last = match to {
            IpAddr::V4(ip) => usize::from(ip.octets()[3]),
            IpAddr::V6(ip) => usize::from(ip.segments()[7]),
        };
        let sources = self.bases[base].sources.iter();
        let of_family = sources.filter(|(source, _)| source.is_ipv4() == to.is_ipv4());
        let of_kind = |is_link: bool| {
            let of_family = of_family.clone();
            let of_kind = of_family.filter(move |(source, _)| is_of_link(source.ip()) == is_link);
            of_kind.copied().collect::<Vec<_>>()
        };
        let near = of_kind(is_of_link(to));
        let sources = if near.is_empty() {
            of_kind(false)
        } else {
            near
        };
        let (source, way) = sources[last % sources.len()];
        let has_roamed = self
            .event
            .is_some_and(|(when, event)| event == Event::Roaming && at >= when);
        (source, if has_roamed && way == 0 { ROAMED } else { way })
    }

    /// One copy of a request leaves `base` for a server.
    pub fn send(
        &mut self,
        (base, server): (usize, usize),
        at: Duration,
        loss: Loss,
        random: &mut Random,
    ) -> Option<Passage> {
        if loss == Loss::Inside {
            return None;
        }
        let StunServer {
            at: to,
            net,
            quirk,
            round_trip,
            ..
        } = self.servers[server];
        let (source, way) = self.source(base, to.ip(), at);
        let way = self.ways[way].clone();
        let arrives = at + round_trip;
        let Some(crossed) = way.crossed(net) else {
            return Some(Passage {
                reply: Reply::Unreachable,
                origin: Origin::Foreign,
                arrives,
            });
        };
        if !way.is_open_to(net) {
            return None;
        }
        let (mut seen, mut nats, mut is_collision) = (source, Vec::new(), false);
        for nat in crossed {
            let mapped = self.nats[nat].send(seen, to, random);
            nats.push((nat, self.nats[nat].generation));
            (seen, is_collision) = (mapped.external, is_collision || mapped.is_collision);
        }
        if loss == Loss::Outside {
            return None;
        }
        let foreign = |ip: IpAddr, random: &mut Random| {
            let port = 1024 + random.below(64_000) as u16;
            (Reply::Mapped(SocketAddr::new(ip, port)), Origin::Foreign)
        };
        // of a network that is neither the host's nor a server's
        let elsewhere = |host: u8| -> IpAddr {
            match to {
                SocketAddr::V4(_) => [192, 0, 2, host].into(),
                SocketAddr::V6(_) => [0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, host.into()].into(),
            }
        };
        let path = Origin::Path { nats, is_collision };
        let (reply, origin) = match quirk {
            Quirk::Honest => (Reply::Mapped(seen), path),
            Quirk::Dead => return None,
            Quirk::Refuses => (Reply::Refused, Origin::Foreign),
            Quirk::Broken => (Reply::Rejected, Origin::Foreign),
            Quirk::Closed => (Reply::Closed, Origin::Foreign),
            Quirk::Lies => foreign(elsewhere(random.below(200) as u8), random),
            Quirk::LiesAlike => {
                let lie = SocketAddr::new(elsewhere(200), 6_666);
                (Reply::Mapped(lie), Origin::Foreign)
            }
            Quirk::LiesAboutThePort => foreign(seen.ip(), random),
            Quirk::LiesImpossibly => foreign([224, 0, 0, 1].into(), random),
            Quirk::NotXored => (Reply::Mapped(xored(seen, random)), Origin::Foreign),
            Quirk::Proxied => foreign(to.ip(), random),
            Quirk::Contained if to.is_ipv4() => foreign([172, 17, 0, 1].into(), random),
            Quirk::Contained => foreign([0xfd17, 0, 0, 0, 0, 0, 0, 1].into(), random),
            Quirk::Balanced => foreign(elsewhere(250 + random.below(3) as u8), random),
        };
        Some(Passage {
            reply,
            origin,
            arrives,
        })
    }

    /// What happens at this moment, before packets leave.
    pub fn happen(&mut self) {
        if let Some((_, Event::Rebinding(nat))) = self.event {
            self.nats[nat].forget();
        }
    }
}

/// XOR-MAPPED-ADDRESS as a client reads it where the server wrote the plain address (RFC 8489
/// section 14.2). The transaction id is random.
fn xored(plain: SocketAddr, random: &mut Random) -> SocketAddr {
    const COOKIE: u32 = 0x2112_a442;
    let port = plain.port() ^ (COOKIE >> 16) as u16;
    let ip = match plain.ip() {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() ^ COOKIE).into()),
        IpAddr::V6(ip) => {
            let id = u128::from(random.number()) << 32 | u128::from(random.number() >> 32);
            IpAddr::V6((ip.to_bits() ^ (u128::from(COOKIE) << 96 | id)).into())
        }
    };
    SocketAddr::new(ip, port)
}
