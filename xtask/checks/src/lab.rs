//! `lab`: the gatherer behind real NATs, those of the kernel, in network namespaces; each verdict, and that
//! of an observer of a capture beside it, against the truth.

mod captured;
mod cases;
#[cfg(feature = "channel")]
mod censors;
#[cfg(feature = "channel")]
mod embedded;
mod meeting;
mod page;
mod peers;
mod probe;
pub(crate) mod tools;

use std::net::{SocketAddr, UdpSocket};
#[cfg(feature = "channel")]
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ice_gather::{Base, BindConfig, GatherConfig, Gathering, StunServer};
use nat_summary::{Filtering, Mapping, NatSummary, NatType, Rule};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::kernel::recorder::Recorder;
use crate::kernel::router::Router;
use crate::kernel::world::{EXTERNAL_IPV4, Uplinks, World};
use crate::lab::cases::{CASES, Case, Expected, Taken};
use common::commands::{Lab, LabPart};

use crate::{Failure, bounds, needs, table};

/// Which cases to run, and how to tell of it.
#[derive(Debug, Clone, Default)]
struct Choice {
    json: bool,
    /// Without those that take seconds.
    quick: bool,
    /// Only those whose name contains this.
    only: Option<String>,
    /// Where captures are kept.
    #[cfg(feature = "channel")]
    keep: Option<PathBuf>,
}

impl Choice {
    fn includes(&self, case: &Case) -> bool {
        !(self.quick && case.slow)
            && self
                .only
                .as_deref()
                .is_none_or(|part| case.name.contains(part))
    }
}

/// How a verdict compares with the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    /// As expected, in every part.
    Right,
    /// Unknown, though the answers decide.
    Undecided,
    /// Unknown, for want of answers, where packets are lost on purpose; or because the answers of a pool
    /// contradict each other.
    Starved,
    /// Not the truth, or more than the answers decide.
    Wrong(Vec<String>),
}

/// One line of the result. Of several gatherings, the parts that vary are those of the first.
#[derive(Debug, Serialize)]
struct Row {
    case: &'static str,
    truth: &'static str,
    expected: &'static str,
    verdict: &'static str,
    mapping: &'static str,
    rule: &'static str,
    port_preserved: Option<bool>,
    /// The verdict of an observer of a capture beside the gathering.
    captured: &'static str,
    /// As probed by plain sockets.
    filtering: &'static str,
    asked: u16,
    answered: u16,
    packets: u32,
    ms: f64,
    slowest_ms: f64,
    gathers: usize,
    right: usize,
    undecided: usize,
    starved: usize,
    wrong: usize,
    within_a_second: usize,
    faults: Vec<String>,
}

/// Whether every verdict is the truth, and none is missing that could be had.
pub(crate) fn run(options: &Lab) -> Result<bool, Failure> {
    if options.install {
        return install(options.json);
    }
    let choice = Choice {
        json: options.json,
        quick: options.quick,
        only: options.only.clone(),
        #[cfg(feature = "channel")]
        keep: options.keep.clone(),
    };
    match options.part {
        None => judge_all(&choice),
        Some(LabPart::Peers) => peers::judge_all(&choice),
        Some(LabPart::Page) => page::judge_all(&choice),
        #[cfg(feature = "channel")]
        Some(LabPart::Embedded) => embedded::judge_all(&choice),
        #[cfg(feature = "channel")]
        Some(LabPart::Censors) => censors::judge_all(&choice),
        #[cfg(not(feature = "channel"))]
        Some(LabPart::Embedded | LabPart::Censors) => Err("built without peer connections".into()),
    }
}

