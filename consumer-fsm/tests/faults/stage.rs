//! The parts that the faults share: a consumer with short times, its spans and reports, and a peer
//! that goes as far as a test wants.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use consumer_fsm::signalling::wire::{
    Description, Genesis, IceCandidates, Kind, Offer, read, write,
};
use consumer_fsm::signalling::{
    GENESIS, MemorySignalling, Signalling, Switchboard, SwitchboardTiming,
};
use consumer_fsm::transport::{DataChannel, IceTransport, Network, Path, Session, Transport};
use consumer_fsm::{AttemptReport, Consumer, SessionDescription, StunCache, Timing};
use ice_gather::responder::Responder;
use ice_gather::{AgentConfig, Base, BindConfig, GatherConfig, Role};
use otel_nat::Telemetry;

use crate::fault::Span;
use crate::runner::run;

pub(crate) use crate::runner::Until;
pub(crate) use crate::shared::{Running, Spans, cache, responders};

/// One walk of a fault.
pub(crate) struct Stage {
    pub(crate) spans: Spans,
    pub(crate) telemetry: Telemetry,
    pub(crate) timing: Timing,
    reports: RefCell<Vec<AttemptReport>>,
}

impl Stage {
    /// For a walk that is to end in this span.
    pub(crate) fn new(span: Span) -> Self {
        let (spans, telemetry) = Spans::new();
        let mut timing = timing();
        if span == Span::Success {
            // the default time-out, because this attempt succeeds and a busy machine needs the time
            timing.nat_fail_timeout = Timing::default().nat_fail_timeout;
        }
        Self {
            spans,
            telemetry,
            timing,
            reports: RefCell::default(),
        }
    }

    pub(crate) fn reports(&self) -> Vec<AttemptReport> {
        self.reports.borrow().clone()
    }

    pub(crate) fn consumer<S: Signalling>(
        &self,
        signalling: S,
        stun: &[Responder],
    ) -> Consumer<S, IceTransport> {
        self.consumer_of(signalling, cache(stun))
    }

    pub(crate) fn consumer_of<S: Signalling>(
        &self,
        signalling: S,
        servers: StunCache,
    ) -> Consumer<S, IceTransport> {
        Consumer::new(signalling, transport(), self.telemetry.clone(), servers)
            .with_timing(self.timing)
    }

    /// One whose servers answer.
    pub(crate) fn patient_consumer<S: Signalling>(
        &self,
        signalling: S,
        servers: StunCache,
    ) -> Consumer<S, IceTransport> {
        Consumer::new(
            signalling,
            patient_transport(),
            self.telemetry.clone(),
            servers,
        )
        .with_timing(self.timing)
    }

    /// One attempt of the consumer, and its report.
    pub(crate) async fn attempt<S: Signalling, T: Transport>(
        &self,
        consumer: &mut Consumer<S, T>,
        until: Until,
    ) -> AttemptReport {
        let report = run(consumer, until).await;
        self.reports.borrow_mut().push(report.clone());
        report
    }

    /// One attempt of a consumer that asks two honest servers and meets this peer in memory.
    pub(crate) async fn meets(&self, until: Until, peer: Peer) -> AttemptReport {
        let stun = responders(2, ice_gather::responder::Manner::Honest).await;
        let signalling = memory();
        let _peer = peer.start(signalling.clone());
        self.attempt(&mut self.consumer(signalling, &stun), until)
            .await
    }

    /// The same over the data channel.
    pub(crate) async fn meets_over_a_channel<T: Transport + 'static>(
        &self,
        until: Until,
        peer: Peer<T>,
    ) -> AttemptReport {
        let stun = responders(2, ice_gather::responder::Manner::Honest).await;
        let signalling = memory();
        let _peer = peer.start(signalling.clone());
        let mut timing = self.timing;
        // a longer time-out, because ICE has to succeed before the channel fails, on a busy machine
        // too
        timing.nat_fail_timeout = timing.nat_fail_timeout.max(Duration::from_secs(1));
        let transport = DataChannel::new(lasting());
        let mut consumer =
            Consumer::new(signalling, transport, self.telemetry.clone(), cache(&stun))
                .with_timing(timing);
        self.attempt(&mut consumer, until).await
    }
}

