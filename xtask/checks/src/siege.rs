//! `siege`: real processes of ours, and an attacker.
//!
//! A stranger forges the peer's address, and knows no secret. An honest echo has to go on, memory
//! and CPU stay where they are, and no process may end. The classes of an attack are the table in
//! `classes`.

mod child;
mod classes;
mod forge;
mod ground;
mod side;
mod strangers;

use std::time::{Duration, Instant};

use common::commands::{Siege, SiegeSide};
use serde::Serialize;

use self::classes::{ICMP, STRANGE, Strange};
use self::strangers::STANDS;
use crate::{Failure, bounds, needs, table};

/// How much of everything.
struct Plan {
    /// Forged datagrams of each class at each stand.
    datagrams: u64,
    /// Most of them to the bare socket.
    bare: u64,
    /// Longest flood of one class.
    per_class: Duration,
    /// Looked at without an attack.
    quiet: Duration,
    /// Fewest attempts during one class.
    attempts: u64,
    /// Fewest echoes during one class.
    echoes: u64,
}

/// One class at one stand.
#[derive(Debug, Serialize)]
struct Row {
    stand: &'static str,
    class: &'static str,
    /// Forged datagrams.
    sent: u64,
    /// Honest datagrams, or attempts.
    asked: u64,
    echoed: u64,
    /// Bytes.
    heap: i64,
    /// CPU for each forged datagram, in microseconds.
    micros: Option<f64>,
    /// The same, of a bare socket's.
    cpu: Option<f64>,
    faults: Vec<String>,
}

impl Row {
    const fn new(stand: &'static str, class: &'static str) -> Self {
        Self {
            stand,
            class,
            sent: 0,
            asked: 0,
            echoed: 0,
            heap: 0,
            micros: None,
            cpu: None,
            faults: Vec::new(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.1}"));
        vec![
            self.stand.into(),
            self.class.into(),
            self.sent.to_string(),
            format!("{} of {}", self.echoed, self.asked),
            (self.heap / 1024).to_string(),
            number(self.micros),
            number(self.cpu),
            match self.faults.as_slice() {
                [] => "stands".into(),
                faults => format!("BROKEN: {}", faults.join("; ")),
            },
        ]
    }
}

const HEADS: [&str; 8] = [
    "stand", "class", "sent", "echoed", "heap KiB", "CPU us", "of bare", "",
];

/// Runs one side, as the siege ordered it.
pub(crate) fn side(options: &SiegeSide) -> Result<bool, Failure> {
    side::run(&options.orders)
}

pub(crate) fn run(options: &Siege) -> Result<bool, Failure> {
    needs::lab().map_or(Ok(()), Err)?;
    let only = options.only.as_deref();
    let is_wanted = |stand: &str, class: &str| {
        only.is_none_or(|part| class.contains(part) || stand.contains(part))
    };
    let classes: Vec<&Strange> = STRANGE.iter().chain([&ICMP]).collect();
    let pairs: Vec<_> = STANDS
        .into_iter()
        .map(|stand| {
            let wanted = classes
                .iter()
                .filter(|class| is_wanted(stand.name, class.name));
            (stand, wanted.copied().collect::<Vec<_>>())
        })
        .filter(|(_, wanted)| !wanted.is_empty())
        .collect();
    if pairs.is_empty() {
        return Err("no class and no stand has that in its name".into());
    }
    let rows: usize = pairs.iter().map(|(_, wanted)| wanted.len()).sum();
    let plan = plan(options, rows);
    let started = Instant::now();
    let tell = |row: &Row| {
        if !options.json {
            eprintln!("{}", row.cells().join("  "));
        }
    };
    let mut rows = Vec::new();
    for (stand, wanted) in pairs {
        rows.extend(strangers::run(stand, &wanted, &plan, &tell)?);
    }
    let passed = rows.iter().all(|row| row.faults.is_empty());
    let seconds = started.elapsed().as_secs_f64();
    if options.json {
        let result = serde_json::json!({ "passed": passed, "seconds": seconds, "rows": rows });
        println!("{result:#}");
        return Ok(passed);
    }
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    println!("\n{}", table::render(&HEADS, &cells));
    let standing = rows.iter().filter(|row| row.faults.is_empty()).count();
    println!("{standing} of {} stand, in {seconds:.0} s", rows.len());
    Ok(passed)
}

/// `--minutes` are shared by all rows.
fn plan(options: &Siege, rows: usize) -> Plan {
    let per_class = options.minutes.map_or(bounds::SIEGE_CLASS, |minutes| {
        // as much again goes to the bare socket and to the pauses
        Duration::from_secs_f64(minutes * 60.0 / rows.max(1) as f64 / 2.0)
    });
    if options.quick {
        Plan {
            datagrams: bounds::SIEGE_DATAGRAMS_QUICK,
            bare: bounds::SIEGE_DATAGRAMS_QUICK,
            per_class,
            quiet: Duration::from_secs(1),
            attempts: 1,
            echoes: 10,
        }
    } else {
        Plan {
            datagrams: bounds::SIEGE_DATAGRAMS,
            bare: bounds::SIEGE_DATAGRAMS / 20,
            per_class,
            quiet: Duration::from_secs(3),
            attempts: 5,
            echoes: 100,
        }
    }
}
