//! How the ICE library gets at the sockets of a base: its `UDPMux`, one connection per socket,
//! closed for good.
//!
//! The library asks a mux for one connection per gathering of host candidates and gives it to every
//! local address it found. Two addresses on one connection would steal each other's datagrams, so
//! there is one gathering per socket: each runs in a task of its own, which first filters the
//! addresses and then asks for the connection. The task is what ties the two together.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::task::Id;
use webrtc_ice::udp_mux::UDPMux;
use webrtc_util::{Conn, Error};

use crate::base::Shared;
use crate::base::demux::recv_for_agent;
use crate::common::lock;
use crate::event::{IceEvent, IceState};
use crate::socket::Socket;
use crate::socket::unconnected::{Datagrams, Unconnected};
use crate::stun::Header;

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
    /// Receives on the first socket what an agent would receive, to measure it without one.
    #[doc(hidden)]
    pub async fn recv_as_agent(&self, buffer: &mut [u8]) -> std::io::Result<(usize, SocketAddr)> {
        let shared = self.shared();
        let socket = shared.socket(0).ok_or(std::io::ErrorKind::NotConnected)?;
        recv_for_agent(shared, socket, buffer).await
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

impl AgentEnd {
    fn socket(&self) -> Result<&Socket, Error> {
        self.base.socket(self.number).ok_or(Error::ErrAlreadyClosed)
    }
}

impl Datagrams for AgentEnd {
    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        Ok(recv_for_agent(&self.base, self.socket()?, buffer).await?)
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> Result<usize, Error> {
        let socket = self.socket()?;
        // before anything counts as sent
        if socket.is_closed() {
            return Err(Error::ErrAlreadyClosed);
        }
        match Header::peek(datagram) {
            Some(header) => self.base.on_sent(socket, target, header),
            None => socket.note_moved(),
        }
        Ok(socket.send_for_agent(datagram, target).await?)
    }

    fn local_addr(&self) -> Result<SocketAddr, Error> {
        Ok(self.socket()?.local())
    }

    fn close(&self) {
        if let Ok(socket) = self.socket() {
            socket.close();
        }
    }
}
