//! Walks a path over and over, and measures live heap, tasks and descriptors on the way.

use std::cell::Cell;
use std::time::Instant;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use crate::alive::{Alive, settled};
use crate::{Failure, bounds, panics};

/// Looks on the way, besides the first.
const LOOKS: u32 = 10;
/// The same where there are many cycles.
const MANY_LOOKS: u32 = 20;
/// Many, in cycles.
const MANY: u32 = 2_000;

/// A measurement after some cycles.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Look {
    /// Cycles done by then.
    pub cycle: u32,
    /// At that moment.
    #[serde(flatten)]
    pub alive: Alive,
}

/// The leftovers of a path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// Those that are judged.
    pub cycles: u32,
    /// Cycles in all, those to warm up included.
    pub walked: u32,
    /// How many of them went the way the path intends.
    pub as_intended: u32,
    /// In all.
    pub seconds: f64,
    /// Live heap, by the slope over all looks.
    pub bytes_per_cycle: f64,
    /// More than at first, in all.
    pub tasks: i64,
    /// More than at first, in all.
    pub descriptors: i64,
    /// Bytes of memory lent by the system; shown, and not judged.
    pub resident_per_cycle: f64,
    /// Every one.
    pub looks: Vec<Look>,
    /// Spans that went out, where the path is to have some.
    pub spans: Option<u64>,
    /// Other complaints, for a person.
    pub faults: Vec<String>,
}

impl Measured {
    /// Of a walk that ended before its time.
    pub fn nothing(fault: String) -> Self {
        Self {
            cycles: 0,
            walked: 0,
            as_intended: 0,
            seconds: 0.0,
            bytes_per_cycle: 0.0,
            tasks: 0,
            descriptors: 0,
            resident_per_cycle: 0.0,
            looks: Vec::new(),
            spans: None,
            faults: vec![fault],
        }
    }

    /// Whether nothing is left.
    pub fn is_clean(&self) -> bool {
        self.bytes_per_cycle < bounds::LEAK_BYTES && self.tasks <= 0 && self.descriptors <= 0
    }

    /// Complains if the path was not taken often enough, because another path proves nothing.
    /// `least` is the share of cycles that have to go as intended.
    pub fn intended(mut self, least: f64) -> Self {
        if f64::from(self.as_intended) < least * f64::from(self.walked) {
            self.faults.push(format!(
                "only {} of {} cycles went as intended",
                self.as_intended, self.walked
            ));
        }
        self
    }

    /// How many spans went out, against the number that had to.
    pub fn spans(mut self, spans: u64, wanted: u64) -> Self {
        self.spans = Some(spans);
        if spans != wanted {
            self.faults
                .push(format!("{spans} spans went out, not {wanted}"));
        }
        self
    }
}

/// Measures one path.
pub struct Meter {
    /// How many are judged.
    pub cycles: u32,
    /// Waits at each measurement, for a while, until tasks and descriptors are back. Unset for a
    /// path that is known to leak, because the wait would be in vain.
    pub is_patient: bool,
    /// Called now and then with the number of finished cycles.
    pub tell: fn(u32),
}

