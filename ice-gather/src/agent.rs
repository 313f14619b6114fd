//! The owner of the ICE agent, and the rules that keep it from leaking.
//!
//! The library's agent keeps tasks, sockets and itself alive unless it is closed to the end, with
//! nothing in flight. So it is made, dialled and torn down in tasks of its own that are never
//! aborted; callers only bound their *wait*. Dropping an [`IceAgent`] at any point starts the same
//! tear-down.

mod conn;
mod library;
mod liveness;
mod mux;
mod remote;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use nat_summary::CandidateKind;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use webrtc_ice::agent::Agent;
use webrtc_util::Conn;
use webrtc_util::vnet::net::Net;

pub use self::conn::IceConn;
use self::library::{ice_state, kind};
use self::liveness::{Liveness, Signs};
pub(crate) use self::mux::Mux;
pub use self::remote::{Credentials, RemoteCandidate, RemoteDescription};
pub(crate) use self::remote::{Remotes, Taken};
use crate::base::{Base, Shared, agent_ends};
use crate::checks::Consent;
use crate::common::lock;
use crate::config::AgentConfig;
use crate::error::{AgentError, ConnectError};
use crate::event::{IceEvent, IceState};
use crate::stun::write_goodbye;

/// Events kept for a listener that is busy.
const EVENTS: usize = 64;
/// Longest wait for the library's gathering tasks during tear-down; they end within milliseconds.
const GATHERING_TASKS_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a socket to take the goodbye; a socket of the system takes it at once.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(100);
/// Updates of a peer's liveness within the time after which its silence is a failure.
const UPDATES: u32 = 30;
/// Shortest time between two of them.
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
    /// The peer's candidates taken so far.
    remotes: Mutex<Remotes>,
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
        // in a task of its own, because the caller may be cancelled and a half-made agent would leak
        let made = tokio::spawn(make(base.clone(), role, config));
        made.await.map_err(|_| AgentError::Shutdown)?
    }

    /// The credentials to signal to the peer, beside the candidates.
    #[must_use]
    pub const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The state of the connection, always the latest.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<IceState> {
        self.state.clone()
    }

    /// The events from now on, through a bounded channel that need not be read: events beyond 64
    /// unread ones are lost, but [`state`](Self::state) is always the latest. The channel ends with
    /// the agent, or with the next call.
    pub fn events(&self) -> mpsc::Receiver<IceEvent> {
        let (events, receiver) = mpsc::channel(EVENTS);
        if self.parts.is_some() {
            self.base.shared().listen(events);
        }
        receiver
    }

    /// One more candidate of the peer, before or after [`connect`](Self::connect); whether it was
    /// taken, now or as another at the same address. A candidate that no check can be sent to is
    /// not, nor any beyond [`AgentConfig::max_remote_candidates`], nor a seventeenth at one IPv4
    /// address or in one IPv6 network of 64 bits.
    pub fn add_remote(&self, candidate: RemoteCandidate) -> bool {
        let Some(parts) = &self.parts else {
            return false;
        };
        let Some(remote) = candidate.to_library() else {
            return false;
        };
        let taken = lock(&self.remotes).take(candidate.address);
        match taken {
            // a peer on an open host signals its one address as two kinds: one check reaches both
            Taken::Known => return true,
            Taken::TooMany => {
                self.base.shared().remote_dropped();
                return false;
            }
            Taken::New => {}
        }
        self.base.shared().expect_peer(candidate.address);
        // fails for TCP candidates only
        parts.agent.add_remote_candidate(&remote).is_ok()
    }

    /// Checks every pair until one works, at most for `deadline`. Candidates are taken as by
    /// [`add_remote`](Self::add_remote), and the others ignored.
    ///
    /// All checks together keep the pace of RFC 8445 section 14.2, one each 50 ms after the first ten,
    /// and an address that has not answered gets no more than 30 packets.
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
        agent_ends::hand_over(self.base.shared());
        let (connected, mut connection) = mpsc::channel(1);
        let dialling = Dialling {
            agent: Arc::clone(&parts.agent),
            base: Arc::clone(self.base.shared()),
            state: Arc::clone(&parts.state),
            cancel: parts.cancel.clone(),
            role: self.role,
            disconnected_timeout: self.config.disconnected_timeout,
            failed_timeout: self.config.failed_timeout,
        };
        let dialled = dialling.run(remote.credentials, connected);
        parts.dialling = Some(self.runtime.spawn(dialled));
        for candidate in remote.candidates {
            self.add_remote(candidate);
        }
        let mut state = self.state.clone();
        let gave_up = state.wait_for(|state| state.has_ended());
        tokio::select! {
            conn = connection.recv() => conn
                .map(|conn| IceConn::new(conn, self.state.clone(), self.base.shared()))
                .ok_or(ConnectError::Failed),
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
    let shared = Arc::clone(base.shared());
    let credentials = Credentials::random();
    if !shared.serve(&credentials.pwd, &config) {
        return Err(AgentError::BaseTaken);
    }
    shared.bound_unread();
    let mux = Mux::new(Arc::clone(&shared));
    let net = library::network(&shared);
    let sockets = shared.sockets().count();
    let is_controlling = role == Role::Controlling;
    let library_config = library::config(
        &mux,
        Arc::clone(&net),
        sockets,
        &credentials,
        is_controlling,
        config,
    );
    let agent = Agent::new(library_config).await;
    let agent = Arc::new(agent.map_err(|_| AgentError::Refused)?);
    let state = Arc::new(watch::Sender::new(IceState::New));
    report_changes(&agent, &shared, &state);

    // from here on every way out, this task's end included, leads through the tear-down
    let owner = IceAgent {
        state: state.subscribe(),
        parts: Some(Parts {
            agent: Arc::clone(&agent),
            net,
            mux,
            cancel: CancellationToken::new(),
            dialling: None,
            state,
        }),
        credentials,
        config,
        role,
        runtime: Handle::current(),
        base,
        remotes: Mutex::new(Remotes::new(config.max_remote_candidates)),
    };
    library::take_sockets(&agent, sockets).await?;
    Ok(owner)
}

