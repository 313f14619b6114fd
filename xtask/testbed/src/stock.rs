//! Stock webrtc-ice, driven as in its own documentation, to measure ours beside it.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use webrtc_ice::agent::Agent;
use webrtc_ice::agent::agent_config::AgentConfig;
use webrtc_ice::candidate::{Candidate, CandidateType};
use webrtc_ice::mdns::MulticastDnsMode;
use webrtc_ice::network_type::NetworkType;
use webrtc_ice::url::{ProtoType, SchemeType, Url};
use webrtc_util::Conn;

use ice_gather::{Base, compat};

use crate::Failure;

/// Longer than its fixed wait of 5 s for a silent server.
const PATIENCE: Duration = Duration::from_secs(20);

/// One gathering that is complete, with the agent that made it.
pub struct Gathered {
    agent: Agent,
    /// Until the library called it complete.
    pub elapsed: Duration,
    /// Server-reflexive candidates: one for each server that answered.
    pub answered: usize,
}

impl Gathered {
    /// Ends the agent.
    ///
    /// # Errors
    /// Those of the library.
    pub async fn close(self) -> Result<(), Failure> {
        Ok(self.agent.close().await?)
    }
}

/// Gathers from the loopback address until the library says that it is complete. Multicast DNS is
/// off: it would cost it a socket and a task more.
pub async fn gather(servers: &[SocketAddr]) -> Result<Gathered, Failure> {
    let started = Instant::now();
    let types = vec![CandidateType::Host, CandidateType::ServerReflexive];
    let agent = Agent::new(config(servers, types)).await?;
    let mut found = candidates(&agent);
    agent.gather_candidates()?;
    let mut answered = 0;
    while let Some(candidate) = tokio::time::timeout(PATIENCE, found.recv())
        .await?
        .ok_or("the agent fell silent")?
    {
        answered += usize::from(candidate.candidate_type() == CandidateType::ServerReflexive);
    }
    Ok(Gathered {
        agent,
        elapsed: started.elapsed(),
        answered,
    })
}

/// Closes an agent that has just begun to gather.
pub async fn close_while_gathering(servers: &[SocketAddr]) -> Result<(), Failure> {
    let types = vec![CandidateType::Host, CandidateType::ServerReflexive];
    let agent = Agent::new(config(servers, types)).await?;
    let _found = candidates(&agent);
    agent.gather_candidates()?;
    Ok(agent.close().await?)
}

/// Closes an agent whose dial is pending, because there is no peer.
pub async fn close_while_dialling() -> Result<(), Failure> {
    let agent = Arc::new(Agent::new(config(&[], vec![CandidateType::Host])).await?);
    let mut found = candidates(&agent);
    agent.gather_candidates()?;
    while found.recv().await.ok_or("the agent fell silent")?.is_some() {}
    let (keep, cancelled) = mpsc::channel(1);
    let dialling = Arc::clone(&agent);
    tokio::spawn(async move {
        let _keep = keep;
        drop(
            dialling
                .dial(cancelled, "nobody".to_owned(), "x".repeat(32))
                .await,
        );
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    Ok(agent.close().await?)
}

/// An agent on a base of ours, its host candidates gathered.
pub async fn on_base(base: &Base) -> Result<Gathered, Failure> {
    let started = Instant::now();
    let network = AgentConfig {
        udp_network: compat::udp_network(base),
        ip_filter: Arc::new(Some(compat::ip_filter(base))),
        ..config(&[], vec![CandidateType::Host])
    };
    let agent = Agent::new(network).await?;
    let mut found = candidates(&agent);
    agent.gather_candidates()?;
    while tokio::time::timeout(PATIENCE, found.recv())
        .await?
        .ok_or("the agent fell silent")?
        .is_some()
    {}
    Ok(Gathered {
        agent,
        elapsed: started.elapsed(),
        answered: 0,
    })
}

fn config(servers: &[SocketAddr], candidate_types: Vec<CandidateType>) -> AgentConfig {
    let url = |server: &SocketAddr| Url {
        scheme: SchemeType::Stun,
        host: server.ip().to_string(),
        port: server.port(),
        proto: ProtoType::Udp,
        ..Url::default()
    };
    AgentConfig {
        urls: servers.iter().map(url).collect(),
        candidate_types,
        network_types: vec![NetworkType::Udp4],
        multicast_dns_mode: MulticastDnsMode::Disabled,
        include_loopback: true,
        ip_filter: Arc::new(Some(Box::new(|ip| ip == IpAddr::from([127, 0, 0, 1])))),
        check_interval: Duration::from_millis(20),
        // none while datagrams are counted
        keepalive_interval: Some(Duration::from_secs(60)),
        ..AgentConfig::default()
    }
}

type Found = Option<Arc<dyn Candidate + Send + Sync>>;

fn candidates(agent: &Agent) -> mpsc::Receiver<Found> {
    let (tx, rx) = mpsc::channel(32);
    agent.on_candidate(Box::new(move |candidate| {
        let _ = tx.try_send(candidate);
        Box::pin(std::future::ready(()))
    }));
    rx
}

/// Two agents connected on loopback, each on a socket of its own.
pub struct Pair {
    agents: [Agent; 2],
    /// The controlling end.
    pub sender: Arc<dyn Conn + Send + Sync>,
    /// The controlled end.
    pub receiver: Arc<dyn Conn + Send + Sync>,
}

impl Pair {
    /// Both gather, and connect.
    ///
    /// # Errors
    /// Those of the library.
    pub async fn connect() -> Result<Self, Failure> {
        let make = |is_controlling| {
            Agent::new(AgentConfig {
                is_controlling,
                ..config(&[], vec![CandidateType::Host])
            })
        };
        let agents = [make(true).await?, make(false).await?];
        for (from, to) in [(0, 1), (1, 0)] {
            let mut found = candidates(&agents[from]);
            agents[from].gather_candidates()?;
            while let Some(candidate) = found.recv().await.ok_or("the agent fell silent")? {
                let line = candidate.marshal();
                let remote = webrtc_ice::candidate::candidate_base::unmarshal_candidate(&line)?;
                agents[to].add_remote_candidate(&(Arc::new(remote) as _))?;
            }
        }
        let (a, b) = (
            agents[0].get_local_user_credentials().await,
            agents[1].get_local_user_credentials().await,
        );
        let ((_keep_a, cancel_a), (_keep_b, cancel_b)) = (mpsc::channel(1), mpsc::channel(1));
        let (sender, receiver) = tokio::try_join!(
            agents[0].dial(cancel_a, b.0, b.1),
            agents[1].accept(cancel_b, a.0, a.1)
        )?;
        Ok(Self {
            agents,
            sender,
            receiver,
        })
    }

    /// Ends both.
    ///
    /// # Errors
    /// Those of the library.
    pub async fn close(self) -> Result<(), Failure> {
        for agent in &self.agents {
            agent
                .close()
                .await
                .map_err(Box::<dyn Error + Send + Sync>::from)?;
        }
        Ok(())
    }
}
