//! What stopped a session of webrtc 0.21, with a censor on the path between two peer connections.

#[path = "../../../tests/it/censored.rs"]
mod censored;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ice_gather::tap::Tap;
use nat_summary::stage::{Above, DtlsRole, Stage, StageReport, StageVerdict};
use tokio::sync::watch;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{PeerConnection, RTCSessionDescription};
use webrtc::runtime::default_runtime;
use webrtc_021::connection;

use censored::{Between, Censor, by_way_of, dtls, hellos, nothing};

/// The longest wait for a verdict.
const PATIENCE: Duration = Duration::from_secs(30);

/// The description with this address in the place of its candidates.
fn rerouted(description: &RTCSessionDescription, address: SocketAddr) -> RTCSessionDescription {
    let mut rerouted = description.clone();
    rerouted.sdp = by_way_of(&description.sdp, address);
    rerouted
}

/// A peer connection, and the tap around its runtime.
struct Tapped {
    tap: Arc<Tap>,
    connection: Box<dyn PeerConnection>,
    gathered: watch::Receiver<bool>,
}

impl Tapped {
    async fn new() -> Self {
        let tap = Tap::new(default_runtime().unwrap());
        let (connection, gathered) = connection(tap.clone(), &[]).await.unwrap();
        Self {
            tap,
            connection: Box::new(connection),
            gathered,
        }
    }

    /// Our description, with every candidate.
    async fn describe(&mut self, description: RTCSessionDescription) -> RTCSessionDescription {
        self.connection
            .set_local_description(description)
            .await
            .unwrap();
        self.gathered.wait_for(|complete| *complete).await.unwrap();
        let description = self.connection.local_description().await.unwrap();
        self.tap.set_local_password(password(&description.sdp));
        description
    }

    async fn take(&self, description: RTCSessionDescription) {
        self.tap.set_remote_password(password(&description.sdp));
        self.connection
            .set_remote_description(description)
            .await
            .unwrap();
    }

    async fn stage(&self) -> StageReport {
        let ours = self.connection.local_description().await;
        let theirs = self.connection.remote_description().await;
        let role = match (ours, theirs) {
            (Some(ours), Some(theirs)) => DtlsRole::of_descriptions(&ours.sdp, &theirs.sdp),
            _ => DtlsRole::Unknown,
        };
        self.tap.stage(&Above::default().with_role(role))
    }

    async fn until(&self, is_wanted: impl Fn(&StageReport) -> bool) -> StageReport {
        let mut last = StageReport::default();
        let waiting = async {
            loop {
                last = self.stage().await;
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
}

fn password(description: &str) -> &str {
    let mut lines = description.lines();
    lines
        .find_map(|line| line.strip_prefix("a=ice-pwd:"))
        .unwrap()
}

/// Two peer connections that have signalled, and the channel of the one that offered.
struct Met {
    offerer: Tapped,
    answerer: Tapped,
    channel: Arc<dyn DataChannel>,
    between: Between,
}

async fn meet(censor: Censor) -> Met {
    let between = Between::bind(Ipv4Addr::LOCALHOST.into(), censor).await;
    let (mut offerer, mut answerer) = (Tapped::new().await, Tapped::new().await);
    assert_eq!(offerer.stage().await.stage, Stage::Unknown);
    let channel = offerer.connection.create_data_channel("data", None).await;
    let offer = offerer.connection.create_offer(None).await.unwrap();
    let offer = offerer.describe(offer).await;
    answerer
        .take(rerouted(&offer, between.faces_answerer))
        .await;
    let answer = answerer.connection.create_answer(None).await.unwrap();
    let answer = answerer.describe(answer).await;
    offerer.take(rerouted(&answer, between.faces_offerer)).await;
    Met {
        offerer,
        answerer,
        channel: channel.unwrap(),
        between,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_is_dropped_has_its_verdict_on_either_side() {
    let met = meet(hellos).await;
    let has_verdict = |report: &StageReport| report.verdict != StageVerdict::Unknown;
    let (server, client) = tokio::join!(
        met.offerer.until(has_verdict),
        met.answerer.until(has_verdict)
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
    met.offerer.connection.close().await.unwrap();
    met.answerer.connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_path_has_no_verdict_until_it_freezes() {
    let met = meet(nothing).await;
    let opened = async {
        while let Some(event) = met.channel.poll().await {
            if matches!(event, DataChannelEvent::OnOpen) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.unwrap();
    let is_open = |report: &StageReport| report.stage == Stage::Open;
    let (ours, theirs) = tokio::join!(met.offerer.until(is_open), met.answerer.until(is_open));
    assert_eq!(
        [ours.verdict, theirs.verdict],
        [StageVerdict::Unknown; 2],
        "nothing stopped it"
    );
    assert_eq!(
        [ours.role, theirs.role],
        [DtlsRole::Server, DtlsRole::Client]
    );
    met.between.censor(dtls);
    let talking = async {
        loop {
            let _ = met.channel.send_text("are you there?").await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let is_frozen = |report: &StageReport| report.verdict == StageVerdict::FrozenAfterOpen;
    let frozen = tokio::select! {
        frozen = met.offerer.until(is_frozen) => frozen,
        () = talking => unreachable!(),
    };
    assert!(
        frozen.silent_for >= Some(Duration::from_secs(10)),
        "{frozen:?}"
    );
    met.offerer.connection.close().await.unwrap();
    met.answerer.connection.close().await.unwrap();
}
