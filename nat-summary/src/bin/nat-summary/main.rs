//! The program `nat-summary`: judges texts that contain ICE candidates.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use clap::Parser;
use nat_summary::{
    Candidate, Counts, Discarded, Evidence, NatSummary, Observation, Outcome, Rule, ServerId, Sides,
};
use serde::{Deserialize, Serialize};

const AFTER: &str = "\
Without --json the answer is one line for each text, or a line for this host, for the peer and for each description
that nothing marks as theirs. With --json it is the verdict on this host, with `peer` and `descriptions` beside it.

A text that is a JSON array of cases is answered by a JSON array of verdicts in the same order. A case has `candidates`
(lines, or objects with `candidate` and `url`; `asked` is the number of servers that a complete gathering asked) or
`evidence` (`hosts`, `servers` and `observations`).

Exit code 2: a text has no candidate, or cannot be read.";

/// Judges the NAT in front of a host by the ICE candidates in a text: a session description, a webrtc-internals dump,
/// getStats() as JSON, about:webrtc, the log of an application.
#[derive(Debug, Parser)]
#[command(name = "nat-summary", version, after_help = AFTER)]
struct Options {
    /// Texts; - or no file is the standard input
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// The verdict as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Case {
    candidates: Option<Vec<CaseCandidate>>,
    /// The number of servers that were asked for `candidates`, once gathering is complete.
    asked: Option<u16>,
    evidence: Option<CaseEvidence>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CaseCandidate {
    Line(String),
    Value {
        candidate: String,
        url: Option<String>,
    },
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct CaseEvidence {
    hosts: Vec<String>,
    servers: Vec<CaseServer>,
    observations: Vec<CaseObservation>,
}

#[derive(Deserialize)]
struct CaseServer {
    server: String,
    outcome: CaseOutcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum CaseOutcome {
    Answered,
    #[serde(alias = "timed_out")]
    Timeout,
    Unreachable,
    Unresolved,
    Refused,
    Pending,
}

#[derive(Deserialize)]
struct CaseObservation {
    base: SocketAddr,
    server: String,
    mapped: SocketAddr,
    /// MAPPED-ADDRESS, where the answer had it too.
    mapped_plain: Option<SocketAddr>,
}

#[derive(Serialize)]
struct Verdict {
    is_natted: Option<bool>,
    mapping_behavior: &'static str,
    filtering_behavior: &'static str,
    port_preservation: Option<bool>,
    nat_type: &'static str,
    external_ip: Option<IpAddr>,
    evidence: Shown,
}

#[derive(Serialize)]
struct Shown {
    rule: Rule,
    #[serde(flatten)]
    counts: Counts,
    discarded: Discarded,
    line: String,
    summary: NatSummary,
}

impl From<&Evidence> for Verdict {
    fn from(evidence: &Evidence) -> Self {
        let summary = evidence.summary();
        Self {
            is_natted: summary.is_natted(),
            mapping_behavior: summary.mapping().as_legacy(),
            filtering_behavior: summary.filtering().as_legacy(),
            port_preservation: summary.port_preserved(),
            nat_type: summary.nat_type().as_legacy(),
            external_ip: summary.external_ip(),
            evidence: Shown {
                rule: summary.rule(),
                counts: summary.counts(),
                discarded: evidence.discarded(),
                line: summary.to_string(),
                summary,
            },
        }
    }
}

/// `198.51.100.1:3478`, `stun.example.org:3478`, or a STUN URI.
fn server(text: &str) -> Result<ServerId, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address.into());
    }
    let named = |(host, port): (&str, &str)| {
        (!host.is_empty()).then_some(ServerId::named(host, port.parse().ok()?))
    };
    ServerId::from_url(text)
        .or_else(|| text.rsplit_once(':').and_then(named))
        .ok_or_else(|| format!("`{text}` is no server: host:port is expected"))
}

