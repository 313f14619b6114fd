//! `leak`: the leftovers of each path of each crate: live heap bytes, tasks, descriptors, and
//! memory per cycle.
//!
//! Each path is walked in a process of its own, because a path could hide the leftovers of another.

mod paths;
mod plot;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use self::paths::Path;
pub(crate) use self::paths::consumer_fsm::churn;
use crate::meter::{Measured, Meter};
use common::commands::{Leak, LeakPath};

use crate::{Failure, bounds, root, runtime, table};

/// Paths walked at once. Several run together, because each mostly waits. In a build without
/// optimisation fewer do, because the handshakes of the data channel would be too slow.
const AT_ONCE: usize = if cfg!(debug_assertions) { 2 } else { 4 };
/// Cycles of a planted leak: enough for each look to see some.
const PLANTED_CYCLES: u32 = 60;

/// One line of the result.
#[derive(Debug, Serialize)]
struct Row {
    path: &'static str,
    #[serde(flatten)]
    measured: Measured,
    verdict: Verdict,
    #[serde(skip)]
    beside: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Clean,
    Leaks,
    /// The path was not taken, or its telemetry was wrong.
    Wrong,
    /// Planted, and seen.
    Caught,
    /// Planted, and not seen.
    Missed,
    /// For comparison only.
    Stock,
}

impl Verdict {
    const fn text(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Leaks => "LEAKS",
            Self::Wrong => "WRONG",
            Self::Caught => "caught",
            Self::Missed => "MISSED",
            Self::Stock => "stock",
        }
    }

    const fn is_good(self) -> bool {
        matches!(self, Self::Clean | Self::Caught | Self::Stock)
    }
}

/// A line that the process of one path prints.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Cycles(u32),
    Measured(Box<Measured>),
    Failed(String),
}

pub(crate) fn run(options: &Leak) -> Result<bool, Failure> {
    if cfg!(not(all(feature = "channel", feature = "collector"))) && !options.self_test {
        eprintln!(
            "skipped: paths of a data channel or a pipeline, which this program is built without"
        );
    }
    if options.list {
        paths::ours()
            .chain(paths::stock())
            .for_each(|path| println!("{}", path.name));
        return Ok(true);
    }
    let started = Instant::now();
    let is_part_of = |part: &str, path: &Path| !part.is_empty() && path.name.contains(part);
    let is_named = |path: &&Path| {
        options.only.is_empty()
            || options
                .only
                .iter()
                .any(|part| is_part_of(part.trim(), path))
    };
    let cycles = options.cycles.unwrap_or(bounds::LEAK_CYCLES).max(20);
    let mut paths: Vec<&Path> = Vec::new();
    if !options.self_test {
        if !common::needs::has_coturn() {
            eprintln!(
                "skipped: paths through coturn, which is not installed; `cargo xtask lab --install` does"
            );
        }
        paths.extend(paths::ours().filter(is_named));
        if paths.is_empty() {
            let names: Vec<_> = paths::ours().map(|path| path.name).collect();
            return Err(format!(
                "no path is called like that; there are:\n{}",
                names.join("\n")
            )
            .into());
        }
        let beside: Vec<_> = paths.iter().filter_map(|path| path.beside).collect();
        if !options.no_stock {
            paths.extend(paths::stock().filter(|path| beside.contains(&path.name)));
        }
    }
    // first, because a meter that misses a planted leak proves nothing
    let planted = walk(&paths::planted().collect::<Vec<_>>(), PLANTED_CYCLES)?;
    let is_seen = planted.iter().all(|row| row.verdict.is_good());
    let mut rows = planted;
    if is_seen {
        rows.extend(walk(&paths, cycles)?);
    }
    let passed = rows.iter().all(|row| row.verdict.is_good());
    let report = plot::write(&root(), &rows)?;
    let seconds = started.elapsed().as_secs_f64();
    if options.json {
        println!(
            "{:#}",
            serde_json::json!({ "passed": passed, "seconds": seconds, "paths": rows })
        );
        return Ok(passed);
    }
    println!("{}", render(&rows));
    for row in &rows {
        row.measured
            .faults
            .iter()
            .for_each(|fault| println!("{}: {fault}", row.path));
    }
    if !is_seen {
        println!("The check missed a planted leak, so nothing else was measured.");
    }
    println!(
        "{} paths in {seconds:.0} s; plots: {}",
        rows.len(),
        report.display()
    );
    Ok(passed)
}

/// `leak-path PATH --cycles N`: walks one path in this process and prints its progress line by
/// line, to be read by `leak`.
pub(crate) fn walk_one(options: &LeakPath) -> Result<bool, Failure> {
    let all = || paths::planted().chain(paths::ours()).chain(paths::stock());
    let path = all()
        .find(|path| path.name == options.path)
        .ok_or("there is no such path")?;
    // a path that leaks by design never settles, so it is not waited for
    let is_patient = paths::stock()
        .chain(paths::planted())
        .all(|other| other.name != path.name);
    let cycles = options.cycles.unwrap_or(bounds::LEAK_CYCLES).min(path.most);
    let meter = Meter {
        cycles,
        is_patient,
        tell: |done| print(&Line::Cycles(done)),
    };
    // the buffer of the first line would count as a leak
    print(&Line::Cycles(0));
    match runtime()?.block_on((path.walk)(meter)) {
        Ok(measured) => print(&Line::Measured(Box::new(measured))),
        Err(error) => print(&Line::Failed(error.to_string())),
    }
    Ok(true)
}

