//! The counts of a run: for its status line, its closing table, and the metrics endpoint. Their size
//! does not grow with the number of attempts.

use core::fmt::Write;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use consumer_fsm::NoticeKind;
use serde_json::{Value, json};

/// The width of a bucket, as a factor: a time is known to within 5 %.
const WIDTH: f64 = 1.05;
/// Buckets, from 1 ms on; the last one holds everything from 4 minutes on.
const BUCKETS: usize = 256;

/// Times, counted in buckets of equal ratio.
#[derive(Debug)]
struct Times([u64; BUCKETS]);

impl Times {
    fn add(&mut self, time: Duration) {
        let millis = (time.as_secs_f64() * 1_000.0).max(1.0);
        let bucket = (millis.ln() / WIDTH.ln()) as usize;
        self.0[bucket.min(BUCKETS - 1)] += 1;
    }

    /// The time in milliseconds below which this share of all times lies; `None` without a time.
    fn quantile(&self, share: f64) -> Option<u64> {
        let total: u64 = self.0.iter().sum();
        let rank = (share * total as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let bucket = self.0.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(WIDTH.powf(bucket as f64 + 0.5).round() as u64)
    }
}

/// The counts of a run, which the role writes and the metrics endpoint reads. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Counts(Arc<Mutex<Tally>>);

impl Counts {
    pub(crate) fn new(slots: usize) -> Self {
        Self(Arc::new(Mutex::new(Tally::new(slots))))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counts themselves.
#[derive(Debug)]
pub(crate) struct Tally {
    slots: usize,
    up: usize,
    attempts: u64,
    connected: u64,
    times: Times,
    /// Attempts without a path, by reason.
    failed: BTreeMap<&'static str, u64>,
    /// Paths that were stopped, by the verdict on the stage.
    stopped: BTreeMap<&'static str, u64>,
    /// Verdicts on the NAT, by type.
    nats: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn new(slots: usize) -> Self {
        Self {
            slots,
            up: 0,
            attempts: 0,
            connected: 0,
            times: Times([0; BUCKETS]),
            failed: BTreeMap::new(),
            stopped: BTreeMap::new(),
            nats: BTreeMap::new(),
        }
    }

    pub(crate) fn take(&mut self, kind: &NoticeKind) {
        match kind {
            NoticeKind::AttemptStarted => self.attempts += 1,
            NoticeKind::Connected(after) => {
                self.connected += 1;
                self.times.add(*after);
            }
            NoticeKind::PathUp => self.up += 1,
            NoticeKind::PathDown => self.up = self.up.saturating_sub(1),
            NoticeKind::Failed(reason) => *self.failed.entry(reason.as_str()).or_default() += 1,
            NoticeKind::Stopping(report) => {
                *self.stopped.entry(report.verdict.as_str()).or_default() += 1;
            }
            NoticeKind::Gathered(summary) | NoticeKind::Roamed(summary) => {
                *self.nats.entry(summary.nat_type().as_str()).or_default() += 1;
            }
            _ => {}
        }
    }

    /// The most important counts in one line.
    pub(crate) fn status(&self) -> String {
        let mut line = format!(
            "{} of {} paths up, {} attempts, {} connected",
            self.up, self.slots, self.attempts, self.connected
        );
        if let Some(median) = self.times.quantile(0.5) {
            let _ = write!(line, " (median {median} ms)");
        }
        for (name, counts) in [("failed", &self.failed), ("stopped", &self.stopped)] {
            if !counts.is_empty() {
                let _ = write!(line, ", {name}: {}", list(counts));
            }
        }
        if !self.nats.is_empty() {
            let _ = write!(line, "; NAT: {}", list(&self.nats));
        }
        line
    }

    /// The table at the end of a run.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![
            ("attempts".to_owned(), self.attempts.to_string()),
            ("connected".to_owned(), self.connected.to_string()),
        ];
        for (name, share) in [("  median", 0.5), ("  95th percentile", 0.95)] {
            let time = self.times.quantile(share);
            rows.extend(time.map(|time| (name.to_owned(), format!("{time} ms"))));
        }
        for (name, counts) in [
            ("failed", &self.failed),
            ("stopped", &self.stopped),
            ("NAT", &self.nats),
        ] {
            rows.extend(
                counts
                    .iter()
                    .map(|(word, count)| (format!("{name}: {word}"), count.to_string())),
            );
        }
        let width = rows
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or_default();
        rows.iter()
            .map(|(name, value)| format!("{name:<width$}  {value}\n"))
            .collect()
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "slots": self.slots,
            "paths_up": self.up,
            "attempts": self.attempts,
            "connected": self.connected,
            "connected_ms": { "median": self.times.quantile(0.5), "p95": self.times.quantile(0.95) },
            "failed": self.failed,
            "stopped": self.stopped,
            "nat": self.nats,
        })
    }

    /// The text format of Prometheus, version 0.0.4. The names are of the program, because the
    /// telemetry contract is the collector's.
    pub(crate) fn prometheus(&self) -> String {
        let mut text = String::new();
        for (name, kind, help, value) in [
            (
                "consumer_slots",
                "gauge",
                "Paths that the program keeps at once",
                self.slots as u64,
            ),
            (
                "consumer_paths_up",
                "gauge",
                "Paths that are up",
                self.up as u64,
            ),
            (
                "consumer_attempts_total",
                "counter",
                "Attempts that began",
                self.attempts,
            ),
            (
                "consumer_connected_total",
                "counter",
                "Attempts that had a path",
                self.connected,
            ),
        ] {
            let _ = write!(
                text,
                "# HELP {name} {help}.\n# TYPE {name} {kind}\n{name} {value}\n"
            );
        }
        for (name, label, help, counts) in [
            (
                "consumer_failed_total",
                "reason",
                "Attempts without a path",
                &self.failed,
            ),
            (
                "consumer_stopped_total",
                "verdict",
                "Open paths that were stopped",
                &self.stopped,
            ),
            (
                "consumer_nat_total",
                "type",
                "Verdicts on the NAT",
                &self.nats,
            ),
        ] {
            let _ = write!(text, "# HELP {name} {help}.\n# TYPE {name} counter\n");
            for (word, count) in counts {
                let _ = writeln!(text, "{name}{{{label}=\"{word}\"}} {count}");
            }
        }
        text
    }
}

