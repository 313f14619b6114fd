//! Asks two STUN servers from one base.

use ice_gather::{Base, BindConfig, GatherConfig, responder::Responder};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // two small STUN servers on loopback addresses stand for a real cohort
    let servers = [
        Responder::bind("127.0.0.1:0").await?,
        Responder::bind("127.0.0.2:0").await?,
    ];
    let cohort = [servers[0].server(), servers[1].server()];

    let base = Base::bind(BindConfig::address("127.0.0.1".parse()?)).await?;
    let gathering = base.gather(&cohort, &GatherConfig::default()).await;

    println!("{} ({:?})", gathering.evidence.summary(), gathering.elapsed);
    assert_eq!(gathering.evidence.summary().is_natted(), Some(false));
    assert_eq!(gathering.packets_sent, 2);
    Ok(())
}
