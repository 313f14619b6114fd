//! What leaves the process: the one file that turns a summary into attributes, and an address into
//! what may be told of it.

/// How much of the mapped address goes out as `nat_external_ip`.
///
/// An address is a person's. Nothing else that goes out holds one, under any policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ExternalIp {
    /// The whole address, as dashboards have it today.
    #[default]
    Full,
    /// The network only: `203.0.113.0/24`, `2001:db8:5::/48`. Of a 6to4 address, which carries an
    /// IPv4 address within its first 48 bits, no more than that address's /24:
    /// `2002:cb00:7100::/40`.
    Prefix,
    /// Nothing: the key is left out.
    Omit,
}

#[cfg(all(feature = "metrics", not(target_arch = "wasm32")))]
pub(crate) use outgoing::labels;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use outgoing::{Facts, record};

#[cfg(not(target_arch = "wasm32"))]
mod outgoing {
    use core::fmt::{self, Write as _};
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use core::time::Duration;

    #[cfg(any(feature = "metrics", test))]
    use nat_summary::Family;
    use nat_summary::{
        CandidateKind, Mapping, NatSummary, NatType, Outlook, Pooling, PortAllocation,
    };
    use opentelemetry::{KeyValue, Value};

    use super::ExternalIp;
    use crate::{Checks, Endurance, FailureCause, FilteringSeen, Reason, TowardPeer, keys};

    /// What is known of an attempt besides its summary.
    #[derive(Debug, Clone, Copy, Default)]
    pub(crate) struct Facts {
        pub(crate) gather: Option<Duration>,
        pub(crate) connect: Option<Duration>,
        pub(crate) selected: Option<(CandidateKind, CandidateKind)>,
        pub(crate) toward_peer: TowardPeer,
        pub(crate) mapping_with_peer: Mapping,
        pub(crate) filtering: FilteringSeen,
        pub(crate) checks: Option<Checks>,
        /// The type of the peer's NAT.
        pub(crate) peer: Option<NatType>,
        pub(crate) outlook: Option<Outlook>,
        pub(crate) cause: Option<FailureCause>,
        pub(crate) endurance: Option<Endurance>,
    }

    /// Most attributes of one span, so that their list is allocated once.
    const MOST: usize = 37;

    /// Everything the span of one attempt says. What is unknown is left out, or has an unknown of
    /// its own; no key is there twice.
    pub(crate) fn record(
        summary: &NatSummary,
        failure: Option<Reason>,
        facts: &Facts,
        external_ip: ExternalIp,
    ) -> Vec<KeyValue> {
        let mut out = Vec::with_capacity(MOST);
        let mut say = |key: &'static str, value: Option<Value>| {
            out.extend(value.map(|value| KeyValue::new(key, value)));
        };
        say(keys::IS_NATTED, summary.is_natted().map(Value::from));
        say(
            keys::MAPPING_BEHAVIOR,
            Some(summary.mapping().as_legacy().into()),
        );
        say(
            keys::FILTERING_BEHAVIOR,
            Some(summary.filtering().as_legacy().into()),
        );
        say(keys::NAT_TYPE, Some(summary.nat_type().as_legacy().into()));
        say(
            keys::EXTERNAL_IP,
            summary
                .external_ip()
                .and_then(|ip| let_out(ip, external_ip))
                .map(Value::from),
        );
        say(
            keys::PORT_PRESERVATION,
            summary.port_preserved().map(Value::from),
        );
        say(
            keys::ERROR_TYPE,
            failure.map(|reason| reason.as_str().into()),
        );

