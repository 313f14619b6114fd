//! The identity of a server: an address, a name, or none.

use core::hash::Hasher;
use core::net::{IpAddr, SocketAddr};

use crate::hash::Fnv;
use crate::scope::untranslated;

/// The identity of a server that was asked.
///
/// ```
/// use nat_summary::ServerId;
/// assert_eq!(ServerId::named("198.51.100.1", 3478), "198.51.100.1:3478".parse::<core::net::SocketAddr>()?.into());
/// assert_eq!(ServerId::from_url("stun:STUN.example.org"), Some(ServerId::named("stun.example.org", 3478)));
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerId {
    /// A server at this address and port.
    Address(IpAddr, u16),
    /// A server known by name only, such as one that never resolved: a hash of its name, and its
    /// port.
    Name(u64, u16),
    /// A server without a name: each observation of one counts as a server of its own, and
    /// [`Evidence`](crate::Evidence) gives the number.
    Anonymous(u16),
}

impl ServerId {
    /// The server `host` on `port`: by address if `host` is one, else by name. Neither case (RFC
    /// 4343) nor a dot at the end (RFC 1034 section 3.1) matters.
    #[must_use]
    pub fn named(host: &str, port: u16) -> Self {
        let host = host.strip_suffix('.').unwrap_or(host);
        host.parse::<IpAddr>().map_or_else(
            |_| {
                let mut hash = Fnv::default();
                for byte in host.bytes() {
                    hash.write(&[byte.to_ascii_lowercase()]);
                }
                Self::Name(hash.finish(), port)
            },
            |ip| Self::Address(ip.to_canonical(), port),
        )
    }

    /// Whether `self` and `other` are one server *address*, whatever the port. That several
    /// addresses see one mapping proves it independent; that several ports of one address do
    /// proves nothing (RFC 4787 section 4.1). An IPv4 address and the one that a translator makes of
    /// it in 64:ff9b::/96 are one (RFC 6052 section 2.1).
    ///
    /// ```
    /// use nat_summary::ServerId;
    ///
    /// let (direct, by_nat64) = (ServerId::named("198.51.100.1", 3478), ServerId::named("64:ff9b::c633:6401", 3479));
    /// assert!(direct.is_same_address(&by_nat64));
    /// ```
    #[must_use]
    pub fn is_same_address(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Address(a, _), Self::Address(b, _)) => untranslated(*a) == untranslated(*b),
            (Self::Name(a, _), Self::Name(b, _)) => a == b,
            (Self::Anonymous(a), Self::Anonymous(b)) => a == b,
            _ => false,
        }
    }

    /// The server of a STUN or TURN URI (RFC 7064 section 3, RFC 7065 section 3), on its scheme's
    /// own port if it names none; the transport is not looked at. `None` for any other scheme,
    /// and where host or port cannot be read.
    #[must_use]
    pub fn from_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let default_port = match scheme {
            _ if scheme.eq_ignore_ascii_case("stun") || scheme.eq_ignore_ascii_case("turn") => 3478,
            _ if scheme.eq_ignore_ascii_case("stuns") || scheme.eq_ignore_ascii_case("turns") => {
                5349
            }
            _ => return None,
        };
        let authority = rest
            .split_once('?')
            .map_or(rest, |(authority, _)| authority);
        let (host, port) = match authority
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => authority
                .rsplit_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(default_port), |port| port.parse().ok())?;
        (!host.is_empty()).then(|| Self::named(host, port))
    }
}

impl From<SocketAddr> for ServerId {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address.ip().to_canonical(), address.port())
    }
}
