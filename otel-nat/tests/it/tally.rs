//! Dropped spans are counted, and a provider that panics breaks nothing else.

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanProcessor};
use otel_nat::{FailureReason, Tally, Telemetry};

use crate::host::{self, Host};

fn counts(tally: Tally) -> [u64; 3] {
    [tally.recorded, tally.unrecorded, tally.panicked]
}

#[test]
fn spans_are_counted_as_recorded_until_the_provider_shuts_down() {
    let host = Host::new();
    let telemetry = host.telemetry();
    telemetry.attempt().succeed(&host::cone());
    telemetry
        .clone()
        .with_scope("elsewhere")
        .attempt()
        .succeed(&host::cone());
    drop(telemetry.attempt());
    assert_eq!(
        counts(telemetry.tally()),
        [2, 0, 0],
        "a clone counts with its origin"
    );
    host.provider.shutdown().unwrap();
    telemetry.attempt().succeed(&host::cone());
    assert_eq!(counts(telemetry.tally()), [2, 1, 0]);
}

#[test]
fn what_a_sampler_turns_away_is_counted() {
    let telemetry = Telemetry::new(
        SdkTracerProvider::builder()
            .with_sampler(Sampler::AlwaysOff)
            .build(),
    );
    telemetry.attempt().succeed(&host::cone());
    assert_eq!(counts(telemetry.tally()), [0, 1, 0]);
}

/// A processor that panics.
#[derive(Debug)]
struct Broken;

impl SpanProcessor for Broken {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, _: SpanData) {
        // not `panic!`, which would print
        std::panic::resume_unwind(Box::new("broken"));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[test]
fn a_panic_inside_a_provider_is_counted_and_ends_there() {
    let telemetry = Telemetry::new(
        SdkTracerProvider::builder()
            .with_span_processor(Broken)
            .build(),
    );
    telemetry
        .attempt()
        .fail(&host::cone(), FailureReason::Timeout);
    assert_eq!(counts(telemetry.tally()), [0, 0, 1]);

    // and one while a panic drops the handle does not end the process
    let lost = {
        let telemetry = telemetry.clone();
        std::thread::spawn(move || {
            let mut attempt = telemetry.attempt();
            attempt.begin_gathering();
            std::panic::resume_unwind(Box::new("lost"));
        })
    };
    assert!(lost.join().is_err());
    assert_eq!(counts(telemetry.tally()), [0, 0, 2]);
}
