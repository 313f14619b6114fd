//! The machine, driven by random sequences of events: its promises hold at every step.
//!
//! `MACHINE_STEPS=1000000` in the environment asks for the long form.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use consumer_fsm::{Action, Event, Illegal, Machine, State, Timing, next};
use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

/// Steps unless the environment says otherwise.
const STEPS: u64 = 50_000;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
    static PAIRS: RefCell<BTreeSet<(State, String)>> = const { RefCell::new(BTreeSet::new()) };
}

/// One input of the machine.
#[derive(Debug, Clone)]
enum Stimulus {
    Happens(Event),
    /// Time passes, and a deadline that is due is handed in.
    Wait(Duration),
    /// A stopped consumer is started anew.
    Restart,
}

/// The specification without the table's actions: the state of an attempt, and whether a span is
/// due.
#[derive(Debug, Clone)]
struct Specification {
    state: State,
    asked: bool,
}

impl ReferenceStateMachine for Specification {
    type State = Self;
    type Transition = Stimulus;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self {
            state: State::Preparing,
            asked: false,
        })
        .boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Stimulus> {
        let from = state.state;
        let legal: Vec<Event> = Event::ALL
            .into_iter()
            .filter(|e| *e != Event::Cancelled && next(from, *e).is_some())
            .collect();
        let any = select(Event::ALL.to_vec()).prop_map(Stimulus::Happens);
        if legal.is_empty() {
            return prop_oneof![1 => any, 3 => Just(Stimulus::Restart)].boxed();
        }
        // the way to a path more often, or the last states are hardly seen
        let onward = match from {
            State::Preparing => Event::Prepared,
            State::Listening => Event::Chosen,
            State::Offering => Event::Answered,
            State::Trickling => Event::Delivered,
            State::Opening => Event::Opened,
            State::Established | State::Stopped => Event::Ended,
        };
        prop_oneof![
            8 => Just(Stimulus::Happens(onward)),
            6 => select(legal).prop_map(Stimulus::Happens),
            2 => any,
            1 => Just(Stimulus::Happens(Event::Cancelled)),
            2 => (0..12_000_u64).prop_map(|millis| Stimulus::Wait(Duration::from_millis(millis))),
        ]
        .boxed()
    }

    fn apply(mut state: Self, stimulus: &Stimulus) -> Self {
        match stimulus {
            Stimulus::Happens(event) => {
                if let Some(step) = next(state.state, *event) {
                    state.asked |= *event == Event::Asked;
                    state.state = step.state;
                }
            }
            // only the wait for the channel has a deadline; whether it is over, the machine has to
            // say
            Stimulus::Wait(_) => {}
            Stimulus::Restart if state.state == State::Stopped => state.state = State::Preparing,
            Stimulus::Restart => {}
        }
        // a stopped machine still holds the facts of its last attempt
        if state.state == State::Preparing {
            state.asked = false;
        }
        state
    }
}

/// The machine, and the effects of its actions so far.
struct Driven {
    machine: Machine,
    now: Instant,
    has_session: bool,
    has_path: bool,
    asked: bool,
    reports: u32,
}

impl Driven {
    fn happens(&mut self, event: Event) {
        let before = self.machine.clone();
        let from = before.state();
        TAKEN.set(TAKEN.get() + 1);
        PAIRS.with_borrow_mut(|pairs| pairs.insert((from, format!("{event:?}"))));
        let actions = match self.machine.handle(event, self.now) {
            Ok(actions) => actions,
            Err(illegal) => {
                assert_eq!(illegal, Illegal { state: from, event });
                assert_eq!(next(from, event), None);
                assert_eq!(
                    format!("{:?}", self.machine),
                    format!("{before:?}"),
                    "nothing changes"
                );
                return;
            }
        };
        self.asked |= event == Event::Asked;
        self.has_session |= event == Event::Prepared;
        for action in actions {
            match action {
                Action::Report(_) => self.reports += 1,
                Action::AnnouncePath => {
                    assert!(!self.has_path, "announced twice");
                    self.has_path = true;
                }
                Action::AnnounceNoPath => {
                    assert!(self.has_path, "taken back without having been announced");
                    self.has_path = false;
                }
                Action::Close => self.has_session = false,
                Action::DropCohort | Action::Pause | Action::BackOff => {}
            }
        }
        let to = self.machine.state();
        assert!(
            self.reports <= u32::from(self.asked),
            "one span at most, and none where nobody was asked"
        );
        assert_eq!(
            self.has_path,
            to == State::Established,
            "a path is announced exactly while there is one"
        );
        if matches!(to, State::Preparing | State::Stopped) {
            assert_eq!(
                self.reports,
                u32::from(self.asked),
                "an attempt that asked has its one span when it ends"
            );
            assert!(!self.has_session, "everything opened is closed");
            (self.asked, self.reports) = (false, 0);
        }
        let longest = Timing::default()
            .error_backoff
            .max(Timing::default().patience);
        assert!(
            self.machine
                .ready_at()
                .is_none_or(|ready| ready <= self.now + longest),
            "back-off is bounded"
        );
        let deadline = self.machine.poll_timeout();
        assert_eq!(
            deadline.is_some(),
            to == State::Opening,
            "only the channel has a deadline, and always"
        );
    }
}

