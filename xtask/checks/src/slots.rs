//! `slots`: thousands of consumers in one process, each with a path to a peer embedded beside it,
//! then a day of churn.
//!
//! One process holds both ends of each connection, so a rate is one of whole handshakes, and memory
//! is shown per end.

use std::time::{Duration, Instant};

use consumer_fsm::signalling::{MemorySignalling, Switchboard};
use consumer_fsm::transport::{IceTransport, Network};
use consumer_fsm::{Pool, Producer, Timing};
use ice_gather::{AgentConfig, Base, IceAgent, Role};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::alive::{Alive, settled};
use crate::leak::churn;
use crate::meter::{Measured, Meter};
use crate::spans::{Spans, attribute};
use crate::stock;
use common::commands::Slots;

use crate::{Failure, bounds, panics, peers, runtime, table};

/// As stock webrtc-ice beside it.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Of bare agents: no keepalive while memory is looked at. Slots and their producers have the usual
/// times: a producer whose consumer gave up in state 4 believes in its path until the silence is
/// too long, and has to come back while slots wait.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How often to look whether they have.
const LOOK: Duration = Duration::from_millis(5);
/// Handshakes of bare agents, ours and stock, that are under way at once.
const AT_ONCE: usize = 64;
/// Descriptors besides two for each slot.
const OTHER_DESCRIPTORS: u64 = 200;

/// The figures of many connections of one kind.
#[derive(Debug, Serialize)]
struct Row {
    kind: &'static str,
    connections: usize,
    /// Attempts until the path, without lost races, because they belong to the same attempt.
    attempts: usize,
    seconds: f64,
    per_second: f64,
    /// For each second that a core was busy.
    per_core_second: f64,
    /// Heap of one that is not connected yet, in KiB.
    idle_kib: Option<f64>,
    /// Heap of one end of a connection, in KiB.
    connected_kib: f64,
    /// Heap, tasks and descriptors that stayed once all were closed.
    left_bytes: i64,
    left_tasks: i64,
    left_descriptors: i64,
    /// In whatever task, while these were there.
    panics: u64,
}

pub(crate) fn run(options: &Slots) -> Result<bool, Failure> {
    let is_quick = options.quick;
    let slots = options.slots.unwrap_or(if is_quick {
        bounds::SLOTS_QUICK
    } else {
        bounds::SLOTS
    });
    let attempts = options.attempts;
    let attempts = attempts.unwrap_or(if is_quick {
        bounds::CHURN_ATTEMPTS_QUICK
    } else {
        bounds::CHURN_ATTEMPTS
    });
    let at_once = AtOnce {
        wanted: slots,
        slots: descriptors_for(slots)?,
    };
    runtime()?.block_on(measure(at_once, attempts, options.json))
}

/// Slots that there are to be at once, and those that the descriptors of this process are enough
/// for.
struct AtOnce {
    wanted: usize,
    slots: usize,
}

async fn measure(at_once: AtOnce, attempts: u32, json: bool) -> Result<bool, Failure> {
    let slots = at_once.slots;
    let warm = 20.min(slots);
    let mut rows = Vec::new();
    for (kind, connections) in [("stock", slots), ("agents", slots), ("slots", slots)] {
        if !json {
            eprintln!("{kind}: {connections} connections");
        }
        let panics = panics::so_far();
        // once around first: tables and threads that are made once and kept
        for (connections, is_kept) in [(warm, false), (connections, true)] {
            let mut row = match kind {
                "stock" => stock_pairs(connections).await?,
                "agents" => our_pairs(connections).await?,
                _ => pool(connections).await?,
            };
            row.panics = panics::so_far() - panics;
            if is_kept {
                rows.push(row);
            }
        }
    }
    if !json {
        eprintln!("churn: {attempts} attempts");
    }
    let tell = if json {
        |_| {}
    } else {
        |done| eprint!("\r{done} ")
    };
    let (churned, outcomes) = churn(Meter {
        cycles: attempts,
        is_patient: true,
        tell,
    })
    .await?;
    let bounds = judge(&at_once, &rows, &churned, attempts);
    let passed = bounds.iter().all(|bound| bound.is_met);
    if json {
        let value = serde_json::json!({
            "passed": passed, "connections": rows, "churn": churned, "outcomes": outcomes, "bounds": bounds
        });
        println!("{value:#}");
    } else {
        eprint!("\r{:20}\r", "");
        show(&rows, &churned, &outcomes, &bounds);
    }
    Ok(passed)
}

