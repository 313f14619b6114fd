//! An attempt in progress: everything it holds until it ends, and its span.

use ice_gather::LocalAddresses;
use nat_summary::stage::{Stage, StageReport, StageVerdict};
use nat_summary::{AttemptEvidence, AttemptVerdict, Evidence, NatSummary};
use otel_nat::{FailureReason, MappingLifetime, Telemetry};
use tokio::time::Instant;

use super::checks;
use super::report::AttemptReport;
use crate::cohort::Cohort;
use crate::notice::AnnouncedPath;
use crate::sdp::SessionDescription;
use crate::signalling::SignalError;
use crate::state::Ending;
use crate::transport::{Path, Session, Transport};

/// An attempt in progress.
pub(super) struct OngoingAttempt<T: Transport> {
    telemetry: Telemetry,
    pub(super) started: Instant,
    pub(super) span: Option<otel_nat::Attempt>,
    /// Stands in front of the session, because a path is announced as down before it is closed.
    pub(super) announced: Option<AnnouncedPath>,
    pub(super) session: Option<T::Session>,
    pub(super) cohort: Cohort,
    /// The host's addresses when the sockets were bound, if roaming is on.
    pub(super) addresses: Option<LocalAddresses>,
    /// The time at which the cohort was last asked.
    pub(super) mapped_at: Option<Instant>,
    /// The reply-to id of the producer.
    pub(super) partner: Option<String>,
    pub(super) remote: Option<SessionDescription>,
    /// The candidates that the peer advertised, as long as a failure may have to be explained by
    /// them.
    pub(super) peer_evidence: Option<Box<Evidence>>,
    /// The verdict of that evidence on the NAT in front of the peer.
    pub(super) peer_summary: Option<NatSummary>,
    /// A pair of candidates worked, and no channel came up over it.
    pub(super) has_pair: bool,
    pub(super) path: Option<<T::Session as Session>::Path>,
    /// The failure of signalling behind the next event.
    pub(super) signal_error: Option<SignalError>,
    pub(super) report: AttemptReport,
}

impl<T: Transport> OngoingAttempt<T> {
    pub(super) fn new(telemetry: &Telemetry) -> Self {
        Self {
            telemetry: telemetry.clone(),
            started: Instant::now(),
            span: Some(telemetry.attempt()),
            announced: None,
            session: None,
            cohort: Cohort::default(),
            addresses: None,
            mapped_at: None,
            partner: None,
            remote: None,
            peer_evidence: None,
            peer_summary: None,
            has_pair: false,
            path: None,
            signal_error: None,
            report: AttemptReport::empty(),
        }
    }

    /// Emits the one span of this attempt, from all evidence up to now.
    pub(super) fn emit_span(&mut self, ending: Ending) {
        let Some(span) = self.span.take() else {
            return;
        };
        let failure = ending.failure_reason();
        let summary = self.report.summary;
        match (self.session.is_some(), failure) {
            (true, _) => self.judge(failure, |evidence| span.end(evidence, failure)),
            (false, None) => span.succeed(&summary),
            (false, Some(reason)) => span.fail(&summary, reason),
        }
        if failure.is_none() {
            self.peer_evidence = None;
        }
        self.report.ending = Some(ending);
    }

    /// Has `end` judge the evidence up to now, for the report.
    fn judge(
        &mut self,
        failure: Option<FailureReason>,
        end: impl FnOnce(&AttemptEvidence<'_>) -> AttemptVerdict,
    ) {
        let Some(session) = &self.session else {
            return;
        };
        let observed = session.evidence();
        let view = session.peer_view();
        let mut evidence =
            AttemptEvidence::new(&observed).with_path(checks::path_end(failure, self.has_pair));
        if let Some(summary) = self.peer_summary {
            evidence = evidence.with_peer_summary(summary);
        }
        if let Some(candidates) = &self.peer_evidence {
            evidence = evidence.with_peer_candidates(candidates);
        }
        if let Some((ours, theirs)) = self.report.selected_pair {
            evidence = evidence.with_selected_pair(ours, theirs);
        }
        if let Some(view) = &view {
            evidence = evidence.with_peer_checks(view.as_checks());
        }
        // an attempt that ends before its channel opens has come to signalling at least
        let signalling = || StageReport::of(Stage::Signalling);
        evidence = evidence.with_stage(self.report.stage.unwrap_or_else(signalling));
        let verdict = end(&evidence);
        (self.report.summary, self.report.peer) = (verdict.summary, verdict.peer);
        self.report.held_back = view.map_or(0, |view| view.held_back);
    }

    /// Closes the connection object, whose observations count until then.
    pub(super) async fn close(&mut self) {
        self.path = None;
        let failure = self.report.ending.and_then(Ending::failure_reason);
        self.judge(failure, |evidence| evidence.verdict());
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    /// Measures how the mapping of a path held, as the path ends: the span went out when the path
    /// came up.
    pub(super) fn record_mapping_lifetime(&self) {
        let peer = self.report.peer.as_ref();
        if let Some(lifetime) = peer.and_then(MappingLifetime::of) {
            self.telemetry
                .record_mapping_lifetime(&self.report.summary, lifetime);
        }
    }

    /// Takes what stopped a path that ends; the verdict, if it is a new one.
    pub(super) fn end_stage(&mut self) -> Option<StageReport> {
        let report = self.path.as_ref().and_then(Path::stage)?;
        let before = self.report.stage.replace(report);
        let is_new = before.is_none_or(|before| before.verdict != report.verdict);
        let stopped = is_new && report.verdict != StageVerdict::Unknown;
        if stopped {
            self.telemetry.record_stage(&report);
        }
        stopped.then_some(report)
    }

    pub(super) fn finish(mut self) -> AttemptReport {
        self.report.elapsed = self.started.elapsed();
        core::mem::replace(&mut self.report, AttemptReport::empty())
    }
}

impl<T: Transport> Drop for OngoingAttempt<T> {
    fn drop(&mut self) {
        // dropped with a path, which ends here
        if self.announced.take().is_some() {
            self.judge(None, |evidence| evidence.verdict());
            self.record_mapping_lifetime();
        }
    }
}
