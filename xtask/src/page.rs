//! `page`: builds the page that judges a text or a browser, and the package for Node and browsers;
//! `--test` drives the page in headless Chromium.

use std::process::Command;

use common::commands::Page;
use serde::{Deserialize, Serialize};

use crate::{Failure, root, table, wasm, workspace};

/// One case of the page.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    case: String,
    /// The results that the page shows, or its status.
    shown: String,
    seconds: f64,
    faults: Vec<String>,
}

/// The reason why it cannot be built here, or not be tested.
pub(crate) fn missing() -> Option<String> {
    let no_browser = || {
        let has_browser = workspace::runs("chromium", &["--version"]);
        (!has_browser).then(|| "there is no Chromium, whose package in Debian is `chromium`".into())
    };
    wasm::missing().or_else(no_browser)
}

pub(crate) fn run(options: &Page) -> Result<bool, Failure> {
    let missing = if options.test {
        missing()
    } else {
        wasm::missing()
    };
    missing.map_or(Ok(()), Err)?;
    let root = root();
    let (sources, folder) = (root.join("nat-summary/wasm"), root.join("target/page"));
    let module = wasm::nat_summary()?;
    let mut bundle = Command::new("node");
    bundle
        .arg(sources.join("page/bundle.mjs"))
        .arg(module)
        .arg(&folder);
    if !bundle.status()?.success() {
        return Err("the page could not be put together".into());
    }
    let page = folder.join("index.html");
    let mut pack = Command::new("npm");
    pack.current_dir(folder.join("npm"))
        .args(["pack", "--silent", "--pack-destination", ".."]);
    let is_packed = !options.test && workspace::runs("npm", &["--version"]);
    if is_packed && !pack.stdout(std::io::stderr()).status()?.success() {
        return Err("the package could not be packed".into());
    }
    if !options.test {
        eprintln!("{}", page.display());
        return Ok(true);
    }
    let output = Command::new("node")
        .arg(sources.join("page/test.mjs"))
        .arg(&page)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    let rows: Vec<Row> = serde_json::from_slice(&output.stdout)?;
    let passed = !rows.is_empty() && rows.iter().all(|row| row.faults.is_empty());
    if options.json {
        println!(
            "{:#}",
            serde_json::json!({ "passed": passed, "rows": rows })
        );
        return Ok(passed);
    }
    let cells = |row: &Row| {
        let verdict = match row.faults.as_slice() {
            [] => "passed".to_owned(),
            faults => format!("FAILED: {}", faults.join("; ")),
        };
        vec![
            row.case.clone(),
            row.shown.clone(),
            format!("{:.1}", row.seconds),
            verdict,
        ]
    };
    let cells: Vec<_> = rows.iter().map(cells).collect();
    println!(
        "{}",
        table::render(&["input", "the page shows", "s", ""], &cells)
    );
    Ok(passed)
}
