//! A carrier of datagrams as the ICE library takes it, and the library's carriers as ours.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;
use webrtc_util::{Conn, Error};

use super::carrier::DatagramCarrier;

/// A connection of the library, such as one of its virtual network.
impl DatagramCarrier for Arc<dyn Conn + Send + Sync> {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        Conn::recv_from(&**self, buffer)
            .await
            .map_err(io::Error::other)
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        Conn::send_to(&**self, datagram, target)
            .await
            .map_err(io::Error::other)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Conn::local_addr(&**self).map_err(io::Error::other)
    }

    /// A virtual network keeps a connection until it is closed.
    fn close(&self) {
        if let Ok(runtime) = Handle::try_current() {
            let conn = Self::clone(self);
            runtime.spawn(async move { Conn::close(&*conn).await });
        }
    }
}

/// The carrier as the library takes it: the half of the interface that needs a connection to one
/// remote address is refused.
pub(crate) struct Unconnected<T>(pub(crate) T);

#[async_trait]
impl<T: DatagramCarrier> Conn for Unconnected<T> {
    async fn connect(&self, _: SocketAddr) -> Result<(), Error> {
        Err(Error::ErrNoRemAddr)
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        Ok(self.0.recv_from(buffer).await?.0)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        Ok(self.0.recv_from(buffer).await?)
    }

    async fn send(&self, _: &[u8]) -> Result<usize, Error> {
        Err(Error::ErrNoRemAddr)
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> Result<usize, Error> {
        Ok(self.0.send_to(datagram, target).await?)
    }

    fn local_addr(&self) -> Result<SocketAddr, Error> {
        Ok(self.0.local_addr()?)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }

    async fn close(&self) -> Result<(), Error> {
        self.0.close();
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
