//! The candidates in a text, by side: session descriptions, dumps, logs and statistics.

mod fields;
mod mark;
mod walk;

use core::fmt;

use self::mark::Side;
use self::walk::{Fact, Place, Walk};
use crate::candidate::{Memory, Remembered};
use crate::evidence::Evidence;

/// Most results without a side.
const MAX_UNASSIGNED: usize = 8;
/// Most user fragments whose side is remembered. A candidate with another one has the side that the
/// words around it give.
const MAX_SESSIONS: usize = 64;

/// The evidence of a text by sides: a session description, a `webrtc-internals` dump, a page such as
/// `about:webrtc`, the log of an application or a server, `getStats()` objects as JSON.
///
/// Words mark the sides: `setLocalDescription`, `onIceCandidate`, `local-candidate`, `Local SDP`,
/// `createOffer` and their like mark candidates as this host's, `setRemoteDescription`,
/// `addIceCandidate`, `remote-candidate` and their like as the peer's. A word holds for its own line
/// and for those below it, until the next one; entries of a log that begin with a time are marked
/// only by words of their own. A user fragment (RFC 8839 section 5.4) that was marked once marks every
/// candidate that carries it. Descriptions that nothing marks are results of their own, one for each
/// user fragment or origin, never a mixture.
///
/// Lines of a text prove that mappings differ, never that two servers saw the same mapping, because
/// a text may repeat a candidate, as a second invitation or another component does. An
/// `icecandidateerror` with code 701 is the time-out of the server that it names, or a name that
/// did not resolve.
///
/// This type keeps only the positions of the parts, because the text itself may be long. Each
/// result reads the text once more, in time linear in its length.
///
/// ```
/// use nat_summary::Sides;
///
/// let log = "setLocalDescription
///     a=candidate:1 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000
///     setRemoteDescription
///     a=candidate:1 1 udp 1 198.51.100.77 61001 typ srflx raddr 10.0.0.7 rport 40000
///     a=candidate:2 1 udp 1 198.51.100.77 61002 typ srflx raddr 10.0.0.7 rport 40000";
/// let sides = Sides::of(log);
/// let line = |evidence: Option<nat_summary::Evidence>| evidence.unwrap().summary().to_string();
/// assert_eq!(line(sides.local()), "NAT of unknown type, port kept, 1 reflexive candidate");
/// assert_eq!(line(sides.remote()), "symmetric NAT, port changed, 2 reflexive candidates differ");
/// assert_eq!(sides.unassigned().count(), 0);
/// ```
#[derive(Debug, Clone)]
pub struct Sides<'a> {
    text: &'a str,
    sessions: Sessions,
    has_local: bool,
    has_remote: bool,
    unassigned: [u32; MAX_UNASSIGNED],
    unassigned_len: usize,
    left_out: u32,
}

/// The sides of user fragments.
#[derive(Debug, Clone)]
struct Sessions {
    known: [(u32, Option<Side>); MAX_SESSIONS],
    len: usize,
}

/// The result that a fact belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Side(Side),
    Unassigned(u32),
}

