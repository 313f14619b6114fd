//! A peer connection of webrtc 0.21 with a tap: its candidates show one reflexive address, the tap
//! shows that it is a cone, and the dead server keeps it waiting no longer.

use std::time::{Duration, Instant};

use ice_gather::tap::Tap;
use webrtc::peer_connection::PeerConnection;
use webrtc::runtime::default_runtime;
use webrtc_021::{Failure, Server, gathering};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // two STUN servers see one mapping, and a third one is dead
    let mapped = "203.0.113.7:50000".parse()?;
    let servers = [
        Server::bind([127, 0, 0, 11], Some(mapped)).await?,
        Server::bind([127, 0, 0, 12], Some(mapped)).await?,
        Server::bind([127, 0, 0, 13], None).await?,
    ];
    let start = Instant::now();

    // the one line: `gathering` hands the tap to `with_runtime`
    let tap = Tap::new(default_runtime().ok_or("no runtime")?);
    let (connection, mut complete) = gathering(tap.clone(), &servers.each_ref()).await?;

    while tap.evidence().observations().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!(
        "{:6} ms: {}",
        start.elapsed().as_millis(),
        tap.evidence().summary()
    );
    complete.wait_for(|complete| *complete).await?;
    println!(
        "{:6} ms: webrtc has finished gathering",
        start.elapsed().as_millis()
    );
    for server in tap.servers() {
        println!(
            "           {} {}: {} sent",
            server.server,
            server.outcome.as_str(),
            server.sends
        );
    }
    connection.close().await?;
    Ok(())
}
