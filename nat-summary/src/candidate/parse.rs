//! The line of a candidate (RFC 8839 section 5.1), read without copying.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use super::{Address, Candidate, CandidateKind, TransportProtocol};

/// Longest line read, in bytes. Real lines have under 300.
const MAX_LINE: usize = 4096;

/// The part that was expected at the position of a [`ParseError`] (RFC 8839 section 5.1).
///
/// ```
/// use nat_summary::{Candidate, Expected};
/// assert_eq!(Candidate::parse("a=mid:0").unwrap_err().expected, Expected::Prefix);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// A line of at most 4096 bytes.
    ShorterLine,
    /// `candidate:`, optionally behind `a=`.
    Prefix,
    /// 1 to 32 letters, digits, `+` or `/`; `-` and `_` are tolerated, because some stacks write them.
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
    /// No more than 512 distinct candidates in one text; only from [`Candidate::all_in`].
    FewerCandidates,
}

/// Why a line is no candidate, and where. Its `Display` shows nothing of the line itself.
///
/// ```
/// use nat_summary::{Candidate, Expected};
///
/// let error = Candidate::parse("candidate:1 1 udp 1 10.0.0.1 65536 typ host").unwrap_err();
/// assert_eq!((error.expected, error.position), (Expected::Port, 29));
/// assert_eq!(error.to_string(), "not a candidate line: expected a port at byte 29");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParseError {
    /// Byte offset into the line at which reading stopped.
    pub position: usize,
    /// The part that was expected there.
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
            Expected::FewerCandidates => "fewer candidates in one text",
        };
        write!(
            f,
            "not a candidate line: expected {expected} at byte {}",
            self.position
        )
    }
}

impl core::error::Error for ParseError {}

impl<'a> Candidate<'a> {
    /// Reads one line: `candidate:…`, `a=candidate:…`, or the bare value behind the colon. White
    /// space around it is ignored, unknown extensions are kept as written.
    ///
    /// # Errors
    /// [`ParseError`] with the part that was expected and the byte offset.
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

        let foundation = rest.token(
            if prefixed {
                Expected::Foundation
            } else {
                Expected::Prefix
            },
            |t| (t.len() <= 32 && t.bytes().all(is_foundation)).then_some(t),
        )?;
        let component = rest.token(Expected::Component, |t| match number(t) {
            Some(n @ 1..=256) => u16::try_from(n).ok(),
            _ => None,
        })?;
        let (transport, unknown_transport) = rest.token(Expected::Transport, read_transport)?;
        let priority = rest.token(Expected::Priority, |t| {
            number(t).and_then(|n| u32::try_from(n).ok())
        })?;
        let address = rest.token(Expected::Address, read_address)?;
        let port = rest.token(Expected::Port, read_port)?;
        rest.token(Expected::Type, |t| {
            t.eq_ignore_ascii_case("typ").then_some(())
        })?;
        let (kind, unknown_kind) = rest.token(Expected::Type, read_kind)?;

        let mut related = None;
        let (start, end) = rest.next();
        if rest.slice(start, end).eq_ignore_ascii_case("raddr") {
            rest.position = end;
            let related_address = rest.token(Expected::Related, read_address)?;
            rest.token(Expected::Related, |t| {
                t.eq_ignore_ascii_case("rport").then_some(())
            })?;
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

impl<'a> Address<'a> {
    /// Reads an address or a name, as a line has it.
    pub(crate) fn read(token: &'a str) -> Option<Self> {
        read_address(token).filter(|_| !token.is_empty())
    }
}

/// The tokens of a line, with the byte offset behind the last one read.
struct Tokens<'a> {
    line: &'a str,
    position: usize,
}

impl<'a> Tokens<'a> {
    /// Where the next token begins and ends; both at the same place if there is none. No token has
    /// a control character.
    #[inline]
    fn next(&self) -> (usize, usize) {
        let bytes = self.line.as_bytes();
        let mut start = self.position;
        while let Some(b' ' | b'\t') = bytes.get(start) {
            start += 1;
        }
        let mut end = start;
        while let Some(chunk) = bytes.get(end..).and_then(<[u8]>::first_chunk) {
            let visible = leading_visible(u64::from_le_bytes(*chunk));
            end += visible;
            if visible < 8 {
                return (start, end);
            }
        }
        while bytes.get(end).is_some_and(|b| *b > b' ') {
            end += 1;
        }
        (start, end)
    }

    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.line.get(start..end).unwrap_or("")
    }

    fn skip(&mut self, prefix: &str) -> bool {
        let end = self.position + prefix.len();
        let head = self.slice(self.position, end);
        let found = head == prefix || head.eq_ignore_ascii_case(prefix);
        if found {
            self.position = end;
        }
        found
    }

    fn token<T>(
        &mut self,
        expected: Expected,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, ParseError> {
        let (start, end) = self.next();
        self.position = start;
        if start == end {
            return Err(self.error(expected));
        }
        let value = read(self.slice(start, end)).ok_or(ParseError {
            position: start,
            expected,
        })?;
        self.position = end;
        Ok(value)
    }

    fn remainder(&mut self) -> Result<&'a str, ParseError> {
        self.position = self.next().0;
        let rest = self.slice(self.position, self.line.len()).trim_ascii_end();
        // a fold without an early exit, which compiles to wide compares: no other pass touches
        // these bytes
        if rest
            .bytes()
            .fold(false, |found, b| found | (b == b'\n') | (b == b'\r'))
        {
            self.position += rest
                .bytes()
                .position(|b| matches!(b, b'\n' | b'\r'))
                .unwrap_or(0);
            return Err(self.error(Expected::OneLine));
        }
        Ok(rest)
    }

