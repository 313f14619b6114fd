//! An attempt in progress: everything it holds until it ends, and its span.

use ice_gather::LocalAddresses;
use nat_summary::{Evidence, NatSummary};
use otel_nat::{FailureReason, Telemetry};
use tokio::time::Instant;

use super::checks::{self, PeerReport};
use super::report::AttemptReport;
use crate::cohort::Cohort;
use crate::notice::AnnouncedPath;
use crate::sdp::SessionDescription;
use crate::signalling::SignalError;
use crate::state::Ending;
use crate::transport::{Session, Transport};

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
        let Some(mut span) = self.span.take() else {
            return;
        };
        let failure = ending.failure_reason();
        self.judge(failure);
        if let Some(peer) = &self.report.peer {
            peer.record(&mut span);
        }
        if let Some(summary) = &self.peer_summary {
            span.set_peer_summary(summary);
        }
        match failure {
            None => {
                self.peer_evidence = None;
                span.succeed(&self.report.summary);
            }
            Some(reason) => span.fail(&self.report.summary, reason),
        }
        self.report.ending = Some(ending);
    }

    /// Judges the evidence up to now, for the report.
    fn judge(&mut self, failure: Option<FailureReason>) {
        if let Some(session) = &self.session {
            (self.report.summary, self.report.peer) = checks::judge(
                session,
                self.peer_summary.as_ref(),
                self.peer_evidence.as_deref(),
                failure,
                self.has_pair,
            );
        }
    }

    /// Closes the connection object, whose observations count until then.
    pub(super) async fn close(&mut self) {
        self.path = None;
        self.judge(self.report.ending.and_then(Ending::failure_reason));
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    /// Measures how the mapping of a path held, as the path ends: the span went out when the path
    /// came up.
    pub(super) fn record_mapping_lifetime(&self) {
        let peer = self.report.peer.as_ref();
        if let Some(lifetime) = peer.and_then(PeerReport::mapping_lifetime) {
            self.telemetry
                .record_mapping_lifetime(&self.report.summary, lifetime);
        }
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
            self.judge(None);
            self.record_mapping_lifetime();
        }
    }
}
