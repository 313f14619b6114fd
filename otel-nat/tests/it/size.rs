//! The size of a span by its level of detail, against the table in docs/size.md.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use otel_nat::pipeline::Pipeline;
use otel_nat::{Detail, ExternalIp, FailureReason};
use prost::Message;

use crate::evidence::tell_of_the_checks;
use crate::host;
use crate::json_lines::Page;

const ATTEMPTS: usize = 100;

/// Attributes, bytes of JSON and bytes of protobuf of one span, in a batch of a hundred.
fn size(detail: Detail) -> [usize; 3] {
    let page = Page::default();
    let pipeline = Pipeline::builder()
        .with_service_name("consumer")
        .json_lines(page.clone());
    let telemetry = pipeline
        .telemetry()
        .with_external_ip(ExternalIp::Prefix)
        .with_detail(detail);
    for _ in 0..ATTEMPTS {
        let mut attempt = telemetry.attempt();
        attempt.begin_gathering();
        attempt.end_gathering(&host::cone());
        attempt.begin_checks();
        tell_of_the_checks(&mut attempt);
        attempt.fail(&host::cone(), FailureReason::Timeout);
    }
    pipeline.flush().unwrap();
    let text = page.text();
    let (mut protobuf, mut attributes) = (0, 0);
    for line in text.lines() {
        let request: ExportTraceServiceRequest = serde_json::from_str(line).unwrap();
        protobuf += request.encoded_len();
        for scope in request
            .resource_spans
            .iter()
            .flat_map(|spans| &spans.scope_spans)
        {
            attributes = scope
                .spans
                .iter()
                .map(|span| span.attributes.len())
                .max()
                .unwrap();
        }
    }
    [attributes, text.len() / ATTEMPTS, protobuf / ATTEMPTS]
}

#[test]
fn the_sizes_in_the_table_are_those_of_a_span() {
    let table = include_str!("../../docs/size.md");
    let mut wrong = Vec::new();
    let mut least = 0;
    for detail in Detail::ALL {
        let [attributes, json, protobuf] = size(*detail);
        let head = format!("| `{}` | {attributes} |", detail.as_str());
        let row = table.lines().find(|line| line.starts_with(&head));
        let cells = row.unwrap_or_default().split('|').skip(3).take(2);
        let cells: Vec<usize> = cells
            .map(|cell| cell.trim().replace(',', "").parse().unwrap())
            .collect();
        // a duration has a digit more or less
        let is_near = |(told, measured): (&usize, usize)| told.abs_diff(measured) * 50 <= measured;
        if cells.len() != 2 || !cells.iter().zip([json, protobuf]).all(is_near) {
            wrong.push(format!("{head} {json} | {protobuf} |"));
        }
        assert!(attributes > least, "a level has more than the one below it");
        least = attributes;
    }
    assert_eq!(wrong, [""; 0], "put these rows into docs/size.md");
}
