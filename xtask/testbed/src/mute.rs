//! A socket that loses chosen datagrams of its own, so that a peer falls silent at a chosen place.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use consumer_fsm::transport::{IceTransport, Network};
use ice_gather::{Base, BindError};
use tokio::net::UdpSocket;
use webrtc_util::{Conn, Error};

/// Whether a datagram leaves.
pub type Rule = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Plain ICE on loopback, each of its sockets with a rule of its own.
pub fn ice(rule: impl Fn() -> Rule + Send + Sync + 'static) -> IceTransport {
    IceTransport::new(Network::custom(move || {
        let leaves = rule();
        async move {
            let refused = |error: std::io::Error| BindError::Socket(error.kind());
            let socket = UdpSocket::bind("127.0.0.1:0").await.map_err(refused)?;
            Base::from_conn(Arc::new(Mute { socket, leaves }))
        }
    }))
}

struct Mute {
    socket: UdpSocket,
    leaves: Rule,
}

#[async_trait]
impl Conn for Mute {
    async fn connect(&self, _: SocketAddr) -> Result<(), Error> {
        Err(Error::ErrNoRemAddr)
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        Ok(self.socket.recv(buffer).await?)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        Ok(self.socket.recv_from(buffer).await?)
    }

    async fn send(&self, _: &[u8]) -> Result<usize, Error> {
        Err(Error::ErrNoRemAddr)
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> Result<usize, Error> {
        if (self.leaves)(datagram) {
            Ok(self.socket.send_to(datagram, target).await?)
        } else {
            Ok(datagram.len())
        }
    }

    fn local_addr(&self) -> Result<SocketAddr, Error> {
        Ok(self.socket.local_addr()?)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
