//! How the programs that the lab needs are had.

use std::process::Command;

use crate::Failure;

/// Debian packages with everything the lab runs.
const PACKAGES: [&str; 4] = ["iproute2", "nftables", "coturn", "util-linux"];

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
