//! Addresses made unrecognizable, with their prefixes kept alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nat_summary::Scope;
use ring::hmac;

/// Blocks whose meaning is their prefix, with its length: addresses stay inside (RFC 6890).
const BLOCKS_V4: [(Ipv4Addr, u32); 5] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];
const BLOCKS_V6: [(Ipv6Addr, u32); 2] = [
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
];
/// Global unicast (RFC 4291 section 2.4 as it is assigned): 2000::/3.
const GLOBAL_V6: u32 = 3;

/// Replaces addresses by others: equal ones by equal ones, and those that share a prefix by those that
/// share one of that length, as Crypto-PAn does. The bits of each prefix are turned by a keyed hash
/// (HMAC-SHA-256) of it. The key is random and kept nowhere, so two runs give different addresses.
///
/// An address keeps its scope: a private one stays in its block, a global one is global. Those that name
/// no host, and the loopback's, stay as they are. So does a port.
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
            IpAddr::V4(ip) => self.redact_v4(ip).into(),
            IpAddr::V6(ip) => {
                let block = BLOCKS_V6
                    .iter()
                    .find(|(block, length)| same_prefix(&block.octets(), &ip.octets(), *length));
                let kept = block.map_or(GLOBAL_V6, |(_, length)| *length);
                Ipv6Addr::from_bits(self.turn(ip.to_bits(), 128, kept)).into()
            }
        }
    }

    fn redact_v4(&self, ip: Ipv4Addr) -> Ipv4Addr {
        let turned = |ip: Ipv4Addr, kept| {
            let bits = self.turn(u128::from(ip.to_bits()) << 96, 32, kept) >> 96;
            Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or_default())
        };
        let block = BLOCKS_V4
            .iter()
            .find(|(block, length)| same_prefix(&block.octets(), &ip.octets(), *length));
        if let Some((_, length)) = block {
            return turned(ip, *length);
        }
        // a global address that lands in a block goes on until it is out, and with it all that share
        // the prefix
        let is_global = |ip: Ipv4Addr| Scope::of(ip.into()).is_global() && !ip.is_multicast();
        let was_global = is_global(ip);
        let mut turning = ip;
        loop {
            turning = turned(turning, 0);
            // turning is one to one, so it comes back to where it began at last
            if !was_global || is_global(turning) {
                return turning;
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

fn same_prefix(a: &[u8], b: &[u8], length: u32) -> bool {
    (0..length).all(|at| {
        let bit = |bytes: &[u8]| {
            let byte = bytes.get(at as usize / 8).copied().unwrap_or_default();
            byte >> (7 - at % 8) & 1
        };
        bit(a) == bit(b)
    })
}

#[cfg(test)]
mod tests {
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
                let in_block = |ip: &IpAddr| !Scope::of(*ip).is_global();
                if in_block(a) == in_block(b) {
                    assert_eq!(was, is, "{a} {b}");
                }
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
