//! Whether two hosts can expect to meet directly, from the summaries of both.

use crate::behaviour::{Filtering, Mapping, NatType, Pooling};
use crate::summary::NatSummary;
use crate::words::words;

/// The path two hosts can expect to end up on (RFC 5128 section 3.3).
///
/// ```
/// use nat_summary::{Evidence, Outlook, ExpectedPath};
///
/// let unknown = Evidence::new().summary();
/// assert_eq!(Outlook::between(&unknown, &unknown).path, ExpectedPath::Undecided);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum ExpectedPath {
    /// Hole punching is expected to work.
    Direct,
    /// Hole punching is expected to fail: a relay is needed.
    Relay,
    /// The summaries do not decide.
    Undecided,
}

words! {
    /// Its word: the value of `nat_telemetry.outlook`.
    ExpectedPath {
        Direct => "direct",
        Relay => "relay",
        Undecided => "undecided",
    }
}

/// Why a [`ExpectedPath`] is expected (RFC 5128 section 3.3).
///
/// ```
/// use nat_summary::{Evidence, Outcome, Outlook, ExpectedPath, OutlookReason, ServerId};
///
/// let unknown = Evidence::new().summary();
/// let mut evidence = Evidence::new();
/// evidence.add_local([192, 168, 1, 5].into());
/// for host in [1, 2] {
///     evidence.record_outcome(ServerId::Address([198, 51, 100, host].into(), 3478), Outcome::TimedOut);
/// }
/// let outlook = Outlook::between(&unknown, &evidence.summary());
/// assert_eq!((outlook.path, outlook.reason), (ExpectedPath::Relay, OutlookReason::UdpBlocked));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum OutlookReason {
    /// UDP is blocked on one side.
    UdpBlocked,
    /// Each side is reached where the servers saw it (RFC 5128 section 3.3.1).
    BothIndependent,
    /// The filtering lets in a port that could not be foreseen, so the side behind it learns where
    /// to answer.
    LetIn,
    /// One side sends from a port that could not be foreseen, and the other lets in none it did not
    /// send to (RFC 5128 section 3.3.1).
    PortFiltered,
    /// Both sides send from ports that could not be foreseen, and filter accordingly.
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

words! {
    /// Its word: the value of `nat_telemetry.outlook.reason`.
    OutlookReason {
        UdpBlocked => "udp_blocked",
        BothIndependent => "both_independent",
        LetIn => "let_in",
        PortFiltered => "port_filtered",
        BothDependent => "both_dependent",
        MappingUnknown => "mapping_unknown",
        FilteringUnknown => "filtering_unknown",
        DetailUnknown => "detail_unknown",
        SameExternalAddress => "same_external_address",
        FamiliesDiffer => "families_differ",
    }
}

/// The chances of hole punching between two hosts, and why (RFC 5128 section 3.3).
///
/// ```
/// use nat_summary::{Candidate, Evidence, Filtering, Outlook, ExpectedPath, OutlookReason};
///
/// let line = "candidate:2 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000";
/// let cone = Evidence::from_candidates([Candidate::parse(line)?; 2]).summary();
/// let text = "candidate:2 1 udp 1 198.51.100.7 41000 typ srflx raddr 10.0.0.5 rport 50000
///     candidate:3 1 udp 1 198.51.100.7 41001 typ srflx raddr 10.0.0.5 rport 50000";
/// let symmetric = Evidence::from_text(text).summary();
/// assert_eq!(Outlook::between(&cone, &symmetric).reason, OutlookReason::FilteringUnknown);
/// let strict = cone.with_filtering(Filtering::AddressAndPortDependent);
/// assert_eq!(Outlook::between(&strict, &symmetric).path, ExpectedPath::Relay);
/// # Ok::<(), nat_summary::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Outlook {
    /// The expected path.
    pub path: ExpectedPath,
    /// Why.
    pub reason: OutlookReason,
}

