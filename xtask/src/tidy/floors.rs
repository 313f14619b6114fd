//! Which file may import which: the tables of ARCHITECTURE.md, whose rows are floors, and no circle of files anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::read;
use super::source::{Named, Source, paths, sources};
use crate::{Failure, workspace};

/// Most lines of ARCHITECTURE.md.
const MAP: usize = 150;
/// Head of the tables that are checked.
const HEAD: &str = "| file | holds | never imports |";

/// Every file of a library stands in one row of its table, imports only from its own row and the
/// rows above it, and nothing that its row forbids.
pub(super) fn floors(root: &Path) -> Result<Vec<String>, Failure> {
    let architecture = read(root, "ARCHITECTURE.md")?;
    let mut mends = Vec::new();
    if architecture.lines().count() > MAP {
        mends.push(format!(
            "ARCHITECTURE.md: a map has at most {MAP} lines; reasons and measurements go to a crate's docs/design.md"
        ));
    }
    for library in workspace::libraries(root)? {
        let rows = rows(&architecture, &library.name);
        if rows.is_empty() {
            mends.push(format!(
                "ARCHITECTURE.md: give {} a table `{HEAD}`",
                library.name
            ));
            continue;
        }
        let sources = sources(&library)?;
        mends.extend(stale(&rows, &sources, &library.name));
        mends.extend(breaches(&rows, &sources));
    }
    Ok(mends)
}

/// No files of a library import each other in a circle.
pub(super) fn circles(root: &Path) -> Result<Vec<String>, Failure> {
    let mut mends = Vec::new();
    for of in workspace::libraries(root)? {
        let circle = |files: Vec<&str>| {
            format!(
                "{}: {} import each other in a circle: move the item that closes it to a file below both",
                of.name,
                files.join(" → ")
            )
        };
        let sources = sources(&of)?;
        mends.extend(circles_of(&imports(&sources)).into_iter().map(circle));
    }
    Ok(mends)
}

/// A row of a table: the files on one floor, and the paths that they never import.
#[derive(Debug, PartialEq)]
struct Row {
    files: Vec<String>,
    never: Vec<String>,
}

impl Row {
    /// How many names of the longest entry that covers `module`: an entry covers its file and the
    /// folder of that name.
    fn covers(&self, module: &str) -> Option<usize> {
        let names = |file: &String| covers(file, module).then(|| file.split('/').count());
        self.files.iter().filter_map(names).max()
    }
}

fn covers(entry: &str, module: &str) -> bool {
    module
        .strip_prefix(entry)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The rows of the table in a crate's section, the lowest floor first.
fn rows(architecture: &str, library: &str) -> Vec<Row> {
    let section = architecture.split("\n## ").find(|section| {
        section
            .strip_prefix(library)
            .is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    });
    let lines = section
        .unwrap_or_default()
        .lines()
        .skip_while(|line| *line != HEAD)
        .skip(2);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').collect();
        Row {
            files: cells.get(1).map(|cell| spans(cell)).unwrap_or_default(),
            never: cells.get(3).map(|cell| spans(cell)).unwrap_or_default(),
        }
    };
    lines
        .take_while(|line| line.starts_with('|'))
        .map(row)
        .collect()
}

/// The texts between backquotes; `a/{b,c}` is `a/b` and `a/c`.
fn spans(cell: &str) -> Vec<String> {
    let expand = |span: &str| match span.split_once('{').zip(span.split_once('}')) {
        Some(((before, inner), (_, after))) => {
            let inner = inner.split('}').next().unwrap_or_default();
            inner
                .split(',')
                .map(|name| format!("{before}{}{after}", name.trim()))
                .collect()
        }
        None => vec![span.to_owned()],
    };
    cell.split('`')
        .skip(1)
        .step_by(2)
        .flat_map(expand)
        .collect()
}

/// The floor of a module: its row, by the longest entry that covers it.
fn floor(rows: &[Row], module: &str) -> Option<usize> {
    let by_length = |(at, row): (usize, &Row)| row.covers(module).map(|length| (length, at));
    rows.iter()
        .enumerate()
        .filter_map(by_length)
        .max()
        .map(|(_, at)| at)
}

/// Entries that name no file any more.
fn stale(rows: &[Row], sources: &[Source], library: &str) -> Vec<String> {
    let exists = |entry: &str| sources.iter().any(|source| covers(entry, &source.module));
    let entries = rows.iter().flat_map(|row| &row.files);
    entries
        .filter(|entry| !exists(entry))
        .map(|entry| {
            format!("ARCHITECTURE.md: {library} has no file {entry} any more: take it out")
        })
        .collect()
}

