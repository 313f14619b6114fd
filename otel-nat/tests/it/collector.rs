//! A real collector: every attribute of every span, over both protocols and as JSON lines, against what was emitted.
//!
//! `ROTEL_AGENT` names the program `rotel-agent` (of the Python package `rotel`); without it there is nothing to run.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use opentelemetry::Value;
use opentelemetry::trace::Status;
use opentelemetry_sdk::trace::SpanData;
use otel_nat::pipeline::{Capture, Pipeline};
use otel_nat::{Reason, Telemetry};

use crate::host;
use crate::json_lines::Page;

struct Collector {
    agent: Child,
    grpc: SocketAddr,
    http: SocketAddr,
    printed: Arc<Mutex<String>>,
}

impl Collector {
    fn start(agent: &str) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (grpc, http) = (free(), free());
        let mut agent = Command::new(agent)
            .args(["start", "--otlp-grpc-endpoint", &grpc.to_string(), "--otlp-http-endpoint", &http.to_string()])
            .args(["--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let printed = Arc::new(Mutex::new(String::new()));
        let page = Arc::clone(&printed);
        let out = BufReader::new(agent.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                *page.lock().unwrap() += &(line + "\n");
            }
        });
        let collector = Self { agent, grpc, http, printed };
        for address in [grpc, http] {
            collector.wait(|_| TcpStream::connect(address).is_ok());
        }
        collector
    }

    /// What it printed, once `is_enough` says so.
    fn wait(&self, is_enough: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let printed = self.printed.lock().unwrap().clone();
            if is_enough(&printed) {
                return printed;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "the collector is silent: {printed}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The spans printed since the last call, once there are `count`.
    fn received(&self, count: usize) -> Vec<String> {
        let all = |printed: &str| printed.matches("Status message").count() >= count;
        self.wait(all);
        // the attributes of the last follow its status
        std::thread::sleep(Duration::from_millis(300));
        let printed = std::mem::take(&mut *self.printed.lock().unwrap());
        let mut spans = Vec::new();
        let mut scope = "";
        for block in printed.split("Span #") {
            if !spans.is_empty() || !scope.is_empty() {
                spans.push(told(scope, block));
            }
            if let Some(at) = block.rfind("InstrumentationScope ") {
                scope = block[at..].lines().next().unwrap();
            }
        }
        spans.sort();
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

/// A span as the collector printed it, in the form of [`meant`].
fn told(scope: &str, block: &str) -> String {
    let mut fields = BTreeMap::new();
    let mut attributes = Vec::new();
    for line in block.lines().take_while(|line| !line.starts_with("ResourceSpans")) {
        if let Some((key, value)) = line.trim().strip_prefix("-> ").and_then(|pair| pair.split_once(": ")) {
            attributes.push(format!("{key}: {value}"));
        } else if let Some((key, value)) = line.split_once(':') {
            fields.entry(key.trim().to_owned()).or_insert_with(|| value.trim().to_owned());
        }
    }
    let field = |key: &str| fields.get(key).cloned().unwrap_or_default();
    let is_id = |id: &str, digits| id.len() == digits && id.bytes().any(|digit| digit != b'0');
    assert!(is_id(&field("Trace ID"), 32) && is_id(&field("ID"), 16), "{block}");
    let nanos = |key: &str| field(key).parse::<u128>().unwrap();
    let now = UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let minute = Duration::from_secs(60).as_nanos();
    assert!((now - minute..=nanos("End time")).contains(&nanos("Start time")) && nanos("End time") <= now, "{block}");
    [
        scope.to_owned(),
        format!("parent {}", field("Parent ID")),
        field("Name"),
        field("Kind"),
        field("Status code"),
        format!("message {}", field("Status message")),
        attributes.join("\n"),
    ]
    .join("\n")
}

/// A span as it was emitted, in the collector's words.
fn meant(span: &SpanData) -> String {
    let attributes: Vec<_> = span
        .attributes
        .iter()
        .map(|pair| match &pair.value {
            Value::Bool(value) => format!("{}: Bool({value})", pair.key),
            Value::I64(value) => format!("{}: Int({value})", pair.key),
            Value::F64(value) => format!("{}: Double({value})", pair.key),
            value => format!("{}: Str({value})", pair.key),
        })
        .collect();
    let scope = &span.instrumentation_scope;
    let status = if span.status == Status::Unset { "UNSET" } else { "ERROR" };
    [
        format!("InstrumentationScope {} {}", scope.name(), scope.version().unwrap()),
        "parent ".into(),
        span.name.to_string(),
        "SPAN_KIND_INTERNAL".into(),
        format!("STATUS_CODE_{status}"),
        "message ".into(),
        attributes.join("\n"),
    ]
    .join("\n")
}

fn emit(telemetry: &Telemetry) {
    for (_, summary) in host::every_kind() {
        telemetry.attempt().succeeded(&summary);
        telemetry.attempt().failed(&summary, Reason::Timeout);
    }
}

#[test]
fn a_real_collector_receives_each_attribute_as_it_was_meant() {
    let Ok(agent) = std::env::var("ROTEL_AGENT") else {
        eprintln!("no collector: set ROTEL_AGENT");
        return;
    };
    let collector = Collector::start(&agent);
    let capture = Capture::new();
    emit(&capture.telemetry());
    let mut meant: Vec<_> = capture.spans().iter().map(meant).collect();
    meant.sort();

    let http = Pipeline::builder().otlp_http(Some(&format!("http://{}/v1/traces", collector.http))).unwrap();
    let grpc = Pipeline::builder().otlp_grpc(Some(&format!("http://{}", collector.grpc))).unwrap();
    for (way, pipeline) in [("OTLP/HTTP", http), ("OTLP/gRPC", grpc)] {
        emit(&pipeline.telemetry());
        pipeline.shutdown(Duration::from_secs(5)).unwrap();
        assert_eq!(collector.received(meant.len()), meant, "{way}");
    }

    let page = Page::default();
    let lines = Pipeline::builder().json_lines(page.clone());
    emit(&lines.telemetry());
    lines.shutdown(Duration::from_secs(5)).unwrap();
    for line in page.text().lines() {
        post(collector.http, line);
    }
    assert_eq!(collector.received(meant.len()), meant, "JSON lines");
}

fn post(address: SocketAddr, body: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
