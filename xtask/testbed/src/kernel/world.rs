//! A small Internet of namespaces: client, routers, servers, peer, and the cables between them.
//!
//! ```text
//! client ── router ── … ── router ══ core (all servers) ── peer
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::Failure;
use crate::kernel::namespace::Namespace;
use crate::kernel::router::Router;
use crate::kernel::servers::{COTURN, OWN, SILENT, Servers, ipv4, ipv6};

/// Where the second ways out are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uplinks {
    /// Nowhere.
    One,
    /// The only router has two: coturn's addresses are behind the second.
    OfTheRouter,
    /// The client has two, each with a router of its own, and sends from an address where that
    /// address belongs.
    OfTheClient,
}

/// Between client and servers.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// From the client outward; with [`Uplinks::OfTheClient`], side by side.
    pub routers: &'static [Router],
    /// Ways out besides the first.
    pub uplinks: Uplinks,
    /// Whether the outermost router loses three of ten packets each way.
    pub lossy: bool,
    /// Two more servers stand in each inner network and answer at once, and the others answer late.
    pub has_inner_servers: bool,
}

impl Site {
    /// One way out through these, from the client outward; no packet is lost on purpose.
    #[must_use]
    pub const fn behind(routers: &'static [Router]) -> Self {
        Self {
            routers,
            uplinks: Uplinks::One,
            lossy: false,
            has_inner_servers: false,
        }
    }

    /// The client's IPv4 address on its first link: one that reaches far where no router translates.
    #[must_use]
    pub fn client_ipv4(&self) -> IpAddr {
        self.network(0).host(2)
    }

    /// The network inside router `number`.
    fn network(&self, number: u8) -> Network {
        let translates = self.routers.iter().any(|router| router.translates());
        match (translates, self.uplinks, number) {
            (false, ..) => PUBLIC,
            (true, Uplinks::OfTheClient, _) | (true, _, 0) => home(number),
            (true, ..) => carrier(number),
        }
    }
}

/// An IPv4 network of the world.
#[derive(Debug, Clone, Copy)]
struct Network {
    first: Ipv4Addr,
    length: u8,
}

impl Network {
    const fn host(self, number: u8) -> IpAddr {
        let [a, b, c, d] = self.first.octets();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d + number))
    }

    fn address(self, number: u8) -> String {
        format!("{}/{}", self.host(number), self.length)
    }
}

/// Where a client has an address that reaches far.
const PUBLIC: Network = Network {
    first: Ipv4Addr::new(203, 0, 113, 64),
    length: 26,
};

/// Behind the client's NAT `number`.
const fn home(number: u8) -> Network {
    Network {
        first: Ipv4Addr::new(192, 168, number, 0),
        length: 24,
    }
}

/// Between the NATs (RFC 6598).
const fn carrier(number: u8) -> Network {
    Network {
        first: Ipv4Addr::new(100, 64, number, 0),
        length: 24,
    }
}

/// The running namespaces.
#[derive(Debug)]
pub struct World {
    /// They end before their namespaces do.
    _servers: Vec<Servers>,
    /// Where the gatherer is.
    pub client: Namespace,
    /// From the client outward.
    pub routers: Vec<Namespace>,
    /// Where the servers are.
    pub core: Namespace,
    /// A public host.
    pub peer: Namespace,
    /// The client's first address.
    pub client_ipv4: IpAddr,
}

/// The client's address on its link `number`, behind a NAT.
pub const fn private_ipv4(number: u8) -> IpAddr {
    home(number).host(2)
}

/// The client's address where there is no NAT.
pub const PUBLIC_IPV4: IpAddr = PUBLIC.host(2);

/// The addresses of the servers in the client's own network.
pub const HOME_SERVERS: [IpAddr; 2] = [home(0).host(INNER[0]), home(0).host(INNER[1])];
/// The addresses of the servers between two NATs.
pub const CARRIER_SERVERS: [IpAddr; 2] = [carrier(1).host(INNER[0]), carrier(1).host(INNER[1])];
/// Of a network with servers, these hosts.
const INNER: [u8; 2] = [9, 10];
/// The answers of servers outside take so much longer where there are inner ones.
const LATE: Duration = Duration::from_millis(60);

/// The client's IPv6 address.
pub const CLIENT_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x18, 0, 0, 0, 0, 2));
/// The same behind prefix translation.
pub const CLIENT_IPV6_TRANSLATED: IpAddr =
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 2));
/// The outermost router's first external address.
pub const EXTERNAL_IPV4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
/// The external address of the second uplink.
pub const SECOND_IPV4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 135));
/// The outermost router's external IPv6 address.
pub const EXTERNAL_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 7));