impl StateMachineTest for Driven {
    type SystemUnderTest = Self;
    type Reference = Specification;

    fn init_test(_: &Specification) -> Self {
        Self {
            machine: Machine::new(Timing::default()),
            now: Instant::now(),
            has_session: false,
            has_path: false,
            asked: false,
            reports: 0,
        }
    }

    fn apply(mut driven: Self, _: &Specification, stimulus: Stimulus) -> Self {
        match stimulus {
            Stimulus::Happens(event) => driven.happens(event),
            Stimulus::Wait(time) => {
                TAKEN.set(TAKEN.get() + 1);
                driven.now += time;
                let is_due = driven
                    .machine
                    .poll_timeout()
                    .is_some_and(|deadline| deadline <= driven.now);
                assert_eq!(
                    driven.machine.handle_timeout(driven.now),
                    is_due.then_some(Event::TimedOut)
                );
            }
            Stimulus::Restart if driven.machine.state() == State::Stopped => {
                driven.machine = Machine::new(driven.machine.timing());
            }
            Stimulus::Restart => {}
        }
        driven
    }

    fn check_invariants(driven: &Self, specification: &Specification) {
        assert_eq!(driven.machine.state(), specification.state);
        assert_eq!(driven.machine.has_asked(), specification.asked);
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    fn drive(sequential 1..400 => Driven);
}

#[test]
fn no_sequence_of_events_breaks_what_the_machine_promises() {
    let wanted = std::env::var("MACHINE_STEPS")
        .ok()
        .map_or(STEPS, |steps| steps.parse().expect("a number of steps"));
    while TAKEN.get() < wanted {
        drive();
    }
    println!("{} steps", TAKEN.get());
    let pairs = PAIRS.with_borrow(BTreeSet::clone);
    for state in State::ALL {
        for event in Event::ALL {
            // impossible pairs are tried less often, so the short form does not need all of them
            let is_due = wanted >= 1_000_000 || next(state, event).is_some();
            let is_tried = pairs.contains(&(state, format!("{event:?}")));
            assert!(is_tried || !is_due, "never tried: {event:?} in {state:?}");
        }
    }
}

#[test]
fn from_every_state_there_is_a_way_to_a_path_and_to_the_end() {
    let mut reachable: BTreeMap<State, BTreeSet<State>> = BTreeMap::new();
    for from in State::ALL {
        let mut seen = BTreeSet::from([from]);
        loop {
            let more: BTreeSet<State> = seen
                .iter()
                .flat_map(|state| {
                    Event::ALL
                        .into_iter()
                        .filter_map(|event| next(*state, event))
                })
                .map(|step| step.state)
                .collect();
            let before = seen.len();
            seen.extend(more);
            if seen.len() == before {
                break;
            }
        }
        reachable.insert(from, seen);
    }
    assert_eq!(
        reachable[&State::Preparing],
        State::ALL.into_iter().collect(),
        "no state is unreachable"
    );
    for (from, seen) in reachable {
        assert!(seen.contains(&State::Stopped), "{from:?} stalls");
        assert!(
            from == State::Stopped || seen.contains(&State::Established),
            "{from:?} never gets a path"
        );
    }
}
