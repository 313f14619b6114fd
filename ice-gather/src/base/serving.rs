//! The state of a base that serves an agent: the peer's checks, the pace of ours, the events.

use std::sync::{Mutex, OnceLock};

use tokio::sync::{Notify, watch};

use super::events::EventSink;
#[cfg(feature = "relay")]
use super::relayed::Relayed;
use crate::checks::{PeerReader, Rebinding};
use crate::pace::Pace;

/// The state that an agent needs, and whose agent it is.
pub(super) struct Serving {
    #[cfg(feature = "relay")]
    pub(super) relay: OnceLock<Relayed>,
    pub(super) checks: Mutex<PeerReader>,
    pub(super) pace: Mutex<Pace>,
    /// The peer has left.
    pub(super) left: Notify,
    pub(super) rebinding: watch::Sender<Option<Rebinding>>,
    pub(super) events: Mutex<Option<EventSink>>,
    /// Whose agent this is: without one no peer can be sending checks yet.
    pub(super) agent: OnceLock<AgentOf>,
}

/// Whose agent the base serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AgentOf {
    /// Ours: requests have to carry its password.
    Us,
    /// Another library's, which checks requests by itself.
    Others,
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            #[cfg(feature = "relay")]
            relay: OnceLock::new(),
            checks: Mutex::default(),
            pace: Mutex::default(),
            left: Notify::new(),
            rebinding: watch::Sender::new(None),
            events: Mutex::default(),
            agent: OnceLock::new(),
        }
    }
}
