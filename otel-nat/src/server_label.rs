//! The label of a STUN server, as an operator gives it: a word of metrics, and never an address.

use core::fmt;
use std::sync::Arc;

/// Longest label, in bytes.
const LONGEST: usize = 32;

/// The label of a STUN server in metrics, such as `eu-1`. A label is a word of the operator's and holds
/// no address, because metrics are kept for years.
///
/// ```
/// use otel_nat::{ServerLabel, ServerLabelError};
///
/// let label = ServerLabel::new("eu-1")?;
/// assert_eq!(label.as_str(), "eu-1");
/// assert_eq!(ServerLabel::new("198-51-100-7"), Err(ServerLabelError::Address));
/// # Ok::<(), ServerLabelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerLabel(Arc<str>);

/// Why a text is no label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerLabelError {
    /// It is empty, or longer than 32 bytes.
    Length,
    /// It has something in it beside the letters, digits, `-` and `_` of ASCII.
    Character,
    /// It reads as an address: four or more groups of digits, or hexadecimal digits alone with one of them a
    /// decimal digit.
    Address,
}

impl fmt::Display for ServerLabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "a label has 1 to 32 bytes",
            Self::Character => "a label has letters, digits, '-' and '_' alone",
            Self::Address => "the label reads as an address",
        })
    }
}

impl core::error::Error for ServerLabelError {}

impl ServerLabel {
    /// A label of 1 to 32 letters, digits, `-` and `_`.
    ///
    /// # Errors
    /// [`ServerLabelError`] if the text has another length, other characters, or reads as an address.
    pub fn new(text: &str) -> Result<Self, ServerLabelError> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(ServerLabelError::Length);
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !text.chars().all(is_word) {
            return Err(ServerLabelError::Character);
        }
        let groups = text
            .split(|c: char| !c.is_ascii_digit())
            .filter(|group| !group.is_empty());
        let is_hexadecimal = text
            .chars()
            .all(|c| c.is_ascii_hexdigit() || matches!(c, '-' | '_'))
            && text.contains(|c: char| c.is_ascii_digit())
            && text.len() >= 8;
        if groups.count() >= 4 || is_hexadecimal {
            return Err(ServerLabelError::Address);
        }
        Ok(Self(text.into()))
    }

    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{ServerLabel, ServerLabelError};

    #[test]
    fn a_label_is_a_word_and_no_address() {
        for right in [
            "eu-1",
            "a",
            "Frankfurt_2",
            "stun-fra-01",
            "decade",
            &"x".repeat(32),
        ] {
            assert_eq!(ServerLabel::new(right).unwrap().as_str(), right);
        }
        for (wrong, error) in [
            ("", ServerLabelError::Length),
            (&*"x".repeat(33), ServerLabelError::Length),
            ("198.51.100.7", ServerLabelError::Character),
            ("2001:db8::1", ServerLabelError::Character),
            ("eu 1", ServerLabelError::Character),
            ("é", ServerLabelError::Character),
            ("198-51-100-7", ServerLabelError::Address),
            ("ip_198_51_100_7", ServerLabelError::Address),
            ("2001-db8-0-1", ServerLabelError::Address),
            ("20010db800000001", ServerLabelError::Address),
            ("c6336407", ServerLabelError::Address),
        ] {
            assert_eq!(ServerLabel::new(wrong), Err(error), "{wrong}");
        }
    }
}
