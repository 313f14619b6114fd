//! Many consumers at once, each a slot of its own: they share signalling, transport, STUN servers
//! and telemetry.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use otel_nat::Telemetry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::ClientIdentity;
use crate::cohort::StunCache;
use crate::driver::{Consumer, Datagrams, Link, ServerLabels};
use crate::machine::Timing;
use crate::notice::{NoticeSink, Notices};
use crate::roaming::Roaming;
use crate::signalling::Signalling;
use crate::transport::Transport;

/// Slots that each have a path, or are on their way to one.
#[derive(Debug)]
pub struct Pool<S, T> {
    signalling: S,
    transport: T,
    telemetry: Telemetry,
    labels: ServerLabels,
    servers: StunCache,
    timing: Timing,
    seed: Option<u64>,
    roaming: Option<Roaming>,
    client: ClientIdentity,
    notices: NoticeSink,
    attempts: Option<u64>,
    /// One per slot.
    datagrams: Vec<Option<Datagrams>>,
}

impl<S, T> Pool<S, T>
where
    S: Signalling + Clone + 'static,
    T: Transport + Clone + 'static,
    T::Session: 'static,
{
    /// A pool of so many slots, none of them running yet.
    pub fn new(
        signalling: S,
        transport: T,
        telemetry: Telemetry,
        servers: StunCache,
        slots: usize,
    ) -> Self {
        Self {
            signalling,
            transport,
            telemetry,
            labels: ServerLabels::default(),
            servers,
            timing: Timing::default(),
            seed: None,
            roaming: Some(Roaming::default()),
            client: ClientIdentity::default(),
            notices: NoticeSink::default(),
            attempts: None,
            datagrams: (0..slots).map(|_| None).collect(),
        }
    }

    /// Sets the times of every slot.
    #[must_use]
    pub const fn with_timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Sets the seed of every slot's random choices, together with the slot's number: see
    /// [`Consumer::with_seed`].
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Limits the number of attempts of all slots together; [`run`](Self::run) returns after the
    /// last one. Without a limit, an attempt that listens or offers outlasts failures of the
    /// signalling service. With a limit, such a failure ends the attempt: the service cannot be
    /// reached, refuses a request, or sends unusable messages only. The usual back-off passes
    /// before the next attempt.
    ///
    /// Even with a limit, an attempt goes on while no producer announces itself or answers, because
    /// the next producer may come at any time. Cancel [`run`](Self::run) to end such an attempt.
    #[must_use]
    pub const fn with_attempts(mut self, attempts: u64) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Measures requests to STUN servers under these labels.
    #[must_use]
    pub fn with_server_labels(mut self, labels: ServerLabels) -> Self {
        self.labels = labels;
        self
    }

    /// Notices changes of the host's addresses like this, with one lookup for all slots; `None`: not
    /// at all.
    #[must_use]
    pub fn with_roaming(mut self, roaming: Option<Roaming>) -> Self {
        self.roaming = roaming;
        self
    }

    /// Uses this id of the client in every slot: see [`Consumer::with_session_id`].
    #[must_use]
    pub fn with_session_id(mut self, id: impl Into<String>) -> Self {
        self.client.session_id = id.into();
        self
    }

    /// Puts this free text into each offer; none by default.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.client.tag = tag.into();
        self
    }

    /// Returns the stream of notices of every slot, from now on.
    pub fn notices(&mut self) -> Notices {
        self.notices.subscribe()
    }

    /// Returns one link per slot, in order, to move datagrams over. Each direction of a link queues
    /// at most `capacity` datagrams. Without links, paths only stay open.
    pub fn links(&mut self, capacity: usize) -> Vec<Link> {
        let open = |slot: &mut Option<Datagrams>| {
            let (datagrams, link) = Datagrams::bounded(capacity);
            *slot = Some(datagrams);
            link
        };
        self.datagrams.iter_mut().map(open).collect()
    }

    /// Runs every slot until cancelled, or until all attempts are made, and waits until each slot
    /// has closed its connection. Cancel safe: dropping the future aborts the slots and leaves
    /// nothing behind.
    pub async fn run(self, cancel: &CancellationToken) {
        let mut slots = JoinSet::new();
        let left = self
            .attempts
            .map(|attempts| Arc::new(AtomicU64::new(attempts)));
        for (slot, datagrams) in self.datagrams.into_iter().enumerate() {
            let mut consumer = Consumer::new(
                self.signalling.clone(),
                self.transport.clone(),
                self.telemetry.clone(),
                self.servers.clone(),
            )
            .with_timing(self.timing)
            .with_roaming(self.roaming.clone())
            .with_server_labels(self.labels.clone())
            .with_client(self.client.clone())
            .giving_up(self.attempts.is_some())
            .with_notice_sink(self.notices.for_slot(slot));
            if let Some(seed) = self.seed {
                consumer = consumer.with_seed(seed.wrapping_add(slot as u64));
            }
            if let Some(datagrams) = datagrams {
                consumer = consumer.with_datagrams(datagrams);
            }
            let (cancel, left) = (cancel.clone(), left.clone());
            slots.spawn(async move {
                let may_try = || {
                    let take = |left: &Arc<AtomicU64>| {
                        left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
                    };
                    !cancel.is_cancelled() && left.as_ref().is_none_or(|left| take(left).is_ok())
                };
                while may_try() {
                    consumer.attempt(&cancel).await;
                }
            });
        }
        // each slot has a sink of its own, so the readers of notices end with the last slot
        drop(self.notices);
        while let Some(ended) = slots.join_next().await {
            if ended.is_err() {
                tracing::error!("a slot panicked: the others go on");
            }
        }
    }
}
