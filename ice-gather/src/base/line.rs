//! One socket, and what stands between it and its readers: checks that wait for the agent, who may
//! send some, its end.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use webrtc_util::Conn;

use super::lock;
use crate::error::BindError;
use crate::ports;
use crate::unreachable::Watch;

/// Checks of the peer kept for the agent until it reads; it repeats what is lost.
const MAX_EARLY: usize = 16;
/// Ports that are tried in search of one that no socket had a short while ago.
const TRIES: usize = 8;

/// One socket with what waits in front of it.
pub(crate) struct Line {
    pub(super) socket: Socket,
    /// Where it is bound.
    pub(super) bound: SocketAddr,
    /// What it is to the agent: where it is bound, or one of the host's addresses if that is the
    /// wildcard address.
    pub(crate) local: SocketAddr,
    /// The transport addresses it can be reached at.
    pub(super) hosts: Vec<SocketAddr>,
    early: Mutex<VecDeque<(Vec<u8>, SocketAddr)>>,
    early_len: AtomicUsize,
    pub(super) wake: Notify,
    /// Whether the agent began to read: then nobody else does, until it is closed.
    taken: AtomicBool,
    closed: AtomicBool,
    /// Somebody else is to read it from now on.
    turned: Notify,
    /// Whether anything but STUN has moved since a check of the peer was last read.
    pub(super) has_moved: AtomicBool,
    /// Remote addresses whose STUN requests pass: signalled ones, and those that authenticated.
    pub(super) peers: Mutex<Peers>,
}

#[derive(Default)]
pub(super) struct Peers {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) max: usize,
}

pub(super) enum Socket {
    Udp(UdpSocket),
    /// Any other carrier, such as a virtual network.
    Conn(Arc<dyn Conn + Send + Sync>),
}

