//! Any sequence of datagrams, ICMP errors and waits: the observer keeps its bounds, and concludes no
//! filtering from what was not verified.
#![no_main]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use nat_summary::observer::{IcmpError, MAX_PAIRS, Message, Observer, is_stun};
use nat_summary::{FilteringSeen, MAX_OBSERVATIONS, NatType, Outcome};

/// Addresses are few, so that datagrams meet.
fn address(byte: u8) -> SocketAddr {
    let ip: IpAddr = match byte {
        0..=63 => [192, 168, 1, byte % 4].into(),
        64..=127 => [198, 51, 100, byte % 8].into(),
        128..=191 => [203, 0, 113, byte % 8].into(),
        192..=223 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(byte % 4)].into(),
        224..=239 => [0_u8, 0, 0, 0].into(),
        _ => [224, 0, 0, byte].into(),
    };
    SocketAddr::new(ip, 50_000 + u16::from(byte % 2))
}

/// The bytes as they are, or as the attributes of a message.
fn datagram(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let types: [u16; 8] = [
        0x0001, 0x0101, 0x0111, 0x0003, 0x0103, 0x0016, 0x0017, 0x0011,
    ];
    let Some(typ) = types.get(usize::from(kind % 16)) else {
        return bytes.to_vec();
    };
    let id = [bytes.first().copied().unwrap_or_default() % 4; 12];
    let length = u16::try_from(bytes.len()).unwrap_or_default();
    let head = [typ.to_be_bytes(), length.to_be_bytes()].concat();
    [&head, &[0x21, 0x12, 0xa4, 0x42][..], &id, bytes].concat()
}

fuzz_target!(|data: &[u8]| {
    let mut observer = Box::new(Observer::new());
    let mut now = Duration::ZERO;
    let (mut received, mut rest) = (0_u32, data);
    while let [act, kind, local, remote, wait, length, tail @ ..] = rest {
        let (bytes, next) = tail.split_at(tail.len().min(usize::from(*length)));
        rest = next;
        now += Duration::from_millis(u64::from(*wait).pow(2));
        let (local, remote) = (address(*local), address(*remote));
        let datagram = datagram(*kind, bytes);
        match act % 8 {
            0..=2 => observer.sent(now, local, remote, &datagram),
            3..=5 => {
                received += 1;
                observer.received(now, local, remote, &datagram);
            }
            6 => {
                let error = if kind % 2 == 0 {
                    IcmpError::Hard
                } else {
                    IcmpError::Soft
                };
                observer.unreachable(now, local, remote, error, Some(local.ip()));
            }
            _ => observer.advance(now),
        }
        if let Ok(message) = Message::read(&datagram) {
            assert!(is_stun(&datagram) && datagram.len() % 4 == 0);
            assert!(!(message.is_check() && message.is_response()));
        }
        let evidence = observer.evidence();
        let summary = evidence.summary();
        assert!(evidence.observations().len() <= MAX_OBSERVATIONS);
        assert!(observer.pairs().len() <= MAX_PAIRS);
        let peer = observer.peer_evidence();
        assert_eq!(
            peer.summary(&evidence).filtering,
            FilteringSeen::Unobserved,
            "nothing is verified"
        );
        if summary.nat_type() == NatType::UdpBlocked {
            assert_eq!(received, 0, "something came in");
        }
        for server in observer.servers() {
            assert!(
                server.outcome != Outcome::TimedOut || server.sends >= 2,
                "one copy may get lost"
            );
        }
    }
    observer.end();
    let _ = observer.evidence().summary().with_address().to_string();
});
