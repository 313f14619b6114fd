//! The JSON lines against OTLP's own definition: each line must read back as the same request in
//! protobuf.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Link, Span, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::trace::{SpanBuilder, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, Value};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use otel_nat::FailureReason;
use otel_nat::pipeline::{Capture, JsonLines, Pipeline};

use crate::host;

/// A writer that can be read.
#[derive(Clone, Default)]
pub(crate) struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn resource() -> Resource {
    Resource::builder_empty()
        .with_attribute(KeyValue::new("service.name", "consumer"))
        .with_attribute(KeyValue::new("service.instances", 3))
        .with_schema_url(
            [KeyValue::new("region", "x")],
            "https://example.org/schema/1",
        )
        .build()
}

/// The request for `spans` in protobuf, sorted.
fn expected(spans: Vec<SpanData>) -> ExportTraceServiceRequest {
    sorted(ExportTraceServiceRequest {
        resource_spans: group_spans_by_resource_and_scope(spans, &(&resource()).into()),
    })
}

fn sorted(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    for resource in &mut request.resource_spans {
        resource
            .resource
            .as_mut()
            .unwrap()
            .attributes
            .sort_by(|a, b| a.key.cmp(&b.key));
        resource
            .scope_spans
            .sort_by_key(|scope| scope.scope.as_ref().unwrap().name.clone());
    }
    request
}

