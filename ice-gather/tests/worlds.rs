//! The plan in the judge's worlds, in simulated time: what it knows when it ends early is never
//! wrong, an early end loses no verdict, and an observer of the same datagrams reaches the same one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ice_gather::plan::{IcmpError, Plan, Transmit};
use ice_gather::{GatherConfig, Policy};
use nat_model::{Behaviour, Dependence};
use nat_summary::observer::Observer;
use nat_summary::{Evidence, NatType, Outcome, ServerId};
use nat_worlds::build::{self, Odds};
use nat_worlds::gather::DEADLINE;
use nat_worlds::nat::Nat;
use nat_worlds::network::{Base, Loss, Net, Origin, Quirk, Reply, StunServer, Way, World};
use nat_worlds::plain::{Kind, Seen, Server};
use nat_worlds::random::Random;
use nat_worlds::table::{self, Table};
use nat_worlds::truth::{Entry, View};
use nat_worlds::{describe, door};

/// When a name turns out to have no address.
const NAME_FAILS: Duration = Duration::from_millis(40);
/// The least wait that lets silence mean something.
const FULL_WAIT: Duration = Duration::from_millis(750);

/// The number of worlds: `WORLDS` in the environment, else 100,000 where the tests are optimised
/// and a part of them where they are not.
fn count() -> u64 {
    let asked = std::env::var("WORLDS").ok();
    let asked = asked.and_then(|text| text.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) {
        2_000
    } else {
        100_000
    })
}

/// One socket of each family, bound to one address, as a plan has them.
fn world(random: &mut Random, odds: Odds) -> World {
    let mut world = build::world(random, odds);
    let mut families = BTreeSet::new();
    world.bases.retain_mut(|base| {
        let (socket, _) = base.sources[0];
        // a router with two ways out takes all its packets from that one address
        base.sources.retain(|(source, _)| *source == socket);
        base.reported = socket;
        families.insert(socket.is_ipv4())
    });
    world
}

/// What the future holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Coming {
    NameFails,
    NameResolves(usize),
    Datagram {
        socket: SocketAddr,
        source: SocketAddr,
        bytes: Vec<u8>,
    },
    Icmp(SocketAddr, bool),
}

/// A request as the network saw it.
#[derive(Debug, Default)]
struct Asked {
    first_sent: Duration,
    copies: u32,
}

/// Hands the plan what comes, when it comes.
struct Driver<'a> {
    world: &'a mut World,
    random: Random,
    plan: Plan,
    /// Sees the datagrams that the plan sends and gets, and nothing else.
    observer: Box<Observer>,
    start: Instant,
    now: Duration,
    coming: BinaryHeap<Reverse<(Duration, u64, Coming)>>,
    origins: Origins,
    asked: BTreeMap<(usize, usize), Asked>,
    is_anything_heard: bool,
    has_happened: bool,
}

/// How each mapped address came about, by base, server and the address.
type Origins = BTreeMap<(SocketAddr, SocketAddr, SocketAddr), Origin>;

/// A gathering to its end.
struct Run {
    /// When the plan has enough.
    early: Known,
    /// At the deadline.
    late: Known,
    origins: Origins,
}

/// What is known at one moment.
struct Known {
    at: Duration,
    evidence: Evidence,
    /// The same, as the observer has it.
    observed: Evidence,
    is_silent: bool,
}

impl<'a> Driver<'a> {
    fn new(world: &'a mut World, config: GatherConfig, random: Random) -> Self {
        let start = Instant::now();
        let sockets = world.bases.iter().map(|base| base.reported).collect();
        let mut observer = Box::<Observer>::default();
        for ip in &world.locals {
            observer.add_local(*ip);
        }
        let mut driver = Self {
            observer,
            plan: Plan::new(config, sockets, start),
            world,
            random,
            start,
            now: Duration::ZERO,
            coming: BinaryHeap::new(),
            origins: BTreeMap::new(),
            asked: BTreeMap::new(),
            is_anything_heard: false,
            has_happened: false,
        };
        for server in 0..driver.world.servers.len() {
            let known_at = driver.world.servers[server].known_at;
            if known_at.is_zero() {
                driver.ask(server);
            } else {
                driver.plan.name_started();
                driver.expect(known_at, Coming::NameResolves(server));
            }
        }
        // names that lead nowhere, and those of a sink-hole, which no gatherer asks
        for _ in 0..driver.world.never_asked.len() {
            driver.plan.name_started();
            driver.expect(NAME_FAILS, Coming::NameFails);
        }
        driver
    }

