//! A `webrtc` peer connection on a base: its settings, its candidates, its end, in one type.
//!
//! The library of a peer connection gathers no reflexive candidate on a socket that it is given. So
//! the base asks the servers, and [`PeerConnection`] hands out the candidates to signal and the
//! evidence of the attempt. The ICE credentials of both descriptions are known here, and so the base
//! verifies each connectivity check before the library sees it: the checks are evidence, and
//! strangers take no memory.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use ice_gather::{Base, BindConfig, GatherConfig, StunServer};
//! use ice_gather::peer_connection::PeerConnection;
//! use webrtc::api::{APIBuilder, setting_engine::SettingEngine};
//! use webrtc::peer_connection::configuration::RTCConfiguration;
//! # use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;
//!
//! # async fn exchange(_: RTCSessionDescription) -> RTCSessionDescription { unimplemented!() }
//! # async fn attempt(servers: &[StunServer]) -> Result<(), Box<dyn std::error::Error>> {
//! let base = Base::bind(BindConfig::default()).await?;
//! let (settings, api) = (SettingEngine::default(), APIBuilder::new());
//! let connection = PeerConnection::new(base, settings, api, RTCConfiguration::default()).await?;
//! let channel = connection.library().create_data_channel("data", None).await?;
//!
//! connection.gather(servers, &GatherConfig::default()).await;
//! let offer = connection.library().create_offer(None).await?;
//! let offer = connection.set_local_description(offer).await?; // with every candidate
//! connection.set_remote_description(exchange(offer).await).await?;
//! let path = connection.opened(Duration::from_secs(5)).await;
//! // use the channel; then, or at once if there is no path:
//! let evidence = connection.close().await; // for `otel_nat::Attempt::end`
//! # let _ = (channel, path, evidence);
//! # Ok(())
//! # }
//! ```

mod alias;
mod description;
mod ends;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nat_summary::stage::{Above, DtlsRole, Stage, StageReport};
use nat_summary::{AttemptEvidence, CandidateKind, Evidence, PathEnd};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use webrtc::api::APIBuilder;
use webrtc::api::setting_engine::SettingEngine;
use webrtc::dtls_transport::dtls_transport_state::RTCDtlsTransportState;
use webrtc::ice::mdns::MulticastDnsMode;
use webrtc::ice::udp_network::UDPNetwork;
use webrtc::ice_transport::ice_candidate::RTCIceCandidateInit;
use webrtc::ice_transport::ice_candidate_type::RTCIceCandidateType;
use webrtc::ice_transport::ice_connection_state::RTCIceConnectionState;
use webrtc::peer_connection::RTCPeerConnection;
use webrtc::peer_connection::configuration::RTCConfiguration;
use webrtc::peer_connection::peer_connection_state::RTCPeerConnectionState;
use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;
use webrtc::util::vnet::interface::Interface;
use webrtc::util::vnet::net::Net;

use self::description::{CANDIDATE, password_in, read_candidate, read_remote, with_candidates};
use self::ends::{Ends, OneConn};
use crate::agent::{Credentials, Remotes, Taken};
use crate::base::{Base, Gathering, agent_ends};
use crate::candidate::GatheredCandidate;
use crate::checks::PeerView;
use crate::common::lock;
use crate::config::{AgentConfig, GatherConfig};
use crate::error::PeerConnectionError;
use crate::stun::StunServer;

/// Most candidates of the peer that are signalled, and most addresses that it may be learnt at
/// besides.
const MAX_REMOTE_CANDIDATES: usize = 32;
/// Longest description read.
const MAX_SDP: usize = 65_536;
/// Most that is kept of what the peer signalled: a description, and as much that came later.
const MAX_SIGNALLED: usize = 2 * MAX_SDP;
/// Longest wait for a tear-down. The tear-down itself goes on.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two rounds of the library's checks, where its settings leave it alone.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The bounds of the agent inside a peer connection.
fn bounds() -> AgentConfig {
    AgentConfig::default()
        .with_check_interval(CHECK_INTERVAL)
        .with_max_remote_candidates(MAX_REMOTE_CANDIDATES)
}

