//! Peers of others, as they behave: strict with candidates, late with their first datagram, and
//! sure that a client keeps its id.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use consumer_fsm::signalling::wire::{IceCandidates, Offer, read};
use consumer_fsm::signalling::{
    Envelope, Kind, MemoryListener, MemorySignalling, SignalError, Signalling, Switchboard,
};
use consumer_fsm::{Consumer, Datagrams, Ending, Pool, Producer, Served, Timing};
use ice_gather::responder::Manner;
use tokio_util::sync::CancellationToken;

use crate::runner::{Until, run};
use crate::stage::{Running, Spans, cache, responders, timing, transport};

const LONG: Duration = Duration::from_secs(20);

/// The producer's end of signalling, as strict as the Go producer: a list of nothing but host
/// candidates ends the exchange.
#[derive(Clone)]
struct Strict {
    service: MemorySignalling,
    offers: Arc<Mutex<Vec<Offer>>>,
    lists: Arc<Mutex<Vec<IceCandidates>>>,
}

impl Strict {
    fn new(service: &MemorySignalling) -> Self {
        Self {
            service: service.clone(),
            offers: Arc::default(),
            lists: Arc::default(),
        }
    }

    /// The session ids that came so far.
    fn session_ids(&self) -> Vec<String> {
        let lists = self.lists.lock().unwrap();
        let ids = lists.iter().map(|list| list.consumer_session_id.clone());
        ids.collect()
    }

    /// The tags that came so far.
    fn tags(&self) -> Vec<String> {
        let offers = self.offers.lock().unwrap();
        offers.iter().map(|offer| offer.tag.clone()).collect()
    }

