//! The end of a path, and the rebindings while there is one.

use core::convert::Infallible;

use std::time::Duration;

use nat_summary::PathEnd;
use nat_summary::stage::{StageReport, StageVerdict};
use otel_nat::{FailureReason, Telemetry};

use crate::notice::{NoticeKind, NoticeSink};
use crate::transport::{Path, Session};

/// Between two looks at the stage of a path: a verdict needs many seconds.
const STAGE_PAUSE: Duration = Duration::from_secs(2);

/// How far the path of an attempt came that failed for this reason. `has_pair`: a pair of candidates
/// worked to the end.
pub(super) const fn path_end(failure: Option<FailureReason>, has_pair: bool) -> PathEnd {
    match failure {
        None => PathEnd::Connected,
        Some(
            FailureReason::Timeout
            | FailureReason::IceFailed
            | FailureReason::UdpBlocked
            | FailureReason::NoServerAnswered
            | FailureReason::ChannelFailed,
        ) => {
            if has_pair {
                PathEnd::ChannelFailed
            } else {
                PathEnd::NoPair
            }
        }
        Some(_) => PathEnd::Undecided,
    }
}

/// Publishes each rebinding while there is a path; never ends.
pub(super) async fn publish_rebindings(
    session: Option<&impl Session>,
    notices: &NoticeSink,
) -> Infallible {
    if let Some(mut rebindings) = session.and_then(Session::rebindings) {
        while rebindings.changed().await.is_ok() {
            if let Some(rebinding) = *rebindings.borrow_and_update() {
                notices.publish(NoticeKind::Rebound(rebinding));
            }
        }
    }
    core::future::pending().await
}

/// Watches what stops a path while there is one: each new verdict is a notice, a metric and in `last`.
/// Returns once the path is frozen for `limit`, never without one.
pub(super) async fn watch_stage(
    path: &impl Path,
    limit: Option<Duration>,
    last: &mut Option<StageReport>,
    telemetry: &Telemetry,
    notices: &NoticeSink,
) {
    loop {
        tokio::time::sleep(STAGE_PAUSE).await;
        let Some(report) = path.stage() else {
            return core::future::pending().await;
        };
        let before = last.replace(report).map(|last| last.verdict);
        let is_stopped = report.verdict != StageVerdict::Unknown;
        if is_stopped && before != Some(report.verdict) {
            telemetry.record_stage(&report);
            notices.publish(NoticeKind::Stopping(Box::new(report)));
        }
        let is_frozen = report.verdict == StageVerdict::FrozenAfterOpen;
        if limit.is_some_and(|limit| is_frozen && report.silent_for >= Some(limit)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use ice_gather::{Credentials, Gathering, Rebinding, StunServer};
    use nat_summary::{CandidateKind, Evidence, TowardPeer};
    use tokio::sync::watch;

    use super::*;
    use crate::sdp::SessionDescription;
    use crate::transport::TransportError;

    /// A session that only rebinds.
    struct Rebinds(watch::Sender<Option<Rebinding>>);

    struct NoPath;

    impl Path for NoPath {
        async fn send(&self, _: &[u8]) -> bool {
            false
        }

        async fn recv(&self, _: &mut [u8]) -> Option<usize> {
            None
        }
    }

    impl Session for Rebinds {
        type Path = NoPath;

        fn credentials(&self) -> &Credentials {
            unimplemented!("the test does not signal")
        }

        async fn gather(&self, _: &[StunServer]) -> Gathering {
            unimplemented!("the test does not gather")
        }

        fn evidence(&self) -> Box<Evidence> {
            Box::default()
        }

        async fn connect(
            &mut self,
            _: SessionDescription,
            _: Duration,
        ) -> Result<NoPath, TransportError> {
            Err(TransportError::Failed)
        }

        fn selected_pair(&self) -> Option<(CandidateKind, CandidateKind)> {
            None
        }

        fn rebindings(&self) -> Option<watch::Receiver<Option<Rebinding>>> {
            Some(self.0.subscribe())
        }

        async fn close(self) {}
    }

    #[tokio::test]
    async fn each_rebinding_is_a_notice_and_the_end_of_the_session_is_none() {
        let mut sink = NoticeSink::default();
        let mut notices = sink.subscribe();
        let session = Rebinds(watch::Sender::new(None));
        let rebindings = [
            Rebinding {
                number: 1,
                was: TowardPeer::Kept,
                is: TowardPeer::Changed,
            },
            Rebinding {
                number: 2,
                was: TowardPeer::Changed,
                is: TowardPeer::Kept,
            },
        ];
        let read = async {
            for rebinding in rebindings {
                session.0.send_replace(Some(rebinding));
                assert_eq!(
                    notices.next().await.map(|notice| notice.kind),
                    Some(NoticeKind::Rebound(rebinding))
                );
            }
        };
        tokio::select! {
            biased;
            never = publish_rebindings(Some(&session), &sink) => match never {},
            () = read => {}
        }
    }

    #[test]
    fn a_cause_is_sought_only_where_the_nats_may_have_one() {
        for reason in FailureReason::ALL {
            let path = path_end(Some(*reason), *reason == FailureReason::ChannelFailed);
            let expected = match reason {
                FailureReason::ChannelFailed => PathEnd::ChannelFailed,
                FailureReason::Timeout
                | FailureReason::IceFailed
                | FailureReason::UdpBlocked
                | FailureReason::NoServerAnswered => PathEnd::NoPair,
                _ => PathEnd::Undecided,
            };
            assert_eq!(path, expected, "{reason:?}");
        }
        assert_eq!(path_end(None, false), PathEnd::Connected);
    }
}
