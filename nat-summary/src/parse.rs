//! The line of a candidate (RFC 8839 section 5.1), read without copying.

use core::fmt;
use core::net::IpAddr;

use crate::candidate::{Address, Candidate, CandidateKind, Transport};

/// Longest line read, in bytes. Real lines have under 300.
const MAX_LINE: usize = 4096;

/// What a candidate line should have had at the position of a [`ParseError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// A line of at most 4096 bytes.
    ShorterLine,
    /// `candidate:`, optionally behind `a=`.
    Prefix,
    /// 1 to 32 letters, digits, `+` or `/`; `-` and `_` are tolerated, for some stacks write them.
    Foundation,
    /// A number from 1 to 256.
    Component,
    /// A transport token.
    Transport,
    /// A number below 2³².
    Priority,
    /// An IP address or a host name.
    Address,
    /// A number below 65536.
    Port,
    /// `typ` and a candidate type.
    Type,
    /// `raddr` with an address and `rport` with a port.
    Related,
}

/// Why a line is no candidate, and where. Its `Display` shows nothing of the line itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParseError {
    /// Byte offset into the line at which reading stopped.
    pub position: usize,
    /// What should have stood there.
    pub expected: Expected,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = match self.expected {
            Expected::ShorterLine => "a line of at most 4096 bytes",
            Expected::Prefix => "`candidate:`",
            Expected::Foundation => "a foundation",
            Expected::Component => "a component from 1 to 256",
            Expected::Transport => "a transport",
            Expected::Priority => "a priority",
            Expected::Address => "an address",
            Expected::Port => "a port",
            Expected::Type => "`typ` and a candidate type",
            Expected::Related => "`raddr` with an address and `rport` with a port",
        };
        write!(f, "not a candidate line: expected {expected} at byte {}", self.position)
    }
}

impl core::error::Error for ParseError {}

impl<'a> Candidate<'a> {
    /// Reads one line: `candidate:…`, `a=candidate:…`, or the bare value behind the colon. White space around it is
    /// ignored, unknown extensions are kept as written.
    ///
    /// # Errors
    /// [`ParseError`] with what was expected and the byte offset.
    ///
    /// ```
    /// use nat_summary::{Candidate, CandidateKind};
    ///
    /// let line = "a=candidate:2 1 udp 1694498815 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000 generation 0";
    /// let candidate = Candidate::parse(line)?;
    /// assert_eq!(candidate.kind, CandidateKind::ServerReflexive);
    /// assert_eq!(candidate.base(), "192.168.1.5:50000".parse().ok());
    /// assert_eq!(candidate.extensions, "generation 0");
    /// # Ok::<(), nat_summary::ParseError>(())
    /// ```
    pub fn parse(line: &'a str) -> Result<Self, ParseError> {
        let mut rest = Tokens { line, position: 0 };
        if line.len() > MAX_LINE {
            return Err(rest.error(Expected::ShorterLine));
        }
        rest.skip_spaces();
        rest.skip("a=");
        let prefixed = rest.skip("candidate:");

        let foundation = rest.token(if prefixed { Expected::Foundation } else { Expected::Prefix }, |t| {
            (t.len() <= 32 && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_')))
                .then_some(t)
        })?;
        let component =
            rest.token(Expected::Component, |t| number(t, 256).filter(|n| *n > 0).and_then(|n| u16::try_from(n).ok()))?;
        let transport = rest.token(Expected::Transport, |t| Some(read_transport(t)))?;
        let priority =
            rest.token(Expected::Priority, |t| number(t, u64::from(u32::MAX)).and_then(|n| u32::try_from(n).ok()))?;
        let address = rest.token(Expected::Address, read_address)?;
        let port = rest.token(Expected::Port, read_port)?;
        rest.token(Expected::Type, |t| t.eq_ignore_ascii_case("typ").then_some(()))?;
        let kind = rest.token(Expected::Type, |t| Some(read_kind(t)))?;

        let mut related = None;
        if rest.peek().is_some_and(|t| t.eq_ignore_ascii_case("raddr")) {
            rest.token(Expected::Related, |_| Some(()))?;
            let related_address = rest.token(Expected::Related, read_address)?;
            rest.token(Expected::Related, |t| t.eq_ignore_ascii_case("rport").then_some(()))?;
            related = Some((related_address, rest.token(Expected::Related, read_port)?));
        }
        Ok(Self {
            foundation,
            component,
            transport,
            priority,
            address,
            port,
            kind,
            related,
            extensions: rest.remainder(),
        })
    }
}

/// The tokens of a line, with the byte offset of the next one.
struct Tokens<'a> {
    line: &'a str,
    position: usize,
}

impl<'a> Tokens<'a> {
    fn rest(&self) -> &'a str {
        self.line.get(self.position..).unwrap_or("")
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_ascii_start().len();
    }

    fn skip(&mut self, prefix: &str) -> bool {
        let found = self.rest().get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
        if found {
            self.position += prefix.len();
        }
        found
    }

    fn peek(&self) -> Option<&'a str> {
        self.rest().split_ascii_whitespace().next()
    }

    fn token<T>(&mut self, expected: Expected, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T, ParseError> {
        self.skip_spaces();
        let token = self.peek().ok_or_else(|| self.error(expected))?;
        let value = read(token).ok_or_else(|| self.error(expected))?;
        self.position += token.len();
        Ok(value)
    }

    fn remainder(&mut self) -> &'a str {
        self.skip_spaces();
        self.rest().trim_ascii_end()
    }

    fn error(&self, expected: Expected) -> ParseError {
        ParseError { position: self.position, expected }
    }
}

/// Decimal digits only: no sign, no blank, no overflow.
fn number(token: &str, max: u64) -> Option<u64> {
    if token.is_empty() || token.len() > 10 || !token.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    token.parse().ok().filter(|n| *n <= max)
}

fn read_port(token: &str) -> Option<u16> {
    number(token, u64::from(u16::MAX)).and_then(|n| u16::try_from(n).ok())
}

fn read_transport(token: &str) -> Transport {
    if token.eq_ignore_ascii_case("udp") {
        Transport::Udp
    } else if token.eq_ignore_ascii_case("tcp") {
        Transport::Tcp
    } else {
        Transport::Unknown
    }
}

fn read_kind(token: &str) -> CandidateKind {
    match token {
        "host" => CandidateKind::Host,
        "srflx" => CandidateKind::ServerReflexive,
        "prflx" => CandidateKind::PeerReflexive,
        "relay" => CandidateKind::Relayed,
        _ => CandidateKind::Unknown,
    }
}

/// An IP address (a zone index is cut off), or a host name of letters, digits, `-`, `.` and `_`.
fn read_address(token: &str) -> Option<Address<'_>> {
    let unzoned = token.split_once('%').map_or(token, |(ip, _)| ip);
    if let Ok(ip) = unzoned.parse::<IpAddr>() {
        return Some(Address::Ip(ip.to_canonical()));
    }
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (token.len() <= 253 && token.bytes().all(name)).then_some(Address::Name(token))
}
