//! Whole attempts of the consumer, and the producer's side: each ends in its own way and has its one span.

use std::cell::Cell;
use std::time::Duration;

use consumer_fsm::signalling::http::{HttpSignalling, SignallingService};
use consumer_fsm::signalling::{MemorySignalling, Signalling, Switchboard, SwitchboardTiming};
use consumer_fsm::transport::{Ice, Network};
use consumer_fsm::{AttemptReport, Consumer, Ending, Event, Producer, StunCache, Timing};
use ice_gather::responder::Responder;
use ice_gather::{AgentConfig, BindConfig, GatherConfig, StunServer};
use otel_nat::{Reason, Telemetry};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Measured, Meter, Path, path};
use crate::faults::{self, Faulty, SignalFault};
use crate::peers::{self, Running};
use crate::spans::Spans;
use crate::{Failure, bounds};

pub(super) const PATHS: &[Path] = &[
    path("consumer-fsm: success", |meter| Box::pin(attempts(meter, Way::Success))),
    path("consumer-fsm: success, over HTTP", |meter| Box::pin(over_http(meter, Way::Success))),
    path("consumer-fsm: time-out", |meter| Box::pin(attempts(meter, Way::TimeOut))),
    path("consumer-fsm: cancelled", |meter| Box::pin(attempts(meter, Way::Cancelled))),
    path("consumer-fsm: dropped", |meter| Box::pin(attempts(meter, Way::Dropped))),
    path("consumer-fsm: dropped, over HTTP", |meter| Box::pin(over_http(meter, Way::Dropped))),
    path("consumer-fsm: UDP blocked", |meter| Box::pin(attempts(meter, Way::Blocked))),
    path("consumer-fsm: no server there", |meter| Box::pin(attempts(meter, Way::NoServer))),
    path("consumer-fsm: faults answering the offer", |meter| Box::pin(attempts(meter, Way::OfferFault))),
    path("consumer-fsm: faults taking the candidates", |meter| Box::pin(attempts(meter, Way::CandidatesFault))),
    path("consumer-fsm: producer dropped", |meter| Box::pin(producer_dropped(meter))),
];

/// Attempts at once, and producers at work for them.
const AT_ONCE: u32 = 4;
const PRODUCERS: usize = 8;
/// How long a producer waits for a consumer that may have vanished.
const PATIENCE: Duration = Duration::from_millis(50);
/// An attempt takes about half of this: a random moment within falls on every state.
const LONGEST_ATTEMPT_US: u64 = 30_000;

/// How an attempt ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The channel opens, then the consumer is cancelled.
    Success,
    /// The peer never answers a check.
    TimeOut,
    /// The consumer is cancelled at a random moment.
    Cancelled,
    /// The attempt is dropped at a random moment, without a word.
    Dropped,
    /// Somebody else was faster; the attempt goes on with the next producer, to an open channel.
    LostRace,
    /// Every STUN server is silent.
    Blocked,
    /// Nobody listens where the STUN servers should be.
    NoServer,
    /// The first offer meets a fault; the attempt goes on with the next producer.
    OfferFault,
    /// The candidates meet a fault.
    CandidatesFault,
}

/// What every cycle needs.
struct Stage {
    transport: Ice,
    servers: Vec<StunServer>,
    _responders: Vec<Responder>,
    telemetry: Telemetry,
    spans: Spans,
    out: Cell<u64>,
    wanted: Cell<u64>,
}

impl Stage {
    async fn new(way: Way) -> Result<Self, Failure> {
        let responders = peers::cohort(2, if way == Way::Blocked { 2 } else { 0 }).await?;
        let servers = match way {
            Way::NoServer => vec!["127.0.0.1:9".parse()?],
            _ => responders.iter().map(Responder::server).collect(),
        };
        let mut agent = AgentConfig::default();
        agent.check_interval = Duration::from_millis(5);
        let mut gather = GatherConfig::default();
        if way == Way::Blocked {
            gather.deadline = Duration::from_millis(20);
        }
        let loopback = Network::System(BindConfig::address([127, 0, 0, 1].into()));
        let transport = Ice::new(loopback).with_agent_config(agent).with_gather_config(gather);
        let spans = Spans::default();
        let telemetry = spans.telemetry();
        let (out, wanted) = (Cell::new(0), Cell::new(0));
        Ok(Self { transport, servers, _responders: responders, telemetry, spans, out, wanted })
    }

