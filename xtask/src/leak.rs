//! `leak`: what an attempt leaves behind, on each path: live heap bytes, tasks, descriptors per cycle.

use std::time::{Duration, Instant};

use consumer_fsm::signalling::{MemorySignalling, Switchboard, SwitchboardTiming};
use consumer_fsm::transport::{Ice, Network};
use consumer_fsm::{Consumer, Ending, StunCache, Timing};
use ice_gather::responder::Responder;
use ice_gather::{AgentConfig, Base, BindConfig, GatherConfig, StunServer};
use otel_nat::Telemetry;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::spans::Spans;
use crate::{Failure, Options, bounds, peers, runtime, table};

/// Producers at work at once.
const PRODUCERS: usize = 4;
/// How long a producer waits for a consumer that may have vanished.
const PATIENCE: Duration = Duration::from_millis(50);
/// An attempt takes about half of this: a random moment within falls on every state.
const LONGEST_ATTEMPT_US: u64 = 20_000;
/// Looks at what is alive, besides the first.
const LOOKS: u32 = 10;

/// How an attempt is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Path {
    /// The channel opens, then the consumer is cancelled.
    Success,
    /// The peer never answers a check.
    TimeOut,
    /// The consumer is cancelled at a random moment.
    Cancelled,
    /// The attempt is dropped at a random moment, without a word.
    Dropped,
    /// Gathering alone, with a silent server and one that is not there, dropped after 0 to 59 ms.
    GatherDropped,
}

/// What one path left behind.
#[derive(Debug, Serialize)]
struct Row {
    path: Path,
    cycles: u32,
    seconds: f64,
    bytes_per_cycle: f64,
    tasks: i64,
    descriptors: i64,
    spans: usize,
    /// Attempts that ended as this path intends; a random moment may also fall behind the end.
    as_intended: u32,
    clean: bool,
}

/// What is alive at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alive {
    pub(crate) bytes: i64,
    pub(crate) tasks: i64,
    pub(crate) descriptors: i64,
}

pub(crate) fn run(options: &Options) -> Result<bool, Failure> {
    let cycles = options.value("cycles")?.unwrap_or(bounds::LEAK_CYCLES);
    runtime()?.block_on(measure_all(cycles, options.is("json")))
}

async fn measure_all(cycles: u32, json: bool) -> Result<bool, Failure> {
    self_test().await?;
    let mut rows = Vec::new();
    for path in [Path::Success, Path::TimeOut, Path::Cancelled, Path::Dropped, Path::GatherDropped] {
        let row = measure(path, cycles.max(20), json).await?;
        if !json {
            println!("{}", line(&row));
        }
        rows.push(row);
    }
    let clean = rows.iter().all(|row| row.clean);
    if json {
        println!("{:#}", serde_json::json!({ "clean": clean, "paths": rows }));
    } else {
        let heads = ["path", "cycles", "s", "bytes/cycle", "tasks", "descriptors", "spans", "as intended", ""];
        let cells = |row: &Row| {
            vec![
                format!("{:?}", row.path),
                row.cycles.to_string(),
                format!("{:.0}", row.seconds),
                format!("{:.3}", row.bytes_per_cycle),
                row.tasks.to_string(),
                row.descriptors.to_string(),
                row.spans.to_string(),
                row.as_intended.to_string(),
                if row.clean { "clean".into() } else { "LEAKS".into() },
            ]
        };
        println!("\n{}", table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>()));
    }
    Ok(clean)
}

fn line(row: &Row) -> String {
    format!(
        "{:?}: {} cycles in {:.0} s, {:.3} bytes, {} tasks, {} descriptors left per cycle or in all",
        row.path, row.cycles, row.seconds, row.bytes_per_cycle, row.tasks, row.descriptors
    )
}

/// Plants a leak of one byte, one task and one descriptor per cycle: a check that does not see them proves nothing.
async fn self_test() -> Result<(), Failure> {
    const CYCLES: usize = 50;
    let mut seen = Vec::with_capacity(2 * CYCLES);
    let (mut bytes, mut tasks, mut files) =
        (Vec::with_capacity(CYCLES), Vec::with_capacity(CYCLES), Vec::with_capacity(CYCLES));
    for cycle in 0..CYCLES {
        seen.push((cycle as u32, settled(None).await));
        bytes.push(Box::new(1_u8));
        tasks.push(tokio::spawn(std::future::pending::<()>()));
        files.push(std::fs::File::open("/proc/self/stat")?);
    }
    let (first, last) = (seen[0].1, alive());
    tasks.iter().for_each(|task| task.abort());
    let planted = CYCLES as i64;
    let is_seen = slope(&seen) >= bounds::LEAK_BYTES
        && last.tasks - first.tasks >= planted
        && last.descriptors - first.descriptors >= planted;
    if is_seen { Ok(()) } else { Err("the leak check does not see what was planted for it".into()) }
}

