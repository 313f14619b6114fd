//! Two hosts that try to meet: every base of both sides, packet by packet, beside the outlook and
//! the cause of failure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use nat_model::{Behaviour, Dependence, FilterState, Hairpinning, PortAssignment};

use nat_worlds::door;
use nat_worlds::nat::Nat;
use nat_worlds::plain::{
    Checked, Door, End, Expect, Facts, Filters, List, Listed, ListedKind, Maps, Seen, Server,
};
use nat_worlds::random::Random;

/// A network from which no server is asked.
const QUIET: u8 = 4;
/// As long as two agents check.
const TURNS: usize = 20;

/// A socket of one side.
#[derive(Debug, Clone)]
struct Base {
    socket: SocketAddr,
    /// The innermost first.
    nats: Vec<usize>,
    /// The network it stands in: those of one network reach each other directly.
    lan: u8,
    targets: Vec<SocketAddr>,
}

#[derive(Debug, Clone, Default)]
struct Side {
    bases: Vec<Base>,
    /// A firewall drops UDP both ways.
    is_blocked: bool,
    /// Sends nothing and answers nothing.
    is_silent: bool,
    /// Packets reach it from its own network only.
    is_deaf: bool,
    is_connected: bool,
    checked: Checked,
}

#[derive(Debug, Clone)]
struct Pair {
    nats: Vec<Nat>,
    sides: [Side; 2],
    /// The filtering of the first base's NAT is known.
    told: [Option<Filters>; 2],
    facts: [Facts; 2],
    /// What each side advertises.
    lists: [List; 2],
    /// Both sides advertise what the servers saw, as the outlook takes for granted.
    is_advertised: bool,
}

impl Pair {
    fn random(random: &mut Random) -> Self {
        let mut pair = Self {
            nats: Vec::new(),
            sides: [Side::default(), Side::default()],
            told: [None; 2],
            facts: [Facts::default(), Facts::default()],
            lists: [empty(), empty()],
            is_advertised: true,
        };
        // some peers are neighbours, and some share the carrier's NAT
        let shared = random.below(10);
        for side in 0..2 {
            let lan = if shared == 0 { 0 } else { side as u8 };
            pair.add_v4(side, lan, shared, random);
            if random.chance(20) {
                pair.add_v4(side, 2 + side as u8, 9, random);
            }
            if random.chance(10) {
                // a network that both may share, from which no server is asked
                pair.add_v4(side, QUIET, 9, random);
                pair.is_advertised = false;
            }
            if random.chance(35) {
                pair.add_v6(side, random);
            }
            pair.sides[side].is_blocked = random.chance(8);
        }
        for side in 0..2 {
            pair.gather(side, random);
        }
        pair
    }

    fn nat(&mut self, mapping: Dependence, pool: IpAddr, random: &mut Random) -> usize {
        // a NAT that maps by destination is taken to filter as strictly, where nothing shows how
        let filtering = match mapping {
            Dependence::EndpointIndependent => random.one_of(&Dependence::ALL),
            _ => Dependence::AddressAndPortDependent,
        };
        let behaviour = Behaviour::new(mapping, filtering)
            .with_assignment(random.one_of(&[PortAssignment::Preserving, PortAssignment::Random]))
            .with_filter_state(
                random.one_of(&[FilterState::OfInternalEndpoint, FilterState::OfMapping]),
            )
            .with_hairpinning(random.one_of(&[Hairpinning::None, Hairpinning::ExternalSource]));
        self.nats.push(Nat::new(behaviour, vec![pool], 0));
        self.nats.len() - 1
    }

