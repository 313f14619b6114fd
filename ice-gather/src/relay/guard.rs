//! The guard between the TURN client of the library and its server: only messages that the client can
//! take pass.
//!
//! The client panics on an error response whose reason is not UTF-8, its reading loop ends for ever
//! on the first message it cannot use (channel data of a channel that it never bound included), a
//! lifetime of zero has it refresh without a pause, and dropped it goes on reading. So each message
//! is read here first; error responses go on without their reason; and once this is closed, every
//! loop of the client ends.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, Weak};

use stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_ERROR_CODE, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM,
    ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS,
};
use stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE,
    METHOD_CHANNEL_BIND, METHOD_DATA, METHOD_REFRESH, Message, is_message,
};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::base::Shared;
use crate::common::{ERROR_PAUSE, lock};
use crate::error::RelayError;
use crate::socket::carrier::DatagramCarrier;
use crate::socket::conn::Unconnected;
use crate::socket::recent_ports;
use crate::stun::TransactionId;

/// Shortest lifetime taken of an allocation. RFC 8656 section 7.2 has ten minutes by default.
const SHORTEST_LIFETIME: u32 = 30;
/// The code that asks for credentials, or says that they are wrong (RFC 8489 section 9.2.4).
const UNAUTHENTICATED: u16 = 401;

/// A socket connected to one TURN server.
pub(super) struct Guard {
    socket: UdpSocket,
    server: SocketAddr,
    asked: Mutex<Asked>,
    seen: watch::Sender<Seen>,
    /// The highest channel that the client asked to bind: it numbers them upward, and forgets
    /// none. Zero: none yet.
    last_channel: AtomicU16,
    closed: CancellationToken,
    /// Counts dropped messages.
    base: Weak<Shared>,
}

/// A guard as the library takes it.
pub(super) type GuardedSocket = Arc<Unconnected<Guard>>;

/// The latest Allocate request.
#[derive(Default)]
struct Asked {
    id: TransactionId,
    with_credentials: bool,
}

/// The server's answers so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// Why there is no allocation.
    pub(super) refused: Option<RelayError>,
    /// An answer to a Refresh request came in.
    pub(super) refreshes: u32,
}

impl Guard {
    pub(super) fn new(socket: UdpSocket, server: SocketAddr, base: Weak<Shared>) -> Self {
        note_port(&socket);
        Self {
            socket,
            server,
            asked: Mutex::default(),
            seen: watch::Sender::new(Seen::default()),
            last_channel: AtomicU16::new(0),
            closed: CancellationToken::new(),
            base,
        }
    }

    pub(super) fn shared(self) -> GuardedSocket {
        Arc::new(Unconnected(self))
    }

    pub(super) fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    fn refuse(&self, error: RelayError) {
        self.seen.send_modify(|seen| {
            seen.refused.get_or_insert(error);
        });
    }

    /// The part of a datagram that goes on to the client, in place; its length.
    fn pass(&self, buffer: &mut [u8], length: usize) -> Option<usize> {
        let datagram = buffer.get(..length)?;
        if is_message(datagram) {
            let passed = self.pass_message(datagram)?;
            buffer.get_mut(..passed.len())?.copy_from_slice(&passed);
            return Some(passed.len());
        }
        // one of a channel that was never bound ends the client's loop
        let is_bound = channel(datagram)? <= self.last_channel.load(Ordering::Relaxed);
        is_bound.then_some(length)
    }

    fn pass_message(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut message = Message::new();
        message.unmarshal_binary(datagram).ok()?;
        let method = message.typ.method;
        match message.typ.class {
            CLASS_INDICATION => {
                let is_usable = method == METHOD_DATA
                    && message.get(ATTR_DATA).is_ok()
                    && message
                        .get(ATTR_XOR_PEER_ADDRESS)
                        .is_ok_and(|value| is_address(&value));
                is_usable.then(|| datagram.to_vec())
            }
            CLASS_SUCCESS_RESPONSE if method == METHOD_ALLOCATE => {
                self.pass_allocation(&message, datagram)
            }
            CLASS_ERROR_RESPONSE if method == METHOD_ALLOCATE => self.pass_refusal(&message),
            CLASS_SUCCESS_RESPONSE | CLASS_ERROR_RESPONSE => {
                if method == METHOD_REFRESH {
                    self.seen
                        .send_modify(|seen| seen.refreshes = seen.refreshes.saturating_add(1));
                }
                let is_error = message.typ.class == CLASS_ERROR_RESPONSE;
                if is_error {
                    Some(without_reason(&message))
                } else {
                    Some(datagram.to_vec())
                }
            }
            // a server sends no requests
            _ => None,
        }
    }

