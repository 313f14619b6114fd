//! ICE gathering that tells the truth about a NAT, because every request leaves from the one socket
//! ICE itself uses.
//!
//! * [`Base`] holds one socket per address family. [`Base::gather`] asks a cohort of STUN servers
//!   from it, in parallel and with retransmission, and ends as soon as a dead server can be told
//!   from a slow one. What it hears is [evidence](nat_summary::Evidence), and so are answers that
//!   come late.
//! * [`IceAgent`] runs connectivity checks by `webrtc-ice` on the same sockets and leaves nothing
//!   behind: no task, no descriptor, no byte, whether it is closed, dropped or cancelled in the
//!   middle.
//! * With the feature `relay`, `Base::add_relay` adds a relayed candidate by TURN that cannot take
//!   the attempt down.
#![doc = "```"]
#![cfg_attr(feature = "responder", doc = include_str!("../examples/gather.rs"))]
#![cfg_attr(
    not(feature = "responder"),
    doc = "// enable the feature `responder` to run the example `gather`"
)]
#![doc = "```"]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agent;
mod base;
mod candidate;
mod checks;
mod common;
pub mod compat;
mod config;
mod error;
mod event;
mod filtering;
mod plan;
#[cfg(feature = "relay")]
mod relay;
#[cfg(feature = "responder")]
pub mod responder;
mod socket;
mod stun;

pub use agent::{Credentials, IceAgent, IceConn, RemoteCandidate, RemoteDescription, Role};
pub use base::{Base, Dropped, Gathering, Progress, ServerReport};
pub use candidate::GatheredCandidate;
pub use checks::{PeerDropped, PeerReader, PeerView, Rebinding, Remapped};
pub use config::{AgentConfig, Bind, BindConfig, GatherConfig, Policy};
#[cfg(feature = "relay")]
pub use error::RelayError;
pub use error::{AgentError, BindError, ConnectError, RemoteError, SendError};
pub use event::{IceEvent, IceState};
pub use filtering::{Finding, discover_filtering};
pub use plan::{Answered, IcmpError, Plan, Transmit};
#[cfg(feature = "relay")]
pub use relay::{Relay, RelayConfig, TurnServer};
pub use socket::local::LocalAddresses;
pub use stun::{
    Answer, Change, Header, Reject, StunServer, TransactionId, UriError, other_address,
    read_answer, write_change_request, write_request,
};
