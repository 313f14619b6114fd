//! A model of censors and faults: two sides that shake hands and exchange data over a network whose every
//! loss is known by its reason. No verdict may be wrong, and each has to come where its proof exists.

use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use nat_summary::stage::{
    Above, CheckLog, DtlsRole, DtlsVersion, PathWatch, SIZES, SizeClass, StageReport, StageVerdict,
    judge,
};
use nat_worlds::random::Random;

use super::wire;

const LARGE: usize = 900;

/// The cause in a world, one of them at most, beside loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Nothing,
    Loss,
    DropHello,
    DropHandshake,
    DropDtls,
    DropLarge,
    DropAfterBytes,
    DropAfterTime,
    ForgedAlert,
    Rate,
    Blackout,
    PeerDies,
    PeerStalls,
    PeerRefuses,
    PeerSlow,
    PeerCloses,
    WrongCertificate,
}

const KINDS: [Kind; 17] = [
    Kind::Nothing,
    Kind::Loss,
    Kind::DropHello,
    Kind::DropHandshake,
    Kind::DropDtls,
    Kind::DropLarge,
    Kind::DropAfterBytes,
    Kind::DropAfterTime,
    Kind::ForgedAlert,
    Kind::Rate,
    Kind::Blackout,
    Kind::PeerDies,
    Kind::PeerStalls,
    Kind::PeerRefuses,
    Kind::PeerSlow,
    Kind::PeerCloses,
    Kind::WrongCertificate,
];

/// Why a datagram did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// A rule that looks at the datagram.
    Selective,
    /// A peer that did not react, though its ICE did.
    Peer,
    Loss,
    /// Nothing passed at all.
    Dark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Check(u64),
    Answer(u64),
    /// Flights of the handshake, 0 to 3.
    Flight(u8),
    Data(u32, bool),
    Ack(u32, bool),
    Own,
    Alert,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(bool, Tag, usize),
    /// A side repeats its flight; its number.
    Repeat(bool, u8, u64),
    Check,
    Data,
    Own,
    /// The peer acts on a flight at last.
    Acts(u8),
    GivesUp(u32, bool),
}

struct World {
    kind: Kind,
    random: Random,
    loss: u64,
    rtt: u64,
    is_client: bool,
    is_13: bool,
    /// Toward the peer, away from it.
    censored: [bool; 2],
    at: u64,
    bytes: usize,
    flight_of_peer: u64,
    check_every: u64,
    data_every: u64,
    end: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let kind = random.one_of(&KINDS);
        let direction = random.below(3);
        let loss = match kind {
            Kind::Loss => random.one_of(&[5, 10, 20, 30]),
            _ if random.chance(20) => random.one_of(&[1, 5, 10, 20, 30]),
            _ => 0,
        };
        Self {
            kind,
            loss,
            rtt: random.one_of(&[2, 20, 60, 150, 300]),
            is_client: random.chance(50),
            is_13: random.chance(50),
            censored: [direction != 1, direction != 0],
            at: random.below(12_000),
            bytes: random.below(12_000) as usize,
            flight_of_peer: random.one_of(&[50, 400, 1_000]),
            check_every: random.one_of(&[500, 2_000, 2_000, 2_500, 5_000]),
            data_every: random.one_of(&[100, 300, 1_000]),
            end: random.one_of(&[4_900, 4_900, 10_000, 30_000, 60_000]),
            random,
        }
    }

    fn has_loss(&self) -> bool {
        self.loss > 0
    }
}

#[derive(Default)]
struct Side {
    /// The flight that it repeats, if any.
    flight: Option<u8>,
    number: u64,
    interval: u64,
    is_done: bool,
    has_seen: Option<u8>,
}

