//! The relay as the base keeps it: one more socket, which leads through a TURN server, and the token
//! that ends it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use nat_summary::CandidateKind;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::candidate::{GatheredCandidate, candidate};
use crate::common::lock;
use crate::error::RelayError;
use crate::socket::Socket;
use crate::socket::carrier::DatagramCarrier;

/// The address of the relay's socket toward the agent, which needs one before there is an
/// allocation: the IPv4 dummy address (RFC 7600 section 4.8). It is never signalled.
pub(crate) const PLACEHOLDER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8));
const PLACEHOLDER_PORT: u16 = 9;

/// The relayed address, or why there is none; `None` while that is open.
pub(crate) type Allocation = Option<Result<SocketAddr, RelayError>>;

/// Datagrams, each with its remote address.
pub(crate) type Datagram = (Vec<u8>, SocketAddr);

/// The relay as the base keeps it.
pub(crate) struct Relayed {
    socket: Socket,
    end: Arc<AgentEnd>,
    allocation: watch::Receiver<Allocation>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// The relay's end at the agent: two bounded queues. Nothing here waits for the TURN server.
struct AgentEnd {
    inbound: tokio::sync::Mutex<mpsc::Receiver<Datagram>>,
    outbound: mpsc::Sender<Datagram>,
    head_start: Duration,
    checks_began: OnceLock<Instant>,
    cancel: CancellationToken,
}

impl Relayed {
    /// A relay between these two queues. It is open once direct pairs had this head start, and
    /// `cancel` ends it.
    pub(crate) fn new(
        inbound: mpsc::Receiver<Datagram>,
        outbound: mpsc::Sender<Datagram>,
        head_start: Duration,
        allocation: watch::Receiver<Allocation>,
        cancel: CancellationToken,
    ) -> Self {
        let end = Arc::new(AgentEnd {
            inbound: tokio::sync::Mutex::new(inbound),
            outbound,
            head_start,
            checks_began: OnceLock::new(),
            cancel,
        });
        let local = SocketAddr::new(PLACEHOLDER, PLACEHOLDER_PORT);
        Self {
            socket: Socket::relayed(Arc::clone(&end) as _, local),
            end,
            allocation,
            task: Mutex::default(),
        }
    }

    pub(super) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Its candidate, once there is an allocation.
    pub(super) fn candidate(&self) -> Option<GatheredCandidate> {
        self.allocation
            .borrow()
            .and_then(Result::ok)
            .map(relayed_candidate)
    }

    /// Whether it has an allocation, and direct pairs had their head start: no check goes through it
    /// before.
    pub(super) fn is_open(&self) -> bool {
        let AgentEnd {
            checks_began,
            head_start,
            ..
        } = &*self.end;
        checks_began
            .get()
            .is_some_and(|began| began.elapsed() >= *head_start)
            && matches!(*self.allocation.borrow(), Some(Ok(_)))
    }

    /// Keeps the task that serves it, for [`release`](Self::release).
    pub(crate) fn keep_task(&self, task: JoinHandle<()>) {
        *lock(&self.task) = Some(task);
    }

    /// The head start of direct pairs counts from here.
    pub(crate) fn checks_begin(&self) {
        let _ = self.end.checks_began.set(Instant::now());
    }

    /// Ends it: its server frees what it holds, and nothing else leaves any more.
    pub(crate) fn end(&self) {
        self.end.cancel.cancel();
    }

    /// Ends it; waits until nothing of it is left.
    pub(crate) async fn release(&self) {
        self.end();
        let task = lock(&self.task).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

/// The candidate of this relayed address.
pub(crate) fn relayed_candidate(address: SocketAddr) -> GatheredCandidate {
    candidate(CandidateKind::Relayed, address, address, 200)
}

impl Drop for AgentEnd {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl DatagramCarrier for AgentEnd {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            let received = self.inbound.lock().await.recv().await;
            let Some((datagram, source)) = received else {
                // a relay that is gone is silent; an error would end the agent's loop
                return core::future::pending().await;
            };
            if let Some(target) = buffer.get_mut(..datagram.len()) {
                target.copy_from_slice(&datagram);
                return Ok((datagram.len(), source));
            }
        }
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        let _ = self.outbound.try_send((datagram.to_vec(), target));
        Ok(datagram.len())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    fn close(&self) {
        self.cancel.cancel();
    }
}
