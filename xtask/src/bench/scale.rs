//! Many gatherings at once in one process: all decided, and no more heap each than a few.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ice_gather::{Base, BindConfig, GatherConfig, StunServer};
use nat_summary::Mapping;
use serde::Serialize;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::delayed::{Delayed, Path};
use super::{Spread, Target, live_bytes, pass, show};
use crate::{Failure, bounds, table};

const SERVERS: u8 = 5;
const PATH: Path = Path { round_trip: Duration::from_millis(20), loss: 0.0, is_dead: false, seed: 0 };
/// How often the heap is looked at on the way.
const LOOK: Duration = Duration::from_millis(1);

#[derive(Debug, Serialize)]
struct Row {
    at_once: usize,
    milliseconds: Spread,
    decided: usize,
    packets_per_gather: f64,
    /// Most live heap bytes on the way, per gathering.
    peak_heap_bytes: i64,
    /// Live heap bytes per gathering once all are complete, and held.
    held_heap_bytes: i64,
    /// Live heap bytes per gathering once all are dropped.
    left_heap_bytes: i64,
}

pub(crate) async fn run(json: bool) -> Result<bool, Failure> {
    let responders = Delayed::cohort(SERVERS, 0, PATH)?;
    let servers: Arc<[StunServer]> = responders.iter().map(Delayed::server).collect();
    // what is set up once
    measure(10, &servers).await?;
    let mut rows = Vec::new();
    for at_once in bounds::GATHERS_AT_ONCE {
        rows.push(measure(at_once, &servers).await?);
    }
    let targets = judge(&rows);
    let passed = pass(&targets);
    if json {
        println!("{:#}", serde_json::json!({ "passed": passed, "scale": rows, "targets": targets }));
    } else {
        let heads = [
            "gathers at once",
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
        println!("{}\n{}", table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>()), show(&targets));
    }
    Ok(passed)
}

fn cells(row: &Row) -> Vec<String> {
    let Spread { p10, median, p90, max } = row.milliseconds;
    let kibibytes = |bytes: i64| format!("{:.1}", bytes as f64 / 1024.0);
    let mut cells = vec![row.at_once.to_string()];
    cells.extend([p10, median, p90, max].map(|ms| format!("{ms:.0}")));
    cells.extend([row.decided.to_string(), format!("{:.2}", row.packets_per_gather)]);
    cells.extend([row.peak_heap_bytes, row.held_heap_bytes, row.left_heap_bytes].map(kibibytes));
    cells
}

async fn measure(at_once: usize, servers: &Arc<[StunServer]>) -> Result<Row, Failure> {
    let before = live_bytes();
    let start = Arc::new(Barrier::new(at_once));
    let mut gathers = JoinSet::new();
    for _ in 0..at_once {
        let (servers, start) = (Arc::clone(servers), Arc::clone(&start));
        gathers.spawn(async move {
            let base = Base::bind(BindConfig::address([127, 0, 0, 1].into())).await?;
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
    let decided = done.iter().filter(|(_, g, _)| g.evidence.summary().mapping() != Mapping::Unknown).count();
    let packets: u32 = done.iter().map(|(_, gathering, _)| gathering.packets_sent).sum();
    let milliseconds = Spread::of(done.iter().map(|(_, _, elapsed)| elapsed.as_secs_f64() * 1e3).collect());
    drop((done, gathers, start));
    let each = |bytes: i64| bytes / at_once as i64;
    Ok(Row {
        at_once,
        milliseconds,
        decided,
        packets_per_gather: f64::from(packets) / at_once as f64,
        peak_heap_bytes: each(peak.max(held)),
        held_heap_bytes: each(held),
        left_heap_bytes: each(live_bytes() - before),
    })
}

fn judge(rows: &[Row]) -> Vec<Target> {
    let listed = |figure: &dyn Fn(&Row) -> String| rows.iter().map(figure).collect::<Vec<_>>().join(", ");
    let (first, last) = (rows.first(), rows.last());
    let growth = first.zip(last).map_or(f64::NAN, |(a, b)| b.peak_heap_bytes as f64 / a.peak_heap_bytes as f64);
    vec![
        Target::count(
            "many at once: decided",
            "all",
            listed(&|row| format!("{} of {}", row.decided, row.at_once)),
            rows.iter().all(|row| row.decided == row.at_once),
        ),
        Target::count(
            "many at once: peak heap per gather, of a few's",
            format!("<= {} x", bounds::SCALE_HEAP),
            format!("{growth:.2} x"),
            growth <= bounds::SCALE_HEAP,
        ),
    ]
}
