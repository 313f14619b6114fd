//! A carrier of datagrams other than a UDP socket of the host, as callers implement it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::UdpSocket;

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

/// A socket of the host that was bound elsewhere.
impl DatagramCarrier for UdpSocket {
    fn recv_from(
        &self,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send {
        Self::recv_from(self, buffer)
    }

    fn send_to(
        &self,
        datagram: &[u8],
        target: SocketAddr,
    ) -> impl Future<Output = io::Result<usize>> + Send {
        Self::send_to(self, datagram, target)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// A carrier of any type.
pub(crate) trait AnyCarrier: Send + Sync {
    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> Boxed<'a, (usize, SocketAddr)>;

    fn send_to<'a>(&'a self, datagram: &'a [u8], target: SocketAddr) -> Boxed<'a, usize>;

    fn close(&self);
}

impl<T: DatagramCarrier> AnyCarrier for T {
    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> Boxed<'a, (usize, SocketAddr)> {
        Box::pin(DatagramCarrier::recv_from(self, buffer))
    }

    fn send_to<'a>(&'a self, datagram: &'a [u8], target: SocketAddr) -> Boxed<'a, usize> {
        Box::pin(DatagramCarrier::send_to(self, datagram, target))
    }

    fn close(&self) {
        DatagramCarrier::close(self);
    }
}
