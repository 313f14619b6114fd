//! `lab peers`: two agents, each behind a NAT of the kernel; what their checks showed, against what
//! was built.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ice_gather::{
    AgentConfig, Base, BindConfig, Credentials, Finding, GatherConfig, IceAgent, PeerDropped,
    PeerView, Rebinding, RemoteCandidate, RemoteDescription, Role, StunServer, discover_filtering,
};
use nat_summary::{
    Candidate, Evidence, FailureCause, Filtering, FilteringSeen, Mapping, NatSummary, NatType,
    PeerSummary, TowardPeer,
};
use serde::Serialize;
use tokio::sync::{Barrier, mpsc};
use tokio::time::timeout;

use super::Choice;
use super::cases::Cohort;
use super::meeting::{First, Meeting, Truth, kind, meetings, only};
use crate::kernel::namespace::Namespace;
use crate::kernel::router::Router;
use crate::kernel::servers::{COTURN, PORTS, ipv4};
use crate::kernel::world::{Site, World, cable, default_via, up};
use crate::{Failure, bounds, needs, table};

/// How long the first side's checks are alone on the way.
const HEADSTART: Duration = Duration::from_millis(250);
/// More checks once a pair works, so that each side has had an answer.
const SETTLED: Duration = Duration::from_millis(250);
/// The peer's router outside.
const EXTERNAL: &str = "192.0.2.2";

/// The network of the peer's host, its router and the host itself: without a NAT it has an address
/// that reaches far.
pub(super) const fn inside(theirs: Router) -> [&'static str; 3] {
    if theirs.translates() {
        ["10.19.0.0/25", "10.19.0.1", "10.19.0.2"]
    } else {
        ["192.0.2.128/25", "192.0.2.129", "192.0.2.130"]
    }
}

/// One line of the result, of our end; the peer's is checked as well.
#[derive(Debug, Serialize)]
struct Row {
    meeting: String,
    ours: &'static str,
    theirs: &'static str,
    first: &'static str,
    servers: usize,
    connected: bool,
    /// By the servers alone.
    verdict: &'static str,
    /// Beside the servers' verdict, by the peer's word.
    toward_peer: Option<&'static str>,
    mapping_with_peer: &'static str,
    word: &'static str,
    filtering: Option<&'static str>,
    /// Of a failure.
    cause: Option<&'static str>,
    checks: (u32, u32, u32),
    /// Unknown, though it was to be shown.
    missing: Vec<String>,
    /// Not the truth.
    wrong: Vec<String>,
}

/// What one end found.
struct Found {
    connected: bool,
    summary: NatSummary,
    peer: PeerSummary,
    view: PeerView,
    cause: FailureCause,
    rebinding: Option<Rebinding>,
}

/// What one end tells the other.
struct Described {
    credentials: Credentials,
    candidates: Vec<String>,
}

