//! Random gatherings behind a modelled NAT: at no moment is a verdict wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use nat_summary::observer::Observer;
use nat_summary::{Mapping, NatType};
use proptest::prelude::*;

use super::stun::{message, success_to};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Open,
    Independent,
    AddressDependent,
    PortDependent,
}

impl Kind {
    /// Whether a mapping is no mistake behind this NAT.
    fn allows(self, mapping: Mapping) -> bool {
        match mapping {
            Mapping::Unknown => true,
            Mapping::EndpointIndependent => matches!(self, Self::Open | Self::Independent),
            Mapping::AddressDependent => self == Self::AddressDependent,
            Mapping::AddressAndPortDependent => self == Self::PortDependent,
            _ => matches!(self, Self::AddressDependent | Self::PortDependent),
        }
    }

    fn allows_type(self, nat_type: NatType) -> bool {
        match nat_type {
            NatType::Unknown => true,
            NatType::Open => self == Self::Open,
            NatType::Cone => self == Self::Independent,
            NatType::Symmetric => matches!(self, Self::AddressDependent | Self::PortDependent),
            // answers come in
            _ => false,
        }
    }
}

/// A NAT that forgets a mapping once nothing was sent through it for `idle`, and gives a new port then.
struct Nat {
    kind: Kind,
    idle: Duration,
    mappings: BTreeMap<(SocketAddr, SocketAddr), (u16, Duration)>,
    next_port: u16,
}

impl Nat {
    fn map(&mut self, base: SocketAddr, server: SocketAddr, now: Duration) -> SocketAddr {
        let of = match self.kind {
            Kind::Open => return base,
            Kind::Independent => "0.0.0.0:0".parse().unwrap(),
            Kind::AddressDependent => SocketAddr::new(server.ip(), 0),
            Kind::PortDependent => server,
        };
        let mapping = self.mappings.entry((base, of)).or_insert((0, now));
        if mapping.0 == 0 || now - mapping.1 > self.idle {
            self.next_port += 7;
            mapping.0 = self.next_port;
        }
        mapping.1 = now;
        SocketAddr::from(([203, 0, 113, 7], mapping.0))
    }
}

/// A request that leaves: after how long, from which base, to which server, whether its id is that
/// of the last request there, and whether an answer comes, after how long.
#[derive(Debug, Clone, Copy)]
struct Step {
    after: u64,
    base: u8,
    server: u8,
    is_again: bool,
    answered_after: Option<u64>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let after = prop_oneof![6 => 0..300_u64, 2 => 300..12_000_u64, 1 => 12_000..100_000_u64];
    let answered = prop_oneof![4 => (5..200_u64).prop_map(Some), 1 => (200..4_000_u64).prop_map(Some), 1 => Just(None)];
    let step = (after, 0..2_u8, 0..6_u8, prop::bool::weighted(0.3), answered);
    let step = step.prop_map(|(after, base, server, is_again, answered_after)| Step {
        after,
        base,
        server,
        is_again,
        answered_after,
    });
    prop::collection::vec(step, 1..40)
}

/// Three addresses with two ports each.
fn server(n: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1 + n / 2], 3478 + u16::from(n % 2)))
}

enum Event {
    Sent(SocketAddr, SocketAddr, Vec<u8>),
    Received(SocketAddr, SocketAddr, Vec<u8>),
}

/// Every datagram, by its time.
fn play(kind: Kind, idle: Duration, local: [u8; 4], steps: &[Step]) -> Vec<(Duration, Event)> {
    let mut nat = Nat {
        kind,
        idle,
        mappings: BTreeMap::new(),
        next_port: 20_000,
    };
    let mut events = Vec::new();
    let mut now = Duration::ZERO;
    let mut last = BTreeMap::new();
    for (n, step) in (1_u8..).zip(steps) {
        now += Duration::from_millis(step.after);
        let base = SocketAddr::from((local, 50_000 + u16::from(step.base)));
        let server = server(step.server);
        let id = match last.get(&(base, server)) {
            Some(id) if step.is_again => *id,
            _ => [n; 12],
        };
        last.insert((base, server), id);
        events.push((now, Event::Sent(base, server, message(0x0001, id, &[]))));
        let mapped = nat.map(base, server, now);
        if let Some(after) = step.answered_after {
            let answer = success_to(id, mapped);
            let then = now + Duration::from_millis(after);
            events.push((then, Event::Received(base, server, answer)));
        }
    }
    events.sort_by_key(|(at, _)| *at);
    events
}

