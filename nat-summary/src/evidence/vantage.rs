//! From where an address of the host was seen.

use super::Evidence;
use super::packed::{Endpoint, Ip};
use crate::scope::Scope;

/// From where an address of the host was seen, the outermost first. Addresses of two scopes are never
/// of one place, because no NAT draws its outside from both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Vantage {
    /// From beyond every NAT.
    Global,
    /// From inside a carrier's network.
    Carrier,
    /// From inside another one.
    Private,
    /// From a place that the address does not show.
    Reserved,
    /// From where the host has its own address, be that a global one.
    Own,
    /// From beyond the host's own end of a translator.
    Clat,
    /// From the link. Its addresses stand in no list of the host that leaves them out.
    Link,
    /// From the host itself.
    Loopback,
}

impl Vantage {
    /// That of a mapped address which is not the host's own.
    pub(crate) const fn of_scope(scope: Scope) -> Self {
        match scope {
            Scope::Global => Self::Global,
            Scope::CarrierGrade => Self::Carrier,
            Scope::Private | Scope::UniqueLocal => Self::Private,
            Scope::Nat64 | Scope::Reserved => Self::Reserved,
            Scope::Clat => Self::Clat,
            Scope::LinkLocal => Self::Link,
            Scope::Loopback => Self::Loopback,
        }
    }

    /// How far out a server can see from, by its own address: one on the link or the host may have
    /// been asked from any address of the host.
    pub(crate) fn of_server(scope: Scope) -> Self {
        Self::of_scope(scope).min(Self::Private)
    }
}

/// Whether `mapped` is the base itself, or of a wildcard base a local address with the base's port, as
/// far as the port is known. A local address with another port was translated, and so was a socket on
/// one local address that was seen at another one.
pub(crate) fn is_own(mapped: Endpoint, base: Endpoint, evidence: &Evidence) -> bool {
    let is_its_address = if base.ip.is_unspecified() {
        evidence.locals().contains(&mapped.ip.into())
    } else {
        mapped.ip == base.ip
    };
    is_its_address && keeps_port(mapped, base)
}

/// Whether the base's port was kept, as far as it is known.
pub(crate) const fn keeps_port(mapped: Endpoint, base: Endpoint) -> bool {
    base.port == 0 || mapped.port == base.port
}

/// Whether `ip` is an address of the host.
pub(crate) fn is_local(ip: Ip, base: Ip, evidence: &Evidence) -> bool {
    ip == base || evidence.locals().contains(&ip.into())
}
