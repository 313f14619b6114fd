//! Addresses as integers, which sort and compare fast.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::scope::Scope;

/// An IP address whose order is that of an integer, IPv4 before IPv6.
///
/// IPv4 takes the numbers below 2³². A canonical address is never IPv4-mapped, so the few IPv6
/// addresses down there (`::/96`) move to that vacant block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ip(u128);

const MAPPED_BLOCK: u128 = 0xffff_0000_0000;
const V4_END: u128 = 1 << 32;
/// 64:ff9b::/96, without its last 32 bits.
const TRANSLATED_BLOCK: u128 = 0x0064_ff9b << 64;

impl Ip {
    pub(crate) const UNSPECIFIED: Self = Self(0);

    pub(crate) const fn is_v4(self) -> bool {
        self.0 < V4_END
    }

    pub(crate) const fn is_unspecified(self) -> bool {
        self.0 == 0 || self.0 == MAPPED_BLOCK
    }

    /// Whether it is the address of one host as far as its form shows: no multicast, no broadcast,
    /// not unspecified.
    pub(crate) const fn is_unicast(self) -> bool {
        let multicast = if self.is_v4() {
            self.0 >> 28 == 0xe
        } else {
            self.0 >> 120 == 0xff
        };
        !(multicast || self.is_unspecified() || self.0 == V4_END - 1)
    }

    /// How far the address reaches.
    #[inline]
    pub(crate) fn scope(self) -> Scope {
        match self.into() {
            IpAddr::V4(ip) => Scope::of_v4(ip),
            IpAddr::V6(ip) => Scope::of_v6(ip),
        }
    }

    /// The IPv4 address inside one of 64:ff9b::/96, which a translator made of it (RFC 6052); else
    /// the address itself.
    #[inline]
    pub(crate) const fn untranslated(self) -> Self {
        if self.is_translated() {
            Self(self.0 & (V4_END - 1))
        } else {
            self
        }
    }

    /// Whether a translator made the address, as far as its form shows.
    #[inline]
    pub(crate) const fn is_translated(self) -> bool {
        self.0 >> 32 == TRANSLATED_BLOCK
    }

    /// The address that a translator makes of one in IPv4 (RFC 6052 section 2.1).
    pub(crate) const fn translated(self) -> Self {
        Self(TRANSLATED_BLOCK << 32 | self.0)
    }

    /// The integer, which keeps servers apart.
    pub(crate) const fn bits(self) -> u128 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

impl From<IpAddr> for Ip {
    #[inline]
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self(u128::from(ip.to_bits())),
            IpAddr::V6(ip) => match ip.to_bits() {
                bits if bits >> 32 == MAPPED_BLOCK >> 32 => Self(bits & (V4_END - 1)),
                bits if bits < V4_END => Self(bits | MAPPED_BLOCK),
                bits => Self(bits),
            },
        }
    }
}

impl From<Ip> for IpAddr {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low 32 bits are the IPv4 address"
    )]
    fn from(ip: Ip) -> Self {
        if ip.is_v4() {
            Ipv4Addr::from_bits(ip.0 as u32).into()
        } else if ip.0 >> 32 == MAPPED_BLOCK >> 32 {
            Ipv6Addr::from_bits(ip.0 & (V4_END - 1)).into()
        } else {
            Ipv6Addr::from_bits(ip.0).into()
        }
    }
}

impl fmt::Debug for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

/// An address and a port, in one canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    pub(crate) ip: Ip,
    pub(crate) port: u16,
}

impl From<SocketAddr> for Endpoint {
    #[inline]
    fn from(address: SocketAddr) -> Self {
        Self {
            ip: address.ip().into(),
            port: address.port(),
        }
    }
}

impl From<Endpoint> for SocketAddr {
    #[inline]
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint.ip.into(), endpoint.port)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn an_address_comes_back_as_it_went_in_and_ipv4_sorts_first() {
        let addresses = [
            "0.0.0.0",
            "10.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::a.b",
            "64:ff9b::1",
            "fe80::1",
        ];
        let ips: Vec<IpAddr> = addresses.iter().filter_map(|a| a.parse().ok()).collect();
        assert_eq!(ips.len(), addresses.len() - 1);
        let packed: Vec<Ip> = ips.iter().map(|ip| Ip::from(*ip)).collect();
        assert!(packed.is_sorted(), "{packed:?}");
        assert!(
            packed.iter().map(|ip| IpAddr::from(*ip)).eq(ips),
            "{packed:?}"
        );
    }

    #[test]
    fn an_ipv4_mapped_address_is_the_ipv4_address() {
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(Ip::from(mapped), Ip::from(mapped.to_canonical()));
    }

    #[test]
    fn unicast_is_what_the_standard_library_does_not_name_otherwise() {
        for ip in [
            "0.0.0.0",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "ff02::1",
            "240.0.0.1",
            "10.0.0.1",
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
            let expected = !(ip.is_unspecified() || ip.is_multicast() || broadcast);
            assert_eq!(Ip::from(ip).is_unicast(), expected, "{ip}");
        }
    }
}
