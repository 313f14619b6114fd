//! The limits of the service's connections, and how the service distinguishes clients.

use core::fmt;

use hyper::header::HeaderName;

/// The number of connections that the service serves at once, in all and per address.
///
/// An IPv6 network of 64 bits counts as one address, because a host there may use all its
/// addresses. One address gets at most its limit, and at most an eighth of the connections that are
/// still free. Connections beyond a limit are closed at once, and counted as
/// [`Refused::connections`](super::Refused::connections).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceConfig {
    /// Connections of all addresses together; 1,024 by default.
    pub connections: usize,
    /// Connections of one address; 64 by default. A producer holds one connection, and so does a
    /// consumer.
    pub connections_per_address: usize,
    pub(super) client_header: Option<HeaderName>,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            connections: 1_024,
            connections_per_address: 64,
            client_header: None,
        }
    }
}

impl ServiceConfig {
    /// Serves at most so many connections at once.
    #[must_use]
    pub const fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Serves at most so many connections of one address at once.
    #[must_use]
    pub const fn with_connections_per_address(mut self, connections: usize) -> Self {
        self.connections_per_address = connections;
        self
    }

    /// Takes the address of a client from this header of its request, such as `X-Forwarded-For`:
    /// the last address in the last such header, which the nearest proxy appended.
    ///
    /// Use this only behind a proxy that sets the header, and only if the service can be reached
    /// through the proxy alone, because any other client can put any address there. A request
    /// without an address in the header counts for the address that it came from.
    ///
    /// # Errors
    /// [`InvalidHeader`] if no header has such a name.
    pub fn with_client_header(mut self, name: &str) -> Result<Self, InvalidHeader> {
        self.client_header = Some(name.parse().map_err(|_| InvalidHeader)?);
        Ok(self)
    }
}

/// The text is not the name of a header (RFC 9110 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidHeader;

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the name of a header")
    }
}

impl core::error::Error for InvalidHeader {}
