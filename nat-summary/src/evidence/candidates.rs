//! A candidate list, read as evidence.

use core::borrow::Borrow;
use core::net::SocketAddr;

use super::list::ListFacts;
use super::observation::{Observation, Seen, is_possible};
use super::{Evidence, Recorded};
use crate::candidate::{Candidate, CandidateKind, TransportProtocol};
use crate::scope::Scope;
use crate::server::ServerId;

impl Evidence {
    /// The evidence of a bare candidate list (RFC 8839 section 5.1). Each reflexive candidate counts as
    /// its own server address, unless it carries a [server URL](Candidate::url). Takes
    /// candidates, or references to them.
    ///
    /// ```
    /// use nat_summary::{Candidate, Evidence, NatType};
    ///
    /// let lines = ["candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host"];
    /// let summary = Evidence::from_candidates(lines.iter().filter_map(|line| Candidate::parse(line).ok())).summary();
    /// assert_eq!(summary.nat_type(), NatType::UdpBlocked);
    /// ```
    #[must_use]
    pub fn from_candidates<'a>(candidates: impl IntoIterator<Item: Borrow<Candidate<'a>>>) -> Self {
        let mut evidence = Self::new();
        evidence.list = Some(ListFacts::default());
        for candidate in candidates {
            evidence.add_candidate(candidate.borrow());
        }
        evidence
    }

    /// The evidence of the candidate lines in a text (RFC 8839 section 5.1): a session description, a
    /// dump, a log. As [`from_candidates`](Self::from_candidates) of all that
    /// [`Candidate::all_in`] finds; a candidate that cannot be read is counted,
    /// because it may have been reflexive.
    ///
    /// ```
    /// use nat_summary::{Evidence, NatType};
    ///
    /// let host = "a=candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host\r\n";
    /// assert_eq!(Evidence::from_text(host).summary().nat_type(), NatType::UdpBlocked);
    /// let cut_off = "a=candidate:2 1 udp 1694498815 203.0.113.7 50000 typ srflx raddr 192.168.1.5\r\n";
    /// let evidence = Evidence::from_text(&(host.to_owned() + cut_off));
    /// assert_eq!(evidence.discarded().unreadable, 1);
    /// assert_eq!(evidence.summary().nat_type(), NatType::Unknown, "a server did answer");
    /// ```
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut evidence = Self::new();
        evidence.list = Some(ListFacts::default());
        for candidate in Candidate::all_in(text) {
            match candidate {
                Ok(candidate) => evidence.add_candidate(&candidate),
                Err(_) => evidence.add_unreadable(),
            };
        }
        evidence
    }

    /// One candidate of a list, as [`from_candidates`](Self::from_candidates) takes them; for a
    /// list that trickles.
    ///
    /// ```
    /// use nat_summary::{Candidate, Evidence, NatType};
    ///
    /// let mut evidence = Evidence::new();
    /// for port in [50_001, 50_002] {
    ///     let line = format!("candidate:2 1 udp 1 203.0.113.7 {port} typ srflx raddr 10.0.0.5 rport 50000");
    ///     evidence.add_candidate(&Candidate::parse(&line)?);
    /// }
    /// assert_eq!(evidence.summary().nat_type(), NatType::Symmetric);
    /// # Ok::<(), nat_summary::ParseError>(())
    /// ```
    pub fn add_candidate(&mut self, candidate: &Candidate<'_>) -> Recorded {
        let list = self.list.get_or_insert_default();
        if candidate.transport != TransportProtocol::Udp {
            self.discarded.not_udp = self.discarded.not_udp.saturating_add(1);
            return Recorded::Impossible;
        }
        match candidate.kind {
            CandidateKind::Host => {
                let ip = candidate.address.ip().filter(|ip| !ip.is_unspecified());
                let hosts = match ip.map(Scope::of) {
                    Some(scope) if scope.is_confined() => &mut list.confined_hosts,
                    Some(scope) if !scope.is_global() => &mut list.local_hosts,
                    _ => &mut list.maybe_global_hosts,
                };
                *hosts = hosts.saturating_add(1);
                ip.map_or(Recorded::Kept, |ip| self.add_local(ip))
            }
            CandidateKind::ServerReflexive => {
                let (Some(mapped), Some(base)) = (candidate.socket_addr(), candidate.base()) else {
                    return self.add_unreadable();
                };
                let base = if is_hidden(base) {
                    SocketAddr::new(base.ip(), 0)
                } else {
                    base
                };
                let server = candidate.server().unwrap_or(ServerId::Anonymous(0));
                if server == ServerId::Anonymous(0) && candidate.component != 1 {
                    list.signs_of_life = list.signs_of_life.saturating_add(1);
                    self.discarded.other_component =
                        self.discarded.other_component.saturating_add(1);
                    return Recorded::Superseded;
                }
                let seen = Seen::new(
                    &Observation {
                        base,
                        server,
                        mapped,
                        sequence: 0,
                    },
                    None,
                );
                if !is_possible(seen.mapped()) {
                    list.signs_of_life = list.signs_of_life.saturating_add(1);
                }
                self.see(seen)
            }
            CandidateKind::PeerReflexive | CandidateKind::Relayed | CandidateKind::Unknown => {
                list.signs_of_life = list.signs_of_life.saturating_add(1);
                let maybe_relayed = candidate.kind != CandidateKind::PeerReflexive;
                list.maybe_relayed = list.maybe_relayed.saturating_add(maybe_relayed.into());
                Recorded::Kept
            }
        }
    }

    /// A candidate of a list that could not be read, such as a line that does not parse (RFC 8839
    /// section 5.1). It is counted, and since it may have been reflexive, the list is not
    /// called blocked.
    pub fn add_unreadable(&mut self) -> Recorded {
        let list = self.list.get_or_insert_default();
        list.signs_of_life = list.signs_of_life.saturating_add(1);
        list.maybe_relayed = list.maybe_relayed.saturating_add(1);
        self.discarded.unreadable = self.discarded.unreadable.saturating_add(1);
        Recorded::Impossible
    }
}

/// Whether the base of a candidate is hidden: RFC 8839 section 5.1 writes that as the unspecified
/// address and port 9.
fn is_hidden(base: SocketAddr) -> bool {
    base.ip().is_unspecified() && base.port() == 9
}
