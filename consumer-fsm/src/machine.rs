//! The machine: the table, time, and the rule of the one span. Pure; time is an argument.

use core::fmt;
use std::time::{Duration, Instant};

use crate::state::{Action, Event, State};
use crate::table::next;
use crate::wait::bounded;

/// The machine's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// The time for which more genesis messages are awaited after the first one.
    pub patience: Duration,
    /// The wait after a refusal.
    pub error_backoff: Duration,
    /// The time that the channel may take to open.
    pub nat_fail_timeout: Duration,
    /// The age at which a mapping is asked for again before it is advertised, because NATs may forget
    /// a mapping after 30 s, and often do (RFC 4787 section 4.3). Once the peer has answered, the
    /// mapping is asked for once more at most.
    pub mapping_age: Duration,
    /// The time after which a path is given up for a new one; `None`: a path is kept as long as it
    /// works.
    pub path_lifetime: Option<Duration>,
    /// The silence after which a path is given up that is proven to be frozen
    /// ([`StageVerdict::FrozenAfterOpen`](nat_summary::stage::StageVerdict::FrozenAfterOpen)), so that
    /// another volunteer is drawn; `None`: such a path is kept. The proof takes ten seconds at least.
    pub frozen_timeout: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            patience: Duration::from_millis(500),
            error_backoff: Duration::from_secs(5),
            nat_fail_timeout: Duration::from_secs(5),
            mapping_age: Duration::from_secs(20),
            path_lifetime: None,
            frozen_timeout: None,
        }
    }
}

impl Timing {
    /// Waits so long for more genesis messages after the first one.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Waits so long after a refusal.
    #[must_use]
    pub const fn with_error_backoff(mut self, backoff: Duration) -> Self {
        self.error_backoff = backoff;
        self
    }

    /// Gives the channel so long to open.
    #[must_use]
    pub const fn with_nat_fail_timeout(mut self, timeout: Duration) -> Self {
        self.nat_fail_timeout = timeout;
        self
    }

    /// Asks for a mapping of this age again before it is advertised.
    #[must_use]
    pub const fn with_mapping_age(mut self, age: Duration) -> Self {
        self.mapping_age = age;
        self
    }

    /// Gives a path up for a new one after so long; `None`: keeps it as long as it works.
    #[must_use]
    pub const fn with_path_lifetime(mut self, lifetime: Option<Duration>) -> Self {
        self.path_lifetime = lifetime;
        self
    }

    /// Gives a frozen path up after so much silence; `None`: keeps it.
    #[must_use]
    pub const fn with_frozen_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.frozen_timeout = timeout;
        self
    }

    const fn bounded(self) -> Self {
        Self {
            patience: bounded(self.patience),
            error_backoff: bounded(self.error_backoff),
            nat_fail_timeout: bounded(self.nat_fail_timeout),
            mapping_age: bounded(self.mapping_age),
            path_lifetime: match self.path_lifetime {
                Some(lifetime) => Some(bounded(lifetime)),
                None => None,
            },
            frozen_timeout: self.frozen_timeout,
        }
    }
}

/// An event that cannot happen in the state the machine is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Illegal {
    /// The state, unchanged.
    pub state: State,
    /// The event.
    pub event: Event,
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot happen in {}", self.event, self.state.as_str())
    }
}

impl core::error::Error for Illegal {}