/// Imports that go up, and those that a row forbids.
fn breaches(rows: &[Row], sources: &[Source]) -> Vec<String> {
    let mut mends = BTreeSet::new();
    for source in sources {
        let Some(own) = floor(rows, &source.module) else {
            mends.insert(format!(
                "{}: give {} a row in ARCHITECTURE.md, above the files that import it",
                source.place, source.module
            ));
            continue;
        };
        let modules = modules(sources, &source.root);
        for named in paths(&source.syntax) {
            let place = format!("{}:{}", source.place, named.line);
            let target = target(source, &named, &modules);
            if let Some(up) = target.filter(|target| floor(rows, target) > Some(own)) {
                mends.insert(format!(
                    "{place}: {} stands on a floor below {up}: move the item that it needs down, or the row in \
                     ARCHITECTURE.md",
                    source.module
                ));
            }
            let path = named.path.join("::");
            let forbidden = |never: &&String| match target {
                Some(target) => covers(never, target),
                None => path == **never || path.starts_with(&format!("{never}::")),
            };
            let row = rows
                .get(own)
                .map(|row| row.never.as_slice())
                .unwrap_or_default();
            for never in row.iter().filter(forbidden) {
                mends.insert(format!(
                    "{place}: {} never imports {never}: move that code to a file which may",
                    source.module
                ));
            }
        }
    }
    mends.into_iter().collect()
}

/// The modules of one program or library that are files.
fn modules<'a>(sources: &'a [Source], root: &str) -> BTreeSet<&'a str> {
    sources
        .iter()
        .filter(|s| s.root == root)
        .map(|s| s.module.as_str())
        .collect()
}

/// The file of this crate that a path leads to: the deepest module of it that is a file. None for
/// a path of another crate, for the file itself, and for an item that the file only passes on to its users.
fn target<'a>(source: &Source, named: &Named, modules: &BTreeSet<&'a str>) -> Option<&'a str> {
    if named.is_passed_on {
        return None;
    }
    let is_root = source.module == source.root;
    // a program's modules lie below its folder, a library's below none
    let below = if source.root.starts_with("bin/") {
        source.root.as_str()
    } else {
        ""
    };
    let child = |of: &str, name: &str| match of {
        "" => name.to_owned(),
        of => format!("{of}/{name}"),
    };
    let mut names = named.path.iter().map(String::as_str).peekable();
    // the file's own module, and the modules within the file that hold the path
    let own = if is_root {
        below
    } else {
        source.module.as_str()
    };
    let mut at = named
        .inside
        .iter()
        .fold(own.to_owned(), |at, name| child(&at, name));
    match names.next()? {
        "crate" => at = below.to_owned(),
        "self" => {}
        "super" => {
            at = parent(&at);
            while names.next_if_eq(&"super").is_some() {
                at = parent(&at);
            }
        }
        first => {
            let first = child(&at, first);
            if !modules.contains(first.as_str()) {
                return None;
            }
            at = first;
        }
    }
    for name in names {
        let next = child(&at, name);
        if !modules.contains(next.as_str()) {
            break;
        }
        at = next;
    }
    // a module within a file is the file's
    while !modules.contains(at.as_str()) && !at.is_empty() && at != below {
        at = parent(&at);
    }
    let file = if at == below {
        source.root.as_str()
    } else {
        at.as_str()
    };
    modules
        .get(file)
        .copied()
        .filter(|file| *file != source.module)
}

fn parent(module: &str) -> String {
    module
        .rsplit_once('/')
        .map(|(parent, _)| parent.to_owned())
        .unwrap_or_default()
}

/// The imports of each file.
fn imports(sources: &[Source]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut imports = BTreeMap::new();
    for source in sources {
        let modules = modules(sources, &source.root);
        let targets = paths(&source.syntax);
        let targets = targets
            .iter()
            .filter_map(|named| target(source, named, &modules));
        imports.insert(source.module.as_str(), targets.collect());
    }
    imports
}

/// A shortest circle through each file that is in one, each circle once.
fn circles_of<'a>(imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for start in imports.keys() {
        if let Some(circle) = shortest(imports, start)
            && seen.insert(circle.iter().copied().collect::<BTreeSet<_>>())
        {
            circles.push(circle);
        }
    }
    circles
}

