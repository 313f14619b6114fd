//! The STUN servers in rotation: a cohort is used while any of it works, dropped as a whole when
//! none does.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ice_gather::{Gathering, StunServer};
use nat_summary::Outcome;
use rand::Rng;
use rand::seq::SliceRandom;

mod source;

pub use self::source::{SourceError, StunSource};

/// Most servers known at once; what a source brings beyond is ignored.
const MAX_SERVERS: usize = 4_096;
/// Most silent servers remembered; the oldest are forgotten.
const MAX_SILENT: usize = 256;

/// The STUN servers of one or many consumers. Clones are the same cache: what fails one slot, no
/// other has to try.
#[derive(Debug, Clone)]
pub struct StunCache {
    source: StunSource,
    rotation: Arc<Mutex<Rotation>>,
    /// One refill at a time; who comes meanwhile waits for it.
    refilling: Arc<tokio::sync::Mutex<()>>,
}

/// Servers to be asked together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Cohort {
    /// The servers.
    pub servers: Vec<StunServer>,
    /// Which of the cache's cohorts this is: it can be dropped once, by whichever slot is first.
    number: u64,
}

impl StunCache {
    /// A cohort's usual size.
    pub const COHORT_SIZE: usize = 5;

    /// Knows these servers; nothing is drawn yet.
    #[must_use]
    pub fn new(known: Vec<StunServer>) -> Self {
        Self::from_source(StunSource::List(known))
    }

    /// Knows what `source` brings, and asks it again each time every server was dropped.
    #[must_use]
    pub fn from_source(source: StunSource) -> Self {
        Self {
            source,
            rotation: Arc::new(Mutex::new(Rotation::new(Self::COHORT_SIZE))),
            refilling: Arc::default(),
        }
    }

    /// Draws cohorts of this size; at least one. Of every clone.
    #[must_use]
    pub fn with_cohort_size(self, size: usize) -> Self {
        self.rotation().size = size.max(1);
        self
    }

    /// The cohort in use. Refills from the source, shuffled, if all were dropped; servers that were
    /// silent come last. A source that fails is no reason to stop while older servers are
    /// known: then they come again.
    ///
    /// # Errors
    /// [`SourceError`] if the source brought nothing, and nothing is known from before.
    pub async fn cohort(&self, rng: &mut (impl Rng + Send)) -> Result<Cohort, SourceError> {
        if let Some(cohort) = self.rotation().cohort() {
            return Ok(cohort);
        }
        let _refilling = self.refilling.lock().await;
        // somebody else may have been faster
        if let Some(cohort) = self.rotation().cohort() {
            return Ok(cohort);
        }
        let brought = self.source.load().await;
        let mut rotation = self.rotation();
        let failure = match brought {
            Ok(servers) => {
                rotation.know(servers);
                SourceError::Empty
            }
            Err(error) => {
                tracing::warn!(%error, "no new STUN servers");
                error
            }
        };
        rotation.shuffle(rng);
        rotation.cohort().ok_or(failure)
    }

    /// The cohort failed as a whole: the next one takes its place. Nothing happens if it was
    /// dropped before.
    pub fn drop_cohort(&self, cohort: &Cohort) {
        self.rotation().drop_cohort(cohort.number);
    }

    /// Remembers which servers of the cohort were silent in this gathering, for the next draw.
    /// Those that merely were not waited for count too: a quick one is worth more in a cohort.
    pub fn learn(&self, cohort: &Cohort, gathering: &Gathering) {
        let mut rotation = self.rotation();
        for server in &cohort.servers {
            let mut told = gathering
                .servers
                .iter()
                .filter(|r| r.name.as_ref().unwrap_or(&r.server) == server)
                .peekable();
            if told.peek().is_some() {
                let has_answered = told.any(|report| report.outcome == Outcome::Answered);
                rotation.learn(server, has_answered);
            }
        }
    }

    fn rotation(&self) -> MutexGuard<'_, Rotation> {
        self.rotation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every known server, shuffled, and the part of it that has not failed yet. Pure: randomness is an
/// argument.
#[derive(Debug)]
struct Rotation {
    known: Vec<StunServer>,
    left: Vec<StunServer>,
    silent: VecDeque<StunServer>,
    size: usize,
    number: u64,
}

impl Rotation {
    const fn new(size: usize) -> Self {
        Self {
            known: Vec::new(),
            left: Vec::new(),
            silent: VecDeque::new(),
            size,
            number: 0,
        }
    }

    /// Each server once, and only so many.
    fn know(&mut self, servers: Vec<StunServer>) {
        let mut seen = HashSet::new();
        self.known = servers
            .into_iter()
            .filter(|server| seen.insert(server.clone()))
            .take(MAX_SERVERS)
            .collect();
    }

    fn shuffle(&mut self, rng: &mut impl Rng) {
        self.left.clone_from(&self.known);
        self.left.shuffle(rng);
        // stable: among the others, and among themselves, the order stays random
        self.left.sort_by_key(|server| self.silent.contains(server));
        self.number += 1;
    }

    fn cohort(&self) -> Option<Cohort> {
        let servers = self.left[..self.size.min(self.left.len())].to_vec();
        (!servers.is_empty()).then_some(Cohort {
            servers,
            number: self.number,
        })
    }

    fn drop_cohort(&mut self, number: u64) {
        if number == self.number {
            self.left.drain(..self.size.min(self.left.len()));
            self.number += 1;
        }
    }

    fn learn(&mut self, server: &StunServer, has_answered: bool) {
        if has_answered {
            self.silent.retain(|silent| silent != server);
        } else if !self.silent.contains(server) {
            if self.silent.len() == MAX_SILENT {
                self.silent.pop_front();
            }
            self.silent.push_back(server.clone());
        }
    }
}

#[cfg(test)]
mod tests;
