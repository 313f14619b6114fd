//! The reasons an attempt can fail for, on every target.

use nat_summary::PathEnd;

/// Why an attempt failed. Goes out as `error.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum FailureReason {
    /// The connection did not open in time.
    Timeout,
    /// ICE ran out of candidate pairs.
    IceFailed,
    /// The channel did not come up: over a candidate pair that worked, DTLS, SCTP or the
    /// certificate failed, or the peer described no channel that could.
    ChannelFailed,
    /// Every STUN server that was asked stayed silent: UDP does not get out, or not back in.
    UdpBlocked,
    /// No STUN server gave a mapped address, and UDP is not shown to be blocked.
    NoServerAnswered,
    /// The signalling service refused the request, could not be reached, or sent an unreadable
    /// answer.
    Signalling,
    /// The peer hung up, died, or had been taken by another consumer.
    PeerGone,
    /// This host could not begin: no socket, no route, no name resolution.
    Local,
    /// The attempt was given up by its owner, or its handle was dropped.
    Cancelled,
    /// None of the others.
    #[default]
    Unknown,
}

impl FailureReason {
    /// Every reason there is.
    pub const ALL: &'static [Self] = &[
        Self::Timeout,
        Self::IceFailed,
        Self::ChannelFailed,
        Self::UdpBlocked,
        Self::NoServerAnswered,
        Self::Signalling,
        Self::PeerGone,
        Self::Local,
        Self::Cancelled,
        Self::Unknown,
    ];

    /// The reason that the end of the path alone gives; `None` for a path that came up.
    ///
    /// ```
    /// use nat_summary::PathEnd;
    /// use otel_nat::FailureReason;
    ///
    /// assert_eq!(FailureReason::of_path(PathEnd::NoPair), Some(FailureReason::Timeout));
    /// assert_eq!(FailureReason::of_path(PathEnd::Connected), None);
    /// ```
    #[must_use]
    pub const fn of_path(path: PathEnd) -> Option<Self> {
        match path {
            PathEnd::Connected => None,
            PathEnd::NoPair => Some(Self::Timeout),
            PathEnd::PairsFailed => Some(Self::IceFailed),
            PathEnd::ChannelFailed => Some(Self::ChannelFailed),
            PathEnd::Undecided => Some(Self::Cancelled),
            _ => Some(Self::Unknown),
        }
    }

    /// The value of `error.type`. [`Unknown`](Self::Unknown) is `_OTHER`, the value OpenTelemetry
    /// reserves for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::IceFailed => "ice_failed",
            Self::ChannelFailed => "channel_failed",
            Self::UdpBlocked => "udp_blocked",
            Self::NoServerAnswered => "no_server_answered",
            Self::Signalling => "signalling",
            Self::PeerGone => "peer_gone",
            Self::Local => "local",
            Self::Cancelled => "cancelled",
            Self::Unknown => "_OTHER",
        }
    }
}

impl core::fmt::Display for FailureReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}
