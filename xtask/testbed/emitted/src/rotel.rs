//! A real collector on loopback, the program `rotel-agent`, and the spans that it received.

use std::error::Error;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Link, SpanId, SpanKind, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

type Failure = Box<dyn Error + Send + Sync>;

/// Longest wait for the collector to listen.
const START: Duration = Duration::from_secs(20);

/// A running collector. It ends when dropped.
#[derive(Debug)]
pub struct Rotel {
    agent: Child,
    /// Where it takes OTLP/gRPC.
    pub grpc: SocketAddr,
    /// Where it takes OTLP/HTTP.
    pub http: SocketAddr,
    printed: Arc<Mutex<String>>,
}

/// The job of a collector.
#[derive(Debug, Clone, Copy)]
pub enum Role<'a> {
    /// Prints the received spans.
    End,
    /// Redacts as `deploy/collector.env` sets, and passes the result on over OTLP/HTTP.
    Gateway {
        /// The end of the way.
        to: SocketAddr,
        /// The policy for `nat_external_ip`.
        external_ip: &'a str,
    },
    /// Does as `deploy/clickhouse/collector.env` says, and writes what is left to ClickHouse.
    ClickHouse {
        /// The server's HTTP interface.
        to: SocketAddr,
    },
}

/// The files that an operator deploys.
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../otel-nat/deploy");

