//! The benches of the crates themselves: nat-summary's by criterion, whose estimates are read from
//! its own files, and otel-nat's, which counts allocations too.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::plot::{self, Plot, Scale};
use super::progress::Progress;
use super::{Good, Section, Spread, Target};
use crate::{Failure, bounds, root, workspace};

/// A bench of ours, the bench beside it, and its bounds: nanoseconds at most, and the least ratio.
struct Pair {
    ours: &'static str,
    beside: Option<&'static str>,
    nanoseconds: Option<f64>,
    faster: Option<f64>,
}

const PAIRS: [Pair; 5] = [
    Pair {
        ours: "judge 6 candidates/nat-summary",
        beside: Some("judge 6 candidates/hash maps"),
        nanoseconds: Some(bounds::JUDGE_NS),
        faster: Some(bounds::JUDGE_FASTER),
    },
    Pair {
        ours: "judge 6 candidates/nat-summary, evidence at hand",
        beside: Some("judge 6 candidates/hash maps, evidence at hand"),
        nanoseconds: None,
        faster: None,
    },
    Pair {
        ours: "judge 5 servers on one base/nat-summary",
        beside: Some("judge 5 servers on one base/hash maps"),
        nanoseconds: Some(bounds::JUDGE_NS),
        faster: Some(bounds::JUDGE_FASTER),
    },
    Pair {
        ours: "judge 5 servers on one base/nat-summary, evidence at hand",
        beside: Some("judge 5 servers on one base/hash maps, evidence at hand"),
        nanoseconds: None,
        faster: None,
    },
    Pair {
        ours: "parse a line",
        beside: None,
        nanoseconds: Some(bounds::PARSE_NS),
        faster: None,
    },
];

/// Criterion's file of a bench.
#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
}

