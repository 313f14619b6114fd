//! Integration tests of the judge.

mod outlook;
mod parse;
#[cfg(feature = "serde")]
mod serde;
#[cfg(feature = "serde")]
mod summarize;
mod vectors;
mod verdicts;
