//! Simulated networks, and the judge in them: no verdict is wrong, and none is missing that the
//! rules can give.

mod expect;
mod pairs;
mod score;
mod view;

use std::time::Duration;

use crate::reference::compare::{self, Open};
use nat_worlds::build::{self, NAMES, Odds};
use nat_worlds::gather::{self, DEADLINE, Request};
use nat_worlds::network::World;
use nat_worlds::random::Random;
use nat_worlds::table::{Evidence, Table};
use nat_worlds::truth::{Remains, Statement};
use nat_worlds::{describe, door};

use view::{JUDGE, Reader, SECOND_READING, Shown, evidence, list};

/// The number of worlds: `WORLDS` in the environment, else 100,000 where the tests are optimised
/// and a part of them where they are not.
fn count() -> u64 {
    let asked = std::env::var("WORLDS")
        .ok()
        .and_then(|text| text.parse().ok());
    asked.unwrap_or(if cfg!(debug_assertions) {
        3_000
    } else {
        100_000
    })
}

/// A world and its gathering.
fn gathered(seed: u64, odds: Odds) -> (World, Vec<Request>, Random) {
    let mut random = Random::new(seed);
    let mut world = build::world(&mut random, odds);
    let requests = gather::gather(&mut world, &mut random);
    (world, requests, random)
}

/// Judges one world through every door.
fn judge(seed: u64, odds: Odds, reader: Reader, table: &mut Table) {
    let (world, requests, mut random) = gathered(seed, odds);
    table.world();
    let whole = evidence(&world, &requests, DEADLINE, reader);
    let now = Duration::from_millis(random.below(400));
    let part = evidence(&world, &requests, now, reader);
    let shown = [Shown::WithUrls, Shown::Bare, Shown::InAText];
    let lists = shown.map(|shown| list(&world, &requests, shown, reader));
    let doors = [(&whole, Evidence::Whole), (&part, Evidence::Part)];
    for (view, evidence) in doors
        .into_iter()
        .chain(lists.iter().map(|view| (view, Evidence::List)))
    {
        for fault in view.faults() {
            let example = || format!("{evidence:?} {fault:?} {:?}", view.verdict);
            table.fault(fault, evidence, (seed, example));
        }
    }
    if !whole.is_flooded() {
        score::count(seed, &whole, &requests, reader.is_judge, table);
    }
}

/// Where the judge reads a world otherwise than the rules are written, with evidence and lists.
fn differences(seed: u64, odds: Odds) -> Vec<String> {
    let (world, requests, mut random) = gathered(seed, odds);
    let now = Duration::from_millis(random.below(400));
    let mut differences = Vec::new();
    let mut servers = world.servers.iter();
    let open = Open {
        names: servers.any(|server| server.reported.ip().is_none()),
        ..Open::default()
    };
    for at in [now, DEADLINE] {
        let (facts, _) = gather::facts(&world, &requests, at);
        let (judge, reading) = ((JUDGE.facts)(&facts), (SECOND_READING.facts)(&facts));
        differences.extend(compare::difference(judge, reading, open));
    }
    for shown in [Shown::WithUrls, Shown::Bare] {
        let (list, _) = view::listed(&world, &requests, shown);
        let (judge, reading) = ((JUDGE.list)(&list), (SECOND_READING.list)(&list));
        differences.extend(compare::difference(judge, reading, open));
    }
    let is_flooded = world.servers.len() * world.bases.len() > build::MAX_REQUESTS;
    differences.retain(|_| !is_flooded);
    let named = |difference| format!("world {seed}:\n{difference}");
    differences.into_iter().map(named).collect()
}

#[test]
fn names_tie_in_the_order_that_the_comparison_assumes() {
    assert!(NAMES.is_sorted_by_key(|name| door::name_order(name)));
}

/// What remains is excused above. It is no licence: here the judge says what the rules say, no more
/// and no less.
#[test]
fn the_judge_reads_every_world_as_the_rules_are_written() {
    for odds in [Odds::NONE, Odds::MANY] {
        let count = count() / 4;
        let mut differences: Vec<_> = (0..count)
            .flat_map(|seed| differences(seed, odds))
            .collect();
        differences.sort_by_key(String::len);
        let shortest = differences.first().map_or("", String::as_str);
        println!("{odds:?}: {} of {} differ", differences.len(), 4 * count);
        assert!(
            differences.is_empty(),
            "{} of {}\n{shortest}",
            differences.len(),
            4 * count
        );
    }
}

fn check(odds: Odds, reader: Reader, title: &str) -> Table {
    let mut table = Table::default();
    for seed in 0..count() {
        judge(seed, odds, reader, &mut table);
    }
    println!("{title}\n{table}");
    let mut examples = String::new();
    for (seed, text) in table.examples() {
        let (world, requests, _) = gathered(*seed, odds);
        examples += &format!(
            "world {seed}: {text}\n{}",
            describe::world(&world, &requests)
        );
    }
    assert_eq!(table.faults(), 0, "{title}\n{table}\n{examples}");
    table
}

/// Without oddities little is excused, and much can be decided: else the worlds would prove little.
fn check_plain(reader: Reader, title: &str) {
    use Statement::{Blocked, Cone, Kind, Natted, Open, PortKept, Symmetric};
    let table = check(Odds::NONE, reader, title);
    for remains in table.remains() {
        let is_known = matches!(
            remains,
            Remains::OneScope | Remains::AllDead | Remains::SilentList
        );
        assert!(is_known, "{remains:?} is an oddity\n{table}");
    }
    for (statement, least) in [
        (Open, 60),
        (Symmetric, 40),
        (Kind, 75),
        (Cone, 30),
        (Blocked, 25),
        (Natted, 80),
        (PortKept, 40),
    ] {
        let share = table.decidable(statement);
        assert!(share >= least, "{statement:?}: {share} %\n{table}");
    }
}

#[test]
fn no_verdict_is_wrong_and_none_is_missing_without_oddities() {
    check_plain(JUDGE, "Worlds without oddities");
}

#[test]
fn no_verdict_is_wrong_and_none_is_missing_where_oddities_are_many() {
    check(
        Odds::MANY,
        JUDGE,
        "Worlds in which oddities are over-sampled",
    );
}

#[test]
fn the_second_reading_is_right_without_oddities() {
    check_plain(SECOND_READING, "The rules in worlds without oddities");
}

#[test]
fn the_second_reading_is_right_where_oddities_are_many() {
    check(
        Odds::MANY,
        SECOND_READING,
        "The rules where oddities are over-sampled",
    );
}
