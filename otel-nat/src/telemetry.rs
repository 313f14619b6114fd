//! Spans: one per attempt, through the global tracer provider or one handed in.

use core::fmt;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use nat_summary::stage::StageReport;
use nat_summary::{
    AttemptEvidence, AttemptVerdict, CandidateKind, Checks, DecidedBy, Evidence, FailureCause,
    FilteringSeen, Mapping, NatSummary, Outcome, Outlook, TowardPeer,
};
use opentelemetry::trace::{
    Link, Span, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, global};

use crate::detail::Detail;
use crate::external_ip::ExternalIp;
use crate::failure_reason::FailureReason;
use crate::keys;
use crate::mapping_lifetime::MappingLifetime;
#[cfg(feature = "metrics")]
use crate::metrics::{KnownLabels, Metrics};
use crate::record::{Facts, record};
#[cfg(feature = "metrics")]
use crate::record::{labels, server_labels, stage_labels};
use crate::server_label::ServerLabel;
use crate::tally::Tally;

/// The way out for spans, and the policy for the address in them. Clones are cheap and share
/// everything.
#[derive(Clone)]
pub struct Telemetry {
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    source: Source,
    scope: Cow<'static, str>,
    external_ip: ExternalIp,
    has_hello_shape: bool,
    detail: Detail,
    #[cfg(feature = "metrics")]
    metrics: Metrics,
    #[cfg(feature = "metrics")]
    labels: KnownLabels,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    recorded: AtomicU64,
    unrecorded: AtomicU64,
    panicked: AtomicU64,
}

#[derive(Clone)]
enum Source {
    /// Looked up per span: a tracer taken before the global provider is set does nothing for ever.
    Global,
    Own {
        provider: Arc<dyn MakeTracer>,
        tracer: Arc<dyn Emit>,
    },
}

impl Telemetry {
    /// Spans go to the global tracer provider as it is when an attempt ends.
    #[must_use]
    pub fn global() -> Self {
        Self::from_source(Source::Global)
    }

    /// Spans go to `provider`. Not on wasm32.
    pub fn new<P>(provider: P) -> Self
    where
        P: TracerProvider + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
    {
        let tracer = provider.make_tracer(scope(Cow::Borrowed(keys::SCOPE)));
        Self::from_source(Source::Own {
            provider: Arc::new(provider),
            tracer,
        })
    }

    fn from_source(source: Source) -> Self {
        let settings = Settings {
            source,
            scope: Cow::Borrowed(keys::SCOPE),
            external_ip: ExternalIp::default(),
            has_hello_shape: false,
            detail: Detail::default(),
            #[cfg(feature = "metrics")]
            metrics: Metrics::default(),
            #[cfg(feature = "metrics")]
            labels: KnownLabels::default(),
            counters: Arc::default(),
        };
        Self {
            settings: Arc::new(settings),
        }
    }

    /// The name of the instrumentation scope; [`keys::SCOPE`] unless set. Its version is that of
    /// this crate.
    #[must_use]
    pub fn with_scope(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        let settings = Arc::make_mut(&mut self.settings);
        settings.scope = name.into();
        if let Source::Own { provider, tracer } = &mut settings.source {
            *tracer = provider.make_tracer(scope(settings.scope.clone()));
        }
        #[cfg(feature = "metrics")]
        settings.metrics.set_scope(scope(settings.scope.clone()));
        self
    }

