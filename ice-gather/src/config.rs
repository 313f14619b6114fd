//! Every setting, with its default and the reason for it.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How many dynamic ports there are (RFC 6335 section 6).
const DYNAMIC_PORTS: u16 = 16_384;

/// Which local address a socket is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Bind {
    /// No socket of this family.
    #[default]
    Off,
    /// The address the default route leaves from, looked up without sending anything. No socket if
    /// there is none.
    DefaultRoute,
    /// This address.
    Address(IpAddr),
    /// The first address of this family on the interface of this name. No socket if it has none.
    Interface(String),
    /// The wildcard address: the route decides over which interface a packet leaves. Each local
    /// address that packets leave from is a base of its own, learnt per server from the route,
    /// without sending anything.
    Wildcard,
}

/// Where the sockets of a [`Base`](crate::Base) are bound: one per address family.
///
/// By default each is bound to one address. Packets of a socket on the wildcard address may leave
/// over several interfaces, and so through several NATs; their mappings are then judged apart, and
/// fewer servers speak for each.
///
/// ```
/// use std::net::{Ipv4Addr, Ipv6Addr};
/// use ice_gather::BindConfig;
///
/// // both families on loopback; another is `BindConfig::interface("eth0")`
/// let config = BindConfig::address(Ipv4Addr::LOCALHOST.into())
///     .with_address(Ipv6Addr::LOCALHOST.into());
/// # assert_ne!(config, BindConfig::default());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BindConfig {
    /// IPv4.
    pub ipv4: Bind,
    /// IPv6.
    pub ipv6: Bind,
    /// Ports to choose from, at random; any port by default.
    ///
    /// A NAT may still let in the destinations of an earlier socket on the same port. So a few ports
    /// are tried in search of one that no socket of this process had in the last five minutes. If
    /// none is found, no check counts as unsolicited but as
    /// [`PeerDropped::maybe_solicited`](crate::PeerDropped::maybe_solicited), and neither the
    /// peer's checks nor [`discover_filtering`](crate::discover_filtering) prove how the NAT filters.
    pub ports: Option<RangeInclusive<u16>>,
}

impl Default for BindConfig {
    fn default() -> Self {
        Self {
            ipv4: Bind::DefaultRoute,
            ipv6: Bind::DefaultRoute,
            ports: None,
        }
    }
}

impl BindConfig {
    /// One socket, on this address.
    #[must_use]
    pub const fn address(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self {
                ipv4: Bind::Address(ip),
                ipv6: Bind::Off,
                ports: None,
            },
            IpAddr::V6(_) => Self {
                ipv4: Bind::Off,
                ipv6: Bind::Address(ip),
                ports: None,
            },
        }
    }

    /// Adds a socket on this address, beside the one of the other family.
    #[must_use]
    pub fn with_address(mut self, ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => self.ipv4 = Bind::Address(ip),
            IpAddr::V6(_) => self.ipv6 = Bind::Address(ip),
        }
        self
    }

    /// A socket of each family on the interface of this name.
    #[must_use]
    pub fn interface(name: &str) -> Self {
        let interface = || Bind::Interface(name.to_owned());
        Self {
            ipv4: interface(),
            ipv6: interface(),
            ports: None,
        }
    }

    /// A socket of each family on the wildcard address.
    #[must_use]
    pub const fn wildcard() -> Self {
        Self {
            ipv4: Bind::Wildcard,
            ipv6: Bind::Wildcard,
            ports: None,
        }
    }

    /// Binds the IPv4 socket there.
    #[must_use]
    pub fn with_ipv4(mut self, bind: Bind) -> Self {
        self.ipv4 = bind;
        self
    }

    /// Binds the IPv6 socket there.
    #[must_use]
    pub fn with_ipv6(mut self, bind: Bind) -> Self {
        self.ipv6 = bind;
        self
    }

    /// Chooses ports from this range.
    ///
    /// The ports of an earlier process are not known, such as those of this program before it was
    /// started again, and among few ports a new socket soon gets one of them. So on a range of fewer
    /// ports than there are dynamic ones (RFC 6335 section 6: 16,384), no check counts as unsolicited:
    /// see [`ports`](Self::ports). The same holds for the system's own range where that is narrow,
    /// which is known on Linux.
    ///
    /// ```
    /// use ice_gather::BindConfig;
    ///
    /// let config = BindConfig::default().with_ports(49_152..=65_535);
    /// assert_eq!(config.ports, Some(49_152..=65_535));
    /// ```
    #[must_use]
    pub fn with_ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.ports = Some(ports);
        self
    }
}

