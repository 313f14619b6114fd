//! A relayed candidate by TURN (RFC 8656), opt-in, in a task of its own: whatever becomes of it,
//! the attempt goes on.
//!
//! The relay is one more socket of the base. The agent gets its reading end from the start, under a
//! placeholder address; the socket comes to life once the server has allocated an address, and is
//! silent until then. So neither making the agent nor connecting ever waits for a TURN server. The
//! TURN client of the library runs the protocol; `guard` keeps harmful messages from it, and the task
//! that owns it tears it down and frees the allocation, whether the agent is closed, the base
//! dropped, or the allocation still under way.

mod guard;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;
use webrtc_util::vnet::net::Net;

use self::guard::{ClosesGuard, Guard, GuardedSocket, Seen};
use crate::base::relayed::{Allocation, Datagram, Relayed, relayed_candidate};
use crate::base::{Base, Shared};
use crate::candidate::GatheredCandidate;
use crate::common::{ERROR_PAUSE, after};
use crate::error::RelayError;
use crate::socket::carrier::DatagramCarrier;
use crate::socket::names;
use crate::stun::{StunServer, UriError, read_turn};

/// Datagrams that wait for the agent or for the TURN client; beyond, they are lost as datagrams
/// are.
const QUEUE: usize = 64;
/// The server has an allocation for this client's address and port already (RFC 8656 section 19).
const ALLOCATION_MISMATCH: u16 = 437;
/// Sockets tried where that is so.
const ATTEMPTS: u32 = 3;
/// Longest datagram the agent reads.
const MTU: usize = 8192;
/// Longest wait for the server's answer that the allocation is freed, or for an allocation that is
/// not needed any longer.
const RELEASE: Duration = Duration::from_millis(500);
/// Longest wait for the client: a task of its own may hold it until its timer looks up, every 1.6
/// s.
const CLOSE: Duration = Duration::from_secs(4);

/// A TURN server and the credentials it asks for (RFC 8489 section 9.2, long-term).
#[derive(Clone, PartialEq, Eq)]
pub struct TurnServer {
    place: StunServer,
    username: String,
    password: String,
}

impl TurnServer {
    /// Reads a `turn:` URI (RFC 7065): `turn:host`, `turn:host:port`, each with `?transport=udp` or
    /// without.
    ///
    /// # Errors
    /// [`UriError`]; `turns:` and other transports than UDP are not supported.
    ///
    /// ```
    /// use ice_gather::{TurnServer, UriError};
    ///
    /// assert!(TurnServer::new("turn:198.51.100.1:3478?transport=udp", "user", "secret").is_ok());
    /// assert_eq!(TurnServer::new("turn:198.51.100.1?transport=tcp", "", ""), Err(UriError::Transport));
    /// assert_eq!(TurnServer::new("turns:198.51.100.1", "", ""), Err(UriError::Scheme));
    /// ```
    pub fn new(uri: &str, username: &str, password: &str) -> Result<Self, UriError> {
        let place = read_turn(uri)?;
        Ok(Self {
            place,
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }

    /// The first of its addresses that one of these can reach.
    async fn resolve(&self, from: &[IpAddr]) -> Result<(SocketAddr, IpAddr), RelayError> {
        let addresses: Vec<SocketAddr> = match &self.place {
            StunServer::Address(address) => vec![*address],
            StunServer::Name(host, port) => names::lookup(host, *port).await,
        };
        if addresses.is_empty() {
            return Err(RelayError::Unresolved);
        }
        let reach = |server: SocketAddr| {
            from.iter()
                .find(|ip| ip.is_ipv4() == server.is_ipv4())
                .map(|ip| (server, *ip))
        };
        addresses
            .into_iter()
            .find_map(reach)
            .ok_or(RelayError::Unreachable)
    }
}

impl core::fmt::Debug for TurnServer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TurnServer")
    }
}

/// How a relay is asked for and used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RelayConfig {
    /// Longest wait for the allocation, its name looked up included.
    pub deadline: Duration,
    /// Direct pairs are checked this long before the relay sends its first check: the agent keeps
    /// whichever pair works first, and a relay that answers quickly would take a connection
    /// that needs none.
    pub head_start: Duration,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(3),
            head_start: Duration::from_millis(500),
        }
    }
}

impl RelayConfig {
    /// Sets [`deadline`](Self::deadline).
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets [`head_start`](Self::head_start).
    #[must_use]
    pub const fn with_head_start(mut self, head_start: Duration) -> Self {
        self.head_start = head_start;
        self
    }
}

