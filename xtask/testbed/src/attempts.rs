//! The attempts that `demo` shows and `collector` sends: on real sockets, then behind every kind of
//! NAT.

use std::time::Duration;

use bytes::Bytes;
use consumer_fsm::signalling::http::{HttpSignalling, SignallingService};
use consumer_fsm::signalling::{Signalling, Switchboard};
use consumer_fsm::transport::{IceTransport, Network, Transport};
use consumer_fsm::{AttemptReport, Consumer, Datagrams, Ending, StunCache};
use nat_summary::NatType;
use opentelemetry::Context;
use opentelemetry::trace::{
    FutureExt, SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use otel_nat::{FailureReason, Telemetry};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::front::Front;
use crate::vnet::World;
use crate::{Failure, bounds, peers};

/// Datagrams sent over each path, and expected back.
pub const DATAGRAMS: u32 = 100;

/// The expected outcome of an attempt.
pub struct Expected {
    /// The NAT in front of the consumer.
    pub nat: &'static str,
    /// The true one.
    pub verdict: NatType,
    /// How it has to end.
    pub ending: Ending,
}

/// An attempt with its expected and its actual outcome.
pub struct Attempted {
    /// By construction.
    pub expected: Expected,
    /// The consumer's own.
    pub report: AttemptReport,
    /// Datagrams that came back.
    pub echoed: u32,
}

/// One attempt that connects and one whose peer stays silent; five STUN servers, one of them dead.
pub async fn on_real_sockets(
    telemetry: &Telemetry,
    mut tell: impl FnMut(Attempted),
) -> Result<(), Failure> {
    let service = SignallingService::bind("127.0.0.1:0", Switchboard::default()).await?;
    let signalling = HttpSignalling::new(&service.url())?;
    let responders = peers::cohort(5, 1).await?;
    let loopback = IceTransport::new(Network::System(peers::loopback()));
    {
        let _producer = peers::echo(signalling.clone(), loopback.clone(), Duration::MAX);
        let expected = Expected {
            nat: "loopback",
            // a server on the loopback sees none of the NATs further out, so no type is claimed
            verdict: NatType::Unknown,
            ending: Ending::Success,
        };
        tell(
            attempt(
                &signalling,
                loopback.clone(),
                peers::servers(&responders),
                telemetry,
                expected,
            )
            .await,
        );
    }
    let _ghost = peers::ghost(signalling.clone()).await?;
    let expected = Expected {
        nat: "loopback, peer silent",
        verdict: NatType::Unknown,
        ending: Ending::Failure(FailureReason::Timeout),
    };
    tell(
        attempt(
            &signalling,
            loopback,
            peers::servers(&responders),
            telemetry,
            expected,
        )
        .await,
    );
    Ok(())
}

/// One attempt behind each kind of NAT.
pub async fn behind_nats(
    telemetry: &Telemetry,
    mut tell: impl FnMut(Attempted),
) -> Result<(), Failure> {
    let service = SignallingService::bind("127.0.0.1:0", Switchboard::default()).await?;
    let signalling = HttpSignalling::new(&service.url())?;
    for front in Front::PLAYED {
        let world = World::new(front).await?;
        {
            let _producer = peers::echo(signalling.clone(), world.producer(), Duration::MAX);
            let ending = match front {
                Front::Blocked => Ending::Failure(FailureReason::UdpBlocked),
                _ => Ending::Success,
            };
            let expected = Expected {
                nat: front.name(),
                verdict: front.truth(),
                ending,
            };
            let servers = peers::servers(&world.responders);
            tell(attempt(&signalling, world.consumer(), servers, telemetry, expected).await);
        }
        world.stop().await?;
    }
    Ok(())
}

/// Runs one attempt as an application would, with a span of its own around it.
async fn attempt<T: Transport>(
    signalling: &HttpSignalling,
    transport: T,
    servers: StunCache,
    telemetry: &Telemetry,
    expected: Expected,
) -> Attempted {
    let (to_path, outbound) = mpsc::channel(DATAGRAMS as usize);
    let (inbound, from_path) = mpsc::channel(DATAGRAMS as usize);
    let consumer = Consumer::new(signalling.clone(), transport, telemetry.clone(), servers)
        .with_datagrams(Datagrams { outbound, inbound });
    let caller = SpanContext::new(
        TraceId::from(0x5eed),
        SpanId::from(0x5eed),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    let used = with_its_path(consumer, Duration::MAX, exchange(&to_path, from_path))
        .with_context(Context::new().with_remote_span_context(caller));
    let (report, echoed) = used.await;
    Attempted {
        expected,
        report,
        echoed,
    }
}

/// Runs one attempt and its user, who ends it by `cancel`. The consumer is dropped with the
/// attempt, because a user who waits for a path would otherwise wait for ever.
pub async fn beside<S: Signalling, T: Transport, Used>(
    mut consumer: Consumer<S, T>,
    cancel: &CancellationToken,
    user: impl Future<Output = Used>,
) -> (AttemptReport, Used) {
    let attempt = async {
        let report = consumer.attempt(cancel).await;
        drop(consumer);
        report
    };
    tokio::join!(attempt, user)
}

/// One attempt whose path is put to use, if it gets one, and which ends behind that use: within this
/// time in all.
pub async fn with_its_path<S: Signalling, T: Transport, Used: Default>(
    consumer: Consumer<S, T>,
    within: Duration,
    using: impl Future<Output = Used>,
) -> (AttemptReport, Used) {
    let mut path = consumer.path();
    let cancel = CancellationToken::new();
    let user = async {
        let used = async {
            // ends without a path when the attempt does, because the sender goes with the consumer
            if path.wait_for(|up| *up).await.is_ok() {
                using.await
            } else {
                Used::default()
            }
        };
        let used = tokio::time::timeout(within, used).await.unwrap_or_default();
        cancel.cancel();
        used
    };
    beside(consumer, &cancel, user).await
}

/// Sends every datagram, and counts the unchanged echoes.
async fn exchange(to_path: &mpsc::Sender<Bytes>, mut from_path: mpsc::Receiver<Bytes>) -> u32 {
    let mut echoed = 0;
    for n in 0..DATAGRAMS {
        let datagram = Bytes::copy_from_slice(&[&[0x80][..], &n.to_be_bytes()].concat());
        if to_path.send(datagram.clone()).await.is_err() {
            break;
        }
        match tokio::time::timeout(bounds::ECHO_WITHIN, from_path.recv()).await {
            Ok(Some(back)) if back == datagram => echoed += 1,
            _ => break,
        }
    }
    echoed
}
