//! The verdict on a capture, and what its requests leave open.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ice_gather::capture::Capture;
use nat_summary::observer::AskedServer;
use nat_summary::{NatType, Outcome, Rule};

use super::stacks::{Asks, Stack};
use crate::Failure;

/// A capture, judged.
pub(super) struct Judged {
    pub(super) verdict: NatType,
    pub(super) rule: Rule,
    pub(super) asking: Asking,
    pub(super) packets: u64,
}

/// How the stack asked, as its requests in the capture show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Asking {
    /// Server addresses that one socket asked, at most.
    pub(super) servers_of_a_socket: usize,
    /// Server addresses that one socket had answers from, at most.
    answers_of_a_socket: usize,
    /// Server addresses in all.
    pub(super) servers: usize,
    /// Requests to one server from one socket, at most.
    pub(super) copies: u32,
    /// Server addresses that were asked twice or more.
    asked_again: usize,
}

/// Why a way of asking leaves the question open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    /// One server address proves neither that mappings agree nor that UDP is blocked.
    OneServer,
    /// Mappings of different sockets are not compared.
    SocketPerServer,
    /// The silence of a single copy is no time-out.
    OneCopy,
}

impl Open {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::OneServer => "it asks one server",
            Self::SocketPerServer => "it asks each server from another socket",
            Self::OneCopy => "it asks once",
        }
    }
}

/// Judges the host at `host` of a capture.
pub(super) fn judge(capture: &[u8], host: IpAddr) -> Result<Judged, Failure> {
    let capture = Capture::read(capture)?;
    if let Some(damage) = capture.damage {
        return Err(format!("the capture is damaged: {damage}").into());
    }
    let found = capture.hosts.iter().find(|found| found.host == host);
    let found = found.ok_or("the stack asked no server")?;
    let summary = found.evidence.summary();
    Ok(Judged {
        verdict: summary.nat_type(),
        rule: summary.rule(),
        asking: Asking::of(&found.servers),
        packets: capture.packets,
    })
}

impl Asking {
    fn of(servers: &[AskedServer]) -> Self {
        let mut by_socket: BTreeMap<SocketAddr, (BTreeSet<IpAddr>, BTreeSet<IpAddr>)> =
            BTreeMap::new();
        for asked in servers {
            let (all, answered) = by_socket.entry(asked.base).or_default();
            all.insert(asked.server.ip());
            if asked.outcome == Outcome::Answered {
                answered.insert(asked.server.ip());
            }
        }
        let ips = |least: u32| {
            let asked = servers.iter().filter(|asked| asked.sends >= least);
            asked
                .map(|asked| asked.server.ip())
                .collect::<BTreeSet<_>>()
                .len()
        };
        Self {
            servers_of_a_socket: by_socket
                .values()
                .map(|(all, _)| all.len())
                .max()
                .unwrap_or(0),
            answers_of_a_socket: by_socket
                .values()
                .map(|(_, some)| some.len())
                .max()
                .unwrap_or(0),
            servers: ips(0),
            copies: servers.iter().map(|asked| asked.sends).max().unwrap_or(0),
            asked_again: ips(2),
        }
    }
}

impl Judged {
    /// Of a capture without the requests of the stack.
    pub(super) fn nothing() -> Self {
        Self {
            verdict: NatType::Unknown,
            rule: Rule::NothingObserved,
            asking: Asking::default(),
            packets: 0,
        }
    }

    /// Why the requests cannot decide, if they cannot.
    pub(super) fn leaves_open(&self, truth: NatType) -> Option<Open> {
        let asking = self.asking;
        match truth {
            NatType::UdpBlocked if asking.servers < 2 => Some(Open::OneServer),
            NatType::UdpBlocked if asking.asked_again < 2 => Some(Open::OneCopy),
            NatType::Cone | NatType::Symmetric if asking.servers < 2 => Some(Open::OneServer),
            NatType::Cone | NatType::Symmetric if asking.servers_of_a_socket < 2 => {
                Some(Open::SocketPerServer)
            }
            // without a NAT one answer is enough
            _ => None,
        }
    }

    /// Where the stack asked in another way than the documents have it.
    pub(super) fn differs_from(&self, stack: &Stack, truth: NatType) -> Vec<String> {
        let asking = self.asking;
        let mut faults = Vec::new();
        let asks = match (asking.servers, asking.servers_of_a_socket) {
            (0 | 1, _) => Asks::OneServer,
            (_, 0 | 1) => Asks::SocketPerServer,
            _ => Asks::OneSocket,
        };
        if asks != stack.asks {
            faults.push(format!("it asks as {asks:?}, not as {:?}", stack.asks));
        }
        // a server that answers is not asked again
        if truth == NatType::UdpBlocked && (asking.asked_again > 0) != stack.retransmits {
            faults.push(format!(
                "it sends {} copies of a request at most",
                asking.copies
            ));
        }
        if truth != NatType::UdpBlocked && asking.answers_of_a_socket == 0 {
            faults.push("no server answered it".into());
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(servers: usize, of_a_socket: usize, asked_again: usize) -> Judged {
        Judged {
            verdict: NatType::Unknown,
            rule: Rule::TooFewServers,
            asking: Asking {
                servers,
                servers_of_a_socket: of_a_socket,
                asked_again,
                ..Asking::default()
            },
            packets: 0,
        }
    }

    #[test]
    fn two_servers_asked_from_one_socket_leave_no_mapping_open() {
        for truth in [NatType::Cone, NatType::Symmetric] {
            assert_eq!(judged(1, 1, 0).leaves_open(truth), Some(Open::OneServer));
            assert_eq!(
                judged(3, 1, 0).leaves_open(truth),
                Some(Open::SocketPerServer)
            );
            assert_eq!(judged(3, 2, 0).leaves_open(truth), None);
        }
        assert_eq!(judged(1, 1, 0).leaves_open(NatType::Open), None);
    }

    #[test]
    fn two_servers_asked_twice_leave_no_block_open_from_whichever_sockets() {
        let blocked = NatType::UdpBlocked;
        assert_eq!(judged(1, 1, 1).leaves_open(blocked), Some(Open::OneServer));
        assert_eq!(judged(3, 3, 1).leaves_open(blocked), Some(Open::OneCopy));
        assert_eq!(judged(3, 1, 2).leaves_open(blocked), None);
    }
}
