//! A signalling service that fails on request, in front of one that works.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consumer_fsm::signalling::wire::{Description, Envelope, Kind, write};
use consumer_fsm::signalling::{SignalError, Signalling};
use serde::Serialize;

/// The fault of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalFault {
    /// 404: the recipient is gone.
    Gone,
    /// 200 with an empty body: no reply came in time.
    Empty,
    /// 418: another version.
    Version,
    /// 400.
    Rejected,
    /// The connection breaks.
    Cut,
    /// No JSON.
    Malformed,
    /// Longer than any reply.
    TooLong,
    /// No end of the reply in time.
    TimedOut,
    /// An answer without a description in it.
    Garbage,
    /// An answer whose credentials ICE forbids.
    BadCredentials,
    /// The reply takes 30 ms longer.
    Slow,
}

impl SignalFault {
    /// Each of them.
    pub const ALL: [Self; 11] = [
        Self::Gone,
        Self::Empty,
        Self::Version,
        Self::Rejected,
        Self::Cut,
        Self::Malformed,
        Self::TooLong,
        Self::TimedOut,
        Self::Garbage,
        Self::BadCredentials,
        Self::Slow,
    ];

    fn reply(self) -> Result<Option<Envelope>, SignalError> {
        let answer = |sdp: &str| {
            let payload = write(&Description {
                kind: "answer".into(),
                sdp: sdp.into(),
            });
            Ok(Some(Envelope {
                reply_to: "nowhere".into(),
                kind: Kind::Answer,
                payload,
            }))
        };
        match self {
            Self::Gone => Err(SignalError::Gone),
            Self::Empty | Self::Slow => Ok(None),
            Self::Version => Err(SignalError::Version),
            Self::Rejected => Err(SignalError::Rejected),
            Self::Cut => Err(SignalError::Unreachable),
            Self::Malformed => Err(SignalError::Malformed),
            Self::TooLong => Err(SignalError::TooLong),
            Self::TimedOut => Err(SignalError::TimedOut),
            Self::Garbage => answer("v=0\r\n<html>"),
            Self::BadCredentials => answer("a=ice-ufrag:a\r\na=ice-pwd:b\r\n"),
        }
    }
}

/// Which exchange fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The offer, for an answer.
    Offer,
    /// The consumer's candidates.
    Candidates,
}

/// Fails the next exchanges of a stage, and passes everything else on.
#[derive(Debug, Clone)]
pub struct Faulty<S> {
    inner: S,
    /// Which stage, how, and how often still.
    plan: Arc<Mutex<Option<(Stage, SignalFault, u32)>>>,
}

impl<S> Faulty<S> {
    /// Passes everything on, until it is to fail.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            plan: Arc::default(),
        }
    }

    /// From now on the next `times` exchanges of this stage fail like this.
    pub fn fail(self, stage: Stage, fault: SignalFault, times: u32) -> Self {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some((stage, fault, times));
        self
    }

    /// How many of those are still to come: none, where each has met its exchange.
    pub fn left(&self) -> u32 {
        self.plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .map_or(0, |(_, _, times)| times)
    }

    fn take(&self, kind: Kind) -> Option<SignalFault> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let (stage, fault, times) = plan.as_mut()?;
        let due = match stage {
            Stage::Offer => Kind::Offer,
            Stage::Candidates => Kind::Ice,
        };
        if *times == 0 || kind != due {
            return None;
        }
        *times -= 1;
        Some(*fault)
    }
}

impl<S: Signalling> Signalling for Faulty<S> {
    type Listener = S::Listener;

    async fn listen(&self) -> Result<S::Listener, SignalError> {
        self.inner.listen().await
    }

    async fn exchange(
        &self,
        to: &str,
        kind: Kind,
        payload: &str,
    ) -> Result<Option<Envelope>, SignalError> {
        match self.take(kind) {
            None => self.inner.exchange(to, kind, payload).await,
            Some(SignalFault::Slow) => {
                tokio::time::sleep(Duration::from_millis(30)).await;
                self.inner.exchange(to, kind, payload).await
            }
            Some(fault) => fault.reply(),
        }
    }
}
