//! Requests to servers, and the evidence of their answers.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::message::{Class, Message, Method, TransactionId};
use super::open::Open;
use crate::bounded::Sorted;
use crate::evidence::{Endpoint, Evidence, Ip, MAX_OBSERVATIONS, Observation, Outcome};
use crate::server::ServerId;

/// Requests whose answer may still come.
const MAX_OPEN: usize = 64;
const FEW_ASKED: usize = 8;

/// How long each of two copies of a request has to stay unanswered before that is a time-out: longer
/// than two round trips by satellite, and three RTOs (RFC 8489 section 6.2.1).
const FULL_WAIT: Duration = Duration::from_millis(1500);
/// Copies in shorter order are one transmission: a capture on several interfaces shows a packet more
/// than once, and no stack sends again that soon.
const COPIED: Duration = Duration::from_millis(20);
/// How far apart answers may be and still show one mapping of a base. A NAT may forget an idle
/// mapping, some after half a minute (RFC 4787 section 4.3), and then gives the same base another.
const ONE_TIME: Duration = Duration::from_secs(15);

/// The meaning of an ICMP error for a request (RFC 1122 section 4.2.3.9).
///
/// ```
/// use core::time::Duration;
/// use nat_summary::Outcome;
/// use nat_summary::observer::{IcmpError, Observer};
///
/// let mut observer = Observer::new();
/// let (base, server) = ("192.168.1.5:50000".parse()?, "198.51.100.1:3478".parse()?);
/// observer.sent(Duration::ZERO, base, server, b"\x00\x01\x00\x00\x21\x12\xA4\x42a random id.");
/// observer.unreachable(Duration::ZERO, base, server, IcmpError::Hard, None);
/// assert_eq!(observer.evidence().servers(), [(server.into(), Outcome::Unreachable)]);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IcmpError {
    /// No socket listens there, or no packet may get there.
    Hard,
    /// It may pass in a moment.
    Soft,
}

/// A server that was asked from one base, and how that ended so far.
///
/// ```
/// use nat_summary::observer::Observer;
///
/// let mut observer = Observer::new();
/// let request = b"\x00\x01\x00\x00\x21\x12\xA4\x42a random id.";
/// observer.sent(core::time::Duration::ZERO, "192.168.1.5:50000".parse()?, "198.51.100.1:3478".parse()?, request);
/// let asked = observer.servers().next().expect("one server");
/// assert_eq!((asked.sends, asked.mapped), (1, None));
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AskedServer {
    /// The local socket.
    pub base: SocketAddr,
    /// The server, by the address that requests went to.
    pub server: SocketAddr,
    /// Whether it was asked for an allocation (RFC 8656), and so is a TURN server.
    pub is_turn: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// The last mapped address that it reported.
    pub mapped: Option<SocketAddr>,
    /// The code of its last error response.
    pub error_code: Option<u16>,
    /// The round trip of the last request that was answered at its first copy.
    pub round_trip: Option<Duration>,
    /// Requests sent to it, with every copy.
    pub sends: u32,
}

/// A server asked from one base.
#[derive(Debug, Clone, Copy)]
struct Asked {
    base: Endpoint,
    server: Endpoint,
    is_turn: bool,
    outcome: Outcome,
    /// The last report.
    mapped: Option<Endpoint>,
    /// Whether that report can still be compared with others.
    is_current: bool,
    heard: Duration,
    /// When two reports differed that no idle time can explain.
    unsteady: Option<Duration>,
    error_code: Option<u16>,
    round_trip: Option<Duration>,
    sends: u32,
}

impl Asked {
    const fn new(base: Endpoint, server: Endpoint) -> Self {
        Self {
            base,
            server,
            is_turn: false,
            outcome: Outcome::Pending,
            mapped: None,
            is_current: false,
            heard: Duration::ZERO,
            unsteady: None,
            error_code: None,
            round_trip: None,
            sends: 0,
        }
    }
}

/// A request without an answer so far.
#[derive(Debug, Clone, Copy)]
struct Request {
    id: TransactionId,
    is_allocate: bool,
    base: Endpoint,
    server: Endpoint,
    first: Duration,
    /// The first copy that was no copy by the capture.
    second: Option<Duration>,
    copies: u8,
    sequence: u32,
    /// An ICMP error came back.
    icmp: Option<IcmpError>,
    /// It left before the base got another mapping.
    is_stale: bool,
}

impl Request {
    fn is(&self, base: Endpoint, server: Endpoint, message: &Message<'_>) -> bool {
        self.is_about(message) && (self.base, self.server) == (base, server)
    }

    fn is_about(&self, message: &Message<'_>) -> bool {
        self.id == message.id && self.is_allocate == (message.method == Method::Allocate)
    }
}

/// What is known of the silence of servers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silence {
    pub(super) now: Duration,
    /// Nothing more will be handed in.
    pub(super) is_over: bool,
    /// Not everything that came in was handed in.
    pub(super) is_doubtful: bool,
}

