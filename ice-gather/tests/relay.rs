//! A relayed candidate: through a real TURN server (coturn) where it is installed, and from servers
//! that lie or die.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ice_gather::{
    AgentConfig, AgentError, Base, BindConfig, ConnectError, Credentials, GatherConfig,
    GatheredCandidate, IceAgent, IceState, Policy, Progress, Relay, RelayConfig, RelayError,
    RemoteCandidate, RemoteDescription, Role, StunServer, TurnServer,
};
use nat_summary::CandidateKind;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::Notify;

const DEADLINE: Duration = Duration::from_secs(10);

/// A running coturn that lets each user have `quota` allocations.
struct Coturn {
    child: Child,
    port: u16,
}

impl Coturn {
    /// Its relayed addresses are on 127.0.0.5, where no other socket is. Nothing, where it is not
    /// installed.
    async fn start(quota: u32) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let port = std::net::UdpSocket::bind("127.0.0.5:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        // each has its own range, so that those of parallel tests do not meet
        let first = 20_000 + 100 * NEXT.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new("turnserver");
        command.args([
            "-n",
            "--no-tls",
            "--no-dtls",
            "--no-tcp",
            "--no-cli",
            "--allow-loopback-peers",
            "--lt-cred-mech",
        ]);
        command.args([
            "--listening-ip",
            "127.0.0.5",
            "--relay-ip",
            "127.0.0.5",
            "--user",
            "user:secret",
            "--realm",
            "lab",
        ]);
        command.args([
            "--relay-threads",
            "1",
            "--log-file",
            "stdout",
            "--pidfile",
            "/dev/null",
        ]);
        command.args([
            "--listening-port",
            &port.to_string(),
            "--user-quota",
            &quota.to_string(),
        ]);
        command.args([
            "--min-port",
            &first.to_string(),
            "--max-port",
            &(first + 99).to_string(),
        ]);
        let Ok(child) = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
        else {
            eprintln!("skipped: coturn is not installed");
            return None;
        };
        let coturn = Self { child, port };
        let base = base().await;
        let config = GatherConfig::default()
            .with_policy(Policy::All)
            .with_deadline(DEADLINE);
        let server = StunServer::Address(SocketAddr::from(([127, 0, 0, 5], port)));
        for _ in 0..200 {
            if base
                .gather(std::slice::from_ref(&server), &config)
                .await
                .servers[0]
                .mapped
                .is_some()
            {
                return Some(coturn);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("coturn does not answer");
    }

    fn server(&self, password: &str) -> TurnServer {
        TurnServer::new(
            &format!("turn:127.0.0.5:{}?transport=udp", self.port),
            "user",
            password,
        )
        .unwrap()
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn base() -> Base {
    Base::bind(BindConfig::address([127, 0, 0, 1].into()))
        .await
        .unwrap()
}

/// A base with its relayed candidate. coturn frees an allocation within a second or two of the
/// request, and without one after ten minutes.
async fn relayed(coturn: &Coturn) -> (Base, Relay, GatheredCandidate) {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let base = base().await;
        let mut relay = base.add_relay(coturn.server("secret"), at_once()).unwrap();
        match relay.allocated().await {
            Ok(candidate) => return (base, relay, candidate),
            Err(RelayError::Refused(486)) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn at_once() -> RelayConfig {
    RelayConfig::default().with_head_start(Duration::ZERO)
}

/// Waits until this test has no more tasks than at its beginning.
async fn until_no_task_is_left() {
    let until = Instant::now() + DEADLINE;
    while Handle::current().metrics().num_alive_tasks() > 0 {
        assert!(
            Instant::now() < until,
            "{} tasks are left",
            Handle::current().metrics().num_alive_tasks()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn only(agent: &IceAgent, candidate: &GatheredCandidate) -> RemoteDescription {
    let GatheredCandidate {
        address,
        kind,
        priority,
        ..
    } = *candidate;
    let candidates = vec![RemoteCandidate {
        address,
        kind,
        priority,
    }];
    RemoteDescription {
        credentials: agent.credentials().clone(),
        candidates,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_peers_that_know_only_each_others_relay_connect_through_it_and_leave_nothing() {
    // as many as are at work at once: a second round works only if the first one's were freed
    let Some(coturn) = Coturn::start(2).await else {
        return;
    };
    for round in 0..2 {
        let ((left, mut left_relay, from_a), (right, _, from_b)) =
            (relayed(&coturn).await, relayed(&coturn).await);
        let mut a = IceAgent::new(&left, Role::Controlling, AgentConfig::default())
            .await
            .unwrap();
        let mut b = IceAgent::new(&right, Role::Controlled, AgentConfig::default())
            .await
            .unwrap();
        assert_eq!(
            (from_a.kind, from_a.address.ip()),
            (CandidateKind::Relayed, [127, 0, 0, 5].into())
        );
        let (to_a, to_b) = (only(&a, &from_a), only(&b, &from_b));
        let (conn_a, conn_b) = tokio::join!(a.connect(to_b, DEADLINE), b.connect(to_a, DEADLINE));
        let (conn_a, conn_b) = (conn_a.unwrap(), conn_b.unwrap());
        assert_eq!(
            a.selected_pair(),
            Some((CandidateKind::Relayed, CandidateKind::Relayed))
        );
        let mut buffer = [0; 1500];
        for n in 0..50_u8 {
            conn_a.send(&[0x80, n]).await.unwrap();
            let length = tokio::time::timeout(DEADLINE, conn_b.recv(&mut buffer))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(&buffer[..length], [0x80, n]);
            conn_b.send(&[0x81, n]).await.unwrap();
            let length = tokio::time::timeout(DEADLINE, conn_a.recv(&mut buffer))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(&buffer[..length], [0x81, n]);
        }
        if round == 0 {
            a.close().await;
            b.close().await;
        } else {
            drop((a, b));
        }
        drop((conn_a, conn_b, left, right));
        until_no_task_is_left().await;
        assert_eq!(
            left_relay.allocated().await.unwrap_err(),
            RelayError::Closed
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_pairs_have_a_head_start() {
    let Some(coturn) = Coturn::start(1).await else {
        return;
    };
    let (left, right) = (base().await, base().await);
    let mut relay = left
        .add_relay(coturn.server("secret"), RelayConfig::default())
        .unwrap();
    let relayed = relay.allocated().await.unwrap();
    let mut a = IceAgent::new(&left, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let mut b = IceAgent::new(&right, Role::Controlled, AgentConfig::default())
        .await
        .unwrap();
    let host = |base: &Base| RemoteCandidate {
        address: base.local_addrs().next().unwrap(),
        kind: CandidateKind::Host,
        priority: 2_130_706_431,
    };
    let (mut to_a, mut to_b) = (only(&a, &relayed), only(&b, &relayed));
    to_a.candidates.push(host(&left));
    to_b.candidates = vec![host(&right)];
    let (conn_a, conn_b) = tokio::join!(a.connect(to_b, DEADLINE), b.connect(to_a, DEADLINE));
    assert!(conn_a.is_ok() && conn_b.is_ok());
    assert_eq!(
        a.selected_pair(),
        Some((CandidateKind::Host, CandidateKind::Host))
    );
    a.close().await;
    b.close().await;
    drop((conn_a, conn_b, left, right));
    until_no_task_is_left().await;
}

/// The packets of the relay and those of the direct pairs count together.
#[tokio::test]
async fn an_address_that_never_answers_gets_no_more_than_thirty_packets_with_a_relay_either() {
    let Some(coturn) = Coturn::start(8).await else {
        return;
    };
    let (base, _relay, _) = relayed(&coturn).await;
    let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let mut victims = Vec::new();
    for _ in 0..32 {
        victims.push(UdpSocket::bind("127.0.0.47:0").await.unwrap());
    }
    let candidates = victims
        .iter()
        .zip(1_000..)
        .map(|(victim, priority)| RemoteCandidate {
            address: victim.local_addr().unwrap(),
            kind: CandidateKind::Host,
            priority,
        });
    let remote = RemoteDescription {
        credentials: Credentials {
            ufrag: "absent".into(),
            pwd: "x".repeat(32),
        },
        candidates: candidates.collect(),
    };
    assert!(agent.connect(remote, Duration::from_secs(5)).await.is_err());
    agent.close().await;
    let (mut direct, mut relayed, mut buffer) = (0, 0, [0; 1_500]);
    for victim in &victims {
        while let Ok((_, source)) = victim.try_recv_from(&mut buffer) {
            if source.ip() == SocketAddr::from(([127, 0, 0, 5], 0)).ip() {
                relayed += 1;
            } else {
                direct += 1;
            }
        }
    }
    println!("{direct} packets, and {relayed} through the relay");
    assert!(direct + relayed <= 30, "{direct} and {relayed}");
    assert!(direct > 0 && relayed > 0, "{direct} and {relayed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relayed_candidate_trickles_out_with_the_others() {
    let Some(coturn) = Coturn::start(1).await else {
        return;
    };
    let base = base().await;
    let _relay = base.add_relay(coturn.server("secret"), at_once()).unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = GatherConfig::default().with_deadline(Duration::from_secs(1));
    let mut reported = Vec::new();
    let servers = [StunServer::Address(silent.local_addr().unwrap())];
    let gathering = base
        .gather_with(&servers, &config, |news| {
            if let Progress::Candidate(candidate) = news {
                reported.push(candidate);
            }
        })
        .await;
    assert_eq!(
        reported.iter().map(|c| c.kind).collect::<Vec<_>>(),
        [CandidateKind::Host, CandidateKind::Relayed]
    );
    assert_eq!(gathering.candidates, reported);
    let line = reported[1].as_candidate().to_string();
    assert!(line.contains("typ relay raddr 0.0.0.0 rport 9"), "{line}");
    assert_eq!(
        nat_summary::Candidate::parse(&line).unwrap().kind,
        CandidateKind::Relayed
    );
    assert_eq!(base.summary().counts().asked, 1, "a relay is no evidence");
    drop(base);
    until_no_task_is_left().await;
}

#[tokio::test]
async fn wrong_credentials_are_an_error_and_leave_nothing() {
    let Some(coturn) = Coturn::start(1).await else {
        return;
    };
    let base = base().await;
    let mut relay = base.add_relay(coturn.server("wrong"), at_once()).unwrap();
    assert_eq!(
        relay.allocated().await.unwrap_err(),
        RelayError::Unauthenticated
    );
    until_no_task_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_server_that_dies_on_the_way_leaves_nothing() {
    let Some(coturn) = Coturn::start(2).await else {
        return;
    };
    let (left, right) = (base().await, base().await);
    let mut left_relay = left.add_relay(coturn.server("secret"), at_once()).unwrap();
    let mut right_relay = right.add_relay(coturn.server("secret"), at_once()).unwrap();
    let config = AgentConfig::default()
        .with_disconnected_timeout(Duration::from_millis(300))
        .with_failed_timeout(Duration::from_millis(300))
        .with_keepalive_interval(Duration::from_millis(50));
    let mut a = IceAgent::new(&left, Role::Controlling, config)
        .await
        .unwrap();
    let mut b = IceAgent::new(&right, Role::Controlled, config)
        .await
        .unwrap();
    let to_a = only(&a, &left_relay.allocated().await.unwrap());
    let to_b = only(&b, &right_relay.allocated().await.unwrap());
    let (conn_a, conn_b) = tokio::join!(a.connect(to_b, DEADLINE), b.connect(to_a, DEADLINE));
    let (conn_a, conn_b) = (conn_a.unwrap(), conn_b.unwrap());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(
        *conn_a.state().borrow(),
        IceState::Connected,
        "the peer's consent comes by way of the relay"
    );
    drop(coturn);
    let lost = tokio::time::timeout(DEADLINE, conn_a.recv(&mut [0; 1500])).await;
    assert_eq!(lost.unwrap(), None, "the connection failed");
    a.close().await;
    drop((b, conn_a, conn_b, left, right));
    until_no_task_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allocation_given_up_at_any_point_is_freed() {
    let Some(coturn) = Coturn::start(1).await else {
        return;
    };
    for step in 0..20 {
        let base = base().await;
        let relay = base.add_relay(coturn.server("secret"), at_once()).unwrap();
        tokio::time::sleep(Duration::from_micros(100 * step)).await;
        drop(base);
        until_no_task_is_left().await;
        drop(relay);
    }
    // the one allocation this user may have is still to be had
    relayed(&coturn).await;
}

#[tokio::test]
async fn a_base_has_one_relay_and_it_comes_before_the_agent() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = TurnServer::new(
        &format!("turn:{}", silent.local_addr().unwrap()),
        "user",
        "secret",
    )
    .unwrap();
    assert_eq!(
        format!("{server:?}"),
        "TurnServer",
        "credentials are not shown"
    );
    let first = base().await;
    first.add_relay(server.clone(), at_once()).unwrap();
    assert_eq!(
        first.add_relay(server.clone(), at_once()).unwrap_err(),
        RelayError::Late
    );
    let second = base().await;
    let agent = IceAgent::new(&second, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    assert_eq!(
        second.add_relay(server.clone(), at_once()).unwrap_err(),
        RelayError::Late
    );
    assert_eq!(
        IceAgent::new(&second, Role::Controlling, AgentConfig::default())
            .await
            .unwrap_err(),
        AgentError::BaseTaken
    );
    agent.close().await;
    drop((first, second));
    until_no_task_is_left().await;
}

#[tokio::test]
async fn a_silent_server_ends_at_the_deadline_and_nothing_waits_for_it() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = TurnServer::new(
        &format!("turn:{}", silent.local_addr().unwrap()),
        "user",
        "secret",
    )
    .unwrap();
    let base = base().await;
    let config = at_once().with_deadline(Duration::from_millis(300));
    let started = Instant::now();
    let mut relay = base.add_relay(server, config).unwrap();
    let agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    assert!(
        started.elapsed() < Duration::from_millis(250),
        "the agent is there at once"
    );
    assert_eq!(relay.allocated().await.unwrap_err(), RelayError::TimedOut);
    agent.close().await;
    drop(base);
    until_no_task_is_left().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_and_a_name_that_is_none_unresolved() {
    let closed = UdpSocket::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    for (uri, expected) in [
        (format!("turn:{closed}"), RelayError::Unreachable),
        ("turn:[::1]:9".to_owned(), RelayError::Unreachable),
        (
            "turn:no-such-host.invalid".to_owned(),
            RelayError::Unresolved,
        ),
    ] {
        let base = base().await;
        let mut relay = base
            .add_relay(TurnServer::new(&uri, "user", "secret").unwrap(), at_once())
            .unwrap();
        assert_eq!(relay.allocated().await.unwrap_err(), expected, "{uri}");
        until_no_task_is_left().await;
    }
}

/// A message with these attributes, each already padded to a multiple of four.
fn message(typ: u16, id: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (attribute, value) in attributes {
        body.extend_from_slice(&attribute.to_be_bytes());
        body.extend_from_slice(&(value.len() as u16).to_be_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let head = [
        &typ.to_be_bytes()[..],
        &(body.len() as u16).to_be_bytes(),
        &[0x21, 0x12, 0xA4, 0x42],
        id,
    ]
    .concat();
    [head, body].concat()
}

const ALLOCATED: u16 = 0x0103;
const REFUSED: u16 = 0x0113;
const ERROR_CODE: u16 = 0x0009;
const LIFETIME: u16 = 0x000d;
const RELAYED: u16 = 0x0016;
/// 192.0.2.1:9, as it goes over the wire.
const ADDRESS: [u8; 8] = [0, 1, 0x21, 0x1b, 0xe1, 0x12, 0xa6, 0x43];

/// The outcome of a relay whose server asks for credentials first, as it should, and then sends
/// this.
async fn after_credentials(
    answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> Result<GatheredCandidate, RelayError> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    let liar = tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (length, source) = socket.recv_from(&mut buffer).await.unwrap();
            let (request, id) = (&buffer[..length], &buffer[8..20]);
            // the first request names no user
            let is_first = request[1] == 3 && !request.windows(4).any(|window| window == b"user");
            let replies = if is_first {
                vec![message(
                    REFUSED,
                    id,
                    &[
                        (ERROR_CODE, &[0, 0, 4, 1]),
                        (0x0014, b"lab!"),
                        (0x0015, b"nonce567"),
                    ],
                )]
            } else {
                answers(id)
            };
            for reply in replies {
                socket.send_to(&reply, source).await.unwrap();
            }
        }
    });
    let base = base().await;
    let config = at_once().with_deadline(Duration::from_millis(500));
    let turn_server = TurnServer::new(&format!("turn:{server}"), "user", "secret").unwrap();
    let mut relay = base.add_relay(turn_server, config).unwrap();
    let outcome = relay.allocated().await;
    drop(base);
    liar.abort();
    until_no_task_is_left().await;
    outcome
}

/// With the reason handed on, the library's client panics, and leaves a task, a socket and its
/// buffer.
#[tokio::test]
async fn an_error_whose_reason_is_not_utf_8_is_known_by_its_code() {
    let outcome = after_credentials(|id| {
        vec![message(
            REFUSED,
            id,
            &[(ERROR_CODE, &[0, 0, 4, 86, 0xff, 0xfe, 0xff, 0xfe])],
        )]
    });
    assert_eq!(outcome.await.unwrap_err(), RelayError::Refused(486));
}

#[tokio::test]
async fn errors_are_known_by_their_code_and_a_message_that_is_no_answer_is_passed_over() {
    let alternate = |id: &[u8]| {
        vec![message(
            REFUSED,
            id,
            &[(ERROR_CODE, &[0, 0, 3, 0]), (0x8023, &ADDRESS)],
        )]
    };
    assert_eq!(
        after_credentials(alternate).await.unwrap_err(),
        RelayError::Refused(300)
    );
    let without_code = |id: &[u8]| vec![message(REFUSED, id, &[])];
    assert_eq!(
        after_credentials(without_code).await.unwrap_err(),
        RelayError::Refused(0)
    );
    let ten_minutes: (u16, &[u8]) = (LIFETIME, &[0, 0, 2, 0x58]);
    // a request, garbage, half a message, data and channel data out of the blue, another
    // transaction: then the true answer
    let noisy = move |id: &[u8]| {
        let good = message(ALLOCATED, id, &[(RELAYED, &ADDRESS), ten_minutes]);
        let mut of_another = good.clone();
        of_another[19] ^= 1;
        let indication = message(0x0017, id, &[(0x0012, &[0, 1, 0, 0, 9]), (0x0013, b"data")]);
        let channel_data = [&[0x40, 0, 0, 4][..], b"data"].concat();
        let noise = [
            message(0x0003, id, &[]),
            vec![7; 99],
            good[..28].to_vec(),
            indication,
            channel_data,
            vec![],
        ];
        [&noise[..], &[of_another, good]].concat()
    };
    assert_eq!(
        after_credentials(noisy).await.unwrap().address,
        SocketAddr::from(([192, 0, 2, 1], 9))
    );
}

#[tokio::test]
async fn a_port_the_server_still_knows_is_left_for_another_and_no_more_than_twice() {
    let mismatch = |id: &[u8]| message(REFUSED, id, &[(ERROR_CODE, &[0, 0, 4, 37])]);
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let at_last = move |id: &[u8]| match counted.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => vec![mismatch(id)],
        _ => vec![message(
            ALLOCATED,
            id,
            &[(RELAYED, &ADDRESS), (LIFETIME, &[0, 0, 2, 0x58])],
        )],
    };
    assert!(after_credentials(at_last).await.is_ok());
    asked.store(0, Ordering::Relaxed);
    let counted = Arc::clone(&asked);
    let always = move |id: &[u8]| {
        counted.fetch_add(1, Ordering::Relaxed);
        vec![mismatch(id)]
    };
    assert_eq!(
        after_credentials(always).await.unwrap_err(),
        RelayError::Refused(437)
    );
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn an_allocation_that_cannot_be_used_is_none() {
    let ten_minutes: (u16, &[u8]) = (LIFETIME, &[0, 0, 2, 0x58]);
    let answers: [Vec<(u16, &'static [u8])>; 6] = [
        vec![(RELAYED, &ADDRESS)],
        vec![ten_minutes],
        // refreshed without a pause, if it were taken
        vec![(RELAYED, &ADDRESS), (LIFETIME, &[0, 0, 0, 0])],
        vec![(RELAYED, &ADDRESS), (LIFETIME, &[2])],
        vec![(RELAYED, &ADDRESS[..5]), ten_minutes],
        vec![
            (
                RELAYED,
                &[
                    0, 2, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
                ],
            ),
            ten_minutes,
        ],
    ];
    for attributes in answers {
        let attributes = Arc::new(attributes);
        let sent = Arc::clone(&attributes);
        let outcome = after_credentials(move |id| vec![message(ALLOCATED, id, &sent)]).await;
        assert_eq!(outcome.unwrap_err(), RelayError::Unusable, "{attributes:?}");
    }
}

/// A server that allocates, agrees to everything else, relays nothing, and notifies when it is given
/// an allocation back.
async fn generous() -> (TurnServer, Arc<Notify>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = TurnServer::new(
        &format!("turn:{}", socket.local_addr().unwrap()),
        "user",
        "secret",
    )
    .unwrap();
    let freed = Arc::new(Notify::new());
    let notify = Arc::clone(&freed);
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (length, source) = socket.recv_from(&mut buffer).await.unwrap();
            let (request, id) = (&buffer[..length], &buffer[8..20]);
            let names_user = request.windows(4).any(|window| window == b"user");
            let reply = match request[1] {
                3 if !names_user => message(
                    REFUSED,
                    id,
                    &[
                        (ERROR_CODE, &[0, 0, 4, 1]),
                        (0x0014, b"lab!"),
                        (0x0015, b"nonce567"),
                    ],
                ),
                3 => message(
                    ALLOCATED,
                    id,
                    &[(RELAYED, &ADDRESS), (LIFETIME, &[0, 0, 2, 0x58])],
                ),
                method => message(0x0100 | u16::from(method), id, &[(LIFETIME, &[0; 4])]),
            };
            // a Refresh request for no time at all
            if request[1] == 4
                && request
                    .windows(8)
                    .any(|window| window == [0, 0x0d, 0, 4, 0, 0, 0, 0])
            {
                notify.notify_one();
            }
            socket.send_to(&reply, source).await.unwrap();
        }
    });
    (server, freed)
}

/// The server knows a little before we know that it does.
async fn until_closed(mut relay: Relay) {
    let until = Instant::now() + DEADLINE;
    while relay.allocated().await != Err(RelayError::Closed) {
        assert!(Instant::now() < until, "the relay goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_agent_that_failed_gives_the_relay_back_without_being_closed() {
    let (server, freed) = generous().await;
    let base = base().await;
    let mut relay = base.add_relay(server, at_once()).unwrap();
    relay.allocated().await.unwrap();
    let config = AgentConfig::default()
        .with_disconnected_timeout(Duration::from_millis(100))
        .with_failed_timeout(Duration::from_millis(100));
    let mut agent = IceAgent::new(&base, Role::Controlling, config)
        .await
        .unwrap();
    let credentials = Credentials {
        ufrag: "absent".into(),
        pwd: "x".repeat(32),
    };
    let absent = RemoteDescription {
        credentials,
        candidates: Vec::new(),
    };
    assert_eq!(
        agent.connect(absent, DEADLINE).await.unwrap_err(),
        ConnectError::Failed
    );
    tokio::time::timeout(Duration::from_secs(2), freed.notified())
        .await
        .expect("the server holds nothing for it");
    until_closed(relay).await;
    agent.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_the_pair_in_use_does_without_is_given_back_and_the_pair_stays() {
    let (server, freed) = generous().await;
    let (left, right) = (base().await, base().await);
    let mut relay = left.add_relay(server, RelayConfig::default()).unwrap();
    relay.allocated().await.unwrap();
    let mut a = IceAgent::new(&left, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let mut b = IceAgent::new(&right, Role::Controlled, AgentConfig::default())
        .await
        .unwrap();
    let describe = |base: &Base, agent: &IceAgent| {
        let address = base.local_addrs().next().unwrap();
        let host = RemoteCandidate {
            address,
            kind: CandidateKind::Host,
            priority: 2_130_706_431,
        };
        RemoteDescription {
            credentials: agent.credentials().clone(),
            candidates: vec![host],
        }
    };
    let (to_a, to_b) = (describe(&left, &a), describe(&right, &b));
    let connected = Instant::now();
    let (conn_a, conn_b) = tokio::join!(a.connect(to_b, DEADLINE), b.connect(to_a, DEADLINE));
    let (conn_a, conn_b) = (conn_a.unwrap(), conn_b.unwrap());
    tokio::time::timeout(Duration::from_secs(6), freed.notified())
        .await
        .expect("the server holds nothing for it");
    assert!(
        connected.elapsed() >= Duration::from_secs(3),
        "RFC 8445 section 8.3.1"
    );
    until_closed(relay).await;
    conn_a.send(b"\x80 still there").await.unwrap();
    assert_eq!(
        tokio::time::timeout(DEADLINE, conn_b.recv(&mut [0; 99]))
            .await
            .unwrap(),
        Some(13)
    );
    assert_eq!(*conn_a.state().borrow(), IceState::Connected);
    a.close().await;
    b.close().await;
}
