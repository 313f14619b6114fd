//! OTLP/JSON, one batch per line, as the OTLP file exporter writes it and collectors read it.

use core::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::lines::Lines;

/// Writes each batch as one line: an `ExportTraceServiceRequest` in the JSON mapping of OTLP.
///
/// An OTLP/HTTP endpoint takes each line as a body of `application/json`, and a collector's
/// `otlpjsonfile` receiver reads the file.
///
/// A batch counts as exported if its line is complete. If an error such as a full disk cuts a line
/// off, the batch counts as failed, and the next batch begins on a new line.
pub struct JsonLines<W> {
    lines: Mutex<Lines<W>>,
    resource: Resource,
}

impl<W: Write> JsonLines<W> {
    /// Writes lines to `writer`, and flushes it after each line.
    ///
    /// Do not put a buffer in front of a file. It saves nothing, and it makes the counts wrong,
    /// because bytes of a failed flush may still reach the file later.
    pub fn new(writer: W) -> Self {
        Self::of(Lines::new(writer))
    }

    fn of(lines: Lines<W>) -> Self {
        Self {
            lines: Mutex::new(lines),
            resource: Resource::builder_empty().build(),
        }
    }
}

impl JsonLines<File> {
    /// Lines at the end of this file, which is created if there is none. Where it ends within a
    /// line, such as after a crash or a full disk, that line is ended first.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn append(path: impl AsRef<Path>) -> io::Result<Self> {
        Lines::append(path.as_ref()).map(Self::of)
    }
}

impl<W> fmt::Debug for JsonLines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines").finish_non_exhaustive()
    }
}

impl<W: Write + Send> SpanExporter for JsonLines<W> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut line = request(&self.resource, &batch);
        line.push('\n');
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .write(line.as_bytes())
            .map_err(|_| OTelSdkError::InternalFailure("write failed".into()))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.clone();
    }
}

fn request(resource: &Resource, batch: &[SpanData]) -> String {
    let mut json = Json(String::with_capacity(256 + 1_536 * batch.len()));
    json.object(|json| {
        json.key("resourceSpans");
        json.array(core::iter::once(()), |json, ()| {
            json.object(|json| {
                json.key("resource");
                json.object(|json| {
                    json.key("attributes");
                    json.array(resource.iter(), |json, (key, value)| {
                        json.pair(key.as_str(), value)
                    });
                });
                json.key("scopeSpans");
                let by_scope =
                    batch.chunk_by(|a, b| a.instrumentation_scope == b.instrumentation_scope);
                json.array(by_scope, |json, spans| json.scope_spans(spans));
                if let Some(url) = resource.schema_url() {
                    json.string_field("schemaUrl", url);
                }
            });
        });
    });
    json.0
}

/// Text under way.
struct Json(String);

impl Json {
    fn scope_spans(&mut self, spans: &[SpanData]) {
        self.object(|json| {
            if let Some(span) = spans.first() {
                json.scope(&span.instrumentation_scope);
            }
            json.key("spans");
            json.array(spans, |json, span| json.span(span));
        });
    }

    fn scope(&mut self, scope: &InstrumentationScope) {
        self.key("scope");
        self.object(|json| {
            json.string_field("name", scope.name());
            if let Some(version) = scope.version() {
                json.string_field("version", version);
            }
            json.attributes(scope.attributes());
        });
        if let Some(url) = scope.schema_url() {
            self.string_field("schemaUrl", url);
        }
    }

    fn span(&mut self, span: &SpanData) {
        self.object(|json| {
            json.identity(&span.span_context, span.parent_span_is_remote);
            if span.parent_span_id != SpanId::INVALID {
                json.string_field("parentSpanId", &span.parent_span_id.to_string());
            }
            json.string_field("name", &span.name);
            json.number_field("kind", kind(&span.span_kind));
            json.time_field("startTimeUnixNano", span.start_time);
            json.time_field("endTimeUnixNano", span.end_time);
            json.attributes(&span.attributes);
            json.number_field("droppedAttributesCount", span.dropped_attributes_count);
            json.key("events");
            json.array(span.events.iter(), |json, event| json.event(event));
            json.number_field("droppedEventsCount", span.events.dropped_count);
            json.key("links");
            json.array(span.links.iter(), |json, link| json.link(link));
            json.number_field("droppedLinksCount", span.links.dropped_count);
            json.status(&span.status);
        });
    }

    fn event(&mut self, event: &Event) {
        self.object(|json| {
            json.time_field("timeUnixNano", event.timestamp);
            json.string_field("name", &event.name);
            json.attributes(&event.attributes);
            json.number_field("droppedAttributesCount", event.dropped_attributes_count);
        });
    }

    fn link(&mut self, link: &Link) {
        self.object(|json| {
            json.identity(&link.span_context, link.span_context.is_remote());
            json.attributes(&link.attributes);
            json.number_field("droppedAttributesCount", link.dropped_attributes_count);
        });
    }