impl Meter {
    /// Walks the path `at_once` times at a time. `prepare` makes the surroundings of the cycles,
    /// such as peers. They are dropped before each measurement, because their own work must not
    /// count. `cycle` returns whether it went as intended.
    pub async fn measure<World>(
        self,
        at_once: u32,
        prepare: impl AsyncFn() -> Result<World, Failure>,
        cycle: impl AsyncFn(&World, u32) -> Result<bool, Failure>,
    ) -> Result<Measured, Failure> {
        let (started, panics) = (Instant::now(), panics::so_far());
        let looks_per_round = if self.cycles < MANY {
            LOOKS
        } else {
            MANY_LOOKS
        };
        let mut looks: Vec<Look> = Vec::with_capacity(16 * MANY_LOOKS as usize);
        let (mut walked, mut as_intended) = (0, 0);
        let mut walk = async |cycles: u32| {
            let world = prepare().await?;
            let (next, intended) = (Cell::new(walked), Cell::new(0));
            let end = walked + cycles;
            let worker = async || {
                while next.get() < end {
                    let number = next.replace(next.get() + 1);
                    if cycle(&world, number).await? {
                        intended.set(intended.get() + 1);
                    }
                }
                Ok::<_, Failure>(())
            };
            try_join_all((0..at_once.min(cycles)).map(|_| worker())).await?;
            walked = end;
            as_intended += intended.get();
            Ok::<_, Failure>(())
        };

        walk((self.cycles / 10).clamp(20, 500).max(4 * at_once)).await?;
        // a first measurement, because measuring itself allocates once
        settled(None).await;
        walk(at_once).await?;
        let before = settled(None).await;
        looks.push(Look {
            cycle: 0,
            alive: before,
        });
        let (mut done, mut round, mut is_patient) = (0, self.cycles, self.is_patient);
        loop {
            let judged_from = looks.len() - 1;
            for look in 1..=looks_per_round {
                let upto =
                    done + (u64::from(round) * u64::from(look) / u64::from(looks_per_round)) as u32;
                let cycles = upto - looks.last().map_or(0, |last| last.cycle);
                if cycles == 0 {
                    continue;
                }
                walk(cycles).await?;
                let is_last = look == looks_per_round;
                let alive =
                    settled((is_patient || is_last && self.is_patient).then_some(before)).await;
                // a leak will not be gone at the next measurement either, so only the last one
                // waits again
                is_patient &= alive.is_back_to(before);
                looks.push(Look { cycle: upto, alive });
                (self.tell)(upto);
            }
            done += round;
            let judged = &looks[judged_from..];
            let bytes_per_cycle = slope(judged, |alive| alive.bytes);
            // more cycles, because a table that grew once looks like a leak over a few of them
            if bytes_per_cycle >= bounds::LEAK_BYTES
                && self.is_patient
                && round < bounds::LEAK_CYCLES_SURE
            {
                round *= 2;
                continue;
            }
            let last = looks.last().map_or(before, |look| look.alive);
            let panics = panics::so_far() - panics;
            return Ok(Measured {
                cycles: done,
                walked,
                as_intended,
                seconds: started.elapsed().as_secs_f64(),
                bytes_per_cycle,
                tasks: last.tasks - before.tasks,
                descriptors: last.descriptors - before.descriptors,
                resident_per_cycle: slope(judged, |alive| alive.resident),
                looks,
                spans: None,
                // panics of detached tasks count as well
                faults: (panics > 0)
                    .then(|| format!("{panics} panics"))
                    .into_iter()
                    .collect(),
            });
        }
    }
}

/// Growth per cycle, by least squares over every look.
fn slope(looks: &[Look], of: fn(&Alive) -> i64) -> f64 {
    let n = looks.len() as f64;
    let points = || {
        looks
            .iter()
            .map(|look| (f64::from(look.cycle), of(&look.alive) as f64))
    };
    let (sum_x, sum_y) = points().fold((0.0, 0.0), |(x, y), p| (x + p.0, y + p.1));
    let (mean_x, mean_y) = (sum_x / n, sum_y / n);
    let covariance: f64 = points().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = points().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if variance == 0.0 {
        0.0
    } else {
        covariance / variance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(bytes: impl Fn(u32) -> i64) -> Vec<Look> {
        let alive = |bytes| Alive {
            bytes,
            tasks: 0,
            descriptors: 0,
            resident: 0,
        };
        (0..=10)
            .map(|n| Look {
                cycle: n * 100,
                alive: alive(bytes(n * 100)),
            })
            .collect()
    }

    #[test]
    fn a_leak_of_one_byte_per_cycle_is_a_slope_of_one() {
        let slope = |looks: Vec<Look>| slope(&looks, |alive| alive.bytes);
        assert!((slope(looks(|cycle| 5_000 + i64::from(cycle))) - 1.0).abs() < 1e-9);
        assert!(slope(looks(|_| 5_000)).abs() < 1e-9);
    }
}
