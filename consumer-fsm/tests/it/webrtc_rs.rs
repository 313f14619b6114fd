//! The data channel against the peer connection of the crate `webrtc`, on either side.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consumer_fsm::signalling::wire::{Description, Offer, read, write};
use consumer_fsm::signalling::{GENESIS, Kind, MemorySignalling, Signalling, Switchboard};
use consumer_fsm::transport::{DataChannel, Path, Session, Transport};
use consumer_fsm::{Consumer, Datagrams, SessionDescription};
use ice_gather::Role;
use ice_gather::responder::Manner;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use webrtc::api::APIBuilder;
use webrtc::api::setting_engine::SettingEngine;
use webrtc::data_channel::RTCDataChannel;
use webrtc::data_channel::data_channel_init::RTCDataChannelInit;
use webrtc::ice::mdns::MulticastDnsMode;
use webrtc::peer_connection::RTCPeerConnection;
use webrtc::peer_connection::configuration::RTCConfiguration;
use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;

use crate::stage::{Spans, cache, responders, timing, transport};

const PATIENCE: Duration = Duration::from_secs(10);

async fn peer_connection() -> RTCPeerConnection {
    let mut settings = SettingEngine::default();
    settings.set_include_loopback_candidate(true);
    settings.set_ip_filter(Box::new(|ip| ip == std::net::IpAddr::from([127, 0, 0, 1])));
    settings.set_ice_multicast_dns_mode(MulticastDnsMode::Disabled);
    let api = APIBuilder::new().with_setting_engine(settings).build();
    api.new_peer_connection(RTCConfiguration::default())
        .await
        .unwrap()
}

fn datagrams() -> Option<RTCDataChannelInit> {
    Some(RTCDataChannelInit {
        ordered: Some(false),
        max_retransmits: Some(0),
        ..Default::default()
    })
}

