//! Signalling over HTTP: the client, and the service as a small embeddable server.

mod client;
mod config;
mod connect;
mod service;
#[cfg(feature = "tls")]
mod tls;

pub use client::{HttpListener, HttpSignalling};
pub use config::{InvalidHeader, ServiceConfig};
pub use service::{Refused, SignallingService};

/// The protocol version; the service compares the major only.
pub const VERSION: &str = "v2.3.1";
/// The header that carries it.
pub const VERSION_HEADER: &str = "X-BF-Version";
/// The usual path of the one endpoint.
pub const DEFAULT_PATH: &str = "/v1/signal";