fn hand_in(observer: &mut Observer, now: Duration, event: &Event) {
    match event {
        Event::Sent(base, server, bytes) => observer.sent(now, *base, *server, bytes),
        Event::Received(base, server, bytes) => observer.received(now, *base, *server, bytes),
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Open),
        Just(Kind::Independent),
        Just(Kind::AddressDependent),
        Just(Kind::PortDependent)
    ]
}

fn local(kind: Kind) -> [u8; 4] {
    if kind == Kind::Open {
        [203, 0, 113, 200]
    } else {
        [192, 168, 1, 5]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_prefix_of_a_gathering_is_judged_wrong(kind in kind(), idle in 20_u64..200, steps in steps()) {
        let mut observer = Observer::new();
        for (now, event) in play(kind, Duration::from_secs(idle), local(kind), &steps) {
            hand_in(&mut observer, now, &event);
            let evidence = observer.evidence();
            let summary = evidence.summary();
            for base in summary.bases() {
                prop_assert!(kind.allows(base.mapping), "{kind:?} at {now:?}: {base:?}");
            }
            prop_assert!(kind.allows_type(summary.nat_type()), "{kind:?} at {now:?}: {summary}");
        }
    }

    /// The order of what passes two sockets at one moment is that of two queues.
    #[test]
    fn the_order_of_unrelated_sockets_does_not_matter(
        a in kind(), b in kind(), of_a in steps(), of_b in steps(), choices in prop::collection::vec(any::<bool>(), 160),
    ) {
        let idle = Duration::from_secs(60);
        let ports = |events: Vec<(Duration, Event)>, moved: u16| -> Vec<Event> {
            let moved = |base: SocketAddr| SocketAddr::new(base.ip(), base.port() + moved);
            events.into_iter().map(|(_, event)| match event {
                Event::Sent(base, server, bytes) => Event::Sent(moved(base), server, bytes),
                Event::Received(base, server, bytes) => Event::Received(moved(base), server, bytes),
            }).collect()
        };
        let of_a = ports(play(a, idle, local(a), &of_a), 0);
        let of_b = ports(play(b, idle, local(b), &of_b), 100);
        let judged = |choices: &mut dyn Iterator<Item = bool>| {
            let mut observer = Observer::new();
            let (mut of_a, mut of_b) = (of_a.iter().peekable(), of_b.iter().peekable());
            while of_a.peek().is_some() || of_b.peek().is_some() {
                let takes_a = of_b.peek().is_none() || (of_a.peek().is_some() && choices.next().unwrap_or(true));
                let event = if takes_a { of_a.next() } else { of_b.next() };
                hand_in(&mut observer, Duration::ZERO, event.unwrap());
            }
            observer.advance(Duration::from_secs(9));
            let evidence = observer.evidence();
            let mapped: Vec<_> = evidence.observations().map(|o| (o.base, o.server, o.mapped)).collect();
            let bases: Vec<_> = evidence.summary().bases().map(|base| (base.base, base.mapping, base.rule)).collect();
            let servers: Vec<_> = observer.servers().collect();
            (mapped, bases, servers, evidence.servers().to_vec())
        };
        let first = judged(&mut std::iter::repeat(true));
        prop_assert_eq!(judged(&mut choices.into_iter()), first);
    }

    #[test]
    fn no_sequence_of_datagrams_panics(
        datagrams in prop::collection::vec((any::<u16>(), 0..4_u16, any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..60),
    ) {
        let mut observer = Observer::new();
        for (now, typ, is_sent, bytes) in datagrams {
            let now = Duration::from_millis(now.into());
            let id = [bytes.first().copied().unwrap_or_default() % 4; 12];
            let mut stun = message([0x0001, 0x0101, 0x0111, 0x0003][usize::from(typ)], id, &[]);
            stun.extend(&bytes);
            let length = u16::try_from(bytes.len()).unwrap_or_default();
            stun[2..4].copy_from_slice(&length.to_be_bytes());
            let (base, remote) = (super::at(super::BASE), super::at(super::ONE));
            for datagram in [&stun[..], &bytes] {
                if is_sent {
                    observer.sent(now, base, remote, datagram);
                } else {
                    observer.received(now, base, remote, datagram);
                }
            }
        }
        let _ = (observer.evidence().summary(), observer.servers().count(), observer.pairs().count());
    }
}
