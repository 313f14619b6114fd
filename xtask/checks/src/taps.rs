//! `taps`: other ICE stacks behind the NATs of the kernel, judged from a capture on their host, and from
//! the seam of those that have one.
//!
//! Each stack is a producer that gathers, answers our consumer, and sends its datagrams back. The capture
//! runs beside it. A verdict that is not the truth is a fault. An unknown is one too, unless the requests
//! in the capture show that the stack's way of asking leaves the question open.

mod judge;
mod running;
mod stacks;
mod webrtc17;

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nat_summary::NatType;
use serde::Serialize;

use self::judge::{Judged, Open};
use self::running::Running;
use self::stacks::{STACKS, Stack};
use crate::interop::attempt;
use crate::interop::services::Services;
use crate::kernel::recorder::Recorder;
use crate::kernel::router::Router;
use crate::kernel::servers::{COTURN, OWN};
use crate::kernel::world::{Site, World};
use crate::lab::tools;
use common::commands::Taps;

use crate::{Failure, bounds, needs, table};

/// The servers that every stack is given: two of ours, and coturn.
const STUN: [u8; 3] = [OWN[0], OWN[1], COTURN[0]];

/// What is in front of the stack. The consumer is public each time.
struct Gateway {
    name: &'static str,
    router: Router,
    truth: NatType,
    /// Whether a short run takes it.
    is_quick: bool,
}

const GATEWAYS: [Gateway; 5] = [
    Gateway {
        name: "none",
        router: Router::Route,
        truth: NatType::Open,
        is_quick: false,
    },
    Gateway {
        name: "masquerade",
        router: Router::Masquerade(""),
        truth: NatType::Cone,
        is_quick: true,
    },
    Gateway {
        name: "full cone",
        router: Router::FullCone,
        truth: NatType::Cone,
        is_quick: false,
    },
    Gateway {
        name: "symmetric",
        router: Router::Masquerade("fully-random"),
        truth: NatType::Symmetric,
        is_quick: true,
    },
    Gateway {
        name: "UDP dropped",
        router: Router::Drop,
        truth: NatType::UdpBlocked,
        is_quick: false,
    },
];

/// One stack behind one NAT.
#[derive(Debug, Serialize)]
struct Row {
    stack: &'static str,
    nat: &'static str,
    truth: &'static str,
    /// The verdict from the capture.
    capture: &'static str,
    rule: &'static str,
    /// The verdict from the seam, of the stacks that have one.
    seam: Option<String>,
    /// Why the stack's way of asking leaves the question open, where the verdict is unknown.
    open: Option<&'static str>,
    /// Server addresses that one socket asked, at most; all of them; copies of one request, at most.
    servers_of_a_socket: usize,
    servers: usize,
    copies: u32,
    packets: u64,
    /// Datagrams of our consumer that came back over the channel; none where UDP does not pass.
    echoed: Option<u32>,
    seconds: f64,
    faults: Vec<String>,
}

/// Whether every verdict is the truth, and none is missing that could be had.
pub(crate) fn run(options: &Taps) -> Result<bool, Failure> {
    let root = crate::root().canonicalize()?;
    let only = options.only.as_deref();
    let chosen = || {
        STACKS
            .iter()
            .filter(|stack| only.is_none_or(|part| stack.name.contains(part)))
    };
    if chosen().next().is_none() {
        return Err("no stack has that in its name".into());
    }
    if options.install {
        if needs::lab().is_some() {
            tools::install()?;
        }
        for stack in chosen() {
            // one that cannot be had is skipped below, with the reason
            (stack.install)(&root)
                .unwrap_or_else(|why| eprintln!("{}: not installed: {why}", stack.name));
        }
    }
    needs::lab().map_or(Ok(()), Err)?;
    if let Some(folder) = &options.keep {
        std::fs::create_dir_all(folder)?;
    }

    let (mut ready, mut skipped) = (Vec::new(), Vec::new());
    for stack in chosen() {
        // behind a NAT, Chromium with hidden host addresses opens its channel in some runs only
        if options.quick && options.only.is_none() && stack.name == MAY_NOT_OPEN {
            skipped.push((
                stack.name,
                "its channel opens in some runs only; the long form has it".into(),
            ));
            continue;
        }
        match (stack.prepare)(&root) {
            Ok(launch) => ready.push((stack, launch)),
            Err(why) => skipped.push((stack.name, why)),
        }
    }
    let started = Instant::now();
    let mut rows = Vec::new();
    for gateway in GATEWAYS.iter().filter(|g| !options.quick || g.is_quick) {
        let routers: &'static [Router] = std::slice::from_ref(&gateway.router);
        let world = World::build(Site::behind(routers), needs::has_coturn())?;
        let services = Services::start(&world.core, &root, &STUN)?;
        for (stack, launch) in &ready {
            let row = row(
                gateway,
                &world,
                &services,
                stack,
                launch,
                options.keep.as_deref(),
            )?;
            if !options.json {
                println!(
                    "{:<20} {:<12} {:<26} {:.1} s",
                    row.stack, row.nat, row.capture, row.seconds
                );
            }
            rows.push(row);
        }
    }
    // each stack's rows together
    rows.sort_by_key(|row| STACKS.iter().position(|stack| stack.name == row.stack));
    report(options.json, &rows, &skipped, started.elapsed())
}

