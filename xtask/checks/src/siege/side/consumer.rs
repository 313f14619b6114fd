//! A consumer with an honest echo.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use consumer_fsm::signalling::http::HttpSignalling;
use consumer_fsm::transport::Transport;
use consumer_fsm::{
    AttemptReport, Consumer, Datagrams, Ending, Event, NoticeKind, StunCache, Timing,
};
use ice_gather::StunServer;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Counts, Stage};
use crate::attempts::beside as beside_user;
use crate::spans::Spans;
use crate::{Failure, bounds};

/// Lengths of datagrams, in turn.
const LENGTHS: [usize; 2] = [200, 1_100];
/// Datagrams that may still come back, by their number.
const WINDOW: usize = 4_096;
/// Datagrams that wait in either direction, the attacker's among them.
const QUEUE: usize = 256;
/// Between two tries of an attempt to get a datagram back.
const TRY: Duration = Duration::from_millis(50);
/// Until the port of the last attempt is free.
const PAUSE: Duration = Duration::from_millis(10);
/// Length of a path that is not to be kept.
const HELD: Duration = Duration::from_millis(100);
/// Tries.
const TRIES: u32 = 60;

pub(super) struct Errand {
    pub(super) stage: Stage,
    pub(super) url: String,
    pub(super) stun: SocketAddr,
}