impl Outlook {
    /// The outlook for a host with the summary `ours` and a peer with `theirs` (RFC 5128 section
    /// 3.3, on RFC 4787 mapping and filtering; ICE learns a peer-reflexive candidate from every
    /// check that comes in). The same from both sides.
    ///
    /// Where the filtering of a dependent mapping is unknown, it is taken to be as strict as RFC
    /// 3489 section 5 has it for a symmetric NAT. That of an independent one is not guessed.
    #[must_use]
    pub fn between(ours: &NatSummary, theirs: &NatSummary) -> Self {
        if ours.nat_type() == NatType::UdpBlocked || theirs.nat_type() == NatType::UdpBlocked {
            return Self {
                path: ExpectedPath::Relay,
                reason: OutlookReason::UdpBlocked,
            };
        }
        let undecided = |reason| Self {
            path: ExpectedPath::Undecided,
            reason,
        };
        // where nothing shows that UDP leaves at all, no NAT helps
        let (Some(our), Some(their)) = (ours.primary_base(), theirs.primary_base()) else {
            return undecided(OutlookReason::MappingUnknown);
        };
        if our.family() != their.family() {
            return undecided(OutlookReason::FamiliesDiffer);
        }
        if our.external == their.external {
            return undecided(OutlookReason::SameExternalAddress);
        }
        let (a, b) = (Side::of(ours), Side::of(theirs));
        match worlds(&a, &b) {
            Some(path @ ExpectedPath::Direct) => Self {
                path,
                reason: if a.is_independent() && b.is_independent() {
                    OutlookReason::BothIndependent
                } else {
                    OutlookReason::LetIn
                },
            },
            Some(path @ ExpectedPath::Relay) => Self {
                path,
                reason: if a.is_dependent() && b.is_dependent() {
                    OutlookReason::BothDependent
                } else {
                    OutlookReason::PortFiltered
                },
            },
            _ if a.mapping == Mapping::Unknown || b.mapping == Mapping::Unknown => {
                undecided(OutlookReason::MappingUnknown)
            }
            _ if [&a, &b]
                .iter()
                .any(|side| side.is_independent() && side.filtering == Filtering::Unknown) =>
            {
                undecided(OutlookReason::FilteringUnknown)
            }
            _ => undecided(OutlookReason::DetailUnknown),
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

/// The path that all NATs the two sides can be have in common.
fn worlds(a: &Side, b: &Side) -> Option<ExpectedPath> {
    let mut common = None;
    for ours in a.worlds() {
        for theirs in b.worlds() {
            let path = punch(ours, theirs, a.arbitrary || b.arbitrary);
            if path == ExpectedPath::Undecided || common.is_some_and(|common| common != path) {
                return None;
            }
            common = Some(path);
        }
    }
    common
}

/// The outcome for two known NATs. `arbitrary`: one side may turn up with another address.
fn punch(
    ours: (Mapping, Filtering),
    theirs: (Mapping, Filtering),
    arbitrary: bool,
) -> ExpectedPath {
    use Filtering::{
        AddressAndPortDependent as ByPort, AddressDependent as ByAddress,
        EndpointIndependent as Open,
    };
    let ((a, a_lets), (b, b_lets)) = (ours, theirs);
    match (a.is_dependent(), b.is_dependent()) {
        (false, false) => ExpectedPath::Direct,
        (false, true) | (true, false) => match if a.is_dependent() { b_lets } else { a_lets } {
            ByPort => ExpectedPath::Relay,
            ByAddress if arbitrary => ExpectedPath::Undecided,
            _ => ExpectedPath::Direct,
        },
        (true, true) if a_lets == ByPort || b_lets == ByPort => ExpectedPath::Relay,
        // an answer never comes back from where the check went
        (true, true) if a == Mapping::AddressAndPortDependent && b == a => ExpectedPath::Relay,
        (true, true) if (a_lets == Open || b_lets == Open) && !arbitrary => ExpectedPath::Direct,
        // whether the contacts of one mapping count for another of the same socket is beyond RFC
        // 4787's terms
        (true, true) => ExpectedPath::Undecided,
    }
}
