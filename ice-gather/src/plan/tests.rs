use nat_summary::NatType;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::stun::{Header, write_success};

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
        Self::with(servers, Policy::default())
    }

    fn with(servers: &[&str], policy: Policy) -> Self {
        let start = Instant::now();
        let config = GatherConfig {
            policy,
            ..GatherConfig::default()
        };
        let plan = plan(config, servers, start);
        let mut world = Self {
            plan,
            start,
            asked: Vec::new(),
        };
        world.advance(0);
        world
    }

    /// Sends the requests that are due `after` milliseconds; the number of packets.
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
        self.plan
            .handle_datagram(self.start + ms(after), at(BASE), at(server), &datagram)
    }

    fn done(&mut self, after: u64) -> bool {
        self.plan.is_complete(self.start + ms(after))
    }

    fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::new();
        evidence.add_local(at(BASE).ip());
        self.plan.record(&mut evidence);
        evidence
    }
}

fn answer_to(request: &Transmit, mapped: &str) -> Vec<u8> {
    let header = Header::peek(&request.bytes).unwrap();
    write_success(header.id, at(mapped))
}

const FIVE: [&str; 5] = [
    "198.51.100.1:3478",
    "198.51.100.2:3478",
    "198.51.100.3:3478",
    "198.51.100.4:3478",
    "198.51.100.5:3478",
];

#[test]
fn without_loss_each_server_is_sent_one_packet_and_all_answers_end_it() {
    let mut world = World::new(&FIVE);
    assert_eq!(world.asked.len(), 5);
    for (n, server) in FIVE.iter().enumerate() {
        assert!(!world.done(20 + n as u64));
        world
            .answer(20 + n as u64, server, "203.0.113.7:50000")
            .unwrap();
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
    assert_eq!(
        world.plan.poll_timeout(),
        Some(world.start + ms(60)),
        "one grace of 40 ms past the quorum"
    );
    assert!(world.done(60));
    let servers = world.evidence().servers().to_vec();
    assert_eq!(
        servers[4].1,
        Outcome::Pending,
        "no wait was long enough to prove more"
    );
    world.answer(900, FIVE[4], "203.0.113.7:50000").unwrap();
    assert_eq!(
        world.evidence().summary().counts().answered,
        5,
        "a late answer is evidence"
    );
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
    let mut world = World::new(&FIVE[..2]);
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
    const SIX: [&str; 3] = [
        "[2001:db8::1]:3478",
        "[2001:db8::2]:3478",
        "[2001:db8::3]:3478",
    ];
    let start = Instant::now();
    let mut plan = Plan::new(GatherConfig::default(), vec![at(BASE), at(BASE6)], start);
    for (id, server) in (1..).zip(SIX.iter().chain(&FIVE[..4])) {
        plan.ask(at(server), None, [id; 12], start);
    }
    let asked: Vec<Transmit> = std::iter::from_fn(|| plan.poll_transmit(start)).collect();
    let mut answer = |n: usize, mapped: &str| {
        let Transmit { socket, server, .. } = asked[n];
        plan.handle_datagram(start, socket, server, &answer_to(&asked[n], mapped))
            .unwrap();
        plan.is_complete(start)
    };
    // no NAT in front of IPv6, which is answered first
    assert!(!answer(0, BASE6) && !answer(1, BASE6) && !answer(2, BASE6));
    // a symmetric one in front of IPv4: two answers prove it, but three of the four are needed to
    // speak
    assert!(!answer(3, "203.0.113.7:41000") && !answer(4, "203.0.113.7:41007"));
    assert!(answer(5, "203.0.113.7:41003"));
    let mut evidence = Evidence::new();
    plan.record(&mut evidence);
    assert_eq!(evidence.summary().nat_type(), NatType::Symmetric);
}

#[test]
fn a_second_port_still_missing_keeps_the_kind_of_dependence_open() {
    let mut world = World::new(&[
        "198.51.100.1:3478",
        "198.51.100.1:3479",
        "198.51.100.2:3478",
    ]);
    world
        .answer(20, "198.51.100.1:3478", "203.0.113.7:41000")
        .unwrap();
    world
        .answer(21, "198.51.100.2:3478", "203.0.113.7:41007")
        .unwrap();
    assert!(!world.done(22));
    world
        .answer(23, "198.51.100.1:3479", "203.0.113.7:41000")
        .unwrap();
    assert!(world.done(23));
    assert_eq!(
        world.evidence().summary().mapping(),
        nat_summary::Mapping::AddressDependent
    );
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
        assert_eq!(
            world
                .plan
                .handle_datagram(now, at(base), at(source), &datagram),
            Err(Reject::WrongSource)
        );
    }
    let mut wrong_id = datagram.clone();
    wrong_id[19] ^= 0xff;
    assert_eq!(
        world
            .plan
            .handle_datagram(now, at(BASE), at(FIVE[0]), &wrong_id),
        Err(Reject::UnknownId)
    );
    assert_eq!(world.evidence().observations().len(), 0);
    assert!(
        world.answer(20, FIVE[0], "203.0.113.7:50000").is_ok(),
        "the request goes on"
    );
    assert_eq!(
        world.answer(21, FIVE[0], "203.0.113.7:666"),
        Err(Reject::UnknownId),
        "the first answer stands"
    );
}

