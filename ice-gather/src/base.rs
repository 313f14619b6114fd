//! The sockets: one per address family, shared by ICE and our own STUN transactions. A socket has one
//! reader at a time.
//!
//! There is no reader task. While servers are asked, [`Base::gather`] reads. Once connectivity checks
//! run, the agent's receive loop reads alone, even while a gathering goes on or begins. Either reader
//! takes our answers out of the stream: gathering keeps the peer's early checks for the agent, the
//! agent's loop files answers as evidence. In between, arriving datagrams wait in the kernel.

#[cfg(feature = "agent")]
pub(crate) mod agent_ends;
mod demux;
#[cfg(feature = "agent")]
mod events;
mod gather;
mod observed;
#[cfg(feature = "relay")]
pub(crate) mod relayed;
mod report;
#[cfg(feature = "agent")]
mod serving;
mod shared;
mod trickle;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use nat_summary::{Evidence, NatSummary};
#[cfg(feature = "agent")]
use tokio::sync::watch;

pub use self::report::{Dropped, Gathering, Progress, ServerReport};
pub(crate) use self::shared::Shared;
#[cfg(feature = "agent")]
use crate::checks::{PeerView, Rebinding};
use crate::config::{Bind, BindConfig, GatherConfig, repeats};
use crate::error::BindError;
use crate::socket::carrier::DatagramCarrier;
use crate::socket::{Carrier, Socket, bind_in, bind_unused, local, recent_ports};
use crate::stun::StunServer;

/// One socket per address family, and everything heard on them that is ours.
///
/// A base serves one [`IceAgent`](crate::IceAgent). Clones share it; the sockets close with the
/// last of them.
#[derive(Clone)]
pub struct Base {
    shared: Arc<Shared>,
}

impl Base {
    /// Binds the sockets.
    ///
    /// # Errors
    /// [`BindError::NoAddress`] if there is nothing to bind, [`BindError::Socket`] if the system
    /// refuses.
    pub async fn bind(config: BindConfig) -> Result<Self, BindError> {
        let mut sockets = Vec::with_capacity(2);
        let ports = config.ports.as_ref();
        let range = ports.cloned().or_else(local::port_range);
        let mut is_port_old = range.as_ref().is_some_and(repeats);
        for (bind, is_ipv4) in [(&config.ipv4, true), (&config.ipv6, false)] {
            let Some(ip) = address_to_bind(bind, is_ipv4)? else {
                continue;
            };
            let found = if is_port_old {
                bind_in(ip, ports).await
            } else {
                bind_unused(ip, ports).await
            };
            let (socket, bound) = found?;
            is_port_old |= recent_ports::is_used(bound.port());
            let hosts = if ip.is_unspecified() {
                hosts_of_wildcard(is_ipv4)
            } else {
                vec![bound.ip()]
            };
            sockets.push(Socket::new(Carrier::Udp(socket), bound, hosts));
        }
        if sockets.is_empty() {
            return Err(BindError::NoAddress);
        }
        let base = Self::on(sockets);
        if is_port_old {
            base.distrust_port();
        }
        Ok(base)
    }

    /// Takes any datagram carrier as the only socket: a socket bound elsewhere, a carrier of the
    /// caller's own, or, with the feature `agent`, a connection of a virtual network of `webrtc-util`. Its
    /// port counts as one that no other socket had a short while ago, because its network is not known
    /// here: otherwise call [`distrust_port`](Self::distrust_port).
    ///
    /// # Errors
    /// [`BindError::Wildcard`] if its local address is the wildcard, [`BindError::Socket`] if it
    /// has none.
    pub fn from_carrier(carrier: impl DatagramCarrier) -> Result<Self, BindError> {
        let local = carrier
            .local_addr()
            .map_err(|_| BindError::Socket(io::ErrorKind::NotConnected))?;
        if local.ip().is_unspecified() {
            return Err(BindError::Wildcard);
        }
        let carrier = Carrier::Other(Arc::new(carrier));
        Ok(Self::on(vec![Socket::new(
            carrier,
            local,
            vec![local.ip()],
        )]))
    }

    fn on(sockets: Vec<Socket>) -> Self {
        Self {
            shared: Arc::new(Shared::new(sockets)),
        }
    }

