//! Captures, written byte by byte: each format, link type and damage, and what must stay unknown.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ice_gather::capture::{Capture, CaptureError, Damage, MAX_HOSTS};
use nat_summary::observer::Trust;
use nat_summary::stage::{Stage, StageVerdict};
use nat_summary::{NatType, Outcome, TowardPeer};

const HOST: &str = "10.0.0.2:50000";
const ONE: &str = "198.51.100.1:3478";
const TWO: &str = "198.51.100.2:3478";
const MAPPED: &str = "203.0.113.7:50000";
const OTHER: &str = "203.0.113.7:61000";
const PEER: &str = "192.0.2.9:40000";

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn stun(typ: u16, id: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let cookie = [0x21, 0x12, 0xa4, 0x42];
    [&typ.to_be_bytes()[..], &length, &cookie, &[id; 12], &body].concat()
}

fn mapped(address: &str) -> Vec<u8> {
    let SocketAddr::V4(address) = at(address) else {
        panic!("{address}");
    };
    let port = (address.port() ^ 0x2112).to_be_bytes();
    let ip = (address.ip().to_bits() ^ 0x2112_a442).to_be_bytes();
    [&[0, 1][..], &port, &ip].concat()
}

fn request(id: u8) -> Vec<u8> {
    stun(0x0001, id, &[])
}

fn success(id: u8, address: &str) -> Vec<u8> {
    stun(0x0101, id, &[(0x0020, &mapped(address))])
}

/// A packet of IP with a datagram in it.
fn udp(from: SocketAddr, to: SocketAddr, hops: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let datagram = [
        &from.port().to_be_bytes()[..],
        &to.port().to_be_bytes(),
        &length.to_be_bytes(),
        &[0, 0],
        payload,
    ]
    .concat();
    ip(from.ip(), to.ip(), hops, 17, &datagram)
}

fn ip(from: IpAddr, to: IpAddr, hops: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [
            // a header with an option of four bytes
            &[0x46, 0][..],
            &(24 + length).to_be_bytes(),
            &[0, 1, 0x40, 0, hops, protocol, 0, 0],
            &from.octets(),
            &to.octets(),
            &[1, 1, 1, 0],
            payload,
        ]
        .concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [
            // a header with hop-by-hop options behind it
            &[0x60, 0, 0, 0][..],
            &(8 + length).to_be_bytes(),
            &[0, hops],
            &from.octets(),
            &to.octets(),
            &[protocol, 0, 1, 4, 0, 0, 0, 0],
            payload,
        ]
        .concat(),
        _ => panic!("two families"),
    }
}

/// A link type, and how it wraps a packet.
fn wrap(link: u32, packet: &[u8]) -> Vec<u8> {
    let is_v6 = packet[0] >> 4 == 6;
    let ether: [u8; 2] = if is_v6 { [0x86, 0xdd] } else { [8, 0] };
    let head: Vec<u8> = match link {
        // with a VLAN tag
        1 => [&[2; 12][..], &[0x81, 0, 0, 5], &ether].concat(),
        0 => vec![if is_v6 { 30 } else { 2 }, 0, 0, 0],
        108 => vec![0, 0, 0, if is_v6 { 30 } else { 2 }],
        101 | 12 | 228 | 229 => vec![],
        113 => [&[0; 14][..], &ether].concat(),
        276 => [&ether[..], &[0; 18]].concat(),
        _ => panic!("{link}"),
    };
    [&head[..], packet].concat()
}

/// Milliseconds, and the packet.
type Packets = Vec<(u64, Vec<u8>)>;

fn pcap(link: u32, packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = [
        &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0][..],
        &[0; 8],
        &65_535_u32.to_le_bytes(),
        &link.to_le_bytes(),
    ]
    .concat();
    for (millis, packet) in packets {
        let frame = wrap(link, packet);
        file.extend(pcap_record(*millis, &frame, frame.len()));
    }
    file
}

