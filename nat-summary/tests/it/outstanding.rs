//! What missing answers can change.

use nat_summary::{
    BaseVerdict, Evidence, Mapping, Observation, Outstanding, PendingRequest, Rule, ServerId,
};
use proptest::prelude::*;

const HOST: &str = "192.168.1.5:50000";
const OTHER: &str = "192.168.1.6:50000";
const V6: &str = "[fd00::5]:50000";

fn server(text: &str) -> ServerId {
    text.parse::<std::net::SocketAddr>().unwrap().into()
}

/// Base, server and mapped address of each answer, in the order of sending.
fn answers(seen: &[(&str, &str, &str)]) -> Evidence {
    let mut evidence = Evidence::new();
    for (sequence, (base, asked, mapped)) in (0..).zip(seen) {
        evidence.observe(Observation {
            base: base.parse().unwrap(),
            server: server(asked),
            mapped: mapped.parse().unwrap(),
            sequence,
        });
    }
    evidence
}

fn pending(requests: &[(&str, &str)]) -> Vec<PendingRequest> {
    let request = |(base, asked): &(&str, &str)| PendingRequest {
        base: base.parse().unwrap(),
        server: server(asked),
    };
    requests.iter().map(request).collect()
}

fn is_settled(
    evidence: &Evidence,
    missing: impl IntoIterator<Item = PendingRequest, IntoIter: Clone>,
) -> bool {
    evidence.outstanding(missing) == Outstanding::Settled
}

const DEPENDENT: [(&str, &str, &str); 2] = [
    (HOST, "198.51.100.1:3478", "203.0.113.7:41000"),
    (HOST, "198.51.100.2:3478", "203.0.113.7:41001"),
];

#[test]
fn only_a_dependent_mapping_is_settled() {
    let third = || pending(&[(HOST, "198.51.100.3:3478")]);
    assert!(is_settled(&answers(&DEPENDENT), third()));
    assert!(!is_settled(&Evidence::new(), third()));
    assert!(!is_settled(&answers(&DEPENDENT[..1]), third()));
    let same = [
        DEPENDENT[0],
        (HOST, "198.51.100.2:3478", "203.0.113.7:41000"),
    ];
    assert!(!is_settled(&answers(&same), third()), "the next may differ");
    assert!(is_settled(&answers(&same), []), "there is no next");
}

#[test]
fn two_server_addresses_from_the_outermost_place_are_a_quorum() {
    let outside = "198.51.100.3:3478";
    for (seen, missing, expected) in [
        (&[][..], outside, Outstanding::Deciding),
        (&DEPENDENT[..1], outside, Outstanding::Deciding),
        (
            &[
                DEPENDENT[0],
                (HOST, "198.51.100.1:3479", "203.0.113.7:41000"),
            ],
            outside,
            Outstanding::Deciding,
        ),
        (
            &[
                DEPENDENT[0],
                (HOST, "198.51.100.2:3478", "203.0.113.7:41000"),
            ],
            outside,
            Outstanding::Confirming,
        ),
        // of one place further in
        (
            &[
                (HOST, "192.168.1.2:3478", HOST),
                (HOST, "192.168.1.3:3478", HOST),
            ],
            outside,
            Outstanding::Deciding,
        ),
        (
            &[
                (HOST, "192.168.1.2:3478", HOST),
                (HOST, "192.168.1.3:3478", HOST),
            ],
            "192.168.1.4:3478",
            Outstanding::Deciding,
        ),
        (
            &[
                (HOST, "192.168.1.2:3478", HOST),
                (HOST, "192.168.1.3:3478", HOST),
            ],
            "127.0.0.1:3478",
            Outstanding::Confirming,
        ),
        (
            &[(HOST, "192.168.1.2:3478", HOST), DEPENDENT[0]],
            outside,
            Outstanding::Deciding,
        ),
        (
            &[
                (HOST, "100.64.0.1:3478", "100.64.0.7:41000"),
                (HOST, "100.64.0.2:3478", "100.64.0.7:41000"),
            ],
            outside,
            Outstanding::Deciding,
        ),
        // proxies
        (
            &[
                DEPENDENT[0],
                (HOST, "198.51.100.2:3478", "172.17.0.1:41000"),
            ],
            outside,
            Outstanding::Deciding,
        ),
    ] {
        let missing = pending(&[(HOST, missing)]);
        assert_eq!(answers(seen).outstanding(missing), expected, "{seen:?}");
    }
}

