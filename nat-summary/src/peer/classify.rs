//! The judge of the peer's reports: one function per rule, its source above it.

use core::net::IpAddr;

use super::evidence::{PeerEvidence, SentBefore, Unsolicited};
use super::summary::{DecidedBy, FilteringSeen, PeerSummary, TowardPeer};
use crate::behaviour::Mapping;
use crate::classify::{natted, summarize};
use crate::comparable::place;
use crate::evidence::vantage::is_own;
use crate::evidence::{Endpoint, Evidence, Observation, Seen};
use crate::rule::Rule;
use crate::scope::Scope;
use crate::summary::{BaseVerdict, NatSummary};

impl PeerEvidence {
    /// The verdict, beside that of the servers asked from the same bases (RFC 4787 section 4.1 for
    /// the mapping, section 5 for the filtering).
    #[must_use]
    pub fn summary(&self, servers: &Evidence) -> PeerSummary {
        let answers = self.answer_evidence().observed();
        let truncated = self.answer_evidence().truncated().observations;
        let by_servers = summarize(servers);
        let (mapping, rule, decided_by) =
            mapping_with_peer(servers, &by_servers, answers, truncated);
        let checks = self.unsolicited();
        PeerSummary {
            toward_peer: toward_peer(servers, answers, truncated),
            filtering: by_servers
                .primary_base()
                .map_or_else(FilteringSeen::default, |primary| {
                    filtering(servers, primary, answers, checks)
                }),
            mapping,
            rule,
            decided_by,
            answers: u16::try_from(answers.len()).unwrap_or(u16::MAX),
        }
    }
}

impl TowardPeer {
    /// One report of the peer against the mapping that `servers` saw of the same base, which was
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
    // a mapping seen from another vantage is another NAT's, and the host's own address is no NAT's
    let same_vantage = |seen: &&Seen| {
        place(seen, servers) == place(report, servers)
            && !is_own(seen.mapped(), seen.base(), servers)
    };
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
/// than was advertised. A report that had no room may be that one: then nothing is called kept.
fn toward_peer(servers: &Evidence, answers: &[Seen], truncated: bool) -> TowardPeer {
    let mut kept = false;
    for report in answers {
        match against(servers, report) {
            TowardPeer::Changed => return TowardPeer::Changed,
            TowardPeer::Kept => kept = true,
            TowardPeer::Unobserved => {}
        }
    }
    if kept && !truncated {
        TowardPeer::Kept
    } else {
        TowardPeer::Unobserved
    }
}

/// Whether a report went through a NAT: the reported address is none of the host's own, and the
/// servers that answered this base do not all show that it has no NAT in front of it.
fn is_natted(servers: &Evidence, report: &Seen) -> bool {
    let base = report.base();
    let mut of_base = servers
        .observed()
        .iter()
        .filter(|seen| seen.same_group(report))
        .peekable();
    natted(report.mapped(), base, servers) == Some(true)
        && (of_base.peek().is_none()
            || of_base.any(|seen| natted(seen.mapped(), base, servers) != Some(false)))
}

/// The mapping with the peer as one more vantage point (RFC 4787 section 4.1, by the rules for
/// servers). Where the servers decide, they alone do. Where they do not, the peer's reports count
/// like answers, except that none replaces a server's, and none counts that came by way of our own
/// external address: how a NAT turns packets around is its own affair.
fn mapping_with_peer(
    servers: &Evidence,
    by_servers: &NatSummary,
    answers: &[Seen],
    truncated: bool,
) -> (Mapping, Rule, DecidedBy) {
    let (mapping, rule) = (
        by_servers.mapping(),
        by_servers
            .primary_base()
            .map_or(by_servers.rule(), |b| b.rule),
    );
    if mapping != Mapping::Unknown {
        return (mapping, rule, DecidedBy::Servers);
    }
    if by_servers.is_natted() == Some(false) {
        return (mapping, rule, DecidedBy::Undecided);
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
    match with_peer.primary_base() {
        // a lost report may differ, or agree with one that differs
        Some(base) if truncated && base.mapping != Mapping::Unknown => {
            (Mapping::Unknown, Rule::Truncated, DecidedBy::Undecided)
        }
        Some(base) if base.mapping != Mapping::Unknown => {
            (base.mapping, base.rule, DecidedBy::Peer)
        }
        _ => (mapping, rule, DecidedBy::Undecided),
    }
}

/// Filtering (RFC 4787 section 5), by the checks that came in: from an address never sent to,
/// endpoint-independent; from another port of one that was, address-dependent at most. It has to
/// have crossed the NAT that the servers' verdict is about, in front of the primary base:
/// another base may have another one, as the two families of a host do. The peer's word that there
/// is one does not do: it would make a proof out of a lie.
fn filtering(
    servers: &Evidence,
    primary: &BaseVerdict,
    answers: &[Seen],
    checks: &[Unsolicited],
) -> FilteringSeen {
    let base = Endpoint::from(primary.base);
    let of_base = |check: &&Unsolicited| {
        check.base == base
            && base.port != 0
            && check.source.ip.is_v4() == primary.external.is_ipv4()
    };
    let counts = |check: &&Unsolicited| {
        primary.natted == Some(true) && crossed(servers, primary, answers, check)
    };
    let proof = |check: &Unsolicited| match check.sent_before {
        SentBefore::Never => FilteringSeen::Independent,
        SentBefore::OtherPort => FilteringSeen::AtMostAddressDependent,
    };
    checks
        .iter()
        .filter(of_base)
        .filter(counts)
        .map(proof)
        .max()
        .unwrap_or_default()
}

/// Whether a packet from `check.source` came through the NAT. A report of the peer there of an external
/// mapping has to show it: a place inside sees the base as it is, and a global place that reports an
/// address which is not global has a proxy in front of it. Not from the host itself, its subnet,
/// its own external address or a neighbour of that, which may be the same NAT's; nor where the base's
/// own address reaches as far as the source's.
fn crossed(
    servers: &Evidence,
    primary: &BaseVerdict,
    answers: &[Seen],
    check: &Unsolicited,
) -> bool {
    let (source, base) = (IpAddr::from(check.source.ip), IpAddr::from(check.base.ip));
    let near = |ip: IpAddr| is_near(ip, source);
    let is_outside = |report: &Seen| report.mapped().ip.scope().is_global();
    let mut external = servers
        .observed()
        .iter()
        .chain(answers)
        .map(|seen| IpAddr::from(seen.mapped().ip));
    let mut reports = answers
        .iter()
        .filter(|s| s.base() == check.base && s.is_of(check.source.ip))
        .peekable();
    !near(base)
        && !servers.locals().iter().copied().any(near)
        && !external.any(near)
        && reports.peek().is_some()
        && reports.all(|report| is_natted(servers, report) && is_outside(report))
        && !base.is_unspecified()
        && !Scope::of(base).is_global()
        && Scope::of(source).is_global()
        && primary.external_scope().is_global()
}

/// Whether two addresses may be of one network: the first 24 bits of IPv4, 48 of IPv6.
fn is_near(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.to_bits() >> 8 == b.to_bits() >> 8,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() >> 80 == b.to_bits() >> 80,
        _ => false,
    }
}
