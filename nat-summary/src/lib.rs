//! What a NAT does, judged from what was observed.
//!
//! No I/O, no allocation, no dependency: hand in what ICE gathering saw, get a verdict that never says more than its
//! evidence. Where the evidence does not decide, the answer is *unknown*, and unknown is a value, never `false`.
//!
//! Two doors lead in:
//!
//! * [`Evidence`], one fact at a time: which servers were asked and how each ended, every `(base, server, mapped)`
//!   observation, the local addresses.
//! * [`Evidence::from_candidates`], a bare list of candidates ([`Candidate::parse`] reads the lines of an SDP).
//!
//! One door leads out: [`Evidence::summary`], a [`NatSummary`].
//!
//! ```
//! use nat_summary::{Evidence, Mapping, NatType, Observation};
//!
//! let mut evidence = Evidence::new();
//! for (sequence, server) in ["198.51.100.1:3478", "198.51.100.2:3478"].into_iter().enumerate() {
//!     evidence.observe(Observation {
//!         base: "192.168.1.5:50000".parse()?,
//!         server: server.parse::<core::net::SocketAddr>()?.into(),
//!         mapped: "203.0.113.7:50000".parse()?,
//!         sequence: sequence as u32,
//!     });
//! }
//! let summary = evidence.summary();
//! assert_eq!(summary.mapping(), Mapping::EndpointIndependent);
//! assert_eq!(summary.nat_type(), NatType::Cone);
//! # Ok::<(), core::net::AddrParseError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(test)]
extern crate std;

mod candidate;
mod classify;
mod evidence;
mod outlook;
mod packed;
mod parse;
mod scan;
mod scope;
mod summary;
#[cfg(feature = "serde")]
mod with_serde;

pub use candidate::{Address, Candidate, CandidateKind, Transport};
pub use classify::Rule;
pub use evidence::{
    Admission, Discarded, Evidence, MAX_LOCALS, MAX_OBSERVATIONS, MAX_SERVERS, Observation, Outcome, ServerId,
};
pub use outlook::{Outlook, Path, Reason};
pub use parse::{Expected, ParseError};
pub use scope::Scope;
pub use summary::{
    BaseVerdict, Counts, Family, Filtering, MAX_BASES, Mapping, NatSummary, NatType, Pooling, PortAllocation,
    WithAddress,
};
