//! Public items by their source: enums have an honest unknown, errors hold no address, the judge's
//! have an example.

use std::path::Path;

use super::source::{Source, Type, Variant, sources, types};
use crate::{Failure, workspace};

/// Variants that say "not known". Each has to be documented.
const UNKNOWN: [&str; 4] = ["Unknown", "Unobserved", "Undecided", "Inconclusive"];

/// Public enums that need none, by crate, and why. Types that implement `Error` are not listed,
/// because each of them names the failure.
const COMPLETE: &[(&str, &str, &str)] = &[
    // facts, which the code that makes one knows
    ("nat-summary", "Family", "an IP address is of one of two"),
    (
        "nat-summary",
        "Scope",
        "every address has one; what no registry names is `Reserved` or `Global`",
    ),
    ("nat-summary", "Address", "the text of a line, verbatim"),
    (
        "nat-summary",
        "ServerId",
        "`Anonymous` is a server without a name",
    ),
    (
        "nat-summary",
        "Outcome",
        "`Pending` is the one that is not known yet",
    ),
    ("nat-summary", "Recorded", "the fate of a fact just now"),
    (
        "nat-summary",
        "Class",
        "two bits, and each value has a name",
    ),
    ("nat-summary", "Method", "`Other` is every other method"),
    (
        "nat-summary",
        "Password",
        "each message is signed with one of two",
    ),
    (
        "nat-summary",
        "IcmpError",
        "every error that is not hard counts as soft",
    ),
    (
        "ice-gather",
        "Damage",
        "the reader knows where it stopped, and why",
    ),
    (
        "nat-summary",
        "Outstanding",
        "the missing requests are known, and so is their weight",
    ),
    (
        "nat-summary",
        "SentBefore",
        "a sender knows what it has sent",
    ),
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
        "OutlookReason",
        "names the unknown part: a mapping, a filtering, more",
    ),
    // events of a STUN exchange or an agent
    (
        "ice-gather",
        "Answer",
        "a datagram answers a request or does not",
    ),
    ("ice-gather", "Progress", "what just happened"),
    ("ice-gather", "IceState", "RFC 8445 and W3C name them all"),
    ("ice-gather", "IceEvent", "what just happened"),
    ("consumer-fsm", "NoticeKind", "what just happened"),
    (
        "consumer-fsm",
        "DtlsVersion",
        "the handshake names it; before that there is none",
    ),
    (
        "consumer-fsm",
        "DtlsRefusal",
        "the side that refuses knows the reason",
    ),
    (
        "consumer-fsm",
        "ChannelEnd",
        "a channel that ended has one of these ends",
    ),
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
    ("otel-nat", "Detail", "a choice"),
    ("otel-nat", "ExternalIp", "a choice"),
    ("consumer-fsm", "StunSource", "a choice"),
    ("consumer-fsm", "Setup", "RFC 8842 names them all"),
    ("consumer-fsm", "Network", "a choice"),
];

/// Types that may hold an address, or a text with an address in it.
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

