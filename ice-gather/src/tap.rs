//! webrtc 0.21 under an observer: its own runtime, whose UDP sockets show their datagrams in passing.
//!
//! `webrtc` 0.21 opens its sockets through a [`Runtime`]. A [`Tap`] is a `Runtime` that delegates
//! everything to another one, and hands each datagram of the UDP sockets to an
//! [`Observer`](nat_summary::observer::Observer). It adds no packet, no socket and no task, and it
//! changes no datagram. The stack asks all servers from one socket per interface address, so its
//! answers show whether mappings agree; its candidates do not, because equal ones are dropped.
//!
//! ```no_run
//! use ice_gather::tap::Tap;
//! # use webrtc_021 as webrtc;
//! use webrtc::peer_connection::PeerConnectionBuilder;
//! use webrtc::runtime::default_runtime;
//!
//! # async fn connect() -> Option<()> {
//! let tap = Tap::new(default_runtime()?);
//! let builder: PeerConnectionBuilder<&str> = PeerConnectionBuilder::new().with_runtime(tap.clone());
//! // … build, connect, and at any moment:
//! println!("{}", tap.evidence().summary());
//! # Some(())
//! # }
//! ```
//!
//! One tap observes one host in one ICE session: make one for each peer connection.
//!
//! [`Tap::stage`] returns how far the session came, and what stopped it.

mod seen;
mod socket;

use std::fmt::{self, Debug, Formatter};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nat_summary::observer::{AskedServer, CheckedPair, Counters, Trust};
use nat_summary::stage::{Above, StageReport};
use nat_summary::{Checks, Evidence, PeerEvidence};
use webrtc_021::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
};

use self::seen::Seen;
use self::socket::TappedSocket;

/// The port of mDNS (RFC 6762 section 3). Its socket is none of the session's: a name that a neighbour asks for does not
/// show that UDP leaves the link.
const MDNS_PORT: u16 = 5353;

/// A runtime of webrtc 0.21 whose UDP datagrams are observed. See the [module](self).
pub struct Tap {
    inner: Arc<dyn Runtime>,
    seen: Arc<Seen>,
}

/// A peer's connectivity checks, as a tap saw them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TappedPeer {
    /// What the checks prove about the NAT: [`PeerEvidence::summary`] judges it beside the evidence
    /// of the servers.
    pub evidence: PeerEvidence,
    /// The number of checks.
    pub checks: Checks,
    /// The pairs of addresses with checks between them.
    pub pairs: Vec<CheckedPair>,
    /// How far the checks can be trusted: [`Trust::Verified`] takes both passwords.
    pub trust: Trust,
}

impl Tap {
    /// A tap around the runtime that the peer connection would use without it, such as
    /// `webrtc::runtime::default_runtime()`. It goes into `PeerConnectionBuilder::with_runtime`.
    #[must_use]
    pub fn new(inner: Arc<dyn Runtime>) -> Arc<Self> {
        let seen = Arc::new(Seen::new(Arc::clone(&inner)));
        Arc::new(Self { inner, seen })
    }

    /// The password of the local description (`a=ice-pwd`): with it the peer's checks are verified,
    /// and those that come in unsolicited show how the NAT filters.
    pub fn set_local_password(&self, password: &str) {
        self.seen.observer().integrity_mut().set_local(password);
    }

    /// The password of the remote description: with it the peer's answers are verified.
    pub fn set_remote_password(&self, password: &str) {
        self.seen.observer().integrity_mut().set_remote(password);
    }

    /// The evidence of the servers so far: [`Evidence::summary`] judges it. A request counts as
    /// timed out once two copies have each waited for 1.5 s.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.seen.observer().evidence()
    }

    /// Every server asked so far, by base, then address: its outcome, its round trip, its mapping.
    #[must_use]
    pub fn servers(&self) -> Vec<AskedServer> {
        self.seen.observer().servers().collect()
    }

    /// The peer's connectivity checks so far.
    #[must_use]
    pub fn peer(&self) -> TappedPeer {
        let observer = self.seen.observer();
        TappedPeer {
            evidence: observer.peer_evidence().clone(),
            checks: observer.checks(),
            pairs: observer.pairs().collect(),
            trust: observer.trust(),
        }
    }

    /// How far the session came until now, and what stopped it: a verdict with its proof, from the
    /// datagrams that pass anyway. See [`nat_summary::stage`]. The descriptions know the role of this
    /// side in DTLS; the owner of the peer connection may know more, such as a refusal.
    ///
    /// ```no_run
    /// # async fn ask(
    /// #     tap: &ice_gather::tap::Tap,
    /// #     connection: &dyn webrtc_021::peer_connection::PeerConnection,
    /// # ) -> Option<()> {
    /// use nat_summary::stage::{Above, DtlsRole, StageVerdict};
    ///
    /// let ours = connection.local_description().await?.sdp;
    /// let theirs = connection.remote_description().await?.sdp;
    /// let above = Above::default().with_role(DtlsRole::of_descriptions(&ours, &theirs));
    /// let stage = tap.stage(&above);
    /// if stage.verdict == StageVerdict::HelloNeverCame {
    ///     println!("the peer answered {} checks and never sent its ClientHello", stage.answers);
    /// }
    /// # Some(())
    /// # }
    /// ```
    #[must_use]
    pub fn stage(&self, above: &Above) -> StageReport {
        self.seen.observer().stage(above)
    }

    /// The number of datagrams so far by kind, and of those that prove nothing.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.seen.observer().counters()
    }
}

impl Debug for Tap {
    /// Without an address.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

/// Everything is the inner runtime's, but for the UDP sockets of the session.
impl Runtime for Tap {
    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let local = socket.local_addr()?;
        let inner = self.inner.wrap_udp_socket(socket)?;
        if local.port() == MDNS_PORT {
            return Ok(inner);
        }
        let seen = Arc::clone(&self.seen);
        Ok(Arc::new(TappedSocket::new(inner, seen, local)))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        self.inner.spawn(future)
    }

    fn spawn_reactor(
        &self,
        reactor_pool_size: usize,
        future: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Box<dyn JoinHandle> {
        self.inner.spawn_reactor(reactor_pool_size, future)
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.inner.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote_addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        self.inner.connect_tcp(remote_addr)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        self.inner.resolve_host(host)
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.inner.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.inner.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.inner.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.inner.yield_now()
    }

    fn name(&self) -> &'static str {
        self.inner.name()
    }
}
