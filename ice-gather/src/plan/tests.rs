use nat_summary::NatType;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use stun::message::{Message, Setter};
use stun::xoraddr::XorMappedAddress;

use super::*;

const BASE: &str = "192.168.1.5:50000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn plan(config: GatherConfig, servers: &[&str], start: Instant) -> Plan {
    let mut plan = Plan::new(config, vec![at(BASE)], start);
    for (id, server) in (1..).zip(servers) {
        plan.ask(at(server), None, [id; 12], start);
    }
    plan
}

struct World {
    plan: Plan,
    start: Instant,
    asked: Vec<Transmit>,
}

impl World {
    fn new(servers: &[&str]) -> Self {
        let start = Instant::now();
        let plan = plan(GatherConfig::default(), servers, start);
        let mut world = Self { plan, start, asked: Vec::new() };
        world.advance(0);
        world
    }

    /// Sends what is due `after` milliseconds; how many packets that were.
    fn advance(&mut self, after: u64) -> usize {
        let before = self.asked.len();
        while let Some(transmit) = self.plan.poll_transmit(self.start + ms(after)) {
            self.asked.push(transmit);
        }
        self.asked.len() - before
    }

    fn answer(&mut self, after: u64, server: &str, mapped: &str) -> Result<Answered, Reject> {
        let request = self.asked.iter().find(|t| t.server == at(server)).unwrap();
        let datagram = answer_to(request, mapped);
        self.plan.handle_datagram(self.start + ms(after), at(BASE), at(server), &datagram)
    }

    fn done(&mut self, after: u64) -> bool {
        self.plan.is_complete(self.start + ms(after))
    }

    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::new();
        self.plan.record(&mut evidence);
        evidence
    }
}

fn answer_to(request: &Transmit, mapped: &str) -> Vec<u8> {
    let mapped = at(mapped);
    let mut message = Message::new();
    message.unmarshal_binary(&request.bytes).unwrap();
    message.set_type(stun::message::BINDING_SUCCESS);
    XorMappedAddress { ip: mapped.ip(), port: mapped.port() }.add_to(&mut message).unwrap();
    message.raw
}

const FIVE: [&str; 5] =
    ["198.51.100.1:3478", "198.51.100.2:3478", "198.51.100.3:3478", "198.51.100.4:3478", "198.51.100.5:3478"];

#[test]
fn without_loss_each_server_is_sent_one_packet_and_all_answers_end_it() {
    let mut world = World::new(&FIVE);
    assert_eq!(world.asked.len(), 5);
    for (n, server) in FIVE.iter().enumerate() {
        assert!(!world.done(20 + n as u64));
        world.answer(20 + n as u64, server, "203.0.113.7:50000").unwrap();
    }
    assert!(world.done(25));
    assert_eq!(world.advance(10_000), 0);
    assert_eq!(world.evidence().summary().nat_type(), NatType::Cone);
}

#[test]
fn a_silent_server_costs_one_grace_period_and_is_not_called_timed_out() {
    let mut world = World::new(&FIVE);
    for server in &FIVE[..4] {
        world.answer(20, server, "203.0.113.7:50000").unwrap();
    }
    assert!(!world.done(59));
    assert_eq!(world.plan.poll_timeout(), Some(world.start + ms(60)), "one grace of 40 ms past the quorum");
    assert!(world.done(60));
    let servers = world.evidence().servers().to_vec();
    assert_eq!(servers[4].1, Outcome::Pending, "nobody waited long enough to say more");
    world.answer(900, FIVE[4], "203.0.113.7:50000").unwrap();
    assert_eq!(world.evidence().summary().counts().answered, 5, "a late answer is evidence");
}

#[test]
fn a_slow_path_gets_a_grace_of_one_more_round_trip() {
    let mut world = World::new(&FIVE);
    world.answer(200, FIVE[0], "203.0.113.7:50000").unwrap();
    assert!(!world.done(240), "one server address proves nothing");
    world.answer(210, FIVE[1], "203.0.113.7:50000").unwrap();
    assert!(!world.done(419));
    assert!(world.done(420));
}

#[test]
fn requests_are_sent_again_with_doubling_pauses_until_the_deadline() {
    let mut world = World::new(&FIVE[..1]);
    let sent: Vec<u64> = (1..=3_000).filter(|t| world.advance(*t) > 0).collect();
    assert_eq!(sent, [250, 750, 1750]);
    assert!(!world.done(2_999));
    assert!(world.done(3_000));
    assert_eq!(world.evidence().summary().nat_type(), NatType::UdpBlocked);
    assert_eq!(world.plan.requests()[0].round_trip, None);
}

