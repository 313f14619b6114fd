//! Every path that is walked: one file per crate, and one for each to be compared with.

pub(super) mod consumer_fsm;
#[cfg(feature = "channel")]
mod data_channel;
mod ice_gather;
mod nat_summary;
mod otel_nat;
mod planted;
mod pool;
mod relay;
mod stock;

use std::pin::Pin;

use crate::Failure;
use crate::meter::{Measured, Meter};
use common::needs::has_coturn;

type Walking = Pin<Box<dyn Future<Output = Result<Measured, Failure>>>>;

/// A way that something can go, from its start to its end.
pub(crate) struct Path {
    /// The crate, and the path.
    pub(crate) name: &'static str,
    pub(crate) walk: fn(Meter) -> Walking,
    /// Cycles at most, because some paths leak by design or wait for long.
    pub(crate) most: u32,
    /// The same with stock webrtc-ice.
    pub(crate) beside: Option<&'static str>,
}

const fn path(name: &'static str, walk: fn(Meter) -> Walking) -> Path {
    Path {
        name,
        walk,
        most: u32::MAX,
        beside: None,
    }
}

impl Path {
    const fn most(self, most: u32) -> Self {
        Self { most, ..self }
    }

    const fn beside(self, name: &'static str) -> Self {
        Self {
            beside: Some(name),
            ..self
        }
    }
}

/// Ours: each has to leave nothing.
pub(crate) fn ours() -> impl Iterator<Item = &'static Path> {
    let through_coturn = if has_coturn() {
        relay::PATHS_WITH_COTURN
    } else {
        &[]
    };
    let crates = [
        nat_summary::PATHS,
        ice_gather::PATHS,
        relay::PATHS,
        through_coturn,
        otel_nat::PATHS,
    ];
    crates
        .into_iter()
        .chain([consumer_fsm::PATHS, pool::PATHS, DATA_CHANNEL])
        .flatten()
}

/// Stock webrtc-ice, and webrtc where it is built: for comparison.
pub(crate) fn stock() -> impl Iterator<Item = &'static Path> {
    stock::PATHS.iter().chain(STOCK_DATA_CHANNEL)
}

#[cfg(feature = "channel")]
use data_channel::{PATHS as DATA_CHANNEL, STOCK as STOCK_DATA_CHANNEL};
#[cfg(not(feature = "channel"))]
const DATA_CHANNEL: &[Path] = &[];
#[cfg(not(feature = "channel"))]
const STOCK_DATA_CHANNEL: &[Path] = &[];

/// Leaks on purpose: each has to be seen.
pub(crate) fn planted() -> impl Iterator<Item = &'static Path> {
    planted::PATHS.iter()
}

/// Nothing has to be there besides.
async fn standalone() -> Result<(), Failure> {
    Ok(())
}