    fn add_v4(&mut self, side: usize, lan: u8, shared: u64, random: &mut Random) {
        let any = Dependence::ALL;
        let host = 5 + side as u8;
        let port = 50_000 + 10 * u16::from(lan) + side as u16;
        if random.chance(15) && shared != 0 {
            let socket = SocketAddr::new([192, 0, 2, 10 + lan * 10 + host].into(), port);
            self.push(side, socket, Vec::new(), 100 + lan * 10 + host);
            return;
        }
        // one network's addresses are often those of another network
        let is_common = lan != QUIET && random.chance(20);
        let third = if is_common { 1 } else { 1 + lan };
        let socket = SocketAddr::new([192, 168, third, host].into(), port);
        let first = self.sides[0].bases.first().map(|base| base.nats.clone());
        let shares = side == 1 && lan < 2 && shared < 2;
        let nats = match first {
            Some(nats) if shares && shared == 0 => nats,
            Some(nats) if shares && !nats.is_empty() => {
                // a router of its own, behind the same carrier
                let outer = *nats.last().expect("a NAT");
                let inner = [100, 64, lan, 7].into();
                vec![self.nat(random.one_of(&any), inner, random), outer]
            }
            _ if random.chance(25) => {
                let inner = self.nat(random.one_of(&any), [100, 64, lan, 7].into(), random);
                let outer = self.nat(random.one_of(&any), [203, 0, 113, 7 + lan].into(), random);
                vec![inner, outer]
            }
            _ => vec![self.nat(random.one_of(&any), [203, 0, 113, 7 + lan].into(), random)],
        };
        self.push(side, socket, nats, lan);
    }

    fn add_v6(&mut self, side: usize, random: &mut Random) {
        let ip: IpAddr = [0x2001, 0xdb8, side as u16, 0, 0, 0, 0, 5].into();
        let mut nats = Vec::new();
        if random.chance(60) {
            // a firewall with state, which translates nothing
            let filtering = random.one_of(&Dependence::ALL);
            let behaviour = Behaviour::new(Dependence::EndpointIndependent, filtering);
            self.nats.push(Nat::new(behaviour, vec![ip], 0));
            nats.push(self.nats.len() - 1);
        }
        self.push(side, SocketAddr::new(ip, 51_000), nats, 200 + side as u8);
    }

    fn push(&mut self, side: usize, socket: SocketAddr, nats: Vec<usize>, lan: u8) {
        self.sides[side].bases.push(Base {
            socket,
            nats,
            lan,
            targets: Vec::new(),
        });
    }

    /// Asks two servers, the first on two ports, and lists what comes back.
    fn gather(&mut self, side: usize, random: &mut Random) {
        let mut facts = Facts::default();
        let mut listed = Vec::new();
        let mut sequence = 0;
        for base in self.sides[side].bases.clone() {
            facts.locals.push(base.socket.ip());
            listed.push((ListedKind::Host, base.socket));
            if base.lan == QUIET {
                continue;
            }
            // one socket for every address of the host
            let has_one = self.sides[side].bases.len() == 1;
            let wildcard = SocketAddr::new([0, 0, 0, 0].into(), base.socket.port());
            let is_wildcard = has_one && base.socket.is_ipv4() && random.chance(20);
            let reported = if is_wildcard { wildcard } else { base.socket };
            let servers: [SocketAddr; 3] = match base.socket {
                SocketAddr::V4(_) => [
                    "198.51.100.1:3478",
                    "198.51.100.1:3479",
                    "198.51.100.2:3478",
                ],
                SocketAddr::V6(_) => [
                    "[2001:db8:9::1]:3478",
                    "[2001:db8:9::1]:3479",
                    "[2001:db8:9::2]:3478",
                ],
            }
            .map(|text| text.parse().expect("an address"));
            for server in servers {
                if self.sides[side].is_blocked {
                    facts.asked.push((Server::At(server), End::TimedOut));
                    continue;
                }
                let mut mapped = base.socket;
                for nat in &base.nats {
                    mapped = self.nats[*nat].send(mapped, server, random).external;
                }
                facts.asked.push((Server::At(server), End::Answered));
                facts.seen.push(Seen {
                    base: reported,
                    server: Server::At(server),
                    mapped,
                    sequence,
                    resent: false,
                });
                sequence += 1;
                let reflexive = (ListedKind::Reflexive(base.socket), mapped);
                if mapped != base.socket && !listed.contains(&reflexive) {
                    listed.push(reflexive);
                }
            }
        }
        // a peer that hides what the servers saw
        if side == 1 && random.chance(10) {
            listed.retain(|(kind, _)| *kind == ListedKind::Host);
            self.is_advertised = false;
        }
        let reachable = listed.clone();
        if side == 1 && random.chance(15) {
            // the relay does not work here
            listed.push((
                ListedKind::Relayed,
                "192.0.2.99:49152".parse().expect("an address"),
            ));
        }
        let candidate = |(kind, address): &(ListedKind, SocketAddr)| Listed {
            kind: *kind,
            address: Some(*address),
            server: Server::Unnamed,
            session: None,
        };
        self.lists[side].candidates = listed.iter().map(candidate).collect();
        let strictest = self.sides[side].bases[0].nats.first();
        self.told[side] = strictest
            .filter(|_| self.sides[side].bases.len() == 1 && random.chance(30))
            .filter(|_| self.sides[side].bases[0].nats.len() == 1)
            .map(|nat| self.filters(*nat));
        self.facts[side] = facts;
        for address in reachable.iter().map(|(_, address)| *address) {
            for base in &mut self.sides[1 - side].bases {
                if base.socket.is_ipv4() == address.is_ipv4() {
                    base.targets.push(address);
                }
            }
        }
    }

