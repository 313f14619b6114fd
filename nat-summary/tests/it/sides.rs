//! Whose candidates a text holds, through each door.

use nat_summary::{Candidate, Evidence, Mapping, NatSummary, NatType, Outcome, ServerId, Sides};

/// A reflexive candidate's line behind the word that marks it.
fn reflexive(host: u8, port: u16) -> String {
    format!(
        "candidate:{port} 1 udp 1 203.0.113.{host} {port} typ srflx raddr 192.168.1.{host} rport 50000"
    )
}

/// Type and external address of a part.
fn part(evidence: Option<Evidence>) -> Option<(NatType, String)> {
    let summary = evidence?.summary();
    let address = summary
        .external_ip()
        .map_or_else(String::new, |ip| ip.to_string());
    Some((summary.nat_type(), address))
}

fn unknown(host: u8) -> Option<(NatType, String)> {
    Some((NatType::Unknown, format!("203.0.113.{host}")))
}

fn symmetric(host: u8) -> Option<(NatType, String)> {
    Some((NatType::Symmetric, format!("203.0.113.{host}")))
}

fn own(text: &str) -> NatSummary {
    Evidence::from_text(text).summary()
}

#[test]
fn the_cases_of_public_reports_come_out_right() {
    let android = include_str!("../data/cases/c01_android.log");
    let summary = own(android);
    assert_eq!(
        (summary.nat_type(), summary.is_natted()),
        (NatType::Unknown, Some(true))
    );
    assert_eq!(summary.external_ip(), Some([203, 0, 113, 20].into()));
    assert!(Sides::of(android).remote().is_none());

    let firefox = include_str!("../data/cases/c02_firefox_about_webrtc.txt");
    assert_eq!(part(Some(Evidence::from_text(firefox))), unknown(20));
    let sides = Sides::of(firefox);
    assert_eq!(part(sides.local()), unknown(20));
    assert_eq!(
        part(sides.remote()),
        Some((NatType::Symmetric, "198.51.100.77".into()))
    );
    assert_eq!(sides.unassigned().count(), 0);

    let again = include_str!("../data/cases/c03b_freeswitch_reinvite.log");
    let summary = own(again);
    assert_eq!(
        (
            summary.nat_type(),
            summary.mapping(),
            summary.counts().observations
        ),
        (NatType::Unknown, Mapping::Unknown, 1)
    );

    let bare = include_str!("../data/cases/c30_no_stun_configured.sdp");
    assert_eq!(own(bare).nat_type(), NatType::Unknown);
}

