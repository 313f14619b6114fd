//! Spans kept in memory, for the tests of programs that use this crate.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};

use crate::telemetry::Telemetry;

/// Keeps every emitted span, at once and in order. For tests, because its size is not bounded.
///
/// ```
/// use nat_summary::Evidence;
/// use otel_nat::FailureReason;
/// use otel_nat::pipeline::Capture;
///
/// let capture = Capture::new();
/// capture.telemetry().attempt().fail(&Evidence::new().summary(), FailureReason::PeerGone);
/// assert_eq!(capture.spans()[0].name, "nat_failure");
/// ```
#[derive(Debug, Clone)]
pub struct Capture {
    provider: SdkTracerProvider,
    spans: CapturedSpans,
}

impl Capture {
    /// An empty capture.
    #[must_use]
    pub fn new() -> Self {
        let spans = CapturedSpans::default();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(spans.clone())
            .build();
        Self { provider, spans }
    }

    /// Telemetry whose spans are kept here.
    #[must_use]
    pub fn telemetry(&self) -> Telemetry {
        Telemetry::new(self.provider.clone())
    }

    /// The provider, to be made global or handed to others.
    #[must_use]
    pub const fn provider(&self) -> &SdkTracerProvider {
        &self.provider
    }

    /// A processor that keeps the spans of one more provider here.
    pub(super) fn processor(&self) -> impl SpanProcessor + use<> {
        self.spans.clone()
    }

    /// The spans so far, in the order of their ends.
    #[must_use]
    pub fn spans(&self) -> Vec<SpanData> {
        self.spans
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Default for Capture {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Default)]
struct CapturedSpans(Arc<Mutex<Vec<SpanData>>>);

/// Prints the number of spans alone, because a span may hold `nat_external_ip` and the `Debug` of a
/// provider prints its processors.
impl fmt::Debug for CapturedSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} spans",
            self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
        )
    }
}

impl SpanProcessor for CapturedSpans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
