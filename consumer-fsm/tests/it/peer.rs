//! What the peer's checks showed, in the report and in the span.

use std::time::Duration;

use consumer_fsm::Ending;
use consumer_fsm::signalling::wire::{Description, Genesis, Kind, write};
use consumer_fsm::signalling::{GENESIS, MemorySignalling, Signalling, Switchboard};
use ice_gather::responder::Manner;
use nat_summary::{FailureCause, FilteringSeen, TowardPeer};
use opentelemetry_sdk::trace::SpanData;
use otel_nat::{Reason, keys};

use crate::stage::{Running, Spans, attempt, cache, producer, responders};

const PATIENCE: Duration = Duration::from_secs(4);

fn value(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|kv| kv.key.as_str() == key).map(|kv| kv.value.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_tells_of_its_checks_and_without_a_nat_of_no_mapping() {
    let stun = responders(2, Manner::Honest).await;
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producer = producer(signalling.clone());
    let (spans, telemetry) = Spans::new();
    let report = attempt(signalling, cache(&stun), telemetry, PATIENCE).await;

    let peer = report.peer.unwrap();
    assert!(peer.checks.sent >= peer.checks.answered && peer.checks.answered > 0, "{peer:?}");
    assert_eq!((peer.summary.toward_peer, peer.summary.filtering), (TowardPeer::Unobserved, FilteringSeen::Unobserved));
    assert_eq!((peer.cause, peer.rebindings, peer.survived), (None, 0, None));
    assert!(peer.outlook.is_some());
    let span = &spans.all()[0];
    assert!(value(span, keys::CHECKS_ANSWERED).unwrap().parse::<u32>().unwrap() > 0);
    assert!(value(span, keys::OUTLOOK).is_some());
    assert_eq!(value(span, keys::PEER_MAPPING), None);
    assert_eq!(value(span, keys::FAILURE_CAUSE), None);
}

/// A peer that advertises these candidates and never sends a packet.
fn ghost(signalling: MemorySignalling, candidates: &'static str) -> Running {
    let sdp = format!("v=0\r\na=ice-ufrag:ghost\r\na=ice-pwd:{}\r\n{candidates}", "g".repeat(32));
    let answer = write(&Description { kind: "answer".into(), sdp });
    Running(tokio::spawn(async move {
        loop {
            if let Ok(Some(offer)) = signalling.exchange(GENESIS, Kind::Genesis, &write(&Genesis::everywhere())).await {
                let _ = signalling.exchange(&offer.reply_to, Kind::Answer, &answer).await;
            }
        }
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_says_why_where_that_is_proven_and_unknown_where_not() {
    for (candidates, cause) in [
        // on this very host nothing is in between
        ("a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n", FailureCause::PeerSilent),
        // behind a NAT there may be
        (
            "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n\
             a=candidate:2 1 udp 1 192.0.2.9 9 typ srflx raddr 10.0.0.9 rport 9\r\n",
            FailureCause::Unknown,
        ),
    ] {
        let stun = responders(2, Manner::Honest).await;
        let signalling = MemorySignalling::new(Switchboard::default());
        let _ghost = ghost(signalling.clone(), candidates);
        let (spans, telemetry) = Spans::new();
        let report = attempt(signalling, cache(&stun), telemetry, PATIENCE).await;
        assert_eq!(report.ending, Some(Ending::Failure(Reason::Timeout)));
        let peer = report.peer.unwrap();
        assert_eq!((peer.cause, peer.checks.answered, peer.checks.received), (Some(cause), 0, 0));
        assert_eq!(value(&spans.all()[0], keys::FAILURE_CAUSE).as_deref(), Some(cause.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_network_is_its_own_cause() {
    let silent = responders(2, Manner::Silent).await;
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producer = producer(signalling.clone());
    let (spans, telemetry) = Spans::new();
    let report = attempt(signalling, cache(&silent), telemetry, PATIENCE).await;
    assert_eq!(report.peer.and_then(|peer| peer.cause), Some(FailureCause::UdpBlocked));
    assert_eq!(value(&spans.all()[0], keys::FAILURE_CAUSE).as_deref(), Some("udp_blocked"));
}