/// As [`bind_in`], on a port that no socket of this process had a short while ago, if a few tries
/// find one.
pub(super) async fn bind_unused(
    ip: IpAddr,
    range: Option<(u16, u16)>,
) -> Result<(UdpSocket, SocketAddr), BindError> {
    let mut found = bind_in(ip, range).await?;
    for _ in 1..TRIES {
        if !ports::is_used(found.1.port()) {
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
pub(super) async fn bind_in(
    ip: IpAddr,
    range: Option<(u16, u16)>,
) -> Result<(UdpSocket, SocketAddr), BindError> {
    let refused = |error: io::Error| BindError::Socket(error.kind());
    let with_address = |socket: UdpSocket| {
        socket
            .local_addr()
            .map(|address| (socket, address))
            .map_err(refused)
    };
    let Some((first, last)) = range else {
        return with_address(UdpSocket::bind((ip, 0)).await.map_err(refused)?);
    };
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

impl Socket {
    pub(super) async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self {
            Self::Udp(socket) => socket.recv_from(buffer).await,
            Self::Conn(conn) => conn.recv_from(buffer).await.map_err(io::Error::other),
        }
    }

    pub(super) async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send_to(datagram, target).await,
            Self::Conn(conn) => conn
                .send_to(datagram, target)
                .await
                .map_err(io::Error::other),
        }
    }
}

impl Line {
    pub(super) fn new(socket: Socket, bound: SocketAddr, hosts: Vec<IpAddr>) -> Self {
        let hosts: Vec<SocketAddr> = hosts
            .into_iter()
            .map(|ip| SocketAddr::new(ip, bound.port()))
            .collect();
        Self {
            socket,
            bound,
            local: hosts.first().copied().unwrap_or(bound),
            hosts,
            early: Mutex::default(),
            early_len: AtomicUsize::new(0),
            wake: Notify::new(),
            taken: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            turned: Notify::new(),
            has_moved: AtomicBool::new(false),
            peers: Mutex::default(),
        }
    }

    /// Whether it leads through a TURN server. What comes that way did not cross the NAT by itself
    /// and says nothing of it.
    pub(super) const fn is_relay(&self) -> bool {
        self.hosts.is_empty()
    }

    /// A line over a carrier that no candidate of the host stands for.
    #[cfg(feature = "relay")]
    pub(crate) fn over(conn: Arc<dyn Conn + Send + Sync>, local: SocketAddr) -> Self {
        Self::new(Socket::Conn(conn), local, Vec::new())
    }

    pub(super) fn watch(&self) -> Option<Watch<'_>> {
        match &self.socket {
            Socket::Udp(socket) if !self.is_taken() => Some(Watch::new(socket)),
            _ => None,
        }
    }

    /// The agent reads from now on.
    #[inline]
    pub(super) fn take(&self) {
        if !self.taken.load(Ordering::Relaxed) {
            self.taken.store(true, Ordering::Release);
            self.turned.notify_waiters();
        }
    }

    /// Whether the agent reads.
    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire) && !self.is_closed()
    }

    /// Receives for whoever gathers, as long as nobody else reads; `None` once that is another.
    pub(super) async fn recv_for_base(
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
            received = self.socket.recv_from(buffer) => Some(received),
        }
    }

    /// Keeps a check of the peer for the agent; false if there is no room.
    pub(super) fn keep_early(&self, datagram: &[u8], source: SocketAddr) -> bool {
        let mut early = lock(&self.early);
        if early.len() >= MAX_EARLY {
            return false;
        }
        early.push_back((datagram.to_vec(), source));
        self.early_len.store(early.len(), Ordering::Release);
        self.wake.notify_one();
        true
    }

    pub(super) fn take_early(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        if self.early_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut early = lock(&self.early);
        let (datagram, source) = early.pop_front()?;
        self.early_len.store(early.len(), Ordering::Release);
        let target = buffer.get_mut(..datagram.len())?;
        target.copy_from_slice(&datagram);
        Some((datagram.len(), source))
    }

    /// What the kernel is known to hold, unless something else comes first. A carrier of another
    /// kind never knows.
    #[inline]
    pub(super) fn take_waiting(
        &self,
        buffer: &mut [u8],
    ) -> Option<io::Result<(usize, SocketAddr)>> {
        let Socket::Udp(socket) = &self.socket else {
            return None;
        };
        if self.is_closed() || self.early_len.load(Ordering::Acquire) > 0 {
            return None;
        }
        match socket.try_recv_from(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            received => Some(received),
        }
    }

    /// Something that is not STUN goes out or came in. It has the cost of a byte that is in the
    /// cache already.
    #[inline]
    pub(crate) fn note_moved(&self) {
        if !self.has_moved.load(Ordering::Relaxed) {
            self.has_moved.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake.notify_one();
        self.turned.notify_waiters();
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        // as in `recv_for_agent`: a socket with room needs no waker
        if let Socket::Udp(socket) = &self.socket {
            tokio::task::consume_budget().await;
            match socket.try_send_to(datagram, target) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
        self.socket.send_to(datagram, target).await
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
            .for_each(ports::note);
        let mut unused = 0;
        for _ in 0..200 {
            let (_socket, bound) = bind_unused([127, 0, 0, 1].into(), Some((first, last)))
                .await
                .unwrap();
            assert!((first..=last).contains(&bound.port()));
            unused += u32::from(!ports::is_used(bound.port()));
        }
        assert!(unused > 180, "{unused}: by chance 100, with the tries 199");
        (first..=last).for_each(ports::note);
        assert!(
            bind_unused([127, 0, 0, 1].into(), Some((first, last)))
                .await
                .is_ok(),
            "a used one is better than none"
        );
    }

    #[tokio::test]
    async fn the_last_port_there_is_stays_bound() {
        let ip = [127, 0, 0, 1].into();
        ports::note(31_000);
        assert_eq!(
            bind_unused(ip, Some((31_000, 31_000)))
                .await
                .unwrap()
                .1
                .port(),
            31_000
        );
    }
}
