//! One STUN exchange, bytes in and out (RFC 8489): no socket, no clock.

use core::fmt;
use std::net::{IpAddr, SocketAddr};

use ring::hmac;
use stun::attributes::{
    ATTR_CHANGED_ADDRESS, ATTR_ERROR_CODE, ATTR_MESSAGE_INTEGRITY, ATTR_OTHER_ADDRESS,
    ATTR_XORMAPPED_ADDRESS, AttrType,
};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_SUCCESS_RESPONSE, METHOD_BINDING, Message,
    MessageType, Setter,
};
#[cfg(any(test, feature = "responder", feature = "webrtc"))]
use stun::{message::BINDING_SUCCESS, xoraddr::XorMappedAddress};

/// Length of the header of a message (RFC 8489 section 5).
pub(crate) const HEADER_LEN: usize = 20;
/// Length of MESSAGE-INTEGRITY's value (RFC 8489 section 14.5).
const INTEGRITY_LEN: usize = 20;
/// Type of a Binding indication (RFC 8489 section 5).
const BINDING_INDICATION: [u8; 2] = [0x00, 0x11];
/// Marks the Binding indication of a peer that leaves: see docs/goodbye.md. Comprehension is optional
/// (RFC 8489 section 14), so other stacks take the indication for a keepalive.
const ATTR_GOODBYE: AttrType = AttrType(0xE6BD);
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
/// Longest answer read. No attribute of a Binding answer needs more; longer ones are dropped
/// unread.
const MAX_ANSWER: usize = 1500;

/// The 96 random bits that pair a request with its answer.
pub type TransactionId = [u8; 12];

/// The first bytes of a datagram that can only be STUN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether it answers a request: a success or an error response.
    pub is_response: bool,
    /// Whether it is a Binding request.
    pub is_binding_request: bool,
    /// Its transaction.
    pub id: TransactionId,
}

impl Header {
    /// Reads the header of a STUN datagram; `None` for any other on the same socket (RFC 7983), at the
    /// cost of comparing one byte.
    ///
    /// ```
    /// use ice_gather::stun::{Header, write_request};
    ///
    /// let header = Header::peek(&write_request([7; 12])).expect("it is STUN");
    /// assert!(header.is_binding_request && header.id == [7; 12]);
    /// assert_eq!(Header::peek(b"any other payload"), None);
    /// ```
    #[inline]
    #[must_use]
    pub fn peek(datagram: &[u8]) -> Option<Self> {
        if datagram.first().is_none_or(|first| *first > 3) {
            return None;
        }
        Self::read(datagram)
    }

    /// Whether the ICE library takes it for STUN, by its magic cookie alone, and so never for data.
    #[inline]
    pub(crate) const fn is_claimed(datagram: &[u8]) -> bool {
        matches!(*datagram, [_, _, _, _, 0x21, 0x12, 0xA4, 0x42, ..])
            && datagram.len() >= HEADER_LEN
    }

    fn read(datagram: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_LEN] = datagram.first_chunk()?;
        if header[4..8] != MAGIC_COOKIE {
            return None;
        }
        let mut id = [0; 12];
        id.copy_from_slice(&header[8..]);
        let typ = u16::from_be_bytes([header[0], header[1]]);
        Some(Self {
            is_response: typ & 0x0100 != 0,
            is_binding_request: typ == 0x0001,
            id,
        })
    }
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