        say(keys::NETWORK_TRANSPORT, Some("udp".into()));
        say(
            keys::NETWORK_TYPE,
            summary.family().map(|family| family.as_str().into()),
        );
        say(keys::RULE, Some(summary.rule().as_str().into()));
        let counts = summary.counts();
        let asked = (counts.asked > 0).then_some(counts.asked);
        say(keys::SERVERS_ASKED, asked.map(count));
        say(
            keys::SERVERS_ANSWERED,
            asked.map(|_| count(counts.answered)),
        );
        say(keys::SERVERS_DISTINCT, Some(count(counts.server_addresses)));
        say(keys::BASES, Some(count(counts.bases)));
        say(keys::OBSERVATIONS, Some(count(counts.observations)));
        say(
            keys::BASE_SCOPE,
            summary.base_scope().map(|scope| scope.as_str().into()),
        );
        say(
            keys::EXTERNAL_SCOPE,
            summary.external_scope().map(|scope| scope.as_str().into()),
        );
        say(keys::POOLING, observed(summary.pooling(), Pooling::as_str));
        let allocation = summary.port_allocation();
        say(
            keys::PORT_ALLOCATION,
            observed(allocation, PortAllocation::as_str),
        );
        say(
            keys::PORT_STEP,
            allocation.step().map(|step| Value::I64(step.into())),
        );
        say(keys::REWRITTEN, summary.rewritten().map(Value::from));
        say(
            keys::GATHER_DURATION,
            facts.gather.map(|time| time.as_secs_f64().into()),
        );
        say(
            keys::CONNECT_DURATION,
            facts.connect.map(|time| time.as_secs_f64().into()),
        );
        let (local, remote) = facts.selected.unzip();
        say(keys::PAIR_LOCAL, local.and_then(candidate));
        say(keys::PAIR_REMOTE, remote.and_then(candidate));
        say(
            keys::PEER_MAPPING,
            observed(facts.toward_peer, TowardPeer::as_str),
        );
        say(
            keys::MAPPING_WITH_PEER,
            observed(facts.mapping_with_peer, Mapping::as_legacy),
        );
        say(
            keys::FILTERING_SEEN,
            observed(facts.filtering, FilteringSeen::as_str),
        );
        say(
            keys::CHECKS_SENT,
            facts.checks.map(|checks| i64::from(checks.sent).into()),
        );
        say(
            keys::CHECKS_ANSWERED,
            facts.checks.map(|checks| i64::from(checks.answered).into()),
        );
        say(
            keys::CHECKS_RECEIVED,
            facts.checks.map(|checks| i64::from(checks.received).into()),
        );
        say(
            keys::PEER_NAT_TYPE,
            facts.peer.map(|nat_type| nat_type.as_legacy().into()),
        );
        say(
            keys::OUTLOOK,
            facts.outlook.map(|outlook| outlook.path.as_str().into()),
        );
        say(
            keys::OUTLOOK_REASON,
            facts.outlook.map(|outlook| outlook.reason.as_str().into()),
        );
        say(
            keys::FAILURE_CAUSE,
            failure.and(facts.cause).map(|cause| cause.as_str().into()),
        );
        say(
            keys::REBINDINGS,
            facts
                .endurance
                .map(|held| i64::from(held.rebindings).into()),
        );
        let survived = facts.endurance.and_then(|held| held.survived);
        say(
            keys::MAPPING_SURVIVED,
            survived.map(|time| time.as_secs_f64().into()),
        );
        out
    }

    /// Everything the metric of one attempt is grouped by: closed sets only, and never an address.
    #[cfg(feature = "metrics")]
    pub(crate) fn labels(summary: &NatSummary, failure: Option<Reason>) -> Vec<KeyValue> {
        group(
            failure,
            summary.nat_type(),
            summary.mapping(),
            summary.family().map(Family::as_str),
        )
    }

    #[cfg(feature = "metrics")]
    fn group(
        failure: Option<Reason>,
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

    /// The word of what was observed: nothing where it is unknown.
    fn observed<T: Copy + Default + PartialEq>(
        what: T,
        word: impl Fn(T) -> &'static str,
    ) -> Option<Value> {
        (what != T::default()).then(|| word(what).into())
    }

    fn candidate(kind: CandidateKind) -> Option<Value> {
        (kind != CandidateKind::Unknown).then(|| kind.as_str().into())
    }

    fn let_out(ip: IpAddr, policy: ExternalIp) -> Option<String> {
        let ip = ip.to_canonical();
        match (policy, ip) {
            (ExternalIp::Full, ip) => Some(exactly(format_args!("{ip}"))),
            (ExternalIp::Prefix, IpAddr::V4(ip)) => Some(prefix_of_v4(ip)),
            (ExternalIp::Prefix, IpAddr::V6(ip)) => Some(prefix_of_v6(ip)),
            (ExternalIp::Omit, _) => None,
        }
    }

    fn prefix_of_v4(ip: Ipv4Addr) -> String {
        exactly(format_args!(
            "{}/24",
            Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << 8))
        ))
    }

    fn prefix_of_v6(ip: Ipv6Addr) -> String {
        // 6to4, RFC 3056 section 2: 2002:V4ADDR::/48
        let length = if ip.segments()[0] == 0x2002 { 40 } else { 48 };
        exactly(format_args!(
            "{}/{length}",
            Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << (128 - length)))
        ))
    }

    /// One allocation of the right size, where a `String` that grows takes three.
    fn exactly(text: fmt::Arguments<'_>) -> String {
        let mut longest = Longest {
            bytes: [0; LONGEST],
            length: 0,
        };
        match longest.write_fmt(text) {
            Ok(()) => String::from_utf8_lossy(longest.written()).into_owned(),
            Err(fmt::Error) => text.to_string(),
        }
    }

    /// An IPv6 address that shows an IPv4 address, and a prefix length.
    const LONGEST: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128".len();

    struct Longest {
        bytes: [u8; LONGEST],
        length: usize,
    }

    impl Longest {
        fn written(&self) -> &[u8] {
            self.bytes.get(..self.length).unwrap_or(&[])
        }
    }

    impl fmt::Write for Longest {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let free = self.bytes.get_mut(self.length..).unwrap_or(&mut []);
            free.get_mut(..text.len())
                .ok_or(fmt::Error)?
                .copy_from_slice(text.as_bytes());
            self.length += text.len();
            Ok(())
        }
    }

    #[cfg(test)]
    mod tests {
        use super::{ExternalIp, let_out};

        #[cfg(feature = "metrics")]
        #[test]
        fn all_groups_there_can_be_fit_the_limit_of_an_sdk_left_alone() {
            use std::collections::HashSet;

            use nat_summary::{Mapping, NatType};

            use crate::Reason;

            let failures: Vec<_> = std::iter::once(None)
                .chain(Reason::ALL.iter().copied().map(Some))
                .collect();
            let mut groups = HashSet::new();
            for failure in failures {
                for nat_type in [
                    NatType::Unknown,
                    NatType::Open,
                    NatType::Cone,
                    NatType::FullCone,
                    NatType::AddressRestrictedCone,
                    NatType::PortRestrictedCone,
                    NatType::Symmetric,
                    NatType::UdpBlocked,
                ] {
                    for mapping in [
                        Mapping::Unknown,
                        Mapping::EndpointIndependent,
                        Mapping::AddressDependent,
                        Mapping::AddressAndPortDependent,
                        Mapping::Dependent,
                    ] {
                        for family in [None, Some(super::Family::V4), Some(super::Family::V6)] {
                            let family = family.map(super::Family::as_str);
                            groups.insert(format!(
                                "{:?}",
                                super::group(failure, nat_type, mapping, family)
                            ));
                        }
                    }
                }
            }
            assert_eq!(groups.len(), (Reason::ALL.len() + 1) * 8 * 4 * 3);
            let told = format!("{} groups", groups.len());
            assert!(
                include_str!("../README.md").contains(&told),
                "README.md: say {told}"
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
}
