//! Two endpoints over a network in between, in a time of their own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// What the network does with a datagram: which side sent it, its number among that side's, and its
/// bytes. Each element of the answer arrives.
type Road<'a> = &'a mut dyn FnMut(usize, usize, &[u8]) -> Vec<Vec<u8>>;

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) sides: [Endpoint; 2],
    delay: Duration,
    under_way: VecDeque<(Instant, usize, Vec<u8>)>,
    pub(super) sent: [usize; 2],
}

fn opening(identity: Identity, peer: Digest, is_ours: bool, newest: DtlsVersion) -> Opening {
    Opening {
        identity,
        peer: vec![peer],
        is_dtls_client: !is_ours,
        newest,
        channel: Channel {
            is_ours,
            local_port: 5000,
            remote_port: 5000,
            max_message: 8192,
            random: Random {
                tag: 7 + u32::from(is_ours),
                tsn: u32::MAX - 3 + u32::from(is_ours),
                cookie: [u8::from(is_ours); 16],
            },
        },
    }
}

impl World {
    /// The first side opens the channel, and is the DTLS server, as a consumer is.
    pub(super) fn new() -> Self {
        Self::of(DtlsVersion::Dtls13)
    }

    /// Sides whose newest version is this.
    fn of(newest: DtlsVersion) -> Self {
        let now = Instant::now();
        let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let (ours_digest, theirs_digest) = (ours.digest(), theirs.digest());
        Self {
            now,
            sides: [
                Endpoint::new(opening(ours, theirs_digest, true, newest), now).unwrap(),
                Endpoint::new(opening(theirs, ours_digest, false, newest), now).unwrap(),
            ],
            delay: 5 * MS,
            under_way: VecDeque::new(),
            sent: [0; 2],
        }
    }

    /// Everything that is due by then happens, in its order.
    pub(super) fn run(&mut self, time: Duration, road: Road<'_>) {
        let end = self.now + time;
        loop {
            for side in 0..2 {
                while let Some(datagram) = self.sides[side].transmit() {
                    let number = self.sent[side];
                    self.sent[side] += 1;
                    for datagram in road(side, number, &datagram) {
                        self.under_way
                            .push_back((self.now + self.delay, 1 - side, datagram));
                    }
                }
            }
            let arrives = self.under_way.front().map(|(at, ..)| *at);
            let due = |side: usize| self.sides[side].timeout(self.now);
            let next = [arrives, due(0), due(1)].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            if arrives.is_some_and(|at| at <= self.now) {
                let (_, side, datagram) = self.under_way.pop_front().unwrap();
                self.sides[side].handle(&datagram, self.now);
            } else {
                for side in &mut self.sides {
                    if side.timeout(self.now).is_some_and(|due| due <= self.now) {
                        side.handle_timeout(self.now);
                    }
                }
            }
        }
        self.now = end;
    }

    pub(super) fn states(&self) -> [State; 2] {
        [self.sides[0].state(), self.sides[1].state()]
    }

    pub(super) fn opened() -> Self {
        Self::opened_with(DtlsVersion::Dtls13)
    }

    fn opened_with(newest: DtlsVersion) -> Self {
        let mut world = Self::of(newest);
        world.run(200 * MS, &mut whole);
        assert_eq!(world.states(), [State::Open; 2]);
        for side in &world.sides {
            assert_eq!(side.view().dtls.version, Some(newest));
        }
        world
    }

