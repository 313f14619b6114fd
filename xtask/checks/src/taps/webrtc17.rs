//! A producer on the peer connection of webrtc 0.17 as it comes, with sockets of its own.

use std::sync::Arc;

use consumer_fsm::signalling::http::HttpSignalling;
use consumer_fsm::signalling::wire::{
    Description, Genesis, IceCandidates, Kind, Offer, WireCandidate, read, write,
};
use consumer_fsm::signalling::{GENESIS, Signalling};
use tokio::sync::mpsc;
use webrtc::api::APIBuilder;
use webrtc::data_channel::RTCDataChannel;
use webrtc::ice_transport::ice_candidate::RTCIceCandidateInit;
use webrtc::ice_transport::ice_server::RTCIceServer;
use webrtc::peer_connection::configuration::RTCConfiguration;
use webrtc::peer_connection::peer_connection_state::RTCPeerConnectionState;
use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;

use crate::Failure;

/// Answers one consumer after the other, and sends every datagram back.
pub(super) async fn serve(url: &str, stun: &str) -> Result<(), Failure> {
    let signalling = HttpSignalling::new(url)?;
    loop {
        let genesis = write(&Genesis::everywhere());
        let offered = signalling.exchange(GENESIS, Kind::Genesis, &genesis).await;
        if let Ok(Some(offer)) = offered {
            let description: Offer = read(&offer.payload)?;
            answer(&signalling, &offer.reply_to, description.sdp.sdp, stun).await?;
        }
    }
}

async fn answer(
    signalling: &HttpSignalling,
    consumer: &str,
    offer: String,
    stun: &str,
) -> Result<(), Failure> {
    let configuration = RTCConfiguration {
        ice_servers: vec![RTCIceServer {
            urls: stun.split(',').map(str::to_owned).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let connection = APIBuilder::new()
        .build()
        .new_peer_connection(configuration)
        .await?;
    connection.on_data_channel(Box::new(|channel| {
        echo(&channel);
        Box::pin(async {})
    }));
    let (ended, mut ending) = mpsc::channel(1);
    connection.on_peer_connection_state_change(Box::new(move |state| {
        let ends = [
            RTCPeerConnectionState::Failed,
            RTCPeerConnectionState::Closed,
        ];
        if ends.contains(&state) {
            let _ = ended.try_send(());
        }
        Box::pin(async {})
    }));
    connection
        .set_remote_description(RTCSessionDescription::offer(offer)?)
        .await?;
    let mut gathered = connection.gathering_complete_promise().await;
    let answer = connection.create_answer(None).await?;
    connection.set_local_description(answer).await?;
    let _ = gathered.recv().await;
    let sdp = connection.local_description().await.ok_or("no answer")?.sdp;
    let answer = write(&Description {
        kind: "answer".into(),
        sdp,
    });
    if let Ok(Some(ice)) = signalling.exchange(consumer, Kind::Answer, &answer).await {
        let ice: IceCandidates = read(&ice.payload)?;
        for candidate in &ice.candidates {
            let init = RTCIceCandidateInit {
                candidate: line(candidate),
                ..Default::default()
            };
            connection.add_ice_candidate(init).await?;
        }
        let _ = ending.recv().await;
    }
    Ok(connection.close().await?)
}

fn echo(channel: &Arc<RTCDataChannel>) {
    let same = Arc::downgrade(channel);
    channel.on_message(Box::new(move |message| {
        let same = same.upgrade();
        Box::pin(async move {
            if let Some(channel) = same {
                // a channel that closes needs no echo
                let _ = channel.send(&message.data).await;
            }
        })
    }));
}

fn line(candidate: &WireCandidate) -> String {
    let WireCandidate {
        foundation,
        component,
        priority,
        address,
        port,
        kind,
        ..
    } = candidate;
    let related = if candidate.related_address.is_empty() {
        String::new()
    } else {
        format!(
            " raddr {} rport {}",
            candidate.related_address, candidate.related_port
        )
    };
    format!(
        "candidate:{foundation} {component} udp {priority} {address} {port} typ {kind}{related}"
    )
}
