//! A carrier of datagrams other than a UDP socket of the host, as callers implement it and as the ICE
//! library takes it.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use webrtc_util::{Conn, Error};

/// A carrier of datagrams that is connected to no single remote address, such as a socket that a
/// test makes deaf: see [`Base::from_carrier`](crate::Base::from_carrier).
///
/// ```
/// use std::io;
/// use std::net::SocketAddr;
///
/// use ice_gather::{Base, DatagramCarrier};
/// use tokio::net::UdpSocket;
///
/// /// A socket behind a firewall that lets nothing in.
/// struct Deaf(UdpSocket);
///
/// impl DatagramCarrier for Deaf {
///     async fn recv_from(&self, _: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
///         core::future::pending().await
///     }
///
///     async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
///         self.0.send_to(datagram, target).await
///     }
///
///     fn local_addr(&self) -> io::Result<SocketAddr> {
///         self.0.local_addr()
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let base = Base::from_carrier(Deaf(UdpSocket::bind("127.0.0.1:0").await?))?;
/// assert_eq!(base.local_addrs().len(), 1);
/// # Ok(())
/// # }
/// ```
pub trait DatagramCarrier: Send + Sync + 'static {
    /// Receives one datagram: its length and its source. Has to be cancel safe.
    ///
    /// # Errors
    /// Each is counted as [`Dropped::socket_errors`](crate::Dropped::socket_errors), and the next
    /// datagram is waited for.
    fn recv_from(
        &self,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send;

    /// Sends one datagram; the number of bytes sent.
    ///
    /// # Errors
    /// The carrier did not take the datagram.
    fn send_to(
        &self,
        datagram: &[u8],
        target: SocketAddr,
    ) -> impl Future<Output = io::Result<usize>> + Send;

    /// Its local address.
    ///
    /// # Errors
    /// It has none: then no base can stand on it.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The base has gone. Nothing has to be done by default.
    fn close(&self) {}
}

impl<T: DatagramCarrier> DatagramCarrier for Arc<T> {
    fn recv_from(
        &self,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send {
        T::recv_from(self, buffer)
    }

    fn send_to(
        &self,
        datagram: &[u8],
        target: SocketAddr,
    ) -> impl Future<Output = io::Result<usize>> + Send {
        T::send_to(self, datagram, target)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        T::local_addr(self)
    }

    fn close(&self) {
        T::close(self);
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
