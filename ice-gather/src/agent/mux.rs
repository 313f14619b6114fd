//! How the ICE library gets at the sockets of a base: its `UDPMux`, one connection per socket,
//! closed for good.
//!
//! The library asks a mux for one connection per gathering of host candidates and gives it to every
//! local address it found. Two addresses on one connection would steal each other's datagrams, so
//! there is one gathering per socket: each runs in a task of its own, which first filters the
//! addresses and then asks for the connection. The task id ties the two together.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::task::Id;
use webrtc_ice::udp_mux::UDPMux;
use webrtc_util::{Conn, Error};

use crate::base::Shared;
use crate::base::agent_ends::{recv_for_agent, send_for_agent};
use crate::common::lock;
use crate::event::{IceEvent, IceState};
use crate::socket::carrier::DatagramCarrier;
use crate::socket::conn::Unconnected;

pub(crate) struct Mux {
    base: Arc<Shared>,
    /// The gathering task of each socket, in the order of the base's sockets.
    tasks: Mutex<Vec<Id>>,
    closed: AtomicBool,
}

impl Mux {
    pub(crate) fn new(base: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            base,
            tasks: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Whether `ip` is the address of the socket that the current gathering task stands for.
    pub(super) fn is_mine(&self, ip: IpAddr) -> bool {
        self.base
            .socket(self.my_socket())
            .is_some_and(|socket| socket.local().ip() == ip)
    }

    fn my_socket(&self) -> usize {
        let mut tasks = lock(&self.tasks);
        let Some(me) = tokio::task::try_id() else {
            return 0;
        };
        tasks
            .iter()
            .position(|task| *task == me)
            .unwrap_or_else(|| {
                tasks.push(me);
                tasks.len() - 1
            })
    }

    /// The last event of all.
    pub(super) fn end_events(&self) {
        self.base.emit(IceEvent::State(IceState::Closed));
        self.base.end_events();
    }

    /// The relay frees what its server holds for it.
    #[cfg(feature = "relay")]
    pub(super) async fn release_relay(&self) {
        if let Some(relay) = self.base.relay() {
            relay.release().await;
        }
    }

    pub(super) fn close_sockets(&self) {
        self.closed.store(true, Ordering::Release);
        self.base.close_sockets();
    }
}

#[async_trait]
impl UDPMux for Mux {
    async fn close(&self) -> Result<(), Error> {
        self.close_sockets();
        Ok(())
    }

    async fn get_conn(self: Arc<Self>, _ufrag: &str) -> Result<Arc<dyn Conn + Send + Sync>, Error> {
        let number = self.my_socket();
        if self.closed.load(Ordering::Acquire) || self.base.socket(number).is_none() {
            return Err(Error::ErrAlreadyClosed);
        }
        let base = Arc::clone(&self.base);
        Ok(Arc::new(Unconnected(AgentEnd { base, number })))
    }

    async fn remove_conn_by_ufrag(&self, _ufrag: &str) {
        self.close_sockets();
    }
}

#[cfg(feature = "measure")]
impl crate::base::Base {
    /// Receives on the first socket as an agent does, to measure it without one.
    #[doc(hidden)]
    pub async fn recv_as_agent(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let shared = self.shared();
        recv_for_agent(shared, 0, buffer).await
    }

    /// The same through the interface of the ICE library, which boxes a future per datagram.
    #[doc(hidden)]
    #[must_use]
    pub fn agent_end(&self) -> Option<Arc<dyn Conn + Send + Sync>> {
        self.shared().socket(0)?;
        let (base, number) = (Arc::clone(self.shared()), 0);
        Some(Arc::new(Unconnected(AgentEnd { base, number })))
    }
}

/// One socket of the base, as the agent sees it.
struct AgentEnd {
    base: Arc<Shared>,
    number: usize,
}

impl DatagramCarrier for AgentEnd {
    fn recv_from(
        &self,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send {
        recv_for_agent(&self.base, self.number, buffer)
    }

    fn send_to(
        &self,
        datagram: &[u8],
        target: SocketAddr,
    ) -> impl Future<Output = io::Result<usize>> + Send {
        send_for_agent(&self.base, self.number, datagram, target)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let socket = self.base.socket(self.number);
        Ok(socket.ok_or(io::ErrorKind::NotConnected)?.local())
    }

    fn close(&self) {
        if let Some(socket) = self.base.socket(self.number) {
            socket.close();
        }
    }
}
