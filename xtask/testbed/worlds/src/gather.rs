//! A gatherer in simulated time: it asks every server from every base, sends again with doubling
//! gaps, and waits until the deadline.

use std::net::SocketAddr;
use std::time::Duration;

use crate::network::{Loss, Origin, Reply, World};
use crate::plain::{End, Facts, Seen};
use crate::random::Random;

/// As long as a gathering takes if some server stays silent.
pub const DEADLINE: Duration = Duration::from_secs(3);
/// What a silent server is given, so that its silence means something.
const FULL_WAIT: Duration = Duration::from_millis(1_500);
const FIRST_GAP: Duration = Duration::from_millis(250);
const MAX_COPIES: u8 = 4;
/// Between two requests.
pub const PACE: Duration = Duration::from_millis(1);

/// A request and what became of it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The socket it leaves from.
    pub base: usize,
    /// The server it is for.
    pub server: usize,
    /// The place of the first copy in the order of sending.
    pub sequence: u32,
    /// How many copies went out.
    pub copies: u8,
    first_sent: Duration,
    next_send: Duration,
    gap: Duration,
    /// As many first copies are lost before they reach a NAT.
    lost: u8,
    /// What came back, if anything did.
    pub ended: Option<Ended>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Ended {
    /// When.
    pub at: Duration,
    /// What it was.
    pub reply: Reply,
    /// How the address in it came about.
    pub origin: Origin,
}

impl Request {
    /// How it ended, as known at `now`.
    pub fn end(&self, now: Duration) -> End {
        match self.ended.as_ref().filter(|ended| ended.at <= now) {
            Some(ended) => match ended.reply {
                Reply::Mapped(_) => End::Answered,
                Reply::Refused => End::Refused,
                Reply::Closed => End::Closed,
                Reply::Unreachable => End::Unreachable,
                // the answer is no answer, and the request goes on
                Reply::Rejected => self.silence(now),
            },
            None => self.silence(now),
        }
    }

    fn silence(&self, now: Duration) -> End {
        if now < DEADLINE {
            End::Pending
        } else if self.copies > 1 && DEADLINE - self.first_sent >= FULL_WAIT {
            End::TimedOut
        } else {
            End::Brief
        }
    }

    /// Whether an answer came in, by `now`, that had to be rejected.
    pub fn is_rejected(&self, now: Duration) -> bool {
        let mut ended = self.ended.iter();
        ended.any(|ended| ended.reply == Reply::Rejected && ended.at <= now)
    }
}

/// Asks every server from every base of its family.
pub fn gather(world: &mut World, random: &mut Random) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    for (base, of) in world.bases.iter().enumerate() {
        for (server, to) in world.servers.iter().enumerate() {
            let is_of_family =
                |(source, _): &(SocketAddr, usize)| source.is_ipv4() == to.at.is_ipv4();
            if !of.sources.iter().any(is_of_family) {
                continue;
            }
            let at = to.known_at.max(PACE * requests.len() as u32);
            requests.push(Request {
                base,
                server,
                sequence: 0,
                copies: 0,
                first_sent: at,
                next_send: at,
                gap: FIRST_GAP,
                lost: 0,
                ended: None,
            });
        }
        if world.wakes_late {
            let of_base = requests.iter_mut().rev().take_while(|r| r.base == base);
            for (lost, request) in of_base.enumerate() {
                request.lost = (lost as u8).min(MAX_COPIES - 1);
            }
        }
    }
    let mut sent = 0;
    let mut has_happened = false;
    while let Some((next, at)) = due(&requests) {
        if at >= DEADLINE || world.stalls_at.is_some_and(|stall| at >= stall) {
            break;
        }
        if !has_happened && world.event.is_some_and(|(when, _)| at >= when) {
            world.happen();
            has_happened = true;
        }
        let request = &mut requests[next];
        if request.copies == 0 {
            request.sequence = sent;
        }
        sent += 1;
        let is_lost = request.copies < request.lost;
        request.copies += 1;
        request.next_send += request.gap;
        request.gap *= 2;
        let asked = (request.base, request.server);
        let loss = match random.chance(world.loss) {
            _ if is_lost => Loss::Inside,
            false => Loss::None,
            true => random.one_of(&[Loss::Inside, Loss::Outside]),
        };
        if let Some(passage) = world.send(asked, at, loss, random) {
            request.ended.get_or_insert(Ended {
                at: passage.arrives,
                reply: passage.reply,
                origin: passage.origin,
            });
        }
    }
    requests
}

/// The request whose next copy is due first.
fn due(requests: &[Request]) -> Option<(usize, Duration)> {
    let is_open = |request: &&Request| {
        let ended = request.ended.as_ref();
        request.copies < MAX_COPIES
            && !ended.is_some_and(|e| e.reply != Reply::Rejected && e.at <= request.next_send)
    };
    let numbered = requests.iter().enumerate();
    numbered
        .filter(|(_, request)| is_open(request))
        .map(|(number, request)| (number, request.next_send))
        .min_by_key(|(_, at)| *at)
}

/// The evidence at `now`, and which request each observation answers.
pub fn facts(world: &World, requests: &[Request], now: Duration) -> (Facts, Vec<usize>) {
    let mut facts = Facts {
        locals: world.locals.clone(),
        asked: world.never_asked.clone(),
        ..Facts::default()
    };
    let mut answers = Vec::new();
    for (number, request) in requests.iter().enumerate() {
        let server = &world.servers[request.server];
        let end = request.end(now);
        facts.asked.push((server.reported, end));
        facts.rejected += u32::from(request.is_rejected(now));
        let Some(Reply::Mapped(mapped)) = request.ended.as_ref().map(|ended| ended.reply) else {
            continue;
        };
        if end == End::Answered {
            facts.seen.push(Seen {
                base: world.bases[request.base].reported,
                server: server.reported,
                mapped,
                sequence: request.sequence,
                resent: request.copies > 1,
            });
            answers.push(number);
        }
    }
    (facts, answers)
}
