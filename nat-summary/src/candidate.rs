//! One ICE candidate as plain data (RFC 8445 section 5.3, RFC 8839 section 5.1).

mod parse;
mod scan;

use core::fmt;
use core::net::{IpAddr, SocketAddr};

pub use self::parse::{Expected, ParseError};
pub(crate) use self::scan::{Lines, Memory, Remembered};
use crate::hash::session_of;
use crate::server::ServerId;
use crate::words::words;

/// Where a candidate comes from (RFC 8445 section 5.1.1).
///
/// ```
/// assert_eq!(nat_summary::CandidateKind::ServerReflexive.to_string(), "srflx");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CandidateKind {
    /// A local transport address.
    #[default]
    Host,
    /// The mapping a STUN server saw.
    ServerReflexive,
    /// The mapping the peer saw.
    PeerReflexive,
    /// An address of a TURN server.
    Relayed,
    /// A type this crate does not know; RFC 8839 allows extensions. [`Candidate::unknown_kind`] has
    /// it as written.
    Unknown,
}

words! {
    /// Its word on a candidate line (RFC 8839 section 5.1), or `unknown`.
    CandidateKind {
        Host => "host",
        ServerReflexive => "srflx",
        PeerReflexive => "prflx",
        Relayed => "relay",
        Unknown => "unknown",
    }
}

/// The transport protocol of a candidate (RFC 8839 section 5.1). Only UDP counts for a verdict.
///
/// ```
/// use nat_summary::{Candidate, TransportProtocol};
/// let line = "candidate:1 1 TCP 1518280447 192.168.1.5 9 typ host tcptype active";
/// assert_eq!(Candidate::parse(line)?.transport, TransportProtocol::Tcp);
/// # Ok::<(), nat_summary::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TransportProtocol {
    /// UDP.
    #[default]
    Udp,
    /// TCP (RFC 6544).
    Tcp,
    /// A transport this crate does not know; RFC 8839 allows extensions.
    /// [`Candidate::unknown_transport`] has it as written.
    Unknown,
}

words! {
    /// Its word on a candidate line (RFC 8839 section 5.1), or `unknown`.
    TransportProtocol {
        Udp => "udp",
        Tcp => "tcp",
        Unknown => "unknown",
    }
}

/// The address of a candidate (RFC 8839 section 5.1): an IP address, or a name where the host hides
/// it (mDNS) or was given one.
///
/// ```
/// use nat_summary::{Address, Candidate};
///
/// let hidden = Candidate::parse("candidate:1 1 udp 2113937151 5f9a7c0e.local 50000 typ host")?;
/// assert_eq!(hidden.address, Address::Name("5f9a7c0e.local"));
/// assert_eq!(hidden.address.ip(), None);
/// # Ok::<(), nat_summary::ParseError>(())
/// ```
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

/// One candidate (RFC 8445 section 5.3, RFC 8839 section 5.1). Build it by hand (the [`Default`]
/// fills the parts that you do not know), or with [`Candidate::parse`] from a line.
///
/// `Display` writes the `candidate:` line with its addresses. Do not log it, because addresses
/// belong to persons.
///
/// A browser gives the parts of a line, and beside them the server behind a reflexive candidate:
///
/// ```
/// use nat_summary::{Candidate, Evidence};
///
/// let line = "candidate:2 1 udp 1694498815 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000";
/// let candidate = Candidate::parse(line)?.with_url("stun:stun.example.org:3478");
/// assert_eq!(candidate.server(), Some(nat_summary::ServerId::named("stun.example.org", 3478)));
/// assert_eq!(Evidence::from_candidates([candidate]).summary().is_natted(), Some(true));
/// # Ok::<(), nat_summary::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate<'a> {
    /// Groups candidates of one kind, base and server (1 to 32 `ice-char`).
    pub foundation: &'a str,
    /// Component id, 1 to 256; 1 is RTP, and the only one of a data channel.
    pub component: u16,
    /// Transport protocol.
    pub transport: TransportProtocol,
    /// Priority (RFC 8445 section 5.1.2).
    pub priority: u32,
    /// The candidate's own address: the mapped one if it is reflexive.
    pub address: Address<'a>,
    /// The candidate's own port.
    pub port: u16,
    /// Where it comes from.
    pub kind: CandidateKind,
    /// `raddr` and `rport`: the base of a reflexive candidate. `0.0.0.0` and `0` where a stack
    /// hides it.
    pub related: Option<(Address<'a>, u16)>,
    /// Every extension attribute behind the parts above, as written: `tcptype passive generation 0
    /// …`.
    pub extensions: &'a str,
    /// The STUN or TURN server it was gathered from, as `RTCIceCandidate.url` has it (W3C WebRTC
    /// section 4.8.1). No part of a line.
    pub url: Option<&'a str>,
    /// The transport as written where it is [`TransportProtocol::Unknown`]; else empty.
    pub unknown_transport: &'a str,
    /// The type as written where it is [`CandidateKind::Unknown`]; else empty.
    pub unknown_kind: &'a str,
}

