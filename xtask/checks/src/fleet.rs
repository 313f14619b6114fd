//! `fleet`: many simulated consumers, what they emit, and the questions of `otel-nat/deploy` asked
//! of it in DuckDB and ClickHouse.
//!
//! Every attempt is made behind a simulated NAT, judged by `nat-summary` from what its servers
//! answered, and emitted by `otel-nat` as OTLP/JSON lines. The answers are compared with the counts
//! that were taken on the way.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use nat_summary::NatType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::attempt::Place;
use self::clickhouse::Server;
use self::emit::{Verdicts, deliver_twice, emit};
use self::truth::{Truth, are_same, differences};
use common::commands::{Engine, Fleet};

use crate::{Failure, bounds, python, root, table, workspace};

mod attempt;
mod clickhouse;
mod emit;
mod planned;
mod published;
mod truth;

/// The answer to one question, as `deploy/report.py` prints it. The list of questions stands there alone.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    question: String,
    columns: Vec<String>,
    rows: Vec<Value>,
    seconds: f64,
    /// By ClickHouse.
    bytes_read: Option<u64>,
}

/// A question in ClickHouse, beside DuckDB.
#[derive(Debug, Serialize)]
struct Asked {
    question: String,
    rows: usize,
    is_equal: bool,
    duckdb_seconds: f64,
    /// Over the columns of each attempt.
    seconds: f64,
    bytes_read: u64,
    /// Over the map of attributes in place of the columns.
    map_seconds: f64,
    map_bytes_read: u64,
    /// Over the sums of each day.
    daily_seconds: f64,
    daily_bytes_read: u64,
}

/// ClickHouse's part of the result.
#[derive(Debug, Serialize)]
struct InClickHouse {
    through_the_collector: u64,
    written_in_bulk: u64,
    fill_seconds: f64,
    bytes_per_attempt: f64,
    bytes_per_attempt_of_columns: f64,
    daily_rows: f64,
    daily_bytes_per_attempt: f64,
    questions: Vec<Asked>,
    deployed: Vec<Deployed>,
    bytes_by_detail: BTreeMap<&'static str, f64>,
}

/// A check of what `otel-nat/deploy` holds beside the questions.
#[derive(Debug, Serialize, Deserialize)]
struct Deployed {
    check: String,
    faults: Vec<String>,
    skipped: Option<String>,
    seconds: f64,
}

