//! A host that does strange things: no descriptors, steps of the clock, suspension, a runtime that
//! ends, a NAT that rebinds.

use std::fs::File;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consumer_fsm::signalling::Switchboard;
use consumer_fsm::signalling::http::{HttpSignalling, SignallingService};
use consumer_fsm::transport::{IceTransport, Network};
use consumer_fsm::{Consumer, Datagrams, Event, NoticeKind, State, Transition};
use ice_gather::BindConfig;
use ice_gather::responder::Manner;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::shared::cache;
use crate::stage::{
    Leaves, Peer, Running, Stage, Until, host, memory, responders, service_timing, timing,
    transport_with,
};

pub(crate) async fn address_of_somebody_else(stage: &Stage) {
    let stun = responders(1, Manner::Honest).await;
    let elsewhere = IceTransport::new(Network::System(BindConfig::address([192, 0, 2, 1].into())));
    let mut consumer = Consumer::new(memory(), elsewhere, stage.telemetry.clone(), cache(&stun))
        .with_timing(timing());
    stage.attempt(&mut consumer, Until::End).await;
}

pub(crate) async fn no_descriptor_for_the_base(stage: &Stage) {
    let stun = responders(1, Manner::Honest).await;
    let taken = every_descriptor();
    stage
        .attempt(&mut stage.consumer(memory(), &stun), Until::End)
        .await;
    drop(taken);
}

pub(crate) async fn no_descriptor_for_signalling(stage: &Stage) {
    let stun = responders(1, Manner::Honest).await;
    let service = SignallingService::bind("127.0.0.1:0", Switchboard::new(service_timing()))
        .await
        .unwrap();
    let client = HttpSignalling::new(&service.url())
        .unwrap()
        .with_slack(Duration::from_millis(100));
    let mut taken = every_descriptor();
    // as many as it takes to have a base, and not one more
    for _ in 0..8 {
        taken.pop();
        let report = stage
            .attempt(
                &mut stage.consumer(client.clone(), &stun),
                Until::Milliseconds(150),
            )
            .await;
        if report
            .transitions
            .iter()
            .any(|step| step.event == Event::Prepared)
        {
            return;
        }
    }
    panic!("never a base");
}

/// Holds whatever descriptors there are.
fn every_descriptor() -> Vec<File> {
    let mut taken = Vec::with_capacity(256);
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
        assert!(taken.len() < 256, "the limit of this process is too high");
    }
    taken
}

/// Starts the process that walks it with few descriptors.
pub(crate) fn with_few_descriptors() -> Result<Command, String> {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]);
    Ok(command)
}

/// Suspends this process, and wakes it again.
fn suspend(seconds: u32) {
    let script = format!(
        "kill -STOP {0}; sleep {seconds}; kill -CONT {0}",
        std::process::id()
    );
    let before = Instant::now();
    Command::new("sh").args(["-c", &script]).status().unwrap();
    assert!(
        before.elapsed() >= Duration::from_secs(seconds.into()),
        "it was not suspended"
    );
}

