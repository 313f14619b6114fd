//! Gathering from one base.

use std::time::{Duration, Instant};

use ice_gather::responder::{Responder, success};
use ice_gather::stun::Header;
use ice_gather::{Base, Bind, BindConfig, BindError, GatherConfig, Progress, StunServer};
use nat_summary::{CandidateKind, NatType, Outcome, Rule};

pub(crate) async fn base() -> Base {
    Base::bind(BindConfig::address([127, 0, 0, 1].into()))
        .await
        .unwrap()
}

async fn cohort(silent: u8) -> (Vec<Responder>, Vec<StunServer>) {
    let responders = Responder::cohort(5, silent).await.unwrap();
    let servers = responders.iter().map(Responder::server).collect();
    (responders, servers)
}

#[tokio::test]
async fn five_servers_answer_one_base_with_one_packet_each() {
    let (responders, servers) = cohort(0).await;
    let base = base().await;
    let gathering = base.gather(&servers, &GatherConfig::default()).await;
    let summary = gathering.evidence.summary();
    assert_eq!(summary.is_natted(), Some(false));
    assert_eq!(
        (summary.nat_type(), summary.rule()),
        (NatType::Unknown, Rule::SeenFromInside),
        "no server of this host knows what is beyond it"
    );
    assert_eq!(summary.counts().bases, 1);
    assert_eq!(gathering.packets_sent, 5);
    assert!(responders.iter().all(|r| r.requests() == 1));
    assert_eq!(
        gathering.candidates.len(),
        1,
        "a reflexive candidate equal to the host candidate is no other"
    );
    assert_eq!(
        gathering
            .servers
            .iter()
            .map(|s| s.server.clone())
            .collect::<Vec<_>>(),
        servers
    );
}

#[tokio::test]
async fn a_dead_server_does_not_cost_five_seconds() {
    let (_responders, servers) = cohort(1).await;
    let base = base().await;
    let gathering = base.gather(&servers, &GatherConfig::default()).await;
    assert!(
        gathering.elapsed < Duration::from_millis(300),
        "{:?}",
        gathering.elapsed
    );
    assert_eq!(gathering.evidence.summary().counts().answered, 4);
    assert_eq!(gathering.packets_sent, 5);
}

#[tokio::test]
async fn a_blocked_network_is_known_at_the_deadline() {
    let (_responders, servers) = cohort(5).await;
    let base = base().await;
    // an address that reaches beyond this host
    base.add_local([192, 168, 1, 5].into());
    let config = GatherConfig::default().with_deadline(Duration::from_millis(600));
    let gathering = base.gather(&servers, &config).await;
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::UdpBlocked);
    assert_eq!(gathering.packets_sent, 10, "at 0 and 250 ms");
    assert!(
        gathering
            .servers
            .iter()
            .all(|s| s.outcome == Outcome::TimedOut && s.sends == 2)
    );
}

#[tokio::test]
async fn an_answer_that_came_while_the_process_stood_still_is_read_before_a_server_counts_as_silent()
 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = StunServer::Address(socket.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut buffer = [0; 1500];
        let (n, source) = socket.recv_from(&mut buffer).unwrap();
        std::thread::sleep(Duration::from_millis(150));
        socket
            .send_to(
                &success(Header::peek(&buffer[..n]).unwrap().id, source),
                source,
            )
            .unwrap();
    });
    let base = base().await;
    let config = GatherConfig::default()
        .with_deadline(Duration::from_millis(400))
        .with_max_sends(1);
    let servers = [server];
    let standing_still = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        std::thread::sleep(Duration::from_secs(1));
    };
    let (gathering, ()) = tokio::join!(base.gather(&servers, &config), standing_still);
    answering.join().unwrap();
    assert_eq!(gathering.servers[0].outcome, Outcome::Answered);
    assert_eq!(
        gathering.evidence.summary().is_natted(),
        Some(false),
        "and not blocked"
    );
}

