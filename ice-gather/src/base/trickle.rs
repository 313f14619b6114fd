//! What is told while it is found (trickle ICE, RFC 8838), each thing once: to whoever gathers, and
//! to the agent's owner.

use std::net::SocketAddr;

use nat_summary::{CandidateKind, Observation, Outcome};
use tokio::sync::mpsc;

use super::gather::Heard;
use super::report::{GatheredCandidate, Progress, ServerReport, candidate};
use super::{Inner, lock};
use crate::agent::IceEvent;
use crate::plan::Plan;
use crate::uri::StunServer;

/// What of a gathering's progress was told already.
#[derive(Default)]
pub(super) struct Told {
    candidates: Vec<SocketAddr>,
    /// By the number of the request.
    requests: Vec<bool>,
    names: Vec<StunServer>,
}

/// Who hears of the agent's events.
pub(super) struct Listener {
    events: mpsc::Sender<IceEvent>,
    told: Told,
}

impl Inner {
    /// Host candidates, then reflexive ones in the order of asking, each address once.
    pub(super) fn candidates(&self, heard: &Heard) -> Vec<GatheredCandidate> {
        let mut candidates: Vec<GatheredCandidate> = Vec::new();
        for (number, host) in (1..).zip(self.lines.iter().flat_map(|line| &line.hosts)) {
            candidates.push(candidate(CandidateKind::Host, *host, *host, number));
        }
        let reflexive = heard.plan.iter().flat_map(Plan::possible);
        for (number, observation) in (100..).zip(reflexive) {
            let Observation { base, mapped, .. } = observation;
            if !candidates.iter().any(|c| c.address == mapped) {
                candidates.push(candidate(
                    CandidateKind::ServerReflexive,
                    mapped,
                    base,
                    number,
                ));
            }
        }
        #[cfg(feature = "relay")]
        candidates.extend(self.relay.get().and_then(crate::relay::Relayed::candidate));
        candidates
    }

    /// From now on events go there.
    pub(crate) fn listen(&self, events: mpsc::Sender<IceEvent>) {
        // first, for what is filed meanwhile waits to be told
        let mut listener = lock(&self.listener);
        let candidates = self
            .candidates(&self.heard())
            .iter()
            .map(|candidate| candidate.address)
            .collect();
        *listener = Some(Listener {
            events,
            told: Told {
                candidates,
                ..Told::default()
            },
        });
    }

    /// No event goes anywhere any longer.
    pub(crate) fn end_events(&self) {
        *lock(&self.listener) = None;
    }

    /// Tells of `event`, if somebody listens and keeps up.
    pub(crate) fn tell(&self, event: IceEvent) {
        if let Some(listener) = &*lock(&self.listener) {
            let _ = listener.events.try_send(event);
        }
    }

    /// Tells of candidates that came after gathering had ended, or from the relay.
    pub(super) fn tell_candidates(&self) {
        let mut listener = lock(&self.listener);
        let Some(Listener { events, told }) = &mut *listener else {
            return;
        };
        for candidate in self.candidates(&self.heard()) {
            let address = candidate.address;
            // one that does not fit is told with the next
            if !told.candidates.contains(&address)
                && events.try_send(IceEvent::Candidate(candidate)).is_ok()
            {
                told.candidates.push(address);
            }
        }
    }

    /// What is new since `told`.
    pub(super) fn news(&self, told: &mut Told) -> Vec<Progress> {
        let heard = self.heard();
        let mut news = Vec::new();
        for candidate in self.candidates(&heard) {
            if !told.candidates.contains(&candidate.address) {
                told.candidates.push(candidate.address);
                news.push(Progress::Candidate(candidate));
            }
        }
        let requests = heard.plan.as_ref().map_or(&[][..], Plan::requests);
        told.requests.resize(requests.len(), false);
        for (request, told) in requests.iter().zip(&mut told.requests) {
            if request.outcome != Outcome::Pending && !core::mem::replace(told, true) {
                news.push(Progress::Server(heard.report(request)));
            }
        }
        for (name, outcome) in &heard.names {
            if *outcome != Outcome::Pending && !told.names.contains(name) {
                told.names.push(name.clone());
                news.push(Progress::Server(ServerReport::of_name(name, *outcome)));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::net::UdpSocket;

    use super::*;
    use crate::base::Base;
    use crate::config::{BindConfig, GatherConfig};
    use crate::transaction::Header;

    /// An answer with this mapped address (RFC 8489 section 14.2), masked by the cookie.
    fn success(id: [u8; 12], [a, b, c, d]: [u8; 4]) -> Vec<u8> {
        let head = [&[1, 1, 0, 12, 0x21, 0x12, 0xA4, 0x42][..], &id].concat();
        let value = [0, 1, 0x21, 0x12 ^ 9, a ^ 0x21, b ^ 0x12, c ^ 0xA4, d ^ 0x42];
        [&head[..], &[0, 0x20, 0, 8], &value].concat()
    }

    #[tokio::test]
    async fn a_candidate_that_is_filed_as_somebody_begins_to_listen_is_not_lost_between() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let base = Base::bind(BindConfig::address([127, 0, 0, 1].into()))
            .await
            .unwrap();
        let config = GatherConfig {
            deadline: Duration::from_millis(1),
            ..GatherConfig::default()
        };
        base.gather(&[address.into()], &config).await;
        let mut buffer = [0; 1500];
        let (length, _) = server.recv_from(&mut buffer).await.unwrap();
        let answer = success(
            Header::peek(&buffer[..length]).unwrap().id,
            [203, 0, 113, 7],
        );
        let inner = base.inner();
        std::thread::scope(|scope| {
            // the one who files it told nobody, for nobody listened yet
            let listener = lock(&inner.listener);
            scope.spawn(|| inner.listen(mpsc::channel(1).0));
            std::thread::sleep(Duration::from_millis(20));
            let mut heard = inner.heard();
            let plan = heard.plan.as_mut().unwrap();
            plan.handle_datagram(Instant::now(), inner.lines[0].bound, address, &answer)
                .unwrap();
            drop((heard, listener));
        });
        let known = lock(&inner.listener)
            .as_ref()
            .unwrap()
            .told
            .candidates
            .len();
        assert_eq!(known, 2, "host and reflexive");
    }
}
