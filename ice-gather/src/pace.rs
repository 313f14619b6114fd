//! Which checks and answers of the agent may leave toward an address that has not answered yet: no
//! socket, no clock.
//!
//! A peer signals any addresses it likes, and signs requests from any source that it can forge. Only
//! an answer to a check proves that there is a peer, because a check's transaction id is known to
//! the address that got it. Until then an address gets few packets: the agent's checks at the pace of
//! RFC 8445 section 14, all pairs together, and the candidates that were checked least go first.
//! The library sends a check that was held back again in its next round, so nothing waits here.
//!
//! The bounds of one place, which is an IPv4 address or an IPv6 network of 64 bits:
//!
//! | packets | most | when |
//! |---|---|---|
//! | checks | 16 | 10 at once, later ones 0.5 s after the first, then 1 s, 2 s, 4 s, 8 s, 16 s after it |
//! | checks of addresses whose signed request came in | 8 | at once, then 50 ms after it, then 100 ms, 200 ms and so on |
//! | answers to signed requests | 6 | at once |

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::common::canonical;

/// Least time between two checks, all pairs together (RFC 8445 section 14.2).
const TA: Duration = Duration::from_millis(50);
/// Checks that may leave at once after a pause: one to each candidate of an honest peer, so that the
/// one that works does not wait for the others.
const AT_ONCE: u8 = 10;
/// Checks of one place that the peer's requests did not ask for. The last ones go out at the pace
/// of one request's repetitions (RFC 8489 section 6.2.1), because a peer may begin much later.
const MAX_CHECKS: u8 = 16;
/// The first repetition after those at once (RFC 8489 section 6.2.1, RTO).
const RTO: Duration = Duration::from_millis(500);
/// Checks of one place that signed requests from there asked for.
const MAX_TRIGGERED: u8 = 8;
/// Answers to signed requests from one place. The peer needs one.
const MAX_ANSWERS: u8 = 6;
/// Addresses that are told apart: 32 candidates of the peer and as many learnt, on each of two
/// sockets and a relay.
const MAX_TARGETS: usize = 192;

/// Candidates of the peer that are taken in one place. A peer behind one NAT has a port per server
/// it asked, and seldom as many as this.
pub(crate) const MAX_CANDIDATES_PER_PLACE: usize = 16;

/// Whether a packet may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Leaves,
    /// Another address has its turn, or the place has to wait: the library tries again.
    Waits,
    /// The place got all the packets that a place gets without an answer.
    Spent,
}

/// The packets that left toward addresses without an answer.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    targets: Vec<Target>,
    /// When the latest check is paid for, at one each [`TA`].
    paid_at: Option<Instant>,
    /// Twice the time between two rounds of the library: an address that was held back and did not
    /// come again by then has no pair any more.
    patience: Duration,
}

/// An address of the peer.
#[derive(Debug)]
struct Target {
    address: SocketAddr,
    /// Checked through a relay, beside the direct pairs.
    is_relayed: bool,
    has_answered: bool,
    checks: u8,
    triggered: u8,
    answers: u8,
    /// When the first check left.
    first: Option<Instant>,
    /// When the first signed request came in.
    requested: Option<Instant>,
    /// When a check was held back.
    held: Option<Instant>,
}