fn judge_all(choice: &Choice) -> Result<bool, Failure> {
    needs::lab().map_or(Ok(()), Err)?;
    let started = Instant::now();
    let with_coturn = needs::has_coturn();
    let mut rows = Vec::new();
    for case in CASES.iter().filter(|case| choice.includes(case)) {
        let row = row(case, with_coturn).map_err(|failure| format!("{}: {failure}", case.name))?;
        if !choice.json {
            println!("{:<48} {:<24} {:>7.1} ms", row.case, row.verdict, row.ms);
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err("no case has that in its name".into());
    }

    let passed = rows.iter().all(|row| row.faults.is_empty());
    let seconds = started.elapsed().as_secs_f64();
    if choice.json {
        let result = serde_json::json!({ "passed": passed, "seconds": seconds, "coturn": with_coturn, "cases": rows });
        println!("{result:#}");
        return Ok(passed);
    }
    println!("\n{}", render(&rows));
    for row in rows.iter().filter(|row| row.gathers > 1) {
        println!(
            "{}: {} of {} gatherings decided, {} within a second, {} wrong, slowest {:.0} ms",
            row.case, row.right, row.gathers, row.within_a_second, row.wrong, row.slowest_ms
        );
    }
    for row in &rows {
        row.faults
            .iter()
            .for_each(|fault| println!("WRONG  {}: {fault}", row.case));
    }
    if !with_coturn {
        println!(
            "skipped: coturn, which is not installed (`cargo xtask lab --install`); responders of ours stood in"
        );
    }
    let right = rows.iter().filter(|row| row.faults.is_empty()).count();
    println!(
        "{right} of {} cases as they were built, in {seconds:.1} s",
        rows.len()
    );
    Ok(passed)
}

/// Installs what the lab needs.
fn install(json: bool) -> Result<bool, Failure> {
    tools::install()?;
    needs::lab().map_or(Ok(()), Err)?;
    if json {
        println!("{:#}", serde_json::json!({ "passed": true }));
    } else {
        println!("the lab can run here");
    }
    Ok(true)
}

/// Builds the case, gathers, and compares.
fn row(case: &Case, with_coturn: bool) -> Result<Row, Failure> {
    let world = World::build(case.site, with_coturn)?;
    let recorder = Recorder::start(&world.client)?;
    let gathered = world.client.block_on_in_order(|| gather(case, &world))?;
    let capture = recorder.finish()?;
    let (_, first) = gathered.first().ok_or("nothing was gathered")?;
    let summary = first.evidence.summary();

    let mut faults = Vec::new();
    let findings: Vec<Finding> = gathered
        .iter()
        .map(|(_, gathering)| compare(case, &gathering.evidence.summary()))
        .collect();
    let count = |finding: fn(&Finding) -> bool| findings.iter().filter(|f| finding(f)).count();
    let (undecided, starved) = (
        count(|f| *f == Finding::Undecided),
        count(|f| *f == Finding::Starved),
    );
    for finding in &findings {
        if let Finding::Wrong(wrong) = finding {
            faults.extend(wrong.iter().cloned());
        }
    }
    if undecided > 0 {
        faults.push(format!("{undecided} undecided, though the answers decide"));
    }
    if starved > bounds::LAB_STARVED {
        faults.push(format!(
            "{starved} of {} gatherings heard too few answers",
            gathered.len()
        ));
    }

    let captured = captured::judge(case, &gathered, &capture)?;
    faults.extend(captured.fault);

    let filtering = match gathered
        .first()
        .and_then(|(base, _)| base.local_addrs().find(|a| is_asked(case, *a)))
    {
        Some(local) if !case.site.lossy => probe::filtering(&world, local)?,
        _ => Filtering::Unknown,
    };
    let built = built_filtering(case);
    if !case.site.lossy && filtering != built {
        faults.push(format!(
            "the construction is not what it says: it filters {filtering:?}, not {built:?}"
        ));
    }

    let mut times: Vec<Duration> = gathered
        .iter()
        .map(|(_, gathering)| gathering.elapsed)
        .collect();
    let in_time = gathered
        .iter()
        .zip(&findings)
        .filter(|((_, g), f)| **f == Finding::Right && g.elapsed.as_secs() < 1);
    let within_a_second = in_time.count();
    times.sort_unstable();
    let ms = |time: Option<&Duration>| {
        time.map_or(0.0, |time| (time.as_secs_f64() * 10_000.0).round() / 10.0)
    };
    Ok(Row {
        case: case.name,
        truth: case.truth.as_legacy(),
        expected: case.expected.verdict.as_legacy(),
        verdict: summary.nat_type().as_legacy(),
        mapping: mapping_name(summary.mapping()),
        rule: summary.rule().as_str(),
        port_preserved: summary.port_preserved(),
        captured: captured.verdict,
        filtering: filtering_name(filtering),
        asked: summary.counts().asked,
        answered: summary.counts().answered,
        packets: gathered
            .iter()
            .map(|(_, gathering)| gathering.packets_sent)
            .sum(),
        ms: ms(times.get(times.len() / 2)),
        slowest_ms: ms(times.last()),
        gathers: gathered.len(),
        right: count(|f| *f == Finding::Right),
        undecided,
        starved,
        wrong: count(|f| matches!(f, Finding::Wrong(_))),
        within_a_second,
        faults,
    })
}

/// Every gathering of the case, at once, each on a base of its own.
async fn gather(case: &Case, world: &World) -> Result<Vec<(Base, Gathering)>, Failure> {
    let servers = case.cohort.servers();
    let mut running = JoinSet::new();
    for _ in 0..case.gathers {
        let base = Base::bind(
            case.from
                .map_or_else(BindConfig::default, BindConfig::address),
        )
        .await?;
        if let Some(taken) = case.taken {
            let server = if taken == Taken::First {
                servers.first()
            } else {
                servers.last()
            };
            take(world, &base, *server.ok_or("nobody to ask")?)?;
        }
        let cohort: Vec<StunServer> = servers.iter().copied().map(StunServer::Address).collect();
        running.spawn(async move {
            let gathering = base.gather(&cohort, &GatherConfig::default()).await;
            (base, gathering)
        });
    }
    Ok(running.join_all().await)
}

/// The router itself talks to `server` from the port that this base would keep.
fn take(world: &World, base: &Base, server: SocketAddr) -> Result<(), Failure> {
    let port = base
        .local_addrs()
        .find(SocketAddr::is_ipv4)
        .ok_or("no IPv4 base")?
        .port();
    let router = world.routers.last().ok_or("a site has a router")?;
    router.inside(|| {
        UdpSocket::bind((EXTERNAL_IPV4, port))?.send_to(b"mine", server)?;
        Ok(())
    })
}

fn is_asked(case: &Case, local: SocketAddr) -> bool {
    case.cohort
        .servers()
        .iter()
        .any(|server| server.is_ipv4() == local.is_ipv4())
}

/// The strictest of the routers that the packets cross.
fn built_filtering(case: &Case) -> Filtering {
    let strictness = |nat: &Router| match nat.filtering() {
        Filtering::EndpointIndependent => 0,
        Filtering::AddressDependent => 1,
        Filtering::AddressAndPortDependent => 2,
        _ => 3,
    };
    let routers = match (case.site.uplinks, case.from) {
        (Uplinks::OfTheClient, None) => case.site.routers.get(..1),
        (Uplinks::OfTheClient, Some(_)) => case.site.routers.get(1..),
        _ => Some(case.site.routers),
    };
    routers
        .unwrap_or_default()
        .iter()
        .max_by_key(|nat| strictness(nat))
        .map_or(Filtering::Unknown, |nat| nat.filtering())
}

fn compare(case: &Case, summary: &NatSummary) -> Finding {
    let expected = case.expected;
    let undecided = summary.nat_type() == NatType::Unknown && expected.verdict != NatType::Unknown;
    if undecided && summary.counts().server_addresses < 2 && case.site.lossy {
        return Finding::Starved;
    }
    if undecided && case.may_contradict && summary.rule() == Rule::Contradictory {
        return Finding::Starved;
    }
    if undecided {
        return Finding::Undecided;
    }
    // the answer that differs may come before a second one agrees: that proves the truth, and ends the
    // gathering
    let expected = match summary.rule() {
        Rule::ServersDiffer if expected.rule == Rule::Contradictory => Expected {
            verdict: case.truth,
            mapping: Mapping::Dependent,
            rule: Rule::ServersDiffer,
            ..expected
        },
        _ => expected,
    };
    let mut wrong = Vec::new();
    let mut check = |what: &str, found: String, expected: String| {
        if found != expected {
            wrong.push(format!("{what} is {found}, not {expected}"));
        }
    };
    check(
        "the verdict",
        format!("{:?}", summary.nat_type()),
        format!("{:?}", expected.verdict),
    );
    check(
        "the mapping",
        format!("{:?}", summary.mapping()),
        format!("{:?}", expected.mapping),
    );
    check(
        "the rule",
        summary.rule().as_str().into(),
        expected.rule.as_str().into(),
    );
    check(
        "port kept",
        format!("{:?}", summary.port_preserved()),
        format!("{:?}", expected.port_preserved),
    );
    if expected.external.is_some() {
        check(
            "the external address",
            format!("{:?}", summary.external_ip()),
            format!("{:?}", expected.external),
        );
    }
    if wrong.is_empty() {
        Finding::Right
    } else {
        Finding::Wrong(wrong)
    }
}

const fn mapping_name(mapping: Mapping) -> &'static str {
    match mapping {
        Mapping::EndpointIndependent => "independent",
        Mapping::AddressDependent => "by address",
        Mapping::AddressAndPortDependent => "by address, port",
        Mapping::Dependent => "dependent",
        _ => "unknown",
    }
}

