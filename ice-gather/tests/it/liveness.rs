//! A peer that falls silent, is back, and then is gone.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use ice_gather::{
    AgentConfig, Base, DatagramCarrier, IceAgent, IceConn, IceEvent, IceState, Role, SendError,
};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::connect::{DEADLINE, description};
use crate::gather::base;

const KEEPALIVE: Duration = Duration::from_millis(20);
const SILENCE: Duration = Duration::from_millis(300);

/// A socket that receives nothing while it is deaf, sends nothing while it is mute, and counts its
/// datagrams.
struct Ear {
    socket: UdpSocket,
    is_deaf: AtomicBool,
    is_mute: AtomicBool,
    sent: AtomicU32,
}

impl Ear {
    async fn new() -> Arc<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        Arc::new(Self {
            socket,
            is_deaf: AtomicBool::default(),
            is_mute: AtomicBool::default(),
            sent: AtomicU32::new(0),
        })
    }

    fn set_deaf(&self, is_deaf: bool) {
        self.is_deaf.store(is_deaf, Ordering::SeqCst);
    }

    fn sent(&self) -> u32 {
        self.sent.load(Ordering::SeqCst)
    }
}

impl DatagramCarrier for Ear {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            let received = self.socket.recv_from(buffer).await?;
            if !self.is_deaf.load(Ordering::SeqCst) {
                return Ok(received);
            }
        }
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        if self.is_mute.load(Ordering::SeqCst) {
            return Ok(datagram.len());
        }
        self.sent.fetch_add(1, Ordering::SeqCst);
        self.socket.send_to(datagram, target).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

async fn next_state(events: &mut mpsc::Receiver<IceEvent>) -> IceState {
    loop {
        if let IceEvent::State(state) = tokio::time::timeout(DEADLINE, events.recv())
            .await
            .unwrap()
            .unwrap()
        {
            return state;
        }
    }
}

/// Two agents with a path, and the events of the first from now on, which is quick to give it up.
async fn connected(
    left: &Base,
    right: &Base,
) -> (
    (IceAgent, IceConn),
    (IceAgent, IceConn),
    mpsc::Receiver<IceEvent>,
) {
    let config = AgentConfig::default().with_keepalive_interval(KEEPALIVE);
    // the peer believes in the path all the while, so it goes on to check it
    let mut b = IceAgent::new(right, Role::Controlled, config)
        .await
        .unwrap();
    let impatient = config
        .with_disconnected_timeout(SILENCE)
        .with_failed_timeout(SILENCE);
    let mut a = IceAgent::new(left, Role::Controlling, impatient)
        .await
        .unwrap();
    let mut events = a.events();
    let (to_a, to_b) = (description(left, &a), description(right, &b));
    let (conn_a, conn_b) = tokio::join!(a.connect(to_b, DEADLINE), b.connect(to_a, DEADLINE));
    assert_eq!(next_state(&mut events).await, IceState::Checking);
    assert_eq!(next_state(&mut events).await, IceState::Connected);
    ((a, conn_a.unwrap()), (b, conn_b.unwrap()), events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_peer_is_disconnected_until_it_is_back_and_nothing_leaves_once_it_has_failed() {
    let ear = Ear::new().await;
    let (left, right) = (Base::from_carrier(Arc::clone(&ear)).unwrap(), base().await);
    let ((a, conn_a), (b, conn_b), mut events) = connected(&left, &right).await;

    ear.set_deaf(true);
    assert_eq!(next_state(&mut events).await, IceState::Disconnected);
    conn_a.send(b"unheard, not given up").await.unwrap();
    ear.set_deaf(false);
    assert_eq!(next_state(&mut events).await, IceState::Connected);
    // one that waits to be read as the path is given up
    conn_b.send(b"waiting").await.unwrap();
    tokio::time::sleep(KEEPALIVE).await;

    ear.set_deaf(true);
    assert_eq!(next_state(&mut events).await, IceState::Disconnected);
    assert_eq!(next_state(&mut events).await, IceState::Failed);
    let (sent, checks) = (ear.sent(), left.peer_view().checks.sent);
    assert_eq!(conn_a.send(b"late").await, Err(SendError::Closed));
    assert_eq!(conn_a.recv(&mut [0; 1500]).await, None);
    ear.set_deaf(false);
    conn_b.send(b"back too late").await.unwrap();
    tokio::time::sleep(10 * KEEPALIVE).await;
    assert_eq!(ear.sent(), sent, "no keepalive, no answer, no datagram");
    assert_eq!(
        left.peer_view().checks.sent,
        checks,
        "a datagram that did not leave is not counted"
    );
    assert_eq!(conn_a.recv(&mut [0; 1500]).await, None);
    assert_eq!(*conn_a.state().borrow(), IceState::Failed);
    a.close().await;
    assert_eq!(next_state(&mut events).await, IceState::Closed);
    b.close().await;
}

/// Consent to send is what the peer signs (RFC 7675 section 5.1): anybody can send from its
/// address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_from_the_address_of_a_peer_that_answers_no_longer_keep_no_path_alive() {
    let ear = Ear::new().await;
    let (left, right) = (base().await, Base::from_carrier(Arc::clone(&ear)).unwrap());
    let ((a, conn_a), (b, _conn_b), mut events) = connected(&left, &right).await;
    // as long as it consents, the path lives, even without a datagram
    tokio::time::sleep(4 * SILENCE).await;
    assert_eq!(*conn_a.state().borrow(), IceState::Connected);

    ear.is_mute.store(true, Ordering::SeqCst);
    let address = left.local_addrs().next().unwrap();
    let noise = async {
        loop {
            ear.socket.send_to(&[0x80], address).await.unwrap();
            tokio::time::sleep(KEEPALIVE).await;
        }
    };
    let failed = tokio::time::timeout(4 * SILENCE, next_state(&mut events));
    let failed = tokio::select! { () = noise => unreachable!(), failed = failed => failed };
    assert_eq!(
        failed.expect("the path is given up in time"),
        IceState::Failed,
        "datagrams came all the while"
    );
    assert_eq!(conn_a.send(b"late").await, Err(SendError::Closed));
    a.close().await;
    b.close().await;
}
