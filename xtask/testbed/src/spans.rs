//! Spans caught on their way out, counted and shown.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::Value;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use otel_nat::Telemetry;

/// An exporter that keeps spans until they are taken.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    caught: Arc<Mutex<Vec<SpanData>>>,
}

impl SpanExporter for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.caught
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(batch);
        Ok(())
    }
}

impl Spans {
    /// Telemetry that ends here.
    pub fn telemetry(&self) -> Telemetry {
        Telemetry::new(
            SdkTracerProvider::builder()
                .with_simple_exporter(self.clone())
                .build(),
        )
    }

    /// Every span since the last call.
    pub fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut *self.caught.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The value of an attribute, as text.
pub fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes
        .iter()
        .find(|kv| kv.key.as_str() == key)
        .map(|kv| match &kv.value {
            Value::String(text) => text.as_str().to_owned(),
            other => other.to_string(),
        })
}

/// A value as a person reads it: text in quotes.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", text.as_str()),
        other => other.to_string(),
    }
}

/// A span in full, one field a line.
pub fn describe(span: &SpanData) -> String {
    let unix = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64()
    };
    let scope = &span.instrumentation_scope;
    let mut out = String::new();
    let mut field = |name: &str, value: String| {
        // writing to a string cannot fail
        let _ = writeln!(out, "    {name:<12} {value}");
    };
    field("span", span.name.to_string());
    field(
        "scope",
        format!("{} {}", scope.name(), scope.version().unwrap_or_default()),
    );
    field("trace id", span.span_context.trace_id().to_string());
    field("span id", span.span_context.span_id().to_string());
    field(
        "parent",
        if span.parent_span_id == opentelemetry::SpanId::INVALID {
            "none (root)".into()
        } else {
            span.parent_span_id.to_string()
        },
    );
    for link in span.links.iter() {
        field(
            "link to",
            format!(
                "{} / {}",
                link.span_context.trace_id(),
                link.span_context.span_id()
            ),
        );
    }
    field("kind", format!("{:?}", span.span_kind));
    field("start", format!("{:.6}", unix(span.start_time)));
    field("end", format!("{:.6}", unix(span.end_time)));
    let duration = span
        .end_time
        .duration_since(span.start_time)
        .unwrap_or_default();
    field(
        "duration",
        format!("{:.1} ms", duration.as_secs_f64() * 1000.0),
    );
    field("status", format!("{:?}", span.status));
    for kv in &span.attributes {
        field("attribute", format!("{} = {}", kv.key, shown(&kv.value)));
    }
    out
}
