//! Everything known of one connection attempt at its end, and the verdicts on it.

use core::time::Duration;

use crate::candidate::CandidateKind;
use crate::evidence::Evidence;
use crate::failure::{Checks, FailureCause, Hosts};
use crate::outlook::Outlook;
use crate::peer::{PeerEvidence, PeerSummary};
use crate::stage::StageReport;
use crate::summary::NatSummary;
use crate::words::words;

/// How far the path of an attempt came.
///
/// ```
/// assert_eq!(nat_summary::PathEnd::NoPair.as_str(), "no_pair");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PathEnd {
    /// No connectivity check decided the end: the attempt ended before, or for another reason.
    #[default]
    Undecided,
    /// No pair of candidates worked in the time there was.
    NoPair,
    /// Every pair of candidates failed, or the pair in use was lost before the channel came up.
    PairsFailed,
    /// A pair of candidates worked to the end, and the channel over it did not come up.
    ChannelFailed,
    /// The path came up.
    Connected,
}

words! {
    /// Its word.
    PathEnd {
        Undecided => "undecided",
        NoPair => "no_pair",
        PairsFailed => "pairs_failed",
        ChannelFailed => "channel_failed",
        Connected => "connected",
    }
}

/// What the peer's connectivity checks showed: the part of an ICE agent's view that the judge reads.
///
/// ```
/// use nat_summary::{Checks, PeerChecks, PeerEvidence};
///
/// let evidence = PeerEvidence::new();
/// let checks = Checks { sent: 4, answered: 2, ..Checks::default() };
/// let seen = PeerChecks { evidence: &evidence, checks, rebindings: 0, survived: None };
/// assert_eq!(seen.checks.answered, 2);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct PeerChecks<'a> {
    /// What the checks prove about the NAT.
    pub evidence: &'a PeerEvidence,
    /// The number of checks.
    pub checks: Checks,
    /// How often the mapping toward an address of the peer changed.
    pub rebindings: u32,
    /// The longest time without a packet that the mapping outlived.
    pub survived: Option<Duration>,
}

/// Everything known of one attempt at its end: the observations of both sides and the end of the
/// path. [`verdict`](Self::verdict) judges all of it.
///
/// ```
/// use nat_summary::{AttemptEvidence, Evidence, FailureCause, NatType, PathEnd};
/// use nat_summary::{Checks, PeerChecks, PeerEvidence};
///
/// let ours = Evidence::new();
/// let checks = PeerChecks {
///     evidence: &PeerEvidence::new(),
///     checks: Checks { sent: 9, received: 3, sent_since_received: 8, ..Checks::default() },
///     rebindings: 0,
///     survived: None,
/// };
/// let verdict = AttemptEvidence::new(&ours)
///     .with_peer_checks(checks)
///     .with_path(PathEnd::NoPair)
///     .verdict();
/// assert_eq!(verdict.summary.nat_type(), NatType::Unknown);
/// assert_eq!(verdict.peer.and_then(|peer| peer.cause), Some(FailureCause::ChecksOneWay));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct AttemptEvidence<'a> {
    servers: &'a Evidence,
    checks: Option<PeerChecks<'a>>,
    peer_candidates: Option<&'a Evidence>,
    peer_summary: Option<NatSummary>,
    selected_pair: Option<(CandidateKind, CandidateKind)>,
    path: PathEnd,
    stage: Option<StageReport>,
}

impl<'a> AttemptEvidence<'a> {
    /// The observations of the servers, and nothing else yet.
    #[must_use]
    pub const fn new(servers: &'a Evidence) -> Self {
        Self {
            servers,
            checks: None,
            peer_candidates: None,
            peer_summary: None,
            selected_pair: None,
            path: PathEnd::Undecided,
            stage: None,
        }
    }

    /// Adds what the peer's checks showed. Without them nothing is reported of the peer, and no
    /// cause of a failure is known.
    #[must_use]
    pub const fn with_peer_checks(mut self, checks: PeerChecks<'a>) -> Self {
        self.checks = Some(checks);
        self
    }

    /// Adds the candidates of the peer's description, as
    /// [`Evidence::from_description`] reads them.
    #[must_use]
    pub const fn with_peer_candidates(mut self, candidates: &'a Evidence) -> Self {
        self.peer_candidates = Some(candidates);
        self
    }

    /// Adds the verdict on the peer's candidates, where they are not kept, or it is known already.
    #[must_use]
    pub const fn with_peer_summary(mut self, summary: NatSummary) -> Self {
        self.peer_summary = Some(summary);
        self
    }

    /// Sets the kinds of the pair in use: ours, then the peer's.
    #[must_use]
    pub const fn with_selected_pair(mut self, ours: CandidateKind, theirs: CandidateKind) -> Self {
        self.selected_pair = Some((ours, theirs));
        self
    }

    /// Sets how far the path came; [`PathEnd::Undecided`] unless set.
    #[must_use]
    pub const fn with_path(mut self, path: PathEnd) -> Self {
        self.path = path;
        self
    }

    /// Adds the stage that the attempt reached, and what stopped it.
    #[must_use]
    pub const fn with_stage(mut self, stage: StageReport) -> Self {
        self.stage = Some(stage);
        self
    }

    /// How far the path came.
    #[must_use]
    pub const fn path(&self) -> PathEnd {
        self.path
    }

