//! A UDP socket of webrtc 0.21 that shows its datagrams to an observer, each alone.

use std::fmt::{self, Debug, Formatter};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use webrtc_021::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::seen::Seen;

/// The inner socket, and the observer that sees what it took and what it returned.
pub(super) struct TappedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    seen: Arc<Seen>,
    local: SocketAddr,
}

impl TappedSocket {
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, seen: Arc<Seen>, local: SocketAddr) -> Self {
        Self { inner, seen, local }
    }
}

impl Debug for TappedSocket {
    /// Without an address.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("TappedSocket").finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for TappedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = self.inner.poll_send(cx, transmit);
        if let Poll::Ready(Ok(_)) = sent {
            let mut observer = self.seen.observer();
            for datagram in datagrams(transmit.contents, transmit.segment_size.unwrap_or(0)) {
                observer.sent(Duration::ZERO, self.local, transmit.destination, datagram);
            }
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = received {
            let mut observer = self.seen.observer();
            for (buffer, meta) in bufs.iter().zip(meta.iter()).take(count) {
                let message = buffer.get(..meta.len).unwrap_or(buffer);
                if let Some(ip) = meta.dst_ip.filter(|_| self.local.ip().is_unspecified()) {
                    observer.add_local(ip);
                }
                for datagram in datagrams(message, meta.stride) {
                    observer.received(Duration::ZERO, self.local, meta.addr, datagram);
                }
            }
        }
        received
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

/// The datagrams of a batch: consecutive ones of `size` bytes, of which the last may be shorter. A
/// `size` of 0 is one datagram.
fn datagrams(batch: &[u8], size: usize) -> impl Iterator<Item = &[u8]> {
    let size = if size == 0 { batch.len() } else { size }.max(1);
    let is_empty = batch.is_empty();
    batch.chunks(size).chain(is_empty.then_some(batch))
}

#[cfg(test)]
mod tests {
    use super::datagrams;

    #[test]
    fn a_batch_is_split_and_a_datagram_is_not() {
        let split = |batch: &'static [u8], size| datagrams(batch, size).collect::<Vec<_>>();
        assert_eq!(split(b"aabbc", 2), [&b"aa"[..], b"bb", b"c"]);
        assert_eq!(split(b"aabbc", 0), [b"aabbc"]);
        assert_eq!(split(b"aabbc", 5), [b"aabbc"]);
        assert_eq!(split(b"aabbc", 1500), [b"aabbc"]);
        assert_eq!(split(b"", 0), [b""], "an empty datagram is one");
        assert_eq!(split(b"", 1), [b""]);
    }
}
