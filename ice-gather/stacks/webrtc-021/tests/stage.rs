//! What stopped a session of webrtc 0.21, with a censor on the path between two peer connections.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ice_gather::tap::Tap;
use nat_summary::stage::{Above, DtlsRole, Stage, StageReport, StageVerdict};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCSessionDescription,
};
use webrtc::runtime::default_runtime;

/// The longest wait for a verdict.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a datagram is dropped.
type Censor = fn(&[u8]) -> bool;

fn nothing(_: &[u8]) -> bool {
    false
}

fn hellos(datagram: &[u8]) -> bool {
    matches!(datagram, [22, ..]) && datagram.get(13) == Some(&1)
}

fn dtls(datagram: &[u8]) -> bool {
    matches!(datagram, [20..=63, ..])
}

/// Two sockets between two peers: each peer knows the other one by the socket that faces it.
struct Between {
    faces_offerer: SocketAddr,
    faces_answerer: SocketAddr,
    censor: Arc<Mutex<Censor>>,
    task: JoinHandle<()>,
}

impl Between {
    async fn bind(censor: Censor) -> Self {
        let left = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let right = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (faces_offerer, faces_answerer) =
            (left.local_addr().unwrap(), right.local_addr().unwrap());
        let censor = Arc::new(Mutex::new(censor));
        let rules = Arc::clone(&censor);
        let task = tokio::spawn(async move {
            let (mut first, mut second) = (None, None);
            let (mut out, mut back) = ([0; 2_000], [0; 2_000]);
            loop {
                let (is_out, received) = tokio::select! {
                    received = left.recv_from(&mut out) => (true, received),
                    received = right.recv_from(&mut back) => (false, received),
                };
                let Ok((length, source)) = received else {
                    continue;
                };
                let (known, to, from) = if is_out {
                    (&mut first, second, &right)
                } else {
                    (&mut second, first, &left)
                };
                *known = Some(source);
                let datagram = if is_out {
                    &out[..length]
                } else {
                    &back[..length]
                };
                let censor = *rules.lock().unwrap();
                if let Some(to) = to.filter(|_| !censor(datagram)) {
                    let _ = from.send_to(datagram, to).await;
                }
            }
        });
        Self {
            faces_offerer,
            faces_answerer,
            censor,
            task,
        }
    }

    fn censor(&self, censor: Censor) {
        *self.censor.lock().unwrap() = censor;
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The description with this address in the place of its candidates.
fn by_way_of(description: &RTCSessionDescription, address: SocketAddr) -> RTCSessionDescription {
    let mut rewritten = description.clone();
    let lines = description.sdp.lines().map(|line| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if line.starts_with("a=candidate:") && words.len() > 5 {
            words[4] = address.ip().to_string();
            words[5] = address.port().to_string();
        }
        format!("{}\r\n", words.join(" "))
    });
    rewritten.sdp = lines.collect();
    rewritten
}

struct Handler(watch::Sender<bool>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.0.send_replace(true);
        }
    }
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
        let (complete, gathered) = watch::channel(false);
        let connection = PeerConnectionBuilder::new()
            .with_handler(Arc::new(Handler(complete)))
            .with_runtime(tap.clone())
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .build()
            .await
            .unwrap();
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
    let between = Between::bind(censor).await;
    let (mut offerer, mut answerer) = (Tapped::new().await, Tapped::new().await);
    assert_eq!(offerer.stage().await.stage, Stage::Unknown);
    let channel = offerer.connection.create_data_channel("data", None).await;
    let offer = offerer.connection.create_offer(None).await.unwrap();
    let offer = offerer.describe(offer).await;
    answerer
        .take(by_way_of(&offer, between.faces_answerer))
        .await;
    let answer = answerer.connection.create_answer(None).await.unwrap();
    let answer = answerer.describe(answer).await;
    offerer
        .take(by_way_of(&answer, between.faces_offerer))
        .await;
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
