//! The addresses of a name, by the system's resolver.

use std::net::SocketAddr;

/// Looks a name up; no address if that fails.
pub(crate) async fn lookup(host: &str, port: u16) -> Vec<SocketAddr> {
    let addresses = tokio::net::lookup_host((host, port)).await;
    addresses.map(Iterator::collect).unwrap_or_default()
}
