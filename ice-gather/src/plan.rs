//! Which request goes to whom and when, and when it is enough: pure, time and randomness are
//! arguments.
//!
//! Drive it like this: hand in the servers with [`Plan::ask`]; send whatever
//! [`poll_transmit`](Plan::poll_transmit) gives until it gives nothing; wait for a datagram
//! ([`handle_datagram`](Plan::handle_datagram)) or for the instant of
//! [`poll_timeout`](Plan::poll_timeout); repeat until [`is_complete`](Plan::is_complete). Datagrams
//! may be handed in after that: a late answer is evidence like any other.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use nat_summary::{Evidence, Observation, Outcome, PendingRequest};

use crate::common::{after, canonical};
use crate::config::{GatherConfig, Policy};
use crate::stun::{Answer, HEADER_LEN, Reject, TransactionId, read_answer, write_request};

/// A request to send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Number of the request, for [`Plan::handle_send_error`].
    pub request: usize,
    /// The socket it has to leave from, by its local address.
    pub socket: SocketAddr,
    /// Where to.
    pub server: SocketAddr,
    /// The bytes.
    pub bytes: [u8; HEADER_LEN],
}

/// A server that answered one of our requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// Number of the request.
    pub request: usize,
    /// What it said.
    pub answer: Answer,
}

/// What an ICMP message means for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IcmpError {
    /// Nobody is there, or nobody may get there.
    Hard,
    /// It may be another in a moment.
    Soft,
}

/// One request: a server asked from a base.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The socket, by its local address.
    socket: SocketAddr,
    /// What the socket stands for toward this server: itself, unless it is bound to the wildcard
    /// address.
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
    /// Unknown if the request was sent more than once: which copy was answered is (RFC 6298
    /// section 3).
    pub(crate) round_trip: Option<Duration>,
    sequence: u32,
    /// A soft error came back.
    is_in_doubt: bool,
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

    /// Nobody answered, if it was waited for as long as that.
    fn time_out(&mut self, wait: Duration, now: Instant) {
        let is_over = self
            .first_sent
            .is_some_and(|sent| now.saturating_duration_since(sent) >= wait);
        if self.outcome == Outcome::Pending && is_over {
            self.outcome = if self.is_in_doubt {
                Outcome::Unreachable
            } else {
                Outcome::TimedOut
            };
        }
    }
}

fn counts(observation: &Observation) -> bool {
    observation.is_possible() && observation.mapped.is_ipv4() == observation.base.is_ipv4()
}

/// The requests of one gathering.
///
/// ```
/// use std::time::Instant;
/// use ice_gather::{GatherConfig, Plan};
///
/// let now = Instant::now();
/// let mut plan = Plan::new(GatherConfig::default(), vec!["192.168.1.5:50000".parse()?], now);
/// plan.ask("198.51.100.1:3478".parse()?, None, [7; 12], now);
/// let request = plan.poll_transmit(now).expect("one server, one request");
/// assert_eq!(request.server, "198.51.100.1:3478".parse()?);
/// assert!(plan.poll_transmit(now).is_none() && !plan.is_complete(now));
/// // nobody answers
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
    ended: bool,
}