/// Reports the library's changes of state and of the pair in use. The handlers hold the base weakly,
/// because the agent's internals may outlive it a little.
fn report_changes(agent: &Agent, base: &Arc<Shared>, state: &Arc<watch::Sender<IceState>>) {
    let (reported, weak) = (Arc::clone(state), Arc::downgrade(base));
    agent.on_connection_state_change(Box::new(move |state| {
        match (ice_state(state), weak.upgrade()) {
            // its event comes at the end of the tear-down
            (IceState::Closed, _) => drop(reported.send_replace(IceState::Closed)),
            // `watch_liveness` judges this
            (IceState::Disconnected, _) | (_, None) => {}
            (state, Some(base)) => set_state(&base, &reported, state),
        }
        Box::pin(core::future::ready(()))
    }));
    let weak = Arc::downgrade(base);
    agent.on_selected_candidate_pair_change(Box::new(move |local, remote| {
        if let Some(base) = weak.upgrade() {
            base.emit(IceEvent::Pair(kind(&**local), kind(&**remote)));
        }
        Box::pin(core::future::ready(()))
    }));
}

/// The part of an agent that its dialling task holds.
struct Dialling {
    agent: Arc<Agent>,
    base: Arc<Shared>,
    state: Arc<watch::Sender<IceState>>,
    cancel: CancellationToken,
    role: Role,
    disconnected_timeout: Duration,
    failed_timeout: Duration,
}

