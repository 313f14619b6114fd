//! What a command was told, read by the usage it prints: `[--flag]`, `[--option VALUE]`, `[PART]`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::str::FromStr;

use lexopt::prelude::{Long, Value, ValueExt};

use crate::Failure;

/// The arguments after the command's name.
#[derive(Debug, Default)]
pub struct Options {
    /// By name; a flag has an empty value.
    named: BTreeMap<String, String>,
    part: Option<String>,
}

impl Options {
    /// Only what `usage` names is accepted.
    pub fn read(usage: &str, arguments: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let known: Vec<&str> = usage
            .split(['[', ']'])
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .collect();
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut options = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Long(name) if known.contains(&format!("--{name}").as_str()) => {
                    options.named.insert(name.to_owned(), String::new());
                }
                Long(name)
                    if known
                        .iter()
                        .any(|item| item.starts_with(&format!("--{name} "))) =>
                {
                    let name = name.to_owned();
                    options.named.insert(name, parser.value()?.string()?);
                }
                Value(value)
                    if options.part.is_none()
                        && known.iter().any(|item| !item.starts_with("--")) =>
                {
                    options.part = Some(value.string()?);
                }
                other => return Err(format!("{}; it takes {usage}", other.unexpected()).into()),
            }
        }
        Ok(options)
    }

    /// Whether the flag or option was given.
    pub fn is(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// The value of an option, if it was given.
    pub fn value<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let read = |text: &String| {
            text.parse()
                .map_err(|_| format!("--{name} cannot be {text:?}").into())
        };
        self.named.get(name).map(read).transpose()
    }

    /// What stands there without a name.
    pub fn part(&self) -> Option<&str> {
        self.part.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(usage: &str, arguments: &str) -> Result<Options, Failure> {
        Options::read(usage, arguments.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_command_takes_what_its_usage_names() {
        let options = read("[PART] [--json] [--cycles N]", "path --cycles 30 --json").unwrap();
        assert_eq!(
            (options.part(), options.is("json"), options.is("quick")),
            (Some("path"), true, false)
        );
        assert_eq!(options.value::<u32>("cycles").unwrap(), Some(30));
        assert_eq!(options.value::<u32>("seconds").unwrap(), None);
    }

    #[test]
    fn and_nothing_else() {
        for wrong in ["--jsn", "part", "--cycle 3"] {
            assert!(read("[--json] [--cycles N]", wrong).is_err(), "{wrong}");
        }
        assert!(
            read("[--cycles N]", "--cycles few")
                .unwrap()
                .value::<u32>("cycles")
                .is_err()
        );
        assert!(read("[--cycles N]", "--cycles").is_err());
    }
}
