//! State 1: genesis messages are collected for a while, and one of their producers is chosen at
//! random.

use std::time::Duration;

use rand::Rng;
use rand::seq::IndexedRandom;
use tokio::time::Instant;

use crate::signalling::wire::{Envelope, Kind};
use crate::signalling::{Listener, SignalError, Signalling};

/// Most genesis messages to choose from.
const MAX_GENESIS: usize = 256;
/// Longest reply-to id, in bytes. The ids are all that is kept of the messages.
const MAX_ID: usize = 256;

/// The time without an announcement after which no volunteer counts as free. A volunteer that is
/// free announces itself again and again.
const NOBODY_AFTER: Duration = Duration::from_secs(2);

/// The result of listening.
pub(super) enum Listened {
    /// A producer was chosen, with this reply-to id.
    Chosen(String),
    /// No producer announced itself.
    Nothing,
    /// No producer announced itself, and the reply of the service was of no use for this reason.
    Unusable(SignalError),
}

/// Listens until `patience` after the first genesis message, and chooses one of them. Calls `nobody`
/// if none has come for two seconds.
pub(super) async fn choose<S: Signalling>(
    signalling: &S,
    patience: Duration,
    rng: &mut impl Rng,
    nobody: impl FnOnce(),
) -> Result<Listened, SignalError> {
    let mut listener = signalling.listen().await?;
    let mut producers: Vec<String> = Vec::new();
    let mut unusable = None;
    let mut until: Option<Instant> = None;
    let (silent_at, mut nobody) = (Instant::now() + NOBODY_AFTER, Some(nobody));
    // The clock is read each time, because a listener with a message at hand never times out.
    while producers.len() < MAX_GENESIS && until.is_none_or(|until| Instant::now() < until) {
        // such a listener could not be cancelled either
        tokio::task::consume_budget().await;
        let next = match until {
            None if nobody.is_none() => listener.next().await,
            None => match tokio::time::timeout_at(silent_at, listener.next()).await {
                Ok(next) => next,
                Err(_) => {
                    if let Some(nobody) = nobody.take() {
                        nobody();
                    }
                    continue;
                }
            },
            Some(until) => match tokio::time::timeout_at(until, listener.next()).await {
                Ok(next) => next,
                Err(_) => break,
            },
        };
        match next {
            None => break,
            Some(Ok(Envelope {
                kind: Kind::Genesis,
                reply_to,
                ..
            })) if reply_to.len() <= MAX_ID => {
                until.get_or_insert_with(|| Instant::now() + patience);
                producers.push(reply_to);
            }
            Some(Ok(_)) => unusable = Some(SignalError::Malformed),
            Some(Err(error)) => unusable = Some(error),
        }
    }
    // a stream that ends at once must not turn lost races into a busy loop
    if let Some(until) = until {
        tokio::time::sleep_until(until).await;
    }
    Ok(match (producers.choose(rng), unusable) {
        (Some(reply_to), _) => Listened::Chosen(reply_to.clone()),
        (None, Some(error)) => Listened::Unusable(error),
        (None, None) => Listened::Nothing,
    })
}
