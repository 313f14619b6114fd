//! Which base is the primary one: its verdict is the verdict on the host.

use core::cmp::Reverse;

use crate::evidence::{Endpoint, Group};
use crate::summary::{BaseVerdict, MAX_BASES};

/// Orders bases; the greatest is the primary one. The most distinct server addresses come first,
/// then the most observations, then IPv4, then the lowest address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    server_addresses: u16,
    observations: u16,
    group: Reverse<Group>,
}

impl Rank {
    pub(crate) const fn new(server_addresses: u16, observations: u16, group: Group) -> Self {
        Self {
            server_addresses,
            observations,
            group: Reverse(group),
        }
    }

    pub(crate) fn of(verdict: &BaseVerdict) -> Self {
        Self::new(
            verdict.server_addresses,
            verdict.observations,
            group_of(verdict),
        )
    }
}

/// The base that a verdict is on, and for a base of two families the family.
pub(crate) fn group_of(verdict: &BaseVerdict) -> Group {
    (Endpoint::from(verdict.base), verdict.external.is_ipv6())
}

/// Keeps the primary base first and the others by address and port. Beyond the last place, the
/// greatest of the others goes.
pub(crate) fn keep(bases: &mut [Option<BaseVerdict>; MAX_BASES], verdict: BaseVerdict) {
    let [primary, others @ ..] = bases;
    let Some(current) = primary else {
        *primary = Some(verdict);
        return;
    };
    let other = if Rank::of(&verdict) > Rank::of(current) {
        core::mem::replace(current, verdict)
    } else {
        verdict
    };
    let at = others
        .iter()
        .position(|o| o.is_none_or(|o| group_of(&o) > group_of(&other)))
        .unwrap_or(others.len());
    if let Some([first, rest @ ..]) = others.get_mut(at..) {
        let mut moved = first.replace(other);
        for place in rest {
            moved = core::mem::replace(place, moved);
        }
    }
}
