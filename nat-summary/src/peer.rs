//! The NAT as the peer sees it: what its connectivity checks proved, kept apart from what the
//! servers said.
//!
//! All of it is authenticated, and all of it is still only the peer's word or the peer's packets:
//! no verdict of the servers is ever changed by it.

use core::net::{IpAddr, SocketAddr};

use crate::Rule;
use crate::classify::{Vantage, natted, summarize};
use crate::evidence::{Admission, Evidence, Observation, Seen};
use crate::packed::{Endpoint, Sorted};
use crate::scope::Scope;
use crate::summary::{BaseVerdict, Filtering, Mapping, NatSummary};

/// Most arrivals kept. What is beyond is counted in [`PeerEvidence::overflow`].
///
/// ```
/// use nat_summary::{Arrival, Contact, MAX_ARRIVALS, PeerEvidence};
///
/// let mut peer = PeerEvidence::new();
/// for port in (40_000..).take(MAX_ARRIVALS + 1) {
///     let source = ([192, 0, 2, 9], port).into();
///     peer.arrived(Arrival { base: "192.168.1.5:50000".parse()?, source, contact: Contact::OtherPort });
/// }
/// assert_eq!((peer.arrivals().len(), peer.overflow()), (MAX_ARRIVALS, 1));
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
pub const MAX_ARRIVALS: usize = 32;

const FEW_ARRIVALS: usize = 2;

/// How the NAT mapped the base toward the peer, against the mapping that was advertised to it.
///
/// The peer's Binding responses carry XOR-MAPPED-ADDRESS (RFC 8489 section 14.2). Some NATs keep a
/// mapping toward every server and change it toward a peer whose packet came in first.
///
/// ```
/// assert_eq!(nat_summary::TowardPeer::Changed.as_str(), Some("changed"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum TowardPeer {
    /// No response of the peer was read, or none that crossed a NAT, or there is nothing to compare
    /// it with.
    #[default]
    Unobserved,
    /// As advertised.
    Kept,
    /// Another address or port.
    Changed,
}

impl TowardPeer {
    /// Every one there is.
    ///
    /// ```
    /// use nat_summary::TowardPeer;
    /// let words: Vec<_> = TowardPeer::ALL.iter().filter_map(|toward| toward.as_str()).collect();
    /// assert_eq!(words, ["kept", "changed"]);
    /// ```
    pub const ALL: &'static [Self] = &[Self::Unobserved, Self::Kept, Self::Changed];

    /// Its word; none where nothing was observed.
    ///
    /// ```
    /// use nat_summary::TowardPeer;
    /// assert_eq!(TowardPeer::Kept.as_str(), Some("kept"));
    /// assert_eq!(TowardPeer::Unobserved.as_str(), None);
    /// ```
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Unobserved => None,
            Self::Kept => Some("kept"),
            Self::Changed => Some("changed"),
        }
    }
}

/// What packets that came in proved of how the NAT filters (RFC 4787 section 5). Silence proves
/// nothing.
///
/// ```
/// use nat_summary::{Filtering, FilteringSeen};
/// assert_eq!(FilteringSeen::Independent.proven(), Filtering::EndpointIndependent);
/// assert_eq!(FilteringSeen::AtMostAddressDependent.proven(), Filtering::Unknown);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum FilteringSeen {
    /// Nothing came in that proves anything.
    #[default]
    Unobserved,
    /// An authenticated check came in from an address that had been sent to, but a port that had
    /// not: no stricter than address-dependent.
    AtMostAddressDependent,
    /// One came in from an address that was never sent to: endpoint-independent.
    Independent,
}