/// Whether every end was judged as it was built.
pub(super) fn judge_all(choice: &Choice) -> Result<bool, Failure> {
    needs::lab().map_or(Ok(()), Err)?;
    let started = Instant::now();
    let with_coturn = needs::has_coturn();
    let mut rows = Vec::new();
    let mut skipped = Vec::new();
    for meeting in meetings() {
        let name = meeting.name();
        if (choice.quick && !meeting.is_quick())
            || choice
                .only
                .as_deref()
                .is_some_and(|part| !name.contains(part))
        {
            continue;
        }
        if meeting.discovers && !with_coturn {
            skipped.push(name);
            continue;
        }
        let row = row(&meeting, with_coturn).map_err(|failure| format!("{name}: {failure}"))?;
        if !choice.json {
            println!(
                "{name:<64} {}",
                if row.connected {
                    "connected"
                } else {
                    "not connected"
                }
            );
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err("no meeting has that in its name".into());
    }
    let faults = |row: &Row| row.wrong.len() + row.missing.len();
    let passed = rows.iter().all(|row| faults(row) == 0);
    let seconds = started.elapsed().as_secs_f64();
    if choice.json {
        println!(
            "{:#}",
            serde_json::json!({ "passed": passed, "seconds": seconds, "skipped": skipped, "meetings": rows })
        );
        return Ok(passed);
    }
    println!("\n{}", render(&rows));
    for row in &rows {
        row.wrong
            .iter()
            .for_each(|fault| println!("WRONG  {}: {fault}", row.meeting));
        row.missing
            .iter()
            .for_each(|fault| println!("MISSING  {}: {fault}", row.meeting));
    }
    skipped.iter().for_each(|name| {
        println!("skipped: {name}: it needs coturn (`cargo xtask lab --install`)")
    });
    let changed = rows
        .iter()
        .filter(|row| row.toward_peer == Some("changed") && row.verdict == "Cone NAT")
        .count();
    println!(
        "{changed} meetings in which every server says cone, and the peer is sent to from another port"
    );
    let right = rows.iter().filter(|row| faults(row) == 0).count();
    let wrong = rows.iter().filter(|row| !row.wrong.is_empty()).count();
    println!(
        "{right} of {} meetings as they were built, {wrong} wrong, in {seconds:.1} s",
        rows.len()
    );
    Ok(passed)
}

fn row(meeting: &Meeting, with_coturn: bool) -> Result<Row, Failure> {
    let world = World::build(Site::behind(only(meeting.ours)), with_coturn)?;
    let far = far_end(&world, meeting)?;
    let (ours, theirs) = meet(meeting, &world, &far)?;

    let (mut wrong, mut missing) = (Vec::new(), Vec::new());
    for (end, found, truth) in [
        ("", &ours, meeting.truth(true)),
        ("the peer's end: ", &theirs, meeting.truth(false)),
    ] {
        compare(end, found, truth, &mut wrong, &mut missing);
    }
    for found in [&ours, &theirs] {
        // an answer that was under way when our NAT forgot comes from another port than the one
        // asked
        if found.view.dropped != PeerDropped::default() && !meeting.rebinds {
            wrong.push(format!(
                "honest checks were dropped: {:?}",
                found.view.dropped
            ));
        }
    }
    let rebound = ours
        .rebinding
        .map(|rebinding| (rebinding.was, rebinding.is));
    let expected = meeting
        .rebinds
        .then_some((TowardPeer::Kept, TowardPeer::Changed));
    if rebound != expected || theirs.rebinding.is_some() {
        wrong.push(format!(
            "the rebinding is {rebound:?}, not {expected:?}; the peer's is {:?}",
            theirs.rebinding
        ));
    }
    let (toward_peer, filtering) = (ours.peer.toward_peer, ours.peer.filtering);
    Ok(Row {
        meeting: meeting.name(),
        ours: kind(meeting.ours),
        theirs: kind(meeting.theirs),
        first: if meeting.first == First::Ours {
            "ours"
        } else {
            "theirs"
        },
        servers: meeting.servers,
        connected: ours.connected,
        verdict: ours
            .summary
            .with_filtering(Filtering::Unknown)
            .nat_type()
            .as_legacy(),
        toward_peer: (toward_peer != TowardPeer::Unobserved).then(|| toward_peer.as_str()),
        mapping_with_peer: ours.peer.mapping.as_legacy(),
        word: ours.peer.decided_by.as_str(),
        filtering: (filtering != FilteringSeen::Unobserved).then(|| filtering.as_str()),
        cause: (!ours.connected).then(|| ours.cause.as_str()),
        checks: (
            ours.view.checks.sent,
            ours.view.checks.answered,
            ours.view.checks.received,
        ),
        missing,
        wrong,
    })
}

/// Turns the peer of the world into a router, and puts a host behind it. What is inside stays
/// inside: a private address leads nowhere from outside, unless there is no NAT.
pub(super) fn far_end(world: &World, meeting: &Meeting) -> Result<Namespace, Failure> {
    let far = Namespace::new()?;
    let [network, router, host] = inside(meeting.theirs);
    cable((&far, "wan"), (&world.peer, "lan"))?;
    world.peer.ip(&up(
        "lan",
        &[format!("{router}/25"), "2001:db8:19::1/64".into()],
    ))?;
    far.ip(&up(
        "wan",
        &[format!("{host}/25"), "2001:db8:19::2/64".into()],
    ))?;
    far.ip(&default_via(router, "2001:db8:19::1"))?;
    world
        .core
        .ip(&[format!("route add {network} via {EXTERNAL}")])?;
    world.peer.run(
        "nft",
        &["-f", "-"],
        &meeting.theirs.rules_at(EXTERNAL, host),
    )?;
    let inner = [(meeting.ours, "192.168.0.0/16"), (meeting.theirs, network)];
    let walls: String = inner
        .iter()
        .filter(|(nat, _)| nat.translates())
        .map(|(_, network)| format!("ip daddr {network} drop\n"))
        .collect();
    world.core.run(
        "nft",
        &["-f", "-"],
        &format!("table inet walls {{\nchain forward {{\ntype filter hook forward priority filter;\n{walls}}}\n}}\n"),
    )?;
    Ok(far)
}

/// Both ends at once, each in its namespace.
fn meet(meeting: &Meeting, world: &World, far: &Namespace) -> Result<(Found, Found), Failure> {
    let (to_far, from_near) = mpsc::channel(1);
    let (to_near, from_far) = mpsc::channel(1);
    let together = Barrier::new(2);
    let ours_first = meeting.first == First::Ours;
    let end = |is_ours, tell, hear| End {
        meeting,
        world,
        is_ours,
        is_first: is_ours == ours_first,
        together: &together,
        tell,
        hear,
    };
    let (ours, theirs) = (end(true, to_far, from_far), end(false, to_near, from_near));
    std::thread::scope(|scope| {
        let there = scope.spawn(|| far.block_on_in_order(|| theirs.run()));
        let here = world.client.block_on_in_order(|| ours.run());
        let there = there
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((here?, there?))
    })
}

struct End<'a> {
    meeting: &'a Meeting,
    world: &'a World,
    is_ours: bool,
    is_first: bool,
    together: &'a Barrier,
    tell: mpsc::Sender<Described>,
    hear: mpsc::Receiver<Described>,
}

