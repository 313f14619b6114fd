//! The datagrams of one pair of addresses beside STUN, counted as they pass.

use core::time::Duration;

use super::record::{Record, is_dtls, messages, records};
use super::shape;
use super::verdict::{DtlsRole, HandshakeMessage};

/// Datagrams closer together than this are of one flight: the quickest stack repeats a flight after
/// 50 ms.
const FLIGHT: Duration = Duration::from_millis(30);
/// So far ahead of the last message of the peer may the next be: a flight has no more.
const AHEAD: u16 = 16;

/// The datagrams of one direction, STUN aside.
///
/// ```
/// use core::time::Duration;
/// use nat_summary::stage::PathWatch;
///
/// let mut watch = PathWatch::new();
/// watch.received(Duration::ZERO, &[23; 40]);
/// let seen = watch.incoming();
/// assert_eq!((seen.datagrams, seen.bytes, seen.largest), (1, 40, 40));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Direction {
    /// All datagrams.
    pub datagrams: u32,
    /// Their bytes.
    pub bytes: u64,
    /// The longest of them.
    pub largest: u16,
    /// Handshake records in epoch 0.
    pub handshake: u32,
    /// Changes of the cipher (type 20).
    pub cipher_changes: u32,
    /// Alerts in epoch 0.
    pub clear_alerts: u32,
    /// Handshake records and alerts of DTLS 1.2 under keys.
    pub encrypted: u32,
    /// Datagrams with application data: of DTLS 1.3 those that the owner of the keys reported.
    pub data: u32,
    /// Datagrams with a unified header (DTLS 1.3), application data among them.
    pub unified: u32,
    /// Handshake messages in epoch 0: the last.
    pub last_message: HandshakeMessage,
}

impl Direction {
    const fn new() -> Self {
        Self {
            datagrams: 0,
            bytes: 0,
            largest: 0,
            handshake: 0,
            cipher_changes: 0,
            clear_alerts: 0,
            encrypted: 0,
            data: 0,
            unified: 0,
            last_message: HandshakeMessage::Unknown,
        }
    }

    /// DTLS records that are not mere alerts in the clear.
    pub(super) const fn has_records(&self) -> bool {
        self.handshake > 0
            || self.cipher_changes > 0
            || self.encrypted > 0
            || self.data > 0
            || self.unified > 0
    }
}

/// A repeated event: how often, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Repeated {
    pub(super) count: u32,
    pub(super) first: Duration,
    pub(super) last: Duration,
}

impl Repeated {
    const NONE: Self = Self {
        count: 0,
        first: Duration::ZERO,
        last: Duration::ZERO,
    };

    /// Counts one more, unless it belongs to the last.
    fn note(&mut self, now: Duration) {
        if self.count > 0 && now.saturating_sub(self.last) < FLIGHT {
            return;
        }
        self.count = self.count.saturating_add(1);
        if self.count == 1 {
            self.first = now;
        }
        self.last = now;
    }
}

/// Counts the datagrams of one pair of addresses, STUN aside, as they pass. It decrypts nothing, has a
/// fixed size, and takes nothing from the heap.
///
/// ```
/// use core::time::Duration;
/// use nat_summary::stage::PathWatch;
///
/// let mut watch = PathWatch::new();
/// watch.sent(Duration::ZERO, b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x0c\x01\0\0\0\0\0\0\0\0\0\0\0");
/// assert_eq!(watch.outgoing().last_message.as_str(), "client_hello");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathWatch {
    sent: Direction,
    received: Direction,
    /// Flights with our ClientHello.
    pub(super) hellos: Repeated,
    /// Flights of the handshake since the last new record that came in.
    pub(super) flights: Repeated,
    /// Application data that left since the last that came in.
    pub(super) asked: Repeated,
    /// Datagrams that left since the peer last acknowledged one, as the layer above counts them.
    pub(super) unacknowledged: Repeated,
    pub(super) secured: Option<Duration>,
    pub(super) last_record_in: Option<Duration>,
    /// The last record that was no mere repetition.
    pub(super) last_new_in: Option<Duration>,
    /// The number of the peer's next handshake message.
    next_in: u16,
    pub(super) last_data_in: Option<Duration>,
    /// A fatal alert in epoch 0 that was followed by no handshake record.
    pub(super) is_refused_by_alert: bool,
    pub(super) has_refused: bool,
    pub(super) role: DtlsRole,
    shape_in: Option<u32>,
    shape_out: Option<u32>,
}

impl Default for PathWatch {
    fn default() -> Self {
        Self::new()
    }
}

