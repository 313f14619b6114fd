//! Active discovery of filtering, on real sockets and behind NATs of a virtual network written by
//! others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ice_gather::responder::{Manner, Responder, TwoAddresses};
use ice_gather::{Base, BindConfig, Finding, discover_filtering};
use nat_summary::Filtering;
use tokio::net::UdpSocket;
use tokio::sync::Mutex;
use webrtc_util::Conn;
use webrtc_util::vnet::nat::{EndpointDependencyType, NatType};
use webrtc_util::vnet::net::{Net, NetConfig};
use webrtc_util::vnet::router::{Nic, Router, RouterConfig};

use crate::gather::base;

type Carrier = Arc<dyn Conn + Send + Sync>;

async fn host(router: &Arc<Mutex<Router>>, ips: &[&str]) -> Arc<Net> {
    let static_ips = ips.iter().map(ToString::to_string).collect();
    let net = Arc::new(Net::new(Some(NetConfig {
        static_ips,
        ..NetConfig::default()
    })));
    let nic = net.get_nic().unwrap();
    router.lock().await.add_net(Arc::clone(&nic)).await.unwrap();
    nic.lock()
        .await
        .set_router(Arc::clone(router))
        .await
        .unwrap();
    net
}

fn router(
    cidr: &str,
    nat: Option<(EndpointDependencyType, EndpointDependencyType)>,
) -> Arc<Mutex<Router>> {
    let nat_type = nat.map(|(mapping_behavior, filtering_behavior)| NatType {
        mapping_behavior,
        filtering_behavior,
        ..NatType::default()
    });
    let static_ips = nat.map(|_| "203.0.113.7".to_owned()).into_iter().collect();
    let config = RouterConfig {
        cidr: cidr.into(),
        static_ips,
        nat_type,
        ..RouterConfig::default()
    };
    Arc::new(Mutex::new(Router::new(config).unwrap()))
}

/// The finding behind a NAT that filters like this, on a port that may have been another socket's
/// or not; every `lost`-th packet toward the host is dropped, if not zero.
async fn behind(filtering: EndpointDependencyType, is_port_old: bool, lost: usize) -> Finding {
    let wan = router("203.0.113.0/24", None);
    let server = host(&wan, &["203.0.113.11", "203.0.113.12"]).await;
    let mut conns: Vec<Carrier> = Vec::new();
    for address in [
        "203.0.113.11:3478",
        "203.0.113.11:3479",
        "203.0.113.12:3478",
        "203.0.113.12:3479",
    ] {
        conns.push(server.bind(address.parse().unwrap()).await.unwrap());
    }
    let [a, b, c, d] = <[Carrier; 4]>::try_from(conns).ok().unwrap();
    let server = TwoAddresses::on_carriers([[a, b], [c, d]]).unwrap();
    let lan = router(
        "192.168.1.0/24",
        Some((EndpointDependencyType::EndpointIndependent, filtering)),
    );
    let client = host(&lan, &["192.168.1.5"]).await;
    if lost > 0 {
        let count = std::sync::atomic::AtomicUsize::new(0);
        let filter = move |chunk: &(dyn webrtc_util::vnet::chunk::Chunk + Send + Sync)| {
            chunk.get_destination_ip() == std::net::IpAddr::from([203, 0, 113, 11])
                || count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % lost != lost - 1
        };
        lan.lock().await.add_chunk_filter(Box::new(filter)).await;
    }
    wan.lock().await.add_router(Arc::clone(&lan)).await.unwrap();
    lan.lock().await.set_router(Arc::clone(&wan)).await.unwrap();
    wan.lock().await.start().await.unwrap();
    let conn = client.bind("192.168.1.5:0".parse().unwrap()).await.unwrap();
    let base = Base::from_carrier(conn).unwrap();
    if is_port_old {
        base.distrust_port();
    }
    let finding = discover_filtering(base, server.address()).await;
    wan.lock().await.stop().await.unwrap();
    finding
}