/// A consumer in each slot of a pool: STUN, signalling with its races, telemetry. Each asks two
/// servers.
async fn pool(slots: usize) -> Result<Row, Failure> {
    let before = settled(None).await;
    let responders = peers::cohort(2, 0).await?;
    let signalling = MemorySignalling::new(Switchboard::default());
    let agent = AgentConfig::default().with_check_interval(CHECK_INTERVAL);
    let transport = IceTransport::new(loopback()).with_agent_config(agent);
    let spans = Spans::default();
    let mut timing = Timing::default();
    timing.patience = Duration::from_millis(20);
    timing.error_backoff = Duration::from_millis(100);
    let pool = Pool::new(
        signalling.clone(),
        transport.clone(),
        spans.telemetry(),
        peers::servers(&responders),
        slots,
    )
    .with_timing(timing);
    let cancel = CancellationToken::new();
    let running = tokio::spawn({
        let cancel = cancel.clone();
        async move { pool.run(&cancel).await }
    });
    // each waits for a producer then, with a socket of its own
    until(|| Alive::now().descriptors >= before.descriptors + slots as i64).await?;
    let idle = settled(None).await;

    let clock = Clock::start();
    // all of them at once, and every slot races for them
    let mut producers = JoinSet::new();
    for _ in 0..slots {
        let producer = Producer::new(signalling.clone(), transport.clone(), Vec::new());
        let cancel = cancel.clone();
        producers.spawn(async move {
            while !cancel.is_cancelled() {
                let served = tokio::select! {
                    served = producer.serve() => served,
                    () = cancel.cancelled() => break,
                };
                if let Ok(served) = served {
                    served.echo(&cancel).await;
                }
            }
        });
    }
    let (mut connected, mut attempts) = (0, 0);
    until(|| {
        let told = spans.take();
        attempts += told.len();
        connected += told
            .iter()
            .filter(|span| attribute(span, "error.type").is_none())
            .count();
        connected >= slots
    })
    .await?;
    let taken = clock.stop();
    let open = settled(None).await;
    cancel.cancel();
    running.await?;
    while producers.join_next().await.is_some() {}
    drop((responders, spans, signalling, transport));
    let idle = (idle.bytes - before.bytes) as f64 / slots as f64;
    Ok(Row::new(
        "slots of a pool",
        slots,
        attempts,
        taken,
        Some(idle),
        open.bytes - before.bytes,
        before,
    )
    .await)
}

/// Two of our agents for each connection, and nothing around them.
async fn our_pairs(pairs: usize) -> Result<Row, Failure> {
    let before = settled(None).await;
    let mut idle = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        idle.push((
            OurEnd::new(Role::Controlling).await?,
            OurEnd::new(Role::Controlled).await?,
        ));
    }
    let unconnected = settled(None).await;
    let clock = Clock::start();
    let connect = |(mut a, mut b): (OurEnd, OurEnd)| async move {
        let (to_a, to_b) = (
            peers::describe(&a.base, &a.agent),
            peers::describe(&b.base, &b.agent),
        );
        let both = tokio::join!(
            a.agent.connect(to_b, bounds::SLOTS_WITHIN),
            b.agent.connect(to_a, bounds::SLOTS_WITHIN)
        );
        Ok::<_, Failure>((both.0?, both.1?, a, b))
    };
    let open = each(idle, connect).await?;
    let taken = clock.stop();
    let connected = settled(None).await;
    for (_path_a, _path_b, a, b) in open {
        a.agent.close().await;
        b.agent.close().await;
    }
    let idle = (unconnected.bytes - before.bytes) as f64 / (2 * pairs) as f64;
    Ok(Row::new(
        "bare ice-gather",
        pairs,
        pairs,
        taken,
        Some(idle),
        connected.bytes - before.bytes,
        before,
    )
    .await)
}

/// One end of a connection.
struct OurEnd {
    base: Base,
    agent: IceAgent,
}

impl OurEnd {
    async fn new(role: Role) -> Result<Self, Failure> {
        let base = Base::bind(peers::loopback()).await?;
        let config = AgentConfig::default()
            .with_check_interval(CHECK_INTERVAL)
            .with_keepalive_interval(KEEPALIVE)
            .with_disconnected_timeout(2 * KEEPALIVE)
            .with_failed_timeout(KEEPALIVE);
        let agent = IceAgent::new(&base, role, config).await?;
        Ok(Self { base, agent })
    }
}