/// Runs the path over and over, and looks at what is alive [`LOOKS`] times on the way.
async fn measure(path: Path, cycles: u32, json: bool) -> Result<Row, Failure> {
    let started = Instant::now();
    let silent = u8::from(path == Path::GatherDropped);
    let responders = peers::cohort(2 + silent, silent).await?;
    // a consumer that vanishes must not keep the few producers for long
    let mut holds = SwitchboardTiming::default();
    (holds.genesis, holds.exchange) = (PATIENCE, PATIENCE);
    let signalling = MemorySignalling::new(Switchboard::new(holds));
    let mut agent = AgentConfig::default();
    agent.check_interval = Duration::from_millis(5);
    let loopback = Network::System(BindConfig::address([127, 0, 0, 1].into()));
    let transport = Ice::new(loopback).with_agent_config(agent);
    let spans = Spans::default();
    let telemetry = spans.telemetry();
    let servers = peers::servers(&responders);
    let mut rng = SmallRng::seed_from_u64(1);
    let (mut span_count, mut as_intended) = (0, 0);

    let warm_up = (cycles / 10).max(20);
    // away while we look: what they are busy with at that moment is not the attempt's
    let mut producers = start_producers(path, &signalling, &transport).await?;
    let mut seen: Vec<(u32, Alive)> = Vec::with_capacity(2 * LOOKS as usize);
    for cycle in 0..warm_up + cycles {
        let done = cycle.saturating_sub(warm_up);
        if cycle >= warm_up && done % (cycles / LOOKS).max(1) == 0 {
            producers.clear();
            seen.push((done, settled(seen.first().map(|(_, alive)| *alive)).await));
            producers = start_producers(path, &signalling, &transport).await?;
            if !json {
                eprint!("\r{path:?}: {done} of {cycles} ");
            }
        }
        let moment = Duration::from_micros(rng.random_range(0..LONGEST_ATTEMPT_US));
        let intended = match path {
            Path::GatherDropped => gather(&responders, Duration::from_millis(u64::from(cycle % 60))).await,
            _ => one(path, &signalling, &transport, &telemetry, &servers, moment).await,
        };
        if cycle >= warm_up {
            as_intended += u32::from(intended);
            span_count += spans.take().len();
        } else {
            spans.take();
        }
    }
    drop(producers);
    seen.push((cycles, settled(seen.first().map(|(_, alive)| *alive)).await));
    if !json {
        eprint!("\r{:40}\r", "");
    }

    let first = seen.first().map(|(_, alive)| *alive).ok_or("nothing measured")?;
    let last = seen.last().map(|(_, alive)| *alive).ok_or("nothing measured")?;
    let bytes_per_cycle = slope(&seen);
    let (tasks, descriptors) = (last.tasks - first.tasks, last.descriptors - first.descriptors);
    Ok(Row {
        path,
        cycles,
        seconds: started.elapsed().as_secs_f64(),
        bytes_per_cycle,
        tasks,
        descriptors,
        spans: span_count,
        as_intended,
        clean: bytes_per_cycle < bounds::LEAK_BYTES
            && tasks <= 0
            && descriptors <= 0
            // a path that is not taken proves nothing
            && match path {
                Path::Success | Path::TimeOut => as_intended == cycles && span_count == cycles as usize,
                Path::Cancelled | Path::Dropped => span_count > cycles as usize / 4,
                Path::GatherDropped => as_intended > cycles / 4,
            },
    })
}

async fn start_producers(
    path: Path,
    signalling: &MemorySignalling,
    transport: &Ice,
) -> Result<Vec<peers::Running>, Failure> {
    let mut producers = Vec::with_capacity(PRODUCERS);
    for _ in 0..PRODUCERS {
        producers.push(match path {
            Path::TimeOut => peers::ghost(signalling.clone()).await?,
            _ => peers::echo(signalling.clone(), transport.clone(), PATIENCE),
        });
    }
    Ok(producers)
}

