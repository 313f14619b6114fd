//! The runner of attempts.

use std::time::Duration;

use consumer_fsm::signalling::Signalling;
use consumer_fsm::transport::Transport;
use consumer_fsm::{AttemptReport, Consumer, Event, NoticeKind};
use tokio_util::sync::CancellationToken;

/// When an attempt is cancelled.
pub(crate) enum Until {
    /// As soon as it has a path.
    Up,
    /// As soon as it has a path, or after so long.
    UpWithin(Duration),
    /// Never: it ends on its own.
    End,
    /// After so long.
    Milliseconds(u64),
    /// As soon as the machine took this event.
    Happened(Event),
    /// With this token.
    Cancelled(CancellationToken),
}

/// Runs one attempt of the consumer, and cancels it then.
pub(crate) async fn run<S: Signalling, T: Transport>(
    consumer: &mut Consumer<S, T>,
    until: Until,
) -> AttemptReport {
    let cancel = CancellationToken::new();
    let (mut path, mut notices) = (consumer.path(), consumer.notices());
    let user = async {
        match until {
            Until::Up => drop(path.wait_for(|up| *up).await),
            Until::UpWithin(patience) => {
                let _ = tokio::time::timeout(patience, path.wait_for(|up| *up)).await;
            }
            Until::End => std::future::pending().await,
            Until::Milliseconds(patience) => {
                tokio::time::sleep(Duration::from_millis(patience)).await;
            }
            Until::Happened(awaited) => {
                let is_awaited =
                    |kind| matches!(kind, NoticeKind::Transition(step) if step.event == awaited);
                while !notices
                    .next()
                    .await
                    .is_some_and(|notice| is_awaited(notice.kind))
                {}
            }
            Until::Cancelled(token) => token.cancelled().await,
        }
        cancel.cancel();
    };
    let attempt = consumer.attempt(&cancel);
    tokio::pin!(attempt, user);
    tokio::select! {
        report = &mut attempt => report,
        () = user => attempt.await,
    }
}
