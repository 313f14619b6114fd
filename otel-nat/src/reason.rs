//! The closed sets of an emission: why an attempt failed, and how much of the external address may be told.

/// How much of the external IP address leaves the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ExternalIp {
    /// All of it: what dashboards have always shown.
    #[default]
    Full,
    /// The first 24 bits of an IPv4 address, the first 48 of an IPv6 address, the rest zero.
    Prefix,
    /// Nothing: the key is left out.
    Omit,
}

/// Why an attempt failed: the value of `error.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The channel did not open in time.
    Timeout,
    /// Every pair of candidates failed.
    IceFailed,
    /// STUN servers were asked over UDP, and none was heard of.
    UdpBlocked,
    /// No STUN server answered, and that proves nothing.
    NoServerAnswered,
    /// The signalling service failed.
    Signalling,
    /// The partner hung up.
    PeerGone,
    /// A failure of this host: no socket, no connection object.
    Local,
    /// Our owner wanted no more, or dropped the attempt.
    Cancelled,
    /// None of the others is known to be the reason.
    Unknown,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Timeout,
        Self::IceFailed,
        Self::UdpBlocked,
        Self::NoServerAnswered,
        Self::Signalling,
        Self::PeerGone,
        Self::Local,
        Self::Cancelled,
        Self::Unknown,
    ];

    /// The value of `error.type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::IceFailed => "ice_failed",
            Self::UdpBlocked => "udp_blocked",
            Self::NoServerAnswered => "no_server_answered",
            Self::Signalling => "signalling",
            Self::PeerGone => "peer_gone",
            Self::Local => "local",
            Self::Cancelled => "cancelled",
            // the name OpenTelemetry reserves for it
            Self::Unknown => "_OTHER",
        }
    }
}
