//! The verdict on a host, each part with an honest unknown.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::behaviour::{Family, Filtering, Mapping, NatType, Pooling, PortAllocation};
use crate::rule::Rule;
use crate::scope::Scope;

/// Most bases whose own verdict is kept readable. The primary one is always among them.
pub const MAX_BASES: usize = 8;

/// The verdict on one base (RFC 8445 section 4), from its own observations only.
///
/// ```
/// use nat_summary::{Candidate, Evidence, Scope};
///
/// let line = "candidate:2 1 udp 1 100.64.3.7 50000 typ srflx raddr 192.168.1.5 rport 50000";
/// let summary = Evidence::from_candidates([Candidate::parse(line)?]).summary();
/// let verdict = summary.bases().next().unwrap();
/// assert_eq!(verdict.external_scope(), Scope::CarrierGrade);
/// # Ok::<(), nat_summary::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
    /// How the ports of a dependent mapping follow each other.
    pub allocation: PortAllocation,
    /// Whether some answer's MAPPED-ADDRESS differed from its XOR-MAPPED-ADDRESS, as where an ALG
    /// rewrites packets; `None`: no answer had both.
    pub rewritten: Option<bool>,
    /// Distinct servers that answered it: addresses, names, and answers without a server where there
    /// is nothing else. Two names may be one address.
    pub server_addresses: u16,
    /// Observations on it.
    pub observations: u16,
    /// The ICE session; 0 where none is known.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_default"))]
    pub(crate) session: u32,
}

#[cfg(feature = "serde")]
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl BaseVerdict {
    /// The family of the mapped addresses. A wildcard IPv6 base has a verdict of its own for each.
    #[must_use]
    pub const fn family(&self) -> Family {
        if self.external.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }

    /// How far the base's own address reaches (RFC 6890); `None` if it is a wildcard.
    #[must_use]
    pub const fn base_scope(&self) -> Option<Scope> {
        if self.base.ip().is_unspecified() {
            None
        } else {
            Some(Scope::of(self.base.ip()))
        }
    }

    /// How far the mapped address reaches (RFC 6890). [`Scope::CarrierGrade`] or
    /// [`Scope::Private`]: the servers sit inside another NAT.
    #[must_use]
    pub const fn external_scope(&self) -> Scope {
        Scope::of(self.external)
    }
}

/// How much evidence there was.
///
/// ```
/// use nat_summary::{Evidence, Outcome, ServerId};
///
/// let mut evidence = Evidence::new();
/// evidence.record_outcome(ServerId::named("stun.example.org", 3478), Outcome::Unreachable);
/// let counts = evidence.summary().counts();
/// assert_eq!((counts.asked, counts.answered), (1, 0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Counts {
    /// Servers asked, by address and port; 0 from a bare candidate list, which does not show them.
    pub asked: u16,
    /// Servers that answered with a mapped address.
    pub answered: u16,
    /// Distinct server addresses behind the primary base's verdict.
    pub server_addresses: u16,
    /// Observations behind the primary base's verdict.
    pub observations: u16,
    /// Bases with at least one observation; a base mapped in two families counts as two.
    pub bases: u16,
    /// Answers that do not describe this host's NAT and were set aside: a proxy in front of a server
    /// answers with an address of its own, or of the network behind it.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_default"))]
    pub set_aside: u16,
}

/// The verdict on the NAT, and how much evidence there was.
///
/// `Display` is one line for a person and holds no address; [`with_address`](Self::with_address)
/// does.
///
/// ```
/// use nat_summary::{Candidate, Evidence, Family, Rule, Scope};
///
/// let summary = Evidence::from_candidates([
///     Candidate::parse("candidate:2 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000")?,
///     Candidate::parse("candidate:3 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000")?,
/// ])
/// .summary();
/// assert_eq!(summary.to_string(), "cone NAT, port kept, 2 reflexive candidates agree");
/// assert_eq!(summary.rule(), Rule::ServersAgree);
/// assert_eq!(summary.family(), Some(Family::V4));
/// assert_eq!(summary.base_scope(), Some(Scope::Private));
/// # Ok::<(), nat_summary::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NatSummary {
    pub(crate) nat_type: NatType,
    pub(crate) filtering: Filtering,
    pub(crate) pooling: Pooling,
    pub(crate) rule: Rule,
    pub(crate) counts: Counts,
    pub(crate) bases: Bases,
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_default"))]
    pub(crate) unseen: UnseenWays,
}

