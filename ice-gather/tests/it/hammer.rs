//! How much an attempt sends to addresses that never answered, however many the peer signals.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ice_gather::stun::Header;
use ice_gather::{
    AgentConfig, Base, BindConfig, Credentials, IceAgent, RemoteCandidate, RemoteDescription, Role,
};
use nat_summary::CandidateKind;
use stun::attributes::ATTR_USERNAME;
use stun::message::{BINDING_REQUEST, Setter};
use stun::textattrs::TextAttribute;
use tokio::net::UdpSocket;

use crate::checks::{by_hand, id, signed};
use crate::connect::description;
use crate::gather::base;

/// The most that one address gets from an attempt before it has answered.
const MOST_PACKETS: usize = 30;
const MOST_BYTES: usize = 10_000;
/// Least time between two checks, all pairs together (RFC 8445 section 14, Ta).
const TA: Duration = Duration::from_millis(50);
/// Checks that may leave at once: one of each candidate of an honest peer.
const AT_ONCE: usize = 10;
const WATCHED: Duration = Duration::from_secs(5);

/// The packets and bytes that each address got.
type Received = HashMap<IpAddr, (usize, usize)>;

/// The longest credentials there may be, because they make the longest checks.
fn credentials() -> Credentials {
    Credentials {
        ufrag: "u".repeat(256),
        pwd: "x".repeat(32),
    }
}

fn candidate(address: SocketAddr, number: u32) -> RemoteCandidate {
    let kinds = [
        CandidateKind::Host,
        CandidateKind::ServerReflexive,
        CandidateKind::PeerReflexive,
        CandidateKind::Relayed,
    ];
    RemoteCandidate {
        address,
        kind: kinds[number as usize % kinds.len()],
        priority: 1_000 + number,
    }
}

/// Sockets that never answer.
struct Victims(Vec<UdpSocket>);

impl Victims {
    async fn at(addresses: impl IntoIterator<Item = [u8; 4]>) -> Self {
        let mut sockets = Vec::new();
        for ip in addresses {
            sockets.push(UdpSocket::bind((IpAddr::from(ip), 0)).await.unwrap());
        }
        Self(sockets)
    }

    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|socket| socket.local_addr().unwrap())
    }

    fn received(&self) -> Received {
        let (mut received, mut buffer) = (Received::new(), [0; 2_000]);
        for socket in &self.0 {
            let to = received
                .entry(socket.local_addr().unwrap().ip())
                .or_default();
            while let Ok((length, _)) = socket.try_recv_from(&mut buffer) {
                *to = (to.0 + 1, to.1 + length);
            }
        }
        received
    }
}

/// An attempt whose peer signals these candidates, trickles them once more, and is not there.
async fn attempt(candidates: &[RemoteCandidate], role: Role) -> Base {
    let base = base().await;
    let mut agent = IceAgent::new(&base, role, AgentConfig::default())
        .await
        .unwrap();
    let remote = RemoteDescription {
        credentials: credentials(),
        candidates: candidates.to_vec(),
    };
    for candidate in candidates.iter().take(8) {
        agent.add_remote(*candidate);
    }
    assert!(agent.connect(remote, WATCHED).await.is_err());
    agent.close().await;
    base
}

fn assert_bounded(received: &Received) {
    let all: usize = received.values().map(|(packets, _)| packets).sum();
    let paced = AT_ONCE + (WATCHED.as_millis() / TA.as_millis()) as usize;
    assert!(all <= paced, "{all} packets, more than {paced}");
    for (packets, bytes) in received.values() {
        assert!(*packets <= MOST_PACKETS, "{packets} packets to one address");
        assert!(*bytes <= MOST_BYTES, "{bytes} bytes to one address");
    }
}

#[tokio::test]
async fn sixty_four_candidates_at_one_socket_bring_it_no_more_than_thirty_packets() {
    let victims = Victims::at([[127, 0, 0, 40]]).await;
    let address = victims.addresses().next().unwrap();
    let candidates: Vec<_> = (0..64).map(|n| candidate(address, n)).collect();
    attempt(&candidates, Role::Controlling).await;
    let received = victims.received();
    println!("{received:?}");
    assert_bounded(&received);
    assert!(received[&address.ip()].0 >= 5, "it is checked at all");
}

