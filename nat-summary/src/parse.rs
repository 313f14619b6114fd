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
    /// A transport: visible ASCII.
    Transport,
    /// A number below 2³².
    Priority,
    /// An IP address or a host name.
    Address,
    /// A number below 65536.
    Port,
    /// `typ` and a candidate type: visible ASCII.
    Type,
    /// `raddr` with an address and `rport` with a port.
    Related,
    /// No line break inside the line.
    OneLine,
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
            Expected::OneLine => "no line break",
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
        rest.position = line.len() - line.trim_ascii_start().len();
        rest.skip("a=");
        let prefixed = rest.skip("candidate:");

        let foundation = rest.token(if prefixed { Expected::Foundation } else { Expected::Prefix }, |t| {
            (t.len() <= 32 && t.bytes().all(is_foundation)).then_some(t)
        })?;
        let component = rest.token(Expected::Component, |t| match number(t) {
            Some(n @ 1..=256) => u16::try_from(n).ok(),
            _ => None,
        })?;
        let (transport, unknown_transport) = rest.token(Expected::Transport, read_transport)?;
        let priority = rest.token(Expected::Priority, |t| number(t).and_then(|n| u32::try_from(n).ok()))?;
        let address = rest.token(Expected::Address, read_address)?;
        let port = rest.token(Expected::Port, read_port)?;
        rest.token(Expected::Type, |t| t.eq_ignore_ascii_case("typ").then_some(()))?;
        let (kind, unknown_kind) = rest.token(Expected::Type, read_kind)?;

        let mut related = None;
        let (start, end) = rest.next();
        if rest.slice(start, end).eq_ignore_ascii_case("raddr") {
            rest.position = end;
            let related_address = rest.token(Expected::Related, read_address)?;
            rest.token(Expected::Related, |t| t.eq_ignore_ascii_case("rport").then_some(()))?;
            related = Some((related_address, rest.token(Expected::Related, read_port)?));
        }
        let extensions = rest.remainder()?;
        Ok(Self {
            foundation,
            component,
            transport,
            priority,
            address,
            port,
            kind,
            related,
            extensions,
            url: None,
            unknown_transport,
            unknown_kind,
        })
    }
}

/// The tokens of a line, with the byte offset behind the last one read.
struct Tokens<'a> {
    line: &'a str,
    position: usize,
}

impl<'a> Tokens<'a> {
    /// Where the next token begins and ends; both at the end of the line if there is none.
    fn next(&self) -> (usize, usize) {
        let bytes = self.line.as_bytes();
        let mut start = self.position;
        while bytes.get(start).is_some_and(|b| matches!(b, b' ' | b'\t')) {
            start += 1;
        }
        let mut end = start;
        while bytes.get(end).is_some_and(|b| !b.is_ascii_whitespace()) {
            end += 1;
        }
        (start, end)
    }

    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.line.get(start..end).unwrap_or("")
    }

    fn skip(&mut self, prefix: &str) -> bool {
        let end = self.position + prefix.len();
        let found = self.slice(self.position, end).eq_ignore_ascii_case(prefix);
        if found {
            self.position = end;
        }
        found
    }

    fn token<T>(&mut self, expected: Expected, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T, ParseError> {
        let (start, end) = self.next();
        self.position = start;
        if start == end {
            return Err(self.error(expected));
        }
        let value = read(self.slice(start, end)).ok_or(ParseError { position: start, expected })?;
        self.position = end;
        Ok(value)
    }

    fn remainder(&mut self) -> Result<&'a str, ParseError> {
        self.position = self.next().0;
        let rest = self.slice(self.position, self.line.len()).trim_ascii_end();
        // a fold without an early exit, which compiles to wide compares: no other pass touches these bytes
        if rest.bytes().fold(false, |found, b| found | (b == b'\n') | (b == b'\r')) {
            self.position += rest.bytes().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(0);
            return Err(self.error(Expected::OneLine));
        }
        Ok(rest)
    }

    fn error(&self, expected: Expected) -> ParseError {
        ParseError { position: self.position, expected }
    }
}

fn is_foundation(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Decimal digits only, at most ten: no sign, no blank, no overflow.
fn number(token: &str) -> Option<u64> {
    if token.is_empty() || token.len() > 10 {
        return None;
    }
    token.bytes().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
}

fn read_port(token: &str) -> Option<u16> {
    number(token).and_then(|n| u16::try_from(n).ok())
}

fn read_transport(token: &str) -> Option<(Transport, &str)> {
    if token.eq_ignore_ascii_case("udp") {
        Some((Transport::Udp, ""))
    } else if token.eq_ignore_ascii_case("tcp") {
        Some((Transport::Tcp, ""))
    } else {
        is_visible(token).then_some((Transport::Unknown, token))
    }
}

fn read_kind(token: &str) -> Option<(CandidateKind, &str)> {
    for (name, kind) in [
        ("host", CandidateKind::Host),
        ("srflx", CandidateKind::ServerReflexive),
        ("prflx", CandidateKind::PeerReflexive),
        ("relay", CandidateKind::Relayed),
    ] {
        if token.eq_ignore_ascii_case(name) {
            return Some((kind, ""));
        }
    }
    is_visible(token).then_some((CandidateKind::Unknown, token))
}

fn is_visible(token: &str) -> bool {
    token.bytes().all(|b| b.is_ascii_graphic())
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
