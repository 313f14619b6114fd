//! The language of comments: few words that stand in place of a noun, and reasons that begin with
//! `because`. Both are counted per 1,000 words of comments, because crates grow.

use std::path::Path;

use super::files;
use crate::{Failure, bounds};

const CRATES: [&str; 5] = [
    "nat-summary",
    "ice-gather",
    "otel-nat",
    "consumer-fsm",
    "xtask",
];
/// Folders of builds, and of workspaces of their own.
const OMITTED: [&str; 3] = ["target", "fuzz", "wasm"];
/// Words that stand in place of a noun of the field.
const RIDDLES: [&str; 8] = [
    "what", "nobody", "somebody", "whoever", "whom", "told", "tells", "said",
];

#[derive(Default)]
struct Count {
    words: usize,
    riddles: usize,
    reasons: usize,
}

/// The comments of each crate keep the budget of words.
pub(super) fn words(root: &Path) -> Result<Vec<String>, Failure> {
    let mut mends = Vec::new();
    for name in CRATES {
        let mut counts = Vec::new();
        for file in files(&root.join(name), ".rs") {
            let place = file.strip_prefix(root).unwrap_or(&file);
            let is_omitted = |part: &std::ffi::OsStr| OMITTED.iter().any(|name| part == *name);
            if !place.iter().any(is_omitted) {
                let count = count(&std::fs::read_to_string(&file)?);
                counts.push((place.display().to_string(), count));
            }
        }
        mends.extend(complaints(name, &counts));
    }
    Ok(mends)
}

/// Counts in the lines of a source that are comments. A name with an underscore is one word.
fn count(source: &str) -> Count {
    let comments = source
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("//"));
    let words = comments
        .flat_map(|line| line.split(|letter: char| !letter.is_alphanumeric() && letter != '_'))
        .filter(|word| word.starts_with(char::is_alphabetic));
    let mut count = Count::default();
    for word in words {
        let is = |other: &&str| word.eq_ignore_ascii_case(other);
        count.words += 1;
        count.riddles += usize::from(RIDDLES.iter().any(is));
        count.reasons += usize::from(is(&"because"));
    }
    count
}

/// The complaints about a crate, each with the file to begin with.
fn complaints(name: &str, counts: &[(String, Count)]) -> Vec<String> {
    let sum =
        |part: fn(&Count) -> usize| counts.iter().map(|(_, count)| part(count)).sum::<usize>();
    let worst = |badness: fn(&Count) -> usize| {
        let worst = counts.iter().max_by_key(|(_, count)| badness(count));
        worst.map_or("", |(place, _)| place.as_str())
    };
    let (words, riddles) = (sum(|count| count.words), sum(|count| count.riddles));
    let reasons = sum(|count| count.reasons);
    let mut mends = Vec::new();
    if riddles * 1_000 > bounds::RIDDLES * words {
        let file = worst(|count| count.riddles);
        mends.push(format!(
            "{name}: {riddles} of {words} words in comments are {}, and {} in 1,000 may be: put the noun there, first in {file}",
            RIDDLES.join(", "),
            bounds::RIDDLES
        ));
    }
    if reasons * 1_000 < bounds::REASONS * words {
        let file = worst(|count| if count.reasons == 0 { count.words } else { 0 });
        mends.push(format!(
            "{name}: {reasons} of {words} words in comments are `because`, and {} in 1,000 have to be: give reasons, first in {file}",
            bounds::REASONS
        ));
    }
    mends
}

#[cfg(test)]
mod tests {
    use super::{complaints, count};

    #[test]
    fn comments_count_and_code_does_not() {
        let source =
            "//! What it is.\nlet told = 1; // said\n    /// Because `what_is` is a name.\n";
        let count = count(source);
        assert_eq!((count.words, count.riddles, count.reasons), (8, 1, 1));
    }

    #[test]
    fn a_crate_beyond_its_budget_names_its_worst_file() {
        let of = |first: &str, second: &str| {
            let file = |place: &str, words| (place.to_owned(), count(words));
            let all = [file("a.rs", first), file("b.rs", second)];
            complaints("x", &all).join("\n")
        };
        let plain = "// because so\n".repeat(100);
        assert_eq!(of(&plain, "// what\n"), "");
        assert!(of(&plain, "// what so\n// nobody\n").contains("first in b.rs"));
        assert!(of("// so so\n", "// so\n").contains("first in a.rs"));
    }
}
