//! Gives SCTP a packet twice where it would not acknowledge it otherwise.
//!
//! What comes alone is acknowledged after 200 ms (RFC 9260 section 6.2). webrtc-sctp 0.17.2 does
//! not start its timer for that again once it ran out, until it has acknowledged something at once
//! (`timer/ack_timer.rs`, `start`). So of packets that come alone every second one stays without a
//! SACK: its sender runs into its retransmission timer, and falls back to a window of one packet.
//! What comes twice, as on any network it may, is acknowledged at once.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Mutex, PoisonError};

use super::admission::is_to_be_acknowledged;

/// What it has to remember of an association. No lock where packets come quickly: they are
/// acknowledged two by two.
#[derive(Default)]
pub(super) struct Again {
    /// Packets to be acknowledged that SCTP got since our last SACK.
    since: AtomicU32,
    /// One alone was acknowledged last: by the timer, which ran out.
    has_run_out: AtomicBool,
    is_kept: AtomicBool,
    kept: Mutex<Vec<u8>>,
}

impl Again {
    /// SCTP gets this packet.
    pub(super) fn gets(&self, packet: &[u8]) {
        if !is_to_be_acknowledged(packet) {
            return;
        }
        if self.has_run_out.swap(false, Relaxed) {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.clear();
            kept.extend_from_slice(packet);
            self.is_kept.store(true, Relaxed);
            // with the second time
            self.since.fetch_add(1, Relaxed);
        }
        self.since.fetch_add(1, Relaxed);
    }

    /// The packet that SCTP got last, if it is to get it once more.
    pub(super) fn take(&self, buffer: &mut [u8]) -> Option<usize> {
        if !self.is_kept.swap(false, Relaxed) {
            return None;
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.get_mut(..kept.len())?.copy_from_slice(&kept);
        Some(kept.len())
    }

    /// A SACK of ours leaves.
    pub(super) fn acknowledges(&self) {
        self.has_run_out
            .store(self.since.swap(0, Relaxed) == 1, Relaxed);
    }
}
