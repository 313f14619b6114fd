//! Three namespaces, a consumer and a producer on either side of the attacker, with a signalling
//! service and a STUN server beside the attacker.
//!
//! ```text
//! consumer ── core (attacker, services) ── producer
//! ```

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use consumer_fsm::signalling::Switchboard;
use consumer_fsm::signalling::http::SignallingService;
use ice_gather::responder::Responder;
use tokio::sync::oneshot;

use crate::Failure;
use crate::kernel::namespace::Namespace;
use crate::kernel::world::{cable, up};

/// The consumer's address and port.
pub(super) const CONSUMER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 2), 40_001);
/// The producer's.
pub(super) const PRODUCER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 2, 0, 2), 40_002);
/// The port of the bare socket beside the side under siege.
pub(super) const BARE: u16 = 40_003;
/// The core's address on the consumer's cable.
pub(super) const CORE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

/// The namespaces and the services; all end when dropped.
pub(super) struct Ground {
    pub(super) consumer: Namespace,
    pub(super) core: Namespace,
    pub(super) producer: Namespace,
    /// Of the signalling service.
    pub(super) url: String,
    /// Of another one, where the abuser announces itself.
    pub(super) abuse_url: String,
    pub(super) stun: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ground {
    pub(super) fn new() -> Result<Self, Failure> {
        let (consumer, core, producer) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
        for (side, number, name) in [(&consumer, 1, "consumer"), (&producer, 2, "producer")] {
            cable((&core, name), (side, "wan"))?;
            core.ip(&up(name, &[format!("10.{number}.0.1/24")]))?;
            side.ip(&up("wan", &[format!("10.{number}.0.2/24")]))?;
            side.ip(&[format!("route add default via 10.{number}.0.1")])?;
        }
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = mpsc::channel();
        let place = core.clone();
        let thread = thread::spawn(move || {
            let served = place.block_on(|| serve(&started, stopped));
            if let Err(failure) = served {
                let _ = started.send(Err(failure));
            }
        });
        let Served {
            url,
            abuse_url,
            stun,
        } = starting.recv()??;
        Ok(Self {
            consumer,
            core,
            producer,
            url,
            abuse_url,
            stun,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // a panic in there was reported where it happened
            let _ = thread.join();
        }
    }
}

/// Where the services are.
struct Served {
    url: String,
    abuse_url: String,
    stun: SocketAddr,
}

async fn serve(
    started: &mpsc::Sender<Result<Served, Failure>>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), Failure> {
    let service = SignallingService::bind((CORE, 0), Switchboard::default()).await?;
    let other = SignallingService::bind((CORE, 0), Switchboard::default()).await?;
    let responder = Responder::bind((CORE, 3_478)).await?;
    let _ = started.send(Ok(Served {
        url: service.url(),
        abuse_url: other.url(),
        stun: responder.address(),
    }));
    let _ = stopped.await;
    Ok(())
}
