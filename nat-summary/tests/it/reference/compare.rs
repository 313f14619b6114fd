//! The difference between two readings of one gathering. Points that the text of the rules leaves
//! open do not count.

use nat_worlds::plain::{Allocates, BaseVerdict, Maps, Pools, Verdict};

/// Of bases beyond these only the one that speaks is compared: the judge keeps no more.
const MAX_BASES: usize = 8;

/// A point that the text of the rules leaves open.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Open {
    /// Some servers are known by name.
    pub(crate) names: bool,
    /// Some bases served several ICE sessions.
    pub(crate) sessions: bool,
}

/// Removes the points that the text of the rules leaves open.
fn comparable(mut base: BaseVerdict, names: bool) -> BaseVerdict {
    base.allocates = Allocates::Unknown;
    // both explain it
    if base.base.ip().is_unspecified() && base.rule == "several_ways" {
        base.rule = "contradictory";
    }
    // which address a name has decides the kind of dependence
    if names && base.maps == Maps::ByAddress {
        (base.maps, base.rule) = (Maps::Differs, "servers_differ");
    }
    base
}

fn is_hidden(verdict: &Verdict) -> bool {
    verdict.primary().is_some_and(|base| base.base.port() == 0)
}

/// The difference between the two, if there is one.
pub(crate) fn difference(
    judge: Verdict,
    reading: Verdict,
    Open { names, sessions }: Open,
) -> Option<String> {
    let comparable = |verdict: Verdict| Verdict {
        pools: Pools::Unknown,
        bases: verdict
            .bases
            .iter()
            .map(|base| comparable(*base, names))
            .collect(),
        rule: match verdict.rule {
            "several_ways" => "contradictory",
            "servers_differ_ports_agree" if names => "servers_differ",
            rule => rule,
        },
        ..verdict
    };
    let (judge, reading) = (comparable(judge), comparable(reading));
    let values = |v: &Verdict| (v.kind, v.rule);
    let is_whole = reading.bases.len() <= MAX_BASES;
    let same_bases = !is_whole || sorted(&judge) == sorted(&reading);
    // of several hidden bases with equal rank any may speak
    let same_primary =
        is_hidden(&reading) && is_hidden(&judge) || judge.primary() == reading.primary();
    // and of several sessions on one base
    let base = |verdict: &Verdict| verdict.primary().map(|primary| primary.base);
    let same_socket = sessions && base(&judge) == base(&reading);
    let same_values = values(&judge) == values(&reading) && same_primary;
    let equal = same_bases && (same_values || same_socket);
    (!equal).then(|| format!("judge:   {judge:?}\nreading: {reading:?}"))
}

/// The base verdicts in an order that does not depend on which one speaks.
fn sorted(verdict: &Verdict) -> Vec<BaseVerdict> {
    let mut bases = verdict.bases.clone();
    bases.sort_unstable();
    bases
}
