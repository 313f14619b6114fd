//! One small gathering for each rule that the first edition got wrong, where no vector has it.

use std::net::{IpAddr, SocketAddr};

use nat_summary::FilteringSeen;

use nat_worlds::door;
use nat_worlds::plain::{
    Allocates, Checked, Door, End, Expect, Facts, Kind, List, Listed, ListedKind, Maps, Seen,
    Server, Verdict,
};

const BASE: &str = "192.168.1.5:50000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn server(text: &str) -> Server {
    Server::At(at(text))
}

/// A host with these addresses, whose servers saw these mappings of one base, in this order.
fn seen(base: &str, locals: &[&str], seen: &[(&str, &str)]) -> Facts {
    let seen = (0..).zip(seen).map(|(sequence, (from, mapped))| Seen {
        base: at(base),
        server: server(from),
        mapped: at(mapped),
        sequence,
        resent: false,
    });
    Facts {
        locals: locals.iter().map(|ip| ip.parse().unwrap()).collect(),
        seen: seen.collect(),
        ..Facts::default()
    }
}

/// A host with these addresses, whose requests ended like this.
fn ended(locals: &[&str], asked: &[(&str, End)]) -> Facts {
    Facts {
        asked: asked.iter().map(|(to, end)| (server(to), *end)).collect(),
        ..seen(BASE, locals, &[])
    }
}

fn judged(facts: &Facts) -> Verdict {
    door::verdict(&door::evidence(facts))
}

const SILENT: [(&str, End); 2] = [
    ("198.51.100.1:3478", End::TimedOut),
    ("198.51.100.2:3478", End::TimedOut),
];

#[test]
fn servers_inside_a_symmetric_nat_never_show_an_open_host_and_a_late_answer_changes_the_verdict() {
    let inner = [("192.168.1.9:3478", BASE), ("192.168.1.10:3478", BASE)];
    assert_eq!(
        judged(&seen(BASE, &["192.168.1.5"], &inner)).kind,
        Kind::Unknown
    );
    let outer = [
        ("198.51.100.1:3478", "203.0.113.7:41000"),
        ("198.51.100.2:3478", "203.0.113.7:41001"),
    ];
    let all: Vec<_> = inner.into_iter().chain(outer).collect();
    assert_eq!(
        judged(&seen(BASE, &["192.168.1.5"], &all)).kind,
        Kind::Symmetric
    );
}

#[test]
fn two_silent_servers_of_a_family_with_a_way_out_are_blocked() {
    assert_eq!(
        judged(&ended(&["192.168.1.5"], &SILENT)).kind,
        Kind::Blocked
    );
}

#[test]
fn silence_after_one_copy_or_a_short_wait_is_no_firewall() {
    let brief = SILENT.map(|(to, _)| (to, End::Brief));
    assert_eq!(judged(&ended(&["192.168.1.5"], &brief)).kind, Kind::Unknown);
}

#[test]
fn servers_of_a_family_without_a_way_out_are_not_silent() {
    for locals in [&["2001:db8::5"][..], &["169.254.3.4"], &["127.0.0.1"], &[]] {
        assert_eq!(
            judged(&ended(locals, &SILENT)).kind,
            Kind::Unknown,
            "{locals:?}"
        );
    }
}

#[test]
fn an_icmp_error_of_a_server_is_a_sign_of_life() {
    let asked = [SILENT[0], SILENT[1], ("198.51.100.3:3478", End::Closed)];
    assert_eq!(judged(&ended(&["192.168.1.5"], &asked)).kind, Kind::Unknown);
}

#[test]
fn an_answer_that_had_to_be_rejected_is_a_sign_of_life() {
    let facts = Facts {
        rejected: 1,
        ..ended(&["192.168.1.5"], &SILENT)
    };
    assert_eq!(judged(&facts).kind, Kind::Unknown);
}

#[test]
fn addresses_of_a_sink_hole_are_not_asked_and_not_silent() {
    let asked = [
        ("0.0.0.0:3478", End::TimedOut),
        ("[::]:3478", End::TimedOut),
    ];
    let locals = ["192.168.1.5", "2001:db8::5"];
    assert_eq!(judged(&ended(&locals, &asked)).kind, Kind::Unknown);
}

/// 100.64.3.7 read as XORed is 69.82.167.69, a global address.
#[test]
fn one_plain_address_that_is_read_as_xored_does_not_outrank_two_that_agree() {
    let facts = seen(
        BASE,
        &["192.168.1.5"],
        &[
            ("100.64.0.1:3478", "100.64.3.7:50000"),
            ("100.64.0.2:3478", "100.64.3.7:50000"),
            ("100.64.0.3:3478", "69.82.167.69:57922"),
        ],
    );
    let verdict = judged(&facts);
    assert_eq!(verdict.external(), "100.64.3.7".parse().ok());
    assert_eq!(
        verdict.kind,
        Kind::Unknown,
        "nobody inside knows what the next NAT does"
    );
}