#[test]
fn the_round_trip_of_a_request_sent_twice_is_unknown() {
    let mut world = World::new(&FIVE[..2]);
    world.answer(20, FIVE[1], "203.0.113.7:50000").unwrap();
    world.advance(250);
    world.answer(260, FIVE[0], "203.0.113.7:50000").unwrap();
    assert_eq!(world.plan.requests()[0].round_trip, None);
    assert_eq!(world.plan.requests()[1].round_trip, Some(ms(20)));
}

#[test]
fn a_dependent_mapping_ends_it_at_once() {
    let mut world = World::new(&FIVE);
    world.answer(20, FIVE[0], "203.0.113.7:41000").unwrap();
    world.answer(21, FIVE[1], "203.0.113.7:41007").unwrap();
    assert!(world.done(21));
    assert_eq!(world.evidence().summary().nat_type(), NatType::Symmetric);
}

#[test]
fn a_dependent_mapping_ends_it_only_on_the_base_that_speaks_for_the_host() {
    const BASE6: &str = "[2001:db8:18::2]:50000";
    const SIX: [&str; 3] = ["[2001:db8::1]:3478", "[2001:db8::2]:3478", "[2001:db8::3]:3478"];
    let start = Instant::now();
    let mut plan = Plan::new(GatherConfig::default(), vec![at(BASE), at(BASE6)], start);
    for (id, server) in (1..).zip(SIX.iter().chain(&FIVE[..4])) {
        plan.ask(at(server), None, [id; 12], start);
    }
    let asked: Vec<Transmit> = std::iter::from_fn(|| plan.poll_transmit(start)).collect();
    let mut answer = |n: usize, mapped: &str| {
        let Transmit { socket, server, .. } = asked[n];
        plan.handle_datagram(start, socket, server, &answer_to(&asked[n], mapped)).unwrap();
        plan.is_complete(start)
    };
    // no NAT in front of IPv6, heard first
    assert!(!answer(0, BASE6) && !answer(1, BASE6) && !answer(2, BASE6));
    // a symmetric one in front of IPv4: two answers prove it, but three of the four are needed to speak
    assert!(!answer(3, "203.0.113.7:41000") && !answer(4, "203.0.113.7:41007"));
    assert!(answer(5, "203.0.113.7:41003"));
    let mut evidence = Evidence::new();
    plan.record(&mut evidence);
    assert_eq!(evidence.summary().nat_type(), NatType::Symmetric);
}

#[test]
fn a_second_port_still_missing_keeps_the_kind_of_dependence_open() {
    let mut world = World::new(&["198.51.100.1:3478", "198.51.100.1:3479", "198.51.100.2:3478"]);
    world.answer(20, "198.51.100.1:3478", "203.0.113.7:41000").unwrap();
    world.answer(21, "198.51.100.2:3478", "203.0.113.7:41007").unwrap();
    assert!(!world.done(22));
    world.answer(23, "198.51.100.1:3479", "203.0.113.7:41000").unwrap();
    assert!(world.done(23));
    assert_eq!(world.evidence().summary().mapping(), nat_summary::Mapping::AddressDependent);
}

#[test]
fn an_answer_must_come_from_the_address_the_port_and_the_base_asked() {
    let mut world = World::new(&FIVE);
    let datagram = answer_to(&world.asked[0], "203.0.113.66:6");
    let now = world.start + ms(5);
    for (base, source) in [
        (BASE, "198.51.100.2:3478"),
        (BASE, "198.51.100.1:3479"),
        (BASE, "203.0.113.99:3478"),
        ("192.168.1.5:50001", FIVE[0]),
    ] {
        assert_eq!(world.plan.handle_datagram(now, at(base), at(source), &datagram), Err(Reject::WrongSource));
    }
    let mut wrong_id = datagram.clone();
    wrong_id[19] ^= 0xff;
    assert_eq!(world.plan.handle_datagram(now, at(BASE), at(FIVE[0]), &wrong_id), Err(Reject::UnknownId));
    assert_eq!(world.evidence().observations().len(), 0);
    assert!(world.answer(20, FIVE[0], "203.0.113.7:50000").is_ok(), "the request goes on");
    assert_eq!(world.answer(21, FIVE[0], "203.0.113.7:666"), Err(Reject::UnknownId), "the first answer stands");
}

