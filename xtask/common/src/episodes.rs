//! Episodes of `chaos`, as they are printed and typed.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::num::ParseIntError;
use std::ops::Range;
use std::str::FromStr;

use serde::Serialize;

/// One episode, `7`, or those of a batch, `16..144`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Episodes(pub Range<u64>);

impl Episodes {
    /// That one.
    #[must_use]
    pub const fn one(number: u64) -> Self {
        Self(number..number.saturating_add(1))
    }

    /// Whether there is but one.
    #[must_use]
    pub const fn are_one(&self) -> bool {
        self.0.start.saturating_add(1) == self.0.end
    }
}

impl Display for Episodes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.are_one() {
            write!(f, "{}", self.0.start)
        } else {
            write!(f, "{}..{}", self.0.start, self.0.end)
        }
    }
}

/// Why a text names no episodes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EpisodesError {
    /// No number where one belongs.
    Number(ParseIntError),
    /// A range with nothing in it.
    Empty,
}

impl Display for EpisodesError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(error) => error.fmt(f),
            Self::Empty => f.write_str("there are no episodes in it"),
        }
    }
}

impl Error for EpisodesError {}

impl FromStr for Episodes {
    type Err = EpisodesError;

    fn from_str(text: &str) -> Result<Self, EpisodesError> {
        let number = |text: &str| text.parse().map_err(EpisodesError::Number);
        let episodes = match text.split_once("..") {
            Some((start, end)) => Self(number(start)?..number(end)?),
            None => Self::one(number(text)?),
        };
        if episodes.0.is_empty() {
            Err(EpisodesError::Empty)
        } else {
            Ok(episodes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_of_a_failure_replays_it() {
        for (text, range) in [("7", 7..8), ("16..144", 16..144)] {
            let episodes: Episodes = text.parse().unwrap();
            assert_eq!(
                (episodes.to_string(), episodes),
                (text.to_owned(), Episodes(range))
            );
        }
        for wrong in ["", "x", "7..", "7..7", "9..7"] {
            assert!(wrong.parse::<Episodes>().is_err(), "{wrong}");
        }
    }
}
