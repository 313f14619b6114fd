//! Saved results of an earlier run, to compare with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Section;
use crate::{Failure, bounds, root};

/// Counts by name.
pub(super) type Counts = BTreeMap<String, u64>;

/// Saved counts and ratios. Ratios are shown and never judged, because they differ between
/// machines.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Baseline {
    pub(super) counts: Counts,
    /// By their medians.
    pub(super) ratios: BTreeMap<String, f64>,
}

fn file() -> PathBuf {
    root().join("xtask").join("bench-baseline.json")
}

impl Baseline {
    /// `None`: nothing was saved yet.
    pub(super) fn read() -> Result<Option<Self>, Failure> {
        match std::fs::read_to_string(file()) {
            Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
            Err(_) => Ok(None),
        }
    }

    /// Replaces the results of these parts, and keeps those of the others.
    pub(super) fn save(mut self, sections: &[Section]) -> Result<(), Failure> {
        for section in sections {
            // all counts of a part are replaced, because a removed count must not stay
            if !section.counts.is_empty() {
                self.counts.clone_from(&section.counts);
            }
            let ratios = section
                .targets
                .iter()
                .filter_map(|target| Some((target.what.clone(), target.ratio?)));
            self.ratios
                .extend(ratios.map(|(what, spread)| (what, (spread.median * 1e3).round() / 1e3)));
        }
        std::fs::write(file(), format!("{:#}\n", serde_json::to_value(self)?))?;
        Ok(())
    }
}

/// Counts that are worse by more than a compiler or a queue explains.
pub(super) fn worse<'a>(counts: &'a Counts, baseline: &Counts) -> Vec<&'a str> {
    let is_worse = |(what, count): &(&String, &u64)| {
        baseline
            .get(*what)
            .is_some_and(|before| **count as f64 > *before as f64 * bounds::COUNT_TOLERANCE)
    };
    counts
        .iter()
        .filter(is_worse)
        .map(|(what, _)| what.as_str())
        .collect()
}

/// Those that are not there any more.
pub(super) fn gone<'a>(counts: &Counts, baseline: &'a Counts) -> Vec<&'a str> {
    baseline
        .keys()
        .filter(|what| !counts.contains_key(*what))
        .map(String::as_str)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_worse_beyond_the_tolerance_and_only_then() {
        let counts = |n: u64| Counts::from([("a".to_owned(), n)]);
        assert!(worse(&counts(100), &counts(100)).is_empty());
        assert!(worse(&counts(90), &counts(100)).is_empty());
        assert_eq!(worse(&counts(110), &counts(100)), ["a"]);
        assert_eq!(worse(&counts(1), &counts(0)), ["a"], "none is none");
        assert!(
            worse(&counts(1), &Counts::new()).is_empty(),
            "what is new has nothing to be worse than"
        );
    }

    #[test]
    fn a_count_under_another_name_is_gone() {
        let counts = |name: &str| Counts::from([(name.to_owned(), 1)]);
        assert!(gone(&counts("a"), &counts("a")).is_empty());
        assert_eq!(gone(&counts("b"), &counts("a")), ["a"]);
    }

    #[test]
    fn the_saved_one_can_be_read() {
        let baseline = Baseline::read().unwrap().unwrap();
        assert!(!baseline.counts.is_empty());
    }
}