    pub(super) fn receive(&mut self, side: usize) -> Option<Vec<u8>> {
        let mut buffer = [0; 9000];
        match self.sides[side].receive(&mut buffer, self.now)? {
            Received::Binary(length) => Some(buffer[..length].to_vec()),
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn whole(_: usize, _: usize, datagram: &[u8]) -> Vec<Vec<u8>> {
    vec![datagram.to_vec()]
}

#[test]
fn a_channel_opens_and_carries_messages_both_ways() {
    let mut world = World::opened();
    for length in [0, 1, 1200, 1201, 8192] {
        for side in 0..2 {
            let message = vec![length as u8; length];
            assert_eq!(world.sides[side].send(&message, world.now), Ok(()));
            world.run(500 * MS, &mut whole);
            assert_eq!(world.receive(1 - side), Some(message));
            assert_eq!(world.receive(1 - side), None);
        }
    }
    for side in &world.sides {
        let view = side.view();
        assert_eq!(view.dtls.version, Some(DtlsVersion::Dtls13));
        assert_eq!((view.refused, view.end), (0, None));
        assert!(view.dtls.is_done && view.sctp.is_established);
    }
    world.sides[0].close(world.now);
    world.run(50 * MS, &mut whole);
    assert_eq!(
        world.states(),
        [
            State::Ended(ChannelEnd::Closed),
            State::Ended(ChannelEnd::ClosedByPeer)
        ]
    );
}

#[test]
fn an_open_channel_sleeps_when_there_is_nothing_to_do() {
    let mut world = World::opened();
    world.run(Duration::from_secs(5), &mut whole);
    assert_eq!(
        [0, 1].map(|side| world.sides[side].timeout(world.now)),
        [None; 2]
    );
    let sent = world.sent;
    world.run(Duration::from_secs(3600), &mut whole);
    assert_eq!(world.sent, sent);
}

#[test]
fn losses_are_given_up_and_make_room() {
    let mut world = World::opened();
    let mut heard = 0;
    let mut full = 0;
    for n in 0..600 {
        if world.sides[1].send(&[0x55; 1000], world.now) != Ok(()) {
            full += 1;
        }
        world.run(3 * MS, &mut |side, number, datagram| {
            let is_lost = side == 1 && number.is_multiple_of(5);
            if is_lost {
                vec![]
            } else {
                vec![datagram.to_vec()]
            }
        });
        let before = heard;
        while world.receive(0).is_some() {
            heard += 1;
        }
        if std::env::var("SHOW").is_ok() {
            eprintln!(
                "{n}: +{} {:?} {:?}",
                heard - before,
                world.sides[1].association.as_mut().unwrap().debug(),
                world.sides[1].timeout(world.now).map(|t| t - world.now)
            );
        }
    }
    assert_eq!(full, 0, "{heard} {:?}", world.sides[1].view());
    assert!((300..600).contains(&heard), "{heard}");
}

#[path = "../../../../tests/it/forged.rs"]
mod forged;

/// Before each datagram that arrives, so many forged ones do.
fn forging(
    seed: u64,
    class: usize,
    count: usize,
) -> impl FnMut(usize, usize, &[u8]) -> Vec<Vec<u8>> {
    use rand::SeedableRng;
    let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
    move |_, _, datagram| {
        let (_, make) = forged::CLASSES[class];
        let mut datagrams: Vec<_> = (0..count).map(|_| make(&mut rng)).collect();
        datagrams.push(datagram.to_vec());
        datagrams
    }
}

const VERSIONS: [DtlsVersion; 2] = [DtlsVersion::Dtls12, DtlsVersion::Dtls13];

#[test]
fn no_stranger_keeps_a_channel_from_opening() {
    for (class, (name, _)) in forged::CLASSES.iter().enumerate() {
        for newest in VERSIONS {
            for seed in 0..2 {
                let mut world = World::of(newest);
                world.run(Duration::from_secs(5), &mut forging(seed, class, 30));
                let views = [0, 1].map(|side| world.sides[side].view());
                assert_eq!(world.states(), [State::Open; 2], "{name}: {views:#?}");
            }
        }
    }
}

#[test]
fn no_stranger_ends_or_disturbs_an_open_channel() {
    for (class, (name, _)) in forged::CLASSES.iter().enumerate() {
        for newest in VERSIONS {
            let mut world = World::opened_with(newest);
            let mut road = forging(7, class, 30);
            for n in 0..4_u8 {
                for side in 0..2 {
                    let message = vec![n; 1000];
                    assert_eq!(world.sides[side].send(&message, world.now), Ok(()));
                    world.run(20 * MS, &mut road);
                    assert_eq!(world.receive(1 - side), Some(message), "{name}");
                }
            }
            assert_eq!(world.states(), [State::Open; 2], "{name}");
            for side in &world.sides {
                let sctp = side.view().sctp;
                assert_eq!((sctp.lost, sctp.repeated), Default::default(), "{name}");
            }
        }
    }
}

#[test]
fn a_signed_end_is_the_only_end() {
    for newest in VERSIONS {
        // damage, repetition and loss of what the peer really sent end nothing
        let mut world = World::opened_with(newest);
        let mut number = 0_usize;
        for n in 0..100_u8 {
            for side in 0..2 {
                let _ = world.sides[side].send(&[n; 300], world.now);
            }
            world.run(10 * MS, &mut |_, _, datagram| {
                number += 1;
                let mut damaged = datagram.to_vec();
                let at = (7 * number) % damaged.len();
                damaged[at] ^= 1 << (number % 8);
                let cut = datagram[..number % datagram.len()].to_vec();
                vec![damaged, cut, datagram.to_vec(), datagram.to_vec()]
            });
            for side in 0..2 {
                assert_eq!(world.receive(side), Some(vec![n; 300]));
                assert_eq!(world.receive(side), None, "once");
            }
        }
        assert_eq!(world.states(), [State::Open; 2]);
        world.sides[1].close(world.now);
        world.run(50 * MS, &mut whole);
        assert_eq!(world.states()[0], State::Ended(ChannelEnd::ClosedByPeer));
    }
}

#[test]
fn another_certificate_ends_it_on_both_sides_under_the_keys() {
    for newest in VERSIONS {
        for wrong in 0..2 {
            let mut world = World::of(newest);
            let other = Identity::generate().unwrap();
            let expected = world.sides[1 - wrong].dtls.digest();
            let other = opening(other, expected, wrong == 0, newest);
            world.sides[wrong] = Endpoint::new(other, world.now).unwrap();
            world.run(300 * MS, &mut whole);
            let mut ends = [State::Ended(ChannelEnd::Certificate); 2];
            ends[wrong] = State::Ended(ChannelEnd::ClosedByPeer);
            assert_eq!(world.states(), ends, "{newest:?} {wrong}");
        }
    }
}
