//! Servers and strangers that lie, and the counts of their datagrams.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ice_gather::responder::{Manner, Responder, success};
use ice_gather::stun::{Header, write_request};
use ice_gather::{
    AgentConfig, Base, Credentials, DatagramCarrier, Dropped, GatherConfig, Gathering, IceAgent,
    RemoteCandidate, RemoteDescription, Role, ServerReport, StunServer,
};
use nat_summary::{CandidateKind, MAX_OBSERVATIONS, Mapping, NatType, Outcome};
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::gather::base;

type Replies = Vec<(Option<SocketAddr>, Vec<u8>)>;

/// A server that sends the datagrams of `reply`, each from its own socket or from a second
/// one (`Some`).
async fn liar(
    reply: impl Fn([u8; 12], SocketAddr) -> Replies + Send + 'static,
) -> (StunServer, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = StunServer::Address(socket.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (n, source) = socket.recv_from(&mut buffer).await.unwrap();
            let Some(header) = Header::peek(&buffer[..n]) else {
                continue;
            };
            for (elsewhere, datagram) in reply(header.id, source) {
                let from = if elsewhere.is_some() { &other } else { &socket };
                from.send_to(&datagram, source).await.unwrap();
            }
        }
    });
    (server, task)
}

async fn ask(server: StunServer) -> (Base, Gathering) {
    let base = base().await;
    // one packet, whose silence alone would prove nothing
    let config = GatherConfig::default()
        .with_deadline(Duration::from_millis(300))
        .with_max_sends(1);
    let gathering = base.gather(&[server], &config).await;
    (base, gathering)
}

fn lie() -> SocketAddr {
    "203.0.113.66:666".parse().unwrap()
}

#[tokio::test]
async fn a_wrong_id_is_dropped_and_counted() {
    let (server, _task) = liar(|mut id, _| {
        id[0] ^= 1;
        vec![(None, success(id, lie()))]
    })
    .await;
    let (base, gathering) = ask(server).await;
    assert_eq!(base.dropped().unknown_id, 1);
    assert_eq!(gathering.servers[0].outcome, Outcome::GivenUp);
}

/// Each server answers, and no answer can be taken: that is no firewall.
#[tokio::test]
async fn answers_that_all_had_to_be_rejected_are_no_blocked_network() {
    type Lie = fn([u8; 12], SocketAddr) -> Replies;
    let lies: [Option<Lie>; 5] = [
        None,
        Some(|id, source| vec![(Some(source), success(id, source))]),
        Some(|mut id, source| {
            id[0] ^= 1;
            vec![(None, success(id, source))]
        }),
        Some(|id, source| {
            let mut message = success(id, source);
            message[4] ^= 0xff;
            vec![(None, message)]
        }),
        Some(|id, source| vec![(None, [&success(id, source)[..], &[0; 3]].concat())]),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let base = base().await;
        base.add_local([192, 168, 1, 5].into());
        let mut servers = Vec::new();
        let mut silent = Vec::new();
        for host in [21, 22] {
            let socket = UdpSocket::bind((format!("127.0.0.{host}"), 0))
                .await
                .unwrap();
            servers.push(StunServer::Address(socket.local_addr().unwrap()));
            silent.push(tokio::spawn(async move {
                let mut buffer = [0; 1500];
                loop {
                    let (n, source) = socket.recv_from(&mut buffer).await.unwrap();
                    let id = Header::peek(&buffer[..n]).unwrap().id;
                    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                    for (elsewhere, datagram) in lie.map(|lie| lie(id, source)).unwrap_or_default()
                    {
                        let from = if elsewhere.is_some() { &other } else { &socket };
                        from.send_to(&datagram, source).await.unwrap();
                    }
                }
            }));
        }
        let config = GatherConfig::default().with_deadline(Duration::from_millis(600));
        let gathering = base.gather(&servers, &config).await;
        let all_timed_out = gathering
            .servers
            .iter()
            .all(|server| server.outcome == Outcome::TimedOut);
        assert!(all_timed_out, "{number}: none was answered");
        let is_blocked = gathering.evidence.summary().nat_type() == NatType::UdpBlocked;
        assert_eq!(is_blocked, lie.is_none(), "{number}");
        silent.iter().for_each(JoinHandle::abort);
    }
}