/// A `webrtc` peer connection on a [`Base`]. Close it, or just drop it.
///
/// Descriptions and candidates of the peer go through the methods of this type; everything else is
/// [`library`](Self::library)'s.
pub struct PeerConnection {
    base: Base,
    ends: Arc<Ends>,
    library: Arc<RTCPeerConnection>,
    gathering: Mutex<Option<Gathering>>,
    remote: Mutex<Remote>,
    /// Our description; kept, because the library waits for ever for its own once its agent has ended.
    local: Mutex<String>,
    state: watch::Receiver<RTCPeerConnectionState>,
    /// Whether the path was up at some time.
    has_opened: Arc<AtomicBool>,
    runtime: Handle,
}

/// What the peer signalled so far, in one ICE session.
#[derive(Clone)]
struct Remote {
    is_described: bool,
    password: Option<String>,
    taken: Remotes,
    /// The description, and the candidates that came besides. The judge counts a repeat once.
    signalled: String,
}

impl Remote {
    const fn new() -> Self {
        Self {
            is_described: false,
            password: None,
            taken: Remotes::new(MAX_REMOTE_CANDIDATES),
            signalled: String::new(),
        }
    }

    /// The place for a description with this password: another password begins another ICE session
    /// (RFC 8839 section 4.4.3), and ends what was signalled in the one before.
    fn of_session(&self, password: Option<&str>) -> Self {
        if self.is_described && self.password.as_deref() != password {
            Self::new()
        } else {
            self.clone()
        }
    }

    fn describe(&mut self, sdp: &str, password: Option<String>) {
        let before = core::mem::take(&mut self.signalled);
        sdp.clone_into(&mut self.signalled);
        for line in before.lines().filter(|line| line.starts_with(CANDIDATE)) {
            self.add_line(line);
        }
        (self.is_described, self.password) = (true, password);
    }

    /// One more candidate line; a repeat adds nothing.
    fn add_line(&mut self, line: &str) {
        let is_known = self.signalled.lines().any(|known| known == line);
        let has_room = self.signalled.len() + line.len() < MAX_SIGNALLED;
        if !is_known && has_room {
            if !self.signalled.is_empty() && !self.signalled.ends_with('\n') {
                self.signalled.push('\n');
            }
            self.signalled.push_str(line);
            self.signalled.push('\n');
        }
    }

    fn evidence(&self) -> Option<Box<Evidence>> {
        let is_anything = !self.signalled.is_empty();
        is_anything.then(|| Box::new(Evidence::from_description(&self.signalled)))
    }
}

/// Everything known of a connection: what its span is made of.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionEvidence {
    /// The observations of the servers, late answers included.
    pub evidence: Box<Evidence>,
    /// What the peer's checks showed.
    pub peer: PeerView,
    /// The candidates that the peer signalled.
    pub peer_candidates: Option<Box<Evidence>>,
    /// The kinds of the pair in use: ours, then the peer's.
    pub selected_pair: Option<(CandidateKind, CandidateKind)>,
    /// How far the path came.
    pub path: PathEnd,
    /// The stage that was reached, and what stopped the attempt: see [`PeerConnection::stage`].
    pub stage: StageReport,
}

impl ConnectionEvidence {
    /// As the judge and the telemetry take it.
    #[must_use]
    pub fn as_attempt(&self) -> AttemptEvidence<'_> {
        let mut evidence = AttemptEvidence::new(&self.evidence)
            .with_peer_checks(self.peer.as_checks())
            .with_path(self.path)
            .with_stage(self.stage);
        if let Some(candidates) = &self.peer_candidates {
            evidence = evidence.with_peer_candidates(candidates);
        }
        if let Some((ours, theirs)) = self.selected_pair {
            evidence = evidence.with_selected_pair(ours, theirs);
        }
        evidence
    }
}

