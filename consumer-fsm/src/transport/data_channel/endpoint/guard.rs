//! Pure: which records reach DTLS, as long as nothing proves who sent them.
//!
//! A stranger who can forge the peer's address can send records in the clear. dimpl ends a
//! handshake over a plaintext alert, over a queue that forged fragments have filled, and over a
//! message that comes too early and never fits; it keeps one fragment per place of a message,
//! whichever came first. So messages of the handshake are put together here, several alternatives
//! side by side, and passed on whole and in their order. Records that an honest peer never sends are
//! dropped and counted. Once there are keys, only records under them pass.
//!
//! One gap stays, which DTLS itself leaves open: a forged message that is whole, well-formed and in its
//! turn (RFC 9147 section 11, RFC 6347 section 4.2.1).

use super::clear;
use super::view::DtlsRefusal;

/// Header of a record in the clear, or of DTLS 1.2 (RFC 6347 section 4.1).
const RECORD: usize = 13;
/// Header of a handshake message (RFC 6347 section 4.2.2).
const MESSAGE: usize = 12;
/// Longest message of a handshake that is put together: a certificate is the longest, and those of
/// WebRTC have a few hundred bytes.
const LONGEST: usize = 8 * 1024;
/// Farthest a message may be ahead of the next one: a flight of six is the longest.
const FARTHEST: u16 = 8;
/// Most messages kept that are not whole, or not the next.
const MOST_KEPT: usize = 16;
/// Most bytes kept of them.
const MOST_BYTES: usize = 32 * 1024;
/// Most records that change the cipher, per message: dimpl queues each until its turn, and a forged
/// one has the effect of the honest one.
const MOST_CHANGES: u8 = 4;

/// Most records of a datagram that are tried with the keys: a flight of the handshake has no more, and
/// each costs as much as a datagram of its own.
const MOST_PROTECTED: usize = 8;
/// Most records of a datagram on an open path that lead to nothing.
const MOST_FRUITLESS: usize = 2;
/// Bytes of the tag behind a record under keys, of every suite.
const TAG: usize = 16;

/// Content types (RFC 5246 section 6.2.1).
pub(super) mod content {
    pub(in super::super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(in super::super) const ALERT: u8 = 21;
    pub(in super::super) const HANDSHAKE: u8 = 22;
    pub(in super::super) const APPLICATION_DATA: u8 = 23;
}

/// Notes on the records that came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// Kind of the last handshake message of the peer that was passed on.
    pub(super) last: Option<u8>,
    /// Why the last hello that led nowhere was dropped.
    pub(super) refusal: Option<DtlsRefusal>,
    /// Description of the last alert in the clear, which is not signed.
    pub(super) alert: Option<u8>,
    /// Alerts in the clear.
    pub(super) alerts: u64,
    /// Records, or remainders of datagrams, that were not passed on, alerts among them.
    pub(super) refused: u64,
}

/// Stands before DTLS.
#[derive(Debug)]
pub(super) struct Guard {
    is_client: bool,
    /// Kinds of the messages that were passed on, by their numbers.
    passed: Vec<u8>,
    kept: Vec<Kept>,
    changes: u8,
    seen: Seen,
    /// A record as it is passed on.
    record: Vec<u8>,
}

/// A message that is not whole, or whose turn has not come.
#[derive(Debug)]
struct Kept {
    number: u16,
    kind: u8,
    length: usize,
    /// From its beginning on, without gaps.
    bytes: Vec<u8>,
}

impl Guard {
    /// Before a handshake in which this side is the client, or the server.
    pub(super) const fn new(is_client: bool) -> Self {
        Self {
            is_client,
            passed: Vec::new(),
            kept: Vec::new(),
            changes: 0,
            seen: Seen {
                last: None,
                refusal: None,
                alert: None,
                alerts: 0,
                refused: 0,
            },
            record: Vec::new(),
        }
    }

    pub(super) const fn seen(&self) -> Seen {
        self.seen
    }

