//! The base of every test: a provider whose spans can be read back, and summaries of every kind.

use nat_summary::stage::{
    DtlsRole, DtlsVersion, HandshakeMessage, Stage, StageReport, StageVerdict,
};
use nat_summary::{Evidence, Filtering, NatSummary, Observation, Outcome, ServerId};
use opentelemetry::{Value, trace::Status};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use otel_nat::Telemetry;

/// A provider of its own, and the spans it was given.
pub(crate) struct Host {
    pub(crate) provider: SdkTracerProvider,
    spans: InMemorySpanExporter,
}

impl Host {
    pub(crate) fn new() -> Self {
        let spans = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(spans.clone())
            .build();
        Self { provider, spans }
    }

    pub(crate) fn telemetry(&self) -> Telemetry {
        Telemetry::new(self.provider.clone())
    }

    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }

    /// The one span there is.
    pub(crate) fn span(&self) -> SpanData {
        let mut spans = self.spans();
        assert_eq!(spans.len(), 1, "one attempt, one span: {spans:?}");
        spans.remove(0)
    }
}

/// Attributes as `key=value`, in the order they go out, strings in quotes.
pub(crate) fn attributes(span: &SpanData) -> Vec<String> {
    span.attributes
        .iter()
        .map(|pair| match &pair.value {
            Value::String(value) => format!("{}={:?}", pair.key, value.as_str()),
            value => format!("{}={value}", pair.key),
        })
        .collect()
}

/// The value of one attribute, as text.
pub(crate) fn value(span: &SpanData, key: &str) -> Option<String> {
    span.attributes
        .iter()
        .find(|pair| pair.key.as_str() == key)
        .map(|pair| pair.value.to_string())
}

pub(crate) fn is_error(span: &SpanData) -> bool {
    matches!(&span.status, Status::Error { description } if description.is_empty())
}

const BASE: &str = "192.168.1.5:50000";

/// The observations of servers at these addresses, of one base.
pub(crate) fn seen(base: &str, seen: &[(&str, &str)]) -> Evidence {
    let mut evidence = Evidence::new();
    for (sequence, (server, mapped)) in (0..).zip(seen) {
        evidence.observe(Observation {
            base: base.parse().unwrap(),
            server: ServerId::from(server.parse::<std::net::SocketAddr>().unwrap()),
            mapped: mapped.parse().unwrap(),
            sequence,
        });
    }
    evidence
}

pub(crate) fn cone() -> NatSummary {
    seen(
        BASE,
        &[
            ("198.51.100.1:3478", "203.0.113.7:50000"),
            ("198.51.100.2:3478", "203.0.113.7:50000"),
        ],
    )
    .summary()
}

pub(crate) fn symmetric() -> NatSummary {
    seen(
        BASE,
        &[
            ("198.51.100.1:3478", "203.0.113.7:40001"),
            ("198.51.100.2:3478", "203.0.113.7:40002"),
        ],
    )
    .summary()
}

pub(crate) fn address_dependent() -> NatSummary {
    seen(
        BASE,
        &[
            ("198.51.100.1:3478", "203.0.113.7:40001"),
            ("198.51.100.1:3479", "203.0.113.7:40001"),
            ("198.51.100.2:3478", "203.0.113.7:40002"),
        ],
    )
    .summary()
}

pub(crate) fn open() -> NatSummary {
    let base = "203.0.113.7:50000";
    seen(
        base,
        &[("198.51.100.1:3478", base), ("198.51.100.2:3478", base)],
    )
    .summary()
}

pub(crate) fn open_v6() -> NatSummary {
    let base = "[2001:db8:5:6::7]:50000";
    seen(
        base,
        &[("[2001:db8::1]:3478", base), ("[2001:db8::2]:3478", base)],
    )
    .summary()
}

pub(crate) fn one_server() -> NatSummary {
    seen(BASE, &[("198.51.100.1:3478", "203.0.113.7:50000")]).summary()
}

/// Browsers hide the base: its port is unknown, and so is whether it was kept.
pub(crate) fn hidden_base() -> NatSummary {
    let mut evidence = seen("0.0.0.0:0", &[("198.51.100.1:3478", "203.0.113.7:50000")]);
    evidence.add_local("192.168.1.5".parse().unwrap());
    evidence.summary()
}

/// As [`hidden_base`], and no local address either: whether a NAT is there is unknown too.
pub(crate) fn hidden_host() -> NatSummary {
    seen("0.0.0.0:0", &[("198.51.100.1:3478", "203.0.113.7:50000")]).summary()
}

/// A wildcard base with a port, no local address: the port is known, the NAT is not.
pub(crate) fn locals_unknown() -> NatSummary {
    seen(
        "0.0.0.0:50000",
        &[
            ("198.51.100.1:3478", "203.0.113.7:50000"),
            ("198.51.100.2:3478", "203.0.113.7:50000"),
        ],
    )
    .summary()
}

pub(crate) fn blocked() -> NatSummary {
    let mut evidence = Evidence::new();
    evidence.add_local([192, 168, 1, 5].into());
    evidence.record_outcome(ServerId::named("198.51.100.1", 3478), Outcome::TimedOut);
    evidence.record_outcome(ServerId::named("198.51.100.2", 3478), Outcome::TimedOut);
    evidence.summary()
}

pub(crate) fn no_route() -> NatSummary {
    let mut evidence = Evidence::new();
    evidence.record_outcome(ServerId::named("198.51.100.1", 3478), Outcome::Unreachable);
    evidence.summary()
}

