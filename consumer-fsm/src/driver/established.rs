//! State 5: datagrams move both ways; what cannot be kept up with is dropped and counted, and
//! nobody waits.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::attempt::AttemptReport;
use crate::transport::Path;

/// Longest datagram moved.
pub(crate) const MTU: usize = 8192;

/// Datagrams between the path and its user. Both queues are bounded: what cannot be kept up with is
/// dropped, counted, and never blocks.
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

    /// Drops what waits to be sent; how many.
    pub(super) fn discard(&mut self) -> u64 {
        // no more than were there: whoever sends all the time is not waited for
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
    /// Hands one datagram to the path. Never waits: false, and counted, if the queue is full. What
    /// waits in the queue when a path comes up was meant for none, and is dropped and counted
    /// then.
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
    report: &mut AttemptReport,
) {
    let (outbound, inbound) = datagrams
        .map(|Datagrams { outbound, inbound }| (outbound, inbound))
        .unzip();
    let AttemptReport {
        moved: (sent, received),
        dropped: (refused, untaken),
        ..
    } = report;
    let receive = async {
        let mut buffer = vec![0; MTU];
        while let Some(length) = path.recv(&mut buffer).await {
            if let Some(inbound) = &inbound {
                *received += 1;
                if inbound
                    .try_send(Bytes::copy_from_slice(&buffer[..length]))
                    .is_err()
                {
                    *untaken += 1;
                }
            }
        }
    };
    let send = async {
        if let Some(outbound) = outbound {
            while let Some(datagram) = outbound.recv().await {
                *(if path.send(&datagram).await {
                    &mut *sent
                } else {
                    &mut *refused
                }) += 1;
            }
        }
        // nothing to send is no reason to end
        core::future::pending::<()>().await;
    };
    tokio::select! {
        () = receive => {}
        () = send => {}
    }
}
