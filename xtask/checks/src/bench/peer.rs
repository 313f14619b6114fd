//! The cost of reading the peer's checks in passing: datagrams per second on the agent's reading
//! end of a base with a check among them, beside those without one; and allocations per check.

use std::net::UdpSocket as StdUdpSocket;
use std::time::Duration;

use ice_gather::{AgentConfig, Base, IceAgent, RemoteCandidate, Role};
use nat_summary::CandidateKind;
use serde::Serialize;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, Message, Setter};

use super::data_path::{BURST, DATAGRAM, ROUNDS, Rounds, Run, in_turn, plot_of_ratios, rates};
use super::progress::Progress;
use super::{Good, Section, Spread, Target};
use crate::{Failure, bounds, peers};

/// Bursts to one with a check in it; 512 datagrams.
const BURSTS_PER_CHECK: usize = 8;
/// Rounds are of whole ones.
const BURSTS_PER_ROUND: usize = 96;

/// The datagrams of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mix {
    /// Datagrams of a data channel.
    Data,
    /// One of 512 a check: with consent checks every 2 s each way (RFC 7675 section 5.1) a path
    /// that moves 500 datagrams a second has as many.
    OneCheck,
    /// Checks only.
    Checks,
}

const MIXES: [Mix; 3] = [Mix::Data, Mix::OneCheck, Mix::Checks];

#[derive(Debug, Serialize)]
struct Reading {
    rows: Vec<Row>,
    /// Of the datagrams per second without a check.
    one_check: Spread,
    checks: Spread,
    allocations_per_check: f64,
}

#[derive(Debug, Serialize)]
struct Row {
    burst: &'static str,
    datagrams_per_second: Spread,
    allocations_per_datagram: f64,
}

pub(super) async fn run() -> Result<Section, Failure> {
    // on one thread: where a scheduler puts tasks is nothing of theirs
    let reading = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(measure())
    })
    .await??;
    let ratios = [("one check in 512, of data only", reading.one_check)];
    let (good, gate) = (
        Good::AtLeast(bounds::PEER_READER),
        Good::AtLeast(bounds::PEER_READER_GATE),
    );
    let mut targets: Vec<_> = ratios
        .map(|(what, spread)| Target::ratio(what, spread, good, gate))
        .into();
    targets.push(Target::count(
        "allocations per check",
        0,
        format!("{:.4}", reading.allocations_per_check),
        reading.allocations_per_check < bounds::ALLOCATIONS_ADDED,
    ));
    let heads = vec![
        "read by the agent",
        "datagrams/s p10",
        "median",
        "p90",
        "allocations/datagram",
    ];
    let cells = |row: &Row| {
        let mut cells = vec![row.burst.to_owned()];
        cells.extend(rates(row.datagrams_per_second));
        cells.push(format!("{:.3}", row.allocations_per_datagram));
        cells
    };
    Ok(Section {
        tables: vec![(heads, reading.rows.iter().map(cells).collect())],
        plots: vec![plot_of_ratios(
            "Datagrams per second with checks among them, of data only",
            &ratios,
            bounds::PEER_READER,
        )],
        targets,
        notes: vec![format!(
            "Where all datagrams are checks, which no connection has: {} of data only.",
            reading.checks.times()
        )],
        figures: serde_json::json!(reading),
        ..Section::default()
    })
}

/// One base that reads every mix, by turns, so that nothing else differs.
async fn measure() -> Result<Reading, Failure> {
    let base = Base::bind(peers::loopback()).await?;
    let address = base.local_addrs().next().ok_or("the base has no socket")?;
    let end = base.agent_end().ok_or("the base has no socket")?;
    let agent = IceAgent::new(&base, Role::Controlled, AgentConfig::default()).await?;
    let sender = StdUdpSocket::bind("127.0.0.1:0")?;
    let kind = CandidateKind::Host;
    agent.add_remote(RemoteCandidate {
        address: sender.local_addr()?,
        kind,
        priority: 1,
    });

    let mut rounds = Rounds::<3>::default();
    let mut buffer = [0; 8_192];
    let mut progress = Progress::of("a base that reads checks, rounds");
    for round in 0..=ROUNDS {
        progress.at(round, ROUNDS);
        for burst in 0..BURSTS_PER_ROUND {
            for place in in_turn::<3>(round) {
                let mix = MIXES[place];
                for number in 0..BURST {
                    let is_check = mix == Mix::Checks
                        || (mix == Mix::OneCheck
                            && number == BURST / 2
                            && burst % BURSTS_PER_CHECK == 0);
                    if is_check {
                        sender.send_to(&check(&agent.credentials().pwd)?, address)?;
                    } else {
                        sender.send_to(&DATAGRAM, address)?;
                    }
                }
                let drain = async {
                    for _ in 0..BURST {
                        end.recv_from(&mut buffer).await?;
                    }
                    Ok(())
                };
                rounds.time(place, drain).await?;
                if mix == Mix::OneCheck && burst % BURSTS_PER_CHECK == BURSTS_PER_CHECK - 1 {
                    together(&mut rounds.runs[place].round);
                }
            }
        }
        rounds.end();
    }
    let received = base.peer_view().checks.received as usize;
    let expected = (ROUNDS + 1) * (BURSTS_PER_ROUND * BURST + BURSTS_PER_ROUND / BURSTS_PER_CHECK);
    if received != expected {
        return Err(format!("{received} checks of {expected} were read").into());
    }
    agent.close().await;

    let [data, one, checks] = &rounds.runs;
    let row = |burst, run: &Run| Row {
        burst,
        datagrams_per_second: run.datagrams_per_second(),
        allocations_per_datagram: run.allocations_per_datagram(),
    };
    Ok(Reading {
        rows: vec![
            row("data, 1,200 bytes", data),
            row("the same, one check in 512", one),
            row("checks", checks),
        ],
        one_check: one.relative_to(data),
        checks: checks.relative_to(data),
        allocations_per_check: checks.allocations_per_datagram() - data.allocations_per_datagram(),
    })
}

/// The latest bursts as one of average length: the one with the check in it must not go for an
/// outlier.
fn together(round: &mut Vec<Duration>) {
    let latest: Duration = round.drain(round.len() - BURSTS_PER_CHECK..).sum();
    round.push(latest / BURSTS_PER_CHECK as u32);
}

/// A check of the peer as our agent takes it, each of a transaction of its own.
fn check(password: &str) -> Result<Vec<u8>, Failure> {
    let mut message = Message::new();
    message.build(&[
        Box::new(stun::agent::TransactionId::new()),
        Box::new(BINDING_REQUEST),
        Box::new(stun::textattrs::Username::new(
            stun::attributes::ATTR_USERNAME,
            "ours:theirs".to_owned(),
        )),
    ])?;
    MessageIntegrity::new_short_term_integrity(password.to_owned()).add_to(&mut message)?;
    stun::fingerprint::FINGERPRINT.add_to(&mut message)?;
    Ok(message.raw)
}
