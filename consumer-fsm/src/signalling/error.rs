//! The one error of an exchange over signalling. It shows no address.

use core::fmt;

/// Why an exchange came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalError {
    /// The URL of the service does not parse, or has a scheme that this client does not support.
    Url,
    /// The service does not speak our version (418).
    Version,
    /// The service rejected the request as malformed (400).
    Rejected,
    /// The reply has this HTTP status, which the protocol has no use for.
    Status(u16),
    /// The service has no room for the message at present (503).
    NoRoom,
    /// The recipient is gone (404): each reply-to id takes exactly one message.
    Gone,
    /// The name of the service leads to no address.
    NoSuchName,
    /// No server listens on the service's port.
    Refused,
    /// The service could not be reached, or the connection broke.
    Unreachable,
    /// The reply is not HTTP. A server that takes nothing but TLS on this port replies so.
    NotHttp,
    /// The reply to the handshake is not TLS. A server of plain HTTP replies so.
    NotTls,
    /// The stream of genesis messages ended at once without a message, although the service holds
    /// it open for seconds. The server is probably another one.
    Empty,
    /// Three replies in a row were no messages of the protocol: the server is another one.
    Foreign,
    /// The certificate of the server is not trusted, so the server may be another one.
    Untrusted,
    /// The reply was not complete in time.
    TimedOut,
    /// The reply is longer than any real one.
    TooLong,
    /// The reply breaks the protocol.
    Malformed,
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status(status) => {
                return write!(
                    f,
                    "the signalling service replied with HTTP status {status}"
                );
            }
            Self::Url => "the signalling service's URL cannot be used",
            Self::Version => "the signalling service speaks another version",
            Self::Rejected => "the signalling service rejected the request",
            Self::NoRoom => "the signalling service has no room at present",
            Self::Gone => "the recipient is gone",
            Self::NoSuchName => "the signalling service's name leads to no address",
            Self::Refused => "the signalling service refused the connection: nothing listens there",
            Self::NotHttp => {
                "the signalling service's reply is not HTTP: its port may take TLS alone"
            }
            Self::NotTls => {
                "the signalling service's reply is not TLS: its port may take plain HTTP"
            }
            Self::Empty => "the signalling service's reply ended at once and is empty",
            Self::Foreign => "three replies were no signalling messages: another server is there",
            Self::Unreachable => "the signalling service could not be reached",
            Self::Untrusted => "the signalling service's certificate is not trusted",
            Self::TimedOut => "the signalling service did not answer in time",
            Self::TooLong => "the reply is too long",
            Self::Malformed => "the reply is malformed",
        })
    }
}

impl core::error::Error for SignalError {}