impl Default for Candidate<'_> {
    /// A UDP host candidate for component 1 that has no address yet.
    fn default() -> Self {
        Self {
            foundation: "0",
            component: 1,
            transport: TransportProtocol::Udp,
            priority: 0,
            address: Address::Ip(IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED)),
            port: 0,
            kind: CandidateKind::Host,
            related: None,
            extensions: "",
            url: None,
            unknown_transport: "",
            unknown_kind: "",
        }
    }
}

impl<'a> Candidate<'a> {
    /// The same candidate, gathered from the server at `url`.
    #[must_use]
    pub const fn with_url(self, url: &'a str) -> Self {
        Self {
            url: Some(url),
            ..self
        }
    }

    /// The candidate's own transport address, unless it is hidden behind a name.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.address.ip().map(|ip| SocketAddr::new(ip, self.port))
    }

    /// The base of a reflexive or relayed candidate, from its `raddr` and `rport` (RFC 8839
    /// section 5.1).
    #[must_use]
    pub fn base(&self) -> Option<SocketAddr> {
        let (address, port) = self.related?;
        address.ip().map(|ip| SocketAddr::new(ip, port))
    }

    /// The server its [`url`](Self::url) names, if that is a STUN or TURN URI (RFC 7064, RFC 7065).
    #[must_use]
    pub fn server(&self) -> Option<ServerId> {
        ServerId::from_url(self.url?)
    }

    pub(crate) fn is_reflexive(&self) -> bool {
        self.kind == CandidateKind::ServerReflexive
    }

    /// The ICE session, from the user fragment among the extensions (`ufrag`, as browsers write
    /// it); 0 where there is none.
    pub(crate) fn session(&self) -> u32 {
        // mostly the first one, and often the only one
        let rest = match self.extensions.strip_prefix("generation ") {
            // too short for a user fragment behind the number
            Some(behind) if behind.len() < " ufrag x".len() => "",
            Some(behind) => behind.split_once(' ').map_or("", |(_, rest)| rest),
            None => self.extensions,
        };
        if rest.is_empty() {
            return 0;
        }
        let mut words = rest.split_ascii_whitespace();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if name == "ufrag" {
                return session_of([value]);
            }
        }
        0
    }
}

impl fmt::Display for CandidateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TransportProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "candidate:{} {} ", self.foundation, self.component)?;
        written(
            f,
            self.transport,
            self.transport == TransportProtocol::Unknown,
            self.unknown_transport,
        )?;
        write!(f, " {} {} {} typ ", self.priority, self.address, self.port)?;
        written(
            f,
            self.kind,
            self.kind == CandidateKind::Unknown,
            self.unknown_kind,
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

fn written(
    f: &mut fmt::Formatter<'_>,
    value: impl fmt::Display,
    unknown: bool,
    token: &str,
) -> fmt::Result {
    if unknown && !token.is_empty() {
        f.write_str(token)
    } else {
        value.fmt(f)
    }
}
