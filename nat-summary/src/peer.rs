//! The NAT as the peer sees it: its connectivity checks and their verdict, kept apart from the
//! servers'.
//!
//! All of it is authenticated, and all of it is still only the peer's word or the peer's packets:
//! no verdict of the servers is ever changed by it.

mod classify;
mod evidence;
mod summary;

pub use self::evidence::{MAX_UNSOLICITED, PeerEvidence, SentBefore, UnsolicitedCheck};
pub use self::summary::{DecidedBy, FilteringSeen, PeerSummary, TowardPeer};