    fn status(&mut self, status: &Status) {
        self.key("status");
        self.object(|json| match status {
            Status::Unset => {}
            Status::Ok => json.number_field("code", 1),
            Status::Error { description } => {
                json.number_field("code", 2);
                json.string_field("message", description);
            }
        });
    }

    /// Ids are hexadecimal in OTLP's JSON, unlike protobuf's own mapping of bytes.
    fn identity(&mut self, context: &SpanContext, is_remote: bool) {
        self.string_field("traceId", &context.trace_id().to_string());
        self.string_field("spanId", &context.span_id().to_string());
        if context.trace_state() != &TraceState::NONE {
            self.string_field("traceState", &context.trace_state().header());
        }
        // trace.proto, SpanFlags: bit 8, whether bit 9 is known; bit 9, whether the parent or the
        // linked is remote
        let remote = if is_remote { 0x300 } else { 0x100 };
        self.number_field("flags", u32::from(context.trace_flags().to_u8()) | remote);
    }

    fn attributes<'a>(&mut self, attributes: impl IntoIterator<Item = &'a KeyValue>) {
        self.key("attributes");
        self.array(attributes, |json, pair| {
            json.pair(pair.key.as_str(), &pair.value)
        });
    }

    fn pair(&mut self, key: &str, value: &Value) {
        self.object(|json| {
            json.string_field("key", key);
            json.key("value");
            match value {
                Value::Bool(value) => json.any("boolValue", |json| json.bool(*value)),
                Value::I64(value) => json.any("intValue", |json| json.int(*value)),
                Value::F64(value) => json.any("doubleValue", |json| json.double(*value)),
                Value::String(value) => json.any("stringValue", |json| json.string(value.as_str())),
                Value::Array(values) => json.any("arrayValue", |json| json.list(values)),
                // the type is open to additions
                other => json.any("stringValue", |json| json.string(&other.as_str())),
            }
        });
    }

    fn list(&mut self, values: &Array) {
        self.object(|json| {
            json.key("values");
            match values {
                Array::Bool(values) => json.array(values, |json, v| {
                    json.any("boolValue", |json| json.bool(*v))
                }),
                Array::I64(values) => {
                    json.array(values, |json, v| json.any("intValue", |json| json.int(*v)))
                }
                Array::F64(values) => json.array(values, |json, v| {
                    json.any("doubleValue", |json| json.double(*v))
                }),
                Array::String(values) => json.array(values, |json, v: &StringValue| {
                    json.any("stringValue", |json| json.string(v.as_str()));
                }),
                other => json.array(core::iter::once(other.to_string()), |json, v| {
                    json.any("stringValue", |json| json.string(&v));
                }),
            }
        });
    }

    fn any(&mut self, kind: &str, value: impl FnOnce(&mut Self)) {
        self.object(|json| {
            json.key(kind);
            value(json);
        });
    }

    fn object(&mut self, fields: impl FnOnce(&mut Self)) {
        self.0.push('{');
        fields(self);
        self.0.push('}');
    }

    fn array<I: IntoIterator>(&mut self, items: I, mut item: impl FnMut(&mut Self, I::Item)) {
        self.0.push('[');
        for each in items {
            self.separate();
            item(self, each);
        }
        self.0.push(']');
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.string(key);
        self.0.push(':');
    }

    /// A comma, unless something begins here.
    fn separate(&mut self) {
        if !self.0.ends_with(['{', '[', ':']) && !self.0.is_empty() {
            self.0.push(',');
        }
    }

    fn string_field(&mut self, key: &str, value: &str) {
        self.key(key);
        self.string(value);
    }

    fn number_field(&mut self, key: &str, value: u32) {
        self.key(key);
        self.push(format_args!("{value}"));
    }

    fn time_field(&mut self, key: &str, time: SystemTime) {
        let nanos = time
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        self.key(key);
        self.push(format_args!("\"{nanos}\""));
    }

    fn bool(&mut self, value: bool) {
        self.push(format_args!("{value}"));
    }

    /// A 64-bit integer is a string in protobuf's JSON mapping, because a JSON number holds 53
    /// bits.
    fn int(&mut self, value: i64) {
        self.push(format_args!("\"{value}\""));
    }

    fn double(&mut self, value: f64) {
        if value.is_finite() {
            self.push(format_args!("{value:?}"));
        } else if value.is_nan() {
            self.string("NaN");
        } else {
            self.string(if value > 0.0 { "Infinity" } else { "-Infinity" });
        }
    }

    fn string(&mut self, value: &str) {
        self.0.push('"');
        for c in value.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                c if c.is_control() => self.push(format_args!("\\u{:04x}", u32::from(c))),
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        // a String takes everything
        let _ = self.0.write_fmt(text);
    }
}

const fn kind(kind: &SpanKind) -> u32 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}
