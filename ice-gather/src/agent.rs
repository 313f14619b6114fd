//! The owner of the ICE agent, and the rules that keep it from leaking.
//!
//! The library's agent keeps tasks, sockets and itself alive unless it is closed to the end, with
//! nothing in flight. So it is made in a task of its own, dialled in a task of its own, and torn
//! down in a task of its own that nobody aborts; callers only ever bound their *wait*. Dropping an
//! [`IceAgent`] at any point starts the same tear-down.

mod library;
mod liveness;
mod mux;
mod remote;

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use nat_summary::CandidateKind;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use webrtc_ice::agent::Agent;
use webrtc_ice::candidate::CandidateType;
use webrtc_ice::mdns::MulticastDnsMode;
use webrtc_ice::network_type::NetworkType;
use webrtc_ice::udp_network::UDPNetwork;
use webrtc_util::vnet::interface::Interface;
use webrtc_util::vnet::net::Net;
use webrtc_util::{Conn, Error};

use self::library::{ice_state, kind};
use self::liveness::Silence;
pub(crate) use self::mux::Mux;
pub use self::remote::{Credentials, RemoteCandidate, RemoteDescription};
use crate::base::{Base, Shared, demux};
use crate::checks::Consent;
use crate::config::AgentConfig;
use crate::error::{AgentError, ConnectError, SendError};
use crate::event::{IceEvent, IceState};
use crate::stun::Header;

/// Events kept for a listener that is busy.
const EVENTS: usize = 64;
/// Longest wait for the library's gathering tasks during tear-down; they end within milliseconds.
const GATHERING_TASKS_TIMEOUT: Duration = Duration::from_secs(5);
/// How often to look for a sign of life within the time after which there has to be one.
const LOOKS_FOR_LIFE: u32 = 30;
/// And at most that often.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
/// Candidates that no pair in use needs are kept this long (RFC 8445 section 8.3.1).
const FREEING: Duration = Duration::from_secs(3);

/// Which side nominates (RFC 8445 section 6.1.1). The library has no conflict handling: signalling
/// has to fix the roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The side that made the offer.
    Controlling,
    /// The side that made the answer.
    Controlled,
}

/// An ICE agent on a [`Base`]. Close it, or just drop it: nothing stays behind.
pub struct IceAgent {
    parts: Option<Parts>,
    credentials: Credentials,
    state: watch::Receiver<IceState>,
    config: AgentConfig,
    role: Role,
    runtime: Handle,
    base: Base,
    /// Candidates of the peer taken so far.
    remotes: AtomicUsize,
}

/// Everything that has to end in order.
struct Parts {
    agent: Arc<Agent>,
    net: Arc<Net>,
    mux: Arc<Mux>,
    cancel: CancellationToken,
    dialling: Option<JoinHandle<()>>,
    state: Arc<watch::Sender<IceState>>,
}

impl IceAgent {
    /// Makes the agent and has it take the base's sockets. No check is sent before
    /// [`connect`](Self::connect).
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn new(base: &Base, role: Role, config: AgentConfig) -> Result<Self, AgentError> {
        // in a task of its own: whoever waits here may be cancelled, a half-made agent would leak
        let made = tokio::spawn(make(base.clone(), role, config));
        made.await.map_err(|_| AgentError::Shutdown)?
    }

    /// What to tell the peer besides the candidates.
    #[must_use]
    pub const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The state of the connection, always the latest.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<IceState> {
        self.state.clone()
    }

    /// What happens from now on, through a bounded channel that nobody has to read: events beyond
    /// 64 unread ones are lost, and [`state`](Self::state) is always the latest. A second call
    /// ends the channel of the first. It ends with the agent.
    pub fn events(&self) -> mpsc::Receiver<IceEvent> {
        let (events, receiver) = mpsc::channel(EVENTS);
        if self.parts.is_some() {
            self.base.shared().listen(events);
        }
        receiver
    }

