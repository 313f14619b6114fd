//! False statements of a verdict on a world, and those among them that no rule can avoid.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use nat_model::{Pooling, PortAssignment};

use crate::build::MAX_REQUESTS;
use crate::network::{Base, Event, Net, Origin, ROAMED, World, is_of_link, untranslated};
use crate::plain::{
    Allocates, BaseVerdict, Door, End, Facts, Kind, Maps, Pools, Seen, Server, Verdict,
};

/// A kind of statement: one line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statement {
    /// No NAT.
    Open,
    /// The mapping depends on the destination.
    Symmetric,
    /// The kind of dependence.
    Kind,
    /// The mapping depends on no destination.
    Cone,
    /// UDP does not pass.
    Blocked,
    /// Whether a NAT is there.
    Natted,
    /// The external address.
    External,
    /// Whether ports are kept.
    PortKept,
    /// How ports follow each other.
    Allocation,
    /// Whether external addresses are kept.
    Pooling,
}

/// Why no rule can know that a statement is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remains {
    /// A wrong address, or a proxy's, that nothing contradicts.
    Liar,
    /// Wrong addresses agree, or are not fewer than the right ones.
    LiarsAgree,
    /// The NAT forgot its mappings between two answers, and no two agree against a third.
    Rebinding,
    /// The host moved between two answers, and no two agree against a third.
    Roaming,
    /// A router sends by two uplinks, and no two answers agree against a third.
    Fork,
    /// The port was taken toward one destination, and no two answers agree against a third.
    Collision,
    /// Two NATs with outsides of one scope.
    OneScope,
    /// The host itself translates to another address of its own, and keeps the port.
    OwnAddress,
    /// Every server that was asked is dead.
    AllDead,
    /// A list does not say that a server answered what is no candidate.
    SilentList,
    /// A contradiction: some answer did not keep the port, and it was a liar's.
    PortOfAContradiction,
}

/// The judgement on a false statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The evidence shows that it is not so, or does not show that it is.
    Wrong,
    /// No rule can know.
    Remains(Remains),
}

/// An answer as the judge is handed it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The answer.
    pub seen: Seen,
    /// How the address in it came about.
    pub origin: Origin,
}

/// A world as one door shows it, and the verdict that came out.
#[derive(Debug)]
pub struct View<'a> {
    /// Where it happened.
    pub world: &'a World,
    /// None: a gathering's own evidence.
    pub list: Option<Door>,
    /// The answers.
    pub entries: Vec<Entry>,
    /// The local addresses that are known.
    pub locals: Vec<IpAddr>,
    /// The addresses of the servers that were asked, as far as this door shows them.
    pub asked: Vec<IpAddr>,
    /// The judge's verdict.
    pub verdict: Verdict,
    /// Servers at two outer addresses timed out, and nothing was heard.
    pub is_silent: bool,
}

/// Servers at two outer addresses of a family with a way out timed out, and nothing was heard or is waited
/// for.
#[must_use]
pub fn is_silent(facts: &Facts) -> bool {
    // of a server that was asked from two bases, the stronger end
    let mut ends: BTreeMap<Server, End> = BTreeMap::new();
    for (server, end) in &facts.asked {
        let known = ends.entry(*server).or_insert(*end);
        *known = (*known).max(*end);
    }
    let is_open = |end: &End| *end == End::Pending || *end >= End::Closed;
    let reaches = |local: &&IpAddr| !is_of_link(**local);
    let has_way = |is_v4: bool| {
        let mut ways = facts.locals.iter().filter(reaches);
        ways.any(|local| local.is_ipv4() == is_v4)
    };
    let is_silent = |is_v4: bool| {
        let timed_out = ends.iter().filter(|(_, end)| **end == End::TimedOut);
        let ips = timed_out.filter_map(|(server, _)| server.ip());
        // a server further in is silent for reasons of its own
        let is_outside = |ip: &IpAddr| server_place(*ip) == Place::Global;
        let of_family = |ip: &IpAddr| ip.is_ipv4() == is_v4 && !facts.locals.contains(ip);
        let ips: BTreeSet<IpAddr> = ips.filter(of_family).filter(is_outside).collect();
        ips.len() > 1 && has_way(is_v4)
    };
    let is_heard = ends.values().any(is_open) || facts.rejected > 0;
    !is_heard && (is_silent(true) || is_silent(false))
}

