//! OTLP against collectors that are there, missing, deaf, slow, flapping: nothing ever waits for
//! them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use otel_nat::pipeline::{ExportFailure, OtlpError, Pipeline};
use otel_nat::{FailureReason, Telemetry};

use crate::host;

/// An HTTP server that passes its `n`th connection to `serve`.
struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn new(serve: impl Fn(usize) -> Manner + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        // ends with the process
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (manner, kept) = (serve(number), Arc::clone(&kept));
                std::thread::spawn(move || manner.serve(stream.unwrap(), &kept));
            }
        });
        Self { address, bodies }
    }

    fn url(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }
}

#[derive(Clone, Copy)]
enum Manner {
    /// Takes a request, thinks, and answers well.
    Answers(Duration),
    /// Takes the connection and never says a word.
    Deaf,
    /// Closes the connection at once.
    Closes,
    /// Replies with these bytes.
    Replies(&'static [u8]),
}

impl Manner {
    fn serve(self, mut stream: TcpStream, kept: &Mutex<Vec<Vec<u8>>>) {
        match self {
            Self::Answers(after) => {
                while let Some(body) = request(&mut stream) {
                    std::thread::sleep(after);
                    kept.lock().unwrap().push(body);
                    let answer =
                        b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            }
            Self::Deaf => std::thread::sleep(Duration::from_secs(60)),
            Self::Closes => {}
            Self::Replies(bytes) => {
                let _ = request(&mut stream);
                let _ = stream.write_all(bytes);
            }
        }
    }
}

/// The body of the next request of a kept-alive connection.
fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)?
        .split("\r\n")
        .next()?
        .parse()
        .ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn pipeline(url: &str) -> Pipeline {
    Pipeline::builder()
        .with_queue(32)
        .with_batch(8)
        .with_delay(Duration::from_millis(10))
        .with_export_timeout(Duration::from_millis(500))
        .otlp_http(Some(url))
        .unwrap()
}

/// Emits in rounds; true if in some round no emission took a millisecond. A machine that is busy
/// elsewhere may hold up any one; a fault that blocks holds up one in every round.
fn never_blocks(telemetry: &Telemetry) -> bool {
    (0..20).any(|_| {
        (0..20).all(|_| {
            std::thread::sleep(Duration::from_micros(200));
            let attempt = telemetry.attempt();
            let begun = Instant::now();
            attempt.fail(&host::cone(), FailureReason::Timeout);
            begun.elapsed() < Duration::from_millis(1)
        })
    })
}

#[test]
fn spans_arrive() {
    let collector = Collector::new(|_| Manner::Answers(Duration::ZERO));
    let pipeline = pipeline(&collector.url());
    for _ in 0..20 {
        pipeline
            .telemetry()
            .attempt()
            .fail(&host::cone(), FailureReason::Timeout);
    }
    pipeline.flush().unwrap();
    assert_eq!(pipeline.delivery().exported, 20);
    let bodies = collector.bodies.lock().unwrap().concat();
    assert_eq!(
        bodies
            .windows(11)
            .filter(|window| window == b"nat_failure")
            .count(),
        20
    );
}

#[test]
fn a_failed_export_names_its_kind_and_no_address() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = closed.local_addr().unwrap();
    drop(closed);
    let replies = |bytes| Collector::new(move |_| Manner::Replies(bytes)).url();
    let unavailable = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    // a TLS alert, as a server that takes TLS alone sends it
    let alert = b"\x15\x03\x03\x00\x02\x02\x16";
    for (url, cause) in [
        (
            format!("http://{refused}/v1/traces"),
            ExportFailure::Refused,
        ),
        (
            "http://collector.invalid/v1/traces".to_owned(),
            ExportFailure::NoSuchName,
        ),
        (format!("https://{refused}/v1/traces"), ExportFailure::Tls),
        (replies(&unavailable[..]), ExportFailure::Status(404)),
        (replies(&alert[..]), ExportFailure::NotHttp),
        (
            Collector::new(|_| Manner::Deaf).url(),
            ExportFailure::TimedOut,
        ),
        (
            Collector::new(|_| Manner::Closes).url(),
            ExportFailure::Broken,
        ),
    ] {
        let pipeline = pipeline(&url);
        assert_eq!(pipeline.last_failure(), None);
        let attempt = pipeline.telemetry().attempt();
        attempt.fail(&host::cone(), FailureReason::Timeout);
        let undelivered = pipeline.shutdown(Duration::from_secs(10)).unwrap_err();
        assert_eq!(undelivered.cause, Some(cause), "{url}");
        assert_eq!(pipeline.delivery().failed, 1);
        let text = undelivered.to_string();
        assert!(text.contains(&cause.to_string()), "{text}");
        assert!(
            !text.contains("127.0.0.1") && !text.contains("invalid"),
            "{text}"
        );
    }
}

