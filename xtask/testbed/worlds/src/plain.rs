//! Plain facts of a gathering and plain verdicts on them, in no type of the crate under test.

use std::net::{IpAddr, SocketAddr};

/// A STUN server as the evidence knows it. The order breaks ties between servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Server {
    /// Known by address and port.
    At(SocketAddr),
    /// Known by name and port; the address is not known.
    Named(&'static str, u16),
    /// A reflexive candidate that names no server.
    Unnamed,
}

impl Server {
    /// The address, where it is known.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::At(address) => Some(address.ip()),
            _ => None,
        }
    }
}

/// How a request to a server ended. Where a server is reported twice, the greater one stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// Still waited for.
    Pending,
    /// Silent, but asked once only or without a full wait.
    Brief,
    /// The name has no address.
    Unresolved,
    /// No route, a local error, or an ICMP error that a router sent.
    Unreachable,
    /// Silent after two transmissions or more and a full wait.
    TimedOut,
    /// An ICMP error that the server itself sent.
    Closed,
    /// An error response.
    Refused,
    /// A mapped address.
    Answered,
}

/// One answered request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The local socket. Port 0: hidden.
    pub base: SocketAddr,
    /// The server that answered, or that a candidate names.
    pub server: Server,
    /// The address that it saw.
    pub mapped: SocketAddr,
    /// Place in the order of sending.
    pub sequence: u32,
    /// More than one copy went out before the answer came.
    pub resent: bool,
}

/// A gathering as the gatherer of one host reports it.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Local addresses.
    pub locals: Vec<IpAddr>,
    /// Each server asked and how it ended.
    pub asked: Vec<(Server, End)>,
    /// Each answer.
    pub seen: Vec<Seen>,
    /// Packets that came in and had to be rejected: another source, transaction id or cookie, or a
    /// broken attribute.
    pub rejected: u32,
}

/// Where a candidate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListedKind {
    /// A local address.
    Host,
    /// With the base.
    Reflexive(SocketAddr),
    /// An address of a relay.
    Relayed,
}

/// One candidate of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listed {
    /// Where it comes from.
    pub kind: ListedKind,
    /// None behind an mDNS name.
    pub address: Option<SocketAddr>,
    /// The server that answered, or that a candidate names.
    pub server: Server,
    /// The ICE session (`ufrag`).
    pub session: Option<&'static str>,
}

/// How a list reaches the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// Values of a program's own gathering.
    Values,
    /// Lines found in a text.
    Text,
}

/// A candidate list.
#[derive(Debug, Clone)]
pub struct List {
    /// How it is handed in.
    pub door: Door,
    /// The candidates, in any order.
    pub candidates: Vec<Listed>,
    /// The number of servers asked, where gathering is known to be complete.
    pub asked: Option<u16>,
}

/// Mapping behaviour (RFC 4787 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Maps {
    /// Not decided.
    Unknown,
    /// Depends on no destination.
    Independent,
    /// Depends on the address of the destination.
    ByAddress,
    /// Depends on address and port of the destination.
    ByPort,
    /// Dependent, kind unknown.
    Differs,
}

impl Maps {
    /// Whether it is known to differ between destinations.
    pub fn is_dependent(self) -> bool {
        matches!(self, Self::ByAddress | Self::ByPort | Self::Differs)
    }
}

/// Which packets a mapping lets in (RFC 4787 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filters {
    /// Depends on no destination.
    Independent,
    /// Depends on the address of the destination.
    ByAddress,
    /// Depends on address and port of the destination.
    ByPort,
}

/// The outlook for two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Hole punching works.
    Direct,
    /// Hole punching fails.
    Relay,
    /// The verdicts do not decide.
    Undecided,
}

/// The connectivity checks of an attempt that failed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Checked {
    /// Checks sent.
    pub sent: u32,
    /// Of these, the answered ones.
    pub answered: u32,
    /// Checks of the peer that came in.
    pub received: u32,
    /// Checks sent after the first of these.
    pub sent_since_received: u32,
}

/// The type that goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Not decided.
    Unknown,
    /// No NAT.
    Open,
    /// One mapping for every destination.
    Cone,
    /// Mappings that depend on the destination.
    Symmetric,
    /// UDP does not pass.
    Blocked,
}

/// How the ports of a dependent mapping follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Allocates {
    /// Not decided.
    Unknown,
    /// The port of the base, on another address each.
    Preserving,
    /// By this step.
    Sequential(i16),
    /// In no order.
    Random,
}

/// Whether a local address keeps one external address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pools {
    /// Not decided.
    Unknown,
    /// It does.
    Paired,
    /// It does not.
    Arbitrary,
}

/// The verdict on one base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseVerdict {
    /// The local socket. Port 0: hidden.
    pub base: SocketAddr,
    /// The mapped address that most servers saw.
    pub external: IpAddr,
    /// How it is mapped.
    pub maps: Maps,
    /// The rule that decided.
    pub rule: &'static str,
    /// Whether a NAT is there.
    pub natted: Option<bool>,
    /// Whether every mapping kept the port of the base.
    pub port_kept: Option<bool>,
    /// How its ports follow each other.
    pub allocates: Allocates,
}

/// The verdict on a host. The first base speaks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The type.
    pub kind: Kind,
    /// The rule that decided.
    pub rule: &'static str,
    /// Whether external addresses are kept.
    pub pools: Pools,
    /// The verdict on each base.
    pub bases: Vec<BaseVerdict>,
}

impl Verdict {
    /// The base that speaks.
    pub fn primary(&self) -> Option<&BaseVerdict> {
        self.bases.first()
    }

    /// How the base that speaks is mapped.
    pub fn maps(&self) -> Maps {
        self.primary().map_or(Maps::Unknown, |base| base.maps)
    }

    /// Whether a NAT is in front of it.
    pub fn natted(&self) -> Option<bool> {
        self.primary()?.natted
    }

    /// Whether it keeps its port.
    pub fn port_kept(&self) -> Option<bool> {
        self.primary()?.port_kept
    }

    /// Its external address.
    pub fn external(&self) -> Option<IpAddr> {
        Some(self.primary()?.external)
    }
}

/// The six values that go out, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// Whether a NAT is there.
    pub natted: Option<bool>,
    /// How it maps.
    pub mapping: &'static str,
    /// How it filters.
    pub filtering: &'static str,
    /// Whether it keeps ports.
    pub port_kept: Option<bool>,
    /// The type.
    pub kind: &'static str,
    /// The external address.
    pub external: Option<IpAddr>,
}
