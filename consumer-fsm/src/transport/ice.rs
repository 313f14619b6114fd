//! Plain ICE: the connected pair of candidates is the channel.

use std::sync::Arc;
use std::time::Duration;

use ice_gather::{
    AgentConfig, Base, BindConfig, BindError, ConnectError, Credentials, GatherConfig, Gathering,
    IceAgent, IceConn, PeerView, Rebinding, Role, StunServer,
};
use nat_summary::{CandidateKind, Evidence};
use tokio::sync::watch;

use super::{Path, Session, Transport, TransportError};
use crate::sdp::SessionDescription;

type MakeBase = dyn Fn() -> core::pin::Pin<Box<dyn Future<Output = Result<Base, BindError>> + Send>>
    + Send
    + Sync;

/// The source of sockets.
#[derive(Clone)]
#[non_exhaustive]
pub enum Network {
    /// The system's UDP sockets.
    System(BindConfig),
    /// A function that makes a base, for example on a virtual network.
    Custom(Arc<MakeBase>),
}

impl Network {
    /// Makes each base with `make`.
    pub fn custom<F>(make: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Base, BindError>> + Send + 'static,
    {
        Self::Custom(Arc::new(move || Box::pin(make())))
    }

    async fn base(&self) -> Result<Base, BindError> {
        match self {
            Self::System(config) => Base::bind(config.clone()).await,
            Self::Custom(make) => make().await,
        }
    }
}

impl core::fmt::Debug for Network {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::System(_) => "System",
            Self::Custom(_) => "Custom",
        })
    }
}

/// The transport over plain ICE.
#[derive(Debug, Clone)]
pub struct IceTransport {
    network: Network,
    gather: GatherConfig,
    agent: AgentConfig,
}

impl IceTransport {
    /// On this network, with the defaults.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self {
            network,
            gather: GatherConfig::default(),
            agent: AgentConfig::default(),
        }
    }

    /// Asks STUN servers like this.
    #[must_use]
    pub const fn with_gather_config(mut self, config: GatherConfig) -> Self {
        self.gather = config;
        self
    }

    /// Checks connectivity like this.
    #[must_use]
    pub const fn with_agent_config(mut self, config: AgentConfig) -> Self {
        self.agent = config;
        self
    }
}

impl Transport for IceTransport {
    type Session = IceSession;

    async fn open(&self, role: Role) -> Result<IceSession, TransportError> {
        let base = self
            .network
            .base()
            .await
            .map_err(|_| TransportError::Local)?;
        let agent = IceAgent::new(&base, role, self.agent)
            .await
            .map_err(|_| TransportError::Local)?;
        Ok(IceSession {
            base,
            agent,
            gather: self.gather,
        })
    }
}

/// A base and the agent on it.
#[derive(Debug)]
pub struct IceSession {
    base: Base,
    agent: IceAgent,
    gather: GatherConfig,
}

impl Session for IceSession {
    type Path = IceConn;

    fn credentials(&self) -> &Credentials {
        self.agent.credentials()
    }

    async fn gather(&self, cohort: &[StunServer]) -> Gathering {
        self.base.gather(cohort, &self.gather).await
    }

    fn evidence(&self) -> Box<Evidence> {
        self.base.evidence()
    }

    async fn connect(
        &mut self,
        remote: SessionDescription,
        deadline: Duration,
    ) -> Result<IceConn, TransportError> {
        self.agent
            .connect(remote.into(), deadline)
            .await
            .map_err(|error| match error {
                ConnectError::Remote(_) => TransportError::Remote,
                ConnectError::TimedOut => TransportError::TimedOut,
                _ => TransportError::Failed,
            })
    }

    fn selected_pair(&self) -> Option<(CandidateKind, CandidateKind)> {
        self.agent.selected_pair()
    }

    fn peer_view(&self) -> Option<PeerView> {
        Some(self.base.peer_view())
    }

    fn rebindings(&self) -> Option<watch::Receiver<Option<Rebinding>>> {
        Some(self.base.rebindings())
    }

    async fn close(self) {
        self.agent.close().await;
    }
}

impl Path for IceConn {
    async fn send(&self, datagram: &[u8]) -> bool {
        Self::send(self, datagram).await.is_ok()
    }

    async fn recv(&self, buffer: &mut [u8]) -> Option<usize> {
        Self::recv(self, buffer).await
    }
}
