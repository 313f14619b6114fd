//! Why two hosts did not meet, as far as the checks and the summaries of both prove it.

use core::net::IpAddr;

use crate::behaviour::{Family, Filtering, Mapping, NatType};
use crate::evidence::Evidence;
use crate::outlook::{ExpectedPath, Outlook, OutlookReason};
use crate::scope::Scope;
use crate::stage::StageVerdict;
use crate::summary::{BaseVerdict, NatSummary};

/// Fewest checks in a row without an answer that are no accident: with three of ten packets lost
/// each way, all five of a working pair get lost once in thirty times.
const ENOUGH: u32 = 5;

/// The connectivity checks of an attempt (RFC 8445 section 7), all pairs together.
///
/// ```
/// use nat_summary::{Checks, Evidence, FailureCause};
///
/// let ours = Evidence::new().summary();
/// let heard = Checks { sent: 9, received: 1, sent_since_received: 4, ..Checks::default() };
/// assert_eq!(FailureCause::of(&ours, None, heard, false), FailureCause::Unknown, "four may all get lost");
/// let one_way = Checks { sent_since_received: 5, ..heard };
/// assert_eq!(FailureCause::of(&ours, None, one_way, false), FailureCause::ChecksOneWay);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
pub struct Checks {
    /// Binding requests sent to the peer.
    pub sent: u32,
    /// Of these, how many an authenticated response came back to.
    pub answered: u32,
    /// Authenticated Binding requests of the peer that came in.
    pub received: u32,
    /// Binding requests sent to an address after the first of these had come in from it: the greatest
    /// such number of one address.
    pub sent_since_received: u32,
    /// Authenticated Binding requests of the peer that came in by way of a relay of ours, and so
    /// past the NAT.
    pub relayed: u32,
}

/// Why an attempt failed, as far as the evidence of both sides proves it.
///
/// ```
/// use nat_summary::{Checks, Evidence, FailureCause};
///
/// let nothing = Evidence::new();
/// let one_way = Checks { sent: 9, received: 3, sent_since_received: 8, ..Checks::default() };
/// assert_eq!(FailureCause::of(&nothing.summary(), None, one_way, false), FailureCause::ChecksOneWay);
/// assert_eq!(FailureCause::of(&nothing.summary(), None, Checks::default(), false), FailureCause::Unknown);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum FailureCause {
    /// Both NATs send from ports that the other side could not foresee.
    BothSymmetric,
    /// Nothing of the peer ever came in, though nothing in front of this host would have kept it
    /// out.
    PeerSilent,
    /// UDP does not get out of this host's network, or not back in.
    UdpBlocked,
    /// The peer sends from a port that could not be foreseen, and the NAT in front of this host lets
    /// in none it did not send to.
    FilteredHere,
    /// The peer's checks came in, and none of those sent to where they came from was answered.
    ChecksOneWay,
    /// A pair worked to the end, and the channel over it did not open: the verdict on the stage that
    /// stopped it. Where none is proven, the word is `dtls`, as for all of these in older records.
    Channel(StageVerdict),
    /// The evidence proves none of these.
    #[default]
    Unknown,
}

impl FailureCause {
    const COUNT: usize = 6 + StageVerdict::ALL.len();

    /// Every value: the causes before a channel, those of a channel from `dtls` on, and `unknown`.
    pub const ALL: &'static [Self] = &Self::all();

    const fn all() -> [Self; Self::COUNT] {
        let mut all = [Self::Unknown; Self::COUNT];
        let [both, silent, blocked, filtered, one_way, channel, rest @ ..] = &mut all;
        *both = Self::BothSymmetric;
        *silent = Self::PeerSilent;
        *blocked = Self::UdpBlocked;
        *filtered = Self::FilteredHere;
        *one_way = Self::ChecksOneWay;
        *channel = Self::Channel(StageVerdict::Unknown);
        // the last verdict is `Unknown`, and has its place before the others
        let mut at = 0;
        while at + 1 < StageVerdict::ALL.len() {
            rest[at] = Self::Channel(StageVerdict::ALL[at]);
            at += 1;
        }
        all
    }

