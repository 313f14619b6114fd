//! Addresses planted wherever OTLP has room for one, sent through the deployed collector.
//!
//! `ROTEL_AGENT` names the program, as for the tests beside these.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use crate::rotel::{Role, Rotel};

/// As it is written, in the name of a host, and of the other family.
const CANARIES: [&str; 3] = ["203.0.113.7", "203-0-113-7", "2001:db8:1:2::7"];
/// As bytes.
const OCTETS: [u8; 4] = [203, 0, 113, 7];
/// An attribute that comes through, once per place.
const KEPT: &str = "redaction.kept";

/// Each request that came in: its path and its body.
type Received = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Receives the exports of a collector over OTLP/HTTP.
struct Sink {
    address: SocketAddr,
    received: Received,
}

impl Sink {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::<Mutex<Vec<_>>>::default();
        let page = Arc::clone(&received);
        // ends with the tests
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let page = Arc::clone(&page);
                std::thread::spawn(move || while receive(&stream, &page).is_some() {});
            }
        });
        Self { address, received }
    }

    /// Everything received for a signal, once so many places are among it or the time is over.
    fn wait_for(&self, signal: &str, places: usize) -> Vec<u8> {
        let begun = Instant::now();
        loop {
            let received = self.received.lock().unwrap();
            let of_signal = received.iter().filter(|(path, _)| path.ends_with(signal));
            let bytes: Vec<u8> = of_signal.flat_map(|(_, body)| body.clone()).collect();
            drop(received);
            let is_there = count(&bytes, KEPT.as_bytes()) >= places;
            if is_there || begun.elapsed() > Duration::from_secs(15) {
                return bytes;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn receive(mut stream: &TcpStream, page: &Mutex<Vec<(String, Vec<u8>)>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    while head.last().is_none_or(|line: &String| line != "\r\n") {
        let mut line = String::new();
        (reader.read_line(&mut line).ok()? > 0).then_some(())?;
        head.push(line);
    }
    let path = head[0].split(' ').nth(1)?.to_owned();
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.trim().parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let mut message = Vec::new();
    GzDecoder::new(&*body).read_to_end(&mut message).ok()?;
    page.lock().unwrap().push((path, message));
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .ok()
}

fn any(value: Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: any(value),
        ..KeyValue::default()
    }
}

fn nothing() -> KeyValue {
    KeyValue {
        key: "nothing".to_owned(),
        ..KeyValue::default()
    }
}

/// Text with every canary in it.
fn planted(text: &str) -> String {
    let [plain, host, v6] = CANARIES;
    format!("{text} from {plain}:443 (host-{host}.example), then [{v6}]:443, then {v6}.")
}

/// One that comes through, and canaries in values of every kind.
fn attributes() -> Vec<KeyValue> {
    let list = |value| {
        Value::ArrayValue(ArrayValue {
            values: any(value).into_iter().collect(),
        })
    };
    let map = |value| {
        Value::KvlistValue(KeyValueList {
            values: vec![pair("inner", value)],
        })
    };
    let [plain, ..] = CANARIES;
    vec![
        pair(KEPT, text("as it is")),
        pair("exception.message", text(&planted("no answer"))),
        pair("nat_external_ip", text(plain)),
        pair("nat_type", text(plain)),
        pair("nat_telemetry.rule", text(&planted("rule"))),
        pair(plain, text("in a key")),
        pair("host.ip", list(text(plain))),
        pair("deep", map(list(map(text(&planted("deep")))))),
        pair("peer", Value::BytesValue(OCTETS.to_vec())),
        pair(
            "nat_telemetry.bases",
            list(Value::BytesValue(OCTETS.to_vec())),
        ),
        // values that are not there
        nothing(),
        pair(
            "hole",
            Value::KvlistValue(KeyValueList {
                values: vec![nothing()],
            }),
        ),
        pair(
            "holes",
            Value::ArrayValue(ArrayValue {
                values: vec![AnyValue::default()],
            }),
        ),
    ]
}

fn resource() -> Option<Resource> {
    Some(Resource {
        attributes: attributes(),
        ..Resource::default()
    })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: planted("scope"),
        version: CANARIES[0].to_owned(),
        attributes: attributes(),
        ..InstrumentationScope::default()
    })
}

/// Five places with attributes: resource, scope, span, event, link; and a bare span beside them.
fn spans() -> Vec<u8> {
    let span = Span {
        trace_id: vec![7; 16],
        span_id: vec![7; 8],
        trace_state: format!("vendor={}", CANARIES[0]),
        name: planted("nat_failure"),
        attributes: attributes(),
        events: vec![Event {
            name: planted("event"),
            attributes: attributes(),
            ..Event::default()
        }],
        links: vec![Link {
            trace_id: vec![8; 16],
            span_id: vec![8; 8],
            trace_state: format!("vendor={}", CANARIES[0]),
            attributes: attributes(),
            ..Link::default()
        }],
        status: Some(Status {
            message: planted("message"),
            code: 2,
        }),
        ..Span::default()
    };
    let bare = Span {
        trace_id: vec![9; 16],
        span_id: vec![9; 8],
        ..Span::default()
    };
    let scoped = |spans, scope| ScopeSpans {
        scope,
        spans,
        schema_url: format!("http://{}/1", CANARIES[0]),
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(),
            scope_spans: vec![scoped(vec![span], scope()), scoped(vec![bare], None)],
            schema_url: String::new(),
        }],
    };
    request.encode_to_vec()
}

