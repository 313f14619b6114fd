//! The page: every part that was run, with its tables, pictures and bounds, in one file that needs
//! no other.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use super::baseline::Baseline;
use super::{PARTS, Section, TARGET_HEADS, plot, target_rows};
use common::commands::BenchPart;

use crate::{Failure, root, workspace};

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>What it costs</title><style>
body { font-family: sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0; font-size: 14px }
th, td { text-align: left; padding: 3px 12px 3px 0; border-bottom: 1px solid #ddd; vertical-align: top }
td { font-variant-numeric: tabular-nums }
.met { color: #1a7f37 } .unmet { color: #9a6700 } .broken { color: #c00; font-weight: bold }
.ours { color: rgb(0, 92, 175) } .other { color: rgb(200, 110, 30) }
svg { max-width: 100%; height: auto }
</style></head><body>
<h1>What it costs</h1>
<p>A verdict on the NAT in front of a consumer, from the first packet to the span that tells of it: measured by <code>cargo xtask bench</code>.</p>
";

const HOW_TO_READ: &str = "<p>Each thing is measured beside what one would use instead, in one run on one machine. \
<b class=\"ours\">Blue</b> is ours, <b class=\"other\">orange</b> what it is compared with. A ratio is told as its median and, \
in brackets, where the middle 80 % of it lie (p10 to p90); the thin line on a \
bar is the same of a figure. Counts decide whether the command \
fails; of times only a ratio beyond its gate does, which no busy machine explains: <i>unmet, within the gate</i> or <i>told \
only</i> misses its target and does not fail. The baseline is what \
<code>cargo xtask bench --save</code> found last, in <code>xtask/bench-baseline.json</code>.</p>\n";

/// Where reports are.
pub(super) fn folder() -> Result<PathBuf, Failure> {
    let folder = workspace::build_folder(&root()).join("xtask").join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?)
}

/// Writes `report.html`, or one named for the part if only that was run; where it is.
pub(super) fn write(
    part: Option<BenchPart>,
    sections: &[(BenchPart, &Section)],
    baseline: &Baseline,
) -> Result<PathBuf, Failure> {
    let mut page = String::from(HEAD);
    let targets = || sections.iter().flat_map(|(_, section)| &section.targets);
    let (all, met) = (
        targets().count(),
        targets().filter(|target| target.met).count(),
    );
    let broken = targets()
        .filter(|target| !target.met && target.gates)
        .count();
    writeln!(page, "<p>{}</p>", text(&circumstances()))?;
    let verdict = if broken == 0 {
        "none fails"
    } else {
        "SOME FAIL"
    };
    writeln!(
        page,
        "<p><b>{met} of {all} bounds met, {broken} beyond their gate: {verdict}.</b></p>"
    )?;
    page += HOW_TO_READ;
    let missed: Vec<_> = PARTS
        .iter()
        .filter(|(name, _)| sections.iter().all(|(run, _)| run != name))
        .collect();
    if !missed.is_empty() {
        let names: Vec<_> = missed
            .iter()
            .map(|(name, _)| format!("<code>cargo xtask bench {name}</code>"))
            .collect();
        writeln!(
            page,
            "<p>Not run this time, and so not shown here: {}.</p>",
            names.join(", ")
        )?;
    }
    for (name, section) in sections {
        let question = PARTS
            .iter()
            .find(|(part, _)| part == name)
            .map_or("", |(_, question)| question);
        writeln!(
            page,
            "<h2 id=\"{name}\">{name}</h2>\n<p>{}</p>",
            text(question)
        )?;
        for picture in &section.plots {
            writeln!(page, "<p>{}</p>", plot::draw(picture)?)?;
        }
        if !section.targets.is_empty() {
            table(
                &mut page,
                &TARGET_HEADS,
                &target_rows(&section.targets, baseline),
            )?;
        }
        for (heads, rows) in &section.tables {
            table(&mut page, heads, rows)?;
        }
        for note in &section.notes {
            writeln!(page, "<p>{}</p>", text(note))?;
        }
    }
    page += "</body></html>\n";
    let name = part.map_or_else(|| "report".to_owned(), |part| part.to_string());
    let file = folder()?.join(name + ".html");
    std::fs::write(&file, page)?;
    Ok(file)
}

fn table(page: &mut String, heads: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
        cells
            .map(|cell| format!("<{tag}{}>{}", class(cell), text(cell)))
            .collect::<String>()
    };
    writeln!(
        page,
        "<table><tr>{}</tr>",
        cells("th", &mut heads.iter().copied())
    )?;
    for row in rows {
        writeln!(
            page,
            "<tr>{}</tr>",
            cells("td", &mut row.iter().map(String::as_str))
        )?;
    }
    writeln!(page, "</table>")?;
    Ok(())
}

/// A verdict has its colour.
fn class(cell: &str) -> &'static str {
    match cell {
        "met" | "same" | "better" => " class=\"met\"",
        "UNMET" | "WORSE" => " class=\"broken\"",
        _ if cell.starts_with("unmet") => " class=\"unmet\"",
        _ => "",
    }
}

fn text(plain: &str) -> String {
    plain
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// The time, the commit and the machine, as far as the system reports them.
fn circumstances() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(root())
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let processor = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|told| {
            let line = told
                .lines()
                .find_map(|line| line.strip_prefix("model name"))?;
            Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
        });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let told = [
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        said("git", &["describe", "--always", "--dirty"]).map(|commit| format!("commit {commit}")),
        said("rustc", &["--version"]),
        Some(format!("{cores} cores")),
        processor,
        std::fs::read_to_string("/proc/loadavg")
            .ok()
            .and_then(|told| Some(format!("load at the end {}", told.split(' ').next()?))),
    ];
    told.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