impl Silence {
    fn outcome(self, request: &Request) -> Outcome {
        if request.icmp == Some(IcmpError::Hard) {
            return Outcome::Unreachable;
        }
        let has_waited = request
            .second
            .is_some_and(|second| self.now.saturating_sub(second) >= FULL_WAIT);
        match (has_waited && !self.is_doubtful, request.icmp) {
            (true, Some(_)) => Outcome::Unreachable,
            (true, None) => Outcome::TimedOut,
            (false, _) if self.is_over => Outcome::GivenUp,
            (false, _) => Outcome::Pending,
        }
    }
}

/// Where a response belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filed {
    /// It answers a request.
    Answer,
    /// It has the id of a request to another address, or from another socket.
    WrongSource,
    /// It has the id of no request.
    UnknownId,
}

/// The servers asked, and their evidence.
#[derive(Debug, Clone)]
pub(super) struct Servers {
    evidence: Evidence,
    asked: Sorted<Asked, FEW_ASKED, MAX_OBSERVATIONS>,
    open: Open<Request, MAX_OPEN>,
    /// Packets may have passed before the first that was handed in.
    pub(super) is_joined_late: bool,
    pub(super) remapped: u32,
}

impl Servers {
    pub(super) const fn new() -> Self {
        const ANY: Endpoint = Endpoint {
            ip: Ip::UNSPECIFIED,
            port: 0,
        };
        Self {
            evidence: Evidence::new(),
            asked: Sorted::new(Asked::new(ANY, ANY)),
            open: Open::new(),
            is_joined_late: false,
            remapped: 0,
        }
    }

    pub(super) fn add_local(&mut self, ip: IpAddr) {
        self.evidence.add_local(ip);
    }

    /// A request to a server leaves, or a copy of one.
    pub(super) fn ask(
        &mut self,
        base: Endpoint,
        server: Endpoint,
        message: &Message<'_>,
        sequence: u32,
        silence: Silence,
    ) {
        if !server.ip.is_unicast() {
            return;
        }
        let now = silence.now;
        let is_allocate = message.method == Method::Allocate;
        if self.place(base, server).is_none() {
            self.evidence.add_local(base.ip.into());
            self.evidence
                .record_outcome(id_of(server), Outcome::Pending);
            let order = |asked: &Asked| (asked.base, asked.server).cmp(&(base, server));
            if let Err(at) = self.asked.find(order) {
                self.asked.insert(at, Asked::new(base, server));
            }
        }
        if let Some(asked) = self.asked_mut(self.place(base, server)) {
            asked.sends = asked.sends.saturating_add(1);
            asked.is_turn |= is_allocate;
        }
        if let Some(known) = self
            .open
            .iter_mut()
            .find(|request| request.is(base, server, message))
        {
            known.copies = known.copies.saturating_add(1);
            if known.second.is_none() && now.saturating_sub(known.first) >= COPIED {
                known.second = Some(now);
            }
            return;
        }
        let evicted = self.open.push(Request {
            id: message.id,
            is_allocate,
            base,
            server,
            first: now,
            second: None,
            copies: 1,
            sequence,
            icmp: None,
            is_stale: false,
        });
        if let Some(evicted) = evicted {
            let silence = Silence {
                is_over: true,
                ..silence
            };
            let place = self.place(evicted.base, evicted.server);
            self.settle(place, evicted.server, silence.outcome(&evicted));
        }
    }

    /// A response came in.
    pub(super) fn answer(
        &mut self,
        base: Endpoint,
        source: Endpoint,
        message: &Message<'_>,
        now: Duration,
    ) -> Filed {
        let Some(request) = self.open.take(|request| request.is(base, source, message)) else {
            return if self.open.iter().any(|request| request.is_about(message)) {
                Filed::WrongSource
            } else {
                Filed::UnknownId
            };
        };
        let is_success = message.class == Class::Success;
        let mapped = message.mapped.filter(|_| is_success).map(Endpoint::from);
        let place = self.place(base, source);
        let outcome = if mapped.is_some() {
            Outcome::Answered
        } else {
            Outcome::Refused
        };
        self.settle(place, source, outcome);
        if let Some(asked) = self.asked_mut(place) {
            if !is_success {
                asked.error_code = message.error_code.or(Some(0));
            }
            if request.copies == 1 {
                asked.round_trip = Some(now.saturating_sub(request.first));
            }
        }
        if let Some(mapped) = mapped {
            self.observe(place, &request, mapped, now);
        }
        Filed::Answer
    }

