//! State 1: genesis messages are collected for a while, and one of their producers is chosen at
//! random.

use rand::Rng;
use rand::seq::IndexedRandom;
use std::time::Duration;
use tokio::time::Instant;

use crate::signalling::wire::{Envelope, Kind};
use crate::signalling::{Listener, SignalError, Signalling};

/// Most genesis messages to choose from.
const MAX_GENESIS: usize = 256;
/// Most bytes of them kept meanwhile: only their reply-to ids are needed.
const MAX_ID: usize = 256;

/// What came of listening.
pub(super) enum Heard {
    /// The reply-to id of the producer that was chosen.
    One(String),
    /// No producer announced itself.
    Nobody,
    /// Nor did one, and the service sent what is no genesis message.
    OnlyRubbish,
}

/// Listens until `patience` after the first genesis message, and chooses one of them.
pub(super) async fn choose<S: Signalling>(
    signalling: &S,
    patience: Duration,
    rng: &mut impl Rng,
) -> Result<Heard, SignalError> {
    let mut listener = signalling.listen().await?;
    let mut heard: Vec<String> = Vec::new();
    let mut is_rubbish = false;
    let mut until: Option<Instant> = None;
    // compared each time: a listener that always has something at hand is never timed out
    while heard.len() < MAX_GENESIS && until.is_none_or(|until| Instant::now() < until) {
        // nor could it be cancelled
        tokio::task::consume_budget().await;
        let next = match until {
            None => listener.next().await,
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
                heard.push(reply_to);
            }
            // a broken line is none
            Some(_) => is_rubbish = true,
        }
    }
    // a stream that ends at once must not turn lost races into a busy loop
    if let Some(until) = until {
        tokio::time::sleep_until(until).await;
    }
    Ok(match heard.choose(rng) {
        Some(reply_to) => Heard::One(reply_to.clone()),
        None if is_rubbish => Heard::OnlyRubbish,
        None => Heard::Nobody,
    })
}
