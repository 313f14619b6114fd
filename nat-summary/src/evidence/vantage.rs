//! From where an address of the host was seen.

use super::Evidence;
use super::packed::Ip;
use crate::scope::Scope;

/// From where an address of the host was seen, the outermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Vantage {
    /// From beyond a NAT, and the scope of its outside.
    Beyond(Scope),
    /// From where the host has its own address.
    Here,
}

impl Vantage {
    pub(crate) fn of(mapped: Ip, base: Ip, evidence: &Evidence) -> Self {
        if is_own(mapped, base, evidence) {
            Self::Here
        } else {
            Self::Beyond(Scope::of(mapped.into()))
        }
    }
}

/// Whether `mapped` is an address of the host.
pub(crate) fn is_own(mapped: Ip, base: Ip, evidence: &Evidence) -> bool {
    mapped == base || evidence.locals().contains(&mapped.into())
}
