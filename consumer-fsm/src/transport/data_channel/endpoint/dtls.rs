//! DTLS 1.2 and 1.3: the handshake, the peer's certificate, records either way.
//!
//! dimpl is the state machine, `guard` stands before it, and this file decides the meaning of an
//! error. dimpl calls every error fatal. Until the handshake is done nothing proves who caused the
//! error, so the handshake begins anew, and only time ends it. Afterwards only records under the keys
//! reach dimpl, and an error is the peer's own doing.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dimpl::{Config, Error, Output, ProtocolVersion, SecurityError};

use super::crypto;
use super::guard::{self, Guard, Settled};
use super::identity::{self, Digest, Identity};
use super::view::{ChannelEnd, DtlsRefusal, DtlsVersion, DtlsView};

/// Until a flight of the handshake is sent again, the first time; the wait doubles. RFC 6347
/// section 4.2.4.1 and RFC 9147 section 5.8.2 begin with 1 s, but the whole channel has five
/// seconds, and the round trip is known to be shorter: ICE has just made several.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(400);
/// More than there is time for: the caller has a deadline.
const FLIGHTS: usize = 16;
const HANDSHAKE: Duration = Duration::from_secs(3600);
/// Until a handshake that failed begins anew, the first time; the wait doubles.
const RESTART: Duration = Duration::from_millis(50);
const MOST_RESTARTS: u32 = 8;
/// Longest datagram that a handshake may bring, which is more than an Ethernet frame holds.
const LONGEST: usize = 2048;
/// Datagrams of a handshake that dimpl may hold, each shorter than that.
const MOST_HELD: usize = 16;

/// Output of DTLS.
#[derive(Debug, Default)]
pub(super) struct Sink {
    /// Datagrams for the peer.
    pub(super) datagrams: Vec<Vec<u8>>,
    /// Application data of the peer.
    pub(super) plaintexts: Vec<Vec<u8>>,
}

/// Where DTLS is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Handshake,
    /// The peer has proven that it owns a certificate that it announced.
    Open,
    Ended(ChannelEnd),
}

/// All there is to know before the first record.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) identity: Identity,
    /// Certificates that the peer may show.
    pub(super) expected: Vec<Digest>,
    pub(super) is_client: bool,
    /// The newest version that this side has.
    pub(super) newest: DtlsVersion,
}

pub(super) struct Dtls {
    handshake: Handshake,
    engine: dimpl::Dtls,
    guard: Guard,
    state: State,
    /// Whether the certificate that the peer showed is one of the expected.
    is_expected: bool,
    /// When the handshake begins anew.
    restart: Option<Instant>,
    /// This side's last flight may still be missing at the peer.
    awaits_proof: bool,
    timeout: Option<Instant>,
    view: DtlsView,
    refused: u64,
    buffer: Vec<u8>,
}

