//! Whether two hosts can expect to meet directly, from the summaries of both.

use crate::behaviour::{Filtering, Mapping, NatType, Pooling};
use crate::summary::NatSummary;

/// The path two hosts can expect to end up on (RFC 5128 section 3.3).
///
/// ```
/// use nat_summary::{Evidence, Outlook, Path};
///
/// let unknown = Evidence::new().summary();
/// assert_eq!(Outlook::between(&unknown, &unknown).path, Path::Undecided);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Path {
    /// Hole punching is expected to work.
    Direct,
    /// Hole punching is expected to fail: a relay is needed.
    Relay,
    /// The summaries do not decide.
    Undecided,
}

/// Why a [`Path`] is expected (RFC 5128 section 3.3).
///
/// ```
/// use nat_summary::{Evidence, Outcome, Outlook, Path, Reason, ServerId};
///
/// let unknown = Evidence::new().summary();
/// let mut evidence = Evidence::new();
/// evidence.asked(ServerId::named("stun.example.org", 3478), Outcome::TimedOut);
/// let outlook = Outlook::between(&unknown, &evidence.summary());
/// assert_eq!((outlook.path, outlook.reason), (Path::Relay, Reason::UdpBlocked));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Reason {
    /// UDP is blocked on one side.
    UdpBlocked,
    /// Each side is reached where the servers saw it (RFC 5128 section 3.3.1).
    BothIndependent,
    /// The filtering lets in the port nobody could foresee, so the side behind it learns where to
    /// answer.
    LetIn,
    /// One side sends from a port nobody could foresee, and the other lets in none it did not send
    /// to (RFC 5128 section 3.3.1).
    PortFiltered,
    /// Both sides send from ports nobody could foresee, and filter accordingly.
    BothDependent,
    /// It depends on the mapping of a side, which is unknown.
    MappingUnknown,
    /// It depends on the filtering of a side, which is unknown.
    FilteringUnknown,
    /// It depends on more than mapping and filtering, such as how a NAT with several mappings for
    /// one socket filters.
    DetailUnknown,
    /// Both have one external address: whether packets turn around at the NAT, or pass inside it,
    /// is unknown.
    SameExternalAddress,
    /// The servers saw one side in IPv4 and the other in IPv6.
    FamiliesDiffer,
}

/// What two hosts can expect of hole punching, and why (RFC 5128 section 3.3).
///
/// ```
/// use nat_summary::{Candidate, Evidence, Filtering, Outlook, Path, Reason};
///
/// let line = "candidate:2 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000";
/// let cone = Evidence::from_candidates([Candidate::parse(line)?; 2]).summary();
/// let text = "candidate:2 1 udp 1 198.51.100.7 41000 typ srflx raddr 10.0.0.5 rport 50000
///     candidate:3 1 udp 1 198.51.100.7 41001 typ srflx raddr 10.0.0.5 rport 50000";
/// let symmetric = Evidence::from_text(text).summary();
/// assert_eq!(Outlook::between(&cone, &symmetric).reason, Reason::FilteringUnknown);
/// let strict = cone.with_filtering(Filtering::AddressAndPortDependent);
/// assert_eq!(Outlook::between(&strict, &symmetric).path, Path::Relay);
/// # Ok::<(), nat_summary::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Outlook {
    /// The expected path.
    pub path: Path,
    /// Why.
    pub reason: Reason,
}

impl Outlook {
    /// The outlook for a host with the summary `ours` and a peer with `theirs` (RFC 5128 section
    /// 3.3, on RFC 4787 mapping and filtering; ICE learns a peer-reflexive candidate from every
    /// check that comes in). The same from both sides.
    ///
    /// Where the filtering of a dependent mapping is unknown, it is taken to be as strict as RFC
    /// 3489 section 5 has it for a symmetric NAT. That of an independent one is not guessed.
    ///
    /// ```
    /// use nat_summary::{Candidate, Evidence, Outlook, Path, Reason};
    ///
    /// let line = "candidate:2 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000";
    /// let ours = Evidence::from_candidates([Candidate::parse(line)?; 2]).summary();
    /// let line = "candidate:2 1 udp 1 198.51.100.7 50000 typ srflx raddr 10.0.0.5 rport 50000";
    /// let theirs = Evidence::from_candidates([Candidate::parse(line)?; 2]).summary();
    /// let outlook = Outlook::between(&ours, &theirs);
    /// assert_eq!((outlook.path, outlook.reason), (Path::Direct, Reason::BothIndependent));
    /// # Ok::<(), nat_summary::ParseError>(())
    /// ```
    #[must_use]
    pub fn between(ours: &NatSummary, theirs: &NatSummary) -> Self {
        if ours.nat_type() == NatType::UdpBlocked || theirs.nat_type() == NatType::UdpBlocked {
            return Self {
                path: Path::Relay,
                reason: Reason::UdpBlocked,
            };
        }
        let undecided = |reason| Self {
            path: Path::Undecided,
            reason,
        };
        // where nothing shows that UDP leaves at all, no NAT helps
        let (Some(our), Some(their)) = (ours.speaking_base(), theirs.speaking_base()) else {
            return undecided(Reason::MappingUnknown);
        };
        if our.family() != their.family() {
            return undecided(Reason::FamiliesDiffer);
        }
        if our.external == their.external {
            return undecided(Reason::SameExternalAddress);
        }
        let (a, b) = (Side::of(ours), Side::of(theirs));
        match worlds(&a, &b) {
            Some(path @ Path::Direct) => Self {
                path,
                reason: if a.is_independent() && b.is_independent() {
                    Reason::BothIndependent
                } else {
                    Reason::LetIn
                },
            },
            Some(path @ Path::Relay) => Self {
                path,
                reason: if a.is_dependent() && b.is_dependent() {
                    Reason::BothDependent
                } else {
                    Reason::PortFiltered
                },
            },
            _ if a.mapping == Mapping::Unknown || b.mapping == Mapping::Unknown => {
                undecided(Reason::MappingUnknown)
            }
            _ if [&a, &b]
                .iter()
                .any(|side| side.is_independent() && side.filtering == Filtering::Unknown) =>
            {
                undecided(Reason::FilteringUnknown)
            }
            _ => undecided(Reason::DetailUnknown),
        }
    }
}

