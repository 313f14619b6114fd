//! The histogram of attempt durations: its name, its groups, and their number.

use std::collections::BTreeSet;
use std::time::Duration;

use nat_summary::Outcome;
use nat_summary::stage::{Stage, StageReport, StageVerdict};
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use otel_nat::{
    Checks, FailureCause, FailureReason, MappingLifetime, ServerLabel, Telemetry, keys,
};

use crate::host::{self, Host};

struct Meter {
    provider: SdkMeterProvider,
    metrics: InMemoryMetricExporter,
}

impl Meter {
    fn new() -> Self {
        let metrics = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder()
            .with_reader(PeriodicReader::builder(metrics.clone()).build())
            .build();
        Self { provider, metrics }
    }

    /// Groups as `key=value`, with how many attempts each holds; all of the one histogram there is.
    fn groups(&self) -> Vec<(BTreeSet<String>, u64)> {
        self.provider.force_flush().unwrap();
        let mut groups = Vec::new();
        for resource in self.metrics.get_finished_metrics().unwrap().last().iter() {
            for scope in resource.scope_metrics() {
                for metric in scope.metrics() {
                    assert_eq!(
                        (metric.name(), metric.unit()),
                        (keys::ATTEMPT_DURATION, "s")
                    );
                    let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = metric.data()
                    else {
                        panic!("not a histogram of seconds: {metric:?}");
                    };
                    for point in histogram.data_points() {
                        groups.push((labels(point.attributes()), point.count()));
                    }
                }
            }
        }
        groups.sort();
        groups
    }
}

fn labels<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> BTreeSet<String> {
    attributes
        .map(|pair| format!("{}={}", pair.key, pair.value))
        .collect()
}

fn set<const N: usize>(labels: [&str; N]) -> BTreeSet<String> {
    labels.map(str::to_owned).into()
}

#[test]
fn the_wait_for_a_peer_is_no_part_of_the_measured_duration() {
    const WAIT: Duration = Duration::from_millis(500);
    let (host, meter) = (Host::new(), Meter::new());
    let telemetry = host.telemetry().with_metrics(meter.provider.clone());
    let mut attempt = telemetry.attempt();
    attempt.begin_wait();
    std::thread::sleep(WAIT);
    attempt.end_wait();
    attempt.succeed(&host::cone());
    assert_eq!(meter.groups().len(), 1);
    let resources = meter.metrics.get_finished_metrics().unwrap();
    let metrics = resources
        .iter()
        .flat_map(|resource| resource.scope_metrics())
        .flat_map(|scope| scope.metrics());
    for metric in metrics {
        let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = metric.data() else {
            panic!("not a histogram of seconds: {metric:?}");
        };
        for point in histogram.data_points() {
            assert!(point.sum() < WAIT.as_secs_f64(), "{}", point.sum());
        }
    }
}

#[test]
fn durations_are_grouped_by_what_the_nat_does_and_how_the_attempt_ended() {
    let (host, meter) = (Host::new(), Meter::new());
    let telemetry = host.telemetry().with_metrics(meter.provider.clone());
    telemetry.attempt().succeed(&host::cone());
    telemetry.attempt().succeed(&host::cone());
    telemetry
        .attempt()
        .fail(&host::blocked(), FailureReason::UdpBlocked);
    assert_eq!(
        meter.groups(),
        [
            (
                set([
                    "error.type=udp_blocked",
                    "nat_mapping_behavior=unspecified",
                    "nat_type=UDP blocked by firewall"
                ]),
                1
            ),
            (
                set([
                    "nat_mapping_behavior=independent",
                    "nat_type=Cone NAT",
                    "network.type=ipv4"
                ]),
                2
            ),
        ]
    );
    assert_eq!(host.spans().len(), 3, "the spans go out as ever");
}

