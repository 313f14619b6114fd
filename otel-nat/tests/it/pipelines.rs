//! Pipelines keep their accounts, whatever their exporter does.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use otel_nat::pipeline::{Capture, Delivery, Pipeline};

use crate::host;

fn counts(delivery: Delivery) -> [u64; 4] {
    [
        delivery.waiting,
        delivery.exported,
        delivery.failed,
        delivery.dropped,
    ]
}

/// An exporter that reports each batch to the test, and returns the result that the test sends.
#[derive(Debug)]
struct Told {
    batch: Sender<usize>,
    told: Mutex<Receiver<OTelSdkResult>>,
}

impl SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.batch.send(batch.len()).unwrap();
        self.told.lock().unwrap().recv().unwrap_or(Ok(()))
    }
}

fn told() -> (Told, Receiver<usize>, Sender<OTelSdkResult>) {
    let ((batch, batches), (tell, told)) = (channel(), channel());
    (
        Told {
            batch,
            told: Mutex::new(told),
        },
        batches,
        tell,
    )
}

fn emit(pipeline: &Pipeline, spans: usize) {
    let telemetry = pipeline.telemetry();
    for _ in 0..spans {
        telemetry.attempt().succeed(&host::cone());
    }
}

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_capture_beside_an_exporter_keeps_what_it_was_given() {
    let (other, capture) = (Capture::new(), Capture::new());
    let (exporter, _batches, tell) = told();
    drop(tell);
    let pipeline = Pipeline::builder()
        .with_capture(&capture)
        .export_to(exporter);
    emit(&pipeline, 3);
    pipeline.flush().unwrap();
    assert_eq!(counts(pipeline.delivery()), [0, 3, 0, 0]);
    assert_eq!(capture.spans().len(), 3);
    assert!(other.spans().is_empty(), "one capture is not another");
}

#[test]
fn a_full_queue_drops_counts_and_does_not_wait() {
    let (exporter, batches, tell) = told();
    let pipeline = Pipeline::builder()
        .with_queue(8)
        .with_batch(4)
        .export_to(exporter);
    emit(&pipeline, 4);
    assert_eq!(
        batches.recv_timeout(SOON),
        Ok(4),
        "a full batch goes at once"
    );
    // four on their way out hold their places: they may yet be lost
    emit(&pipeline, 10);
    assert_eq!(counts(pipeline.delivery()), [8, 0, 0, 6]);
    for _ in 0..2 {
        tell.send(Ok(())).unwrap();
    }
    pipeline.flush().unwrap();
    assert_eq!(counts(pipeline.delivery()), [0, 8, 0, 6]);
    drop(tell);
}

#[test]
fn a_failed_export_is_counted_and_told_of_without_the_exporters_words() {
    let (exporter, _batches, tell) = told();
    let pipeline = Pipeline::builder().export_to(exporter);
    emit(&pipeline, 3);
    tell.send(Err(OTelSdkError::InternalFailure(
        "no route to 203.0.113.7".into(),
    )))
    .unwrap();
    let error = pipeline.provider().force_flush().unwrap_err();
    assert!(
        !format!("{error} {error:?}").contains("203.0.113.7"),
        "{error:?}"
    );
    assert_eq!(counts(pipeline.delivery()), [0, 0, 3, 0]);
    drop(tell);
}

#[test]
fn shutting_down_says_so_if_the_last_export_failed() {
    let (exporter, _batches, tell) = told();
    let pipeline = Pipeline::builder().export_to(exporter);
    emit(&pipeline, 1);
    tell.send(Err(OTelSdkError::InternalFailure(String::new())))
        .unwrap();
    assert!(pipeline.shutdown(SOON).is_err());
    assert_eq!(counts(pipeline.delivery()), [0, 0, 1, 0]);

    let (exporter, _batches, tell) = told();
    let pipeline = Pipeline::builder().export_to(exporter);
    emit(&pipeline, 1);
    tell.send(Ok(())).unwrap();
    assert!(pipeline.shutdown(SOON).is_ok());
    assert_eq!(counts(pipeline.delivery()), [0, 1, 0, 0]);
    emit(&pipeline, 1);
    assert_eq!(
        counts(pipeline.delivery()),
        [0, 1, 0, 0],
        "and later spans are none of its business"
    );
}

#[derive(Debug)]
struct PanicsOnce(std::sync::atomic::AtomicBool);

impl SpanExporter for PanicsOnce {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        if !self.0.swap(true, std::sync::atomic::Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new("broken"));
        }
        Ok(())
    }
}

#[test]
fn a_panic_in_an_exporter_loses_its_batch_and_no_other() {
    let pipeline = Pipeline::builder().export_to(PanicsOnce(false.into()));
    emit(&pipeline, 2);
    assert!(pipeline.flush().is_err());
    emit(&pipeline, 3);
    pipeline.flush().unwrap();
    assert_eq!(counts(pipeline.delivery()), [0, 3, 2, 0]);
}

#[test]
fn an_attempt_that_outlives_its_pipeline_waits_for_nothing() {
    let (exporter, _batches, tell) = told();
    let pipeline = Pipeline::builder().export_to(exporter);
    emit(&pipeline, 1); // which the exporter never comes to an end with
    let attempt = pipeline.telemetry().attempt();
    let begun = Instant::now();
    drop(pipeline);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "dropping is bounded"
    );
    let begun = Instant::now();
    attempt.succeed(&host::cone());
    assert!(begun.elapsed() < Duration::from_millis(500));
    drop(tell);
}

#[test]
fn many_threads_lose_no_count() {
    let (exporter, _batches, tell) = told();
    drop(tell); // everything succeeds
    let pipeline = Arc::new(Pipeline::builder().with_queue(64).export_to(exporter));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let pipeline = Arc::clone(&pipeline);
            std::thread::spawn(move || emit(&pipeline, 500))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    pipeline.flush().unwrap();
    let [waiting, exported, failed, dropped] = counts(pipeline.delivery());
    assert_eq!((waiting, failed, exported + dropped), (0, 0, 2_000));
}

#[test]
fn a_capture_keeps_spans_in_order() {
    let capture = Capture::new();
    capture.telemetry().attempt().succeed(&host::cone());
    capture
        .clone()
        .telemetry()
        .attempt()
        .fail(&host::blocked(), otel_nat::FailureReason::UdpBlocked);
    let names: Vec<_> = capture.spans().into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["nat_success", "nat_failure"]);
}