struct Side {
    mapping: Mapping,
    filtering: Filtering,
    arbitrary: bool,
}

impl Side {
    fn of(summary: &NatSummary) -> Self {
        let mapping = match summary.mapping() {
            // nothing there that could map
            Mapping::Unknown if summary.is_natted() == Some(false) => Mapping::EndpointIndependent,
            mapping => mapping,
        };
        Self {
            mapping,
            filtering: summary.filtering(),
            arbitrary: summary.pooling() == Pooling::Arbitrary,
        }
    }

    fn is_independent(&self) -> bool {
        self.mapping == Mapping::EndpointIndependent
    }

    fn is_dependent(&self) -> bool {
        self.mapping.is_dependent()
    }

    /// Every NAT this side can be.
    fn worlds(&self) -> impl Iterator<Item = (Mapping, Filtering)> + '_ {
        const MAPPINGS: [Mapping; 3] = [
            Mapping::EndpointIndependent,
            Mapping::AddressDependent,
            Mapping::AddressAndPortDependent,
        ];
        const FILTERINGS: [Filtering; 3] = [
            Filtering::EndpointIndependent,
            Filtering::AddressDependent,
            Filtering::AddressAndPortDependent,
        ];
        let possible = move |mapping: &Mapping| match self.mapping {
            Mapping::Unknown => true,
            Mapping::Dependent => mapping.is_dependent(),
            known => known == *mapping,
        };
        let filterings = move |mapping: Mapping| {
            FILTERINGS
                .into_iter()
                .filter(move |filtering| match self.filtering {
                    Filtering::Unknown if mapping.is_dependent() => {
                        *filtering == Filtering::AddressAndPortDependent
                    }
                    Filtering::Unknown => true,
                    known => known == *filtering,
                })
        };
        MAPPINGS
            .into_iter()
            .filter(possible)
            .flat_map(move |mapping| filterings(mapping).map(move |f| (mapping, f)))
    }
}

/// What all NATs the two sides can be have in common.
fn worlds(a: &Side, b: &Side) -> Option<Path> {
    let mut common = None;
    for ours in a.worlds() {
        for theirs in b.worlds() {
            let path = punch(ours, theirs, a.arbitrary || b.arbitrary);
            if path == Path::Undecided || common.is_some_and(|common| common != path) {
                return None;
            }
            common = Some(path);
        }
    }
    common
}

/// The outcome for two known NATs. `arbitrary`: one side may turn up with another address.
fn punch(ours: (Mapping, Filtering), theirs: (Mapping, Filtering), arbitrary: bool) -> Path {
    use Filtering::{
        AddressAndPortDependent as ByPort, AddressDependent as ByAddress,
        EndpointIndependent as Open,
    };
    let ((a, a_lets), (b, b_lets)) = (ours, theirs);
    match (a.is_dependent(), b.is_dependent()) {
        (false, false) => Path::Direct,
        (false, true) | (true, false) => match if a.is_dependent() { b_lets } else { a_lets } {
            ByPort => Path::Relay,
            ByAddress if arbitrary => Path::Undecided,
            _ => Path::Direct,
        },
        (true, true) if a_lets == ByPort || b_lets == ByPort => Path::Relay,
        // an answer never comes back from where the check went
        (true, true) if a == Mapping::AddressAndPortDependent && b == a => Path::Relay,
        (true, true) if (a_lets == Open || b_lets == Open) && !arbitrary => Path::Direct,
        // whether the contacts of one mapping count for another of the same socket is beyond RFC
        // 4787's terms
        (true, true) => Path::Undecided,
    }
}
