//! `--watch`: asks again after each change of the network, and prints what changed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ice_gather::{LocalAddresses, StunServer};
use serde_json::json;

use crate::ask::{self, Asked};
use crate::options::Options;
use crate::outcome::{Problem, print, status};
use crate::report;
use crate::style::Style;

/// Time between two looks at the host's addresses. No packet is sent for a look.
const INTERVAL: Duration = Duration::from_secs(1);

/// Runs until Ctrl-C.
pub(crate) async fn watch(options: &Options, servers: &[StunServer]) -> Result<u8, Problem> {
    let mut before = None;
    loop {
        let addresses = LocalAddresses::look();
        let asked = match ask::ask(options, servers).await {
            Ok(asked) if asked.is_interrupted => return Ok(status::OK),
            Ok(asked) => Some(asked),
            // a laptop that wakes up has none for a moment
            Err(problem) if problem.status == status::NO_NETWORK => None,
            Err(problem) => return Err(problem),
        };
        let now = facts(&addresses, asked.as_ref());
        let (is_first, differs) = (before.is_none(), before.as_ref() != Some(&now));
        match &asked {
            Some(asked) if options.json && differs => print(&format!("{}\n", report::json(asked))),
            None if options.json && differs => {
                print(&format!(
                    "{}\n",
                    json!({ "schema": report::SCHEMA, "network": false })
                ));
            }
            _ if options.json => {}
            Some(asked) if is_first => print(&report::text(asked, Style::of_stdout())),
            _ => print(&changes(
                before.as_deref().unwrap_or_default(),
                &now,
                asked.as_ref(),
            )),
        }
        before = Some(now);
        tokio::select! {
            () = changed(&addresses) => {}
            _ = tokio::signal::ctrl_c() => return Ok(status::OK),
        }
    }
}

/// Waits until the addresses differ from `before`. A change counts once two looks in a row agree on
/// it, because an address that is renewed may be away for a moment.
async fn changed(before: &LocalAddresses) {
    let mut previous = None;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = LocalAddresses::look();
        if now != *before && previous.as_ref() == Some(&now) {
            return;
        }
        previous = Some(now);
    }
}

/// The facts that are compared between two gatherings, each with its name.
type Facts = Vec<(&'static str, String)>;

fn facts(addresses: &LocalAddresses, asked: Option<&Asked>) -> Facts {
    let or_none = |ip: Option<std::net::IpAddr>| ip.map_or("none".to_owned(), |ip| ip.to_string());
    let [v4, v6] = addresses.default_route;
    let summary = asked.map(|asked| &asked.summary);
    vec![
        ("IPv4 address", or_none(v4)),
        ("IPv6 address", or_none(v6)),
        (
            "External address",
            or_none(summary.and_then(|summary| summary.external_ip())),
        ),
        (
            "Verdict",
            summary.map_or("no network".to_owned(), ToString::to_string),
        ),
    ]
}

fn changes(before: &[(&str, String)], now: &Facts, asked: Option<&Asked>) -> String {
    let time = clock();
    let mut text = String::new();
    for (name, value) in now {
        let old = before
            .iter()
            .find(|(of, _)| of == name)
            .map(|(_, value)| value);
        if old != Some(value) {
            let was = old.map_or(String::new(), |old| format!(" (before: {old})"));
            let line = format!("{name}: {value}{was}");
            let nat_type = asked
                .map(|asked| asked.summary.nat_type())
                .unwrap_or_default();
            let style = if *name == "Verdict" {
                Style::of_stdout()
            } else {
                Style::PLAIN
            };
            let line = if *name == "Verdict" {
                style.verdict(nat_type, &line)
            } else {
                line
            };
            text += &format!("{time}  {line}\n");
        }
    }
    if text.is_empty() {
        text = format!("{time}  An address changed, and all else is as before.\n");
    }
    text
}

/// The time of day in UTC.
fn clock() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = since.as_secs() % 86_400;
    format!(
        "{:02}:{:02}:{:02} UTC",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    )
}