impl FilteringSeen {
    /// Every one there is, each stronger than the one before.
    ///
    /// ```
    /// use nat_summary::FilteringSeen;
    /// assert!(FilteringSeen::ALL.is_sorted());
    /// assert_eq!(FilteringSeen::ALL.first(), Some(&FilteringSeen::default()));
    /// ```
    pub const ALL: &'static [Self] = &[
        Self::Unobserved,
        Self::AtMostAddressDependent,
        Self::Independent,
    ];

    /// Its word; none where nothing was observed.
    ///
    /// ```
    /// use nat_summary::FilteringSeen;
    /// assert_eq!(FilteringSeen::Independent.as_str(), Some("independent"));
    /// assert_eq!(FilteringSeen::Unobserved.as_str(), None);
    /// ```
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Unobserved => None,
            Self::AtMostAddressDependent => Some("at_most_address_dependent"),
            Self::Independent => Some("independent"),
        }
    }

    /// The filtering (RFC 4787 section 5), where it is proven: half a proof is none.
    ///
    /// ```
    /// use nat_summary::{Candidate, Evidence, FilteringSeen, NatType};
    ///
    /// let line = "candidate:2 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000";
    /// let cone = Evidence::from_candidates([Candidate::parse(line)?; 2]).summary();
    /// let named = |seen: FilteringSeen| cone.with_filtering(seen.proven()).nat_type();
    /// assert_eq!(named(FilteringSeen::Independent), NatType::FullCone);
    /// assert_eq!(named(FilteringSeen::AtMostAddressDependent), NatType::Cone, "it may be either of two");
    /// # Ok::<(), nat_summary::ParseError>(())
    /// ```
    #[must_use]
    pub const fn proven(self) -> Filtering {
        match self {
            Self::Independent => Filtering::EndpointIndependent,
            _ => Filtering::Unknown,
        }
    }
}

/// On whose word a mapping was decided.
///
/// ```
/// use nat_summary::{Evidence, PeerEvidence, Word};
/// assert_eq!(PeerEvidence::new().summary(&Evidence::new()).word, Word::Nobody);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Word {
    /// It was not decided.
    #[default]
    Nobody,
    /// The servers' alone.
    Servers,
    /// The peer's as well. It may lie.
    Peer,
}

/// Who had been sent to when a packet came in: what a filter goes by (RFC 4787 section 5). The
/// order is that of what it proves.
///
/// ```
/// use nat_summary::{Admission, Arrival, Contact, PeerEvidence};
///
/// let mut peer = PeerEvidence::new();
/// let (base, source) = ("192.168.1.5:50000".parse()?, "192.0.2.9:40000".parse()?);
/// peer.arrived(Arrival { base, source, contact: Contact::Nobody });
/// let later = peer.arrived(Arrival { base, source, contact: Contact::OtherPort });
/// assert_eq!(later, Admission::Superseded, "the stronger proof stands");
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Contact {
    /// Its address, on other ports only.
    OtherPort,
    /// Nobody at its address.
    Nobody,
}

/// An authenticated Binding request of the peer (RFC 8445 section 7.3), from where nothing had been
/// sent to.
///
/// ```
/// # use nat_summary::{Arrival, Contact, Evidence, FilteringSeen, Observation, PeerEvidence};
/// # let base = "192.168.1.5:50000".parse()?;
/// # let mut servers = Evidence::new();
/// # let server = "198.51.100.1:3478".parse::<core::net::SocketAddr>()?.into();
/// # servers.observe(Observation { base, server, mapped: "203.0.113.7:50000".parse()?, sequence: 0 });
/// let mut peer = PeerEvidence::new();
/// peer.arrived(Arrival { base, source: "192.168.1.9:40000".parse()?, contact: Contact::Nobody });
/// assert_eq!(peer.summary(&servers).filtering, FilteringSeen::Unobserved, "a neighbour's crossed no NAT");
/// peer.arrived(Arrival { base, source: "192.0.2.9:40000".parse()?, contact: Contact::Nobody });
/// assert_eq!(peer.summary(&servers).filtering, FilteringSeen::Independent);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Arrival {
    /// The local socket it came in on.
    pub base: SocketAddr,
    /// Where it came from.
    pub source: SocketAddr,
    /// Who had been sent to from this base before it was read.
    pub contact: Contact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrived {
    base: Endpoint,
    source: Endpoint,
    contact: Contact,
}

impl From<Arrived> for Arrival {
    fn from(arrived: Arrived) -> Self {
        Self {
            base: arrived.base.into(),
            source: arrived.source.into(),
            contact: arrived.contact,
        }
    }
}

/// What the peer's connectivity checks (RFC 8445 section 7) showed of the NAT: the mapping that its
/// responses report, and its requests that came in uninvited.
///
/// Facts come in one at a time and in any order, and the size is fixed. Whoever hands them in has
/// verified them: the transaction is one's own, the source is right, the integrity holds.
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
/// peer.answered(seen("192.0.2.9:40000", "203.0.113.7:61000")?);
/// // every server agrees, and yet the peer is sent to from another port
/// assert_eq!(peer.summary(&servers).toward_peer, TowardPeer::Changed);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PeerEvidence {
    answers: Evidence,
    arrivals: Sorted<Arrived, FEW_ARRIVALS, MAX_ARRIVALS>,
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
            && self.arrivals.as_slice() == other.arrivals.as_slice()
            && self.overflow == other.overflow
    }
}