/// The request that the line for `spans` holds, sorted.
fn written(spans: Vec<SpanData>) -> ExportTraceServiceRequest {
    let page = Page::default();
    let mut exporter = JsonLines::new(page.clone());
    exporter.set_resource(&resource());
    assert!(export(&exporter, spans));
    let text = page.text();
    assert_eq!(text.matches('\n').count(), 1, "one batch, one line");
    sorted(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

#[test]
fn spans_of_every_kind_read_back_as_protobuf_would_have_carried_them() {
    let capture = Capture::new();
    for (_, summary) in host::every_kind() {
        capture.telemetry().attempt().succeed(&summary);
        capture
            .telemetry()
            .with_scope("elsewhere")
            .attempt()
            .fail(&summary, FailureReason::Timeout);
    }
    let mut spans = capture.spans();
    spans.sort_by_key(|span| span.instrumentation_scope.name().to_owned());
    assert_eq!(written(spans.clone()), expected(spans));
}

/// A span that uses all there is, as other parts of a program may put through the same pipeline.
fn baroque(provider: &SdkTracerProvider) {
    let state = TraceState::from_key_value([("vendor", "a b")]).unwrap();
    let remote = SpanContext::new(
        TraceId::from(7),
        SpanId::from(8),
        TraceFlags::SAMPLED,
        true,
        state,
    );
    let scope = InstrumentationScope::builder("all")
        .with_schema_url("https://example.org/schema/2")
        .with_attributes([KeyValue::new("a", 1)])
        .build();
    let tracer = provider.tracer_with_scope(scope);
    let strange = "quote \" backslash \\ slash / tab \t newline \n bell \u{7} next \u{85} emoji \u{1f980} nul \0";
    let attributes = vec![
        KeyValue::new(strange, strange),
        KeyValue::new("bool", false),
        KeyValue::new("int", i64::MIN),
        KeyValue::new("double", 0.1 + 0.2),
        KeyValue::new("large", 1e300),
        KeyValue::new("whole", 3.0),
        KeyValue::new("bools", Value::Array(Array::Bool(vec![true, false]))),
        KeyValue::new("ints", Value::Array(Array::I64(vec![1, -2]))),
        KeyValue::new("doubles", Value::Array(Array::F64(vec![1.5]))),
        KeyValue::new(
            "strings",
            Value::Array(Array::String(vec!["x".into(), strange.into()])),
        ),
        KeyValue::new("none", Value::Array(Array::I64(Vec::new()))),
    ];
    for kind in [
        SpanKind::Client,
        SpanKind::Server,
        SpanKind::Producer,
        SpanKind::Consumer,
        SpanKind::Internal,
    ] {
        for status in [Status::Unset, Status::Ok, Status::error("it \"broke\"")] {
            let builder = SpanBuilder::from_name(Cow::Borrowed("all"))
                .with_kind(kind.clone())
                .with_attributes(attributes.clone())
                .with_links(vec![Link::new(remote.clone(), attributes.clone(), 2)]);
            let parent = Context::new().with_remote_span_context(remote.clone());
            let mut span = tracer.build_with_context(builder, &parent);
            let when = SystemTime::now() - Duration::from_secs(1);
            span.add_event_with_timestamp("event", when, attributes.clone());
            span.set_status(status);
            span.end();
        }
    }
}

#[test]
fn a_span_that_uses_all_there_is_reads_back_too() {
    let capture = Capture::new();
    baroque(capture.provider());
    let spans = capture.spans();
    assert_eq!(spans.len(), 15);
    assert_eq!(written(spans.clone()), expected(spans));
}

#[test]
fn a_file_holds_one_line_per_batch_and_every_span_once() {
    let page = Page::default();
    let pipeline = Pipeline::builder()
        .with_service_name("consumer")
        .with_batch(2)
        .json_lines(page.clone());
    for _ in 0..5 {
        pipeline.telemetry().attempt().succeed(&host::cone());
    }
    pipeline.shutdown(Duration::from_secs(5)).unwrap();
    let mut ids = Vec::new();
    for line in page.text().lines() {
        let request: ExportTraceServiceRequest = serde_json::from_str(line).unwrap();
        assert!(format!("{:?}", request.resource_spans[0].resource).contains("consumer"));
        ids.extend(
            request.resource_spans[0].scope_spans[0]
                .spans
                .iter()
                .map(|span| span.span_id.clone()),
        );
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
    assert_eq!(pipeline.delivery().exported, 5);
}

/// A disk that is full once, after so many bytes, and has room again after that error.
#[derive(Clone, Default)]
struct FullOnce {
    page: Page,
    room: Option<usize>,
}

impl std::io::Write for FullOnce {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.room {
            Some(0) => {
                self.room = None;
                Err(std::io::ErrorKind::StorageFull.into())
            }
            Some(room) => {
                let fits = bytes.len().min(*room);
                *room -= fits;
                self.page.write(&bytes[..fits])
            }
            None => self.page.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether this batch is exported.
fn export(exporter: &impl SpanExporter, batch: Vec<SpanData>) -> bool {
    let ready = std::pin::pin!(exporter.export(batch));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match ready.poll(&mut context) {
        std::task::Poll::Ready(result) => result.is_ok(),
        std::task::Poll::Pending => panic!("writing needs no waiting"),
    }
}

/// Spans on lines that read as OTLP.
fn readable(text: &str) -> u64 {
    let requests = text
        .lines()
        .filter_map(|line| serde_json::from_str::<ExportTraceServiceRequest>(line).ok());
    requests
        .flat_map(|request| request.resource_spans)
        .flat_map(|resource| resource.scope_spans)
        .map(|scope| scope.spans.len() as u64)
        .sum()
}

#[test]
fn wherever_a_disk_is_full_every_exported_batch_is_readable_and_no_other() {
    let capture = Capture::new();
    capture.telemetry().attempt().succeed(&host::cone());
    let batch = capture.spans();
    let whole = Page::default();
    assert!(export(&JsonLines::new(whole.clone()), batch.clone()));
    let length = whole.text().len();
    for room in 0..=2 * length {
        let page = Page::default();
        let disk = FullOnce {
            page: page.clone(),
            room: Some(room),
        };
        let exporter = JsonLines::new(disk);
        let exported = (0..4).filter(|_| export(&exporter, batch.clone())).count();
        assert_eq!(readable(&page.text()), exported as u64, "{room}");
        assert!(exported >= 3, "{room}: only the torn one is lost");
        assert!(!page.text().contains("\n\n"), "{room}: no empty line");
        assert!(page.text().ends_with('\n'), "{room}");
    }
}

#[test]
fn a_line_that_an_earlier_process_tore_is_ended_first() {
    let path = std::env::temp_dir().join(format!("torn-{}.jsonl", std::process::id()));
    let emit = || {
        let pipeline = Pipeline::builder().json_file(&path).unwrap();
        pipeline.telemetry().attempt().succeed(&host::cone());
        pipeline.shutdown(Duration::from_secs(5)).unwrap();
    };
    let read = || std::fs::read_to_string(&path).unwrap();
    emit();
    let whole = read();
    assert_eq!((readable(&whole), whole.lines().count()), (1, 1));
    emit();
    assert_eq!((readable(&read()), read().lines().count()), (2, 2));
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    emit();
    assert_eq!((readable(&read()), read().lines().count()), (1, 2));
    // all of it, without its break: it counts as well
    std::fs::write(&path, whole.trim_end()).unwrap();
    emit();
    assert_eq!((readable(&read()), read().lines().count()), (2, 2));
    std::fs::remove_file(&path).unwrap();
}

/// Runs the test `inner` of this file alone with a view of the file system of its own, or prints
/// why not where that cannot be had.
#[cfg(target_os = "linux")]
fn alone(inner: &str) {
    use std::process::Command;
    let own = ["--map-root-user", "--mount"];
    let may = Command::new("unshare").args(own).arg("true").output();
    if !may.is_ok_and(|output| output.status.success()) {
        println!("skipped: no view of the file system can be made here");
        return;
    }
    let output = Command::new("unshare")
        .args(own)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", inner, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_costs_what_did_not_fit_and_nothing_after_it() {
    alone("json_lines::inner_full_disk");
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "mounts a small disk: only with a view of its own"]
fn inner_full_disk() {
    // over a folder that is there, so that no folder stays behind
    let disk = std::env::temp_dir();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "none"])
        .arg(&disk)
        .status();
    assert!(mounted.unwrap().success());
    let (file, ballast) = (disk.join("spans.jsonl"), disk.join("ballast"));
    std::fs::write(&ballast, [0; 32 * 1024]).unwrap();
    // two programs, as two releases of one would be, and a writer that was opened by hand
    let open = || {
        std::fs::File::options()
            .append(true)
            .create(true)
            .open(&file)
    };
    let builder = || Pipeline::builder().with_batch(1);
    let pipelines = [
        builder().json_file(&file).unwrap(),
        builder().json_file(&file).unwrap(),
        builder().json_lines(open().unwrap()),
    ];
    let emit = |attempts: usize, pipelines: &[Pipeline]| {
        for _ in 0..attempts {
            for pipeline in pipelines {
                pipeline.telemetry().attempt().succeed(&host::cone());
                // an error: the disk is full
                let _ = pipeline.flush();
            }
        }
    };
    let account = || {
        let deliveries = pipelines.each_ref().map(Pipeline::delivery);
        let exported: u64 = deliveries.iter().map(|delivery| delivery.exported).sum();
        let failed: u64 = deliveries.iter().map(|delivery| delivery.failed).sum();
        (exported, failed)
    };
    emit(40, &pipelines[..1]);
    let (exported, failed) = account();
    assert!(exported > 5 && failed > 5, "{exported}, {failed}");
    let text = || std::fs::read_to_string(&file).unwrap();
    assert!(!text().ends_with('\n'), "it is torn");
    assert_eq!(readable(&text()), exported);
    std::fs::remove_file(&ballast).unwrap();
    emit(5, &pipelines[..2]);
    let (after, still_failed) = account();
    assert_eq!((after, still_failed), (exported + 10, failed));
    assert_eq!(readable(&text()), after);
    // full once more, by a writer that is opened by hand, and mended by itself
    std::fs::write(&ballast, [0; 4 * 1024]).unwrap();
    emit(40, &pipelines[2..]);
    std::fs::remove_file(&ballast).unwrap();
    emit(2, &pipelines[2..]);
    let (all, _) = account();
    assert!(all > after + 2, "{all}, {after}");
    assert_eq!(readable(&text()), all);
}