impl End<'_> {
    async fn run(mut self) -> Result<Found, Failure> {
        let (local, servers) = if self.is_ours {
            (self.world.client_ipv4, self.meeting.servers)
        } else {
            (inside(self.meeting.theirs)[2].parse()?, 5)
        };
        let filtering = if self.is_ours && self.meeting.discovers {
            discovered(local).await?
        } else {
            Filtering::Unknown
        };
        let base = Base::bind(BindConfig::address(local)).await?;
        let config = AgentConfig::default()
            .with_check_interval(Duration::from_millis(50))
            .with_keepalive_interval(Duration::from_millis(50));
        let role = if self.is_ours {
            Role::Controlling
        } else {
            Role::Controlled
        };
        let mut agent = IceAgent::new(&base, role, config).await?;
        let cohort: Vec<StunServer> = Cohort::Five
            .servers()
            .into_iter()
            .take(servers)
            .map(StunServer::Address)
            .collect();
        let gathering = base.gather(&cohort, &GatherConfig::default()).await;
        let candidates = gathering
            .candidates
            .iter()
            .map(|c| c.as_candidate().to_string())
            .collect();
        self.tell
            .send(Described {
                credentials: agent.credentials().clone(),
                candidates,
            })
            .await?;
        let remote = self.hear.recv().await.ok_or("the other end is gone")?;
        self.together.wait().await;

        let read = |line: &'_ String| {
            Candidate::parse(line)
                .ok()
                .and_then(|c| RemoteCandidate::from_candidate(&c))
        };
        let description = RemoteDescription {
            credentials: remote.credentials,
            candidates: remote.candidates.iter().filter_map(read).collect(),
        };
        let mut patience = bounds::LAB_PAIR;
        if self.is_first {
            patience += HEADSTART;
        } else {
            tokio::time::sleep(HEADSTART).await;
        }
        let path = if self.meeting.ghost && !self.is_ours {
            tokio::time::sleep(patience).await;
            None
        } else {
            agent.connect(description, patience).await.ok()
        };
        if self.meeting.rebinds {
            tokio::time::sleep(SETTLED).await;
            if self.is_ours {
                forget(self.world)?;
                // the way out is back when it is back; without a rebinding by then, the table says
                // so
                let _ = timeout(
                    bounds::CONNECTED_WITHIN,
                    base.rebindings().wait_for(Option::is_some),
                )
                .await;
            }
        }
        // neither may go while the other still checks
        tokio::time::sleep(SETTLED).await;
        self.together.wait().await;
        let (evidence, view) = (base.evidence(), base.peer_view());
        let summary = evidence.summary().with_filtering(filtering);
        let advertised = remote
            .candidates
            .iter()
            .filter_map(|line| Candidate::parse(line).ok());
        let theirs = Evidence::from_candidates(advertised);
        let cause = FailureCause::of(&summary, Some(&theirs), view.checks, path.is_some());
        let peer = view.evidence.summary(&evidence);
        self.together.wait().await;
        agent.close().await;
        let rebinding = *base.rebindings().borrow();
        Ok(Found {
            connected: path.is_some(),
            summary,
            peer,
            view,
            cause,
            rebinding,
        })
    }
}

