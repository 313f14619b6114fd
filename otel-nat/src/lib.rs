//! One OpenTelemetry span per connection attempt, saying what the NAT in front of it does.
//!
//! # What leaves the process
//!
//! The span of an attempt names the external IP address, because dashboards have always grouped by it. Addresses are
//! people: [`ExternalIp`] is the first thing to decide. Nothing else that is emitted holds an address.
//!
//! # Use
//!
//! [`Telemetry::attempt`] when an attempt starts; [`Attempt::succeeded`] or [`Attempt::failed`] when it ends. Dropped
//! without either, an attempt that asked a STUN server says so with `error.type` = `cancelled`. On wasm32 the same names
//! exist and do nothing.
//!
//! ```
//! use nat_summary::{Evidence, Outcome};
//! use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
//! use otel_nat::{Reason, Telemetry};
//!
//! let exporter = InMemorySpanExporter::default();
//! let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
//!
//! let telemetry = Telemetry::new(provider);
//! let attempt = telemetry.attempt();
//! let mut evidence = Evidence::new();
//! evidence.asked("198.51.100.1:3478".parse::<std::net::SocketAddr>()?.into(), Outcome::TimedOut);
//! attempt.failed(&evidence.summary(), Reason::UdpBlocked);
//!
//! let spans = exporter.get_finished_spans()?;
//! assert_eq!(spans[0].name, "nat_failure");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod keys;
mod reason;
#[cfg(not(target_arch = "wasm32"))]
mod record;
#[cfg(not(target_arch = "wasm32"))]
mod telemetry;

#[cfg(target_arch = "wasm32")]
mod noop;

#[cfg(target_arch = "wasm32")]
pub use noop::{Attempt, Telemetry};
pub use reason::{ExternalIp, Reason};
#[cfg(not(target_arch = "wasm32"))]
pub use telemetry::{Attempt, Telemetry};
