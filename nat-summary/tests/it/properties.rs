//! What holds for any evidence and any text.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nat_summary::{
    Address, BaseVerdict, Candidate, CandidateKind, Evidence, Mapping, NatType, Observation,
    Outcome, Rule, Scope, ServerId, TransportProtocol,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Debug, Clone)]
enum Fact {
    Local(IpAddr),
    Asked(ServerId, Outcome),
    Observed(Observation, Option<SocketAddr>),
    Resent(Observation),
    Listed(Candidate<'static>),
    Unreadable,
}

impl Fact {
    fn tell(&self, evidence: &mut Evidence) {
        match self {
            Self::Local(ip) => evidence.add_local(*ip),
            Self::Asked(server, outcome) => evidence.record_outcome(*server, *outcome),
            Self::Observed(observation, None) => evidence.observe(*observation),
            Self::Observed(observation, Some(plain)) => evidence.observe_both(*observation, *plain),
            Self::Resent(observation) => evidence.observe_resent(*observation),
            Self::Listed(candidate) => evidence.add_candidate(candidate),
            Self::Unreadable => evidence.add_unreadable(),
        };
    }
}

fn evidence<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Evidence {
    let mut evidence = Evidence::new();
    facts.into_iter().for_each(|fact| fact.tell(&mut evidence));
    evidence
}

// few values each, so that facts meet

fn an_ip() -> impl Strategy<Value = IpAddr> {
    select(&[
        "192.168.1.5",
        "203.0.113.7",
        "203.0.113.8",
        "100.64.0.9",
        "0.0.0.0",
        "2001:db8::5",
        "::",
        "::ffff:10.0.0.1",
    ])
    .prop_map(|text| text.parse().unwrap())
}

fn an_address() -> impl Strategy<Value = SocketAddr> {
    (an_ip(), select(&[0_u16, 50_000, 50_001])).prop_map(SocketAddr::from)
}

fn a_server() -> impl Strategy<Value = ServerId> {
    let ip = (0..4_u8).prop_map(|n| {
        if n == 0 {
            Ipv6Addr::LOCALHOST.into()
        } else {
            [198, 51, 100, n].into()
        }
    });
    (ip, select(&[3478_u16, 3479]), 0..8).prop_map(|(ip, port, kind): (IpAddr, _, _)| match kind {
        0 => ServerId::Anonymous(port),
        1 => ServerId::named("stun.example.org", port),
        _ => ServerId::Address(ip, port),
    })
}

fn an_observation() -> impl Strategy<Value = Observation> {
    (an_address(), a_server(), an_address(), 0..4_u32).prop_map(
        |(base, server, mapped, sequence)| Observation {
            base,
            server,
            mapped,
            sequence,
        },
    )
}

fn an_outcome() -> impl Strategy<Value = Outcome> {
    use Outcome::{Answered, Pending, Refused, TimedOut, Unreachable, Unresolved};
    select(&[
        Pending,
        Unresolved,
        Unreachable,
        TimedOut,
        TimedOut,
        TimedOut,
        Refused,
        Answered,
    ])
}

fn a_candidate() -> impl Strategy<Value = Candidate<'static>> {
    use CandidateKind::{Host, PeerReflexive, Relayed, ServerReflexive, Unknown};
    let kind = select(&[
        Host,
        ServerReflexive,
        ServerReflexive,
        ServerReflexive,
        PeerReflexive,
        Relayed,
        Unknown,
    ]);
    let url = select(&[
        None,
        None,
        Some("stun:a.example.org"),
        Some("stun:198.51.100.1:3478"),
        Some("nonsense"),
    ]);
    (
        kind,
        an_address(),
        proptest::option::of(an_address()),
        url,
        (
            any::<bool>(),
            select(&["", "", "generation 0 ufrag a", "ufrag b"]),
        ),
    )
        .prop_map(|(kind, own, base, url, (tcp, extensions))| Candidate {
            extensions,
            kind,
            transport: if tcp {
                TransportProtocol::Tcp
            } else {
                TransportProtocol::Udp
            },
            address: Address::Ip(own.ip()),
            port: own.port(),
            related: base.map(|base| (Address::Ip(base.ip()), base.port())),
            url,
            ..Candidate::default()
        })
}

