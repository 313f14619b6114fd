//! The facts of a text in their order, each with the signs of its side in the text around it.

use super::fields::Fields;
use super::mark::{Side, mark_at};
use crate::candidate::{Candidate, Lines, ParseError};
use crate::evidence::Outcome;
use crate::hash::session_of;
use crate::server::ServerId;

/// One fact of a text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fact<'a> {
    Candidate(Candidate<'a>),
    Unreadable,
    /// An `icecandidateerror`: always of this host.
    Server(ServerId, Outcome),
}

/// The surroundings of a fact.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    /// The side by a mark in the entry itself, or by the heading of its description.
    pub(super) marked: Option<Side>,
    /// The side by the last mark before the entry; weaker than the user fragment.
    pub(super) held: Option<Side>,
    /// The session by the user fragment of the candidate or of its description; 0: unknown.
    pub(super) session: u32,
    /// The description; 0: none.
    pub(super) description: u32,
}

/// A description that has begun, until a line that is no part of it.
#[derive(Debug, Clone, Copy)]
struct Description {
    side: Option<Side>,
    id: u32,
    session: u32,
}

/// Walks through a text once and looks at each byte a bounded number of times, because a stranger
/// may have written the text.
pub(super) struct Walk<'a> {
    text: &'a str,
    lines: Lines<'a>,
    next: Option<(usize, Result<Candidate<'a>, ParseError>)>,
    at: usize,
    /// Where the current line begins.
    line: usize,
    /// Nothing of the current line has come yet, not counting escaped line breaks.
    is_fresh: bool,
    /// The line is an entry of a log with a time in front. Marks of other entries do not reach it,
    /// because entries of both sides alternate in a log.
    is_entry: bool,
    is_sdp: bool,
    /// The last mark, and the line it stands on.
    held: Option<(Side, usize)>,
    description: Option<Description>,
    fields: Fields<'a>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut lines = Lines::new(text);
        let next = lines.next();
        let mut walk = Self {
            text,
            lines,
            next,
            at: 0,
            line: 0,
            is_fresh: true,
            is_entry: false,
            is_sdp: false,
            held: None,
            description: None,
            fields: Fields::default(),
        };
        walk.begin_line();
        walk
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Goes on to `until`, or to the end of an object that is a fact.
    fn advance(&mut self, until: usize) -> Option<(Place, Fact<'a>)> {
        while self.at < until {
            let at = self.at;
            self.at += 1;
            match self.byte(at)? {
                b'\n' | b'\r' => {
                    let fact = (!self.fields.is_in_object).then(|| self.end_object());
                    self.line = self.at;
                    self.end_sdp_line();
                    self.begin_line();
                    if let Some(Some(fact)) = fact {
                        return Some(fact);
                    }
                }
                // a line break as JSON writes it, however often it was quoted
                b'n' | b'r' if at > 0 && self.byte(at - 1) == Some(b'\\') => self.end_sdp_line(),
                b'\\' => {}
                b'"' | b'\'' => self.is_sdp = false,
                b'{' => {
                    self.fields = Fields::of_object();
                }
                b'}' => {
                    if let Some(fact) = self.end_object() {
                        return Some(fact);
                    }
                }
                b' ' | b'\t' => {}
                byte => self.read(at, byte),
            }
        }
        None
    }

    fn read(&mut self, at: usize, byte: u8) {
        let before = at.checked_sub(1).and_then(|before| self.byte(before));
        let begins_word = self.is_fresh || !before.is_some_and(|b| b.is_ascii_alphanumeric());
        if begins_word && self.byte(at + 1) == Some(b'=') {
            let is_begun = self.is_fresh || matches!(before, Some(b' ' | b'\t'));
            if byte == b'v' && self.byte(at + 2) == Some(b'0') {
                self.begin_description(at);
            } else if is_begun && byte.is_ascii_lowercase() {
                self.is_sdp = true;
            }
        }
        self.is_fresh = false;
        if self.is_sdp || !byte.is_ascii_alphabetic() {
            return;
        }
        if begins_word || byte.is_ascii_uppercase() {
            if let Some(side) = mark_at(self.text.as_bytes(), at) {
                self.held = Some((side, self.line));
                self.description = None;
            }
        }
        if begins_word {
            self.fields.read(self.text, at);
        }
    }

    fn begin_line(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let mut rest = rest
            .iter()
            .take(64)
            .skip_while(|byte| byte.is_ascii_whitespace());
        self.is_entry = match rest.next() {
            Some(byte) if byte.is_ascii_digit() => true,
            Some(b'[') => rest.next().is_some_and(u8::is_ascii_digit),
            _ => false,
        };
    }

    fn end_sdp_line(&mut self) {
        // an empty line does not end a description, because pages put one between any two lines
        if !self.is_sdp && !self.is_fresh {
            self.description = None;
        }
        (self.is_sdp, self.is_fresh) = (false, true);
    }

    /// The side of the last mark, where it reaches the current line.
    fn held(&self) -> Option<Side> {
        let (side, line) = self.held?;
        (line == self.line || !self.is_entry).then_some(side)
    }

    /// `v=0` begins a description (RFC 8866 section 5.1). Its first user fragment names it, else its
    /// origin (section 5.2) without the version, else all that it holds.
    fn begin_description(&mut self, at: usize) {
        let rest = self.text.get(at + 1..).unwrap_or_default();
        let body = rest
            .get(..rest.find("v=0").unwrap_or(rest.len()))
            .unwrap_or_default();
        let value = |name: &str| {
            let (_, value) = body.split_once(name)?;
            let end = value
                .find(['\n', '\r', '\\', '"', '\''])
                .unwrap_or(value.len());
            value
                .get(..end)
                .map(str::trim_ascii)
                .filter(|value| !value.is_empty())
        };
        let session = value("ice-ufrag:").map_or(0, |ufrag| session_of([ufrag]));
        let origin = || {
            let fields = value("o=")?.split_ascii_whitespace().enumerate();
            Some(session_of(
                fields.filter(|(n, _)| *n != 2).map(|(_, field)| field),
            ))
        };
        let content = || session_of([body.trim_ascii()]);
        let id = match session {
            0 => origin().unwrap_or_else(content),
            session => session,
        };
        let side = self.held();
        self.description = Some(Description { side, id, session });
        self.is_sdp = true;
    }

    fn end_object(&mut self) -> Option<(Place, Fact<'a>)> {
        let fields = core::mem::take(&mut self.fields);
        if let Some((side, candidate)) = fields.candidate() {
            let place = Place {
                marked: Some(side),
                session: fields.ufrag.map_or(0, |ufrag| session_of([ufrag])),
                ..Place::default()
            };
            return Some((place, Fact::Candidate(candidate)));
        }
        let (server, outcome) = fields.error()?;
        let place = Place {
            marked: Some(Side::Local),
            ..Place::default()
        };
        Some((place, Fact::Server(server, outcome)))
    }

    /// The surroundings of a candidate line here.
    fn place(&self, session: u32) -> Place {
        if let Some(description) = self.description.filter(|_| self.is_sdp) {
            return Place {
                marked: description.side,
                held: None,
                session: if session == 0 {
                    description.session
                } else {
                    session
                },
                description: description.id,
            };
        }
        let on_this_line = self.held.is_some_and(|(_, line)| line == self.line);
        Place {
            marked: self.held().filter(|_| on_this_line),
            held: self.held(),
            session,
            description: session,
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (Place, Fact<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let until = self
            .next
            .as_ref()
            .map_or(self.text.len(), |(begin, _)| *begin);
        if let Some(fact) = self.advance(until) {
            return Some(fact);
        }
        let Some((_, line)) = self.next.take() else {
            // the last line may have no end
            return self.end_object();
        };
        self.next = self.lines.next();
        Some(match line {
            Ok(candidate) => (self.place(candidate.session()), Fact::Candidate(candidate)),
            Err(_) => (self.place(0), Fact::Unreadable),
        })
    }
}
