//! The signalling service itself, without a wire: who waits for what.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, oneshot};
use uuid::Uuid;

use super::wire::{Envelope, Kind};
use super::{GENESIS, SignalError};
use crate::wait::bounded;

/// Genesis messages kept for a slow listener, older ones are lost to it; and those that wait
/// already that one who starts to listen hears. As many as a consumer chooses from.
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
        Self {
            listen: Duration::from_secs(20),
            genesis: Duration::from_secs(5),
            exchange: Duration::from_secs(15),
        }
    }
}

impl SwitchboardTiming {
    pub(super) const fn bounded(self) -> Self {
        Self {
            listen: bounded(self.listen),
            genesis: bounded(self.genesis),
            exchange: bounded(self.exchange),
        }
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
    waiting: Mutex<HashMap<String, Waiting>>,
    announced: Mutex<Announced>,
    genesis: broadcast::Sender<Arc<Envelope>>,
}

#[derive(Debug)]
struct Waiting {
    reply: oneshot::Sender<Envelope>,
    /// The number of a genesis message.
    announced: Option<u64>,
}

/// Genesis messages that still wait for a reply: who starts to listen hears them too.
#[derive(Debug, Default)]
struct Announced {
    /// In the order they came.
    by_number: BTreeMap<u64, Arc<Envelope>>,
    next: u64,
    /// What the next listener hears first. Where more wait than one listener hears, each begins
    /// where the one before ended: did all hear the same, they would all race for the same
    /// few.
    turn: u64,
}

impl Announced {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn hear(&mut self) -> Vec<Arc<Envelope>> {
        let (heard, later) = (
            self.by_number.range(..self.turn),
            self.by_number.range(self.turn..),
        );
        let mut last = self.turn;
        let from_turn = later.chain(heard).take(BACKLOG).map(|(number, envelope)| {
            last = *number;
            Arc::clone(envelope)
        });
        let from_turn = from_turn.collect();
        self.turn = last + 1;
        from_turn
    }
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
        let timing = timing.bounded();
        let (genesis, _) = broadcast::channel(BACKLOG);
        Self {
            inner: Arc::new(Inner {
                timing,
                waiting: Mutex::default(),
                announced: Mutex::default(),
                genesis,
            }),
        }
    }

    /// The service's times.
    #[must_use]
    pub fn timing(&self) -> SwitchboardTiming {
        self.inner.timing
    }

    /// Genesis messages that still wait for a reply, the next [`BACKLOG`] of them in turn; and
    /// those from now on.
    pub(super) fn subscribe(&self) -> (Vec<Arc<Envelope>>, broadcast::Receiver<Arc<Envelope>>) {
        // under one lock: a message is in the one or comes over the other
        let mut announced = self.inner.announced();
        (announced.hear(), self.inner.genesis.subscribe())
    }