#[test]
fn what_the_checks_showed_makes_no_group() {
    let (host, meter) = (Host::new(), Meter::new());
    let telemetry = host.telemetry().with_metrics(meter.provider.clone());
    for cause in FailureCause::ALL {
        let mut attempt = telemetry.attempt();
        attempt.set_failure_cause(*cause);
        attempt.set_peer_summary(&host::symmetric());
        attempt.set_checks(Checks {
            sent: 1,
            answered: 0,
            received: u32::MAX,
            ..Checks::default()
        });
        attempt.fail(&host::cone(), FailureReason::Timeout);
    }
    assert_eq!(meter.groups().len(), 1);
}

#[test]
fn attempts_that_failed_and_paths_that_stopped_are_counted_by_stage_and_verdict() {
    let (host, meter) = (Host::new(), Meter::new());
    let telemetry = host.telemetry().with_metrics(meter.provider.clone());
    let mut stalled = StageReport::of(Stage::Handshake);
    stalled.verdict = StageVerdict::HandshakeStalled;
    for failure in [
        None,
        Some(FailureReason::ChannelFailed),
        Some(FailureReason::ChannelFailed),
    ] {
        let mut attempt = telemetry.attempt();
        attempt.set_stage(stalled);
        match failure {
            None => attempt.succeed(&host::cone()),
            Some(reason) => attempt.fail(&host::cone(), reason),
        }
    }
    let mut frozen = StageReport::of(Stage::Open);
    frozen.verdict = StageVerdict::FrozenAfterOpen;
    telemetry.record_stage(&frozen);
    meter.provider.force_flush().unwrap();
    let mut counts = Vec::new();
    for resource in meter.metrics.get_finished_metrics().unwrap().last().iter() {
        let scopes = resource.scope_metrics();
        for metric in scopes.flat_map(|scope| scope.metrics()) {
            if let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data()
                && metric.name() == keys::STAGES
            {
                let points = sum.data_points();
                counts.extend(points.map(|point| (labels(point.attributes()), point.value())));
            }
        }
    }
    counts.sort();
    assert_eq!(
        counts,
        [
            (
                set([
                    "nat_telemetry.stage.verdict=frozen_after_open",
                    "nat_telemetry.stage=open"
                ]),
                1
            ),
            (
                set([
                    "nat_telemetry.stage.verdict=handshake_stalled",
                    "nat_telemetry.stage=handshake"
                ]),
                2
            ),
        ]
    );
}

#[test]
fn metrics_are_off_unless_asked_for() {
    let (host, meter) = (Host::new(), Meter::new());
    host.telemetry().attempt().succeed(&host::cone());
    assert!(meter.groups().is_empty());
}

#[test]
fn how_the_mapping_of_a_path_held_is_measured_after_its_span_went_out() {
    let (host, meter) = (Host::new(), Meter::new());
    let telemetry = host.telemetry().with_metrics(meter.provider.clone());
    let gap = |seconds| Some(Duration::from_secs(seconds));
    for (rebindings, survived) in [(0, gap(20)), (2, gap(40)), (0, None)] {
        telemetry.record_mapping_lifetime(
            &host::cone(),
            MappingLifetime {
                rebindings,
                survived,
            },
        );
    }
    telemetry.record_mapping_lifetime(
        &host::symmetric(),
        MappingLifetime {
            rebindings: 1,
            survived: None,
        },
    );
    meter.provider.force_flush().unwrap();
    let metrics = meter.metrics.get_finished_metrics().unwrap();
    let (mut gaps, mut rebindings) = (Vec::new(), Vec::new());
    for metric in metrics[0].scope_metrics().flat_map(|scope| scope.metrics()) {
        match (metric.name(), metric.unit(), metric.data()) {
            (
                keys::PATH_SURVIVED,
                "s",
                AggregatedMetrics::F64(MetricData::Histogram(histogram)),
            ) => {
                gaps.extend(
                    histogram
                        .data_points()
                        .map(|point| (labels(point.attributes()), point.count(), point.sum())),
                );
            }
            (
                keys::PATH_REBINDINGS,
                "{rebinding}",
                AggregatedMetrics::U64(MetricData::Sum(sum)),
            ) => {
                rebindings.extend(
                    sum.data_points()
                        .map(|point| (labels(point.attributes()), point.value())),
                );
            }
            other => panic!("{other:?}"),
        }
    }
    rebindings.sort();
    let cone = set([
        "nat_mapping_behavior=independent",
        "nat_type=Cone NAT",
        "network.type=ipv4",
    ]);
    let symmetric = set([
        "nat_mapping_behavior=address-port dependent",
        "nat_type=Symmetric NAT",
        "network.type=ipv4",
    ]);
    assert_eq!(gaps, [(cone.clone(), 2, 60.0)]);
    assert_eq!(rebindings, [(symmetric, 1), (cone, 2)]);
    assert!(
        host.spans().is_empty(),
        "one span per attempt, and no other"
    );
}

