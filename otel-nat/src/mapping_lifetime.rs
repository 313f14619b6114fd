//! How long the mapping of a path held, on every target.

use core::time::Duration;

/// How the mapping toward the peer held, for as long as it was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MappingLifetime {
    /// Changes of the mapping under the connection.
    pub rebindings: u32,
    /// The longest time without a packet that the mapping outlived: a lower bound of its idle
    /// lifetime (RFC 4787 section 4.3).
    pub survived: Option<Duration>,
}
