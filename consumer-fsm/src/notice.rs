//! The notices of a consumer: a bounded stream, and the same as log lines without addresses.

use std::time::Duration;

use ice_gather::Rebinding;
use nat_summary::NatSummary;
use nat_summary::stage::StageReport;
use otel_nat::FailureReason;
use tokio::sync::{broadcast, watch};

use crate::signalling::SignalError;
use crate::state::Transition;
use crate::traffic::Traffic;

/// Notices kept for a slow reader; older ones are lost to it, and counted.
pub(crate) const BACKLOG: usize = 256;

/// An occurrence in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// The slot of a [`Pool`](crate::Pool); 0 for a [`Consumer`](crate::Consumer) of its own.
    pub slot: usize,
    /// The kind of occurrence, and its details.
    pub kind: NoticeKind,
}

/// The kind of an occurrence, and its details.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoticeKind {
    /// An attempt began.
    AttemptStarted,
    /// The machine took a step.
    Transition(Transition),
    /// No volunteer has announced itself for two seconds. The attempt goes on listening.
    NoVolunteer,
    /// The cohort was asked, and this is the verdict.
    Gathered(Box<NatSummary>),
    /// The channel is open, so long after the attempt began.
    Connected(Duration),
    /// A path is up: datagrams can be moved.
    PathUp,
    /// The datagrams of a path, when it ends.
    Carried(Traffic),
    /// The path is down.
    PathDown,
    /// An exchange with the signalling service failed. The attempt may go on.
    SignallingFailed(SignalError),
    /// The attempt ended without a path.
    Failed(FailureReason),
    /// The host's addresses changed, the cohort was asked again, and this is the new verdict.
    Roamed(Box<NatSummary>),
    /// The mapping toward the peer changed under the path, by the peer's word: the verdicts before
    /// and after.
    Rebound(Rebinding),
    /// The peer signalled more addresses than an attempt may check, and so many packets and
    /// candidates were held back, counted as the attempt ends.
    HeldBack(u32),
    /// A path that was open is stopped, or was as it ended: the verdict, and the numbers behind it.
    Stopping(Box<StageReport>),
    /// The consumer was cancelled and does no more.
    Stopped,
}

impl NoticeKind {
    /// The word for the kind, as the program `consumer` prints it in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::AttemptStarted => "attempt_started",
            Self::Transition(_) => "moved",
            Self::NoVolunteer => "no_volunteer",
            Self::Gathered(_) => "gathered",
            Self::Connected(_) => "connected",
            Self::PathUp => "path_up",
            Self::Carried(_) => "carried",
            Self::PathDown => "path_down",
            Self::SignallingFailed(_) => "signalling_failed",
            Self::Failed(_) => "failed",
            Self::Roamed(_) => "roamed",
            Self::Rebound(_) => "rebound",
            Self::HeldBack(_) => "held_back",
            Self::Stopping(_) => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// A reader of notices. A slow reader never holds the consumer up: the oldest notices are lost to
/// it, and [`missed`](Self::missed) counts them.
#[derive(Debug)]
pub struct Notices {
    receiver: broadcast::Receiver<Notice>,
    missed: u64,
}

impl Notices {
    /// The next notice; `None` once the consumer is gone. Cancel safe.
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

/// Publishes notices of one slot to every reader, and to the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct NoticeSink {
    sender: Option<broadcast::Sender<Notice>>,
    slot: usize,
}

impl NoticeSink {
    pub(crate) fn for_slot(&self, slot: usize) -> Self {
        Self {
            sender: self.sender.clone(),
            slot,
        }
    }

    /// A reader from now on. Notices are kept only while there is a reader.
    pub(crate) fn subscribe(&mut self) -> Notices {
        let sender = self
            .sender
            .get_or_insert_with(|| broadcast::Sender::new(BACKLOG));
        Notices {
            receiver: sender.subscribe(),
            missed: 0,
        }
    }

