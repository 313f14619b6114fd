//! Peers that send wrong messages.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use consumer_fsm::{AttemptReport, Datagrams, State};
use ice_gather::Role;
use ice_gather::responder::Manner;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::stage::{Peer, Running, Stage, Until, host, memory, responders};

pub(crate) async fn wrong_ufrag(stage: &Stage) {
    stage
        .meets(
            Until::End,
            Peer::that_stays().editing(|sdp| sdp.replace("a=ice-ufrag:", "a=ice-ufrag:wrong")),
        )
        .await;
}

pub(crate) async fn wrong_password(stage: &Stage) {
    stage
        .meets(
            Until::End,
            Peer::that_stays().editing(|sdp| sdp.replace("a=ice-pwd:", "a=ice-pwd:wrong")),
        )
        .await;
}

pub(crate) async fn impossible_credentials(stage: &Stage) {
    stage
        .meets(
            Until::End,
            Peer::that_stays().editing(|_| "a=ice-ufrag:a\r\na=ice-pwd:b\r\n".into()),
        )
        .await;
}

pub(crate) async fn no_credentials(stage: &Stage) {
    stage
        .meets(
            Until::Milliseconds(300),
            Peer::that_stays().editing(|_| "v=0\r\n".into()),
        )
        .await;
}

pub(crate) async fn endless_description(stage: &Stage) {
    stage
        .meets(
            Until::Milliseconds(300),
            Peer::that_stays().editing(|sdp| sdp + &"a=x\r\n".repeat(14_000)),
        )
        .await;
}

pub(crate) async fn same_role(stage: &Stage) {
    stage
        .meets(Until::End, Peer::that_stays().in_role(Role::Controlling))
        .await;
}

pub(crate) async fn no_candidates(stage: &Stage) {
    silent_at(stage, |_| Vec::new()).await;
}

pub(crate) async fn a_thousand_candidates(stage: &Stage) {
    silent_at(stage, |_| {
        (1..=1_000)
            .map(|n| host(([127, 1, (n / 250) as u8, 1], 9).into()))
            .collect()
    })
    .await;
}

pub(crate) async fn a_hundred_wrong_candidates_and_its_own(stage: &Stage) {
    let wrong = || {
        (1..=100)
            .map(|n| host(([127, 1, 0, n], 9).into()))
            .collect::<String>()
    };
    stage
        .meets(
            Until::Up,
            Peer::that_stays().editing(move |sdp| sdp + &wrong()),
        )
        .await;
    let reports = stage.reports();
    let is_held_back = |report: &AttemptReport| report.held_back > 0;
    assert!(reports.iter().any(is_held_back), "{reports:?}");
}

pub(crate) async fn our_own_address(stage: &Stage) {
    let signalling = memory();
    let stun = responders(2, Manner::Honest).await;
    // every loopback port of the consumer's that a responder saw is not to be known in advance: the
    // peer mirrors the offer
    let peer = crate::wire::mirror(signalling.clone());
    stage
        .attempt(&mut stage.consumer(signalling, &stun), Until::End)
        .await;
    drop(peer);
}

pub(crate) async fn unroutable(stage: &Stage) {
    silent_at(stage, |_| {
        vec![
            host(([240, 0, 0, 1], 9).into()),
            host(([0, 0, 0, 1], 9).into()),
        ]
    })
    .await;
}

pub(crate) async fn unspecified(stage: &Stage) {
    silent_at(stage, |_| vec![host(([0, 0, 0, 0], 9).into())]).await;
}

pub(crate) async fn multicast(stage: &Stage) {
    silent_at(stage, |_| vec![host(([224, 0, 0, 1], 9).into())]).await;
}

pub(crate) async fn broadcast(stage: &Stage) {
    silent_at(stage, |_| vec![host(([255, 255, 255, 255], 9).into())]).await;
}

pub(crate) async fn port_zero(stage: &Stage) {
    silent_at(stage, |_| vec![host(([127, 0, 0, 1], 0).into())]).await;
}

pub(crate) async fn hidden_names(stage: &Stage) {
    silent_at(stage, |_| {
        vec!["a=candidate:1 1 udp 1 7e9a1c3b.local 5 typ host\r\n".into()]
    })
    .await;
}

