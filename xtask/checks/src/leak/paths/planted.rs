//! Leaks on purpose: a check that does not see them proves nothing.

use std::cell::RefCell;

use super::{Measured, Meter, Path, path, standalone};
use crate::Failure;

pub(super) const PATHS: &[Path] = &[
    path("planted: a byte", |meter| {
        Box::pin(keep(meter, || Ok(Box::new(1_u8))))
    }),
    path("planted: a task", |meter| {
        Box::pin(keep(meter, || {
            Ok(tokio::spawn(std::future::pending::<()>()))
        }))
    }),
    path("planted: a descriptor", |meter| {
        Box::pin(keep(meter, || {
            std::fs::File::open("/proc/self/stat").map_err(Into::into)
        }))
    }),
    path("planted: a panic", |meter| Box::pin(panics(meter))),
];

/// Keeps one more of them each cycle.
async fn keep<T>(meter: Meter, plant: fn() -> Result<T, Failure>) -> Result<Measured, Failure> {
    // grows only before the first look
    let kept = RefCell::new(Vec::with_capacity(100_000));
    meter
        .measure(1, standalone, async |_, _| {
            kept.borrow_mut().push(plant()?);
            Ok(true)
        })
        .await
}

/// A panic in a detached task, once.
async fn panics(meter: Meter) -> Result<Measured, Failure> {
    meter
        .measure(1, standalone, async |_, number| {
            if number == 0 {
                tokio::spawn(async { panic!("planted") });
            }
            Ok(true)
        })
        .await
}
