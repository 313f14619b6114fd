//! The stacks, and how each asks its servers: ice-gather/docs/which-way-in.md has the same table.

use std::path::Path;

use super::running::Launch;
use crate::interop::{Program, aiortc, chromium, pion, str0m, webrtc21, werift};

/// From which sockets a stack asks its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// All of them from one.
    OneSocket,
    /// Each from another.
    SocketPerServer,
    /// Only one of those that it is given.
    OneServer,
}

/// A stack, as it was measured.
pub(super) struct Stack {
    pub(super) name: &'static str,
    pub(super) install: fn(&Path) -> Result<(), String>,
    pub(super) prepare: fn(&Path) -> Result<Launch, String>,
    pub(super) asks: Asks,
    /// Whether it asks a silent server again.
    pub(super) retransmits: bool,
    /// Whether its program observes its own sockets.
    pub(super) has_seam: bool,
}

/// A stack that is a program of `interop`.
const fn of(
    program: &'static Program,
    prepare: fn(&Path) -> Result<Launch, String>,
    asks: Asks,
) -> Stack {
    Stack {
        name: program.name,
        install: program.install,
        prepare,
        asks,
        retransmits: true,
        has_seam: false,
    }
}

fn process(program: &Program, root: &Path) -> Result<Launch, String> {
    (program.prepare)(root).map(Launch::Process)
}

pub(super) const STACKS: [Stack; 8] = [
    of(
        &chromium::PROGRAM,
        |root| process(&chromium::PROGRAM, root),
        Asks::OneSocket,
    ),
    of(
        &chromium::WITHOUT_MDNS,
        |root| process(&chromium::WITHOUT_MDNS, root),
        Asks::OneSocket,
    ),
    of(
        &aiortc::PROGRAM,
        |root| process(&aiortc::PROGRAM, root),
        Asks::OneServer,
    ),
    Stack {
        retransmits: false,
        ..of(
            &pion::PROGRAM,
            |root| process(&pion::PROGRAM, root),
            Asks::SocketPerServer,
        )
    },
    of(
        &werift::PROGRAM,
        |root| process(&werift::PROGRAM, root),
        Asks::OneServer,
    ),
    Stack {
        name: "webrtc 0.17",
        install: |_| Ok(()),
        prepare: |_| Ok(Launch::Webrtc17),
        asks: Asks::SocketPerServer,
        retransmits: false,
        has_seam: false,
    },
    Stack {
        has_seam: true,
        ..of(
            &webrtc21::PROGRAM,
            |root| process(&webrtc21::PROGRAM, root),
            Asks::OneSocket,
        )
    },
    Stack {
        has_seam: true,
        ..of(
            &str0m::PROGRAM,
            |root| process(&str0m::PROGRAM, root),
            Asks::OneSocket,
        )
    },
];
