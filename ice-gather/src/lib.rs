//! ICE gathering that tells the truth about a NAT, because every request leaves from the one socket
//! ICE itself uses.
//!
//! * [`Base`] holds one socket per address family. [`Base::gather`] asks a cohort of STUN servers
//!   from it, in parallel and with retransmission, and ends as soon as a dead server can be told
//!   from a slow one. Its observations are [evidence](nat_summary::Evidence), and so are answers that
//!   come late.
//! * [`IceAgent`] runs connectivity checks by `webrtc-ice` on the same sockets and leaves nothing
//!   behind: no task, no descriptor, no byte, whether it is closed, dropped or cancelled in the
//!   middle. It is the feature `agent`, which is on by default.
//! * With the feature `relay`, `Base::add_relay` adds a relayed candidate by TURN that cannot take
//!   the attempt down.
//! * With the feature `webrtc-021`, `tap::Tap` shows the same evidence under a peer connection of webrtc
//!   0.21, in passing.
//! * [`plan`], [`stun`] and [`checks`] are the parts without a socket or a clock, for programs with
//!   an I/O of their own.
#![cfg_attr(feature = "responder", doc = "```")]
#![cfg_attr(feature = "responder", doc = include_str!("../examples/gather.rs"))]
#![cfg_attr(feature = "responder", doc = "```")]
#![forbid(unsafe_code)]
// documents of a base name its agent
#![cfg_attr(not(feature = "agent"), allow(rustdoc::broken_intra_doc_links))]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(feature = "agent")]
mod agent;
mod base;
mod candidate;
#[cfg(feature = "capture")]
pub mod capture;
#[cfg(feature = "agent")]
pub mod checks;
mod common;
#[cfg(feature = "agent")]
pub mod compat;
mod config;
mod error;
#[cfg(feature = "agent")]
mod event;
mod filtering;
#[cfg(feature = "agent")]
mod pace;
#[cfg(feature = "webrtc")]
pub mod peer_connection;
pub mod plan;
#[cfg(feature = "relay")]
mod relay;
#[cfg(feature = "responder")]
pub mod responder;
mod socket;
pub mod stun;
#[cfg(feature = "webrtc-021")]
pub mod tap;

#[cfg(feature = "agent")]
pub use agent::{Credentials, IceAgent, IceConn, RemoteCandidate, RemoteDescription, Role};
pub use base::{Base, Dropped, Gathering, Progress, ServerReport};
pub use candidate::GatheredCandidate;
#[cfg(feature = "agent")]
pub use checks::{PairChecks, PeerDropped, PeerView, Rebinding};
#[cfg(feature = "agent")]
pub use config::AgentConfig;
pub use config::{Bind, BindConfig, GatherConfig, Policy};
pub use error::BindError;
#[cfg(feature = "webrtc")]
pub use error::PeerConnectionError;
#[cfg(feature = "relay")]
pub use error::RelayError;
#[cfg(feature = "agent")]
pub use error::{AgentError, ConnectError, RemoteError, SendError};
#[cfg(feature = "agent")]
pub use event::{IceEvent, IceState};
pub use filtering::{Finding, discover_filtering};
pub use nat_summary::CandidateKind;
#[cfg(feature = "relay")]
pub use relay::{Relay, RelayConfig, TurnServer};
pub use socket::carrier::DatagramCarrier;
pub use socket::local::LocalAddresses;
pub use socket::names::lookup;
pub use stun::{StunServer, UriError};
