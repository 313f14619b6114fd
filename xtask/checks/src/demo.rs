//! `demo`: one consumer on real sockets, then behind simulated NATs, with everything it says.

use std::time::{Duration, Instant};

use consumer_fsm::Ending;
use opentelemetry_sdk::trace::SpanData;
use otel_nat::keys;
use serde::Serialize;

use crate::attempts::{self, Attempted, DATAGRAMS};
use crate::spans::{Spans, attribute, describe};
use common::commands::Json;

use crate::{Failure, bounds, runtime, table};

/// One line of the result.
#[derive(Debug, Serialize)]
struct Row {
    nat: &'static str,
    expected: &'static str,
    verdict: &'static str,
    evidence: String,
    outcome: String,
    gather_ms: f64,
    connect_ms: Option<f64>,
    ms: f64,
    echoed: u32,
    spans: usize,
    faults: Vec<String>,
}

pub(crate) fn run(options: &Json) -> Result<bool, Failure> {
    runtime()?.block_on(show(options.json))
}

async fn show(json: bool) -> Result<bool, Failure> {
    let started = Instant::now();
    let say = |text: &str| {
        if !json {
            println!("{text}");
        }
    };
    let spans = Spans::default();
    let telemetry = spans.telemetry();
    let mut rows = Vec::new();

    say(
        "On real sockets: five STUN servers on loopback addresses (one silent), signalling over HTTP\n",
    );
    let in_full = |attempted| {
        let caught = spans.take();
        let row = row(&attempted, &caught);
        say(&line(&row));
        caught.iter().for_each(|span| say(&describe(span)));
        rows.push(row);
    };
    attempts::on_real_sockets(&telemetry, in_full).await?;

    say("Behind simulated NATs: the same consumer, the same code from the socket up\n");
    let in_short = |attempted| {
        let row = row(&attempted, &spans.take());
        say(&line(&row));
        rows.push(row);
    };
    attempts::behind_nats(&telemetry, in_short).await?;

    let elapsed = started.elapsed();
    let in_time = elapsed < bounds::DEMO;
    let passed = in_time && rows.iter().all(|row| row.faults.is_empty());
    if json {
        let result = serde_json::json!({ "passed": passed, "seconds": elapsed.as_secs_f64(), "attempts": rows });
        println!("{result:#}");
    } else {
        println!("\n{}", render(&rows));
        for row in &rows {
            row.faults
                .iter()
                .for_each(|fault| println!("WRONG  {}: {fault}", row.nat));
        }
        if !in_time {
            println!("WRONG  it took longer than {:?}", bounds::DEMO);
        }
        let right = rows.iter().filter(|row| row.faults.is_empty()).count();
        println!(
            "{right} of {} attempts as they should be, one span each, in {:.1} s",
            rows.len(),
            elapsed.as_secs_f64()
        );
    }
    Ok(passed)
}

/// Checks everything about an attempt.
fn row(
    Attempted {
        expected,
        report,
        echoed,
    }: &Attempted,
    caught: &[SpanData],
) -> Row {
    let echoed = *echoed;
    let ms = |duration: Duration| (duration.as_secs_f64() * 10_000.0).round() / 10.0;
    let summary = &report.summary;
    let counts = summary.counts();
    let gathering = report.gathering.as_ref();
    let mut faults = Vec::new();
    let mut check = |right: bool, fault: String| {
        if !right {
            faults.push(fault);
        }
    };

    let verdict = summary.nat_type().as_legacy();
    check(
        summary.nat_type() == expected.verdict,
        format!("the verdict is {verdict}"),
    );
    check(
        report.ending == Some(expected.ending),
        format!("it ended in {:?}", report.ending),
    );
    check(caught.len() == 1, format!("{} spans", caught.len()));
    for span in caught {
        let name = if expected.ending == Ending::Success {
            keys::SPAN_SUCCESS
        } else {
            keys::SPAN_FAILURE
        };
        check(
            span.name == name,
            format!("the span is called {}", span.name),
        );
        check(
            attribute(span, keys::NAT_TYPE).as_deref() == Some(verdict),
            "the span has another verdict".into(),
        );
        check(
            span.end_time > span.start_time,
            "the span has no duration".into(),
        );
        check(
            span.links.len() == 1,
            "the span has no link to its caller".into(),
        );
        let error = match expected.ending {
            Ending::Success => None,
            Ending::Failure(reason) => Some(reason.as_str()),
        };
        check(
            attribute(span, keys::ERROR_TYPE).as_deref() == error,
            "the span has another reason".into(),
        );
    }
    if expected.ending == Ending::Success {
        check(
            echoed == DATAGRAMS,
            format!("{echoed} of {DATAGRAMS} datagrams came back"),
        );
        let round_trips = gathering
            .iter()
            .flat_map(|g| &g.servers)
            .filter_map(|s| s.round_trip);
        let bound = 3 * round_trips.max().unwrap_or_default() + bounds::SILENT_SERVER;
        let elapsed = gathering.map(|g| g.elapsed).unwrap_or_default();
        check(
            elapsed < bound,
            format!("a silent server made gathering last {elapsed:?}, over {bound:?}"),
        );
    }
    Row {
        nat: expected.nat,
        expected: expected.verdict.as_legacy(),
        verdict,
        evidence: format!(
            "{} of {} servers, {} addresses on one base, {}",
            counts.answered,
            counts.asked,
            counts.server_addresses,
            summary.rule().as_str()
        ),
        outcome: match report.ending {
            Some(Ending::Success) => "connected".into(),
            Some(Ending::Failure(reason)) => reason.as_str().into(),
            None => "no span".into(),
        },
        gather_ms: gathering.map_or(0.0, |g| ms(g.elapsed)),
        connect_ms: report.connected_after.map(ms),
        ms: ms(report.elapsed),
        echoed,
        spans: caught.len(),
        faults,
    }
}

fn line(row: &Row) -> String {
    format!(
        "{:<24} {:<24} {}; {}; {:.1} ms",
        row.nat, row.verdict, row.evidence, row.outcome, row.ms
    )
}

fn render(rows: &[Row]) -> String {
    let heads = [
        "NAT simulated",
        "verdict",
        "evidence",
        "outcome",
        "gather ms",
        "connect ms",
        "ms",
        "echoed",
        "spans",
        "",
    ];
    let cells = |row: &Row| {
        vec![
            row.nat.into(),
            row.verdict.into(),
            row.evidence.clone(),
            row.outcome.clone(),
            format!("{:.1}", row.gather_ms),
            row.connect_ms
                .map_or_else(|| "-".into(), |ms| format!("{ms:.1}")),
            format!("{:.1}", row.ms),
            row.echoed.to_string(),
            row.spans.to_string(),
            if row.faults.is_empty() {
                "right".into()
            } else {
                "WRONG".into()
            },
        ]
    };
    table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}