fn pcap_record(millis: u64, frame: &[u8], length: usize) -> Vec<u8> {
    let seconds = u32::try_from(1_700_000_000 + millis / 1000).unwrap();
    let micros = u32::try_from(millis % 1000 * 1000).unwrap();
    let lengths = [frame.len(), length].map(|n| u32::try_from(n).unwrap().to_le_bytes());
    [
        &seconds.to_le_bytes()[..],
        &micros.to_le_bytes(),
        &lengths[0],
        &lengths[1],
        frame,
    ]
    .concat()
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let body = [body, &vec![0; body.len().next_multiple_of(4) - body.len()]].concat();
    let length = u32::try_from(12 + body.len()).unwrap().to_le_bytes();
    [&kind.to_le_bytes()[..], &length, &body, &length].concat()
}

fn section(link: u16) -> Vec<u8> {
    let head = block(
        0x0a0d_0d0a,
        &[
            &0x1a2b_3c4d_u32.to_le_bytes()[..],
            &[1, 0, 0, 0],
            &[0xff; 8],
        ]
        .concat(),
    );
    // the times of this interface are in nanoseconds
    let options = [9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    let interface = [&link.to_le_bytes()[..], &[0, 0], &[0; 4], &options].concat();
    [head, block(1, &interface)].concat()
}

fn pcapng(link: u16, packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = section(link);
    for (millis, packet) in packets {
        let frame = wrap(link.into(), packet);
        let nanos = (1_700_000_000_000 + millis) * 1_000_000;
        let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
        let body = [
            &[0; 4][..],
            &u32::try_from(nanos >> 32).unwrap().to_le_bytes(),
            &u32::try_from(nanos & 0xffff_ffff).unwrap().to_le_bytes(),
            &length,
            &length,
            &frame,
        ]
        .concat();
        file.extend(block(6, &body));
    }
    file
}

/// Two servers asked, and their answers.
fn gathering(first: &str, second: &str) -> Packets {
    [(1, ONE, first), (2, TWO, second)]
        .into_iter()
        .flat_map(|(id, server, mapped)| {
            [
                (5, udp(at(HOST), at(server), 64, &request(id))),
                (25, udp(at(server), at(HOST), 51, &success(id, mapped))),
            ]
        })
        .collect()
}

fn read(file: &[u8]) -> Capture {
    Capture::read(file).unwrap()
}

fn nat_type(file: &[u8]) -> NatType {
    let capture = read(file);
    assert_eq!(capture.hosts.len(), 1);
    capture.hosts[0].evidence.summary().nat_type()
}

#[test]
fn every_format_and_link_type_is_judged() {
    for (second, expected) in [(MAPPED, NatType::Cone), (OTHER, NatType::Symmetric)] {
        let packets = gathering(MAPPED, second);
        for link in [1, 0, 108, 101, 12, 228, 113, 276] {
            assert_eq!(nat_type(&pcap(link, &packets)), expected, "pcap, {link}");
            let link = u16::try_from(link).unwrap();
            assert_eq!(
                nat_type(&pcapng(link, &packets)),
                expected,
                "pcapng, {link}"
            );
        }
    }
    let host = &read(&pcapng(1, &gathering(MAPPED, MAPPED))).hosts[0];
    let server = host.servers[0];
    assert_eq!(
        (server.server, server.outcome, server.mapped, server.sends),
        (at(ONE), Outcome::Answered, Some(at(MAPPED)), 1)
    );
    assert_eq!(server.round_trip, Some(Duration::from_millis(20)));
    assert!(!host.is_one_way);
}

#[test]
fn ipv6_is_a_host_of_its_own() {
    let [host, server] = ["[2001:db8::5]:50000", "[2001:db8:1::1]:3478"].map(at);
    let mut packets = gathering(MAPPED, MAPPED);
    packets.push((40, udp(host, server, 64, &request(9))));
    let value = [&[0, 2, 0xe2, 0x42][..], &{
        let SocketAddr::V6(host) = host else { panic!() };
        let mask = [&[0x21, 0x12, 0xa4, 0x42][..], &[9; 12]].concat();
        let ip = host.ip().octets();
        ip.iter().zip(mask).map(|(a, b)| a ^ b).collect::<Vec<u8>>()
    }]
    .concat();
    let answer = stun(0x0101, 9, &[(0x0020, &value)]);
    packets.push((60, udp(server, host, 55, &answer)));
    let capture = read(&pcap(1, &packets));
    let hosts: Vec<IpAddr> = capture.hosts.iter().map(|host| host.host).collect();
    assert_eq!(hosts, [at(HOST).ip(), host.ip()]);
    assert_eq!(capture.hosts[1].evidence.observations().len(), 1);
}

/// Behind the NAT, or at the server, the mapped address is the source: "open" would be wrong.
#[test]
fn a_request_that_had_passed_a_router_makes_no_host() {
    let outside = at(MAPPED);
    let mut packets = Packets::new();
    for (id, server) in [(1, ONE), (2, TWO)] {
        packets.push((5, udp(outside, at(server), 63, &request(id))));
        packets.push((25, udp(at(server), outside, 64, &success(id, MAPPED))));
    }
    let capture = read(&pcap(1, &packets));
    assert!(capture.hosts.is_empty());
    assert_eq!(capture.forwarded, 2);
    // on every interface of a router: the packet is there before and after it was translated
    packets.extend(gathering(MAPPED, MAPPED));
    packets.sort_by_key(|(at, _)| *at);
    assert_eq!(nat_type(&pcap(276, &packets)), NatType::Cone);
}

fn silent(until: u64) -> Packets {
    let mut packets = Packets::new();
    for now in [0, 500] {
        for (id, server) in [(1, ONE), (2, TWO)] {
            packets.push((now, udp(at(HOST), at(server), 64, &request(id))));
        }
    }
    packets.push((until, udp(at("10.0.0.9:1"), at("10.0.0.255:1"), 64, b"x")));
    packets
}

fn resolver() -> (u64, Vec<u8>) {
    let resolver = at("10.0.0.1:53");
    (700, udp(resolver, at("10.0.0.2:33333"), 64, b"an answer"))
}

#[test]
fn silence_is_a_time_out_only_where_the_capture_shows_the_wait_and_the_other_direction() {
    let judged = |mut packets: Packets| {
        packets.sort_by_key(|(at, _)| *at);
        nat_type(&pcap(1, &packets))
    };
    assert_eq!(judged(silent(3_000)), NatType::Unknown, "one direction");
    let with = |until, packet| judged([silent(until), vec![packet]].concat());
    assert_eq!(with(3_000, resolver()), NatType::UdpBlocked);
    assert_eq!(with(1_900, resolver()), NatType::Unknown, "a short wait");
    let arp = [
        &[0, 1, 8, 0, 6, 4, 0, 2, 2, 2, 2, 2, 2, 2][..],
        &[10, 0, 0, 1],
        &[2; 6],
        &[10, 0, 0, 2],
    ]
    .concat();
    let ethernet_arp = [&[2; 12][..], &[8, 6], &arp].concat();
    let mut with_arp = pcap(1, &silent(3_000));
    with_arp.extend(pcap_record(3_001, &ethernet_arp, ethernet_arp.len()));
    assert_eq!(nat_type(&with_arp), NatType::UdpBlocked);

    // anything that came in over UDP from outside
    let outside = udp(at("203.0.113.99:53"), at("10.0.0.2:33333"), 51, b"x");
    let before = [vec![(0, outside.clone())], silent(3_000), vec![resolver()]].concat();
    assert_eq!(judged(before), NatType::Unknown, "before the first request");
    let meanwhile = [silent(3_000), vec![resolver(), (900, outside)]].concat();
    assert_eq!(judged(meanwhile), NatType::Unknown);
    // a stack that asks once
    let once: Packets = silent(3_000)
        .into_iter()
        .filter(|(at, _)| *at != 500)
        .chain([resolver()])
        .collect();
    assert_eq!(judged(once), NatType::Unknown);
    // each packet twice, as on two interfaces
    let twice: Packets = silent(3_000)
        .into_iter()
        .filter(|(at, _)| *at != 500)
        .flat_map(|(at, packet)| [(at, packet.clone()), (at + 1, packet)])
        .chain([resolver()])
        .collect();
    assert_eq!(judged(twice), NatType::Unknown);
}

#[test]
fn a_capture_that_lost_packets_proves_no_silence() {
    let mut packets = silent(3_000);
    packets.push(resolver());
    packets.sort_by_key(|(at, _)| *at);
    let mut file = pcapng(1, &packets);
    assert_eq!(nat_type(&file), NatType::UdpBlocked);
    let option = [&[5, 0, 8, 0][..], &7_u64.to_le_bytes(), &[0; 4]].concat();
    file.extend(block(5, &[&[0; 12][..], &option].concat()));
    assert!(read(&file).has_drops);
    assert_eq!(nat_type(&file), NatType::Unknown);
}

#[test]
fn a_router_that_refuses_makes_a_server_unreachable() {
    for (code, outcome) in [(3, Outcome::Unreachable), (1, Outcome::Unreachable)] {
        let asked = udp(at(HOST), at(ONE), 64, &request(1));
        let mut packets = silent(9_000);
        let icmp = [&[3, code, 0, 0, 0, 0, 0, 0][..], &asked[..32]].concat();
        let router: IpAddr = "10.0.0.1".parse().unwrap();
        packets.push((600, ip(router, at(HOST).ip(), 64, 1, &icmp)));
        packets.sort_by_key(|(at, _)| *at);
        let capture = read(&pcap(1, &packets));
        let host = &capture.hosts[0];
        let outcomes: Vec<Outcome> = host.servers.iter().map(|s| s.outcome).collect();
        assert_eq!(outcomes, [outcome, Outcome::TimedOut], "{code}");
        assert!(!host.is_one_way);
    }
}

#[test]
fn checks_of_a_peer_are_matched_and_never_show_the_filtering() {
    let mut packets = gathering(MAPPED, MAPPED);
    let signed: [(u16, &[u8]); 2] = [(0x0006, b"a:b"), (0x0008, &[7; 20])];
    packets.push((50, udp(at(PEER), at(HOST), 51, &stun(1, 9, &signed))));
    packets.push((55, udp(at(HOST), at(PEER), 64, &stun(1, 8, &signed))));
    let answer = stun(0x0101, 8, &[(0x0020, &mapped(OTHER)), (0x0008, &[7; 20])]);
    packets.push((75, udp(at(PEER), at(HOST), 51, &answer)));
    let capture = read(&pcap(1, &packets));
    let host = &capture.hosts[0];
    let pair = host.pairs[0];
    assert_eq!((pair.remote, pair.mapped), (at(PEER), Some(at(OTHER))));
    assert_eq!((pair.sent, pair.answered, pair.received), (1, 1, 1));
    assert_eq!(host.trust, Trust::Matched);
    let summary = host.peer.summary(&host.evidence);
    assert_eq!(summary.toward_peer, TowardPeer::Changed);
    assert_eq!(summary.filtering, Default::default());
}

#[test]
fn damages_have_a_word_and_the_packets_before_are_judged() {
    let packets = gathering(MAPPED, MAPPED);
    let files = [pcap(1, &packets), pcapng(1, &packets)];
    for whole in &files {
        assert_eq!(read(whole).damage, None);
        let cut = [&whole[..], &whole[whole.len() - 40..][..20]].concat();
        let capture = read(&cut);
        assert!(capture.damage.is_some());
        assert_eq!(capture.packets, 4);
        assert_eq!(nat_type(&cut), NatType::Cone);
    }
    let last = files[0].len() - 10;
    assert_eq!(read(&files[0][..last]).damage, Some(Damage::Cut));
    assert_eq!(read(&files[0][..last]).packets, 3);
    assert_eq!(
        read(&files[1][..files[1].len() - 10]).damage,
        Some(Damage::Cut)
    );
    // a block that says it is longer than anything
    let mut endless = files[1].clone();
    endless.extend(6_u32.to_le_bytes());
    endless.extend(0x7fff_fff0_u32.to_le_bytes());
    endless.extend([0; 60_000]);
    let capture = read(&endless);
    assert!(capture.damage.is_some() && capture.packets == 4);

    let error = |bytes: &[u8]| Capture::read(bytes).unwrap_err();
    assert!(matches!(error(b""), CaptureError::Empty));
    for bytes in [
        &b"\x1f\x8b\x08 gzip, thirty bytes or so...."[..],
        b"\xd4\xc3",
        &[0; 99],
    ] {
        assert!(matches!(error(bytes), CaptureError::NotACapture));
    }
    for length in 0..files[1].len() {
        let _ = Capture::read(&files[0][..length.min(files[0].len())]);
        let _ = Capture::read(&files[1][..length]);
    }
}

#[test]
fn packets_that_cannot_be_read_are_counted_by_reason() {
    let mut file = pcap(1, &gathering(MAPPED, MAPPED));
    // cut by a short snap length, behind the ports: a request that nothing is known of
    let frame = wrap(1, &udp(at(HOST), at(ONE), 64, &request(7)));
    file.extend(pcap_record(70, &frame[..60], frame.len()));
    // cut in front of its addresses
    file.extend(pcap_record(71, &frame[..20], frame.len()));
    // the first part of a datagram
    let mut fragment = udp(at(ONE), at(HOST), 51, &[0; 64]);
    fragment[6] = 0x20;
    let fragment = wrap(1, &fragment);
    file.extend(pcap_record(72, &fragment, fragment.len()));
    let capture = read(&file);
    assert_eq!((capture.packets, capture.truncated), (7, 2));
    assert_eq!((capture.unread.broken, capture.unread.fragments), (1, 1));
    assert_eq!(nat_type(&file), NatType::Cone);

    let mut odd = pcap(101, &gathering(MAPPED, MAPPED));
    odd[20] = 147;
    let capture = read(&odd);
    assert_eq!((capture.unread.link_type, capture.unread.total()), (4, 4));
    assert!(capture.hosts.is_empty());
}

#[test]
fn the_number_of_hosts_is_bounded() {
    let packets: Packets = (0..100_u8)
        .map(|n| {
            let host = SocketAddr::from(([10, 0, 1, n], 50_000));
            (n.into(), udp(host, at(ONE), 64, &request(n)))
        })
        .collect();
    let capture = read(&pcap(1, &packets));
    assert_eq!(capture.hosts.len(), MAX_HOSTS);
    assert_eq!(capture.left_out, 36);
}

/// A pipe hands out a few bytes at a time.
#[test]
fn a_capture_is_read_from_a_pipe() {
    struct Slow<'a>(&'a [u8]);
    impl std::io::Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let room = buffer.len().min(3);
            self.0.read(&mut buffer[..room])
        }
    }
    let packets: Packets = (0..2_000).flat_map(|_| gathering(MAPPED, OTHER)).collect();
    for file in [pcap(1, &packets), pcapng(1, &packets)] {
        let capture = Capture::read(Slow(&file)).unwrap();
        assert_eq!((capture.packets, capture.damage), (8_000, None));
        assert_eq!(
            capture.hosts[0].evidence.summary().nat_type(),
            NatType::Symmetric
        );
    }
}

