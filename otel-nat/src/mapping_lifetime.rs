//! How long the mapping of a path held, on every target.

use core::time::Duration;

use nat_summary::PeerReport;

/// How the mapping toward the peer held, for as long as it was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MappingLifetime {
    /// Changes of the mapping under the connection.
    pub rebindings: u32,
    /// The longest time without a packet that the mapping outlived: a lower bound of its idle
    /// lifetime (RFC 4787 section 4.3).
    pub survived: Option<Duration>,
}

impl MappingLifetime {
    /// How the mapping held by the results of the peer's checks; `None` if the peer never answered a
    /// check, as by way of a relay.
    #[must_use]
    pub fn of(report: &PeerReport) -> Option<Self> {
        (report.checks.answered > 0).then_some(Self {
            rebindings: report.rebindings,
            survived: report.survived,
        })
    }
}
