//! The count of the spans that were emitted, on every target.

/// The spans of a [`Telemetry`](crate::Telemetry) and its clones, counted by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Recorded by a provider. Spans that a processor drops later count here too, because only that
    /// processor knows of the drop.
    pub recorded: u64,
    /// Recorded nowhere: no provider is set, it was shut down, or its sampler refused the span.
    pub unrecorded: u64,
    /// Lost to a panic inside the provider of spans or of metrics. The panic is caught.
    pub panicked: u64,
}
