//! `demo`: one consumer on real sockets, then behind simulated NATs, with everything it says.

use std::time::{Duration, Instant};

use bytes::Bytes;
use consumer_fsm::signalling::Switchboard;
use consumer_fsm::signalling::http::{HttpSignalling, SignallingService};
use consumer_fsm::transport::{Ice, Network, Transport};
use consumer_fsm::{AttemptReport, Consumer, Datagrams, Ending, StunCache};
use ice_gather::BindConfig;
use nat_summary::NatType;
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::SpanData;
use otel_nat::{Reason, keys};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::nat_world::{Kind, World};
use crate::spans::{Spans, attribute, describe};
use crate::{Failure, bounds, peers, table};

/// Datagrams sent over each path, and expected back.
const DATAGRAMS: u32 = 100;
/// Longest wait for them to come back.
const ECHO_TIMEOUT: Duration = Duration::from_secs(5);

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

/// What an attempt should come to.
struct Expected {
    nat: &'static str,
    verdict: NatType,
    ending: Ending,
}

pub(crate) async fn run(json: bool) -> Result<bool, Failure> {
    let started = Instant::now();
    let say = |text: &str| {
        if !json {
            println!("{text}");
        }
    };
    let service = SignallingService::bind("127.0.0.1:0", Switchboard::default()).await?;
    let signalling = HttpSignalling::new(&service.url())?;
    let spans = Spans::default();
    let mut rows = Vec::new();

    say("On real sockets: five STUN servers on loopback addresses (one silent), signalling over HTTP\n");
    let responders = peers::cohort(5, 1).await?;
    let loopback = Ice::new(Network::System(BindConfig::address([127, 0, 0, 1].into())));
    {
        let _producer = peers::echo(signalling.clone(), loopback.clone(), Duration::MAX);
        let expected = Expected { nat: "loopback", verdict: NatType::Open, ending: Ending::Success };
        let (row, caught) = attempt(&signalling, loopback.clone(), peers::servers(&responders), &spans, expected).await;
        say(&line(&row));
        caught.iter().for_each(|span| say(&describe(span)));
        rows.push(row);
    }
    {
        let _ghost = peers::ghost(signalling.clone()).await?;
        let expected =
            Expected { nat: "loopback, peer silent", verdict: NatType::Open, ending: Ending::Failure(Reason::Timeout) };
        let (row, caught) = attempt(&signalling, loopback, peers::servers(&responders), &spans, expected).await;
        say(&line(&row));
        caught.iter().for_each(|span| say(&describe(span)));
        rows.push(row);
    }

    say("Behind simulated NATs: the same consumer, the same code from the socket up\n");
    for kind in Kind::ALL {
        let world = World::new(kind).await?;
        {
            let _producer = peers::echo(signalling.clone(), world.producer(), Duration::MAX);
            let ending = match kind {
                Kind::Blocked => Ending::Failure(Reason::UdpBlocked),
                _ => Ending::Success,
            };
            let expected = Expected { nat: kind.name(), verdict: kind.truth(), ending };
            let servers = peers::servers(&world.responders);
            let (row, _) = attempt(&signalling, world.consumer(), servers, &spans, expected).await;
            say(&line(&row));
            rows.push(row);
        }
        world.stop().await?;
    }

    let elapsed = started.elapsed();
    let in_time = elapsed < bounds::DEMO;
    let passed = in_time && rows.iter().all(|row| row.faults.is_empty());
    if json {
        let result = serde_json::json!({ "passed": passed, "seconds": elapsed.as_secs_f64(), "attempts": rows });
        println!("{result:#}");
    } else {
        println!("\n{}", render(&rows));
        for row in &rows {
            row.faults.iter().for_each(|fault| println!("WRONG  {}: {fault}", row.nat));
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

/// Runs one attempt as an application would, with a span of its own around it, and checks everything about it.
async fn attempt<T: Transport>(
    signalling: &HttpSignalling,
    transport: T,
    servers: StunCache,
    spans: &Spans,
    expected: Expected,
) -> (Row, Vec<SpanData>) {
    spans.take();
    let (to_path, outbound) = mpsc::channel(DATAGRAMS as usize);
    let (inbound, from_path) = mpsc::channel(DATAGRAMS as usize);
    let mut consumer = Consumer::new(signalling.clone(), transport, spans.telemetry(), servers)
        .with_datagrams(Datagrams { outbound, inbound });
    let mut path = consumer.path();
    let cancel = CancellationToken::new();
    let user = async {
        // ends without a path when the attempt does, for the sender goes with the consumer
        let echoed = if path.wait_for(|up| *up).await.is_ok() { exchange(&to_path, from_path).await } else { 0 };
        cancel.cancel();
        echoed
    };
    let caller =
        SpanContext::new(TraceId::from(0x5eed), SpanId::from(0x5eed), TraceFlags::SAMPLED, true, TraceState::default());
    let attempt = async {
        let report = consumer.attempt(&cancel).await;
        drop(consumer);
        report
    }
    .with_context(Context::new().with_remote_span_context(caller));
    let (report, echoed) = tokio::join!(attempt, user);
    let caught = spans.take();
    (row(&report, echoed, &caught, &expected), caught)
}

/// Sends every datagram, and counts what comes back unchanged.
async fn exchange(to_path: &mpsc::Sender<Bytes>, mut from_path: mpsc::Receiver<Bytes>) -> u32 {
    let mut echoed = 0;
    for n in 0..DATAGRAMS {
        let datagram = Bytes::copy_from_slice(&[&[0x80][..], &n.to_be_bytes()].concat());
        if to_path.send(datagram.clone()).await.is_err() {
            break;
        }
        match tokio::time::timeout(ECHO_TIMEOUT, from_path.recv()).await {
            Ok(Some(back)) if back == datagram => echoed += 1,
            _ => break,
        }
    }
    echoed
}

fn row(report: &AttemptReport, echoed: u32, caught: &[SpanData], expected: &Expected) -> Row {
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
    check(summary.nat_type() == expected.verdict, format!("the verdict is {verdict}"));
    check(report.ending == Some(expected.ending), format!("it ended in {:?}", report.ending));
    check(caught.len() == 1, format!("{} spans", caught.len()));
    for span in caught {
        let name = if expected.ending == Ending::Success { keys::SPAN_SUCCESS } else { keys::SPAN_FAILURE };
        check(span.name == name, format!("the span is called {}", span.name));
        check(attribute(span, keys::NAT_TYPE).as_deref() == Some(verdict), "the span tells another verdict".into());
        check(span.end_time > span.start_time, "the span has no duration".into());
        check(span.links.len() == 1, "the span has no link to its caller".into());
        let error = match expected.ending {
            Ending::Success => None,
            Ending::Failure(reason) => Some(reason.as_str()),
        };
        check(attribute(span, keys::ERROR_TYPE).as_deref() == error, "the span tells another reason".into());
    }
    if expected.ending == Ending::Success {
        check(echoed == DATAGRAMS, format!("{echoed} of {DATAGRAMS} datagrams came back"));
        let round_trips = gathering.iter().flat_map(|g| &g.servers).filter_map(|s| s.round_trip);
        let bound = 3 * round_trips.max().unwrap_or_default() + bounds::SILENT_SERVER;
        let elapsed = gathering.map(|g| g.elapsed).unwrap_or_default();
        check(elapsed < bound, format!("a silent server made gathering last {elapsed:?}, over {bound:?}"));
    }
    Row {
        nat: expected.nat,
        expected: expected.verdict.as_legacy(),
        verdict,
        evidence: format!(
            "{} of {} servers, {} addresses on one base, {:?}",
            counts.answered,
            counts.asked,
            counts.server_addresses,
            summary.rule()
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
    format!("{:<24} {:<24} {}; {}; {:.1} ms", row.nat, row.verdict, row.evidence, row.outcome, row.ms)
}

fn render(rows: &[Row]) -> String {
    let heads =
        ["NAT simulated", "verdict", "evidence", "outcome", "gather ms", "connect ms", "ms", "echoed", "spans", ""];
    let cells = |row: &Row| {
        vec![
            row.nat.into(),
            row.verdict.into(),
            row.evidence.clone(),
            row.outcome.clone(),
            format!("{:.1}", row.gather_ms),
            row.connect_ms.map_or_else(|| "-".into(), |ms| format!("{ms:.1}")),
            format!("{:.1}", row.ms),
            row.echoed.to_string(),
            row.spans.to_string(),
            if row.faults.is_empty() { "right".into() } else { "WRONG".into() },
        ]
    };
    table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}