impl Rotel {
    /// Starts `program` on free ports of loopback.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub fn start(program: &Path, role: Role<'_>) -> Result<Self, Failure> {
        // a port that was free may be taken before it is used
        let mut failure = None;
        for _ in 0..3 {
            match Self::start_once(program, role) {
                Ok(rotel) => return Ok(rotel),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| "no collector".into()))
    }

    fn start_once(program: &Path, role: Role<'_>) -> Result<Self, Failure> {
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let (grpc, http) = (free()?, free()?);
        let mut rotel = Self {
            agent: launch(program, role, grpc, http)?,
            grpc,
            http,
            printed: Arc::default(),
        };
        rotel.settle()?;
        Ok(rotel)
    }

    /// Ends it without a word, as a crash does.
    ///
    /// # Errors
    /// If it cannot be ended.
    pub fn crash(&mut self) -> Result<(), Failure> {
        self.agent.kill()?;
        self.agent.wait()?;
        Ok(())
    }

    /// Starts it again on the same ports, to print the received spans. The page goes on.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub fn restart(&mut self, program: &Path) -> Result<(), Failure> {
        self.agent = launch(program, Role::End, self.grpc, self.http)?;
        self.settle()
    }

    /// Reads its output, and waits until it listens.
    fn settle(&mut self) -> Result<(), Failure> {
        if let Some(out) = self.agent.stdout.take() {
            let page = Arc::clone(&self.printed);
            // ends with the agent
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    *page.lock().unwrap_or_else(PoisonError::into_inner) += &(line + "\n");
                }
            });
        }
        let begun = Instant::now();
        while [self.grpc, self.http]
            .iter()
            .any(|address| TcpStream::connect(address).is_err())
        {
            if let Some(status) = self.agent.try_wait()? {
                return Err(format!("the collector ended at once: {status}").into());
            }
            if begun.elapsed() > START {
                return Err(format!("the collector does not listen after {START:?}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Where OTLP/HTTP goes.
    pub fn traces_url(&self) -> String {
        format!("http://{}/v1/traces", self.http)
    }

    /// Where OTLP/gRPC goes.
    pub fn grpc_url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Every span received so far, in order, once `is_enough` says so or the time is over.
    pub fn received(&self, within: Duration, is_enough: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        let begun = Instant::now();
        loop {
            let spans = read(&self.printed.lock().unwrap_or_else(PoisonError::into_inner));
            if is_enough(&spans) || begun.elapsed() > within {
                return spans;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends one line of OTLP/JSON.
    ///
    /// # Errors
    /// If the collector does not take it.
    pub fn post(&self, line: &str) -> Result<(), Failure> {
        self.post_to("traces", "application/json", line.as_bytes())
    }

    /// Sends an OTLP message of this signal.
    ///
    /// # Errors
    /// If the collector does not take it.
    pub fn post_to(&self, signal: &str, kind: &str, body: &[u8]) -> Result<(), Failure> {
        let mut stream = TcpStream::connect(self.http)?;
        let head = format!(
            "POST /v1/{signal} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            self.http,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if answer.starts_with(b"HTTP/1.1 200") {
            Ok(())
        } else {
            Err(format!("refused: {}", String::from_utf8_lossy(&answer)).into())
        }
    }
}

fn launch(
    program: &Path,
    role: Role<'_>,
    grpc: SocketAddr,
    http: SocketAddr,
) -> Result<Child, Failure> {
    let mut command = Command::new(program);
    command
        .arg("start")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command.args([
        "--otlp-grpc-endpoint",
        &grpc.to_string(),
        "--otlp-http-endpoint",
        &http.to_string(),
    ]);
    let pid_file = std::env::temp_dir().join(format!("rotel-{}.pid", http.port()));
    command.args([OsStr::new("--pid-file"), pid_file.as_os_str()]);
    match role {
        Role::End => {
            command.args([
                "--exporter",
                "blackhole",
                "--debug-log",
                "traces",
                "--debug-log-verbosity",
                "detailed",
            ]);
        }
        Role::Gateway { to, external_ip } => {
            deployed(&mut command, "collector.env")?;
            command.env("NAT_EXTERNAL_IP", external_ip);
            command.args(["--otlp-exporter-endpoint", &format!("http://{to}")]);
        }
        Role::ClickHouse { to } => {
            deployed(&mut command, "clickhouse/collector.env")?;
            let endpoint = format!("http://{to}");
            command.args(["--clickhouse-exporter-endpoint", &endpoint]);
        }
    }
    command
        .spawn()
        .map_err(|error| format!("{} does not start: {error}", program.display()).into())
}

/// The settings of a file of `deploy`.
fn deployed(command: &mut Command, file: &str) -> Result<(), Failure> {
    let settings = std::fs::read_to_string(Path::new(DEPLOY).join(file))?;
    let settings = settings.lines().filter(|line| !line.starts_with('#'));
    command
        .envs(settings.filter_map(|line| line.split_once('=')))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(DEPLOY);
    Ok(())
}

impl Drop for Rotel {
    fn drop(&mut self) {
        // an error: it ended by itself
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

/// A span in the collector's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Trace, span and parent.
    pub ids: [String; 3],
    /// Name and version.
    pub scope: String,
    /// Of the span.
    pub name: String,
    /// As OTLP names it.
    pub kind: String,
    /// Code and message.
    pub status: [String; 2],
    /// Start and end, in nanoseconds.
    pub times: [String; 2],
    /// `key: Type(value)`, as they came.
    pub attributes: Vec<String>,
    /// As the attributes: two identities, the state and a count for each.
    pub links: Vec<String>,
}

/// Every span on the page; the last, half of which may not be printed yet, as far as it goes.
fn read(page: &str) -> Vec<Told> {
    let mut spans = Vec::new();
    let mut scope = "";
    for (number, block) in page.split("Span #").enumerate() {
        if number > 0 {
            spans.push(told(scope, block));
        }
        if let Some((_, after)) = block.rsplit_once("InstrumentationScope ") {
            scope = after.lines().next().unwrap_or_default();
        }
    }
    spans
}

fn told(scope: &str, block: &str) -> Told {
    let (mut attributes, mut links) = (Vec::new(), Vec::new());
    let mut fields = Vec::new();
    let mut section = "";
    for line in block
        .lines()
        .take_while(|line| !line.starts_with("ResourceSpans"))
    {
        if let Some(pair) = line.trim().strip_prefix("-> ") {
            let list = if section == "Links:" {
                &mut links
            } else {
                &mut attributes
            };
            list.push(pair.trim().to_owned());
        } else if matches!(line, "Attributes:" | "Links:") {
            section = line;
        } else if let Some((key, value)) = line.split_once(':') {
            fields.push((key.trim(), value.trim()));
        }
    }
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
            .unwrap_or_default()
    };
    Told {
        ids: [field("Trace ID"), field("ID"), field("Parent ID")],
        scope: scope.to_owned(),
        name: field("Name"),
        kind: field("Kind"),
        status: [field("Status code"), field("Status message")],
        times: [field("Start time"), field("End time")],
        attributes,
        links,
    }
}

/// A span as it was emitted, in the collector's words.
pub fn meant(span: &SpanData) -> Told {
    let scope = &span.instrumentation_scope;
    let id = |id: SpanId| {
        if id == SpanId::INVALID {
            String::new()
        } else {
            id.to_string()
        }
    };
    let kind = match span.span_kind {
        SpanKind::Internal => "INTERNAL",
        SpanKind::Server => "SERVER",
        SpanKind::Client => "CLIENT",
        SpanKind::Producer => "PRODUCER",
        SpanKind::Consumer => "CONSUMER",
    };
    let (code, message) = match &span.status {
        Status::Unset => ("UNSET", ""),
        Status::Ok => ("OK", ""),
        Status::Error { description } => ("ERROR", &**description),
    };
    let nanos = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos()
            .to_string()
    };
    Told {
        ids: [
            span.span_context.trace_id().to_string(),
            id(span.span_context.span_id()),
            id(span.parent_span_id),
        ],
        scope: format!("{} {}", scope.name(), scope.version().unwrap_or_default()),
        name: span.name.to_string(),
        kind: format!("SPAN_KIND_{kind}"),
        status: [format!("STATUS_CODE_{code}"), message.to_owned()],
        times: [nanos(span.start_time), nanos(span.end_time)],
        attributes: span.attributes.iter().map(pair).collect(),
        links: span.links.iter().flat_map(link).collect(),
    }
}

fn link(link: &Link) -> [String; 4] {
    let caller = &link.span_context;
    [
        format!("Trace ID: {}", caller.trace_id()),
        format!("ID: {}", caller.span_id()),
        format!("TraceState: {}", caller.trace_state().header())
            .trim()
            .to_owned(),
        format!("DroppedAttributesCount: {}", link.dropped_attributes_count),
    ]
}

/// An attribute in the collector's words.
pub fn pair(attribute: &KeyValue) -> String {
    let key = &attribute.key;
    match &attribute.value {
        Value::Bool(value) => format!("{key}: Bool({value})"),
        Value::I64(value) => format!("{key}: Int({value})"),
        Value::F64(value) => format!("{key}: Double({value})"),
        value => format!("{key}: Str({value})"),
    }
}
