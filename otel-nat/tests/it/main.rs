//! Integration tests: what really goes out, as an exporter sees it.
#![cfg(not(target_arch = "wasm32"))]

mod contract;
mod drops;
mod evidence;
mod global;
mod host;
#[cfg(feature = "metrics")]
mod metrics;
mod privacy;
mod roots;
mod table;
mod tally;
mod times;
