//! Peers whose data channel is broken, wherever that shows.

use std::time::Duration;

use consumer_fsm::transport::{DataChannel, IceTransport};
use consumer_fsm::{AttemptReport, Consumer, Datagrams};
use ice_gather::responder::Manner;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::faulty::{self, Silence};
use crate::raw::{Raw, STREAM, Script, Wire};
use crate::sctp::{FIRST, MIDDLE, WHOLE, data, hostile, reset, strange};
use crate::stage::{Leaves, Peer, Stage, Until, cache, lasting, memory, responders};

/// Chunks of a flood, about.
const FLOOD: usize = 100_000;
/// Longest time until a path carries honest datagrams again. An idle machine takes 50 ms.
const SOON: Duration = Duration::from_secs(5);

pub(crate) async fn no_certificate(stage: &Stage) {
    says(stage, |sdp| {
        sdp.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1")
    })
    .await;
}

pub(crate) async fn undecided_role(stage: &Stage) {
    says(stage, |sdp| {
        sdp.replace("a=setup:active", "a=setup:actpass")
    })
    .await;
}

pub(crate) async fn another_certificate(stage: &Stage) {
    let other = consumer_fsm::Fingerprint([7; 32]);
    says(stage, move |sdp| {
        let kept = sdp
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("a=fingerprint:"));
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
    let peer = Peer::that_leaves(Leaves::OnceUp(0)).over(DataChannel::new(lasting()));
    stage.meets_over_a_channel(Until::End, peer).await;
}

pub(crate) async fn hides_its_addresses(stage: &Stage) {
    let hidden =
        |sdp: String| sdp.replace("127.0.0.1", "0a1b2c3d-0000-4000-8000-000000000000.local");
    let peer = Peer::that_stays()
        .editing(hidden)
        .over(DataChannel::new(lasting()));
    stage.meets_over_a_channel(Until::Up, peer).await;
}

pub(crate) async fn forged_from_its_address(stage: &Stage) {
    let peer = Peer::that_stays().over(DataChannel::new(faulty::network(Silence::Never)));
    let report = stage.meets_over_a_channel(Until::Up, peer).await;
    assert!(
        report.traffic.dropped_inbound >= 20,
        "each is counted: {report:?}"
    );
}

pub(crate) async fn packets_that_break_sctp(stage: &Stage) {
    let report = survives(stage, |wire| {
        Box::pin(async move {
            let tag = wire.tag();
            for (_, packet) in hostile(tag).into_iter().chain(strange(tag)) {
                wire.writes(&packet).await;
                tokio::task::yield_now().await;
            }
        })
    });
    let dropped = report.await.traffic.dropped_inbound;
    assert_eq!(
        dropped,
        hostile(1).len() as u64,
        "each is counted, and no other"
    );
}

pub(crate) async fn data_without_data(stage: &Stage) {
    let report = survives(stage, |wire| {
        Box::pin(flood(wire, FLOOD, 70, |tsn| {
            data(WHOLE, tsn, STREAM + 2, b"")
        }))
    });
    assert!(report.await.traffic.dropped_inbound > 500);
}

pub(crate) async fn stream_that_nobody_reads(stage: &Stage) {
    let report = survives(stage, |wire| {
        Box::pin(flood(wire, FLOOD, 58, |tsn| {
            data(WHOLE, tsn, STREAM + 2, b"x")
        }))
    });
    assert!(report.await.traffic.dropped_inbound > 500);
}

pub(crate) async fn fragments_without_end(stage: &Stage) {
    let report = survives(stage, |wire| {
        Box::pin(flood(wire, FLOOD, 58, |tsn| {
            data(MIDDLE, tsn, STREAM, b"x")
        }))
    });
    assert!(report.await.traffic.dropped_inbound > 500);
}

pub(crate) async fn gaps_without_end(stage: &Stage) {
    survives(stage, |wire| {
        Box::pin(async move {
            let first = wire.next();
            let mut tsns = (0..).map(|number| first + 1 + 2 * (number % 30_000));
            for packet in 0..FLOOD / 58 {
                let chunks: Vec<_> = tsns
                    .by_ref()
                    .take(58)
                    .map(|tsn| data(WHOLE, tsn, STREAM, b"x"))
                    .collect();
                wire.says(&chunks).await;
                if packet.is_multiple_of(8) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        })
    })
    .await;
}

pub(crate) async fn resets_without_end(stage: &Stage) {
    // the library has one at a time, and answers the rest
    survives(stage, |wire| {
        Box::pin(flood(wire, FLOOD / 10, 8, |number| {
            reset(number, FIRST + 40_000, STREAM + 2)
        }))
    })
    .await;
}

pub(crate) async fn channels_without_end(stage: &Stage) {
    let peer = raw(|wire| {
        Box::pin(async move {
            for stream in (STREAM + 2..).step_by(2).take(100) {
                wire.says(&[data(WHOLE, wire.next(), stream, b"x")]).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    });
    stage.meets_over_a_channel(Until::End, peer.0).await;
}

/// Sends `chunks` chunks, `in_a_packet` of them per packet. Each has a TSN close to the last
/// acknowledged one.
async fn flood(wire: &Wire, chunks: usize, in_a_packet: u32, chunk: fn(u32) -> Vec<u8>) {
    let mut next = wire.next();
    for packet in 0..chunks / in_a_packet as usize {
        let chunks: Vec<_> = (0..in_a_packet).map(|n| chunk(next + n)).collect();
        wire.says(&chunks).await;
        // the consumer ignores a TSN that is too far ahead
        next = (next + in_a_packet).min(wire.next() + 4 * in_a_packet);
        if packet.is_multiple_of(8) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn raw(script: Script) -> (Peer<Raw>, watch::Receiver<bool>) {
    let (told, said) = watch::channel(false);
    (
        Peer::that_stays().over(Raw {
            ice: lasting(),
            script,
            said: told,
        }),
        said,
    )
}

/// Meets a peer that runs this script once the channel is open, and then sends as an honest peer
/// does. The channel has to carry those datagrams.
async fn survives(stage: &Stage, script: Script) -> AttemptReport {
    let stun = responders(2, Manner::Honest).await;
    let signalling = memory();
    let (peer, mut said) = raw(script);
    let _peer = peer.start(signalling.clone());
    let (datagrams, mut link) = Datagrams::bounded(4);
    let mut consumer = Consumer::new(
        signalling,
        DataChannel::new(lasting()),
        stage.telemetry.clone(),
        cache(&stun),
    )
    .with_timing(stage.timing)
    .with_datagrams(datagrams);
    let cancel = CancellationToken::new();
    let user = async {
        let hears = async {
            while link
                .recv()
                .await
                .is_some_and(|datagram| datagram != b"alive"[..])
            {}
        };
        tokio::select! {
            () = hears => {}
            () = async {
                let _ = said.wait_for(|said| *said).await;
                tokio::time::sleep(SOON).await;
            } => panic!("nothing is carried any more"),
        }
        cancel.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        report = stage.attempt(&mut consumer, Until::Cancelled(cancel.clone())) => {
            assert!(cancel.is_cancelled(), "nothing was said any more: {:?}", report.transitions);
            report
        }
        () = user => unreachable!("it waits for the attempt"),
    }
}

/// A healthy peer whose description is changed on the way.
async fn says(stage: &Stage, edit: impl Fn(String) -> String + Send + Sync + 'static) {
    let peer = Peer::that_stays()
        .editing(edit)
        .over(DataChannel::new(lasting()));
    stage.meets_over_a_channel(Until::End, peer).await;
}

/// A peer on such a network.
async fn over(stage: &Stage, network: IceTransport) {
    stage
        .meets_over_a_channel(
            Until::End,
            Peer::that_stays().over(DataChannel::new(network)),
        )
        .await;
}
