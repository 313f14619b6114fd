//! The NAT as the peer sees it: what its connectivity checks proved, kept apart from what the
//! servers said.
//!
//! All of it is authenticated, and all of it is still only the peer's word or the peer's packets:
//! no verdict of the servers is ever changed by it.

mod classify;
mod evidence;
mod summary;

pub use self::evidence::{Arrival, Contact, MAX_ARRIVALS, PeerEvidence};
pub use self::summary::{FilteringSeen, PeerSummary, TowardPeer, Word};
