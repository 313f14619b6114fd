//! Integration tests of the judge.

mod cases;
mod doubt;
mod facts;
mod failure;
mod observer;
mod outlook;
mod outstanding;
mod parse;
mod peer;
mod properties;
mod reference;
#[cfg(feature = "serde")]
mod serde;
mod sides;
mod stories;
#[cfg(feature = "serde")]
mod summarize;
mod vectors;
mod verdicts;
mod worlds;