    /// The verdicts on all of it. The peer's word never changes that of the servers, except for a
    /// filtering that incoming packets proved.
    #[must_use]
    pub fn verdict(&self) -> AttemptVerdict {
        let by_servers = self.servers.summary();
        let judge_peer = || self.peer_candidates.map(Evidence::summary);
        let peer_summary = self.peer_summary.or_else(judge_peer);
        let mut verdict = AttemptVerdict {
            summary: by_servers,
            peer: None,
            peer_summary,
            selected_pair: self.selected_pair,
            stage: self.stage,
        };
        let Some(seen) = self.checks else {
            return verdict;
        };
        let peer = seen.evidence.summary(self.servers);
        let summary = by_servers.with_filtering(peer.filtering.proven());
        verdict.summary = summary;
        verdict.peer = Some(PeerReport {
            summary: peer,
            checks: seen.checks,
            rebindings: seen.rebindings,
            // without a NAT there is no mapping that could expire
            survived: seen.survived.filter(|_| summary.is_natted() == Some(true)),
            outlook: peer_summary.map(|theirs| Outlook::between(&summary, &theirs)),
            cause: self.cause(&summary, seen.checks),
        });
        verdict
    }

    /// The cause of a failure that the two NATs may have caused.
    fn cause(&self, ours: &NatSummary, checks: Checks) -> Option<FailureCause> {
        match self.path {
            PathEnd::Undecided | PathEnd::Connected => None,
            PathEnd::ChannelFailed => {
                let verdict = self.stage.map(|stage| stage.verdict).unwrap_or_default();
                Some(FailureCause::Channel(verdict))
            }
            PathEnd::NoPair | PathEnd::PairsFailed => {
                let hosts = Hosts {
                    ours,
                    locals: Some(self.servers),
                    theirs: self.peer_candidates,
                };
                Some(FailureCause::between(hosts, checks, false))
            }
        }
    }
}

/// The verdicts on an attempt: everything that its span is made of.
///
/// ```
/// use nat_summary::{AttemptEvidence, CandidateKind, Evidence};
///
/// let ours = Evidence::new();
/// let (host, srflx) = (CandidateKind::Host, CandidateKind::ServerReflexive);
/// let verdict = AttemptEvidence::new(&ours).with_selected_pair(host, srflx).verdict();
/// assert_eq!(verdict.selected_pair, Some((host, srflx)));
/// assert!(verdict.peer.is_none(), "no check of the peer was seen");
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct AttemptVerdict {
    /// The verdict of the servers, finer where incoming packets proved how the NAT filters.
    pub summary: NatSummary,
    /// The results of the peer's checks, if they were seen.
    pub peer: Option<PeerReport>,
    /// The verdict of the peer's own candidates on the NAT in front of the peer.
    pub peer_summary: Option<NatSummary>,
    /// The kinds of the pair in use: ours, then the peer's.
    pub selected_pair: Option<(CandidateKind, CandidateKind)>,
    /// The stage reached, and what stopped the attempt, if it is known.
    pub stage: Option<StageReport>,
}

/// The results of the peer's connectivity checks. The mapping is the peer's word, and changes no
/// verdict of the servers.
///
/// ```
/// use nat_summary::{AttemptEvidence, Checks, Evidence, PeerChecks, PeerEvidence, TowardPeer};
///
/// let (ours, peer) = (Evidence::new(), PeerEvidence::new());
/// let checks = Checks::default();
/// let seen = PeerChecks { evidence: &peer, checks, rebindings: 0, survived: None };
/// let report = AttemptEvidence::new(&ours).with_peer_checks(seen).verdict().peer;
/// let toward_peer = report.map(|report| report.summary.toward_peer);
/// assert_eq!(toward_peer, Some(TowardPeer::Unobserved));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerReport {
    /// The mapping toward the peer, and the filtering by its unsolicited checks.
    pub summary: PeerSummary,
    /// The checks behind it.
    pub checks: Checks,
    /// Changes of the mapping toward the peer, until the end of the attempt.
    pub rebindings: u32,
    /// The longest quiet gap that the mapping outlived, until the end of the attempt.
    pub survived: Option<Duration>,
    /// Whether hole punching is expected to work between the two NATs, once the peer's candidates
    /// are known.
    pub outlook: Option<Outlook>,
    /// The cause of a failure, as far as it is proven; `None` where the NATs have no part in the
    /// end.
    pub cause: Option<FailureCause>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::StageVerdict;

    #[test]
    fn a_cause_is_sought_only_where_the_nats_may_have_one() {
        let (servers, peer) = (Evidence::new(), PeerEvidence::new());
        let seen = PeerChecks {
            evidence: &peer,
            checks: Checks {
                sent: 1,
                answered: 1,
                ..Checks::default()
            },
            rebindings: 0,
            survived: Some(Duration::from_secs(60)),
        };
        for path in PathEnd::ALL {
            let verdict = AttemptEvidence::new(&servers)
                .with_peer_checks(seen)
                .with_path(*path)
                .verdict();
            let report = verdict.peer.unwrap();
            let expected = match path {
                PathEnd::Undecided | PathEnd::Connected => None,
                PathEnd::NoPair | PathEnd::PairsFailed => Some(FailureCause::Unknown),
                PathEnd::ChannelFailed => Some(FailureCause::Channel(StageVerdict::Unknown)),
            };
            assert_eq!(report.cause, expected, "{path:?}");
            assert_eq!(
                report.survived, None,
                "no mapping is known that could have survived"
            );
        }
    }

    #[test]
    fn without_the_peers_checks_there_is_a_verdict_and_no_more() {
        let servers = Evidence::new();
        let verdict = AttemptEvidence::new(&servers)
            .with_path(PathEnd::NoPair)
            .verdict();
        assert_eq!(verdict.summary, servers.summary());
        assert_eq!(verdict.peer, None);
    }
}
