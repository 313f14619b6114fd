//! One row of the list: a fault, the transition and the span that it leads to, and its staging.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use consumer_fsm::{Event, State, next};

use crate::stage::Stage;

/// Something that goes wrong.
pub(crate) struct Fault {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    /// In words.
    pub(crate) what: &'static str,
    pub(crate) leads_to: LeadsTo,
    pub(crate) span: Span,
    /// The command that starts the walking process, if not directly; an error if this machine lacks
    /// it.
    pub(crate) wrapper: Option<Wrapper>,
    pub(crate) stage: Staged,
}

pub(crate) type Staged = for<'a> fn(&'a Stage) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
pub(crate) type Wrapper = fn() -> Result<std::process::Command, String>;

/// The attempt's reaction to the fault.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LeadsTo {
    /// This event in this state; the next state follows from the table.
    Event(State, Event),
    /// More than one, as described; the stage checks them itself.
    Each(&'static str),
}

impl fmt::Display for LeadsTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(state, event) => {
                let to = next(*state, *event).expect("a fault leads somewhere").state;
                let number = |state: State| {
                    state
                        .number()
                        .map_or_else(|| "stopped".to_owned(), |n| n.to_string())
                };
                write!(f, "{} → `{event:?}` → {}", number(*state), number(to))
            }
            Self::Each(what) => f.write_str(what),
        }
    }
}

/// The one span of the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// No server was asked: there is none.
    None,
    /// `nat_success`.
    Success,
    /// `nat_failure`, with this `error.type`.
    Failure(&'static str),
    /// As described; the stage checks it itself.
    Each(&'static str),
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Success => f.write_str("`nat_success`"),
            Self::Failure(reason) => write!(f, "`nat_failure`, `{reason}`"),
            Self::Each(what) => f.write_str(what),
        }
    }
}