impl Errand {
    pub(super) async fn run<T: Transport + Clone>(
        self,
        transport: T,
        counts: &Counts,
        cancel: &CancellationToken,
    ) -> Result<(), Failure> {
        let signalling = HttpSignalling::new(&self.url)?;
        let spans = Spans::default();
        while !cancel.is_cancelled() {
            let (to_path, outbound) = mpsc::channel(QUEUE);
            let (inbound, from_path) = mpsc::channel(QUEUE);
            let servers = StunCache::new(vec![StunServer::Address(self.stun)]);
            let telemetry = spans.telemetry();
            let consumer = Consumer::new(signalling.clone(), transport.clone(), telemetry, servers)
                .with_timing(timing())
                .with_datagrams(Datagrams { outbound, inbound });
            let mut echo = Echo {
                to_path,
                from_path,
                counts,
                key: rand::random(),
                number: 0,
                pending: vec![0; WINDOW],
            };
            let mut path = consumer.path();
            let until = cancel.child_token();
            let user = async {
                // an attempt without a path drops the sender
                if path.wait_for(|up| *up).await.is_err() {
                    return false;
                }
                counts.up.store(1, Ordering::Relaxed);
                let has_echoed = match self.stage {
                    Stage::Connected => tokio::select! {
                        () = echo.keep() => true,
                        _ = path.wait_for(|up| !*up) => false,
                        () = cancel.cancelled() => true,
                    },
                    Stage::Connecting => echo.once().await,
                };
                until.cancel();
                has_echoed
            };
            let (report, has_echoed) = beside_user(consumer, &until, user).await;
            counts.up.store(0, Ordering::Relaxed);
            // an exporter keeps what it caught
            drop(spans.take());
            if cancel.is_cancelled() {
                break;
            }
            if report.last_event == Some(Event::NotPrepared) {
                // the port is fixed, and the last attempt still has it
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            if self.stage == Stage::Connecting {
                counts.sent.fetch_add(1, Ordering::Relaxed);
                counts
                    .echoed
                    .fetch_add(u64::from(has_echoed), Ordering::Relaxed);
            }
            if !has_echoed {
                counts.ended(cause(&report));
            }
        }
        Ok(())
    }
}

/// Attempts again and again to meet an abuser, and takes all datagrams that it sends.
pub(super) struct Met {
    pub(super) url: String,
    pub(super) stun: Vec<SocketAddr>,
    /// Longest attempt; one of these ends soon after it has a path.
    pub(super) within: Option<Duration>,
}

impl Met {
    pub(super) async fn run<T: Transport + Clone>(
        self,
        transport: T,
        counts: &Counts,
        cancel: &CancellationToken,
    ) -> Result<(), Failure> {
        let signalling = HttpSignalling::new(&self.url)?;
        let spans = Spans::default();
        while !cancel.is_cancelled() {
            let (_to_path, outbound) = mpsc::channel(QUEUE);
            let (inbound, mut from_path) = mpsc::channel(QUEUE);
            let servers = self.stun.iter().copied().map(StunServer::Address);
            let servers = StunCache::new(servers.collect());
            let telemetry = spans.telemetry();
            let mut consumer =
                Consumer::new(signalling.clone(), transport.clone(), telemetry, servers)
                    .with_timing(timing())
                    .with_datagrams(Datagrams { outbound, inbound });
            let mut notices = consumer.notices();
            let until = cancel.child_token();
            let mut end = self.within.map(|within| Instant::now() + within);
            let user = async {
                loop {
                    tokio::select! {
                        notice = notices.next() => match notice.map(|notice| notice.kind) {
                            Some(NoticeKind::PathUp) => {
                                counts.beside(|beside| {
                                    beside.up = 1;
                                    beside.paths += 1;
                                });
                                end = end.map(|_| Instant::now() + HELD);
                            }
                            Some(_) => {}
                            None => return,
                        },
                        Some(_) = from_path.recv() => {}
                        () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => {
                            end = None;
                            until.cancel();
                        }
                    }
                }
            };
            let (report, ()) = beside_user(consumer, &until, user).await;
            drop(spans.take());
            if report.last_event == Some(Event::NotPrepared) {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            counts.beside(|beside| {
                beside.up = 0;
                beside.ended += 1;
                beside.cause = cause(&report);
            });
        }
        Ok(())
    }
}

fn timing() -> Timing {
    Timing::default()
        // there is one producer to choose from
        .with_patience(Duration::from_millis(10))
        .with_error_backoff(Duration::from_millis(50))
}

fn cause(report: &AttemptReport) -> String {
    match report.ending {
        Some(Ending::Failure(reason)) => reason.to_string(),
        ending => format!("{ending:?} after {:?}", report.last_event),
    }
}

struct Echo<'a> {
    to_path: mpsc::Sender<Bytes>,
    from_path: mpsc::Receiver<Bytes>,
    counts: &'a Counts,
    /// A stranger does not know it.
    key: u64,
    number: u64,
    /// Numbers of datagrams on their way.
    pending: Vec<u64>,
}

impl Echo<'_> {
    /// Sends a datagram every 10 ms, and counts those that come back.
    async fn keep(&mut self) {
        let mut due = tokio::time::interval(bounds::SIEGE_ECHO_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = due.tick() => {
                    if self.send().await {
                        self.counts.sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
                received = self.from_path.recv() => match received {
                    Some(received) if self.is_echo(&received) => {
                        self.counts.echoed.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(_) => {}
                    None => return,
                }
            }
        }
    }

    /// Sends until one comes back; whether one did.
    async fn once(&mut self) -> bool {
        for _ in 0..TRIES {
            if !self.send().await {
                return false;
            }
            let back = async {
                while let Some(received) = self.from_path.recv().await {
                    if self.is_echo(&received) {
                        return true;
                    }
                }
                false
            };
            if let Ok(has_come) = tokio::time::timeout(TRY, back).await {
                return has_come;
            }
        }
        false
    }

    async fn send(&mut self) -> bool {
        self.number += 1;
        let place = self.number as usize % WINDOW;
        self.pending[place] = self.number;
        let mut datagram = vec![0x80; LENGTHS[place % LENGTHS.len()]];
        datagram[1..9].copy_from_slice(&self.key.to_be_bytes());
        datagram[9..17].copy_from_slice(&self.number.to_be_bytes());
        self.to_path.send(datagram.into()).await.is_ok()
    }

    /// Whether it is a datagram of ours, for the first time.
    fn is_echo(&mut self, received: &[u8]) -> bool {
        let word = |at: usize| {
            let bytes = received.get(at..at + 8)?;
            bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
        };
        let (Some(key), Some(number)) = (word(1), word(9)) else {
            return false;
        };
        let place = &mut self.pending[number as usize % WINDOW];
        key == self.key && number != 0 && core::mem::take(place) == number
    }
}