/// Breadth first, so the first way back is a shortest one.
fn shortest<'a>(
    imports: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    start: &'a str,
) -> Option<Vec<&'a str>> {
    let mut ways = std::collections::VecDeque::from([vec![start]]);
    let mut reached = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in imports.get(way.last()?).into_iter().flatten() {
            let with_next = || way.iter().chain([next]).copied().collect::<Vec<_>>();
            if *next == start {
                return Some(with_next());
            }
            if reached.insert(*next) {
                ways.push_back(with_next());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# A\n\n## one: x\n\n| file | holds | never imports |\n|---|---|---|\n| `low` | a | |\n\
                         | `mid`, `mid/{a,b}` | b | `tokio::net`, `low/deep` |\n| `lib` | c | |\n\n## other\n";

    fn source(module: &str, text: &str) -> Source {
        Source {
            place: format!("one/src/{module}.rs"),
            module: module.to_owned(),
            root: "lib".to_owned(),
            syntax: syn::parse_file(text).unwrap(),
        }
    }

    #[test]
    fn a_row_is_its_files_and_the_paths_that_they_never_import() {
        let rows = rows(TABLE, "one");
        let mid = Row {
            files: vec!["mid".into(), "mid/a".into(), "mid/b".into()],
            never: vec!["tokio::net".into(), "low/deep".into()],
        };
        assert_eq!(rows.get(1), Some(&mid));
        assert_eq!(
            (
                floor(&rows, "mid/a/x"),
                floor(&rows, "low/deep"),
                floor(&rows, "lo")
            ),
            (Some(1), Some(0), None)
        );
    }

    #[test]
    fn an_arrow_up_a_forbidden_path_and_a_file_without_a_row_are_found() {
        let rows = rows(TABLE, "one");
        let fine = [
            source("low", "use core::net::IpAddr;"),
            source("mid", "use crate::low::X; fn f() { tokio::time::sleep(1) }"),
            source("lib", "mod low; mod mid; pub use mid::X;"),
        ];
        assert_eq!(breaches(&rows, &fine), Vec::<String>::new());
        let up = [source("low", "use crate::mid::X;"), source("mid", "")];
        assert!(
            breaches(&rows, &up)
                .concat()
                .starts_with("one/src/low.rs:1: low stands on a floor below mid")
        );
        let root = [source("low", "use crate::X;"), source("lib", "")];
        assert!(breaches(&rows, &root).concat().contains("below lib"));
        let forbidden = [source(
            "mid",
            "\nfn f() { select! { x = tokio::net::lookup_host(a) => () } }",
        )];
        assert!(
            breaches(&rows, &forbidden)
                .concat()
                .starts_with("one/src/mid.rs:2: mid never imports tokio::net")
        );
        let inside = [
            source("mid", "use crate::low::deep::X;"),
            source("low", ""),
            source("low/deep", ""),
        ];
        assert!(
            breaches(&rows, &inside)
                .concat()
                .contains("never imports low/deep")
        );
        assert!(
            breaches(&rows, &[source("none", "")])
                .concat()
                .contains("give none a row")
        );
    }

    #[test]
    fn a_circle_is_found_however_it_is_written() {
        let found = |sources: &[Source]| circles_of(&imports(sources)).len();
        let passed_on = [
            source("a", "mod b; pub use b::X; pub trait Y {}"),
            source("a/b", "use super::Y;"),
        ];
        assert_eq!(found(&passed_on), 0);
        let child = [
            source("a", "mod b; pub use b::X; pub fn f(_: X) {}"),
            source("a/b", "use super::Y;"),
        ];
        assert_eq!(found(&child), 1);
        let inline = [
            source("a", "fn f() { crate::c::g() }"),
            source("c", "mod inner { fn h() { super::super::a::f() } }"),
        ];
        assert_eq!(found(&inline), 1);
        let three = [
            source("a", "use crate::b::X;"),
            source("b", "use crate::c::{X, Y as Z};"),
            source("c", "use crate::a;"),
        ];
        assert_eq!(circles_of(&imports(&three)), [vec!["a", "b", "c", "a"]]);
        let none = [
            source("a", "mod b; use b::X;"),
            source("a/b", "use crate::c::X;"),
            source("c", ""),
        ];
        assert_eq!(found(&none), 0);
        let test = [
            source("a", "mod b;\nuse self::b::X;"),
            source("a/b", "#[cfg(test)] use super::Y;"),
        ];
        assert_eq!(found(&test), 0);
    }
}