impl Pace {
    /// The library has a round of checks each `interval`.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        self.patience = interval.saturating_mul(2).saturating_add(TA);
    }

    /// Whether a check may leave now; then it counts as sent.
    pub(crate) fn check(
        &mut self,
        address: SocketAddr,
        is_relayed: bool,
        now: Instant,
    ) -> Admission {
        let address = canonical(address);
        if self.has_answered(address) {
            return Admission::Leaves;
        }
        let Some(at) = self.target(address, is_relayed) else {
            return Admission::Spent;
        };
        if self.may_trigger(at, now) {
            self.targets[at].triggered += 1;
            // these leave first, and the others pay (RFC 8445 section 6.1.4.1)
            self.pay(now);
            return Admission::Leaves;
        }
        let place = self.place(address);
        if place.checks >= MAX_CHECKS {
            return Admission::Spent;
        }
        if !place.is_open(now) || !self.has_turn(at, now) {
            self.targets[at].held = Some(now);
            return Admission::Waits;
        }
        self.pay(now);
        let target = &mut self.targets[at];
        target.checks += 1;
        target.first.get_or_insert(now);
        target.held = None;
        Admission::Leaves
    }

    /// Whether an answer to a request may leave; then it counts as sent.
    pub(crate) fn answer(&mut self, address: SocketAddr, is_relayed: bool) -> Admission {
        let address = canonical(address);
        if self.has_answered(address) {
            return Admission::Leaves;
        }
        let Some(at) = self.target(address, is_relayed) else {
            return Admission::Spent;
        };
        if self.place(address).answers >= MAX_ANSWERS {
            return Admission::Spent;
        }
        self.targets[at].answers += 1;
        Admission::Leaves
    }

    /// A signed request came in. Its source may be forged, so it earns a few checks and no more.
    pub(crate) fn on_request(&mut self, address: SocketAddr, is_relayed: bool, now: Instant) {
        if let Some(at) = self.target(canonical(address), is_relayed) {
            self.targets[at].requested.get_or_insert(now);
        }
    }

    /// A check was answered by the address it went to: there is a peer.
    pub(crate) fn on_answered(&mut self, address: SocketAddr, is_relayed: bool) {
        if let Some(at) = self.target(canonical(address), is_relayed) {
            self.targets[at].has_answered = true;
        }
    }

    fn has_answered(&self, address: SocketAddr) -> bool {
        self.targets
            .iter()
            .any(|target| target.has_answered && target.address == address)
    }

    /// Where this address is kept; `None` if there is no room for it.
    fn target(&mut self, address: SocketAddr, is_relayed: bool) -> Option<usize> {
        let is_it = |t: &Target| (t.address, t.is_relayed) == (address, is_relayed);
        if let Some(at) = self.targets.iter().position(is_it) {
            return Some(at);
        }
        (self.targets.len() < MAX_TARGETS).then(|| {
            self.targets.push(Target {
                address,
                is_relayed,
                has_answered: false,
                checks: 0,
                triggered: 0,
                answers: 0,
                first: None,
                requested: None,
                held: None,
            });
            self.targets.len() - 1
        })
    }

    /// The packets of all addresses in one place that have not answered.
    fn place(&self, address: SocketAddr) -> Place {
        let here = place_of(address.ip());
        let is_here = |t: &&Target| !t.has_answered && place_of(t.address.ip()) == here;
        let mut place = Place::default();
        for target in self.targets.iter().filter(is_here) {
            place.checks = place.checks.saturating_add(target.checks);
            place.triggered = place.triggered.saturating_add(target.triggered);
            place.answers = place.answers.saturating_add(target.answers);
            place.first = [place.first, target.first].into_iter().flatten().min();
        }
        place
    }

    /// Whether a signed request asked for this check.
    fn may_trigger(&self, at: usize, now: Instant) -> bool {
        let target = &self.targets[at];
        let Some(requested) = target.requested else {
            return false;
        };
        let wait = match target.triggered.checked_sub(1) {
            None => Duration::ZERO,
            Some(repeated) => doubled(TA, repeated),
        };
        self.place(target.address).triggered < MAX_TRIGGERED
            && now.saturating_duration_since(requested) >= wait
    }

    /// Whether a check may be paid for, and no address that could be checked instead was checked less
    /// often.
    fn has_turn(&self, at: usize, now: Instant) -> bool {
        let owed = self
            .paid_at
            .map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now));
        let checks = self.targets[at].checks;
        let waits = |target: &Target| {
            let held = target.held.map(|held| now.saturating_duration_since(held));
            held.is_some_and(|held| held <= self.patience)
                && target.checks < checks
                && self.place(target.address).is_open(now)
        };
        owed <= TA * u32::from(AT_ONCE - 1) && !self.targets.iter().any(waits)
    }

    fn pay(&mut self, now: Instant) {
        self.paid_at = Some(self.paid_at.map_or(now, |paid| paid.max(now)) + TA);
    }
}

/// The packets of one place.
#[derive(Debug, Default)]
struct Place {
    checks: u8,
    triggered: u8,
    answers: u8,
    first: Option<Instant>,
}

impl Place {
    /// Whether another check is due.
    fn is_open(&self, now: Instant) -> bool {
        match (self.checks.checked_sub(AT_ONCE), self.first) {
            (Some(repeated), Some(first)) => {
                self.checks < MAX_CHECKS
                    && now.saturating_duration_since(first) >= doubled(RTO, repeated)
            }
            _ => true,
        }
    }
}

/// This time, doubled so often.
fn doubled(time: Duration, times: u8) -> Duration {
    time.saturating_mul(1 << times.min(16))
}

/// The place of an address: itself, or its network, because one host has a whole IPv6 network of 64
/// bits (RFC 7934).
pub(crate) fn place_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip => ip,
    }
}