impl PeerConnection {
    /// Makes a peer connection whose only sockets are those of the base. Of the settings, those of
    /// the network are set here: sockets, addresses, ICE credentials and multicast DNS. A setting
    /// engine of the builder's own is replaced.
    ///
    /// # Errors
    /// [`PeerConnectionError::BaseTaken`] if the base serves an agent already,
    /// [`PeerConnectionError::Refused`] if the library refuses the configuration.
    pub async fn new(
        base: Base,
        mut settings: SettingEngine,
        api: APIBuilder,
        configuration: RTCConfiguration,
    ) -> Result<Self, PeerConnectionError> {
        let shared = base.shared();
        let Credentials { ufrag, pwd } = Credentials::random();
        if !shared.serve(&pwd, &bounds()) {
            return Err(PeerConnectionError::BaseTaken);
        }
        shared.follow_paths();
        let ends = Ends::new(Arc::clone(shared), pwd.clone());
        let first = base.local_addrs().next().map(|local| local.ip().into());
        let interface = Interface::new("base".to_owned(), first.into_iter().collect());
        settings.set_vnet(Some(Arc::new(Net::Ifs(vec![interface]))));
        settings.set_udp_network(UDPNetwork::Muxed(Arc::new(OneConn(Arc::clone(&ends)))));
        settings.set_ip_filter(Box::new(|_| true));
        settings.set_interface_filter(Box::new(|_| true));
        settings.set_include_loopback_candidate(true);
        settings.set_ice_multicast_dns_mode(MulticastDnsMode::Disabled);
        settings.set_ice_credentials(ufrag, pwd);
        let api = api.with_setting_engine(settings).build();
        let library = api.new_peer_connection(configuration).await;
        let library = Arc::new(library.map_err(|_| PeerConnectionError::Refused)?);

        let (changed, state) = watch::channel(RTCPeerConnectionState::New);
        let has_opened = Arc::new(AtomicBool::new(false));
        let opened = Arc::clone(&has_opened);
        library.on_peer_connection_state_change(Box::new(move |state| {
            if state == RTCPeerConnectionState::Connected {
                opened.store(true, Ordering::Release);
            }
            changed.send_replace(state);
            Box::pin(core::future::ready(()))
        }));
        Ok(Self {
            base,
            ends,
            library,
            gathering: Mutex::default(),
            remote: Mutex::new(Remote::new()),
            local: Mutex::default(),
            state,
            has_opened,
            runtime: Handle::current(),
        })
    }

    /// The library's peer connection: channels, tracks, offers, answers. The handler of its changes
    /// of state is taken: see [`state`](Self::state).
    #[must_use]
    pub fn library(&self) -> &RTCPeerConnection {
        &self.library
    }

    /// The sockets, and everything observed on them.
    #[must_use]
    pub const fn base(&self) -> &Base {
        &self.base
    }

