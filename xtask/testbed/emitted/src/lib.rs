//! Readers of a process's output: the spans that a real collector received, and addresses in a text.
//!
//! A package of its own, because the tests of `otel-nat` read with it as well.
#![forbid(unsafe_code)]

pub mod addresses;
pub mod rotel;
