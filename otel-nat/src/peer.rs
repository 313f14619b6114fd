//! What the connectivity checks showed of the NAT, beyond what gathering can see, as plain words on every target.
//!
//! All of it is what a caller saw, or what a peer said of us: it has keys of its own, and never changes the six that
//! speak for the STUN servers.

use core::time::Duration;

/// How the NAT mapped the base toward the peer, against the mapping that was advertised to it.
///
/// The peer's Binding responses carry XOR-MAPPED-ADDRESS (RFC 8489 section 14.2). Some NATs keep a mapping toward every
/// server and change it toward a peer whose packet came in first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TowardPeer {
    /// No response of the peer was read.
    #[default]
    Unobserved,
    /// As advertised.
    Kept,
    /// Another address or port.
    Changed,
}

impl TowardPeer {
    /// Every one there is.
    pub const ALL: &'static [Self] = &[Self::Unobserved, Self::Kept, Self::Changed];

    /// The value of `nat_telemetry.peer_mapping`.
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Unobserved => None,
            Self::Kept => Some("kept"),
            Self::Changed => Some("changed"),
        }
    }
}

/// What packets that came in proved of how the NAT filters (RFC 4787 section 5). Silence proves nothing.
///
/// Where the behaviour itself is proven, [`NatSummary::with_filtering`](nat_summary::NatSummary::with_filtering) tells
/// `nat_filtering_behavior` too; half a proof has only this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum FilteringSeen {
    /// Nothing came in that proves anything.
    #[default]
    Unobserved,
    /// An authenticated check came in from an address that was never sent to: endpoint-independent.
    Independent,
    /// One came in from an address that had been sent to, but a port that had not: no stricter than address-dependent.
    AtMostAddressDependent,
}

impl FilteringSeen {
    /// Every one there is.
    pub const ALL: &'static [Self] = &[Self::Unobserved, Self::Independent, Self::AtMostAddressDependent];

    /// The value of `nat_telemetry.filtering`.
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Unobserved => None,
            Self::Independent => Some("independent"),
            Self::AtMostAddressDependent => Some("at_most_address_dependent"),
        }
    }
}

/// The connectivity checks of an attempt (RFC 8445 section 7), all pairs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Checks {
    /// Binding requests sent to the peer.
    pub sent: u32,
    /// Of these, how many an authenticated response came back to.
    pub answered: u32,
    /// Authenticated Binding requests of the peer that came in.
    pub received: u32,
}

/// Why an attempt failed, as far as the evidence of both sides proves it.
///
/// `error.type` says how the attempt ended; this says what stood in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum FailureCause {
    /// Both NATs send from ports nobody could foresee.
    BothSymmetric,
    /// Nothing of the peer ever came in, though others were heard on the same base.
    PeerSilent,
    /// UDP does not get out of this host's network, or not back in.
    UdpBlocked,
    /// The peer's packets did not pass the NAT in front of this host.
    FilteredHere,
    /// Checks passed in one direction only.
    ChecksOneWay,
    /// A pair was found, and the handshake over it failed.
    Dtls,
    /// The evidence proves none of these.
    #[default]
    Unknown,
}

impl FailureCause {
    /// Every cause there is.
    pub const ALL: &'static [Self] = &[
        Self::BothSymmetric,
        Self::PeerSilent,
        Self::UdpBlocked,
        Self::FilteredHere,
        Self::ChecksOneWay,
        Self::Dtls,
        Self::Unknown,
    ];

    /// The value of `nat_telemetry.failure.cause`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BothSymmetric => "both_symmetric",
            Self::PeerSilent => "peer_silent",
            Self::UdpBlocked => "udp_blocked",
            Self::FilteredHere => "filtered_here",
            Self::ChecksOneWay => "checks_one_way",
            Self::Dtls => "dtls",
            Self::Unknown => "unknown",
        }
    }
}

impl core::fmt::Display for FailureCause {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a mapping held, for as long as it was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Endurance {
    /// How often the mapping toward the peer changed under the connection.
    pub rebindings: u32,
    /// The longest time without a packet that it outlived: a lower bound of its idle lifetime (RFC 4787 section 4.3).
    pub survived: Option<Duration>,
}
