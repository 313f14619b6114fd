//! Candidate lines inside any text: a session description, a `webrtc-internals` dump, a log.

use core::hash::{Hash, Hasher};

use super::Candidate;
use super::parse::{Expected, ParseError};
use crate::hash::Fnv;

/// Distinct candidates remembered, because a repeat must not count twice: eight times the places of
/// the evidence.
const REMEMBERED: usize = 512;

impl<'a> Candidate<'a> {
    /// Every candidate in `text`, in the order of their first appearance. Text around them is
    /// skipped; text that begins like a candidate line and is none comes as an error.
    ///
    /// A text such as a dump repeats a candidate in the description and as a trickled one. A repeat
    /// (the same in all but priority and extensions) comes once, because the judge takes each
    /// candidate of a list for an answer of its own, and a repeated answer must not agree with
    /// itself. Repeats are recognized among the first 512 distinct candidates. Behind them a
    /// reflexive candidate comes as an error ([`Expected::FewerCandidates`]). A server URL on
    /// the same line, as dumps have it behind a reflexive candidate, becomes
    /// [`url`](Self::url).
    ///
    /// ```
    /// use nat_summary::Candidate;
    ///
    /// let dump = r#"{"type":"icecandidate","value":"candidate: candidate:2 1 udp 1 203.0.113.7 5 typ srflx raddr
    /// ignored"} sdpMid: 0, candidate: candidate:3 1 udp 1 203.0.113.7 5 typ srflx, url: stun:stun.example.org"#;
    /// let found: Vec<_> = Candidate::all_in(dump).collect();
    /// assert!(found[0].is_err());
    /// assert_eq!(found[1].unwrap().url, Some("stun:stun.example.org"));
    /// ```
    pub fn all_in(text: &'a str) -> impl Iterator<Item = Result<Self, ParseError>> + 'a {
        let (mut lines, mut known) = (Lines::new(text), Remembered::default());
        core::iter::from_fn(move || {
            loop {
                let (begin, line) = lines.next()?;
                let candidate = match line {
                    Ok(candidate) => candidate,
                    Err(error) => return Some(Err(error)),
                };
                match known.remember(&candidate, 0) {
                    Memory::Known => {}
                    Memory::Full if candidate.is_reflexive() => {
                        return Some(Err(ParseError {
                            position: begin,
                            expected: Expected::FewerCandidates,
                        }));
                    }
                    Memory::New | Memory::Full => return Some(Ok(candidate)),
                }
            }
        })
    }
}

/// Every text that begins like a candidate line, with its place, repeats and all.
pub(crate) struct Lines<'a> {
    text: &'a str,
    position: usize,
}

const MARK: &str = "candidate:";

impl<'a> Lines<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, Result<Candidate<'a>, ParseError>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.text.get(self.position..)?;
            let line = rest.get(rest.find(MARK)?..)?;
            let begin = self.text.len() - line.len();
            self.position = begin + MARK.len();
            // a dump's label: `candidate: candidate:…`
            if line
                .get(MARK.len()..)
                .is_some_and(|value| value.trim_ascii_start().starts_with(MARK))
            {
                continue;
            }
            // all that is this candidate's, and nothing is read twice
            let next = line
                .get(MARK.len()..)
                .and_then(|rest| rest.find(MARK))
                .map(|at| at + MARK.len());
            let own = next.and_then(|next| line.get(..next)).unwrap_or(line);
            let end = own
                .find(['\n', '\r', '"', '\'', '\\', ',', '<', '>'])
                .unwrap_or(own.len());
            let (line, tail) = own.split_at(end);
            return Some(match Candidate::parse(line) {
                Err(error) => {
                    let position = begin + error.position;
                    (begin, Err(ParseError { position, ..error }))
                }
                Ok(candidate) => {
                    self.position = begin + end;
                    let url = url(tail);
                    (begin, Ok(Candidate { url, ..candidate }))
                }
            });
        }
    }
}

/// The candidates that came before, as hashes.
pub(crate) struct Remembered {
    known: [u64; REMEMBERED],
    len: usize,
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            known: [0; REMEMBERED],
            len: 0,
        }
    }
}

impl Remembered {
    /// Whether this candidate of this session came before. From now on it did.
    pub(crate) fn remember(&mut self, candidate: &Candidate<'_>, session: u32) -> Memory {
        let mut hash = Fnv::default();
        Candidate {
            priority: 0,
            extensions: "",
            url: None,
            ..*candidate
        }
        .hash(&mut hash);
        session.hash(&mut hash);
        let hash = hash.finish();
        if self.known.iter().take(self.len).any(|known| *known == hash) {
            return Memory::Known;
        }
        let Some(place) = self.known.get_mut(self.len) else {
            return Memory::Full;
        };
        *place = hash;
        self.len += 1;
        Memory::New
    }
}

/// Whether a candidate came before.
pub(crate) enum Memory {
    Known,
    New,
    /// It may have.
    Full,
}

/// The server URL that belongs to a candidate: behind it, on its line, in its object.
fn url(tail: &str) -> Option<&str> {
    let line = tail.get(..tail.find(['\n', '}']).unwrap_or(tail.len()))?;
    let (_, value) = line.split_once("url")?;
    let value = value.trim_start_matches(['\\', '"', '\'', ':', ' ']);
    let value = value.get(
        ..value
            .find(['\\', '"', '\'', ',', ' ', '\r'])
            .unwrap_or(value.len()),
    )?;
    ["stun", "turn"]
        .iter()
        .any(|scheme| value.starts_with(scheme))
        .then_some(value)
}
