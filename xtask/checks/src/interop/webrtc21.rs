//! webrtc-rs from 0.21 on: the line that follows the one our agent stands on, with all of its parts new.

use super::Program;
use super::process::Launch;
use super::stacks;

pub(crate) const PROGRAM: Program = Program {
    name: "webrtc 0.21",
    tells_addresses: true,
    refuses_hosts: false,
    install: |root| stacks::build(root, "webrtc21").map(drop),
    prepare: |root| {
        Ok(Launch {
            program: stacks::build(root, "webrtc21")?,
            first: Vec::new(),
            arguments: |services, _| {
                vec![services.url.clone().into(), services.stun.clone().into()]
            },
            last: Vec::new(),
        })
    },
};