fn a_fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        1 => an_ip().prop_map(Fact::Local),
        2 => (a_server(), an_outcome()).prop_map(|(server, outcome)| Fact::Asked(server, outcome)),
        4 => (an_observation(), proptest::option::of(an_address())).prop_map(|(o, plain)| Fact::Observed(o, plain)),
        1 => an_observation().prop_map(Fact::Resent),
        2 => a_candidate().prop_map(Fact::Listed),
        1 => Just(Fact::Unreadable),
    ]
}

/// What `verdict` says of the mapping, from nothing but the observations it names, and whether another
/// base of its family puts servers in doubt.
fn is_proven(verdict: &BaseVerdict, observations: &[Observation], is_doubted: bool) -> bool {
    let pairs = || {
        observations
            .iter()
            .flat_map(|a| observations.iter().map(move |b| (a, b)))
    };
    let is_named = |o: &Observation| !matches!(o.server, ServerId::Anonymous(_));
    let is_global = |o: &Observation| Scope::of(o.mapped.ip()).is_global();
    let is_by_address = |o: &Observation| matches!(o.server, ServerId::Address(..));
    let told_of_one_nat =
        pairs().all(|(a, b)| verdict.natted == Some(false) || is_global(a) == is_global(b));
    // beside a named server, an answer without one may be that server's; and names may be of one
    // address
    let some_are_named = observations.iter().any(is_named);
    let counts = |o: &Observation| is_by_address(o) || !some_are_named;
    let address = |server: ServerId| match server {
        ServerId::Address(ip, _) => (Some(untranslated(ip)), 0, 0),
        ServerId::Name(hash, _) => (None, hash, 0),
        ServerId::Anonymous(n) => (None, 0, n + 1),
    };
    let same_address = |a: &Observation, b: &Observation| address(a.server) == address(b.server);
    let agree =
        pairs().any(|(a, b)| counts(a) && counts(b) && !same_address(a, b) && a.mapped == b.mapped);
    let differ = pairs().any(|(a, b)| a.mapped != b.mapped);
    let ip = |o: &Observation| match o.server {
        ServerId::Address(ip, _) => Some(ip),
        _ => None,
    };
    let ports_of_one =
        || pairs().filter(|(a, b)| is_by_address(a) && ip(a) == ip(b) && a.server != b.server);
    let ports_differ = ports_of_one().any(|(a, b)| a.mapped != b.mapped);
    let ports_agree = ports_of_one().any(|(a, b)| a.mapped == b.mapped);
    let contradictory = agree && differ || ports_differ && ports_agree;
    told_of_one_nat
        && match verdict.mapping {
            Mapping::Unknown if verdict.rule == Rule::SeveralWays => {
                differ && verdict.base.ip().is_unspecified()
            }
            Mapping::Unknown if verdict.rule == Rule::Contradictory => {
                contradictory || differ && is_doubted
            }
            Mapping::Unknown => {
                verdict.rule == Rule::TooFewServers && (!agree || verdict.base.port() == 0)
            }
            _ if contradictory => false,
            Mapping::EndpointIndependent => agree && !differ && verdict.rule == Rule::ServersAgree,
            Mapping::AddressDependent => {
                differ && ports_agree && verdict.rule == Rule::ServersDifferPortsAgree
            }
            Mapping::AddressAndPortDependent => {
                ports_differ && verdict.rule == Rule::PortsOfOneServerDiffer
            }
            Mapping::Dependent => differ && verdict.rule == Rule::ServersDiffer,
            _ => false,
        }
}

/// RFC 6052: one server by two addresses.
fn untranslated(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = v6.octets();
            [a, b, c, d].into()
        }
        _ => ip,
    }
}

fn a_token() -> impl Strategy<Value = String> {
    "[!-~]{1,12}"
}

