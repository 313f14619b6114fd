//! Servers and strangers that lie, and what is counted of them.

use std::net::SocketAddr;
use std::time::Duration;

use ice_gather::responder::success;
use ice_gather::{AgentConfig, Base, GatherConfig, Gathering, Header, IceAgent, Role, StunServer, write_request};
use nat_summary::{NatType, Outcome};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::gather::base;

type Replies = Vec<(Option<SocketAddr>, Vec<u8>)>;

/// A server that sends whatever `reply` says, each datagram from its own socket or from a second one (`Some`).
async fn liar(reply: impl Fn([u8; 12], SocketAddr) -> Replies + Send + 'static) -> (StunServer, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = StunServer::Address(socket.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (n, source) = socket.recv_from(&mut buffer).await.unwrap();
            let Some(header) = Header::peek(&buffer[..n]) else { continue };
            for (elsewhere, datagram) in reply(header.id, source) {
                let from = if elsewhere.is_some() { &other } else { &socket };
                from.send_to(&datagram, source).await.unwrap();
            }
        }
    });
    (server, task)
}

async fn ask(server: StunServer) -> (Base, Gathering) {
    let base = base().await;
    let mut config = GatherConfig::default();
    config.deadline = Duration::from_millis(200);
    let gathering = base.gather(&[server], &config).await;
    (base, gathering)
}

fn lie() -> SocketAddr {
    "203.0.113.66:666".parse().unwrap()
}

#[tokio::test]
async fn a_wrong_id_is_dropped_and_counted() {
    let (server, _task) = liar(|mut id, _| {
        id[0] ^= 1;
        vec![(None, success(id, lie()))]
    })
    .await;
    let (base, gathering) = ask(server).await;
    assert_eq!(base.dropped().unknown_id, 1);
    assert_eq!(gathering.servers[0].outcome, Outcome::TimedOut);
}

#[tokio::test]
async fn a_wrong_source_is_dropped_counted_and_the_true_answer_still_taken() {
    let (server, _task) =
        liar(|id, source| vec![(Some(source), success(id, lie())), (None, success(id, source))]).await;
    let (base, gathering) = ask(server).await;
    assert_eq!(base.dropped().wrong_source, 1);
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Open);
}

#[tokio::test]
async fn truncated_overlong_and_garbage_datagrams_are_dropped_and_counted() {
    let (server, _task) = liar(|id, source| {
        let good = success(id, source);
        vec![
            (None, good[..good.len() - 4].to_vec()),
            (None, [&good[..], &[0; 8]].concat()),
            (None, [&good[..], &[0; 9_000]].concat()),
            (None, b"\x80 not stun at all, not even close".to_vec()),
            (None, vec![]),
            (None, good),
        ]
    })
    .await;
    let (base, gathering) = ask(server).await;
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Open);
    let dropped = base.dropped();
    assert_eq!((dropped.malformed, dropped.garbage), (3, 2), "{dropped:?}");
}

#[tokio::test]
async fn a_mapped_address_of_a_wrong_length_is_an_answer_without_evidence() {
    let (server, _task) = liar(|id, source| {
        let mut short = success(id, source);
        short[23] = 5;
        vec![(None, short)]
    })
    .await;
    let (_base, gathering) = ask(server).await;
    assert_eq!(gathering.servers[0].outcome, Outcome::Refused);
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Unknown, "UDP is not blocked: something came back");
}

#[tokio::test]
async fn an_impossible_mapped_address_is_dropped_and_counted() {
    let (server, _task) = liar(|id, _| vec![(None, success(id, "0.0.0.0:9".parse().unwrap()))]).await;
    let (_base, gathering) = ask(server).await;
    assert_eq!(gathering.evidence.discarded().impossible, 1);
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Unknown);
    assert_eq!(gathering.candidates.len(), 1, "nor is it signalled");
}

#[tokio::test]
async fn a_flood_while_gathering_neither_blinds_nor_delays() {
    let (server, _task) = liar(|id, source| {
        let forged = (0..500_u16).map(|n| {
            let mut wrong = id;
            wrong[..2].copy_from_slice(&n.to_be_bytes());
            (Some(source), success(wrong, lie()))
        });
        forged.chain([(None, success(id, source))]).collect()
    })
    .await;
    let (base, gathering) = ask(server).await;
    // what the kernel's buffer did not hold is lost like any packet, and asked for again
    assert_eq!(gathering.servers.len(), 1);
    assert_ne!(gathering.evidence.summary().nat_type(), NatType::Cone);
    assert!(base.dropped().unknown_id > 0);
    assert!(gathering.elapsed < Duration::from_millis(400), "{:?}", gathering.elapsed);
}

#[tokio::test]
async fn checks_of_strangers_never_reach_the_agent() {
    let base = base().await;
    let agent = IceAgent::new(&base, Role::Controlled, AgentConfig::default()).await.unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = base.local_addrs().next().unwrap();
    for n in 0..50 {
        stranger.send_to(&write_request([n; 12]), target).await.unwrap();
    }
    let mut config = GatherConfig::default();
    config.deadline = Duration::from_millis(100);
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    base.gather(&[StunServer::Address(silent.local_addr().unwrap())], &config).await;
    assert_eq!(base.dropped().unauthenticated, 50);
    agent.close().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_unreachable_server_is_told_apart_from_a_silent_one() {
    let closed = UdpSocket::bind("127.0.0.71:0").await.unwrap().local_addr().unwrap();
    let silent = UdpSocket::bind("127.0.0.72:0").await.unwrap();
    let honest = ice_gather::responder::Responder::bind("127.0.0.73:0").await.unwrap();
    let base = base().await;
    let mut config = GatherConfig::default();
    config.deadline = Duration::from_millis(400);
    let servers = [closed, silent.local_addr().unwrap(), honest.address()].map(StunServer::Address);
    let gathering = base.gather(&servers, &config).await;
    let outcomes: Vec<_> = gathering.servers.iter().map(|s| s.outcome).collect();
    assert_eq!(outcomes, [Outcome::Unreachable, Outcome::TimedOut, Outcome::Answered]);

    // nobody home anywhere: no wait, and no word of a firewall
    let gathering = base.gather(&servers[..1], &config).await;
    assert_eq!(gathering.evidence.servers().len(), 3, "evidence of earlier gatherings stays");
    assert!(gathering.elapsed < Duration::from_millis(200), "{:?}", gathering.elapsed);
    let fresh = crate::gather::base().await;
    let gathering = fresh.gather(&servers[..1], &config).await;
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Unknown);
}

/// What a socket heard of an unreachable server while gathering must not break the connection later.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_unreachable_server_is_forgotten_once_gathering_ends() {
    let closed = UdpSocket::bind("127.0.0.74:0").await.unwrap().local_addr().unwrap();
    let base = base().await;
    let mut config = GatherConfig::default();
    config.deadline = Duration::from_millis(100);
    base.gather(&[StunServer::Address(closed)], &config).await;
    let agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default()).await.unwrap();
    assert_eq!(base.dropped().socket_errors, 0);
    agent.close().await;
}