/// How far out an address was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Everywhere.
    Global,
    /// A carrier (RFC 6598).
    Carrier,
    /// A home or a company.
    Private,
    /// The host itself, at an address that is not global.
    Host,
    /// The link of the host.
    Link,
}

/// How far out an address belongs.
pub fn place(ip: IpAddr) -> Place {
    match ip {
        IpAddr::V4(ip) => match ip.octets() {
            [100, 64..=127, ..] => Place::Carrier,
            [10, ..] | [192, 168, ..] | [172, 16..=31, ..] | [192, 0, 0, _] => Place::Private,
            [169, 254, ..] => Place::Link,
            [0, ..] | [127, ..] | [198, 18..=19, ..] | [224..=255, ..] => Place::Private,
            _ => Place::Global,
        },
        IpAddr::V6(ip) if ip.segments()[0] >> 13 == 1 => Place::Global,
        ip if is_of_link(ip) => Place::Link,
        IpAddr::V6(_) => Place::Private,
    }
}

/// Whether a packet can come from there.
fn is_possible(mapped: SocketAddr) -> bool {
    !mapped.ip().is_multicast() && !mapped.ip().is_unspecified() && mapped.port() != 0
}

/// Whether the port of the base was kept, where it is known.
fn keeps_port(seen: &Seen) -> bool {
    let (port, mapped_port) = (seen.base.port(), seen.mapped.port());
    port == 0 || port == mapped_port
}

fn server_place(server: IpAddr) -> Place {
    place(untranslated(server)).min(Place::Private)
}

/// The judged answers of one base.
#[derive(Debug)]
pub struct Judged<'a> {
    /// The answers that are compared.
    pub entries: Vec<&'a Entry>,
    /// Two server addresses agree, and another answer does not.
    pub is_refuted: bool,
    /// From how far out they are.
    pub place: Place,
    /// Another influence on them than the NATs, if there is one.
    pub oddity: Option<Remains>,
}

