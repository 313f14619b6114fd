//! The line parser: what it takes, what it refuses and where.

use nat_summary::{Address, Candidate, CandidateKind, Expected, Transport};

#[test]
fn a_line_is_read_and_written_back() {
    for line in [
        "candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host",
        "candidate:2 1 udp 1694498815 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000",
        "candidate:3 256 tcp 1518280447 2001:db8::5 9 typ host tcptype active generation 0 ufrag EsAw",
        "candidate:a+/9 1 udp 0 0b5e7a3c-9d1f-4e2b-8a6c-7d0e1f2a3b4c.local 1 typ prflx",
        "candidate:4 1 udp 41885439 198.51.100.9 61000 typ relay raddr 0.0.0.0 rport 0 network-cost 999",
    ] {
        assert_eq!(Candidate::parse(line).unwrap().to_string(), line);
    }
}

#[test]
fn prefixes_case_and_spaces_do_not_matter() {
    let bare = "1 1 UDP 2130706431 192.168.1.5 50000 typ host";
    let plain = format!("candidate:{bare}");
    let expected = Candidate::parse(&plain).unwrap();
    assert_eq!(expected.transport, Transport::Udp);
    for line in [bare.to_owned(), format!("a=candidate:{bare}\r\n"), format!("  a=CANDIDATE: {bare}  ")] {
        assert_eq!(Candidate::parse(&line).unwrap(), expected, "{line}");
    }
}

#[test]
fn names_zones_and_unknown_types_are_taken() {
    let parse = |address: &str, kind: &str| {
        Candidate::parse(Box::leak(format!("candidate:1 1 udp 1 {address} 5 typ {kind}").into_boxed_str())).unwrap()
    };
    assert_eq!(parse("x.local", "host").address, Address::Name("x.local"));
    assert_eq!(parse("fe80::1%eth0", "host").address, Address::Ip("fe80::1".parse().unwrap()));
    assert_eq!(parse("::ffff:10.0.0.1", "host").address, Address::Ip("10.0.0.1".parse().unwrap()));
    assert_eq!(parse("10.0.0.1", "magic").kind, CandidateKind::Unknown);
}

#[test]
fn what_is_no_candidate_is_refused_with_its_place() {
    let long = format!("candidate:1 1 udp 1 10.0.0.1 5 typ host x {}", "y".repeat(5_000));
    for (line, expected, position) in [
        ("", Expected::Prefix, 0),
        ("a=", Expected::Prefix, 2),
        ("candidate:", Expected::Foundation, 10),
        ("candidate:§ 1 udp 1 10.0.0.1 5 typ host", Expected::Foundation, 10),
        ("a=mid:0", Expected::Prefix, 2),
        ("candidate:1 0 udp 1 10.0.0.1 5 typ host", Expected::Component, 12),
        ("candidate:1 257 udp 1 10.0.0.1 5 typ host", Expected::Component, 12),
        ("candidate:1 -1 udp 1 10.0.0.1 5 typ host", Expected::Component, 12),
        ("candidate:1 1", Expected::Transport, 13),
        ("candidate:1 1 udp 4294967296 10.0.0.1 5 typ host", Expected::Priority, 18),
        ("candidate:1 1 udp +1 10.0.0.1 5 typ host", Expected::Priority, 18),
        ("candidate:1 1 udp 1 10.0.0.1;rm 5 typ host", Expected::Address, 20),
        ("candidate:1 1 udp 1 10.0.0.1 65536 typ host", Expected::Port, 29),
        ("candidate:1 1 udp 1 10.0.0.1 5 tip host", Expected::Type, 31),
        ("candidate:1 1 udp 1 10.0.0.1 5 typ", Expected::Type, 34),
        ("candidate:1 1 udp 1 10.0.0.1 5 typ srflx raddr", Expected::Related, 46),
        ("candidate:1 1 udp 1 10.0.0.1 5 typ srflx raddr 10.0.0.2 port 5", Expected::Related, 56),
        (&long, Expected::ShorterLine, 0),
    ] {
        let error = Candidate::parse(line).unwrap_err();
        assert_eq!((error.expected, error.position), (expected, position), "{line}");
        assert!(!error.to_string().contains("10.0.0"), "an address in {error}");
    }
}
