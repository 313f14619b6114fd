//! State 2: the offer is out, and the cohort is asked meanwhile, so that gathering takes no time of
//! its own.

use core::pin::pin;
use std::time::Duration;

use nat_summary::{Evidence, NatType, Outcome};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::attempt::OngoingAttempt;
use super::labels::ServerLabels;
use super::refusal;
use crate::cohort::StunCache;
use crate::notice::{NoticeKind, NoticeSink};
use crate::sdp::SessionDescription;
use crate::signalling::wire::{Description, Envelope, Kind, Offer, read, write};
use crate::signalling::{SignalError, Signalling};
use crate::state::Event;
use crate::transport::{Session, Transport};

/// The message of an offer. It holds no candidates yet.
pub(super) fn message(session: &impl Session, tag: &str) -> String {
    write(&Offer {
        sdp: Description {
            kind: "offer".into(),
            sdp: session.describe(None, &[]),
        },
        tag: tag.to_owned(),
    })
}

/// An offer that waits for its answer, and the mapping that is advertised after it.
pub(super) struct Offering<'a, T: Transport> {
    pub(super) attempt: &'a mut OngoingAttempt<T>,
    pub(super) servers: &'a StunCache,
    pub(super) labels: &'a ServerLabels,
    pub(super) notices: &'a NoticeSink,
    /// The age at which a mapping is old.
    pub(super) mapping_age: Duration,
    /// Set if the host's addresses changed since the cohort was last asked.
    pub(super) has_moved: &'a mut bool,
    /// An attempt that gives up ends where the service fails.
    pub(super) gives_up: bool,
}

impl<T: Transport> Offering<'_, T> {
    /// Sends the offer to its partner, and has a fresh mapping by the time the answer is there.
    pub(super) async fn run(
        mut self,
        signalling: &impl Signalling,
        partner: &str,
        offer: &str,
    ) -> Event {
        let is_replied = Notify::new();
        let exchange = async {
            let reply = signalling.exchange(partner, Kind::Offer, offer).await;
            is_replied.notify_one();
            Ok::<_, Event>(reply)
        };
        // an answer is of no use without a mapping, so a gathering that failed does not wait for it
        match tokio::try_join!(exchange, self.keep_mapping_fresh(&is_replied)) {
            Ok((reply, ())) => self.read_reply(reply),
            Err(event) => event,
        }
    }

    /// Asks for the mapping, and asks again whenever it is old while the reply is awaited, because
    /// the mapping that is advertised has to be one that the NAT still knows.
    ///
    /// With the reply at hand, the cohort is asked once more at most: where asking takes as long as
    /// a mapping lasts, no mapping would ever be fresh.
    async fn keep_mapping_fresh(&mut self, is_replied: &Notify) -> Result<(), Event> {
        let mut replied = pin!(is_replied.notified());
        loop {
            let expires = self.gather_if_old().await?;
            tokio::select! {
                biased;
                () = &mut replied => break,
                () = tokio::time::sleep_until(expires) => {}
            }
        }
        self.gather_if_old().await?;
        Ok(())
    }

    /// Asks the cohort unless the mapping is fresh, and returns the time at which the mapping is
    /// old.
    async fn gather_if_old(&mut self) -> Result<Instant, Event> {
        let mapped_at = match self.attempt.mapped_at {
            Some(at) if Instant::now() < at + self.mapping_age => at,
            _ => self.gather().await?,
        };
        Ok(mapped_at + self.mapping_age)
    }

    /// Asks the cohort, and returns the time of the mapping. An attempt without any answer ends by
    /// the event.
    async fn gather(&mut self) -> Result<Instant, Event> {
        let attempt = &mut *self.attempt;
        let Some(session) = &attempt.session else {
            return Err(Event::Broken);
        };
        if let Some(span) = &mut attempt.span {
            span.begin_gathering();
        }
        let gathering = session.gather(&attempt.cohort.servers).await;
        // with the late answers of an earlier gathering
        let summary = session.evidence().summary();
        if let Some(span) = &mut attempt.span {
            span.end_gathering(&summary);
        }
        self.servers.learn(&attempt.cohort, &gathering);
        self.labels.measure(&attempt.telemetry, &gathering);
        // the mapping may be as old as the first request
        let now = Instant::now();
        let mapped_at = now.checked_sub(gathering.elapsed).unwrap_or(now);
        attempt.mapped_at = Some(mapped_at);
        let mut reports = gathering.servers.iter();
        let has_answer = reports.any(|report| report.outcome == Outcome::Answered);
        attempt.report.gathering = Some(gathering);
        self.notices
            .publish(NoticeKind::Gathered(Box::new(summary)));
        if core::mem::take(self.has_moved) {
            self.notices.publish(NoticeKind::Roamed(Box::new(summary)));
        }
        match (has_answer, summary.nat_type()) {
            (true, _) => Ok(mapped_at),
            (false, NatType::UdpBlocked) => Err(Event::UdpBlocked),
            (false, _) => Err(Event::NoServerAnswered),
        }
    }

    /// The event of a reply. An answer that can be used goes into the attempt.
    fn read_reply(self, reply: Result<Option<Envelope>, SignalError>) -> Event {
        let envelope = match reply {
            Ok(Some(envelope)) => envelope,
            Ok(None) => return Event::PeerDied,
            Err(SignalError::Gone) => return Event::LostRace,
            Err(error) => {
                self.attempt.signal_error = Some(error);
                return match error {
                    SignalError::Malformed | SignalError::TooLong if !self.gives_up => {
                        Event::BadAnswer
                    }
                    error => refusal::event(error, self.gives_up),
                };
            }
        };
        let Some((remote, evidence)) = read_answer(&envelope) else {
            return Event::BadAnswer;
        };
        self.attempt.partner = Some(envelope.reply_to);
        self.attempt.peer_summary = Some(evidence.summary());
        self.attempt.peer_evidence = Some(evidence);
        self.attempt.remote = Some(remote);
        Event::Answered
    }
}

/// The description in an answer, and the evidence of its candidates on the NAT in front of the peer.
fn read_answer(envelope: &Envelope) -> Option<(SessionDescription, Box<Evidence>)> {
    let answer = read::<Description>(&envelope.payload)
        .ok()
        .filter(|_| envelope.kind == Kind::Answer)?;
    let remote = SessionDescription::parse(&answer.sdp)
        .ok()
        .filter(|_| answer.kind == "answer")?;
    Some((remote, Box::new(Evidence::from_description(&answer.sdp))))
}