#[tokio::test]
async fn sixty_four_ports_of_one_address_get_no_more_than_thirty_packets_together() {
    let victims = Victims::at([[127, 0, 0, 41]; 64]).await;
    let candidates: Vec<_> = victims
        .addresses()
        .zip(0..)
        .map(|(address, n)| candidate(address, n))
        .collect();
    let base = attempt(&candidates, Role::Controlled).await;
    let received = victims.received();
    println!("{received:?} {:?}", base.dropped());
    assert_bounded(&received);
}

/// Each address has a foundation of its own (RFC 8445 section 5.1.1.3).
#[tokio::test]
async fn sixty_four_foundations_are_checked_at_the_pace_of_one_agent() {
    let victims = Victims::at((0..64).map(|n| [127, 0, 1, n + 1])).await;
    let candidates: Vec<_> = victims
        .addresses()
        .zip(0..)
        .map(|(address, n)| candidate(address, n))
        .collect();
    let base = attempt(&candidates, Role::Controlling).await;
    let received = victims.received();
    let checked = received.values().filter(|(packets, _)| *packets > 0);
    println!("{received:?} {:?}", base.dropped());
    assert_bounded(&received);
    assert_eq!(
        checked.count(),
        AgentConfig::default().max_remote_candidates,
        "each candidate that was taken has its turn"
    );
}

/// One malicious peer may begin attempt after attempt: what bounds them all is the pace of the
/// consumer, and each attempt by itself.
#[tokio::test]
async fn each_of_many_attempts_in_a_row_is_bounded_by_itself() {
    let victims = Victims::at([[127, 0, 0, 42]; 8]).await;
    for _ in 0..4 {
        let base = base().await;
        let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
            .await
            .unwrap();
        let remote = RemoteDescription {
            credentials: credentials(),
            candidates: victims
                .addresses()
                .zip(0..)
                .map(|(address, n)| candidate(address, n))
                .collect(),
        };
        let ended = agent.connect(remote, Duration::from_secs(1)).await;
        assert!(ended.is_err());
        agent.close().await;
        let (packets, bytes) = victims.received().into_values().next().unwrap();
        assert!(packets <= MOST_PACKETS, "{packets} packets");
        assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    }
}