impl Dtls {
    /// The first flight of a client is due at once. None if the system has no random numbers.
    pub(super) fn new(handshake: Handshake, now: Instant) -> Option<Self> {
        let is_client = handshake.is_client;
        Some(Self {
            engine: engine(&handshake, now)?,
            guard: Guard::new(is_client),
            handshake,
            state: State::Handshake,
            is_expected: false,
            restart: None,
            awaits_proof: false,
            timeout: Some(now),
            view: DtlsView {
                is_client,
                ..DtlsView::default()
            },
            refused: 0,
            // a certificate comes out in one piece, and is no longer than all that dimpl may hold
            buffer: vec![0; MOST_HELD * LONGEST],
        })
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    pub(super) fn view(&self) -> DtlsView {
        let guard = self.guard.seen();
        DtlsView {
            version: match self.engine.protocol_version() {
                Some(ProtocolVersion::DTLS1_2) => Some(DtlsVersion::Dtls12),
                Some(ProtocolVersion::DTLS1_3) => Some(DtlsVersion::Dtls13),
                _ => None,
            },
            last_received: guard.last,
            refusal: guard.refusal.or(self.view.refusal),
            plaintext_alert: guard.alert,
            plaintext_alerts: guard.alerts,
            ..self.view
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        self.view.is_done
    }

    /// Datagrams, records and messages that dimpl never saw.
    pub(super) fn refused(&self) -> u64 {
        self.refused + self.guard.seen().refused
    }

    #[cfg(test)]
    pub(super) fn digest(&self) -> Digest {
        self.handshake.identity.digest()
    }

    /// A datagram of the peer.
    pub(super) fn handle(&mut self, datagram: &[u8], now: Instant, sink: &mut Sink) {
        match self.state {
            State::Handshake if self.restart.is_none() && datagram.len() <= LONGEST => {
                self.view.received = self.view.received.saturating_add(1);
                self.shake(datagram, now, sink);
            }
            State::Open => self.open(datagram, now, sink),
            State::Ended(_) => {}
            _ => self.refused += 1,
        }
    }

    /// Takes the time: timers that are due fire.
    pub(super) fn handle_timeout(&mut self, now: Instant, sink: &mut Sink) {
        if let Some(restart) = self.restart {
            if restart > now {
                return;
            }
            let Some(engine) = engine(&self.handshake, now) else {
                self.restart = Some(now + RESTART);
                return;
            };
            self.engine = engine;
            self.guard.start_over();
            self.is_expected = false;
            self.restart = None;
        }
        if !matches!(self.state, State::Ended(_)) {
            self.step(now, sink, |_| Ok(()));
        }
    }

    /// When time matters next.
    pub(super) fn timeout(&self) -> Option<Instant> {
        match self.state {
            State::Ended(_) => None,
            _ => self.restart.or(self.timeout),
        }
    }

    /// Protects application data for the peer.
    pub(super) fn send(&mut self, plaintext: &[u8], now: Instant, sink: &mut Sink) {
        if self.state == State::Open {
            self.step(now, sink, |engine| {
                engine.send_application_data(plaintext).map(drop)
            });
        }
    }

    /// Closes DTLS, with a `close_notify` if there are keys to sign it with.
    pub(super) fn close(&mut self, now: Instant, sink: &mut Sink) {
        if self.state == State::Open {
            self.step(now, sink, dimpl::Dtls::close);
        }
        if !matches!(self.state, State::Ended(_)) {
            self.state = State::Ended(ChannelEnd::Closed);
        }
    }

    fn shake(&mut self, datagram: &[u8], now: Instant, sink: &mut Sink) {
        // record by record, so that one which fails takes none along that came with it
        let mut records = Vec::new();
        self.guard
            .admit(datagram, |record| records.push(record.to_vec()));
        for record in records {
            // a record before may have done it
            match self.state {
                State::Handshake if self.restart.is_none() => {
                    self.step(now, sink, |engine| engine.handle_packet(&record));
                }
                State::Open => self.handle(&record, now, sink),
                _ => {}
            }
        }
    }

    /// Tries the records of a datagram with the keys, one by one, until some have led to nothing.
    fn open(&mut self, datagram: &[u8], now: Instant, sink: &mut Sink) {
        let settled = self.settled();
        let (mut rest, mut fruitless) = (datagram, 0);
        while fruitless < settled.most_fruitless()
            && self.state == State::Open
            && let Some(record) = guard::next_settled(rest, settled, rest.len() == datagram.len())
        {
            rest = &rest[record.len()..];
            let before = sink.plaintexts.len();
            self.step(now, sink, |engine| engine.handle_packet(record));
            fruitless += usize::from(sink.plaintexts.len() == before);
        }
        if rest.len() == datagram.len() || !rest.is_empty() {
            self.refused += 1;
        }
    }

    /// The version of an open path.
    fn settled(&self) -> Settled {
        match self.engine.protocol_version() {
            _ if self.awaits_proof => Settled::Dtls12Unproven,
            Some(ProtocolVersion::DTLS1_2) => Settled::Dtls12,
            _ => Settled::Dtls13,
        }
    }

    /// A test that each datagram passes which DTLS may still have a use for. None as long as messages of a
    /// handshake in the clear may come.
    pub(super) fn is_wanted(&self) -> Option<fn(&[u8]) -> bool> {
        match self.state {
            State::Open => self.settled().is_wanted(),
            _ => None,
        }
    }

    /// Does one thing to the engine, and takes all that comes of it.
    fn step(
        &mut self,
        now: Instant,
        sink: &mut Sink,
        act: impl FnOnce(&mut dimpl::Dtls) -> Result<(), Error>,
    ) {
        let result = self
            .engine
            .handle_timeout(now)
            .and_then(|()| act(&mut self.engine));
        // output from before the error goes out
        self.drain(now, sink);
        if let Err(error) = result {
            self.failed(&error, now);
        }
    }

    fn failed(&mut self, error: &Error, now: Instant) {
        match self.state {
            State::Handshake => self.start_over(refusal(error), now),
            State::Open => {
                self.state = State::Ended(match error {
                    Error::SecurityError(SecurityError::FatalAlert { description }) => {
                        ChannelEnd::Alert(*description)
                    }
                    _ => ChannelEnd::DtlsBroken,
                });
            }
            State::Ended(_) => {}
        }
    }

    fn start_over(&mut self, why: DtlsRefusal, now: Instant) {
        self.view.refusal = Some(why);
        let wait = RESTART * 2_u32.pow(self.view.restarts.min(MOST_RESTARTS));
        self.view.restarts = self.view.restarts.saturating_add(1);
        self.restart = Some(now + wait);
    }

    fn drain(&mut self, now: Instant, sink: &mut Sink) {
        loop {
            let needed = match self.engine.poll_output(&mut self.buffer) {
                Output::Packet(datagram) => {
                    if self.state == State::Handshake {
                        note_sent(&mut self.view, datagram);
                    }
                    sink.datagrams.push(datagram.to_vec());
                    continue;
                }
                Output::PeerCert(certificate) => {
                    self.is_expected = identity::is_one_of(certificate, &self.handshake.expected);
                    continue;
                }
                Output::Connected => None,
                Output::ApplicationData(plaintext) => {
                    if self.state == State::Open {
                        self.awaits_proof = false;
                        sink.plaintexts.push(plaintext.to_vec());
                    }
                    continue;
                }
                Output::CloseNotify => {
                    match self.state {
                        State::Open => self.state = State::Ended(ChannelEnd::ClosedByPeer),
                        // under keys that nothing has proven yet
                        State::Handshake => self.start_over(DtlsRefusal::Alert, now),
                        State::Ended(_) => {}
                    }
                    continue;
                }
                Output::BufferTooSmall { needed } => Some(needed),
                Output::Timeout(timeout) => {
                    self.timeout = Some(timeout);
                    return;
                }
                // keys for media, which has no sender here
                _ => continue,
            };
            match needed {
                Some(needed) => self.buffer.resize(needed, 0),
                None => self.connected(now),
            }
        }
    }

    /// Both sides have proven who they are.
    fn connected(&mut self, now: Instant) {
        if self.state != State::Handshake {
            return;
        }
        if self.is_expected {
            self.state = State::Open;
            self.view.is_done = true;
            self.awaits_proof = !self.handshake.is_client
                && self.engine.protocol_version() == Some(ProtocolVersion::DTLS1_2);
            self.guard.finish();
            self.buffer = vec![0; LONGEST];
        } else {
            // under the keys, so that the peer can trust it
            let _ = self.engine.handle_timeout(now);
            let _ = self.engine.close();
            self.state = State::Ended(ChannelEnd::Certificate);
        }
    }
}

impl core::fmt::Debug for Dtls {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Dtls")
            .field("state", &self.state)
            .field("view", &self.view())
            .finish_non_exhaustive()
    }
}

/// Notes the messages that a datagram of this side carries in the clear.
fn note_sent(view: &mut DtlsView, datagram: &[u8]) {
    view.sent = view.sent.saturating_add(1);
    let mut rest = datagram;
    while let [
        guard::content::HANDSHAKE,
        _,
        _,
        0,
        0,
        _,
        _,
        _,
        _,
        _,
        _,
        a,
        b,
        behind @ ..,
    ] = rest
    {
        let length = usize::from(u16::from_be_bytes([*a, *b]));
        view.last_sent = behind.first().copied();
        // a hello of either side
        if matches!(view.last_sent, Some(1 | 2)) {
            view.hellos = view.hellos.saturating_add(1);
        }
        rest = behind.get(length..).unwrap_or_default();
    }
}

fn refusal(error: &Error) -> DtlsRefusal {
    use SecurityError::*;
    match error {
        Error::SecurityError(error) => match error {
            NoMutuallyAcceptableCipherSuite
            | NoCommonCipherSuite
            | NoCommonKeyExchangeGroup
            | ServerSelectedUnknownCipherSuite
            | ServerSelectedIncompatibleCipherSuite(_)
            | ServerSelectedDisallowedCipherSuite(_)
            | ServerSelectedDisallowedDtls13CipherSuite(_) => DtlsRefusal::Suites,
            UnsupportedClientVersion(_)
            | UnsupportedServerVersion(_)
            | UnsupportedHelloVerifyRequestVersion(_)
            | ServerDidNotNegotiateDtls13 => DtlsRefusal::Version,
            ExtendedMasterSecretNotNegotiated => DtlsRefusal::MasterSecret,
            ServerFinishedVerificationFailed | ClientFinishedVerificationFailed => {
                DtlsRefusal::Proof
            }
            FatalAlert { .. } => DtlsRefusal::Alert,
            _ => DtlsRefusal::Message,
        },
        Error::CryptoError(_) | Error::CertificateError(_) => DtlsRefusal::Proof,
        _ => DtlsRefusal::Message,
    }
}

/// A client of both versions offers both in one hello; a server takes the newest that it is offered.
fn engine(opening: &Handshake, now: Instant) -> Option<dimpl::Dtls> {
    let new = match opening.newest {
        DtlsVersion::Dtls12 => dimpl::Dtls::new_12,
        DtlsVersion::Dtls13 => dimpl::Dtls::new_auto,
    };
    let mut engine = new(config()?, opening.identity.certificate(), now);
    engine.set_active(opening.is_client);
    Some(engine)
}

/// One for all: dimpl tries the cryptography out each time that it makes one.
fn config() -> Option<Arc<Config>> {
    static CONFIG: OnceLock<Option<Arc<Config>>> = OnceLock::new();
    let make = || {
        let config = Config::builder()
            .with_crypto_provider(crypto::provider())
            .mtu(1200)
            .max_queue_rx(MOST_HELD)
            // a cookie proves the peer's address (RFC 6347 section 4.2.1) and costs a round trip;
            // ICE has proven the address
            .use_server_cookie(false)
            .flight_start_rto(FLIGHT_INTERVAL)
            .flight_retries(FLIGHTS)
            .handshake_timeout(HANDSHAKE)
            .build();
        config.ok().map(Arc::new)
    };
    CONFIG.get_or_init(make).clone()
}
