//! The API on wasm32, where it does nothing.

use std::borrow::Cow;

use nat_summary::stage::StageReport;
use nat_summary::{
    AttemptEvidence, AttemptVerdict, CandidateKind, Checks, FailureCause, FilteringSeen, Mapping,
    NatSummary, Outlook, TowardPeer,
};

use crate::external_ip::ExternalIp;
use crate::failure_reason::FailureReason;
use crate::mapping_lifetime::MappingLifetime;
use crate::tally::Tally;

/// The way out for spans. On wasm32 no span goes out.
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
    #[must_use]
    pub fn with_hello_shape(self, _: bool) -> Self {
        self
    }

    /// Does nothing on wasm32.
    pub fn record_stage(&self, _: &StageReport) {}

    /// Does nothing on wasm32.
    pub fn record_mapping_lifetime(&self, _: &NatSummary, _: MappingLifetime) {}

    /// All zero on wasm32.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally::default()
    }

    /// An attempt begins. On wasm32 it emits nothing.
    #[must_use = "dropping the handle ends the attempt"]
    pub fn attempt(&self) -> Attempt {
        Attempt {}
    }
}

/// One connection attempt. On wasm32 it emits nothing.
#[derive(Debug)]
pub struct Attempt {}

impl Attempt {
    /// Does nothing on wasm32.
    pub fn begin_gathering(&mut self) {}

    /// Does nothing on wasm32.
    pub fn end_gathering(&mut self, _: &NatSummary) {}

    /// Does nothing on wasm32.
    pub const fn begin_wait(&mut self) {}

    /// Does nothing on wasm32.
    pub fn end_wait(&mut self) {}

    /// Does nothing on wasm32.
    pub fn begin_checks(&mut self) {}

    /// Does nothing on wasm32.
    pub fn set_selected_pair(&mut self, _local: CandidateKind, _remote: CandidateKind) {}

    /// Does nothing on wasm32.
    pub fn set_mapping_toward_peer(&mut self, _: TowardPeer) {}

    /// Does nothing on wasm32.
    pub fn set_mapping_with_peer(&mut self, _: Mapping) {}

    /// Does nothing on wasm32.
    pub fn set_filtering_seen(&mut self, _: FilteringSeen) {}

    /// Does nothing on wasm32.
    pub fn set_checks(&mut self, _: Checks) {}

    /// Does nothing on wasm32.
    pub fn set_peer_summary(&mut self, _: &NatSummary) {}

    /// Does nothing on wasm32.
    pub fn set_outlook(&mut self, _: Outlook) {}

    /// Does nothing on wasm32.
    pub fn set_failure_cause(&mut self, _: FailureCause) {}

    /// Does nothing on wasm32.
    pub fn set_stage(&mut self, _: StageReport) {}

    /// Does nothing on wasm32.
    pub fn set_mapping_lifetime(&mut self, _: MappingLifetime) {}

    /// Does nothing on wasm32.
    pub fn set_verdict(&mut self, _: &AttemptVerdict) {}

    /// Returns the verdicts on the evidence, and emits nothing on wasm32.
    pub fn end(self, evidence: &AttemptEvidence<'_>, _: Option<FailureReason>) -> AttemptVerdict {
        evidence.verdict()
    }

    /// Does nothing on wasm32.
    pub fn succeed(self, _: &NatSummary) {}

    /// Does nothing on wasm32.
    pub fn fail(self, _: &NatSummary, _: FailureReason) {}
}