/// The course of a world, with the truth.
struct Run {
    world: World,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    us: Side,
    peer: Side,
    watch: PathWatch,
    checks: CheckLog,
    above: Above,
    sizes: [SizeClass; SIZES],
    unacked: BTreeMap<u32, bool>,
    next_data: u32,
    /// The datagrams since the last record that came in that did not get through, by reason.
    lost: Vec<Reason>,
    /// Of those to acknowledge, since the last acknowledgement.
    lost_unacknowledged: Vec<Reason>,
    /// The large ones of ours.
    lost_large: Vec<Reason>,
    dtls_bytes: [usize; 2],
    tokens: (u64, u64),
    has_peer_closed: bool,
    has_alert: bool,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Run {
    fn new(world: World) -> Self {
        let role = if world.is_client {
            DtlsRole::Client
        } else {
            DtlsRole::Server
        };
        let most = [256, 512, 768, 1024, 1152, u16::MAX];
        let mut run = Self {
            now: 0,
            events: BinaryHeap::new(),
            order: 0,
            us: Side {
                interval: 400,
                ..Side::default()
            },
            peer: Side {
                interval: world.flight_of_peer,
                ..Side::default()
            },
            watch: PathWatch::new(),
            checks: CheckLog::new(),
            above: Above::default().with_role(role).with_secured(false),
            sizes: most.map(|most| SizeClass {
                most,
                ..SizeClass::default()
            }),
            unacked: BTreeMap::new(),
            next_data: 0,
            lost: Vec::new(),
            lost_unacknowledged: Vec::new(),
            lost_large: Vec::new(),
            dtls_bytes: [0; 2],
            tokens: (0, 0),
            has_peer_closed: false,
            has_alert: false,
            world,
        };
        run.plan(100, Event::Check);
        if run.world.is_client {
            run.begin(true, 0);
        } else {
            run.begin(false, 0);
        }
        if run.world.kind == Kind::ForgedAlert {
            let at = run.world.at % 3_000;
            run.plan(at, Event::Arrives(true, Tag::Alert, 15));
        }
        run
    }

    fn plan(&mut self, after: u64, event: Event) {
        self.order += 1;
        self.events
            .push(Reverse((self.now + after, self.order, event)));
    }

    fn run(mut self) -> (StageReport, Self) {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > self.world.end {
                break;
            }
            self.now = at;
            self.step(event);
        }
        let above = self.above.with_sizes(self.sizes).with_version(
            match (self.us.is_done, self.world.is_13) {
                (false, _) => DtlsVersion::Unknown,
                (_, true) => DtlsVersion::Dtls13,
                (_, false) => DtlsVersion::Dtls12,
            },
        );
        self.now = self.world.end;
        (judge(ms(self.now), &self.watch, &self.checks, &above), self)
    }

    fn side(&mut self, is_us: bool) -> &mut Side {
        if is_us { &mut self.us } else { &mut self.peer }
    }

    fn is_client(&self, is_us: bool) -> bool {
        is_us == self.world.is_client
    }

    /// Nothing passes.
    fn is_dark(&self) -> bool {
        let World { kind, at, .. } = self.world;
        match kind {
            // for ever, or for a while
            Kind::Blackout => self.now >= at && (at % 2 == 0 || self.now < at + 3_000),
            Kind::PeerDies => self.now >= at,
            _ => false,
        }
    }

    fn bytes(&self, tag: Tag) -> Vec<u8> {
        let certificate = if self.world.at % 2 == 0 { 300 } else { 900 };
        match (tag, self.world.is_13) {
            (Tag::Flight(0), _) => wire::client_hello(),
            (Tag::Flight(1), false) => wire::server_flight(certificate),
            (Tag::Flight(1), true) => [wire::server_hello(), wire::unified(certificate)].concat(),
            (Tag::Flight(2), false) => wire::client_flight(certificate),
            (Tag::Flight(2), true) => wire::unified(certificate),
            (Tag::Flight(_), false) => wire::finished(),
            (Tag::Flight(_), true) => wire::unified(30),
            (Tag::Data(_, is_large), is_13) => {
                let length = if is_large { 1_150 } else { 100 };
                if is_13 {
                    wire::unified(length)
                } else {
                    wire::data(length)
                }
            }
            (Tag::Ack(..) | Tag::Own, true) => wire::unified(60),
            (Tag::Ack(..) | Tag::Own, false) => wire::data(60),
            (Tag::Alert, _) => wire::alert(),
            (Tag::Check(_) | Tag::Answer(_), _) => vec![0; 100],
        }
    }

