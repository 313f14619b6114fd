//! What each role does until it is told to stop.

use std::time::{Duration, Instant};

use bytes::Bytes;
use consumer_fsm::signalling::Switchboard;
use consumer_fsm::signalling::http::{Refused, SignallingService};
use consumer_fsm::transport::{DataChannel, Ice, Network, Transport};
use consumer_fsm::{Link, Pool, Producer, StunCache, StunSource, Timing, What};
use ice_gather::responder::Responder;
use otel_nat::Telemetry;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::events::EventSink;
use crate::options::{Kind, Options, Role};

type Failure = Box<dyn std::error::Error>;

/// Time between two datagrams that are sent over a path to see it work.
const PROBE: Duration = Duration::from_secs(1);
/// How long a path is kept where only attempts count.
const HOLD: Duration = Duration::from_secs(1);
/// Pause of a producer whose service failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Datagrams waiting in each direction of a slot.
const QUEUE: usize = 64;

/// Whether it went as it should.
pub(crate) async fn run(
    options: &Options,
    telemetry: Telemetry,
    sink: &EventSink,
    cancel: &CancellationToken,
) -> Result<bool, Failure> {
    let ice = Ice::new(Network::System(options.bind.clone()));
    match (options.role, options.transport) {
        (Role::Signal, _) => signal(options, sink, cancel).await,
        (Role::Stun, _) => stun(options, sink, cancel).await,
        (Role::Consumer, Kind::Ice) => consume(options, ice, telemetry, sink, cancel).await,
        (Role::Consumer, Kind::DataChannel) => {
            consume(options, DataChannel::new(ice), telemetry, sink, cancel).await
        }
        (Role::Producer, Kind::Ice) => produce(options, ice, sink, cancel).await,
        (Role::Producer, Kind::DataChannel) => {
            produce(options, DataChannel::new(ice), sink, cancel).await
        }
    }
}

async fn signal(
    options: &Options,
    sink: &EventSink,
    cancel: &CancellationToken,
) -> Result<bool, Failure> {
    let listen = options
        .listen
        .unwrap_or_else(|| ([127, 0, 0, 1], 9000).into());
    let config = options.service.clone();
    let service = SignallingService::bind_with(listen, Switchboard::default(), config).await?;
    sink.emit(
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
    sink.emit(
        None,
        "stopped",
        &format!(
            "stopped; refused {connections} connections, {requests} requests, {deaf} deaf clients"
        ),
        json!({ "refused_connections": connections, "refused_requests": requests, "deaf": deaf }),
    );
    Ok(true)
}

async fn stun(
    options: &Options,
    sink: &EventSink,
    cancel: &CancellationToken,
) -> Result<bool, Failure> {
    let listen = options
        .listen
        .unwrap_or_else(|| ([127, 0, 0, 1], 3478).into());
    let server = Responder::bind(listen).await?;
    let address = server.address().to_string();
    sink.emit(
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
    sink: &EventSink,
    cancel: &CancellationToken,
) -> Result<bool, Failure>
where
    T: Transport + Clone + 'static,
    T::Session: 'static,
{
    let mut timing = Timing::default();
    timing.path_lifetime = options.hold.or(options.attempts.map(|_| HOLD));
    let mut pool = Pool::new(
        options.signalling.clone(),
        transport,
        telemetry,
        servers(options, sink.clone()),
        options.slots,
    )
    .with_timing(timing);
    if let Some(attempts) = options.attempts {
        pool = pool.with_attempts(attempts);
    }
    let mut notices = pool.notices();
    let mut probes = JoinSet::new();
    let mut paths = Vec::new();
    for (slot, link) in pool.links(QUEUE).into_iter().enumerate() {
        let path = watch::Sender::new(false);
        probes.spawn(probe(slot, link, path.subscribe(), sink.clone()));
        paths.push(path);
    }
    let mut had_path = false;
    let tell = async {
        while let Some(notice) = notices.next().await {
            sink.notice(&notice);
            if let (What::PathUp | What::PathDown, Some(path)) =
                (&notice.what, paths.get(notice.slot))
            {
                path.send_replace(notice.what == What::PathUp);
                had_path |= notice.what == What::PathUp;
            }
        }
    };
    tokio::join!(pool.run(cancel), tell);
    if notices.missed() > 0 {
        sink.warn(&format!(
            "{} notices are not shown, because there were too many at once",
            notices.missed()
        ));
    }
    Ok(had_path || options.attempts.is_none())
}

fn servers(options: &Options, sink: EventSink) -> StunCache {
    StunCache::from_source(match &options.stun_file {
        None => StunSource::List(options.stun.clone()),
        Some(file) => {
            let (named, file) = (options.stun.clone(), StunSource::File(file.clone()));
            StunSource::from_fn(move || {
                let (mut servers, file, sink) = (named.clone(), file.clone(), sink.clone());
                async move {
                    match file.load().await {
                        Ok(more) => servers.extend(more),
                        Err(error) if servers.is_empty() => return Err(error),
                        // those that were named are enough to go on with
                        Err(error) => sink.warn(&format!("--stun-file: {error}")),
                    }
                    Ok(servers)
                }
            })
        }
    })
}

/// While there is a path, sends a datagram now and then, and says how long the first that came back
/// was on its way.
async fn probe(slot: usize, mut link: Link, mut path: watch::Receiver<bool>, sink: EventSink) {
    // each datagram carries its number: an echo of an older one is no answer to this one
    let mut number = 0_u64;
    while path.wait_for(|up| *up).await.is_ok() {
        let mut down = path.clone();
        let work = async {
            let mut is_told = false;
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
                        if !is_told {
                            let millis = (round_trip.as_secs_f64() * 10_000.0).round() / 10.0;
                            let text = format!("the path works: {millis} ms there and back");
                            sink.emit(
                                Some(slot),
                                "echo",
                                &text,
                                json!({ "round_trip_ms": millis }),
                            );
                            is_told = true;
                        }
                        // whatever else comes is taken, and of no interest
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
    sink: &EventSink,
    cancel: &CancellationToken,
) -> Result<bool, Failure>
where
    T: Transport + Clone + 'static,
    T::Session: 'static,
{
    let mut slots = JoinSet::new();
    for slot in 0..options.slots {
        let producer = Producer::new(
            options.signalling.clone(),
            transport.clone(),
            options.stun.clone(),
        );
        slots.spawn(volunteer(slot, producer, sink.clone(), cancel.clone()));
    }
    while slots.join_next().await.is_some() {}
    Ok(true)
}

/// Serves one consumer after the other.
async fn volunteer<T: Transport>(
    slot: usize,
    producer: Producer<consumer_fsm::signalling::http::HttpSignalling, T>,
    sink: EventSink,
    cancel: CancellationToken,
) {
    sink.emit(
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
                sink.emit(Some(slot), "served", "a consumer is connected", json!({}));
                let echoed = served.echo(&cancel).await;
                sink.emit(
                    Some(slot),
                    "ended",
                    &format!("it left after {echoed} datagrams"),
                    json!({ "echoed": echoed }),
                );
            }
            Err(error) => {
                sink.emit(
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
