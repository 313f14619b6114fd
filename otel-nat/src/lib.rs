//! One OpenTelemetry span per connection attempt that says how the NAT in front of it behaves.
//!
//! Hand in the verdict of [`nat_summary`] at the end of each attempt; a span named `nat_success` or
//! `nat_failure` goes out through the tracer provider of the program. One function decides which
//! attributes leave the process, and one argument how much of an address: [`ExternalIp`].
//!
//! ```
//! use nat_summary::{Evidence, Observation};
//! use otel_nat::{FailureReason, Telemetry};
//!
//! // The global tracer provider is looked up for each span: it may be set before or after this line.
//! let telemetry = Telemetry::global();
//!
//! let mut attempt = telemetry.attempt(); // the clock runs from here
//! let mut evidence = Evidence::new();
//! attempt.begin_gathering(); // from here on the attempt has its span, even if it is dropped
//! for (sequence, server) in ["198.51.100.1:3478", "198.51.100.2:3478"].into_iter().enumerate() {
//!     evidence.observe(Observation {
//!         base: "192.168.1.5:50000".parse()?,
//!         server: server.parse::<core::net::SocketAddr>()?.into(),
//!         mapped: "203.0.113.7:50000".parse()?,
//!         sequence: sequence as u32,
//!     });
//! }
//! let summary = evidence.summary();
//! attempt.end_gathering(&summary);
//!
//! let connected = true; // the end of your connection attempt
//! if connected {
//!     attempt.succeed(&summary);
//! } else {
//!     attempt.fail(&summary, FailureReason::Timeout);
//! }
//! # Ok::<(), core::net::AddrParseError>(())
//! ```
//!
//! On wasm32 the same API compiles, does nothing, and links nothing of OpenTelemetry.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[doc = include_str!("../docs/attributes.md")]
pub mod keys;

mod detail;
mod external_ip;
mod failure_reason;
mod mapping_lifetime;
mod server_label;
mod tally;

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
mod record;
#[cfg(not(target_arch = "wasm32"))]
mod telemetry;

pub use detail::Detail;
pub use external_ip::ExternalIp;
pub use failure_reason::FailureReason;
pub use mapping_lifetime::MappingLifetime;
/// The judge's words for the connectivity checks, which [`Attempt`] takes.
pub use nat_summary::{Checks, FailureCause, FilteringSeen, TowardPeer};
#[cfg(target_arch = "wasm32")]
pub use noop::{Attempt, Telemetry};
pub use server_label::{ServerLabel, ServerLabelError};
pub use tally::Tally;
#[cfg(not(target_arch = "wasm32"))]
pub use telemetry::{Attempt, Telemetry};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    /// Every call that a program may make on every target.
    macro_rules! shared_api {
        ($module:ident) => {{
            use crate::$module::{Attempt, Telemetry};
            fn is_at_home_anywhere<T: Send + Sync + core::fmt::Debug + 'static>(_: &T) {}
            let telemetry = Telemetry::global()
                .with_scope("elsewhere")
                .with_scope(String::from("elsewhere"))
                .with_external_ip(crate::ExternalIp::Prefix)
                .with_hello_shape(true)
                .with_detail(crate::Detail::Evidence)
                .clone();
            is_at_home_anywhere(&telemetry);
            let _: Telemetry = Telemetry::default();
            let _: crate::Tally = telemetry.tally();
            let summary = nat_summary::Evidence::new().summary();
            let mut attempt: Attempt = telemetry.attempt();
            is_at_home_anywhere(&attempt);
            attempt.begin_gathering();
            attempt.begin_wait();
            attempt.end_wait();
            attempt.end_gathering(&summary);
            attempt.begin_checks();
            attempt.set_selected_pair(
                nat_summary::CandidateKind::Host,
                nat_summary::CandidateKind::Relayed,
            );
            attempt.set_mapping_toward_peer(crate::TowardPeer::Kept);
            attempt.set_mapping_with_peer(nat_summary::Mapping::Unknown);
            attempt.set_filtering_seen(crate::FilteringSeen::Independent);
            attempt.set_checks(crate::Checks::default());
            attempt.set_peer_summary(&summary);
            attempt.set_outlook(nat_summary::Outlook::between(&summary, &summary));
            attempt.set_failure_cause(crate::FailureCause::Unknown);
            attempt.set_mapping_lifetime(crate::MappingLifetime::default());
            let stage = nat_summary::stage::StageReport::default();
            attempt.set_stage(stage);
            telemetry.record_stage(&stage);
            attempt.set_number(core::num::NonZeroU32::MIN);
            let observed = nat_summary::Evidence::new();
            let evidence = nat_summary::AttemptEvidence::new(&observed);
            attempt.set_verdict(&evidence.verdict());
            attempt.succeed(&summary);
            let _: nat_summary::AttemptVerdict = telemetry.attempt().end(&evidence, None);
            telemetry
                .attempt()
                .fail(&summary, crate::FailureReason::Timeout);
            telemetry.record_server(None, nat_summary::Outcome::Answered, None);
            telemetry.record_mapping_lifetime(&summary, crate::MappingLifetime::default());
        }};
    }

    #[test]
    fn wasm_has_the_api_that_is_here() {
        shared_api!(noop);
        shared_api!(telemetry);
    }
}
