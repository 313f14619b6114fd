//! Any datagram, at any moment, from any address, into the reader and the plan: no panic, no false
//! answer, no endless plan.

#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ice_gather::GatherConfig;
use ice_gather::plan::Plan;
use ice_gather::stun::{Answer, Header, TransactionId, read_answer};
use libfuzzer_sys::fuzz_target;
use nat_summary::{Evidence, Outcome};

const BASES: [&str; 2] = ["192.168.1.5:50000", "[2001:db8::5]:50000"];
const SERVERS: [&str; 4] = [
    "198.51.100.1:3478",
    "198.51.100.1:3479",
    "198.51.100.2:3478",
    "[2001:db8::1]:3478",
];

fn at(addresses: &[&str], number: u8) -> SocketAddr {
    addresses[usize::from(number) % addresses.len()]
        .parse()
        .expect("an address")
}

/// Requests have ids a mutation can hit: the first datagram of the corpus carries one of them.
fn id(number: u8) -> TransactionId {
    [number; 12]
}

fuzz_target!(|input: &[u8]| {
    let start = Instant::now();
    let bases = (0..2).map(|n| at(&BASES, n)).collect();
    let mut plan = Plan::new(GatherConfig::default(), bases, start);
    for number in 0..4 {
        plan.ask(at(&SERVERS, number), None, id(number), start);
    }
    let mut now = start;
    let mut answered = 0;
    let mut rest = input;
    // each step: a byte of time, a byte of who, a byte of length, and that many bytes
    while let [pause, who, length, tail @ ..] = rest {
        now += Duration::from_millis(u64::from(*pause));
        while let Some(transmit) = plan.poll_transmit(now) {
            assert!(
                now < start + GatherConfig::default().deadline,
                "nothing is sent after the deadline"
            );
            match who >> 6 {
                2 => plan.handle_send_error(transmit.request),
                3 => plan.handle_send_lost(transmit.request),
                _ => {}
            }
        }
        let (datagram, behind) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = behind;

        let read = read_answer(datagram);
        if let Ok((id, answer)) = read {
            let header = Header::peek(datagram).expect("an answer has a header");
            assert!(header.is_response() && header.id == id);
            assert!(
                !matches!(answer, Answer::Refused(code) if code != 0 && !(300..700).contains(&code))
            );
        }
        let (base, source) = (at(&BASES, who & 1), at(&SERVERS, who >> 1 & 3));
        if let Ok(taken) = plan.handle_datagram(now, base, source, datagram) {
            assert_eq!(
                read,
                Ok((id(taken.request as u8), taken.answer)),
                "only the answer that was read"
            );
            assert_eq!(
                source,
                at(&SERVERS, taken.request as u8),
                "only from the server asked"
            );
            answered += 1;
        }
        assert!(answered <= 4, "a request ends with its first answer");
        if !plan.is_complete(now) {
            let wake = plan
                .poll_timeout()
                .expect("a plan that is not complete waits for something");
            assert!(wake <= start + GatherConfig::default().deadline);
        }
    }
    assert!(plan.packets_sent() <= 4 * u32::from(GatherConfig::default().max_sends));
    assert!(
        plan.is_complete(start + GatherConfig::default().deadline),
        "a plan ends at its deadline"
    );
    let mut evidence = Evidence::new();
    plan.record(&mut evidence);
    let outcomes = evidence
        .servers()
        .iter()
        .filter(|(_, outcome)| *outcome >= Outcome::Refused)
        .count();
    assert_eq!(outcomes, answered, "the evidence has every answer and no other");
    let _ = evidence.summary().to_string();
});
