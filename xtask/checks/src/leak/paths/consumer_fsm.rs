//! Whole attempts of the consumer, and the producer's side: each ends in its own way and has its
//! one span.

use std::cell::Cell;
use std::time::Duration;

use consumer_fsm::signalling::http::{HttpSignalling, SignallingService};
use consumer_fsm::signalling::{MemorySignalling, Signalling, Switchboard, SwitchboardTiming};
use consumer_fsm::transport::{IceTransport, Network, Transport};
use consumer_fsm::{AttemptReport, Consumer, Ending, Event, Producer, StunCache, Timing};
use ice_gather::responder::Responder;
use ice_gather::stun::write_request;
use ice_gather::{GatherConfig, StunServer};
use otel_nat::FailureReason;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Measured, Meter, Path, path};
use crate::attempts::beside;
use crate::faults::{self, Faulty, SignalFault};
use crate::peers::{self, Running};
use crate::spans::Spans;
use crate::{Failure, bounds};

pub(super) const PATHS: &[Path] = &[
    path("consumer-fsm: success", |meter| {
        Box::pin(attempts(meter, Way::Success))
    }),
    path("consumer-fsm: success, over HTTP", |meter| {
        Box::pin(over_http(meter, Way::Success))
    }),
    path("consumer-fsm: time-out", |meter| {
        Box::pin(attempts(meter, Way::TimeOut))
    }),
    path("consumer-fsm: cancelled", |meter| {
        Box::pin(attempts(meter, Way::Cancelled))
    }),
    path("consumer-fsm: dropped", |meter| {
        Box::pin(attempts(meter, Way::Dropped))
    }),
    path("consumer-fsm: dropped, over HTTP", |meter| {
        Box::pin(over_http(meter, Way::Dropped))
    }),
    path("consumer-fsm: UDP blocked", |meter| {
        Box::pin(attempts(meter, Way::Blocked))
    }),
    path("consumer-fsm: no server there", |meter| {
        Box::pin(attempts(meter, Way::NoServer))
    }),
    path("consumer-fsm: faults answering the offer", |meter| {
        Box::pin(attempts(meter, Way::OfferFault))
    }),
    path("consumer-fsm: faults taking the candidates", |meter| {
        Box::pin(attempts(meter, Way::CandidatesFault))
    }),
    path("consumer-fsm: producer dropped", |meter| {
        Box::pin(producer_dropped(meter))
    }),
    #[cfg(feature = "channel")]
    path("consumer-fsm: success, over a data channel", |meter| {
        Box::pin(over_data_channel(meter, Way::Success))
    }),
    #[cfg(feature = "channel")]
    path("consumer-fsm: dropped, over a data channel", |meter| {
        Box::pin(over_data_channel(meter, Way::Dropped))
    }),
];

/// Attempts at once, and producers at work for them.
const AT_ONCE: u32 = 4;
const PRODUCERS: u32 = 8;
/// How long a producer waits for a consumer that may have vanished.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);
/// The same where every attempt has to succeed on a machine that is busy, or with DTLS and SCTP to
/// wait for.
const PATIENCE_TO_SUCCEED: Duration = Duration::from_millis(500);
/// More of them in that case, because each is busy for longer.
const PRODUCERS_TO_SUCCEED: u32 = 40;
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
    /// Another consumer was faster. The attempt goes on with the next producer, to an open channel.
    LostRace,
    /// Every STUN server is silent.
    Blocked,
    /// The STUN servers' ports are closed.
    NoServer,
    /// The first offer meets a fault; the attempt goes on with the next producer.
    OfferFault,
    /// The candidates meet a fault.
    CandidatesFault,
}

/// The services that every cycle needs.
struct Stage<T> {
    transport: T,
    /// Of the producers.
    patience: Duration,
    servers: Vec<StunServer>,
    _responders: Vec<Responder>,
    out: Cell<u64>,
    wanted: Cell<u64>,
    /// Attempts with more spans or fewer than they should have.
    unequal: Cell<u32>,
}

impl Stage<IceTransport> {
    async fn new(way: Way, patience: Duration) -> Result<Self, Failure> {
        let responders = peers::cohort(2, if way == Way::Blocked { 2 } else { 0 }).await?;
        let servers = match way {
            Way::NoServer => vec!["127.0.0.1:9".parse()?],
            _ => responders.iter().map(Responder::server).collect(),
        };
        let mut gather = GatherConfig::default();
        if way == Way::Blocked {
            // one copy per request, which times out after the RTO
            gather = gather
                .with_deadline(Duration::from_millis(20))
                .with_initial_rto(Duration::from_millis(5))
                .with_max_sends(1);
        }
        let loopback = Network::System(peers::loopback());
        let transport = IceTransport::new(loopback)
            .with_agent_config(peers::eager())
            .with_gather_config(gather);
        let (out, wanted, unequal) = (Cell::new(0), Cell::new(0), Cell::new(0));
        Ok(Self {
            transport,
            patience,
            servers,
            _responders: responders,
            out,
            wanted,
            unequal,
        })
    }
}

