//! The ICE library's agent: its configuration, its candidates and states in our words.

use std::sync::Arc;
use std::time::Duration;

use nat_summary::CandidateKind;
use tokio::sync::mpsc;
use webrtc_ice::agent::Agent;
use webrtc_ice::agent::agent_config::AgentConfig as LibraryConfig;
use webrtc_ice::candidate::{Candidate as LibraryCandidate, CandidateType};
use webrtc_ice::mdns::MulticastDnsMode;
use webrtc_ice::network_type::NetworkType;
use webrtc_ice::state::ConnectionState;
use webrtc_ice::udp_network::UDPNetwork;
use webrtc_util::vnet::interface::Interface;
use webrtc_util::vnet::net::Net;

use super::mux::Mux;
use super::remote::Credentials;
use crate::base::Shared;
use crate::config::AgentConfig;
use crate::error::AgentError;
use crate::event::IceState;

/// A network with the addresses of the base's sockets and no other.
pub(super) fn network(base: &Shared) -> Arc<Net> {
    let addresses = base.sockets().map(|socket| socket.local().ip().into());
    let interface = Interface::new("base".to_owned(), addresses.collect());
    Arc::new(Net::Ifs(vec![interface]))
}

/// The configuration of an agent on these sockets.
pub(super) fn config(
    mux: &Arc<Mux>,
    net: Arc<Net>,
    sockets: usize,
    credentials: &Credentials,
    is_controlling: bool,
    config: AgentConfig,
) -> LibraryConfig {
    let filter = Arc::clone(mux);
    LibraryConfig {
        udp_network: UDPNetwork::Muxed(Arc::clone(mux) as _),
        local_ufrag: credentials.ufrag.clone(),
        local_pwd: credentials.pwd.clone(),
        multicast_dns_mode: MulticastDnsMode::Disabled,
        network_types: vec![NetworkType::Udp4, NetworkType::Udp6],
        // one gathering of host candidates per socket: see `Mux`
        candidate_types: vec![CandidateType::Host; sockets],
        include_loopback: true,
        ip_filter: Arc::new(Some(Box::new(move |ip| filter.is_mine(ip)))),
        net: Some(net),
        is_controlling,
        check_interval: config.check_interval,
        keepalive_interval: Some(config.keepalive_interval),
        // Both together limit how long checks go on without a pair. The second is zero, so that the
        // library never gives up a pair that worked, because it would judge by the wall clock: see
        // `watch_liveness`.
        disconnected_timeout: Some(
            config
                .disconnected_timeout
                .saturating_add(config.failed_timeout),
        ),
        failed_timeout: Some(Duration::ZERO),
        // the deadline of `connect` ends a dead pair, not a count: the peer may start much later
        // than we do
        max_binding_requests: Some(u16::MAX - 1),
        // the first pair that works is taken
        host_acceptance_min_wait: Some(Duration::ZERO),
        srflx_acceptance_min_wait: Some(Duration::ZERO),
        prflx_acceptance_min_wait: Some(Duration::ZERO),
        relay_acceptance_min_wait: Some(Duration::ZERO),
        ..LibraryConfig::default()
    }
}

/// Has the agent take the sockets as its host candidates: all of them.
pub(super) async fn take_sockets(agent: &Agent, sockets: usize) -> Result<(), AgentError> {
    let (gathered, mut candidates) = mpsc::channel(sockets + 1);
    agent.on_candidate(Box::new(move |candidate| {
        let _ = gathered.try_send(candidate.is_some());
        Box::pin(core::future::ready(()))
    }));
    agent.gather_candidates().map_err(|_| AgentError::Refused)?;
    let mut taken = 0;
    while let Some(true) = candidates.recv().await {
        taken += 1;
    }
    if taken == sockets {
        Ok(())
    } else {
        Err(AgentError::NoCandidate)
    }
}

/// The kind of a candidate.
pub(super) fn kind(candidate: &(dyn LibraryCandidate + Send + Sync)) -> CandidateKind {
    match candidate.candidate_type() {
        #[cfg(feature = "relay")]
        CandidateType::Host if candidate.addr().ip() == crate::base::relayed::PLACEHOLDER => {
            CandidateKind::Relayed
        }
        CandidateType::Host => CandidateKind::Host,
        CandidateType::ServerReflexive => CandidateKind::ServerReflexive,
        CandidateType::PeerReflexive => CandidateKind::PeerReflexive,
        CandidateType::Relay => CandidateKind::Relayed,
        CandidateType::Unspecified => CandidateKind::Unknown,
    }
}

/// The state of a connection.
pub(super) fn ice_state(state: ConnectionState) -> IceState {
    match state {
        ConnectionState::Unspecified | ConnectionState::New => IceState::New,
        ConnectionState::Checking => IceState::Checking,
        ConnectionState::Connected | ConnectionState::Completed => IceState::Connected,
        ConnectionState::Disconnected => IceState::Disconnected,
        ConnectionState::Failed => IceState::Failed,
        ConnectionState::Closed => IceState::Closed,
    }
}
