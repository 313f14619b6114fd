//! Addresses are people: where one may be, and where none may ever be.

use std::net::IpAddr;

use otel_nat::{ExternalIp, FailureReason, keys};

use crate::addresses::addresses;
use crate::host::{self, Host};

#[test]
fn each_policy_lets_out_what_it_says() {
    for (summary, full, prefix) in [
        (host::cone(), "203.0.113.7", "203.0.113.0/24"),
        (host::open_v6(), "2001:db8:5:6::7", "2001:db8:5::/48"),
    ] {
        for (policy, expected) in [
            (ExternalIp::Full, Some(full)),
            (ExternalIp::Prefix, Some(prefix)),
            (ExternalIp::Omit, None),
        ] {
            let host = Host::new();
            host.telemetry()
                .with_external_ip(policy)
                .attempt()
                .succeed(&summary);
            let span = host.span();
            let told = span
                .attributes
                .iter()
                .find(|pair| pair.key.as_str() == keys::EXTERNAL_IP);
            assert_eq!(
                told.map(|pair| pair.value.as_str().into_owned()).as_deref(),
                expected,
                "{policy:?}"
            );
        }
    }
}

#[test]
fn the_whole_address_is_the_default() {
    assert_eq!(ExternalIp::default(), ExternalIp::Full);
}

#[test]
fn no_policy_lets_an_address_out_anywhere_else() {
    for policy in [ExternalIp::Full, ExternalIp::Prefix, ExternalIp::Omit] {
        for (kind, summary) in host::every_kind() {
            for outcome in [None, Some(FailureReason::Timeout)] {
                let host = Host::new();
                let attempt = host.telemetry().with_external_ip(policy).attempt();
                match outcome {
                    None => attempt.succeed(&summary),
                    Some(reason) => attempt.fail(&summary, reason),
                }
                let mut span = host.span();
                let told = span
                    .attributes
                    .iter()
                    .find(|pair| pair.key.as_str() == keys::EXTERNAL_IP)
                    .cloned();
                if let Some(told) = told {
                    assert_ne!(policy, ExternalIp::Omit, "{kind}");
                    if policy == ExternalIp::Prefix {
                        let network = addresses(&told.value.as_str());
                        assert!(
                            !network.contains(&summary.external_ip().unwrap()),
                            "{kind}: {told:?}"
                        );
                    }
                }
                span.attributes
                    .retain(|pair| pair.key.as_str() != keys::EXTERNAL_IP);
                let everything = format!("{span:?}");
                assert_eq!(
                    addresses(&everything),
                    [] as [IpAddr; 0],
                    "{policy:?}, {kind}: {everything}"
                );
            }
        }
    }
}

#[test]
fn no_address_is_printed_with_a_handle() {
    let host = Host::new();
    let telemetry = host.telemetry();
    let mut attempt = telemetry.attempt();
    attempt.end_gathering(&host::cone());
    let printed = format!("{telemetry:?} {attempt:?}");
    assert_eq!(addresses(&printed), [] as [IpAddr; 0], "{printed}");
}