#[test]
fn an_answer_to_a_request_never_sent_is_not_ours() {
    let start = Instant::now();
    let mut plan = plan(GatherConfig::default(), &FIVE[..1], start);
    let forged = answer_to(
        &Transmit { request: 0, socket: at(BASE), server: at(FIVE[0]), bytes: write_request([1; 12]) },
        "203.0.113.7:50000",
    );
    assert_eq!(plan.handle_datagram(start, at(BASE), at(FIVE[0]), &forged), Err(Reject::UnknownId));
}

#[test]
fn servers_are_merged_capped_and_asked_from_the_base_of_their_family() {
    let start = Instant::now();
    let servers = [FIVE[0], FIVE[0], "[2001:db8::1]:3478", FIVE[1], FIVE[2]];
    let config = GatherConfig { max_servers: 3, ..GatherConfig::default() };
    let plan = plan(config, &servers, start);
    assert_eq!(plan.over_cap(), 1);
    let outcomes: Vec<_> = plan.requests().iter().map(|r| (r.server, r.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            (at(FIVE[0]), Outcome::Pending),
            (at("[2001:db8::1]:3478"), Outcome::Unreachable),
            (at(FIVE[1]), Outcome::Pending)
        ]
    );
}

#[test]
fn local_failures_alone_are_no_firewall() {
    let mut world = World::new(&FIVE[..2]);
    world.plan.handle_send_error(0);
    world.plan.handle_send_error(1);
    assert!(world.done(1));
    assert_eq!(world.evidence().summary().nat_type(), NatType::Unknown);
}

#[test]
fn pacing_spreads_the_first_requests() {
    let start = Instant::now();
    let config = GatherConfig { pacing: ms(50), ..GatherConfig::default() };
    let mut plan = plan(config, &FIVE, start);
    assert!(plan.poll_transmit(start).is_some());
    assert!(plan.poll_transmit(start + ms(49)).is_none());
    assert_eq!(plan.poll_timeout(), Some(start + ms(50)));
    assert!(plan.poll_transmit(start + ms(50)).is_some());
}

#[test]
fn a_name_still_resolving_keeps_it_open() {
    let mut world = World::new(&FIVE[..1]);
    world.plan.name_started();
    world.answer(20, FIVE[0], "203.0.113.7:50000").unwrap();
    assert!(!world.done(21));
    world.plan.name_ended();
    assert!(world.done(22));
}

#[test]
fn an_impossible_mapped_address_counts_neither_for_the_quorum_nor_against_it() {
    let mut world = World::new(&FIVE);
    world.answer(20, FIVE[0], "0.0.0.0:50000").unwrap();
    world.answer(21, FIVE[1], "203.0.113.7:50000").unwrap();
    assert!(!world.done(100), "neither two servers nor a difference");
    world.answer(101, FIVE[2], "203.0.113.7:50000").unwrap();
    assert!(world.done(202));
    assert_eq!(world.evidence().summary().nat_type(), NatType::Cone);
}

#[test]
fn the_policy_says_when_it_is_enough() {
    let run = |policy| {
        let config = GatherConfig { policy, ..GatherConfig::default() };
        let start = Instant::now();
        let mut world = World { plan: plan(config, &FIVE, start), start, asked: Vec::new() };
        world.advance(0);
        let mut done = Vec::new();
        for (n, server) in FIVE.iter().enumerate() {
            // two answers differ: decisive for a verdict
            world.answer(20, server, &format!("203.0.113.7:{}", 50_000 + n)).unwrap();
            done.push(world.done(20));
        }
        done.iter().position(|done| *done).unwrap() + 1
    };
    assert_eq!([run(Policy::FirstAnswer), run(Policy::Decisive), run(Policy::All)], [1, 2, 5]);
}

