//! A second reading of the rules: written from their text alone, with a `Vec` for everything, and
//! no eye on speed. The judge is compared with it.
//!
//! Where the text leaves room, a comment says `Reading`.

mod agrees;
pub(crate) mod compare;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nat_worlds::plain::{
    Allocates, BaseVerdict, Door, End, Facts, Kind, List, ListedKind, Maps, Pools, Server, Verdict,
};

/// The verdict on a gathering.
pub(crate) fn of_facts(facts: &Facts) -> Verdict {
    let asked: Vec<_> = facts.asked.iter().map(|(server, _)| *server).collect();
    let answered = facts.seen.iter().map(|seen| seen.server);
    let known = Known {
        locals: locals(&facts.locals),
        servers: asked.into_iter().chain(answered).collect(),
        unnamed_count: true,
    };
    let seen = facts.seen.iter().map(|seen| Observed {
        base: canonical(seen.base),
        session: None,
        server: canonical_server(seen.server),
        mapped: canonical(seen.mapped),
        sequence: seen.sequence,
    });
    verdict(seen.collect(), &known, blocked(facts))
}

/// The verdict on a candidate list.
pub(crate) fn of_list(list: &List) -> Verdict {
    let candidates = || list.candidates.iter();
    let host = |listed: &&nat_worlds::plain::Listed| listed.kind == ListedKind::Host;
    let hosts = candidates().filter(host).filter_map(|c| c.address);
    let known = Known {
        locals: locals(&hosts.map(|address| address.ip()).collect::<Vec<_>>()),
        // Reading: an address that no packet comes from is no answer of a server that was asked
        servers: candidates()
            .filter(|candidate| matches!(candidate.kind, ListedKind::Reflexive(_)))
            .filter(|candidate| candidate.address.is_some_and(|a| is_possible(canonical(a))))
            .map(|candidate| candidate.server)
            .collect(),
        unnamed_count: list.door == Door::Values,
    };
    let seen = candidates().filter_map(|candidate| {
        let ListedKind::Reflexive(base) = candidate.kind else {
            return None;
        };
        // RFC 8839 section 5.1: so is a hidden base written
        let is_hidden = base.ip().is_unspecified() && base.port() == 9;
        Some(Observed {
            base: SocketAddr::new(base.ip(), if is_hidden { 0 } else { base.port() }),
            session: candidate.session,
            server: canonical_server(candidate.server),
            mapped: canonical(candidate.address?),
            sequence: 0,
        })
    });
    verdict(seen.collect(), &known, list_blocked(list))
}

