//! Facts from the peer's connectivity checks: counts and sets, no verdict.

use core::net::SocketAddr;

use crate::bounded::Sorted;
use crate::evidence::{Endpoint, Evidence, Ip, Observation, Recorded, Seen};

/// Most unsolicited checks kept. Those beyond are counted in [`PeerEvidence::overflow`].
pub const MAX_UNSOLICITED: usize = 32;

const FEW_UNSOLICITED: usize = 2;

/// The packets sent to the source of a check before it came in: a filter goes by them (RFC 4787
/// section 5). The later variant proves more.
///
/// ```
/// use nat_summary::{Recorded, UnsolicitedCheck, SentBefore, PeerEvidence};
///
/// let mut peer = PeerEvidence::new();
/// let (base, source) = ("192.168.1.5:50000".parse()?, "192.0.2.9:40000".parse()?);
/// peer.record_unsolicited(UnsolicitedCheck { base, source, sent_before: SentBefore::Never });
/// let later = peer.record_unsolicited(UnsolicitedCheck { base, source, sent_before: SentBefore::OtherPort });
/// assert_eq!(later, Recorded::Superseded, "the stronger proof stands");
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum SentBefore {
    /// Packets to other ports of its address only.
    OtherPort,
    /// Nothing to its address. Written down as `nobody`.
    #[cfg_attr(feature = "serde", serde(rename = "nobody"))]
    Never,
}

/// An authenticated Binding request of the peer (RFC 8445 section 7.3) from a source that nothing
/// had been sent to.
///
/// ```
/// # use nat_summary::{UnsolicitedCheck, SentBefore, Evidence, FilteringSeen, Observation, PeerEvidence};
/// # let base = "192.168.1.5:50000".parse()?;
/// # let mut servers = Evidence::new();
/// # let server = "198.51.100.1:3478".parse::<core::net::SocketAddr>()?.into();
/// # let mapped = "203.0.113.7:50000".parse()?;
/// # servers.observe(Observation { base, server, mapped, sequence: 0 });
/// let mut peer = PeerEvidence::new();
/// peer.record_unsolicited(UnsolicitedCheck { base, source: "192.0.2.9:40000".parse()?, sent_before: SentBefore::Never });
/// assert_eq!(peer.summary(&servers).filtering, FilteringSeen::Unobserved, "it may have come around the NAT");
/// // the peer there sees the mapped address: the way between leads through the NAT
/// let peer_there = "192.0.2.9:40000".parse::<core::net::SocketAddr>()?.into();
/// peer.observe(Observation { base, server: peer_there, mapped, sequence: 1 });
/// assert_eq!(peer.summary(&servers).filtering, FilteringSeen::Independent);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UnsolicitedCheck {
    /// The local socket that received it.
    pub base: SocketAddr,
    /// The address it came from.
    pub source: SocketAddr,
    /// The packets sent from this base to the source before the request was read. Written down as
    /// `contact`.
    #[cfg_attr(feature = "serde", serde(rename = "contact"))]
    pub sent_before: SentBefore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unsolicited {
    pub(super) base: Endpoint,
    pub(super) source: Endpoint,
    pub(super) sent_before: SentBefore,
}

impl From<Unsolicited> for UnsolicitedCheck {
    fn from(check: Unsolicited) -> Self {
        Self {
            base: check.base.into(),
            source: check.source.into(),
            sent_before: check.sent_before,
        }
    }
}

/// Facts from the peer's connectivity checks (RFC 8445 section 7): the mapping that its responses
/// report, and its requests that came in unsolicited.
///
/// Facts come in one at a time and in any order, and the size is fixed. The caller has
/// verified them: the transaction is its own, the source is right, the integrity holds.
///
/// ```
/// use nat_summary::{Evidence, Observation, PeerEvidence, TowardPeer};
///
/// let seen = |server: &str, mapped: &str| {
///     Ok::<_, core::net::AddrParseError>(Observation {
///         base: "192.168.1.5:50000".parse()?,
///         server: server.parse::<core::net::SocketAddr>()?.into(),
///         mapped: mapped.parse()?,
///         sequence: 0,
///     })
/// };
/// let mut servers = Evidence::new();
/// servers.observe(seen("198.51.100.1:3478", "203.0.113.7:50000")?);
/// servers.observe(seen("198.51.100.2:3478", "203.0.113.7:50000")?);
/// let mut peer = PeerEvidence::new();
/// peer.observe(seen("192.0.2.9:40000", "203.0.113.7:61000")?);
/// // every server agrees, and yet the peer is sent to from another port
/// assert_eq!(peer.summary(&servers).toward_peer, TowardPeer::Changed);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PeerEvidence {
    answers: Evidence,
    unsolicited: Sorted<Unsolicited, FEW_UNSOLICITED, MAX_UNSOLICITED>,
    overflow: u32,
}