/// The families in which the host has a global address, or may have one, at which no server saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct UnseenWays {
    pub(crate) v4: bool,
    pub(crate) v6: bool,
    /// The host has an address behind a NAT that is no judged base's: it may be in a subnet of the peer.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_default"))]
    pub(crate) inside: bool,
}

impl UnseenWays {
    pub(crate) const fn has(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// The verdicts that are kept readable, the primary one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bases(pub(crate) [Option<BaseVerdict>; MAX_BASES]);

impl Bases {
    pub(crate) const fn primary(&self) -> Option<&BaseVerdict> {
        let [primary, ..] = &self.0;
        primary.as_ref()
    }
}

impl NatSummary {
    /// Whether a NAT stands in front of the host (RFC 5780 section 4.3); `None`: unknown.
    #[must_use]
    pub fn is_natted(&self) -> Option<bool> {
        self.primary_base()?.natted
    }

    /// The mapped address most servers saw; tie: the one that the lowest server address saw.
    #[must_use]
    pub fn external_ip(&self) -> Option<IpAddr> {
        Some(self.primary_base()?.external)
    }

    /// How the NAT maps (RFC 4787 section 4.1).
    #[must_use]
    pub fn mapping(&self) -> Mapping {
        self.primary_base()
            .map_or(Mapping::Unknown, |base| base.mapping)
    }

    /// How the NAT filters (RFC 4787 section 5). Gathering alone never knows.
    #[must_use]
    pub const fn filtering(&self) -> Filtering {
        self.filtering
    }

    /// The same summary with the filtering known from elsewhere, such as an RFC 5780 discovery or
    /// packets that came in. A cone NAT gets its finer name.
    ///
    /// ```
    /// use nat_summary::{Candidate, Evidence, Filtering, NatType};
    ///
    /// let line = "candidate:2 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000";
    /// let cone = Evidence::from_candidates([Candidate::parse(line)?; 2]).summary();
    /// assert_eq!(cone.nat_type(), NatType::Cone);
    /// assert_eq!(cone.with_filtering(Filtering::EndpointIndependent).nat_type(), NatType::FullCone);
    /// # Ok::<(), nat_summary::ParseError>(())
    /// ```
    #[must_use]
    pub const fn with_filtering(mut self, filtering: Filtering) -> Self {
        use NatType::{AddressRestrictedCone, Cone, FullCone, PortRestrictedCone};
        self.filtering = filtering;
        if matches!(
            self.nat_type,
            Cone | FullCone | AddressRestrictedCone | PortRestrictedCone
        ) {
            self.nat_type = match filtering {
                Filtering::Unknown => Cone,
                Filtering::EndpointIndependent => FullCone,
                Filtering::AddressDependent => AddressRestrictedCone,
                Filtering::AddressAndPortDependent => PortRestrictedCone,
            };
        }
        self
    }

    /// Whether every mapping kept the base's port (RFC 4787 section 4.2.1); `None`: unknown.
    #[must_use]
    pub fn port_preserved(&self) -> Option<bool> {
        self.primary_base()?.port_preserved
    }

    /// How the ports of a dependent mapping follow each other (RFC 4787 section 4.2).
    #[must_use]
    pub fn port_allocation(&self) -> PortAllocation {
        self.primary_base()
            .map_or(PortAllocation::Unknown, |base| base.allocation)
    }

    /// Whether the local address keeps one external address (RFC 4787 section 4.1).
    #[must_use]
    pub const fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// Whether something between rewrites addresses inside packets, as an ALG does: MAPPED-ADDRESS
    /// and XOR-MAPPED-ADDRESS of some answer differed (RFC 8489 section 14.2). `None`: no
    /// answer had both.
    #[must_use]
    pub fn rewritten(&self) -> Option<bool> {
        self.primary_base()?.rewritten
    }

    /// The family of the mapped address.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        Some(self.primary_base()?.family())
    }

    /// How far the primary base's own address reaches (RFC 6890); `None` if it is a wildcard.
    #[must_use]
    pub fn base_scope(&self) -> Option<Scope> {
        self.primary_base()?.base_scope()
    }

    /// How far the mapped address reaches (RFC 6890).
    #[must_use]
    pub fn external_scope(&self) -> Option<Scope> {
        Some(self.primary_base()?.external_scope())
    }

    /// The type dashboards group by (RFC 3489 section 5).
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

    /// The base whose verdict is the verdict on the host: seen from furthest out, then decided before
    /// undecided, then most distinct server addresses, then most observations, then IPv4, then the
    /// lowest address and port.
    #[must_use]
    pub const fn primary_base(&self) -> Option<&BaseVerdict> {
        self.bases.primary()
    }

    /// The verdict on every base, the primary one first, the others by address and port; at most
    /// [`MAX_BASES`].
    pub fn bases(&self) -> impl Iterator<Item = &BaseVerdict> {
        self.bases.0.iter().flatten()
    }

    /// Whether servers saw a base of this family.
    pub(crate) fn has_seen(&self, family: Family) -> bool {
        self.bases().any(|base| base.family() == family)
    }

    /// The one line for a person, with the external address in it.
    #[must_use]
    pub const fn with_address(&self) -> WithAddress<'_> {
        WithAddress(self)
    }

