//! Real attempts, and a search for addresses in everything that leaves the process: spans, metrics,
//! JSON lines, the logs of a program at the usual level, and the texts of every error of every
//! crate. Only the policy may let an address out.
//!
//! The run is a process of its own, so that its logs are all of its logs: ours, and those of the
//! libraries below.

use std::process::{Command, Stdio};

use consumer_fsm::transport::TransportError;
use consumer_fsm::{
    Event,
    signalling::{
        SignalError,
        http::{InvalidHeader, ServiceConfig},
    },
};
use consumer_fsm::{
    Illegal, Machine, ProducerError, SdpError, SessionDescription, SourceError, Timing,
};
use ice_gather::capture::CaptureError;

use ice_gather::stun::Reject;
use ice_gather::{
    AgentError, BindError, ConnectError, PeerConnectionError, RelayError, RemoteError, SendError,
    StunServer, UriError,
};
use nat_summary::observer::{Malformed, Refusal};
use nat_summary::{Candidate, Evidence, Expected, NatType, ParseError};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use otel_nat::pipeline::{Capture, JsonLines, OtlpError, Pipeline, Undelivered};
use otel_nat::{ExternalIp, ServerLabel, keys};

use crate::attempts;
use crate::front::Front;
use emitted::addresses::addresses;

/// Planted in whatever text an error is made from.
const CANARY: &str = "203.0.113.199";

/// Targets whose records hold addresses, at WARN: `webrtc-ice` names each remote candidate as it
/// closes. Nothing of ours can keep it from doing so; the README of `ice-gather` tells programs to
/// turn them off, and the run is such a program.
const TURNED_OFF: [&str; 2] = ["webrtc_ice", "turn"];
/// The simulated Internet of the test itself.
const SIMULATION: &str = "webrtc_util::vnet";

/// The last line of the run.
const END: &str = "the run is over";

/// Prints every record of the libraries' logs that is not below the usual level.
struct Printed;

impl log::Log for Printed {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let is_off = |target: &&str| metadata.target().starts_with(target);
        metadata.level() <= log::Level::Info && !TURNED_OFF.iter().chain(&[SIMULATION]).any(is_off)
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            println!("{} {}: {}", record.level(), record.target(), record.args());
        }
    }

    fn flush(&self) {}
}

#[test]
#[ignore = "run by the tests below"]
fn run() {
    let policy = match std::env::var("CANARY").as_deref() {
        Ok("Prefix") => ExternalIp::Prefix,
        Ok("Omit") => ExternalIp::Omit,
        _ => ExternalIp::Full,
    };
    log::set_logger(&Printed).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO);
    tracing::subscriber::set_global_default(subscriber.with_writer(std::io::stdout).finish())
        .unwrap();

    crate::runtime().unwrap().block_on(async {
        let capture = Capture::new();
        let metrics = InMemoryMetricExporter::default();
        let meter = SdkMeterProvider::builder()
            .with_reader(PeriodicReader::builder(metrics.clone()).build())
            .build();
        let telemetry = capture
            .telemetry()
            .with_external_ip(policy)
            .with_metrics(meter.clone());
        let mut tell = |attempted: attempts::Attempted| println!("{}", attempted.report.summary);
        attempts::on_real_sockets(&telemetry, &mut tell)
            .await
            .unwrap();
        attempts::behind_nats(&telemetry, &mut tell).await.unwrap();
        println!("{telemetry:?} {:?}", telemetry.tally());
        for span in capture.spans() {
            println!("{span:?}");
        }
        meter.force_flush().unwrap();
        println!("{:?}", metrics.get_finished_metrics().unwrap());
        JsonLines::new(std::io::stdout())
            .export(capture.spans())
            .await
            .unwrap();
    });
    println!("{END}");
}

