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

/// Most servers known at once; further servers of a source are ignored.
const MAX_SERVERS: usize = 4_096;
/// Most silent servers remembered; the oldest are forgotten.
const MAX_SILENT: usize = 256;

/// The STUN servers of one or many consumers. Clones share the cache. If a cohort failed in one slot,
/// the other slots draw another cohort.
#[derive(Debug, Clone)]
pub struct StunCache {
    source: StunSource,
    rotation: Arc<Mutex<Rotation>>,
    /// One refill at a time; slots that need a cohort meanwhile wait for it.
    refilling: Arc<tokio::sync::Mutex<()>>,
}

/// A few servers that are asked together, because any single one may be dead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Cohort {
    /// The servers.
    pub servers: Vec<StunServer>,
    /// The number of the cohort in its cache. Several slots may drop the same cohort, and only the
    /// first drop counts.
    number: u64,
}

impl StunCache {
    /// A cohort's usual size.
    pub const COHORT_SIZE: usize = 5;

    /// A cache of these servers.
    #[must_use]
    pub fn new(known: Vec<StunServer>) -> Self {
        Self::from_source(StunSource::List(known))
    }

    /// A cache of the servers of `source`, which is read again each time every server was dropped.
    #[must_use]
    pub fn from_source(source: StunSource) -> Self {
        Self {
            source,
            rotation: Arc::new(Mutex::new(Rotation::new(Self::COHORT_SIZE))),
            refilling: Arc::default(),
        }
    }

    /// Sets the size of a cohort, at least one, of this cache and every clone.
    #[must_use]
    pub fn with_cohort_size(self, size: usize) -> Self {
        self.rotation().size = size.max(1);
        self
    }

    /// The cohort in use. Refills from the source, shuffled, if every server was dropped; servers
    /// that were silent come last. If the source fails, the servers that are known already are used
    /// again.
    ///
    /// # Errors
    /// [`SourceError`] if the source failed or is empty, and no server is known already.
    pub async fn cohort(&self, rng: &mut (impl Rng + Send)) -> Result<Cohort, SourceError> {
        if let Some(cohort) = self.rotation().cohort() {
            return Ok(cohort);
        }
        let _refilling = self.refilling.lock().await;
        // another slot may have been faster
        if let Some(cohort) = self.rotation().cohort() {
            return Ok(cohort);
        }
        let loaded = self.source.load().await;
        let mut rotation = self.rotation();
        let failure = match loaded {
            Ok(servers) => {
                rotation.set_known(servers);
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

    /// Drops a cohort that failed as a whole, so that the next one takes its place. Does nothing if
    /// the cohort was dropped before.
    pub fn drop_cohort(&self, cohort: &Cohort) {
        self.rotation().drop_cohort(cohort.number);
    }

    /// Remembers the servers of the cohort that were silent in this gathering, for the next draw. A
    /// server whose answer was not awaited counts as silent, because a cohort needs quick servers.
    pub fn learn(&self, cohort: &Cohort, gathering: &Gathering) {
        let mut rotation = self.rotation();
        for server in &cohort.servers {
            let mut reports = gathering
                .servers
                .iter()
                .filter(|r| r.name.as_ref().unwrap_or(&r.server) == server)
                .peekable();
            if reports.peek().is_some() {
                let has_answered = reports.any(|report| report.outcome == Outcome::Answered);
                rotation.learn(server, has_answered);
            }
        }
    }

    fn rotation(&self) -> MutexGuard<'_, Rotation> {
        self.rotation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every known server, and those that have not failed yet, shuffled. Pure: randomness is an
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

    /// Keeps each server once, and at most [`MAX_SERVERS`].
    fn set_known(&mut self, servers: Vec<StunServer>) {
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
        // a stable sort keeps the random order within the silent servers and within the others
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
