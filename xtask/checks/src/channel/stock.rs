//! The same by `RTCPeerConnection` of the crate `webrtc`, whose only socket is our base's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ice_gather::{Base, compat};
use tokio::sync::mpsc;
use webrtc::api::APIBuilder;
use webrtc::api::setting_engine::SettingEngine;
use webrtc::data_channel::data_channel_init::RTCDataChannelInit;
use webrtc::ice::mdns::MulticastDnsMode;
use webrtc::peer_connection::RTCPeerConnection;
use webrtc::peer_connection::configuration::RTCConfiguration;

use super::Way;
use crate::{Failure, bounds, peers};

pub(super) type Pair = (RTCPeerConnection, RTCPeerConnection);

/// One connection; whether it went its way.
pub(super) async fn one(way: Way, moment: Duration) -> Result<bool, Failure> {
    if way == Way::Dropped {
        return Ok(tokio::time::timeout(moment, open()).await.is_err());
    }
    let ((ours, theirs), _) = open().await?;
    // an error there is none of the measurement: the channel may be gone before its reset is sent
    match way {
        Way::DroppedConnected => {}
        Way::ClosedAsItOpens => {
            let _ = ours.close().await;
            let _ = theirs.close().await;
        }
        _ => {
            // work that has begun has to end first
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _ = ours.close().await;
            let _ = theirs.close().await;
        }
    }
    Ok(true)
}

/// Two peer connections with an open channel, and the time it took.
pub(super) async fn open() -> Result<(Pair, Duration), Failure> {
    let started = Instant::now();
    let (ours, theirs) = (peer_connection().await?, peer_connection().await?);
    let datagrams = RTCDataChannelInit {
        ordered: Some(false),
        max_retransmits: Some(0),
        ..Default::default()
    };
    let channel = ours.create_data_channel("data", Some(datagrams)).await?;
    let (opened_tx, mut opened) = mpsc::channel(1);
    channel.on_open(Box::new(move || {
        let _ = opened_tx.try_send(());
        Box::pin(async {})
    }));
    let (accepted_tx, mut accepted) = mpsc::channel(1);
    theirs.on_data_channel(Box::new(move |_| {
        let _ = accepted_tx.try_send(());
        Box::pin(async {})
    }));
    let mut gathered = ours.gathering_complete_promise().await;
    ours.set_local_description(ours.create_offer(None).await?)
        .await?;
    let _ = gathered.recv().await;
    theirs
        .set_remote_description(ours.local_description().await.ok_or("no offer")?)
        .await?;
    let mut gathered = theirs.gathering_complete_promise().await;
    theirs
        .set_local_description(theirs.create_answer(None).await?)
        .await?;
    let _ = gathered.recv().await;
    ours.set_remote_description(theirs.local_description().await.ok_or("no answer")?)
        .await?;
    let both = async { tokio::join!(opened.recv(), accepted.recv()) };
    tokio::time::timeout(bounds::CHANNEL_WITHIN, both).await?;
    drop(Arc::clone(&channel));
    Ok(((ours, theirs), started.elapsed()))
}

async fn peer_connection() -> Result<RTCPeerConnection, Failure> {
    let base = Base::bind(peers::loopback()).await?;
    let mut settings = SettingEngine::default();
    settings.set_udp_network(compat::udp_network(&base));
    settings.set_ip_filter(compat::ip_filter(&base));
    settings.set_include_loopback_candidate(true);
    settings.set_ice_multicast_dns_mode(MulticastDnsMode::Disabled);
    let api = APIBuilder::new().with_setting_engine(settings).build();
    Ok(api.new_peer_connection(RTCConfiguration::default()).await?)
}
