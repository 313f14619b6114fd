//! Attackers of the signalling service: clients that send, stall and idle, while an honest producer
//! and an honest consumer from elsewhere exchange their messages.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use consumer_fsm::signalling::http::HttpSignalling;
use consumer_fsm::signalling::{GENESIS, Kind, Listener, Signalling};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::Row;
use super::child::Side;
use super::ground::{CORE, Ground};
use super::side::Orders;
use crate::{Failure, bounds};

/// The name of the stand.
pub(super) const STAND: &str = "signalling service";
/// Its port.
const PORT: u16 = 9_000;
/// Longest start and longest end of a process.
const START: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(5);
/// Longest payload that the service passes on, in bytes.
const PAYLOAD: usize = 128 * 1024;
/// Descriptors of the attack with the most connections, and some.
const DESCRIPTORS: u64 = 4_096;
/// Fewest exchanges that a median is taken of.
const EXCHANGES: usize = 10;

/// What a client does to the service.
#[derive(Debug, Clone, Copy)]
enum Flood {
    /// 900 listeners that read nothing, and 34 announcements of 128 KiB.
    Announcements,
    /// 1,000 bodies that end a thousand bytes early.
    StalledBodies,
    /// 3,000 connections without a request.
    IdleConnections,
}

/// All classes: a line each.
pub(super) const CLASSES: [(&str, Class); 3] = [
    (
        "announcements to deaf listeners",
        Class(Flood::Announcements),
    ),
    ("a thousand stalled bodies", Class(Flood::StalledBodies)),
    ("3,000 idle connections", Class(Flood::IdleConnections)),
];

/// One class of attack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Class(Flood);

