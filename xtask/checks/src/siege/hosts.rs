//! Hostile hosts: a STUN server, a TURN server and a signalling service that abuse each attempt that
//! asks them, while an honest path in the same process goes on.

mod serve;

use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use self::serve::{Behaviour, Hosts};
use super::child::Side;
use super::classes::{HostileServer, HostileService, SERVICES, STUN_SERVERS, TURN_SERVERS};
use super::ground::{Ground, PRODUCER};
use super::honest::Honest;
use super::side::{Look, Meeting, Orders, Over};
use super::{Plan, Row};
use crate::{Failure, bounds};

/// The names of the stands.
pub(super) const STANDS: [&str; 3] = [
    "hostile STUN server",
    "hostile TURN server",
    "hostile signalling service",
];
/// Ports of the attempts that meet a hostile host, and of the producer that they may reach.
const BESIDE: u16 = 40_021;
const PEER: u16 = 40_022;
/// Longest attempts: a path ends them sooner. With a hostile signalling service an attempt goes on
/// until it is cancelled, because a volunteer may come at any time.
const LONGEST_STUN: Duration = Duration::from_secs(8);
const LONGEST_SIGNALLING: Duration = Duration::from_millis(700);
/// Longest end of an attempt: its own waits, the end of a relay whose server does not free it, and
/// the wait of a client for a service.
const ENDED: Duration = Duration::from_secs(40);
/// Longest wait until the memory of an ended attempt is free.
const FREED: Duration = Duration::from_secs(10);

