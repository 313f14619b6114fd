//! The program's events as lines, readable or JSON, and its log; without addresses unless asked for.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::time::{Duration, Instant};

use consumer_fsm::{Notice, State, What};
use nat_summary::NatSummary;
use serde_json::{Value, json};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::options::Options;
use crate::output::Output;

/// Writes to standard output and standard error, and never waits for a reader.
#[derive(Debug, Clone)]
pub(crate) struct EventSink {
    started: Instant,
    json: bool,
    shows_addresses: bool,
    lines: Output,
    errors: Output,
}

impl EventSink {
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
            lines: Output::to(io::stdout(), missing)?,
            errors: Output::to(io::stderr(), self::missing)?,
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

    /// What a person has to know of the program itself.
    pub(crate) fn warn(&self, text: &str) {
        self.errors.line(format!("consumer: {text}\n"));
    }

    /// Waits at most so long for the reader of each stream to take what is left.
    pub(crate) fn close(&self, within: Duration) {
        let unread = self.lines.close(within);
        if unread > 0 {
            self.warn(&format!("standard output was not read: {unread} lines"));
        }
        self.errors.close(within);
    }

    /// An event that has no notice of its own.
    pub(crate) fn emit(&self, slot: Option<usize>, event: &str, text: &str, mut more: Value) {
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
        self.lines.line(line);
    }

    pub(crate) fn notice(&self, notice: &Notice) {
        let emit = |event, text: &str, more| self.emit(Some(notice.slot), event, text, more);
        match &notice.what {
            What::AttemptStarted => emit("attempt_started", "attempt", json!({})),
            What::Moved { from, event, to } => {
                let text = format!("{} -> {}  {event:?}", state(*from), state(*to));
                let [from, event, to] =
                    [format!("{from:?}"), format!("{event:?}"), format!("{to:?}")];
                emit(
                    "moved",
                    &text,
                    json!({ "from": from, "because": event, "to": to }),
                );
            }
            What::Gathered(summary) => {
                emit("gathered", &self.verdict(summary), self.facts(summary))
            }
            What::Roamed(summary) => {
                emit(
                    "roamed",
                    &format!("new network: {}", self.verdict(summary)),
                    self.facts(summary),
                );
            }
            What::Connected(after) => {
                let millis = after.as_millis();
                emit(
                    "connected",
                    &format!("connected after {millis} ms"),
                    json!({ "after_ms": millis }),
                );
            }
            What::PathUp => emit("path_up", "path up", json!({})),
            What::PathDown => emit("path_down", "path down", json!({})),
            What::Carried { moved, dropped } => {
                let text = format!(
                    "sent {}, received {}, dropped {}",
                    moved.0,
                    moved.1,
                    dropped.0 + dropped.1
                );
                let more = json!({
                    "sent": moved.0,
                    "received": moved.1,
                    "dropped_outbound": dropped.0,
                    "dropped_inbound": dropped.1,
                });
                emit("carried", &text, more);
            }
            What::Failed(reason) => emit(
                "failed",
                &format!("failed: {reason}"),
                json!({ "reason": reason.as_str() }),
            ),
            What::Stopped => emit("stopped", "stopped", json!({})),
            _ => {}
        }
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

fn state(state: State) -> String {
    state.number().map_or_else(
        || format!("{state:?}"),
        |number| format!("{number} {state:?}"),
    )
}
