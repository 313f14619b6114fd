//! Integration tests of the judge.

mod model;
mod outlook;
mod parse;
mod properties;
#[cfg(feature = "serde")]
mod serde;
#[cfg(feature = "serde")]
mod summarize;
mod vectors;
mod verdicts;
