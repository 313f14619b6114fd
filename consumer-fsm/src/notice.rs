//! What a consumer tells whoever watches it: a bounded stream of notices, and the same as log lines
//! without addresses.

use std::time::Duration;

use ice_gather::Rebinding;
use nat_summary::NatSummary;
use otel_nat::FailureReason;
use tokio::sync::{broadcast, watch};

use crate::state::{Event, State};

/// Notices kept for a slow reader; older ones are lost to it, and counted.
pub(crate) const BACKLOG: usize = 256;

/// Something happened in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// The slot of a [`Pool`](crate::Pool); 0 for a [`Consumer`](crate::Consumer) of its own.
    pub slot: usize,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// An attempt began.
    AttemptStarted,
    /// The machine took a step.
    Moved {
        /// The state before.
        from: State,
        /// What happened in it.
        event: Event,
        /// The state after.
        to: State,
    },
    /// The cohort was asked, and this is the verdict.
    Gathered(Box<NatSummary>),
    /// The channel is open, so long after the attempt began.
    Connected(Duration),
    /// Datagrams can be moved.
    PathUp,
    /// What the path carried until now, when it ends.
    Carried {
        /// Datagrams sent and received.
        moved: (u64, u64),
        /// Datagrams dropped on the way out and on the way in.
        dropped: (u64, u64),
    },
    /// They no longer can.
    PathDown,
    /// The attempt ended without a path.
    Failed(FailureReason),
    /// The host's addresses changed, the cohort was asked again, and this is the new verdict.
    Roamed(Box<NatSummary>),
    /// The mapping toward the peer changed under the path, by the peer's word: the verdicts before
    /// and after.
    Rebound(Rebinding),
    /// The consumer was cancelled and does no more.
    Stopped,
}

/// A reader of notices. However slow it is, it holds nobody up: it loses the oldest, and
/// [`missed`](Self::missed) counts.
#[derive(Debug)]
pub struct Notices {
    receiver: broadcast::Receiver<Notice>,
    missed: u64,
}

impl Notices {
    /// The next one; `None` once nothing more can come. Cancel safe.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            match self.receiver.recv().await {
                Ok(notice) => return Some(notice),
                Err(broadcast::error::RecvError::Lagged(lost)) => self.missed += lost,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Notices that were lost because they were not taken in time.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }
}

/// Tells everybody who listens, and the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Teller {
    sender: Option<broadcast::Sender<Notice>>,
    slot: usize,
}

impl Teller {
    pub(crate) fn for_slot(&self, slot: usize) -> Self {
        Self {
            sender: self.sender.clone(),
            slot,
        }
    }

    /// A reader from now on. Without one, nothing is kept.
    pub(crate) fn subscribe(&mut self) -> Notices {
        let sender = self
            .sender
            .get_or_insert_with(|| broadcast::Sender::new(BACKLOG));
        Notices {
            receiver: sender.subscribe(),
            missed: 0,
        }
    }

    pub(crate) fn tell(&self, what: What) {
        let slot = self.slot;
        match &what {
            What::AttemptStarted => tracing::debug!(slot, "attempt started"),
            What::Moved { from, event, to } => tracing::debug!(slot, ?from, ?event, ?to, "moved"),
            What::Gathered(summary) => {
                tracing::info!(slot, verdict = summary.nat_type().as_legacy(), "gathered")
            }
            What::Connected(after) => tracing::info!(slot, ?after, "connected"),
            What::PathUp => tracing::info!(slot, "path up"),
            What::Carried { moved, dropped } => tracing::debug!(slot, ?moved, ?dropped, "carried"),
            What::PathDown => tracing::info!(slot, "path down"),
            What::Failed(reason) => tracing::info!(slot, reason = reason.as_str(), "failed"),
            What::Roamed(summary) => {
                tracing::info!(slot, verdict = summary.nat_type().as_legacy(), "roamed")
            }
            What::Rebound(Rebinding { number, was, is }) => {
                tracing::info!(slot, number, ?was, ?is, "rebound")
            }
            What::Stopped => tracing::debug!(slot, "stopped"),
        }
        if let Some(sender) = &self.sender {
            // fails where nobody listens any more
            let _ = sender.send(Notice { slot, what });
        }
    }
}

/// A path that was announced. However it ends, by a step or by a drop, its end is announced too.
#[derive(Debug)]
pub(crate) struct Announced {
    path: watch::Sender<bool>,
    teller: Teller,
}

impl Announced {
    pub(crate) fn new(path: watch::Sender<bool>, teller: Teller) -> Self {
        path.send_replace(true);
        teller.tell(What::PathUp);
        Self { path, teller }
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.path.send_replace(false);
        self.teller.tell(What::PathDown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_loses_the_oldest_and_counts_them_and_nobody_waits() {
        let mut teller = Teller::default();
        let mut notices = teller.subscribe();
        for _ in 0..BACKLOG + 10 {
            teller.tell(What::AttemptStarted);
        }
        teller.tell(What::Stopped);
        drop(teller);
        let mut last = None;
        let mut read = 0;
        while let Some(notice) = notices.next().await {
            last = Some(notice.what);
            read += 1;
        }
        assert_eq!(
            (read, notices.missed(), last),
            (BACKLOG, 11, Some(What::Stopped))
        );
    }

    #[tokio::test]
    async fn a_path_that_is_dropped_is_announced_as_down() {
        let mut teller = Teller::default();
        let mut notices = teller.subscribe();
        let path = watch::Sender::new(false);
        let announced = Announced::new(path.clone(), teller);
        assert!(*path.borrow());
        drop(announced);
        assert!(!*path.borrow());
        assert_eq!(
            notices.next().await.map(|notice| notice.what),
            Some(What::PathUp)
        );
        assert_eq!(
            notices.next().await.map(|notice| notice.what),
            Some(What::PathDown)
        );
    }
}
