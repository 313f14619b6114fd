//! What the peer's connectivity checks showed: counts and sets, no verdict.

use core::net::SocketAddr;

use crate::bounded::Sorted;
use crate::evidence::{Admission, Endpoint, Evidence, Ip, Observation, Seen};

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
    pub(super) base: Endpoint,
    pub(super) source: Endpoint,
    pub(super) contact: Contact,
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
            ip: Ip::UNSPECIFIED,
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

    #[cfg(feature = "serde")]
    pub(crate) fn lose(&mut self, overflow: u32) {
        self.overflow = self.overflow.saturating_add(overflow);
    }

    #[cfg(feature = "serde")]
    pub(crate) const fn lost_arrivals(&self) -> u32 {
        self.overflow
    }

    pub(crate) const fn answer_evidence(&self) -> &Evidence {
        &self.answers
    }

    pub(super) fn arrived_checks(&self) -> &[Arrived] {
        self.arrivals.as_slice()
    }

    #[cfg(feature = "serde")]
    pub(crate) fn merge_answers(&mut self, answers: &Evidence) {
        self.answers.merge(answers);
    }
}