    /// Metrics go to the global meter provider as it is when an attempt or a path ends. Not on
    /// wasm32.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn with_global_metrics(mut self) -> Self {
        Arc::make_mut(&mut self.settings).metrics = Metrics::global();
        self
    }

    /// Metrics go to `provider`: durations of attempts as the histogram
    /// [`keys::ATTEMPT_DURATION`], and lifetimes of mappings. Not on wasm32.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn with_metrics<P>(mut self, provider: P) -> Self
    where
        P: opentelemetry::metrics::MeterProvider + Send + Sync + 'static,
    {
        let settings = Arc::make_mut(&mut self.settings);
        settings.metrics = Metrics::own(Arc::new(provider), scope(settings.scope.clone()));
        self
    }

    /// How much of the mapped address goes out; [`ExternalIp::Full`] unless set.
    #[must_use]
    pub fn with_external_ip(mut self, policy: ExternalIp) -> Self {
        Arc::make_mut(&mut self.settings).external_ip = policy;
        self
    }

    /// Whether the shape of the DTLS ClientHello goes out as [`keys::DTLS_HELLO_SHAPE`]; not unless set.
    /// Each DTLS library has a shape of its own, so it shows operators which fingerprint a filter drops,
    /// and which software a user has.
    #[must_use]
    pub fn with_hello_shape(mut self, is_out: bool) -> Self {
        Arc::make_mut(&mut self.settings).has_hello_shape = is_out;
        self
    }

    /// How many attributes a span has; [`Detail::All`] unless set.
    #[must_use]
    pub fn with_detail(mut self, detail: Detail) -> Self {
        Arc::make_mut(&mut self.settings).detail = detail;
        self
    }

    /// An attempt begins now. Its span will link to the caller's, if there is one in the current
    /// context.
    #[must_use = "dropping the handle ends the attempt"]
    pub fn attempt(&self) -> Attempt {
        Attempt {
            telemetry: self.clone(),
            started: SystemTime::now(),
            clock: Instant::now(),
            caller: Context::map_current(|context| identity(context.span().span_context())),
            asked: false,
            gathering: None,
            gathered: None,
            is_waiting: false,
            connecting: None,
            facts: Facts {
                has_hello_shape: self.settings.has_hello_shape,
                ..Facts::default()
            },
            finished: false,
        }
    }

    /// Records how the mapping of a path held, once the path has ended: long after the span of its
    /// attempt went out. The lifetime goes into the metrics [`keys::PATH_SURVIVED`] and
    /// [`keys::PATH_REBINDINGS`], grouped by the verdict in `summary`. Without the feature
    /// `metrics`, and without a meter provider, this does nothing.
    pub fn record_mapping_lifetime(&self, summary: &NatSummary, lifetime: MappingLifetime) {
        #[cfg(feature = "metrics")]
        self.measure(|metrics| {
            let labels = labels(summary, None);
            metrics.record_path(|| scope(self.settings.scope.clone()), lifetime, &labels);
        });
        #[cfg(not(feature = "metrics"))]
        let _ = (summary, lifetime);
    }

    /// Records what stopped a path, long after the span of its attempt went out, in the metric
    /// [`keys::STAGES`]. Without the feature `metrics`, and without a meter provider, this does nothing.
    pub fn record_stage(&self, report: &StageReport) {
        #[cfg(feature = "metrics")]
        self.measure(|metrics| {
            let labels = stage_labels(report);
            let scope = || scope(self.settings.scope.clone());
            metrics.record_stage(scope, &labels);
        });
        #[cfg(not(feature = "metrics"))]
        let _ = report;
    }

    /// Records the outcome of a request to a STUN server, and its round trip if it is known, in the
    /// metrics [`keys::SERVER_REQUESTS`] and [`keys::SERVER_ROUND_TRIP`]: a fleet then shows which
    /// server is silent where. Servers without a label, and those of further labels than the first 64,
    /// count as [`keys::OTHER_SERVER`]. Without the feature `metrics`, and without a meter provider,
    /// this does nothing.
    pub fn record_server(
        &self,
        label: Option<&ServerLabel>,
        outcome: Outcome,
        round_trip: Option<Duration>,
    ) {
        #[cfg(feature = "metrics")]
        self.measure(|metrics| {
            let label = label.filter(|label| self.settings.labels.admit(label));
            let labels = server_labels(label.map(ServerLabel::as_str), outcome);
            metrics.record_server(|| scope(self.settings.scope.clone()), round_trip, &labels);
        });
        #[cfg(not(feature = "metrics"))]
        let _ = (label, outcome, round_trip);
    }

    /// Runs the provider's code for a metric, if there is a provider. A panic in there is counted and ends
    /// here, because it must not end a path or a gathering.
    #[cfg(feature = "metrics")]
    fn measure(&self, record: impl FnOnce(&Metrics)) {
        let metrics = &self.settings.metrics;
        if metrics.is_on() && catch_unwind(AssertUnwindSafe(|| record(metrics))).is_err() {
            self.settings
                .counters
                .panicked
                .fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The spans so far, by what became of them.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let Counters {
            recorded,
            unrecorded,
            panicked,
        } = &*self.settings.counters;
        Tally {
            recorded: recorded.load(Ordering::Relaxed),
            unrecorded: unrecorded.load(Ordering::Relaxed),
            panicked: panicked.load(Ordering::Relaxed),
        }
    }

    fn emit(&self, builder: SpanBuilder, status: Status, ended: SystemTime) -> bool {
        match &self.settings.source {
            Source::Global => global::tracer_with_scope(scope(self.settings.scope.clone()))
                .emit(builder, status, ended),
            Source::Own { tracer, .. } => tracer.emit(builder, status, ended),
        }
    }

    /// Runs the provider's code. A panic in there is counted and ends here, because a connection must
    /// not fail of its telemetry, and a second panic, while a first drops a handle, would end the
    /// process.
    fn contain(&self, emit: impl FnOnce() -> bool) {
        let counters = &self.settings.counters;
        let counter = match catch_unwind(AssertUnwindSafe(emit)) {
            Ok(true) => &counters.recorded,
            Ok(false) => &counters.unrecorded,
            Err(_) => &counters.panicked,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::global()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("global", &matches!(self.settings.source, Source::Global))
            .field("scope", &self.settings.scope)
            .field("external_ip", &self.settings.external_ip)
            .finish_non_exhaustive()
    }
}

/// One connection attempt, from [`Telemetry::attempt`] until it is finished or dropped.
///
/// Finished by [`succeed`](Self::succeed) or [`fail`](Self::fail), an attempt emits exactly one
/// span. Dropped unfinished, it emits a span with `error.type` `cancelled` if a STUN server was
/// asked, and no span otherwise, because then nothing is known of any NAT.
pub struct Attempt {
    telemetry: Telemetry,
    started: SystemTime,
    clock: Instant,
    caller: Option<SpanContext>,
    asked: bool,
    gathering: Option<Instant>,
    gathered: Option<NatSummary>,
    is_waiting: bool,
    connecting: Option<Instant>,
    facts: Facts,
    finished: bool,
}

impl Attempt {
    /// The first STUN request is about to leave. From here on this attempt emits a span, even if it
    /// is dropped. The duration of gathering counts from the first call, and after
    /// [`end_gathering`](Self::end_gathering) from the next.
    pub fn begin_gathering(&mut self) {
        self.asked = true;
        self.gathering.get_or_insert_with(Instant::now);
    }

    /// Gathering has ended with this verdict, which the span holds if the attempt is dropped.
    /// Implies [`begin_gathering`](Self::begin_gathering) if the summary counts a server that was
    /// asked.
    pub fn end_gathering(&mut self, summary: &NatSummary) {
        self.asked |= summary.counts().asked > 0;
        self.gathered = Some(*summary);
        if let Some(begun) = self.gathering.take() {
            self.facts.gather = Some(begun.elapsed());
        }
    }

    /// The attempt waits for a peer from here on.
    pub const fn begin_wait(&mut self) {
        self.is_waiting = true;
    }

    /// A peer is there to be connected to. The time since the attempt began counts as
    /// [`keys::SIGNALLING_WAIT`], and not as a part of [`keys::ATTEMPT_DURATION`]. An attempt whose
    /// peer is lost begins to wait again, and what lies between counts as waiting too.
    pub fn end_wait(&mut self) {
        if core::mem::take(&mut self.is_waiting) {
            self.facts.wait = Some(self.clock.elapsed());
        }
    }

    /// The peer's answer is there, and connectivity checks follow. The duration of connecting counts
    /// from here.
    pub fn begin_checks(&mut self) {
        self.connecting = Some(Instant::now());
    }

    /// Sets the types of the selected pair's candidates.
    pub fn set_selected_pair(&mut self, local: CandidateKind, remote: CandidateKind) {
        self.facts.selected = Some((local, remote));
    }

    /// Sets how the NAT mapped the base toward the peer.
    pub fn set_mapping_toward_peer(&mut self, mapping: TowardPeer) {
        self.facts.toward_peer = mapping;
    }

    /// Sets how the NAT maps if the peer's responses count as one more vantage point. This mapping
    /// has a key of its own, because a peer may lie and never overrules the servers.
    pub fn set_mapping_with_peer(&mut self, mapping: Mapping) {
        self.facts.mapping_with_peer = mapping;
    }

    /// Sets the filtering that incoming packets proved.
    pub fn set_filtering_seen(&mut self, seen: FilteringSeen) {
        self.facts.filtering = seen;
    }

    /// Sets the counts of the connectivity checks so far.
    pub fn set_checks(&mut self, checks: Checks) {
        self.facts.checks = Some(checks);
    }

    /// Sets the verdict on the peer's NAT, judged from the peer's own candidates. Only the type of
    /// the NAT goes out, and no address.
    pub fn set_peer_summary(&mut self, summary: &NatSummary) {
        self.facts.peer_nat_type = Some(summary.nat_type());
    }

    /// Sets whether hole punching is expected to work between the two hosts.
    pub fn set_outlook(&mut self, outlook: Outlook) {
        self.facts.outlook = Some(outlook);
    }

    /// Sets the cause of a failure. The span of an attempt that connects leaves it out.
    pub fn set_failure_cause(&mut self, cause: FailureCause) {
        self.facts.cause = Some(cause);
    }

    /// Sets the stage that the attempt reached, and what stopped it. The verdict goes out where the attempt
    /// fails.
    pub fn set_stage(&mut self, report: StageReport) {
        self.facts.stage = Some(report);
    }

    /// Sets how the mapping held so far.
    pub fn set_mapping_lifetime(&mut self, lifetime: MappingLifetime) {
        self.facts.mapping_lifetime = Some(lifetime);
    }

    /// Sets the number of this attempt, counted from 1 since the last path that opened: whether paths open
    /// at the first attempt or at a later one.
    pub fn set_number(&mut self, number: NonZeroU32) {
        self.facts.number = Some(number);
    }

    /// Sets everything that the verdicts on the attempt hold beside the summary: the selected pair,
    /// the NAT in front of the peer, and the results of the peer's checks.
    pub fn set_verdict(&mut self, verdict: &AttemptVerdict) {
        if let Some((local, remote)) = verdict.selected_pair {
            self.set_selected_pair(local, remote);
        }
        if let Some(summary) = &verdict.peer_summary {
            self.set_peer_summary(summary);
        }
        if let Some(stage) = verdict.stage {
            self.set_stage(stage);
        }
        let Some(report) = &verdict.peer else {
            return;
        };
        self.set_mapping_toward_peer(report.summary.toward_peer);
        self.set_filtering_seen(report.summary.filtering);
        if report.summary.decided_by == DecidedBy::Peer {
            self.set_mapping_with_peer(report.summary.mapping);
        }
        if report.checks != Checks::default() {
            self.set_checks(report.checks);
        }
        if let Some(lifetime) = MappingLifetime::of(report) {
            self.set_mapping_lifetime(lifetime);
        }
        if let Some(outlook) = report.outlook {
            self.set_outlook(outlook);
        }
        if let Some(cause) = report.cause {
            self.set_failure_cause(cause);
        }
    }

    /// Ends the attempt with everything known of it: judges the evidence, emits `nat_success` or, with
    /// a reason, `nat_failure`, and returns the verdicts.
    ///
    /// ```
    /// use nat_summary::{AttemptEvidence, Evidence, PathEnd};
    /// use otel_nat::{FailureReason, Telemetry};
    ///
    /// let observed = Evidence::new(); // the evidence of your gathering
    /// let evidence = AttemptEvidence::new(&observed).with_path(PathEnd::NoPair);
    /// let attempt = Telemetry::global().attempt();
    /// let verdict = attempt.end(&evidence, FailureReason::of_path(evidence.path()));
    /// # assert_eq!(verdict.summary, observed.summary());
    /// ```
    pub fn end(
        mut self,
        evidence: &AttemptEvidence<'_>,
        failure: Option<FailureReason>,
    ) -> AttemptVerdict {
        let verdict = evidence.verdict();
        self.set_verdict(&verdict);
        self.finish(&verdict.summary, failure);
        verdict
    }

    /// The attempt connected: emits `nat_success`.
    pub fn succeed(mut self, summary: &NatSummary) {
        self.finish(summary, None);
    }

    /// The attempt did not connect: emits `nat_failure`.
    pub fn fail(mut self, summary: &NatSummary, reason: FailureReason) {
        self.finish(summary, Some(reason));
    }

    fn finish(&mut self, summary: &NatSummary, failure: Option<FailureReason>) {
        self.finished = true;
        // still without a peer
        self.end_wait();
        self.facts.connect = self.connecting.map(|begun| begun.elapsed());
        let lasted = self.clock.elapsed();
        self.telemetry.contain(|| {
            #[cfg(feature = "metrics")]
            self.measure(summary, failure, lasted);
            self.emit(summary, failure, lasted)
        });
    }

    fn emit(&self, summary: &NatSummary, failure: Option<FailureReason>, lasted: Duration) -> bool {
        // the wall clock may be set meanwhile, so the duration is the monotonic clock's
        let ended = self.started.checked_add(lasted).unwrap_or(self.started);
        let (name, status) = match failure {
            None => (keys::SPAN_SUCCESS, Status::Unset),
            // a description could only repeat `error.type`
            Some(_) => (keys::SPAN_FAILURE, Status::error("")),
        };
        let mut builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Internal)
            .with_start_time(self.started)
            .with_attributes(record(
                summary,
                failure,
                &self.facts,
                self.telemetry.settings.external_ip,
                self.telemetry.settings.detail,
            ));
        builder.links = self
            .caller
            .clone()
            .map(|caller| vec![Link::with_context(caller)]);
        self.telemetry.emit(builder, status, ended)
    }

    #[cfg(feature = "metrics")]
    fn measure(&self, summary: &NatSummary, failure: Option<FailureReason>, lasted: Duration) {
        let settings = &self.telemetry.settings;
        if settings.metrics.is_on() {
            let labels = labels(summary, failure);
            let worked = lasted.saturating_sub(self.facts.wait.unwrap_or_default());
            settings
                .metrics
                .record_attempt(|| scope(settings.scope.clone()), worked, &labels);
            if let Some(stage) = self.facts.stage.filter(|_| failure.is_some()) {
                let labels = stage_labels(&stage);
                settings
                    .metrics
                    .record_stage(|| scope(settings.scope.clone()), &labels);
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.asked && !self.finished {
            let summary = self.gathered.unwrap_or_else(|| Evidence::new().summary());
            self.finish(&summary, Some(FailureReason::Cancelled));
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // without the summary, because its Debug has addresses
        f.debug_struct("Attempt")
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

fn scope(name: Cow<'static, str>) -> InstrumentationScope {
    InstrumentationScope::builder(name)
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

/// The identity of the caller's span, without its trace state: that is data of other vendors, and
/// not ours to pass on.
fn identity(caller: &SpanContext) -> Option<SpanContext> {
    caller.is_valid().then(|| {
        SpanContext::new(
            caller.trace_id(),
            caller.span_id(),
            caller.trace_flags(),
            caller.is_remote(),
            TraceState::NONE,
        )
    })
}

/// A tracer provider, behind a pointer.
trait MakeTracer: Send + Sync {
    fn make_tracer(&self, scope: InstrumentationScope) -> Arc<dyn Emit>;
}

impl<P> MakeTracer for P
where
    P: TracerProvider + Send + Sync,
    P::Tracer: Send + Sync + 'static,
{
    fn make_tracer(&self, scope: InstrumentationScope) -> Arc<dyn Emit> {
        Arc::new(self.tracer_with_scope(scope))
    }
}

/// A tracer, behind a pointer.
trait Emit: Send + Sync {
    /// Whether the span was recorded.
    fn emit(&self, builder: SpanBuilder, status: Status, ended: SystemTime) -> bool;
}

impl<T: Tracer + Send + Sync> Emit for T {
    fn emit(&self, builder: SpanBuilder, status: Status, ended: SystemTime) -> bool {
        // a root, because a child of an unsampled parent silently disappears
        let mut span = self.build_with_context(builder, &Context::new());
        let is_recorded = span.is_recording();
        span.set_status(status);
        span.end_with_timestamp(ended);
        is_recorded
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::time::SystemTime;

    use nat_summary::Evidence;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};

    use super::Telemetry;

    #[test]
    fn a_wall_clock_set_meanwhile_changes_no_duration() {
        let spans = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(spans.clone())
            .build();
        let hour = Duration::from_secs(3_600);
        for begun in [SystemTime::now() - hour, SystemTime::now() + hour] {
            let mut attempt = Telemetry::new(provider.clone()).attempt();
            attempt.started = begun;
            attempt.succeed(&Evidence::new().summary());
        }
        for span in spans.get_finished_spans().unwrap() {
            assert!(span.end_time.duration_since(span.start_time).unwrap() < hour / 2);
        }
    }
}
