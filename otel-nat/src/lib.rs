//! One OpenTelemetry span per connection attempt that says how the NAT in front of it behaves.
//!
//! Hand in what [`nat_summary`] judged, at the end of each attempt; a span named `nat_success` or
//! `nat_failure` goes out through whatever tracer provider the program has. What leaves the
//! process, and how much of an address, is decided in one function, by one argument:
//! [`ExternalIp`].
//!
//! ```
//! use nat_summary::{Evidence, Observation};
//! use otel_nat::{Reason, Telemetry};
//!
//! // The global tracer provider, looked up again for each span: it may be set before or after this line.
//! let telemetry = Telemetry::global();
//!
//! let mut attempt = telemetry.attempt(); // the clock runs from here
//! let mut evidence = Evidence::new();
//! attempt.asked(); // from here on a span goes out whatever happens, even if the attempt is dropped
//! for (sequence, server) in ["198.51.100.1:3478", "198.51.100.2:3478"].into_iter().enumerate() {
//!     evidence.observe(Observation {
//!         base: "192.168.1.5:50000".parse()?,
//!         server: server.parse::<core::net::SocketAddr>()?.into(),
//!         mapped: "203.0.113.7:50000".parse()?,
//!         sequence: sequence as u32,
//!     });
//! }
//! let summary = evidence.summary();
//! attempt.gathered(&summary);
//!
//! let connected = true; // what your connection came to
//! if connected {
//!     attempt.succeeded(&summary);
//! } else {
//!     attempt.failed(&summary, Reason::Timeout);
//! }
//! # Ok::<(), core::net::AddrParseError>(())
//! ```
//!
//! On wasm32 the same API compiles, does nothing, and links nothing of OpenTelemetry.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[doc = include_str!("../docs/attributes.md")]
pub mod keys;
mod peer;
mod reason;
mod record;

#[cfg(all(feature = "metrics", not(target_arch = "wasm32")))]
mod metrics;
#[cfg(any(target_arch = "wasm32", test))]
#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(unreachable_pub, reason = "compiled here to be compared, not used")
)]
mod noop;
#[cfg(all(feature = "pipelines", not(target_arch = "wasm32")))]
pub mod pipeline;
#[cfg(not(target_arch = "wasm32"))]
mod telemetry;

#[cfg(target_arch = "wasm32")]
pub use noop::{Attempt, Telemetry};
pub use peer::{Checks, Endurance, FailureCause, FilteringSeen, TowardPeer};
pub use reason::{Reason, Tally};
pub use record::ExternalIp;
#[cfg(not(target_arch = "wasm32"))]
pub use telemetry::{Attempt, Telemetry};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    /// Everything a consumer may call on every target.
    macro_rules! shared_api {
        ($room:ident) => {{
            use crate::$room::{Attempt, Telemetry};
            fn is_at_home_anywhere<T: Send + Sync + core::fmt::Debug + 'static>(_: &T) {}
            let telemetry = Telemetry::global()
                .with_scope("elsewhere")
                .with_scope(String::from("elsewhere"))
                .with_external_ip(crate::ExternalIp::Prefix)
                .clone();
            is_at_home_anywhere(&telemetry);
            let _: Telemetry = Telemetry::default();
            let _: crate::Tally = telemetry.tally();
            let summary = nat_summary::Evidence::new().summary();
            let mut attempt: Attempt = telemetry.attempt();
            is_at_home_anywhere(&attempt);
            attempt.asked();
            attempt.gathered(&summary);
            attempt.connecting();
            attempt.selected(
                nat_summary::CandidateKind::Host,
                nat_summary::CandidateKind::Relayed,
            );
            attempt.toward_peer(crate::TowardPeer::Kept);
            attempt.mapping_with_peer(nat_summary::Mapping::Unknown);
            attempt.filtering(crate::FilteringSeen::Independent);
            attempt.checks(crate::Checks::default());
            attempt.peer(&summary);
            attempt.outlook(nat_summary::Outlook::between(&summary, &summary));
            attempt.explained(crate::FailureCause::Dtls);
            attempt.endured(crate::Endurance::default());
            attempt.succeeded(&summary);
            telemetry.attempt().failed(&summary, crate::Reason::Timeout);
            telemetry.endured(&summary, crate::Endurance::default());
        }};
    }

    #[test]
    fn wasm_has_the_api_that_is_here() {
        shared_api!(noop);
        shared_api!(telemetry);
    }
}
