//! The plan of a gathering: which request leaves when, and when the answers are enough. Pure: time
//! and randomness are arguments.
//!
//! Drive it like this: hand in the servers with [`Plan::ask`]; send every request that
//! [`poll_transmit`](Plan::poll_transmit) returns until it returns none; wait for a datagram
//! ([`handle_datagram`](Plan::handle_datagram)) or for the instant of
//! [`poll_timeout`](Plan::poll_timeout); repeat until [`is_complete`](Plan::is_complete). Datagrams
//! may be handed in after that: a late answer is evidence like any other.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use nat_summary::{Evidence, Observation, Outcome, Outstanding, PendingRequest, Scope, ServerId};

use crate::common::{after, canonical};
use crate::config::{GatherConfig, Policy};
use crate::stun::{Answer, HEADER_LEN, Reject, TransactionId, read_answer, write_request};

/// Fewest copies of a request whose silence is a time-out: a single one may get lost.
const FAIR_SENDS: u8 = 2;
/// Servers that one name may lead to, of each family.
pub(crate) const ADDRESSES_OF_A_NAME: usize = 2;

/// A request to send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Number of the request, for [`Plan::handle_send_error`].
    pub request: usize,
    /// The socket it has to leave from, by its local address.
    pub socket: SocketAddr,
    /// The server it goes to.
    pub server: SocketAddr,
    /// The bytes.
    pub bytes: [u8; HEADER_LEN],
}

/// A server that answered one of our requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// Number of the request.
    pub request: usize,
    /// Its answer.
    pub answer: Answer,
}

/// The meaning of an ICMP message for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IcmpError {
    /// No socket listens there, or no packet may get there.
    Hard,
    /// It may pass in a moment.
    Soft,
}

/// An ICMP error about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreachable {
    /// The server that was asked.
    pub(crate) server: SocketAddr,
    pub(crate) error: IcmpError,
    /// The server itself sent the error, so UDP gets there and back.
    pub(crate) is_of_server: bool,
}

/// One request: a server asked from a base.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The socket, by its local address.
    socket: SocketAddr,
    /// The base toward this server: the socket's address, unless that is the wildcard address.
    pub(crate) base: SocketAddr,
    pub(crate) server: SocketAddr,
    id: TransactionId,
    pub(crate) sends: u8,
    first_sent: Option<Instant>,
    next_send: Instant,
    rto: Duration,
    pub(crate) outcome: Outcome,
    pub(crate) mapped: Option<SocketAddr>,
    /// The code of an error response.
    pub(crate) error_code: Option<u16>,
    /// Unknown if the request was sent more than once, because the answer may be to either copy (RFC
    /// 6298 section 3).
    pub(crate) round_trip: Option<Duration>,
    sequence: u32,
    /// More than one copy had been sent when the answer came.
    is_resent: bool,
    /// A soft error came back.
    is_in_doubt: bool,
    /// Not waited for any longer, though its silence proves nothing.
    is_given_up: bool,
}

impl Request {
    fn observation(&self) -> Option<Observation> {
        let Self {
            base,
            server,
            sequence,
            ..
        } = *self;
        self.mapped.map(|mapped| Observation {
            base,
            server: server.into(),
            mapped,
            sequence,
        })
    }

    /// Whether an answer is waited for.
    fn is_open(&self) -> bool {
        self.outcome == Outcome::Pending && !self.is_given_up
    }

    fn has_waited(&self, wait: Duration, now: Instant) -> bool {
        self.first_sent
            .is_some_and(|sent| now.saturating_duration_since(sent) >= wait)
    }

    /// Ends an open request without an answer. A single copy may have been lost, and a short wait may
    /// be shorter than the round trip: that silence is no time-out (RFC 8489 section 6.2.1).
    fn end(&mut self, had_time: bool) {
        self.outcome = if !had_time {
            Outcome::GivenUp
        } else if self.is_in_doubt {
            Outcome::Unreachable
        } else if self.sends >= FAIR_SENDS {
            Outcome::TimedOut
        } else {
            Outcome::GivenUp
        };
    }
}

fn counts(observation: &Observation) -> bool {
    observation.is_possible() && observation.mapped.is_ipv4() == observation.base.is_ipv4()
}

