//! An attempt, or a volunteer, given up at every await it has: the first, the second, … until it ends on its own.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use consumer_fsm::signalling::Switchboard;
use consumer_fsm::signalling::http::{HttpSignalling, SignallingService};
use consumer_fsm::{Consumer, Producer};
use ice_gather::responder::{Manner, Responder};
use tokio_util::sync::CancellationToken;

use crate::shared::cache;
use crate::stage::{Peer, Running, Stage, responders, service_timing, timing, transport};
use crate::wire::{Script, serve, status};

/// More awaits than any attempt has.
const MOST_AWAITS: usize = 2_000;
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
    /// Whoever serves.
    _others: Box<dyn Any>,
}

async fn at_every_await(stage: &Stage, how: How, world: impl AsyncFn() -> World) {
    for awaits in 0..MOST_AWAITS {
        let told = stage.spans.all().len();
        let world = world().await;
        let mut consumer =
            Consumer::new(world.signalling.clone(), transport(), stage.telemetry.clone(), cache(&world.stun))
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
        let spans = stage.spans.told().split_off(told);
        // what was sent arrives, on a busy machine a little later
        for _ in 0..if spans.is_empty() { 2 } else { 500 } {
            if has_asked() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let asked = has_asked();
        assert_eq!(spans.len(), usize::from(asked), "after {awaits} awaits: {spans:?}");
        if ended {
            assert!(awaits > 5, "it ended after {awaits} awaits");
            eprintln!("given up at each of {awaits} awaits");
            return;
        }
        let is_right = spans.iter().all(|(name, error)| {
            name == "nat_success"
                || matches!(error.as_deref(), Some("cancelled" | "timeout" | "udp_blocked" | "peer_gone"))
        });
        assert!(is_right, "after {awaits} awaits: {spans:?}");
    }
    panic!("no end after {MOST_AWAITS} awaits");
}

/// Over HTTP, to a path.
async fn to_a_path() -> World {
    let service = SignallingService::bind("127.0.0.1:0", Switchboard::new(service_timing())).await.unwrap();
    let signalling = HttpSignalling::new(&service.url()).unwrap();
    let peer = Peer::that_stays().start(signalling.clone());
    let stun = responders(2, Manner::Honest).await;
    World { signalling, stun, _others: Box::new((peer, service)) }
}

/// Over HTTP, to an answer of somebody who never checks.
async fn to_a_time_out() -> World {
    let (signalling, service) = serve(Script::default()).await;
    World { signalling, stun: responders(2, Manner::Honest).await, _others: Box::new(service) }
}

pub(crate) async fn dropped_on_the_way_to_a_path(stage: &Stage) {
    at_every_await(stage, How::Dropped, to_a_path).await;
}

pub(crate) async fn cancelled_on_the_way_to_a_path(stage: &Stage) {
    at_every_await(stage, How::Cancelled, to_a_path).await;
}

pub(crate) async fn dropped_on_the_way_to_a_time_out(stage: &Stage) {
    at_every_await(stage, How::Dropped, to_a_time_out).await;
}

pub(crate) async fn cancelled_on_the_way_to_a_time_out(stage: &Stage) {
    at_every_await(stage, How::Cancelled, to_a_time_out).await;
}

/// Over HTTP, to a cohort that is silent.
pub(crate) async fn dropped_on_the_way_to_a_blocked_network(stage: &Stage) {
    let world = async || {
        let (signalling, service) = serve(Script::default()).await;
        World { signalling, stun: responders(2, Manner::Silent).await, _others: Box::new(service) }
    };
    at_every_await(stage, How::Dropped, world).await;
}

/// Over HTTP, to a partner that hung up.
pub(crate) async fn dropped_on_the_way_to_a_partner_gone(stage: &Stage) {
    let world = async || {
        let (signalling, service) = serve(Script { ice: status("404 Not Found"), ..Script::default() }).await;
        World { signalling, stun: responders(2, Manner::Honest).await, _others: Box::new(service) }
    };
    at_every_await(stage, How::Dropped, world).await;
}

/// A volunteer, dropped at every await while a consumer comes for it.
pub(crate) async fn volunteer_dropped(stage: &Stage) {
    for awaits in 0..MOST_AWAITS {
        let stun = responders(1, Manner::Honest).await;
        let service = SignallingService::bind("127.0.0.1:0", Switchboard::new(service_timing())).await.unwrap();
        let signalling = HttpSignalling::new(&service.url()).unwrap();
        let mut consumer =
            Consumer::new(signalling.clone(), transport(), stage.telemetry.clone(), cache(&stun)).with_timing(timing());
        let _consumer = Running(tokio::spawn(async move { consumer.run(&CancellationToken::new()).await }));
        let producer = Producer::new(signalling, transport(), stun.iter().map(Responder::server).collect());
        if let Some(served) = given_up(producer.serve(), awaits).await {
            served.unwrap_or_else(|error| panic!("after {awaits} awaits: {error}"));
            assert!(awaits > 5, "it ended after {awaits} awaits");
            eprintln!("given up at each of {awaits} awaits");
            return;
        }
    }
    panic!("no end after {MOST_AWAITS} awaits");
}
