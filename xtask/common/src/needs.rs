//! Requirements of the checks that can be tested without building them.

use std::io::Write;
use std::process::{Command, Stdio};

/// Settings of a namespace of the lab, and its rules. Some kernels and some containers refuse them.
const LAB: &str = "set -e
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
nft -f -";
const RULES: &str = "table inet lab {
chain outward {
type nat hook postrouting priority srcnat;
masquerade
}
}
";

/// The reason why the NATs of the kernel are missing here, with the mend; none where they work.
#[must_use]
pub fn lab() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("the lab needs Linux".to_owned());
    }
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        if !starts(program, "-V") {
            return Some(format!(
                "`{program}` is missing; `cargo xtask lab --install` installs {package}"
            ));
        }
    }
    let made = in_a_namespace("true", "");
    if let Err(why) = made {
        return Some(format!(
            "no network namespace can be made ({why}); be root, or run it under `unshare --map-root-user`"
        ));
    }
    in_a_namespace(LAB, RULES)
        .err()
        .map(|why| format!("the kernel does no NAT by nftables here ({why})"))
}

/// Whether coturn can run, and can be made to end with its parent.
#[must_use]
pub fn has_coturn() -> bool {
    starts("turnserver", "-h") && starts("setpriv", "-V")
}

/// Whether a program starts, however it ends.
#[must_use]
pub fn starts(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// Runs a script in a network namespace of its own, which ends with it.
fn in_a_namespace(script: &str, input: &str) -> Result<(), String> {
    let run = || -> std::io::Result<(bool, String)> {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // a script that ended before it read reports the reason itself
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        Ok((
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ))
    };
    match run() {
        Ok((true, _)) => Ok(()),
        Ok((false, complaint)) => Err(complaint),
        Err(error) => Err(format!("unshare: {error}")),
    }
}
