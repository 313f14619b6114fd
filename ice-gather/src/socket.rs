//! One socket, and the state between it and its readers: the peer's early checks, the addresses that
//! may send some, the reader whose turn it is, the end.

pub(crate) mod carrier;
pub(crate) mod icmp;
pub(crate) mod local;
pub(crate) mod names;
pub(crate) mod recent_ports;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use webrtc_util::Conn;

use self::icmp::Watch;
use crate::common::lock;
use crate::error::BindError;

/// Checks of the peer kept for the agent until it reads. The peer repeats lost ones.
const MAX_EARLY: usize = 16;
/// Ports that are tried in search of one that no socket had a short while ago.
const TRIES: usize = 8;

/// One socket with the datagrams that wait for its reader.
pub(crate) struct Socket {
    carrier: Carrier,
    bound: SocketAddr,
    /// The transport addresses it can be reached at.
    hosts: Vec<SocketAddr>,
    early: Mutex<VecDeque<(Vec<u8>, SocketAddr)>>,
    early_len: AtomicUsize,
    wake: Notify,
    /// Whether the agent began to read: then it reads alone, until the socket is closed.
    taken: AtomicBool,
    closed: AtomicBool,
    /// Another reader has its turn from now on.
    turned: Notify,
    /// Whether anything but STUN has moved since a check of the peer was last read.
    has_moved: AtomicBool,
    senders: Mutex<Senders>,
}

/// Remote addresses whose STUN requests pass: signalled ones, and those that authenticated.
#[derive(Default)]
struct Senders {
    addresses: Vec<SocketAddr>,
    max: usize,
}

/// Whether a check from a source passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    Yes,
    /// The source is new and did not authenticate.
    Unauthenticated,
    /// The source is new and there are as many as a peer may have.
    TooMany,
}

/// The carrier of the datagrams.
pub(crate) enum Carrier {
    Udp(UdpSocket),
    /// Any other carrier, such as a virtual network.
    Conn(Arc<dyn Conn + Send + Sync>),
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

impl Senders {
    /// Lets one more pass, beside those that authenticate.
    fn expect(&mut self, remote: SocketAddr) {
        if !self.addresses.contains(&remote) {
            self.addresses.push(remote);
            self.max += 1;
        }
    }

