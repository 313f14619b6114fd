//! A world as each door of the judge shows it: evidence, and candidate lists of three kinds.

use std::net::SocketAddr;
use std::time::Duration;

use crate::reference;
use nat_worlds::door;
use nat_worlds::gather::{self, DEADLINE, Request};
use nat_worlds::network::World;
use nat_worlds::plain::{Door, Facts, List, Listed, ListedKind, Server, Verdict};
use nat_worlds::truth::{self, Entry, View};

/// Whose verdicts are checked.
#[derive(Clone, Copy)]
pub(crate) struct Reader {
    pub(crate) facts: fn(&Facts) -> Verdict,
    pub(crate) list: fn(&List) -> Verdict,
    /// The second reading knows nothing of the allocation of ports and of pools.
    pub(crate) is_judge: bool,
}

pub(crate) const JUDGE: Reader = Reader {
    facts: |facts| door::verdict(&door::evidence(facts)),
    list: |list| door::verdict(&door::list(list)),
    is_judge: true,
};
pub(crate) const SECOND_READING: Reader = Reader {
    facts: reference::of_facts,
    list: reference::of_list,
    is_judge: false,
};

/// The evidence as it is at `now`.
pub(crate) fn evidence<'a>(
    world: &'a World,
    requests: &[Request],
    now: Duration,
    reader: Reader,
) -> View<'a> {
    let (facts, answers) = gather::facts(world, requests, now);
    let entry = |(seen, number): (&_, &usize)| Entry {
        seen: *seen,
        origin: requests[*number].ended.clone().expect("an answer").origin,
    };
    View {
        world,
        list: None,
        entries: facts.seen.iter().zip(&answers).map(entry).collect(),
        locals: facts.locals.clone(),
        asked: facts
            .asked
            .iter()
            .filter_map(|(server, _)| server.ip())
            .collect(),
        verdict: (reader.facts)(&facts),
        is_silent: truth::is_silent(&facts),
    }
}

/// How a list shows the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Every answer, with the server's URL.
    WithUrls,
    /// Without a URL, and what equals another candidate is dropped (RFC 8445 section 5.1.3).
    Bare,
    /// Every line twice, in a text.
    InAText,
}

/// The list, and which answer each reflexive candidate is.
pub(crate) fn listed(world: &World, requests: &[Request], shown: Shown) -> (List, Vec<Entry>) {
    let (facts, answers) = gather::facts(world, requests, DEADLINE);
    let mut entries: Vec<Entry> = Vec::new();
    let mut sources: Vec<SocketAddr> = Vec::new();
    for base in &world.bases {
        sources.extend(base.sources.iter().map(|(source, _)| *source));
    }
    for (seen, number) in facts.seen.iter().zip(&answers) {
        let mut entry = Entry {
            seen: *seen,
            origin: requests[*number].ended.clone().expect("an answer").origin,
        };
        if shown != Shown::WithUrls {
            entry.seen.server = Server::Unnamed;
            let equals = |e: &Entry| (e.seen.base, e.seen.mapped) == (seen.base, seen.mapped);
            if sources.contains(&seen.mapped) || entries.iter().any(equals) {
                continue;
            }
        }
        entry.seen.sequence = 0;
        entries.push(entry);
    }
    if shown == Shown::InAText {
        entries = entries
            .iter()
            .flat_map(|e| [e.clone(), e.clone()])
            .collect();
    }
    let host = |address: Option<SocketAddr>| Listed {
        kind: ListedKind::Host,
        address,
        server: Server::Unnamed,
        session: None,
    };
    let is_hidden = world.locals.is_empty();
    let mut candidates: Vec<Listed> = sources
        .iter()
        .map(|s| host(Some(*s).filter(|_| !is_hidden)))
        .collect();
    candidates.extend(entries.iter().map(|entry| Listed {
        kind: ListedKind::Reflexive(entry.seen.base),
        address: Some(entry.seen.mapped),
        server: entry.seen.server,
        session: None,
    }));
    let door = if shown == Shown::InAText {
        Door::Text
    } else {
        Door::Values
    };
    let asked = u16::try_from(world.servers.len()).unwrap_or_default();
    let list = List {
        door,
        candidates,
        asked: Some(asked).filter(|asked| shown == Shown::Bare && *asked > 1),
    };
    (list, entries)
}

pub(crate) fn list<'a>(
    world: &'a World,
    requests: &[Request],
    shown: Shown,
    reader: Reader,
) -> View<'a> {
    let (list, entries) = listed(world, requests, shown);
    let is_host = |listed: &&Listed| listed.kind == ListedKind::Host;
    let hosts = list.candidates.iter().filter(is_host);
    View {
        world,
        list: Some(list.door),
        asked: entries.iter().filter_map(|e| e.seen.server.ip()).collect(),
        entries,
        locals: hosts.filter_map(|c| c.address).map(|a| a.ip()).collect(),
        verdict: (reader.list)(&list),
        is_silent: false,
    }
}