#[tokio::test]
async fn a_wrong_source_is_dropped_counted_and_the_true_answer_still_taken() {
    let (server, _task) = liar(|id, source| {
        vec![
            (Some(source), success(id, lie())),
            (None, success(id, source)),
        ]
    })
    .await;
    let (base, gathering) = ask(server).await;
    assert_eq!(base.dropped().wrong_source, 1);
    assert_eq!(gathering.evidence.summary().is_natted(), Some(false));
}

#[tokio::test]
async fn truncated_overlong_and_garbage_datagrams_are_dropped_and_counted() {
    let (server, _task) = liar(|id, source| {
        let good = success(id, source);
        vec![
            (None, good[..good.len() - 4].to_vec()),
            (None, [&good[..], &[0; 8]].concat()),
            (None, [&good[..], &[0; 9_000]].concat()),
            (None, b"\x80 not stun at all, not even close".to_vec()),
            (None, vec![]),
            (None, good),
        ]
    })
    .await;
    let (base, gathering) = ask(server).await;
    assert_eq!(gathering.evidence.summary().is_natted(), Some(false));
    let dropped = base.dropped();
    assert_eq!((dropped.malformed, dropped.garbage), (3, 2), "{dropped:?}");
}

#[tokio::test]
async fn a_mapped_address_of_a_wrong_length_is_an_answer_without_evidence() {
    let (server, _task) = liar(|id, source| {
        let mut short = success(id, source);
        short[23] = 5;
        vec![(None, short)]
    })
    .await;
    let (_base, gathering) = ask(server).await;
    assert_eq!(gathering.servers[0].outcome, Outcome::Refused);
    assert_eq!(
        gathering.evidence.summary().nat_type(),
        NatType::Unknown,
        "UDP is not blocked: something came back"
    );
}

#[tokio::test]
async fn an_impossible_mapped_address_is_dropped_and_counted() {
    let (server, _task) =
        liar(|id, _| vec![(None, success(id, "0.0.0.0:9".parse().unwrap()))]).await;
    let (_base, gathering) = ask(server).await;
    assert_eq!(gathering.evidence.discarded().impossible, 1);
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Unknown);
    assert_eq!(gathering.candidates.len(), 1, "nor is it signalled");
}

#[tokio::test]
async fn a_flood_while_gathering_neither_blinds_nor_delays() {
    let (server, _task) = liar(|id, source| {
        let forged = (0..500_u16).map(|n| {
            let mut wrong = id;
            wrong[..2].copy_from_slice(&n.to_be_bytes());
            (Some(source), success(wrong, lie()))
        });
        forged.chain([(None, success(id, source))]).collect()
    })
    .await;
    let (base, gathering) = ask(server).await;
    // a datagram beyond the kernel's buffer is lost like any packet, and asked for again
    assert_eq!(gathering.servers.len(), 1);
    assert_ne!(gathering.evidence.summary().nat_type(), NatType::Cone);
    assert!(base.dropped().unknown_id > 0);
    assert!(
        gathering.elapsed < Duration::from_millis(400),
        "{:?}",
        gathering.elapsed
    );
}

#[tokio::test]
async fn checks_of_strangers_never_reach_the_agent() {
    let base = base().await;
    let agent = IceAgent::new(&base, Role::Controlled, AgentConfig::default())
        .await
        .unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = base.local_addrs().next().unwrap();
    for n in 0..50 {
        stranger
            .send_to(&write_request([n; 12]), target)
            .await
            .unwrap();
    }
    let config = GatherConfig::default().with_deadline(Duration::from_millis(100));
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    base.gather(
        &[StunServer::Address(silent.local_addr().unwrap())],
        &config,
    )
    .await;
    assert_eq!(base.dropped().unauthenticated, 50);
    agent.close().await;
}

/// A stranger at the peer's signalled address, and an agent that tries to connect to it.
async fn signalled() -> (Base, IceAgent, UdpSocket, SocketAddr) {
    let base = base().await;
    let mut agent = IceAgent::new(&base, Role::Controlled, AgentConfig::default())
        .await
        .unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let remote = RemoteDescription {
        credentials: Credentials {
            ufrag: "peer".to_owned(),
            pwd: "p".repeat(24),
        },
        candidates: vec![RemoteCandidate {
            address: stranger.local_addr().unwrap(),
            kind: CandidateKind::Host,
            priority: 1_000,
        }],
    };
    let connected = agent.connect(remote, Duration::from_millis(100)).await;
    assert!(connected.is_err());
    let target = base.local_addrs().next().unwrap();
    (base, agent, stranger, target)
}

