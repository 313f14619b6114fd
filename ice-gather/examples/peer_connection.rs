//! Two `webrtc` peer connections, each on a base of ours: a data channel opens, and the summary
//! comes out beside it.

use std::sync::Arc;
use std::time::Duration;

use ice_gather::responder::Responder;
use ice_gather::{Base, BindConfig, GatherConfig, compat};
use tokio::sync::mpsc;
use webrtc::api::APIBuilder;
use webrtc::api::setting_engine::SettingEngine;
use webrtc::ice::mdns::MulticastDnsMode;
use webrtc::peer_connection::RTCPeerConnection;
use webrtc::peer_connection::configuration::RTCConfiguration;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A peer connection whose only socket is the base's.
async fn peer_connection(base: &Base) -> Result<RTCPeerConnection, Failure> {
    let mut settings = SettingEngine::default();
    settings.set_udp_network(compat::udp_network(base));
    settings.set_ip_filter(compat::ip_filter(base));
    settings.set_include_loopback_candidate(true); // this example stays on the loopback interface
    settings.set_ice_multicast_dns_mode(MulticastDnsMode::Disabled);
    let api = APIBuilder::new().with_setting_engine(settings).build();
    Ok(api.new_peer_connection(RTCConfiguration::default()).await?)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let servers = [
        Responder::bind("127.0.0.1:0").await?,
        Responder::bind("127.0.0.2:0").await?,
    ];
    let cohort = [servers[0].server(), servers[1].server()];
    let loopback = || BindConfig::address([127, 0, 0, 1].into());
    let (our_base, their_base) = (Base::bind(loopback()).await?, Base::bind(loopback()).await?);

    // the servers see the same socket that the connection will use
    let gathering = our_base.gather(&cohort, &GatherConfig::default()).await;

    let (ours, theirs) = (
        peer_connection(&our_base).await?,
        peer_connection(&their_base).await?,
    );
    let channel = ours.create_data_channel("data", None).await?;
    let (received_tx, mut received) = mpsc::channel(1);
    theirs.on_data_channel(Box::new(move |channel| {
        let received = received_tx.clone();
        channel.on_message(Box::new(move |message| {
            let _ = received.try_send(message.data);
            Box::pin(async {})
        }));
        Box::pin(async {})
    }));
    let opened = Arc::clone(&channel);
    channel.on_open(Box::new(move || {
        Box::pin(async move {
            let _ = opened.send_text("through one socket").await;
        })
    }));

    // signalling: each side's description with the candidates in it
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

    let message = tokio::time::timeout(Duration::from_secs(10), received.recv())
        .await?
        .ok_or("nothing received")?;
    println!("received: {}", String::from_utf8_lossy(&message));
    println!("summary: {}", gathering.evidence.summary());
    assert_eq!(gathering.evidence.summary().is_natted(), Some(false));

    ours.close().await?;
    theirs.close().await?;
    Ok(())
}
