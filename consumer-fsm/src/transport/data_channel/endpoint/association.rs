//! SCTP over DTLS (RFC 8261): the beginning of an association, and the library from then on.
//!
//! The beginning is ours. Both sides begin (RFC 8841 section 9.3), and the library has no way to
//! answer a peer's INIT from an association that has sent its own (RFC 9260 section 5.2.1); nor lets
//! it DATA travel with the COOKIE ECHO (section 5.1). It takes both sides' INITs from outside, as
//! draft-hancke-tsvwg-snap has it, so the association is there as soon as these are known.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
/// The kind of a message (RFC 8831 section 8).
pub(super) use sctp_proto::PayloadProtocolIdentifier as Kind;
use sctp_proto::{
    ClientConfig, DatagramEvent, EndpointConfig, Event, ReliabilityType, StreamEvent,
    TransportConfig,
};

use super::admission::{Admission, Verdict, WINDOW};
use super::channel::{Delivery, Effort};
use super::outstanding::{Follows, Outstanding};
use super::packet::{HEADER, Header, Init, chunk, chunks, kind, padded};
use super::view::{ChannelEnd, Counts, SctpView};

/// Until the beginning is repeated, the first time; the wait doubles. RFC 9260 section 16 begins
/// with 1 s, but the whole channel has five seconds.
const INTERVAL: Duration = Duration::from_millis(400);
/// Longest wait between two.
const LONGEST_INTERVAL: Duration = Duration::from_secs(4);
/// Until chunks without any acknowledgement are given up or sent again, before a round trip was
/// measured, and at the least. RFC 9260 section 16 has 1 s for both; these are Chromium's.
const RTO_INITIAL_MS: u64 = 500;
const RTO_MIN_MS: u64 = 400;
/// Longest message taken. A longer one ends the association, so the limit is far above the announced
/// one.
const MAX_MESSAGE_IN: u32 = 256 * 1024;
/// Most chunks that may wait for an acknowledgement, or to be sent.
const MOST_OUTSTANDING: usize = 1024;
/// Bytes of user data with which the library fills a packet.
const CHUNK: usize = 1200;

/// The parameters of an association. The numbers are random.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// SCTP ports.
    pub(super) local_port: u16,
    pub(super) remote_port: u16,
    /// Longest message sent.
    pub(super) max_message: u32,
    /// Not zero (RFC 9260 section 3.3.2).
    pub(super) tag: u32,
    pub(super) tsn: u32,
    pub(super) cookie: [u8; 16],
}

/// An event of a stream, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    /// The association stands.
    Established,
    /// There may be something to read.
    Readable(u16),
    /// The peer has reset the stream, and all that came over it was read.
    Finished(u16),
    Ended(ChannelEnd),
}

/// A message that was read, in the pieces that it came in.
#[derive(Debug)]
pub(super) struct Message(sctp_proto::Chunks);

impl Message {
    pub(super) const fn kind(&self) -> Kind {
        self.0.ppi
    }

    /// Its bytes, if the buffer is long enough for all of them.
    pub(super) fn copy_to<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let length = self.0.read(buffer).ok()?;
        buffer.get(..length)
    }
}

pub(super) struct Association {
    start: Start,
    local: Init,
    /// The peer's INIT, until it comes with the cookie.
    invited: Option<Init>,
    beginning: Beginning,
    running: Option<Running>,
    happened: VecDeque<Happened>,
    ended: Option<ChannelEnd>,
    /// The end was reported.
    is_reported: bool,
    outgoing: Vec<Bytes>,
    view: SctpView,
    refused: u64,
}

/// A packet that is repeated until the peer answers.
struct Beginning {
    packet: Option<Vec<u8>>,
    due: Instant,
    interval: Duration,
}

struct Running {
    endpoint: sctp_proto::Endpoint,
    association: sctp_proto::Association,
    remote: Init,
    admission: Admission,
    outstanding: Outstanding,
    /// Each message of the channel is sent once.
    once: bool,
    /// Chunks that the library was given.
    given: u32,
}

/// Where the library believes the peer to be.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);

impl Association {
    /// Its INIT is due at once.
    pub(super) fn new(start: Start, now: Instant) -> Self {
        let local = Init {
            tag: start.tag,
            window: WINDOW,
            outbound: u16::MAX,
            inbound: u16::MAX,
            tsn: start.tsn,
            forward_tsn: true,
            re_config: true,
        };
        let mut association = Self {
            start,
            local,
            invited: None,
            beginning: Beginning {
                packet: None,
                due: now,
                interval: INTERVAL,
            },
            running: None,
            happened: VecDeque::new(),
            ended: None,
            is_reported: false,
            outgoing: Vec::new(),
            view: SctpView::default(),
            refused: 0,
        };
        // a packet that carries an INIT has no tag (RFC 9260 section 8.5.1)
        let init = association.header(0).packet(&local.write(kind::INIT, None));
        association.begin(init, now);
        association
    }

