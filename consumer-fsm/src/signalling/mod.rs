//! How consumer and producer find each other: who is there, one offer, one answer, the candidates.

use core::fmt;
use core::future::Future;

mod budget;
mod memory;
mod switchboard;
pub mod wire;

#[cfg(feature = "http")]
pub mod http;

pub use memory::{MemoryListener, MemorySignalling};
pub use switchboard::{Posted, Switchboard, SwitchboardLimits, SwitchboardTiming};
pub use wire::{Envelope, Kind};

/// The recipient that reaches everybody who listens.
pub const GENESIS: &str = "genesis";

/// Why an exchange came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalError {
    /// The service's URL is none, or of a scheme that this client does not speak.
    Url,
    /// The service does not speak our version (418).
    Version,
    /// The service takes no such request (400, or another status it does not explain).
    Rejected,
    /// The service has no room for the message at present (503).
    NoRoom,
    /// The recipient is gone (404): each reply-to id takes exactly one message.
    Gone,
    /// The service could not be reached, or the connection broke.
    Unreachable,
    /// Whoever answered could not show that it is the service: its certificate is not trusted.
    Untrusted,
    /// No end of the reply in time.
    TimedOut,
    /// The reply is longer than any real one.
    TooLong,
    /// The reply is not what the protocol says.
    Malformed,
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => "the signalling service's URL cannot be used",
            Self::Version => "the signalling service speaks another version",
            Self::Rejected => "the signalling service rejected the request",
            Self::NoRoom => "the signalling service has no room at present",
            Self::Gone => "the recipient is gone",
            Self::Unreachable => "the signalling service could not be reached",
            Self::Untrusted => "the signalling service's certificate is not trusted",
            Self::TimedOut => "the signalling service did not answer in time",
            Self::TooLong => "the reply is too long",
            Self::Malformed => "the reply is malformed",
        })
    }
}

impl core::error::Error for SignalError {}

/// A signalling service, from a client's side.
pub trait Signalling: Send + Sync {
    /// Genesis messages as they come.
    type Listener: Listener;

    /// Starts listening to genesis messages.
    fn listen(&self) -> impl Future<Output = Result<Self::Listener, SignalError>> + Send;

    /// Sends one message to a reply-to id or to [`GENESIS`], and waits for the reply. `None`:
    /// nobody replied in time.
    fn exchange(
        &self,
        to: &str,
        kind: Kind,
        payload: &str,
    ) -> impl Future<Output = Result<Option<Envelope>, SignalError>> + Send;
}

/// A stream of envelopes.
pub trait Listener: Send {
    /// The next one; `None` at the end of the stream. A [`SignalError::Malformed`] line does not
    /// end it. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Option<Result<Envelope, SignalError>>> + Send;
}
