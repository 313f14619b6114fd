//! The reports of a gathering: plain data.

use std::net::SocketAddr;
use std::time::Duration;

use nat_summary::{CandidateKind, Evidence, Outcome, ServerId};

use crate::candidate::{GatheredCandidate, candidate};
use crate::stun::StunServer;

/// The foundation of the reflexive candidate of an open host. Those of servers begin there.
const OPEN_HOST: u16 = 100;

/// Counts of what was dropped, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Dropped {
    /// Datagrams that are not STUN, before any peer could be connected.
    pub garbage: u32,
    /// STUN that does not decode, is longer than any Binding answer, or has a wrong first byte (RFC
    /// 7983 section 7): the ICE library goes by the magic cookie alone.
    pub malformed: u32,
    /// Responses to no request of ours, before the agent sent any.
    pub unknown_id: u32,
    /// Answers from another address or port than the one asked, or on another base.
    pub wrong_source: u32,
    /// STUN of other kinds where none is expected.
    pub unexpected: u32,
    /// Binding requests whose integrity check failed.
    pub unauthenticated: u32,
    /// Authenticated requests from more addresses than one peer can have.
    pub too_many_peers: u32,
    /// Checks of the peer that came before the agent read, beyond those that are kept.
    pub early: u32,
    /// Datagrams of the peer that were longer than the buffer to read them into.
    pub overlong: u32,
    /// Datagrams beside STUN that came before the connection was read, beyond 64 KiB; those that its reader
    /// does not want ([`IceConn::only`](crate::IceConn::only)); and those behind its end.
    pub unwanted: u32,
    /// Messages from the TURN server of a relay that its client cannot take, such as data on a channel
    /// that was never bound.
    pub relay: u32,
    /// Servers beyond [`GatherConfig::max_servers`](crate::GatherConfig::max_servers).
    pub servers: u32,
    /// Candidates of the peer beyond
    /// [`AgentConfig::max_remote_candidates`](crate::AgentConfig::max_remote_candidates), or beyond 16 at
    /// one IPv4 address or in one IPv6 network of 64 bits.
    pub remote_candidates: u32,
    /// Checks that had to wait for their turn: all together leave at the pace of RFC 8445 section
    /// 14.2. The agent repeats them.
    pub paced: u32,
    /// Checks, and answers to the peer's, toward an address that never answered and got its 30 packets.
    pub unanswered: u32,
    /// Errors of a socket on receiving.
    pub socket_errors: u32,
}

impl Dropped {
    /// Whether any datagram came in. A dropped one shows all the same that UDP passes.
    pub(super) fn is_alive(&self) -> bool {
        let datagrams = [
            self.garbage,
            self.malformed,
            self.unknown_id,
            self.wrong_source,
            self.unexpected,
            self.unauthenticated,
            self.too_many_peers,
            self.early,
            self.overlong,
            self.unwanted,
            self.relay,
        ];
        datagrams.iter().any(|dropped| *dropped > 0)
    }
}

/// How one server was asked, and the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerReport {
    /// The server. A name that did not resolve stands as itself.
    pub server: StunServer,
    /// The name it was found by, if it was given by name.
    pub name: Option<StunServer>,
    /// The outcome; [`Outcome::Pending`] if the gathering ended without waiting for it,
    /// [`Outcome::GivenUp`] if it waited too short for a time-out.
    pub outcome: Outcome,
    /// The socket the request left from.
    pub base: Option<SocketAddr>,
    /// XOR-MAPPED-ADDRESS of the answer.
    pub mapped: Option<SocketAddr>,
    /// The code of an error response (RFC 8489 section 14.8), such as 300 for Try Alternate, which
    /// is not followed, because the mapping toward another server was not asked for. 0 if none could
    /// be read.
    pub error_code: Option<u16>,
    /// Time from request to answer; unknown if the request was sent more than once.
    pub round_trip: Option<Duration>,
    /// Packets sent to it.
    pub sends: u8,
}

impl ServerReport {
    /// The report of a name that led to no server, or not yet.
    pub(super) fn of_name(name: &StunServer, outcome: Outcome) -> Self {
        Self {
            server: name.clone(),
            name: Some(name.clone()),
            outcome,
            base: None,
            mapped: None,
            error_code: None,
            round_trip: None,
            sends: 0,
        }
    }
}

/// How evidence names this server.
impl From<&ServerReport> for ServerId {
    fn from(report: &ServerReport) -> Self {
        report.server.id()
    }
}

/// Something new, while gathering goes on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Progress {
    /// A candidate to signal: the host candidates at once, reflexive ones as they are found, each
    /// once.
    Candidate(GatheredCandidate),
    /// A request to a server ended.
    Server(ServerReport),
}

/// The result of one gathering.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Gathering {
    /// The candidates that were found: host candidates, then reflexive ones, each address once. A
    /// peer is sent [`to_signal`](Self::to_signal).
    pub candidates: Vec<GatheredCandidate>,
    /// Everything observed on this base so far, as [`Base::evidence`](crate::Base::evidence) has
    /// it.
    pub evidence: Box<Evidence>,
    /// One entry per server asked, in the order given.
    pub servers: Vec<ServerReport>,
    /// Packets sent to servers by this gathering, retransmissions included.
    pub packets_sent: u32,
    /// How long it took.
    pub elapsed: Duration,
}

impl Gathering {
    /// The candidates to signal to the peer: those that were found, and on an open host its address
    /// once more, as server reflexive.
    ///
    /// There the mapped address is the host candidate's, and so it is found once only (RFC 8445
    /// section 5.1.3). Some producers refuse a list of nothing but host candidates.
    #[must_use]
    pub fn to_signal(&self) -> Vec<GatheredCandidate> {
        let mut signalled = self.candidates.clone();
        if signalled.iter().all(|c| c.kind == CandidateKind::Host) {
            let mut mapped = self.servers.iter().filter_map(|server| server.mapped);
            let open = mapped.find(|mapped| signalled.iter().any(|c| c.address == *mapped));
            signalled.extend(open.map(|address| {
                candidate(CandidateKind::ServerReflexive, address, address, OPEN_HOST)
            }));
        }
        signalled
    }
}