/// Whether a socket in this range is likely to get the port of an earlier process while a NAT still
/// remembers the destinations of that one.
pub(crate) fn repeats(ports: &RangeInclusive<u16>) -> bool {
    ports.end().saturating_sub(*ports.start()) < DYNAMIC_PORTS - 1
}

/// When gathering has seen enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Policy {
    /// One mapped address is enough to connect with. It proves no mapping behaviour. An address seen
    /// from inside a NAT is none, as long as a missing answer may be from further out.
    FirstAnswer,
    /// As soon as the mapping is known to depend on the destination, which no missing answer takes
    /// back unless a server lies, or one grace period past the second server address. Servers inside
    /// a NAT answer first and count for neither, as long as a missing answer may be from further out.
    ///
    /// The verdict is that of the servers which answered in time. A server that is missing is
    /// reported as pending, because a slow one and a dead one look the same; its answer, once it
    /// comes, still counts, and may contradict the others or let another base speak.
    #[default]
    Decisive,
    /// One grace period past the second server address, whatever the verdict is by then: for a
    /// person, who waits a second for the truth.
    Patient,
    /// Every server has answered, or the deadline is over.
    All,
}

/// How a cohort of STUN servers is asked.
///
/// ```
/// use std::time::Duration;
/// use ice_gather::{GatherConfig, Policy};
///
/// let config = GatherConfig::default()
///     .with_policy(Policy::All)
///     .with_deadline(Duration::from_secs(5));
/// # assert_ne!(config, GatherConfig::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GatherConfig {
    /// When the answers are enough.
    pub policy: Policy,
    /// First retransmission time-out; it doubles each time (RFC 8489 section 6.2.1, which suggests
    /// 500 ms: half of it costs nothing without loss and halves the wait with it).
    pub initial_rto: Duration,
    /// Most times one request is sent (RFC 8489 section 6.2.1, Rc).
    pub max_sends: u8,
    /// The whole gathering, names still being looked up included. A request that is unanswered by then
    /// has timed out, if it was sent at least twice, the first time half of this before, and no less
    /// than [`initial_rto`](Self::initial_rto): else its silence proves nothing. Long enough for a
    /// satellite path.
    pub deadline: Duration,
    /// One server, from the first request to it: a request that is unanswered by then has timed out,
    /// if it was sent at least twice. As long as the whole by default; shorter where many are asked
    /// one after the other, but no shorter than the longest round trip to expect.
    pub server_deadline: Option<Duration>,
    /// Once two server addresses saw one base from the outermost place, the others get this long, or
    /// one more of the longest round trip seen if that is longer. Two answers are a verdict, and
    /// waiting for a third costs every attempt of a cohort with a dead server; so by default this is
    /// as long as servers of one cohort differ on most paths, and no claim about the missing ones.
    pub grace: Duration,
    /// Least time between two requests (RFC 8445 section 14, Ta). Zero: a cohort is a handful of
    /// packets.
    pub pacing: Duration,
    /// Most servers asked; those beyond are counted as
    /// [`Dropped::servers`](crate::Dropped::servers).
    pub max_servers: u16,
}

impl Default for GatherConfig {
    fn default() -> Self {
        Self {
            policy: Policy::Decisive,
            initial_rto: Duration::from_millis(250),
            max_sends: 7,
            deadline: Duration::from_secs(3),
            server_deadline: None,
            grace: Duration::from_millis(40),
            pacing: Duration::ZERO,
            max_servers: 64,
        }
    }
}

impl GatherConfig {
    /// Sets [`policy`](Self::policy).
    #[must_use]
    pub const fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets [`initial_rto`](Self::initial_rto).
    #[must_use]
    pub const fn with_initial_rto(mut self, initial_rto: Duration) -> Self {
        self.initial_rto = initial_rto;
        self
    }

    /// Sets [`max_sends`](Self::max_sends).
    #[must_use]
    pub const fn with_max_sends(mut self, max_sends: u8) -> Self {
        self.max_sends = max_sends;
        self
    }

