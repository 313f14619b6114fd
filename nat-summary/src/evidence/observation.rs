//! An answered Binding request: as a caller hands it in, and as it is kept.

use core::cmp::Ordering;
use core::net::SocketAddr;

use super::packed::{Endpoint, Ip};
use crate::server::ServerId;

/// One answered Binding request: the local socket it left from, the address it was sent to and
/// answered from, and the XOR-MAPPED-ADDRESS of the answer (RFC 8489 section 14.2).
///
/// ```
/// use nat_summary::{Evidence, Observation, ServerId};
///
/// let mut evidence = Evidence::new();
/// evidence.observe(Observation {
///     base: "192.168.1.5:50000".parse()?,
///     server: ServerId::named("198.51.100.1", 3478),
///     mapped: "203.0.113.7:50000".parse()?,
///     sequence: 0,
/// });
/// assert_eq!(evidence.summary().port_preserved(), Some(true));
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observation {
    /// The local socket (RFC 8445 "base"). Port 0 where it is hidden: then it is comparable with
    /// nothing.
    pub base: SocketAddr,
    /// The server that answered.
    pub server: ServerId,
    /// XOR-MAPPED-ADDRESS.
    pub mapped: SocketAddr,
    /// Place in the order of sending, counted over everything that was sent, answered or not. If
    /// one server is asked twice from one base, the higher one stands.
    pub sequence: u32,
}

impl Observation {
    /// Whether a NAT can have mapped anything to `mapped`: not if it is unspecified, multicast,
    /// broadcast, or has port 0. No packet that wants an answer comes from such a source (RFC
    /// 1122 section 3.2.1.3; RFC 4291 sections 2.5.2 and 2.7; RFC 8085 section 5.1).
    #[must_use]
    pub fn is_possible(&self) -> bool {
        is_possible(self.mapped.into())
    }
}

/// An observation as it is kept, ordered by base and mapped family, then server. Its fields lie
/// flat, so that it fills one cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    base_ip: Ip,
    server_bits: u128,
    mapped_ip: Ip,
    pub(crate) sequence: u32,
    base_port: u16,
    server_port: u16,
    mapped_port: u16,
    /// The ICE session; 0 where none is known.
    pub(crate) session: u32,
    server_kind: ServerKind,
    marks: u8,
}

/// The answer had MAPPED-ADDRESS.
const HAS_PLAIN: u8 = 1;
/// MAPPED-ADDRESS differed.
const REWRITTEN: u8 = 2;
/// More than one copy of the request had been sent.
const RESENT: u8 = 4;
/// Found in a text, which may repeat itself.
const OF_TEXT: u8 = 8;
/// The server is known to be inside a network.
const INNER_SERVER: u8 = 16;
/// The server was asked at the address that a translator makes of its own.
const TRANSLATED: u8 = 32;

/// A [`ServerId`] as integers. One at 64:ff9b::/96 has the bits of the IPv4 address in it, because it
/// is one server by either address (RFC 6052 section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server {
    kind: ServerKind,
    bits: u128,
    port: u16,
    is_translated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum ServerKind {
    Address,
    Name,
    Anonymous,
}

impl From<ServerId> for Server {
    #[inline]
    fn from(id: ServerId) -> Self {
        match id {
            ServerId::Address(ip, port) => {
                let ip = Ip::from(ip);
                Self {
                    kind: ServerKind::Address,
                    bits: ip.untranslated().bits(),
                    port,
                    is_translated: ip.is_translated(),
                }
            }
            ServerId::Name(hash, port) => Self {
                kind: ServerKind::Name,
                bits: hash.into(),
                port,
                is_translated: false,
            },
            ServerId::Anonymous(n) => Self {
                kind: ServerKind::Anonymous,
                bits: n.into(),
                port: 0,
                is_translated: false,
            },
        }
    }
}

impl From<Server> for ServerId {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "they were widened from as many bits"
    )]
    fn from(server: Server) -> Self {
        match server.kind {
            ServerKind::Address => {
                let ip = Ip::from_bits(server.bits);
                let asked_at = if server.is_translated {
                    ip.translated()
                } else {
                    ip
                };
                Self::Address(asked_at.into(), server.port)
            }
            ServerKind::Name => Self::Name(server.bits as u64, server.port),
            ServerKind::Anonymous => Self::Anonymous(server.bits as u16),
        }
    }
}

