//! Signalling within one process.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::time::Instant;

use super::switchboard::{Posted, Switchboard};
use super::wire::{Envelope, Kind};
use super::{Listener, SignalError, Signalling};

/// A client of a [`Switchboard`] in the same process.
#[derive(Debug, Clone, Default)]
pub struct MemorySignalling {
    switchboard: Switchboard,
}

impl MemorySignalling {
    /// A client of this switchboard.
    #[must_use]
    pub const fn new(switchboard: Switchboard) -> Self {
        Self { switchboard }
    }
}

impl Signalling for MemorySignalling {
    type Listener = MemoryListener;

    async fn listen(&self) -> Result<MemoryListener, SignalError> {
        let until = Instant::now() + self.switchboard.timing().listen;
        let (announced, genesis) = self.switchboard.subscribe();
        Ok(MemoryListener {
            announced: announced.into(),
            genesis,
            until,
        })
    }

    async fn exchange(
        &self,
        to: &str,
        kind: Kind,
        payload: &str,
    ) -> Result<Option<Envelope>, SignalError> {
        self.switchboard
            .post(to, kind, payload.to_owned())
            .await
            .map(|posted| match posted {
                Posted::Reply(envelope) => Some(envelope),
                Posted::Nothing => None,
            })
    }
}

/// Genesis messages of a [`Switchboard`], for as long as it holds a stream open.
#[derive(Debug)]
pub struct MemoryListener {
    announced: VecDeque<Arc<Envelope>>,
    genesis: broadcast::Receiver<Arc<Envelope>>,
    until: Instant,
}

impl Listener for MemoryListener {
    async fn next(&mut self) -> Option<Result<Envelope, SignalError>> {
        if let Some(envelope) = self.announced.pop_front() {
            return Some(Ok(Arc::unwrap_or_clone(envelope)));
        }
        loop {
            match tokio::time::timeout_at(self.until, self.genesis.recv()).await {
                Ok(Ok(envelope)) => return Some(Ok(Arc::unwrap_or_clone(envelope))),
                Ok(Err(broadcast::error::RecvError::Lagged(_))) => {}
                Ok(Err(broadcast::error::RecvError::Closed)) | Err(_) => return None,
            }
        }
    }
}
