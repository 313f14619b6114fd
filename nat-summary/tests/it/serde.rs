//! The written forms: stable names, and no loss.

use nat_summary::{
    Candidate, DecidedBy, Evidence, ExpectedPath, FailureCause, Family, Filtering, FilteringSeen,
    Mapping, NatSummary, NatType, Observation, Outcome, Outlook, OutlookReason, PeerEvidence,
    PeerSummary, Pooling, PortAllocation, Rule, Scope, SentBefore, ServerId, TowardPeer,
    UnsolicitedCheck,
};

fn evidence() -> Evidence {
    let line = "candidate:2 1 udp 1 203.0.113.7 50002 typ srflx raddr 192.168.1.5 rport 50000";
    let mut evidence = Evidence::from_candidates([Candidate::parse(line).unwrap(); 2]);
    for n in 0..3_u8 {
        let observation = Observation {
            base: "192.168.1.6:50000".parse().unwrap(),
            server: ServerId::Address([198, 51, 100, n].into(), 3478),
            mapped: ([203, 0, 113, 7], 41_000 + u16::from(n)).into(),
            sequence: n.into(),
        };
        evidence.observe_both(observation, observation.mapped);
    }
    evidence.record_outcome(ServerId::named("stun.example.org", 3478), Outcome::TimedOut);
    evidence.add_local("2001:db8::5".parse().unwrap());
    evidence.add_unreadable();
    evidence
}

#[test]
fn evidence_and_summary_come_back_as_they_went() {
    let mut crowded = evidence();
    for n in 0..99 {
        crowded.record_outcome(ServerId::Name(n, 1), Outcome::Unresolved);
        crowded.add_local([10, 0, 0, n as u8].into());
        let observation = Observation {
            base: "192.168.1.7:50000".parse().unwrap(),
            server: ServerId::Name(n, 1),
            mapped: ([203, 0, 113, 7], 50_000).into(),
            sequence: 0,
        };
        crowded.observe(observation);
    }
    let line = "candidate:2 1 udp 1 203.0.113.7 5 typ srflx raddr 10.0.0.1 rport 5 ufrag AbCd";
    let mut of_text = Evidence::from_text(line).with_complete_gathering(3);
    of_text.add_sign_of_life();
    of_text.observe_resent(Observation {
        base: "192.168.1.7:50000".parse().unwrap(),
        server: ServerId::named("198.51.100.1", 1),
        mapped: ([203, 0, 113, 7], 50_000).into(),
        sequence: 0,
    });
    for evidence in [Evidence::new(), evidence(), crowded, of_text] {
        let written = serde_json::to_string(&evidence).unwrap();
        assert_eq!(
            serde_json::from_str::<Evidence>(&written).unwrap(),
            evidence,
            "{written}"
        );
        let summary = evidence.summary();
        let written = serde_json::to_string(&summary).unwrap();
        assert_eq!(
            serde_json::from_str::<NatSummary>(&written).unwrap(),
            summary,
            "{written}"
        );
    }
}