/// Our router loses every mapping, as one does that starts again: a kernel's masquerade forgets
/// those of an interface that goes down. What it makes anew is on another port.
fn forget(world: &World) -> Result<(), Failure> {
    let router = world.routers.last().ok_or("a site has a router")?;
    let rules = format!(
        "flush ruleset\n{}",
        Router::Masquerade("random").rules(false)
    );
    router.run("nft", &["-f", "-"], &rules)?;
    router.ip(&[
        "link set wan down".into(),
        "link set wan up".into(),
        "route add default via 198.51.100.1".into(),
    ])
}

/// Asks both addresses of coturn, each with a socket of its own.
async fn discovered(local: IpAddr) -> Result<Filtering, Failure> {
    let mut findings = Vec::new();
    for number in COTURN {
        let extra = Base::bind(BindConfig::address(local)).await?;
        findings.push(discover_filtering(extra, SocketAddr::new(ipv4(number), PORTS[0])).await);
    }
    Ok(Finding::agree(findings))
}

/// Nothing may differ from the truth; and what the checks show has to be there.
fn compare(
    end: &str,
    found: &Found,
    truth: Truth,
    wrong: &mut Vec<String>,
    missing: &mut Vec<String>,
) {
    let mut check = |what: &str, found: String, expected: String, is_unknown: bool| {
        if found != expected {
            let fault = format!("{end}{what} is {found}, not {expected}");
            if is_unknown {
                missing.push(fault)
            } else {
                wrong.push(fault)
            }
        }
    };
    let Found {
        connected,
        summary,
        peer,
        cause,
        ..
    } = found;
    let name = |connected: bool| {
        if connected {
            "a connection"
        } else {
            "no connection"
        }
        .to_owned()
    };
    check("the outcome", name(*connected), name(truth.meets), false);
    let by_servers = summary.with_filtering(Filtering::Unknown).nat_type();
    let is_unknown = by_servers == NatType::Unknown;
    check(
        "the servers' verdict",
        format!("{by_servers:?}"),
        format!("{:?}", truth.by_servers),
        is_unknown,
    );
    let is_unknown = peer.toward_peer == TowardPeer::Unobserved;
    check(
        "toward the peer",
        format!("{:?}", peer.toward_peer),
        format!("{:?}", truth.toward_peer),
        is_unknown,
    );
    let is_unknown = peer.filtering < truth.filtering;
    check(
        "the filtering",
        format!("{:?}", peer.filtering),
        format!("{:?}", truth.filtering),
        is_unknown,
    );
    let (mapping, is_unknown) = (
        (peer.mapping, peer.decided_by),
        peer.mapping == Mapping::Unknown,
    );
    check(
        "the mapping with the peer",
        format!("{mapping:?}"),
        format!("{:?}", truth.mapping),
        is_unknown,
    );
    if !connected {
        let is_unknown = *cause == FailureCause::Unknown;
        check(
            "the cause",
            format!("{cause:?}"),
            format!("{:?}", truth.cause),
            is_unknown,
        );
    }
}

fn render(rows: &[Row]) -> String {
    let heads = [
        "ours",
        "theirs",
        "first",
        "servers",
        "connected",
        "by servers",
        "toward peer",
        "mapping with peer",
        "word",
        "filter shown",
        "cause",
        "sent/answered/heard",
        "",
    ];
    let cells = |row: &Row| {
        let dash = |text: Option<&'static str>| text.unwrap_or("-").to_owned();
        vec![
            row.ours.into(),
            row.theirs.into(),
            row.first.into(),
            row.servers.to_string(),
            if row.connected { "yes" } else { "no" }.into(),
            row.verdict.into(),
            dash(row.toward_peer),
            row.mapping_with_peer.into(),
            row.word.into(),
            dash(row.filtering),
            dash(row.cause),
            format!("{}/{}/{}", row.checks.0, row.checks.1, row.checks.2),
            match (row.wrong.is_empty(), row.missing.is_empty()) {
                (false, _) => "WRONG",
                (true, false) => "missing",
                (true, true) => "right",
            }
            .into(),
        ]
    };
    table::render(&heads, &rows.iter().map(cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::stands_in_short;
    use super::judge_all;

    #[test]
    fn every_quick_meeting_is_judged_as_it_was_built() {
        stands_in_short(judge_all);
    }
}
