//! Two agents on real sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ice_gather::responder::Responder;
use ice_gather::{
    AgentConfig, AgentError, Base, BindConfig, ConnectError, Credentials, Dropped, GatherConfig,
    GatheredCandidate, Gathering, IceAgent, IceConn, IceEvent, IceState, Policy, RemoteCandidate,
    RemoteDescription, RemoteError, Role, SendError,
};
use nat_summary::{CandidateKind, Outcome};
use tokio::net::UdpSocket;

use crate::gather::base;

pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

pub(crate) fn description(base: &Base, agent: &IceAgent) -> RemoteDescription {
    let candidates = base
        .local_addrs()
        .map(|address| RemoteCandidate {
            address,
            kind: CandidateKind::Host,
            priority: 2_130_706_431,
        })
        .collect();
    RemoteDescription {
        credentials: agent.credentials().clone(),
        candidates,
    }
}

async fn pair_on(left: Base, right: Base) -> ((IceAgent, IceConn), (IceAgent, IceConn)) {
    pair_with(AgentConfig::default(), left, right).await
}

async fn pair_with(
    config: AgentConfig,
    left: Base,
    right: Base,
) -> ((IceAgent, IceConn), (IceAgent, IceConn)) {
    let mut a = IceAgent::new(&left, Role::Controlling, config)
        .await
        .unwrap();
    let mut b = IceAgent::new(&right, Role::Controlled, config)
        .await
        .unwrap();
    let (to_a, to_b) = (description(&left, &a), description(&right, &b));
    let (conn_a, conn_b) = tokio::join!(a.connect(to_b, DEADLINE), b.connect(to_a, DEADLINE));
    ((a, conn_a.unwrap()), (b, conn_b.unwrap()))
}

