//! The global tracer provider, which may come late, or never.

use opentelemetry::global;
use otel_nat::Telemetry;

use crate::host::{self, Host};

// One test, because a process has one global provider, which cannot be removed again.
#[test]
fn a_provider_set_late_gets_what_ends_after_it_was_set() {
    let telemetry = Telemetry::global();
    let running = telemetry.attempt();
    let mut dropped = telemetry.attempt();
    dropped.begin_gathering();

    // no provider at all: nothing goes out, nothing breaks
    telemetry.attempt().succeed(&host::cone());
    drop(dropped);

    let host = Host::new();
    global::set_tracer_provider(host.provider.clone());
    assert!(host.spans().is_empty());
    running.succeed(&host::cone());
    assert_eq!(host.span().instrumentation_scope.name(), "broflake");

    // and one set in its place takes over
    let other = Host::new();
    global::set_tracer_provider(other.provider.clone());
    telemetry
        .with_scope("elsewhere")
        .attempt()
        .succeed(&host::cone());
    assert_eq!(host.spans().len(), 1);
    assert_eq!(other.span().instrumentation_scope.name(), "elsewhere");
}

#[test]
fn a_provider_that_was_shut_down_is_no_obstacle() {
    let host = Host::new();
    let telemetry = host.telemetry();
    host.provider.shutdown().unwrap();
    telemetry.attempt().succeed(&host::cone());
    assert!(host.spans().is_empty());
}
