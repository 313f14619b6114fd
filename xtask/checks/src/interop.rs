//! `interop`: our consumer against peers of other projects, over the data channel, behind the NATs
//! of the kernel.
//!
//! Each peer is a producer that speaks the signalling wire to our service and echoes. The consumer
//! has to connect, get its datagrams back, and end in the right span, read from the telemetry
//! itself.

pub(crate) mod aiortc;
pub(crate) mod attempt;
pub(crate) mod chromium;
pub(crate) mod pion;
pub(crate) mod process;
pub(crate) mod services;
mod stacks;
pub(crate) mod str0m;
pub(crate) mod webrtc21;
pub(crate) mod werift;

use std::path::Path;
use std::time::Instant;

use nat_summary::NatType;
use serde::Serialize;

use crate::interop::process::Peer;
use crate::interop::services::Services;
use crate::kernel::router::Router;
use crate::kernel::servers::OWN;
use crate::kernel::world::{Site, World};
use crate::lab::tools;
use common::commands::Interop;

use crate::{Failure, bounds, needs, table};

/// A program of others.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Whether its answer says where it is. Otherwise its checks have to come through the NAT
    /// unasked.
    tells_addresses: bool,
    /// Whether it ends an exchange whose candidates are all of type `host`, as the Go producer does.
    refuses_hosts: bool,
    /// Installs what it needs.
    pub(crate) install: fn(&Path) -> Result<(), String>,
    /// Makes it ready to start; if that cannot be, why.
    pub(crate) prepare: fn(&Path) -> Result<process::Launch, String>,
}

const PROGRAMS: [Program; 7] = [
    chromium::PROGRAM,
    chromium::NAMES_ONLY,
    aiortc::PROGRAM,
    pion::PROGRAM,
    werift::PROGRAM,
    webrtc21::PROGRAM,
    str0m::PROGRAM,
];

/// The NAT in front of the consumer. The peer is always public.
struct Gateway {
    name: &'static str,
    routers: &'static [Router],
    truth: NatType,
    /// Whether an unsolicited check passes.
    is_open: bool,
}

const GATEWAYS: [Gateway; 4] = [
    Gateway {
        name: "none",
        routers: &[Router::Route],
        truth: NatType::Open,
        is_open: true,
    },
    Gateway {
        name: "masquerade",
        routers: &[Router::Masquerade("")],
        truth: NatType::Cone,
        is_open: false,
    },
    Gateway {
        name: "full cone",
        routers: &[Router::FullCone],
        truth: NatType::Cone,
        is_open: true,
    },
    Gateway {
        name: "symmetric",
        routers: &[Router::Masquerade("fully-random")],
        truth: NatType::Symmetric,
        is_open: false,
    },
];
/// The one that a short run takes: the NAT of most homes.
const QUICK: &str = "masquerade";
/// The one where every address is a host's: a short run takes it with the peers that refuse those.
const OPEN: &str = "none";

/// The one STUN server of the peers, which are public.
const STUN: [u8; 1] = [OWN[0]];

/// One peer behind one NAT.
#[derive(Debug, Serialize)]
struct Row {
    peer: &'static str,
    nat: &'static str,
    sent: u32,
    echoed: u32,
    span: String,
    nat_type: String,
    /// Kinds of the pair in use: ours, then the peer's.
    pair: String,
    /// From the choice of the peer to an open channel.
    ms: f64,
    faults: Vec<String>,
}

/// A program of others that can start here.
pub(crate) struct Startable {
    pub(crate) name: &'static str,
    launch: process::Launch,
}

/// The peers that other commands meet, and why some cannot start.
pub(crate) fn startable() -> Result<(Vec<Startable>, Vec<String>), Failure> {
    let root = crate::root().canonicalize()?;
    let (mut startable, mut skipped) = (Vec::new(), Vec::new());
    for program in [&chromium::PROGRAM, &aiortc::PROGRAM, &pion::PROGRAM] {
        match (program.prepare)(&root) {
            Ok(launch) => startable.push(Startable {
                name: program.name,
                launch,
            }),
            Err(why) => skipped.push(format!("{}: {why}", program.name)),
        }
    }
    Ok((startable, skipped))
}

impl Startable {
    /// Has it announce itself in this world, and hands the address of the signalling service to
    /// `attempt`.
    pub(crate) fn meet<T>(
        &self,
        world: &World,
        attempt: impl FnOnce(&str) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let root = crate::root().canonicalize()?;
        let services = Services::start(&world.core, &root, &STUN)?;
        let peer = Peer::start(&world.peer, &self.launch, &services)?;
        if !services.until_announced(bounds::INTEROP_START) {
            return Err(format!("it never announced itself: {}", peer.complaint()).into());
        }
        attempt(&services.url)
    }
}

