//! What was decided in a world beside what had to be.

use super::expect::{self, Expected};
use nat_worlds::gather::{DEADLINE, Request};
use nat_worlds::plain::{Allocates, BaseVerdict, End, Kind, Maps, Pools};
use nat_worlds::table::Table;
use nat_worlds::truth::{Statement, View};

/// Scores the verdict on a whole gathering.
pub(crate) fn count(
    seed: u64,
    view: &View<'_>,
    requests: &[Request],
    is_judge: bool,
    table: &mut Table,
) {
    let mut score = Score { seed, view, table };
    let mut expected = Vec::new();
    for base in &view.verdict.bases {
        let of_base = expect::base(view, base.base, base.external);
        if let Some(of_base) = &of_base {
            score.count_base(base, of_base);
            if is_judge && base.maps.is_dependent() {
                score.count_allocation(base, requests);
            }
        }
        score
            .table
            .count(Statement::External, true, of_base.is_some());
        expected.push(of_base);
    }
    score.count_kind(&expected);
    if is_judge {
        score.count_pooling(&expected);
    }
}

struct Score<'a> {
    seed: u64,
    view: &'a View<'a>,
    table: &'a mut Table,
}

impl Score<'_> {
    fn missing(&mut self, statement: Statement) {
        let example = || format!("missing {statement:?} in {:?}", self.view.verdict);
        self.table.missing(statement, (self.seed, example));
    }

    fn unproven(&mut self, statement: Statement) {
        let example = || format!("unproven {statement:?} in {:?}", self.view.verdict);
        self.table.unproven(statement, (self.seed, example));
    }

    /// One of two values that are known, or not.
    fn compare(&mut self, statement: Statement, said: Option<bool>, expected: Option<bool>) {
        self.table
            .count(statement, said.is_some(), expected.is_some());
        match (said, expected) {
            (None, Some(_)) => self.missing(statement),
            (Some(_), None) => self.unproven(statement),
            _ => {}
        }
    }

    fn count_base(&mut self, base: &BaseVerdict, expected: &Expected) {
        self.compare(Statement::Natted, base.natted, expected.natted);
        self.compare(Statement::PortKept, base.port_kept, expected.port_kept);
        let is_kind = |maps: Maps| matches!(maps, Maps::ByAddress | Maps::ByPort);
        let first = expected.maps[0];
        if first.is_dependent() {
            self.table
                .count(Statement::Kind, is_kind(base.maps), is_kind(first));
        }
        if expected.maps.contains(&base.maps) {
            return;
        }
        let of = |maps: Maps| {
            if maps.is_dependent() {
                Statement::Symmetric
            } else {
                Statement::Cone
            }
        };
        match (base.maps, first) {
            (Maps::Unknown, expected) => self.missing(of(expected)),
            (said, Maps::Unknown) => self.unproven(of(said)),
            (Maps::Differs, _) => self.missing(Statement::Kind),
            (_, Maps::Differs) => self.unproven(Statement::Kind),
            // wrong, and counted as such
            _ => {}
        }
    }

    fn count_allocation(&mut self, base: &BaseVerdict, requests: &[Request]) {
        let is_own = |r: &&Request| self.view.world.bases[r.base].reported == base.base;
        let all_answered = requests.iter().all(|r| r.end(DEADLINE) == End::Answered);
        let all_sent_once = requests.iter().filter(is_own).all(|r| r.copies == 1);
        let is_orderly = all_answered
            && all_sent_once
            && expect::is_orderly(self.view, base.base, base.external);
        let is_known = base.allocates != Allocates::Unknown;
        self.table
            .count(Statement::Allocation, is_known, is_orderly);
        if is_orderly && !is_known {
            self.missing(Statement::Allocation);
        }
    }

    fn count_kind(&mut self, expected: &[Option<Expected>]) {
        let said = self.view.verdict.kind;
        let expected = expect::kind(self.view, expected);
        for truth in true_kinds(self.view) {
            let is_decidable = expected == Some(truth);
            self.table
                .count(statement_of(truth), said == truth, is_decidable);
        }
        match expected {
            Some(Kind::Unknown) if said != Kind::Unknown => self.unproven(statement_of(said)),
            Some(expected) if said != expected => self.missing(statement_of(expected)),
            _ => {}
        }
    }

    /// Two mappings of one local address with different external addresses show a pool.
    fn count_pooling(&mut self, expected: &[Option<Expected>]) {
        let Some(primary) = self.view.verdict.primary() else {
            return;
        };
        if !matches!(expected.first(), Some(Some(first)) if first.natted == Some(true)) {
            return;
        }
        if self.view.is_doubted(primary.base, primary.external) {
            return;
        }
        let judged = self.view.judged(primary.base, primary.external);
        let mut entries = judged.entries.iter();
        let differ = entries.any(|e| e.seen.mapped.ip() != primary.external)
            && !primary.base.ip().is_unspecified();
        let pools = self.view.verdict.pools;
        self.table
            .count(Statement::Pooling, pools != Pools::Unknown, differ);
        if differ && pools != Pools::Arbitrary {
            self.missing(Statement::Pooling);
        }
    }
}

fn statement_of(kind: Kind) -> Statement {
    match kind {
        Kind::Open => Statement::Open,
        Kind::Cone => Statement::Cone,
        Kind::Symmetric => Statement::Symmetric,
        Kind::Blocked | Kind::Unknown => Statement::Blocked,
    }
}

/// The types that are true of some base of the host.
fn true_kinds(view: &View<'_>) -> Vec<Kind> {
    let world = view.world;
    if world.is_blocked() {
        return vec![Kind::Blocked];
    }
    let mut kinds = Vec::new();
    for (_, way) in world.bases.iter().flat_map(|base| &base.sources) {
        let nats: Vec<usize> = world.ways[*way].all().collect();
        kinds.push(if nats.is_empty() {
            Kind::Open
        } else if view.maps(&nats).is_dependent() {
            Kind::Symmetric
        } else {
            Kind::Cone
        });
    }
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}