/// Two places, and three to each of four kinds of metric; a summary has no exemplars.
fn metrics() -> Vec<u8> {
    let exemplars = || {
        vec![Exemplar {
            filtered_attributes: attributes(),
            ..Exemplar::default()
        }]
    };
    let number = || {
        vec![NumberDataPoint {
            attributes: attributes(),
            exemplars: exemplars(),
            ..NumberDataPoint::default()
        }]
    };
    let kinds = [
        Data::Gauge(Gauge {
            data_points: number(),
        }),
        Data::Sum(Sum {
            data_points: number(),
            ..Sum::default()
        }),
        Data::Histogram(Histogram {
            data_points: vec![HistogramDataPoint {
                attributes: attributes(),
                exemplars: exemplars(),
                ..HistogramDataPoint::default()
            }],
            ..Histogram::default()
        }),
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![ExponentialHistogramDataPoint {
                attributes: attributes(),
                exemplars: exemplars(),
                ..ExponentialHistogramDataPoint::default()
            }],
            ..ExponentialHistogram::default()
        }),
        Data::Summary(Summary {
            data_points: vec![SummaryDataPoint {
                attributes: attributes(),
                ..SummaryDataPoint::default()
            }],
        }),
    ];
    let metric = |data| Metric {
        name: planted("metric"),
        description: planted("description"),
        unit: CANARIES[0].to_owned(),
        metadata: attributes(),
        data,
    };
    let kinds = kinds.map(Some).into_iter().chain([None]);
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(),
            scope_metrics: vec![ScopeMetrics {
                scope: scope(),
                metrics: kinds.map(metric).collect(),
                schema_url: format!("http://{}/1", CANARIES[0]),
            }],
            schema_url: String::new(),
        }],
    };
    request.encode_to_vec()
}

/// Two places, and one to each record.
fn logs() -> Vec<u8> {
    let bodies = [
        Some(text(&planted("body"))),
        Some(text("no address")),
        Some(Value::BytesValue(OCTETS.to_vec())),
        Some(Value::ArrayValue(ArrayValue {
            values: any(text(CANARIES[0])).into_iter().collect(),
        })),
        None,
    ];
    let record = |body: Option<Value>| LogRecord {
        severity_text: planted("severity"),
        event_name: planted("event"),
        attributes: attributes(),
        body: body.and_then(any),
        ..LogRecord::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(),
            scope_logs: vec![ScopeLogs {
                scope: scope(),
                log_records: bodies.map(record).to_vec(),
                schema_url: format!("http://{}/1", CANARIES[0]),
            }],
            schema_url: String::new(),
        }],
    };
    request.encode_to_vec()
}

fn count(bytes: &[u8], part: &[u8]) -> usize {
    bytes
        .windows(part.len())
        .filter(|bytes| *bytes == part)
        .count()
}

#[test]
fn no_address_passes_the_deployed_collector_wherever_it_stands() {
    let Ok(agent) = std::env::var("ROTEL_AGENT") else {
        eprintln!("no collector: set ROTEL_AGENT");
        return;
    };
    for (setting, stand_in) in [("prefix", "203.0.113.0/24"), ("omit", "(address)")] {
        let sink = Sink::new();
        let gateway = Role::Gateway {
            to: sink.address,
            external_ip: setting,
        };
        let gateway = Rotel::start(Path::new(&agent), gateway).unwrap();
        let sent = [
            ("traces", spans(), 5),
            ("metrics", metrics(), 2 + 6 + 4 * 2 + 1),
            ("logs", logs(), 2 + 5),
        ];
        for (signal, body, _) in &sent {
            let planted = CANARIES
                .iter()
                .all(|canary| count(body, canary.as_bytes()) >= 5);
            assert!(planted && count(body, &OCTETS) >= 5, "{signal}");
            gateway
                .post_to(signal, "application/x-protobuf", body)
                .unwrap();
        }
        for (signal, _, places) in &sent {
            let bytes = sink.wait_for(signal, *places);
            let kept = count(&bytes, KEPT.as_bytes());
            assert_eq!(
                kept, *places,
                "{setting}, {signal}: what is no address stays"
            );
            assert!(
                count(&bytes, stand_in.as_bytes()) > *places,
                "{setting}, {signal}"
            );
            for canary in CANARIES {
                assert_eq!(
                    count(&bytes, canary.as_bytes()),
                    0,
                    "{setting}, {signal}: {canary}"
                );
            }
            assert_eq!(count(&bytes, &OCTETS), 0, "{setting}, {signal}");
        }
        let traces = ExportTraceServiceRequest::decode(&*sink.wait_for("traces", 5)).unwrap();
        let span = &traces.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(
            (&*span.trace_id, &*span.span_id),
            (&[7; 16][..], &[7; 8][..])
        );
        assert_eq!((span.events.len(), span.links.len()), (1, 1));
    }
}
