//! The driver of the machine: does each state's work, hands in the events, carries out the actions.

use ice_gather::{Gathering, Role};
use nat_summary::stage::{Stage, StageReport};
use otel_nat::{FailureReason, Telemetry};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::ClientIdentity;
use crate::cohort::StunCache;
use crate::machine::{Machine, Timing};
use crate::notice::{AnnouncedPath, NoticeKind, NoticeSink, Notices};
use crate::roaming::{self, Roaming};
use crate::signalling::wire::{IceCandidates, Kind, WireCandidate, write};
use crate::signalling::{SignalError, Signalling};
use crate::state::{Action, Event, State, Transition};
use crate::table::next;
use crate::transport::{Path, Session, Transport, TransportError};

mod attempt;
mod checks;
mod established;
mod listening;
mod offering;
mod refusal;
mod report;

pub use self::established::{Datagrams, Link};
pub use self::report::AttemptReport;

use self::attempt::OngoingAttempt;
use self::listening::Listened;
use self::offering::Offering;

/// Useless replies in a row by which a server is not the service. One may be a proxy's.
const FOREIGN: u8 = 3;

/// A consumer: one slot that has a path, or is on its way to one.
#[derive(Debug)]
pub struct Consumer<S, T> {
    signalling: S,
    transport: T,
    telemetry: Telemetry,
    servers: StunCache,
    machine: Machine,
    rng: StdRng,
    roaming: Option<Roaming>,
    client: ClientIdentity,
    /// An attempt ends where the service fails.
    gives_up: bool,
    /// Replies of the service in a row that are of no use.
    useless: u8,
    /// The host's addresses changed since the cohort was last asked.
    has_moved: bool,
    datagrams: Option<Datagrams>,
    path: watch::Sender<bool>,
    notices: NoticeSink,
}

impl<S: Signalling, T: Transport> Consumer<S, T> {
    /// A consumer in its first state.
    pub fn new(signalling: S, transport: T, telemetry: Telemetry, servers: StunCache) -> Self {
        Self {
            signalling,
            transport,
            telemetry,
            servers,
            machine: Machine::new(Timing::default()),
            rng: StdRng::from_os_rng(),
            roaming: Some(Roaming::default()),
            client: ClientIdentity::default(),
            gives_up: false,
            useless: 0,
            has_moved: false,
            datagrams: None,
            path: watch::Sender::new(false),
            notices: NoticeSink::default(),
        }
    }

