//! One row of the list: what goes wrong, the transition and the span it leads to, and how it is
//! staged.

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
    /// What the process that walks it is started by, if not directly; why it cannot be.
    pub(crate) wrapper: Option<Wrapper>,
    pub(crate) stage: Staged,
}

pub(crate) type Staged = for<'a> fn(&'a Stage) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
pub(crate) type Wrapper = fn() -> Result<std::process::Command, String>;

/// What the attempt does about it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LeadsTo {
    /// This event in this state; the table says what follows.
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

/// What the one span of the attempt says.
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
