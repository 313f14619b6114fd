//! The OTLP exporters, on a runtime of their own.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

#[cfg(feature = "otlp-http")]
use core::pin::Pin;

use opentelemetry::Context;
#[cfg(feature = "otlp-http")]
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, hyper::HyperClient};
#[cfg(feature = "metrics")]
use opentelemetry_otlp::MetricExporter;
#[cfg(feature = "otlp-http")]
use opentelemetry_otlp::WithHttpConfig as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
#[cfg(feature = "metrics")]
use opentelemetry_sdk::metrics::{
    Temporality, data::ResourceMetrics, exporter::PushMetricExporter as _,
};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::{Builder, Runtime};

#[cfg(feature = "otlp-http")]
use super::{account::LastFailure, failure::ExportFailure};

/// Why an OTLP pipeline could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtlpError {
    /// The endpoint, or a setting of the environment, cannot be used.
    Configuration,
    /// The system has no thread left for the runtime.
    Runtime,
}

impl fmt::Display for OtlpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configuration => "the OTLP endpoint or its environment cannot be used",
            Self::Runtime => "no runtime for the OTLP exporter",
        })
    }
}

impl core::error::Error for OtlpError {}

/// A client that records why a request failed, because the exporter above it reports only that it
/// failed.
#[cfg(feature = "otlp-http")]
#[derive(Debug)]
struct Explained {
    inner: HyperClient,
    seen: LastFailure,
}

#[cfg(feature = "otlp-http")]
impl Explained {
    fn new(timeout: Duration, seen: LastFailure) -> Self {
        let inner = HyperClient::with_default_connector(timeout, None);
        Self { inner, seen }
    }
}

#[cfg(feature = "otlp-http")]
impl HttpClient for Explained {
    // as `async_trait` writes it
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let result = self.inner.send_bytes(request).await;
            match &result {
                Ok(response) if response.status().is_success() => {}
                Ok(response) => {
                    let status = response.status().as_u16();
                    self.seen.set(ExportFailure::Status(status));
                }
                Err(error) => self.seen.set(ExportFailure::of_chain(&**error)),
            }
            result
        })
    }
}

/// An exporter that needs tokio, with a runtime and a thread of its own, which no other task can
/// block or end.
pub(super) struct OnOwnRuntime<E = OtlpExporter> {
    exporter: Arc<E>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    timeout: Duration,
}

impl OnOwnRuntime {
    #[cfg(feature = "otlp-http")]
    pub(super) fn http(
        endpoint: Option<&str>,
        timeout: Duration,
        seen: LastFailure,
    ) -> Result<Self, OtlpError> {
        Self::new(timeout, || {
            let builder = OtlpExporter::builder().with_http().with_timeout(timeout);
            let mut builder = builder.with_http_client(Explained::new(timeout, seen));
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            builder
                .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                .build()
        })
    }

    #[cfg(feature = "otlp-grpc")]
    pub(super) fn grpc(endpoint: Option<&str>, timeout: Duration) -> Result<Self, OtlpError> {
        Self::new(timeout, || {
            let mut builder = OtlpExporter::builder().with_tonic().with_timeout(timeout);
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            builder.build()
        })
    }
}

impl<E> OnOwnRuntime<E> {
    fn new(
        timeout: Duration,
        build: impl FnOnce() -> Result<E, ExporterBuildError>,
    ) -> Result<Self, OtlpError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("otel-nat-otlp")
            // spans of the exporter's own stack would otherwise be exported by it, for ever
            .on_thread_start(|| core::mem::forget(Context::enter_telemetry_suppressed_scope()))
            .enable_all()
            .build()
            .map_err(|_| OtlpError::Runtime)?;
        let exporter = {
            let _within = runtime.enter();
            build().map_err(|_| OtlpError::Configuration)
        };
        match exporter {
            Ok(exporter) => Ok(Self {
                exporter: Arc::new(exporter),
                runtime: Some(runtime),
                timeout,
            }),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }
}

impl<E> Drop for OnOwnRuntime<E> {
    fn drop(&mut self) {
        // a runtime that is merely dropped waits, and panics where waiting is not allowed
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl<E> fmt::Debug for OnOwnRuntime<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnOwnRuntime")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "metrics")]
impl OnOwnRuntime<MetricExporter> {
    #[cfg(feature = "otlp-http")]
    pub(super) fn http_metrics(
        endpoint: Option<&str>,
        timeout: Duration,
        seen: LastFailure,
    ) -> Result<Self, OtlpError> {
        Self::new(timeout, || {
            let builder = MetricExporter::builder().with_http().with_timeout(timeout);
            let mut builder = builder.with_http_client(Explained::new(timeout, seen));
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            builder
                .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                .build()
        })
    }

    #[cfg(feature = "otlp-grpc")]
    pub(super) fn grpc_metrics(
        endpoint: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, OtlpError> {
        Self::new(timeout, || {
            let mut builder = MetricExporter::builder().with_tonic().with_timeout(timeout);
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            builder.build()
        })
    }

    /// Exports on the calling thread, which belongs to no runtime: the SDK has one for it, and
    /// lends the metrics to it.
    pub(super) fn export_metrics(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let Some(runtime) = &self.runtime else {
            return Err(OTelSdkError::AlreadyShutdown);
        };
        let export = self.exporter.export(metrics);
        let exported = runtime.block_on(async { tokio::time::timeout(self.timeout, export).await });
        exported.unwrap_or(Err(OTelSdkError::Timeout(self.timeout)))
    }

    pub(super) fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

impl SpanExporter for OnOwnRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let Some(runtime) = &self.runtime else {
            return Err(OTelSdkError::AlreadyShutdown);
        };
        let (exporter, timeout) = (Arc::clone(&self.exporter), self.timeout);
        // the exporter's own timeout does not cover every stage of a connection
        let exporting = runtime
            .spawn(async move { tokio::time::timeout(timeout, exporter.export(batch)).await });
        match exporting.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(OTelSdkError::Timeout(timeout)),
            Err(_) => Err(OTelSdkError::InternalFailure("exporter panicked".into())),
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        // set once, before the first export, while no export holds the exporter
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

#[cfg(all(test, feature = "otlp-http"))]
mod tests {
    use core::time::Duration;

    use super::{LastFailure, OnOwnRuntime};

    #[test]
    fn an_exporter_can_be_dropped_where_no_runtime_may_be() {
        let exporter =
            OnOwnRuntime::http(None, Duration::from_secs(10), LastFailure::default()).unwrap();
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async move { drop(exporter) });
    }
}
