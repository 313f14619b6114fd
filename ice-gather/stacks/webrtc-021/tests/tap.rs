//! The tap under webrtc 0.21: what it shows, that it changes nothing, and that it delegates everything.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ice_gather::tap::Tap;
use nat_summary::{Mapping, NatType, Outcome, Rule};
use webrtc::peer_connection::PeerConnection;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    Transmit, default_runtime,
};
use webrtc_021::{Server, gathering};

fn mapped(port: u16) -> Option<SocketAddr> {
    Some(([203, 0, 113, 7], port).into())
}

async fn servers<const N: usize>(mapped: [Option<SocketAddr>; N]) -> Vec<Server> {
    let mut servers = Vec::new();
    for (n, mapped) in (11..).zip(mapped) {
        servers.push(Server::bind([127, 0, 0, n], mapped).await.unwrap());
    }
    servers
}

/// Waits until the tap has so many answers.
async fn answers(tap: &Tap, count: usize) {
    let waiting = async {
        while tap.evidence().observations().len() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), waiting)
        .await
        .expect("the servers answer at once");
}

fn tap() -> Arc<Tap> {
    Tap::new(default_runtime().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_agree_show_a_cone_though_the_candidates_do_not() {
    let servers = servers([mapped(50_000), mapped(50_000)]).await;
    let tap = tap();
    let (connection, mut complete) = gathering(tap.clone(), &refs(&servers)).await.unwrap();
    answers(&tap, 2).await;
    complete.wait_for(|complete| *complete).await.unwrap();
    let summary = tap.evidence().summary();
    assert_eq!(summary.nat_type(), NatType::Cone);
    assert_eq!(summary.mapping(), Mapping::EndpointIndependent);
    assert_eq!(summary.rule(), Rule::ServersAgree);
    let description = connection.local_description().await.unwrap().sdp;
    let of_component_1 = |line: &&str| line.contains(" 1 udp ") && line.contains("typ srflx");
    assert_eq!(description.lines().filter(of_component_1).count(), 1);
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_differ_show_a_symmetric_nat() {
    let servers = servers([mapped(50_000), mapped(50_001)]).await;
    let tap = tap();
    let (connection, _complete) = gathering(tap.clone(), &refs(&servers)).await.unwrap();
    answers(&tap, 2).await;
    let summary = tap.evidence().summary();
    assert_eq!(summary.nat_type(), NatType::Symmetric);
    assert_eq!(summary.rule(), Rule::ServersDiffer);
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_holds_up_the_stack_and_not_the_verdict() {
    let servers = servers([mapped(50_000), mapped(50_000), None]).await;
    let tap = tap();
    let start = Instant::now();
    let (connection, mut complete) = gathering(tap.clone(), &refs(&servers)).await.unwrap();
    answers(&tap, 2).await;
    let decided = start.elapsed();
    assert_eq!(tap.evidence().summary().nat_type(), NatType::Cone);
    assert!(!*complete.borrow(), "the stack waits for the dead server");
    complete.wait_for(|complete| *complete).await.unwrap();
    let waited = start.elapsed();
    assert!(decided * 4 < waited, "{decided:?} of {waited:?}");
    let dead = servers[2].address();
    let asked = tap.servers();
    let dead = asked.iter().find(|asked| asked.server == dead).unwrap();
    assert_eq!(dead.outcome, Outcome::TimedOut);
    assert!(dead.sends >= 2);
    // the last copy may be on its way
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(u64::from(dead.sends), servers[2].requests());
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_packets_are_the_same_with_the_tap_and_without() {
    async fn packets(runtime: Arc<dyn Runtime>) -> Vec<u64> {
        let servers = servers([mapped(50_000), mapped(50_000), None]).await;
        let (connection, mut complete) = gathering(runtime, &refs(&servers)).await.unwrap();
        complete.wait_for(|complete| *complete).await.unwrap();
        // the last copy may be on its way
        tokio::time::sleep(Duration::from_millis(200)).await;
        connection.close().await.unwrap();
        servers.iter().map(Server::requests).collect()
    }
    let tap = tap();
    let (with, without) = tokio::join!(packets(tap.clone()), packets(default_runtime().unwrap()));
    assert_eq!(with, without, "at the two that answer, and at the dead one");
    assert_eq!(with[..2], [1, 1]);
    let counters = tap.counters();
    assert_eq!(u64::from(counters.sent_stun), with.iter().sum::<u64>());
    assert_eq!((counters.received_stun, counters.sent_other), (2, 0));
}

fn refs(servers: &[Server]) -> Vec<&Server> {
    servers.iter().collect()
}

/// A Binding request of 20 bytes.
const REQUEST: [u8; 20] = *b"\x00\x01\x00\x00\x21\x12\xA4\x42a random id.";

fn socket(runtime: &dyn Runtime, ip: &str) -> Arc<dyn AsyncUdpSocket> {
    let socket = std::net::UdpSocket::bind(ip).unwrap();
    runtime.wrap_udp_socket(socket).unwrap()
}

async fn send(socket: &dyn AsyncUdpSocket, to: SocketAddr, bytes: &[u8], size: Option<usize>) {
    let transmit = Transmit {
        destination: to,
        ecn: None,
        contents: bytes,
        segment_size: size,
        src_ip: None,
    };
    std::future::poll_fn(|cx| socket.poll_send(cx, &transmit))
        .await
        .unwrap();
}

async fn receive(socket: &dyn AsyncUdpSocket) -> Vec<(usize, usize)> {
    let mut memory = vec![vec![0; 65_535]; 4];
    let mut bufs: Vec<_> = memory
        .iter_mut()
        .map(|bytes| IoSliceMut::new(bytes))
        .collect();
    let mut meta = [RecvMeta::default(); 4];
    let count = std::future::poll_fn(|cx| socket.poll_recv(cx, &mut bufs, &mut meta)).await;
    let meta = &meta[..count.unwrap()];
    meta.iter().map(|meta| (meta.len, meta.stride)).collect()
}

#[tokio::test]
async fn each_datagram_of_a_batch_is_seen_alone() {
    let (sender, receiver) = (tap(), tap());
    let from = socket(&*sender, "127.0.0.1:0");
    let to = socket(&*receiver, "127.0.0.1:0");
    assert!(from.max_gso_segments() > 1, "this kernel has GSO");
    let batch = [REQUEST; 3].concat();
    send(
        &*from,
        to.local_addr().unwrap(),
        &batch,
        Some(REQUEST.len()),
    )
    .await;
    let mut batches = Vec::new();
    while batches.iter().map(|(length, _)| length).sum::<usize>() < batch.len() {
        batches.extend(receive(&*to).await);
    }
    assert_eq!(batches, [(60, 20)], "this kernel has GRO");
    assert_eq!(sender.counters().sent_stun, 3);
    assert_eq!(receiver.counters().received_stun, 3);
    // one that is no batch is one
    send(&*from, to.local_addr().unwrap(), &batch, None).await;
    receive(&*to).await;
    assert_eq!(sender.counters().sent_stun, 4);
    assert_eq!(receiver.counters().received_stun, 4);
    assert_eq!(
        receiver.counters().malformed,
        1,
        "three requests in one datagram are no STUN"
    );
}

#[tokio::test]
async fn names_of_the_link_are_no_sign_that_udp_passes() {
    let tap = tap();
    let sender = socket(&*default_runtime().unwrap(), "127.0.0.1:0");
    let names = socket(&*tap, "127.0.0.53:5353");
    send(&*sender, names.local_addr().unwrap(), b"mDNS", None).await;
    assert_eq!(receive(&*names).await[0].0, 4);
    assert_eq!(tap.counters(), Default::default());
}

/// Writes down which of its functions were called.
#[derive(Debug, Default)]
struct Calls(Mutex<Vec<&'static str>>);

impl Calls {
    fn note(&self, name: &'static str) {
        self.0.lock().unwrap().push(name);
    }
}

struct Nothing;

impl JoinHandle for Nothing {
    fn detach(&self) {}
    fn abort(&self) {}
    fn is_finished(&self) -> bool {
        true
    }
}

impl AsyncInterval for Nothing {
    fn tick(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

impl Runtime for Calls {
    fn spawn(&self, _: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        self.note("spawn");
        Box::new(Nothing)
    }

    fn spawn_reactor(
        &self,
        size: usize,
        _: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Box<dyn JoinHandle> {
        assert_eq!(size, 7);
        self.note("spawn_reactor");
        Box::new(Nothing)
    }

    fn wrap_udp_socket(&self, _: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        self.note("wrap_udp_socket");
        Err(io::ErrorKind::Unsupported.into())
    }

    fn wrap_tcp_listener(&self, _: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.note("wrap_tcp_listener");
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect_tcp<'a>(
        &'a self,
        _: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        self.note("connect_tcp");
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        assert_eq!(host, "a.example:1");
        self.note("resolve_host");
        Box::pin(async { Ok(Vec::new()) })
    }

    fn now(&self) -> Instant {
        self.note("now");
        Instant::now()
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.note("sleep");
        Box::pin(async {})
    }

    fn interval(&self, _: Duration) -> Box<dyn AsyncInterval> {
        self.note("interval");
        Box::new(Nothing)
    }

    fn block_on(&self, _: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.note("block_on");
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.note("yield_now");
        Box::pin(async {})
    }

    fn name(&self) -> &'static str {
        self.note("name");
        "calls"
    }
}

#[tokio::test]
async fn every_function_of_the_runtime_is_the_inner_ones() {
    let calls = Arc::new(Calls::default());
    let tap = Tap::new(calls.clone());
    calls.0.lock().unwrap().clear();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = "127.0.0.1:9".parse().unwrap();
    let hour = Duration::from_secs(3600);
    tap.spawn(Box::pin(async {}));
    tap.spawn_reactor(7, Box::pin(async {}));
    assert!(tap.wrap_udp_socket(udp).is_err());
    assert!(tap.wrap_tcp_listener(tcp).is_err());
    assert!(tap.connect_tcp(nowhere).await.is_err());
    assert!(tap.resolve_host("a.example:1").await.unwrap().is_empty());
    Runtime::now(&*tap);
    tap.sleep(hour).await;
    tap.interval(hour).tick().await;
    tap.block_on(Box::pin(async {}));
    tap.yield_now().await;
    assert_eq!(tap.name(), "calls");
    let expected = [
        "spawn",
        "spawn_reactor",
        "wrap_udp_socket",
        "wrap_tcp_listener",
        "connect_tcp",
        "resolve_host",
        "now",
        "sleep",
        "interval",
        "block_on",
        "yield_now",
        "name",
    ];
    assert_eq!(*calls.0.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_tap_and_its_sockets_are_printed_without_an_address() {
    let socket = socket(&*tap(), "127.0.0.1:0");
    assert_eq!(format!("{socket:?}"), "TappedSocket { .. }");
    assert_eq!(
        format!("{:?}", Tap::new(Arc::new(Calls::default()))),
        "Tap { .. }"
    );
}