    fn ask(&mut self, server: usize) {
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.random.number().to_be_bytes());
        id[8..].copy_from_slice(&(server as u32).to_be_bytes());
        let at = self.world.servers[server].at;
        self.plan.ask(at, None, id, self.start + self.now);
    }

    fn expect(&mut self, at: Duration, coming: Coming) {
        let order = self.random.number();
        self.coming.push(Reverse((at, order, coming)));
    }

    fn run(mut self) -> Run {
        let mut early = None;
        loop {
            self.send();
            let is_complete = self.plan.is_complete(self.start + self.now);
            if is_complete && early.is_none() {
                early = Some(self.known());
            }
            let timeout = self.plan.poll_timeout();
            let timeout = timeout.map(|at| at.saturating_duration_since(self.start));
            // a host that stalls wakes up when it is over
            let timeout = timeout.map(|at| if self.is_stalled() { DEADLINE } else { at });
            let next = self.coming.peek().map(|Reverse((at, ..))| *at);
            match timeout.into_iter().chain(next).min() {
                Some(at) if at <= DEADLINE => self.now = self.now.max(at),
                _ => break,
            }
            while let Some(Reverse((at, _, coming))) = self.coming.pop() {
                if at > self.now {
                    self.coming.push(Reverse((at, 0, coming)));
                    break;
                }
                self.come(coming);
            }
        }
        self.now = DEADLINE;
        self.plan.is_complete(self.start + self.now);
        let late = self.known();
        Run {
            early: early.unwrap_or_else(|| self.known()),
            late,
            origins: self.origins,
        }
    }

    fn is_stalled(&self) -> bool {
        self.world.stalls_at.is_some_and(|stall| self.now >= stall)
    }

    fn send(&mut self) {
        if self.is_stalled() {
            return;
        }
        while let Some(transmit) = self.plan.poll_transmit(self.start + self.now) {
            let event = self.world.event;
            if !self.has_happened && event.is_some_and(|(when, _)| self.now >= when) {
                self.world.happen();
                self.has_happened = true;
            }
            let base = self
                .world
                .bases
                .iter()
                .position(|b| b.reported == transmit.socket);
            let server = self
                .world
                .servers
                .iter()
                .position(|s| s.at == transmit.server);
            let request = (base.expect("its base"), server.expect("its server"));
            let asked = self.asked.entry(request).or_insert_with(|| Asked {
                first_sent: self.now,
                copies: 0,
            });
            asked.copies += 1;
            let Transmit { socket, server, .. } = transmit;
            self.observer
                .sent(self.now, socket, server, &transmit.bytes);
            let loss = if self.random.chance(self.world.loss) {
                self.random.one_of(&[Loss::Inside, Loss::Outside])
            } else {
                Loss::None
            };
            let passage = self.world.send(request, self.now, loss, &mut self.random);
            if let Some(passage) = passage {
                self.reply(&transmit, passage.reply, passage.origin, passage.arrives);
            }
        }
    }

    fn reply(&mut self, transmit: &Transmit, reply: Reply, origin: Origin, at: Duration) {
        let (socket, mut source) = (transmit.socket, transmit.server);
        let id = &transmit.bytes[8..20];
        let bytes = match reply {
            Reply::Mapped(mapped) => {
                self.origins.insert((socket, source, mapped), origin);
                answer(id, mapped)
            }
            Reply::Refused => refusal(id),
            Reply::Rejected => {
                let mut bytes = answer(id, socket);
                match self.random.below(4) {
                    0 => source.set_port(source.port() ^ 1),
                    // another cookie, another id, a length that is none
                    1 => bytes[4] ^= 1,
                    2 => bytes[9] ^= 1,
                    _ => bytes[3] += 1,
                }
                bytes
            }
            Reply::Closed => return self.expect(at, Coming::Icmp(source, true)),
            Reply::Unreachable => return self.expect(at, Coming::Icmp(source, false)),
        };
        let datagram = Coming::Datagram {
            socket,
            source,
            bytes,
        };
        self.expect(at, datagram);
    }

    fn come(&mut self, coming: Coming) {
        let now = self.start + self.now;
        match coming {
            Coming::NameFails => self.plan.name_ended(),
            Coming::NameResolves(server) => {
                self.ask(server);
                self.plan.name_ended();
            }
            Coming::Datagram {
                socket,
                source,
                bytes,
            } => {
                self.is_anything_heard = true;
                self.observer.received(self.now, socket, source, &bytes);
                // what cannot be read is dropped
                let _ = self.plan.handle_datagram(now, socket, source, &bytes);
            }
            Coming::Icmp(server, is_of_server) => {
                self.is_anything_heard |= is_of_server;
                let error = if is_of_server {
                    IcmpError::Hard
                } else {
                    IcmpError::Soft
                };
                self.plan.handle_unreachable(server, error);
                let mut sockets = self.world.bases.iter().map(|base| base.reported);
                let socket = sockets.find(|socket| socket.is_ipv4() == server.is_ipv4());
                let reporter = is_of_server.then_some(server.ip());
                let socket = socket.expect("its base");
                self.observer
                    .unreachable(self.now, socket, server, error, reporter);
            }
        }
    }

    fn known(&mut self) -> Known {
        self.observer.advance(self.now);
        let mut evidence = Evidence::new();
        for ip in &self.world.locals {
            evidence.add_local(*ip);
        }
        self.plan.record(&mut evidence);
        let waited = |asked: &Asked| asked.copies > 1 && self.now - asked.first_sent >= FULL_WAIT;
        let silent = self.asked.iter().filter(|(_, asked)| waited(asked));
        let silent = silent.map(|((_, server), _)| self.world.servers[*server].at.ip());
        let silent: BTreeSet<IpAddr> = silent.collect();
        let of_family = |is_v4: bool| silent.iter().filter(|ip| ip.is_ipv4() == is_v4).count() > 1;
        Known {
            at: self.now,
            evidence,
            observed: self.observer.evidence(),
            is_silent: !self.is_anything_heard && (of_family(true) || of_family(false)),
        }
    }
}