async fn exchange(from: &IceConn, to: &IceConn) {
    let mut buffer = [0; 1500];
    for n in 0..100_u8 {
        from.send(&[0x80, n]).await.unwrap();
        let received = tokio::time::timeout(DEADLINE, to.recv(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&buffer[..received], [0x80, n]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_go_both_ways() {
    let ((a, conn_a), (b, conn_b)) = pair_on(base().await, base().await).await;
    exchange(&conn_a, &conn_b).await;
    exchange(&conn_b, &conn_a).await;
    // the library would neither send nor hand on a datagram with the cookie, be it DTLS, channel data
    // or RTP by its first byte
    for first in [0, 0x14, 0x40, 0x80, 0xff] {
        let mut datagram = [
            first, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(
            conn_a.send(&datagram).await,
            Err(SendError::LooksLikeStun),
            "{first}"
        );
        assert_eq!(conn_a.send(&datagram[..19]).await, Ok(()));
        datagram[4] ^= 1;
        assert_eq!(conn_a.send(&datagram).await, Ok(()));
        for length in [19, 20] {
            let received = tokio::time::timeout(DEADLINE, conn_b.recv(&mut [0; 1500]))
                .await
                .unwrap();
            assert_eq!(received, Some(length), "{first}");
        }
    }
    assert_eq!(
        a.selected_pair(),
        Some((CandidateKind::Host, CandidateKind::Host))
    );
    a.close().await;
    assert_eq!(*conn_a.state().borrow(), IceState::Closed);
    assert_eq!(conn_a.recv(&mut [0; 9]).await, None);
    assert_eq!(conn_a.send(b"late").await, Err(SendError::Closed));
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_closes_or_drops_its_agent_is_gone_at_once() {
    for role in [Role::Controlling, Role::Controlled] {
        for is_closed in [true, false] {
            let (a, b) = pair_on(base().await, base().await).await;
            let (leaving, staying) = match role {
                Role::Controlling => (a, b),
                Role::Controlled => (b, a),
            };
            let left = Instant::now();
            if is_closed {
                leaving.0.close().await;
            } else {
                drop(leaving);
            }
            let mut buffer = [0; 9];
            let end = tokio::time::timeout(DEADLINE, staying.1.recv(&mut buffer));
            assert_eq!(end.await.unwrap(), None);
            assert_eq!(*staying.1.state().borrow(), IceState::Failed);
            assert!(left.elapsed() < DEADLINE / 5, "{:?}", left.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_cannot_say_goodbye_for_a_peer() {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let (left, right) = (
        Base::from_carrier(Arc::clone(&socket)).unwrap(),
        base().await,
    );
    let target = right.local_addrs().next().unwrap();
    let ((_a, conn_a), (_b, conn_b)) = pair_on(left, right).await;
    // from the address of the peer, as a spoofed source would be: a goodbye without a signature, and
    // with the attribute behind a signature of 20 zero bytes
    let attribute = [0xE6, 0xBD, 0, 0];
    let unsigned = attribute.to_vec();
    let badly_signed = [&attribute[..], &[0, 8, 0, 20], &[0; 20]].concat();
    for attributes in [unsigned, badly_signed] {
        let header = [0, 0x11, 0, attributes.len() as u8, 0x21, 0x12, 0xA4, 0x42];
        let datagram = [&header[..], &[7; 12], &attributes].concat();
        socket.send_to(&datagram, target).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(*conn_b.state().borrow(), IceState::Connected);
    exchange(&conn_a, &conn_b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datagram_longer_than_the_readers_buffer_is_dropped_and_counted_and_the_next_one_read() {
    let right = base().await;
    let ((_a, conn_a), (b, conn_b)) = pair_on(base().await, right.clone()).await;
    let send = async {
        conn_a.send(&[0x80; 2_000]).await.unwrap();
        conn_a.send(b"\x80five").await.unwrap();
    };
    let mut buffer = [0; 1500];
    // a reader that waits already, and one that finds them waiting
    let (received, ()) = tokio::join!(
        tokio::time::timeout(DEADLINE, conn_b.recv(&mut buffer)),
        async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            send.await;
            conn_a.send(&[0x80; 2_000]).await.unwrap();
            conn_a.send(b"\x80six").await.unwrap();
        }
    );
    assert_eq!(received.unwrap(), Some(5));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(
        tokio::time::timeout(DEADLINE, conn_b.recv(&mut buffer))
            .await
            .unwrap(),
        Some(4)
    );
    assert_eq!(right.dropped().overlong, 2);
    // and the end is still the end
    b.close().await;
    assert_eq!(
        tokio::time::timeout(DEADLINE, conn_b.recv(&mut buffer))
            .await
            .unwrap(),
        None
    );
}

/// Two kinds of servers, which are asked for half a second.
async fn keep_fresh(base: Base, honest: &Responder) -> Gathering {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = GatherConfig::default()
        .with_policy(Policy::All)
        .with_deadline(Duration::from_millis(500));
    base.gather(
        &[honest.server(), silent.local_addr().unwrap().into()],
        &config,
    )
    .await
}

async fn a_thousand(from: &IceConn, to: &IceConn) {
    let mut buffer = [0; 1500];
    for n in 0..1_000_u16 {
        from.send(&[0x80, (n >> 8) as u8, n as u8]).await.unwrap();
        let received = tokio::time::timeout(DEADLINE, to.recv(&mut buffer))
            .await
            .expect("none is lost")
            .unwrap();
        assert_eq!(&buffer[..received], [0x80, (n >> 8) as u8, n as u8]);
        if n.is_multiple_of(10) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gathering_again_under_a_connected_agent_takes_nothing_of_its_datagrams() {
    let honest = Responder::bind("127.0.0.1:0").await.unwrap();
    let right = base().await;
    let config = AgentConfig::default().with_keepalive_interval(Duration::from_millis(20));
    let ((a, conn_a), (b, conn_b)) = pair_with(config, base().await, right.clone()).await;
    let (gathering, ()) = tokio::join!(
        keep_fresh(right.clone(), &honest),
        a_thousand(&conn_a, &conn_b)
    );
    let outcomes: Vec<_> = gathering
        .servers
        .iter()
        .map(|server| server.outcome)
        .collect();
    assert_eq!(outcomes, [Outcome::Answered, Outcome::TimedOut]);
    let round_trip = gathering.servers[0].round_trip.unwrap();
    assert!(
        round_trip < Duration::from_millis(100),
        "the agent files the answer at once: {round_trip:?}"
    );
    assert_eq!(right.dropped(), Dropped::default());
    // no other reader is left
    a.close().await;
    b.close().await;
    let outcomes: Vec<_> = keep_fresh(right, &honest)
        .await
        .servers
        .iter()
        .map(|server| server.outcome)
        .collect();
    assert_eq!(outcomes, [Outcome::Answered, Outcome::TimedOut]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gathering_that_goes_on_leaves_the_socket_to_the_agent_once_it_connects() {
    let honest = Responder::bind("127.0.0.1:0").await.unwrap();
    let right = base().await;
    let config = AgentConfig::default().with_keepalive_interval(Duration::from_millis(20));
    let (gathering, _pair) = tokio::join!(keep_fresh(right.clone(), &honest), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let pair = pair_with(config, base().await, right.clone()).await;
        a_thousand(&pair.0.1, &pair.1.1).await;
        pair
    });
    let outcomes: Vec<_> = gathering
        .servers
        .iter()
        .map(|server| server.outcome)
        .collect();
    assert_eq!(outcomes, [Outcome::Answered, Outcome::TimedOut]);
    let dropped = right.dropped();
    assert_eq!((dropped.garbage, dropped.unknown_id), (0, 0), "{dropped:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_may_be_silent_for_as_long_as_there_is() {
    let config = AgentConfig::default()
        .with_disconnected_timeout(Duration::MAX)
        .with_failed_timeout(Duration::MAX);
    let ((a, conn_a), (b, conn_b)) = pair_with(config, base().await, base().await).await;
    exchange(&conn_a, &conn_b).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(*conn_a.state().borrow(), IceState::Connected);
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_families_connect_each_on_its_own_socket() {
    let config = BindConfig::address([127, 0, 0, 1].into())
        .with_address(std::net::Ipv6Addr::LOCALHOST.into());
    let (Ok(left), Ok(right)) = (Base::bind(config.clone()).await, Base::bind(config).await) else {
        eprintln!("skipped: no IPv6 on the loopback interface");
        return;
    };
    // the peer is reachable over IPv6 only: the IPv4 socket must not swallow its packets
    let mut a = IceAgent::new(&left, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let mut b = IceAgent::new(&right, Role::Controlled, AgentConfig::default())
        .await
        .unwrap();
    let (mut to_a, mut to_b) = (description(&left, &a), description(&right, &b));
    to_a.candidates.retain(|c| c.address.is_ipv6());
    to_b.candidates.retain(|c| c.address.is_ipv6());
    let (conn_a, conn_b) = tokio::join!(a.connect(to_b, DEADLINE), b.connect(to_a, DEADLINE));
    let (conn_a, conn_b) = (conn_a.unwrap(), conn_b.unwrap());
    exchange(&conn_a, &conn_b).await;
    exchange(&conn_b, &conn_a).await;
}

#[tokio::test]
async fn a_peer_that_never_answers_ends_at_the_deadline() {
    let (left, silent) = (base().await, base().await);
    let mut a = IceAgent::new(&left, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let mut absent = description(&silent, &a);
    absent.credentials = Credentials {
        ufrag: "absent".into(),
        pwd: "x".repeat(32),
    };
    let result = a.connect(absent.clone(), Duration::from_millis(300)).await;
    assert_eq!(result.unwrap_err(), ConnectError::TimedOut);
    assert_eq!(
        a.connect(absent, DEADLINE).await.unwrap_err(),
        ConnectError::Again
    );
    a.close().await;
}

#[tokio::test]
async fn a_base_has_one_agent_and_bad_credentials_are_refused() {
    let base = base().await;
    let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let second = IceAgent::new(&base, Role::Controlling, AgentConfig::default()).await;
    assert_eq!(second.unwrap_err(), AgentError::BaseTaken);
    for (ufrag, pwd) in [("abc", 22), ("abcd", 21), ("", 0)] {
        let credentials = Credentials {
            ufrag: ufrag.into(),
            pwd: "x".repeat(pwd),
        };
        let remote = RemoteDescription {
            credentials,
            candidates: vec![],
        };
        let refused = ConnectError::Remote(RemoteError::Credentials);
        assert_eq!(agent.connect(remote, DEADLINE).await.unwrap_err(), refused);
    }
}

#[test]
fn candidates_no_check_can_go_to_are_left_out() {
    let usable = |line: &str| {
        RemoteCandidate::from_candidate(&nat_summary::Candidate::parse(line).unwrap()).is_some()
    };
    assert!(usable(
        "candidate:1 1 udp 1 203.0.113.7 5 typ srflx raddr 0.0.0.0 rport 0"
    ));
    for line in [
        "candidate:1 2 udp 1 203.0.113.7 5 typ host",
        "candidate:1 1 tcp 1 203.0.113.7 5 typ host tcptype active",
        "candidate:1 1 udp 1 0.0.0.0 5 typ host",
        "candidate:1 1 udp 1 224.0.0.1 5 typ host",
        "candidate:1 1 udp 1 203.0.113.7 0 typ host",
        "candidate:1 1 udp 1 peer.local 5 typ host",
        "candidate:1 1 udp 1 203.0.113.7 5 typ magic",
    ] {
        assert!(!usable(line), "{line}");
    }
}

#[tokio::test]
async fn a_gathered_candidate_writes_a_line_that_reads_back() {
    let base = base().await;
    let gathering = base.gather(&[], &ice_gather::GatherConfig::default()).await;
    let [GatheredCandidate { address, .. }] = &gathering.candidates[..] else {
        panic!("one host candidate")
    };
    let line = gathering.candidates[0].as_candidate().to_string();
    let read = nat_summary::Candidate::parse(&line).unwrap();
    assert_eq!(read.socket_addr(), Some(*address));
    assert_eq!(read.priority, 2_130_706_431);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_tell_of_every_state_of_the_pair_and_of_the_end() {
    let (left, right) = (base().await, base().await);
    let mut a = IceAgent::new(&left, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let mut b = IceAgent::new(&right, Role::Controlled, AgentConfig::default())
        .await
        .unwrap();
    let mut superseded = a.events();
    let mut events = a.events();
    assert_eq!(superseded.recv().await, None);
    let (to_a, to_b) = (description(&left, &a), description(&right, &b));
    let mut seen = Vec::new();
    let answers = async {
        // a check that comes before the candidate has a peer-reflexive source
        seen.extend(events.recv().await);
        b.connect(to_a, DEADLINE).await
    };
    let (conn_a, conn_b) = tokio::join!(a.connect(to_b, DEADLINE), answers);
    assert!(conn_a.is_ok() && conn_b.is_ok());
    // the library reports the pair in a task of its own, and not once it is closed
    let pair = IceEvent::Pair(CandidateKind::Host, CandidateKind::Host);
    while !seen.contains(&pair) {
        seen.push(
            tokio::time::timeout(DEADLINE, events.recv())
                .await
                .unwrap()
                .unwrap(),
        );
    }
    a.close().await;
    while let Some(event) = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap() {
        seen.push(event);
    }
    let states = seen
        .iter()
        .filter(|event| matches!(event, IceEvent::State(_)));
    let expected = [IceState::Checking, IceState::Connected, IceState::Closed].map(IceEvent::State);
    assert!(states.eq(&expected), "{seen:?}");
    assert_eq!(seen.last(), Some(&IceEvent::State(IceState::Closed)));
}

#[tokio::test]
async fn a_candidate_found_by_a_late_answer_is_an_event() {
    let base = base().await;
    let late = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = ice_gather::GatherConfig::default().with_deadline(Duration::from_millis(50));
    base.gather(&[late.local_addr().unwrap().into()], &config)
        .await;
    let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let mut events = agent.events();
    let absent = RemoteDescription {
        credentials: Credentials {
            ufrag: "absent".into(),
            pwd: "x".repeat(32),
        },
        candidates: Vec::new(),
    };
    let mut buffer = [0; 1500];
    let (length, source) = late.recv_from(&mut buffer).await.unwrap();
    let id = ice_gather::stun::Header::peek(&buffer[..length])
        .unwrap()
        .id;
    let mapped = "203.0.113.7:5".parse().unwrap();
    late.send_to(&ice_gather::responder::success(id, mapped), source)
        .await
        .unwrap();
    // checks run, so the agent reads
    assert_eq!(
        agent
            .connect(absent, Duration::from_millis(300))
            .await
            .unwrap_err(),
        ConnectError::TimedOut
    );
    let mut found = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let IceEvent::Candidate(candidate) = event {
            found.push((candidate.kind, candidate.address));
        }
    }
    assert_eq!(found, [(CandidateKind::ServerReflexive, mapped)]);
    agent.close().await;
}

#[tokio::test]
async fn remote_candidates_are_capped_and_checked_whichever_way_they_come() {
    let base = base().await;
    let config = AgentConfig::default().with_max_remote_candidates(3);
    let mut agent = IceAgent::new(&base, Role::Controlling, config)
        .await
        .unwrap();
    let candidate = |address: &str, kind| RemoteCandidate {
        address: address.parse().unwrap(),
        kind,
        priority: 1,
    };
    for useless in ["127.0.0.9:0", "0.0.0.0:9", "224.0.0.1:9"] {
        assert!(
            !agent.add_remote(candidate(useless, CandidateKind::Host)),
            "{useless}"
        );
    }
    assert!(!agent.add_remote(candidate("127.0.0.9:9", CandidateKind::Unknown)));
    assert!(agent.add_remote(candidate("127.0.0.9:1", CandidateKind::Host)));
    let credentials = Credentials {
        ufrag: "absent".into(),
        pwd: "x".repeat(32),
    };
    let candidates = vec![candidate("127.0.0.9:2", CandidateKind::ServerReflexive)];
    let remote = RemoteDescription {
        credentials,
        candidates,
    };
    assert_eq!(
        agent
            .connect(remote, Duration::from_millis(10))
            .await
            .unwrap_err(),
        ConnectError::TimedOut
    );
    let taken = (3..9)
        .filter(|n| agent.add_remote(candidate(&format!("127.0.0.9:{n}"), CandidateKind::Relayed)));
    assert_eq!(taken.count(), 1);
    agent.close().await;
}
