//! `chaos`: attempts behind simulated NATs while everything that can fail does, and what must hold all the same.
//!
//! What goes wrong in an episode follows from the seed and the episode's number alone: a failure is replayed by both.

mod plan;
mod road;
mod server;
mod stage;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use self::plan::Plan;
use self::stage::{Outcome, play};
use crate::leak::alive::{Alive, settled};
use crate::{Failure, Options, bounds, runtime, table};

/// Episodes at once, and between two looks at what is left.
const AT_ONCE: usize = 16;
const BATCH: u64 = 128;
/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

#[derive(Debug, Default, Serialize)]
struct Tally {
    episodes: u64,
    attempts: u64,
    /// Fault, then outcome.
    outcomes: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    broken: Vec<Broken>,
    /// What was left after each batch.
    left: Vec<Alive>,
}

/// An invariant that did not hold.
#[derive(Debug, Serialize)]
struct Broken {
    episode: u64,
    what: String,
}

pub(crate) fn run(options: &Options) -> Result<bool, Failure> {
    // wide enough that two runs differ, short enough to be typed
    let seed = match options.value("seed")? {
        Some(seed) => seed,
        None => u64::from(rand::random::<u32>()),
    };
    let minutes: Option<f64> = options.value("minutes")?;
    let lasts = minutes.map_or(bounds::CHAOS, |minutes| Duration::from_secs_f64(minutes * 60.0));
    let episode = options.value("episode")?;
    let started = Instant::now();
    let tally = runtime()?.block_on(async {
        match episode {
            Some(episode) => replay(seed, episode).await,
            None => rage(seed, started + lasts).await,
        }
    })?;
    let passed = tally.broken.is_empty();
    let seconds = started.elapsed().as_secs_f64();
    if options.is("json") {
        println!("{:#}", serde_json::json!({ "passed": passed, "seed": seed, "seconds": seconds, "run": tally }));
        return Ok(passed);
    }
    println!("{}", render(&tally));
    for broken in &tally.broken {
        println!("BROKEN  episode {}: {}", broken.episode, broken.what);
        println!("        cargo xtask chaos --seed {seed} --episode {}", broken.episode);
    }
    println!(
        "seed {seed}: {} attempts in {} episodes, {seconds:.0} s; {}",
        tally.attempts,
        tally.episodes,
        if passed { "nothing broken, nothing left" } else { "BROKEN" }
    );
    Ok(passed)
}

/// Episodes from the first on until it is time, then the last batch to its end.
async fn rage(seed: u64, until: Instant) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    eprintln!("seed {seed}");
    // the first batch sets up what is set up once: it is checked, and not counted among what is left
    while tally.episodes == 0 || Instant::now() < until {
        batch(seed, tally.episodes..tally.episodes + BATCH, until, &mut tally).await?;
        let before = tally.left.first().copied();
        let left = settled(before).await;
        if let Some(before) = before.filter(|before| !left.is_back_to(*before)) {
            let what = format!(
                "{} tasks and {} descriptors are left of the {BATCH} before",
                left.tasks - before.tasks,
                left.descriptors - before.descriptors
            );
            tally.broken.push(Broken { episode: tally.episodes, what });
        }
        tally.left.push(left);
    }
    let grown = growth(&tally.left);
    if grown > bounds::CHAOS_HEAP {
        let what = format!("live heap grew by {grown:.0} bytes per episode");
        tally.broken.push(Broken { episode: tally.episodes, what });
    }
    Ok(tally)
}

/// Live bytes per episode from the second half's first look to the last; none where there are too few looks to tell.
fn growth(left: &[Alive]) -> f64 {
    let half = &left[left.len() / 2..];
    match half {
        [first, .., last] if half.len() >= bounds::CHAOS_LOOKS => {
            (last.bytes - first.bytes) as f64 / (BATCH * (half.len() as u64 - 1)) as f64
        }
        _ => 0.0,
    }
}

/// Some episodes, each in a task of its own: a panic is one more thing that must not be.
async fn batch(seed: u64, numbers: std::ops::Range<u64>, until: Instant, tally: &mut Tally) -> Result<(), Failure> {
    let mut playing = JoinSet::new();
    let mut numbers = numbers.peekable();
    let mut progress = tokio::time::interval(PROGRESS);
    progress.tick().await;
    loop {
        while playing.len() < AT_ONCE && (tally.episodes == 0 || Instant::now() < until) {
            let Some(number) = numbers.next() else { break };
            let plan = Plan::new(seed, number);
            playing.spawn(async move {
                let bound = bounds::CHAOS_NEVER * (plan.ends_by() + bounds::CHAOS_ENDING);
                let played = tokio::spawn(async move {
                    let outcomes = tokio::time::timeout(bound, play(&plan)).await;
                    (plan, outcomes)
                });
                Ok::<_, Failure>((number, played.await))
            });
        }
        tokio::select! {
            played = playing.join_next() => match played {
                None => break,
                Some(played) => {
                    let (number, played) = played??;
                    match played {
                        Ok((plan, Ok(outcomes))) => file(number, &plan, outcomes?, tally),
                        Ok((_, Err(_))) => tally.fail(number, "the episode never ended"),
                        Err(error) => tally.fail(number, &format!("a panic: {error}")),
                    }
                }
            },
            _ = progress.tick() => eprintln!(
                "{} episodes, {} attempts, {} broken; {:.0} s to go",
                tally.episodes,
                tally.attempts,
                tally.broken.len(),
                until.saturating_duration_since(Instant::now()).as_secs_f64()
            ),
        }
    }
    Ok(())
}

impl Tally {
    fn fail(&mut self, episode: u64, what: &str) {
        self.episodes += 1;
        eprintln!("BROKEN  episode {episode}: {what}");
        self.broken.push(Broken { episode, what: what.to_owned() });
    }
}

fn file(number: u64, plan: &Plan, outcomes: Vec<Outcome>, tally: &mut Tally) {
    tally.episodes += 1;
    for outcome in outcomes {
        tally.attempts += 1;
        for fault in plan.faults() {
            *tally.outcomes.entry(fault).or_default().entry(outcome.ended).or_default() += 1;
        }
        for what in outcome.broken {
            eprintln!("BROKEN  episode {number}: {what}\n        {plan:?}\n        {}", outcome.transitions);
            tally.broken.push(Broken { episode: number, what });
        }
    }
}

/// One episode alone, told in full.
async fn replay(seed: u64, number: u64) -> Result<Tally, Failure> {
    let plan = Plan::new(seed, number);
    println!("{plan:#?}");
    let mut tally = Tally::default();
    let outcomes = play(&plan).await?;
    for outcome in &outcomes {
        println!("{}: {}", outcome.ended, outcome.transitions);
    }
    file(number, &plan, outcomes, &mut tally);
    Ok(tally)
}

fn render(tally: &Tally) -> String {
    let mut outcomes: Vec<&str> = tally.outcomes.values().flat_map(|by| by.keys().copied()).collect();
    outcomes.sort_unstable();
    outcomes.dedup();
    let heads: Vec<&str> = ["fault"].into_iter().chain(outcomes.iter().copied()).collect();
    let row = |(fault, by): (&&'static str, &BTreeMap<&str, u64>)| {
        let count = |outcome: &&str| by.get(*outcome).map_or_else(|| "-".to_owned(), u64::to_string);
        [(*fault).to_owned()].into_iter().chain(outcomes.iter().map(count)).collect()
    };
    table::render(&heads, &tally.outcomes.iter().map(row).collect::<Vec<_>>())
}
