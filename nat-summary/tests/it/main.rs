//! Integration tests of the judge.

mod outlook;
mod parse;
mod vectors;
mod verdicts;
