//! Tests of the pace.

use super::*;

const ROUND: Duration = Duration::from_millis(100);

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn paced() -> (Pace, Instant) {
    let mut pace = Pace::default();
    pace.set_interval(ROUND);
    (pace, Instant::now())
}

fn other(number: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, number], 9))
}

/// The checks that leave in this many rounds of the library, by address.
fn rounds(pace: &mut Pace, addresses: &[SocketAddr], start: Instant, count: u32) -> Vec<usize> {
    let mut left = vec![0; addresses.len()];
    for round in 0..count {
        for (address, left) in addresses.iter().zip(&mut left) {
            let admission = pace.check(*address, false, start + ROUND * round);
            *left += usize::from(admission == Admission::Leaves);
        }
    }
    left
}

#[test]
fn a_silent_place_gets_sixteen_checks_over_sixteen_seconds_however_many_ports_it_has() {
    let ports: Vec<_> = (1..=16)
        .map(|port| SocketAddr::from(([192, 0, 2, 1], port)))
        .collect();
    for addresses in [&ports[..1], &ports[..]] {
        let (mut pace, start) = paced();
        let by_second: Vec<usize> = (0..60)
            .map(|second| {
                let start = start + Duration::from_secs(second);
                rounds(&mut pace, addresses, start, 10).iter().sum()
            })
            .collect();
        assert_eq!(by_second.iter().sum::<usize>(), usize::from(MAX_CHECKS));
        assert_eq!(by_second[16], 1, "{by_second:?}");
        assert_eq!(
            pace.check(ports[0], false, start + RTO * 10_000),
            Admission::Spent
        );
    }
}

#[test]
fn addresses_of_one_ipv6_network_are_one_place() {
    let (mut pace, start) = paced();
    let addresses: Vec<_> = (1..=16)
        .map(|host| at(&format!("[2001:db8:0:1:{host:x}::1]:9")))
        .collect();
    let left = rounds(&mut pace, &addresses, start, 600);
    assert_eq!(left.iter().sum::<usize>(), usize::from(MAX_CHECKS));
    let beside = at("[2001:db8:0:2::1]:9");
    let later = start + ROUND * 600;
    assert_eq!(pace.check(beside, false, later), Admission::Leaves);
    let mapped = place_of("::ffff:192.0.2.1".parse().unwrap());
    assert_eq!(mapped, place_of([192, 0, 2, 1].into()));
    assert_ne!(mapped, place_of([192, 0, 2, 2].into()));
}

#[test]
fn ten_addresses_are_checked_at_once_and_then_each_in_its_turn() {
    let (mut pace, start) = paced();
    let addresses: Vec<_> = (1..=10).map(other).collect();
    assert_eq!(rounds(&mut pace, &addresses, start, 1), [1; 10]);
    // two in each round, so five rounds for all of them
    let next = rounds(&mut pace, &addresses, start + ROUND, 5);
    assert_eq!(next, [1; 10]);
}

#[test]
fn thirty_addresses_keep_the_pace_of_one_agent_and_none_goes_without() {
    let (mut pace, start) = paced();
    let addresses: Vec<_> = (1..=30).map(other).collect();
    let left = rounds(&mut pace, &addresses, start, 50);
    assert_eq!(left.iter().sum::<usize>(), 10 + 2 * 49);
    let (least, most) = (left.iter().min().unwrap(), left.iter().max().unwrap());
    assert!(most - least <= 1, "{left:?}");
}

#[test]
fn an_address_that_lost_its_pair_holds_up_no_other() {
    let (mut pace, start) = paced();
    let addresses: Vec<_> = (1..=12).map(other).collect();
    rounds(&mut pace, &addresses, start, 1);
    // the last two wait, and never come again
    let waiting = rounds(&mut pace, &addresses[..10], start + ROUND, 2);
    assert_eq!(waiting, [0; 10]);
    let rest = rounds(&mut pace, &addresses[..10], start + ROUND * 3, 3);
    assert_eq!(rest, [1; 10]);
}

#[test]
fn a_signed_request_earns_few_checks_and_fewer_answers_even_where_the_checks_are_spent() {
    let (mut pace, start) = paced();
    let silent = at("192.0.2.1:9");
    rounds(&mut pace, &[silent], start, 600);
    let now = start + ROUND * 600;
    assert_eq!(pace.check(silent, false, now), Admission::Spent);
    let mut left = [0; 2];
    for number in 0..1_000_u16 {
        let source = SocketAddr::from(([192, 0, 2, 1], 1_000 + number % 32));
        let now = now + Duration::from_millis(10) * u32::from(number);
        pace.on_request(source, false, now);
        let sent = [pace.answer(source, false), pace.check(source, false, now)];
        for (left, sent) in left.iter_mut().zip(sent) {
            *left += u8::from(sent == Admission::Leaves);
        }
    }
    assert_eq!(left, [MAX_ANSWERS, MAX_TRIGGERED]);
    assert!(MAX_CHECKS + MAX_TRIGGERED + MAX_ANSWERS <= 30);
}

#[test]
fn a_check_that_a_request_asked_for_does_not_wait_for_its_turn() {
    let (mut pace, start) = paced();
    let addresses: Vec<_> = (1..=30).map(other).collect();
    rounds(&mut pace, &addresses, start, 1);
    let last = addresses[29];
    assert_eq!(pace.check(last, false, start), Admission::Waits);
    pace.on_request(last, false, start);
    assert_eq!(pace.check(last, false, start), Admission::Leaves);
    assert_eq!(pace.check(last, false, start), Admission::Waits);
    assert_eq!(pace.check(last, false, start + TA), Admission::Leaves);
}

#[test]
fn an_address_that_answered_is_free_and_its_neighbours_are_not() {
    let (mut pace, start) = paced();
    let (here, beside) = (at("192.0.2.1:9"), at("192.0.2.1:10"));
    rounds(&mut pace, &[here, beside], start, 600);
    pace.on_answered(at("[::ffff:192.0.2.1]:9"), false);
    let now = start + ROUND * 600;
    for _ in 0..1_000 {
        assert_eq!(pace.check(here, false, now), Admission::Leaves);
        assert_eq!(pace.check(here, true, now), Admission::Leaves);
        assert_eq!(pace.answer(here, false), Admission::Leaves);
    }
    let left = rounds(&mut pace, &[beside], now, 600);
    assert!(left[0] <= usize::from(MAX_CHECKS), "{left:?}");
}

#[test]
fn a_relay_has_its_turn_beside_the_direct_pairs_and_no_more_packets_in_all() {
    let (mut pace, start) = paced();
    let silent = at("192.0.2.1:9");
    let mut left = [0; 2];
    for round in 0..600 {
        for (is_relayed, left) in [false, true].into_iter().zip(&mut left) {
            let admission = pace.check(silent, is_relayed, start + ROUND * round);
            *left += u8::from(admission == Admission::Leaves);
        }
    }
    assert_eq!(left[0] + left[1], MAX_CHECKS);
    assert!(left[1] >= 5, "{left:?}");
}

#[test]
fn addresses_without_end_have_no_room() {
    let (mut pace, start) = paced();
    for number in 0..10_000_u16 {
        let [high, low] = number.to_be_bytes();
        let address = SocketAddr::from(([10, 0, high, low], 9));
        let now = start + TA * u32::from(number);
        pace.on_request(address, false, now);
        let admitted = pace.check(address, false, now) != Admission::Spent;
        assert_eq!(admitted, usize::from(number) < MAX_TARGETS);
    }
    assert_eq!(pace.targets.len(), MAX_TARGETS);
}
