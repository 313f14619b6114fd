//! The contract with the dashboards: names, keys, types and values, to the letter.

use opentelemetry::trace::{SpanKind, Status};
use otel_nat::{FailureReason, Telemetry, keys};

use crate::host::{self, Host, attributes, is_error};

#[test]
fn a_success_is_told_in_these_attributes_and_no_others() {
    let host = Host::new();
    host.telemetry().attempt().succeed(&host::cone());
    let span = host.span();
    assert_eq!(span.name, "nat_success");
    assert_eq!(span.span_kind, SpanKind::Internal);
    assert_eq!(
        span.status,
        Status::Unset,
        "never Ok: that word is the operator's"
    );
    assert_eq!(span.dropped_attributes_count, 0);
    assert!(span.events.is_empty());
    assert_eq!(
        attributes(&span),
        [
            "nat_is_natted=true",
            r#"nat_mapping_behavior="independent""#,
            r#"nat_filtering_behavior="unspecified""#,
            r#"nat_type="Cone NAT""#,
            r#"nat_external_ip="203.0.113.7""#,
            "nat_port_preservation=true",
            r#"network.transport="udp""#,
            r#"network.type="ipv4""#,
            r#"nat_telemetry.rule="servers_agree""#,
            "nat_telemetry.servers.asked=2",
            "nat_telemetry.servers.answered=2",
            "nat_telemetry.servers.distinct=2",
            "nat_telemetry.bases=1",
            "nat_telemetry.observations=2",
            r#"nat_telemetry.base.scope="private""#,
            r#"nat_telemetry.external.scope="global""#,
        ]
    );
}

#[test]
fn a_failure_says_error_and_its_type() {
    let host = Host::new();
    host.telemetry()
        .attempt()
        .fail(&host::symmetric(), FailureReason::Timeout);
    let span = host.span();
    assert_eq!(span.name, "nat_failure");
    assert_eq!(span.span_kind, SpanKind::Internal);
    assert!(is_error(&span), "{:?}", span.status);
    assert_eq!(
        attributes(&span),
        [
            "nat_is_natted=true",
            r#"nat_mapping_behavior="address-port dependent""#,
            r#"nat_filtering_behavior="unspecified""#,
            r#"nat_type="Symmetric NAT""#,
            r#"nat_external_ip="203.0.113.7""#,
            "nat_port_preservation=false",
            r#"error.type="timeout""#,
            r#"network.transport="udp""#,
            r#"network.type="ipv4""#,
            r#"nat_telemetry.rule="servers_differ""#,
            "nat_telemetry.servers.asked=2",
            "nat_telemetry.servers.answered=2",
            "nat_telemetry.servers.distinct=2",
            "nat_telemetry.bases=1",
            "nat_telemetry.observations=2",
            r#"nat_telemetry.base.scope="private""#,
            r#"nat_telemetry.external.scope="global""#,
        ]
    );
}

