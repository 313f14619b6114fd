//! One small error per operation. None of them shows an address.

use core::fmt;
use std::io;

/// Why a [`Base`](crate::Base) has no socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindError {
    /// No family is switched on, or none has a route.
    NoAddress,
    /// The system refused the socket or the address.
    Socket(io::ErrorKind),
    /// The address is the wildcard address, which stands for no local address by itself.
    Wildcard,
    /// The address is of the other family.
    Family,
}

/// Why an [`IceAgent`](crate::IceAgent) could not be made.
#[cfg(feature = "agent")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentError {
    /// The base has an agent already.
    BaseTaken,
    /// The ICE library refused its configuration.
    Refused,
    /// The ICE library did not take the base's sockets.
    NoCandidate,
    /// The runtime is shutting down.
    Shutdown,
}

/// Why a [`PeerConnection`](crate::peer_connection::PeerConnection) was not made, or did not take a
/// description.
#[cfg(feature = "webrtc")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerConnectionError {
    /// The base has an agent already.
    BaseTaken,
    /// The library refused the configuration or the description.
    Refused,
}

/// Why a remote description was refused.
#[cfg(feature = "agent")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteError {
    /// The user name fragment or the password is too short or too long (RFC 8445 section 5.3).
    Credentials,
}

/// Why no connection came about.
#[cfg(feature = "agent")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The remote description is unusable.
    Remote(RemoteError),
    /// `connect` was called before on this agent.
    Again,
    /// No pair of candidates worked in time.
    TimedOut,
    /// The agent gave up.
    Failed,
    /// The agent was closed.
    Closed,
}

/// Why a datagram was not sent.
#[cfg(feature = "agent")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// It looks like STUN and would be taken for ICE's own.
    LooksLikeStun,
    /// The connection is closed.
    Closed,
    /// The socket refused it.
    Socket,
}

/// Why there is no relayed candidate.
#[cfg(feature = "relay")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayError {
    /// The base has a relay or an agent already.
    Late,
    /// No socket could be had, or the base is not on sockets of this host.
    NoSocket,
    /// The server's name did not resolve.
    Unresolved,
    /// The server has no address of a family of the base, or no socket listens there.
    Unreachable,
    /// The server did not answer in time.
    TimedOut,
    /// The server does not take these credentials (RFC 8489 section 9.2.4, 401).
    Unauthenticated,
    /// The server refused with this code (RFC 8656 section 19); 0 if it gave none that can be read.
    Refused(u16),
    /// The server's answer is no allocation that can be used.
    Unusable,
    /// The agent was closed or the base dropped.
    Closed,
}

macro_rules! messages {
    ($($(#[$meta:meta])* $error:ty { $($variant:pat => $text:expr),+ $(,)? })+) => {$(
        $(#[$meta])*
        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $($variant => write!(f, $text),)+ }
            }
        }
        $(#[$meta])*
        impl core::error::Error for $error {}
    )+};
}

messages! {
    BindError {
        Self::NoAddress => "no address family to bind",
        Self::Socket(kind) => "the system refused the socket: {kind}",
        Self::Wildcard => "the wildcard address stands for no local address",
        Self::Family => "the address is of the other family",
    }
    #[cfg(feature = "agent")]
    AgentError {
        Self::BaseTaken => "the base already has an agent",
        Self::Refused => "the ICE library refused its configuration",
        Self::NoCandidate => "the ICE library took no local candidate",
        Self::Shutdown => "the runtime is shutting down",
    }
    #[cfg(feature = "webrtc")]
    PeerConnectionError {
        Self::BaseTaken => "the base already has an agent",
        Self::Refused => "the library of the peer connection refused it",
    }
    #[cfg(feature = "agent")]
    RemoteError {
        Self::Credentials => "the peer's ICE credentials have a wrong length",
    }
    #[cfg(feature = "agent")]
    ConnectError {
        Self::Remote(error) => "{error}",
        Self::Again => "this agent connected before",
        Self::TimedOut => "no candidate pair worked in time",
        Self::Failed => "the ICE agent gave up",
        Self::Closed => "the ICE agent was closed",
    }
    #[cfg(feature = "agent")]
    SendError {
        Self::LooksLikeStun => "the datagram looks like STUN",
        Self::Closed => "the connection is closed",
        Self::Socket => "the socket refused the datagram",
    }
    #[cfg(feature = "relay")]
    RelayError {
        Self::Late => "the base has a relay or an agent already",
        Self::NoSocket => "no socket toward the TURN server",
        Self::Unresolved => "the TURN server's name did not resolve",
        Self::Unreachable => "the TURN server cannot be reached",
        Self::TimedOut => "the TURN server did not answer in time",
        Self::Unauthenticated => "the TURN server does not take these credentials",
        Self::Refused(code) => "the TURN server refused with code {code}",
        Self::Unusable => "the TURN server's answer is no usable allocation",
        Self::Closed => "the relay was closed",
    }
}
