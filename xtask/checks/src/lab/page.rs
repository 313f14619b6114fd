//! `lab page`: the page in headless Chromium gathers behind NATs of the kernel: each verdict against
//! the truth, and against the most that a browser can know.

use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::Choice;
use super::cases::Cohort;
use super::meeting::{FULL, MASQUERADE, OPEN, SYMMETRIC, only};
use crate::kernel::router::Router;
use crate::kernel::world::{Site, World};
use crate::{Failure, needs, root, table};

/// A NAT, and the results that are true of it and that a browser can know: type and mapping. A browser
/// drops the second of two equal candidates, and hides its own address, so it can prove a dependent
/// mapping and nothing else.
const CASES: [(&str, Router, &[&str]); 5] = [
    ("no NAT", OPEN, &["unknown unspecified"]),
    ("full cone", FULL, &["unknown unspecified"]),
    ("masquerade", MASQUERADE, &["unknown unspecified"]),
    (
        "random ports",
        SYMMETRIC,
        &["unknown address-port dependent"],
    ),
    (
        "UDP dropped",
        Router::Drop,
        &["unknown unspecified", "udp_blocked unspecified"],
    ),
];

/// A row of the page's own test.
#[derive(Debug, Deserialize)]
struct Shown {
    shown: String,
    seconds: f64,
    faults: Vec<String>,
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct Row {
    nat: &'static str,
    shown: String,
    seconds: f64,
    wrong: Vec<String>,
}

pub(super) fn judge_all(choice: &Choice) -> Result<bool, Failure> {
    needs::lab().map_or(Ok(()), Err)?;
    let page = root().join("target/page/index.html");
    if !page.is_file() {
        return Err("there is no page: `cargo xtask page` builds it".into());
    }
    let mut rows = Vec::new();
    for (nat, router, types) in CASES {
        // a silent server takes a browser 40 s
        let is_slow = matches!(router, Router::Drop);
        let is_wanted = choice.only.as_deref().is_none_or(|part| nat.contains(part));
        if (choice.quick && is_slow) || !is_wanted {
            continue;
        }
        eprintln!("{nat}:");
        let world = World::build(Site::behind(only(router)), false)?;
        let servers = Cohort::Five.servers();
        let output = world.client.inside(|| {
            Ok(Command::new("node")
                .arg(root().join("nat-summary/wasm/page/test.mjs"))
                .arg(&page)
                .arg("--gather")
                .args(
                    servers
                        .iter()
                        .take(3)
                        .map(|server| format!("stun:{server}")),
                )
                .stderr(Stdio::inherit())
                .output()?)
        })?;
        let shown: Vec<Shown> = serde_json::from_slice(&output.stdout)?;
        let [
            Shown {
                shown,
                seconds,
                faults,
            },
        ] = &shown[..]
        else {
            return Err(format!("{} rows of one gathering", shown.len()).into());
        };
        let mut wrong = faults.clone();
        let is_true = types.iter().any(|found| *shown == format!("local {found}"));
        if !is_true {
            wrong.push(format!("{types:?} is expected"));
        }
        rows.push(Row {
            nat,
            shown: shown.clone(),
            seconds: *seconds,
            wrong,
        });
    }
    if rows.is_empty() {
        return Err("no case has that in its name".into());
    }
    let passed = rows.iter().all(|row| row.wrong.is_empty());
    if choice.json {
        println!(
            "{:#}",
            serde_json::json!({ "passed": passed, "cases": rows })
        );
        return Ok(passed);
    }
    let cells = |row: &Row| {
        vec![
            row.nat.to_owned(),
            row.shown.clone(),
            format!("{:.1}", row.seconds),
            match row.wrong.as_slice() {
                [] => "true".to_owned(),
                wrong => format!("WRONG: {}", wrong.join("; ")),
            },
        ]
    };
    let cells: Vec<_> = rows.iter().map(cells).collect();
    println!(
        "{}",
        table::render(&["NAT", "the page shows", "s", ""], &cells)
    );
    Ok(passed)
}