/// A handshake record in epoch 0 with one message of this type and number.
fn handshake(typ: u8, number: u8) -> Vec<u8> {
    let message = [&[typ, 0, 0, 40, 0, number, 0, 0, 0, 0, 0, 40][..], &[7; 40]].concat();
    [
        &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 52][..],
        &message,
    ]
    .concat()
}

fn data() -> Vec<u8> {
    [
        &[23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 40][..],
        &[7; 40],
    ]
    .concat()
}

/// A gathering, then checks that are answered every two seconds until `until`, and these datagrams; whether
/// each leaves.
fn attempt(until: u64, datagrams: &[(u64, bool, Vec<u8>)]) -> Packets {
    let (host, peer) = (at(HOST), at(PEER));
    let mut packets = gathering(MAPPED, MAPPED);
    for (n, time) in (200..until).step_by(2_000).enumerate() {
        let id = 100 + u8::try_from(n).unwrap();
        let check = stun(0x0001, id, &[(0x0006, b"a:b"), (0x0008, &[0; 20])]);
        let answer = stun(0x0101, id, &[(0x0020, &mapped(MAPPED)), (0x0008, &[0; 20])]);
        packets.push((time, udp(host, peer, 64, &check)));
        packets.push((time + 30, udp(peer, host, 50, &answer)));
    }
    for (time, leaves, datagram) in datagrams {
        let packet = if *leaves {
            udp(host, peer, 64, datagram)
        } else {
            udp(peer, host, 50, datagram)
        };
        packets.push((*time, packet));
    }
    packets.sort_by_key(|(time, _)| *time);
    packets
}