    /// One more candidate of the peer, before or after [`connect`](Self::connect); whether it was
    /// taken. One that no check can be sent to is not, nor any beyond
    /// [`AgentConfig::max_remote_candidates`].
    pub fn add_remote(&self, candidate: RemoteCandidate) -> bool {
        let Some(parts) = &self.parts else {
            return false;
        };
        let Some(remote) = candidate.to_library() else {
            return false;
        };
        let max = self.config.max_remote_candidates;
        let has_room = |taken: usize| (taken < max).then_some(taken + 1);
        if self
            .remotes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, has_room)
            .is_err()
        {
            return false;
        }
        self.base.shared().expect_peer(candidate.address);
        // fails for TCP candidates only
        parts.agent.add_remote_candidate(&remote).is_ok()
    }

    /// Checks every pair until one works, at most for `deadline`. More than
    /// [`AgentConfig::max_remote_candidates`] candidates are ignored.
    ///
    /// Cancel safe: checks go on until the agent is closed or dropped.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &mut self,
        remote: RemoteDescription,
        deadline: Duration,
    ) -> Result<IceConn, ConnectError> {
        remote.credentials.check().map_err(ConnectError::Remote)?;
        let parts = self.parts.as_mut().ok_or(ConnectError::Closed)?;
        if parts.dialling.is_some() {
            return Err(ConnectError::Again);
        }
        #[cfg(feature = "relay")]
        if let Some(relay) = self.base.shared().relay() {
            relay.checks_begin();
        }
        self.base.shared().expect_answers(&remote.credentials.pwd);
        demux::hand_over(self.base.shared());
        let (agent, cancel, role) = (Arc::clone(&parts.agent), parts.cancel.clone(), self.role);
        let (connected_tx, mut connected) = mpsc::channel(1);
        let (base, state) = (Arc::clone(self.base.shared()), Arc::clone(&parts.state));
        let AgentConfig {
            disconnected_timeout,
            failed_timeout,
            ..
        } = self.config;
        let Credentials { ufrag, pwd } = remote.credentials;
        parts.dialling = Some(self.runtime.spawn(async move {
            let (keep_dialling, cancelled) = mpsc::channel(1);
            let dial = async {
                let conn: Arc<dyn Conn + Send + Sync> = match role {
                    Role::Controlling => agent.dial(cancelled, ufrag, pwd).await.ok()?,
                    Role::Controlled => agent.accept(cancelled, ufrag, pwd).await.ok()?,
                };
                Some(conn)
            };
            let is_connected = tokio::select! {
                () = cancel.cancelled() => false,
                conn = dial => conn.is_some_and(|conn| {
                    // whoever waited may be gone: then the connection goes with the agent
                    let _ = connected_tx.try_send(conn);
                    true
                }),
            };
            drop((keep_dialling, connected_tx));
            if is_connected {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = watch_silence(&agent, &base, &state, disconnected_timeout, failed_timeout) => {}
                    () = spare_relay(&agent, &base) => {}
                }
            }
        }));
        for candidate in remote.candidates {
            self.add_remote(candidate);
        }
        let mut state = self.state.clone();
        let gave_up = state.wait_for(|state| has_ended(*state));
        tokio::select! {
            conn = connected.recv() => match conn {
                Some(conn) => {
                    let base = Arc::downgrade(self.base.shared());
                    Ok(IceConn { conn, state: self.state.clone(), base })
                }
                None => Err(ConnectError::Failed),
            },
            _ = gave_up => Err(ConnectError::Failed),
            () = tokio::time::sleep(deadline) => Err(ConnectError::TimedOut),
        }
    }

    /// The kinds of the pair in use: ours, then the peer's.
    #[must_use]
    pub fn selected_pair(&self) -> Option<(CandidateKind, CandidateKind)> {
        let pair = self.parts.as_ref()?.agent.get_selected_candidate_pair()?;
        Some((kind(&*pair.local), kind(&*pair.remote)))
    }

    /// Tears everything down and waits for it, at most for [`AgentConfig::close_timeout`]. The
    /// tear-down itself goes on to its end, waited for or not.
    pub async fn close(mut self) {
        if let Some(torn_down) = self.start_tear_down() {
            let _ = tokio::time::timeout(self.config.close_timeout, torn_down).await;
        }
    }

    fn start_tear_down(&mut self) -> Option<JoinHandle<()>> {
        let parts = self.parts.take()?;
        Some(self.runtime.spawn(tear_down(parts)))
    }
}

