//! Attackers without secrets: each class of forged datagrams against each stand.

use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use testbed::kernel::forger::{Forged, Forger};

use super::child::Side;
use super::classes::Strange;
use super::ground::{BARE, CONSUMER, Ground, PRODUCER};
use super::side::{Look, Orders, Over, Stage};
use super::{Plan, Row};
use crate::kernel::namespace::Namespace;
use crate::{Failure, bounds};

/// Longest wait for the first path.
const PATH: Duration = Duration::from_secs(20);
/// From the first echo until a path is quiet.
const SETTLED: Duration = Duration::from_millis(500);
/// Longest wait for the last echoes of a class.
const LATE: Duration = Duration::from_secs(2);
/// Longest wait for enough attempts in [`Stage::Connecting`].
const ATTEMPTS_WITHIN: Duration = Duration::from_secs(30);
/// Longest end of a process.
const END: Duration = Duration::from_secs(5);
/// Measurements of a class whose CPU is too much.
const MEASUREMENTS: u32 = 3;
/// Parts of a flood: the side is looked at between them.
const PARTS: u64 = 8;

/// The side that an attacker aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    Consumer,
    Producer,
}

/// Where an attack takes place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stand {
    pub(super) name: &'static str,
    over: Over,
    stage: Stage,
    aim: Aim,
}

const fn stand(name: &'static str, over: Over, stage: Stage, aim: Aim) -> Stand {
    Stand {
        name,
        over,
        stage,
        aim,
    }
}

/// Both transports, both stages; over a data channel both roles of DTLS, and on an open path both
/// versions: the producer is the client.
pub(super) const STANDS: [Stand; 8] = [
    stand("ICE, open", Over::Ice, Stage::Connected, Aim::Consumer),
    stand(
        "channel, open, DTLS server",
        Over::DataChannel,
        Stage::Connected,
        Aim::Consumer,
    ),
    stand(
        "channel, open, DTLS client",
        Over::DataChannel,
        Stage::Connected,
        Aim::Producer,
    ),
    stand(
        "channel, open, DTLS 1.2 server",
        Over::DataChannel12,
        Stage::Connected,
        Aim::Consumer,
    ),
    stand(
        "channel, open, DTLS 1.2 client",
        Over::DataChannel12,
        Stage::Connected,
        Aim::Producer,
    ),
    stand(
        "ICE, connecting",
        Over::Ice,
        Stage::Connecting,
        Aim::Consumer,
    ),
    stand(
        "channel, connecting, DTLS server",
        Over::DataChannel,
        Stage::Connecting,
        Aim::Consumer,
    ),
    stand(
        "channel, connecting, DTLS client",
        Over::DataChannel,
        Stage::Connecting,
        Aim::Producer,
    ),
];

/// The processes of a stand.
struct Siege<'a> {
    stand: Stand,
    plan: &'a Plan,
    consumer: Side,
    producer: Side,
    bare: Side,
    forger: Forger,
    target: SocketAddrV4,
    /// CPU of the side without an attack, in microseconds per second.
    quiet: f64,
}

/// Every class against one stand; `tell` gets each row as it is done.
pub(super) fn run(
    stand: Stand,
    classes: &[&Strange],
    plan: &Plan,
    tell: &(dyn Fn(&Row) + Sync),
) -> Result<Vec<Row>, Failure> {
    let ground = Ground::new()?;
    let (place, source, target) = match stand.aim {
        Aim::Consumer => (&ground.consumer, PRODUCER, CONSUMER),
        Aim::Producer => (&ground.producer, CONSUMER, PRODUCER),
    };
    let producer = Orders::Producer {
        over: stand.over,
        url: ground.url.clone(),
        local: PRODUCER,
    };
    let consumer = Orders::Consumer {
        over: stand.over,
        stage: stand.stage,
        url: ground.url.clone(),
        stun: ground.stun,
        local: CONSUMER,
        beside: None,
    };
    let bare = Orders::Bare {
        local: SocketAddrV4::new(*target.ip(), BARE),
    };
    let mut siege = Siege {
        stand,
        plan,
        producer: Side::start(&ground.producer, &producer)?,
        consumer: Side::start(&ground.consumer, &consumer)?,
        bare: Side::start(place, &bare)?,
        forger: Forger::new(&ground.core, source, target)?,
        target,
        quiet: 0.0,
    };
    let has_echo = |look: &Look| look.echoed > 0;
    let connected = siege.consumer.until(PATH, has_echo)?;
    connected.ok_or("there is no path even without an attack")?;
    siege.quiet = siege.quiet()?;
    let mut rows = Vec::new();
    for class in classes {
        let row = siege.measured(place, class).unwrap_or_else(|failure| {
            let mut row = Row::new(stand.name, class.name);
            row.faults.push(failure.to_string());
            row
        });
        tell(&row);
        rows.push(row);
    }
    for (name, side) in [
        ("consumer", &mut siege.consumer),
        ("producer", &mut siege.producer),
    ] {
        let ended = side.end(END)?;
        if !ended.is_some_and(|status| status.success()) {
            let mut row = Row::new(stand.name, "the end");
            row.faults.push(match ended {
                Some(status) => format!("the {name} ended with {status}"),
                None => format!("the {name} did not end within {END:?}"),
            });
            tell(&row);
            rows.push(row);
        }
    }
    Ok(rows)
}