    /// Whether a rule drops it.
    fn is_dropped(&mut self, from_us: bool, tag: Tag, bytes: &[u8]) -> bool {
        let direction = usize::from(!from_us);
        let is_stun = matches!(tag, Tag::Check(_) | Tag::Answer(_));
        let World { kind, at, .. } = self.world;
        if kind == Kind::Rate {
            // twenty in a second, of any kind
            let second = self.now / 1_000;
            self.tokens = if self.tokens.0 == second {
                (second, self.tokens.1 + 1)
            } else {
                (second, 1)
            };
            return self.tokens.1 > 20;
        }
        if is_stun {
            return false;
        }
        self.dtls_bytes[direction] += bytes.len();
        self.world.censored[direction]
            && match kind {
                Kind::DropHello => tag == Tag::Flight(0),
                Kind::DropHandshake => bytes[0] == 22,
                Kind::DropDtls => true,
                Kind::DropLarge => bytes.len() > LARGE,
                Kind::DropAfterBytes => self.dtls_bytes[direction] > self.world.bytes,
                Kind::DropAfterTime => self.now >= at,
                _ => false,
            }
    }

    fn send(&mut self, from_us: bool, tag: Tag) {
        let bytes = self.bytes(tag);
        let is_stun = matches!(tag, Tag::Check(_) | Tag::Answer(_));
        if from_us && !is_stun {
            self.watch.sent(ms(self.now), &bytes);
            if self.world.is_13 && matches!(tag, Tag::Data(..) | Tag::Ack(..)) {
                self.watch.data_sent(ms(self.now));
            }
            if matches!(tag, Tag::Data(..)) {
                self.watch.acknowledgement_due(ms(self.now));
            }
        }
        let reason = if self.is_dark() {
            Some(Reason::Dark)
        } else if self.is_dropped(from_us, tag, &bytes) {
            Some(if self.world.kind == Kind::Rate {
                Reason::Loss
            } else {
                Reason::Selective
            })
        } else if self.world.random.chance(self.world.loss) {
            Some(Reason::Loss)
        } else {
            None
        };
        if let Some(reason) = reason {
            if !is_stun {
                self.note(reason);
            }
            if matches!(tag, Tag::Data(..) | Tag::Ack(..)) {
                self.lost_unacknowledged.push(reason);
            }
            if matches!(tag, Tag::Data(_, true)) {
                self.lost_large.push(reason);
            }
            return;
        }
        let half = self.world.rtt / 2;
        self.plan(half.max(1), Event::Arrives(!from_us, tag, bytes.len()));
    }

    fn note(&mut self, reason: Reason) {
        self.lost.push(reason);
    }

    /// A side sends a flight, and repeats it until the next.
    fn begin(&mut self, is_us: bool, flight: u8) {
        let is_last = flight == 3;
        let side = self.side(is_us);
        side.number += 1;
        side.flight = (!is_last).then_some(flight);
        let (number, interval) = (side.number, side.interval);
        self.send(is_us, Tag::Flight(flight));
        if !is_last {
            self.plan(interval, Event::Repeat(is_us, flight, number));
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Check => {
                self.checks.sent(ms(self.now));
                self.send(true, Tag::Check(self.now));
                self.plan(self.world.check_every, Event::Check);
            }
            Event::Repeat(is_us, flight, number) => {
                let is_dead = !is_us && self.is_dark() && self.world.kind == Kind::PeerDies;
                let side = self.side(is_us);
                if is_dead || (side.flight, side.number) != (Some(flight), number) {
                    return;
                }
                side.interval *= 2;
                self.begin(is_us, flight);
            }
            Event::Arrives(to_us, tag, length) => self.arrives(to_us, tag, length),
            Event::Data => {
                if self.us.is_done {
                    let is_large = self.next_data % 2 == 1;
                    self.unacked.insert(self.next_data, is_large);
                    self.send(true, Tag::Data(self.next_data, is_large));
                    self.plan(1_000, Event::GivesUp(self.next_data, is_large));
                    self.next_data += 1;
                    self.plan(self.world.data_every, Event::Data);
                }
            }
            Event::Own => {
                if self.reacts() && !self.has_peer_closed {
                    self.send(false, Tag::Own);
                }
                self.plan(700, Event::Own);
            }
            Event::Acts(flight) => self.act(false, flight),
            Event::GivesUp(number, is_large) => {
                if self.unacked.remove(&number).is_some() {
                    self.sizes[if is_large { 5 } else { 0 }].missing += 1;
                }
            }
        }
    }