pub(crate) async fn no_udp(stage: &Stage) {
    let tcp = "a=candidate:1 1 tcp 1 127.0.0.1 9 typ host tcptype active\r\n";
    silent_at(stage, move |_| vec![tcp.into()]).await;
}

pub(crate) async fn another_family(stage: &Stage) {
    silent_at(stage, |_| {
        vec![
            host("[::1]:9".parse().unwrap()),
            host("[2001:db8::1]:9".parse().unwrap()),
        ]
    })
    .await;
}

pub(crate) async fn candidates_that_are_no_lines(stage: &Stage) {
    let line = |n: usize| format!("a=candidate:{}\r\n", "\u{fffd} ".repeat(n));
    silent_at(stage, move |_| (0..60).map(line).collect()).await;
}

/// A peer that never checks and is only reachable at these candidates, given the address of a
/// silent socket.
async fn silent_at(
    stage: &Stage,
    candidates: impl Fn(SocketAddr) -> Vec<String> + Send + Sync + 'static,
) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let peer = Peer::that_leaves(crate::stage::Leaves::AfterCandidates)
        .with_candidates(move || candidates(address));
    stage.meets(Until::End, peer).await;
}

/// Strangers: as many sockets as there are datagrams in a batch, all at the base while it checks.
pub(crate) async fn strangers_at_the_base(stage: &Stage) {
    let _strangers = strangers(|n| {
        // a Binding request with a wrong integrity, garbage, bytes that look like data, and nothing
        let mut request = vec![0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42];
        request.extend([n; 12]);
        request.extend([0, 6, 0, 4, b'a', b':', b'b', b'c']);
        vec![request, vec![n; 40], vec![0x80; 1400], vec![]]
    });
    stage.meets(Until::Up, Peer::that_stays()).await;
}

/// Sends to every UDP socket on 127.0.0.1 of this process, again and again.
fn strangers(batch: impl Fn(u8) -> Vec<Vec<u8>> + Send + 'static) -> Running {
    Running(tokio::spawn(async move {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for n in 0_u8.. {
            for port in udp_ports() {
                for datagram in batch(n) {
                    let _ = socket.try_send_to(&datagram, ([127, 0, 0, 1], port).into());
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            if n == u8::MAX {
                break;
            }
        }
        std::future::pending::<()>().await;
    }))
}

/// Ports of 127.0.0.1 that a UDP socket of this process is bound to.
pub(crate) fn udp_ports() -> Vec<u16> {
    let mine: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    let table = std::fs::read_to_string("/proc/self/net/udp").unwrap_or_default();
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (address, port) = fields.get(1)?.split_once(':')?;
            let is_mine = mine.contains(&format!("socket:[{}]", fields.get(9)?));
            (is_mine && address == "0100007F").then(|| u16::from_str_radix(port, 16).ok())?
        })
        .collect()
}

pub(crate) async fn flood_that_nobody_takes(stage: &Stage) {
    let stun = responders(2, Manner::Honest).await;
    let signalling = memory();
    let _peer = Peer::that_stays().start(signalling.clone());
    let (to_path, outbound) = mpsc::channel(8);
    let (inbound, _from_path) = mpsc::channel(1);
    let mut consumer = stage
        .consumer(signalling, &stun)
        .with_datagrams(Datagrams { outbound, inbound });
    let mut path = consumer.path();
    // every datagram is echoed, and the user never takes one
    let flood = async {
        let _ = path.wait_for(|up| *up).await;
        for _ in 0..3_000 {
            let _ = to_path.send(Bytes::from_static(&[0x80; 1200])).await;
        }
        std::future::pending::<()>().await;
    };
    let report = tokio::select! {
        report = stage.attempt(&mut consumer, Until::Milliseconds(900)) => report,
        () = flood => unreachable!(),
    };
    assert!(
        report
            .transitions
            .iter()
            .any(|step| step.from == State::Established),
        "{:?}",
        report.transitions
    );
    assert!(
        report.traffic.dropped_inbound > 100,
        "dropped and counted: {:?}",
        report.traffic
    );
}
