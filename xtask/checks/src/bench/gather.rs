//! Time, answers, packets, sockets and heap of one gathering: ours and stock webrtc-ice's, on the
//! same servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ice_gather::{Base, GatherConfig, Gathering, StunServer};
use nat_summary::{Mapping, Outcome};
use serde::Serialize;
use tokio::task::JoinSet;

use super::delayed::{Delayed, Path};
use super::plot::{self, Plot, Scale};
use super::progress::Progress;
use super::{Good, Section, Spread, Target, live_bytes};
use crate::{Failure, bounds, peers, stock};

const SERVERS: u8 = 5;
const ROUND_TRIP: Duration = Duration::from_millis(20);
/// Gatherings kept alive at once to measure the memory of one.
const HELD: usize = 20;
/// A gathering that loses packets mostly waits: so many wait at once.
const AT_ONCE: usize = 25;
/// When sockets are counted: all requests are out, and no answer can be back.
const SOCKETS_OPEN: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Gatherer {
    Ours,
    /// Ours, set to wait for every server until the deadline.
    OursWaiting,
    Stock,
}

impl Gatherer {
    const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursWaiting => "ours, waiting for all",
            Self::Stock => "stock",
        }
    }
}

struct Case {
    name: &'static str,
    dead: u8,
    loss: f64,
    /// How often each gatherer gathers.
    gathers: &'static [(Gatherer, usize)],
}

const CASES: [Case; 3] = [
    Case {
        name: "5 live",
        dead: 0,
        loss: 0.0,
        gathers: &[(Gatherer::Ours, 60), (Gatherer::Stock, 60)],
    },
    Case {
        name: "1 of 5 dead",
        dead: 1,
        loss: 0.0,
        gathers: &[(Gatherer::Ours, 60), (Gatherer::Stock, 20)],
    },
    Case {
        name: "30 % loss each way",
        dead: 0,
        loss: 0.3,
        gathers: &[
            (Gatherer::Ours, 500),
            (Gatherer::OursWaiting, 100),
            (Gatherer::Stock, 100),
        ],
    },
];

#[derive(Debug, Serialize)]
struct Row {
    case: &'static str,
    gatherer: Gatherer,
    gathers: usize,
    milliseconds: Spread,
    /// The same, one by one.
    #[serde(skip)]
    each: Vec<f64>,
    /// Gatherings whose mapping is known at the end; stock gives none to judge by.
    decided: Option<usize>,
    decided_in_time: Option<usize>,
    /// Answers of live servers that the gathering ended without.
    answers_lost: usize,
    answers_possible: usize,
    packets: u64,
    sockets: usize,
    heap_bytes: i64,
}

struct Sample {
    elapsed: Duration,
    decided: Option<bool>,
    answered: usize,
    packets: Option<u32>,
}

/// A complete gathering, kept alive.
enum Held {
    Ours { _base: Base, _gathering: Gathering },
    Stock(stock::Gathered),
}

pub(super) async fn run() -> Result<Section, Failure> {
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for (number, case) in (0..).zip(&CASES) {
        let path = Path {
            round_trip: ROUND_TRIP,
            loss: case.loss,
            is_dead: false,
            seed: 1_000 * number,
        };
        let servers = Delayed::cohort(SERVERS, case.dead, path)?;
        rows.extend(measure(case, &servers, &mut targets).await?);
    }
    targets.extend(judge(&rows)?);
    Ok(Section {
        figures: serde_json::json!(rows),
        tables: vec![table(&rows)],
        plots: vec![plot(&rows)],
        targets,
        ..Section::default()
    })
}

