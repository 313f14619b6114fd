//! Any evidence: it is judged, in any order, whole or in parts, written down or not, to the same
//! verdict.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use nat_summary::{
    Address, Candidate, CandidateKind, Evidence, Mapping, Observation, Outcome, Outlook, ServerId,
};

/// Eight bytes are a fact. Addresses are few, so that facts meet.
fn ip(byte: u8) -> IpAddr {
    match byte {
        0 => [0, 0, 0, 0].into(),
        1 => [255, 255, 255, 255].into(),
        2 => [0_u16; 8].into(),
        3..=63 => [203, 0, 113, byte].into(),
        64..=95 => [192, 168, 1, byte].into(),
        96..=127 => [100, 64, 0, byte].into(),
        128..=159 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(byte)].into(),
        160..=191 => [0, 0, 0, 0, 0, 0xffff, 0xc0a8, 0x0100 | u16::from(byte)].into(),
        192..=223 => [0, 0, 0, 0, 0, 0, 0, u16::from(byte)].into(),
        _ => [224, 0, 0, byte].into(),
    }
}

fn tell(evidence: &mut Evidence, fact: [u8; 8]) {
    let [
        kind,
        base,
        base_port,
        server,
        server_port,
        mapped,
        mapped_port,
        sequence,
    ] = fact;
    let address = |host, port: u8| {
        SocketAddr::new(
            ip(host),
            if port == 0 {
                0
            } else {
                50_000 + u16::from(port)
            },
        )
    };
    let id = match server_port % 8 {
        0 => ServerId::Anonymous(server.into()),
        1 => ServerId::Name(server.into(), server_port.into()),
        _ => ServerId::Address(ip(server), server_port.into()),
    };
    let observation = Observation {
        base: address(base, base_port),
        server: id,
        mapped: address(mapped, mapped_port),
        sequence: sequence.into(),
    };
    let outcomes = [
        Outcome::Pending,
        Outcome::Unresolved,
        Outcome::Unreachable,
        Outcome::TimedOut,
        Outcome::Refused,
        Outcome::Answered,
    ];
    match kind % 6 {
        0 => evidence.add_local(ip(base)),
        1 => evidence.record_outcome(id, outcomes[usize::from(sequence) % 6]),
        2 => evidence.observe_both(observation, address(base, mapped_port)),
        3 => evidence.add_candidate(&Candidate {
            kind: if sequence % 4 == 0 {
                CandidateKind::Host
            } else {
                CandidateKind::ServerReflexive
            },
            address: Address::Ip(ip(mapped)),
            port: observation.mapped.port(),
            related: Some((Address::Ip(ip(base)), observation.base.port())),
            url: (sequence % 4 == 1)
                .then_some(["stun:a", "stun:b:1", "stun:198.51.100.1"][usize::from(server) % 3]),
            ..Candidate::default()
        }),
        _ => evidence.observe(observation),
    };
}

fn evidence<'a>(facts: impl IntoIterator<Item = &'a [u8; 8]>) -> Evidence {
    let mut evidence = Evidence::new();
    facts
        .into_iter()
        .for_each(|fact| tell(&mut evidence, *fact));
    evidence
}

fuzz_target!(|data: &[u8]| {
    let facts: Vec<[u8; 8]> = data
        .chunks_exact(8)
        .filter_map(|fact| fact.try_into().ok())
        .collect();
    let whole = evidence(&facts);
    let summary = whole.summary();
    let reversed = evidence(facts.iter().rev());
    assert!(
        whole.observations().eq(reversed.observations()),
        "order matters to what is kept"
    );
    assert_eq!(summary, reversed.summary(), "order matters");
    let (one, other) = facts.split_at(facts.len() / 2);
    let mut merged = evidence(one);
    merged.merge(&evidence(other));
    assert_eq!(summary, merged.summary(), "two halves are not the whole");
    let written = serde_json::to_string(&whole).unwrap();
    assert_eq!(
        serde_json::from_str::<Evidence>(&written).unwrap(),
        whole,
        "not what was written"
    );
    for verdict in summary.bases() {
        let known = verdict.mapping != Mapping::Unknown;
        assert!(
            !known || whole.behind(verdict).count() > 1,
            "a verdict from nothing"
        );
    }
    assert_eq!(
        Outlook::between(&summary, &merged.summary()),
        Outlook::between(&merged.summary(), &summary)
    );
    let _ = (summary.to_string(), summary.with_address().to_string());
});
