//! Integration tests: what really goes out, as an exporter sees it.
#![cfg(not(target_arch = "wasm32"))]

mod contract;
mod drops;
mod evidence;
mod global;
mod host;
mod privacy;
mod roots;
mod table;
mod times;
