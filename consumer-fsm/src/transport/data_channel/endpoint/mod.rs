//! A data channel as one sans-I/O object: datagrams in, datagrams out, one timer.
//!
//! DTLS below, SCTP on it, and one channel over that. Drive it like this: after every call take
//! [`transmit`](Endpoint::transmit) until it has nothing more, look at [`state`](Endpoint::state),
//! and call [`handle_timeout`](Endpoint::handle_timeout) once [`timeout`](Endpoint::timeout) is due.
//! Time and random numbers come in as arguments.

mod admission;
mod association;
mod channel;
mod clear;
mod crypto;
mod der;
mod dtls;
mod guard;
mod identity;
mod outstanding;
mod packet;
mod view;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::association::{Association, Happened, Kind, Message, Start};
use self::channel::{Control, Delivery};
use self::dtls::{Dtls, Handshake, Sink};
pub(super) use self::identity::{Digest, Identity};
pub(super) use self::view::Counts;
pub use self::view::{
    ChannelEnd, ChannelView, DtlsRefusal, DtlsVersion, DtlsView, SctpView, SizeCounts,
};

/// The channel's name.
const LABEL: &[u8] = b"data";
/// Streams of the peer that are refused before it is given up.
const MOST_REFUSED: usize = admission::MOST_STREAMS - 1;
/// Most bytes on their way to the peer, unacknowledged ones included: messages beyond are dropped.
const MOST_BUFFERED: usize = 64 * 1024;
/// Most messages taken out of SCTP before a caller asks for them: the acknowledgement of a channel is
/// among them.
const MOST_WAITING: usize = 8;
/// Longest message that opens a channel which may be ours.
const MOST_CONTROL: usize = 256;
/// A timer farther than this is none.
const NEVER: Duration = Duration::from_secs(3600);

/// All there is to know before the first record.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) identity: Identity,
    /// Certificates that the peer may show.
    pub(super) peer: Vec<Digest>,
    pub(super) is_dtls_client: bool,
    /// The newest version of DTLS that this side has.
    pub(super) newest: DtlsVersion,
    pub(super) channel: Channel,
}

/// All there is to know of SCTP and the channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel {
    /// This side opens it.
    pub(super) is_ours: bool,
    /// SCTP ports.
    pub(super) local_port: u16,
    pub(super) remote_port: u16,
    /// Longest message that the peer takes.
    pub(super) max_message: usize,
    pub(super) random: Random,
}

/// Random numbers of an association (RFC 9260 section 5.3.1).
#[derive(Debug, Clone, Copy)]
pub(super) struct Random {
    pub(super) tag: u32,
    pub(super) tsn: u32,
    pub(super) cookie: [u8; 16],
}

/// How far a channel has come. Only this side, or the peer under the keys, can end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// DTLS is not done.
    Handshake,
    /// DTLS is done, the channel is not open.
    Opening,
    Open,
    Ended(ChannelEnd),
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many bytes are on their way.
    Full,
    /// Longer than the peer takes.
    TooLong,
    /// The channel is not open, or not any more.
    Closed,
}

/// A message that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// Binary, of this length.
    Binary(usize),
    /// Text, or of an unknown kind.
    Other,
    /// Longer than the buffer.
    TooLong,
}

/// One side of a data channel.
pub(super) struct Endpoint {
    is_dtls_client: bool,
    channel: Channel,
    dtls: Dtls,
    association: Option<Association>,
    /// The channel's stream, once there is one.
    stream: Option<u16>,
    /// The peer has to acknowledge the channel.
    awaits_ack: bool,
    /// Streams that were refused.
    refused: Vec<u16>,
    /// Messages that came before they were asked for.
    waiting: VecDeque<Message>,
    state: State,
    datagrams: VecDeque<Vec<u8>>,
    is_readable: bool,
}