impl View<'_> {
    /// More answers than the judge has room for.
    #[must_use]
    pub fn is_flooded(&self) -> bool {
        self.world.servers.len() * self.world.bases.len() > MAX_REQUESTS
    }

    /// Whether the host was seen as it is: at the address that it sends from, as far as that is known,
    /// and with its own port where that is known.
    #[must_use]
    pub fn is_own(&self, seen: &Seen) -> bool {
        let (base, ip) = (seen.base.ip(), seen.mapped.ip());
        let is_its_address = if base.is_unspecified() {
            self.locals.contains(&ip)
        } else {
            ip == base
        };
        is_its_address && keeps_port(seen)
    }

    /// Whether the host was seen at an address of its own, with its own port, though it sends from
    /// another one: it translates, or does not know where it sends from.
    #[must_use]
    pub fn is_elsewhere(&self, seen: &Seen) -> bool {
        self.is_local(seen) && keeps_port(seen) && !self.is_own(seen)
    }

    fn is_local(&self, seen: &Seen) -> bool {
        let ip = seen.mapped.ip();
        ip == seen.base.ip() || self.locals.contains(&ip)
    }

    /// Set aside by the first rule.
    fn is_aside(&self, entry: &Entry) -> bool {
        let Seen { server, mapped, .. } = entry.seen;
        let ip = mapped.ip();
        let is_foreign = entry.origin == Origin::Foreign;
        let is_a_server = self.asked.iter().any(|asked| untranslated(*asked) == ip);
        let from_outside = server.ip().map(server_place) == Some(Place::Global);
        is_foreign && is_a_server || from_outside && place(ip) != Place::Global
    }

    /// From how far out an answer is.
    fn vantage(&self, entry: &Entry) -> Place {
        match place(entry.seen.mapped.ip()) {
            outer @ (Place::Global | Place::Link) => outer,
            _ if self.is_local(&entry.seen) => Place::Host,
            inside => inside,
        }
    }

    /// The answers that the verdict on a base can rest on.
    #[must_use]
    pub fn judged(&self, base: SocketAddr, external: IpAddr) -> Judged<'_> {
        let is_hidden = base.port() == 0;
        let all = self.believed(self.latest(base, external));
        let outermost = all.iter().map(|entry| self.vantage(entry)).min();
        let is_outermost = |entry: &&Entry| Some(self.vantage(entry)) == outermost;
        let at_place: Vec<&Entry> = all.into_iter().filter(is_outermost).collect();
        let is_crossed = |entry: &&Entry| !self.is_own(&entry.seen);
        let mut entries: Vec<&Entry> = at_place.iter().copied().filter(is_crossed).collect();
        // answers that contradict those which saw the host itself put all of them in doubt
        let is_refuted = !is_hidden && self.is_refuted(&at_place);
        if entries.is_empty() || is_refuted {
            entries = at_place;
        }
        let oddity = self.oddity(&entries);
        let place = outermost.unwrap_or(Place::Host);
        Judged {
            entries,
            is_refuted,
            oddity,
            place,
        }
    }

    /// The latest answer of each server, but for those that are set aside. Of a hidden base, those
    /// that show this address: each stands for itself.
    fn latest(&self, base: SocketAddr, external: IpAddr) -> Vec<&Entry> {
        let is_hidden = base.port() == 0;
        let of_base = |entry: &&Entry| {
            let Seen {
                base: of, mapped, ..
            } = entry.seen;
            of == base
                && is_possible(mapped)
                && mapped.is_ipv4() == external.is_ipv4()
                && (!is_hidden || mapped.ip() == external)
        };
        let order = |entry: &Entry| (entry.seen.sequence, entry.seen.mapped);
        let mut latest: Vec<&Entry> = Vec::new();
        for new in self.entries.iter().filter(of_base) {
            let server = new.seen.server;
            let same = |old: &&mut &Entry| old.seen.server == server && server != Server::Unnamed;
            match latest.iter_mut().find(same) {
                Some(old) if order(old) < order(new) => *old = new,
                Some(_) => {}
                None => latest.push(new),
            }
        }
        latest.retain(|entry| !self.is_aside(entry));
        latest
    }

    /// A server sees from no further out than it is: an answer that says otherwise counts only
    /// where there is no other.
    fn believed<'e>(&self, mut entries: Vec<&'e Entry>) -> Vec<&'e Entry> {
        let is_beyond_itself = |entry: &&Entry| {
            let server = entry.seen.server.ip().map(server_place);
            server.is_some_and(|server| self.vantage(entry) < server)
        };
        if !entries.iter().all(is_beyond_itself) {
            entries.retain(|entry| !is_beyond_itself(entry));
        }
        entries
    }

    fn is_refuted(&self, entries: &[&Entry]) -> bool {
        let unnamed_count = self.list != Some(Door::Text)
            && entries
                .iter()
                .all(|entry| entry.seen.server == Server::Unnamed);
        let are_two = |a: &Entry, b: &Entry| match (a.seen.server, b.seen.server) {
            (Server::At(a), Server::At(b)) => untranslated(a.ip()) != untranslated(b.ip()),
            (Server::Unnamed, Server::Unnamed) => unnamed_count && !std::ptr::eq(a, b),
            _ => false,
        };
        let differs = |a: &Entry| entries.iter().any(|b| a.seen.mapped != b.seen.mapped);
        let agrees = |a: &Entry| {
            entries
                .iter()
                .any(|b| a.seen.mapped == b.seen.mapped && are_two(a, b))
        };
        // two ports of one address that agree, and two that do not
        let are_ports = |a: &Entry, b: &Entry| match (a.seen.server, b.seen.server) {
            (Server::At(a), Server::At(b)) => a.ip() == b.ip() && a.port() != b.port(),
            _ => false,
        };
        let ports = |agree: bool| {
            entries.iter().any(|a| {
                let mut ports = entries.iter().filter(|b| are_ports(a, b));
                ports.any(|b| (a.seen.mapped == b.seen.mapped) == agree)
            })
        };
        ports(true) && ports(false) || entries.iter().any(|a| agrees(a) && differs(a))
    }

    /// Whether the answers of one base differ by the word of servers alone that stand against two
    /// which agree on another base.
    #[must_use]
    pub fn is_doubted(&self, base: SocketAddr, external: IpAddr) -> bool {
        let judged = self.judged(base, external).entries;
        let mut others: Vec<_> = self.entries.iter().map(|e| e.seen.base).collect();
        others.sort_unstable();
        others.dedup();
        others.retain(|other| *other != base && other.port() != 0);
        let others: Vec<_> = others
            .iter()
            .map(|other| self.judged(*other, external))
            .filter(|other| other.is_refuted && !self.has_known_ways(&other.entries))
            .collect();
        let ip = |entry: &Entry| entry.seen.server.ip().map(untranslated);
        let is_trusted = |entry: &&&Entry| {
            let stands_alone = |other: &Judged<'_>| {
                let named = || other.entries.iter().filter(|e| ip(e).is_some());
                let mut its = named().filter(|its| ip(its) == ip(entry));
                its.any(|its| {
                    named().any(|a| {
                        let agrees =
                            |b: &&&Entry| !std::ptr::eq(**b, *a) && b.seen.mapped == a.seen.mapped;
                        a.seen.mapped != its.seen.mapped && named().any(|b| agrees(&b))
                    })
                })
            };
            !others.iter().any(stands_alone)
        };
        let trusted: Vec<_> = judged.iter().filter(is_trusted).collect();
        let mut rest = trusted.iter().skip(1);
        let is_one_mapping = rest.all(|e| e.seen.mapped == trusted[0].seen.mapped);
        // a socket of both families reaches a name with a translator or without
        let is_of_both = base.ip().is_unspecified() && base.is_ipv6() && external.is_ipv4();
        let may_be_two_ways = is_of_both && trusted.iter().all(|e| ip(e).is_none());
        trusted.len() < judged.len() && (is_one_mapping || may_be_two_ways)
    }

    /// Another influence on these answers than the behaviour of the NATs, if there is one.
    fn oddity(&self, entries: &[&Entry]) -> Option<Remains> {
        let mut paths = Vec::new();
        for entry in entries {
            let Origin::Path { nats, is_collision } = &entry.origin else {
                return Some(Remains::Liar);
            };
            if *is_collision {
                return Some(Remains::Collision);
            }
            let own = self.world.ways[0].own;
            let is_of_own = own.is_some() && nats.first().map(|(nat, _)| *nat) == own;
            if is_of_own && self.is_own(&entry.seen) {
                return Some(Remains::OwnAddress);
            }
            if !paths.contains(nats) {
                paths.push(nats.clone());
            }
        }
        let nats: Vec<_> = paths.iter().flatten().collect();
        let mut past = nats.iter();
        if past.any(|(nat, time)| nats.iter().any(|(n, t)| n == nat && t != time)) {
            return Some(Remains::Rebinding);
        }
        let [first, others @ ..] = &paths[..] else {
            return None;
        };
        if others.is_empty() {
            return None;
        }
        let roamed = |path: &[(usize, u32)]| {
            let way = self.world.ways.get(ROAMED);
            way.is_some_and(|way| path.iter().any(|(nat, _)| way.nats.contains(nat)))
        };
        let has_known_ways = self.has_known_ways(entries);
        if others.iter().any(|other| other.len() != first.len()) {
            Some(Remains::OneScope)
        } else if paths.iter().any(|path| roamed(path)) {
            Some(Remains::Roaming)
        } else if has_known_ways {
            None
        } else {
            Some(Remains::Fork)
        }
    }

    /// Whether the evidence shows that answers of one base came by several ways.
    fn has_known_ways(&self, entries: &[&Entry]) -> bool {
        let Some(Seen { base, mapped, .. }) = entries.first().map(|entry| entry.seen) else {
            return false;
        };
        let of_family = |ip: &&IpAddr| ip.is_ipv4() == mapped.is_ipv4() && !is_of_link(**ip);
        let locals: BTreeSet<_> = self.locals.iter().filter(of_family).collect();
        let is_dual = base.is_ipv6() && mapped.is_ipv4();
        let sent_in_v4 = |entry: &&&Entry| entry.seen.server.ip().is_none_or(|ip| ip.is_ipv4());
        let is_mixed = is_dual && entries.iter().any(|entry| sent_in_v4(&entry));
        base.ip().is_unspecified() && (locals.len() > 1 || is_mixed || is_of_link(mapped.ip()))
    }

    /// Everything that the verdict says and that is not so.
    pub fn faults(&self) -> Vec<(Statement, Fault)> {
        let mut faults = Vec::new();
        for base in &self.verdict.bases {
            self.base_faults(base, &mut faults);
        }
        self.kind_faults(&mut faults);
        self.pooling_faults(&mut faults);
        faults.sort_unstable();
        faults.dedup();
        faults
    }

    fn base_faults(&self, verdict: &BaseVerdict, faults: &mut Vec<(Statement, Fault)>) {
        let judged = self.judged(verdict.base, verdict.external);
        let crossed = judged.crossed(verdict.external);
        let fault = |statement| judged.fault(statement, verdict.external);
        let mut say = |statement, is_right: bool| {
            if !is_right {
                faults.push((statement, fault(statement)));
            }
        };
        say(Statement::External, crossed.is_some());
        let crossed = crossed
            .or_else(|| judged.crossed_by_any())
            .unwrap_or_default();
        let truth = self.maps(&crossed);
        let collides = judged.oddity == Some(Remains::Collision);
        let mut ips: Vec<_> = judged.entries.iter().map(|e| e.seen.server).collect();
        ips.retain(|server| *server != Server::Unnamed);
        let all_named = ips.len() == judged.entries.len();
        let ips: BTreeSet<_> = ips.iter().map(|s| s.ip().map(untranslated)).collect();
        if verdict.maps == Maps::Independent && all_named && ips.len() < 2 {
            // whatever it answered, it was asked twice
            faults.push((Statement::Cone, Fault::Wrong));
            return;
        }
        let is_shown = !self.is_doubted(verdict.base, verdict.external);
        if verdict.maps.is_dependent() && !truth.is_dependent() && !collides && !is_shown {
            faults.push((Statement::Symmetric, Fault::Wrong));
            return;
        }
        let mut say = |statement, is_right: bool| {
            if !is_right {
                faults.push((statement, fault(statement)));
            }
        };
        match verdict.maps {
            Maps::Unknown => {}
            Maps::Independent => say(Statement::Cone, !truth.is_dependent() && !collides),
            dependent if !truth.is_dependent() && !collides => {
                say(Statement::Symmetric, !dependent.is_dependent());
            }
            Maps::Differs => {}
            kind => say(
                Statement::Kind,
                kind == truth || collides && kind == Maps::ByPort,
            ),
        }
        if let Some(natted) = verdict.natted {
            say(Statement::Natted, natted != crossed.is_empty());
        }
        if let Some(kept) = verdict.port_kept {
            say(Statement::PortKept, Some(kept) == judged.keeps_port());
        }
        say(
            Statement::Allocation,
            verdict.allocates == Allocates::Unknown
                || crossed
                    .iter()
                    .any(|nat| self.explains(*nat, verdict.allocates)),
        );
    }

    fn kind_faults(&self, faults: &mut Vec<(Statement, Fault)>) {
        let verdict = &self.verdict;
        if verdict.kind == Kind::Blocked {
            let fault = match (self.list, self.is_silent) {
                (None, true) => Fault::Remains(Remains::AllDead),
                (Some(_), _) => Fault::Remains(Remains::SilentList),
                _ => Fault::Wrong,
            };
            if !self.world.is_blocked() {
                faults.push((Statement::Blocked, fault));
            }
            return;
        }
        let Some(primary) = verdict.primary() else {
            return;
        };
        let judged = self.judged(primary.base, primary.external);
        let crossed = judged.crossed(primary.external);
        let crossed = crossed
            .or_else(|| judged.crossed_by_any())
            .unwrap_or_default();
        let whole = self.whole_ways(primary.base, primary.external);
        let collides = judged.oddity == Some(Remains::Collision);
        let (statement, is_right) = match verdict.kind {
            Kind::Open => (
                Statement::Open,
                whole.iter().all(Vec::is_empty) && place(primary.external) == Place::Global,
            ),
            Kind::Cone => (
                Statement::Cone,
                whole
                    .iter()
                    .all(|way| !way.is_empty() && !self.maps(way).is_dependent()),
            ),
            Kind::Symmetric => (
                Statement::Symmetric,
                self.maps(&crossed).is_dependent() || collides,
            ),
            _ => return,
        };
        if !is_right {
            faults.push((statement, judged.fault(statement, primary.external)));
        }
    }

    fn pooling_faults(&self, faults: &mut Vec<(Statement, Fault)>) {
        let Some(primary) = self.verdict.primary() else {
            return;
        };
        // it is said of a local address across its ports
        let of_address = |entry: &&Entry| {
            entry.seen.base.ip() == primary.base.ip()
                && entry.seen.mapped.is_ipv4() == primary.external.is_ipv4()
                && place(entry.seen.mapped.ip()) == place(primary.external)
                && is_possible(entry.seen.mapped)
                && !self.is_aside(entry)
        };
        let entries: Vec<_> = self.entries.iter().filter(of_address).collect();
        let honest = entries.iter().filter_map(|entry| path(entry));
        let crossed: Vec<usize> = honest.max_by_key(Vec::len).unwrap_or_default();
        let draws = |nat: &usize| {
            let nat = &self.world.nats[*nat];
            nat.pool().len() > 1 && nat.behaviour().pooling == Pooling::Arbitrary
        };
        let is_right = match self.verdict.pools {
            Pools::Unknown => true,
            // an outer NAT that pairs shows one address as long as the inner one happened to keep
            // one
            Pools::Paired => !crossed.last().is_some_and(draws),
            // and with a pool it shows several where the inner one drew several
            Pools::Arbitrary => {
                let last = crossed.last().map(|nat| &self.world.nats[*nat]);
                crossed.iter().any(draws) && last.is_some_and(|nat| nat.pool().len() > 1)
            }
        };
        if is_right {
            return;
        }
        // contradictory answers show no pool
        let judged = self.judged(primary.base, primary.external);
        let oddity = self.oddity(&entries).filter(|_| !judged.is_refuted);
        let fault = oddity.map_or(Fault::Wrong, Fault::Remains);
        faults.push((Statement::Pooling, fault));
    }

    /// The NATs between a base and everywhere, on each way that leads to where `external` was seen.
    fn whole_ways(&self, base: SocketAddr, external: IpAddr) -> Vec<Vec<usize>> {
        let mut ways = Vec::new();
        let judged = self.judged(base, external);
        let mut servers = judged.entries.iter().map(|e| e.seen.server.ip());
        let has_v4 = |of: &Base| of.sources.iter().any(|(source, _)| source.is_ipv4());
        let mut of_base = self.world.bases.iter().filter(|of| of.reported == base);
        let is_by_translator =
            !of_base.any(has_v4) || servers.any(|ip| ip.is_some_and(|ip| ip.is_ipv6()));
        for of in self.world.bases.iter().filter(|of| of.reported == base) {
            for (source, way) in &of.sources {
                let mut taken = vec![&self.world.ways[*way]];
                if *way == 0 && self.world.event.is_some_and(|(_, e)| e == Event::Roaming) {
                    taken.extend(self.world.ways.get(ROAMED));
                }
                // an address of the other family, or of the link, leads elsewhere
                let by_translator = is_by_translator && external.is_ipv4();
                let leads = source.is_ipv4() == external.is_ipv4() || by_translator;
                if !leads || is_of_link(source.ip()) != is_of_link(external) {
                    continue;
                }
                for way in taken {
                    // a translator is on the way to the other family only
                    let translates = source.is_ipv6() && way.outermost() == Net::Global;
                    let is_direct = translates && external.is_ipv6();
                    ways.push(if is_direct {
                        Vec::new()
                    } else {
                        way.all().collect()
                    });
                }
            }
        }
        if let Some(crossed) = judged.crossed(external) {
            ways.retain(|way| way.starts_with(&crossed));
        }
        ways
    }

    /// The strictest of these.
    pub fn maps(&self, nats: &[usize]) -> Maps {
        let maps = nats.iter().map(|nat| self.world.nats[*nat].maps());
        maps.max().unwrap_or(Maps::Independent)
    }

    fn explains(&self, nat: usize, allocates: Allocates) -> bool {
        use PortAssignment::{Overloading, Preserving, Random, Sequential};
        match (allocates, self.world.nats[nat].behaviour().assignment) {
            (Allocates::Preserving, Preserving | Overloading) => true,
            (Allocates::Random, Random | Preserving | Overloading) => true,
            (Allocates::Sequential(seen), Sequential { step, traffic }) => {
                let (seen, step) = (i32::from(seen), i32::from(step));
                seen > 0 && seen % step == 0 && seen <= step * (1 + i32::from(traffic))
            }
            _ => false,
        }
    }
}

