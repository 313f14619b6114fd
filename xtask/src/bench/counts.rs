//! What can be counted, and so compared across machines: allocations, packets, sockets, instructions.

use std::collections::BTreeMap;

use ice_gather::responder::Responder;
use ice_gather::{Base, BindConfig, GatherConfig};
use nat_summary::{Candidate, Evidence};
use otel_nat::Telemetry;

use super::allocations;
use crate::spans::Spans;
use crate::{Failure, Options, bounds, peers, root, table, workspace};

/// So many of each are counted; the median stands for them.
const TIMES: usize = 51;

/// Counts by name.
type Counts = BTreeMap<String, u64>;

const DESCRIPTION: &str = "\
    a=candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host\r\n\
    a=candidate:2 1 udp 1694498815 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000\r\n\
    a=candidate:3 1 udp 1694498815 203.0.113.7 50001 typ srflx raddr 192.168.1.5 rport 50000\r\n";

/// Counts, and with `--save` makes them the baseline, with `--compare` fails where one is worse than the baseline's.
pub(super) async fn run(options: &Options) -> Result<bool, Failure> {
    let counts = count().await?;
    let file = root().join("xtask").join("bench-baseline.json");
    if options.is("save") {
        std::fs::write(&file, format!("{:#}\n", serde_json::json!(counts)))?;
    }
    let baseline: Option<Counts> = match std::fs::read_to_string(&file) {
        Ok(text) => Some(serde_json::from_str(&text)?),
        Err(_) if options.is("compare") => return Err("no baseline yet: `cargo xtask bench counts --save`".into()),
        Err(_) => None,
    };
    let worse: Vec<&str> = baseline.as_ref().map(|baseline| worse(&counts, baseline)).unwrap_or_default();
    let passed = worse.is_empty() || !options.is("compare");
    if options.is("json") {
        println!(
            "{:#}",
            serde_json::json!({ "passed": passed, "counts": counts, "baseline": baseline, "worse": worse })
        );
        return Ok(passed);
    }
    let row = |(what, count): (&String, &u64)| {
        let before = baseline.as_ref().and_then(|baseline| baseline.get(what));
        let verdict = match before {
            None => "new",
            Some(_) if worse.contains(&what.as_str()) => "WORSE",
            Some(before) if count < before => "better",
            Some(_) => "same",
        };
        vec![what.clone(), before.map_or_else(|| "-".to_owned(), u64::to_string), count.to_string(), verdict.to_owned()]
    };
    println!("{}", table::render(&["count", "baseline", "now", ""], &counts.iter().map(row).collect::<Vec<_>>()));
    for gone in baseline.iter().flat_map(Counts::keys).filter(|what| !counts.contains_key(*what)) {
        println!("skipped: {gone}, for it cannot be counted here");
    }
    let page = super::report::write(&root(), &counts, baseline.as_ref())?;
    println!("report: {}", page.display());
    Ok(passed)
}

/// Those that are worse by more than what a compiler or a queue may change.
fn worse<'a>(counts: &'a Counts, baseline: &Counts) -> Vec<&'a str> {
    let is_worse = |(what, count): &(&String, &u64)| {
        baseline.get(*what).is_some_and(|before| **count as f64 > *before as f64 * bounds::COUNT_TOLERANCE)
    };
    counts.iter().filter(is_worse).map(|(what, _)| what.as_str()).collect()
}

async fn count() -> Result<Counts, Failure> {
    let mut counts = Counts::new();
    counts.insert(
        "judge a description: allocations".into(),
        median(|| {
            let evidence = Evidence::from_candidates(Candidate::all_in(std::hint::black_box(DESCRIPTION)).flatten());
            std::hint::black_box(evidence.summary());
        }),
    );
    let summary = Evidence::new().summary();
    let spans = Spans::default();
    let (sdk, nobody) = (spans.telemetry(), Telemetry::global());
    for (name, telemetry) in [("to the SDK", &sdk), ("without a provider", &nobody)] {
        let allocations = median(|| {
            let mut attempt = telemetry.attempt();
            attempt.asked();
            attempt.succeeded(&summary);
            spans.take();
        });
        counts.insert(format!("an attempt {name}: allocations"), allocations);
    }
    gathering(&mut counts).await?;
    counts.extend(instructions()?);
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

/// Three servers on loopback, asked from a fresh base. They answer in this process: their allocations are counted too.
async fn gathering(counts: &mut Counts) -> Result<(), Failure> {
    let responders = peers::cohort(3, 0).await?;
    let servers: Vec<_> = responders.iter().map(Responder::server).collect();
    let (mut allocated, mut packets, mut sockets) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let (before, open) = (allocations(), super::gather::open_sockets());
        let base = Base::bind(BindConfig::address([127, 0, 0, 1].into())).await?;
        let gathering = base.gather(&servers, &GatherConfig::default()).await;
        allocated.push((allocations() - before) as u64);
        packets.push(u64::from(gathering.packets_sent));
        sockets.push((super::gather::open_sockets() - open) as u64);
    }
    for (what, mut all) in [("allocations", allocated), ("packets", packets), ("sockets", sockets)] {
        all.sort_unstable();
        counts.insert(format!("gather from 3 servers: {what}"), all[TIMES / 2]);
    }
    Ok(())
}

/// The judge's, by callgrind; none where there is no valgrind.
fn instructions() -> Result<Counts, Failure> {
    let output = workspace::cargo()
        .args(["bench", "--quiet", "--package", "nat-summary", "--bench", "instructions"])
        .current_dir(root())
        .output()?;
    if !output.status.success() {
        return Err(format!("the instructions bench failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let read = |line: &str| {
        let (what, count) = line.strip_suffix(" instructions")?.rsplit_once(": ")?;
        Some((format!("{what}: instructions"), count.parse().ok()?))
    };
    Ok(text.lines().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_worse_beyond_the_tolerance_and_only_then() {
        let counts = |n: u64| Counts::from([("a".to_owned(), n)]);
        assert!(worse(&counts(100), &counts(100)).is_empty());
        assert!(worse(&counts(90), &counts(100)).is_empty());
        assert_eq!(worse(&counts(110), &counts(100)), ["a"]);
        assert_eq!(worse(&counts(1), &counts(0)), ["a"], "none is none");
        assert!(worse(&counts(1), &Counts::new()).is_empty(), "what is new has nothing to be worse than");
    }
}
