//! One STUN message, read in place and strictly (RFC 8489 sections 5 and 14).

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// Length of the header.
const HEADER_LEN: usize = 20;
/// Length of MESSAGE-INTEGRITY's value (RFC 8489 section 14.5).
const INTEGRITY_LEN: usize = 20;
/// Longest message read: no datagram of an ordinary path is longer, and a message of nothing but
/// empty attributes has to cost little.
const MAX_LEN: usize = 1500;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const REALM: u16 = 0x0014;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
const USERHASH: u16 = 0x001E;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// The 96 bits that pair a request with its answer. Some stacks repeat them.
pub type TransactionId = [u8; 12];

/// The class of a message (RFC 8489 section 5).
///
/// ```
/// use nat_summary::observer::{Class, Message};
/// let answer = Message::read(b"\x01\x01\x00\x00\x21\x12\xA4\x42............")?;
/// assert_eq!(answer.class, Class::Success);
/// # Ok::<(), nat_summary::observer::Malformed>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A request.
    Request,
    /// An indication, which has no answer.
    Indication,
    /// A success response.
    Success,
    /// An error response.
    Error,
}

/// The method of a message (RFC 8489 section 18.2, RFC 8656 section 17).
///
/// ```
/// use nat_summary::observer::{Message, Method};
/// let request = Message::read(b"\x00\x03\x00\x00\x21\x12\xA4\x42............")?;
/// assert_eq!(request.method, Method::Allocate);
/// # Ok::<(), nat_summary::observer::Malformed>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Binding.
    Binding,
    /// Allocate, of TURN.
    Allocate,
    /// Send, of TURN: a datagram for a peer, which the relay sends on.
    Send,
    /// Data, of TURN: a datagram of a peer, which came in at the relay.
    Data,
    /// Any other.
    Other(u16),
}

/// Why a datagram that begins like STUN is not read.
///
/// ```
/// use nat_summary::observer::{Malformed, Message};
///
/// let header = *b"\x00\x01\x00\x08\x21\x12\xA4\x42............";
/// assert_eq!(Message::read(&header).unwrap_err(), Malformed::Length, "eight bytes are announced");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Malformed {
    /// The first two bits or the magic cookie are not STUN's.
    NotStun,
    /// Longer than any message of an ordinary path.
    TooLong,
    /// The length in the header is not that of the datagram, or not a multiple of four.
    Length,
    /// An attribute ends behind the message.
    Attribute,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotStun => "not STUN",
            Self::TooLong => "longer than any STUN message of an ordinary path",
            Self::Length => "the announced length is not the length",
            Self::Attribute => "an attribute ends behind the message",
        })
    }
}

impl core::error::Error for Malformed {}

/// Whether a datagram begins like STUN (RFC 7983 section 7): a few bytes are compared, and nothing
/// else is read.
///
/// ```
/// assert!(nat_summary::observer::is_stun(b"\x00\x01\x00\x00\x21\x12\xA4\x42............"));
/// assert!(!nat_summary::observer::is_stun(b"\x16\xfe\xfd DTLS"));
/// ```
#[inline]
#[must_use]
pub const fn is_stun(datagram: &[u8]) -> bool {
    matches!(*datagram, [0..=3, _, _, _, 0x21, 0x12, 0xA4, 0x42, ..])
}

/// The first twenty bytes of a datagram that can only be STUN. The attributes behind them are not
/// read, and may be damaged.
///
/// ```
/// use nat_summary::observer::Header;
///
/// let header = Header::peek(b"\x00\x01\x00\x08\x21\x12\xA4\x42a random id.").expect("it is STUN");
/// assert!(header.is_binding_request() && header.id == *b"a random id.");
/// assert_eq!(Header::peek(b"any other payload"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Header {
    /// The class.
    pub class: Class,
    /// The method.
    pub method: Method,
    /// The transaction.
    pub id: TransactionId,
}

impl Header {
    /// Reads the header of a STUN datagram; `None` for any other on the same socket (RFC 7983), at the
    /// cost of comparing a few bytes.
    #[inline]
    #[must_use]
    pub fn peek(datagram: &[u8]) -> Option<Self> {
        if !is_stun(datagram) {
            return None;
        }
        datagram.first_chunk::<HEADER_LEN>().map(Self::of)
    }

    #[inline]
    const fn of(header: &[u8; HEADER_LEN]) -> Self {
        let [t0, t1, _, _, _, _, _, _, id @ ..] = *header;
        let typ = u16::from_be_bytes([t0, t1]);
        Self {
            class: class(typ),
            method: method(typ),
            id,
        }
    }

    /// Whether it answers a request.
    #[must_use]
    pub const fn is_response(&self) -> bool {
        matches!(self.class, Class::Success | Class::Error)
    }

    /// Whether it is a Binding request: of a peer, or to a server.
    #[must_use]
    pub const fn is_binding_request(&self) -> bool {
        matches!((self.class, self.method), (Class::Request, Method::Binding))
    }
}

