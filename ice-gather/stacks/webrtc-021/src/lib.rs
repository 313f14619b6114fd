//! What the example, the tests and the benchmark share: STUN servers on loopback, and a peer connection
//! that only gathers.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCIceServer,
};
use webrtc::runtime::Runtime;

/// An error of any kind.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A STUN server that reports the mapping that it was made with, as if a NAT stood in front of it. It
/// ends when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Server {
    /// A server on a loopback address that reports `mapped`; a dead one without.
    ///
    /// # Errors
    /// If the socket cannot be bound.
    pub async fn bind(ip: impl Into<IpAddr>, mapped: Option<SocketAddr>) -> io::Result<Self> {
        let socket = UdpSocket::bind((ip.into(), 0)).await?;
        let address = socket.local_addr()?;
        let requests = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, source)) = socket.recv_from(&mut buffer).await {
                let Some(request) = buffer.get(..length).filter(|bytes| bytes.len() >= 20) else {
                    continue;
                };
                counted.fetch_add(1, Ordering::Relaxed);
                if let Some(mapped) = mapped {
                    let _ = socket.send_to(&success(request, mapped), source).await;
                }
            }
        });
        Ok(Self {
            address,
            requests,
            task,
        })
    }

    /// As a peer connection takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("stun:{}", self.address)
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that came in so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A Binding success response with XOR-MAPPED-ADDRESS (RFC 8489 section 14.2), for IPv4.
fn success(request: &[u8], mapped: SocketAddr) -> Vec<u8> {
    const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
    let IpAddr::V4(ip) = mapped.ip() else {
        return Vec::new();
    };
    let mut bytes = vec![0x01, 0x01, 0x00, 0x0C];
    bytes.extend_from_slice(&request[4..20]);
    bytes.extend_from_slice(&[0x00, 0x20, 0x00, 0x08, 0x00, 0x01]);
    let xor = |bytes: &mut Vec<u8>, plain: &[u8]| {
        bytes.extend(plain.iter().zip(COOKIE).map(|(byte, key)| byte ^ key));
    };
    xor(&mut bytes, &mapped.port().to_be_bytes());
    xor(&mut bytes, &ip.octets());
    bytes
}

struct Handler(watch::Sender<bool>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.0.send_replace(true);
        }
    }
}

/// A peer connection on 127.0.0.1 with these servers, and a watch that turns true once its gathering is
/// complete.
///
/// # Errors
/// If the stack refuses.
pub async fn connection(
    runtime: Arc<dyn Runtime>,
    servers: &[&Server],
) -> Result<(impl PeerConnection + use<>, watch::Receiver<bool>), Failure> {
    let (complete, is_complete) = watch::channel(false);
    let urls = servers.iter().map(|server| server.url()).collect();
    let servers = vec![RTCIceServer {
        urls,
        ..RTCIceServer::default()
    }];
    let connection = PeerConnectionBuilder::new()
        .with_configuration(
            RTCConfigurationBuilder::new()
                .with_ice_servers(servers)
                .build(),
        )
        .with_handler(Arc::new(Handler(complete)))
        .with_runtime(runtime)
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .build()
        .await?;
    Ok((connection, is_complete))
}

/// Such a connection that gathers.
///
/// # Errors
/// If the stack refuses.
pub async fn gathering(
    runtime: Arc<dyn Runtime>,
    servers: &[&Server],
) -> Result<(impl PeerConnection + use<>, watch::Receiver<bool>), Failure> {
    let (connection, is_complete) = connection(runtime, servers).await?;
    connection.create_data_channel("data", None).await?;
    let offer = connection.create_offer(None).await?;
    connection.set_local_description(offer).await?;
    Ok((connection, is_complete))
}
