//! The credentials and candidates that the two sides signal to each other.

use std::net::SocketAddr;
use std::sync::Arc;

use nat_summary::{CandidateKind, TransportProtocol};
use rand::Rng;
use rand::distr::Alphanumeric;
use webrtc_ice::candidate::Candidate as LibraryCandidate;
use webrtc_ice::candidate::candidate_base::CandidateBaseConfig;
use webrtc_ice::candidate::candidate_host::CandidateHostConfig;
use webrtc_ice::candidate::candidate_peer_reflexive::CandidatePeerReflexiveConfig;
use webrtc_ice::candidate::candidate_relay::CandidateRelayConfig;
use webrtc_ice::candidate::candidate_server_reflexive::CandidateServerReflexiveConfig;

use crate::common::canonical;
use crate::error::RemoteError;
use crate::pace::{MAX_CANDIDATES_PER_PLACE, place_of};

/// The credentials of one side, by which checks authenticate (RFC 8445 section 5.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name fragment.
    pub ufrag: String,
    /// Password.
    pub pwd: String,
}

impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// 48 and 190 random bits, more than the 24 and 128 of RFC 8445 section 5.3.
    pub(crate) fn random() -> Self {
        let text = |length| {
            rand::rng()
                .sample_iter(Alphanumeric)
                .take(length)
                .map(char::from)
                .collect()
        };
        Self {
            ufrag: text(8),
            pwd: text(32),
        }
    }

    /// 4 to 256 and 22 to 256 characters (RFC 8839 section 5.4).
    pub(super) fn check(&self) -> Result<(), RemoteError> {
        let fits = (4..=256).contains(&self.ufrag.len()) && (22..=256).contains(&self.pwd.len());
        fits.then_some(()).ok_or(RemoteError::Credentials)
    }
}

/// A candidate of the peer that can be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteCandidate {
    /// The address that checks go to.
    pub address: SocketAddr,
    /// Its kind.
    pub kind: CandidateKind,
    /// Its priority.
    pub priority: u32,
}

impl RemoteCandidate {
    /// A signalled candidate, if checks can be sent to it: component 1, UDP, an IP address and a
    /// port, a known type.
    #[must_use]
    pub fn from_candidate(candidate: &nat_summary::Candidate<'_>) -> Option<Self> {
        let remote = Self {
            address: candidate.socket_addr()?,
            kind: candidate.kind,
            priority: candidate.priority,
        };
        let fits = candidate.component == 1 && candidate.transport == TransportProtocol::Udp;
        (fits && remote.is_usable()).then_some(remote)
    }

    fn is_usable(self) -> bool {
        let ip = self.address.ip();
        self.address.port() != 0
            && !(ip.is_unspecified() || ip.is_multicast())
            && self.kind != CandidateKind::Unknown
    }

    /// The library's candidate; `None` if no check can be sent to this one.
    pub(super) fn to_library(self) -> Option<Arc<dyn LibraryCandidate + Send + Sync>> {
        if !self.is_usable() {
            return None;
        }
        let base_config = CandidateBaseConfig {
            network: "udp".to_owned(),
            address: self.address.ip().to_string(),
            port: self.address.port(),
            component: 1,
            priority: self.priority,
            ..CandidateBaseConfig::default()
        };
        let candidate = match self.kind {
            CandidateKind::Host => CandidateHostConfig {
                base_config,
                ..CandidateHostConfig::default()
            }
            .new_candidate_host(),
            CandidateKind::ServerReflexive => CandidateServerReflexiveConfig {
                base_config,
                ..CandidateServerReflexiveConfig::default()
            }
            .new_candidate_server_reflexive(),
            CandidateKind::PeerReflexive => CandidatePeerReflexiveConfig {
                base_config,
                ..CandidatePeerReflexiveConfig::default()
            }
            .new_candidate_peer_reflexive(),
            CandidateKind::Relayed => CandidateRelayConfig {
                base_config,
                ..CandidateRelayConfig::default()
            }
            .new_candidate_relay(),
            _ => return None,
        };
        candidate
            .ok()
            .map(|candidate| Arc::new(candidate) as Arc<dyn LibraryCandidate + Send + Sync>)
    }
}

/// The addresses of the peer's candidates, each once, and so many at most.
#[derive(Clone)]
pub(crate) struct Remotes {
    addresses: Vec<SocketAddr>,
    max: usize,
}

/// Whether a candidate was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    New,
    /// There is one at the same address.
    Known,
    TooMany,
}

impl Remotes {
    pub(crate) const fn new(max: usize) -> Self {
        Self {
            addresses: Vec::new(),
            max,
        }
    }

    /// Takes the candidate at this address, if there is room. A peer names its foundations as it
    /// likes, so they bound nothing; all candidates of one foundation have one address (RFC 8445
    /// section 5.1.1.3), and those of one place are few.
    pub(crate) fn take(&mut self, address: SocketAddr) -> Taken {
        let address = canonical(address);
        if self.addresses.contains(&address) {
            return Taken::Known;
        }
        let place = place_of(address.ip());
        let is_there = |known: &&SocketAddr| place_of(known.ip()) == place;
        let there = self.addresses.iter().filter(is_there).count();
        if self.addresses.len() >= self.max || there >= MAX_CANDIDATES_PER_PLACE {
            return Taken::TooMany;
        }
        self.addresses.push(address);
        Taken::New
    }
}

/// The peer's side: its credentials and candidates.
#[derive(Debug, Clone)]
pub struct RemoteDescription {
    /// The peer's credentials.
    pub credentials: Credentials,
    /// The peer's candidates.
    pub candidates: Vec<RemoteCandidate>,
}
