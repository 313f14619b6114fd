//! Each word of RFC 4787 has its meaning.

use super::*;

const INSIDE: [u8; 4] = [192, 168, 1, 5];
const OUTSIDE: [u8; 4] = [203, 0, 113, 7];

fn at(ip: [u8; 4], port: u16) -> SocketAddr {
    (ip, port).into()
}

/// A linear congruence: any sequence will do.
fn chance() -> impl FnMut(u64) -> u64 {
    let mut state = 1_u64;
    move |end| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % end
    }
}

fn nat(behaviour: Behaviour) -> Nat {
    Nat::new(behaviour, vec![OUTSIDE.into()], 20_000)
}

#[test]
fn mapping_and_filtering_depend_on_what_they_say() {
    let internal = at(INSIDE, 50_000);
    let one = at([198, 51, 100, 1], 1);
    let (other_port, other) = (at([198, 51, 100, 1], 2), at([198, 51, 100, 2], 1));
    for (dependence, same_port, same_address) in [
        (Dependence::EndpointIndependent, true, true),
        (Dependence::AddressDependent, true, false),
        (Dependence::AddressAndPortDependent, false, false),
    ] {
        for assignment in [
            PortAssignment::Preserving,
            PortAssignment::Random,
            PortAssignment::Sequential {
                step: 1,
                traffic: 2,
            },
        ] {
            let mut below = chance();
            let behaviour = Behaviour::new(dependence, dependence).with_assignment(assignment);
            let mut nat = nat(behaviour);
            let external = nat.outward(internal, one, &mut below);
            assert_eq!(nat.inward(external, one), Some(internal));
            assert_eq!(nat.inward(external, other_port).is_some(), same_port);
            assert_eq!(nat.inward(external, other).is_some(), same_address);
            assert_eq!(external.ip(), IpAddr::from(OUTSIDE));
            assert_eq!(
                external.port() == internal.port(),
                assignment == PortAssignment::Preserving
            );
            assert_eq!(
                nat.outward(internal, other_port, &mut below) == external,
                same_port
            );
            assert_eq!(
                nat.outward(internal, other, &mut below) == external,
                same_address
            );
        }
    }
}

#[test]
fn a_filter_opens_by_the_internal_endpoint_or_by_one_mapping() {
    let internal = at(INSIDE, 50_000);
    let (one, other) = (at([198, 51, 100, 1], 1), at([198, 51, 100, 2], 1));
    let behaviour = Behaviour::new(
        Dependence::AddressAndPortDependent,
        Dependence::AddressAndPortDependent,
    );
    for (state, is_let_in) in [
        (FilterState::OfInternalEndpoint, true),
        (FilterState::OfMapping, false),
    ] {
        let (mut nat, mut below) = (nat(behaviour.with_filter_state(state)), chance());
        let toward_one = nat.outward(internal, one, &mut below);
        let toward_other = nat.outward(internal, other, &mut below);
        assert_ne!(toward_one, toward_other);
        assert_eq!(nat.inward(toward_one, other).is_some(), is_let_in);
        assert!(nat.inward(toward_other, other).is_some());
    }
}

#[test]
fn two_hosts_of_one_port_get_two_unless_it_is_overloaded() {
    let hosts = [at([192, 168, 1, 5], 50_000), at([192, 168, 1, 6], 50_000)];
    let servers = [at([198, 51, 100, 1], 1), at([198, 51, 100, 2], 1)];
    let behaviour = Behaviour::new(
        Dependence::EndpointIndependent,
        Dependence::AddressAndPortDependent,
    );
    let mut below = chance();
    let mut preserving = nat(behaviour);
    let mapped = [0, 1].map(|n| preserving.outward(hosts[n], servers[n], &mut below));
    assert_eq!(mapped[0].port(), 50_000);
    assert_ne!(mapped[0], mapped[1]);

    let mut overloading = nat(behaviour.with_assignment(PortAssignment::Overloading));
    let mapped = [0, 1].map(|n| overloading.outward(hosts[n], servers[n], &mut below));
    assert_eq!(mapped[0], mapped[1]);
    for n in [0, 1] {
        assert_eq!(overloading.inward(mapped[n], servers[n]), Some(hosts[n]));
    }
    // the filter of each host is its own
    let state = behaviour.with_filter_state(FilterState::OfMapping);
    let mut overloading = nat(state.with_assignment(PortAssignment::Overloading));
    let mapped = [0, 1].map(|n| overloading.outward(hosts[n], servers[n], &mut below));
    for n in [0, 1] {
        assert_eq!(overloading.inward(mapped[n], servers[n]), Some(hosts[n]));
    }
}