/// These classes, each against a service of its own.
pub(super) fn run(
    classes: &[(&'static str, Class)],
    tell: &(dyn Fn(&Row) + Sync),
) -> Result<Vec<Row>, Failure> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(
        Resource::RLIMIT_NOFILE,
        soft.max(DESCRIPTORS.min(hard)),
        hard,
    )?;
    let ground = Ground::new()?;
    let mut rows = Vec::new();
    for (name, Class(flood)) in classes {
        let mut row = Row::new(STAND, name);
        if let Err(failure) = one(&mut row, *flood, &ground) {
            row.faults.push(failure.to_string());
        }
        tell(&row);
        rows.push(row);
    }
    Ok(rows)
}

fn one(row: &mut Row, flood: Flood, ground: &Ground) -> Result<(), Failure> {
    let listen = SocketAddr::new(CORE.into(), PORT);
    let mut service = Side::start(&ground.core, &Orders::Service { listen })?;
    let before = service.until(START, |look| look.up == 1)?;
    let before = before.ok_or("the service did not start")?;
    let url = format!("http://{listen}/v1/signal");
    let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut most = before.resident;
    let took = thread::scope(|scope| -> Result<Vec<Duration>, Failure> {
        let attack = scope.spawn(|| {
            let attacked = ground.consumer.block_on(|| attack(flood, listen, &sent));
            is_over.store(true, Ordering::Relaxed);
            attacked
        });
        let honest = scope.spawn(|| ground.producer.block_on(|| exchanges(&url, &is_over)));
        while !honest.is_finished() {
            most = most.max(service.look()?.resident);
            thread::sleep(Duration::from_millis(50));
        }
        attack.join().map_err(|_| "the attack panicked")??;
        honest.join().map_err(|_| "an exchange panicked")?
    })?;
    let after = service.look()?;
    let mut took = took;
    took.sort_unstable();
    let half = took.get(took.len() / 2).copied().unwrap_or(Duration::MAX);
    row.sent = sent.load(Ordering::Relaxed);
    (row.asked, row.echoed) = (took.len() as u64, took.len() as u64);
    row.heap = after.heap - before.heap;
    row.panics = after.panics;
    let mebibytes = most / (1024 * 1024);
    row.note = format!("{mebibytes} MiB resident at most, half of the exchanges within {half:.1?}");
    if took.len() < EXCHANGES {
        row.faults
            .push(format!("only {} exchanges ended", took.len()));
    }
    if most >= bounds::SIEGE_SERVICE_RESIDENT {
        row.faults.push(format!("{mebibytes} MiB resident"));
    }
    if half >= bounds::SIEGE_EXCHANGE {
        row.faults
            .push(format!("half of the exchanges took {half:.1?}"));
    }
    if row.panics > 0 {
        row.faults.push(format!("{} panics", row.panics));
    }
    let ended = service.end(END)?;
    if !ended.is_some_and(|status| status.success()) {
        row.faults.push(format!("the service ended with {ended:?}"));
    }
    Ok(())
}

/// Whole exchanges, from the announcement to the last candidates, until the attack is over.
async fn exchanges(url: &str, is_over: &AtomicBool) -> Result<Vec<Duration>, Failure> {
    let client = HttpSignalling::new(url)?;
    let mut took = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let mine = format!("{{\"honest\":{}}}", took.len());
        let exchanged = tokio::time::timeout(Duration::from_secs(5), exchange(&client, &mine));
        if let Ok(Ok(())) = exchanged.await {
            took.push(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(took)
}

/// One producer, one consumer.
async fn exchange(client: &HttpSignalling, mine: &str) -> Result<(), Failure> {
    let producer = async {
        let offer = client.exchange(GENESIS, Kind::Genesis, mine).await?;
        let offer = offer.ok_or("no offer")?;
        client.exchange(&offer.reply_to, Kind::Answer, "{}").await?;
        Ok::<_, Failure>(())
    };
    let consumer = async {
        let mut listener = client.listen().await?;
        let genesis = loop {
            let heard = listener.next().await.ok_or("the listener ended")??;
            if heard.payload == mine {
                break heard;
            }
        };
        let answer = client
            .exchange(&genesis.reply_to, Kind::Offer, "{}")
            .await?;
        let answer = answer.ok_or("no answer")?;
        client.exchange(&answer.reply_to, Kind::Ice, "{}").await?;
        Ok::<_, Failure>(())
    };
    tokio::try_join!(producer, consumer).map(drop)
}

async fn attack(flood: Flood, service: SocketAddr, sent: &AtomicU64) -> Result<(), Failure> {
    match flood {
        Flood::Announcements => announcements(service, sent).await,
        Flood::StalledBodies => stalled_bodies(service, sent).await,
        Flood::IdleConnections => idle_connections(service, sent).await,
    }
    Ok(())
}

/// A connection; none if the service refuses it, or the kernel keeps it waiting.
async fn connect(service: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    // unread bytes wait at the service, and not in the kernel on this side
    socket.set_recv_buffer_size(4_096).ok()?;
    let connecting = tokio::time::timeout(Duration::from_millis(200), socket.connect(service));
    connecting.await.ok()?.ok()
}

fn head(method: &str, length: usize) -> String {
    format!(
        "{method} /v1/signal HTTP/1.1\r\nHost: x\r\nX-BF-Version: v2.3.1\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n"
    )
}

async fn announcements(service: SocketAddr, sent: &AtomicU64) {
    let mut deaf = Vec::new();
    for _ in 0..900 {
        if let Some(mut stream) = connect(service).await {
            let listen = "GET /v1/signal HTTP/1.1\r\nHost: x\r\nX-BF-Version: v2.3.1\r\n\r\n";
            // one that the service has closed is counted all the same
            let _ = stream.write_all(listen.as_bytes()).await;
            sent.fetch_add(1, Ordering::Relaxed);
            deaf.push(stream);
        }
    }
    let mut posts = JoinSet::new();
    for number in 0..34 {
        let Some(mut stream) = connect(service).await else {
            continue;
        };
        // JSON writes a control character in six
        let payload = ["x".repeat(PAYLOAD), "\u{1}".repeat(43_000)];
        let form = format!("send-to=genesis&type=0&data={}", payload[number % 2]);
        let request = head("POST", form.len()) + &form;
        sent.fetch_add(1, Ordering::Relaxed);
        posts.spawn(async move {
            let _ = stream.write_all(request.as_bytes()).await;
            let _ = stream.read(&mut [0; 1_024]).await;
        });
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    drop(deaf);
}

async fn stalled_bodies(service: SocketAddr, sent: &AtomicU64) {
    let length = 3 * PAYLOAD;
    let mut stalled = JoinSet::new();
    for _ in 0..1_000 {
        let Some(mut stream) = connect(service).await else {
            continue;
        };
        sent.fetch_add(1, Ordering::Relaxed);
        let begun = head("POST", length) + &"x".repeat(length - 1_000);
        stalled.spawn(async move {
            let _ = stream.write_all(begun.as_bytes()).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        });
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
}

async fn idle_connections(service: SocketAddr, sent: &AtomicU64) {
    let mut idle = Vec::new();
    for _ in 0..3_000 {
        idle.push(connect(service).await);
        sent.fetch_add(1, Ordering::Relaxed);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
}