/// Beside the observations.
struct Known {
    locals: Vec<IpAddr>,
    /// Every server that was asked.
    servers: Vec<Server>,
    /// Each observation without a server counts as one server address.
    unnamed_count: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Observed {
    base: SocketAddr,
    session: Option<&'static str>,
    server: Server,
    mapped: SocketAddr,
    sequence: u32,
}

fn verdict(seen: Vec<Observed>, known: &Known, blocked: Option<&'static str>) -> Verdict {
    let seen = clean(seen, known);
    let groups = groups(seen);
    let mut bases: Vec<Base> = (0..groups.len())
        .map(|at| Base::of(at, &groups, known))
        .collect();
    bases.sort_by_key(Base::rank);
    let (kind, rule) = match bases.first() {
        Some(primary) => primary.kind(),
        None => blocked.map_or((Kind::Unknown, "nothing_observed"), |rule| {
            (Kind::Blocked, rule)
        }),
    };
    Verdict {
        kind,
        rule,
        pools: Pools::Unknown,
        bases: bases.iter().map(|base| base.verdict).collect(),
    }
}

// Rule 1: clean.

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn canonical_server(server: Server) -> Server {
    match server {
        Server::At(address) => Server::At(canonical(address)),
        named => named,
    }
}

fn locals(ips: &[IpAddr]) -> Vec<IpAddr> {
    let ips = ips.iter().map(IpAddr::to_canonical);
    ips.filter(|ip| !ip.is_unspecified()).collect()
}

fn is_possible(mapped: SocketAddr) -> bool {
    let ip = mapped.ip();
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    mapped.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

fn clean(seen: Vec<Observed>, known: &Known) -> Vec<Observed> {
    let mut latest: Vec<Observed> = Vec::new();
    for new in seen.into_iter().filter(|seen| is_possible(seen.mapped)) {
        let same = |old: &&mut Observed| {
            (old.base, old.session, old.server) == (new.base, new.session, new.server)
                && old.mapped.is_ipv4() == new.mapped.is_ipv4()
                && new.server != Server::Unnamed
        };
        match latest.iter_mut().find(same) {
            // Reading: of two with one place in the order, the greater one, so that order never
            // matters (rule 11)
            Some(old) if (old.sequence, old.mapped) < (new.sequence, new.mapped) => *old = new,
            Some(_) => {}
            None => latest.push(new),
        }
    }
    latest.retain(|seen| !is_of_a_proxy(seen, known));
    latest
}

/// The mapped address is that of a server that was asked, or a global server reports one that is
/// not global.
///
/// Reading: a host that asks a server on itself is seen at its own address, with its own port, and
/// no proxy stands in between.
fn is_of_a_proxy(seen: &Observed, known: &Known) -> bool {
    let mut asked = known.servers.iter().filter_map(Server::ip);
    let is_asked = asked.any(|ip| untranslated(ip.to_canonical()) == seen.mapped.ip());
    let is_a_server = is_asked && !is_own(seen, known);
    let server = seen.server.ip().map(server_place);
    let from_outside = server == Some(Place::Global);
    is_a_server || from_outside && place(seen.mapped.ip()) != Place::Global
}

// Rule 2: group by base.

/// One group for each base and family. A base without a port is comparable with nothing.
fn groups(seen: Vec<Observed>) -> Vec<Vec<Observed>> {
    let mut groups: Vec<Vec<Observed>> = Vec::new();
    for seen in seen {
        let key = |seen: &Observed| (seen.base, seen.session, seen.mapped.is_ipv4());
        let mut same = groups
            .iter_mut()
            .filter(|group| key(&group[0]) == key(&seen));
        match same.next() {
            Some(group) if seen.base.port() != 0 => group.push(seen),
            _ => groups.push(vec![seen]),
        }
    }
    groups
}

// Rule 3: vantage.

/// How far out a place is, by its addresses.
///
/// Reading: addresses of two kinds are of two places, and one of the link or the host itself is
/// further in than any other address of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Global,
    Carrier,
    Private,
    Unassigned,
    /// Where the host has its own address.
    Host,
    Translator,
    Link,
    Loopback,
}

fn place(ip: IpAddr) -> Place {
    match ip {
        IpAddr::V4(ip) => match ip.octets() {
            [100, 64..=127, ..] => Place::Carrier,
            [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Place::Private,
            [192, 0, 0, 0..=7] => Place::Translator,
            [169, 254, ..] => Place::Link,
            [127, ..] => Place::Loopback,
            [0, ..] | [192, 0, 0, _] | [198, 18..=19, ..] | [224..=255, ..] => Place::Unassigned,
            _ => Place::Global,
        },
        IpAddr::V6(ip) if ip.is_loopback() => Place::Loopback,
        IpAddr::V6(ip) => match ip.segments()[0] {
            0x2000..0x4000 => Place::Global,
            0xfc00..0xfe00 => Place::Private,
            0xfe80..0xfec0 => Place::Link,
            _ => Place::Unassigned,
        },
    }
}

fn is_of_the_link(ip: IpAddr) -> bool {
    matches!(place(ip), Place::Link | Place::Loopback)
}

/// The address beyond a translator (64:ff9b::/96, RFC 6052).
fn untranslated(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)).into()
            }
            _ => ip,
        },
        IpAddr::V4(_) => ip,
    }
}

/// The place of a server. One behind a translator is where the address inside is.
///
/// Reading: a server on the link or the host may see any inner address of the host.
fn server_place(ip: IpAddr) -> Place {
    place(untranslated(ip)).min(Place::Private)
}