/// One attempt; whether it went the way of its path.
async fn one(
    path: Path,
    signalling: &MemorySignalling,
    transport: &Ice,
    telemetry: &Telemetry,
    servers: &StunCache,
    moment: Duration,
) -> bool {
    let mut timing = Timing::default();
    timing.patience = Duration::from_millis(1);
    timing.error_backoff = Duration::from_millis(1);
    if path == Path::TimeOut {
        timing.nat_fail_timeout = Duration::from_millis(10);
    }
    let mut consumer =
        Consumer::new(signalling.clone(), transport.clone(), telemetry.clone(), servers.clone()).with_timing(timing);
    let cancel = CancellationToken::new();
    let mut up = consumer.path();
    match path {
        Path::Success => {
            let stop = cancel.clone();
            let user = async move {
                let _ = up.wait_for(|up| *up).await;
                stop.cancel();
            };
            let (report, ()) = tokio::join!(consumer.attempt(&cancel), user);
            report.ending == Some(Ending::Success)
        }
        Path::TimeOut => {
            let report = consumer.attempt(&cancel).await;
            report.ending == Some(Ending::Failure(otel_nat::Reason::Timeout))
        }
        Path::Cancelled => {
            let stop = cancel.clone();
            let canceller = async move {
                tokio::time::sleep(moment).await;
                stop.cancel();
            };
            let (report, ()) = tokio::join!(consumer.attempt(&cancel), canceller);
            report.last_event == Some(consumer_fsm::Event::Cancelled)
        }
        Path::Dropped | Path::GatherDropped => tokio::time::timeout(moment, consumer.attempt(&cancel)).await.is_err(),
    }
}

/// One gathering, dropped after `moment` if it lasts that long; whether it was.
async fn gather(responders: &[Responder], moment: Duration) -> bool {
    let mut servers: Vec<StunServer> = responders.iter().map(Responder::server).collect();
    // nobody listens there: one is told so, and a name leads there too
    servers.extend(["127.0.0.1:9", "localhost:9"].into_iter().filter_map(|server| server.parse().ok()));
    let Ok(base) = Base::bind(BindConfig::address([127, 0, 0, 1].into())).await else { return false };
    tokio::time::timeout(moment, base.gather(&servers, &GatherConfig::default())).await.is_err()
}

/// What is alive once everything under way has ended: tear-downs are not waited for by whoever drops an attempt, so look
/// until tasks and descriptors are no more than at first, and take the fewest bytes.
pub(crate) async fn settled(first: Option<Alive>) -> Alive {
    let mut fewest = alive();
    let mut calm = 0;
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = alive();
        let is_less = now.tasks < fewest.tasks || now.descriptors < fewest.descriptors;
        if is_less || now.bytes < fewest.bytes {
            calm = 0;
        } else {
            calm += 1;
        }
        fewest = Alive {
            bytes: now.bytes.min(fewest.bytes),
            tasks: now.tasks.min(fewest.tasks),
            descriptors: now.descriptors.min(fewest.descriptors),
        };
        let is_back = first.is_none_or(|f| fewest.tasks <= f.tasks && fewest.descriptors <= f.descriptors);
        if is_back && calm >= 20 {
            break;
        }
    }
    fewest
}

pub(crate) fn alive() -> Alive {
    let heap = crate::ALLOCATOR.stats();
    let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    Alive {
        bytes: signed(heap.bytes_allocated) - signed(heap.bytes_deallocated),
        tasks: signed(Handle::current().metrics().num_alive_tasks()),
        descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, |fds| signed(fds.count())),
    }
}

/// Bytes per cycle, by least squares over every look.
pub(crate) fn slope(seen: &[(u32, Alive)]) -> f64 {
    let n = seen.len() as f64;
    let points = || seen.iter().map(|(cycle, alive)| (f64::from(*cycle), alive.bytes as f64));
    let (sum_x, sum_y) = points().fold((0.0, 0.0), |(x, y), p| (x + p.0, y + p.1));
    let (mean_x, mean_y) = (sum_x / n, sum_y / n);
    let covariance: f64 = points().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = points().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if variance == 0.0 { 0.0 } else { covariance / variance }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(bytes: impl Fn(u32) -> i64) -> Vec<(u32, Alive)> {
        (0..=10).map(|n| (n * 100, Alive { bytes: bytes(n * 100), tasks: 0, descriptors: 0 })).collect()
    }

    #[test]
    fn a_leak_of_one_byte_per_cycle_is_a_slope_of_one() {
        assert!((slope(&looks(|cycle| 5_000 + i64::from(cycle))) - 1.0).abs() < 1e-9);
        assert!(slope(&looks(|_| 5_000)).abs() < 1e-9);
    }
}