impl Eq for PeerEvidence {}

/// What the peer showed of the NAT (RFC 4787 sections 4.1 and 5), beside what the servers said and
/// never instead.
///
/// ```
/// # use nat_summary::{Evidence, Mapping, Observation, PeerEvidence, Word};
/// # let seen = |server: &str, mapped: &str, sequence| {
/// #     Ok::<_, core::net::AddrParseError>(Observation {
/// #         base: "192.168.1.5:50000".parse()?,
/// #         server: server.parse::<core::net::SocketAddr>()?.into(),
/// #         mapped: mapped.parse()?,
/// #         sequence,
/// #     })
/// # };
/// let mut servers = Evidence::new();
/// servers.observe(seen("198.51.100.1:3478", "203.0.113.7:50000", 0)?);
/// assert_eq!(servers.summary().mapping(), Mapping::Unknown, "one server proves nothing");
/// let mut peer = PeerEvidence::new();
/// peer.answered(seen("192.0.2.9:40000", "203.0.113.7:61000", 1)?);
/// let verdict = peer.summary(&servers);
/// assert_eq!((verdict.mapping, verdict.word), (Mapping::Dependent, Word::Peer));
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PeerSummary {
    /// How the base was mapped toward the peer, by its own word.
    pub toward_peer: TowardPeer,
    /// What came in uninvited through the NAT that the servers' verdict is about, in front of the
    /// base that speaks.
    pub filtering: FilteringSeen,
    /// How the NAT maps, if the peer is taken as one more vantage point where the servers leave it
    /// open.
    pub mapping: Mapping,
    /// The rule that decided `mapping`, or why none could.
    pub rule: Rule,
    /// On whose word.
    pub word: Word,
    /// Addresses of the peer that reported a mapping.
    pub answers: u16,
}

