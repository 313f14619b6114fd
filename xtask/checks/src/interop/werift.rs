//! werift, of npm: the whole of WebRTC in TypeScript, under Node.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Program;
use super::process::{Launch, packaged, program};
use crate::{python, workspace};

/// Which one was read and run.
const WERIFT: &str = "werift@0.24.4";

pub(crate) const PROGRAM: Program = Program {
    name: "werift",
    tells_addresses: true,
    refuses_hosts: false,
    install: |root| {
        if program("npm", "--version").is_err() {
            packaged(&["nodejs", "npm"])?;
        }
        installed(root).map(drop)
    },
    prepare: |root| {
        let node = program("node", "--version")
            .map_err(|why| format!("{why}; Debian's packages are `nodejs`, `npm`"))?;
        let folder = installed(root)?;
        Ok(Launch {
            program: node,
            first: vec![root.join("xtask/checks/interop/werift.mjs").into()],
            arguments: |services, _| {
                vec![services.url.clone().into(), services.stun.clone().into()]
            },
            last: vec![folder.into()],
        })
    },
};

fn installed(root: &Path) -> Result<PathBuf, String> {
    let folder = workspace::build_folder(root).join("interop").join("npm");
    if !folder.join("node_modules/werift").exists() {
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let mut install = Command::new("npm");
        install
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
            ])
            .arg(&folder)
            .arg(WERIFT);
        python::succeed(&mut install, "the npm package werift")?;
    }
    Ok(folder)
}
