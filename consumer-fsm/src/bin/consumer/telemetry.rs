//! Where spans and metrics go: to a collector if the environment names one, and nowhere otherwise.

use std::time::Duration;

use otel_nat::pipeline::{MetricsPipeline, OtlpError, Pipeline, PipelineBuilder};
use otel_nat::{ExternalIp, Telemetry};

use crate::output::Output;

/// The ways to the collector, as far as there are some.
pub(crate) struct Export {
    spans: Option<Pipeline>,
    metrics: Option<MetricsPipeline>,
    external_ip: ExternalIp,
}

impl Export {
    /// As the standard environment variables say.
    pub(crate) fn of_environment(external_ip: ExternalIp) -> Result<Self, String> {
        let spans = export(
            "TRACES",
            |builder| builder.otlp_http(None),
            |builder| builder.otlp_grpc(None),
        )?;
        let metrics = export(
            "METRICS",
            |builder| builder.otlp_http_metrics(None),
            |builder| builder.otlp_grpc_metrics(None),
        )?;
        Ok(Self {
            spans,
            metrics,
            external_ip,
        })
    }

    pub(crate) fn telemetry(&self) -> Telemetry {
        let spans = self.spans.as_ref();
        let mut telemetry = spans.map_or_else(Telemetry::global, Pipeline::telemetry);
        if let Some(metrics) = &self.metrics {
            telemetry = telemetry.with_metrics(metrics.provider().clone());
        }
        telemetry.with_external_ip(self.external_ip)
    }

    /// Sends the remaining spans and metrics, and prints a warning if that failed.
    pub(crate) fn close(self, within: Duration, output: &Output) {
        if let Some(spans) = &self.spans
            && let Err(undelivered) = spans.shutdown(within)
        {
            let delivery = spans.delivery();
            let (failed, dropped) = (delivery.failed, delivery.dropped);
            let cause = undelivered.cause.map(|cause| format!(": {cause}"));
            let cause = cause.unwrap_or_default();
            output.warn(&format!(
                "{failed} spans failed, {dropped} were dropped{cause}"
            ));
        }
        if let Some(metrics) = &self.metrics
            && let Err(undelivered) = metrics.shutdown(within)
        {
            let cause = undelivered.cause.map(|cause| format!(": {cause}"));
            output.warn(&format!(
                "the metrics were not exported{}",
                cause.unwrap_or_default()
            ));
        }
    }
}

/// An export of this signal, if the environment names a collector for it.
fn export<P>(
    signal: &str,
    http: impl FnOnce(PipelineBuilder) -> Result<P, OtlpError>,
    grpc: impl FnOnce(PipelineBuilder) -> Result<P, OtlpError>,
) -> Result<Option<P>, String> {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let either = |what: &str| {
        value(&format!("OTEL_EXPORTER_OTLP_{signal}_{what}"))
            .or_else(|| value(&format!("OTEL_EXPORTER_OTLP_{what}")))
    };
    if either("ENDPOINT").is_none() {
        return Ok(None);
    }
    let mut builder = Pipeline::builder().with_service_version(env!("CARGO_PKG_VERSION"));
    if value("OTEL_SERVICE_NAME").is_none() {
        builder = builder.with_service_name("consumer");
    }
    let made = match either("PROTOCOL").as_deref() {
        None | Some("http/protobuf") => http(builder),
        Some("grpc") => grpc(builder),
        Some(_) => {
            return Err("OTEL_EXPORTER_OTLP_PROTOCOL is neither http/protobuf nor grpc".into());
        }
    };
    made.map(Some).map_err(|error| error.to_string())
}
