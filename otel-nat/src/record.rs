//! What leaves the process: the one file that turns a summary into attributes, and an address into what may be told of it.

/// How much of the mapped address goes out as `nat_external_ip`.
///
/// An address is a person's. Nothing else that goes out holds one, under any policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ExternalIp {
    /// The whole address, as dashboards have it today.
    #[default]
    Full,
    /// The network only: `203.0.113.0/24`, `2001:db8:5::/48`. Of a 6to4 address, which carries an IPv4 address within its
    /// first 48 bits, no more than that address's /24: `2002:cb00:7100::/40`.
    Prefix,
    /// Nothing: the key is left out.
    Omit,
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use outgoing::record;

#[cfg(not(target_arch = "wasm32"))]
mod outgoing {
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use nat_summary::NatSummary;
    use opentelemetry::KeyValue;

    use super::ExternalIp;
    use crate::{Reason, keys};

    /// Everything the span of one attempt says. What is unknown is left out, or has an unknown of its own; no key is
    /// there twice.
    pub(crate) fn record(summary: &NatSummary, failure: Option<Reason>, external_ip: ExternalIp) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(7);
        if let Some(natted) = summary.is_natted() {
            attributes.push(KeyValue::new(keys::IS_NATTED, natted));
        }
        attributes.push(KeyValue::new(keys::MAPPING_BEHAVIOR, summary.mapping().as_legacy()));
        attributes.push(KeyValue::new(keys::FILTERING_BEHAVIOR, summary.filtering().as_legacy()));
        attributes.push(KeyValue::new(keys::NAT_TYPE, summary.nat_type().as_legacy()));
        if let Some(address) = summary.external_ip().and_then(|ip| let_out(ip, external_ip)) {
            attributes.push(KeyValue::new(keys::EXTERNAL_IP, address));
        }
        if let Some(preserved) = summary.port_preserved() {
            attributes.push(KeyValue::new(keys::PORT_PRESERVATION, preserved));
        }
        if let Some(reason) = failure {
            attributes.push(KeyValue::new(keys::ERROR_TYPE, reason.as_str()));
        }
        attributes
    }

    fn let_out(ip: IpAddr, policy: ExternalIp) -> Option<String> {
        let ip = ip.to_canonical();
        match policy {
            ExternalIp::Full => Some(ip.to_string()),
            ExternalIp::Prefix => Some(match ip {
                IpAddr::V4(ip) => prefix_of_v4(ip),
                IpAddr::V6(ip) => prefix_of_v6(ip),
            }),
            ExternalIp::Omit => None,
        }
    }

    fn prefix_of_v4(ip: Ipv4Addr) -> String {
        format!("{}/24", Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << 8)))
    }

    fn prefix_of_v6(ip: Ipv6Addr) -> String {
        // 6to4, RFC 3056 section 2: 2002:V4ADDR::/48
        let length = if ip.segments()[0] == 0x2002 { 40 } else { 48 };
        format!("{}/{length}", Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << (128 - length))))
    }

    #[cfg(test)]
    mod tests {
        use super::{ExternalIp, let_out};

        #[test]
        fn a_policy_lets_out_so_much_of_an_address_and_no_more() {
            for (ip, full, prefix) in [
                ("203.0.113.7", "203.0.113.7", "203.0.113.0/24"),
                ("0.0.0.1", "0.0.0.1", "0.0.0.0/24"),
                ("255.255.255.255", "255.255.255.255", "255.255.255.0/24"),
                ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.0/24"),
                ("2001:db8:5:6:7:8:9:a", "2001:db8:5:6:7:8:9:a", "2001:db8:5::/48"),
                ("2002:cb00:7107:1::7", "2002:cb00:7107:1::7", "2002:cb00:7100::/40"),
                ("64:ff9b::203.0.113.7", "64:ff9b::cb00:7107", "64:ff9b::/48"),
            ] {
                let ip = ip.parse().unwrap();
                assert_eq!(let_out(ip, ExternalIp::Full).as_deref(), Some(full));
                assert_eq!(let_out(ip, ExternalIp::Prefix).as_deref(), Some(prefix));
                assert_eq!(let_out(ip, ExternalIp::Omit), None);
            }
        }
    }
}
