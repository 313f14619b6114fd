//! Drives one endpoint over ICE: one task, which sleeps until a datagram comes or a timer is due.
//!
//! The endpoint is shared with the path. A sender seals and sends its message at once, in its own
//! task; a receiver takes messages from the endpoint that this task has put in. This task reads the
//! socket, keeps the timer, and sends the last flight.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ice_gather::{IceConn, IceState};
use nat_summary::stage::StageReport;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::endpoint::{ChannelEnd, ChannelView, Endpoint, Received, Refused, State};
use super::stage::StageWatch;

/// Longest datagram taken, which is more than an Ethernet frame holds. Stacks of WebRTC stay below
/// 1,280 bytes (RFC 8831 section 5).
const LONGEST: usize = 2048;
/// Longest wait for the last flight to leave.
const LAST_FLIGHT: Duration = Duration::from_millis(250);

/// An endpoint on its connection.
pub(super) struct Driven {
    conn: IceConn,
    inner: Mutex<Inner>,
    /// There may be something to receive, or nothing any more.
    readable: Notify,
    /// The task has to look: a timer is due earlier, or datagrams were left.
    wake: Notify,
    over: CancellationToken,
}

struct Inner {
    endpoint: Endpoint,
    stage: StageWatch,
    /// Until when the task sleeps.
    sleeps_until: Option<Instant>,
    /// The socket drops datagrams without a use.
    is_filtered: bool,
    /// A task sends datagrams, and goes on until none is ready.
    is_flushing: bool,
    /// The cause of its end, if the endpoint does not know it.
    end: Option<ChannelEnd>,
}

