//! Whether two hosts can expect to meet directly, from the summaries of both.

use core::net::IpAddr;

use crate::behaviour::{Family, Filtering, Mapping, NatType, Pooling};
use crate::scope::Scope;
use crate::summary::{BaseVerdict, NatSummary};
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
    /// check that comes in). The same from both sides. Every base of a host counts, not the primary
    /// one alone: one pair that can expect to meet is enough, and a relay is expected only where every
    /// pair needs one and no host has a global address at which no server saw it.
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
        if ours.primary_base().is_none() || theirs.primary_base().is_none() {
            return undecided(OutlookReason::MappingUnknown);
        }
        // ICE tries every pair: one that works is enough, and a relay is needed where none can
        let mut best: Option<(Rank, Self)> = None;
        for (n, our) in ways(ours).enumerate() {
            for (m, their) in ways(theirs).enumerate() {
                if our.family() != their.family() {
                    continue;
                }
                let outlook = of_pair(&Side::of(ours, our), &Side::of(theirs, their));
                let rank = outlook.rank(n + m == 0);
                if best.is_none_or(|(known, _)| known < rank) {
                    best = Some((rank, outlook));
                }
            }
        }
        match best {
            Some((_, outlook)) if outlook.path != ExpectedPath::Relay => outlook,
            Some((_, outlook)) if !may_meet_unseen(ours, theirs) => outlook,
            // a way that no server saw may do
            Some(_) => undecided(OutlookReason::MappingUnknown),
            None => undecided(OutlookReason::FamiliesDiffer),
        }
    }

    /// Orders the outlooks of pairs; the greatest is that of the hosts. Of two alike the one between
    /// the primary bases stands, and the order of the sides never matters.
    const fn rank(&self, is_primary: bool) -> Rank {
        let path = match self.path {
            ExpectedPath::Relay => 0,
            ExpectedPath::Undecided => 1,
            ExpectedPath::Direct => 2,
        };
        (path, is_primary, self.reason as u8)
    }
}

type Rank = (u8, bool, u8);

/// The ways out of a host that servers saw: one base for each external address, the primary one
/// first. Bases behind one external address are behind one NAT, so a decided one stands for all.
fn ways(summary: &NatSummary) -> impl Iterator<Item = &BaseVerdict> {
    let is_decided =
        |base: &&BaseVerdict| base.mapping != Mapping::Unknown || base.natted == Some(false);
    summary.bases().enumerate().filter_map(move |(n, base)| {
        let mut before = summary.bases().take(n);
        if before.any(|known| known.external == base.external) {
            return None;
        }
        let mut alike = summary
            .bases()
            .filter(|known| known.external == base.external);
        Some(alike.find(is_decided).unwrap_or(base))
    })
}

/// Whether the hosts may meet over a way that no server saw: a global address of their own that is no
/// judged base, or a base whose verdict had no room.
fn may_meet_unseen(ours: &NatSummary, theirs: &NatSummary) -> bool {
    let lost = |summary: &NatSummary| usize::from(summary.counts().bases) > summary.bases().count();
    lost(ours)
        || lost(theirs)
        || [Family::V4, Family::V6].into_iter().any(|family| {
            let can = |summary: &NatSummary| summary.has_seen(family) || summary.unseen.has(family);
            let is_unseen = ours.unseen.has(family) || theirs.unseen.has(family);
            can(ours) && can(theirs) && is_unseen
        })
}

/// The outlook for one way out of each host.
fn of_pair(a: &Side, b: &Side) -> Outlook {
    let outlook = |path, reason| Outlook { path, reason };
    let undecided = |reason| outlook(ExpectedPath::Undecided, reason);
    if a.external == b.external {
        return undecided(OutlookReason::SameExternalAddress);
    }
    match worlds(a, b) {
        // beyond the place from which a side was seen, another NAT may stand
        Some(ExpectedPath::Direct) if !a.meets(b) => undecided(OutlookReason::MappingUnknown),
        Some(path @ ExpectedPath::Direct) if a.is_independent() && b.is_independent() => {
            outlook(path, OutlookReason::BothIndependent)
        }
        Some(path @ ExpectedPath::Direct) => outlook(path, OutlookReason::LetIn),
        Some(path @ ExpectedPath::Relay) if a.is_dependent() && b.is_dependent() => {
            outlook(path, OutlookReason::BothDependent)
        }
        Some(path @ ExpectedPath::Relay) => outlook(path, OutlookReason::PortFiltered),
        _ if a.mapping == Mapping::Unknown || b.mapping == Mapping::Unknown => {
            undecided(OutlookReason::MappingUnknown)
        }
        _ if [a, b]
            .iter()
            .any(|side| side.is_independent() && side.filtering == Filtering::Unknown) =>
        {
            undecided(OutlookReason::FilteringUnknown)
        }
        _ => undecided(OutlookReason::DetailUnknown),
    }
}

struct Side {
    mapping: Mapping,
    filtering: Filtering,
    arbitrary: bool,
    external: IpAddr,
}

impl Side {
    fn of(summary: &NatSummary, base: &BaseVerdict) -> Self {
        let mapping = match base.mapping {
            // nothing there that could map
            Mapping::Unknown if base.natted == Some(false) => Mapping::EndpointIndependent,
            mapping => mapping,
        };
        Self {
            mapping,
            // known of the NAT in front of the primary base alone
            filtering: if summary.external_ip() == Some(base.external) {
                summary.filtering()
            } else {
                Filtering::Unknown
            },
            arbitrary: summary.pooling() == Pooling::Arbitrary,
            external: base.external,
        }
    }

    /// Whether an address at which one side was seen can be reached from where the other was seen.
    fn meets(&self, other: &Self) -> bool {
        let scope = Scope::of(self.external);
        matches!(scope, Scope::Global | Scope::Loopback) && scope == Scope::of(other.external)
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
