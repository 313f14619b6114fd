//! Two endpoints over a network in between, in a time of their own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// The network: gets the side that sent a datagram, its number among that side's, and its bytes;
/// returns the datagrams that arrive.
type Road<'a> = &'a mut dyn FnMut(usize, usize, &[u8]) -> Vec<Vec<u8>>;

struct World {
    now: Instant,
    sides: [Endpoint; 2],
    delay: Duration,
    under_way: VecDeque<(Instant, usize, Vec<u8>)>,
    sent: [usize; 2],
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
    /// Sides whose newest version is this. The first opens the channel, and is the DTLS server, as a
    /// consumer is.
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
    fn run(&mut self, time: Duration, road: Road<'_>) {
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

    fn states(&self) -> [State; 2] {
        [self.sides[0].state(), self.sides[1].state()]
    }

    fn opened() -> Self {
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

    fn receive(&mut self, side: usize) -> Option<Vec<u8>> {
        let mut buffer = [0; 9000];
        match self.sides[side].receive(&mut buffer, self.now)? {
            Received::Binary(length) => Some(buffer[..length].to_vec()),
            other => panic!("{other:?}"),
        }
    }
}

fn whole(_: usize, _: usize, datagram: &[u8]) -> Vec<Vec<u8>> {
    vec![datagram.to_vec()]
}

#[test]
fn a_datagram_of_many_records_is_read_to_its_end_and_one_of_forged_records_is_not() {
    for newest in [DtlsVersion::Dtls12, DtlsVersion::Dtls13] {
        let mut world = World::opened_with(newest);
        // the client's first message proves to a server of 1.2 that its last flight arrived
        world.sides[1].send(b"first", world.now).unwrap();
        world.run(300 * MS, &mut whole);
        assert_eq!(world.receive(0), Some(b"first".to_vec()));
        let mut datagram = Vec::new();
        for number in 0..10 {
            world.sides[1].send(&[number], world.now).unwrap();
            while let Some(record) = world.sides[1].transmit() {
                datagram.extend(record);
            }
        }
        let is_wanted = world.sides[0].is_wanted().unwrap();
        assert!(is_wanted(&datagram));
        let refused = world.sides[0].refused();
        world.sides[0].handle(&datagram, world.now);
        for number in 0..10 {
            assert_eq!(world.receive(0), Some(vec![number]), "{newest:?}");
        }
        assert_eq!(world.sides[0].refused(), refused);

        // the same records, forged: none opens, and those behind the second are not tried
        world.sides[1].send(&[10], world.now).unwrap();
        let honest = world.sides[1].transmit().unwrap();
        let mut forged = honest.clone();
        *forged.last_mut().unwrap() ^= 1;
        let behind = |count| [forged.repeat(count), honest.clone()].concat();
        world.sides[0].handle(&behind(2), world.now);
        assert_eq!(world.receive(0), None);
        assert_eq!(world.sides[0].refused(), refused + 1);
        world.sides[0].handle(&behind(1), world.now);
        assert_eq!(world.receive(0), Some(vec![10]));
    }
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
    for _ in 0..600 {
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
        while world.receive(0).is_some() {
            heard += 1;
        }
    }
    assert_eq!(full, 0, "{heard} {:?}", world.sides[1].view());
    assert!((300..600).contains(&heard), "{heard}");
}

#[test]
fn any_datagram_of_the_opening_may_be_lost() {
    for newest in VERSIONS {
        for side in 0..2 {
            for lost in 0..8 {
                let mut world = World::of(newest);
                world.run(Duration::from_secs(5), &mut |from, number, datagram| {
                    if (from, number) == (side, lost) {
                        vec![]
                    } else {
                        vec![datagram.to_vec()]
                    }
                });
                assert_eq!(world.states(), [State::Open; 2], "{newest:?} {side} {lost}");
                for side in 0..2 {
                    assert_eq!(world.sides[side].send(b"x", world.now), Ok(()));
                    world.run(500 * MS, &mut whole);
                    assert_eq!(world.receive(1 - side), Some(b"x".to_vec()));
                }
            }
        }
    }
}

/// Round trips from the client's hello until the first message of the side that opens the channel
/// arrives.
fn round_trips(newest: DtlsVersion) -> u32 {
    let mut world = World::of(newest);
    world.delay = 500 * MS;
    let mut half_trips = 0;
    loop {
        world.run(world.delay, &mut whole);
        half_trips += 1;
        let _ = world.sides[0].send(b"first", world.now);
        if world.receive(1).is_some() {
            return half_trips;
        }
    }
}

#[test]
fn the_first_message_travels_with_the_cookie() {
    // halves of round trips: three of DTLS, for its last flight carries the first INIT, then INIT ACK
    // and the other INIT, and the cookie with the channel and the message. DTLS 1.2 has one more,
    // and its last flight comes from the side that opens the channel.
    assert_eq!(VERSIONS.map(round_trips), [6, 6]);
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
        // damage, repetition and loss of the peer's own datagrams end nothing
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

/// Two associations, and the packets between them.
struct Pair {
    now: Instant,
    sides: [Association; 2],
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let side = |tag| {
            Association::new(
                Start {
                    local_port: 5000,
                    remote_port: 5000,
                    max_message: 8192,
                    tag,
                    tsn: u32::MAX - tag,
                    cookie: [u8::try_from(tag).unwrap(); 16],
                },
                now,
            )
        };
        Self {
            now,
            sides: [side(7), side(8)],
        }
    }

    /// Exchanges packets for so long; `passes` gets the sender and the kind of the first chunk.
    fn run(&mut self, time: Duration, passes: &mut dyn FnMut(usize, u8) -> bool) {
        let end = self.now + time;
        while self.now < end {
            for side in 0..2 {
                let packets: Vec<_> = self.sides[side].outgoing().collect();
                for packet in packets {
                    if passes(side, packet[packet::COMMON_HEADER]) {
                        self.sides[1 - side].handle(packet.to_vec(), self.now);
                    }
                }
            }
            self.now += MS;
            for side in &mut self.sides {
                side.handle_timeout(self.now);
            }
        }
    }

    fn are_established(&self) -> bool {
        self.sides.iter().all(|side| side.view().is_established)
    }
}

#[test]
fn an_association_begins_from_either_side_and_from_both() {
    use packet::kind;
    // some stacks begin from one side only, and some of those answer no INIT
    for (side, silent) in [
        (2, &[][..]),
        (0, &[kind::INIT]),
        (1, &[kind::INIT]),
        (0, &[kind::INIT, kind::INIT_ACK]),
        (1, &[kind::INIT, kind::INIT_ACK]),
    ] {
        let mut pair = Pair::new();
        let is_silent = |kind: u8| silent.contains(&kind);
        pair.run(100 * MS, &mut |from, kind| {
            from != side || !is_silent(kind) || (kind == kind::INIT_ACK && silent.len() == 1)
        });
        let expected = silent.len() < 2;
        assert_eq!(pair.are_established(), expected, "{side} {silent:?}");
    }
}

#[test]
fn a_beginning_is_repeated_until_it_is_answered() {
    use packet::kind;
    for lost in [
        kind::INIT,
        kind::INIT_ACK,
        kind::COOKIE_ECHO,
        kind::COOKIE_ACK,
    ] {
        let mut pair = Pair::new();
        let mut left = 4;
        pair.run(Duration::from_secs(5), &mut |_, kind| {
            let is_lost = kind == lost && left > 0;
            left -= u32::from(is_lost);
            !is_lost
        });
        assert!(pair.are_established(), "{lost}");
        assert_eq!(left, if lost == kind::COOKIE_ACK { 2 } else { 0 }, "{lost}");
        assert!(pair.sides.iter().all(|side| side.timeout().is_none()));
        assert!(pair.sides.iter().all(|side| side.refused() == 0));
    }
}

#[test]
fn an_association_ends_with_an_abort_at_any_time() {
    for established in [false, true] {
        let mut pair = Pair::new();
        if established {
            pair.run(100 * MS, &mut |_, _| true);
        }
        let header = packet::Header {
            source: 5000,
            destination: 5000,
            tag: 7,
        };
        let abort = header.packet(&packet::chunk(packet::kind::ABORT, &[]));
        pair.sides[0].handle(abort, pair.now);
        let mut last = None;
        while let Some(happened) = pair.sides[0].happened() {
            last = Some(happened);
        }
        assert_eq!(last, Some(Happened::Ended(ChannelEnd::Aborted)));
        assert_eq!(pair.sides[0].timeout(), None);
    }
}