impl PathWatch {
    /// Of a pair without datagrams so far.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sent: Direction::new(),
            received: Direction::new(),
            hellos: Repeated::NONE,
            flights: Repeated::NONE,
            asked: Repeated::NONE,
            unacknowledged: Repeated::NONE,
            secured: None,
            last_record_in: None,
            last_new_in: None,
            next_in: 0,
            last_data_in: None,
            is_refused_by_alert: false,
            has_refused: false,
            role: DtlsRole::Unknown,
            shape_in: None,
            shape_out: None,
        }
    }

    /// The datagrams that left.
    #[must_use]
    pub const fn outgoing(&self) -> &Direction {
        &self.sent
    }

    /// The datagrams that came in.
    #[must_use]
    pub const fn incoming(&self) -> &Direction {
        &self.received
    }

    /// Flights with a ClientHello of this side.
    #[must_use]
    pub const fn hello_flights(&self) -> u32 {
        self.hellos.count
    }

    /// When the first and the last of them left.
    #[must_use]
    pub fn hello_span(&self) -> Option<(Duration, Duration)> {
        (self.hellos.count > 0).then_some((self.hellos.first, self.hellos.last))
    }

    /// When the last DTLS record came in.
    #[must_use]
    pub const fn last_record_in(&self) -> Option<Duration> {
        self.last_record_in
    }

    /// The shape of the ClientHello that came in or left, as [`hello_shape`](super::hello_shape) has
    /// it; `None` if none passed in one piece.
    #[must_use]
    pub const fn hello_shape(&self) -> Option<u32> {
        match (self.shape_out, self.shape_in) {
            (Some(shape), _) | (None, Some(shape)) => Some(shape),
            (None, None) => None,
        }
    }

    /// The DTLS handshake is done, as the owner of the keys knows. Without this call the first
    /// application data of DTLS 1.2 shows it; in DTLS 1.3 nothing does.
    pub fn secure(&mut self, now: Duration) {
        self.secured.get_or_insert(now);
    }

    /// Whether the handshake is known to be done.
    #[must_use]
    pub const fn is_secured(&self) -> bool {
        self.secured.is_some()
    }

    /// A datagram of DTLS 1.3 that leaves holds application data, as the owner of the keys knows. In
    /// DTLS 1.2 the record shows it.
    pub fn data_sent(&mut self, now: Duration) {
        self.secure(now);
        bump(&mut self.sent.data);
        self.asked.note(now);
    }

    /// A datagram of DTLS 1.3 that came in held application data, as the owner of the keys knows. In
    /// DTLS 1.2 the record shows it.
    pub fn data_received(&mut self, now: Duration) {
        self.secure(now);
        bump(&mut self.received.data);
        self.last_data_in = Some(now);
        self.asked = Repeated::NONE;
    }

    /// A datagram leaves that the peer has to acknowledge, as the layer above knows: DATA of SCTP (RFC 9260
    /// section 6.2). A datagram that is sent again counts again.
    pub fn acknowledgement_due(&mut self, now: Duration) {
        self.unacknowledged.note(now);
    }

    /// The peer acknowledged something, or repeated an acknowledgement: it is there, and hears this side.
    pub const fn acknowledged(&mut self) {
        self.unacknowledged = Repeated::NONE;
    }

    /// A datagram leaves that is not STUN.
    #[inline]
    pub fn sent(&mut self, now: Duration, datagram: &[u8]) {
        count(&mut self.sent, datagram);
        if !is_dtls(datagram) {
            return;
        }
        let (mut is_data, mut is_hello, mut is_flight) = (false, false, false);
        for record in records(datagram) {
            match record {
                Record::Data => is_data = true,
                Record::Unified => {
                    bump(&mut self.sent.unified);
                    is_flight = self.secured.is_none();
                }
                Record::Handshake(body) => {
                    bump(&mut self.sent.handshake);
                    is_flight = true;
                    for message in messages(body) {
                        self.sent.last_message = message.message;
                        if message.begins && message.message == HandshakeMessage::ClientHello {
                            is_hello = true;
                            self.shape_out = self.shape_out.or_else(|| shape::of(message.fragment));
                        }
                    }
                }
                Record::Encrypted => {
                    bump(&mut self.sent.encrypted);
                    is_flight = self.secured.is_none();
                }
                Record::ChangeCipherSpec => bump(&mut self.sent.cipher_changes),
                Record::Alert { is_fatal } => {
                    bump(&mut self.sent.clear_alerts);
                    self.has_refused |= is_fatal && self.secured.is_none();
                }
            }
        }
        if is_hello {
            self.role = DtlsRole::Client;
            self.hellos.note(now);
        }
        if is_flight {
            self.flights.note(now);
        }
        if is_data {
            self.data_sent(now);
        }
    }

    /// A datagram came in that is not STUN.
    #[inline]
    pub fn received(&mut self, now: Duration, datagram: &[u8]) {
        count(&mut self.received, datagram);
        if !is_dtls(datagram) {
            return;
        }
        let (mut is_data, mut is_record, mut is_new) = (false, false, false);
        for record in records(datagram) {
            is_record |= !matches!(record, Record::Alert { .. });
            // under keys a repetition looks like anything else
            is_new |= matches!(record, Record::Encrypted | Record::Unified | Record::Data);
            match record {
                Record::Data => is_data = true,
                Record::Unified => bump(&mut self.received.unified),
                Record::Handshake(body) => {
                    bump(&mut self.received.handshake);
                    self.is_refused_by_alert = false;
                    for message in messages(body) {
                        self.received.last_message = message.message;
                        // a forged number far ahead changes nothing
                        if (self.next_in..self.next_in.saturating_add(AHEAD))
                            .contains(&message.number)
                        {
                            self.next_in = message.number.saturating_add(1);
                            is_new = true;
                        }
                        if message.begins && message.message == HandshakeMessage::ClientHello {
                            if self.role == DtlsRole::Unknown {
                                self.role = DtlsRole::Server;
                            }
                            self.shape_in = self.shape_in.or_else(|| shape::of(message.fragment));
                        }
                    }
                }
                Record::Encrypted => {
                    bump(&mut self.received.encrypted);
                    self.is_refused_by_alert = false;
                }
                Record::ChangeCipherSpec => bump(&mut self.received.cipher_changes),
                Record::Alert { is_fatal } => {
                    bump(&mut self.received.clear_alerts);
                    self.is_refused_by_alert |= is_fatal && self.secured.is_none();
                }
            }
        }
        if is_record {
            self.last_record_in = Some(now);
        }
        if is_new {
            self.last_new_in = Some(now);
            self.flights = Repeated::NONE;
        }
        if is_data {
            self.data_received(now);
        }
    }
}

#[inline]
fn count(direction: &mut Direction, datagram: &[u8]) {
    bump(&mut direction.datagrams);
    let length = datagram.len();
    direction.bytes = direction
        .bytes
        .saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    direction.largest = direction.largest.max(length);
}

#[inline]
const fn bump(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}
