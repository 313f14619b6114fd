//! The judge beside the second reading: random gatherings and lists, equal in all six values, the
//! rule and every base.

use std::net::{IpAddr, SocketAddr};

use proptest::collection::vec;
use proptest::prelude::*;

use crate::reference::{
    self,
    compare::{self, Open},
};
use nat_worlds::door;
use nat_worlds::plain::{Door, End, Facts, List, Listed, ListedKind, Seen, Server};
use nat_worlds::random::Random;

/// What one random fact is made of.
type Gene = [u8; 6];

const NAMES: [&str; 2] = ["stun.example.com", "stun.example.net"];

// few values each, so that facts meet

fn a_local(gene: u8) -> IpAddr {
    let ips = [
        "192.168.1.5",
        "192.168.1.5",
        "203.0.113.7",
        "100.64.0.9",
        "2001:db8::5",
        "fe80::5",
        "127.0.0.1",
        "0.0.0.0",
        "192.168.1.6",
    ];
    ips[usize::from(gene) % ips.len()].parse().unwrap()
}

fn a_base(gene: u8) -> SocketAddr {
    let bases = [
        "192.168.1.5:50000",
        "192.168.1.5:50000",
        "192.168.1.5:50000",
        "192.168.1.5:50001",
        "203.0.113.7:50000",
        "100.64.0.9:50000",
        "0.0.0.0:50000",
        "[::]:50000",
        "[::]:50000",
        "[2001:db8::5]:50000",
        "[2001:db8::5]:50000",
        "0.0.0.0:0",
        "192.168.1.5:0",
    ];
    bases[usize::from(gene) % bases.len()].parse().unwrap()
}

fn a_mapped(gene: u8) -> SocketAddr {
    let mapped = [
        "203.0.113.7:50000",
        "203.0.113.7:50000",
        "203.0.113.7:50001",
        "203.0.113.8:50000",
        "203.0.113.8:41000",
        "100.64.0.9:50000",
        "100.64.0.9:50001",
        "100.64.3.7:50000",
        "192.168.1.5:50000",
        "192.168.1.5:50001",
        "10.7.0.4:50000",
        "[2001:db8::5]:50000",
        "[2001:db8::7]:50000",
        "[fd00::5]:50000",
        "[fe80::5]:50000",
        "[fe80::6]:50000",
        "169.254.7.7:50000",
        "127.0.0.1:50000",
        "198.51.100.1:41000",
        "0.0.0.0:50000",
        "203.0.113.7:0",
        "[::ffff:203.0.113.7]:50000",
    ];
    mapped[usize::from(gene) % mapped.len()].parse().unwrap()
}

fn a_server(gene: u8) -> Server {
    let servers = [
        "198.51.100.1:3478",
        "198.51.100.1:3479",
        "198.51.100.2:3478",
        "198.51.100.2:3478",
        "198.51.100.3:3478",
        "100.64.0.1:3478",
        "100.64.0.2:3478",
        "192.168.1.9:3478",
        "192.168.1.10:3478",
        "203.0.113.7:3478",
        "[2001:db8:1::1]:3478",
        "[2001:db8:1::2]:3478",
        "[64:ff9b::c633:6401]:3478",
        "[64:ff9b::c633:6401]:3479",
        "[64:ff9b::c633:6409]:3478",
        "[fe80::9]:3478",
        "[fd00::9]:3478",
        "169.254.7.9:3478",
        "127.0.0.1:3478",
        "0.0.0.0:3478",
    ];
    let gene = usize::from(gene) % (servers.len() + 3);
    match servers.get(gene) {
        Some(address) => Server::At(address.parse().unwrap()),
        None if gene == servers.len() => Server::Named(NAMES[0], 3478),
        None if gene == servers.len() + 1 => Server::Named(NAMES[1], 3478),
        None => Server::Named(NAMES[1], 3479),
    }
}

fn an_end(gene: u8) -> End {
    use End::{Answered, Brief, Closed, Pending, Refused, TimedOut, Unreachable, Unresolved};
    let ends = [
        TimedOut,
        TimedOut,
        TimedOut,
        TimedOut,
        Unresolved,
        Unreachable,
        Brief,
        Pending,
        Closed,
        Refused,
        Answered,
    ];
    ends[usize::from(gene) % ends.len()]
}

/// One gathering in four heard nothing: it takes that to compare what is called blocked. Half of
/// the others have one or two bases and mappings, so that they decide something.
fn facts(genes: &[Gene]) -> Facts {
    let mut facts = Facts::default();
    let first = genes.first().copied().unwrap_or_default();
    let is_silent = first[5] % 4 == 0;
    let narrow = |gene: u8, few: u8| {
        if first[4] % 2 == 0 { gene % few } else { gene }
    };
    for gene in genes {
        match gene[0] % 16 {
            0 | 1 => facts.locals.push(a_local(gene[1])),
            2..=4 => facts.asked.push((a_server(gene[1]), an_end(gene[2]))),
            5 if is_silent => facts.rejected += u32::from(gene[1] < 16),
            _ if is_silent => facts.asked.push((a_server(gene[1]), an_end(gene[2] % 7))),
            _ => facts.seen.push(Seen {
                base: a_base(narrow(gene[1], 4)),
                server: a_server(narrow(gene[2], 5)),
                mapped: a_mapped(narrow(gene[3], 3)),
                sequence: u32::from(gene[4] % 3),
                resent: false,
            }),
        }
    }
    facts.seen.retain(is_sane);
    facts
}

