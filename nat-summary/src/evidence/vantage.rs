//! From where an address of the host was seen.

use super::Evidence;
use super::packed::{Endpoint, Ip};
use crate::scope::Scope;

/// From where an address of the host was seen, the outermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Vantage {
    /// From beyond every NAT.
    Global,
    /// From inside a carrier's network.
    Carrier,
    /// From inside another one.
    Private,
    /// From where the host has its own address, be that a global one.
    Own,
}

impl Vantage {
    pub(crate) fn of(mapped: Endpoint, base: Endpoint, evidence: &Evidence) -> Self {
        if is_own(mapped, base, evidence) {
            Self::Own
        } else {
            Self::of_scope(Scope::of(mapped.ip.into()))
        }
    }

    /// That of a mapped address which is not the host's own.
    pub(crate) const fn of_scope(scope: Scope) -> Self {
        match scope {
            Scope::Global => Self::Global,
            Scope::CarrierGrade => Self::Carrier,
            _ => Self::Private,
        }
    }
}

/// Whether `mapped` is an address of the host with the base's port kept, as far as that is known. A
/// local address with another port was translated.
pub(crate) fn is_own(mapped: Endpoint, base: Endpoint, evidence: &Evidence) -> bool {
    is_local(mapped.ip, base.ip, evidence) && (base.port == 0 || mapped.port == base.port)
}

/// Whether `ip` is an address of the host.
pub(crate) fn is_local(ip: Ip, base: Ip, evidence: &Evidence) -> bool {
    ip == base || evidence.locals().contains(&ip.into())
}
