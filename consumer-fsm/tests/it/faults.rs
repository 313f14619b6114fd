//! Signalling that goes wrong, below the list of faults: the attempt that goes on, and the client's
//! errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use consumer_fsm::signalling::http::HttpSignalling;
use consumer_fsm::signalling::wire::{Envelope, Kind, write};
use consumer_fsm::signalling::{Listener, SignalError, Signalling};
use consumer_fsm::{AttemptReport, Consumer, Event, NoticeKind, Pool, State, Transition};
use ice_gather::responder::Manner;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::runner::{Until, run};
use crate::stage::{Running, Spans, cache, failure, responders, timing, transport};

type Reply = Result<Option<Envelope>, SignalError>;

/// A service that answers each offer like this.
#[derive(Clone)]
struct Scripted {
    offer: Reply,
    offers: Arc<AtomicUsize>,
    /// Cancelled with the offer of this number.
    last: Option<(usize, CancellationToken)>,
}

struct OneGenesis(Option<Envelope>);

impl Listener for OneGenesis {
    async fn next(&mut self) -> Option<Result<Envelope, SignalError>> {
        self.0.take().map(Ok)
    }
}

impl Signalling for Scripted {
    type Listener = OneGenesis;

    async fn listen(&self) -> Result<OneGenesis, SignalError> {
        Ok(OneGenesis(Some(Envelope {
            reply_to: "p".into(),
            kind: Kind::Genesis,
            payload: "{}".into(),
        })))
    }

    async fn exchange(&self, _to: &str, _kind: Kind, _payload: &str) -> Reply {
        let number = self.offers.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some((last, cancel)) = &self.last
            && number == *last
        {
            cancel.cancel();
        }
        self.offer.clone()
    }
}

/// Runs an attempt and cancels it as it sends its fifth offer.
async fn run_to_the_fifth(offer: Reply) -> (AttemptReport, Spans, usize) {
    let stun = responders(2, Manner::Honest).await;
    let (spans, telemetry) = Spans::new();
    let cancel = CancellationToken::new();
    let scripted = Scripted {
        offer,
        offers: Arc::default(),
        last: Some((5, cancel.clone())),
    };
    let offers = Arc::clone(&scripted.offers);
    let mut consumer =
        Consumer::new(scripted, transport(), telemetry, cache(&stun)).with_timing(timing());
    let report = run(&mut consumer, Until::Cancelled(cancel)).await;
    (report, spans, offers.load(Ordering::Relaxed))
}

fn happened(report: &AttemptReport, state: State, event: Event) -> bool {
    report
        .transitions
        .iter()
        .any(|step| (step.from, step.event) == (state, event))
}

#[tokio::test]
async fn every_useless_reply_to_an_offer_leads_back_to_listening_and_keeps_the_attempt() {
    for (offer, event) in [
        (Err(SignalError::Gone), Event::LostRace),
        (Ok(None), Event::PeerDied),
        (Err(SignalError::Malformed), Event::BadAnswer),
        (Err(SignalError::Version), Event::Refused),
        (Err(SignalError::Unreachable), Event::ExchangeFailed),
    ] {
        let started = Instant::now();
        let (report, spans, offers) = run_to_the_fifth(offer.clone()).await;
        assert!(
            happened(&report, State::Offering, event),
            "{offer:?}: {:?}",
            report.transitions
        );
        assert!(
            offers == 5 && started.elapsed() > Duration::from_millis(25),
            "{offer:?}: tried {offers} times in {:?}",
            started.elapsed()
        );
        assert_eq!(
            spans.told(),
            failure("cancelled"),
            "one attempt, however many races it lost"
        );
        assert!(
            report.gathering.unwrap().packets_sent <= 2,
            "asked once, however many offers"
        );
    }
}

/// A service whose stream of genesis messages is none.
#[derive(Clone)]
struct Rubbish;

struct Lines(Vec<SignalError>);

impl Listener for Lines {
    async fn next(&mut self) -> Option<Result<Envelope, SignalError>> {
        self.0.pop().map(Err)
    }
}

impl Signalling for Rubbish {
    type Listener = Lines;

    async fn listen(&self) -> Result<Lines, SignalError> {
        Ok(Lines(vec![SignalError::Malformed, SignalError::TooLong]))
    }