    /// Each new source has to authenticate once, and a peer has only so many addresses, because the
    /// agent remembers every one for ever.
    fn admit(&mut self, source: SocketAddr, is_authentic: bool) -> Admitted {
        if self.addresses.contains(&source) {
            Admitted::Yes
        } else if !is_authentic {
            Admitted::Unauthenticated
        } else if self.addresses.len() >= self.max {
            Admitted::TooMany
        } else {
            self.addresses.push(source);
            Admitted::Yes
        }
    }
}

impl Carrier {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self {
            Self::Udp(socket) => socket.recv_from(buffer).await,
            Self::Conn(conn) => conn.recv_from(buffer).await.map_err(io::Error::other),
        }
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send_to(datagram, target).await,
            Self::Conn(conn) => conn
                .send_to(datagram, target)
                .await
                .map_err(io::Error::other),
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
            early: Mutex::default(),
            early_len: AtomicUsize::new(0),
            wake: Notify::new(),
            taken: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            turned: Notify::new(),
            has_moved: AtomicBool::new(false),
            senders: Mutex::default(),
        }
    }

    /// A socket that leads through a TURN server: no candidate of the host stands for it.
    #[cfg(feature = "relay")]
    pub(crate) fn relayed(conn: Arc<dyn Conn + Send + Sync>, local: SocketAddr) -> Self {
        Self::new(Carrier::Conn(conn), local, Vec::new())
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

    pub(crate) fn into_carrier(self) -> Carrier {
        self.carrier
    }

    pub(crate) fn watch(&self) -> Option<Watch<'_>> {
        match &self.carrier {
            Carrier::Udp(socket) if !self.is_taken() => Some(Watch::new(socket)),
            _ => None,
        }
    }

    /// The agent reads from now on.
    #[inline]
    pub(crate) fn take(&self) {
        if !self.taken.load(Ordering::Relaxed) {
            self.taken.store(true, Ordering::Release);
            self.turned.notify_waiters();
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

    /// Receives for the agent; `None` if it was woken by an early check or by the end.
    #[inline]
    pub(crate) async fn recv_for_agent(
        &self,
        buffer: &mut [u8],
    ) -> Option<io::Result<(usize, SocketAddr)>> {
        tokio::select! {
            biased;
            received = self.carrier.recv_from(buffer) => Some(received),
            () = self.wake.notified() => None,
        }
    }

    /// Waits this long, or until it is woken by an early check or by the end.
    pub(crate) async fn pause(&self, pause: core::time::Duration) {
        tokio::select! {
            () = self.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Keeps a check of the peer for the agent; false if there is no room.
    pub(crate) fn keep_early(&self, datagram: &[u8], source: SocketAddr) -> bool {
        let mut early = lock(&self.early);
        if early.len() >= MAX_EARLY {
            return false;
        }
        early.push_back((datagram.to_vec(), source));
        self.early_len.store(early.len(), Ordering::Release);
        self.wake.notify_one();
        true
    }

    pub(crate) fn take_early(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
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

    /// The same for the agent, unless an early check or the end comes first.
    #[inline]
    pub(crate) fn take_waiting(
        &self,
        buffer: &mut [u8],
    ) -> Option<io::Result<(usize, SocketAddr)>> {
        if self.is_closed() || self.early_len.load(Ordering::Acquire) > 0 {
            return None;
        }
        self.try_recv(buffer)
    }

    /// Something that is not STUN goes out or came in. It has the cost of a byte that is in the
    /// cache already.
    #[inline]
    pub(crate) fn note_moved(&self) {
        if !self.has_moved.load(Ordering::Relaxed) {
            self.has_moved.store(true, Ordering::Relaxed);
        }
    }

    /// Whether nothing but STUN has moved since the last call.
    pub(crate) fn was_quiet(&self) -> bool {
        !self.has_moved.swap(false, Ordering::Relaxed)
    }

    /// Most addresses that the peer may be learnt at, besides the signalled ones.
    pub(crate) fn set_max_senders(&self, max: usize) {
        lock(&self.senders).max = max;
    }

    /// A signalled remote candidate: its checks pass without being verified twice.
    pub(crate) fn expect_sender(&self, remote: SocketAddr) {
        lock(&self.senders).expect(remote);
    }

    /// Whether STUN from this source passes.
    pub(crate) fn knows_sender(&self, source: SocketAddr) -> bool {
        lock(&self.senders).addresses.contains(&source)
    }

    /// Whether a check from this source may go on to the agent.
    pub(crate) fn admit_sender(&self, source: SocketAddr, is_authentic: bool) -> Admitted {
        lock(&self.senders).admit(source, is_authentic)
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

    /// Sends for the base.
    pub(crate) async fn send_for_base(
        &self,
        datagram: &[u8],
        target: SocketAddr,
    ) -> io::Result<usize> {
        self.carrier.send_to(datagram, target).await
    }

    /// Sends for the agent.
    pub(crate) async fn send_for_agent(
        &self,
        datagram: &[u8],
        target: SocketAddr,
    ) -> io::Result<usize> {
        match &self.carrier {
            Carrier::Udp(socket) => {
                // as in `demux::recv_for_agent`: a socket with room needs no waker
                tokio::task::consume_budget().await;
                match socket.try_send_to(datagram, target) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        socket.send_to(datagram, target).await
                    }
                    sent => sent,
                }
            }
            Carrier::Conn(conn) => conn
                .send_to(datagram, target)
                .await
                .map_err(io::Error::other),
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

    #[test]
    fn a_new_source_authenticates_once_and_there_are_only_so_many() {
        let source = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut senders = Senders {
            max: 2,
            ..Senders::default()
        };
        for _ in 0..2 {
            senders.expect(source(4));
        }
        assert_eq!(senders.admit(source(4), false), Admitted::Yes, "signalled");
        assert_eq!(senders.admit(source(1), false), Admitted::Unauthenticated);
        assert_eq!(senders.admit(source(1), true), Admitted::Yes);
        assert_eq!(senders.admit(source(1), false), Admitted::Yes, "known");
        let second = senders.admit(source(2), true);
        assert_eq!(second, Admitted::Yes, "a signalled one takes no room");
        assert_eq!(senders.admit(source(3), true), Admitted::TooMany);
        assert_eq!(senders.admit(source(3), false), Admitted::Unauthenticated);
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
