//! The agent's end of a socket: the peer's early checks, the addresses that may send, and which
//! datagrams beside STUN pass.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use tokio::sync::Notify;

use crate::common::lock;

/// Checks of the peer kept for the agent until it reads. The peer repeats lost ones.
const MAX_EARLY: usize = 16;
/// Bytes beside STUN that the ICE library may keep before its connection is read: the first flight of
/// a peer that connected earlier, several times over. The library alone would keep a megabyte.
const MAX_UNREAD: usize = 64 * 1024;

/// The state of a socket that an agent needs.
#[derive(Default)]
pub(crate) struct AgentEnd {
    early: Mutex<VecDeque<(Vec<u8>, SocketAddr)>>,
    early_len: AtomicUsize,
    wake: Notify,
    /// Whether anything but STUN has moved since a check of the peer was last read.
    has_moved: AtomicBool,
    senders: Mutex<Senders>,
    /// The way of datagrams beside STUN: one of [`gate`].
    gate: AtomicU8,
    /// Bytes that passed before the connection is read.
    unread: AtomicUsize,
    is_wanted: OnceLock<fn(&[u8]) -> bool>,
}

/// The way of datagrams beside STUN.
mod gate {
    /// All pass.
    pub(super) const OPEN: u8 = 0;
    /// Those of known senders pass, until there are too many bytes.
    pub(super) const UNREAD: u8 = 1;
    /// Those pass that the reader wants.
    pub(super) const FILTER: u8 = 2;
    /// None pass.
    pub(super) const SHUT: u8 = 3;
}

/// Remote addresses whose datagrams pass: signalled ones, and those that authenticated.
#[derive(Default)]
struct Senders {
    addresses: Vec<SocketAddr>,
    max: usize,
}

/// Whether a check from a source passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    Yes,
    /// It did not authenticate.
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

    /// Each check has to authenticate, because a source can be forged. A peer has only so many addresses,
    /// because the agent remembers every one for ever.
    fn admit(&mut self, source: SocketAddr, is_authentic: bool) -> Admitted {
        if !is_authentic {
            Admitted::Unauthenticated
        } else if self.addresses.contains(&source) {
            Admitted::Yes
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

    /// Whether a datagram beside STUN may pass on to the agent.
    #[inline]
    pub(crate) fn admits_other(&self, source: SocketAddr, datagram: &[u8]) -> bool {
        match self.gate.load(Ordering::Acquire) {
            gate::OPEN => true,
            gate::FILTER => self
                .is_wanted
                .get()
                .is_none_or(|is_wanted| is_wanted(datagram)),
            gate::UNREAD => self.has_room_for(source, datagram.len()),
            _ => false,
        }
    }

    /// Whether the library may keep so many more bytes. It drops those of an unknown source itself, so
    /// they take no room.
    #[cold]
    fn has_room_for(&self, source: SocketAddr, length: usize) -> bool {
        // an empty datagram costs the library a header all the same
        let taken = self.unread.load(Ordering::Relaxed) + length.max(16);
        let has_room = taken <= MAX_UNREAD && self.knows_sender(source);
        if has_room {
            // one reader at a time
            self.unread.store(taken, Ordering::Relaxed);
        }
        has_room
    }

    /// Nothing reads the connection yet.
    pub(crate) fn bound_unread(&self) {
        self.gate.store(gate::UNREAD, Ordering::Release);
    }

    /// The connection is read from now on.
    pub(crate) fn is_read(&self) {
        self.gate.store(gate::OPEN, Ordering::Release);
    }

    /// From now on datagrams pass only if the reader wants them.
    pub(crate) fn set_wanted(&self, is_wanted: fn(&[u8]) -> bool) {
        if self.is_wanted.set(is_wanted).is_ok() {
            let _ = self.gate.compare_exchange(
                gate::OPEN,
                gate::FILTER,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
    }

    /// Nothing reads the connection any more.
    pub(crate) fn shut(&self) {
        self.gate.store(gate::SHUT, Ordering::Release);
    }

    /// Whether nothing but STUN has moved since the last call.
    pub(crate) fn was_quiet(&self) -> bool {
        !self.has_moved.swap(false, Ordering::Relaxed)
    }

    /// Most addresses that the peer may be learnt at, besides the signalled ones.
    pub(crate) fn set_max_senders(&self, max: usize) {
        lock(&self.senders).max = max;
    }

    /// A signalled remote candidate: its checks take no room.
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
    fn a_check_authenticates_and_there_are_only_so_many_sources() {
        let source = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut senders = Senders {
            max: 2,
            ..Senders::default()
        };
        for _ in 0..2 {
            senders.expect(source(4));
        }
        assert_eq!(senders.admit(source(4), true), Admitted::Yes, "signalled");
        assert_eq!(senders.admit(source(4), false), Admitted::Unauthenticated);
        assert_eq!(senders.admit(source(1), false), Admitted::Unauthenticated);
        assert_eq!(senders.admit(source(1), true), Admitted::Yes);
        assert_eq!(senders.admit(source(1), false), Admitted::Unauthenticated);
        assert_eq!(senders.admit(source(1), true), Admitted::Yes, "known");
        let second = senders.admit(source(2), true);
        assert_eq!(second, Admitted::Yes, "a signalled one takes no room");
        assert_eq!(senders.admit(source(3), true), Admitted::TooMany);
        assert_eq!(senders.admit(source(3), false), Admitted::Unauthenticated);
    }
}
