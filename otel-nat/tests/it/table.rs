//! The table in docs/attributes.md against what really goes out, in both directions.

use std::collections::{BTreeMap, BTreeSet};

use nat_summary::CandidateKind;
use opentelemetry::Value;
use opentelemetry_sdk::trace::SpanData;
use otel_nat::{Reason, TowardPeer};

use crate::host::{self, Host};

struct Row {
    kind: String,
    /// Of a string: the words it may be, or none where it may be anything.
    words: Vec<String>,
    required: bool,
}

fn table() -> BTreeMap<String, Row> {
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    include_str!("../../docs/attributes.md")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [key, kind, values, level, ..] = cells[..] else { panic!("a row of too few cells: {line}") };
            let is_closed = values.starts_with('`');
            let row = Row {
                kind: kind.to_owned(),
                words: if is_closed { quoted(values) } else { Vec::new() },
                required: level == "required",
            };
            (quoted(key).remove(0), row)
        })
        .collect()
}

/// Spans of every kind of NAT, outcome and fact.
fn everything() -> Vec<SpanData> {
    let host = Host::new();
    let telemetry = host.telemetry();
    let outcomes: Vec<_> = std::iter::once(None).chain(Reason::ALL.iter().copied().map(Some)).collect();
    for (_, summary) in host::every_kind() {
        for outcome in &outcomes {
            for local in [CandidateKind::Host, CandidateKind::ServerReflexive, CandidateKind::Unknown] {
                for toward_peer in [TowardPeer::Unobserved, TowardPeer::Kept, TowardPeer::Changed] {
                    let mut attempt = telemetry.attempt();
                    attempt.asked();
                    attempt.gathered(&summary);
                    attempt.connecting();
                    attempt.selected(local, CandidateKind::Relayed);
                    attempt.toward_peer(toward_peer);
                    match outcome {
                        None => attempt.succeeded(&summary),
                        Some(reason) => attempt.failed(&summary, *reason),
                    }
                }
            }
        }
    }
    host.spans()
}

#[test]
fn what_goes_out_is_in_the_table_as_it_goes_out() {
    let table = table();
    for span in everything() {
        let mut seen = BTreeSet::new();
        for pair in &span.attributes {
            let key = pair.key.as_str();
            let row = table.get(key).unwrap_or_else(|| panic!("{key} is not in docs/attributes.md: add a row"));
            let (kind, text) = match &pair.value {
                Value::Bool(value) => ("boolean", value.to_string()),
                Value::I64(value) => ("int", value.to_string()),
                Value::F64(value) => ("double", value.to_string()),
                Value::String(value) => ("string", value.to_string()),
                value => panic!("{key}: {value:?} is of no type in use"),
            };
            assert_eq!(kind, row.kind, "{key}");
            if !row.words.is_empty() {
                assert!(row.words.contains(&text), "{key}: {text} is not among its values in docs/attributes.md");
            }
            assert!(seen.insert(key), "{key} goes out twice");
        }
        for (key, row) in &table {
            assert!(!row.required || seen.contains(key.as_str()), "{key} is required, and not there");
        }
    }
}

#[test]
fn what_is_in_the_table_goes_out() {
    let spans = everything();
    let out: BTreeSet<_> = spans.iter().flat_map(|span| &span.attributes).map(|pair| pair.key.as_str()).collect();
    let promised = table();
    let promised: BTreeSet<_> = promised.keys().map(String::as_str).collect();
    assert_eq!(promised.difference(&out).collect::<Vec<_>>(), [] as [&&str; 0], "take it out of docs/attributes.md");
}

#[test]
fn the_attributes_fit_the_limit_of_an_sdk_left_alone() {
    assert!(table().len() <= 128);
}
