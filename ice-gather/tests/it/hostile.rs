//! Servers and strangers that lie, and what is counted of them.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ice_gather::responder::success;
use ice_gather::{AgentConfig, Base, GatherConfig, Gathering, Header, IceAgent, Role, StunServer, write_request};
use nat_summary::{NatType, Outcome};
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use webrtc_util::{Conn, Error};

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

/// A datagram, or an error, that the next read gets.
type Inbound = Result<(Vec<u8>, SocketAddr), io::ErrorKind>;
/// What becomes of a request, by its number and server: the result of the send, and what it brings about.
type Script = dyn Fn(usize, [u8; 12], SocketAddr) -> (Result<(), io::ErrorKind>, Vec<Inbound>) + Send + Sync;

/// A socket that does what the test says. Once the script brings about nothing more, reading waits.
struct Scripted {
    script: Box<Script>,
    sends: AtomicUsize,
    inbox: mpsc::UnboundedSender<Inbound>,
    outbox: Mutex<mpsc::UnboundedReceiver<Inbound>>,
}

const LOCAL: &str = "192.168.1.5:50000";

fn scripted(
    script: impl Fn(usize, [u8; 12], SocketAddr) -> (Result<(), io::ErrorKind>, Vec<Inbound>) + Send + Sync + 'static,
) -> Scripted {
    let (inbox, outbox) = mpsc::unbounded_channel();
    let script = Box::new(script);
    Scripted { script, sends: AtomicUsize::new(0), inbox, outbox: Mutex::new(outbox) }
}

fn answer(id: [u8; 12], server: SocketAddr) -> Inbound {
    Ok((success(id, "203.0.113.7:50000".parse().unwrap()), server))
}

fn servers(count: u16) -> Vec<StunServer> {
    let address = |n: u16| SocketAddr::from(([198, 51, (n >> 8) as u8, n as u8], 3478));
    (1..=count).map(|n| StunServer::Address(address(n))).collect()
}

#[async_trait]
impl Conn for Scripted {
    async fn connect(&self, _: SocketAddr) -> Result<(), Error> {
        Ok(())
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        Ok(self.recv_from(buffer).await?.0)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        let (datagram, source) = self.outbox.lock().await.recv().await.unwrap().map_err(io::Error::from)?;
        buffer[..datagram.len()].copy_from_slice(&datagram);
        Ok((datagram.len(), source))
    }

    async fn send(&self, _: &[u8]) -> Result<usize, Error> {
        Err(Error::ErrNoRemAddr)
    }

    async fn send_to(&self, buffer: &[u8], target: SocketAddr) -> Result<usize, Error> {
        let number = self.sends.fetch_add(1, Ordering::Relaxed);
        let (sent, inbound) = (self.script)(number, Header::peek(buffer).unwrap().id, target);
        inbound.into_iter().for_each(|inbound| self.inbox.send(inbound).unwrap());
        sent.map_err(io::Error::from)?;
        Ok(buffer.len())
    }

    fn local_addr(&self) -> Result<SocketAddr, Error> {
        Ok(LOCAL.parse().unwrap())
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

#[tokio::test]
async fn a_server_the_socket_cannot_send_to_is_unreachable_and_the_others_decide() {
    let conn = scripted(|number, id, server| match number {
        0 => (Err(io::ErrorKind::HostUnreachable), vec![]),
        _ => (Ok(()), vec![answer(id, server)]),
    });
    let base = Base::from_conn(Arc::new(conn)).unwrap();
    let gathering = base.gather(&servers(3), &GatherConfig::default()).await;
    let outcomes: Vec<_> = gathering.servers.iter().map(|server| server.outcome).collect();
    assert_eq!(outcomes, [Outcome::Unreachable, Outcome::Answered, Outcome::Answered]);
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Cone);
}

#[tokio::test]
async fn a_socket_that_cannot_send_at_all_ends_it_at_once_and_proves_no_firewall() {
    let conn = scripted(|_, _, _| (Err(io::ErrorKind::PermissionDenied), vec![]));
    let base = Base::from_conn(Arc::new(conn)).unwrap();
    let gathering = base.gather(&servers(5), &GatherConfig::default()).await;
    assert!(gathering.servers.iter().all(|server| server.outcome == Outcome::Unreachable));
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Unknown);
    assert!(gathering.elapsed < Duration::from_millis(200), "{:?}", gathering.elapsed);
}

#[tokio::test]
async fn an_interface_that_goes_down_mid_gather_ends_it_and_proves_no_firewall() {
    // the first round leaves, and the interface is gone before anything comes back or is sent again
    let conn = Arc::new(scripted(|number, _, _| match number {
        0..4 => (Ok(()), vec![]),
        _ => (Err(io::ErrorKind::NetworkDown), vec![Err(io::ErrorKind::NetworkDown)]),
    }));
    let base = Base::from_conn(Arc::clone(&conn) as _).unwrap();
    let gathering = base.gather(&servers(4), &GatherConfig::default()).await;
    assert!(gathering.servers.iter().all(|server| server.outcome == Outcome::Unreachable && server.sends == 2));
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Unknown);
    assert_eq!(conn.sends.load(Ordering::Relaxed), 8);
    assert!(gathering.elapsed < Duration::from_secs(1), "{:?}", gathering.elapsed);
}
