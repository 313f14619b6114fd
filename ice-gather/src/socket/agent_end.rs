//! The agent's end of a socket: the peer's early checks, the addresses that may send some, and whether
//! anything else has moved.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::common::lock;

/// Checks of the peer kept for the agent until it reads. The peer repeats lost ones.
const MAX_EARLY: usize = 16;

/// The state of a socket that an agent needs.
#[derive(Default)]
pub(crate) struct AgentEnd {
    early: Mutex<VecDeque<(Vec<u8>, SocketAddr)>>,
    early_len: AtomicUsize,
    wake: Notify,
    /// Whether anything but STUN has moved since a check of the peer was last read.
    has_moved: AtomicBool,
    senders: Mutex<Senders>,
}

/// Remote addresses whose STUN requests pass: signalled ones, and those that authenticated.
#[derive(Default)]
struct Senders {
    addresses: Vec<SocketAddr>,
    max: usize,
}

/// Whether a check from a source passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    Yes,
    /// The source is new and did not authenticate.
    Unauthenticated,
    /// The source is new and there are as many as a peer may have.
    TooMany,
}

impl Senders {
    /// Lets one more pass, beside those that authenticate.
    fn expect(&mut self, remote: SocketAddr) {
        if !self.addresses.contains(&remote) {
            self.addresses.push(remote);
            self.max += 1;
        }
    }

    /// Each new source has to authenticate once, and a peer has only so many addresses, because the
    /// agent remembers every one for ever.
    fn admit(&mut self, source: SocketAddr, is_authentic: bool) -> Admitted {
        if self.addresses.contains(&source) {
            Admitted::Yes
        } else if !is_authentic {
            Admitted::Unauthenticated
        } else if self.addresses.len() >= self.max {
            Admitted::TooMany
        } else {
            self.addresses.push(source);
            Admitted::Yes
        }
    }
}

impl AgentEnd {
    /// Whether a check waits for the agent.
    #[inline]
    pub(super) fn has_early(&self) -> bool {
        self.early_len.load(Ordering::Acquire) > 0
    }

    /// Wakes the agent's reader.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Returns once the agent's reader was woken.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Keeps a check of the peer for the agent; false if there is no room.
    pub(crate) fn keep_early(&self, datagram: &[u8], source: SocketAddr) -> bool {
        let mut early = lock(&self.early);
        if early.len() >= MAX_EARLY {
            return false;
        }
        early.push_back((datagram.to_vec(), source));
        self.early_len.store(early.len(), Ordering::Release);
        self.wake();
        true
    }

    /// Takes the oldest of them into `buffer`.
    pub(crate) fn take_early(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        if !self.has_early() {
            return None;
        }
        let mut early = lock(&self.early);
        let (datagram, source) = early.pop_front()?;
        self.early_len.store(early.len(), Ordering::Release);
        let target = buffer.get_mut(..datagram.len())?;
        target.copy_from_slice(&datagram);
        Some((datagram.len(), source))
    }

    /// Something that is not STUN goes out or came in. It has the cost of a byte that is in the
    /// cache already.
    #[inline]
    pub(crate) fn note_moved(&self) {
        if !self.has_moved.load(Ordering::Relaxed) {
            self.has_moved.store(true, Ordering::Relaxed);
        }
    }

    /// Whether nothing but STUN has moved since the last call.
    pub(crate) fn was_quiet(&self) -> bool {
        !self.has_moved.swap(false, Ordering::Relaxed)
    }

    /// Most addresses that the peer may be learnt at, besides the signalled ones.
    pub(crate) fn set_max_senders(&self, max: usize) {
        lock(&self.senders).max = max;
    }

    /// A signalled remote candidate: its checks pass without being verified twice.
    pub(crate) fn expect_sender(&self, remote: SocketAddr) {
        lock(&self.senders).expect(remote);
    }

    /// Whether STUN from this source passes.
    pub(crate) fn knows_sender(&self, source: SocketAddr) -> bool {
        lock(&self.senders).addresses.contains(&source)
    }

    /// Whether a check from this source may go on to the agent.
    pub(crate) fn admit_sender(&self, source: SocketAddr, is_authentic: bool) -> Admitted {
        lock(&self.senders).admit(source, is_authentic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_source_authenticates_once_and_there_are_only_so_many() {
        let source = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut senders = Senders {
            max: 2,
            ..Senders::default()
        };
        for _ in 0..2 {
            senders.expect(source(4));
        }
        assert_eq!(senders.admit(source(4), false), Admitted::Yes, "signalled");
        assert_eq!(senders.admit(source(1), false), Admitted::Unauthenticated);
        assert_eq!(senders.admit(source(1), true), Admitted::Yes);
        assert_eq!(senders.admit(source(1), false), Admitted::Yes, "known");
        let second = senders.admit(source(2), true);
        assert_eq!(second, Admitted::Yes, "a signalled one takes no room");
        assert_eq!(senders.admit(source(3), true), Admitted::TooMany);
        assert_eq!(senders.admit(source(3), false), Admitted::Unauthenticated);
    }
}
