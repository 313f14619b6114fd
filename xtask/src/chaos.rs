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
use crate::leak::alive::settled;
use crate::leak::meter::Look;
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
    left: Vec<Look>,
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
    match growth(&tally.left) {
        Some((grown, bound)) => println!("live heap grew by {grown} bytes; below {bound:.0} is no leak"),
        None => println!("skipped: the heap, for one look tells nothing"),
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
        let before = tally.left.first().map(|look| look.alive);
        let left = settled(before).await;
        if let Some(before) = before.filter(|before| !left.is_back_to(*before)) {
            let what = format!(
                "{} tasks and {} descriptors are left of the {BATCH} before",
                left.tasks - before.tasks,
                left.descriptors - before.descriptors
            );
            tally.broken.push(Broken { episode: tally.episodes, what });
        }
        tally.left.push(Look { cycle: u32::try_from(tally.episodes)?, alive: left });
    }
    if let Some((grown, bound)) = growth(&tally.left)
        && grown as f64 > bound
    {
        let what = format!("live heap grew by {grown} bytes, and {bound:.0} is all it has");
        tally.broken.push(Broken { episode: tally.episodes, what });
    }
    Ok(tally)
}

/// Live bytes from the second half's first look to the last, or from the first of all where there are few looks, and how
/// many may be. None of one look: the first batch sets up what is set up once.
fn growth(left: &[Look]) -> Option<(i64, f64)> {
    let half = &left[left.len() / 2..];
    let (judged, room) = if half.len() >= bounds::CHAOS_LOOKS { (half, 0.0) } else { (left, bounds::CHAOS_TABLE) };
    let [first, .., last] = judged else { return None };
    let episodes = f64::from(last.cycle - first.cycle);
    Some((last.alive.bytes - first.alive.bytes, room + bounds::CHAOS_HEAP * episodes))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leak::alive::Alive;

    fn looks(bytes: &[i64]) -> Vec<Look> {
        let look = |(n, bytes): (usize, &i64)| {
            let alive = Alive { bytes: *bytes, tasks: 0, descriptors: 0, resident: 0 };
            Look { cycle: 100 * n as u32, alive }
        };
        bytes.iter().enumerate().map(look).collect()
    }

    #[test]
    fn two_looks_tell_a_leak_from_a_table_and_many_need_no_room_for_one() {
        let leaks = |bytes: &[i64]| growth(&looks(bytes)).map(|(grown, bound)| grown as f64 > bound);
        assert_eq!(leaks(&[9_000]), None);
        assert_eq!(leaks(&[0, 2_048]), Some(false));
        assert_eq!(leaks(&[0, 100 * 64]), Some(true));
        assert_eq!(leaks(&[0, 99_000, 99_000, 99_000, 99_000, 99_000]), Some(false));
        assert_eq!(leaks(&[0, 0, 0, 0, 2_000, 4_000]), Some(true));
    }
}
