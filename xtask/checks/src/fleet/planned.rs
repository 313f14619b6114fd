//! An exporter that puts each simulated attempt on its day of the past, and adds the facts that no simulation of
//! packets has: how long gathering took, how far the path came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use otel_nat::keys;

const DAY: u64 = 24 * 60 * 60;

/// Of one attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Since 1970.
    pub(crate) day: u32,
    /// Of gathering, in seconds.
    pub(crate) gather: f64,
    /// The word of `nat_telemetry.stage`.
    pub(crate) stage: &'static str,
    /// The word of `nat_telemetry.stage.verdict`.
    pub(crate) verdict: Option<&'static str>,
}

/// The plans of attempts that are not exported yet, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plans(Arc<Mutex<VecDeque<Plan>>>);

impl Plans {
    pub(crate) fn add(&self, plan: Plan) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(plan);
    }
}

/// Exports by `inner`, as planned.
#[derive(Debug)]
pub(crate) struct Planned<E> {
    pub(crate) inner: E,
    pub(crate) plans: Plans,
}

impl<E: SpanExporter> SpanExporter for Planned<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        {
            let mut plans = self.plans.0.lock().unwrap_or_else(PoisonError::into_inner);
            for span in &mut batch {
                if let Some(plan) = plans.pop_front() {
                    apply(plan, span);
                }
            }
        }
        self.inner.export(batch).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

fn apply(plan: Plan, span: &mut SpanData) {
    let lasted = span
        .end_time
        .duration_since(span.start_time)
        .unwrap_or_default();
    let since = span
        .start_time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let of_day = Duration::new(since.as_secs() % DAY, since.subsec_nanos());
    span.start_time = UNIX_EPOCH + Duration::from_secs(DAY * u64::from(plan.day)) + of_day;
    span.end_time = span.start_time + lasted + Duration::from_secs_f64(plan.gather);
    for pair in &mut span.attributes {
        if pair.key.as_str() == keys::GATHER_DURATION {
            pair.value = plan.gather.into();
        }
    }
    span.attributes
        .push(KeyValue::new("nat_telemetry.stage", plan.stage));
    span.attributes.extend(
        plan.verdict
            .map(|verdict| KeyValue::new("nat_telemetry.stage.verdict", verdict)),
    );
}

/// Days since 1970.
pub(crate) fn today() -> u32 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u32::try_from(since.as_secs() / DAY).unwrap_or_default()
}

/// A day since 1970 as a date of the Gregorian calendar.
pub(crate) fn date(day: u32) -> String {
    let (mut year, mut rest) = (1970, day);
    let is_leap = |year: u32| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while rest >= 365 + u32::from(is_leap(year)) {
        rest -= 365 + u32::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u32::from(is_leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if rest < days {
            break;
        }
        rest -= days;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", rest + 1)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (day, expected) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (19_782, "2024-02-29"),
            (20_453, "2025-12-31"),
            (20_786, "2026-11-29"),
        ] {
            assert_eq!(date(day), expected);
        }
    }
}
