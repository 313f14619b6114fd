//! The sockets: one per address family. ICE and our own STUN transactions share them, and nobody reads them twice.
//!
//! There is no reader task. While servers are asked, [`Base::gather`] reads; once connectivity checks run, the agent's
//! receive loop does. Either takes our answers out of the stream and hands the rest on: gathering keeps the peer's early
//! checks for the agent, the agent's loop files late answers as evidence. In between, the kernel holds what arrives.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nat_summary::{CandidateKind, Evidence, NatSummary, Observation, Outcome, ServerId, TowardPeer};
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use webrtc_util::Conn;

use crate::agent::IceEvent;
use crate::config::{Bind, BindConfig, GatherConfig};
use crate::error::BindError;
use crate::local;
use crate::peer::{PeerReader, PeerView, Rebinding, Remapped};
use crate::plan::{Plan, Request};
use crate::transaction::{Header, Reject};
use crate::unreachable::Watch;
use crate::uri::StunServer;

/// Addresses of one name that are asked, of each family.
const ADDRESSES_OF_A_NAME: usize = 2;
/// Longest datagram read while gathering: only STUN is expected then.
const GATHER_MTU: usize = 1500;
/// Checks of the peer kept for the agent until it reads; it repeats what is lost.
const MAX_EARLY: usize = 16;
/// Pause after a socket error, so that a broken socket does not turn into a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// One socket per address family, and everything heard on them that is ours.
///
/// A base serves one [`IceAgent`](crate::IceAgent). Clones share it; the sockets close with the last of them.
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

/// One socket with what waits in front of it.
pub(crate) struct Line {
    socket: Socket,
    /// Where it is bound.
    bound: SocketAddr,
    /// What it is to the agent: where it is bound, or one of the host's addresses if that is the wildcard address.
    pub(crate) local: SocketAddr,
    /// The transport addresses it can be reached at.
    hosts: Vec<SocketAddr>,
    early: Mutex<VecDeque<(Vec<u8>, SocketAddr)>>,
    early_len: AtomicUsize,
    wake: Notify,
    closed: AtomicBool,
    /// Whether anything but STUN has moved since a check of the peer was last read.
    has_moved: AtomicBool,
    /// Remote addresses whose STUN requests pass: signalled ones, and those that authenticated.
    peers: Mutex<Peers>,
}

#[derive(Default)]
struct Peers {
    addresses: Vec<SocketAddr>,
    max: usize,
}

enum Socket {
    Udp(UdpSocket),
    /// Any other carrier, such as a virtual network.
    Conn(Arc<dyn Conn + Send + Sync>),
}

#[derive(Default)]
struct Heard {
    evidence: Box<Evidence>,
    plan: Option<Plan>,
    names: Vec<(StunServer, Outcome)>,
    /// Addresses asked, with the name each was found by.
    found_by: Vec<(SocketAddr, StunServer)>,
    dropped: Dropped,
    packets_sent: u32,
}

/// What was dropped, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Dropped {
    /// Datagrams that are not STUN, before any peer could be connected.
    pub garbage: u32,
    /// STUN that does not decode, or is longer than any Binding answer.
    pub malformed: u32,
    /// Responses to no request of ours, before the agent sent any.
    pub unknown_id: u32,
    /// Answers from another address or port than the one asked, or on another base.
    pub wrong_source: u32,
    /// STUN of other kinds where none is expected.
    pub unexpected: u32,
    /// Binding requests whose integrity check failed.
    pub unauthenticated: u32,
    /// Authenticated requests from more addresses than one peer can have.
    pub too_many_peers: u32,
    /// Checks of the peer that came before the agent read, beyond what is kept.
    pub early: u32,
    /// Servers beyond [`GatherConfig::max_servers`].
    pub servers: u32,
    /// Errors of a socket on receiving.
    pub socket_errors: u32,
}

/// A candidate to signal to the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatheredCandidate {
    /// Host, server reflexive, or relayed.
    pub kind: CandidateKind,
    /// Its transport address.
    pub address: SocketAddr,
    /// The socket behind it; a relayed candidate is its own base (RFC 8445 section 5.1.1.2).
    pub base: SocketAddr,
    /// Priority (RFC 8445 section 5.1.2.1).
    pub priority: u32,
    /// Groups candidates of one kind and base.
    pub foundation: String,
}

impl GatheredCandidate {
    /// As the plain data that writes a candidate line. Component 1, UDP.
    #[must_use]
    pub fn as_candidate(&self) -> nat_summary::Candidate<'_> {
        let related = match self.kind {
            CandidateKind::Host => None,
            // where the relay's socket is mapped to is nobody's business (RFC 8839 section 5.1)
            CandidateKind::Relayed => Some(SocketAddr::from(([0, 0, 0, 0], 9))),
            _ => Some(self.base),
        };
        nat_summary::Candidate {
            foundation: &self.foundation,
            component: 1,
            transport: nat_summary::Transport::Udp,
            priority: self.priority,
            address: nat_summary::Address::Ip(self.address.ip()),
            port: self.address.port(),
            kind: self.kind,
            related: related.map(|related| (nat_summary::Address::Ip(related.ip()), related.port())),
            ..nat_summary::Candidate::default()
        }
    }
}