    /// Number of the next message that has not been passed on.
    fn next(&self) -> u16 {
        u16::try_from(self.passed.len()).unwrap_or(u16::MAX)
    }

    /// For a handshake that begins anew.
    pub(super) fn start_over(&mut self) {
        self.passed = Vec::new();
        self.changes = 0;
        self.kept = Vec::new();
    }

    /// The handshake is done: its fragments go.
    pub(super) fn finish(&mut self) {
        self.kept = Vec::new();
        self.record = Vec::new();
    }

    /// Passes on the records that belong to a handshake, one by one.
    pub(super) fn admit(&mut self, datagram: &[u8], mut pass: impl FnMut(&[u8])) {
        let mut rest = datagram;
        let mut protected = 0;
        while !rest.is_empty() {
            // before the peer's hello there are no keys
            let may_be_protected = !self.passed.is_empty();
            let Some(record) = next_record(rest) else {
                self.seen.refused += 1;
                return;
            };
            rest = &rest[record.len()..];
            let is_protected = is_protected(record);
            match record[0] {
                _ if is_protected && may_be_protected && protected < MOST_PROTECTED => {
                    protected += 1;
                    pass(record);
                }
                content::HANDSHAKE if !is_protected => {
                    self.messages(&record[RECORD..], &mut pass);
                }
                content::CHANGE_CIPHER_SPEC
                    if record[RECORD..] == [1] && !is_protected && may_be_protected =>
                {
                    if self.changes < MOST_CHANGES {
                        self.changes += 1;
                        pass(record);
                    }
                }
                content::ALERT if !is_protected => {
                    self.seen.refused += 1;
                    self.seen.alerts += 1;
                    self.seen.alert = record.get(RECORD + 1).copied().or(self.seen.alert);
                }
                _ => self.seen.refused += 1,
            }
        }
    }

    /// The messages of a record in the clear: whole ones, and fragments.
    fn messages(&mut self, mut rest: &[u8], pass: &mut impl FnMut(&[u8])) {
        while !rest.is_empty() {
            let Some((fragment, behind)) = Fragment::read(rest) else {
                self.seen.refused += 1;
                return;
            };
            rest = behind;
            if !self.is_expected(&fragment) {
                self.seen.refused += 1;
                continue;
            }
            if fragment.bytes.len() == fragment.length && fragment.number <= self.next() {
                self.pass(fragment.number, fragment.kind, fragment.bytes, pass);
            } else {
                self.keep(&fragment);
            }
            self.pass_kept(pass);
        }
    }

    /// Whether an honest peer may send such a message.
    fn is_expected(&self, fragment: &Fragment<'_>) -> bool {
        // the message that was passed on in that place, again, or any that is still to come
        self.passed
            .get(usize::from(fragment.number))
            .map_or(fragment.number < self.next() + FARTHEST, |kind| {
                *kind == fragment.kind
            })
            && fragment.length <= LONGEST
    }

    /// Keeps the bytes that a fragment adds. Fragments of another kind or length make another message,
    /// so a forged message does not stand in the way of an honest one.
    fn keep(&mut self, fragment: &Fragment<'_>) {
        let place = self.kept.iter().position(|kept| {
            (kept.number, kept.kind, kept.length)
                == (fragment.number, fragment.kind, fragment.length)
        });
        match place {
            Some(place) => {
                let kept = &mut self.kept[place];
                if fragment.offset == 0 {
                    // sent again, or anew
                    kept.bytes.clear();
                }
                if fragment.offset == kept.bytes.len() {
                    kept.bytes.extend_from_slice(fragment.bytes);
                }
            }
            None if fragment.offset == 0 => {
                self.kept.push(Kept {
                    number: fragment.number,
                    kind: fragment.kind,
                    length: fragment.length,
                    bytes: fragment.bytes.to_vec(),
                });
            }
            // the first fragment is lost, and will come again with all others
            None => return,
        }
        let bytes = |kept: &[Kept]| kept.iter().map(|kept| kept.bytes.len()).sum::<usize>();
        while self.kept.len() > MOST_KEPT || bytes(&self.kept) > MOST_BYTES {
            self.kept.remove(0);
            self.seen.refused += 1;
        }
    }