/// Sends so that none overflows the queue in the kernel.
async fn flood(stranger: &UdpSocket, target: SocketAddr, datagrams: &[impl AsRef<[u8]>]) {
    for some in datagrams.chunks(20) {
        for datagram in some {
            stranger.send_to(datagram.as_ref(), target).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_a_connection_is_read_little_of_a_flood_is_kept() {
    let (base, agent, stranger, target) = signalled().await;
    let before = base.dropped().unwanted;
    flood(&stranger, target, &vec![vec![0x80; 1_000]; 500]).await;
    let dropped = base.dropped().unwanted - before;
    assert_eq!(dropped, 500 - 64 * 1024 / 1_000, "64 KiB wait");
    // an address that was never signalled takes no room, and gets none
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    flood(&other, target, &vec![vec![0x80; 10]; 20]).await;
    assert_eq!(base.dropped().unwanted - before, dropped + 20);
    agent.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_from_a_signalled_address_has_to_authenticate() {
    let (base, agent, stranger, target) = signalled().await;
    let before = base.dropped().unauthenticated;
    let unsigned: Vec<_> = (0..100).map(|n| write_request([n; 12])).collect();
    flood(&stranger, target, &unsigned).await;
    assert_eq!(base.dropped().unauthenticated - before, 100);
    agent.close().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_icmp_error_that_the_server_itself_sent_shows_that_udp_passes() {
    let closed = UdpSocket::bind("127.0.0.74:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let silent = [
        UdpSocket::bind("127.0.0.75:0").await.unwrap(),
        UdpSocket::bind("127.0.0.76:0").await.unwrap(),
    ];
    let silent = silent.each_ref().map(|s| s.local_addr().unwrap());
    let config = GatherConfig::default().with_deadline(Duration::from_millis(600));
    for (servers, verdict) in [
        (&silent[..], NatType::UdpBlocked),
        (&[silent[0], silent[1], closed], NatType::Unknown),
    ] {
        let base = base().await;
        base.add_local([192, 168, 1, 5].into());
        let servers: Vec<_> = servers.iter().copied().map(StunServer::Address).collect();
        let gathering = base.gather(&servers, &config).await;
        assert_eq!(gathering.evidence.summary().nat_type(), verdict);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_unreachable_server_is_no_silent_one() {
    let closed = UdpSocket::bind("127.0.0.71:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let silent = UdpSocket::bind("127.0.0.72:0").await.unwrap();
    let honest = ice_gather::responder::Responder::bind("127.0.0.73:0")
        .await
        .unwrap();
    let base = base().await;
    let config = GatherConfig::default().with_deadline(Duration::from_millis(400));
    let servers = [closed, silent.local_addr().unwrap(), honest.address()].map(StunServer::Address);
    let gathering = base.gather(&servers, &config).await;
    let outcomes: Vec<_> = gathering.servers.iter().map(|s| s.outcome).collect();
    assert_eq!(
        outcomes,
        [Outcome::Unreachable, Outcome::TimedOut, Outcome::Answered]
    );

    // no server anywhere: no wait, and no firewall in the verdict
    let gathering = base.gather(&servers[..1], &config).await;
    assert_eq!(
        gathering.evidence.servers().len(),
        3,
        "evidence of earlier gatherings stays"
    );
    assert!(
        gathering.elapsed < Duration::from_millis(200),
        "{:?}",
        gathering.elapsed
    );
    let fresh = crate::gather::base().await;
    let gathering = fresh.gather(&servers[..1], &config).await;
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Unknown);
}

/// An error about an unreachable server while gathering must not break the connection
/// later.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_unreachable_server_is_forgotten_once_gathering_ends() {
    let closed = UdpSocket::bind("127.0.0.74:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let base = base().await;
    let config = GatherConfig::default().with_deadline(Duration::from_millis(100));
    base.gather(&[StunServer::Address(closed)], &config).await;
    let agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    assert_eq!(base.dropped().socket_errors, 0);
    agent.close().await;
}

/// A datagram, or an error, that the next read gets.
type Inbound = Result<(Vec<u8>, SocketAddr), io::ErrorKind>;
/// The fate of a request, by its number and server: the result of the send, and what it brings
/// about.
type Script =
    dyn Fn(usize, [u8; 12], SocketAddr) -> (Result<(), io::ErrorKind>, Vec<Inbound>) + Send + Sync;

/// A socket that follows the script of a test. Once the script has no more datagrams, reading waits.
struct Scripted {
    script: Box<Script>,
    sends: AtomicUsize,
    inbox: mpsc::UnboundedSender<Inbound>,
    outbox: Mutex<mpsc::UnboundedReceiver<Inbound>>,
    /// Every read fails.
    is_broken: bool,
}

const LOCAL: &str = "192.168.1.5:50000";

fn scripted(
    script: impl Fn(usize, [u8; 12], SocketAddr) -> (Result<(), io::ErrorKind>, Vec<Inbound>)
    + Send
    + Sync
    + 'static,
) -> Scripted {
    let (inbox, outbox) = mpsc::unbounded_channel();
    let script = Box::new(script);
    Scripted {
        script,
        sends: AtomicUsize::new(0),
        inbox,
        outbox: Mutex::new(outbox),
        is_broken: false,
    }
}

fn answer(id: [u8; 12], server: SocketAddr) -> Inbound {
    Ok((success(id, "203.0.113.7:50000".parse().unwrap()), server))
}

fn servers(count: u16) -> Vec<StunServer> {
    let address = |n: u16| SocketAddr::from(([198, 51, (n >> 8) as u8, n as u8], 3478));
    (1..=count)
        .map(|n| StunServer::Address(address(n)))
        .collect()
}

impl DatagramCarrier for Scripted {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if self.is_broken {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let (datagram, source) = self
            .outbox
            .lock()
            .await
            .recv()
            .await
            .unwrap()
            .map_err(io::Error::from)?;
        buffer[..datagram.len()].copy_from_slice(&datagram);
        Ok((datagram.len(), source))
    }

    async fn send_to(&self, buffer: &[u8], target: SocketAddr) -> io::Result<usize> {
        let number = self.sends.fetch_add(1, Ordering::Relaxed);
        let (sent, inbound) = (self.script)(number, Header::peek(buffer).unwrap().id, target);
        inbound
            .into_iter()
            .for_each(|inbound| self.inbox.send(inbound).unwrap());
        sent.map_err(io::Error::from)?;
        Ok(buffer.len())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(LOCAL.parse().unwrap())
    }
}

/// A response with one attribute of this value, whose length is right.
fn response(typ: u16, id: [u8; 12], attribute: u16, value: &[u8]) -> Vec<u8> {
    let mut message = write_request(id).to_vec();
    message[..2].copy_from_slice(&typ.to_be_bytes());
    message.extend_from_slice(&attribute.to_be_bytes());
    message.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
    let length = u16::try_from(message.len() - 20).unwrap();
    message[2..4].copy_from_slice(&length.to_be_bytes());
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spoofed_flood_of_50_000_datagrams_a_second_changes_nothing() {
    const PER_MILLISECOND: u16 = 50;
    let honest = [
        Responder::bind("127.0.0.31:0").await.unwrap(),
        Responder::bind("127.0.0.32:0").await.unwrap(),
    ];
    let silent = Responder::bind_with("127.0.0.33:0", Manner::Silent)
        .await
        .unwrap();
    let base = base().await;
    let agent = IceAgent::new(&base, Role::Controlled, AgentConfig::default())
        .await
        .unwrap();
    let target = base.local_addrs().next().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flood = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let (started, mut sent) = (Instant::now(), 0_u64);
            while !stop.load(Ordering::Relaxed) {
                for n in 0..PER_MILLISECOND {
                    let mut id = [9; 12];
                    id[..2].copy_from_slice(&n.to_be_bytes());
                    let datagram = match n % 3 {
                        0 => success(id, lie()),
                        1 => write_request(id).to_vec(),
                        _ => vec![0x80; 1_200],
                    };
                    // a full buffer of the kernel drops it, as it would a packet of the network
                    sent += u64::from(socket.send_to(&datagram, target).is_ok());
                }
                let due = Duration::from_micros(sent * 1_000 / u64::from(PER_MILLISECOND));
                std::thread::sleep(due.saturating_sub(started.elapsed()));
            }
            (sent, started.elapsed())
        }
    });
    // the silent server holds it open: half a second of flood
    let config = GatherConfig::default().with_grace(Duration::from_millis(500));
    let gathering = base
        .gather(
            &[honest[0].server(), honest[1].server(), silent.server()],
            &config,
        )
        .await;
    stop.store(true, Ordering::Relaxed);
    let (sent, flooded) = flood.join().unwrap();

    let rate = sent as f64 / flooded.as_secs_f64();
    assert!(
        rate > 25_000.0,
        "a flood of {rate:.0} a second proves little"
    );
    let summary = gathering.evidence.summary();
    assert_eq!(
        (summary.is_natted(), summary.mapping()),
        (Some(false), Mapping::EndpointIndependent)
    );
    assert_eq!(
        gathering.evidence.observations().len(),
        2,
        "not one of them is evidence"
    );
    assert!(
        gathering.elapsed < Duration::from_secs(2),
        "{:?}",
        gathering.elapsed
    );
    let dropped = base.dropped();
    assert!(
        dropped.unknown_id > 0 && dropped.unauthenticated > 0 && dropped.garbage > 0,
        "{dropped:?}"
    );
    let counted = u64::from(dropped.unknown_id)
        + u64::from(dropped.unauthenticated)
        + u64::from(dropped.garbage);
    assert!(counted <= sent);
    assert_eq!(
        (dropped.wrong_source, dropped.early, dropped.too_many_peers),
        (0, 0, 0),
        "{dropped:?}"
    );
    agent.close().await;
}

#[tokio::test]
async fn oversize_datagrams_are_dropped_and_counted_and_the_longest_answer_is_read() {
    let padded = |id, source, length: usize| {
        let mut message = success(id, source);
        let software = length - message.len() - 4;
        message.extend_from_slice(&0x8022_u16.to_be_bytes());
        message.extend_from_slice(&u16::try_from(software).unwrap().to_be_bytes());
        message.resize(length, 0);
        message[2..4].copy_from_slice(&u16::try_from(length - 20).unwrap().to_be_bytes());
        message
    };
    let (server, _task) = liar(move |id, source| {
        let lengths = [1_504, 9_000, 65_504, 1_500];
        lengths
            .into_iter()
            .map(|length| (None, padded(id, source, length)))
            .collect()
    })
    .await;
    let (base, gathering) = ask(server).await;
    assert_eq!(base.dropped().malformed, 3);
    assert_eq!(gathering.evidence.summary().is_natted(), Some(false));
}

#[tokio::test]
async fn a_mapped_address_is_taken_at_the_one_right_length_of_its_family() {
    const LENGTHS: u16 = 40;
    for (family, fits) in [(1, 8), (2, 20), (3, 0)] {
        let conn = scripted(move |number, id, server| {
            let mut value = vec![7; number];
            if let Some(byte) = value.get_mut(1) {
                *byte = family;
            }
            (
                Ok(()),
                vec![Ok((response(0x0101, id, 0x0020, &value), server))],
            )
        });
        let base = Base::from_carrier(conn).unwrap();
        let gathering = base
            .gather(&servers(LENGTHS), &GatherConfig::default())
            .await;
        let answered = |(_, report): &(usize, &ServerReport)| report.outcome == Outcome::Answered;
        let taken: Vec<_> = gathering
            .servers
            .iter()
            .enumerate()
            .filter(answered)
            .map(|(length, _)| length)
            .collect();
        assert_eq!(
            taken,
            if fits > 0 { vec![fits] } else { vec![] },
            "family {family}"
        );
        assert_eq!(
            gathering
                .servers
                .iter()
                .filter(|s| s.outcome == Outcome::Refused)
                .count()
                + taken.len(),
            40
        );
        assert_eq!(
            gathering.packets_sent,
            u32::from(LENGTHS),
            "each was an answer: no server is asked again"
        );
    }
}

#[tokio::test]
async fn an_attribute_longer_than_its_message_is_malformed_and_the_true_answer_still_taken() {
    let (server, _task) = liar(|id, source| {
        let good = success(id, source);
        let lies = (9..=255_u8).map(|announced| {
            let mut message = good.clone();
            message[23] = announced;
            (None, message)
        });
        // 9 to 12 still end with the message, by the padding or one byte short of it
        lies.filter(|(_, message)| message[23] > 12)
            .take(40)
            .chain([(None, good.clone())])
            .collect()
    })
    .await;
    let (base, gathering) = ask(server).await;
    assert_eq!(base.dropped().malformed, 40);
    assert_eq!(gathering.evidence.summary().is_natted(), Some(false));
}

#[tokio::test]
async fn error_responses_with_broken_reasons_are_answers_and_no_alternate_server_is_followed() {
    let alternate = Responder::bind("127.0.0.1:0").await.unwrap();
    let port = alternate.address().port();
    let reasons: [&[u8]; 5] = [
        &[0, 0, 3, 0, 0xff, 0xfe, 0x80],
        &[0, 0, 4, 1, 0xc3],
        &[0, 0, 4, 20, 0xed, 0xa0, 0x80],
        &[0, 0, 5, 0, 0, 0, 0],
        &[0xff; 763],
    ];
    for reason in reasons {
        let (server, _task) = liar(move |id, _| {
            let mut message = response(0x0111, id, 0x0009, reason);
            // ALTERNATE-SERVER (RFC 8489 section 14.15): 127.0.0.1 and the port of a server that
            // would answer
            let [high, low] = port.to_be_bytes();
            message.extend_from_slice(&[0x80, 0x23, 0, 8, 0, 1, high, low, 127, 0, 0, 1]);
            let length = u16::try_from(message.len() - 20).unwrap();
            message[2..4].copy_from_slice(&length.to_be_bytes());
            vec![(None, message)]
        })
        .await;
        let (base, gathering) = ask(server).await;
        assert_eq!(gathering.servers[0].outcome, Outcome::Refused, "{reason:?}");
        let code = u16::from(reason[2]) * 100 + u16::from(reason[3]);
        assert_eq!(
            gathering.servers[0].error_code,
            Some(if code < 700 { code } else { 0 })
        );
        assert_eq!(
            (gathering.packets_sent, base.dropped()),
            (1, Dropped::default())
        );
        assert_eq!(
            gathering.evidence.summary().nat_type(),
            NatType::Unknown,
            "UDP passes, the mapping stays unknown"
        );
    }
    assert_eq!(alternate.requests(), 0);
}

#[tokio::test]
async fn an_answer_after_the_deadline_becomes_evidence_once_checks_run() {
    let late = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = StunServer::Address(late.local_addr().unwrap());
    let (base, gathering) = ask(server).await;
    assert_eq!(gathering.servers[0].outcome, Outcome::GivenUp);
    assert_eq!(gathering.evidence.summary().is_natted(), None);

    let mut buffer = [0; 1500];
    let (n, source) = late.recv_from(&mut buffer).await.unwrap();
    let id = Header::peek(&buffer[..n]).unwrap().id;
    late.send_to(&success(id, source), source).await.unwrap();
    late.send_to(&success(id, lie()), source).await.unwrap();
    let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let absent = Credentials {
        ufrag: "absent".into(),
        pwd: "x".repeat(32),
    };
    let remote = RemoteDescription {
        credentials: absent,
        candidates: vec![],
    };
    let _ = agent.connect(remote, Duration::from_millis(200)).await;
    let summary = base.summary();
    assert_eq!(
        (summary.is_natted(), summary.counts().answered),
        (Some(false), 1),
        "the first answer, and only it"
    );
    agent.close().await;
}

#[tokio::test]
async fn of_a_thousand_servers_as_many_are_asked_as_the_cap_allows() {
    // observations beyond the room of the evidence might have differed
    for (cap, asked, verdict) in [(64, 64, NatType::Cone), (1_000, 1_000, NatType::Unknown)] {
        let conn = Arc::new(scripted(|_, id, server| (Ok(()), vec![answer(id, server)])));
        let base = Base::from_carrier(Arc::clone(&conn)).unwrap();
        // wait for all of them, and ask none again, however slow the machine
        let deadline = Duration::from_secs(30);
        let config = GatherConfig::default()
            .with_max_servers(cap)
            .with_deadline(deadline)
            .with_grace(deadline)
            .with_initial_rto(deadline);
        let gathering = base.gather(&servers(1_000), &config).await;
        assert_eq!(conn.sends.load(Ordering::Relaxed), asked);
        assert_eq!(
            (gathering.packets_sent as usize, gathering.servers.len()),
            (asked, asked)
        );
        assert_eq!(base.dropped().servers as usize, 1_000 - asked);
        assert!(
            gathering
                .servers
                .iter()
                .all(|server| server.outcome == Outcome::Answered)
        );
        assert_eq!(gathering.evidence.summary().nat_type(), verdict);
        assert_eq!(
            gathering.evidence.observations().len(),
            MAX_OBSERVATIONS,
            "evidence is bounded, whatever the cap"
        );
        assert!(
            gathering.elapsed < Duration::from_secs(10),
            "{:?}",
            gathering.elapsed
        );
    }
}

#[tokio::test]
async fn a_server_the_socket_cannot_send_to_is_unreachable_and_the_others_decide() {
    let conn = scripted(|number, id, server| match number {
        0 => (Err(io::ErrorKind::HostUnreachable), vec![]),
        _ => (Ok(()), vec![answer(id, server)]),
    });
    let base = Base::from_carrier(conn).unwrap();
    let gathering = base.gather(&servers(3), &GatherConfig::default()).await;
    let outcomes: Vec<_> = gathering
        .servers
        .iter()
        .map(|server| server.outcome)
        .collect();
    assert_eq!(
        outcomes,
        [Outcome::Unreachable, Outcome::Answered, Outcome::Answered]
    );
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Cone);
}

#[tokio::test]
async fn a_socket_that_cannot_send_at_all_ends_it_at_once_and_proves_no_firewall() {
    let conn = scripted(|_, _, _| (Err(io::ErrorKind::PermissionDenied), vec![]));
    let base = Base::from_carrier(conn).unwrap();
    let gathering = base.gather(&servers(5), &GatherConfig::default()).await;
    assert!(
        gathering
            .servers
            .iter()
            .all(|server| server.outcome == Outcome::Unreachable)
    );
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Unknown);
    assert!(
        gathering.elapsed < Duration::from_millis(200),
        "{:?}",
        gathering.elapsed
    );
}

#[tokio::test]
async fn errors_on_receiving_are_counted_and_the_answers_behind_them_taken() {
    let conn = scripted(|_, id, server| {
        let error = Err(io::ErrorKind::ConnectionRefused);
        (Ok(()), vec![error.clone(), error, answer(id, server)])
    });
    let base = Base::from_carrier(conn).unwrap();
    let config = GatherConfig::default();
    let config = config.with_grace(config.deadline);
    let gathering = base.gather(&servers(3), &config).await;
    assert_eq!(base.dropped().socket_errors, 6);
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Cone);
    assert_eq!(gathering.evidence.summary().counts().answered, 3);
}

#[tokio::test]
async fn a_socket_that_fails_every_read_neither_spins_nor_outlasts_the_deadline() {
    let mut conn = scripted(|_, _, _| (Ok(()), vec![]));
    conn.is_broken = true;
    let base = Base::from_carrier(conn).unwrap();
    let config = GatherConfig::default().with_deadline(Duration::from_millis(300));
    let gathering = base.gather(&servers(3), &config).await;
    assert!(
        gathering.elapsed < Duration::from_millis(600),
        "{:?}",
        gathering.elapsed
    );
    let errors = base.dropped().socket_errors;
    assert!((1..=31).contains(&errors), "one in 10 ms at most: {errors}");

    // the agent's reader is as patient, and its end does not depend on the socket
    let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default())
        .await
        .unwrap();
    let absent = Credentials {
        ufrag: "absent".into(),
        pwd: "x".repeat(32),
    };
    let remote = RemoteDescription {
        credentials: absent,
        candidates: vec![],
    };
    let started = Instant::now();
    let _ = agent.connect(remote, Duration::from_millis(200)).await;
    agent.close().await;
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    let errors = base.dropped().socket_errors - errors;
    assert!(errors <= 201, "{errors}");
}

#[tokio::test]
async fn a_cone_whose_mapping_expired_between_two_gatherings_is_no_symmetric_nat() {
    let silent: SocketAddr = "198.51.0.3:3478".parse().unwrap();
    let conn = scripted(move |number, id, server| match number {
        0..3 => (Ok(()), vec![answer(id, server)]),
        // asked again: another mapping, and one server that is too late
        _ if server == silent => (Ok(()), vec![]),
        _ => (
            Ok(()),
            vec![Ok((
                success(id, "203.0.113.7:61000".parse().unwrap()),
                server,
            ))],
        ),
    });
    let base = Base::from_carrier(conn).unwrap();
    assert_eq!(
        base.gather(&servers(3), &GatherConfig::default())
            .await
            .evidence
            .summary()
            .nat_type(),
        NatType::Cone
    );
    let mut verdicts = Vec::new();
    let gathering = base
        .gather_with(&servers(3), &GatherConfig::default(), |_| {
            verdicts.push(base.summary().nat_type())
        })
        .await;
    let summary = gathering.evidence.summary();
    assert_eq!(
        (summary.nat_type(), summary.counts().observations),
        (NatType::Cone, 2)
    );
    assert!(
        verdicts
            .iter()
            .all(|verdicts| [NatType::Cone, NatType::Unknown].contains(verdicts)),
        "{verdicts:?}"
    );
    assert_eq!(base.summary(), summary);
    let mapped: Vec<u16> = gathering
        .candidates
        .iter()
        .map(|candidate| candidate.address.port())
        .collect();
    assert_eq!(mapped, [50_000, 61_000], "host and reflexive");
}

#[tokio::test]
async fn servers_of_another_gathering_speak_for_a_mapping_that_is_known_to_be_the_same() {
    let conn = scripted(|number, id, server| match number {
        0..4 => (Ok(()), vec![answer(id, server)]),
        _ => (Ok(()), vec![]),
    });
    let base = Base::from_carrier(conn).unwrap();
    base.gather(&servers(3), &GatherConfig::default()).await;
    // the one that answers again saw it then as well
    let config = GatherConfig::default().with_deadline(Duration::from_millis(100));
    let gathering = base.gather(&servers(3), &config).await;
    assert_eq!(
        gathering
            .servers
            .iter()
            .filter(|server| server.outcome == Outcome::Answered)
            .count(),
        1
    );
    let summary = gathering.evidence.summary();
    assert_eq!(
        (summary.nat_type(), summary.counts().observations),
        (NatType::Cone, 3)
    );
    // no server answers, and nothing shows that the mapping is another
    let gathering = base.gather(&servers(3), &config).await;
    assert_eq!(gathering.evidence.summary(), summary);
}

#[tokio::test]
async fn an_interface_that_goes_down_mid_gather_ends_it_and_proves_no_firewall() {
    // the first round leaves, and the interface is gone before anything comes back or is sent again
    let conn = Arc::new(scripted(|number, _, _| match number {
        0..4 => (Ok(()), vec![]),
        _ => (
            Err(io::ErrorKind::NetworkDown),
            vec![Err(io::ErrorKind::NetworkDown)],
        ),
    }));
    let base = Base::from_carrier(Arc::clone(&conn)).unwrap();
    let gathering = base.gather(&servers(4), &GatherConfig::default()).await;
    assert!(
        gathering
            .servers
            .iter()
            .all(|server| server.outcome == Outcome::Unreachable && server.sends == 2)
    );
    assert_eq!(gathering.evidence.summary().nat_type(), NatType::Unknown);
    assert_eq!(conn.sends.load(Ordering::Relaxed), 8);
    assert!(
        gathering.elapsed < Duration::from_secs(1),
        "{:?}",
        gathering.elapsed
    );
}

#[tokio::test]
async fn an_answer_from_before_the_interface_went_down_stays_evidence() {
    let conn = scripted(|number, id, server| match number {
        0 => (Ok(()), vec![answer(id, server)]),
        1 | 2 => (Ok(()), vec![]),
        _ => (Err(io::ErrorKind::NetworkDown), vec![]),
    });
    let base = Base::from_carrier(conn).unwrap();
    let gathering = base.gather(&servers(3), &GatherConfig::default()).await;
    let summary = gathering.evidence.summary();
    assert_eq!(
        (summary.counts().answered, summary.is_natted()),
        (1, Some(true))
    );
    assert_eq!(
        (summary.nat_type(), summary.mapping()),
        (NatType::Unknown, Mapping::Unknown)
    );
    assert_eq!(gathering.candidates.len(), 2, "host and reflexive");
}
