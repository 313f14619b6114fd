//! The progress of a measurement on the standard error: in place on a terminal, elsewhere a line
//! now and then.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// Time between two lines where they stay.
const PAUSE: Duration = Duration::from_secs(10);

/// Shows the progress of one measurement. On a terminal, dropping it clears the line.
pub(super) struct Progress {
    what: String,
    told: Instant,
}

impl Progress {
    pub(super) fn of(what: impl Into<String>) -> Self {
        let what = what.into();
        eprint!(
            "{what} ...{}",
            if stderr().is_terminal() { "" } else { "\n" }
        );
        Self {
            what,
            told: Instant::now(),
        }
    }

    pub(super) fn at(&mut self, done: usize, all: usize) {
        self.say(&format!("{done} of {all}"));
    }

    pub(super) fn say(&mut self, where_: &str) {
        if stderr().is_terminal() {
            eprint!("\r\x1b[K{}: {where_}", self.what);
        } else if self.told.elapsed() >= PAUSE {
            eprintln!("{}: {where_}", self.what);
            self.told = Instant::now();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}
