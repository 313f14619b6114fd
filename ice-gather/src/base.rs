//! The sockets: one per address family. ICE and our own STUN transactions share them, and nobody
//! reads them twice.
//!
//! There is no reader task. While servers are asked, [`Base::gather`] reads; once connectivity
//! checks run, the agent's receive loop does, and alone, whoever goes on gathering or begins to.
//! Either takes our answers out of the stream and hands the rest on: gathering keeps the peer's
//! early checks for the agent, the agent's loop files answers as evidence. In between, the kernel
//! holds what arrives.

mod demux;
mod gather;
mod line;
mod report;
mod trickle;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nat_summary::{Evidence, NatSummary};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use webrtc_util::Conn;

use self::gather::Heard;
pub(crate) use self::line::Line;
use self::line::{Socket, bind_in, bind_unused};
#[cfg(feature = "relay")]
pub(crate) use self::report::candidate;
pub use self::report::{Dropped, GatheredCandidate, Gathering, Progress, ServerReport};
use self::trickle::Listener;
use crate::config::{Bind, BindConfig, repeats};
use crate::error::BindError;
use crate::local;
use crate::peer::{Consent, PeerReader, PeerView, Rebinding, bump, canonical};
use crate::plan::Plan;
use crate::ports;
use crate::transaction::Header;

/// Pause after a socket error, so that a broken socket does not turn into a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// One socket per address family, and everything heard on them that is ours.
///
/// A base serves one [`IceAgent`](crate::IceAgent). Clones share it; the sockets close with the
/// last of them.
#[derive(Clone)]
pub struct Base {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    lines: Vec<Line>,
    #[cfg(feature = "relay")]
    relay: OnceLock<crate::relay::Relayed>,
    heard: Mutex<Heard>,
    /// An answer was filed by another reader.
    answered: Notify,
    peer: Mutex<PeerReader>,
    rebinding: watch::Sender<Option<Rebinding>>,
    listener: Mutex<Option<Listener>>,
    /// Whose agent this is: without one nobody can be sending us checks yet.
    agent: OnceLock<AgentOf>,
    runtime: Option<Handle>,
}

/// Whose agent the base serves.
enum AgentOf {
    /// Ours: requests have to carry its password.
    Us,
    /// Somebody else's, who checks for himself.
    Others,
}

impl Base {
    /// Binds the sockets.
    ///
    /// # Errors
    /// [`BindError::NoAddress`] if there is nothing to bind, [`BindError::Socket`] if the system
    /// refuses.
    pub async fn bind(config: BindConfig) -> Result<Self, BindError> {
        let mut lines = Vec::with_capacity(2);
        let mut is_port_old = config.ports.or_else(local::port_range).is_some_and(repeats);
        for (bind, is_ipv4) in [(&config.ipv4, true), (&config.ipv6, false)] {
            let any: IpAddr = if is_ipv4 {
                [0; 4].into()
            } else {
                [0; 16].into()
            };
            let default_route = || local::default_route(is_ipv4);
            let ip = match bind {
                Bind::Off => continue,
                Bind::Address(ip) if ip.is_ipv4() != is_ipv4 => return Err(BindError::Family),
                Bind::Address(ip) if ip.is_unspecified() => return Err(BindError::Wildcard),
                Bind::Address(ip) => Some(*ip),
                Bind::DefaultRoute => default_route(),
                Bind::Interface(name) => local::interface(name)
                    .into_iter()
                    .find(|ip| ip.is_ipv4() == is_ipv4),
                Bind::Wildcard => default_route().map(|_| any),
            };
            let Some(ip) = ip else { continue };
            let found = if is_port_old {
                bind_in(ip, config.ports).await
            } else {
                bind_unused(ip, config.ports).await
            };
            let (socket, bound) = found?;
            is_port_old |= ports::is_used(bound.port());
            let mut hosts = Vec::new();
            if ip.is_unspecified() {
                // the agent takes one address, and that of the default route is as good as any; the
                // others are signalled
                for host in default_route().into_iter().chain(local::addresses(is_ipv4)) {
                    if !hosts.contains(&host) {
                        hosts.push(host);
                    }
                }
            } else {
                hosts.push(bound.ip());
            }
            lines.push(Line::new(Socket::Udp(socket), bound, hosts));
        }
        if lines.is_empty() {
            return Err(BindError::NoAddress);
        }
        let base = Self::from_lines(lines);
        if is_port_old {
            base.distrust_port();
        }
        Ok(base)
    }