/// The requests of one gathering.
///
/// ```
/// use std::time::Instant;
/// use ice_gather::GatherConfig;
/// use ice_gather::plan::Plan;
///
/// let now = Instant::now();
/// let mut plan = Plan::new(GatherConfig::default(), vec!["192.168.1.5:50000".parse()?], now);
/// plan.ask("198.51.100.1:3478".parse()?, None, [7; 12], now);
/// let request = plan.poll_transmit(now).expect("one server, one request");
/// assert_eq!(request.server.to_string(), "198.51.100.1:3478");
/// assert!(plan.poll_transmit(now).is_none() && !plan.is_complete(now));
/// // no answer comes
/// assert!(plan.is_complete(now + GatherConfig::default().deadline));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Plan {
    config: GatherConfig,
    sockets: Vec<SocketAddr>,
    requests: Vec<Request>,
    names: usize,
    not_before: Instant,
    deadline: Instant,
    grace_ends: Option<Instant>,
    first_sequence: u32,
    sent: u32,
    /// Of those, the ones that never left.
    lost: u32,
    over_cap: u32,
    /// Packets that came in and are no answers.
    signs_of_life: u32,
    /// What the missing answers can change; `None` once a request or a name changed. A flood of
    /// datagrams that are no answers costs no judgement.
    outstanding: Option<Outstanding>,
    ended: bool,
}

impl Plan {
    /// A plan without servers yet, on these sockets: at most one of each family, by their local
    /// addresses.
    #[must_use]
    pub fn new(config: GatherConfig, sockets: Vec<SocketAddr>, now: Instant) -> Self {
        let deadline = after(now, config.deadline);
        Self {
            config,
            sockets,
            requests: Vec::new(),
            names: 0,
            not_before: now,
            deadline,
            grace_ends: None,
            first_sequence: 0,
            sent: 0,
            lost: 0,
            over_cap: 0,
            signs_of_life: 0,
            outstanding: None,
            ended: false,
        }
    }

    /// Numbers observations from here on, so that they supersede those of an earlier plan on the
    /// same bases.
    #[must_use]
    pub const fn with_first_sequence(mut self, sequence: u32) -> Self {
        self.first_sequence = sequence;
        self
    }

    /// Asks `server` from the socket of its family, under an unguessable transaction id. A server
    /// that was asked already is not asked twice; one without a socket of its family is
    /// unreachable.
    ///
    /// `leaves_from` is the local address that packets toward this server leave from, where the
    /// socket is bound to the wildcard address: such a socket is a base of its own on every
    /// route.
    pub fn ask(
        &mut self,
        server: SocketAddr,
        leaves_from: Option<IpAddr>,
        id: TransactionId,
        now: Instant,
    ) {
        if self.requests.iter().any(|r| r.server == server) {
            return;
        }
        if self.requests.len() >= usize::from(self.config.max_servers) {
            self.over_cap = self.over_cap.saturating_add(1);
            return;
        }
        let socket = self
            .sockets
            .iter()
            .find(|socket| socket.is_ipv4() == server.is_ipv4() && is_unicast(server.ip()))
            .copied();
        self.outstanding = None;
        let base =
            socket.map(|socket| SocketAddr::new(leaves_from.unwrap_or(socket.ip()), socket.port()));
        self.requests.push(Request {
            socket: socket.unwrap_or(server),
            base: base.unwrap_or(server),
            server,
            id,
            sends: 0,
            first_sent: None,
            next_send: now,
            rto: self.config.initial_rto,
            outcome: if base.is_some() {
                Outcome::Pending
            } else {
                Outcome::Unreachable
            },
            mapped: None,
            error_code: None,
            round_trip: None,
            sequence: 0,
            is_resent: false,
            is_in_doubt: false,
            is_given_up: false,
        });
    }

    /// A name is being resolved: it may still become a server.
    pub const fn name_started(&mut self) {
        self.names += 1;
        self.outstanding = None;
    }

    /// A name resolved, or failed to.
    pub const fn name_ended(&mut self) {
        self.names = self.names.saturating_sub(1);
        self.outstanding = None;
    }

