//! Canary addresses: planted wherever an attempt holds an address, and looked for in everything
//! that comes out.
//!
//! The run is a process of its own, so that its logs are all of its logs: the SDK's, the exporters'
//! and their stacks', at the level a program has by default.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nat_summary::{CandidateKind, Evidence, NatSummary, Observation, Outcome, Outlook, ServerId};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use otel_nat::pipeline::{Capture, OtlpError, Pipeline};
use otel_nat::{
    ExternalIp, FailureCause, FailureReason, MappingLifetime, Telemetry, TowardPeer, keys,
};

use crate::addresses::addresses;
use crate::json_lines::Page;

const BASES: [&str; 2] = ["10.77.66.55:50111", "[fd77::66:55]:50112"];
const SERVERS: [[&str; 2]; 2] = [
    ["198.51.100.177:3478", "198.51.100.178:3478"],
    ["[2001:db8:177::1]:3478", "[2001:db8:178::1]:3478"],
];
const MAPPED: [&str; 2] = ["203.0.113.199:40222", "[2001:db8:77:88::99]:40223"];
const LOCALS: [&str; 2] = ["192.168.177.88", "fd77::88"];
/// An address without a listener.
const COLLECTOR: &str = "127.77.0.1:1";

fn ip(socket: &str) -> String {
    socket
        .parse::<std::net::SocketAddr>()
        .unwrap()
        .ip()
        .to_string()
}

/// Every canary, as it would be printed.
fn canaries() -> Vec<String> {
    let sockets = BASES
        .into_iter()
        .chain(SERVERS.into_iter().flatten())
        .chain(MAPPED)
        .chain([COLLECTOR]);
    sockets.map(ip).chain(LOCALS.map(str::to_owned)).collect()
}

fn summaries() -> Vec<NatSummary> {
    let mut summaries = Vec::new();
    for ((base, servers), mapped) in BASES.into_iter().zip(SERVERS).zip(MAPPED) {
        let mut evidence = Evidence::new();
        for local in LOCALS {
            evidence.add_local(local.parse().unwrap());
        }
        evidence.record_outcome(ServerId::named("198.51.100.179", 3478), Outcome::TimedOut);
        for (sequence, server) in (0..).zip(servers) {
            evidence.observe(Observation {
                base: base.parse().unwrap(),
                server: server.parse::<std::net::SocketAddr>().unwrap().into(),
                mapped: mapped.parse().unwrap(),
                sequence,
            });
            summaries.push(evidence.summary());
        }
    }
    summaries
}

/// Attempts of every outcome.
fn attempts(telemetry: &Telemetry) {
    for summary in summaries() {
        for outcome in [
            None,
            Some(FailureReason::Timeout),
            Some(FailureReason::Cancelled),
        ] {
            let mut attempt = telemetry.attempt();
            attempt.begin_gathering();
            attempt.end_gathering(&summary);
            attempt.begin_wait();
            attempt.end_wait();
            attempt.begin_checks();
            attempt.set_selected_pair(CandidateKind::ServerReflexive, CandidateKind::PeerReflexive);
            attempt.set_mapping_toward_peer(TowardPeer::Changed);
            attempt.set_peer_summary(&summary);
            attempt.set_outlook(Outlook::between(&summary, &summary));
            attempt.set_failure_cause(FailureCause::PeerSilent);
            println!("{attempt:?}");
            telemetry.record_mapping_lifetime(
                &summary,
                MappingLifetime {
                    rebindings: 1,
                    survived: Some(Duration::from_secs(40)),
                },
            );
            match outcome {
                None => attempt.succeed(&summary),
                Some(FailureReason::Cancelled) => drop(attempt),
                Some(reason) => attempt.fail(&summary, reason),
            }
        }
    }
}

/// Speaks of addresses as it fails.
#[derive(Debug)]
struct Chatty;

impl SpanExporter for Chatty {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Err(OTelSdkError::InternalFailure(format!(
            "{COLLECTOR} refused {}",
            MAPPED[0]
        )))
    }
}

/// One request's body, then nothing more.
fn listen() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let received = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&received);
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let mut buffer = [0; 65_536];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            kept.lock().unwrap().extend_from_slice(&buffer[..read]);
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    (url, received)
}

