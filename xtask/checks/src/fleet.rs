//! `fleet`: many simulated consumers, what they emit, and the questions of `otel-nat/deploy` asked
//! of it in DuckDB.
//!
//! Every attempt is made behind a simulated NAT, judged by `nat-summary` from what its servers
//! answered, and emitted by `otel-nat` as OTLP/JSON lines. What the SQL comes to is compared with
//! what was counted on the way.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nat_summary::stage::{Stage, StageReport, StageVerdict};
use nat_summary::{NatSummary, NatType, Outlook};
use otel_nat::pipeline::Pipeline;
use otel_nat::{ExternalIp, FailureCause, FailureReason, Telemetry};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use self::attempt::{Host, Place, punch};
use self::truth::{Truth, differences};
use common::commands::Fleet;

use crate::front::Front;
use crate::{Failure, bounds, python, root, table, workspace};

mod attempt;
mod truth;

/// The same fleet each time.
const SEED: u64 = 0x05ca_1ab1e;
/// Releases of the consumer, and the share of the newer one.
const RELEASES: [&str; 2] = ["1.4.0", "1.5.0"];
const NEWER: f64 = 0.35;
/// Attempts between two flushes: fewer than a pipeline's queue holds.
const FLUSH: u64 = 1_000;

/// As `deploy/report.py` asks them.
const QUESTIONS: [&str; 5] = [
    "success_by_nat_type",
    "mapping_by_outcome",
    "blocked_share",
    "rule_by_evidence",
    "stage_by_release",
];

