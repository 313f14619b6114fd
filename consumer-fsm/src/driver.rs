//! Runs the machine: does each state's work, hands back what happened, carries out what the table
//! says.

use ice_gather::Role;
use otel_nat::{FailureReason, Telemetry};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cohort::StunCache;
use crate::machine::{Machine, Timing};
use crate::notice::{Announced, Notices, Teller, What};
use crate::roaming::{self, Roaming};
use crate::signalling::wire::{Ice, Kind, WireCandidate, write};
use crate::signalling::{SignalError, Signalling};
use crate::state::{Action, Ending, Event, State};
use crate::table::next;
use crate::transport::{Path, Session, Transport, TransportError};

mod attempt;
mod established;
mod listening;
mod offering;
mod peer;

pub use self::attempt::AttemptReport;
pub(crate) use self::established::MTU;
pub use self::established::{Datagrams, Link};
pub use self::peer::PeerReport;

use self::attempt::Attempt;
use self::listening::Heard;

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
    /// An attempt ends where the service fails.
    gives_up: bool,
    /// The host has other addresses than when the cohort was last asked.
    has_moved: bool,
    datagrams: Option<Datagrams>,
    path: watch::Sender<bool>,
    teller: Teller,
}

impl<S: Signalling, T: Transport> Consumer<S, T> {
    /// A consumer that has done nothing yet.
    pub fn new(signalling: S, transport: T, telemetry: Telemetry, servers: StunCache) -> Self {
        Self {
            signalling,
            transport,
            telemetry,
            servers,
            machine: Machine::new(Timing::default()),
            rng: StdRng::from_os_rng(),
            roaming: Some(Roaming::default()),
            gives_up: false,
            has_moved: false,
            datagrams: None,
            path: watch::Sender::new(false),
            teller: Teller::default(),
        }
    }

