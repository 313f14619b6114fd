//! Integration tests of the judge.

mod facts;
mod failure;
mod model;
mod outlook;
mod parse;
mod peer;
mod properties;
#[cfg(feature = "serde")]
mod serde;
mod settled;
#[cfg(feature = "serde")]
mod summarize;
mod vectors;
mod verdicts;
