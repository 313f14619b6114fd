//! `bench`: the costs of the libraries, measured beside alternatives in the same run, and their
//! bounds.
//!
//! Counts decide, because they are the same on every machine. Times do not decide: the report shows
//! their ratios with their spread, and a ratio fails only beyond a gate that no busy machine
//! explains.

mod baseline;
mod counts;
mod criterion;
mod data_path;
mod delayed;
mod gather;
mod peer;
mod plot;
mod progress;
mod report;
mod scale;

use serde::Serialize;
use serde_json::{Value, json};

use self::baseline::{Baseline, Counts};
use self::plot::Plot;
use common::commands::{Bench, BenchPart};

use crate::{Failure, runtime, table};

/// Each part, and its subject.
const PARTS: [(BenchPart, &str); 6] = [
    (
        BenchPart::Gather,
        "How long until a verdict, and with how many packets, sockets and bytes? Five STUN servers 20 ms away, beside stock \
         webrtc-ice on the same servers.",
    ),
    (
        BenchPart::Path,
        "What does a base take from the datagrams of a connection? Datagrams per second through it, beside a bare socket and \
         stock webrtc-ice.",
    ),
    (
        BenchPart::Peer,
        "The cost of reading the peer's checks in passing: the same base with and without it, read in turns.",
    ),
    (
        BenchPart::Scale,
        "The heap and the time of one gathering when many run at once in one process.",
    ),
    (
        BenchPart::Criterion,
        "How long does one verdict, one line, one emission take? The judge beside the same rules on hash maps, the telemetry \
         beside tracing-opentelemetry.",
    ),
    (
        BenchPart::Counts,
        "What can be counted is the same on every machine: allocations, packets, sockets, and the judge's instructions by \
         callgrind. Compared with a saved baseline.",
    ),
];

/// The results of a part.
#[derive(Debug, Default)]
struct Section {
    tables: Vec<(Vec<&'static str>, Vec<Vec<String>>)>,
    plots: Vec<Plot>,
    targets: Vec<Target>,
    /// Further remarks.
    notes: Vec<String>,
    counts: Counts,
    /// All of it, for programs.
    figures: Value,
}

pub(crate) fn run(options: &Bench) -> Result<bool, Failure> {
    let is_chosen = |name: &BenchPart| options.part.is_none_or(|part| part == *name);
    let chosen: Vec<_> = PARTS.iter().filter(|(name, _)| is_chosen(name)).collect();
    let baseline = Baseline::read()?;
    if options.compare && baseline.is_none() {
        return Err("no baseline yet: `cargo xtask bench --save`".into());
    }
    let baseline = baseline.unwrap_or_default();
    let json = options.json;
    let mut sections = Vec::new();
    for (place, (name, _)) in chosen.iter().enumerate() {
        eprintln!("[{} of {}] {name}", place + 1, chosen.len());
        // a runtime of its own, because stock webrtc-ice leaves tasks behind, and they allocate;
        // they end with the runtime
        let section = runtime()?.block_on(measure(*name, &baseline, options.compare))?;
        if !json {
            println!("{}", section.show(&baseline));
        }
        sections.push(section);
    }
    let passed = sections.iter().all(|section| pass(&section.targets));
    let named: Vec<_> = chosen
        .iter()
        .map(|(name, _)| *name)
        .zip(&sections)
        .collect();
    let page = report::write(options.part, &named, &baseline)?;
    if json {
        let parts: serde_json::Map<_, _> = named
            .iter()
            .map(|(name, s)| (name.to_string(), s.json()))
            .collect();
        println!(
            "{:#}",
            json!({ "passed": passed, "parts": parts, "baseline": baseline, "report": page })
        );
    } else {
        println!("report: {}", page.display());
    }
    if options.save {
        baseline.save(&sections)?;
    }
    Ok(passed)
}

async fn measure(part: BenchPart, baseline: &Baseline, compares: bool) -> Result<Section, Failure> {
    match part {
        BenchPart::Gather => gather::run().await,
        BenchPart::Path => data_path::run().await,
        BenchPart::Peer => peer::run().await,
        BenchPart::Scale => scale::run().await,
        BenchPart::Criterion => criterion::run(),
        BenchPart::Counts => counts::run(&baseline.counts, compares).await,
    }
}

impl Section {
    fn show(&self, baseline: &Baseline) -> String {
        let mut out = String::new();
        for (heads, rows) in &self.tables {
            out += &table::render(heads, rows);
            out.push('\n');
        }
        if !self.targets.is_empty() {
            out += &table::render(&TARGET_HEADS, &target_rows(&self.targets, baseline));
        }
        self.notes
            .iter()
            .for_each(|note| out += &format!("{note}\n"));
        out
    }

    fn json(&self) -> Value {
        json!({ "passed": pass(&self.targets), "figures": self.figures, "targets": self.targets, "notes": self.notes })
    }
}

/// How figures of one kind lie.
#[derive(Debug, Clone, Copy, Serialize)]
struct Spread {
    p10: f64,
    median: f64,
    p90: f64,
    max: f64,
}

impl Spread {
    fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = figures.len().saturating_sub(1);
            figures
                .get((share * last as f64).round() as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        Self {
            p10: at(0.1),
            median: at(0.5),
            p90: at(0.9),
            max: at(1.0),
        }
    }

