//! Attackers with valid keys: each abuse of a peer's own path, while an honest path in the same
//! process goes on.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use super::child::Side;
use super::classes::Abuse;
use super::ground::{Ground, PRODUCER};
use super::honest::{Honest, PATH};
use super::side::{Look, Meeting, Orders};
use super::{Plan, Row};
use crate::Failure;

/// The name of the stand.
pub(super) const STAND: &str = "peer with keys";
/// Ports of the path that is abused.
const ABUSED: u16 = 40_011;
const ABUSER: u16 = 40_012;
/// Longest end of a path behind the last datagram of its abuser: the handshake has five seconds, and
/// silence is noticed in thirty at the most.
const ENDED: Duration = Duration::from_secs(40);
/// Longest wait until what an ended path held is free.
const FREED: Duration = Duration::from_secs(5);

/// Every abuse, one after the other, against one process.
pub(super) fn run(
    abuses: &[&Abuse],
    plan: &Plan,
    tell: &(dyn Fn(&Row) + Sync),
) -> Result<Vec<Row>, Failure> {
    let ground = Ground::new()?;
    let beside = Meeting::Peer {
        url: ground.abuse_url.clone(),
        stun: vec![ground.stun],
        port: ABUSED,
        within: None,
    };
    let mut honest = Honest::start(&ground, beside)?;
    let mut rows = Vec::new();
    for abuse in abuses {
        let mut row = Row::new(STAND, abuse.name);
        if let Err(failure) = one(&mut row, abuse, &ground, &mut honest, plan) {
            row.faults.push(failure.to_string());
        }
        tell(&row);
        rows.push(row);
    }
    let at_the_end = honest.end(STAND)?;
    at_the_end.iter().for_each(tell);
    rows.extend(at_the_end);
    Ok(rows)
}

fn one(
    row: &mut Row,
    abuse: &Abuse,
    ground: &Ground,
    honest: &mut Honest,
    plan: &Plan,
) -> Result<(), Failure> {
    let orders = Orders::Abuser {
        class: abuse.name.to_owned(),
        url: ground.abuse_url.clone(),
        local: SocketAddrV4::new(*PRODUCER.ip(), ABUSER),
        within: plan.abuse,
    };
    let before = honest.look()?;
    let (ended, cpu) = (before.beside.ended, before.cpu);
    let mut abuser = Side::start(&ground.producer, &orders)?;
    let began = Instant::now();
    let mut sent = Look::default();
    let watched = honest.watch(before, PATH + plan.abuse + ENDED, |look| {
        sent = abuser.look()?;
        Ok(look.beside.ended > ended)
    })?;
    let beside = &watched.now.beside;
    let after = began.elapsed().as_secs_f64();
    row.note = format!("{}, after {after:.1} s", beside.cause);
    if beside.ended == ended {
        row.faults.push("its path did not end".into());
    }
    row.sent = sent.sent;
    if sent.sent == 0 {
        row.faults
            .push(format!("nothing was sent: {}", sent.causes.join(", ")));
    }
    let now = honest.judge(row, &watched, FREED, "the path had ended")?;
    row.micros = Some((now.cpu - cpu) as f64 / sent.sent.max(1) as f64);
    Ok(())
}
