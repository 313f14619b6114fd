//! State 5: datagrams move both ways. Neither side waits for the other: datagrams that find a full
//! queue are dropped and counted.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::traffic::{MAX_DATAGRAM, Traffic};
use crate::transport::Path;

/// Datagrams between the path and its user. Both queues are bounded and never block: a datagram
/// that finds its queue full is dropped and counted.
#[derive(Debug)]
pub struct Datagrams {
    /// To be sent over the path.
    pub outbound: mpsc::Receiver<Bytes>,
    /// Received over the path.
    pub inbound: mpsc::Sender<Bytes>,
}

impl Datagrams {
    /// Both queues, each for so many datagrams, and the user's ends of them.
    #[must_use]
    pub fn bounded(capacity: usize) -> (Self, Link) {
        let (to_path, outbound) = mpsc::channel(capacity.max(1));
        let (inbound, from_path) = mpsc::channel(capacity.max(1));
        (
            Self { outbound, inbound },
            Link {
                to_path,
                from_path,
                refused: 0,
            },
        )
    }

    /// Drops the datagrams that wait to be sent, and returns their number.
    pub(super) fn discard(&mut self) -> u64 {
        // as many as there are now, because a user may send all the time
        let waiting = self.outbound.len();
        core::iter::from_fn(|| self.outbound.try_recv().ok())
            .take(waiting)
            .count() as u64
    }
}

/// The user's ends of [`Datagrams`].
#[derive(Debug)]
pub struct Link {
    to_path: mpsc::Sender<Bytes>,
    from_path: mpsc::Receiver<Bytes>,
    refused: u64,
}

impl Link {
    /// Hands one datagram to the path. Never waits: returns false, and counts, if the queue is full.
    /// Datagrams that wait in the queue when a path comes up are older than the path, and are
    /// dropped and counted then.
    pub fn send(&mut self, datagram: Bytes) -> bool {
        let is_taken = self.to_path.try_send(datagram).is_ok();
        self.refused += u64::from(!is_taken);
        is_taken
    }

    /// The next datagram from the path; `None` once the consumer is gone. Cancel safe.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.from_path.recv().await
    }

    /// Datagrams that [`send`](Self::send) dropped.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

/// Moves datagrams until the path ends. Neither direction waits for the other.
pub(super) async fn move_datagrams(
    path: &impl Path,
    datagrams: Option<&mut Datagrams>,
    traffic: &mut Traffic,
) {
    let (outbound, inbound) = datagrams
        .map(|Datagrams { outbound, inbound }| (outbound, inbound))
        .unzip();
    let Traffic {
        sent,
        received,
        dropped_outbound,
        dropped_inbound,
    } = traffic;
    let receive = async {
        let mut buffer = vec![0; MAX_DATAGRAM];
        while let Some(length) = path.recv(&mut buffer).await {
            if let Some(inbound) = &inbound {
                *received += 1;
                let datagram = Bytes::copy_from_slice(&buffer[..length]);
                *dropped_inbound += u64::from(inbound.try_send(datagram).is_err());
            }
        }
    };
    let send = async {
        if let Some(outbound) = outbound {
            while let Some(datagram) = outbound.recv().await {
                let count = if path.send(&datagram).await {
                    &mut *sent
                } else {
                    &mut *dropped_outbound
                };
                *count += 1;
            }
        }
        // a path without datagrams to send goes on
        core::future::pending::<()>().await;
    };
    tokio::select! {
        () = receive => {}
        () = send => {}
    }
}
