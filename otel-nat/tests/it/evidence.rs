//! Evidence travels with the verdict: how it came about can be read from the span itself.

use std::time::Duration;

use nat_summary::{CandidateKind, Mapping, Outlook};
use otel_nat::{
    Attempt, Checks, FailureCause, FailureReason, FilteringSeen, MappingLifetime, TowardPeer, keys,
};

use crate::host::{self, Host, attributes, value};

#[test]
fn a_blocked_host_says_whom_it_asked_in_vain() {
    let host = Host::new();
    host.telemetry()
        .attempt()
        .fail(&host::blocked(), FailureReason::UdpBlocked);
    let span = host.span();
    for (key, expected) in [
        (keys::RULE, Some("asked_none_answered")),
        (keys::SERVERS_ASKED, Some("2")),
        (keys::SERVERS_ANSWERED, Some("0")),
        (keys::SERVERS_DISTINCT, Some("0")),
        (keys::BASES, Some("0")),
        (keys::NETWORK_TYPE, None),
        (keys::BASE_SCOPE, None),
        (keys::EXTERNAL_SCOPE, None),
    ] {
        assert_eq!(value(&span, key).as_deref(), expected, "{key}");
    }
}

#[test]
fn a_bare_candidate_list_does_not_claim_to_know_whom_was_asked() {
    let host = Host::new();
    host.telemetry().attempt().succeed(&host::bare_list());
    let span = host.span();
    assert_eq!(value(&span, keys::SERVERS_ASKED), None);
    assert_eq!(value(&span, keys::SERVERS_ANSWERED), None);
    assert_eq!(value(&span, keys::SERVERS_DISTINCT).as_deref(), Some("2"));
}

#[test]
fn a_wildcard_base_has_no_scope() {
    let host = Host::new();
    host.telemetry().attempt().succeed(&host::locals_unknown());
    assert_eq!(value(&host.span(), keys::BASE_SCOPE), None);
}

#[test]
fn both_families_are_told_apart() {
    for (summary, family) in [(host::cone(), "ipv4"), (host::open_v6(), "ipv6")] {
        let host = Host::new();
        host.telemetry().attempt().succeed(&summary);
        assert_eq!(
            value(&host.span(), keys::NETWORK_TYPE).as_deref(),
            Some(family)
        );
    }
}

#[test]
fn the_selected_pair_and_the_mapping_toward_the_peer_are_told_once_known() {
    let host = Host::new();
    let mut attempt = host.telemetry().attempt();
    attempt.set_selected_pair(CandidateKind::ServerReflexive, CandidateKind::PeerReflexive);
    attempt.set_mapping_toward_peer(TowardPeer::Changed);
    attempt.succeed(&host::cone());
    let span = host.span();
    assert_eq!(value(&span, keys::PAIR_LOCAL).as_deref(), Some("srflx"));
    assert_eq!(value(&span, keys::PAIR_REMOTE).as_deref(), Some("prflx"));
    assert_eq!(value(&span, keys::PEER_MAPPING).as_deref(), Some("changed"));
}

#[test]
fn gathering_lasts_from_the_first_server_asked_and_connecting_until_the_end() {
    let host = Host::new();
    let nap = Duration::from_millis(20);
    let mut attempt = host.telemetry().attempt();
    std::thread::sleep(nap);
    attempt.begin_gathering();
    std::thread::sleep(nap);
    attempt.begin_gathering();
    attempt.end_gathering(&host::cone());
    std::thread::sleep(nap);
    attempt.begin_checks();
    std::thread::sleep(nap);
    attempt.succeed(&host::cone());
    let span = host.span();
    let total = span
        .end_time
        .duration_since(span.start_time)
        .unwrap()
        .as_secs_f64();
    let seconds = |key| value(&span, key).unwrap().parse::<f64>().unwrap();
    let (gather, connect) = (
        seconds(keys::GATHER_DURATION),
        seconds(keys::CONNECT_DURATION),
    );
    let nap = nap.as_secs_f64();
    assert!(gather >= nap && connect >= nap, "{gather} {connect}");
    assert!(
        gather + connect <= total - 2.0 * nap,
        "{gather} + {connect} of {total}"
    );
}

#[test]
fn the_wait_for_a_peer_lasts_from_the_start_to_its_last_end_and_takes_the_start_of_no_span() {
    let nap = Duration::from_millis(20);
    for (ends, waited) in [(true, 2.0), (false, 3.0)] {
        let host = Host::new();
        let mut attempt = host.telemetry().attempt();
        attempt.begin_wait();
        std::thread::sleep(nap);
        attempt.end_wait();
        // the peer is lost, and the next one is awaited
        std::thread::sleep(nap);
        attempt.begin_wait();
        if ends {
            attempt.end_wait();
        }
        std::thread::sleep(nap);
        attempt.end_gathering(&host::cone());
        attempt.fail(&host::cone(), FailureReason::Timeout);
        let span = host.span();
        let total = span.end_time.duration_since(span.start_time).unwrap();
        let wait = value(&span, keys::SIGNALLING_WAIT).unwrap();
        let wait = Duration::from_secs_f64(wait.parse().unwrap());
        assert!(wait >= nap.mul_f64(waited), "{wait:?}");
        assert!(total >= 3 * nap && wait <= total, "{wait:?} of {total:?}");
        assert_eq!(ends, wait <= total - nap, "{wait:?} of {total:?}");
    }
}