impl Drop for IceAgent {
    fn drop(&mut self) {
        // without a handle: the task is detached
        drop(self.start_tear_down());
    }
}

impl core::fmt::Debug for IceAgent {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IceAgent")
            .field("role", &self.role)
            .field("state", &*self.state.borrow())
            .finish()
    }
}

async fn make(base: Base, role: Role, config: AgentConfig) -> Result<IceAgent, AgentError> {
    let credentials = Credentials::random();
    if !base
        .shared()
        .serve(&credentials.pwd, config.max_remote_candidates)
    {
        return Err(AgentError::BaseTaken);
    }
    let mux = Mux::new(Arc::clone(base.shared()));
    // the library shall see the addresses of the base and no other
    let addresses: Vec<_> = base
        .shared()
        .sockets()
        .map(|socket| socket.local().ip().into())
        .collect();
    let families = addresses.len();
    let net = Arc::new(Net::Ifs(vec![Interface::new("base".to_owned(), addresses)]));
    let by_socket = Arc::clone(&mux);
    let library_config = webrtc_ice::agent::agent_config::AgentConfig {
        udp_network: UDPNetwork::Muxed(Arc::clone(&mux) as _),
        local_ufrag: credentials.ufrag.clone(),
        local_pwd: credentials.pwd.clone(),
        multicast_dns_mode: MulticastDnsMode::Disabled,
        network_types: vec![NetworkType::Udp4, NetworkType::Udp6],
        // one gathering of host candidates per socket: see `Mux`
        candidate_types: vec![CandidateType::Host; families],
        include_loopback: true,
        ip_filter: Arc::new(Some(Box::new(move |ip| by_socket.is_mine(ip)))),
        net: Some(Arc::clone(&net)),
        is_controlling: role == Role::Controlling,
        check_interval: config.check_interval,
        keepalive_interval: Some(config.keepalive_interval),
        // both together limit how long checks go on without a pair; without the second the library
        // never gives up a pair that worked, for it would by the wall clock: see
        // `watch_silence`
        disconnected_timeout: Some(
            config
                .disconnected_timeout
                .saturating_add(config.failed_timeout),
        ),
        failed_timeout: Some(Duration::ZERO),
        // the deadline of `connect` ends a dead pair, not a count: the peer may start much later
        // than we do
        max_binding_requests: Some(u16::MAX - 1),
        // whichever pair works first is taken
        host_acceptance_min_wait: Some(Duration::ZERO),
        srflx_acceptance_min_wait: Some(Duration::ZERO),
        prflx_acceptance_min_wait: Some(Duration::ZERO),
        relay_acceptance_min_wait: Some(Duration::ZERO),
        ..Default::default()
    };
    let agent = Arc::new(
        Agent::new(library_config)
            .await
            .map_err(|_| AgentError::Refused)?,
    );

    let state_tx = Arc::new(watch::Sender::new(IceState::New));
    let state = state_tx.subscribe();
    let state_from_agent = Arc::clone(&state_tx);
    // the agent's internals may outlive the handlers a little, and the base shall not
    let listening = Arc::downgrade(base.shared());
    agent.on_connection_state_change(Box::new(move |state| {
        // the end is told once the tear-down is over, and who is silent is judged elsewhere
        match (ice_state(state), listening.upgrade()) {
            (IceState::Closed, _) => drop(state_from_agent.send_replace(IceState::Closed)),
            (IceState::Disconnected, _) | (_, None) => {}
            (state, Some(base)) => becomes(&base, &state_from_agent, state),
        }
        Box::pin(core::future::ready(()))
    }));
    let (gathered_tx, mut gathered) = mpsc::channel(families + 1);
    agent.on_candidate(Box::new(move |candidate| {
        let _ = gathered_tx.try_send(candidate.is_some());
        Box::pin(core::future::ready(()))
    }));
    let listening = Arc::downgrade(base.shared());
    agent.on_selected_candidate_pair_change(Box::new(move |local, remote| {
        if let Some(base) = listening.upgrade() {
            base.emit(IceEvent::Pair(kind(&**local), kind(&**remote)));
        }
        Box::pin(core::future::ready(()))
    }));

    // from here on every way out, this task's end included, leads through the tear-down
    let owner = IceAgent {
        parts: Some(Parts {
            agent: Arc::clone(&agent),
            net,
            mux,
            cancel: CancellationToken::new(),
            dialling: None,
            state: state_tx,
        }),
        credentials,
        state,
        config,
        role,
        runtime: Handle::current(),
        base,
        remotes: AtomicUsize::new(0),
    };
    agent.gather_candidates().map_err(|_| AgentError::Refused)?;
    let mut taken = 0;
    while let Some(true) = gathered.recv().await {
        taken += 1;
    }
    if taken == families {
        Ok(owner)
    } else {
        Err(AgentError::NoCandidate)
    }
}

