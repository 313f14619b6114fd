//! The work of each role until it is cancelled.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consumer_fsm::signalling::Switchboard;
use consumer_fsm::signalling::http::{Refused, SignallingService};
use consumer_fsm::transport::{DataChannel, IceTransport, Network, Transport};
use consumer_fsm::{Link, NoticeKind, Pool, Producer, StunCache, StunSource, Timing};
use ice_gather::responder::Responder;
use otel_nat::Telemetry;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::health;
use crate::options::{Kind, Options, Role};
use crate::output::Output;
use crate::tally::Counts;

type Failure = Box<dyn std::error::Error>;

/// Time between two datagrams that probe a path.
const PROBE: Duration = Duration::from_secs(1);
/// How long a path is kept where only attempts count.
const HOLD: Duration = Duration::from_secs(1);
/// Pause of a producer whose service failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Least time between two status lines.
const STATUS: Duration = Duration::from_secs(1);
/// Datagrams waiting in each direction of a slot.
const QUEUE: usize = 64;

/// Whether it went as it should.
pub(crate) async fn run(
    options: &Options,
    telemetry: Telemetry,
    output: &Output,
    cancel: &CancellationToken,
) -> Result<bool, Failure> {
    let ice = IceTransport::new(Network::System(options.bind()));
    match (options.role, options.transport) {
        (Role::Signal, _) => signal(options, output, cancel).await,
        (Role::Stun, _) => stun(options, output, cancel).await,
        (Role::Consumer, Kind::Ice) => consume(options, ice, telemetry, output, cancel).await,
        (Role::Consumer, Kind::DataChannel) => {
            consume(options, DataChannel::new(ice), telemetry, output, cancel).await
        }
        (Role::Producer, Kind::Ice) => produce(options, ice, output, cancel).await,
        (Role::Producer, Kind::DataChannel) => {
            produce(options, DataChannel::new(ice), output, cancel).await
        }
    }
}

async fn signal(
    options: &Options,
    output: &Output,
    cancel: &CancellationToken,
) -> Result<bool, Failure> {
    let listen = options
        .listen
        .unwrap_or_else(|| ([127, 0, 0, 1], 9000).into());
    let config = options.service();
    let service = SignallingService::bind_with(listen, Switchboard::default(), config)
        .await
        .map_err(|error| cannot_listen(listen, &error))?;
    output.print(
        None,
        "listening",
        &format!("listening: --signal {}", service.url()),
        json!({ "url": service.url() }),
    );
    cancel.cancelled().await;
    let Refused {
        connections,
        requests,
        deaf,
        ..
    } = service.refused();
    output.print(
        None,
        "stopped",
        &format!(
            "stopped; refused {connections} connections, {requests} requests, {deaf} deaf clients"
        ),
        json!({ "refused_connections": connections, "refused_requests": requests, "deaf": deaf }),
    );
    Ok(true)
}

/// Names the port, because several roles of the program listen on one machine.
fn cannot_listen(listen: SocketAddr, error: &io::Error) -> Failure {
    format!("cannot listen on port {}: {error}", listen.port()).into()
}

async fn stun(
    options: &Options,
    output: &Output,
    cancel: &CancellationToken,
) -> Result<bool, Failure> {
    let listen = options
        .listen
        .unwrap_or_else(|| ([127, 0, 0, 1], 3478).into());
    let server = Responder::bind(listen)
        .await
        .map_err(|error| cannot_listen(listen, &error))?;
    let address = server.address().to_string();
    output.print(
        None,
        "listening",
        &format!("listening: --stun {address}"),
        json!({ "stun": address }),
    );
    cancel.cancelled().await;
    Ok(true)
}

async fn consume<T>(
    options: &Options,
    transport: T,
    telemetry: Telemetry,
    output: &Output,
    cancel: &CancellationToken,
) -> Result<bool, Failure>
where
    T: Transport + Clone + 'static,
    T::Session: 'static,
{
    let lifetime = options.hold.or(options.attempts.map(|_| HOLD));
    let timing = Timing::default().with_path_lifetime(lifetime);
    let mut pool = Pool::new(
        options.signal.clone(),
        transport,
        telemetry,
        servers(options, output.clone()),
        options.slots,
    )
    .with_timing(timing);
    if let Some(attempts) = options.attempts {
        pool = pool.with_attempts(attempts);
    }
    if let Some(id) = &options.session_id {
        pool = pool.with_session_id(id.as_str());
    }
    let mut notices = pool.notices();
    let mut probes = JoinSet::new();
    let mut paths = Vec::new();
    let is_terse = options.slots > 1 && !options.verbose && !options.json;
    for (slot, link) in pool.links(QUEUE).into_iter().enumerate() {
        let path = watch::Sender::new(false);
        let output = (!is_terse).then(|| output.clone());
        probes.spawn(probe(slot, link, path.subscribe(), output));
        paths.push(path);
    }
    let counts = Counts::new(options.slots);
    let mut side = JoinSet::new();
    if let Some(address) = options.health {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| cannot_listen(address, &error))?;
        side.spawn(health::serve(listener, counts.clone()));
    }
    if is_terse {
        side.spawn(status(counts.clone(), output.clone()));
    }
    let mut had_path = false;
    let print = async {
        while let Some(notice) = notices.next().await {
            counts.lock().take(&notice.kind);
            if !is_terse || matches!(notice.kind, NoticeKind::SignallingFailed(_)) {
                output.notice(&notice);
            }
            if let (NoticeKind::PathUp | NoticeKind::PathDown, Some(path)) =
                (&notice.kind, paths.get(notice.slot))
            {
                path.send_replace(notice.kind == NoticeKind::PathUp);
                had_path |= notice.kind == NoticeKind::PathUp;
            }
        }
    };
    tokio::join!(pool.run(cancel), print);
    if notices.missed() > 0 {
        output.warn(&format!(
            "{} notices are not shown, because there were too many at once",
            notices.missed()
        ));
    }
    if options.attempts.is_some() {
        output.closing(&counts.lock());
    }
    Ok(had_path || options.attempts.is_none())
}

