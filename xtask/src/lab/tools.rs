//! What the lab needs of the machine: privileges, programs, and how to get them.

use std::process::{Command, Stdio};

use crate::Failure;
use crate::lab::namespace::Namespace;

/// Debian packages with everything the lab runs.
const PACKAGES: [&str; 4] = ["iproute2", "nftables", "coturn", "util-linux"];

/// Whether the lab can run here; if not, why, and what to do.
pub(crate) fn check() -> Result<(), String> {
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        if !is_there(program, "-V") {
            return Err(format!(
                "`{program}` is missing; `cargo xtask lab --install` installs {package}"
            ));
        }
    }
    let namespace = Namespace::new().map_err(|error| {
        format!("no network namespace can be made ({error}); be root, or run it under `unshare --map-root-user`")
    })?;
    let nat = "table inet lab {\nchain outward {\ntype nat hook postrouting priority srcnat;\nmasquerade\n}\n}\n";
    namespace.run("nft", &["-f", "-"], nat).map_err(|error| {
        format!(
            "the kernel does no NAT by nftables here ({})",
            error.to_string().trim()
        )
    })
}

/// Whether coturn can run, and ends with us.
pub(crate) fn has_coturn() -> bool {
    is_there("turnserver", "-h") && is_there("setpriv", "-V")
}

/// Any answer will do: what counts is that the program starts.
fn is_there(program: &str, argument: &str) -> bool {
    let (null, error) = (Stdio::null(), Stdio::null());
    Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(null)
        .stderr(error)
        .status()
        .is_ok()
}

/// Installs what is missing by `apt-get`, and says so before; the standard output is left alone.
pub(crate) fn install() -> Result<(), Failure> {
    let arguments = [
        &["install", "--yes", "--no-install-recommends"],
        &PACKAGES[..],
    ]
    .concat();
    eprintln!("apt-get {}", arguments.join(" "));
    eprintln!(
        "(on a system with a service manager, coturn's package may start a server of its own: the lab needs none)"
    );
    let status = Command::new("apt-get")
        .args(&arguments)
        .stdout(std::io::stderr())
        .status()
        .map_err(|error| format!("apt-get: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("apt-get: {status}").into())
    }
}
