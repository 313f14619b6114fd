//! A socket that loses chosen datagrams of its own, so that a peer falls silent at a chosen place.

use std::io;
use std::net::SocketAddr;

use consumer_fsm::transport::{IceTransport, Network};
use ice_gather::{Base, BindError, DatagramCarrier};
use tokio::net::UdpSocket;

/// Whether a datagram leaves.
pub type Rule = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Plain ICE on loopback, each of its sockets with a rule of its own.
pub fn ice(rule: impl Fn() -> Rule + Send + Sync + 'static) -> IceTransport {
    IceTransport::new(Network::custom(move || {
        let leaves = rule();
        async move {
            let refused = |error: io::Error| BindError::Socket(error.kind());
            let socket = UdpSocket::bind("127.0.0.1:0").await.map_err(refused)?;
            Base::from_carrier(Mute { socket, leaves })
        }
    }))
}

struct Mute {
    socket: UdpSocket,
    leaves: Rule,
}

impl DatagramCarrier for Mute {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer).await
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        if (self.leaves)(datagram) {
            self.socket.send_to(datagram, target).await
        } else {
            Ok(datagram.len())
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