/// How one server was asked and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerReport {
    /// Who was asked. A name that did not resolve stands as itself.
    pub server: StunServer,
    /// The name it was found by, if it was given by name.
    pub name: Option<StunServer>,
    /// How it ended; [`Outcome::Pending`] where nobody waited for it any longer.
    pub outcome: Outcome,
    /// The socket the request left from.
    pub base: Option<SocketAddr>,
    /// XOR-MAPPED-ADDRESS of the answer.
    pub mapped: Option<SocketAddr>,
    /// The code of an error response (RFC 8489 section 14.8), such as 300 for Try Alternate, which is not followed: the
    /// mapping toward a server nobody named is no mapping that was asked for. 0 if none could be read.
    pub error_code: Option<u16>,
    /// Time from request to answer; unknown if the request was sent more than once.
    pub round_trip: Option<Duration>,
    /// Packets sent to it.
    pub sends: u8,
}

impl ServerReport {
    /// Of a name that led to no server, or not yet.
    fn of_name(name: &StunServer, outcome: Outcome) -> Self {
        Self {
            server: name.clone(),
            name: Some(name.clone()),
            outcome,
            base: None,
            mapped: None,
            error_code: None,
            round_trip: None,
            sends: 0,
        }
    }
}

/// Something new, while gathering goes on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Progress {
    /// A candidate to signal: the host candidates at once, reflexive ones as they are found, each once.
    Candidate(GatheredCandidate),
    /// A request to a server ended.
    Server(ServerReport),
}

/// What of a gathering's progress was told already.
#[derive(Default)]
struct Told {
    candidates: Vec<SocketAddr>,
    /// By the number of the request.
    requests: Vec<bool>,
    names: Vec<StunServer>,
}

/// Who hears of the agent's events.
struct Listener {
    events: mpsc::Sender<IceEvent>,
    told: Told,
}

/// What one gathering found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Gathering {
    /// To be signalled: host candidates, then reflexive ones, each once.
    pub candidates: Vec<GatheredCandidate>,
    /// Everything observed on this base so far.
    pub evidence: Box<Evidence>,
    /// One entry per server asked, in the order given.
    pub servers: Vec<ServerReport>,
    /// Packets sent to servers by this gathering, retransmissions included.
    pub packets_sent: u32,
    /// How long it took.
    pub elapsed: Duration,
}

impl Base {
    /// Binds the sockets.
    ///
    /// # Errors
    /// [`BindError::NoAddress`] if there is nothing to bind, [`BindError::Socket`] if the system refuses.
    pub async fn bind(config: BindConfig) -> Result<Self, BindError> {
        let mut lines = Vec::with_capacity(2);
        for (bind, is_ipv4) in [(&config.ipv4, true), (&config.ipv6, false)] {
            let any: IpAddr = if is_ipv4 { [0; 4].into() } else { [0; 16].into() };
            let default_route = || local::default_route(is_ipv4);
            let ip = match bind {
                Bind::Off => continue,
                Bind::Address(ip) if ip.is_ipv4() != is_ipv4 => return Err(BindError::Family),
                Bind::Address(ip) if ip.is_unspecified() => return Err(BindError::Wildcard),
                Bind::Address(ip) => Some(*ip),
                Bind::DefaultRoute => default_route(),
                Bind::Interface(name) => local::interface(name).into_iter().find(|ip| ip.is_ipv4() == is_ipv4),
                Bind::Wildcard => default_route().map(|_| any),
            };
            let Some(ip) = ip else { continue };
            let socket = bind_in(ip, config.ports).await?;
            let bound = socket.local_addr().map_err(|e| BindError::Socket(e.kind()))?;
            let mut hosts = vec![bound.ip()];
            if ip.is_unspecified() {
                // the agent takes one address, and that of the default route is as good as any; the others are signalled
                hosts = default_route().into_iter().chain(local::addresses(is_ipv4)).collect();
                let mut seen = Vec::new();
                hosts.retain(|host| {
                    !seen.contains(host) && {
                        seen.push(*host);
                        true
                    }
                });
            }
            lines.push(Line::new(Socket::Udp(socket), bound, hosts));
        }
        if lines.is_empty() { Err(BindError::NoAddress) } else { Ok(Self::from_lines(lines)) }
    }

    /// Takes any datagram carrier as the only socket: a virtual network, or a socket bound elsewhere.
    ///
    /// # Errors
    /// [`BindError::Wildcard`] if its local address is the wildcard, [`BindError::Socket`] if it has none.
    pub fn from_conn(conn: Arc<dyn Conn + Send + Sync>) -> Result<Self, BindError> {
        let local = conn.local_addr().map_err(|_| BindError::Socket(io::ErrorKind::NotConnected))?;
        if local.ip().is_unspecified() {
            return Err(BindError::Wildcard);
        }
        Ok(Self::from_lines(vec![Line::new(Socket::Conn(conn), local, vec![local.ip()])]))
    }

