//! The hosts themselves: sockets in the namespace between the sides. Without a class each of them is
//! honest.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::oneshot;

use super::super::classes::{Asked, HostileServer, HostileService, Piece, Step};
use super::super::forge;
use super::{THIRD_PARTY, ThirdParty, address};
use crate::Failure;
use crate::kernel::namespace::Namespace;

/// Longest request read, in bytes.
const REQUEST: usize = 512 * 1024;
/// Longest connection of a host that says nothing more.
const HELD: Duration = Duration::from_secs(60);
/// Between two bytes of one that drips.
const DRIP: Duration = Duration::from_millis(50);

/// What the hosts do.
#[derive(Clone, Copy)]
pub(super) enum Behaviour {
    Stun(&'static HostileServer),
    Turn(&'static HostileServer),
    Signalling(&'static HostileService),
}

/// The hosts; they end when dropped.
pub(super) struct Hosts {
    pub(super) stun: SocketAddr,
    pub(super) turn: SocketAddr,
    /// Of the signalling service.
    pub(super) url: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Hosts {
    pub(super) fn start(place: &Namespace) -> Result<Self, Failure> {
        let (stun, turn, service) = (address(3_479), address(3_480), address(9_001));
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = mpsc::channel();
        let (place, inner) = (place.clone(), Arc::clone(&shared));
        let thread = thread::spawn(move || {
            let served = place.block_on(|| async {
                let stun = UdpSocket::bind(stun).await?;
                let turn = UdpSocket::bind(turn).await?;
                let third_party = UdpSocket::bind(THIRD_PARTY).await?;
                let service = TcpListener::bind(service).await?;
                let _ = started.send(Ok(()));
                tokio::select! {
                    () = inner.udp(&stun, forge::BINDING) => {}
                    () = inner.udp(&turn, forge::ALLOCATE) => {}
                    () = inner.count(&third_party) => {}
                    () = accept(&inner, &service) => {}
                    _ = stopped => {}
                }
                Ok(())
            });
            if let Err(failure) = served {
                let _ = started.send(Err(failure));
            }
        });
        starting.recv()??;
        Ok(Self {
            stun,
            turn,
            url: format!("http://{service}/v1/signal"),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// From now on this class; none: honest.
    pub(super) fn set(&self, behaviour: Option<Behaviour>) {
        if let Ok(mut now) = self.shared.behaviour.lock() {
            *now = behaviour;
        }
        if behaviour.is_some() {
            self.shared.sent.store(0, Ordering::Relaxed);
        }
    }

    /// Datagrams and pieces of a reply since the class was set.
    pub(super) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    pub(super) fn third_party(&self) -> ThirdParty {
        ThirdParty {
            packets: self.shared.packets.load(Ordering::Relaxed),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // a panic in there was reported where it happened
            let _ = thread.join();
        }
    }
}

/// The class, and the counts.
#[derive(Default)]
struct Shared {
    behaviour: Mutex<Option<Behaviour>>,
    sent: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Shared {
    fn behaviour(&self) -> Option<Behaviour> {
        self.behaviour.lock().map_or(None, |now| *now)
    }

    async fn count(&self, socket: &UdpSocket) {
        let mut buffer = [0; 2_048];
        while let Ok(length) = socket.recv(&mut buffer).await {
            self.packets.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(length as u64, Ordering::Relaxed);
        }
    }

    /// A STUN server, or a TURN server with `honest` Allocate requests.
    async fn udp(&self, socket: &UdpSocket, honest: u16) {
        let (mut rng, mut buffer) = (SmallRng::seed_from_u64(1), vec![0; 65_536]);
        loop {
            // an ICMP error that a closed port caused is no end
            let Ok((length, SocketAddr::V4(source))) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            let Some(asked) = Asked::read(&buffer[..length], source) else {
                continue;
            };
            let answers = match self.behaviour() {
                Some(Behaviour::Stun(class)) if honest == forge::BINDING => {
                    (class.answer)(&mut rng, &asked)
                }
                Some(Behaviour::Turn(class)) if honest == forge::ALLOCATE => {
                    (class.answer)(&mut rng, &asked)
                }
                _ if honest == forge::BINDING => vec![asked.mapped()],
                _ => vec![asked.refused(&[0, 0, 4, 86])],
            };
            for (number, answer) in answers.iter().enumerate() {
                let _ = socket.send_to(answer, source).await;
                self.sent.fetch_add(1, Ordering::Relaxed);
                // the attacker stops short of the end of the receiver's queue
                if number % 64 == 63 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }
    }

    /// One connection: one request, one reply.
    async fn reply(&self, mut stream: TcpStream) {
        let Some(step) = request(&mut stream).await else {
            return;
        };
        let mut rng = SmallRng::seed_from_u64(2);
        let pieces = match self.behaviour() {
            Some(Behaviour::Signalling(class)) if class.at == step => (class.reply)(&mut rng),
            // a listener of an honest service that has no volunteer
            None => vec![Piece::Bytes(forge::reply(b"\n"))],
            Some(_) => vec![Piece::Bytes(match step {
                Step::Listen => forge::reply(&forge::genesis()),
                Step::Offer => forge::reply(&forge::answer(&forge::sdp(&[]))),
                Step::Ice => forge::reply(b""),
            })],
        };
        for piece in pieces {
            let written = match piece {
                Piece::Bytes(bytes) => self.write(&mut stream, &bytes).await,
                Piece::Again(bytes, times) => {
                    let mut written = true;
                    for _ in 0..times {
                        written = written && self.write(&mut stream, &bytes).await;
                        if !written || self.behaviour().is_none() {
                            break;
                        }
                    }
                    written
                }
                Piece::Drip(byte) => {
                    let until = tokio::time::Instant::now() + HELD;
                    while tokio::time::Instant::now() < until
                        && self.behaviour().is_some()
                        && self.write(&mut stream, &[byte]).await
                    {
                        tokio::time::sleep(DRIP).await;
                    }
                    false
                }
                Piece::Hold => {
                    self.sent.fetch_add(1, Ordering::Relaxed);
                    let mut buffer = [0; 64];
                    let _ = tokio::time::timeout(HELD, stream.read(&mut buffer)).await;
                    false
                }
            };
            if !written {
                return;
            }
        }
    }

    async fn write(&self, stream: &mut TcpStream, bytes: &[u8]) -> bool {
        self.sent.fetch_add(1, Ordering::Relaxed);
        stream.write_all(bytes).await.is_ok()
    }
}

async fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let shared = Arc::clone(shared);
            tokio::spawn(async move { shared.reply(stream).await });
        }
    }
}

/// Reads a whole request; none if it ends before.
async fn request(stream: &mut TcpStream) -> Option<Step> {
    let (mut read, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    while read.len() < REQUEST {
        let length = stream
            .read(&mut buffer)
            .await
            .ok()
            .filter(|length| *length > 0)?;
        read.extend_from_slice(buffer.get(..length)?);
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        if head.starts_with("GET") {
            return Some(Step::Listen);
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            let is_offer = body.split('&').any(|pair| pair == "type=1");
            return Some(if is_offer { Step::Offer } else { Step::Ice });
        }
    }
    None
}
