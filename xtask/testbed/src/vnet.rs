//! A small Internet in memory: servers, a public peer, and a consumer behind a NAT of a known kind.
//!
//! The NATs are those of webrtc-util's virtual network, written by others: our verdicts are checked
//! against a truth that is not ours.

use std::sync::Arc;

use consumer_fsm::transport::{IceTransport, Network};
use ice_gather::responder::{Manner, Responder};
use ice_gather::{Base, BindError};
use nat_model::{Behaviour, Dependence};
use tokio::sync::Mutex;
use webrtc_util::vnet::nat::{EndpointDependencyType as Endpoint, NatType as VirtualNat};
use webrtc_util::vnet::net::{Net, NetConfig};
use webrtc_util::vnet::router::{Router, RouterConfig};

use crate::Failure;
use crate::front::Front;

/// The library's words for the behaviour of a NAT.
const fn in_its_words(behaviour: Behaviour) -> (Endpoint, Endpoint) {
    const fn word(dependence: Dependence) -> Endpoint {
        match dependence {
            Dependence::EndpointIndependent => Endpoint::EndpointIndependent,
            Dependence::AddressDependent => Endpoint::EndpointAddrDependent,
            Dependence::AddressAndPortDependent => Endpoint::EndpointAddrPortDependent,
        }
    }
    (word(behaviour.mapping), word(behaviour.filtering))
}

/// The NAT in front of a host; none where there is nothing at all.
fn virtual_nat(front: Front) -> Option<VirtualNat> {
    let lax = Behaviour::new(
        Dependence::EndpointIndependent,
        Dependence::EndpointIndependent,
    );
    let behaviour = match front {
        Front::Nothing => return None,
        other => other.behaviour().unwrap_or(lax),
    };
    let (mapping_behavior, filtering_behavior) = in_its_words(behaviour);
    Some(VirtualNat {
        mapping_behavior,
        filtering_behavior,
        ..VirtualNat::default()
    })
}

/// A running virtual network.
pub struct World {
    wan: Arc<Mutex<Router>>,
    _lan: Option<Arc<Mutex<Router>>>,
    consumer: Arc<Net>,
    producer: Arc<Net>,
    _server_nets: Vec<Arc<Net>>,
    /// The STUN servers, the last of them silent.
    pub responders: Vec<Responder>,
}

impl World {
    /// Five servers, the last of them silent, one public peer, one consumer behind `front`.
    pub async fn new(front: Front) -> Result<Self, Failure> {
        let wan = router("203.0.113.0/24", None, None)?;
        let (mut responders, mut server_nets) = (Vec::new(), Vec::new());
        for n in 0..5 {
            let ip = format!("203.0.113.{}", 11 + n);
            let net = host(&wan, &ip).await?;
            let manner = if n == 4 {
                Manner::Silent
            } else {
                Manner::Honest
            };
            responders.push(Responder::on_carrier(
                net.bind(format!("{ip}:3478").parse()?).await?,
                manner,
            )?);
            server_nets.push(net);
        }
        let producer = host(&wan, "203.0.113.99").await?;
        let (lan, consumer) = match virtual_nat(front) {
            None => (None, host(&wan, "203.0.113.7").await?),
            Some(nat) => {
                let lan = router("192.168.1.0/24", Some("203.0.113.7"), Some(nat))?;
                let consumer = host(&lan, "192.168.1.5").await?;
                if matches!(front, Front::Blocked | Front::NoRoute) {
                    lan.lock().await.add_chunk_filter(Box::new(|_| false)).await;
                }
                wan.lock().await.add_router(Arc::clone(&lan)).await?;
                let nic = Arc::clone(&lan);
                webrtc_util::vnet::router::Nic::set_router(&*nic.lock().await, Arc::clone(&wan))
                    .await?;
                (Some(lan), consumer)
            }
        };
        wan.lock().await.start().await?;
        Ok(Self {
            wan,
            _lan: lan,
            consumer,
            producer,
            _server_nets: server_nets,
            responders,
        })
    }

    /// A transport of the consumer: the same code as on real sockets, from the socket up.
    pub fn consumer(&self) -> IceTransport {
        IceTransport::new(on(&self.consumer))
    }

    /// A transport of the public peer.
    pub fn producer(&self) -> IceTransport {
        IceTransport::new(on(&self.producer))
    }

    /// Stops the network.
    ///
    /// # Errors
    /// Those of the library.
    pub async fn stop(self) -> Result<(), Failure> {
        Ok(self.wan.lock().await.stop().await?)
    }
}

fn router(
    cidr: &str,
    external: Option<&str>,
    nat_type: Option<VirtualNat>,
) -> Result<Arc<Mutex<Router>>, Failure> {
    let config = RouterConfig {
        cidr: cidr.to_owned(),
        static_ips: external.map(str::to_owned).into_iter().collect(),
        nat_type,
        ..RouterConfig::default()
    };
    Ok(Arc::new(Mutex::new(Router::new(config)?)))
}

async fn host(router: &Arc<Mutex<Router>>, ip: &str) -> Result<Arc<Net>, Failure> {
    let config = NetConfig {
        static_ips: vec![ip.to_owned()],
        ..NetConfig::default()
    };
    let net = Arc::new(Net::new(Some(config)));
    let nic = net.get_nic()?;
    router.lock().await.add_net(Arc::clone(&nic)).await?;
    nic.lock().await.set_router(Arc::clone(router)).await?;
    Ok(net)
}

/// One socket on the host's own address.
fn on(net: &Arc<Net>) -> Network {
    let net = Arc::clone(net);
    Network::custom(move || {
        let net = Arc::clone(&net);
        async move {
            let interface = net
                .get_interface("eth0")
                .await
                .ok_or(BindError::NoAddress)?;
            let ip = interface
                .addrs()
                .first()
                .ok_or(BindError::NoAddress)?
                .addr();
            let conn = net
                .bind((ip, 0).into())
                .await
                .map_err(|_| BindError::NoAddress)?;
            Base::from_carrier(conn)
        }
    })
}
