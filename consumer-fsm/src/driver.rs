//! Runs the machine: does each state's work, hands back what happened, carries out what the table says.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ice_gather::{Gathering, Role};
use nat_summary::{CandidateKind, NatSummary, NatType};
use otel_nat::Telemetry;
use rand::seq::IndexedRandom;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cohort::StunCache;
use crate::machine::{Machine, Timing};
use crate::sdp::SessionDescription;
use crate::signalling::wire::{Description, Envelope, Ice, Kind, Offer, WireCandidate, read, write};
use crate::signalling::{Listener, SignalError, Signalling};
use crate::state::{Action, Ending, Event, State};
use crate::transport::{Path, Session, Transport, TransportError};

/// A mapping older than this is asked for again before it is advertised: NATs forget after 30 s (RFC 4787 section 4.3).
pub(crate) const MAPPING_AGE: Duration = Duration::from_secs(20);
/// Most genesis messages to choose from.
const MAX_GENESIS: usize = 256;
/// Longest datagram moved.
pub(crate) const MTU: usize = 8192;

/// Datagrams between the path and its user. Both queues are bounded: what cannot be kept up with is dropped, counted,
/// and never blocks.
#[derive(Debug)]
pub struct Datagrams {
    /// To be sent over the path.
    pub outbound: mpsc::Receiver<Bytes>,
    /// Received over the path.
    pub inbound: mpsc::Sender<Bytes>,
}

/// What became of one attempt: from taking a cohort to having no path again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AttemptReport {
    /// How it ended; `None` if it ended before a STUN server was asked, and so without a span.
    pub ending: Option<Ending>,
    /// The verdict, late answers included.
    pub summary: NatSummary,
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
    /// Datagrams dropped because our user did not take them.
    pub dropped: u64,
}

/// A consumer: one slot that has a path, or is on its way to one.
#[derive(Debug)]
pub struct Consumer<S, T> {
    signalling: S,
    transport: T,
    telemetry: Telemetry,
    servers: StunCache,
    machine: Machine,
    datagrams: Option<Datagrams>,
    path: watch::Sender<bool>,
}

/// What one attempt has gathered on its way.
struct Attempt<T: Transport> {
    started: Instant,
    span: Option<otel_nat::Attempt>,
    session: Option<T::Session>,
    id: Uuid,
    cohort: Vec<ice_gather::StunServer>,
    gathered_at: Option<Instant>,
    partner: Option<String>,
    remote: Option<SessionDescription>,
    path: Option<<T::Session as Session>::Path>,
    report: AttemptReport,
}

impl<S: Signalling, T: Transport> Consumer<S, T> {
    /// A consumer that has done nothing yet.
    pub fn new(signalling: S, transport: T, telemetry: Telemetry, servers: StunCache) -> Self {
        let machine = Machine::new(Timing::default());
        Self { signalling, transport, telemetry, servers, machine, datagrams: None, path: watch::Sender::new(false) }
    }

