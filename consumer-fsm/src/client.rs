//! The identity of a client toward its peers.

use std::sync::LazyLock;

/// The id of this process, by which a peer recognizes all its slots and attempts as one client.
static PROCESS: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().to_string());

/// The identity of a client: the same in every slot and attempt.
#[derive(Debug, Clone)]
pub(crate) struct ClientIdentity {
    /// `ConsumerSessionID` of the candidates.
    pub(crate) session_id: String,
    /// `Tag` of the offers.
    pub(crate) tag: String,
}

impl Default for ClientIdentity {
    fn default() -> Self {
        Self {
            session_id: PROCESS.clone(),
            tag: String::new(),
        }
    }
}
