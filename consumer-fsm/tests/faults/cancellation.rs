//! An attempt, or a volunteer, given up at every await it has: the first, the second, … until it
//! ends on its own.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use consumer_fsm::signalling::Switchboard;
use consumer_fsm::signalling::http::{HttpSignalling, SignallingService};
use consumer_fsm::transport::IceTransport;
use consumer_fsm::{Consumer, Producer};
use ice_gather::responder::{Manner, Responder};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::fault::Span;
use crate::shared::cache;
use crate::stage::{
    Peer, Running, Stage, patient_transport, responders, service_timing, timing, transport,
};
use crate::wire::{Script, serve, status};

/// More awaits than any attempt has.
const MOST_AWAITS: usize = 2_000;
/// Attempts at once: they wait nearly all the time.
const AT_ONCE: usize = 8;
/// Longest end of an attempt that was cancelled.
const LONGEST_END: Duration = Duration::from_secs(2);

/// Polls `future` until it has waited `awaits` times, and gives it up then; `None` if so.
async fn given_up<T>(future: impl Future<Output = T>, awaits: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut left = awaits;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // the last one: nothing else has to happen first
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// How an attempt is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Its future is dropped.
    Dropped,
    /// Its token is cancelled.
    Cancelled,
}

/// Whatever plays the other sides of an attempt; they end with it.
struct World {
    signalling: HttpSignalling,
    stun: Vec<Responder>,
    transport: IceTransport,
    /// The peer and the signalling service.
    _others: Box<dyn Any>,
}

/// Gives up one attempt at its first await, one at its second, …, each in a world of its own.
async fn at_every_await(how: How, world: impl AsyncFn() -> World + Clone + 'static) {
    for first in (0..MOST_AWAITS).step_by(AT_ONCE) {
        // each attempt is a task, so that a wake-up of one does not count as an await of the others
        let tasks = LocalSet::new();
        let attempt = |awaits| {
            let world = world.clone();
            tasks.spawn_local(async move { has_ended(how, &world().await, awaits).await })
        };
        let attempts: Vec<_> = (first..first + AT_ONCE).map(attempt).collect();
        tasks.await;
        let mut end = None;
        for (awaits, attempt) in (first..).zip(attempts) {
            if attempt.await.expect("what it panicked of is told above") {
                end = end.or(Some(awaits));
            }
        }
        if let Some(awaits) = end {
            assert!(awaits > 5, "it ended after {awaits} awaits");
            eprintln!("given up at each of {awaits} awaits");
            return;
        }
    }
    panic!("no end after {MOST_AWAITS} awaits");
}

