//! One ICE candidate as plain data (RFC 8445 section 5.3, RFC 8839 section 5.1).

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// Where a candidate comes from (RFC 8445 section 5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CandidateKind {
    /// A local transport address.
    Host,
    /// The mapping a STUN server saw.
    ServerReflexive,
    /// The mapping the peer saw.
    PeerReflexive,
    /// An address of a TURN server.
    Relayed,
    /// A type this crate does not know; RFC 8839 allows extensions.
    Unknown,
}

/// The transport protocol of a candidate. Only UDP counts for a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP (RFC 6544).
    Tcp,
    /// A transport this crate does not know; RFC 8839 allows extensions.
    Unknown,
}

/// The address of a candidate: an IP address, or a name where the host hides it (mDNS) or was given one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Address<'a> {
    /// An IP address; IPv4-mapped IPv6 is already IPv4.
    Ip(IpAddr),
    /// A host name, such as an mDNS name ending in `.local`.
    Name(&'a str),
}

impl Address<'_> {
    /// The IP address, unless it is hidden behind a name.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Name(_) => None,
        }
    }
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// One candidate. Build it by hand, or with [`Candidate::parse`] from a line.
///
/// `Display` writes the `candidate:` line, addresses and all: it is for the wire, not for a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate<'a> {
    /// Groups candidates of one kind, base and server (1 to 32 `ice-char`).
    pub foundation: &'a str,
    /// Component id, 1 to 256; 1 is RTP, and the only one of a data channel.
    pub component: u16,
    /// Transport protocol.
    pub transport: Transport,
    /// Priority (RFC 8445 section 5.1.2).
    pub priority: u32,
    /// The candidate's own address: the mapped one if it is reflexive.
    pub address: Address<'a>,
    /// The candidate's own port.
    pub port: u16,
    /// Where it comes from.
    pub kind: CandidateKind,
    /// `raddr` and `rport`: the base of a reflexive candidate. `0.0.0.0` and `0` where a stack hides it.
    pub related: Option<(Address<'a>, u16)>,
    /// Every extension attribute behind the parts above, as written: `tcptype passive generation 0 …`.
    pub extensions: &'a str,
}

impl Candidate<'_> {
    /// The candidate's own transport address, unless it is hidden behind a name.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.address.ip().map(|ip| SocketAddr::new(ip, self.port))
    }

    /// The base of a reflexive or relayed candidate as its `raddr`/`rport` tell it.
    #[must_use]
    pub fn base(&self) -> Option<SocketAddr> {
        let (address, port) = self.related?;
        address.ip().map(|ip| SocketAddr::new(ip, port))
    }
}

impl fmt::Display for CandidateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
            Self::Unknown => "unknown",
        })
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Unknown => "unknown",
        })
    }
}

impl fmt::Display for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "candidate:{} {} {} {} {} {} typ {}",
            self.foundation, self.component, self.transport, self.priority, self.address, self.port, self.kind
        )?;
        if let Some((address, port)) = &self.related {
            write!(f, " raddr {address} rport {port}")?;
        }
        if !self.extensions.is_empty() {
            write!(f, " {}", self.extensions)?;
        }
        Ok(())
    }
}
