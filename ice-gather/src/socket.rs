//! One socket, and the state between it and its readers: the reader whose turn it is, the end.

#[cfg(feature = "agent")]
pub(crate) mod agent_end;
pub(crate) mod carrier;
#[cfg(feature = "agent")]
pub(crate) mod conn;
pub(crate) mod icmp;
pub(crate) mod local;
pub(crate) mod names;
pub(crate) mod recent_ports;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use tokio::sync::Notify;

#[cfg(feature = "agent")]
use self::agent_end::AgentEnd;
use self::carrier::AnyCarrier;
use self::icmp::Watch;
use crate::error::BindError;

/// Ports that are tried in search of one that no socket had a short while ago.
const TRIES: usize = 8;

/// One socket.
pub(crate) struct Socket {
    carrier: Carrier,
    bound: SocketAddr,
    /// The transport addresses it can be reached at.
    hosts: Vec<SocketAddr>,
    /// Whether the agent began to read: then it reads alone, until the socket is closed.
    taken: AtomicBool,
    closed: AtomicBool,
    /// Another reader has its turn from now on.
    turned: Notify,
    #[cfg(feature = "agent")]
    agent_end: AgentEnd,
}

/// The carrier of the datagrams.
pub(crate) enum Carrier {
    Udp(UdpSocket),
    /// Any other carrier, such as a virtual network.
    Other(Arc<dyn AnyCarrier>),
}

/// As [`bind_in`], on a port that no socket of this process had a short while ago, if a few tries
/// find one.
pub(crate) async fn bind_unused(
    ip: IpAddr,
    range: Option<&RangeInclusive<u16>>,
) -> Result<(UdpSocket, SocketAddr), BindError> {
    let mut found = bind_in(ip, range).await?;
    for _ in 1..TRIES {
        if !recent_ports::is_used(found.1.port()) {
            break;
        }
        // the one before closes once there is another: there may be none
        let Ok(another) = bind_in(ip, range).await else {
            break;
        };
        found = another;
    }
    Ok(found)
}

/// Binds a socket on `ip`, on any port or on a random one of a range.
pub(crate) async fn bind_in(
    ip: IpAddr,
    range: Option<&RangeInclusive<u16>>,
) -> Result<(UdpSocket, SocketAddr), BindError> {
    let refused = |error: io::Error| BindError::Socket(error.kind());
    let with_address = |socket: UdpSocket| {
        socket
            .local_addr()
            .map(|address| (socket, address))
            .map_err(refused)
    };
    let Some(range) = range else {
        return with_address(UdpSocket::bind((ip, 0)).await.map_err(refused)?);
    };
    let (first, last) = (*range.start(), *range.end());
    let count = u32::from(last)
        .checked_sub(u32::from(first))
        .ok_or(BindError::NoAddress)?
        + 1;
    let start = rand::random_range(0..count);
    let mut result = Err(BindError::NoAddress);
    for n in 0..count {
        let port = u32::from(first) + (start + n) % count;
        match UdpSocket::bind((ip, u16::try_from(port).unwrap_or(last))).await {
            Ok(socket) => return with_address(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => result = Err(refused(error)),
            Err(error) => return Err(refused(error)),
        }
    }
    result
}

impl Carrier {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self {
            Self::Udp(socket) => socket.recv_from(buffer).await,
            Self::Other(carrier) => carrier.recv_from(buffer).await,
        }
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send_to(datagram, target).await,
            Self::Other(carrier) => carrier.send_to(datagram, target).await,
        }
    }
}

impl Socket {
    /// A socket that can be reached at these addresses of the host.
    pub(crate) fn new(carrier: Carrier, bound: SocketAddr, hosts: Vec<IpAddr>) -> Self {
        let hosts = hosts
            .into_iter()
            .map(|ip| SocketAddr::new(ip, bound.port()))
            .collect();
        Self {
            carrier,
            bound,
            hosts,
            taken: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            turned: Notify::new(),
            #[cfg(feature = "agent")]
            agent_end: AgentEnd::default(),
        }
    }

    /// Where it is bound.
    pub(crate) const fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Its address toward the agent: where it is bound, or one of the host's addresses if that is the
    /// wildcard address.
    pub(crate) fn local(&self) -> SocketAddr {
        self.hosts.first().copied().unwrap_or(self.bound)
    }

    /// The transport addresses it can be reached at.
    pub(crate) fn hosts(&self) -> &[SocketAddr] {
        &self.hosts
    }

    pub(crate) fn into_carrier(self) -> Carrier {
        self.carrier
    }

