//! Attempts as they go in the field: success, a blocked network, a lost race, a drop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use consumer_fsm::signalling::http::{HttpSignalling, SignallingService};
use consumer_fsm::signalling::{
    Envelope, Kind, MemoryListener, MemorySignalling, SignalError, Signalling, Switchboard,
};
use consumer_fsm::{
    Consumer, Datagrams, Ending, Event, NoticeKind, ServerLabels, State, StunCache, Transition,
};
use ice_gather::responder::{Manner, Responder};
use nat_summary::NatType;
use otel_nat::FailureReason;
use rand::SeedableRng;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::runner::{Until, run};
use crate::stage::{
    Measured, Spans, attempt, cache, failure, producer, responders, timing, transport,
};

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_goes_through_the_six_states_and_ends_in_one_span() {
    let stun = responders(3, Manner::Honest).await;
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producer = producer(signalling.clone());
    let (spans, telemetry) = Spans::new();
    let report = attempt(signalling, cache(&stun), telemetry, PATIENCE).await;

    assert_eq!(report.ending, Some(Ending::Success));
    assert_eq!(
        report.summary.is_natted(),
        Some(false),
        "a public host is no failure though it has no srflx"
    );
    let states: Vec<State> = report.transitions.iter().map(|step| step.from).collect();
    let mut once = states.clone();
    once.dedup();
    use State::{Established, Listening, Offering, Opening, Preparing, Trickling};
    assert_eq!(
        once,
        [
            Preparing,
            Listening,
            Offering,
            Trickling,
            Opening,
            Established
        ]
    );
    assert_eq!(spans.told(), [("nat_success".to_owned(), None)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_a_transition_of_report_and_notices_in_order() {
    let stun = responders(2, Manner::Honest).await;
    // another consumer is faster the first time
    let signalling = FailsOnce::new(Kind::Offer, SignalError::Gone);
    let _producers = [
        producer(signalling.service.clone()),
        producer(signalling.service.clone()),
    ];
    let (_spans, telemetry) = Spans::new();
    let mut consumer =
        Consumer::new(signalling, transport(), telemetry, cache(&stun)).with_timing(timing());
    let mut notices = consumer.notices();
    let report = run(&mut consumer, Until::UpWithin(PATIENCE)).await;
    drop(consumer);

    let transitions = &report.transitions;
    let gapless = transitions
        .windows(2)
        .all(|steps| steps[0].to == steps[1].from);
    assert!(gapless, "{transitions:?}");
    let events = transitions.iter().map(|step| step.event);
    let events: Vec<Event> = events.filter(|e| *e != Event::NothingHeard).collect();
    use Event::{Answered, Asked, Cancelled, Chosen, Delivered, LostRace, Opened, Prepared};
    let first = [Prepared, Chosen, Asked, LostRace];
    // the cohort was asked already
    let second = [Chosen, Answered, Delivered, Opened, Cancelled];
    assert_eq!(events, [&first[..], &second[..]].concat());

    let mut published = Vec::new();
    while let Some(notice) = notices.next().await {
        if let NoticeKind::Transition(transition) = notice.kind {
            published.push(transition);
        }
    }
    assert_eq!(&published, transitions);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_the_mapping_held_is_measured_once_the_path_has_ended_and_only_then() {
    let stun = responders(2, Manner::Honest).await;
    let (_spans, telemetry) = Spans::new();
    let (measured, telemetry) = Measured::by(telemetry);
    let held = || measured.has(otel_nat::keys::PATH_REBINDINGS);
    let nobody = MemorySignalling::new(Switchboard::default());
    attempt(
        nobody,
        cache(&stun),
        telemetry.clone(),
        Duration::from_millis(100),
    )
    .await;
    assert!(!held(), "there was no path");
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producer = producer(signalling.clone());
    let mut consumer =
        Consumer::new(signalling, transport(), telemetry, cache(&stun)).with_timing(timing());
    let (mut notices, cancel) = (consumer.notices(), CancellationToken::new());
    let user = async {
        let up = async { while notices.next().await.unwrap().kind != NoticeKind::PathUp {} };
        tokio::time::timeout(PATIENCE, up).await.unwrap();
        assert!(!held(), "there still is a path");
        cancel.cancel();
    };
    let (report, ()) = tokio::join!(consumer.attempt(&cancel), user);
    assert_eq!(report.ending, Some(Ending::Success));
    assert!(held());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_servers_are_measured_by_the_labels_of_the_operator() {
    let stun = responders(2, Manner::Honest).await;
    let (_spans, telemetry) = Spans::new();
    let (measured, telemetry) = Measured::by(telemetry);
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producer = producer(signalling.clone());
    let label = otel_nat::ServerLabel::new("eu-1").unwrap();
    let labels = ServerLabels::from_iter([(stun[0].server(), label)]);
    let mut consumer = Consumer::new(signalling, transport(), telemetry, cache(&stun))
        .with_timing(timing())
        .with_server_labels(labels);
    let (mut path, cancel) = (consumer.path(), CancellationToken::new());
    tokio::select! {
        _ = consumer.attempt(&cancel) => unreachable!("it has a path"),
        is_up = async { tokio::time::timeout(PATIENCE, path.wait_for(|up| *up)).await.is_ok() } => assert!(is_up),
    }
    assert_eq!(
        measured.servers(),
        ["_OTHER".to_owned(), "eu-1".to_owned()].into()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_the_mapping_held_is_measured_of_a_path_that_is_dropped_too() {
    let stun = responders(2, Manner::Honest).await;
    let (spans, telemetry) = Spans::new();
    let (measured, telemetry) = Measured::by(telemetry);
    let held = || measured.has(otel_nat::keys::PATH_REBINDINGS);
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producer = producer(signalling.clone());
    let mut consumer =
        Consumer::new(signalling, transport(), telemetry, cache(&stun)).with_timing(timing());
    let (mut path, cancel) = (consumer.path(), CancellationToken::new());
    tokio::select! {
        _ = consumer.attempt(&cancel) => unreachable!("it has a path"),
        is_up = async { tokio::time::timeout(PATIENCE, path.wait_for(|up| *up)).await.is_ok() } => assert!(is_up),
    }
    assert!(held());
    assert_eq!(spans.told(), [("nat_success".to_owned(), None)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_go_both_ways_and_a_full_queue_drops_and_counts() {
    let stun = responders(2, Manner::Honest).await;
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producer = producer(signalling.clone());
    let (to_path, outbound) = mpsc::channel(64);
    let (inbound, mut from_path) = mpsc::channel(1);
    let (_spans, telemetry) = Spans::new();
    let mut consumer = Consumer::new(signalling, transport(), telemetry, cache(&stun))
        .with_timing(timing())
        .with_datagrams(Datagrams { outbound, inbound });
    let cancel = CancellationToken::new();
    let mut path = consumer.path();
    // before there is a path: dropped and counted when it comes up
    to_path.send(Bytes::from_static(&[0x80, 77])).await.unwrap();
    let user = async {
        path.wait_for(|up| *up).await.unwrap();
        for n in 0..50 {
            to_path.send(Bytes::from(vec![0x80, n])).await.unwrap();
        }
        // the user takes no datagram: one fits the queue, the others are dropped, and the path
        // stays alive
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(from_path.recv().await.unwrap(), Bytes::from(vec![0x80, 0]));
        to_path.send(Bytes::from_static(&[0x80, 99])).await.unwrap();
        let last = tokio::time::timeout(PATIENCE, async {
            loop {
                let datagram = from_path.recv().await.unwrap();
                if datagram[1] == 99 {
                    return;
                }
            }
        });
        last.await.unwrap();
        cancel.cancel();
    };
    let (report, ()) = tokio::join!(consumer.attempt(&cancel), user);
    let traffic = report.traffic;
    assert_eq!((traffic.sent, traffic.dropped_outbound), (51, 1));
    assert!(traffic.dropped_inbound >= 40, "{traffic:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_network_is_reported_and_its_cohort_dropped() {
    let silent = responders(4, Manner::Silent).await;
    let signalling = MemorySignalling::new(Switchboard::default());
    // a producer waits long for a consumer that vanished: each attempt has its own
    let _producers = [producer(signalling.clone()), producer(signalling.clone())];
    let (spans, telemetry) = Spans::new();
    let mut consumer = Consumer::new(
        signalling,
        transport(),
        telemetry,
        cache(&silent).with_cohort_size(2),
    )
    .with_timing(timing());
    let cancel = CancellationToken::new();
    let first = consumer.attempt(&cancel).await;
    assert_eq!(
        first.ending,
        Some(Ending::Failure(FailureReason::UdpBlocked))
    );
    assert_eq!(first.summary.nat_type(), NatType::UdpBlocked);
    assert_eq!(spans.told(), failure("udp_blocked"));
    consumer.attempt(&cancel).await;
    assert!(
        silent.iter().all(|server| server.requests() > 0),
        "the second attempt asked the other cohort"
    );
    let number = |span: &opentelemetry_sdk::trace::SpanData| {
        let mut attributes = span.attributes.iter();
        attributes
            .find(|pair| pair.key.as_str() == otel_nat::keys::ATTEMPT_NUMBER)
            .map(|pair| pair.value.to_string())
    };
    assert_eq!(
        spans.all().iter().map(number).collect::<Vec<_>>(),
        [Some("1".to_owned()), Some("2".to_owned())]
    );
}

#[tokio::test]
async fn without_a_stun_server_nothing_is_asked_and_nothing_reported() {
    let (spans, telemetry) = Spans::new();
    let signalling = MemorySignalling::new(Switchboard::default());
    let report = attempt(signalling, StunCache::new(Vec::new()), telemetry, PATIENCE).await;
    assert_eq!(
        (report.ending, report.last_event),
        (None, Some(Event::NotPrepared))
    );
    assert!(spans.all().is_empty());
}

#[tokio::test]
async fn nobody_there_is_waited_for_without_a_span() {
    let stun = responders(2, Manner::Honest).await;
    let (spans, telemetry) = Spans::new();
    let signalling = MemorySignalling::new(Switchboard::default());
    let report = attempt(
        signalling,
        cache(&stun),
        telemetry,
        Duration::from_millis(50),
    )
    .await;
    assert_eq!(report.last_event, Some(Event::Cancelled));
    assert!(spans.all().is_empty());
    assert_eq!(stun.iter().map(Responder::requests).sum::<u64>(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_attempt_that_asked_says_cancelled_once() {
    let silent = responders(2, Manner::Silent).await;
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producers = [producer(signalling.clone()), producer(signalling.clone())];
    let (spans, telemetry) = Spans::new();
    let mut consumer =
        Consumer::new(signalling, transport(), telemetry, cache(&silent)).with_timing(timing());
    let cancel = CancellationToken::new();
    let asked = async {
        while silent.iter().any(|server| server.requests() == 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        report = consumer.attempt(&cancel) => panic!("it waits: {report:?}"),
        () = asked => {}
    }
    assert_eq!(spans.told(), failure("cancelled"));
    // and the consumer is as good as new
    assert_eq!(
        consumer.attempt(&cancel).await.ending,
        Some(Ending::Failure(FailureReason::UdpBlocked))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_consumers_race_for_two_producers_and_both_get_a_path() {
    let stun = responders(2, Manner::Honest).await;
    let service = SignallingService::bind("127.0.0.1:0", Switchboard::default())
        .await
        .unwrap();
    let signalling = HttpSignalling::new(&service.url()).unwrap();
    // both outlive both attempts: either consumer may choose either
    let _producers = [producer(signalling.clone()), producer(signalling.clone())];
    let (spans, telemetry) = Spans::new();
    let patience = Duration::from_secs(20);
    let one = attempt(
        signalling.clone(),
        cache(&stun),
        telemetry.clone(),
        patience,
    );
    let other = attempt(signalling.clone(), cache(&stun), telemetry, patience);
    let (one, other) = tokio::join!(one, other);
    assert_eq!(
        (one.ending, other.ending),
        (Some(Ending::Success), Some(Ending::Success))
    );
    assert_eq!(spans.all().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cohort_with_a_dead_server_is_kept_and_the_dead_one_comes_last_in_the_next_draw() {
    let mut servers: Vec<_> = responders(2, Manner::Honest).await;
    servers.push(
        Responder::bind_with("127.0.0.39:0", Manner::Silent)
            .await
            .unwrap(),
    );
    let dead = servers[2].server();
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producer = producer(signalling.clone());
    let (_spans, telemetry) = Spans::new();
    let known = cache(&servers).with_cohort_size(3);
    let report = attempt(signalling, known.clone(), telemetry, PATIENCE).await;
    assert_eq!(report.ending, Some(Ending::Success));
    let mut rng = rand::rngs::StdRng::seed_from_u64(1);
    let first = known.cohort(&mut rng).await.unwrap();
    assert_eq!(known.cohort(&mut rng).await.unwrap(), first, "kept");
    for _ in 0..20 {
        let used = known.cohort(&mut rng).await.unwrap();
        known.drop_cohort(&used);
        assert_eq!(
            known.cohort(&mut rng).await.unwrap().servers.last(),
            Some(&dead)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_known_by_name_is_remembered_by_it() {
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producer = producer(signalling.clone());
    let (_spans, telemetry) = Spans::new();
    let honest = Responder::bind("127.0.0.1:0").await.unwrap();
    // the name resolves, and no server answers at that port
    let silent = Responder::bind_with("127.0.0.1:0", Manner::Silent)
        .await
        .unwrap();
    let name = |server: &Responder| {
        ice_gather::StunServer::Name("localhost".into(), server.address().port())
    };
    let known = StunCache::new(vec![name(&silent), name(&honest)]);
    let report = attempt(signalling, known.clone(), telemetry, PATIENCE).await;
    assert_eq!(report.ending, Some(Ending::Success));
    let mut rng = rand::rngs::StdRng::seed_from_u64(1);
    for _ in 0..20 {
        let used = known.cohort(&mut rng).await.unwrap();
        known.drop_cohort(&used);
        assert_eq!(
            known.cohort(&mut rng).await.unwrap().servers,
            [name(&honest), name(&silent)]
        );
    }
}

/// A service that fails the first message of a kind.
#[derive(Debug)]
struct FailsOnce {
    service: MemorySignalling,
    kind: Kind,
    error: SignalError,
    has_failed: AtomicBool,
}

impl FailsOnce {
    fn new(kind: Kind, error: SignalError) -> Self {
        Self {
            service: MemorySignalling::default(),
            kind,
            error,
            has_failed: AtomicBool::new(false),
        }
    }
}

impl Signalling for FailsOnce {
    type Listener = MemoryListener;

    async fn listen(&self) -> Result<MemoryListener, SignalError> {
        self.service.listen().await
    }

    async fn exchange(
        &self,
        to: &str,
        kind: Kind,
        payload: &str,
    ) -> Result<Option<Envelope>, SignalError> {
        if kind == self.kind && !self.has_failed.swap(true, Ordering::Relaxed) {
            return Err(self.error);
        }
        self.service.exchange(to, kind, payload).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_off_is_no_part_of_the_attempt_after_it_and_is_kept_if_that_is_given_up() {
    const BACK_OFF: Duration = Duration::from_millis(2_000);
    let stun = responders(2, Manner::Honest).await;
    let signalling = FailsOnce::new(Kind::Ice, SignalError::Rejected);
    // one waits long for the candidates that never came
    let _producers = [
        producer(signalling.service.clone()),
        producer(signalling.service.clone()),
    ];
    let (spans, telemetry) = Spans::new();
    let timing = timing().with_error_backoff(BACK_OFF);
    let mut consumer =
        Consumer::new(signalling, transport(), telemetry, cache(&stun)).with_timing(timing);
    let (mut path, cancel) = (consumer.path(), CancellationToken::new());
    let first = consumer.attempt(&cancel).await;
    assert_eq!(
        first.ending,
        Some(Ending::Failure(FailureReason::Signalling))
    );
    let failed = Instant::now();
    let mut notices = consumer.notices();
    assert!(
        tokio::time::timeout(Duration::from_millis(50), consumer.attempt(&cancel))
            .await
            .is_err()
    );
    assert!(
        tokio::time::timeout(Duration::from_millis(50), notices.next())
            .await
            .is_err(),
        "nothing has begun"
    );
    let user = async {
        let started =
            async { while notices.next().await.unwrap().kind != NoticeKind::AttemptStarted {} };
        tokio::time::timeout(PATIENCE, started).await.unwrap();
        let started = failed.elapsed();
        let _ = tokio::time::timeout(PATIENCE, path.wait_for(|up| *up)).await;
        cancel.cancel();
        started
    };
    let (second, started) = tokio::join!(consumer.attempt(&cancel), user);
    assert_eq!(second.ending, Some(Ending::Success));
    // the back-off counts from the refusal on, a moment before the first attempt had closed its
    // sockets
    assert!(started > BACK_OFF / 2, "{started:?}");
    assert!(
        second.connected_after.is_some_and(|after| after < BACK_OFF),
        "{:?}",
        second.connected_after
    );
    assert!(second.elapsed < BACK_OFF, "{:?}", second.elapsed);
    let spans = spans.all();
    let took = spans[1]
        .end_time
        .duration_since(spans[1].start_time)
        .unwrap();
    assert!(spans.len() == 2 && took < BACK_OFF, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_off_ends_with_the_consumer() {
    let (_spans, telemetry) = Spans::new();
    let signalling = MemorySignalling::default();
    let mut consumer = Consumer::new(
        signalling,
        transport(),
        telemetry,
        StunCache::new(Vec::new()),
    );
    let cancel = CancellationToken::new();
    assert_eq!(
        consumer.attempt(&cancel).await.last_event,
        Some(Event::NotPrepared)
    );
    let user = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        cancel.cancel();
    };
    let both = async { tokio::join!(consumer.attempt(&cancel), user).0 };
    let report = tokio::time::timeout(Duration::from_secs(1), both)
        .await
        .expect("cancelled");
    assert_eq!(
        report.transitions,
        [Transition {
            from: State::Preparing,
            event: Event::Cancelled,
            to: State::Stopped,
        }]
    );
}
