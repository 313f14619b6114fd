//! The result: what the evidence decided, each part with an honest unknown.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::classify::Rule;

/// Most bases whose own verdict is kept readable. The speaking one is always among them.
pub const MAX_BASES: usize = 8;

/// How a NAT maps one base toward different servers (RFC 4787 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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

impl Mapping {
    /// The value of `nat_mapping_behavior`. [`Dependent`](Self::Dependent) goes out under the older name
    /// `address-port dependent`.
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
        matches!(self, Self::AddressDependent | Self::AddressAndPortDependent | Self::Dependent)
    }
}

/// Which packets a NAT lets in on a mapping (RFC 4787 section 5). Gathering cannot observe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
    /// Servers were asked over UDP, and none was heard of.
    UdpBlocked,
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

/// The verdict on one base, from its own observations only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BaseVerdict {
    /// The local socket. Port 0 where it is hidden.
    pub base: SocketAddr,
    /// The mapped address most servers saw.
    pub external: IpAddr,
    /// How it is mapped.
    pub mapping: Mapping,
    /// The rule that decided `mapping`.
    pub rule: Rule,
    /// Whether a NAT stands in front of it.
    pub natted: Option<bool>,
    /// Whether every mapping kept the base's port.
    pub port_preserved: Option<bool>,
    /// Distinct server addresses that answered it.
    pub server_addresses: u16,
    /// Observations on it.
    pub observations: u16,
}

/// How much evidence there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Servers asked, by address and port; 0 from a bare candidate list, which cannot tell.
    pub asked: u16,
    /// Servers that answered with a mapped address.
    pub answered: u16,
    /// Distinct server addresses behind the speaking base's verdict.
    pub server_addresses: u16,
    /// Observations behind the speaking base's verdict.
    pub observations: u16,
    /// Bases with at least one observation.
    pub bases: u16,
}

/// What the evidence says of the NAT, and how much evidence there was.
///
/// `Display` is one line for a person and holds no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NatSummary {
    pub(crate) nat_type: NatType,
    pub(crate) filtering: Filtering,
    pub(crate) rule: Rule,
    pub(crate) counts: Counts,
    pub(crate) bases: [Option<BaseVerdict>; MAX_BASES],
}

impl NatSummary {
    /// Whether a NAT stands in front of the host; `None`: unknown.
    #[must_use]
    pub fn is_natted(&self) -> Option<bool> {
        self.speaking_base()?.natted
    }

    /// The mapped address most servers saw.
    #[must_use]
    pub fn external_ip(&self) -> Option<IpAddr> {
        Some(self.speaking_base()?.external)
    }

    /// How the NAT maps.
    #[must_use]
    pub fn mapping(&self) -> Mapping {
        self.speaking_base().map_or(Mapping::Unknown, |base| base.mapping)
    }

    /// How the NAT filters. Gathering alone never knows.
    #[must_use]
    pub const fn filtering(&self) -> Filtering {
        self.filtering
    }

    /// Whether every mapping kept the base's port; `None`: unknown.
    #[must_use]
    pub fn port_preserved(&self) -> Option<bool> {
        self.speaking_base()?.port_preserved
    }

    /// The type dashboards group by.
    #[must_use]
    pub const fn nat_type(&self) -> NatType {
        self.nat_type
    }

    /// The rule that decided [`nat_type`](Self::nat_type).
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// How much evidence there was.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The base that speaks for the host: most distinct server addresses, then most observations, then IPv4, then the
    /// lowest address and port.
    #[must_use]
    pub const fn speaking_base(&self) -> Option<&BaseVerdict> {
        self.bases[0].as_ref()
    }

    /// The verdict on every base, the speaking one first, the others by address and port.
    pub fn bases(&self) -> impl Iterator<Item = &BaseVerdict> {
        self.bases.iter().flatten()
    }
}

impl fmt::Display for NatSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.nat_type {
            NatType::Unknown => match self.is_natted() {
                Some(true) => "NAT of unknown type",
                _ => "unknown",
            },
            NatType::Open => "no NAT",
            NatType::Cone => "cone NAT",
            NatType::FullCone => "full cone NAT",
            NatType::AddressRestrictedCone => "address-restricted cone NAT",
            NatType::PortRestrictedCone => "port-restricted cone NAT",
            NatType::Symmetric => "symmetric NAT",
            NatType::UdpBlocked => "UDP blocked",
        })?;
        if self.is_natted() == Some(true) {
            f.write_str(match self.port_preserved() {
                Some(true) => ", port kept",
                Some(false) => ", port changed",
                None => "",
            })?;
        }
        let Counts { asked, answered, server_addresses, .. } = self.counts;
        if asked > 0 {
            write!(f, ", {answered} of {asked} servers answered")
        } else {
            write!(f, ", {server_addresses} reflexive candidates")
        }
    }
}