#[test]
fn a_base_that_can_be_seen_by_as_many_servers_may_become_the_primary_one() {
    let settled = |requests: &[(&str, &str)]| is_settled(&answers(&DEPENDENT), pending(requests));
    let other = |port| {
        (
            OTHER,
            if port {
                "198.51.100.2:3479"
            } else {
                "198.51.100.2:3478"
            },
        )
    };
    assert!(settled(&[(OTHER, "198.51.100.1:3478")]));
    assert!(
        settled(&[(OTHER, "198.51.100.1:3478"), other(false)]),
        "the lower base stays"
    );
    assert!(settled(&[
        (V6, "[2001:db8::1]:3478"),
        (V6, "[2001:db8::2]:3478")
    ]));
    assert!(!settled(&[
        (OTHER, "198.51.100.1:3478"),
        other(false),
        other(true)
    ]));
    let lower = "192.168.1.4:50000";
    assert!(!settled(&[
        (lower, "198.51.100.1:3478"),
        (lower, "198.51.100.2:3478")
    ]));
}

#[test]
fn the_second_port_of_a_server_address_may_show_more() {
    let settled = |requests: &[(&str, &str)]| is_settled(&answers(&DEPENDENT), pending(requests));
    assert!(!settled(&[(HOST, "198.51.100.1:3479")]));
    assert!(!settled(&[
        (HOST, "198.51.100.3:3478"),
        (HOST, "198.51.100.3:3479")
    ]));
    assert!(
        settled(&[(OTHER, "198.51.100.1:3479")]),
        "of another base it shows nothing"
    );
    let by_port = [
        DEPENDENT[0],
        (HOST, "198.51.100.1:3479", "203.0.113.7:41001"),
    ];
    assert!(
        is_settled(&answers(&by_port), pending(&[(HOST, "198.51.100.1:3480")])),
        "there is no more to show"
    );
}

#[test]
fn an_answer_may_come_from_further_out() {
    let inside = [
        (HOST, "10.0.0.1:3478", "100.64.0.7:41000"),
        (HOST, "10.0.0.2:3478", "100.64.0.7:41001"),
    ];
    assert!(is_settled(&answers(&inside), []));
    assert!(!is_settled(
        &answers(&inside),
        pending(&[(HOST, "198.51.100.3:3478")])
    ));
    let both = [inside[0], DEPENDENT[0], DEPENDENT[1]];
    assert!(is_settled(
        &answers(&both),
        pending(&[(HOST, "198.51.100.3:3478")])
    ));
}

/// An address that is not masked and gets unmasked all the same looks global.
#[test]
fn servers_inside_that_report_a_global_address_end_nothing_before_one_outside() {
    let outside = || pending(&[(HOST, "198.51.100.1:3478")]);
    let inside = |ports: [u16; 2]| {
        let mapped = ports.map(|port| format!("192.0.2.77:{port}"));
        answers(&[
            (HOST, "192.168.1.2:3478", mapped[0].as_str()),
            (HOST, "192.168.1.3:3478", mapped[1].as_str()),
        ])
    };
    for ports in [[6_666, 6_666], [6_666, 6_667]] {
        let evidence = inside(ports);
        assert_eq!(evidence.outstanding(outside()), Outstanding::Deciding);
    }
}

#[test]
fn an_answer_that_has_no_room_may_be_any() {
    let many: Vec<_> = (0..64)
        .map(|n| {
            (
                HOST,
                format!("203.0.113.9:{}", 1000 + n),
                "203.0.113.7:41000",
            )
        })
        .collect();
    let mut seen: Vec<_> = many
        .iter()
        .map(|(base, asked, mapped)| (*base, asked.as_str(), *mapped))
        .collect();
    seen.truncate(62);
    seen.extend(DEPENDENT);
    assert!(is_settled(&answers(&seen), []));
    assert!(!is_settled(
        &answers(&seen),
        pending(&[(HOST, "198.51.100.3:3478")])
    ));
}

fn a_base() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![HOST, OTHER, V6, "[::]:50000", "0.0.0.0:50000"])
}

/// Servers of the family that `base` sends in, on two ports of each address, some by name.
fn a_server(base: &str, n: u8) -> ServerId {
    let port = 3478 + u16::from(n % 2);
    match (base.starts_with('['), n / 2 % 5) {
        (_, host @ 3..) => ServerId::named(&format!("stun{host}.example.org"), port),
        (false, host) => server(&format!("198.51.100.{host}:{port}")),
        (true, host) => server(&format!("[2001:db8::{host}]:{port}")),
    }
}

