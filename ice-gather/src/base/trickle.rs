//! The progress of a gathering: reports of results as they are found (trickle ICE, RFC 8838), each
//! once.

use std::net::SocketAddr;

use nat_summary::Outcome;

use super::observed::Observed;
use super::report::{Progress, ServerReport};
use crate::candidate::GatheredCandidate;
use crate::stun::StunServer;

/// The part of a gathering's progress that was reported already.
#[derive(Default)]
pub(super) struct Reported {
    candidates: Vec<SocketAddr>,
    /// By the number of the request.
    requests: Vec<bool>,
    names: Vec<StunServer>,
}

impl Reported {
    /// The progress since the last call.
    pub(super) fn progress(
        &mut self,
        observed: &Observed,
        candidates: Vec<GatheredCandidate>,
    ) -> Vec<Progress> {
        let mut progress = Vec::new();
        for candidate in candidates {
            if !self.candidates.contains(&candidate.address) {
                self.candidates.push(candidate.address);
                progress.push(Progress::Candidate(candidate));
            }
        }
        let requests = observed.requests();
        self.requests.resize(requests.len(), false);
        for (request, reported) in requests.iter().zip(&mut self.requests) {
            if request.outcome != Outcome::Pending && !core::mem::replace(reported, true) {
                progress.push(Progress::Server(observed.report(request)));
            }
        }
        for (name, outcome) in observed.names() {
            if *outcome != Outcome::Pending && !self.names.contains(name) {
                self.names.push(name.clone());
                progress.push(Progress::Server(ServerReport::of_name(name, *outcome)));
            }
        }
        progress
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::observed::{Asking, Filed};
    use super::*;
    use crate::config::GatherConfig;
    use crate::stun::write_success;

    #[test]
    fn progress_is_reported_once_and_as_it_comes() {
        let (base, now) = (SocketAddr::from(([192, 0, 2, 1], 1)), Instant::now());
        let server = SocketAddr::from(([192, 0, 2, 2], 3478));
        let name: StunServer = "stun.example.org".parse().unwrap();
        let asking = |_| Asking {
            leaves_from: None,
            id: [7; 12],
        };
        let mut observed = Observed::new([base.ip()]);
        let servers = [StunServer::Address(server), name.clone()];
        let config = GatherConfig::default();
        observed.start_plan(&servers, &config, vec![base], now, asking);
        observed.poll_transmit(now).unwrap();

        let mut reported = Reported::default();
        let mut progress = |observed: &Observed| -> Vec<String> {
            let candidates = observed.candidates([base].into_iter(), None);
            let progress = reported.progress(observed, candidates);
            let words = progress.iter().map(|progress| match progress {
                Progress::Candidate(candidate) => format!("{:?}", candidate.kind),
                Progress::Server(report) => format!("{:?}", report.outcome),
            });
            words.collect()
        };
        assert_eq!(progress(&observed), ["Host"]);
        assert!(progress(&observed).is_empty());
        let answer = write_success([7; 12], SocketAddr::from(([203, 0, 113, 7], 9)));
        let filed = observed.file_answer(now, base, server, &answer);
        assert_eq!(filed, Filed::Answer);
        assert_eq!(progress(&observed), ["ServerReflexive", "Answered"]);
        observed.resolved(Some((name, Vec::new())), now, asking);
        assert_eq!(progress(&observed), ["Unresolved"]);
        assert!(progress(&observed).is_empty());
    }
}