/// Prints everything there is to see; the test below reads it.
#[test]
#[ignore = "run by the test below"]
fn run() {
    let policy = match std::env::var("CANARY").as_deref() {
        Ok("Prefix") => ExternalIp::Prefix,
        Ok("Omit") => ExternalIp::Omit,
        _ => ExternalIp::Full,
    };
    tracing::subscriber::set_global_default(
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(std::io::stdout)
            .finish(),
    )
    .unwrap();

    let capture = Capture::new();
    let metrics = InMemoryMetricExporter::default();
    let meter = SdkMeterProvider::builder()
        .with_reader(PeriodicReader::builder(metrics.clone()).build())
        .build();
    let telemetry = capture
        .telemetry()
        .with_external_ip(policy)
        .with_metrics(meter.clone());
    attempts(&telemetry);
    println!("{telemetry:?} {:?}", telemetry.tally());
    for span in capture.spans() {
        println!("{span:?}");
    }
    meter.force_flush().unwrap();
    println!("{:?}", metrics.get_finished_metrics().unwrap());

    let page = Page::default();
    let lines = Pipeline::builder().json_lines(page.clone());
    attempts(&lines.telemetry().with_external_ip(policy));
    lines.flush().unwrap();
    println!("{}", page.text());

    let (url, received) = listen();
    let otlp = Pipeline::builder().otlp_http(Some(&url)).unwrap();
    attempts(&otlp.telemetry().with_external_ip(policy));
    let _ = otlp.shutdown(Duration::from_secs(2));
    let received = String::from_utf8_lossy(&received.lock().unwrap()).into_owned();
    println!(
        "{}",
        received
            .split_once("\r\n\r\n")
            .expect("the batch arrived")
            .1
    );

    // every way to fail, and the texts about it
    for pipeline in [
        Pipeline::builder().export_to(Chatty),
        Pipeline::builder()
            .otlp_http(Some(&format!("http://{COLLECTOR}/v1/traces")))
            .unwrap(),
        Pipeline::builder()
            .otlp_grpc(Some(&format!("http://{COLLECTOR}")))
            .unwrap(),
        Pipeline::builder().with_queue(1).export_to(Chatty),
    ] {
        attempts(&pipeline.telemetry().with_external_ip(policy));
        if let Err(error) = pipeline.flush() {
            println!("{error} {error:?}");
        }
        println!("{pipeline:?} {:?}", pipeline.delivery());
        println!("{:?}", pipeline.provider().force_flush());
        println!("{:?}", pipeline.shutdown(Duration::from_secs(1)));
        attempts(&pipeline.telemetry());
    }
    println!("{:?}", Pipeline::builder().otlp_http(Some(COLLECTOR)).err());
    println!("{} {}", OtlpError::Configuration, OtlpError::Runtime);
    for reason in FailureReason::ALL {
        println!("{reason}");
    }
    for cause in FailureCause::ALL {
        println!("{cause}");
    }
    println!("the run is over");
}

/// All the run under `policy` printed.
fn output(policy: ExternalIp) -> String {
    let run = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "canary::run",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("CANARY", format!("{policy:?}"))
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.success() && text.contains("the run is over"),
        "{}",
        ending(&text)
    );
    assert!(
        text.contains("BatchSpanProcessor.ExportError"),
        "the SDK's logs are among it"
    );
    assert!(
        text.contains("some spans could not be exported"),
        "the errors are among it"
    );
    for metric in [
        keys::ATTEMPT_DURATION,
        keys::PATH_SURVIVED,
        keys::PATH_REBINDINGS,
    ] {
        assert!(text.contains(metric), "the metrics are among it");
    }
    text
}

/// The last part of a long text, for a message.
fn ending(text: &str) -> &str {
    let at = (text.len().saturating_sub(500)..text.len()).find(|at| text.is_char_boundary(*at));
    at.map_or(text, |at| &text[at..])
}

/// Removes the value of `nat_external_ip`, in each of its printed forms.
fn without_external_ip(text: &str) -> String {
    let mut rest = text;
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once(keys::EXTERNAL_IP) {
        out.push_str(before);
        let at = ["203.0.113.", "2001:db8:77:"]
            .into_iter()
            .filter_map(|network| after.find(network))
            .min();
        let at = at.expect("a key has a value");
        assert!(at < 60, "the value follows its key: {}", &after[..60]);
        rest = after[at..].trim_start_matches(|c: char| c.is_ascii_hexdigit() || ".:/".contains(c));
    }
    out + rest
}

#[test]
fn no_canary_gets_out_but_by_the_one_key_that_may_hold_it() {
    for policy in [ExternalIp::Full, ExternalIp::Prefix, ExternalIp::Omit] {
        let text = output(policy);
        assert_eq!(
            text.contains(keys::EXTERNAL_IP),
            policy != ExternalIp::Omit,
            "{policy:?}"
        );
        assert_eq!(
            text.contains(&ip(MAPPED[0])),
            policy == ExternalIp::Full,
            "{policy:?}"
        );
        let text = if policy == ExternalIp::Omit {
            text
        } else {
            without_external_ip(&text)
        };
        for canary in canaries() {
            let leak = text
                .find(&canary)
                .map(|at| &text[..at + canary.len()])
                .map(ending);
            assert_eq!(leak, None, "{policy:?}: {canary}");
        }
        for line in text.lines() {
            assert_eq!(
                addresses(line),
                [] as [std::net::IpAddr; 0],
                "{policy:?}: {}",
                &line[..line.len().min(300)]
            );
        }
    }
}

#[test]
fn what_keeps_spans_prints_none_of_them() {
    let capture = Capture::new();
    let builder = Pipeline::builder().with_capture(&capture);
    let pipeline = builder.clone().json_lines(Page::default());
    for telemetry in [capture.telemetry(), pipeline.telemetry()] {
        attempts(&telemetry.with_external_ip(ExternalIp::Full));
    }
    pipeline.flush().unwrap();
    assert!(!capture.spans().is_empty());
    for text in [
        format!("{capture:?}"),
        format!("{:?}", capture.provider()),
        format!("{builder:?}"),
        format!("{pipeline:?}"),
        format!("{:?}", pipeline.provider()),
        format!("{:?}", capture.telemetry()),
    ] {
        assert!(!text.contains(keys::EXTERNAL_IP), "{}", ending(&text));
        assert_eq!(
            addresses(&text),
            [] as [std::net::IpAddr; 0],
            "{}",
            ending(&text)
        );
    }
}