    /// Whether the peer's DTLS and what is above react now.
    fn reacts(&self) -> bool {
        match self.world.kind {
            Kind::PeerStalls => self.now < self.world.at,
            Kind::PeerDies => self.now < self.world.at,
            _ => true,
        }
    }

    fn arrives(&mut self, to_us: bool, tag: Tag, length: usize) {
        if !to_us && self.is_dark() {
            return;
        }
        if to_us && !matches!(tag, Tag::Check(_) | Tag::Answer(_)) {
            let bytes = self.bytes(tag);
            self.watch.received(ms(self.now), &bytes);
            debug_assert!(length == bytes.len());
            if self.world.is_13 && self.us.is_done && matches!(tag, Tag::Ack(..) | Tag::Own) {
                self.watch.data_received(ms(self.now));
            }
            if tag == Tag::Alert {
                self.has_alert = true;
            } else if !matches!(tag, Tag::Flight(flight) if self.us.has_seen >= Some(flight)) {
                self.lost.clear();
            }
        }
        match tag {
            Tag::Check(at) => self.send(!to_us, Tag::Answer(at)),
            Tag::Answer(at) => self.checks.answered(ms(at), ms(self.now)),
            Tag::Alert => {}
            _ if !to_us && !self.reacts() => {
                self.note(Reason::Peer);
                self.lost_unacknowledged.push(Reason::Peer);
            }
            Tag::Flight(flight) if !to_us && self.world.kind == Kind::PeerSlow => {
                // what it would do by now, it does later
                self.note(Reason::Peer);
                self.plan(self.world.at, Event::Acts(flight));
            }
            Tag::Flight(0) if !to_us && self.world.kind == Kind::PeerRefuses => {
                self.send(false, Tag::Alert)
            }
            Tag::Flight(flight) => self.act(to_us, flight),
            Tag::Data(number, is_large) => self.send(false, Tag::Ack(number, is_large)),
            Tag::Ack(number, is_large) => {
                self.watch.acknowledged();
                self.lost_unacknowledged.clear();
                if self.unacked.remove(&number).is_some() {
                    self.sizes[if is_large { 5 } else { 0 }].passed += 1;
                }
            }
            Tag::Own => {}
        }
    }

    /// A flight of the other side has come to this one.
    fn act(&mut self, is_us: bool, flight: u8) {
        let is_for_server = flight % 2 == 0;
        if self.is_client(is_us) == is_for_server {
            return;
        }
        let has_seen = self.side(is_us).has_seen;
        match flight {
            // the last flight is sent again for each copy
            2 if has_seen == Some(2) => return self.send(is_us, Tag::Flight(3)),
            3 => {}
            _ if has_seen >= Some(flight) => return,
            _ => {}
        }
        if flight == 2 && has_seen.is_none() {
            return;
        }
        if flight == 1 && is_us && self.world.kind == Kind::WrongCertificate {
            self.above.has_refused = true;
            self.us.flight = None;
            self.us.has_seen = Some(1);
            return;
        }
        let interval = if is_us {
            400
        } else {
            self.world.flight_of_peer
        };
        let side = self.side(is_us);
        side.has_seen = Some(flight);
        side.interval = interval;
        if flight < 3 {
            if flight == 2 {
                self.done(is_us);
            }
            self.begin(is_us, flight + 1);
        } else {
            self.side(is_us).flight = None;
            self.done(is_us);
        }
    }