/// Whether the host was seen as it is. A local address with another port was translated (rule 7).
///
/// Reading: a socket on one address that is seen at another one of the host's was translated too, by
/// the host itself.
fn is_own(seen: &Observed, known: &Known) -> bool {
    let (base, ip) = (seen.base.ip(), seen.mapped.ip());
    let is_its_address = if base.is_unspecified() {
        known.locals.contains(&ip)
    } else {
        ip == base
    };
    is_its_address && keeps_port(seen) != Some(false)
}

fn is_local(seen: &Observed, known: &Known) -> bool {
    let ip = seen.mapped.ip();
    ip == seen.base.ip() || known.locals.contains(&ip)
}

fn keeps_port(seen: &Observed) -> Option<bool> {
    (seen.base.port() != 0).then_some(seen.mapped.port() == seen.base.port())
}

/// Reading: where the host has an address, it has that address on every port.
fn vantage(seen: &Observed, known: &Known) -> Place {
    let place = place(seen.mapped.ip());
    if place > Place::Global && place < Place::Host && is_local(seen, known) {
        Place::Host
    } else {
        place
    }
}

/// Reading: a server sees from no further out than it is. An answer that says so counts only where
/// there is no other.
fn believed(group: Vec<Observed>, known: &Known) -> Vec<Observed> {
    let is_beyond_itself = |seen: &Observed| {
        let server = seen.server.ip().map(server_place);
        server.is_some_and(|server| vantage(seen, known) < server)
    };
    if group.iter().all(is_beyond_itself) {
        return group;
    }
    let mut group = group;
    group.retain(|seen| !is_beyond_itself(seen));
    group
}

/// What is judged of one base.
///
/// An address of the host's own did not cross the NAT that another answer from there proves, and is no
/// evidence of how it maps (docs/departures.md). Only a contradiction is looked for among all.
fn outermost(group: &[Observed], known: &Known) -> (Place, Vec<Observed>) {
    let places = group.iter().map(|seen| vantage(seen, known));
    let place = places.min().expect("a group is never empty");
    let is_there = |seen: &&Observed| vantage(seen, known) == place;
    let all: Vec<_> = group.iter().filter(is_there).copied().collect();
    let is_crossed = |seen: &&Observed| !is_own(seen, known);
    let crossed: Vec<_> = all.iter().filter(is_crossed).copied().collect();
    if crossed.is_empty() || is_contradictory(&all, known) {
        (place, all)
    } else {
        (place, crossed)
    }
}

// Rule 4: mapping.

/// Whether two observations are surely of two server addresses. Beside servers that are named, an
/// answer that names none may be one of theirs (docs/departures.md).
fn are_two_addresses(a: &Observed, b: &Observed, group: &[Observed], known: &Known) -> bool {
    match (a.server, b.server) {
        (Server::At(a), Server::At(b)) => untranslated(a.ip()) != untranslated(b.ip()),
        (Server::Unnamed, Server::Unnamed) => {
            let all_unnamed = group.iter().all(|seen| seen.server == Server::Unnamed);
            !std::ptr::eq(a, b) && all_unnamed && known.unnamed_count
        }
        _ => false,
    }
}

fn pairs(group: &[Observed]) -> impl Iterator<Item = (&Observed, &Observed)> {
    group
        .iter()
        .enumerate()
        .flat_map(|(at, a)| group[at + 1..].iter().map(move |b| (a, b)))
}

/// Two server addresses saw one mapping, and another observation is not that one.
///
/// Reading: so it is where two ports of one address saw one mapping, and two ports of an address
/// different ones. No NAT minds the port here and not there.
fn is_contradictory(judged: &[Observed], known: &Known) -> bool {
    let two_addresses = pairs(judged).any(|(a, b)| {
        a.mapped == b.mapped
            && are_two_addresses(a, b, judged, known)
            && judged.iter().any(|other| other.mapped != a.mapped)
    });
    let ports = |agree| ports_of_one(judged).any(|(a, b)| (a.mapped == b.mapped) == agree);
    two_addresses || ports(true) && ports(false)
}