    /// The spread of `these` against `those`, which were measured in turns, pair by pair, because
    /// other work of the machine then fell on both.
    fn of_pairs(these: &[f64], those: &[f64]) -> Self {
        Self::of(
            these
                .iter()
                .zip(those)
                .map(|(this, that)| this / that)
                .collect(),
        )
    }

    /// The spread where the two were not measured in turns: any of `these` against any of `those`.
    fn of_any(these: &[f64], those: &[f64]) -> Self {
        Self::of(
            these
                .iter()
                .flat_map(|this| those.iter().map(move |that| this / that))
                .collect(),
        )
    }

    /// As a ratio and its spread.
    fn times(self) -> String {
        let [low, high] = [self.p10, self.p90].map(|end| digits(end, self.median));
        format!("{} ({low} to {high})", times(self.median))
    }
}

/// A ratio with its significant digits.
fn times(ratio: f64) -> String {
    format!("{} x", digits(ratio, ratio))
}

fn digits(figure: f64, of: f64) -> String {
    if of < 10.0 {
        format!("{figure:.3}")
    } else {
        format!("{figure:.1}")
    }
}

/// A bound beside the measured figure.
#[derive(Debug, Serialize)]
struct Target {
    what: String,
    target: String,
    measured: String,
    met: bool,
    /// Whether the exit status says so too. Times of a machine that others use as well do not
    /// decide alone.
    gates: bool,
    ratio: Option<Spread>,
}

/// The good side of a bound.
#[derive(Debug, Clone, Copy)]
enum Good {
    AtLeast(f64),
    AtMost(f64),
}

impl Good {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
        }
    }
}

impl Target {
    /// A count: the same on every machine.
    fn count(
        what: impl Into<String>,
        target: impl ToString,
        measured: impl ToString,
        met: bool,
    ) -> Self {
        let (target, measured) = (target.to_string(), measured.to_string());
        Self {
            what: what.into(),
            target,
            measured,
            met,
            gates: true,
            ratio: None,
        }
    }

    /// A time: reported as met or not, and never a failure.
    fn time(what: impl Into<String>, target: String, measured: String, met: bool) -> Self {
        Self {
            what: what.into(),
            target,
            measured,
            met,
            gates: false,
            ratio: None,
        }
    }

    /// A ratio of times: reported as met or not, by its median, and a failure only where `gate`
    /// does not hold.
    fn ratio(what: impl Into<String>, spread: Spread, good: Good, gate: Good) -> Self {
        Self {
            what: what.into(),
            target: match good {
                Good::AtLeast(least) => format!(">= {least} x"),
                Good::AtMost(most) => format!("<= {most} x"),
            },
            measured: spread.times(),
            met: good.holds(spread.median),
            gates: !gate.holds(spread.median),
            ratio: Some(spread),
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.met, self.gates, self.ratio) {
            (true, ..) => "met",
            (false, true, _) => "UNMET",
            (false, false, Some(_)) => "unmet, within the gate",
            (false, false, None) => "unmet, shown only",
        }
    }
}

/// Whether none of them fails the command.
fn pass(targets: &[Target]) -> bool {
    targets.iter().all(|target| target.met || !target.gates)
}

const TARGET_HEADS: [&str; 5] = ["bound", "target", "measured (p10 to p90)", "baseline", ""];

fn target_rows(targets: &[Target], baseline: &Baseline) -> Vec<Vec<String>> {
    let row = |t: &Target| {
        // one that has no ratio has nothing in the baseline either
        let before = baseline
            .ratios
            .get(&t.what)
            .map_or_else(|| "-".to_owned(), |median| times(*median));
        vec![
            t.what.clone(),
            t.target.clone(),
            t.measured.clone(),
            before,
            t.verdict().to_owned(),
        ]
    };
    targets.iter().map(row).collect()
}

/// Live bytes of the heap.
fn live_bytes() -> i64 {
    let heap = crate::ALLOCATOR.stats();
    let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    signed(heap.bytes_allocated) - signed(heap.bytes_deallocated)
}

/// Allocations so far, growing ones included.
fn allocations() -> usize {
    let heap = crate::ALLOCATOR.stats();
    heap.allocations + heap.reallocations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_read_off_the_sorted_figures() {
        let spread = Spread::of((0..=100).rev().map(f64::from).collect());
        assert_eq!(
            (spread.p10, spread.median, spread.p90, spread.max),
            (10.0, 50.0, 90.0, 100.0)
        );
    }

    #[test]
    fn what_was_measured_in_turns_is_compared_in_turns() {
        // both are slow in the second turn
        let (these, those) = ([1.0, 10.0, 1.0], [2.0, 20.0, 2.0]);
        assert_eq!(Spread::of_pairs(&these, &those).max, 0.5);
        assert_eq!(Spread::of_any(&these, &those).max, 5.0);
    }

    #[test]
    fn a_missed_count_fails_and_a_ratio_only_beyond_its_gate() {
        let count = |met| Target::count("packets", 5, 5, met);
        let ratio = |median: f64| {
            Target::ratio(
                "ratio",
                Spread::of(vec![median]),
                Good::AtMost(1.1),
                Good::AtMost(1.5),
            )
        };
        assert!(pass(&[
            count(true),
            ratio(1.0),
            ratio(1.2),
            Target::time("ns", String::new(), String::new(), false)
        ]));
        assert!(!pass(&[count(false)]));
        assert!(!pass(&[ratio(1.6)]));
        assert_eq!(ratio(1.2).verdict(), "unmet, within the gate");
    }
}
