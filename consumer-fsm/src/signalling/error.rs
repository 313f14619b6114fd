//! The one error of an exchange over signalling. It shows no address.

use core::fmt;

/// Why an exchange came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalError {
    /// The service's URL is none, or of a scheme that this client does not speak.
    Url,
    /// The service does not speak our version (418).
    Version,
    /// The service takes no such request (400, or another status it does not explain).
    Rejected,
    /// The service has no room for the message at present (503).
    NoRoom,
    /// The recipient is gone (404): each reply-to id takes exactly one message.
    Gone,
    /// The service could not be reached, or the connection broke.
    Unreachable,
    /// Whoever answered could not show that it is the service: its certificate is not trusted.
    Untrusted,
    /// No end of the reply in time.
    TimedOut,
    /// The reply is longer than any real one.
    TooLong,
    /// The reply is not what the protocol says.
    Malformed,
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => "the signalling service's URL cannot be used",
            Self::Version => "the signalling service speaks another version",
            Self::Rejected => "the signalling service rejected the request",
            Self::NoRoom => "the signalling service has no room at present",
            Self::Gone => "the recipient is gone",
            Self::Unreachable => "the signalling service could not be reached",
            Self::Untrusted => "the signalling service's certificate is not trusted",
            Self::TimedOut => "the signalling service did not answer in time",
            Self::TooLong => "the reply is too long",
            Self::Malformed => "the reply is malformed",
        })
    }
}

impl core::error::Error for SignalError {}