/// A STUN message whose lengths are right, with the attributes that an observer needs. Of an
/// attribute that comes twice the first counts, and those behind MESSAGE-INTEGRITY do not (RFC 8489
/// sections 14 and 14.5).
///
/// ```
/// use nat_summary::observer::{Class, Message, Method};
///
/// let message = Message::read(b"\x00\x01\x00\x00\x21\x12\xA4\x42............")?;
/// assert_eq!((message.class, message.method), (Class::Request, Method::Binding));
/// assert!(!message.is_check(), "it asks a server");
/// # Ok::<(), nat_summary::observer::Malformed>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The class.
    pub class: Class,
    /// The method.
    pub method: Method,
    /// The transaction.
    pub id: TransactionId,
    /// USERNAME (RFC 8489 section 14.3).
    pub username: Option<&'a [u8]>,
    /// XOR-MAPPED-ADDRESS, where its length and family are right (RFC 8489 section 14.2). A plain
    /// MAPPED-ADDRESS is not read, because gateways rewrite it.
    pub mapped: Option<SocketAddr>,
    /// The code of ERROR-CODE, from 300 to 699 (RFC 8489 section 14.8).
    pub error_code: Option<u16>,
    /// REALM or USERHASH: long-term credentials (RFC 8489 section 9.2), which no connectivity check
    /// has.
    is_long_term: bool,
    /// Those in front of MESSAGE-INTEGRITY.
    attributes: &'a [u8],
    signed: Option<Signed<'a>>,
}

/// The parts of a message that MESSAGE-INTEGRITY covers (RFC 8489 section 14.5): the HMAC-SHA1 of
/// [`parts`](Self::parts), one after the other, has to be [`code`](Self::code).
///
/// ```
/// use nat_summary::observer::Message;
/// let unsigned = Message::read(b"\x00\x01\x00\x00\x21\x12\xA4\x42............")?;
/// assert_eq!(unsigned.signed(), None);
/// # Ok::<(), nat_summary::observer::Malformed>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<'a> {
    header: [u8; HEADER_LEN],
    attributes: &'a [u8],
    code: &'a [u8; INTEGRITY_LEN],
}

impl<'a> Signed<'a> {
    /// The header with the length that the message had when it was signed, and the attributes in
    /// front of the signature.
    #[must_use]
    pub const fn parts(&self) -> [&[u8]; 2] {
        [&self.header, self.attributes]
    }

    /// The value of MESSAGE-INTEGRITY. Compare it in constant time.
    #[must_use]
    pub const fn code(&self) -> &'a [u8; INTEGRITY_LEN] {
        self.code
    }
}

impl<'a> Message<'a> {
    /// Reads a datagram that is one STUN message and nothing else. Takes nothing from the heap.
    ///
    /// # Errors
    /// [`Malformed`], where a length is wrong or the datagram is no STUN message.
    pub fn read(datagram: &'a [u8]) -> Result<Self, Malformed> {
        if !is_stun(datagram) {
            return Err(Malformed::NotStun);
        }
        let (header, attributes) = datagram
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(Malformed::Length)?;
        let Header { class, method, id } = Header::of(header);
        if datagram.len() > MAX_LEN {
            return Err(Malformed::TooLong);
        }
        let [_, _, l0, l1, ..] = *header;
        if usize::from(u16::from_be_bytes([l0, l1])) != attributes.len()
            || attributes.len() % 4 != 0
        {
            return Err(Malformed::Length);
        }
        let mut message = Self {
            class,
            method,
            id,
            username: None,
            mapped: None,
            error_code: None,
            is_long_term: false,
            attributes,
            signed: None,
        };
        message.read_attributes(header, attributes)?;
        Ok(message)
    }

    fn read_attributes(
        &mut self,
        header: &[u8; HEADER_LEN],
        attributes: &'a [u8],
    ) -> Result<(), Malformed> {
        let mut rest = attributes;
        // only the first of a kind counts, readable or not
        let (mut has_mapped, mut has_code, mut is_over) = (false, false, false);
        while let [k0, k1, l0, l1, tail @ ..] = rest {
            let kind = u16::from_be_bytes([*k0, *k1]);
            let length = usize::from(u16::from_be_bytes([*l0, *l1]));
            let value = tail.get(..length).ok_or(Malformed::Attribute)?;
            let next = tail
                .get(length.next_multiple_of(4)..)
                .ok_or(Malformed::Attribute)?;
            match kind {
                _ if is_over => {}
                USERNAME => self.username = self.username.or(Some(value)),
                REALM | USERHASH => self.is_long_term = true,
                XOR_MAPPED_ADDRESS if !has_mapped => {
                    has_mapped = true;
                    self.mapped = unmask(value, self.id);
                }
                ERROR_CODE if !has_code => {
                    has_code = true;
                    self.error_code = error_code(value);
                }
                MESSAGE_INTEGRITY | MESSAGE_INTEGRITY_SHA256 => {
                    is_over = true;
                    let before = attributes.len() - rest.len();
                    self.attributes = attributes.get(..before).unwrap_or_default();
                    if kind == MESSAGE_INTEGRITY {
                        self.signed = signed(header, self.attributes, value);
                    }
                }
                _ => {}
            }
            rest = next;
        }
        // a multiple of four leaves no bytes behind the last attribute
        Ok(())
    }