    async fn exchange(&self, _to: &str, _kind: Kind, _payload: &str) -> Reply {
        unreachable!("there is nobody to send anything to")
    }
}

#[tokio::test]
async fn where_attempts_are_counted_a_stream_of_rubbish_ends_one_and_is_silence_otherwise() {
    let (_spans, telemetry) = Spans::new();
    let stun = responders(1, Manner::Honest).await;
    let mut consumer =
        Consumer::new(Rubbish, transport(), telemetry.clone(), cache(&stun)).with_timing(timing());
    let report = run(&mut consumer, Until::Happened(Event::NothingHeard)).await;
    assert!(
        happened(&report, State::Listening, Event::NothingHeard),
        "{:?}",
        report.transitions
    );
    let mut pool = Pool::new(Rubbish, transport(), telemetry, cache(&stun), 1)
        .with_timing(timing())
        .with_attempts(2);
    let mut notices = pool.notices();
    tokio::time::timeout(Duration::from_secs(10), pool.run(&CancellationToken::new()))
        .await
        .expect("it ends");
    let mut events = Vec::new();
    while let Some(notice) = notices.next().await {
        if let NoticeKind::Transition(Transition { event, .. }) = notice.kind {
            events.push(event);
        }
    }
    assert_eq!(events, [Event::Prepared, Event::GaveUp].repeat(2));
}

#[tokio::test]
async fn where_attempts_are_counted_a_service_that_fails_ends_one_and_a_peer_that_fails_does_not() {
    for (offer, ends) in [
        (Err(SignalError::Malformed), true),
        (Err(SignalError::TooLong), true),
        (Err(SignalError::Version), true),
        (Err(SignalError::Unreachable), true),
        // the service works: the peer was too slow, or is gone
        (Err(SignalError::Gone), false),
        (Ok(None), false),
    ] {
        let stun = responders(2, Manner::Honest).await;
        let (spans, telemetry) = Spans::new();
        let scripted = Scripted {
            offer: offer.clone(),
            offers: Arc::default(),
            last: None,
        };
        let pool = Pool::new(scripted, transport(), telemetry, cache(&stun), 1)
            .with_timing(timing())
            .with_attempts(2);
        let cancel = CancellationToken::new();
        let running = pool.run(&cancel);
        tokio::pin!(running);
        let patience = Duration::from_millis(if ends { 10_000 } else { 300 });
        let has_ended = tokio::time::timeout(patience, &mut running).await.is_ok();
        assert_eq!(has_ended, ends, "{offer:?}");
        if !has_ended {
            cancel.cancel();
            running.await;
        }
        let expected = if ends {
            [failure("signalling"), failure("signalling")].concat()
        } else {
            failure("cancelled")
        };
        assert_eq!(spans.told(), expected, "{offer:?}");
    }
}

/// An HTTP service that sends these bytes to every client, and then waits or hangs up.
async fn raw_service(reply: Vec<u8>, drip: Option<Duration>) -> (HttpSignalling, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/signal", listener.local_addr().unwrap());
    let serve = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let reply = reply.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                for chunk in reply.chunks(if drip.is_some() { 1 } else { 65_536 }) {
                    if stream.write_all(chunk).await.is_err() {
                        return;
                    }
                    if let Some(drip) = drip {
                        tokio::time::sleep(drip).await;
                    }
                }
            });
        }
    };
    (
        HttpSignalling::new(&url).unwrap(),
        Running(tokio::spawn(serve)),
    )
}

fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn replies_off_the_wire_become_typed_errors() {
    for (reply, expected) in [
        (ok("not JSON"), Err(SignalError::Malformed)),
        (ok("{\"ReplyTo\":\"x\"}"), Err(SignalError::Malformed)),
        (ok("\u{0}"), Err(SignalError::Malformed)),
        (ok(""), Ok(None)),
        (ok(&"x".repeat(10_000_000)), Err(SignalError::TooLong)),
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
            Err(SignalError::Gone),
        ),
        (
            b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n".to_vec(),
            Err(SignalError::Version),
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_vec(),
            Err(SignalError::Status(302)),
        ),
        (
            b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec(),
            Err(SignalError::Status(500)),
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(),
            Err(SignalError::Rejected),
        ),
        (b"SMTP ready\r\n\r\n".to_vec(), Err(SignalError::NotHttp)),
        // an alert: the client's bytes are no handshake
        (vec![0x15, 3, 1, 0, 2, 2, 10], Err(SignalError::NotHttp)),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf".to_vec(),
            Err(SignalError::Unreachable),
        ),
        (Vec::new(), Err(SignalError::Unreachable)),
    ] {
        let (client, _service) = raw_service(reply.clone(), None).await;
        let head = String::from_utf8_lossy(&reply[..reply.len().min(60)]).into_owned();
        assert_eq!(
            client.exchange("x", Kind::Offer, "{}").await,
            expected,
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_refuses_and_a_name_without_an_address_is_named_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let client = HttpSignalling::new(&url).unwrap();
    assert_eq!(
        client.exchange("x", Kind::Offer, "{}").await,
        Err(SignalError::Refused)
    );
    assert_eq!(client.listen().await.err(), Some(SignalError::Refused));
    let client = HttpSignalling::new("http://nowhere.invalid/").unwrap();
    let client = client.with_slack(Duration::from_secs(20));
    assert_eq!(client.listen().await.err(), Some(SignalError::NoSuchName));
    let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (client, _service) = raw_service(missing, None).await;
    assert_eq!(client.listen().await.err(), Some(SignalError::Status(404)));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_drips_is_given_up_in_bounded_time() {
    let (client, _service) =
        raw_service(ok(&"x".repeat(100_000)), Some(Duration::from_secs(1))).await;
    let started = tokio::time::Instant::now();
    assert_eq!(
        client.exchange("x", Kind::Offer, "{}").await,
        Err(SignalError::TimedOut)
    );
    assert!(
        started.elapsed() <= Duration::from_secs(21),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_broken_stream_of_genesis_messages_ends_without_a_message() {
    let good = write(&Envelope {
        reply_to: "p".into(),
        kind: Kind::Genesis,
        payload: "{}".into(),
    });
    let body = format!("nonsense\n\n{good}\n{{\"half\":");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        body.len() + 100
    );
    let (client, _service) = raw_service((head + &body).into_bytes(), None).await;
    let started = Instant::now();
    let mut listener = client.listen().await.unwrap();
    assert_eq!(listener.next().await, Some(Err(SignalError::Malformed)));
    assert_eq!(listener.next().await.unwrap().unwrap().reply_to, "p");
    assert_eq!(listener.next().await, None);
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// A service that thinks for so long before it says a word.
async fn late_service(after: Duration, reply: Vec<u8>) -> (HttpSignalling, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = HttpSignalling::new(&format!(
        "http://{}/v1/signal",
        listener.local_addr().unwrap()
    ))
    .unwrap();
    let serve = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        tokio::time::sleep(after).await;
        stream.write_all(&reply).await.unwrap();
        // until the client hangs up
        while stream
            .read(&mut [0; 64])
            .await
            .is_ok_and(|length| length > 0)
        {}
    };
    (client, Running(tokio::spawn(serve)))
}

#[tokio::test(start_paused = true)]
async fn a_service_that_keeps_even_its_head_back_until_a_producer_comes_is_listened_to() {
    let good = write(&Envelope {
        reply_to: "p".into(),
        kind: Kind::Genesis,
        payload: "{}".into(),
    });
    for (after, body, heard) in [
        (6, &*good, Some("p")),
        (19, &*good, Some("p")),
        (20, "", None),
    ] {
        let body = if body.is_empty() {
            String::new()
        } else {
            format!("{body}\n")
        };
        let (client, _service) = late_service(Duration::from_secs(after), ok(&body)).await;
        let mut listener = client.listen().await.expect("a service that is well");
        assert_eq!(
            listener
                .next()
                .await
                .map(|genesis| genesis.unwrap().reply_to)
                .as_deref(),
            heard,
            "{after} s"
        );
    }
    let (client, _service) = late_service(Duration::from_secs(60), ok("")).await;
    let started = tokio::time::Instant::now();
    assert_eq!(client.listen().await.err(), Some(SignalError::TimedOut));
    assert!(
        started.elapsed() <= Duration::from_secs(26),
        "{:?}",
        started.elapsed()
    );
}

/// Runs `work` in a runtime and a thread of its own, because work that never yields would stop the
/// clock of the test's own runtime.
fn blocked_on<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let (done, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let _ = done.send(runtime.block_on(work));
    });
    told.recv_timeout(Duration::from_secs(10))
        .expect("neither timed out nor cancelled")
}

/// One attempt that is cancelled after so long. Its report, and when it chose a producer first.
async fn attempt_of(
    signalling: impl Signalling,
    after: Duration,
) -> (AttemptReport, Option<Duration>) {
    let stun = responders(1, Manner::Honest).await;
    let (_spans, telemetry) = Spans::new();
    let mut consumer =
        Consumer::new(signalling, transport(), telemetry, cache(&stun)).with_timing(timing());
    let mut notices = consumer.notices();
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        token.cancel();
    });
    let started = Instant::now();
    let chosen = tokio::spawn(async move {
        while let Some(notice) = notices.next().await {
            if matches!(
                notice.kind,
                NoticeKind::Transition(Transition {
                    event: Event::Chosen,
                    ..
                })
            ) {
                return Some(started.elapsed());
            }
        }
        None
    });
    let report = consumer.attempt(&cancel).await;
    drop(consumer);
    (report, chosen.await.unwrap())
}