    /// The next request that is due, if any.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if self.ended || now < self.not_before || now >= self.deadline {
            return None;
        }
        self.give_up_single_servers(now);
        let max_sends = self.config.max_sends;
        let due = |r: &Request| r.is_open() && r.sends < max_sends && r.next_send <= now;
        // the server with the fewest copies comes first, so that none waits for its first copy while
        // others get their second
        let due = self.requests.iter_mut().enumerate().filter(|(_, r)| due(r));
        let (number, request) = due.min_by_key(|(_, r)| r.sends)?;
        if request.first_sent.is_none() {
            request.first_sent = Some(now);
            request.sequence = self.first_sequence.saturating_add(self.sent);
        }
        self.sent += 1;
        request.sends += 1;
        request.next_send = after(now, request.rto);
        request.rto = request.rto.saturating_mul(2);
        self.not_before = after(now, self.config.pacing);
        Some(Transmit {
            request: number,
            socket: request.socket,
            server: request.server,
            bytes: write_request(request.id),
        })
    }

    /// The socket refused a request: no route, or a local error that lasts.
    pub fn handle_send_error(&mut self, request: usize) {
        if let Some(request) = self.requests.get_mut(request)
            && request.outcome == Outcome::Pending
        {
            request.outcome = Outcome::Unreachable;
            self.outstanding = None;
        }
    }

    /// The socket had no room for the copy that [`poll_transmit`](Self::poll_transmit) returned: it
    /// is lost, as any packet may be, and the next one may get through. But it asked no server.
    pub fn handle_send_lost(&mut self, request: usize) {
        if let Some(request) = self.requests.get_mut(request) {
            self.lost += 1;
            request.sends = request.sends.saturating_sub(1);
            if request.sends == 0 {
                request.first_sent = None;
            }
        }
    }

    /// An ICMP message reported `server` as unreachable. It may be forged, so an answer still counts.
    ///
    /// A hard error ends the request (RFC 8489 section 6.2.1). A soft one, such as from a router
    /// that has no route at the moment, does not (RFC 1122 section 4.2.3.9); but silence after it is
    /// no time-out.
    pub fn handle_unreachable(&mut self, server: SocketAddr, error: IcmpError) {
        for request in &mut self.requests {
            if request.server == server && request.sends > 0 && request.outcome == Outcome::Pending
            {
                match error {
                    IcmpError::Hard => {
                        request.outcome = Outcome::Unreachable;
                        self.outstanding = None;
                    }
                    IcmpError::Soft => request.is_in_doubt = true,
                }
            }
        }
    }

    /// Something came in over UDP that is handed in nowhere else, such as a packet of the peer, or an
    /// ICMP error which a server itself sent: UDP is not blocked.
    pub const fn handle_sign_of_life(&mut self) {
        self.signs_of_life = self.signs_of_life.saturating_add(1);
    }

    /// A datagram that may be an answer came in on `socket` from `source`. A request ends with its
    /// first answer; the id and the source must be those of the request.
    ///
    /// # Errors
    /// [`Reject`]: no answer of ours. The request, if there is one, goes on; but UDP is not blocked.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        socket: SocketAddr,
        source: SocketAddr,
        datagram: &[u8],
    ) -> Result<Answered, Reject> {
        let answered = self.file(now, socket, source, datagram);
        if answered.is_err() {
            self.handle_sign_of_life();
        }
        answered
    }

    fn file(
        &mut self,
        now: Instant,
        socket: SocketAddr,
        source: SocketAddr,
        datagram: &[u8],
    ) -> Result<Answered, Reject> {
        let (id, answer) = read_answer(datagram)?;
        let (number, request) = self
            .requests
            .iter_mut()
            .enumerate()
            .find(|(_, r)| {
                r.id == id
                    && r.sends > 0
                    && !matches!(r.outcome, Outcome::Answered | Outcome::Refused)
            })
            .ok_or(Reject::UnknownId)?;
        if request.server != source || request.socket != socket {
            return Err(Reject::WrongSource);
        }
        request.outcome = match answer {
            Answer::Mapped(mapped) => {
                request.mapped = Some(canonical(mapped));
                Outcome::Answered
            }
            Answer::Refused(code) => {
                request.error_code = Some(code);
                Outcome::Refused
            }
            Answer::Unreadable => Outcome::Refused,
        };
        request.is_resent = request.sends > 1;
        if let (1, Some(sent)) = (request.sends, request.first_sent) {
            request.round_trip = Some(now.saturating_duration_since(sent));
        }
        self.outstanding = None;
        self.start_grace(now);
        Ok(Answered {
            request: number,
            answer,
        })
    }

    /// From the quorum on, the servers still missing get one grace period. It is long enough for a
    /// server as fast as those heard, and shows of no other whether it is dead or slow.
    fn start_grace(&mut self, now: Instant) {
        let has_grace = matches!(self.config.policy, Policy::Decisive | Policy::Patient);
        if has_grace && self.grace_ends.is_none() && self.outstanding() != Outstanding::Deciding {
            let longest = self
                .requests
                .iter()
                .filter_map(|r| r.round_trip)
                .max()
                .unwrap_or_default();
            self.grace_ends = Some(after(now, self.config.grace.max(longest)));
        }
    }

    /// What the answers that are still missing can change.
    fn outstanding(&mut self) -> Outstanding {
        if let Some(known) = self.outstanding {
            return known;
        }
        let mut observed = Evidence::new();
        // an address at which a server was asked is none of this host, whether or not it answered
        for request in &self.requests {
            observed.record_outcome(request.server.into(), Outcome::Pending);
        }
        for observation in self.requests.iter().filter_map(Request::observation) {
            observed.observe(observation);
        }
        let outstanding = observed.outstanding(self.missing());
        *self.outstanding.insert(outstanding)
    }

    /// The requests whose answers are missing. A name may lead to as many more on each base.
    fn missing(&self) -> impl Iterator<Item = PendingRequest> + Clone {
        let is_open = |r: &&Request| r.is_open();
        let requests = self.requests.iter().filter(is_open);
        let bases = self.requests.iter().map(|r| r.base);
        let bases = self.sockets.iter().copied().chain(bases);
        let named = (0..self.names * ADDRESSES_OF_A_NAME)
            .flat_map(move |n| bases.clone().map(move |base| (base, n)));
        let named = named.map(|(base, n)| (base, ServerId::Name(n as u64, 0)));
        let requests = requests.map(|r| (r.base, r.server.into()));
        let pending = requests.chain(named);
        pending.map(|(base, server)| PendingRequest { base, server })
    }

    /// The observations that count: not those that no NAT can cause, and not a mapping of the other
    /// family, which cannot be compared with the base.
    pub(crate) fn possible(&self) -> impl Iterator<Item = Observation> {
        self.requests
            .iter()
            .filter_map(Request::observation)
            .filter(counts)
    }

    /// When to look again, if no datagram comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.ended {
            return None;
        }
        let max_sends = self.config.max_sends;
        let pending = || self.requests.iter().filter(|r| r.is_open());
        let sends = pending()
            .filter(|r| r.sends < max_sends)
            .map(|r| r.next_send.max(self.not_before));
        let given_up = pending().filter_map(|r| self.given_up_at(r));
        sends
            .chain(given_up)
            .chain(self.grace_ends)
            .chain([self.deadline])
            .min()
    }

    /// Whether the answers are enough: every request ended, or the policy has all it asks for, or the
    /// grace period or the deadline is over. From then on nothing is sent.
    pub fn is_complete(&mut self, now: Instant) -> bool {
        if !self.ended {
            self.give_up_single_servers(now);
            // a request that ended may have been the last that could be answered from further out
            self.start_grace(now);
            self.ended = (self.names == 0 && !self.requests.iter().any(Request::is_open))
                || now >= self.deadline
                || self.grace_ends.is_some_and(|end| now >= end)
                || self.is_decided();
            if now >= self.deadline {
                self.time_out(now);
            }
        }
        self.ended
    }

    /// The policy has what it asks for.
    fn is_decided(&mut self) -> bool {
        match self.config.policy {
            Policy::FirstAnswer => self.is_mapped(),
            Policy::Decisive => self.outstanding() == Outstanding::Settled,
            Policy::Patient | Policy::All => false,
        }
    }

    /// An address was seen from as far out as any missing answer may be.
    fn is_mapped(&self) -> bool {
        let may_be_outside =
            |ip: IpAddr| !matches!(Scope::of(ip), Scope::Loopback | Scope::LinkLocal);
        let waits_for_outside = self.names > 0
            || self
                .requests
                .iter()
                .any(|r| r.is_open() && may_be_outside(r.server.ip()));
        self.possible()
            .any(|o| !waits_for_outside || Scope::of(o.mapped.ip()).is_global())
    }

    /// When this request has waited for its answer long enough.
    fn given_up_at(&self, request: &Request) -> Option<Instant> {
        Some(after(request.first_sent?, self.config.server_deadline?))
    }

    fn give_up_single_servers(&mut self, now: Instant) {
        let Some(server_deadline) = self.config.server_deadline else {
            return;
        };
        for request in &mut self.requests {
            if request.is_open() && request.has_waited(server_deadline, now) {
                request.end(true);
                self.outstanding = None;
            }
        }
    }

    /// Ends the open requests at the deadline; those that had time to be answered have timed out. The silence after a late request, as after
    /// the slow look-up of a name, is no evidence (RFC 8489 section 6.2.1: silence means something
    /// once the RTO is over, which estimates the round trip). A caller with a long deadline expects
    /// long round trips; half of the usual 3 s is longer than two by satellite.
    fn time_out(&mut self, now: Instant) {
        let fair = self.config.initial_rto.max(self.config.deadline / 2);
        for request in self.requests.iter_mut().filter(|r| r.is_open()) {
            request.end(request.has_waited(fair, now));
        }
    }

    /// Whether anything was sent.
    #[must_use]
    pub const fn has_sent(&self) -> bool {
        self.packets_sent() > 0
    }

    /// Requests sent so far, retransmissions included.
    #[must_use]
    pub const fn packets_sent(&self) -> u32 {
        self.sent.saturating_sub(self.lost)
    }

    /// Adds the observations so far, and forgets those that they contradict.
    ///
    /// A mapping that nothing used has expired, and the next packet makes another (RFC 4787 section
    /// 4.3): two mappings of a cone, compared, would look like those of a symmetric NAT. So the
    /// observations of an earlier plan on a base stay beside new ones only if a server answered
    /// again, and every such server saw the same mapping as then. As long as no answer came in on
    /// the base, nothing shows that it has another mapping.
    pub fn record(&self, evidence: &mut Evidence) {
        let now = self.observed();
        let earlier: Vec<Observation> = evidence.observations().collect();
        let mut outdated: Vec<_> = earlier.iter().map(comparable).collect();
        outdated.dedup();
        outdated.retain(|group| is_outdated(*group, &earlier, &now));
        if !outdated.is_empty() {
            evidence.forget(|observation| outdated.contains(&comparable(observation)));
        }
        evidence.merge(&now);
    }

    /// Whether there is a socket of this server's family.
    pub(crate) fn can_reach(&self, server: SocketAddr) -> bool {
        let mut sockets = self.sockets.iter();
        sockets.any(|socket| socket.is_ipv4() == server.is_ipv4())
    }

    /// What this plan observed, alone.
    fn observed(&self) -> Evidence {
        let mut evidence = Evidence::new();
        for request in &self.requests {
            evidence.record_outcome(request.server.into(), request.outcome);
            match request.observation() {
                Some(observation) if request.is_resent => evidence.observe_resent(observation),
                Some(observation) => evidence.observe(observation),
                None => continue,
            };
        }
        if self.signs_of_life > 0 {
            evidence.add_sign_of_life();
        }
        evidence
    }

    /// Whether a server can be asked at this address from one of the sockets. Filters that answer for
    /// a name's server give an unspecified address, or one of the host itself.
    pub(crate) fn can_be_asked(&self, ip: IpAddr) -> bool {
        let is_local = |socket: &SocketAddr| socket.ip().to_canonical().is_loopback();
        is_unicast(ip) && (!ip.is_loopback() || self.sockets.iter().any(is_local))
    }

    pub(crate) const fn next_sequence(&self) -> u32 {
        self.first_sequence.saturating_add(self.sent)
    }

    pub(crate) fn is_past_deadline(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    pub(crate) const fn over_cap(&self) -> u32 {
        self.over_cap
    }

    pub(crate) fn requests(&self) -> &[Request] {
        &self.requests
    }
}

/// Whether it is the address of one host as far as its form shows.
fn is_unicast(ip: IpAddr) -> bool {
    let is_broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    !(ip.is_unspecified() || ip.is_multicast() || is_broadcast)
}

/// Mappings may be compared if they have this in common: base and family.
const fn comparable(observation: &Observation) -> (SocketAddr, bool) {
    (observation.base, observation.mapped.is_ipv4())
}

/// Whether the observations `earlier` may be of another mapping than those of `now`.
fn is_outdated(group: (SocketAddr, bool), earlier: &[Observation], now: &Evidence) -> bool {
    let of_group = |o: &Observation| comparable(o) == group;
    let was = |server| {
        earlier
            .iter()
            .find(|o| of_group(o) && o.server == server)
            .map(|o| o.mapped)
    };
    let (mut is_heard, mut is_same) = (false, None);
    for o in now.observations().filter(of_group) {
        is_heard = true;
        if let Some(was) = was(o.server) {
            is_same = Some(is_same.unwrap_or(true) && was == o.mapped);
        }
    }
    is_heard && is_same != Some(true)
}

#[cfg(test)]
mod tests;