/// The state of one consumer. Pure: the machine has no clock, no randomness and no I/O; its driver
/// has them.
///
/// Drive it like this:
/// 1. Do the work of [`state`](Self::state), but not before [`ready_at`](Self::ready_at). The work
///    of each state stands with [`State`].
/// 2. Hand the event that comes of the work to [`handle`](Self::handle). [`Event::Cancelled`] may be
///    handed in at any time, before the work is done; [`Event::Asked`] has to be, in front of the
///    first STUN request.
/// 3. Carry out the actions that it returns, in order. One of them closes the connection object that
///    was built in [`State::Preparing`].
/// 4. While [`poll_timeout`](Self::poll_timeout) names an instant, call
///    [`handle_timeout`](Self::handle_timeout) when it comes, and hand in the event it names.
/// 5. Back in [`State::Preparing`] the next attempt begins; in [`State::Stopped`] nothing does.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use consumer_fsm::{Action, Ending, Event, Machine, State, Timing};
/// use otel_nat::FailureReason;
///
/// let mut now = Instant::now();
/// let mut machine = Machine::new(Timing::default());
/// for event in [Event::Prepared, Event::Chosen, Event::Asked, Event::Answered, Event::Delivered] {
///     assert_eq!(machine.handle(event, now)?, []);
/// }
/// assert_eq!(machine.state(), State::Opening);
///
/// now = machine.poll_timeout().expect("the channel has its time");
/// let event = machine.handle_timeout(now).expect("and it is over");
/// assert_eq!(machine.handle(event, now)?, [Action::Report(Ending::Failure(FailureReason::Timeout)), Action::Close]);
/// assert_eq!(machine.state(), State::Preparing);
/// # Ok::<(), consumer_fsm::Illegal>(())
/// ```
#[derive(Debug, Clone)]
pub struct Machine {
    state: State,
    timing: Timing,
    ready_at: Option<Instant>,
    deadline: Option<Instant>,
    asked: bool,
    reported: bool,
}

impl Machine {
    /// At the start, nothing done yet.
    #[must_use]
    pub const fn new(timing: Timing) -> Self {
        let timing = timing.bounded();
        Self {
            state: State::Preparing,
            timing,
            ready_at: None,
            deadline: None,
            asked: false,
            reported: false,
        }
    }

    /// The state of the attempt.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The machine's times.
    #[must_use]
    pub const fn timing(&self) -> Timing {
        self.timing
    }

    /// The time before which the state's work has to wait.
    #[must_use]
    pub const fn ready_at(&self) -> Option<Instant> {
        self.ready_at
    }

    /// The time at which [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether a STUN server was asked in this attempt.
    #[must_use]
    pub const fn has_asked(&self) -> bool {
        self.asked
    }

    /// Takes `event`, and returns the actions to carry out.
    ///
    /// # Errors
    /// [`Illegal`], and nothing changes, if the event cannot happen in this state.
    pub fn handle(&mut self, event: Event, now: Instant) -> Result<Vec<Action>, Illegal> {
        let state = self.state;
        let step = next(state, event).ok_or(Illegal { state, event })?;
        self.asked |= event == Event::Asked;
        let mut actions = Vec::with_capacity(step.actions.len());
        self.ready_at = None;
        for action in step.actions {
            match action {
                Action::Report(_) if !self.asked || self.reported => continue,
                Action::Report(_) => self.reported = true,
                Action::Pause => self.ready_at = Some(now + self.timing.patience),
                Action::BackOff => self.ready_at = Some(now + self.timing.error_backoff),
                _ => {}
            }
            actions.push(*action);
        }
        if step.state != state {
            self.deadline =
                (step.state == State::Opening).then(|| now + self.timing.nat_fail_timeout);
        }
        if step.state == State::Preparing {
            (self.asked, self.reported) = (false, false);
        }
        self.state = step.state;
        Ok(actions)
    }

    /// The event to hand in if the deadline of [`poll_timeout`](Self::poll_timeout) has come.
    #[must_use]
    pub fn handle_timeout(&self, now: Instant) -> Option<Event> {
        self.deadline
            .filter(|deadline| now >= *deadline)
            .map(|_| Event::TimedOut)
    }
}

#[cfg(test)]
mod tests {
    use otel_nat::FailureReason;

    use super::*;
    use crate::state::Ending;

    fn run(events: &[Event]) -> (Machine, Vec<Ending>) {
        let mut machine = Machine::new(Timing::default());
        let mut reports = Vec::new();
        for event in events {
            for action in machine.handle(*event, Instant::now()).unwrap() {
                if let Action::Report(ending) = action {
                    reports.push(ending);
                }
            }
        }
        (machine, reports)
    }

