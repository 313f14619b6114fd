//! Addresses as integers, and sorted facts in a fixed number of places: what keeps the judge small
//! and off the heap.

use core::cmp::Ordering;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An IP address whose order is that of an integer, IPv4 before IPv6.
///
/// IPv4 takes the numbers below 2³². A canonical address is never IPv4-mapped, so the few IPv6
/// addresses down there (`::/96`) move to that vacant block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ip(u128);

const MAPPED_BLOCK: u128 = 0xffff_0000_0000;
const V4_END: u128 = 1 << 32;

impl Ip {
    pub(crate) const UNSPECIFIED: Self = Self(0);

    pub(crate) const fn is_v4(self) -> bool {
        self.0 < V4_END
    }

    pub(crate) const fn is_unspecified(self) -> bool {
        self.0 == 0 || self.0 == MAPPED_BLOCK
    }

    /// Whether it is the address of one host as far as its form tells: no multicast, no broadcast,
    /// not unspecified.
    pub(crate) const fn is_unicast(self) -> bool {
        let multicast = if self.is_v4() {
            self.0 >> 28 == 0xe
        } else {
            self.0 >> 120 == 0xff
        };
        !(multicast || self.is_unspecified() || self.0 == V4_END - 1)
    }

    /// The integer, by which servers are told apart.
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

/// Sorted facts in a fixed number of places. Beyond them the greatest keys go, so that what is kept
/// does not depend on the order of arrival.
///
/// Most gatherings have a few facts of a kind, and clearing room for many would cost more than
/// judging them.
#[derive(Clone, Copy)]
pub(crate) struct Sorted<T, const FEW: usize, const MANY: usize> {
    places: Places<T, FEW, MANY>,
    len: usize,
}

#[derive(Clone, Copy)]
enum Places<T, const FEW: usize, const MANY: usize> {
    Few([T; FEW]),
    Many([T; MANY]),
}

impl<T: Copy, const FEW: usize, const MANY: usize> Sorted<T, FEW, MANY> {
    #[inline(always)]
    pub(crate) const fn new(filler: T) -> Self {
        Self {
            places: Places::Few([filler; FEW]),
            len: 0,
        }
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        let places: &[T] = match &self.places {
            Places::Few(few) => few,
            Places::Many(many) => many,
        };
        places.get(..self.len).unwrap_or(&[])
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        let len = self.len;
        self.places_mut().get_mut(..len).unwrap_or(&mut [])
    }

    fn places_mut(&mut self) -> &mut [T] {
        match &mut self.places {
            Places::Few(few) => few,
            Places::Many(many) => many,
        }
    }

    /// The fact that `order` calls equal, or the place where it belongs.
    #[inline]
    pub(crate) fn find(&mut self, order: impl Fn(&T) -> Ordering + Copy) -> Result<&mut T, usize> {
        let known = self.as_mut_slice();
        // facts mostly come in order
        let at = match known.last().map_or(Ordering::Less, order) {
            Ordering::Less => Err(known.len()),
            Ordering::Equal => Ok(known.len() - 1),
            Ordering::Greater => known.binary_search_by(order),
        }?;
        known.get_mut(at).ok_or(at)
    }

    /// Inserts at `at`, moving what is behind; true if something (`item` itself, perhaps) fell off
    /// the end.
    #[inline]
    pub(crate) fn insert(&mut self, at: usize, item: T) -> bool {
        if self.len == FEW {
            self.make_room(item);
        }
        let full = self.len == MANY;
        if !full {
            self.len += 1;
        }
        match self.as_mut_slice().get_mut(at..) {
            // at the end, where most belong
            Some([place]) => *place = item,
            Some(tail @ [_, ..]) => {
                tail.copy_within(..tail.len() - 1, 1);
                tail[0] = item;
            }
            _ => {}
        }
        full
    }

    /// Keeps those that `keep` says so of, in their order.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let known = self.as_mut_slice();
        let mut kept = 0;
        for at in 0..known.len() {
            if known.get(at).is_some_and(&keep) {
                known.copy_within(at..=at, kept);
                kept += 1;
            }
        }
        self.len = kept;
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, filler: T) {
        if let Places::Few(few) = self.places {
            let mut many = [filler; MANY];
            if let Some(head) = many.get_mut(..FEW) {
                head.copy_from_slice(&few);
            }
            self.places = Places::Many(many);
        }
    }
}

impl<T: Copy + fmt::Debug, const FEW: usize, const MANY: usize> fmt::Debug
    for Sorted<T, FEW, MANY>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
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

    #[test]
    fn those_that_stay_keep_their_order_and_the_room_of_the_others_is_free() {
        let mut sorted = Sorted::<u8, 2, 4>::new(0);
        for at in 0..4 {
            sorted.insert(at, 10 * (at as u8 + 1));
        }
        sorted.retain(|item| ![10, 30].contains(item));
        assert_eq!(sorted.as_slice(), [20, 40]);
        for item in [50, 30] {
            let at = sorted.find(|known| known.cmp(&item)).unwrap_err();
            assert!(!sorted.insert(at, item));
        }
        assert_eq!(sorted.as_slice(), [20, 30, 40, 50]);
        sorted.retain(|_| false);
        assert!(sorted.as_slice().is_empty());
    }

    #[test]
    fn the_greatest_go_when_there_is_no_room_whatever_the_order() {
        let fill = |order: &[u8]| {
            let mut sorted = Sorted::<u8, 2, 4>::new(0);
            for item in order {
                if let Err(at) = sorted.find(|known| known.cmp(item)) {
                    sorted.insert(at, *item);
                }
            }
            sorted.as_slice().to_vec()
        };
        assert_eq!(fill(&[3, 1, 3, 1]), [1, 3]);
        assert_eq!(fill(&[6, 5, 4, 3, 2, 1]), [1, 2, 3, 4]);
        assert_eq!(fill(&[1, 2, 3, 4, 5, 6]), [1, 2, 3, 4]);
    }
}
