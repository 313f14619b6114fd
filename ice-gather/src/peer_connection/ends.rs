//! The sockets of a base as the one connection that the library of a peer connection asks for.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Mutex as AsyncMutex;
use webrtc_ice::udp_mux::UDPMux;
use webrtc_util::{Conn, Error};

use super::alias::Aliases;
use crate::base::Shared;
use crate::base::agent_ends::{recv_for_agent, send_for_agent};
use crate::common::{canonical, lock};
use crate::socket::carrier::DatagramCarrier;
use crate::socket::conn::Unconnected;
use crate::stun::{Header, is_claimed, is_success, write_check_response};

/// Longest datagram that the library reads.
const RECEIVE_MTU: usize = 8192;

/// The sockets of one base, and what the library does not know of them.
pub(super) struct Ends {
    base: Arc<Shared>,
    /// Our password, by which answers to IPv6 peers are signed anew.
    password: String,
    aliases: Mutex<Aliases>,
    /// Datagrams of the second socket are read in here.
    second: AsyncMutex<Vec<u8>>,
}

impl Ends {
    pub(super) fn new(base: Arc<Shared>, password: String) -> Arc<Self> {
        let buffer = if base.has_second_socket() {
            RECEIVE_MTU
        } else {
            0
        };
        Arc::new(Self {
            base,
            password,
            aliases: Mutex::default(),
            second: AsyncMutex::new(vec![0; buffer]),
        })
    }

    /// The address under which the library knows a candidate of the peer; `None` if no socket of ours
    /// reaches it, or there is no room.
    pub(super) fn alias(&self, address: SocketAddr) -> Option<SocketAddr> {
        if self.base.has_second_socket() {
            return lock(&self.aliases).alias(canonical(address));
        }
        let first = self.base.socket(0)?.local();
        (first.is_ipv4() == address.is_ipv4()).then_some(address)
    }

    /// A datagram of the first socket, which is followed in passing.
    fn first(
        &self,
        received: io::Result<(usize, SocketAddr)>,
        buffer: &[u8],
    ) -> io::Result<(usize, SocketAddr)> {
        let (length, source) = received?;
        self.note_received(0, source, buffer.get(..length).unwrap_or_default());
        Ok((length, source))
    }

    fn note_received(&self, number: usize, source: SocketAddr, datagram: &[u8]) {
        if !is_claimed(datagram) {
            self.base.on_datagram_received(number, source, datagram);
        }
    }

    /// Sends from the socket of this number; the datagram is followed in passing.
    async fn send(&self, number: usize, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        let sent = send_for_agent(&self.base, number, datagram, target).await?;
        if !is_claimed(datagram) {
            self.base.on_datagram_sent(number, target, datagram);
        }
        Ok(sent)
    }

    async fn recv_either(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        // the library has one reader
        let mut second = self.second.lock().await;
        loop {
            tokio::select! {
                received = recv_for_agent(&self.base, 0, buffer) => return self.first(received, buffer),
                received = recv_for_agent(&self.base, 1, &mut second) => {
                    let (length, source) = received?;
                    let datagram = &second[..length];
                    self.note_received(1, source, datagram);
                    let mut aliases = lock(&self.aliases);
                    // only a check that was authenticated may show a new address of the peer
                    let is_check = Header::peek(datagram).is_some_and(|h| h.is_binding_request());
                    let known_as = if is_check { aliases.alias(source) } else { aliases.known(source) };
                    if let (Some(known_as), Some(room)) = (known_as, buffer.get_mut(..length)) {
                        room.copy_from_slice(datagram);
                        return Ok((length, known_as));
                    }
                }
            }
        }
    }
}

impl DatagramCarrier for Arc<Ends> {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if self.base.has_second_socket() {
            self.recv_either(buffer).await
        } else {
            let received = recv_for_agent(&self.base, 0, buffer).await;
            self.first(received, buffer)
        }
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        if !self.base.has_second_socket() {
            return self.send(0, datagram, target).await;
        }
        let real = lock(&self.aliases).real(target);
        let real = real.ok_or(io::ErrorKind::AddrNotAvailable)?;
        if real.is_ipv4() {
            return self.send(0, datagram, real).await;
        }
        // an answer reports where the check came from, and an alias is not the truth
        let answered = Header::peek(datagram).filter(|_| is_success(datagram));
        let answer = answered.and_then(|h| write_check_response(h.id, real, &self.password));
        let sent = answer.as_deref().unwrap_or(datagram);
        self.send(1, sent, real).await?;
        Ok(datagram.len())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let first = self.base.socket(0).ok_or(io::ErrorKind::NotConnected)?;
        Ok(first.local())
    }

    fn close(&self) {
        self.base.close_sockets();
    }
}

/// Gives the library its one connection.
pub(super) struct OneConn(pub(super) Arc<Ends>);

#[async_trait]
impl UDPMux for OneConn {
    async fn close(&self) -> Result<(), Error> {
        self.0.base.close_sockets();
        Ok(())
    }

    async fn get_conn(self: Arc<Self>, _ufrag: &str) -> Result<Arc<dyn Conn + Send + Sync>, Error> {
        Ok(Arc::new(Unconnected(Arc::clone(&self.0))))
    }

    async fn remove_conn_by_ufrag(&self, _ufrag: &str) {
        self.0.base.close_sockets();
    }
}
