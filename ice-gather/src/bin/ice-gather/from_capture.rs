//! The report of a capture: each host that asked servers, its verdict, its servers and its peers.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};

use ice_gather::capture::{Capture, CapturedHost, CapturedPath, Redactor};
use nat_summary::observer::{AskedServer, CheckedPair};
use rand::TryRngCore;
use serde_json::{Value as Json, json};

use crate::report::SCHEMA;
use crate::timeline;
use crate::words::{self, millis, reason, table};

/// Reads the capture at `file`, or from standard input where that is `-`, and writes its report.
pub(crate) fn report(
    file: &str,
    redact: bool,
    as_json: bool,
) -> Result<String, Box<dyn std::error::Error>> {
    let reader: Box<dyn Read + Send> = if file == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(file).map_err(|error| format!("{file}: {error}"))?)
    };
    let capture = Capture::read(reader).map_err(|error| format!("{file}: {error}"))?;
    let addresses = Addresses::new(redact)?;
    Ok(if as_json {
        format!("{:#}\n", addresses.json(&capture))
    } else {
        addresses.text(&capture)
    })
}

/// Writes addresses, as they are or redacted.
struct Addresses(Option<Redactor>);

impl Addresses {
    fn new(redact: bool) -> Result<Self, Box<dyn std::error::Error>> {
        if !redact {
            return Ok(Self(None));
        }
        let mut key = [0; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut key)?;
        Ok(Self(Some(Redactor::new(&key))))
    }

    fn ip(&self, ip: IpAddr) -> IpAddr {
        self.0.as_ref().map_or(ip, |redactor| redactor.redact(ip))
    }

    fn at(&self, address: SocketAddr) -> String {
        SocketAddr::new(self.ip(address.ip()), address.port()).to_string()
    }

    fn json(&self, capture: &Capture) -> Json {
        let hosts: Vec<Json> = capture
            .hosts
            .iter()
            .map(|host| self.host_json(host))
            .collect();
        json!({
            "schema": SCHEMA,
            "hosts": hosts,
            "capture": {
                "packets": capture.packets,
                "truncated": capture.truncated,
                "unread": capture.unread.total(),
                "unread_reasons": {
                    "link_type": capture.unread.link_type,
                    "broken": capture.unread.broken,
                    "fragments": capture.unread.fragments,
                },
                "forwarded": capture.forwarded,
                "left_out": capture.left_out,
                "dropped": capture.has_drops,
                "damage": capture.damage.map(|damage| damage.as_str()),
            },
        })
    }

    fn host_json(&self, host: &CapturedHost) -> Json {
        let summary = host.evidence.summary();
        let external = summary.external_ip().map(|ip| self.ip(ip));
        let mut evidence = words::evidence(&summary);
        evidence["one_way"] = host.is_one_way.into();
        let server = |server: &AskedServer| {
            json!({
                "server": self.at(server.server),
                "turn": server.is_turn,
                "outcome": server.outcome.as_str(),
                "error_code": server.error_code,
                "rtt_ms": server.round_trip.map(millis),
                "base": self.at(server.base),
                "mapped": server.mapped.map(|mapped| self.at(mapped)),
                "sent": server.sends,
            })
        };
        let peer = |pair: &CheckedPair| {
            json!({
                "peer": self.at(pair.remote),
                "base": self.at(pair.base),
                "sent": pair.sent,
                "answered": pair.answered,
                "received": pair.received,
                "mapped": pair.mapped.map(|mapped| self.at(mapped)),
                "trust": host.trust.as_str(),
            })
        };
        let path = |path: &CapturedPath| {
            let report = &path.report;
            json!({
                "peer": self.at(path.remote),
                "base": self.at(path.base),
                "stage": report.stage.as_str(),
                "verdict": report.verdict.as_str(),
                "refused_by": report.refused_by.as_str(),
                "dtls": {
                    "role": report.role.as_str(),
                    "version": report.version.as_str(),
                    "last_in": report.last_in.as_str(),
                    "last_out": report.last_out.as_str(),
                    "flights": report.flights,
                    "hello_shape": report.hello_shape.map(|shape| format!("{shape:08x}")),
                },
                "checks": { "asked": report.asked, "answered": report.answers },
                "datagrams": { "sent": report.sent.datagrams, "received": report.received.datagrams },
                "bytes": { "sent": report.sent.bytes, "received": report.received.bytes },
                "largest": { "sent": report.sent.largest, "received": report.received.largest },
                "data": { "sent": report.sent.data, "received": report.received.data },
                "silent_ms": report.silent_for.map(millis),
                "timeline": timeline::sentences(path),
            })
        };
        let toward_peer = host.peer.summary(&host.evidence).toward_peer;
        json!({
            "host": self.ip(host.host).to_string(),
            "summary": words::summary(&summary, external),
            "evidence": evidence,
            "servers": host.servers.iter().map(server).collect::<Vec<_>>(),
            "peers": host.pairs.iter().map(peer).collect::<Vec<_>>(),
            "paths": host.paths.iter().map(path).collect::<Vec<_>>(),
            "toward_peer": toward_peer.as_str(),
        })
    }

