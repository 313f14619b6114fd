//! Many gatherings at once in one process: all decided, and no more heap each than a few.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ice_gather::{Base, GatherConfig, StunServer};
use nat_summary::Mapping;
use serde::Serialize;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::delayed::{Delayed, Path};
use super::plot::{self, Plot, Scale};
use super::progress::Progress;
use super::{Good, Section, Spread, Target, live_bytes};
use crate::{Failure, bounds, peers};

const SERVERS: u8 = 5;
const PATH: Path = Path {
    round_trip: Duration::from_millis(20),
    loss: 0.0,
    is_dead: false,
    seed: 0,
};
/// Each number of gatherings so often: a peak is one figure a round.
const ROUNDS: usize = 5;
/// How often the heap is looked at on the way.
const LOOK: Duration = Duration::from_millis(1);

#[derive(Debug, Serialize)]
struct Row {
    at_once: usize,
    rounds: usize,
    milliseconds: Spread,
    /// In all rounds.
    decided: usize,
    packets_per_gather: f64,
    /// Most live heap bytes on the way, per gathering.
    peak_heap_bytes: Spread,
    /// Live heap bytes per gathering once all are complete, and held.
    held_heap_bytes: Spread,
    /// Live heap bytes per gathering once all are dropped.
    left_heap_bytes: Spread,
}

/// The same of one round.
struct Measured {
    at_once: usize,
    milliseconds: Vec<f64>,
    decided: usize,
    packets: u32,
    peak: i64,
    held: i64,
    left: i64,
}

pub(super) async fn run() -> Result<Section, Failure> {
    let responders = Delayed::cohort(SERVERS, 0, PATH)?;
    let servers: Arc<[StunServer]> = responders.iter().map(Delayed::server).collect();
    // a small run first, to warm up
    measure(10, &servers).await?;
    let mut progress = Progress::of("gatherings at once, rounds");
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        progress.at(round, ROUNDS);
        let mut measured = Vec::new();
        for at_once in bounds::GATHERS_AT_ONCE {
            measured.push(measure(at_once, &servers).await?);
        }
        rounds.push(measured);
    }
    drop(progress);
    let rows: Vec<Row> = (0..bounds::GATHERS_AT_ONCE.len())
        .filter_map(|place| Row::of(&rounds.iter().map(|round| &round[place]).collect::<Vec<_>>()))
        .collect();
    let heads = vec![
        "gathers at once",
        "rounds",
        "ms p10",
        "median",
        "p90",
        "max",
        "decided",
        "packets/gather",
        "peak KiB each",
        "held KiB each",
        "left KiB each",
    ];
    Ok(Section {
        tables: vec![(heads, rows.iter().map(cells).collect())],
        plots: vec![plot(&rows)],
        targets: judge(&rows, &rounds),
        figures: serde_json::json!(rows),
        ..Section::default()
    })
}

impl Row {
    /// One row from the rounds: the times of all gatherings, and the medians of figures per round.
    fn of(rounds: &[&Measured]) -> Option<Self> {
        let each =
            |of: fn(&Measured) -> i64| Spread::of(rounds.iter().map(|m| of(m) as f64).collect());
        let at_once = rounds.first()?.at_once;
        let packets: u32 = rounds.iter().map(|m| m.packets).sum();
        Some(Self {
            at_once,
            rounds: rounds.len(),
            milliseconds: Spread::of(
                rounds
                    .iter()
                    .flat_map(|m| m.milliseconds.iter().copied())
                    .collect(),
            ),
            decided: rounds.iter().map(|m| m.decided).sum(),
            packets_per_gather: f64::from(packets) / (at_once * rounds.len()) as f64,
            peak_heap_bytes: each(|m| m.peak),
            held_heap_bytes: each(|m| m.held),
            left_heap_bytes: each(|m| m.left),
        })
    }
}