/// The same with stock webrtc-ice.
async fn stock_pairs(pairs: usize) -> Result<Row, Failure> {
    let before = settled(None).await;
    let clock = Clock::start();
    let open = each(vec![(); pairs], |()| stock::Pair::connect()).await?;
    let taken = clock.stop();
    let connected = settled(None).await;
    for pair in open {
        pair.close().await?;
    }
    Ok(Row::new(
        "stock webrtc-ice",
        pairs,
        pairs,
        taken,
        None,
        connected.bytes - before.bytes,
        before,
    )
    .await)
}

/// Does it to each, [`AT_ONCE`] at a time.
async fn each<T, F, O>(items: Vec<T>, act: impl Fn(T) -> F) -> Result<Vec<O>, Failure>
where
    F: Future<Output = Result<O, Failure>> + Send + 'static,
    O: Send + 'static,
{
    let mut done = Vec::with_capacity(items.len());
    let mut under_way = JoinSet::new();
    for item in items {
        if under_way.len() == AT_ONCE
            && let Some(one) = under_way.join_next().await
        {
            done.push(one??);
        }
        under_way.spawn(act(item));
    }
    while let Some(one) = under_way.join_next().await {
        done.push(one??);
    }
    Ok(done)
}

impl Row {
    async fn new(
        kind: &'static str,
        connections: usize,
        attempts: usize,
        taken: Taken,
        idle: Option<f64>,
        connected: i64,
        before: Alive,
    ) -> Self {
        let left = settled(Some(before)).await;
        Self {
            kind,
            connections,
            attempts,
            seconds: taken.seconds,
            per_second: attempts as f64 / taken.seconds,
            per_core_second: attempts as f64 / taken.busy,
            idle_kib: idle.map(|bytes| bytes / 1024.0),
            connected_kib: connected as f64 / 1024.0 / (2 * connections) as f64,
            left_bytes: left.bytes - before.bytes,
            left_tasks: left.tasks - before.tasks,
            left_descriptors: left.descriptors - before.descriptors,
            panics: 0,
        }
    }
}

#[derive(Debug, Serialize)]
struct Bound {
    what: &'static str,
    target: String,
    measured: String,
    is_met: bool,
}

fn judge(at_once: &AtOnce, rows: &[Row], churned: &Measured, attempts: u32) -> Vec<Bound> {
    let [stock, agents, slots] = rows else {
        return Vec::new();
    };
    let left = |row: &Row| {
        format!(
            "{} tasks, {} descriptors, {} panics",
            row.left_tasks, row.left_descriptors, row.panics
        )
    };
    let is_clean = |row: &Row| row.left_tasks <= 0 && row.left_descriptors <= 0 && row.panics == 0;
    vec![
        Bound {
            what: "slots at once",
            target: at_once.wanted.to_string(),
            measured: match at_once.slots {
                all if all == at_once.wanted => all.to_string(),
                few => format!("{few}: no more descriptors are allowed here, see `ulimit -Hn`"),
            },
            is_met: at_once.slots == at_once.wanted,
        },
        Bound {
            what: "heap of a slot with a path",
            target: format!("below {:.0} KiB", bounds::SLOT_KIB),
            measured: format!(
                "{:.1} KiB, {:.1} times stock's",
                slots.connected_kib,
                slots.connected_kib / stock.connected_kib
            ),
            is_met: slots.connected_kib < bounds::SLOT_KIB,
        },
        Bound {
            what: "left by slots once closed",
            target: "nothing".into(),
            measured: left(slots),
            is_met: is_clean(slots),
        },
        Bound {
            what: "left by bare agents once closed",
            target: "nothing".into(),
            measured: left(agents),
            is_met: is_clean(agents),
        },
        Bound {
            what: "heap bytes per attempt of the churn",
            target: format!("below {:.1}", bounds::LEAK_BYTES),
            measured: format!("{:.3}", churned.bytes_per_cycle),
            is_met: churned.is_clean() && churned.cycles >= attempts,
        },
        Bound {
            what: "attempts of the churn, as intended",
            target: format!(
                "{:.0} %, each with its span",
                100.0 * bounds::INTENDED_BUT_LATE
            ),
            measured: [format!("{} of {}", churned.as_intended, churned.walked)]
                .into_iter()
                .chain(churned.faults.iter().cloned())
                .collect::<Vec<_>>()
                .join("; "),
            is_met: churned.faults.is_empty(),
        },
    ]
}