#[test]
fn a_wildcard_socket_is_a_base_of_its_own_on_every_route() {
    let start = Instant::now();
    let socket = at("0.0.0.0:50000");
    let mut plan = Plan::new(GatherConfig::default(), vec![socket], start);
    for (id, (server, uplink)) in (1..).zip([(FIVE[0], "192.168.1.5"), (FIVE[1], "10.8.0.2"), (FIVE[2], "192.168.1.5")])
    {
        plan.ask(at(server), Some(uplink.parse().unwrap()), [id; 12], start);
    }
    let mut mapped = ["203.0.113.7:50000", "198.18.0.9:61000", "203.0.113.7:50000"].into_iter();
    while let Some(transmit) = plan.poll_transmit(start) {
        assert_eq!(transmit.socket, socket);
        let answer = answer_to(&transmit, mapped.next().unwrap());
        plan.handle_datagram(start + ms(20), socket, transmit.server, &answer).unwrap();
    }
    let mut evidence = Evidence::new();
    plan.record(&mut evidence);
    let summary = evidence.summary();
    assert_eq!(summary.nat_type(), NatType::Cone, "two uplinks through two NATs are no symmetric NAT");
    assert_eq!(summary.counts().bases, 2);
}

/// When the verdict stood, over a path of 20 ms that loses 30 % of the packets each way. `None`: not by the deadline.
fn decided_after(servers: &[&str], seed: u64) -> Option<u64> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::new(servers);
    let mut under_way: Vec<(u64, SocketAddr)> = Vec::new();
    let mut sent = 0;
    for now in 0..=3_000 {
        world.advance(now);
        let arrives = |_: &&Transmit| rng.random_bool(0.7 * 0.7);
        under_way.extend(world.asked[sent..].iter().filter(arrives).map(|t| (now + 20, t.server)));
        sent = world.asked.len();
        for (_, server) in under_way.extract_if(.., |(due, _)| *due <= now).collect::<Vec<_>>() {
            let _ = world.answer(now, &server.to_string(), "203.0.113.7:50000");
        }
        if world.done(now) {
            return (world.evidence().summary().nat_type() == NatType::Cone).then_some(now);
        }
    }
    None
}

#[test]
fn with_a_third_lost_each_way_a_verdict_stands_within_a_second_in_99_of_100_gatherings() {
    const GATHERINGS: usize = 1_000;
    // a server stays unheard of in the first second with q = (1 - 0.7 * 0.7)^3, for three requests fit in it:
    // fewer than two of n are heard of with q^n + n * (1 - q) * q^(n - 1)
    for (servers, promised) in [(5, 0.99), (4, 0.98), (3, 0.93), (2, 0.72)] {
        let in_time = |seed: &usize| decided_after(&FIVE[..servers], *seed as u64).is_some_and(|ms| ms <= 1_000);
        let share = (0..GATHERINGS).filter(in_time).count() as f64 / GATHERINGS as f64;
        assert!(share >= promised, "{servers} servers: {share}");
    }
}

#[test]
fn a_server_has_its_own_deadline_within_that_of_the_whole() {
    let start = Instant::now();
    let config = GatherConfig {
        policy: Policy::All,
        server_deadline: Some(ms(300)),
        pacing: ms(100),
        ..GatherConfig::default()
    };
    let mut plan = plan(config, &FIVE[..3], start);
    let mut sends = Vec::new();
    // as a driver would: look again when the plan says so
    let mut now = start;
    while !plan.is_complete(now) {
        while let Some(transmit) = plan.poll_transmit(now) {
            sends.push((now - start, transmit.request));
        }
        let next = plan.poll_timeout().unwrap();
        assert!(next > now, "no busy loop");
        now = next;
    }
    let first: Vec<_> = [(0, 0), (100, 1), (200, 2), (300, 1), (400, 2)].map(|(at, request)| (ms(at), request)).into();
    assert_eq!(sends.iter().filter(|(_, request)| *request > 0).count(), 4, "{sends:?}");
    assert!(sends.iter().all(|send| first.contains(send) || send.1 == 0 || send.0 < ms(500)), "{sends:?}");
    assert_eq!(now - start, ms(500), "the last one was first asked at 200 ms");
    assert!(plan.requests().iter().all(|request| request.outcome == Outcome::TimedOut));
}

#[test]
fn an_answer_after_a_servers_own_deadline_still_counts() {
    let start = Instant::now();
    let config = GatherConfig { server_deadline: Some(ms(50)), ..GatherConfig::default() };
    let mut plan = plan(config, &FIVE[..1], start);
    let request = plan.poll_transmit(start).unwrap();
    assert!(plan.is_complete(start + ms(50)));
    let datagram = answer_to(&request, BASE);
    assert!(plan.handle_datagram(start + ms(60), at(BASE), at(FIVE[0]), &datagram).is_ok());
    assert_eq!(plan.requests()[0].outcome, Outcome::Answered);
}
