//! The line parser: accepted lines, refused lines, and the position of each error.

use nat_summary::{
    Address, Candidate, CandidateKind, Evidence, Expected, NatType, TransportProtocol,
};

#[test]
fn a_line_is_read_and_written_back() {
    for line in [
        "candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host",
        "candidate:2 1 udp 1694498815 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000",
        "candidate:3 256 tcp 1518280447 2001:db8::5 9 typ host tcptype active generation 0 ufrag EsAw",
        "candidate:a+/9 1 udp 0 0b5e7a3c-9d1f-4e2b-8a6c-7d0e1f2a3b4c.local 1 typ prflx",
        "candidate:4 1 udp 41885439 198.51.100.9 61000 typ relay raddr 0.0.0.0 rport 0 network-cost 999",
        "candidate:5 1 SCTP/dtls 1 198.51.100.9 61000 typ magic x-ext (}{) y",
    ] {
        assert_eq!(Candidate::parse(line).unwrap().to_string(), line);
    }
}

#[test]
fn prefixes_case_and_spaces_do_not_matter() {
    let bare = "1 1 UDP 2130706431 192.168.1.5 50000 typ host";
    let plain = format!("candidate:{bare}");
    let expected = Candidate::parse(&plain).unwrap();
    assert_eq!(expected.transport, TransportProtocol::Udp);
    for line in [
        bare.to_owned(),
        format!("a=candidate:{bare}\r\n"),
        format!("  a=CANDIDATE: {bare}  "),
    ] {
        assert_eq!(Candidate::parse(&line).unwrap(), expected, "{line}");
    }
}

#[test]
fn names_zones_and_unknown_types_are_taken() {
    let parse = |address: &str, kind: &str| {
        Candidate::parse(Box::leak(
            format!("candidate:1 1 udp 1 {address} 5 typ {kind}").into_boxed_str(),
        ))
        .unwrap()
    };
    assert_eq!(parse("x.local", "host").address, Address::Name("x.local"));
    assert_eq!(
        parse("fe80::1%eth0", "host").address,
        Address::Ip("fe80::1".parse().unwrap())
    );
    assert_eq!(
        parse("::ffff:10.0.0.1", "host").address,
        Address::Ip("10.0.0.1".parse().unwrap())
    );
    assert_eq!(parse("10.0.0.1", "magic").kind, CandidateKind::Unknown);
}

#[test]
fn what_is_no_candidate_is_refused_with_its_place() {
    let long = format!(
        "candidate:1 1 udp 1 10.0.0.1 5 typ host x {}",
        "y".repeat(5_000)
    );
    for (line, expected, position) in [
        ("", Expected::Prefix, 0),
        ("a=", Expected::Prefix, 2),
        ("candidate:", Expected::Foundation, 10),
        (
            "candidate:§ 1 udp 1 10.0.0.1 5 typ host",
            Expected::Foundation,
            10,
        ),
        ("a=mid:0", Expected::Prefix, 2),
        (
            "candidate:1 0 udp 1 10.0.0.1 5 typ host",
            Expected::Component,
            12,
        ),
        (
            "candidate:1 257 udp 1 10.0.0.1 5 typ host",
            Expected::Component,
            12,
        ),
        (
            "candidate:1 -1 udp 1 10.0.0.1 5 typ host",
            Expected::Component,
            12,
        ),
        ("candidate:1 1", Expected::Transport, 13),
        (
            "candidate:1 1 udp 4294967296 10.0.0.1 5 typ host",
            Expected::Priority,
            18,
        ),
        (
            "candidate:1 1 udp +1 10.0.0.1 5 typ host",
            Expected::Priority,
            18,
        ),
        (
            "candidate:1 1 udp 1 10.0.0.1;rm 5 typ host",
            Expected::Address,
            20,
        ),
        (
            "candidate:1 1 udp 1 10.0.0.1 65536 typ host",
            Expected::Port,
            29,
        ),
        (
            "candidate:1 1 udp 1 10.0.0.1 5 tip host",
            Expected::Type,
            31,
        ),
        ("candidate:1 1 udp 1 10.0.0.1 5 typ", Expected::Type, 34),
        (
            "candidate:1 1 udp 1 10.0.0.1 5 typ srflx raddr",
            Expected::Related,
            46,
        ),
        (
            "candidate:1 1 udp 1 10.0.0.1 5 typ srflx raddr 10.0.0.2 port 5",
            Expected::Related,
            56,
        ),
        (
            "candidate:1 1 udp 1 10.0.0.1 5 typ host\r\na=mid:0",
            Expected::OneLine,
            39,
        ),
        (
            "candidate:1 1 udp 1 10.0.0.1 5 typ host x 1\na=mid:0",
            Expected::OneLine,
            43,
        ),
        (
            "candidate:1 1 udp\n1 10.0.0.1 5 typ host",
            Expected::Priority,
            17,
        ),
        (
            "candidate:1 1 üdp 1 10.0.0.1 5 typ host",
            Expected::Transport,
            14,
        ),
        (
            "candidate:1 1 udp 1 10.0.0.1 5 typ höst",
            Expected::Type,
            35,
        ),
        (&long, Expected::ShorterLine, 0),
    ] {
        let error = Candidate::parse(line).unwrap_err();
        assert_eq!(
            (error.expected, error.position),
            (expected, position),
            "{line}"
        );
        assert!(
            !error.to_string().contains("10.0.0"),
            "an address in {error}"
        );
    }
}