fn show(rows: &[Row], churned: &Measured, outcomes: &[(&str, u32)], bounds: &[Bound]) {
    let heads = [
        "connections of",
        "at once",
        "attempts",
        "s",
        "attempts/s",
        "attempts/s and core",
        "idle KiB",
        "connected KiB/end",
        "left bytes",
        "tasks",
        "descriptors",
        "panics",
    ];
    let cells = |row: &Row| {
        vec![
            row.kind.to_owned(),
            row.connections.to_string(),
            row.attempts.to_string(),
            format!("{:.2}", row.seconds),
            format!("{:.0}", row.per_second),
            format!("{:.0}", row.per_core_second),
            row.idle_kib
                .map_or_else(|| "-".to_owned(), |kib| format!("{kib:.1}")),
            format!("{:.1}", row.connected_kib),
            row.left_bytes.to_string(),
            row.left_tasks.to_string(),
            row.left_descriptors.to_string(),
            row.panics.to_string(),
        ]
    };
    println!(
        "{}",
        table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
    );
    println!(
        "Both ends of each connection are in this process. A slot asks two STUN servers and signals besides.\n"
    );
    let mut lines: Vec<Vec<String>> = outcomes
        .iter()
        .map(|(way, n)| vec![(*way).to_owned(), n.to_string()])
        .collect();
    lines.push(vec![
        "heap bytes per attempt".into(),
        format!("{:.3}", churned.bytes_per_cycle),
    ]);
    lines.push(vec![
        "resident bytes per attempt".into(),
        format!("{:.3}", churned.resident_per_cycle),
    ]);
    lines.push(vec!["seconds".into(), format!("{:.0}", churned.seconds)]);
    println!("{}", table::render(&["churn", ""], &lines));
    let looks: Vec<_> = churned
        .looks
        .iter()
        .map(|look| {
            vec![
                look.cycle.to_string(),
                look.alive.bytes.to_string(),
                look.alive.tasks.to_string(),
            ]
        })
        .collect();
    println!(
        "{}",
        table::render(&["after attempts", "live heap bytes", "tasks"], &looks)
    );
    let row = |bound: &Bound| {
        let verdict = if bound.is_met { "met" } else { "UNMET" };
        vec![
            bound.what.to_owned(),
            bound.target.clone(),
            bound.measured.clone(),
            verdict.to_owned(),
        ]
    };
    println!(
        "{}",
        table::render(
            &["bound", "target", "measured", ""],
            &bounds.iter().map(row).collect::<Vec<_>>()
        )
    );
}

fn loopback() -> Network {
    Network::System(peers::loopback())
}

async fn until(mut is_so: impl FnMut() -> bool) -> Result<(), Failure> {
    let started = Instant::now();
    while !is_so() {
        if started.elapsed() > bounds::SLOTS_WITHIN {
            return Err(format!(
                "not all of them were ready within {:?}",
                bounds::SLOTS_WITHIN
            )
            .into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Wall time, and time that cores were busy with this process.
struct Clock {
    started: Instant,
    busy: f64,
}

struct Taken {
    seconds: f64,
    busy: f64,
}

impl Clock {
    fn start() -> Self {
        Self {
            started: Instant::now(),
            busy: busy(),
        }
    }

    fn stop(&self) -> Taken {
        Taken {
            seconds: self.started.elapsed().as_secs_f64(),
            busy: busy() - self.busy,
        }
    }
}

/// Seconds that cores were busy with this process so far.
#[cfg(target_os = "linux")]
fn busy() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    getrusage(UsageWho::RUSAGE_SELF).map_or(f64::NAN, |usage| {
        (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6
    })
}

#[cfg(not(target_os = "linux"))]
fn busy() -> f64 {
    f64::NAN
}

/// Raises the soft limit of descriptors for so many slots; how many those are enough for, where the
/// hard limit forbids.
#[cfg(target_os = "linux")]
fn descriptors_for(slots: usize) -> Result<usize, Failure> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    // stock webrtc-ice may open a socket more for each end
    let wanted = 4 * slots as u64 + OTHER_DESCRIPTORS;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard)?;
    }
    if hard < wanted {
        return Ok((hard.saturating_sub(OTHER_DESCRIPTORS) / 4) as usize);
    }
    Ok(slots)
}

#[cfg(not(target_os = "linux"))]
fn descriptors_for(slots: usize) -> Result<usize, Failure> {
    Ok(slots)
}