    /// Passes on kept messages that are whole and next.
    fn pass_kept(&mut self, pass: &mut impl FnMut(&[u8])) {
        while let Some(place) = self
            .kept
            .iter()
            .position(|kept| kept.number <= self.next() && kept.bytes.len() == kept.length)
        {
            let kept = self.kept.remove(place);
            self.pass(kept.number, kept.kind, &kept.bytes, pass);
        }
    }

    /// Passes a whole message on, in a record of its own.
    fn pass(&mut self, number: u16, kind: u8, bytes: &[u8], pass: &mut impl FnMut(&[u8])) {
        let is_next = number == self.next();
        let last = self.passed.last().copied();
        let checked = match !is_next || clear::follows(last, kind, self.is_client) {
            true => clear::check(kind, bytes),
            false => Err(DtlsRefusal::Message),
        };
        if let Err(refusal) = checked {
            self.seen.refused += 1;
            self.seen.refusal = Some(refusal);
            return;
        }
        if is_next {
            self.passed.push(kind);
            self.changes = 0;
            self.seen.last = Some(kind);
        }
        let length = &u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes()[1..];
        let record = &mut self.record;
        record.clear();
        record.extend([content::HANDSHAKE, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0]);
        record.extend(number.to_be_bytes());
        // a message is at most 8 KiB long
        record.extend(
            u16::try_from(MESSAGE + bytes.len())
                .unwrap_or_default()
                .to_be_bytes(),
        );
        record.push(kind);
        record.extend(length);
        record.extend(number.to_be_bytes());
        record.extend([0, 0, 0]);
        record.extend(length);
        record.extend_from_slice(bytes);
        pass(record);
    }
}

/// The version that a handshake settled on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Dtls13,
    Dtls12,
    /// This side is the server of DTLS 1.2 and has no sign yet that its last flight arrived. A client asks
    /// for that flight with a repeated key exchange (RFC 6347 section 4.2.4).
    Dtls12Unproven,
}

impl Settled {
    /// Most records of a datagram that lead to nothing: those behind them are not tried, because each costs
    /// as much as a datagram of its own. An honest one may acknowledge a record in front of its data.
    pub(super) const fn most_fruitless(self) -> usize {
        match self {
            Self::Dtls13 | Self::Dtls12 => MOST_FRUITLESS,
            Self::Dtls12Unproven => MOST_PROTECTED,
        }
    }

    /// A test of whole datagrams, as cheap as reading a header. None while messages in the clear may pass.
    pub(super) fn is_wanted(self) -> Option<fn(&[u8]) -> bool> {
        match self {
            Self::Dtls13 => Some(|datagram| next_settled(datagram, Self::Dtls13, true).is_some()),
            Self::Dtls12 => Some(|datagram| next_settled(datagram, Self::Dtls12, true).is_some()),
            Self::Dtls12Unproven => None,
        }
    }
}

/// The first record of a datagram, or of the rest of one. Once the handshake is done, it passes only if it
/// has the form of a record that the keys protect.
pub(super) fn next_settled(rest: &[u8], settled: Settled, is_first: bool) -> Option<&[u8]> {
    let record = next_record(rest)?;
    let is_flight = match record[0] {
        content::HANDSHAKE => true,
        content::CHANGE_CIPHER_SPEC => !is_first,
        _ => false,
    };
    let may_pass = match settled {
        // every record under keys has the unified header (RFC 9147 section 4)
        Settled::Dtls13 => is_unified(record[0]) && record.len() > unified::header(record[0]) + TAG,
        Settled::Dtls12 => is_sealed_12(record),
        Settled::Dtls12Unproven => is_flight || is_sealed_12(record),
    };
    may_pass.then_some(record)
}