    fn from_lines(lines: Vec<Line>) -> Self {
        let mut heard = Heard::default();
        for host in lines.iter().flat_map(|line| &line.hosts) {
            heard.evidence.local(host.ip());
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
        Self { inner: Arc::new(inner) }
    }

    /// The transport address of each socket: IPv4, then IPv6.
    pub fn local_addrs(&self) -> impl ExactSizeIterator<Item = SocketAddr> + '_ {
        self.inner.lines.iter().map(|line| line.local)
    }

    /// Another address of this host: a mapped address equal to it means no NAT.
    pub fn add_local(&self, ip: IpAddr) {
        self.inner.heard().evidence.local(ip);
    }

    /// Everything observed so far, late answers included.
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

    /// What the peer's connectivity checks have shown so far, by [`IceAgent`](crate::IceAgent)'s own credentials. Nothing
    /// under an agent of somebody else, whose credentials are not known here.
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

    /// Asks every server from the base of its family, in parallel, until it is enough: see
    /// [`GatherConfig`]. May be repeated, to ask again for mappings that may have expired.
    ///
    /// Cancel safe: a dropped gathering sends nothing more, what it observed stays in [`evidence`](Self::evidence).
    pub async fn gather(&self, servers: &[StunServer], config: &GatherConfig) -> Gathering {
        self.gather_with(servers, config, |_| ()).await
    }

    /// The same, and tells what is found as it is found (trickle ICE, RFC 8838).
    pub async fn gather_with(
        &self,
        servers: &[StunServer],
        config: &GatherConfig,
        mut progress: impl FnMut(Progress),
    ) -> Gathering {
        let inner = &*self.inner;
        let started = Instant::now();
        let sent_before = inner.start_plan(servers, config, started);
        let mut lookups = resolve(servers);
        let (first, second) = (inner.lines.first(), inner.lines.get(1));
        let watches: Vec<Watch<'_>> = inner.lines.iter().filter_map(Line::watch).collect();
        let mut first_buffer = vec![0_u8; GATHER_MTU];
        let mut second_buffer = vec![0_u8; if second.is_some() { GATHER_MTU } else { 0 }];

        let mut told = Told::default();
        while !inner.is_gathered() {
            inner.send_due(&watches).await;
            inner.news(&mut told).into_iter().for_each(&mut progress);
            // a request that could not be sent has ended as well, and may have been the last
            if inner.is_gathered() {
                break;
            }
            let wake_at = inner.next_timeout().unwrap_or_else(Instant::now);
            tokio::select! {
                // timers first: a flood of datagrams must not outlast the deadline
                biased;
                () = tokio::time::sleep_until(wake_at.into()) => {}
                Some(resolved) = lookups.join_next() => inner.resolved(resolved.ok()),
                () = inner.answered.notified() => {}
                (line, received) = receive(first, &mut first_buffer) => {
                    inner.sort(line, received.map(|(n, source)| (&first_buffer[..n], source)), &watches).await;
                }
                (line, received) = receive(second, &mut second_buffer) => {
                    inner.sort(line, received.map(|(n, source)| (&second_buffer[..n], source)), &watches).await;
                }
            }
        }
        inner.give_up_names();
        inner.news(&mut told).into_iter().for_each(progress);
        inner.gathering(servers, started.elapsed(), sent_before)
    }

    pub(crate) const fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl core::fmt::Debug for Base {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Base").field("sockets", &self.inner.lines.len()).finish_non_exhaustive()
    }
}

/// Binds a socket on `ip`, on any port or on a random one of a range.
async fn bind_in(ip: IpAddr, ports: Option<(u16, u16)>) -> Result<UdpSocket, BindError> {
    let refused = |error: io::Error| BindError::Socket(error.kind());
    let Some((first, last)) = ports else { return UdpSocket::bind((ip, 0)).await.map_err(refused) };
    let count = u32::from(last).checked_sub(u32::from(first)).ok_or(BindError::NoAddress)? + 1;
    let start = rand::random_range(0..count);
    let mut result = Err(BindError::NoAddress);
    for n in 0..count {
        let port = u32::from(first) + (start + n) % count;
        match UdpSocket::bind((ip, u16::try_from(port).unwrap_or(last))).await {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => result = Err(refused(error)),
            Err(error) => return Err(refused(error)),
        }
    }
    result
}

type Lookup = (StunServer, Vec<SocketAddr>);

/// Looks every name up in a task of its own; all end with the returned set.
fn resolve(servers: &[StunServer]) -> JoinSet<Lookup> {
    let mut lookups = JoinSet::new();
    for server in servers {
        if let StunServer::Name(host, port) = server {
            let (server, host, port) = (server.clone(), host.clone(), *port);
            lookups.spawn(async move {
                let addresses = tokio::net::lookup_host((host, port)).await;
                (server, addresses.map(Iterator::collect).unwrap_or_default())
            });
        }
    }
    lookups
}

