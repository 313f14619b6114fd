//! A span lasts as long as its attempt did.

use std::time::{Duration, SystemTime};

use otel_nat::FailureReason;

use crate::host::{self, Host};

#[test]
fn a_span_begins_and_ends_with_its_attempt() {
    let host = Host::new();
    let before = SystemTime::now();
    let attempt = host.telemetry().attempt();
    let begun = SystemTime::now();
    std::thread::sleep(Duration::from_millis(30));
    let ending = SystemTime::now();
    attempt.fail(&host::cone(), FailureReason::Timeout);
    let after = SystemTime::now();
    let span = host.span();
    assert!((before..=begun).contains(&span.start_time));
    // two clocks measure it: allow them a millisecond of disagreement
    let doubt = Duration::from_millis(1);
    assert!((ending - doubt..=after + doubt).contains(&span.end_time));
    assert!(span.end_time.duration_since(span.start_time).unwrap() >= Duration::from_millis(30));
}

#[test]
fn no_span_ends_before_it_begins() {
    let host = Host::new();
    for _ in 0..1_000 {
        host.telemetry().attempt().succeed(&host::cone());
    }
    for span in host.spans() {
        assert!(span.start_time <= span.end_time);
    }
}

#[test]
fn a_cancelled_attempt_lasted_until_it_was_dropped() {
    let host = Host::new();
    let mut attempt = host.telemetry().attempt();
    attempt.begin_gathering();
    std::thread::sleep(Duration::from_millis(10));
    drop(attempt);
    let span = host.span();
    assert!(span.end_time.duration_since(span.start_time).unwrap() >= Duration::from_millis(10));
}
