//! The seams between the layers: ICE as DTLS sees it, DTLS as SCTP sees it.
//!
//! The libraries above read in tasks of their own, which end in ways of their own: DTLS only when
//! its connection object is dropped (on an error it tries again at once, for ever), SCTP only on an
//! error. Each seam says what its reader needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dtls::conn::DTLSConn;
use ice_gather::IceConn;
use tokio_util::sync::CancellationToken;
use webrtc_util::{Conn, Error};

use super::admission::Admission;
use super::again::Again;

/// Most datagrams that reach DTLS before its handshake is done: it keeps early ones without limit.
const HANDSHAKE_DATAGRAMS: u32 = 512;
/// How often SCTP's reader is looked at, and how often in turn it may be seen with the same packet.
/// One takes microseconds.
const LOOK: Duration = Duration::from_millis(400);
const MOST_LOOKS: u32 = 2;
/// First bytes of DTLS records (RFC 7983 section 7).
const DTLS: core::ops::RangeInclusive<u8> = 20..=63;

/// ICE as DTLS sees it.
pub(super) struct UnderDtls {
    conn: IceConn,
    /// Told when ICE has ended.
    ended: CancellationToken,
    /// How many datagrams may still come in.
    left: AtomicU32,
}

impl UnderDtls {
    pub(super) fn new(conn: IceConn, ended: CancellationToken) -> Arc<Between<Self>> {
        Arc::new(Between(Self {
            conn,
            ended,
            left: AtomicU32::new(HANDSHAKE_DATAGRAMS),
        }))
    }

    /// Only authenticated records are kept from here on.
    pub(super) fn handshake_is_done(&self) {
        self.left.store(u32::MAX, Ordering::Relaxed);
    }

    /// Whether a datagram may pass.
    fn admits(&self, first: Option<&u8>) -> bool {
        if !first.is_some_and(|first| DTLS.contains(first)) {
            return false;
        }
        match self.left.load(Ordering::Relaxed) {
            u32::MAX => true,
            0 => false,
            left => {
                // does nothing if the handshake was done in between
                let _ = self.left.compare_exchange(
                    left,
                    left - 1,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                true
            }
        }
    }
}

/// DTLS as SCTP sees it.
pub(super) struct UnderSctp {
    dtls: Arc<DTLSConn>,
    /// Told when DTLS has ended.
    ended: CancellationToken,
    /// SCTP's reader shall end.
    closed: CancellationToken,
    admission: Arc<Admission>,
    again: Again,
    reader: Reader,
}

impl UnderSctp {
    pub(super) fn new(
        dtls: Arc<DTLSConn>,
        ended: CancellationToken,
        admission: Arc<Admission>,
    ) -> Arc<Between<Self>> {
        Arc::new(Between(Self {
            dtls,
            ended,
            closed: CancellationToken::new(),
            admission,
            again: Again::default(),
            reader: Reader::default(),
        }))
    }

    /// Until SCTP's reader is lost.
    pub(super) async fn is_lost(&self) {
        self.reader.is_lost().await;
    }
}

/// SCTP's reader, which takes one packet after the other. It is a task of the library's: if it
/// panics nobody is told, and the library writes on.
#[derive(Default)]
struct Reader {
    /// Odd while it is at work on a packet.
    turns: AtomicU32,
}

impl Reader {
    fn takes(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    fn comes_back(&self) {
        if self.turns.load(Ordering::Relaxed) % 2 == 1 {
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Until it has not come back from a packet.
    async fn is_lost(&self) {
        let (mut last, mut looks) = (0, 0);
        while looks <= MOST_LOOKS {
            tokio::time::sleep(LOOK).await;
            let turn = self.turns.load(Ordering::Relaxed);
            looks = if turn % 2 == 1 && turn == last {
                looks + 1
            } else {
                0
            };
            last = turn;
        }
    }
}

/// What a seam does; the rest of the library's interface is for connections that nobody has here.
pub(super) trait Seam: Send + Sync + 'static {
    fn receive(&self, buffer: &mut [u8]) -> impl Future<Output = Result<usize, Error>> + Send;
    fn transmit(&self, buffer: &[u8]) -> impl Future<Output = Result<usize, Error>> + Send;
    fn end(&self);
}

/// A seam under the library's interface.
pub(super) struct Between<S>(pub(super) S);

impl Seam for UnderDtls {
    async fn receive(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.conn.recv(buffer).await {
                Some(length) if self.admits(buffer.get(..length).and_then(<[u8]>::first)) => {
                    return Ok(length);
                }
                Some(_) => {}
                None => {
                    self.ended.cancel();
                    core::future::pending::<()>().await;
                }
            }
        }
    }

    async fn transmit(&self, buffer: &[u8]) -> Result<usize, Error> {
        // what ICE does not take is lost, as datagrams are
        let _ = self.conn.send(buffer).await;
        Ok(buffer.len())
    }

    fn end(&self) {}
}

impl Seam for UnderSctp {
    async fn receive(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.reader.comes_back();
        if let Some(length) = self.again.take(buffer) {
            self.reader.takes();
            return Ok(length);
        }
        loop {
            let length = tokio::select! {
                biased;
                () = self.closed.cancelled() => return Err(Error::ErrAlreadyClosed),
                received = self.dtls.read(buffer, None) => received.map_err(|_| {
                    self.ended.cancel();
                    Error::ErrAlreadyClosed
                })?,
            };
            if let Some(packet) = buffer
                .get(..length)
                .filter(|packet| self.admission.admits(packet))
            {
                self.again.gets(packet);
                self.reader.takes();
                return Ok(length);
            }
        }
    }

    async fn transmit(&self, buffer: &[u8]) -> Result<usize, Error> {
        if self.admission.sent(buffer) {
            self.again.acknowledges();
        }
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(Error::ErrAlreadyClosed),
            sent = self.dtls.write(buffer, None) => sent.map_err(|_| Error::ErrAlreadyClosed),
        }
    }

    fn end(&self) {
        self.closed.cancel();
    }
}

#[async_trait]
impl<S: Seam> Conn for Between<S> {
    async fn connect(&self, _addr: SocketAddr) -> Result<(), Error> {
        Err(Error::ErrNoRemAddr)
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.0.receive(buffer).await
    }

    async fn recv_from(&self, _buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        Err(Error::ErrNoRemAddr)
    }

    async fn send(&self, buffer: &[u8]) -> Result<usize, Error> {
        self.0.transmit(buffer).await
    }

    async fn send_to(&self, _buffer: &[u8], _target: SocketAddr) -> Result<usize, Error> {
        Err(Error::ErrNoRemAddr)
    }

    fn local_addr(&self) -> Result<SocketAddr, Error> {
        Err(Error::ErrNoRemAddr)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }

    async fn close(&self) -> Result<(), Error> {
        self.0.end();
        Ok(())
    }

    fn as_any(&self) -> &(dyn core::any::Any + Send + Sync) {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_come_back_is_lost_and_no_other() {
        let reader = Reader::default();
        let busy = async {
            for _ in 0..100 {
                reader.comes_back();
                tokio::time::sleep(Duration::from_millis(50)).await;
                reader.takes();
                tokio::time::sleep(Duration::from_millis(350)).await;
            }
            reader.comes_back();
            tokio::time::sleep(Duration::from_secs(60)).await;
        };
        tokio::select! {
            () = reader.is_lost() => panic!("it was busy, and then idle"),
            () = busy => {}
        }
        reader.takes();
        tokio::time::timeout(5 * LOOK, reader.is_lost())
            .await
            .unwrap();
    }
}