impl<T> Stage<T>
where
    T: Transport + Clone + 'static,
    T::Session: 'static,
{
    /// The same with another transport, on this one, that takes its time.
    #[cfg(feature = "channel")]
    fn over<U>(self, transport: fn(T) -> U) -> Stage<U> {
        let Self {
            servers,
            _responders,
            out,
            wanted,
            unequal,
            ..
        } = self;
        Stage {
            transport: transport(self.transport),
            patience: PATIENCE_TO_SUCCEED,
            servers,
            _responders,
            out,
            wanted,
            unequal,
        }
    }

    async fn producers<S: Signalling + Clone + 'static>(
        &self,
        way: Way,
        signalling: &S,
    ) -> Result<Vec<Running>, Failure> {
        let number = if self.patience > PATIENCE {
            PRODUCERS_TO_SUCCEED
        } else {
            PRODUCERS
        };
        let mut producers = Vec::with_capacity(number as usize);
        for _ in 0..number {
            producers.push(match way {
                Way::TimeOut => peers::ghost(signalling.clone()).await?,
                _ => peers::echo(signalling.clone(), self.transport.clone(), self.patience),
            });
        }
        Ok(producers)
    }

    /// One attempt; whether it went its way.
    async fn attempt<S: Signalling>(
        &self,
        way: Way,
        signalling: S,
        number: u32,
    ) -> Result<bool, Failure> {
        let mut timing = hurried();
        match way {
            Way::TimeOut => timing.nat_fail_timeout = Duration::from_millis(20),
            // an empty reply leaves the peer without our candidates
            Way::CandidatesFault => timing.nat_fail_timeout = Duration::from_millis(100),
            _ => {}
        }
        // one that was dropped cannot say whether it asked: it has servers of its own, and they do
        let own = peers::cohort(if way == Way::Dropped { 2 } else { 0 }, 0).await?;
        let servers = if own.is_empty() {
            StunCache::new(self.servers.clone())
        } else {
            peers::servers(&own)
        };
        let spans = Spans::default();
        let mut consumer = Consumer::new(
            signalling,
            self.transport.clone(),
            spans.telemetry(),
            servers,
        )
        .with_timing(timing);
        let cancel = CancellationToken::new();
        let moment = moment(number);
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
                Some(beside(consumer, &cancel, user).await.0)
            }
        };
        let caught = spans.take().len() as u64;
        let wanted = match &report {
            Some(report) => u64::from(report.ending.is_some()),
            None => u64::from(were_asked(&own).await?),
        };
        self.out.set(self.out.get() + caught);
        self.wanted.set(self.wanted.get() + wanted);
        self.unequal
            .set(self.unequal.get() + u32::from(caught != wanted));
        Ok(is_as_intended(way, report.as_ref()))
    }

    /// One span per attempt that asked, and none more.
    fn check(&self, measured: Measured) -> Measured {
        let mut measured = measured.spans(self.out.get(), self.wanted.get());
        if self.unequal.get() > 0 {
            measured.faults.push(format!(
                "{} attempts that asked a server did not have exactly one span",
                self.unequal.get()
            ));
        }
        measured
    }
}

/// Whether a request came in at any of these servers, with those that it has yet to read.
async fn were_asked(servers: &[Responder]) -> Result<bool, Failure> {
    let mut requests = 0;
    for server in servers {
        // read after all that was sent before
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket
            .send_to(&write_request(rand::random()), server.address())
            .await?;
        timeout(bounds::CONNECTED_WITHIN, socket.recv(&mut [0; 64])).await??;
        requests += server.requests() - 1;
    }
    Ok(requests > 0)
}

/// The share that has to go its way.
fn least(way: Way) -> f64 {
    match way {
        Way::Dropped | Way::Cancelled => bounds::INTENDED_BEFORE_THE_END,
        _ => bounds::INTENDED,
    }
}

const fn patience(way: Way) -> Duration {
    if matches!(way, Way::Success) {
        PATIENCE_TO_SUCCEED
    } else {
        PATIENCE
    }
}

fn is_as_intended(way: Way, report: Option<&AttemptReport>) -> bool {
    let Some(report) = report else {
        return way == Way::Dropped;
    };
    let failed = |reason| report.ending == Some(Ending::Failure(reason));
    match way {
        Way::Success | Way::LostRace => report.ending == Some(Ending::Success),
        Way::TimeOut => failed(FailureReason::Timeout),
        Way::Cancelled => report.last_event == Some(Event::Cancelled),
        Way::Dropped => false,
        // silence proves no block on the loopback, from where no address reaches beyond the host
        Way::Blocked | Way::NoServer => failed(FailureReason::NoServerAnswered),
        Way::OfferFault | Way::CandidatesFault => report.ending.is_some(),
    }
}