/// Whether an attempt has its end before so many awaits; it is given up then.
async fn has_ended(how: How, world: &World, awaits: usize) -> bool {
    let stage = Stage::new(Span::Each("one if a server was asked"));
    let mut consumer = Consumer::new(
        world.signalling.clone(),
        world.transport.clone(),
        stage.telemetry.clone(),
        cache(&world.stun),
    )
    .with_timing(timing());
    let mut path = consumer.path();
    let (cancel, up) = (CancellationToken::new(), CancellationToken::new());
    // a path is enough: then it ends on its own
    let until_up = cancel.clone();
    let watch = Running(tokio::spawn(async move {
        if path.wait_for(|up| *up).await.is_ok() {
            up.cancel();
            until_up.cancel();
        }
    }));
    let mut attempt = Box::pin(consumer.attempt(&cancel));
    let ended = given_up(&mut attempt, awaits).await.is_some();
    if how == How::Cancelled && !ended {
        cancel.cancel();
        let report = tokio::time::timeout(LONGEST_END, attempt.as_mut()).await;
        report.unwrap_or_else(|_| panic!("after {awaits} awaits: cancelled, and no end"));
    }
    drop(attempt);
    drop(watch);
    drop(consumer);
    let has_asked = || world.stun.iter().map(Responder::requests).sum::<u64>() > 0;
    let spans = stage.spans.told();
    // requests arrive a little later on a busy machine
    for _ in 0..if spans.is_empty() { 2 } else { 500 } {
        if has_asked() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let asked = has_asked();
    assert_eq!(
        spans.len(),
        usize::from(asked),
        "after {awaits} awaits: {spans:?}"
    );
    let is_right = spans.iter().all(|(name, error)| {
        name == "nat_success"
            || matches!(
                error.as_deref(),
                Some("cancelled" | "timeout" | "udp_blocked" | "peer_gone")
            )
    });
    assert!(is_right, "after {awaits} awaits: {spans:?}");
    ended
}

/// Over HTTP, to a path.
async fn to_a_path() -> World {
    let service = SignallingService::bind("127.0.0.1:0", Switchboard::new(service_timing()))
        .await
        .unwrap();
    let signalling = HttpSignalling::new(&service.url()).unwrap();
    let peer = Peer::that_stays().start(signalling.clone());
    let stun = responders(2, Manner::Honest).await;
    World {
        signalling,
        stun,
        transport: patient_transport(),
        _others: Box::new((peer, service)),
    }
}

/// Signalling over HTTP, and an answer from a peer that never sends a check.
async fn to_a_time_out() -> World {
    let (signalling, service) = serve(Script::default()).await;
    let stun = responders(2, Manner::Honest).await;
    World {
        signalling,
        stun,
        transport: patient_transport(),
        _others: Box::new(service),
    }
}

pub(crate) async fn dropped_on_the_way_to_a_path(_: &Stage) {
    at_every_await(How::Dropped, to_a_path).await;
}

pub(crate) async fn cancelled_on_the_way_to_a_path(_: &Stage) {
    at_every_await(How::Cancelled, to_a_path).await;
}

pub(crate) async fn dropped_on_the_way_to_a_time_out(_: &Stage) {
    at_every_await(How::Dropped, to_a_time_out).await;
}

pub(crate) async fn cancelled_on_the_way_to_a_time_out(_: &Stage) {
    at_every_await(How::Cancelled, to_a_time_out).await;
}

/// Over HTTP, to a cohort that is silent.
pub(crate) async fn dropped_on_the_way_to_a_blocked_network(_: &Stage) {
    let world = async || {
        let (signalling, service) = serve(Script::default()).await;
        let stun = responders(2, Manner::Silent).await;
        World {
            signalling,
            stun,
            transport: transport(),
            _others: Box::new(service),
        }
    };
    at_every_await(How::Dropped, world).await;
}

/// Over HTTP, to a partner that hung up.
pub(crate) async fn dropped_on_the_way_to_a_partner_gone(_: &Stage) {
    let world = async || {
        let (signalling, service) = serve(Script {
            ice: status("404 Not Found"),
            ..Script::default()
        })
        .await;
        let stun = responders(2, Manner::Honest).await;
        World {
            signalling,
            stun,
            transport: patient_transport(),
            _others: Box::new(service),
        }
    };
    at_every_await(How::Dropped, world).await;
}

/// A volunteer, dropped at every await while a consumer comes for it.
pub(crate) async fn volunteer_dropped(stage: &Stage) {
    for awaits in 0..MOST_AWAITS {
        let stun = responders(1, Manner::Honest).await;
        let service = SignallingService::bind("127.0.0.1:0", Switchboard::new(service_timing()))
            .await
            .unwrap();
        let signalling = HttpSignalling::new(&service.url()).unwrap();
        let mut consumer = Consumer::new(
            signalling.clone(),
            transport(),
            stage.telemetry.clone(),
            cache(&stun),
        )
        .with_timing(timing());
        let _consumer = Running(tokio::spawn(async move {
            consumer.run(&CancellationToken::new()).await
        }));
        let producer = Producer::new(
            signalling,
            transport(),
            stun.iter().map(Responder::server).collect(),
        );
        if let Some(served) = given_up(producer.serve(), awaits).await {
            served.unwrap_or_else(|error| panic!("after {awaits} awaits: {error}"));
            assert!(awaits > 5, "it ended after {awaits} awaits");
            eprintln!("given up at each of {awaits} awaits");
            return;
        }
    }
    panic!("no end after {MOST_AWAITS} awaits");
}
