//! What a NAT does, judged from what was observed.
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(test)]
extern crate std;

mod behaviour;
mod bounded;
mod candidate;
mod classify;
mod evidence;
mod failure;
mod hash;
mod outlook;
mod peer;
mod rule;
mod scope;
#[cfg(feature = "serde")]
mod serde_form;
mod server;
mod summary;

pub use behaviour::{Family, Filtering, Mapping, NatType, Pooling, PortAllocation};
pub use candidate::{Address, Candidate, CandidateKind, Expected, ParseError, Transport};
pub use evidence::{
    Admission, Discarded, Evidence, MAX_LOCALS, MAX_OBSERVATIONS, MAX_SERVERS, Observation, Outcome,
};
pub use failure::{Checks, FailureCause};
pub use outlook::{Outlook, Path, Reason};
pub use peer::{
    Arrival, Contact, FilteringSeen, MAX_ARRIVALS, PeerEvidence, PeerSummary, TowardPeer, Word,
};
pub use rule::Rule;
pub use scope::Scope;
pub use server::ServerId;
pub use summary::{BaseVerdict, Counts, MAX_BASES, NatSummary, WithAddress};