prop_compose! {
    /// The parts of a candidate as a line can say them.
    fn parts()(
        foundation in "[a-zA-Z0-9+/]{1,32}",
        component in 1..=256_u16,
        transport in a_token(),
        priority in any::<u32>(),
        v4 in any::<u32>(),
        v6 in any::<u128>(),
        name in "[a-z0-9-]{1,20}\\.local",
        which in (0..4_usize, 0..4_usize),
        port in any::<u16>(),
        kind in a_token(),
        transport_and_kind in (0..4_usize, 0..6_usize),
        extensions in "([!-~]{1,8}( [!-~]{1,8}){0,5})?",
        related_port in proptest::option::of(any::<u16>()),
    ) -> (Vec<String>, u16, u32, [IpAddr; 2], (usize, usize), u16, (usize, usize), Option<u16>) {
        let ips = [Ipv4Addr::from_bits(v4).into(), IpAddr::from(Ipv6Addr::from_bits(v6)).to_canonical()];
        let texts = vec![foundation, transport, name, kind, extensions];
        (texts, component, priority, ips, which, port, transport_and_kind, related_port)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_never_matters(facts in vec(a_fact(), 0..40), seed in any::<prop::sample::Index>()) {
        let whole = evidence(&facts);
        let mut moved = facts.clone();
        moved.rotate_left(seed.index(facts.len().max(1)));
        prop_assert_eq!(&evidence(&moved), &whole);
        prop_assert_eq!(&evidence(facts.iter().rev()), &whole);
        prop_assert_eq!(evidence(facts.iter().rev()).summary(), whole.summary());
    }

    #[test]
    fn a_shuffle_never_matters((facts, shuffled) in vec(a_fact(), 0..40).prop_flat_map(|f| (Just(f.clone()), Just(f).prop_shuffle()))) {
        prop_assert_eq!(evidence(&facts), evidence(&shuffled));
    }

    #[test]
    fn evidence_that_is_split_and_merged_is_the_same(facts in vec((a_fact(), any::<bool>()), 0..40)) {
        let part = |side: bool| evidence(facts.iter().filter(|(_, s)| *s == side).map(|(fact, _)| fact));
        let whole = evidence(facts.iter().map(|(fact, _)| fact));
        for (mut one, other) in [(part(true), part(false)), (part(false), part(true))] {
            one.merge(&other);
            prop_assert_eq!(&one, &whole);
            prop_assert_eq!(one.summary(), whole.summary());
        }
    }

    #[test]
    fn a_flood_keeps_the_same_facts_in_any_order(bits in vec(any::<(u8, u8, bool)>(), 0..400)) {
        let facts: Vec<Fact> = bits.iter().map(|(base, server, mapped)| Fact::Observed(Observation {
            base: ([192, 168, 1, 5], 50_000 + u16::from(*base)).into(),
            server: ServerId::Address([198, 51, 100, *server].into(), 3478),
            mapped: ([203, 0, 113, 7], 50_000 + u16::from(*mapped)).into(),
            sequence: 0,
        }, None)).collect();
        let (forward, backward) = (evidence(&facts), evidence(facts.iter().rev()));
        prop_assert!(forward.observations().eq(backward.observations()));
        prop_assert_eq!(forward.servers(), backward.servers());
        prop_assert_eq!(forward.summary(), backward.summary());
    }

    /// Beside evidence without bounds: what had no room cannot have said otherwise.
    #[test]
    fn a_flood_turns_no_verdict_into_a_wrong_one(facts in vec((0..6_u16, 0..40_u8, 0..40_u8), 60..200)) {
        let mut evidence = Evidence::new();
        let mut whole = BTreeMap::new();
        let mut dependent = BTreeSet::new();
        for (base, server, mapped) in facts {
            // one server in forty differs
            let observation = Observation {
                base: ([192, 168, 1, 5], 50_000 + base).into(),
                server: ServerId::Address([198, 51, 100, server].into(), 3478),
                mapped: ([203, 0, 113, 7], 50_000 + base + u16::from(mapped == 0)).into(),
                sequence: 0,
            };
            let known: &mut SocketAddr = whole.entry((observation.base, server)).or_insert(observation.mapped);
            if *known != observation.mapped {
                // asked again, and the later answer stands for the earlier: what they differed from may agree now
                dependent.remove(&observation.base);
            }
            *known = observation.mapped.max(*known);
            evidence.observe(observation);
            for verdict in evidence.summary().bases() {
                let of_base = || whole.iter().filter(|((base, _), _)| *base == verdict.base).map(|(_, mapped)| *mapped);
                let agree = of_base().all(|a| of_base().all(|b| a == b));
                match verdict.mapping {
                    Mapping::Unknown => {}
                    Mapping::EndpointIndependent => {
                        prop_assert!(agree, "{:?}", verdict);
                        prop_assert!(!dependent.contains(&verdict.base), "{:?} was dependent", verdict);
                    }
                    _ => {
                        prop_assert!(!agree, "{:?}", verdict);
                        dependent.insert(verdict.base);
                    }
                }
                if verdict.port_preserved == Some(true) {
                    prop_assert!(of_base().all(|mapped| mapped.port() == verdict.base.port()), "{:?}", verdict);
                }
            }
        }
    }

    /// Of a server that was not asked from there before: the latest answer of one that was stands for the earlier one.
    #[test]
    fn an_observation_more_never_turns_dependent_into_independent(facts in vec(a_fact(), 0..30), more in an_observation()) {
        let mut evidence = evidence(&facts);
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        let before: Vec<_> = evidence.summary().bases().filter(|b| b.mapping.is_dependent()).copied().collect();
        let set_aside = evidence.summary().counts().set_aside;
        let known = evidence.observations().any(|o| o.base == canonical(more.base) && o.server == more.server);
        prop_assume!(!known || matches!(more.server, ServerId::Anonymous(_)));
        evidence.observe(more);
        let after = evidence.summary();
        for before in before {
            // beyond the eighth, a base has no place of its own
            let same = |b: &&BaseVerdict| b.base == before.base && b.family() == before.family();
            let Some(verdict) = after.bases().find(same) else { continue };
            // seen from further out, it is the verdict on another NAT
            if verdict.external_scope() != before.external_scope() || verdict.natted != before.natted {
                continue;
            }
            // and so it is once a server turns out to be a proxy's
            if after.counts().set_aside > set_aside {
                continue;
            }
            prop_assert_ne!(verdict.mapping, Mapping::EndpointIndependent, "{:?}", verdict);
            // a second way out shows that what differed may have been two NATs
            let is_in_doubt = matches!(verdict.rule, Rule::SeveralWays | Rule::Contradictory);
            prop_assert!(verdict.mapping.is_dependent() || is_in_doubt, "{:?}", verdict);
        }
    }

    #[test]
    fn a_verdict_names_observations_that_prove_it(facts in vec(a_fact(), 0..40)) {
        let evidence = evidence(&facts);
        let summary = evidence.summary();
        for verdict in summary.bases() {
            let behind: Vec<_> = evidence.behind(verdict).collect();
            let others = summary.bases().filter(|other| *other != verdict);
            let is_doubted = others.filter(|other| other.family() == verdict.family()).any(|other| {
                let of_other: Vec<_> = evidence.behind(other).collect();
                other.rule == Rule::Contradictory && is_proven(other, &of_other, false)
            });
            // beyond the eighth, a base has no place of its own
            let is_doubted = is_doubted || summary.counts().bases > 8;
            prop_assert!(is_proven(verdict, &behind, is_doubted), "{:?} from {:?}", verdict, behind);
            prop_assert!(behind.iter().any(|o| o.mapped.ip() == verdict.external));
            if verdict.base.port() != 0 {
                prop_assert_eq!(verdict.port_preserved, Some(behind.iter().all(|o| o.mapped.port() == verdict.base.port())));
                prop_assert_eq!(usize::from(verdict.observations), behind.len());
            }
            let is_own = |o: &Observation| {
                (o.mapped.ip() == verdict.base.ip() || evidence.locals().contains(&o.mapped.ip()))
                    && (verdict.base.port() == 0 || o.mapped.port() == verdict.base.port())
            };
            // hidden ones are told apart by what was seen
            let behind: Vec<_> = behind
                .iter()
                .filter(|o| verdict.base.port() != 0 || o.mapped.ip() == verdict.external)
                .collect();
            match verdict.natted {
                Some(true) => prop_assert!(behind.iter().any(|o| !is_own(o)), "{:?}", verdict),
                Some(false) => prop_assert!(behind.iter().all(|o| is_own(o)), "{:?}", verdict),
                None => {}
            }
        }
        match summary.nat_type() {
            NatType::Open => prop_assert_eq!((summary.is_natted(), summary.external_scope()), (Some(false), Some(Scope::Global))),
            NatType::Cone => {
                prop_assert_eq!((summary.is_natted(), summary.mapping()), (Some(true), Mapping::EndpointIndependent));
                prop_assert_eq!(summary.external_scope(), Some(Scope::Global));
            }
            NatType::Symmetric => prop_assert!(summary.is_natted() == Some(true) && summary.mapping().is_dependent()),
            NatType::UdpBlocked => {
                prop_assert_eq!(evidence.observations().len(), 0);
                let outcomes = || evidence.servers().iter().map(|(_, outcome)| *outcome);
                prop_assert!(outcomes().all(|outcome| outcome < Outcome::Refused && outcome != Outcome::Pending));
                prop_assert!(outcomes().filter(|outcome| *outcome == Outcome::TimedOut).count() > 1);
                prop_assert!(!evidence.locals().is_empty());
            }
            _ => {}
        }
    }

    #[test]
    fn what_is_printed_is_read_back(parts in parts()) {
        let (texts, component, priority, ips, which, port, (transport, kind), related_port) = &parts;
        let address = |at: usize| if at < 2 { Address::Ip(ips[at]) } else { Address::Name(&texts[2]) };
        let known = |token: &str, names: &[&str]| names.iter().any(|name| token.eq_ignore_ascii_case(name));
        prop_assume!(!known(&texts[1], &["udp", "tcp"]) && !known(&texts[3], &["host", "srflx", "prflx", "relay"]));
        prop_assume!(!texts[4].to_ascii_lowercase().starts_with("raddr"));
        let transport = [TransportProtocol::Udp, TransportProtocol::Tcp].get(*transport).copied().unwrap_or(TransportProtocol::Unknown);
        use CandidateKind::{Host, PeerReflexive, Relayed, ServerReflexive, Unknown};
        let kind = [Host, ServerReflexive, PeerReflexive, Relayed].get(*kind).copied().unwrap_or(Unknown);
        let candidate = Candidate {
            foundation: &texts[0],
            component: *component,
            transport,
            priority: *priority,
            address: address(which.0),
            port: *port,
            kind,
            related: related_port.map(|port| (address(which.1), port)),
            extensions: &texts[4],
            url: None,
            unknown_transport: if transport == TransportProtocol::Unknown { &texts[1] } else { "" },
            unknown_kind: if kind == Unknown { &texts[3] } else { "" },
        };
        let line = candidate.to_string();
        prop_assert_eq!(Candidate::parse(&line), Ok(candidate), "{}", line);
    }

    #[test]
    fn no_text_panics_and_what_is_read_is_printed_alike(text in any::<String>(), near in "(a=)?candidate:[0-9] [0-9]{1,4} (udp|tcp|x) [0-9]{1,11} [0-9.:a-f%]{1,20} [0-9]{1,6} (typ|tip) [a-z]{1,6}( raddr [0-9.]{1,9} rport [0-9]{1,6})?[ -~é\r\n]{0,20}") {
        for text in [&text, &near] {
            if let Ok(candidate) = Candidate::parse(text) {
                let printed = candidate.to_string();
                prop_assert_eq!(Candidate::parse(&printed), Ok(candidate), "{}", text);
            }
            prop_assert!(Candidate::all_in(text).count() <= text.len() / 10);
            let _ = (ServerId::from_url(text), ServerId::named(text, 1));
        }
    }
}