/// A Binding success response with XOR-MAPPED-ADDRESS (RFC 8489 section 14.2).
fn answer(id: &[u8], mapped: SocketAddr) -> Vec<u8> {
    const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    let key: Vec<u8> = COOKIE.iter().chain(id).copied().collect();
    let (family, ip) = match mapped.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mut value = vec![0, family];
    let xored = |bytes: &[u8]| -> Vec<u8> { bytes.iter().zip(&key).map(|(a, b)| a ^ b).collect() };
    value.extend(xored(&mapped.port().to_be_bytes()));
    value.extend(xored(&ip));
    message(0x0101, id, 0x0020, &value)
}

/// A Binding error response (RFC 8489 section 14.8).
fn refusal(id: &[u8]) -> Vec<u8> {
    message(0x0111, id, 0x0009, &[0, 0, 4, 1])
}

fn message(kind: u16, id: &[u8], attribute: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend((value.len() as u16 + 4).to_be_bytes());
    bytes.extend([0x21, 0x12, 0xa4, 0x42]);
    bytes.extend(id);
    bytes.extend(attribute.to_be_bytes());
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes
}

/// The evidence beside the truth.
fn view<'a>(world: &'a World, known: &Known, origins: &Origins) -> View<'a> {
    let entry = |seen: nat_summary::Observation| {
        let ServerId::Address(ip, port) = seen.server else {
            panic!("the plan asks addresses");
        };
        let server = SocketAddr::new(ip, port);
        let origin = origins.get(&(seen.base, server, seen.mapped));
        Entry {
            seen: Seen {
                base: seen.base,
                server: Server::At(server),
                mapped: seen.mapped,
                sequence: seen.sequence,
                resent: false,
            },
            origin: origin.expect("an answer that was sent").clone(),
        }
    };
    View {
        world,
        list: None,
        entries: known.evidence.observations().map(entry).collect(),
        locals: world.locals.clone(),
        asked: world.servers.iter().map(|server| server.at.ip()).collect(),
        verdict: door::verdict(&known.evidence),
        is_silent: known.is_silent,
    }
}

