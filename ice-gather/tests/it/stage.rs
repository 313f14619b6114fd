//! What stopped a `webrtc` peer connection, with a censor on the path between two of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ice_gather::peer_connection::PeerConnection;
use ice_gather::{Base, BindConfig};
use nat_summary::stage::{DtlsRole, Stage, StageReport, StageVerdict};
use nat_summary::{FailureCause, PathEnd};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use webrtc::api::APIBuilder;
use webrtc::api::setting_engine::SettingEngine;
use webrtc::data_channel::RTCDataChannel;
use webrtc::data_channel::data_channel_state::RTCDataChannelState;
use webrtc::peer_connection::configuration::RTCConfiguration;
use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;

/// The longest wait for a verdict.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a datagram is dropped; the first argument is true on the way from the offerer.
type Censor = fn(bool, &[u8]) -> bool;

fn nothing(_: bool, _: &[u8]) -> bool {
    false
}

fn hellos(_: bool, datagram: &[u8]) -> bool {
    matches!(datagram, [22, ..]) && datagram.get(13) == Some(&1)
}

fn dtls(_: bool, datagram: &[u8]) -> bool {
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
    async fn bind(ip: IpAddr, censor: Censor) -> Self {
        let (left, right) = (
            UdpSocket::bind((ip, 0)).await,
            UdpSocket::bind((ip, 0)).await,
        );
        let (left, right) = (left.unwrap(), right.unwrap());
        let censor = Arc::new(Mutex::new(censor));
        let (faces_offerer, faces_answerer) =
            (left.local_addr().unwrap(), right.local_addr().unwrap());
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
                if let Some(to) = to.filter(|_| !censor(is_out, datagram)) {
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

/// The description with this address in the place of its candidates of the same family.
fn by_way_of(description: &RTCSessionDescription, address: SocketAddr) -> RTCSessionDescription {
    let mut rewritten = description.clone();
    let lines = description.sdp.lines().filter_map(|line| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if !line.starts_with("a=candidate:") {
            return Some(format!("{line}\r\n"));
        }
        let ip: IpAddr = words.get(4)?.parse().ok()?;
        if ip.is_ipv4() != address.is_ipv4() {
            return None;
        }
        words[4] = address.ip().to_string();
        words[5] = address.port().to_string();
        Some(format!("{}\r\n", words.join(" ")))
    });
    rewritten.sdp = lines.collect();
    rewritten
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
        .set_remote_description(by_way_of(&offer, between.faces_answerer))
        .await
        .unwrap();
    let answer = answerer.library().create_answer(None).await.unwrap();
    let answer = answerer.set_local_description(answer).await.unwrap();
    offerer
        .set_remote_description(by_way_of(&answer, between.faces_offerer))
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