    /// Serves one consumer after the other. The first datagram of each is lost, because the handler
    /// of messages comes after the opening.
    fn serve(&self) -> Running {
        let producer = Producer::new(self.clone(), transport(), Vec::new());
        Running(tokio::spawn(async move {
            loop {
                match producer.serve().await {
                    Ok(Served { session, path, .. }) => {
                        path.recv(&mut [0; 1500]).await;
                        let served = Served { session, path };
                        served.echo(&CancellationToken::new()).await;
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        }))
    }
}

impl Signalling for Strict {
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
        let reply = self.service.exchange(to, kind, payload).await?;
        let Some(envelope) = &reply else {
            return Ok(None);
        };
        match envelope.kind {
            Kind::Offer => self.offers.lock().unwrap().push(read(&envelope.payload)?),
            Kind::Ice => {
                let list: IceCandidates = read(&envelope.payload)?;
                let is_host_only = list.candidates.iter().all(|c| c.kind == "host");
                self.lists.lock().unwrap().push(list);
                if is_host_only {
                    return Err(SignalError::Malformed);
                }
            }
            _ => {}
        }
        Ok(reply)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_on_an_open_host_gets_a_path_from_a_producer_that_refuses_host_candidates_alone()
{
    let stun = responders(2, Manner::Honest).await;
    let service = MemorySignalling::new(Switchboard::default());
    let strict = Strict::new(&service);
    let _producer = strict.serve();
    let (spans, telemetry) = Spans::new();
    let (datagrams, mut link) = Datagrams::bounded(8);
    let timing = timing().with_nat_fail_timeout(LONG / 2);
    let mut consumer = Consumer::new(service, transport(), telemetry, cache(&stun))
        .with_timing(timing)
        .with_datagrams(datagrams);
    let (mut path, cancel) = (consumer.path(), CancellationToken::new());
    let user = async {
        path.wait_for(|up| *up).await.unwrap();
        for number in 0_u8.. {
            link.send(Bytes::from(vec![0x80, number]));
            let back = tokio::time::timeout(Duration::from_millis(50), link.recv());
            if let Ok(back) = back.await {
                cancel.cancel();
                return back.unwrap();
            }
        }
        unreachable!("a consumer without an echo");
    };
    let both = async { tokio::join!(consumer.attempt(&cancel), user) };
    let (report, back) = tokio::time::timeout(LONG, both).await.unwrap();
    assert_eq!(report.ending, Some(Ending::Success));
    assert_ne!(back[..], [0x80, 0], "the first one is lost");
    assert_eq!(spans.told(), [("nat_success".to_owned(), None)]);

    let lists = strict.lists.lock().unwrap();
    let [host, reflexive] = &lists[0].candidates[..] else {
        panic!("{:?}", lists[0].candidates)
    };
    assert_eq!([&*host.kind, &reflexive.kind], ["host", "srflx"]);
    assert_eq!(
        (&host.address, host.port),
        (&reflexive.address, reflexive.port)
    );
    let related = (&reflexive.related_address, reflexive.related_port);
    assert_eq!(related, (&host.address, host.port), "with its base");
    assert!(host.priority > reflexive.priority);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_for_a_volunteer_is_a_number_of_its_own_and_no_part_of_connecting() {
    const LATE: Duration = Duration::from_millis(1_000);
    let stun = responders(2, Manner::Honest).await;
    let service = MemorySignalling::new(Switchboard::default());
    let (spans, telemetry) = Spans::new();
    let strict = Strict::new(&service);
    let late = async {
        tokio::time::sleep(LATE).await;
        strict.serve()
    };
    let mut consumer =
        Consumer::new(service, transport(), telemetry, cache(&stun)).with_timing(timing());
    let (report, _producer) = tokio::join!(run(&mut consumer, Until::UpWithin(LONG)), late);
    assert_eq!(report.ending, Some(Ending::Success));
    let span = &spans.all()[0];
    let seconds = |key: &str| {
        let found = span.attributes.iter().find(|kv| kv.key.as_str() == key);
        found.unwrap().value.to_string().parse::<f64>().unwrap()
    };
    let (wait, connect) = (
        seconds("nat_telemetry.signalling.wait"),
        seconds("nat_telemetry.connect.duration"),
    );
    let total = span.end_time.duration_since(span.start_time).unwrap();
    let total = total.as_secs_f64();
    assert!(wait >= LATE.as_secs_f64(), "{wait}");
    assert!(
        connect > 0.0 && wait + connect <= total,
        "{wait} + {connect} of {total}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_one_id_in_all_its_slots_and_attempts_and_its_tag_in_each_offer() {
    let stun = responders(2, Manner::Honest).await;
    let service = MemorySignalling::new(Switchboard::default());
    let strict = Strict::new(&service);
    let _producers: Vec<Running> = (0..4).map(|_| strict.serve()).collect();
    let (_spans, telemetry) = Spans::new();
    let short = timing().with_path_lifetime(Some(Duration::from_millis(50)));
    let pool = |timing: Timing| {
        let (service, telemetry) = (service.clone(), telemetry.clone());
        let pool = Pool::new(service, transport(), telemetry, cache(&stun), 2);
        pool.with_timing(timing).with_attempts(4)
    };
    let never = CancellationToken::new();
    tokio::time::timeout(LONG, pool(short).run(&never))
        .await
        .unwrap();
    let by_default = strict.session_ids();
    assert!(by_default.len() >= 4, "{by_default:?}");
    let distinct: BTreeSet<&String> = by_default.iter().collect();
    assert_eq!(distinct.len(), 1, "{distinct:?}");
    assert!(by_default[0].parse::<uuid::Uuid>().is_ok());
    assert!(strict.tags().iter().all(String::is_empty));

    let mut consumer = Consumer::new(
        service.clone(),
        transport(),
        telemetry.clone(),
        cache(&stun),
    )
    .with_timing(short);
    run(&mut consumer, Until::UpWithin(LONG)).await;
    assert_eq!(
        strict.session_ids().last(),
        by_default.last(),
        "one process"
    );

    let (before, offers) = (strict.session_ids().len(), strict.tags().len());
    let named = pool(short).with_session_id("mine").with_tag("team");
    tokio::time::timeout(LONG, named.run(&never)).await.unwrap();
    let ids = strict.session_ids();
    assert!(ids.len() > before && ids[before..].iter().all(|id| id == "mine"));
    assert!(strict.tags()[offers..].iter().all(|tag| tag == "team"));
    let mut consumer = consumer.with_session_id("yours").with_tag("solo");
    run(&mut consumer, Until::UpWithin(LONG)).await;
    let last = (strict.session_ids().pop(), strict.tags().pop());
    assert_eq!(last, (Some("yours".into()), Some("solo".into())));
}