#[test]
fn candidates_are_found_in_any_text_once_each_and_with_their_server() {
    let text = concat!(
        "v=0\r\na=candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host generation 0\r\n",
        "a=candidate:1 1 tcp 2130706431 192.168.1.5 9 typ host\r\na=end-of-candidates\r\n",
        "[12:00:01] icecandidate sdpMid: 0, candidate: candidate:2 1 udp 1 203.0.113.7 5 typ srflx raddr 0.0.0.0 rport 0 ",
        "ufrag x, url: stun:stun.example.org:19302, relayProtocol: \n",
        r#"{"candidate":"candidate:2 1 udp 9 203.0.113.7 5 typ srflx raddr 0.0.0.0 rport 0","url":"stun:late.example.org"}"#,
        r#"{"sdp":"a=candidate:3 1 udp 1 x.local 5 typ host\\r\\na=candidate:4 1 udp 1 10.0.0.1 5 typ host\\r\\n"}"#,
        r#"{"candidate":"candidate:5 1 udp 1 203.0.113.7 6 typ srflx","url":"stun:c.example.org"},{"url":"stun:d"}"#,
        r#"{"candidate":"candidate:6 1 udp 1 203.0.113.8 6 typ srflx"},{"url":"stun:d"}"#,
        "\nthe candidate: nobody\ncandidate:",
    );
    let found: Vec<_> = Candidate::all_in(text).collect();
    let read: Vec<_> = found
        .iter()
        .flatten()
        .map(|c| (c.foundation, c.url))
        .collect();
    assert_eq!(
        read,
        [
            ("1", None),
            ("1", None),
            ("2", Some("stun:stun.example.org:19302")),
            ("3", None),
            ("4", None),
            ("5", Some("stun:c.example.org")),
            ("6", None),
        ]
    );
    let errors: Vec<_> = found.iter().filter_map(|c| c.as_ref().err()).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    for (error, place) in errors.iter().zip(["\ncandidate:", ""]) {
        assert!(text[error.position..].starts_with(place), "{error:?}");
    }
}

#[test]
fn a_text_of_many_candidates_is_read_to_its_end() {
    let text: String = (1..1_000)
        .map(|n| format!("a=candidate:{n} 1 udp 1 10.0.0.1 {n} typ host\n"))
        .collect();
    assert_eq!(Candidate::all_in(&text).count(), 999);
    let twice = text.repeat(2);
    assert_eq!(
        Candidate::all_in(&twice).count(),
        2 * 999 - 512,
        "as many as are remembered come once"
    );
}

/// A dump has each candidate at least twice. Behind the last remembered candidate, a repeat must
/// not count, because it would agree with itself.
#[test]
fn a_reflexive_candidate_that_may_be_a_repeat_is_an_error_and_no_second_answer() {
    let hosts: String = (1..=600)
        .map(|n| format!("a=candidate:{n} 1 udp 1 10.0.0.1 {n} typ host\n"))
        .collect();
    let reflexive = "a=candidate:2 1 udp 1 203.0.113.7 5 typ srflx raddr 10.0.0.1 rport 5\n";
    let text = format!("{hosts}{reflexive}{reflexive}");
    let errors: Vec<_> = Candidate::all_in(&text).filter_map(Result::err).collect();
    assert_eq!(
        errors
            .iter()
            .map(|error| error.expected)
            .collect::<Vec<_>>(),
        [Expected::FewerCandidates; 2]
    );
    assert!(text[errors[0].position..].starts_with("candidate:2 "));
    let summary = Evidence::from_text(&text).summary();
    assert_ne!(
        summary.nat_type(),
        NatType::Cone,
        "one answer agreed with itself"
    );
}

#[test]
fn candidates_on_one_line_are_all_found() {
    let text = "candidate:1 1 udp 1 10.0.0.1 5 typ host candidate:2 1 udp 1 10.0.0.1 6 typ host a=candidate:3 1 udp 1 ::1 5 typ host";
    assert_eq!(Candidate::all_in(text).filter(Result::is_ok).count(), 3);
}

/// A megabyte without a line break is read once, not once per candidate. The bound is a hundred
/// times the usual time.
#[test]
fn a_hostile_text_costs_no_more_than_its_length() {
    let started = std::time::Instant::now();
    for part in [
        "candidate:x ",
        "candidate:1 1 udp 1 10.0.0.1 5 typ host,",
        "candidate:1 1 udp 1 ::1 5 typ srflx raddr ::2 rport 7 ",
    ] {
        let text = part.repeat((1 << 20) / part.len());
        assert!(Candidate::all_in(&text).count() > 0);
        assert!(
            started.elapsed().as_secs() < 20,
            "{part:?} takes {:?}",
            started.elapsed()
        );
    }
}