/// A text per program, with its marks of this host's and of the peer's candidates. The peer's NAT
/// is symmetric, this host's is unknown.
#[test]
fn each_program_marks_the_sides_in_its_own_words() {
    let sdp = |lines: &[String]| {
        let lines: String = lines.iter().map(|line| format!("a={line}\\r\\n")).collect();
        format!("v=0\\r\\no=- 1 2 IN IP4 0.0.0.0\\r\\n{lines}a=end-of-candidates\\r\\n")
    };
    let ours = reflexive(20, 50_000);
    let (one, two) = (reflexive(77, 61_001), reflexive(77, 61_002));
    let theirs = [one.clone(), two.clone()];
    let described = (sdp(std::slice::from_ref(&ours)), sdp(&theirs));
    let stats = |side: &str, host: u8, port: u16| {
        format!(
            r#"{{"id":"I{port}","timestamp":1.5,"type":"{side}-candidate","transportId":"T01","isRemote":false,"ip":"203.0.113.{host}","address":"203.0.113.{host}","port":{port},"protocol":"udp","candidateType":"srflx","priority":1694498815,"url":"","relatedAddress":"192.168.1.{host}","relatedPort":50000,"usernameFragment":"u{host}"}}"#
        )
    };
    let texts = [
        // Chrome's internals, old and of today
        format!(
            r#"[{{"time":"1","type":"onIceCandidate","value":"sdpMid: 0, candidate: {ours}"}},{{"time":"2","type":"addIceCandidate","value":"candidate: {one}"}},{{"time":"3","type":"addIceCandidate","value":"candidate: {two}"}}]"#
        ),
        format!(
            r#"{{"PeerConnections":{{"9-1":{{"updateLog":[{{"time":"t","type":"setLocalDescription","value":"type: offer, sdp: {}"}},{{"time":"t","type":"setRemoteDescriptionOnSuccess","value":"type: answer, sdp: {}"}},{{"time":"t","type":"icecandidate","value":"sdpMid: 0, sdpMLineIndex: 0, candidate: {ours}, url: stun:stun.example.org:3478, relayProtocol: "}}]}}}}}}"#,
            described.0, described.1
        ),
        format!(
            "createOffer\n{}\nsetRemoteDescription\n{}",
            described.0, described.1
        ),
        // Android, Flutter, the KVS SDK
        format!(
            "D/rtc: onIceCandidate: 0:0:{ours} generation 0:stun:x:WIFI\nD/rtc: addIceCandidate 0:0:{one}\nD/rtc: addIceCandidate 0:0:{two}"
        ),
        format!(
            "[12:00:00] Generated ICE candidate for client {ours}\n[12:00:01] Received ICE candidate from client {one}\n[12:00:02] Received ICE candidate from client {two}"
        ),
        // Firefox's page and its JSON
        format!(
            "Local SDP (Offer)\n\nv=0\n\na={ours}\n\nRemote SDP (Answer)\n\nv=0\n\na={one}\n\na={two}\n"
        ),
        format!(
            r#"{{"localSdp":"{}","remoteSdp":"{}"}}"#,
            described.0, described.1
        ),
        // Safari's log
        format!(
            "PeerConnectionBackend::newICECandidate Gathered ice candidate:{ours}\nRTCPeerConnection::addIceCandidate Received ice candidate:\n{one}\n{two}\n"
        ),
        format!(
            "Setting local description to:\n{}\nSetting remote description to:\n{}",
            described.0.replace("\\r\\n", "\n"),
            described.1.replace("\\r\\n", "\n")
        ),
        // Janus: the report of a handle, and its JavaScript
        format!(
            r#"{{"sdps":{{"local":"{}","remote":"{}"}},"local-candidates":["{ours}"],"remote-candidates":["{one}","{two}"]}}"#,
            described.0, described.1
        ),
        // Kurento's tutorials, as seen from the page
        format!(
            "Local candidate{{\"candidate\":\"{ours}\"}}\nReceived message: {{\"id\":\"iceCandidate\",\"candidate\":{{\"candidate\":\"{one}\"}}}}\nReceived message: {{\"id\":\"iceCandidate\",\"candidate\":{{\"candidate\":\"{two}\"}}}}"
        ),
        format!(
            "Sending message: {{\"id\":\"onIceCandidate\",\"candidate\":{{\"candidate\":\"{ours}\"}}}}\nAdding remote candidate: {one}\nAdding remote candidate: {two}"
        ),
        // pion
        format!("OnICECandidate {ours}\nAddICECandidate {one}\nAddICECandidate {two}"),
        // getStats
        format!(
            "[{},{},{}]",
            stats("local", 20, 50_000),
            stats("remote", 77, 61_001),
            stats("remote", 77, 61_002)
        ),
        format!(
            "[{},{},{}]",
            stats("remote", 77, 61_001),
            stats("local", 20, 50_000),
            stats("remote", 77, 61_002)
        )
        .replace(',', ",\n  "),
    ];
    for text in texts {
        let sides = Sides::of(&text);
        assert_eq!(part(sides.local()), unknown(20), "{text}");
        assert_eq!(part(sides.remote()), symmetric(77), "{text}");
        assert_eq!(sides.unassigned().count(), 0, "{text}");
        assert_eq!(
            part(Some(Evidence::from_text(&text))),
            unknown(20),
            "{text}"
        );
        // and as text inside of text
        let quoted = format!("{text:?}");
        let sides = Sides::of(&quoted);
        assert_eq!(
            (part(sides.local()), part(sides.remote())),
            (unknown(20), symmetric(77)),
            "{quoted}"
        );
    }
}

#[test]
fn two_descriptions_that_nothing_marks_are_two_results() {
    let description = |host: u8, origin: &str, ufrag: &str, port: u16| {
        format!(
            "v=0\r\no=- {origin} 2 IN IP4 0.0.0.0\r\na={}\r\n{ufrag}\r\n",
            reflexive(host, port)
        )
    };
    let ufrag = |name| format!("a=ice-ufrag:{name}");
    for (one, other) in [
        // by user fragment, though the origins are as like as can be
        (
            description(7, "0", &ufrag("aaaa"), 61_001),
            description(7, "0", &ufrag("bbbb"), 61_002),
        ),
        // by origin
        (
            description(7, "1", "", 61_001),
            description(7, "2", "", 61_002),
        ),
        // by nothing at all
        (
            description(7, "1", "", 61_001).replace("o=", "i="),
            description(7, "1", "", 61_002).replace("o=", "i="),
        ),
    ] {
        for text in [
            one.clone() + &other,
            format!("INVITE\n{one}\n200 OK\n{other}\n"),
            format!("{:?}, {:?}", one, other),
        ] {
            let sides = Sides::of(&text);
            let parts: Vec<_> = sides.unassigned().map(|e| part(Some(e))).collect();
            assert_eq!(parts, [unknown(7), unknown(7)], "{text}");
            assert!(sides.own().is_none());
            let summary = own(&text);
            assert_eq!(
                (summary.nat_type(), summary.external_ip()),
                (NatType::Unknown, None)
            );
        }
    }
    // the same one again is one
    let one = description(7, "1", &ufrag("aaaa"), 61_001);
    let again = one.replace("- 1 2 IN", "- 1 3 IN");
    assert_eq!(Sides::of(&(one.clone() + &again)).unassigned().count(), 1);
}

