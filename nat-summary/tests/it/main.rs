//! Integration tests of the judge.

mod parse;
mod vectors;
mod verdicts;