/// All that a run under each policy printed.
fn outputs() -> Vec<(ExternalIp, String)> {
    let begin = |policy: ExternalIp| {
        let run = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "canary::run",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("CANARY", format!("{policy:?}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        (policy, run.unwrap())
    };
    let runs = [ExternalIp::Full, ExternalIp::Prefix, ExternalIp::Omit].map(begin);
    let end = |(policy, run): (ExternalIp, std::process::Child)| {
        let run = run.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&run.stdout).into_owned()
            + &String::from_utf8_lossy(&run.stderr);
        assert!(
            run.status.success() && text.contains(END),
            "{policy:?}: {text}"
        );
        (policy, text)
    };
    runs.into_iter().map(end).collect()
}

/// Removes the values of `nat_external_ip` in each of their printed forms, and counts them.
fn without_external_ip(line: &str) -> (String, usize) {
    let (mut rest, mut out, mut times) = (line, String::new(), 0);
    while let Some((before, after)) = rest.split_once(keys::EXTERNAL_IP) {
        out.push_str(before);
        let said = after
            .split('"')
            .take(7)
            .find(|word| !addresses(word).is_empty())
            .expect("a key has a value");
        rest = after.split_once(said).map_or("", |(_, rest)| rest);
        times += 1;
    }
    (out + rest, times)
}

#[test]
fn no_address_of_a_real_attempt_gets_out_but_by_the_one_key_that_may_hold_it() {
    for (policy, text) in outputs() {
        for of in [
            keys::ATTEMPT_DURATION,
            "\"resourceSpans\"",
            "SpanData",
            "INFO",
            "nat_failure",
            "nat_success",
        ] {
            assert!(text.contains(of), "{policy:?}: {of} is not among it");
        }
        let mut told = 0;
        for line in text.lines() {
            let (line, times) = without_external_ip(line);
            told += times;
            assert_eq!(
                addresses(&line),
                [] as [std::net::IpAddr; 0],
                "{policy:?}: {}",
                &line[..line.len().min(600)]
            );
        }
        // two on real sockets know it, and each behind a NAT that lets an answer in; each span is
        // printed twice
        let know_it = 2 + Front::PLAYED
            .into_iter()
            .filter(|front| front.truth() != NatType::UdpBlocked)
            .count();
        assert_eq!(
            told,
            if policy == ExternalIp::Omit {
                0
            } else {
                2 * know_it
            },
            "{policy:?}"
        );
        assert_eq!(
            text.contains("203.0.113.7"),
            policy == ExternalIp::Full,
            "{policy:?}"
        );
    }
}

#[test]
fn whoever_uses_the_agent_is_told_what_to_turn_off() {
    for readme in ["ice-gather/README.md", "consumer-fsm/README.md"] {
        let text = std::fs::read_to_string(crate::root().join(readme)).unwrap();
        for target in TURNED_OFF {
            assert!(
                text.contains(&format!("{target}=off")),
                "{readme}: say that `{target}=off` keeps addresses out of logs"
            );
        }
    }
}

/// The `Debug`, which begins with the variant, and the `Display` of an error, behind its name.
macro_rules! said {
    ($($error:ident: [$($value:expr),+ $(,)?])+) => {{
        let mut said: Vec<(&str, String)> = Vec::new();
        $($( let error: $error = $value; said.push((stringify!($error), format!("{error:?} {error}"))); )+)+
        said
    }};
}

/// Each error there is: made from a text with a canary, where it is made from a text, and every
/// variant where not.
fn errors() -> Vec<(&'static str, String)> {
    let illegal = Machine::new(Timing::default())
        .handle(Event::Opened, std::time::Instant::now())
        .unwrap_err();
    let pipeline = Pipeline::builder().export_to(Refuses);
    pipeline
        .telemetry()
        .attempt()
        .succeed(&Evidence::new().summary());
    let undelivered = pipeline.flush().unwrap_err();
    let lines = [
        format!("candidate:{CANARY}"),
        format!("candidate:1 1 udp 1 {CANARY} {CANARY} typ host"),
        format!("candidate:1 1 udp 1 {CANARY} 1 typ srflx raddr {CANARY} rport {CANARY}"),
        format!("{CANARY} 1 udp 1 {CANARY} 1 typ host"),
    ];
    let mut said: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                "ParseError",
                format!("{0:?} {0}", Candidate::parse(line).unwrap_err()),
            )
        })
        .collect();
    for label in [
        String::new(),
        format!("{CANARY} {CANARY}"),
        CANARY.to_owned(),
        "203-0-113-7".to_owned(),
    ] {
        if let Err(error) = ServerLabel::new(&label) {
            said.push(("ServerLabelError", format!("{error:?} {error}")));
        }
    }
    for uri in [
        format!("turns:{CANARY}:1"),
        format!("stun:{CANARY}:{CANARY}"),
        format!("stun:{CANARY}/x y"),
    ] {
        said.push((
            "UriError",
            format!("{0:?} {0}", uri.parse::<StunServer>().unwrap_err()),
        ));
    }
    said.push((
        "SdpError",
        format!("{0:?} {0}", SessionDescription::parse(CANARY).unwrap_err()),
    ));
    said.extend(said! {
        Malformed: [Malformed::NotStun, Malformed::TooLong, Malformed::Length, Malformed::Attribute]
        Refusal: [
            Refusal::WrongSource, Refusal::UnknownId, Refusal::Unauthenticated, Refusal::Unverified, Refusal::Replayed
        ]
        CaptureError: [CaptureError::NotACapture, CaptureError::Empty, CaptureError::Io(std::io::ErrorKind::NotFound)]
        PeerConnectionError: [PeerConnectionError::BaseTaken, PeerConnectionError::Refused]
        ParseError: [ParseError { position: 7, expected: Expected::Address }]
        UriError: [UriError::Scheme, UriError::Host, UriError::Port, UriError::Transport]
        BindError: [
            BindError::NoAddress, BindError::Socket(std::io::ErrorKind::AddrInUse), BindError::Wildcard, BindError::Family,
        ]
        AgentError: [AgentError::BaseTaken, AgentError::Refused, AgentError::NoCandidate, AgentError::Shutdown]
        RemoteError: [RemoteError::Credentials]
        ConnectError: [
            ConnectError::Remote(RemoteError::Credentials), ConnectError::Again, ConnectError::TimedOut,
            ConnectError::Failed, ConnectError::Closed,
        ]
        SendError: [SendError::LooksLikeStun, SendError::Closed, SendError::Socket]
        RelayError: [
            RelayError::Late, RelayError::NoSocket, RelayError::Unresolved, RelayError::Unreachable, RelayError::TimedOut,
            RelayError::Unauthenticated, RelayError::Refused(401), RelayError::Unusable, RelayError::Closed,
        ]
        Reject: [
            Reject::NotStun, Reject::TooLong, Reject::Malformed, Reject::NotABindingResponse, Reject::UnknownId,
            Reject::WrongSource,
        ]
        SdpError: [SdpError::TooLong, SdpError::NoCredentials]
        InvalidHeader: [
            ServiceConfig::default().with_client_header(&format!("{CANARY} {CANARY}")).unwrap_err(),
        ]
        SignalError: [
            SignalError::Url, SignalError::Version, SignalError::Rejected, SignalError::NoRoom, SignalError::Gone, SignalError::Unreachable,
            SignalError::Status(500), SignalError::NoSuchName, SignalError::Refused, SignalError::NotHttp, SignalError::NotTls,
            SignalError::Foreign, SignalError::Empty,
            SignalError::Untrusted, SignalError::TimedOut, SignalError::TooLong, SignalError::Malformed,
        ]
        SourceError: [
            SourceError::Empty, SourceError::Unreadable, SourceError::TooLong, SourceError::Line(7),
            SourceError::TimedOut,
        ]
        TransportError: [
            TransportError::Local, TransportError::Remote, TransportError::NoChannel, TransportError::TimedOut,
            TransportError::Failed, TransportError::Dtls, TransportError::Fingerprint, TransportError::Channel,
        ]
        ProducerError: [
            SignalError::Gone.into(), ProducerError::BadConsumer, TransportError::Failed.into(),
        ]
        Illegal: [illegal]
        OtlpError: [OtlpError::Configuration, OtlpError::Runtime]
        Undelivered: [undelivered]
    });
    said
}

