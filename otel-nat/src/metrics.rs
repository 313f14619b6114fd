//! The histogram of attempt durations, through the global meter provider or one handed in.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::metrics::{Histogram, MeterProvider};
use opentelemetry::{InstrumentationScope, KeyValue, global};

use crate::keys;

type Provider = Arc<dyn MeterProvider + Send + Sync>;
/// An instrument, and the provider that made it.
type Made = (Provider, Histogram<f64>);

/// Attempts are bounded by time-outs of a few seconds; most that connect do within one.
const BOUNDARIES: [f64; 12] = [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0];

/// Where durations go.
#[derive(Clone, Default)]
pub(crate) enum Metrics {
    #[default]
    Nowhere,
    /// The instrument of the global provider that was set last: one made before it is set stays a no-op for ever.
    Global(Arc<Mutex<Option<Made>>>),
    Own {
        provider: Provider,
        histogram: Histogram<f64>,
    },
}

impl Metrics {
    pub(crate) fn global() -> Self {
        Self::Global(Arc::default())
    }

    pub(crate) fn own(provider: Provider, scope: InstrumentationScope) -> Self {
        let histogram = histogram(&provider, scope);
        Self::Own { provider, histogram }
    }

    pub(crate) fn rescope(&mut self, scope: InstrumentationScope) {
        match self {
            Self::Nowhere => {}
            Self::Global(_) => *self = Self::global(),
            Self::Own { provider, histogram: old } => *old = histogram(provider, scope),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        !matches!(self, Self::Nowhere)
    }

    pub(crate) fn record(&self, scope: impl FnOnce() -> InstrumentationScope, lasted: Duration, labels: &[KeyValue]) {
        match self {
            Self::Nowhere => {}
            Self::Own { histogram, .. } => histogram.record(lasted.as_secs_f64(), labels),
            Self::Global(latest) => {
                let current = global::meter_provider();
                let instrument = {
                    let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
                    match &*latest {
                        Some((provider, instrument)) if Arc::ptr_eq(provider, &current) => instrument.clone(),
                        _ => {
                            let instrument = histogram(&current, scope());
                            *latest = Some((current, instrument.clone()));
                            instrument
                        }
                    }
                };
                instrument.record(lasted.as_secs_f64(), labels);
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

fn histogram(provider: &Provider, scope: InstrumentationScope) -> Histogram<f64> {
    provider
        .meter_with_scope(scope)
        .f64_histogram(keys::ATTEMPT_DURATION)
        .with_description("How long connection attempts last, by what the NAT does and how they end.")
        .with_unit("s")
        .with_boundaries(BOUNDARIES.to_vec())
        .build()
}
