//! Why two hosts did not meet, as far as the checks and the summaries of both prove it.

use core::net::IpAddr;

use crate::behaviour::{Filtering, Mapping, NatType};
use crate::evidence::Evidence;
use crate::outlook::{ExpectedPath, Outlook, OutlookReason};
use crate::scope::Scope;
use crate::summary::NatSummary;
use crate::words::words;

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
    /// Binding requests sent after the first of these.
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
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
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
    /// The peer's checks came in, and none of ours was answered.
    ChecksOneWay,
    /// A pair was found, and the handshake over it failed.
    Dtls,
    /// The evidence proves none of these.
    #[default]
    Unknown,
}

words! {
    /// Its word: the value of `nat_telemetry.failure.cause`.
    FailureCause {
        BothSymmetric => "both_symmetric",
        PeerSilent => "peer_silent",
        UdpBlocked => "udp_blocked",
        FilteredHere => "filtered_here",
        ChecksOneWay => "checks_one_way",
        Dtls => "dtls",
        Unknown => "unknown",
    }
}

impl FailureCause {
    /// The cause of a failure. `ours` is the verdict on this host, `theirs` the
    /// candidates of the peer, `paired` whether a pair of candidates worked before the end.
    ///
    /// Silence alone names no cause: a peer that sends nothing, and one whose packets are kept out,
    /// look the same from here. A cause takes a NAT that would have kept them out, or the proof
    /// that nothing would.
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
        if paired {
            return Self::Dtls;
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
        // one of its relay's would pass both NATs
        let needs_to_punch = theirs.list().is_none_or(|list| list.maybe_relayed == 0);
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
    let Some(base) = ours.primary_base() else {
        return false;
    };
    let list = theirs.list().unwrap_or_default();
    let hosts = [
        list.local_hosts,
        list.confined_hosts,
        list.maybe_global_hosts,
    ]
    .map(usize::from)
    .iter()
    .sum();
    let reaches = |ip: &IpAddr| match Scope::of(*ip) {
        Scope::Global => base.base_scope() == Some(Scope::Global),
        Scope::Loopback => base.base_scope() == Some(Scope::Loopback),
        _ => false,
    };
    // a name hides who it is, and a relayed or reflexive candidate may be a NAT's
    base.natted == Some(false)
        && list.signs_of_life == 0
        && theirs.observed().is_empty()
        && hosts > 0
        && theirs.locals().len() == hosts
        && theirs.locals().iter().all(reaches)
        && theirs
            .locals()
            .iter()
            .any(|ip| ip.is_ipv4() == base.base.is_ipv4())
}