/// Prints the counts whenever they have changed, at most once in each interval.
async fn status(counts: Counts, output: Output) {
    let mut last = String::new();
    loop {
        tokio::time::sleep(STATUS).await;
        let status = counts.lock().status();
        if status != last {
            output.print(None, "status", &status, json!({}));
            last = status;
        }
    }
}

fn servers(options: &Options, output: Output) -> StunCache {
    StunCache::from_source(match &options.stun_file {
        None => StunSource::List(options.stun.clone()),
        Some(file) => {
            let (named, file) = (options.stun.clone(), StunSource::File(file.clone()));
            StunSource::from_fn(move || {
                let (mut servers, file, output) = (named.clone(), file.clone(), output.clone());
                async move {
                    match file.load().await {
                        Ok(more) => servers.extend(more),
                        Err(error) if servers.is_empty() => return Err(error),
                        // the servers of --stun are enough to go on with
                        Err(error) => output.warn(&format!("--stun-file: {error}")),
                    }
                    Ok(servers)
                }
            })
        }
    })
}

/// Sends a probe once a second while there is a path, and prints the round trip of the first echo,
/// where it has an output.
async fn probe(
    slot: usize,
    mut link: Link,
    mut path: watch::Receiver<bool>,
    output: Option<Output>,
) {
    // each datagram carries its number, because an echo of an older one would show a wrong time
    let mut number = 0_u64;
    while path.wait_for(|up| *up).await.is_ok() {
        let mut down = path.clone();
        let work = async {
            let mut is_printed = false;
            loop {
                number += 1;
                let datagram = Bytes::from([&[0x80][..], &number.to_be_bytes()].concat());
                let sent = Instant::now();
                link.send(datagram.clone());
                let back = tokio::time::timeout(PROBE, async {
                    while link.recv().await? != datagram {}
                    Some(sent.elapsed())
                });
                match back.await {
                    Ok(Some(round_trip)) => {
                        if let (false, Some(output)) = (is_printed, &output) {
                            let millis = (round_trip.as_secs_f64() * 10_000.0).round() / 10.0;
                            let text = format!("the path works: {millis} ms there and back");
                            let more = json!({ "round_trip_ms": millis });
                            output.print(Some(slot), "echo", &text, more);
                            is_printed = true;
                        }
                        // other datagrams are taken, because they would fill the queue, and ignored
                        let _ = tokio::time::timeout(PROBE, async {
                            while link.recv().await.is_some() {}
                        })
                        .await;
                    }
                    Ok(None) => return,
                    Err(_) => {}
                }
            }
        };
        tokio::select! {
            () = work => return,
            _ = down.wait_for(|up| !*up) => {}
        }
    }
}

async fn produce<T>(
    options: &Options,
    transport: T,
    output: &Output,
    cancel: &CancellationToken,
) -> Result<bool, Failure>
where
    T: Transport + Clone + 'static,
    T::Session: 'static,
{
    let mut slots = JoinSet::new();
    for slot in 0..options.slots {
        let producer = Producer::new(
            options.signal.clone(),
            transport.clone(),
            options.stun.clone(),
        );
        slots.spawn(volunteer(slot, producer, output.clone(), cancel.clone()));
    }
    while slots.join_next().await.is_some() {}
    Ok(true)
}

/// Serves one consumer after the other.
async fn volunteer<T: Transport>(
    slot: usize,
    producer: Producer<consumer_fsm::signalling::http::HttpSignalling, T>,
    output: Output,
    cancel: CancellationToken,
) {
    output.print(
        Some(slot),
        "announcing",
        "waiting for a consumer",
        json!({}),
    );
    while !cancel.is_cancelled() {
        let served = tokio::select! {
            () = cancel.cancelled() => return,
            served = producer.serve() => served,
        };
        match served {
            Ok(served) => {
                output.print(Some(slot), "served", "a consumer is connected", json!({}));
                let echoed = served.echo(&cancel).await;
                output.print(
                    Some(slot),
                    "ended",
                    &format!("it left after {echoed} datagrams"),
                    json!({ "echoed": echoed }),
                );
            }
            Err(error) => {
                output.print(
                    Some(slot),
                    "failed",
                    &format!("failed: {error}"),
                    json!({ "reason": error.to_string() }),
                );
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}
