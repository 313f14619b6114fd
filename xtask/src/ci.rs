//! `ci`: everything a change has to pass, one step after the other, with the time of each step and
//! its skipped checks.

mod standalone;

use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::json;

use crate::verdict::Verdict;
use common::commands::Ci;
use common::output::StepOutput;
use common::suites;

use crate::{Failure, bounds, fuzz, needs, page, python, root, table, wasm, workspace};

/// A step: its name, its work, and its environment.
struct Step {
    name: &'static str,
    does: Does,
    environment: &'static [(&'static str, &'static str)],
    /// Why it cannot run here, if it cannot.
    skip: fn() -> Option<String>,
}

enum Does {
    Cargo(String),
    /// Runs a program as the tests have it, with all features: cargo would build it again, with the
    /// features that it has without the other crates.
    Built(&'static str, String),
    Ours(fn(&mut StepOutput) -> Result<bool, Failure>),
}

const fn step(name: &'static str, does: Does) -> Step {
    Step {
        name,
        does,
        environment: &[],
        skip: || None,
    }
}

fn cargo(name: &'static str, line: impl Into<String>) -> Step {
    step(name, Does::Cargo(line.into()))
}

fn built(name: &'static str, program: &'static str, line: impl Into<String>) -> Step {
    step(name, Does::Built(program, line.into()))
}

fn steps() -> Vec<Step> {
    vec![
        step("tools", Does::Ours(tools)),
        cargo("fmt", "fmt --all --check"),
        cargo(
            "clippy",
            "clippy --workspace --all-targets --all-features -- -D warnings",
        ),
        cargo(
            "clippy, default features",
            "clippy --workspace --all-targets -- -D warnings",
        ),
        step("each library alone", Does::Ours(standalone::features)),
        cargo("tidy", "xtask tidy"),
        Step {
            environment: &[("RUSTDOCFLAGS", "-D warnings")],
            ..cargo("docs", "doc --workspace --no-deps --all-features")
        },
        cargo(TESTS, "test --workspace --all-features"),
        step(
            "machine, a million steps",
            Does::Ours(|output| suites::below("steps::", ("MACHINE_STEPS", "1000000"), output)),
        ),
        built("example, peer connections", "examples/peer_connection", ""),
        built("example, agents", "examples/connect", ""),
        built("example, gather", "examples/gather", ""),
        built("example, attempt", "examples/attempt", ""),
        built("example, spans", "examples/emit", "file /dev/null"),
        built(
            "leak, data channel and pipeline",
            "xtask-checks",
            format!(
                "leak --only channel,pipeline --no-stock --cycles {}",
                bounds::CHANNEL_CYCLES_CI
            ),
        ),
        built("heap of a data channel", "xtask-checks", "channel --sizes"),
        Step {
            skip: needs::lab,
            ..built("interop", "xtask-checks", "interop --quick")
        },
        step("other stacks", Does::Ours(standalone::stacks)),
        Step {
            skip: needs::lab,
            ..built("taps", "xtask-checks", "taps --quick")
        },
        Step {
            skip: needs::lab,
            ..built("lab, censors", "xtask-checks", "lab censors --quick")
        },
        // the stands of strangers have open rows, which consumer-fsm/docs/siege.md names
        Step {
            skip: needs::lab,
            ..built(
                "siege, a peer with keys",
                "xtask-checks",
                "siege --quick --only peer",
            )
        },
        Step {
            skip: needs::lab,
            ..built(
                "siege, hostile hosts",
                "xtask-checks",
                "siege --quick --only hostile",
            )
        },
        Step {
            skip: no_collector,
            ..built("collector", "xtask-checks", "collector")
        },
        Step {
            skip: no_duckdb,
            ..built("fleet", "xtask-checks", "fleet --quick")
        },
        Step {
            skip: no_clickhouse,
            ..built(
                "fleet, ClickHouse",
                "xtask-checks",
                "fleet --quick --engine clickhouse",
            )
        },
        cargo("bench, emission", "bench -q -p otel-nat"),
        cargo("bench, counts", "xtask bench counts --compare"),
        cargo("demo", "xtask demo"),
        // stock is there to compare with, and judges nothing
        cargo(
            "leak",
            format!(
                "xtask leak --as-built --no-stock --cycles {}",
                bounds::LEAK_CYCLES_CI
            ),
        ),
        cargo("slots", "xtask slots --quick"),
        cargo(
            "chaos",
            format!(
                "xtask chaos --seed 1 --minutes {}",
                bounds::CHAOS_MINUTES_CI
            ),
        ),
        Step {
            skip: needs::lab,
            ..cargo("lab", "xtask lab --quick")
        },
        cargo("package", "xtask package --quick"),
        Step {
            skip: wasm::missing,
            ..cargo("wasm", "xtask wasm")
        },
        Step {
            skip: page::missing,
            ..cargo("page", "xtask page --test")
        },
        Step {
            skip: fuzz::missing,
            ..cargo(
                "fuzz",
                format!("xtask fuzz --seconds {}", bounds::FUZZ_SECONDS),
            )
        },
        step("promised Rust", Does::Ours(standalone::promised)),
    ]
}

impl Step {
    fn run(&self, output: &mut StepOutput) -> Result<bool, Failure> {
        let mut command = match &self.does {
            Does::Ours(check) => return check(output),
            Does::Cargo(line) => {
                let mut cargo = workspace::cargo();
                cargo.args(line.split_whitespace());
                cargo
            }
            Does::Built(program, line) => {
                // built first, because an existing program may be older than the code, or have
                // fewer features
                if !output.run(suites::build())? {
                    return Err("the workspace does not build".into());
                }
                let mut built =
                    Command::new(workspace::build_folder(&root()).join("debug").join(program));
                built.args(line.split_whitespace());
                built
            }
        };
        command.envs(self.environment.iter().copied());
        output.run(command)
    }

