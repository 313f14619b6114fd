//! Colour, where a person looks.

use std::io::IsTerminal;

use nat_summary::NatType;

/// The decision whether text is coloured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style(bool);

impl Style {
    pub(crate) const PLAIN: Self = Self(false);

    /// Coloured on a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal is dumb.
    pub(crate) fn of_stdout() -> Self {
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self(std::io::stdout().is_terminal() && !is_refused && !is_dumb)
    }

    /// The line of the verdict, in a colour that says how well direct connections work.
    pub(crate) fn verdict(self, nat_type: NatType, line: &str) -> String {
        let colour = match nat_type {
            NatType::Unknown => 33,
            NatType::Symmetric | NatType::UdpBlocked => 31,
            _ => 32,
        };
        if self.0 {
            format!("\x1b[1;{colour}m{line}\x1b[0m")
        } else {
            line.to_owned()
        }
    }
}
