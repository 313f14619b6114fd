//! A socket that stands for a long way: its packets leave late.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::UdpSocket;
use webrtc_util::Conn;

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

#[async_trait]
impl Conn for Late {
    async fn connect(&self, to: SocketAddr) -> webrtc_util::Result<()> {
        Ok(self.socket.connect(to).await?)
    }

    async fn recv(&self, buffer: &mut [u8]) -> webrtc_util::Result<usize> {
        Ok(self.socket.recv(buffer).await?)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        Ok(self.socket.recv_from(buffer).await?)
    }

    async fn send(&self, packet: &[u8]) -> webrtc_util::Result<usize> {
        Ok(self.socket.send(packet).await?)
    }

    async fn send_to(&self, packet: &[u8], to: SocketAddr) -> webrtc_util::Result<usize> {
        let (socket, delay, packet) = (Arc::clone(&self.socket), self.delay, packet.to_vec());
        let length = packet.len();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // a client that is gone misses nothing
            let _ = socket.send_to(&packet, to).await;
        });
        Ok(length)
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }

    async fn close(&self) -> webrtc_util::Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn std::any::Any + Send + Sync) {
        self
    }
}
