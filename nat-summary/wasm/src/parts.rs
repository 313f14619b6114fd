//! Verdicts and their evidence as JSON, one part for each side of a text.

use nat_summary::{
    Address, Candidate, CandidateKind, Evidence, NatType, Outcome, Rule, ServerId, Sides,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// The parts of a text.
pub fn of_text(text: &str) -> String {
    let sides = Sides::of(text);
    let mut parts = Vec::new();
    if let Some(evidence) = sides.local() {
        parts.push(part("local", &evidence));
    }
    if let Some(evidence) = sides.remote() {
        parts.push(part("remote", &evidence));
    }
    parts.extend(
        sides
            .unassigned()
            .map(|evidence| part("unassigned", &evidence)),
    );
    json!({ "parts": parts, "left_out": sides.left_out() }).to_string()
}

/// A gathering, as the events of a browser show it.
#[derive(Deserialize)]
struct Gathering {
    #[serde(default)]
    candidates: Vec<GatheredCandidate>,
    #[serde(default)]
    errors: Vec<GatheringError>,
    /// Servers that were asked.
    #[serde(default)]
    asked: u16,
    /// Whether the gathering is over.
    #[serde(default)]
    complete: bool,
}

/// Of an `icecandidate` event.
#[derive(Deserialize)]
struct GatheredCandidate {
    candidate: String,
    url: Option<String>,
}

/// Of an `icecandidateerror` event.
#[derive(Deserialize)]
struct GatheringError {
    url: String,
    code: u16,
    #[serde(default)]
    text: String,
}

/// ICE's own code of a server that could not be reached (W3C WebRTC, `icecandidateerror`).
const NOT_REACHED: u16 = 701;

/// The one part of a gathering.
pub fn of_gathering(text: &str) -> String {
    let gathering: Gathering = match serde_json::from_str(text) {
        Ok(gathering) => gathering,
        Err(error) => return json!({ "error": error.to_string() }).to_string(),
    };
    let none: [Candidate<'_>; 0] = [];
    let mut evidence = Evidence::from_candidates(none);
    let mut candidates = Vec::new();
    for GatheredCandidate { candidate, url } in &gathering.candidates {
        // the empty line is the end of candidates
        if candidate.trim().is_empty() {
            continue;
        }
        match Candidate::parse(candidate) {
            Ok(candidate) => {
                let url = url.as_deref().filter(|url| !url.is_empty());
                candidates.push(Candidate { url, ..candidate });
            }
            Err(_) => {
                evidence.add_unreadable();
            }
        }
    }
    for candidate in &candidates {
        let related = hidden_base(candidate, &candidates).or(candidate.related);
        evidence.add_candidate(&Candidate {
            related,
            ..*candidate
        });
    }
    for error in &gathering.errors {
        let Some(server) = ServerId::from_url(&error.url) else {
            continue;
        };
        let is_name = error.text.to_ascii_lowercase().contains("resolved");
        let outcome = match error.code {
            NOT_REACHED if is_name => Outcome::Unresolved,
            NOT_REACHED => Outcome::TimedOut,
            _ => Outcome::Refused,
        };
        evidence.record_outcome(server, outcome);
    }
    if gathering.complete {
        evidence = evidence.with_complete_gathering(gathering.asked);
    }
    json!({ "parts": [part("local", &evidence)], "left_out": 0 }).to_string()
}

/// The base of a reflexive candidate whose browser hides it as `0.0.0.0` and `0`: the host candidate
/// with the same local preference, because a reflexive candidate has that of its base (RFC 8445
/// section 5.1.2.1). Its port is known, and its address is not. `None` where several fit.
fn hidden_base<'a>(candidate: &Candidate<'a>, all: &[Candidate<'a>]) -> Option<(Address<'a>, u16)> {
    let (related, 0) = candidate.related? else {
        return None;
    };
    let is_hidden = related.ip().is_some_and(|ip| ip.is_unspecified());
    let local_preference = |candidate: &Candidate<'_>| (candidate.priority >> 8) & 0xffff;
    let mut bases = all.iter().filter(|host| {
        host.kind == CandidateKind::Host
            && (host.transport, host.component) == (candidate.transport, candidate.component)
            && local_preference(host) == local_preference(candidate)
    });
    let base = bases.next().filter(|base| is_hidden && base.port != 0)?;
    bases.next().is_none().then_some((related, base.port))
}

fn part(side: &str, evidence: &Evidence) -> Value {
    let summary = evidence.summary();
    json!({
        "side": side,
        "type": summary.nat_type().as_str(),
        "rule": summary.rule().as_str(),
        "line": summary.to_string(),
        "legacy": {
            "nat_is_natted": summary.is_natted(),
            "nat_mapping_behavior": summary.mapping().as_legacy(),
            "nat_filtering_behavior": summary.filtering().as_legacy(),
            "nat_port_preservation": summary.port_preserved(),
            "nat_type": summary.nat_type().as_legacy(),
            "nat_external_ip": summary.external_ip(),
        },
        "summary": summary,
        "evidence": evidence,
    })
}

/// Every word for a type and for a rule.
pub fn vocabulary() -> String {
    let types: Vec<_> = NatType::ALL.iter().map(|word| word.as_str()).collect();
    let rules: Vec<_> = Rule::ALL.iter().map(|word| word.as_str()).collect();
    json!({ "types": types, "rules": rules }).to_string()
}
