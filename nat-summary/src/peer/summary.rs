//! The verdict from the peer's checks, beside that of the servers.

use crate::behaviour::{Filtering, Mapping};
use crate::rule::Rule;
use crate::words::words;

/// How the NAT mapped the base toward the peer, against the mapping that was advertised to it.
///
/// The peer's Binding responses carry XOR-MAPPED-ADDRESS (RFC 8489 section 14.2). Some NATs keep a
/// mapping toward every server and change it toward a peer whose packet came in first.
///
/// ```
/// assert_eq!(nat_summary::TowardPeer::Changed.as_str(), "changed");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum TowardPeer {
    /// No response of the peer was read, or none that crossed a NAT, or there is nothing to compare
    /// it with.
    #[default]
    Unobserved,
    /// As advertised.
    Kept,
    /// Another address or port.
    Changed,
}

words! {
    /// Its word: the value of `nat_telemetry.peer_mapping`, which is left out where nothing was
    /// observed.
    TowardPeer {
        Unobserved => "unobserved",
        Kept => "kept",
        Changed => "changed",
    }
}

/// How the NAT filters, as far as packets that came in prove it (RFC 4787 section 5). Silence proves
/// nothing.
///
/// ```
/// use nat_summary::{Filtering, FilteringSeen};
/// assert_eq!(FilteringSeen::Independent.proven(), Filtering::EndpointIndependent);
/// assert_eq!(FilteringSeen::AtMostAddressDependent.proven(), Filtering::Unknown);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum FilteringSeen {
    /// Nothing came in that proves anything.
    #[default]
    Unobserved,
    /// An authenticated check came in from an address that had been sent to, but a port that had
    /// not: no stricter than address-dependent.
    AtMostAddressDependent,
    /// One came in from an address that was never sent to: endpoint-independent.
    Independent,
}

words! {
    /// Its word: the value of `nat_telemetry.filtering`, which is left out where nothing was
    /// observed.
    FilteringSeen {
        Unobserved => "unobserved",
        AtMostAddressDependent => "at_most_address_dependent",
        Independent => "independent",
    }
}

impl FilteringSeen {
    /// The filtering (RFC 4787 section 5) if it is proven. An open port of a known address alone is
    /// [`Filtering::Unknown`], because the filter may still be endpoint-independent.
    #[must_use]
    pub const fn proven(self) -> Filtering {
        match self {
            Self::Independent => Filtering::EndpointIndependent,
            _ => Filtering::Unknown,
        }
    }
}

/// Whose reports decided a mapping.
///
/// ```
/// use nat_summary::{DecidedBy, Evidence, PeerEvidence};
/// assert_eq!(PeerEvidence::new().summary(&Evidence::new()).decided_by, DecidedBy::Undecided);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum DecidedBy {
    /// The mapping was not decided. Written down as `nobody`.
    #[default]
    #[cfg_attr(feature = "serde", serde(rename = "nobody"))]
    Undecided,
    /// The reports of the servers alone.
    Servers,
    /// The reports of the peer as well. They are marked, because a peer may lie.
    Peer,
}

words! {
    /// Its word, as it is written down.
    DecidedBy {
        Undecided => "nobody",
        Servers => "servers",
        Peer => "peer",
    }
}

/// The verdict from the peer's checks (RFC 4787 sections 4.1 and 5), beside that of the servers and
/// never instead of it.
///
/// ```
/// # use nat_summary::{Evidence, Mapping, Observation, PeerEvidence, DecidedBy};
/// # let seen = |server: &str, mapped: &str, sequence| {
/// #     Ok::<_, core::net::AddrParseError>(Observation {
/// #         base: "192.168.1.5:50000".parse()?,
/// #         server: server.parse::<core::net::SocketAddr>()?.into(),
/// #         mapped: mapped.parse()?,
/// #         sequence,
/// #     })
/// # };
/// let mut servers = Evidence::new();
/// servers.observe(seen("198.51.100.1:3478", "203.0.113.7:50000", 0)?);
/// assert_eq!(servers.summary().mapping(), Mapping::Unknown, "one server proves nothing");
/// let mut peer = PeerEvidence::new();
/// peer.observe(seen("192.0.2.9:40000", "203.0.113.7:61000", 1)?);
/// let verdict = peer.summary(&servers);
/// assert_eq!((verdict.mapping, verdict.decided_by), (Mapping::Dependent, DecidedBy::Peer));
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PeerSummary {
    /// How the base was mapped toward the peer, by the peer's own reports.
    pub toward_peer: TowardPeer,
    /// How the NAT in front of the primary base filters, which the servers' verdict is about.
    pub filtering: FilteringSeen,
    /// How the NAT maps, if the peer is taken as one more vantage point where the servers leave it
    /// open.
    pub mapping: Mapping,
    /// The rule that decided `mapping`, or why none could.
    pub rule: Rule,
    /// Whose reports decided `mapping`. Written down as `word`.
    #[cfg_attr(feature = "serde", serde(rename = "word"))]
    pub decided_by: DecidedBy,
    /// Addresses of the peer that reported a mapping.
    pub answers: u16,
}
