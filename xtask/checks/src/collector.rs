//! `collector`: sends the spans of real attempts over OTLP to a real collector, and compares them
//! with the received ones; then lets the collector fail in every way.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use consumer_fsm::{AttemptReport, Ending};
use futures_util::future::try_join_all;
use nat_summary::stage::{
    DtlsRole, DtlsVersion, HandshakeMessage, Stage, StageReport, StageVerdict,
};
use nat_summary::{AttemptEvidence, Checks, Evidence, PathEnd, PeerChecks, PeerEvidence};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use otel_nat::pipeline::{Capture, JsonLines, Pipeline};
use otel_nat::{FailureCause, FailureReason, Telemetry, keys};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::attempts::{self, Attempted};
use crate::spans::attribute;
use common::commands::Json;

use crate::{Failure, bounds, python, root, runtime, table};
use emitted::rotel::{Role, Rotel, Told, meant};

mod faults;

/// Through the collector of `otel-nat/deploy`, which names networks only.
const REDACTED: &str = "redacted";
/// Sends the file exporter's lines, because OTLP/HTTP takes the same JSON.
const LINES: &str = "JSON lines";

/// One line of the result: the spans of an attempt over one protocol.
#[derive(Debug, Serialize)]
struct Row {
    protocol: &'static str,
    nat: &'static str,
    spans_emitted: usize,
    spans_received: usize,
    attributes_emitted: usize,
    attributes_received: usize,
    attributes_right: usize,
    faults: Vec<String>,
}

/// The spans of one attempt, and the faults of the attempt itself.
struct Emitted {
    nat: &'static str,
    spans: Vec<SpanData>,
    faults: Vec<String>,
}

pub(crate) fn run(options: &Json) -> Result<bool, Failure> {
    runtime()?.block_on(send_all(&root(), options.json))
}

async fn send_all(root: &Path, json: bool) -> Result<bool, Failure> {
    let started = Instant::now();
    let mut terminated = signal(SignalKind::terminate())?;
    let program = python::rotel(root)?;
    // whichever ends it, the collector ends with it
    let rows = tokio::select! {
        rows = compare(&program) => rows?,
        _ = tokio::signal::ctrl_c() => return Err("interrupted".into()),
        _ = terminated.recv() => return Err("terminated".into()),
    };
    let faults = tokio::task::spawn_blocking(move || faults::run(&program)).await??;
    let seconds = started.elapsed().as_secs_f64();
    let passed = !rows.is_empty()
        && rows.iter().all(|row| row.faults.is_empty())
        && faults.iter().all(|row| row.faults.is_empty());
    if json {
        let result = serde_json::json!({
            "passed": passed, "seconds": seconds, "collector": python::ROTEL, "attempts": rows, "faults": faults
        });
        println!("{result:#}");
    } else {
        println!("{}", render(&rows));
        println!("{}", faults::render(&faults));
        for row in &rows {
            row.faults
                .iter()
                .for_each(|fault| println!("WRONG  {}, {}: {fault}", row.protocol, row.nat));
        }
        for fault in faults.iter().flat_map(|row| &row.faults) {
            println!("WRONG  {fault}");
        }
        let sum = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
        println!(
            "{} received {} of {} spans and {} of {} attributes as they were emitted, or redacted, in {seconds:.1} s",
            python::ROTEL,
            sum(|row| row.spans_received),
            sum(|row| row.spans_emitted),
            sum(|row| row.attributes_right),
            sum(|row| row.attributes_emitted),
        );
    }
    Ok(passed)
}

async fn compare(program: &Path) -> Result<Vec<Row>, Failure> {
    let collector = Arc::new(Rotel::start(program, Role::End)?);
    let gateway = Rotel::start(
        program,
        Role::Gateway {
            to: collector.http,
            external_ip: "prefix",
        },
    )?;
    // at once: most of an attempt is waiting for who is silent
    let ways = ["OTLP/HTTP", "OTLP/gRPC", REDACTED, LINES]
        .map(|protocol| send(protocol, &collector, &gateway));
    Ok(try_join_all(ways).await?.into_iter().flatten().collect())
}