#[test]
fn what_is_unknown_is_left_out_or_has_an_unknown_of_its_own() {
    // natted, mapping, type, address, port kept; `-`: the key is not there
    let table = [
        ("cone", "true|independent|Cone NAT|203.0.113.7|true"),
        (
            "symmetric",
            "true|address-port dependent|Symmetric NAT|203.0.113.7|false",
        ),
        (
            "address dependent",
            "true|address dependent|Symmetric NAT|203.0.113.7|false",
        ),
        (
            "open",
            "false|independent|Open to the Internet|203.0.113.7|true",
        ),
        (
            "open_v6",
            "false|independent|Open to the Internet|2001:db8:5:6::7|true",
        ),
        ("one server", "true|unspecified|Unknown|203.0.113.7|true"),
        ("hidden base", "true|unspecified|Unknown|203.0.113.7|-"),
        ("hidden host", "-|unspecified|Unknown|203.0.113.7|-"),
        ("locals unknown", "-|independent|Unknown|203.0.113.7|true"),
        ("blocked", "-|unspecified|UDP blocked by firewall|-|-"),
        ("no route", "-|unspecified|Unknown|-|-"),
        (
            "bare list",
            "true|address-port dependent|Symmetric NAT|203.0.113.7|false",
        ),
        ("carrier grade", "true|independent|Cone NAT|100.64.9.9|true"),
        (
            "sequential",
            "true|address-port dependent|Symmetric NAT|203.0.113.7|false",
        ),
        (
            "random",
            "true|address-port dependent|Symmetric NAT|203.0.113.7|false",
        ),
        (
            "arbitrary pool",
            "true|address-port dependent|Symmetric NAT|203.0.113.7|true",
        ),
        (
            "paired pool",
            "true|address-port dependent|Symmetric NAT|203.0.113.7|false",
        ),
        ("rewritten", "true|independent|Cone NAT|203.0.113.7|true"),
        (
            "full cone",
            "true|independent|Full cone NAT|203.0.113.7|true",
        ),
        (
            "address-restricted cone",
            "true|independent|Address-restricted cone NAT|203.0.113.7|true",
        ),
        (
            "port-restricted cone",
            "true|independent|Port-restricted cone NAT|203.0.113.7|true",
        ),
        ("nothing", "-|unspecified|Unknown|-|-"),
    ];
    let kinds = host::every_kind();
    assert_eq!(
        kinds.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        table.map(|(kind, _)| kind)
    );
    for ((kind, summary), (_, expected)) in kinds.iter().zip(table) {
        let host = Host::new();
        host.telemetry().attempt().succeed(summary);
        let span = host.span();
        let told = |key| {
            let found: Vec<_> = span
                .attributes
                .iter()
                .filter(|pair| pair.key.as_str() == key)
                .collect();
            assert!(
                found.len() <= 1,
                "{kind}: {key} is there {} times",
                found.len()
            );
            found
                .first()
                .map_or_else(|| "-".to_owned(), |pair| pair.value.to_string())
        };
        let row = [
            keys::IS_NATTED,
            keys::MAPPING_BEHAVIOR,
            keys::NAT_TYPE,
            keys::EXTERNAL_IP,
            keys::PORT_PRESERVATION,
        ]
        .map(told)
        .join("|");
        assert_eq!(row, expected, "{kind}");
        let filtering = match *kind {
            "full cone" => "independent",
            "address-restricted cone" => "address dependent",
            "port-restricted cone" => "address-port dependent",
            _ => "unspecified",
        };
        assert_eq!(
            told(keys::FILTERING_BEHAVIOR),
            filtering,
            "{kind}: gathering alone never knows it"
        );
    }
}

#[test]
fn reasons_are_a_closed_set_of_short_words() {
    let words: Vec<_> = FailureReason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .collect();
    assert_eq!(
        words,
        [
            "timeout",
            "ice_failed",
            "channel_failed",
            "udp_blocked",
            "no_server_answered",
            "signalling",
            "peer_gone",
            "local",
            "cancelled",
            "_OTHER"
        ]
    );
    for reason in FailureReason::ALL {
        let host = Host::new();
        host.telemetry().attempt().fail(&host::nothing(), *reason);
        assert_eq!(
            host::value(&host.span(), keys::ERROR_TYPE).as_deref(),
            Some(reason.as_str())
        );
    }
}

#[test]
fn the_scope_is_broflake_with_a_version_unless_named_otherwise() {
    let host = Host::new();
    host.telemetry().attempt().succeed(&host::cone());
    host.telemetry()
        .with_scope("elsewhere")
        .attempt()
        .succeed(&host::cone());
    host.telemetry()
        .with_scope(String::from("made") + " up")
        .attempt()
        .succeed(&host::cone());
    let scopes: Vec<_> = host
        .spans()
        .into_iter()
        .map(|span| span.instrumentation_scope)
        .collect();
    assert_eq!(
        scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>(),
        ["broflake", "elsewhere", "made up"]
    );
    for scope in scopes {
        assert_eq!(scope.version(), Some(env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn settings_of_a_clone_are_its_own() {
    let host = Host::new();
    let telemetry = host.telemetry();
    let other = telemetry.clone().with_scope("elsewhere");
    telemetry.attempt().succeed(&host::cone());
    other.attempt().succeed(&host::cone());
    let scopes: Vec<_> = host
        .spans()
        .into_iter()
        .map(|span| span.instrumentation_scope.name().to_owned())
        .collect();
    assert_eq!(scopes, ["broflake", "elsewhere"]);
}

#[test]
fn both_can_be_moved_and_shared_between_threads() {
    fn anywhere<T: Send + Sync + 'static>() {}
    anywhere::<Telemetry>();
    anywhere::<otel_nat::Attempt>();
}
