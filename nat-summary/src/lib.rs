//! What a NAT does, judged from what was observed.
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(test)]
extern crate std;

mod candidate;
mod classify;
mod evidence;
mod failure;
mod outlook;
mod packed;
mod parse;
mod peer;
mod scan;
mod scope;
mod summary;
#[cfg(feature = "serde")]
mod with_serde;

pub use candidate::{Address, Candidate, CandidateKind, Transport};
pub use classify::Rule;
pub use evidence::{
    Admission, Discarded, Evidence, MAX_LOCALS, MAX_OBSERVATIONS, MAX_SERVERS, Observation,
    Outcome, ServerId,
};
pub use failure::{Checks, FailureCause};
pub use outlook::{Outlook, Path, Reason};
pub use parse::{Expected, ParseError};
pub use peer::{
    Arrival, Contact, FilteringSeen, MAX_ARRIVALS, PeerEvidence, PeerSummary, TowardPeer, Word,
};
pub use scope::Scope;
pub use summary::{
    BaseVerdict, Counts, Family, Filtering, MAX_BASES, Mapping, NatSummary, NatType, Pooling,
    PortAllocation, WithAddress,
};
