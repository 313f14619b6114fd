//! The end of the program: its exit status, and what it prints.

use std::io::Write;

/// The exit statuses, as the help lists them.
pub(crate) mod status {
    use nat_summary::NatType;

    pub(crate) const OK: u8 = 0;
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const NO_NETWORK: u8 = 3;
    /// As a shell has it for a program that SIGINT ended.
    pub(crate) const INTERRUPTED: u8 = 130;

    pub(crate) const fn of_type(nat_type: NatType) -> u8 {
        match nat_type {
            NatType::Open => 10,
            NatType::Cone => 11,
            NatType::FullCone => 12,
            NatType::AddressRestrictedCone => 13,
            NatType::PortRestrictedCone => 14,
            NatType::Symmetric => 15,
            NatType::UdpBlocked => 16,
            _ => 17,
        }
    }
}

/// Why the program has nothing to report, and its exit status.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: u8,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(status: u8, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

/// Errors of standard output are not reported, because a reader that went away wants no more.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}
