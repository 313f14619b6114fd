//! The host's own addresses and routes, looked up without sending anything.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::OnceLock;

use if_addrs::{Interface, get_if_addrs};

/// The host's own addresses at one moment. Two looks that differ mean that it went from one network
/// to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct LocalAddresses {
    /// The local address of the default route, per family: IPv4, IPv6.
    pub default_route: [Option<IpAddr>; 2],
    /// Every address a peer elsewhere can have a route to, sorted: no loopback, no link-local one.
    pub all: Vec<IpAddr>,
}

impl LocalAddresses {
    /// Looks them up. Nothing is sent; it takes some microseconds.
    ///
    /// ```
    /// let before = ice_gather::LocalAddresses::look();
    /// // later
    /// if ice_gather::LocalAddresses::look() != before {
    ///     println!("another network: ask again how it maps");
    /// }
    /// ```
    #[must_use]
    pub fn look() -> Self {
        let mut all: Vec<IpAddr> = addresses(true).chain(addresses(false)).collect();
        all.sort_unstable();
        all.dedup();
        Self {
            default_route: [default_route(true), default_route(false)],
            all,
        }
    }

    /// Whether the host has this address.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.all.contains(&ip) || self.default_route.contains(&Some(ip))
    }
}

/// The local address that packets toward `remote` leave from. Connecting a UDP socket looks the
/// route up, and no more.
pub(crate) fn toward(remote: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if remote.is_ipv4() {
        [0; 4].into()
    } else {
        [0; 16].into()
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    socket
        .local_addr()
        .ok()
        .map(|local| local.ip())
        .filter(|ip| !ip.is_unspecified())
}

/// The local address of the default route: toward an address reserved for documentation, which no
/// other route covers.
pub(crate) fn default_route(is_ipv4: bool) -> Option<IpAddr> {
    let remote: (IpAddr, u16) = if is_ipv4 {
        ([192, 0, 2, 1].into(), 9)
    } else {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(), 9)
    };
    toward(remote.into())
}

/// Every address of the interface of this name.
pub(crate) fn interface(name: &str) -> Vec<IpAddr> {
    let interfaces = get_if_addrs().unwrap_or_default();
    let of_name = interfaces.iter().filter(|i| i.name == name);
    of_name.map(Interface::ip).collect()
}

/// Every address of a family that a peer elsewhere can have a route to: no loopback, no link-local
/// one.
pub(crate) fn addresses(is_ipv4: bool) -> impl Iterator<Item = IpAddr> {
    use nat_summary::Scope::{LinkLocal, Loopback, Reserved};
    let interfaces = get_if_addrs().unwrap_or_default();
    let all = interfaces.into_iter().map(|interface| interface.ip());
    all.filter(move |ip| {
        ip.is_ipv4() == is_ipv4
            && !matches!(nat_summary::Scope::of(*ip), Loopback | LinkLocal | Reserved)
    })
}

/// The ports that the system chooses from, as they were at the first call; `None` where they are not
/// known.
pub(crate) fn port_range() -> Option<RangeInclusive<u16>> {
    static RANGE: OnceLock<Option<RangeInclusive<u16>>> = OnceLock::new();
    let range = RANGE.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        let mut ports = text.split_whitespace().map(str::parse);
        Some(ports.next()?.ok()?..=ports.next()?.ok()?)
    });
    range.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_says_which_ports_it_chooses_from() {
        let range = port_range().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(range.contains(&socket.local_addr().unwrap().port()));
    }

    #[test]
    fn two_looks_at_the_same_host_are_equal_and_none_has_a_loopback_address() {
        let look = LocalAddresses::look();
        assert_eq!(look, LocalAddresses::look());
        assert!(
            look.all
                .iter()
                .all(|ip| !ip.is_loopback() && !ip.is_unspecified()),
            "{look:?}"
        );
        assert!(
            look.default_route
                .iter()
                .flatten()
                .all(|ip| look.contains(*ip))
        );
    }
}