fn a_mapping(base: &str, n: u8) -> String {
    let port = 41_000 + u16::from(n % 3);
    match (base.starts_with('['), n / 3 % 4) {
        (false, 0) => format!("100.64.0.7:{port}"),
        (false, 1) => format!("203.0.113.8:{port}"),
        (false, _) => format!("203.0.113.7:{port}"),
        (true, 0) => format!("[fd00:7::7]:{port}"),
        (true, _) => format!("[2001:db8:7::7]:{port}"),
    }
}

fn primary(evidence: &Evidence) -> Option<(std::net::SocketAddr, Mapping)> {
    let summary = evidence.summary();
    summary.primary_base().map(|base| (base.base, base.mapping))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn no_answer_changes_a_settled_mapping(
        seen in prop::collection::vec((a_base(), 0..10_u8, 0..12_u8), 1..8),
        missing in prop::collection::vec((a_base(), 0..10_u8, 0..12_u8, any::<bool>()), 0..6),
    ) {
        let observation = |(sequence, (base, asked, mapped)): (u32, (&str, u8, u8))| Observation {
            base: base.parse().unwrap(),
            server: a_server(base, asked),
            mapped: a_mapping(base, mapped).parse().unwrap(),
            sequence,
        };
        let mut evidence = Evidence::new();
        for (sequence, (base, asked, mapped)) in (0..).zip(&seen) {
            evidence.observe(observation((sequence, (base, *asked, *mapped))));
        }
        let is_asked = |base: &str, asked| {
            seen.iter().any(|(b, s, _)| *b == base && a_server(b, *s) == a_server(base, asked))
        };
        let missing: Vec<_> = missing.into_iter().filter(|(b, s, ..)| !is_asked(b, *s)).collect();
        let requests = missing.iter().map(|(base, asked, ..)| PendingRequest {
            base: base.parse().unwrap(),
            server: a_server(base, *asked),
        });
        if !missing.is_empty() && is_settled(&evidence, requests) {
            let before = primary(&evidence);
            for (sequence, (base, asked, mapped, _)) in
                (100..).zip(missing.iter().filter(|(.., comes)| *comes))
            {
                evidence.observe(observation((sequence, (base, *asked, *mapped))));
            }
            // a server that lies contradicts the others, and only that takes a settled mapping back
            let summary = evidence.summary();
            let (base, _) = before.unwrap();
            let is_contradicted =
                |verdict: &BaseVerdict| verdict.base == base && verdict.rule == Rule::Contradictory;
            if !summary.bases().any(is_contradicted) {
                prop_assert_eq!(primary(&evidence), before);
            }
        }
    }
}

/// Small values that meet: two sockets of one address, one of another, and two wildcards.
const BASES: [&str; 5] = [
    HOST,
    "192.168.1.5:50001",
    "[2001:db8::5]:50000",
    "0.0.0.0:50000",
    "[::]:50000",
];

/// Servers outside and inside, on two ports, by name, and by way of a translator.
fn servers_of(base: &str) -> Vec<ServerId> {
    let v4 = [
        "198.51.100.1:3478",
        "198.51.100.1:3479",
        "198.51.100.2:3478",
        "198.51.100.3:3478",
        "192.168.1.2:3478",
    ];
    let v6 = [
        "[64:ff9b::c633:6401]:3478",
        "[64:ff9b::c633:6402]:3478",
        "[2001:db8:1::1]:3478",
        "[2001:db8:1::2]:3478",
    ];
    let mut servers: Vec<ServerId> = match base {
        "[::]:50000" => v4.iter().chain(&v6).map(|text| server(text)).collect(),
        _ if base.starts_with('[') => v6.iter().map(|text| server(text)).collect(),
        _ => v4.iter().map(|text| server(text)).collect(),
    };
    servers.push(ServerId::named("stun.example.org", 3478));
    servers
}

/// What a server can answer: mappings of two addresses, the base itself, an address further in, and that
/// of another server.
fn mapped_by(base: &str, asked: ServerId) -> Vec<String> {
    let v6 = [
        "[2001:db8:7::7]:41000",
        "[2001:db8:7::8]:41001",
        "[2001:db8::5]:50000",
    ];
    let v4 = [
        "203.0.113.7:41000",
        "203.0.113.7:41001",
        "203.0.113.8:41000",
        "203.0.113.8:50000",
        "192.168.1.5:50000",
        "100.64.0.7:41000",
        "198.51.100.3:6000",
    ];
    let is_v6 = match asked {
        ServerId::Address(std::net::IpAddr::V6(ip), _) => ip.segments()[0] != 0x64,
        ServerId::Address(..) => false,
        _ => base.starts_with("[2001"),
    };
    let all: &[&str] = if is_v6 { &v6 } else { &v4 };
    all.iter().map(|text| (*text).to_owned()).collect()
}