/// The classes of one stand.
#[derive(Clone)]
pub(super) enum Classes {
    Stun(Vec<&'static HostileServer>),
    Turn(Vec<&'static HostileServer>),
    Signalling(Vec<&'static HostileService>),
}

impl Classes {
    /// Those whose names are wanted, by stand.
    pub(super) fn wanted(is_wanted: impl Fn(&str, &str) -> bool) -> Vec<Self> {
        let servers = |stand: &str, all: &'static [HostileServer]| -> Vec<&'static HostileServer> {
            all.iter()
                .filter(|class| is_wanted(stand, class.name))
                .collect()
        };
        let [stun, turn, signalling] = STANDS;
        let services: Vec<_> = SERVICES
            .iter()
            .filter(|class| is_wanted(signalling, class.name))
            .collect();
        let all = [
            Self::Stun(servers(stun, STUN_SERVERS)),
            Self::Turn(servers(turn, TURN_SERVERS)),
            Self::Signalling(services),
        ];
        all.into_iter()
            .filter(|classes| classes.len() > 0)
            .collect()
    }

    fn len(&self) -> usize {
        match self {
            Self::Stun(classes) | Self::Turn(classes) => classes.len(),
            Self::Signalling(classes) => classes.len(),
        }
    }

    fn stand(&self) -> &'static str {
        let [stun, turn, signalling] = STANDS;
        match self {
            Self::Stun(_) => stun,
            Self::Turn(_) => turn,
            Self::Signalling(_) => signalling,
        }
    }

    fn behaviours(&self) -> Vec<(&'static str, Behaviour)> {
        match self {
            Self::Stun(classes) => classes
                .iter()
                .map(|class| (class.name, Behaviour::Stun(class)))
                .collect(),
            Self::Turn(classes) => classes
                .iter()
                .map(|class| (class.name, Behaviour::Turn(class)))
                .collect(),
            Self::Signalling(classes) => classes
                .iter()
                .map(|class| (class.name, Behaviour::Signalling(class)))
                .collect(),
        }
    }

    /// The attempts that meet the host.
    fn meeting(&self, hosts: &Hosts, ground: &Ground) -> Meeting {
        match self {
            Self::Stun(_) => Meeting::Peer {
                url: ground.abuse_url.clone(),
                // of two servers, one is honest
                stun: vec![hosts.stun, ground.stun],
                port: BESIDE,
                within: Some(LONGEST_STUN),
            },
            Self::Turn(_) => Meeting::Relay {
                turn: hosts.turn,
                port: BESIDE,
            },
            Self::Signalling(_) => Meeting::Peer {
                url: hosts.url.clone(),
                stun: vec![ground.stun],
                port: BESIDE,
                within: Some(LONGEST_SIGNALLING),
            },
        }
    }
}

/// All classes of one stand, one after the other, against one process.
pub(super) fn run(
    classes: &Classes,
    plan: &Plan,
    tell: &(dyn Fn(&Row) + Sync),
) -> Result<Vec<Row>, Failure> {
    let ground = Ground::new()?;
    let hosts = Hosts::start(&ground.core)?;
    let peer = Orders::Producer {
        over: Over::DataChannel,
        url: ground.abuse_url.clone(),
        local: SocketAddrV4::new(*PRODUCER.ip(), PEER),
    };
    let _peer = Side::start(&ground.producer, &peer)?;
    let mut honest = Honest::start(&ground, classes.meeting(&hosts, &ground))?;
    let mut rows = Vec::new();
    for (name, behaviour) in classes.behaviours() {
        let mut row = Row::new(classes.stand(), name);
        if let Err(failure) = one(&mut row, behaviour, &hosts, &mut honest, plan) {
            row.faults.push(failure.to_string());
        }
        tell(&row);
        rows.push(row);
    }
    hosts.set(None);
    let at_the_end = honest.end(classes.stand())?;
    at_the_end.iter().for_each(tell);
    rows.extend(at_the_end);
    Ok(rows)
}

fn one(
    row: &mut Row,
    behaviour: Behaviour,
    hosts: &Hosts,
    honest: &mut Honest,
    plan: &Plan,
) -> Result<(), Failure> {
    // an attempt that began under the class before is none of this one's
    let earlier = honest.look()?;
    hosts.set(None);
    let is_clear = |look: &Look| look.beside.ended > earlier.beside.ended;
    let before = honest.until(ENDED, is_clear)?;
    let before = before.ok_or("an attempt with an honest host did not end")?;
    let (ended, path) = (before.beside.ended, before.beside.paths);
    let third_party = hosts.third_party();
    hosts.set(Some(behaviour));
    // the first end may be that of an attempt that began before
    let enough = ended + plan.attempts + 1;
    let asked = before.sent;
    let watched = honest.watch(before, ENDED, |look| {
        // attempts may end sooner than the first honest datagram leaves
        Ok(look.beside.ended >= enough && look.sent > asked)
    })?;
    hosts.set(None);
    let now = &watched.now;
    let attempts = now.beside.ended - ended;
    let paths = now.beside.paths - path;
    row.sent = hosts.sent();
    let cause = &now.beside.cause;
    row.note = format!("{attempts} attempts, {paths} paths; {cause}");
    if now.beside.ended < enough {
        let within = ENDED.as_secs();
        row.faults
            .push(format!("only {attempts} attempts ended in {within} s"));
    }
    if row.sent == 0 {
        row.faults.push("nothing was sent".into());
    }
    if matches!(behaviour, Behaviour::Stun(_)) && paths == 0 {
        row.faults
            .push("no attempt found its peer, though one server is honest".into());
    }
    honest.judge(row, &watched, FREED, "the attempts had ended")?;
    let third = hosts.third_party();
    let (packets, bytes) = (
        third.packets - third_party.packets,
        third.bytes - third_party.bytes,
    );
    let allowed = attempts + 1;
    if packets > bounds::SIEGE_THIRD_PARTY_PACKETS * allowed
        || bytes > bounds::SIEGE_THIRD_PARTY_BYTES * allowed
    {
        row.faults.push(format!(
            "a third party got {packets} packets, {bytes} bytes"
        ));
    } else if packets > 0 {
        row.note
            .push_str(&format!("; {packets} packets to a third party"));
    }
    Ok(())
}

/// Datagrams that a party got which has never answered.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ThirdParty {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// Where a third party is, whom a hostile host names.
pub(super) const THIRD_PARTY: SocketAddrV4 = SocketAddrV4::new(super::ground::CORE, 7);

/// The address of a socket that is a `SocketAddr` for an order.
pub(super) const fn address(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(super::ground::CORE, port))
}
