//! Everything that can stand in front of a host: one list for the demonstration, chaos and the fleet.

use nat_model::{Behaviour, Dependence, FilterState};
use nat_summary::NatType;

/// A NAT, a firewall or nothing, between a host and the Internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Front {
    /// Nothing: the host has a public address.
    Nothing,
    /// A NAT that maps and filters independently of the endpoint.
    FullCone,
    /// A NAT that maps independently, and filters by address.
    AddressRestricted,
    /// A NAT that maps independently, and filters by address and port.
    PortRestricted,
    /// A NAT that maps by address, and filters by address and port.
    AddressDependent,
    /// A NAT that maps and filters by address and port.
    Symmetric,
    /// A firewall that no datagram passes.
    Blocked,
    /// The host has no route.
    NoRoute,
}

impl Front {
    /// Those that attempts are played behind, one after the other or at random.
    pub const PLAYED: [Self; 6] = [
        Self::Nothing,
        Self::FullCone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Symmetric,
        Self::Blocked,
    ];

    /// As tables show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::FullCone => "full cone",
            Self::AddressRestricted => "address-restricted",
            Self::PortRestricted => "port-restricted",
            Self::AddressDependent => "address-dependent",
            Self::Symmetric => "symmetric",
            Self::Blocked => "UDP blocked",
            Self::NoRoute => "no route",
        }
    }

    /// The true verdict: gathering cannot see how a NAT filters, so every cone is a cone.
    #[must_use]
    pub const fn truth(self) -> NatType {
        match self {
            Self::Nothing => NatType::Open,
            Self::FullCone | Self::AddressRestricted | Self::PortRestricted => NatType::Cone,
            Self::AddressDependent | Self::Symmetric => NatType::Symmetric,
            Self::Blocked => NatType::UdpBlocked,
            Self::NoRoute => NatType::Unknown,
        }
    }

    /// The behaviour of its NAT; none without a NAT.
    #[must_use]
    pub const fn behaviour(self) -> Option<Behaviour> {
        use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
        let (mapping, filtering) = match self {
            Self::Nothing | Self::Blocked | Self::NoRoute => return None,
            Self::FullCone => (EndpointIndependent, EndpointIndependent),
            Self::AddressRestricted => (EndpointIndependent, AddressDependent),
            Self::PortRestricted => (EndpointIndependent, AddressAndPortDependent),
            Self::AddressDependent => (AddressDependent, AddressAndPortDependent),
            Self::Symmetric => (AddressAndPortDependent, AddressAndPortDependent),
        };
        // the strictest there is, so that a path through it is a path through any
        Some(Behaviour::new(mapping, filtering).with_filter_state(FilterState::OfMapping))
    }
}
