//! A real collector receives every attribute of every span, over both protocols and as JSON lines.
//!
//! `ROTEL_AGENT` names the program `rotel-agent` (of the Python package `rotel`); without it there
//! is nothing to run. `cargo xtask collector` installs it, and sends it the spans of real attempts.

use std::path::Path;
use std::time::Duration;

use nat_summary::CandidateKind;
use opentelemetry_sdk::trace::SpanData;
use otel_nat::pipeline::{Capture, Pipeline};
use otel_nat::{ExternalIp, FailureReason, Telemetry, keys};

use crate::addresses::addresses;
use crate::evidence::tell_of_the_checks;
use crate::host;
use crate::json_lines::Page;
use crate::rotel::{Role, Rotel, Told, meant};

fn emit(telemetry: &Telemetry) {
    for (_, summary) in host::every_kind() {
        telemetry.attempt().succeed(&summary);
        // and all that only a caller knows
        let mut attempt = telemetry.attempt();
        attempt.begin_gathering();
        attempt.end_gathering(&summary);
        attempt.begin_checks();
        attempt.set_selected_pair(CandidateKind::Host, CandidateKind::PeerReflexive);
        tell_of_the_checks(&mut attempt);
        attempt.fail(&summary, FailureReason::Timeout);
    }
}

/// The spans of `emitted` that the collector received, in the order of emission.
fn received(collector: &Rotel, emitted: &[Told]) -> Vec<Told> {
    let of = |told: &[Told]| -> Vec<Told> {
        emitted
            .iter()
            .flat_map(|span| told.iter().filter(|told| told.ids == span.ids).cloned())
            .collect()
    };
    of(&collector.received(Duration::from_secs(10), |told| of(told) == emitted))
}

#[test]
fn a_real_collector_receives_each_attribute_as_it_was_meant() {
    let Ok(agent) = std::env::var("ROTEL_AGENT") else {
        eprintln!("no collector: set ROTEL_AGENT");
        return;
    };
    let collector = Rotel::start(Path::new(&agent), Role::End).unwrap();
    let page = Page::default();
    let ways = ["OTLP/HTTP", "OTLP/gRPC", "JSON lines"];
    for way in ways {
        let capture = Capture::new();
        let builder = Pipeline::builder().with_capture(&capture);
        let pipeline = match way {
            "OTLP/HTTP" => builder.otlp_http(Some(&collector.traces_url())).unwrap(),
            "OTLP/gRPC" => builder.otlp_grpc(Some(&collector.grpc_url())).unwrap(),
            _ => builder.json_lines(page.clone()),
        };
        emit(&pipeline.telemetry());
        pipeline.shutdown(Duration::from_secs(5)).unwrap();
        for line in page.text().lines() {
            collector.post(line).unwrap();
        }
        let emitted: Vec<_> = capture.spans().iter().map(meant).collect();
        assert_eq!(emitted.len(), 2 * host::every_kind().len());
        assert_eq!(received(&collector, &emitted), emitted, "{way}");
    }
    let all = collector.received(Duration::ZERO, |_| true);
    assert_eq!(
        all.len(),
        ways.len() * 2 * host::every_kind().len(),
        "each once, and no other"
    );
}

#[test]
fn the_deployed_collector_passes_on_what_the_policy_would_have_let_out() {
    let Ok(agent) = std::env::var("ROTEL_AGENT") else {
        eprintln!("no collector: set ROTEL_AGENT");
        return;
    };
    for (setting, policy) in [("prefix", ExternalIp::Prefix), ("omit", ExternalIp::Omit)] {
        let end = Rotel::start(Path::new(&agent), Role::End).unwrap();
        let gateway = Rotel::start(
            Path::new(&agent),
            Role::Gateway {
                to: end.http,
                external_ip: setting,
            },
        )
        .unwrap();
        // the collector gets the whole address; a second emission under the policy gives the
        // expectation
        let (whole, policed) = (Capture::new(), Capture::new());
        emit(&policed.telemetry().with_external_ip(policy));
        let builder = Pipeline::builder().with_capture(&whole);
        let pipeline = match policy {
            ExternalIp::Omit => builder.otlp_grpc(Some(&gateway.grpc_url())).unwrap(),
            _ => builder.otlp_http(Some(&gateway.traces_url())).unwrap(),
        };
        emit(&pipeline.telemetry());
        pipeline.shutdown(Duration::from_secs(5)).unwrap();
        let of_key = |told: &String| told.starts_with(keys::EXTERNAL_IP);
        let expected = |(whole, policed): (&SpanData, &SpanData)| {
            let mut told = meant(whole);
            let policed = meant(policed).attributes.into_iter().find(of_key);
            // the durations are each run's own
            told.attributes = told
                .attributes
                .into_iter()
                .filter_map(|whole| {
                    if of_key(&whole) {
                        policed.clone()
                    } else {
                        Some(whole)
                    }
                })
                .collect();
            told
        };
        let expected: Vec<_> = whole
            .spans()
            .iter()
            .zip(&policed.spans())
            .map(expected)
            .collect();
        assert!(
            whole
                .spans()
                .iter()
                .any(|span| host::value(span, keys::EXTERNAL_IP).is_some())
        );
        let received = received(&end, &expected);
        assert_eq!(received.len(), expected.len(), "{setting}");
        for (received, expected) in received.iter().zip(&expected) {
            assert_eq!(received, expected, "{setting}");
        }
        for told in received.iter().flat_map(|span| &span.attributes) {
            let is_network = policy == ExternalIp::Prefix && told.starts_with(keys::EXTERNAL_IP);
            assert!(
                is_network || addresses(told).is_empty(),
                "{setting}: {told}"
            );
        }
    }
}