impl Known {
    /// Whether the observer and the plan differ; on what, if they do. Both read the same answers, and each
    /// waits for silence in its own way: a server that does not answer may be pending or given up to the
    /// plan and silent to the observer, or the other way around.
    fn differs(&self) -> Option<String> {
        let outcomes = |evidence: &Evidence| -> BTreeMap<String, Option<Outcome>> {
            let spoke = |outcome: &Outcome| *outcome >= Outcome::Refused;
            let servers = evidence.servers().iter();
            let named = servers.map(|(server, o)| (format!("{server:?}"), Some(*o).filter(spoke)));
            named.collect()
        };
        let spoken = |evidence: &Evidence| {
            let all = outcomes(evidence).into_iter();
            all.filter_map(|(server, outcome)| Some((server, outcome?)))
                .collect::<Vec<_>>()
        };
        let seen = |evidence: &Evidence| {
            let seen = evidence.observations();
            seen.map(|o| (o.base, o.server, o.mapped))
                .collect::<Vec<_>>()
        };
        let (plan, observer) = (&self.evidence, &self.observed);
        if seen(plan) != seen(observer) || spoken(plan) != spoken(observer) {
            let facts = |e| format!("{:?} {:?}", seen(e), spoken(e));
            return Some(format!("{}\nobserver {}", facts(plan), facts(observer)));
        }
        let (plan, observer) = (plan.summary(), observer.summary());
        let silence = [NatType::Unknown, NatType::UdpBlocked];
        let both_silent =
            silence.contains(&plan.nat_type()) && silence.contains(&observer.nat_type());
        let bases = |summary: &nat_summary::NatSummary| {
            let bases = summary.bases();
            bases
                .map(|b| (b.base, b.mapping, b.rule, b.port_preserved))
                .collect::<Vec<_>>()
        };
        let is_same = (plan.nat_type() == observer.nat_type() || both_silent)
            && bases(&plan) == bases(&observer);
        (!is_same).then(|| {
            format!(
                "{plan}\nobserver {observer}\n{:?}\n{:?}",
                bases(&plan),
                bases(&observer)
            )
        })
    }
}

/// What early ends cost.
#[derive(Debug, Default)]
struct Ends {
    early: u64,
    /// A verdict that the servers still missing would have given.
    lost: u64,
    /// The type that was given early is not the one in the end.
    changed: u64,
    total: Duration,
    first_lost: Option<String>,
    /// Moments at which the observer differs from the plan.
    differs: u64,
    first_differs: Option<String>,
    /// Gatherings at whose end the plan calls UDP blocked, and those where the observer does as well.
    blocked: u64,
    blocked_alike: u64,
}

fn gather(seed: u64, odds: Odds, config: GatherConfig, table: &mut Table, ends: &mut Ends) {
    let mut random = Random::new(seed);
    let mut world = world(&mut random, odds);
    table.world();
    let driver = Driver::new(&mut world, config, random);
    let Run {
        early,
        late,
        origins,
    } = driver.run();
    let (first, last) = (
        view(&world, &early, &origins),
        view(&world, &late, &origins),
    );
    for (view, evidence) in [
        (&first, table::Evidence::Part),
        (&last, table::Evidence::Whole),
    ] {
        for fault in view.faults() {
            let example = || format!("after {:?} {fault:?} {:?}", early.at, view.verdict);
            table.fault(fault, evidence, (seed, example));
        }
    }
    for known in [&early, &late] {
        if let Some(difference) = known.differs() {
            ends.differs += 1;
            let world = describe::world(&world, &[]);
            let text = format!("world {seed} after {:?}: {difference}\n{world}", known.at);
            ends.first_differs.get_or_insert(text);
        }
    }
    let blocked = |evidence: &Evidence| evidence.summary().nat_type() == NatType::UdpBlocked;
    ends.blocked += u64::from(blocked(&late.evidence));
    ends.blocked_alike += u64::from(blocked(&late.evidence) && blocked(&late.observed));
    let only_observer = blocked(&late.observed) && !late.is_silent;
    assert!(
        !only_observer,
        "world {seed}: blocked, though a packet came in or none waited"
    );
    ends.total += early.at;
    if early.at >= DEADLINE {
        return;
    }
    ends.early += 1;
    let (said, in_the_end) = (first.verdict.kind, last.verdict.kind);
    ends.changed += u64::from(said != Kind::Unknown && said != in_the_end);
    if said == Kind::Unknown && in_the_end != Kind::Unknown {
        ends.lost += 1;
        let at = early.at;
        ends.first_lost.get_or_insert_with(|| {
            let (first, last) = (&first.verdict, &last.verdict);
            let world = describe::world(&world, &[]);
            format!("world {seed} after {at:?}: {first:?}\nthen {last:?}\n{world}")
        });
    }
}

