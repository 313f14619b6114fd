//! Attempts that ask a hostile TURN server for a relay.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use ice_gather::{
    AgentConfig, Base, Credentials, IceAgent, RelayConfig, RemoteCandidate, RemoteDescription,
    Role, TurnServer,
};
use nat_summary::CandidateKind;
use tokio_util::sync::CancellationToken;

use super::{Counts, bind};
use crate::Failure;

/// Longest wait for an allocation.
const ALLOCATED: Duration = Duration::from_secs(1);
/// Longest checks over a relay.
const CHECKED: Duration = Duration::from_millis(300);
/// Until the port of the last attempt is free.
const PAUSE: Duration = Duration::from_millis(10);
/// A peer that does not answer.
const SILENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 2), 9);

pub(super) async fn run(
    turn: SocketAddr,
    local: SocketAddrV4,
    counts: &Counts,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let server = TurnServer::new(&format!("turn:{turn}?transport=udp"), "user", "secret")?;
    while !cancel.is_cancelled() {
        let Ok(base) = Base::bind(bind(local)).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let config = RelayConfig::default()
            .with_deadline(ALLOCATED)
            .with_head_start(Duration::ZERO);
        let mut relay = base.add_relay(server.clone(), config)?;
        let mut agent = IceAgent::new(&base, Role::Controlling, AgentConfig::default()).await?;
        let cause = match relay.allocated().await {
            Err(error) => error.to_string(),
            Ok(_) => {
                let silent = RemoteDescription {
                    credentials: Credentials {
                        ufrag: "silent".into(),
                        pwd: "x".repeat(32),
                    },
                    candidates: vec![RemoteCandidate {
                        address: SILENT.into(),
                        kind: CandidateKind::Relayed,
                        priority: 1,
                    }],
                };
                match agent.connect(silent, CHECKED).await {
                    Ok(_) => "connected".into(),
                    Err(error) => format!("allocated; {error}"),
                }
            }
        };
        agent.close().await;
        drop(relay);
        drop(base);
        counts.beside(|beside| {
            beside.ended += 1;
            beside.cause = cause;
        });
    }
    Ok(())
}
