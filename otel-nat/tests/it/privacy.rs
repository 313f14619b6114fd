//! Addresses are people: where one may be, and where none may ever be.

use std::net::IpAddr;

use otel_nat::{ExternalIp, Reason, keys};

use crate::host::{self, Host};

/// Every word of `text` that reads as an address, with or without a prefix length or a port. A path of Rust's, such as
/// `it::run`, is one word and no address.
pub(crate) fn addresses(text: &str) -> Vec<IpAddr> {
    text.split(|c: char| !(c.is_alphanumeric() || "_.:".contains(c)))
        .flat_map(|word| {
            let bare = word.trim_matches(|c| c == '.' || c == ':');
            let socket = |word: &str| word.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
            [word.parse().ok(), bare.parse().ok(), socket(bare)]
        })
        .flatten()
        .collect()
}

#[test]
fn the_reader_finds_an_address_wherever_it_hides() {
    for text in [
        "at 203.0.113.7.",
        "(203.0.113.7:50000)",
        "203.0.113.7/32",
        "[2001:db8::7]:1",
        "x=\"2001:db8::7\"",
        "http://203.0.113.7:1/x",
        "\u{12}\r203.0.113.7\u{1a}",
    ] {
        assert!(!addresses(text).is_empty(), "{text}");
    }
    for text in ["Cone NAT", "0.1.0", "address-port dependent", "12:30", "it::run", "a::bad::c"] {
        assert!(addresses(text).is_empty(), "{text}");
    }
}

#[test]
fn each_policy_lets_out_what_it_says() {
    for (summary, full, prefix) in
        [(host::cone(), "203.0.113.7", "203.0.113.0/24"), (host::open_v6(), "2001:db8:5:6::7", "2001:db8:5::/48")]
    {
        for (policy, expected) in
            [(ExternalIp::Full, Some(full)), (ExternalIp::Prefix, Some(prefix)), (ExternalIp::Omit, None)]
        {
            let host = Host::new();
            host.telemetry().with_external_ip(policy).attempt().succeeded(&summary);
            let span = host.span();
            let told = span.attributes.iter().find(|pair| pair.key.as_str() == keys::EXTERNAL_IP);
            assert_eq!(told.map(|pair| pair.value.as_str().into_owned()).as_deref(), expected, "{policy:?}");
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
            for outcome in [None, Some(Reason::Timeout)] {
                let host = Host::new();
                let attempt = host.telemetry().with_external_ip(policy).attempt();
                match outcome {
                    None => attempt.succeeded(&summary),
                    Some(reason) => attempt.failed(&summary, reason),
                }
                let mut span = host.span();
                let told = span.attributes.iter().find(|pair| pair.key.as_str() == keys::EXTERNAL_IP).cloned();
                if let Some(told) = told {
                    assert_ne!(policy, ExternalIp::Omit, "{kind}");
                    if policy == ExternalIp::Prefix {
                        let network = addresses(&told.value.as_str());
                        assert!(!network.contains(&summary.external_ip().unwrap()), "{kind}: {told:?}");
                    }
                }
                span.attributes.retain(|pair| pair.key.as_str() != keys::EXTERNAL_IP);
                let everything = format!("{span:?}");
                assert_eq!(addresses(&everything), [] as [IpAddr; 0], "{policy:?}, {kind}: {everything}");
            }
        }
    }
}

#[test]
fn no_address_is_printed_with_a_handle() {
    let host = Host::new();
    let telemetry = host.telemetry();
    let mut attempt = telemetry.attempt();
    attempt.gathered(&host::cone());
    let printed = format!("{telemetry:?} {attempt:?}");
    assert_eq!(addresses(&printed), [] as [IpAddr; 0], "{printed}");
}
