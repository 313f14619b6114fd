//! The consumer's socket: a NAT of a known kind in front of real loopback sockets, on a link that
//! loses and forges.
//!
//! The NAT has an outside socket for each mapping, and a filter on the received datagrams.
//! webrtc-util's virtual network cannot be used here, because one socket without a reader halts its
//! whole host there.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ice_gather::DatagramCarrier;
use ice_gather::responder::success;
use ice_gather::stun::write_request;
use nat_model::{Behaviour, Dependence, Nat};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::plan::Link;
use crate::front::Front;
use crate::peers::Running;

/// The inside of the NAT. No socket is bound there; only checks of the peer, in vain, are sent to
/// it.
const INSIDE: [u8; 4] = [127, 1, 0, 5];
const OUTSIDE: [u8; 4] = [127, 0, 0, 71];
/// Datagrams that wait for the consumer to read.
const INBOX: usize = 256;

/// Where there is no NAT, everything has the one endpoint.
const LAX: Behaviour = Behaviour::new(
    Dependence::EndpointIndependent,
    Dependence::EndpointIndependent,
);

type Inbound = (Vec<u8>, SocketAddr);

pub(super) struct Behind {
    front: Front,
    link: Link,
    local: SocketAddr,
    rng: Mutex<SmallRng>,
    servers: Vec<SocketAddr>,
    /// Datagrams that the consumer sent to a STUN server.
    asked: Arc<AtomicU64>,
    outside: Mutex<Outside>,
    inbox: mpsc::Sender<Inbound>,
    outbox: tokio::sync::Mutex<mpsc::Receiver<Inbound>>,
}

/// The other side of the NAT.
struct Outside {
    /// Its endpoints outside are words: the system chooses the ports of the sockets that stand for
    /// them.
    nat: Arc<Mutex<Nat>>,
    sockets: HashMap<SocketAddr, Socket>,
    rebinds_at: Option<Instant>,
}

/// The socket of one external endpoint.
struct Socket {
    socket: Arc<UdpSocket>,
    _reader: Running,
}

impl Behind {
    pub(super) fn new(
        front: Front,
        link: Link,
        servers: Vec<SocketAddr>,
        asked: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let (inbox, outbox) = mpsc::channel(INBOX);
        let rebinds_at = link
            .rebinds
            .map(|after| Instant::now() + Duration::from_millis(after));
        let mut rng = SmallRng::seed_from_u64(link.seed);
        let local = (INSIDE, rng.random_range(1_024..u16::MAX)).into();
        let nat = Nat::new(
            front.behaviour().unwrap_or(LAX),
            vec![OUTSIDE.into()],
            rng.random(),
        );
        let mut behind = Self {
            front,
            link,
            local,
            rng: Mutex::new(rng),
            servers,
            asked,
            outside: Mutex::new(Outside {
                nat: Arc::new(Mutex::new(nat)),
                sockets: HashMap::new(),
                rebinds_at,
            }),
            inbox,
            outbox: tokio::sync::Mutex::new(outbox),
        };
        if front == Front::Nothing {
            // its inside is its outside
            behind.local = behind.outside(local)?.local_addr()?;
        }
        Ok(behind)
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut SmallRng) -> T) -> T {
        draw(&mut lock(&self.rng))
    }

    /// The socket that a datagram to `target` leaves from, made if there is no mapping yet.
    fn outside(&self, target: SocketAddr) -> io::Result<Arc<UdpSocket>> {
        let mut outside = lock(&self.outside);
        if outside
            .rebinds_at
            .take_if(|at| Instant::now() >= *at)
            .is_some()
        {
            lock(&outside.nat).forget();
            outside.sockets.clear();
        }
        let mut below = |end| self.draw(|rng| rng.random_range(0..end));
        // without a NAT there is one endpoint, whatever the host is called
        let external = lock(&outside.nat).outward((INSIDE, 1_024).into(), target, &mut below);
        if let Some(known) = outside.sockets.get(&external) {
            return Ok(Arc::clone(&known.socket));
        }
        let socket = std::net::UdpSocket::bind(SocketAddr::from((OUTSIDE, 0)))?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let read = read(
            Arc::clone(&socket),
            self.front,
            external,
            Arc::clone(&outside.nat),
            self.inbox.clone(),
        );
        outside.sockets.insert(
            external,
            Socket {
                socket: Arc::clone(&socket),
                _reader: Running::spawn(read),
            },
        );
        Ok(socket)
    }

    /// Garbage, answers to nothing, answers as if from a server, requests of strangers.
    fn forge(&self) -> Inbound {
        self.draw(|rng| {
            let server = self.servers[rng.random_range(0..self.servers.len())];
            let stranger =
                SocketAddr::from(([198, 51, 100, rng.random()], rng.random_range(1..u16::MAX)));
            match rng.random_range(0..5) {
                0 => (
                    (0..rng.random_range(0..1_200))
                        .map(|_| rng.random())
                        .collect(),
                    stranger,
                ),
                1 => (success(rng.random(), stranger), server),
                2 => (success(rng.random(), stranger), stranger),
                3 => (write_request(rng.random()).to_vec(), stranger),
                _ => (vec![0; 3], server),
            }
        })
    }
}

/// Passes on the datagrams that the filter lets in.
async fn read(
    socket: Arc<UdpSocket>,
    front: Front,
    external: SocketAddr,
    nat: Arc<Mutex<Nat>>,
    inbox: mpsc::Sender<Inbound>,
) {
    let mut buffer = [0; 9_000];
    loop {
        // ignored, because an error here is about an earlier datagram
        let Ok((length, source)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let passes = match front {
            Front::Nothing => true,
            Front::Blocked | Front::NoRoute => false,
            _ => lock(&nat).inward(external, source).is_some(),
        };
        if passes {
            // a consumer that does not read loses datagrams, as everywhere
            let _ = inbox.try_send((buffer[..length].to_vec(), source));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DatagramCarrier for Behind {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            let received = self.outbox.lock().await.recv().await;
            let Some(mut inbound) = received else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            if self.draw(|rng| rng.random_bool(self.link.loss)) {
                continue;
            }
            if self.draw(|rng| rng.random_bool(self.link.forged)) {
                // the true one comes behind it
                let _ = self
                    .inbox
                    .try_send(std::mem::replace(&mut inbound, self.forge()));
            }
            let (datagram, source) = inbound;
            let length = datagram.len().min(buffer.len());
            buffer[..length].copy_from_slice(&datagram[..length]);
            return Ok((length, source));
        }
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        if self.servers.contains(&target) {
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        if !self.draw(|rng| rng.random_bool(self.link.loss)) {
            let outside = self.outside(target)?;
            // a datagram that cannot be sent is lost behind the NAT
            let _ = outside.send_to(datagram, target).await;
        }
        Ok(datagram.len())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}
