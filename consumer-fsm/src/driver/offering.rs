//! State 2: the offer is out, and the cohort is asked meanwhile: gathering costs no time of its
//! own.

use nat_summary::{Evidence, NatType, Outcome};
use tokio::time::Instant;

use super::attempt::Attempt;
use super::{Consumer, refusal};
use crate::notice::What;
use crate::sdp::SessionDescription;
use crate::signalling::wire::{Description, Envelope, Kind, Offer, read, write};
use crate::signalling::{SignalError, Signalling};
use crate::state::Event;
use crate::transport::{Session, Transport};

impl<S: Signalling, T: Transport> Consumer<S, T> {
    pub(super) async fn offer(&mut self, attempt: &mut Attempt<T>) -> Event {
        let Some(partner) = attempt.partner.take() else {
            return Event::Broken;
        };
        let Some(session) = &attempt.session else {
            return Event::Broken;
        };
        let sdp = session.describe(None, &[]);
        let offer = write(&Offer {
            sdp: Description {
                kind: "offer".into(),
                sdp,
            },
            tag: String::new(),
        });
        let Self {
            signalling,
            servers,
            machine,
            teller,
            has_moved,
            gives_up,
            ..
        } = self;
        let max_age = machine.timing().mapping_age;
        let expires = |mapped_at: Option<Instant>| mapped_at.map(|at| at + max_age);

        let exchange = signalling.exchange(&partner, Kind::Offer, &offer);
        let gather = session.gather(&attempt.cohort.servers);
        tokio::pin!(exchange, gather);
        let (mut is_asking, mut is_last, mut reply) = (false, false, None);
        let reply = loop {
            if !is_asking {
                // what is advertised next has to be what the NAT still knows; asked again while the
                // answer is awaited, it costs no time
                let is_old =
                    expires(attempt.mapped_at).is_none_or(|expires| Instant::now() >= expires);
                if is_old && !is_last {
                    // with the reply at hand, once: where asking takes as long as a mapping lasts,
                    // none is fresher
                    is_last = reply.is_some();
                    if let Some(span) = &mut attempt.span {
                        span.begin_gathering();
                    }
                    // legal in this state, and the state stays
                    let _ = machine.handle(Event::Asked, Instant::now().into_std());
                    if attempt.mapped_at.is_some() {
                        gather.set(session.gather(&attempt.cohort.servers));
                    }
                    is_asking = true;
                } else if let Some(reply) = reply.take() {
                    break reply;
                }
            }
            tokio::select! {
                gathering = &mut gather, if is_asking => {
                    is_asking = false;
                    // late answers of an earlier time count
                    let summary = session.evidence().summary();
                    if let Some(span) = &mut attempt.span {
                        span.end_gathering(&summary);
                    }
                    servers.learn(&attempt.cohort, &gathering);
                    // from the first request on, to be sure
                    let now = Instant::now();
                    let has_answered = gathering.servers.iter().any(|report| report.outcome == Outcome::Answered);
                    attempt.mapped_at = Some(now.checked_sub(gathering.elapsed).unwrap_or(now));
                    attempt.report.gathering = Some(gathering);
                    teller.tell(What::Gathered(Box::new(summary)));
                    if core::mem::take(has_moved) {
                        teller.tell(What::Roamed(Box::new(summary)));
                    }
                    match (has_answered, summary.nat_type()) {
                        // whatever the reply would be, nobody waits for it
                        (false, NatType::UdpBlocked) => return Event::UdpBlocked,
                        (false, _) => return Event::NoServerAnswered,
                        _ => {}
                    }
                }
                received = &mut exchange, if reply.is_none() => reply = Some(received),
                () = tokio::time::sleep_until(expires(attempt.mapped_at).unwrap_or_else(Instant::now)), if !is_asking => {}
            }
        };
        let envelope = match reply {
            Ok(Some(envelope)) => envelope,
            Ok(None) => return Event::PeerDied,
            Err(SignalError::Gone) => return Event::LostRace,
            Err(SignalError::Malformed | SignalError::TooLong) if !*gives_up => {
                return Event::BadAnswer;
            }
            Err(error) => return refusal(error, *gives_up),
        };
        match read_answer(&envelope) {
            Some((remote, theirs)) => {
                attempt.partner = Some(envelope.reply_to);
                attempt.their_summary = Some(theirs.summary());
                attempt.theirs = Some(theirs);
                attempt.remote = Some(remote);
                Event::Answered
            }
            None => Event::BadAnswer,
        }
    }
}

/// The answer, and what the candidates in it say of the NAT in front of the peer.
fn read_answer(envelope: &Envelope) -> Option<(SessionDescription, Box<Evidence>)> {
    let answer = read::<Description>(&envelope.payload)
        .ok()
        .filter(|_| envelope.kind == Kind::Answer)?;
    let remote = SessionDescription::parse(&answer.sdp)
        .ok()
        .filter(|_| answer.kind == "answer")?;
    Some((remote, Box::new(Evidence::from_text(&answer.sdp))))
}