    fn done(&mut self, is_us: bool) {
        if core::mem::replace(&mut self.side(is_us).is_done, true) {
            return;
        }
        if is_us {
            self.watch.secure(ms(self.now));
            self.above = self.above.with_secured(true);
            self.plan(1, Event::Data);
        } else {
            self.plan(500, Event::Own);
            if self.world.kind == Kind::PeerCloses {
                self.has_peer_closed = true;
            }
        }
        if self.us.is_done && self.has_peer_closed {
            self.above = self.above.with_closed_by_peer(true);
        }
    }

    /// The judgement of a verdict by the truth.
    fn truth(&self, verdict: StageVerdict) -> Truth {
        let is_dark = self.is_dark();
        let has = |lost: &[Reason], reason: Reason| lost.contains(&reason);
        let by_stage = |lost: &[Reason]| {
            if is_dark && self.world.at + 3_000 < self.now {
                Truth::Wrong
            } else if has(lost, Reason::Selective) || has(lost, Reason::Peer) {
                Truth::Right
            } else if has(lost, Reason::Dark) {
                Truth::Wrong
            } else {
                Truth::ByChance
            }
        };
        let came_in = self.watch.incoming();
        let has_records =
            came_in.handshake + came_in.encrypted + came_in.unified + came_in.data > 0;
        let must = |is_so: bool, truth: Truth| if is_so { truth } else { Truth::Wrong };
        let hello = |lost: &[Reason]| {
            // a peer that waits for its own alert, or has refused, is none of these
            must(!has_records, by_stage(lost))
        };
        match verdict {
            StageVerdict::Unknown => Truth::Right,
            StageVerdict::HelloUnanswered => must(self.world.is_client, hello(&self.lost)),
            StageVerdict::HelloNeverCame => must(!self.world.is_client, hello(&self.lost)),
            StageVerdict::HandshakeStalled => {
                must(has_records && !self.us.is_done, by_stage(&self.lost))
            }
            StageVerdict::HandshakeRefused => {
                must(self.has_alert || self.above.has_refused, Truth::Right)
            }
            StageVerdict::ChannelUnanswered => {
                must(self.us.is_done && came_in.data == 0, by_stage(&self.lost))
            }
            StageVerdict::FrozenAfterOpen => {
                let lost = [&self.lost[..], &self.lost_unacknowledged[..]].concat();
                must(came_in.data > 0, by_stage(&lost))
            }
            StageVerdict::LargePacketsVanish => {
                let is_so = self.sizes[5].passed == 0 && self.sizes[0].passed > 0;
                must(is_so, by_stage(&self.lost_large))
            }
            StageVerdict::PathLost => {
                if is_dark {
                    Truth::Right
                } else if self.world.has_loss() {
                    Truth::ByChance
                } else {
                    Truth::Wrong
                }
            }
            StageVerdict::ClosedByPeer => must(self.has_peer_closed, Truth::Right),
            _ => Truth::Wrong,
        }
    }

    /// The verdict that the proof allows, where a plain reader of the trace finds one at hand: no loss, a
    /// path that was checked often enough, and nothing but one cause.
    fn expected(&self) -> Option<StageVerdict> {
        let World {
            kind,
            end,
            loss,
            check_every,
            rtt,
            is_client,
            is_13,
            ..
        } = self.world;
        if loss > 0 || check_every > 2_000 || rtt > 60 || end < 4_900 {
            return None;
        }
        let has_records = self.watch.last_in().is_some();
        match kind {
            Kind::DropHello | Kind::DropDtls | Kind::DropHandshake if !has_records => {
                Some(if is_client {
                    StageVerdict::HelloUnanswered
                } else {
                    StageVerdict::HelloNeverCame
                })
            }
            Kind::WrongCertificate if self.above.has_refused => {
                Some(StageVerdict::HandshakeRefused)
            }
            Kind::PeerRefuses if is_client => Some(StageVerdict::HandshakeRefused),
            Kind::PeerCloses if self.us.is_done => Some(StageVerdict::ClosedByPeer),
            Kind::PeerDies if self.checks.answers() > 0 && end >= self.world.at + 32_000 => {
                Some(StageVerdict::PathLost)
            }
            Kind::DropAfterTime
                // in one direction it is enough: the peer's own data may go on coming in
                if self.us.is_done
                    && self.watch.incoming().data > 0
                    && !self.lost_unacknowledged.is_empty()
                    && end >= self.world.at + 15_000 =>
            {
                Some(StageVerdict::FrozenAfterOpen)
            }
            Kind::DropLarge
                if self.us.is_done
                    && self.world.censored[0]
                    && end >= 10_000
                    && self.watch.incoming().data > 0 =>
            {
                Some(StageVerdict::LargePacketsVanish)
            }
            // our flight vanishes, and the peer repeats its own; in DTLS 1.3 a repetition looks like
            // anything else under keys
            Kind::DropLarge if !self.us.is_done && has_records && is_client && !is_13 => {
                Some(StageVerdict::HandshakeStalled)
            }
            _ => None,
        }
    }
}

