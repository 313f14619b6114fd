//! `chaos`: attempts behind simulated NATs while everything that can fail does, and the invariants
//! that have to hold all the same.
//!
//! The faults of an episode follow from the seed and the episode's number alone, because a failure
//! has to be replayed. Leftovers show only after a whole batch, so a leak replays the batch.

mod episode;
mod link;
mod plan;
mod server;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use self::episode::{Outcome, play};
use self::plan::Plan;
use crate::alive::settled;
use crate::meter::Look;
use common::commands::Chaos;
use common::episodes::Episodes;

use crate::{Failure, bounds, panics, runtime, table};

/// Episodes at once, and between two measurements of leftovers.
const AT_ONCE: usize = 16;
const BATCH: u64 = 128;
/// The first episodes, which warm up caches and tables. Their invariants are checked, and their
/// leftovers do not count. They are only as many as run at once, because a slow machine has to get
/// further than this.
const WARM: u64 = AT_ONCE as u64;
/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

#[derive(Debug, Default, Serialize)]
struct Tally {
    episodes: u64,
    attempts: u64,
    /// Attempts that nothing stood in the way of.
    clear: u64,
    /// Fault, then outcome.
    outcomes: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    broken: Vec<Broken>,
    /// The leftovers of the first episodes, and of each batch.
    left: Vec<Look>,
    /// `None` if there were too few measurements.
    heap: Option<Heap>,
    /// The failures, printed in full.
    #[serde(skip)]
    told: Option<u64>,
}

/// An invariant that did not hold.
#[derive(Debug, Serialize)]
struct Broken {
    episodes: Episodes,
    what: String,
}

/// The growth of live heap over these episodes, and the growth that is no leak.
#[derive(Debug, PartialEq, Serialize)]
struct Heap {
    grown: i64,
    bound: f64,
    episodes: u32,
}

pub(crate) fn run(options: &Chaos) -> Result<bool, Failure> {
    // wide enough that two runs differ, short enough to be typed
    let seed = match options.seed {
        Some(seed) => seed,
        None => u64::from(rand::random::<u32>()),
    };
    let minutes: Option<f64> = options.minutes;
    let lasts = minutes.map_or(bounds::CHAOS, |minutes| {
        Duration::from_secs_f64(minutes * 60.0)
    });
    let replayed = options.episode.clone();
    let started = Instant::now();
    let tally = runtime()?.block_on(rage(seed, replayed, started + lasts))?;
    let passed = tally.broken.is_empty();
    let seconds = started.elapsed().as_secs_f64();
    if options.json {
        println!(
            "{:#}",
            serde_json::json!({ "passed": passed, "seed": seed, "seconds": seconds, "run": tally })
        );
        return Ok(passed);
    }
    println!("{}", render(&tally));
    for Broken { episodes, what } in &tally.broken {
        println!("BROKEN  episode {episodes}: {what}");
        println!("        cargo xtask chaos --seed {seed} --episode {episodes}");
    }
    match &tally.heap {
        Some(Heap {
            grown,
            bound,
            episodes,
        }) => {
            println!(
                "live heap grew by {grown} bytes over {episodes} episodes; below {bound:.0} is no leak"
            );
        }
        None => println!("skipped: the heap, because one measurement shows no growth"),
    }
    println!(
        "seed {seed}: {} attempts in {} episodes, {} of them with nothing in the way, {seconds:.0} s; {}",
        tally.attempts,
        tally.episodes,
        tally.clear,
        if passed {
            "nothing broken, nothing left"
        } else {
            "BROKEN"
        }
    );
    Ok(passed)
}

/// Plays the first episodes and measures. Then plays the episodes to replay, or one batch after the
/// other until the time is over, and measures after each batch.
async fn rage(seed: u64, replayed: Option<Episodes>, until: Instant) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    eprintln!("seed {seed}");
    if let Some(episodes) = replayed.as_ref().filter(|episodes| episodes.are_one()) {
        eprintln!("{:#?}", Plan::new(seed, episodes.0.start));
        tally.told = Some(episodes.0.start);
    }
    let (episodes, until) = match replayed {
        Some(Episodes(episodes)) => (episodes, None),
        None => (WARM..u64::MAX, Some(until)),
    };
    batch(seed, 0..WARM, None, &mut tally).await?;
    let mut next = episodes.start;
    // two measurements at least, because one shows no growth
    while next < episodes.end
        && (tally.left.len() < 2 || until.is_none_or(|until| Instant::now() < until))
    {
        next = batch(
            seed,
            next..episodes.end.min(next + BATCH),
            until,
            &mut tally,
        )
        .await?;
    }
    if let Some((heap, judged)) = growth(&tally.left) {
        if heap.grown as f64 > heap.bound {
            let what = format!(
                "live heap grew by {} bytes, and {:.0} is all it has",
                heap.grown, heap.bound
            );
            let number = |cycle: u32| episodes.start + u64::from(cycle) - WARM;
            tally.broken.push(Broken {
                episodes: Episodes(number(judged.start)..number(judged.end)),
                what,
            });
        }
        tally.heap = Some(heap);
    }
    Ok(tally)
}

/// The growth of live bytes over the second half of the measurements, or over all if there are few,
/// with its bound and its episodes. `None` with a single measurement, because there is nothing to
/// compare it with.
fn growth(left: &[Look]) -> Option<(Heap, Range<u32>)> {
    let half = &left[left.len() / 2..];
    let (judged, room) = if half.len() >= bounds::CHAOS_LOOKS {
        (half, 0.0)
    } else {
        (left, bounds::CHAOS_TABLE)
    };
    let [first, .., last] = judged else {
        return None;
    };
    let episodes = last.cycle - first.cycle;
    let bound = room + bounds::CHAOS_HEAP * f64::from(episodes);
    Some((
        Heap {
            grown: last.alive.bytes - first.alive.bytes,
            bound,
            episodes,
        },
        first.cycle..last.cycle,
    ))
}