    /// With other times than the default ones.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.machine = Machine::new(timing);
        self
    }

    /// Every choice of this consumer follows from `seed`: cohort, producer, session id. By default
    /// from the system's randomness. What ICE and STUN need of it, credentials and transaction
    /// ids, always comes from there.
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

    /// Moves these datagrams while there is a path. Without, a path only stays open.
    #[must_use]
    pub fn with_datagrams(mut self, datagrams: Datagrams) -> Self {
        self.datagrams = Some(datagrams);
        self
    }

    /// Attempts end where the service fails: by default an attempt goes on until the service is
    /// back.
    pub(crate) const fn giving_up(mut self, gives_up: bool) -> Self {
        self.gives_up = gives_up;
        self
    }

    pub(crate) fn with_teller(mut self, teller: Teller) -> Self {
        self.teller = teller;
        self
    }

    /// Whether there is a path, always the latest.
    #[must_use]
    pub fn path(&self) -> watch::Receiver<bool> {
        self.path.subscribe()
    }

    /// What happens from now on, as it happens.
    pub fn notices(&mut self) -> Notices {
        self.teller.subscribe()
    }

    /// Attempts again and again until cancelled.
    pub async fn run(&mut self, cancel: &CancellationToken) {
        while !cancel.is_cancelled() {
            self.attempt(cancel).await;
        }
    }

    /// Runs one attempt to its end: a path that ended, a failure, or the cancellation.
    ///
    /// Cancel safe: dropped at any point it leaves nothing behind, and its span says `cancelled` if
    /// a server was asked.
    pub async fn attempt(&mut self, cancel: &CancellationToken) -> AttemptReport {
        // the back-off after the attempt before is no part of this one; dropped meanwhile, it is
        // still to be kept
        if let Some(ready_at) = self.machine.ready_at() {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = tokio::time::sleep_until(ready_at.into()) => {}
            }
        }
        self.machine = Machine::new(self.machine.timing());
        let id = uuid::Builder::from_random_bytes(self.rng.random()).into_uuid();
        let mut attempt = Attempt::<T>::new(&self.telemetry, id);
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
    async fn work(&mut self, attempt: &mut Attempt<T>) -> Event {
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

    /// Hands an event to the machine and carries out its actions.
    async fn step(&mut self, attempt: &mut Attempt<T>, event: Event) {
        let from = self.machine.state();
        let handled = self.machine.handle(event, Instant::now().into_std());
        debug_assert!(handled.is_ok(), "{handled:?}");
        let to = self.machine.state();
        attempt.remember(from, event, to);
        self.has_moved |= event == Event::Moved;
        self.teller.tell(What::Moved { from, event, to });
        if let Some(reason) = failure(from, event) {
            self.teller.tell(What::Failed(reason));
        }
        if from == State::Established {
            attempt.report.dropped.1 += attempt.path.as_ref().map_or(0, Path::dropped);
            let AttemptReport { moved, dropped, .. } = attempt.report;
            self.teller.tell(What::Carried { moved, dropped });
        }
        for action in handled.unwrap_or_default() {
            match action {
                Action::Report(ending) => attempt.emit(ending),
                Action::AnnouncePath => {
                    // for a path that was not there, and now of no use
                    attempt.report.dropped.0 +=
                        self.datagrams.as_mut().map_or(0, Datagrams::discard);
                    attempt.announced =
                        Some(Announced::new(self.path.clone(), self.teller.clone()));
                }
                Action::AnnounceNoPath => attempt.announced = None,
                Action::DropCohort => self.servers.drop_cohort(&attempt.cohort),
                Action::Close => {
                    attempt.close().await;
                    if from == State::Established {
                        attempt.record_mapping_lifetime();
                    }
                }
                // the machine says until when
                Action::Pause | Action::BackOff => {}
            }
        }
        if to == State::Stopped {
            self.teller.tell(What::Stopped);
        }
    }

    /// State 0.
    async fn prepare(&mut self, attempt: &mut Attempt<T>) -> Event {
        self.teller.tell(What::AttemptStarted);
        match self.servers.cohort(&mut self.rng).await {
            Ok(cohort) => attempt.cohort = cohort,
            Err(error) => {
                tracing::warn!(%error, "no STUN server to ask");
                return Event::NotPrepared;
            }
        }
        // in front of the socket: a change from here on is one
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
    async fn listen(&mut self, attempt: &mut Attempt<T>) -> Event {
        let patience = self.machine.timing().patience;
        let chosen = tokio::select! {
            chosen = listening::choose(&self.signalling, patience, &mut self.rng) => chosen,
            _ = roaming::changed(self.roaming.as_ref(), attempt.addresses.as_ref()) => return Event::Moved,
        };
        match chosen {
            Ok(Heard::One(reply_to)) => {
                attempt.partner = Some(reply_to);
                Event::Chosen
            }
            Ok(Heard::OnlyRubbish) if self.gives_up => Event::GaveUp,
            Ok(Heard::Nobody | Heard::OnlyRubbish) => Event::NothingHeard,
            Err(error) => refusal(error, self.gives_up),
        }
    }

    /// State 3.
    async fn trickle(&self, attempt: &mut Attempt<T>) -> Event {
        let partner = attempt.partner.take().unwrap_or_default();
        let gathered = attempt
            .report
            .gathering
            .as_ref()
            .map_or(&[][..], |gathering| &gathering.candidates);
        let candidates = gathered.iter().map(WireCandidate::from).collect();
        let ice = write(&Ice {
            candidates,
            consumer_session_id: attempt.id.to_string(),
        });
        match self.signalling.exchange(&partner, Kind::Ice, &ice).await {
            Ok(_) => Event::Delivered,
            Err(SignalError::Gone) => Event::PartnerGone,
            Err(error) => refusal(error, false),
        }
    }

    /// State 4.
    async fn open(&self, attempt: &mut Attempt<T>) -> Event {
        let (Some(session), Some(remote)) = (&mut attempt.session, attempt.remote.take()) else {
            return Event::IceFailed;
        };
        if let Some(span) = &mut attempt.span {
            span.begin_checks();
        }
        let now = Instant::now().into_std();
        let deadline = self
            .machine
            .poll_timeout()
            .unwrap_or(now)
            .saturating_duration_since(now);
        match session.connect(remote, deadline).await {
            Ok(path) => {
                attempt.path = Some(path);
                attempt.report.selected_pair = session.selected_pair();
                if let (Some(span), Some((local, remote))) =
                    (&mut attempt.span, attempt.report.selected_pair)
                {
                    span.set_selected_pair(local, remote);
                }
                let after = attempt.started.elapsed();
                attempt.report.connected_after = Some(after);
                self.teller.tell(What::Connected(after));
                Event::Opened
            }
            Err(TransportError::TimedOut) => Event::TimedOut,
            Err(TransportError::NoChannel) => Event::ChannelFailed,
            Err(TransportError::Dtls | TransportError::Fingerprint | TransportError::Channel) => {
                attempt.paired = true;
                Event::ChannelFailed
            }
            Err(_) => Event::IceFailed,
        }
    }

    /// State 5.
    async fn stay(&mut self, attempt: &mut Attempt<T>) -> Event {
        let Some(path) = &attempt.path else {
            return Event::Ended;
        };
        let ask = roaming::AskAgain {
            transport: &self.transport,
            cohort: &attempt.cohort,
            teller: &self.teller,
            sockets: attempt.report.sockets(),
        };
        let lifetime = self.machine.timing().path_lifetime;
        let is_over = async {
            match lifetime {
                Some(lifetime) => tokio::time::sleep(lifetime).await,
                None => core::future::pending().await,
            }
        };
        tokio::select! {
            () = is_over => Event::Ended,
            () = established::move_datagrams(path, self.datagrams.as_mut(), &mut attempt.report) => Event::Ended,
            () = ask.whenever_moved(self.roaming.as_ref(), attempt.addresses.as_ref()) => Event::Moved,
            never = peer::tell_rebindings(attempt.session.as_ref(), &self.teller) => match never {},
        }
    }
}

/// Why the attempt fails if this happens, reported or not.
fn failure(from: State, event: Event) -> Option<FailureReason> {
    next(from, event)?
        .actions
        .iter()
        .find_map(|action| match action {
            Action::Report(Ending::Failure(reason)) => Some(*reason),
            _ => None,
        })
}

const fn refusal(error: SignalError, gives_up: bool) -> Event {
    match error {
        _ if gives_up => Event::GaveUp,
        SignalError::Version | SignalError::Rejected => Event::Refused,
        _ => Event::ExchangeFailed,
    }
}
