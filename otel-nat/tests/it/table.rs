//! The table in docs/attributes.md against the emitted attributes, in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use nat_summary::{CandidateKind, Mapping, Outlook, Rule};
use opentelemetry::Value;
use opentelemetry_sdk::trace::SpanData;
use otel_nat::{
    Attempt, Checks, FailureCause, FailureReason, FilteringSeen, MappingLifetime, TowardPeer,
};

use crate::host::{self, Host};

struct Row {
    kind: String,
    /// Of a string: the words it may be, or none where it may be anything.
    words: Vec<String>,
    required: bool,
}

fn table() -> BTreeMap<String, Row> {
    let quoted = |cell: &str| {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    include_str!("../../docs/attributes.md")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [key, kind, values, level, ..] = cells[..] else {
                panic!("a row of too few cells: {line}")
            };
            let is_closed = values.starts_with('`');
            let row = Row {
                kind: kind.to_owned(),
                words: if is_closed {
                    quoted(values)
                } else {
                    Vec::new()
                },
                required: level == "required",
            };
            (quoted(key).remove(0), row)
        })
        .collect()
}

/// Spans of every kind of NAT, outcome and fact.
fn everything() -> Vec<SpanData> {
    let host = Host::new();
    let telemetry = host.telemetry().with_hello_shape(true);
    let outcomes: Vec<_> = std::iter::once(None)
        .chain(FailureReason::ALL.iter().copied().map(Some))
        .collect();
    for (_, summary) in host::every_kind() {
        for outcome in &outcomes {
            for local in [
                CandidateKind::Host,
                CandidateKind::ServerReflexive,
                CandidateKind::Unknown,
            ] {
                for toward_peer in TowardPeer::ALL.iter().copied() {
                    let mut attempt = telemetry.attempt();
                    attempt.begin_gathering();
                    attempt.end_gathering(&summary);
                    attempt.begin_wait();
                    attempt.end_wait();
                    attempt.begin_checks();
                    attempt.set_selected_pair(local, CandidateKind::Relayed);
                    attempt.set_mapping_toward_peer(toward_peer);
                    match outcome {
                        None => attempt.succeed(&summary),
                        Some(reason) => attempt.fail(&summary, *reason),
                    }
                }
            }
        }
    }
    // the evidence of the checks does not depend on the gathering
    let mut checked: Vec<Tell> = Vec::new();
    checked.extend(
        FilteringSeen::ALL
            .iter()
            .map(|seen| boxed(|attempt| attempt.set_filtering_seen(*seen))),
    );
    checked.extend(
        FailureCause::ALL
            .iter()
            .map(|cause| boxed(|attempt| attempt.set_failure_cause(*cause))),
    );
    checked.extend(
        MAPPINGS
            .iter()
            .map(|mapping| boxed(|attempt| attempt.set_mapping_with_peer(*mapping))),
    );
    checked.push(boxed(|attempt| {
        attempt.set_checks(Checks {
            sent: u32::MAX,
            answered: 0,
            received: 7,
            ..Checks::default()
        })
    }));
    checked.push(boxed(|attempt| attempt.set_number(NonZeroU32::MIN)));
    for survived in [None, Some(Duration::from_secs(40))] {
        checked.push(boxed(move |attempt| {
            attempt.set_mapping_lifetime(MappingLifetime {
                rebindings: 1,
                survived,
            })
        }));
    }
    for report in host::stages() {
        checked.push(boxed(move |attempt| attempt.set_stage(report)));
    }
    for tell in checked {
        for failure in [None, Some(FailureReason::Timeout)] {
            let mut attempt = telemetry.attempt();
            tell(&mut attempt);
            match failure {
                None => attempt.succeed(&host::cone()),
                Some(reason) => attempt.fail(&host::cone(), reason),
            }
        }
    }
    for (_, ours) in host::every_kind() {
        for (_, theirs) in host::every_kind() {
            let mut attempt = telemetry.attempt();
            attempt.set_peer_summary(&theirs);
            attempt.set_outlook(Outlook::between(&ours, &theirs));
            attempt.fail(&ours, FailureReason::Timeout);
        }
    }
    host.spans()
}

/// Calls one method of an attempt.
type Tell = Box<dyn Fn(&mut Attempt)>;

fn boxed(tell: impl Fn(&mut Attempt) + 'static) -> Tell {
    Box::new(tell)
}

const MAPPINGS: [Mapping; 5] = [
    Mapping::Unknown,
    Mapping::EndpointIndependent,
    Mapping::AddressDependent,
    Mapping::AddressAndPortDependent,
    Mapping::Dependent,
];

#[test]
fn what_goes_out_is_in_the_table_as_it_goes_out() {
    let table = table();
    for span in everything() {
        let mut seen = BTreeSet::new();
        for pair in &span.attributes {
            let key = pair.key.as_str();
            let row = table
                .get(key)
                .unwrap_or_else(|| panic!("{key} is not in docs/attributes.md: add a row"));
            let (kind, text) = match &pair.value {
                Value::Bool(value) => ("boolean", value.to_string()),
                Value::I64(value) => ("int", value.to_string()),
                Value::F64(value) => ("double", value.to_string()),
                Value::String(value) => ("string", value.to_string()),
                value => panic!("{key}: {value:?} is of no type in use"),
            };
            assert_eq!(kind, row.kind, "{key}");
            if !row.words.is_empty() {
                assert!(
                    row.words.contains(&text),
                    "{key}: {text} is not among its values in docs/attributes.md"
                );
            }
            assert!(seen.insert(key), "{key} goes out twice");
        }
        for (key, row) in &table {
            assert!(
                !row.required || seen.contains(key.as_str()),
                "{key} is required, and not there"
            );
        }
    }
}

#[test]
fn what_is_in_the_table_goes_out() {
    let spans = everything();
    let out: BTreeSet<_> = spans
        .iter()
        .flat_map(|span| &span.attributes)
        .map(|pair| pair.key.as_str())
        .collect();
    let promised = table();
    let promised: BTreeSet<_> = promised.keys().map(String::as_str).collect();
    assert_eq!(
        promised.difference(&out).collect::<Vec<_>>(),
        [] as [&&str; 0],
        "take it out of docs/attributes.md"
    );
}

#[test]
fn every_rule_has_its_word_in_the_table() {
    let words: Vec<_> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
    assert_eq!(table()[otel_nat::keys::RULE].words, words);
}

#[test]
fn the_attributes_fit_the_limit_of_an_sdk_left_alone() {
    assert!(table().len() <= 128);
}
