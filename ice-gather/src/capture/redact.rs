//! Addresses made unrecognizable, with their prefixes kept alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ring::hmac;

/// Blocks whose meaning is their prefix, with its length (RFC 6890, RFC 5771): an address inside stays
/// inside, and an address outside stays outside. Smaller blocks, those for documentation and
/// benchmarks, count as the global addresses around them, because a block keeps many bits of its
/// neighbours.
const BLOCKS_V4: [(Ipv4Addr, u32); 8] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];
/// 2000::/3 is what is assigned of the global unicast addresses (RFC 4291 section 2.4).
const BLOCKS_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// Replaces addresses by others: equal ones by equal ones, and those that share a prefix by those that
/// share one of that length, as Crypto-PAn does. The bits of each prefix are turned by a keyed hash
/// (HMAC-SHA-256) of it. The key is random and kept nowhere, so two runs give different addresses.
///
/// An address keeps its scope, because the bits that tell the blocks of private and other special
/// addresses from the rest stay: a private address stays in its block, and a global address never gets
/// into one. Addresses that name no host, and loopback addresses, stay as they are. So does a port.
pub struct Redactor(hmac::Key);

impl core::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// With a key, which has to be random and secret.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The replacement of an address.
    #[must_use]
    pub fn redact(&self, ip: IpAddr) -> IpAddr {
        let ip = ip.to_canonical();
        if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
            return ip;
        }
        match ip {
            IpAddr::V4(ip) => {
                let high = |ip: Ipv4Addr| u128::from(ip.to_bits()) << 96;
                let blocks = BLOCKS_V4
                    .iter()
                    .map(|(block, length)| (high(*block), *length));
                let turned = self.turn(high(ip), 32, kept(high(ip), blocks)) >> 96;
                Ipv4Addr::from_bits(u32::try_from(turned).unwrap_or_default()).into()
            }
            IpAddr::V6(ip) => {
                let blocks = BLOCKS_V6
                    .iter()
                    .map(|(block, length)| (block.to_bits(), *length));
                Ipv6Addr::from_bits(self.turn(ip.to_bits(), 128, kept(ip.to_bits(), blocks))).into()
            }
        }
    }

    /// Turns each bit behind the first `kept` by a hash of the bits in front of it. `bits` begin at the
    /// highest.
    fn turn(&self, bits: u128, width: u32, kept: u32) -> u128 {
        (kept..width).fold(bits, |turned, at| {
            let prefix = bits.checked_shr(128 - at).unwrap_or_default();
            let place = [width.to_be_bytes(), at.to_be_bytes()].concat();
            let tag = hmac::sign(&self.0, &[&place, &prefix.to_be_bytes()[..]].concat());
            let flip = u128::from(tag.as_ref().first().is_some_and(|byte| byte & 1 == 1));
            turned ^ (flip << (127 - at))
        })
    }
}

/// How many of the first bits stay. A bit may turn where neither half of the addresses behind it holds
/// a block, so up to a block all bits stay, and beside it those up to the fork.
fn kept(bits: u128, blocks: impl Iterator<Item = (u128, u32)>) -> u32 {
    let up_to = |(block, length): (u128, u32)| ((bits ^ block).leading_zeros() + 1).min(length);
    blocks.map(up_to).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use nat_summary::Scope;

    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(&[7; 32])
    }

    fn shared(a: IpAddr, b: IpAddr) -> u32 {
        match (a, b) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => 0,
        }
    }

    #[test]
    fn prefixes_and_scopes_are_kept_and_addresses_are_not() {
        let redactor = redactor();
        let addresses: Vec<IpAddr> = [
            "10.1.2.3",
            "10.1.2.4",
            "10.200.0.1",
            "192.168.1.5",
            "192.168.1.77",
            "172.16.0.1",
            "100.64.3.4",
            "169.254.1.1",
            "8.8.8.8",
            "8.8.8.9",
            "8.8.4.4",
            "93.184.216.34",
            "2001:db8::1",
            "2001:db8::2",
            "2606:4700::1",
            "fd00::1",
            "fd00::2",
            "fe80::1",
        ]
        .iter()
        .map(|ip| ip.parse().unwrap())
        .collect();
        for a in &addresses {
            let redacted = redactor.redact(*a);
            assert_ne!(redacted, *a);
            assert_eq!(redacted, redactor.redact(*a));
            assert_eq!(
                Scope::of(redacted).is_global(),
                Scope::of(*a).is_global(),
                "{a}"
            );
            for b in addresses.iter().filter(|b| b.is_ipv4() == a.is_ipv4()) {
                let (was, is) = (shared(*a, *b), shared(redacted, redactor.redact(*b)));
                assert_eq!(was, is, "{a} {b}");
            }
        }
    }

    #[test]
    fn any_two_addresses_share_as_many_bits_as_before() {
        let redactor = redactor();
        let of = |n: u32| Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b9));
        let mut addresses: Vec<IpAddr> = (1..300).map(|n| of(n).into()).collect();
        // neighbours of blocks, and of each other
        addresses.extend(
            (1..300).map(|n| IpAddr::from(Ipv4Addr::from_bits(of(n).to_bits() ^ (1 << (n % 32))))),
        );
        addresses.retain(|ip| !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast());
        let pairs = addresses.iter().map(|ip| (*ip, redactor.redact(*ip)));
        let pairs: Vec<(IpAddr, IpAddr)> = pairs.collect();
        for (a, redacted_a) in &pairs {
            for (b, redacted_b) in &pairs {
                assert_eq!(shared(*a, *b), shared(*redacted_a, *redacted_b), "{a} {b}");
            }
        }
    }

    #[test]
    fn addresses_that_name_no_host_stay() {
        for ip in [
            "0.0.0.0",
            "127.0.0.1",
            "::1",
            "::",
            "224.0.0.251",
            "ff02::1",
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(redactor().redact(ip), ip);
        }
    }

    #[test]
    fn no_two_addresses_become_one_and_another_key_gives_others() {
        let redactor = redactor();
        let of = |n: u32| IpAddr::from(Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b9)));
        let mut redacted: Vec<IpAddr> = (0..2_000).map(|n| redactor.redact(of(n))).collect();
        redacted.sort_unstable();
        redacted.dedup();
        assert_eq!(redacted.len(), 2_000);
        let other = Redactor::new(&[8; 32]);
        assert_ne!(other.redact(of(5)), redactor.redact(of(5)));
    }
}