/// The peer's requests with a forged source, as its address and as any other.
#[tokio::test]
async fn a_forged_check_brings_its_source_no_packet_and_a_signed_one_only_a_few() {
    let base = base().await;
    let address = base.local_addrs().next().unwrap();
    let mut agent = IceAgent::new(&base, Role::Controlled, AgentConfig::default())
        .await
        .unwrap();
    let own = agent.credentials().clone();
    let victims = Victims::at([[127, 0, 0, 43], [127, 0, 0, 44], [127, 0, 0, 45]]).await;
    let [stranger, signed_for, signalled] = &victims.0[..] else {
        unreachable!()
    };
    let username = TextAttribute {
        attr: ATTR_USERNAME,
        text: format!("{}:{}", own.ufrag, credentials().ufrag),
    };
    let username: &dyn Setter = &username;
    let flood = async {
        for number in 0..1_000 {
            let forged = signed(BINDING_REQUEST, id(number), &[username], &"y".repeat(32));
            stranger.send_to(&forged, address).await.unwrap();
            signalled.send_to(&forged, address).await.unwrap();
            let genuine = signed(BINDING_REQUEST, id(number), &[username], &own.pwd);
            signed_for.send_to(&genuine, address).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let remote = RemoteDescription {
        credentials: credentials(),
        candidates: vec![candidate(signalled.local_addr().unwrap(), 0)],
    };
    tokio::select! { () = flood => {}, _ = agent.connect(remote, Duration::from_secs(60)) => {} }
    let mut buffer = [0; 2_000];
    while let Ok((length, _)) = signalled.try_recv_from(&mut buffer) {
        let header = Header::peek(&buffer[..length]).unwrap();
        assert!(
            header.is_binding_request(),
            "a forged request has no answer"
        );
    }
    let received = victims.received();
    println!("{received:?} {:?}", base.dropped());
    assert_eq!(received[&stranger.local_addr().unwrap().ip()], (0, 0));
    let (packets, bytes) = received[&signed_for.local_addr().unwrap().ip()];
    assert!((2..=MOST_PACKETS).contains(&packets), "{packets} packets");
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    agent.close().await;
}

/// The time that an attempt takes whose peer is at the last of ten candidates.
async fn time_to_connect(elsewhere: [u8; 4], role: Role) -> Duration {
    let (left, right) = (base().await, base().await);
    let other = match role {
        Role::Controlling => Role::Controlled,
        Role::Controlled => Role::Controlling,
    };
    let config = AgentConfig::default();
    let mut ours = IceAgent::new(&left, role, config).await.unwrap();
    let mut theirs = IceAgent::new(&right, other, config).await.unwrap();
    let silent = Victims::at([elsewhere; 9]).await;
    let mut remote = description(&right, &theirs);
    let mut candidates: Vec<_> = silent
        .addresses()
        .zip(0..)
        .map(|(address, n)| candidate(address, n))
        .collect();
    candidates.append(&mut remote.candidates);
    remote.candidates = candidates;
    // the other side answers, and knows no address of ours before it is checked
    let back = RemoteDescription {
        credentials: ours.credentials().clone(),
        candidates: Vec::new(),
    };
    let began = Instant::now();
    let (a, b) = tokio::join!(ours.connect(remote, WATCHED), theirs.connect(back, WATCHED));
    let took = began.elapsed();
    a.unwrap();
    b.unwrap();
    ours.close().await;
    theirs.close().await;
    took
}

#[tokio::test]
async fn a_peer_at_the_last_of_ten_candidates_is_found_as_fast_as_at_the_first() {
    for elsewhere in [[127, 0, 0, 1], [127, 0, 0, 46]] {
        for role in [Role::Controlling, Role::Controlled] {
            let mut times = Vec::new();
            for _ in 0..5 {
                times.push(time_to_connect(elsewhere, role).await);
            }
            times.sort();
            println!("{elsewhere:?} {role:?}: {times:?}");
            assert!(times[2] < Duration::from_millis(400), "{times:?}");
        }
    }
}

/// A peer that begins after all checks of the first seconds were lost is found by its own.
#[tokio::test]
async fn a_peer_that_begins_late_is_answered_at_once() {
    let left = base().await;
    let right = Base::bind(BindConfig::address([127, 0, 0, 1].into()))
        .await
        .unwrap();
    let config = AgentConfig::default();
    let mut ours = IceAgent::new(&left, Role::Controlling, config)
        .await
        .unwrap();
    let mut theirs = IceAgent::new(&right, Role::Controlled, config)
        .await
        .unwrap();
    let silent = Victims::at([[127, 0, 0, 1]; 9]).await;
    let mut remote = description(&right, &theirs);
    let others = silent.addresses().zip(0..);
    remote
        .candidates
        .extend(others.map(|(address, n)| candidate(address, n)));
    let back = description(&left, &ours);
    let late = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let began = Instant::now();
        theirs.connect(back, WATCHED).await.unwrap();
        began.elapsed()
    };
    let (a, took) = tokio::join!(ours.connect(remote, 2 * WATCHED), late);
    a.unwrap();
    println!("{took:?}");
    assert!(took < Duration::from_millis(600), "{took:?}");
    ours.close().await;
    theirs.close().await;
}

/// Once an address has answered, nothing holds its checks.
#[tokio::test]
async fn an_address_that_answered_is_checked_for_as_long_as_the_agent_likes() {
    let base = base().await;
    let config = AgentConfig::default().with_keepalive_interval(Duration::from_millis(50));
    let mut agent = IceAgent::new(&base, Role::Controlling, config)
        .await
        .unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let pwd = "x".repeat(32);
    let remote = RemoteDescription {
        credentials: Credentials {
            ufrag: "hand".into(),
            pwd: pwd.clone(),
        },
        candidates: vec![candidate(peer.local_addr().unwrap(), 0)],
    };
    let watched = async {
        let connected = agent.connect(remote, WATCHED).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        connected
    };
    let connected = tokio::select! {
        connected = watched => connected,
        () = by_hand(&peer, &pwd, None) => unreachable!(),
    };
    assert!(connected.is_ok());
    let answered = base.peer_view().checks.answered;
    assert!(answered as usize > MOST_PACKETS, "{answered}");
    agent.close().await;
}
