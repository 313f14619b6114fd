//! What is said, and how: a readable line or a JSON object per notice, and the log. No address
//! unless asked for.

use std::io::Write;
use std::time::Instant;

use consumer_fsm::{Notice, State, What};
use nat_summary::NatSummary;
use serde_json::{Value, json};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::options::Options;

/// Our own lines only: those of other libraries show addresses.
pub(crate) fn log(level: LevelFilter) {
    let ours = Targets::new()
        .with_target("consumer_fsm", level)
        .with_target("ice_gather", level);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false);
    tracing_subscriber::registry().with(layer).with(ours).init();
}

/// Says it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Teller {
    started: Instant,
    json: bool,
    shows_addresses: bool,
}

impl Teller {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            started: Instant::now(),
            json: options.json,
            shows_addresses: options.shows_addresses,
        }
    }

    /// Whatever has no notice of its own.
    pub(crate) fn say(&self, slot: Option<usize>, event: &str, text: &str, mut more: Value) {
        let seconds = self.started.elapsed().as_secs_f64();
        let line = if self.json {
            more["seconds"] = json!((seconds * 1_000.0).round() / 1_000.0);
            more["event"] = event.into();
            if let Some(slot) = slot {
                more["slot"] = slot.into();
            }
            more.to_string()
        } else {
            let slot = slot
                .map(|slot| format!("  slot {slot}"))
                .unwrap_or_default();
            format!("{seconds:8.3} s{slot}  {text}")
        };
        // a reader that went away wants no more
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    pub(crate) fn notice(&self, notice: &Notice) {
        let say = |event, text: &str, more| self.say(Some(notice.slot), event, text, more);
        match &notice.what {
            What::AttemptStarted => say("attempt_started", "attempt", json!({})),
            What::Moved { from, event, to } => {
                let text = format!("{} -> {}  {event:?}", state(*from), state(*to));
                let [from, event, to] =
                    [format!("{from:?}"), format!("{event:?}"), format!("{to:?}")];
                say(
                    "moved",
                    &text,
                    json!({ "from": from, "because": event, "to": to }),
                );
            }
            What::Gathered(summary) => say("gathered", &self.verdict(summary), self.facts(summary)),
            What::Roamed(summary) => {
                say(
                    "roamed",
                    &format!("new network: {}", self.verdict(summary)),
                    self.facts(summary),
                );
            }
            What::Connected(after) => {
                let millis = after.as_millis();
                say(
                    "connected",
                    &format!("connected after {millis} ms"),
                    json!({ "after_ms": millis }),
                );
            }
            What::PathUp => say("path_up", "path up", json!({})),
            What::PathDown => say("path_down", "path down", json!({})),
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
                say("carried", &text, more);
            }
            What::Failed(reason) => say(
                "failed",
                &format!("failed: {reason}"),
                json!({ "reason": reason.as_str() }),
            ),
            What::Stopped => say("stopped", "stopped", json!({})),
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

fn state(state: State) -> String {
    state.number().map_or_else(
        || format!("{state:?}"),
        |number| format!("{number} {state:?}"),
    )
}
