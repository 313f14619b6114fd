//! Which observations of one base may be compared.

use crate::evidence::vantage::{Vantage, is_local, is_own};
use crate::evidence::{Evidence, Ip, MAX_OBSERVATIONS, Seen};
use crate::tally::{Tally, contradicts_itself};

/// Whether an answer does not describe this host's NAT. A proxy in front of a server is seen there in
/// place of the host, as the address of a server that was asked, or as one of the network behind it.
pub(crate) fn is_aside(seen: &Seen, evidence: &Evidence) -> bool {
    let (mapped, base) = (seen.mapped(), seen.base());
    let is_global = |ip: Ip| ip.scope().is_global();
    // a host that asks a server of its own is seen there as itself
    evidence.has_asked_at(mapped.ip) && !is_own(mapped, base, evidence)
        || seen.server_ip().is_some_and(is_global) && !is_global(mapped.ip)
}

/// From where the host was seen, by the address alone.
pub(crate) fn place(seen: &Seen, evidence: &Evidence) -> Vantage {
    place_of(seen.mapped().ip, seen.base().ip, evidence)
}

pub(crate) fn place_of(ip: Ip, base: Ip, evidence: &Evidence) -> Vantage {
    match Vantage::of_scope(ip.scope()) {
        Vantage::Carrier | Vantage::Private | Vantage::Reserved if is_local(ip, base, evidence) => {
            Vantage::Own
        }
        by_scope => by_scope,
    }
}

/// Whether the mapped address would have been seen from further out than the server is.
fn is_beyond_its_server(seen: &Seen, evidence: &Evidence) -> bool {
    let is_inside = |ip: Ip| place(seen, evidence) < Vantage::of_server(ip.scope());
    seen.server_ip().is_some_and(is_inside)
}

/// Whether all of the base was seen from one place, and none of it by a proxy: the usual case, which
/// needs no selection. All saw one global address, no server was asked at it, and none saw the host
/// itself beside a mapping.
pub(crate) fn is_plain(first: &Seen, tally: &Tally, evidence: &Evidence) -> bool {
    let ip = first.mapped().ip;
    tally.addresses_equal
        && tally.servers_global
        && ip.scope().is_global()
        && !evidence.has_asked_at(ip)
        && (tally.mappings_equal || !is_local(ip, first.base().ip, evidence))
}

/// Chooses the observations of one base that may be compared.
///
/// A server sees from no further out than it is. An answer that would come from further out, such as
/// one whose mapped address is not masked and gets unmasked all the same, counts only where there is
/// no other.
///
/// Servers inside and outside a NAT do not see the same NATs, so only the outermost place counts. An
/// answer with the host's own address and port did not cross the NAT that another answer from there
/// proves, and is no evidence of how that NAT maps, except where the two contradict each other.
#[derive(Clone, Copy)]
pub(crate) struct Selection {
    /// Every answer would come from further out than its server.
    takes_beyond: bool,
    place: Vantage,
    takes_own: bool,
}

impl Selection {
    /// The selection for a base with these observations; `None` if all are set aside.
    pub(crate) fn of(all: &[Seen], evidence: &Evidence) -> Option<Self> {
        let described = || all.iter().filter(|s| !is_aside(s, evidence));
        let takes_beyond = described().all(|s| is_beyond_its_server(s, evidence));
        let believed =
            || described().filter(|s| takes_beyond || !is_beyond_its_server(s, evidence));
        let outermost = believed().map(|s| place(s, evidence)).min()?;
        let with_own = Self {
            takes_beyond,
            place: outermost,
            takes_own: true,
        };
        let mut there = believed().filter(|s| place(s, evidence) == outermost);
        let takes_own = there.all(|s| is_own(s.mapped(), s.base(), evidence)) || {
            let mut places = [Seen::NOTHING; MAX_OBSERVATIONS];
            let chosen = all.iter().filter(|s| with_own.takes(s, evidence));
            is_contradictory(copy(&mut places, chosen))
        };
        Some(Self {
            takes_own,
            ..with_own
        })
    }

    pub(crate) fn takes(&self, seen: &Seen, evidence: &Evidence) -> bool {
        !is_aside(seen, evidence)
            && (self.takes_beyond || !is_beyond_its_server(seen, evidence))
            && place(seen, evidence) == self.place
            && (self.takes_own || !is_own(seen.mapped(), seen.base(), evidence))
    }
}

/// The observations of one base that may be compared, and the number of answers set aside.
#[cold]
#[inline(never)]
pub(crate) fn comparable<'a>(
    all: &[Seen],
    places: &'a mut Option<[Seen; MAX_OBSERVATIONS]>,
    evidence: &Evidence,
) -> (&'a [Seen], usize) {
    let set_aside = all.iter().filter(|s| is_aside(s, evidence)).count();
    let Some(selection) = Selection::of(all, evidence) else {
        return (&[], set_aside);
    };
    let places = places.insert([Seen::NOTHING; MAX_OBSERVATIONS]);
    let selected = all.iter().filter(|s| selection.takes(s, evidence));
    (copy(places, selected), set_aside)
}

/// These observations, side by side.
pub(crate) fn copy<'a, 's>(
    places: &'a mut [Seen; MAX_OBSERVATIONS],
    selected: impl Iterator<Item = &'s Seen>,
) -> &'a [Seen] {
    let mut len = 0;
    for (place, s) in places.iter_mut().zip(selected) {
        *place = *s;
        len += 1;
    }
    places.get(..len).unwrap_or(&[])
}

/// Whether these observations of one base contradict each other.
pub(crate) fn is_contradictory(seen: &[Seen]) -> bool {
    Tally::of(seen).is_some_and(|tally| contradicts_itself(seen, &tally))
}
