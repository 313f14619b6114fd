//! A candidate of ours, to be signalled to the peer: plain data.

use std::net::SocketAddr;

use nat_summary::CandidateKind;

/// A candidate to signal to the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatheredCandidate {
    /// Host, server reflexive, or relayed.
    pub kind: CandidateKind,
    /// Its transport address.
    pub address: SocketAddr,
    /// The socket behind it; a relayed candidate is its own base (RFC 8445 section 5.1.1.2).
    pub base: SocketAddr,
    /// Priority (RFC 8445 section 5.1.2.1).
    pub priority: u32,
    /// Groups candidates of one kind and base.
    pub foundation: String,
}

impl GatheredCandidate {
    /// As the plain data that writes a candidate line. Component 1, UDP.
    #[must_use]
    pub fn as_candidate(&self) -> nat_summary::Candidate<'_> {
        let related = match self.kind {
            CandidateKind::Host => None,
            // the mapping of the relay's socket is left out for privacy (RFC 8839 section 5.1)
            CandidateKind::Relayed => Some(SocketAddr::from(([0, 0, 0, 0], 9))),
            _ => Some(self.base),
        };
        nat_summary::Candidate {
            foundation: &self.foundation,
            component: 1,
            transport: nat_summary::TransportProtocol::Udp,
            priority: self.priority,
            address: nat_summary::Address::Ip(self.address.ip()),
            port: self.address.port(),
            kind: self.kind,
            related: related
                .map(|related| (nat_summary::Address::Ip(related.ip()), related.port())),
            ..nat_summary::Candidate::default()
        }
    }
}

/// Priority with the recommended preferences (RFC 8445 section 5.1.2.2): IPv6 before IPv4 costs
/// nothing here, so both get the same local preference, as the ICE library gives them.
pub(crate) fn candidate(
    kind: CandidateKind,
    address: SocketAddr,
    base: SocketAddr,
    foundation: u16,
) -> GatheredCandidate {
    let preference = match kind {
        CandidateKind::Host => 126,
        CandidateKind::Relayed => 0,
        _ => 100,
    };
    let priority = (preference << 24) + (0xffff << 8) + 255;
    GatheredCandidate {
        kind,
        address,
        base,
        priority,
        foundation: foundation.to_string(),
    }
}
