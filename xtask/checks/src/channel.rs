//! `channel`: the leftovers of a data channel on each way out, its memory while it is open, and its
//! time to open, beside `webrtc`'s peer connection on the same base and plain ICE.

mod stock;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use consumer_fsm::SessionDescription;
use consumer_fsm::transport::{
    DataChannel, IceTransport, Network, Path, Session, Transport, TransportError,
};
use ice_gather::Role;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use testbed::mute;

use crate::alive::{Alive, settled};
use crate::meter::{Measured, Meter};
use common::commands::Channel;

use crate::{Failure, bounds, peers, table};

/// Pairs held open to measure the memory of each.
const HELD: usize = 40;
/// A random moment falls within this, or half, a quarter, an eighth or a sixteenth of it: so on
/// every layer, whether built for speed or not.
const LONGEST_US: u64 = 25_000;
/// Long enough for the layers below the one that stays silent.
const SILENCE: Duration = Duration::from_millis(80);

/// Who carries the datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Carrier {
    PlainIce,
    DataChannel,
    /// `RTCPeerConnection` of the crate `webrtc`, on our base.
    PeerConnection,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    /// Open, a datagram each way, both sides closed.
    Success,
    /// Closed in the moment it opens.
    ClosedAsItOpens,
    /// Open, both sides dropped without a word.
    DroppedConnected,
    /// Dropped at a random moment.
    Dropped,
    /// Open, then the other side goes.
    PeerCloses,
    /// No check is ever answered.
    IceSilent,
    /// The peer stops within the DTLS handshake.
    DtlsHalfOpen,
    /// The peer's certificate is another one.
    WrongFingerprint,
    /// DTLS stands, and SCTP never comes.
    SctpSilent,
}

const OURS: [Way; 9] = [
    Way::Success,
    Way::ClosedAsItOpens,
    Way::DroppedConnected,
    Way::Dropped,
    Way::PeerCloses,
    Way::IceSilent,
    Way::DtlsHalfOpen,
    Way::WrongFingerprint,
    Way::SctpSilent,
];
const STOCK: [Way; 4] = [
    Way::Success,
    Way::ClosedAsItOpens,
    Way::DroppedConnected,
    Way::Dropped,
];

#[derive(Debug, Serialize)]
struct Row {
    carrier: Carrier,
    way: Way,
    #[serde(flatten)]
    measured: Measured,
    clean: bool,
}

#[derive(Debug, Serialize)]
struct Size {
    carrier: Carrier,
    bytes_per_side: i64,
    tasks_per_side: f64,
    open_ms: f64,
}

/// Whether an open side holds no more than it may.
fn is_small(sizes: &[Size]) -> bool {
    let of = |carrier| {
        let size = sizes.iter().find(|size| size.carrier == carrier);
        size.map_or(0, |size| size.bytes_per_side)
    };
    let (channel, ice) = (of(Carrier::DataChannel), of(Carrier::PlainIce));
    channel <= bounds::CHANNEL_SIDE_BYTES
        && channel - ice <= bounds::CHANNEL_BYTES
        && ice <= bounds::ICE_SIDE_BYTES
}

pub(crate) fn run(options: &Channel) -> Result<bool, Failure> {
    let cycles = options.cycles.unwrap_or(bounds::CHANNEL_CYCLES).max(20);
    let ways: Vec<_> = if options.sizes {
        Vec::new()
    } else {
        let ours = OURS.map(|way| (Carrier::DataChannel, way)).into_iter();
        ours.chain(STOCK.map(|way| (Carrier::PeerConnection, way)))
            .collect()
    };
    crate::runtime()?.block_on(measure(&ways, cycles, options.json))
}