/// All attempts, one way.
async fn send(
    protocol: &'static str,
    collector: &Arc<Rotel>,
    gateway: &Rotel,
) -> Result<Vec<Row>, Failure> {
    let capture = Capture::new();
    let builder = Pipeline::builder()
        .with_service_name("consumer")
        .with_capture(&capture);
    let pipeline = match protocol {
        "OTLP/HTTP" => builder.otlp_http(Some(&collector.traces_url()))?,
        REDACTED => builder.otlp_http(Some(&gateway.traces_url()))?,
        LINES => {
            let emitted = attempt_all(&capture.telemetry(), &capture).await?;
            for line in lines(capture.spans()).await?.lines() {
                collector.post(line)?;
            }
            return check(collector, protocol, emitted).await;
        }
        _ => builder.otlp_grpc(Some(&collector.grpc_url()))?,
    };
    let emitted = attempt_all(&pipeline.telemetry(), &capture).await?;
    // it waits, and so not here
    tokio::task::spawn_blocking(move || pipeline.shutdown(bounds::COLLECTOR_ARRIVAL)).await??;
    check(collector, protocol, emitted).await
}

/// The attempts of `demo`.
async fn attempt_all(telemetry: &Telemetry, capture: &Capture) -> Result<Vec<Emitted>, Failure> {
    let mut emitted = Vec::new();
    let mut known = 0;
    let mut tell = |Attempted {
                        expected, report, ..
                    }: Attempted| {
        let spans = capture.spans().split_off(known);
        known += spans.len();
        let mut faults = Vec::new();
        if report.ending != Some(expected.ending) {
            faults.push(format!("it ended in {:?}", report.ending));
        }
        if report.summary.nat_type() != expected.verdict {
            faults.push(format!(
                "the verdict is {}",
                report.summary.nat_type().as_legacy()
            ));
        }
        if spans.len() != 1 {
            faults.push(format!("it emitted {} spans", spans.len()));
        }
        faults.extend(spans.iter().flat_map(|span| missing(span, &report)));
        emitted.push(Emitted {
            nat: expected.nat,
            spans,
            faults,
        });
    };
    attempts::on_real_sockets(telemetry, &mut tell).await?;
    attempts::behind_nats(telemetry, &mut tell).await?;
    emitted.push(stopped(telemetry, capture));
    Ok(emitted)
}

/// An attempt for each verdict on the stage that stopped it, with every attribute of a stage.
fn stopped(telemetry: &Telemetry, capture: &Capture) -> Emitted {
    let known = capture.spans().len();
    let telemetry = telemetry.clone().with_hello_shape(true);
    for verdict in StageVerdict::ALL {
        let mut report = StageReport::of(Stage::Handshake);
        report.verdict = *verdict;
        (report.role, report.version) = (DtlsRole::Client, DtlsVersion::Dtls12);
        report.last_in = HandshakeMessage::ServerHello;
        report.last_out = HandshakeMessage::ClientHello;
        (report.flights, report.hello_shape) = (4, Some(0x0123_4567));
        let (servers, peer) = (Evidence::new(), PeerEvidence::new());
        let checks = PeerChecks {
            evidence: &peer,
            checks: Checks::default(),
            rebindings: 0,
            survived: None,
        };
        let evidence = AttemptEvidence::new(&servers)
            .with_peer_checks(checks)
            .with_path(PathEnd::ChannelFailed)
            .with_stage(report);
        let attempt = telemetry.attempt();
        attempt.end(&evidence, Some(FailureReason::ChannelFailed));
    }
    let spans = capture.spans().split_off(known);
    let mut faults = Vec::new();
    if spans.len() != StageVerdict::ALL.len() {
        faults.push(format!("{} spans of stages", spans.len()));
    }
    for (verdict, span) in StageVerdict::ALL.iter().zip(&spans) {
        let cause = FailureCause::Channel(*verdict);
        let due = [
            (keys::STAGE, "handshake"),
            (keys::STAGE_VERDICT, verdict.as_str()),
            (keys::FAILURE_CAUSE, cause.as_str()),
            (keys::ERROR_TYPE, "channel_failed"),
            (keys::DTLS_ROLE, "client"),
            (keys::DTLS_VERSION, "1.2"),
            (keys::DTLS_LAST_IN, "server_hello"),
            (keys::DTLS_LAST_OUT, "client_hello"),
            (keys::DTLS_FLIGHTS, "4"),
            (keys::DTLS_HELLO_SHAPE, "01234567"),
        ];
        let lacks = due
            .iter()
            .filter(|(key, value)| attribute(span, key).as_deref() != Some(value));
        faults.extend(lacks.map(|(key, value)| format!("{verdict}: `{key}` is not {value}")));
    }
    Emitted {
        nat: "none: each verdict on a stage",
        spans,
        faults,
    }
}

