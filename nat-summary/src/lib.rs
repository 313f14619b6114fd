//! The behaviour of a NAT, judged from observations.
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(test)]
extern crate std;

mod attempt;
mod behaviour;
mod bounded;
mod candidate;
mod classify;
mod comparable;
mod evidence;
mod failure;
mod hash;
pub mod observer;
mod outlook;
mod outstanding;
mod peer;
mod primary;
mod rule;
mod scope;
#[cfg(feature = "serde")]
mod serde_form;
mod server;
pub mod stage;
mod summary;
mod tally;
mod text;
mod words;

pub use attempt::{AttemptEvidence, AttemptVerdict, PathEnd, PeerChecks, PeerReport};
pub use behaviour::{Family, Filtering, Mapping, NatType, Pooling, PortAllocation};
pub use candidate::{Address, Candidate, CandidateKind, Expected, ParseError, TransportProtocol};
pub use evidence::{
    Discarded, Evidence, MAX_LOCALS, MAX_OBSERVATIONS, MAX_SERVERS, Observation, Outcome, Recorded,
};
pub use failure::{Checks, FailureCause};
pub use outlook::{ExpectedPath, Outlook, OutlookReason};
pub use outstanding::{Outstanding, PendingRequest};
pub use peer::{
    DecidedBy, FilteringSeen, MAX_UNSOLICITED, PeerEvidence, PeerSummary, SentBefore, TowardPeer,
    UnsolicitedCheck,
};
pub use rule::Rule;
pub use scope::Scope;
pub use server::ServerId;
pub use summary::{BaseVerdict, Counts, MAX_BASES, NatSummary, WithAddress};
pub use text::Sides;
