//! Integration tests of the emitted spans, as an exporter sees them.
#![cfg(not(target_arch = "wasm32"))]

#[cfg(all(feature = "metrics", feature = "otlp-http", feature = "otlp-grpc"))]
mod canary;
#[cfg(all(feature = "otlp-http", feature = "otlp-grpc"))]
mod collector;
mod contract;
mod dependencies;
mod drops;
mod evidence;
mod global;
mod host;
#[cfg(feature = "pipelines")]
mod json_lines;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "otlp-http")]
mod otlp;
#[cfg(feature = "pipelines")]
mod pipelines;
mod privacy;
#[cfg(all(feature = "otlp-http", feature = "otlp-grpc"))]
mod redaction;
mod registry;
mod roots;
#[cfg(feature = "pipelines")]
mod size;
mod table;
mod tally;
mod times;

use emitted::addresses;
#[cfg(all(feature = "otlp-http", feature = "otlp-grpc"))]
use emitted::rotel;