/// A list that has begun.
const NONE: [Candidate<'static>; 0] = [];

fn from_lines(candidates: &[CaseCandidate]) -> Evidence {
    let mut evidence = Evidence::from_candidates(NONE);
    for candidate in candidates {
        let (line, url) = match candidate {
            CaseCandidate::Line(line) => (line, None),
            CaseCandidate::Value { candidate, url } => (candidate, url.as_deref()),
        };
        // the empty line is how a browser ends its candidates
        if line.trim().is_empty() {
            continue;
        }
        match Candidate::parse(line) {
            Ok(candidate) => evidence.add_candidate(&Candidate { url, ..candidate }),
            Err(_) => evidence.add_unreadable(),
        };
    }
    evidence
}

fn from_parts(parts: &CaseEvidence) -> Result<Evidence, String> {
    let mut evidence = Evidence::new();
    for host in &parts.hosts {
        match host.parse() {
            Ok(ip) => evidence.add_local(ip),
            // hidden by mDNS: not known
            Err(_) if host.ends_with(".local") => continue,
            Err(_) => return Err(format!("`{host}` is no host: an address is expected")),
        };
    }
    for asked in &parts.servers {
        let outcome = match asked.outcome {
            CaseOutcome::Answered => Outcome::Answered,
            CaseOutcome::Timeout => Outcome::TimedOut,
            CaseOutcome::Unreachable => Outcome::Unreachable,
            CaseOutcome::Unresolved => Outcome::Unresolved,
            CaseOutcome::Refused => Outcome::Refused,
            CaseOutcome::Pending => Outcome::Pending,
        };
        evidence.record_outcome(server(&asked.server)?, outcome);
    }
    for (sequence, seen) in (0..).zip(&parts.observations) {
        let observation = Observation {
            base: seen.base,
            server: server(&seen.server)?,
            mapped: seen.mapped,
            sequence,
        };
        match seen.mapped_plain {
            Some(plain) => evidence.observe_both(observation, plain),
            None => evidence.observe(observation),
        };
    }
    Ok(evidence)
}

fn cases(cases: &[Case]) -> Result<String, String> {
    let mut verdicts = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let evidence = match (&case.candidates, &case.evidence) {
            (Some(lines), None) => match case.asked {
                Some(asked) => from_lines(lines).with_complete_gathering(asked),
                None => from_lines(lines),
            },
            (None, Some(parts)) => {
                from_parts(parts).map_err(|error| format!("case {number}: {error}"))?
            }
            _ => {
                return Err(format!(
                    "case {number}: either `candidates` or `evidence` is expected"
                ));
            }
        };
        verdicts.push(Verdict::from(&evidence));
    }
    serde_json::to_string_pretty(&verdicts).map_err(|error| error.to_string())
}

/// The verdict on this host's part of a text, and beside it those on the other parts.
#[derive(Serialize)]
struct TextVerdict {
    #[serde(flatten)]
    own: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Verdict>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    descriptions: Vec<Verdict>,
}

fn text(input: &str, json: bool) -> Result<String, String> {
    let sides = Sides::of(input);
    if sides.is_empty() {
        return Err("no candidate in the input: a JSON array of cases or text with candidate lines is expected".into());
    }
    if !json {
        return Ok(sides.with_address().to_string());
    }
    let own = sides.own();
    let is_only_one = own.is_some() && sides.local().is_none();
    let verdict = TextVerdict {
        own: Verdict::from(&own.unwrap_or_else(|| Evidence::from_candidates(NONE))),
        peer: sides.remote().as_ref().map(Verdict::from),
        descriptions: sides
            .unassigned()
            .filter(|_| !is_only_one)
            .map(|evidence| Verdict::from(&evidence))
            .collect(),
    };
    serde_json::to_string_pretty(&verdict).map_err(|error| error.to_string())
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    let mut input = Vec::new();
    if file == "-" {
        std::io::stdin()
            .read_to_end(&mut input)
            .map_err(|error| format!("standard input: {error}"))?;
    } else {
        input = std::fs::read(file).map_err(|error| error.to_string())?;
    }
    Ok(input)
}

fn answer(input: &[u8], json: bool) -> Result<String, String> {
    let input = String::from_utf8_lossy(input);
    // a log may begin with a bracket too, but not with an object in it
    let inside = input.trim_start().strip_prefix('[').map(str::trim_start);
    if inside.is_some_and(|inside| inside.is_empty() || inside.starts_with(['{', ']'])) {
        let read: Vec<Case> =
            serde_json::from_str(&input).map_err(|error| format!("bad JSON: {error}"))?;
        // an array of a browser's candidates is a text like any other
        let no_case = read
            .iter()
            .all(|case| case.candidates.is_none() && case.evidence.is_none());
        if !no_case || Sides::of(&input).is_empty() {
            return cases(&read);
        }
    }
    text(&input, json)
}

/// Judges every text, also behind one that cannot be judged.
pub(crate) fn main() -> ExitCode {
    let options = Options::parse();
    let mut files = options.files;
    if files.is_empty() {
        files.push("-".to_owned());
    }
    let mut code = ExitCode::SUCCESS;
    for file in &files {
        // errors name the file, and answers do where there are several
        let name = if file == "-" { "standard input" } else { file };
        match read(file).and_then(|input| answer(&input, options.json)) {
            Ok(answer) => {
                let head = if files.len() > 1 && !options.json {
                    format!("{name}:\n")
                } else {
                    String::new()
                };
                if writeln!(std::io::stdout(), "{head}{answer}").is_err() {
                    return ExitCode::FAILURE;
                }
            }
            Err(error) => {
                eprintln!("nat-summary: {name}: {error}");
                code = ExitCode::from(2);
            }
        }
    }
    code
}
