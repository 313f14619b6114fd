//! Many slots at once, their notices, and a host that goes from one network to another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use consumer_fsm::signalling::{MemorySignalling, Switchboard};
use consumer_fsm::transport::{IceTransport, Network};
use consumer_fsm::{Consumer, Event, NoticeKind, Pool, Roaming, State, Traffic, Transition};
use ice_gather::responder::{Manner, Responder};
use ice_gather::{BindConfig, LocalAddresses};
use otel_nat::FailureReason;
use tokio_util::sync::CancellationToken;

use crate::runner::{Until, run};
use crate::stage::{Running, Spans, cache, producer, responders, timing, transport};

const SLOTS: usize = 4;
const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_slot_of_a_pool_gets_a_path_moves_datagrams_and_closes() {
    let stun = responders(2, Manner::Honest).await;
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producers: Vec<Running> = (0..2 * SLOTS)
        .map(|_| producer(signalling.clone()))
        .collect();
    let (spans, telemetry) = Spans::new();
    let mut pool = Pool::new(signalling, transport(), telemetry, cache(&stun), SLOTS)
        .with_timing(timing())
        .with_seed(1);
    let mut notices = pool.notices();
    let links = pool.links(8);
    let cancel = CancellationToken::new();

    let user = async {
        let echo = async |(slot, mut link): (usize, consumer_fsm::Link)| {
            // sends until an echo arrives, because datagrams before the path may be dropped
            loop {
                link.send(Bytes::from(vec![0x80, slot as u8]));
                if let Ok(back) = tokio::time::timeout(Duration::from_millis(50), link.recv()).await
                {
                    return back.unwrap();
                }
            }
        };
        let mut echoes = tokio::task::JoinSet::new();
        links
            .into_iter()
            .enumerate()
            .for_each(|each| drop(echoes.spawn(echo(each))));
        let back: BTreeSet<Bytes> = tokio::time::timeout(LONG, echoes.join_all())
            .await
            .unwrap()
            .into_iter()
            .collect();
        assert_eq!(back.len(), SLOTS, "each its own: {back:?}");
        cancel.cancel();
    };
    tokio::join!(pool.run(&cancel), user);

    let mut told: BTreeMap<usize, Vec<NoticeKind>> = BTreeMap::new();
    while let Some(notice) = notices.next().await {
        told.entry(notice.slot).or_default().push(notice.kind);
    }
    assert_eq!(notices.missed(), 0);
    assert_eq!(told.len(), SLOTS);
    for (slot, told) in told {
        let has = |wanted: fn(&NoticeKind) -> bool| told.iter().filter(|what| wanted(what)).count();
        assert!(
            has(|what| *what == NoticeKind::AttemptStarted) >= 1,
            "{slot}: {told:?}"
        );
        assert!(
            has(|what| matches!(what, NoticeKind::Gathered(_))) >= 1,
            "{slot}: {told:?}"
        );
        assert!(
            has(|what| matches!(what, NoticeKind::Connected(_))) >= 1,
            "{slot}: {told:?}"
        );
        assert_eq!(
            has(|what| *what == NoticeKind::PathUp),
            has(|what| *what == NoticeKind::PathDown),
            "{slot}: {told:?}"
        );
        assert!(
            has(|what| matches!(
                what,
                NoticeKind::Carried(Traffic {
                    sent: 1..,
                    received: 1..,
                    ..
                })
            )) >= 1,
            "{slot}: {told:?}"
        );
        assert_eq!(told.last(), Some(&NoticeKind::Stopped), "{slot}");
    }
    assert!(spans.all().len() >= SLOTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_pool_leaves_no_task() {
    let stun = responders(1, Manner::Honest).await;
    let (_spans, telemetry) = Spans::new();
    let signalling = MemorySignalling::new(Switchboard::default());
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = alive();
    let pool =
        Pool::new(signalling, transport(), telemetry, cache(&stun), 16).with_timing(timing());
    let cancel = CancellationToken::new();
    assert!(
        tokio::time::timeout(Duration::from_millis(100), pool.run(&cancel))
            .await
            .is_err()
    );
    for _ in 0..200 {
        if alive() <= before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} tasks before, {} after", before, alive());
}

/// The host's addresses, as this test says.
#[derive(Clone)]
struct Host(Arc<Mutex<LocalAddresses>>);

impl Host {
    fn at(ip: [u8; 4]) -> Self {
        Self(Arc::new(Mutex::new(Self::addresses(&[ip]))))
    }

    fn addresses(ips: &[[u8; 4]]) -> LocalAddresses {
        let mut addresses = LocalAddresses::default();
        addresses.all = ips.iter().map(|ip| IpAddr::from(*ip)).collect();
        addresses.default_route = [addresses.all.last().copied(), None];
        addresses
    }

    fn goes_to(&self, ips: &[[u8; 4]]) {
        *self.0.lock().unwrap() = Self::addresses(ips);
    }

    fn roaming(&self) -> Option<Roaming> {
        let host = self.clone();
        Some(Roaming::new(Duration::from_millis(20), move || {
            host.0.lock().unwrap().clone()
        }))
    }

    /// Binds where the default route is now.
    fn transport(&self) -> IceTransport {
        let host = self.clone();
        IceTransport::new(Network::custom(move || {
            let here = host.0.lock().unwrap().default_route[0].unwrap();
            ice_gather::Base::bind(BindConfig::address(here))
        }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_roams_asks_again_and_tells_the_new_verdict() {
    let stun = responders(2, Manner::Honest).await;
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producers = [producer(signalling.clone()), producer(signalling.clone())];
    let (spans, telemetry) = Spans::new();
    let host = Host::at([127, 0, 0, 71]);
    let mut consumer = Consumer::new(signalling, host.transport(), telemetry, cache(&stun))
        .with_timing(timing())
        .with_roaming(host.roaming());
    let mut notices = consumer.notices();
    let cancel = CancellationToken::new();
    let mut wait_for = async |wanted: &(dyn Fn(&NoticeKind) -> bool + Send + Sync)| {
        let found = async {
            loop {
                let notice = notices.next().await.expect("the consumer runs");
                if wanted(&notice.kind) {
                    return notice.kind;
                }
            }
        };
        tokio::time::timeout(LONG, found)
            .await
            .expect("told in time")
    };
    let external = |what: &NoticeKind| match what {
        NoticeKind::Roamed(summary) => summary.external_ip(),
        _ => None,
    };
    let user = async {
        wait_for(&|what| *what == NoticeKind::PathUp).await;
        let asked = || stun.iter().map(Responder::requests).sum::<u64>();
        let before = asked();
        // a second network, and the default route leads there; the path's own address stays: so
        // does the path
        host.goes_to(&[[127, 0, 0, 71], [127, 0, 0, 72]]);
        let roamed =
            wait_for(&|what| matches!(what, NoticeKind::Roamed(_) | NoticeKind::PathDown)).await;
        assert_eq!(external(&roamed), Some([127, 0, 0, 72].into()));
        assert!(asked() > before);
        // the first network goes, and the path with it
        host.goes_to(&[[127, 0, 0, 72]]);
        wait_for(&|what| {
            matches!(
                what,
                NoticeKind::Transition(Transition {
                    from: State::Established,
                    event: Event::Moved,
                    ..
                })
            )
        })
        .await;
        wait_for(&|what| *what == NoticeKind::PathDown).await;
        let roamed = wait_for(&|what| matches!(what, NoticeKind::Roamed(_))).await;
        assert_eq!(external(&roamed), Some([127, 0, 0, 72].into()));
        wait_for(&|what| *what == NoticeKind::PathUp).await;
        cancel.cancel();
    };
    tokio::join!(consumer.run(&cancel), user);
    assert_eq!(spans.told(), vec![("nat_success".to_owned(), None); 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_roams_while_nobody_is_there_binds_anew_without_a_span() {
    let stun = responders(1, Manner::Honest).await;
    let (spans, telemetry) = Spans::new();
    let host = Host::at([127, 0, 0, 73]);
    let signalling = MemorySignalling::new(Switchboard::default());
    let mut consumer = Consumer::new(signalling, host.transport(), telemetry, cache(&stun))
        .with_roaming(host.roaming());
    let mut notices = consumer.notices();
    let cancel = CancellationToken::new();
    let user = async {
        host.goes_to(&[[127, 0, 0, 74]]);
        let failed = async {
            while let Some(notice) = notices.next().await {
                if let NoticeKind::Failed(reason) = notice.kind {
                    return reason;
                }
            }
            panic!("ended");
        };
        assert_eq!(
            tokio::time::timeout(LONG, failed).await.unwrap(),
            FailureReason::Local
        );
        cancel.cancel();
    };
    tokio::join!(consumer.run(&cancel), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        user.await;
    });
    assert!(spans.all().is_empty(), "nobody was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_that_ages_while_the_answer_is_awaited_is_asked_again_at_no_cost_of_time() {
    let stun = responders(2, Manner::Honest).await;
    let (_spans, telemetry) = Spans::new();
    let signalling = MemorySignalling::new(Switchboard::default());
    // a producer that takes the offer and thinks about it for a while
    let slow = signalling.clone();
    let _slow = Running(tokio::spawn(async move {
        use consumer_fsm::signalling::wire::{Description, Genesis, Kind, write};
        use consumer_fsm::signalling::{GENESIS, Signalling};
        let offer = slow
            .exchange(GENESIS, Kind::Genesis, &write(&Genesis::everywhere()))
            .await
            .unwrap()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let sdp = format!("a=ice-ufrag:abcd\r\na=ice-pwd:{}\r\n", "x".repeat(24));
        let answer = write(&Description {
            kind: "answer".into(),
            sdp,
        });
        let _ = slow.exchange(&offer.reply_to, Kind::Answer, &answer).await;
    }));
    let timing = timing()
        .with_mapping_age(Duration::from_millis(200))
        .with_nat_fail_timeout(Duration::from_millis(100));
    let mut consumer =
        Consumer::new(signalling, transport(), telemetry, cache(&stun)).with_timing(timing);
    let report = consumer.attempt(&CancellationToken::new()).await;
    assert_eq!(
        report.last_event,
        Some(Event::TimedOut),
        "{:?}",
        report.transitions
    );
    let requests: Vec<u64> = stun.iter().map(Responder::requests).collect();
    assert!(
        requests.iter().all(|n| (2..=4).contains(n)),
        "at 0, 200 and 400 ms: {requests:?}"
    );
    assert!(
        report.elapsed < Duration::from_millis(1_500),
        "{:?}",
        report.elapsed
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_that_is_old_as_soon_as_it_is_known_keeps_nobody_from_a_path() {
    let stun = responders(2, Manner::Honest).await;
    let (_spans, telemetry) = Spans::new();
    let signalling = MemorySignalling::new(Switchboard::default());
    let _producer = producer(signalling.clone());
    let timing = timing().with_mapping_age(Duration::ZERO);
    let mut consumer =
        Consumer::new(signalling, transport(), telemetry, cache(&stun)).with_timing(timing);
    let report = run(&mut consumer, Until::UpWithin(LONG)).await;
    let opened = report
        .transitions
        .iter()
        .any(|step| step.event == Event::Opened);
    assert!(opened, "{:?}", report.transitions);
    let requests: Vec<u64> = stun.iter().map(Responder::requests).collect();
    assert!(
        requests.iter().all(|n| (2..=50).contains(n)),
        "{requests:?}"
    );
}