impl<'a> Sides<'a> {
    /// Finds the sides in a text.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        let mut sessions = Sessions {
            known: [(0, None); MAX_SESSIONS],
            len: 0,
        };
        for (place, fact) in Walk::new(text) {
            if let (Some(side), Fact::Candidate(_)) = (place.marked, fact) {
                sessions.learn(place.session, side);
            }
        }
        let mut sides = Self {
            text,
            sessions,
            has_local: false,
            has_remote: false,
            unassigned: [0; MAX_UNASSIGNED],
            unassigned_len: 0,
            left_out: 0,
        };
        for (place, fact) in Walk::new(text) {
            // ignored, because text that only begins like a candidate proves nothing
            if !matches!(fact, Fact::Unreadable) {
                sides.note(sides.owner(place));
            }
        }
        sides
    }

    fn note(&mut self, owner: Owner) {
        match owner {
            Owner::Side(Side::Local) => self.has_local = true,
            Owner::Side(Side::Remote) => self.has_remote = true,
            Owner::Unassigned(id) => {
                let is_known = self
                    .unassigned
                    .iter()
                    .take(self.unassigned_len)
                    .any(|known| *known == id);
                if is_known {
                } else if let Some(free) = self.unassigned.get_mut(self.unassigned_len) {
                    *free = id;
                    self.unassigned_len += 1;
                } else {
                    self.left_out = self.left_out.saturating_add(1);
                }
            }
        }
    }

    fn owner(&self, place: Place) -> Owner {
        place
            .marked
            .or_else(|| self.sessions.side(place.session))
            .or(place.held)
            .map_or(Owner::Unassigned(place.description), Owner::Side)
    }

    /// The evidence of this host's part; `None` if the text marks none as such.
    #[must_use]
    pub fn local(&self) -> Option<Evidence> {
        self.has_local
            .then(|| self.evidence(Owner::Side(Side::Local)))
    }

    /// The evidence of the peer's part; `None` if the text marks none as such.
    #[must_use]
    pub fn remote(&self) -> Option<Evidence> {
        self.has_remote
            .then(|| self.evidence(Owner::Side(Side::Remote)))
    }

    /// The evidence of each description whose side nothing shows, in the order of the text; at most
    /// 8.
    pub fn unassigned(&self) -> impl Iterator<Item = Evidence> + '_ {
        let ids = self.unassigned.iter().take(self.unassigned_len);
        ids.map(|id| self.evidence(Owner::Unassigned(*id)))
    }

    /// Candidates without a side that belong to a ninth result, or a later one.
    #[must_use]
    pub const fn left_out(&self) -> u32 {
        self.left_out
    }

    /// Whether there is no candidate, and no server either.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.has_local && !self.has_remote && self.unassigned_len == 0
    }

    /// The one part that can be this host's: the one marked as such, or the only one there is
    /// without a mark. `None` where there is none, or more than one.
    #[must_use]
    pub fn own(&self) -> Option<Evidence> {
        let mut unassigned = self.unassigned();
        match self.local() {
            None if self.unassigned_len == 1 => unassigned.next(),
            local => local,
        }
    }

    /// A text to show to a user: the verdict on the only part in one line, or a line for each part,
    /// with the external addresses in it.
    ///
    /// ```
    /// use nat_summary::Sides;
    ///
    /// let line = |host| format!("v=0\no=- {host} 1 IN IP4 0.0.0.0\na=candidate:1 1 udp 1 203.0.113.{host} 5 typ srflx raddr 10.0.0.1 rport 5\n");
    /// let (one, two) = (line(7), line(7) + &line(8));
    /// let verdict = "NAT of unknown type, port kept, 203.0.113.7, 1 reflexive candidate";
    /// assert_eq!(Sides::of(&one).with_address().to_string(), verdict);
    /// assert!(Sides::of(&two).with_address().to_string().starts_with(&format!("description 1: {verdict}\n")));
    /// ```
    pub fn with_address(&self) -> impl fmt::Display + '_ {
        Verdicts(self)
    }

    fn evidence(&self, owner: Owner) -> Evidence {
        evidence_of(Walk::new(self.text).filter(|(place, _)| self.owner(*place) == owner))
    }
}