/// The stack that the short form leaves out.
const MAY_NOT_OPEN: &str = "chromium";

/// Runs the stack behind the NAT, and compares both verdicts with the truth.
fn row(
    gateway: &Gateway,
    world: &World,
    services: &Services,
    stack: &Stack,
    launch: &running::Launch,
    keep: Option<&Path>,
) -> Result<Row, Failure> {
    let started = Instant::now();
    let recorder = Recorder::start(&world.client)?;
    let producer = Running::start(&world.client, launch, services)?;
    let mut faults = Vec::new();
    let passes = gateway.truth != NatType::UdpBlocked;
    let mut echoed = None;
    if services.until_announced(bounds::INTEROP_START) {
        let within = if passes {
            bounds::INTEROP_WITHIN
        } else {
            bounds::TAPS_BLOCKED
        };
        let attempt = world.peer.block_on(|| async {
            let attempt = attempt::run(&services.url, World::peer_ip(true));
            Ok(tokio::time::timeout(within, attempt).await)
        })?;
        match attempt {
            Ok(outcome) if passes => echoed = Some(outcome?.echoed),
            _ => {}
        }
    } else {
        faults.push(format!(
            "it never announced itself: {}",
            producer.complaint()
        ));
    }
    // a capture shows a wait by the packets behind it: here one of TCP, which passes every router
    let service = services.address()?;
    world.client.inside(|| Ok(TcpStream::connect(service)?))?;
    let output = producer.output();
    drop(producer);
    let capture = recorder.finish()?;
    if let Some(folder) = keep {
        let name = format!("{} behind {}.pcap", stack.name, gateway.name).replace([' ', ','], "_");
        std::fs::write(folder.join(name), &capture)?;
    }

    let judged = match judge::judge(&capture, world.client_ipv4) {
        Ok(judged) => judged,
        Err(failure) => {
            faults.push(failure.to_string());
            Judged::nothing()
        }
    };
    let open = judged.leaves_open(gateway.truth);
    let seam = seam(&output);
    compare(
        "the capture",
        judged.verdict.as_legacy(),
        gateway.truth,
        open,
        &mut faults,
    );
    match &seam {
        Some(seam) => compare("the seam", seam, gateway.truth, open, &mut faults),
        None if stack.has_seam => faults.push(format!("the seam is silent: {output}")),
        None => {}
    }
    faults.extend(judged.differs_from(stack, gateway.truth));
    if passes && echoed.is_none_or(|echoed| echoed == 0) {
        faults.push("no datagram came back over its channel".into());
    }
    let Judged {
        verdict,
        rule,
        asking,
        packets,
    } = judged;
    let is_unknown = verdict == NatType::Unknown;
    Ok(Row {
        stack: stack.name,
        nat: gateway.name,
        truth: gateway.truth.as_legacy(),
        capture: verdict.as_legacy(),
        rule: rule.as_str(),
        seam,
        open: open.filter(|_| is_unknown).map(Open::as_str),
        servers_of_a_socket: asking.servers_of_a_socket,
        servers: asking.servers,
        copies: asking.copies,
        packets,
        echoed,
        seconds: (started.elapsed().as_secs_f64() * 10.0).round() / 10.0,
        faults,
    })
}

/// The last verdict that the stack's own program printed.
fn seam(output: &str) -> Option<String> {
    let line = output
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("seam "))?;
    let seam: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(seam["verdict"].as_str()?.to_owned())
}

