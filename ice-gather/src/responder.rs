//! A small STUN server (RFC 8489 Binding only) for tests and demonstrations, honest or silent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::{ToSocketAddrs, UdpSocket};
use tokio::task::JoinHandle;

use crate::socket::carrier::DatagramCarrier;
use crate::stun::{Header, StunServer, TransactionId, write_success};

/// How a [`Responder`] treats a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Manner {
    /// Answers with the address the request came from.
    #[default]
    Honest,
    /// Never answers, as a dead server would.
    Silent,
}

/// A running STUN server; it ends when dropped.
#[derive(Debug)]
pub struct Responder {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Responder {
    /// Binds an honest server.
    ///
    /// # Errors
    /// If the socket cannot be bound.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::bind_with(address, Manner::Honest).await
    }

    /// Binds a server that behaves in this manner.
    ///
    /// # Errors
    /// If the socket cannot be bound.
    pub async fn bind_with(address: impl ToSocketAddrs, manner: Manner) -> io::Result<Self> {
        Self::on_carrier(UdpSocket::bind(address).await?, manner)
    }

    /// Binds `size` servers on consecutive loopback addresses from 127.0.0.11 on, the last `silent`
    /// of them silent.
    ///
    /// # Errors
    /// If a socket cannot be bound.
    pub async fn cohort(size: u8, silent: u8) -> io::Result<Vec<Self>> {
        let mut responders = Vec::with_capacity(size.into());
        for n in 0..size {
            let manner = if n < size.saturating_sub(silent) {
                Manner::Honest
            } else {
                Manner::Silent
            };
            let ip = IpAddr::from([127, 0, 0, n.saturating_add(11)]);
            responders.push(Self::bind_with((ip, 0), manner).await?);
        }
        Ok(responders)
    }

    /// Serves on any datagram carrier, such as a virtual network.
    ///
    /// # Errors
    /// If the carrier has no local address.
    pub fn on_carrier(carrier: impl DatagramCarrier, manner: Manner) -> io::Result<Self> {
        let address = carrier.local_addr()?;
        let requests = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            // a connection that ends, ends the server; a socket reports errors of earlier sends and
            // goes on
            while let Ok((length, source)) = carrier.recv_from(&mut buffer).await {
                let Some(header) =
                    Header::peek(&buffer[..length]).filter(Header::is_binding_request)
                else {
                    continue;
                };
                seen.fetch_add(1, Ordering::Relaxed);
                if manner == Manner::Honest {
                    let _ = carrier
                        .send_to(&write_success(header.id, source), source)
                        .await;
                }
            }
        });
        Ok(Self {
            address,
            requests,
            task,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same, as a server to ask.
    #[must_use]
    pub const fn server(&self) -> StunServer {
        StunServer::Address(self.address)
    }

    /// Binding requests received so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A STUN server with two addresses and two ports that answers from wherever it is asked to (RFC
/// 5780).
#[derive(Debug)]
pub struct TwoAddresses {
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl TwoAddresses {
    /// Serves on the four combinations of two addresses and two ports: `[[a1:p1, a1:p2], [a2:p1,
    /// a2:p2]]`.
    ///
    /// # Errors
    /// If a carrier has no local address.
    pub fn on_carriers(carriers: [[impl DatagramCarrier; 2]; 2]) -> io::Result<Self> {
        let carriers = Arc::new(carriers);
        let address = |a: usize, p: usize| carriers[a][p].local_addr();
        let primary = address(0, 0)?;
        let mut tasks = Vec::new();
        for a in 0..2 {
            for p in 0..2 {
                let other = address(1 - a, 1 - p)?;
                let carriers = Arc::clone(&carriers);
                tasks.push(tokio::spawn(async move {
                    let mut buffer = [0; 1500];
                    while let Ok((length, source)) = carriers[a][p].recv_from(&mut buffer).await {
                        let request = &buffer[..length];
                        let Some(header) = Header::peek(request).filter(Header::is_binding_request)
                        else {
                            continue;
                        };
                        let (other_a, other_p) = changes(request);
                        let from = &carriers[a ^ usize::from(other_a)][p ^ usize::from(other_p)];
                        let mut answer = write_success(header.id, source);
                        append_other_address(&mut answer, other);
                        let _ = from.send_to(&answer, source).await;
                    }
                }));
            }
        }
        Ok(Self {
            address: primary,
            tasks,
        })
    }

    /// Its first address and port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TwoAddresses {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Which of address and port a CHANGE-REQUEST asks to change.
fn changes(request: &[u8]) -> (bool, bool) {
    match request.get(20..28) {
        Some([0, 3, 0, 4, _, _, _, flags]) => (flags & 4 != 0, flags & 2 != 0),
        _ => (false, false),
    }
}

fn append_other_address(answer: &mut Vec<u8>, other: SocketAddr) {
    let (family, ip) = match other.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let length = 4 + ip.len() as u8;
    answer.extend_from_slice(&[0x80, 0x2c, 0, length, 0, family]);
    answer.extend_from_slice(&other.port().to_be_bytes());
    answer.extend_from_slice(&ip);
    answer[3] += 4 + length;
}

/// A Binding success response with XOR-MAPPED-ADDRESS.
#[must_use]
pub fn success(id: TransactionId, mapped: SocketAddr) -> Vec<u8> {
    write_success(id, mapped)
}
