//! The one file that decides which attributes leave the process, and how much of an address.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

#[cfg(feature = "metrics")]
use nat_summary::Family;
use nat_summary::stage::{DtlsRole, DtlsVersion, HandshakeMessage, Stage, StageReport};
use nat_summary::{
    CandidateKind, Checks, FailureCause, FilteringSeen, Mapping, NatSummary, NatType, Outlook,
    Pooling, PortAllocation, TowardPeer,
};
use opentelemetry::{KeyValue, Value};

use crate::external_ip::ExternalIp;
use crate::failure_reason::FailureReason;
use crate::keys;
use crate::mapping_lifetime::MappingLifetime;

/// The facts of an attempt besides its summary.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Facts {
    pub(crate) gather: Option<Duration>,
    pub(crate) wait: Option<Duration>,
    pub(crate) connect: Option<Duration>,
    pub(crate) selected: Option<(CandidateKind, CandidateKind)>,
    pub(crate) toward_peer: TowardPeer,
    pub(crate) mapping_with_peer: Mapping,
    pub(crate) filtering: FilteringSeen,
    pub(crate) checks: Option<Checks>,
    pub(crate) peer_nat_type: Option<NatType>,
    pub(crate) outlook: Option<Outlook>,
    pub(crate) cause: Option<FailureCause>,
    pub(crate) mapping_lifetime: Option<MappingLifetime>,
    pub(crate) stage: Option<StageReport>,
    /// The shape of the ClientHello goes out as well.
    pub(crate) has_hello_shape: bool,
}

/// Most attributes of one span, so that their list is allocated once.
const MOST: usize = 46;

/// Every attribute of the span of one attempt. An unknown value is left out, or has a word of its
/// own; no key stands there twice.
pub(crate) fn record(
    summary: &NatSummary,
    failure: Option<FailureReason>,
    facts: &Facts,
    external_ip: ExternalIp,
) -> Vec<KeyValue> {
    let mut out = Vec::with_capacity(MOST);
    let mut add = |key: &'static str, value: Option<Value>| {
        out.extend(value.map(|value| KeyValue::new(key, value)));
    };
    add(keys::IS_NATTED, summary.is_natted().map(Value::from));
    add(
        keys::MAPPING_BEHAVIOR,
        Some(summary.mapping().as_legacy().into()),
    );
    add(
        keys::FILTERING_BEHAVIOR,
        Some(summary.filtering().as_legacy().into()),
    );
    add(keys::NAT_TYPE, Some(summary.nat_type().as_legacy().into()));
    add(
        keys::EXTERNAL_IP,
        summary
            .external_ip()
            .and_then(|ip| let_out(ip, external_ip))
            .map(Value::from),
    );
    add(
        keys::PORT_PRESERVATION,
        summary.port_preserved().map(Value::from),
    );
    add(
        keys::ERROR_TYPE,
        failure.map(|reason| reason.as_str().into()),
    );

    add(keys::NETWORK_TRANSPORT, Some("udp".into()));
    add(
        keys::NETWORK_TYPE,
        summary.family().map(|family| family.as_str().into()),
    );
    add(keys::RULE, Some(summary.rule().as_str().into()));
    let counts = summary.counts();
    let asked = (counts.asked > 0).then_some(counts.asked);
    add(keys::SERVERS_ASKED, asked.map(count));
    add(
        keys::SERVERS_ANSWERED,
        asked.map(|_| count(counts.answered)),
    );
    add(keys::SERVERS_DISTINCT, Some(count(counts.server_addresses)));
    add(keys::BASES, Some(count(counts.bases)));
    add(keys::OBSERVATIONS, Some(count(counts.observations)));
    add(
        keys::BASE_SCOPE,
        summary.base_scope().map(|scope| scope.as_str().into()),
    );
    add(
        keys::EXTERNAL_SCOPE,
        summary.external_scope().map(|scope| scope.as_str().into()),
    );
    add(keys::POOLING, observed(summary.pooling(), Pooling::as_str));
    let allocation = summary.port_allocation();
    add(
        keys::PORT_ALLOCATION,
        observed(allocation, PortAllocation::as_str),
    );
    add(
        keys::PORT_STEP,
        allocation.step().map(|step| Value::I64(step.into())),
    );
    add(keys::REWRITTEN, summary.rewritten().map(Value::from));
    add(
        keys::GATHER_DURATION,
        facts.gather.map(|time| time.as_secs_f64().into()),
    );
    add(
        keys::SIGNALLING_WAIT,
        facts.wait.map(|time| time.as_secs_f64().into()),
    );
    add(
        keys::CONNECT_DURATION,
        facts.connect.map(|time| time.as_secs_f64().into()),
    );
    let (local, remote) = facts.selected.unzip();
    add(keys::PAIR_LOCAL, local.and_then(candidate));
    add(keys::PAIR_REMOTE, remote.and_then(candidate));
    add(
        keys::PEER_MAPPING,
        observed(facts.toward_peer, TowardPeer::as_str),
    );
    add(
        keys::MAPPING_WITH_PEER,
        observed(facts.mapping_with_peer, Mapping::as_legacy),
    );
    add(
        keys::FILTERING_SEEN,
        observed(facts.filtering, FilteringSeen::as_str),
    );
    add(
        keys::CHECKS_SENT,
        facts.checks.map(|checks| i64::from(checks.sent).into()),
    );
    add(
        keys::CHECKS_ANSWERED,
        facts.checks.map(|checks| i64::from(checks.answered).into()),
    );
    add(
        keys::CHECKS_RECEIVED,
        facts.checks.map(|checks| i64::from(checks.received).into()),
    );
    add(
        keys::PEER_NAT_TYPE,
        facts
            .peer_nat_type
            .map(|nat_type| nat_type.as_legacy().into()),
    );
    add(
        keys::OUTLOOK,
        facts.outlook.map(|outlook| outlook.path.as_str().into()),
    );
    add(
        keys::OUTLOOK_REASON,
        facts.outlook.map(|outlook| outlook.reason.as_str().into()),
    );
    add(
        keys::FAILURE_CAUSE,
        failure.and(facts.cause).map(|cause| cause.as_str().into()),
    );
    add(
        keys::REBINDINGS,
        facts
            .mapping_lifetime
            .map(|held| i64::from(held.rebindings).into()),
    );
    let survived = facts.mapping_lifetime.and_then(|held| held.survived);
    add(
        keys::MAPPING_SURVIVED,
        survived.map(|time| time.as_secs_f64().into()),
    );
    let Some(stage) = &facts.stage else {
        return out;
    };
    stage_of(stage, failure, facts.has_hello_shape, &mut out);
    out
}

