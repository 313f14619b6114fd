//! The telemetry: one span per attempt, with a provider, without, and with one that is gone.

use std::cell::Cell;

use nat_summary::{Evidence, NatSummary};
use opentelemetry_sdk::trace::SdkTracerProvider;
use otel_nat::{FailureReason, Telemetry};

use super::{Measured, Meter, Path, path, standalone};
use crate::spans::Spans;
use crate::{Failure, bounds};

pub(super) const PATHS: &[Path] = &[
    path("otel-nat: emitted", |meter| Box::pin(emitted(meter))),
    path("otel-nat: dropped after asking", |meter| {
        Box::pin(dropped(meter))
    }),
    path("otel-nat: dropped before asking", |meter| {
        Box::pin(not_asked(meter))
    }),
    path("otel-nat: no provider", |meter| Box::pin(to_nobody(meter))),
    path("otel-nat: provider shut down", |meter| {
        Box::pin(shut_down(meter))
    }),
    path("otel-nat: a provider per attempt", |meter| {
        Box::pin(own_provider(meter))
    }),
    #[cfg(feature = "collector")]
    path("otel-nat: a pipeline per attempt", |meter| {
        Box::pin(own_pipeline(meter))
    }),
];

fn summary() -> NatSummary {
    Evidence::new().summary()
}

/// Succeeds or fails, in turns.
fn end(telemetry: &Telemetry, number: u32) {
    let mut attempt = telemetry.attempt();
    attempt.begin_gathering();
    attempt.end_gathering(&summary());
    if number.is_multiple_of(2) {
        attempt.succeed(&summary());
    } else {
        attempt.fail(&summary(), FailureReason::Timeout);
    }
}

async fn emitted(meter: Meter) -> Result<Measured, Failure> {
    let (spans, out) = (Spans::default(), Cell::new(0));
    let telemetry = spans.telemetry();
    let measured = meter.measure(1, standalone, async |_, number| {
        end(&telemetry, number);
        let caught = spans.take().len();
        out.set(out.get() + caught as u64);
        Ok(caught == 1)
    });
    let measured = measured.await?.intended(bounds::INTENDED);
    let wanted = u64::from(measured.walked);
    Ok(measured.spans(out.get(), wanted))
}

async fn dropped(meter: Meter) -> Result<Measured, Failure> {
    let (spans, out) = (Spans::default(), Cell::new(0));
    let telemetry = spans.telemetry();
    let measured = meter.measure(1, standalone, async |_, _| {
        let mut attempt = telemetry.attempt();
        attempt.begin_gathering();
        drop(attempt);
        out.set(out.get() + spans.take().len() as u64);
        Ok(true)
    });
    let measured = measured.await?;
    let wanted = u64::from(measured.walked);
    Ok(measured.spans(out.get(), wanted))
}

async fn not_asked(meter: Meter) -> Result<Measured, Failure> {
    let (spans, out) = (Spans::default(), Cell::new(0));
    let telemetry = spans.telemetry();
    let measured = meter.measure(1, standalone, async |_, _| {
        drop(telemetry.attempt());
        out.set(out.get() + spans.take().len() as u64);
        Ok(true)
    });
    Ok(measured.await?.spans(out.get(), 0))
}

async fn to_nobody(meter: Meter) -> Result<Measured, Failure> {
    let telemetry = Telemetry::global();
    let measured = meter.measure(1, standalone, async |_, number| {
        end(&telemetry, number);
        Ok(true)
    });
    let measured = measured.await?;
    let wanted = u64::from(measured.walked);
    let unrecorded = telemetry.tally().unrecorded;
    if unrecorded == wanted {
        Ok(measured)
    } else {
        Err(format!("{unrecorded} of {wanted} spans are counted as unrecorded").into())
    }
}

async fn shut_down(meter: Meter) -> Result<Measured, Failure> {
    let (spans, out) = (Spans::default(), Cell::new(0));
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(spans.clone())
        .build();
    let telemetry = Telemetry::new(provider.clone());
    provider.shutdown()?;
    let measured = meter.measure(1, standalone, async |_, number| {
        end(&telemetry, number);
        out.set(out.get() + spans.take().len() as u64);
        Ok(true)
    });
    Ok(measured.await?.spans(out.get(), 0))
}

async fn own_provider(meter: Meter) -> Result<Measured, Failure> {
    let measured = meter.measure(1, standalone, async |_, number| {
        let spans = Spans::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(spans.clone())
            .build();
        let telemetry = Telemetry::new(provider.clone());
        end(&telemetry, number);
        provider.shutdown()?;
        end(&telemetry, number);
        Ok(spans.take().len() == 1)
    });
    Ok(measured.await?.intended(bounds::INTENDED))
}

#[cfg(feature = "collector")]
async fn own_pipeline(meter: Meter) -> Result<Measured, Failure> {
    let measured = meter.measure(2, standalone, async |_, number| {
        // it waits for its thread, and so not here
        let delivered = tokio::task::spawn_blocking(move || {
            let pipeline = otel_nat::pipeline::Pipeline::builder().json_lines(std::io::sink());
            end(&pipeline.telemetry(), number);
            pipeline.shutdown(bounds::PIPELINE_SHUTDOWN).is_ok()
        });
        Ok(delivered.await?)
    });
    Ok(measured.await?.intended(bounds::INTENDED))
}
