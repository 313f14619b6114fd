//! `webrtc` peer connections on a base: both families, authentic checks, candidates to signal, and
//! the end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ice_gather::peer_connection::{ConnectionEvidence, PeerConnection};
use ice_gather::responder::Responder;
use ice_gather::{Base, BindConfig, GatherConfig, PeerConnectionError, StunServer};
use nat_summary::{CandidateKind, PathEnd, TowardPeer};
use tokio::net::UdpSocket;
use webrtc::api::APIBuilder;
use webrtc::api::setting_engine::SettingEngine;
use webrtc::ice_transport::ice_candidate::RTCIceCandidateInit;
use webrtc::peer_connection::configuration::RTCConfiguration;
use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;

const PATIENCE: Duration = Duration::from_secs(10);

async fn on(base: Base) -> PeerConnection {
    let (settings, api) = (SettingEngine::default(), APIBuilder::new());
    PeerConnection::new(base, settings, api, RTCConfiguration::default())
        .await
        .unwrap()
}

async fn base_of_both_families() -> Base {
    let config = BindConfig::address(Ipv4Addr::LOCALHOST.into());
    Base::bind(config.with_address(Ipv6Addr::LOCALHOST.into()))
        .await
        .unwrap()
}

/// Without the candidates of one family.
fn only(description: &RTCSessionDescription, family: &str) -> RTCSessionDescription {
    let is_left = |line: &&str| !line.starts_with("a=candidate:") || line.contains(family);
    let mut left = description.clone();
    left.sdp = description
        .sdp
        .lines()
        .filter(is_left)
        .map(|line| format!("{line}\r\n"))
        .collect();
    left
}

/// Both connections with each other, over candidates with this in their line.
async fn connect(ours: &PeerConnection, theirs: &PeerConnection, family: &str) -> [PathEnd; 2] {
    ours.library()
        .create_data_channel("data", None)
        .await
        .unwrap();
    let offer = ours.library().create_offer(None).await.unwrap();
    let offer = ours.set_local_description(offer).await.unwrap();
    theirs
        .set_remote_description(only(&offer, family))
        .await
        .unwrap();
    let answer = theirs.library().create_answer(None).await.unwrap();
    let answer = theirs.set_local_description(answer).await.unwrap();
    ours.set_remote_description(only(&answer, family))
        .await
        .unwrap();
    let (ours, theirs) = tokio::join!(ours.opened(PATIENCE), theirs.opened(PATIENCE));
    [ours, theirs]
}

