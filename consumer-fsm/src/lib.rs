//! The consumer: six states from "no path" to "path up", and exactly one NAT span per attempt that
//! asked a STUN server.
//!
//! [`next`] is the whole machine as one table; [`Machine`] adds time and the rule of the one span,
//! and stays pure; [`Consumer`] drives it over a [`Signalling`](signalling::Signalling) and a
//! [`Transport`](transport::Transport); a [`Pool`] runs many of them.
//! [`Producer`] is the peer of a consumer, for tests, demonstrations and volunteers.
#![doc = "```"]
#![cfg_attr(feature = "http", doc = include_str!("../examples/attempt.rs"))]
#![cfg_attr(
    not(feature = "http"),
    doc = "// enable the feature `http` to run the example `attempt`"
)]
#![doc = "```"]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod cohort;
mod driver;
mod machine;
mod notice;
mod pool;
mod producer;
mod roaming;
mod sdp;
pub mod signalling;
mod state;
mod table;
mod traffic;
pub mod transport;
mod wait;

pub use cohort::{Cohort, SourceError, StunCache, StunSource};
pub use driver::{AttemptReport, Consumer, Datagrams, Link, ServerLabels};
pub use machine::{Illegal, Machine, Timing};
pub use notice::{Notice, NoticeKind, Notices};
pub use pool::Pool;
pub use producer::{Producer, ProducerError, Served};
pub use roaming::Roaming;
pub use sdp::{ChannelDescription, Fingerprint, SdpError, SessionDescription, Setup};
pub use state::{Action, Ending, Event, State, Transition};
pub use table::{Step, next};
pub use traffic::Traffic;