#[test]
fn a_user_fragment_that_was_marked_once_marks_a_candidate_anywhere() {
    let sdp = |host: u8, ufrag: &str| {
        format!("v=0\na=ice-ufrag:{ufrag}\na={}\n", reflexive(host, 50_000))
    };
    let text = format!(
        "setLocalDescription\n{}setRemoteDescription\n{}12:00 {} ufrag ours\n12:01 {} ufrag theirs\n",
        sdp(20, "ours"),
        sdp(77, "theirs"),
        reflexive(20, 50_001),
        reflexive(77, 61_001)
    );
    let sides = Sides::of(&text);
    assert_eq!(part(sides.local()), symmetric(20));
    assert_eq!(part(sides.remote()), symmetric(77));
    assert_eq!(sides.unassigned().count(), 0);
}

#[test]
fn a_mark_of_one_entry_of_a_log_does_not_reach_the_next() {
    let text = format!(
        "12:00:00 setRemoteDescription done\n12:00:01 sending {}\n",
        reflexive(20, 50_000)
    );
    let sides = Sides::of(&text);
    assert!(sides.remote().is_none(), "the peer's NAT is not ours");
    assert_eq!(part(sides.own()), unknown(20));
}

#[test]
fn the_words_of_a_description_mark_nothing() {
    let sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=setRemoteDescription\r\nm=audio 9 RTP/AVP 0\r\na=remote-candidates:1 192.0.2.3 45664\r\na=candidate:1 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000\r\n";
    let sides = Sides::of(sdp);
    assert!(sides.remote().is_none());
    assert_eq!(part(sides.own()), unknown(7));
    let marked = format!("addIceCandidate {}", reflexive(7, 50_000));
    assert_eq!(part(Some(Evidence::from_description(&marked))), unknown(7));
    assert_eq!(own(&marked).external_ip(), None, "the peer's");
}

#[test]
fn sessions_of_one_socket_are_different_bases() {
    let sdp = |ufrag: &str, port: u16| {
        format!(
            "setLocalDescription\nv=0\na={}\na=ice-ufrag:{ufrag}\n",
            reflexive(20, port)
        )
    };
    let restarted = sdp("aaaa", 50_000) + &sdp("bbbb", 50_001);
    let summary = own(&restarted);
    assert_eq!(
        (summary.nat_type(), summary.counts().bases),
        (NatType::Unknown, 2)
    );
    let one = sdp("aaaa", 50_000) + &sdp("aaaa", 50_001);
    assert_eq!(own(&one).nat_type(), NatType::Symmetric);
}

