//! The fields of an object in a text: a `getStats` candidate, or an `icecandidateerror`.

use super::mark::Side;
use crate::candidate::{Address, Candidate, CandidateKind, TransportProtocol};
use crate::evidence::Outcome;
use crate::server::ServerId;

/// Longest value read, in bytes. Those that matter are shorter.
const MAX_VALUE: usize = 128;
/// Chrome's code of a server that could not be reached (W3C WebRTC section 4.8.3).
const UNREACHED: u16 = 701;

/// The fields of one object, as far as they matter, in any order.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Fields<'a> {
    /// Whether a brace has opened since the last one closed.
    pub(super) is_in_object: bool,
    side: Option<Side>,
    kind: Option<CandidateKind>,
    transport: TransportProtocol,
    address: Option<Address<'a>>,
    port: Option<u16>,
    related_address: Option<Address<'a>>,
    related_port: Option<u16>,
    /// The user fragment of the candidate's session.
    pub(super) ufrag: Option<&'a str>,
    url: Option<&'a str>,
    code: Option<u16>,
    message: &'a str,
}

impl<'a> Fields<'a> {
    /// Those of an object that has begun.
    pub(super) fn of_object() -> Self {
        Self {
            is_in_object: true,
            ..Self::default()
        }
    }

    /// Reads the field whose name begins at `at`, if it is one.
    pub(super) fn read(&mut self, text: &'a str, at: usize) {
        let Some((name, value)) = field(text, at) else {
            return;
        };
        let address = || Address::read(value);
        let port = || value.parse().ok();
        match name {
            "type" | "statsType" => {
                self.side = match value {
                    "local-candidate" | "localcandidate" => Some(Side::Local),
                    "remote-candidate" | "remotecandidate" => Some(Side::Remote),
                    _ => return,
                }
            }
            "candidateType" => {
                self.kind = Some(match value {
                    "host" => CandidateKind::Host,
                    "srflx" | "serverreflexive" | "stun" => CandidateKind::ServerReflexive,
                    "prflx" | "peerreflexive" => CandidateKind::PeerReflexive,
                    "relay" | "relayed" => CandidateKind::Relayed,
                    _ => CandidateKind::Unknown,
                });
            }
            "protocol" | "transport" => {
                self.transport = match value {
                    _ if value.eq_ignore_ascii_case("udp") => TransportProtocol::Udp,
                    _ if value.eq_ignore_ascii_case("tcp") => TransportProtocol::Tcp,
                    _ => TransportProtocol::Unknown,
                }
            }
            "address" | "ip" | "ipAddress" => self.address = address().or(self.address),
            "port" | "portNumber" => self.port = port().or(self.port),
            "relatedAddress" => self.related_address = address(),
            "relatedPort" => self.related_port = port(),
            "usernameFragment" if !value.is_empty() => self.ufrag = Some(value),
            "url" if !value.is_empty() => self.url = Some(value),
            "errorCode" | "error_code" => self.code = value.parse().ok(),
            "errorText" | "error_text" => self.message = value,
            _ => {}
        }
    }

    /// The candidate of a `getStats` object (W3C WebRTC statistics section 8.17), and its side. The
    /// base stays hidden where the object has none.
    pub(super) fn candidate(&self) -> Option<(Side, Candidate<'a>)> {
        let (side, kind) = (self.side?, self.kind?);
        let hidden = Candidate::default().address;
        let related = (
            self.related_address.unwrap_or(hidden),
            self.related_port.unwrap_or(0),
        );
        let candidate = Candidate {
            transport: self.transport,
            // a name, because the object may hide the address of any candidate
            address: self.address.unwrap_or(Address::Name("")),
            port: self.port?,
            kind,
            related: (kind != CandidateKind::Host).then_some(related),
            url: self.url,
            ..Candidate::default()
        };
        Some((side, candidate))
    }

    /// The server of an `icecandidateerror`, and how asking it ended (W3C WebRTC section 4.8.3).
    /// Only a server that is asked over UDP counts.
    pub(super) fn error(&self) -> Option<(ServerId, Outcome)> {
        let (url, code) = (self.url?, self.code?);
        let is_over_udp =
            url.starts_with("stun:") || url.starts_with("turn:") && !url.contains("transport=tcp");
        let outcome = match code {
            UNREACHED if has(self.message, "lookup") || has(self.message, "resolve") => {
                Outcome::Unresolved
            }
            UNREACHED if self.message.is_empty() || has(self.message, "timed out") => {
                Outcome::TimedOut
            }
            UNREACHED => Outcome::Unreachable,
            300..=699 => Outcome::Refused,
            _ => return None,
        };
        Some((ServerId::from_url(url).filter(|_| is_over_udp)?, outcome))
    }
}

fn has(message: &str, word: &str) -> bool {
    message
        .as_bytes()
        .windows(word.len())
        .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

/// Name and value of the field at `at`: the name, then `:` or `=`, with any quotes, escapes and
/// spaces between.
fn field(text: &str, at: usize) -> Option<(&str, &str)> {
    let longest = text.len().min(at + 32);
    let bytes = text.as_bytes();
    let is_name = |at: &usize| {
        bytes
            .get(*at)
            .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
    };
    let end = at + (at..longest).take_while(is_name).count();
    let skip = |from: usize, these: &[u8]| {
        let limit = bytes.len().min(from + 32);
        from + (from..limit)
            .take_while(|at| bytes.get(*at).is_some_and(|byte| these.contains(byte)))
            .count()
    };
    let separator = skip(end, b"\"'\\ ");
    if end == at || !matches!(bytes.get(separator), Some(b':' | b'=')) {
        return None;
    }
    let begin = skip(separator + 1, b" ");
    let quote = skip(begin, b"\\");
    let begin = match bytes.get(quote) {
        Some(b'"' | b'\'') => quote + 1,
        // an escaped line break follows the mark, so there is no value
        _ => begin,
    };
    let limit = bytes.len().min(begin + MAX_VALUE);
    let is_value = |at: &usize| {
        bytes
            .get(*at)
            .is_some_and(|byte| !matches!(byte, b'"' | b'\'' | b'\\' | b',' | b'}' | b'\n' | b'\r'))
    };
    let value = text.get(begin..begin + (begin..limit).take_while(is_value).count())?;
    Some((text.get(at..end)?, value.trim_ascii()))
}