impl Default for PeerEvidence {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for PeerEvidence {
    fn eq(&self, other: &Self) -> bool {
        self.answers == other.answers
            && self.unsolicited.as_slice() == other.unsolicited.as_slice()
            && self.overflow == other.overflow
    }
}

impl Eq for PeerEvidence {}

impl PeerEvidence {
    /// Nothing observed yet.
    #[must_use]
    pub const fn new() -> Self {
        const ANY: Endpoint = Endpoint {
            ip: Ip::UNSPECIFIED,
            port: 0,
        };
        let filler = Unsolicited {
            base: ANY,
            source: ANY,
            sent_before: SentBefore::OtherPort,
        };
        Self {
            answers: Evidence::new(),
            unsolicited: Sorted::new(filler),
            overflow: 0,
        }
    }

    /// The peer answered a Binding request (RFC 8445 section 7.2.5): [`Observation::server`] is the
    /// address it was asked at and answered from, [`Observation::mapped`] the
    /// XOR-MAPPED-ADDRESS (RFC 8489 section 14.2). Of two answers from one address the one to
    /// the later request stands.
    pub fn observe(&mut self, observation: Observation) -> Recorded {
        self.answers.see(Seen::new(&observation, None))
    }

    /// A Binding request of the peer came in unsolicited (RFC 8445 section 7.3).
    pub fn record_unsolicited(&mut self, check: UnsolicitedCheck) -> Recorded {
        let new = Unsolicited {
            base: check.base.into(),
            source: check.source.into(),
            sent_before: check.sent_before,
        };
        let key = |a: &Unsolicited| (a.base, a.source);
        match self.unsolicited.find(|known| key(known).cmp(&key(&new))) {
            Ok(known) if known.sent_before < new.sent_before => {
                known.sent_before = new.sent_before;
                Recorded::Kept
            }
            Ok(_) => Recorded::Superseded,
            Err(at) => {
                let overflowed = self.unsolicited.insert(at, new).is_some();
                self.overflow = self.overflow.saturating_add(overflowed.into());
                if overflowed {
                    Recorded::Overflow
                } else {
                    Recorded::Kept
                }
            }
        }
    }

    /// Takes in all of `other`, as if its facts had come here.
    pub fn merge(&mut self, other: &Self) {
        self.answers.merge(&other.answers);
        for check in other.unsolicited_checks() {
            self.record_unsolicited(check);
        }
        self.overflow = self.overflow.saturating_add(other.overflow);
    }

    /// The reports of the peer, by base, then its address; the latest of each.
    pub fn answers(&self) -> impl ExactSizeIterator<Item = Observation> + '_ {
        self.answers.observations()
    }

    /// The unsolicited checks, by base, then source.
    pub fn unsolicited_checks(&self) -> impl ExactSizeIterator<Item = UnsolicitedCheck> + '_ {
        self.unsolicited
            .as_slice()
            .iter()
            .map(|check| (*check).into())
    }

    /// Facts that had no room: answers beyond [`MAX_OBSERVATIONS`](crate::MAX_OBSERVATIONS),
    /// unsolicited checks beyond [`MAX_UNSOLICITED`]. Once an answer is lost, nothing is called kept, or
    /// independent on the peer's word.
    #[must_use]
    pub const fn overflow(&self) -> u32 {
        self.overflow
            .saturating_add(self.answers.discarded().overflow)
    }

    /// Reported addresses that no NAT can have mapped anything to; see
    /// [`Observation::is_possible`].
    #[must_use]
    pub const fn impossible(&self) -> u32 {
        self.answers.discarded().impossible
    }

    /// So many answers had no room elsewhere, and so many more were impossible.
    pub(crate) fn lose_answers(&mut self, overflow: u32, impossible: u32) {
        self.answers.lost(overflow, impossible);
    }

    /// So many unsolicited checks had no room elsewhere.
    pub(crate) fn lose(&mut self, overflow: u32) {
        self.overflow = self.overflow.saturating_add(overflow);
    }

    #[cfg(feature = "serde")]
    pub(crate) const fn lost_checks(&self) -> u32 {
        self.overflow
    }

    pub(crate) const fn answer_evidence(&self) -> &Evidence {
        &self.answers
    }

    pub(super) fn unsolicited(&self) -> &[Unsolicited] {
        self.unsolicited.as_slice()
    }

    #[cfg(feature = "serde")]
    pub(crate) fn merge_answers(&mut self, answers: &Evidence) {
        self.answers.merge(answers);
    }
}