    /// Its word: the value of `nat_telemetry.failure.cause`.
    ///
    /// ```
    /// use nat_summary::FailureCause;
    /// use nat_summary::stage::StageVerdict;
    /// assert_eq!(FailureCause::Channel(StageVerdict::HelloNeverCame).as_str(), "hello_never_came");
    /// assert_eq!(FailureCause::Channel(StageVerdict::Unknown).as_str(), "dtls");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BothSymmetric => "both_symmetric",
            Self::PeerSilent => "peer_silent",
            Self::UdpBlocked => "udp_blocked",
            Self::FilteredHere => "filtered_here",
            Self::ChecksOneWay => "checks_one_way",
            Self::Channel(StageVerdict::Unknown) => "dtls",
            Self::Channel(verdict) => verdict.as_str(),
            Self::Unknown => "unknown",
        }
    }

    /// The cause with this word, as records of any age have it.
    ///
    /// ```
    /// use nat_summary::FailureCause;
    /// use nat_summary::stage::StageVerdict;
    /// assert_eq!(FailureCause::of_word("dtls"), Some(FailureCause::Channel(StageVerdict::Unknown)));
    /// assert_eq!(FailureCause::of_word("path_lost"), Some(FailureCause::Channel(StageVerdict::PathLost)));
    /// ```
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|cause| cause.as_str() == word).copied()
    }

    /// Whether a pair worked and the channel over it did not open. Where a reader of older records looks
    /// for `dtls`, it looks for these today.
    ///
    /// ```
    /// use nat_summary::FailureCause;
    /// use nat_summary::stage::StageVerdict;
    /// assert!(FailureCause::Channel(StageVerdict::PathLost).is_of_channel());
    /// assert!(!FailureCause::UdpBlocked.is_of_channel());
    /// ```
    #[must_use]
    pub const fn is_of_channel(self) -> bool {
        matches!(self, Self::Channel(_))
    }

    /// The cause of a failure. `ours` is the verdict on this host, `theirs` the
    /// candidates of the peer, `paired` whether a pair of candidates worked, and still did at the end.
    ///
    /// Silence alone names no cause: a peer that sends nothing, and one whose packets are kept out,
    /// look the same from here. A cause takes a NAT that would have kept them out, or the proof
    /// that nothing would.
    ///
    /// A verdict does not hold all addresses of this host. Where it has more, or may have, a peer with an
    /// address behind a NAT may be a neighbour, and no NAT is the cause.
    /// [`AttemptEvidence::verdict`](crate::AttemptEvidence::verdict) knows the addresses, and names more.
    ///
    /// ```
    /// use nat_summary::{Checks, Evidence, FailureCause};
    ///
    /// let text = "candidate:2 1 udp 1 203.0.113.7 41000 typ srflx raddr 192.168.1.5 rport 50000
    ///     candidate:3 1 udp 1 203.0.113.7 41001 typ srflx raddr 192.168.1.5 rport 50000";
    /// let ours = Evidence::from_text(text).summary();
    /// let theirs = text.replace("203.0.113.7", "198.51.100.7");
    /// let theirs = Evidence::from_text(&theirs);
    /// let silence = Checks { sent: 9, ..Checks::default() };
    /// assert_eq!(FailureCause::of(&ours, Some(&theirs), silence, false), FailureCause::BothSymmetric);
    /// assert_eq!(FailureCause::of(&ours, None, silence, false), FailureCause::Unknown);
    /// ```
    #[must_use]
    pub fn of(ours: &NatSummary, theirs: Option<&Evidence>, checks: Checks, paired: bool) -> Self {
        let hosts = Hosts {
            ours,
            locals: None,
            theirs,
        };
        Self::between(hosts, checks, paired)
    }

    pub(crate) fn between(hosts: Hosts<'_>, checks: Checks, paired: bool) -> Self {
        let Hosts {
            ours,
            locals,
            theirs,
        } = hosts;
        if paired {
            return Self::Channel(StageVerdict::Unknown);
        }
        if checks.answered > 0 || checks.relayed > 0 {
            return Self::Unknown;
        }
        if checks.received > 0 {
            return if checks.sent_since_received >= ENOUGH {
                Self::ChecksOneWay
            } else {
                Self::Unknown
            };
        }
        if ours.nat_type() == NatType::UdpBlocked {
            return Self::UdpBlocked;
        }
        let Some(theirs) = theirs.filter(|_| checks.sent >= ENOUGH) else {
            return Self::Unknown;
        };
        let outlook = Outlook::between(ours, &theirs.summary());
        let strict_here =
            has_one_mapping(ours) && ours.filtering() == Filtering::AddressAndPortDependent;
        let lets_in_anybody =
            has_one_mapping(ours) && ours.filtering() == Filtering::EndpointIndependent;
        // one of its relay's would pass both NATs, and another way would pass none
        let needs_to_punch = theirs.list().is_none_or(|list| list.maybe_relayed == 0)
            && !has_other_way(ours, locals, theirs);
        match (outlook.path, outlook.reason) {
            // whether its packets reach our NAT, and turn around there, is unknown
            (_, OutlookReason::SameExternalAddress | OutlookReason::FamiliesDiffer) => {
                Self::Unknown
            }
            (ExpectedPath::Relay, OutlookReason::BothDependent) if needs_to_punch => {
                Self::BothSymmetric
            }
            (ExpectedPath::Relay, OutlookReason::PortFiltered) if strict_here && needs_to_punch => {
                Self::FilteredHere
            }
            _ if lets_in_anybody || nothing_between(ours, theirs) => Self::PeerSilent,
            _ => Self::Unknown,
        }
    }
}

