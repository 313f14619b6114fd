//! The faults of one episode: a pure function of the seed and the episode's number.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use consumer_fsm::State;

use crate::bounds;
use crate::faults::{SignalFault, Stage};
use crate::front::Front;

/// STUN servers of an episode.
pub(super) const SERVERS: usize = 5;

/// Of so many episodes at least one is clear, with each kind of NAT in turn.
const ONE_IS_CLEAR: u64 = 8;

/// The states in which a producer can vanish.
const WITH_A_PEER: [State; 5] = [
    State::Listening,
    State::Offering,
    State::Trickling,
    State::Opening,
    State::Established,
];

/// How a STUN server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Honest,
    Dead,
    /// Answers after so many milliseconds.
    Slow(u64),
    /// A mapped address that could be true, and is not.
    Lying,
    /// Answers with an unknown transaction id.
    WrongId,
    /// A mapped address that cannot be.
    Impossible,
    Garbage,
    /// Dozens of forged answers in front of the true one.
    Flooding,
}

/// The behaviour of the producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Producers {
    Serve,
    /// Signals well, and never answers a check.
    Ghost,
    /// Each vanishes after so many milliseconds, and another takes its place.
    Vanish(u64),
    /// All vanish as a consumer comes into this state, and others take their place.
    VanishIn(State),
    Absent,
}

/// How the consumer's side ends the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// Some milliseconds after the path is up.
    AfterPath(u64),
    Cancelled(u64),
    Dropped(u64),
}

/// The faults between the consumer's socket and its NAT.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Link {
    /// Share lost each way.
    pub(super) loss: f64,
    /// Garbage and spoofed datagrams, per read.
    pub(super) forged: f64,
    /// The NAT forgets the mapping after so many milliseconds, and makes another.
    pub(super) rebinds: Option<u64>,
    pub(super) seed: u64,
}

/// An episode.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) front: Front,
    pub(super) servers: [Manner; SERVERS],
    pub(super) signal: Option<(Stage, SignalFault, u32)>,
    pub(super) producers: Producers,
    pub(super) ends: Ends,
    pub(super) link: Link,
}

impl Plan {
    pub(super) fn new(seed: u64, episode: u64) -> Self {
        // neighbours must not resemble each other
        let mut rng = SmallRng::seed_from_u64(seed ^ episode.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let front = pick(&mut rng, &Front::PLAYED);
        let servers = std::array::from_fn(|_| match rng.random_range(0..16) {
            0..8 => Manner::Honest,
            8..10 => Manner::Dead,
            10 => Manner::Slow(rng.random_range(50..400)),
            11 => Manner::Lying,
            12 => Manner::WrongId,
            13 => Manner::Impossible,
            14 => Manner::Garbage,
            _ => Manner::Flooding,
        });
        let signal = rng.random_bool(0.3).then(|| {
            let stage = pick(&mut rng, &[Stage::Offer, Stage::Candidates]);
            (
                stage,
                pick(&mut rng, &SignalFault::ALL),
                rng.random_range(1..4),
            )
        });
        let producers = match rng.random_range(0..10) {
            0..6 => Producers::Serve,
            6 => Producers::Ghost,
            7 => Producers::Vanish(rng.random_range(0..80)),
            8 => Producers::VanishIn(pick(&mut rng, &WITH_A_PEER)),
            _ => Producers::Absent,
        };
        let ends = match rng.random_range(0..10) {
            0..5 => Ends::AfterPath(rng.random_range(0..100)),
            5..8 => Ends::Cancelled(rng.random_range(0..200)),
            _ => Ends::Dropped(rng.random_range(0..200)),
        };
        let link = Link {
            loss: pick(&mut rng, &[0.0, 0.0, 0.05, 0.15]),
            forged: pick(&mut rng, &[0.0, 0.0, 0.2, 0.5]),
            rebinds: rng.random_bool(0.15).then(|| rng.random_range(0..150)),
            seed: rng.random(),
        };
        let plan = Self {
            front,
            servers,
            signal,
            producers,
            ends,
            link,
        };
        // by chance, a short run has none behind some kind of NAT that nothing stands in the way of
        let turn = (episode / ONE_IS_CLEAR) as usize;
        if episode.is_multiple_of(ONE_IS_CLEAR) {
            plan.cleared(Front::PLAYED[turn % Front::PLAYED.len()])
        } else {
            plan
        }
    }

    /// The same plan behind this kind of NAT, without faults.
    fn cleared(self, front: Front) -> Self {
        let (Ends::AfterPath(after) | Ends::Cancelled(after) | Ends::Dropped(after)) = self.ends;
        Self {
            front,
            servers: [Manner::Honest; SERVERS],
            signal: None,
            producers: Producers::Serve,
            ends: Ends::AfterPath(after),
            link: Link {
                loss: 0.0,
                rebinds: None,
                ..self.link
            },
        }
    }

    /// The names of the plan's faults. A fault of signalling is included only if an exchange met
    /// it.
    pub(super) fn faults(&self, met_signal_fault: bool) -> Vec<&'static str> {
        let mut faults = Vec::new();
        for manner in self.servers {
            faults.push(match manner {
                Manner::Honest => continue,
                Manner::Dead => "server dead",
                Manner::Slow(_) => "server slow",
                Manner::Lying => "server lies",
                Manner::WrongId => "server: wrong id",
                Manner::Impossible => "server: impossible address",
                Manner::Garbage => "server: garbage",
                Manner::Flooding => "server floods",
            });
        }
        if let Some((_, fault, _)) = self.signal.filter(|_| met_signal_fault) {
            faults.push(match fault {
                SignalFault::Gone => "signalling: gone",
                SignalFault::Empty => "signalling: empty",
                SignalFault::Version => "signalling: version",
                SignalFault::Rejected => "signalling: rejected",
                SignalFault::Cut => "signalling: cut",
                SignalFault::Malformed => "signalling: malformed",
                SignalFault::TooLong => "signalling: too long",
                SignalFault::TimedOut => "signalling: timed out",
                SignalFault::Garbage => "signalling: garbage",
                SignalFault::BadCredentials => "signalling: bad credentials",
                SignalFault::Slow => "signalling: slow",
            });
        }
        faults.extend(match self.producers {
            Producers::Serve => None,
            Producers::Ghost => Some("producer silent"),
            Producers::Vanish(_) => Some("producer vanishes"),
            Producers::VanishIn(State::Listening) => Some("vanishes: listening"),
            Producers::VanishIn(State::Offering) => Some("vanishes: offering"),
            Producers::VanishIn(State::Trickling) => Some("vanishes: trickling"),
            Producers::VanishIn(State::Opening) => Some("vanishes: opening"),
            Producers::VanishIn(_) => Some("vanishes: established"),
            Producers::Absent => Some("no producer"),
        });
        faults.extend(match self.ends {
            Ends::AfterPath(_) => None,
            Ends::Cancelled(_) => Some("consumer cancelled"),
            Ends::Dropped(_) => Some("consumer dropped"),
        });
        faults.extend((self.link.loss > 0.0).then_some("packets lost"));
        faults.extend((self.link.forged > 0.0).then_some("datagrams forged"));
        faults.extend(self.link.rebinds.map(|_| "NAT rebinds"));
        if faults.is_empty() {
            faults.push("none");
        }
        faults.sort_unstable();
        faults.dedup();
        faults
    }

