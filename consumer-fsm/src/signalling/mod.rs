//! Signalling, by which consumer and producer find each other: the announcement of a producer, one
//! offer, one answer, the candidates.

use core::future::Future;

mod budget;
mod error;
mod memory;
mod switchboard;
pub mod wire;

#[cfg(feature = "http")]
pub mod http;

pub use error::SignalError;
pub use memory::{MemoryListener, MemorySignalling};
pub use switchboard::{Posted, Switchboard, SwitchboardLimits, SwitchboardTiming};
pub use wire::{Envelope, Kind};

/// The recipient that reaches every listener.
pub const GENESIS: &str = "genesis";

/// A client of a signalling service.
pub trait Signalling: Send + Sync {
    /// The stream of genesis messages, in the order of their arrival.
    type Listener: Listener;

    /// Starts listening to genesis messages.
    fn listen(&self) -> impl Future<Output = Result<Self::Listener, SignalError>> + Send;

    /// Sends one message to a reply-to id or to [`GENESIS`], and waits for the reply. `None`: no
    /// reply came in time.
    fn exchange(
        &self,
        to: &str,
        kind: Kind,
        payload: &str,
    ) -> impl Future<Output = Result<Option<Envelope>, SignalError>> + Send;
}

/// A stream of envelopes.
pub trait Listener: Send {
    /// The next envelope; `None` at the end of the stream. A [`SignalError::Malformed`] line does not
    /// end it. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Option<Result<Envelope, SignalError>>> + Send;
}
