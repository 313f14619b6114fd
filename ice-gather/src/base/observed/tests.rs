//! What becomes of names, answers and plans, without a socket or a clock.

use std::cell::Cell;

use super::*;
use crate::plan::IcmpError;
use crate::stun::{Header, write_success};

const BASE: &str = "192.168.1.5:50000";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn at(text: &str) -> StunServer {
    StunServer::Address(address(text))
}

/// An observed base, and when its plan began.
struct World {
    observed: Observed,
    start: Instant,
    next_id: Cell<u8>,
}

impl World {
    /// One that asks these servers over IPv4.
    fn asking(servers: &[StunServer]) -> Self {
        let mut world = Self {
            observed: Observed::new([address(BASE).ip()]),
            start: Instant::now(),
            next_id: Cell::new(0),
        };
        world.ask(servers);
        world
    }

    /// Starts the next plan.
    fn ask(&mut self, servers: &[StunServer]) {
        self.observed.start_plan(
            servers,
            &GatherConfig::default(),
            vec![address(BASE)],
            self.start,
            asking(&self.next_id),
        );
    }

    fn resolved(&mut self, name: &StunServer, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| address(text)).collect();
        self.observed.resolved(
            Some((name.clone(), addresses)),
            self.start,
            asking(&self.next_id),
        );
    }

    /// Sends what is due; each request as it leaves.
    fn send(&mut self) -> Vec<Transmit> {
        core::iter::from_fn(|| self.observed.poll_transmit(self.start)).collect()
    }

    fn reports(&self) -> Vec<(StunServer, Option<StunServer>, Outcome)> {
        self.observed
            .reports()
            .map(|report| (report.server, report.name, report.outcome))
            .collect()
    }

    fn answer(&mut self, request: &Transmit, mapped: &str) -> Filed {
        let id = Header::peek(&request.bytes).unwrap().id;
        self.file(request.server, &write_success(id, address(mapped)))
    }

    fn file(&mut self, source: SocketAddr, datagram: &[u8]) -> Filed {
        let now = self.start + Duration::from_millis(5);
        self.observed
            .file_answer(now, address(BASE), source, datagram)
    }

    fn candidates(&self) -> Vec<GatheredCandidate> {
        self.observed.candidates([address(BASE)].into_iter(), None)
    }
}

/// Transaction ids in order, no route that has to be looked up.
fn asking(next_id: &Cell<u8>) -> impl Fn(SocketAddr) -> Asking {
    |_| {
        next_id.set(next_id.get() + 1);
        Asking {
            leaves_from: None,
            id: [next_id.get(); 12],
        }
    }
}

#[test]
fn several_addresses_of_one_name_are_servers_of_their_own_and_two_are_asked() {
    let name: StunServer = "stun.example.org".parse().unwrap();
    let mut world = World::asking(std::slice::from_ref(&name));
    world.resolved(
        &name,
        &[
            "192.0.2.1:3478",
            "192.0.2.1:3478",
            "192.0.2.2:3478",
            "[2001:db8::1]:3478",
            "192.0.2.3:3478",
        ],
    );
    let expected = ["192.0.2.1:3478", "192.0.2.2:3478"]
        .map(|server| (at(server), Some(name.clone()), Outcome::Pending));
    assert_eq!(world.reports(), expected);
    assert_eq!(
        world.observed.evidence().servers().len(),
        2,
        "the evidence tells them apart"
    );
}

#[test]
fn servers_are_merged_by_resolved_address_and_port() {
    let given: StunServer = "192.0.2.1".parse().unwrap();
    let names: [StunServer; 2] =
        ["one.example.org", "two.example.org:3479"].map(|name| name.parse().unwrap());
    let mut world = World::asking(&[given.clone(), names[0].clone(), names[1].clone()]);
    world.resolved(&names[0], &["[::ffff:192.0.2.1]:3478"]);
    world.resolved(&names[1], &["192.0.2.1:3479"]);
    let expected = [
        (given, None, Outcome::Pending),
        (
            at("192.0.2.1:3479"),
            Some(names[1].clone()),
            Outcome::Pending,
        ),
    ];
    assert_eq!(world.reports(), expected);
}

#[test]
fn a_name_of_the_other_family_alone_is_unreachable_and_not_forgotten() {
    let name: StunServer = "stun.example.org".parse().unwrap();
    let mut world = World::asking(std::slice::from_ref(&name));
    world.resolved(&name, &["[2001:db8::1]:3478"]);
    let server = at("[2001:db8::1]:3478");
    assert_eq!(
        world.reports(),
        [(server, Some(name), Outcome::Unreachable)]
    );
}

