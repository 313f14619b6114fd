//! The score of many worlds, one line for each kind of statement.

use std::collections::BTreeMap;
use std::fmt;

use crate::truth::{Fault, Remains, Statement};

#[derive(Debug, Default, Clone, Copy)]
struct Line {
    /// Worlds or bases of which the statement is true, or that could have been said.
    worlds: u64,
    decided: u64,
    decidable: u64,
    /// Not decided, though the rules decide it.
    missing: u64,
    /// Decided, though the rules do not.
    unproven: u64,
    /// By the whole gathering, by a part of it, by a list.
    wrong: [u64; 3],
    remains: u64,
}

/// Which evidence a verdict had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// All of a gathering.
    Whole,
    /// A gathering that still goes on.
    Part,
    /// A candidate list.
    List,
}

/// The score.
#[derive(Debug, Default)]
pub struct Table {
    worlds: u64,
    lines: BTreeMap<Statement, Line>,
    remains: BTreeMap<Remains, u64>,
    /// One of each kind, with its seed, to look at.
    examples: BTreeMap<Statement, (u64, String)>,
}

impl Table {
    /// One more world.
    pub fn world(&mut self) {
        self.worlds += 1;
    }

    /// Counts a true statement, and whether it was decided and had to be decided.
    pub fn count(&mut self, statement: Statement, is_decided: bool, is_decidable: bool) {
        let line = self.lines.entry(statement).or_default();
        line.worlds += 1;
        line.decided += u64::from(is_decided);
        line.decidable += u64::from(is_decidable);
    }

    /// Counts a statement that is not so.
    pub fn fault(
        &mut self,
        (statement, fault): (Statement, Fault),
        evidence: Evidence,
        example: (u64, impl FnOnce() -> String),
    ) {
        let line = self.lines.entry(statement).or_default();
        match fault {
            Fault::Wrong => {
                line.wrong[evidence as usize] += 1;
                self.example(statement, example);
            }
            // a list that is silent is no gathering's own evidence
            Fault::Remains(why) if evidence == Evidence::Whole || why == Remains::SilentList => {
                line.remains += 1;
                *self.remains.entry(why).or_default() += 1;
            }
            Fault::Remains(_) => {}
        }
    }

    /// The rules decide this, and the judge did not.
    pub fn missing(&mut self, statement: Statement, example: (u64, impl FnOnce() -> String)) {
        self.lines.entry(statement).or_default().missing += 1;
        self.example(statement, example);
    }

    /// The judge decided this, and the rules do not.
    pub fn unproven(&mut self, statement: Statement, example: (u64, impl FnOnce() -> String)) {
        self.lines.entry(statement).or_default().unproven += 1;
        self.example(statement, example);
    }

    fn example(&mut self, statement: Statement, (seed, text): (u64, impl FnOnce() -> String)) {
        self.examples
            .entry(statement)
            .or_insert_with(|| (seed, text()));
    }

    /// Wrong statements and missing ones.
    pub fn faults(&self) -> u64 {
        let lines = self.lines.values();
        lines
            .map(|line| line.wrong.iter().sum::<u64>() + line.missing + line.unproven)
            .sum()
    }

    /// The excused faults.
    pub fn remains(&self) -> impl Iterator<Item = Remains> + '_ {
        self.remains.keys().copied()
    }

    /// How often a statement had to be made, in a hundred cases.
    #[must_use]
    pub fn decidable(&self, statement: Statement) -> u64 {
        let line = self.lines.get(&statement).copied().unwrap_or_default();
        100 * line.decidable / line.worlds.max(1)
    }

    /// The first fault of each kind, and the seed of its world.
    pub fn examples(&self) -> impl Iterator<Item = &(u64, String)> {
        self.examples.values()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12}{:>9}{:>9}{:>11}{:>9}{:>10} |{:>8}{:>8}{:>8} |{:>9}",
            self.worlds,
            "cases",
            "decided",
            "decidable",
            "missing",
            "unproven",
            "wrong",
            "in part",
            "in list",
            "remains"
        )?;
        let mut sum = Line::default();
        for (statement, line) in &self.lines {
            let rate = 100.0 * line.decided as f64 / line.worlds.max(1) as f64;
            let [whole, part, list] = line.wrong;
            let name = format!("{statement:?}").to_lowercase();
            writeln!(
                f,
                "{name:<12}{:>9}{rate:>7.1} %{:>11}{:>9}{:>10} |{whole:>8}{part:>8}{list:>8} |{:>9}",
                line.worlds, line.decidable, line.missing, line.unproven, line.remains
            )?;
            sum.missing += line.missing;
            sum.unproven += line.unproven;
            sum.remains += line.remains;
            for (sum, wrong) in sum.wrong.iter_mut().zip(line.wrong) {
                *sum += wrong;
            }
        }
        let [whole, part, list] = sum.wrong;
        writeln!(
            f,
            "{:<12}{:>9}{:>9}{:>11}{:>9}{:>10} |{whole:>8}{part:>8}{list:>8} |{:>9}",
            "all", "", "", "", sum.missing, sum.unproven, sum.remains
        )?;
        write!(f, "what remains:")?;
        for (why, count) in &self.remains {
            write!(f, " {why:?} {count},")?;
        }
        Ok(())
    }
}
