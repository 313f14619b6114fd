//! OTLP over the network, on a runtime of its own.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::{Builder, Runtime};

use super::{Pipeline, PipelineBuilder};

/// OTLP's own default.
const TIMEOUT: Duration = Duration::from_secs(10);

impl PipelineBuilder {
    /// Batches over OTLP/HTTP with protobuf bodies to `endpoint`, such as `http://127.0.0.1:4318/v1/traces`; without one,
    /// to where `OTEL_EXPORTER_OTLP_*` say. Plain HTTP only: for TLS give
    /// [`export_to`](Self::export_to) an exporter, or send to a collector on the same host.
    #[cfg(feature = "otlp-http")]
    pub fn otlp_http(self, endpoint: Option<&str>) -> Result<Pipeline, OtlpError> {
        let timeout = self.export_timeout.unwrap_or(TIMEOUT);
        let exporter = Elsewhere::new(timeout, || {
            let mut builder = OtlpExporter::builder().with_http().with_timeout(timeout);
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            builder
                .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                .build()
        })?;
        Ok(self.export_to(exporter))
    }

    /// Batches over OTLP/gRPC to `endpoint`, such as `http://127.0.0.1:4317`; without one, to where `OTEL_EXPORTER_OTLP_*`
    /// say. Without TLS: for that give [`export_to`](Self::export_to) an exporter, or send to a
    /// collector on the same host.
    #[cfg(feature = "otlp-grpc")]
    pub fn otlp_grpc(self, endpoint: Option<&str>) -> Result<Pipeline, OtlpError> {
        let timeout = self.export_timeout.unwrap_or(TIMEOUT);
        let exporter = Elsewhere::new(timeout, || {
            let mut builder = OtlpExporter::builder().with_tonic().with_timeout(timeout);
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            builder.build()
        })?;
        Ok(self.export_to(exporter))
    }
}

/// Why there is no OTLP pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtlpError {
    /// The endpoint, or what the environment says of it, cannot be.
    Configuration,
    /// The system gave no thread for the runtime.
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

/// An exporter that needs tokio, where tokio is sure to be: on a thread that is nobody else's to
/// block or to end.
struct Elsewhere {
    exporter: Arc<OtlpExporter>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    timeout: Duration,
}

impl Elsewhere {
    fn new(
        timeout: Duration,
        build: impl FnOnce() -> Result<OtlpExporter, ExporterBuildError>,
    ) -> Result<Self, OtlpError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("otel-nat-otlp")
            // Else what the exporter's own stack traces would be exported by it, for ever.
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

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // a runtime dropped plainly waits, and panics where it may not
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elsewhere")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl SpanExporter for Elsewhere {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let Some(runtime) = &self.runtime else {
            return Err(OTelSdkError::AlreadyShutdown);
        };
        let (exporter, timeout) = (Arc::clone(&self.exporter), self.timeout);
        // its own timeout does not cover every stage of a connection
        let exporting = runtime
            .spawn(async move { tokio::time::timeout(timeout, exporter.export(batch)).await });
        match exporting.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(OTelSdkError::Timeout(timeout)),
            Err(_) => Err(OTelSdkError::InternalFailure("exporter panicked".into())),
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        // set once, before the first export, while nobody else holds it
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

#[cfg(all(test, feature = "otlp-http"))]
mod tests {
    use super::{Elsewhere, OtlpExporter, TIMEOUT};

    #[test]
    fn an_exporter_can_be_dropped_where_no_runtime_may_be() {
        let elsewhere =
            Elsewhere::new(TIMEOUT, || OtlpExporter::builder().with_http().build()).unwrap();
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async move { drop(elsewhere) });
    }
}