/// Whether a record has the form of one that the keys of DTLS 1.2 protect. Its epoch is 1, because there is
/// no renegotiation.
fn is_sealed_12(record: &[u8]) -> bool {
    record.len() >= RECORD + TAG && is_protected(record) && record[3..5] == [0, 1]
}

/// The first record, of either version's form; none if the datagram ends within it.
fn next_record(datagram: &[u8]) -> Option<&[u8]> {
    let first = *datagram.first()?;
    if !is_unified(first) {
        let [high, low] = *datagram.get(RECORD - 2..RECORD)?.first_chunk()?;
        return datagram.get(..RECORD + usize::from(u16::from_be_bytes([high, low])));
    }
    if first & unified::CONNECTION_ID != 0 {
        // this side has offered none (RFC 9147 section 9)
        return None;
    }
    let header = unified::header(first);
    if first & unified::LENGTH == 0 {
        return (datagram.len() >= header).then_some(datagram);
    }
    let [high, low] = *datagram.get(header - 2..)?.first_chunk()?;
    datagram.get(..header + usize::from(u16::from_be_bytes([high, low])))
}

/// Whether a record has the form of one under keys.
fn is_protected(record: &[u8]) -> bool {
    match record {
        [first, ..] if is_unified(*first) => true,
        [
            content::ALERT | content::HANDSHAKE | content::APPLICATION_DATA,
            _,
            _,
            epoch @ ..,
        ] => epoch.first_chunk().is_some_and(|epoch| *epoch != [0, 0]),
        _ => false,
    }
}

/// Bits of the unified header (RFC 9147 section 4).
mod unified {
    pub(super) const CONNECTION_ID: u8 = 0x10;
    pub(super) const LONG_NUMBER: u8 = 8;
    pub(super) const LENGTH: u8 = 4;

    /// Length of a header that begins with this byte, without a connection id.
    pub(super) const fn header(first: u8) -> usize {
        let number = if first & LONG_NUMBER != 0 { 2 } else { 1 };
        let length = if first & LENGTH != 0 { 2 } else { 0 };
        1 + number + length
    }
}

/// The unified header of DTLS 1.3 (RFC 9147 section 4).
const fn is_unified(first: u8) -> bool {
    first >> 5 == 1
}

