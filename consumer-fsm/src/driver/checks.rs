//! The results of the peer's checks, and the cause of a failure: judged once, for the span and for
//! the report.

use core::convert::Infallible;
use std::time::Duration;

use nat_summary::{Checks, DecidedBy, Evidence, FailureCause, NatSummary, Outlook, PeerSummary};
use otel_nat::{FailureReason, MappingLifetime};

use crate::notice::{NoticeKind, NoticeSink};
use crate::transport::Session;

/// The results of the peer's connectivity checks. The mapping is the peer's word, and changes no
/// verdict of the servers.
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
    /// Packets and candidates that were held back until the end of the attempt, because the peer
    /// signalled more than an attempt may check ([`ice_gather::PeerView::held_back`]).
    pub held_back: u32,
    /// Whether hole punching is expected to work between the two NATs, once the peer's candidates
    /// are known.
    pub outlook: Option<Outlook>,
    /// The cause of a failure, as far as it is proven.
    pub cause: Option<FailureCause>,
}

/// The verdict so far, finer where incoming packets proved how the NAT filters; and the results of
/// the peer's checks, if the transport can see them.
pub(super) fn judge(
    session: &impl Session,
    peer_summary: Option<&NatSummary>,
    peer_evidence: Option<&Evidence>,
    failure: Option<FailureReason>,
    has_pair: bool,
) -> (NatSummary, Option<PeerReport>) {
    let evidence = session.evidence();
    let by_servers = evidence.summary();
    let Some(view) = session.peer_view() else {
        return (by_servers, None);
    };
    let peer = view.evidence.summary(&evidence);
    let summary = by_servers.with_filtering(peer.filtering.proven());
    let report = PeerReport {
        summary: peer,
        checks: view.checks,
        rebindings: view.rebindings,
        held_back: view.held_back,
        // without a NAT there is no mapping that could expire
        survived: view.survived.filter(|_| summary.is_natted() == Some(true)),
        outlook: peer_summary.map(|theirs| Outlook::between(&summary, theirs)),
        cause: failure
            .and_then(|reason| explain(reason, &summary, peer_evidence, view.checks, has_pair)),
    };
    (summary, Some(report))
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

/// The cause of a failure that the two NATs may have caused.
fn explain(
    reason: FailureReason,
    ours: &NatSummary,
    theirs: Option<&Evidence>,
    checks: Checks,
    has_pair: bool,
) -> Option<FailureCause> {
    let is_of_the_path = matches!(
        reason,
        FailureReason::Timeout
            | FailureReason::IceFailed
            | FailureReason::UdpBlocked
            | FailureReason::NoServerAnswered
            | FailureReason::ChannelFailed
    );
    is_of_the_path.then(|| FailureCause::of(ours, theirs, checks, has_pair))
}

impl PeerReport {
    /// How the mapping held, if the peer ever answered a check: by way of a relay it never does.
    pub(super) fn mapping_lifetime(&self) -> Option<MappingLifetime> {
        let Self {
            rebindings,
            survived,
            ..
        } = *self;
        (self.checks.answered > 0).then_some(MappingLifetime {
            rebindings,
            survived,
        })
    }

    /// Records the results in the span.
    pub(super) fn record(&self, span: &mut otel_nat::Attempt) {
        let PeerSummary {
            toward_peer,
            filtering,
            mapping,
            decided_by,
            ..
        } = self.summary;
        span.set_mapping_toward_peer(toward_peer);
        span.set_filtering_seen(filtering);
        if decided_by == DecidedBy::Peer {
            span.set_mapping_with_peer(mapping);
        }
        if self.checks != Checks::default() {
            span.set_checks(self.checks);
        }
        if let Some(lifetime) = self.mapping_lifetime() {
            span.set_mapping_lifetime(lifetime);
        }
        if let Some(outlook) = self.outlook {
            span.set_outlook(outlook);
        }
        if let Some(cause) = self.cause {
            span.set_failure_cause(cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use ice_gather::{Credentials, Gathering, Rebinding, StunServer};
    use nat_summary::{CandidateKind, NatType, TowardPeer};
    use tokio::sync::watch;

    use super::*;
    use crate::sdp::SessionDescription;
    use crate::transport::{Path, TransportError};

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
    fn a_transport_that_cannot_see_the_checks_has_a_verdict_and_no_more() {
        let session = Rebinds(watch::Sender::new(None));
        let (summary, report) = judge(&session, None, None, Some(FailureReason::Timeout), false);
        assert_eq!((summary.nat_type(), report), (NatType::Unknown, None));
    }

    #[test]
    fn a_cause_is_sought_only_where_the_nats_may_have_one() {
        let nothing = Evidence::new().summary();
        for reason in FailureReason::ALL {
            let checks = Checks {
                sent: 1,
                answered: 1,
                ..Checks::default()
            };
            let cause = explain(
                *reason,
                &nothing,
                None,
                checks,
                *reason == FailureReason::ChannelFailed,
            );
            let expected = match reason {
                FailureReason::ChannelFailed => Some(FailureCause::Dtls),
                FailureReason::Timeout
                | FailureReason::IceFailed
                | FailureReason::UdpBlocked
                | FailureReason::NoServerAnswered => Some(FailureCause::Unknown),
                _ => None,
            };
            assert_eq!(cause, expected, "{reason:?}");
        }
    }
}
