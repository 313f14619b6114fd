//! The choice of the primary base, whose verdict is the verdict on the host.

use core::cmp::Reverse;

use crate::behaviour::Mapping;
use crate::evidence::vantage::Vantage;
use crate::evidence::{Endpoint, Group};
use crate::summary::{BaseVerdict, MAX_BASES};

/// Orders bases; the greatest is the primary one. Bases seen from furthest out come first, then decided
/// ones, then the most distinct server addresses, then the most observations, then IPv4, then the
/// lowest address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    vantage: Reverse<Vantage>,
    is_decided: bool,
    server_addresses: u16,
    observations: u16,
    /// By the family of the mapped address first.
    group: Reverse<(bool, Group)>,
}

impl Rank {
    fn of(verdict: &BaseVerdict, vantage: Vantage) -> Self {
        Self {
            vantage: Reverse(vantage),
            is_decided: verdict.mapping != Mapping::Unknown || verdict.natted == Some(false),
            server_addresses: verdict.server_addresses,
            observations: verdict.observations,
            group: Reverse((verdict.external.is_ipv6(), group_of(verdict))),
        }
    }
}

/// The base that a verdict is on, with the family and the ICE session.
pub(crate) fn group_of(verdict: &BaseVerdict) -> Group {
    (
        Endpoint::from(verdict.base),
        verdict.external.is_ipv6(),
        verdict.session,
    )
}

/// Keeps the primary base first and the others by address and port. Beyond the last place, the
/// greatest of the others goes. `best` is the rank of the primary one so far.
pub(crate) fn keep(
    bases: &mut [Option<BaseVerdict>; MAX_BASES],
    best: &mut Option<Rank>,
    verdict: BaseVerdict,
    vantage: Vantage,
) {
    let rank = Some(Rank::of(&verdict, vantage));
    let [primary, others @ ..] = bases;
    let Some(current) = primary else {
        (*primary, *best) = (Some(verdict), rank);
        return;
    };
    let other = if rank > *best {
        *best = rank;
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