    /// With other times than the default ones.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.machine = Machine::new(timing);
        self
    }

    /// Every choice of this consumer follows from `seed`: cohort and producer. By default the
    /// system's randomness decides. Credentials of ICE and transaction ids of STUN always come
    /// from there.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.rng = StdRng::seed_from_u64(seed);
        self
    }

    /// Notices changes of the host's addresses like this; `None`: not at all.
    #[must_use]
    pub fn with_roaming(mut self, roaming: Option<Roaming>) -> Self {
        self.roaming = roaming;
        self
    }

    /// Goes by this id of the client instead of the one of the process. A peer may recognize a client
    /// by its id, and move what it has of an earlier path to the next one.
    #[must_use]
    pub fn with_session_id(mut self, id: impl Into<String>) -> Self {
        self.client.session_id = id.into();
        self
    }

    /// Puts this free text into each offer; none by default.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.client.tag = tag.into();
        self
    }

    pub(crate) fn with_client(mut self, client: ClientIdentity) -> Self {
        self.client = client;
        self
    }

    /// Moves these datagrams while there is a path. Without datagrams, a path only stays open.
    #[must_use]
    pub fn with_datagrams(mut self, datagrams: Datagrams) -> Self {
        self.datagrams = Some(datagrams);
        self
    }

    /// Ends an attempt where the service fails. By default, the attempt goes on until the service is
    /// back.
    pub(crate) const fn giving_up(mut self, gives_up: bool) -> Self {
        self.gives_up = gives_up;
        self
    }

    pub(crate) fn with_notice_sink(mut self, notices: NoticeSink) -> Self {
        self.notices = notices;
        self
    }

    /// Whether there is a path, as of now.
    #[must_use]
    pub fn path(&self) -> watch::Receiver<bool> {
        self.path.subscribe()
    }

    /// The notices from now on.
    pub fn notices(&mut self) -> Notices {
        self.notices.subscribe()
    }

    /// Attempts again and again until cancelled.
    pub async fn run(&mut self, cancel: &CancellationToken) {
        while !cancel.is_cancelled() {
            self.attempt(cancel).await;
        }
    }

    /// Runs one attempt to its end: a path that ended, a failure, or the cancellation.
    ///
    /// Cancel safe: dropped at any point it leaves nothing behind, and its span has the reason
    /// `cancelled` if a server was asked.
    pub async fn attempt(&mut self, cancel: &CancellationToken) -> AttemptReport {
        // The back-off after the last attempt is no part of this one, and has to be kept even if
        // this future is dropped meanwhile.
        if let Some(ready_at) = self.machine.ready_at() {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = tokio::time::sleep_until(ready_at.into()) => {}
            }
        }
        self.machine = Machine::new(self.machine.timing());
        let mut attempt = OngoingAttempt::<T>::new(&self.telemetry);
        let mut is_started = false;
        while !is_started || !matches!(self.machine.state(), State::Preparing | State::Stopped) {
            let event = tokio::select! {
                biased;
                () = cancel.cancelled() => Event::Cancelled,
                event = async {
                    if let Some(ready_at) = self.machine.ready_at() {
                        tokio::time::sleep_until(ready_at.into()).await;
                    }
                    self.work(&mut attempt).await
                } => event,
            };
            is_started = true;
            self.step(&mut attempt, event).await;
        }
        attempt.finish()
    }

    /// The work of the current state.
    async fn work(&mut self, attempt: &mut OngoingAttempt<T>) -> Event {
        match self.machine.state() {
            State::Preparing => self.prepare(attempt).await,
            State::Listening => self.listen(attempt).await,
            State::Offering => self.offer(attempt).await,
            State::Trickling => self.trickle(attempt).await,
            State::Opening => self.open(attempt).await,
            State::Established => self.stay(attempt).await,
            State::Stopped => Event::Cancelled,
        }
    }

    /// Hands an event to the machine, and carries out the actions of the transition. Every event of
    /// an attempt comes in here, so that report, notices and log hold every transition in order.
    async fn step(&mut self, attempt: &mut OngoingAttempt<T>, event: Event) {
        let from = self.machine.state();
        let handled = self.machine.handle(event, Instant::now().into_std());
        debug_assert!(handled.is_ok(), "{handled:?}");
        let to = self.machine.state();
        let transition = Transition { from, event, to };
        attempt.report.record(transition);
        if let Some(span) = &mut attempt.span {
            time_step(span, transition);
        }
        self.has_moved |= event == Event::Moved;
        if event == Event::Chosen {
            self.useless = 0;
        }
        if let Some(error) = attempt.signal_error.take() {
            self.note_signal_error(attempt, error);
        }
        self.notices.publish(NoticeKind::Transition(transition));
        if let Some(reason) = failure_reason(from, event) {
            self.notices.publish(NoticeKind::Failed(reason));
        }
        if from == State::Established {
            let traffic = &mut attempt.report.traffic;
            traffic.dropped_inbound += attempt.path.as_ref().map_or(0, Path::dropped);
            self.notices.publish(NoticeKind::Carried(*traffic));
            if let Some(stage) = attempt.end_stage() {
                self.notices.publish(NoticeKind::Stopping(Box::new(stage)));
            }
        }
        for action in handled.unwrap_or_default() {
            self.carry_out(action, from, attempt).await;
        }
        if to == State::Stopped {
            self.notices.publish(NoticeKind::Stopped);
        }
    }

    /// Reports a failure of signalling. A server whose replies are of no use time and again is not the
    /// service.
    fn note_signal_error(&mut self, attempt: &mut OngoingAttempt<T>, error: SignalError) {
        let is_useless = matches!(
            error,
            SignalError::Malformed | SignalError::TooLong | SignalError::Empty
        );
        self.useless = self.useless.saturating_add(is_useless.into());
        let error = if is_useless && self.useless >= FOREIGN {
            SignalError::Foreign
        } else {
            error
        };
        attempt.report.signal_error = Some(error);
        self.notices.publish(NoticeKind::SignallingFailed(error));
    }

    async fn carry_out(&mut self, action: Action, from: State, attempt: &mut OngoingAttempt<T>) {
        match action {
            Action::Report(ending) => attempt.emit_span(ending),
            Action::AnnouncePath => {
                // the datagrams that wait are older than the path, and of no use now
                attempt.report.traffic.dropped_outbound +=
                    self.datagrams.as_mut().map_or(0, Datagrams::discard);
                let path = AnnouncedPath::up(self.path.clone(), self.notices.clone());
                attempt.announced = Some(path);
            }
            Action::AnnounceNoPath => attempt.announced = None,
            Action::DropCohort => self.servers.drop_cohort(&attempt.cohort),
            Action::Close => {
                attempt.close().await;
                let held_back = attempt.report.held_back;
                if held_back > 0 {
                    self.notices.publish(NoticeKind::HeldBack(held_back));
                }
                if from == State::Established {
                    attempt.record_mapping_lifetime();
                }
            }
            // the machine holds the time until then
            Action::Pause | Action::BackOff => {}
        }
    }

    /// State 0.
    async fn prepare(&mut self, attempt: &mut OngoingAttempt<T>) -> Event {
        self.notices.publish(NoticeKind::AttemptStarted);
        match self.servers.cohort(&mut self.rng).await {
            Ok(cohort) => attempt.cohort = cohort,
            Err(error) => {
                tracing::warn!(%error, "no STUN server to ask");
                return Event::NotPrepared;
            }
        }
        // looked up in front of the socket, so that no change after it is missed
        attempt.addresses = self.roaming.as_ref().map(Roaming::addresses);
        match self.transport.open(Role::Controlling).await {
            Ok(session) => {
                attempt.session = Some(session);
                Event::Prepared
            }
            Err(error) => {
                tracing::warn!(%error, "no connection object");
                Event::NotPrepared
            }
        }
    }

    /// State 1.
    async fn listen(&mut self, attempt: &mut OngoingAttempt<T>) -> Event {
        let patience = self.machine.timing().patience;
        let notices = &self.notices;
        let nobody = || notices.publish(NoticeKind::NoVolunteer);
        let chosen = tokio::select! {
            chosen = listening::choose(&self.signalling, patience, &mut self.rng, nobody) => chosen,
            _ = roaming::changed(self.roaming.as_ref(), attempt.addresses.as_ref()) => return Event::Moved,
        };
        match chosen {
            Ok(Listened::Chosen(reply_to)) => {
                attempt.partner = Some(reply_to);
                Event::Chosen
            }
            Ok(Listened::Nothing) => Event::NothingHeard,
            Ok(Listened::Unusable(error)) => {
                attempt.signal_error = Some(error);
                if self.gives_up {
                    Event::GaveUp
                } else {
                    Event::NothingHeard
                }
            }
            Err(error) => {
                attempt.signal_error = Some(error);
                refusal::event(error, self.gives_up)
            }
        }
    }

    /// State 2.
    async fn offer(&mut self, attempt: &mut OngoingAttempt<T>) -> Event {
        let (Some(partner), Some(session)) = (attempt.partner.take(), &attempt.session) else {
            return Event::Broken;
        };
        let offer = offering::message(session, &self.client.tag);
        if !self.machine.has_asked() {
            // The cohort is asked as soon as the offer is sent. The step stands in front of the
            // first request, so that every attempt that sent one has its span.
            self.step(attempt, Event::Asked).await;
        }
        let offering = Offering {
            attempt,
            servers: &self.servers,
            notices: &self.notices,
            mapping_age: self.machine.timing().mapping_age,
            has_moved: &mut self.has_moved,
            gives_up: self.gives_up,
        };
        offering.run(&self.signalling, &partner, &offer).await
    }

    /// State 3.
    async fn trickle(&self, attempt: &mut OngoingAttempt<T>) -> Event {
        let partner = attempt.partner.take().unwrap_or_default();
        let gathering = attempt.report.gathering.as_ref();
        let signalled = gathering.map(Gathering::to_signal).unwrap_or_default();
        let message = write(&IceCandidates {
            candidates: signalled.iter().map(WireCandidate::from).collect(),
            consumer_session_id: self.client.session_id.clone(),
        });
        match self
            .signalling
            .exchange(&partner, Kind::Ice, &message)
            .await
        {
            Ok(_) => Event::Delivered,
            Err(SignalError::Gone) => Event::PartnerGone,
            Err(error) => {
                attempt.signal_error = Some(error);
                refusal::event(error, false)
            }
        }
    }

    /// State 4.
    async fn open(&self, attempt: &mut OngoingAttempt<T>) -> Event {
        let (Some(session), Some(remote)) = (&mut attempt.session, attempt.remote.take()) else {
            return Event::IceFailed;
        };
        let now = Instant::now().into_std();
        let deadline = self
            .machine
            .poll_timeout()
            .unwrap_or(now)
            .saturating_duration_since(now);
        let connected = session.connect(remote, deadline).await;
        let bare = StageReport::of(match &connected {
            Ok(_) => Stage::Paired,
            Err(TransportError::TimedOut | TransportError::Failed) => Stage::Checks,
            Err(_) => Stage::Signalling,
        });
        attempt.report.stage = Some(session.stage().unwrap_or(bare));
        match connected {
            Ok(path) => {
                attempt.path = Some(path);
                attempt.report.selected_pair = session.selected_pair();
                let after = attempt.started.elapsed();
                attempt.report.connected_after = Some(after);
                self.notices.publish(NoticeKind::Connected(after));
                Event::Opened
            }
            Err(TransportError::TimedOut) => Event::TimedOut,
            Err(TransportError::NoChannel) => Event::ChannelFailed,
            Err(TransportError::Dtls | TransportError::Fingerprint | TransportError::Channel) => {
                attempt.has_pair = true;
                Event::ChannelFailed
            }
            Err(_) => Event::IceFailed,
        }
    }

    /// State 5.
    async fn stay(&mut self, attempt: &mut OngoingAttempt<T>) -> Event {
        let Some(path) = &attempt.path else {
            return Event::Ended;
        };
        let refresh = roaming::MappingRefresh {
            transport: &self.transport,
            cohort: &attempt.cohort,
            notices: &self.notices,
            sockets: attempt.report.sockets(),
        };
        let lifetime = self.machine.timing().path_lifetime;
        let limit = self.machine.timing().frozen_timeout;
        let is_over = async {
            match lifetime {
                Some(lifetime) => tokio::time::sleep(lifetime).await,
                None => core::future::pending().await,
            }
        };
        tokio::select! {
            () = is_over => Event::Ended,
            () = established::move_datagrams(path, self.datagrams.as_mut(), &mut attempt.report.traffic) => Event::Ended,
            () = refresh.after_each_change(self.roaming.as_ref(), attempt.addresses.as_ref()) => Event::Moved,
            () = checks::watch_stage(path, limit, &mut attempt.report.stage, &self.telemetry, &self.notices) => {
                tracing::info!("a frozen path is given up");
                Event::Ended
            }
            never = checks::publish_rebindings(attempt.session.as_ref(), &self.notices) => match never {},
        }
    }
}

/// Has the span count the time of the states: the wait for a volunteer ends with the choice of the
/// last one, and connecting begins with the answer.
fn time_step(span: &mut otel_nat::Attempt, transition: Transition) {
    if transition.from == State::Listening {
        span.end_wait();
    }
    if transition.to == State::Listening {
        span.begin_wait();
    }
    if transition.event == Event::Answered {
        span.begin_checks();
    }
}

/// The reason with which the attempt fails on this event, whether or not it has a span.
fn failure_reason(from: State, event: Event) -> Option<FailureReason> {
    let actions = next(from, event)?.actions;
    actions.iter().find_map(|action| match action {
        Action::Report(ending) => ending.failure_reason(),
        _ => None,
    })
}