impl PeerEvidence {
    /// Nothing observed yet.
    ///
    /// ```
    /// use nat_summary::{Evidence, FilteringSeen, PeerEvidence, TowardPeer};
    ///
    /// const NOTHING: PeerEvidence = PeerEvidence::new();
    /// let verdict = NOTHING.summary(&Evidence::new());
    /// assert_eq!((verdict.toward_peer, verdict.filtering), (TowardPeer::Unobserved, FilteringSeen::Unobserved));
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        const ANY: Endpoint = Endpoint {
            ip: crate::packed::Ip::UNSPECIFIED,
            port: 0,
        };
        let filler = Arrived {
            base: ANY,
            source: ANY,
            contact: Contact::OtherPort,
        };
        Self {
            answers: Evidence::new(),
            arrivals: Sorted::new(filler),
            overflow: 0,
        }
    }

    /// The peer answered a Binding request (RFC 8445 section 7.2.5): [`Observation::server`] is the
    /// address it was asked at and answered from, [`Observation::mapped`] the
    /// XOR-MAPPED-ADDRESS (RFC 8489 section 14.2). Of two answers from one address the one to
    /// the later request stands.
    ///
    /// ```
    /// # use nat_summary::{Admission, Observation, PeerEvidence};
    /// # let seen = |server: &str, mapped: &str, sequence| {
    /// #     Ok::<_, core::net::AddrParseError>(Observation {
    /// #         base: "192.168.1.5:50000".parse()?,
    /// #         server: server.parse::<core::net::SocketAddr>()?.into(),
    /// #         mapped: mapped.parse()?,
    /// #         sequence,
    /// #     })
    /// # };
    /// let mut peer = PeerEvidence::new();
    /// assert_eq!(peer.answered(seen("192.0.2.9:40000", "203.0.113.7:61000", 8)?), Admission::Kept);
    /// let overtaken = seen("192.0.2.9:40000", "203.0.113.7:50000", 7)?;
    /// assert_eq!(peer.answered(overtaken), Admission::Superseded);
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    pub fn answered(&mut self, observation: Observation) -> Admission {
        self.answers.see(Seen::new(&observation, None))
    }

    /// A Binding request of the peer came in uninvited (RFC 8445 section 7.3).
    ///
    /// ```
    /// use nat_summary::{Arrival, Contact, Evidence, FilteringSeen, Observation, PeerEvidence};
    ///
    /// let base = "192.168.1.5:50000".parse()?;
    /// let mut servers = Evidence::new();
    /// let server = "198.51.100.1:3478".parse::<core::net::SocketAddr>()?.into();
    /// servers.observe(Observation { base, server, mapped: "203.0.113.7:50000".parse()?, sequence: 0 });
    /// let mut peer = PeerEvidence::new();
    /// peer.arrived(Arrival { base, source: "192.0.2.9:40000".parse()?, contact: Contact::Nobody });
    /// assert_eq!(peer.summary(&servers).filtering, FilteringSeen::Independent);
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    pub fn arrived(&mut self, arrival: Arrival) -> Admission {
        let arrived = Arrived {
            base: arrival.base.into(),
            source: arrival.source.into(),
            contact: arrival.contact,
        };
        let key = |a: &Arrived| (a.base, a.source);
        match self.arrivals.find(|known| key(known).cmp(&key(&arrived))) {
            Ok(known) if known.contact < arrived.contact => {
                known.contact = arrived.contact;
                Admission::Kept
            }
            Ok(_) => Admission::Superseded,
            Err(at) => {
                let overflowed = self.arrivals.insert(at, arrived);
                self.overflow = self.overflow.saturating_add(overflowed.into());
                if overflowed {
                    Admission::Overflow
                } else {
                    Admission::Kept
                }
            }
        }
    }

    /// Takes in all of `other`, as if its facts had come here.
    ///
    /// ```
    /// use nat_summary::{Arrival, Contact, PeerEvidence};
    ///
    /// let base = "192.168.1.5:50000".parse()?;
    /// let (mut one, mut other) = (PeerEvidence::new(), PeerEvidence::new());
    /// one.arrived(Arrival { base, source: "192.0.2.9:40000".parse()?, contact: Contact::OtherPort });
    /// other.arrived(Arrival { base, source: "192.0.2.9:40000".parse()?, contact: Contact::Nobody });
    /// one.merge(&other);
    /// assert_eq!(one, other, "the same packet, and the stronger proof");
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    pub fn merge(&mut self, other: &Self) {
        self.answers.merge(&other.answers);
        for arrival in other.arrivals() {
            self.arrived(arrival);
        }
        self.overflow = self.overflow.saturating_add(other.overflow);
    }

    /// What the peer reported, by base, then its address; the latest of each.
    ///
    /// ```
    /// # use nat_summary::{Observation, PeerEvidence};
    /// # let seen = |server: &str, mapped: &str, sequence| {
    /// #     Ok::<_, core::net::AddrParseError>(Observation {
    /// #         base: "192.168.1.5:50000".parse()?,
    /// #         server: server.parse::<core::net::SocketAddr>()?.into(),
    /// #         mapped: mapped.parse()?,
    /// #         sequence,
    /// #     })
    /// # };
    /// let mut peer = PeerEvidence::new();
    /// peer.answered(seen("192.0.2.9:40000", "203.0.113.7:50000", 0)?);
    /// peer.answered(seen("192.0.2.9:40000", "203.0.113.7:61000", 1)?);
    /// assert!(peer.answers().eq([seen("192.0.2.9:40000", "203.0.113.7:61000", 1)?]));
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    pub fn answers(&self) -> impl ExactSizeIterator<Item = Observation> + '_ {
        self.answers.observations()
    }

    /// What came in uninvited, by base, then source.
    ///
    /// ```
    /// use nat_summary::{Arrival, Contact, PeerEvidence};
    ///
    /// let mut peer = PeerEvidence::new();
    /// for source in ["192.0.2.9:40001", "192.0.2.9:40000"] {
    ///     let contact = Contact::Nobody;
    ///     peer.arrived(Arrival { base: "192.168.1.5:50000".parse()?, source: source.parse()?, contact });
    /// }
    /// let ports: Vec<u16> = peer.arrivals().map(|arrival| arrival.source.port()).collect();
    /// assert_eq!(ports, [40_000, 40_001]);
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    pub fn arrivals(&self) -> impl ExactSizeIterator<Item = Arrival> + '_ {
        self.arrivals
            .as_slice()
            .iter()
            .map(|arrived| (*arrived).into())
    }

    /// Facts that had no room: answers beyond [`MAX_OBSERVATIONS`](crate::MAX_OBSERVATIONS),
    /// arrivals beyond [`MAX_ARRIVALS`]. Once an answer is lost, nothing is called kept, or
    /// independent on the peer's word.
    ///
    /// ```
    /// use nat_summary::{MAX_OBSERVATIONS, Observation, PeerEvidence, ServerId};
    ///
    /// let mut peer = PeerEvidence::new();
    /// let (base, mapped) = ("192.168.1.5:50000".parse()?, "203.0.113.7:50000".parse()?);
    /// for port in (40_000..).take(MAX_OBSERVATIONS + 1) {
    ///     peer.answered(Observation { base, server: ServerId::named("192.0.2.9", port), mapped, sequence: 0 });
    /// }
    /// assert_eq!((peer.answers().len(), peer.overflow()), (MAX_OBSERVATIONS, 1));
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub const fn overflow(&self) -> u32 {
        self.overflow
            .saturating_add(self.answers.discarded().overflow)
    }

    /// Reported addresses that no NAT can have mapped anything to; see
    /// [`Observation::is_possible`].
    ///
    /// ```
    /// # use nat_summary::{Admission, Observation, PeerEvidence};
    /// # let seen = |server: &str, mapped: &str, sequence| {
    /// #     Ok::<_, core::net::AddrParseError>(Observation {
    /// #         base: "192.168.1.5:50000".parse()?,
    /// #         server: server.parse::<core::net::SocketAddr>()?.into(),
    /// #         mapped: mapped.parse()?,
    /// #         sequence,
    /// #     })
    /// # };
    /// let mut peer = PeerEvidence::new();
    /// assert_eq!(peer.answered(seen("192.0.2.9:40000", "255.255.255.255:50000", 0)?), Admission::Impossible);
    /// assert_eq!((peer.answers().len(), peer.impossible()), (0, 1));
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub const fn impossible(&self) -> u32 {
        self.answers.discarded().impossible
    }

    /// The verdict, beside that of the servers asked from the same bases (RFC 4787 section 4.1 for
    /// the mapping, section 5 for the filtering).
    ///
    /// ```
    /// # use nat_summary::{Evidence, Mapping, Observation, PeerEvidence, TowardPeer, Word};
    /// # let seen = |server: &str, mapped: &str, sequence| {
    /// #     Ok::<_, core::net::AddrParseError>(Observation {
    /// #         base: "192.168.1.5:50000".parse()?,
    /// #         server: server.parse::<core::net::SocketAddr>()?.into(),
    /// #         mapped: mapped.parse()?,
    /// #         sequence,
    /// #     })
    /// # };
    /// let mut servers = Evidence::new();
    /// servers.observe(seen("198.51.100.1:3478", "203.0.113.7:50000", 0)?);
    /// servers.observe(seen("198.51.100.2:3478", "203.0.113.7:50000", 1)?);
    /// let mut peer = PeerEvidence::new();
    /// peer.answered(seen("192.0.2.9:40000", "203.0.113.7:61000", 2)?);
    /// let verdict = peer.summary(&servers);
    /// assert_eq!(verdict.toward_peer, TowardPeer::Changed);
    /// assert_eq!((verdict.mapping, verdict.word), (Mapping::EndpointIndependent, Word::Servers), "they alone decide");
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn summary(&self, servers: &Evidence) -> PeerSummary {
        let answers = self.answers.observed();
        let crowded = self.answers.crowded().observations;
        let by_servers = summarize(servers);
        let (mapping, rule, word) = mapping_with_peer(servers, &by_servers, answers, crowded);
        let arrivals = self.arrivals.as_slice();
        PeerSummary {
            toward_peer: toward_peer(servers, answers, crowded),
            filtering: by_servers
                .speaking_base()
                .map_or_else(FilteringSeen::default, |speaking| {
                    filtering(servers, speaking, answers, arrivals)
                }),
            mapping,
            rule,
            word,
            answers: u16::try_from(answers.len()).unwrap_or(u16::MAX),
        }
    }

    #[cfg(feature = "serde")]
    pub(crate) fn lose(&mut self, overflow: u32) {
        self.overflow = self.overflow.saturating_add(overflow);
    }

    #[cfg(feature = "serde")]
    pub(crate) const fn parts(&self) -> (&Evidence, u32) {
        (&self.answers, self.overflow)
    }

    #[cfg(feature = "serde")]
    pub(crate) fn merge_answers(&mut self, answers: &Evidence) {
        self.answers.merge(answers);
    }
}