fn ports_of_one(judged: &[Observed]) -> impl Iterator<Item = (&Observed, &Observed)> {
    pairs(judged).filter(|(a, b)| {
        matches!((a.server, b.server), (Server::At(a), Server::At(b))
            if a.ip() == b.ip() && a.port() != b.port())
    })
}

/// Reading: an answer of a server that, on another base, stands against two that agree proves no
/// difference here.
fn is_doubtful(of: &Observed, at: usize, groups: &[Vec<Observed>], known: &Known) -> bool {
    let others = groups.iter().enumerate().filter(|(other, _)| *other != at);
    others
        .filter(|(_, group)| group[0].mapped.is_ipv4() == of.mapped.is_ipv4())
        .map(|(_, group)| outermost(&believed(group.clone(), known), known).1)
        .filter(|judged| is_contradictory(judged, known) && !has_several_ways(judged, known))
        .any(|judged| {
            let is_its = |seen: &&Observed| match (seen.server.ip(), of.server.ip()) {
                (Some(a), Some(b)) => untranslated(a) == untranslated(b),
                _ => false,
            };
            let named = |seen: &Observed| seen.server.ip().is_some();
            judged.iter().filter(is_its).any(|its| {
                pairs(&judged)
                    .filter(|(a, b)| named(a) && named(b) && a.mapped == b.mapped)
                    .any(|(a, _)| a.mapped != its.mapped)
            })
        })
}

fn mapping(judged: &[Observed], known: &Known) -> (Maps, &'static str) {
    let differ = || pairs(judged).any(|(a, b)| a.mapped != b.mapped);
    let ports_of_one = || ports_of_one(judged);
    let mut by_address = judged.iter().map(|seen| seen.server.ip().map(untranslated));
    let first = by_address.next().flatten();
    let is_one_server = first.is_some() && by_address.all(|ip| ip == first);
    if is_contradictory(judged, known) {
        (Maps::Unknown, "contradictory")
    } else if ports_of_one().any(|(a, b)| a.mapped != b.mapped) {
        (Maps::ByPort, "ports_of_one_server_differ")
    } else if differ() && is_one_server {
        // Reading: by way of a translator and without, and so perhaps by two NATs
        (Maps::Unknown, "too_few_servers")
    } else if differ() && has_several_ways(judged, known) {
        (Maps::Unknown, "several_ways")
    } else if differ() && ports_of_one().next().is_some() {
        (Maps::ByAddress, "servers_differ_ports_agree")
    } else if differ() {
        (Maps::Differs, "servers_differ")
    } else if pairs(judged).any(|(a, b)| are_two_addresses(a, b, judged, known)) {
        (Maps::Independent, "servers_agree")
    } else {
        (Maps::Unknown, "too_few_servers")
    }
}

/// A wildcard socket may have sent by several ways (docs/departures.md).
fn has_several_ways(judged: &[Observed], known: &Known) -> bool {
    let sent_in_v6 =
        |seen: &Observed| !seen.mapped.is_ipv4() || seen.server.ip().is_some_and(|ip| ip.is_ipv6());
    let is_v6 = sent_in_v6(&judged[0]);
    let ways = known.locals.iter().filter(|ip| ip.is_ipv6() == is_v6);
    let mut ways: Vec<_> = ways.filter(|ip| reaches_beyond_its_link(**ip)).collect();
    ways.sort_unstable();
    ways.dedup();
    judged[0].base.ip().is_unspecified()
        && (is_of_the_link(judged[0].mapped.ip())
            // Reading: a socket of both families, and a name that may be of either
            || judged[0].base.is_ipv6()
                && judged[0].mapped.is_ipv4()
                && judged.iter().any(|seen| seen.server.ip().is_none())
            || ways.len() > 1
            || judged.iter().any(|seen| sent_in_v6(seen) != is_v6))
}

fn reaches_beyond_its_link(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => {
            !ip.is_loopback() && !ip.is_unspecified() && ip.segments()[0] & 0xffc0 != 0xfe80
        }
    }
}

// Rules 5 to 8, of one base.

struct Base {
    verdict: BaseVerdict,
    place: Place,
    server_addresses: usize,
    observations: usize,
}