#[tokio::test]
async fn a_name_is_resolved_and_a_bad_one_is_unresolved() {
    let (responders, mut servers) = cohort(0).await;
    let local: StunServer = "localhost:9".parse().unwrap();
    servers.truncate(1);
    servers.push("no-such-host.invalid:3478".parse().unwrap());
    servers.push(local);
    let base = base().await;
    let config = GatherConfig::default().with_deadline(Duration::from_millis(700));
    let gathering = base.gather(&servers, &config).await;
    assert_eq!(responders[0].requests(), 1);
    assert_eq!(gathering.evidence.summary().counts().answered, 1);
    let invalid = gathering
        .servers
        .iter()
        .find(|s| s.server == servers[1])
        .unwrap();
    assert_eq!(invalid.outcome, Outcome::Unresolved);
    let resolved = gathering
        .servers
        .iter()
        .find(|s| s.server == "127.0.0.1:9".parse().unwrap())
        .unwrap();
    // no socket listens there: where the system reports it, one packet is enough
    let (sends, outcome) = if cfg!(target_os = "linux") {
        (1, Outcome::Unreachable)
    } else {
        (2, Outcome::TimedOut)
    };
    assert_eq!(
        (resolved.sends, resolved.outcome),
        (sends, outcome),
        "localhost was asked by its address"
    );
}

#[tokio::test]
async fn both_families_are_asked_each_from_its_own_socket() {
    let Ok(v6) = Responder::bind("[::1]:0").await else {
        eprintln!("skipped: no IPv6 on the loopback interface");
        return;
    };
    let v4 = Responder::bind("127.0.0.1:0").await.unwrap();
    let config = BindConfig::address([127, 0, 0, 1].into())
        .with_address(std::net::Ipv6Addr::LOCALHOST.into());
    let base = Base::bind(config).await.unwrap();
    assert_eq!(base.local_addrs().count(), 2);
    let gathering = base
        .gather(&[v4.server(), v6.server()], &GatherConfig::default())
        .await;
    let summary = gathering.evidence.summary();
    assert_eq!(summary.counts().bases, 2);
    assert_eq!(
        summary.bases().filter(|b| b.natted == Some(false)).count(),
        2
    );
    assert_eq!(
        gathering
            .candidates
            .iter()
            .filter(|c| c.kind == CandidateKind::Host)
            .count(),
        2
    );
}

#[tokio::test]
async fn a_base_is_never_bound_to_the_wildcard_address() {
    let config = BindConfig::address([0, 0, 0, 0].into());
    assert_eq!(Base::bind(config).await.unwrap_err(), BindError::Wildcard);
}

#[tokio::test]
async fn a_port_range_and_a_family_are_kept_to() {
    let config = BindConfig::address([127, 0, 0, 1].into()).with_ports(41_000..=41_009);
    let mut bases = Vec::new();
    let mut ports = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let base = Base::bind(config.clone()).await.unwrap();
        ports.extend(base.local_addrs().map(|local| local.port()));
        bases.push(base);
    }
    assert_eq!(
        ports.into_iter().collect::<Vec<_>>(),
        (41_000..=41_009).collect::<Vec<u16>>()
    );
    assert_eq!(
        Base::bind(config.clone()).await.unwrap_err(),
        BindError::Socket(std::io::ErrorKind::AddrInUse),
        "all ten are taken"
    );
    let reversed =
        BindConfig::address([127, 0, 0, 1].into()).with_ports(std::ops::RangeInclusive::new(9, 8));
    assert_eq!(
        Base::bind(reversed).await.unwrap_err(),
        BindError::NoAddress
    );
    let wrong = BindConfig::address([127, 0, 0, 1].into())
        .with_ipv4(Bind::Address(std::net::Ipv6Addr::LOCALHOST.into()));
    assert_eq!(Base::bind(wrong).await.unwrap_err(), BindError::Family);
}

