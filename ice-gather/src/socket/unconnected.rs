//! The interface of the ICE library over a carrier that is connected to no single remote address.

use std::any::Any;
use std::net::SocketAddr;

use async_trait::async_trait;
use webrtc_util::{Conn, Error};

/// A carrier that names the remote address of each datagram.
pub(crate) trait Datagrams: Send + Sync + 'static {
    fn recv_from(
        &self,
        buffer: &mut [u8],
    ) -> impl Future<Output = Result<(usize, SocketAddr), Error>> + Send;

    fn send_to(
        &self,
        datagram: &[u8],
        target: SocketAddr,
    ) -> impl Future<Output = Result<usize, Error>> + Send;

    fn local_addr(&self) -> Result<SocketAddr, Error>;

    fn close(&self);
}

/// The carrier as the library takes it: the half of the interface that needs a connection to one
/// remote address is refused.
pub(crate) struct Unconnected<T>(pub(crate) T);

#[async_trait]
impl<T: Datagrams> Conn for Unconnected<T> {
    async fn connect(&self, _: SocketAddr) -> Result<(), Error> {
        Err(Error::ErrNoRemAddr)
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.0.recv_from(buffer).await.map(|(length, _)| length)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        self.0.recv_from(buffer).await
    }

    async fn send(&self, _: &[u8]) -> Result<usize, Error> {
        Err(Error::ErrNoRemAddr)
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> Result<usize, Error> {
        self.0.send_to(datagram, target).await
    }

    fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.0.local_addr()
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
