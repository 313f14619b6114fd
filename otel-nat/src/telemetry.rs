//! The emission: one root span per attempt, with real times.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use nat_summary::NatSummary;
use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Link, Span, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope};

use crate::keys;
use crate::reason::{ExternalIp, Reason};
use crate::record::attributes;

/// Where spans go and what they may tell. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    tracer: Arc<dyn Fn(&InstrumentationScope) -> BoxedTracer + Send + Sync>,
    scope: InstrumentationScope,
    external_ip: ExternalIp,
}

impl Telemetry {
    /// To the global tracer provider, looked up at each emission: it may be set any time, before or after this call.
    #[must_use]
    pub fn global() -> Self {
        Self::from_lookup(|scope| global::tracer_with_scope(scope.clone()))
    }

    /// To this provider.
    #[must_use]
    pub fn new<P>(provider: P) -> Self
    where
        P: TracerProvider + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        Self::from_lookup(move |scope| BoxedTracer::new(Box::new(provider.tracer_with_scope(scope.clone()))))
    }

    fn from_lookup(tracer: impl Fn(&InstrumentationScope) -> BoxedTracer + Send + Sync + 'static) -> Self {
        Self { tracer: Arc::new(tracer), scope: scope(keys::SCOPE.into()), external_ip: ExternalIp::default() }
    }

    /// Names the instrumentation scope; [`keys::SCOPE`] by default.
    #[must_use]
    pub fn with_scope(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.scope = scope(name.into());
        self
    }

    /// Tells this much of the external address; all of it by default.
    #[must_use]
    pub const fn with_external_ip(mut self, policy: ExternalIp) -> Self {
        self.external_ip = policy;
        self
    }

    /// An attempt starts now. Its span will be a root with a link to the span that is current here: a child of an
    /// unsampled parent would be dropped silently.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        Attempt {
            telemetry: self.clone(),
            started_at: SystemTime::now(),
            started: Instant::now(),
            caller: Context::map_current(|caller| caller.span().span_context().clone()),
            asked: false,
            summary: None,
            finished: false,
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, external_ip, .. } = self;
        f.debug_struct("Telemetry").field("scope", &scope.name()).field("external_ip", external_ip).finish()
    }
}

fn scope(name: Cow<'static, str>) -> InstrumentationScope {
    InstrumentationScope::builder(name).with_version(env!("CARGO_PKG_VERSION")).build()
}

/// An attempt under way. It ends in exactly one span, or in none if no STUN server was asked.
#[must_use = "dropped at once, an attempt says nothing"]
pub struct Attempt {
    telemetry: Telemetry,
    started_at: SystemTime,
    started: Instant,
    caller: SpanContext,
    asked: bool,
    summary: Option<NatSummary>,
    finished: bool,
}

impl Attempt {
    /// A STUN server is about to be asked: from here on even a dropped attempt has a span.
    pub const fn asked(&mut self) {
        self.asked = true;
    }

    /// What is known so far, for the span of an attempt that is dropped.
    pub fn gathered(&mut self, summary: &NatSummary) {
        self.asked |= summary.counts().asked > 0;
        self.summary = Some(*summary);
    }

    /// The channel opened.
    pub fn succeeded(mut self, summary: &NatSummary) {
        self.emit(summary, None);
    }

    /// It did not.
    pub fn failed(mut self, summary: &NatSummary, reason: Reason) {
        self.emit(summary, Some(reason));
    }

    fn emit(&mut self, summary: &NatSummary, failure: Option<Reason>) {
        self.finished = true;
        let Telemetry { tracer, scope, external_ip } = &self.telemetry;
        let name = if failure.is_none() { keys::SPAN_SUCCESS } else { keys::SPAN_FAILURE };
        let mut builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Internal)
            .with_start_time(self.started_at)
            .with_attributes(attributes(summary, failure, *external_ip));
        if self.caller.is_valid() {
            builder = builder.with_links(vec![Link::with_context(self.caller.clone())]);
        }
        let mut span: BoxedSpan = tracer(scope).build_with_context(builder, &Context::new());
        if failure.is_some() {
            // no description: `error.type` says it, and free text is where addresses slip through
            span.set_status(Status::error(""));
        }
        // the wall clock may step; the time that passed does not
        span.end_with_timestamp(self.started_at + self.started.elapsed());
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.finished && self.asked {
            let summary = self.summary.unwrap_or_else(|| nat_summary::Evidence::new().summary());
            self.emit(&summary, Some(Reason::Cancelled));
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("asked", &self.asked).finish_non_exhaustive()
    }
}