#[test]
fn the_names_stay() {
    let summary = evidence().summary();
    assert_eq!(
        serde_json::to_string(&summary).unwrap(),
        concat!(
            r#"{"nat_type":"symmetric","filtering":"unknown","pooling":"unknown","rule":"servers_differ","#,
            r#""counts":{"asked":4,"answered":3,"server_addresses":3,"observations":3,"bases":2},"#,
            r#""bases":[{"base":"192.168.1.6:50000","external":"203.0.113.7","mapping":"dependent","#,
            r#""rule":"servers_differ","natted":true,"port_preserved":false,"allocation":{"sequential":{"step":1}},"#,
            r#""rewritten":false,"server_addresses":3,"observations":3},"#,
            r#"{"base":"192.168.1.5:50000","external":"203.0.113.7","mapping":"endpoint_independent","#,
            r#""rule":"servers_agree","natted":true,"port_preserved":false,"allocation":"unknown","rewritten":null,"#,
            r#""server_addresses":2,"observations":2}],"#,
            r#""unseen":{"v4":false,"v6":true}}"#,
        )
    );
    assert_eq!(
        serde_json::to_string(&evidence()).unwrap(),
        concat!(
            r#"{"observations":["#,
            r#"{"base":"192.168.1.5:50000","server":"anonymous:0","mapped":"203.0.113.7:50002","sequence":0,"rewritten":null},"#,
            r#"{"base":"192.168.1.5:50000","server":"anonymous:1","mapped":"203.0.113.7:50002","sequence":0,"rewritten":null},"#,
            r#"{"base":"192.168.1.6:50000","server":"198.51.100.0:3478","mapped":"203.0.113.7:41000","sequence":0,"rewritten":false},"#,
            r#"{"base":"192.168.1.6:50000","server":"198.51.100.1:3478","mapped":"203.0.113.7:41001","sequence":1,"rewritten":false},"#,
            r#"{"base":"192.168.1.6:50000","server":"198.51.100.2:3478","mapped":"203.0.113.7:41002","sequence":2,"rewritten":false}],"#,
            r#""servers":[{"server":"198.51.100.0:3478","outcome":"answered"},{"server":"198.51.100.1:3478","outcome":"answered"},"#,
            r#"{"server":"198.51.100.2:3478","outcome":"answered"},{"server":"name:de060d0a96edc689:3478","outcome":"timed_out"}],"#,
            r#""locals":["2001:db8::5"],"list":{"local_hosts":0,"confined_hosts":0,"maybe_global_hosts":0,"signs_of_life":1,"#,
            r#""maybe_relayed":1},"signs_of_life":0,"#,
            r#""crowded":{"observations":false,"servers":false,"locals":false},"#,
            r#""discarded":{"impossible":0,"not_udp":0,"unreadable":1,"other_component":0,"overflow":0}}"#,
        )
    );
    let outlook = Outlook::between(&summary, &Evidence::new().summary());
    assert_eq!(
        serde_json::to_string(&outlook).unwrap(),
        r#"{"path":"undecided","reason":"mapping_unknown"}"#
    );
    assert_eq!(
        serde_json::to_string(&PortAllocation::Random).unwrap(),
        r#""random""#
    );
    assert_eq!(
        serde_json::to_string(&NatType::UdpBlocked).unwrap(),
        r#""udp_blocked""#
    );
    assert_eq!(
        serde_json::to_string(&Filtering::AddressAndPortDependent).unwrap(),
        r#""address_and_port_dependent""#
    );
}

/// An impossible answer of an anonymous server leaves only its count.
#[test]
fn what_was_dropped_and_written_down_proves_no_blocking_either() {
    for written in [
        r#"{"locals":["10.0.0.1"],"servers":[{"server":"1.2.3.4:5","outcome":"timed_out"},
            {"server":"1.2.3.6:5","outcome":"timed_out"}],"discarded":{"impossible":1}}"#,
        r#"{"locals":["10.0.0.1"],"servers":[{"server":"1.2.3.4:5","outcome":"timed_out"},
            {"server":"1.2.3.6:5","outcome":"timed_out"}],"signs_of_life":1}"#,
        r#"{"locals":["10.0.0.1"],"servers":[{"server":"1.2.3.4:5","outcome":"timed_out"},
            {"server":"1.2.3.6:5","outcome":"timed_out"}],
            "observations":[{"base":"10.0.0.1:5","server":"1.2.3.5:5","mapped":"0.0.0.0:5","sequence":0}]}"#,
    ] {
        assert_eq!(
            serde_json::from_str::<Evidence>(written)
                .unwrap()
                .summary()
                .nat_type(),
            NatType::Unknown
        );
    }
}