impl Base {
    fn of(at: usize, groups: &[Vec<Observed>], known: &Known) -> Self {
        let (place, judged) = outermost(&believed(groups[at].clone(), known), known);
        let (mut maps, mut rule) = mapping(&judged, known);
        let mut trusted = judged.clone();
        trusted.retain(|seen| !is_doubtful(seen, at, groups, known));
        let is_shown = !trusted.is_empty() && mapping(&trusted, known).0.is_dependent();
        if maps.is_dependent() && trusted.len() < judged.len() && !is_shown {
            (maps, rule) = (Maps::Unknown, "contradictory");
        }
        let external = external(&judged);
        Self {
            verdict: BaseVerdict {
                base: judged[0].base,
                external,
                maps,
                rule,
                natted: natted(&judged, external, known),
                port_kept: judged.iter().map(keeps_port).min().flatten(),
                allocates: Allocates::Unknown,
            },
            place,
            server_addresses: server_addresses(&judged),
            observations: judged.len(),
        }
    }

    /// Rule 5: the lowest one speaks.
    fn rank(&self) -> impl Ord + use<> {
        let BaseVerdict {
            base,
            maps,
            natted,
            external,
            ..
        } = self.verdict;
        // Reading: decided is a mapping that is known, or the absence of a NAT
        let is_decided = maps != Maps::Unknown || natted == Some(false);
        (
            self.place,
            !is_decided,
            std::cmp::Reverse((self.server_addresses, self.observations)),
            // Reading: IPv4 is that of the mapped address
            external.is_ipv6(),
            base.is_ipv6(),
            base,
            external,
        )
    }

    /// Rule 10.
    fn kind(&self) -> (Kind, &'static str) {
        let BaseVerdict {
            maps, rule, natted, ..
        } = self.verdict;
        let is_inside = self.place != Place::Global;
        match (natted, maps) {
            (Some(false), _) if is_inside => (Kind::Unknown, "seen_from_inside"),
            (Some(false), _) => (Kind::Open, "mapped_is_local"),
            (_, Maps::Unknown) => (Kind::Unknown, rule),
            (None, _) => (Kind::Unknown, "locals_unknown"),
            (Some(true), Maps::Independent) if is_inside => (Kind::Unknown, "seen_from_inside"),
            (Some(true), Maps::Independent) => (Kind::Cone, rule),
            (Some(true), _) => (Kind::Symmetric, rule),
        }
    }
}

/// Reading: names count as they are written, and answers that name no server count where nothing
/// else does.
fn server_addresses(judged: &[Observed]) -> usize {
    let mut named: Vec<_> = judged
        .iter()
        .filter_map(|seen| match seen.server {
            Server::At(address) => Some((Some(untranslated(address.ip())), "")),
            Server::Named(name, _) => Some((None, name)),
            Server::Unnamed => None,
        })
        .collect();
    named.sort_unstable();
    named.dedup();
    if named.is_empty() {
        judged.len()
    } else {
        named.len()
    }
}

/// Rule 6.
fn external(judged: &[Observed]) -> IpAddr {
    let mut order: Vec<_> = judged.iter().collect();
    // Reading: of one server's two addresses the one without a translator is the lower one
    order.sort_by_key(|seen| {
        let address = seen.server.ip().map(|ip| (untranslated(ip), ip));
        (address.is_none(), address, seen.server, seen.mapped)
    });
    let votes = |ip: IpAddr| {
        let of_ip: Vec<_> = judged
            .iter()
            .filter(|seen| seen.mapped.ip() == ip)
            .copied()
            .collect();
        let named = of_ip.iter().any(|seen| seen.server != Server::Unnamed);
        let unnamed = of_ip.iter().filter(|seen| seen.server == Server::Unnamed);
        server_addresses(&of_ip) + if named { unnamed.count() } else { 0 }
    };
    let most = order.iter().map(|seen| votes(seen.mapped.ip())).max();
    let mut first = order.iter().map(|seen| seen.mapped.ip());
    first
        .find(|ip| Some(votes(*ip)) == most)
        .expect("a group is never empty")
}

