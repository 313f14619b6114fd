//! The consumer's socket: a NAT of a known kind in front of real loopback sockets, on a road that
//! loses and forges.
//!
//! The NAT is what it does: a socket on its outside for each mapping, and a filter on what those
//! receive. webrtc-util's virtual network is not for this: there, a socket that nobody reads halts
//! its whole host.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ice_gather::responder::success;
use ice_gather::write_request;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;
use webrtc_util::Conn;

use super::plan::Road;
use crate::peers::Running;
use crate::vnet::Kind;

/// The inside of the NAT: nobody listens there, and nothing ever leaves for it but checks in vain.
const INSIDE: [u8; 4] = [127, 1, 0, 5];
const OUTSIDE: [u8; 4] = [127, 0, 0, 71];
/// Datagrams that wait for the consumer to read.
const INBOX: usize = 256;

type Inbound = (Vec<u8>, SocketAddr);

pub(super) struct Behind {
    kind: Kind,
    road: Road,
    local: SocketAddr,
    rng: Mutex<SmallRng>,
    servers: Vec<SocketAddr>,
    /// Datagrams that the consumer sent to a STUN server.
    asked: Arc<AtomicU64>,
    nat: Mutex<Nat>,
    inbox: mpsc::Sender<Inbound>,
    outbox: tokio::sync::Mutex<mpsc::Receiver<Inbound>>,
}

#[derive(Default)]
struct Nat {
    /// By destination where that matters to the mapping.
    mappings: HashMap<Option<SocketAddr>, Mapping>,
    /// Where something was sent to: what the filter goes by.
    sent_to: Arc<Mutex<HashSet<SocketAddr>>>,
    rebinds_at: Option<Instant>,
}

struct Mapping {
    socket: Arc<UdpSocket>,
    _reader: Running,
}

impl Behind {
    pub(super) fn new(
        kind: Kind,
        road: Road,
        servers: Vec<SocketAddr>,
        asked: Arc<AtomicU64>,
    ) -> std::io::Result<Self> {
        let (inbox, outbox) = mpsc::channel(INBOX);
        let rebinds_at = road
            .rebinds
            .map(|after| Instant::now() + Duration::from_millis(after));
        let mut rng = SmallRng::seed_from_u64(road.seed);
        let mut behind = Self {
            kind,
            road,
            local: (INSIDE, rng.random_range(1_024..u16::MAX)).into(),
            rng: Mutex::new(rng),
            servers,
            asked,
            nat: Mutex::new(Nat {
                rebinds_at,
                ..Nat::default()
            }),
            inbox,
            outbox: tokio::sync::Mutex::new(outbox),
        };
        if kind == Kind::Nothing {
            // its inside is its outside
            behind.local = behind.outside(None)?.local_addr()?;
        }
        Ok(behind)
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut SmallRng) -> T) -> T {
        draw(&mut lock(&self.rng))
    }

    /// The socket that a datagram to `target` leaves from, made if there is no mapping yet.
    fn outside(&self, target: Option<SocketAddr>) -> std::io::Result<Arc<UdpSocket>> {
        let mut nat = lock(&self.nat);
        if nat.rebinds_at.is_some_and(|at| Instant::now() >= at) {
            *nat = Nat::default();
        }
        let key = target.filter(|_| self.kind == Kind::Symmetric);
        if let Some(mapping) = nat.mappings.get(&key) {
            return Ok(Arc::clone(&mapping.socket));
        }
        let socket = std::net::UdpSocket::bind(SocketAddr::from((OUTSIDE, 0)))?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let read = read(
            Arc::clone(&socket),
            self.kind,
            key,
            Arc::clone(&nat.sent_to),
            self.inbox.clone(),
        );
        nat.mappings.insert(
            key,
            Mapping {
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

/// Hands on what the filter lets through.
async fn read(
    socket: Arc<UdpSocket>,
    kind: Kind,
    mapped_for: Option<SocketAddr>,
    sent_to: Arc<Mutex<HashSet<SocketAddr>>>,
    inbox: mpsc::Sender<Inbound>,
) {
    let mut buffer = [0; 9_000];
    loop {
        // an error is news of an earlier datagram, and none of the consumer's business
        let Ok((length, source)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let passes = match kind {
            Kind::Nothing | Kind::FullCone => true,
            Kind::AddressRestricted => lock(&sent_to).iter().any(|known| known.ip() == source.ip()),
            Kind::PortRestricted => lock(&sent_to).contains(&source),
            Kind::Symmetric => mapped_for == Some(source),
            Kind::Blocked => false,
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

#[async_trait]
impl Conn for Behind {
    async fn connect(&self, _: SocketAddr) -> webrtc_util::Result<()> {
        Ok(())
    }

    async fn recv(&self, buffer: &mut [u8]) -> webrtc_util::Result<usize> {
        self.recv_from(buffer).await.map(|(length, _)| length)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        loop {
            let received = self.outbox.lock().await.recv().await;
            let Some(mut inbound) = received else {
                return Err(webrtc_util::Error::ErrAlreadyClosed);
            };
            if self.draw(|rng| rng.random_bool(self.road.loss)) {
                continue;
            }
            if self.draw(|rng| rng.random_bool(self.road.forged)) {
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

    async fn send(&self, _: &[u8]) -> webrtc_util::Result<usize> {
        Err(webrtc_util::Error::ErrNoRemAddr)
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> webrtc_util::Result<usize> {
        if self.servers.contains(&target) {
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        if !self.draw(|rng| rng.random_bool(self.road.loss)) {
            let outside = self.outside(Some(target))?;
            lock(&lock(&self.nat).sent_to).insert(target);
            // what cannot be sent is lost behind the NAT
            let _ = outside.send_to(datagram, target).await;
        }
        Ok(datagram.len())
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(self.local)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }

    async fn close(&self) -> webrtc_util::Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