/// Receives on `line`; never, if there is none.
async fn receive<'a>(line: Option<&'a Line>, buffer: &mut [u8]) -> (&'a Line, io::Result<(usize, SocketAddr)>) {
    match line {
        Some(line) => (line, line.socket.recv_from(buffer).await),
        None => core::future::pending().await,
    }
}

impl Socket {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self {
            Self::Udp(socket) => socket.recv_from(buffer).await,
            Self::Conn(conn) => conn.recv_from(buffer).await.map_err(io::Error::other),
        }
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send_to(datagram, target).await,
            Self::Conn(conn) => conn.send_to(datagram, target).await.map_err(io::Error::other),
        }
    }
}

impl Line {
    fn new(socket: Socket, bound: SocketAddr, hosts: Vec<IpAddr>) -> Self {
        let hosts: Vec<SocketAddr> = hosts.into_iter().map(|ip| SocketAddr::new(ip, bound.port())).collect();
        Self {
            socket,
            bound,
            local: hosts.first().copied().unwrap_or(bound),
            hosts,
            early: Mutex::default(),
            early_len: AtomicUsize::new(0),
            wake: Notify::new(),
            closed: AtomicBool::new(false),
            has_moved: AtomicBool::new(false),
            peers: Mutex::default(),
        }
    }

    /// Whether it leads through a TURN server. What comes that way did not cross the NAT by itself and says nothing of it.
    const fn is_relay(&self) -> bool {
        self.hosts.is_empty()
    }

    /// A line over a carrier that no candidate of the host stands for.
    #[cfg(feature = "relay")]
    pub(crate) fn over(conn: Arc<dyn Conn + Send + Sync>, local: SocketAddr) -> Self {
        Self::new(Socket::Conn(conn), local, Vec::new())
    }