/// Adds a fault where a verdict is not the truth, or is unknown without a reason.
fn compare(
    from: &str,
    verdict: &str,
    truth: NatType,
    open: Option<Open>,
    faults: &mut Vec<String>,
) {
    if verdict == NatType::Unknown.as_legacy() {
        if open.is_none() {
            faults.push(format!(
                "{from} leaves it undecided, though its requests decide"
            ));
        }
    } else if verdict != truth.as_legacy() {
        faults.push(format!(
            "{from} shows {verdict:?}, and it is {:?}",
            truth.as_legacy()
        ));
    }
}

fn report(
    json: bool,
    rows: &[Row],
    skipped: &[(&str, String)],
    took: Duration,
) -> Result<bool, Failure> {
    let passed = rows.iter().all(|row| row.faults.is_empty());
    let seconds = took.as_secs_f64();
    let wrong = rows.iter().filter(|row| !row.faults.is_empty()).count();
    let undecided = rows.iter().filter(|row| row.open.is_some()).count();
    if json {
        let skipped: Vec<_> = skipped
            .iter()
            .map(|(stack, why)| serde_json::json!({ "stack": stack, "why": why }))
            .collect();
        let result = serde_json::json!({
            "passed": passed,
            "seconds": seconds,
            "wrong": wrong,
            "undecided": undecided,
            "rows": rows,
            "skipped": skipped,
        });
        println!("{result:#}");
        return Ok(passed);
    }
    println!("\n{}", render(rows));
    for row in rows {
        row.faults
            .iter()
            .for_each(|fault| println!("WRONG  {} behind {}: {fault}", row.stack, row.nat));
    }
    for (stack, why) in skipped {
        println!("skipped: {stack}: {why}");
    }
    println!(
        "{} verdicts, {wrong} wrong, {undecided} left open by the way of asking, in {seconds:.1} s",
        rows.len()
    );
    Ok(passed)
}

fn render(rows: &[Row]) -> String {
    let heads = [
        "stack", "NAT", "truth", "capture", "seam", "asks", "echoed", "",
    ];
    let cells = |row: &Row| {
        vec![
            row.stack.into(),
            row.nat.into(),
            row.truth.into(),
            row.capture.into(),
            row.seam.clone().unwrap_or_else(|| "-".into()),
            format!(
                "{} servers, {} from one socket, {} times",
                row.servers, row.servers_of_a_socket, row.copies
            ),
            row.echoed
                .map_or_else(|| "-".into(), |echoed| echoed.to_string()),
            match (row.faults.is_empty(), row.open) {
                (false, _) => "WRONG".into(),
                (true, Some(open)) => format!("open: {open}"),
                (true, None) => "right".into(),
            },
        ]
    };
    table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use nat_summary::NatType;

    use super::{GATEWAYS, Open, compare, seam};

    #[test]
    fn a_verdict_is_right_or_open_for_a_reason_or_a_fault() {
        let faults = |verdict, open| {
            let mut faults = Vec::new();
            compare("the capture", verdict, NatType::Cone, open, &mut faults);
            faults.len()
        };
        assert_eq!(faults("Cone NAT", None), 0);
        assert_eq!(faults("Cone NAT", Some(Open::SocketPerServer)), 0);
        assert_eq!(faults("Unknown", Some(Open::SocketPerServer)), 0);
        assert_eq!(faults("Unknown", None), 1);
        assert_eq!(faults("Symmetric NAT", None), 1);
        assert_eq!(
            faults("Symmetric NAT", Some(Open::SocketPerServer)),
            1,
            "an open question does not excuse a wrong answer"
        );
    }

    #[test]
    fn the_last_line_of_the_seam_counts() {
        let output = "seam {\"verdict\":\"Unknown\"}\nconnection: connected\nseam {\"verdict\":\"Cone NAT\"}\nend";
        assert_eq!(seam(output).as_deref(), Some("Cone NAT"));
        assert_eq!(seam("connection: failed"), None);
    }

    #[test]
    fn the_short_run_is_part_of_the_long_one_and_has_two_truths() {
        let quick: Vec<_> = GATEWAYS.iter().filter(|gateway| gateway.is_quick).collect();
        assert!(quick.len() == 2 && quick[0].truth != quick[1].truth);
    }
}