#[test]
fn requests_to_servers_are_measured_by_label_and_outcome_and_labels_are_bounded() {
    let (host, meter) = (Host::new(), Meter::new());
    let telemetry = host.telemetry().with_metrics(meter.provider.clone());
    let label = |number| ServerLabel::new(&format!("eu-{number}")).unwrap();
    let time = Some(Duration::from_millis(40));
    telemetry.record_server(Some(&label(0)), Outcome::Answered, time);
    telemetry.record_server(Some(&label(0)), Outcome::TimedOut, None);
    telemetry.record_server(None, Outcome::Answered, time);
    for number in 1..100 {
        // a clone shares the labels
        telemetry
            .clone()
            .record_server(Some(&label(number)), Outcome::Answered, time);
    }
    meter.provider.force_flush().unwrap();
    let metrics = meter.metrics.get_finished_metrics().unwrap();
    let (mut requests, mut round_trips) = (Vec::new(), Vec::new());
    for metric in metrics[0].scope_metrics().flat_map(|scope| scope.metrics()) {
        match (metric.name(), metric.unit(), metric.data()) {
            (keys::SERVER_REQUESTS, "{request}", AggregatedMetrics::U64(MetricData::Sum(sum))) => {
                requests.extend(
                    sum.data_points()
                        .map(|point| (labels(point.attributes()), point.value())),
                );
            }
            (
                keys::SERVER_ROUND_TRIP,
                "s",
                AggregatedMetrics::F64(MetricData::Histogram(histogram)),
            ) => {
                round_trips.extend(
                    histogram
                        .data_points()
                        .map(|point| (labels(point.attributes()), point.count())),
                );
            }
            other => panic!("{other:?}"),
        }
    }
    let group = |server: &str, outcome: &str| {
        set([
            &*format!("nat_telemetry.server={server}"),
            &*format!("nat_telemetry.server.outcome={outcome}"),
        ])
    };
    assert_eq!(
        requests.len(),
        66,
        "64 labels, one of them with two outcomes, and the rest"
    );
    assert!(requests.contains(&(group("eu-0", "timed_out"), 1)));
    assert!(requests.contains(&(group("_OTHER", "answered"), 37)));
    assert_eq!(round_trips.len(), 65);
    assert!(round_trips.contains(&(set(["nat_telemetry.server=eu-0"]), 1)));
}

#[test]
fn another_scope_keeps_the_meter() {
    let (host, meter) = (Host::new(), Meter::new());
    host.telemetry()
        .with_metrics(meter.provider.clone())
        .with_scope("elsewhere")
        .attempt()
        .succeed(&host::cone());
    meter.provider.force_flush().unwrap();
    let metrics = meter.metrics.get_finished_metrics().unwrap();
    let scopes: Vec<_> = metrics[0]
        .scope_metrics()
        .map(|scope| scope.scope().name().to_owned())
        .collect();
    assert_eq!(scopes, ["elsewhere"]);
}

// One test, because a process has one global meter provider.
#[test]
fn a_global_meter_provider_set_late_or_replaced_gets_what_ends_after() {
    let telemetry = Telemetry::new(Host::new().provider).with_global_metrics();
    telemetry.attempt().succeed(&host::cone());
    for _ in 0..2 {
        let meter = Meter::new();
        global::set_meter_provider(meter.provider.clone());
        telemetry.attempt().succeed(&host::cone());
        telemetry.attempt().succeed(&host::cone());
        assert_eq!(
            meter.groups().iter().map(|(_, count)| count).sum::<u64>(),
            2
        );
    }
}
