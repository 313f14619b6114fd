//! A connected pair: datagrams both ways, until the agent ends.

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::Poll;

use tokio::sync::watch;
use webrtc_util::{Conn, Error};

use crate::base::Shared;
use crate::checks::PairChecks;
use crate::error::SendError;
use crate::event::IceState;
use crate::stun::is_claimed;

/// A connected pair: datagrams both ways.
pub struct IceConn {
    conn: Arc<dyn Conn + Send + Sync>,
    state: watch::Receiver<IceState>,
    /// Counts dropped datagrams. Weak, because a connection must not keep the sockets open.
    base: Weak<Shared>,
}

impl IceConn {
    pub(super) fn new(
        conn: Arc<dyn Conn + Send + Sync>,
        state: watch::Receiver<IceState>,
        base: &Arc<Shared>,
    ) -> Self {
        base.is_read();
        let base = Arc::downgrade(base);
        Self { conn, state, base }
    }

    /// Sets the filter of incoming datagrams: only those pass for which `is_wanted` returns true. The others are
    /// dropped at the socket, because that costs less than to hand them on, and are counted in
    /// [`Dropped::unwanted`](crate::Dropped::unwanted). Further calls change nothing.
    pub fn only(&self, is_wanted: fn(&[u8]) -> bool) {
        if let Some(base) = self.base.upgrade() {
            base.set_wanted(is_wanted);
        }
    }

    /// Datagrams so far that were dropped before they could be received:
    /// [`Dropped::unwanted`](crate::Dropped::unwanted). 0 once the base is gone.
    #[must_use]
    pub fn unwanted(&self) -> u64 {
        let base = self.base.upgrade();
        base.map_or(0, |base| base.unwanted().into())
    }

    /// Sends one datagram. The network may lose it.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, datagram: &[u8]) -> Result<(), SendError> {
        if is_claimed(datagram) {
            return Err(SendError::LooksLikeStun);
        }
        match self.conn.send(datagram).await {
            // the sockets of an agent that ended take nothing, so the state need not be read here
            Ok(sent) if sent > 0 => Ok(()),
            _ if self.state.borrow().has_ended() => Err(SendError::Closed),
            sent => sent.map(drop).map_err(|_| SendError::Socket),
        }
    }

    /// Receives one datagram; `None` once the connection failed or was closed. One that is longer
    /// than `buffer` is dropped and counted as [`Dropped::overlong`](crate::Dropped::overlong).
    /// Cancel safe.
    pub async fn recv(&self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            match self.recv_next(buffer).await? {
                Ok(length) => return Some(length),
                Err(error) if is_overlong(&error) => {
                    if let Some(base) = self.base.upgrade() {
                        base.datagram_overlong();
                    }
                }
                Err(_) => return None,
            }
        }
    }

    /// The next datagram or error of the library, until the end.
    async fn recv_next(&self, buffer: &mut [u8]) -> Option<Result<usize, Error>> {
        let mut received = self.conn.recv(buffer);
        // under load a datagram waits already, and then nothing has to wait for the end
        if let Poll::Ready(received) = poll_fn(|cx| Poll::Ready(received.as_mut().poll(cx))).await {
            return Some(received).filter(|_| !self.state.borrow().has_ended());
        }
        let mut state = self.state.clone();
        tokio::select! {
            biased;
            _ = state.wait_for(|state| state.has_ended()) => None,
            received = received => Some(received),
        }
    }

    /// The checks of the pair in use so far; `None` once the base is gone.
    #[must_use]
    pub fn checks(&self) -> Option<PairChecks> {
        self.base.upgrade()?.pair_checks()
    }

    /// The state of the connection, always the latest.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<IceState> {
        self.state.clone()
    }
}

/// The library hands the kind of its own errors on as a text only.
fn is_overlong(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.0.to_string() == Error::ErrBufferShort.to_string())
}

impl Drop for IceConn {
    fn drop(&mut self) {
        // the library would keep a megabyte until the agent ends
        if let Some(base) = self.base.upgrade() {
            base.shut();
        }
    }
}

impl core::fmt::Debug for IceConn {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IceConn")
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}
