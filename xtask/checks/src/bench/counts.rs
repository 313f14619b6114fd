//! Counts of allocations, packets, sockets and instructions, which can be compared across machines.

use std::process::Command;

use ice_gather::responder::Responder;
use ice_gather::{Base, GatherConfig};
use nat_summary::Evidence;
use otel_nat::Telemetry;

use super::baseline::{Counts, gone, worse};
use super::plot::{self, Plot, Scale};
use super::progress::Progress;
use super::{Section, Target, allocations};
use crate::spans::Spans;
use crate::{Failure, bounds, peers, root, workspace};

/// So many of each are counted; the median stands for them.
const TIMES: usize = 51;

const DESCRIPTION: &str = "\
    a=candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host\r\n\
    a=candidate:2 1 udp 1694498815 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000\r\n\
    a=candidate:3 1 udp 1694498815 203.0.113.7 50001 typ srflx raddr 192.168.1.5 rport 50000\r\n";

/// The end of the name of a count that needs valgrind.
const INSTRUCTIONS: &str = ": instructions";

/// Counts, and shows the baseline beside. With `compares`, a worse count fails, and a missing count
/// fails as well, because its subject would go unwatched.
pub(super) async fn run(baseline: &Counts, compares: bool) -> Result<Section, Failure> {
    let has_valgrind = has_valgrind();
    let counts = count(has_valgrind).await?;
    let worse = worse(&counts, baseline);
    let row = |(what, count): (&String, &u64)| {
        let before = baseline.get(what);
        let verdict = match before {
            None => "new",
            Some(_) if worse.contains(&what.as_str()) => "WORSE",
            Some(before) if count < before => "better",
            Some(_) => "same",
        };
        vec![
            what.clone(),
            before.map_or_else(|| "-".to_owned(), u64::to_string),
            count.to_string(),
            verdict.to_owned(),
        ]
    };
    let (skipped, gone): (Vec<&str>, Vec<&str>) = gone(&counts, baseline)
        .into_iter()
        .partition(|what| !has_valgrind && what.ends_with(INSTRUCTIONS));
    let targets = [
        Target::count(
            "counts worse than the baseline's",
            format!(
                "none by more than {:.0} %",
                (bounds::COUNT_TOLERANCE - 1.0) * 100.0
            ),
            format!("{} of {}", worse.len(), counts.len()),
            worse.is_empty(),
        ),
        Target::count(
            "counts of the baseline that are gone",
            "none",
            if gone.is_empty() {
                "none".to_owned()
            } else {
                gone.join("; ")
            },
            gone.is_empty(),
        ),
    ];
    // counts that this machine cannot take stay as they were saved
    let kept = baseline
        .iter()
        .filter(|(what, _)| skipped.contains(&what.as_str()));
    Ok(Section {
        figures: serde_json::json!({ "counts": counts, "worse": worse, "gone": gone, "skipped": skipped }),
        tables: vec![(
            vec!["count", "baseline", "now", ""],
            counts.iter().map(row).collect(),
        )],
        plots: vec![plot(&counts)],
        notes: skipped
            .iter()
            .map(|what| format!("skipped: {what}, because there is no valgrind"))
            .collect(),
        targets: targets
            .map(|target| Target {
                gates: compares,
                ..target
            })
            .into(),
        counts: counts
            .iter()
            .chain(kept)
            .map(|(what, count)| (what.clone(), *count))
            .collect(),
    })
}

/// On a scale of powers of ten: counts of different things share nothing else.
fn plot(counts: &Counts) -> Plot {
    let row = |(what, count): (&String, &u64)| plot::Row {
        label: what.clone(),
        figure: *count as f64,
        spread: None,
        is_ours: !what.contains("hash maps"),
        text: count.to_string(),
    };
    Plot {
        title: "Counts",
        axis: "how many, each line ten times the one before; less is better",
        scale: Scale::Powers,
        rows: counts.iter().map(row).collect(),
        lines: Vec::new(),
    }
}

async fn count(has_valgrind: bool) -> Result<Counts, Failure> {
    let mut counts = Counts::new();
    counts.insert(
        "judge a description: allocations".into(),
        median(|| {
            let evidence = Evidence::from_text(std::hint::black_box(DESCRIPTION));
            std::hint::black_box(evidence.summary());
        }),
    );
    let summary = Evidence::new().summary();
    let spans = Spans::default();
    let (sdk, nobody) = (spans.telemetry(), Telemetry::global());
    for (name, telemetry) in [("to the SDK", &sdk), ("without a provider", &nobody)] {
        let allocations = median(|| {
            let mut attempt = telemetry.attempt();
            attempt.begin_gathering();
            attempt.succeed(&summary);
            spans.take();
        });
        counts.insert(format!("an attempt {name}: allocations"), allocations);
    }
    gathering(&mut counts).await?;
    if has_valgrind {
        counts.extend(instructions()?);
    }
    Ok(counts)
}

fn median(mut act: impl FnMut()) -> u64 {
    let mut all: Vec<u64> = (0..TIMES)
        .map(|_| {
            let before = allocations();
            act();
            (allocations() - before) as u64
        })
        .collect();
    all.sort_unstable();
    all[TIMES / 2]
}

/// Three servers on loopback, asked from a fresh base. They answer in this process: their
/// allocations are counted too.
async fn gathering(counts: &mut Counts) -> Result<(), Failure> {
    let responders = peers::cohort(3, 0).await?;
    let servers: Vec<_> = responders.iter().map(Responder::server).collect();
    let (mut allocated, mut packets, mut sockets) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let (before, open) = (allocations(), super::gather::open_sockets());
        let base = Base::bind(peers::loopback()).await?;
        let gathering = base.gather(&servers, &GatherConfig::default()).await;
        allocated.push((allocations() - before) as u64);
        packets.push(u64::from(gathering.packets_sent));
        sockets.push((super::gather::open_sockets() - open) as u64);
    }
    for (what, mut all) in [
        ("allocations", allocated),
        ("packets", packets),
        ("sockets", sockets),
    ] {
        all.sort_unstable();
        counts.insert(format!("gather from 3 servers: {what}"), all[TIMES / 2]);
    }
    Ok(())
}

/// Whether valgrind is installed. Asked first, because the bench takes a while to build.
fn has_valgrind() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// The judge's, by callgrind.
fn instructions() -> Result<Counts, Failure> {
    let _progress = Progress::of("instructions, by callgrind");
    let output = workspace::cargo()
        .args([
            "bench",
            "--quiet",
            "--package",
            "nat-summary",
            "--bench",
            "instructions",
        ])
        .current_dir(root())
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "the instructions bench failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let read = |line: &str| {
        let (what, count) = line.strip_suffix(" instructions")?.rsplit_once(": ")?;
        Some((format!("{what}{INSTRUCTIONS}"), count.parse().ok()?))
    };
    Ok(text.lines().filter_map(read).collect())
}
