//! The cost of one emission, in allocations and nanoseconds, beside the same span through
//! `tracing-opentelemetry`.
//!
//! Both go to the same SDK, whose only processor throws spans away; or to no provider. Rounds take
//! turns, so that a busy machine is busy for both. Allocations are counted and gate; of time, the
//! ratio does.

use std::alloc::System;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nat_summary::{Evidence, NatSummary, Observation};
use opentelemetry::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry::trace::noop::NoopTracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use otel_nat::{FailureReason, Telemetry};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tracing_subscriber::layer::SubscriberExt;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: usize = 200;
const EMISSIONS: u32 = 500;

/// Most allocations of one emission: to the SDK; to no provider.
const GATE: [usize; 2] = [2, 3];
/// How many times cheaper an emission is than theirs, in allocations and in time: rounds take
/// turns, and the best of each counts, so a busy machine does not change the ratio.
const CHEAPER: f64 = 2.0;

#[derive(Debug)]
struct Discard;

impl SpanProcessor for Discard {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        black_box(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn sdk() -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_span_processor(Discard)
        .build()
}

fn summary() -> NatSummary {
    let mut evidence = Evidence::new();
    for sequence in 0..5_u8 {
        evidence.observe(Observation {
            base: ([192, 168, 1, 5], 50_000).into(),
            server: std::net::SocketAddr::from(([198, 51, 100, sequence + 1], 3_478)).into(),
            mapped: ([203, 0, 113, 7], 40_000).into(),
            sequence: sequence.into(),
        });
    }
    evidence.summary()
}

fn ours(telemetry: &Telemetry, summary: &NatSummary) {
    telemetry
        .attempt()
        .fail(black_box(summary), FailureReason::Timeout);
}

/// The same attributes, status and times, as one would write it with `tracing`.
fn theirs(summary: &NatSummary) {
    use tracing::field::Empty;
    let counts = summary.counts();
    let span = tracing::info_span!(
        "nat_failure",
        otel.kind = "internal",
        otel.status_code = "ERROR",
        nat_is_natted = Empty,
        nat_mapping_behavior = summary.mapping().as_legacy(),
        nat_filtering_behavior = summary.filtering().as_legacy(),
        nat_type = summary.nat_type().as_legacy(),
        nat_external_ip = Empty,
        nat_port_preservation = Empty,
        error.type = FailureReason::Timeout.as_str(),
        network.transport = "udp",
        network.type = "ipv4",
        nat_telemetry.rule = "servers_agree",
        nat_telemetry.servers.asked = i64::from(counts.asked),
        nat_telemetry.servers.answered = i64::from(counts.answered),
        nat_telemetry.servers.distinct = i64::from(counts.server_addresses),
        nat_telemetry.bases = i64::from(counts.bases),
        nat_telemetry.observations = i64::from(counts.observations),
        nat_telemetry.base.scope = "private",
        nat_telemetry.external.scope = "global",
    );
    if let Some(natted) = summary.is_natted() {
        span.record("nat_is_natted", natted);
    }
    if let Some(ip) = summary.external_ip() {
        span.record("nat_external_ip", tracing::field::display(ip));
    }
    if let Some(preserved) = summary.port_preserved() {
        span.record("nat_port_preservation", preserved);
    }
}

struct Case<'a> {
    name: &'static str,
    emit: Box<dyn Fn() + 'a>,
    rounds: Vec<Duration>,
    allocations: usize,
}

impl<'a> Case<'a> {
    fn new(name: &'static str, emit: impl Fn() + 'a) -> Self {
        Self {
            name,
            emit: Box::new(emit),
            rounds: Vec::with_capacity(ROUNDS),
            allocations: usize::MAX,
        }
    }

    fn round(&mut self) {
        let region = Region::new(ALLOCATOR);
        let begun = Instant::now();
        for _ in 0..EMISSIONS {
            (self.emit)();
        }
        let elapsed = begun.elapsed();
        let counted = region.change();
        self.rounds.push(elapsed);
        self.allocations = self
            .allocations
            .min((counted.allocations + counted.reallocations) / EMISSIONS as usize);
    }

    /// Of one emission, round by round.
    fn nanoseconds(&self) -> impl Iterator<Item = f64> {
        self.rounds
            .iter()
            .map(|round| round.as_secs_f64() * 1e9 / f64::from(EMISSIONS))
    }

    fn best(&self) -> f64 {
        self.nanoseconds().fold(f64::INFINITY, f64::min)
    }
}

fn subscribed<T>(tracer: T) -> tracing::Dispatch
where
    T: opentelemetry::trace::Tracer + Send + Sync + 'static,
    T::Span: Send + Sync,
{
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    tracing::Dispatch::new(tracing_subscriber::registry().with(layer))
}

fn main() -> ExitCode {
    let summary = summary();
    let (own, global) = (Telemetry::new(sdk()), Telemetry::global());
    let (to_sdk, to_nobody) = (
        subscribed(sdk().tracer("broflake")),
        subscribed(NoopTracerProvider::new().tracer("broflake")),
    );
    let mut cases = [
        Case::new("otel-nat, to the SDK", || ours(&own, &summary)),
        Case::new("tracing-opentelemetry, to the SDK", || {
            tracing::dispatcher::with_default(&to_sdk, || theirs(&summary))
        }),
        Case::new("otel-nat, no provider", || ours(&global, &summary)),
        Case::new("tracing-opentelemetry, no provider", || {
            tracing::dispatcher::with_default(&to_nobody, || theirs(&summary))
        }),
    ];
    for _ in 0..ROUNDS {
        for case in &mut cases {
            case.round();
        }
    }
    // for a program: `cargo xtask bench criterion` reads and judges them
    if std::env::args().any(|argument| argument == "--json") {
        let told: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(place, case)| {
                let most = (place % 2 == 0).then(|| GATE[place / 2]);
                let nanoseconds: Vec<_> = case.nanoseconds().collect();
                serde_json::json!({
                    "name": case.name, "nanoseconds": nanoseconds, "allocations": case.allocations,
                    "most_allocations": most,
                })
            })
            .collect();
        println!(
            "{}",
            serde_json::json!({ "cheaper": CHEAPER, "cases": told })
        );
        return ExitCode::SUCCESS;
    }
    for case in &cases {
        println!(
            "{:36} {:7.0} ns {:3} allocations",
            case.name,
            case.best(),
            case.allocations
        );
    }
    let mut verdict = ExitCode::SUCCESS;
    for (pair, gate) in cases.chunks(2).zip(GATE) {
        let [ours, theirs] = pair else { continue };
        let times = theirs.best() / ours.best();
        let fewer = theirs.allocations as f64 / ours.allocations.max(1) as f64;
        println!(
            "{}: {times:.1} times cheaper in time, {fewer:.1} in allocations; gates: {CHEAPER} times, {gate} allocations",
            ours.name
        );
        if times < CHEAPER || fewer < CHEAPER {
            eprintln!("{}: not {CHEAPER} times cheaper", ours.name);
            verdict = ExitCode::FAILURE;
        }
        if ours.allocations > gate {
            eprintln!(
                "{}: {} allocations, {gate} allowed",
                ours.name, ours.allocations
            );
            verdict = ExitCode::FAILURE;
        }
    }
    verdict
}
