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

    /// A path that reports these, one after the other, and then the last.
    struct Stops(std::sync::Mutex<Vec<StageReport>>);

    impl Path for Stops {
        async fn send(&self, _: &[u8]) -> bool {
            true
        }

        async fn recv(&self, _: &mut [u8]) -> Option<usize> {
            core::future::pending().await
        }

        fn stage(&self) -> Option<StageReport> {
            let mut reports = self.0.lock().unwrap();
            Some(if reports.len() > 1 {
                reports.remove(0)
            } else {
                reports[0]
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_new_verdict_on_a_path_is_a_notice_and_a_frozen_path_ends_only_if_asked_for() {
        let report = |verdict, silent| {
            let mut report = StageReport::of(nat_summary::stage::Stage::Open);
            report.verdict = verdict;
            report.silent_for = Some(Duration::from_secs(silent));
            report
        };
        let frozen = StageVerdict::FrozenAfterOpen;
        let reports = vec![
            report(StageVerdict::Unknown, 0),
            report(frozen, 10),
            report(frozen, 12),
            report(StageVerdict::Unknown, 0),
            report(frozen, 11),
            report(frozen, 20),
        ];
        for (limit, ends) in [(None, false), (Some(15), true), (Some(25), false)] {
            let mut sink = NoticeSink::default();
            let mut notices = sink.subscribe();
            let path = Stops(std::sync::Mutex::new(reports.clone()));
            let mut last = None;
            let limit = limit.map(Duration::from_secs);
            let telemetry = Telemetry::global();
            let watched = watch_stage(&path, limit, &mut last, &telemetry, &sink);
            let ended = tokio::time::timeout(Duration::from_secs(60), watched).await;
            assert_eq!(ended.is_ok(), ends, "{limit:?}");
            assert_eq!(last, Some(reports[5]));
            drop(sink);
            let mut seen = Vec::new();
            while let Some(notice) = notices.next().await {
                seen.push(notice.kind);
            }
            let expected = [1, 4].map(|at| NoticeKind::Stopping(Box::new(reports[at])));
            assert_eq!(seen, expected, "{limit:?}");
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
