//! The report of one attempt.

use std::net::IpAddr;
use std::time::Duration;

use ice_gather::Gathering;
use nat_summary::stage::StageReport;
use nat_summary::{CandidateKind, Evidence, NatSummary, PeerReport};

use crate::signalling::SignalError;
use crate::state::{Ending, Event, Transition};
use crate::traffic::Traffic;

/// Transitions kept in a report; the newest.
const MAX_TRANSITIONS: usize = 64;

/// The report of one attempt, from taking a cohort to having no path again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AttemptReport {
    /// How the attempt ended; `None` if it ended before a STUN server was asked, and so without a
    /// span.
    pub ending: Option<Ending>,
    /// The verdict, late answers included; finer where incoming packets proved how the NAT filters.
    pub summary: NatSummary,
    /// The results of the peer's connectivity checks, if the transport can see them.
    pub peer: Option<PeerReport>,
    /// Packets and candidates that were held back until the end of the attempt, because the peer
    /// signalled more than an attempt may check ([`ice_gather::PeerView::held_back`]).
    pub held_back: u32,
    /// The last event.
    pub last_event: Option<Event>,
    /// The last failure of signalling.
    pub signal_error: Option<SignalError>,
    /// Every transition, in order; the newest 64.
    pub transitions: Vec<Transition>,
    /// The result of gathering, if gathering came to its end.
    pub gathering: Option<Gathering>,
    /// The kinds of the pair that worked: ours, then the peer's.
    pub selected_pair: Option<(CandidateKind, CandidateKind)>,
    /// How far the attempt came and what stopped it: until the channel opened, and then until the path
    /// ended; `None` before the peer's answer.
    pub stage: Option<StageReport>,
    /// Time from the start to an open channel.
    pub connected_after: Option<Duration>,
    /// Time from start to end.
    pub elapsed: Duration,
    /// The datagrams of the path.
    pub traffic: Traffic,
}

impl AttemptReport {
    pub(super) fn empty() -> Self {
        Self {
            ending: None,
            summary: Evidence::new().summary(),
            peer: None,
            held_back: 0,
            last_event: None,
            signal_error: None,
            transitions: Vec::new(),
            gathering: None,
            selected_pair: None,
            stage: None,
            connected_after: None,
            elapsed: Duration::ZERO,
            traffic: Traffic::default(),
        }
    }

    pub(super) fn record(&mut self, transition: Transition) {
        self.last_event = Some(transition.event);
        if self.transitions.len() == MAX_TRANSITIONS {
            self.transitions.remove(0);
        }
        self.transitions.push(transition);
    }

    /// The addresses of the sockets from which the cohort was asked.
    pub(super) fn sockets(&self) -> Vec<IpAddr> {
        let candidates = self
            .gathering
            .iter()
            .flat_map(|gathering| &gathering.candidates);
        candidates.map(|candidate| candidate.base.ip()).collect()
    }
}