/// The NATs that an honest answer crossed.
fn path(entry: &Entry) -> Option<Vec<usize>> {
    match &entry.origin {
        Origin::Path { nats, .. } => Some(nats.iter().map(|(nat, _)| *nat).collect()),
        Origin::Foreign => None,
    }
}

impl Judged<'_> {
    /// The NATs that packets crossed on the way to where `external` was seen.
    pub fn crossed(&self, external: IpAddr) -> Option<Vec<usize>> {
        let mut seen = self
            .entries
            .iter()
            .filter(|e| e.seen.mapped.ip() == external);
        seen.find_map(|entry| path(entry))
    }

    fn crossed_by_any(&self) -> Option<Vec<usize>> {
        self.entries.iter().find_map(|entry| path(entry))
    }

    /// Whether the right answers kept the port of the base.
    fn keeps_port(&self) -> Option<bool> {
        let honest = self.entries.iter().filter(|entry| path(entry).is_some());
        honest
            .map(|entry| entry.seen.mapped.port() == entry.seen.base.port())
            .min()
    }

    /// Whether wrong answers are not fewer than the right ones.
    fn is_outvoted(&self, external: IpAddr) -> bool {
        let votes = |ip: IpAddr| {
            let of_ip = self.entries.iter().filter(|e| e.seen.mapped.ip() == ip);
            let mut servers: Vec<_> = of_ip.map(|e| e.seen.server.ip()).collect();
            servers.sort_unstable();
            // answers that name no server count each
            servers.dedup_by(|a, b| a == b && a.is_some());
            servers.len()
        };
        let honest = self.entries.iter().filter(|entry| path(entry).is_some());
        let most = honest.map(|entry| votes(entry.seen.mapped.ip())).max();
        votes(external) >= most.unwrap_or_default()
    }

    /// Whether a wrong statement is one that a rule can know to be wrong.
    fn fault(&self, statement: Statement, external: IpAddr) -> Fault {
        let Some(oddity) = self.oddity else {
            return Fault::Wrong;
        };
        if !self.is_refuted {
            return Fault::Remains(oddity);
        }
        match statement {
            Statement::PortKept => Fault::Remains(Remains::PortOfAContradiction),
            Statement::External | Statement::Natted
                if self.crossed(external).is_none() && self.is_outvoted(external) =>
            {
                Fault::Remains(Remains::LiarsAgree)
            }
            _ => Fault::Wrong,
        }
    }
}

impl World {
    /// No way of any base leads anywhere outside.
    pub fn is_blocked(&self) -> bool {
        let mut ways = self.bases.iter().flat_map(|base| &base.sources);
        ways.all(|(_, way)| {
            let way = &self.ways[*way];
            !way.nets
                .iter()
                .any(|net| net.is_global() && way.is_open_to(*net))
        })
    }
}