pub(crate) fn timing() -> Timing {
    Timing::default()
        .with_patience(Duration::from_millis(5))
        .with_error_backoff(Duration::from_millis(20))
        .with_nat_fail_timeout(Duration::from_millis(300))
}

/// On loopback, with a dead path noticed within half a second.
pub(crate) fn transport() -> IceTransport {
    transport_with(Duration::from_millis(200))
}

/// The same where every server answers, however busy the machine is: asks once, and waits as long
/// as the product does.
pub(crate) fn patient_transport() -> IceTransport {
    let gather = GatherConfig::default().with_initial_rto(Duration::from_secs(2));
    transport().with_gather_config(gather)
}

/// A transport with a liveness time-out that a busy machine does not reach.
pub(crate) fn lasting() -> IceTransport {
    transport_with(Duration::from_secs(2))
}

/// On loopback; a path without a sign of life for twice this long has ended.
pub(crate) fn transport_with(silence: Duration) -> IceTransport {
    let gather = GatherConfig::default()
        .with_deadline(Duration::from_millis(300))
        .with_initial_rto(Duration::from_millis(50));
    let agent = AgentConfig::default()
        .with_check_interval(Duration::from_millis(10))
        .with_keepalive_interval(Duration::from_millis(40))
        .with_disconnected_timeout(silence)
        .with_failed_timeout(silence);
    IceTransport::new(loopback())
        .with_gather_config(gather)
        .with_agent_config(agent)
}

pub(crate) fn loopback() -> Network {
    Network::custom(|| async {
        let base = Base::bind(BindConfig::address([127, 0, 0, 1].into())).await?;
        // an address that reaches beyond this host: without one, no silence is a firewall's
        base.add_local([192, 168, 1, 5].into());
        Ok(base)
    })
}

/// Signalling in memory that gives up a silent side within 200 ms.
pub(crate) fn memory() -> MemorySignalling {
    MemorySignalling::new(Switchboard::new(service_timing()))
}

pub(crate) fn service_timing() -> SwitchboardTiming {
    let mut timing = SwitchboardTiming::default();
    timing.listen = Duration::from_millis(200);
    timing.genesis = Duration::from_millis(200);
    timing.exchange = Duration::from_millis(200);
    timing
}

/// How far a peer goes before it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leaves {
    /// It announces itself and is gone before an offer can come.
    AfterGenesis,
    /// It takes the offer and never answers.
    AfterOffer,
    /// It answers and takes no candidates.
    AfterAnswer,
    /// It never sends a check, nor answers one.
    AfterCandidates,
    /// It is gone with its socket while checks run.
    WhileChecking,
    /// It connects, and is gone so many milliseconds later.
    OnceUp(u64),
    /// It stays and echoes.
    Never,
}

type Edit = Box<dyn Fn(String) -> String + Send + Sync>;

/// The other side of an attempt. It serves one consumer after the other.
pub(crate) struct Peer<T = IceTransport> {
    leaves: Leaves,
    role: Role,
    /// The change of its session description on the way.
    edit: Edit,
    /// It takes none of the consumer's candidates.
    is_deaf: bool,
    transport: T,
}

impl Peer {
    pub(crate) fn that_leaves(leaves: Leaves) -> Self {
        Self {
            leaves,
            role: Role::Controlled,
            edit: Box::new(|sdp| sdp),
            is_deaf: false,
            transport: transport(),
        }
    }

    pub(crate) fn that_stays() -> Self {
        Self::that_leaves(Leaves::Never)
    }
}

