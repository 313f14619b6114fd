//! The STUN servers in rotation: a cohort is used while any of it works, dropped as a whole when none does.

use ice_gather::StunServer;
use rand::Rng;
use rand::seq::SliceRandom;

/// Every known server, shuffled, and the part of it that has not failed yet.
#[derive(Debug, Clone)]
pub struct StunCache {
    known: Vec<StunServer>,
    left: Vec<StunServer>,
    cohort_size: usize,
}

impl StunCache {
    /// A cohort's usual size.
    pub const COHORT_SIZE: usize = 5;

    /// Knows these servers; nothing is drawn yet.
    #[must_use]
    pub const fn new(known: Vec<StunServer>) -> Self {
        Self { known, left: Vec::new(), cohort_size: Self::COHORT_SIZE }
    }

    /// Draws cohorts of this size; at least one.
    #[must_use]
    pub fn with_cohort_size(mut self, size: usize) -> Self {
        self.cohort_size = size.max(1);
        self
    }

    /// The cohort in use. Refills from every known server, shuffled, if all were dropped.
    pub fn cohort(&mut self, rng: &mut impl Rng) -> &[StunServer] {
        if self.left.is_empty() {
            self.left.clone_from(&self.known);
            self.left.shuffle(rng);
        }
        &self.left[..self.cohort_size.min(self.left.len())]
    }

    /// The cohort failed as a whole: the next one takes its place.
    pub fn drop_cohort(&mut self) {
        self.left.drain(..self.cohort_size.min(self.left.len()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn cache(servers: u16) -> StunCache {
        StunCache::new((0..servers).map(|n| StunServer::Name("stun.example.org".into(), n + 1)).collect())
    }

    #[test]
    fn a_cohort_stays_until_it_is_dropped() {
        let (mut cache, mut rng) = (cache(12), rand::rng());
        let first = cache.cohort(&mut rng).to_vec();
        assert_eq!(first.len(), 5);
        assert_eq!(cache.cohort(&mut rng), first);
        cache.drop_cohort();
        assert!(cache.cohort(&mut rng).iter().all(|server| !first.contains(server)));
    }

    #[test]
    fn every_server_has_its_turn_before_any_comes_again() {
        let (mut cache, mut rng) = (cache(12), rand::rng());
        let mut sizes = Vec::new();
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let cohort = cache.cohort(&mut rng).to_vec();
            sizes.push(cohort.len());
            seen.extend(cohort);
            cache.drop_cohort();
        }
        assert_eq!((sizes, seen.len()), (vec![5, 5, 2], 12));
        assert_eq!(cache.cohort(&mut rng).len(), 5, "refilled");
    }

    #[test]
    fn nothing_known_is_nothing_drawn() {
        let (mut cache, mut rng) = (cache(0), rand::rng());
        assert!(cache.cohort(&mut rng).is_empty());
        cache.drop_cohort();
        assert!(cache.cohort(&mut rng).is_empty());
    }
}