#[test]
fn sequential_ports_keep_their_step_and_come_round() {
    let behaviour = Behaviour::new(
        Dependence::AddressAndPortDependent,
        Dependence::AddressAndPortDependent,
    );
    let behaviour = behaviour.with_assignment(PortAssignment::Sequential {
        step: 2,
        traffic: 0,
    });
    let mut nat = Nat::new(behaviour, vec![OUTSIDE.into()], u16::MAX - 2);
    let mut below = chance();
    let mut port = |n| {
        nat.outward(at(INSIDE, 50_000), at([198, 51, 100, n], 1), &mut below)
            .port()
    };
    assert_eq!([1, 2, 3].map(&mut port), [u16::MAX, 1_024, 1_026]);
}

#[test]
fn a_pool_is_paired_or_drawn_from() {
    let pool: Vec<IpAddr> = (1..=4).map(|n| [203, 0, 113, n].into()).collect();
    let behaviour = Behaviour::new(
        Dependence::AddressAndPortDependent,
        Dependence::AddressAndPortDependent,
    );
    for (pooling, is_one) in [(Pooling::Paired, true), (Pooling::Arbitrary, false)] {
        let mut nat = Nat::new(behaviour.with_pooling(pooling), pool.clone(), 20_000);
        let mut below = chance();
        let mut seen: Vec<IpAddr> = (0..32)
            .map(|n| {
                nat.outward(at(INSIDE, 50_000), at([198, 51, 100, n], 1), &mut below)
                    .ip()
            })
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len() == 1, is_one, "{pooling:?}: {seen:?}");
    }
}

#[test]
fn a_hairpin_shows_the_endpoint_that_it_should_and_passes_the_filter() {
    let (sender, receiver) = (at([192, 168, 1, 5], 50_000), at([192, 168, 1, 6], 50_001));
    let server = at([198, 51, 100, 1], 1);
    for filtering in [
        Dependence::EndpointIndependent,
        Dependence::AddressAndPortDependent,
    ] {
        for hairpinning in [
            Hairpinning::None,
            Hairpinning::ExternalSource,
            Hairpinning::InternalSource,
        ] {
            let behaviour = Behaviour::new(Dependence::EndpointIndependent, filtering);
            let mut nat = nat(behaviour.with_hairpinning(hairpinning));
            let mut below = chance();
            let external = nat.outward(receiver, server, &mut below);
            let arrived = nat.hairpin(sender, external, &mut below);
            let from = match hairpinning {
                Hairpinning::None => None,
                Hairpinning::ExternalSource => Some(nat.outward(sender, external, &mut below)),
                Hairpinning::InternalSource => Some(sender),
            };
            let from = from.filter(|_| filtering == Dependence::EndpointIndependent);
            let expected = from.map(|from| Hairpinned { to: receiver, from });
            assert_eq!(arrived, expected, "{filtering:?} {hairpinning:?}");
        }
    }
}

#[test]
fn a_nat_that_forgot_lets_nothing_in_and_maps_anew() {
    let (internal, server) = (at(INSIDE, 50_000), at([198, 51, 100, 1], 1));
    let behaviour = Behaviour::new(
        Dependence::EndpointIndependent,
        Dependence::EndpointIndependent,
    );
    let mut nat = nat(behaviour.with_assignment(PortAssignment::Random));
    let mut below = chance();
    let before = nat.outward(internal, server, &mut below);
    nat.forget();
    assert_eq!(nat.inward(before, server), None);
    assert_ne!(nat.outward(internal, server, &mut below), before);
}
