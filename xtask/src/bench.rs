//! `bench`: what gathering costs, side by side with stock webrtc-ice in one run, and the bounds on it.

mod counts;
mod data_path;
mod delayed;
mod gather;
mod peer;
mod report;
mod scale;

use serde::Serialize;

use crate::{Failure, Options, runtime, table};

pub(crate) fn run(options: &Options) -> Result<bool, Failure> {
    if options.part() == Some("counts") {
        return runtime()?.block_on(counts::run(options));
    }
    runtime()?.block_on(measure(options.part(), options.is("json")))
}

async fn measure(part: Option<&str>, json: bool) -> Result<bool, Failure> {
    match part {
        Some("gather") => gather::run(json).await,
        Some("path") => data_path::run(json).await,
        Some("peer") => peer::run(json).await,
        Some("scale") => scale::run(json).await,
        Some(other) => Err(format!("nothing to measure called `{other}`: counts, gather, path, peer or scale").into()),
        None => Ok(gather::run(json).await? & scale::run(json).await?),
    }
}

/// How figures of one kind lie.
#[derive(Debug, Clone, Copy, Serialize)]
struct Spread {
    p10: f64,
    median: f64,
    p90: f64,
    max: f64,
}

impl Spread {
    fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = figures.len().saturating_sub(1);
            figures.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
        };
        Self { p10: at(0.1), median: at(0.5), p90: at(0.9), max: at(1.0) }
    }
}

/// A bound beside what was measured.
#[derive(Debug, Serialize)]
struct Target {
    what: &'static str,
    target: String,
    measured: String,
    met: bool,
    /// Whether the exit status says so too. Times of a machine that others use as well do not decide alone.
    gates: bool,
}

impl Target {
    /// A count: the same on every machine.
    fn count(what: &'static str, target: impl ToString, measured: impl ToString, met: bool) -> Self {
        Self { what, target: target.to_string(), measured: measured.to_string(), met, gates: true }
    }

    /// A time: reported as met or not, and a failure only beyond `gate`.
    fn time(what: &'static str, target: String, measured: String, met: bool, is_beyond_gate: bool) -> Self {
        Self { what, target, measured, met, gates: is_beyond_gate }
    }
}

/// Whether none of them fails the command.
fn pass(targets: &[Target]) -> bool {
    targets.iter().all(|target| target.met || !target.gates)
}

fn show(targets: &[Target]) -> String {
    let row = |t: &Target| {
        let verdict = match (t.met, t.gates) {
            (true, _) => "met",
            (false, true) => "UNMET",
            (false, false) => "unmet, within the gate",
        };
        vec![t.what.to_owned(), t.target.clone(), t.measured.clone(), verdict.to_owned()]
    };
    table::render(&["bound", "target", "measured", ""], &targets.iter().map(row).collect::<Vec<_>>())
}

/// Live bytes of the heap.
fn live_bytes() -> i64 {
    let heap = crate::ALLOCATOR.stats();
    let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    signed(heap.bytes_allocated) - signed(heap.bytes_deallocated)
}

/// Allocations so far, growing ones included.
fn allocations() -> usize {
    let heap = crate::ALLOCATOR.stats();
    heap.allocations + heap.reallocations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_read_off_the_sorted_figures() {
        let spread = Spread::of((0..=100).rev().map(f64::from).collect());
        assert_eq!((spread.p10, spread.median, spread.p90, spread.max), (10.0, 50.0, 90.0, 100.0));
    }

    #[test]
    fn a_missed_count_fails_and_a_time_only_beyond_its_gate() {
        let count = |met| Target::count("packets", 5, 5, met);
        let time = |met, beyond| Target::time("ratio", "1.1".into(), "1.2".into(), met, beyond);
        assert!(pass(&[count(true), time(true, false), time(false, false)]));
        assert!(!pass(&[count(false)]));
        assert!(!pass(&[time(false, true)]));
    }
}
