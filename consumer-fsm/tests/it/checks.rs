//! The evidence of the peer's checks, in the report and in the span.

use std::time::Duration;

use consumer_fsm::signalling::wire::{Description, Genesis, Kind, write};
use consumer_fsm::signalling::{GENESIS, MemorySignalling, Signalling, Switchboard};
use consumer_fsm::transport::{IceSession, Session, Transport, TransportError};
use consumer_fsm::{Ending, SessionDescription};
use ice_gather::checks::PeerReader;
use ice_gather::responder::Manner;
use ice_gather::{Credentials, Gathering, IceConn, PeerView, Role, StunServer};
use nat_summary::stage::StageVerdict;
use nat_summary::{CandidateKind, Evidence, FailureCause, FilteringSeen, TowardPeer};
use opentelemetry_sdk::trace::SpanData;
use otel_nat::{FailureReason, keys};

use crate::stage::{
    Measured, Running, Spans, attempt, attempt_over, cache, producer, responders, transport,
};

const PATIENCE: Duration = Duration::from_secs(4);

fn value(span: &SpanData, key: &str) -> Option<String> {
    span.attributes
        .iter()
        .find(|kv| kv.key.as_str() == key)
        .map(|kv| kv.value.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_tells_of_its_checks_and_without_a_nat_of_no_mapping() {
    let stun = responders(2, Manner::Honest).await;
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producer = producer(signalling.clone());
    let (spans, telemetry) = Spans::new();
    let report = attempt(signalling, cache(&stun), telemetry, PATIENCE).await;

    let peer = report.peer.unwrap();
    assert!(
        peer.checks.sent >= peer.checks.answered && peer.checks.answered > 0,
        "{peer:?}"
    );
    assert_eq!(
        (peer.summary.toward_peer, peer.summary.filtering),
        (TowardPeer::Unobserved, FilteringSeen::Unobserved)
    );
    assert_eq!(
        (peer.cause, peer.rebindings, peer.survived),
        (None, 0, None)
    );
    assert!(peer.outlook.is_some());
    let span = &spans.all()[0];
    assert!(
        value(span, keys::CHECKS_ANSWERED)
            .unwrap()
            .parse::<u32>()
            .unwrap()
            > 0
    );
    assert!(value(span, keys::OUTLOOK).is_some());
    assert_eq!(value(span, keys::PEER_MAPPING), None);
    assert_eq!(value(span, keys::FAILURE_CAUSE), None);
}

/// A peer that advertises these candidates and never sends a packet.
fn ghost(signalling: MemorySignalling, candidates: &'static str) -> Running {
    let sdp = format!(
        "v=0\r\na=ice-ufrag:ghost\r\na=ice-pwd:{}\r\n{candidates}",
        "g".repeat(32)
    );
    let answer = write(&Description {
        kind: "answer".into(),
        sdp,
    });
    Running(tokio::spawn(async move {
        loop {
            if let Ok(Some(offer)) = signalling
                .exchange(GENESIS, Kind::Genesis, &write(&Genesis::everywhere()))
                .await
            {
                let _ = signalling
                    .exchange(&offer.reply_to, Kind::Answer, &answer)
                    .await;
            }
        }
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_says_why_where_that_is_proven_and_unknown_where_not() {
    for (candidates, cause) in [
        // on this very host nothing is in between
        (
            "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n",
            FailureCause::PeerSilent,
        ),
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
        assert_eq!(report.ending, Some(Ending::Failure(FailureReason::Timeout)));
        let peer = report.peer.unwrap();
        assert_eq!(
            (peer.cause, peer.checks.answered, peer.checks.received),
            (Some(cause), 0, 0)
        );
        assert_eq!(
            value(&spans.all()[0], keys::FAILURE_CAUSE).as_deref(),
            Some(cause.as_str())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_network_is_its_own_cause() {
    let silent = responders(2, Manner::Silent).await;
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producer = producer(signalling.clone());
    let (spans, telemetry) = Spans::new();
    let report = attempt(signalling, cache(&silent), telemetry, PATIENCE).await;
    assert_eq!(
        report.peer.and_then(|peer| peer.cause),
        Some(FailureCause::UdpBlocked)
    );
    assert_eq!(
        value(&spans.all()[0], keys::FAILURE_CAUSE).as_deref(),
        Some("udp_blocked")
    );
}

/// Plain ICE, and not one of its checks is seen, as if all went by way of a relay; the channel over
/// it fails like this.
struct Unseen(Option<TransportError>);

impl Transport for Unseen {
    type Session = UnseenSession;

    async fn open(&self, role: Role) -> Result<UnseenSession, TransportError> {
        Ok(UnseenSession {
            ice: transport().open(role).await?,
            failure: self.0,
        })
    }
}

struct UnseenSession {
    ice: IceSession,
    failure: Option<TransportError>,
}

impl Session for UnseenSession {
    type Path = IceConn;

    fn credentials(&self) -> &Credentials {
        self.ice.credentials()
    }

    async fn gather(&self, cohort: &[StunServer]) -> Gathering {
        self.ice.gather(cohort).await
    }

    fn evidence(&self) -> Box<Evidence> {
        self.ice.evidence()
    }

    async fn connect(
        &mut self,
        remote: SessionDescription,
        deadline: Duration,
    ) -> Result<IceConn, TransportError> {
        let conn = self.ice.connect(remote, deadline).await?;
        self.failure.map_or(Ok(conn), Err)
    }

    fn selected_pair(&self) -> Option<(CandidateKind, CandidateKind)> {
        self.ice.selected_pair()
    }

    fn peer_view(&self) -> Option<PeerView> {
        Some(PeerReader::new().view())
    }

    async fn close(self) {
        self.ice.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_that_nobody_watched_is_not_said_to_have_held() {
    let stun = responders(2, Manner::Honest).await;
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producer = producer(signalling.clone());
    let (spans, telemetry) = Spans::new();
    let (measured, telemetry) = Measured::by(telemetry);
    let report = attempt_over(Unseen(None), signalling, cache(&stun), telemetry, PATIENCE).await;
    assert_eq!(report.ending, Some(Ending::Success));
    assert_eq!(value(&spans.all()[0], keys::REBINDINGS), None);
    assert!(!measured.has(keys::PATH_REBINDINGS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_worked_where_the_transport_says_so_whatever_was_seen_of_it() {
    let stun = responders(2, Manner::Honest).await;
    for (failure, cause) in [
        (TransportError::NoChannel, FailureCause::Unknown),
        (
            TransportError::Dtls,
            FailureCause::Channel(StageVerdict::Unknown),
        ),
        (
            TransportError::Fingerprint,
            FailureCause::Channel(StageVerdict::Unknown),
        ),
        (
            TransportError::Channel,
            FailureCause::Channel(StageVerdict::Unknown),
        ),
    ] {
        let signalling = MemorySignalling::new(Switchboard::default());
        let _producer = producer(signalling.clone());
        let (_spans, telemetry) = Spans::new();
        let report = attempt_over(
            Unseen(Some(failure)),
            signalling,
            cache(&stun),
            telemetry,
            PATIENCE,
        )
        .await;
        assert_eq!(
            report.ending,
            Some(Ending::Failure(FailureReason::ChannelFailed))
        );
        assert_eq!(
            report.peer.and_then(|peer| peer.cause),
            Some(cause),
            "{failure:?}"
        );
    }
}