/// A Binding success response with XOR-MAPPED-ADDRESS.
#[cfg(any(test, feature = "responder"))]
#[must_use]
pub(crate) fn write_success(id: TransactionId, mapped: SocketAddr) -> Vec<u8> {
    let mut message = Message::new();
    message.transaction_id.0 = id;
    message.set_type(BINDING_SUCCESS);
    message.write_header();
    // fails only on an address that is neither IPv4 nor IPv6
    let _ = XorMappedAddress {
        ip: mapped.ip(),
        port: mapped.port(),
    }
    .add_to(&mut message);
    message.raw
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
    let mut message = Message::new();
    message.unmarshal_binary(datagram).ok()?;
    [ATTR_OTHER_ADDRESS, ATTR_CHANGED_ADDRESS]
        .into_iter()
        .find_map(|attribute| {
            let value = message.get(attribute).ok()?;
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

/// Reads the answer to a request: class, method, attribute lengths and families are checked.
/// The [`Plan`](crate::plan::Plan) decides whether the transaction is ours and the source is right.
///
/// # Errors
/// [`Reject`], for everything that is not a well-formed Binding response.
pub fn read_answer(datagram: &[u8]) -> Result<(TransactionId, Answer), Reject> {
    let header = Header::peek(datagram).ok_or(Reject::NotStun)?;
    if datagram.len() > MAX_ANSWER {
        return Err(Reject::TooLong);
    }
    let mut message = Message::new();
    message
        .unmarshal_binary(datagram)
        .map_err(|_| Reject::Malformed)?;
    // the decoder takes datagrams with bytes behind the announced length
    if datagram.len() != HEADER_LEN + message.length as usize {
        return Err(Reject::Malformed);
    }
    let response = |class| MessageType::new(METHOD_BINDING, class);
    let answer = if message.typ == response(CLASS_SUCCESS_RESPONSE) {
        mapped_address(&message).map_or(Answer::Unreadable, Answer::Mapped)
    } else if message.typ == response(CLASS_ERROR_RESPONSE) {
        Answer::Refused(error_code(&message).unwrap_or_default())
    } else {
        return Err(Reject::NotABindingResponse);
    };
    Ok((header.id, answer))
}

/// 8 bytes with family 1, or 20 with family 2, the first byte ignored (RFC 8489 sections 14.1 and
/// 14.2). The library takes shorter ones, and refuses those whose first byte is not zero.
fn mapped_address(message: &Message) -> Option<SocketAddr> {
    unmask(
        &message.get(ATTR_XORMAPPED_ADDRESS).ok()?,
        message.transaction_id.0,
    )
}

fn unmask(value: &[u8], id: TransactionId) -> Option<SocketAddr> {
    let (ip, port) = match *value {
        [_, 1, high, low, ref ip @ ..] => (
            IpAddr::from(xor(ip.try_into().ok()?, MAGIC_COOKIE)),
            [high, low],
        ),
        [_, 2, high, low, ref ip @ ..] => {
            let mut mask = [0; 16];
            mask[..4].copy_from_slice(&MAGIC_COOKIE);
            mask[4..].copy_from_slice(&id);
            (IpAddr::from(xor(ip.try_into().ok()?, mask)), [high, low])
        }
        _ => return None,
    };
    let [high, low, ..] = MAGIC_COOKIE;
    Some(SocketAddr::new(
        ip,
        u16::from_be_bytes(xor(port, [high, low])),
    ))
}

fn xor<const N: usize>(value: [u8; N], mask: [u8; N]) -> [u8; N] {
    std::array::from_fn(|n| value[n] ^ mask[n])
}

/// The code of an error response (RFC 8489 section 14.8), if it has a valid one. The code alone:
/// the library's own error type panics when it shows a reason that is not UTF-8.
pub(crate) fn error_code(message: &Message) -> Option<u16> {
    match message.get(ATTR_ERROR_CODE).as_deref() {
        Ok([_, _, class @ 3..=6, number @ 0..=99, ..]) => {
            Some(u16::from(*class) * 100 + u16::from(*number))
        }
        _ => None,
    }
}

/// The key of a short-term password (RFC 8489 section 9.1.1).
pub(crate) fn integrity_key(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}

/// The attributes in front of MESSAGE-INTEGRITY, if that was made with `key` (RFC 8489 section
/// 14.5): those behind it prove nothing. Takes nothing from the heap.
pub(crate) fn authenticated<'a>(datagram: &'a [u8], key: &hmac::Key) -> Option<&'a [u8]> {
    let (header, attributes) = datagram.split_first_chunk::<HEADER_LEN>()?;
    if usize::from(u16::from_be_bytes([header[2], header[3]])) != attributes.len() {
        return None;
    }
    let (at, value) = find(attributes, ATTR_MESSAGE_INTEGRITY)?;
    let before = attributes.get(..at)?;
    // the length the message had when it was signed: it ended with this attribute
    let length = u16::try_from(at + 4 + INTEGRITY_LEN).ok()?;
    let mut context = hmac::Context::with_key(key);
    context.update(&header[..2]);
    context.update(&length.to_be_bytes());
    context.update(&header[4..]);
    context.update(before);
    let made = context.sign();
    let differs = value
        .iter()
        .zip(made.as_ref())
        .fold(value.len() ^ INTEGRITY_LEN, |d, (a, b)| {
            d | usize::from(a ^ b)
        });
    (differs == 0).then_some(before)
}

/// Whether it is a Binding success response.
#[cfg(feature = "webrtc")]
pub(crate) fn is_success(datagram: &[u8]) -> bool {
    datagram.starts_with(&[0x01, 0x01])
}

/// The answer to a connectivity check (RFC 8445 section 7.3.1.2), signed with the password of the
/// side that answers.
#[cfg(feature = "webrtc")]
pub(crate) fn write_check_response(
    id: TransactionId,
    mapped: SocketAddr,
    password: &str,
) -> Option<Vec<u8>> {
    let mut message = Message::new();
    message.transaction_id.0 = id;
    message.set_type(BINDING_SUCCESS);
    message.write_header();
    let (ip, port) = (mapped.ip(), mapped.port());
    XorMappedAddress { ip, port }.add_to(&mut message).ok()?;
    let integrity = MessageIntegrity::new_short_term_integrity(password.to_owned());
    integrity.add_to(&mut message).ok()?;
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
}

/// The last message of a path: a Binding indication that is signed with the password of the side
/// that it goes to, as the checks are.
pub(crate) fn write_goodbye(id: TransactionId, password: &str) -> Option<Vec<u8>> {
    let mut message = Message::new();
    message.transaction_id.0 = id;
    message.set_type(MessageType::new(METHOD_BINDING, CLASS_INDICATION));
    message.write_header();
    message.add(ATTR_GOODBYE, &[]);
    let integrity = MessageIntegrity::new_short_term_integrity(password.to_owned());
    integrity.add_to(&mut message).ok()?;
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
}

/// Whether the peer leaves, by its own signed word.
pub(crate) fn is_goodbye(datagram: &[u8], key: &hmac::Key) -> bool {
    // the attribute first, because a signature costs more to check than to forge
    let attributes = datagram.get(HEADER_LEN..).unwrap_or_default();
    datagram.starts_with(&BINDING_INDICATION)
        && find(attributes, ATTR_GOODBYE).is_some()
        && authenticated(datagram, key).is_some_and(|signed| find(signed, ATTR_GOODBYE).is_some())
}

/// XOR-MAPPED-ADDRESS among these attributes, at the one right length of its family.
pub(crate) fn mapped_in(attributes: &[u8], id: TransactionId) -> Option<SocketAddr> {
    unmask(find(attributes, ATTR_XORMAPPED_ADDRESS)?.1, id)
}

/// The first attribute of a kind: where it begins, and its value.
fn find(attributes: &[u8], kind: AttrType) -> Option<(usize, &[u8])> {
    let mut rest = attributes;
    while let [k0, k1, l0, l1, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let value = tail.get(..length)?;
        if u16::from_be_bytes([*k0, *k1]) == kind.0 {
            return Some((attributes.len() - rest.len(), value));
        }
        rest = tail.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests;
