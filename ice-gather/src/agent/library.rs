//! What the ICE library calls its candidates and states, in words of our own.

use nat_summary::CandidateKind;
use webrtc_ice::candidate::{Candidate as LibraryCandidate, CandidateType};
use webrtc_ice::state::ConnectionState;

use crate::event::IceState;

pub(super) fn kind(candidate: &(dyn LibraryCandidate + Send + Sync)) -> CandidateKind {
    match candidate.candidate_type() {
        #[cfg(feature = "relay")]
        CandidateType::Host if candidate.addr().ip() == crate::base::relayed::PLACEHOLDER => {
            CandidateKind::Relayed
        }
        CandidateType::Host => CandidateKind::Host,
        CandidateType::ServerReflexive => CandidateKind::ServerReflexive,
        CandidateType::PeerReflexive => CandidateKind::PeerReflexive,
        CandidateType::Relay => CandidateKind::Relayed,
        CandidateType::Unspecified => CandidateKind::Unknown,
    }
}

pub(super) fn ice_state(state: ConnectionState) -> IceState {
    match state {
        ConnectionState::Unspecified | ConnectionState::New => IceState::New,
        ConnectionState::Checking => IceState::Checking,
        ConnectionState::Connected | ConnectionState::Completed => IceState::Connected,
        ConnectionState::Disconnected => IceState::Disconnected,
        ConnectionState::Failed => IceState::Failed,
        ConnectionState::Closed => IceState::Closed,
    }
}
