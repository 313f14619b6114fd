//! A NAT in memory, by the terms of RFC 4787: pure, and quick enough for attempts by the hundred
//! thousand.

use std::net::{Ipv4Addr, SocketAddr};

use rand::Rng;

/// Of what a mapping, or a filter, depends (RFC 4787 sections 4.1 and 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Endpoint,
    Address,
    AddressAndPort,
}

impl By {
    /// Whether what was made for `one` serves `other` too.
    fn serves(self, one: SocketAddr, other: SocketAddr) -> bool {
        match self {
            Self::Endpoint => true,
            Self::Address => one.ip() == other.ip(),
            Self::AddressAndPort => one == other,
        }
    }
}

/// How external ports are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ports {
    /// The base's own, where it is free.
    Kept,
    /// One after the other, with other hosts' in between.
    InOrder,
    Random,
}

#[derive(Debug)]
pub(crate) struct Nat {
    pub(crate) mapping: By,
    pub(crate) filtering: By,
    ports: Ports,
    external: Ipv4Addr,
    last_port: u16,
    mappings: Vec<Mapping>,
}

#[derive(Debug)]
struct Mapping {
    base: SocketAddr,
    made_for: SocketAddr,
    external: SocketAddr,
    contacted: Vec<SocketAddr>,
}

impl Nat {
    pub(crate) fn new(
        mapping: By,
        filtering: By,
        ports: Ports,
        external: Ipv4Addr,
        random: &mut impl Rng,
    ) -> Self {
        Self {
            mapping,
            filtering,
            ports,
            external,
            last_port: random.random_range(20_000..60_000),
            mappings: Vec::new(),
        }
    }

    /// A packet leaves `base` for `to`: where it seems to come from.
    pub(crate) fn outward(
        &mut self,
        base: SocketAddr,
        to: SocketAddr,
        random: &mut impl Rng,
    ) -> SocketAddr {
        let known =
            |mapping: &Mapping| mapping.base == base && self.mapping.serves(mapping.made_for, to);
        let at = self.mappings.iter().position(known).unwrap_or_else(|| {
            let external = (self.external, self.port(base.port(), random)).into();
            self.mappings.push(Mapping {
                base,
                made_for: to,
                external,
                contacted: Vec::new(),
            });
            self.mappings.len() - 1
        });
        let mapping = &mut self.mappings[at];
        if !mapping.contacted.contains(&to) {
            mapping.contacted.push(to);
        }
        mapping.external
    }

    /// A packet of `from` arrives at `external`: the base it is let in to.
    pub(crate) fn inward(&self, external: SocketAddr, from: SocketAddr) -> Option<SocketAddr> {
        let mapping = self
            .mappings
            .iter()
            .find(|mapping| mapping.external == external)?;
        let is_let_in = mapping
            .contacted
            .iter()
            .any(|contact| self.filtering.serves(*contact, from));
        is_let_in.then_some(mapping.base)
    }

    fn port(&mut self, wanted: u16, random: &mut impl Rng) -> u16 {
        let is_free = |port: u16| {
            port >= 1_024
                && self
                    .mappings
                    .iter()
                    .all(|mapping| mapping.external.port() != port)
        };
        if self.ports == Ports::Kept && is_free(wanted) {
            return wanted;
        }
        loop {
            let port = match self.ports {
                Ports::Random => random.random_range(1_024..=u16::MAX),
                _ => self.last_port.wrapping_add(if random.random_bool(0.2) {
                    random.random_range(2..6)
                } else {
                    1
                }),
            };
            self.last_port = port;
            if is_free(port) {
                return port;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::{By, Nat, Ports};

    #[test]
    fn mapping_and_filtering_depend_on_what_they_say() {
        let mut random = SmallRng::seed_from_u64(1);
        let base = "192.168.1.5:50000".parse().unwrap();
        let [one, other_port, other] =
            ["198.51.100.1:1", "198.51.100.1:2", "198.51.100.2:1"].map(|to| to.parse().unwrap());
        for (by, same_port, same_address) in [
            (By::Endpoint, true, true),
            (By::Address, true, false),
            (By::AddressAndPort, false, false),
        ] {
            for ports in [Ports::Kept, Ports::InOrder, Ports::Random] {
                let mut nat = Nat::new(by, by, ports, [203, 0, 113, 7].into(), &mut random);
                let external = nat.outward(base, one, &mut random);
                assert_eq!(nat.inward(external, one), Some(base));
                assert_eq!(
                    nat.inward(external, other_port).is_some(),
                    same_port,
                    "{by:?}"
                );
                assert_eq!(
                    nat.inward(external, other).is_some(),
                    same_address,
                    "{by:?}"
                );
                assert_eq!(
                    nat.outward(base, other_port, &mut random) == external,
                    same_port,
                    "{by:?}"
                );
                assert_eq!(
                    nat.outward(base, other, &mut random) == external,
                    same_address,
                    "{by:?}"
                );
                assert_eq!(external.port() == base.port(), ports == Ports::Kept);
            }
        }
    }
}