/// The peer's checks were read, and report the address that they went to, and no other.
fn assert_is_honest(evidence: &ConnectionEvidence) {
    let peer = &evidence.peer;
    assert!(
        peer.checks.answered > 0 && peer.checks.received > 0,
        "{peer:?}"
    );
    assert_eq!(peer.dropped, Default::default());
    for answer in peer.evidence.answers() {
        assert_eq!(answer.mapped, answer.base, "loopback has no NAT");
    }
    let verdict = evidence.as_attempt().verdict();
    assert_ne!(
        verdict.peer.unwrap().summary.toward_peer,
        TowardPeer::Changed
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn either_family_alone_carries_a_connection_and_its_checks_are_evidence() {
    for family in ["127.0.0.1", "::1"] {
        let (ours, theirs) = (
            on(base_of_both_families().await).await,
            on(base_of_both_families().await).await,
        );
        let ends = connect(&ours, &theirs, family).await;
        assert_eq!(ends, [PathEnd::Connected; 2], "{family}");
        let (ours, theirs) = (ours.close().await, theirs.close().await);
        for evidence in [&ours, &theirs] {
            assert_is_honest(evidence);
            let (local, _) = evidence.selected_pair.unwrap();
            assert_eq!(local, CandidateKind::Host);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_host_signals_its_address_once_more_as_reflexive() {
    let servers = [
        Responder::bind("127.0.0.1:0").await.unwrap(),
        Responder::bind("127.0.0.2:0").await.unwrap(),
    ];
    let cohort: Vec<StunServer> = servers.iter().map(Responder::server).collect();
    let base = Base::bind(BindConfig::address(Ipv4Addr::LOCALHOST.into()));
    let connection = on(base.await.unwrap()).await;
    let hosts = connection.candidates();
    assert!(hosts.iter().all(|c| c.kind == CandidateKind::Host) && hosts.len() == 1);
    connection.gather(&cohort, &GatherConfig::default()).await;
    connection
        .library()
        .create_data_channel("data", None)
        .await
        .unwrap();
    let offer = connection.library().create_offer(None).await.unwrap();
    let offer = connection.set_local_description(offer).await.unwrap();
    let lines: Vec<&str> = offer
        .sdp
        .lines()
        .filter(|line| line.starts_with("a=candidate:"))
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("typ host") && lines[1].contains("typ srflx"));
    assert_eq!(connection.evidence().await.path, PathEnd::Undecided);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_serves_one_connection_and_a_dropped_one_frees_its_port() {
    let base = base_of_both_families().await;
    let local = base.local_addrs().next().unwrap();
    let connection = on(base.clone()).await;
    let (settings, api) = (SettingEngine::default(), APIBuilder::new());
    let second = PeerConnection::new(base, settings, api, RTCConfiguration::default()).await;
    assert_eq!(second.err(), Some(PeerConnectionError::BaseTaken));
    // half-way, with checks toward a peer that is not there
    let peer = on(base_of_both_families().await).await;
    connection
        .library()
        .create_data_channel("data", None)
        .await
        .unwrap();
    let offer = connection.library().create_offer(None).await.unwrap();
    let offer = connection.set_local_description(offer).await.unwrap();
    peer.set_remote_description(offer).await.unwrap();
    let answer = peer.library().create_answer(None).await.unwrap();
    let answer = peer.set_local_description(answer).await.unwrap();
    drop(peer);
    connection.set_remote_description(answer).await.unwrap();
    let path = connection.opened(Duration::from_millis(300)).await;
    assert_eq!(path, PathEnd::NoPair);
    assert!(connection.evidence().await.peer.checks.sent > 0);
    drop(connection);
    let is_free = async {
        while UdpSocket::bind(local).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_free).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_no_answer_and_leaves_nothing_in_the_evidence() {
    let (ours, theirs) = (
        on(base_of_both_families().await).await,
        on(base_of_both_families().await).await,
    );
    let targets: Vec<SocketAddr> = ours.base().local_addrs().collect();
    let ends = connect(&ours, &theirs, "::1").await;
    assert_eq!(ends, [PathEnd::Connected; 2]);
    for (target, ip) in targets.iter().zip([
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ]) {
        let stranger = UdpSocket::bind((ip, 0)).await.unwrap();
        let request = ice_gather::stun::write_request([7; 12]);
        for datagram in [&request[..], b"rubbish", &[0x16, 0xfe, 0xfd]] {
            stranger.send_to(datagram, target).await.unwrap();
        }
        let mut buffer = [0; 100];
        let answer =
            tokio::time::timeout(Duration::from_millis(200), stranger.recv_from(&mut buffer));
        assert!(answer.await.is_err(), "a stranger is not answered");
    }
    let evidence = ours.evidence().await;
    assert_eq!(ours.base().dropped().unauthenticated, 2);
    let peer: Vec<SocketAddr> = theirs.base().local_addrs().collect();
    let mut unsolicited = evidence.peer.evidence.unsolicited_checks();
    assert!(unsolicited.all(|check| peer.contains(&check.source)));
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_come_later_too_but_not_without_end_nor_of_any_kind() {
    let (ours, theirs) = (
        on(base_of_both_families().await).await,
        on(base_of_both_families().await).await,
    );
    let line = |text: &str| RTCIceCandidateInit {
        candidate: text.to_owned(),
        ..RTCIceCandidateInit::default()
    };
    let candidates = theirs.candidates();
    let ends = connect(&ours, &theirs, "127.0.0.1");
    let trickle = async {
        for refused in ["rubbish", "candidate:1 1 udp 1 hidden.local 5 typ host"] {
            assert!(!ours.add_ice_candidate(line(refused)).await, "{refused}");
        }
    };
    let (ends, ()) = tokio::join!(ends, trickle);
    assert_eq!(ends, [PathEnd::Connected; 2]);
    for candidate in &candidates {
        let text = candidate.as_candidate().to_string();
        assert!(ours.add_ice_candidate(line(&text)).await, "{text}");
    }
    let mut taken = 0;
    for port in 1..100 {
        let text = format!("candidate:1 1 udp 1 127.0.0.1 {port} typ host");
        taken += u32::from(ours.add_ice_candidate(line(&text)).await);
    }
    assert!(taken < 32, "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_the_library_refuses_changes_nothing() {
    let ours = on(base_of_both_families().await).await;
    let garbage = |sdp: &str| {
        let mut description = RTCSessionDescription::default();
        sdp.clone_into(&mut description.sdp);
        description
    };
    let text = "v=0\r\na=ice-pwd:secretsecretsecretsecret\r\n\
                a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n";
    let refused = ours.set_remote_description(garbage(text)).await;
    assert_eq!(refused, Err(PeerConnectionError::Refused));
    let evidence = ours.evidence().await;
    assert_eq!(
        evidence.path,
        PathEnd::Undecided,
        "no check could decide it"
    );
    assert!(evidence.peer_candidates.is_none());

    let theirs = on(base_of_both_families().await).await;
    assert_eq!(
        connect(&ours, &theirs, "127.0.0.1").await,
        [PathEnd::Connected; 2]
    );
    let before = ours.evidence().await;
    let signalled = before.peer_candidates.clone().unwrap();
    let refused = ours.set_remote_description(garbage(text)).await;
    assert_eq!(refused, Err(PeerConnectionError::Refused));
    let wait = tokio::time::sleep(Duration::from_secs(5));
    wait.await;
    let after = ours.evidence().await;
    assert_eq!(
        after.peer.dropped,
        Default::default(),
        "answers still count"
    );
    assert!(after.peer.checks.answered > before.peer.checks.answered);
    assert_eq!(after.peer_candidates.unwrap().locals(), signalled.locals());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_description_of_the_same_peer_keeps_the_candidates_that_were_signalled() {
    let (ours, theirs) = (
        on(base_of_both_families().await).await,
        on(base_of_both_families().await).await,
    );
    assert_eq!(
        connect(&ours, &theirs, "127.0.0.1").await,
        [PathEnd::Connected; 2]
    );
    let before = ours.evidence().await.peer_candidates.unwrap();
    // as a peer that trickles: its description holds none
    let offer = ours.library().create_offer(None).await.unwrap();
    let offer = ours.set_local_description(offer).await.unwrap();
    theirs
        .set_remote_description(only(&offer, "none"))
        .await
        .unwrap();
    let answer = theirs.library().create_answer(None).await.unwrap();
    let answer = theirs.set_local_description(answer).await.unwrap();
    ours.set_remote_description(only(&answer, "none"))
        .await
        .unwrap();
    let after = ours.evidence().await.peer_candidates.unwrap();
    assert_eq!(after.locals(), before.locals());
}
