//! What stopped a `webrtc` peer connection, with a censor on the path between two of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ice_gather::peer_connection::PeerConnection;
use ice_gather::{Base, BindConfig};
use nat_summary::stage::{DtlsRole, Stage, StageReport, StageVerdict};
use nat_summary::{FailureCause, PathEnd};
use webrtc::api::APIBuilder;
use webrtc::api::setting_engine::SettingEngine;
use webrtc::data_channel::RTCDataChannel;
use webrtc::data_channel::data_channel_state::RTCDataChannelState;
use webrtc::peer_connection::configuration::RTCConfiguration;
use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;

use crate::censored::{Between, Censor, by_way_of, dtls, hellos, nothing};

/// The longest wait for a verdict.
const PATIENCE: Duration = Duration::from_secs(30);

/// The description with this address in the place of its candidates.
fn rerouted(description: &RTCSessionDescription, address: SocketAddr) -> RTCSessionDescription {
    let mut rerouted = description.clone();
    rerouted.sdp = by_way_of(&description.sdp, address);
    rerouted
}

async fn on_loopback() -> PeerConnection {
    let config = BindConfig::address(Ipv4Addr::LOCALHOST.into());
    let base = Base::bind(config.with_address(Ipv6Addr::LOCALHOST.into()));
    let (settings, api) = (SettingEngine::default(), APIBuilder::new());
    PeerConnection::new(
        base.await.unwrap(),
        settings,
        api,
        RTCConfiguration::default(),
    )
    .await
    .unwrap()
}

/// Two peer connections that have signalled, and the channel of the one that offered.
struct Met {
    offerer: PeerConnection,
    answerer: PeerConnection,
    channel: Arc<RTCDataChannel>,
    between: Between,
}

async fn meet(ip: IpAddr, censor: Censor) -> Met {
    let between = Between::bind(ip, censor).await;
    let (offerer, answerer) = (on_loopback().await, on_loopback().await);
    let before = offerer.stage().await;
    assert_eq!(before, StageReport::of(Stage::Signalling));
    let channel = offerer.library().create_data_channel("data", None).await;
    let offer = offerer.library().create_offer(None).await.unwrap();
    let offer = offerer.set_local_description(offer).await.unwrap();
    answerer
        .set_remote_description(rerouted(&offer, between.faces_answerer))
        .await
        .unwrap();
    let answer = answerer.library().create_answer(None).await.unwrap();
    let answer = answerer.set_local_description(answer).await.unwrap();
    offerer
        .set_remote_description(rerouted(&answer, between.faces_offerer))
        .await
        .unwrap();
    Met {
        offerer,
        answerer,
        channel: channel.unwrap(),
        between,
    }
}

async fn until(
    connection: &PeerConnection,
    is_wanted: impl Fn(&StageReport) -> bool,
) -> StageReport {
    let mut last = StageReport::default();
    let waiting = async {
        loop {
            last = connection.stage().await;
            if is_wanted(&last) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(found.is_ok(), "{last:?}");
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_is_dropped_has_its_verdict_on_either_side_and_in_either_family() {
    let families: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for ip in families {
        let met = meet(ip, hellos).await;
        let has_verdict = |report: &StageReport| report.verdict != StageVerdict::Unknown;
        let (server, client) = tokio::join!(
            until(&met.offerer, has_verdict),
            until(&met.answerer, has_verdict)
        );
        assert_eq!(
            (server.verdict, server.role, server.stage),
            (
                StageVerdict::HelloNeverCame,
                DtlsRole::Server,
                Stage::Paired
            )
        );
        assert!(server.answers >= 3, "{server:?}");
        assert_eq!((server.received.datagrams, server.sent.datagrams), (0, 0));
        assert_eq!(
            (client.verdict, client.role, client.stage),
            (
                StageVerdict::HelloUnanswered,
                DtlsRole::Client,
                Stage::Hello
            )
        );
        assert!(client.flights >= 3 && client.answers >= 3, "{client:?}");
        let evidence = met.offerer.close().await;
        assert_eq!(evidence.path, PathEnd::ChannelFailed);
        let verdict = evidence.as_attempt().verdict();
        let cause = verdict.peer.and_then(|peer| peer.cause);
        assert_eq!(
            cause,
            Some(FailureCause::Channel(StageVerdict::HelloNeverCame))
        );
        assert_eq!(
            verdict.stage.map(|stage| stage.verdict),
            Some(StageVerdict::HelloNeverCame)
        );
        met.answerer.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_path_has_no_verdict_until_it_freezes() {
    let met = meet(Ipv4Addr::LOCALHOST.into(), nothing).await;
    let is_open = |report: &StageReport| report.stage == Stage::Open;
    let (ours, theirs) = tokio::join!(until(&met.offerer, is_open), until(&met.answerer, is_open));
    assert_eq!(
        [ours.verdict, theirs.verdict],
        [StageVerdict::Unknown; 2],
        "nothing stopped it"
    );
    assert_eq!(
        [ours.role, theirs.role],
        [DtlsRole::Server, DtlsRole::Client]
    );
    let opened = async {
        while met.channel.ready_state() != RTCDataChannelState::Open {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.unwrap();
    met.between.censor(dtls);
    let talking = async {
        loop {
            let _ = met.channel.send_text("are you there?").await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let is_frozen = |report: &StageReport| report.verdict == StageVerdict::FrozenAfterOpen;
    let frozen = tokio::select! {
        frozen = until(&met.offerer, is_frozen) => frozen,
        () = talking => unreachable!(),
    };
    assert!(
        frozen.silent_for >= Some(Duration::from_secs(10)),
        "{frozen:?}"
    );
    met.offerer.close().await;
    met.answerer.close().await;
}
