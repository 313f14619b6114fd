//! Plain facts of a gathering and plain verdicts on them, in no type of the crate under test.

use std::net::{IpAddr, SocketAddr};

/// A STUN server as the evidence knows it. The order breaks ties between servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Server {
    At(SocketAddr),
    /// Known by name and port; the address is not known.
    Named(&'static str, u16),
    /// A reflexive candidate that names no server.
    Unnamed,
}

impl Server {
    /// The address, where it is known.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::At(address) => Some(address.ip()),
            _ => None,
        }
    }
}

/// How a request to a server ended. Where a server is reported twice, the greater one stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum End {
    /// Still waited for.
    Pending,
    /// The name has no address.
    Unresolved,
    /// No route, a local error, or an ICMP error that a router sent.
    Unreachable,
    /// Silent, but asked once only or without a full wait.
    Brief,
    /// Silent after two transmissions or more and a full wait.
    TimedOut,
    /// An ICMP error that the server itself sent.
    Closed,
    /// An error response.
    Refused,
    Answered,
}

/// One answered request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) base: SocketAddr,
    pub(crate) server: Server,
    pub(crate) mapped: SocketAddr,
    /// Place in the order of sending.
    pub(crate) sequence: u32,
    /// More than one copy went out before the answer came.
    pub(crate) resent: bool,
}

/// A gathering as the gatherer of one host reports it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) locals: Vec<IpAddr>,
    pub(crate) asked: Vec<(Server, End)>,
    pub(crate) seen: Vec<Seen>,
    /// Packets that came in and had to be rejected: another source, transaction id or cookie, or a
    /// broken attribute.
    pub(crate) rejected: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ListedKind {
    Host,
    /// With the base.
    Reflexive(SocketAddr),
    Relayed,
}

/// One candidate of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Listed {
    pub(crate) kind: ListedKind,
    /// None behind an mDNS name.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) server: Server,
    /// The ICE session (`ufrag`).
    pub(crate) session: Option<&'static str>,
}

/// How a list reaches the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Door {
    /// Values of a program's own gathering.
    Values,
    /// Lines found in a text.
    Text,
}

/// A candidate list.
#[derive(Debug, Clone)]
pub(crate) struct List {
    pub(crate) door: Door,
    pub(crate) candidates: Vec<Listed>,
    /// The number of servers asked, where gathering is known to be complete.
    pub(crate) asked: Option<u16>,
}

/// Mapping behaviour (RFC 4787 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Maps {
    Unknown,
    Independent,
    ByAddress,
    ByPort,
    /// Dependent, kind unknown.
    Differs,
}

impl Maps {
    pub(crate) fn is_dependent(self) -> bool {
        matches!(self, Self::ByAddress | Self::ByPort | Self::Differs)
    }
}

/// Which packets a mapping lets in (RFC 4787 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filters {
    Independent,
    ByAddress,
    ByPort,
}

/// What two hosts can expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Direct,
    Relay,
    Undecided,
}

/// The connectivity checks of an attempt that failed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Checked {
    pub(crate) sent: u32,
    pub(crate) answered: u32,
    pub(crate) received: u32,
    pub(crate) sent_since_received: u32,
}

/// The type that goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Unknown,
    Open,
    Cone,
    Symmetric,
    Blocked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Allocates {
    Unknown,
    Preserving,
    Sequential(i16),
    Random,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Pools {
    Unknown,
    Paired,
    Arbitrary,
}

/// The verdict on one base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BaseVerdict {
    pub(crate) base: SocketAddr,
    pub(crate) external: IpAddr,
    pub(crate) maps: Maps,
    pub(crate) rule: &'static str,
    pub(crate) natted: Option<bool>,
    pub(crate) port_kept: Option<bool>,
    pub(crate) allocates: Allocates,
}

/// The verdict on a host. The first base speaks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: Kind,
    pub(crate) rule: &'static str,
    pub(crate) pools: Pools,
    pub(crate) bases: Vec<BaseVerdict>,
}

impl Verdict {
    pub(crate) fn primary(&self) -> Option<&BaseVerdict> {
        self.bases.first()
    }

    pub(crate) fn maps(&self) -> Maps {
        self.primary().map_or(Maps::Unknown, |base| base.maps)
    }

    pub(crate) fn natted(&self) -> Option<bool> {
        self.primary()?.natted
    }

    pub(crate) fn port_kept(&self) -> Option<bool> {
        self.primary()?.port_kept
    }

    pub(crate) fn external(&self) -> Option<IpAddr> {
        Some(self.primary()?.external)
    }
}