/// Plays some episodes, each in a task of its own, because a panic must not end the run, and
/// measures their leftovers. Returns the number behind the last episode that was played: once the
/// time is over no more begin, but at least the first [`AT_ONCE`] are played.
async fn batch(
    seed: u64,
    numbers: Range<u64>,
    until: Option<Instant>,
    tally: &mut Tally,
) -> Result<u64, Failure> {
    let (start, mut next, panics) = (numbers.start, numbers.start, panics::so_far());
    let mut playing = JoinSet::new();
    let mut progress = tokio::time::interval(PROGRESS);
    progress.tick().await;
    loop {
        let is_time = until.is_some_and(|until| Instant::now() >= until);
        while playing.len() < AT_ONCE && next < numbers.end && (next < start + WARM || !is_time) {
            let number = next;
            next += 1;
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
                    tally.episodes += 1;
                    match played {
                        Ok((plan, Ok(outcomes))) => file(number, &plan, outcomes?, tally),
                        Ok((_, Err(_))) => tally.fail(Episodes::one(number), "the episode never ended".into()),
                        Err(error) => tally.fail(Episodes::one(number), format!("a panic: {error}")),
                    }
                }
            },
            _ = progress.tick() => eprintln!(
                "{} episodes, {} attempts, {} broken; {}",
                tally.episodes,
                tally.attempts,
                tally.broken.len(),
                match until {
                    Some(until) => format!("{:.0} s to go", until.saturating_duration_since(Instant::now()).as_secs_f64()),
                    None => format!("until {}", numbers.end),
                }
            ),
        }
    }
    let before = tally.left.last().map(|look| look.alive);
    let left = settled(before).await;
    if let Some(before) = before.filter(|before| !left.is_back_to(*before)) {
        let (tasks, descriptors) = (
            left.tasks - before.tasks,
            left.descriptors - before.descriptors,
        );
        tally.fail(
            Episodes(start..next),
            format!("{tasks} tasks and {descriptors} descriptors are left"),
        );
    }
    // panics of detached tasks count as well
    let panics = panics::so_far() - panics;
    if panics > 0 {
        tally.fail(Episodes(start..next), format!("{panics} panics"));
    }
    tally.left.push(Look {
        cycle: u32::try_from(tally.episodes)?,
        alive: left,
    });
    Ok(next)
}

impl Tally {
    fn fail(&mut self, episodes: Episodes, what: String) {
        eprintln!("BROKEN  episode {episodes}: {what}");
        self.broken.push(Broken { episodes, what });
    }
}

fn file(number: u64, plan: &Plan, outcomes: Vec<Outcome>, tally: &mut Tally) {
    for outcome in outcomes {
        tally.attempts += 1;
        tally.clear += u64::from(plan.is_clear());
        for fault in plan.faults(outcome.met_signal_fault) {
            *tally
                .outcomes
                .entry(fault)
                .or_default()
                .entry(outcome.ended)
                .or_default() += 1;
        }
        if tally.told == Some(number) {
            eprintln!("{}: {}", outcome.ended, outcome.transitions);
        }
        for what in outcome.broken {
            eprintln!("        {plan:?}\n        {}", outcome.transitions);
            tally.fail(Episodes::one(number), what);
        }
    }
}

fn render(tally: &Tally) -> String {
    let mut outcomes: Vec<&str> = tally
        .outcomes
        .values()
        .flat_map(|by| by.keys().copied())
        .collect();
    outcomes.sort_unstable();
    outcomes.dedup();
    let heads: Vec<&str> = ["fault"]
        .into_iter()
        .chain(outcomes.iter().copied())
        .collect();
    let row = |(fault, by): (&&'static str, &BTreeMap<&str, u64>)| {
        let count = |outcome: &&str| {
            by.get(*outcome)
                .map_or_else(|| "-".to_owned(), u64::to_string)
        };
        [(*fault).to_owned()]
            .into_iter()
            .chain(outcomes.iter().map(count))
            .collect()
    };
    table::render(&heads, &tally.outcomes.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alive::Alive;

    fn looks(bytes: &[i64]) -> Vec<Look> {
        let look = |(n, bytes): (usize, &i64)| {
            let alive = Alive {
                bytes: *bytes,
                tasks: 0,
                descriptors: 0,
                resident: 0,
            };
            Look {
                cycle: 100 * n as u32,
                alive,
            }
        };
        bytes.iter().enumerate().map(look).collect()
    }

    #[test]
    fn two_looks_tell_a_leak_from_a_table_and_many_need_no_room_for_one() {
        let leaks =
            |bytes: &[i64]| growth(&looks(bytes)).map(|(heap, _)| heap.grown as f64 > heap.bound);
        assert_eq!(leaks(&[9_000]), None);
        assert_eq!(leaks(&[0, 2_048]), Some(false));
        assert_eq!(leaks(&[0, 100 * 64]), Some(true));
        assert_eq!(
            leaks(&[0, 99_000, 99_000, 99_000, 99_000, 99_000]),
            Some(false)
        );
        assert_eq!(leaks(&[0, 0, 0, 0, 2_000, 4_000]), Some(true));
    }
}