/// The stage reached, and what stopped the attempt. An attempt that connected was stopped by nothing.
fn stage_of(
    report: &StageReport,
    failure: Option<FailureReason>,
    has_hello_shape: bool,
    out: &mut Vec<KeyValue>,
) {
    let mut add = |key: &'static str, value: Option<Value>| {
        out.extend(value.map(|value| KeyValue::new(key, value)));
    };
    add(keys::STAGE, observed(report.stage, Stage::as_str));
    add(
        keys::STAGE_VERDICT,
        failure.map(|_| report.verdict.as_str().into()),
    );
    add(keys::DTLS_ROLE, observed(report.role, DtlsRole::as_str));
    add(
        keys::DTLS_VERSION,
        observed(report.version, DtlsVersion::as_str),
    );
    add(
        keys::DTLS_LAST_IN,
        observed(report.last_in, HandshakeMessage::as_str),
    );
    add(
        keys::DTLS_LAST_OUT,
        observed(report.last_out, HandshakeMessage::as_str),
    );
    let has_dtls = report.role != DtlsRole::Unknown;
    add(
        keys::DTLS_FLIGHTS,
        has_dtls.then(|| i64::from(report.flights).into()),
    );
    let shape = report.hello_shape.filter(|_| has_hello_shape);
    add(
        keys::DTLS_HELLO_SHAPE,
        shape.map(|shape| format!("{shape:08x}").into()),
    );
}

/// The groups of the counter of stages: closed sets only.
#[cfg(feature = "metrics")]
pub(crate) fn stage_labels(report: &StageReport) -> [KeyValue; 2] {
    [
        KeyValue::new(keys::STAGE, report.stage.as_str()),
        KeyValue::new(keys::STAGE_VERDICT, report.verdict.as_str()),
    ]
}

/// Every attribute that the metrics are grouped by: closed sets only, and never an address.
#[cfg(feature = "metrics")]
pub(crate) fn labels(summary: &NatSummary, failure: Option<FailureReason>) -> Vec<KeyValue> {
    group(
        failure,
        summary.nat_type(),
        summary.mapping(),
        summary.family().map(Family::as_str),
    )
}