impl Plan {
    /// Asks nobody yet, from these sockets: at most one of each family, by their local addresses.
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
            .find(|socket| socket.is_ipv4() == server.is_ipv4())
            .copied();
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
            is_in_doubt: false,
        });
    }

    /// A name is being resolved: it may still become a server.
    pub const fn name_started(&mut self) {
        self.names += 1;
    }

    /// A name resolved, or failed to.
    pub const fn name_ended(&mut self) {
        self.names = self.names.saturating_sub(1);
    }

    /// The next request that is due, if any.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        if self.ended || now < self.not_before || now >= self.deadline {
            return None;
        }
        self.give_up_single_servers(now);
        let max_sends = self.config.max_sends;
        let due = |r: &Request| {
            r.outcome == Outcome::Pending && r.sends < max_sends && r.next_send <= now
        };
        // first whom fewest copies went to: nobody waits for his first until others got their
        // second
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
        }
    }

    /// The socket had no room for the copy that [`poll_transmit`](Self::poll_transmit) gave: it is
    /// lost, as any packet may be, and the next one may get through. But nobody was asked by
    /// it.
    pub fn handle_send_lost(&mut self, request: usize) {
        if let Some(request) = self.requests.get_mut(request) {
            self.lost += 1;
            request.sends = request.sends.saturating_sub(1);
            if request.sends == 0 {
                request.first_sent = None;
            }
        }
    }

    /// An ICMP message said that `server` cannot be reached. It may be forged, so an answer still
    /// counts.
    ///
    /// A hard error ends the request (RFC 8489 section 6.2.1). A soft one, such as from a router
    /// that has no route at the moment, does not (RFC 1122 section 4.2.3.9); it only says that
    /// silence, if it stays, is no time-out.
    pub fn handle_unreachable(&mut self, server: SocketAddr, error: IcmpError) {
        for request in &mut self.requests {
            if request.server == server && request.sends > 0 && request.outcome == Outcome::Pending
            {
                match error {
                    IcmpError::Hard => request.outcome = Outcome::Unreachable,
                    IcmpError::Soft => request.is_in_doubt = true,
                }
            }
        }
    }

    /// A datagram that may be an answer came in on `socket` from `source`. A request ends with its
    /// first answer; the id and the source must be those of the request.
    ///
    /// # Errors
    /// [`Reject`]: no answer of ours. The request, if there is one, goes on.
    pub fn handle_datagram(
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
        if let (1, Some(sent)) = (request.sends, request.first_sent) {
            request.round_trip = Some(now.saturating_duration_since(sent));
        }
        self.start_grace(now);
        Ok(Answered {
            request: number,
            answer,
        })
    }

    /// From the quorum on, the servers still missing get one grace period.
    fn start_grace(&mut self, now: Instant) {
        if self.config.policy != Policy::All && self.grace_ends.is_none() && self.has_quorum() {
            let longest = self
                .requests
                .iter()
                .filter_map(|r| r.round_trip)
                .max()
                .unwrap_or_default();
            self.grace_ends = Some(after(now, self.config.grace.max(longest)));
        }
    }

    /// Two distinct server addresses answered one base: the least that can prove independence. If
    /// any two do, one of them is not the first one's.
    fn has_quorum(&self) -> bool {
        self.possible().any(|a| {
            self.first_on(a.base)
                .is_some_and(|first| !a.server.is_same_address(&first.server))
        })
    }

    fn first_on(&self, base: SocketAddr) -> Option<Observation> {
        self.possible().find(|o| o.base == base)
    }

    /// The observations that count: a lie no NAT can tell is none, nor is a mapping of the other
    /// family one that compares with the base's.
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
        let pending = || {
            self.requests
                .iter()
                .filter(|r| r.outcome == Outcome::Pending)
        };
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

    /// Whether it is enough: every request ended, or what is missing cannot change the verdict, or
    /// the grace period or the deadline is over. From then on nothing is sent.
    pub fn is_complete(&mut self, now: Instant) -> bool {
        if !self.ended {
            self.give_up_single_servers(now);
            self.ended = (self.names == 0
                && self.requests.iter().all(|r| r.outcome != Outcome::Pending))
                || now >= self.deadline
                || self.grace_ends.is_some_and(|end| now >= end)
                || self.is_decided();
            if now >= self.deadline {
                self.time_out(now);
            }
        }
        self.ended
    }

    /// What is missing cannot change the verdict, as far as the policy cares for one.
    fn is_decided(&self) -> bool {
        match self.config.policy {
            Policy::FirstAnswer => self.possible().next().is_some(),
            Policy::Decisive => self.is_settled(),
            Policy::All => false,
        }
    }

    /// Whether nothing that is missing can change how the NAT is judged to map.
    fn is_settled(&self) -> bool {
        // a name may still lead to servers that are asked from another base
        let bases_may_grow = self.sockets.len() > 1
            || self
                .sockets
                .iter()
                .any(|socket| socket.ip().is_unspecified());
        if self.names > 0 && bases_may_grow {
            return false;
        }
        let mut heard = Evidence::new();
        for observation in self.possible() {
            heard.observe(observation);
        }
        let pending = self
            .requests
            .iter()
            .filter(|request| request.outcome == Outcome::Pending)
            .map(|request| PendingRequest {
                base: request.base,
                server: request.server.into(),
            });
        heard.is_settled(pending)
    }

    /// When nobody waits for the answer to this request any longer.
    fn given_up_at(&self, request: &Request) -> Option<Instant> {
        Some(after(request.first_sent?, self.config.server_deadline?))
    }

    fn give_up_single_servers(&mut self, now: Instant) {
        let Some(server_deadline) = self.config.server_deadline else {
            return;
        };
        for request in &mut self.requests {
            request.time_out(server_deadline, now);
        }
    }

    /// What was asked late, as after a slow look-up of a name, had no time to be answered: its
    /// silence is no evidence (RFC 8489 section 6.2.1: silence means something once the RTO is
    /// over, which estimates the round trip). Whoever waits long for the first ones expects
    /// long round trips; a quarter of the usual 3 s is longer than one by satellite.
    fn time_out(&mut self, now: Instant) {
        let fair = self.config.initial_rto.max(self.config.deadline / 4);
        for request in &mut self.requests {
            request.time_out(fair, now);
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

    /// Adds what is known so far, and forgets what it contradicts.
    ///
    /// A mapping that nothing used has expired, and the next packet makes another (RFC 4787 section
    /// 4.3): two mappings of a cone, compared, would look like those of a symmetric NAT. So
    /// what an earlier plan observed on a base stays beside what this one does only if a server
    /// was heard again, and every such server saw the mapping that it saw then. As long as
    /// nothing was heard on the base, nothing says that it has another.
    pub fn record(&self, evidence: &mut Evidence) {
        let mut now = Evidence::new();
        for request in &self.requests {
            now.record_outcome(request.server.into(), request.outcome);
            if let Some(observation) = request.observation() {
                now.observe(observation);
            }
        }
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

/// What the mappings that may be compared have in common: base and family.
const fn comparable(observation: &Observation) -> (SocketAddr, bool) {
    (observation.base, observation.mapped.is_ipv4())
}

/// Whether what was observed `earlier` may be of another mapping than what is observed `now`.
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