/// Speaks of addresses as it fails.
#[derive(Debug)]
struct Refuses;

impl SpanExporter for Refuses {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Err(OTelSdkError::InternalFailure(format!("{CANARY} refused")))
    }
}

#[test]
fn no_error_says_an_address() {
    for (error, said) in errors() {
        assert_eq!(
            addresses(&said),
            [] as [std::net::IpAddr; 0],
            "{error}: {said}"
        );
        assert!(!said.contains(CANARY), "{error}: {said}");
    }
}

/// An error that is new has to be among those above, and so has a variant.
#[test]
fn every_error_of_every_crate_is_asked() {
    let asked = errors();
    let mut folders: Vec<_> = ["nat-summary", "ice-gather", "otel-nat", "consumer-fsm"]
        .map(|name| crate::root().join(name).join("src"))
        .into();
    let (mut found, mut enums) = (Vec::new(), Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            found.extend(text.split("error::Error for ").skip(1).map(first_word));
            // those of ice-gather's `messages!`
            found.extend(text.split("\nmessages! {").skip(1).flat_map(|rest| {
                rest.lines()
                    .filter_map(|line| line.strip_prefix("    ")?.strip_suffix(" {"))
                    .map(first_word)
            }));
            enums.extend(
                text.split("\npub enum ")
                    .skip(1)
                    .map(|rest| (first_word(rest), variants(rest))),
            );
        }
    }
    found.retain(|name| !name.is_empty());
    assert!(found.len() > 10, "{found:?}");
    for name in found {
        assert!(
            asked.iter().any(|(error, _)| *error == name),
            "canary.rs: add {name} to `errors`"
        );
        for variant in enums
            .iter()
            .filter(|(of, _)| *of == name)
            .flat_map(|(_, variants)| variants)
        {
            let says =
                |(error, said): &(&str, String)| *error == name && first_word(said) == *variant;
            assert!(
                asked.iter().any(says),
                "canary.rs: add {name}::{variant} to `errors`"
            );
        }
    }
}

/// The variants of an enum, by its source from the name on.
fn variants(text: &str) -> Vec<String> {
    let body = text.split("\n}").next().unwrap_or_default();
    let words = body
        .lines()
        .skip(1)
        .filter_map(|line| line.strip_prefix("    "))
        .map(first_word);
    words.filter(|word| !word.is_empty()).collect()
}

fn first_word(text: &str) -> String {
    text.chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect()
}
