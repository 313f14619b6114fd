//! The signalling service as a process of its own, under attack: its memory, and how quickly others
//! are served meanwhile.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use consumer_fsm::signalling::http::HttpSignalling;
use consumer_fsm::signalling::{GENESIS, Kind, Listener, Signalling};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::Program;

/// Most resident memory of the service, at any time.
const MOST_KIB: u64 = 96 * 1024;
/// Longest that half of the honest exchanges take.
const HONEST: Duration = Duration::from_millis(100);
/// Longest payload that the service passes on, in bytes.
const PAYLOAD: usize = 128 * 1024;
const PLAIN: &str = "x";
const CONTROL: &str = "\u{1}";

/// The service, and where it listens.
struct Service {
    program: Program,
    address: SocketAddr,
    url: String,
}

impl Service {
    fn start() -> Self {
        let arguments = ["--role", "signal", "--listen", "127.0.0.1:0", "--json"];
        let mut program = Program::start(&arguments);
        let url = program.json("listening")["url"]
            .as_str()
            .unwrap()
            .to_owned();
        let authority = url.trim_start_matches("http://").split('/').next().unwrap();
        Self {
            address: authority.parse().unwrap(),
            program,
            url,
        }
    }

    /// Most resident memory so far, in KiB.
    fn peak(&self) -> u64 {
        let status = format!("/proc/{}/status", self.program.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// A connection from one of the attacker's addresses; `None` if the service refuses it.
    async fn connect(&self, from: usize) -> Option<TcpStream> {
        let from = from as u32 + 1;
        let from = Ipv4Addr::from_bits(Ipv4Addr::new(127, 66, 0, 0).to_bits() + from);
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::V4(from), 0).into()).unwrap();
        // a small buffer, because unread replies have to wait in the service and not in the kernel
        // of the attacker
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.connect(self.address).await.ok()
    }

    /// Whole exchanges, from the first announcement to the last candidate, until the attack is
    /// over; half of them were this quick.
    async fn serves_others_within(&self, attack: impl Future<Output = ()>) -> Duration {
        let client = HttpSignalling::new(&self.url).unwrap();
        let mut took = Vec::new();
        let exchanges = async {
            loop {
                took.push(exchange(&client, took.len()).await);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = exchanges => {}
            () = attack => {}
        }
        took.sort_unstable();
        assert!(took.len() >= 10, "only {} exchanges ended", took.len());
        took[took.len() / 2]
    }

    /// Checks the service's memory and the times of honest exchanges.
    fn stands(&self, attack: &str, half: Duration) {
        let peak = self.peak();
        println!("{attack}: {peak} KiB at most, half of the exchanges within {half:?}");
        assert!(peak < MOST_KIB, "{attack}: {peak} KiB");
        assert!(half < HONEST, "{attack}: {half:?}");
    }
}

/// One producer, one consumer.
async fn exchange(client: &HttpSignalling, number: usize) -> Duration {
    let started = Instant::now();
    let mine = format!("{{\"honest\":{number}}}");
    let producer = async {
        let offer = client.exchange(GENESIS, Kind::Genesis, &mine).await;
        let offer = offer.unwrap().expect("an offer");
        let ice = client.exchange(&offer.reply_to, Kind::Answer, "{}").await;
        assert_eq!(ice.unwrap().expect("candidates").kind, Kind::Ice);
    };
    let consumer = async {
        let mut listener = client.listen().await.unwrap();
        let genesis = loop {
            let heard = listener.next().await.expect("it is announced").unwrap();
            if heard.payload == mine {
                break heard;
            }
        };
        let answer = client.exchange(&genesis.reply_to, Kind::Offer, "{}").await;
        let answer = answer.unwrap().expect("an answer");
        let sent = client.exchange(&answer.reply_to, Kind::Ice, "{}").await;
        assert_eq!(sent, Ok(None));
    };
    tokio::join!(producer, consumer);
    started.elapsed()
}

fn head(method: &str, length: usize) -> String {
    format!(
        "{method} /v1/signal HTTP/1.1\r\nHost: x\r\nX-BF-Version: v2.3.1\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// The attacker's addresses take turns.
async fn flood_of_genesis_messages(service: &Service, addresses: usize) {
    let mut deaf = Vec::new();
    for number in 0..900 {
        if let Some(mut stream) = service.connect(number % addresses).await {
            let listen = "GET /v1/signal HTTP/1.1\r\nHost: x\r\nX-BF-Version: v2.3.1\r\n\r\n";
            let _ = stream.write_all(listen.as_bytes()).await;
            deaf.push(stream);
        }
    }
    let mut posts = JoinSet::new();
    for number in 0..34 {
        let Some(mut stream) = service.connect(number % addresses).await else {
            continue;
        };
        // JSON writes the one in six characters
        let payload = [PLAIN.repeat(PAYLOAD), CONTROL.repeat(43_000)];
        let form = format!("send-to=genesis&type=0&data={}", payload[number % 2]);
        let request = head("POST", form.len()) + &form;
        posts.spawn(async move {
            let _ = stream.write_all(request.as_bytes()).await;
            let _ = stream.read(&mut [0; 1_024]).await;
        });
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    drop(deaf);
}

async fn stalled_bodies(service: &Service, addresses: usize) {
    let length = 3 * PAYLOAD;
    let mut stalled = JoinSet::new();
    for number in 0..1_000 {
        let Some(mut stream) = service.connect(number % addresses).await else {
            continue;
        };
        let begun = head("POST", length) + &"x".repeat(length - 1_000);
        stalled.spawn(async move {
            let _ = stream.write_all(begun.as_bytes()).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        });
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
}

async fn idle_connections(service: &Service, addresses: usize) {
    let mut idle = Vec::new();
    for number in 0..3_000 {
        let connecting = service.connect(number % addresses);
        // those that the kernel keeps waiting count as well
        let connecting = tokio::time::timeout(Duration::from_millis(200), connecting);
        idle.push(connecting.await);
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
}

#[tokio::test]
async fn a_flood_of_genesis_messages_is_held_once_however_many_listen() {
    for addresses in [1, 40] {
        let service = Service::start();
        let attack = flood_of_genesis_messages(&service, addresses);
        let half = service.serves_others_within(attack).await;
        service.stands(&format!("genesis messages of {addresses}"), half);
    }
}

#[tokio::test]
async fn a_thousand_bodies_without_an_end_are_held_within_the_budget() {
    for addresses in [1, 40] {
        let service = Service::start();
        let attack = stalled_bodies(&service, addresses);
        let half = service.serves_others_within(attack).await;
        service.stands(&format!("stalled bodies of {addresses}"), half);
    }
}

#[tokio::test]
async fn three_thousand_idle_connections_lock_no_other_address_out() {
    for addresses in [1, 40] {
        let service = Service::start();
        let attack = idle_connections(&service, addresses);
        let half = service.serves_others_within(attack).await;
        service.stands(&format!("idle connections of {addresses}"), half);
    }
}
