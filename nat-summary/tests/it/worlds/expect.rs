//! What the evidence of a world decides by the rules, worked out from the truth of the world.

use std::net::{IpAddr, SocketAddr};

use nat_model::PortAssignment;

use nat_worlds::network::{is_of_link, untranslated};
use nat_worlds::plain::{Kind, Maps, Server};
use nat_worlds::truth::{Entry, Judged, Place, View};

/// The verdict on one base.
#[derive(Debug)]
pub(crate) struct Expected {
    /// One of these.
    pub(crate) maps: Vec<Maps>,
    pub(crate) natted: Option<bool>,
    pub(crate) port_kept: Option<bool>,
    pub(crate) kind: Kind,
    pub(crate) place: Place,
}

/// Nothing, where something else than the NATs shaped the answers.
pub(crate) fn base(view: &View<'_>, base: SocketAddr, external: IpAddr) -> Option<Expected> {
    let judged = view.judged(base, external);
    if judged.oddity.is_some() || judged.entries.is_empty() {
        return None;
    }
    let crossed = judged.crossed(external)?;
    let maps = maps(view, &judged, base, view.maps(&crossed));
    let ports = judged.entries.iter();
    let kept = ports.map(|e| e.seen.mapped.port() == base.port()).min();
    let is_own = judged.entries.iter().all(|e| view.is_own(&e.seen));
    let natted = if is_own && crossed.is_empty() {
        Some(false)
    } else if judged.entries.iter().all(|e| view.is_elsewhere(&e.seen)) {
        None
    } else {
        is_local_known(view, base, external).then_some(!crossed.is_empty())
    };
    let place = judged.place;
    let kind = match (natted, &maps[..]) {
        (Some(false), _) if place == Place::Global => Kind::Open,
        (Some(true), [Maps::Independent]) if place == Place::Global => Kind::Cone,
        (Some(true), maps) if maps.iter().all(|maps| maps.is_dependent()) => Kind::Symmetric,
        _ => Kind::Unknown,
    };
    Some(Expected {
        maps,
        natted,
        port_kept: kept.filter(|_| base.port() != 0),
        kind,
        place,
    })
}

/// A NAT is there if the mapped address is no local one, and a local one is known. Without one
/// nothing is.
fn is_local_known(view: &View<'_>, base: SocketAddr, external: IpAddr) -> bool {
    let of_family = |ip: &IpAddr| ip.is_ipv4() == external.is_ipv4() && !is_of_link(*ip);
    let is_wildcard = base.ip().is_unspecified();
    !is_wildcard || !is_of_link(external) && view.locals.iter().any(of_family)
}

