//! Peer-to-peer censorship circumvention in the protocol of Broflake: its signalling messages
//! (header `X-BF-Version`, major version 2) and its WebRTC channel `data`. A *consumer* is a client
//! behind a censor that looks for a path to the open network. A *producer* is a volunteer that
//! offers such a path. Each free producer announces itself with a *genesis message*: a broadcast of
//! the signalling service, with an id that takes exactly one offer. Use this crate to write such a
//! client, a volunteer or the signalling service, or to test one of them against real sockets.
//!
//! A consumer goes through six states from "no path" to "path up", and emits exactly one
//! OpenTelemetry span about its NAT for each attempt that asked a STUN server. [`next`] is the
//! whole machine as one table. [`Machine`] adds time and the rule of the one span, and stays pure.
//! [`Consumer`] runs a machine over a [`Signalling`](signalling::Signalling) and a
//! [`Transport`](transport::Transport). A [`Pool`] runs many consumers. [`Producer`] is the peer of
//! a consumer, for tests, demonstrations and volunteers.
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
