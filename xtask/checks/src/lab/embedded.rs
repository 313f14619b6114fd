//! `lab embedded`: two `webrtc` peer connections on bases of ours, each behind a NAT of the kernel: the
//! outcome, and the span of one end, against what was built.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ice_gather::peer_connection::PeerConnection;
use ice_gather::{Base, BindConfig, GatherConfig, StunServer};
use nat_summary::PathEnd;
use opentelemetry_sdk::trace::SpanData;
use otel_nat::{FailureReason, keys};
use serde::Serialize;
use tokio::sync::{Barrier, mpsc};
use webrtc::api::APIBuilder;
use webrtc::api::setting_engine::SettingEngine;
use webrtc::peer_connection::configuration::RTCConfiguration;
use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;

use super::Choice;
use super::cases::Cohort;
use super::meeting::{FULL, First, MASQUERADE, Meeting, OPEN, SYMMETRIC, meeting, only};
use super::peers::{far_end, inside};
use crate::kernel::router::Router;
use crate::kernel::world::{Site, World};
use crate::spans::{Spans, attribute};
use crate::{Failure, bounds, needs, table};

/// Where no pair can work, a connection would be waited for in vain.
const IN_VAIN: Duration = Duration::from_secs(2);

/// One line of the lab.
struct Case {
    ours: Router,
    theirs: Router,
    /// The name of the span.
    span: &'static str,
    /// The attributes that it has to have.
    attributes: &'static [(&'static str, &'static str)],
    slow: bool,
}

const CASES: [Case; 4] = [
    Case {
        ours: MASQUERADE,
        theirs: OPEN,
        span: "nat_success",
        attributes: &[
            (keys::IS_NATTED, "true"),
            (keys::NAT_TYPE, "Cone NAT"),
            (keys::EXTERNAL_IP, "198.51.100.7"),
            (keys::PAIR_LOCAL, "host"),
            (keys::PEER_NAT_TYPE, "Open to the Internet"),
        ],
        slow: false,
    },
    Case {
        ours: MASQUERADE,
        theirs: FULL,
        span: "nat_success",
        attributes: &[
            (keys::IS_NATTED, "true"),
            (keys::NAT_TYPE, "Cone NAT"),
            (keys::EXTERNAL_IP, "198.51.100.7"),
            (keys::PAIR_LOCAL, "host"),
        ],
        slow: false,
    },
    Case {
        ours: OPEN,
        theirs: MASQUERADE,
        span: "nat_success",
        attributes: &[
            (keys::NAT_TYPE, "Open to the Internet"),
            (keys::PAIR_LOCAL, "host"),
        ],
        slow: true,
    },
    Case {
        ours: SYMMETRIC,
        theirs: SYMMETRIC,
        span: "nat_failure",
        attributes: &[
            (keys::NAT_TYPE, "Symmetric NAT"),
            (keys::ERROR_TYPE, "timeout"),
            (keys::FAILURE_CAUSE, "both_symmetric"),
        ],
        slow: true,
    },
];

/// One line of the result.
#[derive(Debug, Serialize)]
struct Row {
    case: String,
    path: &'static str,
    span: String,
    nat_type: String,
    ms: u128,
    wrong: Vec<String>,
}

/// Whether every span is as it was built.
pub(super) fn judge_all(choice: &Choice) -> Result<bool, Failure> {
    needs::lab().map_or(Ok(()), Err)?;
    let with_coturn = needs::has_coturn();
    let mut rows = Vec::new();
    for case in &CASES {
        let meeting = meeting(case.ours, case.theirs, First::Ours);
        let name = meeting.name();
        let is_named = |part: &str| name.contains(part);
        if (choice.quick && case.slow) || !choice.only.as_deref().is_none_or(is_named) {
            continue;
        }
        let row = row(case, &meeting, with_coturn).map_err(|failure| format!("{name}: {failure}"));
        rows.push(row?);
    }
    if rows.is_empty() {
        return Err("no case has that in its name".into());
    }
    let passed = rows.iter().all(|row| row.wrong.is_empty());
    if choice.json {
        println!(
            "{:#}",
            serde_json::json!({ "passed": passed, "cases": rows })
        );
        return Ok(passed);
    }
    let cells = |row: &Row| {
        vec![
            row.case.clone(),
            row.path.to_owned(),
            row.span.clone(),
            row.nat_type.clone(),
            row.ms.to_string(),
            if row.wrong.is_empty() {
                "right"
            } else {
                "WRONG"
            }
            .to_owned(),
        ]
    };
    let lines: Vec<_> = rows.iter().map(cells).collect();
    println!(
        "{}",
        table::render(&["built", "path", "span", "verdict", "ms", ""], &lines)
    );
    for row in &rows {
        for fault in &row.wrong {
            println!("WRONG  {}: {fault}", row.case);
        }
    }
    Ok(passed)
}