    /// Takes any datagram carrier as the only socket: a virtual network, or a socket bound
    /// elsewhere. Its port is taken to be one that nobody used a short while ago, for nobody
    /// here knows which network it is in: where it is not, call
    /// [`distrust_port`](Self::distrust_port).
    ///
    /// # Errors
    /// [`BindError::Wildcard`] if its local address is the wildcard, [`BindError::Socket`] if it
    /// has none.
    pub fn from_conn(conn: Arc<dyn Conn + Send + Sync>) -> Result<Self, BindError> {
        let local = conn
            .local_addr()
            .map_err(|_| BindError::Socket(io::ErrorKind::NotConnected))?;
        if local.ip().is_unspecified() {
            return Err(BindError::Wildcard);
        }
        Ok(Self::from_lines(vec![Line::new(
            Socket::Conn(conn),
            local,
            vec![local.ip()],
        )]))
    }

    fn from_lines(lines: Vec<Line>) -> Self {
        lines.iter().for_each(|line| ports::note(line.bound.port()));
        let mut heard = Heard::default();
        for host in lines.iter().flat_map(|line| &line.hosts) {
            heard.evidence.add_local(host.ip());
        }
        let inner = Inner {
            lines,
            #[cfg(feature = "relay")]
            relay: OnceLock::new(),
            heard: Mutex::new(heard),
            answered: Notify::new(),
            peer: Mutex::default(),
            rebinding: watch::Sender::new(None),
            listener: Mutex::default(),
            agent: OnceLock::new(),
            runtime: Handle::try_current().ok(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The transport address of each socket: IPv4, then IPv6.
    pub fn local_addrs(&self) -> impl ExactSizeIterator<Item = SocketAddr> + '_ {
        self.inner.lines.iter().map(|line| line.local)
    }

    /// Another address of this host: a mapped address equal to it means no NAT.
    pub fn add_local(&self, ip: IpAddr) {
        self.inner.heard().evidence.add_local(ip);
    }

    /// Its port may have been another socket's a short while ago, and a NAT may still let in whom
    /// that one sent to: from now on nothing that comes in is called uninvited.
    /// [`bind`](Self::bind) does it by itself: see [`BindConfig::ports`].
    pub fn distrust_port(&self) {
        lock(&self.inner.peer).distrust_port();
    }

    /// Everything observed so far, late answers included. What an earlier gathering observed of a
    /// mapping goes once a later one shows that it may be another: see
    /// [`Plan::record`](crate::Plan::record).
    #[must_use]
    pub fn evidence(&self) -> Box<Evidence> {
        self.inner.heard().evidence()
    }

    /// The verdict on [`evidence`](Self::evidence).
    #[must_use]
    pub fn summary(&self) -> NatSummary {
        self.evidence().summary()
    }

    /// Whether a request has left for any STUN server, or a name was looked up for one.
    #[must_use]
    pub fn has_asked(&self) -> bool {
        let heard = self.inner.heard();
        let sent = heard.plan.as_ref().is_some_and(Plan::has_sent);
        sent || !heard.names.is_empty() || !heard.evidence.servers().is_empty()
    }

    /// What the peer's connectivity checks have shown so far, by [`IceAgent`](crate::IceAgent)'s
    /// own credentials. Nothing under an agent of somebody else, whose credentials are not
    /// known here.
    #[must_use]
    pub fn peer_view(&self) -> PeerView {
        lock(&self.inner.peer).view()
    }

    /// The latest rebinding of the mapping toward the peer.
    #[must_use]
    pub fn rebindings(&self) -> watch::Receiver<Option<Rebinding>> {
        self.inner.rebinding.subscribe()
    }

    /// What was dropped so far.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.inner.heard().dropped
    }

    pub(crate) const fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl core::fmt::Debug for Base {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Base")
            .field("sockets", &self.inner.lines.len())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Every line the agent has: the sockets, and the relay if there is one.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().chain(self.relay_line())
    }

    /// The line of this number, in the same order.
    #[inline]
    pub(crate) fn line(&self, number: usize) -> Option<&Line> {
        self.lines
            .get(number)
            .or_else(|| self.relay_line().filter(|_| number == self.lines.len()))
    }

    fn relay_line(&self) -> Option<&Line> {
        #[cfg(feature = "relay")]
        return self.relay.get().map(|relay| &relay.line);
        #[cfg(not(feature = "relay"))]
        None
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        lock(&self.heard)
    }

    /// Receives on the first socket of a base that serves no agent; `None` after an error, which
    /// has been waited out.
    pub(crate) async fn recv_extra(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        match self.lines.first()?.socket.recv_from(buffer).await {
            Ok((length, source)) => Some((length, canonical(source))),
            Err(_) => {
                tokio::time::sleep(ERROR_PAUSE).await;
                None
            }
        }
    }

    /// Whether its port may have been another socket's a short while ago.
    pub(crate) fn is_port_old(&self) -> bool {
        lock(&self.peer).is_port_old()
    }

    /// Sends from the first socket; whether the system took it.
    pub(crate) async fn send_extra(&self, datagram: &[u8], target: SocketAddr) -> bool {
        match self.lines.first() {
            Some(line) => line.socket.send_to(datagram, target).await.is_ok(),
            None => false,
        }
    }

    /// Nothing goes over any line any more, whoever still holds an end of it.
    pub(crate) fn close_lines(&self) {
        self.lines().for_each(Line::close);
        self.end_relay();
    }

    /// The relay, if there is one, frees what its server holds for it.
    pub(crate) fn end_relay(&self) {
        #[cfg(feature = "relay")]
        if let Some(relay) = self.relay() {
            relay.end();
        }
    }

    /// A datagram of the peer did not fit into its reader's buffer.
    pub(crate) fn datagram_overlong(&self) {
        bump(&mut self.heard().dropped.overlong);
    }

    /// From now on checks that carry this password are for the agent. False if there is an agent
    /// already.
    pub(crate) fn serve(&self, password: &str, max_peers: usize) -> bool {
        if self.agent.set(AgentOf::Us).is_err() {
            return false;
        }
        for line in self.lines() {
            lock(&line.peers).max = max_peers;
        }
        lock(&self.peer).serve(password);
        true
    }

    /// From now on checks are for the agent of somebody else.
    pub(crate) fn serve_foreign(&self) {
        // a second one would get nothing to read, for the first one's socket is closed with it
        let _ = self.agent.set(AgentOf::Others);
    }

    /// From now on answers that carry this password are the peer's.
    pub(crate) fn expect_answers(&self, password: &str) {
        lock(&self.peer).expect(password);
    }

    /// The agent sends STUN. To be told before it leaves: what comes back is no longer uninvited.
    pub(crate) fn on_sent(&self, line: &Line, target: SocketAddr, header: Header) {
        if !matches!(self.agent.get(), Some(AgentOf::Us)) {
            return;
        }
        let (mut peer, target) = (lock(&self.peer), canonical(target));
        if line.is_relay() {
            peer.on_relayed_sent(line.bound, target, header);
        } else {
            peer.on_sent(line.bound, target, header, Instant::now());
        }
    }

    /// Whether the peer consents to be sent to on this pair, the one in use.
    pub(crate) fn consent(&self, local: SocketAddr, remote: SocketAddr) -> Consent {
        let line = self
            .lines()
            .find(|line| canonical(line.local) == canonical(local));
        line.map(|line| lock(&self.peer).consent(line.bound, canonical(remote)))
            .unwrap_or_default()
    }

    /// The process runs, and is to be heard of again after `period`.
    pub(crate) fn beat(&self, period: Duration) {
        lock(&self.peer).beat(Instant::now(), period);
    }

    /// A signalled remote candidate: its checks pass without being verified twice.
    pub(crate) fn expect_peer(&self, remote: SocketAddr) {
        for line in self.lines() {
            let mut peers = lock(&line.peers);
            if !peers.addresses.contains(&remote) {
                peers.addresses.push(remote);
                peers.max += 1;
            }
        }
    }
}

#[cfg(feature = "relay")]
impl Inner {
    /// The addresses its sockets are bound to; none, if it is on another carrier.
    pub(crate) fn bound_ips(&self) -> Vec<IpAddr> {
        let sockets = self
            .lines
            .iter()
            .filter(|line| matches!(line.socket, Socket::Udp(_)));
        sockets.map(|line| line.bound.ip()).collect()
    }

    pub(crate) const fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    pub(crate) fn relay(&self) -> Option<&crate::relay::Relayed> {
        self.relay.get()
    }

    /// Keeps the relay, unless there is one, or an agent that would not see it.
    pub(crate) fn keep_relay(
        &self,
        relay: crate::relay::Relayed,
    ) -> Option<&crate::relay::Relayed> {
        if self.agent.get().is_some() {
            return None;
        }
        self.relay.set(relay).ok()?;
        self.relay.get()
    }

    /// Something came from the relay's server that its client cannot take.
    pub(crate) fn relay_dropped(&self) {
        bump(&mut self.heard().dropped.relay);
    }

    /// The relayed candidate is there: whoever gathers tells it.
    pub(crate) fn relay_allocated(&self) {
        self.answered.notify_one();
        self.tell_candidates();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for line in self.lines.drain(..) {
            // before it closes: whoever gets the port next has to know
            ports::note(line.bound.port());
            // a virtual network keeps a connection until it is told to let go
            if let (Socket::Conn(conn), Some(runtime)) = (line.socket, &self.runtime) {
                runtime.spawn(async move { conn.close().await });
            }
        }
    }
}

/// No code here panics while it holds a lock, and what a lock guards is valid at every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
