//! Tracer providers ready for use, which never make the program wait.
//!
//! A [`Pipeline`] batches spans on a thread of its own and keeps an account of them. Emitting a
//! span takes one place in a bounded queue; a span for which the queue has no place is counted as
//! dropped. An exporter that needs the network runs on a runtime of its own as well, so a busy or
//! ended runtime of the program cannot hang it.
//!
//! ```
//! use nat_summary::Evidence;
//! use otel_nat::FailureReason;
//! use otel_nat::pipeline::Pipeline;
//!
//! let file = Vec::new(); // for a file on disk, `json_file`
//! let pipeline = Pipeline::builder().with_service_name("consumer").json_lines(file);
//! pipeline.telemetry().attempt().fail(&Evidence::new().summary(), FailureReason::Signalling);
//! pipeline.flush()?;
//! assert_eq!(pipeline.delivery().exported, 1);
//! # Ok::<(), otel_nat::pipeline::Undelivered>(())
//! ```
#![doc = ""]
#![doc = include_str!("../../docs/hazards.md")]

mod account;
mod capture;
mod failure;
mod json_lines;
mod lines;
#[cfg(all(feature = "metrics", any(feature = "otlp-http", feature = "otlp-grpc")))]
mod meters;
#[cfg(any(feature = "otlp-http", feature = "otlp-grpc"))]
mod otlp;

use core::fmt;
use core::time::Duration;
use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanExporter,
};

use self::account::{Account, AccountingExporter, AdmittingProcessor, LastFailure};
#[cfg(any(feature = "otlp-http", feature = "otlp-grpc"))]
use self::otlp::OnOwnRuntime;
use crate::telemetry::Telemetry;

pub use self::account::Delivery;
pub use self::capture::Capture;
pub use self::failure::ExportFailure;
pub use self::json_lines::JsonLines;
#[cfg(all(feature = "metrics", any(feature = "otlp-http", feature = "otlp-grpc")))]
pub use self::meters::MetricsPipeline;
#[cfg(any(feature = "otlp-http", feature = "otlp-grpc"))]
pub use self::otlp::OtlpError;

/// OTLP's own default.
#[cfg(any(feature = "otlp-http", feature = "otlp-grpc"))]
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// A tracer provider with a batch processor, and the account of its spans.
///
/// Dropped, a pipeline shuts down and waits up to a second for the spans that are still queued, so
/// that an attempt that outlives the pipeline never waits for a collector.
#[derive(Debug)]
pub struct Pipeline {
    provider: SdkTracerProvider,
    account: Arc<Account>,
}

impl Pipeline {
    /// A builder with the settings of the environment.
    pub fn builder() -> PipelineBuilder {
        PipelineBuilder::default()
    }

    /// Telemetry whose spans go through this pipeline.
    #[must_use]
    pub fn telemetry(&self) -> Telemetry {
        Telemetry::new(self.provider.clone())
    }

    /// The provider, to be made global or handed to others. It shuts down with the pipeline.
    #[must_use]
    pub const fn provider(&self) -> &SdkTracerProvider {
        &self.provider
    }

    /// The spans so far, counted by outcome.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.account.read()
    }

    /// Why the latest export that failed did; `None` if none failed yet.
    #[must_use]
    pub fn last_failure(&self) -> Option<ExportFailure> {
        self.account.failure()
    }

    /// Exports the queued spans. Blocks for up to five seconds, so an async task must not call it.
    pub fn flush(&self) -> Result<(), Undelivered> {
        self.provider.force_flush().map_err(|_| self.undelivered())
    }

    /// Exports the queued spans and shuts down. Blocks for up to `within`, so an async task must
    /// not call it.
    ///
    /// Unlike the provider's own shutdown, this one returns an error if the last export failed.
    pub fn shutdown(&self, within: Duration) -> Result<(), Undelivered> {
        let lost = |delivery: Delivery| delivery.failed + delivery.dropped;
        let before = lost(self.delivery());
        let ended = self.provider.shutdown_with_timeout(within);
        let delivery = self.delivery();
        if ended.is_ok() && delivery.waiting == 0 && lost(delivery) == before {
            Ok(())
        } else {
            Err(self.undelivered())
        }
    }
}

impl Pipeline {
    fn undelivered(&self) -> Undelivered {
        Undelivered {
            cause: self.last_failure(),
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // an error: the provider was shut down before, or a span is lost and counted
        let _ = self.provider.shutdown_with_timeout(Duration::from_secs(1));
    }
}

/// Some spans could not be exported, or not in time. [`Pipeline::delivery`] counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undelivered {
    /// Why the latest export failed; `None` if spans were dropped, or time ran out, and no export
    /// failed.
    pub cause: Option<ExportFailure>,
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("some spans could not be exported")?;
        match self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Undelivered {}

/// The settings of a [`Pipeline`]. A setting that is not made is taken from `OTEL_BSP_*`, or else
/// is the SDK's default.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct PipelineBuilder {
    service: Option<Cow<'static, str>>,
    version: Option<Cow<'static, str>>,
    resource: Option<Resource>,
    queue: Option<usize>,
    batch: Option<usize>,
    delay: Option<Duration>,
    export_timeout: Option<Duration>,
    capture: Option<Capture>,
}