fn check(odds: Odds, config: GatherConfig, title: &str) -> Ends {
    let (mut table, mut ends) = (Table::default(), Ends::default());
    for seed in 0..count() {
        gather(seed, odds, config, &mut table, &mut ends);
    }
    let mean = ends.total / u32::try_from(count()).expect("fewer");
    let Ends {
        early,
        lost,
        changed,
        differs,
        blocked,
        blocked_alike,
        ..
    } = ends;
    let said = format!(
        "{early} ended early, all after {mean:?} in the mean; {lost} verdicts lost, {changed} changed; \
         the observer differs {differs} times, and calls UDP blocked in {blocked_alike} of {blocked}"
    );
    println!("{title}\n{table}\n{said}");
    let mut examples = String::new();
    for (seed, text) in table.examples() {
        examples += &format!("world {seed}: {text}\n");
    }
    let first = ends.first_differs.as_deref().unwrap_or_default();
    assert_eq!(differs, 0, "{title}\n{said}\n{first}");
    // a name that resolves late leaves an observer too short a wait
    assert!(blocked_alike * 2 >= blocked, "{title}\n{said}");
    assert_eq!(table.faults(), 0, "{title}\n{table}\n{said}\n{examples}");
    ends
}

#[test]
fn no_early_end_is_wrong_and_none_loses_a_verdict_without_oddities() {
    // a verdict that was given may still change: another base may come to speak
    let ends = check(
        Odds::NONE,
        GatherConfig::default(),
        "The plan in worlds without oddities",
    );
    assert_eq!(ends.lost, 0, "{}", ends.first_lost.unwrap_or_default());
}

#[test]
fn no_early_end_is_wrong_where_oddities_are_many() {
    check(
        Odds::MANY,
        GatherConfig::default(),
        "The plan where oddities are over-sampled",
    );
}

#[test]
fn no_verdict_is_wrong_when_every_server_is_waited_for() {
    let config = GatherConfig::default().with_policy(Policy::All);
    check(Odds::NONE, config, "All servers, without oddities");
    check(
        Odds::MANY,
        config,
        "All servers, where oddities are over-sampled",
    );
}

/// A host behind one NAT, with servers on its own network and outside, each with its round trip in
/// milliseconds.
fn home(mapping: Dependence, inner: &[u64], outer: &[u64]) -> World {
    let behaviour = Behaviour::new(mapping, Dependence::AddressAndPortDependent);
    let nat = Nat::new(behaviour, vec![[203, 0, 113, 7].into()], 0);
    let way = Way {
        own: None,
        nets: vec![Net::Home, Net::Global],
        nats: vec![0],
        open: 2,
    };
    let server = |net: Net, ip: [u8; 4], round_trip: u64| StunServer {
        at: (ip, 3478).into(),
        net,
        reported: Server::At((ip, 3478).into()),
        quirk: Quirk::Honest,
        round_trip: Duration::from_millis(round_trip),
        known_at: Duration::ZERO,
    };
    let inner = (9..)
        .zip(inner)
        .map(|(n, trip)| server(Net::Home, [192, 168, 1, n], *trip));
    let outer = (1..)
        .zip(outer)
        .map(|(n, trip)| server(Net::Global, [198, 51, 100, n], *trip));
    let socket: SocketAddr = ([192, 168, 1, 5], 50_000).into();
    World {
        nats: vec![nat],
        ways: vec![way],
        bases: vec![Base {
            sources: vec![(socket, 0)],
            reported: socket,
        }],
        servers: inner.chain(outer).collect(),
        never_asked: Vec::new(),
        locals: vec![socket.ip()],
        event: None,
        loss: 0,
        wakes_late: false,
        stalls_at: None,
    }
}

/// The type that is known when the plan has enough.
fn early_kind(mut world: World) -> Kind {
    let driver = Driver::new(&mut world, GatherConfig::default(), Random::new(0));
    door::verdict(&driver.run().early.evidence).kind
}

#[test]
fn two_servers_inside_end_no_gathering_before_those_outside_answer() {
    let outer = [60, 60];
    let symmetric = home(Dependence::AddressAndPortDependent, &[1, 1], &outer);
    assert_eq!(early_kind(symmetric), Kind::Symmetric);
    let cone = home(Dependence::EndpointIndependent, &[1, 1], &outer);
    assert_eq!(early_kind(cone), Kind::Cone);
}

#[test]
fn one_server_inside_does_not_make_a_quorum_with_one_outside() {
    let cone = home(Dependence::EndpointIndependent, &[1], &[60, 150]);
    assert_eq!(early_kind(cone), Kind::Cone);
}

#[test]
fn two_servers_outside_still_end_a_gathering_before_a_dead_one_is_given_up() {
    let mut world = home(Dependence::EndpointIndependent, &[], &[60, 60, 60]);
    world.servers[2].quirk = Quirk::Dead;
    let driver = Driver::new(&mut world, GatherConfig::default(), Random::new(0));
    let early = driver.run().early;
    assert_eq!(door::verdict(&early.evidence).kind, Kind::Cone);
    assert!(early.at < Duration::from_secs(1), "{:?}", early.at);
}