impl From<&Seen> for Observation {
    fn from(seen: &Seen) -> Self {
        Self {
            base: seen.base().into(),
            server: seen.server().into(),
            mapped: seen.mapped().into(),
            sequence: seen.sequence,
        }
    }
}

/// A base, whether it is mapped in IPv6, and the ICE session: a wildcard IPv6 socket has both
/// families, a socket may have served one session after another, and only mappings of one family in
/// one session can be compared.
pub(crate) type Group = (Endpoint, bool, u32);

impl Seen {
    /// Fills the places that are free. All its bits are zero, which is written fastest.
    pub(crate) const NOTHING: Self = Self {
        base_ip: Ip::UNSPECIFIED,
        server_bits: 0,
        mapped_ip: Ip::UNSPECIFIED,
        sequence: 0,
        base_port: 0,
        server_port: 0,
        mapped_port: 0,
        session: 0,
        server_kind: ServerKind::Address,
        marks: 0,
    };

    #[inline]
    pub(crate) fn new(observation: &Observation, rewritten: Option<bool>) -> Self {
        let (base, mapped) = (
            Endpoint::from(observation.base),
            Endpoint::from(observation.mapped),
        );
        let server = Server::from(observation.server);
        Self {
            base_ip: base.ip,
            server_bits: server.bits,
            mapped_ip: mapped.ip,
            sequence: observation.sequence,
            base_port: base.port,
            server_port: server.port,
            mapped_port: mapped.port,
            session: 0,
            server_kind: server.kind,
            marks: match rewritten {
                None => 0,
                Some(false) => HAS_PLAIN,
                Some(true) => HAS_PLAIN | REWRITTEN,
            } | if is_inner(&server) { INNER_SERVER } else { 0 }
                | if server.is_translated { TRANSLATED } else { 0 },
        }
    }

    /// Whether the server is known to be inside a network, by its address.
    #[inline]
    pub(crate) const fn is_of_inner_server(&self) -> bool {
        self.marks & INNER_SERVER != 0
    }

    /// The same, of the ICE session whose user fragment this is.
    pub(crate) const fn in_session(mut self, session: u32) -> Self {
        self.session = session;
        self
    }

    /// The same, in answer to a request that had been sent more than once.
    pub(crate) const fn resent(mut self, resent: bool) -> Self {
        if resent {
            self.marks |= RESENT;
        }
        self
    }

    /// The same, found in a text.
    pub(crate) const fn in_text(mut self, of_text: bool) -> Self {
        if of_text {
            self.marks |= OF_TEXT;
        }
        self
    }

    /// Whether MAPPED-ADDRESS differed; `None`: the answer had none.
    #[inline]
    pub(crate) const fn rewritten(&self) -> Option<bool> {
        if self.marks & HAS_PLAIN == 0 {
            None
        } else {
            Some(self.marks & REWRITTEN != 0)
        }
    }

    pub(crate) const fn is_resent(&self) -> bool {
        self.marks & RESENT != 0
    }

    pub(crate) const fn is_of_text(&self) -> bool {
        self.marks & OF_TEXT != 0
    }

    #[inline]
    pub(crate) const fn base(&self) -> Endpoint {
        Endpoint {
            ip: self.base_ip,
            port: self.base_port,
        }
    }

    #[inline]
    pub(crate) const fn mapped(&self) -> Endpoint {
        Endpoint {
            ip: self.mapped_ip,
            port: self.mapped_port,
        }
    }

    #[inline]
    pub(crate) const fn server(&self) -> Server {
        Server {
            kind: self.server_kind,
            bits: self.server_bits,
            port: self.server_port,
            is_translated: self.is_translated(),
        }
    }

    /// Whether the server was asked at the address that a translator makes of its own.
    #[inline]
    const fn is_translated(&self) -> bool {
        self.marks & TRANSLATED != 0
    }

    #[inline]
    pub(crate) const fn group(&self) -> Group {
        (self.base(), !self.mapped_ip.is_v4(), self.session)
    }

