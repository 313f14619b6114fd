//! The events of an agent: each candidate that is found late, once.

use std::net::SocketAddr;

use tokio::sync::mpsc;

use crate::candidate::GatheredCandidate;
use crate::event::IceEvent;

/// Where the events of an agent go.
pub(super) struct EventSink {
    events: mpsc::Sender<IceEvent>,
    /// Addresses of the candidates that need no event any more.
    candidates: Vec<SocketAddr>,
}

impl EventSink {
    /// A sink for candidates that are found from now on.
    pub(super) fn new(events: mpsc::Sender<IceEvent>, known: &[GatheredCandidate]) -> Self {
        let candidates = known.iter().map(|candidate| candidate.address).collect();
        Self { events, candidates }
    }

    /// Emits `event`, if its receiver keeps up.
    pub(super) fn emit(&self, event: IceEvent) {
        let _ = self.events.try_send(event);
    }

    /// Emits each candidate that is new. One that has no room is emitted with the next.
    pub(super) fn emit_candidates(&mut self, candidates: Vec<GatheredCandidate>) {
        for candidate in candidates {
            let address = candidate.address;
            if !self.candidates.contains(&address)
                && self.events.try_send(IceEvent::Candidate(candidate)).is_ok()
            {
                self.candidates.push(address);
            }
        }
    }

    /// How many candidates need no event any more.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.candidates.len()
    }
}

#[cfg(test)]
mod tests {
    use nat_summary::CandidateKind;

    use super::*;
    use crate::candidate::candidate;

    fn host(port: u16) -> GatheredCandidate {
        let address = SocketAddr::from(([192, 0, 2, 1], port));
        candidate(CandidateKind::Host, address, address, 1)
    }

    #[test]
    fn each_candidate_has_one_event_and_one_without_room_comes_with_the_next() {
        let (events, mut receiver) = mpsc::channel(1);
        let mut sink = EventSink::new(events, &[host(1)]);
        sink.emit_candidates(vec![host(1)]);
        assert!(receiver.try_recv().is_err(), "known from the start");
        sink.emit_candidates(vec![host(1), host(2), host(3)]);
        assert_eq!(receiver.try_recv(), Ok(IceEvent::Candidate(host(2))));
        assert!(receiver.try_recv().is_err(), "there was no room");
        sink.emit_candidates(vec![host(1), host(2), host(3)]);
        assert_eq!(receiver.try_recv(), Ok(IceEvent::Candidate(host(3))));
        sink.emit_candidates(vec![host(1), host(2), host(3)]);
        assert!(receiver.try_recv().is_err());
    }
}
