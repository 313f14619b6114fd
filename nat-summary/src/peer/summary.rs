//! The verdict on what the peer showed of the NAT, beside that of the servers.

use crate::behaviour::{Filtering, Mapping};
use crate::rule::Rule;

/// How the NAT mapped the base toward the peer, against the mapping that was advertised to it.
///
/// The peer's Binding responses carry XOR-MAPPED-ADDRESS (RFC 8489 section 14.2). Some NATs keep a
/// mapping toward every server and change it toward a peer whose packet came in first.
///
/// ```
/// assert_eq!(nat_summary::TowardPeer::Changed.as_str(), Some("changed"));
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

impl TowardPeer {
    /// Every one there is.
    ///
    /// ```
    /// use nat_summary::TowardPeer;
    /// let words: Vec<_> = TowardPeer::ALL.iter().filter_map(|toward| toward.as_str()).collect();
    /// assert_eq!(words, ["kept", "changed"]);
    /// ```
    pub const ALL: &'static [Self] = &[Self::Unobserved, Self::Kept, Self::Changed];

    /// Its word; none where nothing was observed.
    ///
    /// ```
    /// use nat_summary::TowardPeer;
    /// assert_eq!(TowardPeer::Kept.as_str(), Some("kept"));
    /// assert_eq!(TowardPeer::Unobserved.as_str(), None);
    /// ```
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Unobserved => None,
            Self::Kept => Some("kept"),
            Self::Changed => Some("changed"),
        }
    }
}

/// What packets that came in proved of how the NAT filters (RFC 4787 section 5). Silence proves
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

impl FilteringSeen {
    /// Every one there is, each stronger than the one before.
    ///
    /// ```
    /// use nat_summary::FilteringSeen;
    /// assert!(FilteringSeen::ALL.is_sorted());
    /// assert_eq!(FilteringSeen::ALL.first(), Some(&FilteringSeen::default()));
    /// ```
    pub const ALL: &'static [Self] = &[
        Self::Unobserved,
        Self::AtMostAddressDependent,
        Self::Independent,
    ];

    /// Its word; none where nothing was observed.
    ///
    /// ```
    /// use nat_summary::FilteringSeen;
    /// assert_eq!(FilteringSeen::Independent.as_str(), Some("independent"));
    /// assert_eq!(FilteringSeen::Unobserved.as_str(), None);
    /// ```
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Unobserved => None,
            Self::AtMostAddressDependent => Some("at_most_address_dependent"),
            Self::Independent => Some("independent"),
        }
    }

    /// The filtering (RFC 4787 section 5), where it is proven: half a proof is none.
    ///
    /// ```
    /// use nat_summary::{Candidate, Evidence, FilteringSeen, NatType};
    ///
    /// let line = "candidate:2 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000";
    /// let cone = Evidence::from_candidates([Candidate::parse(line)?; 2]).summary();
    /// let named = |seen: FilteringSeen| cone.with_filtering(seen.proven()).nat_type();
    /// assert_eq!(named(FilteringSeen::Independent), NatType::FullCone);
    /// assert_eq!(named(FilteringSeen::AtMostAddressDependent), NatType::Cone, "it may be either of two");
    /// # Ok::<(), nat_summary::ParseError>(())
    /// ```
    #[must_use]
    pub const fn proven(self) -> Filtering {
        match self {
            Self::Independent => Filtering::EndpointIndependent,
            _ => Filtering::Unknown,
        }
    }
}

/// On whose word a mapping was decided.
///
/// ```
/// use nat_summary::{Evidence, PeerEvidence, Word};
/// assert_eq!(PeerEvidence::new().summary(&Evidence::new()).word, Word::Nobody);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Word {
    /// It was not decided.
    #[default]
    Nobody,
    /// The servers' alone.
    Servers,
    /// The peer's as well. It may lie.
    Peer,
}

/// What the peer showed of the NAT (RFC 4787 sections 4.1 and 5), beside what the servers said and
/// never instead.
///
/// ```
/// # use nat_summary::{Evidence, Mapping, Observation, PeerEvidence, Word};
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
/// peer.answered(seen("192.0.2.9:40000", "203.0.113.7:61000", 1)?);
/// let verdict = peer.summary(&servers);
/// assert_eq!((verdict.mapping, verdict.word), (Mapping::Dependent, Word::Peer));
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PeerSummary {
    /// How the base was mapped toward the peer, by its own word.
    pub toward_peer: TowardPeer,
    /// What came in uninvited through the NAT that the servers' verdict is about, in front of the
    /// base that speaks.
    pub filtering: FilteringSeen,
    /// How the NAT maps, if the peer is taken as one more vantage point where the servers leave it
    /// open.
    pub mapping: Mapping,
    /// The rule that decided `mapping`, or why none could.
    pub rule: Rule,
    /// On whose word.
    pub word: Word,
    /// Addresses of the peer that reported a mapping.
    pub answers: u16,
}
