//! The machine on one screen.

use otel_nat::FailureReason;

use crate::state::{Action, Ending, Event, State};

/// The effect of an event in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The state after it.
    pub state: State,
    /// The actions to carry out, in order.
    pub actions: &'static [Action],
}

/// The transition of `event` in `state`; `None` where the event cannot happen.
#[doc = include_str!("../docs/machine.svg")]
#[must_use]
pub const fn next(state: State, event: Event) -> Option<Step> {
    use Action::{AnnounceNoPath, AnnouncePath, BackOff, Close, DropCohort, Pause, Report};
    use Ending::{Failure, Success};
    use Event as E;
    use FailureReason as Reason;
    use State::{Established, Listening, Offering, Opening, Preparing, Stopped, Trickling};

    let (state, actions): (State, &'static [Action]) = match (state, event) {
        (Preparing, E::Prepared) => (Listening, &[]),
        (Preparing, E::NotPrepared) => {
            (Preparing, &[Report(Failure(Reason::Local)), Close, BackOff])
        }

        (Listening, E::Chosen) => (Offering, &[]),
        (Listening, E::NothingHeard) => (Listening, &[Pause]),
        (Listening, E::Refused | E::ExchangeFailed) => (Listening, &[BackOff]),
        (Listening | Offering, E::GaveUp) => (
            Preparing,
            &[Report(Failure(Reason::Signalling)), Close, BackOff],
        ),
        (Listening, E::Moved) => (Preparing, &[Report(Failure(Reason::Local)), Close]),

        (Offering, E::Asked) => (Offering, &[]),
        (Offering, E::Answered) => (Trickling, &[]),
        (Offering, E::LostRace | E::PeerDied | E::BadAnswer) => (Listening, &[]),
        (Offering, E::Refused | E::ExchangeFailed) => (Listening, &[BackOff]),
        (Offering, E::UdpBlocked) => (
            Preparing,
            &[Report(Failure(Reason::UdpBlocked)), DropCohort, Close],
        ),
        (Offering, E::NoServerAnswered) => (
            Preparing,
            &[Report(Failure(Reason::NoServerAnswered)), DropCohort, Close],
        ),
        (Offering, E::Broken) => (Preparing, &[Report(Failure(Reason::Local)), Close]),

        (Trickling, E::Delivered) => (Opening, &[]),
        (Trickling, E::PartnerGone) => (
            Preparing,
            &[Report(Failure(Reason::PeerGone)), DropCohort, Close],
        ),
        (Trickling, E::Refused | E::ExchangeFailed) => (
            Preparing,
            &[Report(Failure(Reason::Signalling)), Close, BackOff],
        ),

        (Opening, E::Opened) => (Established, &[Report(Success), AnnouncePath]),
        (Opening, E::TimedOut) => (Preparing, &[Report(Failure(Reason::Timeout)), Close]),
        (Opening, E::IceFailed) => (Preparing, &[Report(Failure(Reason::IceFailed)), Close]),
        (Opening, E::ChannelFailed) => {
            (Preparing, &[Report(Failure(Reason::ChannelFailed)), Close])
        }

        (Established, E::Ended | E::Moved) => (Preparing, &[AnnounceNoPath, Close]),

        (Established, E::Cancelled) => (Stopped, &[AnnounceNoPath, Close]),
        (Preparing | Listening | Offering | Trickling | Opening, E::Cancelled) => {
            (Stopped, &[Report(Failure(Reason::Cancelled)), Close])
        }
        _ => return None,
    };
    Some(Step { state, actions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_reachable_and_every_one_can_be_cancelled_once() {
        for state in State::ALL {
            let reached = state == State::Preparing
                || State::ALL.iter().any(|from| {
                    Event::ALL.iter().any(|e| {
                        from != &state && next(*from, *e).is_some_and(|step| step.state == state)
                    })
                });
            assert!(reached, "{state:?}");
            assert_eq!(
                next(state, Event::Cancelled).is_none(),
                state == State::Stopped,
                "{state:?}"
            );
        }
    }

    #[test]
    fn every_way_back_to_the_start_closes_the_connection_object() {
        for state in State::ALL {
            for event in Event::ALL {
                if let Some(step) = next(state, event)
                    && matches!(step.state, State::Preparing | State::Stopped)
                {
                    assert!(step.actions.contains(&Action::Close), "{state:?} {event:?}");
                }
            }
        }
    }

    #[test]
    fn every_way_out_after_the_cohort_was_asked_reports_unless_success_was_reported() {
        for state in [State::Offering, State::Trickling, State::Opening] {
            for event in Event::ALL {
                if let Some(step) = next(state, event)
                    && matches!(
                        step.state,
                        State::Preparing | State::Stopped | State::Established
                    )
                {
                    let reports = step
                        .actions
                        .iter()
                        .filter(|a| matches!(a, Action::Report(_)))
                        .count();
                    assert_eq!(reports, 1, "{state:?} {event:?}");
                }
            }
        }
    }

    #[test]
    fn every_event_happens_somewhere() {
        for event in Event::ALL {
            assert!(
                State::ALL.iter().any(|state| next(*state, event).is_some()),
                "{event:?}"
            );
        }
    }
}