    /// An allocation has a relayed address, by IPv4 as asked for, and lasts a while.
    fn pass_allocation(&self, message: &Message, datagram: &[u8]) -> Option<Vec<u8>> {
        if self
            .asked()
            .is_none_or(|(id, _)| id != message.transaction_id.0)
        {
            return None;
        }
        let relayed = message
            .get(ATTR_XOR_RELAYED_ADDRESS)
            .is_ok_and(|value| matches!(value.as_slice(), [_, 1, ..] if is_address(&value)));
        let lifetime = message
            .get(ATTR_LIFETIME)
            .ok()
            .and_then(|value| <[u8; 4]>::try_from(value).ok());
        if relayed
            && lifetime.is_some_and(|seconds| u32::from_be_bytes(seconds) >= SHORTEST_LIFETIME)
        {
            return Some(datagram.to_vec());
        }
        self.refuse(RelayError::Unusable);
        None
    }

    /// The first error response asks for credentials; every other one is the end, and the client
    /// need not see it.
    fn pass_refusal(&self, message: &Message) -> Option<Vec<u8>> {
        let (id, with_credentials) = self.asked()?;
        if id != message.transaction_id.0 {
            return None;
        }
        match (error_code(message), with_credentials) {
            (Some(UNAUTHENTICATED), false) => return Some(without_reason(message)),
            (Some(UNAUTHENTICATED), true) => self.refuse(RelayError::Unauthenticated),
            (code, _) => self.refuse(RelayError::Refused(code.unwrap_or_default())),
        }
        None
    }

    fn asked(&self) -> Option<(TransactionId, bool)> {
        let asked = lock(&self.asked);
        (asked.id != TransactionId::default()).then_some((asked.id, asked.with_credentials))
    }

