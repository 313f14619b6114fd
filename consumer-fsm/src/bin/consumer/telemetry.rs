//! Where the spans go: to a collector if the environment names one, and nowhere otherwise.

use std::time::Duration;

use otel_nat::pipeline::Pipeline;
use otel_nat::{ExternalIp, Telemetry};

use crate::output::Output;

/// The way to the collector, if there is one.
pub(crate) struct Export {
    pipeline: Option<Pipeline>,
    external_ip: ExternalIp,
}

impl Export {
    /// As the standard environment variables say.
    pub(crate) fn of_environment(external_ip: ExternalIp) -> Result<Self, String> {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let either = |what: &str| {
            value(&format!("OTEL_EXPORTER_OTLP_TRACES_{what}"))
                .or_else(|| value(&format!("OTEL_EXPORTER_OTLP_{what}")))
        };
        if either("ENDPOINT").is_none() {
            return Ok(Self {
                pipeline: None,
                external_ip,
            });
        }
        let mut builder = Pipeline::builder().with_service_version(env!("CARGO_PKG_VERSION"));
        if value("OTEL_SERVICE_NAME").is_none() {
            builder = builder.with_service_name("consumer");
        }
        let pipeline = match either("PROTOCOL").as_deref() {
            None | Some("http/protobuf") => builder.otlp_http(None),
            Some("grpc") => builder.otlp_grpc(None),
            Some(_) => {
                return Err("OTEL_EXPORTER_OTLP_PROTOCOL is neither http/protobuf nor grpc".into());
            }
        };
        Ok(Self {
            pipeline: Some(pipeline.map_err(|error| error.to_string())?),
            external_ip,
        })
    }

    pub(crate) fn telemetry(&self) -> Telemetry {
        let telemetry = self
            .pipeline
            .as_ref()
            .map_or_else(Telemetry::global, Pipeline::telemetry);
        telemetry.with_external_ip(self.external_ip)
    }

    /// Sends what is left, and says so if that failed.
    pub(crate) fn close(self, within: Duration, output: &Output) {
        if let Some(pipeline) = &self.pipeline
            && let Err(undelivered) = pipeline.shutdown(within)
        {
            let delivery = pipeline.delivery();
            let (failed, dropped) = (delivery.failed, delivery.dropped);
            let cause = undelivered.cause.map(|cause| format!(": {cause}"));
            let cause = cause.unwrap_or_default();
            output.warn(&format!(
                "{failed} spans failed, {dropped} were dropped{cause}"
            ));
        }
    }
}