/// A service that sends this to a listener, and then broken lines without end, as fast as they are
/// taken; to an offer it says that the producer is gone.
async fn flood(first: String) -> (HttpSignalling, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = HttpSignalling::new(&format!(
        "http://{}/v1/signal",
        listener.local_addr().unwrap()
    ))
    .unwrap();
    let serve = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let first = first.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                if request[..length].starts_with(b"POST") {
                    let _ = stream
                        .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                        .await;
                    return;
                }
                let _ = stream
                    .write_all(format!("HTTP/1.1 200 OK\r\n\r\n{first}").as_bytes())
                    .await;
                let lines = b"x\n".repeat(32 * 1024);
                while stream.write_all(&lines).await.is_ok() {}
            });
        }
    };
    (client, Running(tokio::spawn(serve)))
}

/// The same without a wire in between: the next line is always there.
#[derive(Clone)]
struct Flood(Option<Envelope>);

impl Listener for Flood {
    async fn next(&mut self) -> Option<Result<Envelope, SignalError>> {
        Some(self.0.take().ok_or(SignalError::Malformed))
    }
}

impl Signalling for Flood {
    type Listener = Self;

    async fn listen(&self) -> Result<Self, SignalError> {
        Ok(self.clone())
    }

    async fn exchange(&self, _to: &str, _kind: Kind, _payload: &str) -> Reply {
        Err(SignalError::Gone)
    }
}

#[test]
fn broken_lines_without_end_keep_nobody_from_choosing_nor_from_being_cancelled() {
    let good = Envelope {
        reply_to: "p".into(),
        kind: Kind::Genesis,
        payload: "{}".into(),
    };
    let line = write(&good) + "\n";
    let while_chosen = Duration::from_secs(1);
    for (report, chosen) in [
        blocked_on(async move { attempt_of(Flood(Some(good)), while_chosen).await }),
        blocked_on(async move {
            let (client, _service) = flood(line).await;
            attempt_of(client, while_chosen).await
        }),
    ] {
        assert!(
            chosen.is_some_and(|after| after < while_chosen / 2),
            "{chosen:?}: {:?}",
            report.transitions
        );
        assert!(report.elapsed < 2 * while_chosen, "{:?}", report.elapsed);
    }
    let a_while = Duration::from_millis(300);
    for (report, chosen) in [
        blocked_on(async move { attempt_of(Flood(None), a_while).await }),
        blocked_on(async move {
            let (client, _service) = flood(String::new()).await;
            attempt_of(client, a_while).await
        }),
    ] {
        assert_eq!(
            (report.last_event, chosen),
            (Some(Event::Cancelled), None),
            "{:?}",
            report.transitions
        );
        assert!(
            report.elapsed < Duration::from_secs(1),
            "{:?}",
            report.elapsed
        );
    }
}
