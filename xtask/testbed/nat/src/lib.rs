//! A NAT by the words of RFC 4787, in memory: without a socket, a clock or chance of its own.
//!
//! A package without dependencies, because the tests of `nat-summary` simulate with it as well.
//! Chance comes in as an argument: a function that draws a number below another.
#![forbid(unsafe_code)]

mod behaviour;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

pub use behaviour::{Behaviour, Dependence, FilterState, Hairpinning, Pooling, PortAssignment};

/// The first port that is given out: those below belong to services (RFC 6335 section 6).
const FIRST_PORT: u16 = 1_024;

/// A NAT, with one or more external addresses and the mappings that it holds.
#[derive(Debug, Clone)]
pub struct Nat {
    behaviour: Behaviour,
    pool: Vec<IpAddr>,
    last_port: u16,
    mappings: Vec<Mapping>,
}

/// An external endpoint that stands for an internal one, toward those that it depends on.
#[derive(Debug, Clone)]
struct Mapping {
    internal: SocketAddr,
    made_for: SocketAddr,
    external: SocketAddr,
    /// Every endpoint that something was sent to by it.
    contacted: Vec<SocketAddr>,
}

/// How a packet between two internal hosts arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hairpinned {
    /// The internal endpoint that it is let in to.
    pub to: SocketAddr,
    /// The source that it shows there.
    pub from: SocketAddr,
}

impl Nat {
    /// A NAT without mappings. Sequential ports begin behind `last_port`. The pool must not be empty.
    ///
    /// # Panics
    /// If the pool is empty.
    #[must_use]
    pub fn new(behaviour: Behaviour, pool: Vec<IpAddr>, last_port: u16) -> Self {
        assert!(!pool.is_empty(), "a NAT has an external address");
        Self {
            behaviour,
            pool,
            last_port,
            mappings: Vec::new(),
        }
    }

    /// How it maps, filters and assigns.
    #[must_use]
    pub const fn behaviour(&self) -> Behaviour {
        self.behaviour
    }

    /// The external addresses that it has.
    #[must_use]
    pub fn pool(&self) -> &[IpAddr] {
        &self.pool
    }

    /// The external endpoint from which a packet of `internal` to `to` leaves. `below` draws a number
    /// below its argument.
    pub fn outward(
        &mut self,
        internal: SocketAddr,
        to: SocketAddr,
        below: &mut impl FnMut(u64) -> u64,
    ) -> SocketAddr {
        let mapping = self.behaviour.mapping;
        let serves =
            |known: &Mapping| known.internal == internal && mapping.are_alike(known.made_for, to);
        let place = self.mappings.iter().position(serves).unwrap_or_else(|| {
            let external = self.assign(internal, below);
            self.mappings.push(Mapping {
                internal,
                made_for: to,
                external,
                contacted: Vec::new(),
            });
            self.mappings.len() - 1
        });
        let mapping = &mut self.mappings[place];
        if !mapping.contacted.contains(&to) {
            mapping.contacted.push(to);
        }
        mapping.external
    }

    /// The internal endpoint that a packet of `from` to the external endpoint `to` is let in to, if it
    /// is.
    #[must_use]
    pub fn inward(&self, to: SocketAddr, from: SocketAddr) -> Option<SocketAddr> {
        self.mappings
            .iter()
            .find(|mapping| mapping.external == to && self.lets_in(mapping, from))
            .map(|mapping| mapping.internal)
    }

    /// How a packet of `internal` to the external endpoint `to` of another internal host arrives there
    /// (RFC 4787 section 6), if it does.
    pub fn hairpin(
        &mut self,
        internal: SocketAddr,
        to: SocketAddr,
        below: &mut impl FnMut(u64) -> u64,
    ) -> Option<Hairpinned> {
        let external = self.outward(internal, to, below);
        let from = match self.behaviour.hairpinning {
            Hairpinning::None => return None,
            Hairpinning::ExternalSource => external,
            Hairpinning::InternalSource => internal,
        };
        // the filter sees where the packet comes from on the outside, whatever is shown
        let to = self.inward(to, external)?;
        Some(Hairpinned { to, from })
    }

    /// Forgets every mapping, as at a restart: the next packets get new ones.
    pub fn forget(&mut self) {
        self.mappings.clear();
    }

    fn lets_in(&self, mapping: &Mapping, from: SocketAddr) -> bool {
        let shares_state = |other: &&Mapping| {
            let is_of_mapping = self.behaviour.filter_state == FilterState::OfMapping;
            other.internal == mapping.internal
                && (!is_of_mapping || other.external == mapping.external)
        };
        self.mappings
            .iter()
            .filter(shares_state)
            .flat_map(|other| &other.contacted)
            .any(|contact| self.behaviour.filtering.are_alike(*contact, from))
    }

    fn assign(&mut self, internal: SocketAddr, below: &mut impl FnMut(u64) -> u64) -> SocketAddr {
        let address = match self.behaviour.pooling {
            Pooling::Paired => host_number(internal.ip()) % self.pool.len(),
            Pooling::Arbitrary => below(self.pool.len() as u64) as usize,
        };
        let mut external = SocketAddr::new(self.pool[address], internal.port());
        match self.behaviour.assignment {
            PortAssignment::Overloading => return external,
            PortAssignment::Preserving if !self.is_taken(external) => return external,
            _ => {}
        }
        loop {
            let port = match self.behaviour.assignment {
                PortAssignment::Sequential { step, traffic } => {
                    let others = below(u64::from(traffic) + 1) as u16;
                    let next = self.last_port.checked_add(step * (1 + others));
                    self.last_port = next.unwrap_or(FIRST_PORT);
                    self.last_port
                }
                _ => FIRST_PORT + below(u64::from(u16::MAX - FIRST_PORT) + 1) as u16,
            };
            external.set_port(port);
            if !self.is_taken(external) {
                return external;
            }
        }
    }

    fn is_taken(&self, external: SocketAddr) -> bool {
        external.port() < FIRST_PORT || self.mappings.iter().any(|known| known.external == external)
    }
}

/// The part of an address by which hosts of one network differ.
fn host_number(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(address) => usize::from(address.octets()[3]),
        IpAddr::V6(address) => usize::from(address.segments()[7]),
    }
}
