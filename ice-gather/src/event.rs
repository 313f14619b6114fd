//! The states of a connection and the events of an agent: plain data.

use nat_summary::CandidateKind;

use crate::candidate::GatheredCandidate;

/// The state of the connection (RFC 8445 section 6.1.3, as the library names them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IceState {
    /// No checks yet.
    New,
    /// Checks run, no pair works yet.
    Checking,
    /// A pair works.
    Connected,
    /// The peer has been silent for a while.
    Disconnected,
    /// The agent gave up, or the peer has left. Nothing leaves toward the peer any more, and the server of a relay frees
    /// its allocation.
    Failed,
    /// Torn down.
    Closed,
}

impl IceState {
    /// Whether the connection has failed or was closed: then its state stays.
    pub(crate) const fn has_ended(self) -> bool {
        matches!(self, Self::Failed | Self::Closed)
    }
}

/// Something that happened to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IceEvent {
    /// The connection has another state. [`IceState::Closed`] is the last event of all.
    State(IceState),
    /// Another pair is in use: the kind of our candidate, then the peer's (RFC 8445 section 8).
    Pair(CandidateKind, CandidateKind),
    /// A candidate to signal that gathering had not found when it ended: by a late answer, or from
    /// a relay.
    Candidate(GatheredCandidate),
}