/// The evidence of an ICE stack that names no servers.
pub(crate) fn bare_list() -> NatSummary {
    let lines = [
        "candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host",
        "candidate:2 1 udp 1694498815 203.0.113.7 40001 typ srflx raddr 192.168.1.5 rport 50000",
        "candidate:3 1 udp 1694498814 203.0.113.7 40002 typ srflx raddr 192.168.1.5 rport 50000",
    ];
    Evidence::from_candidates(lines.map(|line| nat_summary::Candidate::parse(line).unwrap()))
        .summary()
}

/// A host whose carrier translates once more, seen from inside the carrier's network only.
pub(crate) fn carrier_grade() -> NatSummary {
    seen(
        BASE,
        &[
            ("100.64.0.1:3478", "100.64.9.9:50000"),
            ("100.64.0.2:3478", "100.64.9.9:50000"),
        ],
    )
    .summary()
}

/// Each server sees the next port but one.
pub(crate) fn sequential() -> NatSummary {
    mapped_to_ports([40_002, 40_004, 40_006, 40_008])
}

/// Each server sees a port far from the others.
pub(crate) fn random() -> NatSummary {
    mapped_to_ports([40_002, 51_004, 1_706, 62_008])
}

fn mapped_to_ports(ports: [u16; 4]) -> NatSummary {
    let mapped = ports.map(|port| format!("203.0.113.7:{port}"));
    let servers = [
        "198.51.100.1:3478",
        "198.51.100.2:3478",
        "198.51.100.3:3478",
        "198.51.100.4:3478",
    ];
    let pairs: Vec<_> = servers
        .into_iter()
        .zip(mapped.iter().map(String::as_str))
        .collect();
    seen(BASE, &pairs).summary()
}

/// Each server sees another address, with the base's own port.
pub(crate) fn arbitrary_pool() -> NatSummary {
    seen(
        BASE,
        &[
            ("198.51.100.1:3478", "203.0.113.7:50000"),
            ("198.51.100.2:3478", "203.0.113.8:50000"),
            ("198.51.100.3:3478", "203.0.113.9:50000"),
        ],
    )
    .summary()
}

/// Many mappings, one external address.
pub(crate) fn paired_pool() -> NatSummary {
    let mapped: Vec<_> = (1..=20)
        .map(|n| {
            (
                format!("198.51.100.{n}:3478"),
                format!("203.0.113.7:{}", 40_000 + n),
            )
        })
        .collect();
    let pairs: Vec<_> = mapped
        .iter()
        .map(|(server, mapped)| (server.as_str(), mapped.as_str()))
        .collect();
    seen(BASE, &pairs).summary()
}

/// Something between rewrites addresses inside packets.
pub(crate) fn rewritten() -> NatSummary {
    let mut evidence = seen(BASE, &[("198.51.100.1:3478", "203.0.113.7:50000")]);
    let observation = Observation {
        base: BASE.parse().unwrap(),
        server: "198.51.100.2:3478"
            .parse::<std::net::SocketAddr>()
            .unwrap()
            .into(),
        mapped: "203.0.113.7:50000".parse().unwrap(),
        sequence: 9,
    };
    evidence.observe_both(observation, BASE.parse().unwrap());
    evidence.summary()
}

/// A cone whose filtering is known from elsewhere.
pub(crate) fn filtered(filtering: Filtering) -> NatSummary {
    cone().with_filtering(filtering)
}

pub(crate) fn nothing() -> NatSummary {
    Evidence::new().summary()
}

/// One of every kind.
pub(crate) fn every_kind() -> Vec<(&'static str, NatSummary)> {
    vec![
        ("cone", cone()),
        ("symmetric", symmetric()),
        ("address dependent", address_dependent()),
        ("open", open()),
        ("open_v6", open_v6()),
        ("one server", one_server()),
        ("hidden base", hidden_base()),
        ("hidden host", hidden_host()),
        ("locals unknown", locals_unknown()),
        ("blocked", blocked()),
        ("no route", no_route()),
        ("bare list", bare_list()),
        ("carrier grade", carrier_grade()),
        ("sequential", sequential()),
        ("random", random()),
        ("arbitrary pool", arbitrary_pool()),
        ("paired pool", paired_pool()),
        ("rewritten", rewritten()),
        ("full cone", filtered(Filtering::EndpointIndependent)),
        (
            "address-restricted cone",
            filtered(Filtering::AddressDependent),
        ),
        (
            "port-restricted cone",
            filtered(Filtering::AddressAndPortDependent),
        ),
        ("nothing", nothing()),
    ]
}

/// Reports of stages with every word there is.
pub(crate) fn stages() -> Vec<StageReport> {
    let mut reports = Vec::new();
    let mut add = |change: &dyn Fn(&mut StageReport)| {
        let mut report = StageReport::of(Stage::Hello);
        change(&mut report);
        reports.push(report);
    };
    for stage in Stage::ALL {
        add(&|report| report.stage = *stage);
    }
    for verdict in StageVerdict::ALL {
        add(&|report| report.verdict = *verdict);
    }
    for role in DtlsRole::ALL {
        add(&|report| {
            report.role = *role;
            report.flights = 4;
            report.hello_shape = Some(0x00c0_ffee);
        });
    }
    for version in DtlsVersion::ALL {
        add(&|report| report.version = *version);
    }
    for message in HandshakeMessage::ALL {
        add(&|report| (report.last_in, report.last_out) = (*message, *message));
    }
    reports
}