/// Results of the connectivity checks that a span lacks: the mapping toward the peer behind a NAT,
/// the cause of a failure.
fn missing(span: &SpanData, report: &AttemptReport) -> Vec<String> {
    let is_natted = report.summary.is_natted() == Some(true);
    let due: &[&str] = match report.ending {
        Some(Ending::Success) if is_natted => {
            &[keys::CHECKS_ANSWERED, keys::OUTLOOK, keys::PEER_MAPPING]
        }
        Some(Ending::Success) => &[keys::CHECKS_ANSWERED, keys::OUTLOOK],
        Some(Ending::Failure(_)) => &[keys::FAILURE_CAUSE],
        None => &[],
    };
    let told = |key: &&&str| {
        span.attributes
            .iter()
            .any(|attribute| attribute.key.as_str() == **key)
    };
    due.iter()
        .filter(|key| !told(key))
        .map(|key| format!("`{key}` is missing"))
        .collect()
}

async fn lines(spans: Vec<SpanData>) -> Result<String, Failure> {
    let page = Page::default();
    JsonLines::new(page.clone()).export(spans).await?;
    let bytes = page
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    Ok(String::from_utf8(bytes)?)
}

/// A file that can be read.
#[derive(Debug, Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Waits until all has arrived, or no longer, and compares.
async fn check(
    collector: &Arc<Rotel>,
    protocol: &'static str,
    emitted: Vec<Emitted>,
) -> Result<Vec<Row>, Failure> {
    let all: Vec<Told> = emitted
        .iter()
        .flat_map(|attempt| &attempt.spans)
        .map(|span| expected(protocol, span))
        .collect();
    let page = Arc::clone(collector);
    let wait = move || {
        page.received(bounds::COLLECTOR_ARRIVAL, |told| {
            all.iter().all(|span| told.contains(span))
        })
    };
    let received = tokio::task::spawn_blocking(wait).await?;
    Ok(emitted
        .into_iter()
        .map(|attempt| row(protocol, attempt, &received))
        .collect())
}

fn row(
    protocol: &'static str,
    Emitted {
        nat,
        spans,
        mut faults,
    }: Emitted,
    received: &[Told],
) -> Row {
    let (mut spans_received, mut emitted, mut arrived, mut right) = (0, 0, 0, 0);
    for span in &spans {
        let meant = expected(protocol, span);
        emitted += meant.attributes.len();
        let told: Vec<_> = received
            .iter()
            .filter(|told| told.ids[1] == meant.ids[1])
            .collect();
        spans_received += told.len();
        let [told] = told[..] else {
            faults.push(format!("a span was received {} times", told.len()));
            continue;
        };
        arrived += told.attributes.len();
        for (attribute, told) in meant.attributes.iter().zip(&told.attributes) {
            if attribute == told {
                right += 1;
            } else {
                faults.push(format!("`{attribute}` was received as `{told}`"));
            }
        }
        if meant.attributes.len() != told.attributes.len() {
            faults.push(format!(
                "{} attributes became {}",
                meant.attributes.len(),
                told.attributes.len()
            ));
        }
        if (Told {
            attributes: Vec::new(),
            ..meant.clone()
        }) != (Told {
            attributes: Vec::new(),
            ..told.clone()
        }) {
            faults.push(format!(
                "the span itself changed: {meant:?} was received as {told:?}"
            ));
        }
    }
    Row {
        protocol,
        nat,
        spans_emitted: spans.len(),
        spans_received,
        attributes_emitted: emitted,
        attributes_received: arrived,
        attributes_right: right,
        faults,
    }
}

/// A span as it has to arrive.
fn expected(protocol: &str, span: &SpanData) -> Told {
    let mut told = meant(span);
    if protocol == REDACTED {
        for attribute in &mut told.attributes {
            let address = attribute
                .strip_prefix(keys::EXTERNAL_IP)
                .and_then(|rest| rest.strip_prefix(": Str("));
            if let Some(Ok(ip)) = address.map(|rest| rest.trim_end_matches(')').parse::<Ipv4Addr>())
            {
                let [a, b, c, _] = ip.octets();
                *attribute = format!("{}: Str({a}.{b}.{c}.0/24)", keys::EXTERNAL_IP);
            }
        }
    }
    told
}

fn render(rows: &[Row]) -> String {
    let heads = [
        "protocol",
        "NAT",
        "spans emitted",
        "received",
        "attributes emitted",
        "received",
        "right",
        "",
    ];
    let cells = |row: &Row| {
        vec![
            row.protocol.into(),
            row.nat.into(),
            row.spans_emitted.to_string(),
            row.spans_received.to_string(),
            row.attributes_emitted.to_string(),
            row.attributes_received.to_string(),
            row.attributes_right.to_string(),
            if row.faults.is_empty() {
                "right".into()
            } else {
                "WRONG".into()
            },
        ]
    };
    table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}
