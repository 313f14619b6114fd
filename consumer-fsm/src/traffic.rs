//! The datagrams of one path: their longest length, and their counts.

/// Longest datagram that is moved, in bytes.
pub(crate) const MAX_DATAGRAM: usize = 8192;

/// Datagrams that a path carried, and those that were dropped on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// Sent over the path.
    pub sent: u64,
    /// Received over the path.
    pub received: u64,
    /// Dropped on the way out, because the path did not take them or was not there yet.
    pub dropped_outbound: u64,
    /// Dropped on the way in, because the user's queue was full, or because the message of the peer
    /// is not a datagram, such as text.
    pub dropped_inbound: u64,
}

impl Traffic {
    /// Datagrams dropped on either way.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped_outbound + self.dropped_inbound
    }
}
