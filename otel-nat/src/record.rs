//! The one function that decides what leaves the process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nat_summary::NatSummary;
use opentelemetry::KeyValue;

use crate::keys;
use crate::reason::{ExternalIp, Reason};

/// Every attribute of a span, each key once. What is unknown is left out, or is `unspecified` or `Unknown` where the
/// contract has a word for it; it is never a false `false`.
pub(crate) fn attributes(summary: &NatSummary, failure: Option<Reason>, external_ip: ExternalIp) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(7);
    attributes.push(KeyValue::new(keys::MAPPING_BEHAVIOR, summary.mapping().as_legacy()));
    attributes.push(KeyValue::new(keys::FILTERING_BEHAVIOR, summary.filtering().as_legacy()));
    attributes.push(KeyValue::new(keys::NAT_TYPE, summary.nat_type().as_legacy()));
    if let Some(natted) = summary.is_natted() {
        attributes.push(KeyValue::new(keys::IS_NATTED, natted));
    }
    if let Some(preserved) = summary.port_preserved() {
        attributes.push(KeyValue::new(keys::PORT_PRESERVATION, preserved));
    }
    if let Some(ip) = summary.external_ip().and_then(|ip| permitted(ip, external_ip)) {
        attributes.push(KeyValue::new(keys::EXTERNAL_IP, ip.to_string()));
    }
    if let Some(reason) = failure {
        attributes.push(KeyValue::new(keys::ERROR_TYPE, reason.as_str()));
    }
    attributes
}

fn permitted(ip: IpAddr, policy: ExternalIp) -> Option<IpAddr> {
    match (policy, ip) {
        (ExternalIp::Full, ip) => Some(ip),
        (ExternalIp::Prefix, IpAddr::V4(ip)) => Some(Ipv4Addr::from(u32::from(ip) & (!0 << 8)).into()),
        (ExternalIp::Prefix, IpAddr::V6(ip)) => Some(Ipv6Addr::from(u128::from(ip) & (!0 << 80)).into()),
        (ExternalIp::Omit, _) => None,
    }
}
