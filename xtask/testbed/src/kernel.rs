//! The NATs of the Linux kernel, in network namespaces, with servers behind them.

pub mod forger;
mod late;
pub mod namespace;
pub mod recorder;
pub mod router;
pub mod servers;
pub mod world;