    /// A server reported a mapping. Only mappings of one time are compared: see [`ONE_TIME`].
    fn observe(
        &mut self,
        place: Option<usize>,
        request: &Request,
        mapped: Endpoint,
        now: Duration,
    ) {
        let Request {
            base,
            server,
            sequence,
            is_stale,
            ..
        } = *request;
        let is_recent = |then: Duration| now.saturating_sub(then) <= ONE_TIME;
        let known = self.asked_mut(place).copied();
        let was = known
            .filter(|asked| asked.is_current)
            .and_then(|asked| asked.mapped);
        let is_resent = self.is_joined_late || known.is_none_or(|asked| asked.sends > 1);
        if let Some(asked) = self.asked_mut(place) {
            asked.mapped = Some(mapped);
        }
        let observation = Observation {
            base: base.into(),
            server: id_of(server),
            mapped: mapped.into(),
            sequence,
        };
        if !observation.is_possible() {
            // counted there
            self.evidence.observe(observation);
            return;
        }
        if is_stale {
            return;
        }
        if was == Some(mapped) {
            // the mapping stands, and the order in which mappings were made is that of the first
            // requests
            if let Some(asked) = self.asked_mut(place) {
                asked.heard = now;
            }
            return;
        }
        if was.is_some() {
            // the NAT gave this base another mapping, and the answers of others are about the former
            self.remapped = self.remapped.saturating_add(1);
            let is_sudden = known.is_some_and(|asked| is_recent(asked.heard));
            self.forget(base, |_| true);
            for open in self.open.iter_mut().filter(|open| open.base == base) {
                open.is_stale = true;
            }
            if let Some(asked) = self.asked_mut(place) {
                asked.unsteady = is_sudden.then_some(now);
            }
        } else if self.differs_from_older(base, mapped, is_recent) {
            self.forget(base, |asked| !is_recent(asked.heard));
        }
        let mut of_base = self.asked.as_slice().iter().filter(|a| a.base == base);
        if of_base.any(|asked| asked.unsteady.is_some_and(is_recent)) {
            return;
        }
        if let Some(asked) = self.asked_mut(place) {
            asked.heard = now;
            asked.is_current = true;
        }
        if is_resent {
            self.evidence.observe_resent(observation);
        } else {
            self.evidence.observe(observation);
        }
    }

    /// Whether an answer that is not of this time reported another mapping of the base.
    fn differs_from_older(
        &self,
        base: Endpoint,
        mapped: Endpoint,
        is_recent: impl Fn(Duration) -> bool,
    ) -> bool {
        self.evidence.observed().iter().any(|seen| {
            let is_other = seen.base() == base
                && seen.mapped().ip.is_v4() == mapped.ip.is_v4()
                && seen.mapped() != mapped;
            is_other
                && !self.asked.as_slice().iter().any(|asked| {
                    asked.base == base
                        && id_of(asked.server) == seen.server().into()
                        && is_recent(asked.heard)
                })
        })
    }

    /// Forgets the observations of a base whose server `is_outdated` accepts, and those whose server
    /// had no room.
    fn forget(&mut self, base: Endpoint, is_outdated: impl Fn(&Asked) -> bool) {
        for asked in self.asked.as_mut_slice() {
            if asked.base == base && is_outdated(asked) {
                asked.is_current = false;
            }
        }
        let asked = &self.asked;
        self.evidence.forget(|observation| {
            let is_current = |asked: &Asked| {
                asked.base == base && asked.is_current && id_of(asked.server) == observation.server
            };
            Endpoint::from(observation.base) == base && !asked.as_slice().iter().any(is_current)
        });
    }

    /// An ICMP error about a server came back. It may be forged, so an answer still counts.
    pub(super) fn unreachable(&mut self, base: Endpoint, server: Endpoint, error: IcmpError) {
        for request in self.open.iter_mut() {
            if (request.base, request.server) == (base, server)
                && request.icmp != Some(IcmpError::Hard)
            {
                request.icmp = Some(error);
            }
        }
    }

    /// A request ended. Of several outcomes of one server the strongest stands.
    fn settle(&mut self, place: Option<usize>, server: Endpoint, outcome: Outcome) {
        if let Some(asked) = self.asked_mut(place) {
            if asked.outcome >= outcome {
                return;
            }
            asked.outcome = outcome;
        }
        self.evidence.record_outcome(id_of(server), outcome);
    }

    /// The evidence so far.
    pub(super) fn evidence(&self, silence: Silence) -> Evidence {
        let mut evidence = self.evidence.clone();
        for request in self.open.iter() {
            evidence.record_outcome(id_of(request.server), silence.outcome(request));
        }
        evidence
    }

    /// Every server asked, by base, then server.
    pub(super) fn servers(&self, silence: Silence) -> impl Iterator<Item = AskedServer> + '_ {
        self.asked.as_slice().iter().map(move |asked| {
            let open = self.open.iter();
            let waits = open.filter(|open| (open.base, open.server) == (asked.base, asked.server));
            let waits = waits.map(|request| silence.outcome(request));
            AskedServer {
                base: asked.base.into(),
                server: asked.server.into(),
                is_turn: asked.is_turn,
                outcome: waits.max().unwrap_or(asked.outcome).max(asked.outcome),
                mapped: asked.mapped.map(SocketAddr::from),
                error_code: asked.error_code,
                round_trip: asked.round_trip,
                sends: asked.sends,
            }
        })
    }

    /// The place of a server asked from a base; `None` if it has none.
    fn place(&self, base: Endpoint, server: Endpoint) -> Option<usize> {
        let mut asked = self.asked.as_slice().iter();
        asked.position(|asked| asked.server == server && asked.base == base)
    }

    fn asked_mut(&mut self, place: Option<usize>) -> Option<&mut Asked> {
        self.asked.as_mut_slice().get_mut(place?)
    }
}

fn id_of(server: Endpoint) -> ServerId {
    SocketAddr::from(server).into()
}