    /// Whether the answers can honestly lead to another verdict than the NAT's: a server lied, or
    /// there were two NATs.
    pub(super) fn misleads(&self) -> bool {
        self.servers.contains(&Manner::Lying) || self.link.rebinds.is_some()
    }

    /// Whether nothing stands between the consumer and the true verdict, nor between it and its
    /// path but a firewall: then it has to have both. Forged datagrams are no excuse.
    pub(super) fn is_clear(&self) -> bool {
        let decides = |manner: &&Manner| matches!(manner, Manner::Honest | Manner::Flooding);
        self.servers.iter().filter(decides).count() >= 2
            && !self.misleads()
            && self.link.loss == 0.0
            && self.signal.is_none()
            && self.producers == Producers::Serve
            && matches!(self.ends, Ends::AfterPath(_))
    }

    /// When the consumer's side ends the attempt at the latest.
    pub(super) fn ends_by(&self) -> Duration {
        match self.ends {
            Ends::AfterPath(_) => bounds::CHAOS_PATH,
            Ends::Cancelled(after) | Ends::Dropped(after) => Duration::from_millis(after),
        }
    }
}

fn pick<T: Copy>(rng: &mut SmallRng, from: &[T]) -> T {
    *from.choose(rng).unwrap_or(&from[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_the_same_each_time_and_unlike_its_neighbours() {
        let plan = |seed, episode| format!("{:?}", Plan::new(seed, episode));
        assert_eq!(plan(7, 3), plan(7, 3));
        assert_ne!(plan(7, 3), plan(7, 4));
        assert_ne!(plan(7, 3), plan(8, 3));
    }

    #[test]
    fn every_fault_has_its_turn() {
        let mut seen: Vec<_> = (0..2_000)
            .flat_map(|episode| Plan::new(1, episode).faults(true))
            .collect();
        seen.sort_unstable();
        seen.dedup();
        // of servers, of signalling, of producers, of the consumer, of the link; and none at all
        assert_eq!(
            seen.len(),
            7 + SignalFault::ALL.len() + 8 + 2 + 3 + 1,
            "{seen:?}"
        );
    }

    #[test]
    fn behind_every_kind_of_nat_there_is_soon_one_that_nothing_stands_in_the_way_of() {
        let clear: Vec<Front> = (0..50)
            .map(|episode| Plan::new(1, episode))
            .filter(Plan::is_clear)
            .map(|plan| plan.front)
            .collect();
        assert!(
            Front::PLAYED.iter().all(|front| clear.contains(front)),
            "{clear:?}"
        );
    }
}
