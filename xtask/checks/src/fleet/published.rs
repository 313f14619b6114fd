//! Published tables of NAT traversal, beside what the simulation does and what our judge and outlook report of it.

use nat_summary::{ExpectedPath, Filtering, Outlook};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::Serialize;

use super::attempt::{Host, Place, punch};
use super::truth::{Counted, Truth};
use crate::bounds;
use crate::front::Front;

/// Sessions of a consumer with a peer, both behind a NAT, that came as far as the checks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Punching {
    pub(crate) sessions: u64,
    /// Found a path without a relay.
    pub(crate) met: u64,
    /// Found it at the first attempt.
    pub(crate) met_first: u64,
    /// Attempts between two hosts whose mapping is independent of the endpoint, and those that met.
    pub(crate) independent: [u64; 2],
    /// Consumers behind a NAT, and those of them whose mapping is independent.
    pub(crate) natted: [u64; 2],
    /// Consumers behind a carrier's NAT.
    pub(crate) carrier: u64,
    pub(crate) consumers: u64,
}

/// One line of the comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) figure: &'static str,
    pub(crate) published: &'static str,
    pub(crate) simulated: String,
    /// As the spans report it.
    pub(crate) ours: String,
    pub(crate) source: &'static str,
    /// The simulated figure is outside its bound.
    pub(crate) is_off: bool,
}

/// Every published figure that we know of.
pub(crate) fn rows(truth: &Truth, punching: &Punching) -> Vec<Row> {
    let percent = |part: u64, whole: u64| {
        share(part, whole).map_or("none".to_owned(), |p| format!("{p:.1} %"))
    };
    let (met, first) = (
        share(punching.met, punching.sessions),
        share(punching.met_first, punching.met),
    );
    // a consumer that fails tries again, and counts once
    let is_first = |c: &Counted| c.number == Some(1);
    let is_natted = |c: &Counted| is_first(c) && matches!(c.nat_type, "Cone NAT" | "Symmetric NAT");
    let both = |c: &Counted| {
        let theirs = matches!(c.peer_nat_type, Some("Cone NAT" | "Symmetric NAT"));
        is_natted(c) && theirs && c.failure != Some("cancelled")
    };
    let is_direct = |c: &Counted| matches!(c.stage, "hello" | "open") && !c.is_relayed;
    let cones =
        |c: &Counted| both(c) && c.nat_type == "Cone NAT" && c.peer_nat_type == Some("Cone NAT");
    let carriers = |c: &Counted| matches!(c.carrier, "carrier NAT" | "CLAT");
    let connected = |c: &Counted| c.failure.is_none() && c.number.is_some();
    let matrix = matrix();
    let of_matrix = |which: fn(&Cell) -> bool| {
        let n = matrix.iter().filter(|cell| which(cell)).count();
        format!("{n} of {} direct", matrix.len())
    };
    let apart = |value: Option<f64>, (middle, half): (f64, f64)| {
        value.is_none_or(|value| (value - middle).abs() > half)
    };
    vec![
        Row {
            figure: "success at the punching stage, both behind a NAT",
            published: "70 ± 7.1 %",
            simulated: percent(punching.met, punching.sessions),
            ours: percent(
                truth.number(|c| both(c) && is_direct(c)),
                truth.number(both),
            ),
            source: "Trautwein et al. 2025, arXiv 2510.27500",
            is_off: apart(met, bounds::PUBLISHED_PUNCHED),
        },
        Row {
            figure: "of these, at the first attempt",
            published: "97.6 %",
            simulated: percent(punching.met_first, punching.met),
            ours: percent(
                truth.number(|c| connected(c) && is_first(c)),
                truth.number(connected),
            ),
            source: "Trautwein et al. 2025",
            is_off: apart(first, bounds::PUBLISHED_FIRST),
        },
        Row {
            figure: "pairs of four kinds of NAT",
            published: "13 of 16 direct",
            simulated: of_matrix(|cell| cell.meets),
            ours: of_matrix(|cell| cell.is_expected),
            source: "iroh, matrix of NATs",
            is_off: matrix
                .iter()
                .any(|cell| cell.meets != cell.published || cell.is_expected != cell.meets),
        },
        Row {
            figure: "NATs that let hole punching through",
            published: "82 %",
            simulated: percent(punching.natted[1], punching.natted[0]),
            ours: percent(
                truth.number(|c| is_first(c) && c.nat_type == "Cone NAT"),
                truth.number(is_natted),
            ),
            source: "Ford et al. 2005",
            is_off: apart(
                share(punching.natted[1], punching.natted[0]),
                bounds::PUBLISHED_NATS,
            ),
        },
        Row {
            figure: "attempts between two such NATs that succeed",
            published: "over 80 %",
            simulated: percent(punching.independent[1], punching.independent[0]),
            ours: percent(
                truth.number(|c| cones(c) && is_direct(c)),
                truth.number(cones),
            ),
            source: "Halkes and Pouwelse 2011",
            is_off: share(punching.independent[1], punching.independent[0])
                .is_none_or(|share| share <= 80.0),
        },
        Row {
            figure: "behind a carrier's NAT",
            published: "38 % of ISPs",
            simulated: format!("{} of hosts", percent(punching.carrier, punching.consumers)),
            ours: format!(
                "{} of attempts",
                percent(truth.number(carriers), truth.attempts)
            ),
            source: "Richter et al. 2016",
            is_off: false,
        },
    ]
}

/// A pair of the four kinds.
struct Cell {
    published: bool,
    meets: bool,
    is_expected: bool,
}

/// No NAT, open, moderate and strict, each with each.
fn matrix() -> Vec<Cell> {
    let kinds = [
        Front::Nothing,
        Front::FullCone,
        Front::PortRestricted,
        Front::Symmetric,
    ];
    let mut random = SmallRng::seed_from_u64(1);
    let mut cells = Vec::new();
    for (i, ours) in kinds.into_iter().enumerate() {
        for (j, theirs) in kinds.into_iter().enumerate() {
            // those of {moderate, strict} with strict
            let published = !(i.min(j) >= 2 && i.max(j) == 3);
            let mut both =
                [ours, theirs].map(|front| Host::new(Place::at_home(front), &mut random));
            let [us, them] = &mut both;
            let seen = [
                us.gather(&mut random)
                    .summary()
                    .with_filtering(filtering(ours)),
                them.gather(&mut random)
                    .summary()
                    .with_filtering(filtering(theirs)),
            ];
            let meets = punch(us, them, false, &mut random).pair.is_some();
            let is_expected = Outlook::between(&seen[0], &seen[1]).path == ExpectedPath::Direct;
            cells.push(Cell {
                published,
                meets,
                is_expected,
            });
        }
    }
    cells
}

fn filtering(front: Front) -> Filtering {
    match front {
        Front::PortRestricted | Front::Symmetric => Filtering::AddressAndPortDependent,
        _ => Filtering::EndpointIndependent,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of attempts")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| 100.0 * part as f64 / whole as f64)
}
