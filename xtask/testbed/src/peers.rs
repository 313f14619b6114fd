//! The other sides of an attempt: a cohort of STUN servers, a producer that echoes, a ghost that
//! never answers checks.

use std::net::SocketAddr;
use std::time::Duration;

use consumer_fsm::signalling::wire::{Description, Genesis, Kind, Offer, read, write};
use consumer_fsm::signalling::{GENESIS, Signalling};
use consumer_fsm::transport::Transport;
use consumer_fsm::{Producer, StunCache};
use ice_gather::responder::Responder;
use ice_gather::{AgentConfig, Base, BindConfig, IceAgent, RemoteCandidate, RemoteDescription};
use nat_summary::CandidateKind;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Failure;

/// Ends a task with its owner.
#[derive(Debug)]
pub struct Running(JoinHandle<()>);

impl Running {
    /// On the runtime of the caller.
    pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Responders on consecutive loopback addresses from 127.0.0.11 on, the last `silent` of them
/// silent.
pub async fn cohort(size: u8, silent: u8) -> Result<Vec<Responder>, Failure> {
    Ok(Responder::cohort(size, silent).await?)
}

/// A base on the one loopback address that everything has.
#[must_use]
pub fn loopback() -> BindConfig {
    BindConfig::address([127, 0, 0, 1].into())
}

/// An agent with frequent checks, because their interval must not dominate a measurement.
#[must_use]
pub fn eager() -> AgentConfig {
    AgentConfig::default().with_check_interval(Duration::from_millis(5))
}

/// These responders as a cache of servers.
pub fn servers(responders: &[Responder]) -> StunCache {
    StunCache::new(responders.iter().map(Responder::server).collect())
}

/// A producer that serves one consumer after the other and sends everything back; each until its
/// connection ends, or `per_consumer` has passed. One that vanished before it connected is waited
/// for just as long, or 15 s.
pub fn echo<S, T>(signalling: S, transport: T, per_consumer: Duration) -> Running
where
    S: Signalling + Clone + 'static,
    T: Transport + Clone + 'static,
    T::Session: 'static,
{
    Running(tokio::spawn(async move {
        let patience = per_consumer.min(Duration::from_secs(15));
        let producer =
            Producer::new(signalling, transport, Vec::new()).with_connect_timeout(patience);
        loop {
            match producer.serve().await {
                Ok(served) => {
                    let until = CancellationToken::new();
                    let echo = served.echo(&until);
                    tokio::pin!(echo);
                    tokio::select! {
                        _ = &mut echo => {}
                        () = tokio::time::sleep(per_consumer) => {
                            until.cancel();
                            echo.await;
                        }
                    }
                }
                // a consumer that vanished; a service that is gone must not be hammered
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }))
}

/// A peer whose signalling is right and whose only candidate is a socket that never answers a
/// check.
pub async fn ghost<S: Signalling + 'static>(signalling: S) -> Result<Running, Failure> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let address: SocketAddr = socket.local_addr()?;
    let sdp = format!(
        "v=0\r\na=ice-ufrag:ghost\r\na=ice-pwd:{}\r\na=candidate:1 1 udp 2130706431 {} {} typ host\r\n",
        "g".repeat(32),
        address.ip(),
        address.port()
    );
    let answer = write(&Description {
        kind: "answer".into(),
        sdp,
    });
    Ok(Running(tokio::spawn(async move {
        let _socket = socket;
        loop {
            let genesis = write(&Genesis::everywhere());
            let offer = signalling.exchange(GENESIS, Kind::Genesis, &genesis).await;
            if let Ok(Some(offer)) = offer
                && read::<Offer>(&offer.payload).is_ok()
            {
                // the reply is dropped, because a ghost never connects
                let _ = signalling
                    .exchange(&offer.reply_to, Kind::Answer, &answer)
                    .await;
            } else {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    })))
}

/// How an agent describes itself to its peer: the host candidates of its base.
pub fn describe(base: &Base, agent: &IceAgent) -> RemoteDescription {
    let candidate = |address| RemoteCandidate {
        address,
        kind: CandidateKind::Host,
        priority: 2_130_706_431,
    };
    RemoteDescription {
        credentials: agent.credentials().clone(),
        candidates: base.local_addrs().map(candidate).collect(),
    }
}