#[test]
fn durations_nobody_told_of_are_not_there() {
    let host = Host::new();
    let mut attempt = host.telemetry().attempt();
    attempt.end_gathering(&host::cone());
    attempt.succeed(&host::cone());
    let span = host.span();
    assert_eq!(value(&span, keys::GATHER_DURATION), None);
    assert_eq!(value(&span, keys::SIGNALLING_WAIT), None);
    assert_eq!(value(&span, keys::CONNECT_DURATION), None);
}

#[test]
fn how_ports_and_addresses_are_given_out_is_told_where_it_was_seen() {
    for (summary, pooling, allocation, step, rewritten) in [
        (host::cone(), None, None, None, None),
        (
            host::sequential(),
            None,
            Some("sequential"),
            Some("2"),
            None,
        ),
        (host::random(), None, Some("random"), None, None),
        (
            host::arbitrary_pool(),
            Some("arbitrary"),
            Some("preserving"),
            None,
            None,
        ),
        (
            host::paired_pool(),
            Some("paired"),
            Some("sequential"),
            Some("1"),
            None,
        ),
        (host::rewritten(), None, None, None, Some("true")),
    ] {
        let host = Host::new();
        host.telemetry().attempt().succeed(&summary);
        let span = host.span();
        for (key, expected) in [
            (keys::POOLING, pooling),
            (keys::PORT_ALLOCATION, allocation),
            (keys::PORT_STEP, step),
            (keys::REWRITTEN, rewritten),
        ] {
            assert_eq!(value(&span, key).as_deref(), expected, "{key}: {summary}");
        }
    }
}

/// Everything the checks can have shown.
pub(crate) fn tell_of_the_checks(attempt: &mut Attempt) {
    attempt.set_mapping_toward_peer(TowardPeer::Changed);
    attempt.set_mapping_with_peer(Mapping::Dependent);
    attempt.set_filtering_seen(FilteringSeen::AtMostAddressDependent);
    attempt.set_checks(Checks {
        sent: 12,
        answered: 0,
        received: 7,
        ..Checks::default()
    });
    attempt.set_peer_summary(&host::symmetric());
    attempt.set_outlook(Outlook::between(&host::cone(), &host::symmetric()));
    attempt.set_failure_cause(FailureCause::ChecksOneWay);
    attempt.set_mapping_lifetime(MappingLifetime {
        rebindings: 1,
        survived: Some(Duration::from_millis(40_500)),
    });
}

#[test]
fn what_the_checks_showed_is_told_in_these_attributes_and_changes_no_other() {
    let (plain, host) = (Host::new(), Host::new());
    plain
        .telemetry()
        .attempt()
        .fail(&host::cone(), FailureReason::Timeout);
    let mut attempt = host.telemetry().attempt();
    tell_of_the_checks(&mut attempt);
    attempt.fail(&host::cone(), FailureReason::Timeout);
    let (before, after) = (attributes(&plain.span()), attributes(&host.span()));
    let (same, more) = after.split_at(before.len());
    assert_eq!(same, before, "the servers' verdict is the servers'");
    assert_eq!(
        more,
        [
            r#"nat_telemetry.peer_mapping="changed""#,
            r#"nat_telemetry.mapping.with_peer="address-port dependent""#,
            r#"nat_telemetry.filtering="at_most_address_dependent""#,
            "nat_telemetry.checks.sent=12",
            "nat_telemetry.checks.answered=0",
            "nat_telemetry.checks.received=7",
            r#"nat_telemetry.peer.nat_type="Symmetric NAT""#,
            r#"nat_telemetry.outlook="undecided""#,
            r#"nat_telemetry.outlook.reason="same_external_address""#,
            r#"nat_telemetry.failure.cause="checks_one_way""#,
            "nat_telemetry.rebindings=1",
            "nat_telemetry.mapping.survived=40.5",
        ]
    );
}

#[test]
fn what_stood_in_the_way_is_told_of_a_failure_only() {
    let host = Host::new();
    let mut attempt = host.telemetry().attempt();
    tell_of_the_checks(&mut attempt);
    attempt.succeed(&host::cone());
    assert_eq!(value(&host.span(), keys::FAILURE_CAUSE), None);
}

#[test]
fn what_was_told_survives_a_drop() {
    let host = Host::new();
    let mut attempt = host.telemetry().attempt();
    attempt.begin_gathering();
    tell_of_the_checks(&mut attempt);
    drop(attempt);
    let span = host.span();
    assert_eq!(
        value(&span, keys::FAILURE_CAUSE).as_deref(),
        Some("checks_one_way")
    );
    assert_eq!(value(&span, keys::ERROR_TYPE).as_deref(), Some("cancelled"));
}

#[test]
fn causes_are_a_closed_set_of_short_words() {
    let words: Vec<_> = FailureCause::ALL
        .iter()
        .map(|cause| cause.as_str())
        .collect();
    let expected = [
        "both_symmetric",
        "peer_silent",
        "udp_blocked",
        "filtered_here",
        "checks_one_way",
        "dtls",
        "hello_unanswered",
        "hello_never_came",
        "handshake_stalled",
        "handshake_refused",
        "channel_unanswered",
        "large_packets_vanish",
        "frozen_after_open",
        "path_lost",
        "closed_by_peer",
        "unknown",
    ];
    assert_eq!(words, expected);
}