#[tokio::test]
async fn an_interface_is_bound_by_name() {
    let config = BindConfig::interface("lo").with_ipv6(Bind::Off);
    let base = Base::bind(config).await.unwrap();
    assert!(base.local_addrs().all(|local| local.ip().is_loopback()));
    let nowhere = BindConfig::interface("no-such-interface");
    assert_eq!(Base::bind(nowhere).await.unwrap_err(), BindError::NoAddress);
}

#[tokio::test]
async fn a_wildcard_socket_learns_its_address_from_the_route() {
    let config = BindConfig::wildcard().with_ipv6(Bind::Off);
    let Ok(base) = Base::bind(config).await else {
        eprintln!("skipped: no default route");
        return;
    };
    let (_responders, servers) = cohort(0).await;
    let gathering = base.gather(&servers, &GatherConfig::default()).await;
    // the kernel picks 127.0.0.1 toward other loopback addresses
    let learnt: Vec<_> = gathering.servers.iter().filter_map(|s| s.base).collect();
    assert!(
        learnt
            .iter()
            .all(|base| base.ip() == std::net::Ipv4Addr::LOCALHOST),
        "{learnt:?}"
    );
    assert_eq!(gathering.evidence.summary().is_natted(), Some(false));
    assert!(
        base.local_addrs().all(|local| !local.ip().is_unspecified()),
        "the agent has a real address"
    );
}

#[tokio::test]
async fn candidates_and_answers_are_reported_as_they_come_each_once() {
    let (_responders, servers) = cohort(1).await;
    let base = base().await;
    let mut reported = Vec::new();
    let gathering = base
        .gather_with(&servers, &GatherConfig::default(), |progress| {
            reported.push(progress)
        })
        .await;
    assert!(
        matches!(&reported[0], Progress::Candidate(c) if c.kind == CandidateKind::Host),
        "the host candidate is first"
    );
    let candidates: Vec<_> = reported
        .iter()
        .filter_map(|p| {
            if let Progress::Candidate(c) = p {
                Some(c.clone())
            } else {
                None
            }
        })
        .collect();
    assert_eq!(candidates, gathering.candidates);
    let answered = reported
        .iter()
        .filter(|p| matches!(p, Progress::Server(s) if s.outcome == Outcome::Answered))
        .count();
    assert_eq!(answered, 4);
}

#[tokio::test]
async fn a_cancelled_gathering_keeps_its_observations_and_sends_no_more() {
    let (responders, servers) = cohort(4).await;
    let base = base().await;
    let config = GatherConfig::default();
    let gather = base.gather(&servers, &config);
    assert!(
        tokio::time::timeout(Duration::from_millis(60), gather)
            .await
            .is_err()
    );
    let before: u64 = responders.iter().map(Responder::requests).sum();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(
        before,
        responders.iter().map(Responder::requests).sum::<u64>()
    );
    assert!(base.has_asked());
    assert_eq!(base.summary().counts().answered, 1);
    assert_eq!(base.summary().is_natted(), Some(false));
}

#[tokio::test]
async fn asking_again_supersedes_the_older_answers() {
    let (_responders, servers) = cohort(0).await;
    let base = base().await;
    let first = base.gather(&servers, &GatherConfig::default()).await;
    let second = base.gather(&servers, &GatherConfig::default()).await;
    assert_eq!((first.packets_sent, second.packets_sent), (5, 5));
    assert_eq!(second.evidence.observations().len(), 5);
    let oldest = second
        .evidence
        .observations()
        .map(|o| o.sequence)
        .min()
        .unwrap();
    assert!(oldest >= 5, "{oldest}");
}

#[tokio::test]
async fn time_without_answers_is_spent_waiting_not_polling() {
    let (_responders, servers) = cohort(5).await;
    let base = base().await;
    let config = GatherConfig::default().with_deadline(Duration::from_millis(400));
    let started = Instant::now();
    let cpu = cpu_ticks();
    base.gather(&servers, &config).await;
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert!(cpu_ticks() - cpu < 20, "busy loop");
}

/// Time this thread ran, in ticks of 10 ms.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