impl Siege<'_> {
    fn side(&mut self) -> &mut Side {
        match self.stand.aim {
            Aim::Consumer => &mut self.consumer,
            Aim::Producer => &mut self.producer,
        }
    }

    fn quiet(&mut self) -> Result<f64, Failure> {
        // the end of the handshake is no part of it
        thread::sleep(SETTLED);
        let (began, before) = (Instant::now(), self.side().look()?);
        thread::sleep(self.plan.quiet);
        let after = self.side().look()?;
        Ok((after.cpu - before.cpu) as f64 / began.elapsed().as_secs_f64())
    }

    /// The class, once more where CPU alone is too much: other programs only ever add to it.
    fn measured(&mut self, place: &Namespace, class: &Strange) -> Result<Row, Failure> {
        let mut row = self.class(place, class)?;
        for _ in 1..MEASUREMENTS {
            if !row.is_slow_only() {
                break;
            }
            row = self.class(place, class)?;
        }
        Ok(row)
    }

    fn class(&mut self, place: &Namespace, class: &Strange) -> Result<Row, Failure> {
        let mut row = Row::new(self.stand.name, class.name);
        let mut rng = SmallRng::seed_from_u64(1);
        let (counted, before) = (self.consumer.look()?, self.side().look()?);
        let (began, until) = (Instant::now(), Instant::now() + self.plan.per_class);
        let mut most = before.heap;
        loop {
            let part = (self.plan.datagrams / PARTS).max(1);
            let sent = self.flood(place, part, until, || (class.make)(&mut rng))?;
            row.sent += sent;
            most = most.max(self.side().look()?.heap);
            let is_enough = row.sent >= self.plan.datagrams || Instant::now() >= until;
            let attempts = self.consumer.look()?.sent - counted.sent;
            let is_late = began.elapsed() >= ATTEMPTS_WITHIN;
            match self.stand.stage {
                Stage::Connected if is_enough && attempts >= self.plan.echoes => break,
                Stage::Connecting if is_enough && attempts >= self.plan.attempts => break,
                _ if is_enough && is_late => break,
                // attempts need their time, and the attack goes on meanwhile
                _ if is_enough => thread::sleep(Duration::from_millis(10)),
                _ => {}
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let after = self.side().look()?;
        if self.stand.stage == Stage::Connected {
            let is_back = |look: &Look| look.echoed - counted.echoed >= look.sent - counted.sent;
            // one is always on its way
            let _ = self.consumer.until(LATE, is_back)?;
        }
        let now = self.consumer.look()?;
        most = most.max(after.heap);
        row.heap = most - before.heap;
        row.asked = now.sent - counted.sent;
        row.echoed = now.echoed - counted.echoed;
        let bare = self.bare(place, class, row.sent)?;
        let cpu = (after.cpu - before.cpu) as f64 - self.quiet * seconds;
        if self.stand.stage == Stage::Connected && row.sent > 0 {
            let micros = cpu.max(0.0) / row.sent as f64;
            (row.micros, row.cpu) = (Some(micros), Some(micros / bare));
            row.is_delivered = self.stand.over == Over::Ice && !is_of_ice(&(class.make)(&mut rng));
        }
        row.panics = after.panics;
        row.judge(&counted, &now, self.stand.stage, bounds::SIEGE_HEAP);
        Ok(row)
    }

    /// CPU of a bare socket for the same datagrams, in microseconds each.
    fn bare(&mut self, place: &Namespace, class: &Strange, sent: u64) -> Result<f64, Failure> {
        let count = sent.clamp(1, self.plan.bare);
        let mut rng = SmallRng::seed_from_u64(1);
        self.forger.aim(SocketAddrV4::new(*self.target.ip(), BARE));
        let before = self.bare.look()?;
        let until = Instant::now() + self.plan.per_class;
        let sent = self.flood(place, count, until, || match (class.make)(&mut rng) {
            // a bare socket gets no ICMP error: a datagram of its length instead
            Forged::Icmp { .. } => Forged::Udp(vec![0; 36]),
            forged => forged,
        });
        self.forger.aim(self.target);
        let sent = sent?;
        let received = |look: &Look| look.sent - before.sent >= sent;
        let _ = self.bare.until(LATE, received)?;
        let after = self.bare.look()?;
        Ok((after.cpu - before.cpu).max(1) as f64 / sent.max(1) as f64)
    }

    /// Sends from the core; the queue of the side is read in its own namespace.
    fn flood(
        &mut self,
        place: &Namespace,
        count: u64,
        until: Instant,
        make: impl FnMut() -> Forged + Send,
    ) -> Result<u64, Failure> {
        let forger = &mut self.forger;
        place.inside(|| forger.flood(count, until, make))
    }
}

/// Whether ICE itself has to read it. Plain ICE hands all else on to the application, as it would a
/// datagram of the peer: nothing below the application can know one from the other.
fn is_of_ice(forged: &Forged) -> bool {
    match forged {
        Forged::Icmp { .. } => true,
        Forged::Udp(payload) => {
            payload.get(4..8) == Some(&[0x21, 0x12, 0xa4, 0x42]) && payload[0] < 4
        }
    }
}