impl World {
    /// Everything up, and all servers answering.
    ///
    /// # Errors
    /// If a program that builds it fails.
    pub fn build(site: Site, with_coturn: bool) -> Result<Self, Failure> {
        let (client, core, peer) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
        let routers: Vec<Namespace> = site
            .routers
            .iter()
            .map(|_| Namespace::new())
            .collect::<Result<_, _>>()?;
        let side_by_side = site.uplinks == Uplinks::OfTheClient;

        let mut inner = &client;
        for (number, router) in routers.iter().enumerate() {
            let outer_end = if side_by_side && number == 1 {
                "wan2"
            } else {
                "wan"
            };
            cable((inner, outer_end), (router, "lan"))?;
            let network = site.network(u8::try_from(number)?);
            let mut inside = vec![network.address(1), format!("2001:db8:18:{number}::1/64")];
            if site.has_inner_servers {
                inside.extend(INNER.map(|host| network.address(host)));
            }
            router.ip(&up("lan", &inside))?;
            let addresses = [network.address(2), format!("2001:db8:18:{number}::2/64")];
            inner.ip(&up(outer_end, &addresses))?;
            if outer_end == "wan" {
                inner.ip(&default_via(
                    &network.host(1).to_string(),
                    &format!("2001:db8:18:{number}::1"),
                ))?;
            } else {
                // by source address: a socket bound to this link's address leaves by this link
                inner.ip(&[
                    format!("route add default via {} table 2", network.host(1)),
                    format!("rule add from {} lookup 2", network.host(2)),
                ])?;
            }
            if !side_by_side {
                inner = router;
            }
        }

        let outermost = routers.last().ok_or("a site has a router")?;
        let first = if side_by_side { &routers[0] } else { outermost };
        cable((first, "wan"), (&core, "access"))?;
        let mut externals: Vec<String> = (7..=10).map(|n| format!("198.51.100.{n}/25")).collect();
        externals.push("2001:db8:100::7/64".into());
        first.ip(&up("wan", &externals))?;
        core.ip(&up(
            "access",
            &["198.51.100.1/25".into(), "2001:db8:100::1/64".into()],
        ))?;
        first.ip(&default_via("198.51.100.1", "2001:db8:100::1"))?;
        // the way back to a packet that no NAT changed: were one missing, it would show as a
        // verdict
        core.ip(&[
            format!("route add {} via 198.51.100.7", PUBLIC.address(0)),
            "route add 192.168.0.0/16 via 198.51.100.7".into(),
            "route add 2001:db8:18::/48 via 2001:db8:100::7".into(),
            "route add 2001:db8:b::/64 via 2001:db8:100::7".into(),
        ])?;
        if site.uplinks != Uplinks::One {
            let outer_end = if side_by_side { "wan" } else { "wan2" };
            cable((outermost, outer_end), (&core, "access2"))?;
            outermost.ip(&up(outer_end, &["198.51.100.135/25".into()]))?;
            core.ip(&up("access2", &["198.51.100.129/25".into()]))?;
            let behind = if side_by_side {
                "default"
            } else {
                "203.0.113.16/28"
            };
            outermost.ip(&[format!("route add {behind} via 198.51.100.129")])?;
        }

        cable((&core, "peer"), (&peer, "wan"))?;
        core.ip(&up(
            "peer",
            &["192.0.2.1/30".into(), "2001:db8:2::1/64".into()],
        ))?;
        peer.ip(&up(
            "wan",
            &["192.0.2.2/30".into(), "2001:db8:2::2/64".into()],
        ))?;
        peer.ip(&default_via("192.0.2.1", "2001:db8:2::1"))?;

        for (number, (router, nat)) in routers.iter().zip(site.routers).enumerate() {
            let lossy = site.lossy && number + 1 == routers.len();
            router.run("nft", &["-f", "-"], &nat.rules(lossy))?;
        }
        let numbers = OWN.iter().chain(&COTURN).chain(&SILENT);
        core.ip(&up(
            "lo",
            &numbers
                .flat_map(|n| [format!("{}/32", ipv4(*n)), format!("{}/128", ipv6(*n))])
                .collect::<Vec<_>>(),
        ))?;
        let delay = site.has_inner_servers.then_some(LATE);
        let mut servers = vec![Servers::start(
            &core,
            with_coturn && delay.is_none(),
            delay,
        )?];
        if site.has_inner_servers {
            for (number, router) in (0..).zip(&routers) {
                let addresses = INNER.map(|host| site.network(number).host(host));
                servers.push(Servers::start_inner(router, addresses)?);
            }
        }
        Ok(Self {
            _servers: servers,
            client,
            routers,
            core,
            peer,
            client_ipv4: site.client_ipv4(),
        })
    }

    /// The peer's address of one family.
    pub const fn peer_ip(is_ipv4: bool) -> IpAddr {
        if is_ipv4 {
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))
        } else {
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2))
        }
    }
}

/// A pair of interfaces, one in each namespace.
pub fn cable(one: (&Namespace, &str), other: (&Namespace, &str)) -> Result<(), Failure> {
    one.0.ip(&[format!(
        "link add {} type veth peer name {} netns {}",
        one.1,
        other.1,
        other.0.path()
    )])
}

/// Lines of `ip` that give an interface its addresses.
pub fn up(interface: &str, addresses: &[String]) -> Vec<String> {
    // without `nodad` an IPv6 address cannot be bound yet for a moment, not even on loopback
    let dad = |address: &str| if address.contains(':') { " nodad" } else { "" };
    let add = addresses
        .iter()
        .map(|address| format!("address add {address} dev {interface}{}", dad(address)));
    add.chain([format!("link set {interface} up")]).collect()
}

/// Lines of `ip` for the default routes of both families.
pub fn default_via(ipv4: &str, ipv6: &str) -> Vec<String> {
    vec![
        format!("route add default via {ipv4}"),
        format!("route add default via {ipv6}"),
    ]
}
