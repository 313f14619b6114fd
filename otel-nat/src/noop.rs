//! wasm32: the same API, and nothing behind it.

use std::borrow::Cow;

use nat_summary::{CandidateKind, Mapping, NatSummary, Outlook};

use crate::{
    Checks, Endurance, ExternalIp, FailureCause, FilteringSeen, Reason, Tally, TowardPeer,
};

/// Where spans would go out. On wasm32 none does.
#[derive(Debug, Clone, Default)]
pub struct Telemetry {}

impl Telemetry {
    /// Does nothing on wasm32.
    #[must_use]
    pub fn global() -> Self {
        Self {}
    }

    /// Does nothing on wasm32.
    #[must_use]
    pub fn with_scope(self, _: impl Into<Cow<'static, str>>) -> Self {
        self
    }

    /// Does nothing on wasm32.
    #[must_use]
    pub fn with_external_ip(self, _: ExternalIp) -> Self {
        self
    }

    /// Does nothing on wasm32.
    pub fn endured(&self, _: &NatSummary, _: Endurance) {}

    /// On wasm32 there is nothing to count.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally::default()
    }

    /// An attempt begins. On wasm32 nothing is told of it.
    #[must_use = "dropping the handle ends the attempt"]
    pub fn attempt(&self) -> Attempt {
        Attempt {}
    }
}

/// One connection attempt. On wasm32 nothing is told of it.
#[derive(Debug)]
pub struct Attempt {}

impl Attempt {
    /// Does nothing on wasm32.
    pub fn asked(&mut self) {}

    /// Does nothing on wasm32.
    pub fn gathered(&mut self, _: &NatSummary) {}

    /// Does nothing on wasm32.
    pub fn connecting(&mut self) {}

    /// Does nothing on wasm32.
    pub fn selected(&mut self, _local: CandidateKind, _remote: CandidateKind) {}

    /// Does nothing on wasm32.
    pub fn toward_peer(&mut self, _: TowardPeer) {}

    /// Does nothing on wasm32.
    pub fn mapping_with_peer(&mut self, _: Mapping) {}

    /// Does nothing on wasm32.
    pub fn filtering(&mut self, _: FilteringSeen) {}

    /// Does nothing on wasm32.
    pub fn checks(&mut self, _: Checks) {}

    /// Does nothing on wasm32.
    pub fn peer(&mut self, _: &NatSummary) {}

    /// Does nothing on wasm32.
    pub fn outlook(&mut self, _: Outlook) {}

    /// Does nothing on wasm32.
    pub fn explained(&mut self, _: FailureCause) {}

    /// Does nothing on wasm32.
    pub fn endured(&mut self, _: Endurance) {}

    /// Does nothing on wasm32.
    pub fn succeeded(self, _: &NatSummary) {}

    /// Does nothing on wasm32.
    pub fn failed(self, _: &NatSummary, _: Reason) {}
}