    /// With other times than the default ones.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.machine = Machine::new(timing);
        self
    }

    /// Moves these datagrams while there is a path. Without, a path only stays open.
    #[must_use]
    pub fn with_datagrams(mut self, datagrams: Datagrams) -> Self {
        self.datagrams = Some(datagrams);
        self
    }

    /// Whether there is a path, always the latest.
    #[must_use]
    pub fn path(&self) -> watch::Receiver<bool> {
        self.path.subscribe()
    }

    /// Attempts again and again until cancelled.
    pub async fn run(&mut self, cancel: &CancellationToken) {
        while !cancel.is_cancelled() {
            self.attempt(cancel).await;
        }
    }

    /// Runs one attempt to its end: a path that ended, a failure, or the cancellation.
    ///
    /// Cancel safe: dropped at any point it leaves nothing behind, and its span says `cancelled` if a server was asked.
    pub async fn attempt(&mut self, cancel: &CancellationToken) -> AttemptReport {
        // an attempt that was dropped half-way, or cancelled, may have left it elsewhere
        let ready_at = self.machine.ready_at().filter(|_| self.machine.state() == State::Preparing);
        self.machine = Machine::new(self.machine.timing());
        let mut attempt = Attempt::<T>::new(&self.telemetry);
        let mut ready_at = ready_at;
        let mut started = false;
        while !started || !matches!(self.machine.state(), State::Preparing | State::Stopped) {
            let event = tokio::select! {
                biased;
                () = cancel.cancelled() => Event::Cancelled,
                event = async {
                    if let Some(ready_at) = ready_at {
                        tokio::time::sleep_until(ready_at.into()).await;
                    }
                    self.work(&mut attempt).await
                } => event,
            };
            started = true;
            ready_at = self.step(&mut attempt, event).await;
        }
        attempt.finish()
    }

    /// The work of the current state.
    async fn work(&mut self, attempt: &mut Attempt<T>) -> Event {
        match self.machine.state() {
            State::Preparing => self.prepare(attempt).await,
            State::Listening => self.listen(attempt).await,
            State::Offering => self.offer(attempt).await,
            State::Trickling => self.trickle(attempt).await,
            State::Opening => self.open(attempt).await,
            State::Established => self.move_datagrams(attempt).await,
            State::Stopped => Event::Cancelled,
        }
    }

    /// Hands an event to the machine and carries out its actions; when the next work may begin.
    async fn step(&mut self, attempt: &mut Attempt<T>, event: Event) -> Option<Instant> {
        let from = self.machine.state();
        let handled = self.machine.handle(event, Instant::now());
        debug_assert!(handled.is_ok(), "{handled:?}");
        attempt.report.last_event = Some(event);
        attempt.remember(from, event, self.machine.state());
        for action in handled.unwrap_or_default() {
            match action {
                Action::Report(ending) => attempt.emit(ending),
                Action::AnnouncePath => drop(self.path.send_replace(true)),
                Action::AnnounceNoPath => drop(self.path.send_replace(false)),
                Action::DropCohort => self.servers.drop_cohort(),
                Action::Close => {
                    attempt.path = None;
                    if let Some(session) = attempt.session.take() {
                        attempt.report.summary = session.evidence().summary();
                        session.close().await;
                    }
                }
                Action::Pause | Action::BackOff => {}
            }
        }
        self.machine.ready_at()
    }

    /// State 0.
    async fn prepare(&mut self, attempt: &mut Attempt<T>) -> Event {
        self.path.send_replace(false);
        attempt.cohort = self.servers.cohort(&mut rand::rng()).to_vec();
        if attempt.cohort.is_empty() {
            return Event::NotPrepared;
        }
        match self.transport.open(Role::Controlling).await {
            Ok(session) => {
                attempt.session = Some(session);
                Event::Prepared
            }
            Err(_) => Event::NotPrepared,
        }
    }

    /// State 1.
    async fn listen(&self, attempt: &mut Attempt<T>) -> Event {
        let mut listener = match self.signalling.listen().await {
            Ok(listener) => listener,
            Err(error) => return refusal(error),
        };
        let mut heard: Vec<Envelope> = Vec::new();
        let mut until = None;
        while heard.len() < MAX_GENESIS {
            let next = match until {
                None => listener.next().await,
                Some(until) => match tokio::time::timeout_at(until, listener.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            match next {
                None => break,
                Some(Ok(envelope)) if envelope.kind == Kind::Genesis => {
                    until.get_or_insert_with(|| tokio::time::Instant::now() + self.machine.timing().patience);
                    heard.push(envelope);
                }
                // a broken line is none
                Some(_) => {}
            }
        }
        match heard.choose(&mut rand::rng()) {
            Some(envelope) => {
                // a stream that ends at once must not turn lost races into a busy loop
                if let Some(until) = until {
                    tokio::time::sleep_until(until).await;
                }
                attempt.partner = Some(envelope.reply_to.clone());
                Event::Chosen
            }
            None => Event::NothingHeard,
        }
    }

    /// State 2. The cohort is asked while the offer is under way: gathering costs no time of its own.
    async fn offer(&mut self, attempt: &mut Attempt<T>) -> Event {
        let (Some(session), Some(partner)) = (&attempt.session, attempt.partner.take()) else { return Event::Broken };
        let sdp = session.describe(None, &[]);
        let offer = write(&Offer { sdp: Description { kind: "offer".into(), sdp }, tag: String::new() });
        let is_fresh = attempt.gathered_at.is_some_and(|at| at.elapsed() < MAPPING_AGE);
        if !is_fresh {
            if let Some(span) = &mut attempt.span {
                span.asked();
            }
            // legal in this state, and the state stays
            let _ = self.machine.handle(Event::Asked, Instant::now());
        }
        let gather = session.gather(&attempt.cohort);
        let exchange = self.signalling.exchange(&partner, Kind::Offer, &offer);
        tokio::pin!(gather, exchange);
        let (mut gathered, mut reply) = (is_fresh, None);
        let reply = loop {
            if gathered {
                let summary = session.evidence().summary();
                match (summary.counts().answered, summary.nat_type()) {
                    // whatever the reply would be, nobody waits for it
                    (0, NatType::UdpBlocked) => return Event::UdpBlocked,
                    (0, _) => return Event::NoServerAnswered,
                    _ => {}
                }
                if let Some(reply) = reply {
                    break reply;
                }
            }
            tokio::select! {
                gathering = &mut gather, if !gathered => {
                    if let Some(span) = &mut attempt.span {
                        span.gathered(&gathering.evidence.summary());
                    }
                    attempt.gathered_at = Some(Instant::now());
                    attempt.report.gathering = Some(gathering);
                    gathered = true;
                }
                received = &mut exchange, if reply.is_none() => reply = Some(received),
            }
        };
        let envelope = match reply {
            Ok(Some(envelope)) => envelope,
            Ok(None) => return Event::PeerDied,
            Err(SignalError::Gone) => return Event::LostRace,
            Err(SignalError::Malformed | SignalError::TooLong) => return Event::BadAnswer,
            Err(error) => return refusal(error),
        };
        let answer = read::<Description>(&envelope.payload).ok().filter(|_| envelope.kind == Kind::Answer);
        match answer.filter(|a| a.kind == "answer").and_then(|a| SessionDescription::parse(&a.sdp).ok()) {
            Some(remote) => {
                attempt.partner = Some(envelope.reply_to);
                attempt.remote = Some(remote);
                Event::Answered
            }
            None => Event::BadAnswer,
        }
    }

    /// State 3.
    async fn trickle(&self, attempt: &mut Attempt<T>) -> Event {
        let partner = attempt.partner.take().unwrap_or_default();
        let gathered = attempt.report.gathering.as_ref().map_or(&[][..], |gathering| &gathering.candidates);
        let candidates = gathered.iter().map(WireCandidate::from).collect();
        let ice = write(&Ice { candidates, consumer_session_id: attempt.id.to_string() });
        match self.signalling.exchange(&partner, Kind::Ice, &ice).await {
            Ok(_) => Event::Delivered,
            Err(SignalError::Gone) => Event::PartnerGone,
            Err(error) => refusal(error),
        }
    }

    /// State 4.
    async fn open(&self, attempt: &mut Attempt<T>) -> Event {
        let (Some(session), Some(remote)) = (&mut attempt.session, attempt.remote.take()) else {
            return Event::IceFailed;
        };
        if let Some(span) = &mut attempt.span {
            span.connecting();
        }
        let now = Instant::now();
        let deadline = self.machine.poll_timeout().unwrap_or(now).saturating_duration_since(now);
        match session.connect(remote, deadline).await {
            Ok(path) => {
                attempt.path = Some(path);
                attempt.report.selected_pair = session.selected_pair();
                if let (Some(span), Some((local, remote))) = (&mut attempt.span, attempt.report.selected_pair) {
                    span.selected(local, remote);
                }
                attempt.report.connected_after = Some(attempt.started.elapsed());
                Event::Opened
            }
            Err(TransportError::TimedOut) => Event::TimedOut,
            Err(_) => Event::IceFailed,
        }
    }

    /// State 5.
    async fn move_datagrams(&mut self, attempt: &mut Attempt<T>) -> Event {
        let Some(path) = &attempt.path else { return Event::Ended };
        let report = &mut attempt.report;
        let mut buffer = vec![0; MTU];
        loop {
            tokio::select! {
                received = path.recv(&mut buffer) => {
                    let Some(length) = received else { return Event::Ended };
                    if let Some(datagrams) = &self.datagrams {
                        report.moved.1 += 1;
                        if datagrams.inbound.try_send(Bytes::copy_from_slice(&buffer[..length])).is_err() {
                            report.dropped += 1;
                        }
                    }
                }
                Some(datagram) = outbound(&mut self.datagrams) => {
                    if path.send(&datagram).await {
                        report.moved.0 += 1;
                    } else {
                        report.dropped += 1;
                    }
                }
            }
        }
    }
}

/// The next datagram to send; never, if there is no source of them.
async fn outbound(datagrams: &mut Option<Datagrams>) -> Option<Bytes> {
    match datagrams {
        Some(datagrams) => datagrams.outbound.recv().await,
        None => core::future::pending().await,
    }
}

const fn refusal(error: SignalError) -> Event {
    match error {
        SignalError::Version | SignalError::Rejected => Event::Refused,
        _ => Event::ExchangeFailed,
    }
}

impl<T: Transport> Attempt<T> {
    fn new(telemetry: &Telemetry) -> Self {
        Self {
            started: Instant::now(),
            span: Some(telemetry.attempt()),
            session: None,
            id: Uuid::new_v4(),
            cohort: Vec::new(),
            gathered_at: None,
            partner: None,
            remote: None,
            path: None,
            report: AttemptReport {
                ending: None,
                summary: nat_summary::Evidence::new().summary(),
                last_event: None,
                transitions: Vec::new(),
                gathering: None,
                selected_pair: None,
                connected_after: None,
                elapsed: Duration::ZERO,
                moved: (0, 0),
                dropped: 0,
            },
        }
    }

    fn remember(&mut self, from: State, event: Event, to: State) {
        const MAX_TRANSITIONS: usize = 64;
        if self.report.transitions.len() == MAX_TRANSITIONS {
            self.report.transitions.remove(0);
        }
        self.report.transitions.push((from, event, to));
    }

    /// The one span of this attempt, from everything observed up to now.
    fn emit(&mut self, ending: Ending) {
        let Some(span) = self.span.take() else { return };
        if let Some(session) = &self.session {
            self.report.summary = session.evidence().summary();
        }
        match ending {
            Ending::Success => span.succeeded(&self.report.summary),
            Ending::Failure(reason) => span.failed(&self.report.summary, reason),
        }
        self.report.ending = Some(ending);
    }

    fn finish(mut self) -> AttemptReport {
        self.report.elapsed = self.started.elapsed();
        self.report
    }
}
