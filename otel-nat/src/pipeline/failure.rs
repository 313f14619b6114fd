//! Why an export failed: the kind of the failure, without an address.

use core::fmt;

use opentelemetry_sdk::error::OTelSdkError;

/// Why an export failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExportFailure {
    /// Nothing listens on the collector's port.
    Refused,
    /// The collector's name leads to no address.
    NoSuchName,
    /// The endpoint asks for TLS, which this exporter does not speak, or TLS failed.
    Tls,
    /// The collector's reply is not HTTP. A server that takes nothing but TLS replies so.
    NotHttp,
    /// The collector replied with this HTTP status.
    Status(u16),
    /// The collector replied with this gRPC status.
    Grpc(u8),
    /// No reply came in time.
    TimedOut,
    /// The connection broke.
    Broken,
    /// The exporter panicked.
    Panicked,
    /// None of the others.
    Unknown,
}

/// The names of gRPC's status codes, in their order.
const GRPC: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalidargument",
    "deadlineexceeded",
    "notfound",
    "alreadyexists",
    "permissiondenied",
    "resourceexhausted",
    "failedprecondition",
    "aborted",
    "outofrange",
    "unimplemented",
    "internal",
    "unavailable",
    "dataloss",
    "unauthenticated",
];

/// Texts in the errors of exporters, and their meaning. The first line that matches counts.
const SAID: [(&str, ExportFailure); 15] = [
    ("connection refused", ExportFailure::Refused),
    ("dns error", ExportFailure::NoSuchName),
    ("failed to lookup address", ExportFailure::NoSuchName),
    ("scheme is not http", ExportFailure::Tls),
    ("certificate", ExportFailure::Tls),
    ("tls", ExportFailure::Tls),
    ("invalid http", ExportFailure::NotHttp),
    ("frame with invalid size", ExportFailure::NotHttp),
    ("deadline has elapsed", ExportFailure::TimedOut),
    ("timed out", ExportFailure::TimedOut),
    ("timeout", ExportFailure::TimedOut),
    ("connection closed", ExportFailure::Broken),
    ("connection reset", ExportFailure::Broken),
    ("broken pipe", ExportFailure::Broken),
    ("exporter panicked", ExportFailure::Panicked),
];

impl ExportFailure {
    /// The kind of an error by its text, because exporters return nothing else. The text itself is
    /// dropped, because it may hold an address.
    pub(super) fn of_text(text: &str) -> Self {
        let text = text.to_lowercase();
        let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
        let word = |rest: &str| -> String {
            rest.chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect()
        };
        if let Some(status) = after("status code: ").and_then(|rest| word(rest).parse().ok()) {
            return Self::Status(status);
        }
        if let Some((_, failure)) = SAID.iter().find(|(said, _)| text.contains(said)) {
            return *failure;
        }
        let code = after("grpc code: ").map(word);
        let number = code.and_then(|code| GRPC.iter().position(|name| *name == code));
        match number.map(u8::try_from) {
            Some(Ok(4)) => Self::TimedOut,
            Some(Ok(number)) => Self::Grpc(number),
            _ => Self::Unknown,
        }
    }

    /// The kind of an exporter's error.
    pub(super) fn of(error: &OTelSdkError) -> Self {
        match error {
            OTelSdkError::InternalFailure(text) => Self::of_text(text),
            OTelSdkError::Timeout(_) => Self::TimedOut,
            OTelSdkError::AlreadyShutdown => Self::Unknown,
        }
    }

    /// The kind of an error by its text and those of its causes.
    #[cfg(feature = "otlp-http")]
    pub(super) fn of_chain(error: &(dyn core::error::Error + 'static)) -> Self {
        let causes = core::iter::successors(Some(error), |error| error.source());
        let texts: Vec<String> = causes.map(ToString::to_string).collect();
        Self::of_text(&texts.join(": "))
    }
}

impl fmt::Display for ExportFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status(status) => {
                return write!(f, "the collector replied with HTTP status {status}");
            }
            Self::Grpc(code) => {
                return write!(f, "the collector replied with gRPC status {code}");
            }
            Self::Refused => "the collector refused the connection: nothing listens there",
            Self::NoSuchName => "the collector's name leads to no address",
            Self::Tls => "TLS failed, or the exporter does not speak it",
            Self::NotHttp => "the collector's reply is not HTTP: its port may take TLS alone",
            Self::TimedOut => "the collector did not reply in time",
            Self::Broken => "the connection to the collector broke",
            Self::Panicked => "the exporter panicked",
            Self::Unknown => "the exporter failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_read_out_of_an_exporters_text() {
        for (text, kind) in [
            (
                "HTTP export failed with status code: 503",
                ExportFailure::Status(503),
            ),
            (
                "TonicTracesClient export failed with gRPC code: Unavailable: transport error: tcp connect error: \
                 Connection refused (os error 111)",
                ExportFailure::Refused,
            ),
            (
                "TonicTracesClient export failed with gRPC code: Unimplemented",
                ExportFailure::Grpc(12),
            ),
            (
                "TonicTracesClient export failed with gRPC code: DeadlineExceeded",
                ExportFailure::TimedOut,
            ),
            (
                "client error (Connect): dns error",
                ExportFailure::NoSuchName,
            ),
            ("anything else", ExportFailure::Unknown),
            ("", ExportFailure::Unknown),
        ] {
            assert_eq!(ExportFailure::of_text(text), kind, "{text}");
        }
    }
}
