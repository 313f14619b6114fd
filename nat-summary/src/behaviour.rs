//! How a NAT behaves, in the terms of RFC 4787 and RFC 3489.

use crate::words::words;

/// How a NAT maps one base toward different servers (RFC 4787 section 4.1).
///
/// ```
/// use nat_summary::Mapping;
/// assert_eq!(Mapping::Dependent.as_legacy(), "address-port dependent");
/// assert!(!Mapping::Unknown.is_dependent());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Mapping {
    /// The observations do not decide.
    #[default]
    Unknown,
    /// One mapping for every destination.
    EndpointIndependent,
    /// One mapping per destination address.
    AddressDependent,
    /// One mapping per destination address and port.
    AddressAndPortDependent,
    /// Not independent; whether the port matters too is unknown.
    Dependent,
}

words! {
    /// Its word, as it is written down. The six keys of dashboards have
    /// [`as_legacy`](Self::as_legacy).
    Mapping {
        Unknown => "unknown",
        EndpointIndependent => "endpoint_independent",
        AddressDependent => "address_dependent",
        AddressAndPortDependent => "address_and_port_dependent",
        Dependent => "dependent",
    }
}

impl Mapping {
    /// The value of `nat_mapping_behavior`. [`Dependent`](Self::Dependent) has the older name
    /// `address-port dependent`, because dashboards know only that one.
    #[must_use]
    pub const fn as_legacy(self) -> &'static str {
        match self {
            Self::Unknown => "unspecified",
            Self::EndpointIndependent => "independent",
            Self::AddressDependent => "address dependent",
            Self::AddressAndPortDependent | Self::Dependent => "address-port dependent",
        }
    }

    /// Whether the mapping is known to differ between destinations.
    #[must_use]
    pub const fn is_dependent(self) -> bool {
        matches!(
            self,
            Self::AddressDependent | Self::AddressAndPortDependent | Self::Dependent
        )
    }
}

/// Which packets a NAT lets in on a mapping (RFC 4787 section 5). Gathering cannot observe it,
/// because every answer comes from an address that was sent to.
///
/// ```
/// assert_eq!(nat_summary::Filtering::default().as_legacy(), "unspecified");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Filtering {
    /// The observations do not decide.
    #[default]
    Unknown,
    /// From anywhere.
    EndpointIndependent,
    /// From addresses sent to before.
    AddressDependent,
    /// From addresses and ports sent to before.
    AddressAndPortDependent,
}

words! {
    /// Its word, as it is written down. The six keys of dashboards have
    /// [`as_legacy`](Self::as_legacy).
    Filtering {
        Unknown => "unknown",
        EndpointIndependent => "endpoint_independent",
        AddressDependent => "address_dependent",
        AddressAndPortDependent => "address_and_port_dependent",
    }
}

impl Filtering {
    /// The value of `nat_filtering_behavior`.
    #[must_use]
    pub const fn as_legacy(self) -> &'static str {
        match self {
            Self::Unknown => "unspecified",
            Self::EndpointIndependent => "independent",
            Self::AddressDependent => "address dependent",
            Self::AddressAndPortDependent => "address-port dependent",
        }
    }
}

/// The type of a NAT in the terms of RFC 3489 section 5, which dashboards group by.
///
/// ```
/// assert_eq!(nat_summary::NatType::Symmetric.as_legacy(), "Symmetric NAT");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum NatType {
    /// The observations do not decide.
    #[default]
    Unknown,
    /// No NAT: the mapped address is a local one.
    Open,
    /// Endpoint-independent mapping; filtering unknown.
    Cone,
    /// Endpoint-independent mapping and filtering.
    FullCone,
    /// Endpoint-independent mapping, address-dependent filtering.
    AddressRestrictedCone,
    /// Endpoint-independent mapping, address-and-port-dependent filtering.
    PortRestrictedCone,
    /// Mapping that depends on the destination.
    Symmetric,
    /// Servers were asked over UDP, and nothing came back.
    UdpBlocked,
}