    /// Remembers which Allocate request is the latest, and which channels were asked for.
    fn note(&self, datagram: &[u8]) {
        let mut message = Message::new();
        if !is_message(datagram)
            || message.unmarshal_binary(datagram).is_err()
            || message.typ.class != CLASS_REQUEST
        {
            return;
        }
        match message.typ.method {
            METHOD_ALLOCATE => {
                let with_credentials = message.contains(ATTR_USERNAME);
                *lock(&self.asked) = Asked {
                    id: message.transaction_id.0,
                    with_credentials,
                };
            }
            METHOD_CHANNEL_BIND => {
                if let Ok([high, low, ..]) = message.get(ATTR_CHANNEL_NUMBER).as_deref() {
                    self.last_channel
                        .fetch_max(u16::from_be_bytes([*high, *low]), Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        note_port(&self.socket);
    }
}

/// The relayed candidate of a peer may be at the very server that this socket sent to.
fn note_port(socket: &UdpSocket) {
    if let Ok(local) = socket.local_addr() {
        recent_ports::note(local.port());
    }
}

/// Closes the guard when dropped, whatever became of the client.
pub(super) struct ClosesGuard(pub(super) GuardedSocket);

impl Drop for ClosesGuard {
    fn drop(&mut self) {
        self.0.0.close();
    }
}

/// The channel's number, if it is one and the length fits (RFC 8656 section 12.4).
fn channel(datagram: &[u8]) -> Option<u16> {
    match *datagram {
        [first @ 0x40..=0x4f, second, high, low, ref data @ ..] => {
            let fits = usize::from(u16::from_be_bytes([high, low])) <= data.len();
            fits.then_some(u16::from_be_bytes([first, second]))
        }
        _ => None,
    }
}

/// The code of an error response (RFC 8489 section 14.8), if it has a valid one. The code alone:
/// the library's own error type panics when it shows a reason that is not UTF-8.
fn error_code(message: &Message) -> Option<u16> {
    match message.get(ATTR_ERROR_CODE).as_deref() {
        Ok([_, _, class @ 3..=6, number @ 0..=99, ..]) => {
            Some(u16::from(*class) * 100 + u16::from(*number))
        }
        _ => None,
    }
}

/// 8 bytes with family 1, or 20 with family 2. The library takes shorter ones.
const fn is_address(value: &[u8]) -> bool {
    matches!((value, value.len()), ([0, 1, ..], 8) | ([0, 2, ..], 20))
}

/// The same error response with its code, realm and nonce, and no reason. The client checks no
/// integrity of responses.
fn without_reason(message: &Message) -> Vec<u8> {
    let mut short = Message::new();
    short.typ = message.typ;
    short.transaction_id = message.transaction_id;
    short.write_header();
    if let Some(code) = error_code(message) {
        short.add(
            ATTR_ERROR_CODE,
            &[0, 0, (code / 100) as u8, (code % 100) as u8],
        );
    }
    for attribute in [ATTR_REALM, ATTR_NONCE] {
        if let Ok(value) = message.get(attribute) {
            short.add(attribute, &value);
        }
    }
    short.raw
}

impl DatagramCarrier for Guard {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            let received = tokio::select! {
                biased;
                () = self.closed.cancelled() => return Err(io::ErrorKind::NotConnected.into()),
                received = self.socket.recv(buffer) => received,
            };
            match received {
                Ok(length) => {
                    if let Some(passed) = self.pass(buffer, length) {
                        return Ok((passed, self.server));
                    }
                    if let Some(base) = self.base.upgrade() {
                        base.relay_dropped();
                    }
                }
                Err(error) => {
                    // no server listens there; once there is an allocation it may be a forgery, and
                    // the connection shows by itself whether it works
                    if error.kind() == io::ErrorKind::ConnectionRefused {
                        self.refuse(RelayError::Unreachable);
                    }
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    async fn send_to(&self, datagram: &[u8], _: SocketAddr) -> io::Result<usize> {
        if self.closed.is_cancelled() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.note(datagram);
        // a lost datagram is sent again, and an error here would end a transaction of the client
        // for good
        let _ = self.socket.send(datagram).await;
        Ok(datagram.len())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Every later read and send fails: so the client's loops end.
    fn close(&self) {
        self.closed.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stun::message::MessageType;

    use super::*;
    use crate::base::Base;
    use crate::config::BindConfig;

    #[tokio::test]
    async fn the_port_toward_a_server_is_used_too() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let local = socket.local_addr().unwrap();
        let guard = Guard::new(socket, local, Weak::new());
        assert!(recent_ports::is_used(local.port()));
        recent_ports::forget(local.port());
        drop(guard);
        assert!(recent_ports::is_used(local.port()));
    }

    /// A channel that was never bound ends the client's reading for ever.
    #[tokio::test]
    async fn channel_data_passes_on_channels_that_were_asked_for_and_the_rest_is_counted() {
        let base = Base::bind(BindConfig::address([127, 0, 0, 1].into()))
            .await
            .unwrap();
        let (server, socket) = (
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        );
        server.connect(socket.local_addr().unwrap()).await.unwrap();
        socket.connect(server.local_addr().unwrap()).await.unwrap();
        let guard = Guard::new(
            socket,
            server.local_addr().unwrap(),
            Arc::downgrade(base.shared()),
        );
        let on = |number: u8| [0x40, number, 0, 1, number];
        let mut buffer = [0; 1500];
        for bound in 0..3 {
            server.send(&on(bound)).await.unwrap();
            server.send(&on(bound + 1)).await.unwrap();
            let early =
                tokio::time::timeout(Duration::from_millis(20), guard.recv_from(&mut buffer)).await;
            assert!(early.is_err(), "{bound}");
            let mut bind = Message::new();
            bind.typ = MessageType::new(METHOD_CHANNEL_BIND, CLASS_REQUEST);
            bind.write_header();
            bind.add(ATTR_CHANNEL_NUMBER, &[0x40, bound, 0, 0]);
            guard.send_to(&bind.raw, guard.server).await.unwrap();
            server.send(&on(bound)).await.unwrap();
            let (length, _) = guard.recv_from(&mut buffer).await.unwrap();
            assert_eq!(buffer[..length], on(bound));
        }
        assert_eq!(base.dropped().relay, 6);
    }
}