    pub(super) const fn view(&self) -> SctpView {
        SctpView {
            is_established: self.running.is_some(),
            ..self.view
        }
    }

    /// The counts of packets and acknowledgements.
    pub(super) const fn counts(&self) -> Counts {
        Counts {
            sent: self.view.sent,
            received: self.view.received,
            due: self.view.due,
            acknowledgements: self.view.acknowledgements,
        }
    }

    /// Packets of the peer that were dropped.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    const fn header(&self, tag: u32) -> Header {
        Header {
            source: self.start.local_port,
            destination: self.start.remote_port,
            tag,
        }
    }

    /// Sends a packet, and repeats it until the next step.
    fn begin(&mut self, packet: Vec<u8>, now: Instant) {
        self.outgoing.push(packet.clone().into());
        self.beginning = Beginning {
            packet: Some(packet),
            due: now + INTERVAL,
            interval: INTERVAL,
        };
    }

    /// A packet of the peer.
    pub(super) fn handle(&mut self, packet: Vec<u8>, now: Instant) {
        self.view.received += 1;
        if self.ended.is_some() {
            return;
        }
        let Some(header) = Header::of(&packet) else {
            self.refused += 1;
            return;
        };
        let first = chunks(&packet).next();
        let Some(Ok(first)) = first else {
            self.refused += 1;
            return;
        };
        if first.kind == kind::INIT && header.tag == 0 {
            // alone in its packet (RFC 9260 section 6.10)
            if chunks(&packet).count() > 1 || self.invite(first.bytes).is_none() {
                self.refused += 1;
            }
            return;
        }
        if header.tag != self.local.tag {
            self.refused += 1;
            return;
        }
        match first.kind {
            kind::INIT_ACK => {
                // one that comes late, or twice, is passed over (RFC 9260 section 5.2.3)
                if self.running.is_none()
                    && let Some((remote, Some(cookie))) = Init::read(first.bytes)
                {
                    let echo = chunk(kind::COOKIE_ECHO, cookie);
                    self.run(remote, now);
                    if self.running.is_some() {
                        self.begin(self.header(remote.tag).packet(&echo), now);
                    }
                }
                return;
            }
            kind::COOKIE_ECHO => {
                let (_, cookie) = first.bytes.split_at(HEADER);
                let remote = self
                    .running
                    .as_ref()
                    .map(|running| running.remote)
                    .or(self.invited);
                let Some(remote) = remote.filter(|_| cookie == self.start.cookie) else {
                    self.refused += 1;
                    return;
                };
                if self.running.is_none() {
                    self.run(remote, now);
                }
                self.beginning.packet = None;
                let acknowledgement = chunk(kind::COOKIE_ACK, &[]);
                let packet = self.header(remote.tag).packet(&acknowledgement);
                self.outgoing.push(packet.into());
            }
            kind::COOKIE_ACK => self.beginning.packet = None,
            kind::ABORT if self.running.is_none() => return self.end(ChannelEnd::Aborted),
            _ => {}
        }
        // DATA may travel with the cookie and its acknowledgement
        self.pass(packet, now);
        self.turn(now);
    }

    /// Answers the peer's INIT with the parameters of this side's own INIT, so that both sides make the
    /// same association (RFC 9260 section 5.2.1).
    fn invite(&mut self, init: &[u8]) -> Option<()> {
        let (remote, _) = Init::read(init)?;
        // one that begins anew would be another association
        let known = self.running.as_ref().map(|running| running.remote);
        if known.is_some_and(|known| (known.tag, known.tsn) != (remote.tag, remote.tsn)) {
            return None;
        }
        self.invited = Some(remote);
        let answer = self.local.write(kind::INIT_ACK, Some(&self.start.cookie));
        let packet = self.header(remote.tag).packet(&answer);
        self.outgoing.push(packet.into());
        Some(())
    }

    /// Both sides are known.
    fn run(&mut self, remote: Init, now: Instant) {
        let transport = TransportConfig::default()
            .with_max_receive_buffer_size(WINDOW)
            .with_max_receive_message_size(MAX_MESSAGE_IN)
            .with_max_send_message_size(self.start.max_message)
            .with_rto_initial_ms(RTO_INITIAL_MS)
            .with_rto_min_ms(RTO_MIN_MS)
            .with_local_port(self.start.local_port)
            .with_remote_port(self.start.remote_port);
        let mut config = ClientConfig::new();
        config.transport = Arc::new(transport);
        let config = config.with_snap(
            self.local.write(kind::INIT, None).into(),
            remote.write(kind::INIT, None).into(),
        );
        let mut endpoint = sctp_proto::Endpoint::new(Arc::new(EndpointConfig::new()), None);
        let Ok((_, association)) = endpoint.connect(config, PEER) else {
            // numbers that RFC 9260 section 3.3.2 forbids
            self.end(ChannelEnd::SctpBroken);
            return;
        };
        self.running = Some(Running {
            endpoint,
            association,
            remote,
            admission: Admission::new(remote.tsn),
            outstanding: Outstanding::new(self.local.tsn, remote.forward_tsn),
            once: false,
            given: 0,
        });
        self.happened.push_back(Happened::Established);
        self.turn(now);
    }

    fn pass(&mut self, packet: Vec<u8>, now: Instant) {
        let Some(running) = &mut self.running else {
            return;
        };
        match running.admission.admits(&packet) {
            Verdict::Pass => {}
            Verdict::Refused => {
                self.refused += 1;
                return;
            }
            Verdict::Abort => return self.end(ChannelEnd::Aborted),
            Verdict::Streams => return self.end(ChannelEnd::Channels),
        }
        let mut packet = packet;
        let mut follows = Follows::default();
        for chunk in chunks(&packet).flatten() {
            match chunk.kind {
                kind::SACK => {
                    self.view.acknowledgements += 1;
                    follows = running.outstanding.acknowledged(
                        chunk.bytes,
                        running.once,
                        &mut self.view.acknowledged,
                        &mut self.view.lost,
                    );
                }
                kind::SHUTDOWN | kind::SHUTDOWN_ACK | kind::SHUTDOWN_COMPLETE => {
                    self.ended = Some(ChannelEnd::Shutdown);
                }
                _ => {}
            }
        }
        if let Some(sack) = follows.sack {
            packet = with_sack(&packet, &sack);
        }
        let forward_tsn = follows.forward_tsn.map(|chunk| {
            let header = Header {
                source: self.start.local_port,
                destination: self.start.remote_port,
                tag: running.remote.tag,
            };
            header.packet(&chunk)
        });
        let event = running
            .endpoint
            .handle(now, PEER, None, None, packet.into());
        match event {
            Some((_, DatagramEvent::AssociationEvent(event))) => {
                running.association.handle_event(event);
            }
            _ => self.refused += 1,
        }
        self.outgoing.extend(forward_tsn.map(Bytes::from));
    }

    /// Takes the events and the packets of the library.
    fn turn(&mut self, now: Instant) {
        let Some(running) = &mut self.running else {
            return;
        };
        while let Some(event) = running.association.poll() {
            match event {
                Event::Stream(StreamEvent::Opened { id } | StreamEvent::Readable { id }) => {
                    self.happened.push_back(Happened::Readable(id));
                }
                Event::Stream(StreamEvent::Finished { id }) => {
                    self.happened.push_back(Happened::Finished(id));
                }
                Event::AssociationLost { .. } | Event::HandshakeFailed { .. } => {
                    self.ended.get_or_insert(ChannelEnd::SctpBroken);
                }
                _ => {}
            }
        }
        while let Some(transmit) = running.association.poll_transmit(now) {
            let sctp_proto::Payload::RawEncode(packets) = transmit.payload else {
                continue;
            };
            for packet in &packets {
                for chunk in chunks(packet).flatten() {
                    match chunk.kind {
                        kind::SACK => running.admission.sent(chunk.bytes),
                        kind::DATA => {
                            self.view.due += 1;
                            let repeated = &mut self.view.repeated;
                            running
                                .outstanding
                                .sent(chunk.bytes, packet.len(), repeated);
                        }
                        kind::FORWARD_TSN => {
                            running
                                .outstanding
                                .given_up(chunk.bytes, &mut self.view.lost);
                        }
                        _ => {}
                    }
                }
            }
            self.outgoing.extend(packets);
        }
        if let Some(ended) = self.ended {
            self.end(ended);
        }
    }

    fn end(&mut self, why: ChannelEnd) {
        self.ended = Some(why);
        self.beginning.packet = None;
        if !self.is_reported {
            self.is_reported = true;
            self.happened.push_back(Happened::Ended(why));
        }
    }

    /// Takes the time: timers that are due fire.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let beginning = &mut self.beginning;
        if let Some(packet) = &beginning.packet
            && beginning.due <= now
        {
            self.outgoing.push(packet.clone().into());
            beginning.interval = (2 * beginning.interval).min(LONGEST_INTERVAL);
            beginning.due = now + beginning.interval;
        }
        if let Some(running) = &mut self.running
            && running
                .association
                .poll_timeout()
                .is_some_and(|due| due <= now)
        {
            running.association.handle_timeout(now);
            self.turn(now);
        }
    }

    /// When time matters next.
    pub(super) fn timeout(&self) -> Option<Instant> {
        if self.ended.is_some() {
            return None;
        }
        let beginning = self.beginning.packet.as_ref().map(|_| self.beginning.due);
        let running = self.running.as_ref();
        let running = running.and_then(|running| running.association.poll_timeout());
        match (beginning, running) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Packets for the peer, in order.
    pub(super) fn outgoing(&mut self) -> std::vec::Drain<'_, Bytes> {
        self.view.sent += self.outgoing.len() as u64;
        self.outgoing.drain(..)
    }

    pub(super) fn happened(&mut self) -> Option<Happened> {
        self.happened.pop_front()
    }

    /// Opens a stream of ours.
    pub(super) fn open(&mut self, stream: u16) {
        if let Some(running) = &mut self.running {
            let _ = running.association.open_stream(stream, Kind::Binary);
        }
    }

    /// How messages of this side travel from now on.
    pub(super) fn deliver(&mut self, stream: u16, delivery: Delivery) {
        let (reliability, value) = match delivery.effort {
            Effort::Never => (ReliabilityType::Reliable, 0),
            Effort::Retransmissions(count) => (ReliabilityType::Rexmit, count),
            Effort::Milliseconds(time) => (ReliabilityType::Timed, time),
        };
        if let Some(running) = &mut self.running
            && let Ok(mut stream) = running.association.stream(stream)
        {
            let _ = stream.set_reliability_params(delivery.is_unordered, reliability, value);
            running.once = delivery == Delivery::DATAGRAMS;
        }
    }

    /// Bytes that the peer has not acknowledged yet, and whether more chunks than may be are on
    /// their way.
    pub(super) fn buffered(&mut self, stream: u16, more: usize) -> Option<usize> {
        let running = self.running.as_mut()?;
        let settled = running.outstanding.first().wrapping_sub(self.local.tsn);
        let outstanding = running.given.wrapping_sub(settled) as usize;
        if outstanding + more.div_ceil(CHUNK) > MOST_OUTSTANDING {
            return None;
        }
        running
            .association
            .stream(stream)
            .and_then(|stream| stream.buffered_amount())
            .ok()
    }

    /// Sends one message; false if the stream takes none.
    pub(super) fn write(&mut self, stream: u16, kind: Kind, message: &[u8], now: Instant) -> bool {
        let Some(running) = &mut self.running else {
            return false;
        };
        let written = running
            .association
            .stream(stream)
            .and_then(|mut stream| stream.write_with_ppi(message, kind))
            .is_ok();
        if written {
            running.given = running
                .given
                .wrapping_add(message.len().div_ceil(CHUNK) as u32);
            self.turn(now);
        }
        written
    }

    /// The next message of a stream.
    pub(super) fn read(&mut self, stream: u16, now: Instant) -> Option<Message> {
        let running = self.running.as_mut()?;
        let message = running
            .association
            .stream(stream)
            .and_then(|mut stream| stream.read_sctp())
            .ok()
            .flatten()?;
        running.admission.read(message.len(), message.chunks.len());
        // a stream that the peer has reset may be finished now
        self.turn(now);
        Some(Message(message))
    }

    /// Refuses a stream of the peer by a reset (RFC 8831 section 6.7).
    pub(super) fn refuse(&mut self, stream: u16, now: Instant) {
        if let Some(running) = &mut self.running
            && let Ok(mut stream) = running.association.stream(stream)
        {
            let _ = stream.close();
            self.turn(now);
        }
    }
}

/// The packet, with this SACK instead of its own.
fn with_sack(packet: &[u8], sack: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(packet.len());
    for chunk in chunks(packet).flatten() {
        let is_sack = chunk.kind == kind::SACK;
        all.extend(if is_sack { sack } else { chunk.bytes });
        all.resize(padded(all.len()), 0);
    }
    Header::of(packet).map_or_else(Vec::new, |header| header.packet(&all))
}

impl core::fmt::Debug for Association {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Association")
            .field("ended", &self.ended)
            .field("view", &self.view())
            .finish_non_exhaustive()
    }
}
