//! The base under an ICE agent of another library: the only public items that name a type of
//! `webrtc_ice`.
//!
//! For a peer connection of the crate `webrtc`, take `peer_connection::PeerConnection` (feature
//! `webrtc`) instead. The items here are for a fork of `webrtc`, and leave more to their user: an agent
//! on a socket that it is given gathers no reflexive candidate, so [`Gathering::to_signal`] has to be
//! signalled.
//!
//! A `webrtc` peer connection makes its own agent and takes its sockets from a `UDPNetwork`. Hand
//! it the base's, and the connection's checks, its media and our STUN transactions share one
//! socket:
//!
//! ```ignore
//! setting_engine.set_udp_network(ice_gather::compat::udp_network(&base));
//! setting_engine.set_ip_filter(ice_gather::compat::ip_filter(&base));
//! ```
//!
//! The base cannot know the credentials of such an agent, so it does not check the integrity of the
//! peer's requests: the agent does, but it also remembers every address that passed.

use std::net::IpAddr;
use std::sync::Arc;

use webrtc_ice::udp_network::UDPNetwork;

use crate::agent::Mux;
use crate::base::Base;
#[cfg(doc)]
use crate::base::Gathering;

/// The base's first socket as the network of one agent. A base serves one agent: give each its own.
#[must_use]
pub fn udp_network(base: &Base) -> UDPNetwork {
    base.shared().serve_foreign();
    UDPNetwork::Muxed(Mux::new(Arc::clone(base.shared())))
}

/// Lets an agent see the one local address that the base's first socket stands for. Without it, an
/// agent on a host of several addresses offers the one socket several times.
pub fn ip_filter(base: &Base) -> Box<dyn Fn(IpAddr) -> bool + Send + Sync> {
    let address = base.local_addrs().next().map(|local| local.ip());
    Box::new(move |ip| Some(ip) == address)
}