    #[test]
    fn an_attempt_that_asked_reports_once() {
        use Event as E;
        let to_offering = [E::Prepared, E::Chosen, E::Asked];
        let success = [
            &to_offering[..],
            &[E::Answered, E::Delivered, E::Opened, E::Ended],
        ]
        .concat();
        assert_eq!(run(&success).1, [Ending::Success]);
        let cancelled_late = [
            &to_offering[..],
            &[E::Answered, E::Delivered, E::Opened, E::Cancelled],
        ]
        .concat();
        assert_eq!(run(&cancelled_late).1, [Ending::Success]);
        let blocked = [&to_offering[..], &[E::UdpBlocked]].concat();
        assert_eq!(
            run(&blocked).1,
            [Ending::Failure(FailureReason::UdpBlocked)]
        );
        let twice = [blocked.clone(), blocked].concat();
        assert_eq!(run(&twice).1.len(), 2, "each attempt its own");
    }

    #[test]
    fn an_attempt_that_asked_nobody_reports_nothing() {
        assert_eq!(run(&[Event::Prepared, Event::Cancelled]).1, []);
        assert_eq!(
            run(&[
                Event::Prepared,
                Event::Chosen,
                Event::LostRace,
                Event::Cancelled
            ])
            .1,
            []
        );
    }

    #[test]
    fn a_lost_race_keeps_the_attempt_and_its_evidence() {
        let events = [
            Event::Prepared,
            Event::Chosen,
            Event::Asked,
            Event::LostRace,
        ];
        let (machine, reports) = run(&events);
        assert!(machine.has_asked() && reports.is_empty());
    }

    #[test]
    fn the_channel_has_its_time_and_no_more() {
        let (mut machine, _) = run(&[
            Event::Prepared,
            Event::Chosen,
            Event::Asked,
            Event::Answered,
        ]);
        let now = Instant::now();
        assert_eq!(machine.poll_timeout(), None);
        machine.handle(Event::Delivered, now).unwrap();
        let deadline = machine.poll_timeout().unwrap();
        assert_eq!(deadline, now + Duration::from_secs(5));
        assert_eq!(
            machine.handle_timeout(deadline - Duration::from_nanos(1)),
            None
        );
        assert_eq!(machine.handle_timeout(deadline), Some(Event::TimedOut));
        machine.handle(Event::TimedOut, deadline).unwrap();
        assert_eq!(
            (machine.state(), machine.poll_timeout()),
            (State::Preparing, None)
        );
    }

    #[test]
    fn for_ever_is_a_time_as_well() {
        let ever = Duration::MAX;
        let (patience, error_backoff, nat_fail_timeout) = (ever, ever, ever);
        let timing = Timing {
            patience,
            error_backoff,
            nat_fail_timeout,
            mapping_age: ever,
            path_lifetime: Some(ever),
            frozen_timeout: None,
        };
        let now = Instant::now();
        let mut machine = Machine::new(timing);
        for event in [
            Event::Prepared,
            Event::Refused,
            Event::Chosen,
            Event::Asked,
            Event::Answered,
            Event::Delivered,
        ] {
            machine.handle(event, now).unwrap();
        }
        assert!(
            machine
                .poll_timeout()
                .is_some_and(|deadline| machine.handle_timeout(deadline).is_some())
        );
        assert!(
            now.checked_add(machine.timing().mapping_age + machine.timing().path_lifetime.unwrap())
                .is_some()
        );
    }

    #[test]
    fn what_cannot_happen_changes_nothing() {
        let mut machine = Machine::new(Timing::default());
        let illegal = machine.handle(Event::Opened, Instant::now());
        assert_eq!(
            illegal,
            Err(Illegal {
                state: State::Preparing,
                event: Event::Opened
            })
        );
        assert_eq!(machine.state(), State::Preparing);
    }

    #[test]
    fn a_refusal_backs_off_and_the_next_event_clears_it() {
        let (mut machine, _) = run(&[Event::Prepared]);
        let now = Instant::now();
        machine.handle(Event::Refused, now).unwrap();
        assert_eq!(machine.ready_at(), Some(now + Duration::from_secs(5)));
        machine.handle(Event::Chosen, now).unwrap();
        assert_eq!(machine.ready_at(), None);
    }
}
