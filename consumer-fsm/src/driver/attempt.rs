//! What one attempt holds on its way, and what is told of it at the end.

use std::net::IpAddr;
use std::time::Duration;

use ice_gather::{Gathering, LocalAddresses};
use nat_summary::{CandidateKind, Evidence, NatSummary};
use otel_nat::{FailureReason, Telemetry};
use tokio::time::Instant;
use uuid::Uuid;

use super::peer::{self, PeerReport};
use crate::cohort::Cohort;
use crate::notice::Announced;
use crate::sdp::SessionDescription;
use crate::state::{Ending, Event, State};
use crate::transport::{Session, Transport};

/// Transitions kept in a report; the newest.
const MAX_TRANSITIONS: usize = 64;

/// What became of one attempt: from taking a cohort to having no path again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AttemptReport {
    /// How it ended; `None` if it ended before a STUN server was asked, and so without a span.
    pub ending: Option<Ending>,
    /// The verdict, late answers included; finer where packets that came in proved how the NAT
    /// filters.
    pub summary: NatSummary,
    /// What the peer's connectivity checks showed, if the transport can see them.
    pub peer: Option<PeerReport>,
    /// The last event.
    pub last_event: Option<Event>,
    /// Every transition, in order; the newest 64.
    pub transitions: Vec<(State, Event, State)>,
    /// What gathering found, if it came to its end.
    pub gathering: Option<Gathering>,
    /// The kinds of the pair that worked: ours, then the peer's.
    pub selected_pair: Option<(CandidateKind, CandidateKind)>,
    /// Time from the start to an open channel.
    pub connected_after: Option<Duration>,
    /// Time from start to end.
    pub elapsed: Duration,
    /// Datagrams sent and received over the path.
    pub moved: (u64, u64),
    /// Datagrams dropped on the way out, for the path did not take them; and on the way in, for
    /// our user did not or they were none, such as text.
    pub dropped: (u64, u64),
}

impl AttemptReport {
    fn nothing_yet() -> Self {
        Self {
            ending: None,
            summary: Evidence::new().summary(),
            peer: None,
            last_event: None,
            transitions: Vec::new(),
            gathering: None,
            selected_pair: None,
            connected_after: None,
            elapsed: Duration::ZERO,
            moved: (0, 0),
            dropped: (0, 0),
        }
    }

    /// The addresses of the sockets that were asked from.
    pub(super) fn sockets(&self) -> Vec<IpAddr> {
        let candidates = self
            .gathering
            .iter()
            .flat_map(|gathering| &gathering.candidates);
        candidates.map(|candidate| candidate.base.ip()).collect()
    }
}

/// What one attempt has gathered on its way.
pub(super) struct Attempt<T: Transport> {
    telemetry: Telemetry,
    pub(super) started: Instant,
    pub(super) span: Option<otel_nat::Attempt>,
    /// In front of the session: what is announced as up is down before it is closed.
    pub(super) announced: Option<Announced>,
    pub(super) session: Option<T::Session>,
    pub(super) id: Uuid,
    pub(super) cohort: Cohort,
    /// The host's addresses when the sockets were bound, if anybody looks.
    pub(super) addresses: Option<LocalAddresses>,
    /// When the cohort was last asked.
    pub(super) mapped_at: Option<Instant>,
    pub(super) partner: Option<String>,
    pub(super) remote: Option<SessionDescription>,
    /// What the peer advertised, as long as a failure may have to be explained by it.
    pub(super) theirs: Option<Box<Evidence>>,
    /// What that says of the NAT in front of it.
    pub(super) their_summary: Option<NatSummary>,
    /// A pair of candidates worked, and no channel came up over it.
    pub(super) paired: bool,
    pub(super) path: Option<<T::Session as Session>::Path>,
    pub(super) report: AttemptReport,
}

impl<T: Transport> Attempt<T> {
    pub(super) fn new(telemetry: &Telemetry, id: Uuid) -> Self {
        Self {
            telemetry: telemetry.clone(),
            started: Instant::now(),
            span: Some(telemetry.attempt()),
            announced: None,
            session: None,
            id,
            cohort: Cohort::default(),
            addresses: None,
            mapped_at: None,
            partner: None,
            remote: None,
            theirs: None,
            their_summary: None,
            paired: false,
            path: None,
            report: AttemptReport::nothing_yet(),
        }
    }

    pub(super) fn remember(&mut self, from: State, event: Event, to: State) {
        self.report.last_event = Some(event);
        if self.report.transitions.len() == MAX_TRANSITIONS {
            self.report.transitions.remove(0);
        }
        self.report.transitions.push((from, event, to));
    }

    /// The one span of this attempt, from everything observed up to now.
    pub(super) fn emit(&mut self, ending: Ending) {
        let Some(mut span) = self.span.take() else {
            return;
        };
        let failure = match ending {
            Ending::Success => None,
            Ending::Failure(reason) => Some(reason),
        };
        self.judge(failure);
        if let Some(peer) = &self.report.peer {
            peer.tell(&mut span);
        }
        if let Some(theirs) = &self.their_summary {
            span.set_peer_summary(theirs);
        }
        match failure {
            None => {
                self.theirs = None;
                span.succeed(&self.report.summary);
            }
            Some(reason) => span.fail(&self.report.summary, reason),
        }
        self.report.ending = Some(ending);
    }

    /// What is known by now goes into the report.
    fn judge(&mut self, failure: Option<FailureReason>) {
        if let Some(session) = &self.session {
            let (their_summary, theirs) = (self.their_summary.as_ref(), self.theirs.as_deref());
            (self.report.summary, self.report.peer) =
                peer::judge(session, their_summary, theirs, failure, self.paired);
        }
    }

    /// Closes the connection object, which keeps what it observed until then.
    pub(super) async fn close(&mut self) {
        self.path = None;
        let failure = match self.report.ending {
            Some(Ending::Failure(reason)) => Some(reason),
            _ => None,
        };
        self.judge(failure);
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    /// Measures how the mapping of a path held, as the path ends: the span went out when it came up.
    pub(super) fn record_mapping_lifetime(&self) {
        if let Some(lifetime) = self
            .report
            .peer
            .as_ref()
            .and_then(PeerReport::mapping_lifetime)
        {
            self.telemetry
                .record_mapping_lifetime(&self.report.summary, lifetime);
        }
    }

    pub(super) fn finish(mut self) -> AttemptReport {
        self.report.elapsed = self.started.elapsed();
        core::mem::replace(&mut self.report, AttemptReport::nothing_yet())
    }
}

impl<T: Transport> Drop for Attempt<T> {
    fn drop(&mut self) {
        // given up with a path, which ends here
        if self.announced.take().is_some() {
            self.judge(None);
            self.record_mapping_lifetime();
        }
    }
}
