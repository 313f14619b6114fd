//! Metrics of how long attempts last and how mappings hold, through the global meter provider or one
//! handed in.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::metrics::{Counter, Histogram, MeterProvider};
use opentelemetry::{InstrumentationScope, KeyValue, global};

use crate::keys;
use crate::mapping_lifetime::MappingLifetime;

type Provider = Arc<dyn MeterProvider + Send + Sync>;
/// Instruments, and the provider that made them.
type Made = (Provider, Instruments);

/// Attempts are bounded by time-outs of a few seconds; most that connect do within one.
const ATTEMPTS: [f64; 12] = [
    0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0,
];
/// A mapping has to live for two minutes and may live longer (RFC 4787 section 4.3); many end after
/// half a minute.
const GAPS: [f64; 12] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 90.0, 120.0, 180.0, 300.0,
];

#[derive(Clone)]
pub(crate) struct Instruments {
    attempts: Histogram<f64>,
    survived: Histogram<f64>,
    rebindings: Counter<u64>,
    stages: Counter<u64>,
}

/// The way out for measurements.
#[derive(Clone, Default)]
pub(crate) enum Metrics {
    #[default]
    Nowhere,
    /// The instruments of the global provider that was set last: an instrument made before the
    /// provider is set does nothing for ever.
    Global(Arc<Mutex<Option<Made>>>),
    Own {
        provider: Provider,
        instruments: Instruments,
    },
}

impl Metrics {
    pub(crate) fn global() -> Self {
        Self::Global(Arc::default())
    }

    pub(crate) fn own(provider: Provider, scope: InstrumentationScope) -> Self {
        let instruments = Instruments::of(&provider, scope);
        Self::Own {
            provider,
            instruments,
        }
    }

    pub(crate) fn set_scope(&mut self, scope: InstrumentationScope) {
        match self {
            Self::Nowhere => {}
            Self::Global(_) => *self = Self::global(),
            Self::Own {
                provider,
                instruments,
            } => *instruments = Instruments::of(provider, scope),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        !matches!(self, Self::Nowhere)
    }

    /// An attempt has ended.
    pub(crate) fn record_attempt(
        &self,
        scope: impl FnOnce() -> InstrumentationScope,
        time: Duration,
        labels: &[KeyValue],
    ) {
        if let Some(Instruments { attempts, .. }) = self.instruments(scope) {
            attempts.record(time.as_secs_f64(), labels);
        }
    }

    /// A path has ended.
    pub(crate) fn record_path(
        &self,
        scope: impl FnOnce() -> InstrumentationScope,
        MappingLifetime {
            rebindings,
            survived,
        }: MappingLifetime,
        labels: &[KeyValue],
    ) {
        if let Some(instruments) = self.instruments(scope) {
            // zero is recorded as well, because a rate needs the number of all paths
            instruments.rebindings.add(rebindings.into(), labels);
            if let Some(gap) = survived {
                instruments.survived.record(gap.as_secs_f64(), labels);
            }
        }
    }

    /// An attempt that failed, or a path, reached a stage and was stopped.
    pub(crate) fn record_stage(
        &self,
        scope: impl FnOnce() -> InstrumentationScope,
        labels: &[KeyValue],
    ) {
        if let Some(Instruments { stages, .. }) = self.instruments(scope) {
            stages.add(1, labels);
        }
    }

    fn instruments(&self, scope: impl FnOnce() -> InstrumentationScope) -> Option<Instruments> {
        match self {
            Self::Nowhere => None,
            Self::Own { instruments, .. } => Some(instruments.clone()),
            Self::Global(latest) => {
                let current = global::meter_provider();
                let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
                match &*latest {
                    Some((provider, made)) if Arc::ptr_eq(provider, &current) => Some(made.clone()),
                    _ => {
                        let made = Instruments::of(&current, scope());
                        *latest = Some((current, made.clone()));
                        Some(made)
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nowhere => "Nowhere",
            Self::Global(_) => "Global",
            Self::Own { .. } => "Own",
        })
    }
}

impl Instruments {
    fn of(provider: &Provider, scope: InstrumentationScope) -> Self {
        let meter = provider.meter_with_scope(scope);
        let seconds = |name, boundaries: &[f64], description| {
            let histogram = meter
                .f64_histogram(name)
                .with_description(description)
                .with_unit("s");
            histogram.with_boundaries(boundaries.to_vec()).build()
        };
        Self {
            attempts: seconds(
                keys::ATTEMPT_DURATION,
                &ATTEMPTS,
                "How long connection attempts last, by what the NAT does and how they end.",
            ),
            survived: seconds(
                keys::PATH_SURVIVED,
                &GAPS,
                "The longest quiet gap that the mapping of a path outlived.",
            ),
            rebindings: meter
                .u64_counter(keys::PATH_REBINDINGS)
                .with_description("How often the mapping of a path changed under it.")
                .with_unit("{rebinding}")
                .build(),
            stages: meter
                .u64_counter(keys::STAGES)
                .with_description("Attempts and paths that were stopped, by the stage they reached and by what stopped them.")
                .with_unit("{attempt}")
                .build(),
        }
    }
}