    pub(crate) fn watch(&self) -> Option<Watch<'_>> {
        match &self.carrier {
            Carrier::Udp(socket) if !self.is_taken() => Some(Watch::new(socket)),
            _ => None,
        }
    }

    /// Whether the agent reads.
    pub(crate) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire) && !self.is_closed()
    }

    /// Receives for the base while it gathers, as long as the agent does not read; `None` once the
    /// agent does.
    pub(crate) async fn recv_for_base(
        &self,
        buffer: &mut [u8],
    ) -> Option<io::Result<(usize, SocketAddr)>> {
        // before the look: none that comes after it is missed
        let turned = self.turned.notified();
        if self.is_taken() {
            turned.await;
            return None;
        }
        tokio::select! {
            biased;
            () = turned => None,
            received = self.carrier.recv_from(buffer) => Some(received),
        }
    }

    /// Receives any datagram, whichever reader has its turn.
    pub(crate) async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.carrier.recv_from(buffer).await
    }

    /// A datagram that waits in the kernel; `None` if there is none, or if the carrier is of another
    /// kind, which never knows.
    #[inline]
    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> Option<io::Result<(usize, SocketAddr)>> {
        let Carrier::Udp(socket) = &self.carrier else {
            return None;
        };
        match socket.try_recv_from(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            received => Some(received),
        }
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Sends for the base.
    pub(crate) async fn send_for_base(
        &self,
        datagram: &[u8],
        target: SocketAddr,
    ) -> io::Result<usize> {
        self.carrier.send_to(datagram, target).await
    }
}

#[cfg(feature = "agent")]
impl Socket {
    /// The agent's end.
    #[inline]
    pub(crate) const fn agent_end(&self) -> &AgentEnd {
        &self.agent_end
    }

    /// A socket that leads through a TURN server: no candidate of the host stands for it.
    #[cfg(feature = "relay")]
    pub(crate) fn relayed(carrier: Arc<dyn AnyCarrier>, local: SocketAddr) -> Self {
        Self::new(Carrier::Other(carrier), local, Vec::new())
    }

    /// Whether it leads through a TURN server. A datagram that came that way did not cross the NAT
    /// by itself and proves nothing about it.
    pub(crate) const fn is_relay(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether it is a UDP socket of this host.
    #[cfg(feature = "relay")]
    pub(crate) const fn is_udp(&self) -> bool {
        matches!(self.carrier, Carrier::Udp(_))
    }

    /// The agent reads from now on.
    #[inline]
    pub(crate) fn take(&self) {
        if !self.taken.load(Ordering::Relaxed) {
            self.taken.store(true, Ordering::Release);
            self.turned.notify_waiters();
        }
    }

    /// Receives for the agent; `None` if it was woken by an early check or by the end.
    #[inline]
    pub(crate) async fn recv_for_agent(
        &self,
        buffer: &mut [u8],
    ) -> Option<io::Result<(usize, SocketAddr)>> {
        tokio::select! {
            biased;
            received = self.carrier.recv_from(buffer) => Some(received),
            () = self.agent_end.woken() => None,
        }
    }

    /// Waits this long, or until it is woken by an early check or by the end.
    pub(crate) async fn pause(&self, pause: core::time::Duration) {
        tokio::select! {
            () = self.agent_end.woken() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// The same for the agent, unless an early check or the end comes first.
    #[inline]
    pub(crate) fn take_waiting(
        &self,
        buffer: &mut [u8],
    ) -> Option<io::Result<(usize, SocketAddr)>> {
        if self.is_closed() || self.agent_end.has_early() {
            return None;
        }
        self.try_recv(buffer)
    }

    /// Nothing is read or sent for the agent any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.agent_end.wake();
        self.turned.notify_waiters();
    }

    /// Sends for the agent.
    pub(crate) async fn send_for_agent(
        &self,
        datagram: &[u8],
        target: SocketAddr,
    ) -> io::Result<usize> {
        match &self.carrier {
            Carrier::Udp(socket) => {
                // as in `agent_ends::recv_for_agent`: a socket with room needs no waker
                tokio::task::consume_budget().await;
                match socket.try_send_to(datagram, target) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        socket.send_to(datagram, target).await
                    }
                    sent => sent,
                }
            }
            Carrier::Other(carrier) => carrier.send_to(datagram, target).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn among_used_ports_one_that_is_not_used_is_found() {
        let (first, last) = (27_000, 30_999);
        (first..=last)
            .filter(|port| port % 2 == 0)
            .for_each(recent_ports::note);
        let mut unused = 0;
        for _ in 0..200 {
            let (_socket, bound) = bind_unused([127, 0, 0, 1].into(), Some(&(first..=last)))
                .await
                .unwrap();
            assert!((first..=last).contains(&bound.port()));
            unused += u32::from(!recent_ports::is_used(bound.port()));
        }
        assert!(unused > 180, "{unused}: by chance 100, with the tries 199");
        (first..=last).for_each(recent_ports::note);
        assert!(
            bind_unused([127, 0, 0, 1].into(), Some(&(first..=last)))
                .await
                .is_ok(),
            "a used one is better than none"
        );
    }

    #[tokio::test]
    async fn the_last_port_there_is_stays_bound() {
        let ip = [127, 0, 0, 1].into();
        recent_ports::note(31_000);
        assert_eq!(
            bind_unused(ip, Some(&(31_000..=31_000)))
                .await
                .unwrap()
                .1
                .port(),
            31_000
        );
    }
}