impl Endpoint {
    /// A client's first flight is due at once. None if the system has no random numbers.
    pub(super) fn new(opening: Opening, now: Instant) -> Option<Self> {
        let handshake = Handshake {
            identity: opening.identity,
            expected: opening.peer,
            is_client: opening.is_dtls_client,
            newest: opening.newest,
        };
        Some(Self {
            is_dtls_client: opening.is_dtls_client,
            channel: opening.channel,
            dtls: Dtls::new(handshake, now)?,
            association: None,
            stream: None,
            awaits_ack: false,
            refused: Vec::new(),
            waiting: VecDeque::new(),
            state: State::Handshake,
            datagrams: VecDeque::new(),
            is_readable: false,
        })
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    pub(super) fn view(&self) -> ChannelView {
        let sctp = self.association.as_ref();
        ChannelView {
            dtls: self.dtls.view(),
            sctp: sctp.map(Association::view).unwrap_or_default(),
            refused: self.refused(),
            end: match self.state {
                State::Ended(why) => Some(why),
                _ => None,
            },
        }
    }

    /// Whether DTLS is done.
    pub(super) fn is_secured(&self) -> bool {
        self.dtls.is_done()
    }

    /// A test that each datagram passes which may still have a use. None before the channel is settled.
    pub(super) fn is_wanted(&self) -> Option<fn(&[u8]) -> bool> {
        self.dtls.is_wanted()
    }

    /// Packets and acknowledgements of SCTP so far.
    pub(super) fn counts(&self) -> Counts {
        let association = self.association.as_ref();
        association.map_or_else(Counts::default, Association::counts)
    }

    /// Datagrams, records, messages and packets that came in and were dropped.
    pub(super) fn refused(&self) -> u64 {
        self.dtls.refused() + self.association.as_ref().map_or(0, Association::refused)
    }

    /// The next datagram for the peer.
    pub(super) fn transmit(&mut self) -> Option<Vec<u8>> {
        self.datagrams.pop_front()
    }

    /// When time matters next.
    pub(super) fn timeout(&self, now: Instant) -> Option<Instant> {
        if matches!(self.state, State::Ended(_)) {
            return None;
        }
        let dtls = self.dtls.timeout();
        let sctp = self.association.as_ref().and_then(Association::timeout);
        let first = match (dtls, sctp) {
            (Some(one), Some(other)) => one.min(other),
            (one, other) => one.or(other)?,
        };
        (first < now + NEVER).then_some(first)
    }

    /// Takes the time: timers that are due fire.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let mut sink = Sink::default();
        self.dtls.handle_timeout(now, &mut sink);
        if let Some(association) = &mut self.association {
            association.handle_timeout(now);
        }
        self.turn(sink, now);
    }

    /// A datagram of the peer, or of a stranger who forges its address.
    pub(super) fn handle(&mut self, datagram: &[u8], now: Instant) {
        let mut sink = Sink::default();
        self.dtls.handle(datagram, now, &mut sink);
        self.turn(sink, now);
    }

    /// Sends one message; never waits.
    pub(super) fn send(&mut self, message: &[u8], now: Instant) -> Result<(), Refused> {
        if message.len() > self.channel.max_message {
            return Err(Refused::TooLong);
        }
        let (State::Open, Some(stream), Some(association)) =
            (self.state, self.stream, &mut self.association)
        else {
            return Err(Refused::Closed);
        };
        if association
            .buffered(stream, message.len())
            .is_none_or(|buffered| buffered + message.len() > MOST_BUFFERED)
        {
            return Err(Refused::Full);
        }
        // SCTP has no empty messages: RFC 8831 section 6.6
        let written = if message.is_empty() {
            association.write(stream, Kind::BinaryEmpty, &[0], now)
        } else {
            association.write(stream, Kind::Binary, message, now)
        };
        self.turn(Sink::default(), now);
        written.then_some(()).ok_or(Refused::Closed)
    }

    /// The next message of the peer, if one is there.
    pub(super) fn receive(&mut self, buffer: &mut [u8], now: Instant) -> Option<Received> {
        loop {
            let message = match self.waiting.pop_front() {
                Some(message) => message,
                None => {
                    let message = self.association.as_mut()?.read(self.stream?, now);
                    self.turn(Sink::default(), now);
                    message?
                }
            };
            return Some(match message.kind() {
                Kind::Binary => match message.copy_to(buffer) {
                    Some(message) => Received::Binary(message.len()),
                    None => Received::TooLong,
                },
                Kind::BinaryEmpty => Received::Binary(0),
                Kind::Dcep => {
                    self.control(&message);
                    continue;
                }
                _ => Received::Other,
            });
        }
    }

    /// Whether there may be a new message since the last call.
    pub(super) fn take_readable(&mut self) -> bool {
        core::mem::take(&mut self.is_readable)
    }

    /// Ends the channel, and informs the peer if there are keys to sign that with.
    pub(super) fn close(&mut self, now: Instant) {
        let mut sink = Sink::default();
        self.dtls.close(now, &mut sink);
        self.datagrams.extend(sink.datagrams);
        if !matches!(self.state, State::Ended(_)) {
            self.state = State::Ended(ChannelEnd::Closed);
        }
    }