#[cfg(feature = "otlp-grpc")]
#[test]
fn a_failed_export_over_grpc_names_its_kind_too() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let builder = Pipeline::builder().with_export_timeout(Duration::from_secs(5));
    let pipeline = builder.otlp_grpc(Some(&endpoint)).unwrap();
    let attempt = pipeline.telemetry().attempt();
    attempt.fail(&host::cone(), FailureReason::Timeout);
    let undelivered = pipeline.shutdown(Duration::from_secs(10)).unwrap_err();
    assert_eq!(undelivered.cause, Some(ExportFailure::Refused));
}

#[test]
fn no_fault_of_a_collector_holds_up_who_emits() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/v1/traces", listener.local_addr().unwrap())
    };
    let deaf = Collector::new(|_| Manner::Deaf);
    let slow = Collector::new(|_| Manner::Answers(Duration::from_millis(200)));
    let flapping = Collector::new(|n| {
        if n % 2 == 0 {
            Manner::Closes
        } else {
            Manner::Answers(Duration::ZERO)
        }
    });
    for (fault, url) in [
        ("missing", closed),
        ("deaf", deaf.url()),
        ("slow", slow.url()),
        ("flapping", flapping.url()),
    ] {
        let pipeline = pipeline(&url);
        let telemetry = pipeline.telemetry();
        assert!(never_blocks(&telemetry), "{fault}");
        for _ in 0..100 {
            telemetry.attempt().succeed(&host::cone());
        }
        let emitted = telemetry.tally().recorded;
        let begun = Instant::now();
        let _ = pipeline.shutdown(Duration::from_secs(1));
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{fault}: shutting down is bounded"
        );
        assert!(never_blocks(&telemetry), "{fault}, and shut down");
        let delivery = pipeline.delivery();
        assert_eq!(
            delivery.waiting + delivery.exported + delivery.failed + delivery.dropped,
            emitted,
            "{fault}: every span is accounted for: {delivery:?}"
        );
        match fault {
            "missing" => assert_eq!(delivery.exported, 0, "{fault}: {delivery:?}"),
            "slow" => assert!(
                delivery.exported > 0 && delivery.dropped > 0,
                "{fault}: {delivery:?}"
            ),
            "flapping" => assert!(delivery.exported > 0, "{fault}: {delivery:?}"),
            _ => assert_eq!(delivery.exported, 0, "{fault}: {delivery:?}"),
        }
    }
}

#[test]
fn a_runtime_of_one_thread_that_blocks_or_ends_hinders_nothing() {
    let collector = Collector::new(|_| Manner::Answers(Duration::ZERO));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let pipeline = runtime.block_on(async {
        let pipeline = pipeline(&collector.url());
        pipeline.telemetry().attempt().succeed(&host::cone());
        // no other task of this runtime can run meanwhile
        pipeline.flush().unwrap();
        pipeline
    });
    let telemetry = pipeline.telemetry();
    let mut running = telemetry.attempt();
    running.begin_gathering();
    runtime.spawn(async move {
        let _running = running;
        core::future::pending::<()>().await;
    });
    drop(runtime);
    assert!(never_blocks(&telemetry));
    pipeline.flush().unwrap();
    let delivery = pipeline.delivery();
    assert_eq!((delivery.waiting, delivery.failed), (0, 0));
    assert_eq!(
        telemetry.tally().recorded,
        delivery.exported + delivery.dropped - 1,
        "the first had a tally of its own"
    );
}

#[test]
fn a_pipeline_can_be_made_and_dropped_inside_a_runtime() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let collector = Collector::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Manner::Answers(Duration::ZERO)
    });
    for runtime in [
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap(),
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap(),
    ] {
        runtime.block_on(async {
            let pipeline = pipeline(&collector.url());
            pipeline.telemetry().attempt().succeed(&host::cone());
        });
    }
    assert_eq!(
        asked.load(Ordering::Relaxed),
        2,
        "each was exported as its pipeline was dropped"
    );
}

#[test]
fn an_endpoint_that_cannot_be_is_refused_without_repeating_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let error = runtime.block_on(async {
        Pipeline::builder()
            .otlp_http(Some("not an endpoint 203.0.113.7"))
            .unwrap_err()
    });
    assert_eq!(error, OtlpError::Configuration);
    assert!(!format!("{error} {error:?}").contains("203.0.113.7"));
}

#[cfg(feature = "otlp-grpc")]
#[test]
fn grpc_to_nobody_holds_up_nothing_either() {
    let pipeline = Pipeline::builder()
        .with_queue(32)
        .with_batch(8)
        .with_delay(Duration::from_millis(10))
        .with_export_timeout(Duration::from_millis(500))
        .otlp_grpc(Some("http://127.0.0.1:1"))
        .unwrap();
    let telemetry = pipeline.telemetry();
    assert!(never_blocks(&telemetry));
    let begun = Instant::now();
    assert!(pipeline.shutdown(Duration::from_secs(1)).is_err());
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(pipeline.delivery().exported, 0);
}
