//! Two agents, each on a base of its own, exchange a datagram.

use std::time::Duration;

use ice_gather::responder::Responder;
use ice_gather::{
    AgentConfig, Base, BindConfig, GatherConfig, IceAgent, RemoteCandidate, RemoteDescription,
    Role, StunServer,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// An agent, and the description that its peer has to get by signalling.
async fn agent(
    role: Role,
    cohort: &[StunServer],
) -> Result<(IceAgent, RemoteDescription), Failure> {
    let base = Base::bind(BindConfig::address([127, 0, 0, 1].into())).await?;
    let agent = IceAgent::new(&base, role, AgentConfig::default()).await?;
    let gathering = base.gather(cohort, &GatherConfig::default()).await;
    let signalled = gathering.to_signal();
    let candidates = signalled
        .iter()
        .filter_map(|candidate| RemoteCandidate::from_candidate(&candidate.as_candidate()));
    let description = RemoteDescription {
        credentials: agent.credentials().clone(),
        candidates: candidates.collect(),
    };
    Ok((agent, description))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let server = Responder::bind("127.0.0.1:0").await?;
    let cohort = [server.server()];
    let (mut ours, to_them) = agent(Role::Controlling, &cohort).await?;
    let (mut theirs, to_us) = agent(Role::Controlled, &cohort).await?;

    let deadline = Duration::from_secs(5);
    let (near, far) = tokio::join!(
        ours.connect(to_us, deadline),
        theirs.connect(to_them, deadline)
    );
    let (near, far) = (near?, far?);
    near.send(b"through one socket").await?;
    let mut buffer = [0; 100];
    let length = far.recv(&mut buffer).await.ok_or("the path has ended")?;
    println!("received: {}", String::from_utf8_lossy(&buffer[..length]));
    assert_eq!(&buffer[..length], b"through one socket");

    ours.close().await;
    theirs.close().await;
    Ok(())
}
