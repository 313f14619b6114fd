//! The report of a gathering, as text and as JSON.

use std::time::Duration;

use ice_gather::{ServerReport, StunServer};
use nat_summary::{BaseVerdict, Filtering};
use serde_json::{Value as Json, json};

use crate::ask::Asked;
use crate::style::Style;
use crate::words::{self, Told, millis, table};

/// The version of the JSON: it grows when a key changes its name or its meaning, or goes.
pub(crate) const SCHEMA: u32 = 1;

/// The server as it was given, and the address that its name led to.
fn name(report: &ServerReport) -> String {
    match (&report.name, &report.server) {
        (Some(name), StunServer::Address(address)) => format!("{} ({})", place(name), address.ip()),
        (_, server) => place(server),
    }
}

fn place(server: &StunServer) -> String {
    match server {
        StunServer::Address(address) => address.to_string(),
        StunServer::Name(host, port) => format!("{host}:{port}"),
    }
}

pub(crate) fn text(asked: &Asked, style: Style) -> String {
    let heads = ["server", "outcome", "round trip", "mapped", "sent"].map(str::to_owned);
    let dash = || "-".to_owned();
    let mut rows = vec![heads];
    rows.extend(asked.servers.iter().map(|report| {
        [
            name(report),
            words::ending(report.outcome, report.error_code),
            words::round_trip(report.round_trip),
            report.mapped.map_or_else(dash, |mapped| mapped.to_string()),
            report.sends.to_string(),
        ]
    }));
    let summary = &asked.summary;
    let mut text = table(&rows);
    let verdict = format!("Verdict: {}.", summary.with_address());
    text += &format!("\n{}\n", style.verdict(summary.nat_type(), &verdict));
    if summary.bases().count() > 1 {
        for base in summary.bases() {
            text += &base_line(base);
        }
    }
    text += words::meaning(&Told::of(asked));
    text.push('\n');
    if let Some(filtering) = asked.filtering {
        text += words::filtering(filtering);
        text.push('\n');
    }
    text += &format!(
        "{}. {}",
        words::reason(summary.rule()),
        whole_millis(asked.elapsed)
    );
    text + &match asked.packets_sent {
        Some(1) => ", 1 packet.\n".to_owned(),
        Some(packets) => format!(", {packets} packets.\n"),
        None => ", interrupted: more servers may answer.\n".to_owned(),
    }
}

/// The line of a base, where there are several, such as one for IPv4 and one for IPv6.
fn base_line(base: &BaseVerdict) -> String {
    format!(
        "  {} from {}: {}, {}, seen at {}.\n",
        base.family().as_str(),
        base.base,
        match base.natted {
            Some(true) => "behind a NAT",
            Some(false) => "no NAT",
            None => "not known whether behind a NAT",
        },
        words::mapping(base.mapping),
        base.external
    )
}

/// Whole milliseconds, or tenths where whole ones are too coarse.
fn whole_millis(duration: Duration) -> String {
    let millis = millis(duration);
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.0} ms")
    }
}

pub(crate) fn json(asked: &Asked) -> Json {
    let server = |report: &ServerReport| {
        json!({
            "server": place(&report.server),
            "name": report.name.as_ref().map(place),
            "outcome": report.outcome.as_str(),
            "error_code": report.error_code,
            "rtt_ms": report.round_trip.map(millis),
            "base": report.base.map(|base| base.to_string()),
            "mapped": report.mapped.map(|mapped| mapped.to_string()),
            "sent": report.sends,
        })
    };
    let base = |base: &BaseVerdict| {
        json!({
            "base": base.base.to_string(),
            "family": base.family().as_str(),
            "is_natted": base.natted,
            "mapping": base.mapping.as_str(),
            "port_preserved": base.port_preserved,
            "external_ip": base.external.to_string(),
            "rule": base.rule.as_str(),
        })
    };
    let summary = &asked.summary;
    json!({
        "schema": SCHEMA,
        "verdict": summary.to_string(),
        "summary": words::summary(summary, summary.external_ip()),
        "filtering": asked.filtering.map(Filtering::as_str),
        "evidence": words::evidence(summary),
        "bases": summary.bases().map(base).collect::<Vec<_>>(),
        "servers": asked.servers.iter().map(server).collect::<Vec<_>>(),
        "packets_sent": asked.packets_sent,
        "elapsed_ms": millis(asked.elapsed),
        "interrupted": asked.is_interrupted,
    })
}
