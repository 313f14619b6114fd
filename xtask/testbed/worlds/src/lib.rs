//! Simulated networks whose truth is known: a host, the NATs on its ways, servers at every level, and
//! faults; and the false statements of a verdict on such a network.
//!
//! A package of its own, because two crates are tried in the same worlds: the judge of `nat-summary`,
//! and the gatherer's plan of `ice-gather` in simulated time. No socket, no clock, and no chance but
//! that of a seed.
#![forbid(unsafe_code)]

pub mod build;
pub mod describe;
pub mod door;
pub mod gather;
pub mod nat;
pub mod network;
pub mod plain;
pub mod random;
pub mod table;
pub mod truth;