/// Sends the messages of a channel back over it.
fn echo(channel: &Arc<RTCDataChannel>) {
    let same = Arc::downgrade(channel);
    channel.on_message(Box::new(move |message| {
        let same = same.upgrade();
        Box::pin(async move {
            if let Some(channel) = same {
                let _ = channel.send(&message.data).await;
            }
        })
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_consumer_meets_our_producer_and_only_the_channel_of_our_name_is_taken() {
    let theirs = peer_connection().await;
    let other = theirs
        .create_data_channel("other", datagrams())
        .await
        .unwrap();
    let (refused_tx, mut refused) = mpsc::channel(1);
    other.on_close(Box::new(move || {
        let _ = refused_tx.try_send(());
        Box::pin(async {})
    }));
    let data = theirs
        .create_data_channel("data", datagrams())
        .await
        .unwrap();
    echo(&data);
    let mut gathered = theirs.gathering_complete_promise().await;
    theirs
        .set_local_description(theirs.create_offer(None).await.unwrap())
        .await
        .unwrap();
    let _ = gathered.recv().await;
    let offer = SessionDescription::parse(&theirs.local_description().await.unwrap().sdp).unwrap();

    let mut ours = DataChannel::new(transport())
        .open(Role::Controlled)
        .await
        .unwrap();
    let gathering = ours.gather(&[]).await;
    let answer = ours.describe(Some(&offer), &gathering.candidates);
    theirs
        .set_remote_description(RTCSessionDescription::answer(answer).unwrap())
        .await
        .unwrap();
    let path = ours.connect(offer, PATIENCE).await.unwrap();

    assert!(path.send(b"echo").await);
    let mut buffer = [0; 100];
    let received = tokio::time::timeout(PATIENCE, path.recv(&mut buffer))
        .await
        .unwrap();
    assert_eq!(received.map(|length| &buffer[..length]), Some(&b"echo"[..]));
    // its channel of another name came first, and was refused by a reset
    tokio::time::timeout(PATIENCE, refused.recv())
        .await
        .unwrap();
    let _ = theirs.close().await;
    assert_eq!(
        tokio::time::timeout(PATIENCE, path.recv(&mut buffer))
            .await
            .unwrap(),
        None,
        "the peer closed"
    );
    ours.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_consumer_meets_its_producer_and_only_binary_messages_are_datagrams() {
    let theirs = peer_connection().await;
    let (told_tx, mut told) = mpsc::channel(1);
    theirs.on_data_channel(Box::new(move |channel| {
        let _ = told_tx.try_send((
            channel.label().to_owned(),
            channel.ordered(),
            channel.max_retransmits(),
        ));
        echo(&channel);
        let same = Arc::clone(&channel);
        channel.on_open(Box::new(move || {
            Box::pin(async move {
                let _ = same.send_text("text").await;
                let _ = same.send_text("").await;
                let _ = same.send(&Bytes::from(vec![1; 3000])).await;
                let _ = same.send(&Bytes::from_static(b"binary")).await;
            })
        }));
        Box::pin(async {})
    }));
    let mut ours = DataChannel::new(transport())
        .open(Role::Controlling)
        .await
        .unwrap();
    let gathering = ours.gather(&[]).await;
    let offer = ours.describe(None, &gathering.candidates);
    theirs
        .set_remote_description(RTCSessionDescription::offer(offer).unwrap())
        .await
        .unwrap();
    let mut gathered = theirs.gathering_complete_promise().await;
    theirs
        .set_local_description(theirs.create_answer(None).await.unwrap())
        .await
        .unwrap();
    let _ = gathered.recv().await;
    let answer = SessionDescription::parse(&theirs.local_description().await.unwrap().sdp).unwrap();
    let path = ours.connect(answer, PATIENCE).await.unwrap();

    let mut buffer = [0; 100];
    let received = tokio::time::timeout(PATIENCE, path.recv(&mut buffer))
        .await
        .unwrap();
    assert_eq!(
        received.map(|length| &buffer[..length]),
        Some(&b"binary"[..])
    );
    assert_eq!(
        (path.discarded().not_binary, path.discarded().too_long),
        (2, 1)
    );
    assert_eq!(Path::dropped(&path), 3);
    assert_eq!(
        told.recv().await,
        Some(("data".into(), false, Some(0))),
        "as every producer expects it"
    );
    assert!(path.send(b"echo").await);
    let received = tokio::time::timeout(PATIENCE, path.recv(&mut buffer))
        .await
        .unwrap();
    assert_eq!(received.map(|length| &buffer[..length]), Some(&b"echo"[..]));
    ours.close().await;
    let _ = theirs.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_peer_sends_that_is_no_datagram_is_counted_in_the_report() {
    let stun = responders(2, Manner::Honest).await;
    let signalling = MemorySignalling::new(Switchboard::default());
    let theirs = peer_connection().await;
    theirs.on_data_channel(Box::new(|channel| {
        let same = Arc::clone(&channel);
        channel.on_open(Box::new(move || {
            Box::pin(async move {
                let _ = same.send_text("text").await;
                let _ = same.send_text("").await;
                let _ = same.send(&Bytes::from_static(b"binary")).await;
            })
        }));
        Box::pin(async {})
    }));
    let produce = async {
        let offer = signalling
            .exchange(GENESIS, Kind::Genesis, "{}")
            .await
            .unwrap()
            .unwrap();
        let sdp = read::<Offer>(&offer.payload).unwrap().sdp.sdp;
        theirs
            .set_remote_description(RTCSessionDescription::offer(sdp).unwrap())
            .await
            .unwrap();
        let mut gathered = theirs.gathering_complete_promise().await;
        theirs
            .set_local_description(theirs.create_answer(None).await.unwrap())
            .await
            .unwrap();
        let _ = gathered.recv().await;
        let sdp = theirs.local_description().await.unwrap().sdp;
        let answer = write(&Description {
            kind: "answer".into(),
            sdp,
        });
        signalling
            .exchange(&offer.reply_to, Kind::Answer, &answer)
            .await
            .unwrap();
    };
    let (_spans, telemetry) = Spans::new();
    let (datagrams, mut link) = Datagrams::bounded(4);
    let mut consumer = Consumer::new(
        signalling.clone(),
        DataChannel::new(transport()),
        telemetry,
        cache(&stun),
    )
    .with_timing(timing())
    .with_datagrams(datagrams);
    let cancel = CancellationToken::new();
    let consume = async {
        let user = async {
            assert_eq!(link.recv().await.as_deref(), Some(&b"binary"[..]));
            cancel.cancel();
        };
        tokio::join!(consumer.attempt(&cancel), user).0
    };
    let (report, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(consume, produce) })
        .await
        .unwrap();
    assert_eq!(
        (report.traffic.received, report.traffic.dropped_inbound),
        (1, 2),
        "two texts are no datagrams"
    );
    let _ = theirs.close().await;
}
