//! Where a STUN server is: `stun:` URIs (RFC 7064), `host:port`, or an address; with the feature
//! `relay`, `turn:` URIs too.

use core::fmt;
use core::str::FromStr;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use nat_summary::ServerId;

/// Default port of STUN over UDP (RFC 8489 section 8).
const DEFAULT_PORT: u16 = 3478;

/// A STUN server by address or by name.
///
/// ```
/// use ice_gather::{StunServer, UriError};
///
/// assert_eq!("stun:stun.example.org".parse(), Ok(StunServer::Name("stun.example.org".into(), 3478)));
/// assert!(matches!("[2001:db8::5]:3479".parse(), Ok(StunServer::Address(address)) if address.port() == 3479));
/// assert_eq!("stuns:stun.example.org".parse::<StunServer>(), Err(UriError::Scheme));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StunServer {
    /// Its address is known.
    Address(SocketAddr),
    /// Its name has to be resolved.
    Name(String, u16),
}

/// Why a text names no STUN server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriError {
    /// `stuns`, `turn`, `turns`, or a URL: not STUN over UDP.
    Scheme,
    /// No host, or one with characters no host has.
    Host,
    /// The port is no number from 1 to 65535.
    Port,
    /// A `turn:` URI with another transport than UDP (RFC 7065).
    Transport,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "only `stun:` over UDP can be asked",
            Self::Host => "no usable host",
            Self::Port => "the port is no number from 1 to 65535",
            Self::Transport => "only UDP can carry TURN here",
        })
    }
}

impl core::error::Error for UriError {}

impl From<SocketAddr> for StunServer {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl StunServer {
    /// The server as evidence names it.
    #[must_use]
    pub fn id(&self) -> ServerId {
        match self {
            Self::Address(address) => (*address).into(),
            Self::Name(name, port) => ServerId::named(name, *port),
        }
    }

    /// Whether its name is that of the host itself, whatever a resolver answers (RFC 6761 section
    /// 6.3).
    pub(crate) fn is_localhost(&self) -> bool {
        let Self::Name(name, _) = self else {
            return false;
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost")
    }
}

impl FromStr for StunServer {
    type Err = UriError;

    /// Reads `stun:host`, `stun:host:port`, `stun:[2001:db8::1]:3478`, and the same without the
    /// scheme.
    ///
    /// ```
    /// use ice_gather::{StunServer, UriError};
    ///
    /// assert_eq!("stun:198.51.100.1".parse(), Ok(StunServer::Address("198.51.100.1:3478".parse()?)));
    /// assert_eq!("stun.example.org:19302".parse(), Ok(StunServer::Name("stun.example.org".into(), 19302)));
    /// assert_eq!("turn:198.51.100.1".parse::<StunServer>(), Err(UriError::Scheme));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, UriError> {
        let is_of = |scheme: &&str| after(scheme, text).is_some();
        if text.contains("://") || ["stuns:", "turn:", "turns:"].iter().any(is_of) {
            return Err(UriError::Scheme);
        }
        Self::read_place(after("stun:", text).unwrap_or(text))
    }
}

impl StunServer {
    /// Host and port, without a scheme.
    fn read_place(rest: &str) -> Result<Self, UriError> {
        let (host, port) = if let Some(literal) = rest.strip_prefix('[') {
            let (ip, port) = literal.split_once(']').ok_or(UriError::Host)?;
            (
                ip.parse::<Ipv6Addr>()
                    .map_err(|_| UriError::Host)?
                    .to_string(),
                port.strip_prefix(':').unwrap_or(port),
            )
        } else if rest.parse::<Ipv6Addr>().is_ok() {
            (rest.to_owned(), "")
        } else {
            let (host, port) = rest.split_once(':').unwrap_or((rest, ""));
            (host.to_owned(), port)
        };
        let port = match port {
            "" => DEFAULT_PORT,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| UriError::Port)?
            }
            _ => return Err(UriError::Port),
        };
        if port == 0 {
            return Err(UriError::Port);
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Self::Address(SocketAddr::new(ip, port)));
        }
        let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if host.is_empty() || host.len() > 253 || !host.bytes().all(name) {
            return Err(UriError::Host);
        }
        Ok(Self::Name(host, port))
    }
}

/// The text behind the scheme, if it is this one.
fn after<'a>(scheme: &str, text: &'a str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// A `turn:` URI over UDP (RFC 7065 section 3.1).
#[cfg(feature = "relay")]
pub(crate) fn read_turn(text: &str) -> Result<StunServer, UriError> {
    let rest = after("turn:", text).ok_or(UriError::Scheme)?;
    let (place, transport) = match rest.split_once('?') {
        Some((place, query)) => (
            place,
            after("transport=", query).ok_or(UriError::Transport)?,
        ),
        None => (rest, "udp"),
    };
    if !transport.eq_ignore_ascii_case("udp") {
        return Err(UriError::Transport);
    }
    StunServer::read_place(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_rfc_is_read_and_the_rest_refused() {
        let address = |text: &str| Ok(StunServer::Address(text.parse().unwrap()));
        let name = |host: &str, port| Ok(StunServer::Name(host.into(), port));
        for (text, expected) in [
            ("stun:198.51.100.1:3479", address("198.51.100.1:3479")),
            ("STUN:[2001:db8::1]", address("[2001:db8::1]:3478")),
            ("[2001:db8::1]:5", address("[2001:db8::1]:5")),
            ("2001:db8::1", address("[2001:db8::1]:3478")),
            ("stun:stun.example.org", name("stun.example.org", 3478)),
            ("stuns:stun.example.org", Err(UriError::Scheme)),
            ("TURN:stun.example.org", Err(UriError::Scheme)),
            ("http://stun.example.org", Err(UriError::Scheme)),
            ("stun:", Err(UriError::Host)),
            ("stun:[2001:db8::1", Err(UriError::Host)),
            ("stun:a b", Err(UriError::Host)),
            ("stun:h:0", Err(UriError::Port)),
            ("stun:h:65536", Err(UriError::Port)),
            ("stun:h:+5", Err(UriError::Port)),
            ("stun:h:5?transport=udp", Err(UriError::Port)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[cfg(feature = "relay")]
    #[test]
    fn turn_over_udp_is_read_and_every_other_transport_refused() {
        let address = |text: &str| Ok(StunServer::Address(text.parse().unwrap()));
        for (text, expected) in [
            ("turn:198.51.100.1", address("198.51.100.1:3478")),
            (
                "TURN:[2001:db8::1]:5?transport=UDP",
                address("[2001:db8::1]:5"),
            ),
            (
                "turn:turn.example.org?transport=udp",
                Ok(StunServer::Name("turn.example.org".into(), 3478)),
            ),
            ("turn:198.51.100.1?transport=tcp", Err(UriError::Transport)),
            ("turn:198.51.100.1?ttl=5", Err(UriError::Transport)),
            ("turns:198.51.100.1", Err(UriError::Scheme)),
            ("stun:198.51.100.1", Err(UriError::Scheme)),
            ("198.51.100.1", Err(UriError::Scheme)),
            ("turn:", Err(UriError::Host)),
            ("turn:user@198.51.100.1", Err(UriError::Host)),
            ("turn:h:0", Err(UriError::Port)),
        ] {
            assert_eq!(read_turn(text), expected, "{text}");
        }
    }
}