/// Every public enum has a documented variant for "not known", implements `Error`, or is listed
/// with its reason.
pub(super) fn unknowns(root: &Path) -> Result<Vec<String>, Failure> {
    let mut mends = Vec::new();
    let mut used = Vec::new();
    for library in workspace::libraries(root)? {
        let (types, errors) = types(&sources(&library)?);
        let enums = types
            .iter()
            .filter(|of| of.is_public && !errors.contains_key(&of.name));
        for (of, variants) in enums.filter_map(|of| Some((of, of.variants.as_ref()?))) {
            match honesty(variants) {
                Honesty::Documented => {}
                Honesty::Undocumented(variant) => mends.push(format!(
                    "{}: {}::{variant}: say when it is the answer",
                    of.place, of.name
                )),
                Honesty::None => {
                    match COMPLETE.iter().position(|(by, name, _)| *by == library.name && *name == of.name) {
                        Some(place) => used.push(place),
                        None => mends.push(format!(
                            "{}: {} has no honest unknown: give it one ({}), or list it with its reason in COMPLETE in \
                             xtask/src/tidy/items.rs",
                            of.place,
                            of.name,
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

/// No type that implements `Error` holds a possible address at any depth, because its `Display`
/// could show it.
pub(super) fn addresses(root: &Path) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for library in workspace::libraries(root)? {
        all.extend(sources(&library)?);
    }
    Ok(addresses_in(&all))
}

fn addresses_in(sources: &[Source]) -> Vec<String> {
    let (types, errors) = types(sources);
    let mut mends = Vec::new();
    for of in types.iter().filter(|of| errors.contains_key(&of.name)) {
        for way in telling(of, &types) {
            mends.push(format!(
                "{}: {} is an error and holds {way}, so its Display may show an address: name the kind of failure by \
                 a variant",
                of.place, of.name
            ));
        }
    }
    mends
}

/// Each public type of the judge, and each rule, has an example in its documentation.
pub(super) fn examples(root: &Path) -> Result<Vec<String>, Failure> {
    let mut mends = Vec::new();
    for library in workspace::libraries(root)?
        .iter()
        .filter(|library| library.name == "nat-summary")
    {
        let (types, _) = types(&sources(library)?);
        mends.extend(unshown(&types));
    }
    Ok(mends)
}

fn unshown(types: &[Type]) -> Vec<String> {
    let mut mends = Vec::new();
    let mend = |place: &str, name: &str| {
        format!("{place}: {name} has no example: show in its documentation how it is used")
    };
    for of in types.iter().filter(|of| of.is_public) {
        if !has_example(&of.docs) {
            mends.push(mend(&of.place, &of.name));
        }
        let rules = of.variants.iter().flatten().filter(|_| of.name == "Rule");
        for rule in rules.filter(|rule| !has_example(&rule.docs)) {
            mends.push(mend(&of.place, &format!("Rule::{}", rule.name)));
        }
    }
    mends
}

/// Whether a block of the text is Rust that the tests compile.
fn has_example(docs: &str) -> bool {
    let mut is_inside = false;
    docs.lines()
        .filter_map(|line| line.trim().strip_prefix("```"))
        .any(|language| {
            is_inside = !is_inside;
            is_inside && language.is_empty()
        })
}

#[derive(Debug, PartialEq)]
enum Honesty {
    Documented,
    Undocumented(String),
    None,
}

fn honesty(variants: &[Variant]) -> Honesty {
    let is_unknown =
        |variant: &&Variant| variant.is_unit && UNKNOWN.contains(&variant.name.as_str());
    match variants.iter().find(is_unknown) {
        Some(variant) if variant.docs.trim().is_empty() => {
            Honesty::Undocumented(variant.name.clone())
        }
        Some(_) => Honesty::Documented,
        None => Honesty::None,
    }
}

/// Each way through the fields of a type, and of the workspace's types in them, to one that may
/// hold an address.
fn telling(of: &Type, types: &[Type]) -> Vec<String> {
    let mut found = Vec::new();
    let mut ways = vec![(of, String::new())];
    let mut visited = vec![(&of.place, &of.name)];
    while let Some((of, way)) = ways.pop() {
        for name in &of.holds {
            if TELLING.contains(&name.as_str()) {
                found.push(format!("{way}{name}"));
            }
            let named = || {
                types
                    .iter()
                    .filter(|next| next.name == *name && !next.is_trait)
            };
            let is_near = |next: &&Type| krate(next) == krate(of);
            // a name of the crate itself comes before the public one of another
            let has_near = named().any(|next| is_near(&next));
            for next in named().filter(|next| match has_near {
                true => is_near(next),
                false => next.is_public,
            }) {
                if !visited.contains(&(&next.place, &next.name)) {
                    visited.push((&next.place, &next.name));
                    ways.push((next, format!("{way}{name}, which holds ")));
                }
            }
        }
    }
    found
}

/// The crate of a type, by its place.
fn krate(of: &Type) -> Option<&str> {
    of.place.split('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            place: "x.rs".to_owned(),
            module: "x".to_owned(),
            root: "lib".to_owned(),
            syntax: syn::parse_file(text).unwrap(),
        }
    }

    fn types_of(text: &str) -> Vec<Type> {
        types(&[source(text)]).0
    }

    #[test]
    fn an_unknown_has_to_be_there_and_documented() {
        let honesty =
            |text: &str| honesty(types_of(text).first().unwrap().variants.as_ref().unwrap());
        assert_eq!(
            honesty("enum E { /** Not known. */ #[default] Unknown, A }"),
            Honesty::Documented
        );
        assert_eq!(
            honesty("enum E { /** One. */ A, Unknown }"),
            Honesty::Undocumented("Unknown".into())
        );
        assert_eq!(
            honesty("enum E { /** Not Unknown */ A, Unknown(u8), UnknownId }"),
            Honesty::None
        );
    }

    #[test]
    fn an_address_is_found_in_any_type_that_implements_error() {
        let found = |text: &str| addresses_in(&[source(text)]).len();
        assert_eq!(
            found(
                "enum Reject { A { at: Option<SocketAddr> } } impl core::error::Error for Reject {}"
            ),
            1
        );
        assert_eq!(
            found("enum Reject { A { at: Option<SocketAddr> } }"),
            0,
            "no error"
        );
        assert_eq!(
            found("struct E(&'static str); impl std::error::Error for E {}"),
            1
        );
        assert_eq!(found("struct E(Box<dyn Error>); impl Error for E {}"), 1);
        assert_eq!(
            found(
                "struct E(Inner); struct Inner { at: Other } struct Other(IpAddr); impl Error for E {}"
            ),
            1
        );
        assert_eq!(
            found("/// SocketAddr\nenum E { A(io::ErrorKind) } impl Error for E {}"),
            0
        );
        let text = "struct E(Inner); struct Inner(IpAddr); impl Error for E {}";
        assert!(
            addresses_in(&[source(text)])
                .concat()
                .contains("E is an error and holds Inner, which holds IpAddr")
        );
    }

    #[test]
    fn a_type_or_a_rule_without_an_example_that_runs_is_found() {
        let missing = |text: &str| unshown(&types_of(text)).len();
        assert_eq!(
            missing("/// One.\n///\n/// ```\n/// ok();\n/// ```\npub struct A;"),
            0
        );
        assert_eq!(
            missing("/// One.\n///\n/// ```text\n/// no\n/// ```\npub struct A;"),
            1
        );
        assert_eq!(
            missing("/// One.\npub enum A { B }\nstruct C; pub(crate) trait D {}"),
            1
        );
        assert_eq!(
            missing(
                "/// ```\n/// ok();\n/// ```\npub enum Rule { A, /// ```\n/// ok();\n/// ```\nB }"
            ),
            1
        );
    }
}
