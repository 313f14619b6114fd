//! Integration tests of the judge.

mod facts;
mod failure;
mod model;
mod outlook;
mod outstanding;
mod parse;
mod peer;
mod properties;
#[cfg(feature = "serde")]
mod serde;
mod sides;
#[cfg(feature = "serde")]
mod summarize;
mod vectors;
mod verdicts;