/// How often each kind of NAT was given each verdict.
type Verdicts = BTreeMap<(String, &'static str), u64>;

pub(crate) fn run(options: &Fleet) -> Result<bool, Failure> {
    let started = Instant::now();
    let few = if options.quick {
        bounds::FLEET_QUICK
    } else {
        bounds::FLEET
    };
    let attempts = options.attempts.unwrap_or(few);
    let python = python::with(&root(), &[python::DUCKDB, python::MATPLOTLIB])?;
    let folder = workspace::build_folder(&root()).join("fleet");
    std::fs::create_dir_all(&folder)?;
    let kept = options.spans.clone();
    let spans = kept.clone().unwrap_or_else(|| folder.join("spans.jsonl"));
    let picture = options
        .picture
        .clone()
        .unwrap_or_else(|| folder.join("fleet.png"));

    let (truth, verdicts) = emit(&spans, attempts)?;
    let emitted_after = started.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(&spans)?.len();
    let told = ask(&python, &spans, &picture)?;
    if kept.is_none() {
        std::fs::remove_file(&spans)?;
    }

    let mut faults = Vec::new();
    for (question, rows) in truth.answers() {
        faults.extend(differences(question, &rows, list(&told[question]["rows"])));
    }
    faults.extend(wrong(&verdicts));
    let (passed, seconds) = (faults.is_empty(), started.elapsed().as_secs_f64());
    if options.json {
        let verdicts: Vec<_> = verdicts
            .iter()
            .map(|((nat, verdict), n)| serde_json::json!({"nat": nat, "verdict": verdict, "attempts": n}))
            .collect();
        let result = serde_json::json!({
            "passed": passed, "seconds": seconds, "attempts": truth.attempts, "bytes": bytes, "answers": told,
            "verdicts": verdicts, "picture": picture, "faults": faults,
        });
        println!("{result:#}");
    } else {
        for question in QUESTIONS {
            println!("{}\n", question.replace('_', " "));
            println!("{}", answer(&told[question]));
        }
        println!(
            "what stands before the consumers, and the verdict\n\n{}",
            confusion(&verdicts)
        );
        faults.iter().for_each(|fault| println!("WRONG  {fault}"));
        println!(
            "{} attempts through otel-nat in {emitted_after:.1} s, {} MB of OTLP/JSON; five answers {} in {seconds:.1} s",
            truth.attempts,
            bytes / 1_000_000,
            if passed {
                "as counted"
            } else {
                "and something wrong"
            },
        );
        println!("the picture is {}", picture.display());
    }
    Ok(passed)
}

/// Makes the attempts, and sends them to `file` the way a consumer would.
fn emit(file: &Path, attempts: u64) -> Result<(Truth, Verdicts), Failure> {
    File::create(file)?;
    let append = || OpenOptions::new().append(true).open(file);
    let mut random = SmallRng::seed_from_u64(SEED);
    let (mut truth, mut verdicts) = (Truth::default(), Verdicts::new());
    let mut pipelines = Vec::new();
    for release in RELEASES {
        let resource = opentelemetry_sdk::Resource::builder_empty()
            .with_attribute(opentelemetry::KeyValue::new("service.name", "consumer"))
            .with_attribute(opentelemetry::KeyValue::new("service.version", release))
            .build();
        let pipeline = Pipeline::builder()
            .with_resource(resource)
            .json_lines(append()?);
        let telemetry = pipeline.telemetry().with_external_ip(ExternalIp::Prefix);
        pipelines.push((release, pipeline, telemetry));
    }
    for n in 0..attempts {
        let (release, _, telemetry) = &pipelines[usize::from(random.random_bool(NEWER))];
        let Made {
            place,
            summary,
            failure,
            stage,
            peer,
        } = attempt(telemetry, &mut random);
        truth.count(release, &summary, failure, stage, peer);
        *verdicts
            .entry((place.name(), summary.nat_type().as_legacy()))
            .or_default() += 1;
        if n % FLUSH == FLUSH - 1 {
            pipelines
                .iter()
                .try_for_each(|(_, pipeline, _)| pipeline.flush())?;
        }
    }
    let mut exported = 0;
    for (_, pipeline, _) in &pipelines {
        pipeline.flush()?;
        exported += pipeline.delivery().exported;
    }
    if exported != attempts {
        return Err(format!("{exported} of {attempts} spans were exported").into());
    }
    // a collector that retries delivers twice
    let mut line = String::new();
    BufReader::new(File::open(file)?).read_line(&mut line)?;
    append()?.write_all(line.as_bytes())?;
    Ok((truth, verdicts))
}

/// An attempt as it was made.
struct Made {
    place: Place,
    summary: NatSummary,
    failure: Option<FailureReason>,
    stage: Option<StageReport>,
    /// The type of the peer's NAT, as its candidates show it.
    peer: Option<NatType>,
}

/// What stops a channel over a pair that works, of every hundred such attempts.
const STOPPED: [(StageVerdict, Stage, f64); 3] = [
    (StageVerdict::HelloNeverCame, Stage::Paired, 0.03),
    (StageVerdict::HandshakeStalled, Stage::Handshake, 0.01),
    (StageVerdict::Unknown, Stage::Handshake, 0.01),
];

/// One attempt, from its first request to its span.
fn attempt(telemetry: &Telemetry, random: &mut impl Rng) -> Made {
    let mut host = Host::consumer(random);
    let place = host.place;
    let mut attempt = telemetry.attempt();
    attempt.begin_gathering();
    let evidence = host.gather(random);
    // some stacks tell of their candidates only; and then no route looks like silence
    let summary = if place.front != Front::NoRoute && random.random_bool(0.03) {
        host.candidates().summary()
    } else {
        evidence.summary()
    };
    attempt.end_gathering(&summary);
    if random.random_bool(0.02) {
        drop(attempt);
        return Made {
            place,
            summary,
            failure: Some(FailureReason::Cancelled),
            stage: None,
            peer: None,
        };
    }
    let failure = match place.front {
        Front::Blocked => Some(FailureReason::UdpBlocked),
        Front::NoRoute => Some(FailureReason::NoServerAnswered),
        _ if random.random_bool(0.04) => Some(FailureReason::Signalling),
        _ if random.random_bool(0.05) => Some(FailureReason::PeerGone),
        _ => None,
    };
    if let Some(reason) = failure {
        let stage = StageReport::of(Stage::Signalling);
        attempt.set_stage(stage);
        attempt.fail(&summary, reason);
        return Made {
            place,
            summary,
            failure,
            stage: Some(stage),
            peer: None,
        };
    }
    let mut peer = Host::peer_of(&host, random);
    peer.gather(random);
    let theirs = peer.candidates();
    attempt.set_peer_summary(&theirs.summary());
    attempt.set_outlook(Outlook::between(&summary, &theirs.summary()));
    attempt.begin_checks();
    let punched = punch(&mut host, &mut peer, random);
    attempt.set_checks(punched.checks);
    attempt.set_mapping_toward_peer(punched.toward_peer);
    let (failure, stage) = if let Some((local, remote)) = punched.pair {
        attempt.set_selected_pair(local, remote);
        let mut stopped = STOPPED
            .iter()
            .filter(|(.., share)| random.random_bool(*share));
        match stopped.next() {
            None => (None, StageReport::of(Stage::Open)),
            Some((verdict, stage, _)) => {
                let mut report = StageReport::of(*stage);
                report.verdict = *verdict;
                attempt.set_failure_cause(FailureCause::of_stage(*verdict));
                (Some(FailureReason::ChannelFailed), report)
            }
        }
    } else {
        let cause = FailureCause::of(&summary, Some(&theirs), punched.checks, false);
        attempt.set_failure_cause(cause);
        (Some(FailureReason::Timeout), StageReport::of(Stage::Checks))
    };
    attempt.set_stage(stage);
    match failure {
        None => attempt.succeed(&summary),
        Some(reason) => attempt.fail(&summary, reason),
    }
    Made {
        place,
        summary,
        failure,
        stage: Some(stage),
        peer: Some(theirs.summary().nat_type()),
    }
}

/// The answers of `deploy/report.py`, which draws them too.
fn ask(python: &Path, spans: &Path, picture: &Path) -> Result<Value, Failure> {
    let report = root().join("otel-nat/deploy/report.py");
    let output = Command::new(python)
        .arg(report)
        .arg(spans)
        .args(["--json", "--picture"])
        .arg(picture)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "the report failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Verdicts that say more than is true.
fn wrong(verdicts: &Verdicts) -> impl Iterator<Item = String> + '_ {
    let truths: Vec<_> = Place::OF_CONSUMERS
        .map(|(place, _)| (place.name(), place.front.truth().as_legacy()))
        .into();
    verdicts.iter().filter_map(move |((nat, verdict), n)| {
        let is_right =
            *verdict == NatType::Unknown.as_legacy() || truths.contains(&(nat.clone(), *verdict));
        (!is_right).then(|| format!("{n} times {nat} was called {verdict}"))
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn answer(told: &Value) -> String {
    let heads: Vec<&str> = list(&told["columns"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let cells = |row: &Value| heads.iter().map(|head| cell(&row[head])).collect();
    table::render(
        &heads,
        &list(&told["rows"]).iter().map(cells).collect::<Vec<_>>(),
    )
}

fn confusion(verdicts: &Verdicts) -> String {
    let row = |((nat, verdict), n): (&(String, &'static str), &u64)| {
        vec![nat.clone(), (*verdict).to_owned(), n.to_string()]
    };
    table::render(
        &["NAT", "verdict", "attempts"],
        &verdicts.iter().map(row).collect::<Vec<_>>(),
    )
}
