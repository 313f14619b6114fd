//! A socket that loses DTLS on purpose, so that a peer stops at a chosen place, or from which a
//! stranger sends as well.

#[path = "forged.rs"]
mod forged;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use consumer_fsm::transport::{IceTransport, Network};
use ice_gather::{Base, DatagramCarrier};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::net::UdpSocket;

/// Messages that a peer never sends. Its checks are those of a healthy peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// More than this many datagrams of DTLS.
    DtlsAfter(u32),
    /// All of SCTP, inside DTLS.
    Sctp,
    /// One datagram of DTLS in so many, the first of them.
    OneIn(u32),
    /// Nothing; and before each datagram of DTLS, a stranger sends forged ones from its address.
    Never,
}

/// On loopback, with this fault.
pub(crate) fn network(silence: Silence) -> IceTransport {
    IceTransport::new(Network::custom(move || async move {
        let refused = |error: io::Error| ice_gather::BindError::Socket(error.kind());
        let socket = UdpSocket::bind("127.0.0.1:0").await.map_err(refused)?;
        Base::from_carrier(Faulty {
            socket,
            silence,
            sent: AtomicU32::new(0),
        })
    }))
}

struct Faulty {
    socket: UdpSocket,
    silence: Silence,
    sent: AtomicU32,
}

impl Faulty {
    fn says(&self, datagram: &[u8]) -> bool {
        /// ContentType of application data (RFC 5246 section 6.2.1).
        const APPLICATION_DATA: u8 = 23;
        /// The unified header, and the epoch of application data in it (RFC 9147 section 4).
        const UNIFIED: core::ops::RangeInclusive<u8> = 0b0010_0000..=0b0011_1111;
        const EPOCH: u8 = 0b11;
        match (self.silence, datagram.first()) {
            (_, None | Some(..20 | 64..)) => true,
            (Silence::Sctp, Some(kind)) if UNIFIED.contains(kind) => kind & EPOCH != EPOCH,
            (Silence::Sctp, Some(kind)) => *kind != APPLICATION_DATA,
            (Silence::DtlsAfter(most), _) => self.sent.fetch_add(1, Ordering::Relaxed) < most,
            (Silence::OneIn(n), _) => !self.sent.fetch_add(1, Ordering::Relaxed).is_multiple_of(n),
            (Silence::Never, _) => true,
        }
    }

    /// One of each class.
    async fn forge(&self, target: SocketAddr) -> std::io::Result<()> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let mut rng = SmallRng::seed_from_u64(number.into());
        for (_, make) in forged::CLASSES {
            self.socket.send_to(&make(&mut rng), target).await?;
        }
        Ok(())
    }
}

impl DatagramCarrier for Faulty {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer).await
    }

    async fn send_to(&self, buffer: &[u8], target: SocketAddr) -> io::Result<usize> {
        let is_dtls = matches!(buffer.first(), Some(20..64));
        if self.silence == Silence::Never && is_dtls {
            self.forge(target).await?;
        }
        if self.says(buffer) {
            self.socket.send_to(buffer, target).await
        } else {
            Ok(buffer.len())
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