fn plot(rows: &[Row]) -> Plot {
    let kibibytes = |Spread {
                         p10,
                         median,
                         p90,
                         max,
                     }: Spread| {
        let of = |bytes: f64| bytes / 1024.0;
        Spread {
            p10: of(p10),
            median: of(median),
            p90: of(p90),
            max: of(max),
        }
    };
    let row = |row: &Row| {
        let peak = kibibytes(row.peak_heap_bytes);
        plot::Row::new(
            format!("{} at once", row.at_once),
            peak,
            true,
            format!("{:.1} KiB", peak.median),
        )
    };
    Plot {
        title: "Most live heap on the way, per gathering",
        axis: "KiB; the same whatever the number is best",
        scale: Scale::Linear,
        rows: rows.iter().map(row).collect(),
        lines: Vec::new(),
    }
}

fn cells(row: &Row) -> Vec<String> {
    let Spread {
        p10,
        median,
        p90,
        max,
    } = row.milliseconds;
    let kibibytes = |bytes: Spread| format!("{:.1}", bytes.median / 1024.0);
    let mut cells = vec![row.at_once.to_string(), row.rounds.to_string()];
    cells.extend([p10, median, p90, max].map(|ms| format!("{ms:.0}")));
    cells.extend([
        row.decided.to_string(),
        format!("{:.2}", row.packets_per_gather),
    ]);
    cells.extend(
        [
            row.peak_heap_bytes,
            row.held_heap_bytes,
            row.left_heap_bytes,
        ]
        .map(kibibytes),
    );
    cells
}

async fn measure(at_once: usize, servers: &Arc<[StunServer]>) -> Result<Measured, Failure> {
    let before = live_bytes();
    let start = Arc::new(Barrier::new(at_once));
    let mut gathers = JoinSet::new();
    for _ in 0..at_once {
        let (servers, start) = (Arc::clone(servers), Arc::clone(&start));
        gathers.spawn(async move {
            let base = Base::bind(peers::loopback()).await?;
            start.wait().await;
            let started = Instant::now();
            let gathering = base.gather(&servers, &GatherConfig::default()).await;
            Ok::<_, Failure>((base, gathering, started.elapsed()))
        });
    }
    let (mut peak, mut done) = (0, Vec::with_capacity(at_once));
    let mut look = tokio::time::interval(LOOK);
    while done.len() < at_once {
        tokio::select! {
            Some(joined) = gathers.join_next() => done.push(joined??),
            _ = look.tick() => peak = peak.max(live_bytes() - before),
        }
    }
    let held = live_bytes() - before;
    let decided = done
        .iter()
        .filter(|(_, g, _)| g.evidence.summary().mapping() != Mapping::Unknown)
        .count();
    let packets = done
        .iter()
        .map(|(_, gathering, _)| gathering.packets_sent)
        .sum();
    let milliseconds = done
        .iter()
        .map(|(_, _, elapsed)| elapsed.as_secs_f64() * 1e3)
        .collect();
    drop((done, gathers, start));
    let each = |bytes: i64| bytes / at_once as i64;
    Ok(Measured {
        at_once,
        milliseconds,
        decided,
        packets,
        peak: each(peak.max(held)),
        held: each(held),
        left: each(live_bytes() - before),
    })
}

fn judge(rows: &[Row], rounds: &[Vec<Measured>]) -> Vec<Target> {
    let listed =
        |figure: &dyn Fn(&Row) -> String| rows.iter().map(figure).collect::<Vec<_>>().join(", ");
    let peaks = |of: fn(&[Measured]) -> Option<&Measured>| -> Vec<f64> {
        rounds
            .iter()
            .filter_map(|round| Some(of(round)?.peak as f64))
            .collect()
    };
    // heap is a count, so its bound decides
    let heap = Good::AtMost(bounds::SCALE_HEAP);
    vec![
        Target::count(
            "many at once: decided",
            "all",
            listed(&|row| format!("{} of {}", row.decided, row.at_once * row.rounds)),
            rows.iter()
                .all(|row| row.decided == row.at_once * row.rounds),
        ),
        Target::ratio(
            "many at once: peak heap per gather, of a few's",
            Spread::of_pairs(&peaks(<[Measured]>::last), &peaks(<[Measured]>::first)),
            heap,
            heap,
        ),
    ]
}
