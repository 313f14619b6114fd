//! Peers whose data channel is broken, wherever that shows.

use consumer_fsm::transport::{DataChannel, Ice};

use crate::faulty::{self, Silence};
use crate::stage::{Leaves, Peer, Stage, Until, transport};

pub(crate) async fn no_certificate(stage: &Stage) {
    says(stage, |sdp| sdp.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1")).await;
}

pub(crate) async fn undecided_role(stage: &Stage) {
    says(stage, |sdp| sdp.replace("a=setup:active", "a=setup:actpass")).await;
}

pub(crate) async fn another_certificate(stage: &Stage) {
    let other = consumer_fsm::Fingerprint([7; 32]);
    says(stage, move |sdp| {
        let kept = sdp.split_inclusive('\n').filter(|line| !line.starts_with("a=fingerprint:"));
        kept.collect::<String>() + &format!("a=fingerprint:{other}\r\n")
    })
    .await;
}

pub(crate) async fn silent_after_the_checks(stage: &Stage) {
    over(stage, faulty::network(Silence::DtlsAfter(0))).await;
}

pub(crate) async fn stops_after_its_hello(stage: &Stage) {
    over(stage, faulty::network(Silence::DtlsAfter(1))).await;
}

pub(crate) async fn stops_half_way(stage: &Stage) {
    over(stage, faulty::network(Silence::DtlsAfter(2))).await;
}

pub(crate) async fn no_sctp(stage: &Stage) {
    over(stage, faulty::network(Silence::Sctp)).await;
}

pub(crate) async fn gone_as_the_channel_opens(stage: &Stage) {
    let peer = Peer::that_leaves(Leaves::OnceUp(0)).over(DataChannel::new(transport()));
    stage.meets_over_a_channel(Until::End, peer).await;
}

pub(crate) async fn hides_its_addresses(stage: &Stage) {
    let hidden = |sdp: String| sdp.replace("127.0.0.1", "0a1b2c3d-0000-4000-8000-000000000000.local");
    let peer = Peer::that_stays().editing(hidden).over(DataChannel::new(transport()));
    stage.meets_over_a_channel(Until::Up, peer).await;
}

/// A healthy peer whose description is changed on the way.
async fn says(stage: &Stage, edit: impl Fn(String) -> String + Send + Sync + 'static) {
    let peer = Peer::that_stays().editing(edit).over(DataChannel::new(transport()));
    stage.meets_over_a_channel(Until::End, peer).await;
}

/// A peer on such a network.
async fn over(stage: &Stage, network: Ice) {
    stage.meets_over_a_channel(Until::End, Peer::that_stays().over(DataChannel::new(network))).await;
}
