//! Spans: one per attempt, through the global tracer provider or one handed in.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use nat_summary::{CandidateKind, Evidence, Mapping, NatSummary, Outlook};
use opentelemetry::trace::{
    Link, Span, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, global};

use crate::record::{Facts, record};
use crate::{
    Checks, Endurance, ExternalIp, FailureCause, FilteringSeen, Reason, Tally, TowardPeer, keys,
};

/// Where spans go out, and what of an address goes with them. A clone is cheap, and the same thing.
#[derive(Clone)]
pub struct Telemetry {
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    source: Source,
    scope: Cow<'static, str>,
    external_ip: ExternalIp,
    #[cfg(feature = "metrics")]
    metrics: crate::metrics::Metrics,
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
    /// Looked up per span: a tracer taken before the global provider is set stays a no-op for ever.
    Global,
    Own {
        provider: Arc<dyn MakeTracer>,
        tracer: Arc<dyn Emit>,
    },
}

impl Telemetry {
    /// Spans go to whatever is the global tracer provider when an attempt ends.
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
            #[cfg(feature = "metrics")]
            metrics: crate::metrics::Metrics::default(),
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
        settings.metrics.rescope(scope(settings.scope.clone()));
        self
    }

    /// Durations of attempts go to whatever is the global meter provider when an attempt ends. Not
    /// on wasm32.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn with_global_metrics(mut self) -> Self {
        Arc::make_mut(&mut self.settings).metrics = crate::metrics::Metrics::global();
        self
    }

    /// Durations of attempts go to `provider`, as the histogram [`keys::ATTEMPT_DURATION`]. Not on
    /// wasm32.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn with_metrics<P>(mut self, provider: P) -> Self
    where
        P: opentelemetry::metrics::MeterProvider + Send + Sync + 'static,
    {
        let settings = Arc::make_mut(&mut self.settings);
        settings.metrics =
            crate::metrics::Metrics::own(Arc::new(provider), scope(settings.scope.clone()));
        self
    }

    /// How much of the mapped address goes out; [`ExternalIp::Full`] unless set.
    #[must_use]
    pub fn with_external_ip(mut self, policy: ExternalIp) -> Self {
        Arc::make_mut(&mut self.settings).external_ip = policy;
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
            connecting: None,
            facts: Facts::default(),
            finished: false,
        }
    }

    /// A path has ended, long after the span of its attempt went out: how its mapping held goes
    /// into the metrics [`keys::PATH_SURVIVED`] and [`keys::PATH_REBINDINGS`], by what
    /// `summary` said of the NAT. Without the feature `metrics`, and without a meter provider,
    /// this does nothing.
    pub fn endured(&self, summary: &NatSummary, endurance: Endurance) {
        #[cfg(feature = "metrics")]
        if self.settings.metrics.is_on() {
            let measure = || {
                let labels = crate::record::labels(summary, None);
                self.settings.metrics.endured(
                    || scope(self.settings.scope.clone()),
                    endurance,
                    &labels,
                );
            };
            // whoever panics in there is the provider, and no path shall fail of it
            if catch_unwind(AssertUnwindSafe(measure)).is_err() {
                self.settings
                    .counters
                    .panicked
                    .fetch_add(1, Ordering::Relaxed);
            }
        }
        #[cfg(not(feature = "metrics"))]
        let _ = (summary, endurance);
    }

    /// What became of the spans so far.
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

    /// Runs somebody else's code. Its panic is counted and ends here: no connection shall fail of
    /// its own telemetry, and a second panic while a handle is dropped by a first would end the
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
/// Finished, it emits exactly one span. Dropped unfinished, it emits one with `error.type`
/// `cancelled` if a STUN server had been asked, and none otherwise: then there is nothing to tell
/// of any NAT.
pub struct Attempt {
    telemetry: Telemetry,
    started: SystemTime,
    clock: Instant,
    caller: Option<SpanContext>,
    asked: bool,
    gathering: Option<Instant>,
    gathered: Option<NatSummary>,
    connecting: Option<Instant>,
    facts: Facts,
    finished: bool,
}

impl Attempt {
    /// A STUN server was asked: from here on this attempt emits a span, whatever becomes of it. The
    /// first call begins the gathering, as far as its duration is told.
    pub fn asked(&mut self) {
        self.asked = true;
        self.gathering.get_or_insert_with(Instant::now);
    }