    pub(crate) fn publish(&self, kind: NoticeKind) {
        self.log(&kind);
        if let Some(sender) = &self.sender {
            // fails once every reader is gone
            let _ = sender.send(Notice {
                slot: self.slot,
                kind,
            });
        }
    }

    fn log(&self, kind: &NoticeKind) {
        let slot = self.slot;
        match kind {
            NoticeKind::AttemptStarted => tracing::debug!(slot, "attempt started"),
            NoticeKind::Transition(Transition { from, event, to }) => {
                tracing::debug!(slot, ?from, ?event, ?to, "moved");
            }
            NoticeKind::NoVolunteer => tracing::info!(slot, "no volunteer is free"),
            NoticeKind::Gathered(summary) => {
                tracing::info!(slot, verdict = summary.nat_type().as_legacy(), "gathered");
            }
            NoticeKind::Connected(after) => tracing::info!(slot, ?after, "connected"),
            NoticeKind::PathUp => tracing::info!(slot, "path up"),
            NoticeKind::Carried(traffic) => tracing::debug!(slot, ?traffic, "carried"),
            NoticeKind::PathDown => tracing::info!(slot, "path down"),
            NoticeKind::SignallingFailed(error) => {
                tracing::warn!(slot, %error, "signalling failed")
            }
            NoticeKind::Failed(reason) => {
                tracing::info!(slot, reason = reason.as_str(), "failed");
            }
            NoticeKind::Roamed(summary) => {
                tracing::info!(slot, verdict = summary.nat_type().as_legacy(), "roamed");
            }
            NoticeKind::Rebound(Rebinding { number, was, is }) => {
                tracing::info!(slot, number, ?was, ?is, "rebound");
            }
            NoticeKind::HeldBack(count) => {
                tracing::info!(slot, count, "too many candidates, held back")
            }
            NoticeKind::Stopping(report) => {
                let (stage, verdict) = (report.stage.as_str(), report.verdict.as_str());
                tracing::info!(slot, stage, verdict, "the path is stopped");
            }
            NoticeKind::Stopped => tracing::debug!(slot, "stopped"),
        }
    }
}

/// The announcement of a path. The path is announced as down when this is dropped, so that every
/// end of a path is announced: by a step of the machine, or by a drop of the attempt.
#[derive(Debug)]
pub(crate) struct AnnouncedPath {
    path: watch::Sender<bool>,
    notices: NoticeSink,
}

impl AnnouncedPath {
    pub(crate) fn up(path: watch::Sender<bool>, notices: NoticeSink) -> Self {
        path.send_replace(true);
        notices.publish(NoticeKind::PathUp);
        Self { path, notices }
    }
}

impl Drop for AnnouncedPath {
    fn drop(&mut self) {
        self.path.send_replace(false);
        self.notices.publish(NoticeKind::PathDown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_loses_the_oldest_and_counts_them_and_the_consumer_does_not_wait() {
        let mut sink = NoticeSink::default();
        let mut notices = sink.subscribe();
        for _ in 0..BACKLOG + 10 {
            sink.publish(NoticeKind::AttemptStarted);
        }
        sink.publish(NoticeKind::Stopped);
        drop(sink);
        let mut last = None;
        let mut read = 0;
        while let Some(notice) = notices.next().await {
            last = Some(notice.kind);
            read += 1;
        }
        assert_eq!(
            (read, notices.missed(), last),
            (BACKLOG, 11, Some(NoticeKind::Stopped))
        );
    }

    #[tokio::test]
    async fn a_path_that_is_dropped_is_announced_as_down() {
        let mut sink = NoticeSink::default();
        let mut notices = sink.subscribe();
        let path = watch::Sender::new(false);
        let announced = AnnouncedPath::up(path.clone(), sink);
        assert!(*path.borrow());
        drop(announced);
        assert!(!*path.borrow());
        for kind in [NoticeKind::PathUp, NoticeKind::PathDown] {
            assert_eq!(notices.next().await.map(|notice| notice.kind), Some(kind));
        }
    }
}