#[test]
fn one_liar_does_not_put_a_nat_in_front_of_a_host_that_two_servers_saw_as_it_is() {
    let base = "203.0.113.7:50000";
    let facts = seen(
        base,
        &["203.0.113.7"],
        &[
            ("198.51.100.1:3478", base),
            ("198.51.100.2:3478", base),
            ("198.51.100.3:3478", "192.0.2.9:4242"),
        ],
    );
    let verdict = judged(&facts);
    assert_eq!(
        (verdict.kind, verdict.maps()),
        (Kind::Unknown, Maps::Unknown)
    );
    assert_eq!(verdict.natted(), None);
    assert_eq!(verdict.external(), "203.0.113.7".parse().ok());
}

#[test]
fn one_liar_about_the_port_contradicts_two_servers_inside_that_saw_the_host_itself() {
    let inner = [
        ("192.168.1.9:3478", BASE),
        ("192.168.1.10:3478", BASE),
        ("192.168.1.11:3478", "192.168.1.5:6012"),
    ];
    let verdict = judged(&seen(BASE, &["192.168.1.5"], &inner));
    assert_eq!((verdict.rule, verdict.natted()), ("contradictory", None));
    // one server that saw the host itself is no evidence of how another one's NAT maps
    let ports = [
        ("192.168.1.9:3478", BASE),
        ("192.168.1.9:3479", "192.168.1.5:6012"),
    ];
    let verdict = judged(&seen(BASE, &["192.168.1.5"], &ports));
    assert_eq!(
        (verdict.kind, verdict.maps()),
        (Kind::Unknown, Maps::Unknown)
    );
}

#[test]
fn of_a_private_and_a_global_address_of_the_host_the_global_one_was_seen_from_outside() {
    let (wildcard, global) = ("0.0.0.0:50000", "203.0.113.7:50000");
    let locals = ["192.168.1.5", "203.0.113.7"];
    let both = [("192.168.1.9:3478", BASE), ("198.51.100.1:3478", global)];
    let verdict = judged(&seen(wildcard, &locals, &both));
    assert_eq!((verdict.kind, verdict.natted()), (Kind::Open, Some(false)));
    assert_eq!(verdict.external(), "203.0.113.7".parse().ok());
}

#[test]
fn a_socket_that_is_seen_at_another_address_of_its_host_is_not_known_to_be_open() {
    let elsewhere = [
        ("198.51.100.1:3478", "203.0.113.7:50000"),
        ("198.51.100.2:3478", "203.0.113.7:50000"),
    ];
    let locals = ["192.168.1.5", "203.0.113.7"];
    let verdict = judged(&seen(BASE, &locals, &elsewhere));
    assert_eq!((verdict.kind, verdict.natted()), (Kind::Unknown, None));
    assert_eq!(verdict.maps(), Maps::Independent);
    assert_eq!(verdict.rule, "locals_unknown");
    let as_sent = [("198.51.100.1:3478", "203.0.113.7:50000")];
    let verdict = judged(&seen("203.0.113.7:50000", &locals, &as_sent));
    assert_eq!(verdict.kind, Kind::Open);
}

/// 64 servers see the base itself, and the last one another address.
fn flood(last: &str) -> Facts {
    let base = "203.0.113.7:50000";
    let mut facts = seen(base, &["203.0.113.7"], &[]);
    for n in 0..=64 {
        let ip: IpAddr = [198, 51, 100, n].into();
        facts.seen.push(Seen {
            base: at(base),
            server: Server::At((ip, 3478).into()),
            mapped: at(if n == 64 { last } else { base }),
            sequence: n.into(),
            resent: false,
        });
    }
    facts
}

#[test]
fn an_answer_without_room_may_have_crossed_a_nat() {
    let verdict = judged(&flood("192.0.2.9:41000"));
    assert_eq!((verdict.kind, verdict.natted()), (Kind::Unknown, None));
    assert_eq!((verdict.maps(), verdict.port_kept()), (Maps::Unknown, None));
}

#[test]
fn a_base_that_lost_answers_is_not_whole_again_when_others_are_forgotten() {
    let mut evidence = door::evidence(&flood("192.0.2.9:41000"));
    door::forget_before(&mut evidence, 60);
    let verdict = door::verdict(&evidence);
    assert_eq!((verdict.kind, verdict.natted()), (Kind::Unknown, None));
    assert_eq!((verdict.maps(), verdict.port_kept()), (Maps::Unknown, None));
}

fn reflexive(port: u16, session: &'static str) -> Listed {
    Listed {
        kind: ListedKind::Reflexive(at(BASE)),
        address: Some(SocketAddr::new([203, 0, 113, 7].into(), port)),
        server: Server::Unnamed,
        session: Some(session),
    }
}