/// Rule 7.
fn natted(judged: &[Observed], external: IpAddr, known: &Known) -> Option<bool> {
    let kept = |seen: &Observed| is_own(seen, known);
    if judged.iter().all(kept) {
        return Some(false);
    }
    // Reading: in a contradiction no answer proves a NAT where another one is of the host itself
    if is_contradictory(judged, known) && judged.iter().any(kept) {
        return None;
    }
    // Reading: it may be on another address than it is reported to be
    let is_elsewhere = |s: &Observed| is_local(s, known) && keeps_port(s) != Some(false);
    if judged.iter().all(is_elsewhere) {
        return None;
    }
    if judged
        .iter()
        .any(|s| is_local(s, known) && keeps_port(s) == Some(false))
    {
        return Some(true);
    }
    let mut locals = known.locals.iter();
    // Reading: not every address of a link is known
    let known = !judged[0].base.ip().is_unspecified()
        || !judged.iter().all(|seen| is_of_the_link(seen.mapped.ip()))
            && locals.any(|ip| ip.is_ipv4() == external.is_ipv4() && reaches_beyond_its_link(*ip));
    known.then_some(true)
}

// Rule 9: UDP blocked.

fn blocked(facts: &Facts) -> Option<&'static str> {
    let impossible = facts
        .seen
        .iter()
        .any(|seen| !is_possible(canonical(seen.mapped)));
    let ends = ends(facts);
    let is_life = |end: End| end == End::Pending || end >= End::Closed;
    let is_heard = facts.rejected > 0 || impossible || !facts.seen.is_empty();
    if is_heard || ends.iter().any(|(_, end)| is_life(*end)) {
        return None;
    }
    let locals = locals(&facts.locals);
    let has_a_way = |ip: &IpAddr| {
        let of_family = |local: &IpAddr| local.is_ipv4() == ip.is_ipv4();
        locals
            .iter()
            .any(|l| of_family(l) && reaches_beyond_its_link(*l))
    };
    // Reading: at two addresses of one family
    let is_silent = |is_v4: bool| {
        let timed_out = ends.iter().filter(|(_, end)| *end == End::TimedOut);
        let ips = timed_out.filter_map(|(server, _)| server.ip());
        let mut ips: Vec<IpAddr> = ips
            // Reading: silence further in shows nothing of a firewall further out
            .filter(|ip| place(untranslated(*ip)) == Place::Global && !locals.contains(ip))
            .filter(|ip| ip.is_ipv4() == is_v4 && has_a_way(ip))
            .collect();
        ips.sort_unstable();
        ips.dedup();
        ips.len() > 1
    };
    (is_silent(true) || is_silent(false)).then_some("asked_none_answered")
}

/// Of a server that is reported twice, the stronger end. A pending request may still be answered.
fn ends(facts: &Facts) -> Vec<(Server, End)> {
    let mut ends: Vec<(Server, End)> = Vec::new();
    for (server, end) in &facts.asked {
        let server = canonical_server(*server);
        match ends.iter_mut().find(|(known, _)| *known == server) {
            Some((_, known)) => *known = (*known).max(*end),
            None => ends.push((server, *end)),
        }
    }
    ends
}

/// A bare list does not show which servers were asked. Where it is known to be complete, the rule
/// of the system that this one replaces holds.
fn list_blocked(list: &List) -> Option<&'static str> {
    let is_asked = list.asked.is_some_and(|asked| asked > 1);
    let mut hosts = Vec::new();
    for candidate in &list.candidates {
        match candidate.kind {
            ListedKind::Host => hosts.push(candidate.address.map(|address| address.ip())),
            // signs of life
            ListedKind::Reflexive(_) | ListedKind::Relayed => return None,
        }
    }
    let is_hidden_or_global = |host: &Option<IpAddr>| {
        host.is_none_or(|ip| ip.is_unspecified() || place(ip) == Place::Global)
    };
    let reaches = |host: &Option<IpAddr>| host.is_some_and(reaches_beyond_its_link);
    let silent = is_asked && hosts.iter().any(reaches) && !hosts.iter().any(is_hidden_or_global);
    silent.then_some("no_reflexive_candidate")
}
