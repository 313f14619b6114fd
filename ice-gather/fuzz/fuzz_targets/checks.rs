//! Any checks, at any moment, from any address, into the reader of the peer: no panic, no evidence
//! without a signature, and everything bounded and counted.

#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ice_gather::checks::PeerReader;
use ice_gather::stun::Header;
use libfuzzer_sys::fuzz_target;
use nat_summary::{MAX_OBSERVATIONS, MAX_UNSOLICITED, SentBefore};
use stun::integrity::MessageIntegrity;
use stun::message::{Message, Setter};

const BASES: [&str; 2] = ["192.168.1.5:50000", "[2001:db8::5]:50000"];
const PEERS: [&str; 4] = [
    "192.0.2.9:4000",
    "192.0.2.9:4001",
    "192.0.2.10:4000",
    "[2001:db8::9]:4000",
];
const OURS: &str = "our-password-of-22-letters";
const THEIRS: &str = "their-password-of-22-letters";

fn at(addresses: &[&str], number: u8) -> SocketAddr {
    addresses[usize::from(number) % addresses.len()]
        .parse()
        .expect("an address")
}

/// The same message, signed as its sender would: a mutation cannot find a keyed hash by itself.
fn sign(datagram: &[u8], password: &str) -> Option<Vec<u8>> {
    let mut message = Message::new();
    message.unmarshal_binary(datagram).ok()?;
    message.raw.truncate(20 + message.length as usize);
    MessageIntegrity(password.as_bytes().to_vec())
        .add_to(&mut message)
        .ok()?;
    Some(message.raw)
}

fuzz_target!(|input: &[u8]| {
    let start = Instant::now();
    let mut reader = PeerReader::new();
    reader.set_local_password(OURS);
    reader.set_remote_password(THEIRS);
    let (mut now, mut sent, mut signed, mut steps) = (start, 0_u32, 0_u32, 0_u32);
    let mut rest = input;
    // each step: a byte of time, a byte of kind and address, a byte of length, and that many bytes
    while let [pause, kind, length, tail @ ..] = rest {
        now += Duration::from_millis(u64::from(*pause) * 16);
        let (bytes, behind) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = behind;
        steps += 1;
        let (base, peer) = (at(&BASES, kind & 1), at(&PEERS, kind >> 1 & 3));
        let forged;
        let datagram = match kind >> 3 & 3 {
            0 => bytes,
            1 => {
                forged = sign(bytes, OURS).unwrap_or_default();
                &forged
            }
            _ => {
                forged = sign(bytes, THEIRS).unwrap_or_default();
                &forged
            }
        };
        signed += u32::from(kind >> 3 & 3 != 0 && !datagram.is_empty());
        let Some(header) = Header::peek(datagram) else {
            continue;
        };
        match kind >> 5 & 3 {
            0 => {
                reader.on_sent(base, peer, header, now);
                sent += u32::from(header.is_binding_request());
            }
            1 => {
                if let Some(remapped) = reader.on_response(base, peer, datagram, now) {
                    assert_eq!(
                        (remapped.was.base, remapped.was.server),
                        (base, peer.into())
                    );
                    assert_ne!(remapped.was.mapped, remapped.is.mapped);
                }
            }
            2 => {
                let is_authentic = reader.on_request(base, peer, datagram, kind & 0x80 == 0, now);
                assert!(
                    !is_authentic || signed > 0,
                    "only a sender that has the password can sign"
                );
            }
            _ if kind & 0x80 == 0 => reader.heartbeat(now, Duration::from_secs(1)),
            _ => reader.on_other_sent(peer, now),
        }
        let view = reader.view();
        assert_eq!(view.checks.sent, sent);
        assert!(view.checks.answered <= sent, "each check has one answer");
        assert!(view.checks.answered + view.checks.received <= signed);
        assert!(view.survived.is_none_or(|gap| gap < now - start));
        assert!(view.rebindings <= view.checks.answered);
    }
    let view = reader.view();
    assert!(view.evidence.answers().len() <= MAX_OBSERVATIONS);
    assert!(view.evidence.unsolicited_checks().len() <= MAX_UNSOLICITED);
    assert!(
        view.evidence
            .unsolicited_checks()
            .all(|arrival| matches!(arrival.sent_before, SentBefore::Never | SentBefore::OtherPort))
    );
    let dropped = view.dropped;
    assert!(
        dropped.unknown_id + dropped.wrong_source + dropped.unauthenticated + dropped.replayed
            <= steps
    );
});