impl Evidence {
    /// The evidence of this host's part of a text (RFC 8839 section 5.1): a session description, a
    /// dump, a log. It is that of [`Sides::own`]; where the text holds several parts and marks none as
    /// this host's, it is empty, because a mixture would judge two NATs as one. A line that cannot be
    /// read is counted.
    ///
    /// ```
    /// use nat_summary::{Evidence, Mapping};
    ///
    /// let line = |port| format!("a=candidate:2 1 udp 1 203.0.113.7 {port} typ srflx raddr 192.168.1.5 rport 50000\r\n");
    /// let same = line(50_000) + &line(50_000).replace("candidate:2", "candidate:3");
    /// assert_eq!(Evidence::from_text(&same).summary().mapping(), Mapping::Unknown);
    /// let other = line(50_000) + &line(50_001);
    /// assert_eq!(Evidence::from_text(&other).summary().mapping(), Mapping::Dependent);
    /// ```
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let sides = Sides::of(text);
        match sides.own() {
            Some(own) => own,
            None if sides.is_empty() => Self::from_description(text),
            None => Self::of_list(),
        }
    }

    /// The evidence of a text that is known to be of one side, such as a session description from a
    /// peer (RFC 8839 section 5). The words in it mark no sides, because the caller knows the side.
    ///
    /// ```
    /// use nat_summary::Evidence;
    ///
    /// let sdp = "v=0\r\ns=setRemoteDescription\r\na=candidate:1 1 udp 1 192.168.1.5 50000 typ host\r\n";
    /// assert_eq!(Evidence::from_description(sdp).locals().len(), 1);
    /// ```
    #[must_use]
    pub fn from_description(sdp: &str) -> Self {
        evidence_of(Walk::new(sdp))
    }
}

/// The evidence of these facts. A repeat counts once, and where it can no longer be known as one, a
/// reflexive candidate does not count.
fn evidence_of<'a>(facts: impl Iterator<Item = (Place, Fact<'a>)>) -> Evidence {
    let (mut evidence, mut known) = (Evidence::of_list(), Remembered::default());
    for (place, fact) in facts {
        match fact {
            Fact::Candidate(candidate) => match known.remember(&candidate, place.session) {
                Memory::Known => {}
                Memory::Full if candidate.is_reflexive() => {
                    evidence.add_unreadable();
                }
                Memory::New | Memory::Full => {
                    evidence.candidate_of_text(&candidate, place.session);
                }
            },
            Fact::Unreadable => {
                evidence.add_unreadable();
            }
            Fact::Server(server, outcome) => {
                evidence.record_outcome(server, outcome);
            }
        }
    }
    evidence
}

impl Sessions {
    fn learn(&mut self, session: u32, side: Side) {
        if session == 0 {
            return;
        }
        let known = self.known.iter_mut().take(self.len);
        match known.into_iter().find(|(known, _)| *known == session) {
            // two connections of one page are each other's peer
            Some((_, known)) if *known != Some(side) => *known = None,
            Some(_) => {}
            None => {
                if let Some(free) = self.known.get_mut(self.len) {
                    *free = (session, Some(side));
                    self.len += 1;
                }
            }
        }
    }

    fn side(&self, session: u32) -> Option<Side> {
        let mut known = self.known.iter().take(self.len);
        known
            .find(|(known, _)| *known == session && session != 0)?
            .1
    }
}

struct Verdicts<'s, 'a>(&'s Sides<'a>);

impl fmt::Display for Verdicts<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = self.0;
        let mut is_first = true;
        let mut line = |name: fmt::Arguments<'_>, evidence: &Evidence| {
            let newline = if core::mem::take(&mut is_first) {
                ""
            } else {
                "\n"
            };
            write!(f, "{newline}{name}{}", evidence.summary().with_address())
        };
        let parts =
            usize::from(sides.has_local) + usize::from(sides.has_remote) + sides.unassigned_len;
        if let (1, Some(own)) = (parts, sides.own()) {
            return line(format_args!(""), &own);
        }
        if let Some(local) = sides.local() {
            line(format_args!("this host: "), &local)?;
        }
        if let Some(remote) = sides.remote() {
            line(format_args!("peer: "), &remote)?;
        }
        for (number, evidence) in (1..).zip(sides.unassigned()) {
            line(format_args!("description {number}: "), &evidence)?;
        }
        Ok(())
    }
}