/// Tells of a peer that has become silent, or is back; returns once it has failed. Never, if that
/// takes no time at all.
///
/// The library judges this by the wall clock: a step forward would end a path that works, and after
/// a step back it would wait as much longer for a peer that is gone. So of its time stamps only
/// that they change is taken. It also takes any datagram for a sign of life, so what the peer
/// consents to is counted here.
async fn watch_silence(
    agent: &Agent,
    base: &Shared,
    state: &watch::Sender<IceState>,
    disconnected: Duration,
    failed: Duration,
) {
    let longest = disconnected.saturating_add(failed);
    if longest.is_zero() {
        return core::future::pending().await;
    }
    // what comes from elsewhere than the peer of the pair in use keeps no pair alive
    let stamp = || match agent.get_selected_candidate_pair() {
        Some(pair) => (
            Some(pair.remote.last_received()),
            base.consent(pair.local.addr(), pair.remote.addr()),
        ),
        None => (None, Consent::default()),
    };
    let mut silence = Silence::new(disconnected, failed, stamp(), liveness::now());
    let pause = (longest / LOOKS_FOR_LIFE).max(LEAST_PAUSE);
    loop {
        tokio::time::sleep(pause).await;
        base.beat(pause);
        match silence.look(stamp(), liveness::now()) {
            Some(IceState::Failed) => return becomes(base, state, IceState::Failed),
            Some(now) => becomes(base, state, now),
            None => {}
        }
    }
}

/// Ends a relay that the pair in use does not go by, once the peer has had time to see that: the
/// library keeps the first pair that it takes. Never returns.
async fn spare_relay(agent: &Agent, base: &Shared) {
    let local = agent
        .get_selected_candidate_pair()
        .map(|pair| kind(&*pair.local));
    if local.is_some_and(|local| local != CandidateKind::Relayed) {
        tokio::time::sleep(FREEING).await;
        base.end_relay();
    }
    core::future::pending().await
}

/// The connection has this state, and whoever listens hears of it if it had another. After its end
/// it has none.
fn becomes(base: &Shared, state: &watch::Sender<IceState>, now: IceState) {
    let is_news = state.send_if_modified(|state| {
        if has_ended(*state) {
            return false;
        }
        // nothing is sent to a peer whose consent has expired (RFC 7675 section 5.1), and the
        // library would go on: whoever sees the end finds the lines closed, and whoever
        // finds them closed sees the end
        if now == IceState::Failed {
            base.close_sockets();
        }
        core::mem::replace(state, now) != now
    });
    if is_news {
        base.emit(IceEvent::State(now));
    }
}