/// The three ends of an attempt that a capture can show: hellos without an answer, a handshake that stalls, a
/// path that freezes.
fn stopped() -> [(Packets, StageVerdict, Stage); 3] {
    let hellos = [300, 700, 1_500, 3_100].map(|time| (time, true, handshake(1, 0)));
    let mut stalled = vec![(300, true, handshake(1, 0)), (350, false, handshake(2, 0))];
    stalled.extend([351, 751, 1_551, 3_151].map(|time| (time, true, handshake(16, 1))));
    let mut frozen = vec![(300, true, data()), (350, false, data())];
    frozen.extend((1..40).map(|n| (350 + 400 * n, true, data())));
    [
        (
            attempt(5_000, &hellos),
            StageVerdict::HelloUnanswered,
            Stage::Hello,
        ),
        (
            attempt(5_000, &stalled),
            StageVerdict::HandshakeStalled,
            Stage::Handshake,
        ),
        (
            attempt(16_000, &frozen),
            StageVerdict::FrozenAfterOpen,
            Stage::Open,
        ),
    ]
}

#[test]
fn a_capture_shows_the_stage_of_an_attempt_and_what_stopped_it() {
    for (packets, verdict, stage) in stopped() {
        let capture = read(&pcap(101, &packets));
        let [path] = capture.hosts[0].paths[..] else {
            panic!("{:?}", capture.hosts[0].paths);
        };
        assert_eq!((path.report.verdict, path.report.stage), (verdict, stage));
        assert_eq!((path.base, path.remote), (at(HOST), at(PEER)));
        let paired = path.paired_at.unwrap();
        let started = Duration::from_millis(packets[0].0);
        assert_eq!(paired, Duration::from_millis(230) - started);
        // a packet that was not captured whole could have been the one that is missed
        let mut cut = pcap(101, &packets);
        let frame = udp(at(PEER), at(HOST), 50, &[7; 100]);
        cut.extend(pcap_record(
            packets.last().unwrap().0,
            &frame[..60],
            frame.len(),
        ));
        let capture = read(&cut);
        assert_eq!(capture.truncated, 1);
        let report = capture.hosts[0].paths[0].report;
        assert_eq!(
            (report.verdict, report.stage),
            (StageVerdict::Unknown, stage)
        );
    }
}
