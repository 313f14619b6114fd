//! `siege`: real processes of ours, and an attacker.
//!
//! A stranger forges the peer's address, and knows no secret. A peer has keys, and abuses its own
//! path. A client floods the signalling service. A STUN server, a TURN server and a signalling service
//! abuse the attempts that ask them. An honest echo has to go on, memory and CPU stay where they are, and no process may end.
//! The classes of an attack are the tables in `classes`.

mod child;
mod classes;
mod forge;
mod ground;
mod honest;
mod hosts;
mod peers;
mod sctp;
mod services;
mod side;
mod strangers;

use std::thread;
use std::time::{Duration, Instant};

use common::commands::{Siege, SiegeSide};
use serde::Serialize;

use self::classes::{ABUSES, Abuse, ICMP, STRANGE, Strange};
use self::side::{Look, Stage};
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
    /// Length of each abuse by a peer.
    abuse: Duration,
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
    /// The application gets these datagrams, by design, so their CPU is shown and not judged.
    is_delivered: bool,
    panics: u64,
    /// How the abused path ended, and other remarks.
    note: String,
    faults: Vec<String>,
}

impl Row {
    fn new(stand: &'static str, class: &'static str) -> Self {
        Self {
            stand,
            class,
            sent: 0,
            asked: 0,
            echoed: 0,
            heap: 0,
            micros: None,
            cpu: None,
            is_delivered: false,
            panics: 0,
            note: String::new(),
            faults: Vec::new(),
        }
    }

    /// Whether CPU is too much, and nothing else is wrong.
    fn is_slow_only(&self) -> bool {
        self.faults.len() == 1 && self.is_slow()
    }

    fn is_slow(&self) -> bool {
        !self.is_delivered && self.cpu.is_some_and(|cpu| cpu >= bounds::SIEGE_CPU)
    }

    /// Complains of an honest echo that suffered, of memory and of CPU.
    fn judge(&mut self, before: &Look, after: &Look, stage: Stage, heap: i64) {
        let lost = self.asked.saturating_sub(self.echoed);
        // a short run has fewer than a hundred, and one may be on its way
        let may_be_lost = (self.asked as f64 * (1.0 - bounds::SIEGE_ECHOED)).ceil() as u64;
        if lost > may_be_lost || self.asked == 0 {
            self.faults
                .push(format!("{} of {} came back", self.echoed, self.asked));
        }
        if after.ended > before.ended {
            let kind = match stage {
                Stage::Connected => "paths",
                Stage::Connecting => "attempts",
            };
            let causes = after.causes.join(", ");
            let ended = after.ended - before.ended;
            self.faults.push(format!("{ended} {kind} ended: {causes}"));
        }
        self.panics = self.panics.max(after.panics);
        if self.panics > 0 {
            self.faults.push(format!("{} panics", self.panics));
        }
        if self.heap >= heap {
            self.faults
                .push(format!("the heap grew by {} KiB", self.heap / 1024));
        }
        if self.is_slow() {
            let cpu = self.cpu.unwrap_or_default();
            self.faults
                .push(format!("it took {cpu:.1} times the CPU of a bare socket"));
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
                [] if self.is_delivered => "stands; for the application".into(),
                [] if self.note.is_empty() => "stands".into(),
                [] => format!("stands; {}", self.note),
                faults => format!("BROKEN: {}", faults.join("; ")),
            },
        ]
    }
}

const HEADS: [&str; 8] = [
    "stand", "class", "sent", "echoed", "heap KiB", "CPU us", "of bare", "",
];

/// All classes at one stand.
type Attack<'a> = Box<dyn FnOnce() -> Result<Vec<Row>, Failure> + Send + 'a>;

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
    let abuses: Vec<&Abuse> = ABUSES
        .iter()
        .filter(|abuse| is_wanted(peers::STAND, abuse.name))
        .collect();
    let mut services = services::CLASSES.to_vec();
    services.retain(|(class, _)| is_wanted(services::STAND, class));
    let hosts = hosts::Classes::wanted(is_wanted);
    if pairs.is_empty() && abuses.is_empty() && services.is_empty() && hosts.is_empty() {
        return Err("no class and no stand has that in its name".into());
    }
    let planned: usize = pairs.iter().map(|(_, wanted)| wanted.len()).sum();
    let plan = plan(options, planned);
    let started = Instant::now();
    let tell = |row: &Row| {
        if !options.json {
            eprintln!("{}", row.cells().join("  "));
        }
    };
    let (plan, tell) = (&plan, &tell);
    let mut attacks: Vec<Attack<'_>> = Vec::new();
    for (stand, wanted) in pairs {
        attacks.push(Box::new(move || strangers::run(stand, &wanted, plan, tell)));
    }
    if !abuses.is_empty() {
        attacks.push(Box::new(move || peers::run(&abuses, plan, tell)));
    }
    for classes in hosts {
        attacks.push(Box::new(move || hosts::run(&classes, plan, tell)));
    }
    if !services.is_empty() {
        attacks.push(Box::new(move || services::run(&services, tell)));
    }
    // each has namespaces and processes of its own; a long run keeps them apart, for their CPU's sake
    let rows: Vec<Row> = if options.quick {
        thread::scope(|scope| {
            let running: Vec<_> = attacks
                .into_iter()
                .map(|attack| scope.spawn(attack))
                .collect();
            let ended = running.into_iter().map(|running| {
                running
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            ended.collect::<Result<Vec<_>, _>>()
        })?
    } else {
        let ended = attacks.into_iter().map(|attack| attack());
        ended.collect::<Result<Vec<_>, _>>()?
    }
    .into_iter()
    .flatten()
    .collect();
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
            abuse: Duration::from_millis(300),
        }
    } else {
        Plan {
            datagrams: bounds::SIEGE_DATAGRAMS,
            bare: bounds::SIEGE_DATAGRAMS / 20,
            per_class,
            quiet: Duration::from_secs(3),
            attempts: 5,
            echoes: 100,
            abuse: Duration::from_secs(3),
        }
    }
}
