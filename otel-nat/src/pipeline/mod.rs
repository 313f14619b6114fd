//! Tracer providers ready for use, which never stand in the way of who emits.
//!
//! A [`Pipeline`] batches spans on a thread of its own and keeps an account of what became of them.
//! Handing a span over takes one place in a bounded queue or, where that is full, counts it as
//! dropped; it never waits. What exports over the network runs on a runtime of its own too, so
//! neither a busy runtime of the program nor one that is gone can hang it.
//!
//! ```
//! use nat_summary::Evidence;
//! use otel_nat::Reason;
//! use otel_nat::pipeline::Pipeline;
//!
//! let file = Vec::new(); // for a file on disk, `json_file`
//! let pipeline = Pipeline::builder().with_service_name("consumer").json_lines(file);
//! pipeline.telemetry().attempt().failed(&Evidence::new().summary(), Reason::Signalling);
//! pipeline.flush()?;
//! assert_eq!(pipeline.delivery().exported, 1);
//! # Ok::<(), otel_nat::pipeline::Undelivered>(())
//! ```
#![doc = ""]
#![doc = include_str!("../../docs/hazards.md")]

mod capture;
mod delivery;
mod json_lines;
mod lines;
#[cfg(any(feature = "otlp-http", feature = "otlp-grpc"))]
mod otlp;

use core::fmt;
use core::time::Duration;
use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanExporter,
};

use self::delivery::{Account, Counted, Counting};
use crate::Telemetry;

pub use self::capture::Capture;
pub use self::delivery::Delivery;
pub use self::json_lines::JsonLines;
#[cfg(any(feature = "otlp-http", feature = "otlp-grpc"))]
pub use self::otlp::OtlpError;

/// A tracer provider with a batch processor, and the account of what became of its spans.
///
/// Dropped, it shuts down and waits up to a second for what is still queued: a handle of an attempt
/// that outlives it then never finds itself waiting for a collector.
#[derive(Debug)]
pub struct Pipeline {
    provider: SdkTracerProvider,
    account: Arc<Account>,
}

impl Pipeline {
    /// How a pipeline shall be.
    pub fn builder() -> PipelineBuilder {
        PipelineBuilder::default()
    }

    /// Telemetry that ends here.
    #[must_use]
    pub fn telemetry(&self) -> Telemetry {
        Telemetry::new(self.provider.clone())
    }

    /// The provider, to be made global or handed to others. It shuts down with the pipeline.
    #[must_use]
    pub const fn provider(&self) -> &SdkTracerProvider {
        &self.provider
    }

    /// What became of the spans so far.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.account.read()
    }

    /// Exports what is queued. Waits up to five seconds: not for an async task.
    pub fn flush(&self) -> Result<(), Undelivered> {
        self.provider.force_flush().map_err(|_| Undelivered)
    }

    /// Exports what is queued and shuts down. Waits up to `within`: not for an async task.
    ///
    /// Unlike the provider's own shutdown, it says so if the last export failed.
    pub fn shutdown(&self, within: Duration) -> Result<(), Undelivered> {
        let lost = |delivery: Delivery| delivery.failed + delivery.dropped;
        let before = lost(self.delivery());
        let ended = self.provider.shutdown_with_timeout(within);
        let delivery = self.delivery();
        if ended.is_ok() && delivery.waiting == 0 && lost(delivery) == before {
            Ok(())
        } else {
            Err(Undelivered)
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // Err: it was shut down before, or a span is lost and counted
        let _ = self.provider.shutdown_with_timeout(Duration::from_secs(1));
    }
}

/// Some spans could not be exported, or not in time. [`Pipeline::delivery`] says how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undelivered;

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("some spans could not be exported")
    }
}

impl core::error::Error for Undelivered {}

/// How a [`Pipeline`] shall be. What is not said is as `OTEL_BSP_*` say, or else as the SDK has it.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct PipelineBuilder {
    service: Option<Cow<'static, str>>,
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

    /// The whole resource, in place of one made of the environment and the service name.
    pub fn with_resource(mut self, resource: Resource) -> Self {
        self.resource = Some(resource);
        self
    }

    /// Most spans that wait; what comes while they do is dropped and counted.
    pub fn with_queue(mut self, spans: usize) -> Self {
        self.queue = Some(spans);
        self
    }

    /// Most spans that go out together.
    pub fn with_batch(mut self, spans: usize) -> Self {
        self.batch = Some(spans);
        self
    }

    /// Longest a span waits for others to go out with.
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Longest one export over OTLP may take; ten seconds unless said.
    pub fn with_export_timeout(mut self, timeout: Duration) -> Self {
        self.export_timeout = Some(timeout);
        self
    }

    /// Keeps each span in `capture` too, as it was emitted. For tests: nothing bounds it.
    pub fn with_capture(mut self, capture: &Capture) -> Self {
        self.capture = Some(capture.clone());
        self
    }

    /// Batches to `exporter`. It is polled on a thread that belongs to no runtime: one that needs
    /// tokio panics there, and its panic is counted as a failure.
    #[must_use]
    pub fn export_to<E: SpanExporter + 'static>(self, exporter: E) -> Pipeline {
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
        let batches = BatchSpanProcessor::builder(Counting::new(exporter, Arc::clone(&account)))
            .with_batch_config(config.build())
            .build();
        let resource = self.resource.unwrap_or_else(|| {
            let resource = Resource::builder();
            match self.service {
                Some(name) => resource.with_service_name(name).build(),
                None => resource.build(),
            }
        });
        let mut provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_span_processor(Counted::new(batches, Arc::clone(&account)));
        if let Some(capture) = &self.capture {
            provider = provider.with_span_processor(capture.processor());
        }
        let provider = provider.build();
        Pipeline { provider, account }
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
}

/// The account has to know the size of the queue, and the SDK keeps to itself what it read.
fn queue_of_environment() -> usize {
    std::env::var("OTEL_BSP_MAX_QUEUE_SIZE")
        .ok()
        .and_then(|size| size.parse().ok())
        .unwrap_or(2_048)
}