    /// Messages that wait for a reply.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.waiting().len()
    }

    /// Passes one message on and waits for the reply. Cancel safe: nobody can reply to a post that
    /// was given up.
    ///
    /// # Errors
    /// [`SignalError::Gone`] if the recipient is, [`SignalError::Rejected`] if the message is too
    /// long, of the wrong kind for its recipient, or one too many.
    pub async fn post(&self, to: &str, kind: Kind, payload: String) -> Result<Posted, SignalError> {
        let is_genesis = to == GENESIS;
        if payload.len() > MAX_PAYLOAD || is_genesis != (kind == Kind::Genesis) {
            return Err(SignalError::Rejected);
        }
        let waits = kind != Kind::Ice;
        if waits && self.waiting() >= MAX_WAITING {
            return Err(SignalError::Rejected);
        }
        let post = Post {
            inner: &self.inner,
            reply_to: Uuid::new_v4().to_string(),
        };
        let envelope = Envelope {
            reply_to: post.reply_to.clone(),
            kind,
            payload,
        };
        let number = is_genesis.then(|| self.inner.announced().number());
        let reply = waits.then(|| {
            let (sender, reply) = oneshot::channel();
            self.inner.waiting().insert(
                post.reply_to.clone(),
                Waiting {
                    reply: sender,
                    announced: number,
                },
            );
            reply
        });
        if let Some(number) = number {
            let envelope = Arc::new(envelope);
            let mut announced = self.inner.announced();
            announced.by_number.insert(number, Arc::clone(&envelope));
            // fails where nobody listens yet
            let _ = self.inner.genesis.send(envelope);
        } else {
            let recipient = self.inner.take(to).ok_or(SignalError::Gone)?;
            recipient.send(envelope).map_err(|_| SignalError::Gone)?;
        }
        let Some(reply) = reply else {
            return Ok(Posted::Nothing);
        };
        let patience = if is_genesis {
            self.inner.timing.genesis
        } else {
            self.inner.timing.exchange
        };
        Ok(match tokio::time::timeout(patience, reply).await {
            Ok(Ok(reply)) => Posted::Reply(reply),
            _ => Posted::Nothing,
        })
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announced(&self) -> MutexGuard<'_, Announced> {
        self.announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Who waits under this id, and no longer does.
    fn take(&self, id: &str) -> Option<oneshot::Sender<Envelope>> {
        let Waiting { reply, announced } = self.waiting().remove(id)?;
        if let Some(number) = announced {
            self.announced().by_number.remove(&number);
        }
        Some(reply)
    }
}

/// A post in progress: its reply-to id ends with it.
struct Post<'a> {
    inner: &'a Inner,
    reply_to: String,
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        drop(self.inner.take(&self.reply_to));
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    /// One that so many producers wait at.
    async fn with_waiting(producers: usize) -> (Switchboard, JoinSet<Result<Posted, SignalError>>) {
        let switchboard = Switchboard::default();
        let mut posts = JoinSet::new();
        for _ in 0..producers {
            let switchboard = switchboard.clone();
            posts.spawn(async move { switchboard.post(GENESIS, Kind::Genesis, "{}".into()).await });
        }
        while switchboard.waiting() < producers {
            tokio::task::yield_now().await;
        }
        (switchboard, posts)
    }

    #[test]
    fn for_ever_is_a_time_as_well() {
        let ever = Duration::MAX;
        let timing = Switchboard::new(SwitchboardTiming {
            listen: ever,
            genesis: ever,
            exchange: ever,
        })
        .timing();
        for time in [timing.listen, timing.genesis, timing.exchange] {
            assert!(std::time::Instant::now().checked_add(time).is_some());
        }
    }

    #[tokio::test]
    async fn a_thousand_listeners_hear_each_of_a_thousand_producers_equally_often() {
        let (switchboard, _posts) = with_waiting(1_000).await;
        let mut heard = HashMap::<String, usize>::new();
        for _ in 0..1_000 {
            let (announced, _) = switchboard.subscribe();
            assert_eq!(announced.len(), BACKLOG, "no listener is told of everybody");
            for envelope in announced {
                *heard.entry(envelope.reply_to.clone()).or_default() += 1;
            }
        }
        assert_eq!(heard.len(), 1_000);
        assert!(heard.values().all(|times| *times == BACKLOG), "{heard:?}");
    }

    #[tokio::test]
    async fn a_producer_that_was_answered_or_gave_up_is_heard_no_more() {
        let (switchboard, mut posts) = with_waiting(2).await;
        let (announced, _) = switchboard.subscribe();
        let offer = tokio::spawn({
            let (switchboard, to) = (switchboard.clone(), announced[0].reply_to.clone());
            async move { switchboard.post(&to, Kind::Offer, "{}".into()).await }
        });
        assert!(matches!(
            posts.join_next().await,
            Some(Ok(Ok(Posted::Reply(_))))
        ));
        let (left, _) = switchboard.subscribe();
        assert_eq!(
            left.iter().map(|e| &e.reply_to).collect::<Vec<_>>(),
            [&announced[1].reply_to]
        );
        posts.shutdown().await;
        offer.abort();
        assert!(offer.await.is_err());
        assert!(switchboard.subscribe().0.is_empty());
        assert_eq!(switchboard.waiting(), 0);
    }
}