#[test]
fn candidates_of_two_sessions_on_one_socket_are_never_compared() {
    for door in [Door::Values, Door::Text] {
        let of = |sessions: [&'static str; 2]| List {
            door,
            candidates: vec![
                reflexive(41_000, sessions[0]),
                reflexive(41_001, sessions[1]),
            ],
            asked: None,
        };
        let kind = |list: List| door::verdict(&door::list(&list)).kind;
        assert_eq!(kind(of(["aaaa", "aaaa"])), Kind::Symmetric, "{door:?}");
        assert_eq!(kind(of(["aaaa", "bbbb"])), Kind::Unknown, "{door:?}");
    }
}

#[test]
fn requests_that_were_sent_again_do_not_show_the_order_of_ports() {
    let mut facts = seen(
        BASE,
        &["192.168.1.5"],
        &[
            ("198.51.100.1:3478", "203.0.113.7:41002"),
            ("198.51.100.2:3478", "203.0.113.7:41001"),
            ("198.51.100.3:3478", "203.0.113.7:41000"),
        ],
    );
    let allocates = |facts: &Facts| judged(facts).bases[0].allocates;
    assert_eq!(allocates(&facts), Allocates::Sequential(-1));
    // an allocator that counts up, and the first two answered late
    facts.seen[0].resent = true;
    facts.seen[1].resent = true;
    assert_eq!(allocates(&facts), Allocates::Unknown);
}

#[test]
fn the_translator_of_a_phone_has_a_scope_of_its_own() {
    let clat = door::scope("192.0.0.4");
    for other in ["192.0.0.8", "192.168.1.5", "203.0.113.7"] {
        assert_ne!(clat, door::scope(other), "{other}");
    }
    assert_eq!(clat, door::scope("192.0.0.7"));
}

#[test]
fn a_check_that_came_in_proves_a_filtering_only_where_its_sender_saw_the_nat() {
    let facts = seen(
        BASE,
        &["192.168.1.5"],
        &[
            ("198.51.100.1:3478", "203.0.113.7:50000"),
            ("198.51.100.2:3478", "203.0.113.7:50000"),
        ],
    );
    let source = at("192.0.2.9:40000");
    let filtering = |reported| door::filtering(&facts, at(BASE), source, reported);
    assert_eq!(filtering(None), FilteringSeen::Unobserved);
    assert_eq!(filtering(Some(at(BASE))), FilteringSeen::Unobserved);
    let crossed = Some(at("203.0.113.7:50000"));
    assert_eq!(filtering(crossed), FilteringSeen::Independent);
}

/// Symmetric in IPv4, open in IPv6.
fn dual_stack(host: u8) -> Facts {
    let external = |port| format!("203.0.113.{host}:{port}");
    let base6 = format!("[2001:db8::{host}]:50000");
    let local6 = format!("2001:db8::{host}");
    let base4 = format!("10.0.{host}.5:50000");
    let local4 = format!("10.0.{host}.5");
    let mut facts = seen(
        &base4,
        &[&local4, &local6],
        &[
            ("198.51.100.1:3478", &external(41_000)),
            ("198.51.100.2:3478", &external(41_001)),
            ("198.51.100.3:3478", &external(41_002)),
        ],
    );
    let servers = ["[2001:db8:9::1]:3478", "[2001:db8:9::2]:3478"];
    let in_v6 = servers.map(|server| (server, base6.as_str()));
    facts.seen.extend(seen(&base6, &[], &in_v6).seen);
    facts
}

#[test]
fn two_hosts_that_are_open_in_ipv6_need_no_relay_though_both_are_symmetric_in_ipv4() {
    let (ours, theirs) = (dual_stack(7), dual_stack(8));
    let (expect, reason) = door::outlook((&ours, None), (&theirs, None));
    assert_eq!(expect, Expect::Direct, "{reason}");
}

#[test]
fn both_symmetric_is_no_cause_where_another_family_was_there() {
    let (ours, theirs) = (dual_stack(7), dual_stack(8));
    let host = |ip: &IpAddr| Listed {
        kind: ListedKind::Host,
        address: Some(SocketAddr::new(*ip, 50_000)),
        server: Server::Unnamed,
        session: None,
    };
    let mapped = |seen: &Seen| Listed {
        kind: ListedKind::Reflexive(seen.base),
        address: Some(seen.mapped),
        server: Server::Unnamed,
        session: None,
    };
    let reflexive = theirs.seen.iter().filter(|seen| seen.mapped.is_ipv4());
    let list = |candidates: Vec<Listed>| List {
        door: Door::Values,
        candidates,
        asked: None,
    };
    let silence = Checked {
        sent: 9,
        ..Checked::default()
    };
    let all = theirs.locals.iter().map(host).chain(reflexive.map(mapped));
    let all: Vec<_> = all.collect();
    let cause = |ours: &Facts, list: &List| door::cause((ours, None), list, silence);
    assert_ne!(cause(&ours, &list(all.clone())), "both_symmetric");
    let is_v4 = |listed: &&Listed| listed.address.is_some_and(|address| address.is_ipv4());
    let v4: Vec<_> = all.iter().filter(is_v4).cloned().collect();
    assert_eq!(cause(&ours, &list(v4)), "both_symmetric");
}
