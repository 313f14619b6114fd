//! The cost of the counts behind the verdict on a stage: datagrams per second over a data channel that
//! counts twice, as a share of those over one that counts once, in turns; the time and the allocations of
//! one count.
//!
//! A channel has no switch for its counts. Its datagrams are counted once more at the socket, with a clock
//! and a lock of their own, so the share is a lower bound of that of a channel with its counts and one
//! without. The fastest tenth of the rounds counts, because a round may lose the processor.

use std::alloc::System;
use std::hint::black_box;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use consumer_fsm::SessionDescription;
use consumer_fsm::transport::{
    DataChannel, DataChannelPath, DataChannelSession, IceTransport, Network, Path, Session,
    Transport,
};
use ice_gather::{Base, BindError, DatagramCarrier, Role};
use nat_summary::stage::PathWatch;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::net::UdpSocket;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Failure = Box<dyn std::error::Error>;

/// Datagrams of a round, each received before the next is sent.
const ROUND: u32 = 20;
const ROUNDS: usize = 8_000;
/// A datagram of QUIC, as it goes through the channel.
const LENGTH: usize = 1_150;

/// A socket whose datagrams may be counted once more.
struct Counted {
    socket: UdpSocket,
    counts: Option<Mutex<PathWatch>>,
    origin: Instant,
}

impl Counted {
    fn count(&self, datagram: &[u8], count: fn(&mut PathWatch, Duration, &[u8])) {
        let is_stun = matches!(datagram, [0..=3, ..]);
        if let Some(counts) = self.counts.as_ref().filter(|_| !is_stun) {
            let now = self.origin.elapsed();
            if let Ok(mut counts) = counts.lock() {
                count(&mut counts, now, datagram);
            }
        }
    }
}

impl DatagramCarrier for Counted {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (length, source) = self.socket.recv_from(buffer).await?;
        let datagram = buffer.get(..length).unwrap_or_default();
        self.count(datagram, PathWatch::received);
        Ok((length, source))
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        let sent = self.socket.send_to(datagram, target).await?;
        self.count(datagram, PathWatch::sent);
        Ok(sent)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

async fn bind(is_counted: bool) -> Result<Base, BindError> {
    let refused = |error: io::Error| BindError::Socket(error.kind());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
    Base::from_carrier(Arc::new(Counted {
        socket: socket.map_err(refused)?,
        counts: is_counted.then(|| Mutex::new(PathWatch::new())),
        origin: Instant::now(),
    }))
}

/// Two sides of a channel.
struct Pair {
    ours: DataChannelPath,
    theirs: DataChannelPath,
    _sessions: [DataChannelSession; 2],
}

impl Pair {
    async fn connect(is_counted: bool) -> Result<Self, Failure> {
        let transport = || {
            let network = Network::custom(move || bind(is_counted));
            DataChannel::new(IceTransport::new(network))
        };
        let mut ours = transport().open(Role::Controlling).await?;
        let mut theirs = transport().open(Role::Controlled).await?;
        let (here, there) = (ours.gather(&[]).await, theirs.gather(&[]).await);
        let offer = ours.describe(None, &here.candidates);
        let offer = SessionDescription::parse(&offer)?;
        let answer = theirs.describe(Some(&offer), &there.candidates);
        let answer = SessionDescription::parse(&answer)?;
        let deadline = Duration::from_secs(10);
        let (our_path, their_path) = tokio::join!(
            ours.connect(answer, deadline),
            theirs.connect(offer, deadline)
        );
        Ok(Self {
            ours: our_path?,
            theirs: their_path?,
            _sessions: [ours, theirs],
        })
    }

    /// The time of a datagram, in nanoseconds, by one round.
    async fn round(&self) -> Result<f64, Failure> {
        let (datagram, mut buffer) = ([7; LENGTH], [0; 2 * LENGTH]);
        let start = Instant::now();
        for _ in 0..ROUND {
            if !self.ours.send(&datagram).await || self.theirs.recv(&mut buffer).await.is_none() {
                return Err("the channel has ended".into());
            }
        }
        Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUND))
    }
}

/// The time of one count, in nanoseconds, and the allocations of all.
fn count_alone() -> (f64, usize) {
    const RECORD: &[u8] = b"\x17\xfe\xfd\0\x01\0\0\0\0\0\x01\x04\xa3";
    let mut datagram = [0; 1_200];
    datagram[..RECORD.len()].copy_from_slice(RECORD);
    let (mut watch, mut times) = (PathWatch::new(), Vec::with_capacity(ROUNDS));
    let region = Region::new(ALLOCATOR);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for n in 0..100 {
            watch.sent(Duration::from_micros(n), black_box(&datagram));
            watch.received(Duration::from_micros(n), black_box(&datagram));
        }
        times.push(start.elapsed().as_secs_f64() * 1e9 / 200.0);
    }
    let allocations = region.change().allocations;
    black_box(&watch);
    (fastest(&mut times), allocations)
}

/// The slowest of the fastest tenth.
fn fastest(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 10).copied().unwrap_or_default()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let (once, twice) = (Pair::connect(false).await?, Pair::connect(true).await?);
    let mut times = [const { Vec::new() }; 2];
    for round in 0..ROUNDS {
        // each comes first in half of the rounds
        for pair in [round % 2, (round + 1) % 2] {
            let time = [&once, &twice][pair].round().await?;
            times[pair].push(time);
        }
    }
    let [once, twice] = times.each_mut().map(|times| fastest(times));
    println!(
        "datagrams per second, counted twice, of those counted once: {:.4}",
        once / twice
    );
    println!("a datagram through the channel, both sides: {once:.0} ns");
    let (count, allocations) = count_alone();
    println!("one count of a datagram: {count:.1} ns, {allocations} allocations");
    if allocations > 0 {
        return Err("a count takes from the heap".into());
    }
    Ok(())
}