fn list(counts: &BTreeMap<&str, u64>) -> String {
    let words: Vec<String> = counts
        .iter()
        .map(|(word, count)| format!("{word} {count}"))
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_within_five_percent() {
        let mut times = Times([0; BUCKETS]);
        assert_eq!(times.quantile(0.5), None);
        for millis in 1..=1_000 {
            times.add(Duration::from_millis(millis));
        }
        for (share, exact) in [(0.5, 500.0), (0.95, 950.0), (1.0, 1_000.0)] {
            let found = times.quantile(share).unwrap() as f64;
            assert!((found / exact - 1.0).abs() < 0.05, "{share}: {found}");
        }
        times.add(Duration::MAX);
        times.add(Duration::ZERO);
    }

    #[test]
    fn each_form_has_the_same_counts() {
        let mut tally = Tally::new(3);
        for kind in [
            NoticeKind::AttemptStarted,
            NoticeKind::Connected(Duration::from_millis(100)),
            NoticeKind::PathUp,
            NoticeKind::AttemptStarted,
            NoticeKind::Failed(otel_nat::FailureReason::Timeout),
        ] {
            tally.take(&kind);
        }
        assert!(
            tally
                .status()
                .starts_with("1 of 3 paths up, 2 attempts, 1 connected (median ")
        );
        assert!(
            tally.status().ends_with("failed: timeout 1"),
            "{}",
            tally.status()
        );
        assert!(
            tally.table().contains("failed: timeout    1"),
            "{}",
            tally.table()
        );
        assert_eq!(tally.json()["failed"]["timeout"], 1);
        assert!(
            tally
                .prometheus()
                .contains("consumer_failed_total{reason=\"timeout\"} 1\n")
        );
        assert!(tally.prometheus().contains("\nconsumer_attempts_total 2\n"));
    }
}
