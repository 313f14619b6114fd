//! How many spans an attempt comes to: one, or none where there is nothing to tell.

use otel_nat::{FailureReason, keys};

use crate::host::{self, Host, attributes, is_error, value};

#[test]
fn an_attempt_dropped_before_any_server_was_asked_says_nothing() {
    let host = Host::new();
    drop(host.telemetry().attempt());
    let mut attempt = host.telemetry().attempt();
    attempt.end_gathering(&host::nothing());
    drop(attempt);
    assert!(host.spans().is_empty());
}

#[test]
fn an_attempt_dropped_after_a_server_was_asked_is_a_cancelled_failure() {
    let host = Host::new();
    let mut attempt = host.telemetry().attempt();
    attempt.begin_gathering();
    drop(attempt);
    let span = host.span();
    assert_eq!(span.name, "nat_failure");
    assert!(is_error(&span));
    assert_eq!(
        attributes(&span)[..4],
        [
            r#"nat_mapping_behavior="unspecified""#,
            r#"nat_filtering_behavior="unspecified""#,
            r#"nat_type="Unknown""#,
            r#"error.type="cancelled""#,
        ]
    );
}

#[test]
fn an_attempt_dropped_after_gathering_tells_what_was_gathered() {
    let host = Host::new();
    let mut attempt = host.telemetry().attempt();
    attempt.end_gathering(&host::one_server());
    attempt.end_gathering(&host::cone());
    drop(attempt);
    let span = host.span();
    assert_eq!(value(&span, keys::NAT_TYPE).as_deref(), Some("Cone NAT"));
    assert_eq!(value(&span, keys::ERROR_TYPE).as_deref(), Some("cancelled"));
}

#[test]
fn servers_that_were_asked_in_vain_were_still_asked() {
    let host = Host::new();
    let mut attempt = host.telemetry().attempt();
    attempt.end_gathering(&host::blocked());
    drop(attempt);
    assert_eq!(
        value(&host.span(), keys::NAT_TYPE).as_deref(),
        Some("UDP blocked by firewall")
    );
}

#[test]
fn a_finished_attempt_emits_once_whatever_came_before() {
    let host = Host::new();
    for asked in [false, true] {
        for gathered in [false, true] {
            for success in [false, true] {
                let before = host.spans().len();
                let mut attempt = host.telemetry().attempt();
                if asked {
                    attempt.begin_gathering();
                }
                if gathered {
                    attempt.end_gathering(&host::cone());
                }
                if success {
                    attempt.succeed(&host::cone());
                } else {
                    attempt.fail(&host::cone(), FailureReason::PeerGone);
                }
                assert_eq!(
                    host.spans().len(),
                    before + 1,
                    "asked {asked}, gathered {gathered}, success {success}"
                );
            }
        }
    }
}

#[test]
fn an_attempt_lost_to_a_panic_is_a_cancelled_failure() {
    let host = Host::new();
    let telemetry = host.telemetry();
    let lost = std::thread::spawn(move || {
        let mut attempt = telemetry.attempt();
        attempt.begin_gathering();
        std::panic::resume_unwind(Box::new("lost"));
    });
    assert!(lost.join().is_err());
    assert_eq!(
        value(&host.span(), keys::ERROR_TYPE).as_deref(),
        Some("cancelled")
    );
}