    /// A packet from a base to an address: which base it reaches, and from where it seems to come.
    fn deliver(
        &mut self,
        (side, at): (usize, usize),
        to: SocketAddr,
        random: &mut Random,
    ) -> Option<((usize, usize), SocketAddr)> {
        let base = self.sides[side].bases[at].clone();
        if self.sides[side].is_blocked || self.sides[1 - side].is_blocked {
            return None;
        }
        let neighbour = self.find(|other| other.socket == to && other.lan == base.lan);
        if let Some(neighbour) = neighbour {
            return Some((neighbour, base.socket));
        }
        let is_private = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.is_private());
        if is_private(to.ip()) {
            return None;
        }
        let mut source = base.socket;
        let mut turned = None;
        for nat in &base.nats {
            source = self.nats[*nat].send(source, to, random).external;
            if self.nats[*nat].is_own(to.ip()) {
                turned = Some(*nat);
                break;
            }
        }
        if turned.is_some_and(|nat| self.nats[nat].behaviour().hairpinning == Hairpinning::None) {
            return None;
        }
        let reached = match turned {
            Some(nat) => self.inward(nat, source, to),
            None => self.enter(source, to),
        }?;
        (!self.sides[reached.0].is_deaf).then_some((reached, source))
    }

    fn find(&self, is_it: impl Fn(&Base) -> bool) -> Option<(usize, usize)> {
        let all = self.sides.iter().enumerate();
        let mut all = all.flat_map(|(n, side)| {
            let bases = side.bases.iter().enumerate();
            bases.map(move |(at, base)| ((n, at), base))
        });
        all.find(|(_, base)| is_it(base)).map(|(place, _)| place)
    }

    fn enter(&self, source: SocketAddr, to: SocketAddr) -> Option<(usize, usize)> {
        if let Some(open) = self.find(|base| base.nats.is_empty() && base.socket == to) {
            return Some(open);
        }
        let outermost = |base: &Base| {
            let last = base.nats.last();
            last.is_some_and(|nat| self.nats[*nat].is_own(to.ip()))
        };
        let (side, at) = self.find(outermost)?;
        let nat = *self.sides[side].bases[at].nats.last()?;
        self.inward(nat, source, to)
    }

    /// Through this NAT and those behind it.
    fn inward(&self, nat: usize, source: SocketAddr, to: SocketAddr) -> Option<(usize, usize)> {
        let internal = self.nats[nat].receive(source, to)?;
        let stands_behind =
            |base: &Base| base.nats.first() == Some(&nat) && base.socket == internal;
        if let Some(base) = self.find(stands_behind) {
            return Some(base);
        }
        let behind = |base: &Base| {
            let mut steps = base.nats.windows(2);
            steps.any(|step| step[1] == nat && self.nats[step[0]].is_own(internal.ip()))
        };
        let (side, at) = self.find(behind)?;
        let nats = &self.sides[side].bases[at].nats;
        let next = nats.iter().position(|n| *n == nat)?.checked_sub(1)?;
        self.inward(nats[next], source, internal)
    }

    /// Both agents check what they know, and learn every source they hear from (RFC 8445 section
    /// 7.3.1.3); a check succeeds if its answer comes from where it went (section 7.2.5.2.1).
    fn connects(&mut self, random: &mut Random) -> bool {
        for turn in 0..TURNS {
            let side = turn % 2;
            if self.sides[side].is_silent {
                continue;
            }
            for at in 0..self.sides[side].bases.len() {
                for target in self.sides[side].bases[at].targets.clone() {
                    self.check((side, at), target, random);
                }
            }
        }
        self.sides.iter().all(|side| side.is_connected)
    }

    fn check(&mut self, from: (usize, usize), target: SocketAddr, random: &mut Random) {
        let checked = &mut self.sides[from.0].checked;
        checked.sent += 1;
        checked.sent_since_received += u32::from(checked.received > 0);
        let Some((reached, source)) = self.deliver(from, target, random) else {
            return;
        };
        if reached.0 == from.0 || self.sides[reached.0].is_silent {
            return;
        }
        let peer = &mut self.sides[reached.0];
        peer.checked.received += 1;
        let targets = &mut peer.bases[reached.1].targets;
        if !targets.contains(&source) {
            targets.push(source);
        }
        let answer = self.deliver(reached, source, random);
        if answer == Some((from, target)) {
            self.sides[from.0].checked.answered += 1;
            self.sides[from.0].is_connected = true;
        }
    }

    fn filters(&self, nat: usize) -> Filters {
        match self.nats[nat].behaviour().filtering {
            Dependence::EndpointIndependent => Filters::Independent,
            Dependence::AddressDependent => Filters::ByAddress,
            Dependence::AddressAndPortDependent => Filters::ByPort,
        }
    }

    fn maps(&self, base: &Base) -> Maps {
        let maps = base.nats.iter().map(|nat| self.nats[*nat].maps());
        maps.max().unwrap_or(Maps::Independent)
    }

    /// Whether this holds for all pairs of bases of one family, if there are any.
    fn all_pairs(&self, holds: impl Fn(&Base, &Base) -> bool) -> bool {
        let [ours, theirs] = &self.sides;
        let mut pairs = ours.bases.iter().flat_map(|a| {
            let of_family = |b: &&Base| a.socket.is_ipv4() == b.socket.is_ipv4();
            theirs.bases.iter().filter(of_family).map(move |b| (a, b))
        });
        let mut rest = pairs.by_ref().peekable();
        rest.peek().is_some() && rest.all(|(a, b)| holds(a, b))
    }

    fn are_apart(a: &Base, b: &Base) -> bool {
        a.lan != b.lan && a.nats.last().is_none_or(|nat| b.nats.last() != Some(nat))
    }

    /// What the two gatherings decide. Two NATs that map by destination, and filter as strictly,
    /// need a relay, if no address shows that the two may be neighbours; two sides that keep one
    /// mapping meet.
    fn expected(&self) -> Option<Expect> {
        if self.sides.iter().any(|side| side.is_blocked) {
            return None;
        }
        let prefix = |base: &Base| match base.socket.ip() {
            IpAddr::V4(ip) => u128::from(ip.to_bits() >> 8),
            IpAddr::V6(ip) => ip.to_bits() >> 64,
        };
        let is_dependent = |base: &Base| self.maps(base).is_dependent();
        let needs_relay = |a: &Base, b: &Base| {
            is_dependent(a) && is_dependent(b) && Self::are_apart(a, b) && prefix(a) != prefix(b)
        };
        let meets =
            |a: &Base, b: &Base| !is_dependent(a) && !is_dependent(b) && Self::are_apart(a, b);
        if self.all_pairs(needs_relay) {
            Some(Expect::Relay)
        } else if self.all_pairs(Self::are_apart) && !self.all_pairs(|a, b| !meets(a, b)) {
            Some(Expect::Direct)
        } else {
            None
        }
    }
}