words! {
    /// Its word, as it is written down. The six keys of dashboards have
    /// [`as_legacy`](Self::as_legacy).
    NatType {
        Unknown => "unknown",
        Open => "open",
        Cone => "cone",
        FullCone => "full_cone",
        AddressRestrictedCone => "address_restricted_cone",
        PortRestrictedCone => "port_restricted_cone",
        Symmetric => "symmetric",
        UdpBlocked => "udp_blocked",
    }
}

impl NatType {
    /// The value of `nat_type`.
    #[must_use]
    pub const fn as_legacy(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Open => "Open to the Internet",
            Self::Cone => "Cone NAT",
            Self::FullCone => "Full cone NAT",
            Self::AddressRestrictedCone => "Address-restricted cone NAT",
            Self::PortRestrictedCone => "Port-restricted cone NAT",
            Self::Symmetric => "Symmetric NAT",
            Self::UdpBlocked => "UDP blocked by firewall",
        }
    }
}

/// Whether a local address keeps one external address (RFC 4787 section 4.1, "IP address pooling").
///
/// This is about the primary base's local address, across all its ports.
///
/// ```
/// use nat_summary::{Evidence, Observation, Pooling, ServerId};
///
/// let mut evidence = Evidence::new();
/// for n in 0..3_u8 {
///     evidence.observe(Observation {
///         base: "192.168.1.5:50000".parse()?,
///         server: ServerId::Address([198, 51, 100, n].into(), 3478),
///         mapped: ([203, 0, 113, 7 + n], 50_000).into(),
///         sequence: n.into(),
///     });
/// }
/// assert_eq!(evidence.summary().pooling(), Pooling::Arbitrary);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Pooling {
    /// The observations do not decide. A NAT with few observed mappings stays here, because several
    /// external addresses may still follow.
    #[default]
    Unknown,
    /// One external address for all mappings: at least 17 of them were seen.
    Paired,
    /// Mappings of one local address have different external addresses.
    Arbitrary,
}

words! {
    /// Its word: the value of `nat_telemetry.pooling`, which is left out where it is unknown.
    Pooling {
        Unknown => "unknown",
        Paired => "paired",
        Arbitrary => "arbitrary",
    }
}

/// How the ports of a dependent mapping follow each other (RFC 4787 section 4.2), from at least
/// three new mappings in the order of sending.
///
/// ```
/// use nat_summary::{Evidence, Observation, PortAllocation, ServerId};
///
/// let mut evidence = Evidence::new();
/// for n in 0..3_u8 {
///     evidence.observe(Observation {
///         base: "192.168.1.5:50000".parse()?,
///         server: ServerId::Address([198, 51, 100, n].into(), 3478),
///         mapped: ([203, 0, 113, 7], 40_000 + 2 * u16::from(n)).into(),
///         sequence: n.into(),
///     });
/// }
/// assert_eq!(evidence.summary().port_allocation(), PortAllocation::Sequential { step: 2 });
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum PortAllocation {
    /// The observations do not decide.
    #[default]
    Unknown,
    /// Every mapping has the base's own port, on another address each.
    Preserving,
    /// From one request to the next the port moves by `step`, at most 64 either way.
    Sequential {
        /// From one request to the next.
        step: i16,
    },
    /// No order in reach: at least two steps of more than 256 ports, not equal.
    Random,
}

impl PortAllocation {
    /// Its word: the value of `nat_telemetry.port.allocation`, which is left out where it is
    /// unknown. The step has a key of its own.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Preserving => "preserving",
            Self::Sequential { .. } => "sequential",
            Self::Random => "random",
        }
    }

    /// How far the port moves from one request to the next, where the order is sequential.
    #[must_use]
    pub const fn step(self) -> Option<i16> {
        match self {
            Self::Sequential { step } => Some(step),
            _ => None,
        }
    }
}

/// An address family.
///
/// ```
/// use nat_summary::{Candidate, Evidence, Family};
/// let line = "candidate:2 1 udp 1 2001:db8::5 50000 typ srflx raddr fd00::5 rport 50000";
/// assert_eq!(Evidence::from_candidates([Candidate::parse(line)?]).summary().family(), Some(Family::V6));
/// # Ok::<(), nat_summary::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

words! {
    /// Its word: the value of OpenTelemetry's `network.type`. Serde writes `v4` and `v6`.
    Family {
        V4 => "ipv4",
        V6 => "ipv6",
    }
}
