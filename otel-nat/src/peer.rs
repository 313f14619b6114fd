//! What the connectivity checks showed of the NAT, beyond what gathering can see, as plain words on
//! every target.
//!
//! The words are the judge's. All of it is what a caller saw, or what a peer said of us: it has
//! keys of its own, and never changes the six that speak for the STUN servers.

use core::time::Duration;

pub use nat_summary::{Checks, FailureCause, FilteringSeen, TowardPeer};

/// How a mapping held, for as long as it was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Endurance {
    /// How often the mapping toward the peer changed under the connection.
    pub rebindings: u32,
    /// The longest time without a packet that it outlived: a lower bound of its idle lifetime (RFC
    /// 4787 section 4.3).
    pub survived: Option<Duration>,
}