#[cfg(feature = "metrics")]
fn group(
    failure: Option<FailureReason>,
    nat_type: nat_summary::NatType,
    mapping: nat_summary::Mapping,
    family: Option<&'static str>,
) -> Vec<KeyValue> {
    let mut out = Vec::with_capacity(4);
    out.extend(failure.map(|reason| KeyValue::new(keys::ERROR_TYPE, reason.as_str())));
    out.push(KeyValue::new(keys::NAT_TYPE, nat_type.as_legacy()));
    out.push(KeyValue::new(keys::MAPPING_BEHAVIOR, mapping.as_legacy()));
    out.extend(family.map(|family| KeyValue::new(keys::NETWORK_TYPE, family)));
    out
}

fn count(count: u16) -> Value {
    Value::I64(count.into())
}

/// The word for an observed value: none where the value is unknown.
fn observed<T: Copy + Default + PartialEq>(
    value: T,
    word: impl Fn(T) -> &'static str,
) -> Option<Value> {
    (value != T::default()).then(|| word(value).into())
}

fn candidate(kind: CandidateKind) -> Option<Value> {
    (kind != CandidateKind::Unknown).then(|| kind.as_str().into())
}

fn let_out(ip: IpAddr, policy: ExternalIp) -> Option<String> {
    // With a width, the standard library hands an address on in one piece, and the text takes
    // one allocation of its length, where a `String` that grows takes three.
    match (policy, ip.to_canonical()) {
        (ExternalIp::Full, ip) => Some(format!("{ip:1}")),
        (ExternalIp::Prefix, IpAddr::V4(ip)) => Some(prefix_of_v4(ip)),
        (ExternalIp::Prefix, IpAddr::V6(ip)) => Some(prefix_of_v6(ip)),
        (ExternalIp::Omit, _) => None,
    }
}

fn prefix_of_v4(ip: Ipv4Addr) -> String {
    format!("{}/24", Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << 8)))
}

fn prefix_of_v6(ip: Ipv6Addr) -> String {
    // 6to4, RFC 3056 section 2: 2002:V4ADDR::/48
    let length = if ip.segments()[0] == 0x2002 { 40 } else { 48 };
    format!(
        "{}/{length}",
        Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << (128 - length)))
    )
}

#[cfg(test)]
mod tests {
    use super::{ExternalIp, let_out};

    #[cfg(feature = "metrics")]
    #[test]
    fn all_groups_there_can_be_fit_the_limit_of_an_sdk_left_alone() {
        use std::collections::HashSet;

        use nat_summary::{Mapping, NatType};

        use crate::failure_reason::FailureReason;

        let failures: Vec<_> = std::iter::once(None)
            .chain(FailureReason::ALL.iter().copied().map(Some))
            .collect();
        let mut groups = HashSet::new();
        for failure in failures {
            for nat_type in NatType::ALL.iter().copied() {
                for mapping in Mapping::ALL.iter().copied() {
                    for family in [None, Some("ipv4"), Some("ipv6")] {
                        groups.insert(format!(
                            "{:?}",
                            super::group(failure, nat_type, mapping, family)
                        ));
                    }
                }
            }
        }
        assert_eq!(groups.len(), (FailureReason::ALL.len() + 1) * 8 * 4 * 3);
        let expected = format!("{} groups", groups.len());
        assert!(
            include_str!("../README.md").contains(&expected),
            "README.md: write {expected}"
        );
        assert!(
            groups.len() < 2_000,
            "the SDK folds what is beyond into one"
        );
    }

    #[test]
    fn a_policy_lets_out_so_much_of_an_address_and_no_more() {
        for (ip, full, prefix) in [
            ("203.0.113.7", "203.0.113.7", "203.0.113.0/24"),
            ("0.0.0.1", "0.0.0.1", "0.0.0.0/24"),
            ("255.255.255.255", "255.255.255.255", "255.255.255.0/24"),
            ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.0/24"),
            (
                "2001:db8:5:6:7:8:9:a",
                "2001:db8:5:6:7:8:9:a",
                "2001:db8:5::/48",
            ),
            (
                "2002:cb00:7107:1::7",
                "2002:cb00:7107:1::7",
                "2002:cb00:7100::/40",
            ),
            (
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "ffff:ffff:ffff::/48",
            ),
            ("64:ff9b::203.0.113.7", "64:ff9b::cb00:7107", "64:ff9b::/48"),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!(let_out(ip, ExternalIp::Full).as_deref(), Some(full));
            assert_eq!(let_out(ip, ExternalIp::Prefix).as_deref(), Some(prefix));
            assert_eq!(let_out(ip, ExternalIp::Omit), None);
        }
    }
}
