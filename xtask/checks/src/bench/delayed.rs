//! A STUN server at the far end of a path: every answer takes one round trip, and packets are lost
//! at random.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ice_gather::StunServer;
use ice_gather::responder::success;
use ice_gather::stun::{Header, TransactionId};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How often the server looks whether it shall end.
const LOOK: Duration = Duration::from_millis(50);
/// Answers under way at once: room for a thousand gatherings that start in one moment, allocated
/// beforehand.
const UNDER_WAY: usize = 8_192;

/// The path to a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) round_trip: Duration,
    /// Share of the packets lost, each way.
    pub(crate) loss: f64,
    /// Whether nothing ever comes back.
    pub(crate) is_dead: bool,
    pub(crate) seed: u64,
}

/// A running server; it ends when dropped. Two threads, so that its timers neither wait for a
/// runtime that is being measured nor allocate on the way.
#[derive(Debug)]
pub(crate) struct Delayed {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

struct UnderWay {
    due: Instant,
    source: SocketAddr,
    id: TransactionId,
}

impl Delayed {
    pub(crate) fn bind(ip: IpAddr, path: Path) -> io::Result<Self> {
        let socket = UdpSocket::bind((ip, 0))?;
        socket.set_read_timeout(Some(LOOK))?;
        let address = socket.local_addr()?;
        let (requests, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (answer, answers) = sync_channel(UNDER_WAY);
        let sender = socket.try_clone()?;
        let threads = vec![
            thread::spawn({
                let (requests, stop) = (Arc::clone(&requests), Arc::clone(&stop));
                move || receive(&socket, path, &requests, &stop, &answer)
            }),
            thread::spawn(move || send(&sender, &answers)),
        ];
        Ok(Self {
            address,
            requests,
            stop,
            threads,
        })
    }

    /// Servers on consecutive loopback addresses from 127.0.0.21 on, the last `dead` of them dead.
    pub(crate) fn cohort(size: u8, dead: u8, path: Path) -> io::Result<Vec<Self>> {
        let server = |n: u8| {
            let seed = path.seed.wrapping_add(u64::from(n));
            Self::bind(
                IpAddr::from([127, 0, 0, 21 + n]),
                Path {
                    is_dead: n + dead >= size,
                    seed,
                    ..path
                },
            )
        };
        (0..size).map(server).collect()
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) const fn server(&self) -> StunServer {
        StunServer::Address(self.address)
    }

    /// Requests sent to this server so far, including those that its path lost.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Delayed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // a panic there has been printed already
            let _ = thread.join();
        }
    }
}

fn receive(
    socket: &UdpSocket,
    path: Path,
    requests: &AtomicU64,
    stop: &AtomicBool,
    answer: &SyncSender<UnderWay>,
) {
    let mut rng = SmallRng::seed_from_u64(path.seed);
    let mut buffer = [0; 1500];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, source)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let due = Instant::now() + path.round_trip;
        let Some(header) =
            Header::peek(&buffer[..length]).filter(|header| header.is_binding_request())
        else {
            continue;
        };
        requests.fetch_add(1, Ordering::Relaxed);
        let mut arrives = || !path.is_dead && rng.random::<f64>() >= path.loss;
        if arrives() && arrives() {
            // a full queue loses packets, as a router's does
            let _ = answer.try_send(UnderWay {
                due,
                source,
                id: header.id,
            });
        }
    }
}

/// The delay is the same for all, so the first to arrive is the first to leave.
fn send(socket: &UdpSocket, answers: &Receiver<UnderWay>) {
    while let Ok(UnderWay { due, source, id }) = answers.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let _ = socket.send_to(&success(id, source), source);
    }
}