fn row(case: &Case, meeting: &Meeting, with_coturn: bool) -> Result<Row, Failure> {
    let world = World::build(Site::behind(only(case.ours)), with_coturn)?;
    let far = far_end(&world, meeting)?;
    let spans = Spans::default();
    let (to_far, from_near) = mpsc::channel(1);
    let (to_near, from_far) = mpsc::channel(1);
    let together = Barrier::new(2);
    let patience = if case.span == "nat_success" {
        bounds::CONNECTED_WITHIN
    } else {
        IN_VAIN
    };
    let begun = Instant::now();
    let path = std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            far.block_on(|| answer(case.theirs, to_near, from_near, patience, &together))
        });
        let ours = || {
            offer(
                &spans,
                world.client_ipv4,
                to_far,
                from_far,
                patience,
                &together,
            )
        };
        let here = world.client.block_on(ours);
        let there = there
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        there?;
        here
    })?;
    let ms = begun.elapsed().as_millis();
    let spans = spans.take();
    let [span] = &spans[..] else {
        return Err(format!("{} spans of one attempt", spans.len()).into());
    };
    Ok(Row {
        case: meeting.name(),
        path: path.as_str(),
        span: span.name.to_string(),
        nat_type: attribute(span, keys::NAT_TYPE).unwrap_or_default(),
        ms,
        wrong: wrong(case, span),
    })
}

fn wrong(case: &Case, span: &SpanData) -> Vec<String> {
    let mut wrong = Vec::new();
    if span.name != case.span {
        wrong.push(format!("the span is {}, not {}", span.name, case.span));
    }
    // kept or changed: that goes by whose check is first at our NAT
    let translates = case.ours.translates() && case.span == "nat_success";
    if translates && attribute(span, keys::PEER_MAPPING).is_none() {
        wrong.push("the peer's answers reported no mapping".to_owned());
    }
    for (key, expected) in case.attributes {
        let found = attribute(span, key);
        if found.as_deref() != Some(*expected) {
            wrong.push(format!("{key} is {found:?}, not {expected}"));
        }
    }
    wrong
}

/// A peer connection on a base there, which has asked the servers.
async fn connection(address: IpAddr) -> Result<PeerConnection, Failure> {
    let base = Base::bind(BindConfig::address(address)).await?;
    let (settings, api) = (SettingEngine::default(), APIBuilder::new());
    let connection = PeerConnection::new(base, settings, api, RTCConfiguration::default()).await?;
    let servers = Cohort::Five.servers().into_iter();
    let cohort: Vec<StunServer> = servers.map(StunServer::Address).collect();
    connection.gather(&cohort, &GatherConfig::default()).await;
    Ok(connection)
}

/// Our end: an attempt as a program makes it that embeds the two libraries.
async fn offer(
    spans: &Spans,
    address: IpAddr,
    tell: mpsc::Sender<RTCSessionDescription>,
    mut hear: mpsc::Receiver<RTCSessionDescription>,
    patience: Duration,
    together: &Barrier,
) -> Result<PathEnd, Failure> {
    let mut attempt = spans.telemetry().attempt();
    attempt.begin_gathering();
    let connection = connection(address).await?;
    attempt.end_gathering(&connection.base().summary());
    connection
        .library()
        .create_data_channel("data", None)
        .await?;
    let offer = connection.library().create_offer(None).await?;
    tell.send(connection.set_local_description(offer).await?)
        .await?;
    let answer = hear.recv().await.ok_or("the other end is gone")?;
    attempt.begin_checks();
    connection.set_remote_description(answer).await?;
    let path = connection.opened(patience).await;
    together.wait().await;
    let evidence = connection.close().await;
    let failure = FailureReason::of_path(evidence.path);
    attempt.end(&evidence.as_attempt(), failure);
    Ok(path)
}

/// The peer's end.
async fn answer(
    theirs: Router,
    tell: mpsc::Sender<RTCSessionDescription>,
    mut hear: mpsc::Receiver<RTCSessionDescription>,
    patience: Duration,
    together: &Barrier,
) -> Result<(), Failure> {
    let connection = connection(inside(theirs)[2].parse()?).await?;
    let offer = hear.recv().await.ok_or("the other end is gone")?;
    connection.set_remote_description(offer).await?;
    let answer = connection.library().create_answer(None).await?;
    tell.send(connection.set_local_description(answer).await?)
        .await?;
    connection.opened(patience).await;
    together.wait().await;
    connection.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::stands_in_short;
    use super::judge_all;

    #[test]
    fn a_peer_connection_behind_a_nat_connects_and_has_the_right_span() {
        stands_in_short(judge_all);
    }
}
