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

use crate::agent::{IceEvent, IceState};
use crate::base::{Inner, Line, lock};
use crate::transaction::Header;

pub(crate) struct Mux {
    base: Arc<Inner>,
    /// The gathering task of each socket, in the order of the base's lines.
    tasks: Mutex<Vec<Id>>,
    closed: AtomicBool,
}

impl Mux {
    pub(crate) fn new(base: Arc<Inner>) -> Arc<Self> {
        Arc::new(Self {
            base,
            tasks: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Whether `ip` is the address of the socket that the current gathering task stands for.
    pub(super) fn is_mine(&self, ip: IpAddr) -> bool {
        self.base
            .line(self.my_line())
            .is_some_and(|line| line.local.ip() == ip)
    }

    fn my_line(&self) -> usize {
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
        self.base.tell(IceEvent::State(IceState::Closed));
        self.base.end_events();
    }

    /// The relay frees what its server holds for it.
    #[cfg(feature = "relay")]
    pub(super) async fn release_relay(&self) {
        if let Some(relay) = self.base.relay() {
            relay.release().await;
        }
    }

    pub(super) fn close_lines(&self) {
        self.closed.store(true, Ordering::Release);
        self.base.close_lines();
    }
}

#[async_trait]
impl UDPMux for Mux {
    async fn close(&self) -> Result<(), Error> {
        self.close_lines();
        Ok(())
    }

    async fn get_conn(self: Arc<Self>, _ufrag: &str) -> Result<Arc<dyn Conn + Send + Sync>, Error> {
        let line = self.my_line();
        if self.closed.load(Ordering::Acquire) || self.base.line(line).is_none() {
            return Err(Error::ErrAlreadyClosed);
        }
        Ok(Arc::new(MuxConn::<true> {
            base: Arc::clone(&self.base),
            line,
        }))
    }

    async fn remove_conn_by_ufrag(&self, _ufrag: &str) {
        self.close_lines();
    }
}

#[cfg(feature = "measure")]
impl crate::Base {
    /// Receives on the first socket what an agent would receive, to measure it without one.
    #[doc(hidden)]
    pub async fn recv_as_agent(&self, buffer: &mut [u8]) -> std::io::Result<(usize, SocketAddr)> {
        let line = self
            .inner()
            .line(0)
            .ok_or(std::io::ErrorKind::NotConnected)?;
        self.inner().recv_for_agent::<true>(line, buffer).await
    }

    /// The same through the interface of the ICE library, which boxes a future per datagram.
    #[doc(hidden)]
    #[must_use]
    pub fn agent_end(&self) -> Option<Arc<dyn Conn + Send + Sync>> {
        self.inner().line(0)?;
        Some(Arc::new(MuxConn::<true> {
            base: Arc::clone(self.inner()),
            line: 0,
        }))
    }

    /// The same without reading what the checks of the peer show; it has to be known already.
    #[doc(hidden)]
    #[must_use]
    pub fn agent_end_without_peer(&self) -> Option<Arc<dyn Conn + Send + Sync>> {
        self.inner().line(0)?;
        Some(Arc::new(MuxConn::<false> {
            base: Arc::clone(self.inner()),
            line: 0,
        }))
    }
}

/// One socket of the base, as the agent sees it. `READS`: what the peer's checks show is read in
/// passing; without, only to measure what that costs.
struct MuxConn<const READS: bool = true> {
    base: Arc<Inner>,
    line: usize,
}

impl<const READS: bool> MuxConn<READS> {
    fn line(&self) -> Result<&Line, Error> {
        self.base.line(self.line).ok_or(Error::ErrAlreadyClosed)
    }
}

#[async_trait]
impl<const READS: bool> Conn for MuxConn<READS> {
    async fn connect(&self, _addr: SocketAddr) -> Result<(), Error> {
        Err(Error::ErrNoRemAddr)
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.recv_from(buffer).await.map(|(length, _)| length)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        Ok(self
            .base
            .recv_for_agent::<READS>(self.line()?, buffer)
            .await?)
    }

    async fn send(&self, _buffer: &[u8]) -> Result<usize, Error> {
        Err(Error::ErrNoRemAddr)
    }

    async fn send_to(&self, buffer: &[u8], target: SocketAddr) -> Result<usize, Error> {
        let line = self.line()?;
        // before anything counts as sent
        if line.is_closed() {
            return Err(Error::ErrAlreadyClosed);
        }
        match Header::peek(buffer) {
            Some(header) => self.base.on_sent(line, target, header),
            None => line.note_moved(),
        }
        Ok(line.send_to(buffer, target).await?)
    }

    fn local_addr(&self) -> Result<SocketAddr, Error> {
        Ok(self.line()?.local)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }

    async fn close(&self) -> Result<(), Error> {
        self.line()?.close();
        Ok(())
    }

    fn as_any(&self) -> &(dyn core::any::Any + Send + Sync) {
        self
    }
}
