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
    /// The evidence of candidates as a program's own gathering gave them (RFC 8839 section 5.1): each
    /// reflexive candidate counts as a server address of its own, unless it carries a [server
    /// URL](Candidate::url). Takes candidates, or references to them. Lines found in a text belong to
    /// [`from_text`](Self::from_text), because texts repeat themselves.
    ///
    /// ```
    /// use nat_summary::{Candidate, Evidence, NatType};
    ///
    /// let line = "candidate:2 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000";
    /// let of_two_servers = [Candidate::parse(line)?; 2];
    /// assert_eq!(Evidence::from_candidates(of_two_servers).summary().nat_type(), NatType::Cone);
    /// # Ok::<(), nat_summary::ParseError>(())
    /// ```
    #[must_use]
    pub fn from_candidates<'a>(candidates: impl IntoIterator<Item: Borrow<Candidate<'a>>>) -> Self {
        let mut evidence = Self::of_list();
        for candidate in candidates {
            evidence.add_candidate(candidate.borrow());
        }
        evidence
    }

    /// The evidence of a list that has begun and holds nothing yet.
    pub(crate) fn of_list() -> Self {
        let mut evidence = Self::new();
        evidence.list = Some(ListFacts::default());
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
        self.listed(candidate, None)
    }

    /// One candidate of a text, of this ICE session; 0: of an unknown one.
    pub(crate) fn candidate_of_text(
        &mut self,
        candidate: &Candidate<'_>,
        session: u32,
    ) -> Recorded {
        self.listed(candidate, Some(session))
    }

    /// Marks the list as that of a complete gathering that asked this many servers. The number has
    /// to be given, because a list does not show whether any server was asked. With two or more
    /// servers, a list with private host candidates and no other sign of UDP proves that UDP is
    /// blocked.
    ///
    /// ```
    /// use nat_summary::{Candidate, Evidence, NatType};
    ///
    /// let host = Candidate::parse("candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host")?;
    /// let list = Evidence::from_candidates([host]);
    /// assert_eq!(list.summary().nat_type(), NatType::Unknown, "perhaps no server was asked");
    /// assert_eq!(list.with_complete_gathering(5).summary().nat_type(), NatType::UdpBlocked);
    /// # Ok::<(), nat_summary::ParseError>(())
    /// ```
    #[must_use]
    pub fn with_complete_gathering(mut self, asked: u16) -> Self {
        let list = self.list.get_or_insert_default();
        list.asked = list.asked.max(asked);
        self
    }

    fn listed(&mut self, candidate: &Candidate<'_>, of_text: Option<u32>) -> Recorded {
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
                )
                .in_session(of_text.unwrap_or_else(|| candidate.session()))
                .in_text(of_text.is_some());
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

    /// Counts a candidate of a list that could not be read, such as a line that does not parse (RFC
    /// 8839 section 5.1). UDP is then not called blocked, because the candidate may have been
    /// reflexive.
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