impl<T: Transport + 'static> Peer<T>
where
    T::Session: 'static,
{
    /// Its description is changed like this before it is sent.
    pub(crate) fn editing(
        mut self,
        edit: impl Fn(String) -> String + Send + Sync + 'static,
    ) -> Self {
        self.edit = Box::new(edit);
        self
    }

    /// These candidates take the place of its own.
    pub(crate) fn with_candidates(
        self,
        candidates: impl Fn() -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        self.editing(move |sdp| without_candidates(&sdp) + &candidates().concat())
    }

    pub(crate) const fn in_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    pub(crate) const fn deaf(mut self) -> Self {
        self.is_deaf = true;
        self
    }

    pub(crate) fn over<U>(self, transport: U) -> Peer<U> {
        let Self {
            leaves,
            role,
            edit,
            is_deaf,
            transport: _,
        } = self;
        Peer {
            leaves,
            role,
            edit,
            is_deaf,
            transport,
        }
    }

    pub(crate) fn start<S: Signalling + 'static>(self, signalling: S) -> Running {
        Running(tokio::spawn(async move {
            loop {
                // a consumer that was not served is gone, and its session is dropped
                let _ = self.serve(&signalling).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }))
    }

    async fn serve<S: Signalling>(&self, signalling: &S) -> Option<()> {
        let genesis = write(&Genesis::everywhere());
        let announce = signalling.exchange(GENESIS, Kind::Genesis, &genesis);
        if self.leaves == Leaves::AfterGenesis {
            // long enough to be heard, too short to be reached
            let _ = tokio::time::timeout(Duration::from_millis(3), announce).await;
            return None;
        }
        let offer = announce.await.ok()??;
        if self.leaves == Leaves::AfterOffer {
            return None;
        }
        let mut session = self.transport.open(self.role).await.ok()?;
        let mut remote =
            SessionDescription::parse(&read::<Offer>(&offer.payload).ok()?.sdp.sdp).ok()?;
        let gathering = session.gather(&[]).await;
        let sdp = (self.edit)(session.describe(Some(&remote), &gathering.candidates));
        let answer = write(&Description {
            kind: "answer".into(),
            sdp,
        });
        let exchange = signalling.exchange(&offer.reply_to, Kind::Answer, &answer);
        if self.leaves == Leaves::AfterAnswer {
            // sent, and not waited for
            tokio::select! {
                biased;
                _ = exchange => {}
                () = std::future::ready(()) => {}
            }
            session.close().await;
            return None;
        }
        let ice = exchange.await.ok()??;
        let ice: IceCandidates = read(&ice.payload).ok()?;
        if !self.is_deaf {
            remote
                .candidates
                .extend(ice.candidates.iter().filter_map(|c| c.to_remote()));
        }
        match self.leaves {
            Leaves::AfterCandidates => tokio::time::sleep(Duration::from_secs(1)).await,
            Leaves::WhileChecking => {}
            Leaves::OnceUp(milliseconds) => {
                let path = session.connect(remote, Duration::from_secs(5)).await.ok()?;
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                drop(path);
            }
            _ => {
                let path = session.connect(remote, Duration::from_secs(2)).await.ok()?;
                let mut buffer = [0; 1500];
                while let Some(length) = path.recv(&mut buffer).await {
                    // a datagram that the path does not take is lost
                    let _ = path.send(&buffer[..length]).await;
                }
            }
        }
        session.close().await;
        Some(())
    }
}

/// A candidate line of a session description.
pub(crate) fn host(address: SocketAddr) -> String {
    format!(
        "a=candidate:1 1 udp 2130706431 {} {} typ host\r\n",
        address.ip(),
        address.port()
    )
}

pub(crate) fn without_candidates(sdp: &str) -> String {
    sdp.split_inclusive('\n')
        .filter(|line| !line.starts_with("a=candidate:"))
        .collect()
}

/// A description with credentials of a permitted length, and no more.
pub(crate) fn ghost() -> String {
    format!(
        "v=0\r\na=ice-ufrag:ghost\r\na=ice-pwd:{}\r\n",
        "g".repeat(32)
    )
}