#[test]
fn an_answer_to_a_request_never_sent_is_not_ours() {
    let start = Instant::now();
    let mut plan = plan(GatherConfig::default(), &FIVE[..1], start);
    let forged = answer_to(
        &Transmit {
            request: 0,
            socket: at(BASE),
            server: at(FIVE[0]),
            bytes: write_request([1; 12]),
        },
        "203.0.113.7:50000",
    );
    assert_eq!(
        plan.handle_datagram(start, at(BASE), at(FIVE[0]), &forged),
        Err(Reject::UnknownId)
    );
}

#[test]
fn servers_are_merged_capped_and_asked_from_the_base_of_their_family() {
    let start = Instant::now();
    let servers = [FIVE[0], FIVE[0], "[2001:db8::1]:3478", FIVE[1], FIVE[2]];
    let config = GatherConfig {
        max_servers: 3,
        ..GatherConfig::default()
    };
    let plan = plan(config, &servers, start);
    assert_eq!(plan.over_cap(), 1);
    let outcomes: Vec<_> = plan
        .requests()
        .iter()
        .map(|r| (r.server, r.outcome))
        .collect();
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
fn a_request_shortly_before_the_deadline_is_not_timed_out() {
    let mut world = World::new(&[]);
    let config = GatherConfig::default();
    world.plan.name_started();
    let late = ms(2_950);
    world
        .plan
        .ask(at(FIVE[0]), None, [1; 12], world.start + late);
    world.plan.name_ended();
    assert_eq!(world.advance(2_950), 1);
    assert!(world.done(3_000));
    assert_eq!(
        world.plan.requests()[0].outcome,
        Outcome::GivenUp,
        "50 ms are no wait"
    );
    assert_eq!(world.evidence().summary().nat_type(), NatType::Unknown);
    world.answer(3_050, FIVE[0], "203.0.113.7:50000").unwrap();

    // a name that resolved late leaves no full wait, whatever was sent; nor does one copy prove much
    for (deadline, rto, fair) in [(3_000, 250, 1_500), (600, 250, 300), (400, 100, 200)] {
        for (wait, copies, outcome) in [
            (750.min(fair - 1), 2, Outcome::GivenUp),
            (fair - 1, 2, Outcome::GivenUp),
            (fair, 1, Outcome::GivenUp),
            (fair, 2, Outcome::TimedOut),
        ] {
            let start = Instant::now();
            let config = GatherConfig {
                deadline: ms(deadline),
                initial_rto: ms(rto),
                ..config
            };
            let mut plan = plan(config, &FIVE[..1], start);
            for copy in 0..copies {
                let at = deadline - wait + copy * rto;
                plan.poll_transmit(start + ms(at)).unwrap();
            }
            assert!(plan.is_complete(start + ms(deadline)));
            assert_eq!(
                plan.requests()[0].outcome,
                outcome,
                "{copies} in {wait} of {deadline} ms"
            );
        }
    }
}

#[test]
fn a_request_that_was_never_sent_is_not_timed_out() {
    let start = Instant::now();
    let config = GatherConfig {
        pacing: ms(1_400),
        ..GatherConfig::default()
    };
    let mut plan = plan(config, &FIVE, start);
    let sent: Vec<usize> = (0..3_000)
        .filter_map(|t| plan.poll_transmit(start + ms(t)))
        .map(|t| t.request)
        .collect();
    assert_eq!(sent, [0, 1, 2], "first requests go before retransmissions");
    assert!(plan.is_complete(start + ms(3_000)));
    use Outcome::{GivenUp, TimedOut};
    let verdict = |plan: &Plan| {
        let mut evidence = Evidence::new();
        evidence.add_local(at(BASE).ip());
        plan.record(&mut evidence);
        evidence.summary().nat_type()
    };
    let outcomes =
        |plan: &Plan| -> Vec<Outcome> { plan.requests().iter().map(|r| r.outcome).collect() };
    assert_eq!(outcomes(&plan), [GivenUp; 5], "none was sent twice");
    assert_eq!(verdict(&plan), NatType::Unknown);
    let config = GatherConfig {
        pacing: ms(700),
        ..GatherConfig::default()
    };
    let mut plan = super::tests::plan(config, &FIVE[..3], start);
    for t in 0..3_000 {
        plan.poll_transmit(start + ms(t));
    }
    assert!(plan.is_complete(start + ms(3_000)));
    assert_eq!(outcomes(&plan), [TimedOut, TimedOut, GivenUp]);
    assert_eq!(
        verdict(&plan),
        NatType::UdpBlocked,
        "two were asked to the end"
    );
}

#[test]
fn a_copy_that_never_left_asked_nobody() {
    let mut world = World::new(&FIVE[..2]);
    world.plan.handle_send_lost(0);
    world.plan.handle_send_lost(1);
    assert!(!world.plan.has_sent() && !world.done(0));
    assert_eq!(world.advance(250), 2, "the next copies");
    assert_eq!(world.plan.packets_sent(), 2);
    world.answer(270, FIVE[0], "203.0.113.7:50000").unwrap();
    assert_eq!(
        world.plan.requests()[0].round_trip,
        Some(ms(20)),
        "of the one that left"
    );
    // no copy to the other leaves
    world.plan.handle_send_lost(1);
    for t in 251..3_000 {
        for _ in 0..world.advance(t) {
            world.plan.handle_send_lost(1);
        }
    }
    assert!(world.done(3_000));
    assert_eq!(
        (
            world.plan.requests()[1].outcome,
            world.plan.requests()[1].sends
        ),
        (Outcome::GivenUp, 0)
    );
}

#[test]
fn a_hard_error_ends_a_request_and_a_soft_one_only_keeps_its_silence_from_being_a_time_out() {
    let mut world = World::new(&FIVE[..3]);
    world.plan.handle_unreachable(at(FIVE[0]), IcmpError::Hard);
    world.plan.handle_unreachable(at(FIVE[1]), IcmpError::Soft);
    world.plan.handle_unreachable(at(FIVE[2]), IcmpError::Soft);
    let outcomes = |world: &World| {
        world
            .plan
            .requests()
            .iter()
            .map(|r| r.outcome)
            .collect::<Vec<_>>()
    };
    use Outcome::{Answered, Pending, Unreachable};
    assert_eq!(outcomes(&world), [Unreachable, Pending, Pending]);
    assert_eq!(world.advance(250), 2);
    world.answer(270, FIVE[2], "203.0.113.7:50000").unwrap();
    assert!(world.done(3_000));
    assert_eq!(outcomes(&world), [Unreachable, Unreachable, Answered]);
    // no server has a route: that is no firewall
    let mut world = World::new(&FIVE[..2]);
    world.plan.handle_unreachable(at(FIVE[0]), IcmpError::Soft);
    world.plan.handle_unreachable(at(FIVE[1]), IcmpError::Soft);
    assert!(world.done(3_000));
    assert_eq!(world.evidence().summary().nat_type(), NatType::Unknown);
}

#[test]
fn a_mapping_of_the_other_family_ends_nothing_early() {
    let mut world = World::new(&FIVE[..3]);
    world.answer(20, FIVE[0], "[2001:db8::7]:50000").unwrap();
    world.answer(21, FIVE[1], "203.0.113.7:50000").unwrap();
    assert!(
        !world.done(100),
        "the two are of two families: neither a difference nor a quorum"
    );
    world.answer(101, FIVE[2], "203.0.113.7:50000").unwrap();
    assert!(world.done(101));
    assert_eq!(world.evidence().summary().nat_type(), NatType::Cone);
}

#[test]
fn times_without_an_end_are_as_good_as_never() {
    const MAX: Duration = Duration::MAX;
    let config = GatherConfig {
        deadline: MAX,
        initial_rto: MAX,
        grace: MAX,
        ..GatherConfig::default()
    };
    let config = GatherConfig {
        server_deadline: Some(MAX),
        pacing: MAX,
        policy: Policy::Decisive,
        ..config
    };
    let start = Instant::now();
    let mut plan = plan(config, &FIVE[..2], start);
    assert!(
        plan.poll_transmit(start).is_some() && plan.poll_transmit(start + ms(1_000_000)).is_none()
    );
    assert!(!plan.is_complete(start + ms(1_000_000)) && plan.poll_timeout().is_some());
    let paced = GatherConfig {
        pacing: Duration::ZERO,
        ..config
    };
    let start = Instant::now();
    let mut world = World {
        plan: super::tests::plan(paced, &FIVE[..3], start),
        start,
        asked: Vec::new(),
    };
    world.advance(0);
    for server in &FIVE[..2] {
        world.answer(20, server, "203.0.113.7:50000").unwrap();
    }
    assert!(!world.done(1_000_000));
}

/// One after the other on one base: the evidence after each answer, and at the end.
struct Epochs {
    evidence: Evidence,
    sequence: u32,
}

impl Epochs {
    fn new() -> Self {
        Self {
            evidence: Evidence::new(),
            sequence: 0,
        }
    }

    /// A gathering in which these servers answer, in that order; the verdict after each answer.
    fn gather(&mut self, answers: &[(&str, &str)]) -> Vec<NatType> {
        self.evidence.add_local(at(BASE).ip());
        let start = Instant::now();
        let mut plan = Plan::new(GatherConfig::default(), vec![at(BASE)], start)
            .with_first_sequence(self.sequence);
        for (id, server) in (1..).zip(FIVE) {
            plan.ask(at(server), None, [id; 12], start);
        }
        let asked: Vec<Transmit> = std::iter::from_fn(|| plan.poll_transmit(start)).collect();
        let known = |plan: &Plan, evidence: &Evidence| {
            let mut evidence = evidence.clone();
            plan.record(&mut evidence);
            evidence
        };
        let mut verdicts = vec![known(&plan, &self.evidence).summary().nat_type()];
        for (server, mapped) in answers {
            let request = asked.iter().find(|t| t.server == at(server)).unwrap();
            plan.handle_datagram(start, at(BASE), at(server), &answer_to(request, mapped))
                .unwrap();
            verdicts.push(known(&plan, &self.evidence).summary().nat_type());
        }
        self.evidence = known(&plan, &self.evidence);
        let again = known(&plan, &self.evidence);
        assert!(
            again.observations().eq(self.evidence.observations()),
            "once recorded, nothing changes"
        );
        self.sequence = plan.next_sequence();
        verdicts
    }

    fn seen(&self) -> usize {
        self.evidence.observations().len()
    }
}

const X: &str = "203.0.113.7:50000";
const Y: &str = "203.0.113.7:61000";
const MOVED: &str = "203.0.113.8:50000";

#[test]
fn a_mapping_that_expired_is_not_compared_with_its_successor() {
    use NatType::{Cone, Unknown};
    for other in [Y, MOVED] {
        let mut epochs = Epochs::new();
        assert_eq!(
            epochs.gather(&[(FIVE[0], X), (FIVE[1], X), (FIVE[2], X)]),
            [Unknown, Unknown, Cone, Cone]
        );
        // the third one is too late
        assert_eq!(
            epochs.gather(&[(FIVE[0], other), (FIVE[1], other)]),
            [Cone, Unknown, Cone]
        );
        let counts = epochs.evidence.summary().counts();
        assert_eq!(
            (counts.observations, counts.answered),
            (2, 3),
            "who answered is not forgotten"
        );
    }
}

#[test]
fn without_a_server_that_answered_again_nothing_shows_that_the_mapping_is_the_same() {
    use NatType::{Cone, Unknown};
    let mut epochs = Epochs::new();
    epochs.gather(&[(FIVE[0], X), (FIVE[1], X)]);
    assert_eq!(epochs.gather(&[(FIVE[2], Y)]), [Cone, Unknown]);
    assert_eq!(epochs.seen(), 1);
    // not even if it looks the same
    let mut epochs = Epochs::new();
    epochs.gather(&[(FIVE[0], X), (FIVE[1], X)]);
    assert_eq!(
        epochs.gather(&[(FIVE[2], X), (FIVE[3], X)]),
        [Cone, Unknown, Cone]
    );
    assert_eq!(epochs.seen(), 2);
}

#[test]
fn observations_of_the_same_mapping_stay() {
    use NatType::{Cone, Symmetric, Unknown};
    let mut epochs = Epochs::new();
    epochs.gather(&[(FIVE[0], X), (FIVE[1], X), (FIVE[2], X)]);
    // a new server first: whether it is the same mapping is known with the next answer
    assert_eq!(
        epochs.gather(&[(FIVE[3], X), (FIVE[0], X)]),
        [Cone, Unknown, Cone]
    );
    assert_eq!(epochs.seen(), 4);
    assert_eq!(
        epochs.gather(&[]),
        [Cone],
        "no server answers, and nothing shows otherwise"
    );
    // one that saw another mapping outweighs those that saw the same
    assert_eq!(
        epochs.gather(&[(FIVE[0], X), (FIVE[1], Y)]),
        [Cone, Cone, Symmetric],
        "by the answers now"
    );
    assert_eq!(epochs.seen(), 2);
    // a symmetric one whose mappings are still there
    let mut epochs = Epochs::new();
    epochs.gather(&[(FIVE[0], X), (FIVE[1], Y)]);
    assert_eq!(epochs.gather(&[(FIVE[0], X)]), [Symmetric, Symmetric]);
}

#[test]
fn another_base_and_the_other_family_are_no_reason_to_forget() {
    let base = "192.168.1.6:50000";
    let observe = |evidence: &mut Evidence, base: &str, server: &str, mapped: &str| {
        evidence.observe(Observation {
            base: at(base),
            server: at(server).into(),
            mapped: at(mapped),
            sequence: 0,
        });
    };
    let mut epochs = Epochs::new();
    observe(&mut epochs.evidence, base, FIVE[0], X);
    observe(&mut epochs.evidence, BASE, FIVE[4], "[2001:db8::7]:50000");
    epochs.gather(&[(FIVE[0], Y), (FIVE[1], "0.0.0.0:1")]);
    assert_eq!(epochs.evidence.observations().len(), 3);
}

proptest::proptest! {
    /// A cone that makes a mapping for each gathering, or keeps the one before; servers answer, or do not, in any order.
    #[test]
    fn a_cone_asked_again_and_again_never_looks_symmetric(
        gatherings in proptest::collection::vec((0..3_u16, proptest::collection::vec(0..5_usize, 0..6)), 1..6),
    ) {
        let mut epochs = Epochs::new();
        for (epoch, mut servers) in gatherings {
            let mut distinct = std::collections::BTreeSet::new();
            servers.retain(|server| distinct.insert(*server));
            let mapped = format!("203.0.113.7:{}", 50_000 + epoch);
            let answers: Vec<(&str, &str)> = servers.iter().map(|server| (FIVE[*server], mapped.as_str())).collect();
            for verdict in epochs.gather(&answers) {
                proptest::prop_assert!(matches!(verdict, NatType::Cone | NatType::Unknown), "{:?}", verdict);
            }
            let distinct: std::collections::BTreeSet<_> = epochs.evidence.observations().map(|o| o.mapped).collect();
            proptest::prop_assert!(distinct.len() <= 1, "{:?}", distinct);
        }
    }
}

#[test]
fn pacing_spreads_the_first_requests() {
    let start = Instant::now();
    let config = GatherConfig {
        pacing: ms(50),
        ..GatherConfig::default()
    };
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
fn the_policy_decides_when_the_answers_are_enough() {
    let run = |policy| {
        let config = GatherConfig {
            policy,
            ..GatherConfig::default()
        };
        let start = Instant::now();
        let mut world = World {
            plan: plan(config, &FIVE, start),
            start,
            asked: Vec::new(),
        };
        world.advance(0);
        let mut done = Vec::new();
        for (n, server) in FIVE.iter().enumerate() {
            // two answers differ: decisive for a verdict
            world
                .answer(20, server, &format!("203.0.113.7:{}", 50_000 + n))
                .unwrap();
            done.push(world.done(20));
        }
        done.iter().position(|done| *done).unwrap() + 1
    };
    assert_eq!(
        [
            run(Policy::FirstAnswer),
            run(Policy::Decisive),
            run(Policy::All)
        ],
        [1, 2, 5]
    );
}

#[test]
fn a_wildcard_socket_is_a_base_of_its_own_on_every_route() {
    let start = Instant::now();
    let socket = at("0.0.0.0:50000");
    let mut plan = Plan::new(GatherConfig::default(), vec![socket], start);
    for (id, (server, uplink)) in (1..).zip([
        (FIVE[0], "192.168.1.5"),
        (FIVE[1], "10.8.0.2"),
        (FIVE[2], "192.168.1.5"),
    ]) {
        plan.ask(at(server), Some(uplink.parse().unwrap()), [id; 12], start);
    }
    let mut mapped = ["203.0.113.7:50000", "192.0.2.9:61000", "203.0.113.7:50000"].into_iter();
    while let Some(transmit) = plan.poll_transmit(start) {
        assert_eq!(transmit.socket, socket);
        let answer = answer_to(&transmit, mapped.next().unwrap());
        plan.handle_datagram(start + ms(20), socket, transmit.server, &answer)
            .unwrap();
    }
    let mut evidence = Evidence::new();
    plan.record(&mut evidence);
    let summary = evidence.summary();
    assert_eq!(
        summary.nat_type(),
        NatType::Cone,
        "two uplinks through two NATs are no symmetric NAT"
    );
    assert_eq!(summary.counts().bases, 2);
}

/// When the verdict stood, over a path of 20 ms that loses 30 % of the packets each way. `None`:
/// not by the deadline.
fn decided_after(servers: &[&str], seed: u64) -> Option<u64> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::new(servers);
    let mut under_way: Vec<(u64, SocketAddr)> = Vec::new();
    let mut sent = 0;
    for now in 0..=3_000 {
        world.advance(now);
        let arrives = |_: &&Transmit| rng.random_bool(0.7 * 0.7);
        under_way.extend(
            world.asked[sent..]
                .iter()
                .filter(arrives)
                .map(|t| (now + 20, t.server)),
        );
        sent = world.asked.len();
        for (_, server) in under_way
            .extract_if(.., |(due, _)| *due <= now)
            .collect::<Vec<_>>()
        {
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
    // a server stays unheard of in the first second with q = (1 - 0.7 * 0.7)^3, for three requests
    // fit in it: fewer than two of n are heard of with q^n + n * (1 - q) * q^(n - 1)
    for (servers, promised) in [(5, 0.99), (4, 0.98), (3, 0.93), (2, 0.72)] {
        let in_time = |seed: &usize| {
            decided_after(&FIVE[..servers], *seed as u64).is_some_and(|ms| ms <= 1_000)
        };
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
    // as a driver would: look again at the instant of the plan
    let mut now = start;
    while !plan.is_complete(now) {
        while let Some(transmit) = plan.poll_transmit(now) {
            sends.push((now - start, transmit.request));
        }
        let next = plan.poll_timeout().unwrap();
        assert!(next > now, "no busy loop");
        now = next;
    }
    let first: Vec<_> = [(0, 0), (100, 1), (200, 2), (300, 1), (400, 2)]
        .map(|(at, request)| (ms(at), request))
        .into();
    assert_eq!(
        sends.iter().filter(|(_, request)| *request > 0).count(),
        4,
        "{sends:?}"
    );
    assert!(
        sends
            .iter()
            .all(|send| first.contains(send) || send.1 == 0 || send.0 < ms(500)),
        "{sends:?}"
    );
    assert_eq!(
        now - start,
        ms(500),
        "the last one was first asked at 200 ms"
    );
    let ended: Vec<_> = plan
        .requests()
        .iter()
        .map(|r| (r.sends, r.outcome))
        .collect();
    assert_eq!(
        ended,
        [
            (1, Outcome::GivenUp),
            (2, Outcome::TimedOut),
            (2, Outcome::TimedOut)
        ],
        "one copy proves nothing"
    );
}

const LAN: [&str; 2] = ["192.168.1.2:3478", "192.168.1.3:3478"];

/// Servers inside a symmetric NAT answer at once, those outside after 60 ms.
#[test]
fn nothing_seen_inside_a_nat_ends_a_gathering_as_long_as_a_server_outside_may_answer() {
    for inner in [1, 2] {
        let servers = [&LAN[..inner], &FIVE[..2]].concat();
        for policy in [Policy::Decisive, Policy::Patient, Policy::FirstAnswer] {
            let mut world = World::with(&servers, policy);
            for server in &LAN[..inner] {
                world.answer(1, server, BASE).unwrap();
                assert!(!world.done(1), "{policy:?}");
            }
            assert!(!world.done(59), "{policy:?}: no grace period has begun");
            world.answer(60, FIVE[0], "203.0.113.7:41000").unwrap();
            assert_eq!(world.done(60), policy == Policy::FirstAnswer);
            assert!(policy == Policy::FirstAnswer || !world.done(99));
            world.answer(100, FIVE[1], "203.0.113.7:41007").unwrap();
            assert!(world.done(100), "all have answered");
            assert_eq!(world.evidence().summary().nat_type(), NatType::Symmetric);
        }
    }
}

#[test]
fn a_name_may_lead_outside_and_so_may_a_private_address() {
    let mut world = World::new(&LAN);
    world.plan.name_started();
    for server in LAN {
        world.answer(1, server, BASE).unwrap();
    }
    assert!(!world.done(500));
    // the lookup fails, and nothing is left to wait for
    world.plan.name_ended();
    assert!(world.done(501));
    let summary = world.evidence().summary();
    assert_eq!(
        (summary.nat_type(), summary.is_natted()),
        (NatType::Unknown, Some(false))
    );
    let company = [LAN[0], LAN[1], "10.0.0.9:3478"];
    let mut world = World::new(&company);
    for server in LAN {
        world.answer(1, server, BASE).unwrap();
    }
    assert!(!world.done(500), "the third may see a NAT between");
    world.answer(501, company[2], "10.0.0.77:4242").unwrap();
    assert_eq!(world.evidence().summary().is_natted(), Some(true));
}

#[test]
fn servers_of_the_host_itself_are_waited_for_no_longer_than_others() {
    let start = Instant::now();
    let base = "127.0.0.1:50000";
    let mut plan = Plan::new(GatherConfig::default(), vec![at(base)], start);
    for n in 1..=3 {
        let server = SocketAddr::from(([127, 0, 0, 1 + n], 3478));
        plan.ask(server, None, [n; 12], start);
    }
    let asked: Vec<Transmit> = std::iter::from_fn(|| plan.poll_transmit(start)).collect();
    for request in &asked[..2] {
        plan.handle_datagram(start, at(base), request.server, &answer_to(request, base))
            .unwrap();
    }
    assert!(!plan.is_complete(start + ms(39)));
    assert!(plan.is_complete(start + ms(40)));
}

#[test]
fn a_patient_gathering_waits_out_its_grace_whatever_the_verdict() {
    let start = Instant::now();
    let config = GatherConfig {
        policy: Policy::Patient,
        grace: ms(1_000),
        ..GatherConfig::default()
    };
    let mut world = World {
        plan: plan(config, &FIVE[..4], start),
        start,
        asked: Vec::new(),
    };
    world.advance(0);
    world.answer(20, FIVE[0], "203.0.113.7:41000").unwrap();
    world.answer(21, FIVE[1], "203.0.113.7:41007").unwrap();
    assert_eq!(world.evidence().summary().nat_type(), NatType::Symmetric);
    assert!(!world.done(1_020));
    // one of them lied
    world.answer(900, FIVE[2], "203.0.113.7:41000").unwrap();
    assert_eq!(world.evidence().summary().nat_type(), NatType::Unknown);
    assert!(world.done(1_021), "the fourth is dead, or slower than that");
    assert_eq!(world.plan.requests()[3].outcome, Outcome::Pending);
}

#[test]
fn a_late_answer_takes_back_what_an_early_end_decided() {
    let mut world = World::new(&FIVE[..3]);
    world.answer(20, FIVE[0], "203.0.113.7:41000").unwrap();
    world.answer(21, FIVE[1], "203.0.113.7:41007").unwrap();
    assert!(world.done(21));
    assert_eq!(world.evidence().summary().nat_type(), NatType::Symmetric);
    world.answer(400, FIVE[2], "203.0.113.7:41000").unwrap();
    let summary = world.evidence().summary();
    assert_eq!(
        (summary.nat_type(), summary.rule()),
        (NatType::Unknown, nat_summary::Rule::Contradictory)
    );
}

/// RFC 6052: IPv4 servers, asked in IPv6 through the network's translator.
#[test]
fn the_mapped_ipv4_group_of_an_ipv6_socket_is_part_of_the_decision() {
    let base = "[2001:db8:18::2]:50000";
    let servers = [1, 2, 3].map(|n| format!("[64:ff9b::c633:640{n}]:3478"));
    let run = |mapped: [&str; 2]| {
        let start = Instant::now();
        let mut plan = Plan::new(GatherConfig::default(), vec![at(base)], start);
        for (id, server) in (1..).zip(&servers) {
            plan.ask(at(server), None, [id; 12], start);
        }
        let asked: Vec<Transmit> = std::iter::from_fn(|| plan.poll_transmit(start)).collect();
        for (request, mapped) in asked.iter().zip(mapped) {
            let answer = answer_to(request, mapped);
            plan.handle_datagram(start, at(base), request.server, &answer)
                .unwrap();
        }
        (
            plan.is_complete(start),
            plan.is_complete(start + ms(39)),
            plan.is_complete(start + ms(40)),
        )
    };
    let (same, other) = ("203.0.113.7:41000", "203.0.113.7:41001");
    assert_eq!(run([same, same]), (false, false, true), "a quorum");
    assert!(
        run([same, other]).0,
        "dependent, and no other base can become the primary one"
    );
}

#[test]
fn what_had_to_be_rejected_shows_that_udp_passes() {
    let silent = || {
        let mut world = World::new(&FIVE[..2]);
        for t in [250, 750, 1_750] {
            world.advance(t);
        }
        world
    };
    let mut world = silent();
    assert!(world.done(3_000));
    assert_eq!(world.evidence().summary().nat_type(), NatType::UdpBlocked);
    let answer = answer_to(&world.asked[0], "203.0.113.7:50000");
    let edited = |edit: fn(&mut Vec<u8>)| {
        let mut answer = answer.clone();
        edit(&mut answer);
        answer
    };
    for (source, datagram) in [
        ("203.0.113.99:3478", answer.clone()),
        (FIVE[0], edited(|a| a[19] ^= 0xff)),
        (FIVE[0], edited(|a| a[4] ^= 0xff)),
        (FIVE[0], edited(|a| a.extend([0; 3]))),
    ] {
        let mut world = silent();
        let now = world.start + ms(1_800);
        let filed = world
            .plan
            .handle_datagram(now, at(BASE), at(source), &datagram);
        assert!(filed.is_err());
        assert!(world.done(3_000));
        assert_eq!(world.evidence().summary().nat_type(), NatType::Unknown);
    }
    let mut world = silent();
    world.plan.handle_sign_of_life();
    assert!(world.done(3_000));
    assert_eq!(world.evidence().summary().nat_type(), NatType::Unknown);
}

#[test]
fn an_answer_to_a_second_copy_says_nothing_of_the_order_of_ports() {
    use nat_summary::PortAllocation::{Sequential, Unknown};
    let judge = |after: u64| {
        let mut world = World::new(&FIVE[..3]);
        world.advance(after);
        for (n, server) in FIVE[..3].iter().enumerate() {
            let mapped = format!("203.0.113.7:{}", 41_002 - n);
            world.answer(after, server, &mapped).unwrap();
        }
        world.evidence().summary().port_allocation()
    };
    assert_eq!(judge(249), Sequential { step: -1 });
    assert_eq!(judge(250), Unknown, "which copy took the port?");
}

#[test]
fn an_answer_after_a_servers_own_deadline_still_counts() {
    let start = Instant::now();
    let config = GatherConfig {
        server_deadline: Some(ms(50)),
        ..GatherConfig::default()
    };
    let mut plan = plan(config, &FIVE[..1], start);
    let request = plan.poll_transmit(start).unwrap();
    assert!(plan.is_complete(start + ms(50)));
    let datagram = answer_to(&request, BASE);
    assert!(
        plan.handle_datagram(start + ms(60), at(BASE), at(FIVE[0]), &datagram)
            .is_ok()
    );
    assert_eq!(plan.requests()[0].outcome, Outcome::Answered);
}
