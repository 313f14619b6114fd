//! What a caller may say of an attempt, and be told of its spans, on every target.

/// Why an attempt failed. Goes out as `error.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Reason {
    /// The connection did not open in time.
    Timeout,
    /// ICE ran out of candidate pairs.
    IceFailed,
    /// The channel did not come up: over a candidate pair that worked, DTLS, SCTP or the
    /// certificate failed, or the peer described no channel that could.
    ChannelFailed,
    /// STUN servers were asked and every one stayed silent: UDP does not get out, or not back in.
    UdpBlocked,
    /// No STUN server gave a mapped address, and UDP is not shown to be blocked.
    NoServerAnswered,
    /// The signalling server refused, could not be reached, or answered with something unreadable.
    Signalling,
    /// The peer hung up, died, or was taken by somebody else.
    PeerGone,
    /// This host could not: no socket, no route, no name resolution.
    Local,
    /// The attempt was given up from outside, or its handle dropped.
    Cancelled,
    /// None of the others.
    #[default]
    Unknown,
}

impl Reason {
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

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of the spans of a [`Telemetry`](crate::Telemetry) and its clones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Taken by a provider. What a processor drops later, only the processor knows.
    pub recorded: u64,
    /// Taken by nobody: no provider is set, it was shut down, or its sampler said no.
    pub unrecorded: u64,
    /// Lost to a panic inside the provider, of spans or of metrics. It goes no further than here.
    pub panicked: u64,
}