    /// Gathering has ended, and this is what it came to, in case the attempt is dropped. Implies
    /// [`asked`](Self::asked) if the summary knows of a server that was.
    pub fn gathered(&mut self, summary: &NatSummary) {
        self.asked |= summary.counts().asked > 0;
        self.gathered = Some(*summary);
        if let Some(begun) = self.gathering.take() {
            self.facts.gather = Some(begun.elapsed());
        }
    }

    /// Connectivity checks begin: from here the duration of connecting is told.
    pub fn connecting(&mut self) {
        self.connecting = Some(Instant::now());
    }

    /// The types of the selected pair's candidates.
    pub fn selected(&mut self, local: CandidateKind, remote: CandidateKind) {
        self.facts.selected = Some((local, remote));
    }

    /// How the NAT mapped the base toward the peer.
    pub fn toward_peer(&mut self, mapping: TowardPeer) {
        self.facts.toward_peer = mapping;
    }

    /// How the NAT maps if what the peer's responses said of the base is judged with what the
    /// servers said. It has a key of its own: a peer may lie, and never overrules the servers.
    pub fn mapping_with_peer(&mut self, mapping: Mapping) {
        self.facts.mapping_with_peer = mapping;
    }

    /// What packets that came in proved of the filtering.
    pub fn filtering(&mut self, seen: FilteringSeen) {
        self.facts.filtering = seen;
    }

    /// The connectivity checks, so far.
    pub fn checks(&mut self, checks: Checks) {
        self.facts.checks = Some(checks);
    }

    /// What the peer's own candidates say of the NAT in front of it. Only its type is told, and no
    /// address.
    pub fn peer(&mut self, summary: &NatSummary) {
        self.facts.peer = Some(summary.nat_type());
    }

    /// What the two can expect of each other.
    pub fn outlook(&mut self, outlook: Outlook) {
        self.facts.outlook = Some(outlook);
    }

    /// What stood in the way, should the attempt fail. Of one that connects it is not told.
    pub fn explained(&mut self, cause: FailureCause) {
        self.facts.cause = Some(cause);
    }

    /// How the mapping held, so far.
    pub fn endured(&mut self, endurance: Endurance) {
        self.facts.endurance = Some(endurance);
    }

    /// The attempt connected: emits `nat_success`.
    pub fn succeeded(mut self, summary: &NatSummary) {
        self.finish(summary, None);
    }

    /// The attempt did not connect: emits `nat_failure`.
    pub fn failed(mut self, summary: &NatSummary, reason: Reason) {
        self.finish(summary, Some(reason));
    }

    fn finish(&mut self, summary: &NatSummary, failure: Option<Reason>) {
        self.finished = true;
        self.facts.connect = self.connecting.map(|begun| begun.elapsed());
        let lasted = self.clock.elapsed();
        self.telemetry.contain(|| {
            #[cfg(feature = "metrics")]
            self.measure(summary, failure, lasted);
            self.tell(summary, failure, lasted)
        });
    }

    fn tell(&self, summary: &NatSummary, failure: Option<Reason>, lasted: Duration) -> bool {
        // The wall clock may be set meanwhile: the duration is the monotonic clock's.
        let ended = self.started.checked_add(lasted).unwrap_or(self.started);
        let (name, status) = match failure {
            None => (keys::SPAN_SUCCESS, Status::Unset),
            // `error.type` says it; a description could only repeat it
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
            ));
        builder.links = self
            .caller
            .clone()
            .map(|caller| vec![Link::with_context(caller)]);
        self.telemetry.emit(builder, status, ended)
    }

    #[cfg(feature = "metrics")]
    fn measure(&self, summary: &NatSummary, failure: Option<Reason>, lasted: Duration) {
        let settings = &self.telemetry.settings;
        if settings.metrics.is_on() {
            let labels = crate::record::labels(summary, failure);
            settings
                .metrics
                .lasted(|| scope(settings.scope.clone()), lasted, &labels);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.asked && !self.finished {
            let summary = self.gathered.unwrap_or_else(|| Evidence::new().summary());
            self.finish(&summary, Some(Reason::Cancelled));
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // no summary: its Debug has addresses
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

/// Who the caller is, without its trace state: that is other people's data, and none of ours to
/// pass on.
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
        // A root: an unsampled parent would silently drop its child.
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
            attempt.succeeded(&Evidence::new().summary());
        }
        for span in spans.get_finished_spans().unwrap() {
            assert!(span.end_time.duration_since(span.start_time).unwrap() < hour / 2);
        }
    }
}