async fn measure(ways: &[(Carrier, Way)], cycles: u32, json: bool) -> Result<bool, Failure> {
    let (mut rows, mut sizes) = (Vec::new(), Vec::new());
    for (carrier, way) in ways.iter().copied() {
        // a leak of 400 KB a cycle shows early
        let cycles = if carrier == Carrier::PeerConnection {
            (cycles / 5).max(20)
        } else {
            cycles
        };
        let row = leak(carrier, way, cycles).await?;
        if !json {
            println!(
                "{:?} {:?}: {:.3} B, {} tasks, {} fds",
                row.carrier,
                row.way,
                row.measured.bytes_per_cycle,
                row.measured.tasks,
                row.measured.descriptors
            );
        }
        rows.push(row);
    }
    for carrier in [
        Carrier::PlainIce,
        Carrier::DataChannel,
        Carrier::PeerConnection,
    ] {
        sizes.push(size(carrier).await?);
    }
    let clean = rows
        .iter()
        .filter(|row| row.carrier == Carrier::DataChannel)
        .all(|row| row.clean)
        && is_small(&sizes);
    if json {
        println!(
            "{:#}",
            serde_json::json!({ "clean": clean, "ways": rows, "sizes": sizes })
        );
        return Ok(clean);
    }
    let cells = |row: &Row| {
        vec![
            format!("{:?}", row.carrier),
            format!("{:?}", row.way),
            row.measured.cycles.to_string(),
            format!("{:.0}", row.measured.seconds),
            format!("{:.3}", row.measured.bytes_per_cycle),
            row.measured.tasks.to_string(),
            row.measured.descriptors.to_string(),
            format!("{} of {}", row.measured.as_intended, row.measured.walked),
            if row.clean {
                "clean".into()
            } else {
                "LEAKS".into()
            },
        ]
    };
    let heads = [
        "carrier",
        "way",
        "cycles",
        "s",
        "bytes/cycle",
        "tasks",
        "descriptors",
        "as intended",
        "",
    ];
    if !rows.is_empty() {
        println!(
            "\n{}",
            table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
        );
    }
    let cells = |size: &Size| {
        vec![
            format!("{:?}", size.carrier),
            size.bytes_per_side.to_string(),
            format!("{:.1}", size.tasks_per_side),
            format!("{:.1}", size.open_ms),
        ]
    };
    let heads = ["carrier", "bytes held", "tasks", "ms to open"];
    println!(
        "{}",
        table::render(&heads, &sizes.iter().map(cells).collect::<Vec<_>>())
    );
    if !is_small(&sizes) {
        println!(
            "An open side of a data channel may hold {} bytes, {} of them beyond plain ICE, and plain ICE {}.",
            bounds::CHANNEL_SIDE_BYTES,
            bounds::CHANNEL_BYTES,
            bounds::ICE_SIDE_BYTES
        );
    }
    Ok(clean)
}

async fn leak(carrier: Carrier, way: Way, cycles: u32) -> Result<Row, Failure> {
    let meter = Meter {
        cycles,
        is_patient: carrier == Carrier::DataChannel,
        tell: |_| {},
    };
    let measured = walk(meter, carrier, way).await?;
    Ok(Row {
        carrier,
        way,
        clean: measured.is_clean() && measured.faults.is_empty(),
        measured,
    })
}

/// Connection after connection that ends like this.
pub(crate) async fn walk(meter: Meter, carrier: Carrier, way: Way) -> Result<Measured, Failure> {
    let cycle = async |_: &(), cycle: u32| {
        let mut rng = SmallRng::seed_from_u64(cycle.into());
        let moment = Duration::from_micros(rng.random_range(0..LONGEST_US >> (cycle % 5)));
        match carrier {
            Carrier::PeerConnection => stock::one(way, moment).await,
            _ => Ok(one(way, moment, cycle % 3).await),
        }
    };
    // a random moment may also fall behind the end
    let least = if way == Way::Dropped {
        bounds::INTENDED_BEFORE_THE_END
    } else {
        bounds::INTENDED
    };
    Ok(meter
        .measure(1, async || Ok(()), cycle)
        .await?
        .intended(least))
}

fn loopback() -> IceTransport {
    IceTransport::new(Network::System(peers::loopback())).with_agent_config(peers::eager())
}

/// Whether a datagram is a record of DTLS (RFC 7983 section 7).
fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..64))
}

/// A peer that falls silent behind so many datagrams of DTLS. Its checks are those of a healthy one.
fn dtls_ends_after(most: u32) -> IceTransport {
    mute::ice(move || {
        let sent = AtomicU32::new(0);
        Box::new(move |datagram| !is_dtls(datagram) || sent.fetch_add(1, Ordering::Relaxed) < most)
    })
}

/// A peer that sends nothing inside DTLS.
fn sctp_is_silent() -> IceTransport {
    /// ContentType of application data (RFC 5246 section 6.2.1).
    const APPLICATION_DATA: u8 = 23;
    /// The unified header of DTLS 1.3, whose lowest bits are those of the epoch (RFC 9147 section 4).
    const UNIFIED: std::ops::RangeInclusive<u8> = 32..=63;
    /// The epoch of application data.
    const EPOCH: u8 = 0b11;
    let leaves = |datagram: &[u8]| match datagram.first() {
        Some(kind) if UNIFIED.contains(kind) => kind & EPOCH != EPOCH,
        kind => kind != Some(&APPLICATION_DATA),
    };
    mute::ice(move || Box::new(leaves))
}

/// A consumer's session and a producer's on two transports of one kind, each with its path or why
/// there is none.
async fn meet<T: Transport>(
    consumer: T,
    producer: T,
    deadline: Duration,
    answered: fn(String) -> String,
) -> Result<(Side<T>, Side<T>), TransportError> {
    let (mut ours, mut theirs) = (
        consumer.open(Role::Controlling).await?,
        producer.open(Role::Controlled).await?,
    );
    let (our_side, their_side) = (ours.gather(&[]).await, theirs.gather(&[]).await);
    let read = |sdp: String| SessionDescription::parse(&sdp).map_err(|_| TransportError::Remote);
    let mut offer = read(ours.describe(None, &our_side.candidates))?;
    let answer = read(answered(
        theirs.describe(Some(&offer), &their_side.candidates),
    ))?;
    if answer.candidates.is_empty() {
        offer.candidates.clear();
    }
    let (our_path, their_path) = tokio::join!(
        ours.connect(answer, deadline),
        theirs.connect(offer, deadline)
    );
    Ok(((ours, our_path), (theirs, their_path)))
}