    async fn producers<S: Signalling + Clone + 'static>(
        &self,
        way: Way,
        signalling: &S,
    ) -> Result<Vec<Running>, Failure> {
        let mut producers = Vec::with_capacity(PRODUCERS);
        for _ in 0..PRODUCERS {
            producers.push(match way {
                Way::TimeOut => peers::ghost(signalling.clone()).await?,
                _ => peers::echo(signalling.clone(), self.transport.clone(), PATIENCE),
            });
        }
        Ok(producers)
    }

    /// One attempt; whether it went its way.
    async fn attempt<S: Signalling>(&self, way: Way, signalling: S, number: u32) -> bool {
        let mut timing = Timing::default();
        timing.patience = Duration::from_millis(1);
        timing.error_backoff = Duration::from_millis(1);
        match way {
            Way::TimeOut => timing.nat_fail_timeout = Duration::from_millis(20),
            // an empty reply leaves the peer without our candidates
            Way::CandidatesFault => timing.nat_fail_timeout = Duration::from_millis(100),
            _ => {}
        }
        let servers = StunCache::new(self.servers.clone());
        let mut consumer =
            Consumer::new(signalling, self.transport.clone(), self.telemetry.clone(), servers).with_timing(timing);
        let cancel = CancellationToken::new();
        let moment = SmallRng::seed_from_u64(number.into()).random_range(0..LONGEST_ATTEMPT_US);
        let moment = Duration::from_micros(moment);
        let report = match way {
            Way::Dropped => timeout(moment, consumer.attempt(&cancel)).await.ok(),
            _ => {
                let mut up = consumer.path();
                let user = async {
                    if way == Way::Cancelled {
                        tokio::time::sleep(moment).await;
                    } else if up.wait_for(|up| *up).await.is_err() {
                        return;
                    }
                    cancel.cancel();
                };
                let attempt = async {
                    let report = consumer.attempt(&cancel).await;
                    drop(consumer);
                    report
                };
                Some(tokio::join!(attempt, user).0)
            }
        };
        self.out.set(self.out.get() + self.spans.take().len() as u64);
        if let Some(report) = &report {
            self.wanted.set(self.wanted.get() + u64::from(report.ending.is_some()));
        }
        is_as_intended(way, report.as_ref())
    }

    /// One span per attempt that asked. One that was dropped cannot say whether it had.
    fn check(&self, way: Way, measured: Measured) -> Measured {
        // some spans of the last cycles may have been caught by none
        let out = self.out.get() + self.spans.take().len() as u64;
        match way {
            Way::Dropped => Measured { spans: Some(out), ..measured.intended(bounds::INTENDED_BEFORE_THE_END) },
            Way::Cancelled => measured.spans(out, self.wanted.get()).intended(bounds::INTENDED_BEFORE_THE_END),
            _ => measured.spans(out, self.wanted.get()).intended(bounds::INTENDED),
        }
    }
}

fn is_as_intended(way: Way, report: Option<&AttemptReport>) -> bool {
    let Some(report) = report else { return way == Way::Dropped };
    let failed = |reason| report.ending == Some(Ending::Failure(reason));
    match way {
        Way::Success | Way::LostRace => report.ending == Some(Ending::Success),
        Way::TimeOut => failed(Reason::Timeout),
        Way::Cancelled => report.last_event == Some(Event::Cancelled),
        Way::Dropped => false,
        Way::Blocked => failed(Reason::UdpBlocked),
        Way::NoServer => failed(Reason::NoServerAnswered),
        Way::OfferFault | Way::CandidatesFault => report.ending.is_some(),
    }
}

fn holds() -> SwitchboardTiming {
    // a consumer that vanishes must not keep the few producers for long
    let mut holds = SwitchboardTiming::default();
    (holds.genesis, holds.exchange) = (PATIENCE, PATIENCE);
    holds
}

async fn attempts(meter: Meter, way: Way) -> Result<Measured, Failure> {
    let stage = Stage::new(way).await?;
    let signalling = MemorySignalling::new(Switchboard::new(holds()));
    let at_once = if matches!(way, Way::Blocked | Way::TimeOut) { PRODUCERS as u32 } else { AT_ONCE };
    let measured = meter.measure(
        at_once,
        async || stage.producers(way, &signalling).await,
        async |_, number| {
            let fault = SignalFault::ALL[number as usize % SignalFault::ALL.len()];
            let signalling = Faulty::new(signalling.clone());
            let signalling = match way {
                Way::OfferFault => signalling.fail(faults::Stage::Offer, fault, 1),
                Way::CandidatesFault => signalling.fail(faults::Stage::Candidates, fault, 1),
                _ => signalling,
            };
            Ok(stage.attempt(way, signalling, number).await)
        },
    );
    let measured = measured.await?;
    Ok(stage.check(way, measured))
}

