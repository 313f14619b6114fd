//! A producer on webrtc 0.21: `webrtc21 SIGNAL STUN,STUN`. It answers one consumer after the other, and sends every
//! datagram back. Its sockets are tapped: a line `seam {…}` on standard output is the verdict so far.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use ice_gather::tap::Tap;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceCandidateInit, RTCIceGatheringState, RTCIceServer, RTCPeerConnectionState,
};
use webrtc::runtime::{Runtime, default_runtime};

type Failure = Box<dyn Error + Send + Sync>;

struct Handler {
    runtime: Arc<dyn Runtime>,
    gathered: mpsc::UnboundedSender<()>,
    ended: mpsc::UnboundedSender<()>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.send(());
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        eprintln!("connection: {state}");
        if matches!(
            state,
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed
        ) {
            let _ = self.ended.send(());
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let ended = self.ended.clone();
        self.runtime.spawn(Box::pin(async move {
            while let Some(event) = channel.poll().await {
                let goes_on = match event {
                    DataChannelEvent::OnMessage(message) => {
                        channel.send(message.data).await.is_ok()
                    }
                    event => !matches!(event, DataChannelEvent::OnClose),
                };
                if !goes_on {
                    break;
                }
            }
            let _ = ended.send(());
        }));
    }
}

/// One message, and the reply to it; nothing if there is none.
async fn exchange(
    signal: &str,
    to: &str,
    kind: u8,
    data: &Value,
) -> Result<Option<Value>, Failure> {
    let (signal, to, data) = (signal.to_owned(), to.to_owned(), data.to_string());
    let body = tokio::task::spawn_blocking(move || {
        let kind = kind.to_string();
        let fields = [("data", data.as_str()), ("send-to", &to), ("type", &kind)];
        let request = ureq::post(&signal).header("X-BF-Version", "v2.3.1");
        request.send_form(fields)?.body_mut().read_to_string()
    });
    let body = body.await??;
    Ok(if body.is_empty() {
        None
    } else {
        Some(serde_json::from_str(&body)?)
    })
}

fn text<'v>(value: &'v Value, name: &str) -> Result<&'v str, Failure> {
    value[name]
        .as_str()
        .ok_or_else(|| format!("no {name}").into())
}

fn line(candidate: &Value) -> String {
    let word = |name: &str| candidate[name].to_string().trim_matches('"').to_owned();
    let related = match candidate["relatedAddress"].as_str() {
        Some(address) if !address.is_empty() => {
            format!(" raddr {address} rport {}", word("relatedPort"))
        }
        _ => String::new(),
    };
    format!(
        "candidate:{} {} udp {} {} {} typ {}{related}",
        word("foundation"),
        word("component"),
        word("priority"),
        word("address"),
        word("port"),
        word("type"),
    )
}

/// Prints the verdict whenever it has changed.
async fn report(tap: Arc<Tap>) {
    let mut printed = Value::Null;
    loop {
        let summary = tap.evidence().summary();
        let seam = json!({
            "verdict": summary.nat_type().as_legacy(),
            "rule": summary.rule().as_str(),
            "text": summary.to_string(),
        });
        if seam != printed {
            println!("seam {seam}");
            printed = seam;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn serve(signal: &str, stun: &str) -> Result<(), Failure> {
    let genesis =
        json!({ "PathAssertion": { "Allow": [{ "Host": "*", "Distance": 1 }], "Deny": null } });
    let Some(offer) = exchange(signal, "genesis", 0, &genesis).await? else {
        return Ok(());
    };
    let tap = Tap::new(default_runtime().ok_or("no runtime")?);
    let runtime: Arc<dyn Runtime> = tap.clone();
    let reporting = tokio::spawn(report(tap));
    let (gathered, mut gathering) = mpsc::unbounded_channel();
    let (ended, mut ending) = mpsc::unbounded_channel();
    let handler = Handler {
        runtime: runtime.clone(),
        gathered,
        ended,
    };
    let servers = vec![RTCIceServer {
        urls: stun.split(',').map(str::to_owned).collect(),
        ..Default::default()
    }];
    let connection = PeerConnectionBuilder::new()
        .with_configuration(
            RTCConfigurationBuilder::new()
                .with_ice_servers(servers)
                .build(),
        )
        .with_handler(Arc::new(handler))
        .with_runtime(runtime)
        .with_udp_addrs(vec!["0.0.0.0:0".to_owned()])
        .build()
        .await?;
    let description: Value = serde_json::from_str(text(&offer, "Payload")?)?;
    connection
        .set_remote_description(serde_json::from_value(description["SDP"].clone())?)
        .await?;
    let answer = connection.create_answer(None).await?;
    connection.set_local_description(answer).await?;
    gathering.recv().await;
    let answer = connection.local_description().await.ok_or("no answer")?;
    let answer = serde_json::to_value(&answer)?;
    if let Some(ice) = exchange(signal, text(&offer, "ReplyTo")?, 2, &answer).await? {
        let ice: Value = serde_json::from_str(text(&ice, "Payload")?)?;
        for candidate in ice["Candidates"].as_array().into_iter().flatten() {
            let init = RTCIceCandidateInit {
                candidate: line(candidate),
                sdp_mid: Some("0".into()),
                sdp_mline_index: Some(0),
                ..Default::default()
            };
            connection.add_ice_candidate(init).await?;
        }
        ending.recv().await;
    }
    connection.close().await?;
    reporting.abort();
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(signal), Some(stun)) = (arguments.next(), arguments.next()) else {
        return Err("usage: webrtc21 SIGNAL STUN,STUN".into());
    };
    loop {
        serve(&signal, &stun).await?;
    }
}