fn empty() -> List {
    List {
        door: Door::Values,
        candidates: Vec::new(),
        asked: None,
    }
}

#[derive(Debug, Default)]
struct Line {
    said: u64,
    expected: u64,
    missing: u64,
    wrong: u64,
}

/// A line for each path and each cause.
#[derive(Debug, Default)]
struct Table {
    lines: BTreeMap<String, Line>,
    examples: Vec<String>,
}

impl Table {
    fn line(&mut self, name: &str) -> &mut Line {
        self.lines.entry(name.to_owned()).or_default()
    }

    fn wrong(&mut self, name: &str, example: String) {
        self.line(name).wrong += 1;
        self.examples.push(example);
    }

    fn print(&self) -> String {
        let mut text = format!(
            "{:<18}{:>9}{:>10}{:>9}{:>9}\n",
            "", "said", "decidable", "missing", "wrong"
        );
        for (name, line) in &self.lines {
            let Line {
                said,
                expected,
                missing,
                wrong,
            } = line;
            text += &format!("{name:<18}{said:>9}{expected:>10}{missing:>9}{wrong:>9}\n");
        }
        text
    }
}

fn judge(seed: u64, table: &mut Table) {
    let mut random = Random::new(seed);
    let pair = Pair::random(&mut random);
    let connects = pair.clone().connects(&mut random.clone());
    let host = |side: usize| (&pair.facts[side], pair.told[side]);
    let example = |what: &str, reason: &str| {
        let sides = &pair.sides;
        format!(
            "pair {seed}: {what} {reason}, connects {connects}\n{:#?}\n{sides:#?}",
            pair.nats
        )
    };
    let (outlook, reason) = door::outlook(host(0), host(1));
    let (mirrored, _) = door::outlook(host(1), host(0));
    assert_eq!(outlook, mirrored, "pair {seed}: the two sides disagree");
    if pair.is_advertised {
        let name = format!("{outlook:?}").to_lowercase();
        table.line(&name).said += 1;
        let is_right = match outlook {
            Expect::Direct => connects,
            Expect::Relay => !connects,
            Expect::Undecided => true,
        };
        if !is_right {
            table.wrong(&name, example(&name, reason));
        }
    }
    if let Some(expected) = pair.expected().filter(|_| pair.is_advertised) {
        let line = table.line(&format!("{expected:?}").to_lowercase());
        line.expected += 1;
        if outlook != expected {
            line.missing += 1;
            table
                .examples
                .push(example(&format!("missing {expected:?}"), reason));
        }
    }
    let mut failing = pair.clone();
    match random.below(4) {
        0 => failing.sides[1].is_silent = true,
        1 => failing.sides[1].is_deaf = true,
        _ => {}
    }
    if failing.connects(&mut random) {
        return;
    }
    let checked = failing.sides[0].checked;
    let cause = door::cause(host(0), &pair.lists[1], checked);
    table.line(cause).said += 1;
    if !is_cause(&failing, connects, cause) {
        table.wrong(cause, example(cause, reason));
    }
}

