#![allow(missing_docs)]
use nat_summary::*;
use std::net::{IpAddr, SocketAddr};
fn sa(s: &str) -> SocketAddr { s.parse().unwrap() }
fn ob(base: &str, server: &str, mapped: &str, sequence: u32) -> Observation {
    Observation { base: sa(base), server: sa(server).into(), mapped: sa(mapped), sequence }
}
fn ev(locals: &[&str], obs: &[(&str, &str, &str)]) -> Evidence {
    let mut e = Evidence::new();
    for l in locals { e.add_local(l.parse::<IpAddr>().unwrap()); }
    for (i, (b, s, m)) in obs.iter().enumerate() { e.observe(ob(b, s, m, i as u32)); }
    e
}
fn show(name: &str, e: &Evidence) {
    let s = e.summary();
    println!("{name}: {:?} rule {:?} natted {:?} map {:?} pool {:?} alloc {:?} ext {:?} aside {}", s.nat_type(), s.rule(), s.is_natted(), s.mapping(), s.pooling(), s.port_allocation(), s.external_ip(), s.counts().set_aside);
}
#[test]
fn all() {
    // 1 one server, direct and via NAT64
    show("nat64 twice wildcard", &ev(&["2001:db8::5", "192.168.1.5"], &[("[::]:50000","198.51.100.1:3478","203.0.113.7:50000"),("[::]:50000","[64:ff9b::c633:6401]:3478","203.0.113.7:50000")]));
    show("nat64 twice concrete", &ev(&["2001:db8::5"], &[("[2001:db8::5]:50000","198.51.100.1:3478","203.0.113.7:50000"),("[2001:db8::5]:50000","[64:ff9b::c633:6401]:3478","203.0.113.7:50000")]));
    // 2 loopback
    show("loopback", &ev(&["192.168.1.5"], &[("0.0.0.0:50000","127.0.0.1:3478","127.0.0.1:50000"),("0.0.0.0:50000","127.0.0.2:3478","127.0.0.1:50000")]));
    show("loopback differ", &ev(&["192.168.1.5"], &[("0.0.0.0:50000","127.0.0.1:3478","127.0.0.1:50000"),("0.0.0.0:50000","192.168.1.5:3478","192.168.1.5:50000")]));
    show("loopback2 symmetric?", &ev(&["192.168.1.5"], &[("0.0.0.0:50000","127.0.0.1:3478","127.0.0.1:50000"),("0.0.0.0:50000","192.168.1.1:3478","192.168.1.6:50000")]));
    show("link local", &ev(&["2001:db8::5"], &[("[::]:50000","[fe80::1]:3478","[fe80::5]:50000"),("[::]:50000","[fd00::1]:3478","[fd00::5]:50000")]));
    // 3 blocked
    for (a,b) in [("127.0.0.1:3478","198.51.100.1:3478"),("192.168.1.250:3478","192.168.1.251:3478"),("0.0.0.1:3478","198.51.100.1:3478"),("169.254.1.1:3478","198.51.100.1:3478"),("240.0.0.1:3478","198.51.100.1:3478"),("192.168.1.5:3478","198.51.100.1:3478")] {
        let mut e = ev(&["192.168.1.5"], &[]);
        for s in [a,b] { e.record_outcome(sa(s).into(), Outcome::TimedOut); }
        show(&format!("blocked {a} {b}"), &e);
    }
    let mut e = ev(&["2001:db8::5"], &[]);
    for s in ["[64:ff9b::c633:6401]:3478","[64:ff9b::c633:6401]:3479", "[2001:db8:1::1]:3478"] { e.record_outcome(sa(s).into(), Outcome::TimedOut); }
    show("v6 blocked", &e);
    // 4 outlook nat64
    let ours = ev(&["2001:db8:1::5"], &[("[2001:db8:1::5]:50000","[64:ff9b::c633:6401]:3478","203.0.113.7:1001"),("[2001:db8:1::5]:50000","[64:ff9b::c633:6402]:3478","203.0.113.7:1002")]);
    let theirs = ev(&["2001:db8:2::5"], &[("[2001:db8:2::5]:50000","[64:ff9b::c633:6401]:3478","198.51.100.7:1001"),("[2001:db8:2::5]:50000","[64:ff9b::c633:6402]:3478","198.51.100.7:1002")]);
    show("nat64 sym", &ours);
    println!("outlook nat64 {:?}", Outlook::between(&ours.summary(), &theirs.summary()));
    let peer = "candidate:1 1 udp 1 a.local 50000 typ host
candidate:2 1 udp 1 198.51.100.7 41000 typ srflx raddr 0.0.0.0 rport 50000
candidate:3 1 udp 1 198.51.100.7 41001 typ srflx raddr 0.0.0.0 rport 50000";
    let checks = Checks { sent: 9, ..Checks::default() };
    println!("cause nat64, hidden peer {:?}", FailureCause::of(&ours.summary(), Some(&Evidence::from_text(peer)), checks, false));
    // control: the same with v6 local, and IPv4 base
    let ctl = ev(&["2001:db8:1::5","192.168.1.5"], &[("192.168.1.5:50000","198.51.100.1:3478","203.0.113.7:1001"),("192.168.1.5:50000","198.51.100.2:3478","203.0.113.7:1002")]);
    println!("cause ctl {:?}", FailureCause::of(&ctl.summary(), Some(&Evidence::from_text(peer)), checks, false));
    // 5 near: wildcard base / local that is no base
    let near = "candidate:1 1 udp 1 192.168.1.7 50000 typ host
candidate:2 1 udp 1 198.51.100.7 41000 typ srflx raddr 192.168.1.7 rport 50000
candidate:3 1 udp 1 198.51.100.7 41001 typ srflx raddr 192.168.1.7 rport 50000";
    for (n, o) in [("wild", ev(&["192.168.1.5"], &[("0.0.0.0:50000","198.51.100.1:3478","203.0.113.7:1001"),("0.0.0.0:50000","198.51.100.2:3478","203.0.113.7:1002")])),
      ("other local", ev(&["192.168.1.5","10.8.0.5"], &[("10.8.0.5:50000","198.51.100.1:3478","203.0.113.7:1001"),("10.8.0.5:50000","198.51.100.2:3478","203.0.113.7:1002")]))] {
        let t = Evidence::from_text(near);
        println!("near {n}: {:?}", FailureCause::of(&o.summary(), Some(&t), checks, false));
        let pe = PeerEvidence::new();
        let v = AttemptEvidence::new(&o).with_peer_checks(PeerChecks{evidence:&pe, checks, rebindings:0, survived:None}).with_peer_candidates(&t).with_path(PathEnd::NoPair).verdict();
        println!("   attempt {:?}", v.peer.unwrap().cause);
    }
    // 6 outstanding
    let e = ev(&[], &[("192.168.1.5:50000","198.51.100.1:3478","203.0.113.7:50001"),("192.168.1.5:50000","198.51.100.2:3478","203.0.113.7:50002")]);
    let base = sa("192.168.1.5:50000");
    println!("outstanding other port by name {:?}", e.outstanding([PendingRequest{base, server: ServerId::Name(0,0)}]));
    let e = ev(&[], &[("192.168.1.5:50000","198.51.100.1:3478","198.51.100.3:6000"),("192.168.1.5:50000","198.51.100.2:3478","203.0.113.7:50002")]);
    println!("outstanding proxy of a pending {:?}", e.outstanding([PendingRequest{base, server: sa("198.51.100.3:3478").into()},PendingRequest{base, server: sa("198.51.100.4:3478").into()}]));
    let e = ev(&[], &[("0.0.0.0:50000","198.51.100.1:3478","203.0.113.7:50001"),("0.0.0.0:50000","198.51.100.2:3478","203.0.113.7:50002")]);
    println!("outstanding wildcard {:?}", e.outstanding([PendingRequest{base: sa("0.0.0.0:50000"), server: sa("198.51.100.3:3478").into()}]));
    // 7 pooling own
    show("pool", &ev(&["203.0.113.5"], &[("203.0.113.5:1","198.51.100.1:1","192.0.2.9:1"),("203.0.113.5:1","198.51.100.2:1","192.0.2.9:1"),("203.0.113.5:2","198.51.100.3:1","203.0.113.5:2")]));
    // 8 liar known on another base
    show("liar two bases", &ev(&["10.0.0.5"], &[("10.0.0.5:1","198.51.100.1:1","203.0.113.7:1"),("10.0.0.5:1","198.51.100.2:1","203.0.113.7:1"),("10.0.0.5:1","198.51.100.3:1","192.0.2.99:7"),("10.0.0.5:2","198.51.100.1:1","203.0.113.7:2"),("10.0.0.5:2","198.51.100.3:1","192.0.2.99:8")]));
    // 9 outer proxies in v6
    show("ula by global", &ev(&["fd00::5"], &[("[fd00::5]:1","[2001:db8::1]:1","[fd00::5]:1"),("[fd00::5]:1","[2001:db8::2]:1","[fd00::5]:1")]));
    show("npt", &ev(&["fd00::5"], &[("[fd00::5]:1","[2001:db8::1]:1","[2001:db8:9::5]:1"),("[fd00::5]:1","[2001:db8::2]:1","[2001:db8:9::5]:1")]));
    show("clat", &ev(&["192.0.0.4"], &[("192.0.0.4:1","198.51.100.1:1","203.0.113.7:1"),("192.0.0.4:1","198.51.100.2:1","203.0.113.7:1")]));
    show("nat64 own prefix mix", &ev(&["2001:db8::5"], &[("[2001:db8::5]:1","[64:ff9b:1::c633:6401]:1","203.0.113.7:1"),("[2001:db8::5]:1","[64:ff9b:1::c633:6402]:1","203.0.113.7:1"),("[2001:db8::5]:1","[64:ff9b::c633:6403]:1","203.0.113.7:2")]));
    // 10 mapped v4-mapped etc.
    show("6to4 etc", &ev(&["2001:db8::5"], &[("[2001:db8::5]:1","[2001:db8:1::1]:1","[64:ff9b::cb00:7107]:1"),("[2001:db8::5]:1","[2001:db8:1::2]:1","[64:ff9b::cb00:7107]:1")]));
}
