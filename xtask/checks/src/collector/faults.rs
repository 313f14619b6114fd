//! Collectors that fail in every way, and how long an emitting task ever waited for one: never.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nat_summary::{Evidence, NatSummary, Observation};
use otel_nat::pipeline::{Delivery, Pipeline, PipelineBuilder};
use otel_nat::{FailureReason, Telemetry};
use serde::Serialize;

use crate::{Failure, bounds, table};
use emitted::rotel::{Role, Rotel};

/// Emissions of one row, and the pause between two: a second of a busy consumer.
const EMISSIONS: usize = 500;
const PAUSE: Duration = Duration::from_millis(2);
/// How long the slow collector thinks about each packet.
const SLOW: Duration = Duration::from_millis(50);

/// One fault, over one protocol.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    protocol: &'static str,
    fault: &'static str,
    emitted: u64,
    exported: u64,
    failed: u64,
    dropped: u64,
    /// Spans that went nowhere, because the provider was shut down.
    unrecorded: u64,
    /// Still queued at the end.
    waiting: u64,
    /// Emissions in which the thread gave up the processor of its own accord.
    waits: usize,
    /// The longest of these.
    longest_wait_us: f64,
    /// The longest emission, the whims of the scheduler included.
    longest_us: f64,
    pub(super) faults: Vec<String>,
}

pub(super) fn run(program: &Path) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let mut collector = Rotel::start(program, Role::End)?;
    let deaf = TcpListener::bind("127.0.0.1:0")?;
    let missing = {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.local_addr()?
    };
    for protocol in ["OTLP/HTTP", "OTLP/gRPC"] {
        let is_http = protocol == "OTLP/HTTP";
        let there = if is_http {
            collector.http
        } else {
            collector.grpc
        };
        let to = |address: SocketAddr, builder: PipelineBuilder| -> Result<Pipeline, Failure> {
            let builder = builder
                .with_delay(Duration::from_millis(10))
                .with_export_timeout(Duration::from_millis(500));
            Ok(if is_http {
                builder.otlp_http(Some(&format!("http://{address}/v1/traces")))?
            } else {
                builder.otlp_grpc(Some(&format!("http://{address}")))?
            })
        };
        let plain = || Pipeline::builder();
        let mut tell = |fault, pipeline: &Pipeline, watch: Watch| {
            rows.push(row(protocol, fault, pipeline, watch))
        };

        let pipeline = to(there, plain())?;
        tell(
            "none",
            &pipeline,
            Watch::new(pipeline.telemetry()).emit(EMISSIONS),
        );
        let pipeline = to(missing, plain())?;
        tell(
            "missing",
            &pipeline,
            Watch::new(pipeline.telemetry()).emit(EMISSIONS),
        );
        let pipeline = to(deaf.local_addr()?, plain())?;
        tell(
            "takes the connection, says nothing",
            &pipeline,
            Watch::new(pipeline.telemetry()).emit(EMISSIONS),
        );
        let pipeline = to(slow(there)?, plain())?;
        tell(
            "slow",
            &pipeline,
            Watch::new(pipeline.telemetry()).emit(EMISSIONS),
        );
        let pipeline = to(deaf.local_addr()?, plain().with_queue(16).with_batch(8))?;
        tell(
            "queue full",
            &pipeline,
            Watch::new(pipeline.telemetry()).emit(EMISSIONS),
        );

        let pipeline = to(there, plain())?;
        let mut watch = Watch::new(pipeline.telemetry()).emit(EMISSIONS / 2);
        collector.crash()?;
        watch = watch.emit(EMISSIONS / 2);
        tell("dies", &pipeline, watch);
        collector.restart(program)?;

        let pipeline = to(there, plain())?;
        let mut watch = Watch::new(pipeline.telemetry());
        for _ in 0..2 {
            watch = watch.emit(EMISSIONS / 5);
            collector.crash()?;
            watch = watch.emit(EMISSIONS / 5);
            collector.restart(program)?;
        }
        watch = watch.emit(EMISSIONS / 5);
        tell("comes and goes", &pipeline, watch);

        let pipeline = to(there, plain())?;
        let mut watch = Watch::new(pipeline.telemetry()).emit(EMISSIONS / 2);
        // an error: a span was lost, and the account counts it
        let _ = pipeline.shutdown(Duration::from_secs(5));
        watch = watch.emit(EMISSIONS / 2);
        tell("provider shut down", &pipeline, watch);

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let pipeline = runtime.block_on(async { to(there, plain()) })?;
        let mut watch = Watch::new(pipeline.telemetry());
        watch = runtime.block_on(async { watch.emit(EMISSIONS / 2) });
        drop(runtime);
        watch = watch.emit(EMISSIONS / 2);
        tell(
            "runtime of one thread, blocked, then gone",
            &pipeline,
            watch,
        );
    }
    Ok(rows)
}

/// Emits, and watches how.
struct Watch {
    telemetry: Telemetry,
    summary: NatSummary,
    emitted: u64,
    waits: usize,
    longest_wait: Duration,
    longest: Duration,
}

