//! A real collector: every attribute of every span, over both protocols and as JSON lines, against what was emitted.
//!
//! `ROTEL_AGENT` names the program `rotel-agent` (of the Python package `rotel`); without it there is nothing to run.
//! `cargo xtask collector` brings one, and sends it what real attempts emit.

use std::path::Path;
use std::time::Duration;

use otel_nat::pipeline::{Capture, Pipeline};
use otel_nat::{Reason, Telemetry};

use crate::host;
use crate::json_lines::Page;
use crate::rotel::{Rotel, Told, meant};

fn emit(telemetry: &Telemetry) {
    for (_, summary) in host::every_kind() {
        telemetry.attempt().succeeded(&summary);
        telemetry.attempt().failed(&summary, Reason::Timeout);
    }
}

/// What of `emitted` the collector received, in the order it was emitted.
fn received(collector: &Rotel, emitted: &[Told]) -> Vec<Told> {
    let of = |told: &[Told]| -> Vec<Told> {
        emitted.iter().flat_map(|span| told.iter().filter(|told| told.ids == span.ids).cloned()).collect()
    };
    of(&collector.received(Duration::from_secs(10), |told| of(told) == emitted))
}

#[test]
fn a_real_collector_receives_each_attribute_as_it_was_meant() {
    let Ok(agent) = std::env::var("ROTEL_AGENT") else {
        eprintln!("no collector: set ROTEL_AGENT");
        return;
    };
    let collector = Rotel::start(Path::new(&agent), None).unwrap();
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
    assert_eq!(all.len(), ways.len() * 2 * host::every_kind().len(), "each once, and no other");
}
