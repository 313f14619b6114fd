//! The whole stack of a path in one process, ICE, DTLS and SCTP on a network that a stranger is on.
//!
//! A valid prefix, then damage: the network delivers so many datagrams as they are, and then the input
//! decides for each whether it is lost, damaged, repeated, or joined by one of the stranger's own.
//! Nothing panics, nothing is answered without end, and once the channel is open it stays.

#![no_main]

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consumer_fsm::SessionDescription;
use consumer_fsm::transport::{DataChannel, IceTransport, Network, Path, Session, Transport};
use ice_gather::{AgentConfig, Base, DatagramCarrier, Role};
use libfuzzer_sys::fuzz_target;
use tokio::sync::mpsc;

/// Longest attempt: a handshake that the network let through takes milliseconds.
const DEADLINE: Duration = Duration::from_millis(400);
/// Longest wait for one of many datagrams of an open channel, on a busy machine.
const ALIVE: Duration = Duration::from_secs(10);
/// Datagrams of an attempt, without those that a stranger's ones asked for.
const MOST_SENT: usize = 3_000;
/// Datagrams that one of the stranger's may be answered by.
const MOST_ANSWERS: usize = 4;

type Datagram = (Vec<u8>, SocketAddr);

/// The network between the two sides.
#[derive(Default)]
struct Air {
    /// The rest of the input: what happens to the next datagrams.
    script: Vec<u8>,
    next: usize,
    /// Datagrams delivered as they are, before that.
    whole: usize,
    sent: usize,
    forged: usize,
}

/// One side's socket.
struct Side {
    address: SocketAddr,
    air: Arc<Mutex<Air>>,
    inbound: tokio::sync::Mutex<mpsc::UnboundedReceiver<Datagram>>,
    to_peer: mpsc::UnboundedSender<Datagram>,
}

impl Air {
    fn take(&mut self) -> Option<u8> {
        let byte = self.script.get(self.next).copied();
        self.next += 1;
        byte
    }

    fn take_many(&mut self, count: usize) -> Vec<u8> {
        (0..count).map_while(|_| self.take()).collect()
    }

    /// What arrives in place of this datagram.
    fn carry(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        self.sent += 1;
        if self.whole > 0 {
            self.whole -= 1;
            return vec![datagram.to_vec()];
        }
        let Some(what) = self.take() else {
            return vec![datagram.to_vec()];
        };
        let whole = datagram.to_vec();
        let mut other = whole.clone();
        match what % 8 {
            0 | 1 => return vec![whole],
            2 => return Vec::new(),
            3 => {
                // damaged, and the true one behind it
                let pairs = self.take_many(usize::from(what / 8 % 4) * 2 + 2);
                for pair in pairs.chunks_exact(2) {
                    let at = usize::from(pair[0]) * other.len() / 256;
                    if let Some(byte) = other.get_mut(at) {
                        *byte ^= pair[1];
                    }
                }
            }
            4 => {}
            5 => {
                let length = other.len() * usize::from(self.take().unwrap_or(128)) / 256;
                other.truncate(length);
            }
            6 => {
                let count = usize::from(what) * 4;
                let more = self.take_many(count);
                other.extend(more);
            }
            _ => {
                let count = usize::from(self.take().unwrap_or(0));
                other = self.take_many(count);
            }
        }
        self.forged += 1;
        if what & 128 == 0 {
            vec![other, whole]
        } else {
            vec![whole, other]
        }
    }
}

impl DatagramCarrier for Side {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self.inbound.lock().await.recv().await {
            Some((datagram, source)) => {
                let length = datagram.len().min(buffer.len());
                buffer[..length].copy_from_slice(&datagram[..length]);
                Ok((length, source))
            }
            None => core::future::pending().await,
        }
    }

    async fn send_to(&self, datagram: &[u8], _: SocketAddr) -> io::Result<usize> {
        let arrives = self.air.lock().expect("no panic").carry(datagram);
        for datagram in arrives {
            let _ = self.to_peer.send((datagram, self.address));
        }
        Ok(datagram.len())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A transport on this side.
fn transport(side: Side) -> DataChannel {
    let side = Arc::new(Mutex::new(Some(side)));
    let network = Network::custom(move || {
        let side = side.lock().expect("no panic").take().expect("one base");
        async move { Base::from_carrier(side) }
    });
    let eager = AgentConfig::default()
        .with_check_interval(Duration::from_millis(10))
        .with_keepalive_interval(Duration::from_millis(20));
    DataChannel::new(IceTransport::new(network).with_agent_config(eager))
}

async fn run(air: Arc<Mutex<Air>>) {
    let addresses = [
        SocketAddr::from(([192, 0, 2, 1], 1_000)),
        SocketAddr::from(([192, 0, 2, 2], 2_000)),
    ];
    let (to_ours, from_theirs) = mpsc::unbounded_channel();
    let (to_theirs, from_ours) = mpsc::unbounded_channel();
    let side = |number: usize, to_peer, inbound| Side {
        address: addresses[number],
        air: Arc::clone(&air),
        inbound: tokio::sync::Mutex::new(inbound),
        to_peer,
    };
    let consumer = transport(side(0, to_theirs, from_theirs));
    let producer = transport(side(1, to_ours, from_ours));
    let mut ours = consumer.open(Role::Controlling).await.expect("a base");
    let mut theirs = producer.open(Role::Controlled).await.expect("a base");
    let candidates = (ours.gather(&[]).await, theirs.gather(&[]).await);
    let read = |text: String| SessionDescription::parse(&text).expect("it is our own");
    let offer = read(ours.describe(None, &candidates.0.candidates));
    let answer = read(theirs.describe(Some(&offer), &candidates.1.candidates));
    let (our_path, their_path) = tokio::join!(
        ours.connect(answer, DEADLINE),
        theirs.connect(offer, DEADLINE)
    );
    {
        let air = air.lock().expect("no panic");
        let most = MOST_SENT + air.forged * MOST_ANSWERS;
        assert!(
            air.sent <= most,
            "{} datagrams for {}",
            air.sent,
            air.forged
        );
    }
    if let (Ok(our_path), Ok(their_path)) = (&our_path, &their_path) {
        let mut buffer = [0; 2_000];
        let pump = async {
            loop {
                // false: the socket or a window is full
                our_path.send(&[1; 100]).await;
                their_path.send(&[2; 100]).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let mut other = [0; 2_000];
        let both = async { tokio::join!(our_path.recv(&mut buffer), their_path.recv(&mut other)) };
        let received = tokio::select! {
            received = tokio::time::timeout(ALIVE, both) => received,
            () = pump => unreachable!(),
        };
        assert_eq!(
            received,
            Ok((Some(100), Some(100))),
            "an open channel stays"
        );
    }
    tokio::join!(ours.close(), theirs.close());
}

fuzz_target!(|input: &[u8]| {
    let [whole, script @ ..] = input else {
        return;
    };
    let air = Air {
        script: script.to_vec(),
        whole: usize::from(*whole),
        ..Air::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run(Arc::new(Mutex::new(air))));
});