fn print(line: &Line) {
    // an error is ignored, because the process that reads the lines may be gone
    let line = serde_json::to_string(line).unwrap_or_default();
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Walks every path, some at once, and returns them in order.
fn walk(paths: &[&'static Path], cycles: u32) -> Result<Vec<Row>, Failure> {
    let waiting: Mutex<VecDeque<(usize, &'static Path)>> =
        Mutex::new(paths.iter().copied().enumerate().collect());
    let done: Mutex<Vec<(usize, Row)>> = Mutex::new(Vec::with_capacity(paths.len()));
    let work = || -> Result<(), Failure> {
        while let Some((place, path)) = {
            waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        } {
            let row = walk_elsewhere(path, cycles)?;
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!(
                "{}[{} of {}] {}",
                start_of_line(),
                done.len() + 1,
                paths.len(),
                line(&row)
            );
            done.push((place, row));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a walk ended in a panic")?)
    })?;
    let mut rows = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|(place, _)| *place);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// Walks one path in a process of its own.
fn walk_elsewhere(path: &'static Path, cycles: u32) -> Result<Row, Failure> {
    let mut process = Command::new(std::env::current_exe()?)
        .args(["leak-path", path.name, "--cycles", &cycles.to_string()])
        // no backtraces, because the symbols that a backtrace loads stay in memory and look like a
        // leak
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut end = None;
    for line in BufReader::new(process.stdout.take().ok_or("no output")?).lines() {
        match serde_json::from_str(&line?) {
            Ok(Line::Cycles(done)) if std::io::stderr().is_terminal() => {
                eprint!(
                    "{}{}: {done} of {}",
                    start_of_line(),
                    path.name,
                    cycles.min(path.most)
                );
            }
            Ok(Line::Measured(measured)) => end = Some(*measured),
            Ok(Line::Failed(error)) => end = Some(Measured::nothing(error)),
            Ok(Line::Cycles(_)) | Err(_) => {}
        }
    }
    let status = process.wait()?;
    // one walk that fails does not take the others with it
    let measured =
        end.unwrap_or_else(|| Measured::nothing(format!("it ended without a word, {status}")));
    let verdict = judge(path, &measured);
    Ok(Row {
        path: path.name,
        measured,
        verdict,
        beside: path.beside,
    })
}

fn start_of_line() -> &'static str {
    if std::io::stderr().is_terminal() {
        "\r\x1b[K"
    } else {
        ""
    }
}

fn judge(path: &Path, measured: &Measured) -> Verdict {
    let is = |mut paths: Box<dyn Iterator<Item = &'static Path>>| {
        paths.any(|other| other.name == path.name)
    };
    if is(Box::new(paths::planted())) {
        // exactly the planted leak, once per cycle
        let (planted, leaks) = (i64::from(measured.cycles), !measured.is_clean());
        let caught = match path.name {
            "planted: a byte" => {
                leaks
                    && bounds::PLANTED_BYTES.contains(&measured.bytes_per_cycle)
                    && measured.tasks <= 0
            }
            "planted: a task" => leaks && measured.tasks >= planted && measured.descriptors <= 0,
            "planted: a panic" => !leaks && measured.faults == ["1 panics"],
            _ => leaks && measured.descriptors >= planted && measured.tasks <= 0,
        };
        if caught {
            Verdict::Caught
        } else {
            Verdict::Missed
        }
    } else if is(Box::new(paths::stock())) {
        Verdict::Stock
    } else if !measured.is_clean() {
        Verdict::Leaks
    } else if !measured.faults.is_empty() {
        Verdict::Wrong
    } else {
        Verdict::Clean
    }
}

fn line(row: &Row) -> String {
    let Measured {
        cycles,
        seconds,
        bytes_per_cycle,
        tasks,
        descriptors,
        ..
    } = &row.measured;
    let verdict = row.verdict.text();
    let path = row.path;
    format!(
        "{path}: {verdict}; {bytes_per_cycle:.3} bytes per cycle, {tasks} tasks and {descriptors} descriptors left, {cycles} cycles in {seconds:.0} s"
    )
}

fn render(rows: &[Row]) -> String {
    let heads = [
        "path",
        "cycles",
        "s",
        "bytes/cycle",
        "tasks",
        "descriptors",
        "RSS bytes/cycle",
        "spans",
        "as intended",
        "",
    ];
    let cells = |row: &Row| {
        let m = &row.measured;
        vec![
            row.path.to_owned(),
            m.cycles.to_string(),
            format!("{:.0}", m.seconds),
            format!("{:.3}", m.bytes_per_cycle),
            m.tasks.to_string(),
            m.descriptors.to_string(),
            format!("{:.0}", m.resident_per_cycle),
            m.spans
                .map_or_else(|| "-".to_owned(), |spans| spans.to_string()),
            format!("{} of {}", m.as_intended, m.walked),
            row.verdict.text().to_owned(),
        ]
    };
    table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}