/// The two hosts of an attempt.
#[derive(Clone, Copy)]
pub(crate) struct Hosts<'a> {
    pub(crate) ours: &'a NatSummary,
    /// Evidence with every address of this host.
    pub(crate) locals: Option<&'a Evidence>,
    pub(crate) theirs: Option<&'a Evidence>,
}

impl core::fmt::Display for FailureCause {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a packet to the advertised address goes to where this host sends from (RFC 4787 section
/// 4.1).
fn has_one_mapping(ours: &NatSummary) -> bool {
    ours.mapping() == Mapping::EndpointIndependent || ours.is_natted() == Some(false)
}

/// Neither side has a NAT, so each sends from exactly where the other sends to: no state of a
/// firewall in between can keep out both. The peer: every candidate of its list is a host's that
/// reaches as far as we do.
fn nothing_between(ours: &NatSummary, theirs: &Evidence) -> bool {
    let list = theirs.list().unwrap_or_default();
    let hosts = [
        list.local_hosts,
        list.confined_hosts,
        list.maybe_global_hosts,
    ]
    .map(usize::from)
    .iter()
    .sum();
    // a name hides who it is, and a relayed or reflexive candidate may be a NAT's
    let is_known = list.signs_of_life == 0
        && theirs.observed().is_empty()
        && hosts > 0
        && theirs.locals().len() == hosts;
    let meets = |base: &BaseVerdict| {
        let reaches = |ip: &IpAddr| match Scope::of(*ip) {
            Scope::Global => base.base_scope() == Some(Scope::Global),
            Scope::Loopback => base.base_scope() == Some(Scope::Loopback),
            _ => false,
        };
        let is_of_family = |ip: &IpAddr| ip.is_ipv4() == base.base.is_ipv4();
        base.natted == Some(false)
            && theirs.locals().iter().all(reaches)
            && theirs.locals().iter().any(is_of_family)
    };
    is_known && ours.bases().any(meets)
}

/// Whether the peer may be reached without passing the NATs that were judged: at a global address of its
/// own, over a family in which its NAT was not judged, or inside a subnet of ours; or whether a global
/// address of ours, which no server saw, may be.
fn has_other_way(ours: &NatSummary, our_locals: Option<&Evidence>, theirs: &Evidence) -> bool {
    let list = theirs.list().unwrap_or_default();
    let is_global = |ip: &&IpAddr| Scope::of(**ip).is_global();
    let locals = || theirs.locals().iter();
    let has_v6 = theirs.observations().any(|seen| seen.mapped.is_ipv6());
    // it may hide a global IPv6 address, which we could reach in IPv6 only
    let hides = usize::from(list.maybe_global_hosts) > locals().filter(is_global).count()
        && (ours.has_seen(Family::V6) || ours.unseen.has(Family::V6));
    let is_near = |ip: &IpAddr| {
        ours.bases().any(|base| are_near(*ip, base.base.ip())) || may_be_near(ours, our_locals, *ip)
    };
    // an address that had no room may be any
    locals().any(|ip| is_global(&ip))
        || has_v6
        || hides
        || ours.unseen.has(Family::V4)
        || theirs.truncated().locals
        || locals().any(is_near)
}

/// Whether an address that is no base's may be in the subnet of this one of the peer: a local one of ours,
/// or that of a wildcard base.
fn may_be_near(ours: &NatSummary, our_locals: Option<&Evidence>, ip: IpAddr) -> bool {
    let is_of_family = |local: &IpAddr| local.is_ipv4() == ip.is_ipv4();
    let mut bases = ours.bases().map(|base| base.base.ip());
    let is_wildcard = bases.any(|base| base.is_unspecified() && is_of_family(&base));
    match our_locals {
        Some(known) => {
            let mut of_family = known.locals().iter().filter(|local| is_of_family(local));
            known.truncated().locals
                || is_wildcard && of_family.clone().next().is_none()
                || of_family.any(|local| are_near(ip, *local))
        }
        None => !Scope::of(ip).is_confined() && (is_wildcard || ours.unseen.inside),
    }
}

/// Whether two addresses can be of one subnet: a /24 in IPv4, a /64 in IPv6 (RFC 4291 section 2.5.1).
fn are_near(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.to_bits() >> 8 == b.to_bits() >> 8,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() >> 64 == b.to_bits() >> 64,
        _ => false,
    }
}