/// Times of a consumer that tries again at once.
pub(super) fn hurried() -> Timing {
    let mut timing = Timing::default();
    (timing.patience, timing.error_backoff) = (Duration::from_millis(1), Duration::from_millis(1));
    timing
}

/// Within an attempt, or behind its end.
pub(super) fn moment(number: u32) -> Duration {
    Duration::from_micros(
        SmallRng::seed_from_u64(number.into()).random_range(0..LONGEST_ATTEMPT_US),
    )
}

pub(super) fn holds(patience: Duration) -> SwitchboardTiming {
    // a consumer that vanishes must not keep the few producers for long
    let mut holds = SwitchboardTiming::default();
    (holds.genesis, holds.exchange) = (patience, patience);
    holds
}

async fn attempts(meter: Meter, way: Way) -> Result<Measured, Failure> {
    in_memory(meter, &Stage::new(way, patience(way)).await?, way).await
}

#[cfg(feature = "channel")]
async fn over_data_channel(meter: Meter, way: Way) -> Result<Measured, Failure> {
    in_memory(
        meter,
        &Stage::new(way, patience(way))
            .await?
            .over(consumer_fsm::transport::DataChannel::new),
        way,
    )
    .await
}

async fn in_memory<T>(meter: Meter, stage: &Stage<T>, way: Way) -> Result<Measured, Failure>
where
    T: Transport + Clone + 'static,
    T::Session: 'static,
{
    let signalling = MemorySignalling::new(Switchboard::new(holds(stage.patience)));
    let at_once = if matches!(way, Way::Blocked | Way::TimeOut) {
        PRODUCERS
    } else {
        AT_ONCE
    };
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
            Ok(stage.attempt(way, signalling.clone(), number).await? && signalling.left() == 0)
        },
    );
    Ok(stage.check(measured.await?.intended(least(way))))
}

/// The service and its connections are made anew for each look.
async fn over_http(meter: Meter, way: Way) -> Result<Measured, Failure> {
    let stage = Stage::new(way, patience(way)).await?;
    let prepare = async || {
        let service =
            SignallingService::bind("127.0.0.1:0", Switchboard::new(holds(stage.patience))).await?;
        let signalling = HttpSignalling::new(&service.url())?;
        let producers = stage.producers(way, &signalling).await?;
        Ok((signalling, producers, service))
    };
    let measured = meter.measure(AT_ONCE, prepare, async |(signalling, ..), number| {
        stage.attempt(way, signalling.clone(), number).await
    });
    Ok(stage.check(measured.await?.intended(least(way))))
}

/// Of twenty attempts in the churn, so many go each way. A lost race goes on, with another
/// producer.
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
    let (open, blocked) = (
        Stage::new(Way::Success, PATIENCE).await?,
        Stage::new(Way::Blocked, PATIENCE).await?,
    );
    let echoes = MemorySignalling::new(Switchboard::new(holds(PATIENCE)));
    let ghosts = MemorySignalling::new(Switchboard::new(holds(PATIENCE)));
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
            Way::TimeOut => open.attempt(way, ghosts.clone(), number).await?,
            // the task that waits for the answer is gone
            Way::Blocked => blocked.attempt(way, ghosts.clone(), number).await?,
            Way::LostRace => {
                let once =
                    Faulty::new(echoes.clone()).fail(faults::Stage::Offer, SignalFault::Gone, 1);
                open.attempt(way, once.clone(), number).await? && once.left() == 0
            }
            _ => open.attempt(way, echoes.clone(), number).await?,
        };
        went[kind].set(went[kind].get() + u32::from(is_as_intended));
        Ok(is_as_intended)
    });
    let mut measured =
        blocked.check(open.check(measured.await?.intended(bounds::INTENDED_BUT_LATE)));
    measured.spans = Some(open.out.get() + blocked.out.get());
    Ok((
        measured,
        CHURN
            .iter()
            .zip(went)
            .map(|((name, ..), went)| (*name, went.get()))
            .collect(),
    ))
}

/// Which of [`CHURN`] the attempt of this number is. Neighbours differ, so that all kinds run
/// beside each other.
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
    let stage = Stage::new(Way::Cancelled, PATIENCE).await?;
    let measured = meter.measure(AT_ONCE, super::standalone, async |(), number| {
        let signalling = MemorySignalling::new(Switchboard::new(holds(PATIENCE)));
        let producer = Producer::new(signalling.clone(), stage.transport.clone(), Vec::new());
        let moment = Duration::from_millis(u64::from(number % 6));
        let vanishing = timeout(moment, producer.serve());
        // the random moment of the consumer lies behind most of the producer's
        let (served, attempted) =
            tokio::join!(vanishing, stage.attempt(Way::Cancelled, signalling, number));
        attempted?;
        Ok(served.is_err())
    });
    Ok(stage.check(measured.await?.intended(bounds::INTENDED_AMID_TWO)))
}