    /// Whether it is a connectivity check (RFC 8445 section 7.1.2): a Binding request with a USERNAME
    /// of short-term credentials. Any other Binding request asks a server.
    #[must_use]
    pub const fn is_check(&self) -> bool {
        matches!((self.class, self.method), (Class::Request, Method::Binding))
            && self.username.is_some()
            && !self.is_long_term
    }

    /// Whether it answers a request.
    #[must_use]
    pub const fn is_response(&self) -> bool {
        matches!(self.class, Class::Success | Class::Error)
    }

    /// The value of the first attribute of this kind, as it stands in the message (RFC 8489 section 14).
    /// One behind MESSAGE-INTEGRITY does not count.
    ///
    /// ```
    /// use nat_summary::observer::Message;
    ///
    /// let bytes = b"\x00\x01\x00\x08\x21\x12\xA4\x42a random id.\x80\x22\x00\x03own\x00";
    /// assert_eq!(Message::read(bytes)?.attribute(0x8022), Some(&b"own"[..]));
    /// # Ok::<(), nat_summary::observer::Malformed>(())
    /// ```
    #[must_use]
    pub fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        let mut rest = self.attributes;
        while let [k0, k1, l0, l1, tail @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*l0, *l1]));
            if u16::from_be_bytes([*k0, *k1]) == kind {
                return tail.get(..length);
            }
            rest = tail.get(length.next_multiple_of(4)..)?;
        }
        None
    }

    /// The parts that MESSAGE-INTEGRITY covers; `None` without one of the right length.
    #[must_use]
    pub const fn signed(&self) -> Option<Signed<'a>> {
        self.signed
    }
}

/// Bits 4 and 8 of the type (RFC 8489 section 5).
const fn class(typ: u16) -> Class {
    match (typ & 0x0100 != 0, typ & 0x0010 != 0) {
        (false, false) => Class::Request,
        (false, true) => Class::Indication,
        (true, false) => Class::Success,
        (true, true) => Class::Error,
    }
}

/// The other twelve bits.
const fn method(typ: u16) -> Method {
    match (typ & 0x000f) | ((typ & 0x00e0) >> 1) | ((typ & 0x3e00) >> 2) {
        0x001 => Method::Binding,
        0x003 => Method::Allocate,
        0x006 => Method::Send,
        0x007 => Method::Data,
        other => Method::Other(other),
    }
}

/// The signature behind `attributes`. The header is signed with the length of a message that ends with
/// MESSAGE-INTEGRITY.
fn signed<'a>(
    header: &[u8; HEADER_LEN],
    attributes: &'a [u8],
    value: &'a [u8],
) -> Option<Signed<'a>> {
    let length = u16::try_from(attributes.len() + 4 + INTEGRITY_LEN).ok()?;
    let mut header = *header;
    [header[2], header[3]] = length.to_be_bytes();
    Some(Signed {
        header,
        attributes,
        code: value.try_into().ok()?,
    })
}

/// 8 bytes with family 1, or 20 with family 2, the first byte ignored (RFC 8489 sections 14.1 and
/// 14.2).
fn unmask(value: &[u8], id: TransactionId) -> Option<SocketAddr> {
    let [_, family, p0, p1, ip @ ..] = value else {
        return None;
    };
    let [c0, c1, ..] = MAGIC_COOKIE;
    let ip = match family {
        1 => IpAddr::from(xor(ip.try_into().ok()?, MAGIC_COOKIE)),
        2 => {
            let mut mask = [0; 16];
            mask[..4].copy_from_slice(&MAGIC_COOKIE);
            mask[4..].copy_from_slice(&id);
            IpAddr::from(xor(ip.try_into().ok()?, mask))
        }
        _ => return None,
    };
    let port = u16::from_be_bytes([p0 ^ c0, p1 ^ c1]);
    Some(SocketAddr::new(ip.to_canonical(), port))
}

fn xor<const N: usize>(value: [u8; N], mask: [u8; N]) -> [u8; N] {
    core::array::from_fn(|n| value[n] ^ mask[n])
}

/// The class in the third byte, the number in the fourth (RFC 8489 section 14.8).
fn error_code(value: &[u8]) -> Option<u16> {
    match *value {
        [_, _, class, number @ 0..=99, ..] if matches!(class & 7, 3..=6) => {
            Some(u16::from(class & 7) * 100 + u16::from(number))
        }
        _ => None,
    }
}
