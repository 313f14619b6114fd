//! A NAT on the way: the one model, and the part of its past that a world has to know.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use nat_model::{Behaviour, Dependence};

use crate::plain::Maps;
use crate::random::Random;

/// A NAT on the way.
#[derive(Debug, Clone)]
pub struct Nat {
    model: nat_model::Nat,
    /// Grows when the NAT forgets all its mappings.
    pub generation: u32,
    /// In a hundred destinations: another host sends there from the port of the base already, so a
    /// NAT that overloads ports takes a random one.
    busy: u64,
    collisions: BTreeMap<(SocketAddr, SocketAddr), Option<u16>>,
}

/// Where a packet leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// Its source, outside.
    pub external: SocketAddr,
    /// The port of the base was taken toward this destination alone.
    pub is_collision: bool,
}

impl Nat {
    /// Without mappings.
    pub fn new(behaviour: Behaviour, pool: Vec<IpAddr>, last_port: u16) -> Self {
        Self {
            model: nat_model::Nat::new(behaviour, pool, last_port),
            generation: 0,
            busy: 0,
            collisions: BTreeMap::new(),
        }
    }

    /// The ports that it overloads are taken toward as many destinations in a hundred.
    pub fn with_busy(self, busy: u64) -> Self {
        Self { busy, ..self }
    }

    /// Its behaviour.
    pub fn behaviour(&self) -> Behaviour {
        self.model.behaviour()
    }

    /// Its external addresses.
    pub fn pool(&self) -> &[IpAddr] {
        self.model.pool()
    }

    /// How it maps.
    pub fn maps(&self) -> Maps {
        match self.behaviour().mapping {
            Dependence::EndpointIndependent => Maps::Independent,
            Dependence::AddressDependent => Maps::ByAddress,
            Dependence::AddressAndPortDependent => Maps::ByPort,
        }
    }

    /// A packet from `from` inside to `to` outside.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, random: &mut Random) -> Mapped {
        let mut external = self.model.outward(from, to, &mut |end| random.below(end));
        let busy = self.busy;
        let collision = self.collisions.entry((from, to)).or_insert_with(|| {
            let is_taken = random.chance(busy);
            is_taken.then(|| 1024 + random.below(48_000) as u16)
        });
        if let Some(port) = collision {
            external.set_port(*port);
        }
        Mapped {
            external,
            is_collision: collision.is_some(),
        }
    }

    /// A packet from `from` outside to `to`, an external address: the internal endpoint it reaches.
    pub fn receive(&self, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        self.model.inward(to, from)
    }

    /// Whether this is one of its external addresses.
    pub fn is_own(&self, ip: IpAddr) -> bool {
        self.pool().contains(&ip)
    }

    /// The NAT starts again, and knows none of its mappings.
    pub fn forget(&mut self) {
        self.model.forget();
        self.collisions.clear();
        self.generation += 1;
    }
}
