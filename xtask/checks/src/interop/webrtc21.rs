//! webrtc-rs from 0.21 on: the line that follows the one our agent stands on, with all of its parts new.

use std::path::{Path, PathBuf};

use super::Program;
use super::process::Launch;
use crate::{python, workspace};

pub(super) const PROGRAM: Program = Program {
    name: "webrtc 0.21",
    tells_addresses: true,
    refuses_hosts: false,
    install: |root| build(root).map(drop),
    prepare: |root| {
        Ok(Launch {
            program: build(root)?,
            first: Vec::new(),
            arguments: |services, _| {
                vec![services.url.clone().into(), services.stun.clone().into()]
            },
            last: Vec::new(),
        })
    },
};

/// Builds the program apart from the workspace, because its crates never share a tree with the libraries'.
fn build(root: &Path) -> Result<PathBuf, String> {
    let folder = workspace::build_folder(root)
        .join("interop")
        .join("webrtc21");
    let mut build = workspace::cargo();
    build
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(root.join("xtask/checks/interop/webrtc21/Cargo.toml"))
        .arg("--target-dir")
        .arg(&folder);
    python::succeed(&mut build, "a build of webrtc 0.21")?;
    Ok(folder.join("debug").join("webrtc21"))
}
