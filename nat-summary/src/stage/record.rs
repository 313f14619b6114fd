//! DTLS records of one datagram, read in place (RFC 6347 section 4.1, RFC 9147 section 4).

use super::verdict::HandshakeMessage;

/// Header of a record of DTLS 1.2, and of every record in epoch 0.
const RECORD: usize = 13;
/// Header of a handshake message (RFC 6347 section 4.2.2).
const MESSAGE: usize = 12;
/// Most records read of a datagram, and most messages of a record: a flight has no more.
const MOST: usize = 16;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const FATAL: u8 = 2;

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// A handshake record in epoch 0: its messages.
    Handshake(&'a [u8]),
    /// An alert in epoch 0; whether it is fatal.
    Alert { is_fatal: bool },
    /// The change of the cipher.
    ChangeCipherSpec,
    /// A handshake record or an alert under keys.
    Encrypted,
    /// Application data of DTLS 1.2.
    Data,
    /// A record with the unified header of DTLS 1.3; records behind it are not read.
    Unified,
}

/// Whether a datagram begins like DTLS (RFC 9443 section 3).
#[inline]
pub(super) const fn is_dtls(datagram: &[u8]) -> bool {
    matches!(*datagram, [20..=63, ..])
}

/// The records of a datagram, up to the first that is broken.
pub(super) fn records(datagram: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = datagram;
    core::iter::from_fn(move || {
        let (record, behind) = next(rest)?;
        rest = behind;
        Some(record)
    })
    .take(MOST)
}

#[inline]
fn next(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    if let [0x20..=0x3f, ..] = bytes {
        return Some((Record::Unified, &[]));
    }
    let (header, rest) = bytes.split_first_chunk::<RECORD>()?;
    let [typ, 0xfe, 0xfd | 0xff, e0, e1, .., l0, l1] = *header else {
        return None;
    };
    let (body, behind) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
    let is_clear = [e0, e1] == [0, 0];
    let record = match typ {
        HANDSHAKE if is_clear => Record::Handshake(body),
        ALERT if is_clear => Record::Alert {
            is_fatal: matches!(*body, [FATAL, _]),
        },
        CHANGE_CIPHER_SPEC => Record::ChangeCipherSpec,
        HANDSHAKE | ALERT => Record::Encrypted,
        // application data is never in the clear
        APPLICATION_DATA if !is_clear => Record::Data,
        _ => return None,
    };
    Some((record, behind))
}

/// A handshake message in the clear, or a fragment of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) message: HandshakeMessage,
    /// Its number in the handshake.
    pub(super) number: u16,
    /// Whether it is the first fragment.
    pub(super) begins: bool,
    pub(super) fragment: &'a [u8],
}

/// The messages of a handshake record.
pub(super) fn messages(body: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = body;
    core::iter::from_fn(move || {
        let (header, behind) = rest.split_first_chunk::<MESSAGE>()?;
        let [typ, _, _, _, n0, n1, o0, o1, o2, l0, l1, l2] = *header;
        let length = u32::from_be_bytes([0, l0, l1, l2]);
        let (fragment, behind) = behind.split_at_checked(usize::try_from(length).ok()?)?;
        rest = behind;
        Some(Message {
            message: HandshakeMessage::of(typ),
            number: u16::from_be_bytes([n0, n1]),
            begins: [o0, o1, o2] == [0; 3],
            fragment,
        })
    })
    .take(MOST)
}