#[derive(Deserialize)]
struct Sample {
    iters: Vec<f64>,
    times: Vec<f64>,
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// A bench as it was measured, in nanoseconds.
#[derive(Debug, Serialize)]
struct Bench {
    name: String,
    nanoseconds: Spread,
    /// Of the median, at 95 %: criterion's own, where it ran the bench.
    interval: Option<[f64; 2]>,
    allocations: Option<usize>,
    #[serde(skip)]
    each: Vec<f64>,
}

/// The output of the emission bench.
#[derive(Deserialize)]
struct Emission {
    cheaper: f64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    nanoseconds: Vec<f64>,
    allocations: usize,
    most_allocations: Option<usize>,
}

pub(super) fn run() -> Result<Section, Failure> {
    let judged = judge_benches()?;
    let emission = emission()?;
    let (mut rows, mut bars, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for pair in &PAIRS {
        let find = |name: &str| {
            judged
                .iter()
                .find(|bench| bench.name == name)
                .ok_or_else(|| format!("criterion has no `{name}`"))
        };
        let ours = find(pair.ours)?;
        let beside = pair.beside.map(find).transpose()?;
        // criterion runs one after the other: any sample may stand against any
        let ratio = beside.map(|beside| Spread::of_any(&beside.each, &ours.each));
        if let Some(most) = pair.nanoseconds {
            let Spread {
                p10, median, p90, ..
            } = ours.nanoseconds;
            targets.push(Target::time(
                ours.name.clone(),
                format!("< {most} ns"),
                format!("{median:.1} ns ({p10:.1} to {p90:.1})"),
                median < most,
            ));
        }
        if let Some((ratio, faster)) = ratio.zip(pair.faster) {
            let what = format!("{}: faster than hash maps", ours.name);
            targets.push(Target::ratio(
                what,
                ratio,
                Good::AtLeast(faster),
                Good::AtLeast(bounds::JUDGE_FASTER_GATE),
            ));
        }
        rows.extend(cells(ours, beside, ratio));
        bars.extend([Some(ours), beside].into_iter().flatten().map(bar));
    }
    let mut emitted = Vec::new();
    for pair in emission.cases.chunks(2) {
        let [ours, theirs] = pair else { continue };
        // they take turns
        let ratio = Spread::of_pairs(&theirs.nanoseconds, &ours.nanoseconds);
        targets.push(Target::ratio(
            format!("{}: cheaper than tracing-opentelemetry", ours.name),
            ratio,
            Good::AtLeast(emission.cheaper),
            Good::AtLeast(bounds::EMISSION_CHEAPER_GATE),
        ));
        if let Some(most) = ours.most_allocations {
            targets.push(Target::count(
                format!("{}: allocations", ours.name),
                format!("<= {most}"),
                ours.allocations,
                ours.allocations <= most,
            ));
        }
        let [ours, theirs] = [ours, theirs].map(Bench::of);
        rows.extend(cells(&ours, Some(&theirs), Some(ratio)));
        bars.extend([&ours, &theirs].map(bar));
        emitted.extend([ours, theirs]);
    }
    let heads = vec![
        "bench",
        "ns p10",
        "median",
        "p90",
        "95 % of the median",
        "allocations",
        "times faster than beside it",
    ];
    Ok(Section {
        tables: vec![(heads, rows)],
        plots: vec![plot(bars)],
        targets,
        figures: serde_json::json!({ "nat-summary": judged, "otel-nat": emitted }),
        ..Section::default()
    })
}

impl Bench {
    fn of(case: &Case) -> Self {
        Self {
            name: case.name.clone(),
            nanoseconds: Spread::of(case.nanoseconds.clone()),
            interval: None,
            allocations: Some(case.allocations),
            each: Vec::new(),
        }
    }

    fn is_ours(&self) -> bool {
        !self.name.contains("hash maps") && !self.name.starts_with("tracing")
    }
}

/// A line for our bench with its ratio, and one for the bench beside it.
fn cells(ours: &Bench, beside: Option<&Bench>, ratio: Option<Spread>) -> Vec<Vec<String>> {
    let dash = || "-".to_owned();
    let line = |bench: &Bench, ratio: Option<Spread>| {
        let Spread {
            p10, median, p90, ..
        } = bench.nanoseconds;
        let mut cells = vec![bench.name.clone()];
        cells.extend([p10, median, p90].map(|ns| format!("{ns:.1}")));
        cells.push(
            bench
                .interval
                .map_or_else(dash, |[low, high]| format!("{low:.1} to {high:.1}")),
        );
        cells.push(bench.allocations.map_or_else(dash, |n| n.to_string()));
        cells.push(ratio.map_or_else(dash, Spread::times));
        cells
    };
    [line(ours, ratio)]
        .into_iter()
        .chain(beside.map(|beside| line(beside, None)))
        .collect()
}

fn bar(bench: &Bench) -> plot::Row {
    // the axis has room for so much
    let label = bench
        .name
        .replace(" on one base", "")
        .replace("evidence at hand", "at hand");
    plot::Row::new(
        label,
        bench.nanoseconds,
        bench.is_ours(),
        format!("{:.0} ns", bench.nanoseconds.median),
    )
}

fn plot(rows: Vec<plot::Row>) -> Plot {
    Plot {
        title: "Nanoseconds each",
        axis: "nanoseconds, each line ten times the one before; less is better",
        scale: Scale::Powers,
        rows,
        lines: Vec::new(),
    }
}

fn bench(package: &str, name: &str) -> Command {
    let mut command = workspace::cargo();
    command
        .args(["bench", "--quiet", "--package", package, "--bench", name])
        .current_dir(root());
    command
}

/// Criterion writes into a folder that is empty before, so that nothing is read from another run.
fn judge_benches() -> Result<Vec<Bench>, Failure> {
    let folder = super::report::folder()?.join("criterion");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let mut progress = Progress::of("nat-summary, by criterion");
    let mut running = bench("nat-summary", "judge")
        .env("CRITERION_HOME", &folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    for line in BufReader::new(running.stdout.take().ok_or("no output")?).lines() {
        // a name begins its line; indented lines belong to that name
        match line?.split("  ").next() {
            None | Some("") => {}
            Some(name) => progress.say(name),
        }
    }
    let status = running.wait()?;
    if !status.success() {
        return Err(format!("`cargo bench -p nat-summary --bench judge` failed: {status}").into());
    }
    let mut benches = Vec::new();
    for new in found(&folder, "new")? {
        let benchmark: Benchmark = read(&new.join("benchmark.json"))?;
        let sample: Sample = read(&new.join("sample.json"))?;
        let Estimates {
            median:
                Estimate {
                    point_estimate,
                    confidence_interval: interval,
                },
        } = read(&new.join("estimates.json"))?;
        let each: Vec<_> = sample
            .times
            .iter()
            .zip(&sample.iters)
            .map(|(time, iters)| time / iters)
            .collect();
        benches.push(Bench {
            name: benchmark.full_id,
            nanoseconds: Spread {
                median: point_estimate,
                ..Spread::of(each.clone())
            },
            interval: Some([interval.lower_bound, interval.upper_bound]),
            allocations: None,
            each,
        });
    }
    benches.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(benches)
}

/// Every folder below that is called so.
fn found(folder: &Path, name: &str) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.ends_with(name) {
                found.push(path)
            } else {
                found.extend(self::found(&path, name)?)
            }
        }
    }
    Ok(found)
}

fn read<T: for<'a> Deserialize<'a>>(file: &Path) -> Result<T, Failure> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()).into())
}

fn emission() -> Result<Emission, Failure> {
    let _progress = Progress::of("otel-nat, emission");
    let output = bench("otel-nat", "emission")
        .args(["--", "--json"])
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "`cargo bench -p otel-nat` failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