    fn text(&self, capture: &Capture) -> String {
        let mut text = String::new();
        for host in &capture.hosts {
            text += &self.host_text(host);
            text.push('\n');
        }
        if capture.hosts.is_empty() {
            text += "No host of this capture asked a STUN or TURN server.\n";
        }
        text + &notes(capture)
    }

    fn host_text(&self, host: &CapturedHost) -> String {
        let dash = || "-".to_owned();
        let mapped = |mapped: Option<SocketAddr>| mapped.map_or_else(dash, |m| self.at(m));
        let summary = host.evidence.summary();
        let mut text = format!("Host {}\n", self.ip(host.host));
        let heads = ["server", "from", "outcome", "round trip", "mapped", "sent"];
        let mut rows = vec![heads.map(str::to_owned)];
        rows.extend(host.servers.iter().map(|server| {
            [
                self.at(server.server),
                self.at(server.base),
                words::ending(server.outcome, server.error_code),
                words::round_trip(server.round_trip),
                mapped(server.mapped),
                server.sends.to_string(),
            ]
        }));
        text += &table(&rows);
        if !host.pairs.is_empty() {
            let heads = [
                "peer",
                "from",
                "checks sent",
                "answered",
                "received",
                "mapped",
            ];
            let mut rows = vec![heads.map(str::to_owned)];
            rows.extend(host.pairs.iter().map(|pair| {
                [
                    self.at(pair.remote),
                    self.at(pair.base),
                    pair.sent.to_string(),
                    pair.answered.to_string(),
                    pair.received.to_string(),
                    mapped(pair.mapped),
                ]
            }));
            text.push('\n');
            text += &table(&rows);
        }
        for path in &host.paths {
            let (stage, verdict) = (path.report.stage.as_str(), path.report.verdict.as_str());
            text += &format!(
                "\nFrom {} to {}: stage {stage}, verdict {verdict}\n",
                self.at(path.base),
                self.at(path.remote)
            );
            for sentence in timeline::sentences(path) {
                text += &format!("  {sentence}\n");
            }
            if let Some(shape) = path.report.hello_shape {
                text += &format!("  Shape of the ClientHello: {shape:08x}\n");
            }
        }
        text += &format!("\nVerdict: {summary}.\n");
        if let Some(external) = summary.external_ip() {
            text += &format!("External address: {}\n", self.ip(external));
        }
        text += &format!("{}.\n", reason(summary.rule()));
        if host.is_one_way {
            text += "No packet to this host was captured: a capture of one direction looks the same, so silence proves nothing.\n";
        }
        text
    }
}

/// The capture as a whole: its size, and everything that could not be read.
fn notes(capture: &Capture) -> String {
    let mut text = format!("{} packets", capture.packets);
    let unread = capture.unread;
    for (count, what) in [
        (capture.truncated, "not captured whole"),
        (unread.link_type, "of a link type that is not known"),
        (unread.broken, "broken"),
        (unread.fragments, "parts of datagrams"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text += ".\n";
    if capture.forwarded > 0 {
        text += &format!(
            "{} requests had passed a router before they were captured: their hosts are not judged. Capture on the host itself, \
             or between it and its router.\n",
            capture.forwarded
        );
    }
    if capture.left_out > 0 {
        text += &format!(
            "{} requests of further hosts are left out.\n",
            capture.left_out
        );
    }
    if capture.has_drops {
        text += "The capture lost packets, so silence proves nothing.\n";
    }
    if let Some(damage) = capture.damage {
        text += &format!("Not all was read: {damage}.\n");
    }
    text
}
