//! One attempt of a consumer against a producer, a signalling service and two STUN servers, all in
//! this process.

use consumer_fsm::signalling::Switchboard;
use consumer_fsm::signalling::http::{HttpSignalling, SignallingService};
use consumer_fsm::transport::{IceTransport, Network};
use consumer_fsm::{Consumer, Ending, Producer, StunCache};
use ice_gather::{BindConfig, responder::Responder};
use otel_nat::Telemetry;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stun = [
        Responder::bind("127.0.0.1:0").await?,
        Responder::bind("127.0.0.2:0").await?,
    ];
    let service = SignallingService::bind("127.0.0.1:0", Switchboard::default()).await?;
    let signalling = HttpSignalling::new(&service.url())?;
    let transport = IceTransport::new(Network::System(BindConfig::address("127.0.0.1".parse()?)));

    let producer = Producer::new(signalling.clone(), transport.clone(), Vec::new());
    let cancel = CancellationToken::new();
    let volunteer = tokio::spawn({
        let cancel = cancel.clone();
        async move {
            loop {
                // no consumer came in time, so the volunteer announces itself again
                if let Ok(served) = producer.serve().await {
                    return served.echo(&cancel).await;
                }
            }
        }
    });

    let servers = StunCache::new(stun.iter().map(Responder::server).collect());
    let mut consumer = Consumer::new(signalling, transport, Telemetry::global(), servers);
    let mut path = consumer.path();
    let stop = cancel.clone();
    tokio::spawn(async move {
        // enough for this example: a path came up
        let _ = path.wait_for(|up| *up).await;
        stop.cancel();
    });

    let report = consumer.attempt(&cancel).await;
    println!("{} after {:?}", report.summary, report.connected_after);
    assert_eq!(report.ending, Some(Ending::Success));
    volunteer.await?;
    Ok(())
}