    /// The transport address of each socket: IPv4, then IPv6.
    pub fn local_addrs(&self) -> impl ExactSizeIterator<Item = SocketAddr> + '_ {
        self.shared.sockets.iter().map(Socket::local)
    }

    /// Another address of this host: a mapped address equal to it means no NAT.
    pub fn add_local(&self, ip: IpAddr) {
        self.shared.observed().add_local(ip);
    }

    /// Its port may have been another socket's a short while ago, and a NAT may still let in the
    /// destinations of that socket: from now on no check counts as unsolicited.
    /// [`bind`](Self::bind) calls this by itself: see [`BindConfig::ports`].
    pub fn distrust_port(&self) {
        self.shared.distrust_port();
    }

    /// Asks every server from the socket of its family, in parallel, until the answers are enough:
    /// see [`GatherConfig`]. May be repeated, to ask again for mappings that may have expired.
    ///
    /// While an agent checks or is connected on this base, it reads the sockets and files the
    /// answers, and gathering only asks. Unreachable servers count as silent then.
    ///
    /// Cancel safe: a dropped gathering sends nothing more, and its observations stay in
    /// [`evidence`](Self::evidence).
    pub async fn gather(&self, servers: &[StunServer], config: &GatherConfig) -> Gathering {
        self.gather_with(servers, config, |_| ()).await
    }

    /// The same, and reports each result as it is found (trickle ICE, RFC 8838).
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use ice_gather::{Base, BindConfig, GatherConfig, Progress};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), ice_gather::BindError> {
    /// let base = Base::bind(BindConfig::address(Ipv4Addr::LOCALHOST.into())).await?;
    /// let servers = []; // without any, there is the host candidate
    /// let mut lines = Vec::new();
    /// base.gather_with(&servers, &GatherConfig::default(), |progress| {
    ///     if let Progress::Candidate(found) = progress {
    ///         lines.push(found.as_candidate().to_string());
    ///     }
    /// })
    /// .await;
    /// assert!(lines.len() == 1 && lines[0].contains("127.0.0.1"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn gather_with(
        &self,
        servers: &[StunServer],
        config: &GatherConfig,
        progress: impl FnMut(Progress),
    ) -> Gathering {
        gather::gather(&self.shared, servers, config, progress).await
    }

    /// Everything observed so far, late answers included. Observations of an earlier gathering go
    /// once a later one shows that the mapping may be another: see
    /// [`Plan::record`](crate::plan::Plan::record).
    #[must_use]
    pub fn evidence(&self) -> Box<Evidence> {
        self.shared.evidence()
    }

    /// The verdict on [`evidence`](Self::evidence).
    #[must_use]
    pub fn summary(&self) -> NatSummary {
        self.evidence().summary()
    }

    /// Whether a request has left for any STUN server, or a name was looked up for one.
    #[must_use]
    pub fn has_asked(&self) -> bool {
        self.shared.observed().has_asked()
    }

    /// The dropped datagrams and servers so far, by reason.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.shared.observed().dropped
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

#[cfg(feature = "agent")]
impl Base {
    /// The evidence of the peer's connectivity checks so far, verified by
    /// [`IceAgent`](crate::IceAgent)'s own credentials. Empty under an agent of another library,
    /// whose credentials are not known here.
    #[must_use]
    pub fn peer_view(&self) -> PeerView {
        let mut view = self.shared.checks().view();
        let dropped = self.shared.observed().dropped;
        view.held_back = dropped.unanswered.saturating_add(dropped.remote_candidates);
        view
    }

    /// The latest rebinding of the mapping toward the peer.
    #[must_use]
    pub fn rebindings(&self) -> watch::Receiver<Option<Rebinding>> {
        self.shared.serving.rebinding.subscribe()
    }
}

impl core::fmt::Debug for Base {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Base")
            .field("sockets", &self.shared.sockets.len())
            .finish_non_exhaustive()
    }
}

/// The address that a socket of this family is bound to; `None` if there is none.
fn address_to_bind(bind: &Bind, is_ipv4: bool) -> Result<Option<IpAddr>, BindError> {
    let any: IpAddr = if is_ipv4 {
        [0; 4].into()
    } else {
        [0; 16].into()
    };
    Ok(match bind {
        Bind::Off => None,
        Bind::Address(ip) if ip.is_ipv4() != is_ipv4 => return Err(BindError::Family),
        Bind::Address(ip) if ip.is_unspecified() => return Err(BindError::Wildcard),
        Bind::Address(ip) => Some(*ip),
        Bind::DefaultRoute => local::default_route(is_ipv4),
        Bind::Interface(name) => local::interface(name)
            .into_iter()
            .find(|ip| ip.is_ipv4() == is_ipv4),
        Bind::Wildcard => local::default_route(is_ipv4).map(|_| any),
    })
}

/// The addresses that a wildcard socket can be reached at. The agent takes the first: that of the
/// default route is as good as any, and the others are signalled.
fn hosts_of_wildcard(is_ipv4: bool) -> Vec<IpAddr> {
    let mut hosts = Vec::new();
    let default_route = local::default_route(is_ipv4);
    for host in default_route.into_iter().chain(local::addresses(is_ipv4)) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

#[cfg(test)]
mod tests;