#[test]
fn what_is_no_evidence_is_refused_and_what_is_not_known_is_passed_over() {
    for text in [
        "[]",
        r#"{"servers":[{"server":"stun.example.org","outcome":"answered"}]}"#,
        r#"{"servers":[{"server":"1.2.3.4:5","outcome":"bored"}]}"#,
        r#"{"observations":7}"#,
    ] {
        assert!(serde_json::from_str::<Evidence>(text).is_err(), "{text}");
    }
    assert_eq!(
        serde_json::from_str::<Evidence>(r#"{"later":[1],"list":null}"#).unwrap(),
        Evidence::new()
    );
    let mut summary = serde_json::to_value(evidence().summary()).unwrap();
    let base = summary["bases"][0].clone();
    summary["bases"] = vec![base; 9].into();
    assert!(
        serde_json::from_value::<NatSummary>(summary).is_err(),
        "nine bases have no room"
    );
}

#[test]
fn what_the_peer_showed_comes_back_as_it_went_under_names_that_stay() {
    let mut peer = PeerEvidence::new();
    peer.observe(Observation {
        base: "192.168.1.5:50000".parse().unwrap(),
        server: "192.0.2.9:4000"
            .parse::<std::net::SocketAddr>()
            .unwrap()
            .into(),
        mapped: "203.0.113.7:61000".parse().unwrap(),
        sequence: 3,
    });
    let arrival = UnsolicitedCheck {
        base: "192.168.1.5:50000".parse().unwrap(),
        source: "192.0.2.9:4001".parse().unwrap(),
        sent_before: SentBefore::OtherPort,
    };
    peer.record_unsolicited(arrival);
    assert_eq!(
        serde_json::to_string(&arrival).unwrap(),
        r#"{"base":"192.168.1.5:50000","source":"192.0.2.9:4001","contact":"other_port"}"#
    );
    for port in 0..99 {
        let mut crowded = peer.clone();
        crowded.record_unsolicited(UnsolicitedCheck {
            source: ([192, 0, 2, 9], port).into(),
            ..arrival
        });
        let written = serde_json::to_string(&crowded).unwrap();
        assert_eq!(
            serde_json::from_str::<PeerEvidence>(&written).unwrap(),
            crowded,
            "{written}"
        );
    }
    let mut servers = Evidence::new();
    servers.observe(Observation {
        server: ServerId::named("198.51.100.1", 1),
        ..peer.answers().next().unwrap()
    });
    let written = serde_json::to_string(&peer.summary(&servers)).unwrap();
    assert_eq!(
        written,
        concat!(
            r#"{"toward_peer":"kept","filtering":"at_most_address_dependent","mapping":"endpoint_independent","#,
            r#""rule":"servers_agree","word":"peer","answers":1}"#,
        )
    );
    assert_eq!(
        serde_json::from_str::<PeerSummary>(&written).unwrap(),
        peer.summary(&servers)
    );
    assert_eq!(
        serde_json::from_str::<PeerEvidence>(r#"{"later":1}"#).unwrap(),
        PeerEvidence::new()
    );
    assert!(serde_json::from_str::<PeerEvidence>(r#"{"arrivals":[{"base":"x"}]}"#).is_err());
}

/// Spans, JSON and the command line share one word for each variant.
#[test]
fn a_variant_has_one_word_everywhere() {
    fn pins<T: serde::Serialize>(all: &[T], word: impl Fn(&T) -> &'static str) {
        for variant in all {
            assert_eq!(
                serde_json::to_value(variant).unwrap(),
                serde_json::Value::from(word(variant))
            );
        }
    }
    pins(Rule::ALL, |v| v.as_str());
    pins(FailureCause::ALL, |v| v.as_str());
    pins(Mapping::ALL, |v| v.as_str());
    pins(Filtering::ALL, |v| v.as_str());
    pins(NatType::ALL, |v| v.as_str());
    pins(Pooling::ALL, |v| v.as_str());
    pins(Scope::ALL, |v| v.as_str());
    pins(Outcome::ALL, |v| v.as_str());
    pins(TowardPeer::ALL, |v| v.as_str());
    pins(FilteringSeen::ALL, |v| v.as_str());
    pins(DecidedBy::ALL, |v| v.as_str());
    pins(ExpectedPath::ALL, |v| v.as_str());
    pins(OutlookReason::ALL, |v| v.as_str());
    // OpenTelemetry has words of its own for the families
    assert_eq!(
        serde_json::to_string(Family::ALL).unwrap(),
        r#"["v4","v6"]"#
    );
    assert_eq!(Family::V6.as_str(), "ipv6");
    // a step goes out under a key of its own
    for (allocation, word, step) in [
        (PortAllocation::Unknown, "unknown", None),
        (PortAllocation::Preserving, "preserving", None),
        (PortAllocation::Random, "random", None),
        (
            PortAllocation::Sequential { step: -2 },
            "sequential",
            Some(-2),
        ),
    ] {
        assert_eq!((allocation.as_str(), allocation.step()), (word, step));
        assert!(serde_json::to_string(&allocation).unwrap().contains(word));
    }
}
