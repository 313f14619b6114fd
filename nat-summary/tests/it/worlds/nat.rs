//! One NAT in the terms of RFC 4787: mapping, filtering, port assignment and pooling.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::plain::{Filters, Maps};
use crate::random::Random;

/// How ports are assigned (RFC 4787 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ports {
    /// The port of the base, and a random one where that is taken.
    Preserving,
    /// The port of the base toward every destination, as Linux assigns it, and a random one where
    /// another host already sends to that destination from there: `busy` times in a hundred.
    Overloading {
        busy: u64,
    },
    /// The one after the last, and so on; other hosts take up to `traffic` between two of ours.
    Sequential {
        step: i16,
        traffic: u64,
    },
    Random,
}

#[derive(Debug, Clone)]
pub(crate) struct Nat {
    pub(crate) maps: Maps,
    pub(crate) filters: Filters,
    pub(crate) ports: Ports,
    pub(crate) pool: Vec<IpAddr>,
    /// Each internal address keeps its external one.
    pub(crate) is_paired: bool,
    /// A contact of one mapping does not open another mapping of the same socket.
    pub(crate) filters_per_mapping: bool,
    /// A packet from inside to an external address of this NAT comes in again.
    pub(crate) hairpins: bool,
    /// Grows when the NAT forgets all its mappings.
    pub(crate) generation: u32,
    mappings: BTreeMap<Key, Mapped>,
    contacts: BTreeSet<(SocketAddr, SocketAddr)>,
    last_port: u16,
}

/// The internal endpoint, and as much of the destination as the NAT cares for.
type Key = (SocketAddr, Option<IpAddr>, Option<u16>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) external: SocketAddr,
    /// The port of the base was taken toward this destination alone.
    pub(crate) is_collision: bool,
}

impl Nat {
    pub(crate) fn new(maps: Maps, ports: Ports, pool: Vec<IpAddr>, last_port: u16) -> Self {
        Self {
            maps,
            filters: Filters::ByPort,
            ports,
            pool,
            is_paired: true,
            filters_per_mapping: false,
            hairpins: false,
            generation: 0,
            mappings: BTreeMap::new(),
            contacts: BTreeSet::new(),
            last_port,
        }
    }

    /// A packet from `from` inside to `to` outside.
    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, random: &mut Random) -> Mapped {
        let key = match (self.maps, self.ports) {
            (_, Ports::Overloading { .. }) | (Maps::ByPort, _) => {
                (from, Some(to.ip()), Some(to.port()))
            }
            (Maps::ByAddress, _) => (from, Some(to.ip()), None),
            _ => (from, None, None),
        };
        let mapped = match self.mappings.get(&key) {
            Some(mapped) => *mapped,
            None => {
                let mapped = self.new_mapping(from, random);
                self.mappings.insert(key, mapped);
                mapped
            }
        };
        self.contacts.insert((mapped.external, to));
        mapped
    }

    /// A packet from `from` outside to `to`, an external address: the internal endpoint it reaches.
    pub(crate) fn receive(&self, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        let of_mapping = |(_, mapped): &(&Key, &Mapped)| mapped.external == to;
        let ((internal, ..), _) = self.mappings.iter().find(of_mapping)?;
        let of_socket = |external: &SocketAddr| {
            !self.filters_per_mapping
                && self
                    .mappings
                    .iter()
                    .any(|((i, ..), mapped)| i == internal && mapped.external == *external)
        };
        let mut contacts = self
            .contacts
            .iter()
            .filter(|(external, _)| *external == to || of_socket(external));
        let lets_in = match self.filters {
            Filters::Independent => true,
            Filters::ByAddress => contacts.any(|(_, contact)| contact.ip() == from.ip()),
            Filters::ByPort => contacts.any(|(_, contact)| *contact == from),
        };
        lets_in.then_some(*internal)
    }

    pub(crate) fn is_own(&self, ip: IpAddr) -> bool {
        self.pool.contains(&ip)
    }

    /// The NAT starts again, and knows none of its mappings.
    pub(crate) fn forget(&mut self) {
        self.mappings.clear();
        self.contacts.clear();
        self.generation += 1;
        self.last_port = self.last_port.wrapping_add(7_919).max(1024);
    }

    fn new_mapping(&mut self, from: SocketAddr, random: &mut Random) -> Mapped {
        let pair = match from.ip() {
            IpAddr::V4(ip) => usize::from(ip.octets()[3]),
            IpAddr::V6(ip) => usize::from(ip.segments()[7]),
        };
        let ip = if self.is_paired {
            self.pool[pair % self.pool.len()]
        } else {
            random.one_of(&self.pool)
        };
        let mut external = SocketAddr::new(ip, from.port());
        if let Ports::Overloading { busy } = self.ports {
            let is_collision = random.chance(busy);
            if is_collision {
                external.set_port(1024 + random.below(48_000) as u16);
            }
            return Mapped {
                external,
                is_collision,
            };
        }
        let is_preserving = self.ports == Ports::Preserving;
        if !is_preserving {
            external.set_port(self.next_port(random));
        }
        while self.mappings.values().any(|m| m.external == external) {
            external.set_port(self.next_port(random));
        }
        Mapped {
            external,
            is_collision: false,
        }
    }

    fn next_port(&mut self, random: &mut Random) -> u16 {
        let Ports::Sequential { step, traffic } = self.ports else {
            return 1024 + random.below(64_512) as u16;
        };
        let others = random.below(traffic + 1) as i16;
        let next = i32::from(self.last_port) + i32::from(step * (1 + others));
        self.last_port = match u16::try_from(next) {
            Ok(next @ 1024..) => next,
            _ if step > 0 => 1024,
            _ => u16::MAX,
        };
        self.last_port
    }
}