/// Whether the attempt failed for this reason.
fn is_cause(failed: &Pair, would_connect: bool, cause: &str) -> bool {
    let [ours, theirs] = &failed.sides;
    let is_dependent = |base: &Base| failed.maps(base).is_dependent();
    let is_strict = |base: &Base| {
        let mut nats = base.nats.iter();
        !is_dependent(base) && nats.any(|nat| failed.filters(*nat) == Filters::ByPort)
    };
    // no mapping of it was advertised, so only a neighbour reaches it
    let is_quiet = |a: &Base, b: &Base| a.lan == QUIET || b.lan == QUIET;
    // past both NATs
    let relayed = |listed: &Listed| listed.kind == ListedKind::Relayed;
    let has_relay = failed.lists[1].candidates.iter().any(relayed);
    match cause {
        "udp_blocked" => ours.is_blocked,
        "both_symmetric" | "filtered_here" if has_relay => false,
        "both_symmetric" => {
            let is_so = |a: &Base, b: &Base| is_dependent(a) && is_dependent(b);
            !would_connect && failed.all_pairs(|a, b| is_quiet(a, b) || is_so(a, b))
        }
        "filtered_here" => {
            let is_so = |a: &Base, b: &Base| is_strict(a) && is_dependent(b);
            !would_connect && failed.all_pairs(|a, b| is_quiet(a, b) || is_so(a, b))
        }
        "peer_silent" => theirs.is_silent || theirs.is_blocked,
        "checks_one_way" => ours.checked.received > 0 && ours.checked.answered == 0,
        "unknown" => true,
        _ => false,
    }
}

/// Pairs whose sides have one base and two, neighbours among them, in both families.
#[test]
fn no_outlook_and_no_cause_is_wrong_between_all_bases_of_two_hosts() {
    let mut table = Table::default();
    let count = super::count() / 4;
    for seed in 0..count {
        judge(seed, &mut table);
    }
    let text = table.print();
    println!("{count} pairs of hosts\n{text}");
    table.examples.sort_by_key(String::len);
    let example = table.examples.first().map_or("", String::as_str);
    assert!(
        example.is_empty(),
        "{} faults\n{text}\n{example}",
        table.examples.len()
    );
}