/// Addresses under other keys, and values of other kinds: spans that this crate never emits.
#[test]
fn the_deployed_collector_lets_no_address_pass_under_another_key() {
    let Ok(agent) = std::env::var("ROTEL_AGENT") else {
        eprintln!("no collector: set ROTEL_AGENT");
        return;
    };
    let end = Rotel::start(Path::new(&agent), Role::End).unwrap();
    let gateway = Rotel::start(
        Path::new(&agent),
        Role::Gateway {
            to: end.http,
            external_ip: "prefix",
        },
    )
    .unwrap();
    let text = |key: &str, value: &str| {
        format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#)
    };
    let attributes = [
        text("nat_external_ip", "203.0.113.7/24"),
        text("nat_external_ip", "fe80::1234%eth0"),
        text("nat_external_ip", "::ffff:203.0.113.7"),
        text("nat_external_ip", "somewhere else"),
        r#"{"key":"nat_external_ip","value":{"intValue":"3405803783"}}"#.to_owned(),
        r#"{"key":"nat_external_ip"}"#.to_owned(),
        r#"{"key":"nat_external_ip","value":{"arrayValue":{"values":[{"stringValue":"203.0.113.7"}]}}}"#.to_owned(),
        text("nat_telemetry.rule", "203.0.113.7"),
        text("nat_type", "203.0.113.7:50000"),
        text("nat_mapping_behavior", "[2001:db8::7]:50000"),
        r#"{"key":"nat_telemetry.bases","value":{"bytesValue":"ywBxBw=="}}"#.to_owned(),
        r#"{"key":"nat_telemetry.bases","value":{"kvlistValue":{"values":[]}}}"#.to_owned(),
        text("nat_telemetry.pooling", "paired"),
        text("service.kind", "not ours"),
    ];
    let line = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"scope":{{"name":"broflake"}},"spans":[{{"traceId":"{:032x}","spanId":"{:016x}","name":"nat_success","kind":1,"startTimeUnixNano":"1","endTimeUnixNano":"2","attributes":[{}]}}]}}]}}]}}"#,
        7,
        7,
        attributes.join(",")
    );
    gateway.post(&line).unwrap();
    let spans = end.received(Duration::from_secs(10), |told| {
        told.iter().any(|span| span.attributes.len() >= 5)
    });
    let told: Vec<_> = spans
        .iter()
        .flat_map(|span| &span.attributes)
        .map(String::as_str)
        .collect();
    assert_eq!(
        told,
        [
            "nat_external_ip: Str(203.0.113.0/24)",
            "nat_external_ip: Str(fe80::/48)",
            "nat_external_ip: Str(203.0.113.0/24)",
            "nat_telemetry.pooling: Str(paired)",
            "service.kind: Str(not ours)",
        ]
    );
}

#[test]
fn what_is_emitted_while_the_collector_is_down_is_counted_and_what_comes_after_arrives() {
    let Ok(agent) = std::env::var("ROTEL_AGENT") else {
        eprintln!("no collector: set ROTEL_AGENT");
        return;
    };
    let mut collector = Rotel::start(Path::new(&agent), Role::End).unwrap();
    for protocol in ["OTLP/HTTP", "OTLP/gRPC"] {
        let capture = Capture::new();
        let builder = Pipeline::builder()
            .with_capture(&capture)
            .with_export_timeout(Duration::from_secs(2));
        let pipeline = match protocol {
            "OTLP/HTTP" => builder.otlp_http(Some(&collector.traces_url())).unwrap(),
            _ => builder.otlp_grpc(Some(&collector.grpc_url())).unwrap(),
        };
        let emit_one = || pipeline.telemetry().attempt().succeed(&host::cone());
        emit_one();
        pipeline.flush().unwrap();
        collector.crash().unwrap();
        emit_one();
        assert!(pipeline.flush().is_err(), "{protocol}");
        collector.restart(Path::new(&agent)).unwrap();
        emit_one();
        pipeline.flush().unwrap();
        let delivery = pipeline.delivery();
        assert_eq!(
            (delivery.exported, delivery.failed, delivery.dropped),
            (2, 1, 0),
            "{protocol}"
        );
        let after: Vec<_> = capture.spans().iter().skip(2).map(meant).collect();
        assert_eq!(received(&collector, &after), after, "{protocol}");
    }
}