pub(crate) async fn suspended_while_checks_run(stage: &Stage) {
    let stun = responders(2, Manner::Honest).await;
    let signalling = memory();
    let _peer = Peer::that_leaves(Leaves::AfterCandidates).start(signalling.clone());
    let mut consumer = stage.consumer(signalling, &stun);
    let mut notices = consumer.notices();
    let sleeper = async {
        while let Some(notice) = notices.next().await {
            if matches!(
                notice.kind,
                NoticeKind::Transition(Transition {
                    to: State::Opening,
                    ..
                })
            ) {
                suspend(10);
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = stage.attempt(&mut consumer, Until::End) => {}
        () = sleeper => {}
    }
}

/// With the default times of ICE, which outlast it: the path carries datagrams as before.
pub(crate) async fn suspended_on_a_path(stage: &Stage) {
    on_a_path(stage, Duration::from_secs(15), async |echo: &mut Echo| {
        echo.works().await;
        suspend(10);
        echo.works().await;
    })
    .await;
}

pub(crate) async fn suspended_for_longer_than_consent(stage: &Stage) {
    on_a_path(
        stage,
        Duration::from_millis(200),
        async |echo: &mut Echo| {
            echo.works().await;
            suspend(10);
            std::future::pending::<()>().await;
        },
    )
    .await;
}

/// A user's end of a path whose peer echoes.
struct Echo {
    to_path: mpsc::Sender<Bytes>,
    from_path: mpsc::Receiver<Bytes>,
    count: u8,
}

impl Echo {
    /// Sends datagrams until one comes back, within two seconds.
    async fn works(&mut self) {
        let until = Instant::now() + Duration::from_secs(2);
        while !self.once().await {
            assert!(Instant::now() < until, "nothing comes back");
        }
    }

    async fn once(&mut self) -> bool {
        self.count += 1;
        let datagram = Bytes::copy_from_slice(&[0x80, self.count]);
        self.to_path.send(datagram.clone()).await.unwrap();
        while let Ok(Some(back)) =
            tokio::time::timeout(Duration::from_millis(100), self.from_path.recv()).await
        {
            if back == datagram {
                return true;
            }
        }
        false
    }
}

/// An attempt that has a path, whose user does this with it, and cancels the attempt then if it
/// still lasts.
async fn on_a_path(stage: &Stage, silence: Duration, user: impl AsyncFnOnce(&mut Echo)) {
    let signalling = memory();
    let _peer = Peer::that_stays()
        .over(transport_with(silence))
        .start(signalling.clone());
    with_echo(stage, signalling, silence, user).await;
}

async fn with_echo(
    stage: &Stage,
    signalling: consumer_fsm::signalling::MemorySignalling,
    silence: Duration,
    user: impl AsyncFnOnce(&mut Echo),
) {
    let stun = responders(2, Manner::Honest).await;
    let ((to_path, outbound), (inbound, from_path)) = (mpsc::channel(8), mpsc::channel(8));
    let mut consumer = Consumer::new(
        signalling,
        transport_with(silence),
        stage.telemetry.clone(),
        cache(&stun),
    )
    .with_timing(stage.timing)
    .with_datagrams(Datagrams { outbound, inbound });
    let mut path = consumer.path();
    let used = CancellationToken::new();
    let user = async {
        let _ = path.wait_for(|up| *up).await;
        user(&mut Echo {
            to_path,
            from_path,
            count: 0,
        })
        .await;
        used.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = stage.attempt(&mut consumer, Until::Cancelled(used.clone())) => {}
        () = user => {}
    }
}

/// Starts the process that walks it under a wall clock that [`step_the_clock`] moves; the monotonic
/// clock stays true.
pub(crate) fn with_a_clock_that_steps() -> Result<Command, String> {
    const LIBRARIES: [&str; 3] = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib64/faketime/libfaketimeMT.so.1",
    ];
    let library = LIBRARIES
        .into_iter()
        .find(|library| std::fs::exists(library).unwrap_or(false));
    let library = library.ok_or("there is no libfaketime; `apt-get install faketime` brings it")?;
    let mut command = Command::new("sh");
    // named after the process it is for, which `exec` does not change
    let script = "FAKETIME_TIMESTAMP_FILE=${TMPDIR:-/tmp}/consumer-fsm-clock.$$; export FAKETIME_TIMESTAMP_FILE; \
                  echo +0 > $FAKETIME_TIMESTAMP_FILE; exec \"$0\" \"$@\"";
    command
        .args(["-c", script])
        .env("LD_PRELOAD", library)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    Ok(command)
}

/// Moves the wall clock, and only that.
fn step_the_clock(seconds: i64) {
    let file = std::env::var_os("FAKETIME_TIMESTAMP_FILE").unwrap();
    let (wall, monotonic) = (std::time::SystemTime::now(), Instant::now());
    std::fs::write(file, format!("{seconds:+}\n")).unwrap();
    let stepped = match std::time::SystemTime::now().duration_since(wall) {
        Ok(forward) => forward.as_secs() as i64,
        Err(back) => -(back.duration().as_secs() as i64),
    };
    assert!(
        stepped.abs() > 3_000 || seconds == 0,
        "the clock was not moved: {stepped}"
    );
    assert!(
        monotonic.elapsed() < Duration::from_secs(10),
        "the monotonic clock was moved"
    );
}

/// The clock is true again, and nothing of it stays, whatever happens.
struct TrueClock;

impl Drop for TrueClock {
    fn drop(&mut self) {
        step_the_clock(0);
    }
}

async fn steps_while_checks_run(stage: &Stage, seconds: i64) {
    let _clock = TrueClock;
    let stun = responders(2, Manner::Honest).await;
    let signalling = memory();
    let _peer = Peer::that_leaves(Leaves::AfterCandidates).start(signalling.clone());
    let mut consumer = stage.consumer(signalling, &stun);
    let mut notices = consumer.notices();
    let stepper = async {
        while let Some(notice) = notices.next().await {
            if matches!(
                notice.kind,
                NoticeKind::Transition(Transition {
                    to: State::Opening,
                    ..
                })
            ) {
                step_the_clock(seconds);
            }
        }
        std::future::pending::<()>().await;
    };
    let started = Instant::now();
    tokio::select! {
        _ = stage.attempt(&mut consumer, Until::End) => {}
        () = stepper => {}
    }
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

pub(crate) async fn clock_forward_while_checks_run(stage: &Stage) {
    steps_while_checks_run(stage, 3_600).await;
}

pub(crate) async fn clock_back_while_checks_run(stage: &Stage) {
    steps_while_checks_run(stage, -3_600).await;
}

async fn steps_on_a_path(stage: &Stage, seconds: i64) {
    let _clock = TrueClock;
    on_a_path(
        stage,
        Duration::from_millis(500),
        async |echo: &mut Echo| {
            echo.works().await;
            step_the_clock(seconds);
            // longer than the silence that ends a path
            for _ in 0..15 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                echo.works().await;
            }
        },
    )
    .await;
}

pub(crate) async fn clock_forward_on_a_path(stage: &Stage) {
    steps_on_a_path(stage, 3_600).await;
}

pub(crate) async fn clock_back_on_a_path(stage: &Stage) {
    steps_on_a_path(stage, -3_600).await;
}

pub(crate) async fn clock_back_as_the_peer_vanishes(stage: &Stage) {
    let _clock = TrueClock;
    let signalling = memory();
    let _peer = Peer::that_leaves(Leaves::OnceUp(200)).start(signalling.clone());
    let started = Instant::now();
    with_echo(
        stage,
        signalling,
        Duration::from_millis(300),
        async |_: &mut Echo| {
            // gone since a moment, and not noticed yet
            tokio::time::sleep(Duration::from_millis(400)).await;
            step_the_clock(-3_600);
            std::future::pending::<()>().await;
        },
    )
    .await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "noticed after {:?}",
        started.elapsed()
    );
}

