//! One attempt of our consumer, as an application would make it: datagrams both ways, and the span
//! it ends in.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use consumer_fsm::signalling::http::HttpSignalling;
use consumer_fsm::transport::{DataChannel, IceTransport, Network};
use consumer_fsm::{Consumer, Datagrams, Ending, StunCache, Timing};
use ice_gather::{BindConfig, StunServer};
use tokio::sync::mpsc;

use crate::attempts::with_its_path;
use crate::kernel::servers::{COTURN, OWN, PORTS, ipv4};
use crate::spans::{Spans, attribute};
use crate::{Failure, bounds};

/// Length of a datagram, as QUIC sends.
const LENGTH: usize = 1_200;
/// Under way at once.
const WINDOW: u32 = 16;

/// The result of an attempt.
pub(crate) struct Outcome {
    pub(crate) spans: Vec<String>,
    pub(crate) nat_type: String,
    pub(crate) error: String,
    pub(crate) pair: String,
    pub(crate) sent: u32,
    pub(crate) echoed: u32,
    pub(crate) ms: f64,
}

pub(crate) async fn run(url: &str, local: IpAddr) -> Result<Outcome, Failure> {
    let spans = Spans::default();
    let transport = DataChannel::new(IceTransport::new(Network::System(BindConfig::address(
        local,
    ))));
    let cohort = OWN
        .iter()
        .chain(&COTURN)
        .map(|number| StunServer::Address(SocketAddr::new(ipv4(*number), PORTS[0])));
    let (to_path, outbound) = mpsc::channel(WINDOW as usize);
    let (inbound, from_path) = mpsc::channel(bounds::INTEROP_DATAGRAMS as usize);
    let mut timing = Timing::default();
    // there is one peer to choose from
    timing.patience = bounds::INTEROP_CHOICE;
    let consumer = Consumer::new(
        HttpSignalling::new(url)?,
        transport,
        spans.telemetry(),
        StunCache::new(cohort.collect()),
    )
    .with_timing(timing)
    .with_datagrams(Datagrams { outbound, inbound });
    let exchange = exchange(&to_path, from_path);
    let (report, (sent, echoed)) = with_its_path(consumer, bounds::INTEROP_WITHIN, exchange).await;
    let caught = spans.take();
    let told = |key| {
        caught
            .first()
            .and_then(|span| attribute(span, key))
            .unwrap_or_else(|| "-".into())
    };
    let pair = report
        .selected_pair
        .map_or_else(|| "-".into(), |(ours, theirs)| format!("{ours}, {theirs}"));
    let after = report
        .connected_after
        .unwrap_or_default()
        .saturating_sub(bounds::INTEROP_CHOICE);
    Ok(Outcome {
        spans: caught.iter().map(|span| span.name.to_string()).collect(),
        nat_type: told("nat_type"),
        error: match report.ending {
            Some(Ending::Failure(reason)) => reason.to_string(),
            _ => format!("{:?}", report.last_event),
        },
        pair,
        sent,
        echoed,
        ms: after.as_secs_f64() * 1000.0,
    })
}

/// Sends every datagram, a window at a time, and counts those that came back unchanged: each once.
async fn exchange(
    to_path: &mpsc::Sender<Bytes>,
    mut from_path: mpsc::Receiver<Bytes>,
) -> (u32, u32) {
    let datagram = |n: u32| {
        let mut datagram = vec![n as u8; LENGTH];
        datagram[..4].copy_from_slice(&n.to_be_bytes());
        Bytes::from(datagram)
    };
    let mut back = vec![false; bounds::INTEROP_DATAGRAMS as usize];
    let (mut sent, mut last) = (0, Instant::now());
    let mut lost = 0;
    loop {
        let echoed = back.iter().filter(|back| **back).count() as u32;
        if sent == bounds::INTEROP_DATAGRAMS && echoed + lost >= sent {
            return (sent, echoed);
        }
        while sent < bounds::INTEROP_DATAGRAMS && sent < echoed + lost + WINDOW {
            if to_path.send(datagram(sent)).await.is_err() {
                return (sent, echoed);
            }
            sent += 1;
        }
        match tokio::time::timeout(bounds::INTEROP_LOST, from_path.recv()).await {
            Ok(Some(received)) => {
                let number = received
                    .first_chunk()
                    .map(|bytes| u32::from_be_bytes(*bytes));
                if let Some(number) = number.filter(|n| *n < sent && received == datagram(*n)) {
                    back[number as usize] = true;
                    last = Instant::now();
                }
            }
            Ok(None) => return (sent, echoed),
            Err(_) if last.elapsed() >= bounds::INTEROP_LOST => lost = sent - echoed,
            Err(_) => {}
        }
    }
}