#[test]
fn an_error_with_code_701_is_the_time_out_of_the_server_that_it_names() {
    let error = |url: &str, code: u16, text: &str| {
        [
            // the event, and a dump's entry of today
            format!(
                r#"{{"address":"192.168.1.x","errorCode":{code},"errorText":"{text}","hostCandidate":"192.168.1.x:50000","port":50000,"url":"{url}"}}"#
            ),
            format!(
                r#"{{"time":"t","type":"icecandidateerror","value":"url: {url}\naddress: 192.168.1.x\nport: 50000\nhost_candidate: 192.168.1.x:50000\nerror_text: {text}\nerror_code: {code}"}}"#
            ),
            format!("icecandidateerror url: {url}, error_text: {text}, error_code: {code}\n"),
        ]
    };
    let server = |host| ServerId::Address([198, 51, 100, host].into(), 3478);
    let timed_out = "STUN binding request timed out.";
    for (url, code, message, expected) in [
        (
            "stun:198.51.100.1:3478",
            701,
            timed_out,
            Some(Outcome::TimedOut),
        ),
        ("stun:198.51.100.1", 701, "", Some(Outcome::TimedOut)),
        (
            "stun:198.51.100.1",
            701,
            "STUN host lookup received error.",
            Some(Outcome::Unresolved),
        ),
        (
            "stun:198.51.100.1",
            701,
            "Failed to send",
            Some(Outcome::Unreachable),
        ),
        (
            "turn:198.51.100.1?transport=udp",
            401,
            "Unauthorized",
            Some(Outcome::Refused),
        ),
        ("turn:198.51.100.1?transport=tcp", 701, timed_out, None),
        ("turns:198.51.100.1", 701, timed_out, None),
        ("https://198.51.100.1", 701, timed_out, None),
        ("stun:198.51.100.1", 70, timed_out, None),
    ] {
        for text in error(url, code, message) {
            let evidence = Sides::of(&text).local();
            let servers = evidence.as_ref().map(Evidence::servers).unwrap_or_default();
            let expected: Vec<_> = expected
                .iter()
                .map(|outcome| (server(1), *outcome))
                .collect();
            assert_eq!(servers, expected, "{text}");
        }
    }
    let host = "onicecandidate candidate:1 1 udp 1 192.168.1.5 50000 typ host\n";
    let [one, two] =
        [1, 2].map(|n| error(&format!("stun:198.51.100.{n}"), 701, timed_out)[0].clone());
    assert_eq!(
        own(&format!("{host}{one}")).nat_type(),
        NatType::Unknown,
        "one may be dead"
    );
    assert_eq!(
        own(&format!("{host}{one}\n{two}")).nat_type(),
        NatType::UdpBlocked
    );
    // a reflexive candidate that equals a host candidate is not listed
    for hidden in ["a.local", "203.0.113.5"] {
        let host = host.replace("192.168.1.5", hidden) + host;
        assert_eq!(
            own(&format!("{host}{one}\n{two}")).nat_type(),
            NatType::Unknown
        );
    }
    let remote = format!("addIceCandidate candidate:1 1 udp 1 10.0.0.5 5 typ host\n{one}");
    assert!(Sides::of(&remote).remote().unwrap().servers().is_empty());
}

#[test]
fn a_text_is_read_in_time_linear_in_its_length() {
    let entry = format!(
        r#"{{"type":"setRemoteDescription","value":"v=0\r\na=ice-ufrag:x\r\na={}\r\n"}},"#,
        reflexive(77, 61_001)
    );
    let ours = format!("onIceCandidate {}\n", reflexive(20, 50_000));
    let dump = ours.clone() + &entry.repeat((1 << 20) / entry.len());
    assert_eq!(part(Some(Evidence::from_text(&dump))), unknown(20));
    // quadratic time would be minutes for 64 KiB
    let started = std::time::Instant::now();
    for piece in [
        "v=0",
        "v=0 o=",
        "v=0\nice-ufrag:",
        "url: ",
        "{url",
        "{\"errorCode\":701,",
        "}",
        "\\n",
        "\\\\\\",
        "\n",
        "local ",
        "\"local\\\\\\\\",
        "a=candidate:",
        "onIceCandidate",
        "add add add ",
        "type=",
        "url:\"\"\"\"",
        "{'type':'local-candidate','candidateType':'srflx','port':1}",
        "v=0\nice-ufrag:a\na=candidate:1 1 udp 1 203.0.113.7 5 typ srflx raddr 10.0.0.1 rport 5\n",
        "x",
        "aA",
        " a=b",
        "é",
        "candidate:candidate:",
    ] {
        let text = piece.repeat((1 << 16) / piece.len());
        let sides = Sides::of(&text);
        let _ = sides.local();
        assert!(
            started.elapsed().as_secs() < 60,
            "{piece:?} takes {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn results_beyond_the_eighth_are_counted_and_mixed_with_none() {
    let text: String = (0..12)
        .map(|n| {
            format!(
                "v=0\no=- {n} 1 IN IP4 0.0.0.0\na={}\n",
                reflexive(7, 50_000 + n)
            )
        })
        .collect();
    let sides = Sides::of(&text);
    assert_eq!((sides.unassigned().count(), sides.left_out()), (8, 4));
    assert!(sides.unassigned().all(|e| part(Some(e)) == unknown(7)));
}

#[test]
fn a_candidate_object_without_a_base_is_comparable_with_nothing() {
    let stats = |port| {
        format!(
            r#"{{"type":"local-candidate","candidateType":"srflx","ip":"203.0.113.7","port":{port},"protocol":"udp"}}"#
        )
    };
    let summary = own(&(stats(1) + &stats(2)));
    assert_eq!(
        (
            summary.nat_type(),
            summary.mapping(),
            summary.counts().bases
        ),
        (NatType::Unknown, Mapping::Unknown, 2)
    );
    let line = "candidate:1 1 udp 1 203.0.113.7 5 typ srflx raddr 10.0.0.1 rport 5";
    assert!(Candidate::parse(line).is_ok());
}