/// The watch's own time of the last record, as the model sees it.
trait LastIn {
    fn last_in(&self) -> Option<()>;
}

impl LastIn for PathWatch {
    fn last_in(&self) -> Option<()> {
        let came_in = self.incoming();
        (came_in.handshake + came_in.encrypted + came_in.unified + came_in.data > 0).then_some(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    Right,
    /// Loss alone brought it about.
    ByChance,
    Wrong,
}

#[derive(Default)]
struct Row {
    worlds: u64,
    decided: u64,
    by_chance: u64,
    wrong: u64,
    expected: u64,
    missing: u64,
    verdicts: BTreeMap<StageVerdict, u64>,
    example: Option<u64>,
}

fn count() -> u64 {
    let asked = std::env::var("WORLDS")
        .ok()
        .and_then(|text| text.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) {
        5_000
    } else {
        100_000
    })
}

#[test]
fn no_world_gets_a_wrong_verdict_and_none_misses_one_whose_proof_exists() {
    let mut table: BTreeMap<Kind, Row> = BTreeMap::new();
    for seed in 0..count() {
        let (report, run) = Run::new(World::new(seed)).run();
        let row = table.entry(run.world.kind).or_default();
        row.worlds += 1;
        *row.verdicts.entry(report.verdict).or_default() += 1;
        row.decided += u64::from(report.verdict != StageVerdict::Unknown);
        let truth = run.truth(report.verdict);
        row.by_chance += u64::from(truth == Truth::ByChance);
        row.wrong += u64::from(truth == Truth::Wrong);
        let expected = run.expected();
        row.expected += u64::from(expected.is_some());
        let is_missing = expected.is_some_and(|expected| expected != report.verdict);
        row.missing += u64::from(is_missing);
        if row.example.is_none() && (truth == Truth::Wrong || is_missing) {
            row.example = Some(seed);
            println!(
                "{seed} {:?} {truth:?} {expected:?} {report:?}",
                run.world.kind
            );
        }
    }
    println!(
        "{:<18}{:>8}{:>10}{:>10}{:>10}{:>8}{:>9}  verdicts",
        "kind", "worlds", "decided", "provable", "missing", "wrong", "by loss"
    );
    for (kind, row) in &table {
        println!(
            "{:<18}{:>8}{:>9.1}%{:>10}{:>10}{:>8}{:>9}  {:?}",
            format!("{kind:?}"),
            row.worlds,
            100.0 * row.decided as f64 / row.worlds as f64,
            row.expected,
            row.missing,
            row.wrong,
            row.by_chance,
            row.verdicts
        );
    }
    let sum = |count: fn(&Row) -> u64| table.values().map(count).sum::<u64>();
    assert_eq!(sum(|row| row.wrong), 0, "wrong verdicts");
    assert_eq!(sum(|row| row.missing), 0, "verdicts whose proof exists");
    assert!(
        sum(|row| row.expected) * 20 > count(),
        "few worlds have a proof"
    );
    // three of ten packets lost each way: see the module of `stage`
    assert!(
        sum(|row| row.by_chance) * 500 <= count(),
        "verdicts by loss alone: {}",
        sum(|row| row.by_chance)
    );
}