    fn line(&self) -> String {
        match &self.does {
            Does::Cargo(line) => format!("cargo {line}"),
            Does::Built(program, line) => format!("{program} {line}"),
            Does::Ours(_) => String::new(),
        }
    }
}

fn no_collector() -> Option<String> {
    python::rotel(&root()).err()
}

fn no_duckdb() -> Option<String> {
    python::with(&root(), &[python::DUCKDB, python::MATPLOTLIB]).err()
}

fn no_clickhouse() -> Option<String> {
    let packages = [
        python::DUCKDB,
        python::MATPLOTLIB,
        python::CHDB,
        python::GRAFANA,
        python::YAML,
    ];
    no_collector().or_else(|| python::with(&root(), &packages).err())
}

/// Says what tests cannot show on this machine: cargo keeps to itself what a test that passes says.
fn tools(output: &mut StepOutput) -> Result<bool, Failure> {
    if let Some(why) = needs::lab() {
        output.line(&format!("skipped: tests behind NATs of the kernel: {why}"));
    }
    for (program, option, what) in [
        ("turnserver", "--help", "coturn as STUN and TURN server"),
        ("faketime", "--version", "clocks that step"),
        ("valgrind", "--version", "counted instructions"),
    ] {
        // any exit status will do, because only the start of the program counts
        if Command::new(program).arg(option).output().is_err() {
            output.line(&format!(
                "skipped: tests with {what}: there is no `{program}`"
            ));
        }
    }
    Ok(true)
}

/// The test command of the README.
const TESTS: &str = "tests";

/// How a step ended.
#[derive(Debug, Serialize)]
struct Row {
    step: &'static str,
    verdict: Verdict,
    seconds: f64,
    /// The checks that this machine skipped, and why.
    skipped: Vec<String>,
    /// Why it could not go on, if it could not.
    failure: Option<String>,
}

/// `--tested` says that the README's test command has passed just now: then it is not run again.
/// `--only` runs the steps with that in their name. `--began` is when all this began, in seconds
/// since 1970, if that was before us.
pub(crate) fn run(options: &Ci) -> Result<bool, Failure> {
    let started = Instant::now();
    let before = match options.began {
        Some(began) => SystemTime::now()
            .duration_since(UNIX_EPOCH + Duration::from_secs(began))
            .unwrap_or_default(),
        None => Duration::ZERO,
    };
    let only = options.only.as_deref();
    let mut steps = steps();
    let all: Vec<&str> = steps.iter().map(|step| step.name).collect();
    steps.retain(|step| only.is_none_or(|part| step.name.contains(part)));
    if steps.is_empty() {
        return Err(format!("no step has that in its name; they are: {}", all.join("; ")).into());
    }
    let rows: Vec<Row> = steps.iter().map(|step| row(step, options)).collect();
    let passed = rows.iter().all(|row| row.verdict != Verdict::Failed);
    let in_all = before + started.elapsed();
    if options.json {
        let result = json!({
            "passed": passed,
            "seconds": in_all.as_secs_f64(),
            "seconds_before": before.as_secs_f64(),
            "seconds_bound": bounds::CI.as_secs(),
            "steps": rows,
        });
        println!("{result:#}");
    } else {
        println!("\n{}", render(&rows, passed, before, in_all));
    }
    Ok(passed)
}

fn row(step: &Step, options: &Ci) -> Row {
    let mut output = StepOutput::new(options.json);
    output.line(&format!("\n== {}: {}", step.name, step.line()));
    let started = Instant::now();
    let tested =
        (options.tested && step.name == TESTS).then(|| "it has passed just now".to_owned());
    let (verdict, failure) = if let Some(reason) = tested.or_else(step.skip) {
        output.line(&format!("skipped: {reason}"));
        (Verdict::Skipped, None)
    } else {
        match step.run(&mut output) {
            Ok(passed) => (Verdict::of(passed), None),
            Err(failure) => (Verdict::Failed, Some(failure.to_string())),
        }
    };
    if let Some(failure) = &failure {
        output.line(failure);
    }
    let seconds = started.elapsed().as_secs_f64();
    Row {
        step: step.name,
        verdict,
        seconds,
        skipped: output.into_skipped(),
        failure,
    }
}

/// A line per step, and then all that was skipped.
fn render(rows: &[Row], passed: bool, before: Duration, in_all: Duration) -> String {
    let cells = |name: &str, seconds: f64, word: String| {
        vec![name.to_owned(), format!("{seconds:.1}"), word]
    };
    let of_step = |row: &Row| {
        let word = match (row.verdict, row.skipped.len()) {
            (Verdict::Skipped, _) | (_, 0) => row.verdict.word().to_owned(),
            (verdict, skipped) => format!("{}, {skipped} skipped", verdict.word()),
        };
        cells(row.step, row.seconds, word)
    };
    let mut lines: Vec<_> = rows.iter().map(of_step).collect();
    if !before.is_zero() {
        lines.insert(
            0,
            cells(
                "before: what it needs, the README's tests",
                before.as_secs_f64(),
                String::new(),
            ),
        );
    }
    let mut word = Verdict::of(passed).word().to_owned();
    if in_all > bounds::CI {
        let bound = bounds::CI.as_secs() / 60;
        word += &format!(
            "; over the {bound} minutes it should take, which may be the machine and fails nothing"
        );
    }
    lines.push(cells("in all", in_all.as_secs_f64(), word));
    let mut out = table::render(&["step", "s", ""], &lines);
    for row in rows {
        row.failure
            .iter()
            .for_each(|failure| out += &format!("FAILED {}: {failure}\n", row.step));
        row.skipped
            .iter()
            .for_each(|reason| out += &format!("skipped in {}: {reason}\n", row.step));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_counts_what_was_skipped_and_says_what_and_why() {
        let row = |step, verdict, skipped: &[&str], failure: Option<&str>| Row {
            step,
            verdict,
            seconds: 1.0,
            skipped: skipped.iter().map(|reason| (*reason).to_owned()).collect(),
            failure: failure.map(str::to_owned),
        };
        let rows = [
            row("one", Verdict::Passed, &["a: no b", "c: no d"], None),
            row("two", Verdict::Skipped, &["no e"], None),
            row("three", Verdict::Failed, &[], Some("no f")),
            row("four", Verdict::Passed, &[], None),
        ];
        let table = render(
            &rows,
            false,
            Duration::from_secs(9),
            bounds::CI + Duration::from_secs(1),
        );
        for line in [
            "one                                        1.0     passed, 2 skipped",
            "two                                        1.0     skipped",
            "four                                       1.0     passed",
            "before: what it needs, the README's tests  9.0",
            "skipped in one: a: no b",
            "skipped in one: c: no d",
            "skipped in two: no e",
            "FAILED three: no f",
        ] {
            assert!(
                table.lines().any(|written| written == line),
                "{line}\n{table}"
            );
        }
        assert!(table.contains("over the 25 minutes"), "{table}");
    }

    #[test]
    fn a_step_that_cannot_go_on_is_a_failed_row() {
        let json = Ci {
            tested: false,
            only: None,
            began: None,
            json: true,
        };
        let row = row(&step("x", Does::Ours(|_| Err("no disk".into()))), &json);
        assert_eq!(
            (row.verdict, row.failure.as_deref()),
            (Verdict::Failed, Some("no disk"))
        );
    }
}