    /// Sets [`deadline`](Self::deadline).
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets [`server_deadline`](Self::server_deadline).
    #[must_use]
    pub const fn with_server_deadline(mut self, server_deadline: Duration) -> Self {
        self.server_deadline = Some(server_deadline);
        self
    }

    /// Sets [`grace`](Self::grace).
    #[must_use]
    pub const fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets [`pacing`](Self::pacing).
    #[must_use]
    pub const fn with_pacing(mut self, pacing: Duration) -> Self {
        self.pacing = pacing;
        self
    }

    /// Sets [`max_servers`](Self::max_servers).
    #[must_use]
    pub const fn with_max_servers(mut self, max_servers: u16) -> Self {
        self.max_servers = max_servers;
        self
    }
}

/// How connectivity is checked.
///
/// ```
/// use std::time::Duration;
/// use ice_gather::AgentConfig;
///
/// let config = AgentConfig::default().with_failed_timeout(Duration::from_secs(10));
/// # assert_ne!(config, AgentConfig::default());
/// ```
#[cfg(feature = "agent")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AgentConfig {
    /// Time between two rounds of checks while connecting (RFC 8445 section 14 allows down to 5
    /// ms).
    pub check_interval: Duration,
    /// Time between two consent checks once connected (RFC 7675 section 5.1).
    ///
    /// The library times them by the wall clock: after a step back none leaves until the clock has
    /// caught up. Meanwhile the peer's own checks, which are answered, and its other datagrams keep
    /// the path.
    pub keepalive_interval: Duration,
    /// Without a packet from the peer for this long, the connection counts as disconnected.
    pub disconnected_timeout: Duration,
    /// Without the peer's consent for this long after that, both together, the connection has
    /// failed, even if other datagrams come in (RFC 7675 section 5.1: consent expires after 30 s).
    /// Consent is an authenticated answer to a check of ours on the pair in use, and here also a
    /// check of the peer's own: see [`keepalive_interval`](Self::keepalive_interval). Any datagram of
    /// the peer is enough only while no check of ours leaves.
    pub failed_timeout: Duration,
    /// Most remote candidates taken by signalling, and most addresses the peer may be learnt at
    /// besides.
    pub max_remote_candidates: usize,
    /// Longest wait for a tear-down in [`IceAgent::close`](crate::IceAgent::close). The tear-down
    /// itself goes on.
    pub close_timeout: Duration,
}

#[cfg(feature = "agent")]
impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            check_interval: Duration::from_millis(100),
            keepalive_interval: Duration::from_secs(2),
            disconnected_timeout: Duration::from_secs(5),
            failed_timeout: Duration::from_secs(25),
            max_remote_candidates: 32,
            close_timeout: Duration::from_secs(1),
        }
    }
}

#[cfg(feature = "agent")]
impl AgentConfig {
    /// Sets [`check_interval`](Self::check_interval).
    #[must_use]
    pub const fn with_check_interval(mut self, check_interval: Duration) -> Self {
        self.check_interval = check_interval;
        self
    }

    /// Sets [`keepalive_interval`](Self::keepalive_interval).
    #[must_use]
    pub const fn with_keepalive_interval(mut self, keepalive_interval: Duration) -> Self {
        self.keepalive_interval = keepalive_interval;
        self
    }

    /// Sets [`disconnected_timeout`](Self::disconnected_timeout).
    #[must_use]
    pub const fn with_disconnected_timeout(mut self, disconnected_timeout: Duration) -> Self {
        self.disconnected_timeout = disconnected_timeout;
        self
    }

    /// Sets [`failed_timeout`](Self::failed_timeout).
    #[must_use]
    pub const fn with_failed_timeout(mut self, failed_timeout: Duration) -> Self {
        self.failed_timeout = failed_timeout;
        self
    }

    /// Sets [`max_remote_candidates`](Self::max_remote_candidates).
    #[must_use]
    pub const fn with_max_remote_candidates(mut self, max_remote_candidates: usize) -> Self {
        self.max_remote_candidates = max_remote_candidates;
        self
    }

    /// Sets [`close_timeout`](Self::close_timeout).
    #[must_use]
    pub const fn with_close_timeout(mut self, close_timeout: Duration) -> Self {
        self.close_timeout = close_timeout;
        self
    }
}