fn maps(view: &View<'_>, judged: &Judged<'_>, base: SocketAddr, truth: Maps) -> Vec<Maps> {
    let entries = &judged.entries;
    let at = |n: usize| match entries[n].seen.server {
        Server::At(address) => Some(address),
        _ => None,
    };
    let pairs = || (0..entries.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
    let differ = |(a, b): (usize, usize)| entries[a].seen.mapped != entries[b].seen.mapped;
    let two_ports = pairs().any(|(a, b)| {
        at(a).is_some_and(|a| at(b).is_some_and(|b| a.ip() == b.ip() && a.port() != b.port()))
    });
    let ports_differ = pairs().any(|(a, b)| {
        let same = at(a).is_some_and(|a| at(b).is_some_and(|b| a.ip() == b.ip()));
        same && differ((a, b))
    });
    let ip = |n: usize| at(n).map(|address| untranslated(address.ip()));
    let two_addresses = pairs().any(|(a, b)| ip(a).is_some_and(|a| ip(b).is_some_and(|b| a != b)));
    let is_one_server = !has_names_in(entries) && !two_addresses;
    let has_names = has_names_in(entries);
    let sent_in_v6 = |n: usize| {
        !entries[n].seen.mapped.is_ipv4() || at(n).is_some_and(|address| address.is_ipv6())
    };
    let is_v6 = sent_in_v6(0);
    let is_translated_and_not = (0..entries.len()).any(|n| sent_in_v6(n) != is_v6);
    let mapped = entries[0].seen.mapped;
    let ways = view
        .locals
        .iter()
        .filter(|ip| ip.is_ipv6() == is_v6 && !is_of_link(**ip))
        .count();
    let may_be_translated = has_names && base.is_ipv6() && mapped.is_ipv4();
    let has_several_ways = base.ip().is_unspecified()
        && (ways > 1 || is_translated_and_not || may_be_translated || is_of_link(mapped.ip()));
    let differs = pairs().any(differ);
    match truth {
        _ if base.port() == 0 => vec![Maps::Unknown],
        _ if differs && view.is_doubted(base, mapped.ip()) => vec![Maps::Unknown],
        // two ways, of which one minds the port
        _ if judged.is_refuted => vec![Maps::Unknown],
        // of two ways, the ports may be those of the other one
        Maps::ByPort if two_ports && !is_translated_and_not => vec![Maps::ByPort],
        Maps::ByPort if ports_differ => vec![Maps::ByPort],
        _ if differs && is_one_server => vec![Maps::Unknown],
        _ if differs && has_several_ways => vec![Maps::Unknown],
        Maps::ByAddress if differs && two_ports && has_names => {
            vec![Maps::ByAddress, Maps::Differs]
        }
        Maps::ByAddress if differs && two_ports => vec![Maps::ByAddress],
        Maps::ByAddress | Maps::ByPort if differs => vec![Maps::Differs],
        Maps::Independent if two_addresses => vec![Maps::Independent],
        _ => vec![Maps::Unknown],
    }
}

fn has_names_in(entries: &[&Entry]) -> bool {
    entries.iter().any(|entry| entry.seen.server.ip().is_none())
}

/// The type, where no oddity shaped the answers on any base.
///
/// The outermost base that is decided speaks; where some base cannot be called natted or not, the
/// rules leave open which one that is.
pub(crate) fn kind(view: &View<'_>, expected: &[Option<Expected>]) -> Option<Kind> {
    if expected.is_empty() {
        return match (view.is_silent, view.world.is_blocked()) {
            (false, _) => Some(Kind::Unknown),
            (true, true) => Some(Kind::Blocked),
            (true, false) => None,
        };
    }
    let all: Option<Vec<&Expected>> = expected.iter().map(Option::as_ref).collect();
    let all = all?;
    let outermost = all.iter().map(|e| e.place).min()?;
    let at_place: Vec<_> = all.iter().filter(|e| e.place == outermost).collect();
    if at_place.iter().any(|e| e.natted.is_none()) {
        return None;
    }
    let mut kinds: Vec<Kind> = at_place.iter().map(|e| e.kind).collect();
    kinds.retain(|kind| *kind != Kind::Unknown);
    // one mapping, or no NAT, seen from inside, is decided and no type: which of two such bases speaks
    // depends on the number of their servers
    let is_inner = |e: &&Expected| {
        let is_decided = e.maps == [Maps::Independent] || e.natted == Some(false);
        e.kind == Kind::Unknown && is_decided
    };
    if !kinds.is_empty() && at_place.iter().any(|e| is_inner(e)) {
        return None;
    }
    kinds.dedup();
    match kinds[..] {
        [] => Some(Kind::Unknown),
        [kind] => Some(kind),
        _ => None,
    }
}

/// Whether the order of ports has to be known, where every request was answered at once: a NAT that
/// counts, no traffic of other hosts, and every request in a row.
pub(crate) fn is_orderly(view: &View<'_>, base: SocketAddr, external: IpAddr) -> bool {
    let judged = view.judged(base, external);
    let crossed = judged.crossed(external).unwrap_or_default();
    let Some(last) = crossed.last().map(|nat| &view.world.nats[*nat]) else {
        return false;
    };
    let counts = matches!(
        last.behaviour().assignment,
        PortAssignment::Sequential { traffic: 0, .. }
    );
    let mut new: Vec<SocketAddr> = Vec::new();
    let mut sorted = judged.entries.clone();
    sorted.sort_by_key(|entry| entry.seen.sequence);
    for entry in &sorted {
        if !new.contains(&entry.seen.mapped) {
            new.push(entry.seen.mapped);
        }
    }
    let step = |pair: &[SocketAddr]| i32::from(pair[1].port()) - i32::from(pair[0].port());
    let has_wrapped = new
        .windows(2)
        .any(|pair| step(pair).signum() != step(&new[..2]).signum());
    let all_of_base = view
        .entries
        .iter()
        .filter(|entry| entry.seen.base == base)
        .count();
    let same_base = view.world.bases.iter().filter(|b| b.reported == base);
    let has_one_way = same_base.clone().all(|b| b.sources.len() == 1) && same_base.count() == 1;
    let sequences = sorted
        .windows(2)
        .map(|pair| (pair[0].seen.sequence, pair[1].seen.sequence));
    judged.oddity.is_none()
        && sequences.into_iter().all(|(a, b)| a + 1 == b)
        && counts
        && base.port() != 0
        && has_one_way
        && view.maps(&crossed).is_dependent()
        && new.len() > 2
        && new.iter().all(|mapped| mapped.ip() == external)
        && !has_wrapped
        && judged.entries.len() == all_of_base
        && judged.entries.iter().all(|entry| !entry.seen.resent)
}