impl TowardPeer {
    /// One report of the peer against what `servers` saw of the same base, and so what was
    /// advertised (RFC 4787 section 4.1).
    ///
    /// Unobserved if it did not cross a NAT, or if no server answered that base from beyond the
    /// same NATs, by the scope of what it saw. Of a wildcard base it is not known which way a
    /// packet left: there it can be kept, never changed.
    ///
    /// ```
    /// # use nat_summary::{Evidence, Observation, TowardPeer};
    /// # let seen = |server: &str, mapped: &str, sequence| {
    /// #     Ok::<_, core::net::AddrParseError>(Observation {
    /// #         base: "192.168.1.5:50000".parse()?,
    /// #         server: server.parse::<core::net::SocketAddr>()?.into(),
    /// #         mapped: mapped.parse()?,
    /// #         sequence,
    /// #     })
    /// # };
    /// let mut servers = Evidence::new();
    /// servers.observe(seen("198.51.100.1:3478", "203.0.113.7:50000", 0)?);
    /// let kept = seen("192.0.2.9:40000", "203.0.113.7:50000", 1)?;
    /// assert_eq!(TowardPeer::against(&servers, &kept), TowardPeer::Kept);
    /// let changed = seen("192.0.2.9:40000", "203.0.113.7:61000", 1)?;
    /// assert_eq!(TowardPeer::against(&servers, &changed), TowardPeer::Changed);
    /// let bare = seen("192.0.2.9:40000", "192.168.1.5:50000", 1)?;
    /// assert_eq!(TowardPeer::against(&servers, &bare), TowardPeer::Unobserved, "it crossed no NAT");
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn against(servers: &Evidence, report: &Observation) -> Self {
        let report = Seen::new(report, None);
        against(servers, &report)
    }
}