/// The families fit: the request left in the family of the server, and only a translator answers in
/// another one.
fn is_sane(seen: &Seen) -> bool {
    let (base, mapped) = (seen.base.ip(), seen.mapped.ip().to_canonical());
    match seen.server.ip() {
        None => mapped.is_ipv4() == base.is_ipv4(),
        Some(ip) if ip.is_unspecified() => false,
        Some(IpAddr::V4(_)) => mapped.is_ipv4() && (base.is_ipv4() || base.is_unspecified()),
        Some(IpAddr::V6(ip)) => base.is_ipv6() && mapped.is_ipv4() == (ip.segments()[0] == 0x64),
    }
}

/// Candidates name a server by address, or none.
fn list(genes: &[Gene]) -> List {
    let first = genes.first().copied().unwrap_or_default();
    let sessions = [None, Some("aaaa"), Some("bbbb")];
    let sessions = if first[5] < 64 {
        &sessions[1..]
    } else {
        &sessions[..1]
    };
    let candidates = genes.iter().map(|gene| {
        let kind = match gene[0] % 12 {
            0..=2 => ListedKind::Host,
            3 if gene[1] < 16 => ListedKind::Relayed,
            _ => ListedKind::Reflexive(a_base(gene[1])),
        };
        let address = match kind {
            ListedKind::Host => Some(a_local(gene[3]))
                .filter(|_| gene[4] >= 16)
                .map(|ip| (ip, 50_000).into()),
            _ => Some(a_mapped(gene[3])),
        };
        let by_address = Some(a_server(gene[2])).filter(|s| s.ip().is_some() && gene[4] % 2 == 0);
        Listed {
            kind,
            address,
            server: by_address
                .filter(|_| kind != ListedKind::Host)
                .unwrap_or(Server::Unnamed),
            session: sessions[usize::from(gene[5]) % sessions.len()],
        }
    });
    List {
        door: Door::Values,
        // a quarter have host candidates only
        candidates: candidates
            .filter(|c| first[4] % 4 != 0 || c.kind == ListedKind::Host)
            .collect(),
        asked: [None, Some(0), Some(2), Some(5)][usize::from(first[5]) % 4],
    }
}

fn of_facts(genes: &[Gene]) -> Option<String> {
    let facts = facts(genes);
    let names = facts.seen.iter().any(|seen| seen.server.ip().is_none());
    let judge = door::verdict(&door::evidence(&facts));
    let open = Open {
        names,
        ..Open::default()
    };
    let difference = compare::difference(judge, reference::of_facts(&facts), open)?;
    Some(format!("{facts:#?}\n{difference}"))
}

fn of_list(genes: &[Gene]) -> Option<String> {
    let list = list(genes);
    let judge = door::verdict(&door::list(&list));
    let open = Open {
        // beside servers with an address, one without may be another port of theirs
        names: list.candidates.iter().any(|c| c.server.ip().is_none()),
        sessions: list.candidates.iter().any(|c| c.session.is_some()),
    };
    let difference = compare::difference(judge, reference::of_list(&list), open)?;
    Some(format!("{list:#?}\n{difference}"))
}

fn genes(random: &mut Random) -> Vec<Gene> {
    let len = random.below(24);
    (0..len)
        .map(|_| random.number().to_le_bytes()[..6].try_into().unwrap())
        .collect()
}

#[test]
fn names_tie_in_the_order_that_the_comparison_assumes() {
    assert!(NAMES.is_sorted_by_key(|name| door::name_order(name)));
}

#[test]
fn twenty_thousand_gatherings_and_lists_are_read_as_the_rules_are_written() {
    let mut differences = Vec::new();
    for seed in 0..10_000 {
        let genes = genes(&mut Random::new(seed));
        differences.extend(of_facts(&genes));
        differences.extend(of_list(&genes));
    }
    differences.sort_by_key(String::len);
    assert!(
        differences.is_empty(),
        "{} of 20000 differ, the shortest:\n{}",
        differences.len(),
        differences[0]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_gathering_is_read_as_the_rules_are_written(genes in vec(any::<Gene>(), 0..24)) {
        let difference = of_facts(&genes);
        prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }

    #[test]
    fn a_list_is_read_as_the_rules_are_written(genes in vec(any::<Gene>(), 0..24)) {
        let difference = of_list(&genes);
        prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }
}

/// The second reading gives what the vectors expect.
#[test]
fn the_second_reading_agrees_with_the_vectors() {
    crate::vectors::read_by(|input| match input {
        crate::vectors::Input::Facts(facts) => reference::of_facts(&facts),
        crate::vectors::Input::List(list) => reference::of_list(&list),
    });
}