impl Watch {
    fn new(telemetry: Telemetry) -> Self {
        let mut evidence = Evidence::new();
        for server in 1..=5_u8 {
            evidence.observe(Observation {
                base: ([192, 168, 1, 5], 50_000).into(),
                server: SocketAddr::from(([198, 51, 100, server], 3_478)).into(),
                mapped: ([203, 0, 113, 7], 40_000).into(),
                sequence: server.into(),
            });
        }
        Self {
            telemetry,
            summary: evidence.summary(),
            emitted: 0,
            waits: 0,
            longest_wait: Duration::ZERO,
            longest: Duration::ZERO,
        }
    }

    fn emit(mut self, emissions: usize) -> Self {
        for _ in 0..emissions {
            std::thread::sleep(PAUSE);
            let attempt = self.telemetry.attempt();
            let waited_before = waits();
            let begun = Instant::now();
            attempt.fail(&self.summary, FailureReason::Timeout);
            let took = begun.elapsed();
            self.emitted += 1;
            self.longest = self.longest.max(took);
            // time without the processor is no wait; if the system cannot distinguish it, all time
            // counts
            if waits()
                .zip(waited_before)
                .is_none_or(|(after, before)| after > before)
            {
                self.waits += 1;
                self.longest_wait = self.longest_wait.max(took);
            }
        }
        self
    }
}

/// How often this thread has given up the processor of its own accord; `None`: the system does not
/// say.
fn waits() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?
        .trim()
        .parse()
        .ok()
}

fn row(protocol: &'static str, fault: &'static str, pipeline: &Pipeline, watch: Watch) -> Row {
    let begun = Instant::now();
    let _ = pipeline.shutdown(Duration::from_secs(2));
    let ended = begun.elapsed();
    let Delivery {
        exported,
        failed,
        dropped,
        waiting,
        ..
    } = pipeline.delivery();
    let unrecorded = watch.telemetry.tally().unrecorded;
    let mut faults = Vec::new();
    if exported + failed + dropped + waiting + unrecorded != watch.emitted {
        faults.push("not every span is accounted for".to_owned());
    }
    if watch.longest_wait > bounds::EMISSION_WAIT {
        faults.push(format!("an emission waited {:?}", watch.longest_wait));
    }
    if ended > bounds::COLLECTOR_SHUTDOWN {
        faults.push(format!("shutting down took {ended:?}"));
    }
    let arrives = matches!(
        fault,
        "none" | "dies" | "comes and goes" | "provider shut down"
    ) || fault.starts_with("runtime");
    if arrives != (exported > 0) && fault != "slow" {
        faults.push(format!("{exported} spans were exported"));
    }
    if fault == "queue full" && dropped == 0 {
        faults.push("no span was dropped: the queue was not full".to_owned());
    }
    let us = |time: Duration| (time.as_secs_f64() * 1e7).round() / 10.0;
    Row {
        protocol,
        fault,
        emitted: watch.emitted,
        exported,
        failed,
        dropped,
        unrecorded,
        waiting,
        waits: watch.waits,
        longest_wait_us: us(watch.longest_wait),
        longest_us: us(watch.longest),
        faults,
    }
}

/// A way to `there` that thinks about each packet.
fn slow(there: SocketAddr) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    // ends with the process
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(beyond) = TcpStream::connect(there) else {
                continue;
            };
            let ways = [
                (stream.try_clone(), beyond.try_clone()),
                (beyond.try_clone(), stream.try_clone()),
            ];
            for (from, to) in ways {
                let (Ok(from), Ok(to)) = (from, to) else {
                    continue;
                };
                std::thread::spawn(move || pass_on(from, to));
            }
        }
    });
    Ok(address)
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        std::thread::sleep(SLOW);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // an error: the other way has ended it
    let _ = to.shutdown(Shutdown::Both);
}

pub(super) fn render(rows: &[Row]) -> String {
    let heads = [
        "protocol",
        "fault",
        "emitted",
        "exported",
        "failed",
        "dropped",
        "unrecorded",
        "waiting",
        "waits",
        "longest wait, us",
        "longest, us",
        "",
    ];
    let cells = |row: &Row| {
        vec![
            row.protocol.to_owned(),
            row.fault.to_owned(),
            row.emitted.to_string(),
            row.exported.to_string(),
            row.failed.to_string(),
            row.dropped.to_string(),
            row.unrecorded.to_string(),
            row.waiting.to_string(),
            row.waits.to_string(),
            format!("{:.1}", row.longest_wait_us),
            format!("{:.1}", row.longest_us),
            if row.faults.is_empty() {
                "right".to_owned()
            } else {
                "WRONG".to_owned()
            },
        ]
    };
    table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::Context;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
    use otel_nat::Telemetry;

    use super::{Watch, waits};

    #[derive(Debug)]
    struct Waits(Duration);

    impl SpanProcessor for Waits {
        fn on_start(&self, _: &mut Span, _: &Context) {}

        fn on_end(&self, _: SpanData) {
            if !self.0.is_zero() {
                std::thread::sleep(self.0);
            }
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    #[test]
    fn a_provider_that_waits_is_seen_and_one_that_does_not_is_not() {
        if waits().is_none() {
            return; // then every emission counts as one
        }
        for (wait, waits) in [(Duration::ZERO, 0), (Duration::from_millis(3), 10)] {
            let provider = SdkTracerProvider::builder()
                .with_span_processor(Waits(wait))
                .build();
            let watch = Watch::new(Telemetry::new(provider)).emit(10);
            assert_eq!(watch.waits, waits);
            assert!(watch.longest_wait >= wait);
        }
    }
}