fn against(servers: &Evidence, report: &Seen) -> TowardPeer {
    if !is_natted(servers, report) {
        return TowardPeer::Unobserved;
    }
    let wildcard = report.base().ip.is_unspecified();
    let same_base = |seen: &&Seen| {
        if wildcard {
            seen.base().port == report.base().port
                && seen.mapped().ip.is_v4() == report.mapped().ip.is_v4()
        } else {
            seen.same_group(report)
        }
    };
    // what was seen from elsewhere is another NAT's
    let vantage = |seen: &Seen| Vantage::of(seen.mapped().ip, seen.base().ip, servers);
    let same_vantage = |seen: &&Seen| vantage(seen) == vantage(report);
    let mut advertised = servers
        .observed()
        .iter()
        .filter(same_base)
        .filter(same_vantage)
        .peekable();
    let nothing = advertised.peek().is_none() || report.base().port == 0;
    if nothing {
        TowardPeer::Unobserved
    } else if advertised.any(|seen| seen.same_mapping(report)) {
        TowardPeer::Kept
    } else if wildcard {
        TowardPeer::Unobserved
    } else {
        TowardPeer::Changed
    }
}

/// Toward the peer (RFC 4787 section 4.1): changed if some address of the peer saw another mapping
/// than was advertised. What had no room may have been the one: then nothing is called kept.
fn toward_peer(servers: &Evidence, answers: &[Seen], crowded: bool) -> TowardPeer {
    let mut kept = false;
    for report in answers {
        match against(servers, report) {
            TowardPeer::Changed => return TowardPeer::Changed,
            TowardPeer::Kept => kept = true,
            TowardPeer::Unobserved => {}
        }
    }
    if kept && !crowded {
        TowardPeer::Kept
    } else {
        TowardPeer::Unobserved
    }
}

/// Whether a report went through a NAT: the reported address is none of the host's own, and the
/// servers that answered this base do not all say that it has no NAT in front of it.
fn is_natted(servers: &Evidence, report: &Seen) -> bool {
    let (mapped, base) = (report.mapped().ip, report.base().ip);
    let mut of_base = servers
        .observed()
        .iter()
        .filter(|seen| seen.same_group(report))
        .peekable();
    natted(mapped, base, servers) == Some(true)
        && (of_base.peek().is_none()
            || of_base.any(|seen| natted(seen.mapped().ip, base, servers) != Some(false)))
}