    fn error(&self, expected: Expected) -> ParseError {
        ParseError {
            position: self.position,
            expected,
        }
    }
}

/// How many of eight bytes come before the first that is a space or a control character.
#[inline]
const fn leading_visible(bytes: u64) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    // the high bit of each byte below 0x21; a borrow can only disturb bytes behind the first of
    // them
    let found = bytes.wrapping_sub(ONES * 0x21) & !bytes & (ONES * 0x80);
    found.trailing_zeros() as usize / 8
}

fn is_foundation(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Decimal digits only, at most ten: no sign, no blank, no overflow.
#[inline]
fn number(token: &str) -> Option<u64> {
    let mut sum = 0;
    if token.is_empty() || token.len() > 10 {
        return None;
    }
    for byte in token.bytes() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum * 10 + u64::from(digit);
    }
    Some(sum)
}

fn read_port(token: &str) -> Option<u16> {
    number(token).and_then(|n| u16::try_from(n).ok())
}

fn read_transport(token: &str) -> Option<(TransportProtocol, &str)> {
    match token {
        "udp" | "UDP" => Some((TransportProtocol::Udp, "")),
        "tcp" | "TCP" => Some((TransportProtocol::Tcp, "")),
        _ if token.eq_ignore_ascii_case("udp") => Some((TransportProtocol::Udp, "")),
        _ if token.eq_ignore_ascii_case("tcp") => Some((TransportProtocol::Tcp, "")),
        _ => is_visible(token).then_some((TransportProtocol::Unknown, token)),
    }
}

fn read_kind(token: &str) -> Option<(CandidateKind, &str)> {
    let known = [
        ("host", CandidateKind::Host),
        ("srflx", CandidateKind::ServerReflexive),
        ("prflx", CandidateKind::PeerReflexive),
        ("relay", CandidateKind::Relayed),
    ];
    match token {
        "host" => Some((CandidateKind::Host, "")),
        "srflx" => Some((CandidateKind::ServerReflexive, "")),
        _ => match known
            .into_iter()
            .find(|(name, _)| token.eq_ignore_ascii_case(name))
        {
            Some((_, kind)) => Some((kind, "")),
            None => is_visible(token).then_some((CandidateKind::Unknown, token)),
        },
    }
}

fn is_visible(token: &str) -> bool {
    token.bytes().all(|b| b.is_ascii_graphic())
}

/// An IP address (a zone index is cut off), or a host name of letters, digits, `-`, `.` and `_`.
fn read_address(token: &str) -> Option<Address<'_>> {
    if let Some(ip) = read_v4(token) {
        return Some(Address::Ip(ip.into()));
    }
    let unzoned = token.split_once('%').map_or(token, |(ip, _)| ip);
    if let Ok(ip) = unzoned.parse::<IpAddr>() {
        return Some(Address::Ip(ip.to_canonical()));
    }
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (token.len() <= 253 && token.bytes().all(name)).then_some(Address::Name(token))
}

/// Four numbers of one to three digits without leading zeros, as the standard library reads them,
/// which takes twice as long.
fn read_v4(token: &str) -> Option<Ipv4Addr> {
    if token.len() > 15 {
        return None;
    }
    let (mut bits, mut part, mut digits, mut dots) = (0_u32, 0_u32, 0, 0);
    for byte in token.bytes() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            if digits > 0 && part == 0 {
                return None;
            }
            part = part * 10 + u32::from(digit);
            digits += 1;
            if part > 255 {
                return None;
            }
        } else if byte == b'.' && digits > 0 {
            bits = bits << 8 | part;
            (part, digits) = (0, 0);
            dots += 1;
        } else {
            return None;
        }
    }
    (dots == 3 && digits > 0).then(|| Ipv4Addr::from_bits(bits << 8 | part))
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;
    use std::format;

    #[test]
    fn eight_bytes_are_counted_like_one_by_one() {
        for first in 0..=255_u8 {
            for second in [0, 0x1f, 0x20, 0x21, 0x7f, 0x80, 0xff] {
                for at in 0..8 {
                    let mut bytes = [b'x'; 8];
                    bytes[at] = first;
                    bytes[7 - at / 2] = second;
                    let expected = bytes.iter().take_while(|b| **b > b' ').count();
                    assert_eq!(
                        super::leading_visible(u64::from_le_bytes(bytes)),
                        expected,
                        "{bytes:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn ipv4_is_read_as_the_standard_library_reads_it() {
        let parts = [
            "",
            "0",
            "00",
            "01",
            "1",
            "9",
            "10",
            "099",
            "255",
            "256",
            "999",
            "1000",
            "4294967297",
            "x",
            "-1",
        ];
        for a in parts {
            for b in parts {
                for text in [
                    format!("{a}.{b}.1.2"),
                    format!("1.2.{a}.{b}"),
                    format!("{a}.{b}"),
                    format!("{a}.1.1.{b}."),
                ] {
                    assert_eq!(
                        super::read_v4(&text),
                        text.parse::<Ipv4Addr>().ok(),
                        "{text}"
                    );
                }
            }
        }
    }
}
