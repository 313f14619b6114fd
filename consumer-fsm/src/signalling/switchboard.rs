//! The signalling service itself, without a wire: who waits for what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, oneshot};
use uuid::Uuid;

use super::wire::{Envelope, Kind};
use super::{GENESIS, SignalError};

/// Genesis messages kept for a slow listener; older ones are lost to it.
const BACKLOG: usize = 256;
/// Longest payload passed on, in bytes.
pub(super) const MAX_PAYLOAD: usize = 128 * 1024;
/// Most messages that may wait for a reply at once.
const MAX_WAITING: usize = 65_536;

/// How long the service holds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SwitchboardTiming {
    /// A stream of genesis messages.
    pub listen: Duration,
    /// A genesis message without a reply.
    pub genesis: Duration,
    /// An offer or an answer without a reply.
    pub exchange: Duration,
}

impl Default for SwitchboardTiming {
    fn default() -> Self {
        Self { listen: Duration::from_secs(20), genesis: Duration::from_secs(5), exchange: Duration::from_secs(15) }
    }
}

/// What became of a posted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// The reply.
    Reply(Envelope),
    /// Nobody replied in time, or no reply is due.
    Nothing,
}

/// Connects posts with their replies. Clones are the same switchboard.
#[derive(Debug, Clone)]
pub struct Switchboard {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    timing: SwitchboardTiming,
    waiting: Mutex<HashMap<String, oneshot::Sender<Envelope>>>,
    /// Genesis messages that still wait for a reply: who starts to listen hears them too.
    announced: Mutex<Vec<Envelope>>,
    genesis: broadcast::Sender<Envelope>,
}

impl Default for Switchboard {
    fn default() -> Self {
        Self::new(SwitchboardTiming::default())
    }
}

impl Switchboard {
    /// With these times.
    #[must_use]
    pub fn new(timing: SwitchboardTiming) -> Self {
        let (genesis, _) = broadcast::channel(BACKLOG);
        Self { inner: Arc::new(Inner { timing, waiting: Mutex::default(), announced: Mutex::default(), genesis }) }
    }

    /// The service's times.
    #[must_use]
    pub fn timing(&self) -> SwitchboardTiming {
        self.inner.timing
    }

    /// Genesis messages that still wait for a reply, and those from now on.
    pub(super) fn subscribe(&self) -> (Vec<Envelope>, broadcast::Receiver<Envelope>) {
        // under one lock: a message is in the one or comes over the other
        let announced = self.inner.announced();
        (announced.clone(), self.inner.genesis.subscribe())
    }

    /// Messages that wait for a reply.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.waiting().len()
    }

    /// Passes one message on and waits for the reply. Cancel safe: nobody can reply to a post that was given up.
    ///
    /// # Errors
    /// [`SignalError::Gone`] if the recipient is, [`SignalError::Rejected`] if the message is too long, of the wrong kind
    /// for its recipient, or one too many.
    pub async fn post(&self, to: &str, kind: Kind, payload: String) -> Result<Posted, SignalError> {
        let is_genesis = to == GENESIS;
        if payload.len() > MAX_PAYLOAD || is_genesis != (kind == Kind::Genesis) {
            return Err(SignalError::Rejected);
        }
        let waits = kind != Kind::Ice;
        if waits && self.waiting() >= MAX_WAITING {
            return Err(SignalError::Rejected);
        }
        let post = Post { inner: &self.inner, reply_to: Uuid::new_v4().to_string(), is_genesis };
        let envelope = Envelope { reply_to: post.reply_to.clone(), kind, payload };
        let reply = waits.then(|| {
            let (sender, reply) = oneshot::channel();
            self.inner.waiting().insert(post.reply_to.clone(), sender);
            reply
        });
        if is_genesis {
            let mut announced = self.inner.announced();
            announced.push(envelope.clone());
            // fails where nobody listens yet
            let _ = self.inner.genesis.send(envelope);
        } else {
            let recipient = self.inner.waiting().remove(to).ok_or(SignalError::Gone)?;
            self.inner.announced().retain(|envelope| envelope.reply_to != to);
            recipient.send(envelope).map_err(|_| SignalError::Gone)?;
        }
        let Some(reply) = reply else { return Ok(Posted::Nothing) };
        let patience = if is_genesis { self.inner.timing.genesis } else { self.inner.timing.exchange };
        Ok(match tokio::time::timeout(patience, reply).await {
            Ok(Ok(reply)) => Posted::Reply(reply),
            _ => Posted::Nothing,
        })
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Envelope>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announced(&self) -> MutexGuard<'_, Vec<Envelope>> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A post in progress: its reply-to id ends with it.
struct Post<'a> {
    inner: &'a Inner,
    reply_to: String,
    is_genesis: bool,
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        self.inner.waiting().remove(&self.reply_to);
        if self.is_genesis {
            self.inner.announced().retain(|envelope| envelope.reply_to != self.reply_to);
        }
    }
}