/// The runtime that an attempt runs on ends in this state.
async fn runtime_ends(stage: &Stage, in_state: State, leaves: Option<Leaves>) {
    let telemetry = stage.telemetry.clone();
    let (done, ended) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let stun = responders(2, Manner::Honest).await;
            let signalling = memory();
            let peer = leaves.map(|leaves| Peer::that_leaves(leaves).start(signalling.clone()));
            let mut consumer = Consumer::new(
                signalling,
                transport_with(Duration::from_secs(5)),
                telemetry,
                cache(&stun),
            )
            .with_timing(timing());
            let mut notices = consumer.notices();
            tokio::spawn(async move {
                let _kept = (peer, stun);
                consumer.run(&CancellationToken::new()).await;
            });
            while let Some(notice) = notices.next().await {
                if matches!(notice.kind, NoticeKind::Transition(step) if step.to == in_state) {
                    break;
                }
            }
            // into the work of the state
            tokio::time::sleep(Duration::from_millis(20)).await;
        });
        drop(runtime);
        let _ = done.send(());
    });
    ended.await.unwrap();
    thread.join().unwrap();
}

pub(crate) async fn runtime_ends_in_state_1(stage: &Stage) {
    runtime_ends(stage, State::Listening, None).await;
}

pub(crate) async fn runtime_ends_in_state_2(stage: &Stage) {
    runtime_ends(stage, State::Offering, Some(Leaves::AfterOffer)).await;
}

pub(crate) async fn runtime_ends_in_state_4(stage: &Stage) {
    runtime_ends(stage, State::Opening, Some(Leaves::AfterCandidates)).await;
}

pub(crate) async fn runtime_ends_in_state_5(stage: &Stage) {
    runtime_ends(stage, State::Established, Some(Leaves::Never)).await;
}

/// A NAT between us and the peer. Our datagrams leave from a socket that can be replaced.
struct Nat {
    inside: Arc<UdpSocket>,
    _forwarding: Running,
    rebind: mpsc::Sender<()>,
}

impl Nat {
    /// Forwards datagrams from `inside` to the first address that `to` yields.
    async fn new(mut to: mpsc::Receiver<SocketAddr>) -> Self {
        let inside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let (rebind, mut rebinds) = mpsc::channel(1);
        let socket = Arc::clone(&inside);
        let forwarding = Running(tokio::spawn(async move {
            let Some(peer) = to.recv().await else { return };
            let mut outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let (mut ours, mut out, mut back) = (None, [0; 1500], [0; 1500]);
            loop {
                tokio::select! {
                    Ok((length, from)) = socket.recv_from(&mut out) => {
                        ours = Some(from);
                        let _ = outside.send_to(&out[..length], peer).await;
                    }
                    Ok((length, _)) = outside.recv_from(&mut back) => {
                        if let Some(ours) = ours {
                            let _ = socket.send_to(&back[..length], ours).await;
                        }
                    }
                    Some(()) = rebinds.recv() => outside = UdpSocket::bind("127.0.0.1:0").await.unwrap(),
                }
            }
        }));
        Self {
            inside,
            _forwarding: forwarding,
            rebind,
        }
    }
}

pub(crate) async fn nat_rebinds(stage: &Stage) {
    let (tell, told) = mpsc::channel(1);
    let nat = Nat::new(told).await;
    let inside = nat.inside.local_addr().unwrap();
    let signalling = memory();
    // reachable through the NAT alone, in both directions
    let peer = Peer::that_stays().deaf().editing(move |sdp| {
        let own = consumer_fsm::SessionDescription::parse(&sdp)
            .unwrap()
            .candidates[0]
            .address;
        let _ = tell.try_send(own);
        crate::stage::without_candidates(&sdp) + &host(inside)
    });
    let _peer = peer.start(signalling.clone());
    with_echo(
        stage,
        signalling,
        Duration::from_millis(300),
        async |echo: &mut Echo| {
            echo.works().await;
            nat.rebind.send(()).await.unwrap();
            std::future::pending::<()>().await;
        },
    )
    .await;
}