impl PipelineBuilder {
    /// The resource attribute `service.name`.
    pub fn with_service_name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.service = Some(name.into());
        self
    }

    /// The resource attribute `service.version`.
    pub fn with_service_version(mut self, version: impl Into<Cow<'static, str>>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// The whole resource, in place of the one made of the environment, the service name and the
    /// service version.
    pub fn with_resource(mut self, resource: Resource) -> Self {
        self.resource = Some(resource);
        self
    }

    /// Most spans that wait; further ones are dropped and counted.
    pub fn with_queue(mut self, spans: usize) -> Self {
        self.queue = Some(spans);
        self
    }

    /// Most spans that go out together.
    pub fn with_batch(mut self, spans: usize) -> Self {
        self.batch = Some(spans);
        self
    }

    /// Longest time that a span waits for others to go out with.
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Longest time that one export over OTLP may take; ten seconds by default.
    pub fn with_export_timeout(mut self, timeout: Duration) -> Self {
        self.export_timeout = Some(timeout);
        self
    }

    /// Keeps each span in `capture` as well, as it was emitted. For tests, because the size of a
    /// capture is not bounded.
    pub fn with_capture(mut self, capture: &Capture) -> Self {
        self.capture = Some(capture.clone());
        self
    }

    /// Batches to `exporter`, which is polled on a thread that belongs to no runtime. An exporter
    /// that needs tokio panics there, and the panic is counted as a failure.
    #[must_use]
    pub fn export_to<E: SpanExporter + 'static>(self, exporter: E) -> Pipeline {
        self.export_explained(exporter, LastFailure::default())
    }

    /// The same, with the place where the exporter notes failures that its errors do not show.
    fn export_explained<E: SpanExporter + 'static>(
        self,
        exporter: E,
        seen: LastFailure,
    ) -> Pipeline {
        let account = Arc::new(Account::new(
            self.queue.unwrap_or_else(queue_of_environment),
        ));
        let mut config = BatchConfigBuilder::default().with_max_queue_size(account.room());
        if let Some(batch) = self.batch {
            config = config.with_max_export_batch_size(batch);
        }
        if let Some(delay) = self.delay {
            config = config.with_scheduled_delay(delay);
        }
        let batches = BatchSpanProcessor::builder(AccountingExporter::new(
            exporter,
            Arc::clone(&account),
            seen,
        ))
        .with_batch_config(config.build())
        .build();
        let capture = self.capture.clone();
        let mut provider = SdkTracerProvider::builder()
            .with_resource(self.into_resource())
            .with_span_processor(AdmittingProcessor::new(batches, Arc::clone(&account)));
        if let Some(capture) = &capture {
            provider = provider.with_span_processor(capture.processor());
        }
        let provider = provider.build();
        Pipeline { provider, account }
    }

    fn into_resource(self) -> Resource {
        self.resource.unwrap_or_else(|| {
            let mut resource = Resource::builder();
            if let Some(name) = self.service {
                resource = resource.with_service_name(name);
            }
            if let Some(version) = self.version {
                resource = resource.with_attribute(KeyValue::new("service.version", version));
            }
            resource.build()
        })
    }

    /// Batches to the end of this file as OTLP/JSON, one line each: see [`JsonLines::append`].
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn json_file(self, path: impl AsRef<Path>) -> io::Result<Pipeline> {
        JsonLines::append(path).map(|lines| self.export_to(lines))
    }

    /// Batches to `writer` as OTLP/JSON, one line each: see [`JsonLines`].
    #[must_use]
    pub fn json_lines<W: Write + Send + 'static>(self, writer: W) -> Pipeline {
        self.export_to(JsonLines::new(writer))
    }

    /// Batches over OTLP/HTTP with protobuf bodies to `endpoint`, such as
    /// `http://127.0.0.1:4318/v1/traces`; without an endpoint, to the one in
    /// `OTEL_EXPORTER_OTLP_*`. Plain HTTP only: for TLS give [`export_to`](Self::export_to) an
    /// exporter, or send to a collector on the same host.
    #[cfg(feature = "otlp-http")]
    pub fn otlp_http(self, endpoint: Option<&str>) -> Result<Pipeline, OtlpError> {
        let timeout = self.export_timeout.unwrap_or(EXPORT_TIMEOUT);
        let seen = LastFailure::default();
        let exporter = OnOwnRuntime::http(endpoint, timeout, seen.clone())?;
        Ok(self.export_explained(exporter, seen))
    }

    /// Batches over OTLP/gRPC to `endpoint`, such as `http://127.0.0.1:4317`; without an endpoint,
    /// to the one in `OTEL_EXPORTER_OTLP_*`. Without TLS: for that give
    /// [`export_to`](Self::export_to) an exporter, or send to a collector on the same host.
    #[cfg(feature = "otlp-grpc")]
    pub fn otlp_grpc(self, endpoint: Option<&str>) -> Result<Pipeline, OtlpError> {
        let timeout = self.export_timeout.unwrap_or(EXPORT_TIMEOUT);
        let exporter = OnOwnRuntime::grpc(endpoint, timeout)?;
        Ok(self.export_to(exporter))
    }
}

/// The size of the SDK's queue. It is read from the environment here, because the SDK does not
/// return it.
fn queue_of_environment() -> usize {
    std::env::var("OTEL_BSP_MAX_QUEUE_SIZE")
        .ok()
        .and_then(|size| size.parse().ok())
        .unwrap_or(2_048)
}