/// The mapping with the peer as one more vantage point (RFC 4787 section 4.1, by the rules for
/// servers). Where the servers decide, they alone do. Where they do not, the peer's reports count
/// like answers, except that none replaces a server's, and none counts that came by way of our own
/// external address: how a NAT turns packets around is its own affair.
fn mapping_with_peer(
    servers: &Evidence,
    by_servers: &NatSummary,
    answers: &[Seen],
    crowded: bool,
) -> (Mapping, Rule, Word) {
    let (mapping, rule) = (
        by_servers.mapping(),
        by_servers
            .speaking_base()
            .map_or(by_servers.rule(), |b| b.rule),
    );
    if mapping != Mapping::Unknown {
        return (mapping, rule, Word::Servers);
    }
    if by_servers.is_natted() == Some(false) {
        return (mapping, rule, Word::Nobody);
    }
    let mut both = servers.clone();
    for report in answers.iter().filter(|report| is_natted(servers, report)) {
        let is_taken = |seen: &Seen| seen.same_group(report) && seen.same_server(report);
        let turns_around = |seen: &Seen| report.is_of(seen.mapped().ip);
        if !servers
            .observed()
            .iter()
            .any(|seen| is_taken(seen) || turns_around(seen))
        {
            both.see(*report);
        }
    }
    let with_peer = summarize(&both);
    match with_peer.speaking_base() {
        // what had no room may have been the one that differs
        Some(base) if crowded && base.mapping == Mapping::EndpointIndependent => {
            (Mapping::Unknown, Rule::Crowded, Word::Nobody)
        }
        Some(base) if crowded && base.mapping == Mapping::AddressDependent => {
            (Mapping::Dependent, Rule::ServersDiffer, Word::Peer)
        }
        Some(base) if base.mapping != Mapping::Unknown => (base.mapping, base.rule, Word::Peer),
        _ => (mapping, rule, Word::Nobody),
    }
}

/// Filtering (RFC 4787 section 5), by what came in: from an address never sent to,
/// endpoint-independent; from another port of one that was, address-dependent at most. It has to
/// have crossed the NAT that the servers' verdict is about, in front of the base that speaks:
/// another base may have another one, as the two families of a host do. The peer's word that there
/// is one does not do: it would make a proof out of a lie.
fn filtering(
    servers: &Evidence,
    speaking: &BaseVerdict,
    answers: &[Seen],
    arrivals: &[Arrived],
) -> FilteringSeen {
    let base = Endpoint::from(speaking.base);
    let of_base = |arrived: &&Arrived| {
        arrived.base == base
            && base.port != 0
            && arrived.source.ip.is_v4() == speaking.external.is_ipv4()
    };
    let counts =
        |arrived: &&Arrived| speaking.natted == Some(true) && crossed(servers, answers, arrived);
    let proof = |arrived: &Arrived| match arrived.contact {
        Contact::Nobody => FilteringSeen::Independent,
        Contact::OtherPort => FilteringSeen::AtMostAddressDependent,
    };
    arrivals
        .iter()
        .filter(of_base)
        .filter(counts)
        .map(proof)
        .max()
        .unwrap_or_default()
}

/// Whether a packet from `arrived.source` came through the NAT. Not from the host itself, its
/// subnet, its own external address or a neighbour of that, which may be the same NAT's; nor from
/// where the peer sees the base as it is. Otherwise it did where the base's own address reaches
/// less far than the source's.
fn crossed(servers: &Evidence, answers: &[Seen], arrived: &Arrived) -> bool {
    let (source, base) = (
        IpAddr::from(arrived.source.ip),
        IpAddr::from(arrived.base.ip),
    );
    let near = |ip: IpAddr| is_near(ip, source);
    let mut external = servers
        .observed()
        .iter()
        .chain(answers)
        .map(|seen| IpAddr::from(seen.mapped().ip));
    let mut reports = answers
        .iter()
        .filter(|s| s.base() == arrived.base && s.is_of(arrived.source.ip));
    !near(base)
        && !servers.locals().iter().copied().any(near)
        && !external.any(near)
        && reports.all(|report| is_natted(servers, report))
        && !base.is_unspecified()
        && !Scope::of(base).is_global()
        && Scope::of(source).is_global()
}

/// Whether two addresses may be of one network: the first 24 bits of IPv4, 48 of IPv6.
fn is_near(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.to_bits() >> 8 == b.to_bits() >> 8,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() >> 80 == b.to_bits() >> 80,
        _ => false,
    }
}