    /// The parts of the line: kind of NAT, ports, address, evidence.
    fn line(&self, f: &mut fmt::Formatter<'_>, address: Option<IpAddr>) -> fmt::Result {
        f.write_str(self.kind())?;
        if self.is_natted() == Some(true) {
            f.write_str(match self.port_preserved() {
                Some(true) => ", port kept",
                Some(false) => ", port changed",
                None => "",
            })?;
        }
        if let Some(address) = address {
            write!(f, ", {address}")?;
        }
        self.evidence(f)
    }

    fn kind(&self) -> &'static str {
        match self.nat_type {
            NatType::Unknown => match self.is_natted() {
                Some(true) => "NAT of unknown type",
                Some(false) => "no NAT as far as seen",
                None => "unknown",
            },
            NatType::Open => "no NAT",
            NatType::Cone => "cone NAT",
            NatType::FullCone => "full cone NAT",
            NatType::AddressRestrictedCone => "address-restricted cone NAT",
            NatType::PortRestrictedCone => "port-restricted cone NAT",
            NatType::Symmetric => "symmetric NAT",
            NatType::UdpBlocked => "UDP blocked",
        }
    }

    fn evidence(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            asked,
            answered,
            observations,
            ..
        } = self.counts;
        let verb = match self.mapping() {
            Mapping::Unknown => None,
            Mapping::EndpointIndependent => Some("agree"),
            _ => Some("differ"),
        };
        // servers without a name are no part of those asked
        let asked = if asked < observations { 0 } else { asked };
        match (asked, verb) {
            (0, None) if observations == 0 && self.nat_type == NatType::UdpBlocked => {
                f.write_str(", no reflexive candidate")
            }
            (0, None) if observations == 0 => f.write_str(", nothing observed"),
            (0, None) if observations == 1 => f.write_str(", 1 reflexive candidate"),
            (0, None) => write!(f, ", {observations} reflexive candidates"),
            (0, Some(verb)) => write!(f, ", {observations} reflexive candidates {verb}"),
            (_, None) => write!(f, ", {answered} of {asked} servers answered"),
            (_, Some(verb)) => write!(f, ", {observations} of {asked} servers {verb}"),
        }
    }
}

impl fmt::Display for NatSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line(f, None)
    }
}

/// The one line of a [`NatSummary`] with the external address in it; see
/// [`NatSummary::with_address`].
///
/// ```
/// use nat_summary::{Candidate, Evidence};
///
/// let line = "candidate:2 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000";
/// let summary = Evidence::from_candidates([Candidate::parse(line)?]).summary();
/// assert!(summary.with_address().to_string().contains("203.0.113.7"));
/// assert!(!summary.to_string().contains("203.0.113.7"), "without it");
/// # Ok::<(), nat_summary::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct WithAddress<'a>(&'a NatSummary);

impl fmt::Display for WithAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.line(f, self.0.external_ip())
    }
}
