//! A consumer with an honest path, and attempts beside it that are abused: what a row takes from it.

use std::thread;
use std::time::{Duration, Instant};

use super::Row;
use super::child::Side;
use super::ground::{CONSUMER, Ground, PRODUCER};
use super::side::{Look, Meeting, Orders, Over, Stage};
use crate::{Failure, bounds};

/// Longest wait for a path.
pub(super) const PATH: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for echoes on their way.
const BACK: Duration = Duration::from_secs(2);
/// Longest end of a process.
const END: Duration = Duration::from_secs(5);

/// The consumer with its path, and the producer at the other end.
pub(super) struct Honest {
    consumer: Side,
    _producer: Side,
}

/// The heap while a class ran, and the state at its end.
pub(super) struct Watched {
    before: Look,
    most: i64,
    pub(super) now: Look,
}

impl Honest {
    /// Starts both, and waits for the path.
    pub(super) fn start(ground: &Ground, beside: Meeting) -> Result<Self, Failure> {
        let producer = Orders::Producer {
            over: Over::DataChannel,
            url: ground.url.clone(),
            local: PRODUCER,
        };
        let consumer = Orders::Consumer {
            over: Over::DataChannel,
            stage: Stage::Connected,
            url: ground.url.clone(),
            stun: ground.stun,
            local: CONSUMER,
            beside: Some(beside),
        };
        let producer = Side::start(&ground.producer, &producer)?;
        let mut consumer = Side::start(&ground.consumer, &consumer)?;
        let connected = consumer.until(PATH, |look| look.echoed > 0)?;
        connected.ok_or("there is no path even without an attack")?;
        Ok(Self {
            consumer,
            _producer: producer,
        })
    }

    pub(super) fn look(&mut self) -> Result<Look, Failure> {
        self.consumer.look()
    }

    pub(super) fn until(
        &mut self,
        within: Duration,
        is_so: impl Fn(&Look) -> bool,
    ) -> Result<Option<Look>, Failure> {
        self.consumer.until(within, is_so)
    }

    /// Looks again and again until `is_over`, or until the time is over.
    pub(super) fn watch(
        &mut self,
        before: Look,
        within: Duration,
        mut is_over: impl FnMut(&Look) -> Result<bool, Failure>,
    ) -> Result<Watched, Failure> {
        let began = Instant::now();
        let (mut most, mut now) = (before.heap, before.clone());
        while began.elapsed() < within {
            now = self.look()?;
            most = most.max(now.heap);
            if is_over(&now)? {
                break;
            }
            thread::sleep(PAUSE);
        }
        Ok(Watched { before, most, now })
    }

    /// Judges the echo and the memory, once that of the `ended` ones is free.
    pub(super) fn judge(
        &mut self,
        row: &mut Row,
        watched: &Watched,
        freed_within: Duration,
        ended: &str,
    ) -> Result<Look, Failure> {
        let Watched { before, most, .. } = watched;
        let freed = |look: &Look| look.heap - before.heap < bounds::SIEGE_HEAP;
        if self.until(freed_within, freed)?.is_none() {
            let kept = (self.look()?.heap - before.heap) / 1024;
            row.faults.push(format!("{kept} KiB stayed when {ended}"));
        }
        let is_back = |look: &Look| look.echoed - before.echoed >= look.sent - before.sent;
        let _ = self.until(BACK, is_back)?;
        let now = self.look()?;
        row.heap = most - before.heap;
        row.asked = now.sent - before.sent;
        row.echoed = now.echoed - before.echoed;
        row.judge(before, &now, Stage::Connected, bounds::SIEGE_HEAP_OF_A_PEER);
        Ok(now)
    }

    /// Lets the consumer end; a row if it does not end well.
    pub(super) fn end(mut self, stand: &'static str) -> Result<Option<Row>, Failure> {
        let ended = self.consumer.end(END)?;
        if ended.is_some_and(|status| status.success()) {
            return Ok(None);
        }
        let mut row = Row::new(stand, "the end");
        row.faults
            .push(format!("the consumer ended with {ended:?}"));
        Ok(Some(row))
    }
}