pub(crate) fn run(options: &Interop) -> Result<bool, Failure> {
    let root = crate::root().canonicalize()?;
    let only = options.only.as_deref();
    let programs = || {
        PROGRAMS
            .iter()
            .filter(|program| only.is_none_or(|part| program.name.contains(part)))
    };
    if programs().next().is_none() {
        return Err("no peer has that in its name".into());
    }
    if options.install {
        if needs::lab().is_some() {
            tools::install()?;
        }
        for program in programs() {
            // one that cannot be had is skipped below, and said so
            (program.install)(&root)
                .unwrap_or_else(|why| eprintln!("{}: not installed: {why}", program.name));
        }
    }
    needs::lab().map_or(Ok(()), Err)?;

    let (mut launches, mut skipped) = (Vec::new(), Vec::new());
    for program in programs() {
        match (program.prepare)(&root) {
            Ok(launch) => launches.push((program, launch)),
            Err(why) => skipped.push((program.name, why)),
        }
    }
    let (json, started) = (options.json, Instant::now());
    let mut rows = Vec::new();
    for gateway in GATEWAYS
        .iter()
        .filter(|gateway| !options.quick || [QUICK, OPEN].contains(&gateway.name))
    {
        let world = World::build(Site::behind(gateway.routers), needs::has_coturn())?;
        let services = Services::start(&world.core, &root, &STUN)?;
        for (program, launch) in launches
            .iter()
            .filter(|(program, _)| program.tells_addresses || gateway.is_open)
            .filter(|(program, _)| !options.quick || gateway.name == QUICK || program.refuses_hosts)
        {
            let row = row(gateway, &world, &services, program, launch)?;
            if !json {
                println!(
                    "{:<21} {:<11} {:>5} of {}  {:.0} ms",
                    row.peer, row.nat, row.echoed, row.sent, row.ms
                );
            }
            rows.push(row);
        }
    }
    // each peer's rows together
    rows.sort_by_key(|row| {
        launches
            .iter()
            .position(|(program, _)| program.name == row.peer)
    });

    let passed = rows.iter().all(|row| row.faults.is_empty());
    if json {
        let seconds = started.elapsed().as_secs_f64();
        let skipped: Vec<_> = skipped
            .iter()
            .map(|(peer, why)| serde_json::json!({ "peer": peer, "why": why }))
            .collect();
        let result = serde_json::json!({ "passed": passed, "seconds": seconds, "rows": rows, "skipped": skipped });
        println!("{result:#}");
        return Ok(passed);
    }
    println!("\n{}", render(&rows));
    for row in &rows {
        row.faults
            .iter()
            .for_each(|fault| println!("WRONG  {} behind {}: {fault}", row.peer, row.nat));
    }
    for (peer, why) in &skipped {
        println!("skipped: {peer}: {why}");
    }
    let right = rows.iter().filter(|row| row.faults.is_empty()).count();
    println!(
        "{right} of {} as they should be, in {:.1} s",
        rows.len(),
        started.elapsed().as_secs_f64()
    );
    Ok(passed)
}

fn row(
    gateway: &Gateway,
    world: &World,
    services: &Services,
    program: &Program,
    launch: &process::Launch,
) -> Result<Row, Failure> {
    let peer = Peer::start(&world.peer, launch, services)?;
    let announced = services.until_announced(bounds::INTEROP_START);
    let mut faults = Vec::new();
    if !announced {
        faults.push(format!("it never announced itself: {}", peer.complaint()));
        return Ok(Row {
            peer: program.name,
            nat: gateway.name,
            sent: 0,
            echoed: 0,
            span: "-".into(),
            nat_type: "-".into(),
            pair: "-".into(),
            ms: 0.0,
            faults,
        });
    }
    let told = world
        .client
        .block_on_in_order(|| attempt::run(&services.url, world.client_ipv4))?;
    if told.spans != ["nat_success"] {
        faults.push(format!(
            "it ended in the spans {:?}: {}; {}",
            told.spans,
            told.error,
            peer.complaint()
        ));
    }
    if told.nat_type != gateway.truth.as_legacy() {
        faults.push(format!(
            "the span says {:?}, and it is {:?}",
            told.nat_type,
            gateway.truth.as_legacy()
        ));
    }
    if !program.tells_addresses && !told.pair.ends_with("prflx") {
        faults.push(format!(
            "it told nobody where it is, and yet the pair is {}",
            told.pair
        ));
    }
    let least = (f64::from(told.sent) * bounds::INTEROP_ECHOED).ceil();
    if f64::from(told.echoed) < least || told.sent < bounds::INTEROP_DATAGRAMS {
        faults.push(format!(
            "{} of {} datagrams came back",
            told.echoed, told.sent
        ));
    }
    Ok(Row {
        peer: program.name,
        nat: gateway.name,
        sent: told.sent,
        echoed: told.echoed,
        span: told.spans.join(", "),
        nat_type: told.nat_type,
        pair: told.pair,
        ms: told.ms,
        faults,
    })
}

fn render(rows: &[Row]) -> String {
    let heads = [
        "peer", "NAT", "echoed", "span", "nat_type", "pair", "ms", "",
    ];
    let cells = |row: &Row| {
        vec![
            row.peer.into(),
            row.nat.into(),
            format!("{} of {}", row.echoed, row.sent),
            row.span.clone(),
            row.nat_type.clone(),
            row.pair.clone(),
            format!("{:.0}", row.ms),
            if row.faults.is_empty() {
                "right".into()
            } else {
                "WRONG".into()
            },
        ]
    };
    table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::{GATEWAYS, OPEN, PROGRAMS, QUICK};

    #[test]
    fn the_short_run_is_one_of_the_long_one() {
        for name in [QUICK, OPEN] {
            assert!(GATEWAYS.iter().any(|gateway| gateway.name == name));
        }
        assert!(PROGRAMS.iter().any(|program| program.refuses_hosts));
        assert!(PROGRAMS.iter().all(|program| !program.name.is_empty()));
    }
}
