//! str0m, which gathers nothing itself: a plan of ours asks over its socket.

use super::Program;
use super::process::Launch;
use super::stacks;

pub(crate) const PROGRAM: Program = Program {
    name: "str0m",
    tells_addresses: true,
    refuses_hosts: false,
    install: |root| stacks::build(root, "str0m-producer").map(drop),
    prepare: |root| {
        Ok(Launch {
            program: stacks::build(root, "str0m-producer")?,
            first: Vec::new(),
            arguments: |services, _| {
                vec![services.url.clone().into(), services.stun.clone().into()]
            },
            last: Vec::new(),
        })
    },
};
