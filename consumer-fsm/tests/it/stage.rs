//! The parts that the tests share: STUN servers, a producer, a consumer, and the spans and metrics
//! that are emitted.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use consumer_fsm::signalling::Signalling;
use consumer_fsm::transport::{IceTransport, Network, Transport};
use consumer_fsm::{AttemptReport, Consumer, Producer, StunCache, Timing};
use ice_gather::responder::{Manner, Responder};
use ice_gather::{Base, BindConfig, GatherConfig};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use otel_nat::Telemetry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::runner::{Until, run};

/// Ends a task with its owner.
pub(crate) struct Running(pub(crate) JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn transport() -> IceTransport {
    let gather = GatherConfig::default().with_deadline(Duration::from_secs(1));
    let network = Network::custom(|| async {
        let base = Base::bind(BindConfig::address([127, 0, 0, 1].into())).await?;
        // an address that reaches beyond this host: without one, no silence is a firewall's
        base.add_local([192, 168, 1, 5].into());
        Ok(base)
    });
    IceTransport::new(network).with_gather_config(gather)
}

pub(crate) async fn responders(count: u8, manner: Manner) -> Vec<Responder> {
    let mut responders = Vec::new();
    for n in 0..count {
        responders.push(
            Responder::bind_with((IpAddr::from([127, 0, 0, 31 + n]), 0), manner)
                .await
                .unwrap(),
        );
    }
    responders
}

pub(crate) fn cache(responders: &[Responder]) -> StunCache {
    StunCache::new(responders.iter().map(Responder::server).collect())
}

pub(crate) fn timing() -> Timing {
    Timing::default()
        .with_patience(Duration::from_millis(10))
        .with_error_backoff(Duration::from_millis(20))
}

/// The provider is kept, because the exporter loses its spans when the provider is shut down.
pub(crate) struct Spans {
    exporter: InMemorySpanExporter,
    _provider: SdkTracerProvider,
}

impl Spans {
    pub(crate) fn new() -> (Self, Telemetry) {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        (
            Self {
                exporter,
                _provider: provider.clone(),
            },
            Telemetry::new(provider),
        )
    }

    pub(crate) fn all(&self) -> Vec<SpanData> {
        self.exporter.get_finished_spans().unwrap()
    }

    /// Name and `error.type` of each.
    pub(crate) fn told(&self) -> Vec<(String, Option<String>)> {
        let error = |span: &SpanData| {
            span.attributes
                .iter()
                .find(|kv| kv.key.as_str() == "error.type")
                .map(|kv| kv.value.to_string())
        };
        self.all()
            .iter()
            .map(|span| (span.name.to_string(), error(span)))
            .collect()
    }
}

/// Captured metrics.
pub(crate) struct Measured {
    exporter: InMemoryMetricExporter,
    provider: SdkMeterProvider,
}

impl Measured {
    pub(crate) fn by(telemetry: Telemetry) -> (Self, Telemetry) {
        let exporter = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder()
            .with_reader(PeriodicReader::builder(exporter.clone()).build())
            .build();
        (
            Self {
                exporter,
                provider: provider.clone(),
            },
            telemetry.with_metrics(provider),
        )
    }

    /// The labels of the servers whose requests were counted, each once.
    pub(crate) fn servers(&self) -> BTreeSet<String> {
        self.provider.force_flush().unwrap();
        let seen = self.exporter.get_finished_metrics().unwrap();
        let mut labels = BTreeSet::new();
        for metric in seen
            .last()
            .into_iter()
            .flat_map(|seen| seen.scope_metrics())
            .flat_map(|scope| scope.metrics())
            .filter(|metric| metric.name() == otel_nat::keys::SERVER_REQUESTS)
        {
            let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else {
                panic!("not a counter: {metric:?}");
            };
            for pair in sum.data_points().flat_map(|point| point.attributes()) {
                if pair.key.as_str() == otel_nat::keys::SERVER {
                    labels.insert(pair.value.to_string());
                }
            }
        }
        labels
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.provider.force_flush().unwrap();
        let seen = self.exporter.get_finished_metrics().unwrap();
        let scopes = seen
            .last()
            .into_iter()
            .flat_map(|seen| seen.scope_metrics());
        scopes
            .flat_map(|scope| scope.metrics())
            .any(|metric| metric.name() == name)
    }
}

pub(crate) fn failure(reason: &str) -> Vec<(String, Option<String>)> {
    vec![("nat_failure".into(), Some(reason.into()))]
}

/// A producer that serves one consumer after the other and echoes.
pub(crate) fn producer<S: Signalling + 'static>(signalling: S) -> Running {
    Running(tokio::spawn(async move {
        let producer = Producer::new(signalling, transport(), Vec::new());
        loop {
            match producer.serve().await {
                Ok(served) => drop(served.echo(&CancellationToken::new()).await),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }))
}

/// One attempt that is cancelled as soon as it has a path, or after `patience`; its channel may
/// take half of that.
pub(crate) async fn attempt<S: Signalling>(
    signalling: S,
    servers: StunCache,
    telemetry: Telemetry,
    patience: Duration,
) -> AttemptReport {
    attempt_over(transport(), signalling, servers, telemetry, patience).await
}

/// The same, over another transport.
pub(crate) async fn attempt_over<S: Signalling, T: Transport>(
    transport: T,
    signalling: S,
    servers: StunCache,
    telemetry: Telemetry,
    patience: Duration,
) -> AttemptReport {
    let timing = timing().with_nat_fail_timeout(patience / 2);
    let mut consumer = Consumer::new(signalling, transport, telemetry, servers).with_timing(timing);
    run(&mut consumer, Until::UpWithin(patience)).await
}
