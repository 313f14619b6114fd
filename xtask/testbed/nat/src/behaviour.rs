//! The behaviour of a NAT, in the words of RFC 4787.

use std::net::SocketAddr;

/// How much of the other endpoint a mapping, or a filter, depends on (RFC 4787 sections 4.1 and 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependence {
    /// On nothing of it.
    EndpointIndependent,
    /// On its address.
    AddressDependent,
    /// On its address and port.
    AddressAndPortDependent,
}

impl Dependence {
    /// Each of them, the laxest first.
    pub const ALL: [Self; 3] = [
        Self::EndpointIndependent,
        Self::AddressDependent,
        Self::AddressAndPortDependent,
    ];

    /// Whether the state made for `one` serves `other` as well.
    #[must_use]
    pub fn are_alike(self, one: SocketAddr, other: SocketAddr) -> bool {
        match self {
            Self::EndpointIndependent => true,
            Self::AddressDependent => one.ip() == other.ip(),
            Self::AddressAndPortDependent => one == other,
        }
    }
}

/// The state that opens a filter: that of the internal endpoint in RFC 4787 section 5, that of the
/// mapping in many NATs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FilterState {
    /// Every packet of the internal endpoint opens it, by any mapping.
    OfInternalEndpoint,
    /// Packets by that mapping alone open it.
    OfMapping,
}

/// How the external port is chosen (RFC 4787 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortAssignment {
    /// The internal port, and a random one where that is taken.
    Preserving,
    /// The internal port, taken or not.
    Overloading,
    /// So many behind the last one; other hosts take up to `traffic` between.
    Sequential {
        /// From one port to the next.
        step: u16,
        /// Most mappings of other hosts between two of ours.
        traffic: u16,
    },
    /// Any that is free.
    Random,
}

/// How the external address is chosen, where there are several (RFC 4787 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// An internal address keeps its external one.
    Paired,
    /// Each mapping gets any of them.
    Arbitrary,
}

/// The fate of a packet from inside to an external endpoint of this NAT (RFC 4787 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hairpinning {
    /// It is dropped.
    None,
    /// It arrives from the sender's external endpoint, as it has to.
    ExternalSource,
    /// It arrives from the sender's internal endpoint.
    InternalSource,
}

/// The whole behaviour of a NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Behaviour {
    /// The dependence of a mapping.
    pub mapping: Dependence,
    /// The dependence of the filter.
    pub filtering: Dependence,
    /// The state that opens the filter.
    pub filter_state: FilterState,
    /// How the external port is chosen.
    pub assignment: PortAssignment,
    /// How the external address is chosen.
    pub pooling: Pooling,
    /// Whether two internal hosts reach each other by their external endpoints.
    pub hairpinning: Hairpinning,
}

impl Behaviour {
    /// Maps and filters like this; the rest as RFC 4787 wants or allows: the filter opens by the
    /// internal endpoint, ports are preserved, addresses paired, hairpins shown from outside.
    #[must_use]
    pub const fn new(mapping: Dependence, filtering: Dependence) -> Self {
        Self {
            mapping,
            filtering,
            filter_state: FilterState::OfInternalEndpoint,
            assignment: PortAssignment::Preserving,
            pooling: Pooling::Paired,
            hairpinning: Hairpinning::ExternalSource,
        }
    }

    /// Opens its filter by this.
    #[must_use]
    pub const fn with_filter_state(self, filter_state: FilterState) -> Self {
        Self {
            filter_state,
            ..self
        }
    }

    /// Chooses external ports like this.
    #[must_use]
    pub const fn with_assignment(self, assignment: PortAssignment) -> Self {
        Self { assignment, ..self }
    }

    /// Chooses external addresses like this.
    #[must_use]
    pub const fn with_pooling(self, pooling: Pooling) -> Self {
        Self { pooling, ..self }
    }

    /// Treats packets between internal hosts like this.
    #[must_use]
    pub const fn with_hairpinning(self, hairpinning: Hairpinning) -> Self {
        Self {
            hairpinning,
            ..self
        }
    }
}