#[test]
fn a_name_still_looked_up_at_the_deadline_is_unresolved() {
    let name: StunServer = "stun.example.org".parse().unwrap();
    let mut world = World::asking(std::slice::from_ref(&name));
    world.observed.give_up_names(world.start);
    let reported = |outcome| [(name.clone(), Some(name.clone()), outcome)];
    assert_eq!(world.reports(), reported(Outcome::Pending));
    let deadline = world.start + GatherConfig::default().deadline;
    world.observed.give_up_names(deadline);
    assert_eq!(world.reports(), reported(Outcome::Unresolved));
}

#[test]
fn a_lookup_that_died_or_found_nothing_leaves_no_plan_waiting_for_it() {
    for lookup in [None, Some(Vec::new())] {
        let name: StunServer = "stun.example.org".parse().unwrap();
        let mut world = World::asking(std::slice::from_ref(&name));
        assert!(!world.observed.is_complete(world.start));
        let died = lookup.is_none();
        let lookup = lookup.map(|addresses| (name.clone(), addresses));
        world
            .observed
            .resolved(lookup, world.start, asking(&world.next_id));
        assert!(world.observed.is_complete(world.start));
        let outcome = if died {
            Outcome::Pending
        } else {
            Outcome::Unresolved
        };
        assert_eq!(
            world.reports(),
            [(name.clone(), Some(name.clone()), outcome)]
        );
        assert!(world.observed.has_asked());
    }
}

#[test]
fn a_response_is_an_answer_or_is_counted_by_its_reason_or_belongs_to_another_reader() {
    let server = at("192.0.2.1:3478");
    let mut world = World::asking(std::slice::from_ref(&server));
    let sent = world.send();
    let [request] = &sent[..] else {
        panic!("{sent:?}");
    };
    let id = Header::peek(&request.bytes).unwrap().id;
    let mapped = address("203.0.113.7:50000");

    let elsewhere = address("192.0.2.2:3478");
    assert_eq!(
        world.file(elsewhere, &write_success(id, mapped)),
        Filed::Dropped
    );
    let behind = [write_success(id, mapped), vec![0; 4]].concat();
    assert_eq!(world.file(request.server, &behind), Filed::Dropped);
    assert_eq!(world.file(request.server, &request.bytes), Filed::Dropped);
    let another = write_success([99; 12], mapped);
    assert_eq!(world.file(request.server, &another), Filed::NotOurs);
    let expected = Dropped {
        wrong_source: 1,
        malformed: 1,
        unexpected: 1,
        ..Dropped::default()
    };
    assert_eq!(world.observed.dropped, expected);

    assert_eq!(world.answer(request, "203.0.113.7:50000"), Filed::Answer);
    let again = world.answer(request, "203.0.113.8:50000");
    assert_eq!(again, Filed::NotOurs, "a request has one answer");
    assert_eq!(world.observed.dropped, expected);
    assert_eq!(world.reports(), [(server, None, Outcome::Answered)]);
}

#[test]
fn before_any_plan_nothing_is_ours() {
    let mut observed = Observed::new([address(BASE).ip()]);
    let answer = write_success([1; 12], address("203.0.113.7:50000"));
    let source = address("192.0.2.1:3478");
    let filed = observed.file_answer(Instant::now(), address(BASE), source, &answer);
    assert_eq!(filed, Filed::NotOurs);
    assert!(observed.is_complete(Instant::now()) && !observed.has_asked());
    assert_eq!(observed.next_timeout(), None);
}

#[test]
fn candidates_are_hosts_then_reflexive_ones_each_address_once() {
    let servers = ["192.0.2.1:3478", "192.0.2.2:3478", "192.0.2.3:3478"].map(at);
    let mut world = World::asking(&servers);
    let sent = world.send();
    for (request, mapped) in sent
        .iter()
        .zip([BASE, "203.0.113.7:50000", "203.0.113.7:50000"])
    {
        assert_eq!(world.answer(request, mapped), Filed::Answer);
    }
    let candidates = world.candidates();
    let found: Vec<_> = candidates
        .iter()
        .map(|c| (c.kind, c.address, c.base))
        .collect();
    let (base, mapped) = (address(BASE), address("203.0.113.7:50000"));
    assert_eq!(
        found,
        [
            (CandidateKind::Host, base, base),
            (CandidateKind::ServerReflexive, mapped, base)
        ]
    );
}

#[test]
fn a_plan_that_is_retired_stays_evidence_and_a_later_one_supersedes_what_it_contradicts() {
    let server = at("192.0.2.1:3478");
    let mut world = World::asking(std::slice::from_ref(&server));
    let observed = |world: &World| -> Vec<(SocketAddr, u32)> {
        let evidence = world.observed.evidence();
        let observations = evidence.observations();
        observations.map(|o| (o.mapped, o.sequence)).collect()
    };
    let (first, second) = ("203.0.113.7:50000", "203.0.113.7:61000");
    let sent = world.send();
    world.answer(&sent[0], first);
    world.ask(std::slice::from_ref(&server));
    assert_eq!(observed(&world), [(address(first), 0)]);
    let sent = world.send();
    world.answer(&sent[0], second);
    assert_eq!(observed(&world), [(address(second), 1)]);
}