    /// Whether both are of one group.
    #[inline]
    pub(crate) fn same_group(&self, other: &Self) -> bool {
        self.base_port == other.base_port
            && self.base_ip == other.base_ip
            && self.mapped_ip.is_v4() == other.mapped_ip.is_v4()
            && self.session == other.session
    }

    /// Whether both are of one server *address*, whatever the port, and whether or not a translator
    /// was in between.
    #[inline]
    pub(crate) fn same_address(&self, other: &Self) -> bool {
        self.server_bits == other.server_bits && self.server_kind == other.server_kind
    }

    /// Whether both went to the same address as the host writes it: a request by way of a translator
    /// meets other NATs than one without.
    #[inline]
    pub(crate) fn same_way(&self, other: &Self) -> bool {
        (self.marks ^ other.marks) & TRANSLATED == 0
    }

    /// Whether both are of one server address and port.
    pub(crate) fn same_server(&self, other: &Self) -> bool {
        self.server() == other.server()
    }

    /// Whether the server is known by this address, or by one that a translator made of it.
    pub(crate) fn is_of(&self, ip: Ip) -> bool {
        self.server_ip() == Some(ip)
    }

    /// The address the server is known by, as it is beyond a translator.
    pub(crate) fn server_ip(&self) -> Option<Ip> {
        self.is_by_address()
            .then(|| Ip::from_bits(self.server_bits))
    }

    #[inline]
    pub(crate) fn same_mapping(&self, other: &Self) -> bool {
        self.mapped_port == other.mapped_port && self.mapped_ip == other.mapped_ip
    }

    /// Whether the server is known by address, so that two ports of it are two ports of one
    /// address. A name may have resolved to several.
    pub(crate) fn is_by_address(&self) -> bool {
        self.server_kind == ServerKind::Address
    }

    /// Whether the request went out in IPv6, as far as it is known: over a translator, the mapping
    /// is IPv4 all the same.
    pub(crate) fn is_sent_in_v6(&self) -> bool {
        !self.mapped_ip.is_v4()
            || self.is_translated()
            || self.is_by_address() && !Ip::from_bits(self.server_bits).is_v4()
    }

    /// Whether no server is named.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.server_kind == ServerKind::Anonymous
    }

    /// Where this one, which is kept, stands to a new one: by group, then server. Anonymous servers
    /// come last, by the mapping they saw, and none is the same as another.
    #[inline]
    pub(super) fn order(&self, new: &Self) -> Ordering {
        if !self.same_group(new) {
            return self.group().cmp(&new.group());
        }
        let by_kind = self.server_kind.cmp(&new.server_kind);
        if by_kind.is_ne() {
            by_kind
        } else if self.is_anonymous() {
            self.order_unnamed(new)
        } else {
            let port = |s: &Self| (u32::from(s.is_translated()) << 16) | u32::from(s.server_port);
            (self.server_bits, port(self)).cmp(&(new.server_bits, port(new)))
        }
    }

    /// Those of a text come last, and one mapping counts once there: texts repeat themselves.
    fn order_unnamed(&self, new: &Self) -> Ordering {
        let key = |s: &Self| (s.is_of_text(), s.mapped(), s.sequence, s.marks);
        let of_values = if self.is_of_text() {
            Ordering::Equal
        } else {
            Ordering::Less
        };
        key(self).cmp(&key(new)).then(of_values)
    }

    /// Gives an anonymous server its number, from the observation before.
    pub(super) fn number_after(&mut self, before: Option<&Self>) {
        self.server_bits = match before {
            Some(before) if before.is_anonymous() && before.same_group(self) => {
                before.server_bits + 1
            }
            _ => 0,
        };
    }

    pub(super) fn recency(&self) -> (u32, Endpoint, u8) {
        (self.sequence, self.mapped(), self.marks)
    }
}

#[inline]
fn is_inner(server: &Server) -> bool {
    let is_known = server.kind == ServerKind::Address;
    is_known && !Ip::from_bits(server.bits).scope().is_global()
}

/// Whether a NAT can have mapped anything to `mapped`.
pub(super) fn is_possible(mapped: Endpoint) -> bool {
    mapped.port != 0 && mapped.ip.is_unicast()
}
