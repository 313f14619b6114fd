//! Public items by their source: enums have an honest unknown, errors hold no address, the judge's
//! have an example.

use std::path::{Path, PathBuf};

use super::files;
use crate::{Failure, workspace};

/// Variants that say "not known". Each has to be documented.
const UNKNOWN: [&str; 5] = [
    "Unknown",
    "Unobserved",
    "Undecided",
    "Nobody",
    "Inconclusive",
];

/// Public enums that need none, by crate, and why. Errors, which say what went wrong, are not
/// listed: their names end in `Error`.
const COMPLETE: &[(&str, &str, &str)] = &[
    // facts: whoever makes one knows it
    ("nat-summary", "Family", "an IP address is of one of two"),
    (
        "nat-summary",
        "Scope",
        "every address has one; what no registry names is `Reserved` or `Global`",
    ),
    ("nat-summary", "Address", "what a line says, verbatim"),
    (
        "nat-summary",
        "ServerId",
        "`Anonymous` is the server nobody named",
    ),
    (
        "nat-summary",
        "Outcome",
        "`Pending` is the one that is not known yet",
    ),
    ("nat-summary", "Admission", "what just became of a fact"),
    (
        "nat-summary",
        "Expected",
        "where a parser stopped, it knows what it wanted",
    ),
    // reasons: each verdict that is unknown has its own
    (
        "nat-summary",
        "Rule",
        "says which kind of unknown: too few servers, crowded, locals unknown, nothing observed",
    ),
    (
        "nat-summary",
        "Reason",
        "says what is unknown: a mapping, a filtering, more",
    ),
    // what a STUN exchange or an agent just did
    (
        "ice-gather",
        "Answer",
        "a datagram answers a request or does not",
    ),
    ("ice-gather", "Reject", "why one was not taken"),
    ("ice-gather", "Progress", "what just happened"),
    ("ice-gather", "IceState", "RFC 8445 and W3C name them all"),
    ("ice-gather", "IceEvent", "what just happened"),
    ("consumer-fsm", "NoticeKind", "what just happened"),
    // words of the consumer's machine: total by construction
    ("consumer-fsm", "State", "the machine is in one"),
    ("consumer-fsm", "Event", "what just happened"),
    (
        "consumer-fsm",
        "Ending",
        "an attempt has ended in one of two ways",
    ),
    ("consumer-fsm", "Action", "what to do next"),
    ("consumer-fsm", "Posted", "what became of a message"),
    (
        "consumer-fsm",
        "Kind",
        "the protocol's own numbers; another is malformed",
    ),
    // chosen by the caller
    ("ice-gather", "Bind", "a choice"),
    ("ice-gather", "Policy", "a choice"),
    ("ice-gather", "Role", "a choice"),
    ("ice-gather", "Change", "a choice"),
    ("ice-gather", "Manner", "a choice"),
    ("ice-gather", "StunServer", "a choice"),
    ("otel-nat", "ExternalIp", "a choice"),
    ("consumer-fsm", "StunSource", "a choice"),
    ("consumer-fsm", "Setup", "RFC 8842 names them all"),
    ("consumer-fsm", "Network", "a choice"),
];

/// What may hold an address, or a text with one in it.
const TELLING: [&str; 9] = [
    "IpAddr",
    "SocketAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "String",
    "str",
    "Candidate",
    "Observation",
    "Box",
];

/// Every public enum has a documented variant for "not known", is an error, or is listed with its
/// reason.
pub(super) fn unknowns(root: &Path) -> Result<Vec<String>, Failure> {
    let mut mends = Vec::new();
    let mut used = Vec::new();
    for library in workspace::libraries(root)? {
        for item in items(&library)?
            .iter()
            .filter(|item| item.is_enum && !item.name.ends_with("Error"))
        {
            match honesty(&item.body) {
                Honesty::Documented => {}
                Honesty::Undocumented(variant) => {
                    mends.push(format!(
                        "{}: {}::{variant}: say when it is the answer",
                        item.place, item.name
                    ));
                }
                Honesty::None => {
                    match COMPLETE.iter().position(|(of, name, _)| *of == library.name && *name == item.name) {
                        Some(place) => used.push(place),
                        None => mends.push(format!(
                            "{}: {} has no honest unknown: give it one ({}), or list it with its reason in COMPLETE in \
                             xtask/src/tidy/items.rs",
                            item.place,
                            item.name,
                            UNKNOWN.join(", ")
                        )),
                    }
                }
            }
        }
    }
    let stale = COMPLETE
        .iter()
        .enumerate()
        .filter(|(place, _)| !used.contains(place));
    mends.extend(stale.map(|(_, (of, name, _))| {
        format!("xtask/src/tidy/items.rs: {of} has no enum {name} that needs COMPLETE: take it out")
    }));
    Ok(mends)
}