pub(crate) fn run(options: &Fleet) -> Result<bool, Failure> {
    let started = Instant::now();
    let few = if options.quick {
        bounds::FLEET_QUICK
    } else {
        bounds::FLEET
    };
    let wanted = options.attempts.unwrap_or(few);
    let in_clickhouse = options.engine == Engine::ClickHouse;
    // the rest is written in bulk, because the collector would take hours
    let copies = match options.engine {
        Engine::ClickHouse => wanted.div_ceil(bounds::FLEET).max(1),
        Engine::DuckDb => 1,
    };
    let attempts = wanted / copies;
    let mut packages = vec![python::DUCKDB, python::MATPLOTLIB];
    if in_clickhouse {
        packages.extend([python::CHDB, python::GRAFANA, python::YAML]);
    }
    let python = python::with(&root(), &packages)?;
    let folder = workspace::build_folder(&root()).join("fleet");
    std::fs::create_dir_all(&folder)?;
    let kept = options.spans.clone();
    let spans = kept.clone().unwrap_or_else(|| folder.join("spans.jsonl"));
    let picture = options
        .picture
        .clone()
        .unwrap_or_else(|| folder.join("fleet.png"));

    let (mut truth, verdicts, punching) = emit(&spans, attempts)?;
    let emitted_after = started.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(&spans)?.len();
    let mut faults: Vec<String> = wrong(&verdicts).collect();
    let published = published::rows(&truth, &punching);
    let off = published.iter().filter(|row| row.is_off);
    faults.extend(
        off.map(|row| format!("{}: {} is not {}", row.figure, row.simulated, row.published)),
    );
    let step = |does: &str| eprintln!("fleet: {:7.1} s  {does}", started.elapsed().as_secs_f64());
    let mut deployment = None;
    let server = in_clickhouse
        .then(|| -> Result<_, Failure> {
            step(&format!(
                "{attempts} attempts go through the collector into ClickHouse"
            ));
            let server = Server::start(&python, &folder.join("clickhouse"))?;
            server.fill(&python::rotel(&root())?, &spans, attempts)?;
            let filled = started.elapsed().as_secs_f64() - emitted_after;
            step("the panels, the files of a cluster, the rules of Prometheus");
            server.merge()?;
            deployment = Some((deployed(&server, &python)?, server.bytes_by_detail()?));
            Ok((server, filled))
        })
        .transpose()?;
    deliver_twice(&spans)?;
    step("DuckDB answers");
    let mut answers = ask(
        &python,
        &spans.to_string_lossy(),
        &["--picture"],
        Some(&picture),
        "",
    )?;
    if kept.is_none() {
        std::fs::remove_file(&spans)?;
    }
    faults.extend(compare("DuckDB", &truth, &answers));
    let mut stored = None;
    if let Some(((server, mut fill_seconds), (deployed, bytes_by_detail))) = server.zip(deployment)
    {
        if copies > 1 {
            let begun = Instant::now();
            server.copy(copies - 1, |day| step(&format!("copies of {day}")))?;
            fill_seconds += begun.elapsed().as_secs_f64();
            truth.multiply(copies);
            let parquet = folder.join("attempts.parquet");
            step("ClickHouse writes Parquet for DuckDB");
            server.export(&parquet)?;
            let all = ask(&python, &parquet.to_string_lossy(), &[], None, "DuckDB");
            std::fs::remove_file(&parquet)?;
            answers = all?;
            faults.extend(compare("DuckDB, of all", &truth, &answers));
        }
        step("ClickHouse answers, over three relations");
        let (part, wrong) = in_server(&server, &python, &truth, &answers)?;
        faults.extend(wrong);
        for row in &deployed {
            let of_row = row.faults.iter();
            faults.extend(of_row.map(|fault| format!("{}: {fault}", row.check)));
        }
        stored = Some(InClickHouse {
            through_the_collector: attempts,
            written_in_bulk: truth.attempts - attempts,
            fill_seconds,
            deployed,
            bytes_by_detail,
            ..part
        });
    }
    let (passed, seconds) = (faults.is_empty(), started.elapsed().as_secs_f64());
    if options.json {
        let verdicts: Vec<_> = verdicts
            .iter()
            .map(|((nat, verdict), n)| json!({"nat": nat, "verdict": verdict, "attempts": n}))
            .collect();
        let result = json!({
            "passed": passed, "seconds": seconds, "attempts": truth.attempts, "bytes": bytes, "answers": answers,
            "clickhouse": stored, "published": published, "verdicts": verdicts, "picture": picture, "faults": faults,
        });
        println!("{result:#}");
    } else {
        for answer in &answers {
            println!("{}\n", answer.question.replace('_', " "));
            println!("{}", rendered(answer));
        }
        println!(
            "what stands before the consumers, and the verdict\n\n{}",
            confusion(&verdicts)
        );
        println!("{}", render_published(&published));
        if let Some(stored) = &stored {
            println!("{}", render(stored));
        }
        faults.iter().for_each(|fault| println!("WRONG  {fault}"));
        println!(
            "{attempts} attempts through otel-nat in {emitted_after:.1} s, {} MB of OTLP/JSON; {} answers {} in {seconds:.1} s",
            bytes / 1_000_000,
            answers.len(),
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

/// Every answer of the server, over each relation, beside DuckDB's and the counts.
fn in_server(
    server: &Server,
    python: &Path,
    truth: &Truth,
    duckdb: &[Answer],
) -> Result<(InClickHouse, Vec<String>), Failure> {
    server.add_view_without_columns()?;
    let mut faults = Vec::new();
    let mut over = |relation: &str, name: &str| -> Result<_, Failure> {
        // each answer takes its time where there are many attempts
        let shown = if truth.attempts > bounds::FLEET {
            name
        } else {
            ""
        };
        let answers = ask(
            python,
            &server.url(),
            &["--relation", relation],
            None,
            shown,
        )?;
        faults.extend(compare(&format!("ClickHouse, {name}"), truth, &answers));
        Ok(answers)
    };
    let columns = over("nat_attempts", "columns")?;
    let daily = over("nat_daily", "sums of each day")?;
    let map = over("nat_attempts_of_map", "map")?;
    let mut questions = Vec::new();
    for (((duckdb, columns), map), daily) in duckdb.iter().zip(columns).zip(map).zip(daily) {
        let told = [&columns, &map, &daily];
        let is_equal = told
            .iter()
            .all(|told| told.question == duckdb.question && are_same(&told.rows, &duckdb.rows));
        if !is_equal {
            faults.push(format!("{}: the engines differ", duckdb.question));
        }
        let read = |of: &Answer| of.bytes_read.unwrap_or_default();
        questions.push(Asked {
            rows: duckdb.rows.len(),
            is_equal,
            duckdb_seconds: duckdb.seconds,
            seconds: columns.seconds,
            bytes_read: read(&columns),
            map_seconds: map.seconds,
            map_bytes_read: read(&map),
            daily_seconds: daily.seconds,
            daily_bytes_read: read(&daily),
            question: columns.question,
        });
    }
    let bytes = |table: &str, column: &str| {
        server.number(&format!(
            "SELECT sum(column_data_compressed_bytes) / (SELECT count() FROM nat_attempts) FROM system.parts_columns \
             WHERE active AND database = 'otel' AND table = '{table}' AND column LIKE '{column}'"
        ))
    };
    let part = InClickHouse {
        through_the_collector: 0,
        written_in_bulk: 0,
        fill_seconds: 0.0,
        bytes_per_attempt: bytes("otel_traces", "%")?,
        bytes_per_attempt_of_columns: bytes("otel_traces", "nat\\\\_%")?,
        daily_rows: server.number("SELECT count() FROM nat_daily_sums")?,
        daily_bytes_per_attempt: bytes("nat_daily_sums", "%")?,
        questions,
        deployed: Vec::new(),
        bytes_by_detail: BTreeMap::new(),
    };
    Ok((part, faults))
}

/// Runs the panels, a sample, the files of a cluster and the rules of Prometheus.
fn deployed(server: &Server, python: &Path) -> Result<Vec<Deployed>, Failure> {
    let output = Command::new(python)
        .arg(root().join("xtask/checks/fleet/deployed.py"))
        .arg(root().join("otel-nat/deploy"))
        .arg(server.url())
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the checks of otel-nat/deploy failed: {complaint}").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Every way in which the answers are not the counts.
fn compare(engine: &str, truth: &Truth, answers: &[Answer]) -> Vec<String> {
    let mut counted = truth.answers();
    let mut faults = Vec::new();
    for Answer { question, rows, .. } in answers {
        match counted.remove(question.as_str()) {
            Some(counted) => faults.extend(differences(question, &counted, rows)),
            None => faults.push(format!("{question} was answered, and is not counted")),
        }
    }
    let missing = counted.keys();
    faults.extend(missing.map(|question| format!("{question} was counted, and not asked")));
    let faults = faults.into_iter();
    faults.map(|fault| format!("{engine}: {fault}")).collect()
}

/// The answers of `deploy/report.py`, which draws them too. With `shown`, each is reported as it comes.
fn ask(
    python: &Path,
    of: &str,
    more: &[&str],
    picture: Option<&PathBuf>,
    shown: &str,
) -> Result<Vec<Answer>, Failure> {
    let report = root().join("otel-nat/deploy/report.py");
    let mut child = Command::new(python)
        .arg(report)
        .args([of, "--json"])
        .args(more)
        .args(picture)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut answers = Vec::<Answer>::new();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let answer: Answer = serde_json::from_str(&line?)?;
            if !shown.is_empty() {
                eprintln!(
                    "fleet: {shown}, {}: {:.1} s",
                    answer.question, answer.seconds
                );
            }
            answers.push(answer);
        }
    }
    let ended = child.wait_with_output()?;
    if !ended.status.success() {
        let complaint = String::from_utf8_lossy(&ended.stderr);
        return Err(format!("the report failed: {complaint}").into());
    }
    Ok(answers)
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

fn rendered(answer: &Answer) -> String {
    let heads: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let cells = |row: &Value| heads.iter().map(|head| cell(&row[head])).collect();
    table::render(&heads, &answer.rows.iter().map(cells).collect::<Vec<_>>())
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

fn render_published(rows: &[published::Row]) -> String {
    let cells = |row: &published::Row| {
        let texts = [
            row.figure,
            row.published,
            &row.simulated,
            &row.ours,
            row.source,
        ];
        texts.map(str::to_owned).into()
    };
    let heads = [
        "published figure",
        "published",
        "simulated",
        "our spans",
        "source",
    ];
    table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn render(stored: &InClickHouse) -> String {
    let heads = [
        "question",
        "rows",
        "equal",
        "DuckDB s",
        "columns s",
        "MB read",
        "map s",
        "MB read",
        "days s",
        "MB read",
    ];
    #[expect(clippy::cast_precision_loss, reason = "shown in megabytes")]
    let megabytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1e6);
    let seconds = |seconds: f64| format!("{seconds:.3}");
    let cells = |asked: &Asked| {
        vec![
            asked.question.replace('_', " "),
            asked.rows.to_string(),
            if asked.is_equal { "yes" } else { "NO" }.to_owned(),
            seconds(asked.duckdb_seconds),
            seconds(asked.seconds),
            megabytes(asked.bytes_read),
            seconds(asked.map_seconds),
            megabytes(asked.map_bytes_read),
            seconds(asked.daily_seconds),
            megabytes(asked.daily_bytes_read),
        ]
    };
    let questions: Vec<_> = stored.questions.iter().map(cells).collect();
    let cells = |row: &Deployed| {
        let verdict = match &row.skipped {
            Some(why) => format!("skipped: {why}"),
            None if row.faults.is_empty() => "right".to_owned(),
            None => "WRONG".to_owned(),
        };
        vec![row.check.clone(), verdict, format!("{:.1}", row.seconds)]
    };
    let by_detail = stored.bytes_by_detail.iter();
    let by_detail: String = by_detail
        .map(|(detail, bytes)| {
            format!("{bytes:.1} bytes per attempt with the attributes of Detail `{detail}`\n")
        })
        .collect();
    let deployed: Vec<_> = stored.deployed.iter().map(cells).collect();
    format!(
        "ClickHouse beside DuckDB\n\n{}\n{}\n{} attempts through the collector, {} written in bulk, in {:.1} s; \
         {:.1} bytes per attempt, of which {:.1} are our columns; {} rows of days, {:.3} bytes per attempt\n",
        table::render(&heads, &questions),
        table::render(&["deployed beside", "", "s"], &deployed),
        stored.through_the_collector,
        stored.written_in_bulk,
        stored.fill_seconds,
        stored.bytes_per_attempt,
        stored.bytes_per_attempt_of_columns,
        stored.daily_rows,
        stored.daily_bytes_per_attempt,
    ) + &by_detail
}