impl Dialling {
    /// Checks every pair until one works, hands the connection to `connected`, and then watches the
    /// pair in use. Ends when it is cancelled, when no pair can work any more, or when the
    /// connection has failed.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` holds each argument twice, here while connected"
    )]
    fn run(
        self,
        remote: Credentials,
        connected: mpsc::Sender<Arc<dyn Conn + Send + Sync>>,
    ) -> impl Future<Output = ()> + Send {
        async move {
            let (keep_dialling, cancelled) = mpsc::channel(1);
            let is_connected = tokio::select! {
                () = self.cancel.cancelled() => false,
                conn = self.dial(cancelled, remote) => conn.is_some_and(|conn| {
                    // the caller may have stopped waiting: then the connection goes with the agent
                    let _ = connected.try_send(conn);
                    true
                }),
            };
            drop((keep_dialling, connected));
            if is_connected {
                tokio::select! {
                    () = self.cancel.cancelled() => {}
                    () = self.watch_liveness() => {}
                    () = self.base.peer_left() => {
                        set_state(&self.base, &self.state, IceState::Failed);
                    }
                    () = self.free_unused_relay() => {}
                }
            }
        }
    }

    async fn dial(
        &self,
        cancelled: mpsc::Receiver<()>,
        remote: Credentials,
    ) -> Option<Arc<dyn Conn + Send + Sync>> {
        let Credentials { ufrag, pwd } = remote;
        Some(match self.role {
            Role::Controlling => self.agent.dial(cancelled, ufrag, pwd).await.ok()?,
            Role::Controlled => self.agent.accept(cancelled, ufrag, pwd).await.ok()?,
        })
    }

    /// Sets the state of a connected peer that falls silent or is back; returns once it has failed.
    /// Never, if the two time-outs are zero.
    ///
    /// The library judges this by the wall clock: a step forward would end a path that works, and
    /// after a step back it would wait as much longer for a peer that is gone. So only the change of
    /// its time stamps is taken. The library also takes any datagram for a sign of life, so the
    /// peer's consent is counted here.
    async fn watch_liveness(&self) {
        let (disconnected, failed) = (self.disconnected_timeout, self.failed_timeout);
        let longest = disconnected.saturating_add(failed);
        if longest.is_zero() {
            return core::future::pending().await;
        }
        let mut liveness = Liveness::new(disconnected, failed, self.signs(), liveness::now());
        let pause = (longest / UPDATES).max(LEAST_PAUSE);
        loop {
            tokio::time::sleep(pause).await;
            self.base.heartbeat(pause);
            let Some(new) = liveness.update(self.signs(), liveness::now()) else {
                continue;
            };
            set_state(&self.base, &self.state, new);
            if new == IceState::Failed {
                return;
            }
        }
    }

    /// The signs of life on the pair in use. A datagram from elsewhere than its peer keeps no pair
    /// alive.
    fn signs(&self) -> Signs<Option<SystemTime>> {
        match self.agent.get_selected_candidate_pair() {
            Some(pair) => Signs {
                received: Some(pair.remote.last_received()),
                consent: self.base.consent(pair.local.addr(), pair.remote.addr()),
            },
            None => Signs {
                received: None,
                consent: Consent::default(),
            },
        }
    }

    /// Ends a relay that the pair in use does not need, once the peer has had time to see that: the
    /// library keeps the first pair that it takes. Never returns.
    async fn free_unused_relay(&self) {
        let pair = self.agent.get_selected_candidate_pair();
        if pair.is_some_and(|pair| kind(&*pair.local) != CandidateKind::Relayed) {
            tokio::time::sleep(FREEING).await;
            self.base.end_relay();
        }
        core::future::pending().await
    }
}

/// Sets the state of the connection, and emits an event if it is another. Once the connection has
/// ended, its state stays.
fn set_state(base: &Shared, state: &watch::Sender<IceState>, new: IceState) {
    let is_new = state.send_if_modified(|state| {
        if state.has_ended() {
            return false;
        }
        // Nothing is sent to a peer whose consent has expired (RFC 7675 section 5.1), and the
        // library would go on. The sockets close under the lock of the state, so that a reader that
        // sees the end finds them closed, and a reader that finds them closed sees the end.
        if new == IceState::Failed {
            base.close_sockets();
        }
        core::mem::replace(state, new) != new
    });
    if is_new {
        base.emit(IceEvent::State(new));
    }
}

/// Sends the peer of the pair in use a goodbye, so that it need not wait until our consent expires.
async fn say_goodbye(agent: &Agent) {
    let Some(pair) = agent.get_selected_candidate_pair() else {
        return;
    };
    let (_, password) = agent.get_remote_user_credentials().await;
    if let Some(goodbye) = write_goodbye(rand::random(), &password) {
        // the network may lose it, and then consent expires
        let _ = pair.local.write_to(&goodbye, &*pair.remote).await;
    }
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
    // an ended connection has closed its sockets
    if !state.borrow().has_ended() {
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, say_goodbye(&agent)).await;
    }
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
    // the handlers drop their contents now, because the agent's internals may live a little longer
    agent.on_connection_state_change(Box::new(|_| Box::pin(core::future::ready(()))));
    agent.on_candidate(Box::new(|_| Box::pin(core::future::ready(()))));
    agent.on_selected_candidate_pair_change(Box::new(|_, _| Box::pin(core::future::ready(()))));
    state.send_replace(IceState::Closed);
    mux.end_events();
}