const fn has_ended(state: IceState) -> bool {
    matches!(state, IceState::Failed | IceState::Closed)
}

/// The order matters, each step for a leak that was seen without it.
async fn tear_down(parts: Parts) {
    let Parts {
        agent,
        net,
        mux,
        cancel,
        dialling,
        state,
    } = parts;
    // a pending dial never returns once the agent is closed
    cancel.cancel();
    if let Some(dialling) = dialling {
        let _ = dialling.await;
    }
    // fails only if closed before
    let _ = agent.close().await;
    mux.close_sockets();
    #[cfg(feature = "relay")]
    mux.release_relay().await;
    // a gathering task may add a candidate after the close: wait until the agent and we alone hold
    // the network
    let gone = async {
        while Arc::strong_count(&net) > 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = tokio::time::timeout(GATHERING_TASKS_TIMEOUT, gone).await;
    for candidate in agent.get_local_candidates().await.unwrap_or_default() {
        let _ = candidate.close().await;
    }
    // whatever the handlers hold goes now, even if somebody keeps the agent's internals alive a
    // little longer
    agent.on_connection_state_change(Box::new(|_| Box::pin(core::future::ready(()))));
    agent.on_candidate(Box::new(|_| Box::pin(core::future::ready(()))));
    agent.on_selected_candidate_pair_change(Box::new(|_, _| Box::pin(core::future::ready(()))));
    state.send_replace(IceState::Closed);
    mux.end_events();
}

/// A connected pair: datagrams both ways.
pub struct IceConn {
    conn: Arc<dyn Conn + Send + Sync>,
    state: watch::Receiver<IceState>,
    /// Counts what is dropped. The sockets are not this one's to keep.
    base: Weak<Shared>,
}

impl IceConn {
    /// Sends one datagram. What the network does not take is lost, as datagrams are.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, datagram: &[u8]) -> Result<(), SendError> {
        if Header::is_claimed(datagram) {
            return Err(SendError::LooksLikeStun);
        }
        match self.conn.send(datagram).await {
            // what left needs no look at the state: the lines of an agent that ended take nothing
            Ok(sent) if sent > 0 => Ok(()),
            _ if has_ended(*self.state.borrow()) => Err(SendError::Closed),
            sent => sent.map(drop).map_err(|_| SendError::Socket),
        }
    }

    /// Receives one datagram; `None` once the connection failed or was closed. One that is longer
    /// than `buffer` is dropped and counted as [`Dropped::overlong`](crate::Dropped::overlong).
    /// Cancel safe.
    pub async fn recv(&self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            match self.recv_next(buffer).await? {
                Ok(length) => return Some(length),
                Err(error) if is_overlong(&error) => {
                    if let Some(base) = self.base.upgrade() {
                        base.datagram_overlong();
                    }
                }
                Err(_) => return None,
            }
        }
    }

    /// The next datagram or error of the library, until the end.
    async fn recv_next(&self, buffer: &mut [u8]) -> Option<Result<usize, Error>> {
        let mut received = self.conn.recv(buffer);
        // under load a datagram waits already, and nobody need wait for the end
        if let Poll::Ready(received) = poll_fn(|cx| Poll::Ready(received.as_mut().poll(cx))).await {
            return Some(received).filter(|_| !has_ended(*self.state.borrow()));
        }
        let mut state = self.state.clone();
        tokio::select! {
            biased;
            _ = state.wait_for(|state| has_ended(*state)) => None,
            received = received => Some(received),
        }
    }

    /// The state of the connection, always the latest.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<IceState> {
        self.state.clone()
    }
}

/// The library hands the kind of its own errors on as a text only.
fn is_overlong(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.0.to_string() == Error::ErrBufferShort.to_string())
}

impl core::fmt::Debug for IceConn {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IceConn")
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}