type Side<T> = (
    <T as Transport>::Session,
    Result<<<T as Transport>::Session as Session>::Path, TransportError>,
);

/// One connection; whether it went its way.
async fn one(way: Way, moment: Duration, said: u32) -> bool {
    let consumer = DataChannel::new(loopback());
    let (producer, deadline, answered): (_, _, fn(String) -> String) = match way {
        Way::DtlsHalfOpen => (dtls_ends_after(said % 2), SILENCE, unchanged),
        Way::SctpSilent => (sctp_is_silent(), SILENCE, unchanged),
        Way::IceSilent => (loopback(), Duration::from_millis(10), without_candidates),
        Way::WrongFingerprint => (loopback(), bounds::CHANNEL_WITHIN, forged),
        _ => (loopback(), bounds::CHANNEL_WITHIN, unchanged),
    };
    let meeting = meet(consumer, DataChannel::new(producer), deadline, answered);
    if way == Way::Dropped {
        return tokio::time::timeout(moment, meeting).await.is_err();
    }
    let Ok(((ours, our_path), (theirs, their_path))) = meeting.await else {
        return false;
    };
    let mut buffer = [0; 100];
    let intended = match (way, &our_path, &their_path) {
        (Way::Success, Ok(our_path), Ok(their_path)) => {
            our_path.send(&[1; 10]).await
                && their_path.recv(&mut buffer).await == Some(10)
                && their_path.send(&[2; 20]).await
                && our_path.recv(&mut buffer).await == Some(20)
        }
        (Way::ClosedAsItOpens, Ok(_), _) | (Way::DroppedConnected, Ok(_), Ok(_)) => true,
        (Way::PeerCloses, Ok(our_path), Ok(_)) => {
            theirs.close().await;
            let intended = our_path.recv(&mut buffer).await.is_none();
            ours.close().await;
            return intended;
        }
        (Way::IceSilent, Err(why), _) => *why == TransportError::TimedOut,
        (Way::DtlsHalfOpen, Err(why), _) => *why == TransportError::Dtls,
        (Way::WrongFingerprint, Err(why), _) => *why == TransportError::Fingerprint,
        (Way::SctpSilent, Err(why), _) => *why == TransportError::Channel,
        _ => false,
    };
    if way != Way::DroppedConnected {
        tokio::join!(ours.close(), theirs.close());
    }
    intended
}

fn unchanged(sdp: String) -> String {
    sdp
}

fn without_candidates(sdp: String) -> String {
    let kept = sdp.lines().filter(|line| !line.starts_with("a=candidate:"));
    kept.map(|line| format!("{line}\r\n")).collect()
}

fn forged(sdp: String) -> String {
    let line = |line: &str| match line.strip_prefix("a=fingerprint:") {
        Some(_) => format!("a=fingerprint:{}\r\n", consumer_fsm::Fingerprint([7; 32])),
        None => format!("{line}\r\n"),
    };
    sdp.lines().map(line).collect()
}

/// The memory of one side of an open connection, and its time to open: the median of many.
async fn size(carrier: Carrier) -> Result<Size, Failure> {
    let (mut times, before, after) = match carrier {
        Carrier::PlainIce => held(|| timed(loopback)).await?,
        Carrier::DataChannel => held(|| timed(|| DataChannel::new(loopback()))).await?,
        Carrier::PeerConnection => held(stock::open).await?,
    };
    times.sort_unstable();
    let open = times.get(times.len() / 2).copied().unwrap_or_default();
    let sides = 2 * HELD as i64;
    Ok(Size {
        carrier,
        bytes_per_side: (after.bytes - before.bytes) / sides,
        tasks_per_side: (after.tasks - before.tasks) as f64 / sides as f64,
        open_ms: open.as_secs_f64() * 1000.0,
    })
}

/// Opens pairs with `open` and holds them. Returns the time of each, and the live heap before and
/// while all are open.
async fn held<P, F: Future<Output = Result<(P, Duration), Failure>>>(
    open: impl Fn() -> F,
) -> Result<(Vec<Duration>, Alive, Alive), Failure> {
    // whatever is made once is made now
    drop(open().await?);
    let before = settled(None).await;
    let (mut pairs, mut times) = (Vec::with_capacity(HELD), Vec::with_capacity(HELD));
    for _ in 0..HELD {
        let (pair, time) = open().await?;
        pairs.push(pair);
        times.push(time);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = Alive::now();
    Ok((times, before, after))
}

/// A pair, and the time from both descriptions to both paths.
async fn timed<T: Transport>(
    transport: impl Fn() -> T,
) -> Result<((Side<T>, Side<T>), Duration), Failure> {
    let started = Instant::now();
    let pair = meet(transport(), transport(), bounds::CHANNEL_WITHIN, unchanged).await?;
    let took = started.elapsed();
    match (&pair.0.1, &pair.1.1) {
        (Ok(_), Ok(_)) => Ok((pair, took)),
        (Err(why), _) | (_, Err(why)) => Err((*why).into()),
    }
}
