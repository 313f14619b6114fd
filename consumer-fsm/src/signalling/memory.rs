//! Signalling within one process.

use super::switchboard::{Announcements, Posted, Switchboard, envelope};
use super::wire::{Envelope, Kind};
use super::{Listener, SignalError, Signalling};

/// A client of a [`Switchboard`] in the same process, for tests and demonstrations.
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
        Ok(MemoryListener(self.switchboard.listen()))
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
pub struct MemoryListener(Announcements);

impl Listener for MemoryListener {
    async fn next(&mut self) -> Option<Result<Envelope, SignalError>> {
        let line = self.0.next().await?;
        Some(envelope(&line))
    }
}