/// Every way in which the missing answers can come or stay away.
fn endings(evidence: &Evidence, missing: &[(&str, ServerId)], check: &mut dyn FnMut(&Evidence)) {
    let Some(((base, asked), rest)) = missing.split_first() else {
        return check(evidence);
    };
    endings(evidence, rest, check);
    // a name leads to an address, or stays one
    let leads_to = match asked {
        ServerId::Name(..) => servers_of(base),
        known => vec![*known],
    };
    for server in leads_to {
        let base_at = base.parse().unwrap();
        let is_known = |o: Observation| o.base == base_at && o.server == server;
        if *asked != server && evidence.observations().any(is_known) {
            continue;
        }
        for mapped in mapped_by(base, server) {
            let mut more = evidence.clone();
            more.observe(Observation {
                base: base_at,
                server,
                mapped: mapped.parse().unwrap(),
                sequence: 100 + missing.len() as u32,
            });
            endings(&more, rest, check);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 6_000 } else { 60_000 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// Evidence of up to four answers, and every answer that up to two missing servers can give. Only what
    /// contradicts the answers so far takes a settled verdict back: no NAT does that.
    #[test]
    fn no_answer_changes_one_of_the_six_values_once_they_are_settled(
        bases in (0..BASES.len(), 0..BASES.len()),
        seen in prop::collection::vec((any::<bool>(), 0..10_usize, 0..7_usize), 2..5),
        missing in prop::collection::vec((any::<bool>(), 0..10_usize), 1..3),
        local in prop::option::of(0..3_usize),
    ) {
        let base = |first| if first { BASES[bases.0] } else { BASES[bases.1] };
        let asked = |base: &str, n: usize| {
            let servers = servers_of(base);
            servers[n % servers.len()]
        };
        let mut evidence = Evidence::new();
        if let Some(local) = local {
            let locals = ["192.168.1.5", "192.168.1.6", "2001:db8::5"];
            evidence.add_local(locals[local].parse().unwrap());
            evidence.add_local(locals[(local + 1) % 3].parse().unwrap());
        }
        for (sequence, (first, n, mapped)) in (0..).zip(&seen) {
            let (base, server) = (base(*first), asked(base(*first), *n));
            let answers = mapped_by(base, server);
            evidence.observe(Observation {
                base: base.parse().unwrap(),
                server,
                mapped: answers[mapped % answers.len()].parse().unwrap(),
                sequence,
            });
        }
        let is_heard = |base: &str, server: ServerId| {
            let base = base.parse().unwrap();
            evidence.observations().any(|o| o.base == base && o.server == server)
        };
        let mut missing: Vec<_> = missing
            .iter()
            .map(|(first, n)| (base(*first), asked(base(*first), *n)))
            .filter(|(base, server)| !is_heard(base, *server))
            .collect();
        missing.dedup();
        let requests = missing.iter().map(|(base, server)| PendingRequest {
            base: base.parse().unwrap(),
            server: *server,
        });
        if is_settled(&evidence, requests) {
            // one address so far is taken for the only one
            let summary = evidence.summary();
            let has_pool = summary.primary_base().is_some_and(|primary| {
                evidence.behind(primary).any(|o| o.mapped.ip() != primary.external)
            });
            let six = |evidence: &Evidence| {
                let mut words = nat_worlds::door::words(evidence);
                words.external = words.external.filter(|_| has_pool);
                let kinds = (words.mapping, words.filtering, words.kind);
                (kinds, words.natted, words.port_kept, words.external)
            };
            let before = six(&evidence);
            let mut asked = evidence.clone();
            for (_, server) in &missing {
                asked.record_outcome(*server, nat_summary::Outcome::Pending);
            }
            let mut changed = None;
            endings(&asked, &missing, &mut |after| {
                let is_refuted = after.summary().bases().any(|base| base.rule == Rule::Contradictory);
                if six(after) != before && !is_refuted {
                    changed.get_or_insert_with(|| after.clone());
                }
            });
            if let Some(after) = changed {
                let list = |e: &Evidence| e.observations().map(|o| format!("{o:?}\n")).collect::<String>();
                prop_assert!(
                    false,
                    "{:?} of\n{}pending {:?}\nbecame {:?} by\n{}",
                    before, list(&evidence), missing, six(&after), list(&after)
                );
            }
        }
    }
}