/// The outcome of a relay. The relay itself belongs to the base: dropping this changes nothing.
#[derive(Debug, Clone)]
pub struct Relay {
    outcome: watch::Receiver<Allocation>,
}

impl Relay {
    /// Waits for the relayed candidate, at most for [`RelayConfig::deadline`]. Cancel safe.
    ///
    /// # Errors
    /// [`RelayError`]: there is none, or no longer.
    pub async fn allocated(&mut self) -> Result<GatheredCandidate, RelayError> {
        match self.outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(address))) => Ok(relayed_candidate(*address)),
            Ok(Some(Err(error))) => Err(*error),
            // the task ended without an outcome: the library panicked in it
            Ok(None) | Err(_) => Err(RelayError::Closed),
        }
    }
}

impl Base {
    /// Asks a TURN server for a relayed candidate and returns at once; the candidate is reported like
    /// the others ([`Progress`](crate::Progress), [`IceEvent`](crate::IceEvent)), or by
    /// [`Relay::allocated`].
    ///
    /// It has a socket of its own beside the base's, and ends with the agent, connected, failed or
    /// closed, or with the base: the allocation is freed then. A connected pair keeps it if it
    /// goes through it; otherwise it ends three seconds later, because the agent takes no other pair
    /// (RFC 8445 section 8.3.1). The verdict on the NAT never depends on it.
    ///
    /// # Errors
    /// [`RelayError::Late`] if the base has a relay or an agent already, [`RelayError::NoSocket`]
    /// if it is no UDP socket of this host.
    pub fn add_relay(&self, server: TurnServer, config: RelayConfig) -> Result<Relay, RelayError> {
        let shared = self.shared();
        let from = shared.bound_ips();
        if from.is_empty() {
            return Err(RelayError::NoSocket);
        }
        let Some(runtime) = shared.runtime() else {
            return Err(RelayError::NoSocket);
        };
        let (outcome, view) = watch::channel(None);
        let (to_agent, from_relay) = mpsc::channel(QUEUE);
        let (to_relay, from_agent) = mpsc::channel(QUEUE);
        let cancel = CancellationToken::new();
        let relayed = Relayed::new(
            from_relay,
            to_relay,
            config.head_start,
            view.clone(),
            cancel.clone(),
        );
        let base = Arc::downgrade(shared);
        let kept = shared.keep_relay(relayed).ok_or(RelayError::Late)?;
        let task = Task {
            server,
            deadline: config.deadline,
            from,
            outcome,
            to_agent,
            from_agent,
            cancel,
            base,
        };
        kept.keep_task(runtime.spawn(task.run()));
        Ok(Relay { outcome: view })
    }
}

/// Owns the client: allocates, moves datagrams, tears down.
struct Task {
    server: TurnServer,
    deadline: Duration,
    from: Vec<IpAddr>,
    outcome: watch::Sender<Allocation>,
    to_agent: mpsc::Sender<Datagram>,
    from_agent: mpsc::Receiver<Datagram>,
    cancel: CancellationToken,
    base: Weak<Shared>,
}

impl Task {
    async fn run(mut self) {
        let ends = after(tokio::time::Instant::now().into_std(), self.deadline).into();
        let mut end = self.attempt(ends).await;
        for _ in 1..ATTEMPTS {
            // the port is one that the server still has an allocation for (RFC 8656 section 7.4):
            // another will do
            if end != RelayError::Refused(ALLOCATION_MISMATCH) {
                break;
            }
            end = self.attempt(ends).await;
        }
        self.outcome.send_replace(Some(Err(end)));
    }

    /// From a socket of its own to the end of it; why it ended.
    async fn attempt(&mut self, ends: tokio::time::Instant) -> RelayError {
        let connected = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(RelayError::Closed),
            () = tokio::time::sleep_until(ends) => Err(RelayError::TimedOut),
            connected = connect(&self.server, &self.from, &self.base) => connected,
        };
        let (guard, client) = match connected {
            Ok(connected) => connected,
            Err(error) => return error,
        };
        // closed on every way out, a panic of the library included
        let _closes = ClosesGuard(Arc::clone(&guard));
        let mut seen = guard.0.seen();
        let end = match allocate(&client, &mut seen, &self.cancel, ends).await {
            Ok((relay, address)) => {
                self.serve(&*relay, address).await;
                free(&*relay, &mut seen).await;
                RelayError::Closed
            }
            Err(error) => error,
        };
        guard.0.close();
        let _ = tokio::time::timeout(CLOSE, client.close()).await;
        end
    }

    /// Moves datagrams until the relay is cancelled or an end of it is gone.
    async fn serve(&mut self, relay: &(dyn Conn + Send + Sync), address: SocketAddr) {
        self.outcome.send_replace(Some(Ok(address)));
        if let Some(base) = self.base.upgrade() {
            base.relay_allocated();
        }
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => {}
            () = hand_in(relay, &self.to_agent) => {}
            () = hand_out(relay, &mut self.from_agent) => {}
        }
    }
}

