//! A meter provider ready for use: the metrics over OTLP, from a thread and a runtime of their own.

use core::time::Duration;

use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};

use super::account::LastFailure;
use super::failure::ExportFailure;
use super::otlp::{OnOwnRuntime, OtlpError};
use super::{EXPORT_TIMEOUT, PipelineBuilder, Undelivered};

/// A meter provider that exports over OTLP at the intervals of the SDK
/// (`OTEL_METRIC_EXPORT_INTERVAL`), for
/// [`Telemetry::with_metrics`](crate::Telemetry::with_metrics).
///
/// Dropped, it shuts down and waits up to a second for the last export.
#[derive(Debug)]
pub struct MetricsPipeline {
    provider: SdkMeterProvider,
    failure: LastFailure,
}

impl MetricsPipeline {
    /// The provider. It shuts down with the pipeline.
    #[must_use]
    pub const fn provider(&self) -> &SdkMeterProvider {
        &self.provider
    }

    /// Why the latest export that failed did; `None` if none failed yet.
    #[must_use]
    pub fn last_failure(&self) -> Option<ExportFailure> {
        self.failure.get()
    }

    /// Exports the recorded metrics and shuts down. Blocks for up to `within`, so an async task
    /// must not call it.
    ///
    /// # Errors
    /// If the last export failed, or did not end in time.
    pub fn shutdown(&self, within: Duration) -> Result<(), Undelivered> {
        let ended = self.provider.shutdown_with_timeout(within);
        ended.map_err(|_| Undelivered {
            cause: self.last_failure(),
        })
    }
}

impl Drop for MetricsPipeline {
    fn drop(&mut self) {
        // an error: the provider was shut down before, or the collector is gone
        let _ = self.provider.shutdown_with_timeout(Duration::from_secs(1));
    }
}

impl PipelineBuilder {
    /// Metrics over OTLP/HTTP to `endpoint`, such as `http://127.0.0.1:4318/v1/metrics`; without an
    /// endpoint, to the one in `OTEL_EXPORTER_OTLP_*`. Of the settings, service, resource and
    /// export time-out count.
    ///
    /// # Errors
    /// [`OtlpError`].
    #[cfg(feature = "otlp-http")]
    pub fn otlp_http_metrics(self, endpoint: Option<&str>) -> Result<MetricsPipeline, OtlpError> {
        let seen = LastFailure::default();
        let timeout = self.export_timeout.unwrap_or(EXPORT_TIMEOUT);
        let exporter = OnOwnRuntime::http_metrics(endpoint, timeout, seen.clone())?;
        Ok(self.meters(exporter, seen))
    }

    /// Metrics over OTLP/gRPC to `endpoint`, such as `http://127.0.0.1:4317`; without an endpoint,
    /// to the one in `OTEL_EXPORTER_OTLP_*`. Of the settings, service, resource and export time-out
    /// count.
    ///
    /// # Errors
    /// [`OtlpError`].
    #[cfg(feature = "otlp-grpc")]
    pub fn otlp_grpc_metrics(self, endpoint: Option<&str>) -> Result<MetricsPipeline, OtlpError> {
        let timeout = self.export_timeout.unwrap_or(EXPORT_TIMEOUT);
        let exporter = OnOwnRuntime::grpc_metrics(endpoint, timeout)?;
        Ok(self.meters(exporter, LastFailure::default()))
    }

    fn meters(self, exporter: OnOwnRuntime<MetricExporter>, seen: LastFailure) -> MetricsPipeline {
        let failure = LastFailure::default();
        let exporter = Explained {
            inner: exporter,
            seen,
            failure: failure.clone(),
        };
        let provider = SdkMeterProvider::builder()
            .with_resource(self.into_resource())
            .with_periodic_exporter(exporter)
            .build();
        MetricsPipeline { provider, failure }
    }
}

/// An exporter that keeps why an export failed.
struct Explained {
    inner: OnOwnRuntime<MetricExporter>,
    /// Failures that the exporter's own errors do not show.
    seen: LastFailure,
    failure: LastFailure,
}

impl PushMetricExporter for Explained {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.inner.export_metrics(metrics);
        let seen = self.seen.take();
        let Err(error) = result else {
            return Ok(());
        };
        let failure = seen.unwrap_or_else(|| ExportFailure::of(&error));
        self.failure.set(failure);
        // the SDK logs the error, and an exporter's own texts hold addresses
        Err(OTelSdkError::InternalFailure(failure.to_string()))
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}
