//! Attackers with valid keys: each abuse of a peer's own path, while an honest path in the same
//! process goes on.

use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

use super::child::Side;
use super::classes::Abuse;
use super::ground::{CONSUMER, Ground, PRODUCER};
use super::side::{Look, Meeting, Orders, Over, Stage};
use super::{Plan, Row};
use crate::{Failure, bounds};

/// The name of the stand.
pub(super) const STAND: &str = "peer with keys";
/// Ports of the path that is abused.
const ABUSED: u16 = 40_011;
const ABUSER: u16 = 40_012;
/// Longest wait for a path.
const PATH: Duration = Duration::from_secs(30);
/// Longest end of a path behind the last datagram of its abuser: the handshake has five seconds, and
/// silence is noticed in thirty at the most.
const ENDED: Duration = Duration::from_secs(40);
/// Longest wait until what an ended path held is free.
const FREED: Duration = Duration::from_secs(5);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest end of a process.
const END: Duration = Duration::from_secs(5);

/// Every abuse, one after the other, against one process.
pub(super) fn run(
    abuses: &[&Abuse],
    plan: &Plan,
    tell: &(dyn Fn(&Row) + Sync),
) -> Result<Vec<Row>, Failure> {
    let ground = Ground::new()?;
    let producer = Orders::Producer {
        over: Over::DataChannel,
        url: ground.url.clone(),
        local: PRODUCER,
    };
    let consumer = Orders::Consumer {
        over: Over::DataChannel,
        stage: Stage::Connected,
        url: ground.url.clone(),
        stun: ground.stun,
        local: CONSUMER,
        beside: Some(Meeting::Peer {
            url: ground.abuse_url.clone(),
            stun: vec![ground.stun],
            port: ABUSED,
            within: None,
        }),
    };
    let _producer = Side::start(&ground.producer, &producer)?;
    let mut consumer = Side::start(&ground.consumer, &consumer)?;
    let connected = consumer.until(PATH, |look| look.echoed > 0)?;
    connected.ok_or("there is no path even without an attack")?;
    let mut rows = Vec::new();
    for abuse in abuses {
        let mut row = Row::new(STAND, abuse.name);
        if let Err(failure) = one(&mut row, abuse, &ground, &mut consumer, plan) {
            row.faults.push(failure.to_string());
        }
        tell(&row);
        rows.push(row);
    }
    let ended = consumer.end(END)?;
    if !ended.is_some_and(|status| status.success()) {
        let mut row = Row::new(STAND, "the end");
        row.faults
            .push(format!("the consumer ended with {ended:?}"));
        tell(&row);
        rows.push(row);
    }
    Ok(rows)
}

fn one(
    row: &mut Row,
    abuse: &Abuse,
    ground: &Ground,
    consumer: &mut Side,
    plan: &Plan,
) -> Result<(), Failure> {
    let orders = Orders::Abuser {
        class: abuse.name.to_owned(),
        url: ground.abuse_url.clone(),
        local: SocketAddrV4::new(*PRODUCER.ip(), ABUSER),
        within: plan.abuse,
    };
    let before = consumer.look()?;
    let mut abuser = Side::start(&ground.producer, &orders)?;
    let began = Instant::now();
    let (mut most, mut now) = (before.heap, before.clone());
    let mut sent = Look::default();
    while began.elapsed() < PATH + plan.abuse + ENDED {
        now = consumer.look()?;
        most = most.max(now.heap);
        sent = abuser.look()?;
        if now.beside.ended > before.beside.ended {
            break;
        }
        thread::sleep(PAUSE);
    }
    row.note = format!(
        "{}, after {:.1} s",
        now.beside.cause,
        began.elapsed().as_secs_f64()
    );
    if now.beside.ended == before.beside.ended {
        row.faults.push("its path did not end".into());
    }
    if sent.sent == 0 {
        row.faults
            .push(format!("nothing was sent: {}", sent.causes.join(", ")));
    }
    let freed = |look: &Look| look.heap - before.heap < bounds::SIEGE_HEAP;
    if consumer.until(FREED, freed)?.is_none() {
        let kept = (consumer.look()?.heap - before.heap) / 1024;
        row.faults
            .push(format!("{kept} KiB stayed when the path had ended"));
    }
    let is_back = |look: &Look| look.echoed - before.echoed >= look.sent - before.sent;
    let _ = consumer.until(Duration::from_secs(2), is_back)?;
    let now = consumer.look()?;
    row.sent = sent.sent;
    row.heap = most - before.heap;
    row.asked = now.sent - before.sent;
    row.echoed = now.echoed - before.echoed;
    row.micros = Some((now.cpu - before.cpu) as f64 / sent.sent.max(1) as f64);
    row.judge(
        &before,
        &now,
        Stage::Connected,
        bounds::SIEGE_HEAP_OF_A_PEER,
    );
    Ok(())
}
