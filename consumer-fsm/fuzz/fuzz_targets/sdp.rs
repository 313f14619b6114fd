//! A session description of a peer: lines as stacks write them, damaged lines, and any text between.

#![no_main]

use consumer_fsm::SessionDescription;
use libfuzzer_sys::fuzz_target;
use nat_summary::Evidence;

/// Most candidates that a description is read for.
const MOST: usize = 64;
const LINES: [&str; 20] = [
    "v=0",
    "o=- 1 2 IN IP4 127.0.0.1",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111",
    "a=ice-ufrag:abcd",
    "a=ice-pwd:0123456789abcdefghijkl",
    "a=ice-options:trickle",
    "a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F",
    "a=fingerprint:sha-1 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13",
    "a=setup:actpass",
    "a=setup:passive",
    "a=mid:0",
    "a=sctp-port:5000",
    "a=max-message-size:262144",
    "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host",
    "a=candidate:2 1 udp 1694498815 203.0.113.7 41000 typ srflx raddr 192.168.1.5 rport 50000",
    "a=candidate:3 1 udp 2130706431 2001:db8::1 5000 typ host generation 0 network-cost 999",
    "a=candidate:4 1 udp 2130706431 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0.local 5000 typ host",
    "a=candidate:5 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
];

/// Each step: a byte that names a line, a byte of damage or of length, and what belongs to it.
fn text(mut rest: &[u8]) -> String {
    let mut text = Vec::new();
    while let [what, number, tail @ ..] = rest {
        let known = usize::from(what % 32);
        match LINES.get(known) {
            Some(line) if *what < 128 => {
                text.extend_from_slice(line.as_bytes());
                rest = tail;
            }
            Some(line) => {
                // one byte is another
                let at = text.len() + usize::from(*number) % line.len();
                text.extend_from_slice(line.as_bytes());
                let (to, behind) = tail.split_first().unwrap_or((&0, tail));
                text[at] = *to;
                rest = behind;
            }
            None => {
                let (any, behind) = tail.split_at(usize::from(*number).min(tail.len()));
                text.extend_from_slice(any);
                rest = behind;
            }
        }
        text.extend_from_slice(if what & 64 == 0 { b"\r\n" } else { b"\n" });
    }
    String::from_utf8_lossy(&text).into_owned()
}

fuzz_target!(|input: &[u8]| {
    let text = text(input);
    let _ = Evidence::from_text(&text).summary().to_string();
    let Ok(read) = SessionDescription::parse(&text) else {
        return;
    };
    assert!(read.candidates.len() <= MOST);
    for candidate in &read.candidates {
        let ip = candidate.address.ip();
        assert!(candidate.address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast());
    }
    // what was read is what is written
    let written = SessionDescription::write(&read.credentials, read.channel.as_ref(), &[]);
    let again = SessionDescription::parse(&written).expect("it was read before");
    assert_eq!(again.credentials, read.credentials);
    assert_eq!(again.channel.is_some(), read.channel.is_some());
});