/// No public error holds what may be or contain an address, so its `Display` cannot tell one.
pub(super) fn addresses(root: &Path) -> Result<Vec<String>, Failure> {
    let mut mends = Vec::new();
    for library in workspace::libraries(root)? {
        for item in items(&library)?
            .iter()
            .filter(|item| item.name.ends_with("Error"))
        {
            for word in telling(&item.body) {
                mends.push(format!(
                    "{}: {} holds {word}, so its Display may tell an address: say the kind of failure by a variant",
                    item.place, item.name
                ));
            }
        }
    }
    Ok(mends)
}

/// Every public item of the judge has an example in its documentation; getters too, for they tell
/// what is unknown.
pub(super) fn examples(root: &Path) -> Result<Vec<String>, Failure> {
    let mut mends = Vec::new();
    for library in workspace::libraries(root)?
        .iter()
        .filter(|library| library.name == "nat-summary")
    {
        for (place, text) in sources(library)? {
            let mend = |(line, item): (usize, &str)| {
                format!("{place}:{line}: {item} has no example: show in its docs how it is used")
            };
            mends.extend(unshown(&text).into_iter().map(mend));
        }
    }
    Ok(mends)
}

/// A public enum or struct.
struct Item {
    /// File and line.
    place: String,
    name: String,
    is_enum: bool,
    body: String,
}

/// Those of a library. What is not reachable is not `pub`: the lint `unreachable_pub` sees to that.
fn items(library: &workspace::Crate) -> Result<Vec<Item>, Failure> {
    let mut items = Vec::new();
    for (place, text) in sources(library)? {
        for (number, rest) in declarations(&text) {
            let word = |text: &str| -> String {
                text.chars().take_while(|c| c.is_alphanumeric()).collect()
            };
            items.push(Item {
                place: format!("{place}:{number}"),
                name: word(rest.split_once(' ').map_or("", |(_, name)| name)),
                is_enum: rest.starts_with("enum "),
                body: body(rest).to_owned(),
            });
        }
    }
    Ok(items)
}

/// Each source file of a library, by crate and path, with its text.
fn sources(library: &workspace::Crate) -> Result<Vec<(String, String)>, Failure> {
    let source = |file: PathBuf| {
        let name = file
            .strip_prefix(library.folder())
            .unwrap_or(&file)
            .display();
        Ok((
            format!("{}/{name}", library.name),
            std::fs::read_to_string(&file)?,
        ))
    };
    files(&library.folder().join("src"), ".rs")
        .into_iter()
        .map(source)
        .collect()
}

/// Each `pub enum` or `pub struct` with its line number, from the keyword to the end of the text.
fn declarations(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("pub ").filter_map(move |(at, _)| {
        let rest = text.get(at + "pub ".len()..)?;
        let before = text.get(..at)?;
        let begins_line = before
            .rsplit('\n')
            .next()
            .is_some_and(|line| line.trim().is_empty());
        let is_item = begins_line && (rest.starts_with("enum ") || rest.starts_with("struct "));
        is_item.then(|| (before.lines().count() + 1, rest))
    })
}

/// What stands between the brackets of a declaration: nothing for a unit struct.
fn body(declaration: &str) -> &str {
    let Some(begin) = declaration.find(['{', '(', ';']) else {
        return "";
    };
    let mut depth = 0_i32;
    for (at, c) in declaration.get(begin..).unwrap_or("").char_indices() {
        match c {
            '{' | '(' => depth += 1,
            '}' | ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return declaration.get(begin + 1..begin + at).unwrap_or("");
        }
    }
    ""
}