#[tokio::test]
async fn each_kind_of_filter_is_recognised_in_time() {
    use EndpointDependencyType::{
        EndpointAddrDependent, EndpointAddrPortDependent, EndpointIndependent,
    };
    for (nat, filtering) in [
        (EndpointIndependent, Filtering::EndpointIndependent),
        (EndpointAddrDependent, Filtering::AddressDependent),
        (
            EndpointAddrPortDependent,
            Filtering::AddressAndPortDependent,
        ),
    ] {
        let started = Instant::now();
        assert_eq!(behind(nat, false, 0).await, Finding::Known(filtering));
        assert!(
            started.elapsed() < Duration::from_millis(1500),
            "{:?}",
            started.elapsed()
        );
    }
}

/// Only an answer that stayed out while no socket had opened the filter proves anything there.
#[tokio::test]
async fn on_a_port_that_may_have_been_another_sockets_only_silence_proves() {
    use EndpointDependencyType::{
        EndpointAddrDependent, EndpointAddrPortDependent, EndpointIndependent,
    };
    for (nat, finding) in [
        (EndpointIndependent, Finding::Inconclusive),
        (EndpointAddrDependent, Finding::Inconclusive),
        (
            EndpointAddrPortDependent,
            Finding::Known(Filtering::AddressAndPortDependent),
        ),
    ] {
        assert_eq!(behind(nat, true, 0).await, finding, "{nat:?}");
    }
}

#[tokio::test]
async fn with_loss_silence_proves_nothing() {
    for lost in [2, 3] {
        let finding = behind(
            EndpointDependencyType::EndpointAddrPortDependent,
            false,
            lost,
        )
        .await;
        assert!(
            matches!(finding, Finding::Inconclusive | Finding::Silent),
            "every {lost}th lost: {finding:?}"
        );
    }
}

/// A server of four sockets on loopback.
async fn four_sockets() -> TwoAddresses {
    let bind = |address| UdpSocket::bind(address);
    let (one, other) = ("127.0.0.51", "127.0.0.52");
    let first = bind((one, 0)).await.unwrap();
    let second = bind((one, 0)).await.unwrap();
    let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    let third = bind((other, port(&first))).await.unwrap();
    let fourth = bind((other, port(&second))).await.unwrap();
    TwoAddresses::on_carriers([[first, second], [third, fourth]]).unwrap()
}

#[tokio::test]
async fn an_open_host_lets_every_packet_in() {
    let server = four_sockets().await;
    let finding = discover_filtering(base().await, server.address()).await;
    assert_eq!(finding, Finding::Known(Filtering::EndpointIndependent));
}

#[tokio::test]
async fn on_a_port_that_comes_round_again_an_answer_that_is_let_in_proves_nothing() {
    let server = four_sockets().await;
    let few = BindConfig::address([127, 0, 0, 1].into()).with_ports(45_010..=45_019);
    let finding = discover_filtering(Base::bind(few).await.unwrap(), server.address()).await;
    assert_eq!(finding, Finding::Inconclusive);
}

#[tokio::test]
async fn a_server_that_cannot_help_proves_nothing() {
    let plain = Responder::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(
        discover_filtering(base().await, plain.address()).await,
        Finding::NoOtherAddress
    );
    let silent = Responder::bind_with("127.0.0.1:0", Manner::Silent)
        .await
        .unwrap();
    assert_eq!(
        discover_filtering(base().await, silent.address()).await,
        Finding::Silent
    );
}

/// Claims a second address, and answers every request from the first one.
#[tokio::test]
async fn a_server_that_ignores_the_request_is_seen_through() {
    let liar = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = liar.local_addr().unwrap();
    let _task = tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (n, source) = liar.recv_from(&mut buffer).await.unwrap();
            let id = ice_gather::stun::Header::peek(&buffer[..n]).unwrap().id;
            let mut answer = ice_gather::responder::success(id, source);
            answer.extend_from_slice(&[0x80, 0x2c, 0, 8, 0, 1, 0x0d, 0x97, 127, 0, 0, 53]);
            answer[3] += 12;
            liar.send_to(&answer, source).await.unwrap();
        }
    });
    assert_eq!(
        discover_filtering(base().await, address).await,
        Finding::Inconclusive
    );
}
