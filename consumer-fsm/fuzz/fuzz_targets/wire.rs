//! Messages of the signalling service and of other clients: whole ones, with pieces of others in
//! them.

#![no_main]

use consumer_fsm::signalling::Envelope;
use consumer_fsm::signalling::wire::{
    Description, Genesis, IceCandidates, Offer, WireCandidate, read, write,
};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

const WHOLE: [&str; 6] = [
    r#"{"ReplyTo":"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0","Type":0,"Payload":"{\"PathAssertion\":{\"Allow\":[{\"Host\":\"*\",\"Distance\":1}],\"Deny\":null},\"JITUnavailable\":false}"}"#,
    r#"{"PathAssertion":{"Allow":[{"Host":"*","Distance":1}],"Deny":null}}"#,
    r#"{"SDP":{"type":"offer","sdp":"v=0\r\n"},"Tag":""}"#,
    r#"{"type":"answer","sdp":"v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"}"#,
    r#"{"Candidates":[{"foundation":"1","priority":2130706431,"address":"192.0.2.1","protocol":1,"port":5000,"type":"srflx","component":1,"relatedAddress":"192.168.1.5","relatedPort":50000,"tcpType":"unspecified","sdpMid":null,"sdpMLineIndex":null}],"ConsumerSessionID":"s"}"#,
    r#"{"ReplyTo":"id","Type":2,"Payload":"[[[[[[[[]]]]]]]]"}"#,
];

/// A whole message, then steps: where, how many bytes go, how many bytes come, and these.
fn text(input: &[u8]) -> String {
    let (number, mut rest) = input.split_first().unwrap_or((&0, input));
    let mut text = WHOLE[usize::from(*number) % WHOLE.len()]
        .as_bytes()
        .to_vec();
    while let [at, goes, comes, tail @ ..] = rest {
        let (piece, behind) = tail.split_at(usize::from(comes % 64).min(tail.len()));
        rest = behind;
        let from = usize::from(*at) * 2 % (text.len() + 1);
        let to = (from + usize::from(goes % 64)).min(text.len());
        if *comes >= 192 {
            // many times over, because depth and length are what a reader stumbles over
            let piece = piece.repeat(usize::from(*comes) - 191);
            text.splice(from..to, piece);
        } else {
            text.splice(from..to, piece.iter().copied());
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What can be read can be written, and is the same again.
fn whole<T: DeserializeOwned + Serialize + PartialEq + core::fmt::Debug>(text: &str) -> Option<T> {
    let value: T = read::<T>(text).ok()?;
    assert_eq!(read::<T>(&write(&value)).as_ref(), Ok(&value));
    Some(value)
}

fn payload(text: &str) {
    whole::<Genesis>(text);
    whole::<Offer>(text);
    whole::<Description>(text);
    whole::<WireCandidate>(text);
    let ice = whole::<IceCandidates>(text);
    for candidate in ice.iter().flat_map(|ice| &ice.candidates) {
        if let Some(remote) = candidate.to_remote() {
            assert_ne!(remote.address.port(), 0);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let text = text(input);
    payload(&text);
    if let Some(envelope) = whole::<Envelope>(&text) {
        payload(&envelope.payload);
    }
});