/// Each public item, before the tests, whose documentation has no example that is compiled, with
/// its line number.
fn unshown(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut shown, mut fenced) = (false, false);
    for (at, line) in text
        .lines()
        .map(str::trim)
        .enumerate()
        .take_while(|(_, line)| *line != "mod tests {")
    {
        if let Some(language) = line.strip_prefix("/// ```") {
            shown |= !fenced && language.is_empty();
            fenced = !fenced;
        } else if !line.starts_with("///") && !line.starts_with("#[") {
            found.extend(public(line).filter(|_| !shown).map(|item| (at + 1, item)));
            shown = false;
        }
    }
    found
}

/// The kind and name of the public item that a line declares. A field is none.
fn public(line: &str) -> Option<&str> {
    let item = line.strip_prefix("pub ")?;
    let item = item
        .strip_prefix("const ")
        .filter(|rest| rest.starts_with("fn "))
        .unwrap_or(item);
    let (kind, rest) = item.split_once(' ')?;
    let name = rest
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(rest.len());
    let is_item = ["fn", "struct", "enum", "trait", "const", "static", "type"].contains(&kind);
    is_item.then(|| item.get(..kind.len() + 1 + name))?
}

#[derive(Debug, PartialEq)]
enum Honesty {
    Documented,
    Undocumented(&'static str),
    None,
}

fn honesty(body: &str) -> Honesty {
    let lines: Vec<&str> = body.lines().map(str::trim).collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(variant) = UNKNOWN
            .iter()
            .find(|name| line.strip_suffix(',').unwrap_or(line) == **name)
        else {
            continue;
        };
        let mut above = lines
            .iter()
            .take(at)
            .rev()
            .skip_while(|line| line.starts_with("#["));
        let is_documented = above.next().is_some_and(|line| line.starts_with("///"));
        return if is_documented {
            Honesty::Documented
        } else {
            Honesty::Undocumented(variant)
        };
    }
    Honesty::None
}

/// The words of a body, comments aside, that may tell an address.
fn telling(body: &str) -> Vec<&'static str> {
    let code = body
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let words: Vec<&str> = code
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .collect();
    TELLING
        .into_iter()
        .filter(|telling| words.contains(telling))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_has_to_be_there_and_documented() {
        assert_eq!(
            honesty("\n    /// Not known.\n    #[default]\n    Unknown,\n    A,\n"),
            Honesty::Documented
        );
        assert_eq!(
            honesty("\n    /// One.\n    A,\n    Unknown,\n"),
            Honesty::Undocumented("Unknown")
        );
        assert_eq!(
            honesty("\n    /// Not Unknown,\n    A,\n    UnknownId,\n"),
            Honesty::None
        );
    }

    #[test]
    fn an_address_is_found_in_whatever_an_error_holds() {
        let text = "/// x\npub enum SomeError {\n    /// SocketAddr\n    A { at: Option<SocketAddr> },\n}\npub struct Unit;\n";
        let found: Vec<_> = declarations(text)
            .map(|(line, rest)| (line, telling(body(rest))))
            .collect();
        assert_eq!(found, [(2, vec!["SocketAddr"]), (6, vec![])]);
        assert_eq!(
            telling(body("enum E { A(io::ErrorKind), B(&'static str) }")),
            ["str"]
        );
        assert_eq!(telling(body("struct E(Box<dyn Error>);")), ["Box"]);
    }

    #[test]
    fn a_public_item_without_an_example_that_runs_is_found() {
        let shown = "/// One.\n///\n/// ```\n/// ok();\n/// ```\n#[must_use]\npub const fn shown() -> u8 {\n}\n";
        assert!(unshown(shown).is_empty());
        assert_eq!(
            unshown(&format!("{shown}pub fn next() {{}}")),
            [(9, "fn next")]
        );
        let bare = "/// One.\n#[derive(Debug)]\npub struct Bare<'a> {\n    pub field: &'a str,\n}";
        assert_eq!(unshown(bare), [(3, "struct Bare")]);
        let others = "pub const fn of() {}\npub trait T {\npub const A_B: u8 = 1;";
        assert_eq!(
            unshown(others),
            [(1, "fn of"), (2, "trait T"), (3, "const A_B")]
        );
        assert_eq!(
            unshown("/// ```text\n/// no code\n/// ```\npub enum Told {"),
            [(4, "enum Told")]
        );
        assert!(
            unshown("pub(crate) fn inner() {}\npub use a::B;\nmod tests {\npub fn test() {}")
                .is_empty()
        );
    }
}