#[test]
fn an_icmp_error_ends_the_request_it_is_about_and_no_other() {
    let servers = ["192.0.2.1:3478", "192.0.2.2:3478"].map(at);
    let mut world = World::asking(&servers);
    world.send();
    let mapped_form = address("[::ffff:192.0.2.1]:3478");
    world.observed.handle_unreachable(&[Unreachable {
        server: mapped_form,
        error: IcmpError::Hard,
        is_of_server: false,
    }]);
    let outcomes: Vec<Outcome> = world.reports().into_iter().map(|report| report.2).collect();
    assert_eq!(outcomes, [Outcome::Unreachable, Outcome::Pending]);
}

#[test]
fn a_gathering_has_its_servers_in_the_order_given_and_counts_those_beyond_the_most() {
    let name: StunServer = "stun.example.org".parse().unwrap();
    let given = [name.clone(), at("192.0.2.9:3478"), at("192.0.2.8:3478")];
    let mut world = World::asking(&[]);
    let config = GatherConfig {
        max_servers: 2,
        ..GatherConfig::default()
    };
    let bases = vec![address(BASE)];
    let asking_of = asking(&world.next_id);
    world
        .observed
        .start_plan(&given, &config, bases, world.start, asking_of);
    world.resolved(&name, &["192.0.2.1:3478"]);
    let candidates = world.candidates();
    let gathering = world
        .observed
        .gathering(&given, candidates, Duration::from_millis(7));
    let servers: Vec<StunServer> = gathering.servers.iter().map(|r| r.server.clone()).collect();
    assert_eq!(servers, given[1..]);
    assert_eq!(world.observed.dropped.servers, 1, "the name's");
    assert_eq!(gathering.packets_sent, 0);
    assert_eq!(gathering.elapsed, Duration::from_millis(7));
}

/// A filter that answers for a server's name gives an address at which no server can be.
#[test]
fn a_name_that_a_filter_answers_for_is_unresolved_and_not_asked() {
    let name: StunServer = "stun.example.org".parse().unwrap();
    let resolved = |name: &StunServer, addresses: &[&str]| {
        let mut world = World::asking(std::slice::from_ref(name));
        world.resolved(name, addresses);
        let sent = world.send().len();
        (sent, world.reports().remove(0).2)
    };
    for sinkhole in ["0.0.0.0:3478", "[::]:3478", "127.0.0.1:3478", "[::1]:3478"] {
        assert_eq!(
            resolved(&name, &[sinkhole]),
            (0, Outcome::Unresolved),
            "{sinkhole}"
        );
    }
    assert_eq!(
        resolved(&name, &["0.0.0.0:3478", "192.0.2.1:3478"]),
        (1, Outcome::Pending)
    );
    let localhost: StunServer = "localhost".parse().unwrap();
    assert_eq!(
        resolved(&localhost, &["127.0.0.1:3478"]),
        (1, Outcome::Pending),
        "the name of the host itself"
    );
}

/// Two servers that stay silent to the end, and `heard` in between.
fn silent_but_for(heard: impl FnOnce(&mut World)) -> nat_summary::NatType {
    let servers = ["192.0.2.1:3478", "192.0.2.2:3478"].map(at);
    let mut world = World::asking(&servers);
    for ms in [0, 250, 750] {
        let now = world.start + Duration::from_millis(ms);
        while world.observed.poll_transmit(now).is_some() {}
    }
    heard(&mut world);
    let end = world.start + GatherConfig::default().deadline;
    assert!(world.observed.is_complete(end));
    world.observed.evidence().summary().nat_type()
}

#[test]
fn an_icmp_error_of_the_server_itself_and_whatever_was_dropped_show_that_udp_passes() {
    use nat_summary::NatType;
    assert_eq!(silent_but_for(|_| ()), NatType::UdpBlocked);
    let error = |is_of_server| Unreachable {
        server: address("192.0.2.9:3478"),
        error: IcmpError::Hard,
        is_of_server,
    };
    let of_router = silent_but_for(|world| world.observed.handle_unreachable(&[error(false)]));
    assert_eq!(of_router, NatType::UdpBlocked, "a router is not the server");
    let of_server = silent_but_for(|world| world.observed.handle_unreachable(&[error(true)]));
    assert_eq!(of_server, NatType::Unknown);
    let garbage = silent_but_for(|world| bump(&mut world.observed.dropped.garbage));
    assert_eq!(garbage, NatType::Unknown);
    let unreceived = silent_but_for(|world| bump(&mut world.observed.dropped.socket_errors));
    assert_eq!(unreceived, NatType::UdpBlocked, "that was no datagram");
}
