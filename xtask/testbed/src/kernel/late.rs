//! A socket that stands for a long way: its packets leave late.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ice_gather::DatagramCarrier;
use tokio::net::UdpSocket;

/// A socket whose packets leave late.
#[derive(Debug)]
pub(super) struct Late {
    socket: Arc<UdpSocket>,
    delay: Duration,
}

impl Late {
    /// Sends on this socket, each packet so much later.
    pub(super) const fn new(socket: Arc<UdpSocket>, delay: Duration) -> Self {
        Self { socket, delay }
    }
}

impl DatagramCarrier for Late {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer).await
    }

    async fn send_to(&self, packet: &[u8], to: SocketAddr) -> io::Result<usize> {
        let (socket, delay, packet) = (Arc::clone(&self.socket), self.delay, packet.to_vec());
        let length = packet.len();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // a client that is gone misses nothing
            let _ = socket.send_to(&packet, to).await;
        });
        Ok(length)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
