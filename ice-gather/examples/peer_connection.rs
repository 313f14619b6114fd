//! Two `webrtc` peer connections, each on a base of ours: a data channel opens, and the evidence of
//! the attempt comes out in one piece.

use std::sync::Arc;
use std::time::Duration;

use ice_gather::peer_connection::PeerConnection;
use ice_gather::responder::Responder;
use ice_gather::{Base, BindConfig, GatherConfig, StunServer};
use nat_summary::PathEnd;
use tokio::sync::mpsc;
use webrtc::api::APIBuilder;
use webrtc::api::setting_engine::SettingEngine;
use webrtc::peer_connection::configuration::RTCConfiguration;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A connection on its own base, whose servers see the socket that the connection uses.
async fn connection(cohort: &[StunServer]) -> Result<PeerConnection, Failure> {
    let base = Base::bind(BindConfig::address([127, 0, 0, 1].into())).await?;
    let (settings, api) = (SettingEngine::default(), APIBuilder::new());
    let connection = PeerConnection::new(base, settings, api, RTCConfiguration::default()).await?;
    connection.gather(cohort, &GatherConfig::default()).await;
    Ok(connection)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let servers = [
        Responder::bind("127.0.0.1:0").await?,
        Responder::bind("127.0.0.2:0").await?,
    ];
    let cohort = [servers[0].server(), servers[1].server()];
    let (ours, theirs) = (connection(&cohort).await?, connection(&cohort).await?);

    let channel = ours.library().create_data_channel("data", None).await?;
    let (received_tx, mut received) = mpsc::channel(1);
    theirs.library().on_data_channel(Box::new(move |channel| {
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

    // signalling: each side's description, with the candidates of its base in it
    let offer = ours.library().create_offer(None).await?;
    let offer = ours.set_local_description(offer).await?;
    theirs.set_remote_description(offer).await?;
    let answer = theirs.library().create_answer(None).await?;
    let answer = theirs.set_local_description(answer).await?;
    ours.set_remote_description(answer).await?;

    let path = ours.opened(Duration::from_secs(10)).await;
    assert_eq!(path, PathEnd::Connected);
    let message = tokio::time::timeout(Duration::from_secs(10), received.recv())
        .await?
        .ok_or("nothing received")?;
    println!("received: {}", String::from_utf8_lossy(&message));

    // `otel_nat::Attempt::end` takes this, and the span has every attribute
    let evidence = ours.close().await;
    let verdict = evidence.as_attempt().verdict();
    println!("summary: {}", verdict.summary);
    assert_eq!(verdict.summary.is_natted(), Some(false));
    assert!(verdict.peer.is_some_and(|peer| peer.checks.answered > 0));
    theirs.close().await;
    Ok(())
}
