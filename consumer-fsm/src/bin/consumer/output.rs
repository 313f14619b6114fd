//! The program's output: a readable line or a JSON object per notice, and the log. Without
//! `--show-addresses` no line holds an address.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::time::{Duration, Instant};

use consumer_fsm::{Notice, NoticeKind, Transition};
use nat_summary::NatSummary;
use serde_json::{Value, json};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::lines::Lines;
use crate::options::Options;
use crate::tally::Tally;

/// Prints to standard output and standard error, and never waits for a reader.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    started: Instant,
    json: bool,
    shows_addresses: bool,
    events: Lines,
    errors: Lines,
}

impl Output {
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn new(options: &Options) -> io::Result<Self> {
        let json = options.json;
        let missing = move |lines| {
            if json {
                format!("{}\n", json!({ "event": "dropped", "lines": lines }))
            } else {
                missing(lines)
            }
        };
        Ok(Self {
            started: Instant::now(),
            json,
            shows_addresses: options.shows_addresses,
            events: Lines::to(io::stdout(), missing)?,
            errors: Lines::to(io::stderr(), self::missing)?,
        })
    }

    /// Logs from now on. Our own lines only: those of other libraries show addresses.
    pub(crate) fn log(&self, level: LevelFilter) {
        let ours = Targets::new()
            .with_target("consumer_fsm", level)
            .with_target("ice_gather", level);
        let errors = self.errors.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || errors.clone())
            .with_ansi(false);
        tracing_subscriber::registry().with(layer).with(ours).init();
        let errors = self.errors.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let trace = Backtrace::capture();
            errors.line(if trace.status() == BacktraceStatus::Captured {
                format!("{panic}\n{trace}\n")
            } else {
                format!("{panic}\n")
            });
        }));
    }

    /// Prints a warning about the program itself.
    pub(crate) fn warn(&self, text: &str) {
        self.errors.line(format!("consumer: {text}\n"));
    }

    /// Waits at most `within` for the reader of each stream to take the remaining lines.
    pub(crate) fn close(&self, within: Duration) {
        let unread = self.events.close(within);
        if unread > 0 {
            self.warn(&format!("standard output was not read: {unread} lines"));
        }
        self.errors.close(within);
    }

    /// Prints a line of an event, or a JSON object of it with these further fields.
    pub(crate) fn print(&self, slot: Option<usize>, event: &str, text: &str, mut more: Value) {
        let seconds = self.started.elapsed().as_secs_f64();
        let line = if self.json {
            more["seconds"] = json!((seconds * 1_000.0).round() / 1_000.0);
            more["event"] = event.into();
            if let Some(slot) = slot {
                more["slot"] = slot.into();
            }
            format!("{more}\n")
        } else {
            let slot = slot
                .map(|slot| format!("  slot {slot}"))
                .unwrap_or_default();
            format!("{seconds:8.3} s{slot}  {text}\n")
        };
        self.events.line(line);
    }

    /// Prints the counts of the whole run.
    pub(crate) fn closing(&self, tally: &Tally) {
        if self.json {
            self.print(None, "closing", "", tally.json());
        } else {
            self.events.line(format!("\n{}", tally.table()));
        }
    }

    pub(crate) fn notice(&self, notice: &Notice) {
        let kind = &notice.kind;
        let (text, more) = match kind {
            NoticeKind::AttemptStarted => ("attempt".to_owned(), json!({})),
            NoticeKind::Transition(transition) => {
                let Transition { from, event, to } = transition;
                let [from, to] = [from.as_str(), to.as_str()];
                (
                    transition.to_string(),
                    json!({ "from": from, "because": event.as_str(), "to": to }),
                )
            }
            NoticeKind::NoVolunteer => ("no volunteer is free".to_owned(), json!({})),
            NoticeKind::Gathered(summary) => (self.verdict(summary), self.facts(summary)),
            NoticeKind::Roamed(summary) => (
                format!("new network: {}", self.verdict(summary)),
                self.facts(summary),
            ),
            NoticeKind::Connected(after) => {
                let millis = after.as_millis();
                (
                    format!("connected after {millis} ms"),
                    json!({ "after_ms": millis }),
                )
            }
            NoticeKind::PathUp => ("path up".to_owned(), json!({})),
            NoticeKind::PathDown => ("path down".to_owned(), json!({})),
            NoticeKind::Carried(traffic) => (
                format!(
                    "sent {}, received {}, dropped {}",
                    traffic.sent,
                    traffic.received,
                    traffic.dropped()
                ),
                json!({
                    "sent": traffic.sent,
                    "received": traffic.received,
                    "dropped_outbound": traffic.dropped_outbound,
                    "dropped_inbound": traffic.dropped_inbound,
                }),
            ),
            NoticeKind::SignallingFailed(error) => {
                (error.to_string(), json!({ "problem": error.to_string() }))
            }
            NoticeKind::Failed(reason) => (
                format!("failed: {reason}"),
                json!({ "reason": reason.as_str() }),
            ),
            NoticeKind::HeldBack(count) => (
                format!("too many candidates: {count} packets and candidates held back"),
                json!({ "count": count }),
            ),
            NoticeKind::Stopping(report) => (
                format!("the path is stopped: {}", report.verdict),
                json!({
                    "stage": report.stage.as_str(),
                    "verdict": report.verdict.as_str(),
                    "checks_asked": report.asked,
                    "checks_answered": report.answers,
                    "silent_seconds": report.silent_for.map(|time| time.as_secs_f64()),
                    "vanish_above": report.vanish_above,
                }),
            ),
            NoticeKind::Stopped => ("stopped".to_owned(), json!({})),
            _ => return,
        };
        self.print(Some(notice.slot), kind.as_str(), &text, more);
    }

    fn verdict(&self, summary: &NatSummary) -> String {
        if self.shows_addresses {
            summary.with_address().to_string()
        } else {
            summary.to_string()
        }
    }

    fn facts(&self, summary: &NatSummary) -> Value {
        let external = summary.external_ip().filter(|_| self.shows_addresses);
        json!({
            "nat_type": summary.nat_type().as_legacy(),
            "is_natted": summary.is_natted(),
            "mapping_behavior": summary.mapping().as_legacy(),
            "port_preservation": summary.port_preserved(),
            "external_ip": external.map(|ip| ip.to_string()),
        })
    }
}

fn missing(lines: u64) -> String {
    format!("... {lines} lines are missing here: they were not read in time\n")
}
