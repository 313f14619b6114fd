//! Sends spans of three kinds of NAT to a collector or a file.
//!
//! `emit http URL`, `emit grpc URL` or `emit file PATH`.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use nat_summary::{CandidateKind, Evidence, NatSummary, Observation, Outcome};
use otel_nat::pipeline::Pipeline;
use otel_nat::{FailureReason, TowardPeer};

const SERVERS: [&str; 2] = ["198.51.100.1:3478", "198.51.100.2:3478"];

fn seen(mapped: [&str; 2]) -> Result<NatSummary, Box<dyn Error>> {
    let mut evidence = Evidence::new();
    for (sequence, (server, mapped)) in (0..).zip(SERVERS.into_iter().zip(mapped)) {
        evidence.observe(Observation {
            base: "192.168.1.5:50000".parse()?,
            server: server.parse::<SocketAddr>()?.into(),
            mapped: mapped.parse()?,
            sequence,
        });
    }
    Ok(evidence.summary())
}

fn blocked() -> Result<NatSummary, Box<dyn Error>> {
    let mut evidence = Evidence::new();
    evidence.add_local([192, 168, 1, 5].into());
    for server in SERVERS {
        evidence.record_outcome(server.parse::<SocketAddr>()?.into(), Outcome::TimedOut);
    }
    Ok(evidence.summary())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let builder = Pipeline::builder().with_service_name("emit");
    let pipeline = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["http", url] => builder.otlp_http(Some(url))?,
        ["grpc", url] => builder.otlp_grpc(Some(url))?,
        ["file", path] => builder.json_file(path)?,
        _ => return Err("usage: emit http URL | grpc URL | file PATH".into()),
    };
    let telemetry = pipeline.telemetry();

    let mut cone = telemetry.attempt();
    cone.begin_gathering();
    let summary = seen(["203.0.113.7:50000"; 2])?;
    cone.end_gathering(&summary);
    cone.begin_checks();
    cone.set_selected_pair(CandidateKind::ServerReflexive, CandidateKind::Host);
    cone.set_mapping_toward_peer(TowardPeer::Kept);
    cone.succeed(&summary);
    telemetry.attempt().fail(
        &seen(["203.0.113.7:40001", "203.0.113.7:40002"])?,
        FailureReason::Timeout,
    );
    telemetry
        .attempt()
        .fail(&blocked()?, FailureReason::UdpBlocked);

    let delivered = pipeline.shutdown(Duration::from_secs(5));
    println!("{:?}", pipeline.delivery());
    Ok(delivered?)
}
