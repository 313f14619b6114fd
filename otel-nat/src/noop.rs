//! The same names on wasm32, where nothing is emitted.

use std::borrow::Cow;

use nat_summary::NatSummary;

use crate::reason::{ExternalIp, Reason};

/// Goes nowhere.
#[derive(Debug, Clone)]
pub struct Telemetry;

impl Telemetry {
    /// Goes nowhere.
    #[must_use]
    pub const fn global() -> Self {
        Self
    }

    /// Changes nothing.
    #[must_use]
    pub fn with_scope(self, _name: impl Into<Cow<'static, str>>) -> Self {
        self
    }

    /// Changes nothing.
    #[must_use]
    pub const fn with_external_ip(self, _policy: ExternalIp) -> Self {
        self
    }

    /// An attempt that will say nothing.
    #[must_use]
    pub const fn attempt(&self) -> Attempt {
        Attempt
    }
}

/// Says nothing.
#[derive(Debug)]
pub struct Attempt;

impl Attempt {
    /// Does nothing.
    pub const fn asked(&mut self) {}

    /// Does nothing.
    pub const fn gathered(&mut self, _summary: &NatSummary) {}

    /// Does nothing.
    pub const fn succeeded(self, _summary: &NatSummary) {}

    /// Does nothing.
    pub const fn failed(self, _summary: &NatSummary, _reason: Reason) {}
}