    /// The state of the connection, always the latest.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<RTCPeerConnectionState> {
        self.state.clone()
    }

    /// Asks the servers, as [`Base::gather`] does, and keeps the candidates to signal.
    pub async fn gather(&self, servers: &[StunServer], config: &GatherConfig) -> Gathering {
        let gathering = self.base.gather(servers, config).await;
        *lock(&self.gathering) = Some(gathering.clone());
        gathering
    }

    /// The candidates to signal, by the last gathering: see [`Gathering::to_signal`]. Without a
    /// gathering, those of the host.
    #[must_use]
    pub fn candidates(&self) -> Vec<GatheredCandidate> {
        match &*lock(&self.gathering) {
            Some(gathering) => gathering.to_signal(),
            None => self.base.shared().known_candidates(),
        }
    }

    /// Sets our offer or answer, and returns it as it has to be signalled: with the candidates of the
    /// base. Gather before, or signal [`candidates`](Self::candidates) later as well.
    ///
    /// # Errors
    /// [`PeerConnectionError::Refused`] if the library refuses the description.
    pub async fn set_local_description(
        &self,
        description: RTCSessionDescription,
    ) -> Result<RTCSessionDescription, PeerConnectionError> {
        let refused = |_| PeerConnectionError::Refused;
        let mut description = {
            let set = self.library.set_local_description(description);
            set.await.map_err(refused)?;
            let local = self.library.local_description().await;
            local.ok_or(PeerConnectionError::Refused)?
        };
        description.sdp = with_candidates(&description.sdp, &self.candidates());
        lock(&self.local).clone_from(&description.sdp);
        Ok(description)
    }

    /// Sets the peer's offer or answer. Candidates that no check can be sent to are left out, among
    /// them names of multicast DNS, and those beyond 32: such a peer is learnt from its own checks.
    /// A later description of the same ICE session adds to the candidates that were signalled before.
    ///
    /// # Errors
    /// [`PeerConnectionError::Refused`] if the library refuses the description, or it is longer than
    /// 64 KiB. Then everything stays as it was.
    pub async fn set_remote_description(
        &self,
        mut description: RTCSessionDescription,
    ) -> Result<(), PeerConnectionError> {
        if description.sdp.len() > MAX_SDP {
            return Err(PeerConnectionError::Refused);
        }
        let alias = |address| self.ends.alias(address);
        let password = password_in(&description.sdp);
        let mut known = lock(&self.remote).of_session(password);
        let read = read_remote(&description.sdp, &mut known.taken, alias);
        let signalled = core::mem::replace(&mut description.sdp, read.sdp);
        let password = password_in(&signalled);
        let shared = self.base.shared();
        // answers may come before the library returns
        let before = password.and_then(|password| shared.expect_answers(password));
        // checks that wait came before any of ours left
        agent_ends::hand_over(shared);
        let set = self.library.set_remote_description(description).await;
        if set.is_err() {
            if password.is_some() {
                shared.expect_former_answers(before);
            }
            return Err(PeerConnectionError::Refused);
        }
        let mut remote = lock(&self.remote);
        // candidates may have come since
        let mut described = remote.of_session(password);
        for address in read.addresses {
            described.taken.take(address);
            shared.expect_peer(address);
        }
        described.describe(&signalled, password.map(str::to_owned));
        *remote = described;
        Ok(())
    }

    /// Adds a candidate that the peer signalled later; whether it was taken.
    pub async fn add_ice_candidate(&self, mut candidate: RTCIceCandidateInit) -> bool {
        let line = core::mem::take(&mut candidate.candidate);
        let mut address: Option<SocketAddr> = None;
        // an empty one is the last (RFC 8838 section 13)
        if !line.is_empty() {
            let mut remote = lock(&self.remote);
            let Some((read, written)) = read_candidate(&line, |a| self.ends.alias(a)) else {
                return false;
            };
            match remote.taken.take(read) {
                Taken::New => {}
                Taken::Known => return true,
                Taken::TooMany => return false,
            }
            let value = line.strip_prefix("candidate:").unwrap_or(&line);
            remote.add_line(&format!("{CANDIDATE}{value}"));
            (address, candidate.candidate) = (Some(read), written);
        }
        if let Some(address) = address {
            self.base.shared().expect_peer(address);
        }
        self.library.add_ice_candidate(candidate).await.is_ok()
    }

    /// Waits until the path is up or cannot come up any more, at most for `deadline`, and returns how
    /// far it came. Cancel safe.
    pub async fn opened(&self, deadline: Duration) -> PathEnd {
        let mut state = self.state.clone();
        let is_decided = |state: &RTCPeerConnectionState| {
            matches!(
                state,
                RTCPeerConnectionState::Connected
                    | RTCPeerConnectionState::Failed
                    | RTCPeerConnectionState::Closed
            )
        };
        let _ = tokio::time::timeout(deadline, state.wait_for(is_decided)).await;
        self.path_end().await
    }

    /// The kinds of the pair in use: ours, then the peer's.
    pub async fn selected_pair(&self) -> Option<(CandidateKind, CandidateKind)> {
        let dtls = self.library.dtls_transport();
        let pair = dtls.ice_transport().get_selected_candidate_pair().await?;
        Some((kind(pair.local.typ), kind(pair.remote.typ)))
    }

    /// Everything known so far, for the span of an attempt that ends with its path coming up.
    pub async fn evidence(&self) -> ConnectionEvidence {
        // first, so that the evidence is no older than the end
        let (selected_pair, path) = (self.selected_pair().await, self.path_end().await);
        let stage = self.stage().await;
        let peer_candidates = lock(&self.remote).evidence();
        ConnectionEvidence {
            evidence: self.base.evidence(),
            peer: self.base.peer_view(),
            peer_candidates,
            selected_pair,
            path,
            stage,
        }
    }

    /// How far the attempt came until now, and what stopped it: a verdict with its proof, from the
    /// datagrams that pass anyway. See [`nat_summary::stage`].
    ///
    /// ```no_run
    /// # async fn ask(connection: &ice_gather::peer_connection::PeerConnection) {
    /// use nat_summary::stage::StageVerdict;
    /// let stage = connection.stage().await;
    /// if stage.verdict == StageVerdict::HelloNeverCame {
    ///     println!("the peer answered {} checks and never sent its ClientHello", stage.answers);
    /// }
    /// # }
    /// ```
    ///
    /// The library's own refusal of a certificate is `unknown`, because it looks like any other end of
    /// its DTLS.
    pub async fn stage(&self) -> StageReport {
        let (is_described, theirs) = {
            let remote = lock(&self.remote);
            (remote.is_described, remote.signalled.clone())
        };
        let role = DtlsRole::of_descriptions(&lock(&self.local), &theirs);
        let above = Above::default().with_role(role);
        let above = match self.library.dtls_transport().state() {
            RTCDtlsTransportState::Connected => above.with_secured(true),
            RTCDtlsTransportState::New | RTCDtlsTransportState::Connecting => {
                above.with_secured(false)
            }
            _ => above,
        };
        self.base.shared().stage(&above).unwrap_or_else(|| {
            StageReport::of(if is_described {
                Stage::Checks
            } else {
                Stage::Signalling
            })
        })
    }

    /// Closes the connection, and returns everything known of it.
    pub async fn close(self) -> ConnectionEvidence {
        let evidence = self.evidence().await;
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.tear_down()).await;
        evidence
    }

    async fn path_end(&self) -> PathEnd {
        if self.has_opened.load(Ordering::Acquire) {
            return PathEnd::Connected;
        }
        if !lock(&self.remote).is_described {
            return PathEnd::Undecided;
        }
        let has_pair = self.selected_pair().await.is_some();
        match self.library.ice_connection_state() {
            RTCIceConnectionState::Connected | RTCIceConnectionState::Completed if has_pair => {
                PathEnd::ChannelFailed
            }
            RTCIceConnectionState::Disconnected | RTCIceConnectionState::Failed => {
                PathEnd::PairsFailed
            }
            _ => PathEnd::NoPair,
        }
    }

    /// Closes the library's connection in a task of its own, because one that is cancelled half-way
    /// stays behind.
    fn tear_down(&self) -> JoinHandle<()> {
        let library = Arc::clone(&self.library);
        self.runtime.spawn(async move {
            // closing again does nothing
            let _ = library.close().await;
        })
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        // without the handle: the task is detached
        drop(self.tear_down());
    }
}

impl core::fmt::Debug for PeerConnection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PeerConnection")
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}

fn kind(kind: RTCIceCandidateType) -> CandidateKind {
    match kind {
        RTCIceCandidateType::Host => CandidateKind::Host,
        RTCIceCandidateType::Srflx => CandidateKind::ServerReflexive,
        RTCIceCandidateType::Prflx => CandidateKind::PeerReflexive,
        RTCIceCandidateType::Relay => CandidateKind::Relayed,
        RTCIceCandidateType::Unspecified => CandidateKind::Unknown,
    }
}