    /// Carries everything as far as it goes.
    fn turn(&mut self, mut sink: Sink, now: Instant) {
        if self.dtls.state() == dtls::State::Open && self.state == State::Handshake {
            self.state = State::Opening;
            let Random { tag, tsn, cookie } = self.channel.random;
            let start = Start {
                local_port: self.channel.local_port,
                remote_port: self.channel.remote_port,
                max_message: u32::try_from(self.channel.max_message).unwrap_or(u32::MAX),
                tag,
                tsn,
                cookie,
            };
            self.association = Some(Association::new(start, now));
        }
        if let Some(association) = &mut self.association {
            for packet in sink.plaintexts.drain(..) {
                association.handle(packet, now);
            }
        }
        self.happened(now);
        if let Some(association) = &mut self.association {
            for packet in association.outgoing() {
                self.dtls.send(&packet, now, &mut sink);
            }
        }
        self.datagrams.extend(sink.datagrams);
        if let dtls::State::Ended(why) = self.dtls.state()
            && !matches!(self.state, State::Ended(_))
        {
            self.state = State::Ended(why);
        }
    }

    fn happened(&mut self, now: Instant) {
        while let Some(happened) = self.association.as_mut().and_then(Association::happened) {
            match happened {
                Happened::Established if self.channel.is_ours => self.open(now),
                Happened::Established => {}
                Happened::Readable(stream) if self.stream == Some(stream) => {
                    self.is_readable = true;
                    self.find_ack(stream, now);
                }
                Happened::Readable(stream) => self.consider(stream, now),
                Happened::Finished(stream) if self.stream == Some(stream) => {
                    self.end(ChannelEnd::Reset);
                }
                Happened::Finished(_) => {}
                Happened::Ended(why) => self.end(why),
            }
        }
    }

    fn end(&mut self, why: ChannelEnd) {
        if !matches!(self.state, State::Ended(_)) {
            self.state = State::Ended(why);
        }
    }

    /// Opens the channel. Messages may follow at once; until the peer's acknowledgement they are
    /// ordered (RFC 8832 section 6).
    fn open(&mut self, now: Instant) {
        // even numbers are the DTLS client's, odd ones the server's (RFC 8832 section 6)
        let stream = u16::from(!self.is_dtls_client);
        let Some(association) = &mut self.association else {
            return;
        };
        association.open(stream);
        association.deliver(stream, Delivery::IN_ORDER);
        let open = Control::Open {
            delivery: Delivery::DATAGRAMS,
            label: LABEL,
        };
        association.write(stream, Kind::Dcep, &open.write(), now);
        self.stream = Some(stream);
        self.awaits_ack = true;
        self.state = State::Open;
    }

    /// Looks for the peer's acknowledgement among the messages that have come in.
    fn find_ack(&mut self, stream: u16, now: Instant) {
        while self.awaits_ack && self.waiting.len() < MOST_WAITING {
            let read = |association: &mut Association| association.read(stream, now);
            let Some(message) = self.association.as_mut().and_then(read) else {
                return;
            };
            if message.kind() == Kind::Dcep {
                self.control(&message);
            } else {
                self.waiting.push_back(message);
            }
        }
    }

    /// A message about the channel, on its own stream.
    fn control(&mut self, message: &Message) {
        let is_ack = message
            .copy_to(&mut [0; MOST_CONTROL])
            .is_some_and(|message| Control::read(message) == Some(Control::Ack));
        if let (true, true, Some(stream), Some(association)) =
            (is_ack, self.awaits_ack, self.stream, &mut self.association)
        {
            association.deliver(stream, Delivery::DATAGRAMS);
            self.awaits_ack = false;
        }
    }

    /// Takes the first channel of our name; others are refused by a reset (RFC 8831 section 6.7).
    fn consider(&mut self, stream: u16, now: Instant) {
        if self.refused.contains(&stream) {
            return;
        }
        let Some(association) = &mut self.association else {
            return;
        };
        // the message may not be whole yet
        let Some(message) = association.read(stream, now) else {
            return;
        };
        let mut buffer = [0; MOST_CONTROL];
        let control = (message.kind() == Kind::Dcep)
            .then(|| message.copy_to(&mut buffer))
            .flatten();
        if let Some(Control::Open { delivery, label }) = control.and_then(Control::read)
            && label == LABEL
            && self.stream.is_none()
            && !self.channel.is_ours
        {
            association.deliver(stream, delivery);
            association.write(stream, Kind::Dcep, &Control::Ack.write(), now);
            self.stream = Some(stream);
            self.state = State::Open;
            self.is_readable = true;
            return;
        }
        association.refuse(stream, now);
        self.refused.push(stream);
        if self.refused.len() > MOST_REFUSED {
            self.end(ChannelEnd::Channels);
        }
    }
}

impl core::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Endpoint")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
