//! Plays one episode: servers, signalling, producers, one consumer or two; and checks the
//! invariants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use consumer_fsm::signalling::{MemorySignalling, Switchboard};
use consumer_fsm::transport::{IceTransport, Network};
use consumer_fsm::{
    AttemptReport, Consumer, Ending, Event, NoticeKind, Producer, State, StunCache, Timing,
};
use ice_gather::{AgentConfig, Base, BindError, StunServer};
use nat_summary::{Mapping, NatType};
use otel_nat::{FailureReason, keys};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::link::Behind;
use super::plan::{Ends, Link, Plan, Producers, SERVERS};
use super::server;
use crate::attempts::beside;
use crate::faults::Faulty;
use crate::front::Front;
use crate::peers::{self, Running};
use crate::spans::{Spans, attribute};
use crate::{Failure, bounds};

/// Producers at work at once.
const PRODUCERS: usize = 2;
/// How long a producer serves one consumer.
const PER_CONSUMER: Duration = Duration::from_millis(400);

/// The outcome of one attempt.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) ended: &'static str,
    pub(super) broken: Vec<String>,
    pub(super) transitions: String,
    /// Whether an exchange of signalling failed as planned: the attempt may have ended before.
    pub(super) met_signal_fault: bool,
}

/// Plays the episode. At its end only tear-downs in the background are left.
pub(super) async fn play(plan: &Plan) -> Result<Vec<Outcome>, Failure> {
    let mut servers = Vec::with_capacity(SERVERS);
    let mut addresses = Vec::with_capacity(SERVERS);
    for (place, manner) in plan.servers.into_iter().enumerate() {
        let ip = [127, 0, 0, 81 + place as u8];
        let socket = UdpSocket::bind(SocketAddr::from((ip, 0))).await?;
        addresses.push(socket.local_addr()?);
        servers.push(Running::spawn(server::serve(socket, manner)));
    }
    let signalling = MemorySignalling::new(Switchboard::default());
    // signalled each time the producers have to vanish
    let vanish = watch::Sender::new(());
    let mut producers = Vec::new();
    for _ in 0..PRODUCERS {
        producers.extend(produce(plan, &signalling, &vanish).await?);
    }
    let consume = async |seed: u64| {
        let asked = Arc::new(AtomicU64::new(0));
        let link = Link {
            seed: plan.link.seed ^ seed,
            ..plan.link
        };
        let transport = transport(Behind::new(
            plan.front,
            link,
            addresses.clone(),
            Arc::clone(&asked),
        )?);
        let servers = addresses.iter().copied().map(StunServer::Address).collect();
        let signalling = match plan.signal {
            Some((stage, fault, times)) => {
                Faulty::new(signalling.clone()).fail(stage, fault, times)
            }
            None => Faulty::new(signalling.clone()),
        };
        Ok::<_, Failure>(
            attempt(
                plan,
                signalling,
                transport,
                StunCache::new(servers),
                &asked,
                &vanish,
            )
            .await,
        )
    };
    // with a rival, one of the two loses each race
    let (first, rival) = tokio::join!(consume(0), async {
        if plan.link.seed.is_multiple_of(3) {
            Some(consume(1).await)
        } else {
            None
        }
    });
    [Some(first), rival].into_iter().flatten().collect()
}

