//! One STUN exchange, bytes in and out (RFC 8489): no socket, no clock.

use core::fmt;
use std::net::{IpAddr, SocketAddr};

use nat_summary::observer::{Class, Malformed, Message, Method};
pub use nat_summary::observer::{Header, TransactionId};

/// Length of the header of a message (RFC 8489 section 5).
pub(crate) const HEADER_LEN: usize = 20;
/// Types of attributes (RFC 5780 section 7.4, RFC 3489 section 11.2.3).
const OTHER_ADDRESS: u16 = 0x802C;
const CHANGED_ADDRESS: u16 = 0x0005;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// Whether the ICE library takes it for STUN, by its magic cookie alone, and so never for data.
#[inline]
pub(crate) const fn is_claimed(datagram: &[u8]) -> bool {
    matches!(*datagram, [_, _, _, _, 0x21, 0x12, 0xA4, 0x42, ..]) && datagram.len() >= HEADER_LEN
}

/// The answer of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// XOR-MAPPED-ADDRESS.
    Mapped(SocketAddr),
    /// An error response with its code, 0 if it has none that can be read.
    Refused(u16),
    /// A success response without an XOR-MAPPED-ADDRESS of a valid length and family. A plain
    /// MAPPED-ADDRESS does not do: gateways rewrite it (RFC 8489 section 14.2). It still proves
    /// that UDP passes.
    Unreadable,
}

/// Why a datagram is no answer of ours. Each is dropped and counted; the transaction goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reject {
    /// Not STUN at all.
    NotStun,
    /// Longer than any Binding answer.
    TooLong,
    /// STUN that does not decode.
    Malformed,
    /// Not a response of the Binding method.
    NotABindingResponse,
    /// The transaction is not ours, or ended.
    UnknownId,
    /// It came from another address or port than the one asked.
    WrongSource,
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotStun => "not STUN",
            Self::TooLong => "longer than any Binding answer",
            Self::Malformed => "malformed STUN",
            Self::NotABindingResponse => "not a Binding response",
            Self::UnknownId => "unknown transaction",
            Self::WrongSource => "answered from another address",
        })
    }
}

impl core::error::Error for Reject {}

/// A Binding request: a header and nothing else (RFC 8489 section 5).
#[must_use]
pub fn write_request(id: TransactionId) -> [u8; HEADER_LEN] {
    let mut request = [0; HEADER_LEN];
    request[1] = 0x01;
    request[4..8].copy_from_slice(&MAGIC_COOKIE);
    request[8..].copy_from_slice(&id);
    request
}

/// A Binding success response with XOR-MAPPED-ADDRESS (RFC 8489 section 14.2).
#[cfg(any(test, feature = "responder"))]
#[must_use]
pub(crate) fn write_success(id: TransactionId, mapped: SocketAddr) -> Vec<u8> {
    let mut message = write_request(id).to_vec();
    message[0] = 0x01;
    let (family, ip) = match mapped.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mask = [MAGIC_COOKIE.as_slice(), &id].concat();
    let length = 4 + ip.len() as u8;
    message.extend_from_slice(&[0x00, 0x20, 0, length, 0, family]);
    message.extend(
        mapped
            .port()
            .to_be_bytes()
            .iter()
            .zip(&mask)
            .map(|(a, b)| a ^ b),
    );
    message.extend(ip.iter().zip(&mask).map(|(a, b)| a ^ b));
    message[3] = 4 + length;
    message
}

/// From where else an answer is asked for (RFC 5780 section 7.2, CHANGE-REQUEST).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// From the server's other address and other port.
    AddressAndPort,
    /// From its other port.
    Port,
}

/// A Binding request that asks for its answer from elsewhere.
#[must_use]
pub fn write_change_request(id: TransactionId, change: Change) -> [u8; HEADER_LEN + 8] {
    let mut request = [0; HEADER_LEN + 8];
    request[..HEADER_LEN].copy_from_slice(&write_request(id));
    request[3] = 8;
    request[HEADER_LEN + 1] = 0x03;
    request[HEADER_LEN + 3] = 4;
    request[HEADER_LEN + 7] = match change {
        Change::AddressAndPort => 0x06,
        Change::Port => 0x02,
    };
    request
}

/// The server's other address and port: OTHER-ADDRESS (RFC 5780 section 7.4), or CHANGED-ADDRESS
/// (RFC 3489 section 11.2.3) of older servers.
#[must_use]
pub fn other_address(datagram: &[u8]) -> Option<SocketAddr> {
    let message = Message::read(datagram).ok()?;
    [OTHER_ADDRESS, CHANGED_ADDRESS]
        .into_iter()
        .find_map(|kind| {
            let value = message.attribute(kind)?;
            let port = u16::from_be_bytes([*value.get(2)?, *value.get(3)?]);
            let ip: IpAddr = match (value.get(1)?, value.len()) {
                (1, 8) => <[u8; 4]>::try_from(value.get(4..)?).ok()?.into(),
                (2, 20) => <[u8; 16]>::try_from(value.get(4..)?).ok()?.into(),
                _ => return None,
            };
            Some(SocketAddr::new(ip, port))
                .filter(|other| other.port() != 0 && !ip.is_unspecified())
        })
}

/// Reads the answer to a request: class, method, attribute lengths and families are checked, as the
/// observer of nat-summary does. The [`Plan`](crate::plan::Plan) decides whether the transaction is
/// ours and the source is right.
///
/// # Errors
/// [`Reject`], for everything that is not a well-formed Binding response.
pub fn read_answer(datagram: &[u8]) -> Result<(TransactionId, Answer), Reject> {
    Header::peek(datagram).ok_or(Reject::NotStun)?;
    let message = Message::read(datagram).map_err(|malformed| match malformed {
        Malformed::TooLong => Reject::TooLong,
        _ => Reject::Malformed,
    })?;
    let answer = match (message.method, message.class) {
        (Method::Binding, Class::Success) => {
            message.mapped.map_or(Answer::Unreadable, Answer::Mapped)
        }
        (Method::Binding, Class::Error) => Answer::Refused(message.error_code.unwrap_or_default()),
        _ => return Err(Reject::NotABindingResponse),
    };
    Ok((message.id, answer))
}

#[cfg(test)]
mod tests;