const fn filtering_name(filtering: Filtering) -> &'static str {
    match filtering {
        Filtering::EndpointIndependent => "nothing",
        Filtering::AddressDependent => "by address",
        Filtering::AddressAndPortDependent => "by address, port",
        _ => "unknown",
    }
}

fn render(rows: &[Row]) -> String {
    let heads = [
        "built", "truth", "verdict", "captured", "mapping", "rule", "port", "filters", "heard",
        "packets", "ms", "runs", "",
    ];
    let cells = |row: &Row| {
        vec![
            row.case.into(),
            row.truth.into(),
            row.verdict.into(),
            row.captured.into(),
            row.mapping.into(),
            row.rule.into(),
            row.port_preserved
                .map_or("-", |kept| if kept { "kept" } else { "changed" })
                .into(),
            row.filtering.into(),
            format!("{} of {}", row.answered, row.asked),
            row.packets.to_string(),
            format!("{:.1}", row.ms),
            row.gathers.to_string(),
            match () {
                () if !row.faults.is_empty() => "WRONG".into(),
                () if row.expected != row.verdict => "differs".into(),
                () if row.expected == NatType::Unknown.as_legacy() => "right: undecidable".into(),
                () => "right".into(),
            },
        ]
    };
    table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// The short form of a part of the lab has to stand. Without a lab, the reason is written past the test
/// harness's capture.
#[cfg(test)]
fn stands_in_short(judge_all: fn(&Choice) -> Result<bool, Failure>) {
    use std::io::Write;
    if let Some(reason) = needs::lab() {
        // nothing is left to do if even that fails
        let _ = writeln!(std::io::stderr(), "skipped: {reason}");
        return;
    }
    let short = Choice {
        quick: true,
        ..Choice::default()
    };
    assert!(judge_all(&short).unwrap(), "see the table above");
}

#[cfg(test)]
mod tests {
    use super::{judge_all, stands_in_short};

    #[test]
    fn every_quick_case_is_judged_as_it_was_built() {
        stands_in_short(judge_all);
    }
}
