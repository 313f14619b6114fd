//! aiortc, of PyPI: the whole of WebRTC in Python.

use std::path::Path;

use super::Program;
use super::process::Launch;
use crate::python;

/// Which one was read and run.
const AIORTC: &str = "aiortc==1.16.0";

pub(crate) const PROGRAM: Program = Program {
    name: "aiortc",
    tells_addresses: true,
    refuses_hosts: false,
    install: |root| python::with(root, &[AIORTC]).map(drop),
    prepare: |root: &Path| {
        Ok(Launch {
            program: python::with(root, &[AIORTC])?,
            first: vec![root.join("xtask/checks/interop/aiortc_producer.py").into()],
            arguments: |services, _| {
                vec![services.url.clone().into(), services.stun.clone().into()]
            },
            last: Vec::new(),
        })
    },
};
