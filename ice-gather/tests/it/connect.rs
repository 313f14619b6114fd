//! Two agents on real sockets.

use std::time::Duration;

use ice_gather::{
    AgentConfig, AgentError, Base, BindConfig, ConnectError, Credentials, GatheredCandidate, IceAgent, IceConn,
    IceState, RemoteCandidate, RemoteDescription, RemoteError, Role, SendError,
};
use nat_summary::CandidateKind;

use crate::gather::base;

const DEADLINE: Duration = Duration::from_secs(5);

fn description(base: &Base, agent: &IceAgent) -> RemoteDescription {
    let candidates = base
        .local_addrs()
        .map(|address| RemoteCandidate { address, kind: CandidateKind::Host, priority: 2_130_706_431 })
        .collect();
    RemoteDescription { credentials: agent.credentials().clone(), candidates }
}

async fn pair_on(left: Base, right: Base) -> ((IceAgent, IceConn), (IceAgent, IceConn)) {
    let mut a = IceAgent::new(&left, Role::Controlling, AgentConfig::default()).await.unwrap();
    let mut b = IceAgent::new(&right, Role::Controlled, AgentConfig::default()).await.unwrap();
    let (to_a, to_b) = (description(&left, &a), description(&right, &b));
    let (conn_a, conn_b) = tokio::join!(a.connect(to_b, DEADLINE), b.connect(to_a, DEADLINE));
    ((a, conn_a.unwrap()), (b, conn_b.unwrap()))
}

async fn exchange(from: &IceConn, to: &IceConn) {
    let mut buffer = [0; 1500];
    for n in 0..100_u8 {
        from.send(&[0x80, n]).await.unwrap();
        let received = tokio::time::timeout(DEADLINE, to.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(&buffer[..received], [0x80, n]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_go_both_ways() {
    let ((a, conn_a), (b, conn_b)) = pair_on(base().await, base().await).await;
    exchange(&conn_a, &conn_b).await;
    exchange(&conn_b, &conn_a).await;
    assert_eq!(
        conn_a.send(&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await,
        Err(SendError::LooksLikeStun)
    );
    assert_eq!(a.selected_pair(), Some((CandidateKind::Host, CandidateKind::Host)));
    a.close().await;
    assert_eq!(*conn_a.state().borrow(), IceState::Closed);
    assert_eq!(conn_a.recv(&mut [0; 9]).await, None);
    assert_eq!(conn_a.send(b"late").await, Err(SendError::Closed));
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_families_connect_each_on_its_own_socket() {
    let config = BindConfig::address([127, 0, 0, 1].into()).and(std::net::Ipv6Addr::LOCALHOST.into());
    let (Ok(left), Ok(right)) = (Base::bind(config.clone()).await, Base::bind(config).await) else {
        eprintln!("skipped: no IPv6 on the loopback interface");
        return;
    };
    // the peer is reachable over IPv6 only: the IPv4 socket must not swallow its packets
    let mut a = IceAgent::new(&left, Role::Controlling, AgentConfig::default()).await.unwrap();
    let mut b = IceAgent::new(&right, Role::Controlled, AgentConfig::default()).await.unwrap();
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
    let mut a = IceAgent::new(&left, Role::Controlling, AgentConfig::default()).await.unwrap();
    let mut nobody = description(&silent, &a);
    nobody.credentials = Credentials { ufrag: "nobody".into(), pwd: "x".repeat(32) };
    let result = a.connect(nobody.clone(), Duration::from_millis(300)).await;
    assert_eq!(result.unwrap_err(), ConnectError::TimedOut);
    assert_eq!(a.connect(nobody, DEADLINE).await.unwrap_err(), ConnectError::Again);
    a.close().await;
}

#[tokio::test]
async fn a_base_has_one_agent_and_bad_credentials_are_refused() {
    let base = base().await;
    let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default()).await.unwrap();
    let second = IceAgent::new(&base, Role::Controlling, AgentConfig::default()).await;
    assert_eq!(second.unwrap_err(), AgentError::BaseTaken);
    for (ufrag, pwd) in [("abc", 22), ("abcd", 21), ("", 0)] {
        let credentials = Credentials { ufrag: ufrag.into(), pwd: "x".repeat(pwd) };
        let remote = RemoteDescription { credentials, candidates: vec![] };
        let refused = ConnectError::Remote(RemoteError::Credentials);
        assert_eq!(agent.connect(remote, DEADLINE).await.unwrap_err(), refused);
    }
}

#[test]
fn candidates_no_check_can_go_to_are_left_out() {
    let usable = |line: &str| RemoteCandidate::from_candidate(&nat_summary::Candidate::parse(line).unwrap()).is_some();
    assert!(usable("candidate:1 1 udp 1 203.0.113.7 5 typ srflx raddr 0.0.0.0 rport 0"));
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
    let [GatheredCandidate { address, .. }] = &gathering.candidates[..] else { panic!("one host candidate") };
    let line = gathering.candidates[0].as_candidate().to_string();
    let read = nat_summary::Candidate::parse(&line).unwrap();
    assert_eq!(read.socket_addr(), Some(*address));
    assert_eq!(read.priority, 2_130_706_431);
}