async fn produce(
    plan: &Plan,
    signalling: &MemorySignalling,
    vanish: &watch::Sender<()>,
) -> Result<Option<Running>, Failure> {
    let loopback = Network::System(peers::loopback());
    let transport = IceTransport::new(loopback).with_agent_config(config());
    Ok(match plan.producers {
        Producers::Absent => None,
        Producers::Serve => Some(peers::echo(signalling.clone(), transport, PER_CONSUMER)),
        Producers::Ghost => Some(peers::ghost(signalling.clone()).await?),
        Producers::Vanish(after) => {
            let signalling = signalling.clone();
            Some(Running::spawn(async move {
                loop {
                    let producer = Producer::new(signalling.clone(), transport.clone(), Vec::new());
                    let _ =
                        tokio::time::timeout(Duration::from_millis(after + 1), producer.serve())
                            .await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }))
        }
        Producers::VanishIn(_) => {
            let (signalling, mut vanish) = (signalling.clone(), vanish.subscribe());
            Some(Running::spawn(async move {
                loop {
                    let _producer =
                        peers::echo(signalling.clone(), transport.clone(), PER_CONSUMER);
                    if vanish.changed().await.is_err() {
                        return;
                    }
                }
            }))
        }
    })
}

/// Has the producers vanish whenever the consumer comes into this state.
fn watch(
    consumer: &mut Consumer<Faulty<MemorySignalling>, IceTransport>,
    state: State,
    vanish: &watch::Sender<()>,
) -> Running {
    let (mut notices, vanish) = (consumer.notices(), vanish.clone());
    Running::spawn(async move {
        while let Some(notice) = notices.next().await {
            let NoticeKind::Transition(step) = notice.kind else {
                continue;
            };
            // asking the cohort is a step within state 2
            if step.to == state && step.event != Event::Asked {
                vanish.send_replace(());
            }
        }
    })
}

fn config() -> AgentConfig {
    AgentConfig::default().with_check_interval(Duration::from_millis(20))
}

/// A transport of one session, on this socket.
fn transport(socket: Behind) -> IceTransport {
    // taken by the session, so that the socket goes with it
    let socket = Arc::new(std::sync::Mutex::new(Some(socket)));
    let make = move || {
        let taken = socket
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        async move { Base::from_carrier(taken.ok_or(BindError::NoAddress)?) }
    };
    IceTransport::new(Network::custom(make)).with_agent_config(config())
}

async fn attempt(
    plan: &Plan,
    signalling: Faulty<MemorySignalling>,
    transport: IceTransport,
    servers: StunCache,
    asked: &AtomicU64,
    vanish: &watch::Sender<()>,
) -> Outcome {
    let spans = Spans::default();
    let telemetry = spans.telemetry();
    let mut timing = Timing::default();
    (timing.patience, timing.error_backoff) =
        (Duration::from_millis(10), Duration::from_millis(20));
    timing.nat_fail_timeout = Duration::from_secs(1);
    let mut consumer = Consumer::new(signalling.clone(), transport, telemetry.clone(), servers)
        .with_timing(timing);
    let _watching = match plan.producers {
        Producers::VanishIn(state) => Some(watch(&mut consumer, state, vanish)),
        _ => None,
    };
    let cancel = CancellationToken::new();
    let started = Instant::now();
    let report = match plan.ends {
        Ends::Dropped(after) => {
            tokio::time::timeout(Duration::from_millis(after), consumer.attempt(&cancel))
                .await
                .ok()
        }
        ends => {
            let mut path = consumer.path();
            let user = async {
                let up = tokio::time::timeout(plan.ends_by(), path.wait_for(|up| *up));
                match ends {
                    Ends::AfterPath(longer) if up.await.is_ok() => {
                        tokio::time::sleep(Duration::from_millis(longer)).await;
                    }
                    Ends::Cancelled(after) => {
                        tokio::time::sleep(Duration::from_millis(after)).await
                    }
                    _ => {}
                }
                cancel.cancel();
            };
            Some(beside(consumer, &cancel, user).await.0)
        }
    };
    let elapsed = started.elapsed();
    let spans = spans.take();
    let mut broken = Vec::new();

    let bound = plan.ends_by() + bounds::CHAOS_ENDING;
    if elapsed > bound {
        broken.push(format!(
            "the attempt took {elapsed:?}, and {bound:?} is all it has"
        ));
    }
    let asked = asked.load(Ordering::Relaxed);
    if spans.len() != usize::from(asked > 0) {
        broken.push(format!(
            "{} spans, and {asked} requests were sent",
            spans.len()
        ));
    }
    for span in &spans {
        match attribute(span, keys::NAT_TYPE) {
            Some(verdict) if !allows(plan, |allowed| allowed.as_legacy() == verdict) => {
                broken.push(format!(
                    "the verdict of the span is {verdict}, behind a NAT that is {}",
                    plan.front.name()
                ));
            }
            Some(_) => {}
            None => broken.push("a span without a verdict".into()),
        }
        let is_success = span.name == keys::SPAN_SUCCESS;
        if report
            .as_ref()
            .is_some_and(|report| is_success != (report.ending == Some(Ending::Success)))
        {
            broken.push(format!(
                "the span is {}, the report {:?}",
                span.name,
                report.as_ref().and_then(|r| r.ending)
            ));
        }
    }
    if let Some(report) = &report {
        let verdict = report.summary.nat_type();
        if !allows(plan, |allowed| allowed == verdict) {
            broken.push(format!(
                "the verdict is {verdict:?} behind a NAT that is {}",
                plan.front.name()
            ));
        }
        let natted = report.summary.is_natted();
        let mapping = report.summary.mapping();
        let is_seen = match plan.front {
            Front::Nothing => natted == Some(false),
            Front::FullCone | Front::AddressRestricted | Front::PortRestricted => {
                natted == Some(true) && mapping == Mapping::EndpointIndependent
            }
            Front::AddressDependent | Front::Symmetric => {
                natted == Some(true) && mapping.is_dependent()
            }
            Front::Blocked | Front::NoRoute => natted.is_none(),
        };
        if plan.is_clear() && !is_seen {
            broken.push(format!(
                "natted {natted:?}, mapping {mapping:?} behind a NAT that is {}",
                plan.front.name()
            ));
        }
        // silence proves no block where the host has no address that reaches beyond it
        let due = if plan.front == Front::Blocked {
            Ending::Failure(FailureReason::NoServerAnswered)
        } else {
            Ending::Success
        };
        if plan.is_clear() && report.ending != Some(due) {
            broken.push(format!(
                "nothing was in its way to {due:?}, and its end is {:?}",
                report.ending
            ));
        }
    }
    Outcome {
        ended: ended(report.as_ref()),
        broken,
        transitions: format!("{:?}", report.map(|report| report.transitions)),
        met_signal_fault: plan
            .signal
            .is_some_and(|(_, _, times)| signalling.left() < times),
    }
}

/// Whether the simulated NAT allows a verdict. All of it lies on the loopback, and no server there
/// sees the NATs further out: `Open`, `Cone` and `blocked` would say more than the evidence. Unknown is
/// always allowed, but where nothing stands in the way of a symmetric NAT, which no outer NAT hides.
fn allows(plan: &Plan, is: impl Fn(NatType) -> bool) -> bool {
    let misled = [NatType::Cone, NatType::Symmetric];
    let is_symmetric = plan.front.truth() == NatType::Symmetric;
    is(NatType::Unknown) && !(plan.is_clear() && is_symmetric)
        || is_symmetric && is(NatType::Symmetric)
        || plan.misleads() && plan.front != Front::Blocked && misled.into_iter().any(is)
}

fn ended(report: Option<&AttemptReport>) -> &'static str {
    match report.map(|report| report.ending) {
        None => "dropped",
        Some(None) => "no server asked",
        Some(Some(Ending::Success)) => "success",
        Some(Some(Ending::Failure(reason))) => reason.as_str(),
    }
}