/// By the clock that tests can hold.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Driven {
    pub(super) fn new(conn: IceConn, endpoint: Endpoint) -> Self {
        // the checks are timed by the system's clock
        let origin = conn.checks().map(|checks| checks.origin);
        let stage = StageWatch::new(origin.unwrap_or_else(now));
        Self {
            conn,
            inner: Mutex::new(Inner {
                endpoint,
                stage,
                sleeps_until: None,
                is_filtered: false,
                is_flushing: false,
                end: None,
            }),
            readable: Notify::new(),
            wake: Notify::new(),
            over: CancellationToken::new(),
        }
    }

    /// None if a panic has left it half done.
    fn inner(&self) -> Option<MutexGuard<'_, Inner>> {
        self.inner.lock().ok()
    }

    pub(super) fn view(&self) -> ChannelView {
        self.inner().map_or_else(ChannelView::default, |inner| {
            let mut view = inner.endpoint.view();
            view.refused += self.conn.unwanted();
            view.end = inner.end.or(view.end);
            view
        })
    }

    /// How far the channel came until now, and what stopped it.
    pub(super) fn stage(&self) -> StageReport {
        let (view, checks) = (self.view(), self.conn.checks());
        self.inner()
            .map(|inner| inner.stage.report(checks, &view, now()))
            .unwrap_or_default()
    }

    /// How many datagrams, records and packets of the peer were dropped.
    pub(super) fn refused(&self) -> u64 {
        let refused = self.inner().map_or(0, |inner| inner.endpoint.refused());
        refused + self.conn.unwanted()
    }

    /// Sends one message; waits for the socket alone.
    pub(super) async fn send(&self, message: &[u8]) -> Result<(), Refused> {
        let is_earlier = {
            let mut inner = self.inner().ok_or(Refused::Closed)?;
            let now = now();
            inner.endpoint.send(message, now)?;
            let timeout = inner.endpoint.timeout(now);
            timeout.is_some_and(|due| inner.sleeps_until.is_none_or(|until| due < until))
        };
        if is_earlier {
            self.wake.notify_one();
        }
        self.flush().await;
        Ok(())
    }

    /// The next message; none once the channel has ended and all was read. Cancel safe.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> Option<Received> {
        loop {
            let mut readable = core::pin::pin!(self.readable.notified());
            readable.as_mut().enable();
            let is_over = self.over.is_cancelled();
            let received = {
                let mut inner = self.inner()?;
                inner.endpoint.receive(buffer, now())
            };
            if received.is_some() {
                return received;
            }
            if is_over {
                return None;
            }
            readable.await;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Sends the datagrams that are ready, one after the other. Those that a cancelled call leaves are
    /// the task's.
    async fn flush(&self) {
        let mut turn = Turn {
            driven: self,
            is_mine: false,
        };
        let mut flushed_at = None;
        loop {
            let datagram = {
                let Some(mut inner) = self.inner() else {
                    return;
                };
                if inner.is_flushing && !turn.is_mine {
                    // two at once would change the order
                    return;
                }
                let inner = &mut *inner;
                let datagram = inner.endpoint.transmit();
                if let Some(datagram) = &datagram {
                    // the clock is read once for all datagrams of a flush
                    let now = *flushed_at.get_or_insert_with(now);
                    inner.stage.sent(datagram, &inner.endpoint, now);
                }
                turn.is_mine = datagram.is_some();
                inner.is_flushing = turn.is_mine;
                datagram
            };
            let Some(datagram) = datagram else { return };
            // a datagram that ICE does not take is lost, as datagrams are
            let _ = self.conn.send(&datagram).await;
        }
    }

    /// Runs the channel until it ends or is cancelled. `opened` gets the result once, at `until` at the
    /// latest; a channel whose result has no taker ends.
    pub(super) async fn run(
        self: Arc<Self>,
        until: tokio::time::Instant,
        cancel: CancellationToken,
        opened: oneshot::Sender<Result<(), State>>,
    ) {
        // in case of a panic below as well
        let _over = Over(&self);
        self.drive(until, &cancel, opened).await;
        if let Some(mut inner) = self.inner() {
            inner.endpoint.close(now());
        }
        let sent = async {
            // a sender may be at it
            while self.is_flushing() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.flush().await;
        };
        let _ = tokio::time::timeout(LAST_FLIGHT, sent).await;
    }

    /// Sets the end before the caller learns of it, because the caller asks for the view at once.
    fn set_end(&self, end: ChannelEnd) {
        if let Some(mut inner) = self.inner() {
            inner.end = Some(end);
        }
    }

    fn is_flushing(&self) -> bool {
        self.inner().is_some_and(|inner| inner.is_flushing)
    }

    /// Drives the endpoint to its end, and sets the cause, unless the endpoint knows it.
    async fn drive(
        &self,
        until: tokio::time::Instant,
        cancel: &CancellationToken,
        opened: oneshot::Sender<Result<(), State>>,
    ) {
        let mut opened = Some(opened);
        let mut buffer = vec![0; LONGEST];
        let mut sleep = core::pin::pin!(tokio::time::sleep_until(until));
        let mut received = None;
        loop {
            let datagram = received.take().map(|length| &buffer[..length]);
            let Some((state, due)) = self.step(datagram) else {
                return;
            };
            self.flush().await;
            match state {
                State::Open => {
                    if let Some(opened) = opened.take()
                        && opened.send(Ok(())).is_err()
                    {
                        // the caller was cancelled
                        return self.set_end(ChannelEnd::Closed);
                    }
                }
                State::Ended(_) => {
                    if let Some(opened) = opened.take() {
                        let _ = opened.send(Err(state));
                    }
                    return;
                }
                State::Handshake | State::Opening => {}
            }
            let due = due.map(tokio::time::Instant::from_std);
            let due = match &opened {
                Some(_) => Some(due.map_or(until, |due| due.min(until))),
                None => due,
            };
            if let Some(due) = due
                && due != sleep.deadline()
            {
                sleep.as_mut().reset(due);
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return self.set_end(ChannelEnd::Closed),
                length = self.conn.recv(&mut buffer) => match length {
                    Some(length) => received = Some(length),
                    None => {
                        self.set_end(ChannelEnd::Path);
                        if let Some(opened) = opened.take() {
                            let _ = opened.send(Err(State::Ended(ChannelEnd::Path)));
                        }
                        return;
                    }
                },
                () = sleep.as_mut(), if due.is_some() => {
                    if opened.is_some() && tokio::time::Instant::now() >= until
                        && let Some(opened) = opened.take()
                    {
                        self.set_end(ChannelEnd::TimedOut);
                        let _ = opened.send(Err(in_time(state, *self.conn.state().borrow())));
                        return;
                    }
                }
                () = self.wake.notified() => {}
            }
        }
    }

    /// Gives the endpoint a datagram and the time; returns its state and its next timer. None if
    /// a panic has left it half done.
    fn step(&self, datagram: Option<&[u8]>) -> Option<(State, Option<Instant>)> {
        let (stepped, is_readable) = {
            let mut inner = self.inner()?;
            let now = now();
            let Inner {
                endpoint, stage, ..
            } = &mut *inner;
            if let Some(datagram) = datagram {
                endpoint.handle(datagram, now);
                stage.received(datagram, endpoint, now);
            }
            if endpoint.timeout(now).is_some_and(|due| due <= now) {
                endpoint.handle_timeout(now);
            }
            let due = endpoint.timeout(now);
            let stepped = (endpoint.state(), due);
            let is_readable = endpoint.take_readable();
            inner.sleeps_until = due;
            if !inner.is_filtered
                && let Some(is_wanted) = inner.endpoint.is_wanted()
            {
                inner.is_filtered = true;
                self.conn.only(is_wanted);
            }
            (stepped, is_readable)
        };
        if is_readable {
            self.readable.notify_waiters();
        }
        Some(stepped)
    }
}

/// Where a channel was that did not open in time. Over a pair that does not work any more, that proves
/// nothing about the channel.
fn in_time(state: State, ice: IceState) -> State {
    if ice == IceState::Connected {
        state
    } else {
        State::Ended(ChannelEnd::Path)
    }
}

/// Whose turn it is to send. One that is cancelled in between leaves the rest to the task.
struct Turn<'a> {
    driven: &'a Driven,
    is_mine: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_mine {
            if let Some(mut inner) = self.driven.inner() {
                inner.is_flushing = false;
            }
            self.driven.wake.notify_one();
        }
    }
}

/// Wakes all receivers once the task has ended.
struct Over<'a>(&'a Driven);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.cancel();
        self.0.readable.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_over_a_pair_that_died_ends_with_the_path() {
        let handshake = in_time(State::Handshake, IceState::Connected);
        assert!(matches!(handshake, State::Handshake));
        for ice in [IceState::Disconnected, IceState::Failed, IceState::Closed] {
            let state = in_time(State::Handshake, ice);
            assert!(matches!(state, State::Ended(ChannelEnd::Path)), "{ice:?}");
        }
    }
}