async fn measure(
    case: &Case,
    servers: &[Delayed],
    targets: &mut Vec<Target>,
) -> Result<Vec<Row>, Failure> {
    let addresses: Arc<[SocketAddr]> = servers.iter().map(Delayed::address).collect();
    let live = usize::from(SERVERS - case.dead);
    let is_lossless = case.loss == 0.0;
    // the first of each kind is not counted, because it pays for the warm-up
    for (gatherer, _) in case
        .gathers
        .iter()
        .filter(|_| is_lossless && case.dead == 0)
    {
        batch(*gatherer, &addresses, 3).await?;
    }
    let mut samples: Vec<Vec<Sample>> = case.gathers.iter().map(|_| Vec::new()).collect();
    let mut packets = vec![0; case.gathers.len()];
    // in turns, so that both see the same machine; those that mostly wait, many at once
    let most = case
        .gathers
        .iter()
        .map(|(_, gathers)| *gathers)
        .max()
        .unwrap_or(0);
    let all = case.gathers.iter().map(|(_, gathers)| gathers).sum();
    let mut progress = Progress::of(case.name);
    for turn in 0..most {
        progress.at(samples.iter().map(Vec::len).sum(), all);
        for (place, (gatherer, gathers)) in case.gathers.iter().enumerate() {
            let waits = !is_lossless || (*gatherer == Gatherer::Stock && case.dead > 0);
            let size = if waits { AT_ONCE.min(*gathers) } else { 1 };
            if turn * size >= *gathers {
                continue;
            }
            let before = requests(servers);
            let (batch, held) = batch(*gatherer, &addresses, size).await?;
            let claimed: Option<u32> = batch.iter().map(|sample| sample.packets).sum();
            // stock sends each server one request, and reports no number
            let least = claimed.map_or(size as u64 * u64::from(SERVERS), u64::from);
            let arrived = arrived(servers, before + least).await - before;
            if let Some(claimed) =
                claimed.filter(|claimed| is_lossless && u64::from(*claimed) != arrived)
            {
                targets.push(Target::count(
                    "packets sent are counted",
                    arrived,
                    claimed,
                    false,
                ));
            }
            packets[place] += arrived;
            samples[place].extend(batch);
            close(held).await?;
        }
    }
    let mut rows = Vec::new();
    for (((gatherer, gathers), samples), packets) in case.gathers.iter().zip(samples).zip(packets) {
        let sockets = sockets_of(*gatherer, &addresses).await?;
        let heap_bytes = heap_of(*gatherer, &addresses).await?;
        let in_time = |s: &&Sample| s.decided == Some(true) && s.elapsed <= bounds::DECIDED_WITHIN;
        let is_judged = samples.iter().all(|s| s.decided.is_some());
        let each: Vec<_> = samples
            .iter()
            .map(|s| s.elapsed.as_secs_f64() * 1e3)
            .collect();
        rows.push(Row {
            case: case.name,
            gatherer: *gatherer,
            gathers: *gathers,
            milliseconds: Spread::of(each.clone()),
            each,
            decided: is_judged.then(|| samples.iter().filter(|s| s.decided == Some(true)).count()),
            decided_in_time: is_judged.then(|| samples.iter().filter(in_time).count()),
            answers_lost: samples.iter().map(|s| live - s.answered.min(live)).sum(),
            answers_possible: live * samples.len(),
            packets,
            sockets,
            heap_bytes,
        });
    }
    Ok(rows)
}

/// Requests that arrived at the servers so far.
fn requests(servers: &[Delayed]) -> u64 {
    servers.iter().map(Delayed::requests).sum()
}

/// The same once there are so many, and none more on its way: a server on a busy machine reads
/// late.
async fn arrived(servers: &[Delayed], least: u64) -> u64 {
    let started = Instant::now();
    while requests(servers) < least && started.elapsed() < bounds::ARRIVED_WITHIN {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    requests(servers)
}

async fn batch(
    gatherer: Gatherer,
    servers: &Arc<[SocketAddr]>,
    size: usize,
) -> Result<(Vec<Sample>, Vec<Held>), Failure> {
    let mut gathers = JoinSet::new();
    for _ in 0..size {
        gathers.spawn(once(gatherer, Arc::clone(servers)));
    }
    let (mut samples, mut held) = (Vec::with_capacity(size), Vec::with_capacity(size));
    while let Some(done) = gathers.join_next().await {
        let (sample, holds) = done??;
        samples.push(sample);
        held.push(holds);
    }
    Ok((samples, held))
}

async fn close(held: Vec<Held>) -> Result<(), Failure> {
    for held in held {
        if let Held::Stock(gathered) = held {
            gathered.close().await?;
        }
    }
    Ok(())
}

/// One gathering, sockets and all.
async fn once(gatherer: Gatherer, servers: Arc<[SocketAddr]>) -> Result<(Sample, Held), Failure> {
    if gatherer == Gatherer::Stock {
        let gathered = stock::gather(&servers).await?;
        let sample = Sample {
            elapsed: gathered.elapsed,
            decided: None,
            answered: gathered.answered,
            packets: None,
        };
        return Ok((sample, Held::Stock(gathered)));
    }
    let servers: Vec<_> = servers.iter().copied().map(StunServer::Address).collect();
    let mut config = GatherConfig::default();
    if gatherer == Gatherer::OursWaiting {
        config = config.with_grace(config.deadline);
    }
    let started = Instant::now();
    let base = Base::bind(peers::loopback()).await?;
    let gathering = base.gather(&servers, &config).await;
    let sample = Sample {
        elapsed: started.elapsed(),
        decided: Some(gathering.evidence.summary().mapping() != Mapping::Unknown),
        answered: gathering
            .servers
            .iter()
            .filter(|server| server.outcome == Outcome::Answered)
            .count(),
        packets: Some(gathering.packets_sent),
    };
    Ok((
        sample,
        Held::Ours {
            _base: base,
            _gathering: gathering,
        },
    ))
}

/// Sockets one gathering has open while it waits for its answers.
async fn sockets_of(gatherer: Gatherer, servers: &Arc<[SocketAddr]>) -> Result<usize, Failure> {
    // the gathering before may still be closing sockets
    tokio::time::sleep(SOCKETS_OPEN).await;
    let before = open_sockets();
    let gathering = tokio::spawn(once(gatherer, Arc::clone(servers)));
    tokio::time::sleep(SOCKETS_OPEN).await;
    let open = open_sockets().saturating_sub(before);
    let (_, held) = gathering.await??;
    close(vec![held]).await?;
    Ok(open)
}

pub(super) fn open_sockets() -> usize {
    let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") else {
        return 0;
    };
    let links = descriptors
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
}