/// A socket of its own toward the server, and the library's client on it.
async fn connect(
    server: &TurnServer,
    from: &[IpAddr],
    base: &Weak<Shared>,
) -> Result<(GuardedSocket, Client), RelayError> {
    let (address, ip) = server.resolve(from).await?;
    let socket = UdpSocket::bind((ip, 0))
        .await
        .map_err(|_| RelayError::NoSocket)?;
    // the kernel drops datagrams from elsewhere, and reports an error if no socket listens there
    socket
        .connect(address)
        .await
        .map_err(|_| RelayError::Unreachable)?;
    let guard = Guard::new(socket, address, Weak::clone(base)).shared();
    let config = ClientConfig {
        stun_serv_addr: String::new(),
        turn_serv_addr: address.to_string(),
        username: server.username.clone(),
        password: server.password.clone(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::clone(&guard) as _,
        vnet: Some(Arc::new(Net::Ifs(Vec::new()))),
    };
    let client = Client::new(config)
        .await
        .map_err(|_| RelayError::Unusable)?;
    client.listen().await.map_err(|_| RelayError::Unusable)?;
    Ok((guard, client))
}

/// Two exchanges with the server: the first asks which credentials it wants.
async fn allocate(
    client: &Client,
    seen: &mut watch::Receiver<Seen>,
    cancel: &CancellationToken,
    ends: tokio::time::Instant,
) -> Result<(Arc<dyn Conn + Send + Sync>, SocketAddr), RelayError> {
    let mut refusals = seen.clone();
    let allocating = async {
        let relay = client.allocate().await.map_err(|_| RelayError::Unusable)?;
        let relay: Arc<dyn Conn + Send + Sync> = Arc::new(relay);
        let address = relay.local_addr().map_err(|_| RelayError::Unusable)?;
        Ok((relay, address))
    };
    tokio::pin!(allocating);
    let error = tokio::select! {
        biased;
        () = cancel.cancelled() => RelayError::Closed,
        refused = refusals.wait_for(|seen| seen.refused.is_some()) => {
            let refused = refused.ok().and_then(|seen| seen.refused);
            return Err(refused.unwrap_or(RelayError::Unusable));
        }
        allocated = &mut allocating => return allocated,
        () = tokio::time::sleep_until(ends) => return Err(RelayError::TimedOut),
    };
    // it is cancelled, but the server may be about to allocate: then the allocation has to be freed
    if let Ok(Ok((relay, _))) = tokio::time::timeout(RELEASE, allocating).await {
        free(&*relay, seen).await;
    }
    Err(error)
}

/// Gives the allocation back: otherwise the server keeps it for ten minutes.
async fn free(relay: &(dyn Conn + Send + Sync), seen: &mut watch::Receiver<Seen>) {
    let before = seen.borrow_and_update().refreshes;
    let freed = async {
        let _ = relay.close().await;
        let _ = seen.wait_for(|seen| seen.refreshes > before).await;
    };
    let _ = tokio::time::timeout(RELEASE, freed).await;
}

async fn hand_in(relay: &(dyn Conn + Send + Sync), to_agent: &mpsc::Sender<Datagram>) {
    let mut buffer = vec![0; MTU];
    loop {
        match relay.recv_from(&mut buffer).await {
            Ok((length, source)) => {
                let _ = to_agent.try_send((buffer[..length].to_vec(), source));
            }
            // longer than the agent reads
            Err(_) => tokio::time::sleep(ERROR_PAUSE).await,
        }
    }
}

async fn hand_out(relay: &(dyn Conn + Send + Sync), from_agent: &mut mpsc::Receiver<Datagram>) {
    while let Some((datagram, target)) = from_agent.recv().await {
        // the peer may not be permitted: its pair fails by itself
        let _ = relay.send_to(&datagram, target).await;
    }
}