    fn watch(&self) -> Option<Watch<'_>> {
        match &self.socket {
            Socket::Udp(socket) => Some(Watch::new(socket)),
            Socket::Conn(_) => None,
        }
    }

    /// Keeps a check of the peer for the agent; false if there is no room.
    fn keep_early(&self, datagram: &[u8], source: SocketAddr) -> bool {
        let mut early = lock(&self.early);
        if early.len() >= MAX_EARLY {
            return false;
        }
        early.push_back((datagram.to_vec(), source));
        self.early_len.store(early.len(), Ordering::Release);
        self.wake.notify_one();
        true
    }

    fn take_early(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
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

    /// What the kernel is known to hold, unless something else comes first. A carrier of another kind never knows.
    #[inline]
    fn take_waiting(&self, buffer: &mut [u8]) -> Option<io::Result<(usize, SocketAddr)>> {
        let Socket::Udp(socket) = &self.socket else { return None };
        if self.closed.load(Ordering::Acquire) || self.early_len.load(Ordering::Acquire) > 0 {
            return None;
        }
        match socket.try_recv_from(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            received => Some(received),
        }
    }

    /// Something that is not STUN goes out or came in. It has the cost of a byte that is in the cache already.
    #[inline]
    pub(crate) fn note_moved(&self) {
        if !self.has_moved.load(Ordering::Relaxed) {
            self.has_moved.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(crate) async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        if self.closed.load(Ordering::Acquire) {
            return Err(io::ErrorKind::NotConnected.into());
        }
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

/// Whether a STUN request may go on to the agent.
enum Admission {
    Passes,
    Unauthenticated,
    TooMany,
}

impl Inner {
    /// Every line the agent has: the sockets, and the relay if there is one.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().chain(self.relay_line())
    }

    /// The line of this number, in the same order.
    #[inline]
    pub(crate) fn line(&self, number: usize) -> Option<&Line> {
        self.lines.get(number).or_else(|| self.relay_line().filter(|_| number == self.lines.len()))
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

    /// Receives on the first socket of a base that serves no agent; `None` after an error, which has been waited out.
    pub(crate) async fn recv_extra(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        match self.lines.first()?.socket.recv_from(buffer).await {
            Ok((length, source)) => Some((length, canonical(source))),
            Err(_) => {
                tokio::time::sleep(ERROR_PAUSE).await;
                None
            }
        }
    }

    /// Sends from the first socket; whether the system took it.
    pub(crate) async fn send_extra(&self, datagram: &[u8], target: SocketAddr) -> bool {
        match self.lines.first() {
            Some(line) => line.socket.send_to(datagram, target).await.is_ok(),
            None => false,
        }
    }

    /// From now on checks that carry this password are for the agent. False if there is an agent already.
    pub(crate) fn serve(&self, password: &str, max_peers: usize) -> bool {
        for line in self.lines() {
            lock(&line.peers).max = max_peers;
        }
        if self.agent.set(AgentOf::Us).is_err() {
            return false;
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
        if matches!(self.agent.get(), Some(AgentOf::Us)) && !line.is_relay() {
            lock(&self.peer).on_sent(line.bound, canonical(target), header, Instant::now());
        }
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

    /// Starts a plan and files the one before it; the packets that were sent until now.
    fn start_plan(&self, servers: &[StunServer], config: &GatherConfig, now: Instant) -> u32 {
        let mut heard = self.heard();
        heard.retire_plan();
        let sockets = self.lines.iter().map(|line| line.bound).collect();
        let mut plan = Plan::new(*config, sockets, now).with_first_sequence(heard.packets_sent);
        heard.names.clear();
        heard.found_by.clear();
        for server in servers {
            match server {
                StunServer::Address(address) => self.ask(&mut plan, *address, now),
                StunServer::Name(..) => {
                    plan.name_started();
                    heard.names.push((server.clone(), Outcome::Pending));
                }
            }
        }
        heard.plan = Some(plan);
        heard.packets_sent
    }

    fn ask(&self, plan: &mut Plan, server: SocketAddr, now: Instant) {
        let server = canonical(server);
        let wildcard = |line: &&Line| line.bound.ip().is_unspecified() && line.bound.is_ipv4() == server.is_ipv4();
        let leaves_from = self.lines.iter().find(wildcard).and_then(|_| local::toward(server));
        plan.ask(server, leaves_from, rand::random(), now);
    }

    /// A name resolved, or its lookup died. Each address is a server of its own to the evidence; two of each family are
    /// asked, for a third cannot prove what two do not.
    fn resolved(&self, lookup: Option<Lookup>) {
        let mut heard = self.heard();
        let Heard { plan: Some(plan), names, found_by, .. } = &mut *heard else { return };
        plan.name_ended();
        let Some((server, addresses)) = lookup else { return };
        let mut asked: Vec<SocketAddr> = Vec::new();
        for address in addresses.iter().map(|address| canonical(*address)) {
            let is_of_family = |other: SocketAddr| other.is_ipv4() == address.is_ipv4();
            let room = asked.iter().filter(|other| is_of_family(**other)).count() < ADDRESSES_OF_A_NAME;
            if room && !asked.contains(&address) && self.lines.iter().any(|line| is_of_family(line.local)) {
                asked.push(address);
            }
        }
        // no socket of its family: then that is what has to be told of it
        if asked.is_empty() {
            asked.extend(addresses.first().map(|address| canonical(*address)));
        }
        for address in asked {
            // merged with one that was given by its address, or that another name led to
            if !plan.requests().iter().any(|request| request.server == address) {
                found_by.push((address, server.clone()));
            }
            self.ask(plan, address, Instant::now());
        }
        if addresses.is_empty() {
            if let Some((_, outcome)) = names.iter_mut().find(|(name, _)| *name == server) {
                *outcome = Outcome::Unresolved;
            }
        } else {
            names.retain(|(name, _)| *name != server);
        }
    }

    fn is_gathered(&self) -> bool {
        self.heard().plan.as_mut().is_none_or(|plan| plan.is_complete(Instant::now()))
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.heard().plan.as_ref().and_then(Plan::poll_timeout)
    }

    async fn send_due(&self, watches: &[Watch<'_>]) {
        loop {
            let due = self.heard().plan.as_mut().and_then(|plan| plan.poll_transmit(Instant::now()));
            let Some(transmit) = due else { return };
            let Some(line) = self.lines.iter().find(|line| line.bound == transmit.socket) else { return };
            let send = || line.socket.send_to(&transmit.bytes, transmit.server);
            lock(&self.peer).contact(transmit.server, Instant::now());
            // an error may be about a server asked before
            if send().await.is_err()
                && (!self.file_unreachable(watches) || send().await.is_err())
                && let Some(plan) = &mut self.heard().plan
            {
                plan.handle_send_error(transmit.request);
            }
        }
    }

    /// Files what ICMP said of single servers; whether it said anything.
    fn file_unreachable(&self, watches: &[Watch<'_>]) -> bool {
        let unreachable: Vec<SocketAddr> = watches.iter().flat_map(Watch::take).collect();
        if let Some(plan) = &mut self.heard().plan {
            unreachable.iter().for_each(|server| plan.handle_unreachable(canonical(*server)));
        }
        !unreachable.is_empty()
    }

    /// Sorts what came in while gathering: our answers are filed, the peer's checks kept, the rest dropped and counted.
    async fn sort(&self, line: &Line, received: io::Result<(&[u8], SocketAddr)>, watches: &[Watch<'_>]) {
        let Ok((datagram, source)) = received else {
            if self.file_unreachable(watches) {
                return;
            }
            bump(&mut self.heard().dropped.socket_errors);
            tokio::time::sleep(ERROR_PAUSE).await;
            return;
        };
        self.sort_datagram(line, source, datagram);
    }

    fn sort_datagram(&self, line: &Line, source: SocketAddr, datagram: &[u8]) {
        match Header::peek(datagram) {
            None => bump(&mut self.heard().dropped.garbage),
            Some(header) if header.is_response => {
                if !self.file_answer(line, source, datagram) {
                    bump(&mut self.heard().dropped.unknown_id);
                }
            }
            Some(header) if header.is_binding_request => {
                let admitted = self.admits::<true>(line, source, datagram);
                if admitted && !line.keep_early(datagram, source) {
                    bump(&mut self.heard().dropped.early);
                }
            }
            Some(_) => bump(&mut self.heard().dropped.unexpected),
        }
    }

    /// Reads what waits in the kernel before the agent sends its first check: what is there by then came uninvited.
    pub(crate) fn read_waiting(&self) {
        let mut buffer = [0; GATHER_MTU];
        for line in &self.lines {
            let Socket::Udp(socket) = &line.socket else { continue };
            for _ in 0..MAX_EARLY {
                let Ok((length, source)) = socket.try_recv_from(&mut buffer) else { break };
                self.sort_datagram(line, source, &buffer[..length]);
            }
        }
    }

    /// Files a response, if it is ours or claims to be; false if it belongs to a transaction of somebody else.
    fn file_answer(&self, line: &Line, source: SocketAddr, datagram: &[u8]) -> bool {
        let mut heard = self.heard();
        let Heard { plan: Some(plan), dropped, .. } = &mut *heard else { return false };
        match plan.handle_datagram(Instant::now(), line.bound, canonical(source), datagram) {
            Ok(_) => {
                drop(heard);
                self.answered.notify_one();
                self.tell_candidates();
            }
            Err(Reject::UnknownId) => return false,
            Err(Reject::WrongSource) => bump(&mut dropped.wrong_source),
            Err(Reject::NotABindingResponse) => bump(&mut dropped.unexpected),
            Err(Reject::NotStun | Reject::TooLong | Reject::Malformed) => bump(&mut dropped.malformed),
        }
        true
    }

    /// Whether a Binding request may go on to the agent. Each new source has to authenticate once, and a peer has only
    /// so many addresses: the agent remembers every one for ever.
    fn admits<const READS: bool>(&self, line: &Line, source: SocketAddr, datagram: &[u8]) -> bool {
        let is_authentic = match self.agent.get() {
            Some(AgentOf::Others) => return true,
            Some(AgentOf::Us) if !READS => false,
            Some(AgentOf::Us) if line.is_relay() => lock(&self.peer).on_relayed_request(datagram),
            Some(AgentOf::Us) => {
                let is_quiet = !line.has_moved.swap(false, Ordering::Relaxed);
                lock(&self.peer).on_request(line.bound, canonical(source), datagram, is_quiet, Instant::now())
            }
            None => false,
        };
        let admission = {
            let mut peers = lock(&line.peers);
            if peers.addresses.contains(&source) {
                Admission::Passes
            } else if !is_authentic {
                Admission::Unauthenticated
            } else if peers.addresses.len() >= peers.max {
                Admission::TooMany
            } else {
                peers.addresses.push(source);
                Admission::Passes
            }
        };
        match admission {
            Admission::Passes => true,
            Admission::Unauthenticated => {
                bump(&mut self.heard().dropped.unauthenticated);
                false
            }
            Admission::TooMany => {
                bump(&mut self.heard().dropped.too_many_peers);
                false
            }
        }
    }

    /// The agent's reading end: whatever is not ours, straight from the socket into the agent's buffer. Fails once the
    /// line is closed, and only then: the agent's loop ends for ever on the first error. `READS`: what the peer's checks
    /// show is read in passing; without it, only to measure what that costs.
    pub(crate) async fn recv_for_agent<const READS: bool>(
        &self,
        line: &Line,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr)> {
        // a flood must not starve whatever else runs on this thread
        tokio::task::consume_budget().await;
        if line.closed.load(Ordering::Acquire) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        // under load a datagram waits already: taking it needs no waker
        match line.take_waiting(buffer) {
            Some(Ok((length, source))) if self.is_for_agent::<READS>(line, source, &buffer[..length]) => {
                return Ok((length, source));
            }
            Some(Err(_)) => bump(&mut self.heard().dropped.socket_errors),
            _ => {}
        }
        self.wait_for_agent::<READS>(line, buffer).await
    }

    async fn wait_for_agent<const READS: bool>(
        &self,
        line: &Line,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr)> {
        loop {
            if line.closed.load(Ordering::Acquire) {
                return Err(io::ErrorKind::NotConnected.into());
            }
            if let Some(early) = line.take_early(buffer) {
                return Ok(early);
            }
            let received = tokio::select! {
                biased;
                received = line.socket.recv_from(buffer) => received,
                () = line.wake.notified() => continue,
            };
            let Ok((length, source)) = received else {
                bump(&mut self.heard().dropped.socket_errors);
                tokio::select! {
                    () = line.wake.notified() => {}
                    () = tokio::time::sleep(ERROR_PAUSE) => {}
                }
                continue;
            };
            if self.is_for_agent::<READS>(line, source, &buffer[..length]) {
                return Ok((length, source));
            }
        }
    }

    #[inline]
    fn is_for_agent<const READS: bool>(&self, line: &Line, source: SocketAddr, datagram: &[u8]) -> bool {
        match Header::peek(datagram) {
            None => {
                if READS {
                    line.note_moved();
                }
                true
            }
            Some(header) => self.is_stun_for_agent::<READS>(header, line, source, datagram),
        }
    }

    /// Apart, so that what is not STUN has the shorter way.
    #[cold]
    #[inline(never)]
    fn is_stun_for_agent<const READS: bool>(
        &self,
        header: Header,
        line: &Line,
        source: SocketAddr,
        datagram: &[u8],
    ) -> bool {
        if header.is_response {
            let is_for_agent = !self.file_answer(line, source, datagram);
            if READS {
                self.read_response(is_for_agent, line, source, datagram);
            }
            is_for_agent
        } else if header.is_binding_request {
            self.admits::<READS>(line, source, datagram)
        } else {
            if READS {
                lock(&self.peer).touch(Instant::now());
            }
            matches!(self.agent.get(), Some(AgentOf::Others)) || lock(&line.peers).addresses.contains(&source)
        }
    }

    /// Reads what a response to a check says of our mapping, and tells of a change.
    fn read_response(&self, is_for_agent: bool, line: &Line, source: SocketAddr, datagram: &[u8]) {
        if line.is_relay() {
            return;
        }
        let mut peer = lock(&self.peer);
        if !is_for_agent || !matches!(self.agent.get(), Some(AgentOf::Us)) {
            return peer.touch(Instant::now());
        }
        let remapped = peer.on_response(line.bound, canonical(source), datagram, Instant::now());
        let number = peer.rebindings();
        drop(peer);
        if let Some(Remapped { was, is }) = remapped {
            let evidence = self.heard().evidence();
            let verdict = |report| TowardPeer::against(&evidence, report);
            self.rebinding.send_replace(Some(Rebinding { number, was: verdict(&was), is: verdict(&is) }));
        }
    }

    /// A name that is still being looked up at the deadline counts as unresolved.
    fn give_up_names(&self) {
        let mut heard = self.heard();
        if heard.plan.as_ref().is_some_and(|plan| plan.is_past_deadline(Instant::now())) {
            for (_, outcome) in &mut heard.names {
                *outcome = Outcome::Unresolved;
            }
        }
    }

    fn gathering(&self, servers: &[StunServer], elapsed: Duration, sent_before: u32) -> Gathering {
        let mut heard = self.heard();
        let over_cap = heard.plan.as_ref().map_or(0, Plan::over_cap);
        heard.dropped.servers = heard.dropped.servers.saturating_add(over_cap);
        let mut reports: Vec<ServerReport> = heard.reports().collect();
        reports.sort_by_cached_key(|report| {
            let given = report.name.as_ref().unwrap_or(&report.server);
            servers.iter().position(|server| server == given).unwrap_or(usize::MAX)
        });

        let candidates = self.candidates(&heard);
        let packets_sent = heard.plan.as_ref().map_or(0, Plan::next_sequence) - sent_before;
        Gathering { candidates, evidence: heard.evidence(), servers: reports, packets_sent, elapsed }
    }
}

impl Inner {
    /// Host candidates, then reflexive ones in the order of asking, each address once.
    fn candidates(&self, heard: &Heard) -> Vec<GatheredCandidate> {
        let mut candidates: Vec<GatheredCandidate> = Vec::new();
        for (number, host) in (1..).zip(self.lines.iter().flat_map(|line| &line.hosts)) {
            candidates.push(candidate(CandidateKind::Host, *host, *host, number));
        }
        let reflexive = heard.plan.iter().flat_map(Plan::possible);
        for (number, observation) in (100..).zip(reflexive) {
            let Observation { base, mapped, .. } = observation;
            if mapped.is_ipv4() == base.is_ipv4() && !candidates.iter().any(|c| c.address == mapped) {
                candidates.push(candidate(CandidateKind::ServerReflexive, mapped, base, number));
            }
        }
        #[cfg(feature = "relay")]
        candidates.extend(self.relay.get().and_then(crate::relay::Relayed::candidate));
        candidates
    }

    /// From now on events go there.
    pub(crate) fn listen(&self, events: mpsc::Sender<IceEvent>) {
        let candidates = self.candidates(&self.heard()).iter().map(|candidate| candidate.address).collect();
        *lock(&self.listener) = Some(Listener { events, told: Told { candidates, ..Told::default() } });
    }

    /// No event goes anywhere any longer.
    pub(crate) fn end_events(&self) {
        *lock(&self.listener) = None;
    }

    /// Tells of `event`, if somebody listens and keeps up.
    pub(crate) fn tell(&self, event: IceEvent) {
        if let Some(listener) = &*lock(&self.listener) {
            let _ = listener.events.try_send(event);
        }
    }

    /// Tells of candidates that came after gathering had ended, or from the relay.
    fn tell_candidates(&self) {
        let mut listener = lock(&self.listener);
        let Some(Listener { events, told }) = &mut *listener else { return };
        for candidate in self.candidates(&self.heard()) {
            let address = candidate.address;
            // one that does not fit is told with the next
            if !told.candidates.contains(&address) && events.try_send(IceEvent::Candidate(candidate)).is_ok() {
                told.candidates.push(address);
            }
        }
    }

    /// What is new since `told`.
    fn news(&self, told: &mut Told) -> Vec<Progress> {
        let heard = self.heard();
        let mut news = Vec::new();
        for candidate in self.candidates(&heard) {
            if !told.candidates.contains(&candidate.address) {
                told.candidates.push(candidate.address);
                news.push(Progress::Candidate(candidate));
            }
        }
        let requests = heard.plan.as_ref().map_or(&[][..], Plan::requests);
        told.requests.resize(requests.len(), false);
        for (request, told) in requests.iter().zip(&mut told.requests) {
            if request.outcome != Outcome::Pending && !core::mem::replace(told, true) {
                news.push(Progress::Server(heard.report(request)));
            }
        }
        for (name, outcome) in &heard.names {
            if *outcome != Outcome::Pending && !told.names.contains(name) {
                told.names.push(name.clone());
                news.push(Progress::Server(ServerReport::of_name(name, *outcome)));
            }
        }
        news
    }
}

#[cfg(feature = "relay")]
impl Inner {
    /// The addresses its sockets are bound to; none, if it is on another carrier.
    pub(crate) fn bound_ips(&self) -> Vec<IpAddr> {
        let sockets = self.lines.iter().filter(|line| matches!(line.socket, Socket::Udp(_)));
        sockets.map(|line| line.bound.ip()).collect()
    }

    pub(crate) const fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    pub(crate) fn relay(&self) -> Option<&crate::relay::Relayed> {
        self.relay.get()
    }

    /// Keeps the relay, unless there is one, or an agent that would not see it.
    pub(crate) fn keep_relay(&self, relay: crate::relay::Relayed) -> Option<&crate::relay::Relayed> {
        if self.agent.get().is_some() {
            return None;
        }
        self.relay.set(relay).ok()?;
        self.relay.get()
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
            // a virtual network keeps a connection until it is told to let go
            if let (Socket::Conn(conn), Some(runtime)) = (line.socket, &self.runtime) {
                runtime.spawn(async move { conn.close().await });
            }
        }
    }
}

impl Heard {
    /// One report per server asked, and per name that led to none.
    fn reports(&self) -> impl Iterator<Item = ServerReport> {
        let requests = self.plan.as_ref().map_or(&[][..], Plan::requests);
        let names = self.names.iter().map(|(name, outcome)| ServerReport::of_name(name, *outcome));
        requests.iter().map(|request| self.report(request)).chain(names)
    }

    fn report(&self, request: &Request) -> ServerReport {
        let found = self.found_by.iter().find(|(address, _)| *address == request.server);
        ServerReport {
            server: StunServer::Address(request.server),
            name: found.map(|(_, name)| name.clone()),
            outcome: request.outcome,
            base: Some(request.base).filter(|_| request.sends > 0),
            mapped: request.mapped,
            error_code: request.error_code,
            round_trip: request.round_trip,
            sends: request.sends,
        }
    }

    /// What the current plan knows goes into the evidence for good.
    fn retire_plan(&mut self) {
        self.evidence = self.evidence();
        if let Some(plan) = self.plan.take() {
            self.packets_sent = plan.next_sequence();
        }
    }

    fn evidence(&self) -> Box<Evidence> {
        let mut evidence = self.evidence.clone();
        if let Some(plan) = &self.plan {
            plan.record(&mut evidence);
        }
        for (server, outcome) in &self.names {
            evidence.asked(server.id(), *outcome);
        }
        evidence
    }
}

/// Priority with the recommended preferences (RFC 8445 section 5.1.2.2): IPv6 before IPv4 costs nothing here, so both
/// get the same local preference, as the ICE library gives them.
pub(crate) fn candidate(
    kind: CandidateKind,
    address: SocketAddr,
    base: SocketAddr,
    foundation: u16,
) -> GatheredCandidate {
    let preference = match kind {
        CandidateKind::Host => 126,
        CandidateKind::Relayed => 0,
        _ => 100,
    };
    let priority = (preference << 24) + (0xffff << 8) + 255;
    GatheredCandidate { kind, address, base, priority, foundation: foundation.to_string() }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn bump(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}

/// No code here panics while it holds a lock, and what a lock guards is valid at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How evidence names this server.
impl From<&ServerReport> for ServerId {
    fn from(report: &ServerReport) -> Self {
        report.server.id()
    }
}

#[cfg(test)]
mod tests;