/// Part of a message, or all of it.
struct Fragment<'a> {
    kind: u8,
    length: usize,
    number: u16,
    offset: usize,
    bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = bytes.split_at_checked(MESSAGE)?;
        let u24 = |at: usize| {
            let bytes = [0, header[at], header[at + 1], header[at + 2]];
            usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX)
        };
        let (length, offset, part) = (u24(1), u24(6), u24(9));
        let (bytes, behind) = rest.split_at_checked(part)?;
        // one without a byte adds nothing, unless the message has none
        let is_sound = offset + part <= length && (part > 0 || length == 0);
        is_sound.then_some((
            Self {
                kind: header[0],
                length,
                number: u16::from_be_bytes([header[4], header[5]]),
                offset,
                bytes,
            },
            behind,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::clear::kind as message;
    use super::*;

    fn record(kind: u8, epoch: u8, payload: &[u8]) -> Vec<u8> {
        let mut record = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 9];
        record.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        record.extend(payload);
        record
    }

    /// A sound message of this kind and length, as far as there is one.
    fn body(kind: u8, length: usize) -> Vec<u8> {
        match kind {
            message::CLIENT_HELLO | message::SERVER_HELLO if length >= 60 => {
                clear::tests::honest(kind == message::CLIENT_HELLO, length)
            }
            message::CERTIFICATE if length >= 600 => clear::tests::certificate(length),
            _ => vec![0; length],
        }
    }

    /// Bytes `from` to `to` of a message.
    fn part(kind: u8, number: u16, length: usize, from: usize, to: usize) -> Vec<u8> {
        let u24 = |n: usize| u32::try_from(n).unwrap().to_be_bytes()[1..].to_vec();
        let mut message = vec![kind];
        message.extend(u24(length));
        message.extend(number.to_be_bytes());
        message.extend(u24(from));
        message.extend(u24(to - from));
        let body = body(kind, length);
        message.extend((from..to).map(|at| body.get(at).copied().unwrap_or_default()));
        message
    }

    fn whole(kind: u8, number: u16, length: usize) -> Vec<u8> {
        part(kind, number, length, 0, length)
    }

    fn clear(bytes: &[u8]) -> Vec<u8> {
        record(content::HANDSHAKE, 0, bytes)
    }

    /// Number and length of each message that passes.
    fn passes(guard: &mut Guard, datagram: &[u8]) -> Vec<(u16, usize)> {
        let mut passed = Vec::new();
        guard.admit(datagram, |record| {
            let (fragment, behind) = Fragment::read(&record[RECORD..]).unwrap();
            assert_eq!((fragment.offset, behind.len()), (0, 0), "whole, and alone");
            assert_eq!(fragment.bytes.len(), fragment.length);
            passed.push((fragment.number, fragment.length));
        });
        passed
    }

    #[test]
    fn messages_pass_whole_and_in_their_order() {
        let mut guard = Guard::new(true);
        let late = clear(&whole(message::CERTIFICATE, 1, 600));
        assert_eq!(passes(&mut guard, &late), []);
        let first = clear(&part(message::SERVER_HELLO, 0, 80, 0, 50));
        assert_eq!(passes(&mut guard, &first), []);
        let second = clear(&part(message::SERVER_HELLO, 0, 80, 50, 80));
        assert_eq!(passes(&mut guard, &second), [(0, 80), (1, 600)]);
        // once more: DTLS answers it with its own flight
        assert_eq!(passes(&mut guard, &late), [(1, 600)]);
        assert_eq!(guard.seen().refused, 0);
    }

    #[test]
    fn several_messages_of_a_record_pass_one_by_one() {
        let mut guard = Guard::new(true);
        let both = [
            whole(message::SERVER_HELLO, 0, 70),
            whole(message::CERTIFICATE, 1, 700),
        ];
        assert_eq!(
            passes(&mut guard, &clear(&both.concat())),
            [(0, 70), (1, 700)]
        );
    }

    #[test]
    fn forged_fragments_do_not_stand_in_the_way_of_honest_ones() {
        let mut guard = Guard::new(false);
        for length in 1..2000 {
            let forged = clear(&part(message::CLIENT_HELLO, 0, 5000, length - 1, length));
            assert_eq!(passes(&mut guard, &forged), []);
            let forged = clear(&part(message::CLIENT_HELLO, 0, length + 1, 0, 1));
            assert_eq!(passes(&mut guard, &forged), []);
        }
        assert!(guard.kept.len() <= MOST_KEPT);
        let first = clear(&part(message::CLIENT_HELLO, 0, 1400, 0, 1000));
        assert_eq!(passes(&mut guard, &first), []);
        let second = clear(&part(message::CLIENT_HELLO, 0, 1400, 1000, 1400));
        assert_eq!(passes(&mut guard, &second), [(0, 1400)]);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_as_well() {
        let mut guard = Guard::new(false);
        for number in 0..FARTHEST {
            for length in 8100..8192 {
                let forged = clear(&part(message::CERTIFICATE, number, length, 0, 8000));
                assert_eq!(passes(&mut guard, &forged), []);
            }
        }
        let bytes: usize = guard.kept.iter().map(|kept| kept.bytes.len()).sum();
        assert!(bytes <= MOST_BYTES, "{bytes}");
        assert!(guard.seen().refused > 100);
    }

    #[test]
    fn what_no_honest_peer_sends_is_dropped_and_counted() {
        let far = clear(&whole(message::CERTIFICATE, FARTHEST, 9));
        let long = clear(&whole(message::CERTIFICATE, 1, LONGEST + 1));
        let datagrams = [
            // alerts
            (record(content::ALERT, 0, &[2, 40]), true),
            (record(content::ALERT, 0, &[]), true),
            // application data in the clear, an unknown type, a change of cipher that is none
            (record(content::APPLICATION_DATA, 0, b"x"), true),
            (record(26, 0, b"x"), true),
            (record(content::CHANGE_CIPHER_SPEC, 0, &[2]), true),
            (record(content::CHANGE_CIPHER_SPEC, 1, &[1]), true),
            // messages of the other side, far ahead, too long, before any hello
            (clear(&whole(message::SERVER_HELLO, 0, 70)), true),
            (far, true),
            (long, true),
            (clear(&whole(message::CERTIFICATE, 0, 70)), true),
            // fragments without bytes, beyond their message, of half a header
            (clear(&part(message::CLIENT_HELLO, 0, 70, 0, 0)), true),
            (clear(&part(message::CLIENT_HELLO, 0, 70, 60, 71)), true),
            (clear(&[1, 0, 0]), true),
            // no record
            (vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200], true),
            (vec![22], true),
            // and an honest one
            (clear(&whole(message::CLIENT_HELLO, 0, 70)), false),
        ];
        for (datagram, is_refused) in datagrams {
            let mut guard = Guard::new(false);
            let mut passed = 0;
            guard.admit(&datagram, |_| passed += 1);
            assert_eq!(
                (passed, guard.seen().refused),
                if is_refused { (0, 1) } else { (1, 0) },
                "{datagram:?}"
            );
        }
        let mut guard = Guard::new(false);
        guard.admit(&record(content::ALERT, 0, &[2, 40]), |_| {});
        assert_eq!((guard.seen().alerts, guard.seen().alert), (1, Some(40)));
    }

    #[test]
    fn records_under_keys_pass_in_and_after_the_handshake() {
        let finished = record(content::HANDSHAKE, 1, &[7; 40]);
        let data = record(content::APPLICATION_DATA, 1, &[7; 40]);
        let unified = [&[0x2e, 0, 1, 0, 20][..], &[7; 20]].concat();
        for datagram in [&finished, &data, &unified] {
            let mut passed = Vec::new();
            let mut guard = Guard::new(true);
            // before the hello there are no keys
            guard.admit(datagram, |record| passed.push(record.to_vec()));
            assert_eq!((passed.len(), guard.seen().refused), (0, 1));
            guard.admit(&clear(&whole(message::SERVER_HELLO, 0, 70)), |_| {});
            guard.admit(datagram, |record| passed.push(record.to_vec()));
            assert_eq!(passed, std::slice::from_ref(datagram));
            assert!(passes_settled(datagram), "{datagram:?}");
        }
        for datagram in [
            clear(&whole(message::CLIENT_HELLO, 0, 70)),
            record(content::ALERT, 0, &[2, 40]),
            record(content::CHANGE_CIPHER_SPEC, 0, &[1]),
            vec![22, 0xfe, 0xfd],
            vec![0, 1],
            vec![],
        ] {
            assert!(!passes_settled(&datagram), "{datagram:?}");
        }
        let unproven =
            |datagram: &[u8]| next_settled(datagram, Settled::Dtls12Unproven, true).is_some();
        assert!(unproven(&clear(&[])));
        assert!(!unproven(&record(content::ALERT, 0, &[2, 40])));
    }

    /// Whether a datagram passes in either version. Both tests of a version have to agree.
    fn passes_settled(datagram: &[u8]) -> bool {
        let passes = |settled: Settled| {
            let passes = next_settled(datagram, settled, true).is_some();
            assert_eq!(settled.is_wanted().unwrap()(datagram), passes);
            passes
        };
        passes(Settled::Dtls13) || passes(Settled::Dtls12)
    }

    #[test]
    fn a_settled_version_takes_its_own_records_alone() {
        let unified = [&[0x2e, 0, 1, 0, 20][..], &[7; 20]].concat();
        let sealed = record(content::APPLICATION_DATA, 1, &[7; 40]);
        let passes = |datagram: &[u8], settled| next_settled(datagram, settled, true).is_some();
        for (datagram, is_13, is_12) in [
            (&unified[..], true, false),
            (&sealed[..], false, true),
            // a later epoch, which nothing leads to
            (
                &record(content::APPLICATION_DATA, 2, &[7; 40]),
                false,
                false,
            ),
            // shorter than a tag
            (&record(content::ALERT, 1, &[7; 15]), false, false),
            (&record(content::ALERT, 1, &[7; 16]), false, true),
            (&[&[0x2e, 0, 1, 0, 16][..], &[7; 16]].concat(), false, false),
            (&[&[0x2e, 0, 1, 0, 17][..], &[7; 17]].concat(), true, false),
            (&[&[0x22, 1][..], &[7; 16]].concat(), false, false),
            (&[&[0x22, 1][..], &[7; 17]].concat(), true, false),
        ] {
            assert_eq!(passes(datagram, Settled::Dtls13), is_13, "{datagram:?}");
            assert_eq!(passes(datagram, Settled::Dtls12), is_12, "{datagram:?}");
            assert_eq!(passes(datagram, Settled::Dtls12Unproven), is_12);
        }
    }

    #[test]
    fn records_in_the_clear_do_not_pass_behind_one_under_keys() {
        let unified = [&[0x2e, 0, 1, 0, 20][..], &[7; 20]].concat();
        let sealed = record(content::APPLICATION_DATA, 1, &[7; 40]);
        let alert = record(content::ALERT, 0, &[2, 40]);
        for first in [unified, sealed] {
            let datagram = [&first[..], &alert].concat();
            for settled in [Settled::Dtls13, Settled::Dtls12, Settled::Dtls12Unproven] {
                let next = next_settled(&datagram, settled, true);
                assert!(next.is_none_or(|next| next == first));
                assert_eq!(next_settled(&alert, settled, false), None);
            }
            assert!(passes_settled(&datagram));
            let mut guard = Guard::new(true);
            guard.admit(&clear(&whole(message::SERVER_HELLO, 0, 70)), |_| {});
            let mut passed = Vec::new();
            guard.admit(&datagram, |record| passed.push(record.to_vec()));
            assert_eq!(passed, [first]);
            assert_eq!(guard.seen().alerts, 1);
        }
    }

    #[test]
    fn few_records_of_a_datagram_are_tried_with_the_keys() {
        let unified = [&[0x2e, 0, 1, 0, 20][..], &[7; 20]].concat();
        let sealed = record(content::APPLICATION_DATA, 1, &[7; 40]);
        for one in [unified, sealed] {
            let datagram = one.repeat(50);
            let mut guard = Guard::new(true);
            guard.admit(&clear(&whole(message::SERVER_HELLO, 0, 70)), |_| {});
            let mut passed = 0;
            guard.admit(&datagram, |_| passed += 1);
            assert_eq!(passed, MOST_PROTECTED);
        }
    }

    #[test]
    fn changes_of_the_cipher_are_bounded_between_two_messages() {
        let mut guard = Guard::new(false);
        let mut passed = 0;
        guard.admit(&clear(&whole(message::CLIENT_HELLO, 0, 70)), |_| {});
        for _ in 0..100 {
            guard.admit(&record(content::CHANGE_CIPHER_SPEC, 0, &[1]), |_| {
                passed += 1
            });
        }
        assert_eq!(passed, MOST_CHANGES);
        let next = clear(&whole(message::CERTIFICATE, 1, 600));
        assert_eq!(passes(&mut guard, &next), [(1, 600)]);
        guard.admit(&record(content::CHANGE_CIPHER_SPEC, 0, &[1]), |_| {
            passed += 1
        });
        assert_eq!(passed, MOST_CHANGES + 1);
    }
}