/// The service and its connections are made anew for each look.
async fn over_http(meter: Meter, way: Way) -> Result<Measured, Failure> {
    let stage = Stage::new(way).await?;
    let prepare = async || {
        let service = SignallingService::bind("127.0.0.1:0", Switchboard::new(holds())).await?;
        let signalling = HttpSignalling::new(&service.url())?;
        let producers = stage.producers(way, &signalling).await?;
        Ok((signalling, producers, service))
    };
    let measured = meter.measure(AT_ONCE, prepare, async |(signalling, ..), number| {
        Ok(stage.attempt(way, signalling.clone(), number).await)
    });
    let measured = measured.await?;
    Ok(stage.check(way, measured))
}

/// Of twenty attempts in the churn, so many go each way. A lost race goes on, with another producer.
const CHURN: [(&str, Way, u32); 5] = [
    ("success", Way::Success, 10),
    ("time-out", Way::TimeOut, 3),
    ("cancelled", Way::Cancelled, 3),
    ("lost race, then success", Way::LostRace, 2),
    ("UDP blocked", Way::Blocked, 2),
];
/// Attempts at once in the churn: each mostly waits.
const CHURN_AT_ONCE: u32 = 16;

/// Attempts of every kind in turn; how many went each way, and as intended.
pub(crate) async fn churn(meter: Meter) -> Result<(Measured, Vec<(&'static str, u32)>), Failure> {
    let (open, blocked) = (Stage::new(Way::Success).await?, Stage::new(Way::Blocked).await?);
    let echoes = MemorySignalling::new(Switchboard::new(holds()));
    let ghosts = MemorySignalling::new(Switchboard::new(holds()));
    let went = CHURN.map(|_| Cell::new(0));
    let prepare = async || {
        let mut producers = Vec::new();
        for _ in 0..4 {
            producers.extend(open.producers(Way::Success, &echoes).await?);
        }
        producers.extend(open.producers(Way::TimeOut, &ghosts).await?);
        Ok(producers)
    };
    let measured = meter.measure(CHURN_AT_ONCE, prepare, async |_, number| {
        let (kind, way) = way_of(number);
        let is_as_intended = match way {
            Way::TimeOut => open.attempt(way, ghosts.clone(), number).await,
            // nobody waits for the answer
            Way::Blocked => blocked.attempt(way, ghosts.clone(), number).await,
            Way::LostRace => {
                let once = Faulty::new(echoes.clone()).fail(faults::Stage::Offer, SignalFault::Gone, 1);
                open.attempt(way, once, number).await
            }
            _ => open.attempt(way, echoes.clone(), number).await,
        };
        went[kind].set(went[kind].get() + u32::from(is_as_intended));
        Ok(is_as_intended)
    });
    let measured = measured.await?;
    let out = [&open, &blocked].map(|stage| stage.out.get() + stage.spans.take().len() as u64).iter().sum();
    let measured = measured.spans(out, open.wanted.get() + blocked.wanted.get()).intended(bounds::INTENDED_BUT_LATE);
    Ok((measured, CHURN.iter().zip(went).map(|((name, ..), went)| (*name, went.get())).collect()))
}

/// Which of [`CHURN`] the attempt of this number is. Neighbours differ, so that all kinds run beside each other.
fn way_of(number: u32) -> (usize, Way) {
    let mut place = number.wrapping_mul(7) % 20;
    for (kind, (_, way, share)) in CHURN.iter().enumerate() {
        match place.checked_sub(*share) {
            None => return (kind, *way),
            Some(rest) => place = rest,
        }
    }
    (0, Way::Success)
}

/// A producer is dropped at a random moment, while a consumer looks for one.
async fn producer_dropped(meter: Meter) -> Result<Measured, Failure> {
    let stage = Stage::new(Way::Cancelled).await?;
    let measured = meter.measure(AT_ONCE, super::alone, async |(), number| {
        let signalling = MemorySignalling::new(Switchboard::new(holds()));
        let producer = Producer::new(signalling.clone(), stage.transport.clone(), Vec::new());
        let moment = Duration::from_millis(u64::from(number % 6));
        let vanishing = timeout(moment, producer.serve());
        // the random moment of the consumer lies behind most of the producer's
        let (served, _) = tokio::join!(vanishing, stage.attempt(Way::Cancelled, signalling, number));
        Ok(served.is_err())
    });
    let measured = measured.await?;
    let wanted = stage.wanted.get();
    Ok(measured.spans(stage.out.get(), wanted).intended(bounds::INTENDED_AMID_TWO))
}