/// Live heap bytes that one complete gathering holds.
async fn heap_of(gatherer: Gatherer, servers: &Arc<[SocketAddr]>) -> Result<i64, Failure> {
    let before = live_bytes();
    let (samples, held) = batch(gatherer, servers, HELD).await?;
    drop(samples);
    tokio::time::sleep(SOCKETS_OPEN).await;
    let holds = (live_bytes() - before) / HELD as i64;
    close(held).await?;
    Ok(holds)
}

fn judge(rows: &[Row]) -> Result<Vec<Target>, Failure> {
    let row = |case: usize, gatherer| {
        let name = CASES[case].name;
        rows.iter()
            .find(|r| r.case == name && r.gatherer == gatherer)
            .ok_or("a row is missing")
    };
    let [live, dead, lossy] = [0, 1, 2].map(|case| row(case, Gatherer::Ours));
    let (live, dead, lossy) = (live?, dead?, lossy?);
    // in turns, one after the other; of the second case, stock gathers many at once
    let slower = Spread::of_pairs(&live.each, &row(0, Gatherer::Stock)?.each);
    let faster = Spread::of_any(&row(1, Gatherer::Stock)?.each, &dead.each);
    let in_time = lossy.decided_in_time.unwrap_or(0);
    let per_server = |row: &Row| row.packets as f64 / (row.gathers * usize::from(SERVERS)) as f64;
    let decided = |row: &Row| row.decided == Some(row.gathers);
    Ok(vec![
        Target::ratio(
            "5 live: time, of stock's",
            slower,
            Good::AtMost(bounds::ALL_LIVE),
            Good::AtMost(bounds::ALL_LIVE_GATE),
        ),
        Target::ratio(
            "1 of 5 dead: faster than stock",
            faster,
            Good::AtLeast(bounds::ONE_DEAD),
            Good::AtLeast(bounds::ONE_DEAD_GATE),
        ),
        Target::count(
            "30 % loss: decided within 1 s",
            format!(">= {} %", bounds::DECIDED_SHARE * 100.0),
            format!("{in_time} of {}", lossy.gathers),
            in_time as f64 >= bounds::DECIDED_SHARE * lossy.gathers as f64,
        ),
        Target::count(
            "without loss: decided",
            "all",
            format!(
                "{} + {} of {} + {}",
                live.decided.unwrap_or(0),
                dead.decided.unwrap_or(0),
                live.gathers,
                dead.gathers
            ),
            decided(live) && decided(dead),
        ),
        Target::count(
            "without loss: packets per server",
            1,
            format!("{} and {}", per_server(live), per_server(dead)),
            [live, dead].map(per_server) == [1.0; 2],
        ),
        Target::count(
            "sockets per family",
            1,
            format!("{}, {}, {}", live.sockets, dead.sockets, lossy.sockets),
            [live, dead, lossy].iter().all(|row| row.sockets == 1),
        ),
    ])
}

fn table(rows: &[Row]) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let heads = vec![
        "case",
        "gatherer",
        "gathers",
        "ms p10",
        "median",
        "p90",
        "max",
        "decided",
        "in 1 s",
        "answers lost",
        "packets/gather",
        "sockets",
        "heap KiB",
    ];
    let cells = |row: &Row| {
        let count = |n: Option<usize>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let Spread {
            p10,
            median,
            p90,
            max,
        } = row.milliseconds;
        let mut cells = vec![
            row.case.to_owned(),
            row.gatherer.name().to_owned(),
            row.gathers.to_string(),
        ];
        cells.extend([p10, median, p90, max].map(|ms| format!("{ms:.1}")));
        cells.extend([
            count(row.decided),
            count(row.decided_in_time),
            format!("{} of {}", row.answers_lost, row.answers_possible),
            format!("{:.2}", row.packets as f64 / row.gathers as f64),
            row.sockets.to_string(),
            format!("{:.1}", row.heap_bytes as f64 / 1024.0),
        ]);
        cells
    };
    (heads, rows.iter().map(cells).collect())
}

fn plot(rows: &[Row]) -> Plot {
    let bar = |row: &Row| {
        let label = format!("{}: {}", row.case, row.gatherer.name());
        let text = format!("{:.1} ms", row.milliseconds.median);
        plot::Row::new(
            label,
            row.milliseconds,
            row.gatherer != Gatherer::Stock,
            text,
        )
    };
    Plot {
        title: "Time until the gathering is complete",
        axis: "milliseconds, each line ten times the one before; less is better",
        scale: Scale::Powers,
        rows: rows.iter().map(bar).collect(),
        lines: Vec::new(),
    }
}
