//! A small STUN server (RFC 8489 Binding only) for tests and demonstrations, honest or silent.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stun::message::{BINDING_SUCCESS, Message, Setter};
use stun::xoraddr::XorMappedAddress;
use tokio::net::{ToSocketAddrs, UdpSocket};
use tokio::task::JoinHandle;
use webrtc_util::Conn;

use crate::transaction::{Header, TransactionId};
use crate::uri::StunServer;

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
        Self::on_conn(Arc::new(UdpSocket::bind(address).await?), manner)
    }

    /// Serves on any datagram carrier, such as a virtual network.
    ///
    /// # Errors
    /// If the carrier has no local address.
    pub fn on_conn(conn: Arc<dyn Conn + Send + Sync>, manner: Manner) -> io::Result<Self> {
        let address = conn.local_addr().map_err(io::Error::other)?;
        let requests = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            // a connection that ends, ends the server; a socket reports errors of earlier sends and goes on
            while let Ok((length, source)) = conn.recv_from(&mut buffer).await {
                let Some(header) = Header::peek(&buffer[..length]).filter(|h| h.is_binding_request) else { continue };
                seen.fetch_add(1, Ordering::Relaxed);
                if manner == Manner::Honest {
                    let _ = conn.send_to(&success(header.id, source), source).await;
                }
            }
        });
        Ok(Self { address, requests, task })
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

/// A Binding success response with XOR-MAPPED-ADDRESS.
#[must_use]
pub fn success(id: TransactionId, mapped: SocketAddr) -> Vec<u8> {
    let mut message = Message::new();
    message.transaction_id.0 = id;
    message.set_type(BINDING_SUCCESS);
    message.write_header();
    // fails only on an address that is neither IPv4 nor IPv6
    let _ = XorMappedAddress { ip: mapped.ip(), port: mapped.port() }.add_to(&mut message);
    message.raw
}
